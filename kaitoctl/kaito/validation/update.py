"""The rules for changing a Workspace: what KAITO forbids, and what it takes and never applies.

Source: KAITO v0.3.2, v0.4.0 and v0.12, `api/*/workspace_validation.go` (validateUpdate) and the controllers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kaitoctl.advice import shortened
from kaitoctl.kaito.api import ANNOTATION_ENABLE_LB, ANNOTATION_STREAMING
from kaitoctl.kaito.validation.admission_data import with_defaults
from kaitoctl.kaito.validation.grammar import selector_as_map
from kaitoctl.kaito.validation.problem import Problem, as_text, error, warning
from kaitoctl.kaito.validation.subject import Subject
from kaitoctl.kube.objects import Object, dig

_STREAMING_GATE = "ModelStreaming"
_ANEW = "delete the Workspace and recreate it"

CHANGES = frozenset(("KW128", "KW138", "KW139", "KW180", "KW181", "KW182", "KW183", "KW184", "KW185"))
"""The codes that speak of a change, rather than of the object that it ends in."""


def changes(old: Subject, new: Subject) -> Iterator[Problem]:
    """What forbids turning one Workspace into the other; fields left out count as their defaults."""
    if (
        old.name
        and new.name
        and (old.name, old.namespace or new.namespace)
        != (
            new.name,
            new.namespace or old.namespace,
        )
    ):
        yield error("metadata.name", "KW184", f"{old.name[:80]!r} and {new.name[:80]!r} are two Workspaces")
        return
    balancer = [
        as_text(side.annotations.get(ANNOTATION_ENABLE_LB)) == "True" and bool(side.inference)
        for side in (old, new)
    ]
    if balancer[0] != balancer[1]:
        yield warning(
            f"metadata.annotations[{ANNOTATION_ENABLE_LB}]",
            "KW185",
            "the Service is there already and stays as it is",
            "delete the Service, and KAITO recreates it",
        )
    yield from _streaming_change(old, new)
    for part in ("inference", "tuning"):
        before, after = (side.workspace.get(part) is not None for side in (old, new))
        if before != after:
            yield error(part, "KW180", f"{part} cannot be {'removed' if before else 'added'}")
    yield from _resource_changes(old, new)
    if old.workspace.get("inference") is not None and new.workspace.get("inference") is not None:
        yield from _inference_changes(old.inference, new.inference)
    if old.workspace.get("tuning") is not None and new.workspace.get("tuning") is not None:
        yield from _tuning_changes(old.tuning, new.tuning)


def _resource_changes(old: Subject, new: Subject) -> Iterator[Problem]:
    if old.written_count != new.written_count:
        yield _immutable("resource.count", old.written_count, new.written_count)
    yield from _type_change(old, new)
    selectors = [selector_as_map(side.resource.get("labelSelector")) for side in (old, new)]
    if selectors[0] != selectors[1]:  # an expression may say the same as a label
        yield _immutable("resource.labelSelector", *(labels for labels, _ in selectors))
    partitions = [side.resource.get("partition") for side in (old, new)]
    if new.is_new and partitions[0] != partitions[1]:
        yield _immutable("resource.partition", *partitions)


def _type_change(old: Subject, new: Subject) -> Iterator[Problem]:
    where, was, will = "resource.instanceType", old.type_name, new.type_name
    if was == will:
        return
    if new.release is None or not (new.release.has_own_nodes and new.is_v1beta1):
        yield _immutable(where, was, will)
    elif new.setting.byo and not was:
        yield error(where, "KW139", f"{will[:80]} is given, but the nodes are your own", "leave it out")
    elif new.setting.byo is False and not will:
        yield error(where, "KW138", "no instance type for the nodes that are to be made")
    elif was and will:
        yield _immutable(where, was, will)


def _streaming_change(old: Subject, new: Subject) -> Iterator[Problem]:
    if not (new.is_new and new.is_v1beta1):
        return
    was, will = (as_text(side.annotations.get(ANNOTATION_STREAMING)) for side in (old, new))
    gates = new.setting.gates
    if was == will or (gates is not None and _STREAMING_GATE not in gates):
        return
    finding = warning if gates is None else error
    when = f" while KAITO's gate {_STREAMING_GATE} is on"
    message = f"is immutable{when} ({was[:80]!r} -> {will[:80]!r})"
    yield finding(f"metadata.annotations[{ANNOTATION_STREAMING}]", "KW181", message, _ANEW)


def _inference_changes(old: Object, new: Object) -> Iterator[Problem]:
    was, will = with_defaults(old.get("preset")), with_defaults(new.get("preset"))
    if was != will:
        yield _immutable("inference.preset", dig(was, "name"), dig(will, "name"))
    before, after = old.get("template"), new.get("template")
    if (before is None) != (after is None):
        what = "set" if before is None else "unset"
        yield error("inference.template", "KW182", f"the template cannot be {what}")
    elif before != after:
        yield warning("inference.template", "KW183", "KAITO does not apply a changed template", _ANEW)


def _tuning_changes(old: Object, new: Object) -> Iterator[Problem]:
    if with_defaults(old.get("preset")) != with_defaults(new.get("preset")):
        yield _immutable("tuning.preset", dig(old, "preset", "name"), dig(new, "preset", "name"))
    if as_text(old.get("method")).lower() != as_text(new.get("method")).lower():
        yield _immutable("tuning.method", old.get("method"), new.get("method"))
    if dig(old, "input", "name") != dig(new, "input", "name"):
        yield _immutable("tuning.input.name", dig(old, "input", "name"), dig(new, "input", "name"))


def _immutable(where: str, old: Any, new: Any) -> Problem:
    same = "" if isinstance(old, dict) or old == new else f" ({_short(old)} -> {_short(new)})"
    return error(where, "KW181", f"is immutable{same}", _ANEW)


def _short(value: Any) -> str:
    return "nothing" if value in (None, "") else shortened(str(value), 80)
