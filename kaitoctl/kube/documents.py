"""The documents of YAML and JSON texts: objects that know where they stood.

YAML is read as kubectl reads it (`yaml_reader`, `yaml_scalars`), and written as people write it
(`yaml_writer`). Places cost nothing until somebody asks for one: only then is the text walked a second time.
Opening files is left to the callers.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

from msgspec import Struct

from kaitoctl.errors import InputError
from kaitoctl.kube.objects import Object
from kaitoctl.kube.yaml_reader import (
    MAX_DOCUMENTS,
    MAX_VALUES,
    TWICE,
    Spent,
    from_json,
    kind_of,
    locate_error,
    meaning,
    parse,
    places,
    size_of,
    size_within,
)
from kaitoctl.kube.yaml_scalars import Refused, key_text, scalar_value

__all__ = [
    "MAX_CHARACTERS",
    "MAX_DOCUMENTS",
    "MAX_VALUES",
    "Document",
    "Fault",
    "Refused",
    "as_kubectl_reads",
    "decode_text",
    "key_text",
    "kind_of",
    "load_yaml",
    "locate_error",
    "parse",
    "read",
    "scalar_value",
    "size_of",
]

MAX_CHARACTERS = 10_000_000


class Fault(Struct, frozen=True):
    """Why a document cannot be read; line and column of its source count from 1."""

    message: str
    line: int
    column: int


class Document(Struct, frozen=True):
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


_PLACEHOLDER = re.compile(
    r"^\s*(?:- )?(?:(?P<key>[\w./-]{1,253})\s*:\s)?[^\"']{0,400}?(?P<placeholder>\{\{.{0,80}?(?:\}\}|$))"
)


def _unrendered(text: str, line: int) -> str:
    """What to say where YAML cannot be read at a placeholder that nobody filled in; empty elsewhere."""
    at = next(islice(text.splitlines(), line, line + 1), "")
    if (found := _PLACEHOLDER.match(at)) is None:
        return ""
    whose = f"{found['key']}: " if found["key"] else ""
    return f"{whose}{found['placeholder']} was not filled in: render this template (Helm, Go, Jinja) first"


def without_text(obj: Object, source: str, index: int) -> Document:
    """A document whose text is not at hand: it has no lines and no positions."""
    return Document(obj, source, index, None, _Part("", 1), ())


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
    spent = Spent()
    for part in islice(_parts(text), MAX_DOCUMENTS + 1):
        values: list[Any] = []
        fault = None
        try:
            for value in part.values(spent):
                values.append(value)  # noqa: PERF402 - those before an error count
        except Refused as error:
            message = _unrendered(part.text, error.args[1]) or error.args[0]
            fault = Fault(message, error.args[1] + part.offset, error.args[2])
        for number, value in enumerate(values):
            if value is None:
                continue
            if not isinstance(value, dict):
                line, column = part.place((number,), "") or (1, 1)
                wrong = Fault(f"is a {kind_of(value)} instead of an object", line + part.offset, column)
                yield Document({}, source, index, wrong, part, (number,))
                index += 1
                continue
            for way, obj in _unpack(value) if unpack else [((), value)]:
                yield Document(obj, source, index, None, part, (number, *way))
                index += 1
        if fault is not None:
            yield Document({}, source, index, fault, part, ())
            index += 1
        if spent.is_over:
            return


def as_taken(document: Document) -> list[Document] | None:
    """What kubectl takes a document for that has a fault; None when kubectl refuses it, too.

    Of a key that stands twice, in YAML and JSON, it takes the last one without a word; bytes that are not
    UTF-8 become U+FFFD. So the server's strict field validation never sees either.

    Source: seen with kubectl v1.32 (create, apply, apply --server-side) on Kubernetes v1.37; sigs.k8s.io/yaml
    `YAMLToJSON` and apimachinery `pkg/util/yaml`.
    """
    from yaml import YAMLError

    text = _SURROGATES.sub("\ufffd", document.part.text)
    if document.fault is None or (text == document.part.text and TWICE not in document.fault.message):
        return None
    part = _Part(text, document.part.offset)
    try:
        values = list(parse(text, meaning, Spent(), last_wins=True))
    except (YAMLError, UnicodeError, Refused):
        return None
    objects = [(number, value) for number, value in enumerate(values) if value is not None]
    if not all(isinstance(value, dict) for _, value in objects):
        return None
    return [
        Document(obj, document.source, document.index, None, part, (number, *way))
        for number, value in objects
        for way, obj in _unpack(value)
    ]


_SURROGATES = re.compile("[\ud800-\udfff]")


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


def decode_text(raw: bytes, source: str) -> str:
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


def _unpack(value: Object) -> Iterator[tuple[tuple[str | int, ...], Object]]:
    """The object, or the objects of a List as `kubectl get -o json` prints it."""
    kind, items = value.get("kind"), value.get("items")
    if not (isinstance(kind, str) and kind.endswith("List") and isinstance(items, list)):
        yield (), value
        return
    for index, item in enumerate(items):
        yield ("items", index), item if isinstance(item, dict) else {}


_START = re.compile(r"^---(?=[ \t\r\n]|\Z)", re.MULTILINE)
_DIRECTIVES = re.compile(r"\s*(?:[#%][^\n]*\s*)*")
_MARK = re.compile(r"\A(---[^\n]*\n)\ufeff")
_NEXT_OBJECT = re.compile(r"\}\s*\{")


def _parts(text: str) -> Iterator[_Part]:
    """The text cut before every `---` line, as kubectl cuts it, and a stream of JSON after each object.

    Source: apimachinery pkg/util/yaml (YAMLReader, YAMLOrJSONDecoder); seen with kubectl v1.32.
    """
    starts = [found.start() for found in _START.finditer(text)]
    begin, line = 0, 1
    for start in [*starts, len(text)]:
        piece = text[begin:start]
        if piece:
            yield from _objects(_MARK.sub(r"\1", piece), line)
        line += piece.count("\n")
        begin = start


def _objects(piece: str, line: int) -> Iterator[_Part]:
    """The piece; or each object of a stream of JSON, such as `jq -c` writes."""
    begin = 0
    if piece.lstrip().startswith("{") and _NEXT_OBJECT.search(piece):
        decoder = json.JSONDecoder()
        try:
            while True:
                start = len(piece) - len(piece[begin:].lstrip())
                _, end = decoder.raw_decode(piece, start)
                if not piece[end:].strip():
                    break
                yield _Part(piece[begin:end], line)
                line += piece.count("\n", begin, end)
                begin = end
        except (ValueError, RecursionError):
            pass  # the rest says itself what it is
    yield _Part(piece[begin:], line)


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
        return places(self.text)

    def values(self, spent: Spent) -> Iterator[Any]:
        """What the documents hold.

        Raises:
            Refused: with message, line and column.
        """
        spent.documents += 1
        if spent.documents > MAX_DOCUMENTS:
            spent.is_over = True
            raise Refused(f"more than {MAX_DOCUMENTS:,} documents in one file", 0, 1)
        if "%" in self.text and _DIRECTIVES.fullmatch(self.text):
            line = next(number for number, words in enumerate(self.lines) if "%" in words)
            raise Refused("kubectl takes a directive (%YAML, %TAG) for a document: take it out", line, 1)
        body = self.text.removeprefix("---").lstrip() if self.text.startswith("---") else self.text.lstrip()
        if body.startswith("{"):
            value = from_json(body)
            size = size_within(value, MAX_VALUES - spent.values) if value is not None else None
            if size is not None:
                spent.value(size)
                yield value
                return
        from yaml import YAMLError

        try:
            yield from parse(self.text, meaning, spent)
        except (YAMLError, UnicodeError, Refused) as error:
            line, column, what = locate_error(error, self.text)
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


def text_of_file(path: str, called: str, *, most: int) -> str:
    """The text of a file of so many bytes at most.

    Raises:
        InputError: it cannot be read, is longer, or is not UTF-8; the file is called as given.
    """
    try:
        with Path(path).open("rb") as file:
            raw = file.read(most + 1)
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{called}: not UTF-8 text (byte {error.start})") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{called}: {getattr(error, 'strerror', None) or error}") from None
    if len(raw) > most:
        raise InputError(f"{called}: larger than {most:,} bytes")
    return text
