"""A Workspace's model server, asked through the API server's proxy or at a URL of the user's."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from kaitoctl.advice import Advice, Command
from kaitoctl.errors import ApiError, InputError, NegativeAnswer
from kaitoctl.kaito import adapter_rollout, catalog, model_protocols
from kaitoctl.kube import refusal_hints
from kaitoctl.kube.request import Request

if TYPE_CHECKING:
    from kaitoctl.kaito.model_protocols import Message, Protocol
    from kaitoctl.kube.client import Client
    from kaitoctl.kube.objects import Object

_LONGEST_SILENCE_S = 600.0
_LONGEST_ANSWER = 16 * 2**20  # bytes

_FORWARD = "use " + Command("kubectl port-forward service/NAME 8080:80") + " and --url http://localhost:8080"


class ModelServer(Struct, frozen=True):
    """A model server that can be asked.

    Args:
        client: what leads to it.
        prefix: of its paths; empty where the client leads to the server itself.
        protocol: that it speaks.
        model: its name there.
        strengths: of its adapters, as a server of ours says them; empty for all others.
    """

    client: Client
    prefix: str
    protocol: Protocol
    model: str
    strengths: Mapping[str, float] = field(default_factory=dict)

    def body(
        self, said: Sequence[Message], *, max_tokens: int, temperature: float | None, stream: bool
    ) -> Object:
        """The request for the next turn of a conversation."""
        return model_protocols.body_of(
            self.protocol,
            said,
            model=self.model,
            max_tokens=max_tokens,
            temperature=temperature,
            stream=stream and self.protocol == "openai",
        )

    async def answer(self, body: Object) -> str:
        """What the model says, once it has said it all.

        Raises:
            NegativeAnswer: what came is no answer, or far too long.
        """
        whole = b"".join([chunk async for chunk in self._chunks(body)])
        try:
            return model_protocols.whole_of(self.protocol, whole.decode(errors="replace"))
        except ValueError as error:
            raise _unusable(error) from None

    async def pieces(self, body: Object) -> AsyncIterator[str]:
        """What the model says, piece by piece, of a request to stream.

        Raises:
            NegativeAnswer: what came is no answer, or far too long.
        """
        try:
            async for line in _lines(self._chunks(body)):
                part = model_protocols.delta_of(line)
                if part is None:
                    return
                yield part
        except ValueError as error:
            raise _unusable(error) from None

    async def _chunks(self, body: Object) -> AsyncIterator[bytes]:
        asking = Request("POST", self.prefix + model_protocols.path_of(self.protocol), body=body)
        read = 0
        try:
            async for chunk in self.client.stream(asking, silent_s=_LONGEST_SILENCE_S):
                if (read := read + len(chunk)) > _LONGEST_ANSWER:
                    most = f"{_LONGEST_ANSWER // 2**20} MiB"
                    raise NegativeAnswer(f"the model server's answer is longer than {most}: cut off there")
                yield chunk
        except ApiError as error:
            raise explain_refusal(error, self.prefix) from error


async def find_server(client: Client, prefix: str, protocol: Protocol, *, adapter: str = "") -> ModelServer:
    """The server, spoken to by OpenAI's API wherever it has that: whole releases of KAITO have no other.

    Args:
        client: what leads to it.
        prefix: of its paths.
        protocol: that it is expected to speak.
        adapter: the adapter that is to answer, of a server that can choose; empty for the model.
    """
    asking = Request("GET", f"{prefix}/v1/models")
    try:
        answer: Any = await client.send(asking)
    except (ApiError, ValueError) as error:
        if protocol == "openai":
            raise (
                explain_refusal(error, prefix) if isinstance(error, ApiError) else _unusable(error)
            ) from error
        answer = None
    if protocol != "openai" and (not isinstance(answer, dict) or not isinstance(answer.get("data"), list)):
        return ModelServer(client, prefix, protocol, "")
    strengths = adapter_rollout.strengths_by_models(answer)
    return ModelServer(client, prefix, "openai", _model(answer, adapter), strengths)


def _model(answer: Any, adapter: str) -> str:
    """The model's name as its server knows it."""
    names = [str(item.get("id")) for item in answer.get("data") or () if isinstance(item, dict)]
    if not adapter:
        return names[0] if names else ""
    if adapter in adapter_rollout.strengths_by_models(answer):
        raise merges()
    if adapter not in names:
        near = catalog.close_matches(adapter, names)
        hint = f"did you mean {near[0]}?" if near else f"it serves {', '.join(names) or 'nothing'}"
        raise InputError(f"the server has not loaded an adapter {adapter}", hint=hint)
    return adapter


def merges() -> InputError:
    """The error for who wants one adapter of a server that merges them all."""
    hint = (
        "its server merges all adapters by their strengths; "
        + Command("kaitoctl set-adapter NAME")
        + " changes those"
    )
    return InputError("--adapter needs a server that can choose (vLLM)", hint=hint)


def explain_refusal(error: ApiError, prefix: str) -> ApiError:
    """The refusal, with the other way to the server."""
    if not prefix:  # not an API server's answer
        error.hint = "is --url the address of the model server?"
        return error
    hints: dict[int, Advice] = {
        403: "you need create on services/proxy; or use " + _FORWARD,
        404: "the API server does not proxy requests; " + _FORWARD,
        405: "the API server does not proxy requests; " + _FORWARD,
        501: Command("kaitoctl sandbox model set PRESET --from MODEL") + " lets a model answer",
        503: "no pod answers behind the Service: " + Command("kaitoctl why NAME"),
    }
    if error.status == 403 and refusal_hints.refusal_kind(error) not in ("rights", ""):
        error.hint = refusal_hints.hint_of(error)
    elif not error.hint or error.status == 403:  # there is another way than that right
        error.hint = hints.get(error.status, error.hint)
    return error


def _unusable(error: ValueError) -> NegativeAnswer:
    return NegativeAnswer(f"unexpected answer from the model server: {str(error)[:300]}")


async def _lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[str]:
    rest = b""
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line.decode(errors="replace").strip()
    if rest:
        yield rest.decode(errors="replace").strip()
