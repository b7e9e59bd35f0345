"""Ways to a model that serve some: load balancers without an address, pods of others behind the Service."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
from trouble import NOW, World

from kaitoctl.advice import text
from kaitoctl.kaito.diagnosis.cause import Cause
from kaitoctl.kaito.rollout import progress
from kaitoctl.kaito.view import view
from kaitoctl.kaito.view_tree import Item

POD = "falcon-5b8f-abcde"
AZURE = (
    "Error syncing load balancer: failed to ensure load balancer: PUT https://management.azure.com/x\n"
    "RESPONSE 400: 400 Bad Request\nERROR CODE: PublicIPCountLimitReached\n"
    '{"error":{"code":"PublicIPCountLimitReached","message":"Cannot create more than 20 public IP addresses '
    'for this subscription in this region.","details":[]}}'
)


def serving_world() -> World:
    """All is well: a ready pod behind a Service."""
    world = World("service-missing")
    world.objects.append(World("scaled-to-zero")["Service"])
    world["Service"]["metadata"]["creationTimestamp"] = "2026-11-28T10:00:00Z"
    return world


def balanced(**spec: Any) -> World:
    world = serving_world()
    world["Service"]["spec"].update(type="LoadBalancer", **spec)
    return world


def noted(world: World, code: str) -> list[Cause]:
    found = world.diagnosis()
    assert (found.is_ready, found.cause) == (True, None), "it serves all the same"
    return [cause for cause in found.causes if cause.code == code]


@pytest.mark.parametrize(
    ("reason", "words", "said", "hint"),
    [
        ("SyncLoadBalancerFailed", AZURE, "Cannot create more than 20 public IP addresses", "quota"),
        (
            "SyncLoadBalancerFailed",
            "Error syncing load balancer: AuthorizationFailed: the client has no right "
            "to read the subnet vnet/lb",
            "AuthorizationFailed",
            "identity",
        ),
        (
            "FailedBuildModel",
            "Failed build model due to couldn't auto-discover subnets: unable to resolve at least one subnet",
            "auto-discover",
            "subnet",
        ),
        ("AllocationFailed", 'Failed to allocate IP for "default/falcon": no available IPs', "IPs", "pool"),
        ("CreatingLoadBalancerFailed", "something new", "something new", "check the message"),
    ],
)
def test_a_load_balancer_that_is_refused_says_by_what(reason: str, words: str, said: str, hint: str) -> None:
    (cause,) = noted(balanced().event(reason, words, of="Service"), "load-balancer-pending")
    assert said in cause.message
    assert hint in cause.hint
    assert "management.azure.com" not in cause.message


def test_a_load_balancer_that_nobody_makes() -> None:
    (cause,) = noted(balanced(loadBalancerClass="metallb"), "load-balancer-pending")
    assert "no address for 7h00m" in cause.message
    assert "no event says why" in cause.message
    assert "MetalLB" in cause.hint
    assert any("loadBalancerClass metallb" in words for _, words in cause.evidence)


def test_what_has_an_address_or_has_just_begun_or_is_about_endpoints_is_no_trouble() -> None:
    world = balanced()
    world["Service"]["status"] = {"loadBalancer": {"ingress": [{"ip": "20.1.2.3"}]}}
    assert not noted(world.event("SyncLoadBalancerFailed", AZURE, of="Service"), "load-balancer-pending")
    young = balanced()
    young["Service"]["metadata"]["creationTimestamp"] = "2026-11-28T16:58:00Z"
    assert not noted(young, "load-balancer-pending")
    young.event("FailedToUpdateEndpointSlices", "conflict", of="Service")
    assert not noted(young, "load-balancer-pending")
    assert not noted(serving_world(), "load-balancer-pending")


def test_the_tree_shows_that_the_load_balancer_has_no_address() -> None:
    def service(world: World) -> Any:
        return next(item for item in view(world.seen(), NOW).tree.children if item.kind == "Service")

    assert "its load balancer has no address" in service(balanced()).info
    assert "load balancer" not in service(serving_world()).info


# --- pods of others ----------------------------------------------------------------------------------------


def with_pod(world: World, **metadata: Any) -> World:
    """Another pod with the Workspace's label, ready, of nobody's unless its metadata say so."""
    other = copy.deepcopy(world["Pod"])
    other["metadata"] = {
        "name": "debug-nginx",
        "namespace": "default",
        "uid": "uid-debug",
        "creationTimestamp": "2026-11-28T16:00:00Z",
        "labels": {"kaito.sh/workspace": "falcon"},
        **metadata,
    }
    world.objects.append(other)
    return world


def slices(world: World, *names: str) -> World:
    world.objects.append(
        {
            "kind": "EndpointSlice",
            "metadata": {"name": "falcon-x"},
            "ports": [{"port": 5000}],
            "endpoints": [
                {"conditions": {"ready": True}, "targetRef": {"kind": "Pod", "name": name}} for name in names
            ],
        }
    )
    return world


OF_ANOTHER = [{"kind": "ReplicaSet", "name": "other-77", "uid": "u", "controller": True}]
OF_SET = [{"kind": "StatefulSet", "name": "other", "uid": "u", "controller": True}]


def other_deployment(world: World) -> World:
    world.objects.append(
        {
            "kind": "ReplicaSet",
            "metadata": {
                "name": "other-77",
                "uid": "rs-other",
                "labels": {"kaito.sh/workspace": "falcon"},
                "ownerReferences": [{"kind": "Deployment", "name": "other", "uid": "d", "controller": True}],
            },
            "spec": {"replicas": 1},
        }
    )
    return world


@pytest.mark.parametrize("owners", [[], OF_ANOTHER, OF_SET])
def test_a_pod_of_somebody_else_behind_the_service_is_named(owners: list[dict[str, Any]]) -> None:
    world = other_deployment(with_pod(serving_world(), ownerReferences=owners))
    (cause,) = noted(slices(world, POD, "debug-nginx"), "foreign-endpoints")
    assert cause.about == "Pod debug-nginx"
    assert text(cause.command) == "kubectl label pod debug-nginx -n default kaito.sh/workspace-"
    assert progress(world.seen()).detail == "1 of 1 pods serve"


def test_a_pod_without_the_workspaces_label_is_seen_by_its_endpoint() -> None:
    world = slices(serving_world(), POD, "web-1")
    world["Service"]["spec"]["selector"] = {}
    (cause,) = noted(world, "foreign-endpoints")
    assert cause.about == "Pod web-1"
    assert text(cause.command) == "kubectl set selector service falcon -n default kaito.sh/workspace=falcon"


def test_an_endpoint_that_no_selector_explains_leads_to_the_slices() -> None:
    world = slices(serving_world(), POD, "web-1")
    world["Service"]["spec"]["selector"] = {}
    world["Deployment"]["spec"]["selector"] = {}
    (cause,) = noted(world, "foreign-endpoints")
    look = "kubectl get endpointslices -n default -l kubernetes.io/service-name=falcon -o yaml"
    assert text(cause.command) == look


def test_an_endpoint_of_a_pod_that_is_gone_names_no_pod_in_a_command() -> None:
    """The Service asks for the Workspace's label, and no pod with that label has the name."""
    (cause,) = noted(slices(serving_world(), POD, "falcon-5b8f-zzzzz"), "foreign-endpoints")
    assert "out of date" in cause.message
    look = "kubectl get endpointslices -n default -l kubernetes.io/service-name=falcon -o yaml"
    assert text(cause.command) == look


def test_its_own_pods_are_nobody_elses() -> None:
    assert not noted(slices(serving_world(), POD), "foreign-endpoints")
    labels = {"kaito.sh/workspace": "falcon", "pod-template-hash": "5b8f"}
    older = with_pod(serving_world(), labels=labels)  # as a list keeps it: without owners
    assert not noted(slices(older, POD, "debug-nginx"), "foreign-endpoints")


def test_a_pod_of_somebody_else_does_not_make_a_workspace_serve() -> None:
    world = with_pod(serving_world())
    own = next(item for item in world.objects if item["metadata"]["name"] == POD)
    own["status"]["conditions"] = [{"type": "Ready", "status": "False", "reason": "ContainersNotReady"}]
    found = world.diagnosis()
    assert not found.is_ready
    assert found.progress.down
    assert "none of its pods is ready" in found.progress.detail


# --- pods that do not go ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("finalizers", "since", "words", "hint"),
    [
        (
            ["audit.example.com/hold"],
            "16:20",
            "held by finalizer audit.example.com/hold",
            "owner takes it off",
        ),
        ([], "16:20", "overdue for 40m", "kubelet"),
        ([], "17:30", "is going, and still", "wait until it has ended"),
    ],
)
def test_what_holds_a_pod_that_holds_the_gpus_of_the_next(
    finalizers: list[str], since: str, words: str, hint: str
) -> None:
    world = World("service-missing").without("Event")
    old = world["Pod"]
    new = copy.deepcopy(old)
    old["metadata"].update(deletionTimestamp=f"2026-11-28T{since}:00Z", finalizers=finalizers)
    new["metadata"].update(name="falcon-5b8f-new02", uid="u2", creationTimestamp="2026-11-28T16:20:00Z")
    del new["spec"]["nodeName"]
    said = "0/1 nodes are available: 1 Insufficient nvidia.com/gpu."
    placed = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": said}
    new["status"] = {"phase": "Pending", "conditions": [placed]}
    world.objects.append(new)
    cause = world.cause()
    assert cause.about == "Pod falcon-5b8f-new02"
    assert words in cause.message
    assert hint in cause.hint


# --- as the tree shows them --------------------------------------------------------------------------------

SHARE = "behind the Service, gets a share of the prompts"


def drawn(world: World, name: str) -> list[Item]:
    """All rows of the tree with this name."""

    def of(item: Item) -> Iterator[Item]:
        yield item
        for child in item.children:
            yield from of(child)

    return [item for item in of(view(world.seen(), NOW).tree) if item.name == name]


@pytest.mark.parametrize(
    ("owners", "uid", "whose"),
    [
        ([], "u", "without an owner"),
        (OF_ANOTHER, "u", "of ReplicaSet other-77"),
        (OF_ANOTHER, "rs-other", "of ReplicaSet other-77"),  # which has the Workspace's label, too
        (OF_SET, "u", "of StatefulSet other"),
    ],
)
def test_the_tree_marks_pods_of_somebody_else(owners: Any, uid: str, whose: str) -> None:
    world = other_deployment(
        with_pod(serving_world(), ownerReferences=[{**one, "uid": uid} for one in owners])
    )
    (item,) = drawn(world, "debug-nginx")
    assert (item.mark, item.status, item.info) == ("bad", "NotOurs", f"{whose}, {SHARE}")
    (own,) = drawn(world, POD)
    assert (own.mark, own.status) == ("ok", "Running")
    unready = next(item for item in world.objects if item["metadata"]["name"] == "debug-nginx")
    unready["status"]["conditions"] = []
    (item,) = drawn(world, "debug-nginx")
    assert (item.mark, item.status, item.info) == ("off", "NotOurs", whose), "nobody is led to it"


def test_the_tree_shows_pods_behind_the_service_that_have_not_the_label() -> None:
    world = slices(serving_world(), POD, "web-1")
    world["Service"]["spec"]["selector"] = {}
    (item,) = drawn(world, "web-1")
    assert (item.kind, item.mark, item.status, item.info) == ("Pod", "bad", "NotOurs", SHARE)
    assert len(drawn(world, POD)) == 1
    assert not drawn(serving_world(), "web-1")


def test_pods_that_nobody_tells_apart_are_not_marked() -> None:
    world = with_pod(serving_world()).without("Deployment")
    assert all(item.status != "NotOurs" for item in (*drawn(world, "debug-nginx"), *drawn(world, POD)))


def endpoints(*ports: Any, managed: bool = True) -> World:
    """A ready pod that listens on 5000, behind port 80 (http) of a Service with these endpoints."""
    world = serving_world()
    world["Service"]["spec"]["ports"] = [{"name": "http", "port": 80, "targetPort": 5000, "protocol": "TCP"}]
    if not managed:
        del world["Service"]["spec"]["selector"]
    world["Pod"]["spec"]["containers"][0]["ports"] = [{"containerPort": 5000}]
    world.objects.append(
        {
            "kind": "EndpointSlice",
            "metadata": {"name": "falcon-x", "labels": {"kubernetes.io/service-name": "falcon"}},
            "ports": list(ports),
            "endpoints": [
                {
                    "addresses": ["10.1.2.3"],
                    "conditions": {"ready": True},
                    "targetRef": {"kind": "Pod", "name": POD},
                }
            ],
        }
    )
    return world


@pytest.mark.parametrize("managed", [True, False])
@pytest.mark.parametrize(
    ("port", "serves"),
    [
        ({"name": "http", "port": 5000}, True),
        ({"name": "http", "port": 5001}, False),
        ({"name": "metrics", "port": 5000}, False),
        ({"name": "", "port": 5000}, False),
    ],
)
def test_endpoints_serve_by_the_port_that_is_asked_alone(port: Any, serves: bool, managed: bool) -> None:
    world = endpoints(port, managed=managed)
    found = world.diagnosis()
    assert found.is_ready is serves
    without = World.diagnosis(world, pods=(), unseen={"pods": "no"})
    assert without.is_ready is (serves or (not managed and port["name"] == "http")), (
        "nobody sees where it listens"
    )
    if not serves:
        assert found.cause is not None
        assert (found.cause.code, found.cause.about) == ("no-endpoints", "Service falcon")
        assert f"its ready pods at port {port['port']}" in found.cause.message
        assert text(found.cause.command).startswith("kubectl get endpointslices -n default -l")


def test_endpoints_of_several_ports_serve_by_the_one_of_that_name() -> None:
    assert endpoints({"name": "metrics", "port": 9090}, {"name": "http", "port": 5000}).diagnosis().is_ready
