"""Waiting for deletions: until the Workspaces, their pods and their nodes are gone."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from kaitoctl.advice import Command
from kaitoctl.commands.cluster import present
from kaitoctl.commands.observation import NEVER_SHOWN, Observation, running, served_kinds
from kaitoctl.commands.observe_deeply import with_evidence
from kaitoctl.commands.observe_workspace import snapshot_of
from kaitoctl.errors import KaitoctlError, TimedOut
from kaitoctl.kaito import api
from kaitoctl.kaito.deletion import remaining
from kaitoctl.kaito.diagnosis import diagnose
from kaitoctl.kaito.snapshot import Snapshot, trimmed
from kaitoctl.kube import request
from kaitoctl.kube.objects import DEPLOYMENT, JOB, POD, STATEFUL_SET, ObjectKey, key_of, labels_of, uid_of
from kaitoctl.kube.refusal_hints import may_pass
from kaitoctl.reconcile.informer import Informer
from kaitoctl.reconcile.until_answered import until_answered
from kaitoctl.screens import layout, output

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kaitoctl.commands.target import Target
    from kaitoctl.kube.client import Client
    from kaitoctl.kube.objects import Kind, Object

_LOOK_AGAIN_S = 1.0
_REST_S = 0.2
_TELL_AGAIN_S = 10.0
_EACH_TOLD = 16
"""Up to so many Workspaces, each step of each is printed; of more, how many are gone."""
_AT_ONCE = 16
"""So many namespaces are watched at once: each takes some streams."""
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
    spaces: dict[str, dict[ObjectKey, Going]] = {}
    for one in deleted:
        spaces.setdefault(one.key.namespace, {})[one.key] = one
    is_each_told = len(left) <= _EACH_TOLD  # to the end: two that speak would say everything twice
    turns, turn_s = asyncio.Semaphore(_AT_ONCE), _TURN_S if len(spaces) > _AT_ONCE else None

    async def in_turns(here: dict[ObjectKey, Going]) -> None:
        while here:
            async with turns:
                await _watch(client, here, left, turn_s=turn_s, is_told=is_each_told)

    telling = None if is_each_told else asyncio.create_task(_tell(left))
    try:
        async with asyncio.timeout(timeout_s):
            await asyncio.gather(*map(in_turns, spaces.values()))
    except TimeoutError:
        if not left:  # the limit has passed while the last watches were being stopped
            return
        key, words = max(left.items(), key=lambda item: bool(item[1]))  # of others nobody has looked
        cause = await _cause(client, target, key)
        left_over = f": {words} left" if words else ""
        others = len(left) - 1
        beside = f"; {others} more {'is' if others == 1 else 'are'} not gone either" if others else ""
        raise TimedOut(
            f"Workspace {key} is not gone after {layout.elapsed(timeout_s)}{left_over}{cause}{beside}",
            hint=Command("kaitoctl why", key.name, "-n", key.namespace),
        ) from None
    finally:
        if telling is not None:
            telling.cancel()


async def _tell(left: dict[ObjectKey, str]) -> None:
    """Say now and then how many of many are left."""
    number, shown = len(left), -1
    while True:
        await asyncio.sleep(_TELL_AGAIN_S)
        if len(left) != shown:
            shown = len(left)
            output.step(f"{number - shown} of {number} Workspaces are gone")


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


class _Remains(Observation):
    """What is left of the deleted Workspaces of one namespace, all of them in the same few watches."""

    def __init__(
        self, client: Client, kind: Kind, claim_kinds: Iterable[Kind], deleted: Sequence[Going]
    ) -> None:
        super().__init__(client, kind)
        namespace = deleted[0].key.namespace
        name = deleted[0].key.name if len(deleted) == 1 else ""
        labels = f"{api.LABEL_WORKSPACE}={name}" if name else api.LABEL_WORKSPACE

        def of(kind: Kind, labels: str = "") -> Informer:
            return Informer(
                client,
                kind,
                namespace=namespace if kind.namespaced else "",
                label_selector=labels,
                field_selector="" if labels or not name else f"metadata.name={name}",
                fatal_statuses=NEVER_SHOWN,
                transform=partial(trimmed, kind),
                packed=True,
            )

        self._workspaces, self._jobs, self._pods = of(kind), of(JOB), of(POD, labels)
        self._workloads = (of(DEPLOYMENT), of(STATEFUL_SET))
        claimed = (labels, labels.replace(api.LABEL_WORKSPACE, api.LABEL_POOL_WORKSPACE))
        has_claims = any(one.claims for one in deleted)
        self._claims = [of(kind, by) for kind in claim_kinds for by in claimed] if has_claims else []

    async def start(self) -> None:
        views = (self._workspaces, self._jobs, self._pods, *self._workloads, *self._claims)
        await asyncio.gather(*(self._watch(view) for view in views))

    def of(self, going: Going) -> Snapshot:
        """What is left of one.

        Raises:
            ApiError: Workspaces may not be read (any more).
        """
        self.require(self._workspaces)
        key, names = going.key, [ObjectKey("", name) for name in going.claims]
        return Snapshot(
            self._workspaces.store.get(key),
            tuple(view.store[key] for view in self._workloads if key in view.store),
            tuple(self._pods.store.by(_workspace_named, key)),
            tuple(view.store[name] for view in self._claims for name in names if name in view.store),
            jobs=(self._jobs.store[key],) if key in self._jobs.store else (),
        )


def _workspace_named(pod: Object) -> tuple[ObjectKey, ...]:
    return (ObjectKey(key_of(pod).namespace, labels_of(pod).get(api.LABEL_WORKSPACE, "")),)


async def _watch(
    client: Client,
    here: dict[ObjectKey, Going],
    left: dict[ObjectKey, str],
    *,
    turn_s: float | None,
    is_told: bool,
) -> None:
    """Watch those of a namespace until none is left in it, or for a turn."""
    now = asyncio.get_running_loop().time
    kind, claim_kinds = await served_kinds(client, insists=False)
    async with running(_Remains(client, kind, claim_kinds, list(here.values()))) as remains:
        began = now()
        while True:
            for key, going in list(here.items()):
                words = remaining(remains.of(going), going.uid, going.claims)
                if not words:
                    del here[key], left[key]
                    output.success(f"Workspace {key} is gone")
                elif words != left[key]:
                    left[key] = words
                    if is_told:
                        output.step(f"Workspace {key}: waiting for {words} to go")
            if not here or (turn_s is not None and now() - began >= turn_s):
                return
            await remains.change(rest_s=_REST_S, within_s=_LOOK_AGAIN_S)


async def _cause(client: Client, target: Target, key: ObjectKey) -> str:
    """What `why` says of a Workspace that does not go, after a colon."""
    try:
        seen = await with_evidence(client, await snapshot_of(client, key))
    except KaitoctlError:
        return ""
    cause = diagnose(seen, datetime.now(UTC)).cause
    return "" if cause is None else f"; {cause.about}: {cause.message}"
