"""`kaitoctl convert`: Workspaces and InferenceSets in another API version, and what that loses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kaitoctl.advice import Command
from kaitoctl.commands import files, option_values
from kaitoctl.errors import InputError
from kaitoctl.kaito import api, catalog_file
from kaitoctl.kaito.convert import convert as convert_workspace
from kaitoctl.kaito.convert import is_workspace
from kaitoctl.kaito.fleet import convert as sets
from kaitoctl.kaito.fleet import kinds
from kaitoctl.kube.documents import Refused, read
from kaitoctl.kube.editing import edited
from kaitoctl.screens import output

if TYPE_CHECKING:
    from kaitoctl.kaito.catalog import Catalog
    from kaitoctl.kube.objects import Object


def convert(
    *, names: Sequence[str], to: str, output_format: str, in_place: bool, diff: bool, catalog: str | None
) -> int:
    """Write Workspaces in another API version; stderr says what does not carry over, and what replaces it."""
    option_values.one_of(to, api.VERSIONS, option="--to")
    option_values.output_format(output_format, ("yaml", "json"))
    known = catalog_file.read(catalog)
    if in_place and "-" in names:
        raise InputError("--in-place changes files, and -f - reads stdin")
    paths = dict.fromkeys(path for name in names for path in files.within(name, option="-f"))
    if in_place or diff:
        return _edit(list(paths), to, known, writes=in_place, shows=diff)
    converted = []
    for path in paths:
        objects = files.objects_in(path, option="--file")
        converted += [_convert_workspace(obj, to, known, path) if _is_ours(obj) else obj for obj in objects]
    output.objects(converted, output_format)
    return 0


def _is_ours(obj: Object) -> bool:
    return kinds.is_set(obj) or is_workspace(obj)


def _convert_workspace(obj: Object, to: str, known: Catalog, path: str) -> Object:
    """The Workspace or InferenceSet in the other version; what is lost is said."""
    conversion = sets.convert(obj, to) if kinds.is_set(obj) else convert_workspace(obj, to, known=known)
    metadata = obj.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    for remark in conversion.remarks:
        where = f"{files.display_name(path)}: {name or obj.get('kind')}: {remark.path}"
        output.warning(f"{where}: {remark.message}" + (":" if remark.commands else ""))
        for command in remark.commands:
            output.note(command)
    return conversion.workspace


def _edit(paths: Sequence[str], to: str, known: Catalog, *, writes: bool, shows: bool) -> int:
    """Change the lines that differ and no others; all files are made before one is written."""
    texts: dict[str, tuple[str, str]] = {}
    for path in paths:
        before = after = files.text_of(path, option="-f")
        number = len(list(read(before, path)))
        for index in range(number):
            document = list(read(after, path))[index]
            if fault := document.fault:
                raise InputError(f"{files.display_name(path)}:{fault.line}:{fault.column}: {fault.message}")
            if not _is_ours(document.obj):
                continue
            wanted = _convert_workspace(document.obj, to, known, path)
            try:
                after = after if wanted == document.obj else edited(after, document, wanted)
            except Refused as error:
                raise InputError(
                    f"{files.display_name(path)}: document {index + 1}: {error}; no file was changed",
                    hint=Command("kaitoctl convert -f", str(path), "--to", to) + " writes it whole",
                ) from None
        texts[path] = (before, after)
    changed = {path: pair for path, pair in texts.items() if pair[0] != pair[1]}
    for path, (before, after) in changed.items():
        if shows:
            output.data("\n".join([f"--- {path}", f"+++ {path}", *files.difference(before, after)]))
        if writes:
            files.replace(path, after)
            output.success(f"{path} is converted to {to}")
    if not changed:
        output.step(f"all is {to} already")
    return 1 if changed and not writes else 0
