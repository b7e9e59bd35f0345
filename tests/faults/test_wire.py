"""The controller as a process, with something going wrong between it and its API server, or with itself.

Each life ends as without faults: ready, one of each child and no more, nothing of others touched, few
writes, at rest, and no traceback.
"""

from __future__ import annotations

import asyncio
import itertools
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from faults import proxy as happens
from faults.proxy import Gate, Rule
from faults.wire import MOST_WRITES, Wire, wire

from kaitoctl import packaged
from kaitoctl.errors import ApiError
from kaitoctl.kaito import api as kaito
from kaitoctl.kube import conditions, request
from kaitoctl.kube.documents import load_yaml
from kaitoctl.kube.objects import CRD, DEPLOYMENT, LEASE, NODE, SERVICE, Object, dig, uid_of

if TYPE_CHECKING:
    from controlplane.plane import ControlPlane

Life = Callable[[Wire], Awaitable[None]]
Play = Callable[..., None]

_NUMBERS = itertools.count(1)


@pytest.fixture(params=["sandbox", pytest.param("control-plane", marks=pytest.mark.control_plane)])
def plane(request: pytest.FixtureRequest) -> ControlPlane | None:
    """The real control plane; None for a sandbox."""
    if request.param == "sandbox":
        return None
    chosen: ControlPlane = request.getfixturevalue("control_plane")
    return chosen


@pytest.fixture
def play(plane: ControlPlane | None, tmp_path: Path, count: Counter[str]) -> Play:
    """Run a life on a namespace of its own."""

    def playing(life: Life, **options: Any) -> None:
        async def whole() -> None:
            async with wire(tmp_path, f"wire-{next(_NUMBERS)}", plane, **options) as made:
                await life(made)

        count["lives over the wire"] += 1
        asyncio.run(whole())

    return playing


# --- the process dies -----------------------------------------------------------------------------------


def test_killed_before_and_after_each_write(play: Play, count: Counter[str]) -> None:
    """A process dies at its first write, before and after the server has done it; the next one goes on."""

    async def life(wire: Wire) -> None:
        await wire.create()
        deaths = 0
        for after in itertools.cycle((False, True)):
            gate = Gate(after)
            wire.proxy.rules = [Rule("write", "", gate)]
            controller = await wire.start()
            arrived = asyncio.create_task(gate.arrived.wait())
            ready = asyncio.create_task(wire.until(wire.is_ready))
            await asyncio.wait({arrived, ready}, return_when=asyncio.FIRST_COMPLETED)
            died = arrived.done()
            for task in (arrived, ready):
                task.cancel()
            await asyncio.gather(arrived, ready, return_exceptions=True)
            if not died:
                break
            await controller.kill()
            gate.opened.set()
            deaths += 1
            assert deaths < 40, f"no end of writes: {wire.proxy.writes()}"
        wire.proxy.rules = []
        count["deaths at a write"] += deaths
        # After the last one, that it is ready, the Workspace may be seen to be so before the process dies.
        assert deaths >= 11, f"{deaths} deaths: there are six writes at least"
        await wire.judge(most_writes=MOST_WRITES + deaths)
        assert len(await wire.claims()) == 1

    play(life, with_node=False)


# --- answers that are none ------------------------------------------------------------------------------

_ONCE: dict[str, list[tuple[str, str, happens.Act, int]]] = {
    "conflict-at-every-kind-of-write": [
        ("PATCH", "/services/", happens.refuse(409, "Conflict"), 1),
        ("PATCH", "/deployments/", happens.refuse(409, "Conflict"), 1),
        ("PATCH", "/status", happens.refuse(409, "Conflict"), 1),
        ("POST", "/controllerrevisions", happens.refuse(409, "AlreadyExists"), 1),
    ],
    "too-many-requests-retry-after-seconds": [
        ("write", "", happens.refuse(429, "TooManyRequests", retry_after="1"), 2)
    ],
    "unavailable-retry-after-a-date": [
        ("write", "", happens.refuse(503, retry_after="Wed, 21 Oct 2015 07:28:00 GMT"), 2)
    ],
    "unavailable": [("write", "", happens.refuse(503), 3)],
    "broken": [("", "", happens.refuse(500, "InternalError"), 4)],
    "reset": [("", "", happens.reset, 4)],
    "reply-lost": [
        ("PATCH", "/services/", happens.lose_reply, 1),
        ("PATCH", "/deployments/", happens.lose_reply, 1),
        ("PATCH", "/status", happens.lose_reply, 1),
        ("POST", "/controllerrevisions", happens.lose_reply, 1),
    ],
    "half-of-each-answer": [("LIST", "", happens.half, 3), ("write", "", happens.half, 3)],
    "html-instead-of-lists": [("LIST", "", happens.html, 3)],
    "another-shape-of-lists": [("LIST", "", happens.garbage, 3)],
    "slow": [("", "", happens.delay(0.4), 12)],
    "watch-reset": [("WATCH", "", happens.breaking_after(1), 20)],
    "watch-says-everything-twice": [("WATCH", "", happens.twice, 99)],
    "watch-gone-by-status": [("WATCH", "", happens.refuse(410, "Expired"), 12)],
    "watch-gone-by-event": [("WATCH", "", happens.gone, 12)],
    "no-right-to-deployments-for-a-while": [("PATCH", "/deployments/", happens.refuse(403, "Forbidden"), 2)],
}


@pytest.mark.parametrize("name", _ONCE)
def test_what_goes_wrong_once_leaves_nothing_behind(play: Play, name: str) -> None:
    async def life(wire: Wire) -> None:
        # The command's own first look, at the versions and the CRD, is left alone: without it, it ends there.
        wire.proxy.rules = [
            Rule(verb, path, act, times, skip={"": 2, "LIST": 1}.get(verb, 0))
            for verb, path, act, times in _ONCE[name]
        ]
        controller = await wire.start()
        await wire.create()
        # Until it has listed again, a store does not know what was written: each try is answered 409.
        stale = name.startswith("watch-gone")
        await wire.judge(most_writes=(3 if stale else 1.5) * MOST_WRITES)
        await controller.stop()

    play(life)


def test_a_list_as_it_was_some_time_ago_takes_nothing_back(play: Play) -> None:
    async def life(wire: Wire) -> None:
        first = await wire.start()
        await wire.create()
        await wire.until(wire.is_ready)
        path = kaito.WORKSPACE.path(wire.namespace)
        old = await wire.admin.text(path)
        await wire.create("style")
        await wire.until(wire.is_ready)
        after = await wire.get(DEPLOYMENT, "falcon")
        await first.kill()
        wire.proxy.asked.clear()
        gate = Gate()
        wire.proxy.rules = [
            Rule("LIST", "/workspaces$", happens.answering(old.encode()), skip=1),
            Rule("WATCH", "/workspaces$", gate),
        ]
        await wire.start()
        await asyncio.wait_for(gate.arrived.wait(), 30)
        await asyncio.sleep(1.0)
        assert await wire.get(DEPLOYMENT, "falcon") == after
        gate.opened.set()
        await wire.judge(most_writes=4, adapters=("style",))
        assert await wire.get(DEPLOYMENT, "falcon") == after

    play(life)


# --- the server goes and comes ---------------------------------------------------------------------------


def test_a_server_that_is_away_for_a_while(play: Play) -> None:
    async def life(wire: Wire) -> None:
        gate = Gate()
        wire.proxy.rules = [Rule("PATCH", "/deployments/", gate)]
        controller = await wire.start()
        await wire.create()
        await asyncio.wait_for(gate.arrived.wait(), 30)
        wire.proxy.is_down = True
        gate.opened.set()
        before = len(wire.proxy.asked)
        await asyncio.sleep(3.0)
        tries = len(wire.proxy.asked) - before
        assert tries < 150, f"{tries} requests in 3 s of outage"
        wire.proxy.is_down = False
        await wire.judge(most_writes=2 * MOST_WRITES)
        await controller.stop()

    play(life)


@pytest.mark.control_plane
def test_a_real_api_server_is_restarted(control_plane: ControlPlane, tmp_path: Path) -> None:
    async def life() -> None:
        async with wire(tmp_path, f"wire-{next(_NUMBERS)}", control_plane) as made:
            gate = Gate(after=True)
            made.proxy.rules = [Rule("PATCH", "/services/", gate)]
            controller = await made.start()
            await made.create()
            await asyncio.wait_for(gate.arrived.wait(), 30)
            control_plane.restart_api_server(kill=True)  # not in a thread: it would end with that
            gate.opened.set()
            await made.judge(most_writes=MOST_WRITES + 6)
            await controller.stop()

    asyncio.run(life())


# --- more than one, or one that is not well ---------------------------------------------------------------


def test_two_controllers_at_once(play: Play) -> None:
    async def life(wire: Wire) -> None:
        await wire.start()
        await wire.start()
        await wire.create("style")
        await wire.until(wire.is_ready)
        await wire.create()
        await wire.judge(most_writes=4 * MOST_WRITES)

    play(life)


def test_a_leader_that_sleeps_in_the_middle_of_a_pass_writes_nothing_when_it_wakes(play: Play) -> None:
    async def life(wire: Wire) -> None:
        gate = Gate()
        wire.proxy.rules = [Rule("PATCH", "/services/", gate)]
        first = await wire.start(f"--lease-namespace={wire.namespace}", lead=True)
        await wire.create()
        await asyncio.wait_for(gate.arrived.wait(), 30)
        first.process.send_signal(signal.SIGSTOP)
        gate.opened.set()
        lease = await wire.get(LEASE, f"kaitoctl-controller-{wire.namespace}")
        assert lease is not None
        assert lease["spec"]["holderIdentity"].endswith(f"-{first.process.pid}")
        second = await wire.start(f"--lease-namespace={wire.namespace}", lead=True)
        await wire.until(wire.is_ready, within_s=60)
        settled = {kind: await wire.get(kind, "falcon") for kind in (DEPLOYMENT, SERVICE, kaito.WORKSPACE)}
        before = wire.proxy.writes()
        first.process.send_signal(signal.SIGCONT)
        await asyncio.sleep(2.0)
        assert wire.proxy.writes() == before, "the sleeper has written"
        assert {kind: await wire.get(kind, "falcon") for kind in settled} == settled
        await wire.judge(most_writes=2 * MOST_WRITES)
        await first.stop()
        await second.stop()

    play(life)


def test_sigterm_in_the_middle_of_a_pass(play: Play) -> None:
    async def life(wire: Wire) -> None:
        gate = Gate()
        wire.proxy.rules = [Rule("PATCH", "/deployments/", gate)]
        first = await wire.start(f"--lease-namespace={wire.namespace}", lead=True)
        await wire.create()
        await asyncio.wait_for(gate.arrived.wait(), 30)
        await first.stop()
        gate.opened.set()
        lease = await wire.get(LEASE, f"kaitoctl-controller-{wire.namespace}")
        assert not dig(lease, "spec", "holderIdentity")
        await wire.start(f"--lease-namespace={wire.namespace}", lead=True)
        await wire.judge()

    play(life)


# --- what users and others do meanwhile --------------------------------------------------------------------


def test_deleted_and_created_again_in_the_middle_of_a_pass(play: Play) -> None:
    async def life(wire: Wire) -> None:
        gate = Gate()
        wire.proxy.rules = [Rule("PATCH", "/deployments/", gate)]
        await wire.start()
        old = await wire.create()
        await asyncio.wait_for(gate.arrived.wait(), 30)
        await wire.delete(kaito.WORKSPACE, "falcon")

        async def is_gone() -> bool:
            return await wire.get(kaito.WORKSPACE, "falcon") is None

        await wire.until(is_gone)
        new = await wire.create()
        assert uid_of(new) != uid_of(old)
        gate.opened.set()
        await wire.judge(most_writes=3 * MOST_WRITES)

    play(life)


def test_adapters_changed_in_the_middle_of_a_pass(play: Play) -> None:
    async def life(wire: Wire) -> None:
        gate = Gate()
        wire.proxy.rules = [Rule("PATCH", "/deployments/", gate)]
        await wire.start()
        await wire.create("first")
        await asyncio.wait_for(gate.arrived.wait(), 30)
        await wire.create("first", "second")
        await wire.create("second")
        gate.opened.set()
        await wire.judge(most_writes=3 * MOST_WRITES, adapters=("second",))

    play(life)


def test_a_foreign_object_comes_between_the_look_and_the_write(play: Play) -> None:
    async def life(wire: Wire) -> None:
        gate = Gate()
        wire.proxy.rules = [Rule("PATCH", "/services/falcon$", gate)]
        await wire.start()
        await wire.create()
        await asyncio.wait_for(gate.arrived.wait(), 30)
        theirs: Object = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "falcon", "namespace": wire.namespace},
            "spec": {"ports": [{"name": "http", "protocol": "TCP", "port": 80, "targetPort": 5000}]},
        }
        made = await wire.admin.send(request.create(SERVICE, theirs))
        gate.opened.set()

        async def is_told() -> bool:
            found = await wire.get(kaito.WORKSPACE, "falcon")
            condition = conditions.find(found or {}, kaito.INFERENCE_READY)
            return condition is not None and condition["reason"] == "NameConflict"

        await wire.until(is_told)
        assert await wire.get(SERVICE, "falcon") == made
        await wire.delete(SERVICE, "falcon")
        await wire.judge(most_writes=2 * MOST_WRITES)

    play(life)


def test_a_node_that_goes_in_the_middle_of_a_rollout(play: Play) -> None:
    async def life(wire: Wire) -> None:
        await wire.start()
        await wire.create()
        await wire.until(wire.is_ready)
        await wire.create("style")
        await wire.admin.send(request.delete(NODE, "", f"{wire.namespace}-gpu"))
        await wire.add_node("spare")
        # It may have bought a node in between; pods that were on the old one end with it.
        await wire.judge(most_writes=4 * MOST_WRITES, adapters=("style",))
        assert len(await wire.claims()) <= 1

    play(life)


def test_malformed_workspaces_of_others_hold_nobody_up(play: Play) -> None:
    async def life(wire: Wire) -> None:
        await wire.start()
        odd: list[Object] = [
            {"inference": {}},
            {"inference": {"preset": {"name": "no-such-model"}}},
            {"inference": {"preset": {"name": "falcon-7b"}, "adapters": [{"source": {"name": "A_B"}}]}},
            {"tuning": {"method": "full"}},
        ]
        for number, rest in enumerate(odd):
            obj = wire.workspace(f"odd-{number}")
            del obj["inference"]
            try:
                await wire.apply(kaito.WORKSPACE, {**obj, **rest})
            except ApiError as error:
                assert error.status in (400, 422)
        await wire.create()
        status = {"workerNodes": ["nobody"], "conditions": []}
        patch = request.merge_patch(
            kaito.WORKSPACE, wire.namespace, "falcon", {"status": status}, manager="x", subresource="status"
        )
        await wire.admin.send(patch)
        await wire.judge(most_writes=3 * MOST_WRITES)

    play(life)


def test_every_child_that_is_deleted_by_hand_comes_back(play: Play) -> None:
    async def life(wire: Wire) -> None:
        await wire.start()
        await wire.create()
        await wire.until(wire.is_ready)
        for kind in (SERVICE, DEPLOYMENT):
            before = await wire.get(kind, "falcon")
            assert before is not None
            await wire.delete(kind, "falcon")

            async def is_back(kind: Any = kind, before: Object = before) -> bool:
                now = await wire.get(kind, "falcon")
                return now is not None and uid_of(now) != uid_of(before)

            await wire.until(is_back, within_s=20)
        await wire.judge(most_writes=3 * MOST_WRITES)

    play(life)


def test_the_crd_is_taken_away_and_installed_again(tmp_path: Path) -> None:
    """On a sandbox alone: others use the control plane's CRDs."""

    async def life() -> None:
        async with wire(tmp_path, f"wire-{next(_NUMBERS)}", None) as made:
            controller = await made.start()
            await made.create()
            await made.until(made.is_ready)
            await made.delete(CRD, "workspaces.kaito.sh")

            async def is_gone() -> bool:
                return await made.get(CRD, "workspaces.kaito.sh") is None

            await made.until(is_gone)
            await asyncio.sleep(0.5)
            for file in sorted(packaged.folder("schemas").glob("*.yaml")):
                for crd in load_yaml(file.read_text(), str(file)):
                    await made.apply(CRD, crd)
            made.proxy.asked.clear()
            await made.create()
            await made.judge(most_writes=2 * MOST_WRITES)
            await controller.stop()

    asyncio.run(life())


# --- credentials and kinds that change --------------------------------------------------------------------


def test_a_token_that_is_replaced(play: Play, tmp_path: Path) -> None:
    async def life(wire: Wire) -> None:
        file = tmp_path / "token"
        file.write_text("first")
        wire.proxy.token = "first"
        controller = await wire.start(
            kubeconfig=wire.proxy.kubeconfig(tmp_path / "with-token", token_file=file)
        )
        await wire.create()
        await wire.until(wire.is_ready)
        file.write_text("second")
        wire.proxy.token = "second"
        await wire.create("style")
        await wire.judge(most_writes=2 * MOST_WRITES, adapters=("style",))
        assert "second" not in controller.text()

    play(life)
