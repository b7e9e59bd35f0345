"""What a request asks for in the words of RBAC: a verb and a resource.

`request` says how to ask and `access` what right that takes; metrics count by it, dry runs print it, and a
test compares it with the role in `deploy/`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import unquote

from kaitoctl.advice import Advice, Command

_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch"}


class Access(NamedTuple):
    """A right, and the object that it is used on.

    Args:
        verb: `get`, `list`, `watch`, `create`, `update`, `patch`, `delete` or `deletecollection`.
        group: API group, empty for the core group.
        resource: `pods`, `workspaces/status`; the path itself for what is no resource (`/version`).
        namespace: empty for cluster-scoped objects and for all namespaces.
        name: empty for a collection.
    """

    verb: str
    group: str
    resource: str
    namespace: str = ""
    name: str = ""

    @property
    def hint(self) -> Advice:
        """What somebody who lacks the right can do, and the command that looks whether they have it."""
        resource, _, below = self.resource.partition("/")
        asked = [f"{resource}.{self.group}" if self.group else resource]
        if below:
            asked.append(f"--subresource={below}")
        where = ("-n", self.namespace) if self.namespace else ("-A",)
        command = Command("kubectl auth can-i", self.verb, *asked, *where)
        return f"you need {self.verb} on {self.resource}; check with: " + command


def access(method: str, path: str, query: Mapping[str, str]) -> Access:
    """The right that a request takes.

    A server-side apply counts as `patch`; where it creates the object it takes `create` as well.

    Source: https://kubernetes.io/docs/reference/access-authn-authz/authorization/#determine-the-request-verb
    """
    parts = path.strip("/").split("/")
    if "%" in path:
        parts = [unquote(part) for part in parts]
    length = {"api": 2, "apis": 3}.get(parts[0], len(parts))
    group, rest = parts[1] if parts[0] == "apis" and len(parts) > 1 else "", parts[length:]
    if not rest:
        return Access(_VERBS.get(method, method.lower()), "", path)
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2:
        namespace, rest = rest[1], rest[2:]
    resource, name, *below = [*rest, ""][: max(2, len(rest))]
    verb = _VERBS.get(method, "")
    if method == "DELETE":
        verb = "delete" if name else "deletecollection"
    elif not verb:
        verb = "get" if name else "watch" if query.get("watch") in ("true", "1") else "list"
    return Access(verb, group, "/".join([resource, *below]), namespace, name)
