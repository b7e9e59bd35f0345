"""Strengths in files, as a mounted ConfigMap has them: a file for each adapter, named like it."""

from __future__ import annotations

import asyncio
from pathlib import Path

from kaitoctl.errors import InputError
from kaitoctl.runtime.lora_to_gguf import read_strength
from kaitoctl.runtime.strengths import Strengths

_LOOK_S = 0.25
_LONGEST = 64


def read(folder: Path | None) -> dict[str, float]:
    """The strengths that are written there; those that are none are left out, with a line in the log."""
    found: dict[str, float] = {}
    try:
        files = sorted(folder.iterdir()) if folder is not None else []
    except OSError:
        return {}
    for file in files:
        if file.name.startswith(".") or not file.is_file():
            continue
        try:
            with file.open(encoding="utf-8") as text:
                found[file.name] = read_strength(text.read(_LONGEST).strip(), file.name)
        except (OSError, UnicodeDecodeError, InputError) as error:
            print(f"{file} is left out: {error}", flush=True)  # noqa: T201 - the server's log
    return found


async def follow(folder: Path | None, strengths: Strengths) -> None:
    """Take what changes there, for ever; what was set over HTTP holds until the file says something new.

    All of it is read once more at the start: it may have changed while the model was loaded.
    """
    if folder is None:
        return
    before: dict[str, tuple[int, int]] = {}
    while True:
        now = _stamps(folder)
        if now != before:
            found = read(folder).items()
            changed = {name: value for name, value in found if now.get(name) != before.get(name)}
            before = now
            for name in strengths.set_some(changed):
                print(f"Adapter {name} now at strength {changed[name]:g}", flush=True)  # noqa: T201 - the log
        await asyncio.sleep(_LOOK_S)


def _stamps(folder: Path) -> dict[str, tuple[int, int]]:
    try:
        return {file.name: (file.stat().st_mtime_ns, file.stat().st_ino) for file in folder.iterdir()}
    except OSError:
        return {}
