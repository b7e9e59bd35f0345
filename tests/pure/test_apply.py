from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaitoctl.kube.managed_fields import Fields, both, minus, paths
from kaitoctl.kube.objects import Object
from kaitoctl.sandbox.server_side_apply import (
    ApplyConflict,
    Manager,
    Owners,
    apply,
    fields_of,
    managed_fields_of,
    merge,
    ownable,
    owners_of,
    update,
)
from kaitoctl.sandbox.shapes import Shape, UnkeyedEntry, shape_of_schema

_ENTRY = Shape(keys=(("name", None),), items=Shape())
SHAPE = Shape({"spec": Shape({"parts": _ENTRY, "tags": Shape(is_set=True), "whole": Shape(atomic=True)})})

ONE, TWO = Manager("one", "Apply", "", ""), Manager("two", "Apply", "", "")
EDITOR = Manager("editor", "Update", "v1", "")


def _apply(
    live: Object | None,
    config: Object,
    owners: Owners,
    me: Manager = ONE,
    *,
    force: bool = False,
    now: str = "t1",
) -> tuple[Object, Owners]:
    return apply(live, config, owners, me, SHAPE, force=force, now=now)


def _spec(**spec: Any) -> Object:
    return {"spec": spec}


def test_a_whole_map_has_one_owner_and_is_replaced() -> None:
    live, owners = _apply(None, _spec(whole={"a": 1}), {})
    assert owners[ONE].fields == {"f:spec": {"f:whole": {}}}
    with pytest.raises(ApplyConflict, match=r"\.spec\.whole"):
        _apply(live, _spec(whole={"b": 2}), owners, TWO)
    merged, owners = _apply(live, _spec(whole={"b": 2}), owners, TWO, force=True)
    assert merged == _spec(whole={"b": 2})
    assert ONE not in owners


def test_a_plain_list_has_one_owner() -> None:
    live, owners = _apply(None, _spec(args=["a", {"b": 1}]), {})
    assert owners[ONE].fields == {"f:spec": {"f:args": {}}}
    with pytest.raises(ApplyConflict):
        _apply(live, _spec(args=["a"]), owners, TWO)


def test_equal_values_are_no_conflict_but_shared() -> None:
    live, owners = _apply(None, _spec(a=1), {})
    merged, owners = _apply(live, _spec(a=1), owners, TWO)
    assert merged == live
    assert owners[ONE].fields == owners[TWO].fields


def test_an_emptied_map_disappears_with_its_last_field() -> None:
    live, owners = _apply(None, _spec(map={"a": 1}, b=2), {})
    merged, _ = _apply(live, _spec(b=2), owners)
    assert merged == _spec(b=2)


def test_applying_nothing_gives_everything_up() -> None:
    live, owners = _apply(None, _spec(a=1), {})
    merged, owners = _apply(live, {}, owners)
    assert owners == {}
    assert merged.get("spec", {}) == {}


def test_a_map_applied_empty_can_be_filled_later() -> None:
    live, owners = _apply(None, _spec(map={}), {})
    assert live == _spec(map={})
    merged, owners = _apply(live, _spec(map={"a": 1}), owners)
    assert merged == _spec(map={"a": 1})


def test_a_left_out_entry_keeps_what_others_own_in_it() -> None:
    live, owners = _apply(None, _spec(parts=[{"name": "x", "mine": 1}]), {})
    live, owners = _apply(live, _spec(parts=[{"name": "x", "theirs": 2}]), owners, TWO)
    merged, owners = _apply(live, _spec(parts=[]), owners)
    assert merged == _spec(parts=[{"name": "x", "theirs": 2}])


def test_entries_keep_their_places() -> None:
    live = {"spec": {"parts": [{"name": name} for name in "abcd"]}}
    order = merge(live, _spec(parts=[{"name": name} for name in "xcay"]), SHAPE)["spec"]["parts"]
    assert (
        "".join(item["name"] for item in order) == "xcabdy"
        or "".join(item["name"] for item in order) == "xcaybd"
    )


def test_an_update_takes_what_it_changes_from_its_owners() -> None:
    live, owners = _apply(None, _spec(a=1, b=1), {})
    new = _spec(a=2, b=1)
    owners = update(live, new, owners, EDITOR, SHAPE, now="t2")
    assert owners[ONE].fields == {"f:spec": {"f:b": {}}}
    assert owners[EDITOR].fields == {"f:spec": {"f:a": {}}}
    assert (owners[ONE].time, owners[EDITOR].time) == ("t1", "t2")


def test_a_removal_by_update_ends_ownership() -> None:
    live, owners = _apply(None, _spec(a=1, parts=[{"name": "x", "n": 1}]), {})
    owners = update(live, _spec(parts=[]), owners, EDITOR, SHAPE, now="t2")
    assert all("f:a" not in owned.fields.get("f:spec", {}) for owned in owners.values())
    assert EDITOR not in owners, "a list that has been emptied is nobody's: its entries were"


def test_an_update_without_changes_moves_no_time() -> None:
    live = _spec(a=1)
    owners = update(None, live, {}, EDITOR, SHAPE, now="t1")
    assert update(live, _spec(a=1), owners, EDITOR, SHAPE, now="t2") is owners


def test_entries_without_keys_are_named() -> None:
    with pytest.raises(UnkeyedEntry, match=r'\.spec\.parts: element 1: .* omits key field "name"'):
        _apply(None, _spec(parts=[{"name": "a"}, {"n": 1}]), {})
    with pytest.raises(UnkeyedEntry, match=r'\.spec\.parts: duplicate entries for key \[name="a"\]'):
        _apply(None, _spec(parts=[{"name": "a"}, {"name": "a"}]), {})


def test_an_update_may_write_entries_that_cannot_be_told_apart() -> None:
    owners = update(None, _spec(parts=[{"n": 1}]), {}, EDITOR, SHAPE, now="t")
    assert list(paths(owners[EDITOR].fields)) == [("f:spec",), ("f:spec", "f:parts")]


def test_identity_has_no_owner() -> None:
    obj = {"apiVersion": "v1", "kind": "K", "metadata": {"name": "n", "uid": "u", "labels": {"a": "b"}}}
    assert fields_of(ownable(obj), shape_of_schema({})) == {"f:metadata": {"f:labels": {"f:a": {}}}}


def test_owners_survive_being_written_down() -> None:
    status = Manager("one", "Update", "v1", "status")
    _, owners = _apply(None, {"apiVersion": "v1", **_spec(a=1)}, {})
    owners = update(_spec(a=1), {**_spec(a=1), "status": {"x": 1}}, owners, status, SHAPE, now="t0")
    written = managed_fields_of(owners, "v2")
    assert [entry["apiVersion"] for entry in written] == ["v1", "v1"]  # whoever writes in another one later
    assert [entry["operation"] for entry in written] == ["Apply", "Update"]
    assert written[1]["subresource"] == "status"
    assert owners_of(written) == owners


def test_a_crds_list_types_shape_its_objects() -> None:
    schema = {
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "properties": {
                    "ports": {
                        "type": "array",
                        "x-kubernetes-list-type": "map",
                        "x-kubernetes-list-map-keys": ["port", "protocol"],
                        "items": {
                            "type": "object",
                            "properties": {
                                "port": {"type": "integer"},
                                "protocol": {"type": "string", "default": "TCP"},
                            },
                        },
                    },
                    "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
                    "one": {"type": "object", "x-kubernetes-map-type": "atomic"},
                    "list": {"type": "array", "items": {"type": "object"}},
                    "map": {
                        "type": "object",
                        "additionalProperties": {"type": "object", "x-kubernetes-map-type": "atomic"},
                    },
                },
            }
        },
    }
    spec = {"ports": [{"port": 1}], "set": ["a"], "one": {"x": 1}, "list": [{"y": 1}], "map": {"k": {"z": 1}}}
    assert fields_of({"spec": spec}, shape_of_schema(schema))["f:spec"] == {
        "f:ports": {'k:{"port":1,"protocol":"TCP"}': {".": {}, "f:port": {}}},
        "f:set": {'v:"a"': {}},
        "f:one": {},
        "f:list": {},
        "f:map": {"f:k": {}},
    }


# --- laws ---

_SCALARS = st.integers(0, 2)
_PARTS = st.lists(
    st.fixed_dictionaries({"name": st.sampled_from("xyz")}, optional={"m": _SCALARS, "n": _SCALARS}),
    unique_by=lambda part: part["name"],
    max_size=3,
)
_CONFIGS = st.fixed_dictionaries(
    {
        "spec": st.fixed_dictionaries(
            {},
            optional={
                "a": _SCALARS,
                "b": _SCALARS,
                "parts": _PARTS,
                "tags": st.lists(st.sampled_from("pqr"), unique=True, max_size=3),
                "whole": st.dictionaries(st.sampled_from("uv"), _SCALARS, max_size=2),
                "map": st.dictionaries(st.sampled_from("uv"), _SCALARS, max_size=2),
            },
        )
    }
)
_STEPS = st.lists(st.tuples(st.sampled_from([ONE, TWO, EDITOR]), _CONFIGS), min_size=1, max_size=6)


def _play(steps: list[tuple[Manager, Object]]) -> tuple[Object | None, Owners]:
    live: Object | None = None
    owners: Owners = {}
    for manager, config in steps:
        if manager is EDITOR:
            owners = update(live, config, owners, EDITOR, SHAPE, now="t")
            live = config
        else:
            live, owners = _apply(live, config, owners, manager, force=True)
    return live, owners


def _contains(obj: Any, config: Any, shape: Shape) -> bool:
    parts, wanted = shape.elements(obj), shape.elements(config)
    if parts is None or wanted is None:
        return bool(obj == config)
    return all(
        element in parts and _contains(parts[element], value, shape.element_shape(element))
        for element, value in wanted.items()
        if value != []  # whoever wants no entries owns nothing
    )


@given(_STEPS, _CONFIGS)
def test_applying_twice_is_applying_once(steps: list[tuple[Manager, Object]], config: Object) -> None:
    live, owners = _play(steps)
    once, owners = _apply(live, config, owners, force=True, now="t2")
    twice, again = _apply(once, config, owners, now="t3")
    assert twice == once
    assert again == owners


@given(_STEPS, _CONFIGS)
def test_after_a_forced_apply_the_object_says_what_was_applied(
    steps: list[tuple[Manager, Object]], config: Object
) -> None:
    live, owners = _play(steps)
    before = copy.deepcopy((live, owners))
    merged, _ = _apply(live, config, owners, force=True)
    assert _contains(merged, config, SHAPE)
    assert (live, owners) == before


@given(_STEPS)
def test_owners_agree_on_what_they_share_and_own_only_what_is_there(
    steps: list[tuple[Manager, Object]],
) -> None:
    live, owners = _play(steps)
    there: Fields = fields_of(live or {}, SHAPE, inner=True)
    for owned in owners.values():
        for path in paths(owned.fields):
            node: Fields | None = there
            for element in path:
                node = node.get(element) if node else None
                if node is None:
                    break
            # An emptied map or list is gone, with its owner's claim on it left behind.
            assert node is not None or path[-1] in ("f:parts", "f:tags", "f:map", "f:spec"), (path, live)


def _is_there(path: tuple[str, ...], there: Fields) -> bool:
    node: Fields | None = there
    for element in path:
        node = node.get(element) if node else None
        if node is None:
            return False
    return True


@given(_STEPS, _CONFIGS)
def test_without_force_an_apply_changes_nothing_of_others(
    steps: list[tuple[Manager, Object]], config: Object
) -> None:
    """But for what they have put into the entry of somebody else, who takes the entry away."""
    live, owners = _play(steps)
    try:
        merged, after = _apply(live, config, owners)
    except ApplyConflict as conflict:
        others = [owned.fields for manager, owned in owners.items() if manager != ONE]
        assert any(both(fields, conflict.fields) for fields in others)
        return
    there = fields_of(merged, SHAPE, inner=True)
    for manager, owned in owners.items():
        if manager != ONE:
            left = after[manager].fields if manager in after else {}
            lost = [path for path in paths(minus(owned.fields, left)) if _is_there(path, there)]
            assert not lost, (manager, lost)


def test_an_entry_goes_with_its_owner_whatever_others_put_into_it() -> None:
    live, owners = _play(
        [(ONE, {"spec": {"parts": [{"name": "x"}]}}), (EDITOR, {"spec": {"parts": [{"name": "x", "m": 0}]}})]
    )
    merged, _ = _apply(live, {"spec": {"parts": []}}, owners)
    assert merged == {"spec": {"parts": []}}
