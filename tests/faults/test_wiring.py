"""What plans cannot show, for they begin where a pass begins: who calls for a pass, and how often."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import virtual_time
from faults.proxy import Rule, Upstream, refuse, swallowing
from faults.proxy import running as proxy_running
from faults.wire import Wire

from kaitoctl import packaged, workspace_controller
from kaitoctl.commands.sandbox_server import shapes
from kaitoctl.kube.client import connect
from kaitoctl.kube.documents import load_yaml
from kaitoctl.kube.objects import DEPLOYMENT, SERVICE, Kind, Object, uid_of
from kaitoctl.reconcile.backoff import Backoff
from kaitoctl.reconcile.controller import Controller
from kaitoctl.sandbox.cluster import cluster

_SOON_S = 5.0
_OUTAGE_S = 120.0
_MOST_TRIES = 24
"""Requests of one Workspace while nothing can be written for two minutes."""


def live(home: Path, life: Callable[[Wire], Awaitable[None]]) -> None:
    """Run the controller in this process, in virtual time, behind a proxy before a sandbox."""

    async def whole() -> None:
        files = sorted(packaged.folder("schemas").glob("*.yaml"))
        crds = [crd for file in files for crd in load_yaml(file.read_text(), str(file))]
        async with cluster(speed=20, instance_types=shapes(), crds=crds) as up:
            up.write_kubeconfig(home / "admin")
            upstream = Upstream(up.address, {"Authorization": f"Bearer {up.token}"})
            async with connect(kubeconfig=home / "admin") as admin, proxy_running(upstream) as proxy:
                made = Wire(home, admin, proxy, "default")
                await made.add_node()
                async with connect(kubeconfig=proxy.kubeconfig(home / "kubeconfig")) as client:
                    running = asyncio.create_task(workspace_controller.run(client, namespace="default"))
                    try:
                        await life(made)
                    finally:
                        running.cancel()
                        await asyncio.gather(running, return_exceptions=True)

    virtual_time.run(whole())


def repaired_soon(home: Path, kind: Kind) -> bool:
    """Whether a child that somebody deletes is made again at once, and not by the next resync."""
    found: list[bool] = []

    async def life(wire: Wire) -> None:
        await wire.create()
        await wire.until(wire.is_ready)
        before = await wire.get(kind, "falcon")
        assert before is not None
        await wire.delete(kind, "falcon")
        await asyncio.sleep(_SOON_S)
        now = await wire.get(kind, "falcon")
        found.append(now is not None and uid_of(now) != uid_of(before))

    live(home, life)
    return found[0]


@pytest.mark.parametrize("kind", [SERVICE, DEPLOYMENT], ids=lambda kind: kind.kind)
def test_a_child_that_is_deleted_by_hand_is_back_at_once(tmp_path: Path, kind: Kind) -> None:
    assert repaired_soon(tmp_path, kind)


def test_services_that_are_not_watched_are_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: Counter[str]
) -> None:
    watches = Controller.watches

    def without_services(self: Controller, informer: Any, keys: Any) -> None:
        watches(self, informer, (lambda _: ()) if informer.kind is SERVICE else keys)

    monkeypatch.setattr(Controller, "watches", without_services)
    count["defects put in"] += 1
    assert not repaired_soon(tmp_path, SERVICE)
    count["of them found"] += 1


def tries_in_an_outage(home: Path) -> int:
    """How many requests a Workspace costs while every write is answered 503, and that it recovers."""
    tries: list[int] = []

    async def life(wire: Wire) -> None:
        wire.proxy.rules = [Rule("write", "", refuse(503), times=10**9)]
        await wire.create()
        await asyncio.sleep(_OUTAGE_S)
        tries.append(sum(asked.is_write for asked in wire.proxy.asked))
        wire.proxy.rules = []
        await wire.until(wire.is_ready, within_s=600)

    live(home, life)
    return tries[0]


def test_an_outage_of_two_minutes_costs_few_requests(tmp_path: Path) -> None:
    assert tries_in_an_outage(tmp_path) <= _MOST_TRIES


def test_a_missing_back_off_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: Counter[str]
) -> None:
    monkeypatch.setattr(Backoff, "delay", lambda self, now: 0.5)
    count["defects put in"] += 1
    assert tries_in_an_outage(tmp_path) > _MOST_TRIES
    count["of them found"] += 1


def test_an_event_that_got_lost_is_made_good_by_a_list_after_two_hours(tmp_path: Path) -> None:
    async def life(wire: Wire) -> None:
        wire.proxy.rules = [Rule("WATCH", "/services$", swallowing(b'"DELETED"'), times=10**9)]
        await wire.create()
        await wire.until(wire.is_ready)
        before: Object | None = await wire.get(SERVICE, "falcon")
        assert before is not None
        await wire.delete(SERVICE, "falcon")
        await asyncio.sleep(2.2 * 3600)
        now = await wire.get(SERVICE, "falcon")
        assert now is not None
        assert uid_of(now) != uid_of(before)

    live(tmp_path, life)
