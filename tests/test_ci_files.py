"""What continuous integration takes from here: the action, the hook of pre-commit, our own workflow."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from shell import BIN

ROOT = Path(__file__).parent.parent
ACTION: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text())
GOOD = """\
apiVersion: kaito.sh/v1alpha1
kind: Workspace
metadata: {name: good}
resource: {instanceType: Standard_NC12s_v3, labelSelector: {matchLabels: {apps: x}}}
inference: {preset: {name: falcon-7b}}
"""


@pytest.mark.parametrize(
    ("schema", "files"),
    [
        ("vendor.github-actions", "action.yml"),
        ("vendor.github-workflows", ".github/workflows/*.yml"),
        ("vendor.github-issue-forms", ".github/ISSUE_TEMPLATE/[!c]*.yml"),
        ("vendor.github-issue-config", ".github/ISSUE_TEMPLATE/config.yml"),
    ],
)
def test_files_of_github_are_as_github_wants_them(schema: str, files: str) -> None:
    found = sorted(str(file) for file in ROOT.glob(files))
    assert found
    words = [str(BIN / "check-jsonschema"), "--builtin-schema", schema, *found]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def step(folder: Path, **inputs: str) -> subprocess.CompletedProcess[str]:
    """Runs the action's last step with its inputs and defaults, as GitHub's runner does."""
    values = {name: one["default"] for name, one in ACTION["inputs"].items()} | inputs
    validate = ACTION["runs"]["steps"][-1]
    env = {name: values.get(name.lower(), str(BIN / "kaitoctl")) for name in validate["env"]}
    shell = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", validate["run"]]
    return subprocess.run(
        shell, cwd=folder, env={**os.environ, **env}, capture_output=True, text=True, check=False
    )


def test_the_action_fails_for_what_is_wrong_and_writes_its_log(tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_text(GOOD)
    (tmp_path / "other.yaml").write_text("kind: ConfigMap\napiVersion: v1\nmetadata: {name: c}\n")
    done = step(tmp_path)
    assert (done.returncode, done.stdout) == (0, "")
    (tmp_path / "bad.yml").write_text(GOOD.replace("falcon-7b", "falcon-7c"))
    done = step(tmp_path, files="bad.yml g*.yaml", sarif="log.sarif")
    assert done.returncode == 2
    assert done.stdout.startswith("::error file=bad.yml,line=5,")
    assert [one["ruleId"] for one in json.loads((tmp_path / "log.sarif").read_text())["runs"][0]["results"]]


def test_the_action_names_only_options_that_there_are() -> None:
    validate = ACTION["runs"]["steps"][-1]
    assert set(validate["env"]) - {"KAITOCTL"} == {name.upper() for name in ACTION["inputs"]} - {"PYTHON"}


def test_the_hook_judges_the_files_that_it_is_given(tmp_path: Path) -> None:
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    program, *arguments = hook["entry"].split()
    (tmp_path / "good.yaml").write_text(GOOD)
    (tmp_path / "other.yaml").write_text("a: 1\n")
    (tmp_path / "bad.yaml").write_text(GOOD.replace("falcon-7b", "falcon-7c"))
    for files, code in (
        (["other.yaml"], 0),
        (["good.yaml", "other.yaml"], 0),
        (["good.yaml", "bad.yaml"], 2),
    ):
        words = [str(BIN / program), *arguments, *files]
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr
