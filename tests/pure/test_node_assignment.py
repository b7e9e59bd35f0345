"""Whose node is whose, where several Workspaces could use the same ones."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from kaitoctl.kaito.node_assignment import Seeker, shares
from kaitoctl.kube.objects import ObjectKey


def seeker(name: str, needs: int = 1, asks: Any = "abc", **more: Any) -> Seeker:
    gpus = asks if isinstance(asks, dict) else dict.fromkeys(asks, 2)
    more = {field: frozenset(value) if field in ("own", "before") else value for field, value in more.items()}
    return Seeker(ObjectKey("default", name), (name, name), needs, gpus, **more)


def planned(*seekers: Seeker, free: str = "abc", bought: str = "") -> dict[str, str]:
    found = shares(seekers, dict.fromkeys(free, 2), bought)
    return {key.name: "".join(names) for key, names in found.items()}


def test_the_oldest_comes_first_and_nobody_plans_with_anothers() -> None:
    assert planned(seeker("w2"), seeker("w0"), seeker("w1"), free="ab") == {"w0": "a", "w1": "b", "w2": ""}


def test_a_node_is_first_whose_it_was_bought_for() -> None:
    assert planned(seeker("w0"), seeker("w1", own="a"), free="a", bought="a") == {"w0": "", "w1": "a"}


def test_what_somebody_bought_and_does_not_need_is_taken_last() -> None:
    owner = seeker("w0", needs=0, own="a")
    assert planned(owner, seeker("w1"), free="ab", bought="a") == {"w0": "", "w1": "b"}
    assert planned(owner, seeker("w1"), free="a", bought="a") == {"w0": "", "w1": "a"}


def test_whoever_lost_the_node_that_was_bought_for_it_takes_a_spare_one_first() -> None:
    spare = seeker("w0", needs=0, own="a")
    assert planned(spare, seeker("w1"), seeker("w2", lost=1), free="a", bought="a")["w2"] == "a"


def test_whose_nodes_are_on_their_way_leaves_the_others_to_those_who_wait() -> None:
    assert planned(seeker("w0", coming=1), seeker("w1"), free="a") == {"w0": "", "w1": "a"}
    assert planned(seeker("w0", coming=1), seeker("w1"), free="ab") == {"w0": "b", "w1": "a"}


def test_who_can_never_get_all_keeps_nothing_from_the_others() -> None:
    large = seeker("w0", needs=3, takes_part=False)
    assert planned(large, seeker("w1"), seeker("w2"), free="ab") == {"w0": "", "w1": "a", "w2": "b"}
    assert planned(seeker("w0", needs=3), seeker("w1"), free="ab") == {"w0": "ab", "w1": ""}


def test_who_cannot_get_on_keeps_only_its_own() -> None:
    stuck = seeker("w0", needs=2, own="a", takes_turns=False)
    assert planned(stuck, seeker("w1"), free="ab", bought="a") == {"w0": "a", "w1": "b"}


def test_what_is_planned_stays_so() -> None:
    assert planned(seeker("w0"), seeker("w1", before="a"), free="ab") == {"w0": "b", "w1": "a"}


def test_a_named_node_is_first_for_who_names_it_but_for_whose_it_is() -> None:
    assert planned(seeker("w0"), seeker("w1", named=("a",)), free="ab") == {"w0": "b", "w1": "a"}
    other = seeker("w0", own="a")
    assert planned(other, seeker("w1", named=("a",)), free="ab", bought="a") == {"w0": "a", "w1": "b"}


def test_who_has_no_choice_finds_its_node() -> None:
    assert planned(seeker("w0", asks="ab"), seeker("w1", asks="a"), free="ab") == {"w0": "b", "w1": "a"}


def test_gpus_are_shared_and_not_nodes() -> None:
    small = [seeker(f"w{number}", asks={"a": 1}) for number in range(3)]
    found = shares(small, {"a": 2})
    assert [found[one.key] for one in small] == [("a",), ("a",), ()]


_NAMES = st.sampled_from("abcdef")
_SEEKERS = st.lists(
    st.builds(
        lambda name, needs, asks, own, part, lost, coming: seeker(
            name, needs, asks, own=own & asks.keys(), takes_part=part, lost=lost, coming=coming
        ),
        st.uuids().map(str),
        st.integers(0, 3),
        st.dictionaries(_NAMES, st.integers(1, 2), max_size=6),
        st.sets(_NAMES, max_size=2),
        st.booleans(),
        st.integers(0, 2),
        st.integers(0, 2),
    ),
    max_size=6,
)


@given(_SEEKERS, st.dictionaries(_NAMES, st.integers(0, 4)), st.randoms())
def test_no_gpu_is_in_two_shares_and_the_order_of_asking_does_not_matter(
    seekers: list[Seeker], free: dict[str, int], chance: Any
) -> None:
    found = shares(seekers, free)
    used: Counter[str] = Counter()
    for one in seekers:
        assert len(found[one.key]) <= one.needs
        assert len(set(found[one.key])) == len(found[one.key])
        used.update({name: one.asks[name] for name in found[one.key]})
    assert all(used[name] <= free.get(name, 0) for name in used)
    chance.shuffle(seekers)
    assert shares(seekers, free) == found


@given(_SEEKERS, st.dictionaries(_NAMES, st.integers(0, 4)))
def test_no_node_is_left_that_somebody_lacks_and_could_use(
    seekers: list[Seeker], free: dict[str, int]
) -> None:
    found = shares(seekers, free)
    used: Counter[str] = Counter()
    for one in seekers:
        used.update({name: one.asks[name] for name in found[one.key]})
    for one in seekers:
        if one.takes_part and len(found[one.key]) < one.needs:
            left = [name for name in one.asks if free.get(name, 0) - used[name] >= one.asks[name]]
            assert set(left) <= set(found[one.key])
