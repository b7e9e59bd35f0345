"""`--target-version` and `--node-provisioner` say what a command would else ask the cluster."""

from __future__ import annotations

import json
from typing import Any

import pytest
from shell import Shell

A100 = "Standard_NC24ads_A100_v4"
V12 = ("--target-version", "v0.12")


def manifest(shell: Shell, namespace: str, *, of_own: bool = False) -> str:
    """A file with a Workspace that no node of the cluster fits, with or without an instance type."""
    resource: dict[str, Any] = {
        "labelSelector": {"matchLabels": {"apps": namespace[-40:].strip("-") + "-none"}}
    }
    made = {
        "apiVersion": "kaito.sh/v1beta1",
        "kind": "Workspace",
        "metadata": {"name": "w", "namespace": namespace},
        "resource": resource if of_own else {**resource, "instanceType": A100},
        "inference": {"preset": {"name": "phi-4"}},
    }
    file = shell.home / f"{namespace}-{of_own}.json"
    file.write_text(json.dumps(made))
    return str(file)


def here(shell: Shell) -> dict[str, Any]:
    """By its kubeconfig a sandbox is any cluster: KAITO may manage it."""
    return {"KUBECONFIG": shell.kubeconfig, "KAITOCTL_SANDBOX": ""}


@pytest.mark.parametrize(
    ("said", "asked", "waits"),
    [
        ((*V12, "--node-provisioner", "azure-gpu-provisioner"), 1, ""),
        (("--target-version", "kaitoctl"), 1, ""),
        (("--target-version", "kaitoctl", "--node-provisioner", "azure-gpu-provisioner"), 1, ""),
        # These clusters do not serve NodePools, by which nodes are asked for.
        ((*V12, "--node-provisioner", "karpenter"), 0, "1 more node: this cluster has no NodePool API"),
        (("--target-version", "kaitoctl", "--node-provisioner", "karpenter"), 0, "1 more node"),
        (("--target-version", "kaitoctl", "--node-provisioner", "byo"), 0, "1 more node"),
    ],
)
def test_a_plan_counts_the_nodes_that_the_provisioner_makes(
    shell: Shell, namespace: str, said: tuple[str, ...], asked: int, waits: str
) -> None:
    file = manifest(shell, namespace, of_own=V12[1] in said and "byo" in said)
    done = shell.kaitoctl("plan", "-f", file, *said, "-o", "json", code=1, **here(shell))
    (change,) = json.loads(done.stdout)["changes"]
    assert change["nodesAsked"] == asked, change
    assert waits in (change["waitsFor"] or ""), change
    if not waits:
        assert not change["waitsFor"], change


def own_node(name: str, label: str, product: str) -> dict[str, Any]:
    labels = {"apps": label, "nvidia.com/gpu.product": product}
    sizes = {"nvidia.com/gpu.count": "1", "nvidia.com/gpu.memory": "81920"}
    metadata = {"name": name, "labels": {**labels, **sizes}}
    return {"apiVersion": "v1", "kind": "Node", "metadata": metadata}


def test_a_plan_refuses_nodes_of_ones_own_as_kaitos_webhook_does(shell: Shell, namespace: str) -> None:
    file, byo = manifest(shell, namespace, of_own=True), (*V12, "--node-provisioner", "byo")
    label = json.loads((shell.home / file).read_text())["resource"]["labelSelector"]["matchLabels"]["apps"]
    names = [f"{namespace}-{number}" for number in range(2)]
    plan = ("plan", "-f", file, *byo)
    try:
        assert "no node carries all labels" in shell.kaitoctl(*plan, code=2, **here(shell)).stdout
        for name, product in zip(names, ("NVIDIA-A100", "NVIDIA-L40S"), strict=True):
            (shell.home / "node.json").write_text(json.dumps(own_node(name, label, product)))
            shell.kubectl("apply", "-f", str(shell.home / "node.json"))
        assert "differ in product" in " ".join(shell.kaitoctl(*plan, code=2, **here(shell)).stdout.split())
        shell.kubectl("delete", "node", names[1])
        assert "1 created" in shell.kaitoctl(*plan, code=1, **here(shell)).stdout
    finally:
        shell.kubectl("delete", "node", *names, "--ignore-not-found")


def test_who_creates_is_refused_what_a_plan_is(shell: Shell, namespace: str) -> None:
    """KAITO's webhook looks at nodes that are the user's own: `create` wrote what `plan` refuses."""
    byo = (*V12, "--node-provisioner", "byo", "-n", namespace, "--yes", "--no-wait")
    for what in ("workspace", "inference-set"):
        done = shell.kaitoctl("create", what, "w", "--preset", "phi-4", *byo, code=2, **here(shell))
        assert "no node carries all labels" in done.stderr
    assert not shell.names("workspaces", "-n", namespace) and not shell.names(
        "inferencesets", "-n", namespace
    )


def test_a_workspace_that_no_node_of_ones_own_fits_is_explained(shell: Shell, namespace: str) -> None:
    """KAITO makes no nodes there: it would wait for ever, and `why` said that nothing blocks it."""
    byo = (*V12, "--node-provisioner", "byo")
    own = json.loads((shell.home / manifest(shell, namespace, of_own=True)).read_text())
    label = own["resource"]["labelSelector"]["matchLabels"]["apps"]
    name = f"{namespace[-40:].strip('-')}-bare"
    shell.apply({**own, "metadata": {**own["metadata"], "finalizers": ["workspace.finalizer.kaito.sh"]}})
    waits = {"type": "NodesReady", "status": "False", "reason": "NodeNotReady", "message": "not ready"}
    patch = {"status": {"conditions": [{**waits, "lastTransitionTime": "2026-01-01T00:00:00Z"}]}}
    shell.kubectl(
        *("patch", "workspace", "w", "-n", namespace, "--subresource=status", "--type=merge"),
        *("-p", json.dumps(patch)),
    )
    try:
        why = ("why", "w", "-n", namespace, *byo, "-o", "json")
        found = json.loads(shell.kaitoctl(*why, code=1, **here(shell)).stdout)
        causes = [found["cause"], *found["others"]]
        assert "no-node-provisioner" in [cause["code"] for cause in causes], causes
        said = shell.kaitoctl("check-nodes", "w", "-n", namespace, *byo, code=1, **here(shell)).stdout
        assert "preferredNodes" not in said
        shell.add_node(name, A100)
        # Nodes with GPUs that lack the label are shown, with the command that sets it.
        said = shell.kaitoctl("check-nodes", "w", "-n", namespace, *byo, code=1, **here(shell)).stdout
        assert f"kubectl label node {name} apps={label}" in " ".join(said.split())
        assert "preferredNodes" not in said
    finally:
        shell.kubectl("delete", "node", name, "--ignore-not-found")
        done = json.dumps({"metadata": {"finalizers": None}})
        shell.kubectl("patch", "workspace", "w", "-n", namespace, "--type=merge", "-p", done)


def test_all_look_into_the_config_map_as_kaitos_webhook_does(shell: Shell, namespace: str) -> None:
    """Whether it is of the file or of the cluster; its context counts for the nodes, too."""
    preset, machine = "deepseek-r1-distill-llama-8b", "Standard_NV36ads_A10_v5"

    def config(tokens: int) -> dict[str, Any]:
        text = f"vllm:\n  max-model-len: {tokens}\n"
        data = {"inference_config.yaml": text}
        metadata = {"name": "cfg", "namespace": namespace}
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}

    own = json.loads((shell.home / manifest(shell, namespace)).read_text())
    own["resource"]["instanceType"] = machine
    own["inference"] = {"preset": {"name": preset}, "config": "cfg"}

    def file(*objects: dict[str, Any]) -> str:
        path = shell.home / f"{namespace}.json"
        path.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
        return str(path)

    def refusals(is_new: bool) -> dict[str, str]:
        create = ("--preset", preset, "--instance-type", machine, "--set", "config=cfg", "-n", namespace)
        how = ("--yes", "--no-wait", *V12)
        asked: dict[str, tuple[str, ...]] = {
            "plan": ("plan", "-f", path, *V12),
            "apply": ("apply", "-f", path, "--yes", *V12),
        }
        if not is_new:
            asked["create"] = ("create", "workspace", "w", *create, *how)
            asked["set"] = ("create", "inference-set", "w", *create, *how)
        found = {who: shell.kaitoctl(*words, code=2, **here(shell)) for who, words in asked.items()}
        return {who: " ".join((done.stdout + done.stderr).split()) for who, done in found.items()}

    path = file(own)
    for text in refusals(is_new=False).values():
        assert f"there is no ConfigMap {namespace}/cfg" in text
    path = file(config(999_999), own)
    for text in refusals(is_new=True).values():
        assert "max-model-len 999999 is more than" in text
    assert "cfg" not in str(shell.names("configmaps", "-n", namespace)), (
        "nothing of what is refused is written"
    )
    shell.apply(config(999_999))
    path = file(own)
    for text in refusals(is_new=False).values():
        assert "max-model-len 999999 is more than" in text
    # What the file brings counts before what the cluster has, in a diff as in a plan.
    for tokens, nodes in ((2048, 1), (32768, 2)):
        path = file(config(tokens), own)
        done = shell.kaitoctl("diff", "-f", path, "--kaito-version", "v0.12", code=1, **here(shell))
        assert f"0 of {nodes} required nodes usable" in " ".join(done.stderr.split())


def test_the_instance_type_is_refused_where_nodes_are_ones_own(shell: Shell, namespace: str) -> None:
    file, byo = manifest(shell, namespace), (*V12, "--node-provisioner", "byo")
    refused = shell.kaitoctl("plan", "-f", file, *byo, code=2, **here(shell))
    assert "instanceType" in refused.stdout
    create = ("create", "workspace", "w", "--preset", "phi-4", "--instance-type", A100, "-n", namespace)
    for how in (("--dry-run=server",), ("--dry-run=client",)):
        done = shell.kaitoctl(*create, "--api-version", "v1beta1", *how, *byo, code=2, **here(shell))
        assert "resource.instanceType" in done.stderr, how
        shell.kaitoctl(*create, "--api-version", "v1beta1", *how, *V12, **here(shell))


def test_a_named_release_chooses_the_version_that_is_written(offline: Shell) -> None:
    create = ("create", "workspace", "w", "--preset", "phi-3-mini-4k-instruct", "--instance-type", A100)
    for release, version in (
        ("v0.3", "v1alpha1"),
        ("v0.4", "v1alpha1"),
        ("v0.12", "v1beta1"),
        ("v0.9", "v1beta1"),
    ):
        said = ("--target-version", release)
        made = json.loads(offline.kaitoctl(*create, *said, "--dry-run=client", "-o", "json").stdout)
        assert made["apiVersion"] == f"kaito.sh/{version}", release


@pytest.mark.parametrize(
    "command",
    [
        ("create", "workspace", "w", "--preset", "phi-4"),
        ("create", "inference-set", "w", "--preset", "phi-4"),
        ("add-adapter", "w", "--name", "a", "--image", "r/a:1"),
        ("set-adapter", "w", "--name", "a", "--strength", "0.5"),
        ("remove-adapter", "w", "--name", "a"),
        ("apply", "-f", "-"),
        ("plan", "-f", "-"),
        ("edit", "w"),
        ("scale", "w", "--count", "2"),
        ("restart", "w"),
        ("rollout", "undo", "w"),
        ("rollout", "status", "w"),
        ("why", "w"),
        ("status", "w"),
        ("status", "w", "-w"),
        ("check-nodes", "w"),
    ],
    ids=" ".join,
)
def test_every_command_that_judges_takes_both(offline: Shell, command: tuple[str, ...]) -> None:
    for said in (("--target-version", "v99.x"), ("--node-provisioner", "mine")):
        done = offline.kaitoctl(*command, *said, code=2)
        assert said[0] in done.stderr and said[1] in done.stderr, (command, done.stderr)


@pytest.mark.parametrize("command", [("endpoint", "w"), ("chat", "w", "hello")], ids=" ".join)
def test_a_release_says_how_a_server_is_spoken_to(offline: Shell, command: tuple[str, ...]) -> None:
    done = offline.kaitoctl(*command, "--target-version", "v99.x", code=2)
    assert "--target-version" in done.stderr and "v99.x" in done.stderr
    # Who brings nodes changes no answer of theirs.
    assert "--node-provisioner" in offline.kaitoctl(*command, "--node-provisioner", "byo", code=2).stderr


def test_a_list_is_judged_by_nobody(offline: Shell) -> None:
    for which in ((), ("-w",), ("w", "v")):
        done = offline.kaitoctl("status", *which, *V12, code=2)
        assert "judge one Workspace" in done.stderr, which


def test_another_release_is_judged_by_the_nearest_one_and_that_is_said(shell: Shell, namespace: str) -> None:
    file = manifest(shell, namespace)
    done = shell.kaitoctl("plan", "-f", file, "--target-version", "v0.10.0", code=1, **here(shell))
    assert "v0.10.0: judged as KAITO v0.9.4" in done.stderr
