"""AdmissionReviews: errors refuse, and nothing that a controller writes is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import JSON

from kaitoctl.advice import text
from kaitoctl.kaito import validation
from kaitoctl.kaito.validation import OWN, Setting
from kaitoctl.kaito.validation.review import NotAReviewError, answer

GOOD: dict[str, Any] = {
    "apiVersion": "kaito.sh/v1alpha1",
    "kind": "Workspace",
    "metadata": {"name": "w", "namespace": "d", "uid": "u", "resourceVersion": "7", "generation": 2},
    "resource": {
        "count": 1,
        "instanceType": "Standard_NC12s_v3",
        "labelSelector": {"matchLabels": {"apps": "w"}},
    },
    "inference": {"preset": {"name": "falcon-7b"}},
    "status": {"conditions": [], "anything": [1]},
}


def changed(**parts: Any) -> dict[str, Any]:
    return {**GOOD, **parts}


def review(new: Any, old: Any = None, operation: str = "", **more: Any) -> dict[str, Any]:
    operation = operation or ("CREATE" if old is None else "UPDATE")
    request = {"uid": "r-1", "operation": operation, "object": new, "oldObject": old, **more}
    body = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}
    found = answer(body, Setting(OWN))
    assert (found["apiVersion"], found["kind"]) == ("admission.k8s.io/v1", "AdmissionReview")
    response: dict[str, Any] = found["response"]
    assert response["uid"] == "r-1"
    return response


WRONG = changed(inference={"preset": {"name": "falcon-7c"}})


def test_what_is_valid_is_written() -> None:
    assert review(GOOD) == {"uid": "r-1", "allowed": True}


def test_the_refusal_has_the_words_of_validate() -> None:
    judged = {key: value for key, value in WRONG.items() if key != "status"}
    problems = validation.judge(judged, Setting(OWN))
    (problem,) = [one for one in problems if one.severity == "error"]
    refusal = review(WRONG)
    assert not refusal["allowed"]
    assert refusal["status"]["code"] == 422
    for words in (problem.code, problem.text, text(problem.hint)[1:]):
        assert words in refusal["status"]["message"]


def test_warnings_come_back_and_refuse_nothing() -> None:
    found = review(changed(metadata={**GOOD["metadata"], "annotations": {"kaito.sh/enable-lb": "yes"}}))
    assert found["allowed"]
    assert found["warnings"]
    assert all(len(one) <= 250 and one.startswith("KW") for one in found["warnings"])


@pytest.mark.parametrize(
    ("new", "old", "more"),
    [
        (changed(**{**WRONG, "metadata": {**GOOD["metadata"], "finalizers": ["f"]}}), WRONG, {}),
        ({**WRONG, "status": {"state": "Ready"}}, WRONG, {}),
        ({**WRONG, "metadata": {**GOOD["metadata"], "labels": {"a": "b"}}}, WRONG, {}),
        (
            {**WRONG, "metadata": {**GOOD["metadata"], "annotations": {"workspace.kaito.io/hash": "x"}}},
            WRONG,
            {},
        ),
        ({**WRONG, "metadata": {**GOOD["metadata"], "deletionTimestamp": "2026-11-28T17:00:00Z"}}, GOOD, {}),
        (WRONG, GOOD, {"subResource": "status"}),
        (None, WRONG, {"operation": "DELETE"}),
        ({}, None, {"operation": "CONNECT"}),
    ],
)
def test_what_controllers_and_the_garbage_collector_write_is_never_refused(
    new: Any, old: Any, more: Any
) -> None:
    assert review(new, old, **more)["allowed"]


def test_a_change_is_judged_as_a_change() -> None:
    bigger = changed(resource={**GOOD["resource"], "instanceType": "Standard_NC24s_v3"})
    problems = [one for one in validation.judge(bigger, Setting(OWN), old=GOOD) if one.severity == "error"]
    assert review(bigger, GOOD)["allowed"] == (not problems)
    assert problems, "KAITO's instance type cannot be changed"
    # What was wrong before and stays is judged again when something else is edited, as validate does.
    edited = {**WRONG, "metadata": {**GOOD["metadata"], "annotations": {"kaito.sh/runtime": "transformers"}}}
    answers = [one.severity == "error" for one in validation.judge(edited, Setting(OWN), old=WRONG)]
    assert review(edited, WRONG)["allowed"] == (not any(answers))


@pytest.mark.parametrize("body", [None, [], {}, {"request": 3}, {"request": {}}, {"request": {"uid": 4}}])
def test_what_is_no_review_is_refused(body: Any) -> None:
    with pytest.raises(NotAReviewError):
        answer(body, Setting(OWN))


@given(new=JSON, old=JSON, operation=st.sampled_from(["CREATE", "UPDATE", "DELETE", "", "x"]))
def test_no_object_breaks_it(new: Any, old: Any, operation: str) -> None:
    body = {"request": {"uid": "u", "operation": operation, "object": new, "oldObject": old}}
    assert isinstance(answer(body, Setting(OWN))["response"]["allowed"], bool)
