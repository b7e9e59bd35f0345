from __future__ import annotations

from typing import Any

import pytest
from builders import workspace

from kaitoctl.kaito.catalog import SHIPPED
from kaitoctl.kaito.model_protocols import (
    Message,
    Protocol,
    answer_of,
    body_of,
    delta_of,
    path_of,
    protocol_of,
    whole_of,
)
from kaitoctl.kaito.validation import Setting
from kaitoctl.kube.objects import Object

SAID = [Message("user", "What is it?"), Message("assistant", "A cluster."), Message("user", "Of what?")]


def workload(*command: str) -> Object:
    return {"spec": {"template": {"spec": {"containers": [{"name": "w", "command": list(command)}]}}}}


@pytest.mark.parametrize(
    ("asked", "workloads", "protocol"),
    [
        (workspace(), [workload("/bin/sh", "-c", "accelerate launch inference_api.py")], "transformers"),
        (workspace(), [workload("python3 /workspace/vllm/inference_api.py --port=5000")], "openai"),
        (workspace(metadata={"annotations": {"kaito.sh/runtime": "vllm"}}), [], "openai"),
        (workspace(inference={"preset": {"name": "llama-2-13b-chat"}}), [], "llama"),
        (workspace(inference={"preset": {"name": "falcon-7b"}}), [], "transformers"),
        (workspace(inference={"preset": {"name": "phi-4"}}), [], "openai"),
        # KAITO v0.9.0 and later, and v0.8.1 before
        (workspace(), [workload("accelerate launch inference_api.py --served_model_name=phi-4")], "openai"),
        (workspace(), [workload("accelerate launch inference_api.py --torch_dtype=auto")], "transformers"),
    ],
)
def test_which_server_runs(asked: Object, workloads: list[Object], protocol: Protocol) -> None:
    assert protocol_of(asked, workloads, SHIPPED) == protocol
    assert path_of(protocol) == ("/v1/chat/completions" if protocol == "openai" else "/chat")


VLLM, PLAIN = "kaito.sh/runtime=vllm", "kaito.sh/runtime=transformers"


@pytest.mark.parametrize(
    ("preset", "runtime", "setting", "protocol"),
    [
        # KAITO v0.3 has no vLLM, v0.4 takes it unless it is switched off, v0.9's other server speaks alike.
        ("falcon-7b", "", Setting("v0.3.2"), "transformers"),
        ("falcon-7b", VLLM, Setting("v0.3.2"), "transformers"),
        ("falcon-7b", "", Setting("v0.4.0"), "openai"),
        ("falcon-7b", PLAIN, Setting("v0.4.0"), "transformers"),
        ("falcon-7b", "", Setting("v0.4.6", gates_off=frozenset({"vLLM"})), "transformers"),
        ("phi-4", "", Setting("v0.4.6"), "openai"),
        ("phi-4", PLAIN, Setting("v0.8.1"), "transformers"),
        ("phi-4", PLAIN, Setting("v0.9.4"), "openai"),
        ("phi-4", PLAIN, Setting("v0.12.0"), "openai"),
        ("falcon-7b", "", Setting("kaitoctl"), "transformers"),
        ("falcon-7b", "", Setting("kaitoctl", image_generation="v0.4.6"), "openai"),
        ("phi-4", "", Setting("kaitoctl"), "openai"),
        ("phi-4", "", Setting(None), "openai"),
    ],
)
def test_which_server_a_release_runs_where_nobody_may_see_it(
    preset: str, runtime: str, setting: Setting, protocol: Protocol
) -> None:
    key, _, value = runtime.partition("=")
    asked = workspace(
        inference={"preset": {"name": preset}}, metadata={"annotations": {key: value} if key else {}}
    )
    assert protocol_of(asked, [], SHIPPED, setting) == protocol
    seen = [workload("accelerate launch inference_api.py")]
    assert protocol_of(asked, seen, SHIPPED, setting) == "transformers"


def body(protocol: Protocol, said: list[Message], **more: Any) -> Any:
    settings = {"model": "m", "max_tokens": 9, "temperature": None, "stream": True, **more}
    return body_of(protocol, said, **settings)


def test_history_is_kept_in_each_servers_way() -> None:
    turns = [{"role": message.role, "content": message.content} for message in SAID]
    assert body("openai", SAID) == {"model": "m", "messages": turns, "max_tokens": 9, "stream": True}
    assert body("llama", SAID, temperature=0.5) == {
        "input_data": {"input_string": [turns]},
        "parameters": {"max_gen_len": 9, "temperature": 0.5},
    }
    assert body("transformers", SAID)["prompt"] == (
        "User: What is it?\nAssistant: A cluster.\nUser: Of what?\nAssistant:"
    )
    assert body("transformers", SAID[:1]) == {
        "prompt": "What is it?",
        "return_full_text": False,
        "generate_kwargs": {"max_new_tokens": 9},
    }


@pytest.mark.parametrize(
    ("protocol", "answer"),
    [
        ("openai", {"choices": [{"message": {"content": " GPUs. "}}]}),
        ("transformers", {"Result": " GPUs. "}),
        ("transformers", {"Result": ["GPUs."]}),
        (
            "llama",
            {"results": [[{"role": "User", "content": "x"}, {"role": "Assistant", "content": "GPUs."}]]},
        ),
    ],
)
def test_what_each_server_answers(protocol: Protocol, answer: Any) -> None:
    assert answer_of(protocol, answer) == "GPUs."
    cases: list[Any] = [None, {}, [], {"Result": 1}, {"choices": "x"}, {"results": [[]]}]
    for nonsense in cases:
        with pytest.raises(ValueError, match="answered something else"):
            answer_of(protocol, nonsense)


def test_pieces_of_a_stream() -> None:
    assert delta_of('data: {"choices": [{"delta": {"content": "GP"}}]}') == "GP"
    assert delta_of('data: {"choices": [{"delta": {"role": "assistant"}}]}') == ""
    assert delta_of(": a comment") == ""
    assert delta_of("data: [DONE]") is None
    with pytest.raises(ValueError, match="too long"):
        delta_of('data: {"error": {"message": "the prompt is too long"}}')


def test_an_answer_that_streams_although_nobody_asked() -> None:
    event = 'data: {"choices": [{"delta": {"content": "%s"}}]}'
    streamed = "\n\n".join([event % "A ", event % "cluster.", "data: [DONE]", event % "more"])
    assert whole_of("openai", streamed) == "A cluster."
    assert whole_of("openai", '{"choices": [{"message": {"content": "A cluster."}}]}') == "A cluster."
    assert whole_of("transformers", '{"Result": "A cluster."}') == "A cluster."
    with pytest.raises(ValueError, match="too long"):
        whole_of("openai", 'data: {"error": {"message": "the prompt is too long"}}')
