"""The nodes that KAITO would ask for, of several Workspaces one after another. Pure.

KAITO counts the nodes that its selection recognises and asks for the rest, whoever holds their GPUs: the
second Workspace that recognises a node gets none bought, and its pod waits. That is said, not counted away.
Source: KAITO v0.3.2, v0.4.0 and v0.12, `pkg/workspace/controllers` (selection), as in `kaito.node_check`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Struct
from msgspec.structs import replace

from kaitoctl.advice import Advice
from kaitoctl.kaito import api, node_check
from kaitoctl.kaito.node_check import Rules, Verdict
from kaitoctl.kaito.validation import Setting, release_detection, releases
from kaitoctl.kube.objects import Object, ObjectKey, dig, key_of, labels_of
from kaitoctl.kube.pod_state import is_finished


class Nodes(Struct, frozen=True):
    """What a Workspace gets.

    Args:
        verdict: of the nodes, its own pods left out.
        asked: how many nodes KAITO asks for.
        waits: why pods of it would wait although nodes are recognised; empty when they would not.
        unsized: why it may be more nodes than that; empty when it may not.
    """

    verdict: Verdict
    asked: int
    waits: str
    unsized: Advice = ""


class Share:
    """Hands nodes to one planned Workspace after another.

    Args:
        nodes: of the cluster.
        pods: those that hold GPUs; None when they cannot be seen.
        setting: KAITO's release, provisioner and catalog.
        can_claim: whether the cluster serves that by which nodes are asked for.
    """

    def __init__(
        self,
        nodes: Iterable[Object],
        pods: Iterable[Object] | None,
        setting: Setting,
        *,
        can_claim: bool = True,
    ) -> None:
        self._can_claim = can_claim
        self._nodes = {key_of(node).name: node for node in nodes}
        self._by_label: dict[tuple[str, str], dict[str, None]] = {}
        for name, node in self._nodes.items():
            for label in labels_of(node).items():
                self._by_label.setdefault(label, {})[name] = None
        self._pods: dict[str, list[Object]] | None = None if pods is None else {}
        for pod in pods or ():
            if self._pods is not None and not is_finished(pod):
                self._pods.setdefault(str(dig(pod, "spec", "nodeName") or ""), []).append(pod)
        self._places = {name: place for place, name in enumerate(self._nodes)}
        self._setting = setting
        self._taken: dict[str, ObjectKey] = {}

    def of(self, workspace: Object, claims: Sequence[Object] = (), *, context: int = 0) -> Nodes:
        """What the Workspace gets of the nodes, those that planned ones before it have taken left out.

        Args:
            workspace: as it will be.
            claims: NodeClaims of it whose nodes have not joined.
            context: the tokens by which its nodes are counted; 0 for the usual number.
        """
        setting = self._setting
        choice = release_detection.node_rules_of(setting.target, workspace)
        known = releases.as_of(setting.target, setting.catalog)
        rules = node_check.rules_for(workspace, choice, setting.provisioner or "", known=known)
        rules = replace(rules, context=context)
        if rules.is_modern and not (self._can_claim or rules.is_byo):
            rules = replace(rules, nobody=node_check.nobody_creates(rules.provisioner))
        names = self._candidates(workspace, rules)
        others = None
        if self._pods is not None:
            here = [pod for name in names for pod in self._pods.get(name, ())]
            others = node_check.pods_of_others(workspace, here)
        verdict = node_check.verdict(workspace, [self._nodes[name] for name in names], others, rules=rules)
        recognised = [node.name for node in verdict.nodes if node.recognised][: verdict.required]
        free = [name for name in verdict.selected if name not in self._taken]
        doubled = [name for name in recognised if name in self._taken]
        asked = max(0, verdict.would_create - sum(not dig(one, "status", "nodeName") for one in claims))
        for name in free[: verdict.required]:
            self._taken[name] = key_of(workspace)
        words = [f"KAITO counts node {name}, which {self._taken[name]} of this plan gets" for name in doubled]
        words += [f"KAITO counts node {name}, where its pod cannot run" for name in verdict.taken_unusable]
        if verdict.refusal:
            words.append(f"KAITO counts no nodes for it: {verdict.refusal}")
        if (rules.is_byo or rules.nobody) and not verdict.enough:
            least = "at least " if verdict.unsized else ""
            nodes = node_check.plural("node", verdict.missing)
            words.append(f"{least}{verdict.missing} more {nodes}: {rules.nobody or 'KAITO makes none'}")
        is_open = verdict.unsized and not (rules.is_byo or rules.nobody) and not verdict.refusal
        unsized = verdict.why_unsized + ("; " + verdict.how_to_size) if is_open else ""
        return Nodes(verdict, asked, "; ".join(words), unsized)

    def _candidates(self, workspace: Object, rules: Rules) -> list[str]:
        """The nodes that a Workspace may get: of any other, no release looks further than at its labels."""
        asked = node_check.labels_asked(workspace, rules)
        if not asked:
            return list(self._nodes)
        found = dict.fromkeys(node_check.preferred_nodes(workspace))
        own = {api.LABEL_WORKSPACE: key_of(workspace).name}
        for label in (asked | own).items():
            found.update(self._by_label.get(label, {}))
        return sorted((name for name in found if name in self._places), key=self._places.__getitem__)
