"""`deploy/webhook.yaml` on a real API server: it refuses what `validate` calls invalid, in the same words."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from controlplane.plane import ControlPlane, _free_port
from controlplane.webhooks import as_in_space, create, documents, shows_the_words_of_validate
from pure.test_kaito_answers import CODE_ROWS, ROWS
from pure.test_review import GOOD, WRONG
from shell import BIN
from test_deploy import granted

from kaitoctl.kaito import validation
from kaitoctl.kaito.validation import OWN, Setting
from kaitoctl.kube.client import connect
from kaitoctl.kube.objects import SECRET, Object, ObjectKey
from kaitoctl.kube.webhooks import VALIDATING
from kaitoctl.webhook.trust import Trust

FILE = Path(__file__).parent.parent.parent / "deploy" / "webhook.yaml"
SPACE, HOME = "admission", "webhook-home"
ACCOUNT = "kaitoctl-webhook"
SECRET_KEY = ObjectKey(HOME, "kaitoctl-webhook")
USER = f"system:serviceaccount:{HOME}:{ACCOUNT}"


@dataclass
class Webhook:
    plane: ControlPlane
    port: int
    metrics: str
    log: Path

    def scrape(self, path: str) -> str:
        with urllib.request.urlopen(f"{self.metrics}{path}", timeout=30) as answer:
            return str(answer.read().decode())


@pytest.fixture(scope="module")
def webhook(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Webhook]:
    """The webhook as its manifest runs it, with its account's rights alone."""
    folder = tmp_path_factory.mktemp("webhook")
    port, metrics = _free_port(), _free_port()
    for name in (SPACE, HOME):
        control_plane.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    for obj in documents(FILE, HOME, SPACE, port):
        control_plane.apply(obj)
    began = control_plane.audit_mark()
    kubeconfig = control_plane.kubeconfig_of_service_account(HOME, ACCOUNT)
    log = folder / "webhook.jsonl"
    arguments = [f"--address=127.0.0.1:{port}", f"--metrics-address=127.0.0.1:{metrics}", "--log-format=json"]
    more = [f"--secret={SECRET_KEY}", "--host=127.0.0.1", f"--kubeconfig={kubeconfig}"]
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            [str(BIN / "kaitoctl"), "run-webhook", *arguments, *more],
            env={"HOME": str(folder), "PATH": os.environ["PATH"]},
            stderr=stderr,
        )
    found = Webhook(control_plane, port, f"http://127.0.0.1:{metrics}", log)
    try:
        _until_ready(found, process)
        yield found
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0, log.read_text()
    finally:
        process.kill()
        process.wait()
        control_plane.send("DELETE", VALIDATING.path("", "kaitoctl-webhook"))
        for name in (SPACE, HOME):
            control_plane.send("DELETE", f"/api/v1/namespaces/{name}")
    roles = {item["kind"]: item for item in documents(FILE, HOME, SPACE, port)}
    given = granted(roles["ClusterRole"]) | granted(roles["Role"])
    used = {
        (event["verb"], event["objectRef"].get("apiGroup", ""), event["objectRef"]["resource"])
        for event in control_plane.audit_events(began)
        if event["user"].get("username") == USER and "objectRef" in event
    }
    assert used <= given, "it asks for what it may not do"
    assert given - used <= {("update", "", "secrets")}, "the roles grant what it does not ask for"


def _until_ready(found: Webhook, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        try:
            if found.scrape("/readyz") == "ok\n":
                break
        except OSError:
            pass
        time.sleep(0.05)
    else:
        pytest.fail(found.log.read_text())
    # The API server takes a moment to know a configuration that was just written.
    while time.monotonic() < deadline:
        if create(found.plane, SPACE, as_in_space(SPACE, WRONG, "probe"))[0] != 201:
            return
        found.plane.send("DELETE", f"/apis/kaito.sh/v1alpha1/namespaces/{SPACE}/workspaces/probe")
        time.sleep(0.05)
    pytest.fail("the API server does not ask")


def cases() -> list[Object]:
    """Manifests of the measured and generated cases, each once, in a version that is served."""
    rows = [row for row in (*ROWS, *CODE_ROWS) if not row.get("old")]
    found = [row.get("manifest") or row["workspace"] for row in rows]
    known = [one for one in found if one.get("apiVersion") in ("kaito.sh/v1alpha1", "kaito.sh/v1beta1")]
    return list({json.dumps(one, sort_keys=True): one for one in known}.values())


def test_the_answers_of_the_api_server_are_those_of_validate(webhook: Webhook) -> None:
    different, counts, denied = [], {True: 0, False: 0}, 0
    for number, manifest in enumerate(cases()):
        made = as_in_space(SPACE, manifest)
        errors = [one for one in validation.judge(made, Setting(OWN)) if one.severity == "error"]
        status, answer = create(webhook.plane, SPACE, made)
        counts[status == 201] += 1
        if (status == 201) == bool(errors):
            different.append((number, made, [one.text for one in errors], status, answer.get("message")))
        elif "denied the request: " in (words := answer.get("message", "")):  # and not by its schema
            denied += 1
            unsaid = [one.in_full for one in errors if f"{one.code} {one.in_full}" not in words]
            different += [(number, made, unsaid, status, words)] if unsaid else []
        if status == 201:
            version = made["apiVersion"].rpartition("/")[2]
            name = answer["metadata"]["name"]
            webhook.plane.send("DELETE", f"/apis/kaito.sh/{version}/namespaces/{SPACE}/workspaces/{name}")
    assert different == []
    assert min(*counts.values(), denied) >= 20, (counts, denied)


def test_kubectl_shows_the_words_of_validate(webhook: Webhook, tmp_path: Path) -> None:
    shows_the_words_of_validate(webhook.plane, SPACE, tmp_path)


def test_what_is_there_already_can_be_repaired_and_deleted(webhook: Webhook) -> None:
    """Written while nobody judged; its controller goes on writing, and it goes."""
    plane = webhook.plane
    hook = plane.do("GET", VALIDATING.path("", "kaitoctl-webhook"))
    plane.do("DELETE", VALIDATING.path("", "kaitoctl-webhook"))
    made = as_in_space(SPACE, WRONG, "old")
    deadline = time.monotonic() + 30
    while create(plane, SPACE, made)[0] != 201:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    for field in ("uid", "resourceVersion", "generation", "managedFields", "creationTimestamp"):
        hook["metadata"].pop(field, None)
    plane.do("POST", VALIDATING.path(), hook)
    while create(plane, SPACE, as_in_space(SPACE, WRONG, "asked"))[0] == 201:
        plane.send("DELETE", f"/apis/kaito.sh/v1alpha1/namespaces/{SPACE}/workspaces/asked")
        assert time.monotonic() < deadline
        time.sleep(0.05)
    path = f"/apis/kaito.sh/v1alpha1/namespaces/{SPACE}/workspaces/old"
    patch = {"metadata": {"finalizers": ["kaito.sh/test"], "labels": {"a": "b"}}}
    merge = "application/merge-patch+json"
    assert plane.send("PATCH", path, patch, content_type=merge)[0] == 200
    worse = {"inference": {"preset": {"name": "falcon-7d"}}}
    assert plane.send("PATCH", path, worse, content_type=merge)[0] == 422
    assert plane.send("DELETE", path)[0] == 200
    assert plane.send("PATCH", path, {"metadata": {"finalizers": None}}, content_type=merge)[0] == 200
    assert plane.send("GET", path)[0] == 404


def test_replicas_share_a_certificate_and_renew_it_with_nobody_refused(webhook: Webhook) -> None:
    plane = webhook.plane

    async def live() -> None:
        async with connect(kubeconfig=plane.kubeconfig) as client:
            first, second = (Trust(client, SECRET_KEY, "kaitoctl-webhook", ["127.0.0.1"]) for _ in range(2))
            before = plane.do("GET", SECRET.path(*SECRET_KEY))["data"]
            await asyncio.gather(first.settle(), second.settle())
            assert plane.do("GET", SECRET.path(*SECRET_KEY))["data"] == before, "theirs is good, and stays"
            assert first.ends_at == second.ends_at > time.time()
            # An edit that leaves no usable certificate: both try, one writes, both show what it wrote.
            broken = {"data": {"tls.crt": "bm9uZQ=="}}
            merge = "application/merge-patch+json"
            plane.send("PATCH", SECRET.path(*SECRET_KEY), broken, content_type=merge)
            await asyncio.gather(first.settle(), second.settle())
            after = plane.do("GET", SECRET.path(*SECRET_KEY))["data"]
            assert after["tls.crt"] not in (before["tls.crt"], "bm9uZQ==")
            assert first.missing == second.missing == ""

    asyncio.run(live())
    (hook,) = plane.do("GET", VALIDATING.path("", "kaitoctl-webhook"))["webhooks"]
    data = plane.do("GET", SECRET.path(*SECRET_KEY))["data"]
    assert hook["clientConfig"]["caBundle"] == data["ca.crt"]


def test_a_good_workspace_is_written_and_counted(webhook: Webhook) -> None:
    status, _ = create(webhook.plane, SPACE, as_in_space(SPACE, GOOD, "good"))
    deadline = time.monotonic() + 100  # a renewed certificate is shown within a minute
    while status != 201 and time.monotonic() < deadline:
        time.sleep(1)
        status, _ = create(webhook.plane, SPACE, as_in_space(SPACE, GOOD, "good"))
    assert status == 201
    assert 'operation="CREATE"' in webhook.scrape("/metrics")
