"""Lives of a Workspace for fault plans: what is there, what users do, what the rest of the cluster does."""

from __future__ import annotations

import copy
from typing import Any

from faults.model import Cluster, State
from faults.runs import Action, Following, Scenario
from world import falcon, gpu_node, node_status, running_pod

from kaitoctl.kaito import api as kaito
from kaitoctl.kaito.catalog import instance_types
from kaitoctl.kube import conditions, request
from kaitoctl.kube.objects import (
    DEPLOYMENT,
    JOB,
    NODE,
    NODE_CLAIM,
    POD,
    SECRET,
    SERVICE,
    STATEFUL_SET,
    Kind,
    Object,
    controller_of,
    dig,
    generation_of,
    is_being_deleted,
    is_controlled_by,
    key_of,
    owner_reference,
)
from kaitoctl.kube.request import Request

ADAPTER: Object = {
    "source": {"name": "style", "image": "r.io/style:1", "imagePullSecrets": ["pull"]},
    "strength": "0.5",
}
PLAIN_ADAPTER: Object = {"source": {"name": "style", "image": "r.io/style:1"}}


# --- requests of users and of the cluster ----------------------------------------------------------------


def applied(kind: Kind, obj: Object) -> Request:
    return request.apply(kind, obj, manager="user", force=True)


def with_status(kind: Kind, name: str, status: Object) -> Request:
    namespace = "default" if kind.namespaced else ""
    return request.merge_patch(
        kind, namespace, name, {"status": status}, manager="cluster", subresource="status"
    )


def apply(kind: Kind, obj: Object) -> Action:
    """Somebody applies an object, whatever is there."""
    return lambda cluster, state: cluster.do(state, applied(kind, obj))


def delete(kind: Kind, name: str, *, propagation: str = "Background") -> Action:
    """Somebody deletes an object, once it is there."""

    def act(cluster: Cluster, state: State) -> State | None:
        if state.get(kind, name) is None:
            return None
        return cluster.do(state, request.delete(kind, "default", name, propagation=propagation))

    return act


def create(kind: Kind, obj: Object) -> Action:
    """Somebody creates an object, once there is none of this name."""

    def act(cluster: Cluster, state: State) -> State | None:
        if state.get(kind, obj["metadata"]["name"]) is not None:
            return None
        return cluster.do(state, request.create(kind, obj))

    return act


def prepared(
    name: str = "gpu-a", apps: str = "falcon-7b", type_: str = "Standard_NC12s_v3", gpus: str = "2"
) -> Action:
    """There is a node that can be used."""

    def act(cluster: Cluster, state: State) -> State:
        node = gpu_node(name, {"apps": apps}, type_)
        return cluster.do(state, applied(NODE, node), with_status(NODE, name, node_status(gpus)))

    return act


def nothing(_: Cluster, state: State) -> State:
    return state


def all_of(*actions: Action) -> Action:
    def act(cluster: Cluster, state: State) -> State | None:
        for action in actions:
            done = action(cluster, state)
            assert done is not None
            state = done
        return state

    return act


# --- the rest of the cluster -----------------------------------------------------------------------------


def moves(cluster: Cluster, state: State) -> State:
    """One step of provisioner, Deployment, StatefulSet and Job controllers and kubelets."""
    for step in (_provisioner, _workloads, _jobs, _kubelet):
        state = step(cluster, state)
    return state


def moves_with_pods(cluster: Cluster, state: State) -> State:
    """The same, and Deployments have pods, each ready on a node of its own."""
    state = moves(cluster, state)
    nodes = [obj["metadata"]["name"] for obj in state.objects(NODE)]
    for deployment in list(state.objects(DEPLOYMENT)):
        key, wanted = key_of(deployment), int(deployment["spec"]["replicas"])
        own = [pod for pod in state.objects(POD) if is_controlled_by(pod, deployment)]
        for number, pod in enumerate(own):
            if number >= wanted or dig(pod, "spec", "nodeName") not in nodes:
                state = cluster.do(state, _stopped(pod))
        taken = {dig(pod, "spec", "nodeName") for pod in state.objects(POD)}
        names = {key_of(pod).name for pod in state.objects(POD)}
        for number in range(wanted):
            free = [name for name in nodes if name not in taken]
            if f"{key.name}-{number}" not in names and free:
                taken.add(free[0])
                made = running_pod(
                    {"apiVersion": "apps/v1", "kind": "Deployment", **deployment}, number, free[0]
                )
                ready = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
                state = cluster.do(state, applied(POD, made), with_status(POD, f"{key.name}-{number}", ready))
    return state


def _stopped(pod: Object) -> Request:
    gone = request.delete(POD, *key_of(pod))
    return Request(gone.method, gone.path, body={**gone.body, "gracePeriodSeconds": 0})


def _provisioner(cluster: Cluster, state: State) -> State:
    claims = {obj["metadata"]["name"]: obj for obj in state.objects(NODE_CLAIM) if not is_being_deleted(obj)}
    for node in list(state.objects(NODE)):
        claim = node["metadata"]["name"].removeprefix("node-")
        if node["metadata"]["name"].startswith("node-") and claim not in claims:
            state = cluster.do(state, request.delete(NODE, "", node["metadata"]["name"]))
    for name, claim in claims.items():
        if state.get(NODE, f"node-{name}") is not None and dig(claim, "status", "nodeName"):
            continue
        asked = {item["key"]: item["values"][0] for item in claim["spec"]["requirements"]}
        wanted = asked[kaito.LABEL_INSTANCE_TYPE]
        node = gpu_node(f"node-{name}", claim["metadata"]["labels"], wanted)
        gpus = str(instance_types()[wanted].gpus)
        state = cluster.do(
            state,
            applied(NODE, node),
            with_status(NODE, f"node-{name}", node_status(gpus)),
            with_status(NODE_CLAIM, name, {"nodeName": f"node-{name}"}),
        )
    return state


def _workloads(cluster: Cluster, state: State) -> State:
    """First the new spec is noticed, and one step later all replicas serve."""
    for kind in (DEPLOYMENT, STATEFUL_SET):
        for obj in list(state.objects(kind)):
            status, generation, wanted = obj.get("status") or {}, generation_of(obj), obj["spec"]["replicas"]
            counts = dict.fromkeys(("updatedReplicas", "readyReplicas", "availableReplicas"), wanted)
            if status.get("observedGeneration") != generation:
                counts = dict.fromkeys(counts, 0)
            elif status.get("readyReplicas") == wanted:
                continue
            seen = {"observedGeneration": generation, "replicas": wanted, **counts}
            state = cluster.do(state, with_status(kind, key_of(obj).name, seen))
    return state


def _jobs(cluster: Cluster, state: State) -> State:
    """First a Job's pod runs, and one step later it has ended well."""
    for job in list(state.objects(JOB)):
        name = key_of(job).name
        status = job.get("status") or {}
        if is_being_deleted(job) or status.get("succeeded"):
            continue
        if not status.get("active"):
            state = cluster.do(
                state,
                applied(POD, _pod_of(job)),
                with_status(POD, f"{name}-x", _pod_status(name, "Running", {"running": {}})),
                with_status(JOB, name, {"active": 1, "ready": 1}),
            )
        else:
            ended = {"terminated": {"exitCode": 0, "reason": "Completed"}}
            complete = {"type": "Complete", "status": "True", "reason": "CompletionsReached", "message": ""}
            done = {"active": 0, "ready": 0, "succeeded": 1, "conditions": [complete]}
            state = cluster.do(
                state,
                with_status(POD, f"{name}-x", _pod_status(name, "Succeeded", ended)),
                with_status(JOB, name, done),
            )
    return state


def _kubelet(cluster: Cluster, state: State) -> State:
    """Pods that are to go have stopped."""
    for pod in list(state.objects(POD)):
        if is_being_deleted(pod):
            gone = request.delete(POD, "default", pod["metadata"]["name"])
            options = {**gone.body, "gracePeriodSeconds": 0}
            state = cluster.do(state, Request(gone.method, gone.path, body=options))
    return state


def _pod_of(job: Object) -> Object:
    name = key_of(job).name
    metadata = {
        "name": f"{name}-x",
        "namespace": "default",
        "labels": {kaito.LABEL_WORKSPACE: name},
        "ownerReferences": [owner_reference({"apiVersion": "batch/v1", "kind": "Job", **job})],
    }
    spec = {"nodeName": "gpu-a", "containers": [{"name": name, "image": "x:1"}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def _pod_status(container: str, phase: str, state: Object) -> Object:
    return {"phase": phase, "containerStatuses": [{"name": container, "state": state}]}


# --- Workspaces ------------------------------------------------------------------------------------------


def with_adapters(obj: Object, *adapters: Object) -> Object:
    changed = copy.deepcopy(obj)
    changed["inference"]["adapters"] = list(adapters)
    return changed


def big(count: int = 2) -> Object:
    """A model that spreads over several nodes."""
    obj = falcon(count=count, instanceType="Standard_NC96ads_A100_v4")
    options = {"image": "registry.example/llama:1"}
    obj["inference"]["preset"] = {"name": "llama-2-70b", "accessMode": "private", "presetOptions": options}
    return obj


def tuned(**changes: Any) -> Object:
    asked: Object = {
        "preset": {"name": "phi-2"},
        "method": "qlora",
        "input": {"urls": ["https://data.example/a.json"]},
        "output": {"image": "registry.example/adapter:1", "imagePushSecret": "push"},
        **changes,
    }
    return {
        "apiVersion": "kaito.sh/v1alpha1",
        "kind": "Workspace",
        "metadata": {"name": "falcon", "namespace": "default"},
        "resource": {"instanceType": "Standard_NC6s_v3", "labelSelector": {"matchLabels": {"apps": "tune"}}},
        "tuning": asked,
    }


def push_secret() -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "push", "namespace": "default"},
        "data": {".dockerconfigjson": "eyJhdXRocyI6e319"},
        "type": "kubernetes.io/dockerconfigjson",
    }


def somebodys_service() -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "falcon", "namespace": "default"},
        "spec": {
            "ports": [{"name": "http", "protocol": "TCP", "port": 80, "targetPort": 5000}]
        },  # compatible with ours, so that nothing but care protects it
    }


def take_theirs_away(cluster: Cluster, state: State) -> State | None:
    """The owner of the foreign Service removes it; nothing to do when it never came to be."""
    there = state.get(SERVICE, "falcon")
    if there is None or controller_of(there):
        return state
    return cluster.do(state, request.delete(SERVICE, "default", "falcon"))


def create_theirs(cluster: Cluster, state: State) -> State | None:
    """Somebody creates a Service of our name; refused when there is one."""
    return cluster.ask(state, request.create(SERVICE, somebodys_service())).state


def lose_node(cluster: Cluster, state: State) -> State | None:
    """The cloud takes a machine away: Karpenter deletes its NodeClaim and Node."""
    claim = next(iter(state.objects(NODE_CLAIM)), None)
    if claim is None:
        return None
    return cluster.do(state, request.delete(NODE_CLAIM, "", claim["metadata"]["name"]))


def finalizer_of_others(*names: str) -> Action:
    """Another controller adds its finalizer to the Workspace, or takes it away again."""

    def act(cluster: Cluster, state: State) -> State | None:
        there = state.get(kaito.WORKSPACE, "falcon")
        if there is None:
            return None
        kept = [
            name for name in there["metadata"].get("finalizers") or () if not name.startswith("example.com")
        ]
        metadata = {"finalizers": [*names, *kept], "resourceVersion": there["metadata"]["resourceVersion"]}
        patch = request.merge_patch(
            kaito.WORKSPACE, "default", "falcon", {"metadata": metadata}, manager="other"
        )
        return cluster.do(state, patch)

    return act


def no_finalizers(cluster: Cluster, state: State) -> State | None:
    """Somebody impatient takes all finalizers away from a Workspace that is being deleted."""
    there = state.get(kaito.WORKSPACE, "falcon")
    if there is None:
        return state
    patch = {"metadata": {"finalizers": None}}
    return cluster.do(
        state, request.merge_patch(kaito.WORKSPACE, "default", "falcon", patch, manager="kubectl")
    )


def broken_preset() -> Object:
    obj = falcon()
    obj["inference"]["preset"]["name"] = "no-such-model"
    return obj


def _is_free(kind: Kind, name: str, then: Action) -> Action:
    return lambda cluster, state: None if state.get(kind, name) is not None else then(cluster, state)


def bad_adapter() -> Object:
    """Its name would have to be the name of a container, and cannot be."""
    return with_adapters(
        falcon(), {"source": {"name": "My_Style", "image": "r.io/style:1"}, "strength": "0.5"}
    )


# --- ends ------------------------------------------------------------------------------------------------


def ready(state: State) -> str:
    found = state.get(kaito.WORKSPACE, "falcon")
    if found is None:
        return "there is no Workspace"
    done = conditions.is_true(found, kaito.WORKSPACE_SUCCEEDED, generation=generation_of(found))
    return "" if done else f"the Workspace is not ready: {dig(found, 'status', 'conditions')}"


def count_is_refused(state: State) -> str:
    found = state.get(kaito.WORKSPACE, "falcon") or {}
    condition = conditions.find(found, kaito.WORKSPACE_SUCCEEDED) or {}
    bought = len(list(state.objects(NODE_CLAIM)))
    said = "resource.count: is immutable (1 -> 2)" in condition.get("message", "")
    return "" if said and not bought else f"{bought} nodes bought: {condition}"


def gone(state: State) -> str:
    left = [f"{kind.kind} {key_of(obj)}" for kind in OURS for obj in state.objects(kind)]
    return f"left behind: {', '.join(left)}" if left else ""


def name_conflict(state: State) -> str:
    found = state.get(kaito.WORKSPACE, "falcon") or {}
    condition = conditions.find(found, kaito.INFERENCE_READY) or {}
    return "" if condition.get("reason") == "NameConflict" else f"no name conflict: {condition}"


# --- lives -----------------------------------------------------------------------------------------------

OURS = (kaito.WORKSPACE, DEPLOYMENT, STATEFUL_SET, SERVICE, NODE_CLAIM, JOB)
WORKSPACE = apply(kaito.WORKSPACE, falcon())
ANOTHER = create(kaito.WORKSPACE, falcon())
DELETE = delete(kaito.WORKSPACE, "falcon")
ADAPTED = apply(kaito.WORKSPACE, with_adapters(falcon(), ADAPTER))
PREPARED = prepared()
PREPARED_TO_TUNE = all_of(
    prepared(apps="tune", type_="Standard_NC6s_v3", gpus="1"), apply(SECRET, push_secret())
)
TUNED = apply(kaito.WORKSPACE, tuned())
RETUNED = apply(
    kaito.WORKSPACE, tuned(output={"image": "registry.example/adapter:2", "imagePushSecret": "push"})
)
BIG = apply(kaito.WORKSPACE, big())
BIG_ADAPTED = apply(kaito.WORKSPACE, with_adapters(big(), PLAIN_ADAPTER))

_CREATE = Scenario("create", PREPARED, (WORKSPACE,), moves, ready, most_steps=13)
_BUY = Scenario("buy", nothing, (WORKSPACE,), moves, ready)

SCENARIOS: dict[str, Scenario] = {
    scenario.name: scenario
    for scenario in (
        _CREATE,
        Scenario("buy-two", nothing, (apply(kaito.WORKSPACE, falcon(count=2)),), moves, ready),
        Scenario(
            "adapters",
            PREPARED,
            (WORKSPACE, ADAPTED),
            moves,
            ready,
            same_as=Scenario("adapted", PREPARED, (ADAPTED,), moves),
        ),
        Scenario("there-and-back", PREPARED, (WORKSPACE, ADAPTED, WORKSPACE), moves, ready, same_as=_CREATE),
        Scenario("delete", nothing, (WORKSPACE, DELETE), moves, gone),
        Scenario(
            "delete-slowly",
            nothing,
            (WORKSPACE, finalizer_of_others("example.com/a"), DELETE, finalizer_of_others()),
            moves,
            gone,
        ),
        Scenario("delete-by-force", nothing, (WORKSPACE, DELETE, no_finalizers), moves, gone),
        Scenario("recreate", nothing, (WORKSPACE, DELETE, ANOTHER), moves, ready, same_as=_BUY),
        Scenario(
            "orphans",
            PREPARED,
            (WORKSPACE, delete(kaito.WORKSPACE, "falcon", propagation="Orphan"), ANOTHER),
            moves,
            name_conflict,
            without=("early", "meddle"),  # there is less to be orphaned
        ),
        Scenario(
            "foreign", PREPARED, (create_theirs, WORKSPACE, take_theirs_away), moves, ready, same_as=_CREATE
        ),
        Scenario(
            "squatter", PREPARED, (WORKSPACE, create_theirs, take_theirs_away), moves, ready, same_as=_CREATE
        ),
        Scenario(
            "shrink",
            nothing,
            (apply(kaito.WORKSPACE, falcon(count=2)), apply(kaito.WORKSPACE, falcon(count=1))),
            moves_with_pods,
            ready,
            reconciler=Following,
        ),
        Scenario(
            "grow",
            nothing,
            (apply(kaito.WORKSPACE, falcon(count=1)), apply(kaito.WORKSPACE, falcon(count=2))),
            moves,
            ready,
            reconciler=Following,
        ),
        Scenario(
            "count-changed",
            PREPARED,
            (WORKSPACE, apply(kaito.WORKSPACE, falcon(count=2))),
            moves,
            count_is_refused,
            without=("early",),  # of what was never looked at, nothing tells how it was
        ),
        Scenario("node-lost", nothing, (WORKSPACE, lose_node), moves, ready, same_as=_BUY),
        Scenario(
            "mended",
            PREPARED,
            (apply(kaito.WORKSPACE, broken_preset()), WORKSPACE),
            moves,
            ready,
            same_as=_CREATE,
        ),
        Scenario(
            "bad-name",
            PREPARED,
            (apply(kaito.WORKSPACE, bad_adapter()), WORKSPACE),
            moves,
            ready,
            same_as=_CREATE,
        ),
        Scenario("distributed", nothing, (BIG,), moves, ready),
        Scenario(
            "distributed-adapters",
            nothing,
            (BIG, BIG_ADAPTED),
            moves,
            ready,
            same_as=Scenario("distributed-adapted", nothing, (BIG_ADAPTED,), moves),
        ),
        Scenario("tuning", PREPARED_TO_TUNE, (TUNED,), moves, ready),
        Scenario("tuning-again", PREPARED_TO_TUNE, (TUNED, RETUNED), moves, ready),
    )
}
