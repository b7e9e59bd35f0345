"""Writes one after the other: an error that ends them early says what is done, and what is not."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, TypeVar

from msgspec import Struct

from kaitoctl.errors import KaitoctlError

if TYPE_CHECKING:
    from kaitoctl.advice import Advice

T = TypeVar("T")

_MOST_NAMED = 10


class Progress(Struct):
    """How far a command has come.

    Args:
        word: what it does to objects: `applied` or `deleted`.
        again: the command that goes on.
        titles: of all objects, in the order in which they are written.
        done: how many of them are.
        is_sent: whether the next one has been sent, too, and nobody has answered yet.
        before: what the same command has written before these, and is told with them.
    """

    word: str
    again: Advice
    titles: Sequence[str] = ()
    done: int = 0
    is_sent: bool = False
    before: Progress | None = None

    @property
    def has_begun(self) -> bool:
        """Whether anything may have been written."""
        return bool(self.titles) and (self.done > 0 or self.is_sent)

    def words(self, *, beside: int = 0) -> str:
        """What is done, and what is not.

        Args:
            beside: of how many after those that are done nobody knows.
        """
        rest = self.titles[self.done + beside :]
        left = f"; not {self.word}: {_named(rest)}" if rest else ""
        return f"{self.word}: {_named(self.titles[: self.done])}{left}"

    def interrupted_words(self) -> str:
        """The same for who interrupts: of what is under way nobody knows."""
        if not self.is_sent:
            return self.words()
        return (
            f"whether {self.titles[self.done]} was {self.word} is unknown; {self.words(beside=self.is_sent)}"
        )

    async def each(self, items: Iterable[T], write: Callable[[T], Awaitable[object]]) -> None:
        """Write one after the other; whatever stops it, the figures here are true.

        Args:
            items: what is written, in the order of the titles.
            write: writes one.

        Raises:
            KaitoctlError: one could not be written; of several it says how far they came, and what goes on.
        """
        for item in items:
            self.is_sent = True
            try:
                await write(item)
            except KaitoctlError as error:
                self.is_sent = False
                if len(self.titles) > 1 or (self.titles and self.before is not None):
                    self._explain(error)
                raise
            self.is_sent = False
            self.done += 1

    def _explain(self, error: KaitoctlError) -> None:
        how_far = self.words(beside=error.may_be_done)
        if self.before is not None and self.before.titles:
            how_far = f"{self.before.words()}; {how_far}"
        error.message = f"{self.titles[self.done]}: {error.message}; {how_far}"
        goes_on_with(error, self.again)


def goes_on_with(error: KaitoctlError, again: Advice) -> None:
    """Let an error name, behind what helps, the command that goes on."""
    goes_on = again + " continues where this stopped"
    error.hint = error.hint + ("; then " + goes_on) if error.hint else goes_on


def _named(titles: Sequence[str]) -> str:
    """Of many the first and the last, for they follow one another."""
    if len(titles) > _MOST_NAMED:
        return f"{len(titles)} objects, {titles[0]} to {titles[-1]} in the order above"
    return ", ".join(titles) or "nothing"
