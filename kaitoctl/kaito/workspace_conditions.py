"""Workspace + what a reconcile saw -> its conditions, without times. Pure.

Types, reasons and messages are KAITO's where KAITO has a word for the case (v0.3.2 with the NodeClaim gate;
`...Pending` reasons from v0.12), and ours where KAITO stays silent.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from msgspec import Struct, field

from kaitoctl.kaito import api
from kaitoctl.kaito.catalog import SHIPPED, Catalog
from kaitoctl.kaito.claim_attempts import ClaimAttempts, asked_words
from kaitoctl.kaito.launch_failures import claim_failure
from kaitoctl.kaito.node_check import Verdict, instance_type_of, nobody_creates
from kaitoctl.kaito.own_workloads import OWNER_GENERATION, is_current
from kaitoctl.kube import pod_state
from kaitoctl.kube.conditions import condition, current, is_true
from kaitoctl.kube.objects import (
    Object,
    annotations_of,
    creation_time_of,
    dig,
    generation_of,
    is_being_deleted,
)
from kaitoctl.kube.workloads import is_rolled_out, refused_pods, replicas, why_stalled

# Reasons that end a rollout: waiting will not help, somebody has to change something.
FAILED = "workspaceFailed"

JOB_REPLACED = "WorkspaceTuningJobReplacePending"
"""The reason of JobStarted while the Job before, and its pods, may still be there."""


class Observed(Struct, frozen=True):
    """What a reconcile saw, and what came of it.

    Args:
        verdict: of the nodes; None when the Workspace was refused before nodes were looked at.
        claims: the Workspace's NodeClaims.
        can_claim: whether nodes can be asked for: the cluster serves the API, and the provisioner means it.
        provisioner: as in `Settings`.
        workload: the Deployment, StatefulSet or Job that is ours, None when there is none.
        pods: the Workspace's pods.
        refusal: why nothing can be built.
        conflicts: same-named objects that belong to somebody else.
        error: what the API server refused to write for good.
        retrying: what it answered to a write that will be tried again.
        claim_error: why nodes cannot be asked for.
        claim_note: something worth knowing about nodes that were asked for.
        adopts: the workload is KAITO's, made for what the Workspace asks for now.
        asked: the NodeClaims that were asked for since nodes are waited for.
        kept: why NodeClaims that the Workspace does not need are not given back, a sentence each.
        catalog: of presets and models.
        is_counted: whether it is known how many nodes the model takes.
    """

    verdict: Verdict | None = None
    claims: tuple[Object, ...] = ()
    can_claim: bool = False
    provisioner: str = ""
    workload: Object | None = None
    pods: tuple[Object, ...] = ()
    refusal: str = ""
    conflicts: tuple[str, ...] = ()
    error: str = ""
    retrying: str = ""
    claim_error: str = ""
    claim_note: str = ""
    adopts: bool = False
    asked: Mapping[str, ClaimAttempts] = field(default_factory=dict)
    kept: tuple[str, ...] = ()
    catalog: Catalog = SHIPPED
    is_counted: bool = True


NODES_AWAITED = "NodesAwaited"
"""The reason of ResourceReady while somebody is to prepare nodes, who may do so at any time."""


def _asked_claims(seen: Observed) -> list[Object]:
    """A condition that remembers which NodeClaims were asked for; none once there are nodes enough."""
    if not seen.asked or seen.verdict is None or seen.verdict.enough:
        return []
    return [condition(api.NODE_CLAIMS_ASKED, True, "NodeClaimsAsked", asked_words(seen.asked))]


def conditions(workspace: Object, seen: Observed) -> list[Object]:
    """The conditions of a Workspace, without times: the four, and those that are there only for a reason."""
    return [*_four(workspace, seen), *_ignored_fields(workspace, seen), *_asked_claims(seen)]


def _four(workspace: Object, seen: Observed) -> list[Object]:
    if seen.refusal:
        why = _refusal(workspace, seen)
        return [
            condition(api.RESOURCE_READY, False, "workspaceResourceStatusFailed", why),
            _job_failed(why)
            if workspace.get("tuning")
            else condition(api.INFERENCE_READY, False, "WorkspaceInferenceStatusFailed", why),
            condition(api.WORKSPACE_SUCCEEDED, False, FAILED, why),
        ]
    if workspace.get("tuning"):
        return _tuning_conditions(workspace, seen)
    claim, resource = _resource_conditions(workspace, seen)
    inference = _inference_condition(workspace, seen, nodes_ready=resource["status"] == "True")
    return [claim, resource, inference, _succeeded_condition(resource, inference)]


def is_refused(workspace: Object) -> bool:
    """Whether nothing is built of this generation: its controller says one reason of nodes, model and all."""
    model = api.JOB_STARTED if workspace.get("tuning") else api.INFERENCE_READY
    told = [current(workspace, kind) for kind in (api.RESOURCE_READY, model, api.WORKSPACE_SUCCEEDED)]
    is_denied = all(item.get("status") == "False" for item in told) and told[-1].get("reason") == FAILED
    return is_denied and len({item.get("message") for item in told}) == 1


def _ignored_fields(workspace: Object, seen: Observed) -> list[Object]:
    """A condition that names what the Workspace asks for in vain; none when there is nothing of the kind."""
    from kaitoctl.kaito import validation
    from kaitoctl.kaito.desired.streaming import is_streaming

    unused = validation.not_used(workspace, seen.catalog)
    if is_streaming(seen.workload or {}):
        used = {f"metadata.annotations[{key}]" for key in (api.STATIC_MIRROR, *api.STATIC_SOURCE)}
        used.add(f"metadata.annotations[{api.STREAM_ACCOUNT}]")
        unused = [problem for problem in unused if problem.path not in used]
    found = [f"{problem.path}: {problem.message}" for problem in unused]
    if seen.verdict and seen.verdict.enough and (reasons := seen.verdict.unusable_preferred):
        found.append(f"resource.preferredNodes: other nodes are used: {_few(reasons)}")
    return [condition(api.FIELDS_IGNORED, True, "FieldsIgnored", "; ".join(found))] if found else []


def _refusal(workspace: Object, seen: Observed) -> str:
    """Why the Workspace is refused, and what becomes of what was built for it before.

    The conditions are False nevertheless: they speak of the generation that is refused.
    """
    if seen.workload is None:
        return seen.refusal
    refused = f"generation {generation_of(workspace)} is refused: {seen.refusal}"
    return f"{refused}; {_former(workspace, seen.workload)}{_trouble_of(seen)}"


def _former(workspace: Object, workload: Object) -> str:
    """What a workload does that was made for something else than the Workspace asks for now."""
    made_for = annotations_of(workload).get(OWNER_GENERATION)  # KAITO's has none
    is_told = made_for and not is_current(workspace, workload)
    what = f"generation {made_for}" if is_told else "what was built before"
    return f"{what} {'still serves' if is_rolled_out(workload) else 'is kept as it was'}"


def _trouble_of(seen: Observed) -> str:
    """What hinders the repair of what is kept."""
    trouble = seen.error or seen.retrying or seen.claim_error
    return f"; {trouble}" if trouble else ""


def _resource_conditions(workspace: Object, seen: Observed) -> tuple[Object, Object]:
    assert seen.verdict is not None
    verdict = seen.verdict
    if verdict.enough:
        return (
            condition(
                api.NODE_CLAIM_READY,
                True,
                "installNodePluginsSuccess",
                _few(["nodeClaim plugins have been installed successfully", *seen.kept]),
            ),
            condition(
                api.RESOURCE_READY, True, "workspaceResourceStatusSuccess", "workspace resource is ready"
            ),
        )
    missing = f"{verdict.missing} of {verdict.required} nodes missing"
    if seen.claim_error:
        return (
            condition(api.NODE_CLAIM_READY, False, "nodeClaimFailedCreation", seen.claim_error),
            condition(
                api.RESOURCE_READY, False, "workspaceResourceStatusFailed", f"{missing}: {seen.claim_error}"
            ),
        )
    if failures := [text for claim in seen.claims if (text := claim_failure(claim))]:
        return (
            condition(api.NODE_CLAIM_READY, False, "checkNodeClaimStatusFailed", failures[0]),
            condition(
                api.RESOURCE_READY, False, "workspaceResourceStatusFailed", f"{missing}: {failures[0]}"
            ),
        )
    if verdict.unusable_preferred:
        reasons = _few(verdict.unusable_preferred)
        return (
            condition(api.NODE_CLAIM_READY, False, "PreferredNodesUnusable", reasons),
            condition(api.RESOURCE_READY, False, "PreferredNodesUnusable", f"{missing}: {reasons}"),
        )
    if not seen.can_claim:
        text = f"{missing}: {_purpose(workspace)}; {nobody_creates(seen.provisioner)}"
        if seen.provisioner == "byo":
            text += ": prepare nodes with these labels"
        reason = NODES_AWAITED if seen.provisioner == "byo" else "NodesMissing"
        return (
            condition(api.NODE_CLAIM_READY, False, "nodeClaimFailedCreation", text),
            condition(api.RESOURCE_READY, False, reason, text),
        )
    # A claim can be Ready while its node's GPU plugin is not: then there is nothing to create any more. Of
    # other nodes nothing is said: what comes and goes there would rewrite every status that waits.
    ours = {dig(claim, "status", "nodeName") for claim in seen.claims}
    ours |= {dig(pod, "spec", "nodeName") for pod in seen.pods}
    waiting = [
        f"{node.name}: {node.failures[0].message}"
        for node in verdict.nodes
        if not node.usable and (node.preferred or node.name in ours)
    ]
    details = seen.claim_note or _few(waiting) or f"waiting for {_purpose(workspace)}"
    creating = seen.claim_note or f"creating {verdict.missing} nodeClaims"
    return (
        condition(api.NODE_CLAIM_READY, None, "CreateNodeClaimPending", _few([creating, *seen.kept])),
        condition(api.RESOURCE_READY, False, "workspaceResourceStatusNotReady", f"{missing}: {details}"),
    )


def _few(sentences: Iterable[str]) -> str:
    """The first three of them, and how many more there are."""
    return "; ".join(first_three(sentences))


def first_three(sentences: Iterable[str]) -> list[str]:
    """The first three of them, and a fourth that counts the others."""
    all_of_them = list(sentences)
    more = [f"and {len(all_of_them) - 3} more"] if len(all_of_them) > 3 else []
    return all_of_them[:3] + more


def _purpose(workspace: Object) -> str:
    labels = dig(workspace, "resource", "labelSelector", "matchLabels") or {}
    text = ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
    return f"{instance_type_of(workspace) or 'nodes'} with labels {text}"


def _inference_condition(workspace: Object, seen: Observed, *, nodes_ready: bool) -> Object:
    def says(ready: bool, reason: str, message: str) -> Object:
        return condition(api.INFERENCE_READY, ready, reason, message)

    if seen.conflicts:
        return says(False, "NameConflict", _few(seen.conflicts))
    workload = seen.workload
    if seen.error:
        is_former = workload is not None and not is_current(workspace, workload)
        kept = f"; {_former(workspace, workload)}" if is_former and workload is not None else ""
        return says(False, "WorkspaceInferenceStatusFailed", seen.error + kept)
    if workload is None:
        pending = "Inference workload is not created yet" if nodes_ready else "waiting for nodes"
        why = f": {seen.retrying}" if seen.retrying else ""
        return says(False, "WorkspaceInferenceStatusPending", pending + why)
    if not is_current(workspace, workload):
        why = f": {seen.retrying}" if seen.retrying else ""
        return says(False, "WorkspaceInferenceStatusPending", "Inference workload is being updated" + why)
    if is_rolled_out(workload):
        if seen.retrying and not is_true(workspace, api.INFERENCE_READY, generation=generation_of(workspace)):
            detail = f"Inference workload serves, and not all around it is there: {seen.retrying}"
            return says(False, "WorkspaceInferenceStatusPending", detail)
        return says(True, "WorkspaceInferenceStatusSuccess", "Inference has been deployed successfully")
    name = workload["metadata"]["name"]
    refused = refused_pods(workload)
    if why := refused or why_stalled(workload):
        given_up = f"its pods are refused: {refused}" if refused else why
        if why_stalled(workload):
            words = f"deployment {name} is not progressing: {given_up}"
            return says(False, "WorkspaceInferenceStatusFailed", words)
        words = f"Inference workload is not ready: {given_up}"
        return says(False, "WorkspaceInferenceStatusPending", words)
    for pod in _present(seen.pods):
        if found := pod_state.trouble(pod):
            message = f"pod {pod['metadata']['name']}: {found.message}"
            if re.fullmatch(_REASON, found.reason):
                return says(False, found.reason, message)
            # The kubelet writes reasons such as OutOfnvidia.com/gpu, which a condition must not have.
            return says(False, "WorkspaceInferenceStatusPending", f"{found.reason}: {message}")
    counts = workload.get("status") or {}
    new, ready = (int(counts.get(name) or 0) for name in ("updatedReplicas", "readyReplicas"))
    serving, wanted = min(new, ready), replicas(workload)
    # Those of the revision before may still be there, or the counts may be from before the change.
    what = f"{serving} of {wanted} pods serve" if serving < wanted else "its old pods are being replaced"
    detail = f"Inference workload is not ready: {what}"
    return says(False, "WorkspaceInferenceStatusPending", detail)


def _tuning_conditions(workspace: Object, seen: Observed) -> list[Object]:
    from kaitoctl.kaito import tuning

    job = seen.workload
    if job is not None and not seen.adopts and not tuning.is_made_for(job, workspace):
        job = None
    if job is not None and tuning.has_ended(job):
        # Its node may go, or be somebody else's by now: that changes nothing about the result.
        ended = "the tuning job has ended and needs no nodes any more"
        claim = condition(api.NODE_CLAIM_READY, True, "installNodePluginsSuccess", _few([ended, *seen.kept]))
        resource = condition(api.RESOURCE_READY, True, "workspaceResourceStatusSuccess", ended)
    else:
        claim, resource = _resource_conditions(workspace, seen)
    started, succeeded = _job_conditions(workspace, seen, job, resource)
    return [claim, resource, started, succeeded]


def _job_conditions(
    workspace: Object, seen: Observed, job: Object | None, resource: Object
) -> tuple[Object, Object]:
    """JobStarted and WorkspaceSucceeded.

    Args:
        workspace: the Workspace.
        seen: by the reconcile.
        job: made for what the Workspace asks for now; None without.
        resource: the condition ResourceReady.
    """

    def waits(started: Object) -> tuple[Object, Object]:
        return started, condition(api.WORKSPACE_SUCCEEDED, False, "workspacePending", started["message"])

    def fails(started: Object, why: str = "") -> tuple[Object, Object]:
        return started, condition(api.WORKSPACE_SUCCEEDED, False, FAILED, why or started["message"])

    if seen.conflicts:
        return fails(condition(api.JOB_STARTED, False, "NameConflict", _few(seen.conflicts)))
    if seen.error:
        return fails(_job_failed(seen.error))
    if job is None:
        why = f": {seen.retrying}" if seen.retrying else ""
        if seen.workload is not None:
            words = f"{_job_to_be_replaced(workspace, seen.workload)}{why}"
            return waits(condition(api.JOB_STARTED, False, JOB_REPLACED, words))
        nodes_ready = resource["status"] == "True"
        pending = _job_pending(("Tuning job has not started" if nodes_ready else "waiting for nodes") + why)
        return fails(pending, resource["message"]) if resource["reason"] in TERMINAL else waits(pending)
    from kaitoctl.kaito import tuning

    if tuning.has_succeeded(job):
        return (
            condition(api.JOB_STARTED, True, "WorkspaceTuningJobStatusStarted", "Tuning job has started"),
            condition(api.WORKSPACE_SUCCEEDED, True, "workspaceSucceeded", "workspace succeeds"),
        )
    failure = tuning.failure(job, seen.pods)
    if failure is not None and failure.final:
        reason = f" ({failure.reason})" if failure.reason not in failure.message else ""
        return fails(_job_failed(f"{failure.message}{reason}"))
    if failure is not None:
        is_reason = re.fullmatch(_REASON, failure.reason)
        reason = failure.reason if is_reason else "WorkspaceTuningJobStatusPending"
        return waits(condition(api.JOB_STARTED, False, reason, failure.message))
    if not tuning.has_started(workspace, tuning.pods_of(job, seen.pods)):
        return waits(_job_pending("Tuning job has not started"))
    counts = job.get("status") or {}
    active, ready = (int(counts.get(name) or 0) for name in ("active", "ready"))
    pods = f"{active} active pod, {ready} ready pod"
    return (
        condition(api.JOB_STARTED, True, "WorkspaceTuningJobStatusStarted", "Tuning job has started"),
        condition(
            api.WORKSPACE_SUCCEEDED,
            False,
            "workspacePending",
            f"workspace has not completed, tuning job has {pods}",
        ),
    )


def _job_failed(why: str) -> Object:
    return condition(api.JOB_STARTED, False, "WorkspaceTuningJobStatusFailed", why)


def _job_pending(what: str) -> Object:
    return condition(api.JOB_STARTED, False, "WorkspaceTuningJobStatusPending", what)


def _job_to_be_replaced(workspace: Object, old: Object) -> str:
    """A result of hours is never left behind, or overwritten, in silence."""
    from kaitoctl.kaito import tuning

    words = "Tuning job is recreated for the changed Workspace"
    if not tuning.has_succeeded(old):
        return words
    if not (pushed := tuning.pushed_image(old)):
        return f"{words}; it may overwrite what the last one has left in its volume"
    fate = "will be overwritten" if pushed == dig(workspace, "tuning", "output", "image") else "stays"
    return f"{words}; {pushed}, which the last one pushed, {fate}"


def _present(pods: tuple[Object, ...]) -> list[Object]:
    """The pods that matter, newest first: finished and terminating ones only when there are no others."""
    newest = sorted(pods, key=creation_time_of, reverse=True)
    return [pod for pod in newest if not pod_state.is_finished(pod) and not is_being_deleted(pod)] or newest


# Source: the CRD's pattern for `status.conditions[].reason`.
_REASON = r"[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?"

TERMINAL = frozenset(
    {"WorkspaceInferenceStatusFailed", "NameConflict", "PreferredNodesUnusable", "NodesMissing"}
    | {"workspaceResourceStatusFailed", "WorkspaceTuningJobStatusFailed"}
)


def _succeeded_condition(resource: Object, inference: Object) -> Object:
    if resource["status"] == "True" and inference["status"] == "True":
        return condition(api.WORKSPACE_SUCCEEDED, True, "workspaceSucceeded", "workspace succeeds")
    serves = inference["status"] == "True"
    for part in (resource, inference):
        # What still serves has not failed, whatever became of a node.
        if part["status"] != "True" and part["reason"] in TERMINAL and not serves:
            return condition(api.WORKSPACE_SUCCEEDED, False, FAILED, part["message"])
    first = resource if resource["status"] != "True" else inference
    return condition(api.WORKSPACE_SUCCEEDED, False, "workspacePending", first["message"])
