"""Which nodes each Workspace plans with, where several could use the same ones. Pure.

Every pass works the shares out again from what there is: nothing is written down, so a controller that
starts again plans as the one before it, and no two passes plan with the same GPUs.

The order: whoever has a node bought for it, or has run on one, keeps it; then whoever names a node; then the
Workspaces one after another, oldest first, take nodes that nobody bought, and at last what others have bought
and do not need. There, whoever lost a node that was bought for it comes first, and whose nodes are still on
their way comes last.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from kaitoctl.kube.objects import ObjectKey


@dataclass(frozen=True, slots=True)
class Seeker:
    """A Workspace that has fewer nodes than it needs.

    Args:
        key: its name.
        age: when it was created, and what tells those of the same second apart.
        needs: how many nodes it lacks.
        coming: how many of them are on their way: bought for it, and not fit for use yet.
        lost: how many were bought for it, and others hold their GPUs.
        asks: by the nodes that it could use, how many GPUs its pod asks for there.
        own: the nodes that were bought for it.
        before: the nodes that it ran on or planned with before, as its status says.
        named: the nodes that it names, in its order.
        takes_part: whether a part of the nodes is of use: the rest can be bought.
        takes_turns: whether it gets on once it has nodes; else only its own ones are kept for it.
    """

    key: ObjectKey
    age: tuple[str, str]
    needs: int
    asks: Mapping[str, int]
    own: frozenset[str] = frozenset()
    before: frozenset[str] = frozenset()
    coming: int = 0
    lost: int = 0
    named: tuple[str, ...] = ()
    takes_part: bool = True
    takes_turns: bool = True


def shares(
    seekers: Iterable[Seeker], free: Mapping[str, int], bought: Collection[str] = ()
) -> dict[ObjectKey, tuple[str, ...]]:
    """The nodes of each Workspace's share, best first.

    Args:
        seekers: all who could use any of the nodes; their order does not matter.
        free: how many GPUs of each node nobody holds.
        bought: the nodes that were bought for a Workspace, whoever that is.

    Guarantee: no GPU is in two shares, and no share is larger than its Workspace's need. A Workspace that
    cannot get all it lacks and cannot buy the rest keeps no node from the others, except its own.
    """
    order = sorted(seekers, key=lambda seeker: seeker.age)
    table = _Table(dict(free), {seeker.key: [] for seeker in order})
    somebodys = set(bought).union(*(seeker.own | seeker.before for seeker in order))
    first_claims: tuple[Callable[[Seeker], Iterable[str]], ...] = (
        lambda seeker: [name for name in seeker.named if name in seeker.own | seeker.before],
        lambda seeker: [name for name in seeker.named if name not in somebodys],
        lambda seeker: sorted(seeker.own),
        lambda seeker: sorted(seeker.before),
    )
    for wishes in first_claims:
        for seeker in order:
            table.take(seeker, wishes(seeker) if seeker.takes_turns else sorted(seeker.own))
    wanted = _count_wishes(order)
    # What few can use goes first, so that those who have no choice find theirs.
    ranked = sorted(free, key=lambda name: (name in somebodys, wanted[name], name))
    in_turn = [seeker for seeker in order if seeker.takes_turns]
    for leave in (
        lambda seeker: max(seeker.needs - seeker.lost, 0),
        lambda seeker: seeker.coming,
        lambda seeker: 0,
    ):
        for seeker in in_turn:
            table.take(seeker, ranked, leave=leave(seeker))
            if table.lacks(seeker) and not seeker.takes_part:
                table.put_back(seeker)
    return {key: tuple(names) for key, names in table.taken.items()}


def _count_wishes(seekers: Sequence[Seeker]) -> Counter[str]:
    """How many could use each node; those that ask for the same mostly share one mapping."""
    mappings = {id(seeker.asks): seeker.asks for seeker in seekers}
    times = Counter(id(seeker.asks) for seeker in seekers)
    found: Counter[str] = Counter()
    for number, asks in mappings.items():
        for name in asks:
            found[name] += times[number]
    return found


@dataclass(frozen=True, slots=True)
class _Table:
    left: dict[str, int]
    taken: dict[ObjectKey, list[str]]

    def lacks(self, seeker: Seeker) -> int:
        return seeker.needs - len(self.taken[seeker.key])

    def take(self, seeker: Seeker, names: Iterable[str], leave: int = 0) -> None:
        """Give it what it lacks of these nodes, but for so many."""
        mine = self.taken[seeker.key]
        for name in names:
            if len(mine) >= seeker.needs - leave:
                break
            asks = seeker.asks.get(name)
            if asks is not None and name not in mine and self.left.get(name, 0) >= asks:
                self.left[name] -= asks
                mine.append(name)

    def put_back(self, seeker: Seeker) -> None:
        """Leave it nothing but its own."""
        for name in [name for name in self.taken[seeker.key] if name not in seeker.own]:
            self.left[name] += seeker.asks[name]
            self.taken[seeker.key].remove(name)
