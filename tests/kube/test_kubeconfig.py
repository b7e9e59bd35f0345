"""kubeconfigs: whatever is read here is what the official package reads, and what is wrong is said."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from kubernetes.aio.client import Configuration
from kubernetes.aio.config import kube_config

from kaitoctl.errors import InputError
from kaitoctl.kube import credentials, kubeconfig
from kaitoctl.kube.client import Client, connect
from kaitoctl.kube.kubeconfig import Server


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def config(cluster: dict[str, Any], user: dict[str, Any], **context: Any) -> dict[str, Any]:
    return {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u", **context}}],
        "clusters": [{"name": "k", "cluster": {"server": "https://k.example:6443", **cluster}}],
        "users": [{"name": "u", "user": user}],
    }


def written(folder: Path, *configs: Any) -> list[str]:
    files = []
    for number, content in enumerate(configs):
        file = folder / f"config-{number}"
        file.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
        files.append(str(file))
    return files


def official(files: list[str]) -> Any:
    """What the official package makes of the files."""
    made = type.__call__(Configuration)
    asyncio.run(
        kube_config.load_kube_config(
            config_file=":".join(files), client_configuration=made, persist_config=False
        )
    )
    return made


def header_of(server: Server) -> str:
    async def asked() -> str:
        return await Client(server)._transport.authorize()

    return asyncio.run(asked())


@pytest.mark.parametrize(
    ("cluster", "user"),
    [
        ({}, {"token": "t0ken"}),
        ({}, {"tokenFile": "token.txt"}),
        ({}, {"username": "me", "password": "s3cret"}),
        ({"tls-server-name": "other.example"}, {"token": "t"}),
        ({"insecure-skip-tls-verify": True}, {"token": "t"}),
        ({"proxy-url": "http://proxy.example:3128"}, {"token": "t"}),
    ],
    ids=str,
)
def test_it_is_read_as_by_the_official_package(
    tmp_path: Path, cluster: dict[str, Any], user: dict[str, Any]
) -> None:
    (tmp_path / "token.txt").write_text("from-a-file\n")
    files = written(tmp_path, config(cluster, user))
    ours, theirs = kubeconfig.from_files(files), official(files)
    assert ours is not None
    assert ours.address == theirs.host
    assert ours.verifies is bool(theirs.verify_ssl)
    assert (ours.tls_server_name or None, ours.proxy or None) == (theirs.tls_server_name, theirs.proxy)
    assert header_of(ours) == (_bearer(theirs) or _basic(user))


def _bearer(theirs: Any) -> str:
    return str(asyncio.run(theirs.get_api_key_with_prefix("BearerToken")) or "").rstrip()


def _basic(user: dict[str, Any]) -> str:
    return f"Basic {encoded('me:s3cret')}" if "username" in user else ""


def test_a_token_file_outranks_a_token(tmp_path: Path) -> None:
    """Source: client-go `tools/clientcmd/api/types.go`, AuthInfo."""
    (tmp_path / "token.txt").write_text("from-a-file\n")
    user = {"tokenFile": "token.txt", "token": "older"}
    server = kubeconfig.from_files(written(tmp_path, config({}, user)))
    assert server is not None
    assert header_of(server) == "Bearer from-a-file"


def test_paths_start_at_the_file_that_names_them_and_the_first_file_wins(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    one = config(
        {"certificate-authority": "ca.crt"}, {"client-certificate": "me.crt", "client-key": "/me.key"}
    )
    two = {**config({"server": "https://never"}, {"token": "never"}), "current-context": "other"}
    files = [*written(tmp_path / "one", one), *written(tmp_path / "two", two)]
    server = kubeconfig.from_files(files)
    assert server is not None
    assert server.address == "https://k.example:6443"
    assert server.ca_file == str(tmp_path / "one" / "ca.crt")
    assert (server.client_certificate, server.client_key) == (str(tmp_path / "one" / "me.crt"), "/me.key")
    assert server.token == ""


def test_a_context_may_be_in_another_file_than_its_cluster(tmp_path: Path) -> None:
    whole = config({}, {"token": "t"}, namespace="models")
    parts = [{key: whole[key]} for key in ("users", "clusters", "contexts", "current-context")]
    server = kubeconfig.from_files(written(tmp_path, *parts))
    assert server == Server("https://k.example:6443", namespace="models", token="t")


def test_certificates_may_be_inside(tmp_path: Path) -> None:
    inside = {"client-certificate-data": encoded("CERT"), "client-key-data": encoded("KEY")}
    server = kubeconfig.from_files(
        written(tmp_path, config({"certificate-authority-data": encoded("CA")}, inside))
    )
    assert server is not None
    assert (server.ca_data, server.client_certificate, server.client_key) == ("CA", b"CERT", b"KEY")


def test_json_is_read_too(tmp_path: Path) -> None:
    server = kubeconfig.from_files(written(tmp_path, json.dumps(config({}, {"token": "t"}))))
    assert server is not None
    assert server.token == "t"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "no current context"),
        ("[]", "it is a list, not a map"),
        ("a: [", "cannot be used"),
        ("{", "cannot be used"),
        ({"current-context": "x"}, "there is no context 'x'"),
        ({**config({}, {}), "clusters": []}, "there is no cluster 'k'"),
        ({**config({}, {}), "users": None}, "there is no user 'u'"),
        (config({"certificate-authority-data": "%%%"}, {}), "not base64"),
        (
            {**config({}, {}), "contexts": [5, {"name": "c", "context": "x"}]},
            "contexts[0] is a number or date, not a map",
        ),
        ({**config({}, {}), "contexts": [{"name": "c"}]}, "there is no cluster named in its context"),
        ({**config({}, {}), "contexts": 5}, "contexts is a number or date, not a list"),
        (config({}, {}), "its user has no credentials"),
    ],
)
def test_what_is_wrong_is_said_with_the_file(tmp_path: Path, content: Any, words: str) -> None:
    files = written(tmp_path, content)
    with pytest.raises(InputError) as caught:
        kubeconfig.from_files(files)
    assert words in str(caught.value)
    assert files[0] in str(caught.value)


def test_secrets_are_not_in_the_words_of_a_server() -> None:
    shown = repr(Server("https://x", token="s3cret", basic=("me", "s3cret"), client_key=b"s3cret"))
    assert "s3cret" not in shown


def a_pod(folder: Path, monkeypatch: pytest.MonkeyPatch, **environment: str) -> None:
    """Make it look as if we ran in a pod. Source: client-go `rest.InClusterConfig`."""
    for name, text in {"token": "t0ken\n", "ca.crt": "CA", "namespace": "models\n"}.items():
        (folder / name).write_text(text)
    monkeypatch.setattr(kubeconfig, "_SERVICE_ACCOUNT", folder)
    given = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "6443", **environment}
    for name in ("KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT", "POD_NAMESPACE"):
        if given.get(name):
            monkeypatch.setenv(name, given[name])
        else:
            monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("environment", "address", "namespace"),
    [
        ({}, "https://10.0.0.1:6443", "models"),
        ({"KUBERNETES_SERVICE_HOST": "fd00::1"}, "https://[fd00::1]:6443", "models"),
        ({"POD_NAMESPACE": "other"}, "https://10.0.0.1:6443", "other"),
    ],
)
def test_in_a_pod_its_service_account_counts(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    address: str,
    namespace: str,
) -> None:
    a_pod(tmp_path, monkeypatch, **environment)
    server = kubeconfig.from_pod()
    assert server is not None
    assert (server.address, server.namespace) == (address, namespace)
    assert (server.token_file, server.ca_file) == (str(tmp_path / "token"), str(tmp_path / "ca.crt"))
    assert asyncio.run(credentials.of(server, urlsplit(server.address)).authorization()) == "Bearer t0ken"


@pytest.mark.parametrize("missing", ["KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"])
def test_without_a_service_it_is_no_pod(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    a_pod(tmp_path, monkeypatch, **{missing: ""})
    assert kubeconfig.from_pod() is None


def test_a_kubeconfig_outranks_the_pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "account").mkdir()
    a_pod(tmp_path / "account", monkeypatch)
    (file,) = written(tmp_path, config({"server": "http://127.0.0.1:1"}, {"token": "t"}))

    async def host() -> str:
        async with connect() as client:
            return client.host

    monkeypatch.setenv("KUBECONFIG", file)
    assert asyncio.run(host()) == "http://127.0.0.1:1"
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "missing"))
    with pytest.raises(InputError, match="certificates cannot be used"):  # of the account: it was taken
        asyncio.run(host())


def test_a_token_file_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "token"
    file.write_text("one")
    now = [100.0]
    monkeypatch.setattr("kaitoctl.kube.credentials.time.monotonic", lambda: now[0])

    async def story() -> list[str]:
        client = Client(Server("https://x.example", token_file=str(file)))
        seen = [await client._transport.authorize()]
        file.write_text("two")
        seen.append(await client._transport.authorize())
        now[0] += 61
        seen.append(await client._transport.authorize())
        file.unlink()
        now[0] += 61
        return [*seen, await client._transport.authorize()]

    assert asyncio.run(story()) == ["Bearer one", "Bearer one", "Bearer two", "Bearer two"]
