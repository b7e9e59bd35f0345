"""The part of a reconcile that deletes NodeClaims, which cost money.

Rules that hold in every reconcile:
- none goes on the word of a store alone: the server is asked for the newest Workspace, and for the pods that
  are on the node;
- a claim goes only once its Workspace runs without its node, or is no more;
- no claim goes while others hold GPUs of its node, not even when its Workspace is deleted. Then the Workspace
  goes, and the claim is deleted as soon as they have left.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from datetime import datetime

from kaitoctl.errors import ApiError
from kaitoctl.kaito import api, node_claims
from kaitoctl.kaito.node_claims import is_machine
from kaitoctl.kaito.own_workloads import is_current
from kaitoctl.kaito.workspace_events import kept_event
from kaitoctl.kube import request
from kaitoctl.kube.objects import (
    NODE_CLAIM,
    Kind,
    Object,
    ObjectKey,
    dig,
    is_being_deleted,
    key_of,
    resource_version_of,
    selector_text,
    uid_of,
)
from kaitoctl.kube.pod_state import is_finished, is_ready
from kaitoctl.kube.request import Request
from kaitoctl.kube.workloads import is_rolled_out
from kaitoctl.workspace_controller import steps
from kaitoctl.workspace_controller.claims import LOOK_AGAIN_S, ClaimResult, claims_of
from kaitoctl.workspace_controller.decisions import MANAGER
from kaitoctl.workspace_controller.node_pools import NodePools
from kaitoctl.workspace_controller.node_view import Look, NodeView
from kaitoctl.workspace_controller.other_pods_on_node import CANNOT_BE_SEEN, held_by, last_look
from kaitoctl.workspace_controller.stores import Stores, machine_stays, workspace_of_labels

logger = logging.getLogger(__name__)

_UNTIL_THEY_LEAVE = "; it is released when they are gone"


class ClaimDeletion:
    """Deletes the NodeClaims that nobody needs.

    Args:
        stores: the world as last seen.
        nodes: what they say about nodes.
        kind: Workspaces in the version that the stores show them in.
        clock: the present time.
        pools: where nodes are asked for with NodePools.
    """

    def __init__(
        self,
        stores: Stores,
        nodes: NodeView,
        kind: Kind,
        clock: Callable[[], datetime],
        pools: NodePools | None = None,
    ) -> None:
        self._stores = stores
        self._nodes = nodes
        self._kind = kind
        self._clock = clock
        self._pools = pools

    def delete_outgrown(
        self, workspace: Object, newest: Object, look: Look, workload: Object | None, result: ClaimResult
    ) -> Generator[Request, Object, None]:
        """Delete the NodeClaims that the Workspace has outgrown: they cost money.

        Only once it runs without: its workload is what it asks for, and pods of it are ready on nodes enough
        that suit it.
        """
        if not look.verdict.enough or not (claims := claims_of(self._stores, workspace)):
            return
        if workload is None or not self._runs(workspace, workload):
            return
        pods = self._stores.pods.by(workspace_of_labels, key_of(workspace))
        ready = {dig(pod, "spec", "nodeName") for pod in pods if is_ready(pod) and not is_finished(pod)}
        serving = ready & set(look.verdict.selected)
        superfluous = node_claims.outgrown(workspace, claims, serving=serving, held=look.held)
        result.kept += [machine_stays(self._stores, one) for one in superfluous if is_machine(one)]
        superfluous = [one for one in superfluous if not is_machine(one)]
        going = [claim for claim in superfluous if not self._keeps(claim, key_of(workspace), result)]
        nodes = {node for claim in going if (node := node_claims.node_of(claim))}
        if nodes and (wanted := self._nodes.wanted_by_others(workspace, nodes)):
            going = [claim for claim in going if node_claims.node_of(claim) not in wanted]
            result.look_again(LOOK_AGAIN_S)
        if going and (yield from steps.is_view_current(newest)):
            for claim in going:
                if why := (yield from _last_look(claim, key_of(workspace))):
                    result.kept.append(node_claims.kept_words(claim, why))
                    result.look_again(LOOK_AGAIN_S)
                else:
                    yield _deletion(claim)

    def _runs(self, workspace: Object, workload: Object) -> bool:
        if workspace.get("tuning"):
            return True  # what counts of a Job is its pods
        return is_current(workspace, workload) and is_rolled_out(workload)

    def delete_orphaned(
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
        orphans = [
            claim
            for claim in self._stores.claims.by(workspace_of_labels, key)
            if (owners := node_claims.owner_uids(claim)) and uid not in owners and not is_being_deleted(claim)
        ]
        orphans = [claim for claim in orphans if not self._nodes.guests(node_claims.node_of(claim), None)]
        if not orphans and not (self._pools and self._pools.orphans(key, workspace)):
            return None
        live = yield from self._live(key)
        if self._pools:
            again_s = yield from self._pools.delete_orphaned(key, workspace, live)
        for claim in orphans:
            if live is None or uid_of(live) not in node_claims.owner_uids(claim):
                if why := (yield from _last_look(claim, None)):
                    logger.info("%s: %s", key, node_claims.kept_words(claim, why), extra={"key": str(key)})
                    again_s = LOOK_AGAIN_S
                else:
                    yield _deletion(claim)
        return again_s

    def _live(self, key: ObjectKey) -> Generator[Request, Object, Object | None]:
        """The Workspace as the server has it now, None when there is none.

        Raises:
            ApiError: it is unknown; also when Workspaces are served in other versions than ours: in those
                it may be there, and run.
        """
        try:
            return (yield request.get(self._kind, *key))
        except ApiError as error:
            if error.status != 404:
                raise
            if error.is_unknown_resource and (yield from _is_served_otherwise(self._kind)):
                raise
            return None

    def release(
        self, workspace: Object, report: Callable[[list[str]], Generator[Request, Object, Object]]
    ) -> Generator[Request, Object, float | None]:
        """Deletion: NodeClaims first, and our finalizer only when they are gone; nobody else's finalizer.

        The last look is at the server itself: a store that lags would leave a paid node behind. Claims of
        whose nodes others hold GPUs are left to `delete_orphaned`: a Workspace, and its namespace, must not
        wait for what another tenant does. Where it cannot be seen whether there are others, it waits: that
        is for an administrator to change, and the status says so.

        Args:
            workspace: being deleted.
            report: writes to the status which claims are kept, and why; returns the Workspace as it is then.

        Returns:
            After how many seconds to look again, None once it is released.

        Raises:
            ApiError: it cannot be seen whether a node may go.
        """
        owner, found = key_of(workspace), claims_of(self._stores, workspace)
        machines = [claim for claim in found if is_machine(claim) and not is_being_deleted(claim)]
        claims = [claim for claim in found if not is_machine(claim)]
        if self._stores.can_claim() and all(self._why_kept(claim, owner) for claim in claims):
            claims = yield from _live_claims(workspace)
        kept = [machine_stays(self._stores, one) for one in machines]
        going: list[Object] = []
        is_unsure = False
        for claim in claims:
            if is_being_deleted(claim):
                going.append(claim)
            elif why := self._why_kept(claim, owner) or (yield from _last_look(claim, owner)):
                is_unsure |= why.startswith(CANNOT_BE_SEEN)
                kept.append(f"{node_claims.kept_words(claim, why)}{'' if is_unsure else _UNTIL_THEY_LEAVE}")
                if not node_claims.owner_uids(claim):  # KAITO's: `delete_orphaned` goes by the uid
                    yield _marked(claim, workspace)
            else:
                going.append(claim)
        is_going = False
        if self._pools:
            is_going, of_pool = yield from self._pools.release(workspace)
            is_unsure |= any(CANNOT_BE_SEEN in why for why in of_pool)
            kept += of_pool
        newest = yield from report(kept)
        for claim in going:
            if not is_being_deleted(claim):
                yield _deletion(claim)
        if is_unsure:
            raise ApiError(403, "Forbidden", "; ".join(kept))
        if going or is_going:
            return LOOK_AGAIN_S
        for words in kept:
            logger.warning("%s: %s", owner, words, extra={"key": str(owner)})
            yield from steps.record_event(kept_event(workspace, words, self._clock(), component=MANAGER))
        yield steps.finalizers(newest, ours=False)
        return None

    def _why_kept(self, claim: Object, owner: ObjectKey) -> str:
        node = node_claims.node_of(claim)
        return held_by(node, self._nodes.guests(node, owner)) if node else ""

    def _keeps(self, claim: Object, owner: ObjectKey, result: ClaimResult) -> bool:
        if why := self._why_kept(claim, owner):
            result.kept.append(node_claims.kept_words(claim, why))
        return bool(why)


def _last_look(claim: Object, owner: ObjectKey | None) -> Generator[Request, Object, str]:
    """Why the claim must stay, as the server knows it now: a store may lag. Empty when it may go.

    Args:
        claim: about to be deleted.
        owner: whose pods do not count: they are on nodes enough without, or go as well.
    """
    node = node_claims.node_of(claim)
    return (yield from last_look(node, owner)) if node else ""


def _deletion(claim: Object) -> Request:
    """Delete the claim that was looked at, and no newer version: its node may have joined meanwhile."""
    name = claim["metadata"]["name"]
    return request.delete(
        NODE_CLAIM, "", name, uid=uid_of(claim), resource_version=resource_version_of(claim)
    )


def _marked(claim: Object, workspace: Object) -> Request:
    """Write on a claim which Workspace it was made for."""
    mark = {"uid": uid_of(claim), "annotations": {node_claims.OWNER_UID: uid_of(workspace)}}
    return request.merge_patch(NODE_CLAIM, *key_of(claim), {"metadata": mark}, manager=MANAGER)


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
    return [claim for claim in answer.get("items") or () if node_claims.is_of(claim, workspace)]


def _is_served_otherwise(kind: Kind) -> Generator[Request, Object, bool]:
    """Whether the kind is served in some version; its group's versions are also those of other kinds."""
    group = yield from steps.read_optional(Request("GET", f"/apis/{kind.group}"))
    for item in (group or {}).get("versions") or ():
        served = yield from steps.read_optional(Request("GET", f"/apis/{kind.group}/{item.get('version')}"))
        if any(one.get("name") == kind.plural for one in (served or {}).get("resources") or ()):
            return True
    return False
