"""The guide's examples from the command line to Ready and away again, with kubectl as the second witness."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import yaml
from shell import Shell

FALCON = ["--preset", "falcon-7b", "--instance-type", "Standard_NC12s_v3"]
Wait = Callable[[Callable[[], object]], None]


def main_container(deployment: Any) -> Any:
    return deployment["spec"]["template"]["spec"]["containers"][0]


def create(shell: Shell, namespace: str, name: str, *more: str, code: int = 0) -> tuple[str, str]:
    command = ("create", "workspace", name, *more, "-n", namespace, "--timeout", "90s", "--yes")
    done = shell.kaitoctl(*command, code=code)
    return done.stdout, done.stderr


def test_falcon_7b_from_nothing_to_ready_and_away_again(
    shell: Shell, namespace: str, wait_until: Wait
) -> None:
    """The guide's first example: no node is there, so one is asked for, joins, and serves the model."""
    stdout, stderr = create(shell, namespace, "falcon", *FALCON, "--label", "apps=falcon-7b")
    assert stdout.startswith("workspace.kaito.sh/falcon created\n")
    assert f"endpoint: http://falcon.{namespace}.svc:80/chat" in stdout
    assert "ready: 1 of 1 pods serve" in stderr
    if "KAITOCTL_SANDBOX" in shell.cluster:  # elsewhere a node or a pod may be there before anybody looks
        assert "preparing nodes" in stderr
        assert "loading model" in stderr

    ws = shell.get("workspace", "falcon", "-n", namespace)
    conditions = {item["type"]: (item["status"], item["reason"]) for item in ws["status"]["conditions"]}
    assert conditions == {
        "NodeClaimReady": ("True", "installNodePluginsSuccess"),
        "ResourceReady": ("True", "workspaceResourceStatusSuccess"),
        "InferenceReady": ("True", "WorkspaceInferenceStatusSuccess"),
        "WorkspaceSucceeded": ("True", "workspaceSucceeded"),
    }
    assert {item["observedGeneration"] for item in ws["status"]["conditions"]} == {
        ws["metadata"]["generation"]
    }

    (claim,) = shell.get("nodeclaims", "-l", f"kaito.sh/workspacenamespace={namespace}")["items"]
    requirements = {item["key"]: item["values"] for item in claim["spec"]["requirements"]}
    assert requirements["node.kubernetes.io/instance-type"] == ["Standard_NC12s_v3"]
    assert claim["spec"]["taints"] == [{"key": "sku", "value": "gpu", "effect": "NoSchedule"}]
    node = claim["status"]["nodeName"]
    assert ws["status"]["workerNodes"] == [node]
    assert shell.get("node", node)["status"]["allocatable"]["nvidia.com/gpu"] == "2"

    deployment = shell.get("deployment", "falcon", "-n", namespace)
    assert main_container(deployment)["image"] == "mcr.microsoft.com/aks/kaito/kaito-falcon-7b:0.0.7"
    assert deployment["metadata"]["ownerReferences"][0]["uid"] == ws["metadata"]["uid"]
    service = shell.get("service", "falcon", "-n", namespace)
    assert service["spec"]["type"] == "ClusterIP"
    assert service["spec"]["selector"] == {"kaito.sh/workspace": "falcon"}

    shell.kubectl("delete", "workspace", "falcon", "-n", namespace)
    wait_until(lambda: not shell.names("deployments,services,pods,replicasets", "-n", namespace))
    wait_until(lambda: node not in str(shell.names("nodes")))
    wait_until(lambda: not shell.names("nodeclaims", "-l", f"kaito.sh/workspacenamespace={namespace}"))


def test_an_adapter_is_copied_by_an_init_container_and_merged_at_its_strength(
    shell: Shell, namespace: str
) -> None:
    """The guide's third example, and then a changed adapter: the pod is made anew."""
    label = ("--label", "apps=adapters")
    adapter = "falcon-7b-adapter=registry.example/adapter:1,strength=0.2"
    create(shell, namespace, "falcon", *FALCON, *label, "--adapter", adapter)
    (pod,) = shell.get("pods", "-n", namespace, "-l", "kaito.sh/workspace=falcon")["items"]
    (init,) = pod["spec"]["initContainers"]
    assert (init["name"], init["image"]) == ("falcon-7b-adapter", "registry.example/adapter:1")
    main = pod["spec"]["containers"][0]
    assert {"name": "falcon-7b-adapter", "value": "0.2"} in main["env"]
    shared = {"name": "adapter-volume", "mountPath": "/mnt/adapter"}
    assert shared in main["volumeMounts"] and shared in init["volumeMounts"]
    assert {"name": "adapter-volume", "emptyDir": {}} in pod["spec"]["volumes"]
    assert pod["status"]["initContainerStatuses"][0]["state"]["terminated"]["exitCode"] == 0

    changed = adapter.replace("0.2", "0.5")
    stdout, _ = create(shell, namespace, "falcon", *FALCON, *label, "--adapter", changed, "--yes")
    assert "workspace.kaito.sh/falcon configured" in stdout
    pods = shell.get("pods", "-n", namespace, "-l", "kaito.sh/workspace=falcon")["items"]
    (now,) = [item for item in pods if "deletionTimestamp" not in item["metadata"]]
    assert now["metadata"]["name"] != pod["metadata"]["name"]
    assert {"name": "falcon-7b-adapter", "value": "0.5"} in now["spec"]["containers"][0]["env"]


def test_a_prepared_node_is_used_and_nothing_is_bought(shell: Shell, namespace: str) -> None:
    """The guide's second example: preferredNodes with matching labels and allocatable GPUs."""
    shell.add_node("prepared", "Standard_NC6s_v3", apps="own")
    label = ("--preset", "falcon-7b", "--label", "apps=own")
    _, stderr = create(shell, namespace, "own", *label, "--preferred-node", "prepared")
    assert "preferred nodes can be used: prepared" in stderr
    assert shell.get("workspace", "own", "-n", namespace)["status"]["workerNodes"] == ["prepared"]
    assert not shell.names("nodeclaims", "-l", f"kaito.sh/workspacenamespace={namespace}")
    deployment = shell.get("deployment", "own", "-n", namespace)
    assert main_container(deployment)["resources"]["limits"] == {"nvidia.com/gpu": "1"}
    shell.delete_node("prepared")


def test_an_unlabelled_preferred_node_is_refused_with_the_command_that_mends_it(
    shell: Shell, namespace: str
) -> None:
    shell.add_node("bare", "Standard_NC6s_v3")
    arguments = ("--preset", "falcon-7b", "--label", "apps=bare", "--preferred-node", "bare")
    stdout, stderr = create(shell, namespace, "w", *arguments, code=1)
    assert stdout == ""
    assert " label node bare apps=bare" in stderr  # after the options that lead to this cluster
    assert not shell.names("workspaces", "-n", namespace)

    done = shell.kaitoctl(
        *("create", "workspace", "w", *arguments, "-n", namespace, "--skip-node-check"),
        *("--timeout", "60s", "--yes"),
        code=1,
    )
    assert "bare: label apps=bare is missing" in done.stderr
    assert not shell.names("nodeclaims", "-l", f"kaito.sh/workspacenamespace={namespace}")
    shell.delete_node("bare")


def test_a_model_that_spreads_over_nodes_is_a_stateful_set_of_one_pod_a_node(
    shell: Shell, namespace: str, wait_until: Wait
) -> None:
    model = ("--preset", "llama-2-13b", "--private-image", "registry.example/llama-2-13b:1")
    nodes = ("--instance-type", "Standard_NC12s_v3", "--count", "2", "--label", f"apps={namespace[-60:]}")
    _, stderr = create(shell, namespace, "llama", *model, *nodes)
    assert "ready: 2 of 2 pods serve" in stderr
    pods = shell.get("pods", "-n", namespace)["items"]
    assert {pod["metadata"]["name"] for pod in pods} == {"llama-0", "llama-1"}
    serving = {pod["spec"]["nodeName"] for pod in pods}
    assert len(serving) == 2
    found = shell.get("workspace", "llama", "-n", namespace)
    assert set(found["status"]["workerNodes"]) == serving
    assert not shell.names("deployments", "-n", namespace)
    headless = shell.get("service", "llama-headless", "-n", namespace)
    assert headless["spec"]["clusterIP"] == "None"

    shell.kubectl("delete", "workspace", "llama", "-n", namespace)
    wait_until(lambda: not shell.names("statefulsets,services,pods", "-n", namespace))
    wait_until(lambda: not serving & {name.partition("/")[2] for name in shell.names("nodes")})


def test_applying_the_same_twice_changes_nothing(shell: Shell, namespace: str) -> None:
    create(shell, namespace, "w", *FALCON, "--no-wait")
    stdout, _ = create(shell, namespace, "w", *FALCON, "--no-wait")
    assert stdout == "workspace.kaito.sh/w unchanged\n"


def test_a_server_dry_run_writes_nothing(shell: Shell, namespace: str) -> None:
    stdout, _ = create(shell, namespace, "w", *FALCON, "--dry-run=server", "-o", "yaml")
    assert yaml.safe_load(stdout)["resource"]["count"] == 1
    assert not shell.names("workspaces", "-n", namespace)


def test_what_drifts_is_put_back(shell: Shell, namespace: str, wait_until: Wait) -> None:
    create(shell, namespace, "w", *FALCON, "--label", "apps=drift")
    patch = '{"spec":{"template":{"spec":{"containers":[{"name":"w","image":"evil:1"}]}}}}'
    shell.kubectl("patch", "deployment", "w", "-n", namespace, "-p", patch)
    shell.kubectl("scale", "deployment", "w", "-n", namespace, "--replicas=3")

    def put_back() -> bool:
        deployment = shell.get("deployment", "w", "-n", namespace)
        image = str(main_container(deployment)["image"])
        return bool(deployment["spec"]["replicas"] == 1) and image.endswith("kaito-falcon-7b:0.0.7")

    wait_until(put_back)
    shell.kubectl("delete", "service", "w", "-n", namespace)
    wait_until(lambda: shell.names("services", "-n", namespace))


def test_a_foreign_object_of_the_same_name_is_left_alone_and_reported(
    shell: Shell, namespace: str, wait_until: Wait
) -> None:
    labels = {"app": "nginx"}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "nginx", "image": "nginx:1"}]}}
    shell.apply(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "w", "namespace": namespace},
            "spec": {"selector": {"matchLabels": labels}, "template": pod},
        }
    )
    before = shell.get("deployment", "w", "-n", namespace)["spec"]
    _, stderr = create(shell, namespace, "w", *FALCON, "--label", "apps=foreign", code=1)
    assert f"Deployment {namespace}/w exists and is not this Workspace's" in stderr
    assert shell.get("deployment", "w", "-n", namespace)["spec"] == before
    assert not shell.names("services", "-n", namespace)

    shell.kubectl("delete", "deployment", "w", "-n", namespace)
    wait_until(lambda: shell.names("services", "-n", namespace))


def test_a_failed_pull_ends_the_rollout_with_the_containers_name(shell: Shell, namespace: str) -> None:
    adapter = "style=registry.example/does-not-exist:1,strength=1.0"
    _, stderr = create(shell, namespace, "w", *FALCON, "--label", "apps=pull", "--adapter", adapter, code=1)
    assert "container style" in stderr
    assert "ImagePullBackOff" in stderr


def test_a_rollout_that_takes_too_long_is_a_timeout_and_goes_on(shell: Shell, namespace: str) -> None:
    done = shell.kaitoctl(
        *("create", "workspace", "w", *FALCON, "-n", namespace, "--timeout", "0.05s", "--yes"), code=124
    )
    assert "nothing was undone" in done.stderr
    assert shell.names("workspaces", "-n", namespace) == ["workspace.kaito.sh/w"]


def test_a_model_of_today_with_an_adapter_is_ready_on_vllm(shell: Shell, namespace: str) -> None:
    a100 = ["--instance-type", "Standard_NC24ads_A100_v4", "--label", "apps=phi"]
    adapter = ["--adapter", "style=registry.example/style:1"]
    stdout, stderr = create(shell, namespace, "phi", "--preset", "phi-4-mini-instruct", *a100, *adapter)
    assert f"endpoint: http://phi.{namespace}.svc:80/v1/chat/completions" in stdout
    last = stderr.splitlines()[-1]
    if "could not query the model server: " not in last and "pods are simulated" not in last:
        assert "kaitoctl chat" in last and f"phi -n {namespace}" in last
    ws = shell.get("workspace", "phi", "-n", namespace)
    assert "kaito.sh/runtime" not in ws["metadata"].get("annotations", {})
    assert "strength" not in ws["inference"]["adapters"][0]
    server = shell.get("statefulset", "phi", "-n", namespace)
    assert " --enable-lora " in main_container(server)["command"][2]
