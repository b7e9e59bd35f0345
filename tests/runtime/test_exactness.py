"""The engine with adapters says what the merged weights say; KAITO's way does not, where it is wrong."""

from __future__ import annotations

import json
import math
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from runtime import tiny

from kaitoctl.runtime import engine, hugging_face, lora_to_gguf, models
from kaitoctl.runtime.lora_to_gguf import Adapter
from kaitoctl.runtime.strengths import Strengths

PROMPT = list(b"hello, world")
STRENGTHS = [0.0, 0.2, 0.5, 1.0]
NEAR = 1e-3
Scales = Mapping[str, float]

CASES: dict[str, list[tuple[dict[str, Any], Scales]]] = {
    "one": [({"rank": 4, "lora_alpha": 8}, {"": 2.0})],
    "two": [({"rank": 4, "lora_alpha": 8}, {"": 2.0}), ({"rank": 6, "lora_alpha": 3}, {"": 0.5})],
    "rslora": [({"rank": 4, "lora_alpha": 2, "use_rslora": True}, {"": 1.0})],
    "patterns": [
        (
            {
                "rank": 4,
                "lora_alpha": 4,
                "ranks": {"0.self_attn.q_proj": 2, "mlp.down_proj": 8},
                "alpha_pattern": {"self_attn.k_proj": 12, "mlp.down_proj": 4},
            },
            {"0.self_attn.q_proj": 2.0, "mlp.down_proj": 0.5, "self_attn.k_proj": 3.0, "": 1.0},
        )
    ],
    "half precision": [({"rank": 4, "lora_alpha": 4, "dtype": "F16"}, {"": 1.0})],
}


class Running:
    """An engine with the tiny model and adapters of a case."""

    def __init__(self, folder: Path, case: Sequence[tuple[dict[str, Any], Scales]]) -> None:
        self.base = tiny.weights()
        model = models.read(hugging_face.convert(tiny.model(folder / "model"), folder / "model.gguf"))
        self.folders, files = [], []
        for number, (settings, _) in enumerate(case):
            self.folders.append(tiny.adapter(folder / f"a{number}", seed=10 + number, **settings))
            files.append(lora_to_gguf.convert(Adapter(f"a{number}", self.folders[-1]), model, folder))
        self.engine = engine.start(model, files)

    def log_probabilities(self, fields: Mapping[str, Any], prompt: Sequence[int] = PROMPT) -> Any:
        asked = {"prompt": list(prompt), "n_predict": 1, "n_probs": tiny.WORDS, "logit_bias": [[97, 1000.0]]}
        request = urllib.request.Request(
            f"{self.engine.address}/completion",
            json.dumps({**asked, **fields}).encode(),
            {"Authorization": f"Bearer {self.engine.key}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            (first,) = json.load(answer)["completion_probabilities"]
        found = {item["id"]: item["logprob"] for item in first["top_logprobs"]}
        return np.array([found[number] for number in range(tiny.WORDS)])


@pytest.fixture(scope="module", params=CASES)
def case(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Running, list[Scales]]:
    settings = CASES[request.param]
    folder = tmp_path_factory.mktemp("exact")
    return Running(folder, settings), [scales for _, scales in settings]


@pytest.mark.parametrize("strength", STRENGTHS)
def test_log_probabilities_are_those_of_the_merged_weights(
    case: tuple[Running, list[Scales]], strength: float
) -> None:
    running, scales = case
    each = [strength, 0.7 * strength][: len(scales)]
    lora = [{"id": number, "scale": value} for number, value in enumerate(each)]
    got = running.log_probabilities({"lora": lora, "cache_prompt": False})
    changes = list(zip(running.folders, each, scales, strict=True))
    wanted = tiny.log_probabilities(tiny.merged(running.base, changes), PROMPT)
    assert np.abs(got - wanted).max() < NEAR
    if strength:
        alone = tiny.log_probabilities(running.base, PROMPT)
        assert np.abs(wanted - alone).max() > 100 * NEAR  # the adapter does something


def test_prompts_of_another_strength_are_not_remembered(tmp_path: Path) -> None:
    running = Running(tmp_path, CASES["one"])
    strengths = Strengths(["a0"], [0.0])
    prompt = list(b"a prompt that is long enough to be worth remembering, they say")
    for strength in (0.0, 1.0, 1.0, 0.2, 0.0):
        got = running.log_probabilities(strengths.for_engine((strength,)), prompt)
        merged = tiny.merged(running.base, [(running.folders[0], strength, {"": 2.0})])
        assert np.abs(got - tiny.log_probabilities(merged, prompt)).max() < NEAR, strength


# --- KAITO's way: peft 0.11.1, add_weighted_adapter(combination_type="svd") --------------------------------


def kaito_merged(
    base: tiny.Weights, changes: Sequence[tuple[Path, float, float]], *, is_rslora: bool
) -> tiny.Weights:
    """Merge as KAITO's transformers runtime does: a folder, its strength and its scale each.

    One adapter is combined linearly, several by their singular values: each weight is multiplied by the
    scale, the change that it weighs has that scale in it already, and the sum is cut to the largest rank.
    The new adapter has alpha = r, and inherits use_rslora of the first.
    """
    loaded = [
        (tiny.load(folder / "adapter_model.safetensors"), strength, scale)
        for folder, strength, scale in changes
    ]
    found = dict(base)
    for name in [name for name in loaded[0][0] if "lora_A" in name]:
        rank = max(tensors[name].shape[0] for tensors, _, _ in loaded)
        products = [(t[name.replace("lora_A", "lora_B")] @ t[name], w, s) for t, w, s in loaded]
        if len(products) == 1:
            change = products[0][1] * products[0][2] * products[0][0]
        else:
            u, sigma, v = np.linalg.svd(
                sum(w * s * s * product for product, w, s in products), full_matrices=False
            )
            change = (u[:, :rank] * sigma[:rank]) @ v[:rank]
        weight = name.removeprefix("base_model.model.").replace(".lora_A", "")
        found[weight] = found[weight] + change * (math.sqrt(rank) if is_rslora else 1.0)
    return found


@pytest.mark.parametrize(("name", "is_apart"), [("one", 0.0), ("two", 3.9), ("rslora", 2.7)])
def test_kaitos_way_differs_where_it_is_known_to_be_wrong(name: str, is_apart: float, tmp_path: Path) -> None:
    case = CASES[name]
    folders = [
        tiny.adapter(tmp_path / str(at), seed=10 + at, **settings) for at, (settings, _) in enumerate(case)
    ]
    each = [0.5, 0.35][: len(case)]
    base = tiny.weights()
    ours = tiny.merged(base, [(f, w, scales) for f, w, (_, scales) in zip(folders, each, case, strict=True)])
    changes = [(f, w, scales[""]) for f, w, (_, scales) in zip(folders, each, case, strict=True)]
    theirs = kaito_merged(base, changes, is_rslora=name == "rslora")
    apart = np.abs(tiny.log_probabilities(ours, PROMPT) - tiny.log_probabilities(theirs, PROMPT)).max()
    assert apart == pytest.approx(is_apart, abs=0.1)  # docs/runtime.md has these numbers


def test_kaitos_way_is_right_for_several_adapters_whose_alpha_is_their_rank_but_for_the_cut(
    tmp_path: Path,
) -> None:
    folders = [tiny.adapter(tmp_path / str(at), seed=20 + at, rank=4, lora_alpha=4) for at in range(2)]
    base = tiny.weights()
    theirs = kaito_merged(base, [(folder, 0.5, 1.0) for folder in folders], is_rslora=False)
    ours = tiny.merged(base, [(folder, 0.5, {"": 1.0}) for folder in folders])
    weight = "model.layers.0.self_attn.q_proj.weight"
    cut = np.linalg.svd(ours[weight] - base[weight])[1]
    left = np.linalg.norm(ours[weight] - theirs[weight], 2)
    assert left == pytest.approx(cut[4], rel=1e-5)  # what the cut to rank 4 leaves out of rank 8
    assert left > 0.01


@pytest.mark.parametrize(("dtype", "is_exact"), [("F32", True), ("F16", False)])
def test_the_cache_is_as_precise_as_the_weights(tmp_path: Path, dtype: str, is_exact: bool) -> None:
    folder = tiny.model(tmp_path / "model")
    tiny.save(folder / "model.safetensors", tiny.load(folder / "model.safetensors"), dtype)
    model = models.read(hugging_face.convert(folder, tmp_path / "model.gguf"))
    assert model.is_f32 is is_exact
