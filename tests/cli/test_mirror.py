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

from kaitoctl.kaito.images import images_of, source


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
