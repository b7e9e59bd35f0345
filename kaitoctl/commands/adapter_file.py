"""One adapter of a Workspace in a file: the same change as in a cluster, for who keeps manifests in git.

Nothing is asked of a cluster. Only the lines of the change are written (`kube.yaml_editing`); the file is
replaced in one step, and stays the file that it was: its permissions, and what symbolic links lead to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kaitoctl.commands import files
from kaitoctl.commands.adapter_settings import raise_errors
from kaitoctl.errors import InputError
from kaitoctl.kaito import adapters, convert, validation
from kaitoctl.kube.documents import Refused, read
from kaitoctl.kube.objects import dig
from kaitoctl.kube.yaml_editing import edit_document
from kaitoctl.screens import output

if TYPE_CHECKING:
    from kaitoctl.commands.adapter_settings import AdapterSettings, MakeChange
    from kaitoctl.kube.documents import Document
    from kaitoctl.kube.objects import Object


def edit(
    filename: str, name: str | None, namespace: str | None, make: MakeChange, how: AdapterSettings
) -> None:
    """Carry a change out on the Workspace of a file.

    Args:
        filename: of the manifest; `-` reads stdin and writes stdout.
        name: of the Workspace; None when there is only one.
        namespace: of the Workspace; None when it does not matter.
        make: the change.
        how: what is to happen with it.

    Raises:
        InputError: the file cannot be read, written or edited, or the change cannot be made.
    """
    _check_options(filename, how)
    text = files.text_of(filename, option="-f")
    document = _document_of(text, filename, name, namespace)
    before = document.obj
    if not before.get("inference"):
        raise InputError(
            f"{files.display_name(filename)}: {_title(before)} serves no model: it has no inference"
        )
    said = how.managed
    setting = validation.Setting(
        said.target_version, byo=said.byo, catalog=how.catalog, provisioner=said.node_provisioner
    )
    change = make(before, validation.wants_strength(before, setting), None)
    present = adapters.entries_of(before)
    wanted = change.on(present)
    after = adapters.with_entries(before, wanted) if wanted != present else before
    if after is not before:
        problems = adapters.faults(before, after, setting)
        raise_errors(problems, f"{files.display_name(filename)}: {_title(before)}")
        for problem in problems:
            if problem.severity == "warning":
                output.warning(f"{problem.path}: {problem.message}", hint=problem.hint)
    try:
        made = text if after is before else edit_document(text, document, after)
    except Refused as error:
        raise InputError(
            f"{files.display_name(filename)}: {_title(before)}: {error}",
            hint="write its inference.adapters as one key a line, without anchors; nothing was written",
        ) from None
    output.differences(files.difference(text, made))
    word = "unchanged" if after is before else "configured"
    if filename == "-" or (how.dry_run != "none" and how.output is None):
        output.data(made.removesuffix("\n"))
        return
    if how.dry_run == "none" and made != text:
        files.replace(filename, made)
    suffix = f" in {filename}" if how.dry_run == "none" else f" in {filename} (client dry run)"
    if how.output is None:
        output.sentence(f"{output.resource_name(before)} {word}{suffix}")
    else:
        output.objects([after], how.output)


def _check_options(filename: str, how: AdapterSettings) -> None:
    """Refuse options that mean something in a cluster only."""
    if how.dry_run == "server":
        raise InputError("-f edits a file and asks no server", hint="--dry-run=client shows what it would be")
    if filename == "-" and how.output is not None:
        raise InputError("-f - writes the edited text to stdout, where -o would write, too")
    if how.force_conflicts or how.rollback_on_failure:
        option = "--force-conflicts" if how.force_conflicts else "--rollback-on-failure"
        raise InputError(f"{option} is for a cluster, and -f edits a file")


def _document_of(text: str, filename: str, name: str | None, namespace: str | None) -> Document:
    """The document of the Workspace that is meant."""
    documents = list(read(text, filename))
    for document in documents:
        if fault := document.fault:
            raise InputError(f"{files.display_name(filename)}:{fault.line}:{fault.column}: {fault.message}")
    found = [document for document in documents if convert.is_workspace(document.obj)]
    known = ", ".join(_name(document.obj) or "one without a name" for document in found)
    if name is not None:
        found = [document for document in found if dig(document.obj, "metadata", "name") == name]
    if namespace is not None:
        found = [
            document for document in found if dig(document.obj, "metadata", "namespace") in (None, namespace)
        ]
    if len(found) == 1:
        for part in ("metadata", "inference"):
            if not isinstance(found[0].obj.get(part, {}), dict | None):
                line, column = found[0].position(part) or (1, 1)
                raise InputError(f"{files.display_name(filename)}:{line}:{column}: {part} is not a map")
        return found[0]
    if not known:
        raise InputError(f"{files.display_name(filename)}: there is no Workspace in it")
    if not found:
        raise InputError(
            f"{files.display_name(filename)}: there is no Workspace {name or namespace} in it",
            hint=f"there are: {known}",
        )
    what = f"{len(found)} Workspaces" + (f" {name}" if name else "")
    raise InputError(
        f"{files.display_name(filename)}: there are {what} in it: which one?",
        hint=f"name it (or -n): {known}",
    )


def _title(workspace: Object) -> str:
    return f"Workspace {name}" if (name := _name(workspace)) else "the Workspace without a name"


def _name(workspace: Object) -> str:
    name, namespace = (str(dig(workspace, "metadata", key) or "") for key in ("name", "namespace"))
    return f"{namespace}/{name}" if namespace else name
