"""One adapter of a Workspace in a file: the same change as in a cluster, for who keeps manifests in git.

Nothing is asked of a cluster. Only the lines of the change are written (`kube.editing`); the file is replaced
in one step, and stays the file that it was: its permissions, and what symbolic links lead to.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from kaitoctl.cli import adapter_change as change_
from kaitoctl.cli import files, output
from kaitoctl.errors import InputError

if TYPE_CHECKING:
    from kaitoctl.cli.adapter_change import How, Make
    from kaitoctl.kube.documents import Document
    from kaitoctl.kube.objects import Object


def edit(filename: str, name: str | None, namespace: str | None, make: Make, how: How) -> None:
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
    from kaitoctl.kaito import adapters, validation
    from kaitoctl.kube.documents import Refused
    from kaitoctl.kube.editing import edited

    _insist_on_sense(filename, how)
    text = files.text_of(filename, option="-f")
    document = _chosen(text, filename, name, namespace)
    before = document.obj
    if not before.get("inference"):
        raise InputError(f"{files.called(filename)}: {_titled(before)} serves no model: it has no inference")
    setting = validation.Setting(how.target_version)
    change = make(before, setting.target_of(before), None)
    present = adapters.entries_of(before)
    wanted = change.on(present)
    after = adapters.with_entries(before, wanted) if wanted != present else before
    if after is not before:
        problems = adapters.faults(before, after, setting)
        change_.insist(problems, f"{files.called(filename)}: {_titled(before)}")
        for problem in problems:
            if problem.severity == "warning":
                output.warning(f"{problem.path}: {problem.message}", hint=problem.hint)
    try:
        made = text if after is before else edited(text, document, after)
    except Refused as error:
        raise InputError(
            f"{files.called(filename)}: {_titled(before)}: {error}",
            hint="write its inference.adapters as one key a line, without anchors; nothing was written",
        ) from None
    _tell_difference(text, made)
    word = "unchanged" if after is before else "configured"
    if filename == "-" or (how.dry_run != "none" and how.output is None):
        output.data(made.removesuffix("\n"))
        return
    if how.dry_run == "none" and made != text:
        _replace(filename, made)
    suffix = f" in {filename}" if how.dry_run == "none" else f" in {filename} (client dry run)"
    if how.output is None:
        output.data(f"{output.resource_name(before)} {word}{suffix}")
    else:
        output.objects([after], how.output)


def _insist_on_sense(filename: str, how: How) -> None:
    """Refuse options that mean something in a cluster only."""
    if how.dry_run == "server":
        raise InputError("-f edits a file and asks no server", hint="--dry-run=client shows what it would be")
    if filename == "-" and how.output is not None:
        raise InputError("-f - writes the edited text to stdout, where -o would write, too")
    if how.force_conflicts or how.rollback_on_failure:
        option = "--force-conflicts" if how.force_conflicts else "--rollback-on-failure"
        raise InputError(f"{option} is for a cluster, and -f edits a file")


def _chosen(text: str, filename: str, name: str | None, namespace: str | None) -> Document:
    """The document of the Workspace that is meant."""
    from kaitoctl.kaito import convert
    from kaitoctl.kube.documents import read
    from kaitoctl.kube.objects import dig

    documents = list(read(text, filename))
    for document in documents:
        if fault := document.fault:
            raise InputError(f"{files.called(filename)}:{fault.line}:{fault.column}: {fault.message}")
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
                raise InputError(f"{files.called(filename)}:{line}:{column}: {part} is not a map")
        return found[0]
    if not known:
        raise InputError(f"{files.called(filename)}: there is no Workspace in it")
    if not found:
        raise InputError(
            f"{files.called(filename)}: there is no Workspace {name or namespace} in it",
            hint=f"there are: {known}",
        )
    what = f"{len(found)} Workspaces" + (f" {name}" if name else "")
    raise InputError(
        f"{files.called(filename)}: there are {what} in it: which one?", hint=f"name it (or -n): {known}"
    )


def _titled(workspace: Object) -> str:
    return f"Workspace {name}" if (name := _name(workspace)) else "the Workspace without a name"


def _name(workspace: Object) -> str:
    from kaitoctl.kube.objects import dig

    name, namespace = (str(dig(workspace, "metadata", key) or "") for key in ("name", "namespace"))
    return f"{namespace}/{name}" if namespace else name


def _tell_difference(before: str, after: str) -> None:
    from difflib import unified_diff

    lines = unified_diff(before.splitlines(), after.splitlines(), n=2, lineterm="")
    output.differences(line for line in lines if not line.startswith(("---", "+++")))


def _replace(filename: str, text: str) -> None:
    """Put the text in the place of the file's, all at once."""
    path = Path(os.path.realpath(filename))
    try:
        raw = path.read_bytes()
        mark = b"\xef\xbb\xbf" if raw.startswith(b"\xef\xbb\xbf") else b""
        mode = path.stat().st_mode & 0o7777
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(mark + text.encode())
            Path(temporary).chmod(mode)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise InputError(f"-f {filename}: it cannot be written: {error.strerror or error}") from None
