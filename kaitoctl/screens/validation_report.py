"""What `validate` shows: the problems of each document, as text with excerpts or as JSON, and a summary."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from msgspec import Struct

from kaitoctl.advice import NO_FLAGS, ClusterFlags, text
from kaitoctl.kaito import api
from kaitoctl.kaito.validation import OWN
from kaitoctl.kaito.validation.releases import release_named
from kaitoctl.kube.objects import dig
from kaitoctl.screens import output

if TYPE_CHECKING:
    from kaitoctl.kaito.validation import Problem
    from kaitoctl.kube.documents import Document, Fault
    from kaitoctl.kube.objects import Object

_NARROWEST = 40
FLEETS = tuple(kind.kind for kind in api.FLEETS)
_OTHERS = ("RAGEngine",)  # of group kaito.sh, too, and kaitoctl has no rules for it


class Place(Struct, frozen=True):
    """A problem and where it is: line and column from 1, None when the text does not say; the line's text."""

    problem: Problem
    line: int | None
    column: int | None
    text: str

    def where(self) -> tuple[int, int]:
        """What places are sorted by."""
        return self.line or 0, self.column or 0


class Judged(Struct, frozen=True):
    """One document and what is wrong with it.

    Args:
        target: what it was validated for.
        is_versioned: whether it says its apiVersion, so that the target follows from that.
    """

    index: int
    source: str
    kind: str
    name: str
    namespace: str
    places: tuple[Place, ...]
    target: str
    is_versioned: bool = True

    def count(self, severity: str) -> int:
        """How many problems of a severity there are."""
        return sum(place.problem.severity == severity for place in self.places)

    @property
    def admission(self) -> str | None:
        """What KAITO's admission would answer: `refuses` or `admits`; None where no KAITO is judged for."""
        if self.target == OWN:
            return None
        is_refused = any(place.problem.kaito == "refuses" for place in self.places)
        return "refuses" if is_refused else "admits"

    def is_valid(self, *, strict: bool) -> bool:
        """Whether there is no error; when strict, no warning either."""
        return not (self.places if strict else self.count("error"))


def places_of(problems: Iterable[Problem], document: Document, fault: Fault | None) -> tuple[Place, ...]:
    """The problems with where they are, in the order of the text."""
    places = []
    for problem in problems:
        line, column = document.position(problem.path) or (None, None)
        if fault is not None and problem.code == "KW100":
            line, column = fault.line, fault.column
        places.append(Place(problem, line, column, document.line(line) if line else ""))
    return tuple(sorted(places, key=Place.where))


def as_json(result: Judged, flags: ClusterFlags = NO_FLAGS, *, strict: bool) -> Object:
    """A document and its problems, as `-o json` promises them."""
    return {
        "index": result.index,
        "source": result.source,
        "name": result.name,
        "namespace": result.namespace,
        "valid": result.is_valid(strict=strict),
        "judgedAs": _measured_release(result.target),
        "admission": result.admission,
        "problems": [
            {
                "path": place.problem.path,
                "code": place.problem.code,
                "severity": place.problem.severity,
                "message": place.problem.message,
                "hint": text(place.problem.hint, flags),
                "kaito": place.problem.kaito or None,
                "line": place.line,
                "column": place.column,
            }
            for place in result.places
        ],
    }


def _measured_release(target: str) -> str:
    """The release whose measured answers count for a target."""
    release = release_named(target)
    return release.measured if release else target


def as_text(result: Judged, flags: ClusterFlags = NO_FLAGS) -> str:
    """The problems of a document for people: where, what, the line with a caret, and what to do."""
    width = max(shutil.get_terminal_size().columns, _NARROWEST)
    paint = _painter()
    lines: list[str] = []
    for place in result.places:
        problem = place.problem
        where = "".join(f":{number}" for number in (place.line, place.column) if number)
        answer = f" (KAITO: {problem.kaito})" if problem.kaito else ""
        severity = paint(problem.severity, problem.severity)
        source = output.visible(f"{result.source}{where}: ")
        lines.append(f"{source}{severity} {output.visible(problem.code + answer)}")
        said = problem.text
        lines += _wrap(said, width)
        if place.text.strip() and place.column and not _has_bytes(place.text):
            line, caret = _excerpt(place.line or 0, place.column, place.text, width)
            lines += [line, caret[:-1] + paint("^", problem.severity)]
        if problem.hint:
            lines += _wrap("hint: " + text(problem.hint, flags), width)
        lines.append("")
    return "\n".join(lines[:-1]) + "\n"


def _painter() -> Callable[[str, str], str]:
    """Paints words by severity; on what gets no colours it leaves them as they are."""
    if not output.is_drawn(sys.stdout) or os.environ.get("NO_COLOR"):
        return lambda words, _: words
    colours = {"error": "\x1b[1;31m", "warning": "\x1b[33m"}
    return lambda words, severity: f"{colours.get(severity, '')}{words}\x1b[0m"


def _wrap(words: str, width: int) -> list[str]:
    return textwrap.wrap(
        output.visible(words), width, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False
    )


def _has_bytes(text: str) -> bool:
    """Whether some of it was no text; shown as what stands for it, that tells nobody anything."""
    return any("\udc80" <= one <= "\udcff" for one in text)


def _excerpt(number: int, column: int, text: str, width: int) -> list[str]:
    """The line, cut so that the column is seen, and a caret below it."""
    margin = f"  {number} | "
    room = width - len(margin)
    start = max(0, column - 1 - room // 2) if column > room else 0
    before, after = output.visible(text[start : column - 1]), output.visible(text[column - 1 : start + room])
    return [
        f"{margin}{(before + after)[:room].rstrip()}",
        f"{' ' * (len(margin) - 2)}| {' ' * min(len(before), room - 1)}^",
    ]


OLD_API_WORDS = "v1alpha1 is judged as KAITO v0.4; --target-version names another release, such as v0.12"
"""What stderr says where nobody names a release, and today's judge otherwise."""

# What no API version alone stands for: a preset led to it.
_CHOSEN = {"v0.4.6", "v0.9"}


def print_summary(judged: list[Judged], invalid: int, skipped: int, *, is_release_said: bool) -> None:
    """One line on stderr: how many documents, valid and not, and how many problems.

    Before it stands as which KAITO v1alpha1 is judged where nobody says it: today's judge it otherwise.
    """
    if not is_release_said and any(one.target == "v0.4" and one.is_versioned for one in judged):
        output.step(OLD_API_WORDS)
    for target in sorted({one.target for one in judged} & _CHOSEN if not is_release_said else ()):
        names = [one.name or "a document" for one in judged if one.target == target]
        whose = names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
        output.step(
            f"{whose}: judged as KAITO {target}, which serves the preset in that API version; "
            "--target-version names another release"
        )
    errors, warnings = (sum(result.count(kind) for result in judged) for kind in ("error", "warning"))
    text = (
        f"{_number(len(judged), 'document')}: {len(judged) - invalid} valid, {invalid} invalid; "
        f"{_number(errors, 'error')}, {_number(warnings, 'warning')}"
        + (f"; {skipped} skipped" if skipped else "")
    )
    (output.failure if invalid else output.success)(text)


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def title(obj: Object) -> str:
    """What an object that is not judged is called: its kind and name, whatever they are."""
    kind, name = _text(obj.get("kind"))[:63], _text(dig(obj, "metadata", "name"))[:253]
    return f"{kind or 'an object without kind'} {name}".rstrip()


def why_not_judged(obj: Object) -> str:
    """Why an object of KAITO's API group is not judged; empty for one of another group."""
    kind, version = _text(obj.get("kind")), _text(obj.get("apiVersion"))
    if not kind or not version.startswith("kaito.sh/"):
        return ""
    if kind in _OTHERS:
        return f"{kind} is a kind of KAITO's for which there are no rules here"
    known = ", ".join(("Workspace", *FLEETS, *_OTHERS))
    return f"kaitoctl knows no such kind of kaito.sh (it knows {known}): it is misspelt, or of a newer KAITO"


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
