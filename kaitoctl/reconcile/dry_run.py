"""Stands in for a client: reads are carried out, writes are reported and answered as if they had been.

A reconciler behind it decides with its own code about the real cluster, and nothing is written: no request
but GETs ever leaves here, not even a server-side dry run, which would take the right to write.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct

from kaitoctl.errors import ApiError
from kaitoctl.kube.access import Access, access
from kaitoctl.kube.objects import Object, ObjectKey, apply_merge_patch, copy_of, dig, without
from kaitoctl.kube.request import APPLY_PATCH, JSON_PATCH, Request
from kaitoctl.reconcile.field_differences import differences
from kaitoctl.reconcile.generator_driver import Sender


class Decision(Struct, frozen=True):
    """A write that was not made.

    Args:
        verb: `create`, `apply`, `patch`, `update` or `delete`.
        kind: the object's kind, with the subresource: `Workspace/status`.
        key: which object.
        why: `missing`, `differs at spec.replicas` ...
    """

    verb: str
    kind: str
    key: ObjectKey
    why: str

    def __str__(self) -> str:
        return f"would {self.verb} {self.kind} {self.key}: {self.why}"


class DryRun:
    """Stands in for a client where reconcilers are driven.

    Args:
        client: carries out the reads.
        tell: called with each decision once; again only after a different one about the same object.
    """

    def __init__(self, client: Sender, tell: Callable[[Decision], None]) -> None:
        self._client = client
        self._tell = tell
        self._told: dict[tuple[str, str, ObjectKey, str], str] = {}

    async def send(self, request: Request, /) -> Object:
        """Carry out a read; answer a write with the object as it would be then.

        Raises:
            ApiError: what a read was answered with.
        """
        if not request.is_write:
            return await self._client.send(request)
        asked = access(request.method, request.path, request.query)
        live = await self._live(request, asked)
        decision = decide(request, asked, live)
        identity = (decision.verb, decision.kind, decision.key, str(dig(request.body, "reason") or ""))
        if self._told.get(identity) != decision.why:
            self._told[identity] = decision.why
            self._tell(decision)
        return outcome(request, live)

    async def _live(self, request: Request, asked: Access) -> Object | None:
        if not asked.name:
            return None
        path = request.path
        if "/" in asked.resource:
            path = path.removesuffix("/" + asked.resource.partition("/")[2])
        try:
            return await self._client.send(Request("GET", path))
        except ApiError as error:
            if error.status == 404:
                return None
            raise


def decide(request: Request, asked: Access, live: Object | None) -> Decision:
    """What a write would do to the object as it is.

    Args:
        request: the write.
        asked: `access` of it.
        live: the object, None when there is none.
    """
    resource, _, subresource = asked.resource.partition("/")
    body: Any = request.body
    kind = dig(live, "kind") or (dig(body, "kind") if request.method != "DELETE" else None) or resource
    # An Event's own name says nothing, and is another one each time.
    about = dig(body, "involvedObject", "name") or dig(body, "metadata", "name")
    name = asked.name or str(about or dig(body, "metadata", "generateName") or "")
    is_apply = request.content_type == APPLY_PATCH
    verb = "create" if is_apply and live is None else "apply" if is_apply else asked.verb
    return Decision(
        verb,
        f"{kind}/{subresource}" if subresource else str(kind),
        ObjectKey(asked.namespace, name),
        _why(request, live, subresource),
    )


def _why(request: Request, live: Object | None, subresource: str) -> str:
    body: Any = request.body
    if request.method == "DELETE":
        return "no longer wanted" if live is not None else "is gone already"
    if request.method == "POST":
        reason, message = dig(body, "reason"), dig(body, "message")
        return f"{reason}: {message}" if reason else "missing"
    if live is None:
        return "missing"
    if subresource == "status":
        changed = _changed_conditions(body, live)
        if changed:
            return "; ".join(changed)
    if not isinstance(body, dict):
        return f"{len(body or ())} operations"
    finalizers = dig(body, "metadata", "finalizers")
    if finalizers is not None and finalizers != (dig(live, "metadata", "finalizers") or []):
        return f"finalizers become {', '.join(finalizers) or 'none'}"
    metadata = {key: value for key, value in (body.get("metadata") or {}).items() if key != "resourceVersion"}
    paths = differences({**body, "metadata": metadata}, live)
    if not paths:
        return "fields to be given up, or nothing"
    words = f"differs at {paths[0]}" + (f" and {len(paths) - 1} more" if len(paths) > 1 else "")
    return words + _restarting(paths, live)


def _restarting(paths: Sequence[str], live: Object) -> str:
    """How many pods a changed template replaces; a Job's cannot be changed."""
    pods = dig(live, "status", "replicas") or 0
    if not pods or not any(path.startswith("spec.template.") for path in paths):
        return ""
    return f"; {pods} pod{' restarts' if pods == 1 else 's restart'}"


def _changed_conditions(body: Any, live: Object) -> list[str]:
    before = {item.get("type"): item for item in dig(live, "status", "conditions") or ()}
    told = []
    for item in dig(body, "status", "conditions") or ():
        old = before.get(item["type"]) or {}
        if any(item.get(field) != old.get(field) for field in ("status", "reason", "message")):
            told.append(f"{item['type']} {item['status']} ({item['reason']}): {item['message']}")
    return told


def outcome(request: Request, live: Object | None) -> Object:
    """The object as a server would return it after the write, as far as can be told without one.

    Lists are replaced whole, as in a merge patch; of a deleted object the last state is returned, and an
    object that is only made up has no uid.
    """
    if request.method == "DELETE" or request.content_type == JSON_PATCH or not isinstance(request.body, dict):
        return copy_of(live) if live is not None else {"kind": "Status", "status": "Success"}
    bare: Object = {"metadata": {"generation": 1}}
    body = json.loads(json.dumps(request.body))
    if live is not None:
        body.get("metadata", {}).pop("resourceVersion", None)
    made: Object = apply_merge_patch(live if live is not None else bare, body)
    # There never was a version of what is only made up.
    return {**made, "metadata": without(made["metadata"], "resourceVersion")}
