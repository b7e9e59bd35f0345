"""What a plan says of a set's replicas that restart, and the nodes that were bought for them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from shell import Shell

SET = (
    "--preset",
    "phi-4-mini-instruct",
    "--instance-type",
    "Standard_NC24ads_A100_v4",
    "--label",
    "apps=chat",
)


@pytest.fixture
def changed(sandbox_shell: Shell, tmp_path: Path) -> Path:
    """A set that serves on a bought node, and its manifest with an adapter more.

    Of two replicas each may have its pod on the other's node.
    """
    create = ("create", "inference-set", "chat", "--replicas", "1", *SET)
    manifest = yaml.safe_load(sandbox_shell.kaitoctl(*create, "--dry-run=client", "-o", "yaml").stdout)
    sandbox_shell.kaitoctl(*create, "--yes", "--wait")
    source = {"name": "style", "image": "registry.example/style:1"}
    manifest["spec"]["template"]["inference"]["adapters"] = [{"source": source}]
    file = tmp_path / "set.yaml"
    file.write_text(yaml.safe_dump(manifest))
    return file


def test_nodes_that_replicas_may_leave_are_named(sandbox_shell: Shell, changed: Path) -> None:
    plan = ("plan", "-f", str(changed))
    before = sandbox_shell.kaitoctl(*plan, code=1).stdout
    assert "released: none; pods restarted: 1" in before
    sandbox_shell.add_node("own", "Standard_NC24ads_A100_v4", apps="chat")
    sandbox_shell.kubectl("wait", "node/own", "--for=condition=Ready", "--timeout=30s")
    shown = sandbox_shell.kaitoctl(*plan, code=1).stdout
    assert shown.count("unless its pods are placed on it") == 1
    assert "nodes asked for: none; released: up to 1; pods restarted: 1" in shown
    (change,) = json.loads(sandbox_shell.kaitoctl(*plan, "-o", "json", code=1).stdout)["changes"]
    assert change["nodesReturnedPerhaps"] == change["nodesReturned"]
    assert len(change["nodesReturned"]) == 1
