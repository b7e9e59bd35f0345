"""How much main memory a process takes, held against the limit of its container."""

from __future__ import annotations

import asyncio
import os
import platform
from pathlib import Path

from kaitoctl.kube.objects import Object, dig, quantity

_LOOK_S = 0.5
_PS_TIMEOUT_S = 10.0


def limit_of(container: Object) -> int:
    """The bytes of `resources.limits.memory`; 0 for no limit."""
    written = dig(container, "resources", "limits", "memory")
    try:
        return int(quantity(written)) if written is not None else 0
    except (ValueError, ArithmeticError):  # the API server admits none of these
        return 0


async def until_exceeded(pid: int, limit: int) -> None:
    """Wait until a process holds more than its limit; for ever when there is none."""
    if not limit:
        await asyncio.Event().wait()
    while True:
        held = _of_linux(pid) if platform.system() == "Linux" else await _of_ps(pid)
        if held > limit:
            return
        await asyncio.sleep(_LOOK_S)


def _of_linux(pid: int) -> int:
    """Bytes in main memory, mapped files included, as a cgroup counts them; 0 when the process is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


async def _of_ps(pid: int) -> int:
    """The same where there is no /proc."""
    asked = await asyncio.create_subprocess_exec(
        *("/bin/ps", "-o", "rss=", "-p", str(pid)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    said, _ = await asyncio.wait_for(asked.communicate(), _PS_TIMEOUT_S)
    return int(said) * 1024 if said.isascii() and said.strip().isdigit() else 0
