"""A model of Hugging Face by its own files: `OWNER/NAME=FOLDER` in the place of a catalogue's path.

The folder is what `hf download` or `git clone` made, whole or only its `config.json`; nothing is
fetched. What the fields mean is `hub_model`'s to know.

Source of the files that count: KAITO v0.12.0 `presets/workspace/generator/generator.go` (selectWeightFiles,
calculateModelFileSize, fetchAndParseConfig).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

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
_LONGEST_INDEX = 100_000_000


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
    if equals and path and _ID.fullmatch(name):
        if path.startswith("~/"):  # no shell expands it behind an equals sign
            path = str(Path.home()) + path[1:]
        return Given(name, path)
    if (file := Path(text)).name in (*_CONFIGS, *_INDEXES) or _is_folder(file):
        return Given(_cached_id(file), text)
    return None


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
    note = ""
    if weights.size is None:
        from kaitoctl.kaito.hub_weights import weights_gib

        about = weights_gib(config)
        if about is None:
            hint = "put the model's model.safetensors.index.json beside it, or its weights_gib into a catalog"
            raise InputError(f"{place}: does not tell what its weights weigh", hint=hint)
        row["weights_gib"] = round(about, 2)
        note = "weights reckoned, to a few percent; model.safetensors.index.json beside config.json tells"
    else:
        row["weights_gib"] = round(weights.size / 2**30, 2)
    if not row["bytes_per_token"]:
        note += (
            "; " if note else ""
        ) + "config.json has no heads of attention, so KAITO reckons with no cache"
    settled = hub_model.settled(row, is_mistral=weights.is_mistral)
    return catalog.model_of({**settled, "source": str(place), "note": note, **row})


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
    """What the weights' files weigh, as KAITO adds them up; or what their index says that they do."""
    index, said = _index(place, config)
    files = dict(_files(place.parent)) if is_folder else {}
    named = [name for name in files if re.search(r"consolidated.*\.safetensors", name)]
    is_mistral = bool(named)
    named = (
        named
        or [name for name in files if ".safetensors" in name]
        or [name for name in files if ".bin" in name]
    )
    wanted = {place.parent / name for name in index}
    if not is_mistral and index and not all(path.exists() for path in wanted):
        return _Weights(said)
    if not is_mistral and not named and index:
        return _Weights(sum(_size(path) for path in wanted))
    if not is_folder and (only := place.with_name("model.safetensors")).exists():
        return _Weights(_size(only))
    shards = [name for name in named if not name.endswith(".json")]
    if not shards:
        return _Weights(said)
    _require_whole(place.parent, shards)
    return _Weights(sum(files[name] for name in named), is_mistral)


def _index(place: Path, config: Mapping[str, Any]) -> tuple[set[str], int | None]:
    """The names of the weights' files and their bytes, as the index beside a configuration says."""
    path = next((file for name in _INDEXES if (file := place.with_name(name)).exists()), None)
    if path is None:
        return set(), None
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
    return {file for file in tensors.values() if "/" not in file}, int(size)


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


def _files(folder: Path) -> Iterator[tuple[str, int]]:
    """The weights' files of a folder and those below it, with their bytes."""
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
                path = Path(root, name)
                yield str(path.relative_to(folder)), _size(path)


def _size(path: Path) -> int:
    """Bytes of a file; of a git-lfs pointer, those of the file that it stands for."""
    try:
        size = path.stat().st_size
        if size > 1024:
            return size
        raw = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}", hint="download the model's files again") from None
    if raw.startswith(_LFS) and (found := _LFS_SIZE.search(raw)):
        return int(found[1])
    return size


def _require_whole(folder: Path, names: list[str]) -> None:
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
        InputError: with what the file is instead, where that can be told.
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
