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

from msgspec import Struct

from kaitoctl.kube.objects import ObjectKey


class Seeker(Struct, frozen=True):
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
    mappings = {id(seeker.asks): seeker.asks for seeker in order}.values()
    never_used_up = any(0 in asks.values() for asks in mappings)
    taken: dict[ObjectKey, list[str]] = {seeker.key: [] for seeker in order}
    table = _Table(dict(free), taken, never_used_up=never_used_up)
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
    table.set_out(ranked)
    for leave in (
        lambda seeker: max(seeker.needs - seeker.lost, 0),
        lambda seeker: seeker.coming,
        lambda seeker: 0,
    ):
        for seeker in in_turn:
            table.take(seeker, table.on_offer, leave=leave(seeker))
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


class _Table:
    """Who has taken what, and what is left.

    Args:
        left: how many GPUs of each node nobody has.
        taken: the nodes of each Workspace.
        never_used_up: whether some pods ask for no GPU.

    Attributes:
        on_offer: the nodes that were set out and are not used up, in their order: nobody looks at the others
            again.
    """

    def __init__(self, left: dict[str, int], taken: dict[ObjectKey, list[str]], *, never_used_up: bool):
        self.left, self.taken, self._never_used_up = left, taken, never_used_up
        self._ranked: Sequence[str] = ()
        self.on_offer: dict[str, None] = {}

    def set_out(self, ranked: Sequence[str]) -> None:
        """Offer these nodes, in this order."""
        self._ranked = ranked
        self.on_offer = {name: None for name in ranked if self.left[name] or self._never_used_up}

    def lacks(self, seeker: Seeker) -> int:
        return seeker.needs - len(self.taken[seeker.key])

    def take(self, seeker: Seeker, names: Iterable[str], leave: int = 0) -> None:
        """Give it what it lacks of these nodes, but for so many."""
        mine, most, used_up = self.taken[seeker.key], seeker.needs - leave, []
        if len(mine) >= most:
            return
        for name in names:
            asks = seeker.asks.get(name)
            if asks is not None and name not in mine and self.left.get(name, 0) >= asks:
                self.left[name] -= asks
                mine.append(name)
                if not self.left[name] and not self._never_used_up:
                    used_up.append(name)
                if len(mine) >= most:
                    break
        for name in used_up:
            self.on_offer.pop(name, None)

    def put_back(self, seeker: Seeker) -> None:
        """Leave it nothing but its own."""
        back = [name for name in self.taken[seeker.key] if name not in seeker.own]
        for name in back:
            self.left[name] += seeker.asks[name]
            self.taken[seeker.key].remove(name)
        if back:
            self.set_out(self._ranked)
