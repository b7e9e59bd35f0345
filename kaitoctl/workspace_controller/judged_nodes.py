"""What was judged of nodes, kept for Workspaces that ask for the same, and brought up to date by changes.

A node is judged again when it has changed, or a pod that holds GPUs there: a reconcile costs as much as has
happened since the last one, and not as much as there are nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from msgspec import Struct, field

from kaitoctl.kaito import api, node_check
from kaitoctl.kaito.node_check import Crowd, Need, NodeVerdict, Rules
from kaitoctl.kube.objects import Object, ObjectKey, labels_of
from kaitoctl.reconcile.store import Journal
from kaitoctl.workspace_controller.stores import Stores, node_of_pod, workspace_of_labels

_MOST_ANSWERS = 256  # who asks for labels of its own has few candidates: they are judged again as fast


class Answer(Struct):
    """The nodes for Workspaces that ask for the same, with the GPUs of all pods counted as taken.

    Args:
        need: what they ask; whose it is says nothing about whether a node is usable.
        labels: those by which nodes are found.
        verdicts: of the nodes found, by name.
        usable: how many GPUs each pod would ask for, by the nodes that can be used.
        place: up to where it is up to date.
    """

    need: Need
    labels: Mapping[str, str]
    verdicts: dict[str, NodeVerdict] = field(default_factory=dict)
    usable: dict[str, int] = field(default_factory=dict)
    place: int = 0


class JudgedNodes:
    """Answers about nodes, from the stores alone.

    Args:
        stores: the world as last seen.
        rules: by which nodes are judged.
    """

    def __init__(self, stores: Stores, rules: Rules) -> None:
        self._stores, self._rules = stores, rules
        self._answers: dict[str, Answer] = {}
        self._changed = Journal[str]()
        self._places = [-1, -1]
        self._node_of: dict[ObjectKey, tuple[str, ...]] = {}
        self._crowds: dict[str, Crowd] = {}

    def of(self, workspace: Object) -> Answer:
        """The answer to what a Workspace asks; not to be changed, and of use until something is awaited."""
        return self.to(node_check.judging_key(workspace), lambda: workspace)

    def to(self, question: str, read: Callable[[], Object]) -> Answer:
        """The answer to a question, as `of`.

        Args:
            question: of a Workspace, by `node_check.judging_key`.
            read: reads a Workspace that asks it; called when something has to be judged.
        """
        self._look_at_changes()
        found = self._answers.pop(question, None)
        names = self._changed.since(found.place) if found is not None else None
        if found is None or names is None:
            found = self._answer_for(read())
            names = self._candidates(found)
        self._answers[question] = found  # the last one, now: those that nobody has asked for longest go first
        if len(self._answers) > _MOST_ANSWERS:
            del self._answers[next(iter(self._answers))]
        if changed := dict.fromkeys(names):
            for name in found.verdicts.keys() & changed.keys():
                del found.verdicts[name]
                found.usable.pop(name, None)
            self._judge_again(found, read, changed)
        found.place = self._changed.place
        return found

    def without_pods_of(self, answer: Answer, key: ObjectKey) -> dict[str, NodeVerdict]:
        """What is judged of the nodes that a Workspace's own pods are on, for itself: as if they were not."""
        mine = {
            name for pod in self._stores.gpu_pods.by(workspace_of_labels, key) for name in node_of_pod(pod)
        }
        found = {}
        for name in mine & answer.verdicts.keys():
            pods = self._stores.gpu_pods.by(node_of_pod, name)
            crowd = _crowd_of([pod for pod in pods if key not in workspace_of_labels(pod)])
            found[name] = node_check.judge_node(answer.need, self._stores.nodes[ObjectKey("", name)], crowd)
        return found

    # --- what has changed --------------------------------------------------------------------------------

    def _look_at_changes(self) -> None:
        """Note the nodes of which something has changed, and of whose pods."""
        journals = [one.journal for one in (self._stores.nodes, self._stores.gpu_pods)]
        if self._places == [journal.place for journal in journals]:
            return
        found = [journal.since(place) for journal, place in zip(journals, self._places, strict=True)]
        self._places = [journal.place for journal in journals]
        names, pods = found
        if names is None or pods is None:
            self._begin()
            return
        for key in names:
            self._changed.add(key.name)
            if key not in self._stores.nodes:
                self._crowds.pop(key.name, None)
        for key in pods:
            self._note_pod(key)

    def _begin(self) -> None:
        """All may be otherwise: at the start, and when more has changed than the stores remember."""
        self._answers.clear()
        self._crowds.clear()
        self._node_of = {key: node_of_pod(pod) for key, pod in self._stores.gpu_pods.items()}

    def _note_pod(self, key: ObjectKey) -> None:
        pod = self._stores.gpu_pods.get(key)
        now = node_of_pod(pod) if pod is not None else ()
        for name in {*self._node_of.pop(key, ()), *now}:
            self._crowds.pop(name, None)
            self._changed.add(name)
        if now:
            self._node_of[key] = now

    # --- judging -----------------------------------------------------------------------------------------

    def _answer_for(self, workspace: Object) -> Answer:
        of_type = {api.LABEL_INSTANCE_TYPE: node_check.instance_type_of(workspace)}
        labels = node_check.labels_asked(workspace) or of_type
        return Answer(node_check.need_of(workspace, self._rules), labels)

    def _candidates(self, answer: Answer) -> list[str]:
        """The nodes that the Workspaces name, and those with all their labels: no other can be used."""
        store = self._stores.nodes
        named = [name for name in answer.need.preferred if ObjectKey("", name) in store]
        return [*named, *(str(node["metadata"]["name"]) for node in store.by_labels(answer.labels))]

    def _judge_again(self, answer: Answer, read: Callable[[], Object], changed: Collection[str]) -> None:
        """Judge those of the nodes that the Workspaces name, or that have all their labels."""
        nodes, asked = self._stores.nodes, answer.labels.items()
        rarest = nodes.with_rarest(answer.labels)
        # Of hundreds that have changed a Workspace could use one or two.
        few = [key.name for key in rarest if key.name in changed] if len(rarest) < len(changed) else changed
        for name in dict.fromkeys([*few, *(name for name in answer.need.preferred if name in changed)]):
            node = nodes.get(ObjectKey("", name))
            if node is not None and (name in answer.need.preferred or asked <= labels_of(node).items()):
                self._judge(answer, read(), name, node)

    def _judge(self, answer: Answer, workspace: Object, name: str, node: Object) -> None:
        if name not in self._crowds:
            self._crowds[name] = _crowd_of(self._stores.gpu_pods.by(node_of_pod, name))
        judged = answer.verdicts[name] = node_check.judge_node(answer.need, node, self._crowds[name])
        if judged.usable:
            own = answer.need.pod
            takes = node_check.gpus_per_pod(workspace, [judged], self._rules.catalog)
            answer.usable[name] = takes if own is None else own.gpus


def _crowd_of(pods: list[Object]) -> Crowd:
    return Crowd(sum(map(node_check.gpus_held, pods)), any(map(node_check.holds_devices, pods)), None)
