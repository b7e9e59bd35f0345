"""What the stores say about nodes: who bought them, whose pods are on them, what a Workspace's share is."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from kaitoctl.kaito import api, node_assignment, node_check, node_claims
from kaitoctl.kaito.api import PROVISIONER_LABELS
from kaitoctl.kaito.desired import Settings
from kaitoctl.kaito.desired.placement import with_own_labels
from kaitoctl.kaito.node_assignment import Seeker
from kaitoctl.kaito.node_check import Finding, NodeVerdict, Rules, Verdict
from kaitoctl.kaito.workspace_conditions import FAILED
from kaitoctl.kube import conditions
from kaitoctl.kube.objects import (
    Object,
    ObjectKey,
    dig,
    generation_of,
    is_being_deleted,
    key_of,
    labels_of,
    uid_of,
)
from kaitoctl.kube.pod_state import is_finished
from kaitoctl.reconcile.store import Followed
from kaitoctl.workspace_controller.judged_nodes import Answer, JudgedNodes
from kaitoctl.workspace_controller.stores import (
    Stores,
    bought_for,
    claims_on,
    counted,
    node_index,
    node_of_claim,
    node_of_pod,
    workspace_of_labels,
)


class Look(Struct, frozen=True):
    """What a reconcile found out about a Workspace's nodes.

    Args:
        verdict: its `selected` nodes are those that the Workspace has, and its share of the free ones.
        held: nodes that exist and have unfinished pods of the Workspace.
        undecided: how many of its pods have no node yet, and the scheduler has not said that there is none.
        waits_for_others: usable nodes are there, and they are other Workspaces'.
    """

    verdict: Verdict
    held: frozenset[str]
    undecided: int = 0
    waits_for_others: bool = False


class Asker(NamedTuple):
    """What counts of a Workspace that may compete for nodes; read once for each state of it.

    Args:
        question: what it asks of nodes.
        age: when it was created, and what tells those of the same second apart.
        uid: its own.
        is_going: whether it is being deleted.
        needs_nothing: whether it tunes, and is done.
        is_stuck: whether it gets no further by waiting.
        takes_part: whether new nodes may be bought for what it lacks.
        named: the nodes that it names.
        ran_on: the nodes of its status.
    """

    question: str
    age: tuple[str, str]
    uid: str
    is_going: bool
    needs_nothing: bool
    is_stuck: bool
    takes_part: bool
    named: tuple[str, ...]
    ran_on: tuple[str, ...]


class NodeView:
    """Answers about nodes, from the stores alone.

    Args:
        stores: the world as last seen.
        settings: whose catalog counts, and whose provisioner makes nodes for one Workspace alone.
    """

    def __init__(self, stores: Stores, settings: Settings) -> None:
        self._stores = stores
        self._rules = Rules(catalog=settings.catalog)
        self._own_labels = PROVISIONER_LABELS.get(settings.provisioner, ())
        self._judged = JudgedNodes(stores, self._rules)
        self._askers = Followed(stores.workspaces, self._asker)
        self._nodes = Followed(stores.nodes, _marks_and_owner)
        self._is_byo = settings.provisioner == "byo"

    def look(self, workspace: Object) -> Look:
        """The Workspace's own nodes and its share of those that several could use."""
        whole = self._verdict(workspace)
        there = self._stores.pods.by(workspace_of_labels, key_of(workspace))
        pods = [pod for pod in there if not is_finished(pod) and self._exists(dig(pod, "spec", "nodeName"))]
        undecided = sum(map(_is_undecided, there))
        held = frozenset(pod["spec"]["nodeName"] for pod in pods)
        usable = [node.name for node in whole.nodes if node.usable]
        mine = [name for name in usable if name in held]
        # A node that stumbles under pods that stay is still the Workspace's.
        stumbling = {pod["spec"]["nodeName"] for pod in pods if not is_being_deleted(pod)} - set(mine)
        needs = whole.required - len(mine) - len(stumbling)
        free = [name for name in usable if name not in held]
        if needs <= 0 or not free:
            return Look(replace(whole, selected=tuple(mine[: whole.required])), held, undecided)
        shares, holders = self._shares(workspace, free, needs)
        share = shares.get(key_of(workspace), ())
        selected = tuple([*mine, *share][: whole.required])
        others = [name for name in free if name not in share]
        verdict = replace(whole, selected=selected)
        if verdict.missing and others:
            verdict = replace(
                verdict, nodes=tuple(_in_anothers_share(node, others, holders) for node in verdict.nodes)
            )
        return Look(verdict, held, undecided, waits_for_others=bool(verdict.missing and others))

    def wanted_by_others(self, workspace: Object, nodes: Collection[str]) -> set[str]:
        """Which of these nodes, bought for the Workspace and not needed by it, others plan with.

        One that has lost its own nodes to others, and buys no more, gets further with such a node.
        """
        shares, _ = self._shares(workspace, nodes, 0, goes=True)
        mine = key_of(workspace)
        return {name for key, names in shares.items() if key != mine for name in names} & set(nodes)

    def strays(self, workspace: Object, gpus: int) -> list[str]:
        """Nodes where the scheduler may place its pods of so many GPUs, and where they do not count."""
        answer = self._answer(workspace)
        judged = answer.verdicts | self._judged.without_pods_of(answer, key_of(workspace))
        return sorted(name for name, node in judged.items() if node.may_get_pods(gpus))

    def rooms(self, workspace: Object, gpus: int) -> dict[str, int]:
        """The nodes where the scheduler may place its pods of so many GPUs, with the GPUs that are free."""
        verdicts = self._answer(workspace).verdicts.items()
        free = {name: one.gpus.free or 0 for name, one in verdicts if one.usable or one.may_get_pods(gpus)}
        return {name: number for name, number in free.items() if number >= gpus}

    def serving(self, workspace: Object, ready: Iterable[str]) -> set[str]:
        """Those of the nodes that would suit the Workspace as it is now."""
        answer = self._answer(workspace)
        own = self._judged.without_pods_of(answer, key_of(workspace))
        return {name for name in ready if name in answer.usable or (name in own and own[name].usable)}

    def guests(self, node: str, workspace: ObjectKey | None) -> list[str]:
        """The namespaces whose pods hold GPUs of the node, the Workspace's own pods left out."""
        pods = (pod for pod in self._stores.gpu_pods.by(node_of_pod, node) if not is_finished(pod))
        return sorted({key_of(pod).namespace for pod in pods if workspace not in workspace_of_labels(pod)})

    # --- shares ------------------------------------------------------------------------------------------

    def _exists(self, node: str | None) -> bool:
        return bool(node) and ObjectKey("", str(node)) in self._stores.nodes

    def _answer(self, workspace: Object) -> Answer:
        return self._judged.of(self._with_own_labels(workspace))

    def _with_own_labels(self, workspace: Object) -> Object:
        return with_own_labels(workspace, self._own_labels) if self._own_labels else workspace

    def _asker(self, workspace: Object) -> Asker:
        named = tuple(node_check.preferred_nodes(workspace))
        return Asker(
            node_check.judging_key(self._with_own_labels(workspace)),
            (str(workspace["metadata"].get("creationTimestamp") or ""), uid_of(workspace)),
            uid_of(workspace),
            is_being_deleted(workspace),
            _needs_nothing(workspace),
            _is_stuck(workspace),
            not named and not node_claims.contradiction(workspace, self._rules.catalog),
            named,
            tuple(dig(workspace, "status", "workerNodes") or ()),
        )

    def _answer_to(self, asker: Asker, key: ObjectKey) -> Answer:
        """The answer to what a Workspace in the store asks."""
        return self._judged.to(asker.question, lambda: self._with_own_labels(self._stores.workspaces[key]))

    def _verdict(self, workspace: Object) -> Verdict:
        """Of the nodes that matter to the Workspace: those that it could use, names or has, or has asked for.

        Of other nodes nothing is said, for there may be thousands; but on nodes that the user brings all are
        to be alike.
        """
        answer, key = self._answer(workspace), key_of(workspace)
        own = self._judged.without_pods_of(answer, key)
        judged = answer.verdicts | own
        if not self._is_byo:
            pods = self._stores.pods.by(workspace_of_labels, key)
            claims = bought_for(self._stores, key, uid_of(workspace))
            there = [*map(node_of_pod, pods), *map(node_of_claim, claims)]
            matter = {*answer.usable, *own, *answer.need.preferred, *(name for one in there for name in one)}
            judged = {name: judged[name] for name in matter if name in judged}
        is_complete = all(name in judged for name in answer.need.preferred)
        names = () if is_complete else [one.name for one in self._stores.nodes]
        return node_check.conclude(workspace, answer.need, judged, names)

    def _shares(
        self, workspace: Object, nodes: Iterable[str], needs: int, *, goes: bool = False
    ) -> tuple[dict[ObjectKey, tuple[str, ...]], Mapping[str, ObjectKey]]:
        """Everybody's share of the nodes, and of those that the same Workspaces could use besides.

        Args:
            workspace: who asks.
            nodes: those that it could use.
            needs: how many of them it lacks.
            goes: whether these nodes go unless somebody wants them.

        Returns:
            The shares, and who has which node in his.
        """
        mine = key_of(workspace)
        found, names = self._competitors(mine, set(nodes))
        if not found:
            return {mine: self._alone(workspace, names, mine)[:needs]}, {}
        bought = {name: owner for name in names if (owner := self._bought_for(name)) is not None}
        leaving = {name for name, owner in bought.items() if owner not in found and owner != mine}
        asker = self._asker(workspace)
        found[mine] = asker, self._judged.to(asker.question, lambda: self._with_own_labels(workspace))
        free = {
            name: gpus.allocatable - (gpus.in_use or 0)
            for answer in {id(answer): answer for _, answer in found.values()}.values()
            for name in answer.usable
            if name not in leaving
            for gpus in (answer.verdicts[name].gpus,)
        }
        owned: dict[ObjectKey, list[str]] = {}
        for name, owner in bought.items():
            owned.setdefault(owner, []).append(name)
        seekers = [
            self._seeker(key, asker, answer, bought, owned.get(key, ()), needs if key == mine else None)
            for key, (asker, answer) in found.items()
        ]
        if goes:
            seekers = [replace(one, takes_turns=one.takes_turns or one.lost > 0) for one in seekers]
        shares = node_assignment.shares(seekers, free, bought)
        return shares, {name: key for key, taken in shares.items() for name in taken}

    def _competitors(
        self, mine: ObjectKey, names: set[str]
    ) -> tuple[dict[ObjectKey, tuple[Asker, Answer]], set[str]]:
        """The other Workspaces that could use these nodes, or one that such a Workspace could use, and so on.

        Returns:
            The Workspaces, and the nodes that they could use together with those that were given.
        """
        found: dict[ObjectKey, tuple[Asker, Answer]] = {}
        answers: dict[str, Answer] = {}  # by the question
        looked_for, fresh = set[object](), names
        while fresh:
            marks = {mark for name in fresh for mark in self._marks(name)} - looked_for
            looked_for |= marks
            names, fresh_ones = names | fresh, set[str]()
            for mark in marks:
                for key in self._stores.workspaces.keys_by(node_index, mark):
                    asker = None if key == mine or key in found else self._askers.get(key)
                    if asker is None or asker.is_going:
                        continue
                    answer = answers.get(asker.question)
                    if answer is None:
                        answer = answers[asker.question] = self._answer_to(asker, key)
                        fresh_ones |= answer.usable.keys() - names
                    found[key] = asker, answer
            fresh = fresh_ones
        return found, names

    def _alone(self, workspace: Object, nodes: Iterable[str], mine: ObjectKey) -> tuple[str, ...]:
        """The nodes of a Workspace that nobody competes with, best first."""
        named = node_check.preferred_nodes(workspace)
        owners = {name: self._bought_for(name) for name in nodes}
        ran_on = dig(workspace, "status", "workerNodes") or ()
        ranked = sorted(owners, key=lambda name: (owners[name] != mine, name not in ran_on, name))
        usable = [name for name in ranked if owners[name] in (None, mine)]
        return tuple(
            [name for name in named if name in usable] + [name for name in usable if name not in named]
        )

    def _marks(self, node: str) -> tuple[object, ...]:
        there = self._nodes.get(ObjectKey("", node))
        return (node, *there[0]) if there is not None else (node,)

    def _bought_for(self, node: str) -> ObjectKey | None:
        """Whose node it is; of somebody who is no more while its claim is still there, or is leaving."""
        for claim in claims_on(self._stores, node):
            owner = next(iter(workspace_of_labels(claim)), ObjectKey("", ""))
            living = self._stores.workspaces.get(owner)
            if living is None or is_being_deleted(claim) or not node_claims.is_of(claim, living):
                return ObjectKey("", "")
            return owner
        there = self._nodes.get(ObjectKey("", node))
        owners = there[1] if there is not None else ()
        return next((owner for owner in owners if owner in self._stores.workspaces), None)

    def _seeker(
        self,
        key: ObjectKey,
        asker: Asker,
        answer: Answer,
        bought: Mapping[str, ObjectKey],
        owned: Iterable[str],
        needs: int | None,
    ) -> Seeker:
        """A Workspace that could use some of the nodes.

        Args:
            key: its name.
            asker: the Workspace.
            answer: about its nodes.
            bought: whose nodes are whose.
            owned: those that were bought for it.
            needs: how many nodes it lacks; None to work it out.
        """
        is_asking = needs is not None
        if needs is None:
            held = self._held(key)
            needs = 0 if asker.needs_nothing else answer.need.required - len(held)
        usable = answer.usable
        return Seeker(
            key,
            asker.age,
            max(needs, 0),
            usable,
            frozenset(name for name in owned if name in usable),
            frozenset(name for name in asker.ran_on if name in usable and name not in bought),
            *self._count_bought(key, asker.uid, usable.keys()),
            asker.named,
            takes_part=self._stores.can_claim() and asker.takes_part,
            takes_turns=is_asking or not asker.is_stuck,
        )

    def _held(self, key: ObjectKey) -> set[str]:
        """The nodes that pods of a Workspace hold GPUs of."""
        if not self._stores.gpu_pods.keys_by(workspace_of_labels, key):
            return set()
        pods = [pod for pod in self._stores.gpu_pods.by(workspace_of_labels, key) if not is_finished(pod)]
        return {name for pod in pods for name in node_of_pod(pod) if self._exists(name)}

    def _count_bought(self, key: ObjectKey, uid: str, usable: Collection[str]) -> tuple[int, int]:
        """How many nodes that were bought for it are not fit for use yet, and how many others took."""
        claims = counted(self._stores, bought_for(self._stores, key, uid))
        nodes = [node_claims.node_of(one) for one in claims if not is_being_deleted(one)]
        lost = sum(bool(node) and bool(self.guests(node, key)) for node in nodes if node not in usable)
        return sum(node not in usable for node in nodes) - lost, lost


def _marks_and_owner(node: Object) -> tuple[tuple[object, ...], tuple[ObjectKey, ...]]:
    """Of a node, its labels, and the Workspace that they name."""
    return tuple(labels_of(node).items()), tuple(workspace_of_labels(node))


def _is_undecided(pod: Object) -> bool:
    """Whether a pod waits for the scheduler, which may yet find a node for it."""
    if dig(pod, "spec", "nodeName") or is_finished(pod) or is_being_deleted(pod):
        return False
    scheduled = conditions.find(pod, "PodScheduled") or {}
    return (scheduled.get("status"), scheduled.get("reason")) != ("False", "Unschedulable")


def _in_anothers_share(
    node: NodeVerdict, others: Collection[str], holders: Mapping[str, ObjectKey]
) -> NodeVerdict:
    """A node that the Workspace names, and that is in another's share."""
    if not node.preferred or node.name not in others:
        return node
    holder = holders.get(node.name)
    message = f"it is kept for the Workspace {holder}" if holder else "it is another Workspace's, and leaves"
    finding = Finding("of-another-workspace", "fail", message, "choose another node", stage="selection")
    return replace(node, findings=(*node.findings, finding))


def _needs_nothing(workspace: Object) -> bool:
    """Whether it is a tuning Workspace that is done."""
    return bool(workspace.get("tuning")) and conditions.is_true(
        workspace, api.WORKSPACE_SUCCEEDED, generation=generation_of(workspace)
    )


def _is_stuck(workspace: Object) -> bool:
    """Whether its own status says that it gets no further by waiting: nobody waits for it, then."""
    return conditions.current(workspace, api.WORKSPACE_SUCCEEDED).get("reason") == FAILED
