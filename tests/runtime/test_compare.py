"""`chat --compare` on a server of ours, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from runtime import tiny
from runtime.test_sandbox_that_answers import FALCON
from shell import BIN, Shell

from kaitoctl.runtime import hugging_face


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A sandbox with a Workspace that serves the tiny model with one adapter."""
    home = tmp_path_factory.mktemp("compared")
    shell = Shell(home, "compared", {"KAITOCTL_SANDBOX": "1"})
    named = ("--sandbox-name", shell.sandbox)
    hugging_face.convert(tiny.model(home / "hf"), home / "tiny.gguf")
    tiny.adapter(home / "style", 3)
    shell.kaitoctl("sandbox", "image", "load", "style", "--as", "example.org/style:1", *named)
    shell.kaitoctl("sandbox", "model", "set", "falcon-7b", "--from", "tiny.gguf", *named)
    adapter = ("--adapter", "style=example.org/style:1,strength=0.5")
    shell.kaitoctl("create", "workspace", "w", *FALCON, *adapter, "--timeout", "90s")
    try:
        yield shell
    finally:
        shell.kaitoctl("sandbox", "down", *named)


def rows(text: str) -> dict[str, str]:
    return dict(line.split(maxsplit=1) for line in text.splitlines()[1:])


def test_strengths_of_one_prompt_side_by_side(shell: Shell) -> None:
    ask = ("chat", "w", "hello", "--max-tokens", "8")
    done = shell.kaitoctl(*ask, "--compare", "style=0,0.5,1,2")
    found = rows(done.stdout)
    assert list(found) == ["0", "0.5", "1", "2"]
    assert len(set(found.values())) > 1, "strengths make a difference"
    assert "asking at style=0.5 (2 of 4)" in done.stderr
    assert rows(shell.kaitoctl(*ask, "--compare", "style=0,0.5,1,2").stdout) == found, "and nothing else does"
    plain = shell.kaitoctl(*ask, "--temperature", "0", "--no-stream").stdout
    assert " ".join(plain.split()) == found["0.5"], "that of the Workspace goes on"


@pytest.mark.parametrize(
    ("compare", "words"),
    [
        ("style=0,0,2x", "is not an adapter and its strengths"),
        ("style", "is not an adapter and its strengths"),
        ("style=nan", "is not an adapter and its strengths"),
        ("style=1e400", "is not an adapter and its strengths"),
        ("=1", "is not an adapter and its strengths"),
        ("other=1", "has not loaded an adapter other"),
        ("style=" + ",".join("1" * 21), "20 strengths at most"),
    ],
)
def test_what_cannot_be_compared_is_refused(shell: Shell, compare: str, words: str) -> None:
    assert words in shell.kaitoctl("chat", "w", "hello", "--compare", compare, code=2).stderr


def loaded(shell: Shell) -> list[tuple[str, str]]:
    return [
        (item["spec"]["strength"], item["loaded_strength"])
        for item in json.loads(shell.run(str(BIN / "kaitoctl"), "list-adapters", "w", "-o", "json").stdout)
    ]


def test_a_strength_is_set_on_a_server_that_runs(shell: Shell) -> None:
    before = shell.names("pods")
    done = shell.kaitoctl("set-adapter", "w", "--name", "style", "--strength", "0.9", "--live")
    assert "style is at 0.9 on 1 running server; nothing restarted" in done.stderr
    assert "--save writes it" in done.stderr
    assert loaded(shell) == [("0.5", "0.9")]
    assert shell.names("pods") == before
    # The image is KAITO's: to write the strength is to recreate the pod, and that is said.
    save = ("--live", "--save", "--yes", "--timeout", "90s")
    done = shell.kaitoctl("set-adapter", "w", "--name", "style", "--strength", "0.8", *save)
    assert "nothing restarted" in done.stderr
    assert "1 pod restarts" in done.stderr
    assert loaded(shell) == [("0.8", "0.8")]
    assert shell.names("pods") != before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--strength", "2", "--live"), "not between 0 and 1"),
        (("--strength", "nan", "--live"), "is not a decimal"),
        (("--strength", "0,2", "--live"), "is not a decimal"),
        (("--image", "a/b:1", "--live"), "--live takes --strength and no other change"),
        (("--strength", "0.5", "--save"), "--save requires --live"),
    ],
)
def test_what_cannot_be_set_live_is_refused(shell: Shell, arguments: tuple[str, ...], words: str) -> None:
    assert words in shell.kaitoctl("set-adapter", "w", "--name", "style", *arguments, code=2).stderr


def test_an_adapter_that_is_not_loaded_and_a_server_of_others(shell: Shell) -> None:
    live = ("--strength", "0.5", "--live")
    done = shell.kaitoctl("set-adapter", "w", "--name", "other", *live, code=2)
    assert "has no adapter other" in done.stderr
    shell.kaitoctl("create", "workspace", "plain", "--preset", "phi-2", "--timeout", "90s")
    done = shell.kaitoctl("set-adapter", "plain", "--name", "style", *live, code=2)
    assert "merges adapters when it starts" in done.stderr
    assert "set-adapter recreates the pod" in done.stderr
