"""One reconcile of one InferenceSet: look (stores) -> decide (kaito.fleet) -> look again -> act -> status.

As the Workspace's reconciler it is a generator without I/O. Rules that hold in every reconcile:
- no Workspace is made, changed or deleted on the word of a store alone: the server is asked for the newest
  set and for its Workspaces, and what to do is decided by those;
- the names of Workspaces follow from the set, so a request that is repeated makes no second one;
- a Workspace that another owner controls is never touched;
- what a template says is recorded before anything is made from it;
- the status is written last, and nothing is written when nothing has changed.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from datetime import UTC, datetime

from msgspec import Struct

from kaitoctl.errors import ApiError
from kaitoctl.fleet_controller.replica_capacity import refused_by_quota
from kaitoctl.kaito import api
from kaitoctl.kaito.desired import Settings
from kaitoctl.kaito.fleet import history, replicas
from kaitoctl.kaito.fleet.decisions import CHANGED_AT, Decision, Replica, decide, replica_of
from kaitoctl.kaito.fleet.status import FIELDS, deleting, status_of
from kaitoctl.kaito.fleet.strategy import strategy_of
from kaitoctl.kaito.fleet.template import patch_of
from kaitoctl.kaito.fleet.validation import judge
from kaitoctl.kaito.validation import OWN, Setting
from kaitoctl.kube import final_refusals, request
from kaitoctl.kube.conditions import timestamp
from kaitoctl.kube.objects import (
    CONTROLLER_REVISION,
    LIMIT_RANGE,
    RESOURCE_QUOTA,
    Kind,
    Object,
    ObjectKey,
    dig,
    generation_of,
    is_being_deleted,
    is_controlled_by,
    key_of,
    labels_of,
    this_version,
    uid_of,
)
from kaitoctl.kube.request import Request
from kaitoctl.reconcile.controller import Outcome
from kaitoctl.reconcile.store import Store
from kaitoctl.workspace_controller import MANAGER, refusal_of, steps

FleetSteps = Generator[Request, Object, Outcome]
_LOOK_AGAIN_S = 30.0


class FleetStores(Struct, frozen=True):
    """What a reconcile may look at: the informers' stores.

    Args:
        sets: the InferenceSets.
        workspaces: those that carry the label of a set.
        revisions: those that carry the label of a set, as `history.kept`.
    """

    sets: Store
    workspaces: Store
    revisions: Store


def set_of_workspace(workspace: Object) -> list[ObjectKey]:
    """The key of the set that a Workspace is labelled with, as a list of one or none."""
    name = labels_of(workspace).get(api.LABEL_CREATED_BY_SET)
    return [ObjectKey(key_of(workspace).namespace, name)] if name else []


class FleetReconciler:
    """Decides what one reconcile of one InferenceSet does.

    Args:
        stores: the world as last seen.
        settings: of the Workspaces' controller.
        kind: InferenceSets in the version that the stores show them in.
        clock: the present time.
        room: given a Workspace that might be made, why there are no nodes for it; empty when there are.
        is_used: given the key of a Workspace that might be made, whether nodes of an earlier one are left.
    """

    def __init__(
        self,
        stores: FleetStores,
        settings: Settings,
        *,
        kind: Kind = api.INFERENCE_SET,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        room: Callable[[Object], str] = lambda workspace: "",
        is_used: Callable[[ObjectKey], bool] = lambda key: False,
    ) -> None:
        self._stores, self._settings, self._kind = stores, settings, kind
        self._clock, self._room, self._is_used = clock, room, is_used

    def reconcile(self, key: ObjectKey) -> FleetSteps:
        """One reconcile of the InferenceSet `key`."""
        inference_set = self._stores.sets.get(key)
        if inference_set is None:
            return Outcome()  # its Workspaces go with it, by their owner references
        if is_being_deleted(inference_set):
            return (yield from self._release(inference_set))
        if api.SET_FINALIZER not in (inference_set["metadata"].get("finalizers") or ()):
            yield self._finalizers(inference_set, ours=True)
        mine = self._mine(inference_set, self._stores.workspaces.by(set_of_workspace, key))
        if refusal := self._refusal(inference_set):
            yield from self._report(inference_set, mine, Decision(), refusal)
            return Outcome()
        decision = self._decide(inference_set, mine)
        problem: ApiError | None = None
        try:
            record = history.record(inference_set, self._stores.revisions.by_owner(uid_of(inference_set)))
            if record.present is None or not decision.is_nothing:
                live = yield from self._look_again(inference_set)
                if live is None:
                    return Outcome()  # a newer set is on its way to us
                number = yield from self._record(inference_set, record)
                mine = self._mine(inference_set, live)
                decision = self._decide(inference_set, mine)
                if decision.is_surge and (why := (yield from self._refused_by_quota(inference_set))):
                    decision = self._decide(inference_set, mine, why)
                if why := (yield from self._act(inference_set, decision, live, number)):
                    decision = self._decide(inference_set, mine, why)
            elif record.superfluous:
                yield from self._prune(record.superfluous)
        except ApiError as error:
            problem = error
        final = final_refusals.is_final(problem) if problem else False
        yield from self._report(inference_set, mine, decision, str(problem) if problem and final else "")
        if problem is not None and not final_refusals.is_impossible(problem):
            raise problem
        return Outcome(self._again_s(mine, decision))

    # --- decide --------------------------------------------------------------------------------------------

    def _mine(self, inference_set: Object, workspaces: Iterable[Object]) -> list[Replica]:
        now, budget_s = self._clock(), self._budget_s(inference_set)
        own = (one for one in workspaces if is_controlled_by(one, inference_set))
        dropped = self._template_annotations(inference_set)
        return [replica_of(inference_set, one, now, budget_s, dropped) for one in sorted(own, key=key_of)]

    def _template_annotations(self, inference_set: Object) -> list[str]:
        """The annotations that the template has now or had before."""
        past = self._stores.revisions.by_owner(uid_of(inference_set))
        return [key for revision in past for key in revision["annotations"]]

    def _budget_s(self, inference_set: Object) -> float:
        name = str(dig(inference_set, "spec", "template", "inference", "preset", "name") or "")
        return self._settings.catalog.from_nothing_s(name)

    def _decide(self, inference_set: Object, mine: list[Replica], refused: str = "") -> Decision:
        return decide(
            replicas.wanted_replicas(inference_set),
            mine,
            strategy_of(inference_set),
            room=lambda: refused or self._room(self._surge_of(inference_set)),
        )

    def _surge_of(self, inference_set: Object) -> Object:
        return self._new(inference_set, f"{inference_set['metadata']['name']}-surge")

    def _refusal(self, inference_set: Object) -> str:
        setting = Setting(OWN, catalog=self._settings.catalog)
        errors = [problem.text for problem in judge(inference_set, setting) if problem.severity == "error"]
        if errors:
            return "; ".join(errors)
        name = next(replicas.names(inference_set))
        return refusal_of(self._new(inference_set, name), self._settings)

    def _new(self, inference_set: Object, name: str) -> Object:
        return replicas.workspace_of(inference_set, name, provisioner=self._settings.provisioner)

    def _again_s(self, mine: list[Replica], decision: Decision) -> float | None:
        """What is only a matter of time: nothing tells that a replica takes too long, or nodes are free."""
        if decision.rollout.reason == "NoRoom":
            return _LOOK_AGAIN_S
        is_open = decision.rollout.reason in ("Progressing", "Canary")
        waiting = [one for one in mine if not one.is_ready and not one.failure and not one.leaving]
        return _LOOK_AGAIN_S if is_open and waiting else None

    # --- act -----------------------------------------------------------------------------------------------

    def _look_again(self, inference_set: Object) -> Generator[Request, Object, list[Object] | None]:
        """The set's Workspaces as the server has them; None when it has a newer set than our store."""
        live = yield from steps.read_optional(request.get(self._kind, *key_of(inference_set)))
        ours = uid_of(inference_set), generation_of(inference_set)
        if live is None or is_being_deleted(live) or (uid_of(live), generation_of(live)) != ours:
            return None
        return (yield from self._list(inference_set))

    def _list(self, inference_set: Object) -> Generator[Request, Object, list[Object]]:
        kind, key = api.WORKSPACE_V1BETA1, key_of(inference_set)
        selector = f"{api.LABEL_CREATED_BY_SET}={key.name}"
        answer = yield Request("GET", kind.path(key.namespace), query={"labelSelector": selector})
        head = {"apiVersion": kind.api_version, "kind": kind.kind}
        return [{**head, **item} for item in answer.get("items") or ()]

    def _refused_by_quota(self, inference_set: Object) -> Generator[Request, Object, str]:
        """Why the pods of a surge would be refused; empty where they would not, or nobody may look."""
        found: list[list[Object]] = []
        for kind in (RESOURCE_QUOTA, LIMIT_RANGE):
            try:
                answer = yield Request("GET", kind.path(key_of(inference_set).namespace))
            except ApiError as error:
                if error.status not in (401, 403, 404):
                    raise
                answer = {}
            found.append(answer.get("items") or [])
            if not found[0]:
                return ""
        return refused_by_quota(self._surge_of(inference_set), self._settings, *found)

    def _record(self, inference_set: Object, record: history.Record) -> Generator[Request, Object, int]:
        if record.present is None:
            try:
                yield request.create(CONTROLLER_REVISION, history.revision(inference_set, record.number))
            except ApiError as error:
                if error.status != 409:
                    raise  # written already, and our store is behind
        yield from self._prune(record.superfluous)
        return record.number

    def _prune(self, superfluous: Iterable[Object]) -> Generator[Request, Object, None]:
        for one in superfluous:
            deletion = request.delete(CONTROLLER_REVISION, *key_of(one), uid=uid_of(one))
            yield from steps.delete_if_present(deletion)

    def _act(
        self, inference_set: Object, decision: Decision, live: list[Object], number: int
    ) -> Generator[Request, Object, str]:
        """Carry out a decision; returns why a surge is refused, which is nobody's failure."""
        for one in decision.delete:
            deletion = request.delete(
                api.WORKSPACE_V1BETA1, *key_of(one.workspace), uid=uid_of(one.workspace)
            )
            yield from steps.delete_if_present(deletion)
        for one in decision.change:
            yield self._change(inference_set, one, number)
        taken, namespace = {key_of(one).name for one in live}, key_of(inference_set).namespace
        free = (
            name
            for name in replicas.free_names(inference_set, taken)
            if not self._is_used(ObjectKey(namespace, name))
        )
        for _ in range(decision.create):
            try:
                yield from self._create(inference_set, free, number)
            except ApiError as error:
                if decision.is_surge and final_refusals.is_final(error):
                    return str(error)
                raise
        return ""

    def _create(
        self, inference_set: Object, names: Iterator[str], number: int
    ) -> Generator[Request, Object, None]:
        """Make one Workspace, by the first of the names that is free.

        A name may be taken without showing in the list: another controller has just made it, or somebody
        took the label off, which is put on again; what is not the set's own, such as an orphan, keeps it.
        """
        kind, namespace = api.WORKSPACE_V1BETA1, key_of(inference_set).namespace
        for name in names:
            try:
                yield request.create(kind, self._stamp(self._new(inference_set, name), number))
            except ApiError as error:
                if error.reason != "AlreadyExists":
                    raise
            else:
                return
            there = yield from steps.read_optional(request.get(kind, namespace, name))
            if there is None or is_controlled_by(there, inference_set):
                label = {api.LABEL_CREATED_BY_SET: key_of(inference_set).name}
                if there is not None and label.items() - labels_of(there).items():
                    patch = {"metadata": {"labels": label, "uid": uid_of(there)}}
                    yield request.merge_patch(kind, namespace, name, patch, manager=MANAGER)
                return

    def _change(self, inference_set: Object, one: Replica, number: int) -> Request:
        """Make a Workspace as the template says; a 409 when somebody else wrote it meanwhile."""
        patch = patch_of(inference_set, one.workspace, dropped=self._template_annotations(inference_set))
        if one.way != "label":
            patch = self._stamp(patch, number)
        patch = {**patch, "metadata": {**patch.get("metadata", {}), **this_version(one.workspace)}}
        return request.merge_patch(api.WORKSPACE_V1BETA1, *key_of(one.workspace), patch, manager=MANAGER)

    def _stamp(self, obj: Object, number: int) -> Object:
        metadata = obj.get("metadata") or {}
        notes = {history.NUMBER: str(number), CHANGED_AT: timestamp(self._clock())}
        return {
            **obj,
            "metadata": {**metadata, "annotations": {**(metadata.get("annotations") or {}), **notes}},
        }

    # --- report and release --------------------------------------------------------------------------------

    def _report(
        self, inference_set: Object, mine: list[Replica], decision: Decision, refusal: str
    ) -> Generator[Request, Object, None]:
        wanted = replicas.wanted_replicas(inference_set)
        new = status_of(inference_set, wanted, mine, decision.rollout, self._clock(), refusal=refusal)
        yield from self._write(inference_set, new)

    def _write(self, inference_set: Object, new: Object) -> Generator[Request, Object, None]:
        present = inference_set.get("status") or {}
        if all(present.get(field) == new.get(field) for field in FIELDS):
            return
        metadata = inference_set["metadata"]
        body = {
            "apiVersion": self._kind.api_version,
            "kind": self._kind.kind,
            "metadata": {name: metadata[name] for name in ("name", "namespace", "uid")},
            "status": new,
        }
        yield request.apply_status(self._kind, body, manager=MANAGER)

    def _release(self, inference_set: Object) -> FleetSteps:
        """Deletion: its Workspaces, then our finalizer; as KAITO, without waiting for them to be gone."""
        if api.SET_FINALIZER not in (inference_set["metadata"].get("finalizers") or ()):
            return Outcome()
        live = yield from self._list(inference_set)
        mine = self._mine(inference_set, live)
        wanted = replicas.wanted_replicas(inference_set)
        yield from self._write(inference_set, deleting(inference_set, wanted, mine, self._clock()))
        for one in mine:
            if not one.leaving:
                kind, uid = api.WORKSPACE_V1BETA1, uid_of(one.workspace)
                yield from steps.delete_if_present(request.delete(kind, *key_of(one.workspace), uid=uid))
        newest = yield from steps.read_optional(request.get(self._kind, *key_of(inference_set)))
        if newest is not None and uid_of(newest) == uid_of(inference_set):
            yield self._finalizers(newest, ours=False)
        return Outcome()

    def _finalizers(self, inference_set: Object, *, ours: bool) -> Request:
        return steps.finalizers(inference_set, ours=ours, kind=self._kind, name=api.SET_FINALIZER)
