"""Signs of KAITO's controller at work, as its releases leave them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from builders import workspace

from kaitoctl.advice import text
from kaitoctl.kaito import kaito_at_work
from kaitoctl.kube.objects import Object

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def deployment(image: str, *, wanted: int | None = 1, ready: int = 1, **container: Any) -> Object:
    return {
        "kind": "Deployment",
        "metadata": {"name": "workspace", "namespace": "kaito-workspace", "labels": {}},
        "spec": {
            "template": {"spec": {"containers": [{"name": "workspace", "image": image, **container}]}},
            **({} if wanted is None else {"replicas": wanted}),
        },
        "status": {"readyReplicas": ready},
    }


ENV = [
    {"name": "WEBHOOK_SERVICE", "value": "x"},
    {"name": "PRESET_REGISTRY_NAME", "value": "mcr.microsoft.com"},
]


@pytest.mark.parametrize(
    "found",
    [
        deployment("mcr.microsoft.com/aks/kaito/workspace:0.4.6"),
        deployment("ghcr.io/kaito-project/kaito/workspace:0.12.0@sha256:" + "0" * 64),
        deployment("registry.example:5000/mirror/kaito/workspace:v0.3.2", ready=0),
        deployment("registry.example/llm-operator:7", env=ENV),
        deployment("mcr.microsoft.com/aks/kaito/workspace:0.4.6", wanted=None, ready=0),
        deployment("mcr.microsoft.com/aks/kaito/workspace:0.4.6", wanted=0, ready=1),
    ],
)
def test_kaitos_deployment_is_one_that_has_pods_or_wants_some(found: Object) -> None:
    (rival,) = kaito_at_work.of_deployments([found])
    assert "Deployment kaito-workspace/workspace" in rival.words
    assert text(rival.stop) == "kubectl scale deployment workspace -n kaito-workspace --replicas=0"
    assert not kaito_at_work.is_installed_and_stopped([found])


def test_one_that_is_scaled_to_nothing_is_stopped() -> None:
    stopped = deployment("mcr.microsoft.com/aks/kaito/workspace:0.4.6", wanted=0, ready=0)
    assert kaito_at_work.of_deployments([stopped]) == []
    assert kaito_at_work.is_installed_and_stopped([stopped])
    assert not kaito_at_work.is_installed_and_stopped([])


@pytest.mark.parametrize(
    "found",
    [
        deployment("mcr.microsoft.com/aks/kaito/ragengine:0.4.6"),
        deployment("mcr.microsoft.com/aks/kaito/kaito-base:0.5.0"),
        deployment("registry.example/kaitoctl:0.1.0", args=["run-controller"]),
        deployment("registry.example/workspace:1"),
        deployment("registry.example/other:1", env=ENV[:1]),
    ],
)
def test_other_deployments_are_no_rivals(found: Object) -> None:
    assert kaito_at_work.of_deployments([found]) == []


def test_an_add_on_of_aks_is_switched_off_where_it_is_switched_on() -> None:
    addon = deployment("mcr.microsoft.com/aks/kaito/workspace:0.4.6")
    addon["metadata"]["labels"] = {"kubernetes.azure.com/managedby": "aks"}
    (rival,) = kaito_at_work.of_deployments([addon])
    assert "--disable-ai-toolchain-operator" in rival.stop
    assert "kubectl scale" not in rival.stop


def lease(renewed: timedelta, holder: str = "workspace-abc_1") -> Object:
    return {
        "metadata": {"name": kaito_at_work.LEASE, "namespace": "kaito-workspace"},
        "spec": {
            "holderIdentity": holder,
            "leaseDurationSeconds": 15,
            "renewTime": (NOW - renewed).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        },
    }


def test_a_lease_counts_while_it_is_renewed() -> None:
    found = kaito_at_work.of_lease(lease(timedelta(seconds=5)), NOW)
    assert found is not None
    assert "workspace-abc_1" in found.words
    assert kaito_at_work.of_lease(lease(timedelta(seconds=-5)), NOW) is not None, "its clock is ahead of ours"
    assert kaito_at_work.of_lease(lease(timedelta(minutes=2)), NOW) is None
    assert kaito_at_work.of_lease(lease(timedelta(0), holder=""), NOW) is None
    assert kaito_at_work.of_lease({"metadata": {"name": "l", "namespace": "n"}, "spec": {}}, NOW) is None


def written(manager: str, ago: timedelta, **entry: Any) -> Object:
    made = workspace()
    time = (NOW - ago).strftime("%Y-%m-%dT%H:%M:%SZ")
    made["metadata"]["managedFields"] = [{"manager": manager, "time": time, **entry}]
    return made


def test_a_write_of_kaitos_counts_while_it_is_young() -> None:
    recent = written("manager", timedelta(seconds=30), subresource="status")
    for one in (recent, written("kaito-workspace", timedelta(seconds=30))):
        assert kaito_at_work.of_writes([one], NOW, kaito_at_work.JUST_NOW) is not None
    assert (
        kaito_at_work.of_writes([recent, written("manager", timedelta(hours=1))], NOW, kaito_at_work.JUST_NOW)
        is not None
    )
    assert (
        kaito_at_work.of_writes([written("manager", timedelta(minutes=5))], NOW, kaito_at_work.JUST_NOW)
        is None
    )
    assert (
        kaito_at_work.of_writes([written("manager", timedelta(minutes=5))], NOW, kaito_at_work.LATELY)
        is not None
    )
    for other in ("kubectl-client-side-apply", "kaitoctl", "kaitoctl-controller", "helm"):
        assert kaito_at_work.of_writes([written(other, timedelta(0))], NOW, kaito_at_work.LATELY) is None
    assert (
        kaito_at_work.of_writes(
            [written("manager", timedelta(0)) | {"metadata": {}}], NOW, kaito_at_work.LATELY
        )
        is None
    )
