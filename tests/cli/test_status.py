"""The tree, the table of nodes and `why` at 80 columns; lines and JSON for pipes; records."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from fake_server import serving
from shell import BIN, Shell

Golden = Callable[[str, str], None]
Wait = Callable[[Callable[[], object]], None]
STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"


@pytest.fixture(scope="module")
def shell(sandbox_shell: Shell) -> Shell:
    """Screens show what only the sandbox's timetable brings about."""
    return sandbox_shell


def workspace(name: str, namespace: str, **inference: Any) -> Any:
    labels = {"apps": f"{namespace[-50:]}-{name}".strip("-")}
    return {
        "apiVersion": "kaito.sh/v1alpha1",
        "kind": "Workspace",
        "metadata": {"name": name, "namespace": namespace},
        "resource": {"instanceType": "Standard_NC12s_v3", "labelSelector": {"matchLabels": labels}},
        "inference": {"preset": {"name": "falcon-7b"}, **inference},
    }


def adapter(image: str) -> Any:
    return [{"source": {"name": "style", "image": f"registry.example/{image}"}, "strength": "1.0"}]


def on_a_terminal(shell: Shell, *arguments: str, code: int = 0, no_color: str = "") -> str:
    """What kaitoctl writes to a terminal of 80 columns."""
    ours, theirs = pty.openpty()
    variables = {**shell.env, "COLUMNS": "80", "LINES": "50", "TERM": "xterm", "NO_COLOR": no_color}
    command = [str(BIN / "kaitoctl"), *arguments]
    process = subprocess.Popen(
        command, stdout=theirs, stderr=subprocess.DEVNULL, env=variables, cwd=shell.home
    )
    os.close(theirs)
    seen = b""
    try:
        while chunk := os.read(ours, 65536):
            seen += chunk
    except OSError:  # how Linux says that the other end has gone
        pass
    os.close(ours)
    assert process.wait(20) == code, seen.decode()
    return seen.decode().replace("\r\n", "\n")


def settled(text: str) -> str:
    """The text without what is new each time: names, addresses, folders, ages (that keep their width)."""
    text = re.sub(r"\S+/state/sandbox/", "/home/me/.local/state/kaitoctl/sandbox/", text)
    text = re.sub(r"\bws[0-9a-f]{9}\b", "ws012345678", text)
    text = re.sub(r"-[bcdfghjklmnpqrstvwxz2456789]{10}\b", "-templateha", text)
    text = re.sub(r"(-templateha)-[bcdfghjklmnpqrstvwxz2456789]{5}\b", r"\1-abcde", text)
    text = re.sub(
        r"…[bcdfghjklmnpqrstvwxz2456789]{5}-[bcdfghjklmnpqrstvwxz2456789]{5}\b", "…ateha-abcde", text
    )
    text = re.sub(r"\bws[0-9a-f]{1,8}…", lambda found: "ws012345678"[: len(found[0]) - 1] + "…", text)
    text = re.sub(r"10\.96\.\d+\.\d+", "10.96.0.1", text)
    text = re.sub(r"(restarting failed container=\S+ pod=\S+)\([0-9a-f-]+\)", r"\1(uid)", text)
    text = re.sub(r"\b(back-off )\w+\b", r"\g<1>10s", text)
    text = re.sub(r"\(x\d+\)", "(x2)", text)
    text = re.sub(r"\b\d+ restarts?\b", "2 restarts", text)
    text = re.sub(r"((?:True|False|Unknown) +\S+ +)\d{1,2}s$", r"\g<1>9s", text, flags=re.MULTILINE)
    text = re.sub(r"( *)\b\d+m(\d\ds)\b", r"\1  \2", text)
    return re.sub(r" *\b\d{1,2}s\b", lambda found: "9s".rjust(len(found[0])), text)


@pytest.fixture(scope="module")
def screens(shell: Shell) -> str:
    """A namespace with a Workspace that serves and one whose adapter does not exist."""
    name = "screens"
    shell.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    shell.apply(workspace("falcon", name))
    shell.apply(workspace("broken", name, adapters=adapter("style:does-not-exist")))
    shell.kaitoctl("status", "falcon", "-n", name, "-w", "--timeout", "60s", "--sandbox")
    # Until Kubernetes has given the rollout up: from then on nothing changes any more.
    given_up = ("wait", "--for=condition=Progressing=False", "deployment/broken", "-n", name, "--timeout=60s")
    shell.kubectl("wait", "--for=create", "deployment/broken", "-n", name, "--timeout=60s")
    shell.kubectl(*given_up)
    return name


@pytest.mark.parametrize("colour", [False, True], ids=["plain", "colour"])
@pytest.mark.parametrize(
    ("screen", "arguments", "code"),
    [
        ("tree-ready", ("status", "falcon"), 0),
        ("tree-failed", ("status", "broken"), 1),
        ("why-ready", ("why", "falcon"), 0),
        ("why-adapter", ("why", "broken"), 1),
        ("list", ("status",), 0),
    ],
)
def test_a_screen(
    shell: Shell,
    screens: str,
    golden: Golden,
    screen: str,
    arguments: tuple[str, ...],
    code: int,
    colour: bool,
) -> None:
    no_color = "" if colour else "1"
    # While an image is pulled once more its pod says nothing of the last time.
    waits = "jsonpath={.status.initContainerStatuses[0].state.waiting.reason}=ImagePullBackOff"
    pods = ("pod", "-l", "kaito.sh/workspace=broken", "-n", screens)
    for is_last in (False, False, True):
        shell.kubectl("wait", f"--for={waits}", *pods, "--timeout=60s")
        text = on_a_terminal(shell, *arguments, "-n", screens, "--sandbox", code=code, no_color=no_color)
        plain = re.sub(r"\x1b\[[\d;]+m", "", text)
        commands = ("    kubectl", "    kaitoctl")  # a command that was broken in two could not be pasted
        assert max(len(line) for line in plain.splitlines() if not line.startswith(commands)) <= 80
        assert (plain != text) is colour
        text = settled(text)
        if screen == "list":  # there the age stands on the left of its column
            text = re.sub(r" {2,}", "  ", text)
        try:
            golden(f"screens/{screen}{'-colour' if colour else ''}.txt", text)
        except AssertionError:
            if is_last:  # on a busy machine the next pull may have begun between the two looks
                raise
        else:
            return


@pytest.mark.parametrize("colour", [False, True], ids=["plain", "colour"])
def test_the_table_of_nodes(shell: Shell, golden: Golden, colour: bool) -> None:
    for name, more in (("screen-a", ("--label", "apps=screen")), ("screen-b", ())):
        there = shell.run(
            "kaitoctl", "sandbox", "node", "add", name, "--instance-type", "Standard_NC8as_T4_v3", *more
        )
        assert there.returncode in (0, 2), there.stderr
    asked = ("--preset", "falcon-7b", "--instance-type", "Standard_NC8as_T4_v3", "--label", "apps=screen")
    named = ("--preferred-node", "screen-a", "--preferred-node", "screen-b")
    no_color = "" if colour else "1"
    text = on_a_terminal(shell, "check-nodes", *asked, *named, "--sandbox", no_color=no_color)
    golden(f"screens/nodes{'-colour' if colour else ''}.txt", settled(text))


def test_on_a_terminal_the_picture_is_drawn_in_place_and_the_cursor_comes_back(
    shell: Shell, namespace: str
) -> None:
    shell.apply(workspace("falcon", namespace))
    text = on_a_terminal(shell, "status", "falcon", "-n", namespace, "-w", "--sandbox")
    assert text.startswith("\x1b[?25l")
    assert text.rfind("\x1b[?25h") > text.rfind("\x1b[?25l")
    assert "ready: 1 of 1 pods serve" in text.rpartition("\x1b[?25h")[2], "the last picture stays"
    # Each picture goes up over the one before it, line by line, and is as high as that says.
    erased = r"\r\x1b\[2K(?:\x1b\[1A\x1b\[2K)*"
    live = text.rpartition("\x1b[?25h")[0]
    heights = [1 + part.count("\n") for part in re.split(erased, live)[:-1]]
    ups = [1 + found.count("\x1b[1A") for found in re.findall(erased, live)]
    assert ups == heights
    assert ups


def test_in_a_pipe_each_change_is_a_line_with_its_time(shell: Shell, namespace: str) -> None:
    shell.apply(workspace("falcon", namespace))
    done = shell.kaitoctl("status", "falcon", "-n", namespace, "-w", "--sandbox")
    lines = done.stdout.splitlines()
    assert all(re.match(rf"{STAMP}  {namespace}/falcon  \S", line) for line in lines), lines
    assert len(lines) == len(set(lines))
    assert lines[-1].endswith("ready: 1 of 1 pods serve (simulated)")
    assert "\x1b" not in done.stdout


def test_json_streams_one_object_a_line_and_a_record_plays_it_again(shell: Shell, namespace: str) -> None:
    shell.apply(workspace("falcon", namespace))
    ask = ("status", "falcon", "-n", namespace, "-w", "--sandbox")
    done = shell.kaitoctl(*ask, "-o", "json", "--record", "rollout.jsonl")
    seen = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one["outcome"] for one in seen][-1] == "ready"
    assert [one["tree"]["kind"] for one in seen] == ["Workspace"] * len(seen)
    recorded = (shell.home / "rollout.jsonl").read_text()
    assert [{**json.loads(line), "time": ""} for line in recorded.splitlines()] == [
        {**one, "time": ""} for one in seen
    ]
    played = shell.kaitoctl("replay", "rollout.jsonl")
    assert played.stdout.splitlines()[-1].endswith(
        f"{namespace}/falcon  ready: 1 of 1 pods serve (simulated)"
    )
    drawn = on_a_terminal(shell, "replay", "rollout.jsonl", "--speed", "1000")
    assert "Deployment falcon" in drawn


def test_the_list_is_followed_until_time_is_up(shell: Shell, namespace: str) -> None:
    shell.apply(workspace("falcon", namespace))
    ask = ("status", "-n", namespace, "-w", "--timeout", "4s")
    lines = shell.kaitoctl(*ask, code=124).stdout.splitlines()
    assert all(re.match(rf"{STAMP}  {namespace}/falcon  \w+  \S", line) for line in lines), lines
    assert lines[-1].endswith("Ready  ready: 1 of 1 pods serve (simulated)")
    seen = [json.loads(line) for line in shell.kaitoctl(*ask, "-o", "json", code=124).stdout.splitlines()]
    assert [(one["name"], one["state"]) for one in seen] == [("falcon", "ready")], "no change, no line"
    drawn = on_a_terminal(shell, *ask, code=124)
    assert "NAME    STATE" in drawn
    assert drawn.rfind("\x1b[?25h") > drawn.rfind("\x1b[?25l")


def test_a_failure_ends_with_1_and_its_cause(shell: Shell, namespace: str) -> None:
    shell.apply(workspace("falcon", namespace, adapters=adapter("style:does-not-exist")))
    done = shell.kaitoctl("status", "falcon", "-n", namespace, "-w", "--sandbox", code=1)
    assert "[adapter-image-bad]" in done.stdout
    assert f"kaitoctl why falcon -n {namespace}" in done.stderr


def test_time_that_is_up_ends_with_124(shell: Shell, namespace: str) -> None:
    never = workspace("falcon", namespace)
    never["resource"]["labelSelector"]["matchLabels"]["sandbox.kaitoctl.dev/fault"] = "never-joins"
    shell.apply(never)
    shell.kaitoctl("status", "falcon", "-n", namespace, "-w", "--timeout", "0.05s", "--sandbox", code=124)


def test_ctrl_c_ends_with_130_and_the_cursor_comes_back(shell: Shell, namespace: str) -> None:
    never = workspace("falcon", namespace)
    never["resource"]["labelSelector"]["matchLabels"]["sandbox.kaitoctl.dev/fault"] = "never-joins"
    shell.apply(never)
    ours, theirs = pty.openpty()
    command = [str(BIN / "kaitoctl"), "status", "falcon", "-n", namespace, "-w", "--sandbox"]
    env = {**shell.env, "COLUMNS": "80", "LINES": "50", "TERM": "xterm"}
    process = subprocess.Popen(command, stdout=theirs, stderr=theirs, env=env, cwd=shell.home)
    os.close(theirs)
    seen = b""
    while "◌ Pending".encode() not in seen and b"Launched" not in seen:
        seen += os.read(ours, 65536)
    process.send_signal(signal.SIGINT)
    try:
        while chunk := os.read(ours, 65536):
            seen += chunk
    except OSError:
        pass
    os.close(ours)
    assert process.wait(20) == 130
    assert b"\x1b[?25h" in seen
    said = " ".join(seen.decode().split())
    assert f"follow it again: kaitoctl status falcon -n {namespace} -w" in said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("status", "-w", "--record", "f"), "of one Workspace"),
        (("status", "w", "-A"), "list Workspaces"),
        (("status", "w", "--record", "f"), "require -w"),
        (("status", "w", "-w", "-o", "yaml"), "no YAML"),
        (
            ("status", "-o", "nonsense"),
            "choose table, wide, json, yaml, name, jsonpath=...",
        ),
        (("why", "w", "-o", "nonsense"), "choose text, json, yaml, short, name, jsonpath=..."),
        (("replay", "no-such-file"), "no-such-file"),
        *(
            ((command, "A B"), "does not name a Workspace")
            for command in ("status", "why", "logs", "events", "endpoint", "chat")
        ),
    ],
)
def test_nonsense_is_refused(offline: Shell, arguments: tuple[str, ...], words: str) -> None:
    assert words in offline.kaitoctl(*arguments, code=2).stderr


@pytest.mark.parametrize(
    "text",
    [
        "nonsense",
        "[]",
        "{}",
        '{"time": "t", "workspace": 1}',
        '{"a":' * 5000,
        '{"time":"2026-01-01T00:00:00Z"}',
    ],
)
def test_a_file_that_is_no_record_is_refused_by_line(offline: Shell, text: str) -> None:
    (offline.home / "r.jsonl").write_text(f"\n{text}\n")
    assert "r.jsonl, line 2: not a record" in offline.kaitoctl("replay", "r.jsonl", code=2).stderr


@pytest.mark.parametrize("nothing", ["", "\n \n"])
def test_a_record_without_a_line_is_no_record(offline: Shell, nothing: str) -> None:
    (offline.home / "r.jsonl").write_text(nothing)
    assert "r.jsonl: nothing was recorded in it" in offline.kaitoctl("replay", "r.jsonl", code=2).stderr


@pytest.mark.parametrize("speed", ["nan", "NaN", "0", "-1", "inf", "-inf", "fast"])
@pytest.mark.parametrize("command", ["replay no-such-file", "sandbox up"])
def test_a_speed_at_which_nothing_moves_is_refused(offline: Shell, command: str, speed: str) -> None:
    done = offline.kaitoctl(*command.split(), "--speed", speed, code=2)
    assert "invalid value for '--speed'" in done.stderr


def test_a_name_that_does_not_exist_suggests_the_nearest(shell: Shell, screens: str) -> None:
    commands = ("status", "why", "logs", "events", "endpoint", "check-nodes", "list-adapters")
    for command in (*commands, "rollout history"):
        done = shell.kaitoctl(*command.split(), "falcn", "-n", screens, "--sandbox", code=4)
        assert "did you mean falcon?" in done.stderr
        assert done.stdout == ""


def test_no_namespace_and_no_file_is_said_before_the_cluster_is_asked(offline: Shell) -> None:
    done = offline.kaitoctl("why", "w", "-n", "A B", code=2)
    assert "--namespace 'A B' cannot name a namespace" in done.stderr
    assert "that is a folder" in offline.kaitoctl("why", "w", "--kubeconfig", ".", code=2).stderr


# --- rights that are missing -----------------------------------------------------------------------------


@pytest.fixture
def limited(shell: Shell, tmp_path: Path) -> Iterator[Callable[..., str]]:
    """A kubeconfig for the sandbox behind a door that refuses some resources."""
    kubeconfig = shell.home / "state" / "sandbox" / "tests" / "kubeconfig"
    server = yaml.safe_load(kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
    refused: list[str] = []
    codes, unserved = [403], set[str]()

    def answer(method: str, path: str) -> tuple[int, str]:
        path = path.removeprefix("/s3cret-path")
        if any(f"/{word}" in path for word in refused):
            status = {
                "kind": "Status",
                "reason": "Forbidden",
                "code": codes[0],
                "message": f"{path.split('?')[0]}: no",
            }
            return codes[0], json.dumps(status)
        if "watch=true" in path:
            time.sleep(0.2)
            return 200, ""
        try:
            with urllib.request.urlopen(f"{server}{path}") as found:
                text = found.read().decode()
                if path.startswith("/apis/kaito.sh/"):
                    for kind in unserved:
                        text = text.replace(f'"name":"{kind}"', '"name":"others"')
                return found.status, text
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    with serving(answer, tmp_path) as file:

        def refusing(*words: str, code: int = 403, without: Iterable[str] = ()) -> str:
            refused[:], codes[:] = words, [code]
            unserved.clear()
            unserved.update(without)
            return file

        yield refusing


def test_without_rights_the_answer_has_fewer_details_and_says_so(
    shell: Shell, screens: str, limited: Callable[..., str]
) -> None:
    kubeconfig = limited("events", "secrets", "nodes", "nodeclaims", "services", "replicasets", "log")
    done = shell.kaitoctl(
        "why", "broken", "-n", screens, "--kubeconfig", kubeconfig, "-o", "json", code=1, KAITOCTL_SANDBOX=""
    )
    found = json.loads(done.stdout)
    assert found["cause"]["code"] == "adapter-image-bad"
    assert {"events", "nodeclaims", "replicasets", "services"} <= set(found["unseen"])
    text = shell.kaitoctl(
        "status", "broken", "-n", screens, "--kubeconfig", kubeconfig, code=1, KAITOCTL_SANDBOX=""
    ).stdout
    assert "Unavailable: " in text
    listed = shell.kaitoctl(
        "status", "-n", screens, "--kubeconfig", limited("pods", "jobs"), KAITOCTL_SANDBOX=""
    )
    assert "pods cannot be listed" in listed.stderr
    assert "falcon" in listed.stdout


def test_sets_that_may_not_be_listed_are_said_to_be_left_out(
    shell: Shell, screens: str, limited: Callable[..., str]
) -> None:
    hidden = ("inferencesets", "multiroleinferences")

    def listed(kubeconfig: str, *more: str) -> str:
        words = ("status", "-n", screens, "--kubeconfig", kubeconfig, *more)
        done = shell.kaitoctl(*words, KAITOCTL_SANDBOX="")
        assert "falcon" in done.stdout
        return done.stderr

    for form in ("table", "json", "name"):
        said = listed(limited(*hidden), "-o", form)
        for kind in hidden:
            assert f"{kind} cannot be listed, so less is shown" in said
    followed = ("status", "-n", screens, "-w", "--timeout", "3s", "--kubeconfig", limited("pods", *hidden))
    done = shell.kaitoctl(*followed, KAITOCTL_SANDBOX="", code=124)
    assert all(done.stderr.count(f"{kind} cannot be listed") == 1 for kind in ("pods", *hidden))
    said = listed(limited(hidden[0]))
    assert hidden[0] in said and hidden[1] not in said
    # An API server judges rights before it looks whether there is such a kind at all.
    assert listed(limited(*hidden, without=hidden)) == ""


def test_a_selector_that_the_server_cannot_read_ends_the_look(
    shell: Shell, screens: str, limited: Callable[..., str]
) -> None:
    """Names of more than 63 characters cannot be labels: asked again, the server says the same."""
    for command in ("why", "status"):
        kubeconfig = limited("pods", "replicasets", code=400)
        done = shell.kaitoctl(
            command, "falcon", "-n", screens, "--kubeconfig", kubeconfig, "-o", "json", KAITOCTL_SANDBOX=""
        )
        assert command == "status" or {"pods", "replicasets"} <= set(json.loads(done.stdout)["unseen"])


def test_without_the_right_to_the_workspace_there_is_no_answer(
    shell: Shell, screens: str, limited: Callable[..., str]
) -> None:
    for command in ("why", "status"):
        done = shell.kaitoctl(
            command,
            "falcon",
            "-n",
            screens,
            "--kubeconfig",
            limited("workspaces"),
            code=4,
            KAITOCTL_SANDBOX="",
        )
        assert "workspaces: no" in done.stderr
