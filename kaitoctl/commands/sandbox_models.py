"""What is real in a sandbox: the models of this machine that presets are, and images of adapters.

`plan_of` is what the sandbox asks of each pod. Nothing of a pod is executed: from it come image names, the
names of adapters and their strengths, and these become arguments of our own model server.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import IO

from kaitoctl.commands.sandbox_process import Folder
from kaitoctl.errors import InputError
from kaitoctl.kaito.catalog import Catalog
from kaitoctl.kaito.desired import ADAPTER_PATH
from kaitoctl.kaito.desired.volumes import STRENGTHS_VOLUME
from kaitoctl.kube.objects import Object, by_name, dig
from kaitoctl.runtime import archives
from kaitoctl.sandbox.real import CONFIG, Plan

_log = logging.getLogger(__name__)

_DATA, _REFERENCE = "data", "image"
_PULLER = "puller-"
_SHARED = "kaito-base"
_MODEL = re.compile(r"--(?:model|pretrained_model_name_or_path)=([\w./-]{1,200})(?:\s|$)")


# --- models ------------------------------------------------------------------------------------------------


def models(folder: Folder) -> dict[str, str]:
    """The model file or folder of each preset that has one in a sandbox."""
    try:
        found = json.loads(folder.models.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise InputError(f"{folder.models} cannot be used: {error}", hint="remove it") from error
    return {str(name): str(path) for name, path in found.items()} if isinstance(found, dict) else {}


def set_model(folder: Folder, preset: str, path: Path | None) -> None:
    """Remember, or forget, the model of a preset."""
    found = models(folder)
    if path is None:
        found.pop(preset, None)
    else:
        found[preset] = str(path)
    try:
        folder.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        partial_file = folder.models.with_suffix(f".{os.getpid()}")
        partial_file.write_text(json.dumps(found, indent=1, sort_keys=True))
        partial_file.replace(folder.models)
    except OSError as error:
        raise InputError(f"{folder.models}: {error.strerror}") from error


def named(preset: str, known: Catalog) -> str:
    """What a preset with a model here is kept as: its name, or the id of a model; empty for neither."""
    if known.preset(preset) is not None:
        return preset
    found = known.model(preset)
    return found.id if found else ""


def preset_served(container: Object, known: Catalog) -> str:
    """The preset that a container serves; empty when it is none.

    By the name of its image, or, of the one that all models of KAITO v0.12 share, by the id in its arguments.
    """
    last = str(container.get("image") or "").partition("@")[0].rpartition("/")[2].partition(":")[0]
    name = last.removeprefix("kaito-")
    if last == _SHARED:
        words = " ".join(map(str, [*(container.get("command") or ()), *(container.get("args") or ())]))
        said = _MODEL.search(words)
        found = known.model(said[1]) if said else None
        return found.id if found else ""
    return name if name != last and known.preset(name) is not None else ""


# --- images ------------------------------------------------------------------------------------------------


def image_folder(folder: Folder, image: str) -> Path:
    """Where the files of an image are, if it was brought in."""
    return folder.images / hashlib.sha256(image.encode()).hexdigest()


def data_of(folder: Folder, image: str) -> Path | None:
    """The files that an image has in /data; None for one that was not brought in."""
    data = image_folder(folder, image) / _DATA
    return data if data.is_dir() else None


def load_image(folder: Folder, file: Path, image: str) -> int:
    """Bring an adapter's files in under an image's name, whole or not at all; returns their number.

    Raises:
        InputError: the archive or folder cannot be read, or must not be unpacked; the disk is full.
    """
    if not file.exists():
        raise InputError(f"{file}: there is no such file or folder")
    target, count = image_folder(folder, image), 0
    try:
        folder.images.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryDirectory(prefix=".new-", dir=folder.images) as scratch:
            new = Path(scratch) / "image"
            (new / _DATA).mkdir(parents=True)

            def keep(name: str, _size: int, content: IO[bytes]) -> None:
                nonlocal count
                count += 1
                inner = new / _DATA / name
                inner.parent.mkdir(parents=True, exist_ok=True)
                with inner.open("wb") as copy:
                    shutil.copyfileobj(content, copy, 1 << 20)

            archives.visit(file, keep)
            (new / _REFERENCE).write_text(image)
            shutil.rmtree(target, ignore_errors=True)
            new.replace(target)
    except OSError as error:
        words = f"{error.filename or folder.images}: {error.strerror or error}"
        raise InputError(words, hint="is the disk full?") from error
    return count


def images(folder: Folder) -> list[str]:
    """The names of all images that were brought in."""
    found = folder.images.glob(f"*/{_REFERENCE}") if folder.images.is_dir() else ()
    return sorted(file.read_text() for file in found)


# --- pods --------------------------------------------------------------------------------------------------


def plan_of(folder: Folder, known: Catalog, pod: Object) -> Plan | None:
    """What is real of a pod: None unless a main container serves a preset that has a model here."""
    try:
        served = models(folder)
    except InputError as error:  # somebody edited it: no reason for a cluster to stand still
        _log.warning("all pods are simulated: %s", error)
        return None
    if any(str(item["name"]).startswith(_PULLER) for item in dig(pod, "spec", "initContainers") or ()):
        return None  # adapters of vLLM are models of their own, not merged
    for container in dig(pod, "spec", "containers") or ():
        model = served.get(preset_served(container, known))
        if model is not None:
            inits = [item for item in dig(pod, "spec", "initContainers") or () if _is_copier(item)]
            copies = {item["name"]: partial(data_of, folder, str(item.get("image"))) for item in inits}
            command = partial(_command, model, _strengths(container, list(copies)))
            return Plan(container["name"], command, copies, ADAPTER_PATH, _config_map(pod))
    return None


def _config_map(pod: Object) -> str:
    """The ConfigMap of strengths that a pod of a local preset mounts; empty for others."""
    volumes = by_name(dig(pod, "spec", "volumes"))
    return str(dig(volumes.get(STRENGTHS_VOLUME), "configMap", "name") or "")


def _is_copier(container: Object) -> bool:
    """Whether an init container is an adapter's image that copies itself to where the server looks."""
    return any(mount.get("mountPath") == ADAPTER_PATH for mount in container.get("volumeMounts") or ())


def _strengths(container: Object, names: Sequence[str]) -> dict[str, str]:
    """Strength by adapter: the environment variable of its name, else 1.0, as KAITO's server has it."""
    values = {item["name"]: str(item.get("value") or "") for item in container.get("env") or ()}
    return {name: values.get(name) or "1.0" for name in names}


def _command(model: str, strengths: dict[str, str], volume: Path) -> list[str]:
    command = [sys.executable, "-m", "kaitoctl", "runtime", "serve", "--model", model]
    for name, strength in strengths.items():
        command += ["--adapter", f"{name}={volume / name},strength={strength}"]
    return [*command, "--port", "0", "--end-with-stdin", "--strengths", str(volume / CONFIG)]
