"""Work in a process of its own, whose memory goes with it: a server holds its model alone."""

from __future__ import annotations

import os
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any, TypeVar, cast

from kaitoctl.errors import InputError

T = TypeVar("T")


def apart(work: Callable[[], T], *, doing: str) -> T:
    """What a function returns, worked out by a copy of this process; here where there is no fork.

    Args:
        work: must not start threads that are needed later; its result is pickled.
        doing: begins the message about a copy that has ended before it was done.

    Assumes: no other thread holds a lock.

    Raises:
        InputError: what the function raises; or the copy was ended, by the kernel for its memory perhaps.
    """
    if not hasattr(os, "fork"):
        return work()
    forking = get_context("fork")
    ours, theirs = forking.Pipe(duplex=False)
    copy = forking.Process(target=_run, args=(work, theirs), daemon=True)
    copy.start()
    theirs.close()
    try:
        found, error = ours.recv()
    except EOFError:
        copy.join()
        hint = "check its last words above; killed by the kernel, it needs more memory"
        raise InputError(f"{doing}: the process ended with {copy.exitcode}", hint=hint) from None
    copy.join()
    if error is not None:
        raise error
    return cast("T", found)


def _run(work: Callable[[], Any], result: Connection) -> None:
    outcome: tuple[Any, InputError | None]
    try:
        outcome = work(), None
    except InputError as error:
        outcome = None, error
    result.send(outcome)
