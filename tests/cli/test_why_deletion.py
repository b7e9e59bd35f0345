"""What holds a deletion, on clusters that hold it; and that the commands advised for it do what they say."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from shell import BIN, Shell

Wait = Callable[[Callable[[], object]], None]

WORKSPACE = {
    "apiVersion": "kaito.sh/v1alpha1",
    "kind": "Workspace",
    "metadata": {"name": "w", "namespace": "default", "finalizers": ["workspace.finalizer.kaito.sh"]},
    "resource": {"instanceType": "Standard_NC12s_v3", "labelSelector": {"matchLabels": {"apps": "w"}}},
    "inference": {"preset": {"name": "falcon-7b"}},
}
KAITO = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "kaito-workspace", "namespace": "default"},
    "spec": {
        "selector": {"matchLabels": {"app": "kaito"}},
        "template": {
            "metadata": {"labels": {"app": "kaito"}},
            "spec": {"containers": [{"name": "m", "image": "mcr.microsoft.com/aks/kaito/workspace:0.9.1"}]},
        },
    },
}


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A sandbox in which nobody manages Workspaces."""
    shell = Shell(tmp_path_factory.mktemp("home"), "going", {"KAITOCTL_SANDBOX": "1"})
    shell.kaitoctl("sandbox", "up", "--speed", "200", "--no-controller")
    shell.add_node("node-a", "Standard_NC12s_v3")
    yield shell
    shell.kaitoctl("sandbox", "down", "--delete")


def why(shell: Shell, name: str = "w", namespace: str = "default") -> Any:
    return json.loads(shell.run("kaitoctl", "why", name, "-n", namespace, "-o", "json").stdout)


def test_nobody_takes_kaitos_finalizer_off(bare: Shell) -> None:
    bare.apply(WORKSPACE)
    bare.kubectl("delete", "workspace", "w", "--wait=false")
    cause = why(bare)["cause"]
    assert (cause["code"], "no controller runs" in cause["message"]) == ("finalizer-holds-deletion", True)
    bare.kubectl("patch", "workspace", "w", "--type=merge", "-p", '{"metadata":{"finalizers":null}}')


def test_kaito_without_node_claims_and_the_way_out_that_is_advised(bare: Shell, wait_until: Wait) -> None:
    bare.apply(KAITO)

    def is_up() -> bool:
        return bool(bare.get("deployment", "kaito-workspace").get("status", {}).get("readyReplicas"))

    wait_until(is_up)
    bare.apply(WORKSPACE)
    bare.kubectl("delete", "workspace", "w", "--wait=false")
    assert why(bare)["cause"]["code"] == "finalizer-holds-deletion", "with the kind it is not to blame"
    bare.kubectl("delete", "crd", "nodeclaims.karpenter.sh")
    cause = why(bare)["cause"]
    assert cause["code"] == "node-claim-kind-missing"
    advised = shlex.split(cause["hint"][cause["hint"].index("kubectl") :])
    assert bare.run(str(BIN / "kubectl"), *advised[1:]).returncode == 0
    bare.kubectl("get", "workspace", "w", code=1)


@pytest.mark.control_plane
def test_foreground_deletion_on_a_real_api_server_waits_for_what_it_lists(
    real_shell: Shell, wait_until: Wait
) -> None:
    real_shell.apply({**WORKSPACE, "metadata": {"name": "fore", "namespace": "default"}})
    wait_until(lambda: why(real_shell, "fore")["phase"])
    kept = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": "fore-headless",
            "namespace": "default",
            "finalizers": ["example.com/kept"],
            "ownerReferences": [
                {
                    "apiVersion": "kaito.sh/v1alpha1",
                    "kind": "Workspace",
                    "name": "fore",
                    "uid": real_shell.get("workspace", "fore")["metadata"]["uid"],
                    "blockOwnerDeletion": True,
                }
            ],
        },
        "spec": {"ports": [{"port": 80}]},
    }
    real_shell.apply(kept)
    real_shell.kubectl("delete", "workspace", "fore", "--cascade=foreground", "--wait=false")
    try:

        def names_it() -> bool:
            """By what holds it, once Kubernetes has begun to delete it."""
            cause = why(real_shell, "fore")["cause"] or {"code": "", "about": "", "message": ""}
            is_it = "Service fore-headless" in cause["about"] and "example.com/kept" in cause["message"]
            return is_it and cause["code"] == "finalizer-holds-deletion"

        wait_until(names_it)
    finally:
        off = '{"metadata":{"finalizers":null}}'
        real_shell.patch(off, "service", "fore-headless")
    wait_until(lambda: real_shell.run("kaitoctl", "why", "fore").returncode == 4)
