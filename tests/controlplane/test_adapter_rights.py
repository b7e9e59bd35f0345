"""Adapters with little right: what may not be seen is said, and done without. Only a real server has RBAC."""

from __future__ import annotations

from pathlib import Path

import pytest
from adapting import image
from controlplane.plane import ControlPlane
from shell import Shell

from kaitoctl.kube.objects import Object

NAMESPACE = "little-right"
RBAC = "rbac.authorization.k8s.io"
WORKSPACE = {
    "apiVersion": "kaito.sh/v1alpha1",
    "kind": "Workspace",
    "metadata": {"name": "falcon", "namespace": NAMESPACE},
    "resource": {"instanceType": "Standard_NC12s_v3", "labelSelector": {"matchLabels": {"a": "b"}}},
    "inference": {"preset": {"name": "falcon-7b"}},
}


@pytest.fixture
def user(control_plane: ControlPlane, tmp_path: Path) -> Shell:
    """Somebody who may get and patch Workspaces, and nothing else."""
    rule = {"apiGroups": ["kaito.sh"], "resources": ["workspaces"], "verbs": ["get", "patch"]}
    role = {"apiGroup": RBAC, "kind": "Role", "name": "adapters"}
    made: tuple[Object, ...] = (
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        WORKSPACE,
        {"apiVersion": f"{RBAC}/v1", "kind": "Role", "rules": [rule]},
        {
            "apiVersion": f"{RBAC}/v1",
            "kind": "RoleBinding",
            "roleRef": role,
            "subjects": [{"apiGroup": RBAC, "kind": "User", "name": "eve"}],
        },
    )
    for obj in made:
        control_plane.apply(
            {**obj, "metadata": obj.get("metadata") or {"name": "adapters", "namespace": NAMESPACE}}
        )
    return Shell(tmp_path, cluster={"KUBECONFIG": str(control_plane.kubeconfig_of("eve", []))})


def test_who_may_only_write_workspaces_adds_an_adapter_and_is_told_what_cannot_be_seen(user: Shell) -> None:
    words = ("falcon", "-n", NAMESPACE)
    secret = ("--image-pull-secret", "mine")
    done = user.kaitoctl(
        "add-adapter", *words, "--name", "style", "--image", image("style"), *secret, "--yes", "--no-wait"
    )
    for unseen in ("its pods cannot be seen", "whether Secret mine exists", "cannot be listed in"):
        assert unseen in done.stderr
    listed = user.kaitoctl("list-adapters", *words)
    assert [line.split()[:4] for line in listed.stdout.splitlines()[1:]] == [
        ["style", "1.0", "unknown", "unknown"]
    ]
    done = user.kaitoctl("set-adapter", *words, "--name", "style", "--image", image("b"), "--yes", code=4)
    assert "the change was written, but its rollout cannot be followed" in done.stderr
    assert image("b") in user.kaitoctl("list-adapters", *words).stdout
