"""The official Python client's settings: who has configured one keeps it.

A program that already has a `kubernetes.client.Configuration` or `ApiClient` (its kubeconfig loaded, its
token hook set) uses the reconcile library with them, by `Client.from_official`. Requests go out by our own
transport (docs/adr/0011); which server it is and who asks there stays the official client's word.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kaitoctl.errors import InputError
from kaitoctl.kube.kubeconfig import Server

if TYPE_CHECKING:
    from kubernetes.client import ApiClient, Configuration


@dataclass(frozen=True, slots=True, repr=False)
class Settings:
    """Whom the official client would be, asked again for each request: its hook may have a newer token."""

    configuration: Configuration

    async def authorization(self) -> str:
        """The value of the header Authorization; empty for none."""
        # Its hook may run a program, or ask a server, and knows nothing of event loops.
        return await asyncio.to_thread(self._authorization)

    def _authorization(self) -> str:
        from kaitoctl.kube.credentials import bearer

        found = self.configuration
        for name in ("authorization", "BearerToken"):  # the second since client 36
            if text := found.get_api_key_with_prefix(name):
                scheme, _, token = str(text).strip().rpartition(" ")
                value = bearer(token.strip(), "the official client's token")
                return value if not scheme else f"{scheme} {token}"
        return str(found.get_basic_auth_token() or "") if found.username else ""


def server(source: ApiClient | Configuration | None = None) -> Server:
    """The server that the official client is configured for.

    Args:
        source: its `ApiClient` or `Configuration`; None loads what `kubernetes.config.load_config` finds: a
            kubeconfig in the usual places, or the pod's own service account.

    Raises:
        InputError: there is no configuration, or it names files that are not there.
    """
    configuration = _load() if source is None else getattr(source, "configuration", source)
    headers = dict(getattr(source, "default_headers", None) or {})
    return Server(
        address=str(configuration.host),
        official=Settings(configuration),
        impersonation=tuple(
            (name, str(value)) for name, value in headers.items() if name.lower().startswith("impersonate-")
        ),
        ca_file=str(configuration.ssl_ca_cert or ""),
        verifies=bool(configuration.verify_ssl),
        tls_server_name=str(getattr(configuration, "tls_server_name", None) or ""),
        proxy=str(configuration.proxy or ""),
        client_certificate=str(configuration.cert_file or ""),
        client_key=str(configuration.key_file or ""),
    )


def _load() -> Configuration:
    from kubernetes import client, config
    from kubernetes.config.config_exception import ConfigException

    configuration = client.Configuration()
    try:
        config.load_config(client_configuration=configuration)
    except (ConfigException, OSError, TypeError) as error:
        raise InputError(f"the official client finds no configuration: {type(error).__name__}") from None
    return configuration
