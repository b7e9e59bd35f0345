"""`kaitoctl sandbox ...`: a Kubernetes-compatible cluster simulated on this machine."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kaitoctl.cli import catalog_options, complete, options, output
from kaitoctl.cli.catalog_options import CatalogFile
from kaitoctl.cli.connect import SandboxName, Target, connected
from kaitoctl.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from kaitoctl.kube.objects import Object
    from kaitoctl.kube.request import Request
    from kaitoctl.sandbox.nodes import Damage, InstanceShape

app = typer.Typer(
    help="A cluster simulated on this machine: API server, controllers, GPU nodes; no containers run.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
)
node_app = typer.Typer(help="Add, remove and break nodes.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(node_app, name="node")

DEFAULT_SPEED = 20.0

GpuNodes = Annotated[
    list[str] | None,
    typer.Option("--gpu-nodes", help="Nodes of an instance type, TYPE=N; may be repeated.", metavar="TYPE=N"),
]
Label = Annotated[
    list[str] | None,
    typer.Option("--label", help="Label of the nodes, KEY=VALUE; may be repeated.", metavar="KEY=VALUE"),
]
Speed = Annotated[
    float,
    typer.Option(
        "--speed",
        help="Simulated seconds per second.",
        min=0.1,
        max=10000,
        callback=options.number,
    ),
]
NoController = Annotated[
    bool, typer.Option("--no-controller", help="Leave the Workspace controller out (see run-controller).")
]


@app.command("up")
def up(
    gpu_nodes: GpuNodes = None,
    label: Label = None,
    speed: Speed = DEFAULT_SPEED,
    no_controller: NoController = False,
    catalog: CatalogFile = None,
    sandbox_name: SandboxName = "default",
) -> None:
    """Start the sandbox in the background, with its state of last time.

    Example: kaitoctl sandbox up --gpu-nodes Standard_NC12s_v3=2 --label apps=falcon-7b
    """
    import asyncio
    import math

    from kaitoctl.cli import sandbox_process

    if not math.isfinite(speed):
        raise InputError(f"--speed {speed}: that is not a number of seconds")
    catalog_options.use(catalog)
    wanted = _gpu_nodes(gpu_nodes or ())
    labels = options.labels(label or ())
    was_up = sandbox_process.is_up(sandbox_process.folder(sandbox_name))
    arguments = ["--speed", str(speed), *(["--no-controller"] if no_controller else [])]
    if catalog:
        arguments += ["--catalog", str(Path(catalog).absolute())]
    kubeconfig = asyncio.run(sandbox_process.ensure_up(sandbox_name, arguments))
    if was_up:
        output.step(f"sandbox {sandbox_name} is up already")
    if wanted:
        _run(_add_gpu_nodes(sandbox_name, wanted, labels))
    output.success(f"sandbox {sandbox_name} is up; pods in it are simulated")
    output.note(f"export KUBECONFIG={kubeconfig}")


@app.command("down")
def down(
    sandbox_name: SandboxName = "default",
    delete: Annotated[bool, typer.Option("--delete", help="Forget its state, too.")] = False,
) -> None:
    """Stop the sandbox. Its state is kept for the next `up`, unless --delete is given.

    Example: kaitoctl sandbox down
    """
    import shutil

    from kaitoctl.cli import sandbox_process

    stopped = sandbox_process.stop(sandbox_name)
    folder = sandbox_process.folder(sandbox_name)
    if delete:
        shutil.rmtree(folder.path, ignore_errors=True)
    elif not stopped and not folder.state.exists():
        raise InputError(f"there is no sandbox {sandbox_name}", hint="kaitoctl sandbox status lists them")
    words = "stopped" if stopped else "was not up"
    output.success(f"sandbox {sandbox_name} {words}" + (", its state is deleted" if delete else ""))


@app.command("status")
def status(
    output_format: Annotated[str, typer.Option("--output", "-o", help="table or json.")] = "table",
) -> None:
    """List the sandboxes of this machine.

    Example: kaitoctl sandbox status -o json
    """
    from kaitoctl.cli import sandbox_process

    options.one_of(output_format, ("table", "json"), option="--output")
    rows = []
    for name in sandbox_process.names():
        folder = sandbox_process.folder(name)
        is_up = sandbox_process.is_up(folder)
        address = folder.remembered().get("address", "") if is_up else ""
        rows.append({"name": name, "up": is_up, "address": address, "kubeconfig": str(folder.kubeconfig)})
    if output_format == "json":
        output.document({"sandboxes": rows})
    elif rows:
        cells = [
            (str(r["name"]), "up" if r["up"] else "down", str(r["address"]), str(r["kubeconfig"]))
            for r in rows
        ]
        output.table(("NAME", "STATE", "ADDRESS", "KUBECONFIG"), cells)
    else:
        output.step("there is no sandbox; kaitoctl sandbox up starts one")


@app.command("kubeconfig")
def kubeconfig(sandbox_name: SandboxName = "default") -> None:
    """Print the path of the sandbox's kubeconfig.

    Example: kubectl --kubeconfig "$(kaitoctl sandbox kubeconfig)" get nodes
    """
    from kaitoctl.cli import sandbox_process

    folder = sandbox_process.folder(sandbox_name)
    if not folder.kubeconfig.exists():
        raise InputError(f"there is no sandbox {sandbox_name}", hint="kaitoctl sandbox up starts one")
    output.data(str(folder.kubeconfig))


@node_app.command("add")
def add_node(
    name: Annotated[str, typer.Argument(help="The node's name.")],
    instance_type: Annotated[
        str,
        typer.Option(
            "--instance-type",
            help="Its instance type.",
            metavar="TYPE",
            autocompletion=complete.instance_types,
        ),
    ],
    label: Label = None,
    sandbox_name: SandboxName = "default",
) -> None:
    """Add a GPU node.

    Example: kaitoctl sandbox node add gpu-a --instance-type Standard_NC12s_v3 --label apps=falcon-7b
    """
    options.node_name(name)
    _run(_add_node(sandbox_name, name, instance_type, options.labels(label or ())))
    output.data(f"node/{name} created")


@node_app.command("rm")
def remove_node(
    name: Annotated[str, typer.Argument(help="The node's name.")], sandbox_name: SandboxName = "default"
) -> None:
    """Remove a node, as if its machine had gone.

    Example: kaitoctl sandbox node rm gpu-a
    """
    from kaitoctl.kube import request
    from kaitoctl.kube.objects import NODE

    options.node_name(name)
    _run(_send(sandbox_name, request.delete(NODE, "", name)))
    output.data(f"node/{name} deleted")


@node_app.command("break")
def break_node(
    name: Annotated[str, typer.Argument(help="The node's name.")],
    how: Annotated[
        str, typer.Option("--how", help="not-ready, plugin-missing, gpus-unhealthy, cordoned or mended.")
    ] = "not-ready",
    sandbox_name: SandboxName = "default",
) -> None:
    """Break a node, or mend it again.

    Example: kaitoctl sandbox node break gpu-a --how plugin-missing
    """
    options.node_name(name)
    if how != "mended":
        _damage(how)
    _run(_break(sandbox_name, name, how))
    output.data(f"node/{name} {how}")


@app.command("serve", hidden=True)
def serve(
    speed: Speed = DEFAULT_SPEED,
    no_controller: NoController = False,
    catalog: CatalogFile = None,
    sandbox_name: SandboxName = "default",
) -> None:
    """Be the sandbox, in the foreground, until SIGTERM."""
    import asyncio

    from kaitoctl.cli import sandbox_process

    catalog_options.use(catalog)
    folder = sandbox_process.folder(sandbox_name)
    with sandbox_process.hold(folder):
        from kaitoctl.cli import sandbox_server

        asyncio.run(sandbox_server.serve(folder, speed=speed, with_controller=not no_controller))


def _run(work: Coroutine[object, object, object]) -> None:
    import asyncio

    asyncio.run(work)


async def _send(sandbox_name: str, request: Request) -> Object:
    async with connected(Target(sandbox=True, sandbox_name=sandbox_name)) as client:
        return await client.send(request)


async def _add_node(sandbox_name: str, name: str, instance_type: str, labels: dict[str, str]) -> None:
    from kaitoctl.kube.objects import NODE
    from kaitoctl.sandbox.cluster import add_node
    from kaitoctl.sandbox.nodes import node

    obj = node(name, _shape(instance_type), instance_type=instance_type, labels=labels)
    async with connected(Target(sandbox=True, sandbox_name=sandbox_name)) as client:
        if (await client.list(NODE, field_selector=f"metadata.name={name}")).items:
            where = f"kaitoctl nodes --sandbox --sandbox-name {sandbox_name}"
            hint = f"give it another name; {where} shows what runs on this one"
            raise InputError(f"there is a node {name} already", hint=hint)
        await add_node(client, obj)


async def _add_gpu_nodes(sandbox_name: str, wanted: dict[str, int], labels: dict[str, str]) -> None:
    """Add what is missing up to the number wanted: `up` twice gives no more nodes than `up` once."""
    from kaitoctl.sandbox.cluster import add_node
    from kaitoctl.sandbox.nodes import node

    async with connected(Target(sandbox=True, sandbox_name=sandbox_name)) as client:
        for instance_type, count in wanted.items():
            base = instance_type.lower().replace("_", "-").replace(".", "-")
            for number in range(count):
                name = f"{base}-{number}"
                obj = node(name, _shape(instance_type), instance_type=instance_type, labels=labels)
                await add_node(client, obj)
                output.step(f"node/{name} is there")


async def _break(sandbox_name: str, name: str, how: str) -> None:
    from kaitoctl.kube import request
    from kaitoctl.kube.objects import NODE
    from kaitoctl.sandbox import nodes

    async with connected(Target(sandbox=True, sandbox_name=sandbox_name)) as client:
        present = await client.send(request.get(NODE, "", name))
        if how == "mended":
            changed = _mended(present)
        else:
            changed = nodes.broken(present, _damage(how))
        live = await client.send(request.replace(NODE, {**changed, "status": present["status"]}))
        version = live["metadata"]["resourceVersion"]
        changed = {**changed, "metadata": {**changed["metadata"], "resourceVersion": version}}
        await client.send(request.replace(NODE, changed, subresource="status"))


def _damage(how: str) -> Damage:
    from kaitoctl.sandbox.nodes import DAMAGES

    for damage in DAMAGES:
        if damage == how:
            return damage
    options.one_of(how, (*DAMAGES, "mended"), option="--how")
    raise AssertionError(how)


def _mended(broken: Object) -> Object:
    """The node as it was when it joined: what was broken is made anew from its instance type."""
    from kaitoctl.kube.objects import labels_of
    from kaitoctl.sandbox import nodes

    instance_type = labels_of(broken).get(nodes.LABEL_INSTANCE_TYPE, "")
    fresh = nodes.node(broken["metadata"]["name"], _shape(instance_type), instance_type=instance_type)
    spec = {key: value for key, value in broken["spec"].items() if key != "unschedulable"}
    labels = {**labels_of(fresh), **labels_of(broken)}
    metadata = {**broken["metadata"], "labels": labels}
    return {**broken, "metadata": metadata, "spec": spec, "status": fresh["status"]}


_MOST_GPU_NODES = 1000


def _gpu_nodes(items: Iterable[str]) -> dict[str, int]:
    wanted = {}
    for item in items:
        instance_type, separator, count = item.rpartition("=")
        if not separator or not re.fullmatch(r"[+-]?[0-9]+", count):
            raise InputError(f"--gpu-nodes {item[:80]!r}: write TYPE=N, such as Standard_NC12s_v3=2")
        if len(count) > 9 or not 0 < int(count) <= _MOST_GPU_NODES:
            raise InputError(f"--gpu-nodes {item[:80]!r}: from 1 to {_MOST_GPU_NODES} nodes of a type")
        _shape(instance_type)
        wanted[instance_type] = int(count)
    return wanted


def _shape(instance_type: str) -> InstanceShape:
    from kaitoctl.cli.sandbox_server import shapes
    from kaitoctl.kaito import catalog

    known = shapes()
    shape = known.get(instance_type)
    if shape is None:
        near = catalog.close_matches(instance_type, known)
        hint = f"did you mean {' or '.join(near)}?" if near else ""
        raise InputError(f'instance type "{instance_type}" is not in the catalog', hint=hint)
    return shape
