"""Whole-process wall time of kaitoctl beside kubectl, interleaved in one run; medians of the ratios.

    python -m bench startup [--rounds N]

Commands that read do so from a sandbox API server of their own, without TLS; kubectl's discovery is cached
by the first round, as it is in daily use.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench import api_server
from bench.figures import Figure, in_turn, of_pairs, wall_ms

BIN = Path(sys.executable).parent
ROUNDS = 15
CREATE = ["create", "workspace", "x", "--preset", "falcon-7b", "--instance-type", "Standard_NC12s_v3"]
DRY_RUN = ["--dry-run=client", "-o", "yaml"]
COMPLETE = {"_KAITOCTL_COMPLETE": "complete_bash", "COMP_WORDS": "kaitoctl check-nodes --", "COMP_CWORD": "2"}


READS = {
    "nodes": ["nodes"],
    "status": ["status", "ws-00001"],
    "status -A": ["status", "-A"],
    "check-nodes": ["check-nodes", "--preset", "falcon-7b", "--label", "apps=ws-00001"],
}
"""What is compared with `kubectl get`, on a cluster of `bench.api_server`'s nodes and Workspaces."""


def figures(rounds: int = ROUNDS) -> list[Figure]:
    with api_server.running() as server, tempfile.TemporaryDirectory() as home:
        server.ask("nodes", 10)
        server.ask("create", 0, 10)
        env = environment(Path(home), server.kubeconfig())
        kaitoctl, kubectl = str(BIN / "kaitoctl"), str(BIN / "kubectl")
        sides = {
            "kubectl version": [kubectl, "version", "--client"],
            "--version": [kaitoctl, "--version"],
            "--help": [kaitoctl, "--help"],
            "completion": [kaitoctl],
            "kubectl create": [kubectl, "create", "deployment", "x", "--image=y", *DRY_RUN],
            "create": [kaitoctl, *CREATE, *DRY_RUN],
        }
        taken = timed(sides, rounds, env, {"completion": {**env, **COMPLETE}})
        reading = reads("startup", rounds, env)

    def beside(what: str, side: str, peer: str, aim: str) -> Figure:
        return of_pairs("startup", what, list(zip(taken[side], taken[peer], strict=True)), peer, aim)

    return [
        beside("--version", "--version", "kubectl version", "<= 1.0"),
        beside("completion of an option", "completion", "kubectl version", "<= 1.0"),
        beside("--help", "--help", "kubectl version", "<= 1.5"),
        beside("create workspace --dry-run=client", "create", "kubectl create", "<= 2.5"),
        *reading,
    ]


def reads(part: str, rounds: int, env: dict[str, str]) -> list[Figure]:
    """Commands that read, beside `kubectl get nodes`, on the cluster that the environment names."""
    peer = "kubectl get"
    sides = {peer: [str(BIN / "kubectl"), "get", "nodes"]}
    sides |= {name: [str(BIN / "kaitoctl"), *words] for name, words in READS.items()}
    taken = timed(sides, rounds, env, {})
    return [
        of_pairs(part, name, list(zip(taken[name], taken[peer], strict=True)), peer, "<= 3.0")
        for name in READS
    ]


def environment(home: Path, kubeconfig: dict[str, Any]) -> dict[str, str]:
    """One in which all commands find this cluster, and no settings of the developer's."""
    config = home / "config"
    config.touch(mode=0o600)
    config.write_text(json.dumps(kubeconfig))
    kept = {name: value for name, value in os.environ.items() if not name.startswith("KAITOCTL")}
    return {**kept, "HOME": str(home), "KUBECONFIG": str(config)}


def timed(
    sides: dict[str, list[str]], rounds: int, env: dict[str, str], envs: dict[str, dict[str, str]]
) -> dict[str, list[float]]:
    """Milliseconds of each run; `envs` are the environments that differ."""
    for name, command in sides.items():
        wall_ms(command, envs.get(name, env))  # caches get warm
    return in_turn(
        rounds,
        {name: lambda n=name, c=command: wall_ms(c, envs.get(n, env)) for name, command in sides.items()},  # type: ignore[misc]
    )
