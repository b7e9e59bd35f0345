"""`kaitoctl chat`: speak with the model that a Workspace serves."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kaitoctl.cli import complete, options, output
from kaitoctl.cli.connect import Context, Kubeconfig, Namespace, Sandbox, SandboxName, Target, connected
from kaitoctl.errors import ApiError, InputError, Interrupted, NegativeAnswer, Unreachable

if TYPE_CHECKING:
    from kaitoctl.kaito.conversation import Message, Protocol
    from kaitoctl.kube.client import Client

app = typer.Typer(rich_markup_mode=None, add_completion=False)

_THINKS_FOR_S = 600.0
_LONGEST_ANSWER = 16 * 2**20  # bytes


@dataclass(frozen=True, slots=True)
class _How:
    """How the model is to speak."""

    system: str
    adapter: str
    max_tokens: int
    temperature: float | None
    stream: bool
    url: str


@dataclass(frozen=True, slots=True)
class _Server:
    """A model server that can be asked."""

    client: Client
    prefix: str
    protocol: Protocol
    model: str


@app.command()
def chat(
    name: Annotated[
        str, typer.Argument(help="The Workspace.", metavar="WORKSPACE", autocompletion=complete.workspaces)
    ],
    prompt: Annotated[
        str | None,
        typer.Argument(help="What to ask; without it, and with -, stdin is read.", metavar="[PROMPT]"),
    ] = None,
    system: Annotated[
        str, typer.Option("--system", help="What the model is told first.", metavar="TEXT")
    ] = "",
    adapter: Annotated[
        str,
        typer.Option("--adapter", help="Ask this adapter instead of the base model (vLLM).", metavar="NAME"),
    ] = "",
    max_tokens: Annotated[int, typer.Option("--max-tokens", help="The longest answer.", min=1)] = 512,
    temperature: Annotated[
        float | None,
        typer.Option(
            "--temperature",
            help="How freely it chooses words.",
            min=0,
            max=2,
            callback=options.number,
        ),
    ] = None,
    stream: Annotated[
        bool, typer.Option("--stream/--no-stream", help="Show words as they come (vLLM).")
    ] = True,
    url: Annotated[
        str,
        typer.Option(
            "--url",
            help="Where the server is, such as a port-forward (default: the API proxy).",
            metavar="URL",
        ),
    ] = "",
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    sandbox: Sandbox = False,
    sandbox_name: SandboxName = "default",
) -> None:
    """Ask a Workspace's model one thing, or have a conversation; the answer alone goes to stdout.

    On a terminal without a prompt each line is a turn; /clear forgets what was said, Ctrl-D ends.

    Example: kaitoctl chat workspace-falcon-7b "What is Kubernetes?"
    """
    import asyncio

    name = options.workspace_name(name)
    if url:
        options.http_url(url, option="--url")
    how = _How(system, adapter, max_tokens, temperature, stream, url)
    target = Target(namespace, context, kubeconfig, sandbox, sandbox_name)
    if prompt == "-" or (prompt is None and not sys.stdin.isatty()):
        from kaitoctl.cli.files import text_of

        prompt = text_of("-", option="PROMPT").strip()
    if prompt is not None and not prompt:
        raise InputError("the prompt is empty", hint='kaitoctl chat NAME "What is Kubernetes?"')
    try:
        asyncio.run(_chat(target, name, prompt, how))
    except KeyboardInterrupt:
        raise Interrupted("interrupted") from None


async def _chat(target: Target, name: str, prompt: str | None, how: _How) -> None:
    from kaitoctl.kaito.conversation import Message

    output.end_unread()
    begun = [Message("system", how.system)] if how.system else []
    async with _connected(target, name, how) as server:
        if prompt is not None:
            await _turn(server, [*begun, Message("user", prompt)], how)
            return
        output.step(f"speaking with {server.model or name}; /clear forgets, Ctrl-D ends")
        said = list(begun)
        while line := await output.asked("> "):
            line = line.rstrip("\n")
            if line.strip() == "/clear":
                said = list(begun)
                output.step("forgotten")
            elif line.strip() in ("/exit", "/quit"):
                return
            elif line.strip():
                said.append(Message("user", line))
                said.append(Message("assistant", await _turn(server, said, how)))


@asynccontextmanager
async def _connected(target: Target, name: str, how: _How) -> AsyncIterator[_Server]:
    """The Workspace's server, through the API proxy or at the URL that the user gave.

    Raises:
        NegativeAnswer: the Workspace does not serve.
    """
    from kaitoctl.cli import endpoint, look
    from kaitoctl.kube.client import Client
    from kaitoctl.kube.kubeconfig import Server
    from kaitoctl.kube.objects import ObjectKey

    async with connected(target) as client:
        seen = await look.once(client, ObjectKey(client.namespace, name))
        found = endpoint.addresses(client, seen)
        protocol: Protocol = found["protocol"]
        if how.adapter and protocol != "openai":
            hint = "its server merges all adapters by their strength; kaitoctl set-adapter changes that"
            raise InputError("--adapter needs a server that can choose (vLLM)", hint=hint)
        if how.url:
            async with Client(Server(address=how.url)) as direct:
                try:
                    model = await _model(direct, "", protocol, how)
                    yield _Server(direct, "", protocol, model)
                except Unreachable as error:
                    hint = f"does the port-forward still run? {found['addresses']['port-forward']}"
                    where = f"{'nothing answers at ' if error.cause else ''}--url {direct.host}"
                    raise Unreachable(f"{where}: {error.cause or error.message}", hint=hint) from error
        else:
            model = await _model(client, found["proxy_path"], protocol, how)
            yield _Server(client, found["proxy_path"], protocol, model)


async def _model(client: Client, prefix: str, protocol: Protocol, how: _How) -> str:
    """The model's name as its server knows it; servers of one model need none."""
    from kaitoctl.kaito import catalog
    from kaitoctl.kube.request import Request

    if protocol != "openai":
        return ""
    answer = await _asked(client.send(Request("GET", f"{prefix}/v1/models")), how)
    names = [str(item.get("id")) for item in answer.get("data") or () if isinstance(item, dict)]
    if not how.adapter:
        return names[0] if names else ""
    if how.adapter not in names:
        near = catalog.close_matches(how.adapter, names)
        hint = f"did you mean {near[0]}?" if near else f"it serves {', '.join(names) or 'nothing'}"
        raise InputError(f"the server has not loaded an adapter {how.adapter}", hint=hint)
    return how.adapter


async def _turn(server: _Server, said: list[Message], how: _How) -> str:
    """Ask, show the answer as it comes, and return it."""
    import json

    from kaitoctl.kaito import conversation
    from kaitoctl.kube.request import Request

    stream = how.stream and server.protocol == "openai"
    body = conversation.body_of(
        server.protocol,
        said,
        model=server.model,
        max_tokens=how.max_tokens,
        temperature=how.temperature,
        stream=stream,
    )
    asking = Request("POST", server.prefix + conversation.path_of(server.protocol), body=body)
    chunks = server.client.stream(asking, silent_s=_THINKS_FOR_S)
    try:
        if not stream:
            whole = b"".join([chunk async for chunk in _checked(chunks, how)])
            text = conversation.answer_of(server.protocol, json.loads(whole))
            output.data(output.passage(text))
            return text
        parts: list[str] = []
        async for line in _lines(_checked(chunks, how)):
            part = conversation.delta_of(line)
            if part is None:
                break
            parts.append(part)
            output.piece(part)
        output.data("")
        return "".join(parts)
    except ValueError as error:
        raise NegativeAnswer(f"the model server's answer cannot be used: {str(error)[:300]}") from None


async def _checked(chunks: AsyncIterator[bytes], how: _How) -> AsyncIterator[bytes]:
    read = 0
    try:
        async for chunk in chunks:
            if (read := read + len(chunk)) > _LONGEST_ANSWER:
                most = f"{_LONGEST_ANSWER // 2**20} MiB"
                raise NegativeAnswer(
                    f"the model server's answer is longer than {most}: it was left off there"
                )
            yield chunk
    except ApiError as error:
        raise _explained(error, how) from error


async def _asked(asking: Any, how: _How) -> Any:
    try:
        return await asking
    except ApiError as error:
        raise _explained(error, how) from error


def _explained(error: ApiError, how: _How) -> ApiError:
    """The refusal, with the other way to the server."""
    from kaitoctl.kube import refusals

    if how.url:  # no API server has spoken
        error.hint = "that is what --url answers: is it the model server?"
        return error
    hints = {
        403: "ask for the right to create services/proxy, or use kubectl port-forward and --url",
        404: "the API server does not pass requests on; use kubectl port-forward and --url",
        405: "the API server does not pass requests on; use kubectl port-forward and --url",
        503: "no pod answers behind the Service: kaitoctl why",
    }
    if error.status == 403 and refusals.kind_of(error) not in ("rights", ""):
        error.hint = refusals.hint_of(error)
    elif not error.hint or error.status == 403:  # there is another way than that right
        error.hint = hints.get(error.status, error.hint)
    return error


async def _lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[str]:
    rest = b""
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line.decode(errors="replace").strip()
    if rest:
        yield rest.decode(errors="replace").strip()
