"""A sandbox whose pods really serve: from create to an answer, with adapters, and after every kill."""

from __future__ import annotations

import json
import os
import re
import signal
import time
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from runtime import tiny
from shell import Shell

from kaitoctl.runtime import hugging_face

FALCON = ("--preset", "falcon-7b", "--instance-type", "Standard_NC12s_v3", "--label", "apps=f")
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n"


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A sandbox with a Workspace that serves the tiny model, and images of two adapters."""
    home = tmp_path_factory.mktemp("answers")
    shell = Shell(home, "answers", {"KAITOCTL_SANDBOX": "1"})
    hugging_face.convert(tiny.model(home / "hf"), home / "tiny.gguf")
    tiny.adapter(home / "style", 3)
    broken = tiny.adapter(home / "broken", 4)
    (broken / "adapter_model.safetensors").write_bytes(LFS)
    shell.kaitoctl("adapter", "pack", "style", "-o", "style.tar")
    for file, image in (("style.tar", "style"), ("broken", "broken")):
        shell.kaitoctl("sandbox", "image", "load", file, "--as", f"example.org/{image}:1", *named(shell))
    shell.kaitoctl("sandbox", "model", "set", "falcon-7b", "--from", "tiny.gguf", *named(shell))
    try:
        shell.kaitoctl("create", "workspace", "w", *FALCON, "--timeout", "90s")
        yield shell
    finally:
        shell.kaitoctl("sandbox", "down", *named(shell))
        assert not servers(shell)


@pytest.fixture
def rounds(request: pytest.FixtureRequest) -> int:
    """How often something is killed: a few times each day, 20 with --soak."""
    return 20 if request.config.getoption("--soak") else 2


def named(shell: Shell) -> tuple[str, str]:
    return "--sandbox-name", shell.sandbox


def until(holds: Callable[[], Any], seconds: float = 90.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < deadline, "it never got there"
        time.sleep(0.05)
    return found


def servers(shell: Shell) -> list[int]:
    """The model servers of this sandbox that live, by what they were started with."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"runtime" in command and str(shell.home / "tiny.gguf").encode() in command:
            found.append(int(folder.name))
    return found


def sandbox_pid(shell: Shell) -> int:
    return int((shell.home / "state/sandbox" / shell.sandbox / "lock").read_text())


def adapters(shell: Shell, *, code: int = 0) -> dict[str, Any]:
    done = shell.kaitoctl("list-adapters", "w", "-o", "json", code=code)
    return {item["name"]: item for item in json.loads(done.stdout)}


def answer(shell: Shell) -> str:
    """Log-probabilities of a few words: they differ where the weights do."""
    kubeconfig = json.loads(shell.kubectl("config", "view", "--raw", "-o", "json"))
    server = kubeconfig["clusters"][0]["cluster"]["server"]
    body = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 4, "temperature": 0}
    request = urllib.request.Request(
        f"{server}/api/v1/namespaces/default/services/w:80/proxy/v1/chat/completions",
        json.dumps({**body, "logprobs": True}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as got:
        return json.dumps(json.load(got)["choices"][0]["logprobs"])


def models_at(address: str) -> Any:
    with urllib.request.urlopen(address, timeout=60) as got:
        return json.load(got)["data"]


def containers(shell: Shell) -> list[dict[str, Any]]:
    """The statuses of the containers of the one pod; none while there are several, or none."""
    pods = shell.get("pods", "-l", "kaito.sh/workspace=w")["items"]
    return pods[0]["status"].get("containerStatuses", []) if len(pods) == 1 else []


def is_ready(shell: Shell, *, restarts: int = 0) -> bool:
    found = containers(shell)
    return bool(found) and all(item["ready"] and item["restartCount"] >= restarts for item in found)


def test_a_model_answers_and_adapters_change_what_it_says(shell: Shell) -> None:
    plain = answer(shell)
    assert shell.kaitoctl("chat", "w", "hello", "--max-tokens", "4").stdout
    log = shell.kaitoctl("logs", "w").stdout
    assert log.startswith("A model server on this machine's CPU")

    change = ("--name", "style", "--yes", "--timeout", "90s")
    done = shell.kaitoctl("add-adapter", "w", *change, "--image", "example.org/style:1", "--strength", "0.2")
    assert "in the pods and loaded: style" in done.stderr
    assert 'smoke test: asking the model "What is Kubernetes?"' in done.stderr
    assert re.search(r'smoke test: ".*", first token after [\d.]+s(, then \d+ tokens/s)?\n', done.stderr)
    weak = answer(shell)
    tree = shell.kaitoctl("status", "w").stdout
    assert re.search(r"init style +Completed +real\n", tree)
    assert re.search(r"container w +Running +real\n", tree)
    assert "simulated" not in tree + shell.kaitoctl("endpoint", "w").stderr
    assert adapters(shell)["style"]["loaded_strength"] == "0.2"
    assert "Adapter added: style | strength: 0.2" in shell.kaitoctl("logs", "w").stdout

    shell.kaitoctl("set-adapter", "w", *change, "--strength", "0.8")
    strong = answer(shell)
    assert adapters(shell)["style"]["loaded_strength"] == "0.8"
    assert len({plain, weak, strong}) == 3

    # Somebody changes the running server: loaded is what the server says, and not what pods were made with.
    address = shell.kaitoctl("endpoint", "w").stdout.strip().removesuffix("/chat")
    body = json.dumps([{"id": 0, "scale": 0.1}]).encode()
    post = urllib.request.Request(f"{address}/lora-adapters", body, {"Content-Type": "application/json"})
    urllib.request.urlopen(post, timeout=60).close()
    done = shell.kaitoctl("list-adapters", "w", code=1)
    assert "has loaded style at 0.1, not 0.8" in done.stderr

    shell.kaitoctl("remove-adapter", "w", *change)
    assert not adapters(shell)
    assert answer(shell) == plain


def test_a_broken_adapter_is_named_and_gone_again(shell: Shell) -> None:
    change = ("--name", "broken", "--yes", "--timeout", "60s")
    shell.kaitoctl("add-adapter", "w", *change, "--image", "example.org/broken:1", code=1)
    why = shell.kaitoctl("why", "w", code=1).stdout
    assert "adapter broken" in why.lower()
    assert "git-lfs pointer" in why
    assert "remove-adapter w -n default --name broken" in why
    (pod,) = shell.get("pods", "-l", "kaito.sh/workspace=w")["items"]
    last = pod["status"]["containerStatuses"][0]["lastState"]["terminated"]
    assert (last["exitCode"], last["reason"]) == (2, "Error")
    shell.kaitoctl("remove-adapter", "w", *change)
    assert is_ready(shell)


def test_an_image_that_is_brought_in_later_lets_the_pod_go_on(shell: Shell) -> None:
    change = ("--name", "late", "--yes", "--timeout", "60s")
    shell.kaitoctl("add-adapter", "w", *change, "--image", "example.org/late:1", code=1)
    assert "no image example.org/late:1" in shell.kaitoctl("why", "w", code=1).stdout
    shell.kaitoctl("sandbox", "image", "load", "style.tar", "--as", "example.org/late:1", *named(shell))
    until(lambda: is_ready(shell))
    assert adapters(shell)["late"]["loaded"] is True
    shell.kaitoctl("remove-adapter", "w", *change)


def test_programs_of_this_machine_reach_it_at_an_address_that_stays(shell: Shell) -> None:
    until(lambda: is_ready(shell))
    address = shell.kaitoctl("endpoint", "w").stdout.strip()
    base = address.removesuffix("/chat")
    assert base.startswith("http://127.0.0.1:")
    assert models_at(f"{base}/v1/models")[0]["id"] == "tiny"
    (container,) = containers(shell)
    shell.kaitoctl("sandbox", "down", *named(shell))
    assert not servers(shell)
    shell.kaitoctl("sandbox", "up", *named(shell))
    # Until the kubelet has looked, the status is the one from before, as after a reboot of a node.
    until(lambda: is_ready(shell, restarts=container["restartCount"] + 1))
    assert shell.kaitoctl("endpoint", "w").stdout.strip() == address
    assert models_at(f"{base}/v1/models")[0]["id"] == "tiny"


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks for processes in /proc")
def test_a_killed_server_is_started_again(shell: Shell, rounds: int) -> None:
    until(lambda: is_ready(shell))
    for _ in range(rounds):
        (pid,), (container,) = servers(shell), containers(shell)
        os.kill(pid, signal.SIGKILL)
        until(partial(is_ready, shell, restarts=container["restartCount"] + 1))
    (pod,) = shell.get("pods", "-l", "kaito.sh/workspace=w")["items"]
    status = pod["status"]["containerStatuses"][0]
    assert status["restartCount"] >= rounds
    assert status["lastState"]["terminated"]["exitCode"] == 137
    assert "probe" not in shell.kubectl("get", "events", "-o", "jsonpath={.items[*].message}").lower()


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks for processes in /proc")
def test_a_killed_sandbox_leaves_no_process_and_serves_again(shell: Shell, rounds: int) -> None:
    before, address = answer(shell), shell.kaitoctl("endpoint", "w").stdout
    for _ in range(rounds):
        (container,) = containers(shell)
        os.kill(sandbox_pid(shell), signal.SIGKILL)
        until(lambda: not servers(shell))
        shell.kaitoctl("sandbox", "up", *named(shell))
        until(partial(is_ready, shell, restarts=container["restartCount"] + 1))
        assert answer(shell) == before
        assert shell.kaitoctl("endpoint", "w").stdout == address
    folders = list((shell.home / "state/sandbox" / shell.sandbox / "pods").iterdir())
    assert len(folders) == 1, "nothing is left of pods that there are no more"


def test_what_is_deleted_leaves_nothing(shell: Shell) -> None:
    shell.kaitoctl("delete", "w", "--yes")
    until(lambda: not servers(shell))
    until(lambda: not shell.names("pods"))
    assert not list((shell.home / "state/sandbox" / shell.sandbox / "pods").iterdir())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("model", "set", "falcon-7b", "--from", "nowhere.gguf"), "no such file"),
        (("model", "set", "falcon-70b", "--from", "tiny.gguf"), "not in the catalog"),
        (("model", "set", "falcon-7b", "--from", "style.tar"), "style.tar"),
        (("image", "load", "nowhere", "--as", "a/b:1"), "no such file"),
        (("image", "load", "style", "--as", "A b"), "is not an image"),
        (("image", "load", "tiny.gguf", "--as", "a/b:1"), "is not a complete archive"),
    ],
)
def test_what_cannot_be_brought_in_is_refused(shell: Shell, arguments: tuple[str, ...], words: str) -> None:
    assert words in shell.kaitoctl("sandbox", *arguments, *named(shell), code=2).stderr


def test_a_model_of_today_is_served_by_one_of_this_machine(shell: Shell) -> None:
    """All models of KAITO v0.12 share one image; which one a pod serves is said by its arguments."""
    shell.kaitoctl("sandbox", "model", "set", "phi-4", "--from", "tiny.gguf", *named(shell))
    assert "microsoft/phi-4 " in shell.kaitoctl("sandbox", "model", "list", *named(shell)).stdout
    a100 = ("--instance-type", "Standard_NC24ads_A100_v4", "--timeout", "90s")
    shell.kaitoctl("create", "workspace", "p", "--preset", "phi-4", *a100, "--label", "apps=p")
    assert shell.kaitoctl("chat", "p", "hello", "--max-tokens", "4").stdout
    shell.kaitoctl(
        "create", "workspace", "q", "--preset", "phi-3.5-mini-instruct", *a100, "--label", "apps=q"
    )
    assert "simulated" in shell.kaitoctl("endpoint", "q").stderr, "the same image, another model"
    style = ("--adapter", "style=example.org/style:1")
    done = shell.kaitoctl("create", "workspace", "r", "--preset", "phi-4", *a100, "--label", "apps=r", *style)
    assert "simulated" in done.stderr, "vLLM serves adapters as models of their own, at no strength"
    shell.kaitoctl("sandbox", "model", "rm", "phi-4", *named(shell))
    assert "phi-4" not in shell.kaitoctl("sandbox", "model", "list", *named(shell)).stdout
