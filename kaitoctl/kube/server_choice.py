"""Which server a command talks to, and whether a secret may be sent there."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import urlsplit

from kaitoctl.errors import InputError
from kaitoctl.kube import kubeconfig, names, proxies
from kaitoctl.kube.kubeconfig import Server
from kaitoctl.kube.overrides import NONE, Overrides


def find_server(file: Path | None, context: str | None, given: Overrides = NONE) -> Server:
    """The server that kubectl would use: of a kubeconfig, else of the pod's own service account.

    Raises:
        InputError: there is none.
    """
    if file is not None:
        files = [str(file)]
    elif listed := os.environ.get("KUBECONFIG"):
        files = list(dict.fromkeys(filter(None, listed.split(os.pathsep))))
    else:
        files = [str(Path.home() / ".kube" / "config")]
    if existing := [name for name in files if os.path.exists(name)]:  # noqa: PTH110 - one stat
        return kubeconfig.from_files(existing, context, given)
    if file is None and not context and (server := kubeconfig.from_pod(given)) is not None:
        return server
    if given.server and not context:
        return kubeconfig.from_files([], None, given)
    raise InputError(
        f"no kubeconfig: {os.pathsep.join(files)} does not exist",
        hint="name one with --kubeconfig or $KUBECONFIG, or use --sandbox for a cluster on this machine",
    )


def insist_on_an_address(server: str) -> None:
    """Refuse what is not an http(s) address; only what can hold no secret is shown."""
    if not names.is_address(server):
        shown = re.sub(r"(//[^/]*)/.*", r"\1/...", names.without_user(server), flags=re.DOTALL)
        hint = "" if "://" in server or not server else f"write its scheme before it: https://{shown}"
        raise InputError(f"the kubeconfig's server {shown!r} is not an http(s) address", hint=hint)


def refuse_to_leak_a_secret(host: str, server: Server) -> None:
    """Refuse to send a secret in the clear, or where a proxy sees it."""
    parts = urlsplit(host)
    if parts.scheme == "https" or not server.has_secret:
        return
    if not proxies.is_loopback(parts.hostname or ""):
        raise InputError(
            f"the kubeconfig's server {host} is plain HTTP, and a token must not be sent in the clear",
            hint="use the server's https:// address",
        )
    if server.proxy:
        raise InputError(
            f"the kubeconfig's server {host} is plain HTTP, and its proxy-url would see the token",
            hint="use the server's https:// address, or no proxy-url",
        )
