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
from collections.abc import Collection
from functools import partial
from pathlib import Path
from typing import Any

from bench import api_server
from bench.figures import Figure, in_turn, of_pairs, of_values, wall_ms

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


TERMINAL = {"FORCE_COLOR": "1", "COLUMNS": "80"}
"""Draws as on a terminal, rich included."""
DRAWN = {
    "status NAME, drawn": ["status", "ws-00001"],
    "why NAME, drawn": ["why", "ws-00001"],
}
"""What is compared with `kubectl describe`."""
LIVE = {"_KAITOCTL_COMPLETE": "complete_bash", "COMP_WORDS": "kaitoctl why ", "COMP_CWORD": "2"}


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
        drawing = drawn(rounds, env)
        completing = live_names(rounds, env)

    def beside(what: str, side: str, peer: str, aim: str) -> Figure:
        return of_pairs("startup", what, list(zip(taken[side], taken[peer], strict=True)), peer, aim)

    return [
        beside("--version", "--version", "kubectl version", "<= 1.0"),
        beside("completion of an option", "completion", "kubectl version", "<= 1.0"),
        beside("--help", "--help", "kubectl version", "<= 1.5"),
        beside("create workspace --dry-run=client", "create", "kubectl create", "<= 2.5"),
        *reading,
        *drawing,
        *completing,
    ]


def drawn(rounds: int, env: dict[str, str]) -> list[Figure]:
    """What people look at, drawn by rich, beside `kubectl describe`."""
    peer = "kubectl describe"
    sides = {peer: [str(BIN / "kubectl"), "describe", "workspace", "ws-00001"]}
    sides |= {name: [str(BIN / "kaitoctl"), *words] for name, words in DRAWN.items()}
    envs = {name: {**env, **TERMINAL} for name in DRAWN}
    taken = timed(sides, rounds, env, envs, codes=(0, 1))  # why: it does not serve
    return [
        of_pairs("startup", name, list(zip(taken[name], taken[peer], strict=True)), peer, "<= 3.5")
        for name in DRAWN
    ]


def live_names(rounds: int, env: dict[str, str]) -> list[Figure]:
    """Completion of a Workspace's name: asked of the cluster, and from the names kept for some seconds."""
    asked, kept = {**env, **LIVE, "XDG_CACHE_HOME": os.devnull}, {**env, **LIVE}
    sides = {"completion of a live name, asked": asked, "completion of a live name, kept": kept}
    command = [str(BIN / "kaitoctl")]
    taken = timed(dict.fromkeys(sides, command), rounds, env, sides)
    return [of_values("startup", name, taken[name], unit="ms", aim="<= 150") for name in sides]


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
    sides: dict[str, list[str]],
    rounds: int,
    env: dict[str, str],
    envs: dict[str, dict[str, str]],
    codes: Collection[int] = (0,),
) -> dict[str, list[float]]:
    """Milliseconds of each run, which ends with one of `codes`; `envs` are the environments that differ."""

    def took_ms(name: str) -> float:
        return wall_ms(sides[name], envs.get(name, env), codes)

    for name in sides:
        took_ms(name)  # caches get warm
    return in_turn(rounds, {name: partial(took_ms, name) for name in sides})
