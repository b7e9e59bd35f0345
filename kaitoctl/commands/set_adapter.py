"""`kaitoctl set-adapter`: another strength, image or pull secret for an adapter of a Workspace."""

from __future__ import annotations

import asyncio

from kaitoctl.advice import Command
from kaitoctl.commands import adapter_change, live_strength, option_values
from kaitoctl.commands.adapter_options import AdapterOptions
from kaitoctl.commands.adapter_settings import settings_of
from kaitoctl.commands.cluster import connected
from kaitoctl.commands.target import Target
from kaitoctl.errors import InputError
from kaitoctl.kaito import adapters
from kaitoctl.kaito.validation import grammar
from kaitoctl.screens import output


def set_adapter(
    *,
    name: str,
    workspace: str | None,
    strength: str | None,
    image: str | None,
    image_pull_secret: list[str] | None,
    live: bool,
    save: bool,
    given: AdapterOptions,
    target: Target,
) -> None:
    """Change the strength, image or pull secrets of an adapter, and follow until the model serves with it."""
    settings = settings_of(given)
    if strength is None and image is None and image_pull_secret is None:
        raise InputError(
            "nothing to change: give --strength, --image or --image-pull-secret",
            hint="such as --strength 0.2",
        )
    if live or save:
        if not live or strength is None or image is not None or image_pull_secret is not None:
            hint = Command("kaitoctl set-adapter NAME --name style --strength 0.2 --live --save")
            raise InputError("--live takes --strength and no other change; --save requires --live", hint=hint)
        if workspace is None or given.filename is not None:
            raise InputError("--live needs the name of a Workspace and excludes -f")
        if fault := grammar.strength_fault(strength):
            raise InputError(f"--strength {fault}")
        asyncio.run(_live(target, option_values.workspace_name(workspace), name, strength))
        if not save:
            output.note(
                "the Workspace is unchanged, and its next pod has the old strength; --save writes it, too"
            )
            return
    change = adapters.setting(name, image=image, strength=strength, pull_secrets=image_pull_secret)
    adapter_change.run(target, workspace, lambda *_: change, settings)


async def _live(target: Target, workspace: str, name: str, strength: str) -> None:
    async with connected(target) as client:
        await live_strength.set_live(client, workspace, name, strength)
