"""Files that users name: read whole, within limits, and said by name when they cannot be.

Manifests may be files, folders, URLs, stdin, or what a kustomization makes: `sources` finds all of them.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator
from difflib import unified_diff
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from kaitoctl.errors import InputError
from kaitoctl.kube.documents import as_kubectl_reads, decode_text, load_yaml, read
from kaitoctl.screens import output

if TYPE_CHECKING:
    from kaitoctl.commands.option_values import Manifests
    from kaitoctl.kube.documents import Document
    from kaitoctl.kube.objects import Object

_SUFFIXES = (".yaml", ".yml", ".json")
_KUSTOMIZATIONS = (
    "kustomization.yaml",
    "kustomization.yml",
    "Kustomization",
)  # the names that kustomize reads
MAX_BYTES = 40_000_000  # the ten million characters that `load_yaml` reads


def display_name(path: str) -> str:
    """What a path is called where a message begins with it."""
    return "stdin" if path == "-" else path


def insist_on_name(path: str, *, option: str) -> None:
    """Refuse the empty name, which as a path means the present folder: a shell variable was not set.

    Raises:
        InputError: it is empty.
    """
    if not path.strip():
        raise InputError(f"{option} {path!r} names no file".lstrip())


def text_of(path: str, *, option: str) -> str:
    """The text of a file, of stdin when the path is `-`.

    Raises:
        InputError: it cannot be read, is too large, or not UTF-8.
    """
    insist_on_name(path, option=option)
    return _text(bytes_of(path, option=option), f"{option} {path}".lstrip())


def _text(raw: bytes, where: str) -> str:
    if len(raw) > MAX_BYTES:
        raise InputError(f"{where}: larger than {MAX_BYTES:,} bytes")
    return decode_text(raw, where)


def bytes_of(path: str, *, option: str) -> bytes:
    """The bytes of a file, of stdin when the path is `-`, one more than `MAX_BYTES` at most.

    Raises:
        InputError: it cannot be read.
    """
    try:
        if path == "-":
            return sys.stdin.buffer.read(MAX_BYTES + 1)
        with Path(path).open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise InputError(f"{option} {path}: {why}".lstrip()) from None


class Source(Struct, frozen=True):
    """A text of manifests that is yet to be read.

    Args:
        option: what it was named by: -f, -k, or nothing for an argument.
        path: of a file, a URL, a kustomization, or `-`.
    """

    option: str
    path: str

    @property
    def name(self) -> str:
        """What it is called where a message begins with it."""
        if self.option == "-k":
            return f"-k {self.path}"
        return without_password(self.path) if is_url(self.path) else display_name(self.path)

    @property
    def words(self) -> tuple[str, str]:
        """How another command is pointed at it."""
        return (self.option or "-f", self.path)

    @property
    def is_file(self) -> bool:
        """Whether it is a file, which can be written again."""
        return self.option != "-k" and self.path != "-" and not is_url(self.path)

    def raw(self) -> bytes:
        """All of it, one byte more than `MAX_BYTES` at most.

        Raises:
            InputError: it cannot be had.
        """
        if self.option == "-k":
            from kaitoctl.commands import kustomize  # only with -k

            return kustomize.build(self.path)
        if is_url(self.path):
            from kaitoctl.commands import remote_file  # only for URLs

            return remote_file.fetch(self.path, where=self.where, most=MAX_BYTES + 1)
        return bytes_of(self.path, option=self.option)

    def text(self) -> str:
        """All of it as text.

        Raises:
            InputError: it cannot be had, is too large, or not UTF-8.
        """
        return _text(self.raw(), self.where)

    def documents(self) -> Iterator[Document]:
        """Its documents, as kubectl reads them; in one that is not text the reader says where that begins.

        Raises:
            InputError: it cannot be had.
        """
        return read(as_kubectl_reads(self.raw()), self.name)

    @property
    def where(self) -> str:
        """What was typed."""
        return self.name if self.option == "-k" else f"{self.option} {without_password(self.path)}".lstrip()


def is_url(name: str) -> bool:
    """Whether a name is one of the Web, as kubectl tells them from files."""
    return name.lower().startswith(("http://", "https://"))


def without_password(name: str) -> str:
    """A URL as it may be printed."""
    return re.sub(r"(?<=://)([^/?#@:]*):[^/?#]*@", r"\1:xxxxx@", name) if is_url(name) else name


def sources(given: Manifests, *, option: str = "-f", each_once: bool = True) -> Iterator[Source]:
    """All that was named, folders replaced by their files, by name.

    Args:
        given: by the options.
        each_once: leave out what was named before.
        option: what names the files that are no arguments.

    Raises:
        InputError: nothing is named, stdin twice, or a folder without manifests.
    """
    named = [*(("", name) for name in given.files or ()), *((option, name) for name in given.filename or ())]
    if named and given.kustomize is not None:
        raise InputError("-k builds all manifests by itself: name either it or files")
    if not given.is_given:
        raise InputError(
            "no manifest is named", hint="name files, folders or URLs with -f (- reads stdin), or -k DIR"
        )
    if [name for _, name in named].count("-") > 1:
        raise InputError("- reads stdin, which can be read only once")
    if given.kustomize is not None:
        insist_on_name(given.kustomize, option="-k")
        yield Source("-k", given.kustomize)
    seen: set[str] = set()
    for how, name in named:
        for path in _within(name, option=how, recursive=given.recursive):
            if path not in seen or not each_once:
                seen.add(path)
                yield Source(how, path)


def nothing_in(found: Iterable[Source]) -> InputError:
    """What to say of manifests without a document."""
    return InputError(f"{', '.join(one.name for one in found)}: there is no document in it")


def unread(given: Manifests) -> list[str]:
    """The manifests in folders below those that are named, which nobody reads without -R."""
    named = [] if given.recursive else [*(given.files or ()), *(given.filename or ())]
    folders = [Path(name) for name in named if name.strip() and "\0" not in name]
    return [str(file) for path in folders if path.is_dir() for file in _below(path) if file.parent != path]


def _below(path: Path) -> list[Path]:
    return sorted(file for file in path.rglob("*") if file.suffix in _SUFFIXES and file.is_file())


def _within(name: str, *, option: str, recursive: bool) -> Iterator[str]:
    insist_on_name(name, option=option)
    path = Path(name)
    if name == "-" or is_url(name) or "\0" in name or not path.is_dir():
        yield name
        return
    everything = _below(path)
    inside = everything if recursive else [file for file in everything if file.parent == path]
    where = f"{option} {name}".lstrip()
    for folder in sorted({path, *(file.parent for file in inside)}):
        if any((folder / named).is_file() for named in _KUSTOMIZATIONS):
            which = "the folder" if folder == path else str(folder)
            output.warning(
                f"{where}: {which} is a kustomization, and its files are read as they are: -k builds it"
            )
    if left_out := len(everything) - len(inside):
        what = "1 manifest" if left_out == 1 else f"{left_out} manifests"
        words = f"{where}: {what} in the folders below it left out; -R reads them, too"
        if not inside:
            raise InputError(words)
        output.warning(words)
    if not inside:
        raise InputError(f"{where}: no {', '.join(_SUFFIXES)} file in this folder")
    yield from map(str, inside)


def difference(before: str, after: str) -> list[str]:
    """A unified diff of two texts, without its head."""
    lines = unified_diff(before.splitlines(), after.splitlines(), n=2, lineterm="")
    return [line for line in lines if not line.startswith(("---", "+++"))]


def replace(filename: str, text: str) -> None:
    """Put the text in the place of the file's, all at once; it keeps its permissions, and what links lead to.

    Raises:
        InputError: it cannot be written.
    """
    path = Path(os.path.realpath(filename))
    try:
        raw = path.read_bytes()
        mark = b"\xef\xbb\xbf" if raw.startswith(b"\xef\xbb\xbf") else b""
        mode = path.stat().st_mode & 0o7777
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(mark + text.encode())
            Path(temporary).chmod(mode)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise InputError(f"-f {filename}: it cannot be written: {error.strerror or error}") from None


def objects_of(given: Manifests) -> dict[str, list[Object]]:
    """The objects of each manifest, by the name that messages have for it.

    Raises:
        InputError: one cannot be read, or holds something else.
    """
    return {source.name: objects_in(source) for source in sources(given)}


def objects_in(source: Source) -> list[Object]:
    """The objects in a YAML or JSON text; those in a List are taken out of it.

    Raises:
        InputError: the text cannot be read, or holds something else.
    """
    found: list[Object] = []
    for document in load_yaml(source.text(), source.name):
        items = document.get("items")
        is_list = str(document.get("kind") or "").endswith("List") and isinstance(items, list)
        found += items if is_list and items is not None else [document]
    for position, item in enumerate(found):
        if not isinstance(item, dict):
            raise InputError(f"{source.where}: item {position} is not an object")
    return found
