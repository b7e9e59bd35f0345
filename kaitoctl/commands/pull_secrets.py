"""Pull secrets that a Workspace names, looked for before it is written.

A missing one shows only as a failed pull: when GPU nodes have been bought, or the old pod is gone already.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kaitoctl.advice import Advice, Command
from kaitoctl.errors import ApiError, InputError
from kaitoctl.kaito import kubectl_hints
from kaitoctl.kaito.diagnosis import references
from kaitoctl.kube import request
from kaitoctl.kube.objects import CONFIG_MAP, SECRET
from kaitoctl.screens import output

if TYPE_CHECKING:
    from kaitoctl.commands.target import Target
    from kaitoctl.kube.client import Client
    from kaitoctl.kube.objects import Object

_TYPES = ("kubernetes.io/dockerconfigjson", "kubernetes.io/dockercfg")


async def check(client: Client, target: Target, workspace: Object) -> None:
    """Refuse a Workspace that names a pull secret which is not there; warn of what else is not.

    Raises:
        InputError: a pull secret is missing, or is none.
    """
    namespace = str(workspace["metadata"]["namespace"])  # that a set would make has no name yet
    named = references(workspace)
    pulls = [("the Workspace", one.name) for path, one in named if path == "pull"]
    await check_names(client, namespace, list(dict.fromkeys(pulls)))
    for path, one in named:
        if path == "pull" or not await _is_missing(client, one.kind, namespace, one.name):
            continue
        create: Advice = ""
        if one.kind in ("Secret", "ConfigMap"):
            create = kubectl_hints.create(one.kind, one.name, namespace, path=path)
        output.warning(
            f"{path}: there is no {one.kind} {one.name} in namespace {namespace}; the pods wait for it",
            hint=target.text(create),
        )


async def check_names(client: Client, namespace: str, named: Sequence[tuple[str, str]]) -> None:
    """Refuse what names a pull secret that is not there, or is none.

    Args:
        client: the API client.
        namespace: of the secrets.
        named: who names a secret, and its name.

    Raises:
        InputError: one is missing, or of another type.
    """
    for who, name in named:
        try:
            secret = await client.send(request.get(SECRET, namespace, name))
        except ApiError as error:
            if error.status == 403:
                output.warning(f"whether Secret {name} exists cannot be checked: {error}")
                continue
            if error.status != 404:
                raise
            raise InputError(
                f"{who}: there is no Secret {name} in namespace {namespace}; nothing was written",
                hint=Command(
                    "kubectl create secret docker-registry",
                    *(name, "-n", namespace, "--docker-server=REGISTRY"),
                    *("--docker-username=USER", "--docker-password=PASSWORD"),
                ),
            ) from None
        if (type_ := secret.get("type")) not in _TYPES:
            raise InputError(
                f"{who}: Secret {name} is of type {type_}, not a pull secret; nothing was written",
                hint=Command("kubectl create secret docker-registry") + " makes one",
            )


async def _is_missing(client: Client, kind: str, namespace: str, name: str) -> bool:
    """Whether it is known not to be there."""
    kinds = {"Secret": SECRET, "ConfigMap": CONFIG_MAP}
    if kind not in kinds:
        return False
    try:
        await client.send(request.get(kinds[kind], namespace, name))
    except ApiError as error:
        return error.status == 404
    return False
