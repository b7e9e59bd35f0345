"""What `validate` says of odd files that kubectl takes, as kubectl v1.32 and Kubernetes v1.37 do it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from shell import Shell

HEAD = "apiVersion: kaito.sh/v1alpha1\nkind: Workspace\nmetadata: {name: falcon}\n"
NODES = "resource: {instanceType: Standard_NC12s_v3, labelSelector: {matchLabels: {apps: x}}}\n"
MODEL = "inference: {preset: {name: falcon-7b}}\n"
JSON = (
    '{"apiVersion": "kaito.sh/v1alpha1", "kind": "Workspace", "metadata": {"name": "falcon"}, "resource": '
    '{"count": 1, "count": 2, "labelSelector": {"matchLabels": {"a": "b"}}}, '
    '"inference": {"preset": {"name": "falcon-7b"}}}'
)


def judged(offline: Shell, body: bytes, *, code: int) -> Any:
    (offline.home / "w.yaml").write_bytes(body)
    arguments = ["validate", "-f", "w.yaml", "--target-version", "v0.4", "-o", "json"]
    (document,) = json.loads(offline.kaitoctl(*arguments, code=code).stdout)["documents"]
    return document


@pytest.mark.parametrize(
    "body",
    [
        HEAD + NODES + "inference: {preset: {name: no-such}}\n" + MODEL,
        HEAD + NODES.replace("{instanceType", "{count: 2, count: 1, instanceType") + MODEL,
        HEAD.replace("name: falcon", "name: falcon, labels: {a: b, a: c}") + NODES + MODEL,
        JSON,
        HEAD + NODES + MODEL + "# f\xfcr uns\n",
        HEAD.replace("name: falcon", 'name: falcon, annotations: {note: "f\xfcr"}') + NODES + MODEL,
    ],
    ids=["top", "nested", "label", "json", "latin-1-comment", "latin-1-value"],
)
def test_what_kubectl_takes_is_admitted_and_is_an_error_of_the_file(offline: Shell, body: str) -> None:
    document = judged(offline, body.encode("latin-1"), code=2)
    assert (document["name"], document["admission"]) == ("falcon", "admits")
    first, *_ = (item for item in document["problems"] if item["code"] == "KW100")
    assert (first["severity"], first["kaito"]) == ("error", "admits")
    assert "kubectl takes it" in first["hint"]


@pytest.mark.parametrize(
    "body",
    [
        HEAD + NODES + MODEL + "inference: {preset: {name: no-such}}\n",  # the last one counts
        HEAD + NODES + "inference: {preset: {name: falcon-7b, name: no-such}}\n",
        HEAD.replace("falcon", "f\xfcr") + NODES + MODEL,
        HEAD + "resource: [\n" + MODEL,
        HEAD + NODES + MODEL + "extra: 1\nextra: 2\n",
    ],
    ids=["last-is-wrong", "nested-last-is-wrong", "latin-1-name", "syntax", "twice-unknown"],
)
def test_what_is_wrong_besides_is_refused(offline: Shell, body: str) -> None:
    assert judged(offline, body.encode("latin-1"), code=2)["admission"] == "refuses"


@pytest.mark.parametrize(
    "status",
    [
        "x",
        "5",
        "true",
        "[]",
        "{conditions: x}",
        "{conditions: [{type: 5}]}",
        "{workerNodes: 5}",
        "{workerNodes: [5]}",
    ],
)
def test_a_status_of_a_wrong_type_is_dropped(offline: Shell, status: str) -> None:
    document = judged(offline, (HEAD + NODES + MODEL + f"status: {status}\n").encode(), code=0)
    assert document["admission"] == "admits" and document["valid"]
    problems = [item for item in document["problems"] if item["path"].startswith("status")]
    assert problems and {(item["severity"], item["kaito"]) for item in problems} == {("warning", "ignores")}
    assert "server-side apply" in problems[0]["hint"]


@pytest.mark.parametrize("status", ["{foo: bar}", "{conditions: [{type: A, foo: b}]}"])
def test_an_unknown_field_of_the_status_is_refused_by_strict_decoding(offline: Shell, status: str) -> None:
    document = judged(offline, (HEAD + NODES + MODEL + f"status: {status}\n").encode(), code=2)
    assert document["admission"] == "refuses"
