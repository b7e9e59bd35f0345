"""A template and values: one object. What a command needs only when the default template is not compiled.

Templates are Jinja2 and belong to the user; values may come from anywhere. The two never mix as text:
while a template renders, every value is stood in for by a placeholder of letters and digits, the result
is parsed as YAML, and only in the parsed tree do values take their places. So no value can become YAML
syntax, whatever quoting a template uses.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from kaitoctl.errors import InputError
from kaitoctl.kaito import template_sandbox, templates
from kaitoctl.kube.documents import (
    MAX_CHARACTERS,
    Refused,
    kind_of,
    locate_error,
    parse,
    scalar_value,
    size_of,
)
from kaitoctl.kube.objects import Object

if TYPE_CHECKING:
    from jinja2 import Environment


class _JsonText(str):
    """What the filter `tojson` gives: JSON text inside a string, the value itself where a value stands."""

    __slots__ = ("value",)
    value: Any

    def __new__(cls, value: Any) -> _JsonText:
        text = super().__new__(cls, json.dumps(templates.plain(value), ensure_ascii=False))
        text.value = value
        return text


class _Placeholders:
    """Stand-ins for values while their template is only text.

    Guarantee: a stand-in consists of letters and digits and cannot be guessed by whoever chose the values.
    """

    def __init__(self) -> None:
        self._mark = f"Q{os.urandom(12).hex()}Q"
        self._pattern = re.compile(f"{self._mark}([0-9]+)Z")
        self._values: list[Any] = []
        self._size = 0

    def stand_in(self, value: Any) -> str:
        """A new placeholder for `value`; jinja calls it for everything that a template prints."""
        from jinja2 import Undefined

        if isinstance(value, Undefined):
            str(value)  # says which variable is missing
        kept = value if isinstance(value, _JsonText) else templates.plain(value)
        self._size += size_of(kept)
        if self._size > MAX_CHARACTERS:
            raise Refused(f"it prints more than {MAX_CHARACTERS:,} characters")
        self._values.append(kept)
        return f"{self._mark}{len(self._values) - 1}Z"

    def value(self, text: str, plain: bool) -> Any:
        """What a parsed scalar means: the value of a lone unquoted placeholder, else text."""
        if plain and (alone := self._pattern.fullmatch(text)):
            found = self._values[int(alone[1])]
            return templates.plain(found.value) if isinstance(found, _JsonText) else templates.plain(found)
        if self._mark in text:
            return self._pattern.sub(lambda found: self._as_text(self._values[int(found[1])]), text)
        return scalar_value(text) if plain else text

    def with_placeholders(self, text: str) -> str:
        """`text` for an error message: values stand where they would."""
        return self._pattern.sub(lambda found: json.dumps(self._values[int(found[1])])[:60], text)

    @staticmethod
    def _as_text(value: Any) -> str:
        match value:
            case str():
                return str(value)
            case bool():
                return "true" if value else "false"
            case int() | float():
                return repr(value)
            case None:
                raise Refused("null stands inside a text or in quotes")
            case _:
                raise Refused(
                    f"a {'list' if isinstance(value, list) else 'map'} stands inside a text or in quotes"
                )


def render(template: str, values: Mapping[str, Any], *, source: str) -> Object:
    """The one object that a template makes of values.

    An unquoted `{{ value }}` keeps the value's type, lists and maps included; inside quotes or beside other
    text it is text. Templates may include the shipped ones (`{% include "inference.yaml.j2" %}`), and stop
    with `{{ fail("why") }}`.

    Args:
        template: Jinja2 text.
        values: the variables; plain data, copied.
        source: how errors name the template.

    Raises:
        InputError: with file and line: a syntax error, an undefined variable, output that is not YAML, has
            a key twice, or is not exactly one document with a map at its top.

    Guarantee: no value becomes YAML syntax or template code.
    """
    from jinja2 import TemplateError, TemplateNotFound, TemplateSyntaxError
    from yaml import YAMLError

    if len(template) > templates.MAX_TEMPLATE:
        raise InputError(f"{source}: the template is longer than {templates.MAX_TEMPLATE:,} characters")
    placeholders = _Placeholders()
    try:
        environment = _environment(placeholders.stand_in)
        text = _join_bounded(environment.from_string(template).generate(templates.plain(values)))
    except TemplateSyntaxError as error:
        raise InputError(f"{error.filename or source}:{error.lineno}: {error.message}") from None
    except TemplateNotFound as error:
        raise InputError(
            f"{_place(error, source)}: there is no template {error.name!r} to include",
            hint="shipped: " + ", ".join(f"{name}{templates.SUFFIX}" for name in templates.names()),
        ) from None
    except (TemplateError, Refused) as error:
        if isinstance(error, _Failed) and _place(error, source).startswith(templates.SHIPPED):
            raise InputError(str(error)) from None  # it is about what was asked for, and not about its line
        missing = re.fullmatch(r"'(\w+)' is undefined", str(error))
        hint = f"give it with --set {missing[1]}=VALUE" if missing else ""
        raise InputError(f"{_place(error, source)}: {error}", hint=hint) from None
    except RecursionError:
        raise InputError(f"{source}: the template is nested too deeply") from None
    except Exception as error:  # whatever an expression can raise: TypeError, ZeroDivisionError, ...
        raise InputError(f"{_place(error, source)}: {type(error).__name__}: {error}") from None

    try:
        documents = list(parse(text, placeholders.value))
    except (YAMLError, UnicodeError, Refused) as error:
        line, _, what = locate_error(error)
        shown = placeholders.with_placeholders(
            (text.splitlines() or [""])[min(line, len(text.splitlines())) - 1]
        ).strip()
        raise InputError(f"{source}: line {line} of what it renders to: {what}: {shown[:120]!r}") from None
    if len(documents) != 1:
        raise InputError(f"{source}: renders to {len(documents)} YAML documents instead of one Workspace")
    if not isinstance(documents[0], dict):
        raise InputError(f"{source}: renders to a {kind_of(documents[0])} instead of a Workspace")
    return documents[0]


class _Failed(Refused):
    """A template has called `fail`."""


_UNNAMED = "<template>"  # how jinja calls a template that came as text


def _environment(finalize: Callable[[Any], str]) -> Environment:
    def shipped(name: str) -> tuple[str, str, None] | None:
        plain_name = name.removesuffix(templates.SUFFIX)
        return (*templates.text_of(plain_name), None) if plain_name in templates.names() else None

    def fail(message: str) -> None:
        raise _Failed(str(message))

    environment = template_sandbox.environment(finalize, shipped)
    environment.filters["tojson"] = _JsonText
    environment.globals["fail"] = fail
    return environment


def _join_bounded(pieces: Iterable[str]) -> str:
    kept, size = [], 0
    for piece in pieces:
        size += len(piece)
        if size > MAX_CHARACTERS:
            raise Refused(f"it prints more than {MAX_CHARACTERS:,} characters")
        kept.append(piece)
    return "".join(kept)


def _place(error: BaseException, source: str) -> str:
    """`file:line` of the innermost template in an error's traceback (jinja puts template lines there)."""
    place, step = f"{source}:1", error.__traceback__
    while step is not None:
        file = step.tb_frame.f_code.co_filename
        if file == _UNNAMED or file.startswith(templates.SHIPPED):
            place = f"{source if file == _UNNAMED else file}:{step.tb_lineno}"
        step = step.tb_next
    return place
