"""Before kaitoctl's controller starts, and while it runs: is KAITO's controller at work, too?"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from kaitoctl.errors import ApiError, InputError, KaitoctlError

if TYPE_CHECKING:
    from kaitoctl.kaito.rivals import Rival
    from kaitoctl.kube.client import Client
    from kaitoctl.kube.objects import Kind

logger = logging.getLogger(__name__)

OPTION = "--take-over"


async def insist_on_being_alone(client: Client, kind: Kind, namespace: str, *, takes_over: bool) -> None:
    """Refuse to start beside KAITO's controller, unless told that its Workspaces are taken over.

    Args:
        client: the connection to the cluster.
        kind: Workspaces in a version that is served.
        namespace: the one to manage; empty for all.
        takes_over: whether the user has said so; what was found is a warning then.

    Raises:
        InputError: KAITO's controller is at work.
    """
    found = await _once_answered(client, kind, namespace)
    if not found:
        return
    error = refusal(found)
    if not takes_over:
        raise error
    logger.warning("%s; going on, as %s says", error.message, OPTION)


async def _once_answered(client: Client, kind: Kind, namespace: str) -> list[Rival]:
    """`rivals_in`, asked again for as long as the cluster gives no sensible answer, as a controller does."""
    import asyncio

    from kaitoctl.reconcile.backoff import Backoff

    clock, backoff, said = asyncio.get_running_loop().time, Backoff(), ""
    while True:
        try:
            return await rivals_in(client, kind, namespace)
        except KaitoctlError as error:
            if str(error) != said:
                said = str(error)
                logger.warning("whether KAITO's controller runs cannot be seen; asking again: %s", said)
        await asyncio.sleep(backoff.delay(clock()))


def refusal(found: list[Rival]) -> InputError:
    """Why nothing is started, or why it has stopped, and how to stop KAITO."""
    stops = [rival.stop for rival in found if rival.stop] or [
        "stop KAITO's controller (kubectl get deployments -A | grep -i kaito)"
    ]
    return InputError(
        f"KAITO's controller manages Workspaces here: {'; '.join(rival.words for rival in found)}. Two "
        "controllers undo each other's work: they recreate models' pods and overwrite statuses",
        hint=f"stop it first: {'; '.join(stops)} (models go on serving; kaitoctl doctor then names webhooks "
        f"of KAITO that stay behind), or say that you take its Workspaces over: {OPTION}. Taking over "
        f"restarts models: look first with {OPTION} --dry-run",
    )


async def rivals_in(client: Client, kind: Kind, namespace: str) -> list[Rival]:
    """The signs of KAITO's controller that may be seen; says so where nothing can be told."""
    from kaitoctl.kaito import rivals
    from kaitoctl.kube.objects import DEPLOYMENT

    now = datetime.now(UTC)
    try:
        deployments = (await client.list(DEPLOYMENT, keep=rivals.is_candidate)).items
    except ApiError as error:
        if error.status != 403:
            logger.warning("whether KAITO's controller runs could not be checked: %s", error)
            return []
        return await _without_deployments(client, kind, namespace, now)
    if (found := rivals.of_deployments(deployments)) or rivals.is_installed_and_stopped(deployments):
        return found
    written = await _written(client, kind, namespace)
    elsewhere = rivals.of_writes(written, now, rivals.JUST_NOW)
    return [elsewhere] if elsewhere else []


async def _without_deployments(client: Client, kind: Kind, namespace: str, now: datetime) -> list[Rival]:
    from kaitoctl.kaito import rivals
    from kaitoctl.kube import request
    from kaitoctl.kube.objects import LEASE

    could_look = False
    for place in rivals.NAMESPACES:
        try:
            lease = await client.send(request.get(LEASE, place, rivals.LEASE))
        except ApiError as error:
            could_look |= error.status == 404
            continue
        could_look = True
        if found := rivals.of_lease(lease, now):
            return [found]
    written = rivals.of_writes(await _written(client, kind, namespace), now, rivals.LATELY)
    if written:
        return [written]
    if not could_look:
        logger.warning(
            "whether KAITO's controller runs could not be checked: Deployments of all namespaces and its "
            "lease may not be read; it has written no Workspace for %d minutes",
            rivals.LATELY.total_seconds() // 60,
        )
    return []


async def _written(client: Client, kind: Kind, namespace: str) -> list[dict[str, object]]:
    """Some Workspaces: whoever manages them writes all of them."""
    from kaitoctl.kube.request import Request

    try:
        answer = await client.send(Request("GET", kind.path(namespace), query={"limit": "100"}))
        return list(answer.get("items") or ())
    except ApiError as error:
        logger.debug("Workspaces could not be listed: %s", error)
        return []
