"""Whole-process wall time of kaitoctl beside kubectl, interleaved in one run; medians and their ratio.

    python bench/startup.py [ROUNDS]

Ratios are what counts: machines are shared, and both sides see the same noise.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

BIN = str(Path(sys.executable).parent)
CREATE = ["create", "workspace", "x", "--preset", "falcon-7b", "--instance-type", "Standard_NC12s_v3"]
PAIRS = [
    ("--help", ["--help"], ["--help"], 1.5),
    (
        "create, offline",
        [*CREATE, "--dry-run=client", "-o", "yaml"],
        ["create", "deployment", "x", "--image=y", "--dry-run=client", "-o", "yaml"],
        3.0,
    ),
]


def wall_s(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return time.perf_counter() - started


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    programs = [shutil.which(name, path=BIN) for name in ("kaitoctl", "kubectl")]
    ours, theirs = (str(program) for program in programs)
    print(f"{'what':<18}{'kaitoctl':>10}{'kubectl':>10}{'ratio':>8}{'aim':>6}   ({rounds} rounds, medians)")
    for name, our_arguments, their_arguments, aim in PAIRS:
        samples = [
            (wall_s([ours, *our_arguments]), wall_s([theirs, *their_arguments])) for _ in range(rounds)
        ]
        mine, other = (statistics.median(side) for side in zip(*samples, strict=True))
        ratio = statistics.median(a / b for a, b in samples)
        print(f"{name:<18}{mine * 1000:>8.0f}ms{other * 1000:>8.0f}ms{ratio:>8.2f}{aim:>6.1f}")


if __name__ == "__main__":
    main()
