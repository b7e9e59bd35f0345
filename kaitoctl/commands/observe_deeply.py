"""What only a diagnosis asks for: the node verdict, references, logs, revisions, controllers."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from kaitoctl.commands.cluster import REFUSED
from kaitoctl.commands.observation import MOST_NODES
from kaitoctl.commands.observe_nodes import observe, sparing_others
from kaitoctl.commands.option_values import NOT_SAID, ManagedBy
from kaitoctl.errors import ApiError
from kaitoctl.kaito import api, diagnosis, installation, node_check, nodes_of_others, revisions
from kaitoctl.kaito.diagnosis import of_controller
from kaitoctl.kaito.rollout import Phase, progress
from kaitoctl.kaito.snapshot import NAMED_KINDS, Named, Snapshot
from kaitoctl.kube import pod_state, request
from kaitoctl.kube.client import Client
from kaitoctl.kube.conditions import find, is_true, parse_timestamp
from kaitoctl.kube.objects import (
    CONTROLLER_REVISION,
    DEPLOYMENT,
    EVENT,
    NODE,
    PERSISTENT_VOLUME_CLAIM,
    POD,
    Kind,
    Object,
    ObjectKey,
    creation_time_of,
    dig,
    is_being_deleted,
    is_controlled_by,
    key_of,
)
from kaitoctl.kube.pod_state import was_ready_for_s

if TYPE_CHECKING:
    from kaitoctl.commands.observed_nodes import ObservedNodes
    from kaitoctl.kaito.validation import Setting

# In the versions of Kubernetes 1.34, 1.33 and 1.32.
RESOURCE_SLICES = tuple(
    Kind("resource.k8s.io", version, "ResourceSlice", "resourceslices", namespaced=False)
    for version in ("v1", "v1beta2", "v1beta1")
)
_MOST_EXPLAINED = 4  # nodes out of use: the first few explain the others
# vLLM logs the cause first and then, twice over, how it propagated: some 200 lines in all.
_LOG_LINES, _LOG_BYTES = 400, 512 * 1024
_MOST_LOGS = 20  # of the newest pods: a workload may leave thousands of failed ones


class _Questions(Struct):
    """Further requests; those that were refused are noted in `unseen`, and who manages, in `setting`."""

    unseen: dict[str, str]
    setting: Setting | None = None

    async def answer(self, what: str, asking: Any) -> Any:
        """The answer; None where there is none, and a note where it was refused."""
        try:
            return await asking
        except ApiError as error:
            if error.status != 404:
                self.unseen[what] = str(error)
            return None


async def with_evidence(
    client: Client, seen: Snapshot, *, is_sandbox: bool = False, managed: ManagedBy = NOT_SAID
) -> Snapshot:
    """The snapshot with what a diagnosis needs besides: node verdict, references, logs, revisions.

    Args:
        client: the cluster.
        seen: what was observed so far.
        is_sandbox: kaitoctl's own controller chooses the nodes, whoever seems to manage the Workspace.
        managed: who does, as far as the user says it.
    """
    workspace = seen.workspace
    if workspace is None:
        return seen
    questions = _Questions(dict(seen.unseen))
    verdict, named, logs, history, events, (here, waiting) = await asyncio.gather(
        _verdict(client, seen, questions, is_sandbox=is_sandbox, managed=managed),
        _references(client, seen, questions),
        _logs(client, seen, questions),
        _revisions(client, seen, questions),
        _events_of_cluster(client, seen, questions),
        _controllers(client, seen, questions),
    )
    pools = await _pools(client, seen, questions)
    cordoned, offered = await asyncio.gather(
        _cordoned_nodes(client, seen, verdict), _resource_slices(client, verdict)
    )
    going = {}
    if is_being_deleted(workspace):
        from kaitoctl.commands.observe_deletion import observe_deletion  # most Workspaces stay

        going = await observe_deletion(client, seen, questions.answer, questions.unseen)
    stored = await _volumes(client, replace(seen, verdict=verdict), named.claims, questions)
    told: dict[str, tuple[Object, ...]] = {}
    if seen.may_wait_for_a_mirror:
        from kaitoctl.commands.observe_mirror import observe_mirror  # most wait for none

        told = await observe_mirror(client, seen, questions.answer)
    return replace(
        seen,
        **going,
        **stored,
        mirror=told.get("mirror", ()),
        nodes=(*seen.nodes, *cordoned),
        pools=pools,
        device_slices=offered,
        verdict=verdict,
        setting=questions.setting,
        missing=named.missing,
        unbound=named.unbound,
        logs=logs,
        revisions=history,
        events=(*seen.events, *named.events, *events, *told.get("events", ())),
        controllers=here,
        waiting=waiting,
        unseen=dict(sorted(questions.unseen.items())),
    )


async def _volumes(
    client: Client, seen: Snapshot, claims: tuple[Object, ...], questions: _Questions
) -> dict[str, Any]:
    waiting = [pod for pod in seen.pods if _waits_for_volumes(pod)]
    if not waiting:
        return {}
    from kaitoctl.commands.observe_volumes import observe_volumes  # most pods have a node

    return await observe_volumes(client, seen, waiting, claims, questions.answer)


def _waits_for_volumes(pod: Object) -> bool:
    """Whether the scheduler finds no node that the pod's volumes can be on."""
    placed = find(pod, "PodScheduled") or {}
    return placed.get("status") == "False" and "volume" in str(placed.get("message")).lower()


async def with_controllers(client: Client, seen: Snapshot) -> Snapshot:
    """The snapshot with what manages Workspaces here, where this one seems not to be managed."""
    questions = _Questions(dict(seen.unseen))
    here, waiting = await _controllers(client, seen, questions)
    return replace(seen, controllers=here, waiting=waiting, unseen=dict(sorted(questions.unseen.items())))


async def _rules(
    client: Client, seen: Snapshot, questions: _Questions, *, is_sandbox: bool, managed: ManagedBy
) -> node_check.Rules:
    """Whose choice of nodes counts: our own controller's, or that of the KAITO which is here."""
    if managed.target_version is None and is_sandbox:
        return node_check.Rules(catalog=seen.catalog)
    from kaitoctl.commands.kaito_detection import as_said  # most Workspaces have their nodes

    found = await as_said(client, managed, is_sandbox=seen.is_ours)
    if managed.target_version is not None or not seen.is_ours:
        questions.setting = found.setting(seen.catalog)
    return found.rules_for(seen.workspace or {}, seen.catalog)


async def _verdict(
    client: Client, seen: Snapshot, questions: _Questions, *, is_sandbox: bool, managed: ManagedBy
) -> node_check.Verdict | None:
    """Which nodes it will use, where that still matters and may be asked."""
    assert seen.workspace is not None
    where = progress(seen)
    waiting = [
        pod for pod in seen.pods if not dig(pod, "spec", "nodeName") and not pod_state.is_finished(pod)
    ]
    is_gated = bool(waiting) and all(diagnosis.gates_of(pod) for pod in waiting)
    if where.outcome == "ready" or is_gated or (where.phase > Phase.SCHEDULING and not waiting):
        return None
    rules = await _rules(client, seen, questions, is_sandbox=is_sandbox, managed=managed)
    if dig(seen.workspace, "inference", "config"):
        from kaitoctl.commands.asked_context import context_on_cluster  # most name none

        asking = context_on_cluster(client, seen.workspace, (), rules)
        rules = replace(rules, context=await questions.answer("the inference ConfigMap", asking) or 0)
    found: ObservedNodes | None = await questions.answer("nodes", observe(client, seen.workspace, rules))
    if found is None:
        return None
    questions.unseen.pop("nodes", None)
    verdict = found.verdict(seen.workspace, rules)
    spared: node_check.Verdict | None = await questions.answer(
        "nodes of others", sparing_others(client, seen.workspace, verdict)
    )
    return nodes_of_others.without_changes_to(verdict, {}, ()) if spared is None else spared


def _nodes_with_findings(verdict: node_check.Verdict | None, *codes: str) -> list[str]:
    """The first nodes of which the verdict says one of these."""
    found = verdict.nodes if verdict is not None else ()
    named = [node.name for node in found if any(item.code in codes for item in node.failures)]
    return named[:_MOST_EXPLAINED]


async def _cordoned_nodes(client: Client, seen: Snapshot, verdict: node_check.Verdict | None) -> list[Object]:
    """Cordoned nodes, whole: their annotations say who has cordoned them."""
    found = []
    for name in _nodes_with_findings(verdict, "cordoned"):
        if seen.node(name) is None:
            with suppress(ApiError):  # who may list nodes and not get one learns less
                found.append({**await client.send(request.get(NODE, "", name)), "kind": NODE.kind})
    return found


async def _resource_slices(client: Client, verdict: node_check.Verdict | None) -> tuple[Object, ...]:
    """The ResourceSlices of nodes without GPUs; none where there is no such kind, or they may not be seen."""
    names = _nodes_with_findings(
        verdict, "no-gpu", "gpu-not-allocatable", "other-vendor-gpu", "device-plugin-missing"
    )
    found: list[Object] = []
    for name in names:
        for kind in RESOURCE_SLICES:
            try:
                found += (await client.list(kind, field_selector=f"spec.nodeName={name}")).items
                break
            except ApiError as error:
                if error.status != 404:
                    return tuple(found)
        else:
            return ()
    return tuple(found)


async def with_missing(client: Client, seen: Snapshot) -> Snapshot:
    """The snapshot with what the Workspace and its pods refer to and nobody has, as far as may be seen."""
    if seen.workspace is None:
        return seen
    questions = _Questions(dict(seen.unseen))
    return replace(seen, missing=(await _references(client, seen, questions)).missing)


class _References(Struct, frozen=True):
    """What is wrong with the objects that are referred to.

    Args:
        missing: those that do not exist.
        claims: those that exist.
        unbound: the claims that have no volume.
        events: about these claims.
    """

    missing: frozenset[Named]
    claims: tuple[Object, ...]
    unbound: tuple[Object, ...]
    events: tuple[Object, ...]


async def _references(client: Client, seen: Snapshot, questions: _Questions) -> _References:
    """Which Secrets, ConfigMaps and claims are missing, and which claims wait for a volume.

    Guarantee: nothing of what is in Secrets and ConfigMaps is kept.
    """
    assert seen.workspace is not None
    namespace = str(seen.workspace["metadata"].get("namespace") or "")
    wanted = {named for _, named in diagnosis.references(seen.workspace)}
    wanted |= {Named(ref.kind, ref.name) for pod in seen.pods for ref in pod_state.references(pod)}
    names = sorted(wanted)
    found = await asyncio.gather(*(_referred_object(client, namespace, named, questions) for named in names))
    unbound = [one for one in found if one and dig(one, "status", "phase") not in (None, "Bound")]
    listed = await asyncio.gather(
        *(_events_of(client, namespace, str(claim["metadata"]["name"]), questions) for claim in unbound)
    )
    return _References(
        frozenset(named for named, one in zip(names, found, strict=True) if one is None),
        tuple(one for one in found if one),
        tuple(unbound),
        tuple(event for events in listed for event in events),
    )


async def _referred_object(
    client: Client, namespace: str, named: Named, questions: _Questions
) -> Object | None:
    """The claim, an empty object for what else exists or may not be seen; None where it is missing."""
    kind = NAMED_KINDS[named.kind]
    asking = request.get(kind, namespace, named.name)
    try:
        if kind is PERSISTENT_VOLUME_CLAIM:
            return {**await client.send(asking), "kind": kind.kind}
        await client.send(asking, decode=lambda _: {})
    except ApiError as error:
        if error.status == 404:
            return None
        questions.unseen[kind.plural] = str(error)
    return {}


async def _events_of(client: Client, namespace: str, name: str, questions: _Questions) -> list[Object]:
    fields = f"involvedObject.kind={PERSISTENT_VOLUME_CLAIM.kind},involvedObject.name={name}"
    listed = await questions.answer("events", client.list(EVENT, namespace, field_selector=fields))
    return listed.items if listed else []


async def _logs(client: Client, seen: Snapshot, questions: _Questions) -> dict[tuple[str, str], str]:
    """The last lines of containers that have ended with an error, of that run, or that load for too long."""
    found: dict[tuple[str, str], str] = {}

    async def read(pod: Object, container: str, *, previous: bool) -> None:
        metadata = pod["metadata"]
        query = {"container": container, "tailLines": str(_LOG_LINES), "limitBytes": str(_LOG_BYTES)}
        path = POD.path(metadata.get("namespace") or "", metadata["name"], "log")
        for more in ({"previous": "true"}, {}) if previous else ({},):
            try:
                text = await client.text(path, {**query, **more})
            except ApiError as error:
                if error.status in REFUSED or error.status >= 500:  # of 500: the kubelet does not answer
                    questions.unseen["pods/log"] = str(error)
                continue
            if said := pod_state.log_failure(text):
                questions.unseen["pods/log"] = said
            elif text:
                found[metadata["name"], container] = text
                return

    assert seen.workspace is not None
    budget_s = diagnosis.budget_of(seen.workspace, seen.catalog)
    newest = sorted(seen.pods, key=creation_time_of, reverse=True)
    troubled = [
        (pod, item)
        for pod in newest
        for item in pod_state.container_statuses(pod)
        if _has_ended_badly(item)
        or _takes_longer_than(budget_s, item)
        or was_ready_for_s(pod, item)
        or _says_it_is_unwell(seen, pod, item)
    ]
    await asyncio.gather(
        *(
            read(pod, item["name"], previous=bool(dig(item, "lastState", "terminated")))
            for pod, item in troubled[:_MOST_LOGS]
        )
    )
    return found


def _has_ended_badly(item: Object) -> bool:
    """Whether a container has ended with an error, or ends over and over."""
    return dig(item, "state", "waiting", "reason") == "CrashLoopBackOff" or any(
        dig(item, state, "terminated", "exitCode") or dig(item, state, "terminated", "reason") == "OOMKilled"
        for state in ("state", "lastState")
    )


def _says_it_is_unwell(seen: Snapshot, pod: Object, item: Object) -> bool:
    """Whether a container that runs answers its probe with an error, as a server without its engine does."""
    if item.get("ready") or dig(item, "state", "running") is None:
        return False
    said = (str(event.get("message")) for event in seen.events_of(pod) if event.get("reason") == "Unhealthy")
    return re.search(r"statuscode: 5\d\d|NOT_SERVING", next(said, "")) is not None


def _takes_longer_than(budget_s: float, item: Object) -> bool:
    """Whether a container runs, and is not ready after the time that its preset is given."""
    try:
        began = parse_timestamp(str(dig(item, "state", "running", "startedAt")))
    except ValueError:
        return False
    return not item.get("ready") and (datetime.now(UTC) - began).total_seconds() > budget_s


async def _revisions(client: Client, seen: Snapshot, questions: _Questions) -> tuple[Object, ...]:
    """What the Workspace has been; not what an earlier one of the same name was."""
    assert seen.workspace is not None
    key = key_of(seen.workspace)
    selector = f"{revisions.LABEL_NAME}={key.name}"
    listing = client.list(CONTROLLER_REVISION, key.namespace, label_selector=selector)
    listed = await questions.answer("controllerrevisions", listing)
    items = listed.items if listed else ()
    return tuple(item for item in items if is_controlled_by(item, seen.workspace))


async def _events_of_cluster(client: Client, seen: Snapshot, questions: _Questions) -> list[Object]:
    """Events about nodes and NodeClaims, which live in the namespace `default`."""
    # Claims that were given up are gone, and the next one is silent at first: their events tell why.
    launched = any(is_true(one, kind) for one in seen.claims for kind in ("Launched", "MachineLaunched"))
    is_asked_again = _waits_for_nodes(seen) and not launched
    names = [obj["metadata"]["name"] for obj in (*(() if is_asked_again else seen.claims), *seen.nodes)]

    async def of(fields: str) -> Any:
        return await questions.answer("events of nodes", client.list(EVENT, "default", field_selector=fields))

    asking = [f"involvedObject.name={name}" for name in [*names, *sorted(seen.gone)][:MOST_NODES]]
    asking += ["involvedObject.kind=NodeClaim"] * is_asked_again
    lists = await asyncio.gather(*map(of, asking))
    return [event for listed in lists if listed for event in listed.items]


def _waits_for_nodes(seen: Snapshot) -> bool:
    """Whether a controller has asked for nodes, and has not got them."""
    assert seen.workspace is not None
    said = dig(seen.workspace, "status", "conditions")
    return bool(said) and not is_true(seen.workspace, api.RESOURCE_READY)


async def _pools(client: Client, seen: Snapshot, questions: _Questions) -> tuple[Object, ...]:
    """The NodePools of KAITO v0.12 with Karpenter, where nodes are still waited for."""
    assert seen.workspace is not None
    if seen.is_ours or not _waits_for_nodes(seen):
        return ()
    metadata = seen.workspace["metadata"]
    labels = zip(
        (api.LABEL_POOL_WORKSPACE, api.LABEL_POOL_NAMESPACE),
        (metadata["name"], metadata.get("namespace") or ""),
        strict=True,
    )
    selector = ",".join("=".join(label) for label in labels)
    listed = await questions.answer("nodepools", client.list(api.NODE_POOL, label_selector=selector))
    return tuple(listed.items) if listed else ()


async def _controllers(
    client: Client, seen: Snapshot, questions: _Questions
) -> tuple[tuple[str, ...] | None, tuple[ObjectKey, ...]]:
    """What manages Workspaces here, and which others it may be busy with.

    Asked only when this one seems not to be managed.
    """
    assert seen.workspace is not None
    generation = int(seen.workspace["metadata"].get("generation") or 0)
    observed = [
        int(item.get("observedGeneration") or 0) for item in dig(seen.workspace, "status", "conditions") or ()
    ]
    if observed and max(observed) >= generation and not is_being_deleted(seen.workspace):
        return None, ()
    listed = await questions.answer("deployments of all namespaces", client.list(DEPLOYMENT))
    if listed is None:
        return None, ()
    found = installation.controllers(listed.items)
    here = tuple(one.words_with_provisioner for one in found)
    if any(one.wanted and not one.ready for one in found):
        from kaitoctl.commands.controller_pods import words_of  # most controllers run

        here = tuple(await asyncio.gather(*(words_of(client, one) for one in found)))
    if not of_controller.is_kaito_here(here):
        return here, ()
    others = await questions.answer("Workspaces of all namespaces", client.list(api.kind_of(seen.workspace)))
    return here, of_controller.waiting(others.items, key_of(seen.workspace)) if others else ()
