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
    from kaitoctl.kaito.validation import Problem, Setting
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
        refusal: what is wrong with it by itself, where only the cluster tells which release judges it.
    """

    name: str
    namespace: str
    api_version: str | None
    new: Callable[[Sequence[str], Setting], Object]
    upon: Callable[[Object, Setting], Object]
    without_strength: frozenset[str]
    known: Catalog
    refusal: InputError | None = None


def judge(workspace: Object, setting: Setting) -> None:
    """Refuse what the schema or KAITO's rules refuse; warn of what they accept and then ignore."""
    problems = validation.judge(workspace, setting)
    for problem in problems:
        if problem.severity == "warning":
            output.warning(problem.text, hint=problem.hint)
    if (refusal := _refusal(workspace, problems)) is not None:
        raise refusal


def refusal_of(workspace: Object, setting: Setting, but: tuple[str, ...] = ()) -> InputError | None:
    """What the schema or KAITO's rules refuse, if anything.

    Args:
        workspace: the manifest.
        setting: where it is to live.
        but: the fields that are judged later.
    """
    found = validation.judge(workspace, setting)
    return _refusal(workspace, [item for item in found if not item.path.startswith(but)])


def _refusal(workspace: Object, problems: Sequence[Problem]) -> InputError | None:
    errors = [item for item in problems if item.severity == "error"]
    if not errors:
        return None
    metadata = workspace.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    what = f"Workspace {name}" if name else "the Workspace"
    if len(errors) == 1:
        return InputError(f"{what}: {errors[0].text}", hint=errors[0].hint)
    lines = [problem.line for problem in errors]
    return InputError(f"{what} has {len(errors)} problems; nothing was written", problems=lines)


def show(workspace: Object, output_format: str | None, word: str) -> None:
    """Print the Workspace in the format that was asked for, and say what became of it."""
    output.report_write(workspace, output_format, word, narrates="client" not in word)
