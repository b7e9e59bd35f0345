"""Going on only when somebody says yes: for what restarts pods or takes something away."""

from __future__ import annotations

import asyncio

from kaitoctl.cli import output
from kaitoctl.errors import InputError, Interrupted, NegativeAnswer


def insist_that_it_can_be_given(*, yes: bool) -> None:
    """Before anything is shown or done: `--yes`, or a terminal to ask on.

    Raises:
        InputError: neither.
    """
    if not yes and not output.can_ask():
        raise InputError(
            "this restarts pods or removes something, and there is no terminal to confirm it on; "
            "nothing was written",
            hint="add --yes to skip the confirmation prompt, or look first with --dry-run=server",
        )


async def insist(question: str) -> None:
    """Ask on the terminal.

    Raises:
        NegativeAnswer: the person would rather not.
        Interrupted: Ctrl-C at the question.
    """
    try:
        is_yes = await output.ask(question)
    except asyncio.CancelledError:
        raise Interrupted("interrupted; nothing was written") from None
    if not is_yes:
        raise NegativeAnswer("nothing was written")
