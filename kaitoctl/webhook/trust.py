"""Keeps the webhook's certificate in a Secret, and the API server's trust in it, while the server runs.

Any number of replicas share one Secret. Who finds the certificate missing or about to end makes the next,
with the resource version as precondition: of two who try, one succeeds, and the other takes what it wrote.
The API server is made to trust an authority before anybody shows a certificate of it.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import os
import ssl
import tempfile
from collections.abc import Sequence
from pathlib import Path

from kaitoctl.advice import Command
from kaitoctl.errors import ApiError, KaitoctlError
from kaitoctl.kube import request
from kaitoctl.kube.client import Client
from kaitoctl.kube.objects import SECRET, Object, ObjectKey, dig
from kaitoctl.kube.webhooks import VALIDATING
from kaitoctl.webhook import certificates
from kaitoctl.webhook.certificates import Certificate

logger = logging.getLogger(__name__)

MANAGER = "kaitoctl-webhook"
_EVERY_S = 60.0
_RETRY_S = 5.0


class Trust:
    """One replica's certificate.

    Args:
        client: of the cluster.
        secret: where the certificate is kept.
        configuration: the ValidatingWebhookConfiguration whose webhooks are to trust it.
        hosts: the names and addresses that the API server calls the webhook by.
        manifest: the file of `deploy/` that has the configuration.
    """

    def __init__(
        self,
        client: Client,
        secret: ObjectKey,
        configuration: str,
        hosts: Sequence[str],
        manifest: str = "deploy/webhook.yaml",
    ) -> None:
        self._manifest = manifest
        self._client = client
        self._secret = secret
        self._configuration = configuration
        self._hosts = tuple(hosts)
        self._shown: Certificate | None = None
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.missing = "no certificate yet"

    @property
    def ends_at(self) -> float:
        """When the certificate that is shown ends, in seconds since 1970; 0 while there is none."""
        return self._shown.ends.timestamp() if self._shown else 0.0

    async def keep(self) -> None:
        """Renew and reload for ever; what goes wrong is logged, and tried again."""
        while True:
            try:
                await self.settle()
            except (KaitoctlError, OSError) as error:  # ssl.SSLError is one
                self.missing = self.missing and str(error)
                logger.warning("the webhook's certificate: %s", error)
            await asyncio.sleep(_RETRY_S if self.missing else _EVERY_S)

    async def settle(self) -> None:
        """Have a good certificate, trusted by the API server, and show it.

        Raises:
            KaitoctlError: the Secret or the configuration cannot be read or written.
        """
        certificate = await self._certificate()
        await self._trust(certificate)
        if certificate != self._shown:
            load(self.context, certificate.chain, certificate.key)
            self._shown = certificate
            logger.info("certificate until %s", certificate.ends.date().isoformat())
        self.missing = ""

    async def _certificate(self) -> Certificate:
        found = await self._read(request.get(SECRET, *self._secret))
        present = certificates.of_secret(found)
        if present and certificates.is_good(present, self._hosts, certificates.now()):
            return present
        made = certificates.make(self._hosts, certificates.now(), before=present)
        secret: Object = {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "kubernetes.io/tls",
            **(found or {}),
            "metadata": {
                **(found or {}).get("metadata", {}),
                "namespace": self._secret.namespace,
                "name": self._secret.name,
            },
            "data": made.data,
        }
        write = request.replace(SECRET, secret) if found else request.create(SECRET, secret)
        try:
            await self._client.send(write)
        except ApiError as error:
            if error.status != 409:
                raise
            return await self._certificate()  # another replica was first
        return made

    async def _trust(self, certificate: Certificate) -> None:
        configuration = await self._read(request.get(VALIDATING, "", self._configuration))
        if configuration is None:
            raise KaitoctlError(
                f"there is no ValidatingWebhookConfiguration {self._configuration}",
                hint=Command("kubectl apply --server-side -f", self._manifest),
            )
        bundle = base64.b64encode(certificate.authorities).decode()
        webhooks = configuration.get("webhooks") or ()
        if all(dig(one, "clientConfig", "caBundle") == bundle for one in webhooks):
            return
        trusting = [{"name": one["name"], "clientConfig": {"caBundle": bundle}} for one in webhooks]
        body: Object = {
            "apiVersion": VALIDATING.api_version,
            "kind": VALIDATING.kind,
            "metadata": {"name": self._configuration},
            "webhooks": trusting,
        }
        await self._client.send(request.apply(VALIDATING, body, manager=MANAGER, force=True))

    async def _read(self, asked: request.Request) -> Object | None:
        try:
            found: Object = await self._client.send(asked)
        except ApiError as error:
            if error.status == 404:
                return None
            raise
        return found


def load(context: ssl.SSLContext, chain: bytes, key: bytes) -> None:
    """Show this certificate on new connections.

    Python takes it from a file alone. On Linux that is one in memory, which needs no folder to write to and
    leaves no key on a disk; elsewhere one that is there briefly.

    Raises:
        ssl.SSLError: key and certificate do not fit.
    """
    if hasattr(os, "memfd_create") and Path("/proc/self/fd").is_dir():
        with os.fdopen(os.memfd_create("tls"), "wb") as file:
            file.write(chain + key)
            file.flush()
            context.load_cert_chain(f"/proc/self/fd/{file.fileno()}")
        return
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder, "tls.pem")
        made.touch(mode=0o600)
        made.write_bytes(chain + key)
        context.load_cert_chain(made)
