"""`kaitoctl run-webhook`: judge Workspaces before the API server writes them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import ssl
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kaitoctl.commands import controller_logs, controller_server, option_values
from kaitoctl.commands.cluster import connected
from kaitoctl.commands.target import Target
from kaitoctl.commands.target_release import target_option
from kaitoctl.errors import InputError
from kaitoctl.kaito import catalog_file
from kaitoctl.kaito.validation import OWN, Setting
from kaitoctl.kube.objects import ObjectKey
from kaitoctl.webhook import server

if TYPE_CHECKING:
    from kaitoctl.kube.client import Client
    from kaitoctl.webhook.trust import Trust

logger = logging.getLogger(__name__)

_RELOADED_EVERY_S = 60.0


@dataclass(frozen=True, slots=True)
class Certificates:
    """Where the certificate comes from.

    Args:
        folder: with tls.crt and tls.key, which somebody else renews; None to make one.
        secret: `NAMESPACE/NAME` of the Secret to keep it in.
        configuration: the ValidatingWebhookConfiguration that is to trust it.
        hosts: by which the API server calls the webhook; empty for the Service of the Secret's name.
    """

    folder: str | None
    secret: str
    configuration: str
    hosts: tuple[str, ...] = ()


class _Folder:
    """A certificate that somebody else keeps in files, such as cert-manager's in a mounted Secret."""

    def __init__(self, folder: Path) -> None:
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
            raise InputError(f"--cert-dir {self._files[0].parent}: {error.strerror or error}") from None

    async def keep(self) -> None:
        """Reload forever; a certificate that cannot be read leaves the last one in place."""
        while True:
            await asyncio.sleep(_RELOADED_EVERY_S)
            try:
                self.load()
            except InputError as error:
                logger.warning("%s", error)


def run_webhook(
    *,
    address: str,
    certificates: Certificates,
    target_version: str | None,
    catalog: str | None,
    metrics_address: str,
    log_format: str,
    log_level: str,
    target: Target,
) -> int:
    """Answer the API server's questions whether Workspaces may be written, by the rules of `validate`."""
    option_values.one_of(log_format, controller_logs.FORMATS, option="--log-format")
    option_values.one_of(log_level, controller_logs.LEVELS, option="--log-level")
    version = OWN if target_version is None else target_option(target_version)
    setting = Setting(version) if catalog is None else Setting(version, catalog=catalog_file.read(catalog))
    where = controller_server.address_of(address, "--address")
    if where is None:
        raise InputError("--address 0: a webhook has to be reached")
    metrics = controller_server.address_of(metrics_address)
    controller_logs.configure(log_format, log_level)
    asyncio.run(_run(target, certificates, setting, where, metrics))
    return 0


async def _run(
    target: Target,
    certificates: Certificates,
    setting: Setting,
    address: tuple[str, int],
    metrics: tuple[str, int] | None,
) -> None:
    async with AsyncExitStack() as stack:
        if certificates.folder is not None:
            folder = _Folder(Path(certificates.folder))
            folder.load()
            keeper: _Folder | Trust = folder
        else:
            client = await stack.enter_async_context(connected(target, runs_long=True))
            keeper = _trust(client, certificates)
        reviews = server.Reviews(setting, lambda: keeper.missing, lambda: keeper.ends_at)
        if metrics is not None:
            shown = await stack.enter_async_context(_had(controller_server.serving(reviews, *metrics)))
            logger.info("metrics and health on http://%s", shown)
        where = await stack.enter_async_context(_had(server.serving(reviews, *address, keeper.context)))
        logger.info("judging Workspaces on https://%s%s", where, server.PATH)
        task = asyncio.create_task(keeper.keep())
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, task.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await task
        logger.info("stopped")


def _trust(client: Client, certificates: Certificates) -> Trust:
    try:
        from kaitoctl.webhook.trust import Trust  # needs the extra, and --cert-dir does not
    except ImportError as error:
        hint = "pip install 'kaitoctl[webhook]', or give a certificate with --cert-dir"
        raise InputError(f"to make certificates, {error.name} is needed", hint=hint) from None
    namespace, slash, name = certificates.secret.partition("/")
    if not (namespace and slash and name):
        raise InputError(f"--secret {certificates.secret!r}: write NAMESPACE/NAME")
    hosts = certificates.hosts or (f"{name}.{namespace}.svc",)
    return Trust(client, ObjectKey(namespace, name), certificates.configuration, hosts)


@asynccontextmanager
async def _had(opened: AbstractAsyncContextManager[str]) -> AsyncIterator[str]:
    """An address that was asked for; said when it cannot be had."""
    try:
        where = await opened.__aenter__()
    except OSError as error:
        raise InputError(f"the address cannot be had: {error.strerror or error}") from error
    try:
        yield where
    finally:
        await opened.__aexit__(None, None, None)
