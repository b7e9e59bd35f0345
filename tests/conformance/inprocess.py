"""The sandbox's API without its sockets, for tests that ask it a great many things."""

from __future__ import annotations

import http.client
import json
from functools import cache
from typing import Any
from urllib.parse import parse_qsl, unquote

from sandbox_api.serving import Answer, Client
from world import crds

from kaitoctl.kube import fast_json
from kaitoctl.sandbox.api import Api, Call, Response


@cache
def _definitions() -> tuple[bytes, ...]:
    return tuple(fast_json.encode(crd) for crd in crds())


class _Answer(Answer):
    def __init__(self, response: Response) -> None:
        self.status = response.status
        self.headers = http.client.HTTPMessage()
        for name, value in response.headers.items():
            self.headers[name] = value
        text = response.body.decode()
        self.body: Any = json.loads(text) if response.content_type == "application/json" else text


class InProcess(Client):
    """A new sandbox with our CustomResourceDefinitions."""

    def __init__(self) -> None:
        self.api = Api()
        for crd in _definitions():
            path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
            made = self.api.answer(Call("POST", path, body=crd))
            assert isinstance(made, Response)
            assert made.status == 201

    def exchange(self, method: str, path: str, raw: bytes | None, headers: dict[str, str]) -> Answer:
        place, _, query = path.partition("?")
        agent = headers.get("User-Agent", "unknown")
        call = Call(
            method,
            unquote(place),
            dict(parse_qsl(query)),
            raw or b"",
            headers["Content-Type"],
            headers.get("Accept", ""),
            agent,
        )
        answer = self.api.answer(call)
        assert isinstance(answer, Response)
        return _Answer(answer)
