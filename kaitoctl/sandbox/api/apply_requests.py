"""Server-side apply: what a manager wants, merged into what others own. Pure.

How fields are merged and owned is in `sandbox.server_side_apply`; here is what a request adds to it.
"""

from __future__ import annotations

import json
from typing import Any

from kaitoctl.kube.managed_fields import Fields, minus
from kaitoctl.kube.objects import Object, ObjectKey, dig, only, without
from kaitoctl.sandbox import crd, types
from kaitoctl.sandbox.api.identity import must_be_the_same, uid_must_stay, with_identity
from kaitoctl.sandbox.api.requests import Author
from kaitoctl.sandbox.api.writes import Writes, decoded_as
from kaitoctl.sandbox.builtin import Resource
from kaitoctl.sandbox.error_status import Failure, bad_request, conflict, invalid, required
from kaitoctl.sandbox.server_side_apply import (
    ApplyConflict,
    Manager,
    Owned,
    Owners,
    apply,
    fields_of,
    ownable,
    owners_of,
)
from kaitoctl.sandbox.shapes import Shape, UnkeyedEntry
from kaitoctl.sandbox.store import Entry


def server_side_apply(
    writes: Writes,
    resource: Resource,
    key: ObjectKey,
    entry: Entry | None,
    body: Any,
    subresource: str,
    author: Author,
) -> Entry:
    """Apply a configuration: create the object, or take over and give up fields of it.

    Raises:
        Failure: 400, 409 for fields that others own, 422, 500 for what is not of its fields' types.
    """
    if not author.named:
        cause = required("fieldManager", "is required for apply patch")
        raise invalid("PatchOptions", "meta.k8s.io", "", [cause])
    if isinstance(body, dict) and not (body.get("apiVersion") and body.get("kind")):
        raise bad_request("an apply patch must have apiVersion and kind")
    config = with_identity(resource, key.namespace, key.name, body)
    identity = config["metadata"]
    # What an apply says is empty, it owns.
    config["metadata"] = {**(body["metadata"] if dig(body, "metadata") else {}), **identity}
    if identity.get("managedFields"):
        raise bad_request("metadata.managedFields must be nil")
    live = None
    if entry is not None:
        uid_must_stay(resource, entry, identity)
        must_be_the_same(resource, entry, identity)
        live = crd.in_version(resource, entry.obj)
    elif uid := identity.get("uid"):
        why = f"uid mismatch: the provided object specified uid {uid}, and no existing object was found"
        raise conflict(resource.kind.plural, resource.kind.group, key.name, why)
    if subresource == "status":
        name = only(identity, "name", "namespace")
        config = {**only(config, "apiVersion", "kind", "status"), "metadata": name}
    elif "status" in resource.subresources:
        config = without(config, "status")
    namespace = dig(body, "metadata", "namespace") or ""
    _must_be_declared(resource, key, namespace, config)
    owners = owners_of(live["metadata"].get("managedFields")) if live else {}
    try:
        merged, owners = _apply(resource, live, config, owners, subresource, author)
    except ApplyConflict as error:
        causes = [
            {"reason": "FieldManagerConflict", "message": f"conflict with {manager}", "field": path}
            for manager, path in error.conflicts
        ]
        raise Failure(409, "Conflict", str(error), causes=causes) from None
    except UnkeyedEntry as error:
        raise _untyped_error(resource, key, namespace, str(error)) from None
    merged["metadata"] = dict(merged["metadata"])
    if resource.struct is not None:
        merged, _ = decoded_as(resource, resource.struct, merged)
    else:
        merged["metadata"], _ = decoded_as(resource, types.METADATA, merged["metadata"])
    if entry is None or live is None:
        merged["metadata"].pop("resourceVersion", None)  # compared with what exists, or with nothing
        return writes.create(resource, key.namespace, merged, author, owners=owners)
    return writes.write(resource, entry, live, merged, subresource, author, owners)


def _apply(
    resource: Resource, live: Object | None, config: Object, owners: Owners, subresource: str, author: Author
) -> tuple[Object, Owners]:
    """The object after the apply, and who owns what of it.

    Raises:
        ApplyConflict: others own fields of it.
        UnkeyedEntry: an entry of a list has no key of its own.
    """
    me = Manager(author.manager, "Apply", "", subresource)
    shape, now = resource.shape, author.now
    if live is not None and not owners:
        before = Manager("before-first-apply", "Update", resource.kind.api_version, "")
        owners = {before: Owned(fields_of(ownable(live), shape), now)}
    try:
        return apply(live, config, owners, me, shape, force=author.force, now=now)
    except ApplyConflict as error:
        if not _is_upgrade_of_kubectl(author.manager, live, error.fields, shape):
            raise
        return apply(live, config, owners, me, shape, force=True, now=now)


def _must_be_declared(resource: Resource, key: ObjectKey, namespace: str, config: Object) -> None:
    try:
        if resource.struct is not None:
            unknown = types.decode(resource.struct, config)[1]
        else:
            more = types.decode(types.METADATA, config["metadata"], "metadata")[1]
            unknown = [*crd.unknown_fields(resource, config), *more]
            if mismatch := crd.mismatch(resource, config):
                raise _untyped_error(resource, key, namespace, mismatch)
    except types.TypeMismatch as error:
        raise _untyped_error(resource, key, namespace, f".{error}") from None
    if unknown:
        lines = [f".{path}: field not declared in schema" for path in unknown]
        words = lines[0] if len(lines) == 1 else "errors:\n" + "\n".join(f"  {line}" for line in lines)
        raise _untyped_error(resource, key, namespace, words)


def _untyped_error(resource: Resource, key: ObjectKey, namespace: str, words: str) -> Failure:
    # The real server, too, has no reason and code 500 here: its typed merge fails before validation.
    kind = resource.kind
    return Failure(
        500,
        "",
        f"failed to create typed patch object ({namespace}/{key.name}; "
        f"{kind.api_version}, Kind={kind.kind}): {words}",
    )


def _is_upgrade_of_kubectl(manager: str, live: Object | None, contested: Fields, shape: Shape) -> bool:
    """Whether kubectl only meets itself: all fields in conflict are those of its last client-side apply.

    Source: https://kubernetes.io/docs/reference/using-api/server-side-apply/#upgrading-from-client-side-apply-to-server-side-apply
    """
    last = dig(live, "metadata", "annotations", "kubectl.kubernetes.io/last-applied-configuration")
    if manager != "kubectl" or not isinstance(last, str):
        return False
    try:
        return not minus(contested, fields_of(ownable(json.loads(last)), shape))
    except (ValueError, AttributeError):
        return False
