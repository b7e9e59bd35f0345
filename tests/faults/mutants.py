"""Defects put into the reconciler on purpose, each of which the fault plans must find.

The first ones have the shapes of defects that were read from KAITO's own controllers; the others are what
goes wrong in any controller. A mutant patches functions of ours for the length of a test.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

import pytest
from msgspec.structs import replace

from kaitoctl.errors import ApiError, KaitoctlError
from kaitoctl.kaito import api, claim_attempts, desired, node_assignment, node_claims, workspace_conditions
from kaitoctl.kaito.own_workloads import OWNER_GENERATION
from kaitoctl.kube import final_refusals, request
from kaitoctl.kube.objects import (
    NODE_CLAIM,
    SERVICE,
    STATEFUL_SET,
    Object,
    ObjectKey,
    generation_of,
    is_being_deleted,
    key_of,
    owner_reference,
    uid_of,
)
from kaitoctl.kube.request import Request
from kaitoctl.reconcile import planner as plan_
from kaitoctl.reconcile.planner import Plan
from kaitoctl.workspace_controller import (
    MANAGER,
    WORKLOADS,
    WorkspaceReconciler,
    claim_deletion,
    node_view,
    status_write,
    steps,
)
from kaitoctl.workspace_controller import children as children_
from kaitoctl.workspace_controller import claims as buying
from kaitoctl.workspace_controller import reconcile as reconciler
from kaitoctl.workspace_controller.children import Children
from kaitoctl.workspace_controller.claim_deletion import ClaimDeletion
from kaitoctl.workspace_controller.decisions import Refusals

Patch = Callable[[pytest.MonkeyPatch], None]


@dataclass(frozen=True)
class Mutant:
    """A defect.

    Args:
        name: of the defect.
        like: which defect of KAITO's has this shape; empty for a general one.
        scenarios: lives in which it shows, and the number of faults that it takes.
        patch: makes it.
        pass_takes_s: by how much the clock moves from pass to pass.
    """

    name: str
    like: str
    scenarios: tuple[str, ...]
    faults: int
    patch: Patch
    pass_takes_s: float = 0.0


def _planning(change: Callable[..., Plan]) -> Patch:
    """A mutant of `plan`: `change(changes, owner, observed)` makes other changes of its changes."""

    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        def mutated(owner: Object, wanted: Any, observed: Any, **options: Any) -> Plan:
            observed = list(observed)
            return change(plan_.plan(owner, wanted, observed, **options), owner, observed)

        monkeypatch.setattr(children_, "plan", mutated)

    return patch


def _writing(mutated: Any) -> Patch:
    """A mutant of how children are written."""
    return lambda monkeypatch: monkeypatch.setattr(Children, "write", mutated)


def _deleting(name: str, mutated: Any) -> Patch:
    """A mutant of how NodeClaims are deleted."""
    return lambda monkeypatch: monkeypatch.setattr(ClaimDeletion, name, mutated)


def _headless_only_with_the_service(changes: Plan, owner: Object, observed: Any) -> Plan:
    has_service = any(kind is SERVICE and key_of(child) == key_of(owner) for kind, child in observed)
    steps = [
        step
        for step in changes.steps
        if not (has_service and step.verb == "create" and step.key.name.endswith("-headless"))
    ]
    return replace(changes, steps=tuple(steps))


def _swallowed_update_error(
    self: Children, changes: Plan, workload: Object | None
) -> Generator[Request, Object, Object | None]:
    for step in changes.steps:
        try:
            answer = yield step.request
        except ApiError:
            if step.verb == "create" or workload is None:
                raise
            stamp = {**workload["metadata"].get("annotations", {})}
            stamp[OWNER_GENERATION] = step.request.body["metadata"]["annotations"][OWNER_GENERATION]
            workload = {**workload, "metadata": {**workload["metadata"], "annotations": stamp}}
            continue
        if step.kind in WORKLOADS and step.verb != "delete":
            workload = answer
    return workload


def _names_from_time(monkeypatch: pytest.MonkeyPatch) -> None:
    times: list[str] = [""]
    begun = WorkspaceReconciler.reconcile

    def reconcile(self: WorkspaceReconciler, key: ObjectKey) -> Any:
        times[0] = str(self._clock())
        return begun(self, key)

    def names(workspace: Object) -> Iterator[str]:
        for slot in count():
            yield "ws" + hashlib.sha256(f"{key_of(workspace)}/{slot}/{times[0]}".encode()).hexdigest()[:9]

    monkeypatch.setattr(WorkspaceReconciler, "reconcile", reconcile)
    monkeypatch.setattr(node_claims, "names", names)


def _names_at_random(monkeypatch: pytest.MonkeyPatch) -> None:
    def names(workspace: Object) -> Iterator[str]:
        for slot in count():
            seed = f"{workspace['metadata']['resourceVersion']}/{slot}"
            yield "ws" + hashlib.sha256(seed.encode()).hexdigest()[:9]

    monkeypatch.setattr(node_claims, "names", names)


def _everyones_finalizers(workspace: Object, *, ours: bool) -> Request:
    metadata = workspace["metadata"]
    finalizers = [*(metadata.get("finalizers") or ()), api.FINALIZER] if ours else []
    patch = {"metadata": {"resourceVersion": metadata["resourceVersion"], "finalizers": finalizers}}
    return request.merge_patch(api.WORKSPACE, metadata["namespace"], metadata["name"], patch, manager=MANAGER)


def _finalizers_without_precondition(workspace: Object, *, ours: bool) -> Request:
    metadata = workspace["metadata"]
    others = [name for name in metadata.get("finalizers") or () if name != api.FINALIZER]
    patch = {"metadata": {"finalizers": [*others, api.FINALIZER] if ours else others}}
    return request.merge_patch(api.WORKSPACE, metadata["namespace"], metadata["name"], patch, manager=MANAGER)


def _all_is_ours(*_: object) -> bool:
    return True


def _a_service_is_a_service(changes: Plan, owner: Object, observed: Any) -> Plan:
    foreign = tuple(item for item in changes.foreign if item.kind is not SERVICE)
    return replace(changes, foreign=foreign)


def _waits_in_the_pass(
    self: Children, changes: Plan, workload: Object | None
) -> Generator[Request, Object, Object | None]:
    for step in changes.steps:
        answer = yield step.request
        while step.kind in WORKLOADS and not answer.get("status", {}).get("readyReplicas"):
            answer = yield request.get(step.kind, *step.key)
        if step.kind in WORKLOADS:
            workload = answer
    return workload


def _writes_each_time(workspace: Object, new: Object) -> Generator[Request, Object, Object]:
    metadata = {name: workspace["metadata"][name] for name in ("name", "namespace", "uid")}
    body = {"apiVersion": api.WORKSPACE.api_version, "kind": "Workspace", "metadata": metadata, "status": new}
    return (yield request.apply_status(api.WORKSPACE, body, manager=MANAGER))


def _without_updates_of_stateful_sets(changes: Plan, owner: Object, observed: Any) -> Plan:
    steps = [step for step in changes.steps if not (step.kind is STATEFUL_SET and step.verb == "update")]
    return replace(changes, steps=tuple(steps))


def _without_new_pull_secrets(changes: Plan, owner: Object, observed: Any) -> Plan:
    steps = []
    for step in changes.steps:
        if step.verb == "update" and "template" in (step.request.body.get("spec") or {}):
            body = step.request.body
            template = body["spec"]["template"]
            spec = {name: value for name, value in template["spec"].items() if name != "imagePullSecrets"}
            body = {**body, "spec": {**body["spec"], "template": {**template, "spec": spec}}}
            step = replace(step, request=replace(step.request, body=body))
        steps.append(step)
    return replace(changes, steps=tuple(steps))


def _status_conflicts_are_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    write = status_write.write_status

    def mutated(workspace: Object, new: Object) -> Generator[Request, Object, Object]:
        try:
            return (yield from write(workspace, new))
        except ApiError as error:
            if error.status == 409:
                return workspace
            raise

    monkeypatch.setattr(status_write, "write_status", mutated)


def _strength_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    made = desired.desired

    def mutated(workspace: Object, **options: Any) -> Any:
        for adapter in workspace.get("inference", {}).get("adapters") or ():
            adapter["strength"].strip()
        return made(workspace, **options)

    monkeypatch.setattr(desired, "desired", mutated)


def _nothing_is_refused(*_: object) -> str:
    return ""


def _asks_again_and_again(
    self: Children, changes: Plan, workload: Object | None
) -> Generator[Request, Object, Object | None]:
    for step in changes.steps:
        for _ in range(4):
            try:
                yield request.get(step.kind, *step.key)
            except ApiError:
                continue
            break
    return (yield from _WRITE(self, changes, workload))


_WRITE = Children.write


def _no_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        plan_, "owner_reference", lambda owner: {**owner_reference(owner), "controller": False}
    )


def _conflicts_are_nothing(
    self: Children, changes: Plan, workload: Object | None
) -> Generator[Request, Object, Object | None]:
    for step in changes.steps:
        try:
            answer = yield step.request
        except ApiError as error:
            if error.status == 409 or (step.verb == "delete" and error.status == 404):
                continue
            raise
        if step.kind in WORKLOADS and step.verb != "delete":
            workload = answer
    return workload


def _errors_are_absence(asking: Request) -> Generator[Request, Object, Object | None]:
    try:
        return (yield asking)
    except ApiError:
        return None


def _a_broken_list_is_empty(workspace: Object) -> Generator[Request, Object, list[Object]]:
    try:
        return (yield from _LIVE_CLAIMS(workspace))
    except KaitoctlError:
        return []


_LIVE_CLAIMS = claim_deletion._live_claims


def _any_generation(monkeypatch: pytest.MonkeyPatch) -> None:
    def is_rolled_out(workload: Object) -> bool:
        status = workload.get("status") or {}
        return bool(status.get("readyReplicas") == workload["spec"].get("replicas", 1))

    monkeypatch.setattr(workspace_conditions, "is_current", lambda workspace, workload: True)
    monkeypatch.setattr(workspace_conditions, "is_rolled_out", is_rolled_out)


def _adds_its_finalizer_again(monkeypatch: pytest.MonkeyPatch) -> None:
    begun = WorkspaceReconciler.reconcile

    def reconcile(self: WorkspaceReconciler, key: ObjectKey) -> Any:
        workspace = self._stores.workspaces.get(key)
        if workspace is not None and api.FINALIZER not in (workspace["metadata"].get("finalizers") or ()):
            yield steps.finalizers(workspace, ours=True)
        return (yield from begun(self, key))

    monkeypatch.setattr(WorkspaceReconciler, "reconcile", reconcile)


def _status_before_workload(monkeypatch: pytest.MonkeyPatch) -> None:
    """Success is told as soon as it is intended."""

    def write(
        self: Children, changes: Plan, workload: Object | None
    ) -> Generator[Request, Object, Object | None]:
        if workload is not None and any(step.verb == "update" for step in changes.steps):
            owner = self.stores.workspaces.get(key_of(workload))
            assert owner is not None
            told = [
                {**item, "observedGeneration": generation_of(owner)} for item in owner["status"]["conditions"]
            ]
            yield from status_write.write_status(owner, {**owner["status"], "conditions": told})
        return (yield from _WRITE(self, changes, workload))

    monkeypatch.setattr(Children, "write", write)


def _no_way_back_is_barred(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_, "owner_generation", lambda obj, prefix: 0)
    monkeypatch.setattr(reconciler, "owner_generation", lambda obj, prefix: 0)  # the history bars it, too


def _adopts_what_it_creates(monkeypatch: pytest.MonkeyPatch) -> None:
    applying = request.apply

    def apply(kind: Any, obj: Object, *, only_new: bool = False, **options: Any) -> Request:
        return applying(kind, obj, **options)

    monkeypatch.setattr(request, "apply", apply)


def _forgets_claims_of_the_gone(
    self: ClaimDeletion, key: ObjectKey, workspace: Object | None
) -> Generator[Request, Object, None]:
    return
    yield


def _deletes_claims_of_everyone(
    self: ClaimDeletion, workspace: Object, newest: Object, look: Any, workload: Any, dealings: Any
) -> Generator[Request, Object, None]:
    for claim in self._stores.claims.values():
        if (
            uid_of(workspace) in node_claims.owner_uids(claim)
            and not is_being_deleted(claim)
            and not look.verdict.enough
        ):
            yield request.delete(NODE_CLAIM, "", claim["metadata"]["name"], uid=uid_of(claim))


def _names_are_not_judged(patch: pytest.MonkeyPatch) -> None:
    """Neither before anything is built, nor by what the server says to it: each alone brings it to rest."""
    patch.setattr(Refusals, "of", _nothing_is_refused)
    patch.setattr(final_refusals, "is_impossible", lambda error: False)


MUTANTS = (
    Mutant(
        "headless-service-only-with-the-service",
        "U1",
        ("distributed",),
        1,
        _planning(_headless_only_with_the_service),
    ),
    Mutant("update-error-swallowed", "U2", ("adapters",), 1, _writing(_swallowed_update_error)),
    Mutant("claim-names-from-time", "U3", ("buy-two",), 1, _names_from_time, pass_takes_s=1.0),
    Mutant(
        "everyones-finalizers-removed",
        "U4",
        ("delete-slowly",),
        1,
        lambda patch: patch.setattr(steps, "finalizers", _everyones_finalizers),
    ),
    Mutant(
        "foreign-objects-adopted",
        "U5",
        ("foreign",),
        1,
        lambda patch: patch.setattr(plan_, "_is_ours", _all_is_ours),
    ),
    Mutant("foreign-service-accepted", "U6", ("foreign",), 1, _planning(_a_service_is_a_service)),
    Mutant("waits-inside-a-pass", "U7", ("create",), 1, _writing(_waits_in_the_pass)),
    Mutant(
        "writes-each-time",
        "U8",
        ("create",),
        1,
        lambda patch: patch.setattr(status_write, "write_status", _writes_each_time),
    ),
    Mutant(
        "adapters-never-reach-stateful-sets",
        "U10",
        ("distributed-adapters",),
        1,
        _planning(_without_updates_of_stateful_sets),
    ),
    Mutant("pull-secrets-not-updated", "U11", ("adapters",), 1, _planning(_without_new_pull_secrets)),
    Mutant("status-conflict-swallowed", "U12", ("create",), 1, _status_conflicts_are_nothing),
    Mutant("strength-taken-for-granted", "U13", ("distributed-adapters",), 1, _strength_is_there),
    Mutant(
        "names-not-judged",
        "U14",
        ("bad-name",),
        1,
        _names_are_not_judged,
    ),
    Mutant("asks-again-and-again", "U15", ("create",), 1, _writing(_asks_again_and_again)),
    Mutant("no-owner-reference", "", ("create",), 1, _no_owner),
    Mutant("409-ignored", "", ("create",), 2, _writing(_conflicts_are_nothing)),
    Mutant(
        "500-taken-for-404",
        "",
        ("tuning", "recreate"),
        2,
        lambda patch: patch.setattr(steps, "read_optional", _errors_are_absence),
    ),
    Mutant(
        "no-version-precondition",
        "",
        ("delete-slowly",),
        2,
        lambda patch: patch.setattr(steps, "finalizers", _finalizers_without_precondition),
    ),
    Mutant("generation-forgotten", "", ("adapters",), 1, _any_generation),
    Mutant("claim-names-at-random", "", ("buy-two",), 1, _names_at_random),
    Mutant("finalizer-added-while-deleting", "", ("delete-slowly",), 1, _adds_its_finalizer_again),
    Mutant(
        "broken-list-taken-for-empty",
        "",
        ("delete",),
        2,
        lambda patch: patch.setattr(claim_deletion, "_live_claims", _a_broken_list_is_empty),
    ),
    Mutant("status-before-workload", "", ("adapters",), 1, _status_before_workload),
    Mutant("way-back-not-barred", "", ("adapters",), 1, _no_way_back_is_barred),
    Mutant("creates-over-others", "", ("squatter",), 1, _adopts_what_it_creates),
    Mutant(
        "claims-of-the-gone-forgotten",
        "",
        ("delete",),
        2,
        _deleting("delete_orphaned", _forgets_claims_of_the_gone),
    ),
    Mutant(
        "claims-given-back-too-early",
        "",
        ("buy-two",),
        1,
        _deleting("delete_outgrown", _deletes_claims_of_everyone),
    ),
)


# --- where several Workspaces compete ----------------------------------------------------------------------


@dataclass(frozen=True)
class Rival:
    """A defect that shows only where several compete for nodes.

    Args:
        name: of the defect.
        contests: in which it shows.
        patch: makes it.
    """

    name: str
    contests: tuple[str, ...]
    patch: Patch


def _everybody_plans_with_every_node(monkeypatch: pytest.MonkeyPatch) -> None:
    def shares(seekers: Any, free: Any, bought: Any = ()) -> Any:
        return {one.key: tuple(sorted(one.asks))[: one.needs] for one in seekers}

    monkeypatch.setattr(node_assignment, "shares", shares)


def _nobody_first(monkeypatch: pytest.MonkeyPatch) -> None:
    share = node_assignment.shares

    def shares(seekers: Any, free: Any, bought: Any = ()) -> Any:
        blind = [replace(one, own=frozenset(), before=frozenset(), coming=0, lost=0) for one in seekers]
        return share(blind, free)

    monkeypatch.setattr(node_assignment, "shares", shares)


def _given_back_as_soon_as_there_are_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    def outgrown(workspace: Object, claims_: Any, *, serving: Any, held: Any) -> list[Object]:
        return [
            claim
            for claim in claims_
            if not is_being_deleted(claim) and node_claims.node_of(claim) not in held
        ]

    monkeypatch.setattr(node_claims, "outgrown", outgrown)
    monkeypatch.setattr(ClaimDeletion, "_runs", _all_is_ours)


def _others_pods_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    _no_last_look(monkeypatch)
    monkeypatch.setattr(node_view.NodeView, "guests", lambda *_: [])


def _no_last_look(monkeypatch: pytest.MonkeyPatch) -> None:
    def last_look(claim: Object, owner: Any) -> Generator[Request, Object, str]:
        yield from ()
        return ""

    monkeypatch.setattr(claim_deletion, "_last_look", last_look)


def _a_full_node_is_on_its_way(monkeypatch: pytest.MonkeyPatch) -> None:
    demand = node_claims.demand

    def mutated(workspace: Object, found: Any, **options: Any) -> Any:
        return demand(workspace, found, **{**options, "full": ()})

    monkeypatch.setattr(node_claims, "demand", mutated)


def _buys_for_whoever_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    demand = node_claims.demand

    def mutated(workspace: Object, found: Any, **options: Any) -> Any:
        full = options["full"]
        return demand(workspace, [one for one in found if node_claims.node_of(one) not in full], **options)

    monkeypatch.setattr(node_claims, "demand", mutated)


def _buys_before_the_scheduler_has_spoken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_view, "_is_undecided", lambda pod: False)
    monkeypatch.setattr(buying, "_pods_to_come", lambda workload: 0)


def _keeps_from_all_what_one_cannot_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_assignment._Table, "put_back", lambda *_: None)
    monkeypatch.setattr(node_view, "_is_stuck", lambda workspace: False)  # either would do


def _kept_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_claims, "kept_words", lambda claim, why: "")


RIVALS = (
    Rival("same-free-node-for-all", ("six-of-a-kind",), _everybody_plans_with_every_node),
    Rival("owners-not-first", ("six-of-a-kind",), _nobody_first),
    Rival(
        "given-back-when-a-node-joins",
        ("shrinks-while-another-waits", "another-type-while-another-waits", "six-of-a-kind"),
        _given_back_as_soon_as_there_are_nodes,
    ),
    Rival(
        "given-back-under-others",
        ("shrinks-under-strangers", "deleted-under-strangers", "deleted-beside-another"),
        _others_pods_do_not_count,
    ),
    Rival("store-believed-about-pods", ("deleted-under-strangers", "shrinks-under-strangers"), _no_last_look),
    Rival("full-node-taken-for-coming", ("a-stranger-takes-the-node",), _a_full_node_is_on_its_way),
    Rival("buys-for-whoever-takes", ("strangers-take-every-node",), _buys_for_whoever_takes),
    Rival(
        "patience-lost-on-restart",
        ("no-capacity",),
        lambda patch: patch.setattr(claim_attempts, "attempts_of", lambda workspace: {}),
    ),
    Rival(
        "buys-while-the-scheduler-looks",
        ("six-of-a-kind", "six-on-three-prepared-nodes"),
        _buys_before_the_scheduler_has_spoken,
    ),
    Rival(
        "kept-for-who-never-fits",
        ("nobody-buys-and-one-never-fits",),
        _keeps_from_all_what_one_cannot_use,
    ),
    Rival("kept-in-silence", ("shrinks-under-strangers",), _kept_in_silence),
)
