"""What `kaitoctl validate` asks of a cluster that is named: its KAITO, and what there is already.

Only reading, and only what the documents make necessary. Whatever the cluster will not tell is said on stderr
and judged as if it were not known. `validate` imports this when a cluster is named, and never before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from kaitoctl.cli import output
from kaitoctl.cli.connect import Target, connected
from kaitoctl.errors import ApiError
from kaitoctl.kaito import api
from kaitoctl.kaito.validation import OWN, is_dns_label, is_dns_name, of_cluster
from kaitoctl.kube.client import Client
from kaitoctl.kube.objects import (
    CONFIG_MAP,
    CRD,
    DEPLOYMENT,
    NODE,
    PERSISTENT_VOLUME_CLAIM,
    SECRET,
    Kind,
    Object,
    ObjectKey,
)
from kaitoctl.kube.request import Request, get

_AT_A_TIME = 8
# Where KAITO's chart and the add-on of AKS put its controller.
_NAMESPACES = ("kaito-workspace", "kube-system")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be asked.

    Args:
        version: whether KAITO's version is wanted.
        workspaces: the Workspaces that are to be written, each with its API version.
        config_maps: those that Workspaces name.
        nodes: whether the nodes are wanted; None when only where KAITO makes none.
        named: the Secrets and claims that Workspaces name, by kind.
    """

    version: bool
    workspaces: Mapping[ObjectKey, str]
    config_maps: frozenset[ObjectKey]
    nodes: bool | None
    named: frozenset[tuple[str, ObjectKey]] = frozenset()


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
        named: Secrets and claims: the object, or None where there is none; without what may not be read.
        byo: whether nodes must be brought; None when it did not say.
        provisioner: KAITO's; None when it did not say.
        gates: KAITO's feature gates that are on; None when it did not say.
        gates_off: those that are switched off.
        cloud: KAITO's; None when it did not say.
    """

    namespace: str
    target: str | None = None
    workspaces: dict[ObjectKey, Object] = field(default_factory=dict)
    config_maps: dict[ObjectKey, Object] = field(default_factory=dict)
    untold: set[ObjectKey] = field(default_factory=set)
    nodes: list[Object] | None = None
    named: dict[tuple[str, ObjectKey], Object | None] = field(default_factory=dict)
    byo: bool | None = None
    provisioner: str | None = None
    gates: frozenset[str] | None = None
    gates_off: frozenset[str] = frozenset()
    cloud: str | None = None


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
        if wanted.version or wanted.workspaces:
            await _ask_controller(client, served, found, is_version_wanted=wanted.version)
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
        found.named = await _named(client, wanted.named)
        if found.byo if wanted.nodes is None else wanted.nodes:
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
    """KAITO's release: its controller's image tells, else the content of its CRD, else nothing does."""
    found = Found("")
    await _ask_controller(client, served, found, is_version_wanted=True)
    return found.target


async def _ask_controller(
    client: Client, served: list[str], found: Found, *, is_version_wanted: bool
) -> None:
    """Find out how KAITO runs; served versions alone tell no release."""
    if not served:
        return
    controller, is_told = await _controller(client)
    if controller is not None:
        found.byo, found.gates = controller.byo, controller.gates
        found.gates_off = controller.gates_off
        found.provisioner, found.cloud = controller.provisioner or None, controller.cloud or None
        if controller.target == OWN:
            found.gates = None
    if not is_version_wanted:
        return
    hidden = "" if is_told else "; Deployments may not be read everywhere"
    if controller is not None:
        found.target = controller.target
        output.note(f"judged for {of_cluster.said(found.target)}: its controller's image says so")
        return
    crd = await _crd(client)
    found.target = of_cluster.target_of_crd(crd) if crd is not None else None
    if found.target is not None:
        words = of_cluster.said(found.target)
        output.note(f"judged for {words}: its CRD is of that kind, and no controller was found{hidden}")
    else:
        versions = " and ".join(served)
        output.warning(
            f"the release of KAITO is not known: no controller and no CRD of a known one was found{hidden}"
            f"; judged by apiVersion (it serves {versions})"
        )


async def _controller(client: Client) -> tuple[of_cluster.Controller | None, bool]:
    """The controller of Workspaces, and whether all places could be read; its usual places come first."""
    is_told = True
    for namespace in (*_NAMESPACES, ""):
        try:
            deployments = (await client.list(DEPLOYMENT, namespace)).items
        except ApiError as error:
            if error.status != 403:
                raise
            is_told = False
            continue
        if found := of_cluster.controller(deployments):
            return found, True
    return None, is_told


async def _crd(client: Client) -> Object | None:
    name = f"{api.WORKSPACE.plural}.{api.GROUP}"
    try:
        return await client.send(get(CRD, "", name))
    except ApiError as error:
        if error.status not in (403, 404):
            raise
        return None


async def _named(
    client: Client, wanted: Iterable[tuple[str, ObjectKey]]
) -> dict[tuple[str, ObjectKey], Object | None]:
    found: dict[tuple[str, ObjectKey], Object | None] = {}
    for kind in (SECRET, PERSISTENT_VOLUME_CLAIM):
        keys = {key for name, key in wanted if name == kind.kind}
        existing, untold = await _existing(client, kind, keys, "whether it is there was not checked")
        asked = {key for key in keys if is_dns_label(key.namespace) and is_dns_name(key.name)}
        found |= {(kind.kind, key): existing.get(key) for key in asked - untold}
    return found


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
