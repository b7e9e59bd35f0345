"""What a client for somebody who waits does about trouble that may pass, and what it says meanwhile."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import virtual_time
from fake_server import serving

from kaitoctl.errors import ApiError, Unreachable
from kaitoctl.kube import request
from kaitoctl.kube.client import Client, connect
from kaitoctl.kube.kubeconfig import Server
from kaitoctl.kube.objects import CONFIG_MAP, POD
from kaitoctl.kube.request import Request

OK = {"kind": "ConfigMap", "metadata": {"name": "a"}, "items": []}
APPLY = request.apply(
    CONFIG_MAP, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}, manager="m"
)
READ = Request("GET", "/api/v1/namespaces/n/configmaps/a")


class Trouble:
    """A server that does what the script says, one entry for each request, and then answers.

    An entry is a status, a status with headers, a number of seconds of silence, or `lost`.
    """

    def __init__(self, *script: Any, for_good: bool = False) -> None:
        self._script = list(script)
        self._for_good = for_good
        self.asked_at: list[float] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = head.lower().partition("content-length: ")[2].partition("\r\n")[0]
                await reader.readexactly(int(length or 0))
                self.asked_at.append(asyncio.get_running_loop().time())
                entry = (self._script[0] if self._for_good else self._script.pop(0)) if self._script else 200
                if entry == "lost":
                    break
                if isinstance(entry, float):
                    await asyncio.sleep(entry)
                    entry = 200
                status, *headers = entry if isinstance(entry, tuple) else (entry,)
                said = OK if status == 200 else {"kind": "Status", "message": f"the server says {status}"}
                body = json.dumps(said)
                more = "".join(f"{line}\r\n" for line in headers)
                writer.write(
                    f"HTTP/1.1 {status} X\r\n{more}Content-Length: {len(body)}\r\n\r\n{body}".encode()
                )
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.transport.abort()


def told(
    server: Trouble, use: Callable[[Client], Awaitable[Any]], *, patient: bool = True, **more: Any
) -> tuple[Any, float]:
    """What a client gets, or the error, and the moment."""

    async def main() -> tuple[Any, float]:
        tasks: set[asyncio.Task[None]] = set()
        listening = await asyncio.start_server(
            lambda reader, writer: tasks.add(asyncio.create_task(server.serve(reader, writer))),
            "127.0.0.1",
            0,
        )
        port = listening.sockets[0].getsockname()[1]
        address = Server(f"http://127.0.0.1:{port}")
        try:
            async with Client(address, patient=patient, says_waits=True, **more) as client:
                try:
                    answer = await use(client)
                except (ApiError, Unreachable) as error:
                    answer = error
                return answer, asyncio.get_running_loop().time()
        finally:
            listening.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.sleep(0)  # transports close in the next round of the loop

    return virtual_time.run(main())


def test_what_passes_is_not_noticed() -> None:
    for entry in (
        503,
        502,
        "lost",
        (429, "Retry-After: 2"),
        (503, "Retry-After: 1"),
        (500, "Retry-After: 1"),
    ):
        server = Trouble(entry, entry)
        answer, _ = told(server, lambda client: client.send(READ))
        assert answer == OK, entry
        assert len(server.asked_at) == 3


def test_it_waits_as_long_as_it_was_asked_to() -> None:
    server = Trouble((429, "Retry-After: 4"))
    told(server, lambda client: client.send(APPLY))
    first, second = server.asked_at
    assert second - first >= 4


@pytest.mark.parametrize("entry", [503, "lost", (429, "Retry-After: 1"), (429, "Retry-After: 60")])
def test_what_does_not_pass_is_told_in_time_in_the_words_of_the_server(entry: Any) -> None:
    answer, at_s = told(Trouble(entry, for_good=True), lambda client: client.send(READ))
    assert at_s < 15
    status = entry[0] if isinstance(entry, tuple) else entry
    assert ("closed the connection" if entry == "lost" else f"the server says {status}") in str(answer)


def test_a_command_that_asks_much_is_patient_once() -> None:
    async def much(client: Client) -> None:
        for _ in range(20):
            with suppress(ApiError):
                await client.send(READ)

    _, at_s = told(Trouble(503, for_good=True), much)
    assert at_s < 15


def test_a_write_that_may_have_been_done_is_not_sent_twice() -> None:
    for asked in (Request("POST", "/api/v1/namespaces/n/configmaps", body=OK), request.delete(POD, "n", "a")):
        server = Trouble("lost")
        answer, _ = told(server, lambda client, asked=asked: client.send(asked))  # type: ignore[misc]
        assert isinstance(answer, Unreachable)
        assert len(server.asked_at) == 1


def test_an_apply_is_sent_again_when_its_answer_was_lost() -> None:
    server = Trouble("lost")
    answer, _ = told(server, lambda client: client.send(APPLY))
    assert answer == OK
    assert len(server.asked_at) == 2


def test_who_is_not_patient_hears_of_it_at_once() -> None:
    """A controller has a queue, and back-off of its own."""
    server = Trouble(503)
    answer, _ = told(server, lambda client: client.send(READ), patient=False)
    assert isinstance(answer, ApiError)
    assert len(server.asked_at) == 1


def test_a_long_wait_is_said_and_a_short_one_is_not(caplog: pytest.LogCaptureFixture) -> None:
    told(Trouble(1.0), lambda client: client.send(READ))
    assert caplog.messages == []
    answer, _ = told(Trouble(10.0), lambda client: client.send(READ))
    assert answer == OK
    (said,) = caplog.messages
    assert re.fullmatch(r"waiting for http://127\.0\.0\.1:\d+ \.\.\.", said)


def test_a_wait_for_what_may_pass_says_what_that_is(caplog: pytest.LogCaptureFixture) -> None:
    told(Trouble(503, for_good=True), lambda client: client.send(READ))
    (said,) = caplog.messages
    assert "the server says 503" in said


def test_many_requests_that_wait_say_so_once(caplog: pytest.LogCaptureFixture) -> None:
    async def many(client: Client) -> None:
        await asyncio.gather(*(client.send(READ) for _ in range(12)))

    told(Trouble(*[9.0] * 12), many)
    assert len(caplog.messages) == 1


@pytest.mark.parametrize(
    ("timeout_s", "least", "most"), [(None, 25, 35), (2.0, 1.9, 3), (float("inf"), 200, 210)]
)
def test_silence_ends_with_the_timeout(timeout_s: float | None, least: float, most: float) -> None:
    answer, at_s = told(Trouble(200.0), lambda client: client.send(READ), request_timeout_s=timeout_s)
    assert least <= at_s <= most
    assert (answer == OK) is (timeout_s == float("inf"))


def test_a_write_may_wait_for_webhooks() -> None:
    answer, _ = told(Trouble(45.0), lambda client: client.send(APPLY))
    assert answer == OK


def test_what_the_server_warns_of_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    old, odd = 'Warning: 299 - "old"', 'Warning: 299 - "odd \\"field\\""'
    both = f"{old}\r\n{odd}"
    server = Trouble((200, old), (200, both), (403, old), (200, 'Warning: 199 - "not ours"'))

    async def four(client: Client) -> None:
        for _ in range(4):
            with suppress(ApiError):
                await client.send(READ)

    told(server, four)
    assert caplog.messages == ["the API server warns: old", 'the API server warns: odd "field"']


def test_a_list_whose_next_page_is_forgotten_is_asked_for_at_once(tmp_path: Path) -> None:
    """As client-go's pager does: a page that comes five minutes late finds its place compacted away."""
    pages = {True: ["a"], False: ["a", "b"]}

    def answer(method: str, path: str) -> tuple[int, str]:
        if "continue=" in path:
            status = {"kind": "Status", "status": "Failure", "reason": "Expired", "code": 410}
            return 410, json.dumps({**status, "message": "The provided continue parameter is too old"})
        is_paged = "limit=" in path
        metadata = {"resourceVersion": "7", **({"continue": "x"} if is_paged else {})}
        items = [{"metadata": {"name": name, "namespace": "n"}} for name in pages[is_paged]]
        return 200, json.dumps({"kind": "ConfigMapList", "metadata": metadata, "items": items})

    async def listed() -> list[str]:
        async with connect(kubeconfig=Path(kubeconfig)) as client:
            return [item["metadata"]["name"] for item in (await client.list(CONFIG_MAP)).items]

    with serving(answer, tmp_path) as kubeconfig:
        assert asyncio.run(listed()) == ["a", "b"]
