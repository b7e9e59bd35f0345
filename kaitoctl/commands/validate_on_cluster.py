"""What `kaitoctl validate` asks of a cluster that is named: its KAITO, and what there is already.

Only reading, and only what the documents make necessary. Whatever the cluster will not tell is said on stderr
and judged as if it were not known. `validate` imports this when a cluster is named, and never before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial

from msgspec import Struct, field

from kaitoctl.commands import invocation
from kaitoctl.commands.cluster import connected, together
from kaitoctl.commands.kaito_detection import KaitoHere, served_or_warn, setting_of
from kaitoctl.commands.target import Target
from kaitoctl.errors import ApiError
from kaitoctl.kaito import api
from kaitoctl.kaito.fleet import kinds
from kaitoctl.kaito.validation import is_dns_label, is_dns_name
from kaitoctl.kube.client import Client
from kaitoctl.kube.objects import (
    CONFIG_MAP,
    NODE,
    PERSISTENT_VOLUME_CLAIM,
    SECRET,
    Kind,
    Object,
    ObjectKey,
)
from kaitoctl.kube.request import get
from kaitoctl.screens import output


class ClusterQuestions(Struct, frozen=True):
    """What is to be asked.

    Args:
        version: whether KAITO's version is wanted.
        workspaces: the Workspaces that are to be written, each with its API version.
        config_maps: those that Workspaces name.
        nodes: whether the nodes are wanted; None when only where KAITO makes none.
        named: the Secrets and claims that Workspaces name, by kind.
        fleets: the InferenceSets, MultiRoleInferences and ModelMirrors that are to be written, in their API
            versions.
    """

    version: bool
    workspaces: Mapping[ObjectKey, str]
    config_maps: frozenset[ObjectKey]
    nodes: bool | None
    named: frozenset[tuple[str, ObjectKey]] = frozenset()
    fleets: frozenset[tuple[Kind, ObjectKey]] = frozenset()


class ClusterAnswers(Struct):
    """What the cluster answered.

    Args:
        namespace: where objects without one go.
        kaito: how the controller of Workspaces runs.
        workspaces: those that exist.
        config_maps: those that exist.
        unreadable: the ConfigMaps that may or may not exist.
        nodes: all of the cluster; None when not asked for, or not shown.
        named: Secrets and claims: the object, or None where there is none; without what may not be read.
    """

    namespace: str
    kaito: KaitoHere = field(default_factory=KaitoHere)
    workspaces: dict[ObjectKey, Object] = field(default_factory=dict)
    config_maps: dict[ObjectKey, Object] = field(default_factory=dict)
    unreadable: set[ObjectKey] = field(default_factory=set)
    nodes: list[Object] | None = None
    fleets: dict[tuple[str, ObjectKey], Object] = field(default_factory=dict)
    named: dict[tuple[str, ObjectKey], Object | None] = field(default_factory=dict)


def ask(target: Target, plan: Callable[[str], ClusterQuestions]) -> ClusterAnswers:
    """Ask the cluster.

    Args:
        target: which.
        plan: what to ask, given the namespace that objects without one go to.

    Raises:
        ApiError: it answered with an error other than that something is missing or forbidden.
        Unreachable: it did not answer.
    """
    return invocation.answer_of(_ask(target, plan))


async def _ask(target: Target, plan: Callable[[str], ClusterQuestions]) -> ClusterAnswers:
    async with connected(target) as client:
        found, wanted = ClusterAnswers(client.namespace), plan(client.namespace)
        served = await served_or_warn(client)
        if wanted.version or wanted.workspaces or wanted.fleets:
            found.kaito = await setting_of(client, served, is_version_wanted=wanted.version)
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
        found.config_maps, found.unreadable = await _existing(
            client, CONFIG_MAP, wanted.config_maps, "not looked into"
        )
        for fleet in {kind for kind, _ in wanted.fleets}:
            keys = [key for kind, key in wanted.fleets if kind == fleet]
            existing, _ = await _existing(client, fleet, keys, "judged as if new")
            found.fleets |= {(fleet.kind, key): obj for key, obj in existing.items()}
        found.named = await _references(client, wanted.named)
        if found.kaito.byo if wanted.nodes is None else wanted.nodes:
            found.nodes = await _nodes(client)
    return found


def fleets_in(
    objects: Iterable[Object], key: Callable[[Object], ObjectKey], old: object
) -> frozenset[tuple[Kind, ObjectKey]]:
    """The fleets that are to be looked up: none where what they replace was given."""
    known = (kinds.is_set, kinds.is_multi_role, kinds.is_mirror)
    fleets = [obj for obj in objects if any(is_one(obj) for is_one in known)]
    return frozenset((kinds.kind_of(obj), key(obj)) for obj in fleets if old is None)


async def _references(
    client: Client, wanted: Iterable[tuple[str, ObjectKey]]
) -> dict[tuple[str, ObjectKey], Object | None]:
    found: dict[tuple[str, ObjectKey], Object | None] = {}
    for kind in (SECRET, PERSISTENT_VOLUME_CLAIM):
        keys = {key for name, key in wanted if name == kind.kind}
        existing, unreadable = await _existing(client, kind, keys, "whether it exists was not checked")
        asked = {key for key in keys if is_dns_label(key.namespace) and is_dns_name(key.name)}
        found |= {(kind.kind, key): existing.get(key) for key in asked - unreadable}
    return found


async def _existing(
    client: Client, kind: Kind, keys: Iterable[ObjectKey], otherwise: str
) -> tuple[dict[ObjectKey, Object], set[ObjectKey]]:
    """Those of the objects that exist, and those of which the cluster does not tell."""
    found: dict[ObjectKey, Object] = {}
    unreadable: set[ObjectKey] = set()

    async def look(key: ObjectKey) -> None:
        if not (is_dns_label(key.namespace) and is_dns_name(key.name)):
            return
        try:
            found[key] = await client.send(get(kind, key.namespace, key.name))
        except ApiError as error:
            if error.status == 403:
                unreadable.add(key)
            elif error.status != 404:
                raise

    await together(partial(look, key) for key in keys)
    if unreadable:
        output.warning(f"{kind.kind} {min(unreadable)} may not be read; {otherwise}")
    return found, unreadable


async def _nodes(client: Client) -> list[Object] | None:
    try:
        return (await client.list(NODE)).items
    except ApiError as error:
        if error.status != 403:
            raise
        output.warning("nodes cannot be listed (forbidden); not checked")
        return None
