"""A llama model of a few hundred KB, its adapters, and the same computed by numpy."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Weights = dict[str, Array]

WIDTH, HEADS, KV_HEADS, LAYERS, INNER, WORDS = 64, 4, 2, 2, 96, 260
SIZE = WIDTH // HEADS
BOS, EOS = 257, 258
PROJECTIONS = {
    "self_attn.q_proj": (WIDTH, WIDTH),
    "self_attn.k_proj": (KV_HEADS * SIZE, WIDTH),
    "self_attn.v_proj": (KV_HEADS * SIZE, WIDTH),
    "self_attn.o_proj": (WIDTH, WIDTH),
    "mlp.gate_proj": (INNER, WIDTH),
    "mlp.up_proj": (INNER, WIDTH),
    "mlp.down_proj": (WIDTH, INNER),
}


def save(path: Path, tensors: Mapping[str, Array], dtype: str = "F32") -> Path:
    """Write a safetensors file."""
    table, data, at = {}, [], 0
    for name, tensor in tensors.items():
        if dtype == "BF16":
            raw = (tensor.astype("<f4").view("<u4") >> 16).astype("<u2").tobytes()
        else:
            raw = tensor.astype({"F32": "<f4", "F16": "<f2", "F64": "<f8"}[dtype]).tobytes()
        table[name] = {"dtype": dtype, "shape": list(tensor.shape), "data_offsets": [at, at + len(raw)]}
        data.append(raw)
        at += len(raw)
    head = json.dumps(table).encode()
    path.write_bytes(len(head).to_bytes(8, "little") + head + b"".join(data))
    return path


def weights(seed: int = 1) -> Weights:
    draw = np.random.default_rng(seed)

    def some(*shape: int) -> Array:
        return (draw.standard_normal(shape) * 1.5 / math.sqrt(shape[-1])).astype(np.float32)

    found = {"model.embed_tokens.weight": draw.standard_normal((WORDS, WIDTH)).astype(np.float32)}
    for layer in range(LAYERS):
        for name, shape in PROJECTIONS.items():
            found[f"model.layers.{layer}.{name}.weight"] = some(*shape)
        for name in ("input_layernorm", "post_attention_layernorm"):
            found[f"model.layers.{layer}.{name}.weight"] = 1 + some(WIDTH)
    found["model.norm.weight"] = 1 + some(WIDTH)
    found["lm_head.weight"] = some(WORDS, WIDTH)
    return found


def model(folder: Path, seed: int = 1, **settings: object) -> Path:
    """A Hugging Face folder; each byte is a token of its own, and so is "th"."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": WIDTH,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "num_hidden_layers": LAYERS,
        "intermediate_size": INNER,
        "vocab_size": WORDS,
        "max_position_embeddings": 512,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "bos_token_id": BOS,
        "eos_token_id": EOS,
        **settings,
    }
    (folder / "config.json").write_text(json.dumps(config))
    added = [{"id": 256, "content": "<pad>", "special": True}]
    added += [{"id": BOS, "content": "<s>", "special": True}, {"id": EOS, "content": "</s>", "special": True}]
    tokenizer = {
        "model": {
            "type": "BPE",
            "vocab": {**{sign: byte for byte, sign in enumerate(byte_signs())}, "th": 259},
            "merges": ["t h"],
        },
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False},
        "added_tokens": added,
    }
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    template = "{% for m in messages %}{{ m.role[0] }}:{{ m.content }}\n{% endfor %}a:"
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": template}))
    save(folder / "model.safetensors", weights(seed))
    return folder


def byte_signs() -> list[str]:
    """The letters that GPT-2's byte-level vocabulary writes bytes with."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(byte) if byte in plain else chr(next(others)) for byte in range(256)]


def adapter(
    folder: Path,
    seed: int = 2,
    *,
    rank: int = 4,
    ranks: Mapping[str, int] | None = None,
    dtype: str = "F32",
    **config: object,
) -> Path:
    """A PEFT folder with a change of every projection; `config` is more of adapter_config.json."""
    folder.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(seed)
    tensors = {}
    for layer in range(LAYERS):
        for name, (out, inner) in PROJECTIONS.items():
            module = f"model.layers.{layer}.{name}"
            r = next((value for key, value in (ranks or {}).items() if module.endswith(key)), rank)
            key = f"base_model.model.{module}"
            tensors[f"{key}.lora_A.weight"] = draw.standard_normal((r, inner)) / math.sqrt(inner)
            tensors[f"{key}.lora_B.weight"] = draw.standard_normal((out, r)) / math.sqrt(4 * r)
    settings = {"peft_type": "LORA", "r": rank, "lora_alpha": 2 * rank, "rank_pattern": dict(ranks or {})}
    settings |= {"target_modules": [name.partition(".")[2] for name in PROJECTIONS], **config}
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    save(folder / "adapter_model.safetensors", tensors, dtype)
    return folder


def load(path: Path) -> Weights:
    """Read a safetensors file in f32 or f64, without the code under test."""
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    found = {}
    for name, entry in json.loads(raw[8 : 8 + length]).items():
        begin, end = (8 + length + offset for offset in entry["data_offsets"])
        kind = {"F32": "<f4", "F64": "<f8", "F16": "<f2"}[entry["dtype"]]
        found[name] = np.frombuffer(raw[begin:end], kind).reshape(entry["shape"]).astype(np.float64)
    return found


def merged(base: Weights, changes: Sequence[tuple[Path, float, Mapping[str, float]]]) -> Weights:
    """The base with adapters: each a folder, its strength, and scales by module ("" for all others)."""
    found = dict(base)
    for folder, strength, scales in changes:
        tensors = load(folder / "adapter_model.safetensors")
        for name in [name for name in tensors if "lora_A" in name]:
            module = name.removeprefix("base_model.model.").removesuffix(".lora_A.weight")
            scale = next((value for key, value in scales.items() if key and module.endswith(key)), scales[""])
            change = tensors[name.replace("lora_A", "lora_B")] @ tensors[name]
            found[f"{module}.weight"] = found[f"{module}.weight"] + strength * scale * change
    return found


def log_probabilities(weights: Weights, tokens: Sequence[int]) -> Array:
    """Of each word after `tokens`, by the formulas of the llama architecture, in f64."""
    x = weights["model.embed_tokens.weight"].astype(np.float64)[list(tokens)]
    count = len(tokens)
    angle = np.arange(count)[:, None] / 10000.0 ** (np.arange(0, SIZE, 2) / SIZE)[None]
    cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
    hidden = np.triu(np.full((count, count), -np.inf), 1)

    def norm(x: Array, name: str) -> Array:
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * weights[f"{name}.weight"]  # type: ignore[no-any-return]

    def turned(x: Array) -> Array:
        a, b = np.split(x, 2, axis=-1)
        return np.concatenate([a * cos - b * sin, b * cos + a * sin], -1)

    for layer in range(LAYERS):

        def times(x: Array, name: str, layer: int = layer) -> Array:
            return x @ weights[f"model.layers.{layer}.{name}.weight"].T.astype(np.float64)

        y = norm(x, f"model.layers.{layer}.input_layernorm")
        q = turned(times(y, "self_attn.q_proj").reshape(count, HEADS, SIZE))
        k = turned(times(y, "self_attn.k_proj").reshape(count, KV_HEADS, SIZE)).repeat(HEADS // KV_HEADS, 1)
        v = times(y, "self_attn.v_proj").reshape(count, KV_HEADS, SIZE).repeat(HEADS // KV_HEADS, 1)
        scores = np.einsum("qhd,khd->hqk", q, k) / math.sqrt(SIZE) + hidden
        shares = np.exp(scores - scores.max(-1, keepdims=True))
        shares /= shares.sum(-1, keepdims=True)
        x = x + times(np.einsum("hqk,khd->qhd", shares, v).reshape(count, WIDTH), "self_attn.o_proj")
        y = norm(x, f"model.layers.{layer}.post_attention_layernorm")
        gate = times(y, "mlp.gate_proj")
        x = x + times(gate / (1 + np.exp(-gate)) * times(y, "mlp.up_proj"), "mlp.down_proj")
    logits = norm(x, "model.norm")[-1] @ weights["lm_head.weight"].T.astype(np.float64)
    top = logits.max()
    return logits - top - np.log(np.exp(logits - top).sum())  # type: ignore[no-any-return]
