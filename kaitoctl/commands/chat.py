"""`kaitoctl chat`: chat with the model that a Workspace or an InferenceSet serves."""

from __future__ import annotations

import asyncio
import math
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from msgspec import Struct

from kaitoctl.advice import Command
from kaitoctl.commands import endpoint, model_server, option_values
from kaitoctl.commands.cluster import connected
from kaitoctl.commands.files import text_of
from kaitoctl.commands.model_server import ModelServer
from kaitoctl.commands.option_values import ManagedBy, Named, parse_name
from kaitoctl.commands.target import Target
from kaitoctl.errors import InputError, Interrupted, Unreachable
from kaitoctl.kaito.model_protocols import Message
from kaitoctl.kube.client import Client
from kaitoctl.kube.kubeconfig import Server
from kaitoctl.screens import output

if TYPE_CHECKING:
    from kaitoctl.kaito.model_protocols import Protocol

_MOST_COMPARED = 20


class _ChatOptions(Struct, frozen=True):
    """What the user wants of the model."""

    system: str
    adapter: str
    max_tokens: int
    temperature: float | None
    stream: bool
    url: str
    managed: ManagedBy


def chat(
    *,
    name: str,
    prompt: str | None,
    system: str,
    adapter: str,
    max_tokens: int,
    temperature: float | None,
    stream: bool,
    url: str,
    compare: str,
    target_version: str | None,
    target: Target,
) -> None:
    """Send a prompt to a Workspace's model, or chat with it; only its answer goes to stdout."""
    asked = parse_name(name)
    if url:
        option_values.http_url(url, option="--url")
    managed = ManagedBy(target_version)
    if managed.is_said:
        from kaitoctl.commands.target_release import check_manager  # most name none

        check_manager(managed)
    how = _ChatOptions(system, adapter, max_tokens, temperature, stream, url, managed)
    if prompt == "-" or (prompt is None and not sys.stdin.isatty()):
        prompt = text_of("-", option="PROMPT").strip()
    compared = _comparison(compare, prompt, adapter) if compare else None
    if prompt is not None and not prompt:
        raise InputError("the prompt is empty", hint=Command("kaitoctl chat NAME", "What is Kubernetes?"))
    try:
        asyncio.run(_chat(target, asked, prompt, how, compared))
    except KeyboardInterrupt:
        raise Interrupted("interrupted") from None


def _comparison(text: str, prompt: str | None, adapter: str) -> tuple[str, list[float]]:
    """The adapter of --compare, and the strengths at which the prompt is to be answered.

    Raises:
        InputError: it is not NAME=S,S,...; or there is no prompt.
    """
    if prompt is None or adapter:
        example = Command("kaitoctl chat NAME --compare style=0,0.5,1", "What is Kubernetes?")
        raise InputError("--compare answers one prompt and excludes --adapter", hint=example)
    name, _, values = text.partition("=")
    try:
        strengths = [float(value) for value in values.split(",")]
    except ValueError:
        strengths = []
    if not name or not strengths or not all(map(math.isfinite, strengths)):
        hint = "such as --compare style=0,0.2,0.5,1"
        raise InputError(f"--compare {text[:80]!r} is not an adapter and its strengths", hint=hint)
    if len(strengths) > _MOST_COMPARED:
        raise InputError(f"--compare takes {_MOST_COMPARED} strengths at most, not {len(strengths)}")
    return name, strengths


async def _chat(
    target: Target,
    asked: Named,
    prompt: str | None,
    how: _ChatOptions,
    compared: tuple[str, list[float]] | None,
) -> None:
    output.end_unread()
    begun = [Message("system", how.system)] if how.system else []
    async with _connect(target, asked, how) as server:
        if prompt is not None and compared is not None:
            await _compare(server, [*begun, Message("user", prompt)], how, *compared)
            return
        if prompt is not None:
            await _turn(server, [*begun, Message("user", prompt)], how)
            return
        output.step(f"chatting with {server.model or asked.name}; /clear starts again, Ctrl-D ends")
        messages = list(begun)
        while line := await output.read_line("> "):
            line = line.rstrip("\n")
            if line.strip() == "/clear":
                messages = list(begun)
                output.step("conversation cleared")
            elif line.strip() in ("/exit", "/quit"):
                return
            elif line.strip():
                messages.append(Message("user", line))
                messages.append(Message("assistant", await _turn(server, messages, how)))


@asynccontextmanager
async def _connect(target: Target, asked: Named, how: _ChatOptions) -> AsyncIterator[ModelServer]:
    """The server of the Workspace or the set, through the API proxy or at the URL that the user gave.

    Raises:
        NegativeAnswer: nobody serves.
    """
    async with connected(target) as client:
        found = await endpoint.found_addresses(client, target, asked, how.managed)
        if "inference_set" in found and not how.url:
            output.step(f"InferenceSet {found['inference_set']}: through {found['through']}")
        protocol: Protocol = found["protocol"]
        if how.adapter and protocol != "openai":
            raise model_server.merges()
        if how.url:
            async with Client(Server(address=how.url)) as direct:
                try:
                    yield await model_server.find_server(direct, "", protocol, adapter=how.adapter)
                except Unreachable as error:
                    hint = "is the port-forward still running? " + found["addresses"]["port-forward"]
                    where = f"{'nothing answers at ' if error.cause else ''}--url {direct.host}"
                    raise Unreachable(f"{where}: {error.cause or error.message}", hint=hint) from error
        else:
            yield await model_server.find_server(client, found["proxy_path"], protocol, adapter=how.adapter)


async def _turn(server: ModelServer, said: list[Message], how: _ChatOptions) -> str:
    """Ask, show the answer as it comes, and return it."""
    body = server.body(said, max_tokens=how.max_tokens, temperature=how.temperature, stream=how.stream)
    if not how.stream or server.protocol != "openai":
        text = await server.answer(body)
        output.data(output.passage(text))
        return text
    parts: list[str] = []
    async for part in server.pieces(body):
        parts.append(part)
        output.piece(part)
    output.data("")
    return "".join(parts)


async def _compare(
    server: ModelServer, said: list[Message], how: _ChatOptions, adapter: str, strengths: list[float]
) -> None:
    """Show the answers at several strengths of an adapter; the others' are as they are.

    Raises:
        InputError: the server cannot answer at a strength of the request's own.
    """
    if not server.strengths:
        hint = "KAITO's servers merge adapters when they start; kaitoctl's own merges them for each request"
        raise InputError("this server has no adapter whose strength a request can choose", hint=hint)
    if adapter not in server.strengths:
        hint = f"it has {', '.join(server.strengths)}"
        raise InputError(f"the server has not loaded an adapter {adapter}", hint=hint)
    rows = []
    for number, strength in enumerate(strengths, 1):
        output.step(f"asking at {adapter}={strength:g} ({number} of {len(strengths)})")
        # Greedily, so that strengths alone make the difference.
        body = server.body(said, max_tokens=how.max_tokens, temperature=how.temperature or 0, stream=False)
        wanted = {**server.strengths, adapter: strength}
        body["lora"] = [{"name": name, "scale": scale} for name, scale in wanted.items()]
        rows.append((f"{strength:g}", " ".join((await server.answer(body)).split())))
    output.table((adapter.upper(), "ANSWER"), rows)
