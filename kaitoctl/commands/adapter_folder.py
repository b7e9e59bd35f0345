"""`kaitoctl adapter ...`: look at a LoRA adapter before it becomes an image, and make the image."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from kaitoctl.commands import catalog_lookup, option_values
from kaitoctl.errors import InputError, NegativeAnswer
from kaitoctl.kaito import catalog_file
from kaitoctl.kaito.adapter_files import checks
from kaitoctl.kaito.adapter_files.lora import Finding
from kaitoctl.kaito.catalog import Model
from kaitoctl.runtime import archives
from kaitoctl.screens import output
from kaitoctl.screens.layout import Block, Paragraph


def check(*, path: Path, preset: str | None, base: Path | None, output_format: str) -> None:
    """Say what is wrong with an adapter, and what each KAITO's runtime would do with it; offline."""
    option_values.output_format(output_format, ("table", "json", "yaml"))
    found = _findings(path, preset, base)
    if option_values.is_structured(output_format):
        value = {"adapter": str(path), "findings": [_as_data(finding) for finding in found]}
        output.write_structured(value, output_format)
    elif found:
        output.show([block for finding in found for block in _blocks(finding)])
    fatal = [finding for finding in found if finding.is_fatal]
    if fatal:
        raise NegativeAnswer(
            f"{path}: this adapter cannot be served", hint=f"kaitoctl explain {fatal[0].code} says what to do"
        )
    model = base or "the model that it was trained on"
    output.success(f"{path}: can be merged into {model}, at any strength, by kaitoctl's runtime")


def _blocks(finding: Finding) -> Iterator[Block]:
    mark = "refused" if finding.is_fatal else "note"
    yield Paragraph(f"{finding.code}: {finding.words}", lead=f"{mark}: ", hang=4)
    for who, what in (finding.upstream or {}).items():
        yield Paragraph(f"KAITO {who}: {what}", indent=4, hang=2)


def pack(*, folder: Path, into: Path, overwrite: bool, unchecked: bool) -> None:
    """Make an OCI archive of an adapter: an image with its files in /data, as KAITO wants it."""
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder")
    if into.exists() and not overwrite:
        raise InputError(f"{into} exists", hint="--overwrite replaces it")
    if into.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"{into} is in the folder that is packed")
    fatal = [finding for finding in _findings(folder, None, None) if finding.is_fatal]
    if fatal and not unchecked:
        raise InputError(
            f"{folder}: this adapter cannot be served; nothing was written",
            problems=[f"{finding.code}: {finding.words}" for finding in fatal[:8]],
            hint="--unchecked packs it all the same",
        )
    digest = archives.pack(folder, into)
    output.success(f"{into} is an OCI archive, with the files in /data")
    output.data(digest)


def _findings(path: Path, preset: str | None, base: Path | None) -> list[Finding]:
    shapes, name = None, ""
    if preset:
        name = _hugging_face_id(preset)
    if base:
        shapes = _shapes(base)
    contents = archives.look(path)
    broken = [Finding(code, words) for code, words in contents.broken]
    judged = checks.findings(contents.files, contents.config, contents.tensors, shapes=shapes, base=name)
    found = [*broken, *judged]
    return sorted(found, key=lambda finding: not finding.is_fatal)


def _hugging_face_id(preset: str) -> str:
    """What the catalog says of a preset's origin; its own name where it says nothing."""
    found = catalog_lookup.look_up(catalog_file.read(None), preset, None)
    return next((item.id for item in found if isinstance(item, Model)), "") or preset


def _shapes(base: Path) -> dict[str, tuple[int, int]]:
    path = base / "config.json"
    if base.is_file():
        raise InputError(f"--base {base} is a file", hint="give the Hugging Face folder that it was made of")
    try:
        config = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"--base {path}: {getattr(error, 'strerror', '') or error}") from error
    shapes = checks.shapes_of(config) if isinstance(config, dict) else None
    if shapes is None:
        raise InputError(
            f"--base {path}: the shapes of this architecture are not known here",
            hint="known are Llama, Mistral, Qwen2 and Qwen3; without --base the rest is checked",
        )
    return shapes


def _as_data(finding: Finding) -> dict[str, object]:
    return {
        "code": finding.code,
        "message": finding.words,
        "refused": finding.is_fatal,
        "kaito": dict(finding.upstream or {}),
    }
