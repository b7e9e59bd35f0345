"""Waiting for deletions: until the Workspaces, their pods and their nodes are gone."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from kaitoctl.advice import Command
from kaitoctl.commands.cluster import present
from kaitoctl.commands.observe_deeply import with_evidence
from kaitoctl.commands.observe_workspace import observe_workspace, snapshot_of
from kaitoctl.errors import KaitoctlError, TimedOut
from kaitoctl.kaito.deletion import remaining
from kaitoctl.kaito.diagnosis import diagnose
from kaitoctl.kube import request
from kaitoctl.kube.objects import key_of, uid_of
from kaitoctl.kube.refusal_hints import may_pass
from kaitoctl.reconcile.until_answered import until_answered
from kaitoctl.screens import layout, output

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kaitoctl.commands.target import Target
    from kaitoctl.kube.client import Client
    from kaitoctl.kube.objects import Kind, Object, ObjectKey

_LOOK_AGAIN_S = 1.0
_AT_ONCE = 16
_TURN_S = 10.0
TIMEOUT_S = 1200.0
"""For so long it is waited until all is gone."""


class Going(NamedTuple):
    """A Workspace that has been deleted, and the names of the NodeClaims that go with it."""

    key: ObjectKey
    uid: str
    claims: frozenset[str]


async def wait_gone(client: Client, target: Target, deleted: Sequence[Going], timeout_s: float) -> None:
    """Until all is gone.

    Raises:
        TimedOut: something is still there; the error says what holds it.
    """
    left = {one.key: "" for one in deleted}
    turns = asyncio.Semaphore(_AT_ONCE)
    try:
        async with asyncio.timeout(timeout_s):
            await asyncio.gather(*(_watch(client, one, left, turns) for one in deleted))
    except TimeoutError:
        key, words = max(left.items(), key=lambda item: bool(item[1]))  # of others nobody has looked
        cause = await _cause(client, target, key)
        left_over = f": {words} left" if words else ""
        raise TimedOut(
            f"Workspace {key} is not gone after {layout.elapsed(timeout_s)}{left_over}{cause}",
            hint=Command("kaitoctl why", key.name, "-n", key.namespace),
        ) from None


async def until_gone(client: Client, kind: Kind, obj: Object, began: float, timeout_s: float) -> None:
    """Until a fleet itself is gone: its controller takes the finalizer off once it has done its part.

    Raises:
        TimedOut: it is still there.
    """
    key, title, holding = key_of(obj), f"{kind.kind} {key_of(obj)}", ""
    try:
        async with asyncio.timeout_at(began + timeout_s + _LOOK_AGAIN_S):
            while True:
                found = await until_answered(
                    lambda: present(client, request.get(kind, *key)),
                    doing=title,
                    is_final=lambda error: not may_pass(error),
                )
                if found is None or uid_of(found) != uid_of(obj):
                    return
                before, holding = holding, ", ".join(found["metadata"].get("finalizers") or ())
                if holding and holding != before:
                    output.step(f"{title}: waiting for its controller to remove {holding}")
                await asyncio.sleep(_LOOK_AGAIN_S)
    except TimeoutError:
        held = f": {holding} is still there" if holding else ""
        raise TimedOut(
            f"{title} is not gone after {layout.elapsed(timeout_s)}{held}",
            hint=Command("kubectl describe", kind.plural, key.name, "-n", key.namespace)
            + " shows it; is the controller of its kind running?",
        ) from None


async def _watch(client: Client, going: Going, left: dict[ObjectKey, str], turns: asyncio.Semaphore) -> None:
    """Watch until one is gone; of many, each for a while in its turn, as each watch is a stream."""
    key, uid, claims = going
    told = ""
    now = asyncio.get_running_loop().time
    while key in left:
        async with turns, observe_workspace(client, key) as picture:
            began = now()
            while words := remaining(picture.snapshot(), uid, claims):
                left[key] = words
                if words != told:
                    told = words
                    output.step(f"Workspace {key}: waiting for {words} to go")
                if len(left) > _AT_ONCE and now() - began >= _TURN_S:
                    break
                await picture.change(within_s=_LOOK_AGAIN_S)
            else:
                del left[key]
    output.success(f"Workspace {key} is gone")


async def _cause(client: Client, target: Target, key: ObjectKey) -> str:
    """What `why` says of a Workspace that does not go, after a colon."""
    try:
        seen = await with_evidence(client, await snapshot_of(client, key))
    except KaitoctlError:
        return ""
    cause = diagnose(seen, datetime.now(UTC)).cause
    return "" if cause is None else f"; {cause.about}: {cause.message}"
