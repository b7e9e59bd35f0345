"""YAML and JSON text: reading it into objects that know where they stood, and writing it back.

YAML is read as kubectl reads it and built here from libyaml's events, because a library's loader keeps the
last of two equal keys, makes dates, and can be exhausted by nesting or aliases. Places cost nothing until
somebody asks for one: only then is the text walked a second time. Opening files is left to the callers.
"""

from __future__ import annotations

import codecs
import json
import math
import re
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cache, cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any

from kaitoctl.errors import InputError
from kaitoctl.kube.objects import Object

if TYPE_CHECKING:
    from yaml import CSafeDumper

MAX_CHARACTERS = 10_000_000
MAX_VALUES = 400_000
"""Keys and values that one text may have: what is read in about a second."""

MAX_DOCUMENTS = 10_000

_MAX_DEPTH = 100
_MAX_ALIASED = 1_000_000  # values and characters that aliases stand for: a "billion laughs" file stops here


class Refused(Exception):
    """Something in a text or a value that we do not do; whoever catches it adds where."""


# --- documents -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a document cannot be read; line and column of its source count from 1."""

    message: str
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Document:
    """One object of a text, and where it stood.

    Args:
        obj: the object; empty when there is a fault.
        source: how errors name the text it is from.
        index: among the source's documents, from 0; each item of a List counts.
        fault: why it could not be read, else None.
        part: of the text that it stood in.
        way: to the object from the top of the part: which document, then keys and indexes.
    """

    obj: Object
    source: str
    index: int
    fault: Fault | None
    part: _Part
    way: tuple[str | int, ...]

    def position(self, path: str) -> tuple[int, int] | None:
        """Line and column, from 1, of a path's key or list entry, or of what is nearest above it.

        Args:
            path: `inference.adapters[0].strength`; a map's key may stand in brackets, too.
        """
        if self.fault is not None:
            return self.fault.line, self.fault.column
        place = self.part.place(self.way, path)
        return None if place is None else (place[0] + self.part.offset, place[1])

    def line(self, number: int) -> str:
        """The text of a line of the source, without its end; empty when this document has no such line."""
        lines = self.part.lines
        return lines[number - self.part.offset] if 0 <= number - self.part.offset < len(lines) else ""


def read(text: str, source: str, *, unpack: bool = True) -> Iterator[Document]:
    """The documents of a YAML or JSON text, empty ones left out; read as they are asked for.

    A document that cannot be read is one with a fault, and those after it are read all the same: it is not a
    map, has a key twice, aliases that multiply beyond reason, tags that are not plain data. Where the text
    turns out to hold more than `MAX_VALUES` values or `MAX_DOCUMENTS` documents, reading ends with a fault.

    Args:
        text: at most `MAX_CHARACTERS` long.
        source: how errors name it.
        unpack: whether the items of a List, as kubectl prints it, are documents of their own.

    Guarantee: never raises, whatever the text.
    """
    if len(text) > MAX_CHARACTERS:
        why = f"longer than {MAX_CHARACTERS:,} characters"
        yield Document({}, source, 0, Fault(why, 1, 1), _Part("", 1), ())
        return
    index = 0
    spent = _Spent()
    for part in islice(_parts(text), MAX_DOCUMENTS + 1):
        values: list[Any] = []
        fault = None
        try:
            for value in part.values(spent):
                values.append(value)  # noqa: PERF402 - those before an error count
        except Refused as error:
            fault = Fault(error.args[0], error.args[1] + part.offset, error.args[2])
        for number, value in enumerate(values):
            if value is None:
                continue
            if not isinstance(value, dict):
                line, column = part.place((number,), "") or (1, 1)
                wrong = Fault(f"is a {kind_of(value)} instead of an object", line + part.offset, column)
                yield Document({}, source, index, wrong, part, (number,))
                index += 1
                continue
            for way, obj in _unpacked(value) if unpack else [((), value)]:
                yield Document(obj, source, index, None, part, (number, *way))
                index += 1
        if fault is not None:
            yield Document({}, source, index, fault, part, ())
            index += 1
        if spent.is_over:
            return


def load_yaml(text: str, source: str) -> list[Object]:
    """The documents of a YAML (or JSON) text, empty ones left out.

    Scalars mean what they mean to kubectl: `1e3` is a number, a date is text, the key `on` is "true".

    Args:
        text: at most ten million characters.
        source: how errors name it.

    Raises:
        InputError: with source:line:column, see `read`.
    """
    objects = []
    for document in read(text, source, unpack=False):
        if fault := document.fault:
            raise InputError(f"{source}:{fault.line}:{fault.column}: {fault.message}")
        objects.append(document.obj)
    return objects


_WIDE = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}


def as_kubectl_reads(raw: bytes) -> str:
    """The text of a file's bytes: UTF-16 where a byte order mark says so, else UTF-8.

    PowerShell's `>` writes UTF-16. Bytes that are no text stay in it as surrogates, which `read` refuses
    with their place.

    Source: k8s.io/cli-runtime v0.37 `pkg/resource/visitor.go`, FileVisitor (unicode.BOMOverride).
    """
    for mark, encoding in _WIDE.items():
        if raw.startswith(mark):
            return raw[len(mark) :].decode(encoding, "replace")
    return raw.decode("utf-8-sig", "surrogateescape")


def decoded(raw: bytes, source: str) -> str:
    """The text of a file's bytes, see `as_kubectl_reads`.

    Raises:
        InputError: neither UTF-8 nor UTF-16 with a byte order mark.
    """
    if raw[:2] in _WIDE:
        return as_kubectl_reads(raw)
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{source}: not UTF-8 text (byte {error.start})") from None


def _unpacked(value: Object) -> Iterator[tuple[tuple[str | int, ...], Object]]:
    """The object, or the objects of a List as `kubectl get -o json` prints it."""
    kind, items = value.get("kind"), value.get("items")
    if not (isinstance(kind, str) and kind.endswith("List") and isinstance(items, list)):
        yield (), value
        return
    for index, item in enumerate(items):
        yield ("items", index), item if isinstance(item, dict) else {}


@dataclass(slots=True)
class _Spent:
    """What reading one text has cost so far; all its documents share the bounds."""

    documents: int = 0
    values: int = 0
    aliased: int = 0
    is_over: bool = False

    def value(self, number: int = 1) -> None:
        """Count values."""
        self.values += number
        if self.values > MAX_VALUES:
            self.stop(f"more than {MAX_VALUES:,} values in one file")

    def alias(self, size: int) -> None:
        """Count what an alias stands for."""
        self.aliased += size
        if self.aliased > _MAX_ALIASED:
            self.stop("aliases stand for too much")

    def stop(self, why: str) -> None:
        """End the reading."""
        self.is_over = True
        raise Refused(why)


_START = re.compile(r"^---(?=[ \t\r\n]|\Z)", re.MULTILINE)
_DIRECTIVES = re.compile(r"\s*(?:[#%][^\n]*\s*)*")


def _parts(text: str) -> Iterator[_Part]:
    """The text cut before every `---` line, where YAML, too, starts anew whatever came before."""
    starts = [found.start() for found in _START.finditer(text)]
    begin, line = 0, 1
    for start in [*starts, len(text)]:
        piece = text[begin:start]
        if start < len(text) and "%" in piece and _DIRECTIVES.fullmatch(piece):
            continue  # %YAML belongs to the document that it announces
        if piece:
            yield _Part(piece, line)
        line += piece.count("\n")
        begin = start


class _Part:
    """A piece of a text with (mostly) one document; `offset` is the line that it starts on.

    Lines and columns below count from 0 and 1 within the piece.
    """

    def __init__(self, text: str, offset: int) -> None:
        self.text = text
        self.offset = offset

    @cached_property
    def lines(self) -> list[str]:
        return re.split(r"\r\n|\n|\r", self.text)

    @cached_property
    def _trees(self) -> list[Any]:
        return _places(self.text)

    def values(self, spent: _Spent) -> Iterator[Any]:
        """What the documents hold.

        Raises:
            Refused: with message, line and column.
        """
        spent.documents += 1
        if spent.documents > MAX_DOCUMENTS:
            spent.is_over = True
            raise Refused(f"more than {MAX_DOCUMENTS:,} documents in one file", 0, 1)
        body = self.text.removeprefix("---").lstrip() if self.text.startswith("---") else self.text.lstrip()
        if body.startswith("{"):
            value = _from_json(body)
            size = _size_within(value, MAX_VALUES - spent.values) if value is not None else None
            if size is not None:
                spent.value(size)
                yield value
                return
        from yaml import YAMLError

        try:
            yield from parsed(self.text, _meaning, spent)
        except (YAMLError, UnicodeError, Refused) as error:
            line, column, what = located(error, self.text)
            raise Refused(what, line - 1, column) from None

    def place(self, way: tuple[str | int, ...], path: str) -> tuple[int, int] | None:
        """Where a path begins, or what is nearest above it."""
        if not way or not isinstance(way[0], int) or way[0] >= len(self._trees):
            return None
        node = self._trees[way[0]]
        for step in way[1:]:
            below = node[2]
            node = below[step] if isinstance(below, (dict, list)) else node  # type: ignore[index]
        while path:
            found = _step(node[2], path)
            if found is None:
                break
            node, path = found
        return node[0], node[1]


def _step(below: Any, path: str) -> tuple[Any, str] | None:
    """The node that a path's first key or index leads to, and the rest of the path."""
    if isinstance(below, list):
        found = re.match(r"\[([0-9]{1,9})\]\.?", path)
        if found and int(found[1]) < len(below):
            return below[int(found[1])], path[found.end() :]
        return None
    if not isinstance(below, dict):
        return None
    if plain := re.match(r"([^.\[\]]+)(?:\.|(?=\[)|\Z)", path):  # the usual case, without a search
        node = below.get(plain[1])
        if node is not None:
            return node, path[plain.end() :]
    best = ""
    for key in below:
        for form in (key, f"[{key}]"):
            rest = path[len(form) :]
            if path.startswith(form) and rest[:1] in ("", ".", "[") and len(form) > len(best):
                best = form
    if not best:
        return None
    key = best if best in below else best[1:-1]
    return below[key], path[len(best) :].removeprefix(".")


def kind_of(value: Any) -> str:
    """What people call a JSON value's type."""
    return {dict: "map", list: "list", str: "text", type(None): "null"}.get(type(value), "number")


def located(error: Exception, text: str = "") -> tuple[int, int, str]:
    """Line and column, from 1, and what is wrong, of an error in reading `text`."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if mark is None and isinstance(error, Refused) and len(error.args) == 2:
        mark = error.args[1]
    what = str(getattr(error, "problem", None) or getattr(error, "reason", None) or error.args[0])
    if isinstance(error, UnicodeEncodeError):
        what = "this is not UTF-8 text"
    if "maximum nesting depth" in what:  # libyaml's own limit from 0.2.6 on: it reads ahead of us
        what = f"nested deeper than {_MAX_DEPTH} levels"
    if mark:
        return mark.line + 1, mark.column + 1, what
    before = ""
    if isinstance(error, UnicodeEncodeError):
        before = text[: error.start]
    elif isinstance(offset := getattr(error, "position", None), int):  # libyaml counts bytes
        before = text.encode("utf-8", "replace")[:offset].decode("utf-8", "replace")
    return before.count("\n") + 1, len(before) - before.rfind("\n"), what


# --- JSON in -------------------------------------------------------------------------------------------


def _from_json(text: str) -> Object | None:
    """The object of a JSON text; None when it is not one, or not a good one: YAML's reader says why."""

    def unique(pairs: list[tuple[str, Any]]) -> Object:
        obj = dict(pairs)
        if len(obj) != len(pairs):
            raise ValueError
        return obj

    def constant(_name: str) -> Any:
        raise ValueError

    try:
        obj = json.loads(text, object_pairs_hook=unique, parse_float=typed, parse_constant=constant)
    except (ValueError, RecursionError):
        return None
    return obj if isinstance(obj, dict) else None


def _size_within(value: Any, most: int) -> int | None:
    """How many keys and values there are; None when more than `most`, or nested too deep."""
    level, size = [value], 1
    for _ in range(_MAX_DEPTH + 1):
        below: list[Any] = []
        for holder in level:
            size += len(holder) * (2 if isinstance(holder, dict) else 1)
            items = holder.values() if isinstance(holder, dict) else holder
            below += [item for item in items if isinstance(item, (dict, list))]
        if size > most:
            return None
        if not below:
            return size
        level = below
    return None


# --- YAML in -------------------------------------------------------------------------------------------


_SPECIAL_WORDS: dict[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **{form: True for word in ("true", "yes", "y", "on") for form in (word, word.title(), word.upper())},
    **{form: False for word in ("false", "no", "n", "off") for form in (word, word.title(), word.upper())},
}
_INT = re.compile(r"[-+]?(0b[01_]+|0o[0-7_]+|0x[0-9a-fA-F_]+|[0-9][0-9_]*)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9][0-9_]*(\.[0-9_]*)?)([eE][-+]?[0-9]+)?")
_NOT_JSON = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


def typed(text: str) -> Any:
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
        raise Refused(f"{text} has no JSON form; put it in quotes if it is text")
    return text


def key_text(text: str) -> str:
    """What an unquoted key is called in JSON: `1e3` is "1000", `on` is "true", a fraction stays as written.

    Source: sigs.k8s.io/yaml, by which kubectl and the API server make JSON of YAML; a test asks kubectl.

    Raises:
        Refused: it is null.
    """
    match value := typed(text):
        case None:
            raise Refused("a key is null; put it in quotes if it is text")
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case _:
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


def _meaning(text: str, plain: bool) -> Any:
    return typed(text) if plain else text


def _events(text: str) -> Iterator[Any]:
    import yaml

    # libyaml is five times as fast; it is missing where no wheel was built.
    return iter(getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text).get_event, None)


def parsed(text: str, scalar: Callable[[str, bool], Any], spent: _Spent | None = None) -> Iterator[Any]:
    """The documents of a YAML text, built from parser events, without recursion.

    Args:
        text: YAML.
        scalar: given a scalar's text and whether it is plain (unquoted), what it means.
        spent: the costs so far, where the text is a part of something.

    Raises:
        YAMLError: from the parser.
        Refused: with the mark where it happened.
    """
    take = _Builder(scalar, spent or _Spent()).take
    for event in _events(text):
        try:
            finished = take[type(event).__name__](event)
        except Refused as error:
            raise Refused(error.args[0], event.start_mark) from None
        if finished is not None:
            yield finished[0]


class _Builder:
    """Makes trees of one parser's events."""

    def __init__(self, scalar: Callable[[str, bool], Any], spent: _Spent) -> None:
        self._meaning = scalar
        self._spent = spent
        self._open: list[_Container] = []
        self._anchors: dict[str, tuple[Any, int, int]] = {}  # value, size, height
        self._root: tuple[Any] | None = None
        self._size = 0
        self.take: dict[str, Callable[[Any], tuple[Any] | None]] = {
            "StreamStartEvent": lambda event: None,
            "StreamEndEvent": lambda event: None,
            "DocumentStartEvent": self._start,
            "DocumentEndEvent": lambda event: self._root,
            "ScalarEvent": self._scalar,
            "AliasEvent": self._alias,
            "MappingStartEvent": self._map,
            "SequenceStartEvent": self._list,
            "MappingEndEvent": self._close,
            "SequenceEndEvent": self._close,
        }

    def _start(self, event: Any) -> None:
        self._open, self._anchors, self._root = [], {}, None

    def _scalar(self, event: Any) -> None:
        text, tag, style = event.value, event.tag, event.style
        top = self._open[-1] if self._open else None
        is_key = top is not None and top.key is None and top.is_map
        if is_key and tag is None and not style:
            value = key_text(text) if (as_text := self._meaning(text, False)) == text else as_text
        elif tag is None:
            value = self._meaning(text, not style)
        elif tag in _TEXT_TAGS or (is_key and tag in _OTHER_TAGS):
            value = self._meaning(text, False)
        elif tag in _OTHER_TAGS:
            value = self._meaning(text, True)
        else:
            raise Refused(f"the tag {tag} is not plain data")
        size = size_of(value) if isinstance(value, (dict, list)) else 1 + len(text)
        if event.anchor:
            self._anchors[event.anchor] = (value, size, 0)
        self._size += size
        self._spent.value()
        if top is None:
            self._root = (value,)
        else:
            top.put(value, 0, text == "<<" and not style)

    def _alias(self, event: Any) -> None:
        if event.anchor not in self._anchors:
            raise Refused(f"the alias *{event.anchor} stands for nothing before it")
        value, size, height = self._anchors[event.anchor]
        self._check_depth(height)
        self._size += size
        self._spent.alias(size)
        self._open[-1].put(deepcopy(value), height)

    def _map(self, event: Any) -> None:
        self._begin(event, {})

    def _list(self, event: Any) -> None:
        self._begin(event, [])

    def _begin(self, event: Any, value: dict[str, Any] | list[Any]) -> None:
        if event.tag is not None and event.tag not in _CONTAINER_TAGS:
            raise Refused(f"the tag {event.tag} is not plain data")
        self._check_depth(1)
        self._size += 1
        self._spent.value()
        self._open.append(_Container(value, type(value) is dict, event.anchor, self._size))

    def _close(self, event: Any) -> None:
        container = self._open.pop()
        value = container.closed()
        if container.anchor:
            self._anchors[container.anchor] = (value, self._size - container.size_before, container.height)
        if self._open:
            self._open[-1].put(value, container.height)
        else:
            self._root = (value,)

    def _check_depth(self, more: int) -> None:
        if len(self._open) + more > _MAX_DEPTH:
            raise Refused(f"nested deeper than {_MAX_DEPTH} levels")


def size_of(value: Any) -> int:
    """Roughly how many characters a value takes."""
    return 1 + (len(value) if isinstance(value, str) else len(json.dumps(value)))


@dataclass(slots=True)
class _Container:
    """A map or list that is still open."""

    value: Any
    is_map: bool
    anchor: str | None
    size_before: int
    height: int = 1
    key: str | None = None
    key_is_merge: bool = False
    merged: list[dict[str, Any]] = field(default_factory=list)

    def put(self, value: Any, height: int, is_merge: bool = False) -> None:
        """Take the next item, key or value."""
        if height >= self.height:
            self.height = height + 1
        if not self.is_map:
            self.value.append(value)
        elif self.key is None:
            if not isinstance(value, str):
                raise Refused("a key is not text")
            if value in self.value and not is_merge:
                raise Refused(f"the key {value[:80]!r} stands twice in the same map")
            self.key, self.key_is_merge = value, is_merge
        else:
            key, self.key = self.key, None
            if self.key_is_merge:
                self.merge(value)
            else:
                self.value[key] = value

    def merge(self, value: Any) -> None:
        """Take the value of `<<`: what it has counts where the map itself says nothing."""
        sources = value if isinstance(value, list) else [value]
        if not all(isinstance(source, dict) for source in sources):
            raise Refused("<< wants a map, or a list of maps")
        self.merged += sources

    def closed(self) -> Any:
        """The finished value."""
        for source in self.merged:
            for key, value in source.items():
                self.value.setdefault(key, value)
        return self.value


# --- places --------------------------------------------------------------------------------------------


def _places(text: str) -> list[Any]:
    """For each document of a YAML text the tree of its places: nodes `(line, column, children)`.

    Children are a dict or a list of nodes; the place of a map's entry is its key. Lines count from 0, columns
    from 1. Empty as far as the text cannot be read.
    """
    from yaml import YAMLError

    roots: list[Any] = []
    opened: list[tuple[Any, Any]] = []  # a container's children, and the key that waits for its value
    count = 0
    try:
        for event in _events(text):
            name = type(event).__name__
            if name in ("MappingEndEvent", "SequenceEndEvent"):
                opened.pop()
                continue
            if name not in ("ScalarEvent", "AliasEvent", "MappingStartEvent", "SequenceStartEvent"):
                continue
            count += 1
            if count > MAX_VALUES:
                break
            children, waiting = opened[-1] if opened else (roots, None)
            mark = event.start_mark
            if isinstance(children, dict) and waiting is None:
                key = _key_of(event) if name == "ScalarEvent" else ""
                opened[-1] = (children, (key, mark))
                continue
            below: Any = {"MappingStartEvent": {}, "SequenceStartEvent": []}.get(name)
            if waiting is None:
                children.append((mark.line, mark.column + 1, below))
            else:
                key, at = waiting
                children[key] = (at.line, at.column + 1, below)
                opened[-1] = (children, None)
            if below is not None:
                opened.append((below, None))
    except (YAMLError, UnicodeError):
        pass
    return roots


def _key_of(event: Any) -> str:
    """The key that a scalar makes, as `values` has it."""
    try:
        return event.value if event.style or event.tag else key_text(event.value)
    except Refused:
        return str(event.value)


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


_OTHER_BREAKS = "[\r\x85\u2028\u2029]"  # which some readers fold like a newline
_BLOCK_SAFE = r"[^\s][\t\n\x20-\x7e]*"


def _style(text: str) -> str | None:
    """The quoting a text needs for every reader to see text; None leaves it to the library."""
    if re.search(_OTHER_BREAKS, text):
        return '"'
    if "\n" in text:
        is_block = re.fullmatch(_BLOCK_SAFE, text) and not re.search(r"[ \t]$", text, re.MULTILINE)
        return "|" if is_block else '"'
    try:
        is_text = typed(text) == text
    except Refused:
        is_text = False
    return None if is_text else '"'
