"""Revisions: what they hold, how they are named and numbered, what becomes of old ones."""

from __future__ import annotations

from typing import Any

from builders import adapter, workspace
from hypothesis import given
from hypothesis import strategies as st

from kaitoctl.kaito import revisions
from kaitoctl.kube.objects import Object, annotations_of, is_controlled_by

CAUSE = "kubernetes.io/change-cause"


def with_adapters(*names: str, **changes: Any) -> Object:
    return workspace(inference={"adapters": [adapter(name) for name in names]}, **changes)


def stored(obj: Object, number: int) -> Object:
    """The revision of a Workspace as a controller keeps it."""
    return revisions.trim_revision(revisions.revision(obj, number))


def done(obj: Object, own: list[Object], *, deployed: int = 0) -> list[Object]:
    """The history after `record` was carried out."""
    record = revisions.record(obj, own, deployed=deployed)
    if record.present is None:
        own = [*own, stored(obj, record.number)]
    elif record.patch:
        changed = {**record.present, "revision": record.patch.get("revision", record.present["revision"])}
        annotations = annotations_of(record.present) | record.patch["metadata"]["annotations"]
        changed["metadata"] = {**changed["metadata"], "annotations": annotations}
        own = [changed if one is record.present else one for one in own]
    return [one for one in own if one not in record.superfluous]


def numbers(own: list[Object]) -> list[int]:
    return [revisions.number_of(one) for one in revisions.sort_revisions(own)]


def test_a_revision_holds_what_is_built_from_and_belongs_to_its_workspace() -> None:
    obj = workspace(metadata={"annotations": {"kaito.sh/runtime": "vllm", "team": "a", CAUSE: "try vLLM"}})
    made = revisions.revision(obj, 3)
    assert made["data"] == {
        "resource": obj["resource"],
        "inference": obj["inference"],
        "metadata": {"annotations": {"kaito.sh/runtime": "vllm"}},
    }
    assert made["revision"] == 3
    assert made["metadata"]["labels"] == {"workspace.kaito.io/name": "falcon"}
    assert annotations_of(made)[CAUSE] == "try vLLM"
    assert is_controlled_by(made, obj)


def test_a_name_says_what_is_in_it_and_gives_way_to_a_taken_one() -> None:
    one, other = revisions.name_of(workspace()), revisions.name_of(with_adapters("a"))
    assert one == revisions.name_of(workspace(generation=9, uid="another"))
    assert len({one, other, revisions.name_of(workspace(), 1), revisions.name_of(workspace(), 2)}) == 4
    assert len(one) == len("falcon-") + 16


def test_the_workspace_comes_back_exactly_and_the_rest_of_it_stays() -> None:
    before = with_adapters("a", metadata={"annotations": {"kaito.sh/enablelb": "True"}})
    data = revisions.data_of(before)
    now = workspace(
        resource={"preferredNodes": ["n"]},
        metadata={"annotations": {"team": "b", "kaito.sh/runtime": "vllm"}, "labels": {"x": "y"}},
        status={"workerNodes": ["n"]},
    )
    back = revisions.as_of(now, data)
    assert revisions.data_of(back) == data
    assert annotations_of(back) == {"team": "b", "kaito.sh/enablelb": "True"}
    assert (back["metadata"]["labels"], back["status"]) == ({"x": "y"}, {"workerNodes": ["n"]})


def test_the_first_revision_is_number_one_and_is_written_once() -> None:
    own = done(workspace(), [])
    assert numbers(own) == [1]
    record = revisions.record(workspace(), own)
    assert (record.present, record.patch, record.superfluous) == (own[0], {}, ())


def test_going_back_gives_the_old_revision_a_new_number() -> None:
    own = done(with_adapters("b"), done(with_adapters("a"), []))
    own = done(with_adapters("a", generation=3), own)
    assert numbers(own) == [2, 3]
    assert revisions.has_same_data(revisions.sort_revisions(own)[-1], with_adapters("a"))


def test_two_of_one_number_are_told_apart_by_the_next_look() -> None:
    """A store that lagged behind let the same number be given twice."""
    own = [stored(with_adapters("a"), 2), stored(with_adapters("b"), 2)]
    assert numbers(done(with_adapters("b"), own)) == [2, 3]


def test_at_most_ten_are_kept_and_the_deployed_one_is_among_them() -> None:
    own: list[Object] = []
    for number in range(1, 16):
        own = done(with_adapters(f"a{number}"), own, deployed=1)
    assert numbers(own) == [1, *range(7, 16)]


def test_more_than_ten_that_are_there_already_are_cut_down_at_once() -> None:
    own = [stored(with_adapters(f"a{number}"), number) for number in range(1, 14)]
    record = revisions.record(with_adapters("a13"), own)
    assert [revisions.number_of(one) for one in record.superfluous] == [1, 2, 3]


def test_the_change_cause_of_the_present_revision_follows_the_workspace() -> None:
    own = done(workspace(), [])
    caused = workspace(metadata={"annotations": {CAUSE: "said later"}})
    own = done(caused, own)
    assert annotations_of(own[0])[CAUSE] == "said later"
    assert revisions.record(caused, own).patch == {}
    assert revisions.record(workspace(), own).patch == {}, "to say nothing takes nothing back"


def test_revisions_of_kaitos_own_are_read() -> None:
    obj = workspace()
    data = {"resource": obj["resource"], "inference": obj["inference"], "tuning": None}
    kaitos: Object = {
        "metadata": {"name": "falcon-89ae1", "labels": {"workspace.kaito.io/name": "falcon"}},
        "data": data,
        "revision": 4,
    }
    assert revisions.record(obj, [revisions.trim_revision(kaitos)]).number == 4
    assert revisions.record(with_adapters("a"), [revisions.trim_revision(kaitos)]).number == 5


def test_a_number_that_is_none_counts_as_zero() -> None:
    assert revisions.number_on({"metadata": {"annotations": {revisions.NUMBER: "²"}}}) == 0
    assert revisions.number_on(None) == 0
    assert revisions.newest([]) == 0
    assert revisions.newest([{"metadata": {"name": "x"}}]) == 0


@given(st.lists(st.integers(0, 14), max_size=40))
def test_any_history_stays_small_rising_and_settled(edits: list[int]) -> None:
    own: list[Object] = []
    for generation, edit in enumerate(edits, 1):
        obj = with_adapters(f"a{edit}", generation=generation)
        before = revisions.newest(own)
        own = done(obj, own)
        top = revisions.sort_revisions(own)[-1]
        assert revisions.has_same_data(top, obj)
        assert revisions.newest(own) in (before, before + 1)
        assert len(own) <= revisions.LIMIT
        assert len(set(numbers(own))) == len(own)
        assert done(obj, own) == own
