"""What a wheel holds beside the package: man pages, made of its own commands while it is built."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ManPages(BuildHookInterface):  # type: ignore[type-arg]
    """Puts a page for each command where `man` looks for it."""

    _folder: str | None = None

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Write the pages, and name them as data of the wheel; an editable install has none."""
        if version != "standard":
            return
        sys.path.insert(0, self.root)
        from release.man_pages import pages  # of the sources that are built

        self._folder = tempfile.mkdtemp()
        for name, text in pages().items():
            file = Path(self._folder, name)
            file.write_text(text, encoding="utf-8")
            build_data["shared_data"][str(file)] = f"share/man/man1/{name}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Take the pages away again, which the wheel holds now."""
        if self._folder is not None:
            shutil.rmtree(self._folder)
