"""Which server, and who we are there: read from kubeconfig files as kubectl reads them, or from the pod.

Tokens, certificates and passwords are read here; another program (`exec`) is asked by `exec_plugin`. What a
service has to be asked for (`auth-provider`) is left to the official package, whose import costs more than a
whole command: `client` brings it in when a user needs it, and not before.

Source: https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/
"""

from __future__ import annotations

import base64
import json
import logging
import os
import stat
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kaitoctl.errors import InputError

if TYPE_CHECKING:
    from kaitoctl.kube.exec_plugin import Plugin

_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_SECRETS = frozenset({"token", "password", "client-key-data", "auth-provider"})
_log = logging.getLogger(__name__)

_CONTEXTS_HINT = "see the contexts with: kubectl config get-contexts"


@dataclass(frozen=True, slots=True)
class Server:
    """An API server, and our credentials there.

    Args:
        address: `http(s)://host[:port][/path]`.
        namespace: the context's own, empty when it has none.
        token: a bearer token.
        token_file: where a token is that somebody renews; read again every minute.
        authorization: asked for the value of the header before each request, when given.
        basic: user name and password.
        ca_file: certificates to trust, PEM.
        ca_data: the same, as text; the system's when neither is given.
        verifies: False trusts any certificate.
        tls_server_name: whose certificate it must be, if not the address's host's.
        proxy: the URL of a proxy; empty for the environment's.
        client_certificate: PEM, as bytes or as the path of a file; with `client_key`.
        client_key: PEM, likewise.
        plugin: a program that has to be asked for credentials.
    """

    address: str = field(repr=False)
    namespace: str = ""
    token: str = field(default="", repr=False)
    token_file: str = ""
    authorization: Callable[[], Awaitable[str]] | None = None
    basic: tuple[str, str] | None = field(default=None, repr=False)
    ca_file: str = ""
    ca_data: str = ""
    verifies: bool = True
    tls_server_name: str = ""
    proxy: str = field(default="", repr=False)
    client_certificate: bytes | str = field(default="", repr=False)
    client_key: bytes | str = field(default="", repr=False)
    plugin: Plugin | None = field(default=None, repr=False)

    @property
    def has_secret(self) -> bool:
        """Whether a secret goes with every request."""
        return bool(self.token or self.token_file or self.authorization or self.basic)


def from_files(files: list[str], context: str | None = None) -> Server | None:
    """The server of a context; None when a service has to be asked for its user.

    Args:
        files: merged, the first that names something wins.
        context: None for the current one.

    Raises:
        InputError: a file is no kubeconfig, or has no such context.
    """
    parts = [(Path(name).absolute().parent, name, _parsed(name)) for name in files]
    where = os.pathsep.join(files)
    wanted = context or next(filter(None, (config.get("current-context") for _, _, config in parts)), None)
    if not wanted:
        raise InputError(f"kubeconfig {where}: it has no current context", hint=_CONTEXTS_HINT)
    _, chosen = _named(parts, "context", wanted)
    folder, cluster = _named(parts, "cluster", chosen.get("cluster"))
    user_folder, user = _named(parts, "user", chosen["user"]) if chosen.get("user") else (folder, {})
    _warn_of_readers(parts)
    if provider := user.get("auth-provider"):
        name = provider.get("name") if isinstance(provider, dict) else provider
        if name != "oidc":  # the only one that kubectl still has
            raise InputError(
                f"kubeconfig {where}: the auth-provider {name!r} is no longer in use",
                hint="kubectl has dropped it: let your cloud's tool write the kubeconfig anew, with exec",
            )
        return None
    plugin = None
    if isinstance(asked := user.get("exec"), dict):
        from kaitoctl.kube.exec_plugin import Plugin

        plugin = Plugin(asked, where, user_folder, cluster, folder)
    token_file = _path(user_folder, user.get("tokenFile"))
    basic = (str(user["username"]), str(user.get("password") or "")) if user.get("username") else None
    try:
        return Server(
            str(cluster.get("server") or ""),
            namespace=str(chosen.get("namespace") or ""),
            token="" if token_file else str(user.get("token") or ""),
            token_file=token_file,
            basic=None if token_file or user.get("token") else basic,
            ca_file=_path(folder, cluster.get("certificate-authority")),
            ca_data=_decoded(cluster.get("certificate-authority-data")).decode(),
            verifies=not cluster.get("insecure-skip-tls-verify"),
            tls_server_name=str(cluster.get("tls-server-name") or ""),
            proxy=str(cluster.get("proxy-url") or ""),
            client_certificate=_decoded(user.get("client-certificate-data"))
            or _path(user_folder, user.get("client-certificate")),
            client_key=_decoded(user.get("client-key-data")) or _path(user_folder, user.get("client-key")),
            plugin=plugin,
        )
    except ValueError as error:
        raise InputError(
            f"kubeconfig {where}: a certificate or key of context {wanted!r} is not base64: {error}"
        ) from None


def from_pod() -> Server | None:
    """The server of the cluster that we run in as a pod; None when we do not."""
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    if not host:
        return None
    token, authority = _SERVICE_ACCOUNT / "token", _SERVICE_ACCOUNT / "ca.crt"
    for file in (token, authority):
        if not file.is_file():
            raise InputError(
                f"this is a pod, and it has no service account: {file} is missing",
                hint="automountServiceAccountToken must not be false",
            )
    own = _SERVICE_ACCOUNT / "namespace"
    return Server(
        f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}",
        namespace=own.read_text().strip() if own.is_file() else "",
        token_file=str(token),
        ca_file=str(authority),
    )


def _warn_of_readers(parts: list[tuple[Path, str, dict[str, Any]]]) -> None:
    """Say which files hold a secret and may be read by others than their owner."""
    for _, file, config in parts:
        users = config.get("users")
        held = (
            [item.get("user") for item in users if isinstance(item, dict)] if isinstance(users, list) else []
        )
        if not any(isinstance(user, dict) and user.keys() & _SECRETS for user in held):
            continue
        mode = os.stat(file).st_mode  # noqa: PTH116 - a name, as it was given
        if os.name != "nt" and mode & (stat.S_IRGRP | stat.S_IROTH):
            _log.warning("kubeconfig %s holds secrets, and others may read it: chmod 600 %s", file, file)


def _parsed(name: str) -> dict[str, Any]:
    try:
        text = Path(name).read_text(encoding="utf-8")
        config = _json_or_yaml(text)
    except (OSError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise InputError(
            f"kubeconfig {name} cannot be used: {error}", hint="kubectl config view shows what is in it"
        ) from error
    if config is None:
        config = {}
    if not isinstance(config, dict):
        raise InputError(
            f"kubeconfig {name} cannot be used: it is no map", hint="kubectl config view shows what is in it"
        )
    return config


def _json_or_yaml(text: str) -> Any:
    if text.lstrip()[:1] == "{":
        try:
            return json.loads(text)
        except ValueError:
            pass  # a map of YAML's may begin so, too
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return yaml.load(text, loader)  # noqa: S506 - a safe one
    except yaml.YAMLError as error:
        # Not its own words: they quote the line, and with it what may be a secret.
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ValueError(f"{where}{getattr(error, 'problem', None) or 'not YAML'}") from None


def _named(
    parts: list[tuple[Path, str, dict[str, Any]]], what: str, name: Any
) -> tuple[Path, dict[str, Any]]:
    """The context, cluster or user of a name, and the folder that its paths start from."""
    for folder, file, config in parts:
        entries = config.get(f"{what}s") or []
        if not isinstance(entries, list):
            raise InputError(f"kubeconfig {file} cannot be used: {what}s is no list")
        for entry in entries:
            if isinstance(entry, dict) and entry.get("name") == name:
                found = entry.get(what)
                return folder, found if isinstance(found, dict) else {}
    where = os.pathsep.join(file for _, file, _ in parts)
    raise InputError(f"kubeconfig {where}: there is no {what} {name!r}", hint=_CONTEXTS_HINT)


def _path(folder: Path, value: Any) -> str:
    return str(folder / str(value)) if value else ""


def _decoded(value: Any) -> bytes:
    return base64.b64decode("".join(str(value).split()), validate=True) if value else b""
