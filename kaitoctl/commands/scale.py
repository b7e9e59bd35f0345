"""`kaitoctl scale`: more or fewer replicas of an InferenceSet, with the plan first.

Another number of nodes no release of KAITO takes for a Workspace that exists: that says the way that works.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from msgspec.structs import replace

from kaitoctl.advice import Advice, Command
from kaitoctl.commands import option_values, rollout_set, rollout_surge
from kaitoctl.commands.cluster import connected
from kaitoctl.commands.observe_adapters import workspace_or_set
from kaitoctl.commands.option_values import ManagedBy, Named, parse_name
from kaitoctl.commands.plan_world import setting_of
from kaitoctl.commands.rollout_options import RolloutOptions
from kaitoctl.commands.target_release import check_manager
from kaitoctl.errors import InputError, Interrupted
from kaitoctl.kaito import catalog_file, convert, node_check, planning, validation
from kaitoctl.kube.objects import dig, key_of, without_managed_fields
from kaitoctl.screens import output

if TYPE_CHECKING:
    from kaitoctl.commands.target import Target
    from kaitoctl.kaito.fleet.view import Fleet
    from kaitoctl.kube.client import Client
    from kaitoctl.kube.objects import Object


def scale(
    *,
    name: str,
    count: int,
    output_format: str | None,
    dry_run: str,
    yes: bool,
    wait: bool,
    timeout: str | None,
    catalog: str | None,
    managed: ManagedBy,
    target: Target,
) -> None:
    """Change the number of replicas of a set, or say why that of nodes of a Workspace stays."""
    check_manager(managed)
    option_values.one_of(dry_run, ("none", "client", "server"), option="--dry-run")
    if output_format is not None:
        option_values.output_format(output_format, ("yaml", "json", "name"))
    timeout_s = option_values.duration_s(timeout) if timeout else None
    known, asked = catalog_file.read(catalog), parse_name(name)
    how = RolloutOptions(dry_run, output_format, yes, wait, timeout_s, catalog=known, managed=managed)
    try:
        asyncio.run(_scale(target, asked, count, how))
    except KeyboardInterrupt:
        look = Command("kaitoctl status", str(asked), *target.in_namespace)
        raise Interrupted("interrupted", hint=target.text(look)) from None


async def _scale(target: Target, asked: Named, count: int, how: RolloutOptions) -> None:
    async with connected(target) as client:
        found = await workspace_or_set(client, asked)
        if not isinstance(found, dict):
            await _scale_set(client, target, found, count, how)
            return
        live, key = found, key_of(found)
        goal = {**live, "resource": {**(live.get("resource") or {}), "count": count}}
        if count < 1:
            hint = "to give its nodes back: " + Command("kaitoctl delete", key.name, "-n", key.namespace)
            raise InputError(
                f"a Workspace has at least one node: {key} cannot have {count}", hint=target.text(hint)
            )
        if how.output is None and node_check.planned_nodes(live) == count:
            output.report_write(live, None, "unchanged")
            return
        setting = await setting_of(client, how.managed, is_sandbox=target.sandbox)
        setting = replace(setting, catalog=how.catalog)
        by_size = next((item for item in validation.judge(goal, setting) if item.code == "KW164"), None)
        if how.output is not None:  # to be applied once this one is gone
            if by_size is not None:
                output.warning(by_size.text, hint=target.text(_other_way(live, count)))
            version = str(live["apiVersion"]).rpartition("/")[2]
            output.objects([convert.convert(goal, version).workspace], how.output)
            return
        problems, _ = planning.problems(goal, setting, live)
        if by_size is not None:  # a new one would end this one, and be no larger
            raise InputError(
                f"Workspace {key} cannot be scaled to {count}; nothing was written",
                problems=[*problems, by_size.text],
                hint=target.text(_other_way(live, count)),
            )
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


def _other_way(workspace: Object, count: int) -> Advice:
    """What helps where the size of the model says how many nodes a Workspace has."""
    key, preset = key_of(workspace), str(dig(workspace, "inference", "preset", "name") or "")
    machine, nodes = node_check.instance_type_of(workspace), node_check.planned_nodes(workspace)
    if count < nodes:
        says = "a new Workspace would get as many nodes as this one; what fits on fewer: "
        return says + Command("kaitoctl fit", preset)
    return (
        "a new Workspace would get as many nodes as this one; what serves more requests is an InferenceSet: "
        + Command(
            "kaitoctl create inference-set",
            f"{key.name}-set",
            *("-n", key.namespace, "--preset", preset),
            *(("--instance-type", machine) if machine else ()),
            *("--replicas", str(-(-count // nodes))),
        )
    )


async def _scale_set(client: Client, target: Target, fleet: Fleet, count: int, how: RolloutOptions) -> None:
    live = fleet.inference_set
    goal = {**live, "spec": {**live["spec"], "replicas": count}}
    if how.output is not None:
        output.objects([without_managed_fields(goal)], how.output)
        return
    is_surging = rollout_surge.wanted_before(fleet) is not None
    if fleet.wanted == count and not is_surging:
        output.report_write(live, None, f"unchanged{how.suffix}")
        return
    if rollout_surge.is_scaled_by_others(live):
        output.warning(f"an autoscaler writes the replicas of InferenceSet {fleet.key}, and may undo this")
    output.announce(f"InferenceSet {fleet.key}: {fleet.wanted} -> {count} replicas")
    if how.dry_run == "client":
        output.report_write(goal, None, f"scaled{how.suffix}")
        return
    patch: Object = {"spec": {"replicas": count}}
    if is_surging:  # `rollout fleet` would bring back how many there were before
        patch["metadata"] = {"annotations": {rollout_surge.BEFORE: None}}
    await rollout_set.write(
        client, target, fleet, patch, how, words="scaled", question="Continue?", is_scale=True
    )
