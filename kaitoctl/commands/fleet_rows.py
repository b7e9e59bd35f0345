"""InferenceSets in the list of `status`: a row each, of their Workspaces as they were listed."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING

from kaitoctl.kaito import api
from kaitoctl.kaito.catalog import SHIPPED
from kaitoctl.kaito.fleet.view import Fleet, as_json, fleet_of
from kaitoctl.kube.objects import ObjectKey, key_of, labels_of
from kaitoctl.screens import fleet_screen
from kaitoctl.screens.layout import BLANK, Block

if TYPE_CHECKING:
    from kaitoctl.kube.objects import Object


def blocks(
    sets: Iterable[Object], workspaces: Iterable[Object], now: datetime, *, everywhere: bool
) -> list[Block]:
    """The sets as a table, and a blank line."""
    return [*fleet_screen.rows_of(_fleets(sets, workspaces, now), now, everywhere=everywhere), BLANK]


def as_objects(sets: Iterable[Object], workspaces: Iterable[Object], now: datetime) -> list[Object]:
    """The sets as docs/fleets.md has them."""
    return [as_json(fleet) for fleet in _fleets(sets, workspaces, now)]


def _fleets(sets: Iterable[Object], workspaces: Iterable[Object], now: datetime) -> list[Fleet]:
    by_set: dict[ObjectKey, list[Object]] = {}
    for one in workspaces:
        if name := labels_of(one).get(api.LABEL_CREATED_BY_SET):
            by_set.setdefault(ObjectKey(key_of(one).namespace, name), []).append(one)
    return [fleet_of(one, by_set.get(key_of(one), ()), (), now, catalog=SHIPPED) for one in sets]
