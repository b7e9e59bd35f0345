"""Hugging Face folders of llama-like models as GGUF files.

Source: ggml-org/llama.cpp, `convert_hf_to_gguf.py` (LlamaModel, Qwen2Model, Qwen3Model: names, permutation,
keys; `get_vocab_base_pre`: how text is cut before byte pairs are merged).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kaitoctl.errors import InputError
from kaitoctl.kaito.adapter_files.safetensors_header import BadFile, Tensor
from kaitoctl.runtime import gguf_files, models, tensors

_ARCHITECTURES = {
    "LlamaForCausalLM": "llama",
    "MistralForCausalLM": "llama",
    "Qwen2ForCausalLM": "qwen2",
    "Qwen3ForCausalLM": "qwen3",
}
_OF_LAYER = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
_OF_MODEL = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}


def is_folder_of_model(path: Path) -> bool:
    """Whether a folder looks like one that Hugging Face's libraries have saved a model in."""
    return (path / "config.json").is_file()


def convert(folder: Path, into: Path) -> Path:
    """Write a folder's model as one GGUF file, in f32 or f16 as the weights are (bf16 becomes f32).

    Returns:
        `into`.

    Raises:
        InputError: it is of another architecture, uses what is not known here, or a file is bad.
    """
    config = _json(folder / "config.json")
    architecture = _architecture(folder, config)
    partial = into.with_name(f".{into.name}.{os.getpid()}")
    try:
        with gguf_files.writing(partial, architecture) as writer:
            _write_settings(writer, config, architecture)
            _write_vocabulary(writer, folder, config)
            _write_weights(writer, folder, config, architecture)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise InputError(f"{folder}: cannot be converted: {type(error).__name__} {error}") from error
    partial.replace(into)
    return into


def _architecture(folder: Path, config: Mapping[str, Any]) -> str:
    named = config.get("architectures") or ["none"]
    architecture = _ARCHITECTURES.get(named[0])
    if architecture is None:
        raise InputError(
            f"{folder}: cannot convert {named[0]}",
            hint=f"known are {', '.join(_ARCHITECTURES)}; convert others with llama.cpp",
        )
    for key in ("rope_scaling", "quantization_config", "layer_types"):
        value = config.get(key)
        plain = key == "layer_types" and set(value or ()) <= {"full_attention"}
        if value and not plain:
            raise InputError(f"{folder}: config.json has {key}, which is not converted here")
    if config.get("attention_bias") and architecture == "llama":
        raise InputError(f"{folder}: config.json has attention_bias, which is not converted here")
    return architecture


def _write_settings(writer: Any, config: Mapping[str, Any], architecture: str) -> None:
    heads, width = int(config["num_attention_heads"]), int(config["hidden_size"])
    size = int(config.get("head_dim") or width // heads)
    rope = config.get("rope_theta") or (config.get("rope_parameters") or {}).get("rope_theta") or 10000.0
    writer.add_context_length(int(config["max_position_embeddings"]))
    writer.add_embedding_length(width)
    writer.add_block_count(int(config["num_hidden_layers"]))
    writer.add_feed_forward_length(int(config["intermediate_size"]))
    writer.add_head_count(heads)
    writer.add_head_count_kv(int(config.get("num_key_value_heads") or heads))
    writer.add_key_length(size)
    writer.add_value_length(size)
    writer.add_layer_norm_rms_eps(float(config["rms_norm_eps"]))
    writer.add_rope_freq_base(float(rope))
    writer.add_vocab_size(int(config["vocab_size"]))
    if architecture == "llama":
        writer.add_rope_dimension_count(size)


# --- the vocabulary ----------------------------------------------------------------------------------------


def _write_vocabulary(writer: Any, folder: Path, config: Mapping[str, Any]) -> None:
    import gguf

    tokenizer = _json(folder / "tokenizer.json")
    model = tokenizer.get("model") or {}
    kind = _pre_tokenizer_name(tokenizer.get("pre_tokenizer"))
    if model.get("type") != "BPE" or kind is None:
        raise InputError(
            f"{folder / 'tokenizer.json'}: this tokenizer is not converted here",
            hint="known is the byte-level BPE of Llama 3, Qwen2, SmolLM and GPT-2; convert others with "
            "llama.cpp",
        )
    size = int(config["vocab_size"])
    words = [f"[PAD{number}]" for number in range(size)]
    types = [int(gguf.TokenType.UNUSED)] * size
    for word, number in model["vocab"].items():
        words[number], types[number] = word, int(gguf.TokenType.NORMAL)
    for added in tokenizer.get("added_tokens") or ():
        special = gguf.TokenType.CONTROL if added.get("special") else gguf.TokenType.USER_DEFINED
        words[added["id"]], types[added["id"]] = added["content"], int(special)
    merges = [" ".join(pair) if isinstance(pair, list) else pair for pair in model.get("merges") or ()]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(kind)
    writer.add_token_list(words)
    writer.add_token_types(types)
    writer.add_token_merges(merges)
    for key, add in (("bos_token_id", writer.add_bos_token_id), ("eos_token_id", writer.add_eos_token_id)):
        number = config.get(key)
        number = number[0] if isinstance(number, list) else number
        if number is not None:
            add(int(number))
    settings = _json(folder / "tokenizer_config.json") if (folder / "tokenizer_config.json").is_file() else {}
    writer.add_add_bos_token(bool(settings.get("add_bos_token", False)))
    template = settings.get("chat_template")
    if not template and (folder / "chat_template.jinja").is_file():
        template = (folder / "chat_template.jinja").read_text(encoding="utf-8")
    if isinstance(template, str):
        writer.add_chat_template(template)


def _pre_tokenizer_name(pre_tokenizer: object) -> str | None:
    """llama.cpp's name for how a text is cut into words, by what tokenizer.json says."""
    text = json.dumps(pre_tokenizer)
    if r"\\p{N}{1,3}" in text:
        return "llama-bpe"
    if r"\\p{N}|" in text:
        return "qwen2"
    if '"Digits"' in text:
        return "smollm" if '"individual_digits": true' in text else None
    return "gpt-2" if '"ByteLevel"' in text and '"Split"' not in text else None


# --- the weights -------------------------------------------------------------------------------------------


def _write_weights(writer: Any, folder: Path, config: Mapping[str, Any], architecture: str) -> None:
    heads = int(config["num_attention_heads"])
    kv_heads = int(config.get("num_key_value_heads") or heads)
    for path, name, tensor in _weights(folder):
        target = _target(name)
        if target is None:
            raise InputError(f"{path}: the tensor {name} belongs to no model of this kind")
        if target == "output.weight" and config.get("tie_word_embeddings"):
            continue
        data = tensors.as_f32(path, tensor)
        if architecture == "llama" and ".attn_q." in target:
            data = models.permute(data, heads)
        elif architecture == "llama" and ".attn_k." in target:
            data = models.permute(data, kv_heads)
        is_half = tensor.dtype == "F16" and data.ndim > 1
        writer.add_tensor(target, data.astype("float16") if is_half else data)


def _weights(folder: Path) -> list[tuple[Path, str, Tensor]]:
    paths = sorted(folder.glob("model*.safetensors"))
    if not paths:
        raise InputError(f"{folder}: there is no model.safetensors", hint="pickled weights are not read")
    found = []
    for path in paths:
        try:
            found += [(path, name, tensor) for name, tensor in tensors.table(path).items()]
        except BadFile as error:
            raise InputError(f"{path} {error}") from error
    return found


def _target(name: str) -> str | None:
    if name in _OF_MODEL:
        return _OF_MODEL[name]
    parts = name.split(".")
    if parts[:2] != ["model", "layers"] or len(parts) < 5:
        return None
    known = _OF_LAYER.get(".".join(parts[3:-1]))
    return f"blk.{parts[2]}.{known}.{parts[-1]}" if known else None


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise InputError(f"{path}: is no JSON object")
    return found
