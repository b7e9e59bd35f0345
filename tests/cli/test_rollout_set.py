"""`kaitoctl rollout` of an InferenceSet: history, undo, pause, resume and status, by its name alone."""

from __future__ import annotations

import json
from typing import Any

import pytest
from shell import Shell

SIZE = ("--replicas", "2", "--instance-type", "Standard_NC24ads_A100_v4")


@pytest.fixture
def fleet(shell: Shell, namespace: str) -> str:
    """A set of two that serves."""
    make = ("create", "inference-set", "phis", "--preset", "phi-4-mini-instruct", *SIZE)
    shell.kaitoctl(*make, "-n", namespace, "--yes", "--timeout", "90s")
    return namespace


def change(shell: Shell, namespace: str, *names: str) -> None:
    """Give the set these adapters, as somebody else."""
    adapters = [{"source": {"name": name, "image": f"registry.example/{name}:1"}} for name in names]
    patch = json.dumps({"spec": {"template": {"inference": {"adapters": adapters}}}})
    shell.patch(patch, "inferenceset", "phis", "-n", namespace)


def rollout(shell: Shell, namespace: str, *arguments: str, code: int = 0) -> tuple[str, str]:
    done = shell.kaitoctl("rollout", *arguments, "-n", namespace, code=code)
    return done.stdout, done.stderr


def adapters(shell: Shell, namespace: str) -> list[list[str]]:
    found = shell.get("workspaces.v1beta1.kaito.sh", "-n", namespace)["items"]
    return [[one["source"]["name"] for one in item["inference"].get("adapters", ())] for item in found]


def rows(stdout: str) -> dict[int, Any]:
    """Whether it is the present one, and how many replicas have it, by revision."""
    found = {}
    for line in stdout.splitlines()[2:]:
        number, *rest = line.split()
        is_current = rest[0] == "*"
        found[int(number)] = (is_current, int(rest[is_current]))
    return found


def test_there_and_back_again(shell: Shell, fleet: str) -> None:
    change(shell, fleet, "a")
    stdout, _ = rollout(shell, fleet, "status", "phis", "--timeout", "90s")
    assert stdout == 'inferenceset "phis" successfully rolled out\n'
    assert adapters(shell, fleet) == [["a"], ["a"]]
    stdout, _ = rollout(shell, fleet, "history", "inferenceset/phis")
    assert stdout.startswith("inferenceset.kaito.sh/phis\nREVISION")
    assert rows(stdout) == {1: (False, 0), 2: (True, 2)}
    assert "adapter a" in stdout
    stdout, _ = rollout(shell, fleet, "history", "phis", "--revision", "1")
    assert "with revision #1" in stdout
    assert "adapters" not in stdout
    _, stderr = rollout(shell, fleet, "history", "phis", "--revision", "7", code=2)
    assert "has no revision 7" in stderr

    _, stderr = rollout(shell, fleet, "undo", "phis", code=4)
    assert "owned by kubectl-patch" in stderr
    mine = ("--force-conflicts",)
    _, stderr = rollout(shell, fleet, "undo", "phis", *mine, code=2)
    assert "no terminal to confirm" in stderr
    assert "2 pods restart" in stderr
    for mode in ("client", "server"):
        stdout, _ = rollout(shell, fleet, "undo", "phis", *mine, "--dry-run", mode)
        assert stdout == f"inferenceset.kaito.sh/phis rolled back ({mode} dry run)\n"
    assert adapters(shell, fleet) == [["a"], ["a"]]
    stdout, stderr = rollout(shell, fleet, "undo", "phis", *mine, "--yes", "--timeout", "90s")
    assert stdout == "inferenceset.kaito.sh/phis rolled back\n"
    assert "gets the template of revision 1 again" in stderr
    assert "2 of 2 replicas ready" in stderr
    assert adapters(shell, fleet) == [[], []]
    stdout, _ = rollout(shell, fleet, "history", "phis")
    assert rows(stdout) == {1: (False, 0), 2: (False, 0), 3: (True, 2)}
    stdout, _ = rollout(shell, fleet, "undo", "phis", "--to-revision", "3", "--yes")
    assert stdout == "inferenceset.kaito.sh/phis skipped rollback (it is already at revision 3)\n"


def test_a_pause_holds_the_template_and_resuming_asks_first(shell: Shell, fleet: str) -> None:
    stdout, _ = rollout(shell, fleet, "pause", "phis", "--dry-run", "client")
    assert stdout == "inferenceset.kaito.sh/phis paused (client dry run)\n"
    assert rollout(shell, fleet, "resume", "phis")[0] == "inferenceset.kaito.sh/phis is not paused\n"
    assert rollout(shell, fleet, "pause", "phis")[0] == "inferenceset.kaito.sh/phis paused\n"
    assert rollout(shell, fleet, "pause", "phis")[0] == "inferenceset.kaito.sh/phis is already paused\n"
    change(shell, fleet, "a")
    _, stderr = rollout(shell, fleet, "status", "phis", code=1)
    assert "the rollout is paused" in stderr
    assert f"kaitoctl rollout resume phis -n {fleet}" in stderr
    assert adapters(shell, fleet) == [[], []]
    _, stderr = rollout(shell, fleet, "resume", "phis", code=2)
    assert "2 pods restart" in stderr
    assert "no terminal to confirm" in stderr
    assert adapters(shell, fleet) == [[], []]
    stdout, _ = rollout(shell, fleet, "resume", "phis", "--yes", "--timeout", "90s")
    assert stdout == "inferenceset.kaito.sh/phis resumed\n"
    assert adapters(shell, fleet) == [["a"], ["a"]]


def test_what_is_no_set_is_refused(shell: Shell, namespace: str) -> None:
    _, stderr = rollout(shell, namespace, "pause", "workspace/w", code=2)
    assert "rollouts of InferenceSets can be paused" in stderr
    for words in (("history",), ("undo", "--yes"), ("pause",), ("resume",), ("status",)):
        _, stderr = rollout(shell, namespace, words[0], "inferenceset/nowhere", *words[1:], code=4)
        assert f"InferenceSet {namespace}/nowhere not found" in stderr
    _, stderr = rollout(shell, namespace, "history", "nowhere", code=4)
    assert f"Workspace {namespace}/nowhere not found" in stderr
