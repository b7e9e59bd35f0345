"""Work on many items by as many processes as the machine has cores."""

from __future__ import annotations

import marshal
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_BATCHES_EACH = 8  # so that a process with the large items does not leave the others idle at the end


def mapped(work: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
    """The result of each item, in their order, worked out by forked copies of this process.

    What a copy does not answer, because its work failed or it was killed, is worked out here: an error is
    raised where it would have been without copies, by the first item that has one.

    Args:
        work: changes nothing and prints nothing; its results are plain data, as JSON knows it.
        items: with fewer than two for each core, no copies are made.
    """
    cores = _cores()
    if cores < 2 or len(items) < 2 * cores:
        yield from map(work, items)
        return
    yield work(items[0])  # what the work loads once is there before it is copied
    size = -(-len(items) // (cores * _BATCHES_EACH))
    batches = [items[start : start + size] for start in range(1, len(items), size)]
    sys.stdout.flush()
    sys.stderr.flush()
    copies: list[_Copy[Item, Result]] = []
    try:
        copies.extend(_Copy(work, batches[first::cores]) for first in range(cores))
        for number, batch in enumerate(batches):
            answer = copies[number % cores].answer()
            yield from map(work, batch) if answer is None else answer
    finally:
        for copy in copies:
            copy.end()


def _cores() -> int:
    """How many processes of ours can run at once; 1 where a process cannot be forked."""
    if not hasattr(os, "fork"):
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Copy(Generic[Item, Result]):
    """A forked copy of this process: works on its batches, and answers each in marshal's format."""

    def __init__(self, work: Callable[[Item], Result], batches: Sequence[Sequence[Item]]) -> None:
        read, write = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            _answer(write, work, batches)
        os.close(write)
        self._answers = os.fdopen(read, "rb")

    def answer(self) -> list[Result] | None:
        """The results of the next batch; None when the copy has ended without them."""
        try:
            results: list[Result] = marshal.load(self._answers)  # noqa: S302 - written by a copy of ourselves
        except (EOFError, ValueError, TypeError):  # nothing, or half of an answer
            return None
        return results

    def end(self) -> None:
        """End the copy if it is still at work."""
        self._answers.close()
        with suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)


def _answer(write: int, work: Callable[[Item], Result], batches: Sequence[Sequence[Item]]) -> None:
    """In a copy: work, answer, and end without a word, whatever happens; the original says what is wrong."""
    try:
        with os.fdopen(write, "wb") as answers:
            for batch in batches:
                marshal.dump([work(item) for item in batch], answers)
                answers.flush()
    finally:
        os._exit(0)
