"""The rules for changing a Workspace: what KAITO forbids, and what it takes and never applies.

Source: KAITO v0.3.2, v0.4.0 and v0.12, `api/*/workspace_validation.go` (validateUpdate) and the controllers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kaitoctl.kaito.api import ANNOTATION_ENABLE_LB
from kaitoctl.kaito.validation.ignored import ANNOTATION_STREAMING
from kaitoctl.kaito.validation.problem import Problem, as_map, as_text, error, warning
from kaitoctl.kaito.validation.subject import Subject
from kaitoctl.kube.objects import Object, dig

_STREAMING_GATE = "ModelStreaming"
_ANEW = "delete the Workspace and create it anew"


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
            "delete the Service, and KAITO makes it anew",
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
    defaults: dict[str, Any] = {"count": 1}
    if not (old.is_v1beta1 or new.is_v1beta1):
        defaults["instanceType"] = new.default_instance_type
    was, will = (
        defaults | {key: value for key, value in side.resource.items() if value is not None}
        for side in (old, new)
    )
    for key in ("count", "instanceType", "labelSelector", *(["partition"] if new.is_new else [])):
        if was.get(key) == will.get(key):
            continue
        if key == "instanceType" and new.is_v1beta1:
            # On nodes of one's own an old value may go, elsewhere a missing one may come.
            may_change = not will.get(key) if new.setting.byo else not was.get(key)
            if may_change:
                continue
        yield _immutable(f"resource.{key}", was.get(key), will.get(key))


def _streaming_change(old: Subject, new: Subject) -> Iterator[Problem]:
    if not (new.is_new and new.is_v1beta1):
        return
    was, will = (as_text(side.annotations.get(ANNOTATION_STREAMING)) for side in (old, new))
    gates = new.setting.gates
    if was == will or (gates is not None and _STREAMING_GATE not in gates):
        return
    finding = warning if gates is None else error
    when = f" while KAITO's gate {_STREAMING_GATE} is on"
    message = f"{ANNOTATION_STREAMING} cannot change from {was[:80]!r} to {will[:80]!r}{when}"
    yield finding(f"metadata.annotations[{ANNOTATION_STREAMING}]", "KW181", message, _ANEW)


def _inference_changes(old: Object, new: Object) -> Iterator[Problem]:
    was, will = _preset_with_defaults(old.get("preset")), _preset_with_defaults(new.get("preset"))
    if was != will:
        yield _immutable("inference.preset", dig(was, "name"), dig(will, "name"))
    before, after = old.get("template"), new.get("template")
    if (before is None) != (after is None):
        what = "set" if before is None else "unset"
        yield error("inference.template", "KW182", f"the template cannot be {what}")
    elif before != after:
        yield warning("inference.template", "KW183", "KAITO does not apply a changed template", _ANEW)


def _tuning_changes(old: Object, new: Object) -> Iterator[Problem]:
    if _preset_with_defaults(old.get("preset")) != _preset_with_defaults(new.get("preset")):
        yield _immutable("tuning.preset", dig(old, "preset", "name"), dig(new, "preset", "name"))
    if as_text(old.get("method")).lower() != as_text(new.get("method")).lower():
        yield _immutable("tuning.method", old.get("method"), new.get("method"))
    if dig(old, "input", "name") != dig(new, "input", "name"):
        yield _immutable("tuning.input.name", dig(old, "input", "name"), dig(new, "input", "name"))


def _preset_with_defaults(preset: Any) -> Any:
    if not isinstance(preset, Mapping):
        return preset
    return {"accessMode": "public", **preset, "presetOptions": as_map(preset.get("presetOptions"))}


def _immutable(where: str, old: Any, new: Any) -> Problem:
    same = "" if isinstance(old, dict) or old == new else f" from {old!r} to {new!r}"
    return error(where, "KW181", f"{where} cannot change{same}", _ANEW)
