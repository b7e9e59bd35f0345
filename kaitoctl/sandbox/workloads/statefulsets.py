"""StatefulSets: pods with a number, made, updated and removed in order.

`next_steps` is the decision, `StatefulSets` the reconciler around it. `volumeClaimTemplates` are not made
into claims. As in Kubernetes, an ordered set whose pod never becomes ready stays stuck until that pod is
deleted, also after its template was fixed.

Source: https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Literal, NamedTuple

from msgspec import Struct

from kaitoctl.kube.objects import (
    CONTROLLER_REVISION,
    LABEL_POD_NAME,
    POD,
    STATEFUL_SET,
    Object,
    ObjectKey,
    dig,
    generation_of,
    is_being_deleted,
    key_of,
    labels_of,
    owner_reference,
    uid_of,
)
from kaitoctl.kube.pod_state import is_finished
from kaitoctl.kube.request import Request
from kaitoctl.reconcile.controller import Outcome
from kaitoctl.reconcile.store import Store
from kaitoctl.sandbox.clock import Clock
from kaitoctl.sandbox.workloads import pods
from kaitoctl.sandbox.workloads.pods import Writes

INDEX_LABEL = "apps.kubernetes.io/pod-index"
REVISION_LABEL = "controller-revision-hash"
_MANAGER = "statefulset-controller"
_DEFAULT_HISTORY = 10


# --- the decision --------------------------------------------------------------------------------------


class Step(NamedTuple):
    """What to do to the pod of one ordinal."""

    verb: Literal["create", "delete"]
    ordinal: int


def next_steps(
    replicas: int,
    observed: Mapping[int, Object],
    *,
    update_revision: str,
    ordered: bool,
    partition: int = 0,
    rolling: bool = True,
) -> list[Step]:
    """What to do now, given the pods by ordinal; nothing while something has to be waited for.

    Args:
        replicas: ordinals 0 to `replicas - 1` should exist.
        observed: the pods there are, the stopping ones included.
        update_revision: the revision that pods from `partition` on should have.
        ordered: one after the other (`OrderedReady`), or all at once (`Parallel`).
        partition: ordinals below it keep their revision.
        rolling: False for `OnDelete`, where nobody replaces an old pod unasked.

    Guarantee: when ordered, at most one step, and none while a pod before it is not ready.
    """
    steps: list[Step] = []
    for ordinal in range(replicas):
        pod = observed.get(ordinal)
        if pod is None:
            steps.append(Step("create", ordinal))
        elif is_finished(pod) and not is_being_deleted(pod):
            steps.append(Step("delete", ordinal))
        elif not ordered or (pods.is_ready(pod) and not is_being_deleted(pod)):
            continue
        if ordered:
            return steps
    for ordinal in sorted((one for one in observed if one >= replicas), reverse=True):
        if not is_being_deleted(observed[ordinal]):
            steps.append(Step("delete", ordinal))
        if ordered:
            return steps
    if steps or not rolling:
        return steps
    for ordinal in range(replicas - 1, -1, -1):
        pod = observed[ordinal]
        if is_being_deleted(pod):
            return []
        if ordinal >= partition and labels_of(pod).get(REVISION_LABEL) != update_revision:
            return [Step("delete", ordinal)]
        if not pods.is_ready(pod):
            return []
    return []


def ordinal_of(owner: Object, pod: Object) -> int | None:
    """The number in the pod's name, None when the name is not one of this set's."""
    prefix, _, number = key_of(pod).name.rpartition("-")
    return int(number) if prefix == key_of(owner).name and number.isascii() and number.isdigit() else None


# --- the reconciler ------------------------------------------------------------------------------------


class StatefulSets(Struct, frozen=True):
    """Reconciles one StatefulSet.

    Args:
        stateful_sets: store of all StatefulSets.
        revisions: store of all ControllerRevisions.
        pods: store of all pods.
        clock: the sandbox's time.
    """

    stateful_sets: Store
    revisions: Store
    pods: Store
    clock: Clock

    def reconcile(self, key: ObjectKey) -> Generator[Request, Object, Outcome]:
        """Take the next steps and tell how it stands."""
        owner = self.stateful_sets.get(key)
        if owner is None or is_being_deleted(owner):
            return Outcome()
        replicas = 1 if (wanted := dig(owner, "spec", "replicas")) is None else int(wanted)
        history = sorted(
            self.revisions.by_owner(uid_of(owner)), key=lambda one: int(one.get("revision") or 0)
        )
        update, template = yield from self._update_revision(owner, history)
        current = str(dig(owner, "status", "currentRevision") or update)
        observed = {
            ordinal: pod
            for pod in self.pods.by_owner(uid_of(owner))
            if (ordinal := ordinal_of(owner, pod)) is not None
        }
        partition = int(dig(owner, "spec", "updateStrategy", "rollingUpdate", "partition") or 0)
        steps = next_steps(
            replicas,
            observed,
            update_revision=update,
            ordered=dig(owner, "spec", "podManagementPolicy") != "Parallel",
            partition=partition,
            rolling=dig(owner, "spec", "updateStrategy", "type") != "OnDelete",
        )
        templates = {key_of(one).name: dig(one, "data", "spec", "template") for one in history}
        for verb, ordinal in steps:
            if verb == "delete":
                yield from pods.delete(POD, observed[ordinal])
            else:
                old = ordinal < partition and current != update and templates.get(current)
                yield from pods.create(
                    POD, self._pod(owner, ordinal, *((current, old) if old else (update, template)))
                )
        yield from self._count(owner, list(observed.values()), replicas, current, update)
        limit = dig(owner, "spec", "revisionHistoryLimit")
        outdated = [one for one in history if key_of(one).name not in (current, update)]
        for one in outdated[: max(0, len(outdated) - (_DEFAULT_HISTORY if limit is None else int(limit)))]:
            yield from pods.delete(CONTROLLER_REVISION, one)
        return Outcome()

    def _update_revision(
        self, owner: Object, history: Sequence[Object]
    ) -> Generator[Request, Object, tuple[str, Object]]:
        """The name of the wanted template's revision, which is kept so that a partition can go back to it."""
        template: Object = dig(owner, "spec", "template") or {}
        name = f"{key_of(owner).name}-{pods.short_hash(pods.essence(template))}"
        newest = max((int(one.get("revision") or 0) for one in history), default=0)
        known = next((one for one in history if key_of(one).name == name), None)
        if known is None:
            revision = {
                "apiVersion": CONTROLLER_REVISION.api_version,
                "kind": CONTROLLER_REVISION.kind,
                "metadata": {
                    "name": name,
                    "namespace": key_of(owner).namespace,
                    "labels": labels_of(template),
                    "ownerReferences": [owner_reference(owner)],
                },
                "data": {"spec": {"template": template}},
                "revision": newest + 1,
            }
            yield from pods.create(CONTROLLER_REVISION, revision)
        elif int(known.get("revision") or 0) < newest:
            yield pods.spec_patch(CONTROLLER_REVISION, known, {"revision": newest + 1}, manager=_MANAGER)
        return name, template

    def _pod(self, owner: Object, ordinal: int, revision: str, template: Object) -> Object:
        name = f"{key_of(owner).name}-{ordinal}"
        labels = {LABEL_POD_NAME: name, INDEX_LABEL: str(ordinal), REVISION_LABEL: revision}
        pod = pods.pod_of(owner, template, name, labels)
        pod["spec"]["hostname"] = name
        if service := dig(owner, "spec", "serviceName"):
            pod["spec"]["subdomain"] = service
        return pod

    def _count(self, owner: Object, mine: list[Object], replicas: int, current: str, update: str) -> Writes:
        def with_revision(revision: str) -> int:
            return sum(labels_of(pod).get(REVISION_LABEL) == revision for pod in mine if pods.is_active(pod))

        ready = sum(pods.is_ready(pod) for pod in mine if not is_being_deleted(pod))
        updated = with_revision(update)
        if updated == ready == replicas == len(mine):
            current = update
        status: Object = {
            "observedGeneration": generation_of(owner),
            "replicas": len(mine),
            "availableReplicas": ready,
            "currentRevision": current,
            "updateRevision": update,
            "collisionCount": 0,
        }
        counts = {
            "readyReplicas": ready,
            "currentReplicas": with_revision(current),
            "updatedReplicas": updated,
        }
        status |= {name: count for name, count in counts.items() if count}
        yield from pods.status_patch(STATEFUL_SET, owner, status, manager=_MANAGER)
