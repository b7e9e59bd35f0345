"""`kaitoctl fit`: where a preset runs, and what runs on the nodes that there are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from kaitoctl.cli import catalog_options, complete, options, output
from kaitoctl.cli.catalog_options import CatalogFile, Cloud, Output, TargetVersion
from kaitoctl.cli.connect import Context, Kubeconfig, Sandbox, SandboxName, Target, connected
from kaitoctl.cli.saved_lists import NodesFile, PodsFile
from kaitoctl.errors import ApiError, InputError, NegativeAnswer

if TYPE_CHECKING:
    from kaitoctl.kaito.catalog import Catalog, Model, Preset
    from kaitoctl.kaito.fit import Choice, GpuNode, Placement
    from kaitoctl.kube.objects import Object

app = typer.Typer(rich_markup_mode=None, add_completion=False)

_FORMATS = ("table", "wide", "json", "yaml", "name")


@app.command()
def fit(
    preset: Annotated[
        str | None,
        typer.Argument(help="A preset, an alias or a Hugging Face id.", autocompletion=complete.presets),
    ] = None,
    nodes: NodesFile = None,
    pods: PodsFile = None,
    cluster: Annotated[bool, typer.Option("--cluster", help="The nodes and pods of the cluster.")] = False,
    cloud: Cloud = None,
    show_all: Annotated[bool, typer.Option("--all", help="Also show what does not fit, and why.")] = False,
    max_nodes: Annotated[int, typer.Option("--max-nodes", help="Nodes to take at most.", min=1)] = 8,
    max_model_len: Annotated[
        int,
        typer.Option(
            "--max-model-len", help="Tokens to leave room for (KAITO v0.12).", min=1, metavar="TOKENS"
        ),
    ] = 2048,
    target_version: TargetVersion = None,
    output_format: Output = "table",
    catalog: CatalogFile = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    sandbox: Sandbox = False,
    sandbox_name: SandboxName = "default",
) -> None:
    """Say which instance types run a preset, smallest first; or which presets run on given nodes.

    Examples: kaitoctl fit llama-2-13b-chat --cloud azure; kaitoctl fit phi-4 --all;
    kubectl get nodes -o json | kaitoctl fit --nodes -; kaitoctl fit --cluster

    Exits with 1 when nothing fits.
    """
    catalog_options.check(output_format, _FORMATS, target_version)
    known = catalog_options.use(catalog)
    if nodes is not None and cluster:
        raise InputError("--nodes and --cluster name two sets of nodes; give one of them")
    if nodes is None and not cluster:
        if pods is not None:
            raise InputError("--pods says which GPUs of --nodes are in use; --nodes is missing")
        if preset is None:
            raise InputError(
                "a preset is missing, or nodes to choose one for",
                hint="such as `kaitoctl fit falcon-7b`, or `kaitoctl fit --cluster`",
            )
        _on_instance_types(
            known, preset, target_version, cloud, max_nodes, max_model_len, show_all, output_format
        )
        return
    if cloud is not None:
        raise InputError("--cloud chooses instance types; the nodes are given")
    if cluster:
        import asyncio

        listed, holding = asyncio.run(_of_cluster(Target(None, context, kubeconfig, sandbox, sandbox_name)))
    else:
        from kaitoctl.cli.saved_lists import objects

        listed, holding = objects(nodes or "", "Node", option="--nodes"), []
        if pods is not None:
            holding = objects(pods, "Pod", option="--pods")
        else:
            output.warning(
                "which GPUs are in use is not known, so all of them count as free", hint="give --pods, too"
            )
    _on_nodes(known, preset, target_version, listed, holding, max_model_len, show_all, output_format)


# --- a preset on instance types ----------------------------------------------------------------------------


def _on_instance_types(
    known: Catalog,
    name: str,
    target: str | None,
    cloud: str | None,
    max_nodes: int,
    max_model_len: int,
    show_all: bool,
    output_format: str,
) -> None:
    from kaitoctl.kaito import fit as fit_
    from kaitoctl.kaito.nodes import plural

    # An alias means a preset and a model; `create workspace` without a cluster makes the preset's.
    wanted = catalog_options.wanted(known, name, target)[0]
    target = target or catalog_options.versions(wanted)[-1]
    machines = list(known.instance_types.values())
    if cloud is not None:
        clouds = dict.fromkeys([*catalog_options.CLOUDS, *(machine.cloud for machine in machines)])
        options.one_of(cloud, list(clouds), option="--cloud")
        machines = [machine for machine in machines if machine.cloud == cloud]
    choices = fit_.choices(wanted, machines, target=target, max_nodes=max_nodes, context=max_model_len)
    fitting = [choice for choice in choices if choice.sizing.fits]
    shown = choices if show_all else fitting
    if output_format in ("json", "yaml"):
        answer = {"name": name, "target_version": target, "choices": [_choice(choice) for choice in shown]}
        catalog_options.structured(answer, output_format)
    elif output_format == "name":
        for choice in fitting:
            output.data(choice.instance_type.name)
    else:
        output.step(f"{_called(wanted)} on KAITO {target}")
        smallest = fitting[0] if fitting else None
        headers = ["INSTANCE TYPE", "CLOUD", "GPUS", "GPU MEMORY", "NODES", "FITS", "WHY"]
        rows = [_choice_row(choice, choice is smallest) for choice in shown]
        if output_format == "wide":
            headers.append("NOTE")
            rows = [[*row, choice.instance_type.note] for row, choice in zip(rows, shown, strict=True)]
        if shown:
            output.table(headers, rows)
        if not show_all and len(choices) > len(fitting):
            output.note(f"{len(choices) - len(fitting)} other instance types do not fit; --all says why")
    if not fitting:
        raise NegativeAnswer(
            f"no instance type runs {name} on at most {max_nodes} {plural('node', max_nodes)}",
            hint="--all says why; or raise --max-nodes",
        )


def _called(wanted: Preset | Model) -> str:
    from kaitoctl.kaito.catalog import Preset
    from kaitoctl.kaito.nodes import plural

    if isinstance(wanted, Preset):
        gpus = f"{wanted.gpu_count} {plural('GPU', wanted.gpu_count)}"
        return f"{wanted.name} ({gpus}, {wanted.total_gpu_memory_gib} GiB)"
    return f"{wanted.id} (weights {wanted.weights_gib:g} GiB)"


def _choice_row(choice: Choice, is_smallest: bool) -> list[str]:
    machine, sized = choice.instance_type, choice.sizing
    why = sized.why
    if sized.fits:
        why += f", {sized.used:.0%} of the memory used" + (": tight" if sized.tight else "")
    return [
        machine.name,
        machine.cloud,
        f"{machine.gpus} x {machine.gpu_model}",
        f"{machine.gpu_memory_gib} GiB",
        str(sized.nodes) if sized.fits else "-",
        "✔" if sized.fits else "✗",
        why + ("  ← smallest" if is_smallest else ""),
    ]


def _choice(choice: Choice) -> dict[str, Any]:
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
    }


# --- presets on nodes --------------------------------------------------------------------------------------


def _on_nodes(
    known: Catalog,
    name: str | None,
    target: str | None,
    listed: list[Object],
    holding: list[Object] | None,
    max_model_len: int,
    show_all: bool,
    output_format: str,
) -> None:
    from kaitoctl.kaito import fit as fit_

    items: list[Preset | Model]
    if name is not None:
        items, show_all = catalog_options.wanted(known, name, target), True
    else:
        everything: list[Preset | Model] = [*known.presets.values(), *known.models.values()]
        items = [item for item in everything if target is None or target in catalog_options.versions(item)]
    nodes = fit_.gpu_nodes(listed, holding, known=known)
    answers = fit_.placements(items, nodes, context=max_model_len)
    fitting = [answer for answer in answers if answer.fits]
    shown = answers if show_all else fitting
    if output_format in ("json", "yaml"):
        value = {"nodes": [_node(node) for node in nodes], "placements": [_placement(item) for item in shown]}
        catalog_options.structured(value, output_format)
    elif output_format == "name":
        for written in dict.fromkeys(answer.name for answer in fitting):
            output.data(written)
    else:
        _tell_of_nodes(nodes)
        if shown:
            output.table(
                ["PRESET", "KAITO", "NODES", "FITS", "WHY"], [_placement_row(item) for item in shown]
            )
        if not show_all and len(answers) > len(fitting):
            output.note(f"{len(answers) - len(fitting)} other presets do not run; --all says why")
    if not fitting:
        what = name or "any preset"
        raise NegativeAnswer(f"these nodes cannot run {what} now", hint="" if show_all else "--all says why")


def _tell_of_nodes(nodes: tuple[GpuNode, ...]) -> None:
    output.step(f"{len(nodes)} GPU node{'' if len(nodes) == 1 else 's'}")
    for node in nodes:
        if node.faults:
            output.warning(f"{node.name}: {'; '.join(node.faults)}")
        elif node.memory_gib is None:
            output.warning(f"{node.name}: the memory of its GPUs is not known, so it is left out")
        else:
            what = "GPUs free" if node.is_whole else "shares or slices of GPUs can be used by one pod"
            output.note(f"{node.name}: {node.free} of {node.gpus} {what}, {node.memory_gib:g} GiB each")


def _placement_row(answer: Placement) -> list[str]:
    kaito = ",".join(catalog_options.versions(answer.wanted))
    names = ",".join(answer.nodes[:3]) + (
        f" and {len(answer.nodes) - 3} more" if len(answer.nodes) > 3 else ""
    )
    why = answer.why + (": tight" if answer.tight else "")
    return [answer.name, kaito, names or "-", "✔" if answer.fits else "✗", why]


def _placement(answer: Placement) -> dict[str, Any]:
    return {
        "name": answer.name,
        "versions": catalog_options.versions(answer.wanted),
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
        "faults": list(node.faults),
    }


# --- where nodes and pods come from ------------------------------------------------------------------------


async def _of_cluster(target: Target) -> tuple[list[Object], list[Object] | None]:
    from kaitoctl.kube.objects import NODE, POD

    async with connected(target) as client:
        nodes = list((await client.list(NODE)).items)
        try:
            return nodes, list((await client.list(POD)).items)
        except ApiError as error:
            if error.status != 403:
                raise
            output.warning("pods of all namespaces cannot be listed, so GPUs in use are not counted")
            return nodes, None
