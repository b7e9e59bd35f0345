"""Judges an adapter before it becomes an image: what is wrong, and what each KAITO would do with it.

Source: peft 0.11.1, `tuners/lora/config.py` (fields of LoraConfig) and `tuners/lora/model.py`
(add_weighted_adapter); KAITO v0.3 to v0.12.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from kaitoctl.kaito.adapter_files import lora
from kaitoctl.kaito.adapter_files.lora import Finding
from kaitoctl.kaito.adapter_files.safetensors_header import BadFile, Tensor

CONFIG, WEIGHTS, PICKLE = "adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"

_KNOWN_TO_PEFT_0_11 = frozenset(
    {
        "peft_type",
        "auto_mapping",
        "base_model_name_or_path",
        "revision",
        "task_type",
        "inference_mode",
        "r",
        "target_modules",
        "lora_alpha",
        "lora_dropout",
        "fan_in_fan_out",
        "bias",
        "use_rslora",
        "modules_to_save",
        "init_lora_weights",
        "layers_to_transform",
        "layers_pattern",
        "rank_pattern",
        "alpha_pattern",
        "megatron_config",
        "megatron_core",
        "loftq_config",
        "use_dora",
        "layer_replication",
    }
)
_SUPERFLUOUS = (".pt", ".pth", ".ckpt", ".onnx", ".gguf", ".h5", ".msgpack")
_TRANSFORMERS = "v0.3, v0.4, and transformers runtime of later ones"
_VLLM = "v0.5 and later, vLLM runtime"
_NO_START = "the server ends with an error"


def findings(
    files: Mapping[str, int],
    config: bytes | None,
    tensors: Mapping[str, Tensor] | None,
    *,
    shapes: Mapping[str, tuple[int, int]] | None = None,
    base: str = "",
) -> Iterator[Finding]:
    """Everything that one should know of an adapter, the worst first.

    Args:
        files: bytes by path below the adapter's folder.
        config: adapter_config.json.
        tensors: the table of the weights; None when they are missing or could not be read.
        shapes: (out, in) of the base model's weights by module; None when they are not known.
        base: the base model's Hugging Face id; empty when it is not known.
    """
    if config is None:
        deeper = next((name for name in files if PurePosixPath(name).name == CONFIG), "")
        words = f"{CONFIG} is not at the top" + (f", but at {deeper}" if deeper else "")
        yield Finding("adapter-config-missing", words, upstream={_TRANSFORMERS: _NO_START, _VLLM: _NO_START})
        return
    try:
        settings = json.loads(config)
        scales = lora.read_config(settings)
    except BadFile as error:
        yield Finding(error.code, str(error))
        return
    except (ValueError, RecursionError):
        yield Finding("adapter-config-broken", f"{CONFIG} is not JSON")
        return
    yield from lora.refusals_of_config(settings)
    if WEIGHTS not in files:
        pickled = PICKLE in files
        code = "adapter-weights-pickled" if pickled else "adapter-weights-missing"
        yield Finding(code, f"{WEIGHTS} is missing" + (f"; {PICKLE} is there" if pickled else ""))
    if tensors is not None:
        good, wrong = lora.pairs(tensors, scales)
        yield from wrong
        if shapes is not None:
            yield from foreign(good, shapes)
    yield from _of_kaito(settings, scales, base)
    yield from _of_files(files)


def foreign(pairs: list[lora.Pair], shapes: Mapping[str, tuple[int, int]]) -> Iterator[Finding]:
    """Pairs that do not fit the base model's weights."""
    for pair in pairs:
        shape = shapes.get(pair.module)
        if shape is None:
            yield Finding("adapter-of-other-model", f"the model has no {pair.module}")
        elif shape != pair.shape:
            words = f"{pair.module} is {pair.shape} in the adapter and {shape} in the model"
            yield Finding("adapter-of-other-model", words)


def _of_kaito(settings: Mapping[str, Any], scales: lora.Lora, base: str) -> Iterator[Finding]:
    """What kaitoctl's runtime has right, and KAITO's own may not."""
    if unknown := sorted(set(settings) - _KNOWN_TO_PEFT_0_11):
        error = f"TypeError: LoraConfig.__init__() got an unexpected keyword argument {unknown[0]!r}"
        yield Finding(
            "adapter-config-too-new",
            f"{CONFIG} has {', '.join(unknown)}",
            False,
            {_TRANSFORMERS: f"{_NO_START}: {error}", _VLLM: "loads it"},
        )
    if scales.is_rank_stabilised:
        factor = f"acts {math.sqrt(scales.rank):.3g} times too strong, even alone"
        yield Finding(
            "adapter-rslora",
            f"use_rslora with r = {scales.rank}",
            False,
            {_TRANSFORMERS: factor, _VLLM: "right"},
        )
    elif scales.alpha != scales.rank:
        factor = (
            f"alone right; beside others, acts {scales.alpha / scales.rank:.3g} times as strong as it says"
        )
        words = f"lora_alpha is {scales.alpha:g}, r is {scales.rank}"
        yield Finding("adapter-alpha-not-rank", words, False, {_TRANSFORMERS: factor, _VLLM: "right"})
    if scales.ranks or scales.alphas:
        words = f"patterns for {', '.join(sorted({*scales.ranks, *scales.alphas})[:5])}"
        upstream = {_TRANSFORMERS: "alone right; beside others, with rank and alpha of one for all layers"}
        yield Finding("adapter-patterns", words, False, upstream)
    named = str(settings.get("base_model_name_or_path") or "")
    if base and named and named.rpartition("/")[2].lower() != base.rpartition("/")[2].lower():
        yield Finding("adapter-base-name-differs", f"trained on {named}, not on {base}", False)


def _of_files(files: Mapping[str, int]) -> Iterator[Finding]:
    spare = [
        name
        for name in files
        if name.endswith(_SUPERFLUOUS)
        or "checkpoint-" in name
        or (name.endswith((".safetensors", ".bin")) and name not in (WEIGHTS, PICKLE, "training_args.bin"))
    ]
    if spare:
        size = sum(files[name] for name in spare) / 1e6
        words = f"{len(spare)} files, {size:.1f} MB: {', '.join(sorted(spare)[:3])}"
        yield Finding("adapter-too-many-files", words, False)


def shapes_of(config: Mapping[str, Any]) -> dict[str, tuple[int, int]] | None:
    """(out, in) of a llama-like model's weights, from its config.json; None for other architectures."""
    kinds = ("LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM")
    if (config.get("architectures") or [""])[0] not in kinds:
        return None
    try:
        width, inner, heads = (
            int(config[key]) for key in ("hidden_size", "intermediate_size", "num_attention_heads")
        )
        layers, words = int(config["num_hidden_layers"]), int(config["vocab_size"])
        size = int(config.get("head_dim") or width // heads)
        keys = int(config.get("num_key_value_heads") or heads) * size
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    queries = heads * size
    of_layer = {
        "self_attn.q_proj": (queries, width),
        "self_attn.k_proj": (keys, width),
        "self_attn.v_proj": (keys, width),
        "self_attn.o_proj": (width, queries),
        "mlp.gate_proj": (inner, width),
        "mlp.up_proj": (inner, width),
        "mlp.down_proj": (width, inner),
    }
    found = {f"model.layers.{n}.{name}": shape for n in range(layers) for name, shape in of_layer.items()}
    return found if config.get("tie_word_embeddings") else {**found, "lm_head": (words, width)}
