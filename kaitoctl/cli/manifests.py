"""Workspaces out of the user's files, judged as the controller judges its own: for `render` and `diff`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kaitoctl.cli import output
from kaitoctl.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kaitoctl.kaito.desired import Settings
    from kaitoctl.kube.objects import Object


def documents_of(files: list[str]) -> dict[str, list[Object]]:
    """The objects in each file; stdin (`-`) can be read only once.

    Raises:
        InputError: a file cannot be read.
    """
    from kaitoctl.cli.files import objects_in

    return {file: objects_in(file, option="-f") for file in dict.fromkeys(files)}


def workspaces_in(documents: Mapping[str, list[Object]], namespace: str, settings: Settings) -> list[Object]:
    """The Workspaces among documents, each in a namespace and with its version's defaults; warnings are told.

    Args:
        documents: by file, from `documents_of`.
        namespace: of those that name none.
        settings: of the controller that they are for.

    Raises:
        InputError: there is no Workspace, one twice, or one that the controller would build nothing for; all
            that is wrong is said, with the name of the Workspace.
    """
    from kaitoctl.cli.files import called
    from kaitoctl.kaito import convert
    from kaitoctl.kube.objects import key_of

    found: list[Object] = []
    problems: list[str] = []
    for file, objects in documents.items():
        for number, obj in enumerate(objects, start=1):
            kind = obj.get("kind")
            if not convert.is_workspace(obj) and kind != "Workspace":
                output.note(
                    f"{called(file)}: document {number} is a {str(kind)[:63]}, not a Workspace; skipped"
                )
                continue
            wrong = _problems(obj, namespace, settings)
            problems += [f"{called(file)}: document {number}: {line}" for line in wrong]
            if not wrong:
                found.append(_complete(obj, namespace))
    if problems:
        raise InputError("nothing was made: there are problems", problems=problems)
    if not found:
        raise InputError(
            f"{', '.join(map(called, documents))}: there is no Workspace in it",
            hint="one has kind: Workspace",
        )
    keys = [key_of(workspace) for workspace in found]
    if twice := sorted({str(key) for key in keys if keys.count(key) > 1}):
        raise InputError(f"given twice: {', '.join(twice)}")
    return found


def _problems(obj: Object, namespace: str, settings: Settings) -> list[str]:
    """What is wrong with one document; what is only odd is told at once."""
    from kaitoctl.kaito import validation
    from kaitoctl.workspace_controller import refusal_of

    metadata = obj.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    what = f"Workspace {name}" if isinstance(name, str) else "a Workspace"
    lines = []
    for problem in validation.judge(obj, validation.Setting(validation.OWN)):
        said = f"{what}: {problem.path}: {problem.message}" if problem.path else f"{what}: {problem.message}"
        if problem.severity == "error":
            lines.append(said + (f" ({problem.hint})" if problem.hint else ""))
        else:
            output.warning(said, hint=problem.hint)
    if not lines and not name:
        lines.append(f"{what}: metadata.name is missing")
    if not lines and (refusal := refusal_of(_complete(obj, namespace), settings)):
        lines.append(f"{what}: the controller would build nothing: {refusal}")
    return lines


def _complete(obj: Object, namespace: str) -> Object:
    """The Workspace as the API server would hand it to the controller."""
    from kaitoctl.kaito import validation
    from kaitoctl.kube import schema

    made: Object = schema.default(obj, validation.schema_of(obj["apiVersion"]))
    metadata = {**made["metadata"], "namespace": made["metadata"].get("namespace") or namespace}
    return {**made, "metadata": metadata}
