"""Which refusals are final, and what they complain of."""

from __future__ import annotations

import pytest

from kaitoctl.errors import ApiError
from kaitoctl.kube.final_refusals import complaints, is_final, is_impossible, is_unreadable
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


# --- what validation says --------------------------------------------------------------------------------


def invalid(kind: str, *causes: tuple[str, str, str], message: str = "") -> ApiError:
    """What an API server answers to an object that is not valid."""
    told = [{"reason": reason, "field": field, "message": words} for reason, field, words in causes]
    words = message or f'{kind}.apps "odd" is invalid: {causes[0][1]}: {causes[0][2]}'
    details: dict[str, object] = {"name": "odd", "group": "apps", "kind": kind, "causes": told}
    return ApiError(422, "Invalid", words, details=details)


POD = "spec.template.spec"
NEVER = (
    "FieldValueNotSupported",
    f"{POD}.restartPolicy",
    'Unsupported value: "Never": supported values: "Always"',
)
IMPOSSIBLE = [
    ("Deployment", NEVER),
    ("StatefulSet", NEVER),
    ("Job", ("FieldValueRequired", f"{POD}.restartPolicy", "Required value: valid values: OnFailure, Never")),
    ("Deployment", ("FieldValueDuplicate", f"{POD}.containers[1].name", 'Duplicate value: "x"')),
    ("Deployment", ("FieldValueRequired", f"{POD}.containers[0].image", "Required value")),
    ("Deployment", ("FieldValueNotFound", f"{POD}.containers[0].volumeMounts[0].name", 'Not found: "w"')),
    ("Deployment", ("FieldValueTooLong", f"{POD}.hostname", "Too long: may not be more than 63 bytes")),
    (
        "Deployment",
        (
            "FieldValueInvalid",
            f"{POD}.containers[0].resources.requests",
            'Invalid value: "2": must be less than or equal to cpu limit of 1',
        ),
    ),
    (
        "Deployment",
        (
            "FieldValueForbidden",
            f"{POD}.activeDeadlineSeconds",
            "Forbidden: activeDeadlineSeconds in ReplicaSet is not Supported",
        ),
    ),
]


@pytest.mark.parametrize(("kind", "cause"), IMPOSSIBLE)
def test_a_workload_that_is_not_valid_is_never_accepted(kind: str, cause: tuple[str, str, str]) -> None:
    error = invalid(kind, cause)
    assert is_final(error)
    assert is_impossible(error)
    assert refusal_words(error) == f"{cause[1].replace('spec.', 'inference.', 1)}: {cause[2]}"


@pytest.mark.parametrize(
    "error",
    [
        invalid(
            "Service", ("FieldValueInvalid", "spec.ports[0].nodePort", "provided port is already allocated")
        ),
        invalid("Service", ("FieldValueInvalid", "spec.clusterIPs", "failed to allocate IP: range is full")),
        invalid(
            "Deployment", ("FieldValueInvalid", "spec.selector", "Invalid value: {}: field is immutable")
        ),
        invalid(
            "StatefulSet",
            (
                "FieldValueForbidden",
                "spec",
                "Forbidden: updates to statefulset spec for fields other than ...",
            ),
        ),
        invalid(
            "Deployment",
            (
                "FieldValueForbidden",
                f"{POD}.containers[0].securityContext.privileged",
                "Forbidden: disallowed by cluster policy",
            ),
        ),
        invalid("Deployment", NEVER, ("", "", "no latest tags")),
        invalid(
            "Deployment", ("FieldValueInvalid", "metadata.name", "Invalid value: must be no more than 63")
        ),
        invalid(
            "Deployment", ("FieldValueInvalid", "spec.template.labels", "Invalid value: must be no more")
        ),
        invalid("Deployment", NEVER, message='admission webhook "x" denied the request: restartPolicy'),
        ApiError(
            422,
            "Invalid",
            "ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no",
            details={"kind": "Deployment", "causes": [{"message": "no"}]},
        ),
        ApiError(422, "Invalid", "no details at all"),
    ],
)
def test_what_another_object_or_a_policy_has_decided_is_tried_again(error: ApiError) -> None:
    assert not is_impossible(error)
