"""An `auth-provider: oidc`: an id-token, and a new one from its issuer once that has expired.

What comes back is written into the kubeconfig that the user is in, under kubectl's own lock (`FILE.lock`),
and only those lines change. No message quotes it, nor what the issuer says besides an error's code.

Source: client-go v0.37 `plugin/pkg/client/auth/oidc/oidc.go`, `tools/clientcmd/config.go` and `loader.go`.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import os
import re
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from kaitoctl.errors import InputError, Unreachable
from kaitoctl.kube import http, names, proxies, tls

_RENEWED_BEFORE_S = 10.0
_TIMEOUT_S = 30.0
_CONNECT_TIMEOUT_S = 10.0
_LOCKED_FOR_S = 5.0  # others write a file in a moment; a lock that is older was left behind
_LOOK_AGAIN_S = 0.1
_FORM = "application/x-www-form-urlencoded"
_LOG_IN = "log in again with the tool that wrote the kubeconfig"
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Issuer:
    """Who gives a user id-tokens.

    Args:
        config: the auth-provider's `config`.
        where: the kubeconfig, for messages.
        user: the user's name in it.
        file: the file that the user is in.
    """

    config: dict[str, str] = field(repr=False)
    where: str
    user: str
    file: Path

    async def id_token(self) -> str:
        """The id-token, a new one when it is about to expire.

        Raises:
            InputError: there is none to be had with what the kubeconfig has.
            Unreachable: the issuer does not answer.
        """
        for key in ("idp-issuer-url", "client-id"):
            if not self.config.get(key):
                raise self._fault(f"it has no {key}")
        token = self.config.get("id-token") or ""
        if token and self._expires_at(token) > time.time() + _RENEWED_BEFORE_S:
            return token
        if not self.config.get("refresh-token"):
            raise self._fault("its id-token has expired, and there is no refresh-token")
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                given = await self._refresh()
        except TimeoutError:
            raise self._unreachable("no answer in time") from None
        self.config = {**self.config, **given}
        await self._keep(given)
        return given["id-token"]

    def _expires_at(self, token: str) -> float:
        """When an id-token expires, in Unix time."""
        try:
            _, payload, _ = token.split(".")
            claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
            return float(claims.get("exp") or 0)
        except (ValueError, TypeError, AttributeError, RecursionError):
            raise self._fault("its id-token is not a JWT") from None

    async def _refresh(self) -> dict[str, str]:
        """What changes in `config` when the issuer is asked with the refresh-token."""
        address = self.config["idp-issuer-url"].rstrip("/")
        status, said = await self._ask(f"{address}/.well-known/openid-configuration")
        endpoint = said.get("token_endpoint") if status == 200 else None
        if not isinstance(endpoint, str) or not endpoint:
            raise self._fault(f"its issuer does not say where tokens are given (HTTP {status})")
        token, client = self.config["refresh-token"], self.config["client-id"]
        secret = self.config.get("client-secret") or ""
        form = {"grant_type": "refresh_token", "refresh_token": token}
        # Issuers differ in where they look for the client; golang.org/x/oauth2 tries both in this order.
        pair = base64.b64encode(f"{quote(client, safe='')}:{quote(secret, safe='')}".encode()).decode()
        status, said = await self._ask(endpoint, form, {"Authorization": f"Basic {pair}"})
        if status != 200:
            inside = {"client_id": client, **({"client_secret": secret} if secret else {})}
            status, said = await self._ask(endpoint, form | inside)
        if status != 200:
            code = str(said.get("error") or "")
            shown = f": {code}" if re.fullmatch("[a-z_]{1,40}", code) else ""
            raise self._fault(f"its issuer gives no new id-token (HTTP {status}{shown})")
        made = said.get("id_token")
        if not isinstance(made, str) or not made:
            raise self._fault(
                "its issuer gave a token that is not an id-token: was it logged in with openid?"
            )
        newer = said.get("refresh_token")
        kept = {"refresh-token": newer} if isinstance(newer, str) and newer and newer != token else {}
        return {"id-token": made, **kept}

    async def _ask(
        self, url: str, form: dict[str, str] | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, Any]]:
        """The status of an answer, and the JSON map in it."""
        parts = urlsplit(url)
        if not names.is_address(url) or (
            parts.scheme != "https" and not proxies.is_loopback(parts.hostname or "")
        ):
            raise self._fault("its issuer's address is not https://")
        where = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        context = self._trust() if parts.scheme == "https" else None
        proxy = proxies.from_environment(where, os.environ) if context else ""
        pool = http.Pool(
            where, ssl=context, proxy=proxy, proxy_ssl=context, connect_timeout_s=_CONNECT_TIMEOUT_S
        )
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        sent = {"Accept": "application/json", **(headers or {})}
        body = None
        if form is not None:
            body, sent["Content-Type"] = urlencode(form).encode(), _FORM
        try:
            answer = await pool.ask("POST" if body else "GET", target or "/", sent, body)
            said = await answer.read()
        except OSError as error:
            raise self._unreachable(tls.cause(error)) from None
        finally:
            await pool.close()
        try:
            made = json.loads(said)
        except (ValueError, RecursionError):
            made = None
        return answer.status, made if isinstance(made, dict) else {}

    def _trust(self) -> Any:
        try:
            data = base64.b64decode(self.config.get("idp-certificate-authority-data") or "").decode()
            return tls.trusting(self.config.get("idp-certificate-authority") or "", data)
        except (OSError, ValueError):
            raise self._fault("its idp-certificate-authority cannot be used") from None

    async def _keep(self, given: dict[str, str]) -> None:
        """Write what has changed into the kubeconfig; when that cannot be, say what follows from it."""
        try:
            async with _lock(self.file):
                _write(self.file, self.user, given)
        except (OSError, ValueError, InputError) as error:
            why = error.strerror if isinstance(error, OSError) else "its layout cannot be edited"
            lost = " a new refresh-token is lost with it; you will have to log in again" * (
                "refresh-token" in given
            )
            _log.warning(
                "the new id-token cannot be kept in %s: %s;%s", self.file, why, lost or " it is used"
            )

    def _fault(self, why: str) -> InputError:
        return InputError(
            f"{self.where}: user {self.user!r} cannot be logged in by oidc: {why}", hint=_LOG_IN
        )

    def _unreachable(self, cause: str) -> Unreachable:
        parts = urlsplit(self.config["idp-issuer-url"])
        shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        return Unreachable(
            f"{self.where}: cannot reach the OIDC issuer {shown} of user {self.user!r}: {cause}",
            cause=cause,
            hint="is it reachable from this network?",
        )


@asynccontextmanager
async def _lock(file: Path) -> AsyncIterator[None]:
    """Hold kubectl's lock on a kubeconfig.

    Raises:
        OSError: somebody else does, and does not give it back.
    """
    lock = Path(f"{file}.lock")
    deadline = time.monotonic() + _LOCKED_FOR_S
    while True:
        try:
            os.close(os.open(lock, os.O_CREAT | os.O_EXCL, 0))  # as kubectl makes it
            break
        except FileExistsError:
            if time.monotonic() > deadline:
                raise OSError(0, f"another process is writing it; if none is, remove {lock}") from None
            await asyncio.sleep(_LOOK_AGAIN_S)
    try:
        yield
    finally:
        with suppress(OSError):
            os.unlink(lock)  # noqa: PTH108 - nothing to wait for


def _write(file: Path, user: str, given: dict[str, str]) -> None:
    """Put what was given into the user's entry, as the file is now; all at once, through links.

    Raises:
        ValueError: there is no such user in it any more.
    """
    from kaitoctl.kube import documents, yaml_editing, yaml_writer

    text = file.read_text(encoding="utf-8-sig")
    found = next((item for item in documents.read(text, str(file)) if not item.fault), None)
    wanted = json.loads(json.dumps(found.obj)) if found else {}
    entry = next((item for item in wanted.get("users") or () if item and item.get("name") == user), None)
    if found is None or entry is None or not (entry.get("user") or {}).get("auth-provider"):
        raise ValueError("the user is gone")
    provider = entry["user"]["auth-provider"]
    provider["config"] = {**(provider.get("config") or {}), **given}
    try:
        made = yaml_editing.edit_document(text, found, wanted)
    except documents.Refused:
        made = yaml_writer.to_yaml(wanted)
    real = file.resolve()
    handle, name = tempfile.mkstemp(dir=real.parent, prefix=f".{real.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as writer:
            writer.write(made)
        Path(name).chmod(real.stat().st_mode & 0o777)
        Path(name).replace(real)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise
