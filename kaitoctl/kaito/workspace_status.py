"""Workspace + what there is -> the status it should show. Pure; the time is given.

A status speaks of one generation: each reconcile computes every condition, so none outlives the spec that it
was true for.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from kaitoctl.kaito import api
from kaitoctl.kaito.node_check import required_nodes
from kaitoctl.kaito.own_workloads import CONTROLLER
from kaitoctl.kaito.workspace_conditions import FAILED, Observed, conditions, first_three
from kaitoctl.kube import managed_fields, pod_state
from kaitoctl.kube.conditions import condition, merge
from kaitoctl.kube.objects import Object, dig, generation_of

FIELDS = ("conditions", "workerNodes", "state", "targetNodeCount")
"""What of a status is the controller's; `performance`, say, is written by who measures it."""


def status(workspace: Object, seen: Observed, now: datetime) -> Object:
    """The controller's `FIELDS` of the status; equal to the present ones when nothing has changed.

    `state` and `targetNodeCount`, which v1beta1 has, are there while nobody has written the Workspace in
    another version: an API server carries out no server-side apply of v1beta1, by whomever, on an object
    with a field manager of v1alpha1 and a field that v1alpha1 does not have.

    Guarantee: `InferenceReady` is True only while the workload of this very generation serves.
    """
    news = conditions(workspace, seen)
    told = {item["type"] for item in news}
    before = [
        item
        for item in dig(workspace, "status", "conditions") or ()
        if item["type"] in told or not _is_over(item)
    ]
    made: Object = {
        "conditions": merge(before, news, generation=generation_of(workspace), now=now),
        # Also when empty: a list that is left out would stay as somebody else wrote it.
        "workerNodes": worker_nodes(seen),
    }
    if _is_of_v1beta1_alone(workspace):
        made["state"] = state(workspace, news)
        if count := _target_node_count(workspace, is_counted=seen.is_counted):
            made["targetNodeCount"] = count
    return made


_TARGET = ("f:status", "f:targetNodeCount")


def _target_node_count(workspace: Object, *, is_counted: bool) -> int:
    """How many nodes are asked for, 0 while that is not known; never fewer than KAITO has found out.

    KAITO from v0.9 on estimates it once, from the model's size, and never looks at it again: written lower,
    a model of two nodes would stay on one after KAITO is back. What is not known of nodes that have gone
    stays as it was, too: what serves on two would be scaled to one.
    """
    present = dig(workspace, "status", "targetNodeCount")
    present = present if isinstance(present, int) else 0
    if not is_counted:
        return present
    others = managed_fields.owners(workspace, *_TARGET) - {CONTROLLER}
    return max(required_nodes(workspace), present if others else 0)


_WHILE_THERE_IS_A_REASON = (api.FIELDS_IGNORED, api.NODE_CLAIMS_ASKED)


def _is_over(item: Object) -> bool:
    """Whether a condition speaks of what is past: KAITO's own would stay for ever as KAITO left them."""
    kind = item["type"]
    is_failed_benchmark = kind == api.BENCHMARK_COMPLETED and item.get("status") != "True"
    return kind in (*_WHILE_THERE_IS_A_REASON, api.NODES_READY) or is_failed_benchmark


def _is_of_v1beta1_alone(workspace: Object) -> bool:
    newest = api.WORKSPACE_V1BETA1.api_version
    written = (item.get("apiVersion") for item in workspace["metadata"].get("managedFields") or ())
    return bool(workspace["apiVersion"] == newest) and all(version == newest for version in written)


def trim(workspace: Object) -> Object:
    """What a controller keeps of a Workspace: all, but little of its `managedFields`.

    The API versions, and who has written `status.targetNodeCount`.
    """
    metadata = workspace["metadata"]
    entries = metadata.get("managedFields") or ()
    versions = {str(item.get("apiVersion")) for item in entries}
    managers: list[Object] = [{"apiVersion": version} for version in sorted(versions)]
    outer, inner = _TARGET
    managers += [
        {
            "apiVersion": str(item.get("apiVersion")),
            "manager": str(item.get("manager")),
            "fieldsV1": {outer: {inner: {}}},
        }
        for item in entries
        if dig(item, "fieldsV1", outer, inner) is not None
    ]
    return {**workspace, "metadata": {**metadata, "managedFields": managers}}


def state(workspace: Object, news: Iterable[Object]) -> str:
    """`status.state`: the conditions in one word.

    Inference is Pending until it serves, then Ready or NotReady; NotReady also as soon as waiting will not
    help. Tuning goes from Pending over Running to Succeeded or Failed.
    """
    found = {item["type"]: item for item in news}
    succeeded, started = found[api.WORKSPACE_SUCCEEDED], found.get(api.JOB_STARTED, {})
    is_done, has_failed = succeeded["status"] == "True", succeeded["reason"] == FAILED
    if workspace.get("tuning"):
        if is_done or has_failed:
            return "Succeeded" if is_done else "Failed"
        return "Running" if started.get("status") == "True" else "Pending"
    if is_done:
        return "Ready"
    was = dig(workspace, "status", "state")
    return "NotReady" if has_failed or was in ("Ready", "NotReady") else "Pending"


def deleting(workspace: Object, now: datetime, kept: Iterable[str] = ()) -> Object:
    """The status of a Workspace that is going away: one more condition, the rest as it was.

    Args:
        workspace: which.
        now: the present time.
        kept: as in `Observed`.
    """
    before_it = workspace.get("status") or {}
    present = {field: before_it[field] for field in FIELDS if field in before_it}
    words = "; ".join(["workspace is being deleted", *first_three(kept)])
    news = [condition(api.WORKSPACE_DELETING, True, "workspaceDeleted", words)]
    before = present.get("conditions") or ()
    kept = [item for item in before if item.get("type") != api.WORKSPACE_DELETING]
    merged = merge(before, news, generation=generation_of(workspace), now=now)
    present["conditions"] = kept + [item for item in merged if item["type"] == api.WORKSPACE_DELETING]
    return present


def worker_nodes(seen: Observed) -> list[str]:
    """The nodes that the pods really are on, or before that the ones chosen for them; sorted."""
    bound = {dig(pod, "spec", "nodeName") for pod in seen.pods if not pod_state.is_finished(pod)} - {None, ""}
    return sorted(bound or (seen.verdict.selected if seen.verdict else ()))
