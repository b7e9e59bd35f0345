"""YAML and JSON text into plain values and places, within bounds, without recursion. Pure.

Built here from libyaml's events, because a library's loader keeps the last of two equal keys, makes dates,
and can be exhausted by nesting or aliases.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

from msgspec import Struct, field

from kaitoctl.kube.objects import Object
from kaitoctl.kube.yaml_scalars import Refused, key_text, scalar_value

MAX_VALUES = 400_000
"""Keys and values that one text may have: what is read in about a second."""

MAX_DOCUMENTS = 10_000

_MAX_DEPTH = 100
_MAX_ALIASED = 1_000_000  # values and characters that aliases stand for: a "billion laughs" file stops here


class Spent(Struct):
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


def kind_of(value: Any) -> str:
    """What people call a JSON value's type."""
    return {dict: "map", list: "list", str: "text", type(None): "null"}.get(type(value), "number")


def locate_error(error: Exception, text: str = "") -> tuple[int, int, str]:
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


def from_json(text: str) -> Object | None:
    """The object of a JSON text; None when it is not one, or not a good one: YAML's reader says why."""

    def unique(pairs: list[tuple[str, Any]]) -> Object:
        obj = dict(pairs)
        if len(obj) != len(pairs):
            raise ValueError
        return obj

    def constant(_name: str) -> Any:
        raise ValueError

    try:
        obj = json.loads(text, object_pairs_hook=unique, parse_float=scalar_value, parse_constant=constant)
    except (ValueError, RecursionError):
        return None
    return obj if isinstance(obj, dict) else None


def size_within(value: Any, most: int) -> int | None:
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


_TAGS = "tag:yaml.org,2002:"
_TEXT_TAGS = {f"{_TAGS}str", "!"}
_OTHER_TAGS = {f"{_TAGS}{name}" for name in ("int", "float", "bool", "null")}
_CONTAINER_TAGS = {f"{_TAGS}map", f"{_TAGS}seq"}


def meaning(text: str, plain: bool) -> Any:
    """What a scalar means: plain, or quoted."""
    return scalar_value(text) if plain else text


def _events(text: str) -> Iterator[Any]:
    import yaml

    # libyaml is five times as fast; it is missing where no wheel was built.
    return iter(getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text).get_event, None)


def parse(
    text: str, scalar: Callable[[str, bool], Any], spent: Spent | None = None, *, last_wins: bool = False
) -> Iterator[Any]:
    """The documents of a YAML text, built from parser events, without recursion.

    Args:
        text: YAML.
        scalar: given a scalar's text and whether it is plain (unquoted), what it means.
        spent: the costs so far, where the text is a part of something.
        last_wins: of a key that stands twice the last one counts, instead of an error.

    Raises:
        YAMLError: from the parser.
        Refused: with the mark where it happened.
    """
    take = _Builder(scalar, spent or Spent(), last_wins).take
    for event in _events(text):
        try:
            finished = take[type(event).__name__](event)
        except Refused as error:
            raise Refused(error.args[0], event.start_mark) from None
        if finished is not None:
            yield finished[0]


class _Builder:
    """Makes trees of one parser's events."""

    def __init__(self, scalar: Callable[[str, bool], Any], spent: Spent, last_wins: bool) -> None:
        self._meaning = scalar
        self._spent = spent
        self._last_wins = last_wins
        self._keys: dict[str, str] = {}  # plain keys that mean what they say: most stand in every document
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
            value = self._keys.get(text) or self._key(text)
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

    def _key(self, text: str) -> Any:
        if (as_text := self._meaning(text, False)) != text:
            return as_text
        return self._keys.setdefault(text, key_text(text))

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
        self._open.append(_Container(value, type(value) is dict, event.anchor, self._size, self._last_wins))

    def _close(self, event: Any) -> None:
        container = self._open.pop()
        value = container.close()
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


TWICE = "stands twice in the same map"


class _Container(Struct):
    """A map or list that is still open."""

    value: Any
    is_map: bool
    anchor: str | None
    size_before: int
    last_wins: bool
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
            if value in self.value and not is_merge and not self.last_wins:
                raise Refused(f"the key {value[:80]!r} {TWICE}")
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
            raise Refused("<< needs a map, or a list of maps")
        self.merged += sources

    def close(self) -> Any:
        """The finished value."""
        for source in self.merged:
            for key, value in source.items():
                self.value.setdefault(key, value)
        return self.value


def places(text: str) -> list[Any]:
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
