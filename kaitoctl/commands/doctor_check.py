"""One thing that `doctor` has looked at, and the question that several of its parts ask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from kaitoctl.advice import Advice, Command
from kaitoctl.errors import ApiError
from kaitoctl.kube.conditions import parse_timestamp
from kaitoctl.kube.request import Request

if TYPE_CHECKING:
    from datetime import datetime

    from kaitoctl.kube.client import Client
    from kaitoctl.kube.objects import Object

Result = Literal["ok", "warning", "error", "skipped", "unknown"]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at.

    Args:
        category: `cluster`, `workspaces`, `rights`, `nodes`.
        name: stable, for machines.
        result: a warning stops nobody; `skipped` has nothing to look at, `unknown` may not be looked at.
        message: what is so.
        hint: how to fix it; empty when nothing is wrong.
    """

    category: str
    name: str
    result: Result
    message: str
    hint: Advice = ""


@dataclass(frozen=True, slots=True)
class Right:
    """What one must be allowed to do to look at something.

    Args:
        verb: `list` or another.
        resource: with its group; a path where it is none.
        namespace: empty for the whole cluster.
    """

    verb: str
    resource: str
    namespace: str = ""

    @property
    def words(self) -> str:
        """In a sentence: you are not allowed to ..."""
        if self.resource.startswith("/"):
            return f"{self.verb} {self.resource}"
        where = f"namespace {self.namespace}" if self.namespace else "the whole cluster"
        return f"{self.verb} {self.resource} in {where}"

    @property
    def question(self) -> Command:
        """Whether one has it."""
        where = ("-n", self.namespace) if self.namespace else ("-A",)
        of_path = self.resource.startswith("/")
        return Command("kubectl auth can-i", self.verb, self.resource, *(() if of_path else where))


def unseen(category: str, name: str, what: str, right: Right, error: ApiError | None = None) -> Check:
    """That something could not be looked at, and the right that lacks (as the server names it)."""
    details = error.details if error is not None else {}
    if kind := str(details.get("kind") or ""):
        group = str(details.get("group") or "")
        right = Right(right.verb, f"{kind}.{group}" if group else kind, right.namespace)
    message = f"{what} could not be checked: you are not allowed to {right.words}"
    if error is not None and " cannot " not in error.message:
        message += f" ({error})"  # not the words of missing rights: a proxy's, or a policy's
    hint = "ask for that right; " + right.question
    return Check(category, name, "unknown", message, hint)


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
