"""A cluster without sockets or time: the sandbox's API, called directly, and the Workspace reconciler on it.

`World.settle` runs passes until nothing is written; faults are injected at any request, by its number.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Literal
from urllib.parse import unquote

from msgspec.structs import replace

from kaitoctl import packaged
from kaitoctl.errors import ApiError
from kaitoctl.kaito import api as kaito
from kaitoctl.kaito.api import VERSIONS
from kaitoctl.kaito.catalog import instance_types
from kaitoctl.kaito.desired import Settings
from kaitoctl.kube import conditions, fast_json, request
from kaitoctl.kube.documents import load_yaml
from kaitoctl.kube.objects import (
    CONFIG_MAP,
    CONTROLLER_REVISION,
    CRD,
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
    annotations_of,
    controller_of,
    copy_of,
    dig,
    generation_of,
    is_being_deleted,
    is_controlled_by,
    key_of,
    matches_expression,
    owner_reference,
    uid_of,
    with_type,
)
from kaitoctl.kube.pod_state import gpu_request, holding_gpus, is_finished
from kaitoctl.kube.request import Request
from kaitoctl.reconcile.controller import Outcome
from kaitoctl.reconcile.store import Store
from kaitoctl.sandbox.api import Api, Call, Response
from kaitoctl.sandbox.store import Store as BackingStore
from kaitoctl.sandbox.workloads.scheduler import is_tolerated
from kaitoctl.workspace_controller import ReconcileSteps, Stores, WorkspaceReconciler, transform_of

NOW = datetime(2026, 1, 1, tzinfo=UTC)
WATCHED = (
    kaito.WORKSPACE, DEPLOYMENT, STATEFUL_SET, SERVICE, NODE, POD, NODE_CLAIM, JOB, CONFIG_MAP,
    CONTROLLER_REVISION,
)  # fmt: skip

Fault = Literal["crash-before", "crash-after", "conflict", "unavailable", "refused", "stale"]


class Crash(Exception):
    """The controller's process died here."""


@cache
def crds() -> tuple[Object, ...]:
    files = sorted(packaged.folder("schemas").glob("*.yaml"))
    return tuple(crd for file in files for crd in load_yaml(file.read_text(), str(file)))


def serving(crd: Object, versions: Collection[str]) -> Object:
    """The CRD with these versions alone; the last of them is stored."""
    kept = [version for version in crd["spec"]["versions"] if version["name"] in versions]
    last = [{**version, "storage": version is kept[-1]} for version in kept]
    return {**crd, "spec": {**crd["spec"], "versions": last}}


@cache
def installed(kind: str, served: tuple[str, ...]) -> tuple[int, list[tuple[str, Object, bytes]]]:
    """What the store of a cluster with the CRDs holds: made once, for that takes longer than most tests.

    Args:
        kind: of which there are not all versions.
        served: the ones that there are.
    """
    api = Api(clock=lambda: NOW)
    for crd in crds():
        if crd["spec"]["names"]["kind"] == kind:
            crd = serving(crd, served)
        asked = request.apply(CRD, crd, manager="test", force=True)
        body = fast_json.encode(asked.body)
        answer = api.answer(
            Call(asked.method, unquote(asked.path), dict(asked.query), body, asked.content_type)
        )
        assert isinstance(answer, Response)
        assert answer.status < 300, answer.body
    rows = [
        (name, entry.obj, entry.json) for name in api.store.resources() for entry in api.store.entries(name)
    ]
    return api.store.version, rows


class World:
    """A cluster with the CRDs installed, and one controller process after another.

    Args:
        version: of Workspaces, in which the controller works, and in which they are looked at.
        served: the versions of Workspaces that there are.
        runs_pods: whether Deployments and StatefulSets have pods; else their status alone tells.
    """

    def __init__(
        self, version: str = "v1beta1", *, served: Collection[str] = VERSIONS, runs_pods: bool = False
    ) -> None:
        self.runs_pods = runs_pods
        self.settings = Settings()
        self.kind = replace(kaito.WORKSPACE, version=version)
        store = BackingStore()
        version_of_all, rows = installed(self.kind.kind, tuple(served))
        store.restore(version_of_all, iter(rows))
        self.api = Api(store, clock=lambda: NOW)
        self.requests: list[Request] = []
        # What was listed last, and the stores made of it, by kind: for as long as nothing of it is written.
        self._listed: dict[Kind, tuple[Api, object, list[Object]]] = {}
        self._views: dict[Kind, tuple[Api, object, Store]] = {}
        self.faults: Mapping[int, Fault] = {}
        self.frozen: Mapping[Kind, list[Object]] | None = None
        self.check: Callable[[], None] = lambda: None

    def do(self, asked: Request) -> Object:
        """Carry out a request, without counting it and without faults."""
        body = b"" if asked.body is None else fast_json.encode(asked.body)
        call = Call(asked.method, unquote(asked.path), dict(asked.query), body, asked.content_type)
        answer = self.api.answer(call)
        assert isinstance(answer, Response)
        if answer.status == 404 and not answer.body.startswith(b"{"):  # no such kind
            raise ApiError(404, "", answer.body.decode())
        parsed: Object = fast_json.decode(answer.body)
        if answer.status >= 300:
            reason, message = str(parsed.get("reason")), str(parsed.get("message"))
            raise ApiError(answer.status, reason, message, details=parsed.get("details"))
        return parsed

    def list(self, kind: Kind) -> list[Object]:
        if kind == kaito.WORKSPACE:
            kind = self.kind
        known = self._listed.get(kind)
        state = self._state(kind)
        if known is None or known[0] is not self.api or state is None or known[1] != state:
            items = self.do(Request("GET", kind.path()))["items"]
            titled = [with_type(kind, item) for item in items]
            known = self._listed[kind] = (self.api, state, titled)
        return list(known[2])

    def _state(self, kind: Kind) -> tuple[Kind, int, int] | None:
        """What changes with every write of the kind; None for a kind that there is not."""
        kind = self.kind if kind == kaito.WORKSPACE else kind
        resource = self.api.kinds.resources.get((kind.group, kind.version, kind.plural))
        if resource is None:
            return None
        table = self.api.store._table(resource.name)
        return kind, table.events[-1].entry.version if table.events else 0, table.forgotten

    def get(self, kind: Kind, name: str, namespace: str = "default") -> Object | None:
        found = [item for item in self.list(kind) if key_of(item).name == name]
        return next((item for item in found if key_of(item).namespace in ("", namespace)), None)

    def apply(self, kind: Kind, obj: Object) -> Object:
        return self.do(request.apply(kind, obj, manager="user", force=True))

    def forget_history(self) -> None:
        """Somebody deletes all revisions: nothing tells any more what was applied before."""
        for one in self.list(CONTROLLER_REVISION):
            self.do(request.delete(CONTROLLER_REVISION, *key_of(one)))

    def set_status(self, kind: Kind, name: str, status: Object) -> None:
        namespace = "default" if kind.namespaced else ""
        self.do(
            request.merge_patch(kind, namespace, name, {"status": status}, manager="x", subresource="status")
        )

    # --- the controller ----------------------------------------------------------------------------------

    def stores(self) -> Stores:
        """What the informers would show now; while `frozen`, what they showed then."""
        views = {}
        for kind in WATCHED:
            known, state = self._views.get(kind), self._state(kind)
            is_stale = known is None or known[0] is not self.api or state is None or known[1] != state
            if self.frozen or known is None or is_stale:
                store = Store()
                for obj in self.frozen[kind] if self.frozen else self.list(kind):
                    store._replace(key_of(obj), copy_of(transform_of(kind)(obj)))
                known = (self.api, state, store)
                if not self.frozen:
                    self._views[kind] = known
            views[kind] = known[2]
        return Stores(
            views[kaito.WORKSPACE],
            views[DEPLOYMENT],
            views[STATEFUL_SET],
            views[SERVICE],
            views[NODE],
            views[POD],
            self._gpu_pods(views[POD]),
            views[NODE_CLAIM],
            views[JOB],
            views[CONFIG_MAP],
            views[CONTROLLER_REVISION],
            can_claim=lambda: True,
            clock=lambda: NOW,
            **self.more_stores(),
        )

    def more_stores(self) -> dict[str, Store]:
        """What a controller with other settings sees besides."""
        return {}

    @staticmethod
    def _gpu_pods(pods: Store) -> Store:
        store = Store()
        for key, pod in pods.items():
            if (kept := holding_gpus(pod)) is not None:
                store._replace(key, kept)
        return store

    def reconcile(self, name: str = "falcon") -> int:
        """One pass; returns the number of writes tried. Errors that a work queue would retry end the pass."""
        reconciler = WorkspaceReconciler(self.stores(), self.settings, kind=self.kind, clock=lambda: NOW)
        before = len(self.requests)
        self.drive(reconciler.reconcile(ObjectKey("default", name)))
        return sum(asked.is_write for asked in self.requests[before:])

    def drive(self, generator: ReconcileSteps) -> Outcome | None:
        """Carry out a pass; None when it ended with an error."""
        try:
            asked = next(generator)
            while True:
                try:
                    answer = self._send(asked)
                except ApiError as error:
                    asked = generator.throw(error)
                else:
                    asked = generator.send(answer)
        except StopIteration as stop:
            outcome: Outcome = stop.value
            return outcome
        except (ApiError, Crash):
            generator.close()
            return None

    def _send(self, asked: Request) -> Object:
        number = len(self.requests)
        self.requests.append(asked)
        fault = self.faults.get(number)
        if fault == "crash-before":
            raise Crash
        if fault in ("conflict", "unavailable", "refused"):
            status = {"conflict": 409, "unavailable": 503, "refused": 422}[fault]
            raise ApiError(status, "Injected", f"injected fault at request {number}")
        answer = self.do(asked)
        self.check()
        if fault == "crash-after":
            raise Crash
        return answer

    def settle(self, name: str = "falcon", *, most: int = 25) -> None:
        """Passes, with the rest of the cluster doing its part in between, until a pass writes nothing."""
        for _ in range(most):
            wrote = self.reconcile(name)
            if not self.cluster_moves() and not wrote:
                return
        raise AssertionError(f"still writing after {most} passes: {self.requests[-5:]}")

    def cluster_moves(self) -> bool:
        """What provisioner, Deployment and Job controller would do; True if that was something."""
        moved = False
        for claim in self.list(NODE_CLAIM):
            name = claim["metadata"]["name"]
            if claim["metadata"].get("deletionTimestamp"):
                continue
            if self.get(NODE, f"node-{name}") is None:
                asked = {item["key"]: item["values"][0] for item in claim["spec"]["requirements"]}
                wanted = asked["node.kubernetes.io/instance-type"]
                self.apply(NODE, gpu_node(f"node-{name}", claim["metadata"]["labels"], wanted))
                self.set_status(NODE, f"node-{name}", node_status(str(instance_types()[wanted].gpus)))
                self.set_status(NODE_CLAIM, name, {"nodeName": f"node-{name}"})
                moved = True
        for kind in (DEPLOYMENT, STATEFUL_SET):
            for workload in self.list(kind):
                if dig(workload, "status", "observedGeneration") != generation_of(workload):
                    counts = dict.fromkeys(
                        ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"),
                        workload["spec"]["replicas"],
                    )
                    observed = {"observedGeneration": generation_of(workload), **counts}
                    self.set_status(kind, workload["metadata"]["name"], observed)
                    moved = True
            moved |= self.runs_pods and self._pods_move(kind)
        moved |= self.runs_pods and self._orphans_go()
        for job in self.list(JOB):
            if not job.get("status"):
                self.set_status(JOB, job["metadata"]["name"], {"active": 1, "ready": 1})
                moved = True
        return moved

    def _pods_move(self, kind: Kind) -> bool:
        """Each replica is a pod that is ready, on a node of its own that has the labels and free GPUs."""
        moved = False
        for workload in self.list(kind):
            name = key_of(workload).name
            replicas = int(workload["spec"]["replicas"])
            for pod in self.list(POD):  # as a rolling update without surge does
                if is_controlled_by(pod, workload) and not is_of_template(pod, workload):
                    self.stop(pod)
                    moved = True
            there = {key_of(pod).name for pod in self.list(POD)}
            for number in range(replicas):
                if f"{name}-{number}" in there or not self.admits(running_pod(workload, number, "")):
                    continue
                if node := self._room_for(workload):
                    self.apply(POD, running_pod(workload, number, node))
                    self.set_status(POD, f"{name}-{number}", _RUNNING)
                    moved = True
            for pod in self.list(POD):
                if is_controlled_by(pod, workload) and int(key_of(pod).name.rpartition("-")[2]) >= replicas:
                    self.stop(pod)
                    moved = True
        return moved

    def admits(self, pod: Object) -> bool:
        """Whether the API server takes the pod."""
        return True

    def _room_for(self, workload: Object) -> str:
        affinity = dig(workload, "spec", "template", "spec", "affinity", "nodeAffinity") or {}
        required = affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
        asks = gpus_asked(workload["spec"]["template"])
        pods = [pod for pod in self.list(POD) if not is_finished(pod)]
        for node in self.list(NODE):
            name = node["metadata"]["name"]
            here = [pod for pod in pods if dig(pod, "spec", "nodeName") == name]
            free = int(dig(node, "status", "allocatable", "nvidia.com/gpu") or 0) - sum(map(gpus_asked, here))
            if free < asks or any(is_controlled_by(pod, workload) for pod in here):
                continue
            tolerations = dig(workload, "spec", "template", "spec", "tolerations") or ()
            taints = [one for one in dig(node, "spec", "taints") or () if one["effect"] != "PreferNoSchedule"]
            is_closed = dig(node, "spec", "unschedulable")
            if is_closed or not all(is_tolerated(taint, tolerations) for taint in taints):
                continue
            if all(
                matches_expression(item, node["metadata"]["labels"])
                for item in required[0]["matchExpressions"]
            ):
                return str(name)
        return ""

    def _orphans_go(self) -> bool:
        """Pods go with their workload and with their node; the sandbox collects no garbage by itself here."""
        nodes = {node["metadata"]["name"] for node in self.list(NODE)}
        claims = {claim["metadata"]["name"] for claim in self.list(NODE_CLAIM)}
        moved = False
        for name in sorted(nodes):
            if name.startswith("node-") and name.removeprefix("node-") not in claims:
                self.do(request.delete(NODE, "", name))
                moved = True
        owners = {uid_of(workload) for kind in (DEPLOYMENT, STATEFUL_SET) for workload in self.list(kind)}
        for pod in self.list(POD):
            owner = controller_of(pod)
            is_lost = dig(pod, "spec", "nodeName") not in nodes
            has_lost_its_owner = owner is not None and owner["kind"] != "Job" and owner["uid"] not in owners
            if is_being_deleted(pod) or has_lost_its_owner or (owner is not None and is_lost):
                self.stop(pod)
                moved = True
        return moved

    def stop(self, pod: Object) -> None:
        """What a kubelet does with a pod that is to go."""
        asked = request.delete(POD, *key_of(pod))
        self.do(Request(asked.method, asked.path, body={**asked.body, "gracePeriodSeconds": 0}))


def gpus_asked(pod: Object) -> int:
    return gpu_request(pod, "nvidia.com/gpu")


def is_of_template(pod: Object, workload: Object) -> bool:
    return annotations_of(pod).get("template") == _template_text(workload)


def _template_text(workload: Object) -> str:
    return json.dumps(workload["spec"]["template"], sort_keys=True)


def running_pod(workload: Object, number: int, node: str) -> Object:
    template, key = workload["spec"]["template"], key_of(workload)
    metadata = {
        "name": f"{key.name}-{number}",
        "namespace": key.namespace,
        "labels": template["metadata"]["labels"],
        "annotations": {"template": _template_text(workload)},
        "ownerReferences": [owner_reference(workload)],
    }
    spec = {**template["spec"], "nodeName": node}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


_RUNNING: Object = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}


def gpu_node(name: str, labels: Mapping[str, str], instance_type: str = "Standard_NC12s_v3") -> Object:
    own = {"node.kubernetes.io/instance-type": instance_type}
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {**labels, **own}}}


def node_status(gpus: str) -> Object:
    amounts = {"cpu": "12", "nvidia.com/gpu": gpus}
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": ""}
    return {"allocatable": amounts, "capacity": amounts, "conditions": [ready]}


def falcon(**resource: object) -> Object:
    """The guide's first example, as a user would apply it."""
    return {
        "apiVersion": "kaito.sh/v1alpha1",
        "kind": "Workspace",
        "metadata": {"name": "falcon", "namespace": "default"},
        "resource": {
            "instanceType": "Standard_NC12s_v3",
            "labelSelector": {"matchLabels": {"apps": "falcon-7b"}},
            **resource,
        },
        "inference": {"preset": {"name": "falcon-7b"}},
    }


def prepared() -> World:
    """A world with one node that the Workspace can use, so that nothing has to be bought."""
    world = World()
    world.apply(NODE, gpu_node("gpu-a", {"apps": "falcon-7b"}))
    world.set_status(NODE, "gpu-a", node_status("2"))
    return world


def writes(world: World) -> list[str]:
    """`PATCH deployments/falcon` and so on, of all requests so far; Events do not count."""
    wrote = (asked for asked in world.requests if asked.is_write)
    all_of_them = (f"{asked.method} {'/'.join(asked.path.split('/')[-2:])}" for asked in wrote)
    return [text for text in all_of_them if not text.endswith("/events")]


def is_ready(world: World) -> bool:
    found = world.get(kaito.WORKSPACE, "falcon")
    assert found is not None
    return conditions.is_true(found, kaito.WORKSPACE_SUCCEEDED, generation=generation_of(found))


def our_pod(node: str) -> Object:
    container = {"name": "falcon", "image": "x:1", "resources": {"limits": {"nvidia.com/gpu": "2"}}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "namespace": "default", "labels": {"kaito.sh/workspace": "falcon"}},
        "spec": {"nodeName": node, "containers": [container]},
    }


def big(count: int = 2) -> Object:
    """A model that spreads over several nodes."""
    obj = falcon(count=count, instanceType="Standard_NC96ads_A100_v4")
    options = {"image": "registry.example/llama:1"}
    obj["inference"]["preset"] = {"name": "llama-2-70b", "accessMode": "private", "presetOptions": options}
    return obj
