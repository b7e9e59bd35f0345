"""The options of every command that looks presets, models and instance types up, and how it prints them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kaitoctl.commands import option_values
from kaitoctl.errors import InputError
from kaitoctl.kaito import catalog
from kaitoctl.kaito.catalog import Preset
from kaitoctl.kaito.validation import releases
from kaitoctl.screens import output

if TYPE_CHECKING:
    from kaitoctl.kaito.catalog import Catalog, InstanceType, Model

CLOUDS = ("azure", "aws", "arc")


def check(output_format: str, choices: tuple[str, ...], target: str | None = None) -> str | None:
    """The release by whose tables a KAITO version is judged; None without a version.

    Raises:
        InputError: there is no such format or KAITO version.
    """
    option_values.output_format(output_format, choices)
    if target is None:
        return None
    release = releases.nearest(target)
    if release is None:
        rows = ", ".join(one.name for one in releases.RELEASES)
        raise InputError(
            f"--target-version {target[:40]!r}: not a release of KAITO",
            hint=f"use a release since v0.3; with tables of their own: {rows}",
        )
    if note := releases.judged_as(target, release):
        output.step(f"{target}: {note}")
    return release.read or release.name


def look_up(known: Catalog, name: str, target: str | None) -> list[Preset | Model]:
    """What a name stands for: a preset, a model, or (an alias) both, of a KAITO version if one is given.

    Raises:
        InputError: neither, or not in that version.
    """
    preset, model = known.preset(name), known.model(name)
    found = [item for item in (preset, model) if item is not None]
    if not found:
        names = [*known.model_names(), *known.presets]
        near = catalog.close_matches(name, names)
        hint = f"did you mean {' or '.join(near)}?" if near else "`kaitoctl models list` names them all"
        if "/" in name:  # KAITO takes any of Hugging Face; its size is the user's to say
            hint += (
                f"; or give the folder of its config.json: --catalog {name[:100]}=FOLDER; or put its figures "
            )
            hint += "into a file for --catalog: id, weights_gib, bytes_per_token, context_limit"
        raise InputError(f"{name!r} is neither a preset nor a model of the catalog", hint=hint)
    if (row := _in_between(target)) is not None and releases.is_preset_name(row, name, known):
        if row.has_own_sizes and (sized := releases.as_of(target, known).model(name)) is not None:
            return [sized]
        of_release = known.preset_in(name, row.name)
        found = [of_release] if of_release is not None else found
        return [model] if of_release is None and model is not None else found
    matching = [item for item in found if target is None or target in versions(item)]
    if not matching:
        have = span(releases.served_by(name, known))
        raise InputError(f"KAITO {target} does not have {name}", hint=f"it is in {have}" if have else "")
    return matching


def items_of(known: Catalog, target: str | None) -> tuple[list[Preset], list[Model]]:
    """The presets and the models of a KAITO version, of all versions without one.

    Args:
        known: where they are looked up.
        target: as `check` returns it.
    """
    row = _in_between(target)
    if row is None:
        return (
            [item for item in known.presets.values() if target is None or target in versions(item)],
            [item for item in known.models.values() if target is None or target in versions(item)],
        )
    names = releases.preset_names(row, known)
    if row.has_own_sizes:
        sized = releases.as_of(target, known)
        return [], list({item.id: item for name in names if (item := sized.model(name))}.values())
    of_release = {name: known.preset_in(name, row.name) for name in names}
    models = [known.model(name) for name in names if of_release[name] is None]
    presets = [known.preset(name) for name in names if of_release[name] is None and known.model(name) is None]
    listed = [item for item in (*of_release.values(), *presets) if item is not None]
    return listed, list({item.id: item for item in models if item is not None}.values())


def is_known_to(machine: InstanceType, target: str | None, known: Catalog) -> bool:
    """Whether a KAITO version has an instance type in its tables."""
    if target is None:
        return True
    row = _in_between(target)
    if row is None:
        return catalog.TARGETS[target] in machine.versions
    return releases.gpu_type(row, machine.name, machine.cloud, known) is not None


def _in_between(target: str | None) -> releases.Release | None:
    """The release, when the catalog of presets and models has no column for it."""
    return None if target is None or target in catalog.TARGETS else releases.nearest(target)


def served(item: Preset | Model, known: Catalog) -> str:
    """The releases that have a preset or model, such as `v0.3 to v0.10`.

    A name may mean both: up to v0.6 a preset with written requirements, and then a model by its size.
    """
    if isinstance(item, Preset) and item.local_model:
        return "sandbox"
    name = item.name if isinstance(item, Preset) else item.preset_name
    found = releases.served_by(name, known)
    if known.preset(name) is not None and known.model(name) is not None:
        found = [name for name in found if releases.is_by_size(name) != isinstance(item, Preset)]
    return span(found) or ",".join(versions(item))


def span(found: list[str]) -> str:
    """The first and the last of some releases in a row."""
    return f"{found[0]} to {found[-1]}" if len(found) > 1 else "".join(found)


def served_types(machine: InstanceType, known: Catalog) -> str:
    """The releases whose own tables have an instance type, such as `v0.3, v0.9 to v0.12`: some come back."""
    if machine.name in known.own_instance_types or machine.cloud not in CLOUDS[:2]:
        return ",".join(machine.versions)  # of Azure Arc the catalog has what there is
    rows: list[list[str]] = [[]]
    for release in releases.IN_ORDER:
        if releases.gpu_type(release, machine.name, machine.cloud, known) is not None:
            rows[-1].append(release.table if release.read else release.name)
        elif rows[-1]:
            rows.append([])
    return ", ".join(span(row) for row in rows if row) or ",".join(machine.versions)


def versions(item: Preset | Model) -> list[str]:
    """The generations that a preset or model is of; all with presets for one without published images."""
    if isinstance(item, Preset):
        if item.local_model:
            return ["sandbox"]
        return list(item.images) or ["v0.3", "v0.4"]
    return ["v0.12"]
