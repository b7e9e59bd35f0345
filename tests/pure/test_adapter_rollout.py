"""Three places of an adapter: said, in the pod, loaded; and what a failure means in terms of adapters."""

from __future__ import annotations

from typing import Any

import pytest
from builders import adapter, workspace

from kaitoctl.kaito import adapter_rollout, adapters
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
    assert (row.strength, row.pods[0].state if row.pods[0] else "") == ("0.2", "copied")
    for other in (
        pod(init(), env={"style": "0.9"}),
        pod(init(image="registry.example/style:0"), env={"style": "0.2"}),
        pod(init(), states=({"running": {}},), env={"style": "0.2"}),
        pod(),
    ):
        assert not adapter_rollout.rows(serving(STYLE), [other])[0].agrees


def test_an_adapter_that_only_a_pod_has_does_not_agree() -> None:
    (row,) = adapter_rollout.rows(serving(), [pod(init("old"))])
    assert (row.name, row.is_asked_for, row.agrees) == ("old", False, False)


def test_the_pullers_and_volumes_of_v012_count_as_adapters() -> None:
    obj = serving(adapter("style", strength=None), adapters.entry("tone", volume_claim="weights"))
    found = pod(init("puller-style", "mcr.example/skopeo:1"))
    found["spec"]["volumes"] = [{"name": "adapter-volume-tone"}]
    assert [row.agrees for row in adapter_rollout.rows(obj, [found])] == [True, True]


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


# --- what went wrong ---------------------------------------------------------------------------------------


def cause(found: Object, log: str = "", **more: Any) -> adapter_rollout.Cause:
    suspect = adapter_rollout.suspect(serving(STYLE), [found])
    assert suspect is not None
    return adapter_rollout.cause(serving(STYLE), suspect, log, **more)


def pulling(message: str, reason: str = "ImagePullBackOff") -> Object:
    return pod(init(), states=({"waiting": {"reason": reason, "message": message}},))


# The messages of containerd, docker and the kubelet, shortened.
@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("rpc error: code = NotFound desc = ... registry.example/style:1: not found", "does not exist in"),
        ("manifest unknown: manifest tagged by 1 is not found", "does not exist in"),
        ("failed to authorize: ... 401 Unauthorized", "may not be pulled (no pull secret is given)"),
        ("unexpected status: 403 Forbidden", "may not be pulled (no pull"),
        (
            "pull access denied, repository does not exist or may require authorization: server message: "
            "insufficient_scope: authorization failed",
            "does not exist, or may not be pulled",
        ),
        ("dial tcp: lookup registry.example: no such host", "cannot be reached from the node"),
        (
            "tls: failed to verify certificate: x509: certificate signed by unknown authority",
            "cannot be reached",
        ),
        ("no match for platform in manifest", "not built for the node's architecture"),
        ("something else", "cannot be pulled"),
    ],
)
def test_an_image_that_is_not_pulled_says_whether_it_is_missing_or_forbidden(
    message: str, words: str
) -> None:
    found = cause(pulling(message))
    assert found.adapter == "style"
    assert f"registry.example/style:1 {words}" in found.message or words in found.message


def test_a_refused_pull_names_the_secrets_that_did_not_help_and_the_command_that_sets_another() -> None:
    found = cause(pulling("401 Unauthorized"), secrets=["mine"], options=["-n", "models"])
    assert found.message.endswith("may not be pulled (pull secrets: mine)")
    mend = "kaitoctl set-adapter falcon --name style --image-pull-secret SECRET -n models"
    assert found.hint == mend


def crashed(code: int = 1, reason: str = "Error") -> Object:
    last = {"terminated": {"exitCode": code, "reason": reason}}
    waiting = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}}
    return {"state": waiting, "lastState": last}


def failing_init(code: int = 1) -> Object:
    found = pod(init())
    found["status"]["initContainerStatuses"] = [{"name": "style", "containerID": "x", **crashed(code)}]
    return found


@pytest.mark.parametrize(
    ("log", "words"),
    [
        ("no files in /data of this image", "has no files in /data"),
        ("cp: can't stat '/data/*': No such file or directory", "has no files in /data"),
        ("cp: cannot stat '/data/*': No such file or directory", "has no files in /data"),
        ("cp: write error: No space left on device", "the node's disk is full"),
        ("exec /bin/sh: exec format error", "not built for the node's architecture"),
        ("segmentation fault", "its files cannot be copied"),
    ],
)
def test_a_failed_copy_says_what_the_image_lacks(log: str, words: str) -> None:
    found = cause(failing_init(), log)
    assert (found.adapter, words in found.message) == ("style", True), found.message


def test_an_image_without_a_shell_cannot_copy_itself() -> None:
    message = 'exec: "/bin/sh": stat /bin/sh: no such file or directory: unknown'
    found = pod(init(), states=({"waiting": {"reason": "RunContainerError", "message": message}},))
    assert "has no sh" in cause(found).message
    assert "has no sh" in cause(failing_init(127)).message


# The messages of PyTorch, PEFT and vLLM.
@pytest.mark.parametrize(
    ("log", "words"),
    [
        (
            "RuntimeError: Error(s) in loading state_dict for PeftModelForCausalLM:\n"
            "\tsize mismatch for base_model.model.layers.0.lora_A.weight: copying a param with shape ...",
            "cannot load it over falcon-7b",
        ),
        ("ValueError: Target modules {'qkv'} not found in the base model.", "cannot load it over falcon-7b"),
        ("ValueError: LoRA rank 64 is greater than max_lora_rank 16.", "cannot load it over falcon-7b"),
        ("ValueError: All adapters must have the same r value when using combination_type linear", "ranks"),
        ("ValueError: Can't find 'adapter_config.json' at '/mnt/adapter/style'", "no adapter_config.json"),
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate", "too little memory"),
    ],
)
def test_a_server_that_cannot_load_the_adapter_is_no_mere_crash(log: str, words: str) -> None:
    found = cause(pod(init(), main=crashed()), log, changed="style")
    assert (found.adapter, words in found.message) == ("style", True), found.message
    assert found.words


def test_the_servers_own_words_say_which_adapter_it_was() -> None:
    obj = serving(STYLE, adapter("tone"))
    found = adapter_rollout.suspect(obj, [pod(init(), init("tone"), main=crashed())])
    assert found is not None
    log = "Can't find 'adapter_config.json' at '/mnt/adapter/tone'"
    assert adapter_rollout.cause(obj, found, log, changed="style").adapter == "tone"


def test_a_crash_that_has_nothing_to_do_with_adapters_blames_none() -> None:
    found = cause(pod(init(), main=crashed()), "ModuleNotFoundError: No module named 'x'", changed="style")
    assert (found.adapter, found.words) == ("", ("ModuleNotFoundError: No module named 'x'",))
    assert "does not come up" in found.message
    memory = cause(pod(init(), main=crashed(137, "OOMKilled")))
    assert "more memory than the node has" in memory.message


def test_pods_that_get_on_are_not_suspected() -> None:
    assert adapter_rollout.suspect(serving(STYLE), [pod(init())]) is None
