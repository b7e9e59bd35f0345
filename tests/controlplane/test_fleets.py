"""InferenceSets on a real control plane: schemas, scale subresource, apply, deletion."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from controlplane.plane import ControlPlane
from fleet_world import SET, WORKSPACE, adapter, inference_set

from kaitoctl import fleet_controller
from kaitoctl.kaito import api as kaito
from kaitoctl.kaito.fleet import status as status_
from kaitoctl.kube import conditions, request
from kaitoctl.kube.client import Client, connect
from kaitoctl.kube.objects import Object, generation_of, is_being_deleted, key_of
from kaitoctl.kube.request import MERGE_PATCH, Request

ROLES = {
    "apiVersion": "kaito.sh/v1alpha1",
    "kind": "MultiRoleInference",
    "metadata": {"name": "roles", "namespace": "default"},
}


SPACE = "fleets-story"
"""A namespace of its own: what others leave behind in theirs would be counted as replicas."""

KEY = (SPACE, "phis")


async def live(client: Client) -> list[Object]:
    return [one for one in (await client.list(WORKSPACE, SPACE)).items if not is_being_deleted(one)]


async def until(
    client: Client, controller: asyncio.Task[None], question: Callable[[], Awaitable[bool]]
) -> None:
    """Until it is so; a controller that has ended says why, and one that gets nowhere how far it is."""
    try:
        async with asyncio.timeout(180):
            while not await question():
                if controller.done():
                    controller.result()
                await asyncio.sleep(0.2)
    except TimeoutError:
        sets = (await client.list(SET, SPACE)).items
        there = (await client.list(WORKSPACE, SPACE)).items
        raise AssertionError(f"it never got there: {sets} {there}") from None


async def serve_all(client: Client) -> None:
    """What the Workspaces' controller would say once they serve."""
    for one in await live(client):
        if conditions.is_true(one, kaito.WORKSPACE_SUCCEEDED, generation=generation_of(one)):
            continue
        news = {
            "type": kaito.WORKSPACE_SUCCEEDED, "status": "True", "reason": "workspaceSucceeded",
            "message": "", "observedGeneration": generation_of(one),
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }  # fmt: skip
        patch = {"status": {"conditions": [news]}}
        await client.send(
            request.merge_patch(WORKSPACE, *key_of(one), patch, manager="test", subresource="status")
        )


def test_a_set_is_made_scaled_rolled_over_and_deleted(control_plane: ControlPlane) -> None:
    control_plane.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}})

    async def story() -> None:
        async with connect(kubeconfig=control_plane.kubeconfig) as client:
            running = asyncio.create_task(fleet_controller.run(client, namespace=SPACE))
            try:
                made = inference_set(2)
                made["metadata"]["namespace"] = SPACE
                await client.send(request.create(SET, made))

                async def there(number: int) -> bool:
                    await serve_all(client)
                    found = await client.send(request.get(SET, *KEY))
                    ready = int((found.get("status") or {}).get("readyReplicas") or 0)
                    return len(await live(client)) == number == ready

                await until(client, running, lambda: there(2))
                patch, scale = {"spec": {"replicas": 3}}, f"{SET.path(*KEY)}/scale"
                await client.send(Request("PATCH", scale, body=patch, content_type=MERGE_PATCH))
                await until(client, running, lambda: there(3))
                found = await client.send(Request("GET", scale))
                assert found["status"] == {
                    "replicas": 3,
                    "selector": "inferenceset.kaito.sh/created-by=phis",
                }
                new = {"spec": {"template": {"inference": {"adapters": [adapter("a")]}}}}
                await client.send(request.merge_patch(SET, *KEY, new, manager="user"))

                async def rolled() -> bool:
                    await serve_all(client)
                    found = await client.send(request.get(SET, *KEY))
                    is_over = conditions.is_true(found, status_.ROLLOUT, generation=generation_of(found))
                    return is_over and all("adapters" in one["inference"] for one in await live(client))

                await until(client, running, rolled)
                await client.send(request.delete(SET, *KEY))

                async def gone() -> bool:
                    return await live(client) == [] and (await client.list(SET, SPACE)).items == []

                await until(client, running, gone)
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)

    asyncio.run(story())


def test_the_expressions_of_our_schema_are_those_of_kaito(control_plane: ControlPlane) -> None:
    """One prefill and one decode, and a selector that selects: the API server itself refuses the rest."""

    async def refusal(**spec: object) -> str:
        whole = {
            "labelSelector": {"matchLabels": {"apps": "x"}},
            "model": {"name": "phi-4"},
            "roles": [{"type": "prefill"}, {"type": "decode"}],
        }
        async with connect(kubeconfig=control_plane.kubeconfig) as client:
            asked = request.apply(
                kaito.MULTI_ROLE_INFERENCE, {**ROLES, "spec": {**whole, **spec}}, manager="t", dry_run=True
            )
            try:
                await client.send(asked)
            except Exception as error:
                return str(error)
        return ""

    assert asyncio.run(refusal()) == ""
    twice = [{"type": "prefill"}, {"type": "prefill"}]
    assert "exactly one prefill and one decode" in asyncio.run(refusal(roles=twice))
    assert "at least one matchLabels" in asyncio.run(refusal(labelSelector={}))
