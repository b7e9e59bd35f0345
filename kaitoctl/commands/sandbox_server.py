"""The sandbox's process: a cluster, the nodes and kinds that KAITO needs, and the Workspace controller.

`sandbox` knows nothing of KAITO and the Workspace controller nothing of the sandbox; here they are put
side by side. `sandbox_process` starts this in the background.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

from kaitoctl import fleet_controller, packaged
from kaitoctl.commands import sandbox_models
from kaitoctl.commands.sandbox_process import Folder, installation
from kaitoctl.kaito.catalog import SHIPPED, Catalog
from kaitoctl.kaito.desired import Settings
from kaitoctl.kube import client
from kaitoctl.kube.documents import load_yaml
from kaitoctl.kube.objects import Object
from kaitoctl.sandbox.cluster import Cluster, cluster
from kaitoctl.sandbox.nodes import InstanceShape

_CPU_PER_GPU = 6
_MEMORY_MIB_PER_GPU = 56 * 1024


def shapes(known: Catalog = SHIPPED) -> dict[str, InstanceShape]:
    """The catalog's instance types as the sandbox's provisioner wants them; CPU and memory are a guess."""
    return {
        item.name: InstanceShape(
            cpu=_CPU_PER_GPU * item.gpus,
            memory_mib=_MEMORY_MIB_PER_GPU * item.gpus,
            gpus=item.gpus,
            gpu_resource=item.gpu_resource,
            gpu_product=item.gpu_model.replace(" ", "-"),
            gpu_memory_mib=item.gpu_memory_per_gpu_gib * 1024,
        )
        for item in known.instance_types.values()
    }


async def serve(
    folder: Folder, known: Catalog, *, speed: float, with_controller: bool, arguments: Sequence[str] = ()
) -> None:
    """Be the sandbox until SIGTERM or SIGINT.

    Args:
        folder: where its state is and its kubeconfig goes.
        known: the catalog of presets and instance types.
        speed: simulated seconds per second.
        with_controller: whether to manage Workspaces, too.
        arguments: the options that say all this, for whoever has to start it again.
    """
    logging.getLogger("aiohttp").setLevel(logging.ERROR)  # it quotes URLs, and ours have the token in them
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    started_from = installation()
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    async with AsyncExitStack() as stack:
        running = await _start(stack, folder, known, speed)
        running.write_kubeconfig(folder.kubeconfig)
        where = {"address": running.address, "token": running.token, "pid": os.getpid()}
        _remember(folder, {**where, "installation": started_from, "arguments": list(arguments)})
        await _until(stopping, folder.kubeconfig if with_controller else None, Settings(catalog=known))


async def _start(stack: AsyncExitStack, folder: Folder, known: Catalog, speed: float) -> Cluster:
    """The cluster, on the port of last time if it is still free, so that old kubeconfigs keep working."""
    schemas = sorted(packaged.folder("schemas").glob("*.yaml"))
    crds = [crd for file in schemas for crd in load_yaml(file.read_text(), str(file))]
    last = folder.read_server_file()

    def on(port: int) -> object:
        return cluster(
            state=folder.state,
            port=port,
            token=str(last.get("token") or "") or None,
            speed=speed,
            instance_types=shapes(known),
            crds=crds,
            plan_of=partial(sandbox_models.plan_of, folder, known),
            files=folder.pods,
        )

    text = str(last.get("address", "")).rpartition(":")[2]
    port = int(text) if text.isascii() and text.isdigit() and int(text) < 65536 else 0
    try:
        return await stack.enter_async_context(on(port))  # type: ignore[arg-type]
    except OSError:
        return await stack.enter_async_context(on(0))  # type: ignore[arg-type]


async def _until(stopping: asyncio.Event, kubeconfig: Path | None, settings: Settings) -> None:
    """Run the Workspace controller until it is time to stop; its crash ends the sandbox with an error."""
    if kubeconfig is None:
        await stopping.wait()
        return
    async with client.connect(kubeconfig=kubeconfig) as connection:
        controller = asyncio.create_task(fleet_controller.run_together(connection, settings=settings))
        stop = asyncio.create_task(stopping.wait())
        await asyncio.wait({controller, stop}, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if controller.done():
            controller.result()
        controller.cancel()
        await asyncio.wait({controller})


def _remember(folder: Folder, facts: Object) -> None:
    temporary = folder.path / "server.json.new"
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(facts, file)
    temporary.replace(folder.server)
