"""A main container that is a process of this machine: its log, its port, its probes, its end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from msgspec.structs import replace

from kaitoctl.kube.objects import Object, dig
from kaitoctl.sandbox.real import memory
from kaitoctl.sandbox.real.container_process import Life
from kaitoctl.sandbox.workloads.container_life import Stretch

NICE = 5
"""How far a server stands back for what else runs on this machine, as `nice` counts it."""

_SERVES = re.compile(rb"Serving on http://127\.0\.0\.1:(\d{1,5})")
_LONGEST_LOG = 10 << 20  # the kubelet's containerLogMaxSize
_LONGEST_LINE = 1 << 20
_STOP_S = 4.0
_LEAST_TIMEOUT_S = 5.0
_OFTEN_S = 0.1
# What a server of ours needs of the environment; tokens and keys of the user's are none of it.
_ENVIRONMENT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "PYTHONPATH", "VIRTUAL_ENV", "LD_LIBRARY_PATH")


@dataclass(kw_only=True)
class Serving(Life):
    """Runs a server again and again.

    Args:
        command: the arguments of the process.
        log: the file of its output; the run before is kept beside it.
        seen_as: what the output is to say in place of a folder of this machine: the folder, its place.
        port: on which it serves now; None while it does not.
    """

    command: Sequence[str]
    log: Path
    seen_as: tuple[Path, str]
    port: int | None = None

    async def once(self) -> tuple[int, str]:
        """Run the server until it ends or a probe kills it."""
        if self.log.exists():
            self.log.replace(self.log.with_suffix(".previous"))
        self.port = None
        before, now = self.stretch, self.setting.now_s()
        try:
            process = await _start(self.command)
        except OSError as error:
            self.setting.news.append(("Failed", f"Error: {error.strerror or error}", True))
            return 128, "StartError"
        waits_for = "startupProbe", "readinessProbe"
        running = Stretch(now, "running", began=now, restarts=before.restarts, last=before.last)
        self.show(
            replace(
                running,
                started=not self.container.get(waits_for[0]),
                ready=not any(map(self.container.get, waits_for)),
            )
        )
        try:
            reading = asyncio.create_task(self._read(process))
            probing = asyncio.create_task(self._probe())
            ended = asyncio.create_task(process.wait())
            filling = asyncio.create_task(memory.until_exceeded(process.pid, memory.limit_of(self.container)))
            try:
                await asyncio.wait({probing, ended, filling}, return_when=asyncio.FIRST_COMPLETED)
                if filling.done() and not ended.done():
                    filling.result()
                    process.kill()
                    await ended
                    return 137, "OOMKilled"
                if probing.done() and (failed := probing.result()):
                    self.setting.news += [
                        ("Unhealthy", f"{failed.capitalize()} probe failed: no answer of 127.0.0.1", True),
                        (
                            "Killing",
                            f"Container {self.container['name']} failed {failed} probe, will be restarted",
                            False,
                        ),
                    ]
                    await _end(process)
                    return 137, "Error"
                code = await ended
                await asyncio.wait({reading}, timeout=_STOP_S)
            finally:
                for task in (reading, probing, ended, filling):
                    task.cancel()
                await asyncio.gather(reading, probing, ended, filling, return_exceptions=True)
        finally:
            self.port = None
            await _end(process)
        return (128 - code if code < 0 else code), "Completed" if code == 0 else "Error"

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        folder, place = (str(item).encode() for item in self.seen_as)
        written = 0
        with _log_file(self.log) as file:
            while True:
                try:
                    line = await process.stdout.readline()
                except ValueError:  # longer than any line should be
                    continue
                if not line:
                    return
                if written + len(line) > _LONGEST_LOG:
                    with contextlib.suppress(OSError):
                        file.truncate(0)
                        file.seek(0)
                    written = 0
                written += len(line)
                with contextlib.suppress(OSError):  # a full disk costs lines, and no model server
                    file.write(line.replace(folder, place))
                if self.port is None and (found := _SERVES.fullmatch(line.strip())):
                    self.port = int(found[1])

    # --- probes ---

    async def _probe(self) -> str:
        """Probe until one has failed for good; returns which."""
        startup, ready = self.container.get("startupProbe"), self.container.get("readinessProbe")
        if startup:
            if not await self._passes(startup):
                return "startup"
            self.show(replace(self.stretch, started=True, ready=not ready))
        readiness = asyncio.create_task(self._stay_ready(ready)) if ready else None
        try:
            alive = self.container.get("livenessProbe")
            if not alive:
                await asyncio.Event().wait()
                raise AssertionError
            # While it loads, it may not answer for as long as the probe's delay and threshold allow.
            if await self._passes(alive):
                await self._fails(alive)
            return "liveness"
        finally:
            if readiness is not None:
                readiness.cancel()

    async def _passes(self, probe: Object) -> bool:
        """Ask until the answer is good; False after as long as the probe allows, in real time."""
        loop = asyncio.get_running_loop()
        most_s = float(probe.get("initialDelaySeconds") or 0) + _period(probe) * _threshold(probe)
        end = loop.time() + most_s
        while not await self._answers(probe):
            if loop.time() > end:
                return False
            await asyncio.sleep(max(_OFTEN_S, self.setting.clock.wall_s(_period(probe))))
        return True

    async def _fails(self, probe: Object) -> None:
        """Ask until it has failed so often in a row that it counts."""
        failures = 0
        while failures < _threshold(probe):
            await asyncio.sleep(_period(probe))
            failures = 0 if await self._answers(probe) else failures + 1

    async def _stay_ready(self, probe: Object) -> None:
        await self.setting.wait(float(probe.get("initialDelaySeconds") or 0))
        while True:
            if not await self._answers(probe):
                await asyncio.sleep(max(_OFTEN_S, self.setting.clock.wall_s(_period(probe))))
                continue
            self.show(replace(self.stretch, ready=True))
            await self._fails(probe)
            self.show(replace(self.stretch, ready=False))

    async def _answers(self, probe: Object) -> bool:
        if self.port is None:
            return False
        path = str(dig(probe, "httpGet", "path") or "/")
        timeout_s = max(_LEAST_TIMEOUT_S, float(probe.get("timeoutSeconds") or 1))
        return await _is_good(self.port, path, timeout_s)


def _log_file(path: Path) -> BinaryIO:
    """A new log, readable by its owner alone; on a disk that takes none, one that is thrown away."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    except OSError:
        handle = os.open(os.devnull, os.O_WRONLY)
    return cast("BinaryIO", os.fdopen(handle, "wb", buffering=0))


def _period(probe: Object) -> float:
    return float(probe.get("periodSeconds") or 10)


def _threshold(probe: Object) -> int:
    return int(probe.get("failureThreshold") or 3)


async def _is_good(port: int, path: str, timeout_s: float) -> bool:
    """Whether a GET is answered with 200 to 399, as the kubelet sees it."""
    if not path.startswith("/") or not path.isascii() or any(sign.isspace() for sign in path):
        return False
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                asked = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n"
                writer.write(asked.encode())
                status = (await reader.readline()).split(b" ")
            finally:
                writer.close()
    except (OSError, ValueError, TimeoutError):
        return False
    return len(status) > 1 and (status[1].isascii() and status[1].isdigit()) and 200 <= int(status[1]) < 400


# --- the process ---


async def _start(command: Sequence[str]) -> asyncio.subprocess.Process:
    """A process with a clean environment that ends when this one does: its standard input ends then."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        limit=_LONGEST_LINE,
        start_new_session=True,
        cwd="/",
        env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
    )
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, process.pid, NICE)
    return process


async def _end(process: asyncio.subprocess.Process) -> None:
    """End a process: politely, then not."""
    if process.returncode is not None:
        return
    for end in (process.terminate, process.kill):
        with contextlib.suppress(ProcessLookupError):
            end()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), _STOP_S)
            return
