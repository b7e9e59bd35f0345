"""The strength of an adapter on servers that run: of our own runtime, which merges for each request."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from kaitoctl.advice import Command
from kaitoctl.commands import adapter_messages as words
from kaitoctl.commands import model_server
from kaitoctl.commands import observe_adapters as look
from kaitoctl.errors import ApiError, InputError, NegativeAnswer
from kaitoctl.kaito import adapter_rollout
from kaitoctl.kube import pod_state
from kaitoctl.kube.objects import POD, key_of
from kaitoctl.kube.request import Request
from kaitoctl.screens import output

if TYPE_CHECKING:
    from kaitoctl.kube.client import Client
    from kaitoctl.kube.objects import Object


async def set_live(client: Client, workspace_name: str, name: str, strength: str) -> None:
    """Set it on every ready server, and show what the servers then say.

    Raises:
        InputError: a server is not ours, or has not loaded the adapter; nothing was changed.
        NegativeAnswer: no server is ready, or one did not take it.
    """
    workspace = await look.workspace_named(client, workspace_name)
    key = key_of(workspace)
    ready = [pod for pod in await look.pods_of(client, workspace) or () if pod_state.is_ready(pod)]
    if not ready:
        raise NegativeAnswer(
            f"no model server of Workspace {key} is ready",
            hint=Command("kaitoctl why", key.name, "-n", key.namespace),
        )
    found = [(pod, await _strengths(client, key.name, pod)) for pod in ready]
    for pod, strengths in found:
        if name not in strengths:
            known = f"it has loaded {', '.join(strengths)}" if strengths else "it has loaded none"
            raise InputError(f"the server of pod {key_of(pod).name} has no adapter {name}", hint=known)
    for pod, strengths in found:
        wanted = {**strengths, name: float(strength)}
        body = [{"name": item, "scale": scale} for item, scale in wanted.items()]
        asking = Request("POST", f"{_proxy(pod)}/lora-adapters", body=body)
        try:
            async for _ in client.stream(asking):
                pass
        except ApiError as error:
            raise model_server.explain_refusal(error, _proxy(pod)) from error
    servers = [await _strengths(client, key.name, pod) for pod in ready]
    words.show_rows(adapter_rollout.rows_by_strength(workspace, ready, servers))
    if any(server.get(name) != float(strength) for server in servers):
        raise NegativeAnswer(f"not every server has taken {name} at {strength}")
    count = "1 running server" if len(ready) == 1 else f"{len(ready)} running servers"
    output.success(f"{name} is at {strength} on {count}; nothing restarted")


async def _strengths(client: Client, workspace: str, pod: Object) -> dict[str, float]:
    """The strengths that a pod's server says.

    Raises:
        InputError: it is not ours.
    """
    try:
        text = await client.text(f"{_proxy(pod)}/v1/models")
        answer: Any = json.loads(text)
    except ApiError as error:
        if error.status in (401, 403, 503):
            raise model_server.explain_refusal(error, _proxy(pod)) from error
        answer = None
    except ValueError:
        answer = None
    if not adapter_rollout.is_our_servers(answer):
        raise InputError(
            f"the model server of Workspace {workspace} merges adapters when it starts: a strength cannot "
            "change while it runs",
            hint="without --live, set-adapter recreates the pod",
        )
    return adapter_rollout.strengths_by_models(answer)


def _proxy(pod: Object) -> str:
    return f"{POD.path(*key_of(pod))}:5000/proxy"
