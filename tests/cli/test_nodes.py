"""`kaitoctl nodes`: offline on saved lists, on a sandbox, and where pods may not be listed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from builders import node, pod
from fake_server import Answer, always, serving
from shell import Shell

Wait = Callable[[Callable[[], object]], None]
DATA = Path(__file__).parent.parent / "data" / "inventory"
CHECK = ["check-nodes", "--preset", "falcon-7b", "--instance-type", "Standard_NC12s_v3"]


@pytest.fixture
def saved(tmp_path: Path) -> list[str]:
    """The options that name the lists of tests/data/inventory."""
    lists = yaml.safe_load((DATA / "cluster.yaml").read_text())
    options = []
    names = [str(node["metadata"]["name"]) for node in lists["nodes"]]
    system = {"namespace": "kube-system"}  # what the lists of a whole cluster have on every node
    lists["pods"] += [
        {"metadata": {"name": f"proxy-{name}", **system}, "spec": {"nodeName": name}} for name in names
    ]
    for kind in ("nodes", "pods"):
        file = tmp_path / f"{kind}.json"
        file.write_text(json.dumps({"kind": "List", "items": lists[kind]}))
        options += [f"--{kind}", str(file)]
    return options


def test_saved_lists_are_shown_as_a_cluster_is(offline: Shell, saved: list[str]) -> None:
    done = offline.kaitoctl("nodes", *saved)
    assert done.stdout == (DATA / "cluster.pipe.txt").read_text()
    assert done.stderr == ""


def test_json_and_yaml_say_the_same_and_names_are_names(offline: Shell, saved: list[str]) -> None:
    answer = json.loads(offline.kaitoctl("nodes", *saved, "-o", "json").stdout)
    assert yaml.safe_load(offline.kaitoctl("nodes", *saved, "-o", "yaml").stdout) == answer
    assert answer["totals"] == {
        "nodes": 6,
        "gpu_nodes": 5,
        "gpus": 15,
        "in_use": 4,
        "free": 5,
        "broken": 6,
        "largest_free": {"gpus": 4, "node": "aks-gpua100-24718361-vmss000001"},
    }
    assert answer["holders"][0] == {
        "kind": "Workspace",
        "namespace": "models",
        "name": "llama-2-13b",
        "gpus": 3,
        "nodes": 2,
    }
    assert answer["nodes"][0] == {
        "name": "aks-gpua100-24718361-vmss000001",
        "instance_type": "Standard_ND96asr_v4",
        "faults": ["gpu-unhealthy"],
        "warnings": [],
        "gpus": {
            "resource": "nvidia.com/gpu",
            "product": "NVIDIA-A100-SXM4-40GB",
            "memory_gib": 40.0,
            "total": 8,
            "allocatable": 7,
            "in_use": 3,
            "free": 4,
            "broken": 1,
            "sharing": None,
        },
        "slices": [],
        "holders": [
            {"kind": "Workspace", "namespace": "models", "name": "llama-2-13b", "gpus": 2},
            {"kind": "Pod", "namespace": "research", "name": "notebook-0", "gpus": 1},
        ],
    }
    names = offline.kaitoctl("nodes", *saved, "-o", "name").stdout.split()
    assert names == [f"node/{item['name']}" for item in answer["nodes"]]
    assert len(offline.kaitoctl("nodes", *saved, "-o", "name", "--all").stdout.split()) == 6


@pytest.mark.parametrize(
    ("selector", "number"),
    [
        ("node.kubernetes.io/instance-type=Standard_NC12s_v3", 3),
        ("node.kubernetes.io/instance-type notin (Standard_NC12s_v3)", 2),
        ("nvidia.com/gpu.product", 1),
        ("apps", 0),
    ],
)
def test_a_selector_selects_offline_as_a_server_would(
    offline: Shell, saved: list[str], selector: str, number: int
) -> None:
    done = offline.kaitoctl("nodes", *saved, "-l", selector, "-o", "name")
    assert len(done.stdout.split()) == number
    assert done.stderr == ""


def test_without_a_list_of_pods_holders_are_unknown(offline: Shell, saved: list[str]) -> None:
    done = offline.kaitoctl("nodes", *saved[:2])
    assert "who holds the GPUs is unknown" in done.stderr
    assert "? in use, ? free" in done.stdout


def test_lists_that_do_not_belong_together_are_noticed(offline: Shell, saved: list[str]) -> None:
    Path(saved[1]).write_text(json.dumps({"kind": "List", "items": [node("other")]}))
    assert "pods hold 4 GPUs on nodes that are not in" in offline.kaitoctl("nodes", *saved).stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--pods", "p.json"], "--pods requires --nodes"),
        (["--nodes", "-", "--pods", "-"], "can be stdin"),
        (["--nodes", "nowhere.json"], "there is no such file"),
        (["-o", "xml"], "--output 'xml'"),
        (["-l", "a in (b"], "is not a label selector"),
        (["--kubeconfig", "nowhere"], "there is no such file"),
    ],
)
def test_bad_input_exits_with_2(offline: Shell, arguments: list[str], words: str) -> None:
    assert words in offline.kaitoctl("nodes", *arguments, code=2).stderr


# --- on a cluster -----------------------------------------------------------------------------------------


@pytest.fixture
def gpu_node(shell: Shell) -> Iterator[str]:
    shell.add_node("gpu-inventory-a", "Standard_NC12s_v3", apps="inventory")
    yield "gpu-inventory-a"
    shell.delete_node("gpu-inventory-a")


def test_the_gpus_of_a_workspace_are_shown_as_its_own(
    shell: Shell, namespace: str, gpu_node: str, wait_until: Wait
) -> None:
    ask = ["nodes", "-l", "apps=inventory"]
    shell.kubectl("cordon", gpu_node)
    assert json.loads(shell.kaitoctl(*ask, "-o", "json").stdout)["totals"]["broken"] == 2
    shell.kubectl("uncordon", gpu_node)
    shell.kaitoctl(
        *("create", "workspace", "falcon", "-n", namespace, "--preset", "falcon-7b"),
        *("--instance-type", "Standard_NC12s_v3", "--label", "apps=inventory", "--preferred-node", gpu_node),
        "--yes",
    )
    answer = json.loads(shell.kaitoctl(*ask, "-o", "json").stdout)
    (only,) = answer["nodes"]
    assert only["holders"] == [{"kind": "Workspace", "namespace": namespace, "name": "falcon", "gpus": 2}]
    assert answer["totals"]["free"] == 0
    table = shell.kaitoctl(*ask).stdout
    assert f"{gpu_node}  AA " in table
    assert f"A  Workspace {namespace}/falcon  2 GPUs on 1 node" in table
    shell.kubectl("delete", "workspace", "falcon", "-n", namespace)
    wait_until(lambda: json.loads(shell.kaitoctl(*ask, "-o", "json").stdout)["totals"]["free"] == 2)


# --- where something is forbidden --------------------------------------------------------------------------


def forbidding(kind: str) -> Answer:
    """A cluster of one GPU node where this kind may not be listed."""
    lists = {"nodes": [node()], "pods": [pod(node_name="gpu-a", gpus=1)]}

    def answer(method: str, path: str) -> tuple[int, str]:
        asked = path.partition("?")[0].rpartition("/")[2]
        if asked == kind:
            message = f'{kind} is forbidden: User "u" cannot list resource "{kind}" at the cluster scope'
            return 403, json.dumps({"kind": "Status", "reason": "Forbidden", "message": message})
        if asked not in lists:  # it knows no Workspaces
            return 404, json.dumps({"kind": "Status", "reason": "NotFound", "message": "not found"})
        return 200, json.dumps({"kind": "List", "metadata": {}, "items": lists[asked]})

    return answer


def test_who_may_not_list_pods_sees_the_gpus_and_not_their_holders(offline: Shell, tmp_path: Path) -> None:
    with serving(forbidding("pods"), tmp_path) as kubeconfig:
        shown = offline.kaitoctl("nodes", "--kubeconfig", kubeconfig)
        as_json = offline.kaitoctl("nodes", "--kubeconfig", kubeconfig, "-o", "json")
    assert "pods of all namespaces cannot be listed" in shown.stderr
    assert "you need list on pods in all namespaces" in shown.stderr
    assert "gpu-a  ??" in shown.stdout
    answer = json.loads(as_json.stdout)
    assert answer["holders"] is None
    assert answer["nodes"][0]["gpus"]["free"] is None


def test_who_may_not_list_pods_gets_a_verdict_without_free_gpus(offline: Shell, tmp_path: Path) -> None:
    with serving(forbidding("pods"), tmp_path) as kubeconfig:
        done = offline.kaitoctl(*CHECK, "--kubeconfig", kubeconfig, "-o", "json")
    assert "pods of all namespaces cannot be listed" in done.stderr
    answer = json.loads(done.stdout)
    assert answer["enough"] is True
    assert answer["nodes"][0]["gpus"]["in_use"] is None


def test_pods_that_may_be_listed_are_counted_on_the_same_server(offline: Shell, tmp_path: Path) -> None:
    with serving(forbidding("secrets"), tmp_path) as kubeconfig:
        done = offline.kaitoctl("nodes", "--kubeconfig", kubeconfig, "-o", "json")
    assert json.loads(done.stdout)["totals"]["in_use"] == 1
    assert done.stderr == ""


@pytest.mark.parametrize("command", [["nodes"], CHECK])
def test_who_may_not_list_nodes_is_refused(offline: Shell, tmp_path: Path, command: list[str]) -> None:
    with serving(forbidding("nodes"), tmp_path) as kubeconfig:
        done = offline.kaitoctl(*command, "--kubeconfig", kubeconfig, code=4)
    assert "nodes is forbidden" in done.stderr


@pytest.mark.parametrize("body", ["{}", "[]", "null", '{"items": 5}', '{"items": [5]}', "<html>"])
def test_answers_of_another_shape_end_in_words(offline: Shell, tmp_path: Path, body: str) -> None:
    with serving(always(200, body), tmp_path) as kubeconfig:
        done = offline.run("kaitoctl", "nodes", "--kubeconfig", kubeconfig)
    assert done.returncode in (1, 3, 4), done.stderr
    assert "Traceback" not in done.stderr
    assert "error: " in done.stderr


def test_a_cluster_that_is_down_is_unreachable(offline: Shell, tmp_path: Path) -> None:
    with serving(always(200, "{}"), tmp_path) as kubeconfig:
        pass
    assert "cannot reach" in offline.kaitoctl("nodes", "--kubeconfig", kubeconfig, code=3).stderr
