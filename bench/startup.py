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

from bench import api_server
from bench.figures import Figure, in_turn, of_pairs, wall_ms

BIN = Path(sys.executable).parent
ROUNDS = 15
CREATE = ["create", "workspace", "x", "--preset", "falcon-7b", "--instance-type", "Standard_NC12s_v3"]
DRY_RUN = ["--dry-run=client", "-o", "yaml"]
COMPLETE = {"_KAITOCTL_COMPLETE": "complete_bash", "COMP_WORDS": "kaitoctl check-nodes --", "COMP_CWORD": "2"}


def figures(rounds: int = ROUNDS) -> list[Figure]:
    kaitoctl, kubectl = str(BIN / "kaitoctl"), str(BIN / "kubectl")
    with api_server.running() as server, tempfile.TemporaryDirectory() as home:
        server.ask("nodes", 10)
        server.ask("create", 0, 10)
        config = Path(home) / "config"
        config.write_text(json.dumps(server.kubeconfig()))
        env = {**os.environ, "HOME": home, "KUBECONFIG": str(config)}
        sides = {
            "kubectl version": [kubectl, "version", "--client"],
            "--version": [kaitoctl, "--version"],
            "--help": [kaitoctl, "--help"],
            "completion": [kaitoctl],
            "kubectl create": [kubectl, "create", "deployment", "x", "--image=y", *DRY_RUN],
            "create": [kaitoctl, *CREATE, *DRY_RUN],
            "kubectl get": [kubectl, "get", "nodes"],
            "nodes": [kaitoctl, "nodes"],
            "status": [kaitoctl, "status", "ws-00001"],
            "check-nodes": [kaitoctl, "check-nodes", "--preset", "falcon-7b", "--label", "apps=ws-00001"],
        }
        envs = {"completion": {**env, **COMPLETE}}
        for name, command in sides.items():
            wall_ms(command, envs.get(name, env))  # caches get warm
        taken = in_turn(
            rounds,
            {name: lambda n=name, c=command: wall_ms(c, envs.get(n, env)) for name, command in sides.items()},  # type: ignore[misc]
        )

    def beside(what: str, side: str, peer: str, aim: str) -> Figure:
        return of_pairs("startup", what, list(zip(taken[side], taken[peer], strict=True)), peer, aim)

    return [
        beside("--version", "--version", "kubectl version", "<= 1.0"),
        beside("completion of an option", "completion", "kubectl version", "<= 1.0"),
        beside("--help", "--help", "kubectl version", "<= 1.5"),
        beside("create workspace --dry-run=client", "create", "kubectl create", "<= 2.5"),
        beside("nodes", "nodes", "kubectl get", "<= 3.0"),
        beside("status", "status", "kubectl get", "<= 3.0"),
        beside("check-nodes", "check-nodes", "kubectl get", "<= 3.0"),
    ]
