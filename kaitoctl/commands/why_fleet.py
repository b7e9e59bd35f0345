"""`kaitoctl why` of an InferenceSet: the replica that is the cause, or what is to be said of the set."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kaitoctl.commands.observe_fleet import as_served
from kaitoctl.commands.why_answer import Answer
from kaitoctl.kaito.fleet.view import as_json as fleet_json
from kaitoctl.kaito.fleet.view import way_out
from kaitoctl.kube.objects import ObjectKey
from kaitoctl.screens import output
from kaitoctl.screens.layout import Block, Paragraph, visible
from kaitoctl.screens.layout import Command as Line

if TYPE_CHECKING:
    from kaitoctl.commands.target import Target
    from kaitoctl.kaito.fleet.view import Fleet
    from kaitoctl.kube.client import Client


async def look_at(client: Client, target: Target, fleet: Fleet) -> Answer | ObjectKey:
    """As `of_set`, once it is known which replicas serve."""
    return of_set(target, await as_served(client, fleet))


def of_set(target: Target, fleet: Fleet) -> Answer | ObjectKey:
    """The replica to look into; or what is to be said of the set itself, if none is the cause."""
    if fleet.worst is not None and not (fleet.refusal or fleet.is_leaving):
        words = fleet.trouble or fleet.template_words
        output.step(f"InferenceSet {fleet.key}: {fleet.ready} of {fleet.wanted} replicas ready; {words}")
        return ObjectKey(fleet.key.namespace, fleet.worst.name)
    way = way_out(fleet)
    command = target.text(way[0]) if way else ""
    is_well = not fleet.trouble and fleet.ready >= fleet.wanted
    words = fleet.trouble or f"{fleet.ready} of {fleet.wanted} replicas ready; {fleet.template_words}"
    mark = "✔" if is_well else "✗" if fleet.trouble else "-"
    blocks: list[Block] = [
        Paragraph(f"InferenceSet {fleet.key}: {words}", mark=mark),
        *([Line(command)] if command else []),
    ]
    return Answer(
        output.resource_name(fleet.inference_set),
        is_well,
        {**fleet_json(fleet), "command": command or None},
        visible(words + (f" -> {command}" if command else "")),
        blocks,
    )
