"""`kaitoctl why` of an InferenceSet: the replica that is the cause, or what is to be said of the set."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kaitoctl.advice import Command
from kaitoctl.commands import option_values
from kaitoctl.kaito.fleet.view import as_json as fleet_json
from kaitoctl.kube.objects import ObjectKey
from kaitoctl.screens import output
from kaitoctl.screens.layout import Block, Paragraph, visible
from kaitoctl.screens.layout import Command as Line

if TYPE_CHECKING:
    from kaitoctl.commands.target import Target
    from kaitoctl.kaito.fleet.view import Fleet


def of_set(target: Target, fleet: Fleet, output_format: str) -> int | ObjectKey:
    """The replica to look into; the exit code when the set itself was explained."""
    if fleet.worst is None or fleet.trouble:
        return _of_set(target, fleet, output_format)
    output.step(f"InferenceSet {fleet.key}: {fleet.ready} of {fleet.wanted} replicas ready")
    return ObjectKey(fleet.key.namespace, fleet.worst.name)


def _of_set(target: Target, fleet: Fleet, output_format: str) -> int:
    """What is to be said of a set itself, none of whose replicas is the cause."""
    command = ""
    if fleet.outdated and not fleet.is_rolled_by_kaitoctl:
        name, namespace = fleet.key.name, fleet.key.namespace
        command = target.text(Command("kaitoctl rollout fleet", name, "-n", namespace))
    failed = next((one for one in fleet.replicas if one.failure), None)
    if failed is not None:
        command = target.text(Command("kaitoctl why", failed.name, "-n", fleet.key.namespace))
    words = fleet.trouble or f"{fleet.ready} of {fleet.wanted} replicas ready; {fleet.template_words}"
    if option_values.is_structured(output_format):
        output.structured({**fleet_json(fleet), "command": command or None}, output_format)
    elif output_format == "short":
        output.data(visible(words + (f" -> {command}" if command else "")))
    else:
        blocks: list[Block] = [
            Paragraph(f"InferenceSet {fleet.key}: {words}", mark="✗" if fleet.trouble else "✔")
        ]
        output.show([*blocks, *([Line(command)] if command else [])])
    return 1 if fleet.trouble else 0
