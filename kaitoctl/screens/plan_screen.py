"""A plan as lines for people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from kaitoctl.advice import ClusterFlags, text
from kaitoctl.kaito.node_check import plural
from kaitoctl.kaito.prices import Prices
from kaitoctl.screens import output

if TYPE_CHECKING:
    from kaitoctl.kaito.planning import Change, Plan

UNKNOWN = Prices()
_FATES = {"recreated": "to be recreated"}  # applying writes nothing of it
_MARKS = {"created": "+", "changed": "~", "recreated": "±", "unchanged": "=", "refused": "✗"}


def lines(plan: Plan, flags: ClusterFlags, prices: Prices = UNKNOWN) -> Iterator[str]:
    """An entry for each object: what becomes of it, its fields, what it costs; then the sum."""
    for change in plan.changes:
        yield f"{_MARKS[change.fate]} {change.title} {_FATES.get(change.fate, change.fate)}"
        yield from (f"    {line}" for line in _details(change, flags, prices))
    yield summary(plan, prices)


def _details(change: Change, flags: ClusterFlags, prices: Prices) -> Iterator[str]:
    if change.fate in ("refused", "recreated"):
        yield f"in {change.source}"
    yield from output.changed_fields(change.fields)
    yield from (f"refused: {line}" for line in change.problems)
    if change.way:
        yield f"to recreate it: {text(change.way, flags)}"
    if change.loading:
        yield f"model: {change.loading.words}"
    first = "when recreated: " if change.fate == "recreated" else ""
    yield from (f"{first}{line}" for line in costs(change, flags, prices))
    yield from (f"warning: {line}" for line in change.warnings)


def costs(change: Change, flags: ClusterFlags, prices: Prices = UNKNOWN) -> Iterator[str]:
    """What stops, is bought, and goes."""
    if change.outage.pods:
        yield change.outage.words
    if change.uncertain:
        yield f"cannot tell: {change.uncertain}"
    if change.deadlock:
        yield f"deadlock: {text(change.deadlock, flags)}"
    if change.breaks:
        yield f"breaks: {text(change.breaks, flags)}"
    if change.unsized and not change.nodes_most:
        yield f"nodes asked for: how many is not known: {text(change.unsized, flags)}"
    if change.nodes_most:
        number, most = change.nodes_asked, change.nodes_most
        nodes = plural("node", number)
        rivals = ", ".join(change.rivals[:3]) + (" and more" if len(change.rivals) > 3 else "")
        beside = f", up to {most}: {rivals} can use the same nodes and may take them" if most > number else ""
        price = _price(prices, [(change.instance_type, number)], [(change.instance_type, most)])
        least, why = ("at least ", f"; {text(change.unsized, flags)}") if change.unsized else ("", "")
        yield f"nodes asked for: {least}{number} {change.instance_type} {nodes}{beside}{price}{why}"
    for line in change.returned:
        unless = ", unless its pods are placed on it" if line in change.returned_perhaps else ""
        yield f"released: {line}{unless}"
    if change.waits:
        yield f"waits for: {change.waits}"


def summary(plan: Plan, prices: Prices = UNKNOWN) -> str:
    """One line."""
    counts = [(fate, sum(one.fate == fate for one in plan.changes)) for fate in _MARKS]
    words = ", ".join(f"{count} {_FATES.get(fate, fate)}" for fate, count in counts if count)
    bought = ", ".join(f"{count} {name}" for name, count in plan.nodes_asked.items()) or "none"
    asked, most = (sum(getattr(one, name) for one in plan.changes) for name in ("nodes_asked", "nodes_most"))
    bought += f" (up to {most})" if most > asked else ""
    bought += _price(prices, plan.nodes_asked.items(), plan.nodes_most.items())
    if plan.is_unsized:
        bought = f"at least {bought}" if plan.nodes_asked else "not known"
    restarts, given_back = plan.pods_restarted, sum(len(one.returned) for one in plan.written)
    is_certain = not any(one.returned_perhaps for one in plan.written)
    released = f"{'' if is_certain else 'up to '}{given_back}" if given_back else "none"
    return (
        f"{words}; nodes asked for: {bought}; released: {released}; "
        f"pods restarted: {restarts or 'none'} (managed by {plan.manager})"
    )


def _price(prices: Prices, asked: Iterable[tuple[str, int]], most: Iterable[tuple[str, int]]) -> str:
    """What nodes cost, in brackets; empty when nobody has named prices, or no node is asked for."""
    if not prices.per_hour or not (most := list(most)):
        return ""
    amount, _ = prices.total(asked)
    largest, unknown = prices.total(most)
    words = prices.words(amount) + (f", up to {prices.words(largest)}" if largest > amount else "")
    if unknown:
        words = (f"{words} and " if largest else "") + f"no price for {', '.join(unknown)}"
    return f" ({words}; {prices.origin})"
