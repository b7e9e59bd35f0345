"""Restarts that end early: which Workspaces are left is told, and never that a repeat is safe."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from planned_world import PlannedDirect, PlannedWorld, settle, written
from virtual_time import run
from world import falcon

from kaitoctl.advice import text
from kaitoctl.commands import restart
from kaitoctl.commands.option_values import NOT_SAID
from kaitoctl.commands.target import Target
from kaitoctl.errors import ApiError, KaitoctlError, Unreachable
from kaitoctl.kaito import api as kaito
from kaitoctl.kaito.catalog import SHIPPED
from kaitoctl.kube.objects import DEPLOYMENT, Object
from kaitoctl.kube.request import Request

OPTIONS = restart._RestartOptions(
    "none", yes=True, wait=False, timeout_s=None, catalog=SHIPPED, managed=NOT_SAID
)


class Failing(PlannedDirect):
    """Fails at the restart of the Workspace of one name.

    Args:
        world: the cluster.
        name: whose restart fails.
        error: of each try.
        stays_away: whether nobody may look what became of it either.
    """

    def __init__(self, world: PlannedWorld, name: str, error: KaitoctlError, *, stays_away: bool) -> None:
        super().__init__(world)
        self._name, self._error, self._stays_away = name, error, stays_away
        self._is_away = False

    async def send(self, asked: Request) -> Object:
        if self._is_away or (asked.method == "PATCH" and asked.path.endswith(f"/{self._name}")):
            self._is_away = self._stays_away
            raise self._error
        return await super().send(asked)


@pytest.fixture
def world() -> Iterator[PlannedWorld]:
    made = PlannedWorld()
    for name in "abc":
        metadata = {"name": name, "namespace": "default"}
        written(made, {**falcon(labelSelector={"matchLabels": {"apps": name}}), "metadata": metadata})
    settle(made)
    yield made


def failed(client: Failing, names: str) -> KaitoctlError:
    world = client.world
    running = [
        (dict(world.get(kaito.WORKSPACE, one) or {}), dict(world.get(DEPLOYMENT, one) or {})) for one in names
    ]
    with pytest.raises(KaitoctlError) as caught:
        run(restart._each(client, Target(), running, OPTIONS))  # type: ignore[arg-type]
    return caught.value


@pytest.mark.parametrize("status", [0, 500, 502, 503, 504], ids=lambda status: str(status or "unreachable"))
@pytest.mark.parametrize("names", ["b", "abc"])
def test_what_may_have_been_restarted_is_not_said_to_be_safe_to_restart(
    world: PlannedWorld, status: int, names: str
) -> None:
    failure = ApiError(status, "", "not now") if status else Unreachable("cannot reach the API server")
    error = failed(Failing(world, "b", failure, stays_away=True), names)
    hint = text(error.hint)
    assert "whether Deployment default/b was restarted is unknown" in error.message
    assert "safe" not in hint and "would restart it once more" in hint
    assert ("not restarted: Workspace default/c" in error.message) == (names == "abc")
    assert ("then kaitoctl restart c -n default continues where this stopped" in hint) == (names == "abc")


@pytest.mark.parametrize(
    "error", [ApiError(403, "Forbidden", 'User "amy" cannot patch'), ApiError(503, "", "not now")]
)
def test_one_that_was_not_restarted_is_among_those_that_are_left(
    world: PlannedWorld, error: ApiError
) -> None:
    found = failed(Failing(world, "b", error, stays_away=False), "abc")
    assert found.message.endswith("; not restarted: Workspace default/b, Workspace default/c")
    assert "kaitoctl restart b c -n default continues where this stopped" in text(found.hint)


def test_of_a_single_one_nothing_is_left_to_go_on_with(world: PlannedWorld) -> None:
    error = failed(Failing(world, "b", ApiError(403, "Forbidden", "no"), stays_away=False), "b")
    assert error.message.startswith("no") and "not restarted" not in error.message
    assert "continues" not in text(error.hint)
