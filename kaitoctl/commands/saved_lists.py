"""Lists that kubectl has written: `kubectl get nodes -o json > nodes.json`, or YAML, or `-` for stdin.

What is read: a List (or NodeList), single objects, JSON arrays, JSON objects one after another (JSON lines,
`jq -c`, `kubectl get -w`: of an object that comes again the last version), YAML documents; UTF-8, UTF-16 and
UTF-32 with their marks; gzip. All else is refused with what it seems to be: a file that holds an error
message is no cluster without nodes, and neither is one page of several.
"""

from __future__ import annotations

import json
import re
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from kaitoctl.advice import Advice, Command
from kaitoctl.commands import files
from kaitoctl.errors import InputError
from kaitoctl.kaito.fleet.node_demand import demands
from kaitoctl.kaito.node_check import coverage
from kaitoctl.kube import documents
from kaitoctl.kube.objects import Object
from kaitoctl.screens import output

_MOST_UNPACKED = 2_000_000_000  # bytes; a hundred thousand nodes of 20 KB
_GZIP = b"\x1f\x8b"
_ARCHIVES = {
    b"PK\x03\x04": "a zip archive",
    b"BZh": "a bzip2 file",
    b"\xfd7zXZ\x00": "an xz file",
    b"\x28\xb5\x2f\xfd": "a zstd file",
    _GZIP: "a gzip file in another one",
}
_TAR, _TAR_AT = b"ustar", 257
# The longer marks first: UTF-32's little-endian one begins as UTF-16's does.
_MARKS = {
    b"\xff\xfe\x00\x00": "utf-32",
    b"\x00\x00\xfe\xff": "utf-32",
    b"\xef\xbb\xbf": "utf-8-sig",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
# What kubectl, its plugins and shells say where a list was expected.
_ERROR = re.compile(
    r"(?i)(?:error\b|error from server|unable to connect|the connection to the server|you must be logged in|"
    r"no resources found|unauthorized|forbidden|panic:|fatal|warning:|[EWF]\d{4} |[^:]+: .*command not found|"
    r"get \"?https?://|no such file)"
)
_TABLE = re.compile(r"(?:NAMESPACE\s+)?NAME\s+[A-Z]")
_NAMES = re.compile(r"(?:node|pod)s?/\S+\s*$")
_DESCRIBED = re.compile(r"Name:\s+\S+\s*$")


def objects(
    file: str, kind: str, *, option: str, decode: Callable[[bytes], Any] | None = None
) -> list[Object]:
    """The objects of a kind in a file; others beside them are left out.

    Args:
        file: a path, or `-` for stdin.
        kind: such as `Node`; objects that do not say their kind count as it when they have a name.
        option: for messages, `--nodes`.
        decode: reads a JSON list (`kube.partial_decoding`); the whole of it when None.

    Raises:
        InputError: no such file, or it holds neither such objects nor a list of them.
    """
    return objects_and(None, file, kind, option=option, decode=decode)[0]


def objects_and(
    other: str | None, file: str, kind: str, *, option: str, decode: Callable[[bytes], Any] | None = None
) -> tuple[list[Object], list[Object]]:
    """As `objects`, and those of another kind that are in the file, too: `kubectl get nodes,workspaces -A`.

    Where there are any, the objects are read whole: what those ask for is not known before.
    """
    source = _Source(file, kind, option)
    body = _body(file, option)
    has_others = other and re.search(rb"\bkind\"?\s*:\s*[\"']?%b\b" % other.encode(), body)
    found, documents = _found(body, source, None if has_others else decode)
    beside: list[Object] = []
    if other and has_others:
        theirs = _Source(file, other, option)
        beside = [obj for document in documents for obj in _objects(document, theirs, {})]
    named = [obj for obj in beside if obj.get("kind") == other and _has_a_name(obj) and _is_ours(obj)]
    return found if kind == "Workspace" else _last_versions(found), named


def _found(
    body: bytes, source: _Source, decode: Callable[[bytes], Any] | None
) -> tuple[list[Object], list[Any]]:
    """The objects of the kind in a file's bytes, and all of its documents."""
    _insist_on_data(body, source)
    start = body.lstrip()[:1]
    if start == b"{" or (start == b"[" and _is_json(body)):
        documents = _json(body, source, decode if start == b"{" else None)
    else:
        documents = _yaml(body, source)
    others: dict[str, None] = {}
    found = [obj for document in documents for obj in _objects(document, source, others)]
    if not found and others:
        raise source.error_for(" and ".join(others))
    if not documents:
        raise source.error_for("nothing")
    return found, documents


def warn_of_gaps(nodes: Iterable[Object], pods: Iterable[Object], file: str) -> None:
    """Say when a list of pods cannot be that of all: the GPUs of what it leaves out look free.

    Args:
        nodes: all that `--nodes` holds.
        pods: all that `--pods` holds.
        file: of the pods.
    """
    if what := coverage.gap(nodes, pods):
        output.warning(
            f"--pods {file} {what}: GPUs that look free may be taken by others",
            hint="save all pods: " + Command("kubectl get pods -A -o json") + " > pods.json",
        )


def _last_versions(found: list[Object]) -> list[Object]:
    """Each object once: who watches prints it again and again, and the last time is how it is."""
    known: dict[object, Object] = {}
    for number, obj in enumerate(found):
        metadata = obj.get("metadata")
        named = metadata if isinstance(metadata, dict) else {}
        name = named.get("name")
        known[str(named.get("namespace")), name if isinstance(name, str) else number] = obj
    return list(known.values())


class _Source:
    """A file and what it should hold, for messages."""

    def __init__(self, file: str, kind: str, option: str) -> None:
        self.kind, self.option = kind, option
        self.name = f"{option} {file}"

    def error_for(self, what: str) -> InputError:
        """The error for a file that holds something else."""
        ours = f"{self.kind}s"
        if what.startswith(f"{ours} of "):
            ours += f" of {_OF_KUBERNETES}"
        return InputError(f"{self.name} holds {what}, not {ours}", hint=self._how())

    def _how(self) -> Advice:
        plural = f"{self.kind.lower()}s"
        everywhere = ("-A",) if self.kind == "Pod" else ()
        command = Command("kubectl get", plural, *everywhere, "-o", "json")
        return "save them with: " + command + f" > {plural}.json"


# --- bytes ---------------------------------------------------------------------------------------------


def _body(file: str, option: str) -> bytes:
    files.insist_on_name(file, option=option)
    try:
        body = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except FileNotFoundError:
        raise InputError(f"{option} {file}: there is no such file") from None
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise InputError(f"{option} {file} cannot be read: {why}") from error
    if body.startswith(_GZIP):
        body = _unpack(body, f"{option} {file}")
    _insist_on_no_archive(body, option, file)
    body = _as_utf_8(body, f"{option} {file}")
    if not body.strip():
        raise InputError(f"{option} {file}: the file is empty")
    return body


def _unpack(body: bytes, name: str) -> bytes:
    """What gzip, or several of its members one after another, have packed."""
    parts, room = [], _MOST_UNPACKED
    while body.startswith(_GZIP):  # what pads the file after its last member is left out, as gzip does
        reading = zlib.decompressobj(wbits=31)
        try:
            parts.append(reading.decompress(body, room))
        except zlib.error as error:
            raise InputError(f"{name} is not gzip: {error}") from error
        room -= len(parts[-1])
        if reading.unconsumed_tail or room <= 0:
            raise InputError(f"{name} unpacks to more than {_MOST_UNPACKED:,} bytes")
        if not reading.eof:
            raise InputError(f"{name}: the gzip file is cut off", hint="save it again")
        body = reading.unused_data
    return b"".join(parts)


def _insist_on_no_archive(body: bytes, option: str, file: str) -> None:
    what = next((what for mark, what in _ARCHIVES.items() if body.startswith(mark)), "")
    if body[_TAR_AT : _TAR_AT + len(_TAR)] == _TAR:
        what = "a tar archive"
    if what:
        raise InputError(f"{option} {file} is {what}", hint="unpack it first")


def _as_utf_8(body: bytes, name: str) -> bytes:
    """PowerShell's `>` writes UTF-16; a text that begins with a null byte every other one is it, too."""
    encoding = next((encoding for mark, encoding in _MARKS.items() if body.startswith(mark)), "")
    if not encoding and len(body) > 3 and 0 in body[:2] and body[0] != body[1]:
        encoding = "utf-16-le" if body[1] == 0 else "utf-16-be"
    if not encoding:
        return body
    try:
        return body.decode(encoding).encode()
    except UnicodeDecodeError as error:
        raise InputError(f"{name} is not text: {error}") from error


def _insist_on_data(body: bytes, source: _Source) -> None:
    """Refuse what is no data at all, by its first line."""
    start = body.lstrip()[:400].decode("utf-8", "replace")
    first = start.partition("\n")[0].strip()
    if first.startswith(("{", "[")):
        return
    if first.startswith("<"):
        raise source.error_for("an HTML or XML page")
    if _TABLE.match(first):
        raise source.error_for("the table that kubectl get prints without -o json")
    if _NAMES.match(first):
        raise source.error_for("names (-o name)")
    if _DESCRIBED.match(first):
        raise source.error_for("what kubectl describe prints")
    if _ERROR.match(first):
        raise source.error_for(f"an error message ({first[:80]!r})")


# --- JSON and YAML -------------------------------------------------------------------------------------


def _is_json(body: bytes) -> bool:
    """Whether what begins as an array is one: YAML has lists of that form, too."""
    try:
        json.loads(body)
    except json.JSONDecodeError as error:
        return error.msg == "Extra data"
    except (ValueError, RecursionError):
        return False
    return True


def _json(body: bytes, source: _Source, decode: Callable[[bytes], Any] | None) -> list[Any]:
    try:
        document = decode(body) if decode else json.loads(body)
        if decode and isinstance(document, dict) and "items" not in document:  # one object, not a list
            document = json.loads(body)
        return [document]
    except (ValueError, RecursionError):
        pass
    try:  # again, for an error with a line
        return [json.loads(body)]
    except json.JSONDecodeError as error:
        if error.msg == "Extra data" and error.doc.startswith(("{", "["), error.pos):
            return _stream(error.doc, source)
        raise _not_json(error, source) from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{source.name} is not JSON: {error}") from error


def _stream(text: str, source: _Source) -> list[Any]:
    """JSON values one after another, whatever white space is between them."""
    decoder, position = json.JSONDecoder(), len(text) - len(text.lstrip())
    found = []
    try:
        while position < len(text):
            value, position = decoder.raw_decode(text, position)
            found.append(value)
            while position < len(text) and text[position] in " \t\r\n":
                position += 1
    except json.JSONDecodeError as error:
        raise _not_json(error, source) from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{source.name} is not JSON: {error}") from error
    return found


def _not_json(error: json.JSONDecodeError, source: _Source) -> InputError:
    where = f"line {error.lineno}, column {error.colno}"
    cut = error.pos >= len(error.doc.rstrip()) - 1 or "Unterminated" in error.msg
    hint = "the file seems cut off: save it again" if cut else ""
    return InputError(f"{source.name} is not JSON: {error.msg} ({where})", hint=hint)


def _yaml(body: bytes, source: _Source) -> list[Any]:
    from yaml import YAMLError

    text = documents.decode_text(body, source.name)
    try:
        found = documents.parse(text, lambda word, plain: documents.scalar_value(word) if plain else word)
        return [document for document in found if document is not None]
    except (YAMLError, documents.Refused, ValueError) as error:
        line, column, what = documents.locate_error(error, text)
        where = f"line {line}, column {column}"
        raise InputError(f"{source.name} is neither JSON nor YAML: {what} ({where})") from error


# --- objects -------------------------------------------------------------------------------------------


def _objects(document: Any, source: _Source, others: dict[str, None]) -> Iterator[Object]:
    """The objects of the kind in one document; other kinds are noted."""
    if isinstance(document, list):
        for item in document:
            if not isinstance(item, dict):
                raise source.error_for(f"an array with {_kind_of_value(item)} in it")
            yield from _objects(item, source, others)
        return
    if not isinstance(document, dict):
        raise source.error_for(_kind_of_value(document))
    own = document.get("kind")
    if own == "Status":
        words = f"{document.get('reason') or 'Failure'}: {document.get('message') or ''}"
        raise source.error_for(f"an error of the API server ({words[:160].rstrip(': ')})")
    if own == "Table":
        raise source.error_for("a Table, the API server's rows for a screen")
    if own == f"{source.kind}List" and "items" not in document:
        raise source.error_for(f"a {own} without items")
    if "items" not in document:
        yield from _one(document, source, others)
        return
    listed = document["items"] if document["items"] is not None else []
    if not isinstance(listed, list):
        raise InputError(f"{source.name}: its items are not a list")
    if own is None and "apiVersion" in document:  # kubectl writes the kind after the items
        raise source.error_for("a list that is cut off")
    if isinstance(paging := document.get("metadata"), dict) and (
        paging.get("continue") or paging.get("remainingItemCount")
    ):
        raise source.error_for("one page of a longer list")
    if other := _other_list(document, source.kind):
        others[other] = None
        return
    for item in listed:
        if not isinstance(item, dict):
            raise source.error_for(f"a list with {_kind_of_value(item)} in it")
        yield from _one(item, source, others)


_FLEETS = ("InferenceSet", "MultiRoleInference")  # each stands for Workspaces


def _one(obj: Object, source: _Source, others: dict[str, None]) -> Iterator[Object]:
    own = obj.get("kind")
    if own in (source.kind, None) and (foreign := _foreign(source.kind, obj)):
        others[foreign] = None
    elif own == source.kind:
        yield obj
    elif own in _FLEETS and source.kind == "Workspace" and isinstance(obj.get("metadata"), dict):
        yield from demands(obj)
    elif own is not None:
        others[_plural(str(own))] = None
    elif _has_a_name(obj) or (source.kind == "Workspace" and "resource" in obj):
        yield obj
    else:
        keys = ", ".join(str(key)[:30] for key in list(obj)[:3])
        raise source.error_for(f"a map without kind and name ({keys})" if keys else "an empty map")


# Other groups have kinds of these names, too: Rancher's management.cattle.io/v3 Node, OpenShift's
# config.openshift.io/v1 Node.
_OF_KUBERNETES = "apiVersion v1"
_CORE = ("Node", "Pod", "ConfigMap")


def _foreign(kind: str, obj: Object) -> str:
    """In words, what an object or list is whose kind has the right name in another API group.

    Items of a list from the API server say neither kind nor apiVersion: the list says it for them.
    """
    version = obj.get("apiVersion")
    if kind not in _CORE or version in (None, "v1"):
        return ""
    return f"{kind}s of apiVersion {str(version)[:80]}"


def _is_ours(obj: Object) -> bool:
    """Whether an object beside the others is KAITO's or Kubernetes': Terraform has Workspaces, too."""
    version = str(obj.get("apiVersion") or "v1")
    return version == "v1" or version.startswith("kaito.sh/")


def _other_list(document: Object, kind: str) -> str:
    """In words, of what else a list is; empty for one of the kind, and for one of anything."""
    own = document.get("kind")
    if own in (None, "List"):
        return ""
    return _foreign(kind, document) if own == f"{kind}List" else _plural(str(own).removesuffix("List"))


def _plural(kind: str) -> str:
    return kind if kind.endswith("s") else f"{kind}s"


def _has_a_name(obj: Object) -> bool:
    metadata = obj.get("metadata")
    return isinstance(metadata, dict) and isinstance(metadata.get("name"), str)


def _kind_of_value(value: object) -> str:
    """What something is that is no object; never its words, for it may be a password."""
    if value is None:
        return "null"
    words = {str: "a text", bool: "true or false", int: "a number", float: "a number", list: "an array"}
    return words.get(type(value), "something else")
