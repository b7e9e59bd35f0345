"""What observers see: how each reconcile went, and each exchange with the server."""

from __future__ import annotations

import asyncio
from collections.abc import Generator

from reconcile.api_server import ApiServer
from virtual_time import run

from kaitoctl.errors import ApiError, Unreachable
from kaitoctl.kube import request
from kaitoctl.kube.client import Client, Exchange
from kaitoctl.kube.kubeconfig import Server
from kaitoctl.kube.objects import CONFIG_MAP, Object, ObjectKey
from kaitoctl.kube.request import Request
from kaitoctl.reconcile.controller import Controller, Outcome, ReconcileResult, own_key, run_all
from kaitoctl.reconcile.informer import Informer


def reconcile(of: ObjectKey) -> Generator[Request, Object, Outcome]:
    """Ends as the object's name says."""
    yield request.get(CONFIG_MAP, of.namespace, of.name)
    if of.name == "requeued":
        return Outcome(requeue_after_s=1000.0)
    if of.name == "conflict":
        raise ApiError(409, "Conflict", "somebody wrote first")
    if of.name == "error":
        raise ApiError(500, "InternalError", "no")
    if of.name == "bug":
        raise ZeroDivisionError
    return Outcome()


def test_each_pass_is_told_with_its_result_and_its_times() -> None:
    told: list[ReconcileResult] = []

    async def story() -> None:
        api = ApiServer()
        names = ("done", "requeued", "conflict", "error", "bug")
        for name in names:
            api.put(CONFIG_MAP, name)
        async with api.running() as client:
            informer = Informer(client, CONFIG_MAP)
            controller = Controller("test", client, reconcile, workers=1, observer=told.append)
            controller.watches(informer, own_key)
            running = asyncio.create_task(run_all(informer, controller))
            await asyncio.sleep(1.0)  # of virtual time
            # Those that failed wait for another try, the one that asked waits for its time.
            assert controller.waiting >= 2
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    run(story())
    results = {worked.key.name: worked.result for worked in told}
    assert results == {
        "done": "done",
        "requeued": "requeued",
        "conflict": "conflict",
        "error": "error",
        "bug": "error",
    }
    assert all(worked.waited_s >= 0 and worked.worked_s >= 0 for worked in told)


def test_each_exchange_is_told_once_with_its_status() -> None:
    told: list[Exchange] = []

    async def story() -> None:
        api = ApiServer()
        api.put(CONFIG_MAP, "a")
        async with api.running() as client:
            client._transport._observer = told.append
            await client.send(request.get(CONFIG_MAP, "default", "a"))
            try:
                await client.send(request.get(CONFIG_MAP, "default", "none"))
            except ApiError as error:
                assert error.status == 404

    run(story())
    assert [(item.method, item.status) for item in told] == [("GET", 200), ("GET", 404)]
    assert all(item.took_s >= 0 for item in told)


def test_an_exchange_without_an_answer_has_no_status() -> None:
    told: list[Exchange] = []

    async def story() -> None:
        async with Client(Server("http://127.0.0.1:1"), observer=told.append) as client:
            try:
                await client.send(request.get(CONFIG_MAP, "default", "a"))
            except Unreachable:
                return
        raise AssertionError("somebody answers on port 1")

    run(story())
    assert [(item.method, item.status) for item in told] == [("GET", None)]


def test_an_observer_that_raises_spoils_no_answer() -> None:
    """What it raises while a request is cancelled would take the place of the cancellation."""

    def fails(_: Exchange) -> None:
        raise RuntimeError("observer")

    async def story() -> None:
        api = ApiServer()
        api.put(CONFIG_MAP, "a")
        async with api.running(), Client(Server(api.url), observer=fails) as client:
            assert (await client.send(request.get(CONFIG_MAP, "default", "a")))["metadata"]["name"] == "a"

    run(story())
