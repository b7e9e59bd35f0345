"""PEFT adapters as GGUF, which the engine adds to the model's weights at any strength.

The whole scale (alpha / r, patterns, rank stabilisation) goes into B in f32, and the file's alpha is 0, with
which the engine multiplies by the strength alone. Source: ggml-org/llama.cpp, `src/llama-adapter.h`
(`get_scale`), `convert_lora_to_gguf.py`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from kaitoctl.errors import InputError
from kaitoctl.kaito.adapter_files import checks, lora, safetensors_header
from kaitoctl.kaito.adapter_files.safetensors_header import BadFile

if TYPE_CHECKING:
    from kaitoctl.runtime.models import Model

CONFIG, WEIGHTS, PICKLE = "adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"
_LARGEST_CONFIG = 4 << 20
_STRENGTH = re.compile(r"[+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?", re.ASCII)
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


class Adapter(Struct, frozen=True):
    """An adapter that is asked for.

    Args:
        name: by which it is called, a label.
        folder: where adapter_config.json lies.
        strength: what its change is multiplied by, at least 0.
    """

    name: str
    folder: Path
    strength: float = 1.0


def parse(text: str) -> Adapter:
    """Read NAME=DIR or NAME=DIR,strength=S.

    Raises:
        InputError: it is not of this form, or the strength is no finite number.
    """
    name, equals, rest = text.partition("=")
    folder, comma, strength = rest.partition(",strength=")
    if not equals or not folder or not _NAME.fullmatch(name):
        raise InputError(
            f"--adapter {text!r}: write NAME=DIR or NAME=DIR,strength=S",
            hint="NAME has lower-case letters, digits and hyphens",
        )
    return Adapter(name, Path(folder), read_strength(strength, name) if comma else 1.0)


def read_strength(text: str, name: str) -> float:
    """A strength as people write it: a finite number, at least 0, with a dot.

    Raises:
        InputError: it is not.
    """
    if not _STRENGTH.fullmatch(text) or not math.isfinite(float(text)):
        raise InputError(f"adapter {name}: strength {text!r} is not a number from 0 up, such as 0.5")
    return float(text)


def convert(adapter: Adapter, model: Model, into: Path) -> Path:
    """Write an adapter folder as GGUF for a model.

    Returns:
        the file, in the folder `into`.

    Raises:
        InputError: it cannot be merged; each problem has a code of `adapter_files.codes`.
    """
    import gguf
    import numpy as np

    from kaitoctl.runtime import gguf_files
    from kaitoctl.runtime import tensors as data

    config, table = read(adapter)
    try:
        scales = lora.read_config(config)
    except BadFile as error:
        raise refusal(adapter, [lora.Finding(error.code, str(error))]) from error
    good, wrong = lora.pairs(table, scales)
    wrong = [*lora.refusals_of_config(config), *wrong, *checks.foreign(good, model.shapes)]
    if wrong:
        raise refusal(adapter, wrong)
    path = into / f"{adapter.name}.gguf"
    try:
        with gguf_files.writing(path, model.architecture) as writer:
            writer.add_string(gguf.Keys.General.TYPE, gguf.GGUFType.ADAPTER)
            writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
            writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, 0.0)
            for pair in good:
                a, b = (data.as_f32(adapter.folder / WEIGHTS, table[name]) for name, _ in (pair.a, pair.b))
                if not (np.isfinite(a).all() and np.isfinite(b).all()):
                    broken = lora.Finding("adapter-file-broken", f"{pair.module} has NaN or infinite values")
                    raise refusal(adapter, [broken])
                name = model.names[pair.module]
                scaled = model.permuted(name, b) * np.float32(pair.scale)
                writer.add_tensor(f"{name}.weight.lora_a", a)
                writer.add_tensor(f"{name}.weight.lora_b", np.ascontiguousarray(scaled))
    except ValueError as error:
        raise refusal(adapter, [lora.Finding("adapter-file-broken", f"{WEIGHTS}: {error}")]) from error
    return path


def read(adapter: Adapter) -> tuple[dict[str, Any], Mapping[str, safetensors_header.Tensor]]:
    """The settings and the table of tensors of a folder.

    Raises:
        InputError: a file is missing or is not what its name says.
    """
    folder = adapter.folder
    try:
        if not folder.is_dir():
            raise InputError(f"adapter {adapter.name}: {folder} is not a folder")
        for name, code in ((CONFIG, "adapter-config-missing"), (WEIGHTS, "adapter-weights-missing")):
            if not (folder / name).is_file():
                if name == WEIGHTS and (folder / PICKLE).exists():
                    code = "adapter-weights-pickled"
                raise refusal(adapter, [lora.Finding(code, f"{folder / name} is missing")])
        text = (folder / CONFIG).read_bytes()[: _LARGEST_CONFIG + 1]
        if safetensors_header.is_pointer(text):
            raise refusal(adapter, [lora.Finding("adapter-lfs-pointer", f"{CONFIG} is a git-lfs pointer")])
        config = json.loads(text)
        if not isinstance(config, dict):
            raise ValueError("no JSON object")
    except (ValueError, RecursionError) as error:
        finding = lora.Finding("adapter-config-broken", f"{folder / CONFIG}: {error}")
        raise refusal(adapter, [finding]) from error
    except OSError as error:
        raise InputError(f"adapter {adapter.name}: {error.filename}: {error.strerror}") from error
    return config, _table(adapter, folder / WEIGHTS)


def _table(adapter: Adapter, path: Path) -> Mapping[str, safetensors_header.Tensor]:
    from kaitoctl.runtime import tensors

    try:
        return tensors.table(path)
    except BadFile as error:
        raise refusal(adapter, [lora.Finding(error.code, f"{path} {error}")]) from error


def refusal(adapter: Adapter, findings: Iterable[lora.Finding]) -> InputError:
    """The error that names an adapter and everything that is wrong with it."""
    problems = [f"{finding.code}: {finding.words}" for finding in findings]
    more = f" (and {len(problems) - 8} more)" if len(problems) > 8 else ""
    return InputError(
        f"adapter {adapter.name} cannot be merged{more}",
        problems=problems[:8],
        hint=f"kaitoctl explain {problems[0].partition(':')[0]}",
    )
