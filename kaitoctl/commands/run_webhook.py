"""`kaitoctl run-webhook`: judge Workspaces before the API server writes them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from contextlib import AsyncExitStack

from kaitoctl.commands import admission, controller_logs, controller_server, option_values
from kaitoctl.commands.cluster import connected
from kaitoctl.commands.target import Target
from kaitoctl.commands.target_release import target_option
from kaitoctl.commands.webhook_options import Certificates
from kaitoctl.kaito import catalog_file
from kaitoctl.kaito.validation import OWN, Setting
from kaitoctl.webhook import server

logger = logging.getLogger(__name__)


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
    where = admission.address_of(address, "--address")
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
        keeper: admission.Keeper
        if certificates.folder is not None:
            keeper = admission.of_folder(certificates.folder, "--cert-dir")
        else:
            client = await stack.enter_async_context(connected(target, runs_long=True))
            keeper = admission.make_trust(client, certificates)
        reviews = server.Reviews(setting, lambda: keeper.missing, lambda: keeper.ends_at)
        if metrics is not None:
            probed = controller_server.serving(reviews, *metrics)
            shown = await stack.enter_async_context(admission.had(probed))
            logger.info("metrics and health on http://%s", shown)
        keeping = await stack.enter_async_context(admission.judging(reviews, keeper, address))
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, keeping.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await keeping
        logger.info("stopped")
