"""Judging manifests beside a bare YAML loader and beside kubectl, interleaved in one run; medians and ratios.

    python -m bench validate [--rounds N]

Many: 200 Workspaces of about 3 KB in one file. Ours reads, judges and places them in this process; the
loader is `yaml.CSafeLoader` alone in this process; kubectl is `kubectl label --local` on the same file, a
process, so ours stands beside it once more as a process. One: cold processes on one document. Repository:
2,000 files of 2 KB in one folder, beside a process that does no more than load them with `yaml.CSafeLoader`.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from bench.figures import Figure, in_turn, of_pairs, wall_ms
from kaitoctl.kaito import validation
from kaitoctl.kube import documents

BIN = str(Path(sys.executable).parent)
COUNT = 200
FILES = 2000
_LOAD = """
import pathlib, sys, yaml
for file in pathlib.Path(sys.argv[1]).iterdir():
    list(yaml.load_all(file.read_text(), yaml.CSafeLoader))
"""


def workspace(number: int, adapters_of: int = 9) -> str:
    """About 3 KB, as people write them: comments, labels, nine adapters."""
    adapters = "".join(
        f"""    # adapter {index}, trained by the research team on their own data
    - source:
        name: adapter-{index}
        image: registry.example/research/adapters/falcon-7b-{index}:v1.{index}
        imagePullSecrets:
          - research-registry
      strength: "0.{index}"
"""
        for index in range(1, adapters_of + 1)
    )
    return f"""apiVersion: kaito.sh/v1alpha1
kind: Workspace
metadata:
  name: workspace-{number}
  namespace: models
  labels:
    team: research
    cost-centre: "1234"
  annotations:
    kaito.sh/runtime: transformers
    example.com/description: A model for the research team, served with nine adapters of theirs
resource:
  count: 1
  instanceType: Standard_NC24ads_A100_v4
  labelSelector:
    matchLabels:
      apps: falcon-7b
      pool: gpu-a100
inference:
  preset:
    name: falcon-7b
  adapters:
{adapters}"""


def judged(text: str) -> int:
    """How many documents are good: all of them, or the figures mean nothing."""
    return sum(not validation.judge(document.obj) for document in documents.read(text, "bench"))


def loaded(text: str) -> int:
    """The limit: what the documents cost to parse."""
    return len(list(yaml.load_all(text, yaml.CSafeLoader)))


def documents_of(count: int) -> str:
    return "---\n".join(workspace(number) for number in range(count))


def figures(rounds: int = 9) -> list[Figure]:
    text = documents_of(COUNT)
    assert judged(text) == COUNT
    kaitoctl, kubectl = (str(shutil.which(name, path=BIN)) for name in ("kaitoctl", "kubectl"))
    with tempfile.TemporaryDirectory() as folder:
        many, one = (str(Path(folder, name)) for name in ("many.yaml", "one.yaml"))
        Path(many).write_text(text)
        Path(one).write_text(workspace(0))
        repository = Path(folder, "repository")
        repository.mkdir()
        for number in range(FILES):
            (repository / f"{number}.yaml").write_text(workspace(number, 5))
        local = ("label", "--local", "-o", "name", "a=b", "-f")
        taken = in_turn(
            rounds,
            {
                "ours": lambda: milliseconds(lambda: judged(text)),
                "loader": lambda: milliseconds(lambda: loaded(text)),
                "validate": lambda: wall_ms([kaitoctl, "validate", "-f", many]),
                "kubectl label": lambda: wall_ms([kubectl, *local, many]),
                "validate one": lambda: wall_ms([kaitoctl, "validate", "-f", one]),
                "kubectl label one": lambda: wall_ms([kubectl, *local, one]),
            },
        )
        taken |= in_turn(
            3,
            {
                "validate files": lambda: wall_ms([kaitoctl, "validate", "-f", str(repository)]),
                "CSafeLoader": lambda: wall_ms([sys.executable, "-c", _LOAD, str(repository)]),
            },
        )

    def beside(what: str, side: str, peer: str, aim: str) -> Figure:
        return of_pairs("validate", what, list(zip(taken[side], taken[peer], strict=True)), peer, aim)

    return [
        beside(f"{COUNT} documents, in this process", "ours", "loader", "<= 1.3"),
        beside(f"{COUNT} documents, a process", "validate", "kubectl label", "<= 1.2"),
        beside("one document, a process", "validate one", "kubectl label one", "<= 2.0"),
        beside(f"a repository of {FILES} files", "validate files", "CSafeLoader", "<= 1.2"),
    ]


def milliseconds(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) * 1000
