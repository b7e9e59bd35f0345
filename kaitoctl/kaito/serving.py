"""Whether anybody is served: the one answer that `why`, `status`, `endpoint` and `doctor` share. Pure.

A Workspace serves when the port of its Service that prompts go to leads to at least one ready pod of its
own. Conditions say what a controller saw last, perhaps weeks ago; this looks at what is there: pods, the
nodes that they are on, the Service, and its EndpointSlices.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Literal

from msgspec import Struct

from kaitoctl.kaito.snapshot import Snapshot
from kaitoctl.kube import conditions, pod_state
from kaitoctl.kube.objects import (
    LABEL_POD_NAME,
    Object,
    annotations_of,
    controller_of,
    dig,
    is_being_deleted,
    key_of,
    labels_of,
    selector_text,
)

Gap = Literal["", "pods", "missing", "type", "selector", "port", "endpoints"]
"""Where the way to the model ends: at its pods, a missing Service, its type, its selector, its port, or at
endpoints that nobody has written."""

_PROBES = ("startupProbe", "livenessProbe", "readinessProbe")
MAIN_PORT = 80


class Serving(Struct, frozen=True):
    """Who is reached through the Service.

    Args:
        pods: names of the ready pods behind the port that is asked, or their addresses without the right to
            see pods.
        gap: where the way ends, if it leads to none.
        words: the same for people, such as `Service falcon is missing`.
    """

    pods: tuple[str, ...] = ()
    gap: Gap = ""
    words: str = ""

    @property
    def is_any(self) -> bool:
        """Whether anybody is served."""
        return not self.gap


def serving(seen: Snapshot) -> Serving:
    """Whether a Workspace's model can be asked, and if not, where the way to it ends."""
    ready = ready_pods(seen)
    if "pods" in seen.unseen:
        return _of_addresses(seen)
    if not ready:
        return Serving(gap="pods", words=_unready(seen))
    if "services" in seen.unseen:
        return Serving(_names(ready))
    service = main_service(seen)
    if service is None:
        if dig(seen.workspace, "inference", "template") is not None:
            return Serving(_names(ready))  # KAITO gives a custom pod no Service, ours none without ports
        return _no_service(seen)
    return _behind(seen, service, ready)


def _no_service(seen: Snapshot) -> Serving:
    return Serving(gap="missing", words=f"Service {_name(seen)} is missing")


def _behind(seen: Snapshot, service: Object, ready: list[Object]) -> Serving:
    name, spec = _name(seen), service.get("spec") or {}
    if spec.get("type") == "ExternalName":
        words = f"Service {name} is of type ExternalName and leads to {spec.get('externalName')}"
        return Serving(gap="type", words=words)
    sees_slices = "endpointslices" not in seen.unseen
    slices = list(seen.slices) if sees_slices else []
    selector = spec.get("selector") or {}
    if selector:
        chosen = [pod for pod in ready if selector.items() <= labels_of(pod).items()]
    else:
        chosen = [pod for pod in ready if any(_is_in(item, pod) for item in slices)]
    if not chosen:
        if first := _first_alone(seen, selector):
            return Serving(gap="pods", words=f"{first}, to which alone Service {name} leads, is not ready")
        words = f"the selector of Service {name}, {selector_text(selector)}, fits none of its ready pods"
        return Serving(gap="selector", words=words if selector else f"Service {name} has no selector")
    port = asked_port(service)
    if port is None or lacks_main_port(seen, service):
        return Serving(gap="port", words=_no_main_port(name, service))
    if not selector:  # whoever writes its endpoints says which port they are asked at
        reached = [pod for pod in chosen if any(_leads_to(seen, item, pod, port) for item in slices)]
        return Serving(_names(reached)) if reached else _no_endpoints(seen, port, chosen)
    open_ = [pod for pod in chosen if _is_open(seen, pod, target_port(port, pod), port)]
    if not open_:
        return Serving(gap="port", words=_wrong_port(name, port, chosen))
    if spec.get("clusterIP") == "None" and target_port(port, open_[0]) != port.get("port"):
        words = (
            f"Service {name} is headless, so nothing translates its port {port.get('port')} to "
            f"{target_port(port, open_[0])}"
        )
        return Serving(gap="type", words=words)
    if not sees_slices:
        return Serving(_names(open_))
    reached = [pod for pod in open_ if any(_leads_to(seen, item, pod, port) for item in slices)]
    return Serving(_names(reached)) if reached else _no_endpoints(seen, port, open_)


def _first_alone(seen: Snapshot, selector: Object) -> str:
    """The pod of a StatefulSet of its own that the selector names; empty for any other selector."""
    name = str(selector.get(LABEL_POD_NAME) or "")
    rest = {key: value for key, value in selector.items() if key != LABEL_POD_NAME}.items()
    is_ours = any(item["metadata"]["name"] == name.rpartition("-")[0] for item in seen.workloads)
    return name if is_ours and any(rest <= labels_of(pod).items() for pod in seen.pods) else ""


def _no_endpoints(seen: Snapshot, port: Object, pods: Collection[Object]) -> Serving:
    """Nobody is reached, though pods are ready.

    Kubernetes gives a Service with a selector an EndpointSlice even while no pod is behind it: without any,
    nobody writes them.
    Source: Kubernetes v1.37.2, staging/src/k8s.io/endpointslice/reconciler.go (placeholder slice).
    """
    ready = [item for item in seen.slices if any(map(_is_ready, item.get("endpoints") or ()))]
    behind = [item for item in ready if not pods or any(_is_in(item, pod) for pod in pods)]
    if behind and (other := _ports_of(behind)):
        words = (
            f"the endpoints of Service {_name(seen)} have its ready pods at {other}, and its "
            f"{_port_words(port)} leads to none of these"
        )
        return Serving(gap="endpoints", words=words)
    if seen.slices:
        return Serving(gap="endpoints", words=f"no endpoint of Service {_name(seen)} is a ready pod")
    return Serving(
        gap="endpoints", words=f"Service {_name(seen)} has no EndpointSlice, so it leads to no pod"
    )


def ready_pods(seen: Snapshot) -> list[Object]:
    """Its pods that answer: Ready, not going away, and on a node that is still heard of."""
    return [
        pod
        for pod in seen.pods
        if pod_state.is_ready(pod)
        and dig(pod, "status", "phase") not in ("Failed", "Succeeded", "Unknown")
        and not is_on_lost_node(seen, pod)
        and not is_foreign(seen, pod)
    ]


# What Kubernetes' controllers label the pods with that they make.
_OF_CONTROLLERS = (
    "pod-template-hash",
    "controller-revision-hash",
    "job-name",
    "batch.kubernetes.io/job-name",
)


def _is_made(pod: Object) -> bool:
    """Whether a controller has made a pod: lists keep no owners of pods, and their labels say so, too."""
    return controller_of(pod) is not None or any(label in labels_of(pod) for label in _OF_CONTROLLERS)


def is_foreign(seen: Snapshot, pod: Object) -> bool:
    """Whether a pod has the Workspace's label, and another one's workload or a person has made it."""
    if not seen.workloads:
        return False  # its pods may outlive it
    owner = controller_of(pod)
    if owner is None:
        return not _is_made(pod) and (bool(seen.replica_sets) or any(map(_is_made, seen.pods)))
    own = {(item.get("kind"), item["metadata"]["name"]) for item in seen.workloads}
    if owner.get("kind") == "ReplicaSet":
        made = (item for item in seen.replica_sets if item["metadata"]["name"] == owner.get("name"))
        above = controller_of(next(made, {}))
        return above is not None and (above.get("kind"), above.get("name")) not in own
    is_set = owner.get("kind") == "StatefulSet" and "statefulsets" not in seen.unseen
    return is_set and (owner.get("kind"), owner.get("name")) not in own


def lacks_address(service: Object) -> bool:
    """Whether a Service wants a load balancer and has none that could be asked."""
    return dig(service, "spec", "type") == "LoadBalancer" and not dig(
        service, "status", "loadBalancer", "ingress"
    )


def others_behind(seen: Snapshot, service: Object) -> list[str]:
    """The names of ready pods behind a Service that the Workspace's workload has not made."""
    selector = dig(service, "spec", "selector") or {}
    own = {str(pod["metadata"]["name"]) for pod in seen.pods if not is_foreign(seen, pod)}
    if not own:
        return []  # whose they are cannot be told
    chosen = [
        str(pod["metadata"]["name"])
        for pod in seen.pods
        if is_foreign(seen, pod)
        and pod_state.is_ready(pod)
        and selector
        and selector.items() <= labels_of(pod).items()
    ]
    told = [
        str(dig(endpoint, "targetRef", "name"))
        for item in seen.slices
        for endpoint in item.get("endpoints") or ()
        if dig(endpoint, "targetRef", "kind") == "Pod" and dig(endpoint, "conditions", "ready") is not False
    ]
    return sorted({*chosen, *(name for name in told if name not in own)})


def is_on_lost_node(seen: Snapshot, pod: Object) -> bool:
    """Whether the pod's node is gone or not Ready: Kubernetes takes such pods out of every Service.

    Source: Kubernetes v1.37.2, pkg/controller/nodelifecycle (MarkPodsNotReady); staging/src/k8s.io/
    endpointslice/reconciler.go (a pod whose Node is not found is skipped).
    """
    name = str(dig(pod, "spec", "nodeName") or "")
    if name in seen.gone:
        return True
    node = seen.node(name)
    ready = conditions.find(node, "Ready") if node is not None else None
    return ready is not None and ready.get("status") != "True"


def main_service(seen: Snapshot) -> Object | None:
    """The Service of the Workspace's name, which prompts go to."""
    return next((item for item in seen.services if item["metadata"]["name"] == _name(seen)), None)


def asked_port(service: Object) -> Object | None:
    """The port that prompts go to: 80, which `http://NAME` means, or else `http`, or else the first."""
    ports = [port for port in dig(service, "spec", "ports") or () if isinstance(port, dict)]
    named = [port for port in ports if port.get("name") == "http"]
    plain = [port for port in ports if port.get("port") == MAIN_PORT]
    plain.sort(key=lambda port: port.get("protocol") == "UDP")
    return next(iter((*plain, *named, *ports)), None)


def lacks_main_port(seen: Snapshot, service: Object) -> bool:
    """Whether a Service has lost the port 80 that KAITO gave it: whoever asks `http://NAME` is refused.

    A custom pod may be asked at any port, and a headless Service has those of the pods.
    Source: KAITO v0.3.2 to v0.12 pkg/workspace/manifests (GenerateServiceManifest).
    """
    spec = service.get("spec") or {}
    if spec.get("clusterIP") == "None" or dig(seen.workspace, "inference", "template") is not None:
        return False
    return all(port.get("port") != MAIN_PORT for port in spec.get("ports") or ())


def _no_main_port(name: str, service: Object) -> str:
    others = _ports_of([service.get("spec") or {}])
    lacks = f" {MAIN_PORT}, which http://{name} asks; it has {others}" if others else ""
    return f"Service {name} has no port{lacks}"


def target_port(port: Object, pod: Object) -> int | None:
    """The number on the pod that a Service port leads to; None for a name that no container port has."""
    target = port.get("targetPort") or port.get("port")
    if isinstance(target, int):
        return target
    if str(target).isascii() and str(target).isdigit():
        return int(str(target))
    return next((number for name, number in _container_ports(pod) if name and name == target), None)


def listening(pod: Object) -> set[int]:
    """The ports on which its containers are known to listen: those that they declare, or are probed at."""
    declared = {number for _, number in _container_ports(pod)}
    for container in dig(pod, "spec", "containers") or ():
        for probe in (container.get(kind) or {} for kind in _PROBES):
            asked = (
                dig(probe, "httpGet", "port") or dig(probe, "tcpSocket", "port") or dig(probe, "grpc", "port")
            )
            if asked and (number := target_port({"targetPort": asked}, pod)):
                declared.add(number)
    return declared


def _container_ports(pod: Object) -> list[tuple[str, int]]:
    return [
        (str(port.get("name") or ""), int(port["containerPort"]))
        for container in pod_state.container_specs(pod)
        for port in container.get("ports") or ()
        if isinstance(port.get("containerPort"), int)
    ]


def _ports_of(slices: Iterable[Object]) -> str:
    """The ports of slices, in their order."""
    found = (one for item in slices for one in item.get("ports") or ())
    return ", ".join(dict.fromkeys(map(_port_words, found)))


def _port_words(port: Object) -> str:
    """`port 80 (http)`."""
    return f"port {port.get('port')}" + (f" ({port['name']})" if port.get("name") else "")


def _is_open(seen: Snapshot, pod: Object, target: int | None, port: Object) -> bool:
    """Whether a container listens on a port; nobody knows all that custom pods listen on."""
    if target is None or (port.get("protocol") or "TCP") != "TCP":
        return False
    known = listening(pod)
    return not known or target in known or dig(seen.workspace, "inference", "template") is not None


def _wrong_port(name: str, port: Object, pods: list[Object]) -> str:
    target = port.get("targetPort") or port.get("port")
    known = sorted(set().union(*map(listening, pods)))
    if (port.get("protocol") or "TCP") != "TCP":
        return f"Service {name} uses {port['protocol']} on port {port.get('port')}, and the server TCP"
    what = (
        f"port {target}" if str(target).isascii() and str(target).isdigit() else f'a port called "{target}"'
    )
    listens = f"; the server listens on {', '.join(map(str, known))}" if known else ""
    return f"port {port.get('port')} of Service {name} leads to {what}, where nothing listens{listens}"


def _leads_to(seen: Snapshot, item: Object, pod: Object, port: Object) -> bool:
    """Whether a slice leads the Service's port to a pod that is ready, and that listens there.

    Who forwards takes the port of the slice that has the name of the Service's, whatever number that has.
    Source: Kubernetes v1.37.2 pkg/proxy/endpointslicecache.go; pkg/proxy/types.go (ServicePortName).
    """
    if not _is_in(item, pod):
        return False
    target = target_port(port, pod)
    return any(
        number in (None, target) or (number in listening(pod)) or _is_by_hand(seen, pod, number, port)
        for number in _numbers(item, port)
    )


def _numbers(item: Object, port: Object) -> list[int | None]:
    """The ports of a slice that a port of the Service leads to; None for any, where it names none."""
    ports = item.get("ports", [{}])  # an API server always writes the field; null is none
    name = port.get("name") or ""
    return [one.get("port") for one in ports or () if (one.get("name") or "") == name or "name" not in one]


def _is_by_hand(seen: Snapshot, pod: Object, number: int, port: Object) -> bool:
    """Whether a person has written the endpoints, to a port that may be open."""
    selects = dig(main_service(seen) or {}, "spec", "selector")
    return not selects and _is_open(seen, pod, number, port)


def _is_in(item: Object, pod: Object) -> bool:
    return any(
        _is_ready(endpoint)
        and (
            dig(endpoint, "targetRef", "name") == pod["metadata"]["name"]
            or dig(pod, "status", "podIP") in (endpoint.get("addresses") or ())
        )
        for endpoint in item.get("endpoints") or ()
    )


def _is_ready(endpoint: Object) -> bool:
    return dig(endpoint, "conditions", "ready") is not False


def _of_addresses(seen: Snapshot) -> Serving:
    """Without the right to see pods: what the EndpointSlices say, or else the workloads."""
    is_told = "endpointslices" not in seen.unseen
    service = main_service(seen) or {}
    port = asked_port(service) or {}
    if service and lacks_main_port(seen, service):
        return Serving(gap="port", words=_no_main_port(_name(seen), service))
    target = target_port(port, {}) if dig(service, "spec", "selector") else None
    ready = [item for item in seen.slices if any(map(_is_ready, item.get("endpoints") or ()))]
    leading = [
        item
        for item in ready
        if any(target is None or number in (None, target) for number in _numbers(item, port or {}))
    ]
    found = [
        str(address)
        for item in (leading if port else ready)
        for endpoint in item.get("endpoints") or ()
        if item.get("ports", True) and _is_ready(endpoint)
        for address in endpoint.get("addresses") or ()
    ]
    if found and is_told:
        return Serving(tuple(found))
    if ready and is_told and port:
        return _no_endpoints(seen, port, ())
    count = sum(int(dig(item, "status", "readyReplicas") or 0) for item in seen.workloads)
    if not count and not (is_told and seen.slices):
        return Serving(gap="pods", words="none of its pods is ready")
    is_custom = dig(seen.workspace, "inference", "template") is not None
    is_hidden = "services" in seen.unseen
    # Who brings a pod of their own brings its Service, or none.
    if is_told and (main_service(seen) is not None or (is_hidden and not is_custom)):
        return _no_endpoints(seen, port, ())
    has_service = is_hidden or main_service(seen) is not None
    return Serving((f"{count} ready",)) if has_service or is_custom else _no_service(seen)


def lost_words(seen: Snapshot) -> str:
    """On which lost nodes pods are, in words; empty when all nodes are heard of."""
    stuck = [pod for pod in seen.pods if is_on_lost_node(seen, pod)]
    lost = {str(pod["spec"]["nodeName"]) for pod in stuck}
    if not lost:
        return ""
    what = "does not exist any more" if lost <= seen.gone else "is not Ready"
    who = "its pods are" if len(stuck) == len(seen.pods) else f"{len(stuck)} of {len(seen.pods)} pods are"
    return f"{who} on {', '.join(sorted(lost))}, which {what}"


def _unready(seen: Snapshot) -> str:
    if lost := lost_words(seen):
        return lost
    alive = [pod for pod in seen.pods if not is_being_deleted(pod) and not pod_state.is_finished(pod)]
    if alive:
        return "none of its pods is ready"
    if any(is_being_deleted(pod) for pod in seen.pods):
        return "its pods are being deleted"
    return "its pods have ended" if seen.pods else "it has no pods"


def _names(pods: Iterable[Object]) -> tuple[str, ...]:
    return tuple(str(pod["metadata"]["name"]) for pod in pods)


def _name(seen: Snapshot) -> str:
    return key_of(seen.workspace).name if seen.workspace else ""


_LOCAL_ANNOTATION = "sandbox.kaitoctl.dev/address"
_LOOPBACK = re.compile(r"http://127\.0\.0\.1:\d{1,5}")


def local_address(service: Object, api_server: str) -> str:
    """Where programs of this machine reach a sandbox's Service whose pods are real; empty for any other.

    A cluster elsewhere may write what it likes into an annotation: of it nothing is read.
    """
    address = annotations_of(service).get(_LOCAL_ANNOTATION, "")
    is_here = _LOOPBACK.match(api_server) is not None
    return address if is_here and _LOOPBACK.fullmatch(address) else ""
