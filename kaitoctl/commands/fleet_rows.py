"""InferenceSets of the list of `status`, each with its Workspaces as they were listed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from kaitoctl.commands.follow_fleet import line
from kaitoctl.kaito import api
from kaitoctl.kaito.catalog import SHIPPED
from kaitoctl.kaito.fleet import view
from kaitoctl.kube.objects import ObjectKey, key_of, labels_of
from kaitoctl.screens import fleet_screen
from kaitoctl.screens.layout import BLANK, Block

if TYPE_CHECKING:
    from kaitoctl.kube.objects import Object


@dataclass(frozen=True, slots=True)
class FleetRow:
    """A set in a list.

    Args:
        fleet: it, with its replicas.
        as_json: the same as docs/fleets.md has it.
        words: its state in a line.
    """

    fleet: view.Fleet
    as_json: Object
    words: str

    @property
    def key(self) -> ObjectKey:
        """Of the set."""
        return self.fleet.key


def rows(sets: Iterable[Object], workspaces: Iterable[Object], now: datetime) -> list[FleetRow]:
    """The sets with those of the Workspaces that are theirs."""
    by_set: dict[ObjectKey, list[Object]] = {}
    for one in workspaces:
        if name := labels_of(one).get(api.LABEL_CREATED_BY_SET):
            by_set.setdefault(ObjectKey(key_of(one).namespace, name), []).append(one)
    found = [view.fleet_of(one, by_set.get(key_of(one), ()), (), now, catalog=SHIPPED) for one in sets]
    return [FleetRow(one, view.as_json(one), f"{one.state}  {line(one)}") for one in found]


def blocks(found: Sequence[FleetRow], now: datetime, *, everywhere: bool) -> list[Block]:
    """The sets as a table, and a blank line."""
    return [*fleet_screen.rows_of([one.fleet for one in found], now, everywhere=everywhere), BLANK]
