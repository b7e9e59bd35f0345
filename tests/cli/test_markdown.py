"""`-o markdown`: what is going to change as one comment on a pull request."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from builders import workspace
from shell import Shell

from kaitoctl.screens.markdown import LIMIT, comment

PAGE = Path(__file__).parent.parent.parent / "docs" / "render-and-diff.md"


def test_an_entry_without_details_is_a_line_and_another_is_folded() -> None:
    made = comment("plan", "1 changed", ["= a unchanged", "~ b changed", "    path   - 1   + 2"])
    assert made == (
        "### kaitoctl plan\n\n<p><b><code>1 changed</code></b></p>\n\n<p><code>= a unchanged</code></p>\n"
        "\n<details><summary><code>~ b changed</code></summary>\n\n"
        "```text\npath   - 1   + 2\n```\n\n</details>\n"
    )


@pytest.mark.parametrize("text", ["</details>", "````", "@somebody", "[a](https://b)", "<script>", "*a*"])
def test_text_of_a_manifest_stays_text(text: str) -> None:
    made = comment("t", text, [text, f"    {text}"])
    _, _, body = made.partition("</summary>")
    fence = re.findall(r"^`+", body, re.MULTILINE)
    assert len(fence[0]) > max(2, *map(len, re.findall("`+", text) or [""])), "the text cannot end the block"
    assert f"{fence[0]}text\n{text}\n{fence[0]}\n" in body
    head = made.partition(fence[0])[0]
    assert "<script>" not in head
    assert head.count("<details>") == 1
    assert "</details>" not in head


@pytest.mark.parametrize(("entries", "details"), [(40, 100), (3, 5000), (3000, 1), (1, 9000)])
def test_a_comment_is_never_too_long_and_says_what_is_left_out(entries: int, details: int) -> None:
    lines = [
        line
        for number in range(entries)
        for line in (f"~ Workspace models/w{number} <&> changed", *["    a <field>  - 1  + 2"] * details)
    ]
    made = comment("t", "the sum", lines)
    assert LIMIT * 0.5 < len(made) <= LIMIT or entries in (1, 3)
    assert len(made) <= LIMIT
    assert "the sum" in made
    shown, folded = made.count("Workspace models/w"), made.count("<details>")
    assert made.count("</details>") == folded
    assert f"{shown - folded} of {entries} entries are without" in made
    assert f"{entries - shown} are left out" in made


def test_plan_and_diff_and_upgrade_write_one(
    shell: Shell, namespace: str, tmp_path: Path, golden: Callable[[str, str], None]
) -> None:
    made = workspace("w")
    made["metadata"] = {"name": "w", "namespace": namespace}
    made["resource"]["labelSelector"] = {"matchLabels": {"apps": namespace}}  # nobody else's nodes
    (tmp_path / "w.yaml").write_text(yaml.safe_dump(made))
    for name, arguments in {
        "plan": ("plan", "-f", str(tmp_path / "w.yaml"), "--target-version", "kaitoctl"),
        "diff": ("diff", "-f", str(tmp_path / "w.yaml")),
        "upgrade": ("upgrade", "plan", "--to", "v0.12", "--from", "v0.4", "-f", str(tmp_path / "w.yaml")),
    }.items():
        done = shell.kaitoctl(*arguments, "-o", "markdown", code=1)
        text = done.stdout.replace(namespace, "NAMESPACE").replace(str(tmp_path), "FOLDER")
        text = re.sub(r" --kubeconfig \S+", "", text)  # a matter of the cluster, not of the comment
        golden(f"markdown-{name}.md", text)


@pytest.mark.parametrize(("code", "succeeds", "posts"), [(0, 1, 1), (1, 1, 1), (2, 0, 1), (3, 0, 0)])
def test_the_workflow_of_the_docs_posts_it(tmp_path: Path, code: int, succeeds: int, posts: int) -> None:
    (block,) = re.findall(r"```yaml\n(on: pull_request.*?)```", PAGE.read_text(), re.DOTALL)
    steps = yaml.safe_load(block)["jobs"]["plan"]["steps"]
    printed = "printf plan" if posts else ":"
    for name, does in {"kaitoctl": f"{printed}; exit {code}", "gh": 'echo "$@" > posted'}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{does}\n")
        (tmp_path / name).chmod(0o755)
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PR": "7"}
    done = subprocess.run(["bash", "-e", "-c", steps[-1]["run"]], cwd=tmp_path, env=env, check=False)
    assert (done.returncode == 0) == bool(succeeds)
    assert (tmp_path / "posted").exists() == bool(posts)
