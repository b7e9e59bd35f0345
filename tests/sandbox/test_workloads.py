"""A whole sandbox over real HTTP in virtual time: what its controllers make of what a user writes.

Times in here are simulated seconds where they say so; nothing waits for the wall.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from virtual_time import run

from kaitoctl.errors import ApiError
from kaitoctl.kube import conditions, request
from kaitoctl.kube.client import Client, connect
from kaitoctl.kube.objects import (
    CRD,
    DEPLOYMENT,
    ENDPOINT_SLICE,
    ENDPOINTS,
    EVENT,
    JOB,
    NODE,
    NODE_CLAIM,
    PERSISTENT_VOLUME_CLAIM,
    POD,
    REPLICA_SET,
    SERVICE,
    STATEFUL_SET,
    Kind,
    Object,
    dig,
    labels_of,
)
from kaitoctl.kube.request import Request
from kaitoctl.sandbox import nodes
from kaitoctl.sandbox.cluster import Cluster, cluster
from kaitoctl.sandbox.nodes import InstanceShape
from kaitoctl.sandbox.workloads.container_life import FAULT_ANNOTATION

PLAIN = InstanceShape(cpu=16, memory_mib=65_536)
GPU = InstanceShape(
    cpu=12, memory_mib=114_688, gpus=2, gpu_product="Tesla-V100-PCIE-16GB", gpu_memory_mib=16_384
)
TYPES = {"gpu-machine": GPU, "plain-machine": PLAIN}
SPEED = 1000.0

NODE_CLAIM_CRD: Object = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "nodeclaims.karpenter.sh"},
    "spec": {
        "group": "karpenter.sh",
        "scope": "Cluster",
        "names": {
            "kind": "NodeClaim",
            "plural": "nodeclaims",
            "singular": "nodeclaim",
            "listKind": "NodeClaimList",
        },
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "schema": {
                    "openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
                },
            }
        ],
    },
}

Story = Callable[[Client, Cluster], Awaitable[None]]


def tell(story: Story, folder: Path, **options: Any) -> None:
    """Play a story in a sandbox with one plain and one GPU node."""

    async def play() -> None:
        given: dict[str, Any] = {
            "speed": SPEED,
            "nodes": [nodes.node("plain", PLAIN), nodes.node("gpu", GPU)],
            "instance_types": TYPES,
        }
        async with cluster(**(given | options)) as up:
            file = folder / "kubeconfig"
            up.write_kubeconfig(file)
            async with connect(kubeconfig=file) as client:
                await story(client, up)

    run(play())


async def eventually(client: Client, kind: Kind, name: str, holds: Callable[[Object], Any]) -> Object:
    """The object once it is as described; fails after an hour of the (virtual) wall."""
    for _ in range(2000):
        try:
            namespace = "default" if kind.namespaced else ""
            found = await client.send(request.get(kind, namespace, name))
            if holds(found):
                return found
        except ApiError as error:
            if error.status != 404:
                raise
        await asyncio.sleep(0.02)
    raise AssertionError(f"{kind.kind} {name} never got there: {found.get('status')}")


async def all_of(client: Client, kind: Kind, holds: Callable[[list[Object]], Any]) -> list[Object]:
    """All objects of a kind once they are as described."""
    for _ in range(2000):
        found = (await client.list(kind)).items
        if holds(found):
            return found
        await asyncio.sleep(0.02)
    raise AssertionError([(item["metadata"]["name"], item.get("status")) for item in found])


def container(image: str = "example.org/server:1", gpus: int = 0, **more: Any) -> Object:
    resources = {"resources": {"limits": {"nvidia.com/gpu": str(gpus)}}} if gpus else {}
    return {"name": "main", "image": image, **resources, **more}


def template(*containers: Object, fault: str = "", **spec: Any) -> Object:
    metadata: Object = {"labels": {"app": "web"}}
    if fault:
        metadata["annotations"] = {FAULT_ANNOTATION: fault}
    return {"metadata": metadata, "spec": {"containers": list(containers) or [container()], **spec}}


def workload(kind: Kind, pod_template: Object, name: str = "web", **spec: Any) -> Object:
    selector = {} if kind == JOB else {"selector": {"matchLabels": {"app": "web"}}}
    return {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": {"name": name, "namespace": "default"},
        "spec": {**selector, "template": pod_template, **spec},
    }


def pod(name: str = "solo", **spec: Any) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"containers": [container()], **spec},
    }


def is_settled(obj: Object) -> bool:
    status: Object = obj.get("status") or {}
    return bool(
        status.get("observedGeneration") == obj["metadata"]["generation"]
        and status.get("replicas", 0) == status.get("updatedReplicas", 0)
        and status.get("availableReplicas", 0) == obj["spec"].get("replicas", 1)
        and status.get("replicas", 0) == obj["spec"].get("replicas", 1)
    )


def waiting_for(found: Object, field: str = "containerStatuses") -> Any:
    return dig(found, "status", field, 0, "state", "waiting", "reason")


def images(found: Iterable[Object]) -> set[str]:
    return {item["spec"]["containers"][0]["image"] for item in found}


def test_a_deployment_becomes_available_and_its_deletion_removes_everything(tmp_path: Path) -> None:
    async def story(client: Client, _: Cluster) -> None:
        await client.send(request.create(DEPLOYMENT, workload(DEPLOYMENT, template(), replicas=3)))
        up = await eventually(client, DEPLOYMENT, "web", is_settled)
        assert conditions.is_true(up, "Available")
        assert (conditions.find(up, "Progressing") or {})["reason"] == "NewReplicaSetAvailable"
        assert up["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "1"
        assert up["status"]["readyReplicas"] == 3
        assert "unavailableReplicas" not in up["status"]
        found = (await client.list(POD)).items
        assert len(found) == 3
        assert {labels_of(item)["pod-template-hash"] for item in found} == {
            labels_of(item)["pod-template-hash"] for item in (await client.list(REPLICA_SET)).items
        }
        await client.send(request.delete(DEPLOYMENT, "default", "web"))
        await all_of(client, REPLICA_SET, lambda items: not items)
        await all_of(client, POD, lambda items: not items)

    tell(story, tmp_path)


def test_scaling_and_rolling_back_keep_one_replica_set_per_template(tmp_path: Path) -> None:
    async def story(client: Client, _: Cluster) -> None:
        first = workload(DEPLOYMENT, template(), replicas=1)
        await client.send(request.apply(DEPLOYMENT, first, manager="test"))
        await eventually(client, DEPLOYMENT, "web", is_settled)
        second = workload(DEPLOYMENT, template(container("example.org/server:2")), replicas=2)
        await client.send(request.apply(DEPLOYMENT, second, manager="test"))
        await eventually(client, DEPLOYMENT, "web", is_settled)
        await all_of(
            client, POD, lambda items: images(items) == {"example.org/server:2"}
        )  # one may still stop
        await client.send(request.apply(DEPLOYMENT, first, manager="test"))
        back = await eventually(client, DEPLOYMENT, "web", is_settled)
        assert back["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "3"
        assert len((await client.list(REPLICA_SET)).items) == 2

    tell(story, tmp_path)


@pytest.mark.parametrize(
    "strategy",
    [
        {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}},
        {"type": "Recreate"},
    ],
)
def test_an_update_without_surge_never_has_one_pod_too_many(tmp_path: Path, strategy: Object) -> None:
    async def story(client: Client, _: Cluster) -> None:
        def version(number: int) -> Object:
            gpus = template(container(f"example.org/server:{number}", gpus=2))
            return workload(DEPLOYMENT, gpus, replicas=1, strategy=strategy)

        await client.send(request.apply(DEPLOYMENT, version(1), manager="test"))
        await eventually(client, DEPLOYMENT, "web", is_settled)
        await client.send(request.apply(DEPLOYMENT, version(2), manager="test"))

        def one_at_a_time(items: list[Object]) -> bool:
            active = [item for item in items if not item["metadata"].get("deletionTimestamp")]
            assert len(active) <= 1
            return images(active) == {"example.org/server:2"}

        await all_of(client, POD, one_at_a_time)
        await eventually(client, DEPLOYMENT, "web", is_settled)

    tell(story, tmp_path)


def test_a_template_that_only_gained_empty_fields_is_no_new_revision(tmp_path: Path) -> None:
    async def story(client: Client, _: Cluster) -> None:
        await client.send(request.create(DEPLOYMENT, workload(DEPLOYMENT, template(), replicas=1)))
        await eventually(client, DEPLOYMENT, "web", is_settled)
        passed_on = template(container(resources={}, env=[]), nodeSelector={})
        patch = {"spec": {"template": passed_on}}
        await client.send(request.merge_patch(DEPLOYMENT, "default", "web", patch, manager="test"))
        await eventually(client, DEPLOYMENT, "web", is_settled)
        assert len((await client.list(REPLICA_SET)).items) == 1

    tell(story, tmp_path)


def test_old_replica_sets_beyond_the_history_are_removed(tmp_path: Path) -> None:
    async def story(client: Client, _: Cluster) -> None:
        for number in range(4):
            wanted = workload(
                DEPLOYMENT,
                template(container(f"example.org/server:{number}")),
                replicas=1,
                revisionHistoryLimit=1,
            )
            await client.send(request.apply(DEPLOYMENT, wanted, manager="test"))
            await eventually(client, DEPLOYMENT, "web", is_settled)
        left = await all_of(client, REPLICA_SET, lambda items: len(items) == 2)
        names = {dig(item, "spec", "template", "spec", "containers", 0, "image") for item in left}
        assert names == {"example.org/server:2", "example.org/server:3"}

    tell(story, tmp_path)


def test_a_rollout_that_stands_still_passes_its_deadline_and_a_new_one_starts_over(tmp_path: Path) -> None:
    async def story(client: Client, _: Cluster) -> None:
        probed = container(readinessProbe={"httpGet": {"port": 80}})
        broken = workload(DEPLOYMENT, template(probed, fault="probe-never"), progressDeadlineSeconds=60)
        await client.send(request.apply(DEPLOYMENT, broken, manager="test"))
        stuck = await eventually(
            client,
            DEPLOYMENT,
            "web",
            lambda one: (
                (conditions.find(one, "Progressing") or {}).get("reason") == "ProgressDeadlineExceeded"
            ),
        )
        assert not conditions.is_true(stuck, "Available")
        assert stuck["status"]["unavailableReplicas"] == 1
        mended = workload(DEPLOYMENT, template(probed), progressDeadlineSeconds=60)
        await client.send(request.apply(DEPLOYMENT, mended, manager="test"))
        up = await eventually(client, DEPLOYMENT, "web", is_settled)
        assert conditions.is_true(up, "Progressing")

    tell(story, tmp_path)


def test_a_stateful_set_comes_up_updates_and_shrinks_in_order(tmp_path: Path) -> None:
    async def story(client: Client, _: Cluster) -> None:
        def version(number: int, replicas: int) -> Object:
            wanted = template(container(f"example.org/server:{number}"))
            return workload(STATEFUL_SET, wanted, replicas=replicas, serviceName="web")

        await client.send(request.apply(STATEFUL_SET, version(1, 3), manager="test"))
        up = await eventually(
            client, STATEFUL_SET, "web", lambda one: dig(one, "status", "readyReplicas") == 3
        )
        found = (await client.list(POD)).items
        assert [item["metadata"]["name"] for item in found] == ["web-0", "web-1", "web-2"]
        assert labels_of(found[1])["statefulset.kubernetes.io/pod-name"] == "web-1"
        assert labels_of(found[1])["apps.kubernetes.io/pod-index"] == "1"
        await client.send(request.apply(STATEFUL_SET, version(2, 3), manager="test"))
        updated = await eventually(
            client,
            STATEFUL_SET,
            "web",
            lambda one: (
                one["status"].get("currentRevision") == one["status"].get("updateRevision")
                and one["status"]["currentRevision"] != up["status"]["currentRevision"]
            ),
        )
        assert images((await client.list(POD)).items) == {"example.org/server:2"}
        assert updated["status"]["updatedReplicas"] == 3
        await client.send(request.apply(STATEFUL_SET, version(2, 1), manager="test"))
        left = await all_of(client, POD, lambda items: len(items) == 1)
        assert left[0]["metadata"]["name"] == "web-0"

    tell(story, tmp_path)


def test_a_job_runs_to_completion(tmp_path: Path) -> None:
    async def story(client: Client, _: Cluster) -> None:
        wanted = workload(JOB, template(restartPolicy="Never"), completions=3, parallelism=2)
        await client.send(request.create(JOB, wanted))
        done = await eventually(client, JOB, "web", lambda one: conditions.is_true(one, "Complete"))
        assert done["status"]["succeeded"] == 3
        assert "completionTime" in done["status"]
        assert len((await client.list(POD)).items) == 3

    tell(story, tmp_path)


def test_a_job_fails_once_its_limit_is_reached(tmp_path: Path) -> None:
    async def story(client: Client, _: Cluster) -> None:
        wanted = workload(JOB, template(restartPolicy="Never", fault="crash"), backoffLimit=1)
        await client.send(request.create(JOB, wanted))
        done = await eventually(client, JOB, "web", lambda one: conditions.is_true(one, "Failed"))
        assert (conditions.find(done, "Failed") or {})["reason"] == "BackoffLimitExceeded"
        assert done["status"]["failed"] == 2

    tell(story, tmp_path)


def test_gpus_are_given_out_once_and_again_when_they_come_back(tmp_path: Path) -> None:
    async def story(client: Client, _: Cluster) -> None:
        for name in ("a", "b", "c"):
            await client.send(request.create(POD, pod(name, containers=[container(gpus=1)])))
        left = await eventually(
            client,
            POD,
            "c",
            lambda one: (conditions.find(one, "PodScheduled") or {}).get("status") == "False",
        )
        condition = conditions.find(left, "PodScheduled") or {}
        assert condition["reason"] == "Unschedulable"
        assert condition["message"] == "0/2 nodes are available: 2 Insufficient nvidia.com/gpu."
        told = await all_of(
            client, EVENT, lambda items: any(one["reason"] == "FailedScheduling" for one in items)
        )
        assert {one["involvedObject"]["name"] for one in told if one["reason"] == "FailedScheduling"} == {"c"}
        await client.send(request.delete(POD, "default", "a"))
        await eventually(client, POD, "c", lambda one: one["spec"].get("nodeName") == "gpu")

    tell(story, tmp_path)


def test_a_taint_keeps_pods_out_until_it_goes(tmp_path: Path) -> None:
    async def story(client: Client, _: Cluster) -> None:
        await client.send(request.create(POD, pod()))
        refused = await eventually(client, POD, "solo", lambda one: conditions.find(one, "PodScheduled"))
        message = (conditions.find(refused, "PodScheduled") or {})["message"]
        assert message == "0/1 nodes are available: 1 node(s) had untolerated taint {sku: gpu}."
        untainted = {"spec": {"taints": None}}
        await client.send(request.merge_patch(NODE, "", "only", untainted, manager="test"))
        await eventually(client, POD, "solo", lambda one: conditions.is_true(one, "Ready"))

    taint = {"key": "sku", "value": "gpu", "effect": "NoSchedule"}
    tell(story, tmp_path, nodes=[nodes.node("only", PLAIN, taints=[taint])])


def test_a_pod_whose_claim_is_missing_waits_for_it(tmp_path: Path) -> None:
    async def story(client: Client, _: Cluster) -> None:
        volume = {"name": "weights", "persistentVolumeClaim": {"claimName": "weights"}}
        await client.send(request.create(POD, pod(volumes=[volume])))
        refused = await eventually(client, POD, "solo", lambda one: conditions.find(one, "PodScheduled"))
        message = (conditions.find(refused, "PodScheduled") or {})["message"]
        assert message == '0/1 nodes are available: persistentvolumeclaim "weights" not found.'
        asked = {"accessModes": ["ReadOnlyMany"], "resources": {"requests": {"storage": "1Gi"}}}
        made = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "spec": asked}
        head = {"name": "weights", "namespace": "default"}
        await client.send(request.create(PERSISTENT_VOLUME_CLAIM, {**made, "metadata": head}))
        await eventually(client, POD, "solo", lambda one: conditions.is_true(one, "Ready"))

    tell(story, tmp_path, nodes=[nodes.node("only", PLAIN)])


def test_pods_of_a_node_that_breaks_are_unready_then_evicted(tmp_path: Path) -> None:
    async def story(client: Client, _: Cluster) -> None:
        await client.send(request.create(DEPLOYMENT, workload(DEPLOYMENT, template(), replicas=1)))
        await eventually(client, DEPLOYMENT, "web", is_settled)
        first = (await client.list(POD)).items[0]
        name = first["spec"]["nodeName"]
        now = first["status"]["startTime"]
        node = nodes.broken(await client.send(request.get(NODE, "", name)), "not-ready", since=now)
        await client.send(Request("PUT", NODE.path("", name, "status"), body=node))
        await eventually(
            client, POD, first["metadata"]["name"], lambda one: not conditions.is_true(one, "Ready")
        )
        await eventually(client, DEPLOYMENT, "web", is_settled)
        assert {one["spec"]["nodeName"] for one in (await client.list(POD)).items} == {"plain", "gpu"} - {
            name
        }

    tell(story, tmp_path)


def test_pods_of_a_node_that_is_deleted_go_with_it(tmp_path: Path) -> None:
    async def story(client: Client, _: Cluster) -> None:
        await client.send(request.create(POD, pod(nodeSelector={"kubernetes.io/hostname": "plain"})))
        await eventually(client, POD, "solo", lambda one: conditions.is_true(one, "Ready"))
        await client.send(request.delete(NODE, "", "plain"))
        await all_of(client, POD, lambda items: not items)

    tell(story, tmp_path)


@pytest.mark.parametrize(
    ("image", "reasons"),
    [
        ("example.org/does-not-exist:1", {"ErrImagePull", "ImagePullBackOff"}),
        ("example.org/unauthorized:1", {"ErrImagePull", "ImagePullBackOff"}),
        ("example.org/crash:1", {"CrashLoopBackOff"}),
    ],
)
def test_a_fault_shows_in_the_status_and_in_events(tmp_path: Path, image: str, reasons: set[str]) -> None:
    async def story(client: Client, _: Cluster) -> None:
        await client.send(request.create(POD, pod(containers=[container(image)])))
        await eventually(client, POD, "solo", lambda one: waiting_for(one) in reasons)
        await all_of(client, EVENT, lambda items: {"Failed", "BackOff"} & {one["reason"] for one in items})

    tell(story, tmp_path)


def test_a_failing_init_container_holds_the_pod_and_its_log_says_why(tmp_path: Path) -> None:
    async def story(client: Client, _: Cluster) -> None:
        init = {"name": "load", "image": "example.org/adapter:empty-data"}
        await client.send(request.create(POD, pod(initContainers=[init])))
        stuck = await eventually(
            client, POD, "solo", lambda one: waiting_for(one, "initContainerStatuses") == "CrashLoopBackOff"
        )
        assert stuck["status"]["phase"] == "Pending"
        text = await client.text(POD.path("default", "solo", "log"), {"container": "load"})
        assert "simulated" in text
        assert "no files found" in text

    tell(story, tmp_path)


def test_a_service_reaches_the_ready_pods(tmp_path: Path) -> None:
    async def story(client: Client, _: Cluster) -> None:
        service = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "web", "namespace": "default"},
            "spec": {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "targetPort": 5000}]},
        }
        await client.send(request.create(SERVICE, service))
        await client.send(request.create(DEPLOYMENT, workload(DEPLOYMENT, template(), replicas=2)))
        found = await eventually(
            client, ENDPOINTS, "web", lambda one: len(dig(one, "subsets", 0, "addresses") or ()) == 2
        )
        addresses = {one["ip"] for one in found["subsets"][0]["addresses"]}
        assert addresses == {one["status"]["podIP"] for one in (await client.list(POD)).items}
        assert found["subsets"][0]["ports"] == [{"name": "http", "port": 5000, "protocol": "TCP"}]
        slices = await all_of(
            client, ENDPOINT_SLICE, lambda items: items and len(items[0].get("endpoints") or ()) == 2
        )
        assert {one["addresses"][0] for one in slices[0]["endpoints"]} == addresses
        assert all(one["conditions"]["ready"] for one in slices[0]["endpoints"])
        await client.send(request.delete(SERVICE, "default", "web"))
        await all_of(client, ENDPOINTS, lambda items: not items)

    tell(story, tmp_path)


def claim(name: str = "claim", instance_type: str = "gpu-machine", **spec: Any) -> Object:
    return {
        "apiVersion": "karpenter.sh/v1",
        "kind": "NodeClaim",
        "metadata": {"name": name, "labels": {"team": "ml", "karpenter.sh/nodepool": "pool"}},
        "spec": {
            "requirements": [
                {"key": "node.kubernetes.io/instance-type", "operator": "In", "values": [instance_type]},
                {"key": "zone", "operator": "In", "values": ["z1"]},
                {"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]},
            ],
            **spec,
        },
    }


def test_a_node_claim_becomes_a_node_that_gpu_pods_go_to_and_takes_it_along(tmp_path: Path) -> None:
    async def story(client: Client, _: Cluster) -> None:
        await client.send(request.create(DEPLOYMENT, workload(DEPLOYMENT, template(container(gpus=2)))))
        await all_of(client, POD, lambda items: items and conditions.find(items[0], "PodScheduled"))
        await client.send(request.create(CRD, NODE_CLAIM_CRD))  # the CRD may come after the controllers
        await eventually(
            client, CRD, "nodeclaims.karpenter.sh", lambda one: conditions.is_true(one, "Established")
        )
        await client.send(request.create(NODE_CLAIM, claim()))
        ready = await eventually(client, NODE_CLAIM, "claim", lambda one: conditions.is_true(one, "Ready"))
        assert [item["type"] for item in ready["status"]["conditions"] if item["status"] == "True"]
        assert ready["metadata"]["finalizers"] == ["karpenter.sh/termination"]
        node = await client.send(request.get(NODE, "", ready["status"]["nodeName"]))
        assert node["spec"]["providerID"] == ready["status"]["providerID"]
        assert node["status"]["allocatable"]["nvidia.com/gpu"] == "2"
        wanted = {
            "team": "ml",
            "zone": "z1",
            "node.kubernetes.io/instance-type": "gpu-machine",
            "karpenter.sh/nodepool": "pool",
            "karpenter.sh/initialized": "true",
            "nvidia.com/gpu.product": "Tesla-V100-PCIE-16GB",
            "nvidia.com/gpu.count": "2",
            "nvidia.com/gpu.memory": "16384",
        }
        assert wanted.items() <= labels_of(node).items()
        await eventually(client, DEPLOYMENT, "web", is_settled)
        await client.send(request.delete(NODE_CLAIM, "", "claim"))
        await all_of(client, NODE_CLAIM, lambda items: not items)
        assert (await client.list(NODE)).items == []
        await all_of(
            client, POD, lambda items: items and not any(one["spec"].get("nodeName") for one in items)
        )

    tell(story, tmp_path, nodes=[])


def test_an_instance_type_that_nobody_has_is_refused_in_the_claims_status(tmp_path: Path) -> None:
    async def story(client: Client, _: Cluster) -> None:
        await client.send(request.create(NODE_CLAIM, claim(instance_type="Standard_Nothing")))
        refused = await eventually(client, NODE_CLAIM, "claim", lambda one: conditions.find(one, "Launched"))
        condition = conditions.find(refused, "Launched") or {}
        assert condition["status"] == "False"
        assert condition["reason"] == "InstanceTypeNotFound"
        await client.send(request.delete(NODE_CLAIM, "", "claim"))
        await all_of(client, NODE_CLAIM, lambda items: not items)

    tell(story, tmp_path, crds=[NODE_CLAIM_CRD])


def test_a_claim_whose_node_was_deleted_goes_too(tmp_path: Path) -> None:
    async def story(client: Client, _: Cluster) -> None:
        await client.send(request.create(NODE_CLAIM, claim()))
        ready = await eventually(client, NODE_CLAIM, "claim", lambda one: conditions.is_true(one, "Ready"))
        await client.send(request.delete(NODE, "", ready["status"]["nodeName"]))
        await all_of(client, NODE_CLAIM, lambda items: not items)

    tell(story, tmp_path, crds=[NODE_CLAIM_CRD])


def test_a_sandbox_that_stops_mid_rollout_carries_on(tmp_path: Path) -> None:
    async def begin(client: Client, _: Cluster) -> None:
        await client.send(request.create(DEPLOYMENT, workload(DEPLOYMENT, template(), replicas=3)))
        await all_of(client, POD, lambda items: items)

    async def end(client: Client, _: Cluster) -> None:
        await eventually(client, DEPLOYMENT, "web", is_settled)
        assert len((await client.list(POD)).items) == 3

    state = tmp_path / "state.db"
    tell(begin, tmp_path, state=state)
    tell(end, tmp_path, state=state)


def test_nobody_writes_when_nothing_changes(tmp_path: Path) -> None:
    async def story(client: Client, _: Cluster) -> None:
        await client.send(
            request.create(DEPLOYMENT, workload(DEPLOYMENT, template(container(gpus=1)), replicas=2))
        )
        sets = template(container("example.org/set:1"))
        sets["metadata"]["labels"] = {"app": "set"}
        stateful = workload(STATEFUL_SET, sets, "set", replicas=1, serviceName="set")
        stateful["spec"]["selector"] = {"matchLabels": {"app": "set"}}
        await client.send(request.create(STATEFUL_SET, stateful))
        await client.send(request.create(NODE_CLAIM, claim()))
        await client.send(request.create(POD, pod("stuck", containers=[container(gpus=8)])))
        await eventually(client, DEPLOYMENT, "web", is_settled)
        await eventually(
            client, STATEFUL_SET, "set", lambda one: dig(one, "status", "availableReplicas") == 1
        )
        await eventually(client, NODE_CLAIM, "claim", lambda one: conditions.is_true(one, "Ready"))
        await asyncio.sleep(2.0)
        before = (await client.list(POD)).resource_version
        await asyncio.sleep(5.0)  # 5,000 simulated seconds
        assert (await client.list(POD)).resource_version == before

    tell(story, tmp_path, crds=[NODE_CLAIM_CRD])


def test_a_pod_that_is_deleted_stops_and_its_place_is_filled(tmp_path: Path) -> None:
    async def story(client: Client, _: Cluster) -> None:
        await client.send(request.create(DEPLOYMENT, workload(DEPLOYMENT, template(), replicas=1)))
        await eventually(client, DEPLOYMENT, "web", is_settled)
        (first,) = (await client.list(POD)).items
        await client.send(request.delete(POD, "default", first["metadata"]["name"]))
        (second,) = await all_of(
            client,
            POD,
            lambda items: len(items) == 1 and items[0]["metadata"]["uid"] != first["metadata"]["uid"],
        )
        assert second["metadata"]["name"] != first["metadata"]["name"]
        await eventually(client, DEPLOYMENT, "web", is_settled)

    tell(story, tmp_path)


def test_what_the_body_raises_passes_unchanged(tmp_path: Path) -> None:
    async def story(_: Client, __: Cluster) -> None:
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        tell(story, tmp_path)


def test_the_kubeconfig_is_for_its_owner_only(tmp_path: Path) -> None:
    async def story(_: Client, up: Cluster) -> None:
        file = tmp_path / "deep" / "kubeconfig"
        up.write_kubeconfig(file)
        assert file.stat().st_mode & 0o777 == 0o600
        assert list(file.parent.iterdir()) == [file]
        async with connect(kubeconfig=file) as client:
            assert client.host == up.address

    tell(story, tmp_path)
