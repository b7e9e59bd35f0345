"""What a running controller shows of itself: probes, metrics, log lines, and dry runs."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import urlopen

import pytest
from builders import workspace
from shell import BIN, Shell

from kaitoctl.commands.controller_logs import JsonLines
from kaitoctl.commands.controller_server import Telemetry, address_of, serving
from kaitoctl.errors import InputError
from kaitoctl.kube.client import Exchange
from kaitoctl.kube.objects import ObjectKey
from kaitoctl.reconcile.controller import Controller, ReconcileResult
from kaitoctl.reconcile.store import Store
from kaitoctl.workspace_controller.wiring import Running

Wait = Callable[[Callable[[], object]], None]
CREATE = ["create", "workspace", "w", "--preset", "falcon-7b", "--instance-type", "Standard_NC12s_v3"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", None),
        ("127.0.0.1:8080", ("127.0.0.1", 8080)),
        (":8080", ("", 8080)),
        ("[::1]:9", ("::1", 9)),
        ("localhost:0", ("localhost", 0)),
    ],
)
def test_an_address_is_host_and_port_or_nowhere(text: str, expected: object) -> None:
    assert address_of(text) == expected


@pytest.mark.parametrize("text", ["", "8080", "host", "host:", "host:x", "host:65536", "host:-1", "host:²"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="HOST:PORT"):
        address_of(text)


def test_exchanges_and_passes_are_counted() -> None:
    telemetry = Telemetry(elects=True)
    path = "/apis/apps/v1/namespaces/n/deployments/w"
    for status in (200, 200, 409, None):
        telemetry.exchanged(Exchange("PATCH", path, {}, status, 0.1))
    key = ObjectKey("n", "w")
    telemetry.worked(ReconcileResult(key, "done", waited_s=0.5, worked_s=0.02))
    telemetry.worked(ReconcileResult(key, "error", waited_s=0.0, worked_s=0.02))
    shown = telemetry.exposition().decode()
    for line in (
        'kaitoctl_api_requests_total{code="200",resource="deployments.apps",verb="patch"} 2.0',
        'kaitoctl_api_requests_total{code="409",resource="deployments.apps",verb="patch"} 1.0',
        'kaitoctl_api_requests_total{code="none",resource="deployments.apps",verb="patch"} 1.0',
        'kaitoctl_reconcile_total{controller="workspace",result="done"} 1.0',
        'kaitoctl_reconcile_errors_total{controller="workspace"} 1.0',
        'kaitoctl_workqueue_latency_seconds_sum{controller="workspace"} 0.5',
        'kaitoctl_workqueue_work_duration_seconds_count{controller="workspace"} 2.0',
        'kaitoctl_workqueue_depth{controller="workspace"} 0.0',
        "kaitoctl_leader 0.0",
    ):
        assert line in shown.splitlines()


def test_who_stands_by_is_ready_and_who_leads_but_has_not_begun_is_not() -> None:
    assert Telemetry(elects=True).unready == ""
    leading = Telemetry(elects=True)
    leading.elected_by(lambda: True)
    assert "has not started" in leading.unready
    assert "has not started" in Telemetry(elects=False).unready


def test_probes_answer_over_http() -> None:
    async def story() -> list[tuple[str, int]]:
        async with serving(Telemetry(elects=False), "127.0.0.1", 0) as where:
            return [
                (page, await asyncio.to_thread(status_of, f"http://{where}/{page}"))
                for page in ("healthz", "readyz", "metrics", "other")
            ]

    assert asyncio.run(story()) == [("healthz", 200), ("readyz", 503), ("metrics", 200), ("other", 404)]


def status_of(url: str) -> int:
    try:
        with urlopen(url, timeout=10) as answer:
            return int(answer.status)
    except HTTPError as error:
        error.close()
        return error.code
    except URLError:
        return 0


def test_a_log_line_is_one_json_object_with_its_fields() -> None:
    record = logging.makeLogRecord(
        {"name": "x", "levelname": "WARNING", "msg": "a\nb %s", "args": ("c",), "key": "n/w", "created": 0.5}
    )
    try:
        raise ValueError("no")
    except ValueError:
        record.exc_info = sys.exc_info()
    text = JsonLines().format(record)
    assert "\n" not in text
    found = json.loads(text)
    assert "ValueError: no" in found.pop("exception")
    assert found == {
        "time": "1970-01-01T00:00:00.500Z",
        "level": "warning",
        "logger": "x",
        "message": "a\nb c",
        "key": "n/w",
    }


# --- as a process ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    shell = Shell(tmp_path_factory.mktemp("home"), "telemetry")
    shell.kaitoctl("sandbox", "up", "--no-controller", "--speed", "200")
    shell.kaitoctl(*CREATE, "--sandbox", "--no-wait")
    yield shell
    shell.kaitoctl("sandbox", "down", "--delete")


@contextmanager
def controller(shell: Shell, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], Path, Path]]:
    """The process, and the files that its stdout and stderr go to."""
    out, err = shell.home / "out", shell.home / "err"
    with out.open("w") as stdout, err.open("w") as stderr:
        command = [str(BIN / "kaitoctl"), "run-controller", "--sandbox", *arguments]
        process = subprocess.Popen(
            command, env=shell.env, cwd=shell.home, stdout=stdout, stderr=stderr, text=True
        )
        try:
            yield process, out, err
        finally:
            process.kill()
            process.wait()


def test_options_that_a_running_sandbox_does_not_have_are_not_taken_in_silence(bare: Shell) -> None:
    said = bare.kaitoctl("sandbox", "up", "--speed", "50").stderr
    assert "is already running, with --speed 200 --no-controller" in said
    assert f"\n  kaitoctl sandbox down --sandbox-name {bare.sandbox}\n" in said
    same = bare.kaitoctl("sandbox", "up", "--no-controller", "--speed", "200").stderr
    assert "is already running\n" in same and "sandbox down" not in same


def test_a_sandbox_that_is_not_there_is_not_said_to_be_deleted(offline: Shell) -> None:
    said = offline.kaitoctl("sandbox", "down", "--delete").stderr
    assert said == f"► there is no sandbox {offline.sandbox}\n"


def test_a_dry_run_prints_its_decisions_and_writes_nothing(bare: Shell, wait_until: Wait) -> None:
    kinds = "workspaces,deployments,services,nodeclaims,events,leases"
    before = [item["metadata"] for item in bare.get(kinds, "-A")["items"]]
    with controller(bare, "--dry-run", "--log-format", "json", "--metrics-address", "0") as (process, out, _):
        wait_until(lambda: "Workspace/status" in out.read_text())
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    decisions = [(line["verb"], line["kind"], line["reason"]) for line in lines]
    assert ("create", "NodeClaim", "missing") in decisions
    assert {line["key"] for line in lines if line["kind"] == "Workspace/status"} == {"default/w"}
    assert [item["metadata"] for item in bare.get(kinds, "-A")["items"]] == before


def test_a_process_answers_probes_and_scrapes_and_logs_json(bare: Shell, wait_until: Wait) -> None:
    options = ("--log-format", "json", "--log-level", "debug", "--metrics-address", "127.0.0.1:0")
    with controller(bare, *options) as (process, _, err):
        wait_until(lambda: "metrics and health on" in err.read_text())
        found = re.search(r"http://127\.0\.0\.1:\d+(?=\")", err.read_text().partition("health on ")[2])
        assert found is not None
        where = found[0]
        ready = 'kaitoctl_workspace_ready{name="w",namespace="default"} 1.0'
        wait_until(lambda: ready in page(f"{where}/metrics"))
        assert status_of(f"{where}/healthz") == status_of(f"{where}/readyz") == 200
        assert "kaitoctl_leader 1.0" in page(f"{where}/metrics")
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0
        lines = [json.loads(line) for line in err.read_text().splitlines()]
    assert all({"time", "level", "logger", "message"} <= line.keys() for line in lines)
    assert any(line.get("key") == "default/w" and line["controller"] == "workspace" for line in lines)


def page(url: str) -> str:
    with urlopen(url, timeout=10) as answer:
        return str(answer.read().decode())


def test_an_address_that_was_named_must_be_had(bare: Shell) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        done = bare.kaitoctl("run-controller", "--sandbox", "--metrics-address", where, code=2)
    assert f"--metrics-address {where}: cannot listen on this address" in done.stderr


HOSTILE = ['w"} 1\nkaitoctl_leader 1', "w\\"]
HOSTILE += ['a",namespace="other', "\r\n# EOF", "ünï\u2028", "{}", "x" * 5000]


def test_no_name_forges_a_sample_or_a_label() -> None:
    """Names that no API server would take: what scrapes reads them as the names they are."""
    from prometheus_client.parser import text_string_to_metric_families

    async def unused(key: ObjectKey) -> None:
        raise AssertionError(key)

    store = Store()
    for name in HOSTILE:
        store._replace(ObjectKey(name, name), workspace(name))
    telemetry = Telemetry(elects=False)
    stores = SimpleNamespace(workspaces=store)
    telemetry.started(Running(Controller("workspace", None, unused), (), stores))  # type: ignore[arg-type]
    for name in HOSTILE:
        path = f"/apis/{quote(name, safe='')}/v1/namespaces/n/{quote(name, safe='')}/x"
        telemetry.exchanged(Exchange("GET", path, {}, 200, 0.1))
    telemetry.exchanged(Exchange('GET"} 1\n', "/version", {}, 200, 0.1))
    shown = telemetry.exposition().decode()
    families = list(text_string_to_metric_families(shown))
    ready = [sample for family in families for sample in family.samples if family.name.endswith("_ready")]
    assert [(s.labels, s.value) for s in ready] == [({"namespace": n, "name": n}, 0.0) for n in HOSTILE]
    leader = [sample.value for family in families for sample in family.samples if "leader" in sample.name]
    assert leader == [1.0]
    asked = {
        sample.labels["resource"]
        for family in families
        for sample in family.samples
        if sample.name == "kaitoctl_api_requests_total"
    }
    assert asked == {f"{name}.{name}" for name in HOSTILE} | {"/version"}
