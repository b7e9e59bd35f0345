"""`kaitoctl check-nodes`: offline on saved lists, and on a sandbox where each printed command mends."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from builders import node, pod, workspace
from fake_server import serving
from shell import BIN, Shell

Wait = Callable[[Callable[[], object]], None]
DATA = Path(__file__).parent.parent / "data" / "nodes"
FLAGS = ["check-nodes", "--preset", "falcon-7b", "--instance-type", "Standard_NC12s_v3"]


def save(file: Path, items: list[Any], kind: str = "List") -> str:
    text = {"apiVersion": "v1", "kind": kind, "items": items}
    file.write_text(json.dumps(text, indent=4) if file.suffix == ".json" else yaml.safe_dump(text))
    return str(file)


@pytest.fixture
def manifest(tmp_path: Path) -> str:
    file = tmp_path / "workspace.yaml"
    file.write_text(yaml.safe_dump(workspace(resource={"preferredNodes": ["gpu-a"]})))
    return str(file)


# --- offline -----------------------------------------------------------------------------------------------


def offline_advice(offline: Shell, *arguments: str) -> tuple[str, str]:
    done = offline.kaitoctl("check-nodes", *arguments, "-o", "json", code=1)
    return done.stdout, done.stderr


@pytest.mark.parametrize("where", ["nodes", "pods", "manifest"])
@pytest.mark.parametrize("asks", ["labels", "preferred"])
def test_what_other_workspaces_of_the_files_select_is_left_alone(
    offline: Shell, tmp_path: Path, where: str, asks: str
) -> None:
    labels = {"node.kubernetes.io/instance-type": "Standard_NC12s_v3", "pool": "search"}
    there = [node(labels=labels)]
    resource = {"labels": {"labelSelector": {"matchLabels": {"pool": "search"}}, "preferredNodes": []}}.get(
        asks, {"labelSelector": {"matchLabels": {"x": "y"}}, "preferredNodes": ["gpu-a"]}
    )
    other = workspace("search", resource=resource)
    mine = workspace("mine", resource={"labelSelector": {"matchLabels": {"apps": "mine"}}})
    lists: dict[str, list[Any]] = {"nodes": there, "pods": [pod(node_name="cpu-1")], "manifest": [mine]}
    files = {kind: save(tmp_path / f"{kind}.json", items) for kind, items in lists.items()}
    arguments = ["mine", "-f", files["manifest"], "--nodes", files["nodes"], "--pods", files["pods"]]
    said, warned = offline_advice(offline, *arguments)
    assert "kubectl label node gpu-a" in said
    assert "other Workspaces are not in these lists" in warned

    save(Path(files[where]), [*lists[where], other])
    said, warned = offline_advice(offline, *arguments)
    assert "kubectl label" not in said
    assert "other Workspaces are not in these lists" not in warned


def test_a_list_of_one_namespace_is_said_to_be_one(offline: Shell, tmp_path: Path, manifest: str) -> None:
    nodes = save(tmp_path / "nodes.json", [node(), node("gpu-b")], "List")
    for pods in ([], [pod(node_name="gpu-b")]):
        lists = ["--nodes", nodes, "--pods", save(tmp_path / "pods.json", pods, "List")]
        for command in (["check-nodes", "-f", manifest], ["nodes"], ["fit", "falcon-7b"]):
            done = offline.run("kaitoctl", *command, *lists)
            assert "GPUs that look free may be taken by others" in done.stderr, command
            assert "kubectl get pods -A" in done.stderr


@pytest.mark.parametrize("suffix", ["json", "yaml"])
@pytest.mark.parametrize("kind", ["List", "NodeList"])
def test_saved_lists_are_read_as_kubectl_writes_them(
    offline: Shell, tmp_path: Path, manifest: str, suffix: str, kind: str
) -> None:
    nodes = save(tmp_path / f"nodes.{suffix}", [node(), node("gpu-b", gpus="0", capacity="2")], kind)
    pods = save(tmp_path / f"pods.{suffix}", [pod(node_name="gpu-b", gpus=1)], kind.replace("Node", "Pod"))
    done = offline.kaitoctl("check-nodes", "-f", manifest, "--nodes", nodes, "--pods", pods, "-o", "json")
    answer = json.loads(done.stdout)
    assert answer == {
        "workspace": "default/falcon",
        "required": 1,
        "usable": 1,
        "enough": True,
        "would_create": 0,
        "selected": ["gpu-a"],
        "not_found": [],
        "nodes": answer["nodes"],
    }
    first = answer["nodes"][0]
    assert set(first) == {"name", "usable", "preferred", "gpus", "findings"}
    assert first["gpus"] == {
        "resource": "nvidia.com/gpu",
        "capacity": 2,
        "allocatable": 2,
        "in_use": 0,
        "free": 2,
        "product": "NVIDIA V100",
        "memory_gib": 16,
        "sharing": None,
    }
    assert set(first["findings"][0]) == {"code", "level", "message", "hint", "command"}


def test_a_single_node_is_a_list_of_one(offline: Shell, tmp_path: Path) -> None:
    file = tmp_path / "node.json"
    file.write_text(json.dumps(node()))
    done = offline.kaitoctl(*FLAGS, "--nodes", str(file), "-o", "short")
    assert done.stdout == "1 of 1 required nodes usable. Applying now would create no node.\n"
    assert "in use are unknown" in done.stderr


def test_utf_16_of_powershell_is_read(offline: Shell, tmp_path: Path) -> None:
    file = tmp_path / "nodes.json"
    file.write_bytes(json.dumps({"kind": "List", "items": [node()]}).encode("utf-16"))
    offline.kaitoctl(*FLAGS, "--nodes", str(file))


def test_yaml_output_says_the_same_as_json(offline: Shell, tmp_path: Path) -> None:
    nodes = save(tmp_path / "nodes.json", [node(labels={})])
    ask = [*FLAGS, "--label", "apps=falcon-7b", "--preferred-node", "gpu-a", "--nodes", nodes, "-o"]
    as_json, as_yaml = (offline.kaitoctl(*ask, form, code=1).stdout for form in ("json", "yaml"))
    assert yaml.safe_load(as_yaml) == json.loads(as_json)
    assert json.loads(as_json)["would_create"] == 1


def test_strict_counts_warnings(offline: Shell, tmp_path: Path) -> None:
    under_pressure = node()
    under_pressure["status"]["conditions"].append({"type": "DiskPressure", "status": "True"})
    nodes = save(tmp_path / "nodes.json", [under_pressure])
    offline.kaitoctl(*FLAGS, "--nodes", nodes)
    assert "1 warning (--strict)" in offline.kaitoctl(*FLAGS, "--nodes", nodes, "--strict", code=1).stderr


def test_of_thousands_of_nodes_the_table_shows_a_few(offline: Shell, tmp_path: Path) -> None:
    nodes = save(tmp_path / "nodes.json", [node(f"n-{number:04}", labels={}) for number in range(50)])
    ask = [*FLAGS, "--label", "apps=x", "--nodes", nodes]
    for item in (items := json.loads(Path(nodes).read_text())["items"]):
        item["metadata"]["labels"] = {"node.kubernetes.io/instance-type": "Standard_NC12s_v3"}
    save(Path(nodes), items)
    assert "... and 30 more: 30 label-missing (-o wide shows them)" in offline.kaitoctl(*ask, code=1).stdout
    assert "n-0049" in offline.kaitoctl(*ask, "-o", "wide", code=1).stdout


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "the file is empty"),
        ('{"kind": "List", "items": [{"kind": "Node", "metad', "cut off"),
        ('{"kind": "List", "items": [] }}', "Extra data (line 1, column 31)"),
        ("kind: List\nitems: [", "neither JSON nor YAML"),
        ("hello", "holds a text, not Nodes"),
        ("\x00\x01", "neither JSON nor YAML"),
        ("[" * 100_000, "neither JSON nor YAML"),
        ('{"kind": "PodList", "items": []}', "holds Pods, not Nodes"),
        ('{"kind": "List", "items": {"a": 1}}', "items are not a list"),
    ],
)
def test_a_broken_list_of_nodes_is_bad_input(offline: Shell, tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "nodes"
    file.write_text(text)
    done = offline.kaitoctl(*FLAGS, "--nodes", str(file), code=2)
    assert words in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["check-nodes"], "which Workspace?"),
        (["check-nodes", "w", "--preset", "falcon-7b"], "exclude each other"),
        ([*FLAGS, "--pods", "p"], "--pods requires --nodes"),
        (["check-nodes", "w", "--nodes", "n"], "offline"),
        ([*FLAGS, "--nodes", "nowhere.json"], "there is no such file"),
        ([*FLAGS, "--nodes", "n", "--wait", "5m"], "--wait needs a cluster"),
        ([*FLAGS, "--yes"], "require --fix"),
        ([*FLAGS, "-o", "xml"], "--output 'xml'"),
        ([*FLAGS, "--target-version", "v9"], "--target-version 'v9'"),
        (["check-nodes", "--preset", "falcon-7", "--nodes", "n"], "did you mean falcon-7b"),
        (["check-nodes", "-f", "nowhere.yaml"], "there is no such file"),
    ],
)
def test_bad_input_exits_with_2(offline: Shell, arguments: list[str], words: str) -> None:
    assert words in offline.kaitoctl(*arguments, code=2).stderr


@pytest.mark.parametrize(
    "resource",
    [None, [], {"count": "two"}, {"preferredNodes": "gpu-a"}, {"labelSelector": {"matchLabels": {"a": 1}}}],
)
def test_a_manifest_of_another_shape_is_bad_input(offline: Shell, tmp_path: Path, resource: Any) -> None:
    file = tmp_path / "w.yaml"
    file.write_text(yaml.safe_dump({"kind": "Workspace", "metadata": {"name": "w"}, "resource": resource}))
    nodes = save(tmp_path / "nodes.json", [])
    assert "resource" in offline.kaitoctl("check-nodes", "-f", str(file), "--nodes", nodes, code=2).stderr


def test_one_of_several_workspaces_is_named(offline: Shell, tmp_path: Path) -> None:
    file = tmp_path / "w.yaml"
    file.write_text(yaml.safe_dump_all([workspace("one"), workspace("two")]))
    nodes = save(tmp_path / "nodes.json", [node()])
    ask = ["check-nodes", "-f", str(file), "--nodes", nodes]
    assert "name one of them: one, two" in offline.kaitoctl(*ask, code=2).stderr
    assert "Workspace default/two" in offline.kaitoctl(*ask, "two").stdout


def test_offline_nothing_of_a_cluster_is_imported(tmp_path: Path, manifest: str) -> None:
    nodes = save(tmp_path / "nodes.json", [node()])
    program = (
        "import sys\nfrom kaitoctl.cli.app import app, run\n"
        f"sys.argv = ['kaitoctl', 'check-nodes', '-f', {manifest!r}, '--nodes', {nodes!r}]\ncode = run(app)\n"
        "heavy = ['kubernetes', 'aiohttp', 'asyncio', 'jsonschema', 'rich', 'jinja2']\n"
        "print([name for name in heavy if name in sys.modules], code, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1] == "[] 0"


# --- on a cluster -----------------------------------------------------------------------------------------


LABEL = "check-nodes"


@pytest.fixture
def gpu_node(shell: Shell) -> Iterator[str]:
    """A healthy node, labelled apps=check-nodes."""
    shell.add_node("gpu-check-a", "Standard_NC12s_v3", apps=LABEL)
    yield "gpu-check-a"
    shell.delete_node("gpu-check-a")


def _label(value: str) -> list[str]:
    return ["--label", f"apps={value}"]


def check(shell: Shell, label: str, *more: str, code: int = 0) -> Any:
    ask = [*FLAGS, *_label(label), *more, "--target-version", "v0.4", "-o", "json"]
    return ours(shell.kaitoctl(*ask, code=code).stdout)


def ours(answer: str) -> Any:
    """The answer without the nodes that other tests have in the shared sandbox."""
    read = json.loads(answer)
    read["nodes"] = [item for item in read["nodes"] if item["name"].lower().startswith("gpu-check")]
    return read


def codes(answer: Any, name: str) -> dict[str, str]:
    (found,) = (item for item in answer["nodes"] if item["name"] == name)
    return {item["code"]: item["command"] for item in found["findings"] if item["level"] == "fail"}


def kubectl(shell: Shell, command: str) -> None:
    """Run a command as it was printed."""
    program, *arguments = shlex.split(command)
    assert program == "kubectl"
    shell.kubectl(*arguments)


@pytest.mark.parametrize(
    ("breaking", "code"),
    [
        ("kubectl label node {} apps-", "label-missing"),
        ("kubectl label node {} apps=other --overwrite", "label-differs"),
        ("kubectl cordon {}", "cordoned"),
        ("kubectl taint node {} team=vision:NoSchedule", "taint-not-tolerated"),
    ],
    ids=lambda value: value.replace(" ", "-").replace("{}", "")[-20:].strip("-"),
)
def test_the_printed_command_mends_the_node(shell: Shell, gpu_node: str, breaking: str, code: str) -> None:
    kubectl(shell, breaking.format(gpu_node))
    answer = check(shell, LABEL, "--preferred-node", gpu_node, code=1)
    (found, command) = next(iter(codes(answer, gpu_node).items()))
    assert found == code
    kubectl(shell, command)
    assert check(shell, LABEL, "--preferred-node", gpu_node)["selected"] == [gpu_node]


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ({"conditions": [{"type": "Ready", "status": "False", "reason": "KubeletNotReady"}]}, "not-ready"),
        (
            {"capacity": {"nvidia.com/gpu": None}, "allocatable": {"nvidia.com/gpu": None}},
            "gpu-not-allocatable",
        ),
    ],
    ids=["not-ready", "plugin-missing"],
)
def test_what_no_command_mends_says_where_to_look(
    shell: Shell, gpu_node: str, status: dict[str, Any], code: str
) -> None:
    shell.kubectl("patch", "node", gpu_node, "--subresource=status", "-p", json.dumps({"status": status}))
    answer = check(shell, LABEL, "--preferred-node", gpu_node, code=1)
    (command,) = (text for found, text in codes(answer, gpu_node).items() if found == code)
    kubectl(shell, command)


@pytest.mark.parametrize(
    ("allocatable", "code"),
    [
        ({"nvidia.com/gpu": "1"}, "gpu-unhealthy"),
        ({"nvidia.com/gpu": "0", "nvidia.com/mig-1g.5gb": "7"}, "only-mig-slices"),
        ({"nvidia.com/gpu": None, "amd.com/gpu": "2"}, "other-vendor-gpu"),
    ],
    ids=["unhealthy", "mig", "amd"],
)
def test_what_the_device_plugin_reports_is_judged(
    shell: Shell, gpu_node: str, allocatable: dict[str, Any], code: str
) -> None:
    patch = json.dumps({"status": {"allocatable": allocatable, "capacity": allocatable}})
    shell.kubectl("patch", "node", gpu_node, "--subresource=status", "--type=merge", "-p", patch)
    assert set(codes(check(shell, LABEL, code=1), gpu_node)) == {code}


def test_gpus_that_a_pod_holds_are_in_use_and_waited_for(
    shell: Shell, namespace: str, gpu_node: str, wait_until: Wait
) -> None:
    holder = pod("holder", gpus=1)
    holder["metadata"]["namespace"] = namespace
    holder["spec"]["containers"][0]["image"] = "registry.example/notebook:1"
    holder["spec"]["nodeName"] = gpu_node
    holder["spec"]["terminationGracePeriodSeconds"] = 0
    del holder["status"]
    shell.apply(holder)
    answer = check(shell, LABEL, code=1)
    assert set(codes(answer, gpu_node)) == {"gpus-in-use"}
    assert answer["nodes"][0]["gpus"]["free"] == 1
    freeing = threading.Timer(1.0, shell.kubectl, ["delete", "pod", "holder", "-n", namespace])
    freeing.start()
    assert check(shell, LABEL, "--wait", "60s")["selected"] == [gpu_node]
    freeing.join()


def test_wait_sees_a_node_heal_and_gives_up_in_time(shell: Shell, gpu_node: str) -> None:
    shell.kubectl("cordon", gpu_node)
    assert not check(shell, LABEL, "--wait", "1s", code=1)["enough"]
    mending = threading.Timer(0.8, shell.kubectl, ["uncordon", gpu_node])
    mending.start()
    assert check(shell, LABEL, "--wait", "60s")["enough"]
    mending.join()


def test_fix_sets_the_labels_after_being_told_to(shell: Shell, gpu_node: str) -> None:
    shell.kubectl("label", "node", gpu_node, "apps-")
    ask = ["--preferred-node", gpu_node, "--fix"]
    assert "--yes" in shell.kaitoctl(*FLAGS, *_label(LABEL), *ask, code=2).stderr
    assert not check(shell, LABEL, *ask, "--dry-run", code=1)["enough"]
    assert "apps" not in shell.get("node", gpu_node)["metadata"]["labels"]
    assert check(shell, LABEL, *ask, "--yes")["enough"]
    assert shell.get("node", gpu_node)["metadata"]["labels"]["apps"] == LABEL


def test_a_workspace_of_the_cluster_is_checked_by_name(
    shell: Shell, namespace: str, gpu_node: str, wait_until: Wait
) -> None:
    ws = workspace("falcon", resource={"labelSelector": {"matchLabels": {"apps": LABEL}}})
    ws["metadata"] = {"name": "falcon", "namespace": namespace}
    shell.apply(ws)
    done = shell.kaitoctl("check-nodes", "falcon", "-n", namespace)
    assert done.stdout.startswith(f"Workspace {namespace}/falcon, preset falcon-7b, 1 x Standard_NC12s_v3")
    missing = shell.kaitoctl("check-nodes", "falcn", "-n", namespace, code=4)
    assert "did you mean falcon?" in missing.stderr
    shell.kubectl("delete", "workspace", "falcon", "-n", namespace)
    wait_until(lambda: not shell.names("pods", "-n", namespace))


def test_a_name_that_no_node_has_is_compared_with_all_nodes(shell: Shell, gpu_node: str) -> None:
    other = check(shell, "nobody", "--preferred-node", gpu_node.upper(), code=1)
    assert other["not_found"] == [gpu_node.upper()]
    (found,) = (item for item in other["nodes"] if item["name"] == gpu_node.upper())
    assert found["findings"][0]["message"].endswith(f"did you mean {gpu_node}?")


def test_a_saved_list_of_the_cluster_gives_the_same_verdict(shell: Shell, gpu_node: str) -> None:
    nodes, pods = shell.home / "nodes.yaml", shell.home / "pods.json"
    nodes.write_text(shell.kubectl("get", "nodes", "-o", "yaml"))
    pods.write_text(shell.kubectl("get", "pods", "-A", "-o", "json"))
    saved = [*FLAGS, *_label(LABEL), "--nodes", str(nodes), "--pods", str(pods), "-o", "json"]
    assert ours(shell.kaitoctl(*saved).stdout) == check(shell, LABEL)


def test_a_cluster_that_is_down_is_unreachable(offline: Shell, tmp_path: Path) -> None:
    file = tmp_path / "kubeconfig"
    file.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "c",
                "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
                "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}],
                "users": [{"name": "u", "user": {}}],
            }
        )
    )
    assert "cannot reach" in offline.kaitoctl(*FLAGS, "--kubeconfig", str(file), code=3).stderr


assert (BIN / "kubectl").exists()


# --- whose choice, where nobody says ------------------------------------------------------------------------


def running(image: str, *arguments: str, versions: tuple[str, ...] = ("v1alpha1", "v1beta1")) -> Any:
    """The answers of a cluster without nodes in which KAITO's controller runs."""
    container = {"name": "workspace", "image": image, "args": list(arguments)}
    controller = {
        "metadata": {"name": "kaito-workspace", "namespace": "kaito-workspace"},
        "spec": {"template": {"spec": {"containers": [container]}}},
    }

    def answer(method: str, path: str) -> tuple[int, str]:
        path = path.removeprefix("/s3cret-path").split("?")[0]
        if path == "/apis/kaito.sh":
            return 200, json.dumps({"versions": [{"version": version} for version in versions]})
        there = [controller] if path == "/apis/apps/v1/namespaces/kaito-workspace/deployments" else []
        return 200, json.dumps({"metadata": {}, "items": there})

    return answer


@pytest.mark.parametrize(
    ("answer", "more", "said", "choice"),
    [
        (running("r/kaito/workspace:0.12.0"), [], "KAITO v0.12.0", "KAITO v0.12 would choose (azure-gpu"),
        (running("r/workspace:0.12.0", "--node-provisioner=byo"), [], "v0.12.0", "v0.12 would choose (byo)"),
        (
            running("r/kaito/workspace:0.12.0", "--node-provisioner", "karpenter"),
            [],
            "",
            "choose (karpenter)",
        ),
        (running("r/kaito/workspace:0.9.4"), [], "KAITO v0.9.4", "KAITO v0.12 would choose"),
        (running("r/kaito/workspace:0.4.6"), [], "KAITO v0.4.6", "KAITO v0.4 would choose"),
        (running("r/kaito/workspace:0.3.2", versions=("v1alpha1",)), [], "v0.3.2", "KAITO v0.3 would choose"),
        (running("r/kaito/workspace:0.12.0"), ["--target-version", "v0.4"], "", "KAITO v0.4 would choose"),
        (running("r/kaito/workspace:0.12.0"), ["--node-provisioner", "byo"], "", "would choose (byo)"),
    ],
)
def test_the_cluster_says_whose_choice_it_is(
    offline: Shell, tmp_path: Path, answer: Any, more: list[str], said: str, choice: str
) -> None:
    with serving(answer, tmp_path) as kubeconfig:
        done = offline.kaitoctl(*FLAGS, *_label("none"), *more, "--kubeconfig", kubeconfig, code=1)
    assert choice in " ".join(done.stdout.split())
    assert f"judged for {said}" in done.stderr if said.startswith("KAITO") else said in done.stderr
    assert done.stderr.count("judged for") == ("--target-version" not in more)


# --- how much context is asked for -------------------------------------------------------------------------

A100 = "Standard_NC24ads_A100_v4"


def with_context(folder: Path, tokens: str, *, namespace: str = "", beside: bool = True) -> tuple[str, Any]:
    """A file with a Workspace of a large model, and its ConfigMap."""
    where = {"namespace": namespace} if namespace else {}
    text = f"vllm:\n  max-model-len: {tokens}\n"
    config: Any = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "big", **where},
        "data": {"inference_config.yaml": text},
    }
    asked = {
        "apiVersion": "kaito.sh/v1beta1",
        "kind": "Workspace",
        "metadata": {"name": "llama", **where},
        "resource": {"instanceType": A100, "labelSelector": {"matchLabels": {"apps": "llama"}}},
        "inference": {"preset": {"name": "llama-3.3-70b-instruct"}, "config": "big"},
    }
    file = folder / "llama.yaml"
    file.write_text(yaml.safe_dump_all([asked, *([config] if beside else [])]))
    return str(file), config


@pytest.mark.parametrize(
    ("tokens", "beside", "required", "said"),
    [
        ("65536", True, 4, ""),
        ("2048", True, 3, ""),
        ("65536", False, 3, "is not in the file: nodes are counted for 2,048 tokens"),
        ("65536 # much", True, 3, "says max-model-len 65,536, and KAITO counts nodes for 2,048 tokens"),
    ],
)
def test_the_context_of_the_config_map_beside_it_counts(
    offline: Shell, tmp_path: Path, tokens: str, beside: bool, required: int, said: str
) -> None:
    file, _ = with_context(tmp_path, tokens, beside=beside)
    nodes = save(tmp_path / "nodes.json", [node()])
    how = ("--nodes", nodes, "--target-version", "v0.12", "--node-provisioner", "karpenter", "-o", "json")
    done = offline.kaitoctl("check-nodes", "-f", file, *how, code=1)
    assert json.loads(done.stdout)["required"] == required
    assert said in done.stderr


def test_the_context_of_the_clusters_config_map_counts_where_the_file_has_none(
    sandbox_shell: Shell, tmp_path: Path
) -> None:
    namespace = "context"
    sandbox_shell.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    file, config = with_context(tmp_path, "131072", namespace=namespace, beside=False)
    release = ("--target-version", "v0.12", "--node-provisioner", "azure-gpu-provisioner")
    how = ("-f", file, "-n", namespace, *release)

    def asked() -> tuple[int, str]:
        done = sandbox_shell.kaitoctl("check-nodes", *how, "-o", "json", "--sandbox", code=1)
        return json.loads(done.stdout)["required"], done.stderr

    required, said = asked()
    assert required == 3
    assert "ConfigMap context/big does not exist" in said
    of_kaito = how[4:]
    assert planned(sandbox_shell, file, namespace, *of_kaito) == 0, "its webhook refuses it"
    assert planned(sandbox_shell, file, namespace) == 3, "its pods wait for it"
    beside, _ = with_context(tmp_path, "131072", namespace=namespace)
    for by in (of_kaito, ()):  # KAITO, and kaitoctl's own controller
        assert planned(sandbox_shell, beside, namespace, *by) == 6, "the file's own counts"
    sandbox_shell.apply(config)
    with_context(tmp_path, "131072", namespace=namespace, beside=False)
    assert asked() == (6, "")
    for by in (of_kaito, ()):
        assert planned(sandbox_shell, file, namespace, *by) == 6
    sandbox_shell.end_namespace(namespace)


def planned(shell: Shell, file: str, namespace: str, *how: str) -> int:
    """How many nodes a plan of the file asks for."""
    done = shell.run("kaitoctl", "plan", "-f", file, "-n", namespace, *how, "-o", "json", "--sandbox")
    (change,) = (one for one in json.loads(done.stdout)["changes"] if one["kind"] == "Workspace")
    return int(change["nodesAsked"])


@pytest.mark.parametrize(
    ("target", "version", "preset", "key"),
    [
        ("v0.3", "v1alpha1", "no-such-model", "refusal"),
        ("v0.4.6", "v1alpha1", "owner/unknown-model", "refusal"),
        ("v0.9.4", "v1beta1", "no-such-model", "refusal"),
        ("v0.9.4", "v1beta1", "owner/unknown-model", "unsized"),
        ("v0.12", "v1beta1", "owner/unknown-model", "unsized"),
        ("v0.12", "v1beta1", "falcon-7b", "refusal"),
        ("v0.12", "v1alpha1", "phi-4-mini-instruct", "refusal"),
        ("v0.4", "v1alpha1", "falcon-7b", ""),
    ],
)
def test_a_preset_that_the_judged_release_lacks_or_cannot_size_is_not_called_enough(
    offline: Shell, tmp_path: Path, target: str, version: str, preset: str, key: str
) -> None:
    asked = workspace(resource={"instanceType": A100}) | {"apiVersion": f"kaito.sh/{version}"}
    asked["inference"] = {"preset": {"name": preset}}
    asked["metadata"] = {"name": "falcon", "namespace": "default"}  # not created yet
    labels = asked["resource"]["labelSelector"]["matchLabels"]
    mine = {"kaito.sh/workspace": "falcon", "kaito.sh/workspacenamespace": "default"}
    there = node(labels={"node.kubernetes.io/instance-type": A100, **mine, **labels}, gpus=1)
    files = save(tmp_path / "w.json", [asked]), save(tmp_path / "n.json", [there])
    how = ("-f", files[0], "--nodes", files[1], "--target-version", target, "-o", "json")
    done = offline.run("kaitoctl", "check-nodes", *how)
    found = json.loads(done.stdout)
    assert done.returncode == (1 if key else 0), done.stdout
    assert found["enough"] is not bool(key)
    assert {name for name in ("refusal", "unsized") if name in found} == ({key} if key else set())
    assert not key or preset in found[key] or "crashes" in found[key]


@pytest.mark.parametrize(("version", "is_said"), [("v1alpha1", True), ("v1beta1", False)])
def test_offline_the_release_of_an_old_api_version_is_said(
    offline: Shell, tmp_path: Path, version: str, is_said: bool
) -> None:
    """As `validate` says it: today's KAITO chooses otherwise."""
    asked = workspace(resource={"instanceType": A100}) | {"apiVersion": f"kaito.sh/{version}"}
    files = save(tmp_path / "w.json", [asked]), save(tmp_path / "n.json", [])
    check = ("check-nodes", "-f", files[0], "--nodes", files[1])
    words = "v1alpha1 is judged as KAITO v0.4"
    assert (words in offline.run("kaitoctl", *check).stderr) is is_said
    assert words not in offline.run("kaitoctl", *check, "--target-version", "v0.4").stderr


MODERN = {
    "metadata": {
        "name": "gpu-a",
        "labels": {
            "apps": "phi",
            "nvidia.com/gpu.count": "1",
            "nvidia.com/gpu.product": "NVIDIA-A100-80GB-PCIe",
            "nvidia.com/gpu.memory": "81920",
        },
    },
    "status": {
        "capacity": {"nvidia.com/gpu": "1"},
        "allocatable": {"nvidia.com/gpu": "1", "pods": "110"},
        "conditions": [{"type": "Ready", "status": "True"}],
    },
}


@pytest.mark.parametrize(
    ("preset", "by", "code"),
    [
        ("phi-4", "KAITO v0.12 would choose (byo)", 0),
        ("Phi-4", "KAITO v0.12 would choose (byo)", 0),
        ("microsoft/phi-4", "KAITO v0.12 would choose (byo)", 0),
        ("org/unheard-of", "KAITO v0.12 would choose (byo)", 1),
        ("llama-3.3-70b-instruct", "KAITO v0.12 would choose (byo)", 1),
        ("falcon-7b", "KAITO v0.4 would choose", 1),
    ],
)
def test_offline_a_preset_is_judged_by_a_release_that_has_it(
    offline: Shell, preset: str, by: str, code: int
) -> None:
    (offline.home / "nodes.json").write_text(json.dumps({"kind": "NodeList", "items": [MODERN]}))
    (offline.home / "pods.json").write_text(json.dumps({"kind": "PodList", "items": []}))
    lists = ["--nodes", "nodes.json", "--pods", "pods.json"]
    flags = ["--preset", preset, "--label", "apps=phi"]
    assert by in offline.kaitoctl("check-nodes", *flags, *lists, code=code).stdout
    made = {
        "apiVersion": "kaito.sh/v1alpha1" if preset == "falcon-7b" else "kaito.sh/v1beta1",
        "kind": "Workspace",
        "metadata": {"name": "w"},
        "resource": {"labelSelector": {"matchLabels": {"apps": "phi"}}},
        "inference": {"preset": {"name": preset}},
    }
    (offline.home / "w.json").write_text(json.dumps(made))
    assert by in offline.kaitoctl("check-nodes", "-f", "w.json", *lists, code=code).stdout


def test_a_preset_of_no_release_is_not_looked_for_on_nodes(offline: Shell) -> None:
    (offline.home / "nodes.json").write_text(json.dumps({"kind": "NodeList", "items": [MODERN]}))
    done = offline.kaitoctl("check-nodes", "--preset", "phi4", "--nodes", "nodes.json", code=2)
    assert "did you mean phi-4" in done.stderr
