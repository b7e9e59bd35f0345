"""What status, why and create make of what KAITO v0.12.0 writes: its stages, its ends, its own errors."""

from __future__ import annotations

from typing import Any

import pytest
from kaito_wrote import LOST_UPDATE, NO_RESULT, NO_SIZE, PEAK, model, objects_of, status
from trouble import NOW

from kaitoctl.advice import text
from kaitoctl.commands.overview import _row
from kaitoctl.kaito.diagnosis import diagnose
from kaitoctl.kaito.rollout import Phase, progress
from kaitoctl.kaito.snapshot import Snapshot
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
    return Snapshot(
        workspace, (server,) if state else (), pods, services=tuple(services) if state else (), nodes=nodes
    )


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
