"""Every screen of every command on real terminals: 80 and 120 columns, coloured and plain.

No line is longer than the terminal but a command to paste or a single word; and no name is cut.
tests/pure/test_terminal.py does the same for screens that are hard to bring about.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from shell import Shell
from world import falcon

from kaitoctl.cli import quick

NAME = "workspace-falcon-7b-for-the-second-team"
NAMESPACE = "every-screen"
OFFLINE = [
    "-h", "options", "models list", "models describe phi-4", "models describe falcon-7b", "skus list",
    "fit falcon-7b", "fit phi-4", "fit phi-4 --all", "fit llama-3.3-70b-instruct", "template list", "explain",
    "explain KW121", "explain adapter-image-bad", "validate -f bad.yaml", "runtime models list",
    "fit --nodes nodes.yaml", "nodes --nodes nodes.yaml", "check-nodes -f good.yaml --nodes nodes.yaml",
    "adapter check pirate", "adapter check broken",
    "config view", "sandbox status", "mirror list good.yaml", "upgrade plan --to v0.12 -f bad.yaml",
]  # fmt: skip
CLUSTER = [
    "status", "status {name}", "why {name}", "events {name}", "rollout history {name}",
    "list-adapters {name}",
    "nodes", "doctor", "check-nodes {name}", "version", "fit --cluster", "plan -f changed.yaml",
    "diff -f changed.yaml", "orphans", "status -A", "get", "render -f good.yaml -o name",
    "upgrade plan --to v0.12", "upgrade verify --to v0.12", "apply -f changed.yaml --dry-run server",
    "delete {name} --dry-run server", "restart {name} --dry-run server", "scale {name} --count 2",
    "rollout undo {name} --dry-run server", "rollout status {name}", "endpoint {name}",
    "set-adapter {name} --name style --strength 0.5 --dry-run server",
    "remove-adapter {name} --name style --dry-run server",
    "add-adapter {name} --name more --image registry.example/more:1 --dry-run server",
    "create workspace {name} --preset falcon-7b --dry-run server",
]  # fmt: skip
# Of a set and its replicas, whose names are as long.
SET = [
    "status", "status {name}", "why {name}", "events {name}", "nodes", "rollout history {name}",
    "rollout status {name}", "rollout fleet {name} --yes", "plan -f more.yaml",
    "delete inferenceset/{name} --dry-run server",
    "create inference-set another-{name} --preset phi-4-mini-instruct --dry-run server",
]  # fmt: skip
# What has no screen of tables and sentences here, and why.
ELSEWHERE = {
    "data whose width is the reader's": "chat completion convert logs schema template-new template-show",
    "no end of its own": "run-controller run-webhook runtime-serve sandbox-serve",
    "a line or two": "adapter-pack sandbox-down sandbox-image-list sandbox-image-load sandbox-kubeconfig "
    "sandbox-model-list sandbox-model-rm sandbox-model-set sandbox-node-add sandbox-node-break "
    "sandbox-node-repair sandbox-node-rm sandbox-up rollout-pause rollout-resume",
    "an editor's screen, and plan's": "edit",
    "a download": "runtime-models-pull",
    "the screen of status": "replay",
}
SIZES = [(80, True), (80, False), (120, True), (120, False)]
"""Columns, and whether in colour."""
# Of letters and what joins them; not an age, a count or a part of a drawing.
_NAME = re.compile(r"[^\d\W][\w./:-]*")
# A cluster may have moved on between a narrow look and a wide one; what is broken is so each time.
_LOOKS = 3
# Data that is copied, whatever its width.
_COPIED = re.compile(r"^\W*(?:\w+: )?(?:kubectl|kaitoctl|curl|https?:|/)|(?:kubectl|kaitoctl) \S")


def test_every_command_has_its_screens_here_or_a_reason() -> None:
    commands = {path for path, one in quick.table()["commands"].items() if path and "commands" not in one}
    shown = {" ".join(line.split()[:count]) for line in (*OFFLINE, *CLUSTER, *SET) for count in (1, 2, 3)}
    reasons = {name.replace("-", " ") for names in ELSEWHERE.values() for name in names.split()}
    spelt = {command.replace("-", " "): command for command in commands}
    assert set(spelt) - reasons - {line.replace("-", " ") for line in shown} == set()
    assert reasons <= set(spelt), "no such command"


@pytest.fixture(scope="module")
def broken(sandbox_shell: Shell) -> Shell:
    """A shell whose namespace has a Workspace with a long name and an adapter whose image is missing."""
    shell = sandbox_shell
    shell.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    where = ["-n", NAMESPACE]
    options = ["--preset", "falcon-7b", "--instance-type", "Standard_NC12s_v3", "--label", "apps=screens"]
    shell.kaitoctl("create", "workspace", NAME, *options, *where)
    image = "registry.example/an-adapter-with-a-long-name-does-not-exist:2026-11-29"
    shell.kaitoctl("add-adapter", NAME, "--name", "style", "--image", image, "--yes", *where, code=1)
    files(shell)
    return shell


def files(shell: Shell) -> None:
    import yaml
    from builders import node as gpu_node

    pirate = Path(__file__).parents[2] / "examples" / "pirate"
    shutil.copytree(pirate, shell.home / "pirate", dirs_exist_ok=True)
    (shell.home / "broken").mkdir(exist_ok=True)
    obj = falcon(labelSelector={"matchLabels": {"apps": "screens"}})
    obj["metadata"] = {"name": NAME, "namespace": NAMESPACE}
    (shell.home / "good.yaml").write_text(yaml.safe_dump(obj))
    obj["resource"]["count"] = 2
    (shell.home / "changed.yaml").write_text(yaml.safe_dump(obj))
    obj["resource"]["instanceTyp"] = "x"
    obj["inference"]["preset"]["name"] = "falcon-70b"
    (shell.home / "bad.yaml").write_text(yaml.safe_dump(obj))
    node = gpu_node("ip-10-0-41-7.eu-central-1.compute.internal")
    (shell.home / "nodes.yaml").write_text(yaml.safe_dump(node))


def faults(lines: list[str], columns: int) -> Iterator[str]:
    for line in lines:
        words = line.split()
        if len(line) > columns and len(words) > 1 and not _COPIED.search(line):
            yield f"{len(line)} columns: {line}"
        if any(re.search(r"\w…$|^…\w", word) for word in words):
            yield f"a name is cut: {line}"


@pytest.mark.parametrize(("columns", "colour"), SIZES)
def test_no_screen_without_a_cluster_is_too_wide(offline: Shell, columns: int, colour: bool) -> None:
    files(offline)
    assert found(offline, OFFLINE, columns, colour) == {}


def test_no_screen_of_a_set_is_too_wide(sandbox_shell: Shell) -> None:
    name, shell = "phi-mini-for-the-second-team-of-all", sandbox_shell
    make = ("create", "inference-set", name, "--preset", "phi-4-mini-instruct", "--replicas", "2")
    instance = ("--instance-type", "Standard_NC24ads_A100_v4")
    shell.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    done = shell.kaitoctl(*make, *instance, "-n", NAMESPACE, "--yes", "--timeout", "90s")
    assert f"next: kaitoctl endpoint {name} -n {NAMESPACE}" in done.stderr
    made = shell.get("inferenceset", name, "-n", NAMESPACE)
    made["spec"]["replicas"] = 4
    (shell.home / "more.yaml").write_text(json.dumps(made))
    commands = [f"{command.format(name=name)} -n {NAMESPACE}" for command in SET]
    try:
        for columns, colour in SIZES:
            assert found(shell, commands, columns, colour) == {}
    finally:
        shell.kaitoctl("delete", f"inferenceset/{name}", "-n", NAMESPACE, "--yes", "--no-wait")


@pytest.mark.parametrize(("columns", "colour"), SIZES)
def test_no_screen_of_a_cluster_is_too_wide(broken: Shell, columns: int, colour: bool) -> None:
    assert found(broken, of_cluster(), columns, colour) == {}


def test_a_wide_screen_without_a_cluster_is_the_same_on_every_terminal(offline: Shell) -> None:
    files(offline)
    assert otherwise_wide(offline, OFFLINE) == {}


def test_a_wide_screen_of_a_cluster_is_the_same_on_every_terminal(broken: Shell) -> None:
    assert otherwise_wide(broken, of_cluster()) == {}


def test_every_command_that_takes_wide_has_its_wide_screen_here() -> None:
    commands = quick.table()["commands"]
    takes_wide = {path for path, one in commands.items() if "table, wide" in json.dumps(one.get("options"))}
    # Their tables are those of the other lists.
    assert takes_wide - set(map(path_of, (*OFFLINE, *CLUSTER))) == {
        "sandbox image list",
        "sandbox model list",
    }


def otherwise_wide(shell: Shell, commands: list[str]) -> dict[str, set[str]]:
    """With -o wide: the names that only one of two terminals shows, of 80 columns and of 400."""
    wrong = {}
    for command in commands:
        if "table, wide" not in json.dumps(quick.table()["commands"].get(path_of(command), {})):
            continue
        for _ in range(_LOOKS):
            narrow, wide = (
                {
                    word
                    for line in seen_on(shell, columns, True, *command.split(), "-o", "wide")
                    for word in line.split()
                }
                for columns in (80, 400)
            )
            differ = {word for word in narrow ^ wide if _NAME.fullmatch(word)}
            if not differ:
                break
        else:
            wrong[command] = differ
    return wrong


def path_of(line: str) -> str:
    """The command of a line, without its arguments."""
    commands, words = quick.table()["commands"], line.split()
    paths = (" ".join(words[:count]) for count in (3, 2, 1))
    return next((path for path in paths if "commands" not in commands.get(path, {"commands"})), "")


def of_cluster() -> list[str]:
    return [command.format(name=NAME) + f" -n {NAMESPACE}" * ("{name}" in command) for command in CLUSTER]


def seen_on(shell: Shell, columns: int, colour: bool, *command: str) -> list[str]:
    """The lines that a terminal of so many columns shows of a command, whatever its exit code."""
    code, text = shell.seen(*command, columns=columns, NO_COLOR="" if colour else "1")
    assert code in (0, 1, 2), command
    assert "Traceback" not in text, text
    assert colour or "\x1b[3" not in text, command
    return re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", text).splitlines()


def found(shell: Shell, commands: list[str], columns: int, colour: bool) -> dict[str, list[str]]:
    wrong = {}
    for command in commands:
        words = command.split()
        for _ in range(_LOOKS):
            lines = seen_on(shell, columns, colour, *words)
            assert any(lines), command
            all_faults = list(faults(lines, columns))
            if columns == 80 and colour:
                all_faults += broken_words(lines, seen_on(shell, 400, colour, *words))
            if not all_faults:
                break
        else:
            wrong[command] = all_faults
    return wrong


def broken_words(narrow: list[str], wide: list[str]) -> list[str]:
    """The words of a narrow terminal that a wide one does not show: pieces of words."""
    # A pull that fails has two names in turn.
    whole = {"ErrImagePull", "ImagePullBackOff", *(word for line in wide for word in line.split())}
    whole |= {word.lower() for word in whole if word.isupper()}  # headers, of cells below their line
    pieces = {word for line in narrow for word in line.split()} - whole
    # A cell that moves below its line is led in by a colon; two names in one column are joined by a slash.
    return sorted(
        word
        for word in pieces
        if _NAME.fullmatch(word) and word.removesuffix(":") not in whole and not set(word.split("/")) <= whole
    )
