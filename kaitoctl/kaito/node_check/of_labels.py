"""Findings about labels and instance type: by them KAITO selects nodes, whatever runs there. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from kaitoctl.advice import Command
from kaitoctl.kaito import api
from kaitoctl.kaito.node_check.allowed_changes import AllowedChanges, is_platforms
from kaitoctl.kaito.node_check.answer import Finding, Rules
from kaitoctl.kaito.node_check.facts import LABELS_OWNER, NodeFacts, items
from kaitoctl.kaito.node_check.need import Need, is_same_type
from kaitoctl.kube.objects import Object, matches_expression

_CHOOSING = {
    "azure-gpu-provisioner": "it takes no nodes but its own, and buys them; prepared nodes are used with "
    "--node-provisioner byo",
    "karpenter": "it takes nodes with the Workspace's labels that are of its instance type, and buys those "
    "that are missing",
    "byo": "choose nodes by their labels",
}
"""What counts instead of `preferredNodes` from v0.12 on, by the provisioner."""


def label_findings(need: Need, node: NodeFacts, allowed: AllowedChanges) -> Iterable[Finding]:
    """Labels that the node lacks or has with another value."""
    for key, value in need.labels.items():
        have = node.labels.get(key)
        if have == value:
            continue
        if key in api.RESERVED_LABELS:
            yield from _ownership_findings(need, node, key)
            continue
        if have is None:
            message, code = f"label {key}={value} is missing", "label-missing"
        else:
            message, code = f"label {key} is {have!r}, not {value!r}", "label-differs"
        hint, command = _label_fix(key, value, have is not None, allowed, by_label=need.rules.is_modern)
        yield Finding(code, "fail", message, hint, command, "selection")
    for expression in need.expressions:
        yield from _expression_findings(need, node, expression, allowed)
    if need.expressions and not need.labels and need.rules.target in ("v0.3", "v0.4") and not need.is_tuning:
        message = f"the selector has no matchLabels, and pods of KAITO {need.rules.target} then match no node"
        yield Finding("no-label-selects", "fail", message, "say it with resource.labelSelector.matchLabels")


def _ownership_findings(need: Need, node: NodeFacts, key: str) -> Iterable[Finding]:
    """A label by which a controller says whose node it is: nobody is ever advised to set one by hand."""
    pair = next((keys for keys in api.PROVISIONER_LABELS.values() if key in keys), (key, key))
    name, namespace = (node.labels.get(one, "") for one in pair)
    maker = "kaitoctl's controller" if need.rules.made_for else "KAITO"
    if name and need.labels.get(pair[0], name) != name and key != pair[0]:
        return  # one finding, not one for each of its two labels
    if not (name or node.labels.get(key)):
        if key == pair[0] or pair[0] not in need.labels:
            message = f"label {key} is missing: {maker} has not made the node for this Workspace"
            hint = (
                f"{maker} sets it on nodes that it makes, takes no others, and makes those that are missing"
            )
            yield Finding("label-missing", "fail", message, hint, stage="selection")
        return
    owner = f"{namespace or 'default'}/{name or node.labels.get(key)}"
    message = f"{maker} made it for the Workspace {owner}"
    yield Finding("of-another-workspace", "fail", message, "choose another node", stage="selection")


def _label_fix(
    key: str, value: str, overwrite: bool, allowed: AllowedChanges, *, by_label: bool
) -> tuple[str, Command]:
    """Hint and command; a command that changes the node only where that takes nothing from anybody."""
    if why_not := allowed.why_not:
        return why_not, allowed.look("pods" if allowed.held and not allowed.owner else "labels")
    if is_platforms(key):
        return "the platform sets this label: choose a node that has it", allowed.look("labels")
    setting = (allowed.node.name, f"{key}={value}")
    if not overwrite:
        if allowed.may_add_label(key):
            others = "nothing else chooses a node" if by_label else "preferredNodes does not override that"
            return f"KAITO lists nodes by these labels first; {others}", Command(
                "kubectl label node", *setting
            )
        return f"check who uses the node; if nobody does, label it {key}={value}", allowed.look("pods")
    if allowed.may_overwrite_label(key):
        overwriting = Command("kubectl label node", *setting, "--overwrite")
        return "another Workspace may rely on it: look before you change it", overwriting
    return "another Workspace may rely on this value: choose another node", allowed.look("labels")


def _expression_findings(
    need: Need, node: NodeFacts, expression: Object, allowed: AllowedChanges
) -> Iterable[Finding]:
    """matchExpressions: our own controller goes by them, KAITO reads them nowhere."""
    from kaitoctl.kube.label_selectors import expression_problem  # few selectors have expressions

    is_ours = need.rules.target == "kaitoctl"
    if problem := expression_problem(expression):
        yield Finding(
            "selector-not-understood",
            "fail" if is_ours else "warn",
            f"resource.labelSelector.matchExpressions is invalid: {problem}",
            "the API server refuses pods with it" if is_ours else "KAITO does not read matchExpressions",
        )
        return
    if matches_expression(expression, node.labels):
        return
    values = ",".join(str(value) for value in items(expression.get("values")))
    words = f"{expression['key']} {expression['operator']} {values}".rstrip()
    if is_ours:
        message = f"labels do not satisfy: {words}"
        yield Finding("label-differs", "fail", message, "choose a node that does", allowed.look("labels"))
        return
    version = need.rules.target
    yield Finding(
        "expression-ignored",
        "warn",
        f"labels do not satisfy {words}, and KAITO {version} does not read matchExpressions",
        "it may use the node all the same: say it with matchLabels",
        allowed.look("labels"),
    )


def selection_findings(need: Need, node: NodeFacts, preferred: bool) -> Iterable[Finding]:
    """Why KAITO passes the node over although its labels fit."""
    rules = need.rules
    if preferred and rules.is_modern:
        yield Finding(
            "preferred-ignored",
            "warn",
            "KAITO v0.12 does not read preferredNodes",
            _CHOOSING[rules.provisioner],
            stage="selection",
        )
    have = node.labels.get(api.LABEL_INSTANCE_TYPE, "")
    if need.instance_type and have != need.instance_type and (not preferred or rules.is_modern):
        message = f"instance type is {have or 'unknown'}, not {need.instance_type}"
        if is_same_type(have, need.instance_type):
            message += ": upper and lower case count"
            hint = _type_hint(node.name, have, rules)
        elif rules.is_modern:
            hint = f"ask for --instance-type {have}" if have else "choose a node whose type is known"
        else:
            hint = f"name {node.name} in preferredNodes"
        yield Finding("instance-type-differs", "fail", message, hint, stage="selection")
    if rules.is_modern and rules.provisioner == "karpenter":
        owner = tuple(node.labels.get(key, "") for key in LABELS_OWNER)
        if any(owner) and owner != need.owner:
            message = f"KAITO made it for the Workspace {'/'.join(owner)}"
            yield Finding("of-another-workspace", "fail", message, "choose another node", stage="selection")


def _type_hint(name: str, have: str, rules: Rules) -> str:
    """KAITO takes only names that it knows, so the node's way of writing is right only if it is known."""
    if rules.catalog.instance_type(have) is not None:
        return f"write it as the node does: --instance-type {have}"
    if rules.is_modern:
        return "the node's label is not as clouds write it: choose another node"
    return f"name {name} in preferredNodes"


def listed_twice(name: str) -> Finding:
    """A preferred node that is named more than once."""
    message = "preferredNodes names the node more than once; it counts once"
    return Finding("listed-twice", "warn", message, f"name {name} once", stage="selection")
