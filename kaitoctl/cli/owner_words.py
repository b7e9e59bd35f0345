"""Says who owns a Workspace that is about to be changed, before the change is made in vain."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kaitoctl.cli import output

if TYPE_CHECKING:
    from kaitoctl.cli.connect import Target
    from kaitoctl.kube.objects import Object


def warn(target: Target, workspace: Object) -> None:
    """Warn of everybody who would undo a change, with what to change instead."""
    from kaitoctl.kaito import ownership

    for text, instead in ownership.warnings(workspace):
        output.warning(text, hint=target.addressed(instead))
