"""Which variables a template reads, so that one that nobody reads is a slip that is told. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from kaitoctl.errors import InputError
from kaitoctl.kaito import catalog, manifest

_SUFFIX = ".yaml.j2"


def read_by(template: str) -> frozenset[str] | None:
    """The names that a template and what it includes read; None when that cannot be known.

    Args:
        template: its text; one with an error in it is `manifest.render`'s business.
    """
    from jinja2 import Environment, TemplateError, nodes

    names: set[str] = set()
    waiting, seen = [template], set[str]()
    while waiting:
        try:
            tree = Environment(autoescape=True).parse(waiting.pop())
        except TemplateError:
            return None
        names |= {node.name for node in tree.find_all(nodes.Name) if node.ctx == "load"}
        for include in tree.find_all(nodes.Include):
            if not isinstance(include.template, nodes.Const):
                return None
            name = str(include.template.value).removesuffix(_SUFFIX)
            if name not in seen and name in manifest.template_names():
                seen.add(name)
                waiting.append(manifest.template_text(name)[0])
    return frozenset(names)


def insist(items: Iterable[str], template: str | None) -> None:
    """Refuse `--set` items whose variable the template does not read.

    Args:
        items: as `manifest.set_values` takes them.
        template: its text; None for the shipped one.

    Raises:
        InputError: a variable that would be set for nothing; the nearest one that is read is named.
    """
    asked = list(items)
    if not asked:
        return
    shipped = manifest.template_text(manifest.DEFAULT_TEMPLATE)[0]
    known = read_by(shipped if template is None else template)
    if known is None:
        return
    for item in asked:
        name = next(iter(manifest.set_values([item])))
        if name not in known:
            near = catalog.close_matches(name, sorted(known))
            hint = f"did you mean {near[0]}?" if near else f"it reads: {', '.join(sorted(known))}"
            raise InputError(f"--set {item!r}: the template has no variable {name!r}", hint=hint)
