"""A MultiRoleInference named where a Workspace or a set is meant: what says so, and with which sets."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fleet_world import inference_set
from shell import Shell

from kaitoctl.kube.objects import owner_reference

NAMESPACE = "roles-named"
ROLES: dict[str, Any] = {
    "apiVersion": "kaito.sh/v1alpha1",
    "kind": "MultiRoleInference",
    "metadata": {"name": "duo", "namespace": NAMESPACE},
    "spec": {
        "labelSelector": {"matchLabels": {"apps": "duo"}},
        "model": {"name": "phi-4-mini-instruct"},
        "roles": [{"type": one, "replicas": 1} for one in ("prefill", "decode")],
    },
}


@pytest.fixture(scope="module")
def roles(shell: Shell) -> Iterator[None]:
    """It has a set for one of its roles alone, as while KAITO's controller is at work on it."""
    shell.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    shell.apply(ROLES)
    size = ("--replicas", "1", "--instance-type", "Standard_NC24ads_A100_v4", "--no-wait")
    make = ("create", "inference-set", "duo-prefill", "--preset", "phi-4-mini-instruct", *size)
    shell.kaitoctl(*make, "-n", NAMESPACE, "--yes")
    yield
    shell.kaitoctl("delete", "inferenceset/duo-prefill", "-n", NAMESPACE, "--yes", "--no-wait")
    shell.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


@pytest.mark.parametrize(
    "command",
    [
        "endpoint",
        "logs",
        "chat",
        "rollout status",
        "rollout history",
        "check-nodes",
        "status -w --timeout 5s",
    ],
)
def test_what_is_about_one_names_its_sets(shell: Shell, roles: None, command: str) -> None:
    first, *more = command.split()
    words = [first, *more[:1], "duo"] if first == "rollout" else [first, "duo", *more]
    done = shell.kaitoctl(*words, *(["hi"] if first == "chat" else []), "-n", NAMESPACE, code=4)
    assert "is a MultiRoleInference: its InferenceSets are duo-prefill and duo-decode" in done.stderr
    assert "inferenceset/duo-prefill" in done.stderr


@pytest.mark.parametrize(
    ("command", "way"),
    [
        ("restart", "kaitoctl restart duo-prefill-"),
        ("list-adapters", "kaitoctl edit inferenceset/duo-prefill"),
        ("add-adapter --name x --image r.io/x:1", "kaitoctl edit inferenceset/duo-prefill"),
        ("remove-adapter --name x", "kaitoctl edit inferenceset/duo-prefill"),
    ],
)
def test_what_changes_one_workspace_says_that_a_name_is_a_sets(
    shell: Shell, roles: None, command: str, way: str
) -> None:
    first, *more = command.split()
    done = shell.kaitoctl(first, "duo-prefill", *more, "-n", NAMESPACE, code=4)
    assert f"{NAMESPACE}/duo-prefill is an InferenceSet, and this is about one Workspace" in done.stderr
    assert way in done.stderr


@pytest.mark.parametrize("name", ["duo", "multiroleinference/duo"])
def test_what_is_about_several_is_about_both_sets(shell: Shell, roles: None, name: str) -> None:
    done = shell.kaitoctl("why", name, "-n", NAMESPACE, "-o", "short", code=4)
    assert "inferenceset/duo-prefill: " in done.stdout
    assert f"InferenceSet {NAMESPACE}/duo-decode not found" in done.stderr
    done = shell.kaitoctl("events", name, "-n", NAMESPACE, "-o", "json", code=4)
    about = {event["object"] for event in json.loads(done.stdout)["events"]}
    assert any("duo-prefill" in one for one in about)
    assert "duo" in shell.kaitoctl("status", name, "-n", NAMESPACE).stdout


def test_who_plans_it_hears_what_does(shell: Shell, roles: None, tmp_path: Path) -> None:
    file = tmp_path / "duo.yaml"
    file.write_text(json.dumps(ROLES))
    for words in (("plan",), ("apply", "--yes")):
        done = shell.kaitoctl(*words, "-f", str(file), code=2)
        assert "but MultiRoleInference" in done.stderr
        assert "kaitoctl validate -f FILE" in done.stderr


PLURAL = "multiroleinferences.v1alpha1.kaito.sh"


def there(shell: Shell, name: str) -> bool:
    found = shell.get(PLURAL, "-n", NAMESPACE)["items"]
    return name in [item["metadata"]["name"] for item in found]


def test_a_list_has_it_with_its_parts(shell: Shell, roles: None) -> None:
    text = shell.kaitoctl("status", "-n", NAMESPACE).stdout
    assert "MULTIROLEINFERENCE   STATE         PREFILL   DECODE   AGE" in text
    (row,) = [line for line in text.splitlines() if line.startswith("duo ")]
    assert row.split()[1:4] == ["Progressing", "-", "-"]
    found = json.loads(shell.kaitoctl("status", "-A", "-o", "json").stdout)
    (one,) = [item for item in found["multiRoleInferences"] if item["namespace"] == NAMESPACE]
    assert (one["name"], one["state"], one["conditions"]["Ready"]) == ("duo", "progressing", None)
    names = shell.kaitoctl("status", "-n", NAMESPACE, "-o", "name").stdout
    assert "multiroleinference.kaito.sh/duo" in names
    for one in ("multiroleinference.kaito.sh/duo", "inferenceset.kaito.sh/duo-prefill"):
        assert shell.kaitoctl("status", one, "-n", NAMESPACE, "-o", "name").stdout == f"{one}\n"
    both = json.loads(shell.kaitoctl("status", "duo", "duo-prefill", "-n", NAMESPACE, "-o", "json").stdout)
    assert [one["name"] for one in both["multiRoleInferences"]] == ["duo"]
    assert [one["name"] for one in both["inferenceSets"]] == ["duo-prefill"]
    done = shell.kaitoctl("status", "-n", NAMESPACE, "-w", "--timeout", "3s", code=124)
    assert f"MultiRoleInference {NAMESPACE}/duo  Progressing" in done.stdout


def test_one_of_which_nothing_else_exists_is_listed(shell: Shell) -> None:
    """As where its controller is off, which is KAITO's default: also beside Workspaces of others."""
    shell.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "roles-alone"}})
    shell.apply({**ROLES, "metadata": {"name": "alone", "namespace": "roles-alone"}})

    def rows() -> list[list[str]]:
        listed = shell.kaitoctl("status", "-n", "roles-alone").stdout
        return [line.split() for line in listed.splitlines() if line.startswith(("alone ", "beside "))]

    assert [row[:4] for row in rows()] == [["alone", "Progressing", "-", "-"]]
    shell.apply(
        {
            "apiVersion": "kaito.sh/v1beta1",
            "kind": "Workspace",
            "metadata": {"name": "beside", "namespace": "roles-alone"},
            "resource": {
                "instanceType": "Standard_NC24ads_A100_v4",
                "labelSelector": {"matchLabels": {"a": "b"}},
            },
            "inference": {"preset": {"name": "phi-4"}},
        }
    )
    assert [row[0] for row in rows()] == ["alone", "beside"]
    for name in ("mri/alone", "multiroleinference.kaito.sh/alone"):
        assert "alone" in shell.kaitoctl("status", name, "-n", "roles-alone").stdout
    shell.kubectl("delete", "namespace", "roles-alone", "--wait=false")


def family(shell: Shell, name: str, **metadata: Any) -> None:
    """A MultiRoleInference, one set of its own as KAITO's controller makes it, and a set of somebody else."""
    shell.apply({**ROLES, "metadata": {**ROLES["metadata"], "name": name, **metadata}})
    owner = shell.get(PLURAL, name, "-n", NAMESPACE)
    for role, owners in (("prefill", [owner_reference(owner)]), ("decode", [])):
        made = inference_set(1)
        made["metadata"] = {"name": f"{name}-{role}", "namespace": NAMESPACE, "ownerReferences": owners}
        shell.apply(made)
        done = shell.kaitoctl("status", f"{name}-{role}", "-n", NAMESPACE, "-w", "--timeout", "90s")
        assert "1 of 1 replicas ready" in done.stdout


def test_it_is_deleted_with_what_is_its_own_and_says_first_what_goes(shell: Shell, roles: None) -> None:
    family(shell, "pair")
    workspaces = shell.get("workspaces.v1beta1.kaito.sh", "-n", NAMESPACE)["items"]
    (own,) = [one["metadata"]["name"] for one in workspaces if "pair-prefill" in one["metadata"]["name"]]
    done = shell.kaitoctl("delete", "multiroleinference/pair", "-n", NAMESPACE, code=2)
    words = f"MultiRoleInference {NAMESPACE}/pair, with its 1 InferenceSet and 1 Workspace will be deleted"
    assert words in done.stderr
    assert f"Workspace {NAMESPACE}/{own} will be deleted" in done.stderr
    assert "pair-decode" not in done.stderr
    assert "no terminal to confirm" in done.stderr
    for dry_run in ("client", "server"):
        shell.kaitoctl("delete", "pair", "-n", NAMESPACE, "--dry-run", dry_run)
    assert there(shell, "pair")
    done = shell.kaitoctl("delete", "pair", "-n", NAMESPACE, "--yes", "--timeout", "60s")
    assert f"Workspace {NAMESPACE}/{own} is gone" in done.stderr
    assert done.stdout == "multiroleinference.kaito.sh/pair deleted\n"
    assert not there(shell, "pair")
    left = {
        one["metadata"]["name"]
        for one in shell.get("inferencesets.v1beta1.kaito.sh", "-n", NAMESPACE)["items"]
    }
    assert "pair-decode" in left
    assert "pair-prefill" not in left
    shell.kaitoctl("delete", "pair-decode", "-n", NAMESPACE, "--yes", "--no-wait")


def test_a_finalizer_that_nobody_removes_is_named(shell: Shell, roles: None, tmp_path: Path) -> None:
    held = {**ROLES, "metadata": {**ROLES["metadata"], "name": "held", "finalizers": ["kaito.sh/held"]}}
    shell.apply(held)
    file = tmp_path / "held.yaml"
    file.write_text(json.dumps(held))
    done = shell.kaitoctl("delete", "-f", str(file), "--yes", "--timeout", "3s", code=124)
    assert (
        f"MultiRoleInference {NAMESPACE}/held is not gone after 3s: kaito.sh/held is still there"
        in done.stderr
    )
    assert "kubectl describe multiroleinferences held" in done.stderr
    shell.patch(json.dumps({"metadata": {"finalizers": None}}), PLURAL, "held", "-n", NAMESPACE)
    assert not there(shell, "held")


def test_there_is_none_of_that_name(shell: Shell, roles: None) -> None:
    done = shell.kaitoctl("delete", "multiroleinference/nowhere", "-n", NAMESPACE, "--yes", code=4)
    assert f"MultiRoleInference {NAMESPACE}/nowhere not found" in done.stderr
