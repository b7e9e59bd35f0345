"""Rules about the way to the model: a Service that reaches nobody, lost nodes, who is served."""

from __future__ import annotations

import json
from collections.abc import Iterator

from kaitoctl.kaito.diagnosis.case import Case, blame, describe, span, title_of, told_by, told_of, word
from kaitoctl.kaito.diagnosis.cause import Cause
from kaitoctl.kaito.serving import (
    Serving,
    asked_port,
    is_on_lost_node,
    listening,
    main_service,
    ready_pods,
    serving,
    target_port,
)
from kaitoctl.kube import conditions
from kaitoctl.kube import pods as pods_
from kaitoctl.kube.objects import Object, dig, is_being_deleted

_GRACE_S = 120.0


def service(case: Case) -> Iterator[Cause]:
    """Ready pods that nobody can reach."""
    if case.workspace.get("tuning") or not case.seen.workloads:
        return
    found = serving(case.seen)
    if found.is_any or found.gap == "pods":
        return
    main = main_service(case.seen)
    code = "service-misdirected" if found.gap in ("type", "port") else "no-endpoints"
    hint, command = _fix(case, found, main)
    yield blame(
        code,
        f"Service {case.name}",
        found.words,
        _seen(case, main),
        hint=hint,
        command=command,
        weight="fault" if case.progress.down else "wait",
    )


def _seen(case: Case, main: Object | None) -> list[tuple[str, str]]:
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
    ready = len([one for one in case.seen.slices for end in one.get("endpoints") or () if _is_ready(end)])
    slices = f"{len(case.seen.slices)} EndpointSlices with {ready} ready endpoints"
    return [("Service", words), ("cluster", slices)]


def _is_ready(endpoint: Object) -> bool:
    return dig(endpoint, "conditions", "ready") is not False


def _fix(case: Case, found: Serving, main: Object | None) -> tuple[str, str]:
    """What to do, and a command that does it: of a Service that reaches nobody none takes anything away."""
    if main is None:
        return (
            "the controller makes it when it next looks at the Workspace: see that it runs",
            "kaitoctl doctor",
        )
    look = describe(case, main)
    chosen_by = (dig(item, "spec", "selector", "matchLabels") for item in case.seen.workloads)
    labels: Object = next(filter(None, chosen_by), {})
    if found.gap == "selector" and labels:
        pairs = word(",".join(f"{key}={value}" for key, value in sorted(labels.items())))
        return (
            "give the Service the labels of the pods again",
            f"kubectl set selector service {word(case.name)} {case.namespace} {pairs}",
        )
    port = asked_port(main)
    if found.gap == "port" and port is not None:
        number = _server_port(case, port)
        is_tcp = (port.get("protocol") or "TCP") == "TCP"
        index = (dig(main, "spec", "ports") or []).index(port)
        if number is not None and is_tcp:
            patch = json.dumps([{"op": "add", "path": f"/spec/ports/{index}/targetPort", "value": number}])
            return (
                f"lead it to port {number}, where the server listens",
                f"kubectl patch service {word(case.name)} {case.namespace} --type json -p {word(patch)}",
            )
    if found.gap == "endpoints":
        return "see why Kubernetes has written no endpoint; it takes seconds when its controllers run", look
    return "see what has changed it; the Workspace needs a ClusterIP or LoadBalancer Service", look


def _server_port(case: Case, port: Object) -> int | None:
    """The port on which the server listens, where that can be only one."""
    known = sorted(set().union(*map(listening, ready_pods(case.seen))) - {29500})  # where processes meet
    return known[0] if len(known) == 1 and known[0] != target_port(port, {}) else None


def lost_nodes(case: Case) -> Iterator[Cause]:
    """Pods that are stuck on a node that nobody hears of any more."""
    stuck: dict[str, list[Object]] = {}
    for pod in case.seen.pods:
        is_unknown = dig(pod, "status", "phase") == "Unknown" or dig(pod, "status", "reason") == "NodeLost"
        overdue_s = case.age_s(pod["metadata"].get("deletionTimestamp")) if is_being_deleted(pod) else 0.0
        if is_unknown or (overdue_s > _GRACE_S and is_on_lost_node(case.seen, pod)):
            stuck.setdefault(str(dig(pod, "spec", "nodeName") or "?"), []).append(pod)
    for name, pods in stuck.items():
        node = case.seen.node(name)
        ready = (conditions.find(node, "Ready") if node else None) or {}
        since = case.age_s(ready.get("lastTransitionTime"))
        yield blame(
            "node-lost",
            f"Node {name}",
            f"the node that {pods[0]['metadata']['name']} was on is not heard of"
            + (f" for {span(since)}" if since else ""),
            [
                ("condition Ready", f"{ready.get('status')} {ready.get('reason')}: {ready.get('message')}"),
                ("pod", f"{pods[0]['metadata']['name']} is {pods_.summary(pods[0])}"),
                ("pod", str(dig(pods[0], "status", "message") or "")),
            ],
            hint="see whether the machine still runs: its pods are replaced once it is back, or its Node "
            "is gone",
            command=f"kubectl describe node {word(name)}",
        )


def nobody_served(case: Case) -> Iterator[Cause]:
    """Its controller calls it ready and nobody is served; for when nothing else was found."""
    if not case.progress.down:
        return
    evidence = []
    for pod in case.pods:
        ready = conditions.find(pod, "Ready") or {}
        words = f"{ready.get('status')} {ready.get('reason') or ''} {ready.get('message') or ''}".strip()
        evidence.append((f"{title_of(pod)}, condition Ready", words))
        gates = [str(item.get("conditionType")) for item in dig(pod, "spec", "readinessGates") or ()]
        evidence += [
            (f"{title_of(pod)}, readiness gate", f"{gate} is not True")
            for gate in gates
            if not conditions.is_true(pod, gate)
        ]
        evidence += [
            told_by(event) for event in case.seen.events_of(pod) if event.get("reason") == "Unhealthy"
        ][:1]
    yield blame(
        "nobody-served",
        title_of(case.workspace),
        f"nobody is served: {case.progress.detail}",
        evidence or told_of(case),
        hint="see the pods and their logs",
        command=f"kaitoctl logs {case.name} {case.namespace}"
        if case.pods
        else f"kaitoctl status {case.name} {case.namespace}",
    )
