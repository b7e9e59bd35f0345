"""Whoever made a Workspace is known by owner references, labels and annotations."""

from __future__ import annotations

from typing import Any

import pytest
from builders import workspace

from kaitoctl.advice import text
from kaitoctl.kaito import ownership
from kaitoctl.kaito.ownership import owners


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({"labels": {"inferenceset.kaito.sh/created-by": "falcons"}}, "InferenceSet falcons"),
        (
            {
                "labels": {"app.kubernetes.io/managed-by": "Helm"},
                "annotations": {
                    "meta.helm.sh/release-name": "models",
                    "meta.helm.sh/release-namespace": "ai",
                },
            },
            "Helm release models in namespace ai",
        ),
        (
            {
                "labels": {
                    "kustomize.toolkit.fluxcd.io/name": "apps",
                    "kustomize.toolkit.fluxcd.io/namespace": "flux-system",
                }
            },
            "Flux Kustomization apps in namespace flux-system",
        ),
        ({"labels": {"helm.toolkit.fluxcd.io/name": "models"}}, "Flux HelmRelease models"),
        (
            {"annotations": {"argocd.argoproj.io/tracking-id": "argo_app:kaito.sh/Workspace:ai/falcon"}},
            "Argo CD Application app",
        ),
        ({"labels": {"argocd.argoproj.io/instance": "app"}}, "Argo CD Application app"),
        ({"labels": {"kapp.k14s.io/app": "17"}}, "kapp app 17"),
        ({"annotations": {"configmanagement.gke.io/managed": "enabled"}}, "Config Sync"),
        ({"labels": {"app.kubernetes.io/managed-by": "pulumi"}}, "pulumi"),
    ],
)
def test_the_tool_that_applies_it_is_named(metadata: dict[str, Any], expected: str) -> None:
    assert [owner.what for owner in owners(workspace(metadata=metadata))] == [expected]


def test_the_controller_comes_first_and_each_owner_once() -> None:
    references = [
        {"apiVersion": "v1", "kind": "ConfigMap", "name": "models", "uid": "c"},
        {"apiVersion": "kaito.sh/v1beta1", "kind": "InferenceSet", "name": "falcons", "controller": True},
    ]
    labels = {"inferenceset.kaito.sh/created-by": "falcons"}
    found = owners(workspace(metadata={"ownerReferences": references, "labels": labels}))
    assert [owner.what for owner in found] == ["InferenceSet falcons", "ConfigMap models"]
    assert text(found[0].instead).endswith("kubectl edit inferenceset.v1beta1.kaito.sh falcons -n default")


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"labels": {"app.kubernetes.io/managed-by": "Helm"}},  # without a release it is only a chart's habit
        {"annotations": {"configmanagement.gke.io/managed": "disabled"}},
        {"labels": {"addonmanager.kubernetes.io/mode": "EnsureExists"}},
    ],
)
def test_nobody_is_blamed_without_a_mark(metadata: dict[str, Any]) -> None:
    assert ownership.warnings(workspace(metadata=metadata)) == []
