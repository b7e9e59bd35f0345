"""What the sandbox's controllers share: questions about pods, making one from a template, status, events.

Everything here is plain; the generators yield requests and wait for nobody.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Generator, Iterable, Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Any

from kaitoctl.errors import ApiError
from kaitoctl.kube import conditions, request
from kaitoctl.kube.objects import (
    EVENT,
    Kind,
    Object,
    annotations_of,
    copy_of,
    dig,
    is_being_deleted,
    key_of,
    labels_of,
    owner_reference,
    quantity,
    uid_of,
)
from kaitoctl.kube.pod_state import container_specs, is_finished, most_at_once
from kaitoctl.kube.request import Request
from kaitoctl.sandbox.clock import Clock

Writes = Generator[Request, Object, None]
"""Requests that are made for their effect; nothing comes back."""

# No vowels and nothing that looks like them, so that a hash spells no word; Kubernetes has the same habit.
_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_SUFFIX_LENGTH = 5
_LONGEST_NAME = 63


# --- questions -----------------------------------------------------------------------------------------


def phase(pod: Object) -> str:
    """The pod's phase; `Pending` before anybody wrote one."""
    return str(dig(pod, "status", "phase") or "Pending")


def is_active(pod: Object) -> bool:
    """Whether a controller counts the pod among its replicas: not ended, and not on its way out."""
    return not is_finished(pod) and not is_being_deleted(pod)


def is_ready(pod: Object) -> bool:
    """Whether the pod's Ready condition is True."""
    return conditions.is_true(pod, "Ready")


def available_in_s(pod: Object, min_ready_s: float, clock: Clock) -> float | None:
    """Simulated seconds until a pod counts as available: 0 when it does, None while it is not ready."""
    ready = conditions.find(pod, "Ready")
    if ready is None or ready.get("status") != "True":
        return None
    since = ready.get("lastTransitionTime")
    if not min_ready_s or not since:
        return 0.0
    return max(0.0, min_ready_s - clock.since_s(since))


def resource_requests(pod: Object) -> dict[str, Decimal]:
    """What the pod asks of its node, by resource, with a runtime's overhead.

    A limit stands in for a missing request, as the API server's defaults have it.
    """
    asked = {id(item): _container_requests(item) for item in container_specs(pod)}
    spec, nothing = pod.get("spec") or {}, Decimal(0)
    total = _amounts(spec.get("overhead") or {})
    for name in {name for amounts in asked.values() for name in amounts}:

        def amount_of(item: Object, name: str = name) -> Decimal:
            return asked.get(id(item), {}).get(name, nothing)

        total[name] = total.get(name, nothing) + most_at_once(spec, amount_of)
    return total


def _container_requests(container: Object) -> dict[str, Decimal]:
    resources = container.get("resources") or {}
    return _amounts({**(resources.get("limits") or {}), **(resources.get("requests") or {})})


def _amounts(resources: Mapping[str, Any]) -> dict[str, Decimal]:
    return {name: _quantity(str(value)) for name, value in resources.items()}


_quantity = lru_cache(maxsize=1024)(quantity)


# --- names and children --------------------------------------------------------------------------------


def short_hash(value: Any, length: int = 10) -> str:
    """A stable text of `length` characters that may stand in names and label values."""
    digest = hashlib.sha256(json.dumps(value, sort_keys=True).encode()).digest()
    return "".join(_ALPHABET[byte % len(_ALPHABET)] for byte in digest[:length])


def essence(value: Any) -> Any:
    """A value without what means the same as nothing: nulls, empty objects, empty lists.

    Typed clients write `creationTimestamp: null` and `resources: {}` into a template that they merely pass
    on; that must not look like a new one.
    """
    if isinstance(value, dict):
        kept = {name: essence(item) for name, item in value.items()}
        return {name: item for name, item in kept.items() if item not in (None, {}, [])}
    if isinstance(value, list):
        return [essence(item) for item in value]
    return value


def random_name(base: str) -> str:
    """`base` with a random suffix, cut so that it stays a valid name, as `generateName` gives one."""
    suffix = "".join(random.choices(_ALPHABET, k=_SUFFIX_LENGTH))
    return f"{base[: _LONGEST_NAME - _SUFFIX_LENGTH - 1]}-{suffix}"


def pod_of(owner: Object, template: Object, name: str, labels: Mapping[str, str] | None = None) -> Object:
    """The Pod that `owner` makes from a pod template."""
    metadata: Object = {
        "name": name,
        "namespace": key_of(owner).namespace,
        "labels": labels_of(template) | dict(labels or {}),
        "ownerReferences": [owner_reference(owner)],
    }
    if annotations := annotations_of(template):
        metadata["annotations"] = dict(annotations)
    if finalizers := dig(template, "metadata", "finalizers"):
        metadata["finalizers"] = list(finalizers)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": copy_of(template.get("spec") or {}),
    }


# --- writing -------------------------------------------------------------------------------------------


def status_patch(kind: Kind, observed: Object, status: Object, *, manager: str) -> Writes:
    """Write `status` if it differs from the observed one; fields that it leaves out are removed.

    The observed object's uid and resourceVersion are preconditions: a status computed from an older state
    answers 409 Conflict instead of overwriting a newer one.
    """
    before = observed.get("status") or {}
    changes = {name: value for name, value in status.items() if before.get(name) != value}
    changes |= dict.fromkeys(name for name in before if name not in status)
    if changes:
        key = key_of(observed)
        patch = {"metadata": _precondition(observed), "status": changes}
        yield request.merge_patch(kind, key.namespace, key.name, patch, manager=manager, subresource="status")


def spec_patch(kind: Kind, observed: Object, patch: Object, *, manager: str) -> Request:
    """Merge `patch` into the object, only if it still is the one that was observed."""
    key = key_of(observed)
    metadata = {**(patch.get("metadata") or {}), **_precondition(observed)}
    return request.merge_patch(
        kind, key.namespace, key.name, {**patch, "metadata": metadata}, manager=manager
    )


def create(kind: Kind, obj: Object) -> Writes:
    """Create an object unless there is one of this name."""
    try:
        yield request.create(kind, obj)
    except ApiError as error:
        if error.reason != "AlreadyExists":
            raise


def delete(kind: Kind, obj: Object, *, now: bool = False) -> Writes:
    """Ask for the deletion of exactly this object; one that is gone already is fine.

    Args:
        kind: the object's kind.
        obj: the object; its uid is a precondition.
        now: with a grace period of zero, which removes a pod at once.
    """
    key = key_of(obj)
    asked = request.delete(kind, key.namespace, key.name, uid=uid_of(obj))
    if now:
        asked = Request(asked.method, asked.path, asked.query, {**asked.body, "gracePeriodSeconds": 0})
    try:
        yield asked
    except ApiError as error:
        if error.status not in (404, 409):  # gone, or another object of the same name
            raise


def _precondition(observed: Object) -> Object:
    metadata = observed["metadata"]
    return {field: metadata[field] for field in ("uid", "resourceVersion") if field in metadata}


def merged_conditions(before: Iterable[Object], news: Iterable[Object], clock: Clock) -> list[Object]:
    """Conditions of a built-in kind: as `conditions.merge`, without `observedGeneration`, timed precisely."""
    now = clock.stamp()
    old = {item["type"]: item for item in before}
    merged = []
    for item in news:
        previous = old.pop(item["type"], {})
        same = previous.get("status") == item["status"] and "lastTransitionTime" in previous
        since = previous["lastTransitionTime"] if same else now
        merged.append({**item, "lastTransitionTime": item.get("lastTransitionTime", since)})
    return merged + list(old.values())


def record(
    subject: Object, reason: str, message: str, *, source: str, clock: Clock, warning: bool = False
) -> Writes:
    """Tell an Event about `subject`; telling the same again raises the count of the first.

    An event is a courtesy: when the server refuses it (the namespace is going away), nothing else suffers.
    """
    namespace = key_of(subject).namespace or "default"
    now = conditions.timestamp(clock.now())
    name = f"{key_of(subject).name}.{short_hash([uid_of(subject), reason, message], 16)}"
    involved = {
        "apiVersion": subject["apiVersion"],
        "kind": subject["kind"],
        "name": key_of(subject).name,
        "uid": uid_of(subject),
    }
    if key_of(subject).namespace:
        involved["namespace"] = namespace
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": namespace},
        "involvedObject": involved,
        "type": "Warning" if warning else "Normal",
        "reason": reason,
        "message": message,
        "source": {"component": source},
        "reportingComponent": source,
        "reportingInstance": "",
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }
    try:
        try:
            yield request.create(EVENT, event)
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise
            known = yield request.get(EVENT, namespace, name)
            again = {"count": int(known.get("count") or 1) + 1, "lastTimestamp": now}
            yield request.merge_patch(EVENT, namespace, name, again, manager=source)
    except ApiError:
        return
