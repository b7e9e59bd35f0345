"""What `doctor` says of webhooks: those that stand in the way of Workspaces, and that nobody answers."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from kaitoctl.advice import Advice, Command
from kaitoctl.commands.doctor_check import NOT_SHOWN, Check, Examined, Right, unseen
from kaitoctl.errors import ApiError, Unreachable
from kaitoctl.kaito import api, installation
from kaitoctl.kube import request, webhooks
from kaitoctl.kube.objects import CRD, DEPLOYMENT, ENDPOINT_SLICE, JOB, NODE_CLAIM, POD, SERVICE, STATEFUL_SET

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from kaitoctl.kube.client import Client
    from kaitoctl.kube.objects import Object, ObjectKey
    from kaitoctl.kube.webhooks import Webhook


async def webhooks_of(cluster: Examined) -> AsyncIterator[Check]:
    """Webhooks that are asked about Workspaces and their objects, and that nobody answers."""
    total, dead, hidden = await find_unanswered(cluster.client)
    for right in hidden:
        yield unseen("workspaces", "webhooks", "whether somebody answers webhooks", right)
    if not dead:
        if total and not hidden:
            message = f"{total} webhooks check Workspaces and their objects, and all have backends"
            yield Check("workspaces", "webhooks", "ok", message)
        return
    try:
        found = installation.controllers(await cluster.deployments())
        lives = any(one.kind == "KAITO" and one.is_alive for one in found)
    except (ApiError, Unreachable):
        lives = True  # nobody is advised to delete what may be in use
    for hook, why in dead:
        yield Check(
            "workspaces",
            "webhooks",
            "error" if hook.refuses else "warning",
            f"webhook {hook.configuration} is asked about every write of {', '.join(hook.covers)}, and "
            f"cannot be asked: {why}; such writes {'are rejected' if hook.refuses else 'are slow'}",
            advice(hook, why, kaito_is_alive=lives),
        )


async def find_unanswered(client: Client) -> tuple[int, list[tuple[Webhook, str]], list[Right]]:
    """How many webhooks are asked about Workspaces and their children, and which of them nobody answers, why.

    The rights that one lacks to know it of all come last.

    Raises:
        ApiError: they may not be listed, or the server is in trouble.
    """
    configurations: list[Object] = []
    for kind in (webhooks.VALIDATING, webhooks.MUTATING):
        configurations += [{**item, "kind": kind.kind} for item in await _list(client, kind)]
    kinds = (api.WORKSPACE, DEPLOYMENT, STATEFUL_SET, SERVICE, POD, JOB, NODE_CLAIM)
    found = list(webhooks.covering(configurations, kinds))
    hidden: dict[Right, None] = {}
    try:
        crd = await client.send(request.get(CRD, "", f"{api.WORKSPACE.plural}.{api.GROUP}"))
        found += webhooks.converting(crd)
    except ApiError as error:
        if error.status not in NOT_SHOWN:
            raise
        if error.status == 403:
            hidden[Right("get", f"{CRD.plural}.{CRD.group}")] = None
    dead = []
    answers: dict[tuple[ObjectKey, int], str | Right] = {}
    for hook in found:
        why: str | Right = untrusted(hook, datetime.now(UTC))
        if hook.service is not None:
            place = hook.service, hook.port
            if place not in answers:
                answers[place] = await _why_dead(client, *place)
            why = why if answers[place] == "" else answers[place]
        if isinstance(why, Right):
            hidden[why] = None
        elif why:
            dead.append((hook, why))
    return len(found), dead, list(hidden)


def untrusted(hook: Webhook, now: datetime) -> str:
    """Why the API server takes no certificate of whoever answers; empty when it may."""
    if (
        not hook.bundle
    ):  # then the certificates of the API server's system count: a public address may have one
        return "its caBundle is empty, so the API server trusts no certificate of it" if hook.service else ""
    from cryptography import x509  # most clusters have no such webhooks

    try:
        found = x509.load_pem_x509_certificates(base64.b64decode(hook.bundle))
    except ValueError:
        return "its caBundle holds no certificates"
    last = max(one.not_valid_after_utc for one in found)
    return f"the certificates of its caBundle expired at {last:%Y-%m-%d %H:%M}Z" if last < now else ""


def advice(hook: Webhook, why: str, *, kaito_is_alive: bool) -> Advice:
    """What to do about a webhook that cannot be asked, and why it cannot."""
    name = hook.configuration
    if hook.kind == "CustomResourceDefinition":
        return "start the program that converts them: " + Command("kubectl get crd", name, "-o", "yaml")
    if hook.configuration.endswith("kaito.sh") and not kaito_is_alive:
        delete = Command("kubectl delete", hook.kind.lower(), name)
        return "KAITO's controller is gone; if it does not come back: " + delete
    if "caBundle" in why or hook.service is None:
        look = Command("kubectl get", hook.kind.lower(), name, "-o", "yaml")
        return "restart what makes its certificates, which writes caBundle again: " + look
    look = Command("kubectl get service,endpointslices,pods -n", hook.service.namespace)
    return "start the program behind it again: " + look


async def _list(client: Client, kind: object) -> Iterable[Object]:
    try:
        return (await client.list(kind)).items  # type: ignore[arg-type]
    except ApiError as error:
        if error.status == 404:  # a cluster without admission webhooks: a sandbox
            return ()
        raise


async def _why_dead(client: Client, service: ObjectKey, port: int) -> str | Right:
    """Why nobody can answer; empty when somebody can, and the right that lacks where one may not look."""
    try:
        found = await client.send(request.get(SERVICE, service.namespace, service.name))
    except ApiError as error:
        if error.status not in NOT_SHOWN:
            raise
        is_gone = error.status == 404
        return f"Service {service} is gone" if is_gone else Right("get", "services", service.namespace)
    if webhooks.lacks_port(found, port):
        return f"Service {service} has no port {port}"
    try:
        label = f"kubernetes.io/service-name={service.name}"
        slices = (await client.list(ENDPOINT_SLICE, service.namespace, label_selector=label)).items
    except ApiError as error:
        if error.status not in NOT_SHOWN:
            raise
        return Right("list", f"{ENDPOINT_SLICE.plural}.{ENDPOINT_SLICE.group}", service.namespace)
    return "" if webhooks.has_endpoints(slices) else f"Service {service} has no ready endpoint"
