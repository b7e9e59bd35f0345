"""The Workspace controller: observe (stores) -> decide (kaito) -> plan -> act -> status.

The reconciler is a generator without I/O: it reads the informers' stores, yields one API request at a
time and is sent the answer. A reconcile never waits and never polls; it acts on what is there, says in the
status what is missing, and is woken by the next change. When nothing has changed it yields nothing.

Rules that hold in every reconcile:
- an object that is not controlled by this very Workspace (by uid) is never touched, but reported;
- a child never goes back to an older generation of its Workspace;
- the status is written last and also after a refused write, so it is always truthful;
- what is applied is recorded first, so whatever runs can be found in the history and come back;
- an invalid edit stops nothing: what was applied last is kept as it was, and the status says why;
- NodeClaims, which cost money, have names that follow from the Workspace and a slot: repeating a request
  cannot buy a second node; none comes or goes on the word of a store alone, and those of a Workspace that is
  no more are deleted.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from datetime import UTC, datetime

from msgspec import Struct
from msgspec.structs import replace

from kaitoctl.errors import ApiError
from kaitoctl.kaito import api, revisions, tuning, workspace_status
from kaitoctl.kaito.desired import Settings
from kaitoctl.kaito.revisions import Record
from kaitoctl.kaito.workspace_conditions import Observed
from kaitoctl.kube import final_refusals
from kaitoctl.kube.objects import Kind, Object, ObjectKey, generation_of, is_being_deleted, key_of
from kaitoctl.kube.request import Request
from kaitoctl.reconcile.controller import Outcome
from kaitoctl.reconcile.planner import Plan, owner_generation
from kaitoctl.workspace_controller import history, status_write, steps, take_over, tuning_start
from kaitoctl.workspace_controller.children import Children
from kaitoctl.workspace_controller.claim_deletion import ClaimDeletion
from kaitoctl.workspace_controller.claims import ClaimResult, Claims, claims_of
from kaitoctl.workspace_controller.decisions import (
    ANNOTATION_PREFIX,
    Refusals,
    StageError,
    change_refusal,
    conflict,
    is_over,
    mixed_nodes,
    without_generation_stamps,
)
from kaitoctl.workspace_controller.node_pools import NodePools
from kaitoctl.workspace_controller.node_view import Look, NodeView
from kaitoctl.workspace_controller.stores import Stores, counted
from kaitoctl.workspace_controller.take_over import Turns
from kaitoctl.workspace_controller.workspace_settings import Choices

# Secrets and ConfigMaps of users' that are missing: to watch all of them would be to read all of them.
_INPUTS_AGAIN_S = 30.0

ReconcileSteps = Generator[Request, Object, Outcome]


class WorkspaceReconciler:
    """Decides what one reconcile of one Workspace does.

    Args:
        stores: the world as last seen.
        settings: image registry and generation.
        kind: Workspaces in the version that the stores show them in.
        clock: the present time, for condition times.
        one_by_one: whether Workspaces taken over from KAITO restart one after the other.
    """

    def __init__(
        self,
        stores: Stores,
        settings: Settings,
        *,
        kind: Kind = api.WORKSPACE_V1BETA1,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        one_by_one: bool = True,
    ) -> None:
        can_claim = (lambda: False) if settings.provisioner == "byo" else stores.can_claim
        self._stores = stores = replace(stores, can_claim=can_claim, clock=clock)
        self._settings = settings
        self._clock = clock
        self._refusals = Refusals()
        self._nodes = NodeView(stores, settings)
        self._children = Children(stores)
        self._turns = Turns(self._workload_of, clock) if one_by_one else None
        self._claims = Claims(stores, self._nodes, settings, clock)
        self._pools = NodePools(stores, settings) if settings.provisioner == "karpenter" else None
        self._deletion = ClaimDeletion(stores, self._nodes, kind, clock, self._pools)

    def reconcile(self, key: ObjectKey) -> ReconcileSteps:
        """One reconcile of the Workspace `key`."""
        workspace = self._stores.workspaces.get(key)
        again_s = yield from self._deletion.delete_orphaned(key, workspace)
        if workspace is None:
            self._refusals.forget(key)
            return Outcome(again_s)  # its children go with it, by their owner references
        if is_being_deleted(workspace):
            return (yield from self._release(workspace))
        if workspace.get("tuning") and (yield from self._needs_no_tuning(workspace)):
            return Outcome()
        choices = self._choices()
        yield from choices.read_context(workspace)
        refusal = yield from self._refusal_of(workspace, choices)
        if not refusal and self._settings.provisioner == "byo" and not self._children.serving(workspace):
            refusal = mixed_nodes(workspace, self._nodes.look(workspace).verdict)
        if refusal:
            return (yield from self._refuse(workspace, choices, refusal))
        return (yield from self._converge(workspace, choices))

    def refusal_of(self, workspace: Object) -> str:
        """Why nothing is built of the Workspace, whatever it was; what its ConfigMap says is not read."""
        choices = self._choices()
        settings = choices.settings_for(workspace)
        return self._refusals.of(key_of(workspace), choices.as_it_runs(workspace), settings)

    def _refusal_of(self, workspace: Object, choices: Choices) -> Generator[Request, Object, str]:
        """Why nothing is built of the Workspace as it is."""
        settings = choices.settings_for(workspace)
        if refusal := self._refusals.of(key_of(workspace), choices.as_it_runs(workspace), settings):
            return refusal
        before = yield from history.before(self._stores, workspace)
        return "" if before is None else change_refusal(workspace, before, settings)

    def sized(self, workspace: Object) -> Object:
        """The Workspace with as many nodes as its model takes; what its ConfigMap says is not read for it."""
        return self._choices().sized(workspace)

    def _choices(self) -> Choices:
        return Choices(self._settings, self._children.serving, lambda one: self._nodes.look(one).verdict)

    def _converge(self, workspace: Object, choices: Choices) -> ReconcileSteps:
        """Build what the Workspace asks for, and report what there is."""
        output_dir = ""
        if workspace.get("tuning"):
            job = self._children.workload(workspace)
            refusal, output_dir = yield from tuning_start.read_inputs(workspace, job, self._settings.catalog)
            if refusal:
                yield from self._report(workspace, Observed(refusal=refusal))
                return Outcome(requeue_after_s=_INPUTS_AGAIN_S)
        past = history.revisions_of(self._stores, workspace)
        deployed = revisions.number_on(self._children.serving(workspace))
        record = revisions.record(workspace, past, deployed=deployed)
        is_newer_known = any(
            owner_generation(one, ANNOTATION_PREFIX) > generation_of(workspace) for one in past
        )
        if is_newer_known and not (yield from steps.is_view_current(workspace)):
            return Outcome()
        sized = choices.sized(workspace)
        built = yield from self._build(sized, workspace, choices, record.number, record, output_dir)
        if built is None:
            return Outcome()
        if built.seen is not None:
            yield from self._report(sized, replace(built.seen, is_counted=choices.is_counted(workspace)))
        return built.outcome()

    def _refuse(self, workspace: Object, choices: Choices, refusal: str) -> ReconcileSteps:
        """Build nothing of what is refused, but keep what was applied last as its revision says."""
        seen, problem, built = Observed(), None, None
        serving = self._children.serving(workspace)
        try:
            good = yield from history.last_good(self._stores, self._settings, workspace, serving)
            if good is not None:
                number = revisions.number_on(serving)
                built = yield from self._build(choices.sized(good), workspace, choices, number)
                if built is None:
                    return Outcome()
                seen = built.seen or seen
        except ApiError as error:
            problem = error
        seen = replace(
            seen,
            refusal=refusal,
            is_counted=choices.is_counted(workspace),
            workload=seen.workload or serving,
            pods=tuple(self._children.pods(workspace)),
        )
        yield from self._report(choices.sized(workspace), seen)
        if problem is not None:
            raise problem
        return built.outcome() if built else Outcome()

    def _build(
        self,
        workspace: Object,
        asked: Object,
        choices: Choices,
        number: int,
        record: Record | None = None,
        output_dir: str = "",
    ) -> Generator[Request, Object, _Built | None]:
        """Nodes and children for a Workspace; None when our view of it is too old to act on.

        Args:
            workspace: to be built.
            asked: as it is in the cluster: the same, unless that is refused.
            choices: of this reconcile.
            number: of the revision that is built.
            record: what to do about the history before; None when it is of the past.
            output_dir: where tuning writes.
        """
        look = self._nodes.look(workspace)
        children = self._children.observe(workspace)

        def plan_for(number: int) -> Plan:
            settings = choices.settings_for(workspace)
            return self._children.plan(workspace, look.verdict, children, output_dir, number, settings)

        changes = plan_for(number)
        if changes.stale:
            if not (yield from steps.is_view_current(asked)):
                return None
            children = without_generation_stamps(
                children
            )  # somebody wrote the stamp of a generation that never was
            changes = plan_for(number)

        workload = self._children.workload(workspace)
        if workload and self._turns and self._turns.must_wait(key_of(asked), workload, changes):
            return _Built(None, Outcome(take_over.AGAIN_S), ())  # KAITO's status stays true
        claiming, writing, recording = ClaimResult(), StageError(), StageError()
        # A workload beside somebody else's Service serves nobody, and nodes cost money.
        if not changes.foreign:
            if record is not None:
                try:
                    settled = yield from history.write_revision(asked, record)
                    changes = changes if settled == number else plan_for(settled)
                except ApiError as error:
                    # What is not recorded is not applied; what serves already does so without.
                    (writing if changes.steps or workload is None else recording).error = error
                if not (writing.error or recording.error):
                    recording.error = yield from history.prune(record)
            if writing.error is None:
                yield from self._deal_in_nodes(workspace, asked, look, workload, choices, claiming)
                workload = yield from self._write_children(workspace, changes, workload, writing)
        seen = self._observation(workspace, look, changes, workload, claiming, writing)
        return _Built(seen, Outcome(claiming.again_s), (writing.error, claiming.error, recording.error))

    def _deal_in_nodes(
        self,
        workspace: Object,
        asked: Object,
        look: Look,
        workload: Object | None,
        choices: Choices,
        result: ClaimResult,
    ) -> Generator[Request, Object, None]:
        """Ask for nodes and delete those that are outgrown; a Job that is over gets none."""
        if workspace.get("tuning") and workload is not None and is_over(workspace, workload):
            return
        try:
            if self._pools:
                settings = choices.settings_for(asked)
                yield from self._pools.buy(workspace, asked, look, settings, result)
            else:
                yield from self._claims.buy(workspace, asked, look, workload, result)
            yield from self._deletion.delete_outgrown(workspace, asked, look, workload, result)
        except ApiError as error:
            result.error = error

    def _write_children(
        self, workspace: Object, changes: Plan, workload: Object | None, stage: StageError
    ) -> Generator[Request, Object, Object | None]:
        try:
            workload = yield from self._children.write(changes, workload)
            yield from self._children.replace_together(workspace, workload)
        except ApiError as error:
            stage.error = error
        return workload

    def _observation(
        self,
        workspace: Object,
        look: Look,
        changes: Plan,
        workload: Object | None,
        claiming: ClaimResult,
        writing: StageError,
    ) -> Observed:
        return Observed(
            verdict=look.verdict,
            claims=tuple(counted(self._stores, claims_of(self._stores, workspace))),
            can_claim=self._stores.can_claim(),
            provisioner=self._settings.provisioner,
            workload=workload,
            pods=tuple(self._children.pods(workspace)),
            conflicts=tuple(conflict(kind, key, owner) for kind, key, owner in changes.foreign),
            error=writing.final,
            retrying=writing.transient,
            claim_error=claiming.final,
            claim_note=claiming.note or claiming.transient,
            asked=claiming.asked,
            kept=tuple(claiming.kept),
        )

    def _needs_no_tuning(self, workspace: Object) -> Generator[Request, Object, bool]:
        """Whether this generation is tuned, or KAITO is about to: the end of its Job is reported."""
        job = self._children.workload(workspace)
        if tuning_start.has_tuned(workspace, job):
            return True
        if job is None or not tuning_start.is_begun_by_kaito(workspace, job):
            return False
        if tuning.has_ended(job):
            pods = tuple(self._children.pods(workspace))
            yield from self._report(workspace, Observed(workload=job, pods=pods, adopts=True))
        return True

    def _release(self, workspace: Object) -> ReconcileSteps:
        """Deletion: what was bought first, and our finalizer last."""
        if api.FINALIZER not in (workspace["metadata"].get("finalizers") or ()):
            return Outcome()

        def report(kept: list[str]) -> Generator[Request, Object, Object]:
            new = workspace_status.deleting(workspace, self._clock(), kept)
            return (yield from status_write.write_status(workspace, new))

        return Outcome((yield from self._deletion.release(workspace, report)))

    def _workload_of(self, key: ObjectKey) -> Object | None:
        workspace = self._stores.workspaces.get(key)
        return None if workspace is None else self._children.workload(workspace)

    def _report(self, workspace: Object, seen: Observed) -> Generator[Request, Object, None]:
        seen = replace(seen, catalog=self._settings.catalog)
        return status_write.report(workspace, seen, self._clock())


class _Built(Struct, frozen=True):
    """What came of building.

    Args:
        seen: for the status; None to leave it.
        result: how the reconcile is to end.
        problems: what was refused, worst first.
    """

    seen: Observed | None
    result: Outcome
    problems: tuple[ApiError | None, ...]

    def outcome(self) -> Outcome:
        """How the reconcile ends, once the status is written.

        What no server would accept is not sent again before something changes.

        Raises:
            ApiError: the work queue waits and tries again.
        """
        for problem in self.problems:
            if problem is not None and not final_refusals.is_impossible(problem):
                raise problem
        return self.result
