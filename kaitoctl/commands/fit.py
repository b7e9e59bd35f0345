"""`kaitoctl fit`: which instance types run a preset, and which presets run on given nodes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from kaitoctl.advice import Command, text
from kaitoctl.commands import catalog_lookup, invocation, option_values
from kaitoctl.commands.fit_options import FitOptions
from kaitoctl.commands.option_values import SavedLists
from kaitoctl.commands.target import Target
from kaitoctl.errors import ApiError, InputError, NegativeAnswer
from kaitoctl.kaito import catalog_file
from kaitoctl.kaito.catalog import TARGETS, Preset
from kaitoctl.kaito.fit import attainable_context, choices_on, placements
from kaitoctl.kaito.gpu_nodes import gpu_nodes
from kaitoctl.kaito.node_check import plural
from kaitoctl.kaito.prices import read_prices
from kaitoctl.kaito.validation.releases import nearest
from kaitoctl.kube.objects import NODE, POD
from kaitoctl.screens import fit_table, output

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kaitoctl.kaito.catalog import Catalog, InstanceType, Model
    from kaitoctl.kaito.fit import Choice, Placement
    from kaitoctl.kaito.gpu_nodes import GpuNode
    from kaitoctl.kaito.prices import Prices
    from kaitoctl.kube.objects import Object

_FORMATS = ("table", "wide", "json", "yaml", "name")


def fit(
    *,
    preset: str | None,
    lists: SavedLists,
    cluster: bool,
    options: FitOptions,
    catalog: str | None,
    target: Target,
) -> None:
    """Show which instance types run a preset, smallest first; or which presets run on given nodes.

    Args:
        preset: a preset or model, by any of its names.
        lists: saved nodes and pods.
        cluster: whether to use those of the cluster.
        options: how to fit, and what to show.
        catalog: the user's own catalog.
        target: the cluster.

    Raises:
        InputError: options that do not go together.
        NegativeAnswer: nothing fits.
    """
    row = catalog_lookup.check(options.output_format, _FORMATS, options.target_version)
    options = replace(options, target_version=row)
    known = catalog_file.read(catalog)
    if lists.nodes is not None and cluster:
        raise InputError("--nodes and --cluster name two sets of nodes; give one of them")
    if lists.nodes is None and not cluster:
        if lists.pods is not None:
            raise InputError("--pods says which GPUs of --nodes are in use; --nodes is missing")
        if preset is None:
            raise InputError(
                "name a preset, or give nodes to choose one for",
                hint="such as "
                + Command("kaitoctl fit falcon-7b")
                + ", or "
                + Command("kaitoctl fit --cluster"),
            )
        _on_instance_types(known, preset, options)
        return
    if options.cloud is not None:
        raise InputError("--cloud chooses instance types; the nodes are given")
    if cluster:
        listed, holding, release = invocation.answer_of(
            _of_cluster(target, is_release_wanted=options.target_version is None)
        )
        options = replace(options, target_version=options.target_version or release)
    else:
        listed, holding = _from_lists(lists)
    _on_nodes(known, preset, listed, holding, options)


# --- a preset on instance types ----------------------------------------------------------------------------


def _on_instance_types(known: Catalog, name: str, options: FitOptions) -> None:
    # An alias means a preset and a model; `create workspace` without a cluster makes the model's, too.
    wanted = catalog_lookup.look_up(known, name, options.target_version)[-1]
    if isinstance(wanted, Preset) and wanted.local_model:
        _on_this_machine(wanted, options)
        return
    target = options.target_version or catalog_lookup.versions(wanted)[-1]
    choices = choices_on(
        wanted,
        _machines(known, options.cloud, options.target_version),
        target=target,
        max_nodes=options.max_nodes,
        context=options.max_model_len,
    )
    costs = read_prices(options.prices)
    word = "smallest"
    if options.cheapest:
        choices, word = _by_price(choices, costs, options.prices), "cheapest"
    fitting = [choice for choice in choices if choice.sizing.fits]

    def in_order(some: Sequence[Choice]) -> list[Choice]:
        return invocation.sort_for_output(some, lambda one: _choice(wanted, one, costs))

    shown = choices if options.show_all else fitting
    if option_values.is_structured(options.output_format):
        answer = {
            "name": name,
            "target_version": target,
            "choices": [_choice(wanted, choice, costs) for choice in in_order(shown)],
        }
        output.write_structured(answer, options.output_format)
    elif options.output_format == "name":
        for choice in in_order(fitting):
            output.data(choice.instance_type.name)
    else:
        output.step(f"{_label(wanted)} on KAITO {target}" + (f"; {costs.origin}" if costs.per_hour else ""))
        if wanted in known.own_models.values() and wanted.note:
            output.note(wanted.note)
        wide = options.output_format == "wide"
        rows = in_order(fit_table.by_family(choices) if options.show_all else fitting)
        blocks = fit_table.report(
            wanted, choices, rows, costs, word=word, everything=options.show_all, wide=wide
        )
        if shown:
            output.show(list(blocks))
    if not fitting:
        most = f"{options.max_nodes} {plural('node', options.max_nodes)}"
        raise NegativeAnswer(
            f"no instance type runs {name} on at most {most}",
            hint="--all explains why; or raise --max-nodes",
        )


def _on_this_machine(wanted: Preset, options: FitOptions) -> None:
    """A preset of ours: no instance type serves it, and none is needed."""
    if options.output_format in ("json", "yaml"):
        answer = {"name": wanted.name, "target_version": "sandbox", "runs_on": "cpu", "choices": []}
        output.write_structured(answer, options.output_format)
    elif options.output_format != "name":
        output.success(f"{wanted.name} runs on this machine's CPU, in the sandbox: no GPU is needed")
        output.command(text(Command("kaitoctl create workspace demo --sandbox --preset", wanted.name)))


def _machines(known: Catalog, cloud: str | None, target: str | None) -> list[InstanceType]:
    """The instance types to judge; of a release between, those that it knows."""
    machines = list(known.instance_types.values())
    if target not in TARGETS:
        machines = [one for one in machines if catalog_lookup.is_known_to(one, target, known)]
    if cloud is None:
        return machines
    clouds = dict.fromkeys([*catalog_lookup.CLOUDS, *(machine.cloud for machine in machines)])
    option_values.one_of(cloud, list(clouds), option="--cloud")
    return [machine for machine in machines if machine.cloud == cloud]


def _label(wanted: Preset | Model) -> str:
    if isinstance(wanted, Preset):
        gpus = f"{wanted.gpu_count} {plural('GPU', wanted.gpu_count)}"
        return f"{wanted.name} ({gpus}, {wanted.total_gpu_memory_gib} GiB)"
    return f"{wanted.id} (weights {wanted.weights_gib:g} GiB)"


def _by_price(choices: Sequence[Choice], costs: Prices, source: str | None) -> tuple[Choice, ...]:
    """What fits and has a price first, the cheapest before the others.

    Raises:
        InputError: there are no prices, or none of what fits.
    """
    if not costs.per_hour:
        raise InputError("--cheapest needs prices", hint="--prices FILE; docs/prices has samples")
    fitting = [choice.instance_type.name for choice in choices if choice.sizing.fits]
    unknown = [name for name in fitting if costs.of(name) is None]
    if fitting and len(unknown) == len(fitting):
        count = f"{len(fitting)} instance {plural('type', len(fitting))}"
        hint = f"such as {fitting[0]}; " + Command("kaitoctl skus list") + " names them all"
        raise InputError(f"--prices {source}: none of the {count} that fit has a price there", hint=hint)
    if unknown:
        output.step(f"{len(unknown)} of {len(fitting)} instance types that fit have no price: not compared")

    def rank(choice: Choice) -> tuple[bool, float]:
        price = costs.of(choice.instance_type.name, choice.sizing.nodes)
        return not choice.sizing.fits, math.inf if price is None else price

    return tuple(sorted(choices, key=rank))


def _choice(wanted: Preset | Model, choice: Choice, costs: Prices) -> dict[str, Any]:
    machine, sized = choice.instance_type, choice.sizing
    return {
        "instance_type": machine.name,
        "cloud": machine.cloud,
        "gpus": machine.gpus,
        "gpu_model": machine.gpu_model,
        "gpu_memory_gib": machine.gpu_memory_gib,
        "fits": sized.fits,
        "nodes": sized.nodes,
        "used": round(sized.used, 3),
        "tight": sized.tight,
        "why": sized.why,
        "context": attainable_context(wanted, machine, sized.nodes),
        "per_hour": costs.of(machine.name, sized.nodes) if sized.fits else None,
        "currency": costs.currency or None,
    }


# --- presets on nodes --------------------------------------------------------------------------------------


def _on_nodes(
    known: Catalog,
    name: str | None,
    listed: list[Object],
    holding: list[Object] | None,
    options: FitOptions,
) -> None:
    show_all, target = options.show_all, options.target_version
    items: list[Preset | Model]
    if name is not None:
        items, show_all = catalog_lookup.look_up(known, name, target), True
        if isinstance(items[0], Preset) and items[0].local_model:
            _on_this_machine(items[0], options)
            return
    else:
        presets, models = catalog_lookup.items_of(known, target)
        items = [*(item for item in presets if not item.local_model), *models]
    nodes = gpu_nodes(listed, holding, known=known)
    answers = invocation.sort_for_output(
        placements(items, nodes, context=options.max_model_len, release=target), _placement
    )
    fitting = [answer for answer in answers if answer.fits]
    shown = answers if show_all else fitting
    if option_values.is_structured(options.output_format):
        value = {"nodes": [_node(node) for node in nodes], "placements": [_placement(item) for item in shown]}
        output.write_structured(value, options.output_format, rows="placements")
    elif options.output_format == "name":
        for written in dict.fromkeys(answer.name for answer in fitting):
            output.data(written)
    else:
        _describe_nodes(nodes)
        if shown:
            is_wide = options.output_format == "wide"
            rows = [_placement_row(item, is_wide) for item in shown]
            output.table(["PRESET", "KAITO", "NODES", "FITS", "WHY"], rows, wide=is_wide)
        if not show_all and len(answers) > len(fitting):
            output.note(f"{len(answers) - len(fitting)} other presets do not run (--all explains why)")
    if not fitting:
        what = name or "any preset"
        raise NegativeAnswer(
            f"these nodes cannot run {what} now", hint="" if show_all else "--all explains why"
        )


def _describe_nodes(nodes: tuple[GpuNode, ...]) -> None:
    output.step(f"{len(nodes)} GPU node{'' if len(nodes) == 1 else 's'}")
    for node in nodes:
        if node.faults:
            output.warning(f"{node.name}: {'; '.join(node.faults)}")
        elif node.memory_gib is None and not node.slices:
            output.warning(f"{node.name}: the memory of its GPUs is not known, so it is left out")
        elif node.memory_gib is None and node.gpus:
            output.warning(f"{node.name}: the memory of its GPUs is not known, so only its slices count")
        elif node.gpus:
            what = "GPUs free" if node.is_whole else "shares or slices of GPUs can be used by one pod"
            output.note(f"{node.name}: {node.free} of {node.gpus} {what}, {node.memory_gib:g} GiB each")
        if not node.faults:
            if node.slices:
                output.note(f"{node.name}: {', '.join(one.words for one in node.slices)}")
            for words in node.warnings:
                output.warning(f"{node.name}: {words}")


def _placement_row(answer: Placement, is_wide: bool) -> list[str]:
    kaito = ",".join(catalog_lookup.versions(answer.wanted))
    most = len(answer.nodes) if is_wide else 3
    names = ",".join(answer.nodes[:most])
    if len(answer.nodes) > most:
        names += f" and {len(answer.nodes) - most} more"
    why = answer.why + (": tight" if answer.tight else "")
    return [answer.name, kaito, names or "-", "✔" if answer.fits else "✗", why]


def _placement(answer: Placement) -> dict[str, Any]:
    return {
        "name": answer.name,
        "versions": catalog_lookup.versions(answer.wanted),
        "fits": answer.fits,
        "nodes": list(answer.nodes),
        "tight": answer.tight,
        "why": answer.why,
    }


def _node(node: GpuNode) -> dict[str, Any]:
    return {
        "name": node.name,
        "instance_type": node.instance_type,
        "gpus": node.gpus,
        "free": node.free,
        "gpu_memory_gib": node.memory_gib,
        "slices": [
            {"resource": one.resource, "allocatable": one.allocatable, "free": one.free}
            for one in node.slices
        ],
        "faults": list(node.faults),
        "warnings": list(node.warnings),
    }


# --- where nodes and pods come from ------------------------------------------------------------------------


def _from_lists(lists: SavedLists) -> tuple[list[Object], list[Object]]:
    from kaitoctl.commands import saved_lists  # reads files: no other way of asking needs it

    listed = saved_lists.objects(lists.nodes or "", "Node", option="--nodes")
    if lists.pods is None:
        output.warning("GPUs in use are unknown, so all count as free", hint="add --pods FILE")
        return listed, []
    holding = saved_lists.objects(lists.pods, "Pod", option="--pods")
    saved_lists.warn_of_gaps(listed, holding, lists.pods)
    return listed, holding


async def _of_cluster(
    target: Target, *, is_release_wanted: bool
) -> tuple[list[Object], list[Object] | None, str | None]:
    """Nodes, pods, and the release whose presets count; None where all do, as on kaitoctl's controller."""
    from kaitoctl.commands.cluster import connected  # asks a cluster: no other way needs the client
    from kaitoctl.commands.kaito_detection import kaito_here

    async with connected(target) as client:
        release = None
        if is_release_wanted and not target.sandbox:
            here = nearest((await kaito_here(client)).target or "")
            release = (here.read or here.name) if here is not None else None
        nodes = list((await client.list(NODE)).items)
        try:
            return nodes, list((await client.list(POD)).items), release
        except ApiError as error:
            if error.status != 403:
                raise
            output.warning("pods of all namespaces cannot be listed, so GPUs in use are not counted")
            return nodes, None, release
