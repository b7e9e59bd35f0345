"""Shapes in which KAITO's own controllers err, each tried on ours: the state of the cluster in the end.

`tests/test_upstream_findings.py` says which finding is shown where.
"""

from __future__ import annotations

import copy
import subprocess
from pathlib import Path

import pytest
from world import (
    NOW,
    WATCHED,
    Fault,
    World,
    big,
    falcon,
    gpu_node,
    is_ready,
    node_status,
    our_pod,
    prepared,
    writes,
)

from kaitoctl.kaito import api as kaito
from kaitoctl.kaito.desired import Settings
from kaitoctl.kaito.desired.children import COPY_DATA
from kaitoctl.kube import conditions, request
from kaitoctl.kube.conditions import condition, timestamp
from kaitoctl.kube.objects import (
    DEPLOYMENT,
    JOB,
    NODE,
    NODE_CLAIM,
    POD,
    SERVICE,
    STATEFUL_SET,
    Kind,
    Object,
    ObjectKey,
    dig,
    generation_of,
)
from kaitoctl.workspace_controller import WorkspaceReconciler

KINDS = (DEPLOYMENT, STATEFUL_SET, SERVICE, JOB, NODE_CLAIM)


def adapted(*adapters: Object, base: Object | None = None) -> Object:
    obj = copy.deepcopy(base or falcon())
    obj["inference"]["adapters"] = list(adapters)
    return obj


def adapter(name: str = "style", *secrets: str) -> Object:
    source: Object = {"name": name, "image": f"r.io/{name}:1"}
    if secrets:
        source["imagePullSecrets"] = list(secrets)
    return {"source": source, "strength": "0.5"}


def says(world: World, kind: str, name: str = "falcon") -> str:
    found = world.get(kaito.WORKSPACE, name)
    assert found is not None
    return str((conditions.find(found, kind) or {}).get("message"))


def the(world: World, kind: Kind, name: str = "falcon") -> Object:
    found = world.get(kind, name)
    assert found is not None, f"there is no {kind.kind} {name}"
    return found


# --- what is written is never taken for granted ------------------------------------------------------------


@pytest.mark.parametrize(
    ("adapters", "words"),
    [
        ([{"strength": "0.5"}], "no source"),
        ([{"source": {}, "strength": "0.5"}], "no name"),
        ([{**adapter(), "strength": "NaN"}], "strength"),
        ([adapter("UPPER")], "cannot name a container"),
        ([adapter("a" * 64)], "cannot name a container"),
        ([adapter("a.b")], "cannot name a container"),
        ([adapter("falcon")], "the Workspace's own name"),
        ([adapter(), adapter()], "another adapter"),
        ([{**adapter(), "source": {"name": "style", "image": "<YOUR_IMAGE>"}}], "image"),
    ],
)
def test_an_adapter_that_cannot_be_ends_in_a_condition(adapters: list[Object], words: str) -> None:
    world = World()
    world.apply(kaito.WORKSPACE, adapted(*adapters))
    world.settle()
    assert words in says(world, kaito.INFERENCE_READY)
    assert not any(world.list(kind) for kind in KINDS)


def test_an_adapter_without_strength_is_served_in_full() -> None:
    world = prepared()
    world.apply(kaito.WORKSPACE, adapted({"source": adapter()["source"]}))
    world.settle()
    main = the(world, DEPLOYMENT)["spec"]["template"]["spec"]["containers"][0]
    assert main["env"] == [{"name": "style", "value": "1.0"}]


@pytest.mark.parametrize("selector", [{}, {"matchLabels": {}}])
def test_a_selector_that_selects_everything_selects_nothing(selector: Object) -> None:
    world = prepared()
    world.apply(kaito.WORKSPACE, falcon(labelSelector=selector))
    world.settle()
    assert "no label selects the nodes" in says(world, kaito.WORKSPACE_SUCCEEDED)
    assert not any(world.list(kind) for kind in KINDS)


@pytest.mark.parametrize("adapters", [[], [adapter()]])
def test_what_no_runtime_serves_buys_no_node(adapters: list[Object]) -> None:
    world = World()
    obj = adapted(*adapters, base=falcon() if adapters else big())
    obj["metadata"]["annotations"] = {"kaito.sh/runtime": "vllm"}
    world.apply(kaito.WORKSPACE, obj)
    world.settle()
    assert "vLLM" in says(world, kaito.INFERENCE_READY)
    assert not any(world.list(kind) for kind in KINDS)


def test_small_nodes_do_not_add_up_for_a_model_that_cannot_spread() -> None:
    world = World()
    obj = falcon(instanceType="Standard_NV6", count=4)
    world.apply(kaito.WORKSPACE, obj)
    world.settle()
    assert "GiB of GPU memory" in says(world, kaito.WORKSPACE_SUCCEEDED)
    assert world.list(NODE_CLAIM) == []


def test_no_path_that_is_told_begins_where_the_users_file_does_not() -> None:
    world = World()
    obj = falcon(instanceType="Standard_NV6", labelSelector={})
    world.apply(kaito.WORKSPACE, obj)
    world.settle()
    told = says(world, kaito.WORKSPACE_SUCCEEDED).split("; ")
    assert [text.partition(".")[0] for text in told] == ["resource", "resource"]


def copy_adapter(data: Path, target: Path) -> subprocess.CompletedProcess[str]:
    """The init container's own command, with its image's /data somewhere else."""
    script = COPY_DATA.replace("/data", str(data))
    command = ["/bin/sh", "-c", script, "copy-adapter", str(target)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)


def test_dot_files_are_copied_and_an_image_without_files_says_so(tmp_path: Path) -> None:
    data = tmp_path / "an image's data"
    data.mkdir()
    empty = copy_adapter(Path("/nonexistent"), tmp_path / "none")
    assert empty.returncode != 0
    assert "no files in" in empty.stderr
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / ".config").write_text("x")
    done = copy_adapter(tmp_path / "plain", tmp_path / "$(touch pwned) target")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "$(touch pwned) target" / ".config").read_text() == "x"
    assert not Path("pwned").exists()


# --- nodes cost money --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "selector",
    [
        {"matchLabels": {"kaito.sh/workspace": "other"}},
        {"matchLabels": {"apps": "a", "karpenter.sh/nodepool": "mine"}},
        {"matchLabels": {"apps": "a", "kubernetes.io/os": "windows"}},
        {"matchLabels": {"node.kubernetes.io/instance-type": "another"}},
        {
            "matchLabels": {"apps": "a"},
            "matchExpressions": [{"key": "apps", "operator": "In", "values": ["b"]}],
        },
    ],
)
def test_no_node_is_bought_that_the_selector_could_never_match(selector: Object) -> None:
    world = World()
    world.apply(kaito.WORKSPACE, falcon(labelSelector=selector))
    world.settle()
    assert world.list(NODE_CLAIM) == []
    assert "no new node would match the label selector" in says(world, kaito.RESOURCE_READY)


@pytest.mark.parametrize(
    ("asking", "words"),
    [
        ({"gpus": "3"}, "Standard_NC12s_v3 has 2 GPUs, and each pod asks for 3"),
        ({"node_selector": {"node.kubernetes.io/instance-type": "another"}}, "the template's nodeSelector"),
        ({"node_selector": {"kubernetes.io/os": "windows"}}, "kubernetes.io/os would be linux"),
        ({"node_selector": {"apps": "b"}}, "apps would be falcon-7b"),
        ({"gpus": "2", "node_selector": {"apps": "falcon-7b", "zone": "1"}}, ""),
    ],
)
def test_no_node_is_bought_that_a_custom_pod_could_never_run_on(asking: Object, words: str) -> None:
    world = World()
    limits = {"nvidia.com/gpu": asking.get("gpus", "1")}
    container = {"name": "m", "image": "registry.example/m:1", "resources": {"limits": limits}}
    made = falcon()
    spec = {"containers": [container], "nodeSelector": asking.get("node_selector", {})}
    made["inference"] = {"template": {"spec": spec}}
    world.apply(kaito.WORKSPACE, made)
    world.reconcile()
    assert len(world.list(NODE_CLAIM)) == (not words)
    assert words in says(world, kaito.RESOURCE_READY)


@pytest.mark.parametrize("key", ["kaito.sh/workspace", "kubernetes.io/os"])
def test_a_reserved_label_that_new_nodes_have_anyway_selects_them(key: str) -> None:
    world = World()
    value = "falcon" if key == "kaito.sh/workspace" else "linux"
    world.apply(kaito.WORKSPACE, falcon(labelSelector={"matchLabels": {"apps": "a", key: value}}))
    world.settle()
    assert len(world.list(NODE_CLAIM)) == 1
    assert is_ready(world)


def test_a_claim_that_cannot_be_launched_buys_no_second_one() -> None:
    world = World()
    world.apply(kaito.WORKSPACE, falcon())
    world.reconcile()
    (claim,) = world.list(NODE_CLAIM)
    why = "all requested instance types were unavailable during launch"
    launched = condition("Launched", False, "InsufficientCapacity", why)
    launched["lastTransitionTime"] = timestamp(NOW)
    world.set_status(NODE_CLAIM, claim["metadata"]["name"], {"conditions": [launched]})
    for _ in range(5):
        world.reconcile()
    assert [item["metadata"]["name"] for item in world.list(NODE_CLAIM)] == [claim["metadata"]["name"]]
    assert why in says(world, kaito.WORKSPACE_SUCCEEDED)


def test_the_gpu_plugin_is_waited_for_and_the_node_is_left_as_it_is() -> None:
    world = World()
    world.apply(NODE, gpu_node("gpu-a", {"apps": "falcon-7b"}))
    status = node_status("0")
    world.set_status(NODE, "gpu-a", status)
    before = the(world, NODE, "gpu-a")
    world.apply(kaito.WORKSPACE, falcon(preferredNodes=["gpu-a"]))
    world.settle()
    assert world.list(DEPLOYMENT) == []
    assert "gpu-a" in says(world, kaito.RESOURCE_READY)
    assert the(world, NODE, "gpu-a") == before
    world.set_status(NODE, "gpu-a", node_status("2"))
    world.settle()
    assert is_ready(world)
    assert the(world, NODE, "gpu-a")["metadata"]["labels"] == before["metadata"]["labels"]


def test_a_full_or_tainted_node_is_not_taken_for_a_free_one() -> None:
    for spec in ({"unschedulable": True}, {"taints": [{"key": "x", "effect": "NoSchedule"}]}):
        world = prepared()
        world.do(request.merge_patch(NODE, "", "gpu-a", {"spec": spec}, manager="admin"))
        world.apply(kaito.WORKSPACE, falcon(preferredNodes=["gpu-a"]))
        world.settle()
        assert world.list(DEPLOYMENT) == []


# --- nobody waits ------------------------------------------------------------------------------------------


def test_a_model_that_is_not_ready_yet_costs_a_pass_and_no_waiting() -> None:
    world = prepared()
    world.apply(kaito.WORKSPACE, falcon())
    world.reconcile()
    before = len(world.requests)
    for _ in range(20):
        world.reconcile()
    assert not is_ready(world)
    assert len(world.requests) == before


def test_a_deleted_workspace_is_released_while_its_model_still_loads() -> None:
    world = World()
    world.apply(kaito.WORKSPACE, falcon())
    world.reconcile()
    world.do(request.delete(kaito.WORKSPACE, "default", "falcon"))
    world.reconcile()
    world.reconcile()
    assert world.get(kaito.WORKSPACE, "falcon") is None
    assert world.list(NODE_CLAIM) == []


def test_nothing_is_asked_for_twice_in_one_pass() -> None:
    world = prepared()
    world.apply(kaito.WORKSPACE, falcon())
    world.reconcile()
    asked = [(item.method, item.path) for item in world.requests if not item.path.endswith("/events")]
    assert len(asked) == len(set(asked))


# --- the truth ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["refused", "conflict", "unavailable"])
@pytest.mark.parametrize("kind", [DEPLOYMENT, SERVICE])
def test_an_update_that_fails_is_not_reported_as_done(kind: Kind, fault: Fault) -> None:
    world = prepared()
    world.apply(kaito.WORKSPACE, falcon())
    world.settle()
    obj = adapted(adapter())
    obj["metadata"]["annotations"] = {"kaito.sh/enablelb": "True"}
    world.apply(kaito.WORKSPACE, obj)
    ahead = len(world.requests)
    wanted = kind.path("default") + "/falcon"
    probe = copy.deepcopy(world)
    probe.reconcile()
    at = next(
        number
        for number, asked in enumerate(probe.requests)
        if number >= ahead and asked.is_write and asked.path == wanted
    )
    world.faults = {at: fault}
    reconciler = WorkspaceReconciler(world.stores(), Settings(), clock=lambda: NOW)
    outcome = world.drive(reconciler.reconcile(ObjectKey("default", "falcon")))
    assert outcome is None, "an error, for the work queue to try again"
    assert not is_ready(world)
    assert "injected fault" in says(world, kaito.INFERENCE_READY)
    world.faults = {}
    world.settle()
    assert is_ready(world)
    assert the(world, DEPLOYMENT)["spec"]["template"]["spec"]["initContainers"]
    assert the(world, SERVICE)["spec"]["type"] == "LoadBalancer"


def test_every_condition_is_of_the_generation_that_it_speaks_of() -> None:
    world = prepared()
    world.apply(kaito.WORKSPACE, falcon())
    world.settle()
    world.apply(kaito.WORKSPACE, adapted(adapter()))
    world.reconcile()
    workspace = the(world, kaito.WORKSPACE)
    assert {item["observedGeneration"] for item in workspace["status"]["conditions"]} == {2}
    assert not is_ready(world), "the pods are still being replaced"


def test_worker_nodes_are_those_of_the_pods_even_where_others_were_chosen() -> None:
    world = prepared()
    world.apply(NODE, gpu_node("gpu-b", {"apps": "falcon-7b"}))
    world.set_status(NODE, "gpu-b", node_status("2"))
    world.apply(kaito.WORKSPACE, falcon())
    world.settle()
    assert the(world, kaito.WORKSPACE)["status"]["workerNodes"] == ["gpu-a"]
    world.apply(POD, our_pod("gpu-b"))
    world.settle()
    assert the(world, kaito.WORKSPACE)["status"]["workerNodes"] == ["gpu-b"]


# --- created and updated are the same ----------------------------------------------------------------------


def pod_of(world: World, kind: Kind) -> Object:
    template: Object = the(world, kind)["spec"]["template"]
    return template


@pytest.mark.parametrize("base", [falcon(), big()])
def test_an_adapter_added_later_makes_the_same_pods_as_one_from_the_start(base: Object) -> None:
    kind = DEPLOYMENT if base["inference"]["preset"]["name"] == "falcon-7b" else STATEFUL_SET
    later, at_once = World(), World()
    later.apply(kaito.WORKSPACE, base)
    later.settle()
    for world in (later, at_once):
        world.apply(kaito.WORKSPACE, adapted(adapter("style", "pull-style"), adapter("tone"), base=base))
        world.settle()
    assert pod_of(later, kind) == pod_of(at_once, kind)
    spec = pod_of(later, kind)["spec"]
    assert spec["imagePullSecrets"] == [{"name": "pull-style"}]
    assert {"name": "dshm", "emptyDir": {"medium": "Memory"}} in spec["volumes"]
    assert [item["name"] for item in spec["initContainers"]] == ["style", "tone"]


def test_what_others_add_to_the_pods_survives_a_change_of_adapters() -> None:
    world = prepared()
    world.apply(kaito.WORKSPACE, adapted(adapter("style")))
    world.settle()
    volume = {"name": "extra", "configMap": {"name": "settings"}}
    main = {
        "name": "falcon",
        "env": [{"name": "EXTRA", "value": "1"}],
        "volumeMounts": [{"name": "extra", "mountPath": "/extra"}],
    }
    metadata = {"name": "falcon", "namespace": "default"}
    theirs = {"template": {"spec": {"containers": [main], "volumes": [volume]}}}
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": theirs}
    world.do(request.apply(DEPLOYMENT, body, manager="somebody"))
    world.apply(kaito.WORKSPACE, adapted(adapter("tone")))
    world.settle()
    spec = pod_of(world, DEPLOYMENT)["spec"]
    assert [item["name"] for item in spec["initContainers"]] == ["tone"]
    assert {item["name"] for item in spec["containers"][0]["env"]} == {"EXTRA", "tone"}
    assert {item["name"] for item in spec["volumes"]} == {"dshm", "adapter-volume", "extra"}
    assert {item["mountPath"] for item in spec["containers"][0]["volumeMounts"]} >= {"/extra", "/mnt/adapter"}


def test_the_load_balancer_comes_and_goes_with_its_annotation_and_opens_one_port() -> None:
    world = prepared()
    world.apply(kaito.WORKSPACE, falcon())
    world.settle()
    balanced = falcon()
    balanced["metadata"]["annotations"] = {"kaito.sh/enablelb": "True"}
    world.apply(kaito.WORKSPACE, balanced)
    world.settle()
    spec = the(world, SERVICE)["spec"]
    assert (spec["type"], [port["port"] for port in spec["ports"]]) == ("LoadBalancer", [80])
    assert not spec.get("publishNotReadyAddresses")
    world.apply(kaito.WORKSPACE, falcon())
    world.settle()
    assert the(world, SERVICE)["spec"]["type"] == "ClusterIP"


@pytest.mark.parametrize("name", ["falcon", "falcon-headless"])
def test_a_deleted_service_comes_back(name: str) -> None:
    world = World()
    world.apply(kaito.WORKSPACE, big())
    world.settle()
    world.do(request.delete(SERVICE, "default", name))
    world.settle()
    assert the(world, SERVICE, name)["spec"]["selector"]["kaito.sh/workspace"] == "falcon"


def test_a_stateful_set_that_drifts_is_put_back() -> None:
    world = World()
    world.apply(kaito.WORKSPACE, big())
    world.settle()
    patch = {"spec": {"replicas": 7}}
    world.do(request.merge_patch(STATEFUL_SET, "default", "falcon", patch, manager="somebody"))
    world.settle()
    assert the(world, STATEFUL_SET)["spec"]["replicas"] == 2


@pytest.mark.parametrize("fault", ["crash-before", "crash-after", "conflict", "unavailable"])
def test_no_fault_on_the_way_leaves_a_distributed_model_without_one_of_its_parts(fault: Fault) -> None:
    reference = World()
    reference.apply(kaito.WORKSPACE, big())
    reference.settle()
    for at in range(len(reference.requests)):
        world = World()
        world.faults = {at: fault}
        world.apply(kaito.WORKSPACE, big())
        world.settle()
        world.settle()  # the next process looks at everything again
        assert is_ready(world), f"fault at {at}"
        names = [item["metadata"]["name"] for item in world.list(SERVICE)]
        assert names == ["falcon", "falcon-headless"], f"fault at {at}"
        assert len(world.list(NODE_CLAIM)) == 2, f"fault at {at}"


# --- what belongs to others --------------------------------------------------------------------------------


def foreign(kind: Kind, name: str = "falcon") -> Object:
    spec: Object = {
        "replicas": 1,
        "selector": {"matchLabels": {"app": "x"}},
        "template": {
            "metadata": {"labels": {"app": "x"}},
            "spec": {"containers": [{"name": "x", "image": "x:1"}]},
        },
    }
    if kind is STATEFUL_SET:
        spec["serviceName"] = "x"
    if kind is SERVICE:
        spec = {"selector": {"app": "x"}, "ports": [{"port": 1}]}
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, "spec": spec}


@pytest.mark.parametrize(
    ("obj", "kind", "name"),
    [
        (falcon(), DEPLOYMENT, "falcon"),
        (falcon(), SERVICE, "falcon"),
        (falcon(), STATEFUL_SET, "falcon"),
        (big(), STATEFUL_SET, "falcon"),
        (big(), SERVICE, "falcon"),
        (big(), SERVICE, "falcon-headless"),
        (big(), DEPLOYMENT, "falcon"),
    ],
)
def test_somebody_elses_object_is_the_same_before_and_after_a_whole_life(
    obj: Object, kind: Kind, name: str
) -> None:
    world = prepared()
    world.apply(kind, foreign(kind, name))
    theirs = the(world, kind, name)["spec"]
    for spec in (obj, adapted(adapter(), base=obj)):
        world.apply(kaito.WORKSPACE, spec)
        for _ in range(4):
            world.reconcile()
            assert the(world, kind, name)["spec"] == theirs
    world.do(request.delete(kaito.WORKSPACE, "default", "falcon"))
    for _ in range(4):
        world.reconcile()
    assert world.get(kaito.WORKSPACE, "falcon") is None
    assert the(world, kind, name)["spec"] == theirs


def test_a_workspace_called_like_the_headless_service_of_another_takes_nothing_from_it() -> None:
    world = prepared()
    world.apply(kaito.WORKSPACE, big())
    world.settle()
    before = the(world, SERVICE, "falcon-headless")
    second = falcon()
    second["metadata"]["name"] = "falcon-headless"
    world.apply(kaito.WORKSPACE, second)
    for _ in range(3):
        world.reconcile("falcon-headless")
        world.reconcile()
    assert the(world, SERVICE, "falcon-headless") == before
    assert "is not this Workspace's" in says(world, kaito.INFERENCE_READY, "falcon-headless")
    assert is_ready(world)


def test_a_workspace_that_is_going_away_gets_no_finalizer() -> None:
    world = World()
    obj = falcon()
    obj["metadata"]["finalizers"] = ["example.com/other"]
    world.apply(kaito.WORKSPACE, obj)
    world.do(request.delete(kaito.WORKSPACE, "default", "falcon"))
    world.settle()
    assert writes(world) == []
    assert the(world, kaito.WORKSPACE)["metadata"]["finalizers"] == ["example.com/other"]


def test_an_annotation_that_a_user_sets_meanwhile_is_kept() -> None:
    world = World()
    world.apply(kaito.WORKSPACE, falcon())
    old = {kind: world.list(kind) for kind in WATCHED}
    patch = {"metadata": {"annotations": {"team": "a"}}}
    world.do(request.merge_patch(kaito.WORKSPACE, "default", "falcon", patch, manager="somebody"))
    world.frozen = old
    world.reconcile()
    world.frozen = None
    world.settle()
    workspace = the(world, kaito.WORKSPACE)
    assert workspace["metadata"]["annotations"] == {"team": "a"}
    assert generation_of(workspace) == 1
    touched = [
        asked for asked in world.requests if asked.is_write and asked.path.endswith("workspaces/falcon")
    ]
    assert all(
        set(dig(asked.body, "metadata") or {}) <= {"uid", "resourceVersion", "finalizers"}
        for asked in touched
    )
