"""The part of a pass that buys nodes and gives them back.

Rules that hold in every pass:
- none comes or goes on the word of a store alone: the server is asked for the newest Workspace, and before a
  node goes, for the pods that are on it;
- a claim goes only once its Workspace runs without its node, or is no more;
- no claim goes while others hold GPUs of its node, not even when its Workspace is deleted. Then the Workspace
  goes, and the claim is given back as soon as they have left.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice

from kaitoctl.errors import ApiError
from kaitoctl.kaito import api, asked
from kaitoctl.kaito import claims as claims_
from kaitoctl.kaito import status as status_
from kaitoctl.kaito.asked import Asked
from kaitoctl.kaito.desired import Settings
from kaitoctl.kube import conditions, request
from kaitoctl.kube.objects import (
    EVENT,
    JOB,
    NODE_CLAIM,
    POD,
    Kind,
    Object,
    ObjectKey,
    dig,
    generation_of,
    is_being_deleted,
    key_of,
    resource_version_of,
    selector_text,
    uid_of,
)
from kaitoctl.kube.pods import holds_accelerator, is_finished, is_ready
from kaitoctl.kube.request import Request
from kaitoctl.kube.workloads import is_rolled_out, replicas
from kaitoctl.workspace_controller.decisions import MANAGER
from kaitoctl.workspace_controller.node_view import Look, NodeView
from kaitoctl.workspace_controller.stores import Stores, workspace_of_labels

logger = logging.getLogger(__name__)

LOOK_AGAIN_S = 60.0
"""Deleted NodeClaims are gone when their machines are; the store tells, this is for news that got lost."""


_UNTIL_THEY_LEAVE = "; it is given back when they have left"
_CANNOT_BE_SEEN = "it cannot be seen whether others use its node"


@dataclass(slots=True)
class Dealings:
    """What a pass did about nodes, and why not more.

    Args:
        error: what the API server answered.
        refusal: why it was not even asked.
        note: something worth telling that is no error.
        asked: the claims that were asked for while nodes are waited for.
        kept: why claims that are not needed are not given back.
        again_s: look again after so many seconds; None for not.
    """

    error: ApiError | None = None
    refusal: str = ""
    note: str = ""
    asked: dict[str, Asked] = field(default_factory=dict)
    kept: list[str] = field(default_factory=list)
    again_s: float | None = None

    def look_again(self, after_s: float) -> None:
        """Look again then, or earlier."""
        self.again_s = after_s if self.again_s is None else min(self.again_s, after_s)


class Claims:
    """Buys and gives back.

    Args:
        stores: the world as last seen.
        nodes: what they say about nodes.
        settings: of the controller.
        kind: Workspaces in the version that the stores show them in.
        clock: the present time.
    """

    def __init__(
        self, stores: Stores, nodes: NodeView, settings: Settings, kind: Kind, clock: Callable[[], datetime]
    ) -> None:
        self._stores = stores
        self._nodes = nodes
        self._settings = settings
        self._kind = kind
        self._clock = clock

    def of(self, workspace: Object) -> list[Object]:
        """The NodeClaims that were made for this very incarnation of the Workspace."""
        return self._stores.claims.by(claims_.owner_uids, uid_of(workspace))

    # --- buying ------------------------------------------------------------------------------------------

    def buy(
        self, workspace: Object, newest: Object, look: Look, workload: Object | None, dealings: Dealings
    ) -> Generator[Request, Object, None]:
        """Ask for the nodes that are missing and not on their way.

        A node that still holds our pods is not replaced while it is there: a kubelet that restarts would buy
        another one each time. Nor is one bought for a pod of which the scheduler has not said that there is
        no place: it may be about to find one. A claim that vanished (Karpenter deletes those it finds no
        capacity for) is made again, but with growing patience.

        Args:
            workspace: to be built.
            newest: as it is in the cluster: the same, unless that is refused.
            look: at its nodes.
            workload: its own, None while there is none.
            dealings: what came of it.
        """
        verdict = look.verdict
        if verdict.enough:
            return
        dealings.asked = asked.asked_of(workspace)
        if look.waits_for_others:
            dealings.look_again(LOOK_AGAIN_S)
        if verdict.unusable_preferred or not self._stores.can_claim():
            return
        claims, serving = self.of(workspace), set(verdict.selected)
        demand = claims_.demand(
            workspace,
            claims,
            missing=verdict.missing - len(look.held - serving) - look.undecided - _pods_to_come(workload),
            in_use=serving | look.held,
            full={node for claim in claims if (node := claims_.node_of(claim)) and self._guests(claim)},
        )
        if demand.is_final:
            taken = ", ".join(claim["metadata"]["name"] for claim in demand.lost)
            dealings.refusal = (
                f"others hold the GPUs of the nodes that were bought (NodeClaims {taken}); no more are bought"
            )
        if not demand.number:
            return
        if why := claims_.contradiction(workspace):
            dealings.refusal = why
            return
        if api.FINALIZER not in (workspace["metadata"].get("finalizers") or ()):
            yield finalizers(workspace, ours=True)  # refused if our view is old
        elif not (yield from _is_newest(newest)):
            return  # no node is bought for what was wanted once
        names = {claim["metadata"]["name"] for claim in claims}
        free = (name for name in claims_.names(workspace) if name not in names)
        yield from self._ask(workspace, islice(free, demand.number), dealings)

    def _ask(
        self, workspace: Object, names: Iterable[str], dealings: Dealings
    ) -> Generator[Request, Object, None]:
        for name in names:
            now, before = self._clock(), dealings.asked.get(name)
            if before is not None and (wait_s := before.wait_s(now)) > 0:
                again_at = conditions.timestamp(before.again_at)
                times = "once" if before.times == 1 else f"{before.times} times"
                dealings.note = (
                    f"NodeClaim {name}, asked for {times}, has vanished (no capacity?); again at {again_at}"
                )
                dealings.look_again(wait_s)
                continue
            claim = yield request.apply(NODE_CLAIM, claims_.node_claim(workspace, name), manager=MANAGER)
            if uid_of(claim):  # a dry run's has none, and its absence later means nothing
                dealings.asked[name] = Asked(before.times + 1 if before else 1, now)

    # --- giving back -------------------------------------------------------------------------------------

    def give_back(
        self, workspace: Object, newest: Object, look: Look, workload: Object | None, dealings: Dealings
    ) -> Generator[Request, Object, None]:
        """Delete the NodeClaims that the Workspace has outgrown: they cost money.

        Only once it runs without: its workload is what it asks for, and pods of it are ready on nodes enough
        that suit it.
        """
        if not look.verdict.enough or not (claims := self.of(workspace)):
            return
        if workload is None or not self._runs(workspace, workload):
            return
        pods = self._stores.pods.by(workspace_of_labels, key_of(workspace))
        ready = {dig(pod, "spec", "nodeName") for pod in pods if is_ready(pod) and not is_finished(pod)}
        serving = ready & set(look.verdict.selected)
        superfluous = claims_.outgrown(workspace, claims, serving=serving, held=look.held)
        going = [claim for claim in superfluous if not self._keeps(claim, key_of(workspace), dealings)]
        nodes = {node for claim in going if (node := claims_.node_of(claim))}
        if nodes and (wanted := self._nodes.wanted_by_others(workspace, nodes)):
            going = [claim for claim in going if claims_.node_of(claim) not in wanted]
            dealings.look_again(LOOK_AGAIN_S)
        if going and (yield from _is_newest(newest)):
            for claim in going:
                if why := (yield from _last_look(claim, key_of(workspace))):
                    dealings.kept.append(claims_.kept_words(claim, why))
                    dealings.look_again(LOOK_AGAIN_S)
                else:
                    yield _deletion(claim)

    def _runs(self, workspace: Object, workload: Object) -> bool:
        if workspace.get("tuning"):
            return True  # what counts of a Job is its pods
        return status_.is_current(workspace, workload) and is_rolled_out(workload)

    def give_back_strays(
        self, key: ObjectKey, workspace: Object | None
    ) -> Generator[Request, Object, float | None]:
        """Delete the NodeClaims of Workspaces of this name that are no more: nobody else would.

        They are left when others hold GPUs of their nodes, when somebody takes our finalizer away, or when
        two controllers overlap. The server says which Workspace there is: a store may lag. Whoever has pods
        on the node now is not the Workspace that it was bought for.

        Returns:
            After how many seconds to look again; None when the stores will tell.
        """
        uid, again_s = uid_of(workspace) if workspace else "", None
        strays = [
            claim
            for claim in self._stores.claims.by(workspace_of_labels, key)
            if (owners := claims_.owner_uids(claim)) and uid not in owners and not is_being_deleted(claim)
        ]
        strays = [claim for claim in strays if not self._nodes.guests(claims_.node_of(claim), None)]
        if not strays:
            return None
        live = yield from self._live(key)
        for claim in strays:
            if live is None or uid_of(live) not in claims_.owner_uids(claim):
                if why := (yield from _last_look(claim, None)):
                    logger.info("%s: %s", key, claims_.kept_words(claim, why), extra={"key": str(key)})
                    again_s = LOOK_AGAIN_S
                else:
                    yield _deletion(claim)
        return again_s

    def _live(self, key: ObjectKey) -> Generator[Request, Object, Object | None]:
        """The Workspace as the server has it now, None when there is none.

        Raises:
            ApiError: it cannot be told; also when Workspaces are served in other versions than ours: in those
                it may be there, and run.
        """
        try:
            return (yield request.get(self._kind, *key))
        except ApiError as error:
            if error.status != 404:
                raise
            if error.is_unknown_resource and (yield from found(Request("GET", f"/apis/{api.GROUP}"))):
                raise
            return None

    def release(
        self, workspace: Object, say: Callable[[list[str]], Generator[Request, Object, Object]]
    ) -> Generator[Request, Object, float | None]:
        """Deletion: NodeClaims first, and our finalizer only when they are gone; nobody else's finalizer.

        The last look is at the server itself: a store that lags would leave a paid node behind. Claims of
        whose nodes others hold GPUs are left to `give_back_strays`: a Workspace, and its namespace, must not
        wait for what another tenant does. Where it cannot be seen whether there are others, it waits: that
        is for an administrator to change, and the status says so.

        Args:
            workspace: being deleted.
            say: writes to the status which claims are kept, and why; returns the Workspace as it is then.

        Returns:
            After how many seconds to look again, None once it is released.

        Raises:
            ApiError: it cannot be seen whether a node may go.
        """
        claims, owner = self.of(workspace), key_of(workspace)
        if self._stores.can_claim() and all(self._why_kept(claim, owner) for claim in claims):
            claims = yield from _live_claims(workspace)
        kept: list[str] = []
        going: list[Object] = []
        is_unsure = False
        for claim in claims:
            if is_being_deleted(claim):
                going.append(claim)
            elif why := self._why_kept(claim, owner) or (yield from _last_look(claim, owner)):
                is_unsure |= why.startswith(_CANNOT_BE_SEEN)
                kept.append(f"{claims_.kept_words(claim, why)}{'' if is_unsure else _UNTIL_THEY_LEAVE}")
            else:
                going.append(claim)
        newest = yield from say(kept)
        for claim in going:
            if not is_being_deleted(claim):
                yield _deletion(claim)
        if is_unsure:
            raise ApiError(403, "Forbidden", "; ".join(kept))
        if going:
            return LOOK_AGAIN_S
        for words in kept:
            logger.warning("%s: %s", owner, words, extra={"key": str(owner)})
            yield from _told(status_.kept_event(workspace, words, self._clock(), component=MANAGER))
        yield finalizers(newest, ours=False)
        return None

    def _guests(self, claim: Object) -> list[str]:
        owner = next(iter(workspace_of_labels(claim)), None)
        return self._nodes.guests(claims_.node_of(claim), owner) if claims_.node_of(claim) else []

    def _why_kept(self, claim: Object, owner: ObjectKey) -> str:
        node = claims_.node_of(claim)
        return _held_by(node, self._nodes.guests(node, owner)) if node else ""

    def _keeps(self, claim: Object, owner: ObjectKey, dealings: Dealings) -> bool:
        if why := self._why_kept(claim, owner):
            dealings.kept.append(claims_.kept_words(claim, why))
        return bool(why)


def _pods_to_come(workload: Object | None) -> int:
    """How many pods of a workload nobody has made yet: where they go is not known."""
    if workload is None or workload.get("kind") == JOB.kind:
        return 0
    return max(replicas(workload) - int(dig(workload, "status", "replicas") or 0), 0)


def _held_by(node: str, namespaces: Iterable[str]) -> str:
    """Why a node stays; of other people's pods their namespaces alone are told."""
    names = ", ".join(namespaces)
    return f"pods of {names} hold GPUs of its node {node}" if names else ""


def _last_look(claim: Object, owner: ObjectKey | None) -> Generator[Request, Object, str]:
    """Why the claim must stay, as the server knows it now: a store may lag. Empty when it may go.

    Args:
        claim: about to be deleted.
        owner: whose pods do not count: they are on nodes enough without, or go as well.
    """
    node = claims_.node_of(claim)
    if not node:
        return ""
    try:
        answer = yield Request("GET", POD.path(), query={"fieldSelector": f"spec.nodeName={node}"})
    except ApiError as error:
        if error.status != 403:
            raise
        return f"{_CANNOT_BE_SEEN} {node}: pods of all namespaces may not be listed"
    guests = {
        key_of(pod).namespace
        for pod in answer.get("items") or ()
        if not is_finished(pod) and holds_accelerator(pod) and owner not in workspace_of_labels(pod)
    }
    return _held_by(node, sorted(guests))


def _deletion(claim: Object) -> Request:
    """Delete the claim that was looked at, and no newer version: its node may have joined meanwhile."""
    name = claim["metadata"]["name"]
    return request.delete(
        NODE_CLAIM, "", name, uid=uid_of(claim), resource_version=resource_version_of(claim)
    )


def _told(event: Object) -> Generator[Request, Object, None]:
    try:
        yield request.create(EVENT, event)
    except ApiError as error:  # a namespace that goes takes none, and an Event is a courtesy
        logger.debug("no event: %s", error)


def found(asking: Request) -> Generator[Request, Object, Object | None]:
    """The answer, None when there is no such object."""
    try:
        return (yield asking)
    except ApiError as error:
        if error.status == 404:
            return None
        raise


def _is_newest(workspace: Object) -> Generator[Request, Object, bool]:
    """Whether the server has no newer spec than our view, asked before nodes come or go: they cost money.

    When it has, the newer view is on its way to us.
    """
    live = yield from found(request.get(api.kind_of(workspace), *key_of(workspace)))
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


def finalizers(workspace: Object, *, ours: bool) -> Request:
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
