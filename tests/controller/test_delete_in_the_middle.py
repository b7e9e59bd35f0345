"""Deletions that end early: what is gone and what is left is told, and one command does the rest."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from direct import Direct
from virtual_time import run
from world import World, falcon

from kaitoctl.advice import Command, text
from kaitoctl.commands.delete import send_all
from kaitoctl.commands.one_by_one import Progress
from kaitoctl.errors import ApiError, KaitoctlError, Unreachable
from kaitoctl.kaito import api as kaito
from kaitoctl.kube.objects import CONFIG_MAP, Kind, Object
from kaitoctl.kube.request import Request

AGAIN = Command("kaitoctl delete a b c --ignore-not-found")
GOES_ON = "kaitoctl delete a b c --ignore-not-found continues where this stopped"
OURS = "Workspace default/"


class Failing(Direct):
    """Fails at the deletion of the object of one name.

    Args:
        world: the cluster.
        name: whose deletion fails.
        error: of each try; the last one of every further one.
        is_done: whether the server deletes before it fails.
        stays_away: whether nothing else is answered from then on.
    """

    def __init__(
        self, world: World, name: str, *error: KaitoctlError, is_done: bool, stays_away: bool = False
    ) -> None:
        super().__init__(world)
        self._name, self._errors, self._is_done = name, list(error), is_done
        self._stays_away, self._is_gone = stays_away, False

    async def send(self, asked: Request) -> Object:
        if self._is_gone:
            raise Unreachable("cannot reach the API server")
        if asked.method == "DELETE" and asked.path.endswith(f"/{self._name}") and self._errors:
            if self._is_done:
                await super().send(asked)
            self._is_gone = self._stays_away
            raise self._errors.pop(0)
        return await super().send(asked)


def shown(world: World) -> list[tuple[Kind, Object]]:
    """Two Workspaces, and a ConfigMap that goes with them."""
    for name in "ab":
        obj = falcon()
        world.apply(kaito.WORKSPACE, {**obj, "metadata": {"name": name, "namespace": "default"}})
    data = {"inference_config.yaml": "vllm: {}"}
    metadata = {"name": "c", "namespace": "default"}
    world.apply(CONFIG_MAP, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})
    kinds = {"a": kaito.WORKSPACE, "b": kaito.WORKSPACE, "c": CONFIG_MAP}
    return [(kind, dict(world.get(kind, name) or {})) for name, kind in kinds.items()]


def there(world: World) -> list[str]:
    found = [name for name in "ab" if world.get(kaito.WORKSPACE, name)]
    return found + ["c"] * (world.get(CONFIG_MAP, "c") is not None)


def sent(world: World, client: Any, *, dry_run: str = "none") -> Progress:
    progress = Progress("deleted", AGAIN)
    run(send_all(client, shown(world), progress, dry_run=dry_run))
    return progress


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("a", f"deleted: nothing; not deleted: {OURS}a, {OURS}b, ConfigMap default/c"),
        ("b", f"deleted: {OURS}a; not deleted: {OURS}b, ConfigMap default/c"),
        ("c", f"deleted: {OURS}a, {OURS}b; not deleted: ConfigMap default/c"),
    ],
)
def test_the_kind_that_may_not_be_deleted_leaves_the_rest_and_one_command(name: str, told: str) -> None:
    world = World()
    refused = ApiError(403, "Forbidden", 'User "amy" cannot delete it')
    with pytest.raises(ApiError) as caught:
        sent(world, Failing(world, name, refused, is_done=False))
    assert caught.value.message.endswith(f"cannot delete it; {told}")
    resource = "configmaps" if name == "c" else "workspaces.kaito.sh"
    assert f"you need get and delete on {resource} in this namespace; then {GOES_ON}" == text(
        caught.value.hint
    )
    assert there(world) == list("abc")["abc".index(name) :]


@pytest.mark.parametrize("number", [0, 1, 2])
def test_what_was_applied_before_is_told_with_a_single_deletion_that_fails(number: int) -> None:
    """As with --prune."""
    world = World()
    applied = Progress("applied", AGAIN, [f"{OURS}new-{one}" for one in range(number)], done=number)
    progress = Progress("deleted", AGAIN, before=applied)
    client: Any = Failing(world, "a", ApiError(403, "Forbidden", "no"), is_done=False)
    with pytest.raises(ApiError) as caught:
        run(send_all(client, shown(world)[:1], progress, dry_run="none"))
    names = ", ".join(applied.titles)
    before = f"applied: {names}; " if number else ""
    assert caught.value.message.endswith(f"no; {before}deleted: nothing; not deleted: {OURS}a")
    assert text(caught.value.hint).endswith(GOES_ON)


def test_of_a_dry_run_that_is_refused_nothing_is_said_to_be_done() -> None:
    world = World()
    progress = Progress("deleted", AGAIN, before=Progress("applied", AGAIN))
    client: Any = Failing(world, "a", ApiError(403, "Forbidden", "no"), is_done=False)
    with pytest.raises(ApiError, match=r"no$"):
        run(send_all(client, shown(world), progress, dry_run="server"))


@pytest.mark.parametrize("is_done", [False, True])
def test_a_server_that_comes_back_ends_the_deletion(
    is_done: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whether it lost the request or the answer: the uid makes the same once more safe."""
    world = World()
    lost = Unreachable("cannot reach the API server")
    progress = sent(world, Failing(world, "b", lost, is_done=is_done))
    assert progress.done == 3 and there(world) == []
    told = capsys.readouterr()
    assert "workspace.kaito.sh/b deleted" in told.out
    assert ("the connection broke before the answer; Workspace default/b was deleted" in told.err) == is_done


@pytest.mark.parametrize("is_done", [False, True])
def test_what_may_be_deleted_is_not_said_to_be_left(is_done: bool) -> None:
    world = World()
    lost = Unreachable("cannot reach the API server")
    with pytest.raises(Unreachable) as caught:
        sent(world, Failing(world, "b", lost, is_done=is_done, stays_away=True))
    assert "whether Workspace default/b was deleted is unknown" in caught.value.message
    assert caught.value.message.endswith(f"; deleted: {OURS}a; not deleted: ConfigMap default/c")
    assert GOES_ON in caught.value.hint


def test_one_of_the_same_name_that_came_meanwhile_stays() -> None:
    """The answer is lost, the Workspace is gone, and somebody has created another one."""
    world = World()

    class Replacing(Failing):
        async def send(self, asked: Request) -> Object:
            try:
                return await super().send(asked)
            except Unreachable:
                metadata = {"name": "b", "namespace": "default"}
                world.apply(kaito.WORKSPACE, {**falcon(), "metadata": metadata})
                raise

    sent(world, Replacing(world, "b", Unreachable("cannot reach the API server"), is_done=True))
    assert there(world) == ["b"]


@pytest.mark.parametrize("name", "abc")
def test_who_interrupts_learns_what_is_gone_what_is_left_and_what_nobody_knows(name: str) -> None:
    world, held = World(), asyncio.Event()

    class Silent(Direct):
        async def send(self, asked: Request) -> Object:
            if asked.method == "DELETE" and asked.path.endswith(f"/{name}"):
                held.set()
                await asyncio.Event().wait()
            return await super().send(asked)

    progress = Progress("deleted", AGAIN)

    async def interrupted() -> None:
        sending = asyncio.ensure_future(send_all(Silent(world), shown(world), progress, dry_run="none"))  # type: ignore[arg-type]
        await held.wait()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending

    run(interrupted())
    unknown, _, told = progress.interrupted_words().partition("; ")
    assert unknown.startswith("whether ") and unknown.endswith(f"/{name} was deleted is unknown")
    left = {"a": f"{OURS}b, ConfigMap default/c", "b": "ConfigMap default/c", "c": ""}[name]
    gone = {"a": "nothing", "b": f"{OURS}a", "c": f"{OURS}a, {OURS}b"}[name]
    assert told == f"deleted: {gone}" + (f"; not deleted: {left}" if left else "")


@pytest.mark.parametrize("dry_run", ["client", "server"])
def test_a_dry_run_that_is_interrupted_has_deleted_nothing(dry_run: str) -> None:
    world = World()
    progress = sent(world, Direct(world), dry_run=dry_run)
    assert there(world) == ["a", "b", "c"] and not progress.has_begun
