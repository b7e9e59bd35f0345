"""A YAML or JSON text with one of its objects changed, and everything else in it as somebody wrote it. Pure.

A library that reads and writes whole documents indents, wraps and quotes what nobody asked it to touch,
and a reviewer then sees a changed file instead of a changed line. Here only the lines of the difference are
written; the result is read again, and refused unless it says exactly what was wanted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from kaitoctl.kube.documents import Document, Refused, key_text, read
from kaitoctl.kube.objects import Object
from kaitoctl.kube.yaml_writer import to_yaml

_LAYOUT = "its layout does not let it be edited without touching more than the change"


def edit_document(text: str, document: Document, wanted: Object) -> str:
    """The text with `wanted` in the place of the document's object.

    Args:
        text: the whole of it.
        document: one of those that `documents.read` found in it, without fault.
        wanted: the object as it is to be.

    Raises:
        Refused: it cannot be done by changing only the lines concerned: anchors, several keys on a line.

    Guarantee: reading the result gives `wanted` in this place and what was there in all others. Lines that
        say nothing of the difference are as they were, comments, order and line ends included; a comment
        right above what is removed goes with it.
    """
    made = (
        _in_json(text, document, wanted)
        if text.lstrip().startswith("{")
        else _in_yaml(text, document, wanted)
    )
    before, after = list(read(text, document.source)), list(read(made, document.source))
    expected = [wanted if item.index == document.index else item.obj for item in before]
    is_same = [item.obj for item in after] == expected
    if not is_same or [bool(item.fault) for item in after] != [bool(item.fault) for item in before]:
        raise Refused(_LAYOUT)
    return made


def _in_json(text: str, document: Document, wanted: Object) -> str:
    """JSON has no comments: it is written again, in its order and with its indentation."""
    try:
        whole = json.loads(text)
    except ValueError:
        raise Refused(_LAYOUT) from None
    top: list[Any] = [whole]
    holder: Any = top
    *way, last = document.way
    for step in way:
        holder = holder[step]
    holder[last] = _in_order(holder[last], wanted)
    indented = re.match(r"\s*\{\r?\n([ \t]+)", text)
    made = json.dumps(top[0], indent=indented[1] if indented else None, ensure_ascii=False)
    return made + text[len(text.rstrip()) :]


def _in_order(old: Any, new: Any) -> Any:
    """`new` with its keys in the order of `old`."""
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return new
    keys = [*(key for key in old if key in new), *(key for key in new if key not in old)]
    return {key: _in_order(old.get(key), new[key]) for key in keys}


# --- YAML --------------------------------------------------------------------------------------------------


class _Splice(Struct, frozen=True):
    """Characters `start` to `end` of a text, and what comes in their place."""

    start: int
    end: int
    text: str


def _in_yaml(text: str, document: Document, wanted: Object) -> str:
    import yaml

    part = document.part.text
    base = 0
    for _ in range(document.part.offset - 1):
        base = text.index("\n", base) + 1
    try:
        nodes = list(yaml.compose_all(part, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
    except yaml.YAMLError:
        raise Refused(_LAYOUT) from None
    first, *way = document.way
    node, obj = nodes[int(first)], document.obj
    for step in way:
        node = _entries(node)[step][1] if isinstance(step, str) else node.value[step]
    editor = _Editor(part, _dash_offset(nodes))
    done, made = 0, [text[:base]]
    for splice in sorted(editor.changes(node, obj, wanted), key=lambda item: (item.start, item.end)):
        if splice.start < done:
            raise Refused(_LAYOUT)
        made += [part[done : splice.start], splice.text]
        done = splice.end
    return "".join([*made, part[done:], text[base + len(part) :]])


def _entries(node: Any) -> dict[str, tuple[Any, Any]]:
    """A map's key and value nodes, by key."""
    if node.id != "mapping":
        raise Refused(_LAYOUT)
    return {
        key.value if key.style else key_text(key.value): (key, value)
        for key, value in node.value
        if key.id == "scalar"
    }


def _dash_offset(nodes: list[Any]) -> int:
    """How far the dashes of lists stand to the right of their key: as in the first list, or two."""
    waiting = list(reversed(nodes))
    while waiting:
        node = waiting.pop()
        if node.id == "mapping":
            for key, value in node.value:
                if value.id == "sequence" and not value.flow_style:
                    return max(0, int(value.start_mark.column) - int(key.start_mark.column))
            waiting += [value for _, value in reversed(node.value)]
        elif node.id == "sequence":
            waiting += reversed(node.value)
    return 2


class _Editor:
    """Finds what to splice into one text.

    Args:
        text: it.
        dash_offset: of lists that are new.
    """

    def __init__(self, text: str, dash_offset: int) -> None:
        self._text = text
        self._dash_offset = dash_offset
        self._end_of_line = "\r\n" if "\r\n" in text else "\n"

    def changes(self, node: Any, old: Any, new: Any) -> Iterator[_Splice]:
        """What turns the node's `old` value into `new`; nothing where they are the same."""
        if old == new and type(old) is type(new):
            return
        if node.id == "mapping" and isinstance(new, dict):
            yield from self._map_changes(node, old, new)
        elif node.id == "sequence" and isinstance(new, list) and node.flow_style and node.value:
            yield self._flow(node, self._kept_texts(node, old, new), "[]")
        elif node.id == "sequence" and isinstance(new, list) and new and node.value:
            yield from self._list_changes(node, old, new)
        elif node.id == "scalar" and not isinstance(new, (dict, list)) and node.style not in ("|", ">"):
            yield _Splice(node.start_mark.index, node.end_mark.index, _scalar(new, node.style))
        else:
            raise Refused(_LAYOUT)

    # --- maps ------------------------------------------------------------------------------------------

    def _map_changes(self, node: Any, old: Object, new: Object) -> Iterator[_Splice]:
        entries = _entries(node)
        if not new or any(key not in entries for key in old if key not in new or old[key] != new[key]):
            raise Refused(_LAYOUT)  # empty, or what changes came by a merge key
        if node.flow_style:
            texts = [
                f"{self._of(entries[key][0])}: {self._of(entries[key][1])}"
                if key in old and old[key] == value
                else f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}"
                for key, value in _in_order(old, new).items()
            ]
            yield self._flow(node, texts, "{}")
            return
        for key, value in old.items():
            where, below = entries.get(key, (None, None))
            if key not in new:
                yield self._remove(where.start_mark.index, below)
            elif value != new[key] and self._begins_anew(below, new[key]):
                yield from self._begin(where, below, new[key])
            else:
                yield from self.changes(below, value, new[key])
        added = {key: value for key, value in new.items() if key not in old}
        if added:
            column = node.start_mark.column
            yield self._insert(self._end_of(node), self._block(added, column))

    @staticmethod
    def _begins_anew(node: Any, new: Any) -> bool:
        """Whether a value that was nothing becomes a map or list."""
        is_nothing = node.id == "scalar" and node.value in ("", "~", "null") and not node.style
        return isinstance(new, (dict, list)) and bool(new) and (is_nothing or node.value == [])

    def _begin(self, key: Any, node: Any, new: Any) -> Iterator[_Splice]:
        begin, end = key.end_mark.index, node.end_mark.index
        colon = self._text.index(":", begin) + 1
        yield _Splice(colon, max(end, colon), "")
        column = key.start_mark.column
        lines = self._block({"": new}, column)[1:]
        yield self._insert(self._line_end(colon), lines)

    # --- lists -----------------------------------------------------------------------------------------

    def _list_changes(self, node: Any, old: list[Any], new: list[Any]) -> Iterator[_Splice]:
        head = 0
        while head < min(len(old), len(new)) and old[head] == new[head]:
            head += 1
        tail = 0
        while tail < min(len(old), len(new)) - head and old[-1 - tail] == new[-1 - tail]:
            tail += 1
        gone, come = old[head : len(old) - tail], new[head : len(new) - tail]
        items = node.value[head : len(old) - tail]
        column = node.start_mark.column
        if len(gone) == len(come):
            for item, before, after in zip(items, gone, come, strict=True):
                yield from self.changes(item, before, after)
            return
        for item in items:
            yield self._remove(self._dash_of(node, item), item)
        if come:
            if items:
                at = self._end_of(items[-1])
            elif head:
                at = self._end_of(node.value[head - 1])
            else:
                at = self._line_start(self._dash_of(node, node.value[0]))
            yield self._insert(at, [line for value in come for line in self._block([value], column)])

    def _dash_of(self, node: Any, item: Any) -> int:
        """Where an item's dash stands."""
        found = self._text.rfind("-", node.start_mark.index, item.start_mark.index + 1)
        line = self._text[self._line_start(found) : found] if found >= 0 else "x"
        if found < 0 or line.strip():
            raise Refused(_LAYOUT)  # an item behind another dash, or behind a key
        return found

    def _kept_texts(self, node: Any, old: list[Any], new: list[Any]) -> list[str]:
        """The items of a flow list, those that stay as they were written."""
        kept = {
            json.dumps(value, sort_keys=True): self._of(item)
            for value, item in zip(old, node.value, strict=True)
        }
        return [
            kept.get(json.dumps(value, sort_keys=True), json.dumps(value, ensure_ascii=False))
            for value in new
        ]

    # --- text ------------------------------------------------------------------------------------------

    def _of(self, node: Any) -> str:
        return self._text[node.start_mark.index : node.end_mark.index]

    def _flow(self, node: Any, texts: list[str], brackets: str) -> _Splice:
        begin, end = node.start_mark.index, node.end_mark.index
        if "#" in self._text[begin:end]:
            raise Refused(_LAYOUT)  # perhaps a comment, which would be lost
        return _Splice(begin, end, f"{brackets[0]}{', '.join(texts)}{brackets[1]}")

    def _line_start(self, index: int) -> int:
        return self._text.rfind("\n", 0, index) + 1

    def _line_end(self, index: int) -> int:
        """After the end of the line that `index` is on."""
        found = self._text.find("\n", index)
        return len(self._text) if found < 0 else found + 1

    def _end_of(self, node: Any) -> int:
        """After the end of the last line that the node says something on."""
        while node.value and node.id != "scalar" and not node.flow_style:
            last = node.value[-1]
            node = last[1] if isinstance(last, tuple) else last
        begin, end = node.start_mark.index, node.end_mark.index
        # A block scalar ends where the next thing begins; blank lines in between are not its own.
        end = begin + len(self._text[begin:end].rstrip()) if node.id == "scalar" else end
        return self._line_end(max(end, begin))

    def _remove(self, begin: int, node: Any) -> _Splice:
        """The lines from a key or dash to the end of its value, with the comment right above."""
        start = self._line_start(begin)
        if self._text[start:begin].strip():
            raise Refused(_LAYOUT)  # something else begins on this line
        indent = self._text[start:begin]
        while start:
            above = self._line_start(start - 1)
            line = self._text[above:start]
            if not (line.startswith(f"{indent}#")):
                break
            start = above
        return _Splice(start, self._end_of(node), "")

    def _insert(self, at: int, lines: list[str]) -> _Splice:
        text = "".join(line + self._end_of_line for line in lines)
        if at and self._text[at - 1] != "\n":  # the last line of the file has no end
            text = self._end_of_line + text.removesuffix(self._end_of_line)
        return _Splice(at, at, text)

    def _block(self, value: Any, column: int) -> list[str]:
        """The lines of a map or list whose keys or dashes stand in a column."""
        pad = " " * column
        lines: list[str] = []
        if isinstance(value, list):
            for item in value:
                inner = (
                    self._block(item, column + 2)
                    if isinstance(item, (dict, list)) and item
                    else [pad + "  " + _scalar(item)]
                )
                lines += [f"{pad}- {inner[0][column + 2 :]}", *inner[1:]]
            return lines
        for key, item in value.items():
            name = _scalar(key)
            if isinstance(item, (dict, list)) and item:
                more = self._dash_offset if isinstance(item, list) else 2
                lines += [f"{pad}{name}:", *self._block(item, column + more)]
            else:
                lines.append(f"{pad}{name}: {_scalar(item)}")
        return lines


def _scalar(value: Any, style: str | None = None) -> str:
    """A scalar (or an empty map or list) as YAML, quoted as what was there before, if it can be."""
    if isinstance(value, str) and style == '"':
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, str) and style == "'" and value.isprintable():
        return "'" + value.replace("'", "''") + "'"
    if not isinstance(value, str):
        return json.dumps(value)
    text = to_yaml({"k": value}).removeprefix("k: ").rstrip("\n")
    return json.dumps(value, ensure_ascii=False) if "\n" in text else text
