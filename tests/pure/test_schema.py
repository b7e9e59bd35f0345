from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from schema_reference import errors, places

from kaitoctl.kube import schema as schemas
from kaitoctl.kube.objects import Object
from kaitoctl.kube.schema import fits, problems, without_nulls
from kaitoctl.kube.schema_defaults import default, prune, unknown_fields


def _object(**properties: Any) -> Object:
    return {"type": "object", "properties": properties}


ADAPTER = {
    **_object(name={"type": "string"}, strength={"type": "string", "pattern": "^(0(\\.\\d+)?|1)$"}),
    "required": ["name"],
}
SCHEMA = _object(
    inference=_object(
        adapters={"type": "array", "maxItems": 2, "items": ADAPTER},
        preset={"type": "string", "enum": ["phi-4", "llama"]},
        count={"type": "integer", "minimum": 1, "maximum": 10},
        port={"x-kubernetes-int-or-string": True},
        when={"type": "string", "format": "date-time"},
        labels={"type": "object", "additionalProperties": {"type": "string"}},
        free={"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        maybe={"type": "string", "nullable": True},
        ratio={"type": "number", "minimum": 0, "exclusiveMinimum": True},
        either={"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
                "oneOf": [{"required": ["a"]}, {"required": ["b"]}]},
    )
)  # fmt: skip


def _found(inference: Any, *, strict: bool = False) -> list[tuple[str, str]]:
    obj = {"apiVersion": "v1", "kind": "W", "metadata": {"name": "w"}, "inference": inference}
    found = problems(obj, SCHEMA, unknown="error" if strict else "ignore")
    assert (not found) is fits(obj, SCHEMA, unknown_is_error=strict)
    return [(problem.path, problem.message) for problem in found]


@pytest.mark.parametrize(
    "inference",
    [
        {},
        {"adapters": [{"name": "a", "strength": "0.5"}]},
        {"port": 80},
        {"port": "http"},
        {"when": "2026-01-01T00:00:00Z"},
        {"when": "2026-01-01T00:00:00.123456+02:00"},
        {"count": 3.0},
        {"maybe": None},
        {"free": {"any": [1, {"x": None}]}},
        {"labels": {"a": "b"}},
        {"either": {"a": 1}},
    ],
)
def test_what_fits_has_no_problems(inference: Any) -> None:
    assert _found(inference, strict=True) == []


@pytest.mark.parametrize(
    ("inference", "path", "message"),
    [
        (
            {"adapters": [{"name": "a", "strength": "2"}]},
            "inference.adapters[0].strength",
            '"2" does not match ^(0(\\.\\d+)?|1)$',
        ),
        ({"adapters": [{}]}, "inference.adapters[0].name", "is required"),
        ({"adapters": [{"name": "x"}] * 3}, "inference.adapters", "has 3 entries, at most 2 are allowed"),
        ({"adapters": {}}, "inference.adapters", "must be a list, not {}"),
        (
            {"preset": "phi4"},
            "inference.preset",
            '"phi4" is not one of "phi-4", "llama"; did you mean "phi-4"?',
        ),
        ({"count": "3"}, "inference.count", 'must be an integer, not "3"'),
        ({"count": True}, "inference.count", "must be an integer, not true"),
        ({"count": 0}, "inference.count", "0 is less than the minimum of 1"),
        ({"port": 1.5}, "inference.port", "must be an integer or a string, not 1.5"),
        ({"when": "yesterday"}, "inference.when", '"yesterday" is not a valid date-time'),
        ({"labels": {"a": 1}}, "inference.labels.a", "must be a string, not 1"),
        ({"ratio": 0}, "inference.ratio", "must be greater than 0, not 0"),
        ({"either": {}}, "inference.either", "{} must match exactly one of 2 allowed forms"),
        (None, "inference", "must be an object, not null"),
    ],
)
def test_a_problem_says_where_what_and_what_was_expected(inference: Any, path: str, message: str) -> None:
    assert _found(inference) == [(path, message)]


def test_all_problems_are_found_in_order() -> None:
    found = _found({"count": 0, "adapters": [{"name": "a"}, {"strength": "7"}]})
    assert [path for path, _ in found] == [
        "inference.adapters[1].name",
        "inference.adapters[1].strength",
        "inference.count",
    ]


def test_unknown_fields_are_problems_only_when_asked() -> None:
    assert _found({"presett": "x", "labels": {"any": "thing"}}) == []
    assert _found({"adapters": [{"name": "a", "strenght": "1"}]}, strict=True) == [
        ("inference.adapters[0].strenght", 'unknown field; did you mean "strength"?')
    ]
    assert (
        problems({"Inference": {}}, SCHEMA, unknown="error")[0].message
        == 'unknown field; did you mean "inference"?'
    )
    assert (
        problems({"zzz": {}}, SCHEMA, unknown="error")[0].message
        == "unknown field; known: apiVersion, inference, kind, metadata"
    )


def test_entries_of_sets_and_keyed_lists_are_unique() -> None:
    keyed = {
        "type": "array",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name"],
        "items": ADAPTER,
    }
    words = {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}}
    found = problems({"k": [{"name": "a"}, {"name": "a"}], "s": ["x", "y", "x"]}, _object(k=keyed, s=words))
    assert [(problem.path, problem.rule) for problem in found] == [
        ("k[1]", "x-kubernetes-list-type"),
        ("s[2]", "x-kubernetes-list-type"),
    ]


def test_pruning_drops_what_is_not_known_and_shares_the_rest() -> None:
    obj = {
        "apiVersion": "v1",
        "kind": "W",
        "metadata": {"x": 1},
        "extra": 1,
        "inference": {
            "count": 1,
            "more": 2,
            "free": {"a": {"b": 1}},
            "labels": {"a": "b"},
            "adapters": [{"name": "a", "z": 1}],
        },
    }
    before = copy.deepcopy(obj)
    assert unknown_fields(obj, SCHEMA) == ["extra", "inference.more", "inference.adapters[0].z"]
    assert prune(obj, SCHEMA) == {
        "apiVersion": "v1",
        "kind": "W",
        "metadata": {"x": 1},
        "inference": {"count": 1, "free": {"a": {"b": 1}}, "labels": {"a": "b"}, "adapters": [{"name": "a"}]},
    }
    assert obj == before
    assert prune(prune(obj, SCHEMA), SCHEMA) == prune(obj, SCHEMA)


def test_an_embedded_resource_keeps_its_identity() -> None:
    pod = {**_object(spec={"type": "object"}), "x-kubernetes-embedded-resource": True}
    obj = {"template": {"apiVersion": "v1", "kind": "Pod", "metadata": {"a": 1}, "other": 1}}
    assert unknown_fields(obj, _object(template=pod)) == ["template.other"]
    assert problems(obj, _object(template=pod), unknown="error")[0].path == "template.other"


def test_defaults_fill_what_is_missing_down_to_the_leaves() -> None:
    inner = {**_object(a={"type": "integer", "default": 1}, b={"type": "string"}), "default": {}}
    schema = _object(
        spec=inner,
        list={"type": "array", "items": inner},
        map={"type": "object", "additionalProperties": inner},
        null={"type": "string", "nullable": True, "default": "x"},
        lost={"type": "string"},
        none={"type": "object", "properties": {"c": {"type": "integer", "default": 1}}},
    )
    obj: Object = {"list": [{}, {"a": 2}], "map": {"k": {}}, "null": None, "lost": None}
    before = copy.deepcopy(obj)
    filled = default(obj, schema)
    assert filled == {"spec": {"a": 1}, "list": [{"a": 1}, {"a": 2}], "map": {"k": {"a": 1}}, "null": None}
    assert obj == before
    assert default(filled, schema) is filled


def test_a_default_is_never_shared_between_objects() -> None:
    schema = _object(
        spec={"type": "object", "default": {"list": [1]}, "x-kubernetes-preserve-unknown-fields": True}
    )
    first = default({}, schema)
    first["spec"]["list"].append(2)
    assert default({}, schema) == {"spec": {"list": [1]}}


def test_a_pattern_that_only_go_can_read_is_not_checked() -> None:
    schema = _object(a={"type": "string", "pattern": r"^\p{L}+$"})
    assert problems({"a": "1"}, schema) == []


# --- our walker and the reference validator answer alike ---

_NUMBERS = st.integers(-2, 3) | st.sampled_from([0.0, 1.0, 0.5, 2.5])
_TEXTS = st.sampled_from(["", "a", "ab", "1", "2026-01-01T00:00:00Z"])
_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | _NUMBERS | _TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abck"), inner, max_size=3),
    max_leaves=8,
)
_BOUNDS = st.integers(0, 3)
_LEAVES = st.one_of(
    st.fixed_dictionaries(
        {"type": st.sampled_from(["integer", "number"])},
        optional={
            "minimum": _BOUNDS,
            "maximum": _BOUNDS,
            "exclusiveMinimum": st.booleans(),
            "exclusiveMaximum": st.booleans(),
            "multipleOf": st.sampled_from([1, 2, 0.5]),
            "nullable": st.booleans(),
            "format": st.sampled_from(["int32", "int64", "double"]),
            "enum": st.lists(_NUMBERS, min_size=1, max_size=3),
        },
    ),
    st.fixed_dictionaries(
        {"type": st.just("string")},
        optional={
            "minLength": _BOUNDS,
            "maxLength": _BOUNDS,
            "pattern": st.sampled_from(["a", "^b?$", r"\p{L}"]),
            "format": st.sampled_from(["date-time", "other"]),
            "nullable": st.booleans(),
            "enum": st.lists(_TEXTS, min_size=1, max_size=3),
        },
    ),
    st.fixed_dictionaries({"type": st.just("boolean")}, optional={"nullable": st.booleans()}),
    st.fixed_dictionaries(
        {"x-kubernetes-int-or-string": st.just(True)}, optional={"nullable": st.booleans()}
    ),
    st.fixed_dictionaries(
        {"x-kubernetes-preserve-unknown-fields": st.just(True)},
        optional={"enum": st.lists(_VALUES, max_size=2)},
    ),
)
_JUNCTIONS = st.fixed_dictionaries(
    {},
    optional={
        key: st.lists(
            st.fixed_dictionaries(
                {}, optional={"required": st.lists(st.sampled_from("ab"), max_size=2), "minimum": _BOUNDS}
            ),
            min_size=1,
            max_size=2,
        )
        for key in ("allOf", "anyOf", "oneOf")
    }
    | {"not": st.fixed_dictionaries({"required": st.lists(st.sampled_from("ab"), min_size=1, max_size=1)})},
)


def _branches(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    maps = st.fixed_dictionaries(
        {"type": st.just("object")},
        optional={
            "properties": st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
            "required": st.lists(st.sampled_from("ab"), max_size=2),
            "minProperties": _BOUNDS,
            "maxProperties": _BOUNDS,
            "nullable": st.booleans(),
            "x-kubernetes-preserve-unknown-fields": st.booleans(),
            "x-kubernetes-embedded-resource": st.booleans(),
        },
    )
    free_maps = st.fixed_dictionaries(
        {"type": st.just("object"), "additionalProperties": inner | st.booleans()}
    )
    lists = st.fixed_dictionaries(
        {"type": st.just("array"), "items": inner},
        optional={
            "minItems": _BOUNDS,
            "maxItems": _BOUNDS,
            "x-kubernetes-list-type": st.sampled_from(["set", "atomic"]),
        },
    )
    keyed = st.fixed_dictionaries(
        {
            "type": st.just("array"),
            "items": inner,
            "x-kubernetes-list-type": st.just("map"),
            "x-kubernetes-list-map-keys": st.just(["k"]),
        }
    )
    return st.builds(lambda one, two: {**one, **two}, maps | free_maps | lists | keyed, _JUNCTIONS)


_SCHEMAS = _branches(st.recursive(_LEAVES, _branches, max_leaves=5))


@settings(max_examples=400)
@given(_SCHEMAS, _VALUES, st.booleans())
def test_the_walker_and_the_reference_validator_agree(schema: Object, value: Any, strict: bool) -> None:
    theirs = [found for error in errors(value, schema, strict) for found in places(error)]
    ours = problems(value, schema, unknown="error" if strict else "ignore")
    assert sorted((problem.path, problem.rule) for problem in ours) == sorted(theirs)
    assert fits(value, schema, unknown_is_error=strict) is not bool(theirs)


@settings(max_examples=200)
@given(_SCHEMAS, _VALUES)
def test_what_is_pruned_and_filled_is_so_for_good(schema: Object, value: Any) -> None:
    pruned = prune(value, schema)
    assert unknown_fields(pruned, schema) == []
    assert prune(pruned, schema) is pruned
    filled = default(value, schema)
    assert default(filled, schema) is filled


@settings(max_examples=60)
@given(_SCHEMAS, _VALUES)
def test_nulls_are_looked_for_before_the_schema_is_walked(schema: Object, value: Any) -> None:
    shown = without_nulls(value, schema)
    assert shown == schemas._pruned(value, schema)
    if "null" not in json.dumps(value):
        assert shown is value
