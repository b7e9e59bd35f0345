"""Servers that answer nonsense, hang, or quote secrets: a clear end in time, never a traceback."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from fake_server import always, serving
from shell import Shell

FALCON = ["create", "workspace", "w", "--preset", "falcon-7b", "--instance-type", "Standard_NC12s_v3"]
WORKSPACE: dict[str, Any] = {
    "apiVersion": "kaito.sh/v1alpha1",
    "kind": "Workspace",
    "metadata": {"name": "w", "namespace": "default", "uid": "1", "resourceVersion": "1"},
}


@pytest.mark.parametrize(
    "body",
    ["", "{}", "[]", "null", "5", "[" * 200_000, "<html>hello</html>", '{"items": 5}', '{"metadata": "x"}'],
    ids=["empty", "map", "list", "null", "number", "deep", "html", "items", "metadata"],
)
def test_answers_of_another_shape_end_in_words(offline: Shell, tmp_path: Path, body: str) -> None:
    with serving(always(200, body), tmp_path) as kubeconfig:
        done = offline.run("kaitoctl", *FALCON, "--kubeconfig", kubeconfig, "--timeout", "2s")
    assert done.returncode in (1, 3, 4, 124), done.stderr
    assert "Traceback" not in done.stderr
    assert "error: " in done.stderr


@pytest.mark.parametrize(
    "details", ["x", 5, {"retryAfterSeconds": [1]}, {"retryAfterSeconds": "nan"}, {"causes": 1}]
)
def test_odd_details_of_a_refusal_do_no_harm(offline: Shell, tmp_path: Path, details: Any) -> None:
    status = {"kind": "Status", "message": "no", "reason": "Forbidden", "details": details}
    with serving(always(403, status), tmp_path) as kubeconfig:
        done = offline.kaitoctl(*FALCON, "--kubeconfig", kubeconfig, code=4)
    assert "error: no" in done.stderr


@pytest.mark.parametrize("command", [["status"], ["why", "w"], ["nodes"], FALCON])
def test_who_is_not_let_in_learns_by_which_server(offline: Shell, tmp_path: Path, command: list[str]) -> None:
    status = {"kind": "Status", "message": "Unauthorized", "reason": "Unauthorized"}
    with serving(always(401, status), tmp_path) as kubeconfig:
        server = yaml.safe_load(Path(kubeconfig).read_text())["clusters"][0]["cluster"]["server"]
        done = offline.kaitoctl(*command, "--kubeconfig", kubeconfig, code=4)
    address = server.rpartition("/")[0]  # its path is a secret
    assert f"error: {address} does not accept the credentials (401): Unauthorized" in done.stderr
    assert "hint: " in done.stderr and "log in again" in done.stderr


def test_secrets_that_a_server_quotes_are_not_shown(offline: Shell, tmp_path: Path) -> None:
    def quoting(method: str, path: str) -> tuple[int, str]:
        return 400, f"bad request for {path} with Bearer s3cret-token"

    with serving(quoting, tmp_path) as kubeconfig:
        done = offline.kaitoctl(*FALCON, "--kubeconfig", kubeconfig, code=4)
    assert "***" in done.stderr
    assert "s3cret" not in done.stderr


def test_what_steers_a_terminal_arrives_as_text(offline: Shell, tmp_path: Path) -> None:
    status = {"kind": "Status", "message": "x\x1b[2J\x1b]0;owned\x07\u202e\nerror: fake", "reason": "Invalid"}
    with serving(always(422, status), tmp_path) as kubeconfig:
        done = offline.kaitoctl(*FALCON, "--kubeconfig", kubeconfig, code=4)
    assert "\x1b" not in done.stderr
    assert "\u202e" not in done.stderr
    assert len([line for line in done.stderr.splitlines() if line.startswith("error: ")]) == 1


@pytest.mark.parametrize("body", ["{}", "garbage"])
def test_the_timeout_holds_while_nothing_can_be_watched(offline: Shell, tmp_path: Path, body: str) -> None:
    def answer(method: str, path: str) -> tuple[int, str]:
        if path.endswith("/apis/kaito.sh"):
            return 200, json.dumps({"versions": [{"version": "v1alpha1"}]})
        if method == "PATCH":
            return 200, json.dumps(WORKSPACE)
        if path.endswith("/workspaces/w"):
            return 404, json.dumps({"kind": "Status", "reason": "NotFound", "details": {"name": "w"}})
        return 500, body

    with serving(answer, tmp_path) as kubeconfig:
        where = ("--kubeconfig", kubeconfig, "--timeout", "1s")
        refused = offline.kaitoctl(*FALCON, *where, code=2).stderr
        done = offline.kaitoctl(*FALCON, *where, "--yes", code=124)
    assert "! cannot tell: what restarts and is bought: " in refused and "add --yes" in refused
    assert "is not ready after 1s" in done.stderr


@pytest.mark.sandbox_alone("it is its own command")
def test_a_name_that_is_none_reaches_no_collection(shell: Shell) -> None:
    before = shell.names("nodes")
    for name in ("", ".", "..", "a/b", "A"):
        for command in (["rm", name], ["break", name], ["add", name, "--instance-type", "Standard_NC6s_v3"]):
            done = shell.kaitoctl("sandbox", "node", *command, code=2)
            assert "cannot name a node" in done.stderr
    assert shell.names("nodes") == before


@pytest.mark.parametrize(
    "arguments", [["sandbox", "status", "-o", "json"], [*FALCON, "--dry-run=client", "-o", "yaml"]]
)
def test_a_reader_that_goes_away_is_no_failure(offline: Shell, arguments: list[str]) -> None:
    command = " ".join(f"'{word}'" for word in arguments)
    done = offline.run(
        "/bin/bash", "-c", f"set -o pipefail; kaitoctl {command} | true; echo ${{PIPESTATUS[0]}}"
    )
    assert done.stdout.strip() == "0", done.stderr


def test_data_survives_a_terminal_without_its_letters(offline: Shell) -> None:
    arguments = [*FALCON[:3], "--template", "t.yaml", "--set", "note=grüße", "--dry-run=client", "-o", "yaml"]
    (offline.home / "t.yaml").write_text(
        "apiVersion: kaito.sh/v1alpha1\nkind: Workspace\n"
        "metadata: {name: {{ name }}, annotations: {note: {{ note }}}}\n"
        "resource: {labelSelector: {matchLabels: {a: b}}}\ninference: {preset: {name: falcon-7b}}\n"
    )
    made = yaml.safe_load(offline.kaitoctl(*arguments, PYTHONIOENCODING="ascii").stdout)
    assert made["metadata"]["annotations"] == {"note": "grüße"}


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("metadata: {name: other}", "'other', and not 'w'"),
        ("metadata: {name: [a]}", "and not 'w'"),
        ("metadata: {name: w, namespace: other}", "is not that of --namespace mine"),
    ],
)
def test_a_template_cannot_make_another_workspace(offline: Shell, template: str, words: str) -> None:
    (offline.home / "t.yaml").write_text(
        f"apiVersion: kaito.sh/v1alpha1\nkind: Workspace\n{template}\n"
        "resource: {labelSelector: {matchLabels: {a: b}}}\ninference: {preset: {name: falcon-7b}}\n"
    )
    done = offline.kaitoctl(*FALCON, "-n", "mine", "--template", "t.yaml", "--dry-run=client", code=2)
    assert words in done.stderr


@pytest.mark.parametrize("server", ["http://[::1", "ftp://x", "", "http://127.0.0.1:99999", "nonsense"])
def test_a_server_that_is_no_address_is_bad_input(offline: Shell, tmp_path: Path, server: str) -> None:
    with serving(always(200, "{}"), tmp_path) as kubeconfig:
        config = yaml.safe_load(Path(kubeconfig).read_text())
        config["clusters"][0]["cluster"]["server"] = server
        Path(kubeconfig).write_text(yaml.safe_dump(config))
        done = offline.kaitoctl(*FALCON, "--kubeconfig", kubeconfig, code=2)
    assert "is not an http(s) address" in done.stderr
    lacks = bool(server) and "://" not in server
    assert ("write its scheme before it: https://nonsense" in done.stderr) is lacks


def test_a_state_folder_that_cannot_be_used_is_named(offline: Shell, tmp_path: Path) -> None:
    file = tmp_path / "a-file"
    file.write_text("")
    done = offline.kaitoctl("sandbox", "up", KAITOCTL_STATE_DIR=str(file), code=1)
    assert str(file) in done.stderr


@pytest.mark.parametrize(
    ("names", "words"), [(["w"], "the same page of a list over and over"), ([], "and no end of it")]
)
def test_a_list_that_never_ends_is_left(offline: Shell, tmp_path: Path, names: list[str], words: str) -> None:
    asked = 0

    def endless(method: str, path: str) -> tuple[int, str]:
        nonlocal asked
        asked += 1
        items = [{**WORKSPACE, "metadata": {**WORKSPACE["metadata"], "name": name}} for name in names]
        metadata = {"continue": f"token-{asked}", "resourceVersion": "1"}
        answer = {"kind": "List", "versions": [{"version": "v1alpha1"}], "metadata": metadata, "items": items}
        return 200, json.dumps(answer)

    with serving(endless, tmp_path) as kubeconfig:
        done = offline.kaitoctl("status", "--kubeconfig", kubeconfig, code=3)
    assert words in done.stderr
