"""`async with cluster() as it:` an API server on a port, and a cluster's controllers at work behind it.

The server answers first; the controllers are ordinary clients of it, so that whoever else connects (kubectl,
kaitoctl, a controller) cannot tell the difference from a cluster, except that time runs faster.
"""

from __future__ import annotations

import asyncio
import logging
import os
import tempfile
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from kaitoctl.errors import ApiError
from kaitoctl.kube import request
from kaitoctl.kube.client import Client, connect
from kaitoctl.kube.conditions import timestamp
from kaitoctl.kube.objects import CRD, NODE, Object, copy_of, key_of
from kaitoctl.sandbox.clock import DEFAULT_SPEED, Clock
from kaitoctl.sandbox.nodes import InstanceShape
from kaitoctl.sandbox.real import PlanOf, RealPods
from kaitoctl.sandbox.workloads import Workloads

if TYPE_CHECKING:
    from kaitoctl.sandbox.server import ApiServer

logger = logging.getLogger(__name__)

_MANAGER = "sandbox"


class Cluster(Struct, frozen=True):
    """A sandbox that is up.

    Args:
        server: its API server.
    """

    server: ApiServer

    @property
    def address(self) -> str:
        """The API server's URL."""
        return self.server.address

    @property
    def token(self) -> str:
        """The bearer token that it asks for."""
        return self.server.token

    @property
    def kubeconfig(self) -> Object:
        """A kubeconfig for it."""
        return self.server.kubeconfig()

    def write_kubeconfig(self, path: Path) -> None:
        """Write the kubeconfig to a file that only its owner can read, in one step."""
        import yaml

        path.parent.mkdir(parents=True, exist_ok=True)
        # mkstemp makes it 0600, so the token is never readable for others, not even for a moment.
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                yaml.safe_dump(self.kubeconfig, file, sort_keys=False)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise


@asynccontextmanager
async def cluster(
    *,
    state: Path | None = None,
    port: int = 0,
    token: str | None = None,
    speed: float = DEFAULT_SPEED,
    instance_types: Mapping[str, InstanceShape] | None = None,
    crds: Iterable[Object] = (),
    nodes: Iterable[Object] = (),
    plan_of: PlanOf | None = None,
    files: Path | None = None,
) -> AsyncIterator[Cluster]:
    """A cluster that lives as long as the context does, or longer when `state` keeps it.

    Args:
        state: a file for the objects; None keeps them in memory.
        port: 0 for any free one.
        token: the bearer token to ask for; made up when None.
        speed: simulated seconds per second.
        instance_types: what a NodeClaim can ask for.
        crds: CustomResourceDefinitions to apply at the start.
        nodes: Nodes to add at the start; one that is there already stays as it is.
        plan_of: which pods are processes of this machine; None for none of them.
        files: the folder for such pods' copies and logs; given with `plan_of`.

    Raises:
        ExceptionGroup: a controller ended unexpectedly; the body is cancelled. What the body itself raises
            passes unchanged.
    """
    from kaitoctl.sandbox.server import ApiServer

    # One clock: a pod's grace ends at the moment that the server writes, and the kubelet waits for it.
    clock = _clock(speed)
    server = ApiServer(state=state, token=token, port=port, clock=clock.now)
    await server.start()
    try:
        up = Cluster(server)
        async with _connect(up) as client:
            for crd in crds:
                await client.send(request.apply(CRD, crd, manager=_MANAGER, force=True))
            for node in nodes:
                await add_node(client, node)
            real = RealPods(plan_of, files, clock) if plan_of and files else None
            workloads = Workloads(client, clock, instance_types or {}, real)
            server.api.pod_logs = workloads.log
            server.port_of, server.follow = workloads.port, workloads.follow
            try:
                async with asyncio.TaskGroup() as tasks:
                    simulation = tasks.create_task(workloads.run(), name="sandbox controllers")
                    try:
                        yield up
                    finally:
                        simulation.cancel()
            except BaseExceptionGroup as group:
                # What the body raised alone leaves as it is, and not as a group of one.
                if len(group.exceptions) == 1:
                    raise group.exceptions[0] from None
                raise
    finally:
        await server.stop()


async def add_node(client: Client, node: Object) -> None:
    """Add a node with its status, as a kubelet registers its own; one of that name stays as it is.

    Conditions without a time get the present one.

    Raises:
        ApiError: the server refuses the node.
    """
    node = copy_of(node)
    now = timestamp(datetime.now(UTC))
    if status := node.get("status"):
        times = {"lastHeartbeatTime": now, "lastTransitionTime": now}
        status["conditions"] = [{**times, **item} for item in status.get("conditions") or ()]
    try:
        created = await client.send(request.create(NODE, node))
    except ApiError as error:
        if error.reason != "AlreadyExists":
            raise
        return
    if "status" in node and created.get("status") != node["status"]:
        patch = {"status": node["status"]}
        name = key_of(node).name
        await client.send(request.merge_patch(NODE, "", name, patch, manager=_MANAGER, subresource="status"))


@asynccontextmanager
async def _connect(up: Cluster) -> AsyncIterator[Client]:
    with tempfile.TemporaryDirectory(prefix="kaitoctl-sandbox-") as folder:
        file = Path(folder) / "kubeconfig"
        up.write_kubeconfig(file)
        async with connect(kubeconfig=file) as client:
            yield client


def _clock(speed: float) -> Clock:
    """A clock that follows the event loop's, so that timers and timestamps agree, also in virtual time."""
    loop = asyncio.get_running_loop()
    began, at = datetime.now(UTC), loop.time()
    return Clock(lambda: began + timedelta(seconds=loop.time() - at), speed)
