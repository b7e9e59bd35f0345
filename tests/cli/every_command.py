"""How each command that asks a cluster is called, for tests that are about all of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from kaitoctl.cli.app import app

MANIFEST = """\
apiVersion: kaito.sh/v1alpha1
kind: Workspace
metadata: {name: falcon}
resource: {instanceType: Standard_NC12s_v3, labelSelector: {matchLabels: {apps: falcon}}}
inference: {preset: {name: falcon-7b}}
"""

_FALCON = ["--preset", "falcon-7b", "--instance-type", "Standard_NC12s_v3", "--label", "apps=falcon"]
_PHIS = ["--preset", "phi-4-mini-instruct", "--instance-type", "Standard_NC24ads_A100_v4"]
_ADAPTER = ["--name", "style", "--image", "registry.example/style:1"]
_FOLLOWED = ["--yes", "--timeout", "20s"]

# {file} is a manifest, {record} a file that does not exist.
CALLS: dict[str, list[list[str]]] = {
    "add-adapter": [["falcon", *_ADAPTER, *_FOLLOWED], ["falcon", *_ADAPTER, "--yes", "--no-wait"]],
    "apply": [["-f", "{file}", "--yes", "--timeout", "20s"], ["-f", "{file}", "--yes", "--no-wait"]],
    "chat": [["falcon", "hello"]],
    "check-nodes": [_FALCON, ["falcon"], [*_FALCON, "--wait", "20s"], [*_FALCON, "--fix", "--yes"]],
    "create workspace": [["falcon", *_FALCON, *_FOLLOWED], ["falcon", *_FALCON, "--yes", "--no-wait"]],
    "create inference-set": [["phis", *_PHIS, "--timeout", "20s"], ["phis", *_PHIS, "--no-wait"]],
    "delete": [["falcon", "--yes", "--timeout", "20s"], ["falcon", "--yes", "--no-wait"]],
    "diff": [["-f", "{file}"]],
    "doctor": [[]],
    "edit": [["falcon"]],
    "endpoint": [["falcon"]],
    "events": [["falcon"], ["falcon", "-w"]],
    "fit": [["falcon-7b", "--cluster"]],
    "get": [["falcon"]],
    "list-adapters": [["falcon"]],
    "logs": [["falcon"], ["falcon", "--follow"]],
    "nodes": [[]],
    "orphans": [[]],
    "plan": [["-f", "{file}"], ["-f", "{file}", "-o", "json"]],
    "remove-adapter": [["falcon", "--name", "style", *_FOLLOWED]],
    "restart": [["falcon", *_FOLLOWED]],
    "rollout fleet": [["phis", "--yes", "--timeout", "20s"]],
    "rollout history": [["falcon"]],
    "rollout pause": [["phis"]],
    "rollout resume": [["phis", *_FOLLOWED]],
    "rollout status": [["falcon", "--timeout", "20s"]],
    "rollout undo": [["falcon", *_FOLLOWED], ["falcon", "--dry-run", "client"]],
    "run-controller": [
        ["--no-leader-elect", "--metrics-address", "0"],
        ["--no-leader-elect", "--metrics-address", "0", "--webhook", "--webhook-address", "127.0.0.1:0"],
    ],
    "run-webhook": [["--address", "127.0.0.1:0", "--metrics-address", "0"]],
    "scale": [["falcon", "--count", "2"]],
    "set-adapter": [["falcon", "--name", "style", "--strength", "0.5", *_FOLLOWED]],
    "status": [
        [],
        ["-A", "-o", "json"],
        ["-w", "--timeout", "20s"],
        ["falcon"],
        ["falcon", "-w", "--timeout", "20s", "--record", "{record}"],
    ],
    "upgrade plan": [["--to", "v0.12"]],
    "upgrade verify": [["--to", "v0.12"]],
    "validate": [["-f", "{file}", "--kubeconfig", "{kubeconfig}"]],
    "version": [[]],
    "why": [["falcon"], ["falcon", "phi", "-o", "json"]],
}
FOR_EVER = ("run-controller", "run-webhook", "events falcon -w")
"""They end when somebody ends them."""


def asking() -> list[str]:
    """The names of all commands that can be pointed at a cluster."""
    root = typer.main.get_command(app)
    return sorted(_asking(root, root.make_context("kaitoctl", [], resilient_parsing=True), ()))


def _asking(command: Any, context: Any, path: tuple[str, ...]) -> Iterator[str]:
    if hasattr(command, "list_commands"):
        for name in command.list_commands(context):
            yield from _asking(command.get_command(context, name), context, (*path, name))
    elif any(param.name == "kubeconfig" for param in command.params):
        yield " ".join(path)


def calls(folder: Path, kubeconfig: Path) -> list[list[str]]:
    """The arguments of each call, the cluster's kubeconfig among them."""
    file = folder / "falcon.yaml"
    file.write_text(MANIFEST)
    places = {"file": str(file), "record": str(folder / "record"), "kubeconfig": str(kubeconfig)}
    found = []
    for command, variants in CALLS.items():
        for words in variants:
            made = [*command.split(), *(word.format(**places) for word in words)]
            found.append(made if "--kubeconfig" in made else [*made, "--kubeconfig", str(kubeconfig)])
    return found
