"""From what is wanted and what is there to the steps in between; nothing when it is already so.

Pure: a plan is data (requests), carried out by whoever drives a reconciler (`controller.drive`), printed
by a dry run, compared by a test.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from kaitoctl.kube import request
from kaitoctl.kube.objects import (
    Kind,
    Object,
    ObjectKey,
    annotations_of,
    controller_of,
    generation_of,
    is_being_deleted,
    is_controlled_by,
    key_of,
    owner_reference,
    quantity,
    resource_version_of,
    uid_of,
)
from kaitoctl.kube.request import Request

Verb = Literal["create", "update", "delete"]


@dataclass(frozen=True, slots=True)
class Child:
    """An object that should exist for an owner.

    Args:
        kind: its kind.
        manifest: the fields we decide on; all others are the server's and other people's.
        owned: False for a child that cannot carry the owner reference of its owner (cluster-scoped, or
            in another namespace): an annotation names the owner's uid instead, and garbage collection
            does not remove it.
        replace_on: for kinds that cannot be changed, such as Jobs: the annotation of the manifest that says
            what the object was made from. The object is left as it is while its annotation is the same; it
            is deleted when that differs, and created anew by the plan that finds it gone.
    """

    kind: Kind
    manifest: Object
    owned: bool = True
    replace_on: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """One write.

    Args:
        verb: what it does.
        kind: to an object of this kind.
        key: to this object.
        request: how to ask for it.
        why: `missing`, `differs at spec.replicas`, `no longer wanted` ...
    """

    verb: Verb
    kind: Kind
    key: ObjectKey
    request: Request
    why: str


class Foreign(NamedTuple):
    """An object that has the name of a wanted child and is not ours.

    Args:
        kind: its kind.
        key: its key.
        controller: who controls it, as `StatefulSet db`; `nobody` when it has no controller.
    """

    kind: Kind
    key: ObjectKey
    controller: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do about an owner's children.

    Args:
        steps: the writes, each independent of the others; empty when all is as wanted.
        foreign: wanted names that other people's objects have; they are left untouched.
        stale: True when a child was made from a newer generation of the owner than the one given:
            read the owner again.
    """

    steps: tuple[Step, ...]
    foreign: tuple[Foreign, ...] = ()
    stale: bool = False


_Identity = tuple[str, str, ObjectKey]


def plan(
    owner: Object,
    desired: Iterable[Child],
    observed: Iterable[tuple[Kind, Object]],
    *,
    manager: str,
    annotation_prefix: str,
) -> Plan:
    """The steps from `observed` to `desired`.

    Args:
        owner: the object that the children belong to, as last read; needs a uid.
        desired: every child that should exist; a missing namespace is the owner's.
        observed: every object known that has the name of a desired child or is controlled by the owner.
        manager: the field manager of the writes.
        annotation_prefix: names the stamps: `<prefix>/desired-hash`, `<prefix>/owner-generation`,
            `<prefix>/owner-uid`.

    Guarantee: planning again on the plan's own result gives no steps; the order of the inputs does not
    matter; an object that the owner does not control is never written; a child never goes back to an
    older generation of its owner.

    Raises:
        ValueError: the same child is desired twice.
    """
    there = {_identity(kind, key_of(obj)): (kind, obj) for kind, obj in observed}
    steps: list[Step] = []
    foreign: list[Foreign] = []
    stale = False
    wanted_names: set[_Identity] = set()
    for child in desired:
        wanted, stamped = _manifests(child, owner, annotation_prefix)
        key = key_of(wanted)
        identity = _identity(child.kind, key)
        if identity in wanted_names:
            raise ValueError(f"{child.kind.kind} {key} is desired twice")
        wanted_names.add(identity)
        _, present = there.get(identity, (child.kind, None))
        if present is None:
            # If somebody else creates this name meanwhile, the answer is 409 and not an adoption.
            request_ = request.apply(child.kind, stamped, manager=manager, only_new=True)
            steps.append(Step("create", child.kind, key, request_, "missing"))
        elif not _is_ours(present, owner, child.owned, annotation_prefix):
            foreign.append(Foreign(child.kind, key, _controller_text(present)))
        elif _owner_generation(present, annotation_prefix) > generation_of(owner):
            stale = True
        elif is_being_deleted(present):
            continue  # what comes after it can be decided when it is gone
        elif child.replace_on:
            if annotations_of(present).get(child.replace_on) != annotations_of(wanted).get(child.replace_on):
                # Foreground: the old one's pods hold what the new one's will need.
                request_ = request.delete(
                    child.kind,
                    key.namespace,
                    key.name,
                    uid=uid_of(present),
                    resource_version=resource_version_of(present),
                    propagation="Foreground",
                )
                steps.append(Step("delete", child.kind, key, request_, "to be made anew"))
        elif why := _why_update(wanted, stamped, present):
            # Taken over from whoever owns the fields, but only from the object that was judged: another
            # process of ours may have brought it forward meanwhile.
            judged = {"uid": uid_of(present), "resourceVersion": resource_version_of(present)}
            precise = {**stamped, "metadata": {**stamped["metadata"], **judged}}
            request_ = request.apply(child.kind, precise, manager=manager, force=True)
            steps.append(Step("update", child.kind, key, request_, why))
    for identity, (kind, obj) in there.items():
        referenced = controller_of(obj) is not None
        if identity in wanted_names or is_being_deleted(obj):
            continue
        if not _is_ours(obj, owner, referenced, annotation_prefix):
            continue
        if _owner_generation(obj, annotation_prefix) > generation_of(owner):
            stale = True
            continue
        key = key_of(obj)
        request_ = request.delete(
            kind, key.namespace, key.name, uid=uid_of(obj), resource_version=resource_version_of(obj)
        )
        steps.append(Step("delete", kind, key, request_, "no longer wanted"))
    steps.sort(key=lambda step: (step.verb == "delete", *_identity(step.kind, step.key)))
    foreign.sort(key=lambda item: _identity(item.kind, item.key))
    return Plan(tuple(steps), tuple(foreign), stale)


def _identity(kind: Kind, key: ObjectKey) -> _Identity:
    return kind.group, kind.kind, key


def _manifests(child: Child, owner: Object, prefix: str) -> tuple[Object, Object]:
    """The child's manifest with its owner named, and the same with the stamps."""
    kind, given = child.kind, child.manifest
    metadata = dict(given["metadata"])
    if kind.namespaced and not metadata.get("namespace"):
        metadata["namespace"] = key_of(owner).namespace
    manifest = {**given, "apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata}
    annotations = dict(metadata.get("annotations") or {})
    stamps = {
        f"{prefix}/desired-hash": _hash(manifest),
        f"{prefix}/owner-generation": str(generation_of(owner)),
    }
    if child.owned:
        metadata = {
            **metadata,
            "ownerReferences": [*(metadata.get("ownerReferences") or ()), owner_reference(owner)],
        }
    else:
        annotations[f"{prefix}/owner-uid"] = uid_of(owner)
    wanted = {**manifest, "metadata": {**metadata, "annotations": annotations}}
    return wanted, {**manifest, "metadata": {**metadata, "annotations": annotations | stamps}}


def _hash(manifest: Object) -> str:
    text = json.dumps(manifest, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _is_ours(obj: Object, owner: Object, owned: bool, prefix: str) -> bool:
    if owned:
        return is_controlled_by(obj, owner)
    # Annotations are copied around (a Deployment's to its ReplicaSets): a controller reference outranks them.
    named = annotations_of(obj).get(f"{prefix}/owner-uid")
    return controller_of(obj) is None and bool(named) and named == uid_of(owner)


def _controller_text(obj: Object) -> str:
    reference = controller_of(obj)
    return f"{reference.get('kind')} {reference.get('name')}" if reference else "nobody"


def _owner_generation(obj: Object, prefix: str) -> int:
    text = annotations_of(obj).get(f"{prefix}/owner-generation", "")
    return int(text) if text.isascii() and text.isdigit() else 0


def _why_update(wanted: Object, stamped: Object, present: Object) -> str:
    """Why the present object needs a write; empty when it does not."""
    if differing := differences(wanted, present):
        more = f" and {len(differing) - 1} more" if len(differing) > 1 else ""
        return f"differs at {differing[0]}{more}"
    if differing := differences({"metadata": stamped["metadata"]}, present):
        hash_differs = any("desired-hash" in path for path in differing)
        return "another manifest is wanted" if hash_differs else "made for another generation of its owner"
    return ""


# --- comparing -----------------------------------------------------------------------------------------

# Lists that the API server merges entry by entry, and what tells their entries apart: others may add to
# them. Source: the x-kubernetes-list-map-keys of the OpenAPI document of Kubernetes 1.33.
_MERGE_KEYS: dict[str, tuple[str, ...]] = {
    "containers": ("name",),
    "initContainers": ("name",),
    "env": ("name",),
    "volumes": ("name",),
    "imagePullSecrets": ("name",),
    "volumeMounts": ("mountPath",),
    "volumeDevices": ("devicePath",),
    "ports": ("containerPort", "port", "protocol"),
    "ownerReferences": ("uid",),
    "conditions": ("type",),
}
_QUANTITY_MAPS = frozenset({"requests", "limits"})
_QUANTITIES = frozenset({"sizeLimit", "divisor"})


class Difference(NamedTuple):
    """A field that is not as wanted.

    Args:
        path: as `spec.containers[name=x].image`.
        observed: its value now, None when it is absent.
        desired: the value wanted.
    """

    path: str
    observed: Any
    desired: Any


def differences(desired: Object, observed: Object) -> list[str]:
    """The paths of `compared`."""
    return [difference.path for difference in compared(desired, observed)]


def compared(desired: Object, observed: Object) -> list[Difference]:
    """Where `observed` does not contain `desired`.

    Fields that `desired` does not mention, or as null, may have any value. Lists have to match entry by
    entry, except those that Kubernetes merges by a key (containers, env, volumes, ports ...), to which
    others may have added; a Service's selector has to match whole. A missing value equals an empty map, list
    or text, False and 0: servers leave such values out. Quantities are compared as numbers.
    """
    return list(_walk(desired, observed, "", "", ""))


def _walk(desired: Any, observed: Any, path: str, field: str, parent: str) -> Iterable[Difference]:
    # Most of what is compared is equal, and found so without a look at its parts.
    if desired is None or desired == observed or (_is_empty(desired) and _is_empty(observed)):
        return
    if path == "spec.selector" and isinstance(observed, dict) and "matchLabels" not in desired:
        # A Service's selector is one value: a pair that somebody adds selects other pods, mostly none.
        if desired != observed:
            yield Difference(path, observed, desired)
    elif isinstance(desired, dict) and isinstance(observed, dict | None):
        for name, value in desired.items():
            yield from _walk(value, (observed or {}).get(name), _join(path, name), name, field)
    elif isinstance(desired, list) and isinstance(observed, list):
        yield from _walk_list(desired, observed, path, field)
    elif field in _QUANTITIES or parent in _QUANTITY_MAPS:
        if not _is_same_quantity(desired, observed):
            yield Difference(path, observed, desired)
    elif desired != observed:
        yield Difference(path, observed, desired)


def _walk_list(desired: list[Any], observed: list[Any], path: str, field: str) -> Iterable[Difference]:
    names = _MERGE_KEYS.get(field, ())
    wanted, have = _by_merge_key(desired, names), _by_merge_key(observed, names)
    if wanted is not None and have is not None:
        for merge_key, entry in wanted.items():
            name, value = next(item for item in zip(names, merge_key, strict=True) if item[1] is not None)
            yield from _walk(entry, have.get(merge_key), f"{path}[{name}={value}]", "", field)
    elif len(desired) != len(observed):
        yield Difference(path, observed, desired)
    else:
        for index, (entry, other) in enumerate(zip(desired, observed, strict=True)):
            yield from _walk(entry, other, f"{path}[{index}]", "", field)


def _by_merge_key(entries: list[Any], names: tuple[str, ...]) -> dict[tuple[Any, ...], Object] | None:
    """The entries by their merge key, or None when that does not tell them apart."""
    found: dict[tuple[Any, ...], Object] = {}
    for entry in entries:
        if not isinstance(entry, dict) or all(entry.get(name) is None for name in names):
            return None
        values = tuple(entry.get(name, "TCP" if name == "protocol" else None) for name in names)
        if not all(isinstance(value, str | int | None) for value in values) or values in found:
            return None
        found[values] = entry
    return found if names else None


def _is_empty(value: Any) -> bool:
    return not value


def _is_same_quantity(one: Any, other: Any) -> bool:
    try:
        return quantity(one) == quantity(other)
    except ValueError:
        return bool(one == other)


def _join(path: str, name: str) -> str:
    if "." in name or "/" in name:
        return f"{path}[{name}]"
    return f"{path}.{name}" if path else name
