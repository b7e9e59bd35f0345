"""Follow an InferenceSet until its replicas are ready: drawn on a terminal, else a line for each change."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, TextIO

from kaitoctl.advice import Command
from kaitoctl.commands.observe_fleet import fleet_at
from kaitoctl.errors import ApiError, NegativeAnswer, TimedOut
from kaitoctl.kaito.catalog import SHIPPED, Catalog
from kaitoctl.kaito.fleet.view import replica_words
from kaitoctl.screens import layout, output

if TYPE_CHECKING:
    from kaitoctl.commands.target import Target
    from kaitoctl.kaito.fleet.view import Fleet
    from kaitoctl.kube.client import Client
    from kaitoctl.kube.objects import ObjectKey

LOOK_AGAIN_S = 2.0
_TIMEOUT_S = 7200.0


async def until_ready(
    client: Client,
    target: Target,
    key: ObjectKey,
    *,
    timeout_s: float | None,
    catalog: Catalog = SHIPPED,
    is_done: Callable[[Fleet], bool] = lambda fleet: fleet.state == "Ready",
    show: Callable[[Fleet], None] | None = None,
    stream: TextIO | None = None,
) -> Fleet:
    """The set once it is as wanted.

    Args:
        client: the cluster.
        target: how it was named.
        key: the set's.
        timeout_s: how long to follow; None for the default.
        catalog: of presets.
        is_done: whether it is as wanted.
        show: shows it; by default a picture on a terminal, or lines on stderr.
        stream: the terminal of the picture; None for stderr.

    Raises:
        ApiError: there is no such set.
        NegativeAnswer: a replica has failed, the set is refused, or its template goes no further.
        TimedOut: time is up.
    """
    limit_s = _TIMEOUT_S if timeout_s is None else timeout_s
    words = ""
    async with AsyncExitStack() as stack:
        if show is None and output.is_redrawn(stream or sys.stderr):
            from kaitoctl.commands.fleet_picture import FleetPicture  # pipes get lines

            drawn = FleetPicture(client, target, key, stream or sys.stderr, catalog)
            show = (await stack.enter_async_context(drawn)).draw
        try:
            async with asyncio.timeout(limit_s):
                while True:
                    fleet = await present(client, key, catalog)
                    before, words = words, line(fleet)
                    if show is not None:
                        show(fleet)
                    elif words != before:
                        output.step(words)
                    if is_done(fleet):
                        break
                    if fleet.state == "Failed":
                        raise failure(target, fleet)
                    if fleet.stuck:
                        raise held_error(target, fleet)
                    await asyncio.sleep(LOOK_AGAIN_S)
        except TimeoutError:
            hint = target.text(Command("kaitoctl status", key.name, "-n", key.namespace))
            raise TimedOut(f"timed out after {layout.elapsed(limit_s)}; {words}", hint=hint) from None
    output.success(f"InferenceSet {key}: {fleet.ready} of {fleet.wanted} replicas ready")
    return fleet


async def present(client: Client, key: ObjectKey, catalog: Catalog) -> Fleet:
    """The set as it is now.

    Raises:
        ApiError: there is none.
    """
    fleet = await fleet_at(client, key, catalog=catalog)
    if fleet is None:
        hint = Command("kaitoctl status", "-n", key.namespace) + " lists what there is"
        raise ApiError(404, "NotFound", f"InferenceSet {key} not found", hint=hint)
    return fleet


def line(fleet: Fleet) -> str:
    """How a set is, in one line."""
    waiting = next((one for one in fleet.replicas if not one.is_ready and not one.leaving), None)
    words = f"{fleet.ready} of {fleet.wanted} replicas ready; {fleet.template_words}"
    return words if waiting is None else f"{words}; {waiting.name}: {replica_words(waiting)}"


def failure(target: Target, fleet: Fleet) -> NegativeAnswer:
    """The error of a set that will not become ready by itself."""
    failed = next((one for one in fleet.replicas if one.failure), None)
    words = fleet.trouble or (f"{failed.name}: {failed.failure}" if failed else line(fleet))
    name = failed.name if failed else fleet.key.name
    hint = target.text(Command("kaitoctl why", name, "-n", fleet.key.namespace))
    return NegativeAnswer(f"InferenceSet {fleet.key}: {words}", hint=hint)


def held_error(target: Target, fleet: Fleet) -> NegativeAnswer:
    """The error of a set whose template goes no further by itself though its replicas serve."""
    name, space = fleet.key.name, fleet.key.namespace
    more = Command("kaitoctl status", name, "-n", space)
    if fleet.is_paused:
        more = Command("kaitoctl rollout resume", name, "-n", space)
    elif not fleet.is_rolled_by_kaitoctl:
        more = Command("kaitoctl rollout fleet", name, "-n", space)
    return NegativeAnswer(f"InferenceSet {fleet.key}: {fleet.stuck}", hint=target.text(more))
