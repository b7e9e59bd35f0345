"""Every format and order of rows, wherever objects or rows are shown: of all commands."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from builders import node as gpu_node
from cli import every_command
from shell import Shell
from world import falcon

from kaitoctl.cli import app as app_

NAMESPACE = "output-formats"
ROWS = ("table", "wide", "json", "yaml", "name")

# A list: how it is called, and where its JSON has the rows (none: it is the list).
LISTS = {
    "check-nodes": ("-f falcon.yaml --nodes nodes.yaml", "nodes"),
    "events": ("falcon", "events"),
    "explain": ("", "codes"),
    "fit": ("falcon-7b", "choices"),
    "get": ("", "items"),
    "list-adapters": ("falcon", ""),
    "mirror list": ("-f falcon.yaml", "images"),
    "models list": ("--target-version v0.4", "presets"),
    "nodes": ("--nodes nodes.yaml", "nodes"),
    "orphans": ("", "orphans"),
    "rollout history": ("falcon", "items"),
    "runtime models list": ("", "models"),
    "sandbox image list": ("", "images"),
    "sandbox model list": ("", "presets"),
    "sandbox status": ("", "sandboxes"),
    "skus list": ("", "instance_types"),
    "status": ("", "workspaces"),
    "template list": ("", "templates"),
}
HAVE_NO_ROWS = {
    "adapter check": "what is wrong with one adapter, in the order of its weight",
    "models describe": "the facts of one model",
    "validate": "problems, in the order of their lines",
}
NAME_NOTHING = {
    "adapter check": "findings",
    "config view": "a file",
    "doctor": "checks",
    "models describe": "the name was typed",
    "upgrade verify": "checks",
    "validate": "documents, which no cluster knows yet",
    "version": "versions",
}
WRITES_ALONE = "a line `KIND/NAME WORD` for each object that is written, as kubectl's"
HAVE_NO_FORMAT = {
    **dict.fromkeys(
        (
            *("apply", "delete", "edit", "restart", "rollout fleet", "rollout pause", "rollout resume"),
            *("sandbox node add", "sandbox node break", "sandbox node repair", "sandbox node rm"),
        ),
        WRITES_ALONE,
    ),
    **dict.fromkeys(("chat", "logs"), "what a model or a container says"),
    **dict.fromkeys(("rollout status", "replay"), "a rollout as it goes; programs have `status -w -o json`"),
    **dict.fromkeys(("options", "template show", "completion", "schema"), "a text"),
    **dict.fromkeys(
        ("run-controller", "run-webhook", "runtime serve", "sandbox serve"), "programs with no end"
    ),
    **dict.fromkeys(
        (
            *("adapter pack", "runtime models pull", "sandbox down", "sandbox image load", "sandbox up"),
            *("sandbox model rm", "sandbox model set", "template new", "sandbox kubeconfig"),
        ),
        "something is done on this machine; the result is a file, or its path",
    ),
}


def _leaves(command: Any, context: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    if hasattr(command, "list_commands"):
        for name in command.list_commands(context):
            yield from _leaves(command.get_command(context, name), context, (*path, name))
    else:
        yield " ".join(path), command


def _every() -> dict[str, Any]:
    root = typer.main.get_command(app_.app)
    return dict(_leaves(root, root.make_context("kaitoctl", [], resilient_parsing=True)))


EVERY = _every()


def flags(command: Any) -> set[str]:
    return {name for param in command.params for name in param.opts}


def formats(command: Any) -> tuple[str, ...]:
    """The formats of a command as its help names them; none where it has no option for them."""
    for param in command.params:
        if "--output" in param.opts and param.metavar == "FORMAT":
            words = re.search(r"((?:\w+, )+\w+ or \w+|\w+ or \w+)", param.help)
            assert words, param.help
            return tuple(re.split(r", | or ", words[1]))
    return ()


def test_each_command_writes_formats_or_has_a_reason_not_to() -> None:
    without = {path for path, command in EVERY.items() if not formats(command)}
    assert without == set(HAVE_NO_FORMAT)


def test_what_is_written_is_written_as_json_and_yaml_and_by_name() -> None:
    for path, command in EVERY.items():
        found = set(formats(command))
        if found:
            assert {"json", "yaml"} <= found, path
            assert ("name" in found) == (path not in NAME_NOTHING), path


def test_rows_have_all_formats_an_order_and_headers_that_can_be_left_out() -> None:
    tables = {path for path, command in EVERY.items() if "table" in formats(command)}
    assert tables == LISTS.keys() | HAVE_NO_ROWS.keys()
    for path, command in EVERY.items():
        options = {"--sort-by", "--no-headers"} & flags(command)
        assert options == ({"--sort-by", "--no-headers"} if path in LISTS else set()), path
        if path in LISTS:
            assert set(ROWS) <= set(formats(command)), path


@pytest.fixture(scope="module")
def listed(sandbox_shell: Shell) -> Shell:
    """A shell for which each of the lists has a row."""
    shell = sandbox_shell
    shell.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    nodes = [gpu_node(name, instance_type="Standard_NC12s_v3") for name in ("gpu-b", "gpu-a")]
    (shell.home / "nodes.yaml").write_text(yaml.safe_dump_all(nodes))
    (shell.home / "falcon.yaml").write_text(yaml.safe_dump(falcon()))
    options = ("--preset", "falcon-7b", "--instance-type", "Standard_NC12s_v3", "--label", "apps=formats")
    adapter = ("--adapter", "style=registry.example/style:1,strength=0.5")
    shell.kaitoctl("create", "workspace", "falcon", *options, *adapter, "-n", NAMESPACE, "--yes")
    labels = {"kaito.sh/workspace": "gone", "kaito.sh/workspacenamespace": NAMESPACE}
    shell.add_node("left-over", "Standard_NC6s_v3", **labels)
    return shell


@pytest.mark.parametrize("path", LISTS)
def test_a_list_has_rows_in_every_format(listed: Shell, path: str) -> None:
    arguments, key = LISTS[path]
    is_of_namespace = path in ("events", "get", "list-adapters", "rollout history", "status")
    where = ("-n", NAMESPACE) if is_of_namespace else ()

    def run(*options: str) -> Any:
        return listed.run("kaitoctl", *path.split(), *arguments.split(), *where, *options)

    def lines(*options: str) -> list[str]:
        done = run(*options)
        assert done.returncode in (0, 1), done.stderr
        return [line for line in done.stdout.splitlines() if line]

    document = json.loads(run("-o", "json").stdout)
    rows = document[key] if key else document
    if path in ("sandbox model list", "sandbox image list"):  # they have rows only where there is a model
        assert rows == []
        return
    assert rows
    assert yaml.safe_load(run("-o", "yaml").stdout) == document
    assert len(lines("-o", "custom-columns=N:.*")) == 1 + len(rows)
    assert len(lines("-o", "name")) in range(1, len(rows) + 1)
    assert len(lines("-o", f"jsonpath={{range .{key}[*]}}x{{'\\n'}}{{end}}" if key else "jsonpath={[*]}"))
    if path != "orphans":  # an entry of several lines each, and no headers
        assert len(lines("-o", "wide")) > len(lines("-o", "wide", "--no-headers"))
    refused = run("--sort-by", ".nosuch")
    assert refused.returncode == 2 and "no item has such a field" in refused.stderr
    field = next(name for name, value in rows[0].items() if isinstance(value, str))
    ordered = json.loads(run("-o", "json", "--sort-by", f".{field}").stdout)
    found = [row[field] for row in (ordered[key] if key else ordered)]
    assert found == sorted(row[field] for row in rows)


CHOICES = {
    "--how",
    "--node-provisioner",
    "--cloud",
    "--cloud-provider",
    "--type",
    "--log-level",
    "--to",
    "--from",
}
OF_CHOICES = {"FORMAT", "MODE", "VERSION", "KIND"}


def test_values_are_completed_of_every_option_that_has_few() -> None:
    """docs/conventions.md has it so; --to and --from are of releases, where they are not of files."""
    without = [
        f"{path} {param.opts[0]}"
        for path, command in EVERY.items()
        for param in command.params
        if param.param_type_name == "option" and not param.is_flag
        if param.metavar in OF_CHOICES
        or (CHOICES & set(param.opts) and param.metavar in (None, "NAME", "LEVEL"))
        if param._custom_shell_complete is None
    ]
    assert without == []


# How the commands are called that do not ask a cluster; the others are in every_command.
OFFLINE = {
    "adapter check": "adapter",
    "config view": "",
    "convert": "-f falcon.yaml --to v1beta1",
    "explain": "",
    "fit": "falcon-7b",
    "mirror list": "-f falcon.yaml",
    "models describe": "phi-4",
    "models list": "",
    "render": "-f falcon.yaml",
    "runtime models list": "",
    "sandbox image list": "",
    "sandbox model list": "",
    "sandbox status": "",
    "skus list": "",
    "template list": "",
}


@pytest.mark.parametrize("path", [path for path in EVERY if path not in HAVE_NO_FORMAT])
def test_a_command_takes_the_formats_that_its_help_names(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "falcon.yaml").write_text(every_command.MANIFEST)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    words = OFFLINE[path].split() if path in OFFLINE else every_command.CALLS[path][0]
    made = [word.format(file="falcon.yaml", record="record", kubeconfig="none") for word in words]
    code = app_.run(lambda: app_.app([*path.split(), *made, "-o", "no-format"]))
    said = capsys.readouterr().err
    assert code == 2, said
    choices = re.search(r"--output 'no-format': choose (.*)", said)
    assert choices, said
    named = set(re.split(r", | or ", choices[1]))
    chosen_by = {"jsonpath=...", "custom-columns=..."}  # wherever there is JSON
    assert named - chosen_by == set(formats(EVERY[path]))
    assert named & chosen_by == (chosen_by if "json" in named else set())
