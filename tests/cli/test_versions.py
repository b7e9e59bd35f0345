"""Nothing of a Workspace that was written as v1beta1 gets lost, whoever writes it; on both servers."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from adapting import image
from shell import Shell

Wait = Callable[[Callable[[], object]], None]


@pytest.fixture
def newest(shell: Shell, namespace: str) -> Any:
    """A Workspace with every field that v1beta1 alone has, which serves."""
    made = {
        "apiVersion": "kaito.sh/v1beta1",
        "kind": "Workspace",
        "metadata": {"name": "w", "namespace": namespace},
        "resource": {
            "count": 1,
            "instanceType": "Standard_NC12s_v3",
            "labelSelector": {"matchLabels": {"apps": namespace}},
            "partition": {"mode": "accelerator", "count": 2},
        },
        "inference": {
            "config": "mine",
            "preset": {
                "name": "falcon-7b",
                "accessMode": "public",
                "presetOptions": {"modelAccessSecret": "token"},
            },
        },
    }
    file = shell.home / "newest.json"
    file.write_text(json.dumps(made))
    shell.kubectl("apply", "-f", str(file))
    shell.kaitoctl("rollout", "status", "w", "-n", namespace, "--timeout", "60s")
    return made


def asked(shell: Shell, namespace: str) -> Any:
    """What the stored Workspace asks for."""
    found = shell.get("workspaces.v1beta1.kaito.sh", "w", "-n", namespace)
    return {part: found[part] for part in ("resource", "inference")}


def test_a_workspace_keeps_every_field_through_its_life(shell: Shell, namespace: str, newest: Any) -> None:
    parts = {part: newest[part] for part in ("resource", "inference")}
    assert asked(shell, namespace) == parts
    status = shell.get("workspaces.v1beta1.kaito.sh", "w", "-n", namespace)["status"]
    assert (status["state"], status["targetNodeCount"]) == ("Ready", 1)
    ignored = next(item for item in status["conditions"] if item["type"] == "FieldsIgnored")
    for field in ("resource.partition", "inference.config", "modelAccessSecret"):
        assert field in ignored["message"]

    source = ("--name", "style", "--image", image("style"), "--strength", "0.5")
    shell.kaitoctl("add-adapter", "w", *source, "-n", namespace, "--yes")
    entry = {"source": {"name": "style", "image": image("style")}, "strength": "0.5"}
    assert asked(shell, namespace) == {**parts, "inference": {**parts["inference"], "adapters": [entry]}}

    shell.kaitoctl("rollout", "undo", "w", "-n", namespace, "--yes")
    assert asked(shell, namespace) == parts


def test_what_was_written_in_both_versions_keeps_its_fields_and_gets_a_status(
    shell: Shell, namespace: str, wait_until: Wait
) -> None:
    """An API server applies nothing in v1beta1 to what has a field of it and a field manager of v1alpha1."""
    made = {
        "apiVersion": "kaito.sh/v1alpha1",
        "kind": "Workspace",
        "metadata": {"name": "w", "namespace": namespace},
        "resource": {
            "instanceType": "Standard_NC12s_v3",
            "labelSelector": {"matchLabels": {"apps": namespace}},
        },
        "inference": {"preset": {"name": "falcon-7b"}},
    }
    shell.apply(made)
    shell.kaitoctl("rollout", "status", "w", "-n", namespace, "--timeout", "60s")
    newest = ("workspaces.v1beta1.kaito.sh", "w", "-n", namespace)
    assert shell.get(*newest)["status"].keys() == {"conditions", "workerNodes"}
    parts = {"mode": "accelerator", "count": 2}
    shell.kubectl("patch", *newest, "--type=merge", "-p", json.dumps({"resource": {"partition": parts}}))

    def is_told() -> bool:
        found = shell.get(*newest)
        told = {item["type"]: item for item in found["status"]["conditions"]}
        is_seen = told["WorkspaceSucceeded"]["observedGeneration"] == found["metadata"]["generation"]
        return is_seen and "resource.partition" in told.get("FieldsIgnored", {}).get("message", "")

    wait_until(is_told)
    assert shell.get(*newest)["resource"]["partition"] == parts


def test_create_in_the_old_version_takes_nothing_away(shell: Shell, namespace: str, newest: Any) -> None:
    options = (
        "--preset",
        "falcon-7b",
        "--instance-type",
        "Standard_NC12s_v3",
        "--label",
        f"apps={namespace}",
    )
    done = shell.kaitoctl(
        "create", "workspace", "w", *options, "--api-version", "v1alpha1", "-n", namespace, code=2
    )
    assert "resource.partition" in done.stderr and "--api-version v1beta1" in done.stderr
    assert asked(shell, namespace) == {part: newest[part] for part in ("resource", "inference")}
