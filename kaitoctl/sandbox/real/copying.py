"""An init container that copies the files of its image into the pod's folder."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace

from kaitoctl.sandbox.real.container_process import Life, NoImage
from kaitoctl.sandbox.workloads.container_life import Stretch


@dataclass(kw_only=True)
class Copying(Life):
    """Copies a folder, whole or not at all.

    Args:
        source: where the image's files are; None while there is no such image.
        target: the folder that is to be made.
        seen_as: its place in a container, for the log.
        log: a file to write to.
    """

    source: Callable[[], Path | None]
    target: Path
    seen_as: str
    log: Path

    async def once(self) -> tuple[int, str]:
        """Copy."""
        source = self.source()
        image = self.container.get("image")
        if source is None:
            raise NoImage(
                f'failed to resolve reference "{image}": not found in this sandbox; '
                f"kaitoctl sandbox image load FILE --as {image} brings it in"
            )
        before = self.stretch
        now = self.setting.now_s()
        running = Stretch(now, "running", began=now, started=True)
        self.show(replace(running, restarts=before.restarts, last=before.last))
        words = await asyncio.to_thread(_copy, source, self.target)
        with contextlib.suppress(OSError):  # a full disk has the exit code alone
            self.log.write_text(f"{words or f'copied /data of {image} to {self.seen_as}'}\n")
        return (1, "Error") if words else (0, "Completed")


def _copy(source: Path, target: Path) -> str:
    """Copy; returns what went wrong, empty when nothing did."""
    partial = target.with_name(f".{target.name}")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        found = sorted(source.rglob("*"))  # a folder before what is in it
        if not found:
            return "no files in /data of this image"
        shutil.rmtree(target, ignore_errors=True)
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        partial.mkdir()
        for copied in found:
            into = partial / copied.relative_to(source)
            into.mkdir() if copied.is_dir() else shutil.copyfile(copied, into)
        partial.replace(target)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        return f"cannot copy {Path(error.filename or source).name}: {error.strerror or error}"
    return ""
