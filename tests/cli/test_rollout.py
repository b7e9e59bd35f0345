"""`kaitoctl rollout`: history, undo and status, with kubectl as the second hand on the same Workspace."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from builders import adapter, workspace
from fake_server import always, serving
from shell import BIN, Shell

from kaitoctl.kube.yaml_writer import to_yaml

Apply = Callable[..., None]
CAUSE = "kubernetes.io/change-cause"


@pytest.fixture
def apply(shell: Shell, namespace: str, tmp_path: Path) -> Apply:
    """Apply a Workspace `w` with these adapters, and wait until it serves."""

    def applied(
        *adapters: str, manager: str = "kaitoctl", cause: str = "", ready: bool = True, **changes: Any
    ) -> None:
        made = workspace("w", **changes)
        made["resource"]["labelSelector"] = {"matchLabels": {"apps": namespace}}
        made["metadata"] = {"name": "w", "namespace": namespace}
        if cause:
            made["metadata"]["annotations"] = {CAUSE: cause}
        made["inference"] |= {"adapters": [adapter(name) for name in adapters]} if adapters else {}
        file = tmp_path / "workspace.json"
        file.write_text(json.dumps(made))
        how = ("--server-side", "--field-manager", manager) if manager != "client" else ()
        shell.kubectl("apply", *how, "--validate=false", "-f", str(file))
        if ready:
            shell.kaitoctl("rollout", "status", "w", "-n", namespace, "--timeout", "60s")

    return applied


def rollout(shell: Shell, namespace: str, *arguments: str, code: int = 0) -> tuple[str, str]:
    consent = ("--yes",) if arguments[0] == "undo" else ()
    done = shell.kaitoctl("rollout", *arguments, *consent, "-n", namespace, code=code)
    return done.stdout, done.stderr


def numbers(shell: Shell, namespace: str) -> dict[int, list[str]]:
    """The adapters of each revision."""
    stdout, _ = rollout(shell, namespace, "history", "w", "-o", "json")
    found = json.loads(stdout)
    items = found["items"] if found["kind"] == "List" else [found]
    return {
        item["revision"]: [one["source"]["name"] for one in item["data"]["inference"].get("adapters", ())]
        for item in items
    }


def pods(shell: Shell, namespace: str) -> list[Any]:
    found = shell.get("pods", "-n", namespace, "-l", "kaito.sh/workspace=w")["items"]
    return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]


def test_there_and_back_again(shell: Shell, namespace: str, apply: Apply) -> None:
    apply(cause="plain")
    before = shell.get("workspace", "w", "-n", namespace)
    template = shell.get("deployment", "w", "-n", namespace)["spec"]["template"]
    apply("a", cause="with a")
    stdout, _ = rollout(shell, namespace, "history", "workspace/w")
    assert [line.split() for line in stdout.splitlines()] == [
        ["workspace.kaito.sh/w"],
        ["REVISION", "CURRENT", "CHANGE-CAUSE", "SPEC"],
        ["1", "plain", "falcon-7b,", "1", "x", "Standard_NC12s_v3"],
        ["2", "*", "with", "a", "falcon-7b,", "1", "x", "Standard_NC12s_v3,", "adapter", "a=0.2"],
    ]
    _, stderr = rollout(shell, namespace, "undo", "w", "--dry-run", "client")
    diff = [line for line in stderr.splitlines() if line[:2] in ("- ", "+ ")]
    assert [line[2:].strip() for line in diff] == [
        "kubernetes.io/change-cause: with a",
        "kubernetes.io/change-cause: plain",
        *[line.strip() for line in to_yaml({"adapters": [adapter("a")]}).splitlines()],
    ]
    stdout, stderr = rollout(shell, namespace, "undo", "w")
    assert stdout == "workspace.kaito.sh/w rolled back\n"
    assert "rolls back to revision 1: 1 pod restarts" in stderr
    assert "ready: 1 of 1 pods serve" in stderr
    after = shell.get("workspace", "w", "-n", namespace)
    assert {key: after[key] for key in ("resource", "inference")} == {
        key: before[key] for key in ("resource", "inference")
    }
    assert after["metadata"]["annotations"][CAUSE] == "plain"
    assert shell.get("deployment", "w", "-n", namespace)["spec"]["template"] == template
    assert "initContainers" not in pods(shell, namespace)[0]["spec"]
    assert numbers(shell, namespace) == {2: ["a"], 3: []}
    stdout, _ = rollout(shell, namespace, "undo", "w", "--to-revision", "3")
    assert stdout == "workspace.kaito.sh/w skipped rollback (it is already at revision 3)\n"


def test_a_history_has_all_of_a_revision_and_a_short_cause_unless_asked_for_wide(
    shell: Shell, namespace: str, apply: Apply
) -> None:
    names, cause = [f"adapter-{number}" for number in range(6)], "because the people of marketing asked"
    apply(*names, cause=cause, ready=False)
    rollout(shell, namespace, "status", "w")
    stdout, _ = rollout(shell, namespace, "history", "w")
    (row,) = [line for line in stdout.splitlines() if line.startswith("1 ")]
    assert all(f"adapter {name}=0.2" in row for name in names)
    assert "because the people of marketing…   falcon-7b" in row
    stdout, _ = rollout(shell, namespace, "history", "w", "-o", "wide")
    (row,) = [line for line in stdout.splitlines() if line.startswith("1 ")]
    assert f"{cause}   falcon-7b" in row
    assert all(f"adapter {name}=0.2" in row for name in names)


def test_a_revision_is_shown_whole(shell: Shell, namespace: str, apply: Apply) -> None:
    apply("a", ready=False)
    shell.kaitoctl("rollout", "status", "w", "-n", namespace)
    stdout, _ = rollout(shell, namespace, "history", "w", "--revision", "1")
    head, _, text = stdout.partition("\n")
    assert head == "workspace.kaito.sh/w with revision #1"
    assert yaml.safe_load(text)["inference"]["adapters"] == [adapter("a")]
    stdout, _ = rollout(shell, namespace, "history", "w", "--revision", "1", "-o", "yaml")
    found = yaml.safe_load(stdout)
    assert (found["kind"], found["revision"]) == ("ControllerRevision", 1)
    assert found["metadata"]["labels"] == {"workspace.kaito.io/name": "w"}
    (deployment,) = shell.get("deployments", "-n", namespace)["items"]
    assert deployment["metadata"]["annotations"]["workspace.kaito.io/revision"] == "1"


@pytest.mark.parametrize("mode", ["client", "server"])
def test_a_dry_run_changes_nothing(shell: Shell, namespace: str, apply: Apply, mode: str) -> None:
    apply()
    apply("a")
    before = shell.get("workspace", "w", "-n", namespace)
    stdout, stderr = rollout(shell, namespace, "undo", "w", "--dry-run", mode, "-o", "yaml")
    assert "adapters" not in yaml.safe_load(stdout)["inference"]
    assert f"rolled back ({mode} dry run)" in stderr
    assert shell.get("workspace", "w", "-n", namespace) == before
    assert set(numbers(shell, namespace)) == {1, 2}


@pytest.mark.parametrize("manager", ["client", "kubectl"])
def test_what_kubectl_owns_is_taken_over_only_when_forced(
    shell: Shell, namespace: str, apply: Apply, manager: str
) -> None:
    apply(manager=manager, cause="plain")
    apply("a", manager=manager, cause="with a")
    owner = "kubectl-client-side-apply" if manager == "client" else "kubectl"
    _, stderr = rollout(shell, namespace, "undo", "w", code=4)
    assert f"inference.adapters: owned by {owner}" in stderr
    assert "--force-conflicts" in stderr
    assert shell.get("workspace", "w", "-n", namespace)["metadata"]["generation"] == 2

    rollout(shell, namespace, "undo", "w", "--force-conflicts", "--dry-run", "server")
    assert shell.get("workspace", "w", "-n", namespace)["metadata"]["generation"] == 2
    rollout(shell, namespace, "undo", "w", "--force-conflicts")
    assert numbers(shell, namespace) == {2: ["a"], 3: []}
    stdout, _ = rollout(shell, namespace, "history", "w")
    causes = [line.partition("falcon-7b")[0].split()[-1] for line in stdout.splitlines()[2:]]
    assert causes == ["a", "plain"]


def test_a_value_that_somebody_else_set_is_named_with_who_did(
    shell: Shell, namespace: str, apply: Apply
) -> None:
    apply("a")
    patch = json.dumps({"inference": {"adapters": [adapter("b")]}})
    shell.patch(patch, "workspace", "w", "-n", namespace)
    rollout(shell, namespace, "status", "w")
    _, stderr = rollout(shell, namespace, "undo", "w", code=4)
    assert "kubectl-patch" in stderr
    assert ".inference.adapters" in stderr
    rollout(shell, namespace, "undo", "w", "--force-conflicts")
    assert numbers(shell, namespace) == {2: ["b"], 3: ["a"]}
    apply("c")  # kaitoctl owns it as before


def test_annotations_that_change_what_is_built_come_back_too(
    shell: Shell, namespace: str, apply: Apply
) -> None:
    apply()
    lb = json.dumps({"metadata": {"annotations": {"kaito.sh/enablelb": "True"}}})
    shell.patch(lb, "workspace", "w", "-n", namespace)
    rollout(shell, namespace, "undo", "w", "--to-revision", "1", "--force-conflicts")
    assert shell.get("service", "w", "-n", namespace)["spec"]["type"] == "ClusterIP"
    found = shell.get("workspace", "w", "-n", namespace)
    assert "kaito.sh/enablelb" not in found["metadata"].get("annotations", {})


def test_what_never_changes_is_refused_in_words(shell: Shell, namespace: str, apply: Apply) -> None:
    apply()
    apply(resource={"instanceType": "Standard_NC24s_v3"}, ready=False)
    _, stderr = rollout(shell, namespace, "status", "w", code=1)
    assert "resource.instanceType: is immutable (Standard_NC12s_v3 -> Standard_NC24s_v3)" in stderr
    assert "generation 1 still serves" in stderr
    _, stderr = rollout(shell, namespace, "undo", "w")
    assert "rolls back to revision 1: no pod restarts" in stderr


def test_after_a_refused_edit_it_goes_back_to_what_was_applied_last(
    shell: Shell, namespace: str, apply: Apply
) -> None:
    apply()
    apply("a")
    (pod,) = pods(shell, namespace)
    apply("b", "b", ready=False)
    _, stderr = rollout(shell, namespace, "status", "w", code=1)
    assert "generation 3 is refused: " in stderr
    assert "generation 2 still serves" in stderr
    assert f"kaitoctl rollout undo w -n {namespace} rolls back" in stderr
    _, stderr = rollout(shell, namespace, "history", "w")
    assert "no controller has applied it yet" in stderr
    _, stderr = rollout(shell, namespace, "undo", "w")
    assert "rolls back to revision 2: no pod restarts" in stderr
    assert [item["metadata"]["name"] for item in pods(shell, namespace)] == [pod["metadata"]["name"]]
    assert numbers(shell, namespace) == {1: [], 2: ["a"]}


def test_what_a_revision_names_and_nobody_has_any_more_is_said_before_going_back(
    shell: Shell, namespace: str, apply: Apply
) -> None:
    secret = ("create", "secret", "docker-registry", "pull", "--docker-server=registry.example")
    shell.kubectl(*secret, "--docker-username=u", "--docker-password=p", "-n", namespace)
    shell.kubectl("create", "configmap", "limits", "--from-literal=inference_config.yaml=", "-n", namespace)
    preset = {"name": "falcon-7b"}
    style = adapter("style")
    style["source"]["imagePullSecrets"] = ["pull"]
    apply(inference={"preset": preset, "adapters": [style], "config": "limits"})
    apply(inference={"preset": preset})
    there = ("undo", "w", "--dry-run", "server")
    _, stderr = rollout(shell, namespace, *there)
    assert "there is no" not in stderr
    shell.kubectl("delete", "secret/pull", "configmap/limits", "-n", namespace)
    _, stderr = rollout(shell, namespace, *there)
    assert f"there is no pull secret pull in namespace {namespace}" in stderr
    assert f"inference.config: there is no ConfigMap limits in namespace {namespace}" in stderr


def test_a_group_of_pods_is_replaced_whole(shell: Shell, namespace: str, apply: Apply) -> None:
    preset = {
        "name": "llama-2-70b",
        "accessMode": "private",
        "presetOptions": {"image": "registry.example/llama:1"},
    }
    big = {
        "resource": {
            "count": 2,
            "instanceType": "Standard_NC96ads_A100_v4",
            "labelSelector": {"matchLabels": {"apps": "big"}},
        },
        "inference": {"preset": preset},
    }
    apply(**big)
    old = {pod["metadata"]["uid"] for pod in pods(shell, namespace)}
    assert len(old) == 2
    apply("a", **big)
    now = pods(shell, namespace)
    assert len(now) == 2
    assert not old & {pod["metadata"]["uid"] for pod in now}
    assert all(pod["spec"]["initContainers"][0]["name"] == "a" for pod in now)
    _, stderr = rollout(shell, namespace, "undo", "w")
    assert "2 pods restart" in stderr


def test_revisions_of_kaitos_own_controller_are_listed(shell: Shell, namespace: str, apply: Apply) -> None:
    apply()
    owner = shell.get("workspaces.v1alpha1.kaito.sh", "w", "-n", namespace)
    reference = {
        "apiVersion": "kaito.sh/v1beta1",
        "kind": "Workspace",
        "name": "w",
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
    metadata = {
        "name": "w-89ae1",
        "namespace": namespace,
        "labels": {"workspace.kaito.io/name": "w"},
        "annotations": {"workspace.kaito.io/hash": "89ae1"},
        "ownerReferences": [reference],
    }
    data = {
        "resource": owner["resource"],
        "inference": {**owner["inference"], "adapters": [adapter("theirs")]},
        "tuning": None,
    }
    shell.apply(
        {
            "apiVersion": "apps/v1",
            "kind": "ControllerRevision",
            "metadata": metadata,
            "data": data,
            "revision": 7,
        }
    )
    stdout, _ = rollout(shell, namespace, "history", "w")
    assert "adapter theirs=0.2" in stdout
    rollout(shell, namespace, "undo", "w", "--to-revision", "7")
    # What the Workspace asks for now has the highest number, theirs or ours.
    assert numbers(shell, namespace) == {8: [], 9: ["theirs"]}


def test_nonsense_has_clear_answers(shell: Shell, namespace: str, apply: Apply) -> None:
    for arguments, code, words in (
        (("history", "none"), 4, f"Workspace {namespace}/none not found"),
        (("undo", "none"), 4, f"Workspace {namespace}/none not found"),
        (("status", "none"), 4, f"Workspace {namespace}/none not found"),
        (("undo", "deployment/w"), 2, "this is about Workspaces"),
        (("undo", "workspace/"), 2, "does not name a Workspace"),
        (("undo", "w", "--to-revision", "-1"), 2, "numbered from 1"),
        (("undo", "w", "--to-revision", "x"), 2, "not a valid int"),
        (("undo", "w", "--dry-run", "maybe"), 2, "choose none, client or server"),
        (("undo", "w", "-o", "xml"), 2, "choose yaml, json, name, jsonpath=... or custom-columns=..."),
        (
            ("history", "w", "-o", "xml"),
            2,
            "choose table, wide, json, yaml, name, jsonpath=...",
        ),
        (("undo", "w", "--timeout", "soon"), 2, "is not a duration"),
        (("status", "w", "--timeout", "soon"), 2, "is not a duration"),
    ):
        _, stderr = rollout(shell, namespace, *arguments, code=code)
        assert words in stderr, arguments
    apply(inference={"preset": {"name": "no-such-preset"}}, ready=False)
    for arguments in (("history", "w"), ("history", "w", "--revision", "1"), ("undo", "w")):
        _, stderr = rollout(shell, namespace, *arguments, code=1)
        assert f"Workspace {namespace}/w has no revisions" in stderr
    shell.kubectl("delete", "workspace", "w", "-n", namespace)
    apply()
    _, stderr = rollout(shell, namespace, "undo", "w", code=1)
    assert "has no earlier revision than 1" in stderr
    for command in (("undo", "w", "--to-revision", "5"), ("history", "w", "--revision", "5")):
        _, stderr = rollout(shell, namespace, *command, code=2)
        assert "has no revision 5" in stderr
        assert "it has 1" in stderr


@pytest.mark.parametrize("command", [("history", "w"), ("undo", "w", "--yes"), ("status", "w")])
def test_a_cluster_that_says_no_or_nothing(offline: Shell, tmp_path: Path, command: tuple[str, ...]) -> None:
    offline.kaitoctl("rollout", *command, code=2, KUBECONFIG="/nowhere")
    message = 'controllerrevisions.apps is forbidden: User "u" cannot list'
    status = {"kind": "Status", "message": message, "reason": "Forbidden"}
    with serving(always(403, status), tmp_path) as kubeconfig:
        done = offline.kaitoctl("rollout", *command, "--kubeconfig", kubeconfig, code=4)
    assert message in done.stderr
    assert "hint: you need " in done.stderr
    done = offline.kaitoctl("rollout", *command, "--kubeconfig", kubeconfig, code=3)  # it is down now
    assert "error: " in done.stderr


def test_on_a_terminal_it_asks_and_takes_no_for_an_answer(shell: Shell, namespace: str, apply: Apply) -> None:
    apply()
    apply("a")
    for answer, code in ((b"n\n", 1), (b"y\n", 0)):
        ours, theirs = pty.openpty()
        command = ("rollout", "undo", "w", "-n", namespace, "--no-wait")
        process = subprocess.Popen(
            [str(BIN / "kaitoctl"), *command],
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=theirs,
            env=shell.env,
            cwd=shell.home,
        )
        os.close(theirs)
        os.write(ours, answer)
        said = b""
        with suppress(OSError):  # what a terminal says at its end
            while part := os.read(ours, 65536):
                said += part
        process.communicate(timeout=60)
        os.close(ours)
        assert process.returncode == code, said
        assert b"Roll back?" in said
        generation = shell.get("workspace", "w", "-n", namespace)["metadata"]["generation"]
        assert generation == (2 if code else 3)


def test_where_nobody_can_be_asked_yes_has_to_be_said_first(
    shell: Shell, namespace: str, apply: Apply
) -> None:
    apply()
    apply("a")
    done = shell.kaitoctl("rollout", "undo", "w", "-n", namespace, code=2)
    assert "there is no terminal to confirm it on" in done.stderr
    assert "--yes" in done.stderr
    idle = shell.kaitoctl("rollout", "undo", "w", "--to-revision", "2", "-n", namespace)
    assert idle.stdout == "workspace.kaito.sh/w skipped rollback (it is already at revision 2)\n"
    assert shell.get("workspace", "w", "-n", namespace)["metadata"]["generation"] == 2
