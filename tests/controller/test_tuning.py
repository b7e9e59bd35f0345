"""Tuning by the Workspace reconciler: one Job, truthful conditions, and a result that is not lost."""

from __future__ import annotations

from itertools import product
from typing import Any, get_args

import pytest
from world import WATCHED, Fault, World, gpu_node, node_status

from kaitoctl.errors import ApiError
from kaitoctl.kaito import api as kaito
from kaitoctl.kaito import tuning
from kaitoctl.kube import conditions, request
from kaitoctl.kube.objects import (
    CONFIG_MAP,
    EVENT,
    JOB,
    NAMESPACE,
    NODE,
    NODE_CLAIM,
    POD,
    SECRET,
    Object,
    dig,
    generation_of,
    uid_of,
)
from kaitoctl.kube.request import Request

NAME = "tune"


def tuned(**changes: Any) -> Object:
    asked: Object = {
        "preset": {"name": "phi-2"},
        "method": "qlora",
        "input": {"urls": ["https://data.example/a.json"]},
        "output": {"image": "registry.example/adapter:1", "imagePushSecret": "push"},
    }
    fields = {key: value for key, value in {**asked, **changes}.items() if value is not None}
    return {
        "apiVersion": "kaito.sh/v1alpha1",
        "kind": "Workspace",
        "metadata": {"name": NAME, "namespace": "default"},
        "resource": {
            "instanceType": "Standard_NC6s_v3",
            "labelSelector": {"matchLabels": {"apps": "tune"}},
        },
        "tuning": fields,
    }


def prepared(*, secret: bool = True, node: bool = True, world: World | None = None) -> World:
    world = world or World()
    if node:
        world.apply(NODE, gpu_node("gpu-a", {"apps": "tune"}, "Standard_NC6s_v3"))
        world.set_status(NODE, "gpu-a", node_status("1"))
    if secret:
        world.apply(SECRET, push_secret())
    return world


def push_secret() -> Object:
    metadata = {"name": "push", "namespace": "default"}
    data = {".dockerconfigjson": "eyJhdXRocyI6e319"}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata,
        "data": data,
        "type": "kubernetes.io/dockerconfigjson",
    }


def a_config(folder: str = "/mnt/out", namespace: str = "default") -> Object:
    text = (
        f"training_config:\n  QuantizationConfig: {{load_in_4bit: true}}\n"
        f"  TrainingArguments: {{output_dir: {folder}}}\n"
    )
    metadata = {"name": "mine", "namespace": namespace}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata,
        "data": {"training_config.yaml": text},
    }


def states(world: World) -> dict[str, tuple[str, str]]:
    found = world.get(kaito.WORKSPACE, NAME)
    assert found is not None
    return {item["type"]: (item["status"], item["reason"]) for item in found["status"]["conditions"]}


def message(world: World, kind: str) -> str:
    found = world.get(kaito.WORKSPACE, NAME)
    assert found is not None
    return str((conditions.find(found, kind) or {}).get("message"))


def finish(world: World, **status: Any) -> None:
    """What the Job controller writes when the pod has ended well."""
    done = {"type": "Complete", "status": "True", "reason": "CompletionsReached", "message": ""}
    world.set_status(JOB, NAME, {"active": 0, "ready": 0, "succeeded": 1, "conditions": [done], **status})


def has_tuned(world: World) -> bool:
    found = world.get(kaito.WORKSPACE, NAME)
    assert found is not None
    return conditions.is_true(found, kaito.WORKSPACE_SUCCEEDED, generation=generation_of(found))


def begun(**changes: Any) -> World:
    world = prepared()
    world.apply(kaito.WORKSPACE, tuned(**changes))
    world.settle(NAME)
    return world


def a_pod(world: World, state: Object, *, phase: str = "Running") -> None:
    """The Job's pod, its tuning container in the given state."""
    job = world.get(JOB, NAME)
    assert job is not None
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": NAME, "uid": uid_of(job), "controller": True}
    metadata = {
        "name": f"{NAME}-x",
        "namespace": "default",
        "labels": {"kaito.sh/workspace": NAME},
        "ownerReferences": [owner],
    }
    spec = {"nodeName": "gpu-a", "containers": [{"name": NAME, "image": "x:1"}]}
    world.apply(POD, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    statuses = [{"name": NAME, "state": state}]
    world.set_status(POD, f"{NAME}-x", {"phase": phase, "containerStatuses": statuses})


def test_tuning_on_a_prepared_node_takes_the_writes_that_it_must() -> None:
    world = begun()
    finish(world)
    world.settle(NAME)
    wrote = [asked for asked in world.requests if asked.is_write and not asked.path.endswith("/events")]
    assert [asked.path.rpartition("default/")[2] for asked in wrote] == [
        "controllerrevisions",
        f"configmaps/{NAME}-tuning-config",
        f"jobs/{NAME}",
        f"workspaces/{NAME}/status",
        f"workspaces/{NAME}/status",
    ]
    assert states(world) == {
        "NodeClaimReady": ("True", "installNodePluginsSuccess"),
        "ResourceReady": ("True", "workspaceResourceStatusSuccess"),
        "JobStarted": ("True", "WorkspaceTuningJobStatusStarted"),
        "WorkspaceSucceeded": ("True", "workspaceSucceeded"),
    }


def test_at_rest_nothing_is_asked_while_it_runs_nor_after() -> None:
    world = begun()
    for has_finished in (False, True):
        if has_finished:
            finish(world)
        world.settle(NAME)
        before = len(world.requests)
        for _ in range(5):
            world.reconcile(NAME)
        assert len(world.requests) == before


def test_while_it_runs_the_workspace_is_pending_with_the_count_of_its_pods() -> None:
    world = begun()
    assert states(world)["JobStarted"] == ("False", "WorkspaceTuningJobStatusPending")
    a_pod(world, {"running": {"startedAt": "2026-01-01T00:00:00Z"}})
    world.settle(NAME)
    assert states(world)["JobStarted"] == ("True", "WorkspaceTuningJobStatusStarted")
    assert states(world)["WorkspaceSucceeded"] == ("False", "workspacePending")
    assert message(world, "WorkspaceSucceeded").endswith("tuning job has 1 active pod, 1 ready pod")


def test_a_pod_that_fails_ends_tuning_with_its_reason() -> None:
    world = begun()
    a_pod(world, {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}, phase="Failed")
    world.settle(NAME)
    assert states(world)["JobStarted"] == ("False", "WorkspaceTuningJobStatusFailed")
    assert states(world)["WorkspaceSucceeded"] == ("False", "workspaceFailed")
    assert "container tune: OOMKilled, exit code 137" in message(world, "WorkspaceSucceeded")
    reasons = [item["reason"] for item in world.list(EVENT)]
    assert "WorkspaceTuningJobStatusFailed" in reasons


def test_a_pod_that_waits_for_its_image_is_told_in_kubernetes_words() -> None:
    world = begun()
    a_pod(world, {"waiting": {"reason": "ImagePullBackOff", "message": "not found"}}, phase="Pending")
    world.settle(NAME)
    assert states(world)["JobStarted"] == ("False", "ImagePullBackOff")
    assert states(world)["WorkspaceSucceeded"] == ("False", "workspacePending")


def test_the_end_of_tuning_is_an_event() -> None:
    world = begun()
    finish(world)
    world.settle(NAME)
    assert ("Normal", "workspaceSucceeded") in [(e["type"], e["reason"]) for e in world.list(EVENT)]


def test_a_missing_node_is_bought_before_the_job_is_made() -> None:
    world = prepared(node=False)
    world.apply(kaito.WORKSPACE, tuned())
    world.reconcile(NAME)
    assert len(world.list(NODE_CLAIM)) == 1
    assert world.list(JOB) == []
    world.settle(NAME)
    assert len(world.list(JOB)) == 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"preset": {"name": "falcon-7b-instruct"}}, "cannot be tuned"),
        ({"method": "full"}, "not a method"),
        ({"input": {}}, "comes from nowhere"),
        ({"input": {"urls": ["https://x.y/a"], "image": "r.io/x:1"}}, "urls and image"),
        ({"input": {"urls": ["ftp://x.y/a"]}}, "neither an http nor an https URL"),
        ({"output": {}}, "goes nowhere"),
        ({"output": {"image": "r.io/x/a:1"}}, "no Secret to push"),
        ({"output": {"volumeSource": {"emptyDir": {}}}}, "a volume cannot take the result"),
        ({"config": "mine"}, "there is no ConfigMap default/mine"),
    ],
)
def test_what_cannot_be_tuned_costs_nothing_and_says_why(changes: Object, words: str) -> None:
    world = prepared(node=False)
    world.apply(kaito.WORKSPACE, tuned(**changes))
    world.settle(NAME)
    assert (world.list(NODE_CLAIM), world.list(JOB)) == ([], [])
    assert states(world)["JobStarted"] == ("False", "WorkspaceTuningJobStatusFailed")
    assert words in message(world, "WorkspaceSucceeded")


def test_tuning_on_several_nodes_costs_nothing() -> None:
    world, ws = prepared(node=False), tuned()
    ws["resource"]["count"] = 2
    world.apply(kaito.WORKSPACE, ws)
    world.settle(NAME)
    assert (world.list(NODE_CLAIM), world.list(JOB)) == ([], [])


def test_a_missing_push_secret_is_waited_for_before_a_node_is_bought() -> None:
    world = prepared(secret=False, node=False)
    world.apply(kaito.WORKSPACE, tuned())
    world.settle(NAME)
    assert world.list(NODE_CLAIM) == []
    assert "Secret push" in message(world, "WorkspaceSucceeded")
    world.apply(SECRET, push_secret())
    world.settle(NAME)
    assert len(world.list(JOB)) == 1


class Blind(World):
    """A world whose controller may not read Secrets."""

    def do(self, asked: Request) -> Object:
        if asked.method == "GET" and "/secrets/" in asked.path:
            raise ApiError(403, "Forbidden", "secrets is forbidden")
        return super().do(asked)


def test_a_controller_that_may_not_read_secrets_trusts_that_there_is_one() -> None:
    world = prepared(world=Blind())
    world.apply(kaito.WORKSPACE, tuned())
    world.settle(NAME)
    assert len(world.list(JOB)) == 1


def test_a_method_in_another_case_is_tuned() -> None:
    world = begun(method="QLoRA")
    config = world.get(CONFIG_MAP, f"{NAME}-tuning-config")
    assert config is not None
    assert "load_in_4bit: true" in config["data"]["training_config.yaml"]


def test_the_configuration_is_owned_refreshed_and_goes_with_the_workspace() -> None:
    world = begun()
    owner = world.get(kaito.WORKSPACE, NAME)
    config = world.get(CONFIG_MAP, f"{NAME}-tuning-config")
    assert owner is not None and config is not None
    assert config["metadata"]["ownerReferences"][0]["uid"] == uid_of(owner)
    patch = {"data": {"training_config.yaml": "spoilt"}}
    world.do(request.merge_patch(CONFIG_MAP, "default", f"{NAME}-tuning-config", patch, manager="x"))
    world.settle(NAME)
    assert world.get(CONFIG_MAP, f"{NAME}-tuning-config")["data"] == config["data"]  # type: ignore[index]
    world.do(request.delete(kaito.WORKSPACE, "default", NAME))
    world.settle(NAME)
    for kind in (kaito.WORKSPACE, JOB, CONFIG_MAP):
        assert world.list(kind) == []


def test_the_users_configuration_is_read_from_the_workspaces_namespace_alone() -> None:
    world = prepared()
    metadata = {"name": "other"}
    world.apply(NAMESPACE, {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    world.apply(CONFIG_MAP, a_config(namespace="other"))
    world.apply(kaito.WORKSPACE, tuned(config="mine"))
    world.settle(NAME)
    assert world.list(JOB) == []
    world.apply(CONFIG_MAP, a_config())
    world.settle(NAME)
    job = world.get(JOB, NAME)
    assert job is not None
    mounts = {m["name"]: m["mountPath"] for m in main_of(job)["volumeMounts"]}
    assert mounts["results-volume"] == "/mnt/out"
    assert world.get(CONFIG_MAP, f"{NAME}-tuning-config") is None


def main_of(job: Object) -> Object:
    found: Object = dig(job, "spec", "template", "spec", "containers", 0)
    return found


# --- once more, and not once more --------------------------------------------------------------------------

OTHER = {"output": {"image": "registry.example/adapter:2", "imagePushSecret": "push"}}


@pytest.mark.parametrize("is_done", [False, True])
def test_a_changed_tuning_makes_the_job_anew(is_done: bool) -> None:
    world = begun()
    if is_done:
        finish(world)
        world.settle(NAME)
    old = world.get(JOB, NAME)
    assert old is not None
    world.apply(kaito.WORKSPACE, tuned(**OTHER))
    world.reconcile(NAME)
    assert not has_tuned(world)
    assert "recreated" in message(world, "JobStarted")
    world.settle(NAME)
    new = world.get(JOB, NAME)
    assert new is not None
    assert uid_of(new) != uid_of(old)
    assert new["spec"]["template"]["spec"]["containers"][1]["command"][-1] == OTHER["output"]["image"]
    if is_done:
        told = [item["message"] for item in world.list(EVENT)]
        assert any("registry.example/adapter:1, which the last one pushed, stays" in text for text in told)
    finish(world)
    world.settle(NAME)
    assert has_tuned(world)


def test_a_job_that_is_gone_before_the_store_shows_it_is_no_failure() -> None:
    world = begun()
    world.apply(kaito.WORKSPACE, tuned(**OTHER))
    world.frozen = {kind: world.list(kind) for kind in WATCHED}
    world.reconcile(NAME)
    world.reconcile(NAME)
    assert world.list(JOB) == []
    assert states(world)["JobStarted"] == ("False", "WorkspaceTuningJobReplacePending")


def test_a_result_that_will_be_overwritten_is_not_overwritten_in_silence() -> None:
    world = begun()
    finish(world)
    world.settle(NAME)
    world.apply(kaito.WORKSPACE, tuned(input={"urls": ["https://data.example/b.json"]}))
    world.reconcile(NAME)
    told = [(item["type"], item["message"]) for item in world.list(EVENT)]
    assert any(kind == "Normal" and text.endswith("will be overwritten") for kind, text in told)


def test_a_job_is_not_made_anew_for_what_does_not_concern_it() -> None:
    world = begun()
    finish(world)
    world.settle(NAME)
    old = world.get(JOB, NAME)
    ws = tuned()
    ws["resource"]["preferredNodes"] = ["gpu-a"]
    world.apply(kaito.WORKSPACE, ws)
    world.settle(NAME)
    assert world.get(JOB, NAME) == old
    assert has_tuned(world)


def test_a_finished_job_that_is_cleaned_up_is_not_run_again() -> None:
    world = begun()
    finish(world)
    world.settle(NAME)
    world.do(request.delete(JOB, "default", NAME))
    world.settle(NAME)
    assert world.list(JOB) == []
    assert has_tuned(world)
    world.apply(kaito.WORKSPACE, tuned(**OTHER))
    world.settle(NAME)
    assert len(world.list(JOB)) == 1


def test_a_finished_job_that_is_on_its_way_out_is_not_run_again() -> None:
    world = begun()
    finish(world)
    world.settle(NAME)
    finalizers = {"metadata": {"finalizers": ["example.com/archive"]}}
    world.do(request.merge_patch(JOB, "default", NAME, finalizers, manager="x"))
    world.do(request.delete(JOB, "default", NAME))
    world.settle(NAME)
    assert has_tuned(world)
    world.do(request.merge_patch(JOB, "default", NAME, {"metadata": {"finalizers": []}}, manager="x"))
    world.settle(NAME)
    assert world.list(JOB) == []
    assert has_tuned(world)


def test_a_failed_job_runs_again_when_it_is_deleted_and_not_before() -> None:
    world = begun()
    failed = {"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "limit"}
    world.set_status(JOB, NAME, {"active": 0, "failed": 1, "conditions": [failed]})
    world.settle(NAME)
    assert states(world)["WorkspaceSucceeded"] == ("False", "workspaceFailed")
    old = world.get(JOB, NAME)
    assert old is not None
    world.do(request.delete(JOB, "default", NAME))
    world.settle(NAME)
    new = world.get(JOB, NAME)
    assert new is not None and uid_of(new) != uid_of(old)


@pytest.mark.parametrize("succeeded", [True, False])
def test_no_node_is_bought_for_a_job_that_has_ended(succeeded: bool) -> None:
    world = begun()
    if succeeded:
        finish(world)
    else:
        world.set_status(JOB, NAME, {"active": 0, "failed": 1})
    world.do(request.delete(NODE, "", "gpu-a"))
    world.settle(NAME)
    assert world.list(NODE_CLAIM) == []
    assert has_tuned(world) is succeeded
    assert states(world)["ResourceReady"] == ("True", "workspaceResourceStatusSuccess")


def test_a_foreign_job_of_our_name_is_left_alone_and_reported() -> None:
    world = prepared(node=False)
    template = {"spec": {"containers": [{"name": "x", "image": "x:1"}], "restartPolicy": "Never"}}
    metadata = {"name": NAME, "namespace": "default"}
    obj = {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": {"template": template}}
    foreign = world.apply(JOB, obj)
    world.apply(kaito.WORKSPACE, tuned())
    world.settle(NAME)
    now = world.get(JOB, NAME)
    assert now is not None and uid_of(now) == uid_of(foreign)
    assert states(world)["JobStarted"] == ("False", "NameConflict")
    assert world.list(NODE_CLAIM) == []


def test_an_old_view_of_the_workspace_does_not_replace_the_job() -> None:
    world = begun()
    old = world.list(kaito.WORKSPACE)
    world.apply(kaito.WORKSPACE, tuned(**OTHER))
    world.settle(NAME)
    after = world.get(JOB, NAME)
    world.frozen = {**{kind: world.list(kind) for kind in WATCHED}, kaito.WORKSPACE: old}
    before = len(world.requests)
    world.reconcile(NAME)
    assert not any(asked.is_write for asked in world.requests[before:])
    assert world.get(JOB, NAME) == after


# --- every fault at every position -------------------------------------------------------------------------


def the_truth(world: World) -> None:
    """Succeeded only while the Job for what is asked for now has succeeded."""
    found = world.get(kaito.WORKSPACE, NAME)
    if found is None or not has_tuned(world):
        return
    job = world.get(JOB, NAME)
    assert job is not None
    assert tuning.is_made_for(job, found) and tuning.has_succeeded(job)


def life(faults: dict[int, Any]) -> World:
    """Buy a node, tune, change what is asked for, tune again; with faults at given requests."""
    world = prepared(node=False)
    world.faults, world.check = faults, lambda: the_truth(world)
    for asked in ({}, OTHER):
        world.apply(kaito.WORKSPACE, tuned(**asked))
        world.settle(NAME)
        world.settle(NAME)
        finish(world)
        world.settle(NAME)
    return world


def test_every_single_fault_ends_where_no_fault_ends() -> None:
    reference = life({})
    length = len(reference.requests)
    assert has_tuned(reference)
    faults = [fault for fault in get_args(Fault) if fault != "stale"]
    for position, fault in product(range(length), faults):
        world = life({position: fault})
        assert has_tuned(world), (position, fault)
        assert len(world.list(NODE_CLAIM)) == 1
        job = world.get(JOB, NAME)
        assert job is not None
        assert job["spec"]["template"]["spec"]["containers"][1]["command"][-1] == OTHER["output"]["image"]


# --- taken over from KAITO ---------------------------------------------------------------------------------


def taken_over(*kinds: str, generation: int = 1, **changes: Any) -> World:
    """KAITO has begun to tune: its Job, which says nothing of what it was made from, and its conditions."""
    world = prepared(secret=False)
    world.apply(kaito.WORKSPACE, tuned(**changes))
    found = world.get(kaito.WORKSPACE, NAME)
    assert found is not None
    owner = {
        "apiVersion": "kaito.sh/v1alpha1",
        "kind": "Workspace",
        "name": NAME,
        "uid": uid_of(found),
        "controller": True,
    }
    labels = {"kaito.sh/workspace": NAME}
    pod = {"restartPolicy": "Never", "containers": [{"name": NAME, "image": "registry.example/tuning:1"}]}
    world.apply(
        JOB,
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": NAME, "namespace": "default", "ownerReferences": [owner], "labels": labels},
            "spec": {"template": {"metadata": {"labels": labels}, "spec": pod}},
        },
    )
    true = {"status": "True", "reason": "x", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    said = [{"type": kind, **true, "observedGeneration": generation} for kind in kinds]
    world.set_status(kaito.WORKSPACE, NAME, {"conditions": said})
    return world


@pytest.mark.parametrize("preset", ["phi-2", "a-model-of-tomorrow"])
def test_tuning_that_kaito_has_finished_stays_finished(preset: str) -> None:
    world = taken_over("JobStarted", "WorkspaceSucceeded", preset={"name": preset})
    finish(world)
    job = world.get(JOB, NAME)
    assert world.reconcile(NAME) == 0
    assert has_tuned(world)
    assert world.get(JOB, NAME) == job


@pytest.mark.parametrize("preset", ["phi-2", "a-model-of-tomorrow"])
def test_tuning_that_kaito_has_begun_goes_on_and_its_end_is_told(preset: str) -> None:
    world = taken_over("JobStarted", preset={"name": preset})
    world.set_status(JOB, NAME, {"active": 1})
    job = world.get(JOB, NAME)
    assert world.reconcile(NAME) == 0, "hours of work go on"
    assert world.get(JOB, NAME) == job
    finish(world)
    world.settle(NAME)
    assert states(world)["WorkspaceSucceeded"] == ("True", "workspaceSucceeded")
    assert uid_of(world.get(JOB, NAME) or {}) == uid_of(job or {})
    assert world.reconcile(NAME) == 0


def test_a_change_after_it_makes_a_job_of_its_own() -> None:
    world = taken_over("JobStarted", "WorkspaceSucceeded")
    finish(world)
    before = uid_of(world.get(JOB, NAME) or {})
    world.apply(SECRET, push_secret())
    world.apply(
        kaito.WORKSPACE, tuned(output={"image": "registry.example/adapter:2", "imagePushSecret": "push"})
    )
    world.settle(NAME)
    job = world.get(JOB, NAME)
    assert job is not None
    assert uid_of(job) != before
    assert tuning.MADE_FROM in job["metadata"]["annotations"]
