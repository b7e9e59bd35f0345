"""Three places of an adapter: said, in the pod, loaded; which need not agree."""

from __future__ import annotations

import re
from typing import Any

import pytest
from builders import adapter, workspace
from msgspec.structs import replace

from kaitoctl.commands import adapter_messages
from kaitoctl.errors import NegativeAnswer
from kaitoctl.kaito import adapter_rollout, adapters
from kaitoctl.kaito.adapter_rollout import Row
from kaitoctl.kube.objects import Object

STYLE = adapter()
MOUNT = {"name": "adapter-volume", "mountPath": "/mnt/adapter"}
COPIED = {"terminated": {"exitCode": 0}}


def serving(*entries: Object, **changes: Any) -> Object:
    return workspace(inference={"adapters": list(entries)} if entries else {}, **changes)


def init(name: str = "style", image: str = "registry.example/style:1") -> Object:
    return {"name": name, "image": image, "volumeMounts": [MOUNT]}


def pod(
    *inits: Object,
    states: tuple[Object, ...] = (),
    env: dict[str, str] | None = None,
    main: Object | None = None,
    command: str = "accelerate launch inference_api.py",
    ready: bool = False,
) -> Object:
    statuses = [
        {"name": item["name"], "state": state, "containerID": "x" if "waiting" not in state else ""}
        for item, state in zip(inits, states or (COPIED,) * len(inits), strict=True)
    ]
    environment = [{"name": name, "value": value} for name, value in (env or {}).items()]
    return {
        "metadata": {"name": "falcon-1", "namespace": "default"},
        "spec": {
            "initContainers": list(inits),
            "containers": [{"name": "falcon", "command": ["/bin/sh", "-c", command], "env": environment}],
        },
        "status": {
            "initContainerStatuses": statuses,
            "containerStatuses": [
                {"name": "falcon", "containerID": "x", **(main or {"state": {"running": {}}})}
            ],
            "conditions": [{"type": "Ready", "status": str(ready)}],
        },
    }


# --- said, in the pod, loaded ------------------------------------------------------------------------------


def test_a_pod_has_an_adapter_once_its_files_are_copied_at_the_strength_that_is_said() -> None:
    (row,) = adapter_rollout.rows(serving(STYLE), [pod(init(), env={"style": "0.2"})])
    assert row.agrees
    assert row.strength == "0.2"
    assert row.pods == (adapter_rollout.InPod("style", "registry.example/style:1", "0.2", "copied"),)
    for other in (
        pod(init(), env={"style": "0.9"}),
        pod(init(image="registry.example/style:0"), env={"style": "0.2"}),
        pod(init(), states=({"running": {}},), env={"style": "0.2"}),
        pod(),
    ):
        assert not adapter_rollout.rows(serving(STYLE), [other])[0].agrees


def test_pods_that_cannot_be_seen_neither_agree_nor_disagree() -> None:
    (row,) = adapter_rollout.rows(serving(STYLE), None)
    assert (row.pods, row.agrees) == (None, True)
    assert not adapter_rollout.rows(serving(STYLE), [])[0].agrees


def test_an_adapter_that_only_a_pod_has_does_not_agree() -> None:
    (row,) = adapter_rollout.rows(serving(), [pod(init("old"))])
    assert (row.name, row.is_asked_for, row.agrees) == ("old", False, False)


def test_the_pullers_and_volumes_of_v012_count_as_adapters() -> None:
    obj = serving(adapter("style", strength=None), adapters.entry("tone", volume_claim="weights"))
    found = pod(init("puller-style", "mcr.example/skopeo:1"))
    found["spec"]["volumes"] = [{"name": "adapter-volume-tone"}]
    assert [row.agrees for row in adapter_rollout.rows(obj, [found])] == [True, True]


@pytest.mark.parametrize(
    ("wanted", "pulled", "same"),
    [
        ("registry.example/style:1", "docker://registry.example/style:1", True),
        ("style:1", "docker://docker.io/library/style:1", True),
        ("registry.example/style", "docker://registry.example/style:latest", True),
        ("registry.example/style:1@sha256:ab", "docker://registry.example/style@sha256:ab", True),
        ("registry.example/style:1", "docker://registry.example/style:10", False),
        ("registry.example/style:2", "docker://registry.example/style:1", False),
    ],
)
def test_what_a_puller_of_v012_copies_stands_in_its_script(wanted: str, pulled: str, same: bool) -> None:
    puller = {**init("puller-style", "mcr.example/skopeo:1"), "args": [f'skopeo copy "{pulled}" dir:/tmp']}
    (row,) = adapter_rollout.rows(serving(adapter(image=wanted, strength=None)), [pod(puller)])
    assert row.agrees is same


def test_init_containers_that_mount_no_adapter_volume_are_none() -> None:
    other = {"name": "setup", "image": "busybox:1"}
    assert adapter_rollout.rows(serving(), [pod(other)]) == []


def test_the_old_pod_that_still_serves_does_not_count_as_the_change_having_arrived() -> None:
    old = pod(init(), env={"style": "0.2"}, ready=True)
    assert adapter_rollout.has_arrived(serving(STYLE), [old])
    assert not adapter_rollout.has_arrived(serving(adapter(strength="0.5")), [old])
    assert not adapter_rollout.has_arrived(serving(), [old])
    old["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert not adapter_rollout.has_arrived(serving(STYLE), [old])


def test_what_fails_in_a_pod_made_for_other_adapters_says_nothing_of_these() -> None:
    failing = pod(init(), env={"style": "0.2"}, states=({"waiting": {"reason": "ImagePullBackOff"}},))
    assert not adapter_rollout.are_from_before(serving(STYLE), [failing])
    assert adapter_rollout.are_from_before(serving(adapter(image="registry.example/mended:1")), [failing])
    assert adapter_rollout.are_from_before(serving(), [failing])
    assert not adapter_rollout.are_from_before(serving(STYLE), [])


@pytest.mark.parametrize(
    ("log", "loaded"),
    [
        ("INFO 01-01 inference_api.py:149] Adapter added: style, tone\nINFO ready", ["style", "tone"]),
        ("WARNING Did not find any valid adapters mounted, using base model", []),
        ("[simulated by the kaitoctl sandbox: no process of x ran]\nServing on port 5000.", None),
    ],
)
def test_the_log_of_the_transformers_server_tells_what_it_merged(log: str, loaded: list[str] | None) -> None:
    assert adapter_rollout.loaded_by_log(log) == loaded


def test_vllm_lists_adapters_as_models_with_a_parent() -> None:
    answer: Any = {
        "object": "list",
        "data": [{"id": "phi-4", "parent": None}, {"id": "style", "parent": "phi-4"}],
    }
    assert adapter_rollout.loaded_by_models(answer) == ["style"]
    nonsense: tuple[Any, ...] = (None, [], {"data": 1}, "x")
    for answer in nonsense:
        assert adapter_rollout.loaded_by_models(answer) is None


@pytest.mark.parametrize(
    ("said", "servers", "loaded", "at"),
    [
        ("0.2", [{"style": 0.2}], True, "0.2"),
        ("0.20", [{"style": 0.2}, {"style": 0.2}], True, "0.2"),
        ("0.2", [{"style": 0.8}], False, "0.8"),
        ("0.2", [{"style": 0.2}, {"style": 0.8}], False, "0.2/0.8"),
        ("0.2", [{"style": 0.2}, {}], False, "0.2"),
        ("0.2", [{"other": 0.2}], False, ""),
        ("0,2", [{"style": 0.2}], False, "0.2"),
    ],
)
def test_an_adapter_is_loaded_where_every_server_has_it_at_the_strength_that_is_said(
    said: str, servers: list[dict[str, float]], loaded: bool, at: str
) -> None:
    wanted = serving({**STYLE, "strength": said})
    (row,) = adapter_rollout.rows_by_strength(wanted, [pod(init(), env={"style": said})], servers)
    assert (row.loaded, row.at) == (loaded, at)


def test_our_server_lists_strengths_and_nonsense_lists_none() -> None:
    model = {"id": "tiny", "adapters": [{"name": "style", "strength": 0.2}, {"name": "x"}, 1]}
    assert adapter_rollout.strengths_by_models({"data": [model]}) == {"style": 0.2}
    nonsense: tuple[Any, ...] = (None, [], {"data": 1}, {"data": []}, {"data": [{"adapters": 3}]}, "x")
    for answer in nonsense:
        assert adapter_rollout.strengths_by_models(answer) == {}


def test_which_server_it_is_stands_in_its_command() -> None:
    assert adapter_rollout.is_on_vllm([pod(command="python3 /workspace/vllm/inference_api.py")], workspace())
    assert adapter_rollout.is_on_vllm([pod()], workspace()) is False
    assert adapter_rollout.is_on_vllm([], workspace()) is None


def test_what_a_start_took_is_told_by_a_pod_that_started_once() -> None:
    begun = {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    served = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:03:30Z"}
    obj = pod()
    obj["status"]["conditions"] = [begun, served]
    assert adapter_rollout.took_s([obj]) == 210
    obj["status"]["containerStatuses"][0]["restartCount"] = 1
    assert adapter_rollout.took_s([obj]) is None
    assert adapter_rollout.took_s([]) is None


@pytest.mark.parametrize(
    ("line", "without"),
    [
        ("python3 /workspace/vllm/inference_api.py --model=phi", True),
        ("python3 /workspace/vllm/inference_api.py --enable-lora --model=phi", False),
        ("accelerate launch /workspace/tfs/inference_api.py", False),
    ],
)
def test_vllm_that_was_started_without_adapters_loads_none(line: str, without: bool) -> None:
    main = {"name": "w", "command": ["/bin/sh", "-c", line]}
    workload = {"spec": {"template": {"spec": {"containers": [main]}}}}
    assert adapter_rollout.starts_without_adapters(workload) is without
    assert not adapter_rollout.starts_without_adapters({})


@pytest.mark.parametrize(
    ("loaded", "at", "words"),
    [
        (False, "", "the model server serves without style: in /data of the image must be an"),
        (False, "0.2", "the model server has loaded style at 0.2, not 0.8"),
    ],
)
def test_a_server_that_is_ready_and_has_not_loaded_an_adapter_is_a_negative_answer(
    loaded: bool, at: str, words: str
) -> None:
    row = Row("style", "registry.example/style:1", "0.8", True, (), loaded, at)
    with pytest.raises(NegativeAnswer, match=re.escape(words)):
        adapter_messages.insist_on_loaded([row], "", quietly=True)
    assert NegativeAnswer.exit_code == 1
    for fine in (replace(row, loaded=True), replace(row, loaded=None), replace(row, is_asked_for=False)):
        adapter_messages.insist_on_loaded([fine], "", quietly=True)


def test_a_script_that_comes_or_goes_is_shown_by_its_length() -> None:
    script = "".join(f"line {number}\n\n" for number in range(10))
    short = {"args": ["a", "one\ntwo\n"], "name": "b"}
    before, after = {"c": [short]}, {"c": [short, {"command": ["sh", "-c", script, "end"], "name": "puller"}]}
    told = list(adapter_messages.without_long_texts(adapter_messages.difference(before, after)))
    assert [line for line in told if "line" in line] == ["+     ... 20 lines"]
    assert "+   - end" in told and "+ - name: puller" in told
    back = list(adapter_messages.without_long_texts(adapter_messages.difference(after, before)))
    assert [line for line in back if "line" in line] == ["-     ... 20 lines"]
    changed = {"c": [{"args": ["a", script.replace("line 5", "other")]}]}
    lines = adapter_messages.difference({"c": [{"args": ["a", script]}]}, changed)
    assert list(adapter_messages.without_long_texts(lines)) == lines, "what changes inside of one is seen"
