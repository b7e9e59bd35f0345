from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaitoctl.kube.objects import apply_merge_patch
from kaitoctl.sandbox.builtin import DEPLOYMENTS, PODS
from kaitoctl.sandbox.patch import PatchFailed, apply_json_patch, apply_strategic_patch

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)


# Source of the cases: RFC 7386, appendix A.
@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "foo"}, None, None),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_a_merge_patch_does_what_the_rfc_says(target: Any, patch: Any, result: Any) -> None:
    assert apply_merge_patch(target, patch) == result


@given(_JSON, _JSON)
def test_a_merge_patch_is_idempotent_and_leaves_its_target_alone(target: Any, patch: Any) -> None:
    before = copy.deepcopy(target)
    once = apply_merge_patch(target, patch)
    assert apply_merge_patch(once, patch) == once
    assert target == before


@pytest.mark.parametrize(
    ("operation", "result"),
    [
        ({"op": "add", "path": "/a", "value": 1}, {"a": 1, "list": [1, 2], "x/y": {"~": 0}}),
        ({"op": "add", "path": "/list/1", "value": 9}, {"list": [1, 9, 2], "x/y": {"~": 0}}),
        ({"op": "add", "path": "/list/-", "value": 9}, {"list": [1, 2, 9], "x/y": {"~": 0}}),
        ({"op": "replace", "path": "/list/0", "value": 9}, {"list": [9, 2], "x/y": {"~": 0}}),
        ({"op": "remove", "path": "/list/0"}, {"list": [2], "x/y": {"~": 0}}),
        ({"op": "replace", "path": "/x~1y/~0", "value": 5}, {"list": [1, 2], "x/y": {"~": 5}}),
        ({"op": "move", "from": "/list", "path": "/moved"}, {"moved": [1, 2], "x/y": {"~": 0}}),
        ({"op": "copy", "from": "/list/0", "path": "/list/-"}, {"list": [1, 2, 1], "x/y": {"~": 0}}),
        ({"op": "test", "path": "/list", "value": [1, 2]}, {"list": [1, 2], "x/y": {"~": 0}}),
        ({"op": "replace", "path": "", "value": 7}, 7),
        # Not so in the RFC, but in Kubernetes' library.
        ({"op": "test", "path": "/n", "value": None}, {"list": [1, 2], "x/y": {"~": 0}}),
        ({"op": "replace", "path": "/n", "value": 7}, {"list": [1, 2], "x/y": {"~": 0}, "n": 7}),
    ],
)
def test_a_json_patch_does_what_the_rfc_says(operation: Any, result: Any) -> None:
    target = {"list": [1, 2], "x/y": {"~": 0}}
    before = copy.deepcopy(target)
    assert apply_json_patch(target, [operation]) == result
    assert target == before


@pytest.mark.parametrize(
    "operations",
    [
        [{"op": "remove", "path": "/none"}],
        [{"op": "replace", "path": "/list/7", "value": 1}],
        [{"op": "add", "path": "/none/deep", "value": 1}],
        [{"op": "add", "path": "/list/7", "value": 1}],
        [{"op": "add", "path": "/list/x", "value": 1}],
        [{"op": "test", "path": "/list", "value": []}],
        [{"op": "fly", "path": "/list"}],
        [{"op": "add", "path": "/a"}],
        [{"op": "add", "path": "a", "value": 1}],
        [3],
        {"op": "add"},
    ],
)
def test_a_json_patch_that_does_not_fit_fails(operations: Any) -> None:
    with pytest.raises(PatchFailed):
        apply_json_patch({"list": [1]}, operations)


def _spec(**spec: Any) -> Any:
    return {"spec": spec}


_TWO = _spec(
    containers=[{"name": "a", "image": "1", "args": ["x"]}, {"name": "b", "image": "2"}],
    nodeSelector={"a": "b"},
)


@pytest.mark.parametrize(
    ("patch", "result"),
    [
        (
            _spec(containers=[{"name": "b", "image": "3"}]),
            [{"name": "a", "image": "1", "args": ["x"]}, {"name": "b", "image": "3"}],
        ),
        (_spec(containers=[{"name": "a", "$patch": "delete"}]), [{"name": "b", "image": "2"}]),
        (_spec(containers=[{"$patch": "replace"}, {"name": "c"}]), [{"name": "c"}]),
        (
            _spec(containers=[{"name": "a", "args": ["y"]}]),
            [{"name": "a", "image": "1", "args": ["y"]}, {"name": "b", "image": "2"}],
        ),
        (
            {"spec": {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}},
            [{"name": "b", "image": "2"}, {"name": "a", "image": "1", "args": ["x"]}],
        ),
    ],
)
def test_a_strategic_patch_merges_lists_by_key(patch: Any, result: Any) -> None:
    before = copy.deepcopy(_TWO)
    assert apply_strategic_patch(_TWO, patch, PODS.shape)["spec"]["containers"] == result
    assert before == _TWO


def test_a_strategic_patch_knows_its_directives() -> None:
    target = {
        "metadata": {"finalizers": ["a", "b"]},
        "spec": {"strategy": {"type": "x", "rollingUpdate": {}}},
    }
    patch = {
        "metadata": {"finalizers": ["c"], "$deleteFromPrimitiveList/finalizers": ["a"]},
        "spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}},
    }
    assert apply_strategic_patch(target, patch, DEPLOYMENTS.shape) == {
        "metadata": {"finalizers": ["c", "b"]},
        "spec": {"strategy": {"type": "Recreate"}},
    }
    assert apply_strategic_patch(target, {"spec": {"$patch": "replace", "n": 1}}, DEPLOYMENTS.shape)[
        "spec"
    ] == {"n": 1}
    with pytest.raises(PatchFailed, match="unknown"):
        apply_strategic_patch(target, {"$patch": "explode"}, DEPLOYMENTS.shape)
    with pytest.raises(PatchFailed, match="merge key: name"):
        apply_strategic_patch(_TWO, _spec(containers=[{"image": "x"}]), PODS.shape)


def test_a_map_that_is_one_value_for_applies_still_merges_strategically() -> None:
    assert apply_strategic_patch(_TWO, _spec(nodeSelector={"c": "d"}), PODS.shape)["spec"][
        "nodeSelector"
    ] == {
        "a": "b",
        "c": "d",
    }
