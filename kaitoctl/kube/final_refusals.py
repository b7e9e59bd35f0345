"""Which refusals of an API server are final, and which fields it complains of. Pure.

`refusal_hints` tells the kinds of refusals apart; here is whether waiting can change them.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from kaitoctl.errors import ApiError
from kaitoctl.kube.objects import Object

# What may be settled by the next try: the server's own troubles, and races.
_TRANSIENT = frozenset({408, 409, 410, 429, 500, 502, 503, 504, 507})

# A server answers 500 where it cannot make anything of what it was sent: the same will never be accepted.
# Source: Kubernetes' field manager (`structuredmerge.go`, Apply), structured-merge-diff (`typed/`: the
# sentences), and the API server's decoding of patches. kubernetes/kubernetes#139255 proposes 400 in the same
# words. `tests/controlplane/test_competition.py` asks a real server.
_UNREADABLE = (
    "failed to create typed patch object",
    "failed to create typed new object",
    "failed to convert new object",
    "failed to merge config",
    "duplicate entries for key",
    "associative list with keys",
    "associative list without keys",
    "field not declared in schema",
    "strict decoding error",
    "error decoding patch",
    "cannot unmarshal",
    "unable to decode",
)
# A server that cannot read what it has stored, or not convert it for now, says nothing about what was sent.
_OF_THE_SERVER = ("failed to create typed live object", "failed to create manager", "conversion webhook")

# Source: structured-merge-diff, `typed/`: `.path: words`, and `errors:` before several.
_FIELD = re.compile(r"(\.[A-Za-z][^\n]*?): (expected |field not declared|duplicate entries|element \d+: )")
# Go prints what it found as a pointer to a wrapper of its own.
_GO_VALUE = re.compile(r"got &(?:value\.valueUnstructured)?\{(?:Value:)?([^{}]*)\}")


def is_unreadable(error: ApiError) -> bool:
    """Whether the server could not make sense of the object: a wrong type, a key twice, an unknown field."""
    if error.status not in (400, 415, 422, 500):
        return False
    words = error.message
    return any(text in words for text in _UNREADABLE) and not any(text in words for text in _OF_THE_SERVER)


# Whose validation looks at nothing but the object: at no other one, no policy, no setting that may change.
_WORKLOADS = ("Deployment", "StatefulSet", "Job")
_POD_TEMPLATE = (
    "spec.template.spec."  # of names and labels the controller judges itself, before nodes are bought
)
# What it says nevertheless for the sake of something else: of the object that is there already, or of
# the API server's flags. Source: Kubernetes v1.37.2 pkg/apis/core/validation, pkg/apis/apps/validation,
# pkg/apis/batch/validation.
_OF_SOMETHING_ELSE = re.compile(r"(?i)immutable|updates to|cluster policy|feature ?gate|is disabled|alloca")


def is_impossible(error: ApiError) -> bool:
    """Whether no server of its release would ever accept it: it is unreadable, or its workload invalid.

    A webhook and a policy answer 422, too, and may change their mind: their causes name no kind of fault.
    """
    return is_unreadable(error) or bool(_invalid_fields(error))


def _invalid_fields(error: ApiError) -> list[Object]:
    """The fields of a workload's pods that validation refuses; none when anything else is said, too.

    Source: k8s.io/apimachinery v0.37 `pkg/api/errors/errors.go` (NewInvalid), `pkg/util/validation/field`.
    """
    if error.status != 422 or error.details.get("kind") not in _WORKLOADS or "denied" in error.message:
        return []
    is_of_fields = all(
        str(item.get("reason")).startswith("FieldValue") and str(item.get("field")).startswith(_POD_TEMPLATE)
        for item in error.causes
    )
    is_of_it = not any(_OF_SOMETHING_ELSE.search(str(item.get("message"))) for item in error.causes)
    return error.causes if is_of_fields and is_of_it else []


def is_final(error: ApiError) -> bool:
    """Whether it stays refused until somebody changes something."""
    return error.status not in _TRANSIENT or is_unreadable(error)


class Complaint(NamedTuple):
    """What a server could not make sense of.

    Args:
        path: the field, as `spec.template.spec.containers[name="x"].image`.
        message: what is wrong with it.
    """

    path: str
    message: str


def complaints(error: ApiError) -> list[Complaint]:
    """The fields that the server names; none where it names none."""
    found = [Complaint(str(item["field"]), str(item.get("message"))) for item in _invalid_fields(error)]
    for line in _sentences(error.message):
        if match := _FIELD.search(line):
            message = _GO_VALUE.sub(r"got \1", line[match.start(2) :]).strip()
            found.append(Complaint(match.group(1).lstrip("."), message))
    return found


def _sentences(message: str) -> list[str]:
    # `failed to create typed patch object (ns/name; apps/v1, Kind=Deployment): errors:\n  .spec...`
    return [line for line in message.splitlines() if line.strip()]
