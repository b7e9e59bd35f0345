"""`kaitoctl sandbox ...`: a Kubernetes-compatible cluster simulated on this machine."""

from __future__ import annotations

import asyncio
import math
import re
import shlex
import shutil
from collections.abc import Iterable
from typing import TYPE_CHECKING

from kaitoctl.advice import NO_FLAGS, Command
from kaitoctl.commands import listing, option_values, sandbox_models, sandbox_process, sandbox_server
from kaitoctl.commands.cluster import connected
from kaitoctl.commands.sandbox_server import shapes
from kaitoctl.commands.target import Target
from kaitoctl.errors import InputError
from kaitoctl.kaito import catalog_file, hub_files
from kaitoctl.kaito.catalog import close_matches
from kaitoctl.kube import request
from kaitoctl.kube.objects import NODE, labels_of
from kaitoctl.sandbox import cluster as simulated_cluster
from kaitoctl.sandbox import nodes
from kaitoctl.sandbox.nodes import DAMAGES, node
from kaitoctl.screens import output

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from kaitoctl.kube.objects import Object
    from kaitoctl.kube.request import Request
    from kaitoctl.sandbox.nodes import Damage, InstanceShape


def up(
    *,
    gpu_nodes: list[str] | None,
    label: list[str] | None,
    speed: float,
    no_controller: bool,
    catalog: str | None,
    sandbox_name: str,
) -> None:
    """Start the sandbox in the background, with its state of last time."""
    if not math.isfinite(speed):
        raise InputError(f"--speed {speed}: that is not a number of seconds")
    known = shapes(catalog_file.read(catalog))
    wanted = _gpu_nodes(gpu_nodes or (), known)
    labels = option_values.labels(label or ())
    folder = sandbox_process.folder(sandbox_name)
    was_up = sandbox_process.is_up(folder) and not sandbox_process.is_outdated(folder)
    arguments = _arguments(speed, no_controller, catalog)
    kubeconfig = asyncio.run(sandbox_process.ensure_up(sandbox_name, arguments))
    if was_up:
        _say_options(folder, arguments)
    if wanted:
        _run(_add_gpu_nodes(sandbox_name, wanted, labels, known))
    real = ", ".join(sorted(sandbox_models.models(folder)))
    besides = f", but for those of {real}" if real else ""
    output.success(f"sandbox {sandbox_name} is up; pods in it are simulated{besides}")
    output.command(f"export KUBECONFIG={shlex.quote(str(kubeconfig))}")


def down(*, sandbox_name: str, delete: bool) -> None:
    """Stop the sandbox. Its state is kept for the next `up`, unless --delete is given."""
    stopped = sandbox_process.stop(sandbox_name)
    folder = sandbox_process.folder(sandbox_name)
    if delete and not folder.path.exists():
        output.step(f"there is no sandbox {sandbox_name}")
        return
    if delete:
        shutil.rmtree(folder.path, ignore_errors=True)
    elif not stopped and not folder.state.exists():
        raise InputError(f"there is no sandbox {sandbox_name}", hint="kaitoctl sandbox status lists them")
    words = "stopped" if stopped else "was not running"
    output.success(f"sandbox {sandbox_name} {words}" + (", its state is deleted" if delete else ""))


def status(*, output_format: str) -> None:
    """List the sandboxes of this machine."""
    rows: list[Object] = []
    for name in sandbox_process.names():
        folder = sandbox_process.folder(name)
        is_up = sandbox_process.is_up(folder)
        address = folder.read_server_file().get("address", "") if is_up else ""
        rows.append({"name": name, "up": is_up, "address": address, "kubeconfig": str(folder.kubeconfig)})
    if not rows and output_format in ("table", "wide"):
        output.step("there is no sandbox; kaitoctl sandbox up starts one")
        return
    listing.show(
        "sandboxes",
        rows,
        ("NAME", "STATE", "ADDRESS", "KUBECONFIG"),
        lambda one: (one["name"], "up" if one["up"] else "down", one["address"], one["kubeconfig"]),
        output_format,
    )


def kubeconfig(*, sandbox_name: str) -> None:
    """Print the path of the sandbox's kubeconfig."""
    folder = sandbox_process.folder(sandbox_name)
    if not folder.kubeconfig.exists():
        raise InputError(f"there is no sandbox {sandbox_name}", hint="kaitoctl sandbox up starts one")
    output.data(str(folder.kubeconfig))


def add_node(*, name: str, instance_type: str, label: list[str] | None, sandbox_name: str) -> None:
    """Add a GPU node."""
    option_values.node_name(name)
    _run(_add_node(sandbox_name, name, instance_type, option_values.labels(label or ())))
    output.data(f"node/{name} created")


def remove_node(*, name: str, sandbox_name: str) -> None:
    """Remove a node, as if its machine had gone."""
    option_values.node_name(name)
    _run(_send(sandbox_name, request.delete(NODE, "", name)))
    output.data(f"node/{name} deleted")


def break_node(*, name: str, how: str, sandbox_name: str) -> None:
    """Break a node."""
    option_values.node_name(name)
    damage = _damage(how)
    _run(_change_node(sandbox_name, name, lambda node: nodes.broken(node, damage)))
    output.data(f"node/{name} {how}")


def repair_node(*, name: str, sandbox_name: str) -> None:
    """Undo what `break_node` did."""
    option_values.node_name(name)
    _run(_change_node(sandbox_name, name, _repair))
    output.data(f"node/{name} repaired")


def serve(*, speed: float, no_controller: bool, catalog: str | None, sandbox_name: str) -> None:
    """Be the sandbox, in the foreground, until SIGTERM."""
    known = catalog_file.read(catalog)
    folder = sandbox_process.folder(sandbox_name)
    arguments = _arguments(speed, no_controller, catalog)
    with sandbox_process.hold(folder):
        asyncio.run(
            sandbox_server.serve(
                folder, known, speed=speed, with_controller=not no_controller, arguments=arguments
            )
        )


def _say_options(folder: sandbox_process.Folder, asked: list[str]) -> None:
    """That the sandbox runs already, and by which options where they are not those that are asked for."""
    by = [str(one) for one in folder.read_server_file().get("arguments") or ()]
    if by in ([], asked):
        output.step(f"sandbox {folder.name} is already running")
        return
    output.step(
        f"sandbox {folder.name} is already running, with {shlex.join(by)}: other options take effect after"
    )
    named = () if folder.name == "default" else ("--sandbox-name", folder.name)
    output.command(Command("kaitoctl sandbox down", *named).line(NO_FLAGS))


def _arguments(speed: float, no_controller: bool, catalog: str | None) -> list[str]:
    """The options of `sandbox serve` that say this, wherever it is run."""
    arguments = ["--speed", f"{speed:g}", *(["--no-controller"] if no_controller else [])]
    return [*arguments, *(["--catalog", hub_files.absolute(catalog)] if catalog else [])]


def _run(work: Coroutine[object, object, object]) -> None:
    asyncio.run(work)


async def _send(sandbox_name: str, request: Request) -> Object:
    async with connected(Target(sandbox=True, sandbox_name=sandbox_name)) as client:
        return await client.send(request)


async def _add_node(sandbox_name: str, name: str, instance_type: str, labels: dict[str, str]) -> None:
    obj = node(name, _shape(instance_type, shapes()), instance_type=instance_type, labels=labels)
    async with connected(Target(sandbox=True, sandbox_name=sandbox_name)) as client:
        if (await client.list(NODE, field_selector=f"metadata.name={name}")).items:
            hint = "give it another name; " + Command("kaitoctl nodes") + " shows what runs on this one"
            raise InputError(f"node {name} already exists", hint=hint)
        await simulated_cluster.add_node(client, obj)


async def _add_gpu_nodes(
    sandbox_name: str, wanted: dict[str, int], labels: dict[str, str], known: dict[str, InstanceShape]
) -> None:
    """Add what is missing up to the number wanted: `up` twice gives no more nodes than `up` once."""
    async with connected(Target(sandbox=True, sandbox_name=sandbox_name)) as client:
        for instance_type, count in wanted.items():
            base = instance_type.lower().replace("_", "-").replace(".", "-")
            for number in range(count):
                name = f"{base}-{number}"
                obj = node(name, known[instance_type], instance_type=instance_type, labels=labels)
                await simulated_cluster.add_node(client, obj)
                output.step(f"node/{name} created")


async def _change_node(sandbox_name: str, name: str, change: Callable[[Object], Object]) -> None:
    async with connected(Target(sandbox=True, sandbox_name=sandbox_name)) as client:
        present = await client.send(request.get(NODE, "", name))
        changed = change(present)
        live = await client.send(request.replace(NODE, {**changed, "status": present["status"]}))
        version = live["metadata"]["resourceVersion"]
        changed = {**changed, "metadata": {**changed["metadata"], "resourceVersion": version}}
        await client.send(request.replace(NODE, changed, subresource="status"))


def _damage(how: str) -> Damage:
    for damage in DAMAGES:
        if damage == how:
            return damage
    option_values.one_of(how, DAMAGES, option="--how")
    raise AssertionError(how)


def _repair(broken: Object) -> Object:
    """The node as it was when it joined: its instance type says what that was."""
    instance_type = labels_of(broken).get(nodes.LABEL_INSTANCE_TYPE, "")
    shape = _shape(instance_type, shapes())
    fresh = nodes.node(broken["metadata"]["name"], shape, instance_type=instance_type)
    spec = {key: value for key, value in broken["spec"].items() if key != "unschedulable"}
    labels = {**labels_of(fresh), **labels_of(broken)}
    metadata = {**broken["metadata"], "labels": labels}
    return {**broken, "metadata": metadata, "spec": spec, "status": fresh["status"]}


_MOST_GPU_NODES = 1000


def _gpu_nodes(items: Iterable[str], known: dict[str, InstanceShape]) -> dict[str, int]:
    wanted = {}
    for item in items:
        instance_type, separator, count = item.rpartition("=")
        if not separator or not re.fullmatch(r"[+-]?[0-9]+", count):
            raise InputError(f"--gpu-nodes {item[:80]!r}: write TYPE=N, such as Standard_NC12s_v3=2")
        if len(count) > 9 or not 0 < int(count) <= _MOST_GPU_NODES:
            raise InputError(f"--gpu-nodes {item[:80]!r}: from 1 to {_MOST_GPU_NODES} nodes of a type")
        _shape(instance_type, known)
        wanted[instance_type] = int(count)
    return wanted


def _shape(instance_type: str, known: dict[str, InstanceShape]) -> InstanceShape:
    shape = known.get(instance_type)
    if shape is None:
        near = close_matches(instance_type, known)
        hint = f"did you mean {' or '.join(near)}?" if near else ""
        raise InputError(f'instance type "{instance_type}" is not in the catalog', hint=hint)
    return shape
