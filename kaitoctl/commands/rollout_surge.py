"""Replicas more than wanted while a template is carried over beside KAITO's controller.

KAITO deletes what is more than `spec.replicas` at once. So the surge is asked for there, for as long as the
rollout takes, and an annotation remembers how many were wanted before.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from kaitoctl.advice import Command
from kaitoctl.commands import consent, plan_effects
from kaitoctl.commands.cluster import field_manager
from kaitoctl.commands.observe_fleet import fleet_at
from kaitoctl.commands.rollout_set import patched
from kaitoctl.errors import ApiError, KaitoctlError, NegativeAnswer
from kaitoctl.kaito.fleet import kinds
from kaitoctl.kaito.node_check import plural
from kaitoctl.kube import request
from kaitoctl.kube.objects import annotations_of, dig, this_version
from kaitoctl.screens import output

if TYPE_CHECKING:
    from kaitoctl.commands.target import Target
    from kaitoctl.kaito.catalog import Catalog
    from kaitoctl.kaito.fleet.view import Fleet
    from kaitoctl.kube.client import Client
    from kaitoctl.kube.objects import Object, ObjectKey

BEFORE = "kaitoctl.dev/replicas-before-surge"
"""On a set: how many replicas it asked for before a rollout asked for more."""

_TRIES = 5
_GIVES_BACK_S = 20.0


def wanted_before(fleet: Fleet) -> int | None:
    """How many replicas were wanted before a surge that still is; None without one."""
    text = annotations_of(fleet.inference_set).get(BEFORE, "")
    if not (text.isascii() and text.isdigit()) or int(text) >= fleet.wanted:
        return None
    return int(text)


async def show_costs(client: Client, target: Target, fleet: Fleet, number: int, known: Catalog) -> None:
    """What more replicas cost, before anybody is asked.

    Raises:
        NegativeAnswer: there are no GPUs for them, none may be bought, or an autoscaler would take them back.
    """
    live = fleet.inference_set
    if is_scaled_by_others(live):
        raise NegativeAnswer(
            f"InferenceSet {fleet.key}: an autoscaler writes its replicas, and would undo a surge",
            hint="leave --max-surge out, or raise the autoscaler's minReplicas for as long as it takes",
        )
    after = {**live, "spec": {**live["spec"], "replicas": fleet.wanted + number}}
    change = await plan_effects.change_of(client, live, after, known, is_sandbox=target.sandbox)
    if lack := change.waits or change.deadlock:
        raise NegativeAnswer(
            f"InferenceSet {fleet.key}: there is no room for {number} more: {target.text(lack)}",
            hint="leave --max-surge out: replicas are then changed one by one within --max-unavailable",
        )
    what = f"{number} more {plural('replica', number)} than the {fleet.wanted} wanted"
    output.step(f"{what}, for as long as the rollout takes")
    consent.show_costs(target, change)


def is_scaled_by_others(inference_set: Object) -> bool:
    """Whether somebody has written the replicas through the scale subresource, as autoscalers do."""
    return any(
        entry.get("subresource") == "scale" and dig(entry, "fieldsV1", "f:spec", "f:replicas") is not None
        for entry in dig(inference_set, "metadata", "managedFields") or ()
    )


async def begin(client: Client, fleet: Fleet, number: int) -> None:
    """Ask for more replicas, as planned.

    Raises:
        ApiError: somebody has changed the set meanwhile, or the server refuses.
    """
    asked = {
        "metadata": {"annotations": {BEFORE: str(fleet.wanted)}},
        "spec": {"replicas": fleet.wanted + number},
    }
    await patched(client, fleet, asked)


async def end(client: Client, target: Target, key: ObjectKey, number: int) -> None:
    """Ask for as many replicas as before; what could not be done is said, with the command that does it.

    Args:
        client: of the cluster.
        target: the same.
        key: of the set.
        number: how many more were asked for: another number is somebody else's, and stays.
    """
    try:
        async with asyncio.timeout(_GIVES_BACK_S):
            await _end(client, key, number)
    except (KaitoctlError, TimeoutError) as error:
        scale = Command("kubectl get inferenceset", key.name, "-n", key.namespace)
        hint = target.text("it may still ask for more replicas than before: " + scale + " shows how many")
        output.warning(f"InferenceSet {key}: the surge replica was not removed: {error}", hint=hint)


async def _end(client: Client, key: ObjectKey, number: int) -> None:
    for attempt in range(_TRIES):
        fleet = await fleet_at(client, key)
        before = wanted_before(fleet) if fleet is not None else None
        if fleet is None or before is None:
            return
        patch: Object = {"metadata": {**this_version(fleet.inference_set), "annotations": {BEFORE: None}}}
        if fleet.wanted == before + number:
            patch["spec"] = {"replicas": before}
        try:
            kind = kinds.kind_of(fleet.inference_set)
            await client.send(request.merge_patch(kind, *key, patch, manager=field_manager()))
        except ApiError as error:
            if error.status != 409 or attempt == _TRIES - 1:
                raise
            continue
        if "spec" in patch:
            output.step(f"InferenceSet {key} asks for {before} replicas again")
        else:
            output.warning(
                f"InferenceSet {key}: somebody has changed its replicas to {fleet.wanted}: they stay"
            )
        return
