"""Why an API server refused, by kind, and what helps. Pure.

A refusal's HTTP status says little: quotas, admission policies and namespaces on their way out answer 403 as
missing rights do, and a lost race answers 409 as a field of somebody else's does. The Status's causes and the
words of whoever refused tell them apart.

Source: k8s.io/apimachinery `pkg/api/errors/errors.go`; k8s.io/apiserver
`pkg/endpoints/handlers/responsewriters/errors.go` (rights), `pkg/registry/generic/registry/store.go` (races),
and below `pkg/admission/plugin` `resourcequota/controller.go`, `namespace/lifecycle/admission.go`,
`webhook/errors/statuserror.go`, `policy/validating/dispatcher.go`, `policy/generic/policy_dispatcher.go`;
kubernetes `plugin/pkg/admission` (limitranger, serviceaccount, priority, gc) and pod-security-admission.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from msgspec import Struct

from kaitoctl.advice import Advice, Command, filled
from kaitoctl.errors import ApiError, KaitoctlError, Unreachable
from kaitoctl.kube import webhook_failures


class Refusal(Struct, frozen=True):
    """A way in which an API server refuses.

    Args:
        statuses: the HTTP status codes that come with it; empty for any.
        pattern: what its message holds, a regular expression.
        hint: what to do; empty when the message says it all. NAMESPACE stands for the namespace.
    """

    statuses: tuple[int, ...]
    pattern: str
    hint: Advice = ""


KINDS: Mapping[str, Refusal] = MappingProxyType(
    {
        # --- not the API server itself
        "not-the-server": Refusal(
            (),
            r"(?i)^\W*(<html|<!doctype|<\?xml)|^a page, not an API server's answer",
            "check the kubeconfig's server address, and the proxies before it",
        ),
        # A webhook or a policy chooses status and words: whatever it says, it is what refused.
        "webhook": Refusal(
            (),
            r"admission webhook \"[^\"]*\" (denied the request|attempted)",
            "an admission webhook of the cluster refuses it, for the reason it gives: change what is asked "
            "for, or ask who runs the webhook",
        ),
        "webhook-unreachable": Refusal(
            (500,),
            r"failed (calling|to call) webhook",
            "the server refuses every write that this webhook should judge",  # `webhook_failures` has more
        ),
        "policy": Refusal(
            (),
            r"[Pp]olicy ['\"][^'\"]*['\"] (with binding \S+ )?denied request",
            "an admission policy of the cluster refuses it, for the reason it gives: change what is asked "
            "for, or ask who keeps the policy",
        ),
        # --- who asks
        "credentials": Refusal((401,), ""),  # `failures` has the hint
        "anonymous": Refusal(
            (403,),
            r'\bUser "system:anonymous" cannot ',
            "the server took the request for nobody's: the kubeconfig has no credentials for it; log in, or "
            "choose another --context",
        ),
        "rights": Refusal((403,), r'\bUser "[^"]*" cannot '),
        "owner-rights": Refusal(
            (403,),
            r"cannot set (blockOwnerDeletion|an ownerRef)",
            "an owner reference takes the right to update or delete the owner, too",
        ),
        # --- what is asked, and where
        "namespace-terminating": Refusal(
            (403, 409),
            r"because it is being terminated",
            "the namespace is being deleted: use another one, or create it again once it is gone; "
            + Command("kubectl get namespace {namespace} -o yaml")
            + " says what holds it",
        ),
        "namespace-missing": Refusal(
            (404,),
            r'^namespaces? "[^"]*" not found',
            "create it first: " + Command("kubectl create namespace {namespace}"),
        ),
        "quota": Refusal(
            (403,),
            r"(exceeded|failed|unknown for|insufficient) quota|status unknown for quota",
            "a ResourceQuota of the namespace does not allow it: delete what is not needed, or ask for more; "
            + Command("kubectl describe resourcequota -n {namespace}")
            + " shows what is used",
        ),
        "limit-range": Refusal(
            (403,),
            r"(maximum|minimum|max limit to request ratio|limit to request ratio) .*per \S+ is ",
            "a LimitRange of the namespace bounds it: "
            + Command("kubectl describe limitrange -n {namespace}")
            + " shows how",
        ),
        "pod-security": Refusal(
            (403,),
            r"violates PodSecurity",
            "the namespace's pod security level refuses it: change the pod; "
            + Command("kubectl get namespace {namespace} --show-labels")
            + " shows the level",
        ),
        "service-account-missing": Refusal(
            (403,), r"error looking up service account", "create the ServiceAccount that it names"
        ),
        "priority-class-missing": Refusal(
            (403,),
            r"no PriorityClass with name",
            "name a PriorityClass that exists: " + Command("kubectl get priorityclasses"),
        ),
        # --- races
        "field-owner": Refusal(
            (409,),
            r"^Apply failed with \d+ conflict",
            "another field manager owns these fields: change them where it keeps them, or take them over "
            "with --force-conflicts; it may write them again",
        ),
        "stale": Refusal(
            (409, 422),  # a patch of what has been replaced would change its uid; one of nothing has no uid
            r"the object has been modified|StorageError: invalid object|Precondition failed|uid mismatch"
            r"|metadata\.uid: Invalid value: [^:]*: field is immutable",
            "conflict: somebody else wrote it at the same moment; try again",
        ),
        "being-deleted": Refusal(
            (409,), r"object is being deleted", "wait until the one of this name is gone, and try again"
        ),
        "exists": Refusal((409,), r"already exists"),
        # --- form
        "too-large": Refusal(
            (400, 413, 500), r"too large", "make it smaller: the server stores 1.5 MB at most"
        ),
        "untyped": Refusal(
            (500,),
            r"failed to create typed patch object|field not declared in schema",
            "the manifest does not fit the cluster's CRD: "
            + Command("kaitoctl validate -f FILE")
            + " says where",
        ),
        "unknown-field": Refusal(
            (400,),
            r"strict decoding error|unknown field",
            "the cluster's CRD has no such field in this version",
        ),
        "invalid": Refusal((422,), ""),
        "apply-unknown": Refusal(
            (415,), "", "the server does not know server-side apply: it is older than 1.22"
        ),
        "not-allowed": Refusal(
            (405,), "", "the server, or a proxy before it, takes no such request: is it read-only?"
        ),
        # --- a moment
        "busy": Refusal((429,), "", "the server is busy; try again in a while"),
        "unwell": Refusal((500, 502, 503, 504), ""),  # `failures` has a hint for each
    }
)
"""By name; the first that fits is it."""

_CAUSES = {"FieldManagerConflict": "field-owner", "NamespaceTerminating": "namespace-terminating"}


def refusal_kind(error: ApiError) -> str:
    """The name of a refusal's kind, a key of `KINDS`; empty for one that none of them describes."""
    for cause in error.causes:
        if name := _CAUSES.get(str(cause.get("reason"))):
            return name
    for name, kind in KINDS.items():
        fits = not kind.statuses or error.status in kind.statuses
        if fits and re.search(kind.pattern, error.message):
            return name
    return ""


def is_stale(error: ApiError) -> bool:
    """Whether the object has changed, or has gone, since the version that a request names was read."""
    return refusal_kind(error) == "stale"


def is_own_conflict(error: ApiError, manager: str) -> bool:
    """Whether an apply is refused for fields alone that the same manager owns by writes that were no applies.

    A server keeps the two apart: what `kaitoctl scale` has patched conflicts with what `kaitoctl apply` says.
    """
    causes = [str(one.get("message")) for one in error.causes if one.get("reason") == "FieldManagerConflict"]
    return bool(causes) and all(text.startswith(f'conflict with "{manager}" using ') for text in causes)


def may_pass(error: KaitoctlError) -> bool:
    """Whether a failure is one of the way to the server, or of the server's moment: who waits asks again."""
    if isinstance(error, ApiError):
        return refusal_kind(error) in ("unwell", "busy", "not-the-server")
    return isinstance(error, Unreachable)


def hint_of(error: ApiError, namespace: str = "") -> Advice:
    """What to do about a refusal; empty when nothing more is known than it says.

    Nothing about rights: which one was missing, `access` knows from the request.

    Args:
        error: the refusal.
        namespace: of the object; read from the message where that names it.
    """
    kind = KINDS.get(refusal_kind(error))
    if kind is None:
        return ""
    if failed := webhook_failures.failure(error.message):
        name, why = failed
        return (
            (f"admission webhook {name} {why.what}, and " + kind.hint + f": {why.hint}, or ask who runs it; ")
            + (webhook_failures.LIST + " lists them, ")
            + (Command("kaitoctl doctor") + " says which of them nobody answers")
        )
    named = re.search(r'namespaces? "?([a-z0-9-]+)"? (?:not found|because)', error.message)
    return filled(kind.hint, namespace=named[1] if named else namespace or "NAMESPACE")
