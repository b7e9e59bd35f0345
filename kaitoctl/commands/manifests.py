"""Workspaces out of the user's files, judged as the controller judges its own: for `render` and `diff`."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from kaitoctl.advice import Advice, Command
from kaitoctl.errors import InputError
from kaitoctl.kaito import convert, validation
from kaitoctl.kaito.fleet import kinds, replicas
from kaitoctl.kaito.fleet import validation as of_fleets
from kaitoctl.kube import schema_defaults
from kaitoctl.kube.objects import key_of
from kaitoctl.screens import output
from kaitoctl.workspace_controller import refusal_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kaitoctl.kaito.desired import Settings
    from kaitoctl.kube.objects import Object, ObjectKey


def workspaces_in(
    documents: Mapping[str, list[Object]], namespace: str, settings: Settings, *, of_sets: bool = False
) -> list[Object]:
    """Workspaces among documents, in a namespace and with their version's defaults; prints warnings.

    Args:
        documents: by file, from `files.objects_of`.
        namespace: of those that name none.
        settings: of the controller that they are for.
        of_sets: whether those are wanted, too, that InferenceSets make.

    Raises:
        InputError: there is no Workspace, one twice, or one that the controller would build nothing for; all
            that is wrong is said, with the name of the Workspace.
    """
    found: list[Object] = []
    problems: list[str] = []
    for file, objects in documents.items():
        for number, obj in enumerate(objects, start=1):
            kind = obj.get("kind")
            if kind == "ConfigMap" and "inference_config.yaml" in (obj.get("data") or ()):
                continue  # `config_map_in` finds it
            if of_sets and kinds.is_set(obj):
                wrong, made = _replicas(obj, namespace, settings)
                problems += [f"{file}: document {number}: {line}" for line in wrong]
                found += made
                continue
            if not convert.is_workspace(obj) and kind != "Workspace":
                named = f"{'an' if str(kind)[:1] in 'AEIOU' else 'a'} {str(kind)[:63]}"
                what = "an object without kind" if kind is None else named
                output.step(f"{file}: document {number} is {what}, not a Workspace; skipped")
                continue
            wrong = _problems(obj, namespace, settings)
            problems += [f"{file}: document {number}: {line}" for line in wrong]
            if not wrong:
                found.append(_complete(obj, namespace))
    if problems:
        raise InputError("nothing was made: there are problems", problems=problems)
    if not found:
        hint: Advice = "one has kind: Workspace" + (" or InferenceSet" if of_sets else "")
        if any(kinds.is_set(obj) for objects in documents.values() for obj in objects):
            hint = Command("kaitoctl plan -f FILE") + " compares an InferenceSet"
        raise InputError(f"{', '.join(documents)}: there is no Workspace in it", hint=hint)
    keys = [key_of(workspace) for workspace in found]
    if twice := sorted({str(key) for key in keys if keys.count(key) > 1}):
        raise InputError(f"given twice: {', '.join(twice)}")
    return found


def config_map_in(documents: Mapping[str, list[Object]], key: ObjectKey) -> Object | None:
    """The ConfigMap of this key among documents; one without a namespace is in any."""
    for obj in (obj for objects in documents.values() for obj in objects if obj.get("kind") == "ConfigMap"):
        metadata = obj.get("metadata")
        found = metadata if isinstance(metadata, dict) else {}
        if (found.get("namespace") or key.namespace, found.get("name")) == key:
            return obj
    return None


def _problems(obj: Object, namespace: str, settings: Settings) -> list[str]:
    """What is wrong with one document; warnings are printed at once."""
    metadata = obj.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    what = f"Workspace {name}" if isinstance(name, str) else "a Workspace"
    lines = []
    for problem in validation.judge(obj, validation.Setting(validation.OWN, catalog=settings.catalog)):
        if problem.severity == "error":
            lines.append(f"{what}: {problem.line}")
        else:
            output.warning(f"{what}: {problem.text}", hint=problem.hint)
    if not lines and not name:
        lines.append(f"{what}: metadata.name is missing")
    if not lines and (refusal := refusal_of(_complete(obj, namespace), settings)):
        lines.append(f"{what}: the controller would build nothing: {refusal}")
    return lines


def _replicas(obj: Object, namespace: str, settings: Settings) -> tuple[list[str], list[Object]]:
    """What is wrong with an InferenceSet, and the Workspaces that the controller would make of it."""
    name = str((obj.get("metadata") or {}).get("name") or "")
    lines = []
    for problem in of_fleets.judge(obj, validation.Setting(validation.OWN, catalog=settings.catalog)):
        if problem.severity == "error":
            lines.append(f"InferenceSet {name}: {problem.line}")
        else:
            output.warning(f"InferenceSet {name}: {problem.text}", hint=problem.hint)
    if lines:
        return lines, []
    metadata = {**obj["metadata"], "namespace": obj["metadata"].get("namespace") or namespace}
    placed = {**obj, "metadata": metadata}
    names = islice(replicas.names(placed), replicas.wanted_replicas(placed))
    made = [
        _complete(replicas.workspace_of(placed, name, provisioner=settings.provisioner), namespace)
        for name in names
    ]
    refusal = refusal_of(made[0], settings) if made else ""
    return [f"InferenceSet {name}: the controller would build nothing: {refusal}"] if refusal else [], made


def _complete(obj: Object, namespace: str) -> Object:
    """The Workspace as the API server would hand it to the controller."""
    made: Object = schema_defaults.default(obj, validation.schema_of(obj["apiVersion"]))
    metadata = {**made["metadata"], "namespace": made["metadata"].get("namespace") or namespace}
    return {**made, "metadata": metadata}
