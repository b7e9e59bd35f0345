"""What a model's weights weigh by its configuration alone: for where no file of theirs is at hand.

KAITO never does this; it adds up the files that Hugging Face lists. Only decoders with gated layers are
reckoned, dense ones and mixtures of experts, whose parameters follow from a few sizes. Pure.

Source: the layers of huggingface/transformers v4.57 `models/{llama,qwen3,qwen3_moe,mixtral,phi3,gemma2,
deepseek_v3}/modeling_*.py`; within 1 % of the figures in KAITO's table (tests/pure/test_hub_model.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_KINDS = frozenset(
    {"llama", "mistral", "mixtral", "phi3", "qwen2", "qwen2_moe", "qwen3", "qwen3_moe", "gemma", "gemma2"}
    | {"gemma3_text", "deepseek_v3", "kimi_k2", "olmo2", "olmo3", "granite", "smollm3", "seed_oss"}
)
_TIED = frozenset(
    {"gemma", "gemma2", "gemma3_text"}
)  # unless they say otherwise; the others say when they are
_BYTES = {"float32": 4.0, "float16": 2.0, "bfloat16": 2.0}
_MOST = 10**15  # parameters
_EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts")


def weights_gib(config: Mapping[str, Any]) -> float | None:
    """About how much the weights' files hold, in GiB; None for a model of another kind, or without its sizes.

    Args:
        config: a model's `config.json`.
    """
    if str(config.get("model_type")) not in _KINDS:
        return None
    try:
        embedded, linear = _embedded(config), _linear(config)
    except (KeyError, TypeError, ValueError, ArithmeticError):
        return None
    wide = _BYTES.get(str(config.get("torch_dtype") or config.get("dtype")))
    narrow = _bytes_quantized(config, wide)
    if wide is None or narrow is None or not 0 < embedded + linear < _MOST:
        return None
    return (embedded * wide + linear * narrow) / 2**30


def _bytes_quantized(config: Mapping[str, Any], wide: float | None) -> float | None:
    """Bytes of one element of the layers; None for a method that is not reckoned."""
    found = config.get("quantization_config")
    if not isinstance(found, dict):
        return wide
    method, bits = found.get("quant_method"), found.get("bits")
    if method == "fp8":
        return 1.0
    if method in ("awq", "gptq") and isinstance(bits, int) and 2 <= bits <= 8:
        group = found.get("group_size")
        # A scale of 16 bits and a zero point for each group.
        return (bits + ((16 + bits) / group if isinstance(group, int) and group > 0 else 0)) / 8
    return None


def _embedded(config: Mapping[str, Any]) -> int:
    is_tied = config.get("tie_word_embeddings", config["model_type"] in _TIED)
    return int(config["vocab_size"]) * int(config["hidden_size"]) * (1 if is_tied else 2)


def _linear(config: Mapping[str, Any]) -> int:
    layers, hidden = int(config["num_hidden_layers"]), int(config["hidden_size"])
    attention = _attention(config, hidden)
    dense = 3 * hidden * int(config["intermediate_size"])
    experts = next((int(config[key]) for key in _EXPERTS if config.get(key)), 0)
    if not experts:
        return layers * (attention + dense)
    one = 3 * hidden * int(config.get("moe_intermediate_size") or config["intermediate_size"])
    shared = int(config.get("n_shared_experts") or 0) * one
    shared += 3 * hidden * int(config.get("shared_expert_intermediate_size") or 0)
    first = int(config.get("first_k_dense_replace") or 0) + len(config.get("mlp_only_layers") or ())
    sparse = attention + hidden * experts + experts * one + shared
    # Layers that predict more than one token are in the files, too, with embeddings of their own.
    more = int(config.get("num_nextn_predict_layers") or 0)
    ahead = sparse + 2 * hidden * hidden + 2 * int(config["vocab_size"]) * hidden
    return first * (attention + dense) + (layers - first) * sparse + more * ahead


def _attention(config: Mapping[str, Any], hidden: int) -> int:
    heads = int(config["num_attention_heads"])
    if rank := config.get("kv_lora_rank"):
        rank, rope = int(rank), int(config["qk_rope_head_dim"])
        plain, value = int(config["qk_nope_head_dim"]), int(config["v_head_dim"])
        asked = heads * (plain + rope)
        queries = hidden * asked
        if low := config.get("q_lora_rank"):
            queries = int(low) * (hidden + asked)
        return queries + hidden * (rank + rope) + rank * heads * (plain + value) + heads * value * hidden
    each = int(config.get("head_dim") or hidden // heads)
    shared = int(config.get("num_key_value_heads") or heads)
    return hidden * each * 2 * (heads + shared)
