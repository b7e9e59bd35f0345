from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from kaitoctl.kube.managed_fields import (
    Fields,
    Path,
    applied_fields,
    both,
    extract,
    minus,
    path_text,
    paths,
    union,
)
from kaitoctl.kube.objects import Object

_PATHS = st.frozensets(
    st.lists(st.sampled_from(["f:a", "f:b", 'k:{"n":1}', 'v:"x"']), min_size=1, max_size=4).map(tuple)
)


def from_paths(members: Iterable[Path]) -> Fields:
    """The set of these paths; the inverse of `paths`."""
    ordered = sorted(set(members), key=len, reverse=True)  # children first: a later leaf is told by its "."
    tree: Fields = {}
    for path in ordered:
        node = tree
        for element in path:
            node = node.setdefault(element, {})
        if node:
            node["."] = {}
    return tree


def _set(fields: Fields) -> frozenset[Path]:
    return frozenset(paths(fields))


@given(_PATHS)
def test_a_set_of_paths_survives_being_written_down(members: frozenset[Path]) -> None:
    assert _set(from_paths(members)) == members


@given(_PATHS, _PATHS)
def test_the_algebra_of_trees_is_that_of_sets(left: frozenset[Path], right: frozenset[Path]) -> None:
    one, two = from_paths(left), from_paths(right)
    assert _set(union(one, two)) == left | right
    assert _set(minus(one, two)) == left - right
    assert _set(both(one, two)) == left & right
    assert (one, two) == (from_paths(left), from_paths(right))


@given(_PATHS, _PATHS)
def test_taking_nothing_away_returns_the_same_tree(left: frozenset[Path], right: frozenset[Path]) -> None:
    tree = from_paths(left)
    assert minus(tree, from_paths(right - left)) is tree


def test_a_path_is_worded_as_the_api_server_does() -> None:
    path = ("f:spec", "f:ports", 'k:{"containerPort":80,"protocol":"TCP"}', "f:name")
    assert path_text(path) == '.spec.ports[containerPort=80,protocol="TCP"].name'
    assert path_text(("f:finalizers", 'v:"x"')) == '.finalizers["x"]'
    assert path_text(("f:list", "i:0")) == ".list[0]"


def _owned(fields: Fields, manager: str = "me", operation: str = "Apply", subresource: str = "") -> Object:
    entry: Object = {"manager": manager, "operation": operation, "fieldsType": "FieldsV1", "fieldsV1": fields}
    return {**entry, "subresource": subresource} if subresource else entry


def _object(*entries: Object) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "p",
            "namespace": "n",
            "uid": "u",
            "labels": {"a": "1", "b": "2"},
            "managedFields": list(entries),
        },
        "spec": {
            "containers": [
                {"name": "x", "image": "x:1", "args": ["one", "two"]},
                {"name": "y", "image": "y:1"},
            ],
            "nodeSelector": {"pool": "gpu"},
        },
        "status": {"phase": "Running"},
    }


def test_extract_gives_what_a_manager_applied_and_nothing_else() -> None:
    fields = from_paths(
        [
            ("f:metadata", "f:labels", "f:a"),
            ("f:spec", "f:nodeSelector"),
            ("f:spec", "f:containers", 'k:{"name":"x"}'),
            ("f:spec", "f:containers", 'k:{"name":"x"}', "f:args"),
        ]
    )
    obj = _object(_owned(fields), _owned({"f:status": {}}, "kubelet", "Update", "status"))
    assert extract(obj, "me") == {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "namespace": "n", "labels": {"a": "1"}},
        "spec": {"nodeSelector": {"pool": "gpu"}, "containers": [{"name": "x", "args": ["one", "two"]}]},
    }


def test_extract_tells_operations_and_subresources_apart() -> None:
    obj = _object(
        _owned({"f:spec": {"f:nodeSelector": {}}}, operation="Update"),
        _owned({"f:status": {"f:phase": {}}}, subresource="status"),
    )
    nothing = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "n"}}
    assert extract(obj, "me") == nothing
    assert extract(obj, "me", subresource="status") == {**nothing, "status": {"phase": "Running"}}
    assert applied_fields(obj, "nobody") == {}


def test_extract_ignores_what_is_no_longer_there() -> None:
    fields = from_paths([("f:spec", "f:gone"), ("f:spec", "f:containers", 'k:{"name":"z"}', "f:image")])
    assert extract(_object(_owned(fields)), "me")["spec"] == {"containers": []}


def test_extract_finds_members_of_sets_and_positions() -> None:
    obj: Object = {"metadata": {"name": "o"}, "spec": {"set": ["a", "b"], "list": [{"x": 1}, {"x": 2}]}}
    fields = from_paths([("f:spec", "f:set", 'v:"b"'), ("f:spec", "f:list", "i:1", "f:x")])
    obj["metadata"]["managedFields"] = [_owned(fields)]
    assert extract(obj, "me")["spec"] == {"set": ["b"], "list": [{"x": 2}]}
