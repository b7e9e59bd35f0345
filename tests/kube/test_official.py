"""A program's own official client, and ours with its settings: the same server, the same person."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from kube.echo_server import Place, place
from kubernetes import client as official
from kubernetes import config as official_config

from kaitoctl.errors import InputError
from kaitoctl.kube.client import Client
from kaitoctl.kube.objects import Object
from kaitoctl.kube.request import Request
from kaitoctl.sandbox.server import ApiServer


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with place(tmp_path_factory.mktemp("official")) as made:
        yield made


def _ours(source: Any, **options: Any) -> Object:
    async def ask() -> Object:
        async with Client.from_official(source, **options) as client:
            return await client.send(Request("GET", "/who"))

    return asyncio.run(ask())


def _theirs(source: official.ApiClient) -> Object:
    response = source.call_api("GET", f"{source.configuration.host}/who", header_params=_auth(source))
    found: Object = json.loads(response.read() or response.data)
    return found


def _auth(source: official.ApiClient) -> dict[str, str]:
    headers: dict[str, str] = {**source.default_headers, "Accept": "application/json"}
    source.update_params_for_auth(headers, [], ["BearerToken"], None, None, None)
    return headers


def _kubeconfig(here: Place, folder: Path, user: Object, **cluster: Any) -> str:
    file = folder / "config"
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "clusters": [
            {"name": "c", "cluster": {"server": here.server, "certificate-authority": here.ca, **cluster}}
        ],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    }
    file.write_text(yaml.safe_dump(content))
    return str(file)


def _users(here: Place) -> dict[str, Object]:
    return {
        "token": {"token": "a-token"},
        "basic": {"username": "ann", "password": "secret"},
        "certificate": {
            "client-certificate": str(here.me.certificate),
            "client-key": str(here.me.key),
        },
    }


@pytest.mark.parametrize("kind", ["token", "basic", "certificate"])
def test_the_server_sees_the_same_person(here: Place, tmp_path: Path, kind: str) -> None:
    file = _kubeconfig(here, tmp_path, _users(here)[kind])
    theirs = official_config.new_client_from_config(file)
    told = _theirs(theirs)
    for source in (theirs, theirs.configuration):
        ours = _ours(source)
        assert ours["certificate"] == told["certificate"]
        assert ours["headers"].get("authorization") == told["headers"].get("authorization")
    assert told["headers"].get("authorization") or told["certificate"] == ["alice"]


def test_a_line_break_after_a_token_is_none_of_it(here: Place, tmp_path: Path) -> None:
    """The official client sends what is in the file as it is, and fails."""
    file = _kubeconfig(here, tmp_path, {"tokenFile": str(here.folder / "token")})
    answered = _ours(official_config.new_client_from_config(file))
    assert answered["headers"]["authorization"] == ["Bearer from-a-file"]


def test_who_acts_for_another_goes_on_doing_so(here: Place, tmp_path: Path) -> None:
    theirs = official_config.new_client_from_config(_kubeconfig(here, tmp_path, {"token": "t"}))
    theirs.set_default_header("Impersonate-User", "jane")
    assert _ours(theirs)["headers"]["impersonate-user"] == ["jane"]


def test_a_token_is_asked_for_again_by_their_own_hook(here: Place, tmp_path: Path) -> None:
    configuration = official.Configuration(host=here.server)
    configuration.ssl_ca_cert = here.ca
    given = iter(["first", "second"])

    def hook(configuration: official.Configuration) -> None:
        configuration.api_key["authorization"] = f"Bearer {next(given)}"

    configuration.refresh_api_key_hook = hook

    async def ask() -> list[str]:
        async with Client.from_official(configuration) as client:
            answers = [await client.send(Request("GET", "/who")) for _ in range(2)]
        return [answer["headers"]["authorization"][0] for answer in answers]

    assert asyncio.run(ask()) == ["Bearer first", "Bearer second"]


def test_a_certificate_that_they_do_not_trust_is_not_trusted(here: Place, tmp_path: Path) -> None:
    stranger = str(here.stranger.certificate)
    file = _kubeconfig(here, tmp_path, {"token": "t"}, **{"certificate-authority": stranger})
    with pytest.raises(Exception, match="certificate"):
        _ours(official_config.new_client_from_config(file))


def test_without_a_client_the_official_search_is_made(
    here: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = _kubeconfig(here, tmp_path, {"token": "found"})
    for module in (official_config, official_config.kube_config):
        monkeypatch.setattr(module, "KUBE_CONFIG_DEFAULT_LOCATION", file)
    assert _ours(None)["headers"]["authorization"] == ["Bearer found"]
    Path(file).unlink()
    with pytest.raises(InputError, match="finds no configuration"):
        _ours(None)


def test_a_token_with_a_character_that_no_header_may_have_is_not_shown(here: Place) -> None:
    configuration = official.Configuration(host=here.server)
    configuration.ssl_ca_cert = here.ca
    configuration.api_key["authorization"] = "Bearer very-secret\u200b"
    with pytest.raises(InputError, match=r"U\+200B") as caught:
        _ours(configuration)
    assert "very-secret" not in str(caught.value)


def test_the_reconcile_library_runs_with_it() -> None:
    from kaitoctl.kube.objects import NODE
    from kaitoctl.reconcile.informer import Informer

    async def names() -> list[str]:
        server = ApiServer(token="t")
        await server.start()
        try:
            configuration = official.Configuration(host=server.address)
            configuration.api_key["authorization"] = "Bearer t"
            async with Client.from_official(configuration) as client:
                node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}}
                await client.send(Request("POST", NODE.path(), body=node))
                informer = Informer(client, NODE)
                await informer.run(once=True)
                return [key.name for key in informer.store]
        finally:
            await server.stop()

    assert asyncio.run(names()) == ["n"]
