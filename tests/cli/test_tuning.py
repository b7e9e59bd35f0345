"""Tuning from the command line to the pushed adapter, on a cluster whose pods are simulated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from shell import Shell

Wait = Callable[[Callable[[], object]], None]

PHI = ("--template", "tuning", "--preset", "phi-2", "--instance-type", "Standard_NC6s_v3")
URLS = ("--set", "input_urls=https://data.example/a.json")


@pytest.fixture
def push_secret(shell: Shell, namespace: str) -> None:
    shell.apply(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "push", "namespace": namespace},
            "type": "kubernetes.io/dockerconfigjson",
            "data": {".dockerconfigjson": "eyJhdXRocyI6e319"},
        }
    )


def tune(shell: Shell, namespace: str, *more: str, image: str = "adapter:1", code: int = 0) -> str:
    output = ("--set", f"output_image=registry.example/{image}", "--set", "output_secret=push")
    where = ("-n", namespace, "--label", f"apps={namespace[:30].strip('-')}", "--timeout", "90s", "--yes")
    done = shell.kaitoctl("create", "workspace", "tune", *PHI, *more, *output, *where, code=code)
    return done.stderr


def status_of(shell: Shell, namespace: str) -> dict[str, tuple[str, str]]:
    ws: Any = shell.get("workspace", "tune", "-n", namespace)
    return {item["type"]: (item["status"], item["reason"]) for item in ws["status"]["conditions"]}


@pytest.mark.usefixtures("push_secret")
def test_tuning_from_nothing_to_the_adapter_and_once_more(
    shell: Shell, namespace: str, wait_until: Wait
) -> None:
    told = tune(shell, namespace, *URLS)
    assert "tuning" in told  # on which node, or that it pushes already: this sandbox is fast
    assert "ready: the adapter is registry.example/adapter:1" in told
    assert status_of(shell, namespace) == {
        "NodeClaimReady": ("True", "installNodePluginsSuccess"),
        "ResourceReady": ("True", "workspaceResourceStatusSuccess"),
        "JobStarted": ("True", "WorkspaceTuningJobStatusStarted"),
        "WorkspaceSucceeded": ("True", "workspaceSucceeded"),
    }
    job = shell.get("job", "tune", "-n", namespace)
    assert job["status"]["succeeded"] == 1
    (pod,) = shell.get("pods", "-n", namespace, "-l", "kaito.sh/workspace=tune")["items"]
    assert [item["name"] for item in pod["spec"]["containers"]] == ["tune", "push-adapter"]
    assert "configmap/tune-tuning-config" in shell.names("configmaps", "-n", namespace)

    assert "adapter:2" in tune(shell, namespace, *URLS, "--yes", image="adapter:2")
    again = shell.get("job", "tune", "-n", namespace)
    assert again["metadata"]["uid"] != job["metadata"]["uid"]

    shell.kubectl("delete", "workspace", "tune", "-n", namespace)
    wait_until(lambda: not shell.names("jobs", "-n", namespace))  # the garbage collector's, a moment later


@pytest.mark.usefixtures("push_secret")
def test_data_that_cannot_be_pulled_ends_the_rollout_with_its_container(shell: Shell, namespace: str) -> None:
    told = tune(shell, namespace, "--set", "input_image=registry.example/data/does-not-exist:1", code=1)
    assert "ImagePullBackOff: container data-extractor" in told


@pytest.mark.usefixtures("push_secret")
def test_tuning_that_crashes_ends_the_rollout_with_its_exit_code(shell: Shell, namespace: str) -> None:
    told = tune(shell, namespace, "--set", "input_image=registry.example/data/empty-data:1", code=1)
    assert "container data-extractor" in told and "exit code 1" in told
    assert status_of(shell, namespace)["WorkspaceSucceeded"] == ("False", "workspaceFailed")


@pytest.mark.sandbox_alone("deploy/ does not grant the controller a look at the missing Secret")
def test_a_missing_push_secret_is_told_before_a_node_is_bought(shell: Shell, namespace: str) -> None:
    told = tune(shell, namespace, *URLS, code=1)
    assert "Secret push (tuning.output.imagePushSecret) does not exist" in told
    assert not shell.names("nodeclaims", "-l", f"kaito.sh/workspacenamespace={namespace}")


def test_tuning_is_followed_for_a_day_and_inference_for_its_presets_budget() -> None:
    from kaitoctl.commands.follow import following_s
    from kaitoctl.kaito.catalog import SHIPPED

    assert following_s(SHIPPED, {"tuning": {"preset": {"name": "phi-2"}}}) == 24 * 3600
    serving = {"inference": {"preset": {"name": "falcon-7b"}}}
    assert following_s(SHIPPED, serving) == 1800 + 600
