"""The sandbox as a background process: start it, find it, stop it.

Each sandbox has a folder of its own (state.db, kubeconfig, server.json, log) below
`$KAITOCTL_STATE_DIR`, `$XDG_STATE_HOME/kaitoctl` or `~/.local/state/kaitoctl`. The process holds a lock on
the file `lock` for as long as it lives; that, and not a process number, says whether it is up.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import urlsplit

from msgspec import Struct

from kaitoctl.advice import Advice, Command
from kaitoctl.errors import InputError, NegativeAnswer, TimedOut
from kaitoctl.screens import output

_LEAST_FREE_BYTES = 64 * 1024
_START_TIMEOUT_S = 20.0
_STOP_TIMEOUT_S = 10.0
_PROBE_S = 1.0
_LONGEST_NAME = 42
_OURS = Path(__file__).parents[1] / "__init__.py"
_NAME = re.compile(rf"[a-z0-9]([a-z0-9-]{{0,{_LONGEST_NAME - 2}}}[a-z0-9])?")


class Folder(Struct, frozen=True):
    """The files of one sandbox."""

    path: Path

    @property
    def name(self) -> str:
        """The sandbox's name."""
        return self.path.name

    @property
    def state(self) -> Path:
        """Everything that the API server stores."""
        return self.path / "state.db"

    @property
    def kubeconfig(self) -> Path:
        """For kaitoctl, kubectl and everybody else; readable by its owner alone."""
        return self.path / "kubeconfig"

    @property
    def log(self) -> Path:
        """What the process says."""
        return self.path / "log"

    @property
    def lock(self) -> Path:
        """Held by the process while it lives."""
        return self.path / "lock"

    @property
    def server(self) -> Path:
        """What the process says of itself: address, token, number, options and the files it runs from.

        A restarted sandbox is found where it was.
        """
        return self.path / "server.json"

    @property
    def models(self) -> Path:
        """Which model on this machine a preset is, JSON."""
        return self.path / "models.json"

    @property
    def images(self) -> Path:
        """The files of images that were brought in, a folder for each."""
        return self.path / "images"

    @property
    def pods(self) -> Path:
        """Copies and logs of pods that are processes."""
        return self.path / "pods"

    def read_server_file(self) -> dict[str, Any]:
        """What `server.json` says; empty when there is none."""
        try:
            found = json.loads(self.server.read_text())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}


def folder(name: str) -> Folder:
    """The folder of the sandbox `name`, not necessarily existing.

    Raises:
        InputError: the name is not a lower-case label.
    """
    if not _NAME.fullmatch(name):
        raise InputError(
            f"--sandbox-name {name[:80]!r}: a sandbox's name has at most {_LONGEST_NAME} lower-case letters, "
            "digits and hyphens" + (f"; this one has {len(name)}" if len(name) > _LONGEST_NAME else "")
        )
    return Folder(_state_root() / "sandbox" / name)


def names() -> list[str]:
    """The names of all sandboxes that have a folder."""
    root = _state_root() / "sandbox"
    found = (path.name for path in root.iterdir() if path.is_dir()) if root.is_dir() else ()
    return sorted(name for name in found if _NAME.fullmatch(name))


def _state_root() -> Path:
    if own := os.environ.get("KAITOCTL_STATE_DIR"):
        return Path(own).resolve()  # the background process has another working directory
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "kaitoctl"


def is_up(sandbox: Folder) -> bool:
    """Whether the sandbox's process lives."""
    if not sandbox.lock.exists():
        return False
    with sandbox.lock.open("a") as file:
        return not _try_lock(file)


@contextlib.contextmanager
def hold(sandbox: Folder) -> Iterator[None]:
    """Hold the sandbox's lock: what its process does for as long as it lives.

    Raises:
        NegativeAnswer: another process holds it.
    """
    sandbox.path.mkdir(parents=True, exist_ok=True, mode=0o700)
    with sandbox.lock.open("a") as file:
        # Whoever asks whether we are up holds the lock for a moment: that is no other sandbox.
        deadline = time.monotonic() + _PROBE_S
        while not _try_lock(file):
            if time.monotonic() > deadline:
                raise NegativeAnswer(f"sandbox {sandbox.name} is already running")
            time.sleep(0.01)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
        file.truncate(0)


def _try_lock(file: TextIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def installation(file: Path = _OURS) -> dict[str, Any]:
    """Which files kaitoctl runs from: an installation replaces them, by ones of another inode or time."""
    try:
        there = file.stat()
    except OSError:
        return {"file": str(file)}
    return {"file": str(file), "inode": there.st_ino, "modified_ns": there.st_mtime_ns}


def is_outdated(sandbox: Folder) -> bool:
    """Whether the files that the sandbox's process runs from are no more what it was started from.

    Python imports late: such a process fails at its next import, or mixes two versions.
    """
    started = sandbox.read_server_file().get("installation")
    return isinstance(started, dict) and installation(Path(str(started.get("file")))) != started


async def ensure_up(name: str, arguments: Sequence[str] = ()) -> Path:
    """Start the sandbox in the background unless it is up, and return its kubeconfig once it answers.

    Args:
        name: which sandbox.
        arguments: options of `kaitoctl sandbox serve`, used only when it has to be started.

    Raises:
        NegativeAnswer: it ended while starting.
        TimedOut: it does not answer, or its process, which is outdated, does not end.
    """
    sandbox = folder(name)
    process: subprocess.Popen[bytes] | None = None
    if is_up(sandbox) and is_outdated(sandbox):
        output.step(f"restarting sandbox {name}: the files it runs from were replaced; its state stays")
        arguments = [str(one) for one in sandbox.read_server_file().get("arguments") or ()]
        stop(name)
        process = _spawn(sandbox, arguments)
    elif not is_up(sandbox):
        output.step(f"starting sandbox {name}, a cluster simulated on this machine")
        process = _spawn(sandbox, arguments)
    try:
        await _until_it_answers(sandbox, process)
    except asyncio.CancelledError:
        if process is not None:  # who gives up waiting for it wants none
            process.terminate()
            process.wait()
        raise
    if process is not None:
        process.returncode = 0  # it is meant to outlive us; Popen would warn that nobody waited for it
    return sandbox.kubeconfig


async def _until_it_answers(sandbox: Folder, process: subprocess.Popen[bytes] | None) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while not _answers(sandbox):
        if process is not None and process.poll() is not None and not is_up(sandbox):
            raise _ended_early(sandbox)
        if time.monotonic() > deadline:
            raise TimedOut(
                f"sandbox {sandbox.name} does not answer after {_START_TIMEOUT_S:.0f} s; it goes on starting",
                hint=_when_late(sandbox),
            )
        await asyncio.sleep(0.02)


def _when_late(sandbox: Folder) -> Advice:
    """The commands for a sandbox that was left to start, which may only be slow."""
    named = ("--sandbox-name", sandbox.name)
    again, ends = Command("kaitoctl sandbox up", *named), Command("kaitoctl sandbox down", *named)
    return again + " waits for it again; " + ends + f" stops it; its log: {sandbox.log}"


def stop(name: str) -> bool:
    """Stop the sandbox; False when it was not running.

    Raises:
        TimedOut: it does not end.
    """
    sandbox = folder(name)
    if not is_up(sandbox):
        return False
    deadline = time.monotonic() + _STOP_TIMEOUT_S
    while is_up(sandbox):
        # The lock file names the process that holds it, as soon as that is far enough to be stopped.
        if (pid := _pid(sandbox)) is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        if time.monotonic() > deadline:
            raise TimedOut(f"sandbox {name} does not stop", hint=f"its log: {sandbox.log}")
        time.sleep(0.02)
    return True


def _pid(sandbox: Folder) -> int | None:
    """The process that holds the lock, as it wrote there itself."""
    text = sandbox.lock.read_text(errors="replace").strip()
    return int(text) if text.isascii() and text.isdigit() and 1 < int(text) < 2**31 else None


def _spawn(sandbox: Folder, arguments: Sequence[str]) -> subprocess.Popen[bytes]:
    sandbox.path.mkdir(parents=True, exist_ok=True, mode=0o700)
    command = [sys.executable, "-m", "kaitoctl", "sandbox", "serve", "--sandbox-name", sandbox.name]
    environment = dict(os.environ)
    if own := environment.get("KAITOCTL_CATALOG"):  # it will look from somewhere else
        from kaitoctl.kaito.hub_files import absolute

        environment["KAITOCTL_CATALOG"] = absolute(own)
    with sandbox.log.open("ab") as log:
        return subprocess.Popen(  # noqa: S603 - our own program and our own arguments
            [*command, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C in the terminal is meant for the command, not for the cluster
            cwd="/",
            env=environment,
        )


def _answers(sandbox: Folder) -> bool:
    """Whether the API server says that it is ready (a bare HTTP exchange: `http.client` costs 30 ms)."""
    remembered = sandbox.read_server_file()
    # Whoever listens at the address of last time need not be ours: the token would go there.
    if not is_up(sandbox) or remembered.get("pid") != _pid(sandbox) or not sandbox.kubeconfig.exists():
        return False
    where = urlsplit(str(remembered.get("address")))
    try:
        with socket.create_connection((where.hostname, where.port), timeout=2) as connection:
            connection.sendall(f"GET /readyz HTTP/1.0\r\nHost: {where.netloc}\r\n\r\n".encode())
            return connection.recv(64).split(b" ", 2)[1:2] == [b"200"]
    except (OSError, ValueError):
        return False


def _ended_early(sandbox: Folder) -> NegativeAnswer:
    """Why the process ended, in its own words as far as it could write them."""
    lines = sandbox.log.read_text(errors="replace").strip().splitlines()
    hint = f"its log: {sandbox.log}"
    if errors := [number for number, line in enumerate(lines) if line.startswith("error: ")]:
        words = lines[errors[-1]].removeprefix("error: ")
        hints = [line.removeprefix("hint: ") for line in lines[errors[-1] :] if line.startswith("hint: ")]
        hint = "; ".join([*hints, hint])
    elif not lines and shutil.disk_usage(sandbox.path).free < _LEAST_FREE_BYTES:
        words = f"no space is left on the disk of {sandbox.path}"  # not even for the log
    else:
        words = lines[-1] if lines else "it wrote nothing to its log"
    return NegativeAnswer(f"sandbox {sandbox.name} ended while starting: {words}", hint=hint)
