"""A Workspace that is yet to be created is waited for when it is said how long; and whose the fields are."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable

import pytest
from cli.every_command import CALLS
from shell import BIN, Shell

from kaitoctl.cli import global_options

MANIFEST = """\
apiVersion: kaito.sh/v1alpha1
kind: Workspace
metadata: {name: NAME}
resource: {instanceType: Standard_NC12s_v3, labelSelector: {matchLabels: {apps: NAME}}}
inference: {preset: {name: falcon-7b}}
"""


SET = """\
apiVersion: kaito.sh/v1beta1
kind: InferenceSet
metadata: {name: NAME}
spec:
  replicas: 1
  labelSelector: {matchLabels: {apps: NAME}}
  template:
    resource: {instanceType: Standard_NC24ads_A100_v4}
    inference: {preset: {name: phi-4-mini-instruct}}
"""


@pytest.mark.parametrize(
    ("command", "manifest"),
    [
        (["status", "late-1", "-w"], MANIFEST),
        (["rollout", "status", "late-2"], MANIFEST),
        (["status", "late-3", "-w"], SET),
        (["rollout", "status", "inferenceset/late-4"], SET),
    ],
)
def test_what_is_yet_to_be_created_is_waited_for_and_followed(
    sandbox_shell: Shell,
    wait_until: Callable[[Callable[[], object]], None],
    command: list[str],
    manifest: str,
) -> None:
    asked = command[1] if command[0] == "status" else command[2]
    name = asked.rpartition("/")[2]
    said = sandbox_shell.home / f"{name}.txt"
    with said.open("w") as stderr:
        waiting = subprocess.Popen(
            [str(BIN / "kaitoctl"), *command, "--timeout", "100s"],
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=sandbox_shell.env,
            text=True,
        )
    kind = "InferenceSet" if "/" in asked else "Workspace"
    words = f"{kind} default/{name} does not exist yet; waiting for it, for 1m40s at most"
    wait_until(lambda: words in said.read_text())
    assert waiting.poll() is None
    (sandbox_shell.home / "late.yaml").write_text(manifest.replace("NAME", name))
    sandbox_shell.kaitoctl("apply", "-f", "late.yaml", "--yes", "--no-wait")
    shown, _ = waiting.communicate(timeout=120)
    assert waiting.returncode == 0, said.read_text()
    assert "ready" in shown or "successfully rolled out" in shown
    sandbox_shell.kaitoctl("delete", name, "--yes", "--no-wait")


@pytest.mark.parametrize("command", [["status", "never", "-w"], ["rollout", "status", "never"]])
def test_without_a_bound_and_beyond_it_a_name_that_is_not_there_is_an_error(
    sandbox_shell: Shell, command: list[str]
) -> None:
    at_once = sandbox_shell.kaitoctl(*command, code=4).stderr
    assert "Workspace default/never not found" in at_once
    assert "--timeout DURATION waits for one that is yet to be created" in at_once
    later = sandbox_shell.kaitoctl(*command, "--timeout", "2s", code=124).stderr
    assert "Workspace default/never was not created within 2s" in later


def test_fields_belong_to_the_manager_that_is_named(sandbox_shell: Shell) -> None:
    def managers() -> set[str]:
        there = sandbox_shell.kubectl("get", "workspace", "mine", "-o", "json", "--show-managed-fields")
        return {one["manager"] for one in json.loads(there)["metadata"]["managedFields"]}

    (sandbox_shell.home / "mine.yaml").write_text(MANIFEST.replace("NAME", "mine"))
    ours = ("apply", "-f", "mine.yaml", "--yes", "--no-wait")
    sandbox_shell.kaitoctl(*ours, "--field-manager", "pipeline")
    assert "pipeline" in managers() and "kaitoctl" not in managers()
    (sandbox_shell.home / "mine.yaml").write_text(
        MANIFEST.replace("NAME", "mine").replace("metadata: {", "metadata: {labels: {team: blue}, ")
    )
    sandbox_shell.kaitoctl(*ours, "--field-manager", "pipeline")
    (sandbox_shell.home / "mine.yaml").write_text(
        MANIFEST.replace("NAME", "mine").replace("metadata: {", "metadata: {labels: {team: red}, ")
    )
    refused = sandbox_shell.kaitoctl(*ours, code=2).stderr
    assert "pipeline" in refused  # which owns the label
    assert "kaitoctl" not in managers()
    sandbox_shell.kaitoctl("delete", "mine", "--yes", "--no-wait")


@pytest.mark.parametrize("name", ["x" * 129, "a\nb"])
def test_a_manager_that_no_server_takes_is_refused(offline: Shell, name: str) -> None:
    done = offline.kaitoctl("apply", "-f", "x.yaml", "--field-manager", name, code=2)
    assert "128 characters" in done.stderr


def test_whatever_writes_can_be_told_as_whom() -> None:
    writing = {name for name, calls in CALLS.items() if any("--yes" in call for call in calls)}
    assert writing - {"delete"} <= {*global_options._WRITERS}
