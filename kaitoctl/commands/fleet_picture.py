"""An InferenceSet drawn in place while it changes: its replicas, and how far those are that come up."""

from __future__ import annotations

from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TextIO

from msgspec.structs import replace

from kaitoctl.commands.loading_log import LoadingLog
from kaitoctl.commands.overview import observe_overview
from kaitoctl.errors import ApiError, Unreachable
from kaitoctl.kaito import api
from kaitoctl.kaito.fleet.view import way_out
from kaitoctl.kaito.view import view
from kaitoctl.screens import fleet_screen, output

if TYPE_CHECKING:
    from types import TracebackType

    from kaitoctl.commands.overview import Overview
    from kaitoctl.commands.target import Target
    from kaitoctl.kaito.catalog import Catalog
    from kaitoctl.kaito.fleet.view import Fleet
    from kaitoctl.kaito.view import View
    from kaitoctl.kube.client import Client
    from kaitoctl.kube.objects import ObjectKey
    from kaitoctl.screens.layout import Block


class FleetPicture:
    """The picture of a set, for as long as the block runs.

    Args:
        client: the cluster.
        target: how it was named.
        key: the set's.
        stream: the terminal.
        catalog: of presets, for how long a replica may take.
    """

    def __init__(
        self, client: Client, target: Target, key: ObjectKey, stream: TextIO, catalog: Catalog
    ) -> None:
        self._client = client
        self._target = target
        self._key = key
        self._catalog = catalog
        self._picture = output.picture(stream)
        self._logs: dict[ObjectKey, LoadingLog] = {}
        self._stack = AsyncExitStack()
        self._overview: Overview | None = None

    async def __aenter__(self) -> FleetPicture:
        labels = f"{api.LABEL_CREATED_BY_SET}={self._key.name}"
        try:
            self._overview = await self._stack.enter_async_context(
                observe_overview(self._client, self._key.namespace, labels=labels)
            )
        except (ApiError, Unreachable):
            self._overview = None  # whoever may get a set need not watch what it makes
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._picture.close()
        for log in self._logs.values():
            log.close()
        await self._stack.aclose()

    def draw(self, fleet: Fleet) -> None:
        """Draw it as it is now."""
        now = datetime.now(UTC)
        self._picture.draw(report(self._target, fleet, now, self._coming_up(fleet, now)))

    def _coming_up(self, fleet: Fleet, now: datetime) -> list[View]:
        """The replicas that are on their way, as far as they can be watched."""
        if self._overview is None:
            return []
        names = {one.name for one in fleet.replicas if not (one.is_ready or one.leaving or one.failure)}
        try:
            found = [(key, seen) for key, seen in self._overview.snapshots() if key.name in names]
        except ApiError:
            return []
        views = []
        for key, seen in found:
            log = self._logs.setdefault(key, LoadingLog(self._client)).text(seen)
            known = replace(seen, catalog=self._catalog)
            views.append(view(known, now, flags=self._target.flags, log=log))
        return views


def report(target: Target, fleet: Fleet, now: datetime, coming_up: list[View] | None = None) -> list[Block]:
    """The set's screen, with the command that gets it further where one does."""
    way = way_out(fleet)
    hint = target.text(way[0]) if way else ""
    return fleet_screen.report(fleet, now, hint=hint, coming_up=coming_up or ())
