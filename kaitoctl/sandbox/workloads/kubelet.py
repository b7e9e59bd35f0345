"""The kubelets of all nodes: each bound pod shows what its timetable says, until it is gone.

Here is also what Kubernetes keeps in its node lifecycle and pod garbage collectors: pods of a node that is
not ready are not ready, pods that do not tolerate a NoExecute taint are evicted, pods of a vanished node
vanish.
What happens when is decided in `timetable`; how containers live, and fail, in `container_life`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING

from msgspec import Struct

from kaitoctl.errors import ApiError
from kaitoctl.kube import request
from kaitoctl.kube.conditions import parse_timestamp
from kaitoctl.kube.objects import (
    CONFIG_MAP,
    NODE,
    POD,
    SECRET,
    Object,
    ObjectKey,
    by_name,
    dig,
    is_being_deleted,
    key_of,
    tolerates,
)
from kaitoctl.kube.pod_state import Reference, container_specs, is_finished, references
from kaitoctl.kube.request import Request
from kaitoctl.reconcile.controller import Outcome
from kaitoctl.sandbox import nodes
from kaitoctl.sandbox.clock import Clock, precise
from kaitoctl.sandbox.workloads import pods, scheduler
from kaitoctl.sandbox.workloads.container_life import NEVER
from kaitoctl.sandbox.workloads.pods import Writes
from kaitoctl.sandbox.workloads.timetable import Moment, pod_at, pod_ip

if TYPE_CHECKING:
    from kaitoctl.sandbox.real import RealPods

NAME = "kubelet"
_LONGEST_STOP_S = 1.0
_LOOK_FOR_MISSING_S = 20.0
# What the API server's DefaultTolerationSeconds admission gives every pod.
_DEFAULT_TOLERATION_S = 300.0
_NOT_READY = {**scheduler.NOT_READY_TAINT, "effect": "NoExecute"}


class Kubelet(Struct, frozen=True):
    """Reconciles one pod that has a node.

    Args:
        pods: store of all pods.
        nodes: store of all nodes.
        clock: the sandbox's time.
        real: tells of pods that are processes; None where all are simulated.
    """

    pods: Mapping[ObjectKey, Object]
    nodes: Mapping[ObjectKey, Object]
    clock: Clock
    real: RealPods | None = None

    def reconcile(self, key: ObjectKey) -> Generator[Request, Object, Outcome]:
        """Show what the pod does now, and come back when that changes."""
        pod = self.pods.get(key)
        if self.real is not None:
            self.real.forget_others(key, pod)
        name = dig(pod, "spec", "nodeName")
        if pod is None or not name:
            return Outcome()
        node = self.nodes.get(ObjectKey("", name))
        if node is None:
            try:
                yield request.get(NODE, "", name)  # the store may be behind
            except ApiError as error:
                if error.status != 404:
                    raise
                yield from pods.delete(POD, pod, now=True)
                return Outcome()
            return Outcome(requeue_after_s=0.05)
        if is_being_deleted(pod):
            return (yield from self._stop(pod))
        if is_finished(pod):
            return Outcome()
        evicted_in_s = self._evicted_in_s(pod, node)
        if evicted_in_s <= 0:
            yield from pods.record(
                pod,
                "TaintManagerEviction",
                f"Marking for deletion Pod {key}",
                source="node-controller",
                clock=self.clock,
            )
            yield from pods.delete(POD, pod)
            return Outcome()
        if nodes.is_ready(node):
            next_s = yield from self._show(pod, node)
        else:
            yield from self._unready(pod)
            next_s = NEVER
        soonest = min(next_s, evicted_in_s)
        return Outcome(None if soonest == NEVER else self.clock.wall_s(soonest))

    def _show(self, pod: Object, node: Object) -> Generator[Request, Object, float]:
        """Bring the status up to date; returns the simulated seconds until it changes again."""
        before = pod.get("status") or {}
        if not before.get("startTime") and (gone := (yield from self._missing(pod))):
            yield from self._hold(pod, gone)
            return _LOOK_FOR_MISSING_S
        start = before.get("startTime") or self.clock.stamp()
        elapsed_s = self.clock.since_s(start)
        yield from self._mount(pod, start)
        now = self._now(pod, start, elapsed_s)
        address = nodes.internal_ip(node)
        status = {
            **before,
            **now.status,
            "conditions": pods.merged_conditions(
                before.get("conditions") or (), now.status["conditions"], self.clock
            ),
            "startTime": start,
            **({"hostIP": address, "hostIPs": [{"ip": address}]} if address else {}),
        }
        yield from pods.status_patch(POD, pod, status, manager=NAME)
        for reason, message, warning in news(pod, before, now):
            yield from pods.record(pod, reason, message, source=NAME, clock=self.clock, warning=warning)
        return now.next_s - elapsed_s

    def _mount(self, pod: Object, start: str) -> Writes:
        """Bring what the pod's process reads of a ConfigMap up to date; one that is gone stays as it was."""
        name = self.real.config_map_of(pod, start) if self.real is not None else ""
        if self.real is None or not name:
            return
        try:
            found = yield request.get(CONFIG_MAP, key_of(pod).namespace, name)
        except ApiError as error:
            if error.status != 404:
                raise
            return
        self.real.configure(pod, found.get("data") or {})

    def _now(self, pod: Object, start: str, elapsed_s: float) -> Moment:
        def moment(seconds: float) -> str:
            return self.clock.moment(start, seconds)

        told = self.real.pod_at(pod, start, elapsed_s, moment) if self.real is not None else None
        return told or pod_at(pod, elapsed_s, moment)

    def _missing(self, pod: Object) -> Generator[Request, Object, Reference | None]:
        """The first Secret or ConfigMap that the pod cannot start without and that does not exist."""
        for reference in references(pod):
            kind = {"Secret": SECRET, "ConfigMap": CONFIG_MAP}.get(reference.kind)
            if kind is None or reference.use == "pull":  # the kubelet pulls without a secret, too
                continue
            try:
                yield request.get(kind, key_of(pod).namespace, reference.name)
            except ApiError as error:
                if error.status != 404:
                    raise
                return reference
        return None

    def _hold(self, pod: Object, gone: Reference) -> Writes:
        """Show a pod that waits for what is missing; its time begins when that is there."""
        before = pod.get("status") or {}
        status = pod_at(pod, 0.0, lambda _: "").status
        words = f'{gone.kind.lower()} "{gone.name}" not found'
        if gone.use == "env":
            for field in ("initContainerStatuses", "containerStatuses"):
                for item in status.get(field) or ():
                    if item["name"] == gone.by:
                        item["state"] = {
                            "waiting": {"reason": "CreateContainerConfigError", "message": words}
                        }
            told = ("Failed", f"Error: {words}")
        else:
            told = ("FailedMount", f'MountVolume.SetUp failed for volume "{gone.by}" : {words}')
        conditions = pods.merged_conditions(before.get("conditions") or (), status["conditions"], self.clock)
        yield from pods.status_patch(POD, pod, {**before, **status, "conditions": conditions}, manager=NAME)
        yield from pods.record(pod, *told, source=NAME, clock=self.clock, warning=True)

    def _unready(self, pod: Object) -> Writes:
        had = dig(pod, "status", "conditions") or []
        ready = [
            {"type": kind, "status": "False", "reason": "NodeNotReady", "message": "Node is not ready"}
            for kind in ("Ready", "ContainersReady")
        ]
        status = {**(pod.get("status") or {}), "conditions": pods.merged_conditions(had, ready, self.clock)}
        yield from pods.status_patch(POD, pod, status, manager="node-controller")

    def _stop(self, pod: Object) -> Generator[Request, Object, Outcome]:
        grace_s = pod["metadata"].get("deletionGracePeriodSeconds")
        if grace_s == 0:
            return Outcome()  # finalizers keep it, and they are not ours
        # The API server writes the moment at which the grace ends.
        asked = parse_timestamp(pod["metadata"]["deletionTimestamp"]) - timedelta(seconds=grace_s or 0)
        if self.real is not None and not self.real.stop(pod):
            return Outcome()  # the end of its processes wakes us
        left_s = min(_LONGEST_STOP_S, grace_s or 0) - self.clock.since_s(precise(asked))
        if left_s > 0:
            return Outcome(self.clock.wall_s(left_s))
        yield from pods.delete(POD, pod, now=True)
        return Outcome()

    def _evicted_in_s(self, pod: Object, node: Object) -> float:
        """Simulated seconds until a NoExecute taint drives the pod away; infinite when none does."""
        tolerations = dig(pod, "spec", "tolerations") or []
        soonest = math.inf
        for taint in dig(node, "spec", "taints") or ():
            if taint.get("effect") == "NoExecute":
                soonest = min(soonest, self._tolerated_for_s(taint, taint.get("timeAdded"), tolerations, 0.0))
        if not nodes.is_ready(node):
            ready: Object = next(
                (item for item in dig(node, "status", "conditions") or () if item.get("type") == "Ready"), {}
            )
            since = ready.get("lastTransitionTime")
            soonest = min(
                soonest, self._tolerated_for_s(_NOT_READY, since, tolerations, _DEFAULT_TOLERATION_S)
            )
        return soonest

    def _tolerated_for_s(
        self, taint: Object, since: str | None, tolerations: list[Object], default_s: float
    ) -> float:
        matching = [item for item in tolerations if tolerates(item, taint)]
        if not matching and not default_s:
            return 0.0
        limits = [
            float(item["tolerationSeconds"]) for item in matching if item.get("tolerationSeconds") is not None
        ]
        if matching and len(limits) < len(matching):
            return math.inf
        return min(limits, default=default_s) - (self.clock.since_s(since) if since else 0.0)


def keys_of_config_map(store: Mapping[ObjectKey, Object]) -> Callable[[Object], list[ObjectKey]]:
    """The pods that mount a ConfigMap."""

    def keys(config_map: Object) -> list[ObjectKey]:
        namespace, name = key_of(config_map)
        return [
            key
            for key, pod in store.items()
            if key.namespace == namespace
            and any(dig(item, "configMap", "name") == name for item in dig(pod, "spec", "volumes") or ())
        ]

    return keys


def keys_on_node(store: Mapping[ObjectKey, Object]) -> Callable[[Object], list[ObjectKey]]:
    """The pods that a change of a node concerns."""

    def keys(node: Object) -> list[ObjectKey]:
        name = key_of(node).name
        return [key for key, pod in store.items() if dig(pod, "spec", "nodeName") == name]

    return keys


# --- events --------------------------------------------------------------------------------------------


def news(pod: Object, before: Object, now: Moment) -> Iterator[tuple[str, str, bool]]:
    """What the kubelet tells between two statuses: reason, message, whether it is a warning."""
    for field in ("initContainerStatuses", "containerStatuses"):
        old = by_name(before.get(field))
        for status in now.status.get(field) or ():
            yield from _container_news(pod, old.get(status["name"]) or {}, status)
            if not now.is_real:
                yield from _probe_news(pod, old.get(status["name"]) or {}, status)
    yield from now.told


def _container_news(pod: Object, old: Object, new: Object) -> Iterator[tuple[str, str, bool]]:
    name, image = new["name"], new["image"]
    was, reason = _waiting_for(old), _waiting_for(new)
    ran_before = bool(old.get("containerID"))
    if reason == "ContainerCreating" and was != reason and not ran_before:
        yield "Pulling", f'Pulling image "{image}"', False
    if new.get("containerID") and (not ran_before or new["restartCount"] > old.get("restartCount", 0)):
        pulled = (
            f'Container image "{image}" already present on machine'
            if ran_before
            else f'Successfully pulled image "{image}" (simulated)'
        )
        yield "Pulled", pulled, False
        yield "Created", f"Created container: {name}", False
        yield "Started", f"Started container {name}", False
    if reason == was:
        return
    if reason == "ErrImagePull":
        yield "Failed", f'Failed to pull image "{image}": {new["state"]["waiting"]["message"]}', True
        yield "Failed", "Error: ErrImagePull", True
    elif reason == "ImagePullBackOff":
        yield "BackOff", f'Back-off pulling image "{image}"', False
    elif reason == "CrashLoopBackOff":
        key = key_of(pod)
        text = f"Back-off restarting failed container {name} in pod {key.name}_{key.namespace}"
        yield "BackOff", f"{text}({pod['metadata'].get('uid', '')})", True


def _probe_news(pod: Object, old: Object, new: Object) -> Iterator[tuple[str, str, bool]]:
    """What is told when a probe has killed the container; nothing else ends one with 137 and `Error`."""
    ended = dig(new, "state", "terminated") or dig(new, "lastState", "terminated") or {}
    before = dig(old, "state", "terminated") or dig(old, "lastState", "terminated") or {}
    if (ended.get("exitCode"), ended.get("reason")) != (137, "Error"):
        return
    if ended.get("finishedAt") == before.get("finishedAt"):
        return
    name = new["name"]
    spec = next((item for item in container_specs(pod) if item["name"] == name), {})
    probe = "startup" if spec.get("startupProbe") else "liveness"
    failed = f'{probe.capitalize()} probe failed: Get "http://{pod_ip(pod)}/": connection refused (simulated)'
    yield "Unhealthy", failed, True
    yield "Killing", f"Container {name} failed {probe} probe, will be restarted", False


def _waiting_for(status: Object) -> str:
    return str(dig(status, "state", "waiting", "reason") or "")
