"""What somebody without rights is told: by a real server's RBAC, with the right that is missing."""

from __future__ import annotations

import pytest
import yaml
from builders import workspace
from controlplane.plane import ControlPlane
from shell import Shell

FALCON = ("--preset", "falcon-7b", "--instance-type", "Standard_NC12s_v3")


@pytest.fixture(scope="module")
def nobody(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A user who may do nothing."""
    shell = Shell(
        tmp_path_factory.mktemp("home"), cluster={"KUBECONFIG": str(control_plane.kubeconfig_of("nobody"))}
    )
    made = workspace("falcon")
    made["metadata"] = {"name": "falcon", "namespace": "team"}
    (shell.home / "falcon.yaml").write_text(yaml.safe_dump(made))
    return shell


@pytest.mark.parametrize(
    ("command", "right"),
    [
        (("nodes",), "list nodes -A"),
        (("check-nodes", *FALCON), "list nodes -A"),
        (("check-nodes", "falcon", "-n", "team"), "get workspaces.kaito.sh -n team"),
        (("diff", "-f", "falcon.yaml"), "get workspaces.kaito.sh -n team"),
        (("status", "falcon", "-n", "team"), "list workspaces.kaito.sh -n team"),
        (("why", "falcon", "-n", "team"), "list workspaces.kaito.sh -n team"),
        (("events", "falcon", "-n", "team"), "list workspaces.kaito.sh -n team"),
        (("run-controller", "--metrics-address=0"), "list workspaces.kaito.sh -A"),
        (("run-controller", "--metrics-address=0", "-n", "team"), "list workspaces.kaito.sh -n team"),
    ],
    ids=lambda value: "-".join(value[:3]).replace("--", "") if isinstance(value, tuple) else "",
)
def test_a_refusal_names_the_right_that_is_missing(
    nobody: Shell, command: tuple[str, ...], right: str
) -> None:
    done = nobody.kaitoctl(*command, code=4)
    assert 'is forbidden: User "nobody" cannot' in done.stderr
    assert f"kubectl auth can-i {right}\n" in done.stderr
    # The command that it names runs, and says the same.
    assert nobody.kubectl("auth", "can-i", *right.split(), code=1) == "no\n"


@pytest.mark.parametrize(
    ("command", "rights"),
    [
        (("create", "workspace", "falcon", *FALCON), "get, create and patch on workspaces.kaito.sh"),
        (
            ("add-adapter", "falcon", "--name", "a", "--image", "r.io/a:1", "--yes"),
            "get, create and patch on workspaces.kaito.sh",
        ),
        (("rollout", "undo", "falcon", "--yes"), "list on controllerrevisions.apps"),
    ],
    ids=["create", "add-adapter", "rollout"],
)
def test_a_refused_change_names_all_rights_that_it_takes(
    nobody: Shell, command: tuple[str, ...], rights: str
) -> None:
    done = nobody.kaitoctl(*command, "-n", "team", code=4)
    assert rights in done.stderr.partition("hint: ")[2]
