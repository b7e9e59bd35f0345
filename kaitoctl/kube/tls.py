"""Whom we trust, and how we prove who we are: TLS contexts, and in words why a connection came to nothing."""

from __future__ import annotations

import logging
import os
import socket
import ssl
from pathlib import Path
from typing import TYPE_CHECKING

from kaitoctl.errors import InputError

if TYPE_CHECKING:
    from kaitoctl.kube.kubeconfig import Server

_log = logging.getLogger(__name__)


def trusting(ca_file: str = "", ca_data: str = "") -> ssl.SSLContext:
    """A context for a server that these authorities vouch for; the system's when neither is given.

    Args:
        ca_file: PEM, by its path.
        ca_data: PEM.

    Raises:
        OSError, ValueError: they are no certificates.
    """
    context = ssl.create_default_context(cafile=ca_file or None, cadata=ca_data or None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # Python 3.13 made this strict by default; many clusters' own CAs lack the extensions it asks for.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def context(server: Server, host: str, pair: tuple[bytes, bytes] | None = None) -> ssl.SSLContext:
    """The context for an API server.

    Args:
        server: whom to trust, and our certificate.
        host: its address, for messages.
        pair: a certificate and its key that a plugin gave instead.

    Raises:
        InputError: certificates or keys that cannot be used.
    """
    certificate, key = pair or (server.client_certificate, server.client_key)
    for file in (server.ca_file, certificate, key):
        if file and isinstance(file, str) and not os.access(file, os.R_OK):
            raise InputError(f"the kubeconfig's certificates cannot be used: {file} cannot be read")
    try:
        made = trusting(server.ca_file, server.ca_data)
        if certificate:
            _load(made, certificate, key)
    except (OSError, ValueError) as error:
        raise InputError(f"the kubeconfig's certificates cannot be used: {error}") from None
    if not server.verifies:
        if pair is None:  # it is said once
            _log.warning(
                "TLS verification is disabled for %s (insecure-skip-tls-verify): anybody can pose as it", host
            )
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    return made


def _load(into: ssl.SSLContext, certificate: bytes | str, key: bytes | str) -> None:
    """Give a context what proves who we are; OpenSSL reads it from files only."""
    if isinstance(certificate, str) and isinstance(key, str):
        into.load_cert_chain(certificate, keyfile=key or None, password="")  # else OpenSSL asks for one
        return
    import tempfile

    with tempfile.TemporaryDirectory(prefix="kaitoctl-") as name:  # for nobody else to look into
        paths = []
        for part, content in (("certificate", certificate), ("key", key)):
            if isinstance(content, bytes):
                (path := Path(name) / part).write_bytes(content)
                content = str(path)
            paths.append(content)
        into.load_cert_chain(paths[0], keyfile=paths[1] or None, password="")


def cause(error: OSError) -> str:
    """Why there was no answer, in a few words."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ssl.SSLError) or (isinstance(error, ConnectionError) and not error.errno):
        return (
            str(error) or "the connection ended during the TLS handshake"
        )  # as asyncio says that: not at all
    if error.errno is None or isinstance(error, socket.gaierror):
        return error.strerror or str(error)
    return os.strerror(error.errno)
