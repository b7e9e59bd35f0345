"""Confirmation, for what restarts pods, buys nodes or removes something."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from kaitoctl.errors import InputError, Interrupted, NegativeAnswer
from kaitoctl.kaito.prices import Prices
from kaitoctl.screens import output, plan_screen

if TYPE_CHECKING:
    from kaitoctl.commands.target import Target
    from kaitoctl.kaito.planning import Change

_NO_PRICES = Prices()


def show_costs(target: Target, change: Change, prices: Prices = _NO_PRICES) -> None:
    """What a change stops, buys, gives back and waits for."""
    for line in plan_screen.costs(change, target.flags, prices):
        output.warning(line)


def require_yes_or_tty(*, yes: bool) -> None:
    """Before anything is shown or done: `--yes`, or a terminal to ask on.

    Raises:
        InputError: neither.
    """
    if not yes and not output.can_ask():
        raise InputError(
            "this restarts pods, buys nodes or removes something, and there is no terminal to confirm it on; "
            "nothing was written",
            hint="add --yes to skip the confirmation prompt, or preview it with --dry-run=server",
        )


async def confirm(question: str) -> None:
    """Ask on the terminal.

    Raises:
        NegativeAnswer: the answer is no.
        Interrupted: Ctrl-C at the question.
    """
    try:
        is_yes = await output.ask(question)
    except asyncio.CancelledError:
        raise Interrupted("interrupted; nothing was written") from None
    if not is_yes:
        raise NegativeAnswer("nothing was written")
