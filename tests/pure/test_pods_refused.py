"""Custom pods: what the webhook cannot decode is refused, what Kubernetes refuses later never gets ready."""

from __future__ import annotations

from typing import Any

import pytest
from builders import workspace

from kaitoctl.kaito import validation
from kaitoctl.kaito.validation import Setting

GOOD = {"name": "a", "image": "r.io/a:1"}
TARGETS = ("v0.3", "v0.4", "v0.12")


def of(template: Any, target: str) -> list[tuple[str, str, str]]:
    obj = workspace()
    obj["inference"] = {"template": template}
    obj["resource"]["instanceType"] = "Standard_NC24ads_A100_v4"
    found = validation.judge(obj, Setting(target))
    return [(p.code, p.kaito, p.path.removeprefix("inference.template")) for p in found if "templ" in p.path]


def pod(*containers: Any, **spec: Any) -> Any:
    return {"spec": {"containers": list(containers), **spec}}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    ("template", "path"),
    [
        ({}, ".spec.containers"),
        ({"metadata": {"labels": {"a": "b"}}}, ".spec.containers"),
        ({"spec": {}}, ".spec.containers"),
        ({"spec": {"containers": None}}, ".spec.containers"),
        (pod(), ".spec.containers"),
        (pod({"name": "a"}), ".spec.containers[0].image"),
        (pod({"name": "a", "image": " r.io/a:1"}), ".spec.containers[0].image"),
        (pod({"image": "r.io/a:1"}), ".spec.containers[0].name"),
        (pod({**GOOD, "name": "A_b"}), ".spec.containers[0].name"),
        (pod(GOOD, GOOD), ".spec.containers[1].name"),
        (pod(GOOD, initContainers=[GOOD]), ".spec.containers[0].name"),
        (pod(GOOD, restartPolicy="Never"), ".spec.restartPolicy"),
        (pod(GOOD, restartPolicy="OnFailure"), ".spec.restartPolicy"),
        (
            pod({**GOOD, "volumeMounts": [{"name": "w", "mountPath": "/w"}]}),
            ".spec.containers[0].volumeMounts[0].name",
        ),
    ],
)
def test_what_kubernetes_refuses_never_gets_ready(template: Any, path: str, target: str) -> None:
    assert of(template, target) == [("KW189", "never-ready", path)]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    ("template", "path"),
    [
        ("x", ""),
        ([], ""),
        (7, ""),
        ({"spec": "x"}, ".spec"),
        ({"spec": {"containers": {"name": "a"}}}, ".spec.containers"),
        ({"spec": {"containers": ["a"]}}, ".spec.containers[0]"),
        (pod(GOOD, volumes={}), ".spec.volumes"),
    ],
)
def test_what_the_webhook_cannot_decode_is_refused(template: Any, path: str, target: str) -> None:
    assert ("KW105", "refuses", path) in of(template, target)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    "template",
    [
        pod(GOOD),
        pod(GOOD, restartPolicy="Always"),
        pod(GOOD, {**GOOD, "name": "b"}, initContainers=[{**GOOD, "name": "c"}]),
        pod(
            {**GOOD, "volumeMounts": [{"name": "w", "mountPath": "/w"}]},
            volumes=[{"name": "w", "emptyDir": {}}],
        ),
    ],
)
def test_a_pod_that_kubernetes_takes_is_no_problem(template: Any, target: str) -> None:
    assert of(template, target) == []
