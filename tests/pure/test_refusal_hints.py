"""Refusals are told apart by who refused and why; only missing rights get a hint about rights."""

from __future__ import annotations

import pytest

from kaitoctl.advice import text
from kaitoctl.errors import ApiError
from kaitoctl.kube.refusal_hints import KINDS, hint_of, refusal_kind

WORKSPACE = 'workspaces.kaito.sh "x"'

# (status, reason, message, causes) as the API server, its plugins and what stands before it write them.
CASES: dict[str, list[tuple[int, str, str, list[dict[str, str]]]]] = {
    "anonymous": [
        (
            403,
            "Forbidden",
            'workspaces.kaito.sh is forbidden: User "system:anonymous" cannot list resource "workspaces" in '
            'API group "kaito.sh" in the namespace "default"',
            [],
        ),
        (403, "Forbidden", 'forbidden: User "system:anonymous" cannot get path "/apis"', []),
    ],
    "rights": [
        (
            403,
            "Forbidden",
            f'{WORKSPACE} is forbidden: User "u" cannot patch resource "workspaces" in API group "kaito.sh" '
            'in the namespace "ai"',
            [],
        ),
        (403, "Forbidden", 'users "a" is forbidden: User "u" cannot impersonate resource "users"', []),
    ],
    "quota": [
        (
            403,
            "Forbidden",
            f"{WORKSPACE} is forbidden: exceeded quota: objs, requested: count=1, used: 5",
            [],
        ),
        (403, "Forbidden", 'pods "p" is forbidden: failed quota: q: must specify limits.cpu for: x', []),
        (403, "Forbidden", 'pods "p" is forbidden: status unknown for quota: q, resources: cpu', []),
        (403, "Forbidden", 'pods "p" is forbidden: insufficient quota to match these scopes: [x]', []),
    ],
    "limit-range": [
        (
            403,
            "Forbidden",
            'pods "p" is forbidden: maximum cpu usage per Container is 2, but limit is 4',
            [],
        ),
        (
            403,
            "Forbidden",
            'pods "p" is forbidden: [minimum memory usage per Pod is 1Gi.  No request is specified]',
            [],
        ),
        (403, "Forbidden", 'pods "p" is forbidden: cpu max limit to request ratio per Pod is 2, but', []),
    ],
    "pod-security": [
        (403, "Forbidden", 'pods "p" is forbidden: violates PodSecurity "restricted:latest": ...', [])
    ],
    "namespace-terminating": [
        (
            403,
            "Forbidden",
            f"{WORKSPACE} is forbidden: unable to create new content in namespace ai because it is being "
            "terminated",
            [],
        ),
        (403, "Forbidden", "in other words", [{"reason": "NamespaceTerminating"}]),
    ],
    "namespace-missing": [(404, "NotFound", 'namespaces "ai" not found', [])],
    "webhook": [
        (400, "BadRequest", 'admission webhook "w.kaito.sh" denied the request: User "u" cannot be', []),
        (403, "Forbidden", 'admission webhook "w.io" denied the request: exceeded quota of the team', []),
        (401, "Unauthorized", 'admission webhook "w.io" denied the request without explanation', []),
    ],
    "webhook-unreachable": [
        (500, "InternalError", 'Internal error occurred: failed calling webhook "w.io": EOF', []),
        (500, "InternalError", 'Internal error occurred: failed calling webhook "w.io": failed to call', []),
    ],
    "policy": [
        (
            422,
            "Invalid",
            f"{WORKSPACE} is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no",
            [],
        ),
        (403, "Forbidden", "ValidatingAdmissionPolicy 'p' denied request: failed expression", []),
        (422, "Invalid", f"{WORKSPACE} is invalid: policy 'p' with binding 'b' denied request: no", []),
    ],
    "field-owner": [
        (409, "Conflict", 'Apply failed with 1 conflict: conflict with "helm": .inference.adapters', []),
        (409, "Conflict", "whatever", [{"reason": "FieldManagerConflict", "field": ".a"}]),
    ],
    "stale": [
        (
            409,
            "Conflict",
            "uid mismatch: the provided object specified uid u, and no existing object",
            [],
        ),
        (422, "Invalid", f'{WORKSPACE} is invalid: metadata.uid: Invalid value: "u": field is immutable', []),
        (
            409,
            "Conflict",
            f"Operation cannot be fulfilled on {WORKSPACE}: the object has been modified; please apply your "
            "changes to the latest version and try again",
            [],
        ),
        (
            409,
            "Conflict",
            f"Operation cannot be fulfilled on {WORKSPACE}: StorageError: invalid object, Code: 4, Key: /x, "
            "Precondition failed: UID in precondition: a, UID in object meta: b",
            [],
        ),
    ],
    "being-deleted": [(409, "AlreadyExists", f"object is being deleted: {WORKSPACE} already exists", [])],
    "exists": [(409, "AlreadyExists", f"{WORKSPACE} already exists", [])],
    "credentials": [(401, "Unauthorized", "Unauthorized", [])],
    "owner-rights": [
        (403, "Forbidden", "x is forbidden: cannot set blockOwnerDeletion if an ownerReference refers to", [])
    ],
    "service-account-missing": [
        (403, "Forbidden", 'pods "p" is forbidden: error looking up service account ai/s: not found', [])
    ],
    "priority-class-missing": [
        (403, "Forbidden", 'pods "p" is forbidden: no PriorityClass with name high was found', [])
    ],
    "too-large": [
        (413, "RequestEntityTooLarge", "Request entity too large: limit is 3145728", []),
        (500, "", "etcdserver: request is too large", []),
    ],
    "untyped": [
        (500, "", "failed to create typed patch object (ai/x; kaito.sh/v1alpha1, Kind=Workspace): .a", [])
    ],
    "unknown-field": [(400, "BadRequest", 'strict decoding error: unknown field "resource.coutn"', [])],
    "invalid": [(422, "Invalid", f"{WORKSPACE} is invalid: resource.count: Invalid value: 0", [])],
    "apply-unknown": [(415, "UnsupportedMediaType", "the body of the request was in an unknown format", [])],
    "not-allowed": [(405, "MethodNotAllowed", "the server does not allow this method", [])],
    "busy": [(429, "TooManyRequests", "Too many requests, please try again later.", [])],
    "unwell": [
        (503, "ServiceUnavailable", "apiserver not ready", []),
        (504, "Timeout", "Timeout: request did not complete within requested timeout", []),
        (500, "", "etcdserver: leader changed", []),
        (502, "", "HTTP 502", []),
    ],
    "not-the-server": [(403, "Forbidden", "<html><body>Access denied</body></html> (/apis)", [])],
}


@pytest.mark.parametrize("kind", CASES)
def test_a_refusal_is_of_the_kind_of_who_refused(kind: str) -> None:
    for status, reason, message, causes in CASES[kind]:
        error = ApiError(status, reason, message, details={"causes": causes})
        assert refusal_kind(error) == kind, message
        if kind != "owner-rights":
            assert "right" not in hint_of(error)
        assert "force" not in hint_of(error) or kind == "field-owner"


def test_every_kind_has_the_words_of_a_server() -> None:
    assert set(CASES) == set(KINDS)


def test_a_hint_names_the_namespace() -> None:
    gone = ApiError(404, "NotFound", 'namespaces "ai" not found')
    assert text(hint_of(gone)) == "create it first: kubectl create namespace ai"
    full = ApiError(403, "Forbidden", "x is forbidden: exceeded quota: objs")
    assert "resourcequota -n models" in hint_of(full, "models")
