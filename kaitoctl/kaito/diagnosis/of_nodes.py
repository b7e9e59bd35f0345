"""Rules about nodes that are there; those that were asked for are in `of_claims`."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kaitoctl.advice import Advice, Command
from kaitoctl.kaito import api, kubectl_hints, node_check
from kaitoctl.kaito.diagnosis import of_controller
from kaitoctl.kaito.diagnosis.case import (
    Case,
    blame,
    condition_words,
    denials,
    event_words,
    reason_words,
    title_of,
)
from kaitoctl.kaito.diagnosis.cause import Cause
from kaitoctl.kaito.diagnosis.maintenance import maintenance_of
from kaitoctl.kaito.launch_failures import claim_failure
from kaitoctl.kaito.node_check.of_state import problems, unready_hint
from kaitoctl.kaito.rollout import Phase
from kaitoctl.kaito.workspace_conditions import NODES_AWAITED
from kaitoctl.kube import conditions, pod_state
from kaitoctl.kube.objects import (
    Object,
    annotations_of,
    dig,
    is_being_deleted,
    labels_of,
    whole_number,
)


def findings(case: Case) -> Iterator[Cause]:
    """Nodes that could serve, and what keeps them from it."""
    unready = set()
    for pod in case.pods:
        node = case.seen.node(str(dig(pod, "spec", "nodeName") or ""))
        if node is not None and not pod_state.is_finished(pod) and not conditions.is_true(node, "Ready"):
            ready = conditions.find(node, "Ready") or {}
            unready.add(node["metadata"]["name"])
            yield blame(
                "not-ready",
                title_of(node),
                f"the node that {pod['metadata']['name']} runs on is not Ready",
                [("condition Ready", reason_words(ready))],
                hint=unready_hint(str(ready.get("status") or ""), str(ready.get("message") or "")),
                command=Command("kubectl describe node", node["metadata"]["name"]),
            )
    verdict = case.seen.verdict
    waiting = [
        pod for pod in case.pods if not dig(pod, "spec", "nodeName") and not pod_state.is_finished(pod)
    ]
    if verdict is None or case.progress.phase > Phase.SCHEDULING:
        return
    if case.pods and not waiting and case.progress.phase not in (Phase.NODES, Phase.GPU_PLUGIN):
        return
    if verdict.enough and not waiting:
        return
    held = {dig(pod, "spec", "nodeName") for pod in case.pods}
    evidence = [event_words(event) for pod in waiting for event in case.seen.events_of(pod)[:1]]
    evidence += [(f"condition {item['type']}", str(item.get("message"))) for item in denials(case)][:1]
    on_their_way = any(not claim_failure(claim) and not is_being_deleted(claim) for claim in case.seen.claims)
    for judged_node in _nearest_first(verdict, held):
        is_relied_on = judged_node.preferred or judged_node.name in held
        if judged_node.usable or (not is_relied_on and (on_their_way or _is_beside(case, judged_node))):
            continue
        for finding in judged_node.failures:
            code = finding.code
            if code == "not-ready" and judged_node.name in unready:
                continue
            is_gpu_type = case.seen.catalog.machine(judged_node.instance_type) is not None
            unseen = code == "gpu-not-allocatable" and not judged_node.gpus.capacity
            if code in _LACKS_GPUS and (cause := _offered_by_dra(case, judged_node, evidence)):
                yield cause
                continue
            if code == "cordoned" and (cause := _maintenance(case, judged_node, evidence)):
                yield cause
                continue
            if unseen or (code == "no-gpu" and is_gpu_type):
                code = "device-plugin-missing"
            yield _unusable(judged_node, finding, code, evidence, waiting)


def _nearest_first(verdict: node_check.Verdict, held: set[object]) -> list[node_check.NodeVerdict]:
    """Those with pods, those that the user named, that would be selected, that have the labels; others."""
    return sorted(
        verdict.nodes,
        key=lambda node: (
            node.name not in held,
            not node.preferred,
            not node.recognised,
            not node.has_all_labels,
        ),
    )


_OF_OTHERS = ("label-differs", "of-another-workspace")


def _is_beside(case: Case, node: node_check.NodeVerdict) -> bool:
    """Whether a node of other labels is not the matter: it is another Workspace's, or nobody asks for it.

    Where enough nodes could serve, the scheduler has a reason of its own against them (`scheduling`); where
    the controller says what stops it, no label of a node does.
    """
    verdict, named = case.seen.verdict, dig(case.workspace, "status", "workerNodes")
    if node.has_all_labels or (isinstance(named, list) and node.name in named):
        return False
    is_of_another = any(finding.code in _OF_OTHERS for finding in node.failures)
    is_of_another = is_of_another or not node.labels_to_set  # it lacks those alone that KAITO itself sets
    return is_of_another or bool(verdict and verdict.enough) or of_controller.says_what_stops_it(case)


def troubled(case: Case) -> Iterator[Cause]:
    """What has become of a node's GPUs while a pod that holds some is not ready.

    A device plugin that stops takes nothing from pods that run; a GPU that breaks does, and looks alike.
    """
    for pod in case.pods:
        node = case.seen.node(str(dig(pod, "spec", "nodeName") or ""))
        is_judged = node is not None and conditions.is_true(node, "Ready")
        if node is None or not is_judged or pod_state.is_ready(pod) or pod_state.is_finished(pod):
            continue
        name = str(node["metadata"]["name"])
        has, offers = (
            whole_number(dig(node, "status", part, api.GPU)) for part in ("capacity", "allocatable")
        )
        told, full = _told_by_events(case, node)
        bad = [item for item in dig(node, "status", "conditions") or () if _is_bad(item) and _stops(item)]
        reported = [*(condition_words(item) for item in bad), *told]
        of_gpus = [(source, words) for source, words in reported if _OF_GPUS.search(source)]
        if reported:
            what = f"the GPUs of {name}" if of_gpus else f"node {name}"
            yield blame(
                "node-problem",
                title_of(node),
                f"a problem of {what} is reported, where {pod['metadata']['name']} runs",
                of_gpus or reported,
                hint="drain and reboot the node, or replace it",
                command=Command("kubectl describe node", name),
                weight="fault" if _is_late(case, pod) else "wait",
            )
        if full:
            yield blame(
                "disk-full",
                title_of(node),
                f"node {name}, where {pod['metadata']['name']} runs, cannot free enough of its disk",
                full,
                hint="take nodes with a larger disk, or remove what fills it",
                command=Command("kubectl describe node", name),
                weight="fault" if _is_late(case, pod) else "wait",
            )
        lost = offers == 0 and pod_state.holds_accelerator(pod) and _is_late(case, pod)
        if has and lost and not of_gpus:
            yield blame(
                "gpu-not-allocatable",
                title_of(node),
                f"node {name}, where {pod['metadata']['name']} runs, has {has} "
                f"{node_check.plural('GPU', has)}, and none is allocatable any more",
                [("node", f"capacity {has}, allocatable {offers} {api.GPU}")],
                hint="the device plugin has stopped there, or calls the GPUs unhealthy: check its pod",
                command=kubectl_hints.pods_on(name),
            )


_OF_GPUS = re.compile(r"(?i)gpu|xid|nvlink|nvswitch|fabric|dcgm|accelerat|cuda|ib_?link|nvidia")
_LATE_S = 900.0


def _told_by_events(case: Case, node: Object) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """What events say of a node's problems, and of its disk."""
    events = case.seen.events_of(node)
    if not events:
        return [], []
    from kaitoctl.kaito.diagnosis import of_node_events  # of most nodes there are none

    return of_node_events.problems(events, "node-problem"), of_node_events.problems(events, "disk-full")


def is_of_gpus(cause: Cause) -> bool:
    """Whether a reported problem of a node is one of its GPUs."""
    return any(_OF_GPUS.search(source) for source, _ in cause.evidence)


def _is_bad(condition: Object) -> bool:
    told = {str(condition.get("type")): (str(condition.get("status")), "")}
    return condition.get("status") != "Unknown" and any(problems(told))


def _stops(condition: Object) -> bool:
    """Whether a problem keeps pods from getting on; some only announce one, or are of other services."""
    return _PASSING.match(str(condition.get("type"))) is None


_PASSING = re.compile("Frequent|NTPProblem|VMEventScheduled|PreemptionScheduled|KubeProxy|NetworkUnavailable")


def _is_late(case: Case, pod: Object) -> bool:
    """Whether a pod runs for longer than most servers load, or served before."""
    times = [dig(item, "state", "running", "startedAt") for item in pod_state.container_statuses(pod)]
    return case.progress.down or any(case.age_s(moment) > _LATE_S for moment in times if moment)


def _unusable(
    judged: node_check.NodeVerdict,
    finding: node_check.Finding,
    code: str,
    evidence: list[tuple[str, str]],
    waiting: list[Object],
) -> Cause:
    message, hint = finding.message, finding.hint
    promised = {dig(pod, "status", "nominatedNodeName") for pod in waiting}
    if code == "gpus-in-use" and judged.name in promised:
        message += "; Kubernetes stops pods of lower priority there to make room for it"
        hint = "wait until they have ended; a grace period or a finalizer may hold one of them"
    return blame(
        code,
        f"Node {judged.name}",
        message,
        [("node", _gpus_of(judged)), *evidence],
        hint=hint,
        command=finding.command,
    )


_LACKS_GPUS = ("no-gpu", "gpu-not-allocatable", "other-vendor-gpu", "device-plugin-missing")


def _maintenance(case: Case, judged: node_check.NodeVerdict, evidence: list[tuple[str, str]]) -> Cause | None:
    """A cordon that somebody's maintenance takes away again."""
    node = case.seen.node(judged.name)
    sign = maintenance_of(node) if node is not None else None
    if sign is None:
        return None
    written = {**labels_of(node or {}), **annotations_of(node or {})}[sign.key]
    return blame(
        "cordoned",
        f"Node {judged.name}",
        f"the node is cordoned: {sign.who} {sign.what}",
        [("node", f"{sign.key}: {written}"), ("node", _gpus_of(judged)), *evidence],
        hint=f"{sign.who} opens it again when it has finished: wait, or take another node",
        command=Command("kubectl describe node", judged.name),
    )


def _offered_by_dra(
    case: Case, judged: node_check.NodeVerdict, evidence: list[tuple[str, str]]
) -> Cause | None:
    """GPUs of which pods that ask for `nvidia.com/gpu` get none.

    Source: Kubernetes v1.37.2 staging/src/k8s.io/api/resource/v1 (ResourceSlice); NVIDIA DRA driver 25.x;
    KEP 5004 (extended resources by DRA).
    """
    drivers: dict[str, int] = {}
    for item in case.seen.device_slices:
        driver = str(dig(item, "spec", "driver") or "")
        if dig(item, "spec", "nodeName") == judged.name and _GPU_DRIVERS.search(driver):
            drivers[driver] = drivers.get(driver, 0) + len(dig(item, "spec", "devices") or ())
    if not any(drivers.values()):
        return None
    words = ", ".join(
        f"{count} {node_check.plural('device', count)} of {name}" for name, count in drivers.items()
    )
    return blame(
        "device-plugin-missing",
        f"Node {judged.name}",
        f"its GPUs are offered through dynamic resource allocation alone ({words}), and the pods ask for "
        f"{api.GPU}",
        [("ResourceSlice", words), ("node", _gpus_of(judged)), *evidence],
        hint=f"run the device plugin there in place of the DRA driver's GPU part; or name {api.GPU} as "
        "extendedResourceName of a DeviceClass (Kubernetes 1.34 and later, feature DRAExtendedResource)",
        command=Command("kubectl get resourceslices --field-selector", f"spec.nodeName={judged.name}"),
    )


_GPU_DRIVERS = re.compile(r"(^|\.)gpu\.|nvidia|amd\.com|intel\.com")


PLUGIN_HINT = "install the GPU vendor's device plugin, or check why it does not run on this node"


def without_gpus(case: Case, node: Object) -> tuple[str, str, Advice, Command]:
    """Code, message, hint and command for a node that has joined without GPUs, as `check-nodes` has it."""
    name = str(node["metadata"]["name"])
    why = node_check.why_no_gpu(node, case.seen.catalog)
    if why.code == "no-gpu":
        message = f"node {name} has joined and shows no {api.GPU}"
        return "device-plugin-missing", message, PLUGIN_HINT, kubectl_hints.pods_on(name)
    command = why.command if isinstance(why.command, Command) else Command("kubectl describe node", name)
    return why.code, f"node {name} has joined: {why.message}", why.hint, command


def _gpus_of(node: node_check.NodeVerdict) -> str:
    if not node.exists:
        return "the cluster has no node of this name"
    gpus, words = node.gpus, [node.instance_type or "no instance type"]
    words.append(f"capacity {gpus.capacity}, allocatable {gpus.allocatable} {api.GPU}")
    if gpus.in_use is not None:
        words.append(f"in use {gpus.in_use}")
    return ", ".join(words)


_PREPARE = "label nodes with GPUs so that the selector means them"


def no_nodes(case: Case) -> Iterator[Cause]:
    """There are too few nodes, and nobody who could create them."""
    for item in denials(case):
        is_awaited = item.get("reason") == NODES_AWAITED
        if is_awaited or item.get("reason") == "NodesMissing":
            yield blame(
                "no-node-provisioner",
                title_of(case.workspace),
                "nodes are missing, and nothing creates them here",
                [(f"condition {item['type']}", str(item.get("message")))],
                hint=_PREPARE if is_awaited else "prepare nodes, or install a node provisioner",
                command=Command("kaitoctl check-nodes", case.name, *case.in_namespace),
            )
            return
    verdict = case.seen.verdict
    if verdict is None or not verdict.rules.is_byo or verdict.missing <= 0 or case.pods:
        return
    if case.progress.phase not in (Phase.ACCEPTED, Phase.NODES):
        return
    labels = node_check.labels_asked(case.workspace, verdict.rules)
    selector = ", ".join(f"{key}={value}" for key, value in labels.items())
    yield blame(
        "no-node-provisioner",
        title_of(case.workspace),
        f"{verdict.missing} of {verdict.required} {node_check.plural('node', verdict.required)} missing, and "
        "KAITO makes none here (byo)",
        [
            ("labelSelector", selector or "none: any node"),
            *((f"condition {item['type']}", str(item.get("message"))) for item in denials(case)[:1]),
        ],
        hint=_PREPARE,
        command=Command("kaitoctl check-nodes", case.name, *case.in_namespace),
    )
