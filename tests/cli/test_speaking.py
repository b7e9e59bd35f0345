"""`logs`, `events`, `endpoint` and `chat`: on a sandbox, and with a model server behind its API proxy."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from fake_server import serving
from shell import BIN, Shell


@pytest.fixture(scope="module")
def shell(sandbox_shell: Shell) -> Shell:
    """Logs are those that the sandbox makes up."""
    return sandbox_shell


@pytest.fixture(scope="module")
def speaking(shell: Shell) -> str:
    """A namespace with a Workspace that serves, one that crashes, and one that cannot be scheduled."""
    name = "speaking"
    shell.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    crashing = {"accessMode": "private", "presetOptions": {"image": "registry.example/f:cuda-oom"}}
    style = {"source": {"name": "style", "image": "registry.example/style:1"}, "strength": "1.0"}
    for one, preset, adapters, labels in (
        ("falcon", {}, [style], {}),
        ("crashing", crashing, [], {}),
        ("modern", {}, [], {}),
        ("waiting", {}, [], {"sandbox.kaitoctl.dev/fault": "never-joins"}),
    ):
        shell.apply(
            {
                "apiVersion": "kaito.sh/v1alpha1",
                "kind": "Workspace",
                "metadata": {
                    "name": one,
                    "namespace": name,
                    "annotations": {"kaito.sh/runtime": "vllm"} if one == "modern" else {},
                },
                "resource": {
                    "instanceType": "Standard_NC12s_v3",
                    "labelSelector": {"matchLabels": {"apps": one, **labels}},
                },
                "inference": {"preset": {"name": "falcon-7b", **preset}, "adapters": adapters},
            }
        )
    shell.kaitoctl("status", "falcon", "-n", name, "-w", "--timeout", "60s")
    shell.kaitoctl("status", "modern", "-n", name, "-w", "--timeout", "60s")
    shell.kaitoctl("status", "crashing", "-n", name, "-w", "--timeout", "60s", code=1)
    return name


# --- logs ------------------------------------------------------------------------------------------------


def test_logs_of_the_right_container(shell: Shell, speaking: str) -> None:
    said = shell.kaitoctl("logs", "falcon", "-n", speaking).stdout
    assert "kaito-falcon-7b" in said
    said = shell.kaitoctl("logs", "falcon", "-n", speaking, "--adapter", "style").stdout
    assert "registry.example/style:1" in said
    said = shell.kaitoctl("logs", "crashing", "-n", speaking, "--previous", "--tail", "5").stdout
    assert "CUDA out of memory" in said


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("falcon", "--adapter", "styl"), 2, "has no adapter styl"),
        (("falcon", "--adapter", "styl"), 2, "did you mean style?"),
        (("falcon", "-c", "nope"), 2, "has no container nope"),
        (("falcon", "--pod", "nope"), 2, "has no pod nope"),
        (("falcon", "-f", "--previous"), 2, "exclude each other"),
        (("falcon", "--adapter", "a", "-c", "b"), 2, "give one of them"),
        (("waiting",), 1, "has no pods yet"),
        (("falcn",), 4, "did you mean falcon?"),
    ],
)
def test_logs_that_are_not_there(
    shell: Shell, speaking: str, arguments: tuple[str, ...], code: int, words: str
) -> None:
    assert words in shell.kaitoctl("logs", *arguments, "-n", speaking, code=code).stderr


# --- events ----------------------------------------------------------------------------------------------


def test_events_of_the_whole_tree_in_order(shell: Shell, speaking: str) -> None:
    found = json.loads(shell.kaitoctl("events", "falcon", "-n", speaking, "-o", "json").stdout)["events"]
    assert [event["time"] for event in found] == sorted(event["time"] for event in found)
    kinds = {event["object"].split()[0] for event in found}
    assert {"Workspace", "Pod"} <= kinds
    assert {"Scheduled", "Pulled", "Started"} <= {event["reason"] for event in found}
    wrong = shell.kaitoctl("events", "crashing", "-n", speaking, "--warnings").stdout
    assert "BackOff" in wrong
    assert " Normal " not in wrong


# --- endpoint --------------------------------------------------------------------------------------------


def test_the_endpoint_as_text_and_as_json(shell: Shell, speaking: str) -> None:
    done = shell.kaitoctl("endpoint", "falcon", "-n", speaking)
    assert done.stdout == f"http://falcon.{speaking}.svc:80/chat\n"
    assert "its pods are simulated: nothing answers there" in done.stderr
    found = json.loads(shell.kaitoctl("endpoint", "falcon", "-n", speaking, "-o", "json").stdout)
    assert found["simulated"] is True
    assert found["proxy_path"] == f"/api/v1/namespaces/{speaking}/services/falcon:80/proxy"
    forward = shell.kaitoctl("endpoint", "falcon", "-n", speaking, "--type", "port-forward").stdout
    ours = f"kubectl port-forward -n {speaking} service/falcon 8080:80"
    assert forward == f"{ours} --kubeconfig {shell.kubeconfig}\n"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("falcon", "--type", "load-balancer"), 1, "no load-balancer address"),
        (("crashing",), 1, "does not serve: "),
        (("waiting", "-o", "json"), 1, "does not serve: preparing nodes"),
        (
            ("falcon", "--type", "x"),
            2,
            "choose cluster, proxy, port-forward, load-balancer, gateway or local",
        ),
    ],
)
def test_no_endpoint_is_no_success(
    shell: Shell, speaking: str, arguments: tuple[str, ...], code: int, words: str
) -> None:
    done = shell.kaitoctl("endpoint", *arguments, "-n", speaking, code=code)
    assert words in done.stderr
    assert not done.stdout


# --- chat ------------------------------------------------------------------------------------------------


@pytest.fixture
def served(shell: Shell, tmp_path: Path) -> Iterator[Callable[[int, str], str]]:
    """A kubeconfig for the sandbox with a model server behind the API proxy, which answers as told."""
    server = yaml.safe_load(Path(shell.kubeconfig).read_text())["clusters"][0]["cluster"]["server"]
    told: list[tuple[int, str]] = []

    def answer(method: str, path: str) -> tuple[int, str]:
        path = path.removeprefix("/s3cret-path")
        if "/proxy/" in path:
            if path.endswith("/v1/models") and "/falcon:" in path and "chat" not in told[0][1]:
                return 404, '{"detail": "Not Found"}'  # KAITO's transformers runtime up to v0.4
            if path.endswith("/v1/models"):
                return 200, json.dumps({"data": [{"id": "falcon-7b"}, {"id": "style"}]})
            return told[0]
        if "watch=true" in path:
            time.sleep(0.2)
            return 200, ""
        try:
            with urllib.request.urlopen(f"{server}{path}") as found:
                return found.status, found.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    with serving(answer, tmp_path) as file:

        def saying(status: int, body: str) -> str:
            told[:] = [(status, body)]
            return file

        yield saying


def test_one_prompt_and_its_answer(shell: Shell, speaking: str, served: Any) -> None:
    kubeconfig = served(200, json.dumps({"Result": "A system for containers.\x1b[2J"}))
    ask = ("chat", "falcon", "-n", speaking, "--kubeconfig", kubeconfig)
    done = shell.kaitoctl(*ask, "What is Kubernetes?", KAITOCTL_SANDBOX="")
    assert done.stdout == "A system for containers.\\x1b[2J\n", "a model cannot steer the terminal"
    command = [str(BIN / "kaitoctl"), *ask]
    env = {**shell.env, "KAITOCTL_SANDBOX": ""}
    piped = subprocess.run(command, input="What?", capture_output=True, text=True, env=env, check=False)
    assert (piped.returncode, piped.stdout) == (0, done.stdout)


def test_openais_api_is_spoken_wherever_it_is(shell: Shell, speaking: str, served: Any) -> None:
    # From v0.9 on /chat is 404 in KAITO's transformers runtime, too.
    kubeconfig = served(200, json.dumps({"object": "chat", "choices": [{"message": {"content": "Yes."}}]}))
    ask = ("chat", "falcon", "Is it?", "-n", speaking, "--no-stream", "--kubeconfig", kubeconfig)
    assert shell.kaitoctl(*ask, KAITOCTL_SANDBOX="").stdout == "Yes.\n"


def test_a_conversation_ends_with_its_input(shell: Shell, speaking: str, served: Any) -> None:
    kubeconfig = served(200, json.dumps({"Result": "Yes."}))
    ours, theirs = pty.openpty()
    command = [str(BIN / "kaitoctl"), "chat", "falcon", "-n", speaking, "--kubeconfig", kubeconfig]
    env = {**shell.env, "KAITOCTL_SANDBOX": ""}
    process = subprocess.Popen(command, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env)
    os.close(theirs)
    os.write(ours, b"Is it?\n/clear\nReally?\n\x04")
    stdout, stderr = process.communicate(timeout=30)
    os.close(ours)
    assert process.returncode == 0, stderr
    assert stdout == b"Yes.\nYes.\n"
    assert b"conversation cleared" in stderr


@pytest.mark.parametrize(
    ("status", "body", "code", "words"),
    [
        (403, '{"kind": "Status", "message": "no"}', 4, "services/proxy"),
        (503, '{"kind": "Status", "message": "no endpoints"}', 4, "kaitoctl why"),
        (200, "<html>", 1, "unexpected answer"),
        (200, '{"Result": 7}', 1, "unexpected answer"),
        (200, f'{{"Result": "{"a" * (17 * 2**20)}"}}', 1, "longer than 16 MiB"),
    ],
    ids=["403", "503", "page", "number", "endless"],
)
def test_a_server_that_does_not_answer(
    shell: Shell, speaking: str, served: Any, status: int, body: str, code: int, words: str
) -> None:
    ask = ("chat", "falcon", "hello", "-n", speaking, "--kubeconfig", served(status, body))
    assert words in shell.kaitoctl(*ask, code=code, KAITOCTL_SANDBOX="").stderr


@pytest.mark.parametrize(
    ("url", "code", "words"),
    [
        ("nonsense", 2, "--url 'nonsense' is not an http(s) address"),
        ("http://", 2, "--url 'http://' is not an http(s) address"),
        ("file:///etc/passwd", 2, "--url 'file:///etc/passwd' is not an http(s) address"),
        ("http://127.0.0.1:99999", 2, "is not an http(s) address"),
        ("http://a b", 2, "is not an http(s) address"),
        ("ftp://me:geheim@host", 2, "--url 'ftp://host' is not an http(s) address"),
        (
            "http://me:geheim@127.0.0.1:1",
            3,
            "nothing answers at --url http://127.0.0.1:1: Connection refused",
        ),
    ],
)
def test_a_url_that_leads_nowhere_is_named(
    shell: Shell, speaking: str, url: str, code: int, words: str
) -> None:
    done = shell.kaitoctl("chat", "falcon", "hello", "-n", speaking, "--url", url, code=code)
    assert words in done.stderr
    assert "kubeconfig's" not in done.stderr
    assert "API server" not in done.stderr
    assert "geheim" not in done.stderr


@pytest.mark.parametrize("status", [302, 404, 500, 503])
def test_what_a_url_answers_is_not_taken_for_the_api_servers_words(
    shell: Shell, speaking: str, served: Any, status: int
) -> None:
    (cluster,) = yaml.safe_load(Path(served(status, "boom")).read_text())["clusters"]
    url = cluster["cluster"]["server"]
    done = shell.kaitoctl("chat", "falcon", "hello", "-n", speaking, "--url", url, code=4)
    assert "is --url the address of the model server?" in done.stderr
    assert "API server" not in done.stderr


def test_words_come_as_they_are_spoken(shell: Shell, speaking: str, served: Any) -> None:
    pieces = ["A system", " for", " containers."]
    events = [f"data: {json.dumps({'choices': [{'delta': {'content': piece}}]})}" for piece in pieces]
    kubeconfig = served(200, "\n\n".join([*events, "data: [DONE]", ""]))
    ask = ("chat", "modern", "What?", "-n", speaking, "--kubeconfig", kubeconfig)
    assert shell.kaitoctl(*ask, KAITOCTL_SANDBOX="").stdout == "A system for containers.\n"
    assert shell.kaitoctl(*ask, "--adapter", "style", KAITOCTL_SANDBOX="").stdout.startswith("A system")
    done = shell.kaitoctl(*ask, "--adapter", "styl", code=2, KAITOCTL_SANDBOX="")
    assert "did you mean style?" in done.stderr
    broken = served(200, 'data: {"error": {"message": "the prompt is too long"}}\n')
    ask = ("chat", "modern", "What?", "-n", speaking, "--kubeconfig", broken)
    assert "the prompt is too long" in shell.kaitoctl(*ask, code=1, KAITOCTL_SANDBOX="").stderr


def test_a_sandbox_runs_no_model_and_says_so(shell: Shell, speaking: str) -> None:
    done = shell.kaitoctl("chat", "falcon", "hello", "-n", speaking, code=4)
    assert "pods of the sandbox are simulated" in done.stderr
    assert "kaitoctl sandbox model set PRESET --from MODEL lets a model answer" in done.stderr
    assert "port-forward" not in done.stderr, "nobody would answer there, either"
    assert "does not serve" in shell.kaitoctl("chat", "waiting", "hello", "-n", speaking, code=1).stderr
    assert "empty" in shell.kaitoctl("chat", "falcon", "", "-n", speaking, code=2).stderr
    choose = shell.kaitoctl("chat", "falcon", "hello", "--adapter", "style", "-n", speaking, code=2)
    assert "needs a server that can choose" in choose.stderr
