"""The Workspace controller beside a bare pipelined client and beside a kopf operator, for the same writes.

    python -m bench controller [--rounds N] [--workspaces N]
    python -m bench.controller [--workspaces N] [--rounds N] [--only SIDE]     every measurement, in a table

Three programs in turn, each on a fresh API server (the sandbox's, a process of its own):

    kaitoctl    `kaitoctl run-controller`
    bare        the limit: raw asyncio, pipelined, decides nothing (peers/bare.py)
    kopf        an operator with one handler (peers/kopf_operator.py), from a venv of its own

All of them make, for each Workspace, the writes that kaitoctl was seen to make for one. N Workspaces appear
at once, each beside a node of its own. Measured are: the time until each has its status; CPU and memory of
the program (/proc); writes per Workspace, counted at the server; from a Workspace's creation to the arrival
of the first write for it, at the server, while Workspaces come one at a time; and what is asked for at rest.
Ratios count: machines are shared. Medians over the rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlencode

from bench import api_server
from bench.figures import Figure, of_pairs, of_values

ROOT = Path(__file__).resolve().parent.parent
PEERS = Path(__file__).resolve().parent / "peers"
VENV = Path(os.environ.get("KAITOCTL_BENCH_VENV") or ROOT / ".venv-bench")
SIDES = ("kaitoctl", "bare", "kopf")
TRICKLE, PAUSE_S, REST_S = 100, 0.02, 10.0
WARM_UP = 50
"""A burst before the one that is measured: connections and buffers that it opens belong to no Workspace."""
CHANGED = 10
"""So many Workspaces are created while nobody watches, before the relist that must find them."""
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


class Server(Protocol):
    """What a measurement asks of a server: `api_server.Server`, or `real.Server`."""

    can_forget: bool

    def ask(self, *words: Any) -> Any: ...

    def kubeconfig(self) -> dict[str, Any]: ...


Serving = Callable[[], AbstractContextManager[Server]]
Runs = dict[str, list[dict[str, float]]]
"""By program, what `measured` found in each round."""


def python_with_kopf() -> str:
    """A Python that has kopf, in a venv that is made when it is not there."""
    python = VENV / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", "kopf", "uvloop"], check=True)
    return str(python)


def kopf_version() -> str:
    """Which kopf the venv has; empty when there is none."""
    found = sorted(VENV.glob("lib/*/site-packages/kopf-*.dist-info"))
    return found[-1].name.removeprefix("kopf-").removesuffix(".dist-info") if found else ""


class Process:
    """What /proc says of a program."""

    def __init__(self, pid: int) -> None:
        self.folder = Path(f"/proc/{pid}")

    @property
    def cpu_s(self) -> float:
        fields = (self.folder / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) * _TICK_S

    def memory_kib(self, field: str) -> int:
        for line in (self.folder / "status").read_text().splitlines():
            if line.startswith(field):
                return int(line.split()[1])
        raise KeyError(field)

    def forget_peak(self) -> None:
        (self.folder / "clear_refs").write_text("5")

    def settle(self, still_s: float = 0.5) -> None:
        """Wait until it has used no CPU to speak of for a while."""
        before = self.cpu_s
        while True:
            time.sleep(still_s)
            now = self.cpu_s
            if now - before <= still_s * 0.04:
                return
            before = now


@contextmanager
def started(side: str, server: Server, folder: Path, writes: Path) -> Iterator[Process]:
    """The program, watching."""
    config = folder / "kubeconfig"
    config.touch(mode=0o600)
    config.write_text(json.dumps(server.kubeconfig()))
    commands = {
        "kaitoctl": [
            *(str(Path(sys.executable).parent / "kaitoctl"), "run-controller", "--kubeconfig", str(config)),
            *("--no-leader-elect", "--metrics-address", "0"),
        ],
        "bare": [sys.executable, str(PEERS / "bare.py"), str(config), str(writes)],
        "kopf": [python_with_kopf(), str(PEERS / "kopf_operator.py"), str(config), str(writes)],
    }
    with (folder / f"{side}.log").open("w") as log:
        program = subprocess.Popen(commands[side], stdout=log, stderr=log)
        try:
            time.sleep(1.0)
            process = Process(program.pid)
            process.settle()
            yield process
        finally:
            program.terminate()
            program.wait(20)


def until(condition: Any, what: str, timeout_s: float) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(what)
        time.sleep(0.02)


def recorded(folder: Path) -> list[list[dict[str, str]]]:
    """The writes that kaitoctl makes for one Workspace: those before its status, then the others."""
    with api_server.running() as server:
        server.ask("nodes", 1)
        with started("kaitoctl", server, folder, Path()) as process:
            server.ask("record", True)
            server.ask("create", 0, 1)
            until(lambda: server.ask("progress")[0] == 1, "the first status", 20)
            process.settle()
            seen = server.ask("seen")
    rounds: list[list[dict[str, str]]] = [[], []]
    bodies = [json.loads(body) for *_, body in seen.writes]
    references = [item for body in bodies for item in body["metadata"].get("ownerReferences") or ()]
    uid = references[0]["uid"]
    for method, path, query, content_type, body in seen.writes:
        target = path.replace("ws-00000", "NAME") + ("?" + urlencode(query) if query else "")
        text = body.decode().replace("ws-00000", "NAME").replace(uid, "UID")
        asked = {"method": method, "target": target, "content_type": content_type, "body": text}
        rounds[bool(rounds[1]) or path.endswith("/status")].append(asked)
    return rounds


def measured(side: str, count: int, folder: Path, writes: Path, serving: Serving) -> dict[str, float]:
    """One run of one program on a server of its own."""
    with serving() as server:
        server.ask("nodes", count + TRICKLE + WARM_UP + CHANGED)
        with started(side, server, folder, writes) as process:
            server.ask("seen")
            server.ask("trickle", count, TRICKLE, PAUSE_S)
            try:
                until(lambda: server.ask("progress")[0] == TRICKLE, "the trickle", 20)
            except TimeoutError:
                print(server.ask("seen").refused[:3], file=sys.stderr)
                raise
            process.settle()
            seen = server.ask("seen")
            waits = sorted((seen.first_child[name] - seen.created[name]) * 1000 for name in seen.created)
            server.ask("create", count + TRICKLE, WARM_UP)
            until(lambda: server.ask("progress")[0] == WARM_UP, "the warm-up", 60)
            process.settle()
            server.ask("seen")
            cpu_s, memory = process.cpu_s, process.memory_kib("VmRSS")
            server_s = server.ask("cpu")
            began = time.perf_counter()
            server.ask("create", 0, count)
            created = time.perf_counter()
            until(lambda: server.ask("progress")[0] >= count, "convergence", 60 + count * 0.2)
            seen_last = server.ask("progress")
            process.settle()
            seen = server.ask("seen")
            assert seen_last[0] == count
            last = max(seen.status.values())
            wrote = seen.written
            result = {
                "converged_s": last - began,
                "created_s": created - began,
                "cpu_ms_per_workspace": (process.cpu_s - cpu_s) * 1000 / count,
                "server_cpu_ms_per_workspace": (server.ask("cpu") - server_s) * 1000 / count,
                "writes_per_workspace": wrote / count,
                "reads_per_workspace": (sum(seen.requests.values()) - wrote) / count,
                "refused": len(seen.refused),
                "event_to_child_p50_ms": statistics.median(waits),
                "event_to_child_p95_ms": waits[int(len(waits) * 0.95)],
                "kib_per_workspace": (process.memory_kib("VmRSS") - memory) / count,
                "steady_mib": process.memory_kib("VmRSS") / 1024,
                "peak_mib": process.memory_kib("VmHWM") / 1024,
            }
            assert not seen.refused, seen.refused[:3]
            if side == "kaitoctl":
                cpu_s = process.cpu_s
                time.sleep(REST_S)
                rest = server.ask("seen")
                result["requests_at_rest"] = sum(rest.requests.values())
                result["cpu_percent_at_rest"] = (process.cpu_s - cpu_s) / REST_S * 100
            if side == "kaitoctl" and server.can_forget:
                process.forget_peak()
                server.ask("forget", count + TRICKLE + WARM_UP, CHANGED)
                until(lambda: server.ask("progress")[0] == CHANGED, "the changes", 60)
                process.settle()
                result["relist_peak_ratio"] = process.memory_kib("VmHWM") / 1024 / result["steady_mib"]
                result["writes_per_change_after_relist"] = server.ask("seen").written / CHANGED
    return result


def table(runs: Runs) -> str:
    names = list(runs)
    rows = dict.fromkeys(key for side in names for run in runs[side] for key in run)
    lines = [f"{'':<30}" + "".join(f"{name:>12}" for name in names)]
    for row in rows:
        cells = []
        for name in names:
            values = [run[row] for run in runs[name] if row in run]
            cells.append(f"{statistics.median(values):>12.2f}" if values else f"{'':>12}")
        lines.append(f"{row:<30}" + "".join(cells))
    return "\n".join(lines)


def runs_of(sides: Sequence[str], rounds: int, count: int, serving: Serving = api_server.running) -> Runs:
    """Every program once, then every program again."""
    runs: Runs = {side: [] for side in sides}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        writes = folder / "writes.json"
        writes.write_text(json.dumps(recorded(folder)))
        for _ in range(rounds):
            for side in runs:
                try:
                    runs[side].append(measured(side, count, folder, writes, serving))
                except BaseException:
                    print((folder / f"{side}.log").read_text()[-3000:], file=sys.stderr)
                    raise
    return runs


def figures(rounds: int = 3, count: int = 1000) -> list[Figure]:
    runs = runs_of(SIDES, rounds, count)

    def alone(name: str, what: str, unit: str, aim: str) -> Figure:
        return of_values("controller", name, [run[what] for run in runs["kaitoctl"]], unit=unit, aim=aim)

    return [
        *beside_peers("controller", runs, count),
        alone("requests in 10 s at rest", "requests_at_rest", "", "= 0"),
        alone("CPU at rest", "cpu_percent_at_rest", "%", "<= 0.5"),
        alone("peak of a relist after 410, of the steady memory", "relist_peak_ratio", "x", "<= 2"),
        alone("writes for a change that a relist finds", "writes_per_change_after_relist", "", "= 5"),
    ]


def beside_peers(part: str, runs: Runs, count: int) -> list[Figure]:
    """What can be said of all three programs."""

    def column(side: str, what: str) -> list[float]:
        return [run[what] for run in runs[side]]

    def ratio(name: str, what: str, peer: str, aim: str, unit: str, per: float = 0.0) -> Figure:
        """Of the values, or of `per` divided by them."""
        ours, theirs = (
            [per / value if per else value for value in column(side, what)] for side in ("kaitoctl", peer)
        )
        return of_pairs(part, name, list(zip(ours, theirs, strict=True)), peer, aim, unit=unit)

    def own(name: str, what: str, unit: str, aim: str = "") -> Figure:
        others = ", ".join(f"{peer} {statistics.median(column(peer, what)):.3g}" for peer in SIDES[1:])
        return of_values(part, name, column("kaitoctl", what), unit=unit, aim=aim, beside=others)

    cpu, wait = "cpu_ms_per_workspace", "event_to_child_p50_ms"
    return [
        ratio("Workspaces a second, beside bare", "converged_s", "bare", ">= 0.7", "/s", count),
        ratio("Workspaces a second, beside kopf", "converged_s", "kopf", ">= 4", "/s", count),
        ratio("Workspaces a second of its own CPU, beside kopf", cpu, "kopf", ">= 4", "/s", 1000),
        own("CPU for a Workspace", cpu, "ms", "<= 1.0"),
        own("the API server's CPU for a Workspace", "server_cpu_ms_per_workspace", "ms"),
        own("writes for a Workspace", "writes_per_workspace", "", "= 5"),
        own("reads for a Workspace", "reads_per_workspace", "", "= 0"),
        own("memory for a Workspace", "kib_per_workspace", "KiB", "<= 10"),
        ratio("event to first write, median, beside bare", wait, "bare", "<= 1.5", "ms"),
        own("event to first write, 95 of 100", "event_to_child_p95_ms", "ms"),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--workspaces", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=SIDES, action="append")
    chosen = parser.parse_args()
    print(table(runs_of(chosen.only or SIDES, chosen.rounds, chosen.workspaces)))


if __name__ == "__main__":
    main()
