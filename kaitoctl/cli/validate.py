"""`kaitoctl validate`: judge manifests before any cluster sees them; offline, unless a cluster is named."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kaitoctl.cli import options, output
from kaitoctl.cli.catalog_options import CatalogFile
from kaitoctl.cli.connect import Context, Kubeconfig, Namespace, SandboxName, Target
from kaitoctl.errors import InputError

if TYPE_CHECKING:
    from kaitoctl.kaito.validation import Problem, Setting
    from kaitoctl.kube.documents import Document
    from kaitoctl.kube.objects import Object, ObjectKey

app = typer.Typer(rich_markup_mode=None, add_completion=False)

_SUFFIXES = (".yaml", ".yml", ".json")
_PARTS = ("resource", "inference", "tuning")
_PROVISIONERS = ("azure-gpu-provisioner", "karpenter", "byo")
_NARROWEST = 40
_MOST_PROBLEMS = 1000  # of all documents together: whoever made that many mistakes made one of them often


@dataclass(frozen=True, slots=True)
class _Place:
    """A problem and where it is: line and column from 1, None when the text does not say; the line's text."""

    problem: Problem
    line: int | None
    column: int | None
    text: str


@dataclass(frozen=True, slots=True)
class _Judged:
    """One document and what is wrong with it; `target` is what it was judged for."""

    index: int
    source: str
    name: str
    namespace: str
    places: tuple[_Place, ...]
    target: str

    def count(self, severity: str) -> int:
        return sum(place.problem.severity == severity for place in self.places)

    @property
    def admission(self) -> str | None:
        """What KAITO's admission would answer: `refuses` or `admits`; None where no KAITO is judged for."""
        from kaitoctl.kaito.validation import OWN

        if self.target == OWN:
            return None
        is_refused = any(place.problem.kaito == "refuses" for place in self.places)
        return "refuses" if is_refused else "admits"

    def is_valid(self, *, strict: bool) -> bool:
        return not (self.places if strict else self.count("error"))


@dataclass(frozen=True, slots=True)
class _World:
    """Where the Workspaces are to live, and what is there already.

    Args:
        setting: for all of them.
        old: the Workspaces of --old, None when it is not given.
        namespace: of objects that name none.
        existing: the Workspaces of the cluster.
        untold: ConfigMaps that may or may not be there.
        seen: where each Workspace of the input stood first.
    """

    setting: Setting
    old: dict[ObjectKey, Object] | None
    namespace: str = "default"
    existing: Mapping[ObjectKey, Object] = field(default_factory=dict)
    untold: Collection[ObjectKey] = ()
    seen: dict[ObjectKey, str] = field(default_factory=dict)

    def placed(self, obj: Object) -> Object:
        """The object with the namespace that it would get; the one it was read from stays as written."""
        metadata = obj.get("metadata")
        if self.namespace == "default" or not isinstance(metadata, dict) or metadata.get("namespace"):
            return obj
        return {**obj, "metadata": {**metadata, "namespace": self.namespace}}

    def predecessor(self, obj: Object) -> Object | None:
        """What an object is to replace."""
        if self.old is None:
            return self.existing.get(_key(obj, self.namespace))
        found = self.old.get(_key(obj, self.namespace)) or self.old.get(_key(obj))
        return next(iter(self.old.values())) if found is None and len(self.old) == 1 else found

    def setting_for(self, obj: Object) -> Setting:
        """The setting, without ConfigMaps when one that the object names could not be read."""
        if any(key in self.untold for key in _config_maps_named(obj, self.namespace)):
            return replace(self.setting, config_maps=None)
        return self.setting


_Sandbox = Annotated[
    bool,  # without the environment variable that other commands read: validate works offline by default
    typer.Option("--sandbox", help="Ask the cluster simulated on this machine, starting it when needed."),
]


@app.command()
def validate(
    filename: Annotated[
        list[str],
        typer.Option(
            "--filename",
            "-f",
            help="A file, a folder, or - for stdin; may be repeated.",
            metavar="FILE|DIR|-",
        ),
    ],
    old: Annotated[
        str | None,
        typer.Option("--old", help="The Workspaces as they are now: judge the change, too.", metavar="FILE"),
    ] = None,
    config_maps: Annotated[
        str | None,
        typer.Option("--config-maps", help="All ConfigMaps that the Workspaces may name.", metavar="FILE"),
    ] = None,
    cloud_provider: Annotated[
        str | None,
        typer.Option("--cloud-provider", help="azure or aws (default: the instance type's).", metavar="NAME"),
    ] = None,
    target_version: Annotated[
        str | None,
        typer.Option(
            "--target-version",
            help="KAITO release, such as v0.4, v0.9.4 or v0.12, or kaitoctl (default: the named cluster's, "
            "kaitoctl for the sandbox; else v0.4 for v1alpha1, v0.12 for v1beta1).",
            metavar="VERSION",
        ),
    ] = None,
    node_provisioner: Annotated[
        str | None,
        typer.Option(
            "--node-provisioner",
            help="KAITO's: azure-gpu-provisioner, karpenter or byo (default: the named cluster's, "
            "else azure-gpu-provisioner, as KAITO's own).",
            metavar="NAME",
        ),
    ] = None,
    feature_gates: Annotated[
        str | None,
        typer.Option(
            "--feature-gates",
            help="All gates of KAITO v0.12 that are on, such as enableMIG (default: not known).",
            metavar="NAME,...",
        ),
    ] = None,
    nodes: Annotated[
        str | None,
        typer.Option(
            "--nodes",
            help="With byo: nodes as `kubectl get nodes -o json` wrote them.",
            metavar="FILE",
        ),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings make a Workspace invalid, too.")] = False,
    output_format: Annotated[
        str, typer.Option("--output", "-o", help="table or json.", metavar="FORMAT")
    ] = "table",
    catalog: CatalogFile = None,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    sandbox: _Sandbox = False,
    sandbox_name: SandboxName = "default",
) -> None:
    """Judge Workspaces: schema, KAITO's rules, and what KAITO would silently ignore.

    Asks no cluster unless --context, --kubeconfig or --sandbox names one; then KAITO's release and settings,
    the Workspaces as they are now and what they name come from there.

    Exit code 0 when all are valid, 2 when one is not. Example: kaitoctl validate -f workspace.yaml
    """
    from kaitoctl.kaito.validation import OWN, Setting
    from kaitoctl.kaito.validation.of_cluster import gates_on

    options.one_of(output_format, ("table", "json"), option="--output")
    if target_version is not None:
        target_version = target_option(target_version)
    if cloud_provider is not None:
        options.one_of(cloud_provider, ("azure", "aws"), option="--cloud-provider")
    if node_provisioner is not None:
        options.one_of(node_provisioner, _PROVISIONERS, option="--node-provisioner")
    if target_version is None and sandbox:
        target_version = OWN  # kaitoctl's own controller runs there
    setting = Setting(
        target_version,
        cloud_provider,
        None if node_provisioner is None else node_provisioner == "byo",
        _config_maps(config_maps) if config_maps is not None else None,
        None if feature_gates is None else gates_on(feature_gates),
        None if nodes is None else _nodes(nodes, byo=node_provisioner == "byo"),
        provisioner=node_provisioner,
        **_catalog(catalog),
    )
    world = _World(setting, _workspaces(old) if old is not None else None, namespace or "default")
    documents = _documents(filename)
    if sandbox or context or kubeconfig:
        target = Target(namespace, context, kubeconfig, sandbox, sandbox_name)
        listed_first = list(documents)
        world = _asked(target, world, listed_first)
        documents = iter(listed_first)
    judged: list[_Judged] = []
    skipped = told = 0
    for document in documents:
        if told > _MOST_PROBLEMS:
            output.warning(f"stopped after {told} problems; the rest was not judged")
            break
        if document.fault is None and not _is_meant(document.obj):
            skipped += 1
            output.note(f"{document.source}: {_what(document.obj)} is skipped")
            continue
        result = _judge(document, world)
        judged.append(result)
        told += len(result.places)
        if output_format == "table" and result.places:
            output.data(_screen(result))
    if output_format == "json":
        listed = [_plain(result, strict=strict) for result in judged]
        output.document({"documents": listed})
    elif not judged:
        raise InputError("no Workspace was found", hint="a Workspace has kind: Workspace")
    invalid = sum(not result.is_valid(strict=strict) for result in judged)
    _summary(judged, invalid, skipped)
    if invalid:
        raise typer.Exit(2)


def target_option(text: str) -> str:
    """The value of --target-version, and a note where another release than it was measured.

    Raises:
        InputError: it is no release that can be judged for.
    """
    from kaitoctl.kaito.validation import OWN, TARGETS
    from kaitoctl.kaito.validation.releases import judged_as, nearest

    if text == OWN:
        return text
    release = nearest(text)
    if release is None:
        known = ", ".join(TARGETS)
        raise InputError(
            f"--target-version {text[:40]!r}: not a release of KAITO",
            hint=f"use {OWN}, or a release since v0.3; with rules of their own: {known}",
        )
    if note := judged_as(text, release):
        output.note(f"{text}: {note}")
    return text


# --- in ----------------------------------------------------------------------------------------------------


def _documents(filenames: Iterable[str]) -> Iterator[Document]:
    from kaitoctl.kube.documents import MAX_CHARACTERS, as_kubectl_reads, read

    for source, path in _files(filenames):
        raw = _bytes(path, source, 4 * MAX_CHARACTERS)
        # What is not text is read all the same: the reader says where, and the other files are judged.
        yield from read(as_kubectl_reads(raw), source)


def _files(filenames: Iterable[str]) -> Iterator[tuple[str, Path | None]]:
    for name in filenames:
        path = Path(name)
        if name == "-":
            yield "stdin", None
        elif "\0" not in name and path.is_dir():
            found = sorted(file for file in path.rglob("*") if file.suffix in _SUFFIXES and file.is_file())
            if not found:
                raise InputError(f"--filename {name}: no {', '.join(_SUFFIXES)} file in this folder")
            yield from ((str(file), file) for file in found)
        else:
            yield name, path


def _bytes(path: Path | None, source: str, most: int) -> bytes:
    try:
        if path is None:
            return sys.stdin.buffer.read(most + 1)
        with path.open("rb") as file:
            return file.read(most + 1)
    except (OSError, ValueError) as error:
        raise InputError(f"--filename {source}: {getattr(error, 'strerror', None) or error}") from None


def _objects(filename: str) -> Iterator[Object]:
    """The objects of a file that is not itself judged.

    Raises:
        InputError: one cannot be read.
    """
    for document in _documents([filename]):
        if fault := document.fault:
            raise InputError(f"{document.source}:{fault.line}:{fault.column}: {fault.message}")
        yield document.obj


def _workspaces(filename: str) -> dict[ObjectKey, Object]:
    found = {_key(obj): obj for obj in _objects(filename) if _is_meant(obj)}
    if not found:
        raise InputError(f"--old {filename}: there is no Workspace in it")
    return found


def _config_maps(filename: str) -> dict[ObjectKey, Object]:
    return {_key(obj): obj for obj in _objects(filename) if obj.get("kind") == "ConfigMap"}


def _key(obj: Object, default: str = "default") -> ObjectKey:
    from kaitoctl.kube.objects import ObjectKey, dig

    name, namespace = dig(obj, "metadata", "name"), dig(obj, "metadata", "namespace")
    return ObjectKey(_text(namespace) or default, _text(name))


def _config_maps_named(obj: Object, default: str) -> set[ObjectKey]:
    from kaitoctl.kube.objects import ObjectKey, dig

    names = {_text(dig(obj, part, "config")) for part in ("inference", "tuning")} - {""}
    return {ObjectKey(_key(obj, default).namespace, name) for name in names}


def _nodes(filename: str, *, byo: bool) -> list[Object]:
    from kaitoctl.cli import saved_lists

    if not byo:
        raise InputError("--nodes goes with --node-provisioner byo: KAITO looks at no nodes otherwise")
    return saved_lists.objects(filename, "Node", option="--nodes")


def _catalog(filename: str | None) -> dict[str, Any]:
    if filename is None:
        return {}
    from kaitoctl.cli.catalog_options import use

    return {"catalog": use(filename)}


def _is_meant(obj: Object) -> bool:
    """Whether an object is a Workspace, or was meant to be one."""
    kind, version = _text(obj.get("kind")), _text(obj.get("apiVersion"))
    if kind.lower() == "workspace":
        return True
    return not kind and (version.startswith("kaito.sh/") or any(part in obj for part in _PARTS))


def _what(obj: Object) -> str:
    key = _key(obj)
    return f"{_text(obj.get('kind'))[:63] or 'an object without kind'} {key.name[:253]}".rstrip()


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


# --- judge -------------------------------------------------------------------------------------------------


def _asked(target: Target, world: _World, documents: Iterable[Document]) -> _World:
    """The world as a cluster knows it; what options say goes first."""
    from kaitoctl.cli import validate_on_cluster as cluster
    from kaitoctl.kaito.validation.references import CLAIM, SECRET, references
    from kaitoctl.kube.objects import ObjectKey

    setting = world.setting
    objects = [document.obj for document in documents if document.fault is None]
    workspaces = [obj for obj in objects if _is_meant(obj)]
    config_maps = [obj for obj in objects if obj.get("kind") == "ConfigMap"]
    brought = {
        (_text(obj.get("kind")), _key(obj, world.namespace)): obj
        for obj in objects
        if obj.get("kind") in (SECRET, CLAIM)
    }

    def plan(namespace: str) -> cluster.Wanted:
        named = {key for obj in workspaces for key in _config_maps_named(obj, namespace)}
        given = {_key(obj, namespace) for obj in config_maps}
        versions = {_key(obj, namespace): _text(obj.get("apiVersion")) for obj in workspaces}
        named_too = {
            (item.kind, ObjectKey(_key(obj, namespace).namespace, item.name))
            for obj in workspaces
            for item in references(obj)
        }
        return cluster.Wanted(
            version=setting.target is None,
            workspaces=(
                {key: version.rpartition("/")[2] for key, version in versions.items()}
                if world.old is None
                else {}
            ),
            config_maps=frozenset(named - given if setting.config_maps is None else ()),
            nodes=setting.byo if setting.nodes is None else False,
            named=frozenset(named_too - brought.keys()),
        )

    found = cluster.ask(target, plan)
    there = found.config_maps | {_key(obj, found.namespace): obj for obj in config_maps}
    return replace(
        world,
        setting=replace(
            setting,
            target=setting.target or found.target,
            config_maps=there if setting.config_maps is None else setting.config_maps,
            nodes=found.nodes if setting.nodes is None else setting.nodes,
            byo=found.byo if setting.byo is None else setting.byo,
            provisioner=setting.provisioner or found.provisioner,
            gates=found.gates if setting.gates is None else setting.gates,
            cloud=setting.cloud or found.cloud,
            named=found.named | brought,
        ),
        namespace=found.namespace,
        existing=found.workspaces,
        untold=found.untold if setting.config_maps is None else (),
    )


def _judge(document: Document, world: _World) -> _Judged:
    from kaitoctl.kaito import validation
    from kaitoctl.kube.objects import dig

    problems: list[Problem]
    if document.fault is not None:
        is_own = world.setting.target == validation.OWN
        answer: validation.Answer = "" if is_own else "refuses"
        problems = [validation.Problem("", "KW100", "error", document.fault.message, kaito=answer)]
    else:
        obj = world.placed(document.obj)
        problems = validation.judge(obj, world.setting_for(obj), old=world.predecessor(obj))
        problems += _twice(obj, document, world)
    places = []
    for problem in problems:
        line, column = document.position(problem.path) or (None, None)
        places.append(_Place(problem, line, column, document.line(line) if line else ""))
    places.sort(key=lambda place: (place.line or 0, place.column or 0))
    key = _key(document.obj)
    namespace = key.namespace if _text(dig(document.obj, "metadata", "namespace")) else ""
    target = world.setting.target_of(document.obj)
    return _Judged(document.index, document.source, key.name, namespace, tuple(places), target)


def _twice(obj: Object, document: Document, world: _World) -> list[Problem]:
    """A word about a Workspace that stands in the input a second time."""
    from kaitoctl.kaito import validation

    key = _key(obj, world.namespace)
    if not key.name:
        return []
    line = (document.position("metadata.name") or (0, 0))[0]
    here = f"{document.source}:{line}" if line else document.source
    first = world.seen.setdefault(key, here)
    if first == here:
        return []
    answer: validation.Answer = "" if world.setting.target == validation.OWN else "admits"
    message = f"Workspace {key} stands in {first[:200]}, too; the last one stays"
    return [validation.Problem("metadata.name", "KW109", "warning", message, kaito=answer)]


# --- out ---------------------------------------------------------------------------------------------------


def _plain(result: _Judged, *, strict: bool) -> Object:
    return {
        "index": result.index,
        "source": result.source,
        "name": result.name,
        "namespace": result.namespace,
        "valid": result.is_valid(strict=strict),
        "judgedAs": _measured(result.target),
        "admission": result.admission,
        "problems": [
            {
                "path": place.problem.path,
                "code": place.problem.code,
                "severity": place.problem.severity,
                "message": place.problem.message,
                "hint": place.problem.hint,
                "kaito": place.problem.kaito or None,
                "line": place.line,
                "column": place.column,
            }
            for place in result.places
        ],
    }


def _measured(target: str) -> str:
    """The release whose measured answers count for a target."""
    from kaitoctl.kaito.validation.releases import named

    release = named(target)
    return release.measured if release else target


def _screen(result: _Judged) -> str:
    """The problems of a document for people: where, what, the line with a caret, and what to do."""
    width = max(shutil.get_terminal_size().columns, _NARROWEST)
    lines: list[str] = []
    for place in result.places:
        problem = place.problem
        where = "".join(f":{number}" for number in (place.line, place.column) if number)
        answer = f" (KAITO: {problem.kaito})" if problem.kaito else ""
        lines.append(output.visible(f"{result.source}{where}: {problem.severity} {problem.code}{answer}"))
        said = f"{problem.path}: {problem.message}" if problem.path else problem.message
        lines += _wrapped(said, width)
        if place.text.strip() and place.column:
            lines += _excerpt(place.line or 0, place.column, place.text, width)
        if problem.hint:
            lines += _wrapped(f"hint: {problem.hint}", width)
        lines.append("")
    return "\n".join(lines[:-1]) + "\n"


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(
        output.visible(text), width, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False
    )


def _excerpt(number: int, column: int, text: str, width: int) -> list[str]:
    """The line, cut so that the column is seen, and a caret below it."""
    margin = f"  {number} | "
    room = width - len(margin)
    start = max(0, column - 1 - room // 2) if column > room else 0
    before, after = output.visible(text[start : column - 1]), output.visible(text[column - 1 : start + room])
    return [
        f"{margin}{(before + after)[:room].rstrip()}",
        f"{' ' * (len(margin) - 2)}| {' ' * min(len(before), room - 1)}^",
    ]


def _summary(judged: list[_Judged], invalid: int, skipped: int) -> None:
    errors, warnings = (sum(result.count(kind) for result in judged) for kind in ("error", "warning"))
    text = (
        f"{_number(len(judged), 'document')}: {len(judged) - invalid} valid, {invalid} invalid; "
        f"{_number(errors, 'error')}, {_number(warnings, 'warning')}"
        + (f"; {skipped} skipped" if skipped else "")
    )
    (output.failure if invalid else output.success)(text)


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
