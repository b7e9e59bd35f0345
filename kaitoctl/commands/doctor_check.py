"""One thing that `doctor` has looked at, and its parts, each of which stands by itself."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from kaitoctl.advice import Advice, Command
from kaitoctl.errors import ApiError, Unreachable
from kaitoctl.kube.conditions import parse_timestamp
from kaitoctl.kube.objects import DEPLOYMENT
from kaitoctl.kube.request import Request

if TYPE_CHECKING:
    from datetime import datetime

    from kaitoctl.kube.client import Client, ObjectList
    from kaitoctl.kube.objects import Object

Result = Literal["ok", "warning", "error", "skipped", "unknown"]
MOST_SHOWN = 4

NOT_SHOWN = (403, 404, 405)
"""Answers to who may not look, or where there is nothing of the kind; others are trouble of the server."""

_log = logging.getLogger(__name__)


class Check(Struct, frozen=True):
    """One thing that was looked at.

    Args:
        category: `cluster`, `workspaces`, `rights`, `nodes`.
        name: stable, for machines.
        result: a warning stops nobody; `skipped` has nothing to look at, `unknown` could not be looked at.
        message: what is so.
        hint: how to fix it; empty when nothing is wrong.
        code: what `kaitoctl explain` knows about it; empty where it has no page.
        lacks: the right that it takes and that one does not have, `list nodes in the whole cluster`.
        excused: an unknown that is not held against the installation: it takes a right to something that
            belongs to the whole cluster, or to others, which not everybody has.
    """

    category: str
    name: str
    result: Result
    message: str
    hint: Advice = ""
    code: str = ""
    lacks: str = ""
    excused: bool = False

    @property
    def is_sound(self) -> bool:
        """Whether the installation may be called sound in spite of it."""
        return self.excused or self.result not in ("error", "unknown")


class Right(Struct, frozen=True):
    """What one must be allowed to do to look at something.

    Args:
        verb: `list` or another.
        resource: with its group; a path where it is none.
        namespace: empty for the whole cluster.
        is_everyones: who lacks it cannot work with Workspaces, or lacks what Kubernetes grants everybody.
    """

    verb: str
    resource: str
    namespace: str = ""
    is_everyones: bool = False

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


class Examined:
    """The cluster that is examined, and what several parts of it ask for, asked once.

    Args:
        client: of the cluster.
        is_sandbox: whether it is a sandbox, and so simulates its pods.
        version: of Kubernetes, `v1.33.1`; empty where it may not be read.
    """

    def __init__(self, client: Client, *, is_sandbox: bool, version: str = "") -> None:
        self.client = client
        self.is_sandbox = is_sandbox
        self.version = version
        self._deployments: asyncio.Future[ObjectList] | None = None

    async def deployments(self) -> list[Object]:
        """All Deployments.

        Raises:
            ApiError: they may not be listed, or the server is in trouble; to each who asks.
            Unreachable: the same.
        """
        if self._deployments is None:
            self._deployments = asyncio.ensure_future(self.client.list(DEPLOYMENT))
        return (await self._deployments).items


class Part(Struct, frozen=True):
    """Checks that are made together, and apart from all others.

    Args:
        category: of its checks.
        name: of the check that says why there are no others.
        what: it looks at, in words.
        ask: looks; yields what it sees as soon as it has seen it.
        right: that it takes.
    """

    category: str
    name: str
    what: str
    ask: Callable[[Examined], AsyncIterator[Check]]
    right: Right


async def made_alone(part: Part, cluster: Examined) -> AsyncIterator[Check]:
    """The checks of one part; what cannot be looked at is one more check, and stops nothing else.

    Raises:
        Unreachable: the server answers nobody any more.
    """
    try:
        async for check in part.ask(cluster):
            yield check
    except ApiError as error:
        if error.status == 403:
            yield unseen(part.category, part.name, part.what, part.right, error)
        elif error.status in NOT_SHOWN:
            yield Check(part.category, part.name, "skipped", f"{part.what}: {error}")
        else:
            yield _failed(part, error.message, error.hint or "the API server's log says why")
    except Unreachable as error:
        if error.cause and not await _answers(cluster.client):
            raise
        yield _failed(part, error.message, error.hint)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        # No API server answers so: somebody in between does. With KAITOCTL_DEBUG the log has the place.
        _log.warning("the check of %s failed", part.what, exc_info=True)
        why = f"the server answered objects that make no sense ({type(error).__name__}: {error})"
        yield _failed(part, why, "is the kubeconfig's server address that of a Kubernetes API server?")


def _failed(part: Part, why: str, hint: Advice) -> Check:
    return Check(part.category, part.name, "unknown", f"{part.what} could not be checked: {why}", hint)


async def _answers(client: Client) -> bool:
    """Whether anybody is there, whatever is said: then only one answer was lost."""
    try:
        await client.text("/version")
    except ApiError:
        return True
    except Unreachable:
        return False
    return True


def unseen(category: str, name: str, what: str, right: Right, error: ApiError | None = None) -> Check:
    """That something could not be looked at, and the right that lacks (as the server names it)."""
    excused = not (right.is_everyones or right.resource.startswith("/"))
    details = error.details if error is not None else {}
    if kind := str(details.get("kind") or ""):
        group = str(details.get("group") or "")
        right = Right(right.verb, f"{kind}.{group}" if group else kind, right.namespace)
    message = f"{what} could not be checked: you are not allowed to {right.words}"
    if error is not None and " cannot " not in error.message:
        message += f" ({error})"  # not the words of missing rights: a proxy's, or a policy's
    hint = "ask for that right; " + right.question
    return Check(category, name, "unknown", message, hint, lacks=right.words, excused=excused)


def some(names: Sequence[str]) -> str:
    """The first few names."""
    more = f" and {len(names) - MOST_SHOWN} more" if len(names) > MOST_SHOWN else ""
    return ", ".join(names[:MOST_SHOWN]) + more


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
