"""An InferenceSet and its Workspaces -> the status that it should show. Pure; the time is given.

Conditions, reasons and messages are KAITO's; `RolloutComplete` is ours, as KAITO rolls nothing out.
`BenchmarkCompleted` is left out: kaitoctl's controller benchmarks nothing.

Source: KAITO v0.12.0, `pkg/inferenceset/inferenceset_controller.go` (addOrUpdateInferenceSet).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from kaitoctl.kaito import api
from kaitoctl.kaito.fleet.decisions import Replica, Rollout
from kaitoctl.kube.conditions import condition, merge
from kaitoctl.kube.objects import Object, dig, generation_of

READY = "InferenceSetReady"
DELETING = "InferenceSetDeleting"
ROLLOUT = "RolloutComplete"
"""kaitoctl's own: whether every replica has the present template, and what holds it up when not."""

FIELDS = ("conditions", "replicas", "readyReplicas", "selector", "performance")
_TOKENS_OF_ONE, _TOKENS = "peakTokensPerMinute", "aggregatedPeakTokensPerMinute"


def status_of(
    inference_set: Object,
    wanted: int,
    replicas: Sequence[Replica],
    rollout: Rollout,
    now: datetime,
    *,
    refusal: str = "",
) -> Object:
    """The status; equal to the present one when nothing has changed.

    Args:
        inference_set: as it is.
        wanted: how many replicas are.
        replicas: its Workspaces.
        rollout: how far the template has come.
        now: the present time.
        refusal: why nothing is made of the set; empty when something is.
    """
    ready = sum(one.is_ready for one in replicas)
    if refusal:
        news = [condition(READY, False, "inferencesetFailed", refusal)]
    elif ready == wanted:
        news = [condition(READY, True, "inferencesetReady", "inferenceset is ready")]
    else:
        words = f"inferenceset is not ready, {ready}/{wanted} replicas are ready"
        news = [condition(READY, False, "inferencesetNotReady", words)]
    if not refusal:
        news.append(condition(ROLLOUT, rollout.is_complete, rollout.reason, rollout.message))
    return _status(inference_set, wanted, replicas, news, now)


def deleting(inference_set: Object, wanted: int, replicas: Sequence[Replica], now: datetime) -> Object:
    """The status of a set that is being deleted."""
    news = [condition(DELETING, True, "inferencesetDeleted", "inferenceset is being deleted")]
    return _status(inference_set, wanted, replicas, news, now)


def _status(
    inference_set: Object, wanted: int, replicas: Sequence[Replica], news: Iterable[Object], now: datetime
) -> Object:
    before = dig(inference_set, "status", "conditions") or ()
    made: Object = {
        "conditions": merge(before, news, generation=generation_of(inference_set), now=now),
        "replicas": wanted,
        "readyReplicas": sum(one.is_ready for one in replicas),
        "selector": f"{api.LABEL_CREATED_BY_SET}={inference_set['metadata']['name']}",
    }
    if measured := [value for one in replicas if one.is_ready and (value := _tokens(one.workspace))]:
        first = dig(replicas[0].workspace, "status", "performance", "metrics", _TOKENS_OF_ONE) or {}
        metric = {
            "description": str(
                first.get("description") or "Sum of the peak throughput of the ready replicas"
            ),
            "value": f"{sum(measured):.2f}",
            "unit": str(first.get("unit") or "tokens/min"),
        }
        made["performance"] = {"metrics": {_TOKENS: metric}}
    return made


def _tokens(workspace: Object) -> float:
    try:
        return float(dig(workspace, "status", "performance", "metrics", _TOKENS_OF_ONE, "value") or 0)
    except (TypeError, ValueError):
        return 0.0
