"""The Workspace controller: observe (stores) -> decide (kaito) -> plan -> act -> status.

The reconciler is a generator without I/O: it reads the informers' stores, yields one API request at a
time and is sent the answer. A pass never waits and never polls; it acts on what is there, says in the
status what is missing, and is woken by the next change. When nothing has changed it yields nothing.

Rules that hold in every pass:
- an object that is not controlled by this very Workspace (by uid) is never touched, but reported;
- a child never goes back to an older generation of its Workspace;
- the status is written last and also after a refused write, so it is always truthful;
- what is applied is recorded first, so whatever runs can be found in the history and come back;
- an invalid edit stops nothing: what was applied last is kept as it was, and the status says why;
- NodeClaims, which cost money, have names that follow from the Workspace and a slot: repeating a request
  cannot buy a second node; none comes or goes on the word of a store alone, and those of a Workspace that is
  no more are given back.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from kaitoctl.errors import ApiError
from kaitoctl.kaito import api, desired, revisions, tuning
from kaitoctl.kaito import status as status_
from kaitoctl.kaito.desired import Settings
from kaitoctl.kaito.nodes import Verdict
from kaitoctl.kaito.revisions import Record
from kaitoctl.kaito.status import Observed
from kaitoctl.kube import conditions, final_refusals, request
from kaitoctl.kube.objects import (
    CONFIG_MAP,
    CONTROLLER_REVISION,
    DEPLOYMENT,
    EVENT,
    JOB,
    POD,
    SECRET,
    SERVICE,
    STATEFUL_SET,
    Kind,
    Object,
    ObjectKey,
    generation_of,
    is_being_deleted,
    is_controlled_by,
    key_of,
    uid_of,
)
from kaitoctl.kube.request import Request
from kaitoctl.kube.workloads import outdated_pods
from kaitoctl.reconcile.controller import Outcome
from kaitoctl.reconcile.plan import Plan, plan
from kaitoctl.workspace_controller.claims import Claims, Dealings, found
from kaitoctl.workspace_controller.decisions import (
    ANNOTATION_PREFIX,
    MANAGER,
    WORKLOADS,
    children_of,
    conflict,
    is_over,
    made_for,
    pod_gpus,
    refusal_of,
    refusal_words,
    unstamped,
)
from kaitoctl.workspace_controller.node_view import NodeView
from kaitoctl.workspace_controller.stores import Stores, workspace_of_labels

logger = logging.getLogger(__name__)

# Secrets and ConfigMaps of users' that are missing: to watch all of them would be to read all of them.
_INPUTS_AGAIN_S = 30.0

_MOST_COLLISIONS = 16

Pass = Generator[Request, Object, Outcome]


class WorkspaceReconciler:
    """Decides what one pass over one Workspace does.

    Args:
        stores: the world as last seen.
        settings: image registry and generation.
        kind: Workspaces in the version that the stores show them in.
        clock: the present time, for condition times.
    """

    def __init__(
        self,
        stores: Stores,
        settings: Settings,
        *,
        kind: Kind = api.WORKSPACE_V1BETA1,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._stores = stores
        self._settings = settings
        self._kind = kind
        self._clock = clock
        self._nodes = NodeView(stores)
        self._claims = Claims(stores, self._nodes, settings, kind, clock)

    def reconcile(self, key: ObjectKey) -> Pass:
        """One pass over the Workspace `key`."""
        workspace = self._stores.workspaces.get(key)
        again_s = yield from self._claims.give_back_strays(key, workspace)
        if workspace is None:
            return Outcome(again_s)  # its children go with it, by their owner references
        if is_being_deleted(workspace):
            return (yield from self._release(workspace))
        if workspace.get("tuning") and (
            self._has_tuned(workspace) or (yield from self._is_kaitos(workspace))
        ):
            return Outcome()
        if refusal := refusal_of(workspace, self._settings):
            return (yield from self._refuse(workspace, refusal))
        return (yield from self._converge(workspace))

    def _converge(self, workspace: Object) -> Pass:
        """Build what the Workspace asks for, and tell what there is."""
        output_dir = ""
        if workspace.get("tuning"):
            refusal, output_dir = yield from self._tuning_inputs(workspace)
            if refusal:
                yield from self._report(workspace, Observed(refusal=refusal))
                return Outcome(requeue_after_s=_INPUTS_AGAIN_S)
        history = self._revisions(workspace)
        record = revisions.record(workspace, history, deployed=revisions.number_on(self._serving(workspace)))
        if any(made_for(one) > generation_of(workspace) for one in history) and (
            yield from self._is_outdated(workspace)
        ):
            return Outcome()
        built = yield from self._build(workspace, workspace, record.number, record, output_dir)
        if built is None:
            return Outcome()
        yield from self._report(workspace, built.seen)
        return built.outcome()

    def _refuse(self, workspace: Object, refusal: str) -> Pass:
        """Build nothing of what is refused, but keep what was applied last as its revision says."""
        seen, problem, built = Observed(), None, None
        try:
            good = yield from self._last_good(workspace)
            if good is not None:
                number = revisions.number_on(self._serving(workspace))
                built = yield from self._build(good, workspace, number)
                if built is None:
                    return Outcome()
                seen = built.seen
        except ApiError as error:
            problem = error
        seen = replace(
            seen,
            refusal=refusal,
            workload=seen.workload or self._serving(workspace),
            pods=tuple(self._own_pods(workspace)),
        )
        yield from self._report(workspace, seen)
        if problem is not None:
            raise problem
        return built.outcome() if built else Outcome()

    def _build(
        self,
        workspace: Object,
        asked: Object,
        number: int,
        record: Record | None = None,
        output_dir: str = "",
    ) -> Generator[Request, Object, _Built | None]:
        """Nodes and children for a Workspace; None when our view of it is too old to act on.

        Args:
            workspace: to be built.
            asked: as it is in the cluster: the same, unless that is refused.
            number: of the revision that is built.
            record: what to do about the history before; None when it is of the past.
            output_dir: where tuning writes.
        """
        look = self._nodes.look(workspace)
        verdict = look.verdict

        def planned(observed: list[tuple[Kind, Object]], number: int) -> Plan:
            return self._plan(workspace, verdict, observed, output_dir, number)

        children = self._children(workspace)
        changes = planned(children, number)
        if changes.stale:
            if (yield from self._is_outdated(asked)):
                return None
            children = unstamped(children)
            changes = planned(children, number)

        conflicts = tuple(conflict(kind, key, owner) for kind, key, owner in changes.foreign)
        workload = self._workload(workspace)
        dealings, writing, recording = Dealings(), _Trouble(), _Trouble()
        if not conflicts:  # a workload beside somebody else's Service serves nobody, and nodes cost money
            try:
                if not (workspace.get("tuning") and workload is not None and is_over(workspace, workload)):
                    yield from self._claims.buy(workspace, asked, look, workload, dealings)
                    yield from self._claims.give_back(workspace, asked, look, workload, dealings)
            except ApiError as error:
                dealings.error = error
            if record is not None and (changes.steps or workload is not None):
                try:
                    settled = yield from self._record(workspace, record)
                    changes = changes if settled == number else planned(children, settled)
                except ApiError as error:
                    # What is not recorded is not applied; what serves already does so without.
                    (writing if changes.steps else recording).error = error
                if not (writing.error or recording.error):
                    recording.error = yield from self._prune(record)
            try:
                if writing.error is None:
                    workload = yield from self._write(changes, workload)
                    yield from self._replace_together(workspace, workload)
            except ApiError as error:
                writing.error = error
        claiming = _Trouble(dealings.error, dealings.refusal, dealings.note)
        seen = Observed(
            verdict=verdict,
            claims=tuple(self._claims.of(workspace)),
            can_claim=self._stores.can_claim(),
            workload=workload,
            pods=tuple(self._own_pods(workspace)),
            conflicts=conflicts,
            error=writing.refused,
            retrying=writing.passing,
            claim_error=claiming.refused,
            claim_note=claiming.note or claiming.passing,
            asked=dealings.asked,
            kept=tuple(dealings.kept),
        )
        return _Built(seen, Outcome(dealings.again_s), (writing.error, claiming.error, recording.error))

    def _is_outdated(self, workspace: Object) -> Generator[Request, Object, bool]:
        """Whether our view of a Workspace is old: something was made for a generation that we do not know.

        If it is not, somebody wrote the stamp of a generation that never was.
        """
        live = yield request.get(api.kind_of(workspace), *key_of(workspace))
        return generation_of(live) > generation_of(workspace)

    # --- history ---------------------------------------------------------------------------------------

    def _revisions(self, workspace: Object) -> list[Object]:
        return self._stores.revisions.by_owner(uid_of(workspace))

    def _record(self, workspace: Object, record: Record) -> Generator[Request, Object, int]:
        """Write the revision of what is about to be applied; returns its number."""
        if record.present is not None:
            if record.patch:
                metadata = record.present["metadata"]
                same = {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}
                patch = {**record.patch, "metadata": {**record.patch["metadata"], **same}}
                asked = request.merge_patch(
                    CONTROLLER_REVISION, *key_of(record.present), patch, manager=MANAGER
                )
                try:
                    yield asked
                    return record.number
                except ApiError as error:
                    # Its data was written in another form than the API server's, to which any patch now
                    # seems to change it. It stays as it is, and the history has it twice.
                    if error.reason != "Invalid":
                        raise
            else:
                return record.number
        for collisions in range(_MOST_COLLISIONS):
            made = revisions.revision(workspace, record.number, collisions=collisions)
            try:
                yield request.create(CONTROLLER_REVISION, made)
                return record.number
            except ApiError as error:
                if error.status != 409:
                    raise
                taken = yield from found(request.get(CONTROLLER_REVISION, *key_of(made)))
                if taken is None:
                    raise
                is_it = is_controlled_by(taken, workspace) and revisions.has_same_data(taken, workspace)
                if is_it and revisions.number_of(taken) >= record.number:
                    return revisions.number_of(taken)  # written already, and our store is behind
        raise ApiError(409, "Conflict", f"all names for the revision of {key_of(workspace)} are taken")

    def _prune(self, record: Record) -> Generator[Request, Object, ApiError | None]:
        """Delete the revisions beyond the limit; returns what went wrong: no reason to apply nothing."""
        try:
            for one in record.superfluous:
                yield from _gone(request.delete(CONTROLLER_REVISION, *key_of(one), uid=uid_of(one)))
        except ApiError as error:
            return error
        return None

    def _last_good(self, workspace: Object) -> Generator[Request, Object, Object | None]:
        """The Workspace as its serving workload was made from it; None when that cannot be told."""
        workload = self._serving(workspace)
        number = revisions.number_on(workload)
        known = [one for one in self._revisions(workspace) if number and revisions.number_of(one) == number]
        if workload is None or not known:
            return None
        whole = yield from found(request.get(CONTROLLER_REVISION, *key_of(known[-1])))
        if whole is None or not is_controlled_by(whole, workspace) or not isinstance(whole.get("data"), dict):
            return None
        good = revisions.as_of(workspace, whole["data"])
        good["metadata"]["generation"] = made_for(workload)
        return good if good.get("inference") and not refusal_of(good, self._settings) else None

    # --- tuning ----------------------------------------------------------------------------------------

    def _has_tuned(self, workspace: Object) -> bool:
        """Whether this generation was tuned: no reason to tune once more.

        By us, and its Job has been cleaned up; or by KAITO, whose Job says nothing of what it was made from.
        """
        is_done = conditions.is_true(workspace, api.WORKSPACE_SUCCEEDED, generation=generation_of(workspace))
        job = self._workload(workspace)
        return is_done and (job is None or (tuning.is_of_kaito(job) and tuning.has_succeeded(job)))

    def _is_kaitos(self, workspace: Object) -> Generator[Request, Object, bool]:
        """Whether KAITO has begun to tune this generation: its Job goes on to its end, which is reported."""
        job = self._workload(workspace)
        began = conditions.is_true(workspace, api.JOB_STARTED, generation=generation_of(workspace))
        if job is None or not tuning.is_of_kaito(job) or not began:
            return False
        if tuning.has_ended(job):
            pods = tuple(self._own_pods(workspace))
            yield from self._report(workspace, Observed(workload=job, pods=pods, adopts=True))
        return True

    def _tuning_inputs(self, workspace: Object) -> Generator[Request, Object, tuple[str, str]]:
        """What is wrong with the Secret and the ConfigMap that the user names, and where tuning writes.

        Asked as long as there is no Job for what the Workspace wants: before nodes cost money. Both are
        looked up in the Workspace's own namespace, never in another one.
        """
        job, namespace = self._workload(workspace), key_of(workspace).namespace
        if job is not None and tuning.is_made_for(job, workspace):
            return "", ""
        try:
            secret = yield from found(request.get(SECRET, namespace, tuning.push_secret(workspace)))
            if refusal := tuning.secret_refusal(workspace, secret):
                return refusal, ""
        except ApiError as error:
            if error.status != 403:  # a controller need not be allowed to read Secrets
                raise
        if not (name := tuning.named_config(workspace)):
            return "", ""
        config = yield from found(request.get(CONFIG_MAP, namespace, name))
        refusal = tuning.config_refusal(workspace, config)
        return (refusal, "") if refusal or config is None else ("", tuning.output_dir(config))

    # --- children --------------------------------------------------------------------------------------

    def _plan(
        self,
        workspace: Object,
        verdict: Verdict,
        observed: list[tuple[Kind, Object]],
        output_dir: str,
        number: int,
    ) -> Plan:
        workload = self._workload(workspace)
        gpus = pod_gpus(workspace, verdict, workload)
        changes = plan(
            workspace,
            children_of(
                workspace, gpus=gpus, settings=self._settings, output_dir=output_dir, revision=number
            ),
            observed,
            manager=MANAGER,
            annotation_prefix=ANNOTATION_PREFIX,
        )
        if not verdict.enough and workload is None:
            return replace(changes, steps=())  # no pods before there are nodes to run them
        return changes

    def _write(self, changes: Plan, workload: Object | None) -> Generator[Request, Object, Object | None]:
        """Carry the plan out; returns the workload as it is then, which saves a status write."""
        for step in changes.steps:
            try:
                answer = yield step.request
            except ApiError as error:
                if step.verb == "delete" and error.status == 404:
                    continue  # gone already; the store will show it
                raise
            if step.kind in WORKLOADS and step.verb != "delete":
                workload = answer
        return workload

    def _replace_together(
        self, workspace: Object, workload: Object | None
    ) -> Generator[Request, Object, None]:
        """Delete all outdated pods of a distributed model at once.

        A StatefulSet replaces one pod after another and waits until each is ready; but a pod becomes ready
        only in a group, and pods of two templates are none.
        """
        if workload is None or workload.get("kind") != STATEFUL_SET.kind:
            return
        if status_.is_current(workspace, workload):
            for pod in outdated_pods(workload, self._own_pods(workspace)):
                yield from _gone(request.delete(POD, *key_of(pod), uid=uid_of(pod)))

    def _workload(self, workspace: Object) -> Object | None:
        """The Workspace's own workload as last seen; a foreign one of the same name does not count."""
        if not workspace.get("tuning"):
            return self._serving(workspace)
        found = self._stores.jobs.get(key_of(workspace))
        return found if found is not None and is_controlled_by(found, workspace) else None

    def _serving(self, workspace: Object) -> Object | None:
        """The Workspace's own Deployment or StatefulSet."""
        for store in (self._stores.deployments, self._stores.stateful_sets):
            found = store.get(key_of(workspace))
            if found is not None and is_controlled_by(found, workspace):
                return found
        return None

    def _children(self, workspace: Object) -> list[tuple[Kind, Object]]:
        """Objects that carry the names of the Workspace's children, and all that it owns."""
        key, uid = key_of(workspace), uid_of(workspace)
        names = (
            key,
            ObjectKey(key.namespace, desired.headless_name(workspace)),
            ObjectKey(key.namespace, tuning.config_name(workspace)),
        )
        stores = (
            (DEPLOYMENT, self._stores.deployments),
            (STATEFUL_SET, self._stores.stateful_sets),
            (SERVICE, self._stores.services),
            (JOB, self._stores.jobs),
            (CONFIG_MAP, self._stores.config_maps),
        )
        found: dict[tuple[Kind, ObjectKey], Object] = {}
        for kind, store in stores:
            for child in [*store.by_owner(uid), *(store[name] for name in names if name in store)]:
                found[kind, key_of(child)] = child
        return [(kind, child) for (kind, _), child in found.items()]

    def _own_pods(self, workspace: Object) -> list[Object]:
        return self._stores.pods.by(workspace_of_labels, key_of(workspace))

    def _release(self, workspace: Object) -> Pass:
        """Deletion: what was bought first, and our finalizer last."""
        if api.FINALIZER not in (workspace["metadata"].get("finalizers") or ()):
            return Outcome()

        def say(kept: list[str]) -> Generator[Request, Object, Object]:
            new = status_.deleting(workspace, self._clock(), kept)
            return (yield from self._write_status(workspace, new))

        return Outcome((yield from self._claims.release(workspace, say)))

    # --- status ----------------------------------------------------------------------------------------

    def _report(self, workspace: Object, seen: Observed) -> Generator[Request, Object, None]:
        now = self._clock()
        new = status_.status(workspace, seen, now)
        yield from self._write_status(workspace, new)
        for event in status_.events(workspace, new, now, component=MANAGER):
            try:
                yield request.create(EVENT, event)
            except ApiError as error:  # told in the status already; an Event is a courtesy
                logger.debug("no event for %s: %s", key_of(workspace), error)

    def _write_status(self, workspace: Object, new: Object) -> Generator[Request, Object, Object]:
        """Write the status if it differs; returns the Workspace as it is then."""
        present = workspace.get("status") or {}
        if all(present.get(field) == new.get(field) for field in status_.FIELDS):
            return workspace
        metadata = workspace["metadata"]
        body = {
            "apiVersion": workspace["apiVersion"],
            "kind": workspace["kind"],
            "metadata": {
                "name": metadata["name"],
                "namespace": metadata["namespace"],
                "uid": metadata["uid"],
            },
            "status": new,
        }
        kind = api.kind_of(workspace)
        try:
            return (yield request.apply_status(kind, body, manager=MANAGER))
        except ApiError as error:
            if "not declared in schema" not in str(error):
                raise
        # Somebody writes in v1alpha1 what has a field of v1beta1: then no API server applies anything.
        patch = {
            "metadata": {"uid": metadata["uid"]},
            "status": dict.fromkeys(status_.FIELDS) | new,
        }
        return (
            yield request.merge_patch(kind, *key_of(workspace), patch, manager=MANAGER, subresource="status")
        )


@dataclass(slots=True)
class _Trouble:
    """What went wrong with one half of a pass.

    Args:
        error: what the API server answered.
        refusal: why it was not even asked.
        note: something worth telling that is no error.
    """

    error: ApiError | None = None
    refusal: str = ""
    note: str = ""

    @property
    def refused(self) -> str:
        """Why it will not work until somebody changes something."""
        return (
            refusal_words(self.error) if self.error and final_refusals.is_final(self.error) else self.refusal
        )

    @property
    def passing(self) -> str:
        """The error's words while the next try may work."""
        return str(self.error) if self.error and not self.refused else ""


@dataclass(frozen=True, slots=True)
class _Built:
    """What came of building.

    Args:
        seen: for the status.
        wish: how the pass is to end.
        problems: what was refused, worst first.
    """

    seen: Observed
    wish: Outcome
    problems: tuple[ApiError | None, ...]

    def outcome(self) -> Outcome:
        """How the pass ends, once the status is written.

        What no server can read is not sent again before something changes.

        Raises:
            ApiError: the work queue waits and tries again.
        """
        for problem in self.problems:
            if problem is not None and not final_refusals.is_unreadable(problem):
                raise problem
        return self.wish


def _gone(deleting: Request) -> Generator[Request, Object, None]:
    """Delete something that may be gone already, or be another one of the same name."""
    try:
        yield deleting
    except ApiError as error:
        if error.status not in (404, 409):
            raise
