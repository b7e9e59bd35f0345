"""Which server, and who we are there: read from kubeconfig files as kubectl reads them, or from the pod.

Tokens, certificates and passwords are read here; a program (`exec`) is asked by `exec_plugin`, the issuer of
an `auth-provider` by `oidc`. `kubeconfig_shape` knows the types. What kubectl refuses is refused, by name and
place: no message quotes a value of a user entry.

Source: https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/ and client-go
v0.37 `tools/clientcmd` (`loader.go` merges, `validation.go` refuses, `client_config.go` says what wins).
"""

from __future__ import annotations

import base64
import json
import logging
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from kaitoctl.advice import Command
from kaitoctl.errors import InputError
from kaitoctl.kube import kubeconfig_shape
from kaitoctl.kube.overrides import NONE, Overrides, overridden

if TYPE_CHECKING:
    from kaitoctl.kube.exec_plugin import Plugin
    from kaitoctl.kube.official import Settings
    from kaitoctl.kube.oidc import Issuer

_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_SECRETS = frozenset({"token", "password", "client-key-data", "auth-provider"})
_log = logging.getLogger(__name__)

_CONTEXTS_HINT = "check the contexts with: " + Command("kubectl config get-contexts")
_WHO_HINT = "--token, or --client-certificate and --client-key, say who you are; or --user, of a kubeconfig"
_VIEW_HINT = Command("kubectl config view") + " shows what is in it, without its secrets"
_MODES = ("Never", "IfAvailable", "Always")
_MODE_OPTIONAL_IN = ("client.authentication.k8s.io/v1beta1", "client.authentication.k8s.io/v1alpha1")


@dataclass(frozen=True, slots=True)
class Server:
    """An API server, and our credentials there.

    Args:
        address: `http(s)://host[:port][/path]`.
        namespace: the context's own, empty when it has none.
        token: a bearer token; what a token file says outranks it.
        token_file: where a token is that somebody renews; read again every minute.
        basic: user name and password.
        impersonation: headers that say on whose behalf we ask.
        ca_file: certificates to trust, PEM.
        ca_data: the same, as text; the system's when neither is given.
        verifies: False trusts any certificate.
        tls_server_name: whose certificate it must be, if not the address's host's.
        proxy: the URL of a proxy; empty for the environment's.
        compresses: whether answers may come compressed.
        client_certificate: PEM, as bytes or as the path of a file; with `client_key`.
        client_key: PEM, likewise.
        plugin: a program that has to be asked for credentials.
        issuer: who has to be asked for an id-token once ours has expired.
        official: the official client's settings, which say who we are.
    """

    address: str = field(repr=False)
    namespace: str = ""
    token: str = field(default="", repr=False)
    token_file: str = ""
    basic: tuple[str, str] | None = field(default=None, repr=False)
    impersonation: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    ca_file: str = ""
    ca_data: str = ""
    verifies: bool = True
    tls_server_name: str = ""
    proxy: str = field(default="", repr=False)
    compresses: bool = True
    client_certificate: bytes | str = field(default="", repr=False)
    client_key: bytes | str = field(default="", repr=False)
    plugin: Plugin | None = field(default=None, repr=False)
    issuer: Issuer | None = field(default=None, repr=False)
    official: Settings | None = field(default=None, repr=False)

    @property
    def has_secret(self) -> bool:
        """Whether a secret goes with every request."""
        return bool(
            self.token or self.token_file or self.basic or self.issuer or self.plugin or self.official
        )


class _Part(NamedTuple):
    """One file: where its relative paths start from, its name, and what it holds."""

    folder: Path
    file: str
    config: dict[str, Any]


class _NamedEntry(NamedTuple):
    """A context, cluster or user, and the file that has it."""

    entry: dict[str, Any]
    part: _Part

    def path(self, key: str) -> str:
        """The file that a key names, from the folder of the kubeconfig; empty for none."""
        value = self.entry.get(key)
        return str(self.part.folder / value) if value else ""

    def data(self, key: str) -> bytes:
        """What a key has as base64."""
        return base64.b64decode("".join((self.entry.get(key) or "").split()))


def from_files(files: list[str], context: str | None = None, given: Overrides = NONE) -> Server:
    """The server of a context.

    Args:
        files: merged, the first that names something wins; none where a server is given.
        context: None for the current one.
        given: what counts instead of the files.

    Raises:
        InputError: a file is no kubeconfig or has no such context, or kubectl would refuse the context, its
            cluster or its user.
    """
    parts = [_Part(Path(name).absolute().parent, name, _parse(name)) for name in files]
    where = f"kubeconfig {os.pathsep.join(files)}" if files else f"--server {given.server}"
    wanted = context or next(filter(None, (part.config.get("current-context") for part in parts)), None)
    if not wanted and not given.server:
        raise InputError(f"{where}: it has no current context", hint=_CONTEXTS_HINT)
    nothing = _NamedEntry({}, parts[0] if parts else _Part(Path.cwd(), "", {}))
    chosen = _find_named(parts, "context", wanted).entry if wanted else {}
    its_name = given.cluster_name or chosen.get("cluster")
    cluster = nothing if given.server and not its_name else _find_named(parts, "cluster", its_name)
    name = given.user_name or chosen.get("user") or ""
    user = _find_named(parts, "user", name) if name else nothing
    cluster = cluster._replace(entry=overridden(cluster.entry, given.cluster))
    user = user._replace(entry=overridden(user.entry, given.user))
    _warn_of_readers(parts)
    if why := _refused_cluster(cluster) or _refused_user(user, str(cluster.entry.get("server") or "")):
        if not wanted:  # the command line says it all, or was to
            raise InputError(f"{where}: {why}", hint=_WHO_HINT)
        raise InputError(f"{where}: {why} (context {wanted!r})", hint=_VIEW_HINT)
    return _server(chosen, cluster, user, where, name)


def _server(chosen: dict[str, Any], cluster: _NamedEntry, user: _NamedEntry, where: str, name: str) -> Server:
    impersonation: tuple[tuple[str, str], ...] = ()
    if user.entry.get("as"):
        from kaitoctl.kube.impersonation import headers

        try:
            impersonation = headers(user.entry)
        except ValueError as error:
            raise InputError(f"{where}: user {name!r}: {error}") from None
    its, mine = cluster.entry, user.entry
    basic = (mine["username"], mine.get("password") or "") if mine.get("username") else None
    token, token_file = (mine.get("token") or "").strip(), user.path("tokenFile")
    certificate = user.data("client-certificate-data") or user.path("client-certificate")
    is_static = bool(token or token_file or basic)
    try:
        authority = cluster.data("certificate-authority-data").decode()
    except ValueError:
        raise InputError(f"{where}: its certificate-authority-data is not PEM") from None
    return Server(
        its.get("server") or "",
        namespace=chosen.get("namespace") or "",
        token=token,
        token_file=token_file,
        basic=basic,
        impersonation=impersonation,
        ca_file=cluster.path("certificate-authority"),
        ca_data=authority,
        verifies=not its.get("insecure-skip-tls-verify"),
        tls_server_name=its.get("tls-server-name") or "",
        proxy=its.get("proxy-url") or "",
        compresses=not its.get("disable-compression"),
        client_certificate=certificate,
        client_key=(user.data("client-key-data") or user.path("client-key")) if certificate else "",
        # What is written in the file wins: another is not even asked.
        plugin=None if is_static or certificate else _plugin(user, cluster, where),
        issuer=None if is_static else _issuer(user, where, name),
    )


def _plugin(user: _NamedEntry, cluster: _NamedEntry, where: str) -> Plugin | None:
    if user.entry.get("exec") is None:
        return None
    from kaitoctl.kube.exec_plugin import Plugin

    return Plugin(
        user.entry["exec"],
        where.removeprefix("kubeconfig "),
        user.part.folder,
        cluster.entry,
        cluster.part.folder,
    )


def _issuer(user: _NamedEntry, where: str, name: str) -> Issuer | None:
    provider = user.entry.get("auth-provider")
    if provider is None:
        return None
    if provider.get("name") != "oidc":  # the only one that kubectl still has
        raise InputError(
            f"{where}: the auth-provider {provider.get('name') or ''!r} is no longer in use",
            hint="kubectl has dropped it: let your cloud's tool write the kubeconfig again, with exec",
        )
    from kaitoctl.kube.oidc import Issuer

    return Issuer(provider.get("config") or {}, where, name, Path(user.part.file))


# --- what kubectl refuses ----------------------------------------------------------------------------------


def _refused_cluster(cluster: _NamedEntry) -> str:
    """Why kubectl would not use the cluster; empty when it would.

    Source: client-go `validateClusterInfo`, and `transport.TLSConfigFor` for the last one.
    """
    its = cluster.entry
    authorities = [key for key in ("certificate-authority", "certificate-authority-data") if its.get(key)]
    if len(authorities) > 1:
        return "its cluster has both certificate-authority and certificate-authority-data; keep one"
    if authorities and its.get("insecure-skip-tls-verify"):
        return f"its cluster has insecure-skip-tls-verify beside {authorities[0]}; keep one"
    return ""


def _refused_user(user: _NamedEntry, address: str) -> str:
    """Why kubectl would not use the user; empty when it would.

    Source: client-go `validateAuthInfo`, `transport.HTTPWrappersForConfig` (a token file beside a password);
    without any credentials kubectl asks for a name and a password.
    """
    mine = user.entry
    has = {key for key, value in mine.items() if value not in (None, "", [], {})}
    name = "its user"
    if has & {"username", "password"} and has & {"token", "tokenFile"}:
        return f"{name} has both a token and a password; keep one"
    if "password" in has and "username" not in has:
        return f"{name} has a password and no username"
    if has & {"client-certificate", "client-certificate-data"}:
        for part in ("client-certificate", "client-key"):
            if {part, f"{part}-data"} <= has:
                return f"{name} has both {part} and {part}-data; keep one"
        if not has & {"client-key", "client-key-data"}:
            return f"{name} has a client certificate and no client-key"
    if mine.get("exec") is not None:
        if mine.get("auth-provider") is not None:
            return f"{name} has both exec and auth-provider; keep one"
        if why := _refused_exec(mine["exec"]):
            return f"{name}'s exec {why}"
    if has & {"as-uid", "as-groups", "as-user-extra"} and "as" not in has:
        return f"{name} has as-uid, as-groups or as-user-extra without as"
    is_somebody = has & {"token", "tokenFile", "username", "client-certificate", "client-certificate-data"}
    asks = mine.get("exec") is not None or mine.get("auth-provider") is not None
    if not is_somebody and not asks and address.startswith("https:"):
        return f"{name} has no credentials: no token, no client certificate, no exec"
    return ""


def _refused_exec(spec: dict[str, Any]) -> str:
    version, mode = spec.get("apiVersion"), spec.get("interactiveMode")
    if not spec.get("command"):
        return "has no command"
    if not version:
        return "has no apiVersion"
    if any(not (item or {}).get("name") for item in spec.get("env") or ()):
        return "has an env entry without a name"
    if not mode and version not in _MODE_OPTIONAL_IN:
        return "needs an interactiveMode: Never, IfAvailable or Always"
    if mode and mode not in _MODES:
        return "has an interactiveMode that is not Never, IfAvailable or Always"
    return ""


# --- where it is read from ---------------------------------------------------------------------------------


def from_pod(given: Overrides = NONE) -> Server | None:
    """The server of the cluster that we run in as a pod, with what is given instead; None when we do not."""
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT")
    if not host or not port:
        return None
    token, authority = _SERVICE_ACCOUNT / "token", _SERVICE_ACCOUNT / "ca.crt"
    for file in (token, authority):
        if not file.is_file():
            raise InputError(
                f"this is a pod, and it has no service account: {file} is missing",
                hint="automountServiceAccountToken must not be false",
            )
    own = _SERVICE_ACCOUNT / "namespace"
    address = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    part = _Part(_SERVICE_ACCOUNT, str(_SERVICE_ACCOUNT), {})
    cluster = overridden({"server": address, "certificate-authority": str(authority)}, given.cluster)
    user = overridden({"tokenFile": str(token)}, given.user)
    namespace = os.environ.get("POD_NAMESPACE") or (own.read_text().strip() if own.is_file() else "")
    where = "the pod's service account"
    return _server({"namespace": namespace}, _NamedEntry(cluster, part), _NamedEntry(user, part), where, "")


def _warn_of_readers(parts: list[_Part]) -> None:
    """Say which files hold a secret and may be read by others than their owner."""
    for _, file, config in parts:
        held = [(item or {}).get("user") or {} for item in config.get("users") or ()]
        if not any(user.keys() & _SECRETS for user in held):
            continue
        mode = os.stat(file).st_mode  # noqa: PTH116 - a name, as it was given
        if os.name != "nt" and mode & (stat.S_IRGRP | stat.S_IROTH):
            _log.warning("kubeconfig %s holds credentials, and others may read it: chmod 600 %s", file, file)


def _parse(name: str) -> dict[str, Any]:
    try:
        config = _json_or_yaml(Path(name).read_text(encoding="utf-8-sig"))
        why = kubeconfig_shape.fault(config)
    except OSError as error:
        why = error.strerror or "it cannot be read"
    except UnicodeDecodeError as error:
        why = f"it is not UTF-8 text (byte {error.start})"
    except ValueError as error:
        why = str(error)
    except RecursionError:
        why = "it is nested too deeply"
    if why:
        raise InputError(f"kubeconfig {name} cannot be used: {why}", hint=_VIEW_HINT)
    return config or {}


def _json_or_yaml(text: str) -> Any:
    if text.lstrip()[:1] == "{":
        try:
            return json.loads(text)
        except ValueError:
            pass  # a map of YAML's may begin so, too
    import re

    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return yaml.load(text, loader)  # noqa: S506 - a safe one
    except yaml.YAMLError as error:
        # Not its own words: they quote the line, a tag or an anchor, and with it what may be a secret.
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        problem = re.sub(r"'[^']{4,}'", "'...'", getattr(error, "problem", None) or "not YAML")
        raise ValueError(f"{where}{problem}") from None
    except (ValueError, ArithmeticError, TypeError, AttributeError):  # they quote the value
        raise ValueError("a value in it is not what its tag or form says") from None


def _find_named(parts: list[_Part], what: str, name: Any) -> _NamedEntry:
    """The context, cluster or user of a name, in the first file that has it."""
    for part in parts:
        for entry in part.config.get(f"{what}s") or ():
            if entry and entry.get("name") == name:
                return _NamedEntry(entry.get(what) or {}, part)
    where = os.pathsep.join(part.file for part in parts)
    called = repr(name) if name else "named in its context"
    raise InputError(f"kubeconfig {where}: there is no {what} {called}", hint=_CONTEXTS_HINT)
