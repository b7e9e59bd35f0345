from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaitoctl.kube import objects
from kaitoctl.kube.objects import DEPLOYMENT, NODE, POD, quantity


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("50Gi", 50 * 2**30),
        ("500m", Decimal("0.5")),
        ("1E", 10**18),
        ("1E3", 1000),
        ("12e6", 12_000_000),
        ("1", 1),
        ("0.5", Decimal("0.5")),
        ("2k", 2000),
    ],
)
def test_quantities_are_exact_numbers(text: str, number: Decimal) -> None:
    assert quantity(text) == number


@pytest.mark.parametrize(
    "text", ["", "Gi", "1x", "1..2", "abc", "NaN", "Infinity", "1 ", "1\n", "\uff11", "1e99999999"]
)
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a Kubernetes quantity"):
        quantity(text)


@given(st.integers(min_value=0, max_value=10**12), st.sampled_from(["", "k", "M", "Ki", "Mi", "Gi", "m"]))
def test_quantities_scale_with_their_suffix(number: int, suffix: str) -> None:
    assert quantity(f"{number}{suffix}") == number * quantity(f"1{suffix}")


def test_paths_name_collections_objects_and_subresources() -> None:
    assert POD.path() == "/api/v1/pods"
    assert POD.path("a", "b", "status") == "/api/v1/namespaces/a/pods/b/status"
    assert DEPLOYMENT.path("a") == "/apis/apps/v1/namespaces/a/deployments"
    assert NODE.path("ignored", "n/x") == "/api/v1/nodes/n%2Fx"


def test_a_child_belongs_to_the_incarnation_that_its_reference_names() -> None:
    owner = {"apiVersion": "v1", "kind": "X", "metadata": {"name": "a", "uid": "1"}}
    child = {"metadata": {"ownerReferences": [objects.owner_reference(owner)]}}
    assert objects.is_controlled_by(child, owner)
    assert not objects.is_controlled_by(child, {**owner, "metadata": {"name": "a", "uid": "2"}})


@pytest.mark.parametrize(
    ("expression", "fits"),
    [
        ({"key": "a", "operator": "In", "values": ["1", "2"]}, True),
        ({"key": "a", "operator": "NotIn", "values": ["1"]}, False),
        ({"key": "b", "operator": "NotIn", "values": ["1"]}, True),
        ({"key": "a", "operator": "Exists"}, True),
        ({"key": "b", "operator": "DoesNotExist"}, True),
        ({"key": "a", "operator": "Gt", "values": ["0"]}, True),
        ({"key": "a", "operator": "Lt", "values": ["1"]}, False),
        ({"key": "a", "operator": "Gt", "values": []}, False),
    ],
)
def test_selector_expressions(expression: objects.Object, fits: bool) -> None:
    assert objects.matches_expression(expression, {"a": "1"}) is fits


def test_an_empty_selector_matches_all_and_none_matches_nothing() -> None:
    assert objects.matches_selector({}, {"a": "1"})
    assert not objects.matches_selector(None, {"a": "1"})
    with pytest.raises(ValueError, match="unknown selector operator"):
        objects.matches_selector({"matchExpressions": [{"key": "a", "operator": "Like"}]}, {})
