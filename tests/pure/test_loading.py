"""How long a model of a plan loads, and how much context there is room for."""

from __future__ import annotations

from typing import Any

import pytest
from world import falcon

from kaitoctl.kaito import fit
from kaitoctl.kaito.catalog import SHIPPED
from kaitoctl.kaito.desired import Settings
from kaitoctl.kaito.planning import loading
from kaitoctl.kube.objects import Object

A100 = "Standard_NC24ads_A100_v4"


def asks(preset: str, machine: str, **resource: Any) -> Object:
    made = falcon(instanceType=machine, **resource)
    made["inference"] = {"preset": {"name": preset}}
    return made


def test_a_model_has_the_context_that_fit_says() -> None:
    machine, model = SHIPPED.instance_type(A100), SHIPPED.model("llama-3.3-70b-instruct")
    assert machine is not None and model is not None
    found = loading(asks("llama-3.3-70b-instruct", A100), Settings())
    assert found is not None and found.nodes == 3
    assert found.context == fit.attainable_context(model, machine, 3)
    assert f"context of at most {found.context:,} tokens on 3 {A100} nodes" in found.words


@pytest.mark.parametrize(("asked", "has"), [(8192, 8192), (999_999_999, None), (0, None)])
def test_a_config_map_can_only_ask_for_less(asked: int, has: int | None) -> None:
    room = loading(asks("phi-4-mini-instruct", A100), Settings())
    found = loading(asks("phi-4-mini-instruct", A100), Settings(context=asked))
    assert room is not None and found is not None
    assert found.context == (has or room.context)


@pytest.mark.parametrize(
    ("workspace", "context"),
    [
        (asks("falcon-7b", "Standard_NC12s_v3"), None),  # a preset's memory is a written figure
        (asks("phi-4", "Standard_Unknown"), None),
    ],
)
def test_what_is_not_known_is_not_said(workspace: Object, context: int | None) -> None:
    found = loading(workspace, Settings())
    assert found is not None and found.context is context
    assert found.words == "at most 30 minutes to load"


def test_custom_pods_and_tuning_have_no_budget() -> None:
    assert loading({**falcon(), "inference": {"template": {"spec": {}}}}, Settings()) is None
    assert loading({**falcon(), "tuning": {"preset": {"name": "phi-2"}}}, Settings()) is None
    assert loading(asks("no-such-preset", A100), Settings()) is None
