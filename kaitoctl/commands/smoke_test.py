"""One prompt to a model server that says that it is ready: what it answers, and how fast."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from kaitoctl.advice import Command, shortened
from kaitoctl.commands import endpoint, model_server
from kaitoctl.errors import ApiError, NegativeAnswer, Unreachable
from kaitoctl.kaito.model_protocols import Message
from kaitoctl.kube.objects import key_of
from kaitoctl.screens import output

if TYPE_CHECKING:
    from kaitoctl.commands.model_server import ModelServer
    from kaitoctl.commands.target import Target
    from kaitoctl.kaito.snapshot import Snapshot
    from kaitoctl.kube.client import Client

_PROMPT = "What is Kubernetes?"
_TOKENS = 24
_SHOWN = 60


async def run(client: Client, target: Target, seen: Snapshot, *, is_asked_for: bool) -> None:
    """Ask, where that was asked for, and always where the server is a process of this machine.

    Raises:
        NegativeAnswer: the server is ready, and does not answer.
    """
    if not is_asked_for and not target.sandbox:
        return
    assert seen.workspace is not None
    found = endpoint.addresses(client, seen)
    if target.sandbox and not found["addresses"]["local"]:
        if is_asked_for:
            hint = "kaitoctl sandbox model set PRESET --from MODEL lets the pods of a preset really serve"
            raise NegativeAnswer("no smoke test: the pods of this Workspace are simulated", hint=hint)
        return
    output.step(f'smoke test: asking the model "{_PROMPT}"')
    try:
        output.success(f"smoke test: {await answer_of(client, seen)}")
    except ApiError as error:
        if error.status in (401, 403):  # who may write Workspaces need not be allowed to use the proxy
            output.warning(f"no smoke test: {error.message}", hint=error.hint)
            return
        raise _silent(seen, error.message) from error
    except (NegativeAnswer, Unreachable) as error:
        raise _silent(seen, error.message) from error


async def answer_of(client: Client, seen: Snapshot) -> str:
    """What a Workspace's server answers to one prompt through the API server, and how fast.

    Raises:
        ApiError: the API server does not lead there.
        NegativeAnswer: nobody serves, or what comes is no answer.
        Unreachable: the connection broke.
    """
    found = endpoint.addresses(client, seen)
    server = await model_server.find_server(client, found["proxy_path"], found["protocol"])
    return await _ask(server)


async def _ask(server: ModelServer) -> str:
    """What is answered, and the speed as far as it shows: of a stream, or of the whole."""
    body = server.body([Message("user", _PROMPT)], max_tokens=_TOKENS, temperature=0, stream=True)
    began = time.monotonic()
    if server.protocol != "openai":
        text = await server.answer(body)
        return f'"{_beginning(text)}" in {time.monotonic() - began:.1f}s'
    pieces: list[str] = []
    first = began
    async for piece in server.pieces(body):
        if piece and not pieces:
            first = time.monotonic()
        if piece:
            pieces.append(piece)
    rate = (len(pieces) - 1) / max(time.monotonic() - first, 1e-6)
    speed = f", then {rate:.0f} tokens/s" if len(pieces) > 1 else ""
    return f'"{_beginning("".join(pieces))}", first token after {first - began:.2f}s{speed}'


def _beginning(text: str) -> str:
    return shortened(" ".join(text.split()), _SHOWN)


def _silent(seen: Snapshot, why: str) -> NegativeAnswer:
    assert seen.workspace is not None
    key = key_of(seen.workspace)
    return NegativeAnswer(
        f"Workspace {key} is ready, but its model server does not answer a prompt: {why}",
        hint=Command("kaitoctl logs", key.name, "-n", key.namespace),
    )
