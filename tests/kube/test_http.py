"""What our HTTP client makes of what servers send, also of what no API server should send."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest
import virtual_time

from kaitoctl.kube import http
from kaitoctl.kube.http import Broken, Pool, TooLarge

Script = list[list[bytes | None]]
"""For each connection, what is sent for each request; None closes the connection instead."""

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Server:
    """A server that reads requests and sends what the script says, byte by byte if asked to."""

    def __init__(self, script: Script, *, trickle: bool = False) -> None:
        self._script = script
        self._trickle = trickle
        self.heads: list[str] = []
        self.connections = 0
        self.address = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers = self._script[self.connections] if self.connections < len(self._script) else []
        self.connections += 1
        with suppress(OSError, asyncio.IncompleteReadError):
            for answer in answers:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                self.heads.append(head)
                length = [line for line in head.lower().split("\r\n") if line.startswith("content-length")]
                await reader.readexactly(int(length[0].partition(":")[2]) if length else 0)
                if answer is None:
                    break
                for piece in [answer[i : i + 1] for i in range(len(answer))] if self._trickle else [answer]:
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0)
        writer.close()


def talk(script: Script, use: Callable[[Pool], Awaitable[object]], *, trickle: bool = False) -> Server:
    """Run `use` with a pool for a server that follows the script."""

    async def main() -> Server:
        server = Server(script, trickle=trickle)
        listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
        port = listening.sockets[0].getsockname()[1]
        pool = Pool(f"http://127.0.0.1:{port}/base", ssl=None, connect_timeout_s=5)
        try:
            await use(pool)
        finally:
            await pool.close()
            listening.close()
        return server

    return virtual_time.run(main())


async def body_of(pool: Pool, method: str = "GET", body: bytes | None = None) -> tuple[int, bytes]:
    answer = await pool.ask(method, "/x?a=b", {"Accept": "application/json"}, body)
    try:
        return answer.status, bytes(await answer.read())
    finally:
        answer.close()


FRAMINGS = {
    "length": OK,
    "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1;ext=1\r\nk\r\n0\r\n\r\n",
    "trailers": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nEtag: x\r\n\r\n",
    "gzip": b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s"
    % (len(gzip.compress(b"ok")), gzip.compress(b"ok")),
    "announced": b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
    "HTTP/1.0 kept": b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
}


@pytest.mark.parametrize("trickle", [False, True], ids=["at once", "byte by byte"])
@pytest.mark.parametrize("framing", FRAMINGS)
def test_an_answer_is_read_however_it_is_framed_and_its_connection_kept(framing: str, trickle: bool) -> None:
    answers: list[tuple[int, bytes]] = []

    async def use(pool: Pool) -> None:
        answers.extend([await body_of(pool), await body_of(pool)])

    server = talk([[FRAMINGS[framing], OK]], use, trickle=trickle)
    assert answers == [(200, b"ok"), (200, b"ok")]
    assert server.connections == 1
    assert server.heads[0].startswith("GET /base/x?a=b HTTP/1.1\r\nHost: 127.0.0.1:")


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    ],
)
def test_a_connection_that_the_server_will_close_is_not_used_again(answer: bytes) -> None:
    answers: list[tuple[int, bytes]] = []

    async def use(pool: Pool) -> None:
        answers.extend([await body_of(pool), await body_of(pool)])

    assert talk([[answer, OK], [OK]], use).connections == 2
    assert answers == [(200, b"ok"), (200, b"ok")]


def test_an_answer_without_length_goes_on_until_the_connection_ends() -> None:
    answers: list[tuple[int, bytes]] = []

    async def use(pool: Pool) -> None:
        answers.append(await body_of(pool))

    talk([[b"HTTP/1.1 200 OK\r\n\r\nok"]], use)
    assert answers == [(200, b"ok")]


@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_that_never_has_a_body_is_not_waited_for(status: int) -> None:
    answers: list[tuple[int, bytes]] = []

    async def use(pool: Pool) -> None:
        answers.extend([await body_of(pool), await body_of(pool)])

    server = talk([[b"HTTP/1.1 %d X\r\n\r\n" % status, OK]], use)
    assert answers == [(status, b""), (200, b"ok")]
    assert server.connections == 1


BROKEN = {
    "nothing": None,
    "no HTTP": b"220 mail.example ESMTP\r\n\r\n",
    "no status": b"HTTP/1.1 abc OK\r\nContent-Length: 2\r\n\r\nok",
    "half a head": b"HTTP/1.1 200 OK\r\nContent-Le",
    "half a body": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok",
    "half a chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nok",
    "no last chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
    "no chunk size": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nok\r\n0\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
    "a negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok",
    "length and chunks": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"2\r\nok\r\n0\r\n\r\n",
    "an endless head": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000,
    "another protocol": b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: spdy\r\n\r\n",
    "gzip that is none": b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nok",
}  # fmt: skip


@pytest.mark.parametrize("what", BROKEN)
def test_what_is_no_whole_answer_is_an_error_and_never_an_empty_body(what: str) -> None:
    async def use(pool: Pool) -> None:
        with pytest.raises(Broken):
            await body_of(pool)

    assert talk([[BROKEN[what]], [BROKEN[what]]], use).connections == 1


def test_a_get_is_asked_again_when_the_server_has_just_closed_a_kept_connection() -> None:
    answers: list[tuple[int, bytes]] = []

    async def use(pool: Pool) -> None:
        answers.extend([await body_of(pool), await body_of(pool)])

    assert talk([[OK, None], [OK]], use).connections == 2
    assert answers == [(200, b"ok"), (200, b"ok")]


def test_a_write_is_never_sent_twice() -> None:
    async def use(pool: Pool) -> None:
        await body_of(pool)
        with pytest.raises(Broken):
            await body_of(pool, "POST", b"{}")

    server = talk([[OK, None], [OK]], use)
    assert [head.split(" ")[0] for head in server.heads] == ["GET", "POST"]


def test_what_nobody_asked_for_does_not_become_the_next_answer() -> None:
    answers: list[tuple[int, bytes]] = []

    async def use(pool: Pool) -> None:
        with suppress(Broken):
            await body_of(pool)
        answers.append(await body_of(pool))

    stray = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstray"
    talk([[OK + stray], [OK]], use)
    assert answers == [(200, b"ok")]


def test_a_stream_gives_what_there_is_and_ends_when_it_is_abandoned() -> None:
    pieces: list[bytes] = []

    async def use(pool: Pool) -> None:
        answer = await pool.ask("GET", "/watch", {})
        async for piece in answer.chunks(5.0):
            pieces.append(piece)
            break
        answer.close()
        pieces.append((await body_of(pool))[1])

    script = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n"
    assert talk([[script, OK], [OK]], use).connections == 2
    assert pieces == [b"one", b"ok"]


def test_a_stream_ends_when_nothing_has_come_for_so_long() -> None:
    pieces: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(3):
            await asyncio.sleep(4)
            writer.write(b"3\r\none\r\n")
        with suppress(OSError):
            await reader.read()
        writer.close()

    async def main() -> float:
        listening = await asyncio.start_server(serve, "127.0.0.1", 0)
        pool = Pool(
            f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}", ssl=None, connect_timeout_s=5
        )
        answer = await pool.ask("GET", "/watch", {})
        with pytest.raises(TimeoutError):
            async for piece in answer.chunks(5.0):
                pieces.append(piece)
                await asyncio.sleep(6)  # its reader's own time is no silence
        ended_at = asyncio.get_running_loop().time()
        answer.close()
        await pool.close()
        listening.close()
        await asyncio.sleep(0.1)
        return ended_at

    ended_at = virtual_time.run(main())
    assert b"".join(pieces) == b"oneoneone"
    assert 4 + 6 + 6 + 5 <= ended_at <= 4 + 6 + 6 + 6 + 10 + 0.1


def test_a_large_body_that_nobody_reads_makes_the_server_wait() -> None:
    size, seen = 64 * 1024 * 1024, []

    async def use(pool: Pool) -> None:
        answer = await pool.ask("GET", "/large", {})
        await asyncio.sleep(1)
        seen.append(len(answer._connection._body))
        seen.append(len(await answer.read()))
        answer.close()

    talk([[b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + bytes(size)]], use)
    assert seen[0] < 4 * 1024 * 1024
    assert seen[1] == size


def test_a_line_break_in_a_header_or_target_is_refused() -> None:
    async def use(pool: Pool) -> None:
        for target, headers in (("/x\r\nEvil: 1", {}), ("/x", {"A": "b\r\nEvil: 1"})):
            with pytest.raises(ValueError, match="line break"):
                await pool.ask("GET", target, headers)

    assert talk([], use).heads == []


def of_length(body: bytes, *headers: bytes) -> bytes:
    head = b"".join(line + b"\r\n" for line in (b"Content-Length: %d" % len(body), *headers))
    return b"HTTP/1.1 200 OK\r\n" + head + b"\r\n" + body


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (of_length(gzip.compress(b"x" * 5_000), b"Content-Encoding: gzip"), TooLarge),
        (of_length(b"x" * 5_000), TooLarge),
        (of_length(gzip.compress(b"x" * 500)[:-8], b"Content-Encoding: gzip"), Broken),
    ],
    ids=["packed", "plain", "half of it"],
)
def test_an_answer_does_not_fill_the_memory(
    answer: bytes, error: type[OSError], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "_LARGEST_ANSWER", 1_000)

    async def use(pool: Pool) -> None:
        found = await pool.ask("GET", "/", {})
        with pytest.raises(error):
            await found.read()
        found.close()

    talk([[answer]], use, trickle=True)
