"""Which refusals are final, and what they complain of."""

from __future__ import annotations

import pytest

from kaitoctl.errors import ApiError
from kaitoctl.kube.final_refusals import complaints, is_final, is_unreadable
from kaitoctl.workspace_controller.decisions import refusal_words

TWICE = 'duplicate entries for key [name="A"]'
OMITS = 'element 0: associative list with keys has an element that omits key field "containerPort"'
TYPED = "failed to create typed patch object (default/odd; apps/v1, Kind=Deployment): "
SPEC = '.spec.template.spec.containers[name="x"]'


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (
            f"{SPEC}.image: expected string, got &value.valueUnstructured{{Value:7}}",
            ".image: expected string, got 7",
        ),
        (f"{SPEC}.image: expected string, got &{{7}}", ".image: expected string, got 7"),
        (f"{SPEC}.surprise: field not declared in schema", ".surprise: field not declared in schema"),
        (
            f"errors:\n  {SPEC}.env: {TWICE}\n  {SPEC}.image: expected string, got &{{7}}",
            '.env: duplicate entries for key [name="A"]',
        ),
        (
            f"{SPEC}.ports: {OMITS}",
            ".ports: element 0: associative list with keys",
        ),
    ],
)
def test_the_field_is_named_as_in_the_workspace(said: str, words: str) -> None:
    for status in (500, 400):
        error = ApiError(status, "InternalError", TYPED + said)
        assert is_unreadable(error)
        assert is_final(error)
        assert f'inference.template.spec.containers[name="x"]{words}' in refusal_words(error)
        assert "&" not in refusal_words(error)


def test_each_field_is_named() -> None:
    said = f"{TYPED}errors:\n  {SPEC}.env: {TWICE}\n  .spec.replicas: expected numeric"
    paths = [one.path for one in complaints(ApiError(500, "InternalError", said))]
    assert paths == ['spec.template.spec.containers[name="x"].env', "spec.replicas"]


@pytest.mark.parametrize(
    ("status", "words", "final"),
    [
        (500, "etcdserver: leader changed", False),
        (500, 'failed calling webhook "x.example": connect: connection refused', False),
        (500, "failed to create typed live object: schema error", False),
        (500, "conversion webhook for kaito.sh/v1beta1, Kind=Workspace failed: cannot unmarshal", False),
        (503, "the server is currently unable to handle the request", False),
        (409, "the object has been modified", False),
        (403, "exceeded quota: pods", True),
        (422, "denied the request: ValidatingAdmissionPolicy 'p'", True),
    ],
)
def test_what_waiting_may_change_can_be_told_from_what_it_cannot(
    status: int, words: str, final: bool
) -> None:
    error = ApiError(status, "", words)
    assert is_final(error) is final
    assert not is_unreadable(error), "it is tried again: a quota may be raised"
    assert complaints(error) == []
