"""`kaitoctl apply --prune -l`: what an earlier apply wrote and no file has any more goes, nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from shell import Shell

SELECTOR = "team=blue"


def workspace(namespace: str, name: str, **labels: str) -> dict[str, Any]:
    return {
        "apiVersion": "kaito.sh/v1alpha1",
        "kind": "Workspace",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "resource": {
            "instanceType": "Standard_NC12s_v3",
            "labelSelector": {"matchLabels": {"apps": f"{namespace[-40:].lstrip('-')}-{name}"}},
        },
        "inference": {"preset": {"name": "falcon-7b"}},
    }


def config_map(namespace: str, name: str, **labels: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace, "labels": labels}
    data = {"inference_config.yaml": "vllm: {}\n"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def write(shell: Shell, *objects: Any) -> str:
    (shell.home / "set.yaml").write_text("---\n".join(json.dumps(obj) + "\n" for obj in objects))
    return "set.yaml"


def names(shell: Shell, namespace: str) -> set[str]:
    found = shell.names("workspaces,configmaps", "-n", namespace)
    return {name for name in found if "kube-root-ca" not in name}


def test_what_no_file_has_any_more_is_announced_asked_for_and_goes_with_its_nodes(
    shell: Shell, namespace: str
) -> None:
    kept, gone = workspace(namespace, "kept", team="blue"), workspace(namespace, "gone", team="blue")
    file = write(shell, kept, gone, config_map(namespace, "cm", team="blue"))
    shell.kaitoctl("apply", "-f", file, "--yes", "--timeout", "90s")
    # Of others, or with other labels: none of this may go.
    shell.apply(workspace(namespace, "theirs", team="blue"))
    shell.apply(config_map(namespace, "their-cm", team="blue"))
    other = write(shell, config_map(namespace, "red", team="red"))
    shell.kaitoctl("apply", "-f", other)
    everything = names(shell, namespace)

    (claim,) = shell.names(
        "nodeclaims", "-l", f"kaito.sh/workspace=gone,kaito.sh/workspacenamespace={namespace}"
    )
    file = write(shell, kept)
    pruning = ("apply", "-f", file, "--prune", "-l", SELECTOR)
    for how in ("client", "server"):
        shown = shell.kaitoctl(*pruning, "--dry-run", how)
        assert f"workspace.kaito.sh/gone deleted ({how} dry run)" in shown.stdout
    refused = shell.kaitoctl(*pruning, code=2)
    assert "--yes" in refused.stderr
    for words in (
        f"Workspace {namespace}/gone will be deleted",
        f"released: NodeClaim {claim.partition('/')[2]}",
        f"ConfigMap {namespace}/cm will be deleted",
        f"stays: Workspace {namespace}/theirs, which others wrote",
        f"stays: ConfigMap {namespace}/their-cm, which others wrote",
    ):
        assert words in refused.stderr, words
    assert names(shell, namespace) == everything

    done = shell.kaitoctl(*pruning, "--yes", "--timeout", "90s")
    assert done.stdout.splitlines() == [
        "workspace.kaito.sh/kept unchanged",
        "workspace.kaito.sh/gone deleted",
        "configmap/cm deleted",
    ]
    assert everything - names(shell, namespace) == {"workspace.kaito.sh/gone", "configmap/cm"}
    # Not a moment later.
    assert not shell.names(
        "nodeclaims", "-l", f"kaito.sh/workspace=gone,kaito.sh/workspacenamespace={namespace}"
    )
    assert shell.kaitoctl(*pruning).stdout == "workspace.kaito.sh/kept unchanged\n"  # nothing to ask


def test_nothing_goes_when_a_document_is_refused(shell: Shell, namespace: str) -> None:
    file = write(shell, config_map(namespace, "cm", team="blue"))
    shell.kaitoctl("apply", "-f", file)
    bad = workspace(namespace, "bad", team="blue")
    bad["inference"]["preset"]["name"] = "falcon-7c"
    file = write(shell, bad)
    assert (
        "falcon-7c" in shell.kaitoctl("apply", "-f", file, "--prune", "-l", SELECTOR, "--yes", code=2).stderr
    )
    assert names(shell, namespace) == {"configmap/cm"}


def test_a_config_map_that_a_workspace_needs_stays(shell: Shell, namespace: str) -> None:
    user = workspace(namespace, "user", team="red")
    user["apiVersion"] = "kaito.sh/v1beta1"
    user["inference"]["config"] = "cm"
    shell.apply(user)
    both = write(shell, config_map(namespace, "cm", team="blue"), config_map(namespace, "kept", team="blue"))
    shell.kaitoctl("apply", "-f", both)
    file = write(shell, config_map(namespace, "kept", team="blue"))
    done = shell.kaitoctl("apply", "-f", file, "--prune", "-l", SELECTOR)
    assert f"stays: ConfigMap {namespace}/cm, which Workspace {namespace}/user needs" in done.stderr
    assert "configmap/cm" in names(shell, namespace)


def test_a_document_that_the_selector_does_not_take_is_not_applied(shell: Shell, namespace: str) -> None:
    file = write(shell, config_map(namespace, "blue", team="blue"), config_map(namespace, "red", team="red"))
    done = shell.kaitoctl("apply", "-f", file, "--prune", "-l", SELECTOR)
    assert "ConfigMap red is skipped: -l does not select it" in done.stderr
    assert names(shell, namespace) == {"configmap/blue"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-f", "-", "--prune"], "give a label selector"),
        (["-f", "-", "--prune", "-l", " "], "give a label selector"),
        (["-f", "-", "-l", "a=b"], "-l requires --prune"),
        (["--plan", "x", "--prune", "-l", "a=b"], "--prune requires -f"),
        (["-f", "-", "--prune", "-l", "=b,,"], "is not a label selector"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    offline: Shell, arguments: list[str], words: str
) -> None:
    assert words in offline.kaitoctl("apply", *arguments, code=2).stderr


def test_a_selector_that_takes_none_of_the_documents_deletes_nothing(offline: Shell) -> None:
    file = write(offline, config_map("n", "red", team="red"))
    done = offline.kaitoctl("apply", "-f", file, "--prune", "-l", SELECTOR, code=2)
    assert "selects none of the documents" in done.stderr


def test_what_is_in_folders_that_are_not_read_does_not_go(shell: Shell, namespace: str) -> None:
    (shell.home / "all" / "below").mkdir(parents=True)
    for path, name in (("all/top.json", "top"), ("all/below/deep.json", "deep")):
        (shell.home / path).write_text(json.dumps(config_map(namespace, name, team="blue")))
    shell.kaitoctl("apply", "-f", "all", "-R")
    pruning = ("apply", "-f", "all", "--prune", "-l", SELECTOR, "--yes")
    refused = shell.kaitoctl(*pruning, code=2).stderr
    assert "all/below/deep.json" in refused
    assert "-R reads them, too" in refused
    assert names(shell, namespace) == {"configmap/top", "configmap/deep"}
    shell.kaitoctl(*pruning, "-R")
    assert names(shell, namespace) == {"configmap/top", "configmap/deep"}
    shell.kaitoctl("apply", "-f", "all/top.json", *pruning[3:])  # said by name, the rest goes
    assert names(shell, namespace) == {"configmap/top"}


def test_what_a_manifest_has_under_other_labels_by_now_stays(shell: Shell, namespace: str) -> None:
    both = (config_map(namespace, "moved", team="blue"), config_map(namespace, "kept", team="blue"))
    shell.kaitoctl("apply", "-f", write(shell, *both))
    file = write(shell, config_map(namespace, "moved", team="red"), both[1])
    done = shell.kaitoctl("apply", "-f", file, "--prune", "-l", SELECTOR, "--yes")
    assert "ConfigMap moved is skipped: -l does not select it" in done.stderr
    assert names(shell, namespace) == {"configmap/moved", "configmap/kept"}
