"""What becomes of a Workspace that is there already when somebody asks for it again. Pure.

Server-side apply removes what its manager applied before and leaves out now, and lists without keys are one
value. So a manifest of what the flags name would take away adapters, annotations and labels that other
commands and other people wrote. Here the request is laid upon the Workspace as it is: what it does not name
stays.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from msgspec.structs import replace

from kaitoctl.kaito import adapters, manifest, node_check, revisions, undo
from kaitoctl.kube.objects import Object, annotations_of, dig, labels_of, uid_of

_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_OF_CONTROLLERS = ("workspace.kaito.io/", "inferenceset.kaito.io/")
"""Begin annotations that KAITO's controllers write a moment after every change: the hash and the revision.

Source: KAITO v0.12.0, syncControllerRevision of both controllers."""


def complete_request(
    request: manifest.WorkspaceRequest, live: Object, named: Collection[str]
) -> manifest.WorkspaceRequest:
    """The request with the Workspace's own values where only defaults stand.

    Args:
        request: what is asked for.
        live: the Workspace as it is.
        named: the fields of the request that somebody gave a value to, of `count` and `labels`.
    """
    labels = dig(live, "resource", "labelSelector", "matchLabels")
    here = {
        "count": node_check.required_nodes(live),
        "labels": dict(labels) if isinstance(labels, dict) else {},
    }
    # A runtime that somebody chose is theirs to change: the whole server restarts for it.
    chosen = {key: value for key, value in request.annotations.items() if key not in annotations_of(live)}
    kept = {key: value for key, value in here.items() if key not in named}
    return replace(request, annotations=chosen, **kept)


def upon(live: Object, asked: Object, *, without_strength: Collection[str] = ()) -> Object:
    """The Workspace as the request would have it: maps are merged, adapters by their names.

    Args:
        live: the Workspace as it is.
        asked: the manifest that the request makes, of the same API version.
        without_strength: the adapters of which nobody said how strong; they stay as strong as they are.

    Guarantee: whatever `asked` does not name is as in `live`. Other lists than that of the adapters are one
        value: who names one names all of it.
    """
    made = {**live, **{part: _merge(live.get(part), asked[part]) for part in _parts(asked)}}
    metadata = dict(live["metadata"])
    for field in ("labels", "annotations"):
        if wanted := dig(asked, "metadata", field):
            metadata[field] = _merge(metadata.get(field), wanted)
    made["metadata"] = metadata
    entries = adapters.entries_of(asked)
    if entries:
        made = adapters.with_entries(made, _merged_adapters(live, entries, without_strength))
    return made


def instead_of(live: Object, asked: Object) -> Object:
    """The Workspace with just what the request says of resource, inference and tuning; the rest stays.

    Args:
        live: the Workspace as it is.
        asked: the manifest that the request makes, of the same API version.
    """
    made = upon(live, {key: value for key, value in asked.items() if key not in revisions.PARTS})
    kept = {key: value for key, value in made.items() if key not in revisions.PARTS}
    return {**kept, **{part: asked[part] for part in _parts(asked)}}


def _parts(asked: Object) -> list[str]:
    return [part for part in revisions.PARTS if asked.get(part) is not None]


def _merge(base: Any, over: Any) -> Any:
    both = isinstance(base, Mapping) and isinstance(over, Mapping)
    return manifest.merge_deeply(base, over) if both else over


def _merged_adapters(live: Object, entries: list[Object], without_strength: Collection[str]) -> list[Object]:
    made = adapters.entries_of(live)
    for entry in entries:
        name = adapters.name_of(entry)
        there = adapters.entry_of(live, name)
        if there is None:
            made.append(entry)
            continue
        source = _merge(there.get("source"), entry.get("source"))
        if dig(entry, "source", "image"):
            source.pop("volumeSource", None)
        new = {**there, **entry, "source": source}
        if name in without_strength:
            new.pop("strength", None)
            if "strength" in there:
                new["strength"] = there["strength"]
        made = [new if adapters.name_of(item) == name else item for item in made]
    return made


def intent(live: Object, goal: Object, manager: str) -> Object:
    """What `manager` has to apply so that the Workspace becomes `goal`; it holds for this very state of it.

    Args:
        live: the Workspace as read, with managedFields.
        goal: what `upon` made of it.
        manager: the field manager.

    Guarantee: a field that others own is named only when its value changes, one of the manager's always.
    """
    made = undo.manifest(live, goal, manager)
    owned = labels_of(made)  # those that the manager owns, as they are now
    labels = {
        key: value
        for key, value in labels_of(goal).items()
        if key in owned or value != labels_of(live).get(key)
    }
    metadata = {**made["metadata"], "resourceVersion": live["metadata"]["resourceVersion"]}
    if labels:
        metadata["labels"] = labels
    return {**made, "metadata": metadata}


def asked_of(workspace: Object) -> Object:
    """What a person means by a Workspace or a set: what it asks for, its labels and their annotations."""
    labels = labels_of(workspace)
    annotations = {
        key: value
        for key, value in annotations_of(workspace).items()
        if key != _LAST_APPLIED and not key.startswith(_OF_CONTROLLERS)
    }
    metadata: Object = {}
    if labels:
        metadata["labels"] = labels
    if annotations:
        metadata["annotations"] = annotations
    parts = {part: workspace[part] for part in (*revisions.PARTS, "spec") if workspace.get(part) is not None}
    return {**parts, **({"metadata": metadata} if metadata else {})}


def is_unchanged(now: Object | None, shown: Object) -> bool:
    """Whether an object is still the one that was shown, and means the same; its status may have moved."""
    return now is not None and uid_of(now) == uid_of(shown) and asked_of(now) == asked_of(shown)


def takes_away(before: Any, after: Any) -> bool:
    """Whether something of `before` is not in `after`: a key, a list's entry, one of a number of nodes."""
    if isinstance(before, dict) and isinstance(after, dict):
        return any(key not in after or takes_away(value, after[key]) for key, value in before.items())
    if isinstance(before, list) and isinstance(after, list):
        return any(item not in after for item in before)
    if isinstance(before, int) and isinstance(after, int):
        return after < before
    return before is not None and after is None
