"""`kaitoctl scale`: another number of nodes, which no release of KAITO takes, and the way that works."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from kaitoctl.advice import Command
from kaitoctl.commands import option_values
from kaitoctl.commands.cluster import connected
from kaitoctl.commands.observe_adapters import workspace_named
from kaitoctl.commands.option_values import ManagedBy
from kaitoctl.commands.plan_world import setting_of
from kaitoctl.commands.target_release import check_manager
from kaitoctl.errors import InputError
from kaitoctl.kaito import convert, node_check, planning
from kaitoctl.kube.objects import key_of
from kaitoctl.screens import output

if TYPE_CHECKING:
    from kaitoctl.commands.target import Target


def scale(*, name: str, count: int, output_format: str | None, managed: ManagedBy, target: Target) -> None:
    """Change the number of nodes of a Workspace, as far as whoever manages it lets it be changed."""
    check_manager(managed)
    if output_format is not None:
        option_values.output_format(output_format, ("yaml", "json", "name"))
    plain = option_values.workspace_name(name)
    asyncio.run(_scale(target, plain, count, output_format, managed))


async def _scale(
    target: Target, name: str, count: int, output_format: str | None, managed: ManagedBy
) -> None:
    async with connected(target) as client:
        live = await workspace_named(client, name)
        key = key_of(live)
        goal = {**live, "resource": {**(live.get("resource") or {}), "count": count}}
        if output_format is not None:  # to be applied once this one is gone
            version = str(live["apiVersion"]).rpartition("/")[2]
            output.objects([convert.convert(goal, version).workspace], output_format)
            return
        if node_check.required_nodes(live) == count:
            output.report_write(live, None, "unchanged")
            return
        setting = await setting_of(client, managed, is_sandbox=target.sandbox)
        problems, _ = planning.problems(goal, setting, live)
        where, file = (key.name, "-n", key.namespace), f"{key.name}.yaml"
        printing = Command("kaitoctl scale", *where, "--count", str(count), "-o", "yaml")
        raise InputError(
            f"Workspace {key} cannot be scaled to {count}; nothing was written",
            problems=problems or ["resource.count: is immutable"],
            hint="a new Workspace can: "
            + printing
            + f" > {file}, then "
            + Command("kaitoctl delete", *where)
            + ", then "
            + Command("kaitoctl apply -f", file)
            + "; delete and apply say first what they cost",
        )
