#!/usr/bin/env python3
"""`kubectl kaitoctl` as krew installs it: an environment of its own, made the first time, and kaitoctl in it.

Beside this file are kaitoctl's wheel, and the packages that it needs with their hashes. Standard library
only.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
OLDEST = (3, 11)


def main() -> None:
    """Become kaitoctl."""
    if sys.version_info < OLDEST:
        sys.exit(
            f"error: kaitoctl needs Python {OLDEST[0]}.{OLDEST[1]} or newer, and python3 is "
            f"{sys.version.split()[0]}"
        )
    try:
        program = installed()
    except (OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"error: kaitoctl could not be installed: {error}")
    os.execv(program, [str(program), *sys.argv[1:]])


def installed() -> Path:
    """The program, in a folder for this wheel, these packages and this Python alone."""
    (wheel,) = HERE.glob("*.whl")
    needed = HERE / "requirements.txt"
    made_of = b"".join([wheel.read_bytes(), needed.read_bytes(), sys.version.encode()])
    data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    place = data / "kaitoctl" / "krew" / hashlib.sha256(made_of).hexdigest()[:12]
    program, done = place / "bin" / "kubectl-kaitoctl", place / ".done"
    if done.exists():
        return program
    place.mkdir(parents=True, exist_ok=True)
    with (place / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two first calls at once: the second one waits
        if not done.exists():
            print(f"installing kaitoctl into {place}, once ...", file=sys.stderr, flush=True)
            venv.create(place, with_pip=True)
            pip = [
                str(place / "bin" / "python"),
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
            ]
            # What pip prints is no part of the command's answer.
            for more in (["--require-hashes", "--requirement", str(needed)], ["--no-deps", str(wheel)]):
                subprocess.run([*pip, *more], check=True, stdout=sys.stderr)
            done.touch()
    return program


if __name__ == "__main__":
    main()
