"""Clusters that several tenants share, drawn at random, and what must never happen in them.

`falcon` in namespace `a` is who asks for advice; everything else is somebody's. The API server is the
sandbox's, on a port, without controllers: what a command did is still there to be seen.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from world import crds

from kaitoctl.errors import ApiError
from kaitoctl.kaito import api as kaito
from kaitoctl.kube import request
from kaitoctl.kube.objects import (
    CRD,
    DEPLOYMENT,
    NODE,
    NODE_CLAIM,
    POD,
    SERVICE,
    Kind,
    Object,
    copy_of,
    dig,
)
from kaitoctl.kube.request import Request
from kaitoctl.sandbox.api import Call, Response
from kaitoctl.sandbox.server import ApiServer

NAMESPACE = Kind("", "v1", "Namespace", "namespaces", namespaced=False)
ASKER, TYPE, SINCE = "falcon", "Standard_NC12s_v3", "2026-01-01T00:00:00Z"

# What a controller sets and takes off again; to remove one by hand is to fight it.
OWNED_TAINTS = (
    "karpenter.sh/disrupted:NoSchedule",
    "karpenter.sh/unregistered:NoExecute",
    "ToBeDeletedByClusterAutoscaler:NoSchedule",
    "node.cloudprovider.kubernetes.io/uninitialized:NoSchedule",
    "node.cilium.io/agent-not-ready:NoSchedule",
    "node.kubernetes.io/network-unavailable:NoSchedule",
    "node.kubernetes.io/out-of-service:NoExecute",
    "kubernetes.azure.com/scalesetpriority:NoSchedule",
)
LABELS: dict[str, dict[str, str]] = {
    "nobody": {},
    "mine": {"apps": "a"},
    "theirs": {"apps": "b"},
    "their-team": {"team": "b"},
    "both": {"apps": "a", "team": "b"},
    "made-for-them": {kaito.LABEL_WORKSPACE: "other", kaito.LABEL_WORKSPACE_NAMESPACE: "b"},
}


@dataclass(frozen=True)
class Drawn:
    """One node as drawn: whose labels, what keeps pods away, who holds its GPUs."""

    labels: str
    taint: str
    is_cordoned: bool
    gpus: str
    is_ready: bool
    holder: str
    instance_type: str


@dataclass(frozen=True)
class Scene:
    """What a cluster is drawn from.

    Args:
        nodes: its nodes.
        theirs: the labels by which the Workspace of the tenant next door selects.
        preferred: the nodes that the asker names, by number.
        count: how many it needs.
        state: `new`, `waiting`, `quota` (its NodeClaim was refused), `pending` (a pod without a node); or it
            served once, and somebody has `changed` a field that cannot change, `scaled` its Deployment to 0,
            `paused` it, or led its Service elsewhere by `selector` or `port`.
    """

    nodes: tuple[Drawn, ...]
    theirs: dict[str, str]
    preferred: tuple[int, ...]
    count: int
    state: str


NODES = st.builds(
    Drawn,
    labels=st.sampled_from(sorted(LABELS)),
    taint=st.sampled_from(["", "", "", "", "team=b:NoSchedule", "maintenance:NoExecute", *OWNED_TAINTS]),
    is_cordoned=st.sampled_from([False, False, False, True]),
    gpus=st.sampled_from(["2", "2", "2", "1", "0", "mig"]),
    is_ready=st.sampled_from([True, True, True, False]),
    holder=st.sampled_from(["", "", "b", "plain", "slice", "claim"]),
    instance_type=st.sampled_from([TYPE, TYPE, TYPE, "Standard_NC6s_v3"]),
)
SCENES = st.builds(
    Scene,
    nodes=st.lists(NODES, min_size=1, max_size=4).map(tuple),
    theirs=st.sampled_from([{"apps": "b"}, {"team": "b"}, {"apps": "b", "team": "b"}]),
    preferred=st.sampled_from([(), (), (0,), (0, 1)]),
    count=st.integers(1, 2),
    state=st.sampled_from(
        ["new", "waiting", "quota", "pending", "changed", "scaled", "paused", "selector", "port"]
    ),
)


@dataclass
class Cluster:
    """A cluster that is up, and where it is."""

    server: ApiServer
    home: Path
    scene: Scene
    before: dict[str, Object] = field(default_factory=dict)

    @property
    def kubeconfig(self) -> str:
        return str(self.home / "kubeconfig")

    def do(self, asked: Request) -> Object:
        body = b"" if asked.body is None else json.dumps(asked.body).encode()
        answer = self.server.api.answer(
            Call(asked.method, asked.path, dict(asked.query), body, asked.content_type)
        )
        assert isinstance(answer, Response)
        parsed: Object = json.loads(answer.body)
        if answer.status >= 300:
            raise ApiError(answer.status, str(parsed.get("reason")), str(parsed.get("message")))
        return parsed

    def add(self, kind: Kind, obj: Object) -> Object:
        made = self.do(request.create(kind, copy_of(obj)))
        if status := obj.get("status"):
            namespace, name = made["metadata"].get("namespace") or "", made["metadata"]["name"]
            patch = {"status": status}
            made = self.do(
                request.merge_patch(kind, namespace, name, patch, manager="test", subresource="status")
            )
        return made

    def everything(self) -> dict[str, Object]:
        """All objects that somebody may lose, by kind and name."""
        found = {}
        for kind in (NODE, POD, kaito.WORKSPACE, NODE_CLAIM, NAMESPACE, DEPLOYMENT, SERVICE):
            for item in self.do(Request("GET", kind.path()))["items"]:
                metadata = item["metadata"]
                found[f"{kind.kind} {metadata.get('namespace') or ''}/{metadata['name']}"] = item
        return found

    def settle(self) -> None:
        """From now on, what is there must not be harmed."""
        self.before = self.everything()

    # --- laws --------------------------------------------------------------------------------------------

    def harm(self) -> list[str]:
        """What has happened since `settle` that must not; empty when nobody was harmed."""
        now, found = self.everything(), []
        for what, was in self.before.items():
            there = now.get(what)
            if there is None or dig(there, "metadata", "deletionTimestamp"):
                found.append(f"{what} is gone")
            elif what.startswith("Node "):
                found += [f"{what}: {harm}" for harm in self._harm_to_node(was, there)]
            elif not what.endswith(f"a/{ASKER}") and was["metadata"] != there["metadata"]:
                found.append(f"{what} was changed")
        return found

    def _harm_to_node(self, was: Object, now: Object) -> Iterator[str]:
        taints = [tuple(sorted(item.items())) for item in was["spec"].get("taints") or ()]
        kept = [tuple(sorted(item.items())) for item in now["spec"].get("taints") or ()]
        for gone in set(taints) - set(kept):
            item = dict(gone)
            if f"{item['key']}:{item['effect']}" in OWNED_TAINTS:
                yield f"the taint {item['key']} is a controller's, and was removed"
        for new in set(kept) - set(taints):
            yield f"it has a new taint {dict(new)}"
        whose = self.whose(was)
        if not whose:
            return
        if was["metadata"].get("labels") != now["metadata"].get("labels"):
            yield f"its labels were changed, and it is of {whose}"
        if set(taints) != set(kept):
            yield f"its taints were changed, and it is of {whose}"
        if "Pod " in whose and was["spec"].get("unschedulable") and not now["spec"].get("unschedulable"):
            yield f"it was opened for pods, and {whose} is still there"

    def whose(self, node: Object) -> str:
        """Who else has this node: by a pod that holds its GPUs, or by labels; empty for nobody."""
        name, labels = node["metadata"]["name"], node["metadata"].get("labels") or {}
        for what, pod in self.before.items():
            if what.startswith("Pod ") and dig(pod, "spec", "nodeName") == name and "/mine" not in what:
                return what
        if self.scene.theirs.items() <= labels.items():
            return "Workspace b/other, which selects it"
        if labels.get(kaito.LABEL_WORKSPACE) == "other":
            return "Workspace b/other, by its labels"
        return ""


@contextmanager
def cluster(scene: Scene, home: Path, loop: asyncio.AbstractEventLoop) -> Iterator[Cluster]:
    """A cluster with everything of the scene in it."""

    def run(coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(30)

    server = ApiServer()
    run(server.start())
    made = Cluster(server, home, scene)
    try:
        file = Path(made.kubeconfig)
        file.touch(mode=0o600)
        file.write_text(json.dumps(server.kubeconfig()))
        _fill(made)
        made.settle()
        yield made
    finally:
        run(server.stop())


@contextmanager
def event_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """A loop in a thread of its own, in which servers run while the commands of the test block theirs."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def _fill(made: Cluster) -> None:
    for crd in crds():
        made.do(request.apply(CRD, crd, manager="test", force=True))
    for namespace in ("a", "b"):
        try:
            made.add(NAMESPACE, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
        except ApiError as error:
            assert error.status == 409
    for number, drawn in enumerate(made.scene.nodes):
        made.add(NODE, _node(f"gpu-{number}", drawn))
        if drawn.holder:
            made.add(POD, _pod(f"gpu-{number}", drawn.holder))
    made.add(kaito.WORKSPACE, _workspace("other", "b", made.scene.theirs))
    _add_asker(made)


CLAIM = {"name": "gpu", "resourceClaimName": "gpu"}


def _node(name: str, drawn: Drawn) -> Object:
    key, _, effect = drawn.taint.rpartition(":")
    key, _, value = key.partition("=")
    taint = {"key": key, "effect": effect, **({"value": value} if value else {})}
    gpus = {"nvidia.com/mig-1g.5gb": "7"} if drawn.gpus == "mig" else {kaito.GPU: drawn.gpus}
    amounts = {"cpu": "12", "memory": "220Gi", "pods": "110", **gpus}
    ready = {"type": "Ready", "status": str(drawn.is_ready), "reason": "Kubelet", "message": "kubelet"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {
                **LABELS[drawn.labels],
                kaito.LABEL_INSTANCE_TYPE: drawn.instance_type,
                "kubernetes.io/os": "linux",
                "kubernetes.io/arch": "amd64",
            },
        },
        "spec": {
            **({"taints": [taint]} if drawn.taint else {}),
            **({"unschedulable": True} if drawn.is_cordoned else {}),
        },
        "status": {
            "capacity": {**amounts, **({kaito.GPU: "2"} if drawn.gpus == "0" else {})},
            "allocatable": amounts,
            "conditions": [{**ready, "lastTransitionTime": SINCE}],
        },
    }


def _pod(node: str, holder: str) -> Object:
    """A pod that runs on the node and holds its GPUs: of the Workspace next door, or of nobody's.

    `slice` and `claim` hold a MIG slice, or whatever a ResourceClaim gives, in the namespace default.
    """
    labels = {kaito.LABEL_WORKSPACE: "other"} if holder == "b" else {"app": "training"}
    amounts = {"slice": {"nvidia.com/mig-1g.5gb": "1"}, "claim": {}}.get(holder, {kaito.GPU: "1"})
    container = {
        "name": "main",
        "image": "r.example/m:1",
        "resources": {"limits": amounts, "requests": amounts},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"on-{node}",
            "namespace": "default" if holder in ("slice", "claim") else "b",
            "labels": labels,
        },
        "spec": {
            "nodeName": node,
            "containers": [container],
            **({"resourceClaims": [CLAIM]} if holder == "claim" else {}),
        },
        "status": {"phase": "Running"},
    }


def _workspace(name: str, namespace: str, labels: dict[str, str], **resource: Any) -> Object:
    return {
        "apiVersion": kaito.WORKSPACE.api_version,
        "kind": "Workspace",
        "metadata": {"name": name, "namespace": namespace},
        "resource": {"instanceType": TYPE, "labelSelector": {"matchLabels": labels}, **resource},
        "inference": {"preset": {"name": "falcon-7b"}},
    }


def _add_asker(made: Cluster) -> None:
    scene = made.scene
    if scene.state == "new":
        return
    preferred = [f"gpu-{number}" for number in scene.preferred]
    obj = _workspace(ASKER, "a", {"apps": "a"}, count=scene.count, preferredNodes=preferred)
    if scene.state != "pending":
        obj["status"] = {"conditions": [_said("ResourceReady", "False", "Pending", "nodes are missing")]}
    made.add(kaito.WORKSPACE, obj)
    if scene.state == "quota":
        claim = {
            "apiVersion": NODE_CLAIM.api_version,
            "kind": "NodeClaim",
            "metadata": {
                "name": "ws-mine",
                "labels": {kaito.LABEL_WORKSPACE: ASKER, kaito.LABEL_WORKSPACE_NAMESPACE: "a"},
            },
            "spec": {"nodeClassRef": {"group": "g", "kind": "k", "name": "n"}, "requirements": []},
            "status": {
                "conditions": [_said("Launched", "False", "LaunchFailed", "exceeding approved quota")]
            },
        }
        made.add(NODE_CLAIM, claim)
    if scene.state == "pending":
        pod = _pod("", "b")
        pod["metadata"] = {"name": "mine", "namespace": "a", "labels": {kaito.LABEL_WORKSPACE: ASKER}}
        del pod["spec"]["nodeName"]
        said = _said("PodScheduled", "False", "Unschedulable", "0/4 nodes are available")
        made.add(POD, {**pod, "status": {"phase": "Pending", "conditions": [said]}})
    if scene.state == "changed":
        _change(made)
    if scene.state in ("scaled", "paused", "selector", "port"):
        _serve(made, scene.state)


def _change(made: Cluster) -> None:
    """A Workspace that serves, whose count somebody has changed behind KAITO's back."""
    from kaitoctl.kube.objects import CONTROLLER_REVISION

    live = made.do(request.get(kaito.WORKSPACE, "a", ASKER))
    revision = {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": "falcon-1",
            "namespace": "a",
            "labels": {"workspace.kaito.io/name": ASKER},
            "ownerReferences": [_owner(live)],
        },
        "revision": 1,
        "data": {part: live[part] for part in ("resource", "inference")},
    }
    made.add(CONTROLLER_REVISION, revision)
    patch = {"resource": {"count": int(live["resource"]["count"]) + 1}}
    made.do(request.merge_patch(kaito.WORKSPACE, "a", ASKER, patch, manager="somebody"))
    _call_ready(made)


def _owner(live: Object) -> Object:
    return {
        "apiVersion": kaito.WORKSPACE.api_version,
        "kind": "Workspace",
        "name": ASKER,
        "uid": live["metadata"]["uid"],
        "controller": True,
    }


def _call_ready(made: Cluster) -> None:
    kinds = ("ResourceReady", kaito.INFERENCE_READY, kaito.WORKSPACE_SUCCEEDED)
    status = {"status": {"conditions": [_said(kind, "True", "ok", "ok") for kind in kinds]}}
    made.do(request.merge_patch(kaito.WORKSPACE, "a", ASKER, status, manager="kaito", subresource="status"))


def _serve(made: Cluster, trouble: str) -> None:
    """What KAITO makes of a Workspace, all of it ready, but for one trouble."""
    _call_ready(made)
    live = made.do(request.get(kaito.WORKSPACE, "a", ASKER))
    labels = {kaito.LABEL_WORKSPACE: ASKER}
    metadata = {"name": ASKER, "namespace": "a", "labels": labels, "ownerReferences": [_owner(live)]}
    container = {"name": ASKER, "image": "r.example/m:1", "ports": [{"containerPort": 5000}]}
    pods, count = {"spec": {"containers": [container]}}, 0 if trouble == "scaled" else made.scene.count
    done = 0 if trouble == "paused" else count
    counts = dict.fromkeys(("updatedReplicas", "readyReplicas", "availableReplicas"), done)
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata,
        "spec": {
            "replicas": count,
            "paused": trouble == "paused",
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, **pods},
        },
        "status": {"observedGeneration": 1, "replicas": count, **counts},
    }
    made.add(DEPLOYMENT, deployment)
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {
            "selector": {"app": "x"} if trouble == "selector" else labels,
            "ports": [{"name": "http", "port": 80, "targetPort": 81 if trouble == "port" else 5000}],
        },
    }
    made.add(SERVICE, service)
    if trouble in ("selector", "port"):
        ready = [_said(kind, "True", "", "") for kind in ("PodScheduled", "ContainersReady", "Ready")]
        state = {"name": ASKER, "ready": True, "restartCount": 0, "state": {"running": {"startedAt": SINCE}}}
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "mine", "namespace": "a", "labels": labels},
            "spec": {"nodeName": "gpu-0", **pods["spec"]},
            "status": {"phase": "Running", "conditions": ready, "containerStatuses": [state]},
        }
        made.add(POD, pod)


def _said(kind: str, status: str, reason: str, message: str) -> Object:
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "observedGeneration": 1,
        "lastTransitionTime": SINCE,
    }
