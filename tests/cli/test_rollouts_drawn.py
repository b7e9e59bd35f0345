"""Rollouts of several Workspaces, and of an InferenceSet, on a terminal: what is under way has a bar."""

from __future__ import annotations

import re

import pytest
import yaml
from shell import Shell
from terminals import STEERING
from world import falcon


@pytest.fixture(scope="module")
def shell(sandbox_shell: Shell) -> Shell:
    """Terminals are the same everywhere; one cluster will do."""
    return sandbox_shell


def drawn(shell: Shell, *arguments: str) -> str:
    code, text = shell.seen(*arguments, columns=80, NO_COLOR="1")
    assert code == 0, text
    return " ".join(STEERING.sub("", text).split())


def test_several_that_are_applied_are_drawn_together_each_with_a_bar(shell: Shell, namespace: str) -> None:
    documents = []
    for name in ("first", "second"):
        obj = falcon(labelSelector={"matchLabels": {"apps": f"{namespace}-{name}"[-60:].strip("-")}})
        documents.append({**obj, "metadata": {"name": name, "namespace": namespace}})
    file = shell.home / f"{namespace}.yaml"
    file.write_text(yaml.safe_dump_all(documents))
    text = drawn(shell, "apply", "-f", str(file), "--yes")
    assert re.search(rf"◌ {namespace}/second [█░]{{10}} ", text)
    *_, last = text.split("◌")
    for name in ("first", "second"):
        assert f"✔ {namespace}/{name} ready: 1 of 1 pods serve" in last
    assert text.endswith("✔ 2 of 2 ready")


def test_replicas_that_come_up_have_a_bar_below_the_table(shell: Shell, namespace: str) -> None:
    options = ("--preset", "phi-4-mini-instruct", "--instance-type", "Standard_NC24ads_A100_v4")
    create = ("create", "inference-set", "phis", *options, "--replicas", "2", "--yes", "-n", namespace)
    text = drawn(shell, *create, "--timeout", "90s")
    assert re.search(rf"◌ {namespace}/phis-\w+ [█░]{{10}} ", text)
    assert re.search(r"phis-\w+ +no +present", text)
    assert text.endswith(f"2 of 2 replicas ready next: kaitoctl endpoint phis -n {namespace}")
    again = drawn(shell, "status", "phis", "-w", "-n", namespace)
    assert "█" not in again and "░" not in again, "nothing comes up"
