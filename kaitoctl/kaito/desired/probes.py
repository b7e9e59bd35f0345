"""How the kubelet asks whether the model server is up."""

from __future__ import annotations

import math

from kaitoctl.kaito import api
from kaitoctl.kaito.catalog import Model
from kaitoctl.kaito.desired.children import PORT, RAY_PORT, first_pod
from kaitoctl.kaito.image_generations import ImageGeneration
from kaitoctl.kube.objects import Object, annotations_of

_PERIOD_S = 10
_HEALTH = "/workspace/vllm/multi-node-health-check.py"
_BENCHMARK = "/workspace/vllm/benchmark_entrypoint.py"


def probes(path: str, budget_s: int) -> Object:
    """The probes of a preset's own image, which has `budget_s` seconds to load."""
    ask = {"httpGet": {"path": path, "port": PORT}}
    period_s = 10
    return {
        # Loading may take the preset's whole budget; until then liveness is not asked.
        "startupProbe": {**ask, "periodSeconds": period_s, "failureThreshold": max(1, budget_s // period_s)},
        "livenessProbe": {**ask, "initialDelaySeconds": 600, "periodSeconds": period_s},
        "readinessProbe": {**ask, "initialDelaySeconds": 30, "periodSeconds": period_s},
    }


def of_model(
    workspace: Object, generation: ImageGeneration, model: Model, runtime: str, *, nodes: int, port: int
) -> Object:
    """The probes of a model server of KAITO v0.12.

    On one node the server answers itself. Of several nodes only the first one's does, so a script asks it for
    all of them. vLLM is measured once before it counts as started, unless the Workspace does without.

    Args:
        workspace: the Workspace.
        generation: of the objects.
        model: that is served.
        runtime: `vllm` or `transformers`.
        nodes: how many it runs on.
        port: where the server listens.

    Source: KAITO v0.12.0 `pkg/workspace/inference/preset_inferences.go`.
    """
    chances = math.ceil(model.readiness_timeout_s / _PERIOD_S)
    if runtime == "vllm" and nodes > 1:
        made = _of_several(workspace, chances, port)
    else:
        ask = {"httpGet": {"path": generation.probe_path, "port": port}}
        made = {
            "startupProbe": {**ask, "periodSeconds": _PERIOD_S, "failureThreshold": chances},
            "livenessProbe": {**ask, "periodSeconds": _PERIOD_S, "failureThreshold": 3},
            "readinessProbe": {**ask, "initialDelaySeconds": 30, "periodSeconds": _PERIOD_S},
        }
    if runtime == "vllm" and annotations_of(workspace).get(api.ANNOTATION_DISABLE_BENCHMARK) != "true":
        made["startupProbe"] = {
            **_benchmark(nodes),
            "periodSeconds": _PERIOD_S,
            "timeoutSeconds": 600,  # a probe that is cut off starts its measurement again
            "failureThreshold": chances,
        }
    return made


def _of_several(workspace: Object, chances: int, port: int) -> Object:
    leader = f"--leader-address={first_pod(workspace)}"
    serves = _script(f"{_HEALTH} readiness {leader} --vllm-port={port}")
    lives = _script(f"{_HEALTH} liveness {leader} --ray-port={RAY_PORT}")
    often: Object = {"periodSeconds": _PERIOD_S, "timeoutSeconds": 1}
    return {
        "startupProbe": {**serves, **often, "failureThreshold": chances},
        "livenessProbe": {
            **lives,
            "initialDelaySeconds": 60,
            "periodSeconds": _PERIOD_S,
            "timeoutSeconds": 5,
            "failureThreshold": 1,
            "terminationGracePeriodSeconds": 1,
        },
        "readinessProbe": {**serves, **often, "failureThreshold": 1},
    }


def _benchmark(nodes: int) -> Object:
    if nodes == 1:
        return {"exec": {"command": ["python3", _BENCHMARK]}}
    # Only the first pod serves; were the others to wait for it, no update would ever come to an end.
    line = f'if [ "$POD_INDEX" = "0" ]; then python3 {_BENCHMARK}; else true; fi'
    return {"exec": {"command": ["/bin/sh", "-c", line]}}


def _script(line: str) -> Object:
    return {"exec": {"command": ["/bin/sh", "-c", f"python3 {line}"]}}
