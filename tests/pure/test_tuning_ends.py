"""Why the data of a tuning Job cannot be fetched, or its result not be pushed; what an exit code says."""

from __future__ import annotations

from typing import Any

import pytest
from trouble import World

from kaitoctl.advice import text
from kaitoctl.kaito.diagnosis.cause import Cause
from kaitoctl.kaito.diagnosis.exit_codes import EXITS, meaning_of

URL = "https://example.com/data.parquet"
POD = "tune-x7k2p"


def tuned(container: str, log: str, code: int) -> Cause:
    """A tuning Job's pod, one container of which has ended."""
    world = World("service-missing").without("Deployment", "ReplicaSet", "Service", "Event")
    workspace, pod = world["Workspace"], world["Pod"]
    del workspace["inference"]
    workspace["tuning"] = {
        "preset": {"name": "falcon-7b"},
        "method": "qlora",
        "input": {"urls": [f"{URL}?sig=s3cret"]},
        "output": {"image": "contoso.azurecr.io/ft:1", "imagePushSecret": "push"},
    }
    workspace["status"]["conditions"] = [
        {"type": "JobStarted", "status": "True", "reason": "started", "observedGeneration": 1}
    ]
    pod["metadata"]["name"] = POD
    pod["spec"]["initContainers"] = [{"name": "data-downloader"}]
    pod["spec"]["containers"] = [{"name": "falcon"}, {"name": "docker-sidecar"}]
    ended: dict[str, Any] = {
        "name": container,
        "state": {"terminated": {"exitCode": code, "reason": "Error"}},
    }
    waits = {"name": "falcon", "state": {"waiting": {"reason": "PodInitializing"}}}
    is_init = container == "data-downloader"
    pod["status"] = {
        "phase": "Failed",
        "initContainerStatuses": [ended] if is_init else [],
        "containerStatuses": [waits] if is_init else [ended],
    }
    return world.cause(logs={(POD, container): log})


@pytest.mark.parametrize(
    ("line", "code", "words", "hint"),
    [
        (
            "curl: (22) The requested URL returned error: 404",
            22,
            "it answers 404",
            "correct tuning.input.urls",
        ),
        ("curl: (22) The requested URL returned error: 410 Gone", 22, "it answers 410", "tuning.input.urls"),
        ("curl: (22) The requested URL returned error: 403", 22, "may not be read", "signature"),
        ("curl: (22) The requested URL returned error: 401 Unauthorized", 22, "may not be read", "image"),
        ("curl: (22) The requested URL returned error: 503", 22, "its server answers 503", "later"),
        ("curl: (22) The requested URL returned error: 429", 22, "its server answers 429", "later"),
        ("curl: (6) Could not resolve host: example.com", 6, "not resolved", "DNS"),
        (
            "curl: (7) Failed to connect to example.com port 443 after 1 ms: Couldn't connect",
            7,
            "reached",
            "DNS",
        ),
        ("curl: (28) Connection timed out after 300000 milliseconds", 28, "in time", "firewall"),
        ("curl: (60) SSL certificate problem: self-signed certificate in chain", 60, "not trusted", "TLS"),
        ("curl: (23) Failure writing output to destination", 23, "no room", "larger disk"),
        ("curl: (3) URL rejected: Malformed input to a URL function", 3, "no address", "tuning.input.urls"),
        (f"nothing came from {URL}", 1, "it is empty", "tuning.input.urls"),
        ("wget: server returned error: HTTP/1.1 404 Not Found", 1, "it answers 404", "tuning.input.urls"),
        ("wget: bad address 'example.com'", 1, "not resolved", "DNS"),
        ("", 22, "it answers with an error (curl's exit code 22)", "tuning.input.urls"),
        ("", 6, "not resolved", "DNS"),
    ],
)
def test_data_that_cannot_be_fetched(line: str, code: int, words: str, hint: str) -> None:
    cause = tuned("data-downloader", f"Downloading {URL}?sig=s3cret\n{line}\n" if line else "", code)
    assert cause.code == "tuning-failed"
    assert f"fetching {URL} fails: " in cause.message
    assert words in cause.message
    assert hint in cause.hint
    assert "s3cret" not in str(cause)
    assert "--previous" not in text(cause.command), "its last run is the one that failed"


@pytest.mark.parametrize(
    ("line", "words", "hint"),
    [
        ("denied: requested access to the resource is denied", "denies the push", "(push)"),
        ("unauthorized: authentication required, visit https://aka.ms/acr", "denies the push", "(push)"),
        ("Error response from registry: 403 Forbidden", "denies the push", "imagePushSecret"),
        (
            "Get https://contoso.azurecr.io/v2/: dial tcp: lookup contoso.azurecr.io: no such host",
            "reach",
            "DNS",
        ),
        ("tls: failed to verify certificate: x509: signed by unknown authority", "trusted", "certificate"),
        ("name unknown: The repository does not exist in the registry", "no repository", "create"),
        ("write /var/lib/docker/tmp/x: no space left on device", "no room", "larger disk"),
    ],
)
def test_a_result_that_cannot_be_pushed(line: str, words: str, hint: str) -> None:
    cause = tuned("docker-sidecar", f"The push refers to repository [contoso.azurecr.io/ft]\n{line}\n", 1)
    assert cause.code == "tuning-failed"
    assert "contoso.azurecr.io/ft:1" in cause.message
    assert words in cause.message
    assert hint in cause.hint


def test_other_errors_of_these_containers_are_told_as_they_are() -> None:
    assert "something new" in tuned("docker-sidecar", "fatal error: something new", 1).message
    assert "something new" in tuned("data-downloader", "fatal error: something new", 1).message


@pytest.mark.parametrize("code", sorted({126, 127, 132, 133, 134, 135, 136, 137, 139, 143, 255} | set(EXITS)))
def test_an_exit_code_says_what_it_means_and_what_to_do(code: int) -> None:
    words, hint = meaning_of(code)
    assert words
    assert hint
    if code in (126, 127, 132, 133, 135, 136, 139):
        assert hint != "read its log", "there mostly is none"


@pytest.mark.parametrize(
    ("code", "words", "hint"),
    [
        (132, "SIGILL", "newer CPU"),
        (135, "SIGBUS", "/dev/shm"),
        (139, "SIGSEGV", "not of a memory limit"),
        (127, "does not exist in the image", "check the command"),
        (126, "cannot be executed", "chmod"),
    ],
)
def test_a_server_that_dies_without_a_word(code: int, words: str, hint: str) -> None:
    world = World("killed-after-serving").without("Event")
    ended = world["Pod"]["status"]["containerStatuses"][0]["lastState"]["terminated"]
    ended.update(exitCode=code, reason="Error")
    cause = world.cause()
    assert words in cause.message
    assert hint in cause.hint


def test_a_tuning_that_does_not_fit_its_gpu_is_told_of_its_own_settings() -> None:
    found = tuned("falcon", "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 3.46 GiB.", 1)
    assert found.code == "cuda-out-of-memory"
    assert "per_device_train_batch_size" in found.hint
    assert "max-model-len" not in found.hint
