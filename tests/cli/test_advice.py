"""Commands that are printed as advice reach the cluster that was asked, wherever they are pasted."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
from shell import BIN, Shell

from kaitoctl.advice import Advice, Command
from kaitoctl.cli import app
from kaitoctl.commands.target import Target

# They work without a cluster, too, and are advised for that.
NO_CLUSTER_NEEDED = {"fit", "validate"}
UNSET: dict[str, Any] = {"KAITOCTL_SANDBOX": "", "KAITOCTL_SANDBOX_NAME": ""}
WHY, POD = Command("kaitoctl why", "falcon"), Command("kubectl get pod", "a", "-n", "b")


@pytest.mark.parametrize(
    ("target", "advice", "expected"),
    [
        (Target(), WHY, "kaitoctl why falcon"),
        (
            Target(context="prod", kubeconfig="my file"),
            WHY,
            "kaitoctl why falcon --context prod --kubeconfig 'my file'",
        ),
        (
            Target(context="prod"),
            "it goes on: " + POD + " follows it; " + WHY + " says more",
            "it goes on: kubectl get pod a -n b --context prod follows it; "
            "kaitoctl why falcon --context prod says more",
        ),
        (Target(sandbox=True), WHY, "kaitoctl why falcon --sandbox"),
        (
            Target(sandbox=True, sandbox_name="mine"),
            WHY,
            "kaitoctl why falcon --sandbox --sandbox-name mine",
        ),
        (Target(sandbox=True), Command("kaitoctl explain image-pull"), "kaitoctl explain image-pull"),
        (Target(context="a"), Command("az aks update -g GROUP"), "az aks update -g GROUP"),
        (Target(context="a"), "kubectl has dropped it", "kubectl has dropped it"),
    ],
)
def test_commands_get_the_options_of_the_cluster_and_other_words_none(
    monkeypatch: pytest.MonkeyPatch, target: Target, advice: Advice, expected: str
) -> None:
    for name, value in UNSET.items():
        monkeypatch.setenv(name, value)
    assert target.text(advice) == expected


def test_kubectl_is_led_to_the_sandbox_by_its_kubeconfig(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAITOCTL_STATE_DIR", str(tmp_path / "my state"))
    words = shlex.split(Target(sandbox=True, sandbox_name="mine").text(POD))
    file = str(tmp_path / "my state/sandbox/mine/kubeconfig")
    assert words == ["kubectl", "get", "pod", "a", "-n", "b", "--kubeconfig", file]


def test_what_the_environment_says_already_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAITOCTL_SANDBOX", "1")
    monkeypatch.setenv("KAITOCTL_SANDBOX_NAME", "mine")
    assert Target(sandbox=True, sandbox_name="mine").text(WHY) == "kaitoctl why falcon"
    assert Target(sandbox=True).text(WHY) == "kaitoctl why falcon --sandbox-name default"
    monkeypatch.setenv("KAITOCTL_SANDBOX", "0")
    assert Target(sandbox=True, sandbox_name="mine").text(WHY) == "kaitoctl why falcon --sandbox"


def commands() -> dict[str, Any]:
    """Every command of kaitoctl, those of groups with both words."""
    found: dict[str, Any] = {}
    root: Any = typer.main.get_command(app.app)
    for name in root.list_commands(None):
        command = root.get_command(None, name)
        below = getattr(command, "commands", None)
        found |= {f"{name} {one}": sub for one, sub in below.items()} if below else {name: command}
    return found


def test_every_command_that_asks_a_cluster_gets_its_options_and_no_other() -> None:
    target = Target(sandbox=True)
    for name, command in commands().items():
        asks = {"sandbox", "context"} <= {item.name for item in command.params}
        line = target.text(Command(f"kaitoctl {name}"))
        assert line.endswith(" --sandbox") == (asks and name not in NO_CLUSTER_NEEDED), name


def test_what_why_and_status_advise_works_when_it_is_pasted(sandbox_shell: Shell) -> None:
    shell, name = sandbox_shell, "advised"
    where = ("-n", name, "--sandbox", "--sandbox-name", shell.sandbox)
    shell.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    missing = {"name": "style", "image": "registry.example/style:does-not-exist"}
    shell.apply(
        {
            "apiVersion": "kaito.sh/v1alpha1",
            "kind": "Workspace",
            "metadata": {"name": "broken", "namespace": name},
            "resource": {
                "instanceType": "Standard_NC12s_v3",
                "labelSelector": {"matchLabels": {"apps": name}},
            },
            "inference": {"preset": {"name": "falcon-7b"}, "adapters": [{"source": missing}]},
        }
    )
    try:
        failed = shell.kaitoctl("rollout", "status", "broken", "--timeout", "60s", *where, code=1, **UNSET)
        why = re.search(r"^hint: (kaitoctl why .*?);? ?$", failed.stderr, re.MULTILINE)
        assert why, failed.stderr
        assert "adapter-image-bad" in shell.run("sh", "-c", why[1], **UNSET).stdout

        # Between two pulls the kubelet says ErrImagePull, which may pass: no failure, the same cause.
        tree = shell.run(str(BIN / "kaitoctl"), "status", "broken", *where, **UNSET).stdout
        more = tree.rpartition("More: ")[2].strip()
        assert "adapter-image-bad" in shell.run("sh", "-c", more, **UNSET).stdout

        found = json.loads(shell.kaitoctl("why", "broken", *where, "-o", "json", code=1, **UNSET).stdout)
        advised = found["cause"]["command"]
        assert advised, found
        assert advised in shell.kaitoctl("why", "broken", *where, code=1, **UNSET).stdout
        assert advised in shell.kaitoctl("why", "broken", *where, "-o", "short", code=1, **UNSET).stdout
        done = shell.run("sh", "-c", f"{advised} --dry-run=client".replace("IMAGE", "r.example/a"), **UNSET)
        assert done.returncode == 0, f"{advised}\n{done.stderr}"

        typo = shell.kaitoctl("why", "nothing-like-it", *where, code=4, **UNSET)
        lists = typo.stderr.partition("hint: ")[2].partition(" lists them")[0]
        assert "broken" in shell.run("sh", "-c", lists, **UNSET).stdout
    finally:
        shell.end_namespace(name)


def test_what_check_nodes_advises_works_when_it_is_pasted(sandbox_shell: Shell) -> None:
    shell = sandbox_shell
    shell.add_node("unlabelled", "Standard_NC12s_v3")
    flags = (
        "--instance-type",
        "Standard_NC12s_v3",
        "--label",
        "apps=pasted",
        "--preferred-node",
        "unlabelled",
    )
    ask = ("check-nodes", *flags, "--sandbox", "--sandbox-name", shell.sandbox)
    try:
        told = shell.kaitoctl(*ask, code=1, **UNSET).stdout
        fix = told.partition("fix: ")[2].partition("\n")[0]
        done = shell.run("sh", "-c", fix, **UNSET)
        assert done.returncode == 0, f"{fix}\n{done.stderr}"
        shell.kaitoctl(*ask, **UNSET)
    finally:
        shell.delete_node("unlabelled")
