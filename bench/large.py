"""One controller with 50,000 Workspaces and 100,000 pods: it converges, in what memory, and how it relists.

    python -m bench large [--workspaces N]

The API server is the sandbox's, in a process of its own, without other controllers: the pods are made by the
benchmark, two for each Workspace, and the controller is told of each of them. A fifth of it all comes first;
what each further Workspace takes is held against what those took.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from bench import api_server, controller
from bench.figures import Figure, of_pairs, of_values

WAIT_S = 3600
Taken = dict[str, float]


def figures(count: int = 50_000) -> list[Figure]:
    with api_server.running() as server, tempfile.TemporaryDirectory() as name:
        server.ask("nodes", count + controller.CHANGED)
        with controller.started("kaitoctl", server, Path(name), Path()) as process:
            first = grown(server, process, 0, count // 5)
            rest = grown(server, process, count // 5, count - count // 5)
            steady = process.memory_kib("VmRSS")
            process.forget_peak()
            server.ask("forget", count, controller.CHANGED)
            controller.until(
                lambda: server.ask("progress")[0] == controller.CHANGED, "what the relist finds", WAIT_S
            )
            process.settle(2)
            peak, writes = process.memory_kib("VmHWM"), server.ask("seen").written
    what = f"{count} Workspaces, {2 * count} pods"

    def alone(name: str, value: float, unit: str, aim: str = "") -> Figure:
        return of_values("large", f"{what}: {name}", [value], unit=unit, aim=aim)

    def beside_first(name: str, key: str, unit: str, aim: str) -> Figure:
        pairs = [(rest[key], first[key])]
        return of_pairs("large", f"{what}: {name}", pairs, f"the first {count // 5}", aim, unit=unit)

    return [
        alone("memory", steady / 1024, "MiB", "<= 600"),
        beside_first("memory for one more", "kib", "KiB", "<= 1.2"),
        beside_first("CPU for one more", "cpu_ms", "ms", "<= 1.2"),
        alone("writes for a Workspace", rest["writes"], "", "= 5"),
        alone("relist after 410, of the steady memory", peak / steady, "x", "<= 2"),
        alone("writes for a change that a relist finds", writes / controller.CHANGED, "", "= 5"),
    ]


def grown(server: api_server.Server, process: controller.Process, first: int, count: int) -> Taken:
    """So many Workspaces more, with their pods; what each has taken."""
    server.ask("seen")
    cpu_s, memory = process.cpu_s, process.memory_kib("VmRSS")
    server.ask("create", first, count)
    controller.until(lambda: server.ask("progress")[0] == count, "convergence", WAIT_S)
    process.settle(2)
    server.ask("pods", first, count)
    process.settle(2)
    seen = server.ask("seen")
    assert not seen.refused, seen.refused[:3]
    return {
        "kib": (process.memory_kib("VmRSS") - memory) / count,
        "cpu_ms": (process.cpu_s - cpu_s) * 1000 / count,
        "writes": seen.written / count,
    }
