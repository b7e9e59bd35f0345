"""`kaitoctl remove-adapter`: serve without one of the adapters."""

from __future__ import annotations

from kaitoctl.commands import adapter_change
from kaitoctl.commands.adapter_options import AdapterOptions
from kaitoctl.commands.adapter_settings import settings_of
from kaitoctl.commands.target import Target
from kaitoctl.kaito import adapters


def remove_adapter(
    *,
    name: str,
    workspace: str | None,
    given: AdapterOptions,
    target: Target,
) -> None:
    """Remove a LoRA adapter from a Workspace, and follow until the model serves without it."""
    settings = settings_of(given)
    change = adapters.removing(name)
    adapter_change.run(target, workspace, lambda *_: change, settings)
