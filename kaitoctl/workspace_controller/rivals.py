"""Who else may get on a node that a Workspace plans with, by labels. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from kaitoctl.kube.objects import ObjectKey

_Pairs = tuple[tuple[str, str], ...]
_OF_CLOUDS = frozenset(("accelerator", "agentpool", "storageprofile", "storagetier"))
"""Labels without a prefix that AKS gives its nodes; those of others have one, and users' own mostly none."""


class Rivals:
    """Who may meet on a node: one that exists and has the labels of both, or one that is bought with them.

    A node is bought with the labels that its Workspace selects, and with those of clouds and provisioners,
    which are not known before it is there: these are taken to be what somebody asks for.

    Args:
        labels: what each asks of nodes.
        nodes: the labels of the nodes that there are.
        bought: the labels that nodes which are bought, now or later, get from Workspaces.
    """

    def __init__(
        self,
        labels: Mapping[ObjectKey, Mapping[str, str]],
        nodes: Iterable[Mapping[str, str]],
        bought: Iterable[Mapping[str, str]],
    ) -> None:
        self._labels = labels
        self._with: dict[str, dict[str, set[ObjectKey]]] = {}
        for key, asked in labels.items():
            for name, value in asked.items():
                self._with.setdefault(name, {}).setdefault(value, set()).add(key)
        self._without = {
            name: {key for key, asked in labels.items() if name not in asked} for name in self._with
        }
        self._nodes = _distinct({key: one[key] for key in self._with if key in one} for one in nodes)
        self._bought = _distinct(bought)
        self._known: dict[_Pairs, tuple[tuple[ObjectKey, ...], dict[ObjectKey, int]]] = {}

    def __call__(self, key: ObjectKey) -> tuple[ObjectKey, ...]:
        """The others that may use the same nodes, in order."""
        mine = _pairs(self._labels[key])
        if mine not in self._known:
            found = tuple(sorted(self._meeting(dict(mine))))
            self._known[mine] = found, {other: at for at, other in enumerate(found)}
        # Of hundreds that ask for the same each has hundreds: none is compared with all the others.
        found, places = self._known[mine]
        at = places[key]
        return found[:at] + found[at + 1 :]

    def _meeting(self, mine: Mapping[str, str]) -> Iterator[ObjectKey]:
        """Those that contradict none of the labels, and can be on one of the nodes that have them."""
        fitting = [self._with[name][value] | self._without[name] for name, value in mine.items()]
        agreeing = set.intersection(*fitting) if fitting else self._labels.keys()
        known = {_pairs(mine): True}  # on the nodes that are bought for it
        if all(_pairs(self._labels[key]) in known for key in agreeing):
            yield from agreeing
            return
        nodes = [one for one in self._nodes if mine.items() <= one.items()]
        bought = [one for one in self._bought if _may_get(one, mine)]
        for key in agreeing:
            other = self._labels[key]
            pairs = _pairs(other)
            if pairs not in known:
                known[pairs] = any(other.items() <= one.items() for one in nodes) or any(
                    _may_get(one, other) for one in bought
                )
            if known[pairs]:
                yield key


def _pairs(labels: Mapping[str, str]) -> _Pairs:
    return tuple(sorted(labels.items()))


def _distinct(labels: Iterable[Mapping[str, str]]) -> list[dict[str, str]]:
    return [dict(pairs) for pairs in sorted({_pairs(one) for one in labels})]


def _may_get(bought: Mapping[str, str], asked: Mapping[str, str]) -> bool:
    """Whether a node that is bought with some labels may have those that are asked for."""
    return all(
        bought[name] == value if name in bought else "/" in name or name in _OF_CLOUDS
        for name, value in asked.items()
    )
