"""Model files: what a GGUF file holds, and under which names adapters know its weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from kaitoctl.errors import InputError
from kaitoctl.kaito.adapter_files import safetensors_header
from kaitoctl.runtime import gguf_head

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MODULES = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
"""Weights of a layer, as GGUF and as Hugging Face's llama-like models call them."""


class Model(Struct, frozen=True):
    """What there is to know of a GGUF model before the engine loads it.

    Args:
        path: the file.
        architecture: as GGUF names it.
        names: the tensor (without `.weight`) by Hugging Face's name of the module.
        shapes: (out, in) by the same names.
        heads: attention heads; of keys in `kv_heads`.
        is_f32: whether no weight was rounded.
    """

    path: Path
    architecture: str
    names: Mapping[str, str]
    shapes: Mapping[str, tuple[int, int]]
    heads: int
    kv_heads: int
    is_f32: bool

    def permuted(self, name: str, rows: NDArray[Any]) -> NDArray[Any]:
        """Rows of a weight (or of an adapter's B) in the order that GGUF has them in.

        Source: ggml-org/llama.cpp, `convert_hf_to_gguf.py`, `LlamaModel.permute`.
        """
        if self.architecture != "llama" or not name.endswith(("attn_q", "attn_k")):
            return rows
        return permute(rows, self.heads if name.endswith("attn_q") else self.kv_heads)


def permute(rows: NDArray[Any], heads: int) -> NDArray[Any]:
    """Interleave the two halves of each head's rows, as the llama architecture's rotation wants them."""
    halves = rows.reshape(heads, 2, rows.shape[0] // heads // 2, *rows.shape[1:])
    return halves.swapaxes(1, 2).reshape(rows.shape)


def read(path: Path) -> Model:
    """Look into a GGUF file.

    Raises:
        InputError: it is missing, no whole GGUF file, or not a model.
    """
    import gguf

    check_start(path)
    try:
        head = gguf_head.read(path)
        settings = head.settings
        architecture = str(settings.get("general.architecture") or "")
        kind = settings.get("general.type", "model")
        if kind != "model":
            raise broken(path, f"holds a {kind}, not a model")
        if architecture not in gguf.MODEL_ARCH_NAMES.values():
            words = f"has the architecture {architecture!r}, which the engine does not know"
            raise broken(path, words if architecture else "does not say of which architecture it is")
        heads = _setting(settings, f"{architecture}.attention.head_count")
        kv_heads = int(settings.get(f"{architecture}.attention.head_count_kv") or heads)
        names, shapes = {}, {}
        for name, shape in head.shapes.items():
            module = _module(name)
            if module and len(shape) == 2:
                names[module] = name.removesuffix(".weight")
                shapes[module] = (shape[0], shape[1])
    except (ValueError, LookupError, OverflowError, TypeError, AttributeError) as error:
        raise broken(path, f"is not a complete GGUF file ({error or type(error).__name__})") from error
    return Model(path, architecture, names, shapes, heads, kv_heads, head.is_f32)


def check_start(path: Path) -> None:
    """Raise for what is no GGUF file at first sight.

    Raises:
        InputError: it is missing, empty, a git-lfs pointer, or something else.
    """
    try:
        with path.open("rb") as file:
            start = file.read(64)
    except OSError as error:
        raise InputError(
            f"{path}: {error.strerror}", hint="give a GGUF file or a Hugging Face folder"
        ) from error
    if safetensors_header.is_pointer(start):
        raise InputError(f"{path} is a git-lfs pointer, not the model", hint="git lfs pull")
    if not start.startswith(b"GGUF"):
        raise broken(path, "is empty" if not start else "is no GGUF file: it does not begin with 'GGUF'")


def broken(path: Path, words: str) -> InputError:
    """The error for a model file that cannot be served."""
    return InputError(f"{path} {words}", hint="kaitoctl explain model-file-broken")


def _setting(settings: Mapping[str, Any], key: str) -> int:
    if key not in settings:
        raise ValueError(f"it has no {key}")
    return int(settings[key])


def _module(tensor: str) -> str:
    if tensor == "output.weight":
        return "lm_head"
    parts = tensor.split(".")
    if len(parts) != 4 or parts[0] != "blk" or parts[3] != "weight" or parts[2] not in _MODULES:
        return ""
    return f"model.layers.{parts[1]}.{_MODULES[parts[2]]}"
