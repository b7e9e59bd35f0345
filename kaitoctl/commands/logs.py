"""`kaitoctl logs`: the logs of a Workspace's containers, those of the model server by default."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from kaitoctl.advice import Command
from kaitoctl.commands import option_values
from kaitoctl.commands.cluster import connected
from kaitoctl.commands.name_lookup import workspace_or_fleet
from kaitoctl.commands.observe_workspace import snapshot_of
from kaitoctl.commands.option_values import Named, parse_name
from kaitoctl.commands.target import Target
from kaitoctl.errors import ApiError, InputError, Interrupted, NegativeAnswer
from kaitoctl.kaito import api, catalog
from kaitoctl.kaito.rollout import current_pods
from kaitoctl.kaito.snapshot import Snapshot
from kaitoctl.kube.objects import POD, dig, is_being_deleted, key_of, labels_of
from kaitoctl.kube.pod_state import container_specs, container_statuses
from kaitoctl.kube.request import Request
from kaitoctl.screens import output

if TYPE_CHECKING:
    from kaitoctl.kube.client import Client
    from kaitoctl.kube.objects import Object


def logs(
    *,
    name: str,
    adapter: str,
    container: str,
    pod: str,
    previous: bool,
    follow: bool,
    tail: int,
    since: str | None,
    target: Target,
) -> None:
    """Show the logs of a Workspace's model server, or of the container that copies an adapter."""
    if adapter and container:
        raise InputError("--adapter and --container name two containers; give one of them")
    if follow and previous:
        raise InputError("-f and --previous exclude each other: a container that has ended writes no more")
    query = {"previous": "true"} if previous else {}
    if follow:
        query["follow"] = "true"
    if tail >= 0:
        query["tailLines"] = str(tail)
    if since is not None:
        query["sinceSeconds"] = str(max(1, int(option_values.duration_s(since, option="--since"))))
    try:
        asyncio.run(_logs(target, parse_name(name), adapter, container, pod, query))
    except KeyboardInterrupt:
        raise Interrupted("interrupted") from None


async def _logs(
    target: Target, asked: Named, adapter: str, container: str, only: str, query: dict[str, str]
) -> None:
    async with connected(target) as client:
        seen = await workspace_or_fleet(client, asked, snapshot_of)
        if not isinstance(seen, Snapshot):
            from kaitoctl.commands.chosen_replica import replica_for  # most names are those of Workspaces

            seen = await snapshot_of(client, replica_for(seen, only))
        assert seen.workspace is not None
        name = key_of(seen.workspace).name
        chosen = [(pod, _container(pod, name, adapter, container)) for pod in _pods(seen, name, only)]
        if query.get("follow"):
            output.end_unread()
            await asyncio.gather(*(_print_log(client, pod, of, query, len(chosen) > 1) for pod, of in chosen))
        else:
            for pod, of in chosen:
                await _print_log(client, pod, of, query, len(chosen) > 1)


def _pods(seen: Snapshot, name: str, only: str) -> Sequence[Object]:
    """The pods whose logs are meant: those of the current spec."""
    assert seen.workspace is not None
    if only:
        found = [pod for pod in seen.pods if key_of(pod).name == only]
        if not found:
            names = ", ".join(sorted(key_of(pod).name for pod in seen.pods)) or "none"
            raise InputError(f"Workspace {name} has no pod {only}", hint=f"its pods: {names}")
        return found
    if "pods" in seen.unseen:
        raise NegativeAnswer(f"the pods of {name} cannot be listed: {seen.unseen['pods']}")
    alive = [pod for pod in seen.pods if not is_being_deleted(pod)]
    found = current_pods(seen.workspace, seen) or alive or list(seen.pods)
    if not found:
        hint = Command("kaitoctl why", name, "-n", key_of(seen.workspace).namespace)
        raise NegativeAnswer(f"Workspace {name} has no pods yet", hint=hint)
    return sorted(found, key=lambda pod: key_of(pod).name)


def _container(pod: Object, name: str, adapter: str, container: str) -> str:
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


async def _print_log(
    client: Client, pod: Object, container: str, query: dict[str, str], prefixed: bool
) -> None:
    key = key_of(pod)
    asking = Request("GET", POD.path(key.namespace, key.name, "log"), query={"container": container, **query})
    prefix = f"{key.name}: " if prefixed else ""
    silent_s = 7 * 86_400.0 if query.get("follow") else 300.0
    rest, written = b"", False
    try:
        async for chunk in client.stream(asking, silent_s=silent_s):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                written = True
                output.data(prefix + output.passage(line.decode(errors="replace")))
        if rest:
            written = True
            output.data(prefix + output.passage(rest.decode(errors="replace")))
    except ApiError as error:
        if error.status == 400:  # it has not run yet, or not before
            raise NegativeAnswer(
                f"pod {key.name}: {error.message}",
                hint=Command(
                    "kaitoctl events", str(labels_of(pod).get(api.LABEL_WORKSPACE)), "-n", key.namespace
                ),
            ) from None
        raise
    if written:
        return
    for item in container_statuses(pod):
        reason = dig(item, "state", "waiting", "reason")
        if item["name"] == container and reason:
            output.warning(f"pod {key.name}: container {container} has no logs: {reason}")
