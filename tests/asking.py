"""An API server asked from this process in kubectl's words: for what a test needs, and is not about.

A kubectl takes as much of a core as thirty such requests. Where kubectl itself is what is tested, it runs.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from msgspec.structs import replace

from kaitoctl.kaito import api
from kaitoctl.kube import kubeconfig, objects, tls
from kaitoctl.kube.objects import Kind, Object, with_type

_KINDS = [kind for module in (objects, api) for kind in vars(module).values() if isinstance(kind, Kind)]
_BY_WORD = {word: kind for kind in _KINDS for word in (kind.plural, kind.kind.lower())}


class NotInThisTable(LookupError):
    """Words that only kubectl understands."""


class Refused(AssertionError):
    """The server says no."""


class Server:
    """The server that a kubeconfig leads to; a connection for each request.

    Args:
        file: the kubeconfig.
    """

    def __init__(self, file: str) -> None:
        self._server = kubeconfig.from_files([file])
        self.namespace = self._server.namespace or "default"

    def get(self, words: Iterable[str]) -> Object:
        """As `kubectl get ... -o json`."""
        kinds, names, query, namespace, shows_managers = self._understood(words)
        if len(kinds) == len(names) == 1:
            found = [self.do("GET", kinds[0].path(namespace, names[0]))]
        elif names:
            raise NotInThisTable
        else:
            found = [item for kind in kinds for item in self._listed(kind, namespace, query)]
        for obj in () if shows_managers else found:
            obj["metadata"].pop("managedFields", None)
        if names:
            return dict(found[0])
        return {"apiVersion": "v1", "kind": "List", "items": found, "metadata": {"resourceVersion": ""}}

    def names(self, words: Iterable[str]) -> list[str]:
        """As `kubectl get ... -o name`, by lines."""
        got = self.get(words)
        found = []
        for obj in got["items"] if got["kind"] == "List" else [got]:
            group = obj["apiVersion"].rpartition("/")[0]
            kind = obj["kind"].lower() + (f".{group}" if group else "")
            found.append(f"{kind}/{obj['metadata']['name']}")
        return found

    def apply(self, obj: Object) -> None:
        """As `kubectl apply --server-side --validate=false`."""
        kind, metadata = self._kind_of(obj), obj["metadata"]
        namespace = metadata.get("namespace") or self.namespace
        query = urlencode({"fieldManager": "kubectl", "force": "false", "fieldValidation": "Ignore"})
        path = f"{kind.path(namespace, metadata['name'])}?{query}"
        self.do("PATCH", path, obj, content_type="application/apply-patch+yaml")

    def create(self, obj: Object) -> None:
        """As `kubectl create --validate=false`."""
        kind = self._kind_of(obj)
        path = kind.path(obj["metadata"].get("namespace") or self.namespace)
        self.do("POST", f"{path}?fieldManager=kubectl-create&fieldValidation=Ignore", obj)

    def patch(self, patch: object, words: Iterable[str]) -> None:
        """As `kubectl patch --type=merge`, of one object."""
        (kind,), (name,), _, namespace, _ = self._understood(words)
        path = f"{kind.path(namespace, name)}?fieldManager=kubectl-patch"
        self.do("PATCH", path, patch, content_type="application/merge-patch+json")

    def replace(self, obj: Object) -> None:
        """As `kubectl replace --validate=false`, of the object and of its status."""
        kind, metadata = self._kind_of(obj), obj["metadata"]
        path = kind.path(metadata.get("namespace") or self.namespace, metadata["name"])
        for subresource in ("", "/status"):
            self.do("PUT", f"{path}{subresource}?fieldManager=kubectl-replace&fieldValidation=Ignore", obj)

    def delete(self, kind: Kind, name: str) -> None:
        """As `kubectl delete --wait=false`."""
        self.do("DELETE", kind.path(self.namespace, name), {"propagationPolicy": "Background"})

    def do(
        self, method: str, path: str, body: object = None, *, content_type: str = "application/json"
    ) -> Any:
        """Carry out a request.

        Raises:
            Refused: by the server.
        """
        where = urlsplit(self._server.address)
        connection: http.client.HTTPConnection
        if where.scheme == "https":
            trusted = tls.context(self._server, self._server.address)
            connection = http.client.HTTPSConnection(where.netloc, timeout=60, context=trusted)
        else:
            connection = http.client.HTTPConnection(where.netloc, timeout=60)
        headers = {"Content-Type": content_type, "Accept": "application/json"}
        if self._server.token:
            headers["Authorization"] = f"Bearer {self._server.token}"
        try:
            raw = None if body is None else json.dumps(body).encode()
            connection.request(method, where.path.rstrip("/") + path, raw, headers)
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        if answer.status >= 300:
            raise Refused(f"{method} {path}: {answer.status} {text}")
        return json.loads(text)

    def _listed(self, kind: Kind, namespace: str, query: dict[str, str]) -> list[Object]:
        path = f"{kind.path(namespace)}?{urlencode(query, quote_via=quote)}"
        listed = self.do("GET", path).get("items") or ()
        return [with_type(kind, item) for item in listed]

    def _understood(self, words: Iterable[str]) -> tuple[list[Kind], list[str], dict[str, str], str, bool]:
        """Kinds, names, query, namespace and whether managed fields are shown."""
        plain, query, namespace, shows_managers = list[str](), dict[str, str](), self.namespace, False
        given = iter(words)
        for word in given:
            if word == "-n":
                namespace = next(given)
            elif word == "-l":
                query["labelSelector"] = next(given)
            elif word == "--show-managed-fields":
                shows_managers = True
            elif word.startswith("-"):
                raise NotInThisTable(word)
            else:
                plain.append(word)
        kinds = [self._kind_named(word) for word in plain[0].split(",")]
        return kinds, plain[1:], query, namespace, shows_managers

    def _kind_named(self, word: str) -> Kind:
        name, _, rest = word.partition(".")
        if name not in _BY_WORD or "/" in word:
            raise NotInThisTable(word)
        kind, (version, _, group) = _BY_WORD[name], rest.partition(".")
        if rest and group != kind.group:
            raise NotInThisTable(word)
        if kind.group == api.WORKSPACE.group and not rest:
            version = self.do("GET", f"/apis/{kind.group}")["preferredVersion"]["version"]
        return replace(kind, version=version or kind.version)

    def _kind_of(self, obj: Object) -> Kind:
        kind = _BY_WORD.get(str(obj["kind"]).lower())
        group, _, version = obj["apiVersion"].rpartition("/")
        if kind is None or kind.group != group:
            raise NotInThisTable(obj["kind"])
        return replace(kind, version=version)
