"""Rules about the way to the model: a Service that reaches nobody, lost nodes, who is served."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from kaitoctl.advice import Advice, Command
from kaitoctl.kaito import kubectl_hints
from kaitoctl.kaito.diagnosis.case import (
    Case,
    blame,
    condition_words,
    event_words,
    span,
)
from kaitoctl.kaito.diagnosis.cause import Cause
from kaitoctl.kaito.serving import (
    MAIN_PORT,
    Serving,
    asked_port,
    is_on_lost_node,
    lacks_main_port,
    listening,
    main_service,
    ready_pods,
    serving,
    target_port,
)
from kaitoctl.kaito.snapshot import event_time
from kaitoctl.kube import conditions, pod_state
from kaitoctl.kube.objects import LABEL_POD_NAME, Object, dig, is_being_deleted
from kaitoctl.kube.workloads import replicas

_GRACE_S = 120.0
_ENDPOINTS_WITHIN_S = 10.0


def service(case: Case) -> Iterator[Cause]:
    """Ready pods that nobody can reach."""
    if case.workspace.get("tuning") or not case.seen.workloads:
        return
    found = serving(case.seen)
    if found.is_any or found.gap == "pods":
        return
    if found.gap == "endpoints" and not case.progress.down and _is_just_ready(case):
        return
    main = main_service(case.seen)
    code = "service-misdirected" if found.gap in ("type", "port") else "no-endpoints"
    other = _other_family(case, main) if found.gap == "endpoints" and main else ""
    hint, command = _made_again(case, main) if other and main else _fix(case, found, main)
    yield blame(
        code,
        f"Service {case.name}",
        other or found.words,
        _evidence(case, main),
        hint=hint,
        command=command,
        weight="fault" if case.progress.down else "wait",
    )


def headless(case: Case) -> Iterator[Cause]:
    """The Service by which pods on several nodes find each other is not there."""
    if "services" in case.seen.unseen or main_service(case.seen) is None:
        return
    there = {str(item["metadata"]["name"]) for item in case.seen.services}
    for item in case.seen.workloads:
        name = str(dig(item, "spec", "serviceName") or "")
        if not name or name in there or replicas(item) < 2 or is_being_deleted(item):
            continue
        yield blame(
            "gpus-disconnected",
            f"Service {name}",
            f"the headless Service {name}, by which the pods of the server find each other, does not exist",
            [("cluster", f"there is no Service {name}"), ("StatefulSet", f"serviceName {name}")],
            hint="the controller makes it when it next looks at the Workspace: check that it runs",
            command=Command("kaitoctl doctor"),
        )


def going_service(case: Case) -> Iterator[Cause]:
    """The Service is being deleted: until its finalizers are off it leads to the pods, and is in the way.

    Source: Kubernetes v1.37.2 k8s.io/cloud-provider/service/helpers (LoadBalancerCleanupFinalizer).
    """
    main = main_service(case.seen)
    if main is None or not is_being_deleted(main) or is_being_deleted(case.workspace):
        return
    held = [str(name) for name in main["metadata"].get("finalizers") or ()]
    since_s = case.age_s(main["metadata"]["deletionTimestamp"])
    who = f", which finalizer {', '.join(held)} has held for {span(since_s)}" if held else ""
    hint = "its owner takes its finalizer off: check that it runs"
    if "service.kubernetes.io/load-balancer-cleanup" in held:
        hint = "the cloud's controller first takes its load balancer down: its events say what it meets"
    yield blame(
        "service-going",
        f"Service {case.name}",
        f"Service {case.name} is being deleted{who}; it leads to the model until it is gone, "
        "and no other can be made meanwhile",
        [
            ("metadata", f"deletionTimestamp {main['metadata']['deletionTimestamp']}"),
            *(event_words(event) for event in case.seen.events_of(main)[:1]),
        ],
        hint=f"{hint}; then the controller makes the Service again",
        command=kubectl_hints.describe(main),
        weight="note",
    )


def _is_just_ready(case: Case) -> bool:
    """Whether the pods became ready so lately that Kubernetes may not have written their endpoints yet."""
    moments = [
        (conditions.find(pod, "Ready") or {}).get("lastTransitionTime") for pod in ready_pods(case.seen)
    ]
    return all(moment and case.age_s(moment) < _ENDPOINTS_WITHIN_S for moment in moments)


def _evidence(case: Case, main: Object | None) -> list[tuple[str, str]]:
    if main is None:
        return [
            ("cluster", f"there is no Service {case.name}, and {len(ready_pods(case.seen))} pods are ready")
        ]
    spec = main.get("spec") or {}
    ports = [
        f"{port.get('port')} -> {port.get('targetPort') or port.get('port')}/{port.get('protocol') or 'TCP'}"
        for port in spec.get("ports") or ()
    ]
    words = (
        f"type {spec.get('type') or 'ClusterIP'}, selector {spec.get('selector')}, ports {', '.join(ports)}"
    )
    slices = f"{len(case.seen.slices)} EndpointSlices with {_ready_endpoints(case)} ready endpoints"
    return [("Service", words), ("cluster", slices)]


def _ready_endpoints(case: Case) -> int:
    ends = [end for one in case.seen.slices for end in one.get("endpoints") or ()]
    return len([end for end in ends if dig(end, "conditions", "ready") is not False])


def of_selector(case: Case) -> Object:
    """What the Service is to select: its pods, of a model server's StatefulSet the first; or nothing."""
    is_custom = dig(case.workspace, "inference", "template") is not None
    for item in case.seen.workloads:
        if labels := dict(dig(item, "spec", "selector", "matchLabels") or {}):
            first = {LABEL_POD_NAME: f"{item['metadata']['name']}-0"}
            return labels if is_custom or item.get("kind") != "StatefulSet" else labels | first
    return {}


def _fix(case: Case, found: Serving, main: Object | None) -> tuple[Advice, Command]:
    """What to do, and a command that does it: of a Service that reaches nobody none takes anything away."""
    if main is None:
        return (
            "the controller makes it when it next looks at the Workspace: check that it runs",
            Command("kaitoctl doctor"),
        )
    look = kubectl_hints.describe(main)
    labels = of_selector(case)
    if found.gap == "selector" and labels and labels != dig(main, "spec", "selector"):
        pairs = ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
        return (
            "give the Service the labels of the pods again",
            Command("kubectl set selector service", case.name, *case.in_namespace, pairs),
        )
    if found.gap == "port" and lacks_main_port(case.seen, main):
        added = _port_again(case, main)
        more = "the others stay as they are" if added else "it leads to the one where the server listens"
        return f"give it port {MAIN_PORT} again; {more}", added or look
    port = asked_port(main)
    if found.gap == "port" and port is not None:
        number = _server_port(case, port)
        is_tcp = (port.get("protocol") or "TCP") == "TCP"
        index = (dig(main, "spec", "ports") or []).index(port)
        if number is not None and is_tcp:
            patch = json.dumps([{"op": "add", "path": f"/spec/ports/{index}/targetPort", "value": number}])
            return (
                f"point it to port {number}, where the server listens",
                Command(
                    "kubectl patch service", case.name, *case.in_namespace, "--type", "json", "-p", patch
                ),
            )
    if found.gap == "endpoints" and _ready_endpoints(case):
        return (
            "check who has written these endpoints (label endpointslice.kubernetes.io/managed-by), and their "
            "ports: names and numbers",
            kubectl_hints.endpoints_of(case.name, case.in_namespace),
        )
    if found.gap == "endpoints":
        return "check why Kubernetes has written no endpoint; it takes seconds when its controllers run", look
    return "check what has changed it; the Workspace needs a ClusterIP or LoadBalancer Service", look


def _server_port(case: Case, port: Object) -> int | None:
    """The port on which the server listens, where that can be only one."""
    known = sorted(set().union(*map(listening, ready_pods(case.seen))) - {29500})  # where processes meet
    return known[0] if len(known) == 1 and known[0] != target_port(port, {}) else None


def _port_again(case: Case, main: Object) -> Command | None:
    """What gives the Service its main port again and leaves the others; None without a known server port.

    Of several ports each must have a name of its own, so that a single one without gets one, too. Where
    people write the endpoints themselves, these go by the names of the ports.
    """
    ports = dig(main, "spec", "ports") or []
    number = _server_port(case, {})
    if number is None or not dig(main, "spec", "selector"):
        return None
    taken = {port.get("name") for port in ports}
    names = ("http", *(f"http-{count}" for count in range(MAIN_PORT, MAIN_PORT + len(taken) + 1)))
    name = next(name for name in names if name not in taken)
    added = {"name": name, "port": MAIN_PORT, "protocol": "TCP", "targetPort": number}
    patch: list[Object] = [
        {"op": "add", "path": f"/spec/ports/{index}/name", "value": f"port-{port.get('port')}"}
        for index, port in enumerate(ports)
        if not port.get("name")
    ]
    patch += [
        {"op": "add", "path": "/spec/ports/-", "value": added}
        if ports
        else {"op": "add", "path": "/spec/ports", "value": [added]}
    ]
    words = ("--type", "json", "-p", json.dumps(patch))
    return Command("kubectl patch service", case.name, *case.in_namespace, *words)


def _family(address: object) -> str:
    return "IPv6" if ":" in str(address) else "IPv4"


def _other_family(case: Case, main: Object) -> str:
    """That no ready pod has an address of the Service's families, in words; empty otherwise.

    Source: Kubernetes v1.37.2 staging/src/k8s.io/endpointslice/utils.go (getEndpointAddresses),
    reconciler.go (a pod without an address of the family is skipped).
    """
    spec = main.get("spec") or {}
    asked = {str(one) for one in spec.get("ipFamilies") or ()}
    states = [pod.get("status") or {} for pod in ready_pods(case.seen)]
    addresses = [one.get("ip") for state in states for one in state.get("podIPs") or ()]
    had = {_family(one) for one in (*addresses, *(state.get("podIP") for state in states)) if one}
    if not spec.get("selector") or not asked or not had or asked & had:
        return ""
    asks, have = " and ".join(sorted(asked)), " and ".join(sorted(had))
    return (
        f"Service {case.name} is of {asks} alone, and its ready pods have addresses of {have} alone: "
        "Kubernetes writes no endpoint of another family"
    )


def _made_again(case: Case, main: Object) -> tuple[Advice, Command]:
    """How a Service comes to another family: the first one of a Service cannot be changed."""
    address = ""
    if dig(main, "spec", "type") == "LoadBalancer":
        address = "; its load balancer goes with it, and the next one has another address"
    again = "make it again from its manifest, without ipFamilies"
    if dig(case.workspace, "inference", "template") is None:
        again = "the controller makes it again when it next sees the Workspace, in the cluster's own family"
    delete = Command("kubectl delete service", case.name, *case.in_namespace)
    return (
        f"a Service keeps its first family. This one reaches nobody{address}: save it, delete it ("
        + (delete + f"), and {again}"),
        Command("kubectl get service", case.name, *case.in_namespace, "-o", "yaml"),
    )


def lost_nodes(case: Case) -> Iterator[Cause]:
    """Pods that are stuck on a node that nobody hears of any more, or that is gone."""
    stuck: dict[str, list[Object]] = {}
    for pod in case.seen.pods:
        if dig(pod, "spec", "nodeName") in case.seen.gone and not pod_state.is_finished(pod):
            stuck.setdefault(str(pod["spec"]["nodeName"]), []).append(pod)
            continue
        is_unknown = dig(pod, "status", "phase") == "Unknown" or dig(pod, "status", "reason") == "NodeLost"
        overdue_s = case.age_s(pod["metadata"].get("deletionTimestamp")) if is_being_deleted(pod) else 0.0
        if is_unknown or (overdue_s > _GRACE_S and is_on_lost_node(case.seen, pod)):
            stuck.setdefault(str(dig(pod, "spec", "nodeName") or "?"), []).append(pod)
    yield from _vanished(case, stuck)
    for name, pods in stuck.items():
        if name in case.seen.gone:
            yield _on_no_node(case, name, pods[0])
            continue
        node = case.seen.node(name)
        ready = (conditions.find(node, "Ready") if node else None) or {}
        since = case.age_s(ready.get("lastTransitionTime"))
        yield blame(
            "node-lost",
            f"Node {name}",
            f"the node that {pods[0]['metadata']['name']} was on is not heard of"
            + (f" for {span(since)}" if since else ""),
            [
                condition_words({"type": "Ready", **ready}),
                ("pod", f"{pods[0]['metadata']['name']} is {pod_state.summary(pods[0])}"),
                ("pod", str(dig(pods[0], "status", "message") or "")),
            ],
            hint="check whether the machine still runs: its pods are replaced once it is back, or its Node "
            "is gone",
            command=Command("kubectl describe node", name),
        )


def _vanished(case: Case, stuck: Mapping[str, object]) -> Iterator[Cause]:
    """Nodes that the status still names and that are gone, while pods wait for one in their place."""
    verdict, claims = case.seen.verdict, case.seen.claims
    waiting = [
        pod for pod in case.pods if not dig(pod, "spec", "nodeName") and not pod_state.is_finished(pod)
    ]
    named = dig(case.workspace, "status", "workerNodes")
    gone = [name for name in named if name in case.seen.gone] if isinstance(named, list) else []
    if not waiting or any(map(pod_state.is_ready, case.seen.pods)) or (verdict and verdict.enough):
        return
    on_its_way = any(not is_being_deleted(claim) for claim in claims)
    for name in gone:
        if name in stuck:
            continue
        why, words, hint = _why_gone(case, name)
        pod = str(waiting[0]["metadata"]["name"])
        told = [event_words(event) for event in case.seen.events_of(waiting[0])[:1]]
        yield blame(
            "node-lost",
            f"Node {name}",
            f"node {name}, which the Workspace ran on, does not exist any more, and {pod} waits for "
            f"another{words}",
            [("cluster", f"there is no Node {name}"), *why, *told],
            hint=f"{hint}; then check whether the controller asks for another node, or prepare one yourself",
            command=Command("kaitoctl check-nodes", case.name, *case.in_namespace),
            weight="note" if on_its_way else "fault",
        )


def _why_gone(case: Case, name: str) -> tuple[list[tuple[str, str]], str, str]:
    """Why a node went, by its events: evidence, words, and what to do about it."""
    from kaitoctl.kaito.diagnosis import node_removals, of_node_events  # most nodes stay

    about = [event for event in case.seen.events if dig(event, "involvedObject", "kind") == "Node"]
    about = [event for event in about if dig(event, "involvedObject", "name") == name]
    about.sort(key=event_time, reverse=True)
    evidence, found = of_node_events.why_gone(about), node_removals.of_events(about)
    if found is None:
        who = "check who took it away: the cloud (a spot machine), an autoscaler, a person"
        return evidence, "", who
    return evidence, f": {found.words}", found.hint


def _on_no_node(case: Case, name: str, pod: Object) -> Cause:
    """A pod whose Node is gone: Kubernetes takes it out of the Service at once, and deletes it after 40 s.

    Source: Kubernetes v1.37.2 pkg/controller/podgc/gc_controller.go (quarantineTime, gcCheckPeriod).
    """
    pod_name = str(pod["metadata"]["name"])
    why, words, _ = _why_gone(case, name)
    return blame(
        "node-lost",
        f"Node {name}",
        f"the node that {pod_name} runs on, or ran on, does not exist any more{words}",
        [("cluster", f"there is no Node {name}"), *why, ("pod", f"{pod_name} is {pod_state.summary(pod)}")],
        hint="Kubernetes deletes such a pod within a minute, and its workload makes another; if it stays, "
        "check that kube-controller-manager runs, and delete it",
        command=Command("kubectl get pod", pod_name, *case.in_namespace, "-o", "wide"),
    )
