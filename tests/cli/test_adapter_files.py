"""Adapters in manifests: edited in place, not a line more than the change."""

from __future__ import annotations

from pathlib import Path

import pytest
from adapting import image
from shell import Shell


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
        (("phi", "--name", "a"), "the source of the adapter is missing"),
        (
            ("phi", "--name", "a", "--from-tuning", "t", "--image", "a/b:1"),
            "--image and --from-tuning exclude each other",
        ),
        (
            ("phi", "--name", "a", "--volume-claim", "v", "--image", "a/b:1"),
            "--image and --volume-claim exclude each other",
        ),
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
            "Workspace phi serves no model",
        ),
        (
            "apiVersion: kaito.sh/v1alpha1\nkind: Workspace\nmetadata: {}\ntuning: {}\n",
            "there are: one without a name",
        ),
        (
            "apiVersion: kaito.sh/v1alpha1\nkind: Workspace\nmetadata: {name: phi}\ninference: x\n",
            "models.yaml:4:1: inference is not a map",
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


def test_a_workspace_without_a_name_is_spoken_of_all_the_same(offline: Shell, manifest: Path) -> None:
    manifest.write_text("apiVersion: kaito.sh/v1alpha1\nkind: Workspace\nmetadata: {}\ntuning: {}\n")
    words = ("--name", "a", "--image", "a/b:1")
    done = offline.kaitoctl("add-adapter", "-f", str(manifest), *words, code=2)
    assert "the Workspace without a name serves no model" in done.stderr
