"""The options of every command that looks presets, models and instance types up, and how it prints them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from kaitoctl.cli import options, output
from kaitoctl.errors import InputError

if TYPE_CHECKING:
    from kaitoctl.kaito.catalog import Catalog, Model, Preset

CLOUDS = ("azure", "aws", "arc")
TARGETS = ("v0.3", "v0.4", "v0.12")

CatalogFile = Annotated[
    str | None,
    typer.Option(
        "--catalog",
        help="Your own presets, models and instance types, over those that ship.",
        metavar="FILE",
        envvar="KAITOCTL_CATALOG",
    ),
]
TargetVersion = Annotated[
    str | None,
    typer.Option("--target-version", help="KAITO version: v0.3, v0.4 or v0.12.", metavar="VERSION"),
]
Cloud = Annotated[
    str | None, typer.Option("--cloud", help="Only instance types of azure, aws or arc.", metavar="NAME")
]
Output = Annotated[
    str, typer.Option("--output", "-o", help="table, wide, json, yaml or name.", metavar="FORMAT")
]


def check(output_format: str, formats: tuple[str, ...], target: str | None = None) -> None:
    """Refuse a format or KAITO version that there is not.

    Raises:
        InputError: with the choices.
    """
    options.one_of(output_format, formats, option="--output")
    if target is not None:
        options.one_of(target, TARGETS, option="--target-version")


def use(filename: str | None) -> Catalog:
    """Make what ships, and over it the user's file if one is named, the catalog of this process.

    Raises:
        InputError: the file cannot be read, or a row is not right.
    """
    from kaitoctl.kaito import catalog, catalog_file

    known = catalog_file.read(filename)
    catalog.use(known)
    return known


def wanted(known: Catalog, name: str, target: str | None) -> list[Preset | Model]:
    """What a name stands for: a preset, a model, or (an alias) both, of a KAITO version if one is given.

    Raises:
        InputError: neither, or not in that version.
    """
    from kaitoctl.kaito import catalog

    preset, model = known.preset(name), known.model(name)
    found = [item for item in (preset, model) if item is not None]
    if not found:
        names = [*known.presets, *known.model_names()]
        near = catalog.close_matches(name, names)
        hint = f"did you mean {' or '.join(near)}?" if near else "`kaitoctl models list` names them all"
        raise InputError(f"{name!r} is neither a preset nor a model of the catalog", hint=hint)
    matching = [item for item in found if target is None or target in versions(item)]
    if not matching:
        have = ", ".join(version for item in found for version in versions(item))
        raise InputError(f"KAITO {target} does not have {name}", hint=f"it is in {have}" if have else "")
    return matching


def versions(item: Preset | Model) -> list[str]:
    """The KAITO versions that know a preset or model; all with presets for one without published images."""
    from kaitoctl.kaito.catalog import Preset

    if isinstance(item, Preset):
        return list(item.images) or ["v0.3", "v0.4"]
    return ["v0.12"]


def structured(value: Any, output_format: str) -> None:
    """A value as JSON or YAML, on stdout."""
    if output_format == "json":
        output.document(value)
    else:
        from kaitoctl.kube.documents import to_yaml

        output.data(to_yaml(value).rstrip("\n"))
