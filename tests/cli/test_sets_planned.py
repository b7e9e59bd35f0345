"""What a plan says of a set's replicas that restart, and the nodes that were bought for them."""

from __future__ import annotations

import json
import shlex
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
    (name,) = replicas_of(sandbox_shell)
    restart = sandbox_shell.kaitoctl("restart", name, "--dry-run=client").stderr
    assert "released: NodeClaim ws" in restart
    assert restart.count("unless its pods are placed on it") == 1


def replicas_of(shell: Shell) -> list[str]:
    asked = ("get", "workspaces", "-l", "inferenceset.kaito.sh/created-by=chat", "-o", "name")
    return [line.partition("/")[2] for line in shell.kubectl(*asked).split()]


def test_secrets_that_a_set_names_are_looked_for_before_it_is_written(
    sandbox_shell: Shell, tmp_path: Path
) -> None:
    """As those that a Workspace names: its replicas would wait for them on bought nodes."""
    create = (
        "create",
        "inference-set",
        "secretive",
        "--replicas",
        "1",
        *SET,
        "--dry-run=client",
        "-o",
        "yaml",
    )
    manifest = yaml.safe_load(sandbox_shell.kaitoctl(*create).stdout)
    inference = manifest["spec"]["template"]["inference"]
    source = {"name": "style", "image": "r.example/style:1", "imagePullSecrets": ["absent"]}
    inference["adapters"] = [{"source": source}]
    inference["preset"]["presetOptions"] = {"modelAccessSecret": "token"}
    file = tmp_path / "named.yaml"
    file.write_text(yaml.safe_dump(manifest))
    shown = sandbox_shell.kaitoctl("plan", "-f", str(file), code=2)
    assert "there is no pull secret absent in namespace default" in shown.stdout + shown.stderr
    refused = sandbox_shell.kaitoctl("apply", "-f", str(file), "--yes", code=2)
    assert "there is no pull secret absent in namespace default" in refused.stderr
    made = ("--docker-server=r.example", "--docker-username=u", "--docker-password=p")
    sandbox_shell.kubectl("create", "secret", "docker-registry", "absent", *made)
    shown = sandbox_shell.kaitoctl("plan", "-f", str(file), code=2)
    said = "there is no Secret token in namespace default; without it, the pods have no token to load"
    assert said in " ".join(shown.stdout.split())
    sandbox_shell.kubectl("create", "secret", "generic", "token", "--from-literal=token=x")
    shown = sandbox_shell.kaitoctl("plan", "-f", str(file), "-o", "json", code=2)
    (lacks,) = json.loads(shown.stdout)["changes"][0]["problems"]
    assert (
        "Secret token has no key HF_TOKEN; without it, the pods have no token to load the model with" in lacks
    )
    (_, _, command) = lacks.partition(" (")
    assert "--kubeconfig" in command or "--context" in command, "it is for this cluster alone"
    assert sandbox_shell.run(*shlex.split(command.removesuffix(")"))).returncode == 0
    sandbox_shell.kaitoctl("plan", "-f", str(file), code=1)


def test_a_set_that_is_late_does_not_end_the_following_of_what_was_applied_with_it(
    sandbox_shell: Shell, tmp_path: Path
) -> None:
    made = [
        sandbox_shell.kaitoctl(*command, "--dry-run=client", "-o", "yaml").stdout
        for command in (
            ("create", "inference-set", "late", "--replicas", "1", *SET[:4], "--label", "apps=late"),
            ("create", "workspace", "beside", *SET[:4], "--label", "apps=beside"),
        )
    ]
    file = tmp_path / "both.yaml"
    file.write_text("---\n".join(made))
    done = sandbox_shell.kaitoctl("apply", "-f", str(file), "--yes", "--timeout", "1s", code=124)
    assert "timed out after 1s; 0 of 1 replicas ready" in done.stderr
    assert "1 of 1 ready" in done.stderr, "the Workspace beside it"


def test_several_sets_are_followed_at_once_each_with_its_name(sandbox_shell: Shell, tmp_path: Path) -> None:
    names = ("one", "two")
    made = [
        sandbox_shell.kaitoctl(
            *("create", "inference-set", name, "--replicas", "1", *SET[:4], "--label", f"apps={name}"),
            *("--dry-run=client", "-o", "yaml"),
        ).stdout
        for name in names
    ]
    file = tmp_path / "sets.yaml"
    file.write_text("---\n".join(made))
    done = sandbox_shell.kaitoctl("apply", "-f", str(file), "--yes", "--timeout", "120s")
    lines = done.stderr.splitlines()
    first = min(number for number, line in enumerate(lines) if "1 of 1 replicas ready" in line)
    for name in names:
        followed = [
            number for number, line in enumerate(lines) if f"► InferenceSet default/{name}: 0 of" in line
        ]
        assert followed and followed[0] < first, done.stderr
        assert f"✔ InferenceSet default/{name}: 1 of 1 replicas ready" in done.stderr


def test_what_kaitoctl_has_scaled_is_applied_again_and_what_others_have_is_not(
    sandbox_shell: Shell, tmp_path: Path
) -> None:
    """A server keeps patches and applies of one manager apart, and refuses the second for the first."""
    create = ("create", "inference-set", "again", "--replicas", "1", *SET[:4], "--label", "apps=again")
    text = sandbox_shell.kaitoctl(*create, "--dry-run=client", "-o", "yaml").stdout
    file = tmp_path / "again.yaml"
    file.write_text(text)
    sandbox_shell.kaitoctl("apply", "-f", str(file), "--yes")
    sandbox_shell.kaitoctl("scale", "again", "--replicas", "0", "--yes")
    shown = sandbox_shell.kaitoctl("plan", "-f", str(file), code=1).stdout
    assert "spec.replicas" in shown
    sandbox_shell.kaitoctl("apply", "-f", str(file), "--yes")
    asked = ("get", "inferenceset", "again", "-o", "jsonpath={.spec.replicas}")
    assert sandbox_shell.kubectl(*asked) == "1"
    sandbox_shell.kubectl("scale", "inferenceset", "again", "--replicas", "2")
    refused = sandbox_shell.kaitoctl("apply", "-f", str(file), "--yes", code=2).stderr
    assert "conflict" in refused
    assert "--force-conflicts" in refused
    assert sandbox_shell.kubectl(*asked) == "2"
