"""PEFT LoRA: which tensors are a pair, and by which factor their product changes the base's weights.

W' = W + strength * scale * B A, with scale = alpha / r, or alpha / sqrt(r) with `use_rslora`.
Source: peft 0.21, `tuners/lora/layer.py` (update_layer), `utils/other.py` (get_pattern_key).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct

from kaitoctl.kaito.adapter_files.safetensors_header import BadFile, Tensor

_PREFIX = "base_model.model."
_PAIR = re.compile(r"(?P<module>.+)\.lora_(?P<side>[AB])\.(?:default\.)?weight")
_KEPT_BASE = (True, False, None, "gaussian", "eva", "orthogonal")
"""Values of init_lora_weights that leave the base's weights as they are."""


_LARGEST_ALPHA = 1e9


class Finding(Struct, frozen=True):
    """Something about an adapter that one should know.

    Args:
        code: its kind, a key of `codes.CODES`.
        words: what it is here, naming file, key or tensor.
        is_fatal: kaitoctl's runtime refuses the adapter for it.
        upstream: what KAITO does with it, by version; empty when it is as kaitoctl does.
    """

    code: str
    words: str
    is_fatal: bool = True
    upstream: Mapping[str, str] | None = None


class Pair(Struct, frozen=True):
    """One module's change.

    Args:
        module: the module's name in the base model, such as `model.layers.0.self_attn.q_proj`.
        a: name and shape (rank, in) of the first matrix.
        b: name and shape (out, rank) of the second.
        scale: alpha / r or alpha / sqrt(r).
    """

    module: str
    a: tuple[str, tuple[int, ...]]
    b: tuple[str, tuple[int, ...]]
    scale: float

    @property
    def shape(self) -> tuple[int, int]:
        """(out, in) of the base's weight."""
        return self.b[1][0], self.a[1][1]


class Lora(Struct, frozen=True):
    """What adapter_config.json says about scales.

    Args:
        rank: `r`.
        alpha: `lora_alpha`.
        ranks: `rank_pattern`.
        alphas: `alpha_pattern`.
        is_rank_stabilised: `use_rslora`.
    """

    rank: int
    alpha: float
    ranks: Mapping[str, int]
    alphas: Mapping[str, float]
    is_rank_stabilised: bool

    def rank_of(self, module: str) -> int:
        """The rank that a module has."""
        return self.ranks.get(_key(self.ranks, module), self.rank)

    def scale_of(self, module: str) -> float:
        """What B A is multiplied by before the strength."""
        alpha, rank = self.alphas.get(_key(self.alphas, module), self.alpha), self.rank_of(module)
        return alpha / (math.sqrt(rank) if self.is_rank_stabilised else rank)


def _key(patterns: Mapping[str, Any], module: str) -> str:
    for pattern in patterns:
        if re.match(rf"(.*\.)?({pattern})$", module):
            return pattern
    return module


def read_config(config: object) -> Lora:
    """The scales of an adapter_config.json.

    Raises:
        BadFile: a value that makes no sense.
    """
    if not isinstance(config, dict):
        raise BadFile("adapter-config-broken", "adapter_config.json is not a JSON object")
    ranks, alphas = config.get("rank_pattern") or {}, config.get("alpha_pattern") or {}
    if not isinstance(ranks, dict) or not isinstance(alphas, dict):
        raise BadFile("adapter-config-broken", "rank_pattern and alpha_pattern must be maps")
    for pattern in (*ranks, *alphas):
        try:
            re.compile(pattern)
        except re.error as error:
            raise BadFile(
                "adapter-config-broken", f"the pattern {pattern!r} is not a regular expression"
            ) from error
    return Lora(
        _rank(config.get("r", 8), "r"),
        _alpha(config.get("lora_alpha", 8), "lora_alpha"),
        {name: _rank(value, f"rank_pattern of {name}") for name, value in ranks.items()},
        {name: _alpha(value, f"alpha_pattern of {name}") for name, value in alphas.items()},
        bool(config.get("use_rslora")),
    )


def _rank(value: object, name: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= 65536:
        raise BadFile("adapter-config-broken", f"{name} is {value!r}; it must be a whole number above 0")
    return value


def _alpha(value: object, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < _LARGEST_ALPHA:
        raise BadFile("adapter-config-broken", f"{name} is {value!r}; it must be a finite number")
    return float(value)


def refusals_of_config(config: Mapping[str, Any]) -> Iterator[Finding]:
    """What makes an adapter something else than base + strength * scale * B A."""
    kind = config.get("peft_type", "LORA")
    if kind != "LORA":
        yield Finding("adapter-type-other", f"peft_type is {kind!r}, not 'LORA'")
    if config.get("use_dora"):
        yield Finding("adapter-dora", "use_dora is true")
    if config.get("modules_to_save"):
        yield Finding("adapter-modules-to-save", f"modules_to_save is {config['modules_to_save']!r}")
    for key in ("fan_in_fan_out", "layer_replication", "target_parameters", "lora_bias", "use_qalora"):
        if config.get(key):
            yield Finding("adapter-variant", f"{key} is {config[key]!r}")
    if config.get("bias", "none") != "none":
        yield Finding("adapter-variant", f"bias is {config['bias']!r}: trained biases")
    init = config.get("init_lora_weights", True)
    if not isinstance(init, (bool, str, type(None))) or init not in _KEPT_BASE:
        yield Finding("adapter-variant", f"init_lora_weights is {init!r}: the base model was changed, too")


def pairs(tensors: Mapping[str, Tensor], lora: Lora) -> tuple[list[Pair], list[Finding]]:
    """The pairs in the order of their modules, and what is wrong with the rest."""
    sides: dict[str, dict[str, str]] = {}
    wrong: list[Finding] = []
    for name in sorted(tensors):
        found = _PAIR.fullmatch(name)
        if found:
            sides.setdefault(found["module"].removeprefix(_PREFIX), {})[found["side"]] = name
        elif "lora_magnitude_vector" in name:
            wrong.append(Finding("adapter-dora", f"the tensor {name} is a DoRA magnitude"))
        elif ".modules_to_save." in name or "lora_" not in name:
            wrong.append(Finding("adapter-modules-to-save", f"the tensor {name} replaces a whole module"))
        else:
            wrong.append(Finding("adapter-tensor-unknown", f"the tensor {name}"))
    good = []
    for module, names in sides.items():
        if len(names) < 2:
            lacking = "B" if "A" in names else "A"
            wrong.append(Finding("adapter-tensor-unpaired", f"{module} has no lora_{lacking}"))
            continue
        a, b = tensors[names["A"]].shape, tensors[names["B"]].shape
        if len(a) != 2 or len(b) != 2 or a[0] != b[1]:
            wrong.append(Finding("adapter-tensor-unpaired", f"{module}: A {a} and B {b} make no product"))
        elif a[0] != lora.rank_of(module):
            says = f"{module} has rank {a[0]} where adapter_config.json says {lora.rank_of(module)}"
            wrong.append(Finding("adapter-rank-differs", says))
        else:
            good.append(Pair(module, (names["A"], a), (names["B"], b), lora.scale_of(module)))
    if not sides and not wrong:
        wrong.append(Finding("adapter-weights-missing", "the weights have no tensors"))
    return good, wrong
