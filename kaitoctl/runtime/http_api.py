"""What clients see: KAITO's faces of today (`/v1/...`) and of then (`/chat`), in front of the engine."""

from __future__ import annotations

import asyncio
import hmac
import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web

from kaitoctl.runtime import chat_of_kaito
from kaitoctl.runtime.engine import Engine
from kaitoctl.runtime.strengths import BadRequest, Strengths

_LARGEST_REQUEST = 8 << 20
_OPEN = ("/", "/health", "/healthz")
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_PASSED_ON = ("/v1/chat/completions", "/v1/completions", "/completion", "/tokenize", "/detokenize")


@dataclass
class Face:
    """The HTTP server's state.

    Args:
        engine: what answers.
        model: the name that /v1/models says.
        strengths: of the adapters.
        key: what clients have to send as bearer token; empty to ask for none.
        session: connections to the engine.
    """

    engine: Engine
    model: str
    strengths: Strengths
    key: str
    session: aiohttp.ClientSession
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    def application(self) -> web.Application:
        """All paths."""
        app = web.Application(middlewares=[self._guard], client_max_size=_LARGEST_REQUEST)
        app.router.add_get("/", self._home)
        app.router.add_get("/health", self._health)
        app.router.add_get("/healthz", self._health)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/lora-adapters", self._adapters)
        app.router.add_post("/lora-adapters", self._set_adapters)
        app.router.add_post("/chat", self._chat)
        for path in _PASSED_ON:
            app.router.add_post(path, self._passed_on)
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        """Keep out whoever has no key, and pages of a browser that come from elsewhere."""
        origin = request.headers.get("Origin")
        if origin and urlsplit(origin).hostname not in _LOOPBACK:
            return _error(403, f"pages of {origin} may not ask here")
        if urlsplit(f"//{request.host}").hostname not in _LOOPBACK:  # a name that was pointed at this machine
            return _error(403, f"this server is not {request.host}")
        if self.key and request.path not in _OPEN:
            sent = request.headers.get("Authorization", "").removeprefix("Bearer ")
            if not hmac.compare_digest(sent.encode(), self.key.encode()):
                return _error(401, "send the key as Authorization: Bearer KEY")
        try:
            response: web.StreamResponse = await handler(request)
        except BadRequest as error:
            return _error(400, str(error))
        except aiohttp.ClientError as error:
            return _error(502, f"the engine does not answer: {error}")
        return response

    async def _home(self, request: web.Request) -> web.Response:
        return web.json_response("Server is running")

    async def _health(self, request: web.Request) -> web.Response:
        async with self.session.get(f"{self.engine.address}/health") as answer:
            if answer.status != 200:
                return _error(503, "the engine is not ready")
        return web.json_response({"status": "Healthy"})

    async def _metrics(self, request: web.Request) -> web.Response:
        async with self.session.get(f"{self.engine.address}/metrics", headers=self._headers()) as answer:
            text = (await answer.text()).rstrip("\n")
        scales = [
            f'kaitoctl_adapter_strength{{adapter="{item["name"]}"}} {item["scale"]}'
            for item in self.strengths.as_answer()
        ]
        gauge = ["# TYPE kaitoctl_adapter_strength gauge", *scales] if scales else []
        return web.Response(text="\n".join([text, *gauge, ""]), content_type="text/plain")

    async def _models(self, request: web.Request) -> web.Response:
        adapters = [{"name": item["name"], "strength": item["scale"]} for item in self.strengths.as_answer()]
        entry = {"id": self.model, "object": "model", "owned_by": "kaitoctl", "created": 0}
        return web.json_response({"object": "list", "data": [{**entry, "adapters": adapters}]})

    async def _adapters(self, request: web.Request) -> web.Response:
        return web.json_response(self.strengths.as_answer())

    async def _set_adapters(self, request: web.Request) -> web.Response:
        self.strengths.set(await _json(request))
        for item in self.strengths.as_answer():
            print(f"Adapter {item['name']} now at strength {item['scale']:g}", flush=True)  # noqa: T201
        return web.json_response(self.strengths.as_answer())

    async def _passed_on(self, request: web.Request) -> web.StreamResponse:
        body = await _json(request)
        if not isinstance(body, dict):
            raise BadRequest("send a JSON object")
        scales = self.strengths.of_request(body)
        async with self.turn:
            sent = {**body, **self.strengths.for_engine(scales), "model": self.model}
            async with self._ask(request.path, sent) as answer:
                response = web.StreamResponse(status=answer.status)
                response.content_type = answer.content_type
                await response.prepare(request)
                async for piece in answer.content.iter_any():
                    await response.write(piece)
                await response.write_eof()
                return response

    async def _chat(self, request: web.Request) -> web.Response:
        body = await _json(request)
        if not isinstance(body, dict):
            raise BadRequest("send a JSON object")
        try:
            path, asked = chat_of_kaito.request(body)
            scales = self.strengths.of_request(body)
        except BadRequest as error:
            return web.json_response({"detail": str(error)}, status=400)
        text = asked.get("prompt") or "".join(str(item) for item in asked["messages"])
        async with self._ask("/tokenize", {"content": text, "add_special": True}) as answer:
            tokens = len((await answer.json())["tokens"])
        sent = chat_of_kaito.limit_tokens(asked, tokens)
        async with self.turn, self._ask(path, {**sent, **self.strengths.for_engine(scales)}) as answer:
            got = await answer.json()
        if answer.status != 200:
            words = (got.get("error") or {}).get("message", "the engine refused the request")
            return web.json_response({"detail": words}, status=answer.status)
        is_full = body.get("return_full_text") is not False
        return web.json_response(chat_of_kaito.answer(path, sent, got, is_full=is_full))

    def _ask(self, path: str, body: dict[str, Any]) -> Any:
        return self.session.post(f"{self.engine.address}{path}", json=body, headers=self._headers())

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.engine.key}"}


async def _json(request: web.Request) -> Any:
    try:
        return json.loads(await request.read())
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"the request is no JSON: {error}") from error


def _error(status: int, words: str) -> web.Response:
    return web.json_response({"error": {"code": status, "message": words}}, status=status)
