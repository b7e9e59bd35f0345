"""What a plan's writes would change, field by field: for people who want to see it first. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Literal

from msgspec import Struct

from kaitoctl.kube import managed_fields
from kaitoctl.kube.objects import Kind, Object, ObjectKey, dig, key_of
from kaitoctl.kube.workloads import running
from kaitoctl.reconcile.field_differences import Difference, compared
from kaitoctl.reconcile.planner import Plan

Fate = Literal["created", "changed", "replaced", "unchanged", "deleted", "foreign"]

MASK = "***"

# The server's own, and what other writers of the same object leave behind.
_BOOKKEEPING = re.compile(
    r"metadata\.(uid|resourceVersion|generation|managedFields|creationTimestamp|selfLink)\b|status\b"
    r"|metadata\.annotations\[kubectl\.kubernetes\.io/last-applied-configuration\]"
)
_SECRET = re.compile(r"(data|stringData)\b")


class Comparison(Struct, frozen=True):
    """What would become of one object.

    Args:
        kind: its kind.
        key: which one.
        fate: `replaced` is deleted and created again, as it cannot be changed; `foreign` is an object of a
            wanted name that is somebody else's, and stays as it is.
        differences: the fields that would change; those of Secrets without their values.
        restarts: how many of its pods would be recreated.
        controller: of a foreign one, who controls it.
    """

    kind: Kind
    key: ObjectKey
    fate: Fate
    differences: tuple[Difference, ...] = ()
    restarts: int = 0
    controller: str = ""


def compare(
    plan: Plan,
    desired: Iterable[tuple[Kind, ObjectKey]],
    observed: Sequence[tuple[Kind, Object]],
    *,
    manager: str,
    annotation_prefix: str,
) -> list[Comparison]:
    """The fate of every child: those desired in their order, then those that would go.

    Args:
        plan: made of the same children.
        desired: which ones should exist.
        observed: which ones do.
        manager: the field manager of the plan; what it owns and no longer wants counts as changed.
        annotation_prefix: of the stamps, which are nobody's business.
    """
    there = {(kind.kind, key_of(obj)): obj for kind, obj in observed}
    steps = {(step.kind.kind, step.key): step for step in plan.steps}
    foreign = {(item.kind.kind, item.key): item.controller for item in plan.foreign}
    found: list[Comparison] = []
    for kind, key in desired:
        identity = (kind.kind, key)
        step, live = steps.pop(identity, None), there.get(identity)
        if identity in foreign:
            found.append(Comparison(kind, key, "foreign", controller=foreign[identity]))
        elif step is None:
            found.append(Comparison(kind, key, "unchanged"))
        elif step.verb == "delete":
            running = int(dig(live, "status", "active") or 0)
            found.append(Comparison(kind, key, "replaced", restarts=running))
        elif live is None:
            found.append(Comparison(kind, key, "created"))
        else:
            changed = changes(step.request.body, live, manager=manager, annotation_prefix=annotation_prefix)
            fate: Fate = "changed" if changed else "unchanged"
            found.append(Comparison(kind, key, fate, changed, restarts(live, changed)))
    gone = (step for step in steps.values() if step.verb == "delete")
    found += [Comparison(step.kind, step.key, "deleted") for step in gone]
    return found


def changes(
    wanted: Object, live: Object, *, manager: str, annotation_prefix: str = ""
) -> tuple[Difference, ...]:
    """What applying `wanted` would change in `live`; fields of other managers are left out.

    Args:
        wanted: the manifest to apply.
        live: the object as it is.
        manager: the field manager; what it owns and `wanted` lacks is removed by an apply.
        annotation_prefix: annotations `<prefix>/...` are left out.
    """
    forward = compared(wanted, live)
    said = {difference.path for difference in forward}
    owned = managed_fields.extract(live, manager)
    backward = [
        Difference(path, value, None)
        for path, absent, value in compared(owned, wanted)
        if path not in said and absent is None
    ]
    return _presentable([*forward, *backward], live, annotation_prefix)


def between(old: Object, new: Object) -> tuple[Difference, ...]:
    """Where two states of one object differ, whoever wrote them."""
    forward = compared(new, old)
    said = {difference.path for difference in forward}
    backward = [Difference(path, value, None) for path, _, value in compared(old, new) if path not in said]
    return _presentable([*forward, *backward], new, "")


def restarts(workload: Object, differences: Iterable[Difference]) -> int:
    """How many pods of a Deployment or StatefulSet are recreated: all, once its pod template differs."""
    if not any(item.path.startswith("spec.template.") for item in differences):
        return 0
    return running(workload)


def _presentable(found: Iterable[Difference], obj: Object, prefix: str) -> tuple[Difference, ...]:
    stamps = f"metadata.annotations[{prefix}/"
    kept = [
        item
        for item in found
        if not _BOOKKEEPING.match(item.path) and not (prefix and item.path.startswith(stamps))
    ]
    kept.sort(key=lambda item: item.path)
    if obj.get("kind") == "Secret":
        kept = [_mask(item) if _SECRET.match(item.path) else item for item in kept]
    return tuple(kept)


def _mask(item: Difference) -> Difference:
    def mask(value: Any) -> Any:
        return None if value is None else MASK

    return Difference(item.path, mask(item.observed), mask(item.desired))
