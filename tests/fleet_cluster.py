"""A cluster in this process with controllers of sets, and the command line run beside them."""

from __future__ import annotations

import asyncio
import contextlib
import io
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from like_kaito import WORKSPACE
from world import crds

from kaitoctl.commands.fleet_options import FleetBudget
from kaitoctl.commands.sandbox_server import shapes
from kaitoctl.commands.target import Target
from kaitoctl.kaito import api as kaito
from kaitoctl.kube import conditions
from kaitoctl.kube.client import Client, connect
from kaitoctl.kube.objects import Object, generation_of, is_being_deleted
from kaitoctl.sandbox.cluster import cluster


@contextlib.asynccontextmanager
async def a_cluster(
    folder: Path, *more: Callable[[Client], Awaitable[Any]], speed: float = 300.0
) -> AsyncIterator[tuple[Client, Target]]:
    kubeconfig = folder / "kubeconfig"
    async with cluster(speed=speed, instance_types=shapes(), crds=crds()) as running:
        running.write_kubeconfig(kubeconfig)
        async with connect(kubeconfig=kubeconfig) as client:
            tasks = [asyncio.ensure_future(one(client)) for one in more]
            try:
                yield client, Target("default", None, str(kubeconfig))
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)


async def live(client: Client) -> list[Object]:
    return [one for one in (await client.list(WORKSPACE, "default")).items if not is_being_deleted(one)]


async def ready(client: Client) -> list[Object]:
    return [
        one
        for one in await live(client)
        if conditions.is_true(one, kaito.WORKSPACE_SUCCEEDED, generation=generation_of(one))
    ]


async def until(question: Callable[[], Awaitable[bool]], seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not await question():  # noqa: ASYNC110 - of a server that is asked
            await asyncio.sleep(0.05)


async def said(command: Callable[..., int | None], **options: Any) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()

    def run() -> int:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            return command(**options) or 0

    code = await asyncio.to_thread(run)
    return code, out.getvalue(), err.getvalue()


WALK: dict[str, Any] = {"name": "phis", "dry_run": "none", "yes": True, "timeout": "60s", "catalog": None}


def walk_of(**options: Any) -> dict[str, Any]:
    """The arguments of `rollout fleet` with these options."""
    budget = {key: options.pop(key) for key in FleetBudget.__struct_fields__ if key in options}
    return {**WALK, **options, "budget": FleetBudget(**budget)}
