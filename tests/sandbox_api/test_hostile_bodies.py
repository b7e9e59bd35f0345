"""Whatever is sent, the answer is a Status, and it is never the server's own fault."""

from __future__ import annotations

import copy
import json
import logging
import time
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sandbox_api.serving import (
    CONFIG_MAPS,
    CRDS,
    DEPLOYMENTS,
    PODS,
    WIDGETS,
    config_map,
    deployment,
    pod,
    widget,
    widget_crd,
)

from kaitoctl.kube import fast_json
from kaitoctl.kube.objects import Object
from kaitoctl.sandbox.api import Api, Call, Response

_ODD: st.SearchStrategy[Any] = st.sampled_from(
    [
        None,
        True,
        -1,
        1.5,
        10**30,
        "",
        "x",
        "Ü" * 70,
        "\ud800",
        [],
        [None],
        ["a", 1],
        {},
        {"": None},
        {"a": {"b": []}},
    ]
)
_FULL = pod("p", labels={"a": "b"}, annotations={"a": "b"}, finalizers=["a.b/c"])
_FULL["spec"]["containers"][0] |= {
    "env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "x"}}}],
    "ports": [{"containerPort": 1}],
    "readinessProbe": {"httpGet": {"port": 1}},
    "resources": {"limits": {"cpu": "1"}},
    "volumeMounts": [{"name": "v", "mountPath": "/v"}],
}
_FULL["spec"]["volumes"] = [{"name": "v", "configMap": {"name": "c"}}]
_SERVICE: Object = {"metadata": {"name": "s"}, "spec": {"type": "NodePort", "ports": [{"port": 1}]}}
_JOB: Object = {
    "metadata": {"name": "j"},
    "spec": {"template": {"spec": {"restartPolicy": "Never"} | _FULL["spec"]}},
}
_SET = {**deployment("s"), "kind": "StatefulSet"}
_BODIES = [
    (PODS, _FULL),
    (DEPLOYMENTS, deployment("d", strategy={"type": "RollingUpdate"})),
    ("/apis/apps/v1/namespaces/default/statefulsets", _SET),
    ("/apis/batch/v1/namespaces/default/jobs", _JOB),
    ("/api/v1/namespaces/default/services", _SERVICE),
    ("/api/v1/namespaces/default/secrets", {"metadata": {"name": "s"}, "stringData": {"a": "b"}}),
    ("/api/v1/namespaces/default/configmaps", config_map("c", a="b")),
    ("/api/v1/namespaces", {"metadata": {"name": "n"}, "spec": {"finalizers": ["kubernetes"]}}),
    (
        "/apis/coordination.k8s.io/v1/namespaces/default/leases",
        {"metadata": {"name": "l"}, "spec": {"leaseDurationSeconds": 1}},
    ),
    (CRDS, widget_crd()),
    (WIDGETS, widget("w", parts=[{"name": "a"}], tags=["x"], free={"a": 1})),
]


def _places(value: Any) -> list[list[Any]]:
    """The path of every value inside a value."""
    found: list[list[Any]] = [[]]
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, item in items:
        found += [[name, *path] for path in _places(item)]
    return found


def _mutated(obj: Any, path: list[Any], value: Any) -> Any:
    if not path:
        return value
    changed = copy.copy(obj)
    changed[path[0]] = _mutated(obj[path[0]], path[1:], value)
    return changed


@settings(max_examples=600, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_body_is_the_servers_own_fault(data: st.DataObject, caplog: pytest.LogCaptureFixture) -> None:
    api = Api()
    api.answer(Call("POST", CRDS, body=fast_json.encode(widget_crd())))
    path, obj = data.draw(st.sampled_from(_BODIES))
    name = obj["metadata"]["name"]
    body = _mutated(obj, data.draw(st.sampled_from(_places(obj))), data.draw(_ODD))
    how = data.draw(
        st.sampled_from(["POST", "PUT", "apply", "merge", "strategic", "json", "status", "scale"])
    )
    if how != "POST":
        api.answer(Call("POST", path, body=fast_json.encode(obj)))
    encoded = json.dumps(body).encode()
    query = {"fieldManager": "m", "force": "true"}
    patch = "application/merge-patch+json"
    if how == "POST":
        call = Call("POST", path, body=encoded)
    elif how == "PUT":
        call = Call("PUT", f"{path}/{name}", body=encoded)
    elif how == "apply":
        call = Call("PATCH", f"{path}/{name}", query, encoded, "application/apply-patch+yaml")
    elif how == "json":
        operation = {
            "op": "add",
            "path": data.draw(st.sampled_from(["/spec", "/spec/x", "/metadata", "", "/-"])),
            "value": body,
        }
        call = Call(
            "PATCH", f"{path}/{name}", {}, json.dumps([operation]).encode(), "application/json-patch+json"
        )
    else:
        below = f"/{how}" if how in ("status", "scale") else ""
        kind = patch.replace("merge", "strategic-merge") if how == "strategic" else patch
        call = Call("PATCH", f"{path}/{name}{below}", {}, encoded, kind)
    with caplog.at_level(logging.ERROR):
        answer = api.answer(call)
    assert isinstance(answer, Response)
    assert answer.status < 500 or b"failed to create typed patch object" in answer.body, (how, body)
    assert not caplog.records
    listed = api.answer(Call("GET", path))
    assert isinstance(listed, Response)
    assert listed.status in (200, 404)


def _large_objects(size: int) -> dict[str, tuple[str, Any]]:
    """Bodies whose size is in one list or map, by what grows."""
    names = [f"k{number}" for number in range(size)]
    container = {"name": "main", "image": "x", "env": [{"name": name, "value": "x"} for name in names]}
    spec = {
        "selector": {"matchLabels": {"app": "big"}},
        "template": {"metadata": {"labels": {"app": "big"}}, "spec": {"containers": [container]}},
    }
    config = config_map("big")
    finalizers = [f"example.com/{name}" for name in names]
    return {
        "data": (CONFIG_MAPS, config_map("big", **dict.fromkeys(names, "v"))),
        "finalizers": (CONFIG_MAPS, {**config, "metadata": {"name": "big", "finalizers": finalizers}}),
        "unknown fields": (WIDGETS, widget("big", **dict.fromkeys(names, 1))),
        "a list by key": (WIDGETS, widget("big", parts=[{"name": name} for name in names])),
        "a set": (WIDGETS, widget("big", tags=names)),
        "environment": (DEPLOYMENTS, {**deployment("big"), "spec": spec}),
    }


def _effort_s(path: str, obj: Any) -> float:
    """Processor seconds that the API takes to create, replace and twice apply an object."""
    api = Api()
    api.answer(Call("POST", CRDS, body=fast_json.encode(widget_crd())))
    body, as_yaml = fast_json.encode(obj), yaml.safe_dump(obj).encode()
    began = time.process_time()
    api.answer(Call("POST", path, body=body))
    api.answer(Call("PUT", f"{path}/big", body=body))
    for manager in ("one", "two"):
        query = {"fieldManager": manager, "force": "true"}
        api.answer(Call("PATCH", f"{path}/big", query, as_yaml, "application/apply-patch+yaml"))
    return time.process_time() - began


@pytest.mark.parametrize("what", list(_large_objects(1)))
def test_a_large_body_costs_by_its_size_and_not_by_its_square(what: str) -> None:
    # The least of three: a busy machine takes caches away, and makes the large one dearer than it is.
    small, large = (min(_effort_s(*_large_objects(size)[what]) for _ in range(3)) for size in (500, 8000))
    assert large / small < 80  # 16 for what is 16 times as large; its square would be 256


def test_a_yaml_body_is_read_as_the_api_server_reads_it() -> None:
    api = Api()
    text = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {time: 2024-01-01, on: 'x'}\n"
    apply = "application/apply-patch+yaml"
    answer = api.answer(Call("PATCH", f"{CONFIG_MAPS}/c", {"fieldManager": "m"}, text, apply))
    assert isinstance(answer, Response)
    assert json.loads(answer.body)["data"] == {"time": "2024-01-01", "true": "x"}
    for bad in (b"a: *b", b"a: 1\na: 2", b"---\na: 1\n---\nb: 2\n", b"\xff", b"[" * 5000):
        refused = api.answer(Call("PATCH", f"{CONFIG_MAPS}/c", {"fieldManager": "m"}, bad, apply))
        assert isinstance(refused, Response)
        assert refused.status == 400
