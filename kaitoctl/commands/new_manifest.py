"""The manifest that `create workspace` makes: what it was made from, judged, and shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from kaitoctl.commands.option_values import NOT_SAID, ManagedBy
from kaitoctl.errors import InputError
from kaitoctl.kaito import validation
from kaitoctl.screens import output

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kaitoctl.kaito.catalog import Catalog
    from kaitoctl.kaito.validation import Setting
    from kaitoctl.kube.objects import Object


class ManifestOptions(Struct, frozen=True):
    """What is to happen with the manifest."""

    dry_run: str
    output: str | None
    wait: bool
    timeout_s: float | None
    skip_node_check: bool
    force_conflicts: bool
    yes: bool
    replace: bool
    prices: str | None
    smoke_test: bool = False
    managed: ManagedBy = NOT_SAID


class RequestedManifest(Struct, frozen=True):
    """What is asked for, before anybody knows whether it is there.

    Args:
        name: of the Workspace.
        namespace: of it; empty for that of the context.
        api_version: to write in; None chooses.
        new: given the served versions and where it is to live, the manifest of a Workspace that is not there.
        upon: given the Workspace that is there and where it lives, the manifest in its version.
        without_strength: the adapters of which nobody said how strong.
        known: presets and instance types.
    """

    name: str
    namespace: str
    api_version: str | None
    new: Callable[[Sequence[str], Setting], Object]
    upon: Callable[[Object, Setting], Object]
    without_strength: frozenset[str]
    known: Catalog


def judge(workspace: Object, setting: Setting, *, quietly: bool = False, but: tuple[str, ...] = ()) -> None:
    """Refuse what the schema or KAITO's rules refuse; warn of what they accept and then ignore.

    Args:
        workspace: the manifest.
        setting: where it is to live.
        quietly: whether to keep warnings for later.
        but: the fields that are judged later.
    """
    problems = validation.judge(workspace, setting)
    errors = [item for item in problems if item.severity == "error" and not item.path.startswith(but)]
    for problem in problems:
        if problem.severity == "warning" and not quietly:
            output.warning(problem.text, hint=problem.hint)
    if not errors:
        return
    metadata = workspace.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    what = f"Workspace {name}" if name else "the Workspace"
    if len(errors) == 1:
        raise InputError(f"{what}: {errors[0].text}", hint=errors[0].hint)
    lines = [problem.line for problem in errors]
    raise InputError(f"{what} has {len(errors)} problems; nothing was written", problems=lines)


def show(workspace: Object, output_format: str | None, word: str) -> None:
    """Print the Workspace in the format that was asked for, and say what became of it."""
    output.report_write(workspace, output_format, word, narrates="client" not in word)
