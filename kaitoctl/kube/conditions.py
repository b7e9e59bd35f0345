"""`status.conditions`: read one, set one. Pure; the time is given.

Source of the conventions: Kubernetes API conventions, "typical status properties".
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from kaitoctl.advice import shortened
from kaitoctl.kube.objects import Object, generation_of

_LONGEST_MESSAGE = 1024


def timestamp(now: datetime) -> str:
    """A `metav1.Time`: RFC 3339 in UTC, whole seconds."""
    return f"{now.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='seconds')}Z"


def parse_timestamp(text: str) -> datetime:
    """The moment that an RFC 3339 text of Kubernetes (Time or MicroTime) names.

    Raises:
        ValueError: not such a text.
    """
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def find(obj: Object, kind: str) -> Object | None:
    """The condition of type `kind` in the object's status, or None."""
    found = _find(obj, kind)
    return None if found is None else dict(found)


def current(obj: Object, kind: str) -> Object:
    """The condition of type `kind` if it speaks of the object's present generation; else an empty one."""
    found = _find(obj, kind)
    return dict(found) if found is not None and is_of_now(found, obj) else {}


def is_of_now(item: Object, obj: Object) -> bool:
    """Whether a condition, or a status, speaks of the object's present generation."""
    return int(item.get("observedGeneration") or 0) >= generation_of(obj)


def _find(obj: Object, kind: str) -> Object | None:
    for condition in (obj.get("status") or {}).get("conditions") or ():
        if condition.get("type") == kind:
            found: Object = condition
            return found
    return None


def is_true(obj: Object, kind: str, *, generation: int | None = None) -> bool:
    """Whether the condition is True, and not older than `generation` when one is given."""
    condition = _find(obj, kind)
    if condition is None or condition.get("status") != "True":
        return False
    return generation is None or int(condition.get("observedGeneration") or 0) >= generation


def condition(kind: str, status: bool | None, reason: str, message: str) -> Object:
    """A new condition without times; None as a status means Unknown.

    Long messages are cut: the API server refuses more than 32768 characters, and nobody reads as many.
    """
    text = "Unknown" if status is None else str(status)
    if len(message) > _LONGEST_MESSAGE:
        message = shortened(message, _LONGEST_MESSAGE)
    return {"type": kind, "status": text, "reason": reason, "message": message}


def merge(
    before: Iterable[Object], news: Iterable[Object], *, generation: int, now: datetime
) -> list[Object]:
    """The conditions after `news`, in the order of `news`, then what `before` had besides.

    Guarantee: `lastTransitionTime` moves only when `status` does, so merging the same news twice
    gives the same list.
    """
    old = {item["type"]: item for item in before}
    merged = []
    for item in news:
        previous = old.pop(item["type"], None)
        same_status = previous is not None and previous.get("status") == item["status"]
        since = previous["lastTransitionTime"] if same_status and previous else timestamp(now)
        merged.append({**item, "observedGeneration": generation, "lastTransitionTime": since})
    return merged + list(old.values())
