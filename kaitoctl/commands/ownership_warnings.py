"""Says who owns a Workspace that is about to be changed, before the change is made in vain."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kaitoctl.kaito import ownership
from kaitoctl.screens import output

if TYPE_CHECKING:
    from kaitoctl.commands.target import Target
    from kaitoctl.kube.objects import Object


def warn(target: Target, workspace: Object) -> None:
    """Warn of everybody who would undo a change, with what to change instead."""
    for text, instead in ownership.warnings(workspace):
        output.warning(text, hint=target.text(instead))
