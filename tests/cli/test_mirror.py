"""`kaitoctl mirror list`: everything that pods of these Workspaces will pull, and where a copy goes."""

from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from shell import BIN

from kaitoctl.kaito.images import images_of, named_by, source, with_mirrored_images
from kaitoctl.kaito.validation.grammar import docker_fault


def workspace(name: str, instance_type: str, preset: str, version: str, **inference: Any) -> dict[str, Any]:
    return {
        "apiVersion": f"kaito.sh/{version}",
        "kind": "Workspace",
        "metadata": {"name": name},
        "resource": {"instanceType": instance_type, "labelSelector": {"matchLabels": {"apps": name}}},
        "inference": {"preset": {"name": preset}, **inference},
    }


ADAPTERS = [{"source": {"name": "style", "image": "myteam/style:1"}}]
PHI = workspace("phi", "Standard_NC24ads_A100_v4", "phi-4", "v1beta1", adapters=ADAPTERS)
FALCON = workspace("falcon", "Standard_NC12s_v3", "falcon-7b", "v1alpha1")
SET = {
    "apiVersion": "kaito.sh/v1beta1",
    "kind": "InferenceSet",
    "metadata": {"name": "fleet"},
    "spec": {
        "replicas": 2,
        "labelSelector": {"matchLabels": {"apps": "fleet"}},
        "template": {
            "resource": {"instanceType": "Standard_NC24ads_A100_v4"},
            "inference": {"preset": {"name": "phi-4"}},
        },
    },
}


def kaitoctl(folder: Path, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    words = [str(BIN / "kaitoctl"), *arguments]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return done


def write(folder: Path, *objects: Any) -> str:
    (folder / "w.yaml").write_text(yaml.safe_dump_all(objects))
    return "w.yaml"


@pytest.mark.parametrize("objects", [(PHI,), (FALCON,), (PHI, FALCON), (SET,)])
def test_all_that_render_shows_is_listed(tmp_path: Path, objects: Any) -> None:
    file = write(tmp_path, *objects)
    rendered = json.loads(kaitoctl(tmp_path, "render", "-f", file, "-o", "json").stdout)["items"]
    listed = json.loads(kaitoctl(tmp_path, "mirror", "list", "-f", file, "-o", "json").stdout)
    names = {one["image"] for one in listed["images"]}
    assert set(images_of(rendered)) <= names
    assert (PHI in objects) == ("myteam/style:1" in names), "no container has an adapter's image in v0.12"
    assert [one["id"] for one in listed["models"]] == ([] if objects == (FALCON,) else ["microsoft/phi-4"])


def test_copies_go_where_the_controller_looks_for_them(tmp_path: Path) -> None:
    file = write(tmp_path, PHI, FALCON)
    done = kaitoctl(tmp_path, "mirror", "list", "-f", file, "--to", "reg.example:5000/k/")
    copies = [shlex.split(line)[-2:] for line in done.stdout.splitlines()]
    there = {one.removeprefix("docker://") for _, one in copies}
    assert "reg.example:5000/k/myteam/style:1" in there
    mirrored = kaitoctl(tmp_path, "render", "-f", file, "-o", "json", "--registry", "reg.example:5000/k")
    preset = [one for one in images_of(json.loads(mirrored.stdout)["items"]) if one.startswith("reg.example")]
    assert len(preset) == 2
    assert set(preset) <= there
    for words in ("--registry reg.example:5000/k/", "in place of myteam/style:1", "skopeo:"):
        assert words in done.stderr


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("ubuntu", "docker.io/library/ubuntu"),
        ("team/style:1", "docker.io/team/style:1"),
        ("localhost/style:1", "localhost/style:1"),
        ("reg:5000/style@sha256:1", "reg:5000/style@sha256:1"),
        ("a.example/b/c", "a.example/b/c"),
    ],
)
def test_an_image_has_the_registry_that_docker_means(image: str, expected: str) -> None:
    assert source(image) == expected


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-f", "missing.yaml"], "missing.yaml"),
        (["-f", "w.yaml", "--to", "/"], "--to names no registry"),
        (["-f", "w.yaml", "-o", "xml"], "xml"),
        (["-f", "bad.yaml"], "nothing was made"),
    ],
)
def test_bad_input_is_named(tmp_path: Path, arguments: list[str], words: str) -> None:
    write(tmp_path, PHI)
    (tmp_path / "bad.yaml").write_text(yaml.safe_dump({**PHI, "inference": {"preset": {"name": "phi-5"}}}))
    assert words in kaitoctl(tmp_path, "mirror", "list", *arguments, code=2).stderr


@pytest.mark.parametrize("registry", ["reg.example:5000/k", "reg.example/k/"])
def test_what_is_created_names_the_copies(tmp_path: Path, registry: str) -> None:
    """Whatever `mirror list` copies, beside what the controller chooses."""
    named = (
        "--instance-type",
        "Standard_NC24ads_A100_v4",
        "--label",
        "a=b",
        "--dry-run=client",
        "-o",
        "json",
    )
    private = ("--preset", "llama-2-7b", "--private-image", "quay.io/me/llama:2")
    style = "style=myteam/style:1"
    workspace = ("create", "workspace", "w", *private, "--adapter", f"{style},strength=0.5", *named)
    fleet = ("create", "inference-set", "f", "--preset", "phi-4", "--adapter", style, *named)
    for command in (workspace, fleet):
        plain = kaitoctl(tmp_path, *command).stdout
        made = json.loads(kaitoctl(tmp_path, *command, "--registry", registry).stdout)
        listed = kaitoctl(
            tmp_path, "mirror", "list", "-f", write(tmp_path, json.loads(plain)), "--to", registry
        )
        copies = {tuple(shlex.split(line)[-2:]) for line in listed.stdout.splitlines()}
        there = {to.removeprefix("docker://") for _, to in copies}
        before = {
            *named_by(json.loads(plain)),
            *named_by(json.loads(plain).get("spec", {}).get("template", {})),
        }
        after = {*named_by(made), *named_by(made.get("spec", {}).get("template", {}))}
        assert before
        assert len(after) == len(before)
        assert after <= there
        again = kaitoctl(
            tmp_path, "mirror", "list", "-f", write(tmp_path, made), "-o", "json", "--registry", registry
        )
        assert after <= {one["image"] for one in json.loads(again.stdout)["images"]}


@pytest.mark.parametrize("registry", ["", "/", "Reg.example/A B", "https://reg.example"])
def test_a_registry_that_is_none_is_refused(tmp_path: Path, registry: str) -> None:
    falcon = ("--preset", "falcon-7b", "--instance-type", "Standard_NC12s_v3", "--dry-run=client")
    for command in (
        ("create", "workspace", "w", *falcon, "--registry", registry),
        ("create", "inference-set", "f", "--preset", "phi-4", "--dry-run=client", "--registry", registry),
        ("mirror", "list", "-f", write(tmp_path, FALCON), "--to", registry),
    ):
        assert "names no registry" in kaitoctl(tmp_path, *command, code=2).stderr


def test_images_that_are_there_already_and_those_that_are_pushed_stay() -> None:
    source = {"name": "a", "image": "r.io/k/a:1"}
    pod = {
        "initContainers": [{"name": "i", "image": "busybox"}],
        "containers": [
            {"name": "c", "image": "r.io/k/c:1"},
            {"name": "d", "image": "a.io/x/d@sha256:" + "0" * 64},
        ],
        "volumes": [{"name": "v", "image": {"reference": "docker.io/m/v:1"}}, {"name": "e", "emptyDir": {}}],
    }
    tuning = {"input": {"image": "data:1"}, "output": {"image": "r.example/out:1"}}
    inference: dict[str, Any] = {"adapters": [{"source": source}, {"source": {}}], "template": {"spec": pod}}
    made = with_mirrored_images({"inference": inference, "tuning": tuning}, "r.io/k/")
    digest = "r.io/k/x/d@sha256:" + "0" * 64
    assert set(named_by(made)) == {
        "r.io/k/a:1",
        "r.io/k/busybox",
        "r.io/k/c:1",
        digest,
        "r.io/k/m/v:1",
        "r.io/k/data:1",
    }
    assert made["tuning"]["output"] == tuning["output"]
    assert inference["adapters"][0]["source"] is source, "the one that was given stays as it is"


def test_the_commands_are_those_of_skopeo(tmp_path: Path) -> None:
    """`skopeo copy [--all] docker://SOURCE docker://DESTINATION`, each a reference that Go's parser takes.

    Source: skopeo docs/skopeo-copy.1.md, and containers-transports(5).
    """
    file = write(tmp_path, PHI, FALCON, SET)
    done = kaitoctl(tmp_path, "mirror", "list", "-f", file, "--to", "reg.example:5000/k")
    lines = [shlex.split(line) for line in done.stdout.splitlines()]
    assert lines
    for program, verb, option, *places in lines:
        assert (program, verb, option, len(places)) == ("skopeo", "copy", "--all", 2)
        for place in places:
            scheme, mark, reference = place.partition("docker://")
            assert (scheme, mark) == ("", "docker://")
            assert docker_fault(reference) == ""
            assert reference.partition("/")[0] in ("mcr.microsoft.com", "docker.io", "reg.example:5000")
