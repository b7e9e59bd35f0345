"""Findings about which nodes are selected: labels, instance type, whose node it is. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from kaitoctl.kaito import api, catalog
from kaitoctl.kaito.nodes.advice import Advice, is_platforms, word
from kaitoctl.kaito.nodes.answer import Finding
from kaitoctl.kaito.nodes.asked import RESERVED, Need, is_same_type
from kaitoctl.kaito.nodes.facts import LABELS_OWNER, NodeFacts, items
from kaitoctl.kube.label_selectors import expression_problem
from kaitoctl.kube.objects import Object, matches_expression


def label_findings(need: Need, node: NodeFacts, advice: Advice) -> Iterable[Finding]:
    """Labels that the node lacks or has with another value."""
    for key, value in need.labels.items():
        have = node.labels.get(key)
        if have == value:
            continue
        if have is None:
            message, code = f"label {key}={value} is missing", "label-missing"
        else:
            message, code = f"label {key} is {have!r}, not {value!r}", "label-differs"
        hint, command = _label_advice(key, value, have is not None, advice)
        yield Finding(code, "fail", message, hint, command, "selection")
    for expression in need.expressions:
        yield from _expression_findings(need, node, expression, advice)
    if need.expressions and not need.labels and need.rules.target in ("v0.3", "v0.4") and not need.is_tuning:
        message = f"the selector has no matchLabels, and pods of KAITO {need.rules.target} then match no node"
        yield Finding("no-label-selects", "fail", message, "say it with resource.labelSelector.matchLabels")


def _label_advice(key: str, value: str, overwrite: bool, advice: Advice) -> tuple[str, str]:
    """Hint and command; a command that changes the node only where that takes nothing from anybody."""
    if why_not := advice.why_not:
        return why_not, advice.look("pods" if advice.held and not advice.owner else "labels")
    if key in RESERVED:
        return "KAITO sets this label on the nodes that it creates for a Workspace", advice.look("labels")
    if is_platforms(key):
        return "the platform sets this label: choose a node that has it", advice.look("labels")
    command = f"kubectl label node {word(advice.node.name)} {word(f'{key}={value}')}"
    if not overwrite:
        if advice.may_add_label(key):
            return "KAITO lists nodes by these labels first; preferredNodes does not override that", command
        return f"look who uses the node; if nobody does, label it {key}={value}", advice.look("pods")
    if advice.may_overwrite_label(key):
        return "another Workspace may rely on it: look before you change it", f"{command} --overwrite"
    return "another Workspace may rely on this value: choose another node", advice.look("labels")


def _expression_findings(
    need: Need, node: NodeFacts, expression: Object, advice: Advice
) -> Iterable[Finding]:
    """matchExpressions: our own controller goes by them, KAITO reads them nowhere."""
    is_ours = need.rules.target == "kaitoctl"
    if problem := expression_problem(expression):
        yield Finding(
            "selector-not-understood",
            "fail" if is_ours else "warn",
            f"resource.labelSelector.matchExpressions cannot be understood: {problem}",
            "the API server refuses pods with it" if is_ours else "KAITO does not read matchExpressions",
        )
        return
    if matches_expression(expression, node.labels):
        return
    values = ",".join(str(value) for value in items(expression.get("values")))
    words = f"{expression['key']} {expression['operator']} {values}".rstrip()
    if is_ours:
        message = f"labels do not satisfy: {words}"
        yield Finding("label-differs", "fail", message, "choose a node that does", advice.look("labels"))
        return
    version = need.rules.target
    yield Finding(
        "expression-ignored",
        "warn",
        f"labels do not satisfy {words}, and KAITO {version} does not read matchExpressions",
        "it may use the node all the same: say it with matchLabels",
        advice.look("labels"),
    )


def selection_findings(need: Need, node: NodeFacts, preferred: bool) -> Iterable[Finding]:
    """Why KAITO passes the node over although its labels fit."""
    rules = need.rules
    if preferred and rules.is_modern:
        yield Finding(
            "preferred-ignored",
            "warn",
            "KAITO v0.12 does not read preferredNodes",
            "choose nodes by their labels",
            stage="selection",
        )
    have = node.labels.get(api.LABEL_INSTANCE_TYPE, "")
    if need.instance_type and have != need.instance_type and (not preferred or rules.is_modern):
        message = f"instance type is {have or 'unknown'}, not {need.instance_type}"
        if is_same_type(have, need.instance_type):
            message += ": upper and lower case count"
            hint = _type_hint(have, rules.is_modern, node.name)
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


def _type_hint(have: str, is_modern: bool, name: str) -> str:
    """KAITO takes only names that it knows, so the node's way of writing is right only if it is known."""
    if catalog.instance_type(have) is not None:
        return f"write it as the node does: --instance-type {have}"
    if is_modern:
        return "the node's label is not as clouds write it: choose another node"
    return f"name {name} in preferredNodes"


def listed_twice(name: str) -> Finding:
    """A preferred node that is named more than once."""
    message = "preferredNodes names the node more than once; it counts once"
    return Finding("listed-twice", "warn", message, f"name {name} once", stage="selection")
