"""What a pod that does not take an adapter means: which one it is, and what is wrong with it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from builders import adapter, workspace

from kaitoctl.advice import text
from kaitoctl.kaito.diagnosis import Cause, diagnose
from kaitoctl.kaito.diagnosis.codes import CODES
from kaitoctl.kaito.snapshot import Snapshot
from kaitoctl.kube.objects import Object

NOW = datetime(2026, 1, 1, tzinfo=UTC)
STYLE = adapter()
COPIED: Object = {"state": {"terminated": {"exitCode": 0}}}


def crashed(code: int = 1, reason: str = "Error") -> Object:
    waiting = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}}
    return {"state": waiting, "lastState": {"terminated": {"exitCode": code, "reason": reason}}}


def waiting(reason: str, message: str) -> Object:
    return {"state": {"waiting": {"reason": reason, "message": message}}}


def cause(
    init: Object = COPIED,
    server: Object | None = None,
    log: str = "",
    *,
    secrets: tuple[str, ...] = (),
    entries: tuple[Object, ...] = (STYLE,),
    name: str = "style",
) -> Cause:
    """The root cause, with one pod whose init container and whose server are in these states."""
    pod = {
        "kind": "Pod",
        "metadata": {"name": "falcon-1", "namespace": "default"},
        "spec": {
            "nodeName": "gpu-a",
            "initContainers": [{"name": name, "image": "registry.example/style:1"}],
            "containers": [{"name": "falcon", "image": "registry.example/falcon:1"}],
            "imagePullSecrets": [{"name": secret} for secret in secrets],
        },
        "status": {
            "phase": "Pending",
            "initContainerStatuses": [{"name": name, "image": "registry.example/style:1", **init}],
            "containerStatuses": [
                {"name": "falcon", **(server or waiting("PodInitializing", ""))},
            ],
        },
    }
    where = ("falcon-1", "falcon" if server else name)
    obj = workspace(inference={"adapters": list(entries)})
    found = diagnose(Snapshot(obj, pods=(pod,), logs={where: log} if log else {}), NOW).cause
    assert found is not None
    assert found.code in CODES
    return found


# The messages of containerd, docker and the kubelet, shortened.
@pytest.mark.parametrize(
    ("message", "code", "words"),
    [
        (
            "rpc error: code = NotFound desc = registry.example/style:1: not found",
            "adapter-image-bad",
            "there is no",
        ),
        ("manifest unknown: manifest tagged by 1 is not found", "adapter-image-bad", "there is no image"),
        ("failed to authorize: 401 Unauthorized", "image-unauthorized", "of adapter style"),
        ("unexpected status: 403 Forbidden", "image-unauthorized", "of adapter style"),
        (
            "pull access denied, repository does not exist or may require authorization",
            "image-unauthorized",
            "of adapter style",
        ),
        ("dial tcp: lookup registry.example: no such host", "registry-unreachable", "cannot reach"),
        ("something else", "adapter-image-bad", "cannot be pulled"),
    ],
)
def test_an_image_that_is_not_pulled_is_missing_forbidden_or_out_of_reach(
    message: str, code: str, words: str
) -> None:
    found = cause(waiting("ImagePullBackOff", message))
    assert (found.code, words in found.message) == (code, True), found


def test_a_missing_image_and_a_forbidden_one_come_with_the_command_that_changes_the_adapter() -> None:
    missing = cause(waiting("ErrImagePull", "not found"))
    assert text(missing.command) == "kaitoctl set-adapter falcon -n default --name style --image IMAGE:TAG"
    forbidden = cause(waiting("ErrImagePull", "401 Unauthorized"))
    assert text(forbidden.command).endswith("--name style --image-pull-secret NAME")
    assert "kubectl create secret docker-registry" in forbidden.hint


def test_a_pull_secret_that_does_not_help_is_named() -> None:
    found = cause(waiting("ErrImagePull", "401 Unauthorized"), secrets=("mine",))
    assert "Secret mine has valid credentials" in found.hint


@pytest.mark.parametrize(
    ("log", "code"),
    [
        ("no files in /data of this image", "adapter-empty"),
        ("cp: can't stat '/data/*': No such file or directory", "adapter-empty"),
        ("cp: cannot stat '/data/*': No such file or directory", "adapter-empty"),
        ("cp: write error: No space left on device", "disk-full"),
        ("segmentation fault", "crash-loop"),
    ],
)
def test_a_failed_copy_says_what_the_image_lacks(log: str, code: str) -> None:
    found = cause(crashed(), log=log)
    assert found.code == code
    assert code == "disk-full" or "adapter style" in found.message


@pytest.mark.parametrize(
    "init",
    [
        waiting("RunContainerError", 'exec: "/bin/sh": stat /bin/sh: no such file or directory: unknown'),
        waiting("StartError", 'exec: "sh": executable file not found in $PATH'),
        crashed(127),
        crashed(126),
    ],
)
def test_an_image_without_a_shell_cannot_copy_itself(init: Object) -> None:
    found = cause(init)
    assert (found.code, "adapter style has no sh" in found.message) == ("adapter-without-shell", True)


@pytest.mark.parametrize(
    ("log", "code"),
    [
        ("Error determining manifest: reading manifest 1: manifest unknown", "adapter-image-bad"),
        ("Error: reading manifest 1: unauthorized: authentication required", "image-unauthorized"),
        ("panic: runtime error", "crash-loop"),
    ],
)
def test_a_puller_of_v012_has_the_registrys_answer_in_its_log(log: str, code: str) -> None:
    found = cause(crashed(), log=log, name="puller-style")
    assert (found.code, "adapter style" in found.message) == (code, True), found


# The messages of PyTorch, PEFT and vLLM.
@pytest.mark.parametrize(
    ("log", "words"),
    [
        (
            "RuntimeError: Error(s) in loading state_dict for PeftModelForCausalLM:\n"
            "\tsize mismatch for base_model.model.layers.0.lora_A.weight: copying a param with shape",
            "adapter style does not fit the model, falcon-7b",
        ),
        ("ValueError: Target modules {'qkv'} not found in the base model.", "does not fit the model"),
        ("ValueError: LoRA rank 64 is greater than max_lora_rank 16.", "does not fit the model"),
        ("ValueError: All adapters must have the same r value when using combination_type linear", "ranks"),
        ("ValueError: Can't find 'adapter_config.json' at '/mnt/adapter/style'", "no adapter_config.json"),
    ],
)
def test_a_server_that_cannot_load_an_adapter_is_no_mere_crash(log: str, words: str) -> None:
    found = cause(server=crashed(), log=log)
    assert (found.code, words in found.message) == ("adapter-misfit", True), found
    assert any(source == "log" for source, _ in found.evidence)


def test_of_several_adapters_the_servers_own_words_say_which_it_was() -> None:
    both = (STYLE, adapter("tone"))
    log = "ValueError: Can't find 'adapter_config.json' at '/mnt/adapter/tone'"
    assert cause(server=crashed(), log=log, entries=both).message.startswith("adapter tone has no")
    log = "size mismatch for layers.0"
    assert "adapter style or tone does not fit" in cause(server=crashed(), log=log, entries=both).message


def test_a_crash_that_has_nothing_to_do_with_adapters_blames_none() -> None:
    found = cause(server=crashed(), log="ModuleNotFoundError: No module named 'x'")
    assert (found.code, "adapter" in found.message) == ("image-broken", False)
    found = cause(server=crashed(), log="size mismatch for layers.0", entries=())
    assert (found.code, "adapter" in found.message) == ("model-files-broken", False)
    found = cause(server=crashed(), log="ZeroDivisionError: division by zero")
    assert (found.code, found.message.endswith("ZeroDivisionError: division by zero")) == ("crash-loop", True)


def test_an_adapter_that_was_loaded_is_not_the_one_that_fails() -> None:
    both = (STYLE, adapter("tone"))
    log = (
        "INFO: Adapter added: style\n"
        "safetensors_rust.SafetensorError: Error while deserializing header: HeaderTooLarge"
    )
    found = cause(server=crashed(), log=log, entries=both)
    assert (found.code, text(found.command).split()[-1]) == ("adapter-misfit", "tone")
    assert "adapter tone is broken" in found.message
    assert "git-lfs" in found.message
