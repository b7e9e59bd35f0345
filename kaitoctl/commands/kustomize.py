"""What a kustomization makes, by the kubectl or kustomize on the PATH: their rules are not ours to copy."""

from __future__ import annotations

import re
import shutil
import subprocess

from kaitoctl.errors import InputError

_PROGRAMS = (("kubectl", "kustomize"), ("kustomize", "build"))
_TIMEOUT_S = 120  # bases may be fetched from elsewhere


def build(folder: str) -> bytes:
    """The manifests of a kustomization.

    Raises:
        InputError: neither program is there, or it refuses the folder, in its own words.
    """
    for name, verb in _PROGRAMS:
        if program := shutil.which(name):
            return _output([program, verb, "--", folder], f"-k {folder}: {name} {verb}")
    raise InputError(
        f"-k {folder} needs kubectl, or kustomize, and neither is on the PATH",
        hint="install one of them, or build the manifests elsewhere and name the file with -f",
    )


def _output(command: list[str], what: str) -> bytes:
    try:
        done = subprocess.run(  # noqa: S603 - the user's own program, and no shell
            command, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=_TIMEOUT_S
        )
    except subprocess.TimeoutExpired:
        raise InputError(f"{what} has not ended within {_TIMEOUT_S} seconds") from None
    except OSError as error:
        raise InputError(f"{what} cannot be run: {error.strerror}") from None
    if done.returncode:
        raise InputError(f"{what}: {_error_words(done.stderr) or f'exit code {done.returncode}'}")
    return done.stdout


def _error_words(stderr: bytes) -> str:
    """Why it failed, without what kubectl's log has around that."""
    words = " ".join(stderr.decode(errors="replace").split())
    found = re.search(r' err="(.+)"$', words)
    return (found[1] if found else words).removeprefix("error: ").removeprefix("Error: ")[:1000]
