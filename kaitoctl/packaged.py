"""Finds the files that ship with kaitoctl: templates, schemas.

They are top-level folders of the repository and folders of the package in a wheel. Both layouts work,
so that an editable install and a checkout need no build step.
"""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).parent


def folder(name: str) -> Path:
    """The folder `name` ("templates" or "schemas") of this installation.

    Raises:
        FileNotFoundError: the installation is damaged.
    """
    for candidate in (_PACKAGE / name, _PACKAGE.parent / name):
        if candidate.is_dir():
            return candidate
    raise FileNotFoundError(
        f"kaitoctl's own folder {name!r} is missing beside {_PACKAGE}; reinstall kaitoctl"
    )
