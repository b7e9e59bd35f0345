"""What went wrong with a request, in words: an error Status, a page of a proxy, no answer at all. Pure.

The server's own words come first; what is added is the number of its status where they lack it, and a hint.
"""

from __future__ import annotations

import json
import math
import re
import ssl
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from kaitoctl.advice import Advice, Command
from kaitoctl.errors import ApiError, Unreachable
from kaitoctl.kube import http, tls, tls_faults
from kaitoctl.kube.connecting import ProxyFault
from kaitoctl.kube.objects import Object

_LONGEST = 200
_TITLES = ("title", "h1", "h2", "body")
_REASONS = {401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 503: "ServiceUnavailable"}
# What is likely wrong, where neither rights nor the request are.
_READY = Command("kubectl get --raw /readyz?verbose")
_HINTS: dict[int, Advice] = {
    302: "a proxy or gateway answers, not the API server: is the kubeconfig's server address right?",
    401: "the kubeconfig's credentials are not accepted: log in again, or choose another --context",
    407: "a proxy requires a user and a password: HTTPS_PROXY or the kubeconfig's proxy-url names it",
    500: "the API server has failed; its log says why",
    502: "what stands before the API server cannot reach it; try again",
    503: "the API server is not ready, or too busy: " + _READY,
    504: "the API server takes too long: " + _READY,
}
_HINTS |= dict.fromkeys((301, 303, 307, 308), _HINTS[302])


def refusal(status: int, headers: Mapping[str, str], body: str, path: str) -> ApiError:
    """The error for an answer with an error status.

    Args:
        status: of HTTP.
        headers: of the answer, by lower-case names.
        body: of the answer, without secrets.
        path: that was asked for.
    """
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        answer = {}
    if not isinstance(answer, dict) or answer.get("kind") != "Status":
        message = f"{_words(body, status) or f'HTTP {status}'} ({path})"
        answer = {"message": message, "reason": _REASONS.get(status, "")}
    error = status_error(status, answer, headers.get("retry-after"))
    if "/proxy" in path and status >= 500:
        error.hint = ""  # what is behind the API server is in trouble, not itself
    return error


def status_error(status: int, answer: Object, retry_after: str | None = None) -> ApiError:
    """The error for a Status, whether it is a whole answer or an event of a watch."""
    details = answer.get("details")
    details = details if isinstance(details, dict) else {}
    asked = retry_after or details.get("retryAfterSeconds")
    try:
        retry_after_s = max(0.0, float(asked)) if asked else None
    except (ValueError, TypeError):
        retry_after_s = _until(str(asked))
    if retry_after_s is not None and not math.isfinite(retry_after_s):
        retry_after_s = 1.0
    message = str(answer.get("message") or f"HTTP {status}")
    is_about_the_request = 400 <= status < 500 and status != 407
    if not is_about_the_request and str(status) not in message:
        message += f" (HTTP {status})"
    return ApiError(
        status,
        str(answer.get("reason") or ""),
        message,
        details=details,
        retry_after_s=retry_after_s if status == 429 or status >= 500 else None,
        hint=_HINTS.get(status, ""),
    )


def _words(body: str, status: int = 0) -> str:
    """What a body says; of a page, its title or heading."""
    if not re.match(r"\s*<(?:!doctype|html|head|\?xml)", body, re.IGNORECASE):
        return body.strip()[:_LONGEST]
    title = next(
        filter(None, (re.search(rf"<{tag}\b[^>]*>\s*([^<]{{1,200}})", body, re.I) for tag in _TITLES)), None
    )
    said = title[1].strip() if title else f"HTTP {status}" if status else "without a title"
    return f"a page, not an API server's answer: {said}"


def _until(date: str) -> float:
    """Seconds until an HTTP date; one for what is none."""
    from email.utils import parsedate_to_datetime

    try:
        when = parsedate_to_datetime(date)
        return max(0.0, (when - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return 1.0


def unreachable(host: str, error: OSError, shown: Callable[[str], str]) -> Unreachable:
    """The error for no answer, or half of one.

    Args:
        host: whom we asked.
        error: what became of the connection.
        shown: takes secrets out of a text.
    """
    cause, is_broken = shown(tls.cause(error)), False
    hint: Advice
    if isinstance(error, ProxyFault):
        hint, is_broken = error.hint, error.passes
    elif isinstance(error, TimeoutError):
        hint = "is the cluster up, and reachable from this network?"
    elif isinstance(error, http.TooLarge):
        hint = "is the kubeconfig's server address that of a Kubernetes API server?"
    elif isinstance(error, ssl.SSLError) or not str(error):  # nothing: as in `tls.cause`
        hint = tls_faults.hint_of(error)
    elif isinstance(error, http.Broken):
        hint, is_broken = "the connection broke; try again", True
    else:
        hint = "is the cluster up? " + Command("kubectl cluster-info") + " asks the same server"
    return Unreachable(
        f"cannot reach the API server {host}: {cause}", cause=cause, is_broken=is_broken, hint=hint
    )


def no_json(body: str) -> Unreachable:
    """The error for an answer that ought to be JSON; `body` is its beginning, without secrets."""
    shown = _words(body)
    return Unreachable(
        "the server answered something that is not JSON: "
        + (shown if shown.startswith("a page") else repr(shown[:80])),
        hint="is the kubeconfig's server address that of a Kubernetes API server?",
    )
