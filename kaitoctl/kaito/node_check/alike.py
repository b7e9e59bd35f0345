"""Nodes that differ in nothing but their names: kept as one, judged as one, and each called by its own name.

The nodes of a pool have the same labels, taints, conditions and amounts, and there may be thousands of them.
What is kept of a node that nothing sets apart is its name, and what is said of it are the words said of the
first of its kind.
"""

from __future__ import annotations

import marshal
from collections.abc import Callable, Hashable
from typing import Any

from kaitoctl.advice import Advice, Command, Text
from kaitoctl.kaito.node_check import taints
from kaitoctl.kaito.node_check.answer import Finding, NodeVerdict
from kaitoctl.kaito.node_check.facts import items, mapping
from kaitoctl.kaito.node_check.need import Need
from kaitoctl.kube.objects import Object

_EQUAL_WHEN_WRITTEN = 2  # later versions of marshal write equal values in more than one way
_NOBODY = "\ue000"  # for private use: no object of Kubernetes has it in its name
_READ_OF_METADATA = ("labels", "annotations", "deletionTimestamp")
_READ_OF_SPEC = ("taints", "unschedulable")
_READ_OF_STATUS = ("capacity", "allocatable", "conditions", "nodeInfo")


class Parts:
    """Parts of nodes, of which those that are equal are kept once."""

    def __init__(self) -> None:
        self._kept: dict[bytes, Any] = {}

    def shared(self, node: Object) -> Object:
        """What is read of a node that a trimming decoder gave; parts equal to another's are the other's."""
        metadata, spec, status = mapping(node.get("metadata")), node.get("spec"), node.get("status")
        if isinstance(status, dict):
            status = _without_times(mapping(spec), status)
        return {
            "metadata": {
                key: value if isinstance(value, str) else self._of_all(value)
                for key, value in metadata.items()
            },
            "spec": self._of_all(spec),
            "status": self._of_all(status),
        }

    def _of_all(self, part: Any) -> Any:
        written = _written(part)
        return part if written is None else self._kept.setdefault(written, part)


class AlikeNodes:
    """Judges the first of the nodes that are alike, and says the same of the others.

    Args:
        need: what is asked of them.
        judge: judges one node, with who is on it.
    """

    def __init__(self, need: Need, judge: Callable[[Object, Any], NodeVerdict]) -> None:
        self._need, self._judge = need, judge
        self._of_kind: dict[Hashable, tuple[NodeVerdict, list[bool]]] = {}

    def verdict(self, name: str, node: Object, crowd: Hashable) -> NodeVerdict:
        """What `judge` says of the node."""
        need = self._need
        # A pod of one's own, and preferredNodes, may ask for a node by its name.
        kind = None if need.pod is not None or name in need.preferred else _kind_of(node)
        if kind is None:
            return self._judge(node, crowd)
        key = kind, crowd
        if (found := self._of_kind.get(key)) is None:
            nameless = {**node, "metadata": {**node["metadata"], "name": _NOBODY}}
            judged = self._judge(nameless, crowd)
            found = self._of_kind[key] = judged, list(map(_names_node, judged.findings))
        return _verdict_with_name(*found, name)


def _kind_of(node: Object) -> bytes | None:
    """All that is judged of a node but its name; None where that cannot be known."""
    metadata, spec = mapping(node.get("metadata")), mapping(node.get("spec"))
    status = mapping(node.get("status"))
    return _written(
        [
            [metadata.get(key) for key in _READ_OF_METADATA],
            [spec.get(key) for key in _READ_OF_SPEC],
            [status.get(key) for key in _READ_OF_STATUS],
        ]
    )


def _written(value: Any) -> bytes | None:
    try:
        return marshal.dumps(value, _EQUAL_WHEN_WRITTEN)
    except ValueError:  # nothing that JSON can say
        return None


def _without_times(spec: Object, status: Object) -> Object:
    """Since when a condition is so is read of Ready alone, to tell for how long a node has been starting."""
    is_starting = any(
        (owner := taints.owner_of(taint)) is not None and owner.kind == "starting"
        for taint in items(spec.get("taints"))
        if isinstance(taint, dict)
    )
    conditions = []
    for one in items(status.get("conditions")):
        if isinstance(one, dict) and not (is_starting and one.get("type") == "Ready"):
            one = one.copy()
            one.pop("lastTransitionTime", None)
        conditions.append(one)
    return {**status, "conditions": conditions}


# --- names -------------------------------------------------------------------------------------------------


def _verdict_with_name(one: NodeVerdict, names_it: list[bool], name: str) -> NodeVerdict:
    """What is said of a node without a name, said of one that has this name."""
    findings = zip(one.findings, names_it, strict=True)
    return NodeVerdict(
        name,
        one.preferred,
        one.gpus,
        tuple(_finding_with_name(finding, name) if by_name else finding for finding, by_name in findings),
        one.exists,
        one.ready,
        one.instance_type,
        one.labels_asked,
        one.labels_to_set,
        one.may_be_labelled,
        one.taints,
        one.is_provisioned,
    )


def _finding_with_name(finding: Finding, name: str) -> Finding:
    return Finding(
        finding.code,
        finding.level,
        finding.message.replace(_NOBODY, name),
        _advice_of(finding.hint, name),
        _advice_of(finding.command, name),
        finding.stage,
    )


def _names_node(finding: Finding) -> bool:
    return any(_NOBODY in words for words in (finding.message, finding.hint, finding.command))


def _advice_of(advice: Advice, name: str) -> Advice:
    if isinstance(advice, str):
        return advice.replace(_NOBODY, name)
    if isinstance(advice, Command):
        return Command("", *[_word_of(word, name) for word in advice.words])
    return Text(
        tuple(
            part.replace(_NOBODY, name)
            if isinstance(part, str)
            else Command("", *(_word_of(word, name) for word in part.words))
            for part in advice.parts
        )
    )


def _word_of(word: str, name: str) -> str:
    return word.replace(_NOBODY, name) if _NOBODY in word else word  # a `Variable` stays one
