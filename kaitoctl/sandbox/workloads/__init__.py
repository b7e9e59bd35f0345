"""What a cluster's own controllers do, simulated: workloads become pods, pods find nodes and seem to run.

Everything here is an ordinary client of the API server, built on `kaitoctl.reconcile`; the reconcilers are
generators without I/O. `timetable` decides what a pod shows when, `scheduler` where it goes, `deployments`,
`statefulsets` and `jobs` which pods there are, `endpoints` how they are reached, `provisioner` which nodes
join. `pods` holds what they share. This module connects them; state lives in the objects alone, so that any
of it may be stopped and started again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping

from kaitoctl.kube.client import Client
from kaitoctl.kube.objects import (
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
    ObjectKey,
)
from kaitoctl.reconcile.controller import Controller, own_key, owner_keys, run_all
from kaitoctl.reconcile.informer import Informer
from kaitoctl.sandbox.clock import Clock
from kaitoctl.sandbox.nodes import InstanceShape
from kaitoctl.sandbox.workloads import endpoints, kubelet, provisioner, scheduler
from kaitoctl.sandbox.workloads.deployments import Deployments, ReplicaSets
from kaitoctl.sandbox.workloads.jobs import Jobs
from kaitoctl.sandbox.workloads.statefulsets import StatefulSets


class Workloads:
    """All controllers of a sandbox.

    Args:
        client: the door to the sandbox's API server.
        clock: the sandbox's time.
        shapes: the instance types that a NodeClaim can have.
    """

    def __init__(self, client: Client, clock: Clock, shapes: Mapping[str, InstanceShape]) -> None:
        self._client = client
        self._pods = Informer(client, POD)
        self._nodes = Informer(client, NODE)
        deployments = Informer(client, DEPLOYMENT)
        replica_sets = Informer(client, REPLICA_SET)
        stateful_sets = Informer(client, STATEFUL_SET)
        revisions = Informer(client, CONTROLLER_REVISION)
        jobs = Informer(client, JOB)
        services = Informer(client, SERVICE)
        subsets = Informer(client, ENDPOINTS)
        slices = Informer(client, ENDPOINT_SLICE)

        scheduling = scheduler.Scheduler(self._pods.store, self._nodes.store, clock)
        assigning = Controller("scheduler", client, scheduling.reconcile, workers=1)
        assigning.watches(self._pods, scheduler.keys_of_pod)
        assigning.watches(self._nodes, scheduler.keys_of_node)

        kubelets = kubelet.Kubelet(self._pods.store, self._nodes.store, clock)
        running = Controller("kubelet", client, kubelets.reconcile, workers=16)
        running.watches(self._pods, own_key)
        running.watches(self._nodes, kubelet.keys_on_node(self._pods.store))

        rollouts = Deployments(deployments.store, replica_sets.store, self._pods.store, clock)
        rolling = Controller("deployment", client, rollouts.reconcile)
        rolling.watches(deployments, own_key)
        rolling.watches(replica_sets, owner_keys(DEPLOYMENT))
        rolling.watches(self._pods, rollouts.keys_of_pod)

        replicas = ReplicaSets(replica_sets.store, self._pods.store, clock)
        replicating = Controller("replicaset", client, replicas.reconcile)
        replicating.watches(replica_sets, own_key)
        replicating.watches(self._pods, owner_keys(REPLICA_SET))

        sets = StatefulSets(stateful_sets.store, revisions.store, self._pods.store, clock)
        numbering = Controller("statefulset", client, sets.reconcile)
        numbering.watches(stateful_sets, own_key)
        numbering.watches(revisions, owner_keys(STATEFUL_SET))
        numbering.watches(self._pods, owner_keys(STATEFUL_SET))

        tasks = Jobs(jobs.store, self._pods.store, clock)
        working = Controller("job", client, tasks.reconcile)
        working.watches(jobs, own_key)
        working.watches(self._pods, owner_keys(JOB))

        reached = endpoints.ServiceEndpoints(services.store, self._pods.store, subsets.store, slices.store)
        connecting = Controller("endpoints", client, reached.reconcile)
        connecting.watches(services, own_key)
        connecting.watches(subsets, own_key)
        connecting.watches(slices, endpoints.keys_of_slice)
        connecting.watches(self._pods, endpoints.keys_of_pod(services.store))

        self._claims = Informer(client, NODE_CLAIM)
        supply = provisioner.Provisioner(
            self._claims.store, self._nodes.store, self._pods.store, shapes, clock
        )
        self._supplying = Controller("provisioner", client, supply.reconcile)
        self._supplying.watches(self._claims, own_key)
        self._supplying.watches(self._nodes, provisioner.keys_of_node)

        self._things: tuple[Informer | Controller, ...] = (
            *(self._pods, self._nodes, deployments, replica_sets, stateful_sets, revisions, jobs),
            *(services, subsets, slices),
            *(assigning, running, rolling, replicating, numbering, working, connecting),
        )

    async def run(self) -> None:
        """Simulate until cancelled.

        Raises:
            ExceptionGroup: an informer or a controller ended, which none ever should.
        """
        async with asyncio.TaskGroup() as group:
            group.create_task(run_all(*self._things))
            group.create_task(self._provision())

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

    def log(self, namespace: str, pod: str, container: str) -> str:
        """What a container of a pod has logged; it says that it is simulated."""
        found = self._pods.store.get(ObjectKey(namespace, pod))
        if found is None:
            return ""
        return kubelet.log_of(found, container or found["spec"]["containers"][0]["name"])
