"""Follow an InferenceSet until its replicas are ready: drawn on a terminal, else a line for each change."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import count
from typing import TYPE_CHECKING, TextIO, TypeVar

from kaitoctl.advice import Advice, Command
from kaitoctl.commands.observe_fleet import as_served, fleet_at, gaps_and_failures
from kaitoctl.errors import ApiError, NegativeAnswer, TimedOut
from kaitoctl.kaito.catalog import SHIPPED, Catalog
from kaitoctl.kaito.fleet.view import replica_words, way_out
from kaitoctl.kube.objects import dig, uid_of
from kaitoctl.kube.refusal_hints import may_pass
from kaitoctl.reconcile.until_answered import until_answered
from kaitoctl.screens import layout, output

if TYPE_CHECKING:
    from kaitoctl.commands.target import Target
    from kaitoctl.kaito.fleet.view import Fleet
    from kaitoctl.kube.client import Client
    from kaitoctl.kube.objects import ObjectKey

LOOK_AGAIN_S = 2.0
_CLOSE_EVERY = 5  # looks: it lists all pods of the namespace
_TIMEOUT_S = 7200.0
_MOST_OF_A_GAP = 0.1  # of the budget: what passed between two looks that lie further apart nobody knows

Answer = TypeVar("Answer")
Told = TypeVar("Told")


def is_ready(fleet: Fleet) -> bool:
    """Whether all replicas serve the present template."""
    return fleet.state == "Ready"


async def until_ready(
    client: Client,
    target: Target,
    key: ObjectKey,
    *,
    timeout_s: float | None,
    catalog: Catalog = SHIPPED,
    is_done: Callable[[Fleet], bool] = is_ready,
    show: Callable[[Fleet], None] | None = None,
    stream: TextIO | None = None,
) -> Fleet:
    """The set once it is as wanted; a server that is away for a while is waited for.

    Args:
        client: the cluster.
        target: how it was named.
        key: the set's.
        timeout_s: how long to follow; None for the default, which also ends with what no longer moves.
        catalog: of presets.
        is_done: whether it is as wanted.
        show: shows it; by default a picture on a terminal, or lines on stderr.
        stream: the terminal of the picture; None for stderr.

    Raises:
        ApiError: the cluster does not let us look.
        NegativeAnswer: a replica has failed, the set is refused or gone, or its template goes no further.
        TimedOut: time is up, or nothing moves any more.
    """
    limit_s = _TIMEOUT_S if timeout_s is None else timeout_s
    words, moving = "", Moving(target, catalog, gives_up=timeout_s is None)
    async with showing(client, target, key, stream or sys.stderr, catalog, show=show) as shown:
        try:
            async with asyncio.timeout(limit_s):
                looking = Looks(client, key, catalog)
                while True:
                    fleet = await patiently(client, key, looking.look)
                    words = line(fleet)
                    shown(fleet)
                    if is_done(fleet) and not fleet.refusal:
                        break
                    if fleet.is_leaving or fleet.state == "Failed" or fleet.stuck:
                        raise failure(target, fleet)
                    moving.insist(fleet)
                    await asyncio.sleep(LOOK_AGAIN_S)
        except TimeoutError:
            hint = target.text(Command("kaitoctl why", key.name, "-n", key.namespace))
            raise TimedOut(f"timed out after {layout.elapsed(limit_s)}; {words}", hint=hint) from None
    output.success(f"InferenceSet {key}: {fleet.ready} of {fleet.wanted} replicas ready")
    return fleet


async def patiently(client: Client, key: ObjectKey, ask: Callable[[], Awaitable[Answer]]) -> Answer:
    """What `ask` returns about a set that is followed; whatever may pass is said, and waited out.

    That a replica has gone passes, too: its set is asked for another.

    Assumes: `ask` may be repeated, and somebody bounds the time.

    Raises:
        ApiError: the cluster refuses.
        NegativeAnswer: the set has been deleted.
    """

    async def patient(asking: Callable[[], Awaitable[Told]]) -> Told:
        doing = f"InferenceSet {key}"
        return await until_answered(asking, doing=doing, is_final=lambda error: not may_pass(error))

    while True:
        try:
            return await patient(ask)
        except ApiError as error:
            if error.status != 404:
                raise
            if await patient(lambda: fleet_at(client, key)) is None:
                raise NegativeAnswer(f"InferenceSet {key} has been deleted") from error
        await asyncio.sleep(LOOK_AGAIN_S)


@asynccontextmanager
async def showing(
    client: Client,
    target: Target,
    key: ObjectKey,
    stream: TextIO,
    catalog: Catalog,
    *,
    show: Callable[[Fleet], None] | None = None,
) -> AsyncIterator[Callable[[Fleet], None]]:
    """What shows a set as it changes: a picture on a terminal, which stays, or lines; or what `show` does."""
    if show is not None:
        yield show
    elif output.is_redrawn(stream):
        from kaitoctl.commands.fleet_picture import FleetPicture  # pipes get lines

        async with FleetPicture(client, target, key, stream, catalog) as picture:
            yield picture.draw
    else:
        yield _Lines().show


def lines_of(key: ObjectKey) -> Callable[[Fleet], None]:
    """What writes a line for each change of one of several sets."""
    return _Lines(f"InferenceSet {key}: ").show


class _Lines:
    def __init__(self, name: str = "") -> None:
        self._name, self._words = name, ""

    def show(self, fleet: Fleet) -> None:
        """Write a line when it is another one."""
        if (words := line(fleet)) != self._words:
            self._words = words
            output.step(self._name + words)


class Moving:
    """Whether a set that is followed still moves: none of its replicas may take longer than its model.

    Only time in which somebody looked counts: while an API server is away, nothing can be seen to change.

    Args:
        target: how it was named.
        catalog: of presets.
        gives_up: whether a set that stands still ends it: not where somebody has said how long to follow.
    """

    def __init__(self, target: Target, catalog: Catalog, *, gives_up: bool) -> None:
        self._target, self._catalog, self._gives_up = target, catalog, gives_up
        self._seen: list[tuple[str, bool, bool, bool]] | None = None
        self._looked_at_s = self._still_s = 0.0

    def insist(self, fleet: Fleet) -> None:
        """Compare with the look before.

        Raises:
            TimedOut: no replica has come, gone, or become ready for as long as one may take.
        """
        now_s = asyncio.get_running_loop().time()
        seen = [(uid_of(one.workspace), one.is_ready, one.is_current, one.leaving) for one in fleet.replicas]
        gap_s, self._looked_at_s = now_s - self._looked_at_s, now_s
        if seen != self._seen:
            self._seen, self._still_s = seen, 0.0
            return
        preset = dig(fleet.inference_set, "spec", "template", "inference", "preset", "name")
        budget_s = self._catalog.from_nothing_s(str(preset or ""))
        self._still_s += min(gap_s, _MOST_OF_A_GAP * budget_s)
        if not self._gives_up or self._still_s < budget_s:
            return
        name, space = fleet.key.name, fleet.key.namespace
        raise TimedOut(
            f"InferenceSet {fleet.key}: nothing has changed for {layout.elapsed(budget_s)}; {line(fleet)}",
            hint=self._target.text(
                Command("kaitoctl why", name, "-n", space)
                + " shows what holds it; --timeout says how long to wait all the same"
            ),
        )


class Looks:
    """Looks at a set again and again; what its pods say, which costs more, is kept for some looks.

    Args:
        client: the cluster.
        key: the set's.
        catalog: of presets.
    """

    def __init__(self, client: Client, key: ObjectKey, catalog: Catalog) -> None:
        self._client, self._key, self._catalog = client, key, catalog
        self._number = count()
        self._by_pods: tuple[dict[str, str], dict[str, str]] = ({}, {})

    async def look(self) -> Fleet:
        """The set as it is now: which of its replicas will never come up, its pods say.

        Raises:
            ApiError: there is none.
        """
        fleet = await _found(self._client, self._key, self._catalog)
        is_close = next(self._number) % _CLOSE_EVERY == 0 or _may_serve(fleet)
        if is_close or fleet.as_served(*self._by_pods).state == "Failed":  # nothing ends by an old look
            self._by_pods = await gaps_and_failures(self._client, fleet)
        return fleet.as_served(*self._by_pods)


async def present(client: Client, key: ObjectKey, catalog: Catalog) -> Fleet:
    """The set as it is now, by its pods where its status says that it serves.

    Raises:
        ApiError: there is none.
    """
    fleet = await _found(client, key, catalog)
    return await as_served(client, fleet) if _may_serve(fleet) else fleet


async def _found(client: Client, key: ObjectKey, catalog: Catalog) -> Fleet:
    fleet = await fleet_at(client, key, catalog=catalog)
    if fleet is None:
        hint = Command("kaitoctl status", "-n", key.namespace) + " lists what there is"
        raise ApiError(404, "NotFound", f"InferenceSet {key} not found", hint=hint)
    return fleet


def _may_serve(fleet: Fleet) -> bool:
    return fleet.state in ("Ready", "Mixed")


def say_what_carries(target: Target, fleet: Fleet) -> None:
    """Say what carries the template to replicas, where no controller does."""
    if fleet.outdated and not fleet.is_paused:
        carry = Command("kaitoctl rollout fleet", fleet.key.name, "-n", fleet.key.namespace)
        output.note(target.text(carry + " carries the template to the replicas"))


def line(fleet: Fleet) -> str:
    """How a set is, in one line."""
    words = f"{fleet.ready} of {fleet.wanted} replicas ready; {fleet.trouble or fleet.template_words}"
    if not fleet.is_leaving and fleet.live and len(fleet.live) < fleet.wanted:
        going = ", ".join(one.name for one in fleet.replicas if one.leaving)
        words += f"; {len(fleet.live)} of {fleet.wanted} exist{f'; being deleted: {going}' if going else ''}"
    waiting = next((one for one in fleet.live if not one.is_ready), None)
    if waiting is None or fleet.is_leaving or f"{waiting.name}: " in words:
        return words
    return f"{words}; {waiting.name}: {replica_words(waiting)}"


def failure(target: Target, fleet: Fleet) -> NegativeAnswer:
    """The error of a set that will not be as wanted by itself."""
    name, space = fleet.key.name, fleet.key.namespace
    way = way_out(fleet)
    hint: Advice = way[0] + way[1] if way else Command("kaitoctl status", name, "-n", space)
    if fleet.is_over_budget:
        undo = Command("kaitoctl rollout undo", name, "-n", space)
        hint = hint + ("; " + undo + " brings the earlier template back")
    words = fleet.trouble or (fleet.template_words if fleet.is_leaving else line(fleet))
    return NegativeAnswer(f"InferenceSet {fleet.key}: {words}", hint=target.text(hint))
