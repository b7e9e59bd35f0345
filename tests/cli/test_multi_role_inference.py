"""A MultiRoleInference named where a Workspace or a set is meant: what says so, and with which sets."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from shell import Shell

NAMESPACE = "roles-named"
ROLES: dict[str, Any] = {
    "apiVersion": "kaito.sh/v1alpha1",
    "kind": "MultiRoleInference",
    "metadata": {"name": "duo", "namespace": NAMESPACE},
    "spec": {
        "labelSelector": {"matchLabels": {"apps": "duo"}},
        "model": {"name": "phi-4-mini-instruct"},
        "roles": [{"type": one, "replicas": 1} for one in ("prefill", "decode")],
    },
}


@pytest.fixture(scope="module")
def roles(shell: Shell) -> Iterator[None]:
    """It has a set for one of its roles alone, as while KAITO's controller is at work on it."""
    shell.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    shell.apply(ROLES)
    size = ("--replicas", "1", "--instance-type", "Standard_NC24ads_A100_v4", "--no-wait")
    make = ("create", "inference-set", "duo-prefill", "--preset", "phi-4-mini-instruct", *size)
    shell.kaitoctl(*make, "-n", NAMESPACE, "--yes")
    yield
    shell.kaitoctl("delete", "inferenceset/duo-prefill", "-n", NAMESPACE, "--yes", "--no-wait")
    shell.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


@pytest.mark.parametrize(
    "command",
    [
        "endpoint",
        "logs",
        "chat",
        "rollout status",
        "rollout history",
        "check-nodes",
        "status -w --timeout 5s",
    ],
)
def test_what_is_about_one_names_its_sets(shell: Shell, roles: None, command: str) -> None:
    first, *more = command.split()
    words = [first, *more[:1], "duo"] if first == "rollout" else [first, "duo", *more]
    done = shell.kaitoctl(*words, *(["hi"] if first == "chat" else []), "-n", NAMESPACE, code=4)
    assert "is a MultiRoleInference: its InferenceSets are duo-prefill and duo-decode" in done.stderr
    assert "inferenceset/duo-prefill" in done.stderr


@pytest.mark.parametrize(
    "command",
    ["restart", "edit", "list-adapters", "add-adapter --name x --image r.io/x:1", "remove-adapter --name x"],
)
def test_what_changes_one_workspace_says_that_a_name_is_a_sets(
    shell: Shell, roles: None, command: str
) -> None:
    first, *more = command.split()
    done = shell.kaitoctl(first, "duo-prefill", *more, "-n", NAMESPACE, code=4)
    assert f"{NAMESPACE}/duo-prefill is an InferenceSet, and this changes one Workspace" in done.stderr
    assert "kubectl edit inferenceset duo-prefill" in done.stderr


@pytest.mark.parametrize("name", ["duo", "multiroleinference/duo"])
def test_what_is_about_several_is_about_both_sets(shell: Shell, roles: None, name: str) -> None:
    done = shell.kaitoctl("why", name, "-n", NAMESPACE, "-o", "short", code=4)
    assert "inferenceset/duo-prefill: " in done.stdout
    assert f"InferenceSet {NAMESPACE}/duo-decode not found" in done.stderr
    done = shell.kaitoctl("events", name, "-n", NAMESPACE, "-o", "json", code=4)
    about = {event["object"] for event in json.loads(done.stdout)["events"]}
    assert any("duo-prefill" in one for one in about)
    assert "duo" in shell.kaitoctl("status", name, "-n", NAMESPACE).stdout


def test_who_plans_or_deletes_it_hears_what_does(shell: Shell, roles: None, tmp_path: Path) -> None:
    file = tmp_path / "duo.yaml"
    file.write_text(json.dumps(ROLES))
    for words in (("plan",), ("apply", "--yes")):
        done = shell.kaitoctl(*words, "-f", str(file), code=2)
        assert "but MultiRoleInference" in done.stderr
        assert "kaitoctl validate -f FILE" in done.stderr
    for words, code in ((("duo",), 4), (("multiroleinference/duo",), 2), (("-f", str(file)), 2)):
        done = shell.kaitoctl("delete", *words, "-n", NAMESPACE, "--yes", code=code)
        assert "kubectl delete multiroleinference duo" in done.stderr
    assert (
        shell.get("multiroleinferences.v1alpha1.kaito.sh", "duo", "-n", NAMESPACE)["metadata"]["name"]
        == "duo"
    )
