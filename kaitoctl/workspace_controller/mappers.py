"""Which Workspaces a change of another object concerns: for `Controller.watches`."""

from __future__ import annotations

from collections.abc import Iterable

from kaitoctl.kaito import api, node_check
from kaitoctl.kube import conditions
from kaitoctl.kube.objects import Object, ObjectKey, dig, is_being_deleted, key_of, labels_of
from kaitoctl.reconcile.store import Store
from kaitoctl.workspace_controller.children import CHILD_NAMES
from kaitoctl.workspace_controller.stores import Stores, claims_on, node_index, workspace_of_labels

_ENDINGS = tuple(name({"metadata": {"name": ""}}) for name in CHILD_NAMES)


def keys_by_child_name(child: Object, workspaces: Store) -> Iterable[ObjectKey]:
    """A foreign object of our name that comes or goes makes or ends a name conflict."""
    key = key_of(child)
    of_these = {ObjectKey(key.namespace, key.name.removesuffix(ending)) for ending in _ENDINGS}
    return [name for name in {key} | of_these if name in workspaces]


def workspaces_for_pod(pod: Object, stores: Stores) -> list[ObjectKey]:
    """Who may want the GPUs of the node that a pod comes to or leaves, and who waits to give that back."""
    name = dig(pod, "spec", "nodeName") or ""
    node = stores.nodes.get(ObjectKey("", name))
    waiting = workspaces_for_node(node, stores.workspaces) if node is not None else []
    return [*waiting, *(key for key in workspaces_of_bought_node(name, stores) if key not in waiting)]


def workspaces_of_bought_node(node: str, stores: Stores) -> list[ObjectKey]:
    """Whose NodeClaim the node came with, whether it is still there or not."""
    return [key for claim in claims_on(stores, node) for key in workspace_of_labels(claim)]


def workspaces_after(workspace: Object, workspaces: Store) -> list[ObjectKey]:
    """Who waits for nodes that were kept for a Workspace that goes."""
    if key_of(workspace) in workspaces and not is_being_deleted(workspace):
        return []
    matching = (one for mark in node_index(workspace) for one in workspaces.by(node_index, mark))
    return [key_of(one) for one in matching if not conditions.is_true(one, api.RESOURCE_READY)]


def workspaces_for_node(node: Object, workspaces: Store) -> list[ObjectKey]:
    """The Workspaces that may use the node: they name it, or it has all the labels that they ask for."""
    name, labels = node["metadata"]["name"], labels_of(node)
    matching = workspaces.by(node_index, name)
    for label in labels.items():
        asking = workspaces.by(node_index, label)
        matching += [one for one in asking if node_check.labels_asked(one).items() <= labels.items()]
    return [key_of(workspace) for workspace in matching]
