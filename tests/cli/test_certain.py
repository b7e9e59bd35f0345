"""A create whose server dies under it: the last words are true, and what may pass is tried again."""

from __future__ import annotations

import asyncio
import contextlib
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
import virtual_time
from world import World, falcon

from kaitoctl.commands import certain_write
from kaitoctl.errors import ApiError, KaitoctlError
from kaitoctl.kaito import api
from kaitoctl.kube import managed_fields, request
from kaitoctl.kube.client import Client
from kaitoctl.kube.kubeconfig import Server
from kaitoctl.kube.objects import CONFIG_MAP, Object, ObjectKey
from kaitoctl.sandbox.api import Call, Response

KEY = ObjectKey("default", "falcon")

Fate = str
"""What happens to one request: `answer`, `lose` (carried out, no answer), `break` (not carried out, no
answer), `503` (not carried out), `504` (carried out), `die-after` and `die-before`: as the two, and for good;
`hook`: an admission webhook does not answer."""


class Dying:
    """The sandbox's API on a socket: a fate for each request, the last one for all the rest."""

    def __init__(self, fates: list[Fate]) -> None:
        self.world = World("v1alpha1")
        self.fates = fates
        self.asked: list[str] = []
        self.server: asyncio.Server | None = None
        self.open: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Client:
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        port = self.server.sockets[0].getsockname()[1]
        return Client(Server(f"http://127.0.0.1:{port}"))

    async def __aexit__(self, *_: object) -> None:
        assert self.server is not None
        self.server.close()
        for writer in list(self.open):
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open.add(writer)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                if not await self._one(head.decode(), reader, writer):
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        writer.close()

    async def _one(self, head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        first, *lines = head.split("\r\n")
        headers = {key.lower(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length") or 0))
        method, target, _ = first.split(" ")
        self.asked.append(method)
        fate = self.fates.pop(0) if len(self.fates) > 1 else self.fates[0]
        parts = urlsplit(target)
        call = Call(
            method, unquote(parts.path), dict(parse_qsl(parts.query)), body, headers.get("content-type", "")
        )
        status, text = 0, b"{}"
        if fate in ("answer", "lose", "504", "die-after"):
            answer = self.world.api.answer(call)
            assert isinstance(answer, Response)
            status, text = answer.status, answer.body
        if fate.startswith("die"):
            assert self.server is not None
            self.server.close()
            return False
        if fate in ("lose", "break"):
            return False
        if fate in ("503", "504"):
            status, text = int(fate), b'{"kind":"Status","message":"not now"}'
        if fate == "hook":
            words = b'Internal error occurred: failed calling webhook \\"w\\": EOF'
            status, text = 500, b'{"kind":"Status","message":"' + words + b'"}'
        writer.write(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n" % (status, len(text)) + text)
        await writer.drain()
        return True


def created(fates: list[Fate]) -> tuple[Object | KaitoctlError, Dying]:
    dying = Dying(fates)

    return outcome(dying), dying


def outcome(dying: Dying) -> Object | KaitoctlError:
    """What `create` gets of this server."""
    asked = request.apply(api.WORKSPACE, falcon(), manager="kaitoctl", only_new=True)

    def is_done(now: Object | None) -> bool:
        return now is not None and bool(managed_fields.applied_fields(now, "kaitoctl"))

    async def main() -> Object | KaitoctlError:
        async with dying as client, client:
            try:
                return await certain_write.sent(
                    client, asked, api.WORKSPACE, KEY, is_done=is_done, word="created"
                )
            except KaitoctlError as error:
                return error

    return virtual_time.run(main())


def exists(dying: Dying) -> bool:
    return dying.world.get(api.WORKSPACE, "falcon") is not None


@pytest.mark.parametrize(
    "fates",
    [
        ["answer"],
        ["lose", "answer"],
        ["break", "answer"],
        ["504", "answer"],
        ["503", "answer"],
        ["lose", "break", "answer"],
        ["break", "break", "lose", "503", "answer"],
        ["503", "lose", "answer"],
    ],
    ids=",".join,
)
def test_what_passes_is_waited_for_and_the_workspace_is_there(fates: list[Fate]) -> None:
    answer, dying = created(fates)
    assert isinstance(answer, dict)
    assert answer["metadata"]["name"] == "falcon"
    assert exists(dying)


@pytest.mark.parametrize("fate", ["die-after", "die-before", "lose", "break"])
def test_of_a_server_that_stays_away_nothing_is_claimed(fate: Fate) -> None:
    fates = [fate] if fate.startswith("die") else [fate, "break"]
    answer, _ = created(fates)
    assert isinstance(answer, KaitoctlError)
    assert "whether Workspace default/falcon was created is unknown" in answer.message
    assert "kubectl get workspaces.kaito.sh falcon -n default" in answer.hint


def test_what_was_never_sent_was_not_created() -> None:
    async def main() -> KaitoctlError:
        server = await asyncio.start_server(Dying(["answer"]).serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        server.close()
        await server.wait_closed()
        asked = request.apply(api.WORKSPACE, falcon(), manager="kaitoctl", only_new=True)
        async with Client(Server(f"http://127.0.0.1:{port}")) as client:
            with pytest.raises(KaitoctlError) as raised:
                await certain_write.sent(
                    client, asked, api.WORKSPACE, KEY, is_done=lambda now: False, word="created"
                )
        return raised.value

    error = virtual_time.run(main())
    assert error.message.endswith("Workspace default/falcon was not created")
    assert error.exit_code == 3


def test_the_object_is_named_by_its_kind(capsys: pytest.CaptureFixture[str]) -> None:
    obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "falcon", "namespace": "default"}}
    dying = Dying(["lose", "answer"])

    async def main() -> None:
        asked = request.apply(CONFIG_MAP, obj, manager="kaitoctl")
        async with dying as client, client:
            await certain_write.sent(
                client, asked, CONFIG_MAP, KEY, is_done=lambda now: now is not None, word="configured"
            )

    virtual_time.run(main())
    assert "ConfigMap default/falcon was configured" in capsys.readouterr().err


def test_a_server_that_is_busy_for_good_and_lets_itself_be_looked_at() -> None:
    """It refuses the write each time, and says each time that there is no such Workspace."""
    patched, looked = "503", "answer"
    answer, dying = created([fate for _ in range(40) for fate in (patched, looked)])
    assert isinstance(answer, ApiError)
    assert answer.message == "not now (HTTP 503); Workspace default/falcon was not created"
    assert not exists(dying)


def test_a_webhook_that_does_not_answer_is_a_refusal_at_once() -> None:
    answer, dying = created(["hook"])
    assert isinstance(answer, ApiError)
    assert len(dying.asked) == 1 and not exists(dying)


def test_one_that_somebody_else_made_meanwhile_is_not_taken_for_ours() -> None:
    dying = Dying(["break", "answer"])
    dying.world.apply(api.WORKSPACE, falcon())
    answer = outcome(dying)
    assert isinstance(answer, ApiError) and answer.status == 409
