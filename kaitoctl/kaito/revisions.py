"""ControllerRevisions: what a Workspace asked for each time it was applied, numbered. Pure.

A revision's `data` is a partial Workspace: `resource`, `inference` or `tuning` (KAITO's shape), and of the
metadata those annotations that change what is built. It never changes; the number does, as it does for
StatefulSets: what a Workspace asks for now always has the highest number, also when it asks for
something old again.

Source of the names: KAITO v0.3.2, `pkg/controllers/workspace_controller.go`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence

from msgspec import Struct

from kaitoctl.kaito import api
from kaitoctl.kaito.own_workloads import OWNER_GENERATION
from kaitoctl.kube.objects import (
    CONTROLLER_REVISION,
    Object,
    annotations_of,
    copy_of,
    dig,
    owner_reference,
    without,
    without_managed_fields,
)

LABEL_NAME = "workspace.kaito.io/name"
"""On a revision: the Workspace's name."""

NUMBER = "workspace.kaito.io/revision"
"""On a workload: the number of the revision that it was made from."""

CHANGE_CAUSE = "kubernetes.io/change-cause"

LIMIT = 10
"""How many revisions of a Workspace are kept, its present one included."""

PARTS = ("resource", "inference", "tuning")
ANNOTATIONS = (api.ANNOTATION_ENABLE_LB, api.ANNOTATION_RUNTIME)
"""The annotations that change what is built."""

_HASH = "hash"  # of a kept revision's data
_OPTIONS = "presetOptions"


class Record(Struct, frozen=True):
    """What is to be done so that the history has what the Workspace asks for now.

    Args:
        number: of the present revision, once it is done.
        present: the revision (`trim_revision`) that has it already; None when one is to be created.
        patch: what is to change in it; empty when nothing is.
        superfluous: revisions beyond the limit, oldest first.
    """

    number: int
    present: Object | None
    patch: Object
    superfluous: tuple[Object, ...]


def data_of(workspace: Object) -> Object:
    """What a revision of the Workspace holds."""
    data: Object = {part: workspace[part] for part in PARTS if workspace.get(part) is not None}
    chosen = {key: value for key, value in sorted(annotations_of(workspace).items()) if key in ANNOTATIONS}
    return {**data, "metadata": {"annotations": chosen}} if chosen else data


def hash_of(data: Object) -> str:
    """64 hex digits that tell one `data` from another; what KAITO writes of nothing does not count."""
    text = json.dumps(_without_nothing(data), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def as_of(workspace: Object, data: Object) -> Object:
    """The Workspace as it was when `data` was recorded; what is not recorded stays as it is now."""
    kept = {key: value for key, value in workspace.items() if key not in PARTS}
    others = {key: value for key, value in annotations_of(workspace).items() if key not in ANNOTATIONS}
    recorded = dig(data, "metadata", "annotations") or {}
    chosen = {key: recorded[key] for key in ANNOTATIONS if key in recorded}
    metadata = {**workspace["metadata"], "annotations": {**others, **chosen}}
    if not metadata["annotations"]:
        del metadata["annotations"]
    recorded_parts = {part: data[part] for part in PARTS if data.get(part) is not None}
    parts = {key: _with_options_of(part, workspace.get(key) or {}) for key, part in recorded_parts.items()}
    return copy_of({**kept, "metadata": metadata, **parts})


def name_of(workspace: Object, collisions: int = 0) -> str:
    """The name of the Workspace's present revision.

    Args:
        workspace: the Workspace.
        collisions: how many such names are taken by something else: the same `data` of a Workspace that had
            this name before, for one.
    """
    seed = hash_of(data_of(workspace)) + (f"/{collisions}" if collisions else "")
    return f"{workspace['metadata']['name']}-{hashlib.sha256(seed.encode()).hexdigest()[:16]}"


def revision(workspace: Object, number: int, *, collisions: int = 0) -> Object:
    """The ControllerRevision of what the Workspace asks for now."""
    data, metadata = data_of(workspace), workspace["metadata"]
    return {
        "apiVersion": CONTROLLER_REVISION.api_version,
        "kind": CONTROLLER_REVISION.kind,
        "metadata": {
            "name": name_of(workspace, collisions),
            "namespace": metadata["namespace"],
            "labels": {LABEL_NAME: metadata["name"]},
            "annotations": _annotations(workspace),
            "ownerReferences": [owner_reference(workspace)],
        },
        "data": data,
        "revision": number,
    }


def trim_revision(obj: Object) -> Object:
    """What a controller keeps of a revision: everything but its data, of which the hash is enough."""
    metadata = without_managed_fields(obj)["metadata"]
    head = {"apiVersion": obj.get("apiVersion"), "kind": obj.get("kind"), "revision": number_of(obj)}
    data = obj.get("data")
    return {**head, "metadata": metadata, _HASH: hash_of(data if isinstance(data, dict) else {})}


def number_of(obj: Object) -> int:
    """A revision's number; 0 when it has none."""
    number = obj.get("revision")
    return number if isinstance(number, int) else 0


def number_on(workload: Object | None) -> int:
    """The number of the revision that a workload was made from; 0 when it does not say."""
    text = annotations_of(workload or {}).get(NUMBER, "")
    return int(text) if text.isascii() and text.isdigit() else 0


def newest(revisions: Iterable[Object]) -> int:
    """The highest number; 0 when there are no revisions. It is what `rollout undo --to-revision` takes."""
    return max(map(number_of, revisions), default=0)


def sort_revisions(revisions: Iterable[Object]) -> list[Object]:
    """Oldest first."""
    return sorted(revisions, key=lambda one: (number_of(one), one["metadata"]["name"]))


def earlier(own: Sequence[Object], number: int | None, *, is_now: Callable[[Object], bool]) -> Object | None:
    """The revision to go back to; None when there is none.

    Args:
        own: the revisions, whole, oldest first.
        number: which one; None for the newest that is not what is asked for now.
        is_now: whether a revision holds what is asked for now.
    """
    if number is None:
        return next((one for one in reversed(own) if not is_now(one)), None)
    return next((one for one in own if number_of(one) == number), None)


def has_same_data(obj: Object, workspace: Object) -> bool:
    """Whether a revision, whole or `trim_revision`, holds what the Workspace asks for now."""
    found = obj.get(_HASH) or hash_of(obj.get("data") or {})
    return bool(found == hash_of(data_of(workspace)))


def record(workspace: Object, own: Iterable[Object], *, deployed: int = 0) -> Record:
    """What to do about a Workspace's revisions when it is applied as it is now.

    Args:
        workspace: the Workspace.
        own: its revisions, `trim_revision`; upstream KAITO's count, too.
        deployed: the number on its workload, which is never superfluous.

    Guarantee: once done, nothing more is to be done.
    """
    history = sort_revisions(own)
    alike = [one for one in history if has_same_data(one, workspace)]
    present = alike[-1] if alike else None
    others = [one for one in history if one is not present]
    number, patch = newest(others) + 1, {}
    if present is not None:
        if number_of(present) >= number:
            number = number_of(present)
        else:
            patch = {"revision": number, "metadata": {"annotations": _annotations(workspace)}}
        cause = annotations_of(workspace).get(CHANGE_CAUSE)
        if not patch and cause and cause != annotations_of(present).get(CHANGE_CAUSE):
            patch = {"metadata": {"annotations": {CHANGE_CAUSE: cause}}}
    excess = max(0, len(others) + 1 - LIMIT)
    expendable = [one for one in others if number_of(one) != deployed]
    return Record(number, present, patch, tuple(expendable[:excess]))


def _annotations(workspace: Object) -> Object:
    cause = annotations_of(workspace).get(CHANGE_CAUSE)
    generation = str(workspace["metadata"].get("generation") or 0)
    return {OWNER_GENERATION: generation, **({CHANGE_CAUSE: cause} if cause else {})}


def _without_nothing(data: Object) -> Object:
    """Without parts that are null, and empty options of presets: Go writes both."""
    parts = {key: value for key, value in data.items() if value is not None}
    for use in ("inference", "tuning"):
        try:
            preset = parts[use]["preset"]
            is_empty = preset[_OPTIONS] == {}
        except (KeyError, TypeError):
            continue  # every pass over every Workspace asks, and most have none
        if is_empty:
            parts[use] = {**parts[use], "preset": without(preset, _OPTIONS)}
    return parts


def _with_options_of(part: Object, other: Object) -> Object:
    """A part whose preset has empty options where that of the other one does."""
    preset, there = dig(part, "preset"), dig(other, "preset")
    if not isinstance(preset, dict) or preset.get(_OPTIONS) or dig(there, _OPTIONS):
        return part
    empty = {_OPTIONS: there[_OPTIONS]} if isinstance(there, dict) and _OPTIONS in there else {}
    return {**part, "preset": {**without(preset, _OPTIONS), **empty}}
