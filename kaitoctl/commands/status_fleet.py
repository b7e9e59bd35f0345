"""`kaitoctl status NAME` of an InferenceSet or a MultiRoleInference."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from kaitoctl.commands import follow_fleet, option_values
from kaitoctl.commands.fleet_picture import report
from kaitoctl.commands.name_lookup import no_such_set
from kaitoctl.commands.observe_fleet import as_served, fleet_at
from kaitoctl.errors import ApiError, ExitCode, InputError
from kaitoctl.kaito import api
from kaitoctl.kaito.fleet.roles import ROLES
from kaitoctl.kaito.fleet.view import ROLE_CONDITIONS, Fleet, as_json, roles_as_json, state_of_roles
from kaitoctl.kube import conditions, request
from kaitoctl.kube.conditions import timestamp
from kaitoctl.kube.objects import ObjectKey
from kaitoctl.screens import output
from kaitoctl.screens.layout import BLANK, Block, Paragraph

if TYPE_CHECKING:
    from kaitoctl.commands.target import Target
    from kaitoctl.kube.client import Client


async def show_fleet(client: Client, target: Target, key: ObjectKey, output_format: str) -> int | None:
    """Show the fleet of a name; returns the exit code, None when there is none of that name."""
    fleet = await fleet_at(client, key)
    if fleet is None:
        return await _show_roles(client, target, key, output_format)
    fleet = await as_served(client, fleet)
    if option_values.is_structured(output_format):
        output.write_structured(as_json(fleet), output_format)
    elif output_format == "name":
        output.data(output.resource_name(fleet.inference_set))
    else:
        output.show(report(target, fleet, datetime.now(UTC)))
    return ExitCode.NEGATIVE if fleet.state in ("Failed", "NotServing") else ExitCode.DONE


async def missing(client: Client, key: ObjectKey) -> ApiError:
    """The error for a name that no set has."""
    return await no_such_set(client, key)


async def follow_fleet_of(
    client: Client,
    target: Target,
    key: ObjectKey,
    timeout_s: float | None,
    record: str | None,
    output_format: str,
) -> None:
    """Follow the set of a name, which exists, until all replicas serve its template.

    Raises:
        InputError: it is to be recorded, which is done for one Workspace.
        NegativeAnswer: a replica has failed, or the template goes no further.
        TimedOut: time is up.
    """
    if record is not None:
        raise InputError(f"{key.name} is an InferenceSet: --record records the rollout of one Workspace")
    if output_format != "json" and output.is_redrawn(sys.stdout):
        await follow_fleet.until_ready(client, target, key, timeout_s=timeout_s, stream=sys.stdout)
        return
    last = ""

    def show(fleet: Fleet) -> None:
        nonlocal last
        shown, stamp = as_json(fleet), timestamp(datetime.now(UTC))
        if (now := json.dumps(shown)) == last:
            return
        last = now
        if output_format == "json":
            output.document({"time": stamp, **shown}, indent=None)
        else:
            output.data(output.visible(f"{stamp}  {key}  {fleet.state}  {follow_fleet.line(fleet)}"))

    await follow_fleet.until_ready(client, target, key, timeout_s=timeout_s, show=show)


async def _show_roles(client: Client, target: Target, key: ObjectKey, output_format: str) -> int | None:
    try:
        found = await client.send(request.get(api.MULTI_ROLE_INFERENCE, *key))
    except ApiError as error:
        if error.status != 404:
            raise
        return None
    made = [await fleet_at(client, ObjectKey(key.namespace, f"{key.name}-{role}")) for role in ROLES]
    fleets = [fleet and await as_served(client, fleet) for fleet in made]
    found = {
        "apiVersion": api.MULTI_ROLE_INFERENCE.api_version,
        "kind": api.MULTI_ROLE_INFERENCE.kind,
        **found,
    }
    state = state_of_roles(found)
    if option_values.is_structured(output_format):
        sets = [as_json(fleet) for fleet in fleets if fleet]
        output.write_structured({**roles_as_json(found), "sets": sets}, output_format)
        return 0
    if output_format == "name":
        output.data(output.resource_name(found))
        return 0
    head = f"MultiRoleInference {key}: {state.lower()}"
    blocks: list[Block] = [Paragraph(head, mark="✔" if state == "Ready" else "-")]
    blocks += [
        Paragraph(f"{name} {one.get('status')}: {one.get('message') or ''}", indent=2)
        for name in ROLE_CONDITIONS
        if (one := conditions.find(found, name))
    ]
    for role, fleet in zip(ROLES, fleets, strict=True):
        blocks.append(BLANK)
        blocks += (
            report(target, fleet, datetime.now(UTC)) if fleet else [Paragraph(f"{role}: no InferenceSet yet")]
        )
    output.show(blocks)
    return 0
