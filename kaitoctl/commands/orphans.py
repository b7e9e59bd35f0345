"""`kaitoctl orphans`: nodes that earlier Workspaces have left behind and somebody still pays for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from msgspec.structs import asdict, replace

from kaitoctl.commands import invocation, listing, option_values
from kaitoctl.commands.cluster import connected, workspace_kind
from kaitoctl.commands.target import Target
from kaitoctl.errors import ApiError, ExitCode
from kaitoctl.kaito import api
from kaitoctl.kaito.kubectl_hints import resource_of
from kaitoctl.kaito.node_check import plural
from kaitoctl.kaito.orphans import Orphan, orphans
from kaitoctl.kube.objects import NODE, NODE_CLAIM, POD
from kaitoctl.kube.pod_state import UNFINISHED
from kaitoctl.screens import output
from kaitoctl.screens.layout import indented

if TYPE_CHECKING:
    from kaitoctl.kube.client import Client
    from kaitoctl.kube.objects import Kind, Object


def list_orphans(*, output_format: str, target: Target) -> int:
    """List what earlier Workspaces have left behind; 1 when there is any."""
    option_values.output_format(output_format, listing.FORMATS)
    found = invocation.sort_for_output(invocation.answer_of(_find(target)), _plain)
    if option_values.is_structured(output_format):
        output.write_structured({"orphans": [_plain(orphan) for orphan in found]}, output_format)
    elif output_format == "name":
        for orphan in found:
            output.data(output.visible(f"{resource_of(orphan.kind)}/{orphan.name}"))
    elif not found:
        output.step("nothing is left of deleted Workspaces")
    else:
        lines = [(f"{one.kind} {one.name}{_where(one)}", f"  {one.why}", f"  {one.command}") for one in found]
        if output_format == "wide":
            output.data("\n".join(output.visible(line) for entry in lines for line in entry))
        else:
            output.show([indented(line, hang=0) for entry in lines for line in entry])
        output.warning(f"{len(found)} {plural('object', len(found))} left by earlier Workspaces")
    return ExitCode.NEGATIVE if found else ExitCode.DONE


def _plain(orphan: Orphan) -> Object:
    return {**asdict(orphan), "workspace": str(orphan.workspace)}


def _where(orphan: Orphan) -> str:
    words = [f"node {orphan.node}" if orphan.node and orphan.kind != "Node" else "", orphan.instance_type]
    text = ", ".join(word for word in words if word)
    return f" ({text})" if text else ""


async def _find(target: Target) -> list[Orphan]:
    async with connected(target) as client:
        kind = await workspace_kind(client)
        claims, machines, pools, nodes, pods = await asyncio.gather(
            _list(client, NODE_CLAIM),
            _list(client, api.MACHINE),
            _list(client, api.NODE_POOL),
            client.list(NODE, label_selector=api.LABEL_WORKSPACE),
            _pods(client),
        )
        # Last: one that was created meanwhile must be among them, or its nodes are taken for left.
        workspaces = (await client.list(kind)).items
    found = orphans(workspaces, [*claims, *machines], pools, nodes.items, pods)
    return [replace(orphan, command=target.text(orphan.command)) for orphan in found]


async def _list(client: Client, kind: Kind) -> list[Object]:
    """All objects of a kind; none of a kind that the cluster does not have."""
    try:
        items = (await client.list(kind)).items
    except ApiError as error:
        if error.status != 404:
            raise
        return []
    return [{"kind": kind.kind, **item} for item in items]


async def _pods(client: Client) -> list[Object] | None:
    try:
        return (await client.list(POD, field_selector=UNFINISHED)).items
    except ApiError as error:
        if error.status != 403:
            raise
        return None
