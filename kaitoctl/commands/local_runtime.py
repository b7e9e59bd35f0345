"""`kaitoctl runtime ...`: a model server on this machine's CPU, and models for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kaitoctl.commands import listing
from kaitoctl.runtime import extra_packages, lora_to_gguf, model_store, server
from kaitoctl.screens import output

if TYPE_CHECKING:
    from pathlib import Path


def serve(
    *,
    model: str,
    adapter: list[str] | None,
    port: int,
    key_file: Path | None,
    threads: int,
    context: int,
    strengths: Path | None,
    end_with_stdin: bool,
) -> None:
    """Serve a model until Ctrl-C, on loopback alone."""
    extra_packages.require()
    server.serve(
        server.ServerOptions(
            model_store.resolve(model),
            [lora_to_gguf.parse(text) for text in adapter or ()],
            port=port,
            key=server.read_key(key_file) if key_file else "",
            threads=threads,
            context=context,
            strengths=strengths,
            ends_with_stdin=end_with_stdin,
        )
    )


def list_models(*, output_format: str) -> None:
    """List the models that can be pulled, and those that are here."""
    listing.show(
        "models",
        model_store.list_models(),
        ("NAME", "SIZE", "FILE", "NOTE"),
        lambda one: (str(one["name"]), str(one["size"]), str(one["path"] or "not pulled"), str(one["note"])),
        output_format,
    )


def pull_model(*, name: str, from_path: Path | None) -> None:
    """Bring a model to this machine's cache."""
    path = model_store.take(name, from_path) if from_path else model_store.pull(name, output.step)
    output.success(f"{name} is here")
    output.data(str(path))
