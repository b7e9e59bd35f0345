"""Fleets of the list of `status`: InferenceSets with their Workspaces as listed, and MultiRoleInferences."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from msgspec import Struct

from kaitoctl.commands.follow_fleet import line
from kaitoctl.commands.overview import failures_in, gaps_in
from kaitoctl.kaito import api
from kaitoctl.kaito.catalog import SHIPPED
from kaitoctl.kaito.fleet import view
from kaitoctl.kube.objects import ObjectKey, key_of, labels_of
from kaitoctl.screens import fleet_screen
from kaitoctl.screens.layout import BLANK, Block

if TYPE_CHECKING:
    from kaitoctl.commands.overview import Row
    from kaitoctl.kube.objects import Object


class FleetRow(Struct, frozen=True):
    """A fleet in a list.

    Args:
        obj: it.
        fleet: a set with its replicas; None for a MultiRoleInference.
        as_json: the same as docs/fleets.md has it.
        words: its state in a line.
    """

    obj: Object
    fleet: view.Fleet | None
    as_json: Object
    words: str

    @property
    def key(self) -> ObjectKey:
        """Of the fleet."""
        return key_of(self.obj)


def rows(
    sets: Iterable[Object], roles: Iterable[Object], listed: Sequence[Row], now: datetime
) -> list[FleetRow]:
    """The sets with those of the Workspaces that are theirs, and the MultiRoleInferences."""
    by_set: dict[ObjectKey, list[Row]] = {}
    for row in listed:
        if name := labels_of(row.workspace).get(api.LABEL_CREATED_BY_SET):
            by_set.setdefault(ObjectKey(row.key.namespace, name), []).append(row)
    found = []
    for one in sets:
        own = by_set.get(key_of(one), ())
        fleet = view.fleet_of(one, [row.workspace for row in own], (), now, catalog=SHIPPED)
        found.append(fleet.as_served(gaps_in(own), failures_in(own)))
    made = [FleetRow(one.inference_set, one, view.as_json(one), f"{one.state}  {line(one)}") for one in found]
    for one in roles:
        words = f"{view.state_of_roles(one)}  {view.trouble_of_roles(one)}".rstrip()
        made.append(FleetRow(one, None, view.roles_as_json(one), words))
    return made


def structured(found: Sequence[FleetRow]) -> Object:
    """The fleets by kind, for the list as JSON; a kind of which there is none is left out."""
    kinds = {
        "inferenceSets": [one.as_json for one in found if one.fleet is not None],
        "multiRoleInferences": [one.as_json for one in found if one.fleet is None],
    }
    return {name: some for name, some in kinds.items() if some}


def blocks(found: Sequence[FleetRow], now: datetime, *, everywhere: bool) -> list[Block]:
    """The fleets as a table of each kind, and a blank line after it."""
    made: list[Block] = []
    if roles := [one.obj for one in found if one.fleet is None]:
        made += [*fleet_screen.rows_of_roles(roles, now, everywhere=everywhere), BLANK]
    if sets := [one.fleet for one in found if one.fleet is not None]:
        made += [*fleet_screen.rows_of(sets, now, everywhere=everywhere), BLANK]
    return made
