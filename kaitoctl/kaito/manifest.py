"""Requests, templates and YAML: from what a user asks for to one Workspace, and back to text.

Templates are Jinja2 and belong to the user; values may come from anywhere. The two never mix as text:
while a template renders, every value is stood in for by a placeholder of letters and digits, the result
is parsed as YAML, and only in the parsed tree do values take their places. So no value can become YAML
syntax, whatever quoting a template uses. Whether the Workspace makes sense is `validation`'s business.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kaitoctl import packaged
from kaitoctl.errors import InputError
from kaitoctl.kube.objects import Object

if TYPE_CHECKING:
    from jinja2 import Environment, nodes
    from yaml import CSafeDumper

DEFAULT_TEMPLATE = "inference"

_ADAPTER_GRAMMAR = "name=image[,strength=S][,pull-secret=P]"
_SUFFIX = ".yaml.j2"
_SHIPPED = "shipped template "  # how errors name what ships with us

_MAX_TEMPLATE = 1_000_000  # characters
_MAX_YAML = 10_000_000  # characters
_MAX_DEPTH = 100
_MAX_ALIASED = 1_000_000  # values and characters that aliases stand for: a "billion laughs" file stops here


@dataclass(frozen=True, slots=True)
class Adapter:
    """A LoRA adapter to load over a model.

    Args:
        name: unique in its Workspace; names a container.
        image: reference of the image that holds the adapter's files under `/data`.
        strength: a decimal from 0 to 1, as text, which is what the API wants.
        image_pull_secrets: names of Secrets to pull the image with.
    """

    name: str
    image: str
    strength: str = "1.0"
    image_pull_secrets: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Adapter:
        """The adapter that `name=image[,strength=S][,pull-secret=P]` describes; `pull-secret` may repeat.

        Raises:
            InputError: not of that form. Whether name, image and strength are good is not judged here.
        """

        def malformed(what: str) -> InputError:
            return InputError(f"adapter {text!r}: {what}", hint=f"write it as {_ADAPTER_GRAMMAR}")

        first, *options = text.split(",")
        name, equals, image = first.partition("=")
        if not (name and equals and image):
            raise malformed("name and image are both needed")
        strength: str | None = None
        secrets: list[str] = []
        for option in options:
            key, _, value = option.partition("=")
            if not value:
                raise malformed(f"{option!r} is not key=value")
            if key == "pull-secret":
                secrets.append(value)
            elif key != "strength":
                raise malformed(f"{key!r} is not an option of an adapter")
            elif strength is not None:
                raise malformed("strength is given twice")
            else:
                strength = value
        return cls(name, image, "1.0" if strength is None else strength, tuple(secrets))


@dataclass(frozen=True, slots=True)
class WorkspaceRequest:
    """What a user asks for: a preset, served on nodes of a kind.

    Args:
        name: of the Workspace.
        namespace: it goes to.
        preset: name of the preset.
        instance_type: of the nodes; None leaves it to the API's default.
        count: number of nodes.
        labels: that nodes must carry, `resource.labelSelector.matchLabels`.
        preferred_nodes: names of nodes to use first.
        adapters: to load over the model.
        image_pull_secrets: for `private_image`.
        private_image: run this image instead of the published one.
        api_version: version within the group, `v1alpha1` or `v1beta1`.
        annotations: of the Workspace.
    """

    name: str
    namespace: str
    preset: str
    instance_type: str | None = None
    count: int = 1
    labels: Mapping[str, str] = field(default_factory=dict)
    preferred_nodes: tuple[str, ...] = ()
    adapters: tuple[Adapter, ...] = ()
    image_pull_secrets: tuple[str, ...] = ()
    private_image: str | None = None
    api_version: str = "v1alpha1"
    annotations: Mapping[str, str] = field(default_factory=dict)


def values_of(request: WorkspaceRequest) -> dict[str, Any]:
    """The variables that templates see: the request's fields under their own names."""
    # asdict deep-copies what it does not know, and a read-only mapping cannot be copied.
    request = replace(request, labels=dict(request.labels), annotations=dict(request.annotations))
    values: dict[str, Any] = _plain(asdict(request))
    return values


def workspace(
    request: WorkspaceRequest,
    template: str | None = None,
    extra: Mapping[str, Any] | None = None,
    *,
    source: str = "template",
) -> Object:
    """The Workspace that a request and a template make.

    Args:
        request: what the template is filled with.
        template: text of a template, the shipped `inference` when None.
        extra: more variables, as from `set_values`; they win over the request's, maps are merged.
        source: how errors name the template.

    Raises:
        InputError: as `render`.
    """
    if template is None:
        template, source = template_text(DEFAULT_TEMPLATE)
    return render(template, _merged(values_of(request), extra or {}), source=source)


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        both_maps = isinstance(old, Mapping) and isinstance(value, Mapping)
        merged[key] = _merged(old, value) if both_maps else value  # type: ignore[arg-type]
    return merged


_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,17})")
_WORDS = {"true": True, "false": False, "null": None}


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
        target[keys[-1]] = int(text) if _INTEGER.fullmatch(text) else _WORDS.get(text, text)
    return values


# --- templates -----------------------------------------------------------------------------------------


def template_names() -> list[str]:
    """The names of the shipped templates, sorted."""
    return sorted(
        file.name.removesuffix(_SUFFIX) for file in packaged.folder("templates").glob(f"*{_SUFFIX}")
    )


def template_text(name_or_path: str) -> tuple[str, str]:
    """A template's text and how errors name it.

    A path is what exists as a file, has a slash, or has a suffix; anything else is a shipped template's name.

    Raises:
        InputError: no such template, or a file that cannot be read.
    """
    path = Path(name_or_path)
    if "\0" in name_or_path or not name_or_path:
        raise InputError(f"template {name_or_path!r} is not a name and not a path")
    if "/" in name_or_path or path.suffix or path.is_file():
        return _file_text(path), name_or_path
    shipped = packaged.folder("templates") / f"{name_or_path}{_SUFFIX}"
    if not shipped.is_file():
        raise InputError(
            f"there is no template {name_or_path!r}",
            hint=f"shipped: {', '.join(template_names())}; a file of your own needs a suffix or a slash",
        )
    return _file_text(shipped), f"{_SHIPPED}{name_or_path}"


def _file_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(4 * _MAX_TEMPLATE + 1)
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text (byte {error.start})") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None


class _Refused(Exception):
    """Something in a template or a value that we do not do; `render` adds where."""


class _JsonText(str):
    """What the filter `tojson` gives: JSON text inside a string, the value itself where a value stands."""

    __slots__ = ("value",)
    value: Any

    def __new__(cls, value: Any) -> _JsonText:
        text = super().__new__(cls, json.dumps(_plain(value), ensure_ascii=False))
        text.value = value
        return text


def _plain(value: Any) -> Any:
    """A deep copy of `value` made of dict, list, str, int, float, bool and None only."""
    match value:
        case None | bool():
            return value
        case str():
            return str(value)
        case int():
            return int(value)
        case float():
            if not math.isfinite(value):
                raise _Refused(f"{value} has no JSON form")
            return float(value)
        case Mapping():
            return {_plain_key(key): _plain(item) for key, item in value.items()}
        case list() | tuple() | range():
            return [_plain(item) for item in value]
        case _:
            raise _Refused(f"a {type(value).__name__} is not plain data (text, number, list, map)")


def _plain_key(key: Any) -> str:
    if not isinstance(key, str):
        raise _Refused(f"the key {key!r} of a map is not text")
    return str(key)


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
        kept = value if isinstance(value, _JsonText) else _plain(value)
        self._size += _size_of(kept)
        if self._size > _MAX_YAML:
            raise _Refused(f"it prints more than {_MAX_YAML:,} characters")
        self._values.append(kept)
        return f"{self._mark}{len(self._values) - 1}Z"

    def value(self, text: str, plain: bool) -> Any:
        """What a parsed scalar means: the typed value of a lone unquoted placeholder, else text."""
        if plain and (alone := self._pattern.fullmatch(text)):
            found = self._values[int(alone[1])]
            return _plain(found.value) if isinstance(found, _JsonText) else _plain(found)
        if self._mark in text:
            return self._pattern.sub(lambda found: self._as_text(self._values[int(found[1])]), text)
        return _typed(text) if plain else text

    def shown(self, text: str) -> str:
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
                raise _Refused("null stands inside a text or in quotes")
            case _:
                raise _Refused(
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

    if len(template) > _MAX_TEMPLATE:
        raise InputError(f"{source}: the template is longer than {_MAX_TEMPLATE:,} characters")
    placeholders = _Placeholders()
    try:
        environment = _environment(placeholders.stand_in)
        tree = environment.parse(template)
        _refuse_captured_output(tree)
        text = _bounded(environment.from_string(tree).generate(_plain(values)))
    except TemplateSyntaxError as error:
        raise InputError(f"{error.filename or source}:{error.lineno}: {error.message}") from None
    except TemplateNotFound as error:
        raise InputError(
            f"{_place(error, source)}: there is no template {error.name!r} to include",
            hint="shipped: " + ", ".join(f"{name}{_SUFFIX}" for name in template_names()),
        ) from None
    except (TemplateError, _Refused) as error:
        raise InputError(f"{_place(error, source)}: {error}") from None
    except Exception as error:  # whatever an expression can raise: TypeError, ZeroDivisionError, ...
        raise InputError(f"{_place(error, source)}: {type(error).__name__}: {error}") from None

    try:
        documents = list(_documents(text, placeholders.value))
    except (YAMLError, UnicodeError, _Refused) as error:
        line, _, what = _located(error)
        shown = placeholders.shown((text.splitlines() or [""])[min(line, len(text.splitlines())) - 1]).strip()
        raise InputError(f"{source}: line {line} of what it renders to: {what}: {shown[:120]!r}") from None
    if len(documents) != 1:
        raise InputError(f"{source}: renders to {len(documents)} YAML documents instead of one Workspace")
    if not isinstance(documents[0], dict):
        raise InputError(f"{source}: renders to a {_kind_of(documents[0])} instead of a Workspace")
    return documents[0]


_UNNAMED = "<template>"  # how jinja calls a template that came as text


def _environment(finalize: Callable[[Any], str]) -> Environment:
    from jinja2 import FunctionLoader, StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Sandbox(ImmutableSandboxedEnvironment):
        intercepted_binops = frozenset({"*", "**"})

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            if operator == "**":
                too_much = isinstance(left, int) and left.bit_length() * abs(right) > 4096
            else:
                sides = [
                    len(side) if isinstance(side, (str, list, tuple)) else side for side in (left, right)
                ]
                too_much = math.prod(sides) > _MAX_YAML
            if too_much:
                raise _Refused(f"{operator} makes something too large")
            return super().call_binop(context, operator, left, right)

    def shipped(name: str) -> tuple[str, str, None] | None:
        plain_name = name.removesuffix(_SUFFIX)
        return (*template_text(plain_name), None) if plain_name in template_names() else None

    def fail(message: str) -> None:
        raise _Refused(str(message))

    environment = Sandbox(
        undefined=StrictUndefined,
        finalize=finalize,
        loader=FunctionLoader(shipped),
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,
    )
    environment.filters["tojson"] = _JsonText
    environment.globals["fail"] = fail
    return environment


def _refuse_captured_output(tree: nodes.Template) -> None:
    """Refuse what lets a template print into a variable: placeholders would get into its hands, as text."""
    from jinja2 import TemplateSyntaxError, nodes

    blocks = (nodes.Macro, nodes.CallBlock, nodes.FilterBlock, nodes.AssignBlock)
    imports = (nodes.Import, nodes.FromImport)
    for node in tree.find_all((*blocks, *imports, nodes.For, nodes.Name)):
        if isinstance(node, nodes.For) and not node.recursive:
            continue
        if isinstance(node, nodes.Name) and node.name not in ("self", "super"):
            continue
        raise TemplateSyntaxError(
            "macros, imports, {% filter %}, {% call %}, {% set %} blocks, recursive loops, self and super do "
            "not work here; write {% set x = a ~ b %} and {{ x | filter }}",
            node.lineno,
        )


def _bounded(pieces: Iterable[str]) -> str:
    kept, size = [], 0
    for piece in pieces:
        size += len(piece)
        if size > _MAX_YAML:
            raise _Refused(f"it prints more than {_MAX_YAML:,} characters")
        kept.append(piece)
    return "".join(kept)


def _place(error: BaseException, source: str) -> str:
    """`file:line` of the innermost template in an error's traceback (jinja puts template lines there)."""
    place, step = f"{source}:1", error.__traceback__
    while step is not None:
        file = step.tb_frame.f_code.co_filename
        if file == _UNNAMED or file.startswith(_SHIPPED):
            place = f"{source if file == _UNNAMED else file}:{step.tb_lineno}"
        step = step.tb_next
    return place


# --- YAML in -------------------------------------------------------------------------------------------


def load_yaml(text: str, source: str) -> list[Object]:
    """The documents of a YAML (or JSON) text, empty ones left out.

    Scalars mean what they mean to kubectl: `1e3` is a number, a date is text, a key is always text.

    Args:
        text: at most ten million characters.
        source: how errors name it.

    Raises:
        InputError: with source:line:column: not YAML, a key twice in a map, a document that is not a map,
            aliases that multiply beyond reason, a tag that is not plain data.
    """
    from yaml import YAMLError

    if len(text) > _MAX_YAML:
        raise InputError(f"{source}: longer than {_MAX_YAML:,} characters")
    try:
        documents = list(_documents(text, lambda scalar, plain: _typed(scalar) if plain else scalar))
    except (YAMLError, UnicodeError, _Refused) as error:
        line, column, what = _located(error)
        raise InputError(f"{source}:{line}:{column}: {what}") from None
    for position, document in enumerate(documents, 1):
        if document is not None and not isinstance(document, dict):
            raise InputError(f"{source}: document {position} is a {_kind_of(document)} instead of an object")
    return [document for document in documents if document is not None]


def _kind_of(value: Any) -> str:
    return {dict: "map", list: "list", str: "text", type(None): "null"}.get(type(value), "number")


def _located(error: Exception) -> tuple[int, int, str]:
    """Line and column, from 1, and what is wrong."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if mark is None and isinstance(error, _Refused) and len(error.args) == 2:
        mark = error.args[1]
    what = getattr(error, "problem", None) or getattr(error, "reason", None) or error.args[0]
    return (mark.line + 1, mark.column + 1, str(what)) if mark else (1, 1, str(what))


_SPECIAL_WORDS: dict[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **{form: True for word in ("true", "yes", "y", "on") for form in (word, word.title(), word.upper())},
    **{form: False for word in ("false", "no", "n", "off") for form in (word, word.title(), word.upper())},
}
_INT = re.compile(r"[-+]?(0b[01_]+|0o[0-7_]+|0x[0-9a-fA-F_]+|[0-9][0-9_]*)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9][0-9_]*(\.[0-9_]*)?)([eE][-+]?[0-9]+)?")
_NOT_JSON = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


def _typed(text: str) -> Any:
    """What an unquoted scalar means.

    Source: YAML 1.1 as the Go library under kubectl reads it; a test asks kubectl itself. No sexagesimal
    numbers, dates are text, `1e3` is a whole number, `08` is 8 and not octal.
    """
    if text in _SPECIAL_WORDS:
        return _SPECIAL_WORDS[text]
    if text[0] not in "+-.0123456789":
        return text
    if _INT.fullmatch(text) and len(text) <= 70:
        return _integer(text.replace("_", ""))
    if _FLOAT.fullmatch(text):
        number = float(text.replace("_", ""))
        if not math.isfinite(number):
            return text
        return int(number) if number.is_integer() and abs(number) < 2**53 else number
    if _NOT_JSON.fullmatch(text):
        raise _Refused(f"{text} has no JSON form; put it in quotes if it is text")
    return text


def _integer(text: str) -> int | float | str:
    sign, digits = -1 if text[0] == "-" else 1, text.lstrip("+-")
    is_octal = digits[0] == "0" and len(digits) > 1
    try:
        if digits[:2] in ("0b", "0o", "0x"):
            return sign * int(digits, 0)
        value = int(digits, 8 if is_octal and set(digits) <= set("01234567") else 10)
    except ValueError:  # "0x_"
        return text
    return sign * (value if value < 2**64 else float(value))


_TAGS = "tag:yaml.org,2002:"
_TEXT_TAGS = {f"{_TAGS}str", "!"}
_OTHER_TAGS = {f"{_TAGS}{name}" for name in ("int", "float", "bool", "null")}
_CONTAINER_TAGS = {f"{_TAGS}map", f"{_TAGS}seq"}


def _documents(text: str, scalar: Callable[[str, bool], Any]) -> Iterator[Any]:
    """The documents of a YAML text, built from parser events.

    Built here and not by the library's loader, whose recursion a deeply nested text can exhaust, which
    keeps the last of two equal keys, and which makes dates and non-text keys.

    Args:
        text: YAML.
        scalar: given a scalar's text and whether it is plain (unquoted), what it means.

    Raises:
        YAMLError: from the parser.
        _Refused: with the mark where it happened.
    """
    import yaml

    builder = _TreeBuilder(scalar)
    # libyaml is five times as fast; it is missing where no wheel was built.
    for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        try:
            finished = builder.take(event)
        except _Refused as error:
            raise _Refused(error.args[0], event.start_mark) from None
        if finished is not None:
            yield finished[0]


class _TreeBuilder:
    """Makes trees of one parser's events, without recursion."""

    def __init__(self, scalar: Callable[[str, bool], Any]) -> None:
        self._scalar = scalar
        self._open: list[_Container] = []
        self._anchors: dict[str, tuple[Any, int, int]] = {}  # value, size, height
        self._root: tuple[Any] | None = None
        self._size = self._aliased = 0

    def take(self, event: Any) -> tuple[Any] | None:
        """Take the next event; the document, wrapped, when it ends one."""
        kind = type(event).__name__
        if kind == "DocumentStartEvent":
            self._open, self._anchors, self._root = [], {}, None
        elif kind == "DocumentEndEvent":
            return self._root
        elif kind == "ScalarEvent":
            value = self._meaning(event)
            self._remember(event.anchor, value, _size_of(value), 0)
            self._size += _size_of(value)
            self._put(value, is_merge=event.value == "<<" and not event.style)
        elif kind == "AliasEvent":
            if event.anchor not in self._anchors:
                raise _Refused(f"the alias *{event.anchor} stands for nothing before it")
            value, size, height = self._anchors[event.anchor]
            self._check_depth(height)
            self._size += size
            self._aliased += size
            if self._aliased > _MAX_ALIASED:
                raise _Refused("aliases stand for too much")
            self._put(deepcopy(value), height)
        elif kind in ("MappingStartEvent", "SequenceStartEvent"):
            if event.tag is not None and event.tag not in _CONTAINER_TAGS:
                raise _Refused(f"the tag {event.tag} is not plain data")
            self._check_depth(1)
            self._size += 1
            value = {} if kind == "MappingStartEvent" else []
            self._open.append(_Container(value, event.anchor, self._size))
        elif kind in ("MappingEndEvent", "SequenceEndEvent"):
            container = self._open.pop()
            value = container.closed()
            self._remember(container.anchor, value, self._size - container.size_before, container.height)
            self._put(value, container.height)
        return None

    def _remember(self, anchor: str | None, value: Any, size: int, height: int) -> None:
        if anchor:
            self._anchors[anchor] = (value, size, height)

    def _check_depth(self, more: int) -> None:
        if len(self._open) + more > _MAX_DEPTH:
            raise _Refused(f"nested deeper than {_MAX_DEPTH} levels")

    def _meaning(self, event: Any) -> Any:
        is_text = event.tag in _TEXT_TAGS
        if event.tag is not None and not is_text and event.tag not in _OTHER_TAGS:
            raise _Refused(f"the tag {event.tag} is not plain data")
        # A key is the text as written, so that `1: x` and `on: x` are "1" and "on".
        if is_text or (self._open and self._open[-1].expects_key):
            return self._scalar(event.value, False)
        return self._scalar(event.value, not event.style or event.tag is not None)

    def _put(self, value: Any, height: int = 0, *, is_merge: bool = False) -> None:
        if self._open:
            self._open[-1].put(value, height, is_merge)
        else:
            self._root = (value,)


def _size_of(value: Any) -> int:
    return 1 + (len(value) if isinstance(value, str) else len(json.dumps(value)))


@dataclass(slots=True)
class _Container:
    """A map or list that is still open."""

    value: Any
    anchor: str | None
    size_before: int
    height: int = 1
    key: str | None = None
    key_is_merge: bool = False
    merged: list[dict[str, Any]] = field(default_factory=list)

    @property
    def expects_key(self) -> bool:
        """True when what comes next is the key of a map."""
        return isinstance(self.value, dict) and self.key is None

    def put(self, value: Any, height: int, is_merge: bool) -> None:
        """Take the next item, key or value."""
        self.height = max(self.height, height + 1)
        if isinstance(self.value, list):
            self.value.append(value)
        elif self.key is None:
            if not isinstance(value, str):
                raise _Refused("a key is not text")
            self.key, self.key_is_merge = value, is_merge
        else:
            key, self.key = self.key, None
            if self.key_is_merge:
                self.merge(value)
            elif key in self.value:
                raise _Refused(f"the key {key!r} stands twice in the same map")
            else:
                self.value[key] = value

    def merge(self, value: Any) -> None:
        """Take the value of `<<`: what it has counts where the map itself says nothing."""
        sources = value if isinstance(value, list) else [value]
        if not all(isinstance(source, dict) for source in sources):
            raise _Refused("<< wants a map, or a list of maps")
        self.merged += sources

    def closed(self) -> Any:
        """The finished value."""
        for source in self.merged:
            for key, value in source.items():
                self.value.setdefault(key, value)
        return self.value


# --- YAML out ------------------------------------------------------------------------------------------

_ORDER = {
    key: rank
    for rank, key in enumerate(
        (
            "apiVersion",
            "kind",
            "metadata",
            "name",
            "namespace",
            "resource",
            "inference",
            "tuning",
            "spec",
            "preset",
        )
    )
}
_LATE = {"status": 1}


def to_yaml(obj: Object) -> str:
    """The object as YAML text, the same for equal objects.

    Keys come in the order people write them (apiVersion, kind, metadata, resource, inference, tuning; name
    before the rest), then by alphabet. Text that would be read as another type is quoted. No aliases.

    Guarantee: `load_yaml` gives an equal object.
    """
    import yaml

    text: str = yaml.dump(obj, Dumper=_dumper(), width=110, allow_unicode=True, default_flow_style=False)
    return text


@cache
def _dumper() -> type[CSafeDumper]:
    import yaml

    class Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
        def ignore_aliases(self, data: Any) -> bool:
            return True

    def represent_map(dumper: Any, data: dict[str, Any]) -> Any:
        ordered = sorted(data, key=lambda key: (_LATE.get(key, 0), _ORDER.get(key, len(_ORDER)), key))
        return dumper.represent_mapping(f"{_TAGS}map", [(key, data[key]) for key in ordered])

    def represent_text(dumper: Any, data: str) -> Any:
        return dumper.represent_scalar(f"{_TAGS}str", data, style=_style(data))

    Dumper.add_representer(dict, represent_map)
    Dumper.add_representer(str, represent_text)
    return Dumper


_OTHER_BREAKS = re.compile("[\r\x85\u2028\u2029]")  # which some readers fold like a newline
_BLOCK_SAFE = re.compile(r"[^\s][\t\n\x20-\x7e]*")


def _style(text: str) -> str | None:
    """The quoting a text needs for every reader to see text; None leaves it to the library."""
    if _OTHER_BREAKS.search(text):
        return '"'
    if "\n" in text:
        is_block = _BLOCK_SAFE.fullmatch(text) and not re.search(r"[ \t]$", text, re.MULTILINE)
        return "|" if is_block else '"'
    try:
        is_text = _typed(text) == text
    except _Refused:
        is_text = False
    return None if is_text else '"'
