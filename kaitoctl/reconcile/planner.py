"""From what is wanted and what is there to the steps in between; nothing when it is already so.

Pure: a plan is data (requests), carried out by whoever drives a reconciler
(`generator_driver.drive`), printed by a dry run, compared by a test.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Literal, NamedTuple

from msgspec import Struct

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
    resource_version_of,
    this_version,
    uid_of,
)
from kaitoctl.kube.request import Request
from kaitoctl.reconcile.field_differences import differences

Verb = Literal["create", "update", "delete"]


class Child(Struct, frozen=True):
    """An object that should exist for an owner.

    Args:
        kind: its kind.
        manifest: the fields we decide on; all others are the server's and other people's.
        owned: False for a child that cannot carry the owner reference of its owner (cluster-scoped, or
            in another namespace): an annotation names the owner's uid instead, and garbage collection
            does not remove it.
        replace_on: for kinds that cannot be changed, such as Jobs: the annotation of the manifest that says
            what the object was made from. The object is left as it is while its annotation is the same; it
            is deleted when that differs, and created again by the plan that finds it gone.
    """

    kind: Kind
    manifest: Object
    owned: bool = True
    replace_on: str = ""


class Step(Struct, frozen=True):
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


class Plan(Struct, frozen=True):
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
        if (present := there.get(identity, (child.kind, None))[1]) is None:
            # If somebody else creates this name meanwhile, the answer is 409 and not an adoption.
            request_ = request.apply(child.kind, stamped, manager=manager, only_new=True)
            steps.append(Step("create", child.kind, key, request_, "missing"))
        elif not _is_ours(present, owner, child.owned, annotation_prefix):
            foreign.append(Foreign(child.kind, key, _controller_text(present)))
        elif owner_generation(present, annotation_prefix) > generation_of(owner):
            stale = True
        elif is_being_deleted(present):
            continue  # what comes after it can be decided when it is gone
        elif step := _bring_forward(child, wanted, stamped, present, manager):
            steps.append(step)
    for identity, (kind, obj) in there.items():
        is_ours = _is_ours(obj, owner, controller_of(obj) is not None, annotation_prefix)
        if identity in wanted_names or is_being_deleted(obj) or not is_ours:
            continue
        if owner_generation(obj, annotation_prefix) > generation_of(owner):
            stale = True
        else:
            steps.append(_deletion(kind, obj, "no longer wanted"))
    steps.sort(key=lambda step: (step.verb == "delete", *_identity(step.kind, step.key)))
    foreign.sort(key=lambda item: _identity(item.kind, item.key))
    return Plan(tuple(steps), tuple(foreign), stale)


def _bring_forward(
    child: Child, wanted: Object, stamped: Object, present: Object, manager: str
) -> Step | None:
    """The write that makes our own child as wanted; None when it is."""
    if child.replace_on:
        if annotations_of(present).get(child.replace_on) == annotations_of(wanted).get(child.replace_on):
            return None
        # Foreground: the old one's pods hold what the new one's will need.
        return _deletion(child.kind, present, "to be recreated", propagation="Foreground")
    if not (why := _why_update(wanted, stamped, present)):
        return None
    # Taken over from whoever owns the fields, but only from the object that was judged: another process of
    # ours may have brought it forward meanwhile.
    precise = {**stamped, "metadata": {**stamped["metadata"], **this_version(present)}}
    request_ = request.apply(child.kind, precise, manager=manager, force=True)
    return Step("update", child.kind, key_of(wanted), request_, why)


def _deletion(kind: Kind, obj: Object, why: str, *, propagation: str = "Background") -> Step:
    key = key_of(obj)
    uid, version = uid_of(obj), resource_version_of(obj)
    request_ = request.delete(kind, *key, uid=uid, resource_version=version, propagation=propagation)
    return Step("delete", kind, key, request_, why)


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
    return f"{reference.get('kind')} {reference.get('name')}" if reference else "none"


def owner_generation(obj: Object, prefix: str) -> int:
    """The generation of its owner that an object is stamped with; 0 without."""
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
