"""`kaitoctl convert`: Workspaces and InferenceSets in another API version, and what that loses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from kaitoctl.advice import Command
from kaitoctl.commands import files, option_values
from kaitoctl.commands.target_release import target_option
from kaitoctl.errors import ExitCode, InputError
from kaitoctl.kaito import api, catalog_file
from kaitoctl.kaito.convert import convert as convert_workspace
from kaitoctl.kaito.convert import is_workspace
from kaitoctl.kaito.fleet import kinds, set_versions
from kaitoctl.kaito.validation import OWN
from kaitoctl.kaito.validation.releases import Release, nearest
from kaitoctl.kube.documents import Refused, read
from kaitoctl.kube.yaml_editing import edit_document
from kaitoctl.screens import output

if TYPE_CHECKING:
    from kaitoctl.commands.option_values import Manifests
    from kaitoctl.kaito.catalog import Catalog
    from kaitoctl.kube.objects import Object


class _Reader(Struct, frozen=True):
    """Who is to read what is written: an API version, presets, and a KAITO and its provisioner if named."""

    to: str
    known: Catalog
    release: Release | None
    provisioner: str


def convert(
    *,
    given: Manifests,
    to: str,
    output_format: str,
    in_place: bool,
    diff: bool,
    target_version: str | None,
    node_provisioner: str | None,
    catalog: str | None,
) -> int:
    """Write Workspaces in another API version; stderr says what does not carry over, and what replaces it."""
    option_values.one_of(to, api.VERSIONS, option="--to")
    option_values.output_format(output_format, ("yaml", "json", "name"))
    if node_provisioner is not None:
        option_values.one_of(node_provisioner, option_values.PROVISIONERS, option="--node-provisioner")
    reader = _Reader(to, catalog_file.read(catalog), _release(target_version), node_provisioner or "")
    sources = list(files.sources(given))
    if in_place and (others := [one.where for one in sources if not one.is_file]):
        raise InputError(f"--in-place changes files, and {others[0]} is none")
    if in_place or diff:
        return _edit(sources, reader, writes=in_place, shows=diff)
    converted = []
    for source in sources:
        converted += [
            _convert_workspace(obj, reader, source.name) if _is_ours(obj) else obj
            for obj in files.objects_in(source)
        ]
    if not converted:
        raise files.nothing_in(sources)
    output.objects(converted, output_format)
    return 0


def _release(target_version: str | None) -> Release | None:
    """The release that is to read what is written; None for that whose API version it is.

    Raises:
        InputError: it is no release of KAITO.
    """
    if target_version is None:
        return None
    if target_version == OWN:
        raise InputError(f"--target-version {OWN}: kaitoctl's own controller reads both API versions alike")
    return nearest(target_option(target_version))


def _is_ours(obj: Object) -> bool:
    return kinds.is_set(obj) or is_workspace(obj)


def _convert_workspace(obj: Object, reader: _Reader, source: str) -> Object:
    """The Workspace or InferenceSet in the other version; what is lost is said."""
    if kinds.is_set(obj):
        conversion = set_versions.convert(obj, reader.to, known=reader.known, release=reader.release)
    else:
        conversion = convert_workspace(
            obj, reader.to, known=reader.known, release=reader.release, provisioner=reader.provisioner
        )
    metadata = obj.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    for remark in conversion.remarks:
        where = f"{source}: {name or obj.get('kind')}: {remark.path}"
        output.warning(f"{where}: {remark.message}" + (":" if remark.commands else ""))
        for command in remark.commands:
            output.command(command)
    return conversion.workspace


def _edit(sources: Sequence[files.Source], reader: _Reader, *, writes: bool, shows: bool) -> int:
    """Change the lines that differ and no others; all files are made before one is written."""
    to = reader.to
    texts: dict[str, tuple[str, str]] = {}
    documents = 0
    for source in sources:
        path, name = source.path, source.name
        before = after = source.text()
        number = len(list(read(before, path)))
        documents += number
        for index in range(number):
            document = list(read(after, path))[index]
            if fault := document.fault:
                raise InputError(f"{name}:{fault.line}:{fault.column}: {fault.message}")
            if not _is_ours(document.obj):
                continue
            wanted = _convert_workspace(document.obj, reader, name)
            try:
                after = after if wanted == document.obj else edit_document(after, document, wanted)
            except Refused as error:
                raise InputError(
                    f"{name}: document {index + 1}: {error}; no file was changed",
                    hint=Command("kaitoctl convert", *source.words, "--to", to) + " writes it whole",
                ) from None
        texts[name] = (before, after)
    if not documents:
        raise files.nothing_in(sources)
    changed = {name: pair for name, pair in texts.items() if pair[0] != pair[1]}
    for name, (before, after) in changed.items():
        if shows:
            output.data("\n".join([f"--- {name}", f"+++ {name}", *files.difference(before, after)]))
        if writes:  # files alone, whose names are their paths
            files.replace(name, after)
            output.success(f"{name} is converted to {to}")
    if not changed:
        output.step(f"all is {to} already")
    return ExitCode.NEGATIVE if changed and not writes else ExitCode.DONE
