"""How a model server is spoken to: requests and answers of the three kinds that KAITO runs. Pure.

Source: KAITO v0.3.2, v0.4.0 and v0.8.1 to v0.12.0, `presets/**/inference_api.py`; vLLM. From v0.9.0 on the
transformers server is OpenAI-compatible, too; up to v0.11 it streams, whether asked to or not.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from kaitoctl.kaito import api, image_generations
from kaitoctl.kaito.catalog import Catalog
from kaitoctl.kube.objects import Object, annotations_of, dig

if TYPE_CHECKING:
    from kaitoctl.kaito.validation import Setting
    from kaitoctl.kaito.validation.releases import Release

Protocol = Literal["openai", "transformers", "llama"]

_ALL_SPEAK_OPENAI = (0, 9, 0)


class Message(NamedTuple):
    """One turn: `system`, `user` or `assistant`, and what was said."""

    role: str
    content: str


def protocol_of(
    workspace: Object, workloads: Iterable[Object], known: Catalog, setting: Setting | None = None
) -> Protocol:
    """Which server runs: what the workload's command says; before that the annotation and the preset.

    The transformers server is given the model's name since it answers as OpenAI's does (v0.9.0).

    Args:
        workspace: the Workspace.
        workloads: that run it, as far as they can be seen.
        known: where presets and models are looked up.
        setting: who made them, for where they cannot be seen; None for kaitoctl's own controller.
    """
    words = " ".join(
        str(word)
        for item in workloads
        for container in dig(item, "spec", "template", "spec", "containers") or ()
        for word in (*(container.get("command") or ()), *(container.get("args") or ()))
    )
    if "vllm" in words or "--served_model_name" in words:
        return "openai"
    release = _release_of(setting) if setting is not None and not words else None
    if setting is not None and release is not None and _has_openai(workspace, setting, release):
        return "openai"
    pinned = setting.image_generation if setting is not None else ""
    is_unknown = not words and release is None
    generation = (
        image_generations.image_generation_of(workspace, known, pinned=pinned) if is_unknown else None
    )
    if generation is not None and (
        generation.has_models or image_generations.runtime_of(workspace, generation) == "vllm"
    ):
        return "openai"
    preset = str(dig(workspace, "inference", "preset", "name") or "")
    if known.is_local(preset):
        return "openai"
    if preset.startswith("llama-2-"):
        return "llama"
    return "transformers"


def _release_of(setting: Setting) -> Release | None:
    """KAITO's release there; None where kaitoctl's own controller works, or nobody knows."""
    from kaitoctl.kaito.validation.releases import nearest  # most workloads can be seen

    return nearest(setting.target) if setting.target else None


def _has_openai(workspace: Object, setting: Setting, release: Release) -> bool:
    """Whether KAITO's release serves by OpenAI's API: vLLM by default since v0.4, transformers since v0.9."""
    if not dig(workspace, "inference", "preset"):
        return False
    has_vllm = release.has_vllm and "vLLM" not in setting.gates_off
    asked = annotations_of(workspace).get(api.ANNOTATION_RUNTIME)
    return release.since >= _ALL_SPEAK_OPENAI or (has_vllm and asked != "transformers")


def path_of(protocol: Protocol) -> str:
    """Where prompts go."""
    return "/v1/chat/completions" if protocol == "openai" else "/chat"


def body_of(
    protocol: Protocol,
    messages: Sequence[Message],
    *,
    model: str,
    max_tokens: int,
    temperature: float | None,
    stream: bool,
) -> Object:
    """The request for the next turn of a conversation."""
    said = [{"role": message.role, "content": message.content} for message in messages]
    warmth = {} if temperature is None else {"temperature": temperature}
    if protocol == "openai":
        return {"model": model, "messages": said, "max_tokens": max_tokens, "stream": stream, **warmth}
    if protocol == "llama":
        return {"input_data": {"input_string": [said]}, "parameters": {"max_gen_len": max_tokens, **warmth}}
    return {
        "prompt": _prompt(messages),
        "return_full_text": False,
        "generate_kwargs": {"max_new_tokens": max_tokens, **warmth},
    }


def _prompt(messages: Sequence[Message]) -> str:
    """A conversation for a server that completes text; a lone prompt stays as it is."""
    if len(messages) == 1:
        return messages[0].content
    names = {"system": "", "user": "User: ", "assistant": "Assistant: "}
    return "\n".join([*(f"{names[message.role]}{message.content}" for message in messages), "Assistant:"])


def answer_of(protocol: Protocol, answer: Any) -> str:
    """What the model said, of an answer that came whole.

    Raises:
        ValueError: it is no answer of this server.
    """
    said = None
    if protocol == "openai":
        said = dig(answer, "choices", 0, "message", "content")
    elif protocol == "llama":
        said = dig(answer, "results", 0, -1, "content")
    else:
        said = dig(answer, "Result")
        if isinstance(said, list):
            said = said[0] if said else None
    if not isinstance(said, str):
        raise ValueError(f"the model server answered something else: {json.dumps(answer)[:200]}")
    return said.strip()


def whole_of(protocol: Protocol, text: str) -> str:
    """What the model said, of an answer that came whole, be it a stream of events all the same.

    Raises:
        ValueError: it is no answer of this server.
    """
    if protocol != "openai" or not text.lstrip().startswith("data:"):
        return answer_of(protocol, json.loads(text))
    pieces: list[str] = []
    for line in text.splitlines():
        if (piece := delta_of(line.strip())) is None:
            break
        pieces.append(piece)
    return "".join(pieces).strip()


def delta_of(line: str) -> str | None:
    """The next piece of what a model says, of one line of server-sent events; None at the end.

    Raises:
        ValueError: the server says that something went wrong.
    """
    if not line.startswith("data:"):
        return ""
    text = line.removeprefix("data:").strip()
    if text == "[DONE]":
        return None
    event = json.loads(text)
    if error := dig(event, "error"):
        raise ValueError(str(dig(error, "message") or error))
    return str(dig(event, "choices", 0, "delta", "content") or "")
