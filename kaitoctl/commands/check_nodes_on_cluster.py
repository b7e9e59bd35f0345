"""`check-nodes` on a cluster: the verdict, the missing labels, and waiting for enough nodes."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from msgspec.structs import replace

from kaitoctl.advice import text
from kaitoctl.commands import cluster, option_values
from kaitoctl.commands.cluster import connected, field_manager
from kaitoctl.commands.kaito_detection import as_said
from kaitoctl.commands.name_lookup import workspace_or_fleet
from kaitoctl.commands.node_check_options import NodeCheck
from kaitoctl.commands.option_values import ManagedBy, parse_name
from kaitoctl.commands.target import Target
from kaitoctl.commands.wait_for_nodes import enough_nodes, verdict_now
from kaitoctl.errors import ApiError, InputError
from kaitoctl.kaito import api
from kaitoctl.kaito.fleet.node_demand import replica_demand
from kaitoctl.kaito.node_check import nobody_creates, plural
from kaitoctl.kaito.validation import release_detection
from kaitoctl.kube import request
from kaitoctl.kube.client import serves
from kaitoctl.kube.objects import NODE, NODE_CLAIM, ObjectKey, dig
from kaitoctl.screens import output

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kaitoctl.kaito.catalog import Catalog
    from kaitoctl.kaito.node_check import Rules, Verdict
    from kaitoctl.kube.client import Client
    from kaitoctl.kube.objects import Kind, Object


async def verdict_on_cluster(
    target: Target,
    workspace: Object | None,
    name: str,
    version: str | None,
    check: NodeCheck,
    known: Catalog,
    config_maps: Sequence[Object] = (),
) -> tuple[Object, Verdict]:
    """The Workspace that was checked, and the verdict, after fixing labels and waiting where that is wanted.

    Args:
        target: the cluster.
        workspace: what is checked; None for the one of that name in the cluster.
        name: of the Workspace in the cluster.
        version: whose choice of nodes counts; None for that of the KAITO that the cluster runs.
        check: what the user wants.
        known: the catalog.
        config_maps: those of the Workspace's file.
    """
    wait_s = option_values.duration_s(check.wait, option="--wait") if check.wait else 0.0
    async with connected(target) as client:
        found = await as_said(client, ManagedBy(version, check.node_provisioner))
        if workspace is None:
            workspace = await _from_cluster(client, name, release_detection.node_rules_of(found.target, {}))
        elif workspace["metadata"].get("name"):
            workspace["metadata"].setdefault("namespace", client.namespace)
        rules = found.rules_for(workspace, known)
        if dig(workspace, "inference", "config"):
            from kaitoctl.commands.asked_context import context_on_cluster  # most name none

            context = await context_on_cluster(client, workspace, config_maps, rules)
            rules = replace(rules, context=context)
        verdict = await verdict_now(client, workspace, rules)
        if verdict.would_create:
            rules = await _as_served(client, rules)
            verdict = replace(verdict, rules=rules)
        if check.fix and await _fix(client, verdict, check):
            verdict = await verdict_now(client, workspace, rules)
        judged = verdict
        if not dig(workspace, "metadata", "uid"):
            from kaitoctl.commands.judged_preset import with_its_preset  # what is there was admitted

            judged = with_its_preset(workspace, verdict, found.setting(known))
        is_hopeless = judged.unsized or judged.refusal != verdict.refusal  # no node changes that
        if wait_s and not is_hopeless and not verdict.suffices(strict=check.strict):
            judged = await enough_nodes(client, workspace, rules, verdict, wait_s, strict=check.strict)
        return workspace, judged


async def _as_served(client: Client, rules: Rules) -> Rules:
    """The rules, and that nobody creates nodes where the cluster has no API to ask for them."""
    if not (rules.is_modern or rules.target == "kaitoctl"):
        return rules  # KAITO up to v0.4.1 asked for Machines
    kind = api.NODE_POOL if rules.provisioner == "karpenter" else NODE_CLAIM
    try:
        if await serves(client, kind):
            return rules
    except ApiError:
        return rules
    return replace(rules, nobody=nobody_creates(rules.provisioner))


def _warn_of_labels_that_stay(verdict: Verdict) -> None:
    """Warn of preferred nodes that lack labels and get none, because they are or may be somebody else's."""
    for node in verdict.nodes:
        if node.preferred and node.labels_to_set and not node.may_be_labelled:
            why = next((item.hint for item in node.failures if item.code.startswith("label-")), "")
            output.warning(f"{node.name}: its labels stay as they are", hint=text(why))


def _fixes(verdict: Verdict) -> dict[str, Mapping[str, str]]:
    """The labels to set, by node: on preferred nodes, and on as many others as are needed."""
    fixes = {
        node.name: node.labels_to_set
        for node in verdict.nodes
        if node.preferred and node.exists and node.may_be_labelled
    }
    fixes = {name: labels for name, labels in fixes.items() if labels}
    helped = sum(node.name in fixes and node.only_labels_are_wrong for node in verdict.nodes)
    still = max(0, verdict.missing - helped)
    for node in verdict.nodes:
        wrong = {finding.code for finding in node.failures}
        may = node.may_be_labelled and node.only_labels_are_wrong and wrong == {"label-missing"}
        if still and not node.preferred and may:
            fixes[node.name] = node.labels_to_set
            still -= 1
    return fixes


async def _fix(client: Client, verdict: Verdict, check: NodeCheck) -> bool:
    """Set the labels that are missing, after asking; returns whether any were set."""
    _warn_of_labels_that_stay(verdict)
    fixes = _fixes(verdict)
    if not fixes:
        output.step("no node can be fixed by adding labels")
        return False
    for node, labels in fixes.items():
        output.step(f"label node {node} {' '.join(f'{key}={value}' for key, value in labels.items())}")
    if not check.yes and not check.dry_run:
        if not sys.stdin.isatty():
            raise InputError("--fix asks before it writes, and there is no terminal", hint="add --yes")
        if not await output.ask(f"Set these labels on {len(fixes)} {plural('node', len(fixes))}?"):
            output.step("nothing was written")
            return False
    for node, labels in fixes.items():
        patch = {"metadata": {"labels": dict(labels)}}
        patching = request.merge_patch(NODE, "", node, patch, manager=field_manager())
        if check.dry_run:
            patching = replace(patching, query={**patching.query, "dryRun": "All"})
        await client.send(patching)
        output.success(f"node/{node} labeled" + (" (server dry run)" if check.dry_run else ""))
    return not check.dry_run


async def _from_cluster(client: Client, name: str, rules_target: str) -> Object:
    """The Workspace of the cluster, in the version that the target reads; or one more replica of a set.

    Raises:
        ApiError: there is neither, or the cluster serves no Workspaces.
    """
    kinds = [api.WORKSPACE, api.WORKSPACE_V1BETA1]
    if rules_target in ("v0.12", "kaitoctl"):
        kinds.reverse()

    async def read(client: Client, key: ObjectKey) -> tuple[Kind, Object]:
        return await cluster.workspace_by_name(client, key, kinds)

    found = await workspace_or_fleet(client, parse_name(name), read)
    if isinstance(found, tuple):
        return found[1]
    output.step(f"InferenceSet {found.key}: nodes for one more replica")
    return replica_demand(found.inference_set)
