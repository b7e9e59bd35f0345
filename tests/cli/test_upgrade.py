"""`kaitoctl upgrade` and `convert` over files and clusters."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from shell import BIN, Shell

OLD = """# our models
apiVersion: kaito.sh/v1alpha1
kind: Workspace
metadata:
  name: phi   # small
resource:
  instanceType: Standard_NC24ads_A100_v4
  labelSelector:
    matchLabels:
      apps: phi
  preferredNodes: [gpu-a]
inference:
  # the best we have
  preset:
    name: phi-4
---
apiVersion: v1
kind: ConfigMap
metadata: {name: other}
"""
ALONE = OLD.partition("---")[0].replace("  preferredNodes: [gpu-a]\n", "")
LOST = OLD.replace("phi-4", "falcon-7b").replace("name: phi ", "name: falcon ")


@pytest.fixture
def folder(offline: Shell) -> Path:
    made = offline.home / "models"
    (made / "below").mkdir(parents=True)
    (made / "phi.yaml").write_text(OLD)
    (made / "below" / "falcon.yml").write_text(LOST)
    return made


def test_a_folder_is_planned_and_each_step_runs(offline: Shell, folder: Path) -> None:
    done = offline.kaitoctl("upgrade", "plan", "--to", "v0.12", "-f", "models", "--from", "v0.3", code=1)
    lines = done.stdout.splitlines()
    assert lines[0].startswith("✗ Workspace falcon: nobody manages it any more")
    assert "    in models/below/falcon.yml: document 1" in lines
    assert "        kubectl label node gpu-a apps=phi" in lines
    assert "    1 pod restarts: at most 30 minutes without service" in lines
    assert any("/chat is gone" in line for line in lines)
    assert lines[-1] == "2 Workspaces from v0.3 to v0.12: 1 break, 1 restart, 2 to be rewritten"
    rewriting = next(at for at, line in enumerate(lines) if "rewrite the manifests" in line)
    convert = "kaitoctl convert -f models -R --to v1beta1 --in-place"
    assert [line.strip() for line in lines[rewriting + 1 : rewriting + 3]] == [
        convert,
        "kaitoctl plan -f models -R",
    ]

    assert "is not given" not in done.stderr
    guessed = offline.kaitoctl("upgrade", "plan", "--to", "0.12.0", "-f", "models", "-o", "json", code=1)
    assert "--from is not given: the upgrade is judged as one from v0.4" in guessed.stderr
    found = json.loads(guessed.stdout)
    assert [one["outcome"] for one in found["workspaces"]] == ["unmanaged", "restarts"]
    assert found["to"] == "v0.12.0" and found["workspaces"][1]["written"]["apiVersion"] == "kaito.sh/v1beta1"
    (folder / "new.yaml").write_text(
        offline.kaitoctl(
            "upgrade", "plan", "--to", "v0.12", "-f", "models/phi.yaml", "-o", "manifests", code=1
        ).stdout
    )
    offline.kaitoctl("validate", "-f", "models/new.yaml", "--target-version", "v0.12")


def test_a_folder_is_converted_in_place_with_its_comments_or_not_at_all(offline: Shell, folder: Path) -> None:
    shown = offline.kaitoctl("convert", "-f", "models", "--to", "v1beta1", "--diff", code=1).stdout
    assert "--- models/phi.yaml\n+++ models/phi.yaml\n" in shown
    assert "-apiVersion: kaito.sh/v1alpha1\n+apiVersion: kaito.sh/v1beta1\n" in shown
    assert (folder / "phi.yaml").read_text() == OLD

    offline.kaitoctl("convert", "-f", "models", "--to", "v1beta1", "--in-place")
    expected = OLD.replace("v1alpha1", "v1beta1").replace("  preferredNodes: [gpu-a]\n", "")
    assert (folder / "phi.yaml").read_text() == expected
    assert (folder / "below" / "falcon.yml").read_text() == expected.replace("phi-4", "falcon-7b").replace(
        "name: phi ", "name: falcon "
    )
    done = offline.kaitoctl("convert", "-f", "models", "--to", "v1beta1", "--in-place", "--diff")
    assert done.stdout == "" and "v1beta1 already" in done.stderr

    (folder / "phi.yaml").write_text(OLD)
    (folder / "zz.yaml").write_text("a: [")
    refused = offline.kaitoctl("convert", "-f", "models", "--to", "v1beta1", "--in-place", code=2)
    assert "models/zz.yaml:2" in refused.stderr
    assert (folder / "phi.yaml").read_text() == OLD, "no file is changed when one cannot be"


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n---\n"])
def test_convert_refuses_what_holds_no_document(offline: Shell, text: str) -> None:
    (offline.home / "empty.yaml").write_text(text)
    for how in ([], ["-o", "json"], ["--diff"], ["--in-place"]):
        done = offline.kaitoctl("convert", "-f", "empty.yaml", "--to", "v1beta1", *how, code=2)
        assert done.stderr == "error: empty.yaml: there is no document in it\n" and not done.stdout


@pytest.mark.parametrize(
    ("provisioner", "buys", "labels"),
    [("azure-gpu-provisioner", True, False), ("karpenter", True, True), ("byo", False, True)],
)
def test_prepared_nodes_are_advised_where_the_new_kaito_takes_them(
    offline: Shell, folder: Path, provisioner: str, buys: bool, labels: bool
) -> None:
    way = ("--node-provisioner", provisioner)
    done = offline.kaitoctl("upgrade", "plan", "--to", "v0.12", "-f", "models/phi.yaml", *way, code=1)
    assert ("nodes asked for: at most 1, as preferredNodes are not read any more" in done.stdout) == buys
    assert ("buys" in done.stdout) == buys
    assert ("kubectl label node gpu-a apps=phi" in done.stdout) == labels
    rewrite = next(line.split() for line in done.stdout.splitlines() if "--in-place" in line)
    assert rewrite[-3:-1] == list(way), "the manifests are rewritten for the same KAITO"
    offline.kaitoctl(*rewrite[1:])
    offline.kaitoctl("validate", "-f", "models/phi.yaml", "--target-version", "v0.12", *way)
    assert ("instanceType" in (folder / "phi.yaml").read_text()) == (provisioner != "byo")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["convert", "-f", "models", "--to", "v1beta1", "--node-provisioner", "mine"], "--node-provisioner"),
        (["upgrade", "plan", "--to", "v0.4", "-f", "models"], "--to 'v0.4'"),
        (["upgrade", "plan", "--to", "soon", "-f", "models"], "--to 'soon'"),
        (["upgrade", "plan", "--to", "v0.11", "-f", "models", "--from", "v0.12"], "older than v0.12"),
        (["upgrade", "plan", "--to", "v0.12", "-f", "models", "--from", "old"], "--from 'old'"),
        (["upgrade", "plan", "--to", "v0.12", "-f", "nothing.yaml"], "nothing.yaml"),
        (["upgrade", "plan", "--to", "v0.12", "-f", "broken.yaml"], "not all documents can be read"),
        (["upgrade", "plan", "--to", "v0.12", "-f", "map.yaml"], "there is no Workspace"),
        (["upgrade", "plan", "--to", "v0.12", "--node-provisioner", "mine"], "--node-provisioner"),
        (["convert", "-f", "-", "--to", "v1beta1", "--in-place"], "--in-place"),
        (["convert", "-f", "", "--to", "v1beta1"], "names no file"),
    ],
)
def test_bad_input_of_upgrades(offline: Shell, folder: Path, arguments: list[str], words: str) -> None:
    (offline.home / "broken.yaml").write_text("a: [")
    (offline.home / "map.yaml").write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n")
    assert words in offline.kaitoctl(*arguments, code=2).stderr


# --- clusters ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def today(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A cluster with KAITO v0.12, of which only its Deployment is there."""
    shell = Shell(tmp_path_factory.mktemp("home"), "upgraded", {"KAITOCTL_SANDBOX": "1"})
    shell.kaitoctl("sandbox", "up", "--no-controller", "--speed", "200")
    labels = {"app": "kaito"}
    image = "mcr.microsoft.com/aks/kaito/workspace:0.12.0"
    for obj in (
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kaito-workspace"}},
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "workspace", "namespace": "kaito-workspace"},
            "spec": {
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {"containers": [{"name": "manager", "image": image}]},
                },
            },
        },
    ):
        shell.apply(obj)
    shell.add_node("for-its-controller", "Standard_NC24ads_A100_v4")
    shell.kubectl("rollout", "status", "deployment/workspace", "-n", "kaito-workspace", "--timeout=60s")
    yield shell
    shell.kaitoctl("sandbox", "down", "--delete")


def verified(shell: Shell, code: int) -> dict[str, str]:
    done = shell.kaitoctl("upgrade", "verify", "--to", "v0.12", "-o", "json", code=code)
    found: Any = json.loads(done.stdout)
    return {one["what"]: one["fault"] for one in found["checks"]}


def test_an_upgrade_is_not_done_while_the_new_controller_does_not_run(today: Shell) -> None:
    own = {"KAITOCTL_SANDBOX": "", "KUBECONFIG": today.kubeconfig}
    today = Shell(today.home, "..", own)
    what = "KAITO's controller runs, and no older one"
    deployment = ("deployment/workspace", "-n", "kaito-workspace")
    assert verified(today, 0)[what] == ""
    never = {"spec": {"template": {"spec": {"nodeSelector": {"no": "where"}}}}}
    today.kubectl("patch", *deployment, "--type=merge", "-p", json.dumps(never))
    try:
        fault = verified(today, 1)[what]
        # The old pod still serves, and the new one waits.
        assert fault.startswith("Deployment kaito-workspace/workspace: ") and "1 ready" in fault
        today.kubectl("scale", *deployment, "--replicas=0")
        assert "scaled to 0" in verified(today, 1)[what]
    finally:
        no_more = {"spec": {"replicas": 1, "template": {"spec": {"nodeSelector": None}}}}
        today.kubectl("patch", *deployment, "--type=merge", "-p", json.dumps(no_more))
        today.kubectl("rollout", "status", *deployment, "--timeout=60s")


def test_an_upgrade_is_verified(today: Shell) -> None:
    own = {"KAITOCTL_SANDBOX": "", "KUBECONFIG": today.kubeconfig}
    today = Shell(today.home, "..", own)
    assert set(verified(today, 0).values()) == {""}
    # v0.13 is judged by the rules of v0.12, and is not there for that.
    next_one = today.kaitoctl("upgrade", "verify", "--to", "v0.13", code=1)
    assert "✗ KAITO v0.13 manages Workspaces: it is v0.12.0" in next_one.stdout
    assert "v0.13: judged as KAITO v0.12.0" in next_one.stderr
    assert "older than v0.12.0" in today.kaitoctl("upgrade", "plan", "--to", "v0.11", code=2).stderr
    planned = today.kaitoctl("upgrade", "plan", "--to", "v0.12").stdout
    assert planned.startswith("KAITO is v0.12.0 already: there is nothing to upgrade\n")
    assert "Order:" not in planned
    (today.home / "w.yaml").write_text(OLD.replace("  preferredNodes: [gpu-a]\n", ""))
    today.apply(
        json.loads(today.kaitoctl("convert", "-f", "w.yaml", "--to", "v1beta1", "-o", "json").stdout)[
            "items"
        ][0]
    )
    found = verified(today, 1)
    assert "Waiting" in found["Workspace default/phi is ready"]
    assert found["Workspace default/phi is valid for v0.12"] == ""
    text = today.kaitoctl("upgrade", "verify", "--to", "v0.12", code=1)
    assert "✗ Workspace default/phi is ready" in text.stdout and "1 of 5 checks failed" in text.stderr


def test_the_workspaces_of_files_are_verified(today: Shell) -> None:
    """Each is in the cluster, and written for the new release: else the next apply undoes the upgrade."""
    own = {"KAITOCTL_SANDBOX": "", "KUBECONFIG": today.kubeconfig}
    today = Shell(today.home, "verified", own)
    models = today.home / "verified-models"
    models.mkdir()
    there = "metadata:\n  namespace: verified"
    now = ALONE.replace("metadata:", there)
    (models / "there.yaml").write_text(now.replace("phi ", "there ").replace("v1alpha1", "v1beta1"))
    (models / "not-there.yaml").write_text(now.replace("phi ", "not-there "))
    (models / "lost.yaml").write_text(now.replace("phi ", "lost ").replace("phi-4", "falcon-7b"))
    today.kubectl("create", "namespace", "verified")
    today.kubectl("create", "-f", str(models / "there.yaml"))
    verify = ("upgrade", "verify", "--to", "v0.12", "-f", "verified-models", "-o", "json")
    done = today.kaitoctl(*verify, code=1)
    found = {one["what"]: one["fault"] for one in json.loads(done.stdout)["checks"]}
    assert found["Workspace verified/there exists"] == ""
    assert found["Workspace verified/not-there exists"] == "it is not in the cluster"
    assert "Waiting" in found["Workspace verified/there is ready"]
    assert found["verified-models/there.yaml: document 1 is written for v0.12"] == ""
    rewrite = "kaitoctl convert -f verified-models -R --to v1beta1 --in-place"
    assert rewrite in found["verified-models/not-there.yaml: document 1 is written for v0.12"]
    assert "falcon-7b" in found["verified-models/lost.yaml: document 1 is written for v0.12"]
    assert not any("default/" in what for what in found), "of others nothing is said"


MACHINE = {
    "apiVersion": "karpenter.sh/v1alpha5",
    "kind": "Machine",
    "metadata": {
        "name": "wsm",
        "labels": {"kaito.sh/workspace": "old", "kaito.sh/workspacenamespace": "default"},
    },
    "spec": {},
}


def test_machines_that_the_new_release_does_not_know_are_named(today: Shell) -> None:
    """It neither counts one that has no node, nor deletes any with its Workspace."""
    today = Shell(today.home, "..", {"KAITOCTL_SANDBOX": "", "KUBECONFIG": today.kubeconfig})
    (today.home / "old.yaml").write_text(ALONE.replace("phi ", "old "))
    today.kubectl("create", "-f", "old.yaml")
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1alpha5", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"kind": "Machine", "plural": "machines", "singular": "machine"}
    today.apply(
        {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": "machines.karpenter.sh"},
            "spec": {"group": "karpenter.sh", "scope": "Cluster", "names": names, "versions": [version]},
        }
    )
    today.apply(MACHINE)
    plan = ("upgrade", "plan", "--from", "v0.3", "--to", "v0.12", "-o", "json")
    found = json.loads(today.run(str(BIN / "kaitoctl"), *plan).stdout)["workspaces"]
    (mine,) = [one for one in found if one["name"] == "old"]
    assert (mine["outcome"], mine["nodesAsked"], mine["podsRestarted"]) == ("nothing", 1, 0)
    (words,) = mine["machines"]
    assert "Machine wsm is not waited for, it has no node" in words and "KAITO v0.12 deletes no" in words
    assert "kubectl delete machines.karpenter.sh wsm" in words
    shown = today.run(str(BIN / "kaitoctl"), *plan[:-2]).stdout
    assert words in " ".join(shown.split())
    today.kubectl("delete", "crd", "machines.karpenter.sh")
    today.kubectl("delete", "workspace", "old")


def test_the_workspaces_of_a_cluster_are_planned(shell: Shell, namespace: str) -> None:
    (shell.home / "w.yaml").write_text(OLD.replace("  preferredNodes: [gpu-a]\n", ""))
    shell.kaitoctl("apply", "-f", "w.yaml", "-n", namespace, "--yes", "--timeout", "90s")
    done = shell.run(str(BIN / "kaitoctl"), "upgrade", "plan", "--to", "v0.12", "-o", "json")
    found = {(one["namespace"], one["name"]): one for one in json.loads(done.stdout)["workspaces"]}
    mine = found[namespace, "phi"]
    kind = (
        "statefulset"
        if "statefulset.apps/phi" in shell.names("statefulsets", "-n", namespace)
        else "deployment"
    )
    assert mine["outcome"] == ("stays" if kind == "statefulset" else "restarts")
    assert not mine["breaks"] and mine["source"] == "cluster"
    assert not shell.kaitoctl("upgrade", "verify", "--to", "v0.12", code=1).stdout.startswith("✔ KAITO")


def made_by_v0_4(shell: Shell, name: str, model: str = "phi-4") -> None:
    """A Workspace with the Deployment that KAITO up to v0.7 makes of one."""
    text = OLD.partition("---")[0].replace("  preferredNodes: [gpu-a]\n", "")
    text = text.replace("phi ", f"{name} ").replace("phi-4", model)
    (shell.home / f"{name}.yaml").write_text(text)
    shell.kubectl("create", "-f", f"{name}.yaml")
    workspace = shell.get("workspace", name)
    owner = {"apiVersion": "kaito.sh/v1alpha1", "kind": "Workspace", "name": name, "controller": True}
    labels = {"kaito.sh/workspace": name}
    image = "mcr.microsoft.com/aks/kaito/kaito-phi-4:0.0.1"
    container = {"name": name, "image": image, "resources": {"limits": {"nvidia.com/gpu": "1"}}}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "ownerReferences": [{**owner, "uid": workspace["metadata"]["uid"]}]},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }
    shell.apply(deployment)


def test_nodes_of_a_model_of_unknown_size_are_at_least_so_many(today: Shell) -> None:
    today = Shell(today.home, "..", {"KAITOCTL_SANDBOX": "", "KUBECONFIG": today.kubeconfig})
    made_by_v0_4(today, "big", "owner/big-model")
    plan = ("upgrade", "plan", "--from", "v0.4", "--to", "v0.12")
    found = json.loads(today.run(str(BIN / "kaitoctl"), *plan, "-o", "json").stdout)["workspaces"]
    (mine,) = [one for one in found if one["name"] == "big"]
    settles = "kaitoctl fit owner/big-model --catalog owner/big-model=FOLDER"
    assert mine["outcome"] == "restarts" and mine["nodesAsked"] == 1 and settles in mine["unsized"]
    assert not any(one["unsized"] for one in found if one["name"] != "big")
    text = " ".join(today.run(str(BIN / "kaitoctl"), *plan).stdout.split())
    assert "nodes asked for: at least 1, as" in text and settles in text


def test_node_claims_of_another_namespace_are_not_a_workspaces_own(today: Shell) -> None:
    """NodeClaims have no namespace: a Workspace of the same name elsewhere may have asked for them."""
    today = Shell(today.home, "..", {"KAITOCTL_SANDBOX": "", "KUBECONFIG": today.kubeconfig})
    made_by_v0_4(today, "two")
    labels = {"kaito.sh/workspace": "two"}
    claim = {
        "apiVersion": "karpenter.sh/v1",
        "kind": "NodeClaim",
        "metadata": {
            "name": "ws-elsewhere",
            "labels": {**labels, "kaito.sh/workspacenamespace": "elsewhere"},
        },
        "spec": {
            "nodeClassRef": {"group": "karpenter.azure.com", "kind": "AKSNodeClass", "name": "default"},
            "requirements": [
                {"key": "node.kubernetes.io/instance-type", "operator": "In", "values": ["never-comes"]},
            ],
        },
    }
    today.apply(claim)
    plan = ("upgrade", "plan", "--from", "v0.4", "--to", "v0.12", "-o", "json")
    found = json.loads(today.run(str(BIN / "kaitoctl"), *plan).stdout)["workspaces"]
    (mine,) = [one for one in found if one["name"] == "two"]
    assert (mine["outcome"], mine["nodesAsked"]) == ("restarts", 1)
