"""Users of an OIDC issuer: a new id-token once the old one has expired, and where that is kept."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

import pytest
import yaml
from controlplane.certificates import Authority
from kube.echo_server import Place, encoded, place
from shell import BIN

from kaitoctl.advice import text
from kaitoctl.errors import InputError, KaitoctlError, Unreachable
from kaitoctl.kube import oidc
from kaitoctl.kube.client import connect

CANARY = "s3cret-canary"
NEVER = 4_102_444_800  # in the year 2100


def id_token(expires: float, mark: str = "") -> str:
    parts = ({"alg": "none"}, {"exp": expires, "mark": mark})
    made = (base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)
    return ".".join([*made, CANARY])


class FakeIssuer:
    """An issuer on loopback, over TLS.

    Args:
        authority: who signs its certificate.
        client_in_form: whether it looks for the client in the form alone, as some do.
        rotates: whether each refresh-token serves once.
        answer: what it says instead of a token, with its status.
    """

    def __init__(
        self,
        authority: Authority,
        *,
        client_in_form: bool = False,
        rotates: bool = False,
        answer: tuple[int, Any] | None = None,
    ) -> None:
        self.authority = authority
        self.asked: list[dict[str, str]] = []
        self.clients: list[str] = []
        self.url = ""
        self._client_in_form = client_in_form
        self._rotates = rotates
        self._answer = answer
        self.given = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        lines = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
        body = (await reader.readexactly(int(lines.get("content-length", 0)))).decode()
        status, said = self._said(head, body)
        text = said if isinstance(said, str) else json.dumps(said)
        writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode())
        await writer.drain()
        writer.close()

    def _said(self, head: str, body: str) -> tuple[int, Any]:
        if head.startswith("GET /realm/.well-known/openid-configuration "):
            return 200, {"token_endpoint": f"{self.url}/token?realm=1"}
        if not head.startswith("POST /realm/token?realm=1 "):
            return 404, "no"
        form = {key: value[0] for key, value in parse_qs(body, keep_blank_values=True).items()}
        self.asked.append(form)
        basic = head.partition("Authorization: Basic ")[2].partition("\r\n")[0]
        if basic and self._client_in_form:
            return 401, {"error": "invalid_client", "error_description": f"bad {CANARY}"}
        self.clients.append(base64.b64decode(basic).decode() if basic else form.get("client_id", ""))
        if self._answer:
            return self._answer
        self.given += 1
        said: dict[str, Any] = {"access_token": CANARY, "id_token": id_token(NEVER, f"new-{self.given}")}
        return 200, said | ({"refresh_token": f"{CANARY}-{self.given}"} if self._rotates else {})

    @asynccontextmanager
    async def up(self) -> Any:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(*self.authority.server("issuer"))
        server = await asyncio.start_server(self.serve, "127.0.0.1", 0, ssl=tls)
        self.url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/realm"
        try:
            yield self
        finally:
            server.close()


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with place(tmp_path_factory.mktemp("place")) as found:
        yield found


def kubeconfig(folder: Path, here: Place, url: str, **more: Any) -> Path:
    provider = {
        "idp-issuer-url": url,
        "idp-certificate-authority-data": encoded(here.authority.certificate),
        "client-id": "kubernetes",
        "id-token": id_token(1, "old"),
        "refresh-token": CANARY,
        **more,
    }
    config = yaml.safe_dump({key: value for key, value in provider.items() if value is not None})
    text = f"""\
# the team's cluster
apiVersion: v1
kind: Config
current-context: c   # prod
contexts:
- {{name: c, context: {{cluster: k, user: u}}}}
clusters:
- name: k
  cluster: {{server: "{here.server}", certificate-authority: "{here.ca}"}}
users:
- name: other
  user: {{token: x}}
- name: u
  user:
    auth-provider:
      name: oidc
      config:
        """ + config.strip().replace("\n", "\n        ")
    file = folder / "kubeconfig"
    file.touch(mode=0o600)
    file.write_text(text + "\n")
    return file


async def asked(file: Path, times: int = 1) -> list[str]:
    """Which id-tokens the API server sees."""
    found = []
    async with connect(kubeconfig=file) as client:
        for _ in range(times):
            said = json.loads(await client.text("/echo"))["headers"]["authorization"][0]
            payload = said.removeprefix("Bearer ").split(".")[1]
            claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
            found.append(claims["mark"])
    return found


def provider_of(file: Path) -> dict[str, str]:
    users = yaml.safe_load(file.read_text())["users"]
    config: dict[str, str] = next(it for it in users if it["name"] == "u")["user"]["auth-provider"]["config"]
    return config


@pytest.mark.parametrize("secret", [None, "", "p%w/d"])
@pytest.mark.parametrize("in_form", [False, True])
def test_an_expired_id_token_is_renewed_once_and_kept(
    tmp_path: Path, here: Place, secret: str | None, in_form: bool
) -> None:
    """A public client has no secret; kubectl needs none either."""

    async def story() -> FakeIssuer:
        async with FakeIssuer(here.authority, client_in_form=in_form).up() as issuer:
            file = kubeconfig(tmp_path, here, issuer.url, **{"client-secret": secret})
            before = file.read_text()
            assert await asked(file, 3) == ["new-1"] * 3
            assert await asked(file) == ["new-1"]
            kept = file.read_text()
        changed = [line for line in kept.splitlines() if line not in before.splitlines()]
        assert [line.strip().partition(":")[0] for line in changed] == ["id-token"]
        assert file.stat().st_mode & 0o777 == 0o600
        found: FakeIssuer = issuer
        return found

    issuer = asyncio.run(story())
    assert issuer.given == 1
    assert issuer.asked[-1] | {"client_id": "", "client_secret": ""} == {
        "grant_type": "refresh_token",
        "refresh_token": CANARY,
        "client_id": "",
        "client_secret": "",
    }
    if in_form:
        assert issuer.asked[-1].get("client_secret", "") == (secret or "")
    else:
        assert [unquote(part) for part in issuer.clients[-1].split(":")] == ["kubernetes", secret or ""]


def test_a_refresh_token_that_serves_once_is_replaced_in_the_file(tmp_path: Path, here: Place) -> None:
    async def story() -> None:
        async with FakeIssuer(here.authority, rotates=True).up() as issuer:
            file = kubeconfig(tmp_path, here, issuer.url)
            assert await asked(file) == ["new-1"]
        assert provider_of(file)["refresh-token"] == f"{CANARY}-1"
        assert not list(file.parent.glob("*.lock"))

    asyncio.run(story())


def test_kubectl_uses_what_we_have_kept(tmp_path: Path, here: Place) -> None:
    async def story() -> Path:
        async with FakeIssuer(here.authority, rotates=True).up() as issuer:
            file = kubeconfig(tmp_path, here, issuer.url)
            await asked(file)
        return file

    file = asyncio.run(story())
    done = subprocess.run(
        [BIN / "kubectl", "--kubeconfig", file, "get", "--raw", "/echo"],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        capture_output=True,
        check=True,
        timeout=120,
    )
    header = json.loads(done.stdout)["headers"]["authorization"]
    assert header == [f"Bearer {provider_of(file)['id-token']}"]


def test_a_link_to_a_kubeconfig_stays_a_link(tmp_path: Path, here: Place) -> None:
    async def story() -> Path:
        async with FakeIssuer(here.authority).up() as issuer:
            file = kubeconfig(tmp_path, here, issuer.url)
            real = file.rename(tmp_path / "real")
            file.symlink_to(real)
            await asked(file)
        return file

    file = asyncio.run(story())
    assert file.is_symlink()
    assert ".".join(provider_of(tmp_path / "real")["id-token"].split(".")[:2]) in file.read_text()


@pytest.mark.parametrize("how", ["locked", "read-only", "edited meanwhile"])
def test_a_token_that_cannot_be_kept_is_used_and_that_is_said(
    tmp_path: Path, here: Place, how: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(oidc, "_LOCKED_FOR_S", 0.2)

    def damage(file: Path) -> None:
        if how == "locked":
            Path(f"{file}.lock").touch()
        elif how == "read-only":
            monkeypatch.setattr("os.open", refuse)
        else:
            monkeypatch.setattr("os.open", partial(edited_meanwhile, file, os.open))

    def refuse(*_: Any) -> int:
        raise PermissionError(13, "Permission denied")

    def edited_meanwhile(file: Path, open_: Any, *arguments: Any) -> int:
        if str(arguments[0]) == f"{file}.lock":
            file.write_text("{}")
        opened: int = open_(*arguments)
        return opened

    async def story() -> None:
        async with FakeIssuer(here.authority, rotates=True).up() as issuer:
            file = kubeconfig(tmp_path, here, issuer.url)
            text = file.read_text()
            damage(file)
            assert await asked(file) == ["new-1"]
            if how != "edited meanwhile":
                assert file.read_text() == text

    asyncio.run(story())
    words = " ".join(caplog.messages)
    assert "cannot be kept" in words
    assert "log in again" in words
    assert CANARY not in words


REFUSALS: dict[str, tuple[tuple[int, Any] | None, dict[str, Any], str]] = {
    "no refresh-token": (None, {"refresh-token": None}, "there is no refresh-token"),
    "no client-id": (None, {"client-id": None}, "it has no client-id"),
    "an id-token that is none": (None, {"id-token": CANARY}, "is not a JWT"),
    "revoked": (
        (400, {"error": "invalid_grant", "error_description": CANARY}),
        {},
        "HTTP 400: invalid_grant",
    ),
    "an error that is none": ((400, {"error": CANARY.upper()}), {}, r"HTTP 400\)"),
    "no id-token in it": ((200, {"access_token": CANARY}), {}, "not an id-token"),
    "a page": ((200, f"<html>{CANARY}"), {}, "not an id-token"),
    "a failure": ((503, CANARY), {}, "HTTP 503"),
    "an authority that is none": (None, {"idp-certificate-authority-data": "eHg="}, "cannot be used"),
}


@pytest.mark.parametrize("why", REFUSALS)
def test_what_cannot_be_renewed_is_said_without_any_secret(
    tmp_path: Path, here: Place, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    answer, more, words = REFUSALS[why]

    async def story() -> None:
        async with FakeIssuer(here.authority, answer=answer).up() as issuer:
            await asked(kubeconfig(tmp_path, here, issuer.url, **{"client-secret": CANARY, **more}))

    with pytest.raises(InputError, match=words) as caught:
        asyncio.run(story())
    assert CANARY not in f"{caught.value} {text(caught.value.hint)} {caplog.text}"
    assert "log in again" in caught.value.hint


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("https://me:s3cret-canary@127.0.0.1:1/", Unreachable),
        ("http://idp.example", InputError),
        ("nonsense", InputError),
    ],
)
def test_an_issuer_that_cannot_be_asked_is_named_without_its_password(
    tmp_path: Path, here: Place, url: str, kind: type[KaitoctlError]
) -> None:
    with pytest.raises(kind) as caught:
        asyncio.run(asked(kubeconfig(tmp_path, here, url)))
    assert CANARY not in f"{caught.value} {text(caught.value.hint)}"


def test_an_issuer_of_another_authority_is_not_trusted(tmp_path: Path, here: Place) -> None:
    async def story() -> int:
        async with FakeIssuer(here.stranger).up() as issuer:
            with pytest.raises(Unreachable, match="CERTIFICATE_VERIFY_FAILED"):
                await asked(kubeconfig(tmp_path, here, issuer.url))
            return len(issuer.asked)

    assert asyncio.run(story()) == 0


def test_a_token_is_renewed_before_it_expires(tmp_path: Path, here: Place) -> None:
    async def story() -> None:
        async with FakeIssuer(here.authority).up() as issuer:
            soon, later = id_token(time.time() + 5, "soon"), id_token(time.time() + 600, "later")
            assert await asked(kubeconfig(tmp_path, here, issuer.url, **{"id-token": soon})) == ["new-1"]
            assert await asked(kubeconfig(tmp_path, here, issuer.url, **{"id-token": later})) == ["later"]

    asyncio.run(story())
