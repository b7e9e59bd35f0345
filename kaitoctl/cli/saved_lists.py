"""Lists that kubectl has written: `kubectl get nodes -o json > nodes.json`, or YAML, or `-` for stdin."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from kaitoctl.errors import InputError
from kaitoctl.kube.objects import Object

NodesFile = Annotated[
    str | None,
    typer.Option(
        "--nodes",
        help="Offline: nodes as `kubectl get nodes -o json` (or yaml) wrote them; - reads stdin.",
        metavar="FILE",
    ),
]
PodsFile = Annotated[
    str | None,
    typer.Option(
        "--pods",
        help="Offline: pods as `kubectl get pods -A -o json` (or yaml) wrote them; their GPUs are not free.",
        metavar="FILE",
    ),
]

_BOMS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}


def objects(
    file: str, kind: str, *, option: str, decode: Callable[[bytes], Any] | None = None
) -> list[Object]:
    """The objects of a kind in a file; a List of several kinds may hold others.

    Args:
        file: a path, or `-` for stdin.
        kind: such as `Node`; objects that do not say their kind count as it.
        option: for messages, `--nodes`.
        decode: reads a JSON list (`kube.trimmed`); the whole of it when None.

    Raises:
        InputError: no such file, or it holds neither an object nor a list.
    """
    body = _body(file, option)
    documents = (
        [_json(body, file, option, decode)] if body.lstrip()[:1] == b"{" else _yaml(body, file, option)
    )
    found = [obj for document in documents for obj in _items(document, kind, file, option)]
    if not found and any(not isinstance(document, dict) for document in documents):
        raise InputError(f"{option} {file}: there is no {kind} in it", hint=_how(kind))
    return found


def _body(file: str, option: str) -> bytes:
    try:
        body = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except FileNotFoundError:
        raise InputError(f"{option} {file}: there is no such file") from None
    except OSError as error:
        raise InputError(f"{option} {file} cannot be read: {error.strerror or error}") from error
    if not body.strip():
        raise InputError(f"{option} {file}: the file is empty")
    for mark, encoding in _BOMS.items():  # PowerShell's `>` writes UTF-16
        if body.startswith(mark):
            try:
                return body.decode(encoding).encode()
            except UnicodeDecodeError as error:
                raise InputError(f"{option} {file} is not text: {error}") from error
    return body


def _json(body: bytes, file: str, option: str, decode: Callable[[bytes], Any] | None) -> Any:
    import json

    try:
        document = decode(body) if decode else json.loads(body)
        if decode and isinstance(document, dict) and "items" not in document:  # one object, not a list
            document = json.loads(body)
        return document
    except (ValueError, RecursionError):
        pass
    try:  # again, for an error with a line
        json.loads(body)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        cut = error.pos >= len(error.doc.rstrip()) - 1 or "Unterminated" in error.msg
        hint = "the file seems cut off: save it again" if cut else ""
        raise InputError(f"{option} {file} is not JSON: {error.msg} ({where})", hint=hint) from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{option} {file} is not JSON: {error}") from error
    raise AssertionError("what one parser refuses the other does, too")


def _yaml(body: bytes, file: str, option: str) -> list[Any]:
    from yaml import YAMLError

    from kaitoctl.kube import documents

    text = documents.decoded(body, f"{option} {file}")
    try:
        found = documents.parsed(text, lambda word, plain: documents.typed(word) if plain else word)
        return [document for document in found if document is not None]
    except (YAMLError, documents.Refused, ValueError) as error:
        line, column, what = documents.located(error, text)
        where = f"line {line}, column {column}"
        raise InputError(f"{option} {file} is neither JSON nor YAML: {what} ({where})") from error


def _items(document: Any, kind: str, file: str, option: str) -> Iterator[Object]:
    if not isinstance(document, dict):
        raise InputError(f"{option} {file}: there is no {kind} in it", hint=_how(kind))
    own = document.get("kind")
    if "items" not in document:
        listed: Any = [document]
    else:
        listed = document["items"] if document["items"] is not None else []
        own = None if own in (None, "List") else str(own).removesuffix("List")
    if not isinstance(listed, list):
        raise InputError(f"{option} {file}: its items are no list")
    if own is not None and own != kind:
        raise InputError(f"{option} {file} holds {own}s, not {kind}s", hint=_how(kind))
    others = {str(item.get("kind")) for item in listed if isinstance(item, dict)} - {"None", kind}
    fitting = [item for item in listed if isinstance(item, dict) and item.get("kind") in (None, kind)]
    if others and not fitting:  # kubectl writes `kind: List` whatever is in it
        raise InputError(f"{option} {file} holds {', '.join(sorted(others))}, not {kind}", hint=_how(kind))
    yield from fitting


def _how(kind: str) -> str:
    plural = f"{kind.lower()}s"
    everywhere = " -A" if kind == "Pod" else ""
    return f"save one with: kubectl get {plural}{everywhere} -o json > {plural}.json"
