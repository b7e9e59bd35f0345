"""The sandbox: start to first answered request, and the whole main job; beside `python -c pass`.

python bench/sandbox.py [ROUNDS]
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

KAITOCTL = str(Path(sys.executable).parent / "kaitoctl")
MAIN_JOB = [
    *(KAITOCTL, "create", "workspace", "workspace-falcon-7b", "--preset", "falcon-7b"),
    *("--instance-type", "Standard_NC12s_v3", "--label", "apps=falcon-7b", "--sandbox"),
]


def wall_s(command: list[str], env: dict[str, str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True, env=env)
    return time.perf_counter() - started


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    ups, jobs, floors = [], [], []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            env = {**os.environ, "KAITOCTL_STATE_DIR": folder}
            floors.append(wall_s([sys.executable, "-c", "pass"], env))
            ups.append(wall_s([KAITOCTL, "sandbox", "up"], env))
            subprocess.run(
                [KAITOCTL, "sandbox", "down", "--delete"], check=True, env=env, capture_output=True
            )
            jobs.append(wall_s(MAIN_JOB, env))
            subprocess.run(
                [KAITOCTL, "sandbox", "down", "--delete"], check=True, env=env, capture_output=True
            )
    floor, up, job = (statistics.median(side) for side in (floors, ups, jobs))
    print(f"python -c pass                      {floor:6.3f} s   ({rounds} rounds, medians)")
    print(f"sandbox up, until it answers        {up:6.3f} s   {up / floor:5.1f}x   aim 1 s")
    print(f"main job, sandbox start included    {job:6.3f} s   {job / floor:5.1f}x   aim 15 s")


if __name__ == "__main__":
    main()
