"""An AdmissionReview in, its answer out: what `validate` finds, as the API server is answered. Pure.

Source: Kubernetes v1.37, k8s.io/api/admission/v1 (AdmissionReview), and
https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#response
"""

from __future__ import annotations

from typing import Any

from kaitoctl.kaito import validation
from kaitoctl.kaito.validation import Problem, Setting
from kaitoctl.kube.objects import Object, dig, is_being_deleted

_MOST = 20
_PARTS = ("resource", "inference", "tuning")
# Warnings of more than this are cut by the API server, and all of one answer beyond 4,096 characters.
_LONGEST_WARNING = 250


class NotAReviewError(ValueError):
    """The body is no AdmissionReview of admission.k8s.io/v1."""


def answer(body: Any, setting: Setting) -> Object:
    """The AdmissionReview that answers one.

    Errors refuse, warnings are passed on; what the controller or the garbage collector writes of a Workspace
    that is there already (status, finalizers, labels) is never refused, whatever stands in it.

    Args:
        body: what the API server has sent.
        setting: where the Workspaces are to live.

    Raises:
        NotAReviewError: it is something else.
    """
    request = body.get("request") if isinstance(body, dict) else None
    if not isinstance(request, dict) or not isinstance(request.get("uid"), str):
        raise NotAReviewError("an AdmissionReview with a request and its uid is expected")
    response: Object = {"uid": request["uid"], "allowed": True}
    problems = _problems(request, setting)
    errors = [one for one in problems if one.severity == "error"]
    if warnings := [_words(one)[:_LONGEST_WARNING] for one in problems if one.severity == "warning"]:
        response["warnings"] = warnings[:_MOST]
    if errors:
        more = f"; and {len(errors) - _MOST} more" if len(errors) > _MOST else ""
        message = "; ".join(map(_words, errors[:_MOST])) + more
        response |= {"allowed": False, "status": {"code": 422, "reason": "Invalid", "message": message}}
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}


def _problems(request: Object, setting: Setting) -> list[Problem]:
    new, old = request.get("object"), request.get("oldObject")
    if request.get("operation") not in ("CREATE", "UPDATE") or request.get("subResource"):
        return []
    if not isinstance(new, dict) or is_being_deleted(new):
        return []
    before = old if request["operation"] == "UPDATE" and isinstance(old, dict) else None
    if before is not None and _written_by_people(before) == _written_by_people(new):
        return []
    # The server has written all of metadata and status, and judged it.
    judged = {key: value for key, value in new.items() if key != "status"}
    return validation.judge(judged, setting, old=before)


def _written_by_people(workspace: Object) -> Object:
    """The parts that rules are about: of annotations those of KAITO's prefix, by which people steer it."""
    annotations = dig(workspace, "metadata", "annotations") or {}
    steering = {key: value for key, value in annotations.items() if key.startswith("kaito.sh/")}
    return {**{part: workspace.get(part) for part in _PARTS}, "annotations": steering}


def _words(problem: Problem) -> str:
    return f"{problem.code} {problem.in_full}"
