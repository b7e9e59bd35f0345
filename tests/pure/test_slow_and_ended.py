"""Containers that run and are not ready, probes that end them, and pods that somebody threw out."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from trouble import World

from kaitoctl.advice import text
from kaitoctl.commands.observe_deeply import _takes_longer_than
from kaitoctl.kube import pod_state

POD = "falcon-5b8f-abcde"


def running(*, init: str = "", sidecar: bool = False) -> World:
    """A server, or what comes before it, that has run for two hours."""
    world = World("slow-pull").without("Event")
    status = world["Pod"]["status"]
    state: dict[str, Any] = {"state": {"running": {"startedAt": "2026-11-28T14:55:00Z"}}, "ready": False}
    waiting = {"name": "falcon", "ready": False, "state": {"waiting": {"reason": "PodInitializing"}}}
    if init:
        more = {"restartPolicy": "Always"} if sidecar else {}
        world["Pod"]["spec"]["initContainers"] = [{"name": init, **more}]
        status["initContainerStatuses"] = [{"name": init, **state}]
    status["containerStatuses"] = [waiting if init else {"name": "falcon", **state}]
    return world


@pytest.mark.parametrize("sidecar", [False, True])
def test_what_an_init_container_says_stands_beside_its_time(sidecar: bool) -> None:
    log = "[ERROR] agent.auth: error authenticating: Code: 403. permission denied\n[INFO] agent: sleeping\n"
    world = running(init="vault-agent", sidecar=sidecar)
    found = world.cause(logs={(POD, "vault-agent"): log})
    assert found.code == "slow-start"
    assert any(source == "log" and "permission denied" in said for source, said in found.evidence)
    assert text(found.command).endswith("-c vault-agent")


@pytest.mark.parametrize(
    ("line", "is_lonely"),
    [
        ("INFO:     Uvicorn running on http://127.0.0.1:5000 (Press CTRL+C to quit)", True),
        ("* Running on local URL:  http://localhost:7860", True),
        ("main: server is listening on http://[::1]:8080 - starting the main loop", True),
        ("INFO:     Uvicorn running on http://0.0.0.0:5000 (Press CTRL+C to quit)", False),
        ("loading weights from http://127.0.0.1:9000/cache", False),
    ],
)
def test_a_server_that_listens_for_itself_alone(line: str, is_lonely: bool) -> None:
    world = running().event(
        "Unhealthy", "Readiness probe failed: dial tcp 10.244.0.9:5000: connection refused"
    )
    found = world.cause(logs={(POD, "falcon"): line})
    assert (found.code == "bad-arguments") is is_lonely
    assert ("0.0.0.0" in found.hint) is is_lonely


# What the kubelet says of a probe, and the part of it that is wrong; empty where the probe is not to blame.
# Source: Kubernetes v1.37.2 pkg/probe/http, tcp, grpc and exec; Go 1.25 net/http; grpc-go 1.72; runc 1.3.
MESSAGES = [
    ("failed: HTTP probe failed with statuscode: 404", "path"),
    ("failed: HTTP probe failed with statuscode: 401", "path or httpHeaders"),
    ("failed: HTTP probe failed with statuscode: 403", "path or httpHeaders"),
    ("failed: HTTP probe failed with statuscode: 405", "path"),
    ("failed: HTTP probe failed with statuscode: 400", "scheme or httpHeaders"),
    ("failed: HTTP probe failed with statuscode: 426", "scheme"),
    ('failed: Get "http://h:5000/": stopped after 10 redirects', "path"),
    ('failed: Get "https://h:5000/": remote error: tls: handshake failure', "scheme"),
    ('failed: Get "https://h:5000/": remote error: tls: certificate required', "scheme"),
    ('failed: Get "https://h:5000/": remote error: tls: bad certificate', "scheme"),
    ('failed: Get "https://h:5000/": remote error: tls: protocol version not supported', "scheme"),
    ('failed: Get "https://h:5000/": http: server gave HTTP response to HTTPS client', "scheme"),
    ('failed: Get "https://h:5000/": tls: first record does not look like a TLS handshake', "scheme"),
    (
        'failed: Get "http://h:5000/": net/http: HTTP/1.x transport connection broken: malformed HTTP '
        'response "\\x15\\x03\\x01\\x00\\x02\\x02"',
        "scheme",
    ),
    ('failed: Get "http://h:5000/": malformed HTTP response "\\x00\\x00\\x06\\x04\\x00\\x00\\x00"', "kind"),
    ('failed: Get "http://h:5000/": malformed HTTP response "SSH-2.0-OpenSSH_9.6"', "port or scheme"),
    ('errored: strconv.Atoi: parsing "http": invalid syntax', "port"),
    ("errored and resulted in unknown state: invalid port number: 0", "port"),
    ('failed: Get "http://10.1.0.4:500000/": dial tcp: address 500000: invalid port', "port"),
    (
        """errored and resulted in unknown state: parse "http://[::1:5000/health": missing ']' in host""",
        "host or path",
    ),
    ('errored: Get "htps://h:5000/": unsupported protocol scheme "htps"', "host or path"),
    ('failed: Get "http://model:5000/": dial tcp: lookup model on 10.0.0.10:53: no such host', "host"),
    (
        "failed: error: this server does not implement the grpc health protocol (grpc.health.v1.Health): x",
        "kind",
    ),
    (
        "failed: error: health rpc probe failed: rpc error: code = NotFound desc = unknown service",
        "service",
    ),
    (
        'failed: error: failed to connect service at "10.1.0.4:5000": connection error: desc = "error '
        'reading server preface: http2: frame too large"',
        "kind",
    ),
    (
        "errored and resulted in unknown state: rpc error: code = Unknown desc = failed to exec: "
        'exec: "curl": executable file not found in $PATH: unknown',
        "command",
    ),
    ("failed: /bin/sh: 1: curl: not found\n", "command"),
    ('failed: OCI runtime exec failed: exec: "/probe": permission denied: unknown', "command"),
    ("failed: HTTP probe failed with statuscode: 503", ""),
    ("failed: HTTP probe failed with statuscode: 500", ""),
    ('failed: Get "http://10.1.0.4:5000/health": read tcp: read: connection reset by peer', ""),
    ('failed: Get "http://10.1.0.4:5000/health": write: broken pipe', ""),
    ('failed: Get "http://10.1.0.4:5000/health": http: server closed idle connection', ""),
    ('failed: Get "http://10.1.0.4:5000/health": dial tcp 10.1.0.4:5000: connect: connection refused', ""),
    ("failed: dial tcp 10.1.0.4:5000: connect: connection refused", ""),
    ('failed: Get "http://10.1.0.4:5000/health": EOF', ""),
    ('failed: service unhealthy (responded with "NOT_SERVING")', ""),
]
_AWAITING = "(Client.Timeout exceeded while awaiting headers)"
# What a probe meets at a server that has never passed it: words of the message, and none of an engine.
MET = [
    ('failed: Get "http://h:5000/": read: connection reset by peer', "closes the connection", "TLS"),
    ('failed: Get "http://h:5000/": EOF', "closes the connection", "TLS"),
    ('failed: Get "http://h:5000/": write: broken pipe', "closes the connection", "TLS"),
    ('failed: Get "http://h:5000/": http: server closed idle connection', "closes the connection", "TLS"),
    ("failed: HTTP probe failed with statuscode: 503", "probe with 503", "its log says why"),
    ("failed: HTTP probe failed with statuscode: 500", "probe with 500", "its log says by what"),
    ('failed: service unhealthy (responded with "NOT_SERVING")', "does not serve", "its log says why"),
    (
        "errored and resulted in unknown state: rpc error: desc = failed to exec in container: OCI runtime "
        "exec failed: exec failed: unable to start container process: error executing setns process",
        "cannot run the readiness probe's command",
        "container runtime's",
    ),
    ("failed: dial tcp 10.1.0.4:5000: connect: connection refused", "it loads for", "still moves"),
]


@pytest.mark.parametrize(("said", "words", "hint"), MET)
def test_what_a_probe_meets_is_said_and_no_death_is_guessed(said: str, words: str, hint: str) -> None:
    found = running().event("Unhealthy", f"Readiness probe {said}", count=90).cause()
    assert (found.code, words in found.message, hint in found.hint) == ("slow-start", True, True)
    assert "has died" not in found.message


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("cat: /tmp/ready: No such file or directory\n", "probe fails: cat: /tmp/ready: No such file"),
        ("", "probe fails without a word"),
        ("curl: (22) The requested URL returned error: 503\n", "answers the readiness probe with 503"),
        ("curl: (22) The requested URL returned error: 500\n", "answers the readiness probe with 500"),
        ("curl: (52) Empty reply from server\n", "closes the connection"),
        ("curl: (56) Recv failure: Connection reset by peer\n", "closes the connection"),
        ("wget: can't connect to remote host (127.0.0.1): Connection refused\n", "it loads for"),
    ],
)
def test_what_the_command_of_a_probe_says_is_told(said: str, words: str) -> None:
    world = running().event("Unhealthy", f"Readiness probe failed: {said}", count=200)
    world["Pod"]["spec"]["containers"][0]["readinessProbe"] = {"exec": {"command": ["sh", "/ready.sh"]}}
    found = world.cause()
    assert (found.code, words in found.message) == ("slow-start", True)


@pytest.mark.parametrize("said", ["EOF", "read: connection reset by peer", "write: broken pipe"])
@pytest.mark.parametrize("told", ["log", "command"])
def test_a_connection_that_a_server_with_tls_closes_is_the_probes_affair(said: str, told: str) -> None:
    world = running().event("Unhealthy", f'Readiness probe failed: Get "http://h:5000/": {said}', count=90)
    log = "INFO:     Uvicorn running on https://0.0.0.0:5000 (Press CTRL+C to quit)"
    if told == "command":
        world["Pod"]["spec"]["containers"][0]["command"] = ["vllm", "serve", "m", "--ssl-keyfile", "/k.pem"]
        log = ""
    found = world.cause(logs={(POD, "falcon"): log})
    assert found.code == "probe-misdirected"
    assert "the server HTTPS" in found.message


DEAD = "vllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered an issue. See stack trace (above)"
DEATHS = [
    (f"ERROR [async_llm.py:480] AsyncLLM output_handler failed.\n{DEAD}", "worker-died"),
    ("ERROR [core.py:938] EngineCore encountered a fatal error.", "worker-died"),
    ("[core_client.py:564] Engine core proc EngineCore_DP0 died unexpectedly, shutting down", "worker-died"),
    ("RuntimeError: Engine core initialization failed. See root cause above.", "worker-died"),
    ("AsyncEngineDeadError: Background loop has errored already.", "worker-died"),
    (
        f"torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.\n{DEAD}",
        "cuda-out-of-memory",
    ),
    (f"RuntimeError: CUDA error: uncorrectable ECC error encountered\n{DEAD}", "gpu-broken"),
    ("Received sigquit from a child process. It usually means the child failed.", "worker-died"),
]


@pytest.mark.parametrize("began", ["14:55", "16:50"])  # beyond what loading may take, and within it
@pytest.mark.parametrize(("log", "code"), DEATHS)
def test_an_engine_that_died_before_it_was_ever_ready_does_not_load(log: str, code: str, began: str) -> None:
    def found(log: str) -> Any:
        world = running().event("Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 503")
        running_state = {"running": {"startedAt": f"2026-11-28T{began}:00Z"}}
        world["Pod"]["status"]["containerStatuses"][0]["state"] = running_state
        return world.diagnosis(logs={(POD, "falcon"): log}).cause

    dead = found(f"INFO:     Application startup complete.\n{log}\n")
    assert (dead.code, dead.weight) == (code, "fault")
    assert "its engine has died before it was ever ready" in dead.message
    assert "a restart of the pod" in dead.hint
    again = found(f"{log}\nINFO [api_server.py:1847] vLLM API server version 0.11.0\n")
    assert again is None or "has died" not in again.message, "a wrapper has started it again"
    loads = found("INFO Loading safetensors checkpoint shards: 40% Completed\n")
    assert loads is None or "has died" not in loads.message


LATE = [
    f'failed: Get "http://h:5000/": context deadline exceeded {_AWAITING}',
    f'failed: Get "http://h:5000/": net/http: request canceled {_AWAITING}',
    "failed: dial tcp 10.1.0.4:5000: i/o timeout",
    "failed: timeout: health rpc did not complete within 1s",
    'failed: timeout: failed to connect service "10.1.0.4:5000" within 1s: context deadline exceeded',
    'failed: command timed out: "python3 /h.py" timed out after 1s',
    "errored and resulted in unknown state: rpc error: code = DeadlineExceeded desc = too late",
]


@pytest.mark.parametrize("kind", ["Readiness", "Startup", "Liveness"])
@pytest.mark.parametrize(("said", "part"), MESSAGES)
def test_a_probe_that_asks_for_something_else_never_passes(kind: str, said: str, part: str) -> None:
    found = running().event("Unhealthy", f"{kind} probe {said}", count=200).cause()
    assert found.code == ("probe-misdirected" if part else "slow-start")
    assert (f"the {part} of the probe" in found.hint) is bool(part)
    assert (f"its {kind.lower()} probe does not pass" in found.message) is bool(part)


@pytest.mark.parametrize("said", LATE)
def test_a_probe_that_gives_up_too_early_has_a_code_of_its_own(said: str) -> None:
    found = running().event("Unhealthy", f"Readiness probe {said}", count=200).cause()
    assert found.code == "probe-times-out"
    assert "timeoutSeconds" in found.hint


@pytest.mark.parametrize(("said", "part"), MESSAGES)
def test_a_server_that_is_killed_by_a_probe_which_it_cannot_pass(said: str, part: str) -> None:
    for kind in ("Liveness", "Startup"):
        found = killed(f"{kind} probe {said}")
        assert (found.code == "probe-misdirected") is bool(part)
        assert (f"a {kind.lower()} probe kills falcon, which is up" in found.message) is bool(part)


@pytest.mark.parametrize("count", [1, 40])
def test_while_it_may_still_load_only_what_is_certain_is_said(count: int) -> None:
    def young(said: str) -> Any:
        world = running()
        world["Pod"]["status"]["containerStatuses"][0]["state"] = {
            "running": {"startedAt": "2026-11-28T16:50:00Z"}
        }
        return world.event("Unhealthy", f"Readiness probe {said}", count=count).diagnosis().cause

    missing = young("failed: HTTP probe failed with statuscode: 404")
    assert (missing is not None and missing.code == "probe-misdirected") is (count > 10)
    late = young(LATE[0])
    assert late is None or late.code != "probe-times-out"
    of_spec = young(
        'errored and resulted in unknown state: rpc error: exec: "/bin/check": stat /bin/check: no such file'
    )
    assert of_spec is not None
    assert of_spec.code == "probe-misdirected", "a server that comes up changes nothing about it"
    transient = young(
        "errored and resulted in unknown state: rpc error: code = NotFound desc = no running task"
    )
    assert transient is None or transient.code != "probe-misdirected"


@pytest.mark.parametrize("said", ["no route to host", "network is unreachable", "host is down"])
def test_a_probe_that_does_not_arrive_is_the_networks_affair(said: str) -> None:
    words = (
        f'Readiness probe failed: Get "http://10.1.0.4:5000/health": dial tcp 10.1.0.4:5000: connect: {said}'
    )
    found = running().event("Unhealthy", words, count=40).cause()
    assert (found.code, "does not reach" in found.message) == ("probe-times-out", True)
    assert ("CNI" in found.hint, "timeoutSeconds" in found.hint) == (True, False)
    dead = killed(words.replace("Readiness", "Liveness"))
    assert (dead.code, "is up" in dead.message) == ("probe-times-out", False)


@pytest.mark.parametrize(
    ("line", "is_elsewhere"),
    [
        ("INFO:     Uvicorn running on http://0.0.0.0:8000 (Press CTRL+C to quit)", True),
        ("INFO 11-28 api_server.py:1847] Starting vLLM API server 0 on http://0.0.0.0:8000", True),
        ("I1128 grpc_server.cc:2558] Started GRPCInferenceService at 0.0.0.0:8001", True),
        ("main: server is listening on http://[::]:8080 - starting the main loop", True),
        ("[INFO] Listening at: http://*:8080 (1)", True),
        ("INFO:     Uvicorn running on http://0.0.0.0:5000 (Press CTRL+C to quit)", False),
        ("loading weights\n", False),
        ("fetched http://10.0.0.7:9000/weights\n", False),
    ],
)
def test_a_port_on_which_nobody_listens_is_told_from_a_server_that_is_not_up_yet(
    line: str, is_elsewhere: bool
) -> None:
    refused = 'Readiness probe failed: Get "http://10.1.0.4:5000/health": dial tcp 10.1.0.4:5000: connect: '
    world = running().event("Unhealthy", f"{refused}connection refused", count=99)
    found = world.cause(logs={(POD, "falcon"): line})
    assert found.code == ("probe-misdirected" if is_elsewhere else "slow-start")
    assert ("nobody listens on port 5000" in found.message) is is_elsewhere


@pytest.mark.parametrize(
    ("command", "is_elsewhere"),
    [
        (["vllm", "serve", "m", "--port", "8000"], True),
        (["vllm", "serve", "m", "--port=8000"], True),
        (["/bin/sh", "-c", "exec python3 -m vllm.entrypoints.openai.api_server --port 8000 --model m"], True),
        (["tritonserver", "--http-port=8001"], True),
        (["streamlit", "run", "--server.port=8501"], True),
        (["vllm", "serve", "m", "--port", "5000"], False),
        (["vllm", "serve", "m", "--master-port", "8000"], False),
        (["vllm", "serve", "m"], False),
    ],
)
def test_the_port_is_read_from_the_command_where_the_log_does_not_say_it(
    command: list[str], is_elsewhere: bool
) -> None:
    refused = 'Readiness probe failed: Get "http://10.1.0.4:5000/health": dial tcp 10.1.0.4:5000: connect: '
    for key in ("command", "args"):
        world = running().event("Unhealthy", f"{refused}connection refused", count=99)
        world["Pod"]["spec"]["containers"][0][key] = command
        found = world.cause()
        assert found.code == ("probe-misdirected" if is_elsewhere else "slow-start")
        assert ("nobody listens on port 5000" in found.message) is is_elsewhere
    log = {(POD, "falcon"): "INFO:     Uvicorn running on http://0.0.0.0:5000 (Press CTRL+C to quit)"}
    assert world.cause(logs=log).code == "slow-start", "what the server says itself is so"


def test_the_probe_is_shown_as_the_pod_has_it_and_the_command_leads_to_where_it_is_written() -> None:
    world = running().event("Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 404")
    found = world.cause()
    assert ("pod", "readinessProbe: GET http://:5000/health, timeoutSeconds 1") in found.evidence
    assert text(found.command).startswith("kubectl describe pod"), "a preset's probes are its controller's"
    world["Workspace"]["inference"] = {"template": {"spec": world["Pod"]["spec"]}}
    assert text(world.cause().command) == "kubectl edit workspace falcon -n default"


def test_a_corrected_probe_is_not_blamed_any_more() -> None:
    world = running().event("Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 404")
    assert world.cause().code == "probe-misdirected"
    world["Pod"]["status"]["containerStatuses"][0]["ready"] = True
    world["Pod"]["status"]["conditions"] = [{"type": "Ready", "status": "True"}]
    found = world.diagnosis().cause
    assert found is None or found.code != "probe-misdirected"


def killed(message: str, log: str = "") -> Any:
    world = running()
    status = world["Pod"]["status"]["containerStatuses"][0]
    status |= {"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "restartCount": 3}
    status["lastState"] = {"terminated": {"exitCode": 137, "reason": "Error"}}
    world.event("Unhealthy", message).event("Killing", "Container falcon failed startup probe", kind="Normal")
    return world.cause(logs={(POD, "falcon"): log})


def test_a_probes_command_that_is_too_slow_wants_no_more_time_to_start() -> None:
    found = killed('Startup probe failed: command timed out: "python3 /h.py" timed out after 1s')
    assert found.code == "probe-times-out"
    assert "no answer comes within its time" in found.message
    assert "timeoutSeconds" in found.hint


def test_a_benchmark_that_fails_is_what_the_probe_fails_by() -> None:
    line = "KAITO_BENCHMARK 2026-11-28T15:40:00Z benchmark_failed error=guidellm exited non-zero"
    found = killed("Startup probe failed: ", f"loading\n{line}\nbye\n")
    assert found.code == "benchmark-failed"
    assert "guidellm exited non-zero" in found.message
    assert "disable-benchmark=true" in text(found.command)


@pytest.mark.parametrize("reason", ["DeletionByTaintManager", "DeletionByPodGC", "EvictionByEvictionAPI"])
def test_a_failed_pod_without_a_reason_has_that_of_its_condition(reason: str) -> None:
    world = World("slow-pull").without("Event")
    condition = {"type": "DisruptionTarget", "status": "True", "reason": reason, "message": "m"}
    world["Pod"]["status"] = {"phase": "Failed", "conditions": [condition]}
    assert world.cause().code == "pod-thrown-out"


@pytest.mark.parametrize(
    ("reason", "times", "words"),
    [
        ("SandboxChanged", 80, "sandbox ends again and again"),
        ("VolumePermissionChangeInProgress", 1, "fsGroupChangePolicy"),
    ],
)
def test_a_usual_event_that_comes_too_often_is_a_cause(reason: str, times: int, words: str) -> None:
    world = World("slow-pull").without("Event").event(reason, "it goes on", count=times, kind="Normal")
    assert words in world.cause().hint
    assert (
        "again and again" not in World("slow-pull").without("Event").event("SandboxChanged", "x").cause().hint
    )


@pytest.mark.parametrize(
    ("reason", "said", "code", "words"),
    [
        (
            "ImageInspectError",
            'short-name "x:1" did not resolve to an alias',
            "image-pull-failed",
            "registry",
        ),
        (
            "ErrImagePull",
            "failed to copy: content at https://r.example/v2/x/blobs/sha256:ab not found: not found",
            "image-not-found",
            "push it again",
        ),
        (
            "ErrImagePull",
            'credential provider plugin failed: exec plugin "acr" timed out',
            "image-pull-failed",
            "identity",
        ),
    ],
)
def test_what_is_amiss_with_an_image_that_is_there(reason: str, said: str, code: str, words: str) -> None:
    world = World("slow-pull").without("Event")
    state = {"waiting": {"reason": reason, "message": said}}
    world["Pod"]["status"]["containerStatuses"] = [
        {"name": "falcon", "image": "r.example/x:1", "state": state}
    ]
    found = world.cause()
    assert found.code == code
    assert words in found.hint


def test_only_logs_of_containers_that_take_long_are_read() -> None:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    old: dict[str, Any] = {"state": {"running": {"startedAt": "2020-01-01T00:00:00Z"}}, "ready": False}
    assert _takes_longer_than(1800, old)
    assert not _takes_longer_than(1800, {**old, "ready": True})
    assert not _takes_longer_than(1800, {"state": {"running": {"startedAt": now}}, "ready": False})
    assert not _takes_longer_than(1800, {"state": {"waiting": {}}})


# --- logs that are none ----------------------------------------------------------------------------------

NO_LOGS = [
    "unable to retrieve container logs for containerd://43b90bd8790108485eeaa1617048abf5",
    "unable to retrieve container logs for docker://abc\n",
    "Unable to retrieve container logs for cri-o://abc",
    'failed to try resolving symlinks in path "/var/log/pods/a_b_c/falcon/3.log": lstat x: no such file',
    'failed to open log file "/var/log/pods/a_b_c/falcon/3.log": permission denied',
    'failed to get container status "abc": rpc error: code = NotFound desc = not found',
    'rpc error: code = NotFound desc = an error occurred when try to find container "abc": not found',
    "container status is nil",
]


@pytest.mark.parametrize("said", NO_LOGS)
def test_a_kubelet_that_cannot_read_a_log_writes_why_in_its_place(said: str) -> None:
    assert pod_state.log_failure(said) == said.strip()
    assert pod_state.log_failure(f"loading\n{said}") == "", "a server may say so, too"
    assert pod_state.log_failure("RuntimeError: failed to open log file") == ""
