"""A model of Hugging Face by its own files: `OWNER/NAME=FOLDER` in the place of a catalogue's path.

The folder is what `hf download` or `git clone` made, whole or only its `config.json`; nothing is
fetched. What the fields mean is `hub_model`'s to know.

Source of the files that count: KAITO v0.12.0 `presets/workspace/generator/generator.go` (selectWeightFiles,
calculateModelFileSize, fetchAndParseConfig). Of how long one is: the format of huggingface/safetensors
(`safetensors/src/tensor.rs`): eight bytes with the length of a header, the header, and the tensors' bytes.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from msgspec import Struct

from kaitoctl.advice import Advice, Command
from kaitoctl.errors import InputError
from kaitoctl.kaito import catalog, hub_model
from kaitoctl.kaito.catalog import Model

_CONFIGS = ("config.json", "params.json")  # the second one is Mistral's own
_INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_CACHED = re.compile(r"models--([A-Za-z0-9][\w.-]*?)--([A-Za-z0-9][\w.-]*)")
_NUMBERED = re.compile(r".*-(\d{5})-of-(\d{5})\.(?:safetensors|bin)")
_LAYER = re.compile(r"(.*?)\b(?:layers|h|blocks)\.(\d{1,5})\.")
_LFS = b"version https://git-lfs.github.com/spec/"
_LFS_SIZE = re.compile(rb"^size (\d{1,18})$", re.MULTILINE)
_MOST_BYTES, _MOST_FILES, _MOST_WEIGHTS = 5_000_000, 20_000, 10**15
_LONGEST_INDEX = _LONGEST_HEADER = 100_000_000
_OF_TRAINING = frozenset({"training_args.bin", "optimizer.bin", "scheduler.bin"})
"""What transformers and accelerate leave beside weights."""
_NEAR, _HEADERS = 0.05, 2**20
"""How far files may be from what their index says: it leaves out their headers, in bytes."""
_LEAST = 0.2
"""Of what a configuration comes to: in 4 bits, which some say in another file, weights are a fourth of it."""
_AGAIN = "download the model's files again"


class Given(Struct, frozen=True):
    """What stands in the place of a catalogue's path.

    Args:
        id: of the model; empty when nothing says it.
        path: of its folder, or of its `config.json`.
    """

    id: str
    path: str


class _Weights(Struct, frozen=True):
    """Bytes of the weights' files, None where none are at hand; and whether their format is Mistral's own."""

    size: int | None
    is_mistral: bool = False


def given(text: str) -> Given | None:
    """The model whose files an option's value names; None when it is a catalogue's path."""
    name, equals, path = text.partition("=")
    if equals and path and _ID.fullmatch(name) and not _exists(text):
        if path.startswith("~/"):  # no shell expands it behind an equals sign
            path = str(Path.home()) + path[1:]
        return Given(name, path)
    file = Path(text)
    name = _cached_id(file)
    # Elsewhere a catalogue may be called config.json, too: whoever reads it tells by its keys.
    if _is_folder(file) or file.name in _INDEXES or (name and file.name in _CONFIGS):
        return Given(name, text)
    return None


def _exists(text: str) -> bool:
    try:
        return Path(text).exists()
    except (OSError, ValueError):
        return False


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False  # too long, say: whoever opens it says so


def absolute(text: str) -> str:
    """The same value for a process with another working directory."""
    found = given(text)
    if found is None:
        return str(Path(text).absolute())
    path = str(Path(found.path).absolute())
    return f"{found.id}={path}" if found.id else path


def _cached_id(path: Path) -> str:
    """The id in the path of huggingface_hub's cache (`models--OWNER--NAME`); empty elsewhere."""
    found = next(filter(None, (_CACHED.fullmatch(part) for part in reversed(path.absolute().parts))), None)
    return f"{found[1]}/{found[2]}" if found else ""


def read(found: Given) -> Model:
    """The model that the files describe, with the figures that KAITO v0.12 reckons for it.

    Raises:
        InputError: a file is missing, is something else, or contradicts another one; with its path.
    """
    if not found.id:
        raise nameless(found.path)
    place = _config_of(Path(found.path))
    if (other := _cached_id(place)) and other.lower() != found.id.lower():
        raise InputError(f"{place}: is {other}'s, not {found.id}'s", hint=_as(other, found.path))
    config = _json(place, _MOST_BYTES)
    try:
        row = {"id": found.id, **hub_model.figures(config)}
    except hub_model.NotAModel as error:
        raise InputError(f"{place}: {error}", hint="give the config.json of the model itself") from None
    if unserved := hub_model.unserved(row["architectures"]):
        raise InputError(
            f"{place}: architectures: KAITO v0.12 refuses {unserved}: its vLLM serves no model of it",
            hint="take another model, or serve it with a pod template of your own",
        )
    weights = _weights(place, config, is_folder=_is_folder(Path(found.path)))
    if shipped := catalog.SHIPPED.model(found.id):
        return _checked(shipped, row, weights, place)
    notes = []
    if weights.size is None:
        from kaitoctl.kaito.hub_weights import weights_gib

        about = weights_gib(config)
        if about is None:
            hint = "put the model's model.safetensors.index.json beside it, or its weights_gib into a catalog"
            raise InputError(f"{place}: does not tell what its weights weigh", hint=hint)
        row["weights_gib"] = round(about, 2)
        tells = "model.safetensors.index.json beside config.json tells"
        notes.append(f"weights reckoned, to a few percent; {tells}")
    else:
        row["weights_gib"] = round(weights.size / 2**30, 2)
    if not row["bytes_per_token"]:
        notes.append("config.json has no heads of attention, so KAITO reckons with no cache")
    settled = hub_model.settled(row, is_mistral=weights.is_mistral)
    return catalog.model_of({**settled, "source": str(place), "note": "; ".join(notes), **row})


def nameless(path: str) -> InputError:
    """What is said of a model's own file or folder without the model's id."""
    return InputError(
        f"catalog {path}: is a model's own, and does not say which model's",
        hint=_as("OWNER/NAME", path),
    )


def _as(name: str, path: str) -> Advice:
    return "say it: " + Command("kaitoctl fit", name, "--catalog", f"{name}={path}")


def _config_of(path: Path) -> Path:
    if not _is_folder(path):
        if path.name in _INDEXES:
            path = path.with_name(_CONFIGS[0])
        return path
    snapshots = path / "snapshots"
    roots = [path, *(sorted(snapshots.iterdir()) if snapshots.is_dir() else [])]
    there = [root / name for root in roots for name in _CONFIGS if (root / name).exists()]
    if len({file.parent for file in there}) > 1:
        names = ", ".join(sorted({file.parent.name for file in there})[:3])
        raise InputError(
            f"{path}: has more than one snapshot ({names})", hint="give the folder of one of them"
        )
    if not there:
        raise InputError(f"{path}: has no config.json", hint="give a model's folder, or its config.json")
    _regular(there[0])
    return there[0]


def _checked(shipped: Model, row: Mapping[str, Any], weights: _Weights, place: Path) -> Model:
    """The model as KAITO's own table has it: KAITO reads no files of such a one.

    Raises:
        InputError: the files are not those of the model.
    """
    hint = f"KAITO goes by its own table for {shipped.id}, and needs no file of it"
    ours, theirs = set(shipped.architectures), set(row["architectures"])
    if ours and theirs and not ours & theirs:
        said = f"{', '.join(sorted(theirs))}, and {shipped.id} is {', '.join(sorted(ours))}"
        raise InputError(f"{place}: is of another model: {said}", hint=hint)
    if row["bytes_per_token"] and row["bytes_per_token"] != shipped.bytes_per_token:
        said = f"{row['bytes_per_token']:,} bytes of cache per token, and {shipped.id} takes"
        raise InputError(f"{place}: is of another model: {said} {shipped.bytes_per_token:,}", hint=hint)
    size = None if weights.size is None else weights.size / 2**30
    if size is not None and abs(size - shipped.weights_gib) > 0.05 * shipped.weights_gib:
        said = f"{size:.2f} GiB of weights, and {shipped.id} has {shipped.weights_gib:g}"
        raise InputError(f"{place.parent}: is of another model: {said}", hint=hint)
    return shipped


# --- weights -----------------------------------------------------------------------------------------------


def _weights(place: Path, config: Mapping[str, Any], *, is_folder: bool) -> _Weights:
    """What the weights' files weigh, as KAITO adds them up; or what their index says that they do.

    Raises:
        InputError: a file is not whole, or they are far from what the index or the configuration says.
    """
    folder, (index, said) = place.parent, _index(place, config)
    files = list(_files(folder)) if is_folder else []
    named = [name for name in files if re.search(r"consolidated.*\.safetensors", name)]
    is_mistral = bool(named)
    named = (
        named
        or [name for name in files if ".safetensors" in name]
        or [name for name in files if ".bin" in name]
    )
    if index and said is not None and not is_mistral:
        if not all(_exists(str(folder / name)) for name in index):
            return _Weights(said)
        size = sum(_size(folder / name) for name in index)
        if abs(size - said) > _NEAR * said + _HEADERS:
            raise InputError(
                f"{folder}: the files of weights have {size:,} bytes, and their index says {said:,}",
                hint=f"{_AGAIN}; where it is the index that is wrong, take it away",
            )
        return _Weights(sum(_size(folder / name) for name in named) if named else size)
    if not is_folder and _exists(str(folder / "model.safetensors")):
        named = ["model.safetensors"]
    shards = [name for name in named if not name.endswith(".json") and Path(name).name not in _OF_TRAINING]
    if not shards:
        return _Weights(said)
    _require_whole(folder, shards)
    size = sum(_size(folder / name) for name in named)
    _require_enough(size, said, place, config)
    return _Weights(size, is_mistral)


def _require_enough(size: int, said: int | None, place: Path, config: Mapping[str, Any]) -> None:
    """Refuse weights that are far below what an index says, or what a configuration comes to.

    Raises:
        InputError: they are; or where neither tells, they are next to nothing.
    """
    from kaitoctl.kaito.hub_weights import weights_gib

    about = said / 2**30 if said is not None else weights_gib(config)
    if size >= (2**30 / 200 if about is None else _LEAST * about * 2**30):
        return
    fault = f"{place.parent}: the files of weights have {size:,} bytes, "
    if about is None:
        raise InputError(fault + "too few for a model", hint=_AGAIN)
    whose = place.name if said is None else "their index"
    raise InputError(
        f"{fault}and by {whose} the model has about {about:.3g} GiB",
        hint=f"{_AGAIN}, or give a folder with its config.json alone",
    )


def _index(place: Path, config: Mapping[str, Any]) -> tuple[set[str], int | None]:
    """The names of the weights' files and their bytes, as the index beside a configuration says."""
    path = next((file for name in _INDEXES if (file := place.with_name(name)).exists()), None)
    if path is None:
        return set(), None
    _regular(path)
    index = _json(path, _LONGEST_INDEX)
    tensors, metadata = index.get("weight_map"), index.get("metadata")
    size = metadata.get("total_size") if isinstance(metadata, dict) else None
    if isinstance(size, bool) or not isinstance(size, int | float) or not 0 < size <= _MOST_WEIGHTS:
        what = "is missing" if size is None else f"{str(size)[:40]} is not a number of bytes"
        raise InputError(
            f"{path}: metadata.total_size: {what}", hint="give the index that the model came with"
        )
    if not isinstance(tensors, dict) or not all(isinstance(file, str) for file in tensors.values()):
        raise InputError(f"{path}: weight_map: is not a map of tensors to files")
    if fault := _layers_differ(tensors, config):
        raise InputError(
            f"{path}: is of another model than {place.name}: {fault}", hint="give both of one model"
        )
    outside = [file for file in tensors.values() if file.startswith("/") or ".." in file.split("/")]
    if outside:
        raise InputError(f"{path}: weight_map: {outside[0][:80]} is not in its folder", hint=_AGAIN)
    return set(tensors.values()), int(size)


def _layers_differ(tensors: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    """How the layers that an index names contradict a configuration; empty when they do not."""
    merged = hub_model.with_text_config(config)
    said = next(
        (merged[key] for key in ("num_hidden_layers", "n_layer", "n_layers") if merged.get(key)), None
    )
    counted: dict[str, int] = {}
    for name in tensors:
        if found := _LAYER.match(name):
            counted[found[1]] = max(counted.get(found[1], 0), int(found[2]) + 1)
    ahead = merged.get("num_nextn_predict_layers") or 0
    if not isinstance(said, int) or not isinstance(ahead, int) or not counted:
        return ""
    if any(number in (said, said + ahead) for number in counted.values()):
        return ""
    return f"it has {max(counted.values())} layers, and {said} are said there"


def _files(folder: Path) -> Iterator[str]:
    """The weights' files of a folder and those below it."""
    seen = 0
    for root, below, names in os.walk(folder):
        below[:] = [name for name in below if not name.startswith(".")]
        for name in names:
            seen += 1
            if seen > _MOST_FILES:
                raise InputError(
                    f"{folder}: has more than {_MOST_FILES:,} files", hint="give one model's folder"
                )
            if ".safetensors" in name or ".bin" in name:
                yield str(Path(root, name).relative_to(folder))


def _size(path: Path) -> int:
    """Bytes of a file; of a git-lfs pointer, those of the file that it stands for.

    Raises:
        InputError: it cannot be read, has none, or fewer than its own header says.
    """
    size = _regular(path)
    try:
        with path.open("rb") as file:
            start = file.read(1024)
            if start.startswith(_LFS) and (found := _LFS_SIZE.search(start)):
                size, whole = int(found[1]), 0
            else:
                whole = _length(file, path) if path.suffix == ".safetensors" and size else 0
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}", hint=_AGAIN) from None
    if not size:
        raise InputError(f"{path}: is empty", hint=_AGAIN)
    if size < whole:
        raise InputError(f"{path}: has {size:,} of {whole:,} bytes", hint=_AGAIN)
    return size


def _regular(path: Path) -> int:
    """Bytes of a file, which is one that reading ends of: no pipe, no device."""
    try:
        found = path.stat()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}", hint=_AGAIN) from None
    if not stat.S_ISREG(found.st_mode):
        raise InputError(f"{path}: is not a regular file", hint=_AGAIN)
    return found.st_size


def _length(file: BinaryIO, path: Path) -> int:
    """How many bytes a safetensors file has by its own header.

    Raises:
        InputError: it has no such header.
    """
    file.seek(0)
    length = int.from_bytes(file.read(8), "little")
    try:
        if length > _LONGEST_HEADER:
            raise ValueError(length)
        tensors = [row for name, row in json.loads(file.read(length)).items() if name != "__metadata__"]
        return 8 + length + max((int(row["data_offsets"][1]) for row in tensors), default=0)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, RecursionError):
        raise InputError(f"{path}: is not a whole safetensors file: no header", hint=_AGAIN) from None


def _require_whole(folder: Path, names: Collection[str]) -> None:
    """Refuse files that are numbered `of` more than there are.

    Raises:
        InputError: some of them are missing.
    """
    parts: dict[tuple[str, int], set[int]] = {}
    for name in names:
        if found := _NUMBERED.fullmatch(name):
            parts.setdefault((name[: found.start(1)], int(found[2])), set()).add(int(found[1]))
    for (_, number), there in parts.items():
        if len(there) < number:
            hint = "download the rest, or put model.safetensors.index.json beside them"
            raise InputError(f"{folder}: has {len(there)} of {number} files of weights", hint=hint)


# --- JSON --------------------------------------------------------------------------------------------------


def _json(path: Path, most: int) -> Mapping[str, Any]:
    """A document that is an object.

    Raises:
        InputError: with what the file is instead, where it is known.
    """
    from kaitoctl.kube.documents import text_of_file

    text = text_of_file(str(path), str(path), most=most)
    start = text.lstrip()[:400]
    again = "download it again"
    if start.encode().startswith(_LFS):
        hint: Advice = Command("git lfs pull") + " in the model's folder fetches it"
        raise InputError(f"{path}: is a git-lfs pointer, not the file", hint=hint)
    if not start:
        raise InputError(f"{path}: is empty", hint=again)
    if start.startswith("<"):
        raise InputError(f"{path}: is a web page, not JSON", hint=again + " (a gated model needs a token)")
    try:
        value = json.loads(text)
    except RecursionError:
        raise InputError(f"{path}: is nested too deeply", hint=again) from None
    except ValueError as error:
        where = (
            f" (line {error.lineno}, column {error.colno})" if isinstance(error, json.JSONDecodeError) else ""
        )
        hint = (
            "of a model, config.json is read as it is on Hugging Face; a catalog is given without OWNER/NAME="
        )
        raise InputError(f"{path}: is not JSON{where}", hint=hint) from None
    if not isinstance(value, dict):
        raise InputError(f"{path}: is not an object of JSON", hint=again)
    return value
