"""A copy of kaitoctl is to a test what a process of it is."""

from __future__ import annotations

import errno
import os
import signal
import subprocess

import forked
import pytest
from shell import BIN, Shell

KAITOCTL = str(BIN / "kaitoctl")


@pytest.mark.parametrize(
    "arguments",
    [
        ("version", "--client"),
        ("explain", "no-endpoints"),
        ("explain", "no-such-code"),
        ("fit", "falcon-7b"),
        ("status", "--kubeconfig", "none"),
        ("validate", "here.yaml"),
        ("validate", "../elsewhere.yaml"),
        ("create", "workspace", "--no-such-option"),
        ("status",),
        ("fit", "falcon-7b\udce4"),
    ],
)
def test_it_prints_and_ends_as_a_process_does(offline: Shell, arguments: tuple[str, ...]) -> None:
    (offline.home / "here.yaml").write_text("kind: Workspace\napiVersion: kaito.sh/v1beta1\n")
    command = (KAITOCTL, *arguments)
    env = {**offline.env, "KUBECONFIG": "of-this-test"}
    process = subprocess.run(
        command, capture_output=True, text=True, check=False, env=env, cwd=offline.home, timeout=120
    )
    copy = forked.run(command, env, offline.home, 120)
    assert (copy.returncode, copy.stdout, copy.stderr) == (
        process.returncode,
        process.stdout,
        process.stderr,
    )


@pytest.mark.parametrize("arguments", [("fit", "falcon-7b"), ("explain", "KW121"), ("status",)])
def test_on_a_terminal_it_shows_what_a_process_does(offline: Shell, arguments: tuple[str, ...]) -> None:
    process, copy = (offline.seen(*arguments, columns=60) for _ in range(2))
    assert copy == process


def test_it_is_ended_as_a_process_is(offline: Shell) -> None:
    fifo = offline.home / "never.yaml"
    os.mkfifo(fifo)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    env = {**offline.env, "KUBECONFIG": "none"}
    for number, code in (signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL):
        copy = forked.start(
            (KAITOCTL, "validate", str(fifo)), env, offline.home, stdout=nowhere, stderr=nowhere
        )
        with open(fifo, "w"):  # noqa: PTH123 - returns when somebody reads
            copy.send_signal(number)
        # A signal that comes just before Python waits for a text is heard when there is one, or its end.
        assert copy.wait(60) == code
    os.close(nowhere)


def test_what_is_done_before_it_counts(offline: Shell) -> None:
    before = "import kaitoctl; kaitoctl.__version__ = 'of this test'"
    done = forked.run((KAITOCTL, "--version"), offline.env, offline.home, 60, before=before)
    assert done.stdout == "kaitoctl of this test\n"


def test_copies_know_nothing_of_each_other(offline: Shell) -> None:
    for name in ("a", "b"):
        (offline.home / name).mkdir()
        (offline.home / name / f"{name}.yaml").write_text("kind: [")
    said = [forked.run((KAITOCTL, "validate", "."), offline.env, offline.home / name, 120) for name in "ab"]
    assert ["a.yaml" in said[0].stderr + said[0].stdout, "a.yaml" in said[1].stderr + said[1].stdout] == [
        True,
        False,
    ]


def test_one_that_takes_too_long_is_killed(offline: Shell) -> None:
    fifo = offline.home / "never.yaml"
    os.mkfifo(fifo)
    with pytest.raises(subprocess.TimeoutExpired):
        forked.run((KAITOCTL, "validate", str(fifo)), offline.env, offline.home, 3)
    with pytest.raises(OSError, match=os.strerror(errno.ENXIO)):  # nobody reads it any more
        os.close(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK))
    assert forked.run((KAITOCTL, "version", "--client"), offline.env, offline.home, 120).returncode == 0


@pytest.mark.parametrize("name", ["PYTHONIOENCODING", "PYTHONPATH", "LANG", "LC_ALL", "LD_PRELOAD"])
def test_what_the_interpreter_reads_takes_a_process(offline: Shell, name: str) -> None:
    assert forked.can_be(offline.env)
    assert not forked.can_be({**offline.env, name: "x"})
