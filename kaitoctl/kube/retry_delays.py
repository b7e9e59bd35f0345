"""Which failure of a request may pass, and how long a command waits for that. Pure.

A controller tries again by itself, for ever; a command that somebody waits for does so here, for a few
seconds. Asked to wait (`Retry-After`), both do.

Source: client-go v0.37 `rest/with_retry.go` (429 and 5xx with Retry-After; a GET whose connection was lost),
apimachinery `pkg/util/net` (IsProbableEOF, IsConnectionReset); etcd v3.6 `api/v3rpc/rpctypes/error.go`.
"""

from __future__ import annotations

from kaitoctl.errors import ApiError, KaitoctlError, Unreachable
from kaitoctl.kube.request import APPLY_PATCH, MERGE_PATCH, Request

PATIENCE_S = 8.0
"""How long after the first failure a command tries again."""

LONGEST_ASKED_WAIT_S = 30.0
_FIRST_WAIT_S = 0.25
_LONGEST_WAIT_S = 2.0
# What stands between us and the API server says these while that is being replaced.
_GATEWAYS = frozenset({502, 503, 504})
# The store changes its leader or is overloaded for a moment; whether it has written is not known.
# Many write the object, and the server has given up reading it again; a write that names no version may be
# sent again as it is. (A conflict of field managers has other words.)
_MODIFIED = "the object has been modified"
_ETCD = (
    "etcdserver: leader changed",
    "etcdserver: no leader",
    "etcdserver: request timed out",
    "etcdserver: too many requests",
    "etcdserver: server stopped",
)


def is_repeatable(request: Request) -> bool:
    """Whether carrying it out twice is the same as once, and gives the same answer.

    A create, a JSON patch, and whatever names the version that it changes, may have been done by a request
    that was never answered: the second one would then be refused.
    """
    if not request.is_write:
        return True
    is_patch = request.method == "PATCH" and request.content_type in (APPLY_PATCH, MERGE_PATCH)
    return is_patch and not _names_version(request)


def _names_version(request: Request) -> bool:
    """Whether it is about one version of an object, and is refused for every other."""
    body = request.body if isinstance(request.body, dict) else {}
    return bool((body.get("metadata") or {}).get("resourceVersion"))


def wait_s(request: Request, error: KaitoctlError, attempt: int) -> float | None:
    """Seconds until the next try of a command's request; None when there is none.

    Args:
        request: what was asked.
        error: how it ended.
        attempt: how often it has been tried, from 1.
    """
    growing_s: float = min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2.0 ** (attempt - 1))
    if isinstance(error, ApiError):
        # The server says that it has not carried it out.
        if error.retry_after_s is not None:
            return max(error.retry_after_s, growing_s)
        says_etcd = error.status >= 500 and any(words in error.message for words in _ETCD)
        is_stale = error.status == 409 and _MODIFIED in error.message and not _names_version(request)
        may_pass = says_etcd or is_stale or (error.status in _GATEWAYS and not request.is_write)
    else:
        may_pass = isinstance(error, Unreachable) and error.is_broken
    return growing_s if may_pass and is_repeatable(request) else None
