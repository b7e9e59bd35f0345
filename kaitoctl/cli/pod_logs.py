"""`kaitoctl logs`: what the containers of a Workspace say; the right one without being told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from kaitoctl.cli import complete, options, output
from kaitoctl.cli.connect import Context, Kubeconfig, Namespace, Sandbox, SandboxName, Target, connected
from kaitoctl.errors import ApiError, InputError, Interrupted, NegativeAnswer

if TYPE_CHECKING:
    from kaitoctl.kaito.snapshot import Snapshot
    from kaitoctl.kube.client import Client
    from kaitoctl.kube.objects import Object

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def logs(
    name: Annotated[
        str, typer.Argument(help="The Workspace.", metavar="WORKSPACE", autocompletion=complete.workspaces)
    ],
    adapter: Annotated[
        str,
        typer.Option("--adapter", help="What copied this adapter, instead of the server.", metavar="NAME"),
    ] = "",
    container: Annotated[
        str, typer.Option("--container", "-c", help="Another container.", metavar="NAME")
    ] = "",
    pod: Annotated[str, typer.Option("--pod", help="Only this pod.", metavar="NAME")] = "",
    previous: Annotated[
        bool, typer.Option("--previous", "-p", help="Of the run before the last crash.")
    ] = False,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as more is said.")] = False,
    tail: Annotated[int, typer.Option("--tail", help="The last lines only; -1 for all.", min=-1)] = -1,
    since: Annotated[str | None, typer.Option("--since", help="Not older than.", metavar="DURATION")] = None,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    sandbox: Sandbox = False,
    sandbox_name: SandboxName = "default",
) -> None:
    """Print the log of a Workspace's model server, or of what copies an adapter.

    Of several pods each line begins with the pod's name.

    Example: kaitoctl logs workspace-falcon-7b --previous
    """
    import asyncio

    if adapter and container:
        raise InputError("--adapter and --container name two containers; give one of them")
    if follow and previous:
        raise InputError("a run that has ended cannot be followed: leave -f or --previous out")
    query = {"previous": "true"} if previous else {}
    if follow:
        query["follow"] = "true"
    if tail >= 0:
        query["tailLines"] = str(tail)
    if since is not None:
        query["sinceSeconds"] = str(max(1, int(options.duration_s(since, option="--since"))))
    target = Target(namespace, context, kubeconfig, sandbox, sandbox_name)
    try:
        asyncio.run(_logs(target, options.workspace_name(name), adapter, container, pod, query))
    except KeyboardInterrupt:
        raise Interrupted("interrupted") from None


async def _logs(
    target: Target, name: str, adapter: str, container: str, only: str, query: dict[str, str]
) -> None:
    import asyncio

    from kaitoctl.cli import look
    from kaitoctl.kube.objects import ObjectKey

    async with connected(target) as client:
        seen = await look.once(client, ObjectKey(client.namespace, name))
        chosen = [(pod, _container(pod, name, adapter, container)) for pod in _pods(seen, name, only)]
        if query.get("follow"):
            output.end_unread()
            await asyncio.gather(*(_say(client, pod, of, query, len(chosen) > 1) for pod, of in chosen))
        else:
            for pod, of in chosen:
                await _say(client, pod, of, query, len(chosen) > 1)


def _pods(seen: Snapshot, name: str, only: str) -> Sequence[Object]:
    """The pods whose logs are meant: those of the present spec."""
    from kaitoctl.kaito.rollout import current_pods
    from kaitoctl.kube.objects import is_being_deleted, key_of

    assert seen.workspace is not None
    if only:
        found = [pod for pod in seen.pods if key_of(pod).name == only]
        if not found:
            names = ", ".join(sorted(key_of(pod).name for pod in seen.pods)) or "none"
            raise InputError(f"Workspace {name} has no pod {only}", hint=f"its pods: {names}")
        return found
    if "pods" in seen.unseen:
        raise NegativeAnswer(f"the pods of {name} cannot be seen: {seen.unseen['pods']}")
    alive = [pod for pod in seen.pods if not is_being_deleted(pod)]
    found = current_pods(seen.workspace, seen) or alive or list(seen.pods)
    if not found:
        hint = f"kaitoctl why {name} -n {key_of(seen.workspace).namespace}"
        raise NegativeAnswer(f"Workspace {name} has no pods yet", hint=hint)
    return sorted(found, key=lambda pod: key_of(pod).name)


def _container(pod: Object, name: str, adapter: str, container: str) -> str:
    from kaitoctl.kaito import catalog
    from kaitoctl.kube.pods import container_specs

    names = [str(spec["name"]) for spec in container_specs(pod)]
    wanted = [container] if container else [adapter, f"puller-{adapter}"] if adapter else [name]
    for one in wanted:
        if one in names:
            return one
    if container or adapter:
        what = f"adapter {adapter}" if adapter else f"container {container}"
        near = catalog.close_matches(container or adapter, names)
        hint = f"did you mean {near[0]}?" if near else f"its containers: {', '.join(names)}"
        raise InputError(f"pod {pod['metadata']['name']} has no {what}", hint=hint)
    mains = [str(spec["name"]) for spec in pod["spec"].get("containers") or ()]
    return mains[0]


async def _say(client: Client, pod: Object, container: str, query: dict[str, str], prefixed: bool) -> None:
    from kaitoctl.kaito import api
    from kaitoctl.kube.objects import POD, dig, key_of, labels_of
    from kaitoctl.kube.pods import container_statuses
    from kaitoctl.kube.request import Request

    key = key_of(pod)
    asking = Request("GET", POD.path(key.namespace, key.name, "log"), query={"container": container, **query})
    prefix = f"{key.name}: " if prefixed else ""
    silent_s = 7 * 86_400.0 if query.get("follow") else 300.0
    rest, said = b"", False
    try:
        async for chunk in client.stream(asking, silent_s=silent_s):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                said = True
                output.data(prefix + output.passage(line.decode(errors="replace")))
        if rest:
            said = True
            output.data(prefix + output.passage(rest.decode(errors="replace")))
    except ApiError as error:
        if error.status == 400:  # it has not run yet, or not before
            raise NegativeAnswer(
                f"pod {key.name}: {error.message}",
                hint=f"kaitoctl events {labels_of(pod).get(api.LABEL_WORKSPACE)} -n {key.namespace}",
            ) from None
        raise
    if said:
        return
    for item in container_statuses(pod):
        reason = dig(item, "state", "waiting", "reason")
        if item["name"] == container and reason:
            output.warning(f"pod {key.name}: container {container} has said nothing: {reason}")
