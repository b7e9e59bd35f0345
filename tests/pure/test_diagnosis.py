"""Causes in snapshots as KAITO v0.3 to v0.12 leave them; those of the sandbox are in tests/cli/test_why."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from builders import adapter, node, slices_of, workspace
from hypothesis import given
from hypothesis import strategies as st

from kaitoctl.advice import text
from kaitoctl.commands.explain import chapter
from kaitoctl.kaito import diagnosis, installation_codes, node_check, validation
from kaitoctl.kaito.desired import Settings
from kaitoctl.kaito.diagnosis import diagnose, of_controller
from kaitoctl.kaito.diagnosis.cause import Cause
from kaitoctl.kaito.diagnosis.codes import CODES
from kaitoctl.kaito.node_check import codes as node_codes
from kaitoctl.kaito.own_workloads import CONTROLLER
from kaitoctl.kaito.snapshot import Named, Snapshot
from kaitoctl.kaito.validation import codes as validation_codes
from kaitoctl.kube.objects import Object, ObjectKey
from kaitoctl.workspace_controller.decisions import refusal_of

NOW = datetime(2026, 1, 1, 1, tzinfo=UTC)
LONG_AGO, JUST_NOW = "2026-01-01T00:00:00Z", "2026-01-01T00:59:58Z"
ROOT = Path(__file__).parents[2]


def ws(*conditions: Object, created: str = LONG_AGO, generation: int = 1, **changes: Any) -> Object:
    made = workspace(generation=generation, **changes)
    made["metadata"]["creationTimestamp"] = created
    made["status"] = {"conditions": list(conditions)}
    return made


def condition(kind: str, status: str, reason: str, message: str = "", generation: int = 1) -> Object:
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "observedGeneration": generation,
    }


OWNER = {
    "apiVersion": "kaito.sh/v1alpha1",
    "kind": "Workspace",
    "name": "falcon",
    "uid": "ws-uid",
    "controller": True,
}


def workload(kind: str = "StatefulSet", *, ready: int = 0, **metadata: Any) -> Object:
    counts = {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "readyReplicas": ready}
    return {
        "kind": kind,
        "metadata": {"name": "falcon", "uid": "w", "generation": 1, "ownerReferences": [OWNER], **metadata},
        "spec": {"replicas": 1},
        "status": counts,
    }


def service() -> Object:
    return {
        "kind": "Service",
        "metadata": {"name": "falcon", "ownerReferences": [OWNER]},
        "spec": {"selector": {"kaito.sh/workspace": "falcon"}, "ports": [{"port": 80, "targetPort": 5000}]},
    }


def a_pod(*containers: Object, inits: tuple[Object, ...] = (), name: str = "falcon-0", **more: Any) -> Object:
    return {
        "kind": "Pod",
        "metadata": {"name": name, "creationTimestamp": LONG_AGO, "labels": {"kaito.sh/workspace": "falcon"}},
        "spec": {"nodeName": "gpu-a", "containers": [{"name": "falcon", "image": "r.example/m:1"}], **more},
        "status": {
            "phase": "Pending",
            "containerStatuses": list(containers),
            "initContainerStatuses": list(inits),
        },
    }


def waiting(reason: str, message: str = "", name: str = "falcon", **more: Any) -> Object:
    state = {"waiting": {"reason": reason, "message": message}}
    return {"name": name, "image": "r.example/m:1", "state": state, **more}


def ended(code: int, reason: str = "Error", name: str = "falcon") -> Object:
    last = {"lastState": {"terminated": {"exitCode": code, "reason": reason}}}
    return waiting("CrashLoopBackOff", "back-off", name, restartCount=3, **last)


def event(about: Object, reason: str, message: str, kind: str = "Warning") -> Object:
    involved = {"kind": about["kind"], "name": about["metadata"]["name"]}
    return {"involvedObject": involved, "reason": reason, "message": message, "type": kind, "count": 2}


def claim(*conditions: Object, kind: str = "NodeClaim", created: str = LONG_AGO, **status: Any) -> Object:
    metadata = {"name": "ws0123", "creationTimestamp": created}
    return {"kind": kind, "metadata": metadata, "status": {"conditions": list(conditions), **status}}


def code_of(seen: Snapshot) -> str:
    found = diagnose(seen, NOW)
    assert not found.is_ready
    return found.cause.code if found.cause else ""


def of_pod(pod: Object, *events: Object, **more: Any) -> Snapshot:
    """A Workspace of KAITO v0.12 whose one pod is this."""
    pending = condition("InferenceReady", "False", "WorkspaceInferenceStatusPending", "not ready")
    return Snapshot(ws(pending), (workload(),), (pod,), services=(service(),), events=events, **more)


PULL = 'Back-off pulling image "r.example/m:1"'


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("failed to authorize: failed to fetch anonymous token: 401 Unauthorized", "image-unauthorized"),
        ("pull access denied, repository does not exist or may require authorization", "image-unauthorized"),
        ("403 Forbidden", "image-unauthorized"),
        ("manifest unknown: manifest tagged by 1 is not found", "image-not-found"),
        ("r.example/m:1: not found", "image-not-found"),
        ("dial tcp: lookup r.example: no such host", "registry-unreachable"),
        ("toomanyrequests: You have reached your pull rate limit", "registry-unreachable"),
        ("x509: certificate signed by unknown authority", "registry-unreachable"),
        ("unexpected media type", "image-pull-failed"),
    ],
)
def test_why_an_image_cannot_be_pulled_may_stand_only_in_an_event(words: str, code: str) -> None:
    pod = a_pod(waiting("ImagePullBackOff", PULL))
    told = event(pod, "Failed", f'Failed to pull image "r.example/m:1": {words}')
    assert code_of(of_pod(pod, told)) == code
    assert code_of(of_pod(a_pod(waiting("ErrImagePull", words)))) == code


def test_a_pull_secret_is_blamed_only_when_it_is_missing_and_wanted() -> None:
    pod = a_pod(waiting("ErrImagePull", "401 Unauthorized"), imagePullSecrets=[{"name": "acr"}])
    assert code_of(of_pod(pod)) == "image-unauthorized"
    assert code_of(of_pod(pod, missing=frozenset({Named("Secret", "acr")}))) == "pull-secret-missing"
    gone = a_pod(waiting("ErrImagePull", "not found"), imagePullSecrets=[{"name": "acr"}])
    assert code_of(of_pod(gone, missing=frozenset({Named("Secret", "acr")}))) == "image-not-found"


@pytest.mark.parametrize("container", ["style", "puller-style"])
def test_an_adapters_container_is_known_by_its_name_of_each_version(container: str) -> None:
    seen = of_pod(a_pod(inits=(waiting("ErrImagePull", "not found", container),)))
    with_adapter = Snapshot(
        {**ws(), "inference": {"preset": {"name": "falcon-7b"}, "adapters": [adapter()]}},
        seen.workloads,
        seen.pods,
    )
    assert code_of(with_adapter) == "adapter-image-bad"


@pytest.mark.parametrize(
    ("exit_code", "reason", "log", "code"),
    [
        (137, "OOMKilled", "", "out-of-memory"),
        (1, "Error", "torch.cuda.OutOfMemoryError: CUDA out of memory. Tried", "cuda-out-of-memory"),
        (1, "Error", "ValueError: No available memory for the cache blocks.", "cuda-out-of-memory"),
        (1, "Error", "OSError: You are trying to access a gated repo.", "model-access-denied"),
        (1, "Error", "OSError: [Errno 28] No space left on device", "disk-full"),
        (127, "Error", "sh: accelerate: not found", "image-broken"),
        (1, "Error", "", "crash-loop"),
    ],
)
def test_how_a_server_ends(exit_code: int, reason: str, log: str, code: str) -> None:
    seen = of_pod(a_pod(ended(exit_code, reason)), logs={("falcon-0", "falcon"): log})
    assert code_of(seen) == code


def killed(ran_s: int, *, code: int = 137, reason: str = "Error", **probes: Object) -> Object:
    """A pod whose server was killed after so many seconds."""
    item = ended(code, reason)
    times = {
        "startedAt": "2026-01-01T00:00:00Z",
        "finishedAt": (datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=ran_s)).isoformat(),
    }
    item["lastState"]["terminated"] |= times
    return a_pod(item, containers=[{"name": "falcon", **probes}])


LIVENESS: Object = {"initialDelaySeconds": 600, "periodSeconds": 10}


def test_a_probe_is_blamed_for_a_kill_by_events_or_by_the_clock_alone() -> None:
    slow = killed(640, livenessProbe=LIVENESS)
    told = event(slow, "Killing", "Container falcon failed liveness probe, will be restarted", "Normal")
    assert code_of(of_pod(slow, told)) == "probe-kills-slow-start"
    assert code_of(of_pod(slow, unseen={"events": "forbidden"})) == "probe-kills-slow-start"
    assert code_of(of_pod(slow)) == "container-killed", "its events may be seen, and there are none"
    served = killed(5 * 3600, livenessProbe=LIVENESS)
    assert code_of(of_pod(served, told)) == "probe-kills-server"
    assert code_of(of_pod(served, unseen={"events": "forbidden"})) == "container-killed"
    started = event(slow, "Unhealthy", "Startup probe failed: connection refused")
    assert code_of(of_pod(killed(5 * 3600, startupProbe=LIVENESS), started)) == "probe-kills-slow-start"


@pytest.mark.parametrize(
    ("code", "reason"), [(137, "Error"), (143, "Error"), (137, "ContainerStatusUnknown")]
)
def test_a_kill_without_a_probe_has_an_unknown_author(code: int, reason: str) -> None:
    readiness = killed(60, code=code, reason=reason, livenessProbe=LIVENESS)
    told = event(readiness, "Unhealthy", "Readiness probe failed: connection refused")
    assert code_of(of_pod(readiness, told)) == "container-killed"


def test_a_probe_of_another_container_is_not_blamed() -> None:
    pod = killed(640, livenessProbe=LIVENESS)
    told = event(pod, "Killing", "Container proxy failed liveness probe, will be restarted", "Normal")
    told["involvedObject"]["fieldPath"] = "spec.containers{proxy}"
    assert code_of(of_pod(pod, told)) == "container-killed"


def test_a_container_that_has_recovered_is_not_blamed() -> None:
    well = {**ended(1), "state": {"running": {}}, "ready": True}
    assert code_of(of_pod(a_pod(well))) == ""
    copied = {**ended(1, name="style"), "state": {"terminated": {"exitCode": 0}}, "ready": True}
    assert code_of(of_pod(a_pod(well, inits=(copied,)))) == ""
    assert code_of(of_pod(a_pod(well, inits=({**copied, "ready": False},)))) != ""


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (
            "creating instance: OperationNotAllowed: exceeding approved NCADSA100v4Family Cores quota",
            "quota-exceeded",
        ),
        (
            "VcpuLimitExceeded: You have requested more vCPU capacity than your current limit",
            "quota-exceeded",
        ),
        ("all requested instance types were unavailable during launch", "instance-type-unavailable"),
        (
            "SkuNotAvailable: the requested size is not available in location westus",
            "instance-type-unavailable",
        ),
        ("AuthorizationFailed: no permission", "node-claim-failed"),
    ],
)
@pytest.mark.parametrize(("kind", "launched"), [("NodeClaim", "Launched"), ("Machine", "MachineLaunched")])
def test_why_a_machine_was_not_launched(kind: str, launched: str, message: str, code: str) -> None:
    failed = {"type": launched, "status": "False", "reason": "LaunchFailed", "message": message}
    seen = Snapshot(
        ws(condition("MachineReady", "False", "checkMachineStatusFailed", "timed out")),
        claims=(claim(failed, kind=kind),),
    )
    assert code_of(seen) == code


def test_a_machine_that_is_on_its_way_is_waited_for_and_then_blamed() -> None:
    launched = {"type": "Launched", "status": "True"}
    unknown = ws(condition("NodeClaimReady", "Unknown", "CreateNodeClaimPending"))
    young = diagnose(Snapshot(unknown, claims=(claim(launched, created=JUST_NOW),)), NOW)
    old = diagnose(Snapshot(unknown, claims=(claim(launched),)), NOW)
    assert [found.cause.weight for found in (young, old) if found.cause] == ["wait", "fault"]
    assert code_of(Snapshot(unknown, claims=(claim(),))) == "node-claim-pending"


def test_a_node_without_gpus_is_the_device_plugins_doing() -> None:
    joined = [{"type": kind, "status": "True"} for kind in ("Launched", "Registered")]
    bare = node("gpu-a", gpus=None)
    seen = Snapshot(
        ws(condition("NodeClaimReady", "Unknown", "x")),
        claims=(claim(*joined, nodeName="gpu-a"),),
        nodes=(bare,),
    )
    assert code_of(seen) == "device-plugin-missing"


def test_label_mismatches_of_upstreams_nodes() -> None:
    """v0.4: the preferred node lacks the label, KAITO buys a machine, and that fails."""
    asked = ws(
        condition("MachineReady", "Unknown", "CreateMachinePending"), resource={"preferredNodes": ["gpu-a"]}
    )
    judged = node_check.verdict(asked, [node("gpu-a", labels={})], rules=node_check.Rules("v0.4"))
    assert code_of(Snapshot(asked, verdict=judged)) == "label-missing"
    quota = {"type": "Launched", "status": "False", "reason": "x", "message": "quota exceeded"}
    both = diagnose(Snapshot(asked, claims=(claim(quota),), verdict=judged), NOW)
    assert [cause.code for cause in both.causes[:2]] == ["quota-exceeded", "label-missing"]


def test_gpus_that_are_taken_leave_the_pod_of_upstream_pending() -> None:
    """KAITO selects the node and makes the pod, which no scheduler places."""
    pod = a_pod()
    del pod["spec"]["nodeName"]
    words = "0/1 nodes are available: 1 Insufficient nvidia.com/gpu."
    pod["status"]["conditions"] = [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": words}
    ]
    other = {
        "metadata": {"name": "o", "namespace": "x"},
        "spec": {"nodeName": "gpu-a", "containers": [{"resources": {"requests": {"nvidia.com/gpu": "2"}}}]},
    }
    seen = of_pod(pod)
    judged = node_check.verdict(ws(), [node("gpu-a")], [other], rules=node_check.Rules("v0.4"))
    assert code_of(Snapshot(seen.workspace, seen.workloads, seen.pods, verdict=judged)) == "gpus-in-use"
    assert code_of(seen) == "unschedulable", "without the right to list nodes the scheduler's words remain"
    pod["status"]["nominatedNodeName"] = "gpu-a"
    cause = diagnose(Snapshot(seen.workspace, seen.workloads, seen.pods, verdict=judged), NOW).cause
    assert cause is not None
    assert "pods of lower priority there" in cause.message
    assert "until they have ended" in cause.hint


@pytest.mark.parametrize(
    "words",
    [
        'persistentvolumeclaim "weights" not found',
        "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims.",
    ],
)
def test_a_volume_claim_that_is_not_there(words: str) -> None:
    pod = a_pod(volumes=[{"name": "w", "persistentVolumeClaim": {"claimName": "weights"}}])
    del pod["spec"]["nodeName"]
    placed = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": words}
    pod["status"]["conditions"] = [placed]
    assert code_of(of_pod(pod)) == "volume-claim-missing"


def test_an_evicted_pod_and_a_server_that_takes_too_long() -> None:
    gone = a_pod()
    gone["status"] = {
        "phase": "Failed",
        "reason": "Evicted",
        "message": "The node was low on resource: memory.",
    }
    assert code_of(of_pod(gone)) == "pod-evicted"
    loading = {"name": "falcon", "state": {"running": {"startedAt": LONG_AGO}}, "ready": False}
    assert code_of(of_pod(a_pod(loading))) == "slow-start"


def test_a_container_that_cannot_be_started_or_configured() -> None:
    assert (
        code_of(of_pod(a_pod(waiting("RunContainerError", "exec: no such file")))) == "container-cannot-start"
    )
    lacks = waiting("CreateContainerConfigError", "couldn't find key HF_TOKEN in Secret default/hf")
    assert code_of(of_pod(a_pod(lacks))) == "key-missing"
    assert code_of(of_pod(a_pod(waiting("InvalidImageName", "bad")))) == "image-name-invalid"


def test_a_finalizer_waits_for_nodes_or_for_somebody_else() -> None:
    going = ws()
    going["metadata"] |= {"deletionTimestamp": JUST_NOW, "finalizers": ["workspace.finalizer.kaito.sh"]}
    waits = diagnose(Snapshot(going, claims=(claim(),)), NOW)
    assert waits.cause
    assert (waits.cause.code, waits.cause.weight) == ("finalizer-holds-deletion", "wait")
    going["metadata"]["finalizers"].append("example.com/x")
    assert "example.com/x" in (diagnose(Snapshot(going), NOW).causes[0].message)


def test_a_controller_that_is_silent_is_told_from_one_that_is_not_there() -> None:
    assert code_of(Snapshot(ws())) == "controller-not-running"
    assert code_of(Snapshot(ws(created=JUST_NOW))) == ""
    marked = ws()
    marked["metadata"]["finalizers"] = ["workspace.finalizer.kaito.sh"]
    assert code_of(Snapshot(marked)) == "controller-silent"
    unknown = ws(inference={"preset": {"name": "no-such-model"}})
    unknown["metadata"]["finalizers"] = ["workspace.finalizer.kaito.sh"]
    assert code_of(Snapshot(unknown)) == "workspace-invalid", "v0.3 writes no condition for it"


def test_a_change_that_nobody_has_taken_up() -> None:
    stale = ws(condition("ResourceReady", "True", "x"), generation=2)
    found = diagnose(Snapshot(stale, (workload(ready=1),)), NOW)
    assert found.cause
    assert found.cause.code == "generation-not-observed"
    assert found.cause.weight == "wait", "KAITO does not mark each generation that it has seen"
    for seconds, weight in ((5, "wait"), (60, "fault")):
        written = (NOW - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")
        by_ours = {"manager": CONTROLLER, "operation": "Apply", "subresource": "status", "time": written}
        by_user = {"manager": "x", "time": written, "fieldsV1": {"f:inference": {}}}
        stale["metadata"]["managedFields"] = [by_ours, by_user]
        cause = diagnose(Snapshot(stale, (workload(ready=1),)), NOW).cause
        assert cause and cause.weight == weight


def test_upstream_says_ready_while_the_pod_crashes() -> None:
    """v0.3 compares readyReplicas with the old pod still counted; condition and workload say ready."""
    said = ws(condition("InferenceReady", "True", "WorkspaceInferenceStatusSuccess"))
    crashing = Snapshot(said, (workload("Deployment", ready=0),), (a_pod(ended(1)),), services=(service(),))
    assert code_of(crashing) == "crash-loop"


def test_a_ready_workspace_has_only_notes() -> None:
    said = ws(condition("InferenceReady", "True", "WorkspaceInferenceStatusSuccess"))
    pod = a_pod({"name": "falcon", "state": {"running": {}}, "ready": True})
    pod["status"]["conditions"] = [{"type": "Ready", "status": "True"}]
    gone = a_pod(name="falcon-old")
    gone["status"] = {"phase": "Failed", "reason": "Evicted", "message": "low on memory"}
    pods, main = (pod, gone), service()
    seen = Snapshot(said, (workload(ready=1),), pods, services=(main,), slices=slices_of(main, pods))
    found = diagnose(seen, NOW)
    assert found.is_ready
    assert found.cause is None
    assert [(cause.code, cause.weight) for cause in found.causes] == [("pod-evicted", "note")]


def test_pods_that_the_api_server_refuses() -> None:
    failure = {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: gpus"}
    made = workload("Deployment")
    made["status"]["conditions"] = [failure]
    assert code_of(Snapshot(ws(condition("ResourceReady", "True", "x")), (made,))) == "pods-refused"


def test_the_controllers_own_words_are_the_last_resort() -> None:
    said = ws(condition("InferenceReady", "False", "SASTokenFetchFailed", "no token"))
    assert code_of(Snapshot(said, (workload(),), services=(service(),))) == "controller-says"
    crashed = Snapshot(said, (workload(),), (a_pod(ended(1)),), services=(service(),))
    assert [cause.code for cause in diagnose(crashed, NOW).causes] == ["crash-loop"]


# --- the table -------------------------------------------------------------------------------------------


def test_every_code_is_explained_and_used() -> None:
    folder = ROOT / "kaitoctl"
    rules = [
        *(file for file in (folder / "kaito" / "diagnosis").rglob("*.py") if file.name != "codes.py"),
        *(folder / "commands").glob("observe*.py"),
        *(folder / "commands").glob("doctor*.py"),
    ]
    source = "".join(file.read_text() for file in rules)
    for code in (*CODES, *installation_codes.CODES):
        assert code in source, f"{code} is explained and never found"
    assert not set(CODES) & {*node_codes.CODES, *validation_codes.CODES, *installation_codes.CODES}


def test_the_chapter_on_troubleshooting_is_the_table() -> None:
    page = (ROOT / "docs" / "troubleshooting.md").read_text()
    assert page == chapter(), "kaitoctl explain --troubleshooting > docs/troubleshooting.md"
    assert all(f"## {code}\n" in page for code in (*CODES, *node_codes.CODES, *installation_codes.CODES))


# --- whatever a cluster holds ----------------------------------------------------------------------------

_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.sampled_from(["", "x", "True", "2026-01-01T00:00:00Z"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
_STATE = st.fixed_dictionaries(
    {},
    optional={
        "waiting": st.fixed_dictionaries(
            {}, optional={"reason": st.sampled_from(["ErrImagePull", "CrashLoopBackOff", ""])}
        ),
        "terminated": st.fixed_dictionaries({}, optional={"exitCode": st.integers(0, 255)}),
        "running": st.just({}),
    },
)


@given(
    st.lists(st.tuples(_STATE, _STATE, st.booleans()), max_size=3),
    st.sampled_from(["True", "False", "Unknown"]),
    st.integers(0, 2),
    st.booleans(),
)
def test_it_never_says_ready_while_a_pod_is_not(
    states: list[tuple[Object, Object, bool]], said: str, ready: int, is_bound: bool
) -> None:
    containers = [
        {"name": "falcon", "state": now, "lastState": last, "ready": ok} for now, last, ok in states
    ]
    pod = a_pod(*containers)
    if not is_bound:
        del pod["spec"]["nodeName"]
    workspace_ = ws(condition("InferenceReady", said, "r"), condition("ResourceReady", said, "r"))
    found = diagnose(Snapshot(workspace_, (workload(ready=ready),), (pod,)), NOW)
    assert not found.is_ready or (said == "True" and ready == 1)


def test_references_of_a_workspace() -> None:
    preset = {"name": "falcon-7b", "presetOptions": {"modelAccessSecret": "hf", "imagePullSecrets": ["a"]}}
    asked = ws(inference={"preset": preset, "config": "params"})
    assert diagnosis.references(asked) == [
        ("inference.config", Named("ConfigMap", "params")),
        ("presetOptions.modelAccessSecret", Named("Secret", "hf")),
        ("pull", Named("Secret", "a")),
    ]


@pytest.mark.parametrize(
    "spec",
    [
        5,
        {"imagePullSecrets": ["abc", {"name": 1}], "volumes": [5, {"secret": "abc"}]},
        {"volumes": [{"projected": {"sources": 1}}, {"configMap": {"name": {}}}]},
        {"containers": [{"env": [{"valueFrom": "abc"}, 1], "envFrom": [{"secretRef": "abc"}]}, "c"]},
        {"containers": 1, "initContainers": [{"env": 1, "envFrom": {"secretRef": {"name": "s"}}}]},
    ],
)
def test_references_of_another_shape_are_none(spec: Any) -> None:
    asked = ws(inference={"template": {"spec": spec}})
    assert diagnosis.references(asked) == []
    assert diagnosis.references(ws(inference={"template": spec})) == []


def test_references_of_its_volumes_and_of_its_own_template() -> None:
    volume = {"persistentVolumeClaim": {"claimName": "weights"}}
    data = {"secret": {"secretName": "data"}}
    env = [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "key", "key": "a"}}}]
    maybe = [{"configMapRef": {"name": "maybe", "optional": True}}]
    pod = {
        "spec": {
            "containers": [{"name": "c", "env": env, "envFrom": maybe}],
            "imagePullSecrets": [{"name": "p"}],
        }
    }
    asked = ws(inference={"template": pod, "adapters": [{"source": {"name": "a", "volumeSource": volume}}]})
    asked["tuning"] = {"input": {"volumeSource": data}, "output": {"volumeSource": volume}}
    assert diagnosis.references(asked) == [
        ("tuning.input.volumeSource", Named("Secret", "data")),
        ("inference.adapters[0].source.volumeSource", Named("PersistentVolumeClaim", "weights")),
        ("tuning.output.volumeSource", Named("PersistentVolumeClaim", "weights")),
        ("pull", Named("Secret", "p")),
        ("inference.template", Named("Secret", "key")),
    ]


def test_a_secret_that_a_container_reads_and_that_is_missing() -> None:
    containers = [{"name": "falcon", "image": "r.example/m:1", "envFrom": [{"secretRef": {"name": "gone"}}]}]
    pod = a_pod(waiting("CreateContainerConfigError", 'secret "gone" not found'), containers=containers)
    assert code_of(of_pod(pod, missing=frozenset({Named("Secret", "gone")}))) == "secret-missing"


# --- KAITO's controller ------------------------------------------------------------------------------------

UNSUPPORTED = (
    "failed to calculate target node count: failed to get GPU config for instance type Standard_X: "
    "invalid value: Unsupported SKU 'Standard_X' for cloud provider: sku"
)


def appended(kind: str, reason: str, error: str) -> Object:
    return condition(kind, "False", reason, f"it waits (last reconcile error: {error})")


@pytest.mark.parametrize(
    ("error", "code", "weight"),
    [
        (UNSUPPORTED, "reconcile-error", "fault"),
        ('Service "w" is invalid: spec.ports: Required value', "reconcile-error", "fault"),
        ("boom", "reconcile-error", "wait"),
        ('Operation cannot be fulfilled on workspaces.kaito.sh "w": the object has been modified', "", ""),
        ("context deadline exceeded", "", ""),
    ],
)
def test_the_error_that_kaito_appends_to_its_conditions_is_read(error: str, code: str, weight: str) -> None:
    waits = appended("InferenceReady", "WorkspaceInferenceStatusPending", error)
    also = appended("WorkspaceSucceeded", "workspacePending", error)
    found = diagnose(Snapshot(ws(waits, also)), NOW)
    assert (found.cause.code if found.cause else "") == code
    assert not code or found.cause is None or found.cause.weight == weight
    assert not code or (found.cause is not None and error in found.cause.message)


def test_a_rule_that_explains_the_appended_error_is_nearer_to_the_root() -> None:
    waits = appended(
        "InferenceReady", "WorkspaceInferenceStatusPending", "Unsupported inference preset name x"
    )
    unknown = ws(waits, inference={"preset": {"name": "no-such-model"}})
    codes = [cause.code for cause in diagnose(Snapshot(unknown), NOW).causes]
    assert codes[:2] == ["workspace-invalid", "reconcile-error"]


@pytest.mark.parametrize(
    ("target", "preset", "code"),
    [
        ("v0.3", "phi-3.5-mini-instruct", "workspace-invalid"),
        ("v0.4", "phi-3.5-mini-instruct", ""),
        (None, "phi-3.5-mini-instruct", ""),
    ],
)
def test_the_release_that_is_there_judges_what_it_refuses(target: str | None, preset: str, code: str) -> None:
    words = "Unsupported inference preset name x"
    waits = appended("InferenceReady", "WorkspaceInferenceStatusPending", words)
    machine = {"instanceType": "Standard_NC24ads_A100_v4"}
    unknown = ws(waits, inference={"preset": {"name": preset}}, resource=machine)
    setting = validation.Setting(target) if target else None
    found = diagnose(Snapshot(unknown, setting=setting), NOW)
    codes = [cause.code for cause in found.causes if f"KAITO {target}" in cause.message]
    assert codes == ([code] if code else []), found.causes


KAITO = "KAITO 0.12.0: Deployment kaito-workspace/workspace, 1 of 1 pods ready"
OLD_KAITO = "KAITO 0.4.6: Deployment kaito-workspace/workspace, 1 of 1 pods ready"


@pytest.mark.parametrize(
    ("source", "rule"),
    [
        ({"name": "a"}, "KW151"),
        ({"image": "r.example/a:1"}, "KW152"),
        ({"name": "A_b", "image": "r.example/a:1"}, "KW152"),
        ({"name": "a", "image": "R.example/Not An Image"}, "KW145"),
        ({"name": "a", "urls": ["https://example.org/a"]}, "KW151"),
    ],
)
def test_a_workspace_that_kaitos_own_webhook_locks_out_of_its_controller(source: Object, rule: str) -> None:
    made = ws(inference={"adapters": [{"source": source}]})
    found = diagnose(Snapshot(made, controllers=(KAITO,)), NOW)
    assert found.cause
    assert (found.cause.code, text(found.cause.command)) == ("workspace-invalid", f"kaitoctl explain {rule}")
    assert "run-controller" not in "".join(text(cause.hint) + text(cause.command) for cause in found.causes)


@pytest.mark.parametrize(
    "here", [(KAITO,), (OLD_KAITO,), ("kaitoctl 0.1.0: Deployment k/c, 0 of 1 pods ready",), None]
)
def test_nobody_is_advised_to_start_a_second_controller(here: tuple[str, ...] | None) -> None:
    found = diagnose(Snapshot(ws(), controllers=here), NOW)
    assert found.cause
    assert found.cause.code == "controller-not-running"
    assert not any("run-controller" in text(cause.hint) + text(cause.command) for cause in found.causes)
    nobody = diagnose(Snapshot(ws(), controllers=()), NOW)
    assert nobody.cause
    assert "run-controller" in nobody.cause.hint


def others(number: int, status: str = "False") -> list[Object]:
    made = []
    for index in range(number):
        other = ws(condition("WorkspaceSucceeded", status, "workspacePending"))
        other["metadata"] |= {"name": f"other-{index}", "namespace": "team"}
        made.append(other)
    return made


def waiting_of(number: int, status: str = "False") -> tuple[ObjectKey, ...]:
    return of_controller.waiting([*others(number, status), ws()], ObjectKey("default", "falcon"))


@pytest.mark.parametrize("being_deleted", [False, True])
def test_five_workspaces_that_are_not_ready_keep_an_old_kaito_from_all_others(being_deleted: bool) -> None:
    made = ws(condition("ResourceReady", "True", "x"), generation=2) if being_deleted else ws()
    if being_deleted:
        made["metadata"] |= {"deletionTimestamp": LONG_AGO, "finalizers": ["workspace.finalizer.kaito.sh"]}
    seen = Snapshot(made, controllers=(OLD_KAITO,), waiting=waiting_of(5))
    found = diagnose(seen, NOW)
    assert found.cause
    assert found.cause.code == "controller-busy"
    assert text(found.cause.command) == "kaitoctl why other-0 -n team"
    assert "team/other-4" in str(found.cause.evidence)
    assert not any("run-controller" in text(cause.hint) + text(cause.command) for cause in found.causes)
    for fewer in (waiting_of(4), waiting_of(9, "True")):
        assert code_of(Snapshot(made, controllers=(OLD_KAITO,), waiting=fewer)) != "controller-busy"
    assert code_of(Snapshot(made, controllers=(KAITO,), waiting=waiting_of(9))) != "controller-busy"


def test_a_workspace_that_has_just_been_made_is_not_kept_waiting_yet() -> None:
    seen = Snapshot(ws(created=JUST_NOW), controllers=(OLD_KAITO,), waiting=waiting_of(5))
    assert code_of(seen) == ""


@pytest.mark.parametrize("kind", ["WorkspaceSucceeded", "ResourceReady"])
def test_a_lost_update_of_kaitos_is_no_cause(kind: str) -> None:
    lost = 'Operation cannot be fulfilled on workspaces.kaito.sh "falcon": the object has been modified'
    said = ws(condition(kind, "False", "workspaceFailed", lost))
    assert diagnose(Snapshot(said, (workload(),), services=(service(),)), NOW).causes == ()


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("ConsistentStateFound", "expected 2 of resource nvidia.com/gpu, but found 1 (50.0% of expected)"),
        ("InstanceTerminating", "the cloud takes it back"),
        ("Validated", "spec.requirements is odd"),
    ],
)
def test_what_any_condition_of_a_claim_says_against_it_is_told(kind: str, message: str) -> None:
    steps = [
        {"type": step, "status": "True", "reason": step, "lastTransitionTime": LONG_AGO}
        for step in ("Launched", "Registered", "Initialized")
    ]
    against = {"type": kind, "status": "False", "reason": "x", "message": message}
    waits = ws(condition("ResourceReady", "False", "workspaceResourceStatusNotReady", "not ready"))
    (cause, *_) = diagnose(Snapshot(waits, claims=(claim(*steps, against),)), NOW).causes
    assert f"{kind} is False: {message}" in cause.message


@pytest.mark.parametrize(
    ("resource", "preset", "says", "command"),
    [
        (
            {"instanceType": "Standard_NC12s_v3", "count": 500},
            "falcon-7b",
            "fewer nodes",
            "kaitoctl delete f",
        ),
        ({"instanceType": "Standard_NV6ads_A10_v5"}, "llama-3.3-70b-instruct", "too small", "kaitoctl fit"),
        ({"instanceType": "Standard_NC24ads_A100_v4"}, "acme/own", "--catalog acme/own=", "kaitoctl explain"),
        ({"instanceType": "Standard_NC24ads_A100_v4"}, "no-such", "change that", "kaitoctl edit falcon"),
    ],
)
def test_what_kaitoctls_controller_refuses_is_answered_by_what_can_be_changed(
    resource: Object, preset: str, says: str, command: str
) -> None:
    asked: Object = {"resource": resource, "inference": {"preset": {"name": preset}}}
    refusal = refusal_of(ws(**asked), Settings())
    assert refusal
    cause = refused_by_ours(refusal, **asked)
    assert says in text(cause.hint)
    assert text(cause.command).startswith(command)


def test_a_push_secret_that_is_missing_is_created_for_the_registry_it_pushes_to() -> None:
    output = {"image": "r.example/a:1", "imagePushSecret": "push"}
    refusal = "Secret push (tuning.output.imagePushSecret) does not exist"
    cause = refused_by_ours(refusal, inference=None, tuning={"output": output})
    create = "kubectl create secret docker-registry push -n default --docker-server=r.example"
    assert text(cause.command).startswith(create)


def refused_by_ours(refusal: str, **asked: Any) -> Cause:
    """What is said of a Workspace of which kaitoctl's own controller builds nothing."""
    told = [
        condition(f"{kind}Ready", "False", f"workspace{kind}StatusFailed", refusal)
        for kind in ("Resource", "Inference")
    ]
    refused = ws(*told, **asked)
    owned: Object = {"f:status": {"f:conditions": {}}}
    refused["metadata"]["managedFields"] = [{"manager": CONTROLLER, "fieldsV1": owned}]
    found = diagnose(Snapshot(refused, controllers=None), NOW)  # nobody has looked who manages it
    assert [one.code for one in found.causes] == ["workspace-invalid"]
    assert found.cause
    assert found.cause.message == refusal
    return found.cause
