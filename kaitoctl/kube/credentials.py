"""Who we are, request by request: what goes into the header Authorization, and what is new after a 401.

`kubeconfig` says what there is; here it is kept fresh: a token file is read again, a plugin and an issuer are
asked again before what they gave expires. A server's 401 makes us ask once more before anybody hears of it.
"""

from __future__ import annotations

import asyncio
import base64
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, unquote

from kaitoctl.errors import InputError

if TYPE_CHECKING:
    from kaitoctl.kube import exec_plugin, official, oidc
    from kaitoctl.kube.kubeconfig import Server

_TOKEN_FILE_READ_EVERY_S = 60.0
_RENEWED_BEFORE_S = 10.0


class Credentials:
    """Those that never change; none by default.

    Args:
        authorization: the value of the header, empty for none.

    Attributes:
        pair: a client certificate and its key, PEM, that a plugin gave.
    """

    def __init__(self, authorization: str = "") -> None:
        self._authorization = authorization
        self.pair: tuple[bytes, bytes] | None = None

    async def authorization(self) -> str:
        """The value of the header Authorization; empty for none."""
        return self._authorization

    async def renew(self) -> bool:
        """Ask again after a 401; whether there is anybody to ask."""
        return False


class _TokenFile(Credentials):
    """A file that somebody renews; as long as nothing can be read from it, what was there before counts."""

    def __init__(self, file: str, before: str) -> None:
        super().__init__(before)
        self._file = file
        self._read_at = -math.inf

    async def authorization(self) -> str:
        now = time.monotonic()
        if now - self._read_at > _TOKEN_FILE_READ_EVERY_S:
            try:
                token = Path(self._file).read_text(encoding="utf-8").strip()  # noqa: ASYNC240 - one small file
                if not token:
                    raise OSError(0, "it is empty")
            except (OSError, ValueError) as error:
                if not self._authorization:
                    why = error.strerror if isinstance(error, OSError) else "it is not text"
                    raise InputError(f"the token file {self._file} cannot be read: {why}") from None
            else:
                self._authorization = bearer(token, f"the token in {self._file}")
                self._read_at = now
        return self._authorization

    async def renew(self) -> bool:
        self._read_at = -math.inf  # it may have a new one already: not in a minute, but now
        return True


class _Plugin(Credentials):
    """What a program gave, until it expires or the server no longer takes it."""

    def __init__(self, plugin: exec_plugin.Plugin) -> None:
        super().__init__()
        self._plugin = plugin
        self._expires_at = -math.inf
        self._one_at_a_time = asyncio.Lock()

    async def authorization(self) -> str:
        async with self._one_at_a_time:
            if time.time() > self._expires_at - _RENEWED_BEFORE_S:
                given = await self._plugin.ask()
                self._authorization = f"Bearer {given.token}" if given.token else ""
                self.pair = (given.certificate, given.key) if given.certificate else None
                self._expires_at = given.expires_at
        return self._authorization

    async def renew(self) -> bool:
        self._expires_at = -math.inf
        return True


class _Issuer(Credentials):
    """An id-token, and another one from its issuer once it has expired."""

    def __init__(self, issuer: oidc.Issuer) -> None:
        super().__init__()
        self._issuer = issuer
        self._one_at_a_time = asyncio.Lock()

    async def authorization(self) -> str:
        async with self._one_at_a_time:
            return bearer(await self._issuer.id_token(), f"the id-token of user {self._issuer.user!r}")


class _Official(Credentials):
    """Whatever the official client would send now."""

    def __init__(self, settings: official.Settings) -> None:
        super().__init__()
        self._settings = settings

    async def authorization(self) -> str:
        return await self._settings.authorization()

    async def renew(self) -> bool:
        return self._settings.configuration.refresh_api_key_hook is not None


def of(server: Server, where: SplitResult) -> Credentials:
    """The credentials for a server; nobody is asked before the first request.

    Args:
        server: whom we ask.
        where: its address; a user and a password in it outrank all others, as in Go's net/http.

    Raises:
        InputError: a token that no header may have.
    """
    if where.username is not None:
        return _basic(unquote(where.username), unquote(where.password or ""))
    if server.official is not None:
        return _Official(server.official)
    if server.plugin is not None:
        return _Plugin(server.plugin)
    if server.issuer is not None:
        return _Issuer(server.issuer)
    fixed = bearer(server.token, "the token of the kubeconfig's user") if server.token else ""
    if server.token_file:
        return _TokenFile(server.token_file, fixed)
    if server.basic is not None:
        return _basic(*server.basic)
    return Credentials(fixed)


def _basic(name: str, password: str) -> Credentials:
    return Credentials(f"Basic {base64.b64encode(f'{name}:{password}'.encode()).decode()}")


def bearer(token: str, what: str) -> str:
    """The header's value for a token.

    Args:
        token: without blanks around it.
        what: what it is, for the message; which says the character and its place, and no other.

    Raises:
        InputError: a character that no header may have.
    """
    for place, char in enumerate(token, 1):
        if not "!" <= char <= "~":
            raise InputError(
                f"{what} has a character that no header may have: U+{ord(char):04X}, the {place}. of "
                f"{len(token)}",
                hint="it may have come with a copy from a chat or a page; get the token again",
            )
    return f"Bearer {token}"
