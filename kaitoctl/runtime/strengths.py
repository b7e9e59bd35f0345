"""Which adapters are loaded at which strength, now and for one request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_LARGEST = 1e9


class BadRequest(ValueError):
    """What a client has sent makes no sense; the words are for it."""


class Strengths:
    """The strengths of a server's adapters.

    Args:
        names: the adapters, in the order of their ids.
        now: their strengths.
    """

    def __init__(self, names: Sequence[str], now: Sequence[float]) -> None:
        self.names = tuple(names)
        self.now = tuple(now)
        self._cached: tuple[float, ...] | None = None

    def as_answer(self) -> list[dict[str, Any]]:
        """What GET /lora-adapters answers."""
        return [
            {"id": number, "name": name, "scale": scale}
            for number, (name, scale) in enumerate(zip(self.names, self.now, strict=True))
        ]

    def set(self, wanted: object) -> None:
        """Take what POST /lora-adapters was sent; an adapter that is not in it gets 0, as in llama.cpp."""
        self.now = self._read(wanted)

    def set_some(self, wanted: Mapping[str, float]) -> list[str]:
        """Take other strengths of some adapters, and leave the rest; returns those that changed."""
        before = dict(zip(self.names, self.now, strict=True))
        self.now = tuple(wanted.get(name, before[name]) for name in self.names)
        return [name for name in self.names if wanted.get(name, before[name]) != before[name]]

    def of_request(self, body: dict[str, Any]) -> tuple[float, ...]:
        """The strengths for one request: those of now, unless it brings its own in `lora`."""
        return self.now if body.get("lora") is None else self._read(body["lora"])

    def for_engine(self, scales: Sequence[float]) -> dict[str, Any]:
        """The fields that the engine needs; the prompts it remembers are used at the same strengths only.

        To be called when the request's turn has come, and no earlier.
        """
        same, self._cached = self._cached == tuple(scales), tuple(scales)
        lora = [{"id": number, "scale": scale} for number, scale in enumerate(scales)]
        return {"lora": lora, "cache_prompt": same, "id_slot": 0}

    def _read(self, wanted: object) -> tuple[float, ...]:
        if not isinstance(wanted, list):
            raise BadRequest('send a list such as [{"id": 0, "scale": 0.5}]')
        scales = [0.0] * len(self.names)
        for entry in wanted:
            if not isinstance(entry, dict):
                raise BadRequest(f"{entry!r} is not an object with id (or name) and scale")
            number, scale = self._number(entry), entry.get("scale")
            if isinstance(scale, bool) or not isinstance(scale, (int, float)) or not abs(scale) < _LARGEST:
                raise BadRequest(f"scale is {scale!r}; it must be a finite number")
            scales[number] = float(scale)
        return tuple(scales)

    def _number(self, entry: dict[str, Any]) -> int:
        if entry.get("name") in self.names:
            return self.names.index(entry["name"])
        number = entry.get("id")
        if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < len(self.names):
            known = ", ".join(f"{name} ({at})" for at, name in enumerate(self.names)) or "none"
            raise BadRequest(f"there is no adapter {entry.get('name', number)!r}; loaded: {known}")
        return number
