"""The world of a forecast: copies of the stores that answer requests as a server would. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from kaitoctl.errors import ApiError
from kaitoctl.kaito import node_check, node_claims
from kaitoctl.kaito.desired import Settings
from kaitoctl.kube.access import access
from kaitoctl.kube.objects import Object, ObjectKey, dig, key_of, labels_of, uid_of
from kaitoctl.kube.pod_state import is_finished
from kaitoctl.kube.request import Request
from kaitoctl.reconcile.comparison import changes, restarts
from kaitoctl.reconcile.dry_run import outcome
from kaitoctl.reconcile.store import Store, store_of
from kaitoctl.workspace_controller.decisions import ANNOTATION_PREFIX, MANAGER, gpus_of
from kaitoctl.workspace_controller.node_pools import replicas_of_pool, workspace_of_pool
from kaitoctl.workspace_controller.node_view import NodeView
from kaitoctl.workspace_controller.stores import Stores, node_of_pod, workspace_of_labels

_STORES = {
    "workspaces": "workspaces",
    "deployments": "deployments",
    "statefulsets": "stateful_sets",
    "services": "services",
    "nodes": "nodes",
    "pods": "pods",
    "nodeclaims": "claims",
    "nodepools": "pools",
    "jobs": "jobs",
    "configmaps": "config_maps",
    "controllerrevisions": "revisions",
}
_WORKLOADS = ("deployments", "statefulsets")


class Done(Struct):
    """What reconciles of one Workspace have done.

    Args:
        asked: names of NodeClaims asked for.
        returned: names of NodeClaims deleted.
        restarts: pods whose template has changed.
        status: what the last of them reported, if any did.
    """

    asked: list[str] = field(default_factory=list)
    returned: list[str] = field(default_factory=list)
    restarts: int = 0
    status: Object | None = None


class ForecastWorld:
    """Copies of the stores that answer requests, with what one reconcile has done.

    Attributes:
        stores: the copies.
        nodes: what they say about nodes.
        has_pools: whether nodes are asked for with NodePools.
        planned: the Workspaces that are to be written.
        done: by the Workspace that is reconciled.
    """

    def __init__(self, stores: Stores, planned: Iterable[Object], settings: Settings) -> None:
        found = {name: getattr(stores, name) for name in Stores.__struct_fields__}
        copied: dict[str, Any] = {
            name: store_of(dict(one)) for name, one in found.items() if isinstance(one, Store)
        }
        self._pods_before, self.stores = stores.pods, replace(stores, **copied)
        self.nodes = NodeView(self.stores, settings)
        self.has_pools = settings.provisioner == "karpenter"
        self.planned: list[ObjectKey] = []
        for workspace in planned:
            key = key_of(workspace)
            self.planned.append(key)
            metadata = {**workspace["metadata"], "uid": uid_of(workspace) or f"planned-{key}"}
            metadata.setdefault("generation", 1)
            metadata.setdefault("resourceVersion", "0")
            self.stores.workspaces._replace(key, {**workspace, "metadata": metadata})
        self.begin()

    def begin(self) -> Done:
        """Keep what the next reconcile does apart from what the ones before have done."""
        self.done = Done()
        return self.done

    def has_workload(self, key: ObjectKey) -> bool:
        """Whether the Workspace's pods are there, or about to be."""
        return self.workload(key) is not None

    def workload(self, key: ObjectKey) -> Object | None:
        """The Deployment, StatefulSet or Job of the Workspace."""
        kinds = (self.stores.deployments, self.stores.stateful_sets, self.stores.jobs)
        return next((store[key] for store in kinds if key in store), None)

    def replicas_of_pools(self, key: ObjectKey) -> int:
        """How many nodes the Workspace's NodePool makes."""
        return sum(map(replicas_of_pool, self.stores.pools.by(workspace_of_pool, key)))

    def coming_of_pool(self, key: ObjectKey) -> int:
        """How many nodes of the Workspace's NodePool have not joined yet."""
        wanted = self.replicas_of_pools(key)
        return max(0, wanted - len(self.stores.nodes.by(workspace_of_pool, key))) if wanted else 0

    def taken_of_pool(self, key: ObjectKey) -> list[str]:
        """The nodes of the Workspace's NodePool of which others hold GPUs."""
        names = [key_of(node).name for node in self.stores.nodes.by(workspace_of_pool, key)]
        return sorted(name for name in names if self.nodes.guests(name, key))

    def labels_coming(self) -> Iterator[Mapping[str, str]]:
        """The labels of nodes that have been asked for, and may not be there yet."""
        yield from map(labels_of, self.stores.claims.values())
        for pool in self.stores.pools.values():
            yield dig(pool, "spec", "template", "metadata", "labels") or {}

    def labels_astray(self, asked: Mapping[ObjectKey, Mapping[str, str]]) -> list[tuple[ObjectKey, Object]]:
        """Who has had pods on nodes that it does not ask for, with the labels of these."""
        there = ((key, pod) for key in asked for pod in self._pods_before.by(workspace_of_labels, key))
        nodes = {(key, ObjectKey("", name)) for key, pod in there for name in node_of_pod(pod)}
        labels = [
            (key, labels_of(self.stores.nodes[node])) for key, node in nodes if node in self.stores.nodes
        ]
        return [(key, one) for key, one in labels if not asked[key].items() <= one.items()]

    def is_placed(self, workspace: Object) -> bool:
        """Whether the Workspace has pods on as many nodes as it needs."""
        return len(self.nodes.look(workspace).held) >= node_check.required_nodes(workspace)

    def recreate(self, workspace: Object, done: Done) -> bool:
        """Let pods that are recreated leave nodes that count only while they are there; whether any has none.

        As many as can go where the scheduler has room for them, though the controller sees none, go there.
        """
        look, key = self.nodes.look(workspace), key_of(workspace)
        usable = {one.name for one in look.verdict.nodes if one.usable}
        if not done.restarts or look.held <= usable:
            return False
        there = self.stores.pods.by(workspace_of_labels, key)
        pods = [pod for pod in there if not is_finished(pod) and not usable.intersection(node_of_pod(pod))]
        rooms = self.nodes.strays(workspace, gpus_of(self.workload(key) or {}))
        for pod, room in zip(pods, [*rooms, *[""] * len(pods)], strict=False):
            moved = {**pod, "spec": {**pod["spec"], "nodeName": room}} if room else None
            for store in (self.stores.pods, self.stores.gpu_pods):
                if key_of(pod) in store:
                    store._replace(key_of(pod), moved)
        return len(rooms) < len(pods)

    def answer(self, asked: Request) -> Object | None:
        """What a server would answer; None for a read that only a server can answer.

        Raises:
            ApiError: there is no such object.
        """
        named = access(asked.method, asked.path, asked.query)
        plural, _, below = named.resource.partition("/")
        store: Store | None = getattr(self.stores, _STORES[plural]) if plural in _STORES else None
        key = ObjectKey(named.namespace, named.name)
        if asked.method == "GET":
            return self._read(asked, plural, store, key)
        live = store.get(key) if store is not None and named.name else None
        if store is None or below:
            if named.resource == "workspaces/status":
                self.done.status = asked.body
            return outcome(asked, live)
        if asked.method == "DELETE":
            if plural in ("nodeclaims", "nodepools") and live is not None:
                self.done.returned.append(named.name)
                for node in self._nodes_of(plural, live):
                    self.stores.nodes._replace(node, None)
            if plural == "jobs" and live is not None:  # tuning that runs begins again
                self.done.restarts += int(dig(live, "status", "active") or 0)
            store._replace(key, None)
            return outcome(asked, live)
        return self._write(asked, plural, store, key, live)

    def _nodes_of(self, plural: str, live: Object) -> list[ObjectKey]:
        """The nodes that go with what has asked for them."""
        if plural == "nodeclaims":
            return [ObjectKey("", name)] if (name := node_claims.node_of(live)) else []
        owners = workspace_of_pool(live)
        return [key_of(node) for key in owners for node in self.stores.nodes.by(workspace_of_pool, key)]

    def _read(self, asked: Request, plural: str, store: Store | None, key: ObjectKey) -> Object | None:
        if plural == "pods" and not key.name:
            node = asked.query.get("fieldSelector", "").partition("spec.nodeName=")[2]
            return {"items": self.stores.gpu_pods.by(node_of_pod, node)}
        if plural == "controllerrevisions" and not key.name:
            return {"items": []}  # asked for when the store has none, and it has just been read
        if store is None or plural in ("controllerrevisions", "configmaps") or not key.name:
            return None
        if (found := store.get(key)) is None:
            raise ApiError(404, "NotFound", f"{plural} {key} not found", details={"name": key.name})
        return found

    def _write(
        self, asked: Request, plural: str, store: Store, key: ObjectKey, live: Object | None
    ) -> Object:
        if plural in _WORKLOADS and live is not None:
            changed = changes(asked.body, live, manager=MANAGER, annotation_prefix=ANNOTATION_PREFIX)
            self.done.restarts += restarts(live, changed)
        if plural == "nodeclaims" and live is None:
            self.done.asked.append(key.name)
        if plural == "nodepools":
            more = replicas_of_pool(asked.body) - (0 if live is None else replicas_of_pool(live))
            self.done.asked += [key.name] * max(0, more)
        made = outcome(asked, live)
        made["metadata"].setdefault("uid", f"planned-{plural}-{key}")
        made["metadata"].setdefault("resourceVersion", "0")
        name = ObjectKey(key.namespace, str(made["metadata"].get("name") or key.name))
        if name.name:
            store._replace(name, made)
        return made
