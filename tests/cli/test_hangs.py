"""Every command, on a server that fails for good in each way there is: a word soon, and an end in time.

Command and server share an event loop in which waiting costs nothing, so that minutes pass in a moment and
nothing depends on how busy the machine is. What is bounded is the time of that loop.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import yaml
from cli.every_command import CALLS, FOR_EVER, asking, calls
from cli.in_process import Ending, beside

SOON_S = 3.0
ANSWERED_S = 15.0  # the end, where the server does answer
SILENT_S = 62.0  # where it does not, or never ends: the time of one request, and what came before
FOLLOWED_S = 20.0  # what --timeout says
ENDED_AT_S = 100.0  # by the test, what follows for ever

Reader: TypeAlias = asyncio.StreamReader
Writer: TypeAlias = asyncio.StreamWriter
Fault = Callable[[Reader, Writer], Coroutine[Any, Any, None]]


def answering(status: int, body: str, *headers: str) -> Fault:
    head = "".join(f"{line}\r\n" for line in (f"Content-Length: {len(body)}", *headers))
    answer = f"HTTP/1.1 {status} Whatever\r\n{head}\r\n{body}".encode()

    async def fault(reader: Reader, writer: Writer) -> None:
        writer.write(answer)

    return fault


def refusing(status: int, reason: str, *headers: str) -> Fault:
    said = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": status, "reason": reason}
    return answering(status, json.dumps({**said, "message": f"the server says {reason}"}), *headers)


async def silence(reader: Reader, writer: Writer) -> None:
    await asyncio.sleep(86_400)


async def dripping_head(reader: Reader, writer: Writer) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nX-Drip: ")
    while True:
        writer.write(b"x")
        await asyncio.sleep(1)


async def dripping_body(reader: Reader, writer: Writer) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"1\r\n \r\n")
        await asyncio.sleep(1)


async def reset(reader: Reader, writer: Writer) -> None:
    writer.transport.abort()


async def half_an_answer(reader: Reader, writer: Writer) -> None:
    writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"items": [')
    await writer.drain()
    writer.close()


async def half_an_answer_and_silence(reader: Reader, writer: Writer) -> None:
    writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"items": [')
    await asyncio.sleep(86_400)


PAGE = "<html><head><title>Please log in</title></head><body>...</body></html>"

ANSWERS: dict[str, Fault] = {
    "401": refusing(401, "Unauthorized"),
    "403": refusing(403, "Forbidden"),
    "429": refusing(429, "TooManyRequests", "Retry-After: 1"),
    "429 that asks for a long time": refusing(429, "TooManyRequests", "Retry-After: 600"),
    "500": refusing(500, "InternalError"),
    "500 of etcd": answering(
        500, '{"kind": "Status", "code": 500, "message": "etcdserver: request timed out"}'
    ),
    "502 of a gateway": answering(502, "<html><title>502 Bad Gateway</title></html>"),
    "503": refusing(503, "ServiceUnavailable"),
    "503 that asks for a second": refusing(503, "ServiceUnavailable", "Retry-After: 1"),
    "504": refusing(504, "Timeout"),
    "302": answering(302, "", "Location: https://login.example/"),
    "407": answering(407, "proxy"),
    "410": refusing(410, "Expired"),
    "a page": answering(200, PAGE),
    "nothing": answering(200, ""),
    "null": answering(200, "null"),
    "a list of another kind": answering(200, '{"kind": "PodList", "items": [1, 2]}'),
    "a refusal with 200": answering(
        200, '{"kind": "Status", "status": "Failure", "code": 403, "metadata": {}, "message": "no"}'
    ),
    "a Status that is none of a failure": answering(200, '{"kind": "Status", "metadata": {}}'),
    "objects without names": answering(200, '{"kind": "List", "metadata": {}, "items": [{"metadata": {}}]}'),
    "versions that are none": answering(
        200, '{"versions": ["v1"], "metadata": {"name": "falcon", "namespace": "default"}, "items": 5}'
    ),
    "a list without end": answering(
        200,
        '{"kind": "List", "versions": [{"version": "v1alpha1"}], "metadata": {"continue": "x"}, "items": []}',
    ),
    "reset": reset,
    "half an answer": half_an_answer,
}
SILENCES: dict[str, Fault] = {
    "silence": silence,
    "a dripping head": dripping_head,
    "a dripping body": dripping_body,
    "half an answer and silence": half_an_answer_and_silence,
}
FAULTS = ANSWERS | SILENCES


def ended(
    arguments: list[str], fault: Fault, listening: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> Ending:
    """Run a command against a server with a fault."""

    async def serve(reader: Reader, writer: Writer) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = head.partition(b"content-length: ")[2].partition(b"\r\n")[0]
                await reader.readexactly(int(length or 0))
                await fault(reader, writer)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.transport.abort()

    @asynccontextmanager
    async def up() -> AsyncIterator[None]:
        tasks: set[asyncio.Task[None]] = set()
        server = await asyncio.start_server(
            lambda reader, writer: tasks.add(asyncio.create_task(serve(reader, writer))),
            sock=listening.dup(),
        )
        try:
            yield
        finally:
            server.close()
            while going := [task for task in tasks if not task.done()]:  # some were accepted just now
                for task in going:
                    task.cancel()
                await asyncio.gather(*going, return_exceptions=True)
            await asyncio.sleep(0)

    return beside(up, arguments, monkeypatch, at_most_s=ENDED_AT_S)


@pytest.fixture
def listening() -> Any:
    with socket.create_server(("127.0.0.1", 0)) as found:
        yield found


def kubeconfig(folder: Path, port: int) -> Path:
    file = folder / "kubeconfig"
    file.touch(mode=0o600)
    file.write_text(
        yaml.safe_dump(
            {
                "current-context": "c",
                "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
                "clusters": [{"name": "k", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
                "users": [{"name": "u", "user": {"token": "t"}}],
            }
        )
    )
    return file


def test_every_command_that_asks_a_cluster_is_tried() -> None:
    assert sorted(CALLS) == asking()


@pytest.mark.parametrize("fault", FAULTS)
def test_a_command_says_soon_what_it_waits_for_and_ends_in_time(
    fault: str, listening: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    wrong = []
    for call in calls(tmp_path, kubeconfig(tmp_path, listening.getsockname()[1])):
        ending = ended(call, FAULTS[fault], listening, monkeypatch)
        words = " ".join(call[:-2])
        budget_s = ANSWERED_S if fault in ANSWERS else SILENT_S
        if "--timeout" in call or "--wait" in call:
            budget_s += FOLLOWED_S
        if words.startswith(FOR_EVER) and ending.at_s >= ENDED_AT_S:
            budget_s = ENDED_AT_S
        if ending.at_s > budget_s:
            wrong.append(f"{words}: ended after {ending.at_s:.0f} s")
        first_s = next((at_s for at_s, text in ending.said if text.strip()), ending.at_s)
        if first_s > SOON_S:
            wrong.append(f"{words}: said nothing for {first_s:.0f} s")
        # Doctor lists what is wrong; validate judges by itself where a cluster serves no Workspaces.
        codes: tuple[int, ...] = (0, 1, 3, 4) if call[0] in ("doctor", "validate") else (1, 3, 4, 124)
        if call[0] in ("apply", "plan"):  # what a server refuses in a dry run is a refused document
            codes = (2, *codes)
        if ending.at_s < ENDED_AT_S and ending.code not in codes:
            wrong.append(f"{words}: exit code {ending.code}")
        if "should not happen" in ending.text or "Traceback" in ending.text:
            wrong.append(f"{words}: {ending.text[-300:]}")
    assert wrong == []
