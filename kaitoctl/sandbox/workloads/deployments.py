"""Deployments and their ReplicaSets: new pods for old ones, never more away at once than allowed.

`new_scale` is the decision (who has how many replicas next); `Deployments` and `ReplicaSets` are the
reconcilers around it. Ignored: `spec.paused`, and the proportional scaling of several ReplicaSets in the
middle of a rollout.

Source: https://kubernetes.io/docs/concepts/workloads/controllers/deployment/ and the behaviour of
kube-controller-manager 1.33.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterable
from typing import Any

from msgspec import Struct

from kaitoctl.kube import conditions, request, workloads
from kaitoctl.kube.objects import (
    DEPLOYMENT,
    REPLICA_SET,
    Object,
    ObjectKey,
    annotations_of,
    controller_of,
    copy_of,
    dig,
    generation_of,
    is_being_deleted,
    key_of,
    labels_of,
    owner_reference,
    uid_of,
)
from kaitoctl.kube.pod_state import container_statuses, is_finished, reality
from kaitoctl.kube.request import Request
from kaitoctl.reconcile.controller import Outcome
from kaitoctl.reconcile.store import Store
from kaitoctl.sandbox.clock import Clock
from kaitoctl.sandbox.workloads import pods
from kaitoctl.sandbox.workloads.pods import Writes

REVISION = "deployment.kubernetes.io/revision"
HASH_LABEL = "pod-template-hash"
_NOT_COPIED = frozenset({REVISION, "kubectl.kubernetes.io/last-applied-configuration"})
_DEPLOYMENT_MANAGER = "deployment-controller"
_DEFAULT_DEADLINE_S = 600
_UNLIMITED_DEADLINE_S = 2**31 - 1


# --- the decision --------------------------------------------------------------------------------------


class Share(Struct, frozen=True):
    """One ReplicaSet's part in a rollout.

    Args:
        wanted: its `spec.replicas`.
        available: its available pods.
    """

    wanted: int
    available: int


def limits(strategy: Object | None, replicas: int) -> tuple[int, int]:
    """`maxSurge` and `maxUnavailable` as numbers of pods: percentages round up and down, 25 % by default.

    Guarantee: not both zero, or nothing could ever move.
    """
    rolling = (strategy or {}).get("rollingUpdate") or {}
    surge = _share_of(rolling.get("maxSurge", "25%"), replicas, math.ceil)
    unavailable = _share_of(rolling.get("maxUnavailable", "25%"), replicas, math.floor)
    return surge, unavailable if surge or unavailable else 1


def _share_of(value: Any, replicas: int, rounded: Callable[[float], int]) -> int:
    text = str(value)
    return rounded(int(text[:-1]) * replicas / 100) if text.endswith("%") else int(text)


def new_scale(
    replicas: int, new: Share, old: Iterable[Share], *, surge: int, unavailable: int
) -> tuple[int, list[int]]:
    """The next sizes of the new ReplicaSet and of the old ones (oldest first) in a rolling update.

    Args:
        replicas: the Deployment's.
        new: the new ReplicaSet.
        old: the others, the oldest first.
        surge: pods allowed above `replicas`.
        unavailable: pods allowed to be away.

    Guarantee: the sizes never add up to more than `replicas + surge` unless they did before, and no
        available pod is taken away while fewer than `replicas - unavailable` would remain.
    """
    olds = list(old)
    total = new.wanted + sum(share.wanted for share in olds)
    room = max(0, replicas + surge - total)
    next_new = replicas if new.wanted > replicas else new.wanted + min(room, replicas - new.wanted)
    sizes = [share.wanted for share in olds]
    least = replicas - unavailable
    # What the new one still owes counts as missing; what is there beyond the minimum may go.
    may_go = max(0, total - least - max(0, new.wanted - new.available))
    for index, share in enumerate(olds):  # those that serve nobody go first
        gone = min(may_go, sizes[index] - min(share.available, sizes[index]))
        sizes[index] -= gone
        may_go -= gone
    serving = new.available + sum(min(share.available, share.wanted) for share in olds)
    may_go = min(may_go, max(0, serving - least))
    for index in range(len(olds)):
        gone = min(may_go, sizes[index])
        sizes[index] -= gone
        may_go -= gone
    return next_new, sizes


# --- Deployments ---------------------------------------------------------------------------------------


class Deployments(Struct, frozen=True):
    """Reconciles one Deployment.

    Args:
        deployments: store of all Deployments.
        replica_sets: store of all ReplicaSets.
        pods: store of all pods.
        clock: the sandbox's time.
    """

    deployments: Store
    replica_sets: Store
    pods: Store
    clock: Clock

    def keys_of_pod(self, pod: Object) -> list[ObjectKey]:
        """The Deployment behind a pod: `Recreate` waits until the last old pod is really gone."""
        reference = controller_of(pod)
        if reference is None or reference.get("kind") != "ReplicaSet":
            return []
        owner = self.replica_sets.get(ObjectKey(key_of(pod).namespace, reference["name"]))
        above = controller_of(owner) if owner else None
        return [ObjectKey(key_of(pod).namespace, above["name"])] if above else []

    def reconcile(self, key: ObjectKey) -> Generator[Request, Object, Outcome]:
        """Bring the ReplicaSets one step further and tell how it stands."""
        deployment = self.deployments.get(key)
        if deployment is None or is_being_deleted(deployment):
            return Outcome()
        owned = [one for one in self.replica_sets.by_owner(uid_of(deployment)) if not is_being_deleted(one)]
        owned.sort(key=lambda one: (one["metadata"].get("creationTimestamp") or "", key_of(one)))
        wanted = pods.essence(_wanted_template(deployment))
        new = next((one for one in owned if _template(one) == wanted), None)
        old = [one for one in owned if one is not new]
        if new is None:
            if self._recreates(deployment) and not self._is_empty(old):
                yield from self._scale(deployment, old, [0] * len(old))
            else:
                yield from pods.create(REPLICA_SET, self._replica_set(deployment, old))
            return (yield from self._report(deployment, None, old))
        revision = max([_revision(new), *(_revision(one) + 1 for one in old)])
        yield from self._number(deployment, new, revision)
        replicas = workloads.replicas(deployment)
        if self._recreates(deployment):
            yield from self._scale(deployment, old, [0] * len(old))
            if self._is_empty(old):
                yield from self._scale(deployment, [new], [replicas])
        else:
            surge, unavailable = limits(dig(deployment, "spec", "strategy"), replicas)
            next_new, sizes = new_scale(
                replicas, _share(new), map(_share, old), surge=surge, unavailable=unavailable
            )
            yield from self._scale(deployment, [new, *old], [next_new, *sizes])
        outcome = yield from self._report(deployment, new, old)
        if _is_complete(deployment, _status(deployment, new, old)):
            yield from self._tidy(deployment, old)
        return outcome

    def _recreates(self, deployment: Object) -> bool:
        return bool(dig(deployment, "spec", "strategy", "type") == "Recreate")

    def _is_empty(self, old: Iterable[Object]) -> bool:
        """Whether not one pod of the old ReplicaSets is left, the stopping ones included."""
        return not any(
            workloads.replicas(one) or any(not is_finished(pod) for pod in self.pods.by_owner(uid_of(one)))
            for one in old
        )

    def _replica_set(self, deployment: Object, old: Iterable[Object]) -> Object:
        template = _wanted_template(deployment)
        name = pods.short_hash(pods.essence(template))
        key = key_of(deployment)
        labels = {**labels_of(template), HASH_LABEL: name}
        stamped = copy_of(template)
        stamped.setdefault("metadata", {})["labels"] = labels
        selector = copy_of(dig(deployment, "spec", "selector") or {})
        selector["matchLabels"] = {**(selector.get("matchLabels") or {}), HASH_LABEL: name}
        revision = max((_revision(one) for one in old), default=0) + 1
        annotations = {
            name: value for name, value in annotations_of(deployment).items() if name not in _NOT_COPIED
        }
        spec = {"replicas": 0, "selector": selector, "template": stamped}
        if least := dig(deployment, "spec", "minReadySeconds"):
            spec["minReadySeconds"] = least
        return {
            "apiVersion": REPLICA_SET.api_version,
            "kind": REPLICA_SET.kind,
            "metadata": {
                "name": f"{key.name}-{name}",
                "namespace": key.namespace,
                "labels": labels,
                "annotations": {**annotations, REVISION: str(revision)},
                "ownerReferences": [owner_reference(deployment)],
            },
            "spec": spec,
        }

    def _number(self, deployment: Object, new: Object, revision: int) -> Writes:
        """Write the revision on both; going back to an old template gives its ReplicaSet a new number."""
        patch = {"metadata": {"annotations": {REVISION: str(revision)}}}
        for kind, obj in ((REPLICA_SET, new), (DEPLOYMENT, deployment)):
            if annotations_of(obj).get(REVISION) != str(revision):
                key = key_of(obj)
                yield request.merge_patch(kind, key.namespace, key.name, patch, manager=_DEPLOYMENT_MANAGER)

    def _scale(self, deployment: Object, replica_sets: Iterable[Object], sizes: Iterable[int]) -> Writes:
        for one, size in zip(replica_sets, sizes, strict=True):
            if (before := workloads.replicas(one)) != size:
                yield pods.spec_patch(
                    REPLICA_SET, one, {"spec": {"replicas": size}}, manager=_DEPLOYMENT_MANAGER
                )
                direction = "up" if size > before else "down"
                yield from pods.record(
                    deployment,
                    "ScalingReplicaSet",
                    f"Scaled {direction} replica set {key_of(one).name} from {before} to {size}",
                    source=_DEPLOYMENT_MANAGER,
                    clock=self.clock,
                )

    def _tidy(self, deployment: Object, old: list[Object]) -> Writes:
        """Delete the oldest empty ReplicaSets beyond the history limit."""
        limit = dig(deployment, "spec", "revisionHistoryLimit")
        empty = [one for one in old if not workloads.replicas(one) and not dig(one, "status", "replicas")]
        for one in sorted(empty, key=_revision)[: max(0, len(old) - (10 if limit is None else limit))]:
            yield from pods.delete(REPLICA_SET, one)

    def _report(
        self, deployment: Object, new: Object | None, old: list[Object]
    ) -> Generator[Request, Object, Outcome]:
        status = _status(deployment, new, old)
        replicas = workloads.replicas(deployment)
        _, unavailable = limits(dig(deployment, "spec", "strategy"), replicas)
        if self._recreates(deployment):
            unavailable = replicas
        enough = status.get("availableReplicas", 0) >= replicas - unavailable
        available = conditions.condition(
            "Available",
            enough,
            "MinimumReplicasAvailable" if enough else "MinimumReplicasUnavailable",
            f"Deployment {'has' if enough else 'does not have'} minimum availability.",
        )
        progressing, next_s = self._progressing(deployment, new, status)
        news = [available, *([progressing] if progressing else [])]
        had = {item["type"]: item for item in dig(deployment, "status", "conditions") or ()}
        if progressing is None:
            had.pop("Progressing", None)
        merged = pods.merged_conditions(had.values(), news, self.clock)
        for item in merged:
            before = had.get(item["type"]) or {}
            same = all(before.get(name) == item.get(name) for name in ("status", "reason", "message"))
            if "lastUpdateTime" not in item:
                item["lastUpdateTime"] = before["lastUpdateTime"] if same else self.clock.stamp()
        status["conditions"] = merged
        yield from pods.status_patch(DEPLOYMENT, deployment, status, manager=_DEPLOYMENT_MANAGER)
        return Outcome(None if next_s is None else self.clock.wall_s(next_s))

    def _progressing(
        self, deployment: Object, new: Object | None, status: Object
    ) -> tuple[Object | None, float | None]:
        """The Progressing condition, and the simulated seconds until its deadline."""
        deadline_s = dig(deployment, "spec", "progressDeadlineSeconds")
        deadline_s = _DEFAULT_DEADLINE_S if deadline_s is None else int(deadline_s)
        if deadline_s >= _UNLIMITED_DEADLINE_S:
            return None, None
        before = conditions.find(deployment, "Progressing")
        name = f'ReplicaSet "{key_of(new).name}"' if new else f'Deployment "{key_of(deployment).name}"'
        was = deployment.get("status") or {}
        settled = before is not None and before.get("reason") == "NewReplicaSetAvailable"
        if _is_complete(deployment, status) or (
            settled
            and new is not None
            and status.get("replicas") == status.get("updatedReplicas")
            and before is not None
            and f'"{key_of(new).name}"' in before.get("message", "")
        ):
            message = f"{name} has successfully progressed."
            return conditions.condition("Progressing", True, "NewReplicaSetAvailable", message), None
        if before is None or settled or _has_progressed(was, status) or _has_changed(was, deployment):
            message = f"{name} is progressing."
            moved = conditions.condition("Progressing", True, "ReplicaSetUpdated", message)
            return {**moved, "lastUpdateTime": self.clock.stamp()}, float(deadline_s)
        if before.get("status") == "False":
            return before, None
        passed_s = self.clock.since_s(before.get("lastUpdateTime") or self.clock.stamp())
        # What a process of this machine takes to load a model does not get faster by the clock's speed.
        left_s = deadline_s * (self.clock.speed if self._runs_for_real(new) else 1.0) - passed_s
        if left_s > 0:
            return before, left_s
        message = f"{name} has timed out progressing."
        return conditions.condition("Progressing", False, "ProgressDeadlineExceeded", message), None

    def _runs_for_real(self, new: Object | None) -> bool:
        """Whether a process of this machine runs behind a new pod, be it that its ReplicaSet says so late."""
        return any(
            reality(item) == "real" and dig(item, "state", "running") is not None
            for pod in (self.pods.by_owner(uid_of(new)) if new else ())
            for item in container_statuses(pod)
        )


def _revision(replica_set: Object) -> int:
    text = annotations_of(replica_set).get(REVISION, "0")
    return int(text) if text.isascii() and text.isdigit() else 0


def _share(replica_set: Object) -> Share:
    return Share(workloads.replicas(replica_set), int(dig(replica_set, "status", "availableReplicas") or 0))


def _wanted_template(deployment: Object) -> Object:
    template: Object = dig(deployment, "spec", "template") or {}
    return template


def _template(replica_set: Object) -> Object:
    """The essence of a ReplicaSet's pod template, without what the Deployment controller put into it."""
    template = copy_of(dig(replica_set, "spec", "template") or {})
    labels = template.get("metadata", {}).get("labels") or {}
    labels.pop(HASH_LABEL, None)
    wanted: Object = pods.essence(template)
    return wanted


def _sum(replica_sets: Iterable[Object], field: str) -> int:
    return sum(int(dig(one, "status", field) or 0) for one in replica_sets)


def _status(deployment: Object, new: Object | None, old: list[Object]) -> Object:
    every = [*old, *([new] if new else [])]
    available = _sum(every, "availableReplicas")
    counts = {
        "replicas": _sum(every, "replicas"),
        "updatedReplicas": _sum([new] if new else [], "replicas"),
        "readyReplicas": _sum(every, "readyReplicas"),
        "availableReplicas": available,
        "unavailableReplicas": max(
            0, max(workloads.replicas(deployment), sum(map(workloads.replicas, every))) - available
        ),
    }
    return {
        "observedGeneration": generation_of(deployment),
        **{name: count for name, count in counts.items() if count},
    }


def _is_complete(deployment: Object, status: Object) -> bool:
    replicas = workloads.replicas(deployment)
    return all(
        status.get(name, 0) == replicas for name in ("updatedReplicas", "replicas", "availableReplicas")
    )


def _has_changed(was: Object, deployment: Object) -> bool:
    """A new generation starts a new deadline, also after the old one had passed."""
    return int(was.get("observedGeneration") or 0) != generation_of(deployment)


def _has_progressed(was: Object, now: Object) -> bool:
    def outdated(status: Object) -> int:
        return int(status.get("replicas", 0)) - int(status.get("updatedReplicas", 0))

    grown = ("updatedReplicas", "readyReplicas", "availableReplicas")
    return outdated(now) < outdated(was) or any(now.get(name, 0) > was.get(name, 0) for name in grown)


# --- ReplicaSets ---------------------------------------------------------------------------------------
