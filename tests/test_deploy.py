"""deploy/: the role holds exactly the rights that the controller uses, and the pod may run where it must."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from controller.test_machines import crd_of
from controller.test_provisioners import Karpenter, asks
from fleet_world import FleetWorld, adapter, inference_set
from world import World, crds, falcon, gpu_node, node_status

from kaitoctl import fleet_controller, workspace_controller
from kaitoctl.commands.doctor_rights import RIGHTS
from kaitoctl.commands.run_controller import _insist_on_crd, run_controller
from kaitoctl.kaito import api as kaito
from kaitoctl.kube import request
from kaitoctl.kube.access import Access, access
from kaitoctl.kube.client import Exchange, connect
from kaitoctl.kube.objects import (
    CONFIG_MAP,
    CONTROLLER_REVISION,
    DEPLOYMENT,
    NODE,
    POD,
    SECRET,
    STATEFUL_SET,
    Object,
    dig,
    key_of,
    owner_reference,
)
from kaitoctl.kube.request import APPLY_PATCH, Request
from kaitoctl.reconcile.leader_election import LeaderElection
from kaitoctl.sandbox.cluster import cluster

FILE = Path(__file__).parent.parent / "deploy" / "controller.yaml"
Right = tuple[str, str, str]
"""Verb, API group, resource."""


class RecordingWorld(World):
    """Notes the rights that the controller's own requests take."""

    def __init__(self) -> None:
        super().__init__()
        self.rights: set[Right] = set()

    def _send(self, asked: Request) -> Object:
        self.rights |= set(rights_of(asked, exists=self._exists(asked)))
        return super()._send(asked)

    def _exists(self, asked: Request) -> bool:
        used = access(asked.method, asked.path, asked.query)
        if not used.name or "/" in used.resource:
            return True
        try:
            self.do(Request("GET", asked.path))
        except Exception:
            return False
        return True


def right(used: Access) -> Right:
    return used.verb, used.group, used.resource


def rights_of(asked: Request, *, exists: bool) -> Iterator[Right]:
    """As an API server sees it, with the admission plugin OwnerReferencesPermissionEnforcement."""
    used = access(asked.method, asked.path, asked.query)
    yield right(used)
    if asked.content_type == APPLY_PATCH and not exists:
        yield "create", used.group, used.resource
    for reference in dig(asked.body, "metadata", "ownerReferences") or ():
        if reference.get("blockOwnerDeletion"):
            owner = {"Workspace": "workspaces", "InferenceSet": "inferencesets"}[reference["kind"]]
            yield "update", kaito.GROUP, f"{owner}/finalizers"


class RecordingFleetWorld(FleetWorld):
    """Notes the rights that the set controller's own requests take."""

    def __init__(self) -> None:
        super().__init__()
        self.rights: set[Right] = set()

    def send(self, asked: Request) -> Object:
        self.rights |= set(rights_of(asked, exists=True))
        return super().send(asked)


def a_life_of_a_set() -> set[Right]:
    """It comes, scales, changes in place, by other Workspaces and with a surge, and goes."""
    world = RecordingFleetWorld()
    hard = {"requests.nvidia.com/gpu": "99"}
    world.quotas = [{"metadata": {"name": "team", "namespace": "default"}, "spec": {"hard": hard}}]
    for number in range(13):
        world.apply(inference_set(1 + number % 3, adapters=[adapter(f"a{number}")]))
        world.settle()
    surging = inference_set(2, preset={"name": "phi-4"})
    surging["spec"]["updateStrategy"] = {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
    world.apply(surging)
    world.settle()
    world.do(request.delete(kaito.INFERENCE_SET, "default", "phis"))
    world.reconcile()
    assert world.live == []
    return world.rights


def a_life() -> set[Right]:
    """Workspaces come, change their kind of workload, drift, and go; with bought and with prepared nodes."""
    world = RecordingWorld()
    world.apply(kaito.WORKSPACE, falcon(count=2))
    world.settle()
    forget_what_was_applied(world)
    world.apply(kaito.WORKSPACE, falcon(count=1))
    world.settle()
    preset = {
        "name": "llama-2-13b",
        "accessMode": "private",
        "presetOptions": {"image": "registry.example/l:1"},
    }
    spread = {**falcon(), "inference": {"preset": preset}}
    forget_what_was_applied(world)
    world.do(request.apply(kaito.WORKSPACE, spread, manager="user", force=True))
    world.settle()
    assert world.get(STATEFUL_SET, "falcon") is not None
    a_group_is_replaced(world)
    pod = {"containers": [{"name": "c", "image": "registry.example/c:1"}]}
    custom = {**falcon(), "inference": {"template": {"spec": pod}}}
    forget_what_was_applied(world)
    world.do(request.apply(kaito.WORKSPACE, custom, manager="user", force=True))
    world.settle()
    assert world.get(STATEFUL_SET, "falcon") is None
    assert world.get(DEPLOYMENT, "falcon") is not None
    world.do(request.delete(kaito.WORKSPACE, "default", "falcon"))
    world.settle()

    prepared = RecordingWorld()
    prepared.apply(NODE, gpu_node("gpu-a", {"apps": "falcon-7b"}))
    prepared.set_status(NODE, "gpu-a", node_status("2"))
    prepared.apply(kaito.WORKSPACE, falcon())
    prepared.settle()
    # A child that claims to be from the future makes the controller read the Workspace itself.
    future = {"metadata": {"annotations": {"kaitoctl.dev/owner-generation": "99"}}}
    prepared.do(request.merge_patch(DEPLOYMENT, "default", "falcon", future, manager="x"))
    prepared.reconcile()
    return world.rights | prepared.rights | a_life_of_tuning() | a_life_of_edits() | a_life_of_a_set()


def forget_what_was_applied(world: World) -> None:
    """Where no history says what was there before, what may not change is followed all the same."""
    for revision in world.list(CONTROLLER_REVISION):
        world.do(request.delete(CONTROLLER_REVISION, *key_of(revision)))


def a_group_is_replaced(world: World) -> None:
    """A pod of the StatefulSet is of another template than the newest."""
    owner = world.get(STATEFUL_SET, "falcon")
    assert owner is not None
    metadata: Object = {
        "name": "falcon-0",
        "namespace": "default",
        "labels": {"kaito.sh/workspace": "falcon", "controller-revision-hash": "old"},
        "ownerReferences": [owner_reference(owner)],
    }
    spec = {"containers": [{"name": "falcon", "image": "registry.example/l:1"}]}
    world.apply(POD, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    world.set_status(STATEFUL_SET, "falcon", {"updateRevision": "new"})
    world.reconcile()
    assert world.list(POD) == []


def a_life_of_edits() -> set[Right]:
    """More of them than the history keeps, back to an old one, and one that is refused."""
    world = RecordingWorld()
    for name in (*"abcdefghijkl", "k", "not a name"):
        obj = falcon()
        source = {"name": name, "image": "registry.example/adapter:1"}
        obj["inference"]["adapters"] = [{"source": source, "strength": "1.0"}]
        world.apply(kaito.WORKSPACE, obj)
        world.settle()
    return world.rights


def a_life_of_tuning() -> set[Right]:
    """It is tuned with the defaults, with other data, and with a ConfigMap of the user's."""
    world = RecordingWorld()
    world.apply(NODE, gpu_node("gpu-t", {"apps": "tune"}, "Standard_NC6s_v3"))
    world.set_status(NODE, "gpu-t", node_status("1"))
    push = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "push", "namespace": "default"}}
    auth = {"type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": "e30="}}
    world.apply(SECRET, {**push, **auth})
    world.apply(kaito.WORKSPACE, tuned("https://data.example/a.json"))
    world.settle("tune")
    world.apply(kaito.WORKSPACE, tuned("https://data.example/b.json"))
    world.settle("tune")
    shipped = world.get(CONFIG_MAP, "tune-tuning-config")
    assert shipped is not None
    mine = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "mine", "namespace": "default"}}
    world.apply(CONFIG_MAP, {**mine, "data": shipped["data"]})
    own = tuned("https://data.example/b.json")
    own["tuning"]["config"] = "mine"
    world.apply(kaito.WORKSPACE, own)
    world.settle("tune")
    return world.rights


def tuned(url: str) -> Object:
    made = falcon(instanceType="Standard_NC6s_v3", labelSelector={"matchLabels": {"apps": "tune"}})
    del made["inference"]
    made["metadata"]["name"] = "tune"
    output = {"image": "registry.example/adapter:1", "imagePushSecret": "push"}
    asked = {"preset": {"name": "phi-2"}, "method": "qlora", "input": {"urls": [url]}, "output": output}
    return {**made, "tuning": asked}


async def what_a_process_asks() -> set[Right]:
    """The start, the election and the informers, on an API server with sockets."""
    seen: set[Right] = set()
    news = asyncio.Event()

    def note(exchange: Exchange) -> None:
        seen.add(right(access(exchange.method, exchange.path, exchange.query)))
        news.set()

    async with _sandbox() as kubeconfig, connect(kubeconfig=kubeconfig, observer=note) as client:
        await _insist_on_crd(client, "")
        election = LeaderElection(
            client,
            namespace="default",
            name="kaitoctl-controller",
            identity="a",
            lease_duration_s=15.0,  # a busy machine must not lose it meanwhile
            renew_deadline_s=10.0,
            retry_period_s=0.05,
        )
        shown: list[workspace_controller.Running] = []

        async def until_all_are_watched() -> None:
            running = asyncio.create_task(fleet_controller.run_together(client, started=shown.append))
            try:
                while not (shown and _all_watched(shown[0], seen)):
                    await news.wait()
                    news.clear()
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)

        async with asyncio.timeout(30):
            await election.run(until_all_are_watched)
    return seen


def _all_watched(running: workspace_controller.Running, seen: set[Right]) -> bool:
    kinds = [kaito.INFERENCE_SET, *(informer.kind for informer in running.informers)]
    leases = ("update", "coordination.k8s.io", "leases")
    return leases in seen and all(("watch", kind.group, kind.plural) in seen for kind in kinds)


@asynccontextmanager
async def _sandbox() -> Any:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        async with cluster(crds=[*crds(), crd_of(kaito.MACHINE)]) as running:
            kubeconfig = Path(folder) / "kubeconfig"
            running.write_kubeconfig(kubeconfig)
            yield kubeconfig


@pytest.fixture(scope="module")
def objects() -> dict[str, Object]:
    return {
        f"{item['kind']}/{item['metadata']['name']}": item for item in yaml.safe_load_all(FILE.read_text())
    }


def granted(role: Object) -> set[Right]:
    return {
        (verb, group, resource)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def test_the_role_grants_what_the_controller_asks_for_and_nothing_else(objects: dict[str, Object]) -> None:
    asked = a_life() | asyncio.run(what_a_process_asks())
    cluster_role, role = objects["ClusterRole/kaitoctl-controller"], objects["Role/kaitoctl-controller"]
    given = granted(cluster_role) | granted(role)
    # Looked at early when it may be: a mistake in it shows later, too, and nobody should read all Secrets.
    asked.discard(("get", "", "secrets"))
    # Which versions are served: the ClusterRole system:discovery lets everybody who is known ask.
    asked -= {("get", "", f"/apis/kaito.sh{version}") for version in ("", "/v1alpha1", "/v1beta1")}
    assert asked - given == set(), "the controller asks for what it may not do"
    assert given - asked == set(), "the role grants what the controller does not ask for"
    assert {group for _, group, _ in granted(role)} == {"coordination.k8s.io"}


def test_the_role_for_karpenter_grants_what_its_pools_take() -> None:
    class Recording(RecordingWorld, Karpenter):
        pass

    world = Recording()
    for machine in ("Standard_NC24ads_A100_v4", "Standard_NC24ads_A100_v4"):
        world.apply(kaito.WORKSPACE_V1BETA1, asks("phi-4", machine))
        world.settle()
    world.do(request.delete(kaito.WORKSPACE_V1BETA1, "default", "falcon"))
    world.settle()
    own = yaml.safe_load_all(FILE.with_name("karpenter.yaml").read_text())
    (role,) = (item for item in own if item["kind"] == "ClusterRole")
    asked = {used for used in world.rights if used[2] == "nodepools"}
    watched = {(verb, "karpenter.sh", "nodepools") for verb in ("list", "watch")}
    assert asked | watched == granted(role)


def test_no_role_has_wildcards_and_the_lease_is_the_one_that_is_held(objects: dict[str, Object]) -> None:
    assert '"*"' not in FILE.read_text()
    role = objects["Role/kaitoctl-controller"]
    named = [rule for rule in role["rules"] if "create" not in rule["verbs"]]
    assert [rule["resourceNames"] for rule in named] == [["kaitoctl-controller"]]


def test_the_pod_meets_the_restricted_pod_security_standard(objects: dict[str, Object]) -> None:
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted."""
    labels = objects["Namespace/kaitoctl-system"]["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    pod = objects["Deployment/kaitoctl-controller"]["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC", "volumes", "initContainers"} & pod.keys()
    (container,) = pod["containers"]
    security = container["securityContext"]
    assert security["allowPrivilegeEscalation"] is False
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert security["readOnlyRootFilesystem"] is True


def test_its_arguments_exist_and_its_parts_fit_together(objects: dict[str, Object]) -> None:
    deployment = objects["Deployment/kaitoctl-controller"]
    template = deployment["spec"]["template"]
    (container,) = template["spec"]["containers"]
    command, *options = container["args"]
    assert command == "run-controller"
    names = {option.partition("=")[0].removeprefix("--").replace("-", "_") for option in options}
    assert names <= set(run_controller.__annotations__)
    assert "--lease-namespace=kaitoctl-system" in options
    assert "--metrics-address=:8080" in options
    assert [port["containerPort"] for port in container["ports"]] == [8080]
    service = objects["Service/kaitoctl-controller-metrics"]["spec"]
    labels = template["metadata"]["labels"]
    assert service["selector"] == deployment["spec"]["selector"]["matchLabels"] == labels
    assert template["spec"]["serviceAccountName"] in {
        subject["name"]
        for binding in ("ClusterRoleBinding/kaitoctl-controller", "RoleBinding/kaitoctl-controller")
        for subject in objects[binding]["subjects"]
    }


def test_the_roles_of_users_carry_what_doctor_looks_for_to_view_and_edit() -> None:
    roles = list(yaml.safe_load_all((FILE.parent / "users.yaml").read_text()))
    aggregated = {
        label.removeprefix("rbac.authorization.k8s.io/aggregate-to-"): granted(role)
        for role in roles
        for label, value in role["metadata"]["labels"].items()
        if value == "true"
    }
    assert aggregated.keys() == {"view", "edit"}, "one role each: edit takes in view, and admin edit"
    kinds = ("workspaces", "inferencesets", "multiroleinferences")
    reading = {(verb, kaito.GROUP, kind) for verb in ("get", "list", "watch") for kind in kinds}
    assert aggregated["view"] == reading | {("get", kaito.GROUP, "inferencesets/scale")}
    writing = ("create", "update", "patch", "delete", "deletecollection")
    scaling = {(verb, kaito.GROUP, "inferencesets/scale") for verb in ("update", "patch")}
    assert aggregated["edit"] == {(verb, kaito.GROUP, kind) for verb in writing for kind in kinds} | scaling
    wanted = {(verb, group, kind) for verb, group, kind, *_ in RIGHTS if group == kaito.GROUP}
    assert wanted <= aggregated["view"] | aggregated["edit"]
