"""Hints name what is wrong: TLS that is none, variables that nobody reads, names and numbers too large."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest

from kaitoctl.advice import text
from kaitoctl.commands import sandbox, sandbox_process
from kaitoctl.commands.sandbox_server import shapes
from kaitoctl.errors import InputError, Unreachable
from kaitoctl.kaito import convert, template_variables, templates
from kaitoctl.kube import failures, tls_faults
from kaitoctl.kube.client import Client
from kaitoctl.kube.kubeconfig import Server
from kaitoctl.kube.request import Request


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-OpenSSH_9.6\r\n", b""])
def test_tls_to_a_server_that_speaks_none_does_not_blame_the_certificate(answer: bytes) -> None:
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(answer)
        await writer.drain()
        writer.close()

    async def main() -> Unreachable:
        server = await asyncio.start_server(plain, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            async with Client(Server(f"https://127.0.0.1:{port}", verifies=False)) as client:
                with pytest.raises(Unreachable) as raised:
                    await client.send(Request("GET", "/version"))
        return raised.value

    hint = text(asyncio.run(main()).hint)
    assert "CA" not in hint and "certificate" not in hint


@pytest.mark.parametrize(
    ("code", "words"),
    [(10, "clock"), (18, "CA"), (20, "CA"), (62, "tls-server-name"), (64, "tls-server-name"), (99, "CA")],
)
def test_a_certificate_is_blamed_for_what_is_wrong_with_it(code: int, words: str) -> None:
    error = ssl.SSLCertVerificationError("certificate verify failed")
    error.verify_code = code
    assert words in tls_faults.hint_of(error)


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("WRONG_VERSION_NUMBER", "does not use TLS"),
        ("TLSV13_ALERT_CERTIFICATE_REQUIRED", "client certificate"),
        ("TLSV1_ALERT_PROTOCOL_VERSION", "older than 1.2"),
        ("NEVER_HEARD_OF", "handshake failed"),
    ],
)
def test_a_handshake_is_told_by_its_reason(reason: str, words: str) -> None:
    error = ssl.SSLError(1, "x")
    error.reason = reason
    assert words in tls_faults.hint_of(error)


@pytest.mark.parametrize("error", [ssl.SSLEOFError(8, "EOF occurred"), ConnectionResetError()])
def test_a_handshake_that_ends_before_its_end_was_cut(error: OSError) -> None:
    """Of the second asyncio tells neither a reason nor an errno."""
    told = failures.unreachable("https://h", error, str)
    assert "cut while TLS began" in text(told.hint)
    assert told.cause


@pytest.mark.parametrize(
    ("item", "template", "words"),
    [
        ("methd=qlora", "tuning", "did you mean method?"),
        ("presett=phi-2", None, "did you mean preset?"),
        ("a.b=1", None, "it reads: "),
    ],
)
def test_a_variable_that_no_template_reads_is_refused(item: str, template: str | None, words: str) -> None:
    text = templates.text_of(template)[0] if template else None
    with pytest.raises(InputError) as raised:
        template_variables.insist(template_variables.by_set([item]), text)
    assert "the template has no variable" in raised.value.message
    assert words in raised.value.hint


def test_variables_are_found_in_what_a_template_includes_and_not_looked_for_in_what_nobody_knows() -> None:
    including = '{% include "inference.yaml.j2" %}{{ mine }}'
    known = template_variables.read_by(including)
    assert known is not None and {"mine", "preset", "labels", "count"} <= known
    assert template_variables.read_by("{% include chosen %}") is None
    assert template_variables.read_by("{% if %}") is None
    template_variables.insist(template_variables.by_set(["whatever=1"]), "{% include chosen %}")
    assert template_variables.read_by("{% import chosen as x %}") is None
    assert template_variables.read_by("{% set is_new = 1 %}{{ is_new }}{{ fail(x) }}") == frozenset({"x"})
    for name in templates.names():
        text = templates.text_of(name)[0]
        known = template_variables.read_by(text) or frozenset()
        template_variables.insist(template_variables.by_set(f"{name}=1" for name in known), text)


def test_convert_leaves_in_its_cluster_what_belongs_there() -> None:
    metadata = {
        "name": "w",
        "finalizers": ["workspace.finalizer.kaito.sh"],
        "ownerReferences": [{"kind": "InferenceSet", "name": "s", "uid": "1"}],
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"},
    }
    workspace = {"apiVersion": "kaito.sh/v1alpha1", "kind": "Workspace", "metadata": metadata}
    for version in ("v1alpha1", "v1beta1"):
        made = convert.convert(workspace, version)
        assert made.workspace["metadata"] == {"name": "w"}
        assert "metadata.ownerReferences" in [remark.path for remark in made.remarks]
        assert "metadata.finalizers" not in [remark.path for remark in made.remarks]
    metadata["finalizers"] = ["example.com/backup"]
    assert "metadata.finalizers" in [remark.path for remark in convert.convert(workspace, "v1beta1").remarks]


def test_names_and_numbers_that_are_too_large_are_called_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAITOCTL_STATE_DIR", str(tmp_path))
    assert sandbox_process.folder("a" * 42).path.name == "a" * 42
    with pytest.raises(InputError, match=r"at most 42 .*this one has 43"):
        sandbox_process.folder("a" * 43)
    for count in ("100000", "0", "-1", "9" * 30):
        with pytest.raises(InputError, match="from 1 to 1000 nodes of a type"):
            sandbox._gpu_nodes([f"Standard_NC12s_v3={count}"], shapes())
    for count in ("Standard_NC12s_v3", "Standard_NC12s_v3=many", "=x"):
        with pytest.raises(InputError, match="write TYPE=N"):
            sandbox._gpu_nodes([count], shapes())
