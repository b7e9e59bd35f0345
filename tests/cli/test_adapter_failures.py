"""What can go wrong with an adapter, each with its cause brought about; what is shown and asked before."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import shlex
import subprocess
import termios
import time
from pathlib import Path

import pytest
from adapting import SECRET, Served, image
from fake_server import Answer, serving
from shell import BIN, Shell

A100 = "Standard_NC24ads_A100_v4"


@pytest.fixture(scope="module")
def shell(sandbox_shell: Shell) -> Shell:
    """Only a sandbox knows all of these causes."""
    return sandbox_shell


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("does-not-exist", "there is no image registry.example/does-not-exist:1 of adapter does-not-exist"),
        ("unauthorized", "denies access to the image of adapter unauthorized"),
        ("empty-data", "the image of adapter empty-data has no files in /data"),
        ("incompatible", "adapter incompatible does not fit the model, falcon-7b"),
    ],
)
def test_a_failure_says_which_adapter_and_why_and_the_command_goes_back(
    shell: Shell, falcon: Served, name: str, words: str
) -> None:
    done = falcon.add(name, code=1)
    error = next(line for line in done.stderr.splitlines() if line.startswith("error: "))
    assert words in error
    listed = shell.kaitoctl("list-adapters", "falcon", "-n", falcon.namespace, "-o", "json", code=1)
    (row,) = json.loads(listed.stdout)
    assert (row["name"], row["loaded"]) == (name, False)

    back = done.stderr.rpartition("hint: to roll back: ")[2].strip()
    words_of_back = shlex.split(back)
    assert words_of_back[:3] == ["kaitoctl", "remove-adapter", "falcon"]
    shell.kaitoctl(*words_of_back[1:], "--yes", "--timeout", "90s")
    assert falcon.in_pod == falcon.said == {}


def test_a_failure_is_taken_back_when_asked_for_and_is_still_a_failure(shell: Shell, falcon: Served) -> None:
    falcon.add("style", "--strength", "0.5")
    broken = ("--name", "style", "--image", image("empty-data"), "--rollback-on-failure")
    done = falcon.adapter("set", *broken, code=1)
    assert "has no files in /data" in done.stderr
    assert "the change was rolled back; the Workspace serves as before" in done.stderr
    assert falcon.in_pod == falcon.said == {"style": "0.5"}
    found = shell.get("workspace", "falcon", "-n", falcon.namespace)["inference"]["adapters"]
    assert found[0]["source"]["image"] == image("style")
    falcon.adapter("remove", "--name", "style")


def test_what_the_controller_refuses_ends_though_the_old_pods_serve(shell: Shell, falcon: Served) -> None:
    where = ("-n", falcon.namespace, "--yes")
    shell.kaitoctl("create", "workspace", "phi", "--preset", "phi-4", "--instance-type", A100, *where)
    # By the rules of v0.4 it has a strength; the controller that is there makes it with vLLM.
    loud = ("--name", "loud", "--image", image("style"), "--strength", "0.5", "--target-version", "v0.4")
    follow = ("--timeout", "300s", "--rollback-on-failure")
    refused = shell.kaitoctl("add-adapter", "phi", *loud, *where, *follow, code=1)
    error = refused.stderr.rpartition("error: ")[2]
    assert "is refused: inference.adapters[0].strength" in error and "rolled back" in error
    assert "adapters" not in shell.get("workspace", "phi", "-n", falcon.namespace)["inference"]


def test_a_rollout_that_takes_too_long_is_a_timeout_with_the_way_back(shell: Shell, falcon: Served) -> None:
    where = ("-n", falcon.namespace, "--yes", "--timeout", "0.01s")
    done = shell.kaitoctl(
        "add-adapter", "falcon", "--name", "late", "--image", image("slow-load"), *where, code=124
    )
    assert f"to roll back: kaitoctl remove-adapter falcon --name late -n {falcon.namespace}" in done.stderr
    falcon.adapter("remove", "--name", "late")
    assert falcon.said == {}


@pytest.mark.parametrize("mode", ["client", "server"])
def test_a_dry_run_shows_all_and_writes_nothing(shell: Shell, falcon: Served, mode: str) -> None:
    before = shell.get("workspace", "falcon", "-n", falcon.namespace)["metadata"]["resourceVersion"]
    words = ("--name", "style", "--image", image("style"), f"--dry-run={mode}", "-o", "json")
    done = falcon.adapter("add", *words, yes=False)
    assert json.loads(done.stdout)["inference"]["adapters"][0]["source"]["name"] == "style"
    assert "1 pod restarts" in done.stderr
    assert shell.get("workspace", "falcon", "-n", falcon.namespace)["metadata"]["resourceVersion"] == before


# --- what the model server says ----------------------------------------------------------------------------


def kaito(runtime: str, said: str) -> Answer:
    """A cluster with KAITO v0.12 and a Workspace that serves; `said` is what its model server says."""
    entries = [{"source": {"name": name, "image": image(name)}} for name in ("style", "tone")]
    mount = [{"name": "adapter-volume", "mountPath": "/mnt/adapter"}]
    metadata = {"name": "phi", "namespace": "default", "uid": "u", "resourceVersion": "1"}
    pullers = [f"puller-{name}" for name in ("style", "tone")]
    pod = {
        "metadata": {"name": "phi-0", "namespace": "default"},
        "spec": {
            "initContainers": [
                {"name": name, "image": "puller:1", "volumeMounts": mount} for name in pullers
            ],
            "containers": [{"name": "phi", "command": [f"python3 /workspace/{runtime}/inference_api.py"]}],
        },
        "status": {
            "conditions": [{"type": "Ready", "status": "True"}],
            "initContainerStatuses": [
                {"name": name, "state": {"terminated": {"exitCode": 0}}} for name in pullers
            ],
        },
    }
    answers = {
        "/apis/kaito.sh": {"versions": [{"version": "v1alpha1"}, {"version": "v1beta1"}]},
        "/apis/kaito.sh/v1beta1/namespaces/default/workspaces/phi": {
            "metadata": metadata,
            "inference": {"preset": {"name": "phi-4"}, "adapters": entries},
        },
        "/api/v1/namespaces/default/pods": {"metadata": {}, "items": [pod]},
        "/api/v1/namespaces/default/services/phi:80/proxy/v1/models": said if runtime == "vllm" else None,
        "/api/v1/namespaces/default/pods/phi-0/log": said if runtime == "tfs" else None,
    }

    def answer(method: str, path: str) -> tuple[int, str]:
        found = answers.get(path.removeprefix("/s3cret-path").partition("?")[0])
        text = found if isinstance(found, str) else json.dumps(found)
        return (404, "{}") if found is None else (200, text)

    return answer


MODELS = {"data": [{"id": "phi-4"}, {"id": "style", "parent": "phi-4"}, {"id": "tone", "parent": "phi-4"}]}
MERGED = "INFO 11-23 inference_api.py:149] Adapter added: "


@pytest.mark.parametrize(
    ("runtime", "said", "loaded", "code"),
    [
        ("vllm", json.dumps(MODELS), [True, True], 0),
        ("vllm", json.dumps({"data": MODELS["data"][:2]}), [True, False], 1),
        ("vllm", "<html>502 Bad Gateway</html>", [None, None], 0),
        ("tfs", f"loading\n{MERGED}style, tone\nready", [True, True], 0),
        ("tfs", f"{MERGED}tone", [False, True], 1),
        ("tfs", "Did not find any valid adapters mounted, using base model", [False, False], 1),
        ("tfs", "Uvicorn running", [None, None], 0),
    ],
)
def test_what_the_model_server_says_it_has_loaded_is_a_column_of_its_own(
    offline: Shell, tmp_path: Path, runtime: str, said: str, loaded: list[bool | None], code: int
) -> None:
    with serving(kaito(runtime, said), tmp_path) as kubeconfig:
        listing = ("list-adapters", "phi", "--kubeconfig", kubeconfig)
        done = offline.kaitoctl(*listing, "-o", "json", code=code)
        assert [row["loaded"] for row in json.loads(done.stdout)] == loaded
        assert "unknown" in offline.kaitoctl(*listing, code=code).stdout or loaded != [None, None]


# --- before anything is written ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--name", "falcon", "--image", "a/b:1"), "the Workspace's own name"),
        (("--name", "Style", "--image", "a/b:1"), "cannot name a container"),
        (("--name", "style", "--image", "A/b:1"), "lower case"),
        (("--name", "style", "--image", "a/b:1", "--strength", "nan"), "is not a decimal"),
        (("--name", "style", "--image", "a/b:1", "--strength", "1.5"), "not between 0 and 1"),
        (
            ("--name", "style", "--image", "a/b:1", "--image-pull-secret", "absent"),
            "there is no pull secret absent",
        ),
        (("--name", "style", "--volume-claim", "weights"), "volumeSource cannot hold an adapter"),
        (("--name", "style", "--from-tuning", "tune", "--image", "a/b:1"), "exclude each other"),
        (("--name", "style"), "give one of"),
        (("--image", "a/b:1"), "--name is missing"),
        (("--name", "style", "--image", "a/b:1", "--dry-run", "x"), "--dry-run 'x'"),
        (("--name", "style", "--image", "a/b:1", "--target-version", "v9"), "--target-version 'v9'"),
        (("--name", "style", "--image", "a/b:1", "--no-wait", "--rollback-on-failure"), "--no-wait"),
    ],
)
def test_what_cannot_work_is_refused_before_the_pod_is_gone(
    shell: Shell, falcon: Served, arguments: tuple[str, ...], words: str
) -> None:
    done = falcon.adapter("add", *arguments, code=2)
    assert words in done.stderr
    assert falcon.said == {}


def test_without_a_terminal_it_wants_to_be_told_yes(shell: Shell, falcon: Served) -> None:
    done = falcon.adapter("add", "--name", "style", "--image", "a/b:1", code=2, yes=False)
    assert "there is no terminal to confirm it on" in done.stderr and "--yes" in done.stderr
    assert falcon.said == {}


def test_what_changes_nothing_asks_nobody(shell: Shell, falcon: Served) -> None:
    falcon.add("style", "--no-wait")
    strength = falcon.said["style"]
    same = falcon.adapter("set", "--name", "style", "--strength", strength, yes=False)
    assert same.stdout == "workspace.kaito.sh/falcon unchanged\n"
    falcon.adapter("set", "--name", "style", "--strength", "0.123", code=2, yes=False)
    assert falcon.said == {"style": strength}
    falcon.adapter("remove", "--name", "style")


def test_a_secret_that_is_no_pull_secret_is_refused(shell: Shell, falcon: Served) -> None:
    metadata = {"name": "opaque", "namespace": falcon.namespace}
    shell.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque"})
    done = falcon.add("style", "--image-pull-secret", "opaque", code=2)
    assert "is of type Opaque" in done.stderr
    shell.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {**metadata, "name": "pull"}, **SECRET})
    falcon.add("style", "--image-pull-secret", "pull", "--no-wait")
    falcon.adapter("remove", "--name", "style")


def test_a_name_that_was_mistyped_is_guessed(shell: Shell, falcon: Served) -> None:
    done = Served(shell, falcon.namespace, "falcn").add("a", code=4)
    assert "did you mean falcon?" in done.stderr


def test_a_server_that_loads_no_adapters_is_a_refusal(shell: Shell, namespace: str) -> None:
    label = ("--label", "apps=llama", "-n", namespace, "--no-wait", "--yes")
    private = ("--preset", "llama-2-7b", "--private-image", "registry.example/llama:1")
    shell.kaitoctl("create", "workspace", "llama", *private, "--instance-type", "Standard_NC12s_v3", *label)
    llama = Served(shell, namespace, "llama")
    assert "does not load adapters" in llama.adapter("add", "--name", "a", "--image", "a/b:1", code=2).stderr
    assert llama.said == {}


# --- on a terminal -----------------------------------------------------------------------------------------


def on_a_terminal(shell: Shell, answer: str, *arguments: str) -> tuple[int, str]:
    """Run kaitoctl on a terminal of 80 columns, and type an answer when it asks."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [str(BIN / "kaitoctl"), *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**shell.env, "COLUMNS": "80", "TERM": "xterm"},
        cwd=shell.home,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # so that Ctrl-C is a signal
    )
    os.close(theirs)
    seen = b""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if not select.select([ours], [], [], 0.2)[0]:
            if process.poll() is not None:
                break
            continue
        try:
            chunk = os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
        if not chunk:
            break
        seen += chunk
        if answer and b"[y/N]" in seen:
            os.write(ours, answer.encode())
            answer = ""
    os.close(ours)
    return process.wait(30), seen.decode()


def test_on_a_terminal_it_shows_what_will_happen_and_takes_no_for_an_answer(
    shell: Shell, falcon: Served
) -> None:
    words = ("add-adapter", "falcon", "--name", "style", "--image", image("style"), "-n", falcon.namespace)
    code, seen = on_a_terminal(shell, "n\n", *words)
    assert (code, falcon.said) == (1, {})
    assert "nothing was written" in seen
    plain = (
        seen.replace("\x1b[32m", "").replace("\x1b[31m", "").replace("\x1b[2m", "").replace("\x1b[33m", "")
    )
    plain = plain.replace("\x1b[0m", "")
    assert "1 pod restarts" in plain
    diff = [line for line in plain.splitlines() if line.startswith(("+ ", "- "))]
    assert diff and max(map(len, diff)) <= 80
    code, seen = on_a_terminal(shell, "\x03", *words)
    assert (code, falcon.said) == (130, {})
    assert "interrupted; nothing was written" in seen
    code, seen = on_a_terminal(shell, "yes\n", *words, "--no-wait")
    assert (code, falcon.said) == (0, {"style": "1.0"}), seen
    falcon.adapter("remove", "--name", "style")
