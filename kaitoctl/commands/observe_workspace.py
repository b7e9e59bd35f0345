"""Everything that belongs to one Workspace: a snapshot for `why`, `events` and `logs`, or kept up to date.

What may not be seen is left out, and `Snapshot.unseen` says so; only the Workspace itself is required.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from kaitoctl.commands.cluster import no_such
from kaitoctl.commands.observation import (
    MOST_NODES,
    NEVER_SHOWN,
    SERVICE_NAME_LABEL,
    Observation,
    running,
    served_kinds,
)
from kaitoctl.kaito import api
from kaitoctl.kaito.catalog import SHIPPED, Catalog
from kaitoctl.kaito.snapshot import Snapshot, node_names, slice_of_endpoints
from kaitoctl.kube.client import Client
from kaitoctl.kube.objects import (
    DEPLOYMENT,
    ENDPOINT_SLICE,
    ENDPOINTS,
    EVENT,
    JOB,
    NODE,
    POD,
    REPLICA_SET,
    SERVICE,
    STATEFUL_SET,
    Kind,
    Object,
    ObjectKey,
    dig,
)
from kaitoctl.reconcile.informer import Informer


class WorkspaceObservation(Observation):
    """One Workspace and everything that belongs to it, kept up to date; made by `observe_workspace`.

    Attributes:
        key: the Workspace's.
    """

    def __init__(
        self,
        client: Client,
        key: ObjectKey,
        kind: Kind,
        claim_kinds: Iterable[Kind],
        catalog: Catalog,
        *,
        once: bool = False,
        events: bool = True,
    ) -> None:
        super().__init__(client, kind, once=once)
        self.key = key
        self._catalog = catalog
        self._nodes: dict[str, Informer] = {}
        self._endpoints: Informer | None = None
        ours = f"{api.LABEL_WORKSPACE}={key.name}"
        self._workspace = self._informer_by_name(kind)
        self._views: dict[str, tuple[Informer, ...]] = {
            "workloads": (self._informer_by_name(DEPLOYMENT), self._informer_by_name(STATEFUL_SET)),
            "jobs": (self._informer_by_name(JOB),),
            "pods": (self._informer_by_labels(POD, ours),),
            "replica_sets": (self._informer_by_labels(REPLICA_SET, ours),),
            "services": (
                self._informer_by_name(SERVICE),
                self._informer_by_name(SERVICE, f"{key.name}-headless"),
            ),
            "slices": (self._informer_by_labels(ENDPOINT_SLICE, f"{SERVICE_NAME_LABEL}={key.name}"),),
            "events": (self._informer_of_events(),) if events else (),
            "claims": tuple(
                Informer(client, of, label_selector=labels, fatal_statuses=NEVER_SHOWN)
                for of in claim_kinds
                for labels in (
                    f"{ours},{api.LABEL_WORKSPACE_NAMESPACE}={key.namespace}",
                    f"{api.LABEL_POOL_WORKSPACE}={key.name},{api.LABEL_POOL_NAMESPACE}={key.namespace}",
                )
            ),
        }

    def _informer_by_name(self, kind: Kind, name: str = "") -> Informer:
        fields = f"metadata.name={name or self.key.name}"
        return Informer(
            self._client,
            kind,
            namespace=self.key.namespace,
            field_selector=fields,
            fatal_statuses=NEVER_SHOWN,
        )

    def _informer_by_labels(self, kind: Kind, labels: str) -> Informer:
        return Informer(
            self._client,
            kind,
            namespace=self.key.namespace,
            label_selector=labels,
            fatal_statuses=NEVER_SHOWN,
        )

    def _informer_of_events(self) -> Informer:
        return Informer(
            self._client,
            EVENT,
            namespace=self.key.namespace,
            fatal_statuses=NEVER_SHOWN,
            transform=self._kept_event,
        )

    def _kept_event(self, event: Object) -> Object | None:
        """Events about what is called like the Workspace, or begins so: its children all do."""
        return event if str(dig(event, "involvedObject", "name") or "").startswith(self.key.name) else None

    async def start(self) -> None:
        """Start all informers; returns when they have synced."""
        informers = [self._workspace, *(one for views in self._views.values() for one in views)]
        await asyncio.gather(*(self._watch(informer) for informer in informers))
        self.require(self._workspace)
        if ENDPOINT_SLICE.plural in self._unseen:  # some roles show Endpoints, which are older, and no slices
            self._endpoints = self._informer_by_name(ENDPOINTS)
            await self._watch(self._endpoints)
        await self.follow_nodes()

    async def follow_nodes(self) -> None:
        """Watch nodes that have appeared since, each by its name."""
        if "nodes" in self._unseen:
            return
        new = [name for name in node_names(self._snapshot()) if name not in self._nodes]
        for name in new[: max(0, MOST_NODES - len(self._nodes))]:
            self._nodes[name] = Informer(
                self._client, NODE, field_selector=f"metadata.name={name}", fatal_statuses=NEVER_SHOWN
            )
        await asyncio.gather(*(self._watch(self._nodes[name]) for name in new if name in self._nodes))

    def snapshot(self) -> Snapshot:
        """What there is now.

        Raises:
            ApiError: the Workspace itself may not be read (any more).
        """
        self.require(self._workspace)
        return self._snapshot()

    def _snapshot(self) -> Snapshot:
        parts: dict[str, Any] = {
            part: tuple(obj for view in views for obj in view.store.values())
            for part, views in self._views.items()
        }
        nodes = tuple(obj for view in self._nodes.values() for obj in view.store.values())
        unseen = dict(sorted(self._unseen.items()))
        if self._endpoints is not None and ENDPOINTS.plural not in unseen:
            found = self._endpoints.store.values()
            parts["slices"] = tuple(one for obj in found for one in slice_of_endpoints(obj))
            del unseen[ENDPOINT_SLICE.plural]
        gone = frozenset(
            name
            for name, view in self._nodes.items()
            if NODE.plural not in unseen and view.synced and not view.store
        )
        return Snapshot(
            self._workspace.store.get(self.key),
            **parts,
            nodes=nodes,
            gone=gone,
            unseen=unseen,
            catalog=self._catalog,
        )


@asynccontextmanager
async def observe_workspace(
    client: Client, key: ObjectKey, *, catalog: Catalog = SHIPPED, once: bool = False, events: bool = True
) -> AsyncIterator[WorkspaceObservation]:
    """Observe a Workspace for as long as the block runs, or list everything `once`; with `events` or not.

    Raises:
        ApiError: the cluster serves no Workspaces, or refuses to show this one.
    """
    kind, claim_kinds = await served_kinds(client, insists=once)
    observing = WorkspaceObservation(client, key, kind, claim_kinds, catalog, once=once, events=events)
    async with running(observing) as observed:
        yield observed


async def snapshot_of(client: Client, key: ObjectKey, *, catalog: Catalog = SHIPPED) -> Snapshot:
    """What belongs to a Workspace now.

    Raises:
        ApiError: the cluster serves no Workspaces, has not this one, or refuses to show it.
    """
    async with observe_workspace(client, key, catalog=catalog, once=True) as observed:
        seen = observed.snapshot()
    if seen.workspace is None:
        raise await no_such(client, observed.kind, key)
    return seen
