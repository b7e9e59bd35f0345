"""The HorizontalPodAutoscalers of docs/fleets.md, by Kubernetes' own controller, on our scale subresource."""

from __future__ import annotations

import asyncio
import re
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from controlplane import like_keda
from controlplane.certificates import Authority
from controlplane.metrics_api import Metric, served
from controlplane.plane import ControlPlane
from fleet_world import SET, WORKSPACE, inference_set
from shell import BIN

from kaitoctl import fleet_controller
from kaitoctl.errors import ApiError
from kaitoctl.kaito import api as kaito
from kaitoctl.kube import conditions, request
from kaitoctl.kube.client import Client, connect
from kaitoctl.kube.objects import Object, ObjectKey, dig, generation_of, is_being_deleted, key_of
from kaitoctl.kube.request import Request

PAGE = Path(__file__).parents[2] / "docs/fleets.md"
SPACE = "autoscaled"
KEY = ObjectKey(SPACE, "phis")
HPAS = f"/apis/autoscaling/v2/namespaces/{SPACE}/horizontalpodautoscalers"


def documents(kind: str) -> list[Any]:
    """The manifests of a kind in the page."""
    blocks = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return [made for block in blocks if (made := yaml.safe_load(block)).get("kind") == kind]


def test_every_autoscaler_of_the_page_aims_at_a_kind_that_can_be_scaled(control_plane: ControlPlane) -> None:
    found = [*documents("HorizontalPodAutoscaler"), *documents("ScaledObject")]
    assert len(found) == 3
    crd = control_plane.do(
        "GET", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/inferencesets.kaito.sh"
    )
    scaled = {one["name"] for one in crd["spec"]["versions"] if dig(one, "subresources", "scale")}
    for one in found:
        target = one["spec"]["scaleTargetRef"]
        assert target["kind"] == "InferenceSet"
        assert target["apiVersion"].partition("/")[2] in scaled


async def until(question: Callable[[], Awaitable[bool]], seconds: float = 240) -> None:
    async with asyncio.timeout(seconds):
        while not await question():  # noqa: ASYNC110 - of a server that is asked
            await asyncio.sleep(0.5)


async def live(client: Client) -> list[Object]:
    return [one for one in (await client.list(WORKSPACE, SPACE)).items if not is_being_deleted(one)]


async def serve_all(client: Client) -> None:
    """What the Workspaces' controller would say once they serve."""
    for one in await live(client):
        if not conditions.is_true(one, kaito.WORKSPACE_SUCCEEDED, generation=generation_of(one)):
            news = {
                "type": kaito.WORKSPACE_SUCCEEDED, "status": "True", "reason": "workspaceSucceeded",
                "message": "", "observedGeneration": generation_of(one),
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            }  # fmt: skip
            patch = {"status": {"conditions": [news]}}
            await client.send(
                request.merge_patch(WORKSPACE, *key_of(one), patch, manager="test", subresource="status")
            )


def scale(control_plane: ControlPlane, number: int) -> None:
    subprocess.run(
        [
            *(str(BIN / "kubectl"), "--kubeconfig", str(control_plane.kubeconfig), "-n", SPACE),
            *("scale", "inferenceset", "phis", f"--replicas={number}"),
        ],
        check=True,
        capture_output=True,
        timeout=120,
    )


Story = Callable[[Client, Callable[[int], Awaitable[bool]]], Awaitable[None]]


def beside_our_controller(
    control_plane: ControlPlane, metric: Metric, folder: Path, hpa: str, story: Story
) -> None:
    """A set of one, and what happens to it while a metric is served."""
    control_plane.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}})
    made = inference_set(1)
    made["metadata"]["namespace"] = SPACE

    async def whole() -> None:
        async with connect(kubeconfig=control_plane.kubeconfig) as client:
            running = asyncio.create_task(fleet_controller.run(client, namespace=SPACE))
            try:
                await client.send(request.create(SET, made))

                async def there(number: int) -> bool:
                    await serve_all(client)
                    found = await client.send(request.get(SET, *KEY))
                    ready = dig(found, "status", "readyReplicas") or 0
                    return len(await live(client)) == number == ready

                async def gone() -> bool:
                    return [*await live(client), *(await client.list(SET, SPACE)).items] == []

                await until(lambda: there(1))
                await story(client, there)
                await client.send(request.delete(SET, *KEY))
                await until(gone)
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)

    with served(control_plane, metric, Authority(folder)):
        try:
            asyncio.run(whole())
        finally:
            control_plane.send("DELETE", f"{HPAS}/{hpa}")
            control_plane.send("DELETE", f"/apis/kaito.sh/v1beta1/namespaces/{SPACE}/inferencesets/phis")
    assert metric.asked


def test_a_set_follows_a_metric_of_ones_own(
    control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """14 prompts that wait, 5 for each replica, are 3 replicas; kubectl scale reads and writes the same."""
    (hpa,) = [one for one in documents("HorizontalPodAutoscaler") if one["metadata"]["name"] == "phis-queue"]
    hpa["metadata"]["namespace"] = SPACE

    async def story(_: Client, there: Callable[[int], Awaitable[bool]]) -> None:
        await asyncio.to_thread(scale, control_plane, 2)
        await until(lambda: there(2))
        control_plane.apply(hpa)
        await until(lambda: there(3))
        status = control_plane.do("GET", f"{HPAS}/phis-queue")["status"]
        assert status["desiredReplicas"] == 3
        limited = {one["type"]: one["status"] for one in status["conditions"]}
        assert (limited["AbleToScale"], limited["ScalingActive"]) == ("True", "True")

    folder = tmp_path_factory.mktemp("metrics")
    beside_our_controller(control_plane, Metric("prompts_waiting", 14), folder, "phis-queue", story)


def test_a_set_goes_to_zero_and_back_by_the_calls_that_keda_makes(
    control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory
) -> None:
    crd = yaml.safe_load((Path(__file__).parent / "scaledobjects.yaml").read_text())
    control_plane.apply(crd)
    (scaled,) = documents("ScaledObject")
    scaled["metadata"]["namespace"] = SPACE
    objects = f"/apis/keda.sh/v1alpha1/namespaces/{SPACE}/scaledobjects"

    async def story(client: Client, there: Callable[[int], Awaitable[bool]]) -> None:
        kept: Object = {}

        async def taken() -> bool:
            try:
                kept.update(
                    await client.send(Request("POST", objects, {"fieldValidation": "Strict"}, scaled))
                )
            except ApiError as error:
                if error.status != 404:  # the API server does not serve the kind yet
                    raise
            return bool(kept)

        await until(taken)
        await like_keda.decide(client, kept, is_active=False)
        await until(lambda: there(0))
        await like_keda.decide(client, kept, is_active=True)
        await until(lambda: there(1))
        control_plane.apply(like_keda.autoscaler(kept))
        await until(lambda: there(3))
        await like_keda.decide(client, kept, is_active=True)
        assert await there(3), "between one and the most it leaves the scale to its autoscaler"

    folder = tmp_path_factory.mktemp("metrics")
    try:
        beside_our_controller(control_plane, Metric("s0-prometheus", 14), folder, "keda-hpa-phis", story)
    finally:
        path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        control_plane.send("DELETE", f"{path}/{crd['metadata']['name']}")
        control_plane.send("DELETE", f"/api/v1/namespaces/{SPACE}")
