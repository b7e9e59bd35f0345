"""Reads adapter folders and archives (tar, OCI layouts with the files in /data), and writes the latter.

Nothing of an archive is unpacked for a look, and what must not be unpacked stops everything: paths that leave
the folder, links, devices, bombs.
"""

from __future__ import annotations

import errno
import gzip
import hashlib
import io
import json
import os
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

from kaitoctl.errors import InputError
from kaitoctl.kaito.adapter_files import safetensors_header
from kaitoctl.kaito.adapter_files.safetensors_header import BadFile

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
DATA = "data"

MOST_FILES = 20_000
MOST_BYTES = 32 << 30
_MOST_RATIO = 300
_FREE_BYTES = 64 << 20
"""Below this much, a good ratio of compression is nothing to worry about."""
_LARGEST_JSON = 4 << 20
_ANY = "application/vnd.oci.image"
_OF_WRITING = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
"""No read fails with these: what a file's consumer writes is its caller's to tell."""

Consumer = Callable[[str, int, IO[bytes]], None]


@dataclass
class Contents:
    """What a look at an adapter has found.

    Args:
        files: bytes by path below the adapter's folder.
        config: adapter_config.json as bytes; None when it is not there.
        tensors: the table of the weights; None when they are not there or are broken.
        broken: code and words of what is wrong with the files themselves.
    """

    files: dict[str, int] = field(default_factory=dict)
    config: bytes | None = None
    tensors: dict[str, safetensors_header.Tensor] | None = None
    broken: list[tuple[str, str]] = field(default_factory=list)

    def take(self, name: str, size: int, file: IO[bytes]) -> None:
        """Note one file, and read of it what is needed."""
        self.files[name] = size
        if name == CONFIG:
            self.config = file.read(_LARGEST_JSON + 1)
            if safetensors_header.is_pointer(self.config):
                self.broken.append(("adapter-lfs-pointer", f"{CONFIG} is a git-lfs pointer"))
        elif name == WEIGHTS:
            self.tensors = None
            try:
                start = file.read(64)
                length = safetensors_header.header_length(start, size)
                head = (start[8:] + file.read(max(0, length - len(start) + 8)))[:length]
                self.tensors = dict(safetensors_header.tensors(head, size))
            except BadFile as error:
                self.broken.append((error.code, f"{name} {error}"))


def look(path: Path) -> Contents:
    """Look at an adapter's folder, OCI layout, or archive.

    Raises:
        InputError: it cannot be read, or has what must not be unpacked.
    """
    found = Contents()
    visit(path, found.take)
    return found


def visit(path: Path, consume: Consumer) -> None:
    """Give each file of an adapter to `consume`: path below the adapter's folder, size, an open file.

    Raises:
        InputError: as `look` does.
        OSError: the disk on which `consume` writes is full.
    """
    try:
        if path.is_dir() and (path / "index.json").is_file() and (path / "blobs").is_dir():
            _visit_layout(path, lambda name: (path / name).open("rb"), consume)
        elif path.is_dir():
            _visit_folder(path, consume)
        else:
            _visit_archive(path, consume)
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"{path}: is not a complete archive: {error}") from error
    except OSError as error:
        if error.errno in _OF_WRITING:
            raise
        raise InputError(f"{error.filename or path}: {error.strerror or error}") from error


def _visit_folder(folder: Path, consume: Consumer) -> None:
    for root, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted([*names, *folders]):
            inner = Path(root) / name
            if inner.is_symlink() or not (inner.is_dir() or inner.is_file()):
                raise unsafe(folder, f"{inner.relative_to(folder)} is a link or a device")
        for name in sorted(names):
            inner = Path(root) / name
            with inner.open("rb") as file:
                consume(inner.relative_to(folder).as_posix(), inner.stat().st_size, file)


def _visit_archive(path: Path, consume: Consumer) -> None:
    size = path.stat().st_size
    with path.open("rb") as raw:
        is_zipped = raw.read(2) == b"\x1f\x8b"
    if not is_zipped and tarfile.is_tarfile(path):
        with tarfile.open(path, "r:") as archive:
            members = {
                PurePosixPath(member.name).as_posix(): member for member in _limited_entries(path, archive)
            }
            if "index.json" in members and any(name.startswith("blobs/") for name in members):
                _visit_layout(path, lambda name: _open(path, archive, members, name), consume)
                return
    with path.open("rb") as raw, _unzip(path, raw, size) as stream:
        _visit_tar(path, stream, consume, below="")


def _visit_layout(path: Path, opened: Callable[[str], IO[bytes]], consume: Consumer) -> None:
    """The layers of an image, in their order: a later one replaces files of those before."""
    document = _json(path, opened, "index.json")
    for _ in range(4):  # an index may name an index
        if "layers" in document:
            break
        manifests = document.get("manifests") or []
        if not manifests:
            raise InputError(f"{path}: index.json names no image")
        document = _json(path, opened, _blob(path, manifests[0]))
    for layer in document.get("layers") or ():
        kind = str(layer.get("mediaType", ""))
        if kind.endswith("zstd"):
            raise InputError(f"{path}: a layer is compressed with zstd, which is not read here")
        with opened(_blob(path, layer)) as raw, _unzip(path, raw, int(layer.get("size") or 0)) as stream:
            _visit_tar(path, stream, consume, below=DATA)


def _visit_tar(path: Path, stream: IO[bytes], consume: Consumer, *, below: str) -> None:
    with tarfile.open(fileobj=stream, mode="r|") as archive:
        for member in _limited_entries(path, archive):
            name = PurePosixPath(member.name)
            parts = [part for part in name.parts if part != "."]
            if parts[:1] == [DATA]:
                inner = parts[1:]
            elif below:
                continue  # the rest of an image's file system
            else:
                inner = parts
            if member.isdir():
                continue
            if not member.isfile() or not inner:
                raise unsafe(path, f"{member.name} is a link or a device")
            file = archive.extractfile(member)
            if file is not None:
                consume("/".join(inner), member.size, file)


def _limited_entries(path: Path, archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """The entries of an archive, none of which leaves the folder, and not too many."""
    total = 0
    for count, member in enumerate(archive):
        total += max(0, member.size)
        name = PurePosixPath(member.name)
        if name.is_absolute() or ".." in name.parts or "\\" in member.name or "\0" in member.name:
            raise unsafe(path, f"{member.name[:80]!r} leaves the folder")
        if count >= MOST_FILES or total > MOST_BYTES:
            raise unsafe(path, "it has more files or data than an adapter can have")
        yield member


class _Counted(io.RawIOBase):
    """Unpacked data, which stops when it has become far more than what it was packed to."""

    def __init__(self, path: Path, stream: IO[bytes], most: int) -> None:
        self._path, self._stream, self._left = path, stream, most

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._stream.read(len(buffer))
        self._left -= len(data)
        if self._left < 0:
            raise unsafe(self._path, "it unpacks to far more than an adapter can have")
        buffer[: len(data)] = data
        return len(data)


@contextmanager
def _unzip(path: Path, raw: IO[bytes], size: int) -> Iterator[IO[bytes]]:
    is_zipped = raw.read(2) == b"\x1f\x8b"
    raw.seek(0)
    if not is_zipped:
        yield raw
        return
    with gzip.GzipFile(fileobj=raw) as stream:
        most = min(MOST_BYTES, _FREE_BYTES + size * _MOST_RATIO)
        yield cast("IO[bytes]", io.BufferedReader(_Counted(path, cast("IO[bytes]", stream), most)))


def _open(path: Path, archive: tarfile.TarFile, members: dict[str, tarfile.TarInfo], name: str) -> IO[bytes]:
    member = members.get(name)
    file = archive.extractfile(member) if member is not None and member.isfile() else None
    if file is None:
        raise InputError(f"{path}: {name} is missing in the archive")
    return file


def _json(path: Path, opened: Callable[[str], IO[bytes]], name: str) -> dict[str, Any]:
    with opened(name) as file:
        try:
            found = json.loads(file.read(_LARGEST_JSON))
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}: {name} is no JSON") from error
    if not isinstance(found, dict):
        raise InputError(f"{path}: {name} is no JSON object")
    return found


def _blob(path: Path, descriptor: Any) -> str:
    kind, _, digest = str(descriptor.get("digest", "") if isinstance(descriptor, dict) else "").partition(":")
    if kind != "sha256" or len(digest) != 64 or not all(sign in "0123456789abcdef" for sign in digest):
        raise InputError(f"{path}: a blob's digest is not sha256:...")
    return f"blobs/sha256/{digest}"


def unsafe(path: Path, words: str) -> InputError:
    """The error for an archive of which nothing is used."""
    return InputError(
        f"{path}: adapter-archive-unsafe: {words}", hint="kaitoctl explain adapter-archive-unsafe"
    )


# --- packing -----------------------------------------------------------------------------------------------


def pack(folder: Path, into: Path) -> str:
    """Write an adapter's folder as an OCI archive with one layer that has the files in /data.

    The same files give the same bytes.

    Returns:
        the image's digest.

    Raises:
        InputError: a file cannot be read or written, or is a link or a device.
    """
    partial = into.with_name(f".{into.name}.{os.getpid()}")
    layer = into.with_name(f".{into.name}.{os.getpid()}.layer")
    try:
        _write_layer(folder, layer)
        with layer.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        settings = _text(
            {
                "architecture": "amd64",
                "os": "linux",
                "config": {},
                "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
            }
        )
        size = layer.stat().st_size
        manifest = _text(
            {
                "schemaVersion": 2,
                "mediaType": f"{_ANY}.manifest.v1+json",
                "config": _descriptor(f"{_ANY}.config.v1+json", settings),
                "layers": [{"mediaType": f"{_ANY}.layer.v1.tar", "digest": f"sha256:{digest}", "size": size}],
            }
        )
        of_image = _descriptor(f"{_ANY}.manifest.v1+json", manifest)
        index = _text({"schemaVersion": 2, "manifests": [of_image]})
        with tarfile.open(partial, "w", format=tarfile.PAX_FORMAT) as archive:
            _add(archive, "oci-layout", _text({"imageLayoutVersion": "1.0.0"}))
            _add(archive, "index.json", index)
            for text in (manifest, settings):
                _add(archive, f"blobs/sha256/{hashlib.sha256(text).hexdigest()}", text)
            with layer.open("rb") as file:
                archive.addfile(_entry(f"blobs/sha256/{digest}", size), file)
        partial.replace(into)
    except OSError as error:
        raise InputError(f"{error.filename or into}: {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)
        layer.unlink(missing_ok=True)
    return str(of_image["digest"])


def _write_layer(folder: Path, layer: Path) -> None:
    with tarfile.open(layer, "w", format=tarfile.PAX_FORMAT) as archive:
        top = tarfile.TarInfo(DATA)
        top.type, top.mode = tarfile.DIRTYPE, 0o755
        archive.addfile(top)

        def add(name: str, size: int, file: IO[bytes]) -> None:
            archive.addfile(_entry(f"{DATA}/{name}", size), file)

        _visit_folder(folder, add)


def _entry(name: str, size: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = size, 0o644
    return entry


def _add(archive: tarfile.TarFile, name: str, text: bytes) -> None:
    archive.addfile(_entry(name, len(text)), io.BytesIO(text))


def _text(document: object) -> bytes:
    return json.dumps(document, sort_keys=True).encode()


def _descriptor(kind: str, text: bytes) -> dict[str, Any]:
    return {"mediaType": kind, "digest": f"sha256:{hashlib.sha256(text).hexdigest()}", "size": len(text)}
