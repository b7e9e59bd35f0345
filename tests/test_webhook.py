"""`kaitoctl run-webhook` over TLS, its certificates and manifest; tests/controlplane has an API server."""

from __future__ import annotations

import json
import signal
import ssl
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest
import yaml
from pure.test_review import GOOD, WRONG
from shell import BIN

from kaitoctl.commands.webhook_options import WebhookOptions
from kaitoctl.webhook import certificates, server, trust

NOW = datetime(2026, 11, 28, 17, tzinfo=UTC)
HOSTS = ("127.0.0.1", "kaitoctl-webhook.kaitoctl-system.svc")


def as_secret(certificate: certificates.Certificate) -> dict[str, Any]:
    return {"kind": "Secret", "data": certificate.data}


def test_a_certificate_survives_its_secret_and_is_good_until_a_month_before_its_end() -> None:
    made = certificates.make(HOSTS, NOW)
    assert certificates.of_secret(as_secret(made)) == made or certificates.of_secret(as_secret(made))
    found = certificates.of_secret(as_secret(made))
    assert found is not None
    assert (found.chain, found.key, found.authorities) == (made.chain, made.key, made.authorities)
    assert certificates.is_good(found, HOSTS, NOW)
    assert certificates.is_good(found, HOSTS[:1], NOW)
    assert not certificates.is_good(found, (*HOSTS, "other.svc"), NOW)
    late = NOW + certificates.LIFETIME - certificates.RENEWED_BEFORE
    assert certificates.is_good(found, HOSTS, late - timedelta(hours=1))
    assert not certificates.is_good(found, HOSTS, late)
    assert not certificates.is_good(found, HOSTS, NOW - timedelta(hours=1))


def test_the_authority_before_stays_trusted_and_no_older_one() -> None:
    first = certificates.make(HOSTS, NOW)
    second = certificates.make(HOSTS, NOW, before=first)
    third = certificates.make(HOSTS, NOW, before=second)
    count = [one.authorities.count(b"BEGIN CERTIFICATE") for one in (first, second, third)]
    assert count == [1, 2, 2]
    assert first.authorities in second.authorities
    assert first.authorities not in third.authorities
    mixed = certificates.Certificate(first.authorities, second.chain, second.key, second.ends)
    assert not certificates.is_good(mixed, HOSTS, NOW)


@pytest.mark.parametrize(
    "data",
    [
        None,
        {},
        {"tls.crt": "", "tls.key": "", "ca.crt": ""},
        {"tls.crt": "x", "tls.key": "x", "ca.crt": "x"},
        {**certificates.make(HOSTS, NOW).data, "tls.key": "bm8ga2V5"},
        {**certificates.make(HOSTS, NOW).data, "ca.crt": 3},
    ],
)
def test_a_secret_that_holds_none_is_written_anew(data: Any) -> None:
    assert certificates.of_secret({"data": data}) is None


def test_a_certificate_with_the_key_of_another_one_is_not_good() -> None:
    """An edit, or a restore of half a Secret: shown, it would end the process that shows it."""
    made, other = certificates.make(HOSTS, NOW), certificates.make(HOSTS, NOW)
    mixed = certificates.Certificate(made.authorities, made.chain, other.key, made.ends)
    assert certificates.is_good(made, HOSTS, NOW)
    assert not certificates.is_good(mixed, HOSTS, NOW)


def test_a_certificate_is_shown_without_a_folder_to_write_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pods' root is read-only."""
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    made = certificates.make(HOSTS, certificates.now())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trust.load(context, made.chain, made.key)
    with pytest.raises(ssl.SSLError):
        trust.load(context, made.chain, certificates.make(HOSTS, NOW).key)


def test_the_key_is_never_shown() -> None:
    made = certificates.make(HOSTS, NOW)
    assert "PRIVATE" not in repr(made)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = certificates.make(HOSTS, certificates.now())
    for name, text in (("tls.crt", made.chain), ("tls.key", made.key), ("ca.crt", made.authorities)):
        (tmp_path / name).write_bytes(text)
    return tmp_path


def started(*arguments: str) -> tuple[subprocess.Popen[str], str, str]:
    """The process, where reviews are answered, and where probes are."""
    words = [str(BIN / "kaitoctl"), "run-webhook", "--address", "127.0.0.1:0", *arguments]
    process = subprocess.Popen(
        [*words, "--metrics-address", "127.0.0.1:0", "--log-format", "json"],
        stderr=subprocess.PIPE,
        text=True,
    )
    found: list[str] = []
    assert process.stderr
    for line in process.stderr:
        found.append(line)
        message = json.loads(line)["message"] if line.startswith("{") else line
        if "judging" in message:
            break
    else:
        pytest.fail("".join(found))
    metrics, reviews = (json.loads(line)["message"].split(" on ")[1] for line in found)
    return process, reviews, metrics


@pytest.fixture
def webhook(folder: Path) -> Iterator[tuple[str, str, ssl.SSLContext]]:
    process, reviews, metrics = started("--cert-dir", str(folder))
    yield reviews, metrics, ssl.create_default_context(cafile=str(folder / "ca.crt"))
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 0


def post(where: str, body: bytes, context: ssl.SSLContext) -> Any:
    asked = urllib.request.Request(where, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(asked, context=context, timeout=30) as answer:
        return json.load(answer)


def review_of(obj: Any) -> bytes:
    request = {"uid": "u", "operation": "CREATE", "object": obj, "namespace": "d", "name": "w"}
    return json.dumps({"request": request}).encode()


def test_it_answers_over_tls_and_counts(webhook: tuple[str, str, ssl.SSLContext]) -> None:
    where, metrics, trusting = webhook
    assert post(where, review_of(GOOD), trusting)["response"] == {"uid": "u", "allowed": True}
    refusal = post(where, review_of(WRONG), trusting)["response"]
    assert not refusal["allowed"]
    assert "KW142" in refusal["status"]["message"]
    for body in (b"", b"{", b"[]", b"[" * 100_000):
        with pytest.raises(HTTPError) as caught:
            post(where, body, trusting)
        assert caught.value.code == 400
        caught.value.close()
    with urllib.request.urlopen(f"{metrics}/metrics", timeout=30) as answer:
        text = answer.read().decode()
    assert 'kaitoctl_webhook_reviews_total{answer="refuses",operation="CREATE"} 1.0' in text
    assert 'kaitoctl_webhook_reviews_total{answer="admits",operation="CREATE"} 1.0' in text
    with urllib.request.urlopen(f"{metrics}/readyz", timeout=30) as answer:
        assert answer.read() == b"ok\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--cert-dir", "nowhere"], "nowhere: No such file"),
        (["--address", "0", "--cert-dir", "."], "must be reachable"),
        (["--address", "x", "--cert-dir", "."], "--address 'x': write HOST:PORT"),
        (["--target-version", "v9", "--cert-dir", "."], "not a release"),
        (["--secret", "one", "--kubeconfig", "missing"], "no such file"),
    ],
)
def test_bad_usage_is_named(tmp_path: Path, arguments: list[str], words: str) -> None:
    command = [str(BIN / "kaitoctl"), "run-webhook", "--metrics-address", "0", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, timeout=60)
    assert (done.returncode, words in done.stderr) == (2, True), done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--webhook-host", "a.example"], "--webhook-host: there is no webhook without --webhook"),
        (["--webhook", "--dry-run"], "--webhook with --dry-run"),
        (["--webhook", "--webhook-cert-dir", "nowhere"], "--webhook-cert-dir nowhere: No such file"),
        (["--webhook", "--webhook-address", "0"], "--webhook-address 0: a webhook must be reachable"),
        (["--webhook", "--webhook-secret", "one"], "--webhook-secret 'one': write NAMESPACE/NAME"),
    ],
)
def test_bad_usage_beside_a_controller_is_named(tmp_path: Path, arguments: list[str], words: str) -> None:
    command = [str(BIN / "kaitoctl"), "run-controller", "--sandbox", "--metrics-address", "0", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, timeout=60)
    assert (done.returncode, words in done.stderr) == (2, True), done.stderr


def test_files_that_are_no_certificate_are_named(folder: Path) -> None:
    (folder / "tls.key").write_bytes(certificates.make(HOSTS, NOW).key)
    command = [str(BIN / "kaitoctl"), "run-webhook", "--cert-dir", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert str(folder) in done.stderr


MANIFEST = Path(__file__).parent.parent / "deploy" / "webhook.yaml"


def test_the_manifest_is_of_one_piece() -> None:
    """Names, ports and selectors that have to agree, across its objects and the command's defaults."""
    found = {item["kind"]: item for item in yaml.safe_load_all(MANIFEST.read_text())}
    pod = found["Deployment"]["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    labels = pod["metadata"]["labels"]
    (hook,) = found["ValidatingWebhookConfiguration"]["webhooks"]
    service = found["Service"]["metadata"]
    asked = hook["clientConfig"]["service"]
    assert asked == {"name": service["name"], "namespace": service["namespace"], "path": server.PATH}
    assert found["Service"]["spec"]["selector"] == labels
    assert found["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    assert found["Service"]["spec"]["ports"][0]["targetPort"] in [one["name"] for one in container["ports"]]
    (named,) = found["ClusterRole"]["rules"]
    assert named["resourceNames"] == [found["ValidatingWebhookConfiguration"]["metadata"]["name"]]
    assert hook["failurePolicy"] == "Ignore", "a webhook that is away may not stop the repair of a model"
    assert f"--secret={service['namespace']}/{service['name']}" in container["args"]
    done = subprocess.run(
        [str(BIN / "kaitoctl"), container["args"][0], "--help"], capture_output=True, text=True, check=True
    )
    for argument in container["args"][1:]:
        assert argument.partition("=")[0] in done.stdout


def test_in_the_controller_it_has_the_same_rules_and_rights() -> None:
    alone = {item["kind"]: item for item in yaml.safe_load_all(MANIFEST.read_text())}
    beside_file = MANIFEST.with_name("controller-webhook.yaml")
    beside = {item["kind"]: item for item in yaml.safe_load_all(beside_file.read_text())}
    assert beside["ValidatingWebhookConfiguration"] == alone["ValidatingWebhookConfiguration"]
    for kind in ("Role", "ClusterRole"):
        assert beside[kind]["rules"] == alone[kind]["rules"]
        assert beside[f"{kind}Binding"]["roleRef"]["name"] == beside[kind]["metadata"]["name"]
    of_controller = {
        item["kind"]: item
        for item in yaml.safe_load_all(MANIFEST.with_name("controller.yaml").read_text())
        if item["kind"] == "Deployment"
    }
    labels = of_controller["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert beside["Service"]["spec"]["selector"] == labels
    (port,) = beside["Service"]["spec"]["ports"]
    assert f":{port['targetPort']}" == WebhookOptions().webhook_address
    secret = f"{beside['Service']['metadata']['namespace']}/{beside['Service']['metadata']['name']}"
    assert secret == WebhookOptions().webhook_secret
