"""What every preset becomes, for every runtime, with and without adapters: golden files show a change."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import pytest
from builders import adapter, workspace

from kaitoctl.kaito import catalog, desired
from kaitoctl.kaito.desired import Settings
from kaitoctl.kube.documents import to_yaml
from kaitoctl.kube.objects import Object


def variant(preset: str, runtime: str, with_adapter: bool) -> Object:
    known = catalog.presets()[preset]
    named: Object = {"name": preset, "accessMode": known.access_mode}
    if known.access_mode == "private":
        named["presetOptions"] = {"image": "registry.example/own:1", "imagePullSecrets": ["own"]}
    inference: Object = {"preset": named}
    if with_adapter:
        inference["adapters"] = [adapter()]
    return workspace("w", inference=inference, metadata={"annotations": {"kaito.sh/runtime": runtime}})


@pytest.mark.parametrize("preset", sorted(catalog.presets()))
def test_what_a_preset_becomes(preset: str, golden: Callable[[str, str], None]) -> None:
    parts = []
    for generation, runtime, with_adapter in product(
        ("v0.3", "v0.4"), ("transformers", "vllm"), (False, True)
    ):
        ws, settings = variant(preset, runtime, with_adapter), Settings(generation=generation)
        adapters = "an adapter" if with_adapter else "no adapter"
        parts.append(f"# {preset}, images {generation}, {runtime}, {adapters}")
        if refused := desired.refusal(ws, settings):
            parts.append(f"# refused: {refused}")
            continue
        for _, obj in desired.desired(ws, gpus=2, settings=settings):
            parts.append("---\n" + to_yaml(obj).rstrip("\n"))
    golden(f"desired/{preset}.yaml", "\n".join(parts) + "\n")
