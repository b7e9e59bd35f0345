"""What a Workspace names: above all its ConfigMap, whose context decides how many nodes a model takes.

KAITO reads it when it counts the nodes, from v0.8 on; the ConfigMap of the same file is the one that will be
there, and otherwise that of the cluster counts.
"""

from __future__ import annotations

from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from kaitoctl.advice import Command, text
from kaitoctl.commands.cluster import present
from kaitoctl.errors import ApiError
from kaitoctl.kaito import estimate, kubectl_hints
from kaitoctl.kaito.diagnosis import references
from kaitoctl.kaito.fleet import kinds
from kaitoctl.kaito.fleet.replicas import workspace_of
from kaitoctl.kaito.kubectl_hints import HUB_KEY
from kaitoctl.kaito.snapshot import NAMED_KINDS
from kaitoctl.kaito.validation import OWN, is_dns_name
from kaitoctl.kaito.validation import config_maps as rules_of_config_maps
from kaitoctl.kube import request
from kaitoctl.kube.objects import CONFIG_MAP, NODE, ObjectKey, dig, key_of
from kaitoctl.screens import output

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping

    from kaitoctl.advice import Advice, ClusterFlags
    from kaitoctl.kaito.node_check import Rules
    from kaitoctl.kaito.snapshot import Named
    from kaitoctl.kaito.validation import Setting
    from kaitoctl.kube.client import Client
    from kaitoctl.kube.objects import Kind, Object


def config_maps_named(obj: Object) -> frozenset[ObjectKey]:
    """The ConfigMaps that a Workspace, or each replica of a set, names; its webhook looks into them."""
    namespace = str(dig(obj, "metadata", "namespace") or "default")
    places = (obj, dig(obj, "spec", "template") or {})
    names = (dig(place, part, "config") for place in places for part in ("inference", "tuning"))
    return frozenset(
        ObjectKey(namespace, name) for name in names if isinstance(name, str) and is_dns_name(name)
    )


async def as_webhook_sees(client: Client, setting: Setting, obj: Object) -> Setting:
    """The setting, with what KAITO's webhook reads of the cluster: ConfigMaps, and nodes that are the user's.

    What may not be read is not judged.
    """
    try:
        if setting.byo and setting.nodes is None and setting.target != OWN:
            setting = replace(setting, nodes=tuple((await client.list(NODE)).items))
    except ApiError as error:
        if error.status != 403:
            raise
    return await with_config_maps(setting, obj, partial(looked_up, client, CONFIG_MAP))


async def with_config_maps(
    setting: Setting,
    obj: Object,
    look_up: Callable[[ObjectKey], Awaitable[tuple[Object | None, bool]]],
    beside: Mapping[ObjectKey, Object] = MappingProxyType({}),
) -> Setting:
    """The setting, with the ConfigMaps that an object names.

    Where one may not be read, or nobody refuses that there is none, none is looked into.

    Args:
        setting: whose rules count.
        obj: a Workspace, or a set.
        look_up: as `looked_up`, of the cluster.
        beside: those that will be there, which go first.
    """
    named = config_maps_named(obj)
    there = {key: beside[key] for key in named if key in beside}
    for key in named - there.keys():
        found, is_told = await look_up(key)
        if found is not None:
            there[key] = found
        elif not is_told or setting.target == OWN:  # its pods wait until there is one
            return setting
    return replace(setting, config_maps=there) if named else setting


async def looked_up(client: Client, kind: Kind, key: ObjectKey) -> tuple[Object | None, bool]:
    """An object that Workspaces name, None without; and False where nobody tells whether there is one."""
    try:
        return await present(client, request.get(kind, *key)), True
    except ApiError as error:
        if error.status != 403:
            raise
        return None, False


class Missing(NamedTuple):
    """What is said of an object that a Workspace names, and nobody has, or that lacks what is read of it.

    Args:
        message: what is missing, and what comes of it.
        is_refused: whether pods would never serve for it, so that nothing is written.
        create: the command that makes it, or adds what it lacks; empty where none can be given.
    """

    message: str
    is_refused: bool
    create: Advice = ""

    def line(self, flags: ClusterFlags) -> str:
        """The message, with the command behind it."""
        return self.message + (f" ({text(self.create, flags)})" if self.create else "")


async def missing_references(
    obj: Object,
    look_up: Callable[[Kind, ObjectKey], Awaitable[tuple[Object | None, bool]]],
    beside: Mapping[ObjectKey, Object] = MappingProxyType({}),
    *,
    before: Object | None = None,
) -> list[Missing]:
    """What a Workspace or set names and nobody has, or lacks what is read of it.

    Args:
        obj: the Workspace or set.
        look_up: as `looked_up`, of the cluster.
        beside: ConfigMaps that will be there.
        before: as it is in the cluster: what that names already stands in no change's way.
    """
    found: list[Missing] = []
    known = {named for _, named in references(_judged(before))} if before is not None else set()
    for path, named in dict.fromkeys(references(_judged(obj))):
        key = ObjectKey(key_of(obj).namespace, named.name)
        kind = NAMED_KINDS[named.kind]
        if kind is CONFIG_MAP and key in beside:
            continue
        there, is_told = await look_up(kind, key)
        is_new = named not in known
        if there is None and is_told:
            found.append(_missing(path, named, key.namespace, is_new=is_new))
        elif there is not None and path == "pull" and (type_ := there.get("type")) not in _PULLS:
            found.append(Missing(f"Secret {named.name} is of type {type_}, not a pull secret", is_new))
        elif there is not None and path.endswith(_OF_HUB) and HUB_KEY not in (there.get("data") or ()):
            what = f"{path}: Secret {named.name} has no key {HUB_KEY}; {_WITHOUT}"
            found.append(
                Missing(what, is_new, kubectl_hints.put_into_secret(named.name, key.namespace, HUB_KEY))
            )
    return found


def lines_of(missing: Iterable[Missing], flags: ClusterFlags) -> tuple[list[str], list[str]]:
    """In words, what is refused for it, and what is only to be known."""
    refused: list[str] = []
    known: list[str] = []
    for item in missing:
        (refused if item.is_refused else known).append(item.line(flags))
    return refused, known


_OF_HUB = "modelAccessSecret"
_WITHOUT = "without it, the pods have no token to load the model with"  # KAITO marks it as optional


# The kubelet takes no other for a pull secret: Kubernetes v1.37 `pkg/credentialprovider/secrets`.
_PULLS = ("kubernetes.io/dockerconfigjson", "kubernetes.io/dockercfg")


def _missing(path: str, named: Named, namespace: str, *, is_new: bool) -> Missing:
    """A pod is replaced, or its node bought, before it shows that it cannot start: most of it is refused."""
    create: Advice = ""
    of_registry = path == "pull" or path.endswith("imagePushSecret")
    if of_registry:
        create = Command(
            "kubectl create secret docker-registry",
            *(named.name, "-n", namespace, "--docker-server=REGISTRY"),
            *("--docker-username=USER", "--docker-password=PASSWORD"),
        )
    if path == "pull":
        return Missing(f"there is no pull secret {named.name} in namespace {namespace}", is_new, create)
    if not of_registry and named.kind in ("Secret", "ConfigMap"):
        create = kubectl_hints.create(named.kind, named.name, namespace, path=path)
    what = f"{path}: there is no {named.kind} {named.name} in namespace {namespace}"
    if path.endswith(_OF_HUB):
        return Missing(f"{what}; {_WITHOUT}", is_new, create)
    if named.kind == "PersistentVolumeClaim":
        return Missing(f"{what}; no node takes the pods until there is one", is_new, create)
    return Missing(f"{what}; the pods wait for it", False, create)


def _judged(obj: Object) -> Object:
    return workspace_of(obj) if kinds.is_set(obj) else obj


def config_named(workspace: Object, rules: Rules) -> ObjectKey | None:
    """The ConfigMap that has a say in how many nodes there are; None where none has."""
    name, preset = (dig(workspace, "inference", *path) for path in (("config",), ("preset", "name")))
    by_size = rules.is_modern or rules.target == "kaitoctl"
    if not by_size or not isinstance(name, str) or not name or not preset:
        return None
    return ObjectKey(str(dig(workspace, "metadata", "namespace") or "default"), name)


def context_asked(workspace: Object, setting: Setting) -> int:
    """The tokens that a Workspace's ConfigMap asks for, of those in the setting; 0 where it does not."""
    name, known = dig(workspace, "inference", "config"), setting.config_maps or {}
    key = ObjectKey(str(dig(workspace, "metadata", "namespace") or "default"), str(name or ""))
    return max(0, rules_of_config_maps.length_in(known[key]) or 0) if key in known else 0


def context_in(found: Object, key: ObjectKey, rules: Rules) -> int:
    """The tokens by which nodes are counted, 0 for the usual number; says where KAITO reads another one."""
    written = max(0, rules_of_config_maps.length_in(found) or 0)
    if rules.target == "kaitoctl":
        return written
    read = rules_of_config_maps.length_read_by_kaito(found)
    if read != written:
        taken = f"counts nodes for {read or estimate.CONTEXT:,} tokens"
        output.warning(
            f"ConfigMap {key} says max-model-len {written:,}, and KAITO {taken}: it reads plain numbers only",
            hint="write the number without quotes, and no comment behind it",
        )
    return read


def context_in_file(workspace: Object, beside: Iterable[Object], rules: Rules) -> int:
    """The same from the ConfigMaps of a Workspace's own file; says where it is not among them."""
    written = _context_beside(workspace, beside, rules)
    if written is None:
        _warn_of_missing(workspace, rules, "is not in the file")
    return written or 0


def _context_beside(workspace: Object, beside: Iterable[Object], rules: Rules) -> int | None:
    """The same; None where a ConfigMap is named that is not among them."""
    key = config_named(workspace, rules)
    if key is None:
        return 0
    for found in beside:
        metadata = found["metadata"]
        if key == ObjectKey(str(metadata.get("namespace") or key.namespace), metadata["name"]):
            return context_in(found, key, rules)
    return None


def _warn_of_missing(workspace: Object, rules: Rules, why: str) -> None:
    """Say that nodes are counted for the usual number of tokens, and why."""
    key = config_named(workspace, rules)
    output.warning(f"ConfigMap {key} {why}: nodes are counted for {estimate.CONTEXT:,} tokens of context")


async def context_on_cluster(
    client: Client, workspace: Object, beside: Iterable[Object], rules: Rules
) -> int:
    """The same, from the file or else from the cluster; what cannot be read is said."""
    if (written := _context_beside(workspace, beside, rules)) is not None:
        return written
    key = config_named(workspace, rules)
    assert key is not None, "else nothing is missing"
    try:
        found = await client.send(request.get(CONFIG_MAP, *key))
    except ApiError as error:
        if error.status not in (403, 404):
            raise
        _warn_of_missing(workspace, rules, "does not exist" if error.status == 404 else "may not be read")
        return 0
    return context_in(found, key, rules)


async def contexts_on_cluster(
    client: Client,
    workspaces: Iterable[Object],
    beside: Collection[Object],
    rules_of: Callable[[Object], Rules],
) -> dict[ObjectKey, int]:
    """The same of many, by Workspace; of those that name a ConfigMap, each of which is read once.

    Args:
        client: of the cluster.
        workspaces: all of them; the replicas of a set name the same one.
        beside: ConfigMaps that will be there.
        rules_of: by whose rules a Workspace is judged.
    """
    found: dict[ObjectKey, int] = {}
    read: dict[tuple[ObjectKey | None, str | None], int] = {}
    for workspace in workspaces:
        if not dig(workspace, "inference", "config"):
            continue
        rules = rules_of(workspace)
        named = config_named(workspace, rules), rules.target
        if named not in read:
            read[named] = await context_on_cluster(client, workspace, beside, rules)
        found[key_of(workspace)] = read[named]
    return found
