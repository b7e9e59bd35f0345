"""Presets that are models of this machine: had before a sandbox's pods are to serve them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from kaitoctl.commands import sandbox_models, sandbox_process
from kaitoctl.errors import InputError
from kaitoctl.runtime import extra_packages, model_store
from kaitoctl.screens import output

if TYPE_CHECKING:
    from kaitoctl.commands.target import Target
    from kaitoctl.kaito.catalog import Preset


def prepare(preset: Preset, target: Target) -> None:
    """Bring a local preset's model here, unless it is, and let the sandbox's pods serve it.

    Raises:
        InputError: it is not for the sandbox, or the extra is not installed.
        NegativeAnswer: the model cannot be had.
    """
    if not target.sandbox:
        raise InputError(
            f"{preset.name} runs on this machine's CPU, in the sandbox alone: no cluster has its image",
            hint="add --sandbox, or choose another preset: kaitoctl models list",
        )
    folder = sandbox_process.folder(target.sandbox_name)
    chosen = sandbox_models.models(folder).get(preset.name)
    if chosen and Path(chosen).exists():
        return
    extra_packages.require()
    path = model_store.had(preset.local_model, output.step)
    sandbox_models.set_model(folder, preset.name, path)
