"""Whether a Workspace is as its set's template says, and how to make it so. Pure.

What is compared is what the two say, not who wrote it: so it also holds for Workspaces that KAITO has made.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

from kaitoctl.kaito import api, validation
from kaitoctl.kaito.fleet.replicas import workspace_of
from kaitoctl.kube import schema, schema_defaults
from kaitoctl.kube.objects import Object, annotations_of, dig, labels_of, merge_patch_between

Way = Literal["", "label", "patch", "replace"]
"""How a Workspace comes to be as the template says: it is already; by labels alone, which stop nothing; by a
patch, which restarts its pods; or by another Workspace in its place."""

_IMMUTABLE = ("resource.instanceType", "resource.labelSelector", "resource.partition", "inference.preset")
_TEMPLATE = "inference.template"


def differences(inference_set: Object, workspace: Object, dropped: Iterable[str] = ()) -> list[str]:
    """The fields in which a Workspace is not as its set's template says, as paths of the Workspace.

    Args:
        inference_set: of the template.
        workspace: as it is.
        dropped: annotations that older templates had: what the present one has not of them is to go.
    """
    wanted, present = _comparable(workspace_of(inference_set)), _comparable(workspace)
    if not present["resource"].get("instanceType"):
        wanted["resource"].pop("instanceType", None)  # with nodes of one's own, it is left out
    found = [
        f"resource.{field}"
        for field in ("instanceType", "labelSelector", "partition")
        if wanted["resource"].get(field) != present["resource"].get(field)
    ]
    fields = sorted({*wanted["inference"], *present["inference"]})
    found += [
        f"inference.{field}"
        for field in fields
        if wanted["inference"].get(field) != present["inference"].get(field)
    ]
    for kind, of in (("annotations", annotations_of), ("labels", labels_of)):
        there = of(workspace)
        found += [f"metadata.{kind}[{key}]" for key, value in of(wanted).items() if there.get(key) != value]
    return found + [f"metadata.annotations[{key}]" for key in dropped_annotations(wanted, workspace, dropped)]


def dropped_annotations(wanted: Object, workspace: Object, dropped: Iterable[str]) -> list[str]:
    """The annotations that a Workspace has of an older template alone."""
    there, kept = annotations_of(workspace), annotations_of(wanted)
    return [key for key in dict.fromkeys(dropped) if key in there and key not in kept]


def way_of(differing: Iterable[str]) -> Way:
    """How a Workspace comes to be as the template says, given in what it differs."""
    differing = list(differing)
    if not differing:
        return ""
    if any(path.startswith(_IMMUTABLE) or path == _TEMPLATE for path in differing):
        return "replace"
    return "label" if all(path.startswith("metadata.labels") for path in differing) else "patch"


def way_beside_kaito(inference_set: Object, workspace: Object, differing: Iterable[str]) -> Way:
    """The same where KAITO's controller manages the Workspaces, which carries less to running pods.

    It writes env, mounts and containers for adapters and never the command: a first adapter, a first
    ConfigMap and an annotation reach only a new workload.

    Source: KAITO v0.12.0, `workspace_controller.go` (applyInference), `pkg/model/interface.go`.
    """
    differing = list(differing)
    way = way_of(differing)
    if way != "patch":
        return way
    has, gets = workspace.get("inference") or {}, dig(inference_set, "spec", "template", "inference") or {}
    is_first = any(not has.get(field) and gets.get(field) for field in ("adapters", "config"))
    is_noted = any(path.startswith("metadata.annotations") for path in differing)
    return "replace" if is_first or is_noted else "patch"


def patch_of(inference_set: Object, workspace: Object, *, dropped: Iterable[str] = ()) -> Object:
    """A JSON merge patch that makes a Workspace as the template says, as far as a patch can.

    Args:
        inference_set: of the template.
        workspace: as it is.
        dropped: annotations that an older template had, and that go.
    """
    wanted = workspace_of(inference_set)
    patch: Object = {}
    if inference := merge_patch_between(workspace.get("inference") or {}, wanted.get("inference") or {}):
        patch["inference"] = inference
    metadata: Object = {}
    for kind, of in (("annotations", annotations_of), ("labels", labels_of)):
        there = of(workspace)
        if changed := {key: value for key, value in of(wanted).items() if there.get(key) != value}:
            metadata[kind] = changed
    if going := dropped_annotations(wanted, workspace, dropped):
        metadata["annotations"] = {**metadata.get("annotations", {}), **dict.fromkeys(going)}
    return {**patch, **({"metadata": metadata} if metadata else {})}


def _comparable(workspace: Object) -> Object:
    """A Workspace with its version's defaults, and without what means nothing."""
    known = validation.schema_of(api.WORKSPACE_V1BETA1.version)
    parts = {"resource": workspace.get("resource") or {}, "inference": workspace.get("inference") or {}}
    shaped = schema.without_nulls({**workspace, **parts}, known)
    made: Object = schema_defaults.default({key: shaped[key] for key in parts}, known)
    inference = {key: value for key, value in made["inference"].items() if value not in ({}, [], None)}
    if (preset := inference.get("preset")) and not preset.get("presetOptions"):
        inference["preset"] = {key: value for key, value in preset.items() if key != "presetOptions"}
    resource = {key: value for key, value in made["resource"].items() if value not in ({}, None)}
    return {"metadata": workspace.get("metadata") or {}, "resource": resource, "inference": inference}


def adapters_of(workspace: Object) -> Iterator[str]:
    """The names of the adapters that a Workspace asks for."""
    for adapter in dig(workspace, "inference", "adapters") or ():
        if name := dig(adapter, "source", "name"):
            yield str(name)
