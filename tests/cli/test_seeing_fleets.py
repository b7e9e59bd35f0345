"""What looks at a Workspace looks at an InferenceSet, too: nodes, endpoint, events, logs, status, names."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer
import yaml
from shell import Shell

from kaitoctl.cli import complete
from kaitoctl.cli.app import app

SIZE = ("--replicas", "2", "--instance-type", "Standard_NC24ads_A100_v4")


@pytest.fixture(scope="module")
def fleet(shell: Shell) -> Iterator[str]:
    """The namespace of a set of two that serves."""
    name = "seen-fleets"
    shell.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    make = ("create", "inference-set", "phis", "--preset", "phi-4-mini-instruct", *SIZE)
    shell.kaitoctl(*make, "-n", name, "--yes", "--timeout", "90s")
    yield name
    shell.kaitoctl("delete", "inferenceset/phis", "-n", name, "--yes", "--no-wait")
    shell.end_namespace(name)


def members(shell: Shell, fleet: str) -> list[str]:
    return sorted(
        item["metadata"]["name"] for item in shell.get("workspaces.v1beta1.kaito.sh", "-n", fleet)["items"]
    )


def test_the_pods_of_a_set_are_restarted_by_its_replicas(shell: Shell, fleet: str) -> None:
    for name in ("phis", "inferenceset/phis"):
        done = shell.kaitoctl("restart", name, "-n", fleet, "--yes", code=4)
        assert f"{fleet}/phis is an InferenceSet" in done.stderr
        said = " ".join(done.stderr.split())
        advised = f"kaitoctl restart {' '.join(members(shell, fleet))} -n {fleet}"
        assert f"{advised} restarts those of all its replicas" in said
    done = shell.kaitoctl(*advised.split()[1:], "--dry-run", "client")
    assert done.stdout.count("restarted") == 2


def test_nodes_adds_up_what_a_set_holds(shell: Shell, fleet: str) -> None:
    found = json.loads(shell.kaitoctl("nodes", "-o", "json").stdout)
    (one,) = [item for item in found["inference_sets"] if item["namespace"] == fleet]
    assert one == {"namespace": fleet, "name": "phis", "gpus": 2, "nodes": 2, "replicas": 2}
    text = shell.kaitoctl("nodes").stdout
    assert f"InferenceSet {fleet}/phis: 2 GPUs on 2 nodes, held by 2 replicas." in text


def test_the_endpoint_is_a_replica_or_a_service_over_all(shell: Shell, fleet: str) -> None:
    done = shell.kaitoctl("endpoint", "phis", "-n", fleet)
    first = members(shell, fleet)[0]
    assert done.stdout.startswith(f"http://{first}.{fleet}.svc:80/")
    assert f"through workspace/{first}" in done.stderr
    over = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "all-phis", "namespace": fleet},
        "spec": {
            "selector": {"inferenceset.kaito.sh/created-by": "phis"},
            "ports": [{"port": 8080, "targetPort": 5000}],
        },
    }
    shell.apply(over)
    try:
        done = shell.kaitoctl("endpoint", "inferenceset/phis", "-n", fleet)
        assert done.stdout.startswith(f"http://all-phis.{fleet}.svc:8080/")
        assert "through service/all-phis" in done.stderr
        found = json.loads(shell.kaitoctl("endpoint", "phis", "-n", fleet, "-o", "json").stdout)
        assert found["inference_set"] == f"{fleet}/phis"
        assert found["replicas"] == members(shell, fleet)
        assert found["proxy_path"].endswith("/services/all-phis:8080/proxy")
        assert found["addresses"]["gateway"] is None
    finally:
        shell.kubectl("delete", "service", "all-phis", "-n", fleet)
    done = shell.kaitoctl("endpoint", "phis", "-n", fleet, "--type", "gateway", code=1)
    assert "InferenceSet phis has no gateway address" in done.stderr
    assert "InferencePool" in done.stderr


def test_events_of_the_set_and_of_all_its_replicas(shell: Shell, fleet: str) -> None:
    found = json.loads(shell.kaitoctl("events", "phis", "-n", fleet, "-o", "json").stdout)["events"]
    about = {event["object"].split()[1] for event in found}
    for name in members(shell, fleet):
        assert any(one.startswith(name) for one in about), (name, about)
    other = {"kind": "Workspace", "name": "phis-of-others", "namespace": fleet}
    shell.apply(
        {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": "stranger", "namespace": fleet},
            "involvedObject": other,
            "reason": "Strange",
            "message": "not of this set",
            "type": "Normal",
        }
    )
    assert "Strange" not in shell.kaitoctl("events", "phis", "-n", fleet).stdout


@pytest.mark.sandbox_alone
def test_logs_are_of_one_replica_and_say_of_which(shell: Shell, fleet: str) -> None:
    first, second = members(shell, fleet)
    done = shell.kaitoctl("logs", "phis", "-n", fleet)
    assert f"2 replicas, using workspace/{first}" in done.stderr
    assert done.stdout
    done = shell.kaitoctl("logs", "phis", "-n", fleet, "--pod", f"{second}-0")
    assert "using" not in done.stderr


def test_status_follows_a_set_and_lists_both_kinds(shell: Shell, fleet: str) -> None:
    done = shell.kaitoctl("status", "phis", "-n", fleet, "-w", "--timeout", "60s")
    assert "2 of 2 replicas ready; all replicas have the present template" in done.stdout
    done = shell.kaitoctl("status", "phis", "-n", fleet, "-w", "--timeout", "60s", "-o", "json")
    (line,) = done.stdout.splitlines()
    assert json.loads(line)["readyReplicas"] == 2
    refused = ("status", "phis", "-n", fleet, "-w", "--record", "x.jsonl", "--timeout", "9s")
    assert "records the rollout of one Workspace" in shell.kaitoctl(*refused, code=2).stderr
    found: dict[str, Any] = json.loads(shell.kaitoctl("status", "-A", "-o", "json").stdout)
    assert "phis" in [one["name"] for one in found["inferenceSets"] if one["namespace"] == fleet]
    names = {one["name"] for one in found["workspaces"] if one["namespace"] == fleet}
    assert names == set(members(shell, fleet))
    done = shell.kaitoctl("status", "-n", fleet, "-w", "--timeout", "3s", code=124)
    assert f"{fleet}/phis  Ready  2 of 2 replicas ready" in done.stdout


@pytest.mark.sandbox_alone
def test_live_names_of_sets_are_completed(
    shell: Shell, fleet: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """In this process, where a busy machine has all the time that it takes."""
    monkeypatch.setattr(complete, "_BUDGET_S", 120.0)
    monkeypatch.setattr(complete, "_age_s", lambda: 0.0)
    file = tmp_path / "kubeconfig"
    file.write_text(shell.kubectl("config", "view", "--raw"))
    ctx = SimpleNamespace(params={"namespace": fleet, "kubeconfig": str(file)})
    assert complete.sets(ctx, "") == ["phis"]
    assert complete.sets(ctx, "x") == []
    assert complete.served(ctx, "ph") == ["phis", *members(shell, fleet)]
    assert complete.workspaces(ctx, "ph") == members(shell, fleet)


@pytest.mark.parametrize(
    ("command", "completes"),
    [
        *((name, complete.served) for name in ("why", "logs", "events", "endpoint", "chat", "status")),
        ("rollout undo", complete.served),
        ("rollout fleet", complete.sets),
        ("rollout pause", complete.sets),
        ("restart", complete.workspaces),
    ],
)
def test_a_command_completes_names_of_what_it_takes(command: str, completes: Any) -> None:
    found: Any = typer.main.get_command(app)
    for word in command.split():
        found = found.get_command(None, word)
    (argument,) = [one for one in found.params if one.name in ("name", "names")]
    within = [cell.cell_contents.__name__ for cell in argument._custom_shell_complete.__closure__]
    assert completes.__name__ in within


def test_get_as_yaml_chooses_sets_by_their_labels_too(shell: Shell, fleet: str) -> None:
    shell.kubectl("label", "inferencesets.kaito.sh", "phis", "-n", fleet, "team=blue")
    for labels, expected in (("team=blue", ["phis"]), ("team=red", [])):
        stdout = shell.kaitoctl("get", "-l", labels, "-n", fleet, "-o", "yaml").stdout
        found = [one["metadata"]["name"] for one in yaml.safe_load(stdout)["items"]]
        assert found == expected
