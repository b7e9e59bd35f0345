"""`kaitoctl template`: the Workspace templates that ship, to read and to begin one's own from."""

from __future__ import annotations

import re
from pathlib import Path

from kaitoctl.advice import Command, text
from kaitoctl.commands import listing
from kaitoctl.errors import InputError
from kaitoctl.kaito import templates
from kaitoctl.screens import output

_COMMENT = re.compile(r"\{#-?\s*(.*?)\s*-?#\}", re.DOTALL)


def list_templates(*, output_format: str) -> None:
    """List the templates that `create workspace --template NAME` knows."""
    found = [{"name": name, "purpose": _purpose(templates.text_of(name)[0])} for name in templates.names()]
    listing.show(
        "templates", found, ("NAME", "PURPOSE"), lambda one: (one["name"], one["purpose"]), output_format
    )


def show_template(*, name: str) -> None:
    """Print a template's text."""
    output.data(templates.text_of(name)[0].rstrip("\n"))


def new_template(*, file: str, source: str, force: bool) -> None:
    """Write a template of your own, for `create workspace --template FILE`."""
    template, _ = templates.text_of(source)
    try:
        with Path(file).open("w" if force else "x", encoding="utf-8") as target:
            target.write(template)
    except FileExistsError:
        raise InputError(f"{file} exists; nothing was written", hint="--force replaces it") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: {getattr(error, 'strerror', None) or error}") from None
    path = file if "/" in file or "." in file else f"./{file}"
    create = text(Command("kaitoctl create workspace NAME --template", str(path)))
    output.success(f"{file} written; use it with: {create}")


def _purpose(text: str) -> str:
    """The first sentence of the comment that a template begins with."""
    found = _COMMENT.match(text)
    return re.split(r"(?<=\.)\s", found[1], maxsplit=1)[0] if found else ""
