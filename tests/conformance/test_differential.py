"""Whatever is asked, the sandbox and a real API server answer alike, but for what `differential` lists.

In CI the sequences are the same in each run. To look further: `DIFFERENTIAL_EXAMPLES=5000 pytest ...`. A
sequence that is answered differently is printed as JSON; as an entry of `KNOWN` it is tried for ever.
"""

from __future__ import annotations

import json
import os

import pytest
from conformance.differential import Side, differences, replay
from conformance.inprocess import InProcess
from conformance.real import viewed
from conformance.requests_drawn import sequences
from controlplane.plane import ControlPlane
from hypothesis import HealthCheck, given, note, settings

from kaitoctl.kube.objects import Object

_EXAMPLES = int(os.environ.get("DIFFERENTIAL_EXAMPLES", "150"))


def _compare(plane: ControlPlane, steps: list[Object]) -> None:
    with viewed(plane) as view:
        real, ours = Side(view), Side(InProcess())
        for number, step in enumerate(steps):
            found = differences(real.do(step), ours.do(step))
            if found:
                note(f"replay: {replay(steps[: number + 1])}")
            assert not found, f"step {number} (real / sandbox): {found}"


@settings(
    max_examples=_EXAMPLES,
    derandomize="DIFFERENTIAL_EXAMPLES" not in os.environ,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=sequences())
def test_any_sequence_is_answered_alike(bare_control_plane: ControlPlane, steps: list[Object]) -> None:
    _compare(bare_control_plane, steps)


_MAIN = {"name": "main", "image": "web:1"}
_SPEC = {
    "selector": {"matchLabels": {"app": "x"}},
    "template": {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [_MAIN]}},
}
_DEPLOYMENT = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}, "spec": _SPEC}
_CONFIG_MAP = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"a": "1"}}
_SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "a"},
    "spec": {"ports": [{"port": 80}]},
}
_WORKSPACE = {
    "apiVersion": "kaito.sh/v1beta1",
    "kind": "Workspace",
    "metadata": {"name": "a"},
    "resource": {"instanceType": "Standard_NC12s_v3", "labelSelector": {"matchLabels": {"a": "b"}}},
    "inference": {"preset": {"name": "phi-4"}},
}


def _step(verb: str, obj: Object, body: object = None, **more: object) -> Object:
    made = {"kind": obj["kind"], "name": "a", "verb": verb, "body": obj if body is None else body, **more}
    return {**made, "query": {"fieldManager": "me", **(more.get("query") or {})}}  # type: ignore[dict-item]


def _with_limits(deployment: Object) -> Object:
    limited = {**_MAIN, "resources": {"limits": {"cpu": "1000m", "nvidia.com/gpu": 1}}}
    template = {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [limited]}}
    return {**deployment, "spec": {**_SPEC, "template": template}}


KNOWN: dict[str, list[Object]] = {
    "what a typed server writes anyway is nobody's": [_step("create", _DEPLOYMENT)],
    "a null in an apply removes nothing of others": [
        _step("create", _DEPLOYMENT, query={"fieldManager": "other"}),
        _step("apply", _DEPLOYMENT, {**_DEPLOYMENT, "spec": {"strategy": None}}),
    ],
    "a type error of a patch is the patch's": [
        _step("create", _CONFIG_MAP),
        _step("merge", _CONFIG_MAP, {"immutable": "yes"}),
        _step("strategic", _CONFIG_MAP, {"unknown": 1}, query={"fieldValidation": "Strict"}),
    ],
    "what is wrong comes before what is missing": [
        _step("put", _CONFIG_MAP, {**_CONFIG_MAP, "data": ["x"]}),
        _step("strategic", _WORKSPACE, {}),
    ],
    "some kinds are created by a PUT": [_step("put", _SERVICE), _step("put", _CONFIG_MAP)],
    "a deletion in the foreground shows what is left": [
        _step("create", _WORKSPACE),
        {"kind": "Workspace", "name": "a", "verb": "delete", "query": {"propagationPolicy": "Foreground"}},
    ],
    "a Service that is deleted is shown": [
        _step("create", _SERVICE),
        {"kind": "Service", "name": "a", "verb": "delete"},
    ],
    "the same port twice": [
        _step("create", _SERVICE, {**_SERVICE, "spec": {"ports": [{"port": 1, "name": "a"}, {"port": 1}]}})
    ],
    "a list that a strategic patch brings along is taken as it is": [
        _step("create", _DEPLOYMENT),
        _step(
            "strategic",
            _DEPLOYMENT,
            {"spec": {"template": {"spec": {"volumes": [{"name": "v"}, {"name": "v"}]}}}},
        ),
    ],
    "limits are requests too, in pods and not in their templates": [
        _step("create", _DEPLOYMENT, _with_limits(_DEPLOYMENT)),
    ],
    "a field goes whole with its owner": [
        _step("apply", _WORKSPACE),
        _step("apply", _WORKSPACE, {key: value for key, value in _WORKSPACE.items() if key != "inference"}),
    ],
    "nobody comes to own what nobody owned": [
        _step("apply", _CONFIG_MAP, {**_CONFIG_MAP, "data": None}),
        _step("put", _CONFIG_MAP, query={"fieldManager": "other"}),
        _step("apply", _CONFIG_MAP),
    ],
}


@pytest.mark.parametrize("name", KNOWN)
def test_what_was_once_answered_differently_is_not_again(bare_control_plane: ControlPlane, name: str) -> None:
    _compare(bare_control_plane, KNOWN[name])


def test_a_difference_is_found_and_can_be_replayed() -> None:
    """The comparison itself can fail: a server that forgets a field, or a write, is seen."""
    whole: Object = {"status": 200, "body": {"data": {"a": "1"}, "list": [1, 2]}, "warned": False}
    assert differences(whole, json.loads(json.dumps(whole))) == []
    assert differences(whole, {**whole, "body": {"list": [1, 2]}}) == ['.body.data: {"a": "1"} / "(absent)"']
    assert differences(whole, {**whole, "status": 201}) == [".status: 200 / 201"]
    steps = [_step("create", _CONFIG_MAP), _step("merge", _CONFIG_MAP, {"data": {"a": "2"}})]
    first, second = Side(InProcess()), Side(InProcess())
    assert differences(first.do(steps[0]), second.do(steps[0])) == []
    assert differences(first.do(steps[1]), second.do({**steps[1], "body": {}}))
    assert json.loads(replay(steps)) == steps
