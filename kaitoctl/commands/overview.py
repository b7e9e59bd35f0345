"""Many Workspaces side by side: one row each, listed once or kept up to date."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from functools import partial

from msgspec import Struct

from kaitoctl.commands.observation import (
    MOST_NODES,
    NEVER_SHOWN,
    SERVICE_NAME_LABEL,
    Observation,
    running,
    served_kinds,
)
from kaitoctl.kaito import api, node_check
from kaitoctl.kaito.rollout import Phase, progress, standing
from kaitoctl.kaito.snapshot import Snapshot, trimmed
from kaitoctl.kube import pod_state
from kaitoctl.kube.client import Client
from kaitoctl.kube.objects import (
    DEPLOYMENT,
    ENDPOINT_SLICE,
    JOB,
    NODE,
    POD,
    SERVICE,
    STATEFUL_SET,
    Kind,
    Object,
    ObjectKey,
    annotations_of,
    creation_time_of,
    dig,
    is_being_deleted,
    key_of,
    labels_of,
    with_type,
)
from kaitoctl.reconcile.informer import Informer


class Row(Struct, frozen=True):
    """A Workspace in a list.

    Args:
        workspaces: the store that it is read from when it is asked for: ten thousand of them take room.
        key: its key.
        state: `Ready`, `Progressing`, `NotServing`, `Failed`, `Deleting` or `Waiting`.
        nodes: how many it runs on, of those it needs.
        gpus: devices that its pods hold.
        adapters: how many it asks for.
        since: when it was created.
        where: how far it is, in words.
        is_former: whether it has failed with pods from before its set gave it the template that it has.
    """

    workspaces: Mapping[ObjectKey, Object]
    key: ObjectKey
    state: str
    nodes: str
    gpus: str
    adapters: int
    since: str
    where: str
    is_former: bool = False

    @property
    def workspace(self) -> Object:
        """The object."""
        return self.workspaces[self.key]

    def as_json(self) -> Object:
        """The row as documented in docs/status.md."""
        performance = dig(self.workspace, "status", "performance")
        return {
            "namespace": self.key.namespace,
            "name": self.key.name,
            "state": self.state.lower(),
            "nodes": self.nodes,
            "gpus": int(self.gpus) if self.gpus.isascii() and self.gpus.isdigit() else None,
            "adapters": self.adapters,
            "since": self.since,
            "where": self.where,
            **({"performance": performance} if performance else {}),
        }


class Overview(Observation):
    """The Workspaces of a namespace, or of all, kept up to date; made by `observe_overview`."""

    def __init__(
        self,
        client: Client,
        namespace: str,
        kind: Kind,
        claim_kinds: Iterable[Kind],
        *,
        once: bool = False,
        labels: str = "",
    ) -> None:
        super().__init__(client, kind, once=once)

        def of(kind: Kind, labels: str = "") -> Informer:
            where = namespace if kind.namespaced else ""
            return Informer(
                client,
                kind,
                namespace=where,
                label_selector=labels,
                fatal_statuses=NEVER_SHOWN,
                transform=partial(trimmed, kind),
                packed=True,
            )

        self._workspaces = of(kind, labels)
        self._workloads = (of(DEPLOYMENT), of(STATEFUL_SET))
        self._jobs = of(JOB, api.LABEL_WORKSPACE)
        self._pods = of(POD, api.LABEL_WORKSPACE)
        self._claims = tuple(of(kind, api.LABEL_WORKSPACE) for kind in claim_kinds)
        self._services = of(SERVICE)
        self._slices = of(ENDPOINT_SLICE)
        self._nodes: dict[str, Informer] = {}
        self._all_nodes: Informer | None = None
        self._sets, self._roles = (
            Informer(client, fleet, namespace=namespace, fatal_statuses=(404, *NEVER_SHOWN))
            for fleet in (api.INFERENCE_SET, api.MULTI_ROLE_INFERENCE)
        )
        if not once and not labels:
            self._optional = (self._sets, self._roles)

    async def start(self) -> None:
        """Start all informers; returns when they have synced."""
        views = (
            *(self._workspaces, *self._workloads, self._jobs, self._pods, *self._claims),
            *(self._services, self._slices, *self._optional),
        )
        await asyncio.gather(*(self._watch(view) for view in views))
        await self.follow_nodes()

    async def follow_nodes(self) -> None:
        """Watch the nodes of pods that are ready: few of them by name, more of them all together."""
        if self._all_nodes is not None or NODE.plural in self._unseen:
            return
        ready = filter(pod_state.is_ready, self._pods.store.values())
        names = {str(dig(pod, "spec", "nodeName") or "") for pod in ready} - {""}
        if len(names) > MOST_NODES:
            self._all_nodes = self._of_nodes("")
            await self._watch(self._all_nodes)
            return
        new = sorted(names - set(self._nodes))
        self._nodes |= {name: self._of_nodes(f"metadata.name={name}") for name in new}
        await asyncio.gather(*(self._watch(self._nodes[name]) for name in new))

    def _of_nodes(self, fields: str) -> Informer:
        return Informer(
            self._client,
            NODE,
            field_selector=fields,
            fatal_statuses=NEVER_SHOWN,
            transform=_health_of,
            packed=True,
        )

    def _nodes_of(self, pods: Iterable[Object]) -> tuple[list[Object], set[str]]:
        """The nodes of pods as far as they are watched, and the names of those that do not exist."""
        found, gone = [], set()
        for name in {str(dig(pod, "spec", "nodeName") or "") for pod in pods}:
            view = self._all_nodes or self._nodes.get(name)
            if view is None or not view.synced or NODE.plural in self._unseen:
                continue
            node = view.store.get(ObjectKey("", name))
            if node is None:
                gone.add(name)
            else:
                found.append(node)
        return found, gone

    def sets(self) -> list[Object]:
        """The InferenceSets that are followed, by key; none when the list is made once, or by labels."""
        return _titled(api.INFERENCE_SET, self._sets)

    def roles(self) -> list[Object]:
        """The same of the MultiRoleInferences."""
        return _titled(api.MULTI_ROLE_INFERENCE, self._roles)

    def rows(self) -> tuple[list[Row], dict[str, str]]:
        """The Workspaces as they are now, by key, and what could not be listed.

        Raises:
            ApiError: Workspaces may not be listed (any more).
        """
        unlisted = self.unlisted()
        sees_pods = POD.plural not in unlisted
        found = [
            _row(seen, workspace, self._workspaces.store, pods_seen=sees_pods)
            for _, seen in self.snapshots()
            if (workspace := seen.workspace) is not None
        ]
        return found, unlisted

    def unlisted(self) -> dict[str, str]:
        """What may not be listed, so that less is known, and why.

        Raises:
            ApiError: Workspaces may not be listed (any more).
        """
        self.require(self._workspaces)  # which notes what could not be listed
        return {what: why for what, why in sorted(self._unseen.items()) if what != NODE.plural}

    def snapshots(self) -> Iterator[tuple[ObjectKey, Snapshot]]:
        """The Workspaces as they are now, by key, each with what belongs to it.

        Raises:
            ApiError: Workspaces may not be listed (any more).
        """
        self.require(self._workspaces)
        unseen = dict(sorted(self._unseen.items()))
        for key in sorted(self._workspaces.store):
            workspace = self._workspaces.store[key]
            pods = self._pods.store.by(_of_workspace, key)
            nodes, gone = self._nodes_of(pods)
            seen = Snapshot(
                workspace,
                tuple(view.store[key] for view in self._workloads if key in view.store),
                tuple(pods),
                tuple(claim for view in self._claims for claim in view.store.by(_of_workspace, key)),
                jobs=(self._jobs.store[key],) if key in self._jobs.store else (),
                services=(self._services.store[key],) if key in self._services.store else (),
                slices=tuple(self._slices.store.by(_of_service, key)),
                nodes=tuple(nodes),
                gone=frozenset(gone),
                unseen=unseen,
            )
            yield key, seen


def gaps_in(rows: Iterable[Row]) -> dict[str, str]:
    """What keeps prompts from those of the Workspaces whose status says that they are ready, by name."""
    return {row.key.name: row.where for row in rows if row.state == "NotServing"}


def failures_in(rows: Iterable[Row]) -> dict[str, str]:
    """Why those that have failed will not come up by themselves, by name."""
    return {row.key.name: row.where for row in rows if row.state == "Failed" and not row.is_former}


def _titled(kind: Kind, view: Informer) -> list[Object]:
    return [with_type(kind, view.store[key]) for key in sorted(view.store)]


def _health_of(node: Object) -> Object:
    """A node as a list of Workspaces needs it: its name, and whether it is heard of."""
    metadata = {key: node["metadata"].get(key) for key in ("name", "uid", "resourceVersion")}
    return {"metadata": metadata, "status": {"conditions": dig(node, "status", "conditions") or []}}


@asynccontextmanager
async def observe_overview(
    client: Client, namespace: str, *, once: bool = False, labels: str = ""
) -> AsyncIterator[Overview]:
    """Observe the Workspaces of a namespace (empty for all) for as long as the block runs, or list `once`."""
    kind, claim_kinds = await served_kinds(client, insists=once)
    observed = Overview(client, namespace, kind, claim_kinds, once=once, labels=labels)
    async with running(observed):
        yield observed


def _of_workspace(obj: Object) -> tuple[ObjectKey, ...]:
    """The key of the Workspace that a pod or a NodeClaim is labelled with."""
    labels = labels_of(obj)
    namespace = key_of(obj).namespace or labels.get(api.LABEL_WORKSPACE_NAMESPACE, "")
    return (ObjectKey(namespace, labels.get(api.LABEL_WORKSPACE, "")),)


def _of_service(endpoints: Object) -> tuple[ObjectKey, ...]:
    """The key of the Service that an EndpointSlice is of, which is that of its Workspace."""
    return (ObjectKey(key_of(endpoints).namespace, labels_of(endpoints).get(SERVICE_NAME_LABEL, "")),)


def _row(
    seen: Snapshot,
    workspace: Object,
    workspaces: Mapping[ObjectKey, Object] | None = None,
    *,
    pods_seen: bool,
) -> Row:
    where, key = progress(seen), key_of(workspace)
    if is_being_deleted(workspace):
        state, words = "Deleting", f"finalizers: {', '.join(workspace['metadata'].get('finalizers') or ())}"
    else:
        waits = "Waiting" if where.phase is Phase.SUBMITTED else "Progressing"
        state = (
            "NotServing" if where.down else {"ready": "Ready", "failed": "Failed", None: waits}[where.outcome]
        )
        words = standing(where.words, where.detail)
    here = {dig(pod, "spec", "nodeName") for pod in seen.pods if not pod_state.is_finished(pod)} - {None, ""}
    held = sum(node_check.gpus_held(pod) for pod in seen.pods)
    return Row(
        workspaces if workspaces is not None else {key: workspace},
        key,
        state,
        f"{len(here)}/{node_check.planned_nodes(workspace)}" if pods_seen else "?",
        str(held) if pods_seen else "?",
        len(dig(workspace, "inference", "adapters") or ()),
        creation_time_of(workspace),
        words,
        state == "Failed" and _is_former(workspace, seen.pods),
    )


def _is_former(workspace: Object, pods: Iterable[Object]) -> bool:
    from kaitoctl.kaito.fleet.decisions import CHANGED_AT  # few have failed, and fewer are of a set

    changed = annotations_of(workspace).get(CHANGED_AT, "")
    return any(creation_time_of(pod) < changed for pod in pods)
