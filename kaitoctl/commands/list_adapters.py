"""`kaitoctl list-adapters`: what the Workspace says, what its pods have, what the model server has loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kaitoctl.commands import adapter_messages as words
from kaitoctl.commands import invocation, listing, option_values
from kaitoctl.commands import observe_adapters as look
from kaitoctl.commands.cluster import connected
from kaitoctl.commands.target import Target
from kaitoctl.errors import ExitCode
from kaitoctl.kaito import catalog_file
from kaitoctl.screens import output

if TYPE_CHECKING:
    from kaitoctl.kaito.adapter_rollout import InPod, Row
    from kaitoctl.kube.objects import Object


def list_adapters(*, workspace: str, output_format: str, catalog: str | None, target: Target) -> int:
    """List a Workspace's LoRA adapters: in its spec, in its pods, loaded by the model server."""
    catalog_file.read(catalog)  # refuses one that cannot be read, as everywhere
    option_values.output_format(output_format, listing.FORMATS)
    rows, why = invocation.answer_of(_ask(target, option_values.workspace_name(workspace)))
    rows = invocation.sort_for_output(rows, _plain)
    if output_format == "name":
        for row in rows:
            output.data(output.visible(row.name))
    elif option_values.is_structured(output_format):
        output.write_structured([_plain(row) for row in rows], output_format)
    elif rows:
        words.show_rows(rows, wide=output_format == "wide")
    if not rows:
        output.step(f"Workspace {workspace} has no adapters")
    elif why:
        output.note(why)
    if wrong := words.at_another_strength(rows):
        output.warning(f"the model server has loaded {', '.join(wrong)}")
    agree = all(row.agrees and row.loaded is not False for row in rows)
    return ExitCode.DONE if agree else ExitCode.NEGATIVE


async def _ask(target: Target, name: str) -> tuple[list[Row], str]:
    async with connected(target) as client:
        found = await look.workspace_named(client, name)
        return await look.proof(client, found, await look.pods_of(client, found))


def _plain(row: Row) -> Object:
    return {
        "name": row.name,
        "source": row.source,
        "spec": {"strength": row.strength or None} if row.is_asked_for else None,
        "pods": None if row.pods is None else [_in_pod(found) for found in row.pods],
        "loaded": row.loaded,
        "loaded_strength": row.at or None,
        "agrees": row.agrees,
    }


def _in_pod(found: InPod | None) -> Object | None:
    if found is None:
        return None
    return {"state": found.state, "strength": found.strength or None, "image": found.image or None}
