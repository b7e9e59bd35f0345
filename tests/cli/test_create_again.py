"""`create workspace` of one that exists: nothing is lost, and nothing restarts unasked."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from shell import Shell

FALCON = ("--preset", "falcon-7b", "--instance-type", "Standard_NC12s_v3")


def create(shell: Shell, namespace: str, *more: str, code: int = 0) -> tuple[str, str]:
    done = shell.kaitoctl("create", "workspace", "w", *FALCON, *more, "-n", namespace, code=code)
    return done.stdout, done.stderr


def adapters(workspace: Any) -> list[str]:
    return [item["source"]["name"] for item in workspace["inference"].get("adapters") or ()]


def test_a_workspace_keeps_what_nobody_names_and_asks_before_it_restarts(
    shell: Shell, namespace: str
) -> None:
    label = ("--label", f"apps={namespace[-50:]}")
    create(shell, namespace, *label, "--yes")
    pod = shell.names("pods", "-n", namespace)

    adapter = ("--adapter", "style=registry.example/style:1,strength=0.2")
    stdout, stderr = create(shell, namespace, *label, *adapter, code=2)
    assert stdout == ""
    assert "+       image: registry.example/style:1" in stderr
    assert "1 pod restarts" in stderr and "without service" in stderr
    assert "hint: add --yes" in stderr
    assert shell.names("pods", "-n", namespace) == pod
    stdout, _ = create(shell, namespace, *label, *adapter, "--dry-run=server", "-o", "json")
    assert adapters(json.loads(stdout)) == ["style"]
    assert adapters(shell.get("workspace", "w", "-n", namespace)) == []

    create(shell, namespace, *adapter, "--yes")
    shell.kubectl("annotate", "workspace", "w", "-n", namespace, "team=blue")
    shell.kubectl("label", "workspace", "w", "-n", namespace, "tier=gold")
    patch = '{"metadata":{"annotations":{"kaito.sh/runtime":"transformers"}}}'
    shell.patch(patch, "workspace", "w", "-n", namespace)
    pod = shell.names("pods", "-n", namespace)
    before = shell.get("workspace", "w", "-n", namespace)

    stdout, _ = create(shell, namespace, "--no-wait")  # the first command once more, and shorter
    assert stdout == "workspace.kaito.sh/w unchanged\n"
    after = shell.get("workspace", "w", "-n", namespace)
    assert adapters(after) == ["style"]
    for part in ("resource", "inference"):
        assert after[part] == before[part]
    for part in ("labels", "annotations"):
        assert after["metadata"][part] == before["metadata"][part]
    assert shell.names("pods", "-n", namespace) == pod


def test_what_never_changes_is_refused_without_advice_to_delete(shell: Shell, namespace: str) -> None:
    create(shell, namespace, "--no-wait", "--yes")
    _, stderr = create(shell, namespace, "--count", "2", "--no-wait", "--yes", code=2)
    assert "resource.count: is immutable (1 -> 2)" in stderr
    assert "kubectl delete" not in stderr


def test_replace_takes_away_what_no_option_names_and_asks(shell: Shell, namespace: str) -> None:
    adapter = ("--adapter", "style=registry.example/style:1")
    create(shell, namespace, *adapter, "--no-wait", "--yes")
    shell.kubectl("label", "workspace", "w", "-n", namespace, "tier=gold")
    assert create(shell, namespace, "--no-wait")[0] == "workspace.kaito.sh/w unchanged\n"
    _, stderr = create(shell, namespace, "--replace", "--no-wait", code=2)
    assert "removes what no option names" in stderr and "registry.example/style:1" in stderr
    assert "hint: add --yes" in stderr
    create(shell, namespace, "--replace", "--no-wait", "--yes")
    after = shell.get("workspace", "w", "-n", namespace)
    assert adapters(after) == [] and after["metadata"]["labels"]["tier"] == "gold"

    # What kaitoctl wrote otherwise than by applying goes, too.
    editor = shell.home / "editor"
    editor.write_text('#!/bin/sh\nsed -i "s/^inference:/inference:\\n  config: mine/" "$1"\n')
    editor.chmod(0o755)
    shell.kaitoctl("edit", "w", "-n", namespace, "--no-wait", "--yes", EDITOR=str(editor))
    assert shell.get("workspace", "w", "-n", namespace)["inference"]["config"] == "mine"
    create(shell, namespace, "--replace", "--no-wait", "--yes")
    assert "config" not in shell.get("workspace", "w", "-n", namespace)["inference"]

    # What somebody else keeps does not go behind their back.
    body = {part: after[part] for part in ("apiVersion", "kind", "resource", "inference")}
    body["metadata"] = {"name": "w", "namespace": namespace}
    body["inference"]["adapters"] = [{"source": {"name": "x", "image": "registry.example/x:1"}}]
    shell.apply(body)
    _, stderr = create(shell, namespace, "--replace", "--no-wait", "--yes", code=2)
    assert "inference.adapters: owned by kubectl" in stderr
    assert adapters(shell.get("workspace", "w", "-n", namespace)) == ["x"]


def test_nodes_that_somebody_pays_for_are_announced_with_their_price_and_asked_for(
    shell: Shell, namespace: str
) -> None:
    """In a sandbox nodes cost nothing; through a kubeconfig nobody can tell."""
    words = ("create", "workspace", "w", *FALCON, "-n", namespace, "--no-wait", "--label", "apps=bought")
    (shell.home / "prices.yaml").write_text("currency: EUR\nper_hour: {Standard_NC12s_v3: 7}\n")
    refused = shell.kaitoctl(
        *words, "--prices", "prices.yaml", code=2, KAITOCTL_SANDBOX="", KUBECONFIG=shell.kubeconfig
    )
    # More of them where Workspaces of other tests, with whatever labels, still look for nodes.
    assert re.search(r"nodes asked for: 1 Standard_NC12s_v3 node\b.* \(7\.00 EUR per hour\b", refused.stderr)
    assert "hint: add --yes" in refused.stderr
    assert not shell.names("workspaces", "-n", namespace)
    shell.kaitoctl(*words, "--yes", KAITOCTL_SANDBOX="", KUBECONFIG=shell.kubeconfig)
    assert shell.names("workspaces", "-n", namespace)


def test_whoever_owns_it_is_named_before_it_is_changed(shell: Shell, namespace: str) -> None:
    create(shell, namespace, "--no-wait", "--yes")
    shell.kubectl("label", "workspace", "w", "-n", namespace, "inferenceset.kaito.sh/created-by=falcons")
    adapter = ("--adapter", "style=registry.example/style:1")
    _, stderr = create(shell, namespace, *adapter, "--no-wait", "--dry-run=server")
    assert "InferenceSet falcons owns this Workspace" in stderr
    add = ("add-adapter", "w", "-n", namespace, "--name", "b", "--image", "r.example/b:1", "--dry-run=client")
    assert "InferenceSet falcons owns this Workspace" in shell.kaitoctl(*add).stderr


@pytest.mark.parametrize("option", ["--adapter", "--image-pull-secret"])
def test_a_missing_pull_secret_is_named_before_anything_is_bought(
    shell: Shell, namespace: str, option: str
) -> None:
    words = {
        "--adapter": ("--adapter", "style=registry.example/style:1,pull-secret=gone"),
        "--image-pull-secret": ("--private-image", "registry.example/f:1", "--image-pull-secret", "gone"),
    }[option]
    _, stderr = create(shell, namespace, *words, code=2)
    assert f"there is no pull secret gone in namespace {namespace}; nothing was written" in stderr
    assert f"create secret docker-registry gone -n {namespace}" in stderr
    assert not shell.names("workspaces", "-n", namespace)


def test_an_image_and_a_count_of_its_own_stay_without_being_named(shell: Shell, namespace: str) -> None:
    """Alone, the shorter request would be refused: this preset has no image that anybody may pull."""
    model = ("create", "workspace", "llama", "--preset", "llama-2-13b", "--no-wait", "-n", namespace)
    more = ("--private-image", "registry.example/llama-2-13b:1", "--count", "2")
    shell.kaitoctl(*model, "--instance-type", "Standard_NC12s_v3", *more, "--yes")
    before = shell.get("workspace", "llama", "-n", namespace)
    done = shell.kaitoctl(*model)
    assert done.stdout == "workspace.kaito.sh/llama unchanged\n"
    after = shell.get("workspace", "llama", "-n", namespace)
    assert (after["resource"], after["inference"]) == (before["resource"], before["inference"])
    other = ("create", "workspace", "other", *model[3:])
    assert "accessMode" in shell.kaitoctl(*other, code=2).stderr


def test_what_all_watches_say_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    import logging

    from kaitoctl.screens import output

    root = logging.getLogger()
    before, root.handlers = root.handlers, []
    try:
        output.log_to_narration()
        for kind in ("pod", "service", "pod"):
            logging.getLogger("x").warning("watching %s: %s", kind, "cannot reach the API server")
        logging.getLogger("x").warning("watching %s: %s", "pod", "another cause")
    finally:
        root.handlers = before
    said = capsys.readouterr().err.splitlines()
    assert said == ["! watching pod: cannot reach the API server", "! watching pod: another cause"]
