"""What `kaitoctl validate` asks of a cluster that is named: its KAITO, and what there is already.

Only reading, and only what the documents make necessary. Whatever the cluster will not tell is said on stderr
and judged as if it were not known. `validate` imports this when a cluster is named, and never before.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from kaitoctl.cli import output
from kaitoctl.cli.connect import Target, connected
from kaitoctl.errors import ApiError
from kaitoctl.kaito import api
from kaitoctl.kaito.validation import is_dns_label, is_dns_name
from kaitoctl.kube.client import Client
from kaitoctl.kube.objects import CONFIG_MAP, DEPLOYMENT, NODE, Kind, Object, ObjectKey, dig
from kaitoctl.kube.request import Request, get

_AT_A_TIME = 8
# Where KAITO's chart and the add-on of AKS put its controller.
_NAMESPACES = ("kaito-workspace", "kube-system")
_LABEL = "app.kubernetes.io/name"
_IMAGE = re.compile(r"(?:.*/)?(?:kaito-)?workspace:v?(?P<tag>[0-9]+\.[0-9]+(?:[.+-].*)?)(?:@.*)?")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be asked.

    Args:
        version: whether KAITO's version is wanted.
        workspaces: the Workspaces that are to be written, each with its API version.
        config_maps: those that Workspaces name.
        nodes: whether the nodes are wanted.
    """

    version: bool
    workspaces: Mapping[ObjectKey, str]
    config_maps: frozenset[ObjectKey]
    nodes: bool


@dataclass(slots=True)
class Found:
    """What the cluster told.

    Args:
        namespace: where objects without one go.
        target: the KAITO version, None when it did not say.
        workspaces: those that exist.
        config_maps: those that exist.
        untold: the ConfigMaps that may or may not exist.
        nodes: all of the cluster; None when not asked for, or not told.
    """

    namespace: str
    target: str | None = None
    workspaces: dict[ObjectKey, Object] = field(default_factory=dict)
    config_maps: dict[ObjectKey, Object] = field(default_factory=dict)
    untold: set[ObjectKey] = field(default_factory=set)
    nodes: list[Object] | None = None


def ask(target: Target, plan: Callable[[str], Wanted]) -> Found:
    """Ask the cluster.

    Args:
        target: which.
        plan: what to ask, given the namespace that objects without one go to.

    Raises:
        ApiError: it answered with an error other than that something is missing or forbidden.
        Unreachable: it did not answer.
    """
    return asyncio.run(_ask(target, plan))


async def _ask(target: Target, plan: Callable[[str], Wanted]) -> Found:
    async with connected(target) as client:
        found, wanted = Found(client.namespace), plan(client.namespace)
        served = await _served_versions(client)
        if wanted.version:
            found.target = await kaito_version(client, served)
        for version in served:
            # In the version that is written where it is served, so that both have the same defaults.
            kind = Kind(api.GROUP, version, api.WORKSPACE.kind, api.WORKSPACE.plural)
            keys = [
                key
                for key, own in wanted.workspaces.items()
                if (own if own in served else served[-1]) == version
            ]
            existing, _ = await _existing(client, kind, keys, "judged as if new")
            found.workspaces |= existing
        found.config_maps, found.untold = await _existing(
            client, CONFIG_MAP, wanted.config_maps, "not looked into"
        )
        if wanted.nodes:
            found.nodes = await _nodes(client)
    return found


async def _served_versions(client: Client) -> list[str]:
    try:
        return api.served_versions(await client.send(Request("GET", f"/apis/{api.GROUP}")))
    except ApiError as error:
        if error.status not in (403, 404):
            raise
        why = "does not know Workspaces" if error.status == 404 else "does not say which versions it serves"
        output.warning(f"the cluster {why}; judged by apiVersion")
        return []


async def kaito_version(client: Client, served: list[str]) -> str | None:
    """The KAITO version: v1beta1 came with v0.12 (of those that are judged for); before, the image tells."""
    if not served:
        return None
    if api.WORKSPACE_V1BETA1.version in served:
        target, why = "v0.12", f"the cluster serves {api.WORKSPACE_V1BETA1.api_version}"
    else:
        tag, is_told = await _controller_tag(client)
        target = "v0.3" if tag.startswith("0.3") else "v0.4"
        why = f"its controller's image is {tag}" if tag else f"the cluster serves {served[-1]} only"
        why += "" if is_told else "; its Deployments may not be read"
    output.note(f"judged for KAITO {target}: {why}")
    return target


async def _controller_tag(client: Client) -> tuple[str, bool]:
    """The tag of the controller's image, empty when there is none; and whether all places could be read."""
    is_told = True
    for namespace in _NAMESPACES:
        try:
            deployments = (await client.list(DEPLOYMENT, namespace)).items
        except ApiError as error:
            if error.status != 403:
                raise
            is_told = False
            continue
        for deployment in deployments:
            name, label = dig(deployment, "metadata", "name"), dig(deployment, "metadata", "labels", _LABEL)
            if not ("kaito" in str(name) or "workspace" in (name, label)):
                continue
            for container in dig(deployment, "spec", "template", "spec", "containers") or ():
                if match := _IMAGE.fullmatch(str(dig(container, "image"))):
                    return match["tag"], True
    return "", is_told


async def _existing(
    client: Client, kind: Kind, keys: Iterable[ObjectKey], otherwise: str
) -> tuple[dict[ObjectKey, Object], set[ObjectKey]]:
    """Those of the objects that exist, and those of which the cluster does not tell."""
    found: dict[ObjectKey, Object] = {}
    untold: set[ObjectKey] = set()
    turns = asyncio.Semaphore(_AT_A_TIME)

    async def look(key: ObjectKey) -> None:
        if not (is_dns_label(key.namespace) and is_dns_name(key.name)):
            return
        try:
            async with turns:
                found[key] = await client.send(get(kind, key.namespace, key.name))
        except ApiError as error:
            if error.status == 403:
                untold.add(key)
            elif error.status != 404:
                raise

    await asyncio.gather(*map(look, keys))
    if untold:
        output.warning(f"{kind.kind} {min(untold)} may not be read; {otherwise}")
    return found, untold


async def _nodes(client: Client) -> list[Object] | None:
    try:
        return (await client.list(NODE)).items
    except ApiError as error:
        if error.status != 403:
            raise
        output.warning("nodes may not be listed; not looked at")
        return None
