"""All controllers of a sandbox, connected: what each watches, and the ports and logs behind pods."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import TYPE_CHECKING

from kaitoctl.kube.client import Client
from kaitoctl.kube.objects import (
    CONFIG_MAP,
    CONTROLLER_REVISION,
    CRD,
    DEPLOYMENT,
    ENDPOINT_SLICE,
    ENDPOINTS,
    JOB,
    NODE,
    NODE_CLAIM,
    POD,
    REPLICA_SET,
    SERVICE,
    STATEFUL_SET,
    Kind,
    ObjectKey,
    uid_of,
)
from kaitoctl.kube.pod_state import is_ready
from kaitoctl.reconcile.controller import Controller, Keys, Reconcile, own_key, owner_keys, run_all
from kaitoctl.reconcile.informer import Informer
from kaitoctl.reconcile.store import Store
from kaitoctl.sandbox.clock import Clock
from kaitoctl.sandbox.nodes import InstanceShape
from kaitoctl.sandbox.workloads import container_logs, endpoints, kubelet, provisioner, scheduler
from kaitoctl.sandbox.workloads.deployments import Deployments
from kaitoctl.sandbox.workloads.jobs import Jobs
from kaitoctl.sandbox.workloads.replicasets import ReplicaSets
from kaitoctl.sandbox.workloads.statefulsets import StatefulSets

if TYPE_CHECKING:
    from kaitoctl.sandbox.real import RealPods

_WATCHED = (
    *(POD, NODE, DEPLOYMENT, REPLICA_SET, STATEFUL_SET, CONTROLLER_REVISION),
    *(JOB, SERVICE, ENDPOINTS, ENDPOINT_SLICE),
)


class Workloads:
    """All controllers of a sandbox.

    Args:
        client: of the sandbox's API server.
        clock: the sandbox's time.
        shapes: the instance types that a NodeClaim can have.
        real: tells of pods that are processes; None where all are simulated.
    """

    def __init__(
        self,
        client: Client,
        clock: Clock,
        shapes: Mapping[str, InstanceShape],
        real: RealPods | None = None,
    ) -> None:
        self._client = client
        self._clock = clock
        self._real = real
        self._turn = 0
        watched_kinds = (*_WATCHED, CONFIG_MAP) if real is not None else _WATCHED
        informers = {kind: Informer(client, kind) for kind in watched_kinds}
        self._pods = informers[POD]
        self._services = informers[SERVICE]
        self._things: tuple[Informer | Controller, ...] = (
            *informers.values(),
            *_controllers(client, clock, informers, real),
        )
        self._listeners = listeners = real.listeners(self._services.store, self.port) if real else None
        if listeners is not None:
            watched_too = (self._services, own_key), (self._pods, endpoints.keys_of_pod(self._services.store))
            self._things += (_controller(client, "listeners", listeners.reconcile, *watched_too),)
        self._claims = Informer(client, NODE_CLAIM)
        nodes = informers[NODE]
        supply = provisioner.Provisioner(self._claims.store, nodes.store, self._pods.store, shapes, clock)
        watched = (self._claims, own_key), (nodes, provisioner.keys_of_node)
        self._supplying = _controller(client, "provisioner", supply.reconcile, *watched)

    async def run(self) -> None:
        """Simulate until cancelled.

        Raises:
            ExceptionGroup: an informer or a controller ended, which none ever should.
        """
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(run_all(*self._things))
                group.create_task(self._provision())
                if self._real is not None:
                    await self._pods.wait_synced()
                    self._real.sweep({uid_of(pod) for pod in self._pods.store.values()})
        finally:
            if self._real is not None and self._listeners is not None:
                await self._listeners.close()
                await self._real.close()

    async def _provision(self) -> None:
        """Wait for the NodeClaim's CRD, which a sandbox may get late or never, then provision."""
        name = f"{NODE_CLAIM.plural}.{NODE_CLAIM.group}"
        crds = Informer(self._client, CRD, field_selector=f"metadata.name={name}")
        there = asyncio.Event()
        crds.subscribe(lambda change: there.set() if change.new is not None else None)
        watching = asyncio.create_task(crds.run())
        try:
            await there.wait()
        finally:
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching
        await run_all(self._claims, self._supplying)

    def log(self, namespace: str, pod: str, container: str, *, previous: bool = False) -> str:
        """What a container of a pod has logged; it says what of it is simulated."""
        found = self._pods.store.get(ObjectKey(namespace, pod))
        if found is None:
            return ""
        container = container or found["spec"]["containers"][0]["name"]
        told = self._real.log(found, container, previous=previous) if self._real is not None else None
        return container_logs.log_of(found, container, self._clock) if told is None else told

    def follow(self, namespace: str, pod: str, container: str) -> AsyncIterator[bytes] | None:
        """What a container logs from now on; None for one of which nothing more is to come."""
        found = self._pods.store.get(ObjectKey(namespace, pod))
        if found is None or self._real is None:
            return None
        return self._real.follow(found, container or found["spec"]["containers"][0]["name"])

    def port(self, kind: str, namespace: str, name: str) -> int | None:
        """The loopback port of a process behind a pod, or behind a Service with such pods.

        Args:
            kind: `pods` or `services`.
            namespace: of the pod or Service.
            name: of the pod or Service.

        Returns:
            the port; 0 when it is real and does not serve now, None when nothing real is there.
        """
        if self._real is None:
            return None
        if kind == "pods":
            pod = self._pods.store.get(ObjectKey(namespace, name))
            behind = [pod] if pod is not None else []
        else:
            service = self._services.store.get(ObjectKey(namespace, name))
            behind = endpoints.behind(service, self._pods.store) if service is not None else []
        real = [pod for pod in behind if self._real.is_real(pod)]
        if not real:
            return None
        chosen = real if kind == "pods" else [pod for pod in real if is_ready(pod)]
        ports = [port for pod in chosen if (port := self._real.port_of(pod))]
        self._turn += 1  # each in its turn, as a Service spreads connections
        return ports[self._turn % len(ports)] if ports else 0


def _controller(
    client: Client, name: str, reconcile: Reconcile, *watched: tuple[Informer, Keys], workers: int = 4
) -> Controller:
    controller = Controller(name, client, reconcile, workers=workers)
    for informer, keys in watched:
        controller.watches(informer, keys)
    return controller


def _controllers(
    client: Client, clock: Clock, informers: Mapping[Kind, Informer], real: RealPods | None
) -> Iterator[Controller]:
    def store(kind: Kind) -> Store:
        return informers[kind].store

    pods, nodes, slices = informers[POD], informers[NODE], informers[ENDPOINT_SLICE]
    sets, revisions = informers[STATEFUL_SET], informers[CONTROLLER_REVISION]
    scheduling = scheduler.Scheduler(pods.store, nodes.store, clock)
    watched: list[tuple[Informer, Keys]] = [(pods, scheduler.keys_of_pod), (nodes, scheduler.keys_of_node)]
    yield _controller(client, "scheduler", scheduling.reconcile, *watched, workers=1)

    kubelets = kubelet.Kubelet(pods.store, nodes.store, clock, real)
    watched = [(pods, own_key), (nodes, kubelet.keys_on_node(pods.store))]
    running = _controller(client, "kubelet", kubelets.reconcile, *watched, workers=16)
    if real is not None:
        real.wake = running.enqueue
        running.watches(informers[CONFIG_MAP], kubelet.keys_of_config_map(pods.store))
    yield running

    rollouts = Deployments(store(DEPLOYMENT), store(REPLICA_SET), pods.store, clock)
    watched = [(informers[DEPLOYMENT], own_key), (informers[REPLICA_SET], owner_keys(DEPLOYMENT))]
    yield _controller(client, "deployment", rollouts.reconcile, *watched, (pods, rollouts.keys_of_pod))

    replicas = ReplicaSets(store(REPLICA_SET), pods.store, clock)
    watched = [(informers[REPLICA_SET], own_key), (pods, owner_keys(REPLICA_SET))]
    yield _controller(client, "replicaset", replicas.reconcile, *watched)

    numbered = StatefulSets(sets.store, revisions.store, pods.store, clock)
    watched = [(revisions, owner_keys(STATEFUL_SET)), (pods, owner_keys(STATEFUL_SET))]
    yield _controller(client, "statefulset", numbered.reconcile, (sets, own_key), *watched)

    tasks = Jobs(store(JOB), pods.store, clock)
    watched = [(informers[JOB], own_key), (pods, owner_keys(JOB))]
    yield _controller(client, "job", tasks.reconcile, *watched)

    services = store(SERVICE)
    reached = endpoints.ServiceEndpoints(services, pods.store, store(ENDPOINTS), slices.store)
    watched = [(informers[SERVICE], own_key), (informers[ENDPOINTS], own_key)]
    watched += [(slices, endpoints.keys_of_slice), (pods, endpoints.keys_of_pod(services))]
    yield _controller(client, "endpoints", reached.reconcile, *watched)
