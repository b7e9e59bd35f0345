"""`kaitoctl template`: the Workspace templates that ship, to read and to begin one's own from."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from kaitoctl.cli import options, output
from kaitoctl.errors import InputError

app = typer.Typer(
    help="Templates of Workspaces.", no_args_is_help=True, rich_markup_mode=None, add_completion=False
)

_COMMENT = re.compile(r"\{#-?\s*(.*?)\s*-?#\}", re.DOTALL)


@app.command("list")
def list_templates(
    output_format: Annotated[
        str, typer.Option("--output", "-o", help="table, json, yaml or name.", metavar="FORMAT")
    ] = "table",
) -> None:
    """List the templates that `create workspace --template NAME` knows.

    Example: kaitoctl template list
    """
    from kaitoctl.cli.catalog_options import structured
    from kaitoctl.kaito import manifest

    options.one_of(output_format, ("table", "json", "yaml", "name"), option="--output")
    about = {name: _purpose(manifest.template_text(name)[0]) for name in manifest.template_names()}
    if output_format == "name":
        for name in about:
            output.data(name)
    elif output_format == "table":
        output.table(["NAME", "PURPOSE"], about.items())
    else:
        structured({"templates": [{"name": n, "purpose": p} for n, p in about.items()]}, output_format)


@app.command("show")
def show_template(name: Annotated[str, typer.Argument(help="A shipped template's name, or a file.")]) -> None:
    """Print a template's text.

    Example: kaitoctl template show inference
    """
    from kaitoctl.kaito import manifest

    output.data(manifest.template_text(name)[0].rstrip("\n"))


@app.command("new")
def new_template(
    file: Annotated[str, typer.Argument(help="The file to write.")],
    source: Annotated[
        str, typer.Option("--from", help="The template to begin with.", metavar="NAME")
    ] = "inference",
    force: Annotated[bool, typer.Option("--force", help="Replace the file if there is one.")] = False,
) -> None:
    """Write a template of your own, for `create workspace --template FILE`.

    Example: kaitoctl template new mine.yaml.j2 --from custom-pod
    """
    from pathlib import Path

    from kaitoctl.kaito import manifest

    text, _ = manifest.template_text(source)
    try:
        with Path(file).open("w" if force else "x", encoding="utf-8") as target:
            target.write(text)
    except FileExistsError:
        raise InputError(f"{file} exists; nothing was written", hint="--force replaces it") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: {getattr(error, 'strerror', None) or error}") from None
    path = file if "/" in file or "." in file else f"./{file}"
    output.success(f"{file} written; use it with `kaitoctl create workspace NAME --template {path}`")


def _purpose(text: str) -> str:
    """The first sentence of the comment that a template begins with."""
    found = _COMMENT.match(text)
    return re.split(r"(?<=\.)\s", found[1], maxsplit=1)[0] if found else ""
