"""Variables of templates: what `--set` gives them, and which are read, so that a slip is said. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from kaitoctl.errors import InputError
from kaitoctl.kaito import catalog, templates

_INTEGER = r"-?(0|[1-9][0-9]{0,17})"
_WORDS = {"true": True, "false": False, "null": None}
_FUNCTIONS = frozenset({"fail", "range", "dict", "cycler", "joiner", "lipsum"})  # no variables


class GivenVariable(NamedTuple):
    """A variable that somebody gave a value to.

    Args:
        by: how, for messages: `--set 'count=2'`, `--values falcon.yaml`, `--count`.
        name: of the variable.
    """

    by: str
    name: str


def set_values(items: Iterable[str]) -> dict[str, Any]:
    r"""Variables from `a.b=value` items: integers, `true`, `false`, `null` get their type, the rest is text.

    A dot that belongs to a key is written `\.`.

    Raises:
        InputError: an item without `=` or with an empty key, or two items that contradict each other.
    """
    values: dict[str, Any] = {}
    for item in items:
        path, equals, text = item.partition("=")
        keys = [key.replace("\\.", ".") for key in re.split(r"(?<!\\)\.", path)]
        if not equals or not all(keys):
            raise InputError(f"--set {item!r} is not of the form key=value or key.key=value")
        target = values
        for key in keys[:-1]:
            target = target.setdefault(key, {})
            if not isinstance(target, dict):
                raise InputError(f"--set {item!r}: {key!r} already has a value of its own")
        if isinstance(target.get(keys[-1]), dict):
            raise InputError(f"--set {item!r}: {path!r} already has keys below it")
        target[keys[-1]] = int(text) if re.fullmatch(_INTEGER, text) else _WORDS.get(text, text)
    return values


def by_set(items: Iterable[str]) -> list[GivenVariable]:
    """The variables that `--set` items give, as `set_values` takes them."""
    return [GivenVariable(f"--set {item!r}", next(iter(set_values([item])))) for item in items]


def by_options(values: Mapping[str, object]) -> list[GivenVariable]:
    """The variables that options give, of their values by variable: None and no items are no value."""
    return [
        GivenVariable(f"--{name.removesuffix('s').replace('_', '-')}", name)
        for name, value in values.items()
        if value is not None and value != []
    ]


def read_by(template: str) -> frozenset[str] | None:
    """The names that a template and what it includes read; None when that cannot be known.

    What a template sets itself before it reads it is none of them.

    Args:
        template: its text; one with an error in it is `template_rendering`'s business.
    """
    from jinja2 import Environment, TemplateError, meta

    names: set[str] = set()
    waiting, seen = [template], set[str]()
    while waiting:
        try:
            tree = Environment(autoescape=True).parse(waiting.pop())
        except TemplateError:
            return None
        names |= meta.find_undeclared_variables(tree)
        for included in meta.find_referenced_templates(tree):
            if included is None:
                return None
            name = included.removesuffix(templates.SUFFIX)
            if name not in seen and name in templates.names():
                seen.add(name)
                waiting.append(templates.text_of(name)[0])
    return frozenset(names) - _FUNCTIONS


def insist(given: Iterable[GivenVariable], template: str | None) -> None:
    """Refuse variables that the template does not read, whichever way they were given.

    Args:
        given: the variables.
        template: its text; None for the shipped one.

    Raises:
        InputError: a variable that would be given for nothing; the nearest one that is read is named.
    """
    asked = list(given)
    if not asked:
        return
    shipped = templates.text_of(templates.DEFAULT)[0]
    known = read_by(shipped if template is None else template)
    if known is None:
        return
    for by, name in asked:
        if name not in known:
            near = catalog.close_matches(name, sorted(known))
            hint = f"did you mean {near[0]}?" if near else f"it reads: {', '.join(sorted(known))}"
            raise InputError(f"{by}: the template has no variable {name!r}", hint=hint)
