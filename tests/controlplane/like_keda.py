"""The calls that KEDA makes of a ScaledObject, by a client of a few lines: KEDA itself does not run in tests.

What a trigger says is an argument here, and nothing waits for a cooldown.
Source: kedacore/keda, pkg/scaling/executor/scale_scaledobjects.go (to and from zero, by an update of the
scale subresource); keda-docs, concepts/scaling-deployments.md (between, by an autoscaler of its own).
"""

from __future__ import annotations

from typing import Any

from kaitoctl.kube.client import Client
from kaitoctl.kube.objects import Object
from kaitoctl.kube.request import Request


async def decide(client: Client, scaled: Object, *, is_active: bool) -> None:
    """What KEDA does with the scale of a ScaledObject's target, each time that it has asked the triggers."""
    spec, space = scaled["spec"], scaled["metadata"]["namespace"]
    target = spec["scaleTargetRef"]
    versions = f"/apis/{target['apiVersion']}"
    resources = (await client.send(Request("GET", versions)))["resources"]
    (plural,) = (one["name"] for one in resources if one["kind"] == target["kind"] and "/" not in one["name"])
    path = f"{versions}/namespaces/{space}/{plural}/{target['name']}/scale"
    scale = await client.send(Request("GET", path))
    there, least = scale["spec"].get("replicas", 0), spec.get("minReplicaCount", 0)
    wanted = there
    if is_active and there == 0:
        wanted = least or 1
    elif not is_active and (least == 0 or there < least):
        wanted = least
    if wanted != there:
        await client.send(Request("PUT", path, body={**scale, "spec": {"replicas": wanted}}))


def autoscaler(scaled: Object) -> Any:
    """The HorizontalPodAutoscaler that KEDA makes: of a metric for each trigger, and never less than one."""
    spec, metadata = scaled["spec"], scaled["metadata"]
    metrics = [
        {
            "type": "External",
            "external": {
                "metric": {
                    "name": f"s{number}-{trigger['type']}",
                    "selector": {"matchLabels": {"scaledobject.keda.sh/name": metadata["name"]}},
                },
                "target": {"type": "AverageValue", "averageValue": trigger["metadata"]["threshold"]},
            },
        }
        for number, trigger in enumerate(spec["triggers"])
    ]
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": f"keda-hpa-{metadata['name']}", "namespace": metadata["namespace"]},
        "spec": {
            "scaleTargetRef": spec["scaleTargetRef"],
            "minReplicas": spec.get("minReplicaCount") or 1,
            "maxReplicas": spec["maxReplicaCount"],
            "metrics": metrics,
        },
    }
