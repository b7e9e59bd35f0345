"""What is broken under a pod of the sandbox: its state as Kubernetes shows it, and `why` names it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from runtime import tiny
from runtime.test_sandbox_that_answers import FALCON, named, servers, until
from shell import Shell

from kaitoctl.runtime import hugging_face


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A sandbox whose model is about to be spoilt."""
    home = tmp_path_factory.mktemp("broken")
    shell = Shell(home, "broken", {"KAITOCTL_SANDBOX": "1"})
    hugging_face.convert(tiny.model(home / "hf"), home / "whole.gguf")
    (home / "tiny.gguf").write_bytes((home / "whole.gguf").read_bytes())
    shell.kaitoctl("sandbox", "model", "set", "falcon-7b", "--from", "tiny.gguf", *named(shell))
    try:
        yield shell
    finally:
        shell.kaitoctl("sandbox", "down", *named(shell))
        assert not servers(shell)


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


SPOILT: dict[str, tuple[Callable[[Path], object], str]] = {
    "cut": (cut, "is not a complete GGUF file"),
    "empty": (lambda path: os.truncate(path, 0), "is empty"),
    "magic": (lambda path: path.write_bytes(b"\x89PNG" + bytes(100)), "is no GGUF file"),
    "gone": (lambda path: path.unlink(), "No such file"),
    "pointer": (
        lambda path: path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"),
        "is a git-lfs pointer",
    ),
    "architecture": (
        lambda path: path.write_bytes(
            path.read_bytes().replace(b"\x05\0\0\0\0\0\0\0llama", b"\x05\0\0\0\0\0\0\0zlama")
        ),
        "zlama",
    ),
}  # fmt: skip


def is_ready(shell: Shell, workspace: str) -> bool:
    pods = shell.get("pods", "-l", f"kaito.sh/workspace={workspace}")["items"]
    return bool(pods) and all(
        item.get("ready") for pod in pods for item in pod["status"].get("containerStatuses") or [{}]
    )


@pytest.mark.parametrize("name", SPOILT)
def test_a_model_file_that_is_spoilt_after_it_was_set(shell: Shell, name: str) -> None:
    spoil, words = SPOILT[name]
    model = shell.home / "tiny.gguf"
    model.write_bytes((shell.home / "whole.gguf").read_bytes())
    spoil(model)
    shell.kaitoctl("create", "workspace", name, *FALCON, "--timeout", "30s", code=1)
    (pod,) = shell.get("pods", "-l", f"kaito.sh/workspace={name}")["items"]
    status = pod["status"]["containerStatuses"][0]
    ended = status["lastState"].get("terminated") or status["state"]["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (2, "Error")
    why = shell.kaitoctl("why", name, code=1).stdout
    assert words in why
    assert "tiny.gguf" in why
    # What is fixed goes on by itself.
    model.write_bytes((shell.home / "whole.gguf").read_bytes())
    until(lambda: is_ready(shell, name))
    shell.kaitoctl("delete", name, "--yes")
    until(lambda: not servers(shell))


def test_a_server_that_is_killed_while_it_loads_loads_again(shell: Shell) -> None:
    (shell.home / "tiny.gguf").write_bytes((shell.home / "whole.gguf").read_bytes())
    shell.kaitoctl("create", "workspace", "loading", *FALCON, "--no-wait")
    os.kill(until(lambda: servers(shell))[0], signal.SIGKILL)
    until(lambda: is_ready(shell, "loading"))
    (pod,) = shell.get("pods", "-l", "kaito.sh/workspace=loading")["items"]
    last = pod["status"]["containerStatuses"][0]["lastState"]["terminated"]
    assert (last["exitCode"], last["reason"]) == (137, "Error")
    shell.kaitoctl("delete", "loading", "--yes")


def test_an_adapter_of_another_model_is_named(shell: Shell) -> None:
    (shell.home / "tiny.gguf").write_bytes((shell.home / "whole.gguf").read_bytes())
    folder = tiny.adapter(shell.home / "other", 5)
    tensors = {
        f"base_model.model.model.layers.0.self_attn.q_proj.lora_{side}.weight": np.ones(shape, "f4")
        for side, shape in {"A": (4, 999), "B": (999, 4)}.items()
    }
    tiny.save(folder / "adapter_model.safetensors", tensors)
    shell.kaitoctl("sandbox", "image", "load", "other", "--as", "example.org/other:1", *named(shell))
    adapter = ("--adapter", "other=example.org/other:1")
    shell.kaitoctl("create", "workspace", "shapes", *FALCON, *adapter, "--timeout", "30s", code=1)
    why = shell.kaitoctl("why", "shapes", code=1).stdout
    assert "adapter other" in why.lower()
    assert "999" in why
    shell.kaitoctl("delete", "shapes", "--yes")
