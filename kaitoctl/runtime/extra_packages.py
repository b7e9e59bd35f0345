"""The packages that `kaitoctl[runtime]` brings, asked for before the first of them is needed."""

from __future__ import annotations

from importlib.util import find_spec

from kaitoctl.errors import InputError

_EXTRA = ("xllamacpp", "gguf", "numpy")


def require() -> None:
    """Do nothing when the packages of the extra are installed.

    Raises:
        InputError: one is not; the hint says how to install it.
    """
    missing = [name for name in _EXTRA if find_spec(name) is None]
    if missing:
        raise InputError(
            f"this needs {', '.join(missing)}, which is not installed", hint="pip install 'kaitoctl[runtime]'"
        )
