"""Adapters through their life on the command line, kubectl as the second witness; and all that can fail."""

from __future__ import annotations

import json
import os
import pty
import select
import shlex
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from shell import BIN, Shell

FALCON = ("--preset", "falcon-7b", "--instance-type", "Standard_NC12s_v3")
SECRET = {"type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": "eyJhdXRocyI6e319"}}


def image(name: str) -> str:
    return f"registry.example/{name}:1"


@pytest.fixture(scope="module")
def serving(shell: Shell) -> Iterator[str]:
    """A namespace with a Workspace `falcon` that serves."""
    shell.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "models"}})
    create(shell, "models", "falcon")
    yield "models"
    shell.kubectl("delete", "namespace", "models", "--wait=false")


@pytest.fixture
def models(shell: Shell, serving: str) -> str:
    """The same, without adapters, whatever the test before has left."""
    if said(shell, serving):
        nothing = '{"inference":{"adapters":null}}'
        shell.kubectl("patch", "workspace", "falcon", "-n", serving, "--type=merge", "-p", nothing)
    return serving


def create(shell: Shell, namespace: str, name: str, *more: str) -> None:
    where = (
        "-n",
        namespace,
        "--label",
        f"apps={namespace[:30].strip('-')}-{name}",
        "--sandbox",
        "--timeout",
        "90s",
    )
    shell.kaitoctl("create", "workspace", name, *FALCON, *more, *where)


def adapter(
    shell: Shell,
    namespace: str,
    verb: str,
    *arguments: str,
    code: int = 0,
    yes: bool = True,
    workspace: str = "falcon",
) -> subprocess.CompletedProcess[str]:
    """`kaitoctl VERB-adapter falcon ARGUMENTS`."""
    where = ("-n", namespace, "--sandbox", *(("--timeout", "90s", "--yes") if yes else ()))
    return shell.kaitoctl(f"{verb}-adapter", workspace, *arguments, *where, code=code)


def said(shell: Shell, namespace: str, name: str = "falcon") -> dict[str, str]:
    """The adapters of the Workspace, as kubectl sees them: name to strength."""
    found = shell.get("workspace", name, "-n", namespace)["inference"].get("adapters") or []
    return {item["source"]["name"]: item.get("strength", "") for item in found}


def in_pod(shell: Shell, namespace: str, name: str = "falcon") -> dict[str, str]:
    """The adapters of the pod that serves: name to strength in its environment."""
    pods = shell.get("pods", "-n", namespace, "-l", f"kaito.sh/workspace={name}")["items"]
    (pod,) = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
    env = {item["name"]: item["value"] for item in pod["spec"]["containers"][0].get("env", [])}
    inits = [item["name"] for item in pod["spec"].get("initContainers", [])]
    done = [
        item["state"]["terminated"]["exitCode"] for item in pod["status"].get("initContainerStatuses", [])
    ]
    assert done == [0] * len(inits)
    return {name: env[name] for name in inits}


def add(
    shell: Shell, namespace: str, name: str, *more: str, code: int = 0
) -> subprocess.CompletedProcess[str]:
    return adapter(shell, namespace, "add", "--name", name, "--image", image(name), *more, code=code)


def test_an_adapters_life(shell: Shell, models: str) -> None:
    """Add two, change a strength, remove one, remove the other; the pod is made anew each time."""
    done = add(shell, models, "style", "--strength", "0.5")
    assert done.stdout.splitlines()[0] == "workspace.kaito.sh/falcon configured"
    assert "1 pod restarts: " in done.stderr and "at most 30 minutes without service" in done.stderr
    assert '+     strength: "0.5"' in done.stderr and "+   initContainers:" in done.stderr
    assert in_pod(shell, models) == said(shell, models) == {"style": "0.5"}

    add(shell, models, "tone")
    assert in_pod(shell, models) == said(shell, models) == {"style": "0.5", "tone": "1.0"}
    assert "unchanged" in add(shell, models, "tone").stdout

    adapter(shell, models, "set", "--name", "style", "--strength", "0.2")
    assert in_pod(shell, models) == said(shell, models) == {"style": "0.2", "tone": "1.0"}
    listed = shell.kaitoctl("list-adapters", "falcon", "-n", models, "--sandbox")
    rows = [line.split() for line in listed.stdout.splitlines()[1:]]
    assert rows == [
        ["style", "0.2", "0.2", "not", "asked", image("style")],
        ["tone", "1.0", "1.0", "not", "asked", image("tone")],
    ]

    adapter(shell, models, "remove", "--name", "style")
    assert in_pod(shell, models) == said(shell, models) == {"tone": "1.0"}
    adapter(shell, models, "remove", "--name", "tone")
    assert in_pod(shell, models) == said(shell, models) == {}
    assert "adapters" not in shell.get("workspace", "falcon", "-n", models)["inference"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("does-not-exist", "does not exist in its registry"),
        ("unauthorized", "may not be pulled (no pull secret is given)"),
        ("empty-data", "has no files in /data"),
        ("incompatible", "the model server cannot load it over falcon-7b"),
    ],
)
def test_a_failure_says_which_adapter_and_why_and_the_command_goes_back(
    shell: Shell, models: str, name: str, words: str
) -> None:
    done = add(shell, models, name, code=1)
    error = next(line for line in done.stderr.splitlines() if line.startswith("error: "))
    assert f"Workspace models/falcon: adapter {name}: " in error
    assert words in error
    listed = shell.kaitoctl("list-adapters", "falcon", "-n", models, "--sandbox", "-o", "json", code=1)
    (row,) = json.loads(listed.stdout)
    assert (row["name"], row["loaded"]) == (name, False)

    back = done.stderr.rpartition("hint: to go back: ")[2].strip()
    words_of_back = shlex.split(back)
    assert words_of_back[:3] == ["kaitoctl", "remove-adapter", "falcon"]
    shell.kaitoctl(*words_of_back[1:], "--yes", "--timeout", "90s")
    assert in_pod(shell, models) == said(shell, models) == {}


def test_a_failure_is_taken_back_when_asked_for_and_is_still_a_failure(shell: Shell, models: str) -> None:
    add(shell, models, "style", "--strength", "0.5")
    broken = ("--name", "style", "--image", image("empty-data"), "--rollback-on-failure")
    done = adapter(shell, models, "set", *broken, code=1)
    assert "has no files in /data" in done.stderr
    assert "the change was taken back, and the Workspace serves as before" in done.stderr
    assert in_pod(shell, models) == said(shell, models) == {"style": "0.5"}
    found = shell.get("workspace", "falcon", "-n", models)["inference"]["adapters"]
    assert found[0]["source"]["image"] == image("style")
    adapter(shell, models, "remove", "--name", "style")


def test_a_rollout_that_takes_too_long_is_a_timeout_with_the_way_back(shell: Shell, models: str) -> None:
    where = ("-n", models, "--sandbox", "--yes", "--timeout", "0.01s")
    done = shell.kaitoctl(
        "add-adapter", "falcon", "--name", "late", "--image", image("slow-load"), *where, code=124
    )
    assert "to go back: kaitoctl remove-adapter falcon --name late -n models --sandbox" in done.stderr
    adapter(shell, models, "remove", "--name", "late")
    assert said(shell, models) == {}


@pytest.mark.parametrize("mode", ["client", "server"])
def test_a_dry_run_shows_all_and_writes_nothing(shell: Shell, models: str, mode: str) -> None:
    before = shell.get("workspace", "falcon", "-n", models)["metadata"]["resourceVersion"]
    done = adapter(
        shell,
        models,
        "add",
        "--name",
        "style",
        "--image",
        image("style"),
        f"--dry-run={mode}",
        "-o",
        "json",
        yes=False,
    )
    assert json.loads(done.stdout)["inference"]["adapters"][0]["source"]["name"] == "style"
    assert "1 pod restarts" in done.stderr
    assert shell.get("workspace", "falcon", "-n", models)["metadata"]["resourceVersion"] == before


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
            "there is no Secret absent",
        ),
        (("--name", "style", "--volume-claim", "weights"), "volumeSource cannot hold an adapter"),
        (("--name", "style", "--from-tuning", "tune", "--image", "a/b:1"), "Give one of"),
        (("--name", "style"), "Give one of"),
        (("--image", "a/b:1"), "--name is missing"),
        (("--name", "style", "--image", "a/b:1", "--dry-run", "x"), "--dry-run 'x'"),
        (("--name", "style", "--image", "a/b:1", "--target-version", "v9"), "--target-version 'v9'"),
        (("--name", "style", "--image", "a/b:1", "--no-wait", "--rollback-on-failure"), "--no-wait"),
    ],
)
def test_what_cannot_work_is_refused_before_the_pod_is_gone(
    shell: Shell, models: str, arguments: tuple[str, ...], words: str
) -> None:
    done = adapter(shell, models, "add", *arguments, code=2)
    assert words in done.stderr
    assert said(shell, models) == {}


def test_without_a_terminal_it_wants_to_be_told_yes(shell: Shell, models: str) -> None:
    done = adapter(shell, models, "add", "--name", "style", "--image", "a/b:1", code=2, yes=False)
    assert "there is no terminal to ask on" in done.stderr and "--yes" in done.stderr
    assert said(shell, models) == {}


def test_a_secret_that_is_no_pull_secret_is_refused(shell: Shell, models: str) -> None:
    metadata = {"name": "opaque", "namespace": models}
    shell.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque"})
    done = add(shell, models, "style", "--image-pull-secret", "opaque", code=2)
    assert "is of type Opaque" in done.stderr
    shell.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {**metadata, "name": "pull"}, **SECRET})
    add(shell, models, "style", "--image-pull-secret", "pull", "--no-wait")
    adapter(shell, models, "remove", "--name", "style")


def test_a_name_that_was_mistyped_is_guessed(shell: Shell, models: str) -> None:
    done = adapter(shell, models, "add", "--name", "a", "--image", "a/b:1", workspace="falcn", code=4)
    assert "did you mean falcon?" in done.stderr


def test_a_server_that_loads_no_adapters_is_a_refusal(shell: Shell, namespace: str) -> None:
    label = ("--label", "apps=llama", "-n", namespace, "--sandbox", "--no-wait")
    private = ("--preset", "llama-2-7b", "--private-image", "registry.example/llama:1")
    shell.kaitoctl("create", "workspace", "llama", *private, "--instance-type", "Standard_NC12s_v3", *label)
    done = adapter(shell, namespace, "add", "--name", "a", "--image", "a/b:1", workspace="llama", code=2)
    assert "does not load adapters" in done.stderr
    assert said(shell, namespace, "llama") == {}


def test_a_workspace_that_is_going_away_is_left_alone(shell: Shell, namespace: str) -> None:
    create(shell, namespace, "falcon", "--no-wait")
    patch = '{"metadata":{"finalizers":["example.org/hold"]}}'
    shell.kubectl("patch", "workspace", "falcon", "-n", namespace, "--type=merge", "-p", patch)
    shell.kubectl("delete", "workspace", "falcon", "-n", namespace, "--wait=false")
    assert "is being deleted" in add(shell, namespace, "style", code=2).stderr
    nothing = '{"metadata":{"finalizers":null}}'
    shell.kubectl("patch", "workspace", "falcon", "-n", namespace, "--type=merge", "-p", nothing)


# --- who owns what -----------------------------------------------------------------------------------------


def workspace_of(namespace: str, name: str, *adapters: str) -> Any:
    entries = [{"source": {"name": item, "image": image(item)}, "strength": "1.0"} for item in adapters]
    return {
        "apiVersion": "kaito.sh/v1alpha1",
        "kind": "Workspace",
        "metadata": {"name": name, "namespace": namespace, "labels": {"team": "models"}},
        "resource": {
            "instanceType": "Standard_NC12s_v3",
            "labelSelector": {"matchLabels": {"apps": f"{namespace[:30].strip('-')}"}},
        },
        "inference": {"preset": {"name": "falcon-7b"}, **({"adapters": entries} if entries else {})},
    }


def test_a_workspace_of_kubectls_gets_an_adapter_and_keeps_every_field(shell: Shell, namespace: str) -> None:
    file = shell.home / "workspace.json"
    file.write_text(json.dumps(workspace_of(namespace, "falcon")))
    shell.kubectl("apply", "-f", str(file), "--validate=false")
    add(shell, namespace, "style", "--no-wait")
    found = shell.get("workspace", "falcon", "-n", namespace)
    assert said(shell, namespace) == {"style": "1.0"}
    assert found["metadata"]["labels"] == {"team": "models"}
    assert (
        found["resource"]["labelSelector"] == workspace_of(namespace, "falcon")["resource"]["labelSelector"]
    )
    shell.kubectl("apply", "-f", str(file), "--validate=false")  # as its pipeline does every hour
    assert said(shell, namespace) == {"style": "1.0"}


def test_adapters_that_somebody_else_owns_are_a_conflict_with_a_name_and_a_way(
    shell: Shell, namespace: str
) -> None:
    shell.apply(workspace_of(namespace, "falcon", "theirs"))
    done = add(shell, namespace, "style", code=4)
    assert 'its adapters belong to "kubectl"; nothing was written' in done.stderr
    assert "--force-conflicts" in done.stderr and "-f FILE" in done.stderr
    assert said(shell, namespace) == {"theirs": "1.0"}
    add(shell, namespace, "style", "--force-conflicts", "--no-wait")
    assert said(shell, namespace) == {"theirs": "1.0", "style": "1.0"}


# --- from tuning -------------------------------------------------------------------------------------------


def test_the_adapter_that_tuning_made_is_attached_once_it_has_succeeded(shell: Shell, namespace: str) -> None:
    create(shell, namespace, "falcon", "--no-wait")
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "push", "namespace": namespace},
        **SECRET,
    }
    tune = (
        *("create", "workspace", "tuned", "--template", "tuning", "--preset", "falcon-7b"),
        *("--instance-type", "Standard_NC24ads_A100_v4", "--set", "input_urls=https://data.example/a.json"),
        *("--set", "output_image=registry.example/tuned:1", "--set", "output_secret=push"),
        *("-n", namespace, "--label", "apps=tune", "--sandbox", "--timeout", "90s"),
    )
    done = shell.kaitoctl(*tune, code=1)
    done = adapter(shell, namespace, "add", "--from-tuning", "tuned", code=2)
    assert "tuning tuned has not succeeded: Secret push" in done.stderr

    shell.apply(secret)
    shell.kaitoctl("create", "workspace", "retuned", *tune[3:])
    adapter(shell, namespace, "add", "--from-tuning", "retuned", "--strength", "0.7")
    (found,) = shell.get("workspace", "falcon", "-n", namespace)["inference"]["adapters"]
    source = {"name": "retuned", "image": "registry.example/tuned:1", "imagePullSecrets": ["push"]}
    assert found == {"source": source, "strength": "0.7"}
    assert in_pod(shell, namespace) == {"retuned": "0.7"}
    pod = shell.get("deployment", "falcon", "-n", namespace)["spec"]["template"]["spec"]
    assert pod["imagePullSecrets"] == [{"name": "push"}]

    refused = adapter(shell, namespace, "add", "--from-tuning", "falcon", "--name", "x", code=2)
    assert "does not tune anything" in refused.stderr


# --- on a terminal -----------------------------------------------------------------------------------------


def on_a_terminal(shell: Shell, answer: str, *arguments: str) -> tuple[int, str]:
    """Run kaitoctl on a terminal of 80 columns, and type an answer when it asks."""
    ours, theirs = pty.openpty()
    os.set_inheritable(theirs, True)
    process = subprocess.Popen(
        [str(BIN / "kaitoctl"), *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**shell.env, "COLUMNS": "80", "TERM": "xterm"},
        cwd=shell.home,
        start_new_session=True,
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
    shell: Shell, models: str
) -> None:
    words = ("add-adapter", "falcon", "--name", "style", "--image", image("style"), "-n", models, "--sandbox")
    code, seen = on_a_terminal(shell, "n\n", *words)
    assert (code, said(shell, models)) == (1, {})
    assert "nothing was written" in seen
    plain = (
        seen.replace("\x1b[32m", "").replace("\x1b[31m", "").replace("\x1b[2m", "").replace("\x1b[33m", "")
    )
    plain = plain.replace("\x1b[0m", "")
    assert "1 pod restarts" in plain
    diff = [line for line in plain.splitlines() if line.startswith(("+ ", "- "))]
    assert diff and max(map(len, diff)) <= 80
    code, seen = on_a_terminal(shell, "yes\n", *words, "--no-wait")
    assert (code, said(shell, models)) == (0, {"style": "1.0"}), seen
    adapter(shell, models, "remove", "--name", "style")


# --- in a file ---------------------------------------------------------------------------------------------


@pytest.fixture
def manifest(offline: Shell) -> Path:
    """Two Workspaces and a Service in one file, with comments."""
    docs = ["# the models of the team\n"]
    for name in ("falcon", "phi"):
        docs.append(
            f"---\napiVersion: kaito.sh/v1alpha1\nkind: Workspace\nmetadata: {{name: {name}}}\n"
            "resource:\n  instanceType: Standard_NC12s_v3 # two GPUs\n"
            "  labelSelector: {matchLabels: {apps: a}}\n"
            "inference:\n  preset:\n    name: falcon-7b\n"
        )
    file = offline.home / "models.yaml"
    file.write_text("".join([*docs, "---\napiVersion: v1\nkind: Service\nmetadata: {name: x}\n"]))
    return file


ADDED = """\
  adapters:
    - source:
        name: style
        image: registry.example/style:1
      strength: "0.5"
"""


def test_a_file_is_edited_in_its_place_through_links_and_with_its_permissions(
    offline: Shell, manifest: Path
) -> None:
    before = manifest.read_text()
    manifest.chmod(0o640)
    link = manifest.with_name("link.yaml")
    link.symlink_to(manifest.name)
    words = ("--name", "style", "--image", image("style"), "--strength", "0.5")
    done = offline.kaitoctl("add-adapter", "phi", "-f", str(link), *words)
    assert done.stdout == f"workspace.kaito.sh/phi configured in {link}\n"
    head, second = before.split("name: phi")
    assert manifest.read_text() == head + "name: phi" + second.replace(
        "    name: falcon-7b\n", f"    name: falcon-7b\n{ADDED}"
    )
    assert link.is_symlink() and manifest.stat().st_mode & 0o777 == 0o640
    assert [file.name for file in manifest.parent.glob(".*yaml*")] == []

    offline.kaitoctl("set-adapter", "phi", "-f", str(manifest), "--name", "style", "--strength", "0.25")
    assert 'strength: "0.25"' in manifest.read_text()
    assert (
        "unchanged"
        in offline.kaitoctl(
            "set-adapter", "phi", "-f", str(manifest), "--name", "style", "--strength", "0.25"
        ).stdout
    )
    offline.kaitoctl("remove-adapter", "phi", "-f", str(manifest), "--name", "style")
    assert manifest.read_text() == before


def test_stdin_is_edited_to_stdout(offline: Shell, manifest: Path) -> None:
    text = f"kaitoctl add-adapter falcon -f - --name style --image {image('style')} < {manifest}"
    done = offline.run("/bin/sh", "-c", text)
    assert done.returncode == 0 and "image: registry.example/style:1" in done.stdout
    assert done.stdout.startswith("# the models of the team\n---\n")


def test_a_dry_run_of_a_file_prints_it_and_leaves_it(offline: Shell, manifest: Path) -> None:
    before = manifest.read_text()
    words = ("--name", "style", "--image", image("style"), "--dry-run=client")
    done = offline.kaitoctl("add-adapter", "falcon", "-f", str(manifest), *words)
    assert "name: style" in done.stdout and manifest.read_text() == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--name", "a", "--image", "a/b:1"), "2 Workspaces in it: which one?"),
        (("llama", "--name", "a", "--image", "a/b:1"), "there is no Workspace llama in it"),
        (("phi", "--name", "a", "--image", "A/B"), "lower case"),
        (("phi", "--name", "a", "--image", "a/b:1", "--strength", "2"), "not between 0 and 1"),
        (("phi", "--name", "a", "--image", "a/b:1", "--dry-run=server"), "asks no server"),
        (("phi", "--name", "a", "--from-tuning", "t"), "--from-tuning asks a cluster"),
        (("phi", "--name", "a", "--image", "a/b:1", "--force-conflicts"), "is for a cluster"),
    ],
)
def test_what_cannot_be_done_to_a_file_leaves_it_as_it_is(
    offline: Shell, manifest: Path, arguments: tuple[str, ...], words: str
) -> None:
    before = manifest.read_bytes()
    done = offline.kaitoctl("add-adapter", *arguments, "-f", str(manifest), code=2)
    assert words in done.stderr
    assert manifest.read_bytes() == before


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [", "models.yaml:2:1: did not find"),
        ("kind: Service\napiVersion: v1\n", "there is no Workspace in it"),
        ("", "there is no Workspace in it"),
        (
            "apiVersion: kaito.sh/v1alpha1\nkind: Workspace\nmetadata: {name: phi}\ntuning: {}\n",
            "serves no model",
        ),
        (
            "apiVersion: kaito.sh/v1alpha1\nkind: Workspace\nmetadata: {name: phi}\n"
            "inference: {preset: {name: falcon-7b}, # why\n  config: x}\n",
            "one key a line",
        ),
    ],
)
def test_a_file_that_cannot_be_edited_is_told_with_its_name(
    offline: Shell, manifest: Path, text: str, words: str
) -> None:
    manifest.write_text(text)
    words_of_it = ("--name", "a", "--image", "a/b:1")
    done = offline.kaitoctl("add-adapter", "phi", "-f", str(manifest), *words_of_it, code=2)
    assert words in done.stderr and str(manifest) in done.stderr
    assert manifest.read_text() == text
