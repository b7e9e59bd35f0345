"""One thing that `doctor` has looked at, and the question that several of its parts ask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from kaitoctl.advice import Advice
from kaitoctl.errors import ApiError
from kaitoctl.kube.conditions import parse_timestamp
from kaitoctl.kube.request import Request

if TYPE_CHECKING:
    from datetime import datetime

    from kaitoctl.kube.client import Client
    from kaitoctl.kube.objects import Object

Result = Literal["ok", "warning", "error", "skipped"]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at.

    Args:
        category: `cluster`, `workspaces`, `rights`, `nodes`.
        name: stable, for machines.
        result: a warning stops nobody.
        message: what is so.
        hint: how to fix it; empty when nothing is wrong.
    """

    category: str
    name: str
    result: Result
    message: str
    hint: Advice = ""


def age_s(obj: Object, now: datetime) -> float:
    """Seconds since an object was created; 0 where it does not say."""
    try:
        return (now - parse_timestamp(str(obj["metadata"].get("creationTimestamp")))).total_seconds()
    except ValueError:
        return 0.0


async def group_versions(client: Client, group: str) -> list[str] | None:
    """The versions of an API group that the cluster serves, None when it has no such group."""
    try:
        answer = await client.send(Request("GET", f"/apis/{group}"))
    except ApiError as error:
        if error.status == 404:
            return None
        raise
    return [str(item.get("version")) for item in answer.get("versions") or ()]
