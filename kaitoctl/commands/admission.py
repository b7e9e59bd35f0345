"""The validating webhook in a process: where it answers, its certificate, the API server's trust in it.

`run-webhook` is nothing else; `run-controller --webhook` has it beside the controller.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from kaitoctl.commands import controller_server
from kaitoctl.commands.webhook_options import Certificates
from kaitoctl.errors import InputError
from kaitoctl.kube.objects import ObjectKey
from kaitoctl.webhook import server

if TYPE_CHECKING:
    from kaitoctl.kube.client import Client
    from kaitoctl.webhook.trust import Trust

logger = logging.getLogger(__name__)

_RELOADED_EVERY_S = 60.0


class Keeper(Protocol):
    """A certificate and its renewal."""

    context: ssl.SSLContext
    missing: str

    @property
    def ends_at(self) -> float:
        """When it ends, in seconds since 1970."""

    async def keep(self) -> None:
        """Renew or reload it forever."""


class _Folder:
    """A certificate that somebody else keeps in files, such as cert-manager's in a mounted Secret."""

    def __init__(self, folder: Path, option: str) -> None:
        self._option = option
        self._files = folder / "tls.crt", folder / "tls.key"
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._loaded: tuple[bytes, ...] = ()
        self.missing = ""
        self.ends_at = float("nan")  # who renews it knows

    def load(self) -> None:
        """Show what the files hold now.

        Raises:
            InputError: they cannot be read, or are no certificate with its key.
        """
        try:
            found = tuple(file.read_bytes() for file in self._files)
            if found != self._loaded:
                self.context.load_cert_chain(*self._files)
                self._loaded = found
        except OSError as error:  # ssl.SSLError is one
            raise InputError(f"{self._option} {self._files[0].parent}: {error.strerror or error}") from None

    async def keep(self) -> None:
        """Reload forever; a certificate that cannot be read leaves the last one in place."""
        while True:
            await asyncio.sleep(_RELOADED_EVERY_S)
            try:
                self.load()
            except InputError as error:
                logger.warning("%s", error)


def of_folder(folder: str, option: str) -> Keeper:
    """The certificate in a folder that an option names.

    Raises:
        InputError: there is none.
    """
    keeper = _Folder(Path(folder), option)
    keeper.load()
    return keeper


def make_trust(client: Client, certificates: Certificates) -> Trust:
    """A certificate that the webhook makes, keeps in its Secret and has the API server trust.

    Raises:
        InputError: what it takes is not installed, or the Secret's name is none.
    """
    try:
        from kaitoctl.webhook.trust import Trust  # needs the extra, and --cert-dir does not
    except ImportError as error:
        hint = f"pip install 'kaitoctl[webhook]', or give a certificate with {certificates.prefix}cert-dir"
        raise InputError(f"to make certificates, {error.name} is needed", hint=hint) from None
    namespace, slash, name = certificates.secret.partition("/")
    if not (namespace and slash and name):
        raise InputError(f"{certificates.prefix}secret {certificates.secret!r}: write NAMESPACE/NAME")
    hosts = certificates.hosts or (f"{name}.{namespace}.svc",)
    return Trust(client, ObjectKey(namespace, name), certificates.configuration, hosts, certificates.manifest)


def address_of(text: str, option: str) -> tuple[str, int]:
    """Where the API server asks.

    Raises:
        InputError: it is no address.
    """
    where = controller_server.address_of(text, option)
    if where is None:
        raise InputError(f"{option} 0: a webhook must be reachable")
    return where


@asynccontextmanager
async def judging(
    reviews: server.Reviews, keeper: Keeper, address: tuple[str, int]
) -> AsyncIterator[asyncio.Task[None]]:
    """Answer the API server while the context lasts, and keep the certificate good; gives what keeps it.

    Raises:
        InputError: the address cannot be had.
    """
    async with had(server.serving(reviews, *address, keeper.context)) as where:
        logger.info("judging Workspaces on https://%s%s", where, server.PATH)
        keeping = asyncio.create_task(keeper.keep())
        try:
            yield keeping
        finally:
            keeping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await keeping


@asynccontextmanager
async def had(opened: AbstractAsyncContextManager[str]) -> AsyncIterator[str]:
    """An address that was asked for; said when it cannot be had."""
    try:
        where = await opened.__aenter__()
    except OSError as error:
        raise InputError(f"cannot listen on this address: {error.strerror or error}") from error
    try:
        yield where
    finally:
        await opened.__aexit__(None, None, None)
