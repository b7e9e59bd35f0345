"""How commands end before they are done: Ctrl-C, SIGTERM, and a reader of their output who has gone."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import pty
import select
import shutil
import signal
import socket
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from fake_server import always, serving
from shell import BIN, Shell

import kaitoctl
from kaitoctl.advice import text
from kaitoctl.commands import sandbox_process
from kaitoctl.commands.observe_workspace import snapshot_of
from kaitoctl.errors import TimedOut
from kaitoctl.kube.client import Client
from kaitoctl.kube.kubeconfig import Server
from kaitoctl.kube.objects import ObjectKey

Wait = Callable[[Callable[[], object]], None]


@pytest.fixture(scope="module")
def shell(sandbox_shell: Shell) -> Shell:
    """Only a sandbox has nodes that never come."""
    return sandbox_shell


def workspace(name: str, namespace: str) -> Any:
    """A Workspace whose node never comes."""
    labels = {"apps": f"{namespace}-{name}"[-60:].strip("-"), "sandbox.kaitoctl.dev/fault": "never-joins"}
    return {
        "apiVersion": "kaito.sh/v1alpha1",
        "kind": "Workspace",
        "metadata": {"name": name, "namespace": namespace},
        "resource": {"instanceType": "Standard_NC12s_v3", "labelSelector": {"matchLabels": labels}},
        "inference": {"preset": {"name": "falcon-7b"}},
    }


def event(name: str, namespace: str) -> Any:
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{name}.1", "namespace": namespace},
        "involvedObject": {"kind": "Workspace", "name": name, "namespace": namespace},
        "type": "Normal",
        "reason": "Seen",
        "message": "for a test",
        "lastTimestamp": "2026-01-01T00:00:00Z",
    }


@pytest.fixture(scope="module")
def endings(sandbox_shell: Shell) -> Iterator[str]:
    """A namespace with a Workspace that waits for ever."""
    name = "endings"
    sandbox_shell.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    sandbox_shell.apply(workspace("never", name))
    sandbox_shell.apply(event("never", name))
    yield name
    sandbox_shell.end_namespace(name)


def read_until(file: int, words: bytes) -> bytes:
    seen = b""
    while words not in seen:
        assert select.select([file], [], [], 30)[0], seen
        chunk = os.read(file, 65536)
        assert chunk, seen
        seen += chunk
    return seen


def read_all(file: int) -> bytes:
    seen = b""
    with contextlib.suppress(OSError):  # how Linux says that the other end of a terminal has gone
        while select.select([file], [], [], 60)[0] and (chunk := os.read(file, 65536)):
            seen += chunk
    os.close(file)
    return seen


FOLLOWING = [
    (("status", "never", "-w"), b"preparing nodes"),
    (("status", "-w"), b"never"),
    (("events", "never", "-w"), b"Workspace never"),
    (("rollout", "status", "never"), b"preparing nodes"),
    (("check-nodes", "never", "--wait", "10m"), b"waiting up to"),
]
ENDINGS = [(signal.SIGINT, 130), (signal.SIGTERM, 143)]


@pytest.mark.parametrize(("number", "code"), ENDINGS, ids=["int", "term"])
@pytest.mark.parametrize(("arguments", "words"), FOLLOWING, ids=[" ".join(item[0]) for item in FOLLOWING])
def test_who_follows_in_a_pipe_ends_with_a_word_and_its_code(
    sandbox_shell: Shell, endings: str, arguments: tuple[str, ...], words: bytes, number: int, code: int
) -> None:
    ours, theirs = os.pipe()
    process = sandbox_shell.start(*arguments, "-n", endings, stdout=theirs, stderr=theirs)
    os.close(theirs)
    read_until(ours, words)
    process.send_signal(number)
    said = read_all(ours)
    assert process.wait(20) == code
    assert b"interrupted" in said
    assert b"Traceback" not in said
    assert b"Warning" not in said


SIZE = ("--preset", "falcon-7b", "--instance-type", "Standard_NC12s_v3", "--yes")
WRITING = [
    ("create", "workspace", "cc", *SIZE),
    ("create", "inference-set", "cc", "--preset", "phi-4", "--instance-type", "Standard_NC24ads_A100_v4"),
    ("add-adapter", "cc", "--name", "style", "--image", "registry.example/style:1", "--yes"),
    ("remove-adapter", "cc", "--name", "style", "--yes"),
    ("restart", "cc", "--yes"),
    ("rollout", "undo", "cc", "--yes"),
    ("rollout", "pause", "cc"),
]


@pytest.mark.parametrize("arguments", WRITING, ids=[" ".join(item[:2]) for item in WRITING])
def test_who_has_written_nothing_when_interrupted_says_so(
    offline: Shell, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    """The server takes the connection and does not answer: so far the command has only asked."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(60)
        server = {"server": f"http://127.0.0.1:{silent.getsockname()[1]}"}
        kubeconfig = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": server}],
            "contexts": [{"name": "c", "context": {"cluster": "c"}}],
            "current-context": "c",
        }
        (tmp_path / "silent").write_text(yaml.safe_dump(kubeconfig))
        ours, theirs = os.pipe()
        where = ("--kubeconfig", str(tmp_path / "silent"))
        process = offline.start(*arguments, *where, stdout=theirs, stderr=theirs)
        os.close(theirs)
        asked, _ = silent.accept()
        with asked:
            process.send_signal(signal.SIGINT)
            said = read_all(ours)
    assert process.wait(20) == 130, said
    assert b"interrupted; nothing was written" in said and b"already applied" not in said


def test_who_has_written_when_interrupted_says_where_to_look(
    sandbox_shell: Shell, endings: str, tmp_path: Path
) -> None:
    ours, theirs = os.pipe()
    label = ("--label", "sandbox.kaitoctl.dev/fault=never-joins")
    process = sandbox_shell.start(
        "create", "workspace", "cc", *SIZE, *label, "-n", endings, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    read_until(ours, b"preparing nodes")
    process.send_signal(signal.SIGINT)
    said = b" ".join(read_all(ours).split())
    assert process.wait(20) == 130
    assert b"what was already applied stays; kaitoctl status cc" in said, said


@pytest.mark.parametrize(("number", "code"), ENDINGS, ids=["int", "term"])
@pytest.mark.parametrize("arguments", [("status", "never", "-w"), ("status", "-w")], ids=["one", "list"])
def test_who_draws_on_a_terminal_gives_the_cursor_back(
    sandbox_shell: Shell, endings: str, arguments: tuple[str, ...], number: int, code: int
) -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, b"\x32\x00\x50\x00\x00\x00\x00\x00")
    process = sandbox_shell.start(*arguments, "-n", endings, stdout=theirs, stderr=theirs)
    os.close(theirs)
    read_until(ours, b"preparing nodes")
    process.send_signal(number)
    said = read_all(ours)
    assert process.wait(20) == code
    assert b"\x1b[?25h" in said
    assert b"Traceback" not in said


def test_a_job_in_the_background_ends_by_sigterm_at_once(sandbox_shell: Shell, endings: str) -> None:
    """A shell starts such a job with SIGINT ignored."""
    process = subprocess.Popen(
        [str(BIN / "kaitoctl"), "status", "never", "-w", "-n", endings],
        cwd=sandbox_shell.home,
        env=sandbox_shell.env,
        stdout=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )
    assert process.stdout is not None
    read_until(process.stdout.fileno(), b"preparing nodes")
    process.terminate()
    process.communicate(timeout=20)
    assert process.returncode == -signal.SIGTERM


@pytest.mark.parametrize(("number", "code"), ENDINGS, ids=["int", "term"])
def test_a_conversation_ends_while_it_waits_for_a_line(
    sandbox_shell: Shell, tmp_path: Path, namespace: str, number: int, code: int
) -> None:
    serves = workspace("falcon", namespace)
    del serves["resource"]["labelSelector"]["matchLabels"]["sandbox.kaitoctl.dev/fault"]
    sandbox_shell.apply(serves)
    sandbox_shell.kaitoctl("rollout", "status", "falcon", "-n", namespace, "--timeout", "60s")
    ours, theirs = pty.openpty()
    with serving(always(200, '{"Result": "Yes."}'), tmp_path) as kubeconfig:
        url = yaml.safe_load(Path(kubeconfig).read_text())["clusters"][0]["cluster"]["server"]
        arguments = ("chat", "falcon", "-n", namespace, "--url", url)
        process = sandbox_shell.start(*arguments, stdin=theirs, stdout=theirs, stderr=theirs)
        os.close(theirs)
        said = read_until(ours, b"> ")
        process.send_signal(number)
        said += read_all(ours)
        assert process.wait(20) == code, said
    assert b"Traceback" not in said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_sandbox_whose_start_is_interrupted_is_not_left_behind(
    tmp_path: Path, wait_until: Wait, number: int
) -> None:
    shell = Shell(tmp_path, "hasty")
    ours, theirs = os.pipe()
    process = shell.start("sandbox", "up", stdout=theirs, stderr=theirs)
    os.close(theirs)
    read_until(ours, b"starting sandbox hasty")
    process.send_signal(number)
    said = read_all(ours)
    try:
        assert process.wait(20) in (130, 143), said
        assert b"interrupted" in said
        assert "hasty     up" not in shell.kaitoctl("sandbox", "status").stdout
    finally:
        shell.run(str(BIN / "kaitoctl"), "sandbox", "down", "--delete")


def test_who_is_interrupted_while_python_starts_says_so(tmp_path: Path) -> None:
    """No command has begun, and a busy machine may take seconds until then."""
    code = "import kaitoctl.cli.app as app, kaitoctl.__main__ as program\n"
    code += "def interrupt():\n raise KeyboardInterrupt\napp.main = interrupt\nprogram.main()"
    done = Shell(tmp_path, "early").run(sys.executable, "-c", code, "sandbox", "up")
    assert (done.returncode, done.stderr) == (130, "interrupted\n")


def test_a_sandbox_that_starts_slowly_is_told_of_with_what_waits_and_what_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAITOCTL_STATE_DIR", str(tmp_path))
    monkeypatch.setattr(sandbox_process, "_START_TIMEOUT_S", 0.0)
    with sandbox_process.hold(sandbox_process.folder("late")), pytest.raises(TimedOut) as caught:
        asyncio.run(sandbox_process.ensure_up("late"))
    assert "goes on starting" in caught.value.message
    hint = text(caught.value.hint)
    assert "kaitoctl sandbox up --sandbox-name late waits" in hint
    assert "kaitoctl sandbox down --sandbox-name late stops it" in hint


def test_a_sandbox_is_restarted_when_other_files_are_where_it_runs_from(tmp_path: Path) -> None:
    """As after `pip install`: Python imports late, and what is no more there cannot be imported."""
    shell = Shell(tmp_path, "old")
    package = tmp_path / "installed" / "kaitoctl"
    there = Path(kaitoctl.__file__).parent
    shutil.copytree(there, package)
    for name in ("schemas", "templates"):
        (package.parent / name).symlink_to(there.parent / name)
    env = {"PYTHONPATH": str(package.parent), "KAITOCTL_SANDBOX": "1"}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return shell.run(sys.executable, "-m", "kaitoctl", *arguments, **env)

    up = run("sandbox", "up", "--no-controller")
    try:
        assert up.returncode == 0, up.stderr
        shell.kubectl("create", "namespace", "stays")
        assert "restarting" not in run("nodes").stderr
        again = (package / "__init__.py").read_bytes()
        (package / "__init__.py").unlink()
        (package / "__init__.py").write_bytes(again)
        said = run("nodes").stderr
        assert "restarting sandbox old: the files it runs from were replaced" in said
        assert "stays" in shell.kubectl("get", "namespaces")
        facts = json.loads((tmp_path / "state/sandbox/old/server.json").read_text())
        assert "--no-controller" in facts["arguments"]
        assert "restarting" not in run("nodes").stderr
    finally:
        run("sandbox", "down", "--delete")


FOR_A_READER = [("status", "-w"), ("status", "-w", "-o", "json"), ("events", "first", "-w")]


@pytest.mark.parametrize("arguments", FOR_A_READER, ids=[" ".join(item) for item in FOR_A_READER])
def test_who_follows_for_a_reader_ends_when_that_has_gone(
    sandbox_shell: Shell, namespace: str, arguments: tuple[str, ...]
) -> None:
    shell = sandbox_shell
    shell.apply(workspace("first", namespace))
    shell.apply(event("first", namespace))
    (stdout, theirs), (stderr, errors) = os.pipe(), os.pipe()
    process = shell.start(*arguments, "-n", namespace, stdout=theirs, stderr=errors)
    os.close(theirs)
    os.close(errors)
    read_until(stdout, b"first")
    os.close(stdout)
    shell.apply(workspace("second", namespace))
    told = event("first", namespace)
    shell.apply({**told, "metadata": {**told["metadata"], "name": "first.2"}, "reason": "SeenAgain"})
    assert process.wait(20) == 0
    assert read_all(stderr) == b""


LISTS = [
    ("status",), ("status", "never"), ("status", "-o", "json"), ("nodes",), ("events", "never"),
    ("why", "never"), ("check-nodes", "never", "-o", "wide"), ("models", "list"), ("skus", "list"),
    ("explain",), ("doctor",), ("template", "list"), ("schema",),
    ("fit", "falcon-7b", "--all"), ("sandbox", "status"),
]  # fmt: skip


@pytest.mark.parametrize("arguments", LISTS, ids=[" ".join(item) for item in LISTS])
def test_a_list_for_nobody_is_no_failure(
    sandbox_shell: Shell, endings: str, arguments: tuple[str, ...]
) -> None:
    where = ("-n", endings) if arguments[0] in ("status", "events", "why", "check-nodes", "doctor") else ()
    ours, theirs = os.pipe()
    os.close(ours)
    said, errors = os.pipe()
    process = sandbox_shell.start(*arguments, *where, stdout=theirs, stderr=errors)
    os.close(theirs)
    os.close(errors)
    stderr = read_all(said)
    assert process.wait(60) in (0, 1), stderr
    assert b"Error" not in stderr
    assert b"error" not in stderr
    assert b"Broken pipe" not in stderr


def test_a_look_that_is_given_up_at_its_first_question_leaves_no_other_unasked() -> None:
    async def given_up() -> None:
        async with Client(Server(address="http://127.0.0.1:1")) as client:
            looking = asyncio.create_task(snapshot_of(client, ObjectKey("default", "falcon")))
            await asyncio.sleep(0)
            looking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await looking

    asyncio.run(given_up())
