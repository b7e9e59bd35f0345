"""Before kaitoctl's controller starts, and while it runs: is KAITO's controller at work, too?"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from kaitoctl.advice import Command, joined
from kaitoctl.errors import ApiError, InputError
from kaitoctl.kaito import kaito_at_work
from kaitoctl.kube import request
from kaitoctl.kube.objects import DEPLOYMENT, LEASE
from kaitoctl.kube.request import Request
from kaitoctl.reconcile.until_answered import until_answered

if TYPE_CHECKING:
    from kaitoctl.kaito.kaito_at_work import Rival
    from kaitoctl.kube.client import Client
    from kaitoctl.kube.objects import Kind

logger = logging.getLogger(__name__)

OPTION = "--take-over"


async def insist_on_being_alone(client: Client, kind: Kind, namespace: str, *, takes_over: bool) -> None:
    """Refuse to start beside KAITO's controller, unless its Workspaces are to be taken over.

    Args:
        client: the connection to the cluster.
        kind: Workspaces in a version that is served.
        namespace: the one to manage; empty for all.
        takes_over: whether the user has chosen that; what was found is a warning then.

    Raises:
        InputError: KAITO's controller is at work.
    """
    found = await until_answered(
        lambda: rivals_in(client, kind, namespace), doing="checking whether KAITO's controller runs"
    )
    if not found:
        return
    error = refusal(found)
    if not takes_over:
        raise error
    logger.warning("%s; continuing because of %s", error.message, OPTION)


def refusal(found: list[Rival]) -> InputError:
    """Why nothing is started, or why it has stopped, and how to stop KAITO."""
    look = "stop KAITO's controller (" + Command("kubectl get deployments -A") + " | grep -i kaito)"
    stops = [rival.stop for rival in found if rival.stop] or [look]
    return InputError(
        f"KAITO's controller manages Workspaces here: {'; '.join(rival.words for rival in found)}. Two "
        "controllers undo each other's work: they recreate models' pods and overwrite statuses",
        hint="stop it first: "
        + joined("; ", stops)
        + " (models keep serving; "
        + Command("kaitoctl doctor")
        + f" then names webhooks of KAITO that stay behind), or take its Workspaces over: {OPTION}. Taking "
        f"over restarts models: preview it with {OPTION} --dry-run",
    )


async def rivals_in(client: Client, kind: Kind, namespace: str) -> list[Rival]:
    """The signs of KAITO's controller that we may read; logs where there is no way to know."""
    now = datetime.now(UTC)
    try:
        deployments = (await client.list(DEPLOYMENT, keep=kaito_at_work.is_candidate)).items
    except ApiError as error:
        if error.status != 403:
            logger.warning("whether KAITO's controller runs could not be checked: %s", error)
            return []
        return await _without_deployments(client, kind, namespace, now)
    if (found := kaito_at_work.of_deployments(deployments)) or kaito_at_work.is_installed_and_stopped(
        deployments
    ):
        return found
    written = await _some_workspaces(client, kind, namespace)
    elsewhere = kaito_at_work.of_writes(written, now, kaito_at_work.JUST_NOW)
    return [elsewhere] if elsewhere else []


async def _without_deployments(client: Client, kind: Kind, namespace: str, now: datetime) -> list[Rival]:
    could_look = False
    for place in kaito_at_work.NAMESPACES:
        try:
            lease = await client.send(request.get(LEASE, place, kaito_at_work.LEASE))
        except ApiError as error:
            could_look |= error.status == 404
            continue
        could_look = True
        if found := kaito_at_work.of_lease(lease, now):
            return [found]
    written = kaito_at_work.of_writes(
        await _some_workspaces(client, kind, namespace), now, kaito_at_work.LATELY
    )
    if written:
        return [written]
    if not could_look:
        logger.warning(
            "whether KAITO's controller runs could not be checked: Deployments of all namespaces and its "
            "lease cannot be read (forbidden); it has written no Workspace for %d minutes",
            kaito_at_work.LATELY.total_seconds() // 60,
        )
    return []


async def _some_workspaces(client: Client, kind: Kind, namespace: str) -> list[dict[str, object]]:
    """Some Workspaces: whoever manages them writes all of them."""
    try:
        answer = await client.send(Request("GET", kind.path(namespace), query={"limit": "100"}))
        return list(answer.get("items") or ())
    except ApiError as error:
        logger.debug("Workspaces could not be listed: %s", error)
        return []
