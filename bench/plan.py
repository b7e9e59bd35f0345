"""Planning many Workspaces against many nodes, beside validating them and listing the nodes once.

    python -m bench plan [--rounds N]

The API server is the sandbox's, without controllers, in a process of its own: what counts is the processor
time of the commands. Documents are those of the part `validate`, each with nodes of its own to be bought.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from pathlib import Path

from bench import api_server, validate
from bench.figures import Figure, in_turn, of_pairs
from bench.nodes import BIN, measured

DOCUMENTS, NODES = 500, 1000


def documents() -> str:
    """Those of `validate`, without pull secrets, and in a namespace that there is."""
    secrets = re.compile(r" +imagePullSecrets:\n +- research-registry\n")
    return secrets.sub("", validate.documents_of(DOCUMENTS)).replace(
        "namespace: models", "namespace: default"
    )


def figures(rounds: int = 3) -> list[Figure]:
    with tempfile.TemporaryDirectory() as folder, api_server.running() as server:
        server.ask("nodes", NODES)
        config, file = Path(folder, "config"), Path(folder, "many.yaml")
        config.touch(mode=0o600)
        config.write_text(json.dumps(server.kubeconfig()))
        file.write_text(documents())
        env = {**os.environ, "KUBECONFIG": str(config), "HOME": folder}

        def took(*words: str) -> float:
            return measured([str(BIN / "kaitoctl"), *words], env).cpu_s * 1000

        taken = in_turn(
            rounds,
            {
                "plan": lambda: took("plan", "-f", str(file)),
                "validate": lambda: took("validate", "-f", str(file)),
                "nodes": lambda: took("nodes"),
            },
        )
    limit = [one + other for one, other in zip(taken["validate"], taken["nodes"], strict=True)]
    pairs = list(zip(taken["plan"], limit, strict=True))
    what = f"{DOCUMENTS} Workspaces planned against {NODES} nodes"
    return [of_pairs("plan", what, pairs, "validate and a node list", "<= 2.0")]
