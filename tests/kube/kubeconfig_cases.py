"""Kubeconfigs of all shapes, for `test_kubeconfig_beside_kubectl`: what people, tools and accidents write.

Each case is a function of the place where servers and certificates are. It gives the kubeconfig, or a list of
those that `$KUBECONFIG` names in this order; a text is written as it is, None is a file that does not exist,
and a function makes something else of it.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import yaml
from kube.echo_server import Place, encoded

Case = Callable[[Place], Any]
EXEC = "client.authentication.k8s.io"


def config(
    place: Place, user: Any, cluster: dict[str, Any] | None = None, context: Any = None, **more: Any
) -> Any:
    """A kubeconfig for the echo server; what is None in `cluster` is left out."""
    trusted = {"server": place.server, "certificate-authority": place.ca, **(cluster or {})}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u", **(context or {})}}],
        "clusters": [
            {"name": "k", "cluster": {key: value for key, value in trusted.items() if value is not None}}
        ],
        "users": [{"name": "u", "user": user}],
        **more,
    }


def _user(**user: Any) -> Case:
    return lambda place: config(place, {key.replace("_", "-"): value for key, value in user.items()})


def _cluster(token: str = "t", **cluster: Any) -> Case:
    return lambda place: config(
        place, {"token": token}, {key.replace("_", "-"): value for key, value in cluster.items()}
    )


def _with(make: Callable[[Place], dict[str, Any]], **more: Any) -> Case:
    """A user that is made of the place."""
    return lambda place: config(place, {**make(place), **more})


def _exec(place: Place, **more: Any) -> dict[str, Any]:
    spec = {
        "apiVersion": f"{EXEC}/v1",
        "command": str(place.folder / "plugin"),
        "args": ["given"],
        "interactiveMode": "Never",
    }
    return {"exec": {key: value for key, value in {**spec, **more}.items() if value is not None}}


def _pair(place: Place) -> dict[str, str]:
    return {"client-certificate": str(place.me.certificate), "client-key": str(place.me.key)}


def _pair_inside(place: Place) -> dict[str, str]:
    return {
        "client-certificate-data": encoded(place.me.certificate),
        "client-key-data": encoded(place.me.key),
    }


def _token_file(place: Place) -> dict[str, str]:
    return {"tokenFile": str(place.folder / "token")}


def _merged(*parts: Callable[[Place], Any]) -> Case:
    return lambda place: [part(place) for part in parts]


def _only(*keys: str, user: Any = None) -> Case:
    """Of a whole kubeconfig, these keys."""
    return lambda place: {
        key: value for key, value in config(place, user or {"token": "t"}).items() if key in keys
    }


def _jwt() -> str:
    """An id-token of the year 2100, which no issuer has to be asked about."""
    parts = (b'{"alg":"none"}', b'{"exp":4102444800}', b"")
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


def _oidc(**more: Any) -> dict[str, Any]:
    inside = {"idp-issuer-url": "https://127.0.0.1:1", "client-id": "c", "id-token": _jwt(), **more}
    return {"auth-provider": {"name": "oidc", "config": inside}}


WHO: dict[str, Case] = {
    "nobody": _user(),
    "a token": _user(token="abc"),
    "an empty token": _user(token=""),
    "a token with a line break at its end": _user(token="abc\n"),
    "a token with a line break inside": _user(token="abc\ndef"),
    "a token with a blank at its end": _user(token="abc "),
    "a token with a zero-width character": _user(token="abc\u200b"),
    "a token that is a number": _user(token=12345),
    "a token that is null": _user(token=None),
    "a token file": _with(_token_file),
    "a token file beside a token": _with(_token_file, token="other"),
    "an empty token file beside a token": lambda place: config(
        place, {"tokenFile": str(place.folder / "empty-token"), "token": "other"}
    ),
    "a missing token file beside a token": _user(tokenFile="/missing", token="other"),
    "a missing token file": _user(tokenFile="/missing"),
    "a token file beside a password": _with(_token_file, username="me", password="secret"),
    "a password": _user(username="me", password="secret"),
    "a user name without password": _user(username="me"),
    "a password without user name": _user(password="secret"),
    "a password with umlauts": _user(username="jörg", password="grün"),
    "a password and a token": _user(username="me", password="secret", token="t"),
    "a plugin": _with(_exec),
    "a plugin beside a token": _with(_exec, token="static"),
    "a plugin beside a token file": _with(lambda place: {**_exec(place), **_token_file(place)}),
    "a plugin beside a password": _with(_exec, username="me", password="secret"),
    "a plugin beside a certificate": _with(lambda place: {**_exec(place), **_pair(place)}),
    "a plugin with environment": _with(
        lambda place: _exec(place, env=[{"name": "MORE", "value": "-and-more"}])
    ),
    "a plugin of v1beta1": _with(
        lambda place: _exec(
            place,
            apiVersion=f"{EXEC}/v1beta1",
            interactiveMode=None,
            env=[{"name": "VERSION", "value": "v1beta1"}],
        )
    ),
    "a plugin of v1 that says no interactiveMode": _with(lambda place: _exec(place, interactiveMode=None)),
    "a plugin with an unknown interactiveMode": _with(
        lambda place: _exec(place, interactiveMode="Sometimes")
    ),
    "a plugin of v1alpha1": _with(lambda place: _exec(place, apiVersion=f"{EXEC}/v1alpha1")),
    "a plugin without apiVersion": _with(lambda place: _exec(place, apiVersion=None)),
    "a plugin without command": _with(lambda place: _exec(place, command=None)),
    "a plugin whose environment has no name": _with(lambda place: _exec(place, env=[{"value": "x"}])),
    "a plugin whose arguments are text": _with(lambda place: _exec(place, args="given")),
    "a plugin that speaks another version": _with(
        lambda place: _exec(place, env=[{"name": "VERSION", "value": "v1beta1"}])
    ),
    "a plugin that is text": _user(exec="aws eks get-token"),
    "a plugin that is null": _user(exec=None, token="t"),
    "a plugin that is empty": _user(exec={}),
    "a plugin and an auth-provider": _with(_exec, **_oidc()),
    "oidc with a fresh id-token": _user(**_oidc()),
    "oidc beside a token": lambda place: config(place, {**_oidc(), "token": "static"}),
    "oidc without issuer": _user(auth_provider={"name": "oidc", "config": {"client-id": "c"}}),
    "oidc with an id-token that is none": lambda place: config(place, _oidc(**{"id-token": "x"})),
    "an auth-provider that is gone": _user(auth_provider={"name": "gcp", "config": {"access-token": "x"}}),
    "an auth-provider that is text": _user(auth_provider="oidc"),
    "an auth-provider with a number inside": lambda place: config(place, _oidc(**{"client-secret": 5})),
}

PAIRS: dict[str, Case] = {
    "a certificate": _with(_pair),
    "a certificate inside": _with(_pair_inside),
    "a certificate beside a token": _with(_pair, token="t"),
    "a certificate beside a password": _with(_pair, username="me", password="secret"),
    "a certificate file, its key inside": lambda place: config(
        place,
        {"client-certificate": str(place.me.certificate), "client-key-data": encoded(place.me.key)},
    ),
    "a certificate twice": _with(lambda place: {**_pair(place), **_pair_inside(place)}),
    "a key twice": lambda place: config(place, {**_pair(place), "client-key-data": encoded(place.me.key)}),
    "a certificate without key": lambda place: config(
        place, {"client-certificate": str(place.me.certificate)}
    ),
    "a key without certificate": lambda place: config(place, {"client-key": str(place.me.key), "token": "t"}),
    "a key of another certificate": lambda place: config(
        place, {**_pair(place), "client-key": str(place.other.key)}
    ),
    "a certificate that is missing": lambda place: config(
        place, {"client-certificate": "missing.crt", "client-key": str(place.me.key), "token": "t"}
    ),
    "a certificate that is not base64": _user(client_certificate_data="%%%", client_key_data="%%%"),
}

IMPERSONATION: dict[str, Case] = {
    "another user": _user(token="t", **{"as": "jane"}),
    "another user with groups": _user(token="t", **{"as": "jane", "as-groups": ["dev", "ops, eu"]}),
    "another user with a uid": _user(token="t", **{"as": "jane", "as-uid": "4711"}),
    "another user with more": _user(
        token="t", **{"as": "jane", "as-user-extra": {"reason": ["a", "b"], "scopes": ["c d"]}}
    ),
    "more with keys that no header has": _user(
        token="t", **{"as": "jane", "as-user-extra": {"acme.com/project 100%": ["x"], "grün": ["grün"]}}
    ),
    "another user with umlauts": _user(token="t", **{"as": "jörg"}),
    "another user with a line break": _user(token="t", **{"as": "jane\nImpersonate-Group: system:masters"}),
    "another user by certificate": _with(_pair, **{"as": "jane"}),
    "groups without user": _user(token="t", **{"as-groups": ["dev"]}),
    "a uid without user": _user(token="t", **{"as-uid": "1"}),
    "more without user": _user(token="t", **{"as-user-extra": {"a": ["b"]}}),
    "groups that are text": _user(token="t", **{"as": "jane", "as-groups": "dev"}),
    "more that is text": _user(token="t", **{"as": "jane", "as-user-extra": {"a": "b"}}),
    "another user that is a list": _user(token="t", **{"as": ["jane"]}),
}

SERVERS: dict[str, Case] = {
    "an authority inside": lambda place: config(
        place,
        {"token": "t"},
        {"certificate-authority": None, "certificate-authority-data": encoded(place.authority.certificate)},
    ),
    "an authority twice": lambda place: config(
        place, {"token": "t"}, {"certificate-authority-data": encoded(place.authority.certificate)}
    ),
    "an authority twice, of which one is a stranger": lambda place: config(
        place,
        {"token": "t"},
        {
            "certificate-authority": str(place.stranger.certificate),
            "certificate-authority-data": encoded(place.authority.certificate),
        },
    ),
    "a stranger as authority": lambda place: config(
        place, {"token": "t"}, {"certificate-authority": str(place.stranger.certificate)}
    ),
    "no authority": _cluster(certificate_authority=None),
    "no verification": _cluster(certificate_authority=None, insecure_skip_tls_verify=True),
    "no verification, with an authority": _cluster(insecure_skip_tls_verify=True),
    "no verification, with an authority inside": lambda place: config(
        place,
        {"token": "t"},
        {
            "certificate-authority": None,
            "certificate-authority-data": encoded(place.authority.certificate),
            "insecure-skip-tls-verify": True,
        },
    ),
    "no verification as text": _cluster(certificate_authority=None, insecure_skip_tls_verify="true"),
    "an authority that is missing": _cluster(certificate_authority="missing.crt"),
    "another name of the server": _cluster(tls_server_name="other.example"),
    "a name that the server has not": _cluster(tls_server_name="k8s.example"),
    "no compression": _cluster(disable_compression=True),
    "no compression as text": _cluster(disable_compression="yes please"),
    "a path behind the server": lambda place: config(
        place, {"token": "t"}, {"server": f"{place.server}/k8s/c-1/"}
    ),
    "a user in the server's address": lambda place: config(
        place, {"token": "t"}, {"server": f"https://me:pw@127.0.0.1:{place.port}"}
    ),
    "a server without scheme": lambda place: config(
        place, {"token": "t"}, {"server": f"127.0.0.1:{place.port}"}
    ),
    "plain HTTP": lambda place: config(place, {"token": "t"}, {"server": place.plain}),
    "plain HTTP, another user": lambda place: config(
        place, {"token": "t", "as": "jane"}, {"server": place.plain}
    ),
    "no server": _cluster(server=None),
    "a proxy": lambda place: config(place, {"token": "t"}, {"proxy-url": place.proxy}),
    "a proxy with a password": lambda place: config(
        place, {"token": "t"}, {"proxy-url": place.proxy.replace("//", "//me:p%40w@")}
    ),
    "a proxy over TLS": lambda place: config(
        place, {"token": "t"}, {"proxy-url": place.tls_proxy.replace("//", "//me:p%40w@")}
    ),
    "a SOCKS proxy": lambda place: config(place, {"token": "t"}, {"proxy-url": place.socks}),
    "a SOCKS proxy that looks names up": lambda place: config(
        place, {"token": "t"}, {"proxy-url": place.socks.replace("socks5", "socks5h")}
    ),
    "a proxy without scheme": lambda place: config(
        place, {"token": "t"}, {"proxy-url": place.proxy.removeprefix("http://")}
    ),
    "a proxy of another kind": _cluster(proxy_url="ftp://127.0.0.1:1"),
    "a proxy that is a list": _cluster(proxy_url=["http://127.0.0.1:1"]),
}

FILES: dict[str, Case] = {
    "four files": _merged(_only("users"), _only("clusters"), _only("contexts"), _only("current-context")),
    "the first user of a name": _merged(
        _only("users", user={"token": "first"}), lambda place: config(place, {"token": "second"})
    ),
    "the first user of a name, who has less": _merged(
        _only("users", user={"as": "jane"}), lambda place: config(place, {"token": "second"})
    ),
    "the first current context": _merged(
        lambda place: {"current-context": "d"},
        lambda place: {
            **config(place, {"token": "t"}),
            "contexts": [
                {"name": "c", "context": {"cluster": "k", "user": "nobody"}},
                {"name": "d", "context": {"cluster": "k", "user": "u"}},
            ],
        },
    ),
    "a missing file": _merged(lambda place: None, lambda place: config(place, {"token": "t"})),
    "a folder among the files": _merged(
        lambda place: config(place, {"token": "t"}), lambda place: lambda file: file.mkdir()
    ),
    "a link that leads nowhere": _merged(
        lambda place: lambda file: file.symlink_to("/missing"), lambda place: config(place, {"token": "t"})
    ),
    "bytes that are not UTF-8": _merged(
        lambda place: config(place, {"token": "t"}), lambda place: lambda file: file.write_bytes(b"a: \xff")
    ),
    "an empty file": _merged(lambda place: "", lambda place: config(place, {"token": "t"})),
    "a file that is broken": _merged(
        lambda place: config(place, {"token": "t"}), lambda place: "users: [{name: x, user: {token: s3cret}"
    ),
    "a file that is a list": _merged(lambda place: config(place, {"token": "t"}), lambda place: "[]"),
    "a file of another kind": _merged(
        lambda place: config(place, {"token": "t"}), lambda place: {"apiVersion": "v1", "kind": "Pod"}
    ),
    "a file of another version": _merged(
        lambda place: config(place, {"token": "t"}), lambda place: {"apiVersion": "v2", "kind": "Config"}
    ),
    "a file that says no kind": _merged(
        _only("current-context", "contexts", "clusters", "users", user={"token": "t"})
    ),
    "a user of another context that is text": lambda place: config(
        place, {"token": "t"}, users=[{"name": "u", "user": {"token": "t"}}, {"name": "x", "user": "s3cret"}]
    ),
    "a user that is text": lambda place: config(place, "s3cret"),
    "a user that is a list": lambda place: config(place, ["s3cret"]),
    "a user that is null": lambda place: config(place, None),
    "users that are a map": lambda place: config(place, {}, users={"u": {"token": "s3cret"}}),
    "users that are null": lambda place: config(place, {}, users=None),
    "two users of one name": lambda place: config(
        place,
        {},
        users=[{"name": "u", "user": {"token": "one"}}, {"name": "u", "user": {"token": "two"}}],
    ),
    "two contexts of one name": lambda place: config(
        place,
        {"token": "t"},
        contexts=[
            {"name": "c", "context": {"cluster": "k", "user": "nobody"}},
            {"name": "c", "context": {"cluster": "k", "user": "u"}},
        ],
    ),
    "two clusters of one name": lambda place: config(
        place,
        {"token": "t"},
        clusters=[{"name": "k", "cluster": {"server": address}} for address in (place.server, place.plain)],
    ),
    "two other contexts of one name": lambda place: config(
        place,
        {"token": "t"},
        contexts=[
            {"name": "c", "context": {"cluster": "k", "user": "u"}},
            *[{"name": "d", "context": {"cluster": "k", "user": user}} for user in ("d1", "d2")],
        ],
    ),
    "a context without user": lambda place: config(place, {"token": "t"}, context={"user": ""}),
    "a context with a user who is missing": lambda place: config(
        place, {"token": "t"}, context={"user": "x"}
    ),
    "a context with a cluster that is missing": lambda place: config(
        place, {"token": "t"}, context={"cluster": "x"}
    ),
    "a current context that is missing": lambda place: {
        **config(place, {"token": "t"}),
        "current-context": "x",
    },
    "a context that is text": lambda place: config(
        place, {"token": "t"}, contexts=[{"name": "c", "context": "x"}]
    ),
    "a namespace that is a number": lambda place: config(place, {"token": "t"}, context={"namespace": 5}),
    "a key twice in a map": lambda place: (
        f"current-context: c\nclusters: [{{name: k, cluster: {{server: '{place.server}', "
        f"certificate-authority: '{place.ca}'}}}}]\n"
        "contexts: [{name: c, context: {cluster: k, user: u}}]\n"
        "users:\n- name: u\n  user:\n    token: one\n    token: two\n"
    ),
    "keys that nobody knows": lambda place: config(
        place, {"token": "t", "colour": "red"}, {"colour": 5}, {"colour": []}, colour={}
    ),
    "keys in other letters": lambda place: config(place, {"Token": "t"}),
    "extensions": lambda place: config(
        place, {"token": "t", "extensions": [{"name": "e", "extension": {"a": 1}}]}, extensions=[]
    ),
    "extensions that are text": lambda place: config(place, {"token": "t", "extensions": "x"}),
    "JSON": lambda place: json.dumps(config(place, {"token": "t"})),
    "a byte order mark": lambda place: "\ufeff" + yaml.safe_dump(config(place, {"token": "t"})),
}

CASES = {
    f"{group}: {name}": case
    for group, cases in {
        "user": WHO,
        "certificate": PAIRS,
        "as": IMPERSONATION,
        "cluster": SERVERS,
        "files": FILES,
    }.items()
    for name, case in cases.items()
}
