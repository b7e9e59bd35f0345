"""The whole test suite, once, as `.ci/run` runs it: how long, and how much of it is work.

    python -m bench suite

Warm: the environment and the control plane are there. What a test writes goes to this part's own output, so
that a failure can be read; a suite that fails has no figure.
"""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from bench.figures import Figure, of_values

ROOT = Path(__file__).resolve().parent.parent


def figures() -> list[Figure]:
    began, before = time.perf_counter(), _processor_s()
    command = [sys.executable, str(ROOT / "dev.py"), "test", "tests"]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env={**os.environ, "CI": "true"}
    ) as run:
        assert run.stdout is not None
        passed = [number for line in _shown(run.stdout) for number in re.findall(r"(\d+) passed", line)]
    taken_s, work_s = time.perf_counter() - began, _processor_s() - before
    if run.returncode or not passed:
        raise RuntimeError("the suite has failed")
    tests = int(passed[-1])
    return [
        of_values(
            "suite", "the whole suite", [taken_s / 60], unit="min", aim="<= 7", beside=f"{tests} tests"
        ),
        of_values("suite", "processor time of a test", [work_s * 1000 / tests], unit="ms"),
    ]


def _shown(lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        sys.stdout.write(line)
        sys.stdout.flush()
        yield line


def _processor_s() -> float:
    """Of all children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
