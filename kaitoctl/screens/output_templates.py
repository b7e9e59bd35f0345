r"""`-o jsonpath=`, `-o custom-columns=` and `--sort-by`: kubectl's templates around expressions of JSONPath.

The expressions are RFC 9535, read by python-jsonpath; kubectl's own spelling of names with dots
(`kaito\.sh/workspace`) and its leading dot are translated. Imported only when one of the options is used.
Source of the templates: https://kubernetes.io/docs/reference/kubectl/jsonpath/
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from kaitoctl.errors import InputError

_ESCAPED = re.compile(r"\.((?:[\w-]|\\.|/(?=[\w-]))*\\\.(?:[\w/-]|\\.)*)")
_PIECE = re.compile(r"(?P<text>[^{}]+)|\{(?P<inside>(?:\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'|[^{}\"'])*)\}")
_HINT = "such as '{.items[*].metadata.name}'; see https://kubernetes.io/docs/reference/kubectl/jsonpath/"


class _Step(NamedTuple):
    """A piece of a template: what it is, its text or expression, and what is repeated."""

    kind: str
    text: str
    inner: tuple[_Step, ...] = ()


def check(output: str) -> None:
    """Refuse a format whose template or expression cannot be read.

    Raises:
        InputError: the place, and an example.
    """
    if output.startswith("jsonpath="):
        _template(output.partition("=")[2])
    else:
        _columns(output.partition("=")[2])


def jsonpath_text(value: Any, output: str) -> str:
    """What a `jsonpath=` template finds in the value; without a line's end, as kubectl prints it."""
    return "".join(_fill(_template(output.partition("=")[2]), value, value))


def columns(value: Any, output: str, key: str = "") -> tuple[list[str], list[list[str]]]:
    """Headers and rows of `custom-columns=`, a row for each item, of the list of a key if one is named."""
    wanted = _columns(output.partition("=")[2])
    items = value[key] if key else items_of(value)
    rows = [[_join(path, item) for _, path in wanted] for item in items]
    return [header for header, _ in wanted], rows


def items_of(value: Any) -> list[Any]:
    """What the rows of an answer are: its items, its only list, or itself."""
    if isinstance(value, list):
        return value
    if isinstance(value, dict):
        if isinstance(value.get("items"), list):
            return list(value["items"])
        lists = [one for one in value.values() if isinstance(one, list)]
        if len(lists) == 1 and "metadata" not in value and "kind" not in value:
            return list(lists[0])
    return [value]


def find(expression: str, value: Any) -> list[Any]:
    """What an expression finds in a value; nothing where a key is missing.

    Raises:
        InputError: the expression is no JSONPath.
    """
    import jsonpath

    try:
        return list(jsonpath.findall(_as_rfc(expression), value))
    except jsonpath.JSONPathError as error:
        why = str(error).splitlines()[0]
        raise InputError(f"{expression!r} is no JSONPath: {why}", hint=_HINT) from None


def _as_rfc(expression: str) -> str:
    r"""`.a.b\.c/d` as `$.a['b.c/d']`."""

    def quoted(match: re.Match[str]) -> str:
        return "['" + match[1].replace("\\", "").replace("'", "\\'") + "']"

    text = _ESCAPED.sub(quoted, expression.strip())
    if text.startswith("@"):
        text = text[1:]
    if not text.startswith("$"):
        text = f"${text}" if text[:1] in ".[" or not text else f"$.{text}"
    return text.removesuffix(".") if text != "$" else text


# --- templates ---------------------------------------------------------------------------------------------


def _template(text: str) -> tuple[_Step, ...]:
    if not text:
        raise InputError("-o jsonpath=: the template is empty", hint=_HINT)
    pieces = list(_pieces(text))
    steps, rest = _steps(pieces, within=False)
    assert not rest
    return steps


def _pieces(text: str) -> Iterator[_Step]:
    at = 0
    while at < len(text):
        match = _PIECE.match(text, at)
        if match is None:
            raise InputError(
                f"-o jsonpath=: a brace or quote is not closed at {text[at : at + 20]!r}", hint=_HINT
            )
        at = match.end()
        if match["text"] is not None:
            yield _Step("text", _unescape(match["text"]))
            continue
        inside = match["inside"].strip()
        if inside[:1] in ("'", '"'):
            yield _Step("text", _unescape(inside[1:-1]))
        elif inside == "end":
            yield _Step("end", "")
        elif inside.startswith("range "):
            yield _Step("range", _check(inside.removeprefix("range ")))
        else:
            yield _Step("path", _check(inside))


def _check(expression: str) -> str:
    find(expression, {})
    return expression


def _unescape(text: str) -> str:
    return re.sub(r"\\(.)", lambda match: {"n": "\n", "t": "\t", "r": "\r"}.get(match[1], match[1]), text)


def _steps(pieces: list[_Step], *, within: bool) -> tuple[tuple[_Step, ...], list[_Step]]:
    """The steps up to the `{end}` that closes them, and what follows it."""
    steps: list[_Step] = []
    while pieces:
        step, *pieces = pieces
        if step.kind == "end":
            if within:
                return tuple(steps), pieces
            raise InputError("-o jsonpath=: {end} without {range}", hint=_HINT)
        if step.kind == "range":
            inner, pieces = _steps(pieces, within=True)
            step = step._replace(inner=inner)
        steps.append(step)
    if within:
        raise InputError("-o jsonpath=: {range} without {end}", hint=_HINT)
    return tuple(steps), []


def _fill(steps: Sequence[_Step], root: Any, current: Any) -> Iterator[str]:
    for step in steps:
        if step.kind == "text":
            yield step.text
            continue
        here = root if step.text.startswith("$") else current
        if step.kind == "path":
            yield " ".join(_plain(one) for one in find(step.text, here))
        else:
            for one in find(step.text, here):
                yield from _fill(step.inner, root, one)


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), ensure_ascii=False)


# --- columns and order -------------------------------------------------------------------------------------


def _columns(text: str) -> list[tuple[str, str]]:
    example = "such as -o custom-columns=NAME:.metadata.name,GPUS:.gpus"
    if not text:
        raise InputError("-o custom-columns=: no columns are named", hint=example)
    wanted = []
    for part in re.split(r",(?![^\[]*\])", text):
        header, colon, path = part.partition(":")
        if not header or not colon or not path:
            raise InputError(f"-o custom-columns=: {part!r} is not HEADER:PATH", hint=example)
        wanted.append((header, _check(path.strip("{}"))))
    return wanted


def _join(path: str, item: Any) -> str:
    values = find(path, item)
    return ",".join(_plain(one) for one in values if one is not None) or "<none>"


def order(expression: str, items: Sequence[Any]) -> list[int]:
    """The places of the items in the order of what an expression finds in each; missing ones first.

    Raises:
        InputError: the expression is no JSONPath, or finds nothing in any item.
    """
    path = expression.strip().removeprefix("{").removesuffix("}")
    if not path or set(path) & set("{}"):
        raise InputError(f"--sort-by {expression!r} names no field", hint="such as --sort-by .name")

    def rank(at: int) -> tuple[int, float, str]:
        values = find(path, items[at])
        if not values or values[0] is None:
            return (0, 0.0, "")
        value = values[0]
        if isinstance(value, bool | int | float):
            return (1, float(value), "")
        return (2, 0.0, value if isinstance(value, str) else json.dumps(value, sort_keys=True))

    ranks = [rank(at) for at in range(len(items))]
    if ranks and not any(kind for kind, *_ in ranks):
        fields = ", ".join(map(str, items[0])) if isinstance(items[0], dict) else ""
        raise InputError(
            f"--sort-by {expression}: no item has such a field", hint=f"they have: {fields}" if fields else ""
        )
    return sorted(range(len(items)), key=ranks.__getitem__)
