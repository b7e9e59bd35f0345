"""From KAITO's controller to ours: what runs goes on, on the server that it runs on, one after the other."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import re
from typing import Any

import pytest
from world import NOW, World, falcon, gpu_node, is_ready, node_status, our_pod

from kaitoctl.kaito import api as kaito
from kaitoctl.kaito import provisioning
from kaitoctl.kaito.desired import Settings, desired
from kaitoctl.kube import request
from kaitoctl.kube.objects import (
    DEPLOYMENT,
    NODE,
    NODE_CLAIM,
    POD,
    STATEFUL_SET,
    Kind,
    Object,
    ObjectKey,
    dig,
    key_of,
    owner_reference,
)
from kaitoctl.kube.request import Request
from kaitoctl.reconcile.dry_run import Decision, DryRun
from kaitoctl.workspace_controller import WorkspaceReconciler
from kaitoctl.workspace_controller.adoption import ADOPTED, with_adopted_template
from kaitoctl.workspace_controller.take_over import Turns, is_ours

A100 = "Standard_NC24ads_A100_v4"
AZURE = "azure-gpu-provisioner"
BOUGHT = "of-falcon"


def phi_4(**metadata: Any) -> Object:
    return {
        "apiVersion": "kaito.sh/v1beta1",
        "kind": "Workspace",
        "metadata": {"name": "falcon", "namespace": "default", **metadata},
        "resource": {"instanceType": A100, "labelSelector": {"matchLabels": {"apps": "w"}}},
        "inference": {"preset": {"name": "phi-4"}},
    }


def made_by_kaito(world: World, ws: Object, settings: Settings, kind: Kind, **annotations: str) -> Object:
    """The workload as KAITO leaves it: of no stamp of ours, and running."""
    name = ws["metadata"]["name"]
    labels = {"apps": "w", "kaito.sh/workspace": name, "kaito.sh/workspacenamespace": "default"}
    world.apply(NODE, gpu_node(f"node-of-{name}", labels, ws["resource"]["instanceType"]))
    world.set_status(NODE, f"node-of-{name}", node_status("2"))
    live = world.apply(world.kind, ws)
    as_kaito = {**live, "metadata": {**live["metadata"], "annotations": annotations}}
    made = desired(as_kaito, gpus=1, settings=settings)
    workload = next(copy.deepcopy(item) for found, item in made if found == kind)
    workload["metadata"]["ownerReferences"] = [owner_reference(live)]
    world.do(request.apply(kind, workload, manager="kaito-workspace", force=True))
    world.cluster_moves()
    return world.list(kind)[-1]


def test_a_model_of_today_is_taken_over_and_no_pod_restarts() -> None:
    world = World()
    world.settings = Settings(provisioner=AZURE)
    before = made_by_kaito(
        world, phi_4(), Settings(image_generation="v0.12", provisioner=AZURE), STATEFUL_SET
    )
    world.settle()
    (after,) = world.list(STATEFUL_SET)
    assert is_ours(after)
    assert not is_ours(before)
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["spec"] == before["spec"]
    assert is_ready(world)


def bought_by_kaito(provisioner: str) -> World:
    """A Workspace of KAITO's on a node with its NodeClaim, which says by labels alone whose it is."""
    world = World()
    world.settings = Settings(provisioner=provisioner)
    made = Settings(image_generation="v0.12", provisioner=provisioner)
    made_by_kaito(world, phi_4(finalizers=[kaito.FINALIZER]), made, STATEFUL_SET)
    (live,) = world.list(world.kind)
    world.apply(NODE_CLAIM, provisioning.node_claim(live, BOUGHT, Settings(provisioner=AZURE)))
    world.set_status(NODE_CLAIM, BOUGHT, {"nodeName": "node-of-falcon"})
    world.settle()
    return world


@pytest.mark.parametrize("provisioner", [AZURE, ""])
def test_the_node_that_kaito_bought_stays_the_workspaces_and_goes_with_it(provisioner: str) -> None:
    world = bought_by_kaito(provisioner)
    assert is_ready(world)
    assert [key_of(claim).name for claim in world.list(NODE_CLAIM)] == [BOUGHT], "no second one is bought"
    world.do(request.delete(world.kind, "default", "falcon"))
    world.settle()
    assert world.get(world.kind, "falcon") is None
    assert world.list(NODE_CLAIM) == [], "nobody would pay for it any more"


def test_a_node_that_kaito_bought_is_kept_for_others_and_goes_once_they_have_left() -> None:
    world = bought_by_kaito(AZURE)
    guest = our_pod("node-of-falcon")
    guest["metadata"] = {"name": "guest", "namespace": "default"}
    world.apply(POD, guest)
    world.do(request.delete(world.kind, "default", "falcon"))
    world.settle()
    assert world.get(world.kind, "falcon") is None
    assert len(world.list(NODE_CLAIM)) == 1
    world.stop(guest)
    world.settle()
    assert world.list(NODE_CLAIM) == []


class Direct:
    """A client without a socket."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def send(self, asked: Request, /) -> Object:
        return self._world.do(asked)


def old(name: str = "falcon") -> Object:
    ws = falcon(labelSelector={"matchLabels": {"apps": "w"}})
    ws["metadata"]["name"] = name
    return ws


@pytest.mark.parametrize("runtime", ["vllm", "transformers"])
def test_the_server_that_runs_stays_with_an_annotation_or_without(runtime: str) -> None:
    world = World("v1alpha1")
    annotation = {"kaito.sh/runtime": runtime}
    before = made_by_kaito(world, old(), Settings(image_generation="v0.4"), DEPLOYMENT, **annotation)
    world.settle()
    (after,) = world.list(DEPLOYMENT)
    assert is_ours(after)
    way = ("spec", "template", "spec", "containers", 0, "command")
    assert dig(after, *way) == dig(before, *way)
    assert ("vllm" in str(dig(after, *way))) == (runtime == "vllm")
    world.reconcile()
    assert dig(world.list(DEPLOYMENT)[0], *way) == dig(before, *way)


def test_another_server_is_had_by_asking_for_it() -> None:
    world = World("v1alpha1")
    vllm = {"kaito.sh/runtime": "vllm"}
    made_by_kaito(world, old(), Settings(image_generation="v0.4"), DEPLOYMENT, **vllm)
    world.settle()
    ws = old()
    ws["metadata"]["annotations"] = {"kaito.sh/runtime": "transformers"}
    world.apply(world.kind, ws)
    world.settle()
    command = str(dig(world.list(DEPLOYMENT)[0], "spec", "template", "spec", "containers", 0, "command"))
    assert "vllm" not in command


def test_the_target_node_count_is_never_lower_than_kaito_had_it() -> None:
    """ADR 5: KAITO sets it once; written lower, a model of two nodes would stay on one under KAITO."""
    world = World()
    world.apply(kaito.WORKSPACE_V1BETA1, phi_4())
    world.set_status(kaito.WORKSPACE_V1BETA1, "falcon", {"targetNodeCount": 2})
    world.settle()
    assert is_ready(world)
    assert world.list(kaito.WORKSPACE_V1BETA1)[0]["status"]["targetNodeCount"] == 2
    assert world.list(STATEFUL_SET)[0]["spec"]["replicas"] == 2


def test_those_that_restart_wait_for_one_another() -> None:
    world = World("v1alpha1")
    for name in ("falcon", "other"):
        made = made_by_kaito(world, old(name), Settings(image_generation="v0.4"), DEPLOYMENT)
        main = {**made["spec"]["template"]["spec"]["containers"][0], "image": "registry.example/older:1"}
        patch = {"spec": {"template": {"spec": {"containers": [main]}}}}
        world.do(request.merge_patch(DEPLOYMENT, *key_of(made), patch, manager="kaito-workspace"))
        world.cluster_moves()  # to bring our image in restarts the pod

    told: list[Decision] = []
    dry = DryRun(Direct(world), told.append)

    async def rehearse() -> None:
        for name in ("falcon", "other"):
            stores = world.stores()
            reconciler = WorkspaceReconciler(stores, world.settings, kind=world.kind, one_by_one=False)
            steps, answer = reconciler.reconcile(ObjectKey("default", name)), None
            with contextlib.suppress(StopIteration):
                while True:
                    answer = await dry.send(steps.send(answer))  # type: ignore[arg-type]

    asyncio.run(rehearse())
    assert [item.key.name for item in told if item.why.endswith("; 1 pod restarts")] == ["falcon", "other"]

    turns = Turns(lambda key: world.get(DEPLOYMENT, key.name), lambda: NOW)

    def look(name: str) -> None:
        reconciler = WorkspaceReconciler(world.stores(), world.settings, kind=world.kind, clock=lambda: NOW)
        reconciler._turns = turns
        world.drive(reconciler.reconcile(ObjectKey("default", name)))

    def ours() -> set[str]:
        return {key_of(item).name for item in world.list(DEPLOYMENT) if is_ours(item)}

    status = world.get(world.kind, "other")
    look("falcon")
    look("other")
    assert ours() == {"falcon"}
    assert world.get(world.kind, "other") == status
    world.cluster_moves()  # the first one is up again
    look("other")
    assert ours() == {"falcon", "other"}


# --- as KAITO writes it, byte by byte ----------------------------------------------------------------------


def as_kaito_writes_it(workload: Object) -> Object:
    """The same StatefulSet in KAITO's bytes: its order, none of our additions, the API server's defaults."""
    made = copy.deepcopy(workload)
    template = made["spec"]["template"]
    pod = template["spec"]
    main = pod["containers"][0]
    for item in (main, *(pod.get("initContainers") or ())):
        item.pop("securityContext", None)
        item |= {"imagePullPolicy": "IfNotPresent", "terminationMessagePath": "/dev/termination-log"}
    del pod["automountServiceAccountToken"]
    pod |= {"restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "schedulerName": "default-scheduler"}
    shell, option, line = main["command"]
    start, *flags = line.split(" --")
    main["command"] = [shell, option, " --".join([start, *reversed(flags)])]
    pod["volumes"].reverse()
    (term,) = dig(
        pod, "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms"
    )
    term["matchExpressions"].reverse()
    for item in main.get("env") or ():
        if reference := dig(item, "valueFrom", "fieldRef"):
            reference["apiVersion"] = "v1"
    return made


def taken_over(ws: Object, **changes: Any) -> tuple[World, Object]:
    """A world in which KAITO has made the workload of a Workspace, and ours has come since."""
    world = World()
    world.settings = Settings(provisioner=AZURE)
    before = made_by_kaito(world, ws, Settings(image_generation="v0.12", provisioner=AZURE), STATEFUL_SET)
    kaitos = as_kaito_writes_it(before)
    kaitos["spec"]["template"]["spec"] |= changes
    fields = ("apiVersion", "kind", "spec")
    written = {key: kaitos[key] for key in fields if key in kaitos} | {
        "metadata": {key: kaitos["metadata"][key] for key in ("name", "namespace", "ownerReferences")}
    }
    world.do(request.delete(STATEFUL_SET, *key_of(before)))
    world.do(request.create(STATEFUL_SET, {"apiVersion": "apps/v1", "kind": "StatefulSet", **written}))
    world.cluster_moves()
    (live,) = world.list(STATEFUL_SET)
    world.settle()
    return world, live


def test_pods_that_do_the_same_are_left_in_kaitos_bytes() -> None:
    world, before = taken_over(phi_4())
    (after,) = world.list(STATEFUL_SET)
    assert "automountServiceAccountToken" not in before["spec"]["template"]["spec"], "KAITO's, not ours"
    assert is_ours(after)
    assert after["spec"]["template"] == before["spec"]["template"]
    assert world.reconcile() == 0, "and that is the end of it"
    assert is_ready(world)


def test_a_flag_that_does_nothing_without_adapters_is_no_reason_to_restart() -> None:
    """KAITO leaves it in the command of a workload when the last adapter is taken away."""

    def flagged(command: list[str]) -> list[str]:
        return [*command[:2], f"{command[2]} --enable-lora"]

    made = desired(phi_4(), gpus=1, settings=Settings(image_generation="v0.12", provisioner=AZURE))
    containers = next(copy.deepcopy(item) for kind, item in made if kind == STATEFUL_SET)["spec"]["template"][
        "spec"
    ]["containers"]
    containers[0]["command"] = flagged(containers[0]["command"])
    world, before = taken_over(phi_4(), containers=containers)
    (after,) = world.list(STATEFUL_SET)
    assert "--enable-lora" in after["spec"]["template"]["spec"]["containers"][0]["command"][2]
    assert after["spec"]["template"] == before["spec"]["template"]
    assert is_ours(after) and is_ready(world) and world.reconcile() == 0


def with_style(image: str, config: str = "first") -> Object:
    ws = phi_4()
    ws["inference"]["adapters"] = [{"source": {"name": "style", "image": image}}]
    ws["inference"]["config"] = config
    return ws


@pytest.mark.parametrize(
    ("next_one", "sign"),
    [
        (with_style("registry.example/style:1"), "registry.example/style:1"),
        (with_style("registry.example/style:12", "second"), "second"),
    ],
)
def test_another_image_of_an_adapter_or_config_map_is_no_pod_that_does_the_same(
    next_one: Object, sign: str
) -> None:
    world, before = taken_over(with_style("registry.example/style:12"))
    (after,) = world.list(STATEFUL_SET)
    assert after["spec"]["template"] == before["spec"]["template"]
    world.apply(world.kind, next_one)
    world.settle()
    (after,) = world.list(STATEFUL_SET)
    pod = after["spec"]["template"]["spec"]
    assert sign in str([pod["initContainers"][0]["args"], pod["volumes"]])
    assert ADOPTED not in after["metadata"]["annotations"]
    assert world.reconcile() == 0


def test_what_the_workspace_asks_for_next_is_made_as_ours() -> None:
    world, _ = taken_over(phi_4())
    ws = phi_4()
    ws["inference"]["adapters"] = [{"source": {"name": "style", "image": "registry.example/style:1"}}]
    world.apply(world.kind, ws)
    world.settle()
    (after,) = world.list(STATEFUL_SET)
    pod = after["spec"]["template"]["spec"]
    assert "--enable-lora" in pod["containers"][0]["command"][2]
    assert pod["automountServiceAccountToken"] is False
    assert ADOPTED not in after["metadata"]["annotations"]
    assert world.reconcile() == 0


def test_pods_that_do_something_else_get_ours() -> None:
    world, before = taken_over(phi_4(), tolerations=[])
    (after,) = world.list(STATEFUL_SET)
    assert after["spec"]["template"] != before["spec"]["template"]
    assert after["spec"]["template"]["spec"]["tolerations"]


def test_an_edit_of_pods_that_were_left_is_undone() -> None:
    world, _ = taken_over(phi_4())
    (live,) = world.list(STATEFUL_SET)
    main = {**live["spec"]["template"]["spec"]["containers"][0], "image": "registry.example/other:1"}
    patch = {"spec": {"template": {"spec": {"containers": [main]}}}}
    world.do(request.merge_patch(STATEFUL_SET, *key_of(live), patch, manager="somebody"))
    world.settle()
    (after,) = world.list(STATEFUL_SET)
    assert after["spec"]["template"]["spec"]["containers"][0]["image"].endswith("/kaito-base:0.5.0")


# --- and back ----------------------------------------------------------------------------------------------


def as_kaito_updates_it(live: Object, wanted: Object) -> Object:
    """What KAITO v0.12.0 makes of a StatefulSet whose revision is another: these four fields, and no more.

    Source: `pkg/workspace/controllers/workspace_controller.go`, applyInference.
    """
    made = copy.deepcopy(live)
    pod, theirs = (item["spec"]["template"]["spec"] for item in (made, wanted))
    pod["volumes"] = theirs["volumes"]
    if "initContainers" in theirs:
        pod["initContainers"] = theirs["initContainers"]
    for field in ("env", "volumeMounts"):
        pod["containers"][0][field] = theirs["containers"][0][field]
    return made


def test_a_model_of_today_that_kaito_takes_back_does_not_restart() -> None:
    world = World()
    world.settings = Settings(provisioner=AZURE)
    world.apply(world.kind, phi_4())
    world.settle()
    (live,) = world.list(STATEFUL_SET)
    # In the order in which `preset_inferences.go` appends them.
    kaitos = {
        "volumes": [
            {"name": "dshm", "emptyDir": {"medium": "Memory"}},
            {"name": "model-weights-volume", "emptyDir": {}},
        ],
        "containers": [
            {
                "env": [
                    {"name": "VLLM_USE_FLASHINFER_SAMPLER", "value": "0"},
                    {"name": "VLLM_USE_DEEP_GEMM", "value": "0"},
                ],
                "volumeMounts": [
                    {"name": "model-weights-volume", "mountPath": "/workspace/weights"},
                    {"name": "dshm", "mountPath": "/dev/shm"},
                ],
            }
        ],
    }
    back = as_kaito_updates_it(live, {"spec": {"template": {"spec": kaitos}}})
    assert back["spec"]["template"] == live["spec"]["template"]
    name = live["metadata"]["name"]
    assert live["spec"]["selector"]["matchLabels"] == {"kaito.sh/workspace": name}
    assert live["metadata"]["ownerReferences"][0]["controller"] is True


def kaito_changes(ws: Object, to: Object) -> tuple[World, Object]:
    """A world where ours made a Workspace, KAITO changed its workload for another one, and ours is back."""
    world = World()
    world.settings = Settings(provisioner=AZURE)
    world.apply(world.kind, ws)
    world.settle()
    world.apply(world.kind, to)
    (live,) = world.list(STATEFUL_SET)
    settings = Settings(image_generation="v0.12", provisioner=AZURE)
    made = desired(world.list(world.kind)[0], gpus=1, settings=settings)
    wanted = next(item for kind, item in made if kind == STATEFUL_SET)
    written = as_kaito_updates_it(live, as_kaito_writes_it(wanted))
    number = str(int(live["metadata"]["annotations"]["workspace.kaito.io/revision"]) + 1)
    written["metadata"]["annotations"]["workspace.kaito.io/revision"] = number
    patch = {"metadata": {"annotations": written["metadata"]["annotations"]}, "spec": written["spec"]}
    world.do(request.merge_patch(STATEFUL_SET, *key_of(live), patch, manager="kaito-workspace"))
    world.cluster_moves()
    (kaitos,) = world.list(STATEFUL_SET)
    world.settle()
    return world, kaitos


def test_what_kaito_changed_between_two_take_overs_is_left_where_it_does_the_same() -> None:
    world, kaitos = kaito_changes(
        with_style("registry.example/style:1"), with_style("registry.example/style:2")
    )
    (after,) = world.list(STATEFUL_SET)
    (puller,) = after["spec"]["template"]["spec"]["initContainers"]
    assert "securityContext" not in puller and "style:2" in str(puller["args"]), "KAITO's, not ours"
    assert after["spec"]["template"] == kaitos["spec"]["template"], "no pod restarts"
    assert is_ours(after) and is_ready(world)
    assert world.reconcile() == 0, "and that is the end of it"


def test_what_kaito_changed_between_two_take_overs_is_ours_where_it_lacks_something() -> None:
    """KAITO never adds `--enable-lora` to a command, and what it mounts cannot be loaded."""
    plain = with_style("registry.example/style:1")
    del plain["inference"]["adapters"]
    world, kaitos = kaito_changes(plain, with_style("registry.example/style:1"))
    assert "--enable-lora" not in str(kaitos["spec"]["template"]["spec"]["containers"][0]["command"])
    (after,) = world.list(STATEFUL_SET)
    pod = after["spec"]["template"]["spec"]
    assert "--enable-lora" in str(pod["containers"][0]["command"])
    assert pod["automountServiceAccountToken"] is False, "all of it is as ours makes it"
    assert pod["initContainers"][0]["securityContext"]
    assert world.reconcile() == 0


def test_an_edit_of_our_own_pods_is_undone_though_it_changes_nothing_that_they_do() -> None:
    world = World()
    world.settings = Settings(provisioner=AZURE)
    world.apply(world.kind, phi_4())
    world.settle()
    (ours,) = world.list(STATEFUL_SET)
    patch = {"spec": {"template": {"spec": {"automountServiceAccountToken": True}}}}
    world.do(request.merge_patch(STATEFUL_SET, *key_of(ours), patch, manager="somebody"))
    world.settle()
    assert world.list(STATEFUL_SET)[0]["spec"] == ours["spec"]


def reordered(line: str) -> str:
    """A shell line with the flags of each command in the reverse order, as a Go map may give them."""
    made = []
    for part in line.split("; "):
        first, *flags = re.split(r" (?=--)", part)
        made.append(" ".join([first, *reversed(flags)]))
    return "; ".join(made)


def test_flags_in_another_order_restart_no_model_on_several_nodes() -> None:
    asked = phi_4()
    asked["inference"]["preset"] = {"name": "llama-3.3-70b-instruct"}
    made = desired(asked, gpus=1, settings=Settings(image_generation="v0.12", provisioner=AZURE))
    wanted = next(item for kind, item in made if kind == STATEFUL_SET)
    live = copy.deepcopy(wanted)
    main = live["spec"]["template"]["spec"]["containers"][0]
    for holder in (main, *(main[f"{name}Probe"]["exec"] for name in ("startup", "liveness", "readiness"))):
        if holder["command"][:2] == ["/bin/sh", "-c"]:
            holder["command"] = ["/bin/sh", "-c", reordered(holder["command"][2])]
    assert live != wanted
    kept = with_adopted_template(wanted, live)
    assert kept["metadata"]["annotations"][ADOPTED] == "true"
    assert kept["spec"]["template"]["spec"] == live["spec"]["template"]["spec"]
