"""Nonsense, missing clusters, missing rights: the path, the cause and the fix, and the exit code."""

from __future__ import annotations

import json
import re
import socket
import subprocess
from pathlib import Path

import pytest
import yaml
from shell import BIN, Shell
from typer.testing import CliRunner

from kaitoctl.cli import app as app_
from kaitoctl.errors import InputError

CREATE = ["create", "workspace", "w"]
FALCON = [*CREATE, "--preset", "falcon-7b", "--instance-type", "Standard_NC12s_v3"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([*CREATE, "--preset", "falcon7b"], "falcon-7b"),
        ([*CREATE, "--preset", ""], "inference.preset.name"),
        (CREATE, "--preset is missing"),
        (["create", "workspace", "Not_A_Name", "--preset", "falcon-7b", "--label", "a=b"], "metadata.name"),
        (["create", "workspace", "a" * 64, "--preset", "falcon-7b", "--label", "a=b"], "metadata.name"),
        ([*FALCON, "--adapter", "style"], "name=image"),
        ([*FALCON, "--adapter", "style="], "name=image"),
        ([*FALCON, "--adapter", "style=r.io/x:1,strength=2"], "inference.adapters[0].strength"),
        ([*FALCON, "--adapter", "style=r.io/x:1,strength=-0.1"], "inference.adapters[0].strength"),
        ([*FALCON, "--adapter", "style=r.io/x:1,strength=NaN"], "inference.adapters[0].strength"),
        ([*FALCON, "--adapter", "style=r.io/x:1,strength=much"], "inference.adapters[0].strength"),
        ([*FALCON, "--adapter", "s=r.io/x:1", "--adapter", "s=r.io/y:1"], "inference.adapters[1]"),
        ([*FALCON, "--adapter", "w=r.io/x:1"], "inference.adapters[0]"),
        ([*FALCON, "--adapter", "style=<YOUR_IMAGE>"], "inference.adapters[0].source.image"),
        ([*FALCON, "--label", "apps"], "KEY=VALUE"),
        ([*FALCON, "--label", "=x"], "not a label key"),
        ([*FALCON, "--label", "a=b c"], "not a label value"),
        ([*FALCON, "--label", "a=1", "--label", "a=2"], "already"),
        ([*FALCON, "--count", "0"], "resource.count"),
        ([*FALCON, "--count", "many"], "--count"),
        ([*FALCON, "--template", "no-such"], "inference"),
        ([*FALCON, "--template", "/no/such/file.yaml"], "/no/such/file.yaml"),
        ([*FALCON, "--set", "novalue"], "--set"),
        ([*FALCON, "--dry-run", "maybe"], "--dry-run"),
        ([*FALCON, "-o", "xml"], "--output"),
        ([*FALCON, "--timeout", "soon"], "--timeout"),
        ([*FALCON, "--private-image", "$(touch a)"], "inference.preset.presetOptions.image"),
        ([*FALCON, "--image-pull-secret", "s"], "--private-image, which is missing"),
        ([*FALCON, "--no-such-option"], "--no-such-option"),
        (["no-such-command"], "no-such-command"),
        (["sandbox", "up", "--gpu-nodes", "Standard_NC12s_v3"], "TYPE=N"),
        (["sandbox", "up", "--gpu-nodes", "Standard_NC12s_v4=1"], "Standard_NC12s_v3"),
        (["sandbox", "kubeconfig"], "there is no sandbox"),
        (["sandbox", "down", "--sandbox-name", "../x"], "--sandbox-name"),
    ],
)
def test_bad_input_names_what_is_wrong_and_exits_with_2(
    offline: Shell, arguments: list[str], words: str
) -> None:
    done = offline.kaitoctl(*arguments, code=2)
    assert words in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("zero", [0x660, 0x6F0, 0x966, 0xE50, 0x7C0, 0xFF10], ids=hex)
@pytest.mark.parametrize(
    "arguments",
    [
        [*FALCON, "--count", "3"],
        [*FALCON, "--timeout", "1h30m"],
        [*FALCON, "--timeout", "1.5s"],
        ["status", "--request-timeout", "500ms"],
        ["status", "--request-timeout", "5"],
        ["fit", "falcon-7b", "--max-nodes", "2"],
        ["check-nodes", "--preset", "falcon-7b", "--wait", "10m"],
        ["chat", "falcon", "--temperature", "0.5"],
        ["rollout", "undo", "falcon", "--to-revision", "1"],
        ["logs", "falcon", "--tail", "10"],
        ["logs", "falcon", "--since", "10m"],
        ["replay", "x", "--speed", "2"],
        ["run-controller", "--most-nodes", "64"],
        ["sandbox", "up", "--speed", "2"],
        ["sandbox", "up", "--gpu-nodes", "Standard_NC12s_v3=2"],
    ],
    ids=lambda arguments: " ".join(arguments[-2:]),
)
def test_numbers_of_other_scripts_are_no_numbers(arguments: list[str], zero: int) -> None:
    """Python's int() and float() read them; a flag of Go's, such as kubectl's, does not."""
    *before, value = arguments
    head, equals, number = value.rpartition("=")
    digits = number.translate({ord("0") + digit: zero + digit for digit in range(10)})
    ending = CliRunner().invoke(app_.app, [*before, f"{head}{equals}{digits}"])
    said = ending.output if ending.exception is None else f"{ending.output}{ending.exception}"
    code = ending.exception.exit_code if isinstance(ending.exception, InputError) else ending.exit_code
    assert (code, arguments[-2] in said) == (2, True), said


@pytest.mark.parametrize("value", ["x\n  evil: true", "$(touch a)", "{{ 7*7 }}", 'a", evil: "b', "a: b", "#"])
def test_a_value_never_becomes_structure(offline: Shell, tmp_path: Path, value: str) -> None:
    template = tmp_path / "t.yaml"
    template.write_text(
        "apiVersion: kaito.sh/v1alpha1\nkind: Workspace\n"
        'metadata: {name: {{ name }}, annotations: {note: {{ note }}, quoted: "{{ note }}"}}\n'
        "resource: {instanceType: {{ instance_type }}, labelSelector: {matchLabels: {{ labels }}}}\n"
        "inference: {preset: {name: {{ preset }}}}\n"
    )
    done = offline.kaitoctl(
        *FALCON, "--template", str(template), "--set", f"note={value}", "--dry-run=client", "-o", "yaml"
    )
    made = yaml.safe_load(done.stdout)
    assert made["metadata"]["annotations"] == {"note": value, "quoted": value}
    assert set(made) == {"apiVersion", "kind", "metadata", "resource", "inference"}
    assert list(tmp_path.iterdir()) == [template]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("kind: {% if %}", "t.yaml:1"),
        ("a: 1\nb: {{ nobody_set_this }}", "t.yaml:2"),
        ("a: [", "t.yaml"),
        ("a: 1\na: 2", "stands twice"),
        ("- a", "renders to a list"),
        ("", "t.yaml"),
        ("a: {{ ''.__class__.__mro__ }}", "t.yaml:1"),
    ],
)
def test_a_bad_template_is_named_with_its_line(offline: Shell, tmp_path: Path, text: str, words: str) -> None:
    template = tmp_path / "t.yaml"
    template.write_text(text)
    done = offline.kaitoctl(*FALCON, "--template", str(template), "--dry-run=client", code=2)
    assert words in done.stderr


def test_unknown_fields_of_a_template_are_errors(offline: Shell, tmp_path: Path) -> None:
    template = tmp_path / "t.yaml"
    template.write_text(
        "apiVersion: kaito.sh/v1alpha1\nkind: Workspace\nmetadata: {name: w}\n"
        "resource: {instanceTyp: x, labelSelector: {matchLabels: {a: b}}}\n"
        "inference: {preset: {name: falcon-7b}}\n"
    )
    done = offline.kaitoctl(*CREATE, "--template", str(template), "--dry-run=client", code=2)
    assert "resource.instanceTyp" in done.stderr
    assert "instanceType" in done.stderr


def test_an_unknown_instance_type_is_a_warning(offline: Shell) -> None:
    done = offline.kaitoctl(
        *CREATE, "--preset", "falcon-7b", "--instance-type", "Standard_New", "--dry-run=client", "-o", "name"
    )
    assert done.stdout == "workspace.kaito.sh/w\n"
    assert "Standard_New" in done.stderr


def test_without_a_kubeconfig_the_message_says_where_it_was_looked_for(offline: Shell) -> None:
    done = offline.kaitoctl(*FALCON, code=2)
    assert ".kube/config does not exist" in done.stderr
    assert "--sandbox" in done.stderr


def test_a_missing_kubeconfig_is_bad_input(offline: Shell) -> None:
    assert "no such file" in offline.kaitoctl(*FALCON, "--kubeconfig", "/nope", code=2).stderr


@pytest.mark.parametrize("text", ["", "][", "a: b", "\x00", "clusters: 1\ncontexts: []\ncurrent-context: x"])
def test_a_broken_kubeconfig_is_bad_input(offline: Shell, tmp_path: Path, text: str) -> None:
    file = tmp_path / "kubeconfig"
    file.write_text(text)
    assert str(file) in offline.kaitoctl(*FALCON, "--kubeconfig", str(file), code=2).stderr


def kubeconfig(tmp_path: Path, server: str, **user: str) -> str:
    file = tmp_path / "kubeconfig"
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": user}],
    }
    file.write_text(yaml.safe_dump(config))
    return str(file)


def test_an_unknown_context_is_bad_input(offline: Shell, tmp_path: Path) -> None:
    file = kubeconfig(tmp_path, "http://127.0.0.1:1")
    done = offline.kaitoctl(*FALCON, "--kubeconfig", file, "--context", "other", code=2)
    assert "other" in done.stderr


def test_a_cluster_that_is_down_is_unreachable(offline: Shell, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    file = kubeconfig(tmp_path, f"http://127.0.0.1:{port}")
    done = offline.kaitoctl(*FALCON, "--kubeconfig", file, code=3)
    assert f"cannot reach the API server http://127.0.0.1:{port}" in done.stderr


def test_a_token_is_not_sent_in_the_clear(offline: Shell, tmp_path: Path) -> None:
    file = kubeconfig(tmp_path, "http://cluster.example", token="secret-token")
    done = offline.kaitoctl(*FALCON, "--kubeconfig", file, code=2)
    assert "plain HTTP" in done.stderr
    assert "secret-token" not in done.stderr


def test_a_wrong_token_is_refused_and_not_shown(shell: Shell, offline: Shell) -> None:
    config = yaml.safe_load(Path(shell.kubeconfig).read_text())
    for user in config["users"]:
        user["user"] = {"token": "guess-what"}
    file = offline.home / "config.yaml"
    file.write_text(yaml.safe_dump(config))
    done = offline.kaitoctl(*FALCON, "--kubeconfig", str(file), code=4)
    assert "log in again" in done.stderr
    assert "guess-what" not in done.stderr


def test_a_cluster_without_the_crd_is_told_how_to_get_it(tmp_path: Path) -> None:
    bare = Shell(tmp_path, "bare")
    bare.kaitoctl("sandbox", "up", "--no-controller")
    bare.kubectl("delete", "crd", "workspaces.kaito.sh")
    done = bare.kaitoctl(*FALCON, "--sandbox", code=4)
    assert "the CRD workspaces.kaito.sh is not installed" in done.stderr
    schema = re.search(r"kubectl apply .*-f (\S+)", done.stderr)
    assert schema
    bare.kubectl("apply", "--server-side", "--validate=false", "-f", schema[1])
    bare.kaitoctl(*FALCON, "--sandbox", "--no-wait")
    bare.kaitoctl("sandbox", "down", "--delete")


def test_a_damaged_sandbox_says_so_and_how_to_start_again(tmp_path: Path) -> None:
    broken = Shell(tmp_path, "broken")
    broken.kaitoctl("sandbox", "up", "--no-controller")
    broken.kaitoctl("sandbox", "down")
    (state,) = tmp_path.glob("state/sandbox/broken/state.db")
    state.write_bytes(b"\xff" * 5000)
    for command in (["sandbox", "up"], ["nodes", "--sandbox"]):
        done = broken.kaitoctl(*command, code=1)
        assert f"the sandbox's state {state} is damaged" in done.stderr
        assert "start with an empty cluster" in done.stderr
        assert "Traceback" not in done.stderr
    broken.kaitoctl("sandbox", "down", "--delete")
    broken.kaitoctl("nodes", "--sandbox")
    broken.kaitoctl("sandbox", "down", "--delete")


def test_a_conflict_names_the_way_to_take_the_field_over(shell: Shell, namespace: str) -> None:
    shell.kaitoctl(*FALCON, "-n", namespace, "--no-wait", "--label", "apps=conflict", "--yes")
    patch = '{"inference":{"adapters":[{"source":{"name":"a","image":"r.io/a:1"},"strength":"1.0"}]}}'
    shell.patch(patch, "workspace", "w", "-n", namespace)
    adapter = ["--adapter", "b=r.io/b:1,strength=0.5"]
    again = [*FALCON, "-n", namespace, "--no-wait", "--label", "apps=conflict", *adapter]
    assert "--force-conflicts" in shell.kaitoctl(*again, code=4).stderr
    assert "configured" in shell.kaitoctl(*again, "--force-conflicts", "--yes").stdout


NO_WORKSPACE = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n"
HALF = (
    '{"apiVersion":"kaito.sh/v1alpha1","kind":"Workspace","metadata":{"name":"half-\\ud800"},"resource":{}}'
)


@pytest.mark.parametrize(
    ("command", "text", "words"),
    [
        (
            "add-adapter -f - --name a --image a/b:1",
            NO_WORKSPACE,
            "error: stdin: there is no Workspace in it",
        ),
        ("render -f -", NO_WORKSPACE, "error: stdin: there is no Workspace in it"),
        ("render -f -", NO_WORKSPACE, "► stdin: document 1 is a ConfigMap, not a Workspace; skipped"),
        ("render -f -", "a: [", "stdin:"),
        ("replay -", "{}", "error: stdin, line 1: not a record"),
        ("replay -", "", "error: stdin: nothing was recorded in it"),
        (
            "render -f -",
            "kind: Workspace\nmetadata: {name: w}\n",
            "apiVersion: it is missing; it must be one of",
        ),
        ("convert -f - --to v1beta1", HALF, "'half-\\ud800"),
    ],
)
def test_what_comes_from_stdin_is_called_so(offline: Shell, command: str, text: str, words: str) -> None:
    done = subprocess.run(
        [str(BIN / "kaitoctl"), *command.split()],
        input=text,
        capture_output=True,
        text=True,
        check=False,
        env=offline.env,
        cwd=offline.home,
    )
    assert done.returncode == 2
    assert words in done.stderr
    assert "None" not in done.stderr
    assert "this should not happen" not in done.stderr


def test_an_argument_that_is_no_text_is_shown(sandbox_shell: Shell) -> None:
    named = ("--preset", "falcon-7b", "--preferred-node", "n\udcff")  # how Python has the byte 0xff
    command = [str(BIN / "kaitoctl"), "check-nodes", *named]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=sandbox_shell.env)
    assert done.returncode == 2
    assert "n\\udcff" in done.stderr
    assert "cannot be written as UTF-8" in done.stderr


def test_a_file_that_is_no_text_is_called_so(offline: Shell) -> None:
    (offline.home / "w.yaml").write_bytes(b"a: \xed\xa0\x80\n")
    done = offline.kaitoctl("validate", "-f", "w.yaml", code=2)
    assert "this is not UTF-8 text" in done.stdout


def test_nodes_of_the_sandbox_are_of_the_version_of_its_server(sandbox_shell: Shell) -> None:
    server = json.loads(sandbox_shell.kubectl("version", "-o", "json"))["serverVersion"]["gitVersion"]
    sandbox_shell.add_node("versioned", "Standard_NC12s_v3")
    kubelet = sandbox_shell.get("node", "versioned")["status"]["nodeInfo"]["kubeletVersion"]
    sandbox_shell.delete_node("versioned")
    assert server.startswith(f"{kubelet}+")
