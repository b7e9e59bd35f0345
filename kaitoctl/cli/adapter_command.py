"""`kaitoctl adapter ...`: look at a LoRA adapter before it becomes an image, and make the image."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kaitoctl.cli import options

app = typer.Typer(
    help="Check a LoRA adapter before it becomes an image, and build the image.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
)


@app.command("check")
def check(
    path: Annotated[
        Path, typer.Argument(help="A PEFT folder, an OCI layout, or an archive.", metavar="PATH")
    ],
    preset: Annotated[
        str | None, typer.Option("--preset", help="Preset that the adapter is for.", metavar="PRESET")
    ] = None,
    base: Annotated[
        Path | None, typer.Option("--base", help="The base model's Hugging Face folder.", metavar="DIR")
    ] = None,
    output_format: Annotated[str, options.formats("table", "json", "yaml")] = "table",
) -> None:
    """Check an adapter offline: what is wrong with it, and what each KAITO release would do with it.

    \b
    Examples:
      kaitoctl adapter check ./pirate --base ./SmolLM2-135M-Instruct
    """
    from kaitoctl.commands import adapter_folder

    adapter_folder.check(path=path, preset=preset, base=base, output_format=output_format)


@app.command("pack")
def pack(
    folder: Annotated[Path, typer.Argument(help="A PEFT folder.", metavar="DIR")],
    into: Annotated[Path, typer.Option("--output", "-o", help="The archive to write.", metavar="FILE")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace FILE when it exists.")] = False,
    unchecked: Annotated[
        bool, typer.Option("--unchecked", help="Pack an adapter even if it cannot be served.")
    ] = False,
) -> None:
    """Make an OCI archive of an adapter: an image with its files in /data, as KAITO wants it.

    Push it with skopeo, crane or oras: `skopeo copy oci-archive:pirate.tar docker://REGISTRY/pirate:1`.

    \b
    Examples:
      kaitoctl adapter pack ./pirate -o pirate.tar
    """
    from kaitoctl.commands import adapter_folder

    adapter_folder.pack(folder=folder, into=into, overwrite=overwrite, unchecked=unchecked)
