"""`kaitoctl delete` on clusters: what it announces is what then goes, and nobody else's node is touched."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_server import serving
from shell import Shell

FALCON = ["--preset", "falcon-7b", "--instance-type", "Standard_NC12s_v3"]
Wait = Callable[[Callable[[], object]], None]


def create(shell: Shell, namespace: str, name: str, *more: str) -> None:
    label = ("--label", f"apps=w{namespace[-12:]}-{name}")
    shell.kaitoctl(
        "create", "workspace", name, *FALCON, *label, *more, "-n", namespace, "--yes", "--timeout", "90s"
    )


def claims_of(shell: Shell, namespace: str) -> list[Any]:
    found = shell.get("nodeclaims", "-l", f"kaito.sh/workspacenamespace={namespace}")["items"]
    assert isinstance(found, list)
    return found


def test_what_is_announced_goes_and_then_the_command_ends(shell: Shell, namespace: str) -> None:
    create(shell, namespace, "falcon")
    (claim,) = claims_of(shell, namespace)
    name, node = claim["metadata"]["name"], claim["status"]["nodeName"]
    refused = shell.kaitoctl("delete", "falcon", "-n", namespace, code=2)
    assert "--yes" in refused.stderr
    assert shell.names("workspaces", "-n", namespace) == ["workspace.kaito.sh/falcon"]

    done = shell.kaitoctl("delete", "falcon", "-n", namespace, "--yes", "--timeout", "90s")
    assert done.stdout == "workspace.kaito.sh/falcon deleted\n"
    assert "ends: Deployment falcon: 1 of 1 pods ready" in done.stderr
    assert f"released: NodeClaim {name}, node {node}" in done.stderr
    assert f"Workspace {namespace}/falcon is gone" in done.stderr
    # Not a moment later: when the command ends, it is so.
    assert claims_of(shell, namespace) == []
    assert not shell.names("workspaces,pods,deployments,services", "-n", namespace)


def test_what_nobody_has_is_not_said_to_stay(shell: Shell, namespace: str) -> None:
    """A ConfigMap and a claim that a Workspace names, written by who does not look for them."""
    metadata = {"name": "w", "namespace": namespace}
    claim = {"persistentVolumeClaim": {"claimName": "no-claim"}}
    inference = {
        "preset": {"name": "phi-4"},
        "config": "no-config",
        "adapters": [{"source": {"name": "a", "volumeSource": claim}}],
    }
    resource = {
        "instanceType": "Standard_NC24ads_A100_v4",
        "labelSelector": {"matchLabels": {"apps": namespace}},
    }
    made = {"apiVersion": "kaito.sh/v1beta1", "kind": "Workspace", "metadata": metadata}
    shell.apply({**made, "resource": resource, "inference": inference})
    done = shell.kaitoctl("delete", "w", "-n", namespace, "--yes", "--timeout", "90s")
    assert "no-config" not in done.stderr and "no-claim" not in done.stderr


def test_a_node_that_was_brought_stays(shell: Shell, namespace: str) -> None:
    shell.add_node(f"own-{namespace}", "Standard_NC12s_v3", apps=f"w{namespace[-12:]}-w")
    create(shell, namespace, "w")
    done = shell.kaitoctl("delete", "workspace/w", "-n", namespace, "--yes", "--timeout", "90s")
    assert f"stays: node own-{namespace}" in done.stderr
    assert "released" not in done.stderr
    assert f"node/own-{namespace}" in shell.names("nodes")
    shell.delete_node(f"own-{namespace}")


def test_the_node_of_others_pods_is_kept_and_that_is_announced(shell: Shell, namespace: str) -> None:
    create(shell, namespace, "falcon")
    (claim,) = claims_of(shell, namespace)
    node = claim["status"]["nodeName"]
    guest = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "guest", "namespace": namespace},
        "spec": {
            "nodeName": node,
            "containers": [
                {
                    "name": "c",
                    "image": "busybox:1",
                    "resources": {"limits": {"nvidia.com/gpu": "1"}, "requests": {"nvidia.com/gpu": "1"}},
                }
            ],
        },
    }
    shell.apply(guest)
    done = shell.kaitoctl("delete", "falcon", "-n", namespace, "--yes", "--timeout", "90s")
    assert f"kept: NodeClaim {claim['metadata']['name']}, node {node}, until pod" in done.stderr
    assert [item["metadata"]["name"] for item in claims_of(shell, namespace)] == [claim["metadata"]["name"]]
    shell.kubectl("delete", "pod", "guest", "-n", namespace, "--force", "--grace-period=0")


def test_what_holds_the_deletion_is_named_when_time_is_up(shell: Shell, namespace: str) -> None:
    create(shell, namespace, "falcon", "--no-wait")
    hold = json.dumps([{"op": "add", "path": "/metadata/finalizers/-", "value": "example.com/backup"}])
    shell.kaitoctl("status", "falcon", "-n", namespace, "-w", "--timeout", "90s")
    shell.kubectl("patch", "workspace", "falcon", "-n", namespace, "--type=json", "-p", hold)
    done = shell.kaitoctl("delete", "falcon", "-n", namespace, "--yes", "--timeout", "8s", code=124)
    assert "is not gone after 8s" in done.stderr
    assert "example.com/backup" in done.stderr
    again = shell.kaitoctl("delete", "falcon", "-n", namespace, "--timeout", "1s", code=124)
    assert "is being deleted already" in again.stderr
    at_once = shell.kaitoctl("delete", "falcon", "-n", namespace, "--timeout", "0.001s", code=124)
    assert "is not gone after 0s" in at_once.stderr
    shell.kubectl(
        "patch",
        "workspace",
        "falcon",
        "-n",
        namespace,
        "--type=merge",
        "-p",
        '{"metadata":{"finalizers":[]}}',
    )


@pytest.mark.parametrize("how", ["client", "server"])
def test_a_dry_run_shows_and_deletes_nothing(shell: Shell, namespace: str, how: str) -> None:
    create(shell, namespace, "falcon", "--no-wait")
    shell.kaitoctl("status", "falcon", "-n", namespace, "-w", "--timeout", "90s")  # all that goes is there
    done = shell.kaitoctl("delete", "falcon", "-n", namespace, "--dry-run", how)
    assert "will be deleted" in done.stderr
    assert done.stdout == f"workspace.kaito.sh/falcon deleted ({how} dry run)\n"
    quiet = shell.kaitoctl("-q", "delete", "falcon", "-n", namespace, "--dry-run", how).stderr
    assert quiet == done.stderr, "what goes is said in any case"
    assert "deletionTimestamp" not in shell.get("workspace", "falcon", "-n", namespace)["metadata"]
    shell.kubectl("delete", "workspace", "falcon", "-n", namespace, "--wait=false")


def test_nothing_goes_when_one_of_the_names_is_wrong(shell: Shell, namespace: str) -> None:
    create(shell, namespace, "falcon", "--no-wait")
    done = shell.kaitoctl("delete", "falcon", "falcom", "-n", namespace, "--yes", code=4)
    assert "did you mean falcon?" in done.stderr
    assert "deletionTimestamp" not in shell.get("workspace", "falcon", "-n", namespace)["metadata"]
    manifest = {
        "apiVersion": "kaito.sh/v1alpha1",
        "kind": "Workspace",
        "metadata": {"name": "gone", "namespace": namespace},
    }
    (shell.home / "gone.json").write_text(json.dumps(manifest))
    shell.kaitoctl("delete", "-f", "gone.json", "--yes", "--ignore-not-found")
    shell.kubectl("delete", "workspace", "falcon", "-n", namespace, "--wait=false")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "one of the two"),
        (["w", "-f", "x.yaml"], "one of the two"),
        (["UPPER"], "does not name a Workspace"),
        (["pod/w"], "this is about Workspaces"),
        (["w", "--timeout", "soon"], "is not a duration"),
        (["w", "--dry-run", "maybe"], "--dry-run 'maybe'"),
        (["-f", "missing.yaml"], "missing.yaml"),
    ],
)
def test_bad_input_is_refused_before_anything_is_asked(
    offline: Shell, arguments: list[str], words: str
) -> None:
    assert words in offline.kaitoctl("delete", *arguments, code=2).stderr


def test_a_node_claim_that_lost_its_workspace_is_an_orphan_and_the_command_removes_it(
    shell: Shell, namespace: str, wait_until: Wait
) -> None:
    claim = {
        "apiVersion": "karpenter.sh/v1",
        "kind": "NodeClaim",
        "metadata": {
            "name": f"ws-{namespace[-10:].strip('-')}",
            "labels": {"kaito.sh/workspace": "gone", "kaito.sh/workspacenamespace": namespace},
        },
        "spec": {
            "nodeClassRef": {"group": "karpenter.azure.com", "kind": "AKSNodeClass", "name": "default"},
            "requirements": [
                {
                    "key": "node.kubernetes.io/instance-type",
                    "operator": "In",
                    "values": ["Standard_NC12s_v3"],
                }
            ],
        },
    }
    shell.apply(claim)
    name = claim["metadata"]["name"]  # type: ignore[index]
    found = json.loads(shell.kaitoctl("orphans", "-o", "json", code=1).stdout)["orphans"]
    (mine,) = [item for item in found if item["name"] == name]
    assert mine["workspace"] == f"{namespace}/gone"
    assert mine["instance_type"] == "Standard_NC12s_v3"
    words = mine["command"].split()
    shell.kubectl(*words[words.index("delete") :])
    wait_until(lambda: f"nodeclaim/{name}" not in shell.run("kaitoctl", "orphans", "-o", "name").stdout)


def test_where_a_deletion_fails_in_the_middle_it_is_said_what_is_left(tmp_path: Path) -> None:
    """And what deletes the rest: the same command would stop at the first that is gone."""

    def workspace(name: str) -> Any:
        metadata = {"name": name, "namespace": "default", "uid": f"u-{name}", "resourceVersion": "1"}
        made = {"apiVersion": "kaito.sh/v1alpha1", "kind": "Workspace", "metadata": metadata}
        return {**made, "inference": {"preset": {"name": "falcon-7b"}}}

    there = {name: workspace(name) for name in "abc"}

    def answer(method: str, path: str) -> tuple[int, str]:
        named = re.search(r"/workspaces/([abc])|workspaces.*metadata.name(?:=|%3D)([abc])", path)
        name = (named[1] or named[2]) if named else ""
        if method == "DELETE":
            code = 403 if name == "c" else 200
            status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "message": "no", "code": code}
            return code, json.dumps({**status, "status": "Success" if code == 200 else "Failure"})
        if path.endswith("/apis/karpenter.sh"):
            return 404, json.dumps({"kind": "Status", "code": 404, "reason": "NotFound"})
        if path.endswith("/apis/kaito.sh"):
            version = {"groupVersion": "kaito.sh/v1alpha1", "version": "v1alpha1"}
            return 200, json.dumps({"kind": "APIGroup", "name": "kaito.sh", "versions": [version]})
        if named and named[1]:
            return 200, json.dumps(there[name])
        items = [there[name]] if name else []
        return 200, json.dumps({"kind": "List", "metadata": {"resourceVersion": "1"}, "items": items})

    with serving(answer, tmp_path) as kubeconfig:
        shell = Shell(tmp_path, "..", {"KAITOCTL_SANDBOX": "", "KUBECONFIG": kubeconfig})
        done = shell.kaitoctl("delete", "a", "b", "c", "--yes", code=4)
    assert done.stdout == "workspace.kaito.sh/a deleted\nworkspace.kaito.sh/b deleted\n"
    said = " ".join(done.stderr.split())
    ours = "Workspace default/"
    assert f"; deleted: {ours}a, {ours}b; not deleted: {ours}c" in said
    assert "kaitoctl delete a b c --ignore-not-found continues where this stopped" in said


def test_many_are_waited_for_together(shell: Shell, namespace: str) -> None:
    """One that does not go keeps none of the others from being looked at, and none has watches of its own."""
    names = [f"w{number}" for number in range(20)]
    for name in names:
        manifest = {
            "apiVersion": "kaito.sh/v1alpha1",
            "kind": "Workspace",
            "metadata": {"name": name, "namespace": namespace},
            "resource": {
                "instanceType": "Standard_NC12s_v3",
                "labelSelector": {"matchLabels": {"apps": f"{namespace[-12:]}-{name}"}},
            },
            "inference": {"preset": {"name": "no-such-preset"}},
        }
        if name == "w0":
            manifest["metadata"]["finalizers"] = ["example.com/held"]  # type: ignore[index]
        shell.apply(manifest)
    done = shell.kaitoctl("delete", *names, "-n", namespace, "--yes", "--timeout", "20s", "-v6", code=124)
    assert 0 < sum("watch=" in line for line in done.stderr.splitlines()) < len(names)
    assert re.search(rf"\d+ of {len(names)} Workspaces are gone", done.stderr)
    for name in names[1:]:
        assert f"Workspace {namespace}/{name} is gone" in done.stderr
    assert f"Workspace {namespace}/w0 is not gone after" in done.stderr
    held = json.dumps({"metadata": {"finalizers": None}})
    shell.kubectl("patch", "workspace", "w0", "-n", namespace, "--type", "merge", "-p", held)
