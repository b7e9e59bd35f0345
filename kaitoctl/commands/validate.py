"""`kaitoctl validate`: validate manifests before any cluster sees them; offline, unless one is named."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field
from msgspec.structs import replace

from kaitoctl.advice import ClusterFlags
from kaitoctl.commands import files, option_values
from kaitoctl.commands.option_values import Manifests
from kaitoctl.commands.target import Target
from kaitoctl.errors import ExitCode, InputError
from kaitoctl.kaito import validation
from kaitoctl.kaito.validation import OWN, Setting
from kaitoctl.kube.documents import Document, as_taken, without_text
from kaitoctl.kube.objects import ObjectKey, dig
from kaitoctl.screens import output
from kaitoctl.screens.validation_report import (
    FLEETS,
    Judged,
    Place,
    as_json,
    as_text,
    places_of,
    print_summary,
    title,
    why_not_judged,
)

if TYPE_CHECKING:
    from kaitoctl.kaito.validation import Problem
    from kaitoctl.kube.objects import Object

_PARTS = ("resource", "inference", "tuning")
_PROVISIONERS = ("azure-gpu-provisioner", "karpenter", "byo")
_HEAD = {"apiVersion", "kind", "metadata"}
_MANY_FILES = 200  # so many that further processes take less time than they save
_MOST_PROBLEMS = 1000  # of all documents together: whoever made that many mistakes made one of them often


class _World(Struct, frozen=True):
    """Where the Workspaces are to live, and what is there already.

    Args:
        setting: for all of them.
        old: the Workspaces of --old, None when it is not given.
        namespace: of objects that name none.
        existing: the Workspaces of the cluster.
        fleets: its InferenceSets, MultiRoleInferences and ModelMirrors, by kind.
        unreadable: ConfigMaps that may or may not be there.
        brings: whether the ConfigMaps are those that stand beside the Workspaces, and others may be there.
        named: the ConfigMaps that documents of the input name, as far as it was read ahead.
        sources: of the input, by name.
        seen: where each Workspace of the input stood first.
    """

    setting: Setting
    old: dict[ObjectKey, Object] | None
    namespace: str = "default"
    existing: Mapping[ObjectKey, Object] = field(default_factory=dict)
    fleets: Mapping[tuple[str, ObjectKey], Object] = field(default_factory=dict)
    unreadable: Collection[ObjectKey] = ()
    brings: bool = False
    named: Collection[ObjectKey] = ()
    sources: Mapping[str, files.Source] = field(default_factory=dict)
    seen: dict[tuple[str, ObjectKey], Document | Judged] = field(default_factory=dict)

    def placed(self, obj: Object) -> Object:
        """The object with the namespace that it would get; the one it was read from stays as written."""
        metadata = obj.get("metadata")
        if self.namespace == "default" or not isinstance(metadata, dict) or metadata.get("namespace"):
            return obj
        if obj.get("kind") == "ModelMirror":  # it belongs to no namespace
            return obj
        return {**obj, "metadata": {**metadata, "namespace": self.namespace}}

    def predecessor(self, obj: Object) -> Object | None:
        """What an object is to replace."""
        if self.old is None:
            key = _key(obj, self.namespace)
            return self.fleets.get((obj["kind"], key)) if _is_fleet(obj) else self.existing.get(key)
        kind = _text(obj.get("kind")) if _is_fleet(obj) else ""
        alike = {key: one for key, one in self.old.items() if _is_fleet(one) == bool(kind)}
        alike = {key: one for key, one in alike.items() if not kind or one.get("kind") == kind}
        found = alike.get(_key(obj, self.namespace)) or alike.get(_key(obj))
        return next(iter(alike.values())) if found is None and len(alike) == 1 else found

    def setting_for(self, obj: Object) -> Setting:
        """The setting, without ConfigMaps when one that the object names could not be read."""
        named = _config_maps_named(obj, self.namespace)
        is_elsewhere = self.brings and not named <= set(self.setting.config_maps or ())
        if is_elsewhere or any(key in self.unreadable for key in named):
            return replace(self.setting, config_maps=None)
        return self.setting


def validate(
    *,
    given: Manifests,
    old: str | None,
    config_maps: str | None,
    cloud_provider: str | None,
    target_version: str | None,
    node_provisioner: str | None,
    feature_gates: str | None,
    nodes: str | None,
    strict: bool,
    allow_none: bool,
    output_format: str,
    catalog: str | None,
    target: Target,
) -> int:
    """Validate Workspaces: schema, KAITO's rules, and what KAITO would silently ignore."""
    option_values.output_format(output_format, ("table", "json", "yaml", "github", "sarif", "junit"))
    if target_version is not None:
        from kaitoctl.commands.target_release import target_option  # most name no release

        target_version = target_option(target_version)
    if cloud_provider is not None:
        option_values.one_of(cloud_provider, ("azure", "aws"), option="--cloud-provider")
    if node_provisioner is not None:
        option_values.one_of(node_provisioner, _PROVISIONERS, option="--node-provisioner")
    if target_version is None and target.sandbox:
        target_version = OWN  # kaitoctl's own controller runs there
    is_byo = None if node_provisioner is None else node_provisioner == "byo"
    setting = Setting(target_version, cloud_provider, is_byo, provisioner=node_provisioner)
    replaced = None
    if any(option is not None for option in (old, config_maps, feature_gates, nodes, catalog)):
        from kaitoctl.commands import validate_options as options  # most give none of these

        setting = options.added(setting, feature_gates=feature_gates, nodes=nodes, catalog=catalog)
        if config_maps is not None:
            found = options.objects(config_maps, "--config-maps")
            there = {_key(obj): obj for obj in found if obj.get("kind") == "ConfigMap"}
            setting = replace(setting, config_maps=there)
        replaced = None if old is None else _workspaces(options.objects(old, "--old"), old)
    world = _World(setting, replaced, target.namespace or "default")
    is_asked = bool(target.sandbox or target.context or target.kubeconfig)
    if is_asked:
        documents = list(_documents(given))
        world = _in_kaitos_default(_ask_cluster(target, world, documents))
        inputs: Sequence[Document | Judged] = documents
    else:
        world = _in_kaitos_default(world)
        sources = list(files.sources(given, each_once=False))
        world = replace(world, sources={source.name: source for source in sources})
        inputs = list(_read_offline(sources, world))
        documents = [one for one in inputs if isinstance(one, Document)]
        if config_maps is None:  # one may stand behind the Workspace that names it
            world = _with_brought(world, documents)
    if is_asked or config_maps is None:
        world = replace(world, named=_named_in(documents, world.namespace))
    return _report(inputs, world, output_format, target.flags, strict=strict, allow_none=allow_none)


def _in_kaitos_default(world: _World) -> _World:
    setting = world.setting
    return world if setting.byo is not None else replace(world, setting=replace(setting, byo=False))


def _report(
    inputs: Iterable[Document | Judged],
    world: _World,
    output_format: str,
    flags: ClusterFlags,
    *,
    strict: bool,
    allow_none: bool,
) -> int:
    """Validate and show each document as it is read; the exit code."""
    judged: list[Judged] = []
    skipped = problems = 0
    others: dict[str, None] = {}
    for document in inputs:
        if problems > _MOST_PROBLEMS:
            output.warning(f"stopped after {problems} problems; the rest was not validated")
            break
        if isinstance(document, Document) and document.fault is None and not _is_meant(document.obj):
            if _is_config_map(document.obj) and _key(document.obj, world.namespace) in world.named:
                continue  # it is judged with those that name it
            skipped += 1
            if why := why_not_judged(document.obj):
                others[_text(document.obj.get("kind"))[:63]] = None
                output.warning(f"{document.source}: {title(document.obj)} was not validated: {why}")
            else:
                output.step(f"{document.source}: {title(document.obj)} is skipped")
            continue
        result = document if isinstance(document, Judged) else _judge(document, world)
        result = _with_twin(result, document, world)
        judged.append(result)
        problems += len(result.places)
        if output_format == "table" and result.places:
            output.data(as_text(result, flags))
    if option_values.is_structured(output_format):
        value = {"documents": [as_json(result, flags, strict=strict) for result in judged]}
        output.write_structured(value, output_format)
    if not judged and not allow_none:
        hint = f"what is validated has kind: Workspace, {', '.join(FLEETS[:-1])} or {FLEETS[-1]}"
        raise InputError(
            f"nothing was validated: there is no Workspace beside {', '.join(others)} (warnings above)"
            if others
            else "no Workspace was found",
            hint=hint,
        )
    if output_format != "table" and not option_values.is_structured(output_format):
        from kaitoctl.screens import ci_reports  # most validate by hand

        sys.stdout.write(ci_reports.in_format(output_format, judged, strict=strict))
    invalid = sum(not result.is_valid(strict=strict) for result in judged)
    print_summary(judged, invalid, skipped, is_release_said=world.setting.target is not None)
    return ExitCode.BAD_INPUT if invalid else ExitCode.DONE


# --- in ----------------------------------------------------------------------------------------------------


def _documents(given: Manifests, option: str = "-f") -> Iterator[Document]:
    for source in files.sources(given, option=option, each_once=False):
        yield from source.documents()


def _read_offline(sources: Sequence[files.Source], world: _World) -> Iterator[Document | Judged]:
    """All documents; of many files those are judged already that depend on no other document."""
    if len(sources) < _MANY_FILES or not all(source.is_file for source in sources):
        for source in sources:
            yield from source.documents()
        return
    from kaitoctl.commands.in_processes import mapped  # most judge a few

    rows = mapped(lambda source: _rows(source, world), sources)
    for source, found in zip(sources, rows, strict=True):
        if found is None:
            yield from source.documents()
            continue
        for row in found:
            if len(row) == 2:
                yield without_text(row[0], source.name, row[1])
            else:
                index, kind, name, namespace, target = row
                yield Judged(index, source.name, kind, name, namespace, (), target)


def _rows(source: files.Source, world: _World) -> list[tuple[Any, ...]] | None:
    """What Judged are made of, or heads of other objects; None where a document is not that simple."""
    rows: list[tuple[Any, ...]] = []
    for document in source.documents():
        obj = document.obj
        if document.fault is not None or _is_config_map(obj) or _config_maps_named(obj, world.namespace):
            return None
        if not _is_meant(obj):
            rows.append(({key: obj[key] for key in obj.keys() & _HEAD}, document.index))
            continue
        judged = _judge(document, world)
        if judged.places:
            return None
        rows.append((judged.index, judged.kind, judged.name, judged.namespace, judged.target))
    return rows


def _workspaces(objects: Iterable[Object], filename: str) -> dict[ObjectKey, Object]:
    found = {_key(obj): obj for obj in objects if _is_meant(obj)}
    if not found:
        raise InputError(f"--old {filename}: there is no Workspace in it")
    return found


def _key(obj: Object, default: str = "default") -> ObjectKey:
    name, namespace = dig(obj, "metadata", "name"), dig(obj, "metadata", "namespace")
    return ObjectKey(_text(namespace) or default, _text(name))


def _config_maps_named(obj: Object, default: str) -> set[ObjectKey]:
    places = [obj, dig(obj, "spec", "template")] if _is_fleet(obj) else [obj]
    names = {_text(dig(place, part, "config")) for place in places for part in ("inference", "tuning")}
    roles = dig(obj, "spec", "roles") if _is_fleet(obj) else None
    names |= (
        {_text(dig(role, "runtimeConfig")) for role in roles if role} if isinstance(roles, list) else set()
    )
    names.discard("")
    return {ObjectKey(_key(obj, default).namespace, name) for name in names}


def _is_meant(obj: Object) -> bool:
    """Whether an object is a Workspace or a fleet, or was meant to be one."""
    kind, version = _text(obj.get("kind")), _text(obj.get("apiVersion"))
    if kind.lower() == "workspace" or _is_fleet(obj):
        return True
    return not kind and (version.startswith("kaito.sh/") or any(part in obj for part in _PARTS))


def _is_fleet(obj: Object) -> bool:
    return _text(obj.get("kind")) in FLEETS and _text(obj.get("apiVersion")).startswith("kaito.sh/")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


# --- judge -------------------------------------------------------------------------------------------------


def _with_brought(world: _World, documents: Iterable[Document]) -> _World:
    """The world with the ConfigMaps that stand among the documents, as a cluster would have them."""
    brought = _brought(documents, world.namespace)
    if not brought:
        return world
    return replace(world, setting=replace(world.setting, config_maps=brought), brings=True)


def _named_in(documents: Iterable[Document], namespace: str) -> frozenset[ObjectKey]:
    meant = [one.obj for one in documents if one.fault is None and _is_meant(one.obj)]
    return frozenset(key for obj in meant for key in _config_maps_named(obj, namespace))


def _brought(documents: Iterable[Document], namespace: str) -> dict[ObjectKey, Object]:
    objects = [document.obj for document in documents if document.fault is None]
    return {_key(obj, namespace): obj for obj in objects if _is_config_map(obj)}


def _is_config_map(obj: Object) -> bool:
    return obj.get("kind") == "ConfigMap" and obj.get("apiVersion") == "v1"


def _ask_cluster(target: Target, world: _World, documents: Iterable[Document]) -> _World:
    """The world as a cluster knows it; what options say goes first."""
    from kaitoctl.commands import validate_on_cluster as cluster  # judging offline asks none
    from kaitoctl.kaito.validation.references import CLAIM, SECRET, references

    setting = world.setting
    objects = [document.obj for document in documents if document.fault is None]
    workspaces = [obj for obj in objects if _is_meant(obj) and not _is_fleet(obj)]
    config_maps = [obj for obj in objects if _is_config_map(obj)]
    brought = {
        (_text(obj.get("kind")), _key(obj, world.namespace)): obj
        for obj in objects
        if obj.get("kind") in (SECRET, CLAIM)
    }

    def plan(namespace: str) -> cluster.ClusterQuestions:
        named = {key for obj in objects if _is_meant(obj) for key in _config_maps_named(obj, namespace)}
        given = {_key(obj, namespace) for obj in config_maps}
        versions = {_key(obj, namespace): _text(obj.get("apiVersion")) for obj in workspaces}
        named_too = {
            (item.kind, ObjectKey(_key(obj, namespace).namespace, item.name))
            for obj in workspaces
            for item in references(obj)
        }
        return cluster.ClusterQuestions(
            version=setting.target is None,
            workspaces=(
                {key: version.rpartition("/")[2] for key, version in versions.items()}
                if world.old is None
                else {}
            ),
            config_maps=frozenset(named - given if setting.config_maps is None else ()),
            nodes=setting.byo if setting.nodes is None else False,
            named=frozenset(named_too - brought.keys()),
            fleets=cluster.fleets_in(objects, lambda obj: _key(obj, namespace), world.old),
        )

    found = cluster.ask(target, plan)
    there = found.config_maps | {_key(obj, found.namespace): obj for obj in config_maps}
    return replace(
        world,
        setting=replace(
            setting,
            target=setting.target or found.kaito.target,
            config_maps=there if setting.config_maps is None else setting.config_maps,
            nodes=found.nodes if setting.nodes is None else setting.nodes,
            byo=found.kaito.byo if setting.byo is None else setting.byo,
            provisioner=setting.provisioner or found.kaito.provisioner,
            gates=found.kaito.gates if setting.gates is None else setting.gates,
            gates_off=found.kaito.gates_off if setting.gates is None else setting.gates_off,
            cloud=setting.cloud or found.kaito.cloud,
            named=found.named | brought,
        ),
        namespace=found.namespace,
        existing=found.workspaces,
        fleets=found.fleets,
        unreadable=found.unreadable if setting.config_maps is None else (),
    )


def _judge(document: Document, world: _World) -> Judged:
    problems: list[Problem]
    kind = ""  # a text that cannot be read has none, and no twin
    if (fault := document.fault) is not None:
        taken = [one for one in as_taken(document) or () if one.obj.get("kind") == "Workspace"]
        read = [validation.judge(world.placed(one.obj), world.setting_for(one.obj)) for one in taken]
        is_own = world.setting.target == validation.OWN
        answer: validation.Answer = "" if is_own else validation.of_unread(read)
        hint = "kubectl takes it all the same, and not as it is written" if read else ""
        problems = [validation.Problem("", "KW100", "error", fault.message, hint, answer)]
        if len(taken) == 1:
            document = taken[0]
            problems += read[0]
    else:
        problems = _judge_object(world.placed(document.obj), world)
        kind = _text(document.obj.get("kind")) if _is_fleet(document.obj) else "Workspace"
    places = places_of(problems, document, fault)
    key = _key(document.obj)
    namespace = key.namespace if _text(dig(document.obj, "metadata", "namespace")) else ""
    target = _target_of(document.obj, world.setting)
    said = bool(_text(document.obj.get("apiVersion")))
    return Judged(document.index, document.source, kind, key.name, namespace, places, target, said)


def _target_of(obj: Object, setting: Setting) -> str:
    return "v0.12" if setting.target is None and _is_fleet(obj) else setting.target_of(obj)


def _judge_object(obj: Object, world: _World) -> list[Problem]:
    if not _is_fleet(obj):
        return validation.judge(obj, world.setting_for(obj), old=world.predecessor(obj))
    from kaitoctl.kaito.fleet import validation as of_fleets  # most files hold Workspaces alone

    return of_fleets.judge(obj, world.setting_for(obj), old=world.predecessor(obj))


def _with_twin(result: Judged, read: Document | Judged, world: _World) -> Judged:
    """The result with a word about an object that stands in the input a second time."""
    key = ObjectKey(result.namespace or world.namespace, result.name)
    first = world.seen.setdefault((result.kind, key), read) if result.kind and result.name else read
    if first is read:
        return result
    document, former = _document(read, world), _document(first, world)
    place = first.source[:200]
    if former is not None and (found := former.position("metadata.name")):
        place = f"{place}:{found[0]}"
    message = f"{result.kind} {key} is also in {place}; the last one wins"
    answer: validation.Answer = "" if world.setting.target == validation.OWN else "admits"
    twin = validation.Problem("metadata.name", "KW109", "warning", message, kaito=answer)
    places = (Place(twin, None, None, ""),) if document is None else places_of([twin], document, None)
    return replace(result, places=tuple(sorted((*result.places, *places), key=Place.where)))


def _document(read: Document | Judged, world: _World) -> Document | None:
    """The document, read once more if it was judged elsewhere; None when its file has changed meanwhile."""
    if isinstance(read, Document):
        return read
    again = world.sources[read.source].documents()
    return next((one for one in again if one.index == read.index), None)
