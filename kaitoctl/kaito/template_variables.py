"""Which variables a template reads, so that one that nobody reads is a slip that is said. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from kaitoctl.errors import InputError
from kaitoctl.kaito import catalog, manifest, templates

_FUNCTIONS = frozenset({"fail", "range", "dict", "cycler", "joiner", "lipsum"})  # no variables


class GivenVariable(NamedTuple):
    """A variable that somebody gave a value to.

    Args:
        by: how, for messages: `--set 'count=2'`, `--values falcon.yaml`, `--count`.
        name: of the variable.
    """

    by: str
    name: str


def by_set(items: Iterable[str]) -> list[GivenVariable]:
    """The variables that `--set` items give, as `manifest.set_values` takes them."""
    return [GivenVariable(f"--set {item!r}", next(iter(manifest.set_values([item])))) for item in items]


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
