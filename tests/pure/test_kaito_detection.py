"""Which KAITO a cluster runs: asked and said once for a connection, whoever wants it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from kaitoctl.commands.kaito_detection import as_said, kaito_here
from kaitoctl.commands.option_values import ManagedBy
from kaitoctl.errors import ApiError
from kaitoctl.kaito import catalog
from kaitoctl.kaito.validation import release_detection

KAITO = {
    "metadata": {"name": "kaito", "namespace": "kaito-workspace"},
    "spec": {
        "replicas": 1,
        "template": {"spec": {"containers": [{"image": "mcr.microsoft.com/aks/kaito/workspace:0.4.6"}]}},
    },
}


class Cluster:
    """One that runs KAITO v0.4.6, or whose Deployments cannot be listed; it counts the questions."""

    def __init__(self, status: int = 200) -> None:
        self.status, self.asked = status, 0

    async def list(self, *_: Any, **__: Any) -> Any:
        self.asked += 1
        if self.status != 200:
            raise ApiError(self.status, "", "away")
        return SimpleNamespace(items=[KAITO])


@pytest.mark.parametrize(
    ("status", "words"), [(200, "judged for KAITO v0.4.6"), (503, "could not be detected")]
)
def test_a_command_that_asks_twice_says_it_once(
    capsys: pytest.CaptureFixture[str], status: int, words: str
) -> None:
    cluster: Any = Cluster(status)

    async def both() -> list[str | None]:
        pinned = await as_said(cluster, ManagedBy(None, "byo"), ["v1alpha1"])
        return [pinned.provisioner, (await as_said(cluster, ManagedBy(None, None))).provisioner]

    assert asyncio.run(both()) == ["byo", None], "what the user says of one question is not kept for the next"
    assert capsys.readouterr().err.count(words) == 1
    assert cluster.asked == 1


def test_another_connection_asks_for_itself_and_a_refused_login_is_never_kept() -> None:
    first, second, refused = Cluster(), Cluster(), Cluster(401)
    for cluster in (first, second):
        asyncio.run(kaito_here(cluster, ["v1alpha1"]))  # type: ignore[arg-type]
    assert (first.asked, second.asked) == (1, 1)
    for _ in range(2):
        with pytest.raises(ApiError):
            asyncio.run(kaito_here(refused, ["v1alpha1"]))  # type: ignore[arg-type]
    assert refused.asked == 2


def lease(name: str, provisioner: str, renewed: str = "2026-01-01T00:00:00.000000Z", **spec: Any) -> Any:
    notes = {"kaitoctl.dev/node-provisioner": provisioner, "kaitoctl.dev/kaito-version": "v0.12"}
    held = {"holderIdentity": "host-1", "leaseDurationSeconds": 15, "renewTime": renewed, **spec}
    return {"metadata": {"name": name, "namespace": "default", "annotations": notes}, "spec": held}


NOW = datetime(2026, 1, 1, 0, 0, 10, tzinfo=UTC)
OWN_ONE = lease("kaitoctl-controller", "byo")


@pytest.mark.parametrize(
    ("leases", "provisioner"),
    [
        ([OWN_ONE], "byo"),
        ([lease("kaitoctl-controller-models", "karpenter"), OWN_ONE], "karpenter"),
        ([lease("kaitoctl-controller-others", "karpenter"), OWN_ONE], "byo"),
        ([lease("kaitoctl-controller-others", "karpenter")], None),
        ([lease("kaitoctl-controller", "byo", "2025-12-31T23:00:00.000000Z")], None),
        ([lease("kaitoctl-controller", "byo", "never")], None),
        ([lease("kaitoctl-controller", "byo", holderIdentity="")], None),
        ([], None),
    ],
)
def test_a_controller_at_work_tells_by_its_lease_how_it_runs(leases: Any, provisioner: str | None) -> None:
    found = release_detection.own_controller(leases, "models", NOW)
    assert (None if found is None else found.provisioner) == provisioner
    assert found is None or (found.target, found.made_as) == ("kaitoctl", "v0.12")


OURS = {
    "metadata": {"name": "kaitoctl-controller", "namespace": "kaitoctl-system"},
    "spec": {
        "template": {"spec": {"containers": [{"image": "r.io/kaitoctl:1", "args": ["run-controller"]}]}}
    },
}


class WithLease:
    """A cluster where only kaitoctl's controller runs, on somebody's own machine."""

    namespace = "default"

    def __init__(self, *deployments: Any) -> None:
        self.deployments = list(deployments)

    async def list(self, kind: Any, *_: Any, **__: Any) -> Any:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        is_lease = kind.plural == "leases"
        held = [lease("kaitoctl-controller", "byo", now)]
        return SimpleNamespace(items=held if is_lease else self.deployments)


@pytest.mark.parametrize("deployments", [[], [OURS]])
@pytest.mark.parametrize("said", [None, "kaitoctl"])
def test_the_provisioner_of_a_controller_outside_of_the_cluster_counts(
    said: str | None, deployments: Any
) -> None:
    cluster: Any = WithLease(*deployments)
    found = asyncio.run(as_said(cluster, ManagedBy(said, None), ["v1beta1"]))
    assert (found.target, found.provisioner, found.byo, found.made_as) == ("kaitoctl", "byo", True, "v0.12")
    rules = found.rules_for({"resource": {"instanceType": "Standard_NC24ads_A100_v4"}}, catalog.SHIPPED)
    assert rules.nobody and not rules.is_byo
    named = asyncio.run(as_said(cluster, ManagedBy(said, "karpenter"), ["v1beta1"]))
    assert named.provisioner == "karpenter", "what the user says goes first"
