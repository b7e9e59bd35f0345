"""ControllerRevisions of a set: what its replicas were to be made from, numbered. Pure.

`data` has KAITO's shape, `{"Spec": ...}`, with the template and the labelSelector: scaling makes no revision.
What is asked for now always has the highest number, also when it is something old again.

Source of the names: KAITO v0.12.0, `pkg/inferenceset/inferenceset_controller.go` (syncControllerRevision).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence

from msgspec import Struct

from kaitoctl.kaito import revisions
from kaitoctl.kube.objects import (
    CONTROLLER_REVISION,
    Object,
    copy_of,
    dig,
    owner_reference,
    without_managed_fields,
)

LABEL_NAME = "inferenceset.kaito.io/name"
HASH = "inferenceset.kaito.io/hash"
NUMBER = "inferenceset.kaito.io/revision"
"""On a Workspace: the number of the revision that it was made from."""

_PARTS = ("template", "labelSelector")


class Record(Struct, frozen=True):
    """What is to be done so that the history has what the set asks for now.

    Args:
        number: of the present revision, once it is done.
        present: the revision that has it; None when one is to be created.
        superfluous: revisions beyond the limit, oldest first.
    """

    number: int
    present: Object | None
    superfluous: tuple[Object, ...]


def data_of(inference_set: Object) -> Object:
    """What a revision of the set holds."""
    spec = inference_set.get("spec") or {}
    return {"Spec": {part: spec[part] for part in _PARTS if spec.get(part) is not None}}


def hash_of(data: Object) -> str:
    """64 hex digits that tell one `data` from another; what KAITO records besides does not count."""
    spec = data.get("Spec") or {}
    text = json.dumps({part: spec.get(part) for part in _PARTS}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def trim_revision(obj: Object) -> Object:
    """What a controller keeps of a revision: of its data the hash, and the annotations of the template."""
    data = obj.get("data")
    data = data if isinstance(data, dict) else {}
    return {
        "apiVersion": obj.get("apiVersion"),
        "kind": obj.get("kind"),
        "revision": revisions.number_of(obj),
        "metadata": without_managed_fields(obj)["metadata"],
        "hash": hash_of(data),
        "annotations": sorted(dig(data, "Spec", "template", "metadata", "annotations") or ()),
    }


def has_same_data(one: Object, inference_set: Object) -> bool:
    """Whether a revision, whole, holds what the set asks for now."""
    return hash_of(one.get("data") or {}) == hash_of(data_of(inference_set))


def as_of(inference_set: Object, one: Object) -> Object:
    """The set as a revision, whole, has it; what is not recorded stays as it is now."""
    recorded = dig(one, "data", "Spec") or {}
    kept = {part: value for part, value in (inference_set.get("spec") or {}).items() if part not in _PARTS}
    parts = {part: recorded[part] for part in _PARTS if recorded.get(part) is not None}
    return copy_of({**inference_set, "spec": {**kept, **parts}})


def earlier(own: Sequence[Object], inference_set: Object, number: int | None) -> Object | None:
    """The revision to go back to; None when there is none.

    Args:
        own: the set's revisions, whole, oldest first.
        inference_set: as it is.
        number: which one; None for the newest that is not what the set asks for now.
    """
    return revisions.earlier(own, number, is_now=lambda one: has_same_data(one, inference_set))


def revision(inference_set: Object, number: int) -> Object:
    """The ControllerRevision of what the set asks for now."""
    data, metadata = data_of(inference_set), inference_set["metadata"]
    digest = hash_of(data)
    seed = f"{metadata.get('uid')}/{digest}/{number}"
    return {
        "apiVersion": CONTROLLER_REVISION.api_version,
        "kind": CONTROLLER_REVISION.kind,
        "metadata": {
            "name": f"{metadata['name']}-{hashlib.sha256(seed.encode()).hexdigest()[:10]}",
            "namespace": metadata["namespace"],
            "labels": {LABEL_NAME: metadata["name"]},
            "annotations": {HASH: digest},
            "ownerReferences": [owner_reference(inference_set)],
        },
        "data": data,
        "revision": number,
    }


def record(inference_set: Object, own: Iterable[Object]) -> Record:
    """What to do about a set's revisions.

    Args:
        inference_set: the set.
        own: its revisions, `trim_revision`.

    Guarantee: once done, nothing more is to be done.
    """
    past, digest = revisions.sort_revisions(own), hash_of(data_of(inference_set))
    newest = past[-1] if past else None
    if newest is not None and newest["hash"] == digest:
        return Record(revisions.number_of(newest), newest, tuple(past[: max(0, len(past) - revisions.LIMIT)]))
    number = (revisions.number_of(newest) if newest else 0) + 1
    return Record(number, None, tuple(past[: max(0, len(past) + 1 - revisions.LIMIT)]))
