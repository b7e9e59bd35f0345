"""At most one works, for exactly as long as it holds the Lease."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from reconcile.api_server import ApiServer
from virtual_time import run

from kaitoctl.kube import request
from kaitoctl.kube.client import Client
from kaitoctl.kube.conditions import parse_timestamp
from kaitoctl.kube.objects import LEASE, Object, ObjectKey
from kaitoctl.reconcile.leader_election import LeaderElection


def now() -> float:
    return asyncio.get_running_loop().time()


class Candidate:
    """One who writes down when it worked, and whom a test can cut off from the server."""

    def __init__(self, api: ApiServer, client: Client, identity: str, **options: Any) -> None:
        self.election = LeaderElection(client, namespace="default", name="lead", identity=identity, **options)
        self.worked: list[list[float]] = []
        self.task = asyncio.create_task(self.election.run(self.work))

    async def work(self) -> str:
        assert self.election.is_leader
        self.worked.append([now(), float("inf")])
        try:
            await asyncio.sleep(10**6)
        finally:
            self.worked[-1][1] = now()
        return "never"

    def is_working(self) -> bool:
        return bool(self.worked) and self.worked[-1][1] == float("inf")

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


def play(story: Callable[[ApiServer, Client], Awaitable[None]]) -> None:
    async def played() -> None:
        api = ApiServer()
        async with api.running() as client:
            await story(api, client)

    run(played())


def lease(api: ApiServer) -> Object:
    return api.all(LEASE)[ObjectKey("default", "lead")]


def holder(api: ApiServer) -> str:
    return str(lease(api)["spec"]["holderIdentity"])


def outage(http: web.Request) -> web.Response:
    return web.json_response({"kind": "Status", "code": 500, "message": "down"}, status=500)


def silence(_: web.Request) -> web.Response:
    """An answer that begins and never goes on."""
    return web.Response(headers={"Content-Length": "1000"})


def overlap(*candidates: Candidate) -> bool:
    spans = sorted(span for candidate in candidates for span in candidate.worked)
    return any(later[0] < earlier[1] for earlier, later in itertools.pairwise(spans))


def test_first_candidate_creates_the_lease_and_renews_it() -> None:
    async def story(api: ApiServer, client: Client) -> None:
        one = Candidate(api, client, "one")
        await asyncio.sleep(1)
        spec = lease(api)["spec"]
        assert spec["holderIdentity"] == "one"
        assert spec["leaseDurationSeconds"] == 15
        assert spec["leaseTransitions"] == 0
        for name in ("acquireTime", "renewTime"):
            assert spec[name].endswith("Z")
            assert len(spec[name]) == len("2026-01-01T00:00:00.000000Z")
            parse_timestamp(spec[name])
        version = lease(api)["metadata"]["resourceVersion"]
        await asyncio.sleep(600)
        assert one.is_working()
        assert one.election.is_leader
        assert len(one.worked) == 1
        assert lease(api)["metadata"]["resourceVersion"] != version
        assert lease(api)["spec"]["acquireTime"] == spec["acquireTime"]
        assert len(api.verbs("GET")) <= 2  # a leader renews with one request
        await one.stop()

    play(story)


def test_second_candidate_waits_and_takes_over_when_the_first_stops() -> None:
    async def story(api: ApiServer, client: Client) -> None:
        one = Candidate(api, client, "one")
        await asyncio.sleep(1)
        two = Candidate(api, client, "two")
        await asyncio.sleep(600)
        assert one.is_working()
        assert not two.worked
        assert not two.election.is_leader
        await one.stop()
        assert holder(api) == ""
        assert not one.is_working()
        await asyncio.sleep(3)
        assert two.is_working()
        assert lease(api)["spec"]["leaseTransitions"] == 1
        assert not overlap(one, two)
        await two.stop()

    play(story)


def test_many_candidates_at_once_make_one_leader() -> None:
    async def story(api: ApiServer, client: Client) -> None:
        candidates = [Candidate(api, client, f"c{number}") for number in range(8)]
        await asyncio.sleep(60)
        assert sum(candidate.is_working() for candidate in candidates) == 1
        for candidate in candidates:
            await candidate.stop()
        assert not overlap(*candidates)

    play(story)


def test_lease_of_a_dead_leader_is_taken_after_its_duration_as_we_saw_it() -> None:
    async def story(api: ApiServer, client: Client) -> None:
        # A clock that is hours ahead or behind changes nothing: times in the record are not looked at.
        spec = {
            "holderIdentity": "dead",
            "leaseDurationSeconds": 40,
            "renewTime": "2001-01-01T00:00:00.000000Z",
        }
        api.put(LEASE, "lead", spec=spec)
        one = Candidate(api, client, "one")
        await asyncio.sleep(39)
        assert not one.worked
        await asyncio.sleep(5)
        assert one.is_working()
        assert lease(api)["spec"]["leaseTransitions"] == 1
        await one.stop()

    play(story)


def test_work_ends_at_the_renew_deadline_and_before_others_may_start() -> None:
    async def story(api: ApiServer, client: Client) -> None:
        async with api.client(token="one") as cut_off:
            one = Candidate(api, cut_off, "one")
            await asyncio.sleep(1)
            two = Candidate(api, client, "two")
            await asyncio.sleep(20)
            cut_at = now()

            def only_one_is_cut_off(http: web.Request) -> web.Response | None:
                return outage(http) if http.headers.get("Authorization") == "Bearer one" else None

            api.faults.append(only_one_is_cut_off)
            await asyncio.sleep(30)
            assert one.worked[0][1] - cut_at <= 10
            assert not one.election.is_leader
            assert two.is_working()
            assert not overlap(one, two)
            api.faults.clear()
            await two.stop()
            await asyncio.sleep(5)
            assert one.is_working()  # it went back to waiting
            assert len(one.worked) == 2
            await one.stop()

    play(story)


def test_short_outage_does_not_end_the_work() -> None:
    async def story(api: ApiServer, client: Client) -> None:
        one = Candidate(api, client, "one")
        await asyncio.sleep(10)
        api.faults.append(outage)
        await asyncio.sleep(6)
        api.faults.clear()
        await asyncio.sleep(60)
        assert one.is_working()
        assert len(one.worked) == 1
        await one.stop()

    play(story)


def test_answer_that_never_comes_does_not_prolong_the_lead() -> None:
    async def story(api: ApiServer, client: Client) -> None:
        one = Candidate(api, client, "one")
        await asyncio.sleep(1)
        connection_made_at = now()
        api.faults.append(silence)
        await asyncio.sleep(15)
        assert one.worked[0][1] - connection_made_at <= 10
        api.faults.clear()
        await one.stop()

    play(story)


def test_lease_taken_by_somebody_else_ends_the_work_with_the_next_renewal() -> None:
    async def story(api: ApiServer, client: Client) -> None:
        one = Candidate(api, client, "one")
        await asyncio.sleep(1)
        taken = {**lease(api)["spec"], "holderIdentity": "usurper"}
        api.put(LEASE, "lead", spec=taken)
        await asyncio.sleep(2.5)
        assert not one.is_working()
        assert holder(api) == "usurper"
        await one.stop()
        assert holder(api) == "usurper"  # what is not ours is not given back

    play(story)


@pytest.mark.parametrize("what", ["annotated", "deleted", "emptied"])
def test_lease_that_somebody_touched_is_kept(what: str) -> None:
    async def story(api: ApiServer, client: Client) -> None:
        one = Candidate(api, client, "one")
        await asyncio.sleep(1)
        if what == "deleted":
            api.remove(LEASE, "lead")
        elif what == "emptied":
            api.put(LEASE, "lead", spec={})
        else:
            api.put(LEASE, "lead", spec=lease(api)["spec"], metadata={"annotations": {"x": "y"}})
        await asyncio.sleep(60)
        assert one.is_working()
        assert len(one.worked) == 1
        assert holder(api) == "one"
        await one.stop()

    play(story)


def test_result_of_the_work_is_returned_and_the_lease_given_back() -> None:
    async def story(api: ApiServer, client: Client) -> None:
        async def work() -> str:
            await asyncio.sleep(30)
            return "done"

        election = LeaderElection(client, namespace="default", name="lead", identity="one")
        assert await election.run(work) == "done"
        assert holder(api) == ""
        assert not election.is_leader
        renewed = lease(api)["metadata"]["resourceVersion"]
        await asyncio.sleep(60)
        assert lease(api)["metadata"]["resourceVersion"] == renewed

    play(story)


def test_crash_of_the_work_ends_renewing_and_is_raised() -> None:
    async def story(api: ApiServer, client: Client) -> None:
        async def work() -> None:
            await asyncio.sleep(5)
            raise ZeroDivisionError("crash")

        election = LeaderElection(client, namespace="default", name="lead", identity="one")
        with pytest.raises(ZeroDivisionError):
            await election.run(work)
        assert holder(api) == ""
        writes = api.writes
        await asyncio.sleep(60)
        assert api.writes == writes

    play(story)


def test_lease_is_renewed_until_cancelled_work_has_really_ended() -> None:
    async def story(api: ApiServer, client: Client) -> None:
        ended: list[float] = []

        async def work() -> None:
            try:
                await asyncio.sleep(10**6)
            finally:
                await asyncio.sleep(25)  # longer than a lease lasts
                assert holder(api) == "one"
                ended.append(now())

        election = LeaderElection(client, namespace="default", name="lead", identity="one")
        task = asyncio.create_task(election.run(work))
        await asyncio.sleep(5)
        two = Candidate(api, client, "two")
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()
        assert holder(api) == ""
        await asyncio.sleep(5)
        assert two.worked[0][0] >= ended[0]
        await two.stop()

    play(story)


def test_lease_is_given_back_when_cancelled_before_the_claim_was_answered() -> None:
    async def story(api: ApiServer, client: Client) -> None:
        claimed = asyncio.Event()

        def notes(http: web.Request) -> None:
            if http.method == "POST":
                claimed.set()

        api.faults.append(notes)
        one = Candidate(api, client, "one")
        await claimed.wait()
        await one.stop()
        assert not one.worked
        await asyncio.sleep(1)
        assert holder(api) == ""

    play(story)


@pytest.mark.parametrize("dead", [outage, silence])
def test_giving_back_waits_for_no_dead_server(dead: Callable[[web.Request], web.Response]) -> None:
    async def story(api: ApiServer, client: Client) -> None:
        one = Candidate(api, client, "one")
        await asyncio.sleep(1)
        api.faults.append(dead)
        began = now()
        await one.stop()
        assert now() - began <= 5

    play(story)


def test_candidate_waits_out_an_outage() -> None:
    async def story(api: ApiServer, client: Client) -> None:
        api.faults.append(outage)
        one = Candidate(api, client, "one")
        await asyncio.sleep(60)
        assert not one.worked
        assert not one.task.done()
        api.faults.clear()
        await asyncio.sleep(5)
        assert one.is_working()
        await one.stop()

    play(story)


def test_frozen_process_is_not_the_leader_when_it_wakes() -> None:
    async def story(api: ApiServer, client: Client) -> None:
        one = Candidate(api, client, "one")
        await asyncio.sleep(1)
        loop: Any = asyncio.get_running_loop()
        loop._jumping.now += 30  # SIGSTOP: the clock went on, and no code ran
        assert not one.election.is_leader
        await asyncio.sleep(0.1)
        assert one.worked[0][1] < float("inf")
        await one.stop()

    play(story)


def test_a_lease_tells_of_its_holder_and_keeps_what_others_wrote() -> None:
    async def story(api: ApiServer, client: Client) -> None:
        one = Candidate(api, client, "one")
        await asyncio.sleep(1)
        assert "labels" not in lease(api)["metadata"]
        await one.stop()
        theirs = {"metadata": {"annotations": {"theirs": "kept"}}}
        await client.send(request.merge_patch(LEASE, "default", "lead", theirs, manager="test"))
        two = Candidate(api, client, "two", labels={"app": "x"}, notes={"how": "byo"})
        await asyncio.sleep(10)
        assert two.is_working()
        assert lease(api)["metadata"]["labels"] == {"app": "x"}
        assert lease(api)["metadata"]["annotations"] == {"theirs": "kept", "how": "byo"}
        await two.stop()

    play(story)


def test_figures_that_cannot_work_are_refused() -> None:
    async def story(api: ApiServer, client: Client) -> None:
        with pytest.raises(ValueError, match="duration > renew deadline"):
            LeaderElection(client, namespace="d", name="n", identity="i", renew_deadline_s=20)

    play(story)
