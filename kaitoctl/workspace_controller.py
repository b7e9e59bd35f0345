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

import asyncio
import logging
from collections.abc import Callable, Collection, Generator, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

from kaitoctl.errors import ApiError, KaitoctlError
from kaitoctl.kaito import api, convert, desired, revisions, tuning, validation
from kaitoctl.kaito import claims as claims_
from kaitoctl.kaito import nodes as nodes_
from kaitoctl.kaito import status as status_
from kaitoctl.kaito.desired import Settings
from kaitoctl.kaito.nodes import Verdict
from kaitoctl.kaito.revisions import Record
from kaitoctl.kaito.snapshot import CONTROLLER
from kaitoctl.kaito.status import Observed
from kaitoctl.kube import conditions, request
from kaitoctl.kube.objects import (
    CONFIG_MAP,
    CONTROLLER_REVISION,
    DEPLOYMENT,
    EVENT,
    JOB,
    NODE,
    NODE_CLAIM,
    POD,
    SECRET,
    SERVICE,
    STATEFUL_SET,
    Kind,
    Object,
    ObjectKey,
    annotations_of,
    dig,
    generation_of,
    is_being_deleted,
    is_controlled_by,
    key_of,
    labels_of,
    selector_text,
    uid_of,
    without_managed_fields,
)
from kaitoctl.kube.pods import holding_gpus, is_finished
from kaitoctl.kube.request import Request
from kaitoctl.kube.workloads import outdated_pods
from kaitoctl.reconcile.backoff import Backoff
from kaitoctl.reconcile.controller import Controller, Door, Outcome, Worked, own_key, owner_keys, run_all
from kaitoctl.reconcile.informer import Informer, Store
from kaitoctl.reconcile.plan import Child, Plan, plan

if TYPE_CHECKING:
    from kaitoctl.kube.client import Client

logger = logging.getLogger(__name__)

WORKLOADS = (DEPLOYMENT, STATEFUL_SET, JOB)

MANAGER = CONTROLLER
"""The field manager under which the controller writes."""

ANNOTATION_PREFIX = "kaitoctl.dev"

# Answers that the next try may change; anything else is a refusal that the status has to show.
_TRANSIENT = frozenset({408, 409, 410, 429, 500, 502, 503, 504})

# Deleted NodeClaims are gone when their machines are; the store tells, this is for news that got lost. And
# for Secrets and ConfigMaps of users' that are missing: to watch all of them would be to read all of them.
_LOOK_AGAIN_S = 60.0

_RESYNC_S = 600.0

_MOST_COLLISIONS = 16

# Nodes that are judged only to say why they are not used.
_NODES_TOLD = 50

Pass = Generator[Request, Object, Outcome]


@dataclass(frozen=True, slots=True)
class Stores:
    """What a pass may look at: the informers' stores, and whether NodeClaims exist in this cluster.

    Args:
        pods: the Workspaces' own pods, whole.
        gpu_pods: all unfinished pods that hold GPUs, trimmed by `holding_gpus`.
        config_maps: those labelled with a Workspace's name.
        revisions: those labelled with a Workspace's name, as `revisions.kept`.
        can_claim: whether the cluster serves the NodeClaim API.
    """

    workspaces: Store
    deployments: Store
    stateful_sets: Store
    services: Store
    nodes: Store
    pods: Store
    gpu_pods: Store
    claims: Store
    jobs: Store
    config_maps: Store
    revisions: Store
    can_claim: Callable[[], bool]


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
        self._asked: dict[str, _Asked] = {}

    def reconcile(self, key: ObjectKey) -> Pass:
        """One pass over the Workspace `key`."""
        workspace = self._stores.workspaces.get(key)
        yield from self._give_back_strays(key, workspace)
        if workspace is None:
            return Outcome()  # its children go with it, by their owner references
        if is_being_deleted(workspace):
            return (yield from self._release(workspace))
        if refusal := refusal_of(workspace, self._settings):
            return (yield from self._refuse(workspace, refusal))
        return (yield from self._converge(workspace))

    def _converge(self, workspace: Object) -> Pass:
        """Build what the Workspace asks for, and tell what there is."""
        output_dir = ""
        if workspace.get("tuning"):
            if self._has_tuned(workspace):
                return Outcome()
            refusal, output_dir = yield from self._tuning_inputs(workspace)
            if refusal:
                yield from self._report(workspace, Observed(refusal=refusal))
                return Outcome(requeue_after_s=_LOOK_AGAIN_S)
        history = self._revisions(workspace)
        record = revisions.record(workspace, history, deployed=revisions.number_on(self._serving(workspace)))
        if any(_made_for(one) > generation_of(workspace) for one in history) and (
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
        verdict = self._verdict(workspace)

        def planned(observed: list[tuple[Kind, Object]], number: int) -> Plan:
            return self._plan(workspace, verdict, observed, output_dir, number)

        children = self._children(workspace)
        changes = planned(children, number)
        if changes.stale:
            if (yield from self._is_outdated(asked)):
                return None
            children = _unstamped(children)
            changes = planned(children, number)

        conflicts = tuple(_conflict(kind, key, owner) for kind, key, owner in changes.foreign)
        workload, outcome = self._workload(workspace), Outcome()
        claiming, writing, recording = _Trouble(), _Trouble(), _Trouble()
        if not conflicts:  # a workload beside somebody else's Service serves nobody, and nodes cost money
            try:
                if not (workspace.get("tuning") and workload is not None and _is_over(workspace, workload)):
                    outcome = yield from self._claim_nodes(workspace, asked, verdict, claiming)
                yield from self._give_back(workspace, asked, verdict)
            except ApiError as error:
                claiming.error = error
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
        seen = Observed(
            verdict=verdict,
            claims=tuple(self._claims(workspace)),
            can_claim=self._stores.can_claim(),
            workload=workload,
            pods=tuple(self._own_pods(workspace)),
            conflicts=conflicts,
            error=writing.refused,
            retrying=writing.passing,
            claim_error=claiming.refused,
            claim_note=claiming.note or claiming.passing,
        )
        return _Built(seen, outcome, writing.error or claiming.error or recording.error)

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
                taken = yield from _found(request.get(CONTROLLER_REVISION, *key_of(made)))
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
        whole = yield from _found(request.get(CONTROLLER_REVISION, *key_of(known[-1])))
        if whole is None or not is_controlled_by(whole, workspace) or not isinstance(whole.get("data"), dict):
            return None
        good = revisions.as_of(workspace, whole["data"])
        good["metadata"]["generation"] = _made_for(workload)
        return good if good.get("inference") and not refusal_of(good, self._settings) else None

    # --- tuning ----------------------------------------------------------------------------------------

    def _has_tuned(self, workspace: Object) -> bool:
        """Whether this generation was tuned, and its Job has been cleaned up: no reason to tune once more."""
        is_done = conditions.is_true(workspace, api.WORKSPACE_SUCCEEDED, generation=generation_of(workspace))
        return is_done and self._workload(workspace) is None

    def _tuning_inputs(self, workspace: Object) -> Generator[Request, Object, tuple[str, str]]:
        """What is wrong with the Secret and the ConfigMap that the user names, and where tuning writes.

        Asked as long as there is no Job for what the Workspace wants: before nodes cost money. Both are
        looked up in the Workspace's own namespace, never in another one.
        """
        job, namespace = self._workload(workspace), key_of(workspace).namespace
        if job is not None and tuning.is_made_for(job, workspace):
            return "", ""
        try:
            secret = yield from _found(request.get(SECRET, namespace, tuning.push_secret(workspace)))
            if refusal := tuning.secret_refusal(workspace, secret):
                return refusal, ""
        except ApiError as error:
            if error.status != 403:  # a controller need not be allowed to read Secrets
                raise
        if not (name := tuning.named_config(workspace)):
            return "", ""
        config = yield from _found(request.get(CONFIG_MAP, namespace, name))
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

    # --- nodes -----------------------------------------------------------------------------------------

    def _verdict(self, workspace: Object) -> Verdict:
        """Of the nodes that the Workspace names and of those with all its labels: no other can be used.

        Only while they are too few, others of its instance type are judged as well, and only so many as
        people read: what is said of them tells what is missing.
        """
        store, labels = self._stores.nodes, nodes_.labels_asked(workspace)
        keys = [ObjectKey("", name) for name in nodes_.preferred_nodes(workspace)]
        nodes = {key: store[key] for key in keys if key in store}
        names = () if len(nodes) == len(keys) else [key.name for key in store]
        of_type = {api.LABEL_INSTANCE_TYPE: nodes_.instance_type_of(workspace)}
        nodes |= {key_of(node): node for node in store.labelled(labels or of_type)}
        verdict = self._judged(workspace, nodes.values(), names)
        if verdict.enough or not labels:
            return verdict
        nodes |= {key_of(node): node for node in islice(store.labelled(of_type), _NODES_TOLD)}
        return self._judged(workspace, nodes.values(), names)

    def _judged(self, workspace: Object, nodes: Collection[Object], names: Collection[str]) -> Verdict:
        key = key_of(workspace)
        pods = (pod for node in nodes for pod in self._stores.gpu_pods.by(_node_of_pod, key_of(node).name))
        others = [pod for pod in pods if key not in workspace_of_labels(pod)]
        return nodes_.verdict(workspace, nodes, others, known_names=names)

    def _own_pods(self, workspace: Object) -> list[Object]:
        return self._stores.pods.by(workspace_of_labels, key_of(workspace))

    def _claims(self, workspace: Object) -> list[Object]:
        return self._stores.claims.by(claims_.owner_uids, uid_of(workspace))

    def _claim_nodes(
        self, workspace: Object, asked: Object, verdict: Verdict, trouble: _Trouble
    ) -> Generator[Request, Object, Outcome]:
        """Ask for the nodes that are missing and not on their way.

        A node that still holds our pods is not replaced while it is there: a kubelet that restarts would buy
        another one each time. A claim that vanished (Karpenter deletes those it finds no capacity for) is
        made again, but with growing patience.
        """
        if verdict.enough or verdict.unusable_preferred or not self._stores.can_claim():
            return Outcome()
        serving, held = set(verdict.selected), self._held_nodes(workspace) - set(verdict.selected)
        claims = self._claims(workspace)
        pending = [
            claim
            for claim in claims
            if claims_.fits(workspace, claim)
            and not is_being_deleted(claim)
            and dig(claim, "status", "nodeName") not in serving | held
        ]
        wanted = verdict.missing - len(held) - len(pending)
        if wanted <= 0:
            return Outcome()
        if why := claims_.contradiction(workspace):
            trouble.refusal = why
            return Outcome()
        if api.FINALIZER not in (workspace["metadata"].get("finalizers") or ()):
            yield _finalizers(workspace, ours=True)  # refused if our view is old
        elif not (yield from _is_newest(asked)):
            return Outcome()  # no node is bought for what was wanted once
        taken = {claim["metadata"]["name"] for claim in claims}
        waits: list[float] = []
        for name in islice((name for name in claims_.names(workspace) if name not in taken), wanted):
            before = self._asked.get(name, _Asked())
            if (wait_s := before.wait_s(self._clock())) > 0:
                trouble.note = f"NodeClaim {name} has vanished (no capacity?); asked {before.times} times"
                waits.append(wait_s)
                continue
            claim = yield request.apply(NODE_CLAIM, claims_.node_claim(workspace, name), manager=MANAGER)
            if uid_of(claim):  # a dry run's has none, and its absence later means nothing
                self._asked[name] = _Asked(before.times + 1, self._clock())
        return Outcome(min(waits)) if waits else Outcome()

    def _held_nodes(self, workspace: Object) -> set[str]:
        """The nodes that exist and have unfinished pods of the Workspace on them."""
        held = {dig(pod, "spec", "nodeName") for pod in self._own_pods(workspace) if not is_finished(pod)}
        return {node for node in held if node and ObjectKey("", node) in self._stores.nodes}

    def _give_back(
        self, workspace: Object, asked: Object, verdict: Verdict
    ) -> Generator[Request, Object, None]:
        """Delete the NodeClaims that the Workspace has outgrown: they cost money.

        Only once it runs on other nodes: none of its pods are on them and it has nodes enough without.
        """
        if not verdict.enough or not (claims := self._claims(workspace)):
            return
        needed = set(verdict.selected) | self._held_nodes(workspace)
        superfluous = []
        for claim in claims:
            node = dig(claim, "status", "nodeName")
            is_superfluous = node not in needed if node else not claims_.fits(workspace, claim)
            if is_superfluous and not is_being_deleted(claim):
                superfluous.append(claim)
        if superfluous and (yield from _is_newest(asked)):
            for claim in superfluous:
                yield request.delete(NODE_CLAIM, "", claim["metadata"]["name"], uid=uid_of(claim))

    def _give_back_strays(self, key: ObjectKey, workspace: Object | None) -> Generator[Request, Object, None]:
        """Delete the NodeClaims of Workspaces of this name that are no more: nobody else would.

        They are left when somebody takes our finalizer away, or when two controllers overlap. The server
        says which Workspace there is: a store may lag.
        """
        uid = uid_of(workspace) if workspace else ""
        strays = [
            claim
            for claim in self._stores.claims.by(workspace_of_labels, key)
            if (owners := claims_.owner_uids(claim)) and uid not in owners and not is_being_deleted(claim)
        ]
        if not strays:
            return
        live = yield from _found(request.get(self._kind, *key))
        for claim in strays:
            if live is None or uid_of(live) not in claims_.owner_uids(claim):
                yield request.delete(NODE_CLAIM, "", claim["metadata"]["name"], uid=uid_of(claim))

    def _release(self, workspace: Object) -> Pass:
        """Deletion: NodeClaims first, and our finalizer only when they are gone; nobody else's finalizer.

        The last look is at the server itself: a store that lags would leave a paid node behind.
        """
        if api.FINALIZER not in (workspace["metadata"].get("finalizers") or ()):
            return Outcome()
        newest = yield from self._write_status(workspace, status_.deleting(workspace, self._clock()))
        claims = self._claims(workspace)
        if not claims and self._stores.can_claim():
            claims = yield from _live_claims(workspace)
        for claim in claims:
            if not is_being_deleted(claim):
                yield request.delete(NODE_CLAIM, "", claim["metadata"]["name"], uid=uid_of(claim))
        if claims:
            return Outcome(requeue_after_s=_LOOK_AGAIN_S)
        yield _finalizers(newest, ours=False)
        for name in islice(claims_.names(workspace), self._settings.most_nodes):
            self._asked.pop(name, None)
        return Outcome()

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
        is_final = self.error is not None and self.error.status not in _TRANSIENT
        return str(self.error) if is_final else self.refusal

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
        problem: why it has to be repeated.
    """

    seen: Observed
    wish: Outcome
    problem: ApiError | None

    def outcome(self) -> Outcome:
        """How the pass ends, once the status is written.

        Raises:
            ApiError: the work queue waits and tries again.
        """
        if self.problem is not None:
            raise self.problem
        return self.wish


@dataclass(frozen=True, slots=True)
class _Asked:
    """How often a NodeClaim was asked for in this process's life, and when last."""

    times: int = 0
    at: datetime | None = None

    def wait_s(self, now: datetime) -> float:
        """Seconds until it is decent to ask again: 30 s, doubling, ten minutes at most."""
        if self.at is None:
            return 0.0
        patience_s: float = min(30.0 * 2 ** (self.times - 1), 600.0)
        return patience_s - (now - self.at).total_seconds()


# --- decisions on plain objects ----------------------------------------------------------------------------


def refusal_of(workspace: Object, settings: Settings) -> str:
    """Why nothing is built for this Workspace: it is not valid, or asks for what we do not build."""
    if (wanted := nodes_.required_nodes(workspace)) > settings.most_nodes:
        return f"resource.count {wanted} is more than the {settings.most_nodes} nodes a Workspace may have"
    errors = [
        f"{problem.path}: {problem.message}" if problem.path else problem.message
        for problem in validation.problems(tuning.normalised(workspace))
        if problem.severity == "error"
    ]
    return "; ".join(errors) or desired.refusal(workspace, settings)


def children_of(
    workspace: Object, *, gpus: int, settings: Settings, output_dir: str = "", revision: int = 0
) -> list[Child]:
    """The children that a Workspace should have, for `plan`.

    Args:
        workspace: the Workspace.
        gpus: as in `desired`.
        settings: as in `desired`.
        output_dir: as in `desired`.
        revision: the number that the workload carries, on itself and never on its pods; 0 for none.
    """
    made = desired.desired(workspace, gpus=gpus, settings=settings, output_dir=output_dir)
    return [
        Child(
            kind,
            _numbered(manifest, revision) if revision and kind in WORKLOADS else manifest,
            replace_on=tuning.MADE_FROM if kind is JOB else "",
        )
        for kind, manifest in made
    ]


def _numbered(workload: Object, revision: int) -> Object:
    annotations = {**annotations_of(workload), revisions.NUMBER: str(revision)}
    return {**workload, "metadata": {**workload["metadata"], "annotations": annotations}}


def _made_for(child: Object) -> int:
    """The generation that the child is stamped with; 0 without."""
    text = annotations_of(child).get(status_.OWNER_GENERATION, "")
    return int(text) if text.isascii() and text.isdigit() else 0


def pod_gpus(workspace: Object, verdict: Verdict, workload: Object | None) -> int:
    """How many GPUs each pod of a preset asks for.

    Nodes that come and go are no reason to make pods anew: a workload that was made for the Workspace as it
    is keeps its number.
    """
    gpus = nodes_.gpus_per_pod(workspace, [node for node in verdict.nodes if node.name in verdict.selected])
    if workload is not None and status_.is_current(workspace, workload):
        return gpus_of(workload) or gpus
    return gpus


def _is_newest(workspace: Object) -> Generator[Request, Object, bool]:
    """Whether the server has no newer spec than our view, asked before nodes come or go: they cost money.

    When it has, the newer view is on its way to us.
    """
    live = yield from _found(request.get(api.kind_of(workspace), *key_of(workspace)))
    return live is not None and (uid_of(live), generation_of(live)) == (
        uid_of(workspace),
        generation_of(workspace),
    )


def _live_claims(workspace: Object) -> Generator[Request, Object, list[Object]]:
    """The Workspace's NodeClaims as the server has them now."""
    key = key_of(workspace)
    ours = {api.LABEL_WORKSPACE: key.name, api.LABEL_WORKSPACE_NAMESPACE: key.namespace}
    try:
        answer = yield Request("GET", NODE_CLAIM.path(), query={"labelSelector": selector_text(ours)})
    except ApiError as error:
        if error.is_unknown_resource:
            return []
        raise
    return [claim for claim in answer.get("items") or () if claims_.is_of(claim, workspace)]


def _is_over(workspace: Object, job: Object) -> bool:
    """Whether the Job has ended and nothing else is wanted: a node would have nothing to do."""
    return tuning.is_made_for(job, workspace) and tuning.has_ended(job)


def _found(asking: Request) -> Generator[Request, Object, Object | None]:
    """The answer, None when there is no such object."""
    try:
        return (yield asking)
    except ApiError as error:
        if error.status == 404:
            return None
        raise


def _gone(deleting: Request) -> Generator[Request, Object, None]:
    """Delete something that may be gone already, or be another one of the same name."""
    try:
        yield deleting
    except ApiError as error:
        if error.status not in (404, 409):
            raise


def _unstamped(children: list[tuple[Kind, Object]]) -> list[tuple[Kind, Object]]:
    """The children without the generation that they claim to be made for."""
    return [
        (
            kind,
            {
                **child,
                "metadata": {
                    **child["metadata"],
                    "annotations": annotations_of(child) | {status_.OWNER_GENERATION: ""},
                },
            },
        )
        for kind, child in children
    ]


def gpus_of(workload: Object) -> int:
    """How many GPUs each pod of the workload asks for, 0 when it asks for none."""
    limit = dig(workload, "spec", "template", "spec", "containers", 0, "resources", "limits", api.GPU)
    return int(limit) if str(limit or "").isdecimal() else 0


def _conflict(kind: Kind, key: ObjectKey, owner: str) -> str:
    return f"{kind.kind} {key} exists and belongs to {owner or 'nobody we know'}; it is left alone"


def _finalizers(workspace: Object, *, ours: bool) -> Request:
    """Add or remove our finalizer; the resourceVersion makes it a 409 when somebody else wrote meanwhile."""
    metadata = workspace["metadata"]
    others = [name for name in metadata.get("finalizers") or () if name != api.FINALIZER]
    patch = {
        "metadata": {
            "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"],
            "finalizers": [*others, api.FINALIZER] if ours else others,
        }
    }
    return request.merge_patch(api.kind_of(workspace), *key_of(workspace), patch, manager=MANAGER)


# --- wiring ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Running:
    """What can be asked of a controller that runs.

    Args:
        controller: works off the keys.
        informers: show it the cluster.
        workspaces: the Workspaces as last seen.
    """

    controller: Controller
    informers: tuple[Informer, ...]
    workspaces: Store

    @property
    def synced(self) -> bool:
        """True once every store shows the cluster."""
        return all(informer.synced for informer in self.informers)


_KEEP: Mapping[Kind, Callable[[Object], Object]] = {
    api.WORKSPACE: status_.kept,
    api.WORKSPACE_V1BETA1: status_.kept,
    CONTROLLER_REVISION: revisions.kept,
    NODE: nodes_.trimmed,
}


def keep_of(kind: Kind) -> Callable[[Object], Object]:
    """What the stores keep of an object of this kind, for `Informer`."""
    return _KEEP.get(kind, without_managed_fields)


async def run(
    client: Client,
    *,
    namespace: str = "",
    settings: Settings | None = None,
    workers: int = 16,
    allowed: Callable[[], bool] | None = None,
    door: Door | None = None,
    observer: Callable[[Worked], None] | None = None,
    started: Callable[[Running], None] | None = None,
) -> None:
    """Manage all Workspaces of a namespace (of all namespaces when empty) until cancelled.

    In the newest API version that the cluster serves: a status written through an older one would cost the
    Workspace whatever only the newer one has. While the cluster serves none, it waits.

    Args:
        client: the door to the cluster.
        namespace: the one to manage; empty for all.
        settings: image registry and generation.
        workers: how many Workspaces are worked on at a time.
        allowed: asked before every request; False while another process leads.
        door: carries out the passes' requests instead of `client`: a dry run's.
        observer: told of every pass.
        started: given what can be asked of the controller, before it begins.
    """
    served = await _served(client)

    def of(kind: Kind, **options: Any) -> Informer:
        return Informer(client, kind, namespace=namespace, packed=True, keep=keep_of(kind), **options)

    workspaces, services = of(served), of(SERVICE)
    deployments, stateful_sets, jobs = of(DEPLOYMENT), of(STATEFUL_SET), of(JOB)
    config_maps = of(CONFIG_MAP, label_selector=api.LABEL_WORKSPACE)
    history = of(CONTROLLER_REVISION, label_selector=revisions.LABEL_NAME)
    pods = of(POD, label_selector=api.LABEL_WORKSPACE)
    nodes = Informer(client, NODE, keep=keep_of(NODE))
    unfinished = "status.phase!=Succeeded,status.phase!=Failed"
    gpu_pods = Informer(client, POD, field_selector=unfinished, optional=True, keep=holding_gpus)
    claims = Informer(client, NODE_CLAIM, label_selector=api.LABEL_WORKSPACE, optional=True)
    stores = Stores(
        workspaces=workspaces.store,
        deployments=deployments.store,
        stateful_sets=stateful_sets.store,
        services=services.store,
        nodes=nodes.store,
        pods=pods.store,
        gpu_pods=gpu_pods.store,
        claims=claims.store,
        jobs=jobs.store,
        config_maps=config_maps.store,
        revisions=history.store,
        can_claim=lambda: claims.is_served is not False,
    )
    reconciler = WorkspaceReconciler(stores, settings or Settings(), kind=served)
    controller = Controller(
        "workspace",
        door or client,
        reconciler.reconcile,
        workers=workers,
        resync_s=_RESYNC_S,
        allowed=allowed,
        observer=observer,
        is_thorough=True,
    )
    children_of_ours = (deployments, stateful_sets, services, jobs, config_maps)
    controller.watches(workspaces, own_key)
    for children in children_of_ours:
        controller.watches(children, owner_keys(served))
        controller.watches(children, lambda child: _namesake(child, workspaces.store))
    controller.watches(history, owner_keys(served))
    controller.watches(pods, workspace_of_labels)
    controller.watches(gpu_pods, lambda pod: _waiting_for(pod, stores))
    controller.watches(claims, workspace_of_labels)
    controller.watches(nodes, lambda node: _interested(node, workspaces.store))
    claims.when_served(controller.look_at_all)
    informers = (workspaces, *children_of_ours, history, pods, gpu_pods, nodes, claims)
    if started is not None:
        started(Running(controller, informers, workspaces.store))
    await run_all(*informers, controller)


async def _served(client: Client) -> Kind:
    """Workspaces in the newest version that the cluster serves and we know, once it serves one."""
    clock, backoff, told = asyncio.get_running_loop().time, Backoff(), ""
    while True:
        try:
            answer = await client.send(Request("GET", f"/apis/{api.GROUP}"))
            if (kind := api.newest(convert.served_versions(answer))) is not None:
                return kind
            why = f"no version of {api.WORKSPACE.resource} that kaitoctl speaks is served"
        except ApiError as error:
            why = f"{api.WORKSPACE.resource} is not served" if error.status == 404 else str(error)
        except KaitoctlError as error:
            why = str(error)
        if why != told:
            logger.warning("%s; asking again", why)
            told = why
        await asyncio.sleep(backoff.delay(clock()))


def _namesake(child: Object, workspaces: Store) -> Iterable[ObjectKey]:
    """A foreign object of our name that comes or goes makes or ends a name conflict."""
    key = key_of(child)
    endings = ("-headless", "-tuning-config")
    of_these = {ObjectKey(key.namespace, key.name.removesuffix(ending)) for ending in endings}
    return [name for name in {key} | of_these if name in workspaces]


def workspace_of_labels(child: Object) -> list[ObjectKey]:
    """The key of the Workspace that a pod or NodeClaim is labelled with, as a list of one or none."""
    labels = labels_of(child)
    namespace = child["metadata"].get("namespace") or labels.get(api.LABEL_WORKSPACE_NAMESPACE) or ""
    name = labels.get(api.LABEL_WORKSPACE)
    return [ObjectKey(namespace, name)] if name and namespace else []


def _node_of_pod(pod: Object) -> tuple[str, ...]:
    name = dig(pod, "spec", "nodeName")
    return (name,) if name else ()


def _waiting_for(pod: Object, stores: Stores) -> list[ObjectKey]:
    """Who may want the GPUs of the node that a pod comes to or leaves."""
    node = stores.nodes.get(ObjectKey("", dig(pod, "spec", "nodeName") or ""))
    return _interested(node, stores.workspaces) if node is not None else []


def _interested(node: Object, workspaces: Store) -> list[ObjectKey]:
    """The Workspaces that may use the node: they name it, or it has all the labels that they ask for.

    What others say of it, while they wait for nodes, is put right when they are looked at again.
    """
    name, labels = node["metadata"]["name"], labels_of(node)
    found = workspaces.by(_sought, name)
    for label in labels.items():
        asking = workspaces.by(_sought, label)
        found += [one for one in asking if nodes_.labels_asked(one).items() <= labels.items()]
    return [key_of(workspace) for workspace in found]


def _sought(workspace: Object) -> list[str | tuple[str, str]]:
    """By what a Workspace's nodes are told: their names, and one of the labels that they must have."""
    labels = nodes_.labels_asked(workspace) or {api.LABEL_INSTANCE_TYPE: nodes_.instance_type_of(workspace)}
    return [*nodes_.preferred_nodes(workspace), min(labels.items())]
