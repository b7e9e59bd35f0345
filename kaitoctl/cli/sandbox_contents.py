"""`kaitoctl sandbox model ...` and `kaitoctl sandbox image ...`: what is real in a sandbox."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kaitoctl.cli import complete, options

model_app = typer.Typer(
    help="Local models that serve presets in the sandbox.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
image_app = typer.Typer(
    help="Images of adapters that the sandbox's pods can copy.", no_args_is_help=True, rich_markup_mode=None
)

Preset = Annotated[str, typer.Argument(help="A preset's name.", autocompletion=complete.presets)]


@model_app.command("set")
def set_model(
    preset: Preset,
    model: Annotated[
        str,
        typer.Option(
            "--from",
            help="GGUF file, Hugging Face folder, or a name from `runtime models list`.",
            metavar="MODEL",
        ),
    ],
    sandbox_name: options.SandboxName = "default",
) -> None:
    """Serve a preset by a local model in real pods, from the next pod on.

    \b
    Examples:
      kaitoctl sandbox model set phi-4 --from smollm2-135m-instruct
    """
    from kaitoctl.commands import sandbox_contents

    sandbox_contents.set_model(preset=preset, model=model, sandbox_name=sandbox_name)


@model_app.command("rm")
def remove_model(preset: Preset, sandbox_name: options.SandboxName = "default") -> None:
    """Simulate a preset's pods again, from the next pod on.

    \b
    Examples:
      kaitoctl sandbox model rm phi-4
    """
    from kaitoctl.commands import sandbox_contents

    sandbox_contents.remove_model(preset=preset, sandbox_name=sandbox_name)


@model_app.command("list")
def list_models(
    sandbox_name: options.SandboxName = "default",
    output_format: options.CatalogOutput = "table",
) -> None:
    """List the presets whose pods are real.

    \b
    Examples:
      kaitoctl sandbox model list
    """
    from kaitoctl.commands import sandbox_contents

    sandbox_contents.list_models(sandbox_name=sandbox_name, output_format=output_format)


@image_app.command("load")
def load_image(
    file: Annotated[
        Path, typer.Argument(help="An OCI archive or layout, a tar file, or a folder.", metavar="FILE")
    ],
    image: Annotated[str, typer.Option("--as", help="The image's name.", metavar="IMAGE")],
    sandbox_name: options.SandboxName = "default",
) -> None:
    """Load an adapter under an image name; pods that wait for it continue.

    \b
    Examples:
      kaitoctl sandbox image load pirate.tar --as registry.example/pirate:1
    """
    from kaitoctl.commands import sandbox_contents

    sandbox_contents.load_image(file=file, image=image, sandbox_name=sandbox_name)


@image_app.command("list")
def list_images(
    sandbox_name: options.SandboxName = "default",
    output_format: options.CatalogOutput = "table",
) -> None:
    """List the loaded images.

    \b
    Examples:
      kaitoctl sandbox image list
    """
    from kaitoctl.commands import sandbox_contents

    sandbox_contents.list_images(sandbox_name=sandbox_name, output_format=output_format)
