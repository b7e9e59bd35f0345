"""An init container that copies the files of its image into the pod's folder."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from kaitoctl.sandbox.real.container_process import Life, NoImage
from kaitoctl.sandbox.workloads.container_life import Stretch


@dataclass(kw_only=True)
class Copying(Life):
    """Copies a folder, whole or not at all.

    Args:
        source: where the image's files are; None while there is no such image.
        target: the folder that is to be made.
        log: a file to write to.
    """

    source: Callable[[], Path | None]
    target: Path
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
            self.log.write_text(words or f"copied {source.name} of {image} to /{self.target.name}\n")
        return (1, "Error") if words else (0, "Completed")


def _copy(source: Path, target: Path) -> str:
    """Copy; returns what went wrong, empty when nothing did."""
    partial = target.with_name(f".{target.name}")
    try:
        if not any(source.iterdir()):
            return "no files in /data of this image\n"
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(target, ignore_errors=True)
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        shutil.copytree(source, partial)
        partial.replace(target)
    except (OSError, shutil.Error) as error:
        shutil.rmtree(partial, ignore_errors=True)
        return f"cannot copy: {getattr(error, 'strerror', '') or error}\n"
    return ""
