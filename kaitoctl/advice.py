"""Advice: words with commands in them, which become text once, for the cluster that they are about. Pure.

A rule that advises does not know how its reader named the cluster, and need not quote: it gives a `Command`
word by word. Whoever shows it calls `text` with the flags that lead to that cluster.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

from msgspec import Struct

_ONCE = "FILE"
_READ_ONCE = re.compile(r"-|stdin|/dev/stdin|/(?:dev|proc/self)/fd/\d+")
_INTO_FILE = re.compile(r" > [\w./-]*\w")
# Commands of kaitoctl that ask no cluster, or (fit, validate, convert) only when one is named.
_OFFLINE = frozenset(
    {"adapter", "completion", "config", "convert", "explain", "fit", "mirror", "models", "options"}
    | {"render", "replay", "runtime", "sandbox", "schema", "skus", "template", "validate"}
)


class Variable(str):
    """A word that the reader's shell knows, such as a token that is not printed."""

    __slots__ = ()


class ClusterFlags(Struct, frozen=True):
    """The options by which commands reach one cluster.

    Args:
        kaitoctl: those of kaitoctl.
        kubectl: those of kubectl.
    """

    kaitoctl: tuple[str, ...] = ()
    kubectl: tuple[str, ...] = ()


NO_FLAGS = ClusterFlags()


class _Joining:
    """Advice grows by `+`. An f-string would lose the command in it, and is refused."""

    __slots__ = ()
    parts: tuple[str | Command, ...]

    def __add__(self, more: Advice) -> Text:
        return Text((*self.parts, *((more,) if isinstance(more, str) else more.parts)))

    def __radd__(self, before: str) -> Text:
        return Text((before, *self.parts))

    def __contains__(self, words: str) -> bool:
        return words in "".join(part if isinstance(part, str) else part.line(NO_FLAGS) for part in self.parts)

    def __format__(self, spec: str) -> str:
        raise TypeError(f"{self!r} is joined by +, and made text by advice.text()")


@dataclass(frozen=True, slots=True, init=False)
class Command(_Joining):
    """A command to paste, quoted when it becomes text.

    Args:
        line: the program and what follows it, in words without blanks: `kubectl describe node`.
        words: more of them, whatever a cluster claims that something is called.
    """

    words: tuple[str, ...]

    def __init__(self, line: str, *words: str) -> None:
        object.__setattr__(self, "words", (*line.split(), *words))

    @property
    def parts(self) -> tuple[str | Command, ...]:  # type: ignore[override]
        """Itself, as a part of a text."""
        return (self,)

    def filled(self, names: Mapping[str, str]) -> Command:
        """The command with names in the place of words such as `{namespace}`."""
        return Command("", *(word.format_map(names) for word in self.words))

    def line(self, flags: ClusterFlags) -> str:
        """The command line that reaches the cluster of the flags."""
        program, first = self.words[:2]
        is_offline = program == "kaitoctl" and first in _OFFLINE
        words = (*self.words, *(() if is_offline else getattr(flags, program, ())))
        return " ".join(f'"${word}"' if isinstance(word, Variable) else shlex.quote(word) for word in words)


class Text(Struct, _Joining, frozen=True):
    """Words and commands in a row."""

    parts: tuple[str | Command, ...]


Advice = str | Command | Text


class Words(str):
    """Advice for a screen, which still knows its commands: no line is broken inside of one.

    Attributes:
        commands: the command lines in it.
    """

    commands: tuple[str, ...] = ()


def text(advice: Advice, flags: ClusterFlags = NO_FLAGS) -> str:
    """The advice as it is printed.

    Args:
        advice: what to do.
        flags: of the cluster that it is about.
    """
    if isinstance(advice, str):
        return advice
    return "".join(part if isinstance(part, str) else part.line(flags) for part in advice.parts)


def on_screen(advice: Advice, flags: ClusterFlags = NO_FLAGS) -> str:
    """As `text`, for a screen."""
    if isinstance(advice, str):
        return advice
    found = Words(text(advice, flags))
    found.commands = tuple(_with_files(advice.parts, flags))
    return found


def _with_files(parts: Sequence[str | Command], flags: ClusterFlags) -> Iterator[str]:
    """The command lines, each with the file that its output goes to where the words behind it say so."""
    for part, behind in zip(parts, (*parts[1:], ""), strict=True):
        if not isinstance(part, str):
            into = _INTO_FILE.match(behind) if isinstance(behind, str) else None
            yield part.line(flags) + (into[0] if into else "")


def file_word(name: str) -> str:
    """A file's name for a command to paste: FILE for what can be read only once, such as stdin."""
    return _ONCE if _READ_ONCE.fullmatch(name) else name


def with_file(command: Command, what: str = "what was read from stdin") -> Advice:
    """The command, and what FILE is in it where there is one, such as by `file_word`."""
    return command + f" (FILE: {what})" if _ONCE in command.words else command


def joined(between: str, several: Sequence[Advice]) -> Advice:
    """Several pieces of advice as one."""
    return reduce(lambda before, after: before + (between + after), several)


def filled(advice: Advice, **names: str) -> Advice:
    """The advice with names in the place of words such as `{namespace}` of its commands."""
    if isinstance(advice, str):
        return advice
    parts = (part if isinstance(part, str) else part.filled(names) for part in advice.parts)
    return Text(tuple(parts))


def shortened(words: str, most: int) -> str:
    """The words in at most so many characters, with dots for what is left out at the end."""
    return words if len(words) <= most else f"{words[: most - 3]}..."


def shortened_inside(words: str, most: int) -> str:
    """The beginning and the end, of what container runtimes like to say three times over."""
    if len(words) <= most:
        return words
    head, tail = words[: most // 2], words[-(most // 2) :]
    # Between words, unless one is as long as that.
    return f"{head.rpartition(' ')[0] or head} … {tail.partition(' ')[2] or tail}"
