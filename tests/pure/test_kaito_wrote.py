"""What status, why and create make of what KAITO v0.12.0 writes: its stages, its ends, its own errors."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from builders import slices_of
from kaito_wrote import LOST_UPDATE, NO_RESULT, NO_SIZE, PEAK, model, objects_of, status
from msgspec.structs import replace
from trouble import NOW

from kaitoctl.advice import text
from kaitoctl.commands.overview import _row
from kaitoctl.kaito import model_mirrors
from kaitoctl.kaito.catalog import SHIPPED
from kaitoctl.kaito.diagnosis import diagnose
from kaitoctl.kaito.node_check import Rules, verdict
from kaitoctl.kaito.rollout import Phase, progress
from kaitoctl.kaito.snapshot import Named, Snapshot
from kaitoctl.kaito.view import view
from kaitoctl.kaito.view_json import as_json, of_json
from kaitoctl.kube.objects import Object


def pod(number: int, template: Object, state: str) -> Object:
    """A pod of the StatefulSet: `weights` (its first init container runs), `loads` or `serves`."""
    spec = {**template["spec"], "nodeName": f"node-{number}"}
    inits = [item["name"] for item in spec.get("initContainers") or ()]
    done = {"terminated": {"exitCode": 0}}
    running = {"running": {"startedAt": "2026-11-28T16:56:00Z"}}
    waiting = {"waiting": {"reason": "PodInitializing"}}
    first, main = (done, running) if state in ("loads", "serves") else (running, waiting)
    is_ready = state == "serves"
    return {
        "kind": "Pod",
        "metadata": {
            "name": f"big-{number}",
            "namespace": "default",
            "uid": f"p{number}",
            "labels": {
                **template["metadata"]["labels"],
                "statefulset.kubernetes.io/pod-name": f"big-{number}",
            },
            "creationTimestamp": "2026-11-28T16:55:30Z",
            "ownerReferences": [{"kind": "StatefulSet", "name": "big", "uid": "s", "controller": True}],
        },
        "spec": spec,
        "status": {
            "phase": "Running" if state in ("loads", "serves") else "Pending",
            "podIP": f"10.0.0.{number + 1}",
            "conditions": [{"type": "Ready", "status": "True" if is_ready else "False"}],
            "initContainerStatuses": [{"name": name, "state": first} for name in inits],
            "containerStatuses": [{"name": "big", "ready": is_ready, "restartCount": 0, "state": main}],
        },
    }


def written(state: str, /, adapters: int = 0, inits: tuple[str, ...] = (), **how: Any) -> Snapshot:
    """The world at a stage; `state` is that of its pods, empty before there are any."""
    workspace = model(status=status(**how))
    if adapters:
        workspace["inference"]["adapters"] = [{"source": {"name": "style", "image": "r.example/style:1"}}]
    *services, server = objects_of(workspace)
    template = server["spec"]["template"]
    if inits:
        template["spec"]["initContainers"] = [{"name": name, "image": "r.example/x:1"} for name in inits]
    count = server["spec"]["replicas"]
    ready = count if state == "serves" else 0
    server["metadata"] |= {"uid": "s", "generation": 1}
    server["status"] = {
        "observedGeneration": 1,
        "replicas": count,
        "updatedReplicas": count,
        "readyReplicas": ready,
        "currentRevision": "r",
        "updateRevision": "r",
    }
    pods = tuple(pod(number, template, state) for number in range(count)) if state else ()
    nodes = tuple(
        {
            "kind": "Node",
            "metadata": {"name": f"node-{number}"},
            "status": {"conditions": [{"type": "Ready", "status": "True"}]},
        }
        for number in range(count)
    )
    if not state:
        return Snapshot(workspace, nodes=nodes)
    main = next(item for item in services if item["metadata"]["name"] == "big")
    slices = slices_of(main, pods)
    return Snapshot(workspace, (server,), pods, services=tuple(services), slices=slices, nodes=nodes)


@pytest.mark.parametrize(
    ("seen", "phase", "outcome"),
    [
        (written("", nodes=False), Phase.NODES, None),
        (written("", nodes=False, error=LOST_UPDATE), Phase.NODES, None),
        (written("loads"), Phase.LOADING, None),
        (written("loads", error=LOST_UPDATE), Phase.LOADING, None),
        (written("serves", serves=True, measured=""), Phase.READY, "ready"),
        (written("serves", serves=True), Phase.READY, "ready"),  # without benchmark
        (written("serves", serves=True, measured=NO_RESULT), Phase.BENCHMARK, "failed"),
        (
            written("serves", serves=True, measured="streaming logs: connection refused"),
            Phase.BENCHMARK,
            None,
        ),
        (written("", nodes=False, error=NO_SIZE, target=None), Phase.NODES, "failed"),
    ],
)
def test_its_stages_and_its_ends(seen: Snapshot, phase: Phase, outcome: str | None) -> None:
    where = progress(seen)
    assert (where.phase, where.outcome) == (phase, outcome), where


def test_a_benchmark_that_failed_is_a_cause_of_its_own() -> None:
    seen = written("serves", serves=True, measured=NO_RESULT)
    cause = diagnose(seen, NOW).cause
    assert cause is not None
    assert (cause.code, cause.weight) == ("benchmark-failed", "fault")
    assert text(cause.command).endswith("kaito.sh/disable-benchmark=true --overwrite")
    assert any(NO_RESULT in words for _, words in cause.evidence)
    # What stops the model is said first.
    cause = diagnose(written("loads", serves=True, measured=NO_RESULT), NOW).cause
    assert cause is None or cause.code != "benchmark-failed"


def test_the_number_of_nodes_is_that_which_kaito_found() -> None:
    seen = written("serves", serves=True, measured="")
    assert seen.workspace is not None
    row = _row(seen, seen.workspace, pods_seen=True)
    assert (row.nodes, row.state) == ("3/3", "Ready")
    assert "on 3 x Standard_NC24ads_A100_v4" in view(seen, NOW).title
    fewer = written("", nodes=False, target=None)
    assert fewer.workspace is not None
    assert _row(fewer, fewer.workspace, pods_seen=True).nodes == "0/1"


def test_what_was_measured_is_shown() -> None:
    seen = written("serves", serves=True, measured="")
    assert seen.workspace is not None
    shown = view(seen, NOW)
    assert shown.tree.info == "peak 6143 tokens/min"
    assert of_json(as_json(shown)).tree.info == shown.tree.info
    assert _row(seen, seen.workspace, pods_seen=True).as_json()["performance"] == {"metrics": PEAK}
    none = written("loads")
    assert none.workspace is not None
    assert view(none, NOW).tree.info == ""
    assert "performance" not in _row(none, none.workspace, pods_seen=True).as_json()


@pytest.mark.parametrize("value", [None, "", "much", {"value": "x"}, {"value": None}, [], {"value": "1e999"}])
def test_a_measurement_that_is_none_is_left_out(value: Any) -> None:
    seen = written("serves", serves=True, measured="")
    assert seen.workspace is not None
    seen.workspace["status"]["performance"]["metrics"]["peakTokensPerMinute"] = value
    assert view(seen, NOW).tree.info == ""


@pytest.mark.parametrize(
    ("inits", "adapters", "phase"),
    [
        (("model-weights-downloader",), 0, Phase.INITIALIZING),
        (("cuda-toolkit-provisioner",), 0, Phase.INITIALIZING),
        (("istio-init",), 0, Phase.INITIALIZING),
        (("puller-style",), 1, Phase.ADAPTERS),
        (("style",), 1, Phase.ADAPTERS),
    ],
)
def test_only_what_brings_an_adapter_is_called_so(
    inits: tuple[str, ...], adapters: int, phase: Phase
) -> None:
    where = progress(written("weights", adapters=adapters, inits=inits))
    assert where.phase is phase
    assert inits[0] in where.detail


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        ("ContainerOOMKilled", "container big in pod big-0 was OOMKilled"),
        ("ImagePullError", "pod big-0: failed to pull image"),
        ("Unschedulable", 'pod "big-0" is unschedulable: 0/3 nodes are available'),
        ("SASTokenFetchFailed", "failed to fetch the SAS token for az://models"),
        ("NodeDiskPressure", "node node-0 is under disk pressure"),
    ],
)
def test_a_reason_of_its_own_is_never_dropped(reason: str, message: str) -> None:
    found = diagnose(written("loads", why=(reason, message)), NOW)
    assert found.cause is not None, found.progress
    assert message in str(found.cause.evidence) + found.cause.message


@pytest.mark.parametrize("reason", ["ModelStreamingStorageClassNotFound", "ModelMirrorCreateFailed"])
def test_a_mirror_that_does_not_come_is_said(reason: str) -> None:
    seen = written("", nodes=True)
    assert seen.workspace is not None
    mirror: Object = {
        "type": "ModelMirrorReady",
        "status": "False",
        "reason": reason,
        "message": 'StorageClass "blob" was not found',
        "observedGeneration": 1,
        "lastTransitionTime": "2026-11-28T16:55:00Z",
    }
    seen.workspace["status"]["conditions"].insert(0, mirror)
    cause = diagnose(seen, NOW).cause
    assert cause is not None
    assert mirror["message"] in str(cause.evidence) + cause.message


# --- a mirror of weights that is waited for ----------------------------------------------------------------


def _false(kind: str, reason: str, message: str) -> Object:
    return {"type": kind, "status": "False", "reason": reason, "message": message}


def _of_mirror(kind: str, **parts: Any) -> Object:
    named = {"name": "0a1b2c", "namespace": "models"} if kind != "ModelMirror" else {"name": "0a1b2c"}
    metadata = {**named, "creationTimestamp": "2026-11-28T16:51:00Z"}
    return {"kind": kind, "metadata": metadata, **parts}


def mirrored(*belongings: Object, **status: Any) -> Snapshot:
    """A Workspace whose nodes are there, and whose mirror is not; `belongings` are the mirror's own."""
    seen = written("", nodes=True)
    assert seen.workspace is not None
    pending = _false("ModelMirrorReady", "ModelMirrorPending", "Model download in progress")
    seen.workspace["status"]["conditions"].append({**pending, "observedGeneration": 1})
    source = {"registry": "huggingface", "modelID": "meta-llama/Llama-3.3-70B-Instruct"}
    mirror = _of_mirror("ModelMirror", spec={"source": source, "jobNamespace": "models"}, status=status)
    return replace(seen, mirror=(mirror, *belongings))


PENDING = _of_mirror("PersistentVolumeClaim", spec={"storageClassName": "blob"}, status={"phase": "Pending"})
BOUND = _of_mirror("PersistentVolumeClaim", status={"phase": "Bound"})
JOB = _of_mirror("Job")
UNPLACED = _of_mirror(
    "Pod",
    status={
        "phase": "Pending",
        "conditions": [
            _false("PodScheduled", "Unschedulable", "0/3 nodes are available: 3 Insufficient cpu")
        ],
    },
)
NO_IMAGE = _of_mirror(
    "Pod",
    status={
        "containerStatuses": [
            {"name": "downloader", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no way"}}}
        ]
    },
)


@pytest.mark.parametrize(
    ("seen", "words", "weight", "command"),
    [
        (mirrored(PENDING, conditions=[]), "PersistentVolumeClaim models/0a1b2c is Pending", "fault",
         "kubectl describe pvc 0a1b2c -n models"),
        (mirrored(BOUND, JOB, UNPLACED), "3 Insufficient cpu", "fault",
         "kubectl describe pod 0a1b2c -n models"),
        (mirrored(BOUND, JOB, NO_IMAGE), "ImagePullBackOff: no way", "fault",
         "kubectl describe pod 0a1b2c -n models"),
        (mirrored(BOUND, JOB, conditions=[_false("Ready", "DownloadFailed", "Download job failed: backoff")]),
         "Download job failed: backoff", "fault",
         "kubectl logs job/0a1b2c -n models -c downloader --tail=20"),
        (mirrored(BOUND, JOB, conditions=[_false("Ready", "DownloadOOMKilled", "was OOMKilled")]),
         "was OOMKilled", "fault", "kubectl get modelmirrors,jobs,pvc -A"),
        (mirrored(BOUND, JOB, download={"speedBytesPerSecond": 82_100_000, "remainingSeconds": 754}),
         "82.1 MB/s, 12m left", "wait", "kubectl logs job/0a1b2c -n models -c downloader --tail=20"),
        (mirrored(BOUND, JOB, download={"speedBytesPerSecond": 5_000_000, "remainingSeconds": -1}),
         "5 MB/s", "wait", "kubectl logs job/0a1b2c -n models -c downloader --tail=20"),
        (mirrored(BOUND, download={"speedBytesPerSecond": "much"}), "is downloaded to its volume", "wait",
         "kubectl get modelmirror 0a1b2c"),
        (mirrored(), "the model is downloaded to its volume", "wait", "kubectl get modelmirror 0a1b2c"),
    ],
)  # fmt: skip
def test_what_a_mirror_waits_for(seen: Snapshot, words: str, weight: str, command: str) -> None:
    cause = diagnose(seen, NOW).cause
    assert cause is not None
    assert (cause.code, cause.about, cause.weight) == ("model-mirror-waits", "ModelMirror 0a1b2c", weight)
    assert words in cause.message
    assert text(cause.command) == command
    shown = view(seen, NOW).tree
    item = next(one for one in shown.children if one.kind == "ModelMirror")
    assert item.mark == ("bad" if "Download" in item.status else "busy")
    assert len(item.children) == len(seen.mirror) - 1


def test_why_a_claim_of_a_mirror_has_no_volume() -> None:
    said = 'storageclass.storage.k8s.io "blob" not found'
    event = {
        "involvedObject": {"kind": "PersistentVolumeClaim", "name": "0a1b2c"},
        "reason": "ProvisioningFailed", "message": said, "type": "Warning",
        "lastTimestamp": "2026-11-28T16:52:00Z",
    }  # fmt: skip
    stored = _false("StorageReady", "PVCPending", "PVC models/0a1b2c is Pending; check the StorageClass")
    cause = diagnose(replace(mirrored(PENDING, conditions=[stored]), events=(event,)), NOW).cause
    assert cause is not None
    assert "there is no StorageClass blob" in text(cause.hint)
    assert said in str([words for _, words in cause.evidence])


def test_a_mirror_that_is_ready_is_no_cause() -> None:
    cause = diagnose(mirrored(phase="Ready"), NOW).cause
    assert cause is None or cause.code != "model-mirror-waits"


@pytest.mark.parametrize(
    ("spec", "name", "is_it"),
    [
        ({"source": {"modelID": "meta-llama/Llama-3.3-70B-Instruct"}}, "x", True),
        ({"source": {"modelID": "microsoft/phi-4"}}, "x", False),
        # sha256 of the id, of which KAITO takes six digits for the name.
        ({"mode": "Static"}, hashlib.sha256(b"meta-llama/Llama-3.3-70B-Instruct").hexdigest()[:6], True),
        ({"mode": "Static"}, "aaaaaa", False),
    ],
)
def test_a_mirror_is_that_of_the_model(spec: Object, name: str, is_it: bool) -> None:
    mirror = {"metadata": {"name": name}, "spec": spec}
    found = model_mirrors.of_workspace(model(), [mirror], SHIPPED)
    assert (found is mirror) == is_it


def test_what_is_missing_is_created_with_the_key_that_kaito_reads() -> None:
    seen = written("", nodes=False)
    assert seen.workspace is not None
    seen.workspace["inference"]["preset"]["presetOptions"] = {"modelAccessSecret": "hf"}
    seen.workspace["inference"]["config"] = "mine"
    missing = frozenset({Named("Secret", "hf"), Named("ConfigMap", "mine")})
    found = diagnose(replace(seen, missing=missing), NOW).causes
    commands = {cause.code: text(cause.command) for cause in found}
    assert commands["secret-missing"].endswith(
        "create secret generic hf -n default --from-literal=HF_TOKEN=VALUE"
    )
    assert commands["config-map-missing"].endswith("mine -n default --from-file=inference_config.yaml=FILE")


def test_nodes_are_counted_by_the_verdict_until_kaito_has_counted_them() -> None:
    seen = written("", nodes=False, target=None)
    assert seen.workspace is not None
    rules = Rules("v0.12")
    judged = replace(seen, verdict=verdict(seen.workspace, [], None, rules=rules))
    assert " on 3 x Standard_NC24ads_A100_v4" in view(judged, NOW).title
