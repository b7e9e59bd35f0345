"""Which version of the Workspace API the cluster serves, and when that becomes another one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

from kaitoctl.errors import ApiError, KaitoctlError
from kaitoctl.kaito import api
from kaitoctl.kube.client import Client, serves
from kaitoctl.kube.objects import Kind
from kaitoctl.kube.request import Request
from kaitoctl.reconcile.until_answered import until_answered

logger = logging.getLogger(__name__)

_LOOK_FOR_VERSIONS_S = 60.0
_LOOK_TWICE_S = 5.0


async def wait_served(client: Client) -> Kind:
    """Workspaces in the newest version that the cluster serves and we know, once it serves one."""
    return await until_answered(lambda: _served_kind(client))


async def _served_kind(client: Client) -> Kind:
    """Workspaces in the newest version that the cluster serves and we know.

    Raises:
        KaitoctlError: it serves none, or does not answer.
    """
    try:
        answer = await client.send(Request("GET", f"/apis/{api.GROUP}"))
    except ApiError as error:
        if error.status != 404:
            raise
        raise KaitoctlError(f"{api.WORKSPACE.resource} is not served") from error
    # The group's versions are those of all its kinds: InferenceSets may have one that Workspaces lack.
    for kind in (api.WORKSPACE_V1BETA1, api.WORKSPACE):
        if kind.version in api.served_versions(answer) and await serves(client, kind):
            return kind
    raise KaitoctlError(f"no version of {api.WORKSPACE.resource} that kaitoctl supports is served")


async def run_until_another_is_served(
    client: Client, served: Kind, manages: Coroutine[Any, Any, None]
) -> Kind:
    """Manage Workspaces until they should be managed in another version; returns that.

    What is stopped between two requests goes on with the next reconcile: none relies on the one before.
    """
    managing = asyncio.create_task(manages)
    looking = asyncio.create_task(_another_version(client, served))
    try:
        await asyncio.wait({managing, looking}, return_when=asyncio.FIRST_COMPLETED)
        if managing.done():
            await managing
    finally:
        managing.cancel()
        looking.cancel()
        await asyncio.gather(managing, looking, return_exceptions=True)
    return looking.result()


async def _another_version(client: Client, served: Kind) -> Kind:
    """Workspaces in the version that is the newest served, once that is another one than before."""
    while True:
        await asyncio.sleep(_LOOK_FOR_VERSIONS_S)
        if await _newest_served(client) in (None, served):
            continue
        # Of several API servers, one may be behind: what it says is not what the next request meets.
        await asyncio.sleep(_LOOK_TWICE_S)
        if (kind := await _newest_served(client)) is not None and kind != served:
            return kind


async def _newest_served(client: Client) -> Kind | None:
    """Workspaces in the newest version that is served; None also when there is no telling."""
    try:
        return await _served_kind(client)
    except KaitoctlError as error:
        logger.debug("which versions of %s are served? %s", api.WORKSPACE.resource, error)
        return None
