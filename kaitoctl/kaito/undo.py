"""Back to an earlier revision of a Workspace: what to apply, what that means, what it cannot do. Pure.

Server-side apply removes what its manager owns and no longer names, and refuses to change what others own.
So the manifest names as little as possible: what the manager owns, and what differs. What others own and
the revision does not have remains; `remainder` is the patch that would take it away.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from kaitoctl.kaito import api, desired, revisions, tuning
from kaitoctl.kaito.catalog import Catalog
from kaitoctl.kube import managed_fields
from kaitoctl.kube.objects import STATEFUL_SET, Object, annotations_of, controller_of, dig, key_of, uid_of

# Maps that are one value to the API server. Source: x-kubernetes-map-type of the CRD.
_ATOMIC = frozenset({"labelSelector"})


def choose(history: list[Object], live: Object, number: int | None) -> Object | None:
    """The revision to go back to; None when there is none.

    Args:
        history: the Workspace's revisions, whole, oldest first.
        live: the Workspace.
        number: which one; None for the newest that is not what the Workspace asks for now: the one before,
            or after an edit that was never applied, the last that was.
    """
    return revisions.earlier(history, number, is_now=lambda one: revisions.has_same_data(one, live))


def goal_of(live: Object, revision: Object) -> Object:
    """The Workspace as the revision has it, with a change-cause that is true of it."""
    made = revisions.as_of(live, revision["data"])
    recorder = (controller_of(revision) or {}).get("apiVersion")
    if recorder == api.WORKSPACE.api_version != live["apiVersion"]:
        for field in api.ONLY_IN_V1BETA1:  # who recorded it could not see them
            _keep(live, made, field.split("."))
    cause = annotations_of(revision).get(revisions.CHANGE_CAUSE)
    if not cause and revisions.CHANGE_CAUSE in annotations_of(live):
        name, number = live["metadata"]["name"], revisions.number_of(revision)
        cause = f"kaitoctl rollout undo {name} --to-revision={number}"
    if cause:
        made["metadata"]["annotations"] = {**annotations_of(made), revisions.CHANGE_CAUSE: cause}
    return made


def _keep(live: Object, made: Object, path: Sequence[str]) -> None:
    """Take over a field of the Workspace as it is, where what it belongs to is still asked for."""
    value, (*above, name) = dig(live, *path), path
    inside: Any = made
    for step in above:
        if step == "presetOptions" and isinstance(inside, dict) and inside.get(step) is None:
            inside[step] = {}
        inside = dig(inside, step)
    if value is not None and isinstance(inside, dict):
        inside.setdefault(name, value)


def manifest(live: Object, goal: Object, manager: str) -> Object:
    """What `manager` applies to come as near to `goal` as its ownership allows.

    Guarantee: a field that others own is named only when its value changes.
    """
    owned = managed_fields.extract(live, manager)
    metadata = {
        **owned["metadata"],
        "name": live["metadata"]["name"],
        "namespace": key_of(live).namespace,
        "uid": uid_of(live),
    }
    annotations = _fields_to_set(annotations_of(goal), annotations_of(live), annotations_of(owned))
    if annotations:
        metadata["annotations"] = annotations
    else:
        metadata.pop("annotations", None)
    goals, lives, mine = (
        {part: obj[part] for part in revisions.PARTS if obj.get(part) is not None}
        for obj in (goal, live, owned)
    )
    parts = _fields_to_set(goals, lives, mine)
    return {"apiVersion": live["apiVersion"], "kind": live["kind"], "metadata": metadata, **parts}


def _fields_to_set(goal: Object, live: Object, owned: Object) -> Object:
    """The fields of `goal` that are owned, or that differ."""
    found: Object = {}
    for key, value in goal.items():
        there, mine = live.get(key), owned.get(key)
        if key not in _ATOMIC and isinstance(value, dict) and isinstance(there, dict):
            inner = _fields_to_set(value, there, mine if isinstance(mine, dict) else {})
            if inner or key in owned:
                found[key] = inner
        elif key in owned or value != there:
            found[key] = value
    return found


def remainder(after: Object, goal: Object) -> Object:
    """The merge patch that takes away what an apply left, empty when there is nothing.

    What nobody owns is a default of the API's, and comes back by itself.

    Args:
        after: the Workspace as the apply leaves it, with its `managedFields`.
        goal: as it should be.
    """
    return _rest(after, _comparable(after), _comparable(goal), ())


def _comparable(workspace: Object) -> Object:
    """What a revision holds, with annotations even if there are none: a patch must not remove metadata."""
    return {"metadata": {"annotations": {}}, **revisions.data_of(workspace)}


def _rest(after: Object, old: Object, new: Object, path: tuple[str, ...]) -> Object:
    patch: Object = {key: None for key in old if key not in new and _owners(after, (*path, key))}
    for key, value in new.items():
        before = old.get(key)
        if isinstance(value, dict) and isinstance(before, dict):
            if inner := _rest(after, before, value, (*path, key)):
                patch[key] = inner
        elif value != before:
            patch[key] = value
    return patch


def owned_by_others(live: Object, patch: Object, manager: str) -> list[str]:
    """A line for each field that a patch changes and that not `manager` alone owns; what nobody owns is free.

    Args:
        live: with its `managedFields`.
        patch: a merge patch of it.
        manager: who is going to write, by whatever operation it has written before.
    """
    return [f"{path}: owned by {', '.join(who)}" for path, who in owners(live, patch) if set(who) - {manager}]


def owners(live: Object, patch: Object) -> list[tuple[str, list[str]]]:
    """The fields that a patch changes, each with the managers that own it, sorted."""

    def leaves(node: Any, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        if isinstance(node, dict) and node:
            for key, value in node.items():
                yield from leaves(value, (*path, key))
        else:
            yield path

    if not patch:
        return []
    return [(".".join(path), sorted(_owners(live, path))) for path in sorted(leaves(patch, ()))]


def _owners(live: Object, path: tuple[str, ...]) -> set[str]:
    return managed_fields.owners(live, *(f"f:{step}" for step in path))


def consequence(live: Object, goal: Object, known: Catalog, history: Sequence[Object] = ()) -> str:
    """What the change does to what runs, as far as kaitoctl's own controller would do it.

    Args:
        live: the Workspace as it is.
        goal: as it will be.
        known: the controller's catalog.
        history: its revisions, oldest first. What it asks for now runs only if it is one of them; if not,
            the newest does.
    """
    if history and not any(revisions.has_same_data(one, live) for one in history):
        live = revisions.as_of(live, history[-1]["data"])
    if live.get("tuning"):
        again = tuning.fingerprint(live) != tuning.fingerprint(goal)
        return "the tuning job is recreated" if again else "the tuning job stays"
    settings = desired.Settings(catalog=known)
    if desired.refusal(live, settings) or desired.refusal(goal, settings):
        return "pods may restart"
    before, after = (_workload(obj, settings) for obj in (live, goal))
    if before["kind"] == after["kind"] and dig(before, "spec", "template") == dig(after, "spec", "template"):
        return "no pod restarts"
    pods = int(dig(before, "spec", "replicas") or 1)
    return f"{pods} pods restart" if pods != 1 else "1 pod restarts"


def _workload(workspace: Object, settings: desired.Settings) -> Object:
    made = desired.desired(workspace, gpus=1, settings=settings)
    return next(obj for kind, obj in made if kind.group == STATEFUL_SET.group)


def summary(revision: Object) -> str:
    """What a revision asks for, in a few words."""
    data = revision.get("data") or {}
    resource = data.get("resource") or {}
    if asked := data.get("tuning"):
        words = ["tuning", dig(asked, "preset", "name"), asked.get("method")]
    elif dig(data, "inference", "template"):
        containers = dig(data, "inference", "template", "spec", "containers") or ()
        words = ["custom pod", *(str(dig(item, "image")) for item in containers)]
    else:
        words = [dig(data, "inference", "preset", "name")]
    words += [f"{resource.get('count') or 1} x {resource.get('instanceType') or 'any'}"]
    words += [_adapter(item) for item in dig(data, "inference", "adapters") or ()]
    words += [f"{key}={value}" for key, value in sorted((dig(data, "metadata", "annotations") or {}).items())]
    return ", ".join(str(word) for word in words if word)


def _adapter(item: Any) -> str:
    strength = dig(item, "strength")
    name = dig(item, "source", "name") or "?"
    return f"adapter {name}={strength}" if strength else f"adapter {name}"
