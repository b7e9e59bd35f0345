"""Which KAITO a cluster runs: asked and said once for a connection, whoever wants it."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from kaitoctl.commands.kaito_detection import as_said, kaito_here
from kaitoctl.commands.option_values import ManagedBy
from kaitoctl.errors import ApiError

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
