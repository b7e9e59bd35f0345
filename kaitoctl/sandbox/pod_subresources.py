"""Pods: what their subresources refuse (logs that are not there, evictions of too many), their QoS. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kaitoctl.kube.objects import Object, dig, labels_of, matches_selector
from kaitoctl.kube.pod_state import is_ready
from kaitoctl.sandbox.error_status import Failure, bad_request
from kaitoctl.sandbox.store import Store

_BUDGETS = "poddisruptionbudgets.policy"


# --- logs ---------------------------------------------------------------------------------------------------


def logged_container(pod: Object, asked: str) -> str:
    """The container whose log is meant.

    Raises:
        Failure: 400, the pod has no such container, or several and none is named.
    """
    name = pod["metadata"]["name"]
    fields = ("containers", "initContainers", "ephemeralContainers")
    names = [item["name"] for field in fields for item in pod["spec"].get(field) or ()]
    if asked and asked not in names:
        raise bad_request(f"container {asked} is not valid for pod {name}")
    if not asked and len(pod["spec"]["containers"]) > 1:
        known = " ".join(item["name"] for item in pod["spec"]["containers"])
        raise bad_request(f"a container name must be specified for pod {name}, choose one of: [{known}]")
    return asked or str(pod["spec"]["containers"][0]["name"])


def must_have_logged(pod: Object, container: str, *, previous: bool) -> None:
    """Make sure that a container has run, or has run before.

    Raises:
        Failure: 400.
    """
    name = pod["metadata"]["name"]
    fields = ("containerStatuses", "initContainerStatuses")
    found: list[Object] = [item for field in fields for item in dig(pod, "status", field) or ()]
    status: Object = next((item for item in found if item["name"] == container), {})
    if previous and not status.get("restartCount"):
        raise bad_request(f'previous terminated container "{container}" in pod "{name}" not found')
    reason = dig(status, "state", "waiting", "reason")
    if reason and not status.get("restartCount") and not dig(status, "lastState", "terminated"):
        raise bad_request(f'container "{container}" in pod "{name}" is waiting to start: {reason}')


# --- eviction -----------------------------------------------------------------------------------------------


def must_be_dispensable(store: Store, pod: Object) -> None:
    """Make sure that no PodDisruptionBudget still needs a pod. Counted from the pods that there are now.

    Raises:
        Failure: 429.
    """
    namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
    if not is_ready(pod):
        return
    for entry in store.entries(_BUDGETS, namespace):
        spec = entry.obj.get("spec") or {}
        if not matches_selector(spec.get("selector") or {}, labels_of(pod)):
            continue
        others = [item.obj for item in store.entries("pods", namespace)]
        chosen = [item for item in others if matches_selector(spec.get("selector") or {}, labels_of(item))]
        healthy = sum(map(is_ready, chosen))
        if healthy - 1 < _needed_pods(spec, len(chosen)):
            needed = _needed_pods(spec, len(chosen))
            words = f"the budget {entry.key.name} needs {needed} healthy pods and has {healthy}"
            cause = {"reason": "DisruptionBudget", "message": words}
            message = "Cannot evict pod as it would violate the pod's disruption budget."
            raise Failure(429, "TooManyRequests", message, name=name, causes=[cause])


def _needed_pods(spec: Object, expected: int) -> int:
    """How many pods must stay healthy."""
    if (least := spec.get("minAvailable")) is not None:
        return _share(least, expected)
    return expected - _share(spec.get("maxUnavailable") or 0, expected)


def _share(amount: int | str, of: int) -> int:
    """`3`, or `25%` of so many, rounded up."""
    if isinstance(amount, int):
        return amount
    share = amount.removesuffix("%")
    return -(-of * int(share) // 100) if share.isascii() and share.isdigit() else 0


def qos_class(containers: Iterable[Any]) -> str:
    """The quality of service of a pod with these containers; GPUs do not count.

    Source: https://kubernetes.io/docs/concepts/workloads/pods/pod-qos/
    """
    resources = [container.get("resources") or {} for container in containers]
    limits = [item.get("limits") or {} for item in resources]
    requests = [item.get("requests") or {} for item in resources]
    basic = {"cpu", "memory"}
    if not any(basic & {*some} for some in (*limits, *requests)):
        return "BestEffort"
    guaranteed = all(
        basic <= {*limit} and all(request.get(name, limit[name]) == limit[name] for name in basic)
        for limit, request in zip(limits, requests, strict=True)
    )
    return "Guaranteed" if guaranteed else "Burstable"
