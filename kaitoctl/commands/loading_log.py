"""The end of the log of the container that loads a model, read once or beside what is shown."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from kaitoctl.errors import ApiError, Unreachable
from kaitoctl.kaito.rollout import loading_pod
from kaitoctl.kube.objects import POD, dig

if TYPE_CHECKING:
    from kaitoctl.kaito.snapshot import Snapshot
    from kaitoctl.kube.client import Client
    from kaitoctl.kube.objects import Object

_AGAIN_S = 1.0
# Progress is written over and over in one line, of which limitBytes would keep the beginning.
_LINES, _BYTES = 3, 256 * 1024


async def read(client: Client, seen: Snapshot) -> str:
    """The last lines of the container that loads the model; empty when it cannot be read."""
    pod = loading_pod(seen.workspace, seen) if seen.workspace else None
    return "" if pod is None else await _tail(client, pod)


async def _tail(client: Client, pod: Object) -> str:
    statuses = dig(pod, "status", "containerStatuses") or ()
    unready = [item["name"] for item in statuses if not item.get("ready")]
    container = unready[0] if unready else dig(pod, "spec", "containers", 0, "name")
    query = {"container": container, "tailLines": str(_LINES), "limitBytes": str(_BYTES)}
    metadata = pod["metadata"]
    path = POD.path(metadata.get("namespace") or "", metadata["name"], "log")
    try:
        return await client.text(path, query)
    except (ApiError, Unreachable):
        return ""  # whoever may see pods need not see logs, and a kubelet may be out of reach


class LoadingLog:
    """The log while a rollout is followed; nothing waits for it.

    Args:
        client: the cluster.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._reading: asyncio.Task[str] | None = None
        self._text = ""
        self._pod = ""
        self._next_s = 0.0

    def text(self, seen: Snapshot) -> str:
        """What was read last of the pod that loads now; asks for more when that is a second old."""
        pod = loading_pod(seen.workspace, seen) if seen.workspace else None
        name = "" if pod is None else str(pod["metadata"]["name"])
        if name != self._pod:
            self.close()
            self._pod, self._text, self._next_s = name, "", 0.0
        if self._reading is not None and self._reading.done():
            self._text, self._reading = self._reading.result(), None
        now_s = asyncio.get_running_loop().time()
        if pod is not None and self._reading is None and now_s >= self._next_s:
            self._next_s = now_s + _AGAIN_S
            self._reading = asyncio.create_task(_tail(self._client, pod))
        return self._text

    def close(self) -> None:
        """Read no more."""
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None
