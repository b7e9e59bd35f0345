"""The part of a reconcile that asks Karpenter for nodes with a static NodePool, as KAITO v0.12 does.

Rules that hold in every reconcile:
- a pool of somebody else, or of another kind of nodes, is left alone, and the status says so;
- a pool is made or enlarged only for the newest Workspace, and never made smaller: Karpenter would choose
  which node goes, and it may be one that serves;
- none is deleted while its Workspace is there, nor while others hold GPUs of its nodes.
"""

from __future__ import annotations

import logging
from collections.abc import Generator

from kaitoctl.kaito import api, node_claims, provisioning
from kaitoctl.kaito.api import PROVISIONER_LABELS
from kaitoctl.kaito.desired import Settings
from kaitoctl.kube import request
from kaitoctl.kube.objects import (
    Object,
    ObjectKey,
    annotations_of,
    dig,
    is_being_deleted,
    key_of,
    labels_of,
    resource_version_of,
    uid_of,
)
from kaitoctl.kube.request import Request
from kaitoctl.workspace_controller import steps
from kaitoctl.workspace_controller.claims import LOOK_AGAIN_S, ClaimResult
from kaitoctl.workspace_controller.decisions import MANAGER
from kaitoctl.workspace_controller.node_view import Look
from kaitoctl.workspace_controller.other_pods_on_node import last_look
from kaitoctl.workspace_controller.stores import Stores

logger = logging.getLogger(__name__)

MANAGED_POOLS = "karpenter.kaito.sh/managed-by=kaito"
"""The label selector of NodePools that KAITO's controller and ours make."""

_NAME, _NAMESPACE = PROVISIONER_LABELS["karpenter"]
_TYPE = "spec", "template", "spec", "requirements"


def workspace_of_pool(pool: Object) -> list[ObjectKey]:
    """The key of the Workspace that a NodePool, or a node of one, is labelled with: a list of one or none."""
    labels = labels_of(pool)
    name, namespace = labels.get(_NAME), labels.get(_NAMESPACE)
    return [ObjectKey(namespace, name)] if name and namespace else []


class NodePools:
    """Makes, enlarges and deletes the NodePools of Workspaces.

    Args:
        stores: the world as last seen.
        settings: the controller's.
    """

    def __init__(self, stores: Stores, settings: Settings) -> None:
        self._stores = stores
        self._settings = settings

    def buy(
        self, workspace: Object, newest: Object, look: Look, settings: Settings, result: ClaimResult
    ) -> Generator[Request, Object, None]:
        """Ask for as many nodes as the Workspace takes.

        Args:
            workspace: to be built, with as many nodes as it takes.
            newest: as it is in the cluster: the same, unless that is refused.
            look: at its nodes.
            settings: with the Workspace's generation in them.
            result: what came of it.
        """
        if look.verdict.enough or look.verdict.unusable_preferred or not self._stores.can_claim():
            return
        if why := node_claims.contradiction(workspace, self._settings.catalog):
            result.refusal = why
            return
        wanted = provisioning.node_pool(workspace, settings)
        wanted["metadata"]["annotations"] = {node_claims.OWNER_UID: uid_of(workspace)}
        wanted["spec"]["replicas"] = look.verdict.required
        present = self._stores.pools.get(ObjectKey("", wanted["metadata"]["name"]))
        if present is not None and is_being_deleted(present):
            result.look_again(LOOK_AGAIN_S)
            return
        if present is not None:
            result.refusal = _refusal(present, wanted)
            if result.refusal or replicas_of_pool(present) >= look.verdict.required:
                return
        if api.FINALIZER not in (workspace["metadata"].get("finalizers") or ()):
            yield steps.finalizers(workspace, ours=True)  # refused if our view is old
        elif not (yield from steps.is_view_current(newest)):
            return  # no node is bought for what was wanted once
        live = yield from steps.read_optional(request.get(api.NODE_POOL, "", wanted["metadata"]["name"]))
        if live is not None and (refused := _refusal(live, wanted)):
            result.refusal = refused
            return
        if live is None or replicas_of_pool(live) < look.verdict.required:
            yield request.apply(api.NODE_POOL, wanted, manager=MANAGER, force=True)

    def delete_orphaned(
        self, key: ObjectKey, workspace: Object | None, live: Object | None
    ) -> Generator[Request, Object, float | None]:
        """Delete the pools that were made for Workspaces of this name that are no more.

        Args:
            key: of the Workspace.
            workspace: as the stores have it.
            live: as the server has it.

        Returns:
            After how many seconds to look again; None when the stores will tell.
        """
        uids = {uid_of(one) for one in (workspace, live) if one is not None}
        again_s = None
        for pool in self.orphans(key, workspace):
            if annotations_of(pool).get(node_claims.OWNER_UID) in uids:
                continue
            if why := (yield from self._guests(pool, key)):
                logger.info("%s: %s", key, _why_kept(pool, why), extra={"key": str(key)})
                again_s = LOOK_AGAIN_S
            else:
                yield _deletion(pool)
        return again_s

    def orphans(self, key: ObjectKey, workspace: Object | None) -> list[Object]:
        """The pools of our own making that no Workspace that we see is the owner of."""
        uid = uid_of(workspace) if workspace else ""
        return [
            pool
            for pool in self._stores.pools.by(workspace_of_pool, key)
            if annotations_of(pool).get(node_claims.OWNER_UID, uid) != uid and not is_being_deleted(pool)
        ]

    def release(self, workspace: Object) -> Generator[Request, Object, tuple[bool, list[str]]]:
        """Delete the pool of a Workspace that is being deleted, KAITO's, too.

        Returns:
            Whether nodes are still going, and why a pool is kept. One that is kept is marked as ours, and
            deleted when the others have left (`delete_orphaned`).
        """
        name = provisioning.node_pool_name(*key_of(workspace))
        pool = yield from steps.read_optional(request.get(api.NODE_POOL, "", name))
        if pool is None or _is_of_another(pool, workspace):
            return False, []
        if is_being_deleted(pool):
            return True, []
        if why := (yield from self._guests(pool, key_of(workspace))):
            mark = {"metadata": {"annotations": {node_claims.OWNER_UID: uid_of(workspace)}}}
            yield request.merge_patch(api.NODE_POOL, "", name, mark, manager=MANAGER)
            return False, [_why_kept(pool, why)]
        yield _deletion(pool)
        return True, []

    def _guests(self, pool: Object, owner: ObjectKey) -> Generator[Request, Object, str]:
        """Why the pool must stay: others' pods on its nodes, as the server knows it now."""
        for key, node in self._stores.nodes.items():
            if owner in workspace_of_pool(node) and (why := (yield from last_look(key.name, owner))):
                return why
        return ""


def replicas_of_pool(pool: Object) -> int:
    """How many nodes Karpenter is to make."""
    return int(dig(pool, "spec", "replicas") or 0)


def _is_of_another(pool: Object, workspace: Object) -> bool:
    made_for = annotations_of(pool).get(node_claims.OWNER_UID)
    return workspace_of_pool(pool) != [key_of(workspace)] or made_for not in (None, uid_of(workspace))


def _refusal(pool: Object, wanted: Object) -> str:
    """Why a pool of the wanted name is no use to the Workspace; empty when it is its own."""
    name = pool["metadata"]["name"]
    made_for, uid = (annotations_of(one).get(node_claims.OWNER_UID) for one in (pool, wanted))
    if workspace_of_pool(pool) != workspace_of_pool(wanted) or made_for not in (None, uid):
        return f"NodePool {name} exists and was not made for this Workspace; it is left alone"
    types = [item for item in dig(wanted, *_TYPE) if item["key"] == api.LABEL_INSTANCE_TYPE]
    if not all(item in (dig(pool, *_TYPE) or ()) for item in types):
        return f"NodePool {name} makes nodes of another instance type; delete it to recreate it"
    return ""


def _why_kept(pool: Object, why: str) -> str:
    return f"NodePool {pool['metadata']['name']} is kept: {why}"


def _deletion(pool: Object) -> Request:
    name = pool["metadata"]["name"]
    return request.delete(
        api.NODE_POOL, "", name, uid=uid_of(pool), resource_version=resource_version_of(pool)
    )
