"""The options of every command that looks presets, models and instance types up, and how it prints them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kaitoctl.commands import option_values
from kaitoctl.errors import InputError
from kaitoctl.kaito import catalog
from kaitoctl.kaito.catalog import Preset

if TYPE_CHECKING:
    from kaitoctl.kaito.catalog import Catalog, Model

CLOUDS = ("azure", "aws", "arc")
TARGETS = ("v0.3", "v0.4", "v0.12")


def check(output_format: str, choices: tuple[str, ...], target: str | None = None) -> None:
    """Refuse a format or KAITO version that there is not.

    Raises:
        InputError: with the choices.
    """
    option_values.output_format(output_format, choices)
    if target is not None:
        option_values.one_of(target, TARGETS, option="--target-version")


def look_up(known: Catalog, name: str, target: str | None) -> list[Preset | Model]:
    """What a name stands for: a preset, a model, or (an alias) both, of a KAITO version if one is given.

    Raises:
        InputError: neither, or not in that version.
    """
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
    if isinstance(item, Preset):
        if item.local_model:
            return ["sandbox"]
        return list(item.images) or ["v0.3", "v0.4"]
    return ["v0.12"]
