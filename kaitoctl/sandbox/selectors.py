"""The query parameters `labelSelector` and `fieldSelector` as predicates on objects. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from kaitoctl.kube.objects import Object, dig, labels_of, matches_expression
from kaitoctl.sandbox.error_status import bad_request

Predicate = Callable[[Object], bool]

_TERM = re.compile(
    r"""\s*(?:
      (?P<absent>!)\s*(?P<no>[^\s,=!()<>]+)
    | (?P<key>[^\s,=!()<>]+)\s*(?:
          (?P<set>\b(?:in|notin))\s*\((?P<values>[^)]*)\)
        | (?P<op>==|=|!=|>|<)\s*(?P<value>[^\s,]*)
      )?
    )\s*(?:,|$)""",
    re.VERBOSE,
)


def label_predicate(selector: str) -> Predicate | None:
    """What a label selector in text form selects; None when it selects everything.

    Understands `a`, `!a`, `a=b`, `a==b`, `a!=b`, `a in (b,c)`, `a notin (b,c)`, `a>1`, `a<1`, and commas.

    Raises:
        Failure: 400, it cannot be read.
    """
    requirements = list(_requirements(selector))
    if not requirements:
        return None
    return lambda obj: all(matches_expression(item, labels_of(obj)) for item in requirements)


def _requirements(selector: str) -> Iterator[Mapping[str, object]]:
    position = 0
    while position < len(selector.rstrip()):
        term = _TERM.match(selector, position)
        if term is None or term.end() == position:
            raise bad_request(f"unable to parse requirement: {selector!r}, at {selector[position:]!r}")
        position = term.end()
        if term["absent"]:
            yield {"key": term["no"], "operator": "DoesNotExist"}
        elif term["set"]:
            values = [value.strip() for value in term["values"].split(",")]
            yield {"key": term["key"], "operator": "In" if term["set"] == "in" else "NotIn", "values": values}
        elif term["op"]:
            operator = {"!=": "NotIn", ">": "Gt", "<": "Lt"}.get(term["op"], "In")
            yield {"key": term["key"], "operator": operator, "values": [term["value"]]}
        else:
            yield {"key": term["key"], "operator": "Exists"}


def field_terms(selector: str) -> list[tuple[str, bool, str]]:
    """A field selector as (field, wanted or unwanted, value).

    Raises:
        Failure: 400, it cannot be read.
    """
    terms = []
    for term in filter(None, (part.strip() for part in selector.split(","))):
        match = re.fullmatch(r"([^=!]+)(==|=|!=)(.*)", term)
        if not match:
            raise bad_request(f'invalid selector: {selector!r}; can\'t understand "{term}"')
        terms.append((match[1], match[2] != "!=", match[3]))
    return terms


def field_predicate(selector: str, known: Sequence[str]) -> Predicate | None:
    """What a field selector selects; None when it selects everything.

    Raises:
        Failure: 400, unreadable, or a field that this resource cannot be selected by.
    """
    terms = field_terms(selector)
    for name, _, _ in terms:
        if name not in known:
            raise bad_request(f"field label not supported: {name}")
    if not terms:
        return None
    wanted = [(name.split("."), sense, value) for name, sense, value in terms]
    return lambda obj: all((_text(dig(obj, *path)) == value) is sense for path, sense, value in wanted)


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)
