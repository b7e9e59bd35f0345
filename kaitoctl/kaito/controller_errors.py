"""What KAITO's controller says of its own errors, in conditions: which pass by themselves. Pure.

Two habits of its releases, both in `pkg/workspace/controllers/workspace_controller.go`:

- up to v0.8 any error of a pass becomes condition WorkspaceSucceeded False, reason `workspaceFailed`, and
  the next pass is tried at once: also its own lost updates, and its patience with a node that is not ready;
- from v0.9 on the error of the last pass stands at the end of every condition's message:
  `... (last reconcile error: ERROR)`.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from kaitoctl.kaito import api
from kaitoctl.kaito.workspace_conditions import FAILED
from kaitoctl.kube import conditions
from kaitoctl.kube.objects import Object, dig

UNMEASURED = "BenchmarkFailed"
"""The reason by which KAITO v0.12 does not call a model ready that serves: its benchmark has failed."""

_APPENDED = "(last reconcile error: "

# What the next try may find otherwise, with who says so.
_PASSING = re.compile(
    "|".join(
        (
            # k8s.io/apimachinery v0.37 pkg/api/errors: NewConflict, NewServerTimeout, NewTimeoutError,
            # NewTooManyRequests, NewGenericServerResponse, StorageError of a deleted object
            r"the object has been modified",
            r"operation cannot be fulfilled",
            r"precondition failed",
            r"could not be completed at this time, please try again",
            r"request did not complete within",
            r"too many requests",
            r"currently unable to handle the request",
            r"unable to return a response in the time allotted",
            # a cache behind its own writes (controller-runtime)
            r"already exists",
            r"the cache is not started",
            # Go's net, net/http, context; golang.org/x/time/rate by client-go
            r"timed? ?out",
            r"deadline exceeded",
            r"context canceled",
            r"connection (refused|reset)",
            r"client connection lost",
            r"no route to host",
            r"broken pipe",
            r"\bEOF$",
            r"rate limiter",
            # etcd
            r"etcdserver: ",
            r"leader changed",
            # k8s.io/kube-aggregator pkg/apiserver/resolvers.go, of webhooks: their pod may be about to start
            r"no endpoints available for service",
            # KAITO v0.3.2 to v0.12: it waits for these, by failing
            r"(is|are) not ready",
            r"not ready yet",
            r"not yet ready",
            r"no worker nodes found in the workspace",
            r"no node has been found with nodename",
            r"\b(nodes|nodeclaims\.karpenter\.sh|machines\.karpenter\.sh|deployments\.apps|statefulsets\.apps)"
            r' "[^"]*" not found',
        )
    ),
    re.IGNORECASE,
)

# What stays until somebody changes something.
_FINAL = re.compile(
    "|".join(
        (
            # k8s.io/apimachinery v0.37 pkg/api/errors: NewInvalid, NewForbidden; admission plugins, webhooks
            r"\bis invalid\b",
            r"\bis forbidden\b",
            r"denied the request",
            r"exceeded quota",
            r"no matches for kind",
            # etcd api/v3rpc/rpctypes
            r"request is too large",
            r"database space exceeded",
            # KAITO v0.12 pkg/workspace, pkg/sku, pkg/nodeprovision, api/v1beta1
            r"unsupported (sku|inference preset|tuning preset|instance ?type)",
            r"is not (supported|registered)",
            r"must be ",
            r"is required",
            r"cannot be (empty|changed)",
            r"all requested instance types were unavailable",
        )
    ),
    re.IGNORECASE,
)

_LIMIT = re.compile(r"[?&]timeout=\w+")  # of an address: nothing has timed out

Prospect = Literal["passing", "final", "unknown"]


class SplitMessage(NamedTuple):
    """A condition's message in its parts.

    Args:
        message: what the condition says.
        error: of the controller's last pass; empty when it says none.
    """

    message: str
    error: str


def split(message: str) -> SplitMessage:
    """The message without the error that KAITO appends to it, and that error."""
    said, is_appended, error = message.partition(_APPENDED)
    return (
        SplitMessage(said.rstrip(), error.rstrip().removesuffix(")").strip())
        if is_appended
        else SplitMessage(message, "")
    )


def prospect(error: str) -> Prospect:
    """Whether an error passes by itself, stays until somebody changes something, or nobody knows."""
    # A refusal may quote what it refuses: `... is invalid: ... must be ready`. A lost update never does.
    if re.search(r"the object has been modified|operation cannot be fulfilled", error, re.IGNORECASE):
        return "passing"
    if _FINAL.search(error):
        return "final"
    error = _LIMIT.sub("", error)
    return "passing" if _PASSING.search(error) else "unknown"


def standing(message: str) -> str:
    """The error at the end of a condition's message, unless it passes by itself; empty without."""
    error = split(message).error
    return error if prospect(error) != "passing" else ""


def last_error(workspace: Object) -> str:
    """The error of KAITO's last pass over this generation, as its conditions tell it; empty without."""
    for item in dig(workspace, "status", "conditions") or ():
        is_of_now = conditions.is_of_now(item, workspace)
        if is_of_now and (error := split(str(item.get("message") or "")).error):
            return error
    return ""


def is_given_up(workspace: Object, *, is_ours: bool) -> bool:
    """Whether the controller makes nothing of this generation, whatever the pods from before do.

    Args:
        workspace: the Workspace.
        is_ours: as in `failure`.
    """
    reason = conditions.current(workspace, api.WORKSPACE_SUCCEEDED).get("reason")
    return reason != UNMEASURED and bool(failure(workspace, is_ours=is_ours))


def failure(workspace: Object, *, is_ours: bool) -> str:
    """Why the controller has given this generation up; empty when it has not.

    Args:
        workspace: the Workspace.
        is_ours: kaitoctl's controller manages it, which says `workspaceFailed` only when waiting is in vain.
    """
    succeeded = conditions.current(workspace, api.WORKSPACE_SUCCEEDED)
    if succeeded.get("status") != "False":
        return ""
    message = str(succeeded.get("message") or "")
    if succeeded.get("reason") == FAILED:
        is_passing = not is_ours and prospect(split(message).error or message) == "passing"
        return "" if is_passing else message or "the controller gave up"
    if succeeded.get("reason") == UNMEASURED and prospect(split(message).message) != "passing":
        return f"the model serves, and KAITO could not measure it: {split(message).message}"
    error = last_error(workspace)
    return f"the controller cannot continue: {error}" if prospect(error) == "final" else ""
