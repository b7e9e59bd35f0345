"""`kaitoctl why` of an InferenceSet: the replica that is the cause, or what is to be said of the set."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kaitoctl.advice import Command
from kaitoctl.commands.why_answer import Answer
from kaitoctl.kaito.fleet.view import as_json as fleet_json
from kaitoctl.kube.objects import ObjectKey
from kaitoctl.screens import output
from kaitoctl.screens.layout import Block, Paragraph, visible
from kaitoctl.screens.layout import Command as Line

if TYPE_CHECKING:
    from kaitoctl.commands.target import Target
    from kaitoctl.kaito.fleet.view import Fleet


def of_set(target: Target, fleet: Fleet) -> Answer | ObjectKey:
    """The replica to look into; or what is to be said of the set itself, if none is the cause."""
    if fleet.worst is not None and not fleet.trouble:
        output.step(f"InferenceSet {fleet.key}: {fleet.ready} of {fleet.wanted} replicas ready")
        return ObjectKey(fleet.key.namespace, fleet.worst.name)
    command = ""
    if fleet.outdated and not fleet.is_rolled_by_kaitoctl:
        name, namespace = fleet.key.name, fleet.key.namespace
        command = target.text(Command("kaitoctl rollout fleet", name, "-n", namespace))
    failed = next((one for one in fleet.replicas if one.failure), None)
    if failed is not None:
        command = target.text(Command("kaitoctl why", failed.name, "-n", fleet.key.namespace))
    words = fleet.trouble or f"{fleet.ready} of {fleet.wanted} replicas ready; {fleet.template_words}"
    blocks: list[Block] = [
        Paragraph(f"InferenceSet {fleet.key}: {words}", mark="✗" if fleet.trouble else "✔"),
        *([Line(command)] if command else []),
    ]
    return Answer(
        output.resource_name(fleet.inference_set),
        not fleet.trouble,
        {**fleet_json(fleet), "command": command or None},
        visible(words + (f" -> {command}" if command else "")),
        blocks,
    )
