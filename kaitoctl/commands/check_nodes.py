"""`kaitoctl check-nodes`: which nodes a Workspace can use, why not the others, and how to fix them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from msgspec.structs import replace

from kaitoctl.advice import NO_FLAGS, Advice, ClusterFlags, Command, text
from kaitoctl.commands import invocation, option_values
from kaitoctl.commands.checked_workspace import from_file, from_flags
from kaitoctl.commands.node_check_options import DescribedWorkspace, NodeCheck
from kaitoctl.commands.option_values import SavedLists
from kaitoctl.commands.target import Target
from kaitoctl.errors import ExitCode, InputError
from kaitoctl.kaito import api, node_check
from kaitoctl.kaito.catalog_file import read
from kaitoctl.kube.objects import dig
from kaitoctl.screens import node_table, output

if TYPE_CHECKING:
    from kaitoctl.kaito.node_check import Verdict
    from kaitoctl.kube.objects import Object

_OUTPUTS = ("table", "wide", "short", "json", "yaml", "name")


def check_nodes(
    *,
    name: str | None,
    described: DescribedWorkspace,
    lists: SavedLists,
    check: NodeCheck,
    catalog_file: str | None,
    target: Target,
) -> int:
    """Check which nodes a Workspace can use, why not the others, and how to fix them.

    Args:
        name: of a Workspace in the cluster, or in the file.
        described: the Workspace, where it need not exist yet.
        lists: saved nodes and pods, instead of a cluster.
        check: how to judge, and what to do with the verdict.
        catalog_file: the user's own catalog.
        target: the cluster.

    Returns:
        The exit code: 0 for enough nodes, else 1.
    """
    known = read(catalog_file)
    version = _require_known_values(check, target)
    _require_sense(name, described, lists, check)
    workspace: Object | None = None
    beside: list[Object] = []
    config_maps: list[Object] = []
    if described.filename is not None:
        workspace, beside, config_maps = from_file(described.filename, name, known)
    elif described.has_flags:
        workspace = from_flags(described, known)
    if target.namespace and workspace is not None and workspace["metadata"].get("name"):
        workspace["metadata"].setdefault("namespace", target.namespace)
    if lists.nodes is not None:
        # Readers of files and asking a cluster: a run needs one of them.
        from kaitoctl.commands.check_nodes_offline import verdict_from_lists
        from kaitoctl.commands.judged_preset import with_its_preset
        from kaitoctl.kaito import validation
        from kaitoctl.kaito.validation import release_detection, releases

        assert workspace is not None
        choice = release_detection.node_rules_of(version, workspace)
        sized = releases.as_of(version, known)
        rules = node_check.rules_for(workspace, choice, check.node_provisioner or "", known=sized)
        if dig(workspace, "inference", "config"):
            from kaitoctl.commands.asked_context import context_in_file  # most name none

            rules = replace(rules, context=context_in_file(workspace, config_maps, rules))
        verdict = verdict_from_lists(workspace, beside, rules, lists, is_release_said=version is not None)
        verdict = with_its_preset(workspace, verdict, validation.Setting(version, catalog=known))
    else:
        from kaitoctl.commands.check_nodes_on_cluster import verdict_on_cluster

        asking = verdict_on_cluster(target, workspace, name or "", version, check, known, config_maps)
        workspace, verdict = invocation.answer_of(asking)
    return _answer(workspace, verdict, check, NO_FLAGS if lists.nodes is not None else target.flags)


def _require_known_values(check: NodeCheck, target: Target) -> str | None:
    """The version whose choice counts, None for that of the cluster or file, once all values are known ones.

    Raises:
        InputError: a value is none of those that the option takes.
    """
    option_values.output_format(check.output_format, _OUTPUTS)
    version = check.target_version
    if version is None and target.sandbox:
        version = "kaitoctl"
    if version is not None:
        from kaitoctl.commands.target_release import target_option  # most name no release

        version = target_option(version)
    if check.node_provisioner is not None:
        option_values.one_of(check.node_provisioner, node_check.PROVISIONERS, option="--node-provisioner")
    if check.wait:
        option_values.duration_s(check.wait, option="--wait")
    return version


def _require_sense(
    name: str | None, described: DescribedWorkspace, lists: SavedLists, check: NodeCheck
) -> None:
    """Refuse options that exclude each other.

    Raises:
        InputError: they do, or a file has no name.
    """
    for option, file in (("-f", described.filename), ("--nodes", lists.nodes), ("--pods", lists.pods)):
        if file is not None and not file.strip():
            raise InputError(f"{option} {file!r} names no file")
    filename, flags = described.filename, described.has_flags
    if flags and (name or filename):
        raise InputError(
            "a Workspace and flags that describe one exclude each other", hint="give one of them"
        )
    if not (name or filename or flags):
        raise InputError(
            "which Workspace?",
            hint="NAME, -f FILE, or --preset with --instance-type and --label",
        )
    lists.require_sense()
    if lists.nodes is not None and filename is None and not flags:
        raise InputError("--nodes works offline: give the Workspace with -f FILE or with flags")
    if lists.nodes is not None and (check.wait or check.fix):
        raise InputError(f"{'--wait' if check.wait else '--fix'} needs a cluster, and --nodes names a file")
    if [lists.nodes, lists.pods, filename].count("-") > 1:
        raise InputError("only one of -f, --nodes and --pods can be stdin")
    if (check.yes or check.dry_run) and not check.fix:
        raise InputError("--yes and --dry-run require --fix")


def _answer(workspace: Object, verdict: Verdict, check: NodeCheck, flags: ClusterFlags) -> int:
    in_order = invocation.sort_for_output(
        verdict.nodes, lambda node: next(node_table.nodes_as_json([node], flags))
    )
    if check.output_format == "json":
        head = node_table.without_nodes(verdict, _key(workspace))
        output.long_document(head, "nodes", node_table.nodes_as_json(in_order, flags))
    elif option_values.is_structured(check.output_format):
        value = node_table.as_json(verdict, _key(workspace), flags, nodes=in_order)
        output.write_structured(value, check.output_format, rows="nodes")
    elif check.output_format == "name":
        for node in in_order:
            if node.usable:
                output.data(output.visible(f"node/{node.name}"))
    elif check.output_format == "short":
        output.data("\n".join(node_table.short(verdict, flags)))
    else:
        wide = check.output_format == "wide"
        title = _title(workspace, verdict)
        drawn = output.is_drawn(sys.stdout)
        output.show(node_table.report(verdict, title, flags, nodes=in_order, wide=wide, drawn=drawn))
    if not verdict.enough and (advice := _of_roles(workspace)):
        output.warning("the selector has two labels that a MultiRoleInference adds", hint=text(advice, flags))
    if verdict.unsized and not verdict.refusal:
        why = f"how many nodes it takes is not known: {verdict.why_unsized}"
        output.warning(why, hint=text(verdict.how_to_size, flags))
    if check.strict and verdict.enough and (warned := verdict.warned):
        output.failure(f"{warned} warning{'s' if warned > 1 else ''} (--strict)")
    return ExitCode.DONE if verdict.suffices(strict=check.strict) else ExitCode.NEGATIVE


def _of_roles(workspace: Object) -> Advice:
    """What puts the labels on a node that nobody but its owner puts there; empty for other Workspaces."""
    asked = dig(workspace, "resource", "labelSelector", "matchLabels") or {}
    names = (api.LABEL_CREATED_BY_ROLES, api.LABEL_INFERENCE_ROLE)
    if not all(name in asked for name in names):
        return ""
    return Command("kubectl label node NODE", *(f"{name}={asked[name]}" for name in names))


def _key(workspace: Object) -> str:
    metadata = workspace["metadata"]
    name = metadata.get("name") or ""
    return f"{metadata.get('namespace') or 'default'}/{name}" if name else ""


def _title(workspace: Object, verdict: Verdict) -> str:
    parts = [f"Workspace {key}" if (key := _key(workspace)) else "No Workspace yet"]
    if preset := dig(workspace, "inference", "preset", "name"):
        parts.append(f"preset {preset}")
    if preset := dig(workspace, "tuning", "preset", "name"):
        parts.append(f"tuning of {preset}")
    is_estimated = verdict.required != node_check.required_nodes(workspace)
    by_size = " (by the size of the model)" if is_estimated else ""
    parts.append(f"{verdict.required_words} x {verdict.instance_type or 'your own nodes'}{by_size}")
    rules = verdict.rules
    by = "kaitoctl's controller" if rules.target == "kaitoctl" else f"KAITO {rules.target}"
    parts.append(f"as {by} would choose" + (f" ({rules.provisioner})" if rules.is_modern else ""))
    return ", ".join(parts)
