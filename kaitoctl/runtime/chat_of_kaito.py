"""`/chat` as KAITO's transformers runtime has it up to v0.8: what is asked, as the engine's request.

Source: KAITO v0.3 and v0.4, `presets/inference/text-generation/inference_api.py` (UnifiedRequestModel,
GenerateKwargs). A prompt alone goes without the model's chat template, as there.
"""

from __future__ import annotations

from typing import Any

from kaitoctl.runtime.strengths import BadRequest

_NUMBERS = {"max_length": 200, "temperature": 1.0, "top_k": 10, "top_p": 1.0, "repetition_penalty": 1.0}


def request(body: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The engine's path and body for a request; `max_length` is left in it, to be cut by `limit_tokens`.

    Raises:
        BadRequest: neither prompt nor messages, or a value of a wrong type.
    """
    asked = body.get("generate_kwargs") or {}
    if not isinstance(asked, dict):
        raise BadRequest("generate_kwargs must be an object")
    numbers = {name: _number(asked, name, default) for name, default in _NUMBERS.items()}
    sampling = {
        "temperature": numbers["temperature"] if asked.get("do_sample", True) else 0.0,
        "top_k": int(numbers["top_k"]),
        "top_p": numbers["top_p"],
        "min_p": 0.0,
        "repeat_penalty": numbers["repetition_penalty"],
        "max_length": int(numbers["max_length"]),
    }
    if asked.get("max_new_tokens") is not None:
        sampling["max_new_tokens"] = int(_number(asked, "max_new_tokens", 0))
    if body.get("messages"):
        if not isinstance(body["messages"], list):
            raise BadRequest("messages must be a list")
        return "/v1/chat/completions", {"messages": body["messages"], **sampling}
    if not isinstance(body.get("prompt"), str) or not body["prompt"]:
        raise BadRequest("Text generation parameter prompt required")
    return "/completion", {"prompt": f"{body.get('prefix') or ''}{body['prompt']}", **sampling}


def limit_tokens(request: dict[str, Any], prompt_tokens: int) -> dict[str, Any]:
    """The request with the tokens that may be added; max_length counts the prompt's, too."""
    rest = {name: value for name, value in request.items() if name not in ("max_length", "max_new_tokens")}
    room = request.get("max_new_tokens", max(1, request["max_length"] - prompt_tokens))
    return {**rest, "n_predict": room, "max_tokens": room}


def answer(path: str, sent: dict[str, Any], got: dict[str, Any], *, is_full: bool) -> dict[str, str]:
    """What `/chat` answers."""
    if path != "/completion":
        return {"Result": str(got["choices"][0]["message"]["content"])}
    return {"Result": f"{sent['prompt'] if is_full else ''}{got['content']}"}


def _number(asked: dict[str, Any], name: str, default: float) -> float:
    value = asked.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not -1e9 < value < 1e9:
        raise BadRequest(f"generate_kwargs.{name} is {value!r}; it must be a number")
    return value
