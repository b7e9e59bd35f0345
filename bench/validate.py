"""Judging manifests beside a bare YAML loader and beside kubectl, interleaved in one run; medians and ratios.

    python bench/validate.py [ROUNDS]

Many: 200 Workspaces of about 3 KB in one file. Ours reads, judges and places them in this process; the
loader is `yaml.CSafeLoader` alone in this process; kubectl is `kubectl label --local` on the same file, a
process, so ours stands beside it once more as a process. One: cold processes on one document.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from kaitoctl.kaito import validation
from kaitoctl.kube import documents

BIN = str(Path(sys.executable).parent)
COUNT = 200


def workspace(number: int) -> str:
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
        for index in range(1, 10)
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


def seconds(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def process(*command: str) -> Callable[[], Any]:
    return lambda: subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)


def compare(rounds: int, what: str, ours: Callable[[], Any], theirs: Callable[[], Any], aim: float) -> None:
    pairs = [(seconds(ours), seconds(theirs)) for _ in range(rounds)]
    mine, other = (statistics.median(side) * 1000 for side in zip(*pairs, strict=True))
    ratio = statistics.median(a / b for a, b in pairs)
    print(f"{what:<44}{mine:>8.0f}ms{other:>8.0f}ms{ratio:>8.2f}{aim:>6.1f}")


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    text = "---\n".join(workspace(number) for number in range(COUNT))
    assert judged(text) == COUNT
    kaitoctl, kubectl = (str(shutil.which(name, path=BIN)) for name in ("kaitoctl", "kubectl"))
    print(f"{len(text) / COUNT:.0f} characters a document; {rounds} rounds, medians")
    print(f"{'what':<44}{'kaitoctl':>10}{'other':>10}{'ratio':>8}{'aim':>6}")
    with tempfile.TemporaryDirectory() as folder:
        many, one, pod = (str(Path(folder, name)) for name in ("many.yaml", "one.yaml", "pod.yaml"))
        Path(many).write_text(text)
        Path(one).write_text(workspace(0))
        Path(pod).write_text("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: x\n")
        compare(
            rounds,
            f"{COUNT} documents, CSafeLoader alone",
            lambda: judged(text),
            lambda: list(yaml.load_all(text, yaml.CSafeLoader)),
            1.3,
        )
        local = ("label", "--local", "-o", "name", "a=b", "-f")
        validate = process(kaitoctl, "validate", "-f", many)
        compare(
            rounds, f"{COUNT} documents, kubectl label --local", validate, process(kubectl, *local, many), 0.8
        )
        validate = process(kaitoctl, "validate", "-f", one)
        compare(rounds, "one document, kubectl label --local", validate, process(kubectl, *local, one), 2.0)
        create = process(kubectl, "create", "configmap", "x", "--dry-run=client", "-o", "yaml")
        compare(rounds, "one document, kubectl create --dry-run", validate, create, 2.0)


if __name__ == "__main__":
    main()
