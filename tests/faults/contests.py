"""Contests for nodes: two to six Workspaces, other tenants' pods, and what must come of it."""

from __future__ import annotations

import copy
from collections.abc import Collection

from faults.model import Cluster, State
from faults.race import Action, Contest, pods_of, runs
from faults.scenarios import all_of, applied, with_status
from world import falcon, gpu_node, gpus_asked, node_status

from kaitoctl.kaito import api as kaito
from kaitoctl.kaito import node_claims
from kaitoctl.kube import request
from kaitoctl.kube.objects import NODE, NODE_CLAIM, POD, Object, ObjectKey, dig, key_of, labels_of
from kaitoctl.kube.pod_state import is_finished, is_ready

SIX = tuple(f"w{number}" for number in range(6))


def workspace(
    name: str, *, labels: dict[str, str] | None = None, namespace: str = "default", **resource: object
) -> Object:
    obj = copy.deepcopy(falcon(labelSelector={"matchLabels": labels or {"apps": "shared"}}, **resource))
    obj["metadata"] |= {"name": name, "namespace": namespace}
    return obj


def applies(name: str, **options: object) -> Action:
    obj = workspace(name, **options)  # type: ignore[arg-type]
    return lambda cluster, state: cluster.do(state, applied(kaito.WORKSPACE, obj))


def deletes(name: str) -> Action:
    return lambda cluster, state: cluster.do(state, request.delete(kaito.WORKSPACE, "default", name))


def prepared(name: str, *, gpus: str = "2", **labels: str) -> Action:
    def act(cluster: Cluster, state: State) -> State:
        node = gpu_node(name, labels)
        return cluster.do(state, applied(NODE, node), with_status(NODE, name, node_status(gpus)))

    return act


def once(holds: str, then: Action) -> Action:
    """Not before these Workspaces run."""
    return lambda cluster, state: None if runs(state, *holds.split()) else then(cluster, state)


def takes_a_bought_node(cluster: Cluster, state: State) -> State | None:
    """Another tenant's pod takes all GPUs of the first node that was bought and is free."""
    for node in state.objects(NODE):
        name = node["metadata"]["name"]
        on_it = [pod for pod in state.objects(POD) if dig(pod, "spec", "nodeName") == name]
        if name.startswith("node-") and dig(node, "status", "allocatable") and not on_it:
            return cluster.do(state, applied(POD, stranger(name)))
    return None if runs(state, "w0") else state  # too late


def stranger(node: str, gpus: str = "2") -> Object:
    resources = {"limits": {"nvidia.com/gpu": gpus}}
    containers = [{"name": "train", "image": "x:1", "resources": resources}]
    metadata = {"name": f"train-{node}", "namespace": "kube-public"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {"nodeName": node, "containers": containers},
    }


def strangers_leave(cluster: Cluster, state: State) -> State | None:
    for pod in list(state.objects(POD)):
        if key_of(pod).namespace == "kube-public":
            asked = request.merge_patch(
                POD, *key_of(pod), {"status": {"phase": "Succeeded"}}, manager="kubelet", subresource="status"
            )
            state = cluster.do(state, asked)
    return state


def vanishes(cluster: Cluster, state: State) -> State | None:
    """Karpenter finds no capacity for a claim and deletes it, once its Workspace says that it asked."""
    for claim in state.objects(NODE_CLAIM):
        name = claim["metadata"]["name"]
        is_told = name in str([dig(obj, "status", "conditions") for obj in state.objects(kaito.WORKSPACE)])
        if state.get(NODE, f"node-{name}") is None and is_told:
            return cluster.do(state, request.delete(NODE_CLAIM, "", name))
    return None if runs(state, "w0") else state


def no_finalizers(name: str) -> Action:
    def act(cluster: Cluster, state: State) -> State:
        if state.get(kaito.WORKSPACE, name) is None:
            return state
        patch = {"metadata": {"finalizers": None}}
        return cluster.do(
            state, request.merge_patch(kaito.WORKSPACE, "default", name, patch, manager="kubectl")
        )

    return act


def no_idle_claims(state: State, but: Collection[str] = ()) -> str:
    """Every node that is paid for has pods that hold its GPUs, those of some Workspaces left out."""
    used = {
        dig(pod, "spec", "nodeName") for pod in state.objects(POD) if gpus_asked(pod) and not is_finished(pod)
    }
    idle = [
        obj["metadata"]["name"]
        for obj in state.objects(NODE_CLAIM)
        if node_claims.node_of(obj) not in used and labels_of(obj)["kaito.sh/workspace"] not in but
    ]
    return f"paid for and not used: {idle}" if idle else ""


def all_run(*names: str):  # type: ignore[no-untyped-def]
    return lambda state: runs(state, *names) or no_idle_claims(state)


def all_run_or_have_lost(*names: str):  # type: ignore[no-untyped-def]
    """One whose nodes others have taken, twice as many as it needs, gets no more, and says so.

    The scheduler may place any pod on any node. That nobody asks for nodes without end counts for more than
    that all run.
    """

    def ends(state: State) -> str:
        lost = [name for name in names if runs(state, name) and not _says(state, name, "no more are bought")]
        wrong = [name for name in lost if len(_claims_of(state, name)) < 2 or _ready_pods(state, name)]
        return runs(state, *(name for name in names if name not in lost)) or "".join(wrong)

    return lambda state: ends(state) or no_idle_claims(state)


def _claims_of(state: State, name: str) -> list[Object]:
    return [obj for obj in state.objects(NODE_CLAIM) if labels_of(obj)["kaito.sh/workspace"] == name]


def serve(*names: str):  # type: ignore[no-untyped-def]
    """They have their pods; one may be on a node of another type, where the scheduler has put it.

    Its own node is kept for it, as it is the one that it asks for: its status says that it lacks that.
    """

    def ends(state: State) -> str:
        without = next((name for name in names if not _ready_pods(state, name)), "")
        astray = [name for name in names if _is_astray(state, name)]
        return without or no_idle_claims(state, but=astray)

    return ends


def _is_astray(state: State, name: str) -> bool:
    nodes = [str(dig(pod, "spec", "nodeName")) for pod in _ready_pods(state, name)]
    return all(not _says(state, name, f"missing: {node}: instance type is") for node in nodes)


def _ready_pods(state: State, name: str) -> list[Object]:
    return [pod for pod in pods_of(state, ObjectKey("default", name)) if is_ready(pod)]


def _says(state: State, name: str, words: str) -> str:
    told = str(dig(state.get(kaito.WORKSPACE, name), "status", "conditions"))
    return "" if words in told else f"it does not say: {words}, but {told}"


def kept_words(state: State, name: str) -> str:
    """The status of the Workspace says why a node is kept when one is."""
    found = state.get(kaito.WORKSPACE, name) or {}
    key = ObjectKey("default", name)
    own = {dig(pod, "spec", "nodeName") for pod in pods_of(state, key) if is_ready(pod)}
    theirs = [
        one
        for one in state.objects(NODE_CLAIM)
        if node_claims.is_of(one, found) and node_claims.node_of(one) and node_claims.node_of(one) not in own
    ]
    told = str(dig(found, "status", "conditions"))
    silent = [
        one["metadata"]["name"]
        for one in theirs
        if f"NodeClaim {one['metadata']['name']} is kept" not in told
    ]
    return f"nothing is said of {silent}" if silent else ""


CONTESTS: dict[str, Contest] = {
    contest.name: contest
    for contest in (
        Contest("six-of-a-kind", tuple(applies(name) for name in SIX), all_run(*SIX), 6, clean=True),
        Contest("six-of-a-kind-in-a-storm", tuple(applies(name) for name in SIX[:4]), all_run(*SIX[:4]), 4),
        Contest(
            "six-on-three-prepared-nodes",
            (
                all_of(*(prepared(f"gpu-{name}", apps="shared") for name in "abc")),
                *(applies(name) for name in SIX),
            ),
            all_run_or_have_lost(*SIX),
            4,  # a pod that was said to have no place may find one while its node is bought
            most_deleted=1,
            clean=True,
        ),
        Contest(
            "no-capacity",
            (applies("w0"), vanishes, vanishes, vanishes),
            all_run("w0"),
            4,
            clean=True,
        ),
        Contest(
            "overlapping-labels",
            (
                all_of(prepared("gpu-a", apps="shared"), prepared("gpu-b", apps="shared", zone="b")),
                applies("wide"),
                applies("narrow", labels={"apps": "shared", "zone": "b"}),
            ),
            all_run("wide", "narrow"),
            1,  # the scheduler may put the wide one where only the narrow one could have been
        ),
        Contest(
            "same-name-two-namespaces",
            (
                applies("falcon"),
                applies("falcon", namespace="kube-system"),
                applies("other", namespace="kube-system"),
            ),
            all_run("falcon", "kube-system/falcon", "kube-system/other"),
            3,
        ),
        Contest(
            "a-stranger-takes-the-node",
            (applies("w0"), takes_a_bought_node, once("w0", strangers_leave)),
            all_run("w0"),
            2,
            most_deleted=1,
        ),
        Contest(
            "strangers-take-every-node",
            (applies("w0"), takes_a_bought_node, takes_a_bought_node),
            lambda state: runs(state, "w0") and _says(state, "w0", "no more are bought"),
            2,
        ),
        Contest(
            "shrinks-under-strangers",
            (
                applies("w0", count=2),
                once("w0", applies("w0", count=1)),
                lambda cluster, state: takes_a_bought_node(cluster, state) or state,
            ),
            lambda state: runs(state, "w0") or no_idle_claims(state) or kept_words(state, "w0"),
            2,
            most_deleted=1,
        ),
        Contest(
            "shrinks-while-another-waits",
            (applies("w0", count=2), once("w0", applies("w0", count=1)), applies("w1")),
            all_run("w0", "w1"),
            3,
            most_deleted=1,
        ),
        Contest(
            "deleted-beside-another",
            (applies("w0"), applies("w1"), once("w0 w1", deletes("w0"))),
            all_run("w1"),
            2,
            most_deleted=2,
        ),
        Contest(
            "deleted-under-strangers",
            (
                applies("w0", count=2),
                once("w0", applies("w0", count=1)),
                lambda cluster, state: takes_a_bought_node(cluster, state) or state,
                deletes("w0"),
            ),
            lambda state: (
                no_idle_claims(state) or ("" if not state.get(kaito.WORKSPACE, "w0") else "w0 is held")
            ),
            2,
            most_deleted=2,
        ),
        Contest(
            "both-deleted",
            (applies("w0"), applies("w1"), once("w0 w1", deletes("w1")), deletes("w0")),
            no_idle_claims,
            2,
            most_deleted=2,
        ),
        Contest(
            "deleted-by-force",
            (applies("w0"), applies("w1"), once("w0 w1", deletes("w0")), no_finalizers("w0")),
            all_run("w1"),
            2,
            most_deleted=2,
        ),
        Contest(
            "another-type-while-another-waits",
            (applies("w0"), once("w0", applies("w0", instanceType="Standard_NC24s_v3")), applies("w1")),
            serve("w0", "w1"),
            3,
            most_deleted=1,
            astray=lambda state: sum(_is_astray(state, name) for name in ("w0", "w1")),
        ),
        Contest(
            "nobody-buys-and-one-never-fits",
            (
                all_of(prepared("gpu-a", apps="shared"), prepared("gpu-b", apps="shared")),
                applies("w5", count=3),  # by its uid the oldest
                applies("w1"),
                applies("w2"),
            ),
            lambda state: runs(state, "w1", "w2"),
            0,
            has_claims=False,
        ),
        Contest(
            "nobody-buys-and-one-goes",
            (
                prepared("gpu-a", apps="shared"),
                applies("w0"),
                applies("w1"),
                lambda cluster, state: _one_of_two_goes(cluster, state),
            ),
            lambda state: runs(state, *(obj["metadata"]["name"] for obj in state.objects(kaito.WORKSPACE))),
            0,
            has_claims=False,
        ),
    )
}


def _one_of_two_goes(cluster: Cluster, state: State) -> State | None:
    running = [name for name in ("w0", "w1") if not runs(state, name)]
    return deletes(running[0])(cluster, state) if running else None
