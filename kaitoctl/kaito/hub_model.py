"""What KAITO v0.12 makes of a model of Hugging Face that its table lacks: figures and flags. Pure.

Source: KAITO v0.12.0 at 056b8280b: `presets/workspace/generator/generator.go` (calculateKVCacheTokenSize,
ParseModelMetadata, FinalizeParams), `model_catalog.go` (configKeyMap), `models/vllm_model.go`
(GetInferenceParameters, readinessTimeoutForModelSize), `pkg/model/interface.go`. Which files a model's folder
has is `hub_files`' to read; what its weights weigh where none are at hand, `hub_weights`' to reckon.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

_TABLE = Path(__file__).parent / "tables" / "hub_models.json"

_CONTEXT = (
    *("max_position_embeddings", "n_ctx", "seq_length", "max_seq_len"),
    *("max_sequence_length", "model_max_length"),
)
_HIDDEN = ("hidden_size", "n_embd", "d_model", "dim")
_LAYERS = ("num_hidden_layers", "n_layer", "n_layers")
_HEADS = ("num_attention_heads", "n_head", "n_heads")
_KV_HEADS = ("num_key_value_heads", "n_head_kv", "n_kv_heads")
_HEAD_DIM = ("head_dim", "attention_head_dim")

# No model comes near; a product of them still is a number that can be reckoned with.
_MOST: Mapping[tuple[str, ...], int] = {
    _CONTEXT: 10**9,
    _HIDDEN: 10**6,
    _LAYERS: 10**4,
    _HEADS: 10**5,
    _KV_HEADS: 10**5,
    _HEAD_DIM: 10**5,
    ("kv_lora_rank",): 10**6,
    ("qk_rope_head_dim",): 10**5,
}
_CONTEXT_UNSAID = 2048
_BYTES_PER_ELEMENT = 2  # KAITO's, whatever the cache's type will be


class NotAModel(ValueError):
    """A configuration is not one of a model that can be sized; the text says which field and why."""


def figures(config: Mapping[str, Any]) -> dict[str, Any]:
    """What a model's `config.json` says: the fields of `catalog.Model`, but those of its weights.

    Args:
        config: the document; fields of `text_config` (or `llm_config`) count where it has none of its own.

    Raises:
        NotAModel: a field is missing or absurd.
    """
    merged = with_text_config(config)
    architectures = merged.get("architectures") or []
    if not isinstance(architectures, list) or not all(isinstance(name, str) for name in architectures):
        raise NotAModel("architectures: is not a list of names")
    if not architectures and "model_type" not in merged and "dim" not in merged:
        raise NotAModel("it has neither architectures nor model_type: it is not the configuration of a model")
    attention, bytes_per_token = _cache(merged)
    return {
        "architectures": architectures,
        "context_limit": _count(merged, _CONTEXT) or _CONTEXT_UNSAID,
        "bytes_per_token": bytes_per_token,
        "attention": attention,
        "quantization": _quantization(merged),
    }


def with_text_config(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The fields of a configuration, and those of its language model where they stand apart."""
    inner = next((v for key in ("text_config", "llm_config") if isinstance(v := config.get(key), dict)), None)
    return {**(inner or {}), **config}


def _count(config: Mapping[str, Any], keys: tuple[str, ...]) -> int | None:
    """The first of some fields that is a number, as KAITO reads them; None where there is none.

    Raises:
        NotAModel: it is below 1, or beyond reason.
    """
    for key in keys:
        value = config.get(key)
        if isinstance(value, str):
            try:
                value = int(value)
            except ValueError:
                continue
        if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
            continue
        if key == "qk_rope_head_dim" and value == 0:
            return 0
        if not 1 <= value <= _MOST[keys]:
            raise NotAModel(f"{key}: {str(value)[:40]} is not between 1 and {_MOST[keys]:,}")
        return int(value)
    return None


def _cache(config: Mapping[str, Any]) -> tuple[str, int]:
    """The kind of attention, and the bytes that one token takes in the cache over all layers."""
    hidden, layers, heads = (_count(config, keys) for keys in (_HIDDEN, _LAYERS, _HEADS))
    if layers is None and not isinstance(config.get("layers_block_type"), list):
        raise NotAModel("num_hidden_layers: is missing (n_layer and n_layers, too)")
    if hidden is None and _count(config, _HEAD_DIM) is None:
        raise NotAModel("hidden_size: is missing (n_embd, d_model and dim, too)")
    each = _count(config, _HEAD_DIM) or (hidden // heads if hidden and heads else 0)
    shared = _count(config, _KV_HEADS) or (1 if heads and config.get("multi_query") is True else heads)
    rank = _count(config, ("kv_lora_rank",))
    if rank is not None:
        kind, elements = "MLA", rank + (_count(config, ("qk_rope_head_dim",)) or 0)
    elif heads and shared and each:
        kind = "MHA" if shared == heads else "MQA" if shared == 1 else "GQA"
        elements = 2 * shared * each
    else:
        kind, elements = "", 0
    return kind, elements * (layers or 0) * _BYTES_PER_ELEMENT


def _quantization(config: Mapping[str, Any]) -> str:
    found = config.get("quantization_config")
    method = found.get("quant_method") if isinstance(found, dict) else None
    return method if isinstance(method, str) else ""


# --- what follows from the id, the architecture and the size -----------------------------------------------


def unserved(architectures: Iterable[str]) -> str:
    """The architectures, where KAITO v0.12's vLLM serves none of them; empty where it serves one."""
    named = list(architectures)
    return "" if not named or any(name in _table()["architectures"] for name in named) else ", ".join(named)


def settled(row: Mapping[str, Any], *, is_mistral: bool = False) -> dict[str, Any]:
    """The fields of `catalog.Model` that KAITO settles by itself for a model that its table lacks.

    Args:
        row: with `id` and `weights_gib`, and whatever else of `catalog.Model` is known.
        is_mistral: whether the weights are in the format of Mistral's own (`consolidated*.safetensors`).
    """
    name, weights_gib = row["id"].rpartition("/")[2].lower(), float(row["weights_gib"])
    architectures = list(row.get("architectures") or ())
    form = "mistral" if is_mistral else "auto"
    tables = _table()
    flags = {
        "load_format": form,
        "config_format": form,
        "tokenizer_mode": form,
        "dtype": "auto" if row.get("quantization") else "bfloat16",
        **{
            flag: value
            for flag, by_name in tables["vllm"].items()
            if (value := _of_name(name, by_name)) is not None
        },
    }
    is_silent = name in tables["reasoning_parser"]["never"]
    return {
        "name": name,
        "disk": f"{int(weights_gib + 80)}Gi",
        "readiness_timeout_s": round(min(max(15 * 60 + 18 * weights_gib, 30 * 60), 180 * 60)),
        "vllm": flags,
        "tool_call_parser": _parser(name, architectures, tables["tool_call_parser"]),
        "reasoning_parser": "" if is_silent else _parser(name, architectures, tables["reasoning_parser"]),
        "chat_template": _of_name(name, tables["chat_template"]["by_name"]) or "",
        "kv_cache_offload": not set(architectures) & set(tables["without_offload"]),
        "cuda_toolkit": name in tables["cuda_toolkit"]["names"]
        or bool(set(architectures) & set(tables["cuda_toolkit"]["architectures"])),
    }


def _parser(name: str, architectures: list[str], table: Mapping[str, Any]) -> str:
    by_architecture = (table["by_architecture"].get(item) for item in architectures)
    return _of_name(name, table["by_name"]) or next(filter(None, by_architecture), "")


def _of_name(name: str, by_beginning: Mapping[str, str]) -> str | None:
    """What the longest of the beginnings of a name stands for; None where none is one."""
    return next(
        (by_beginning[key] for key in sorted(by_beginning, reverse=True) if name.startswith(key)), None
    )


@cache
def _table() -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads(_TABLE.read_text("utf-8"))
    return found
