"""Why a controller's pods are not ready: what the first of them says, and the end of its log."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING

from msgspec import Struct

from kaitoctl.advice import Advice, Command
from kaitoctl.errors import ApiError
from kaitoctl.kaito.secrecy import without_secrets
from kaitoctl.kube import pod_state
from kaitoctl.kube.objects import POD, Object, creation_time_of, dig

if TYPE_CHECKING:
    from kaitoctl.kaito.installation import Installed
    from kaitoctl.kube.client import Client

_ENDED = ("CrashLoopBackOff", "Error", "Completed", "ContainerCannotRun")
_LOG_LINES = "100"
# What a manager of controller-runtime gives up for, some lines before it says that it does.
_ROOTS = re.compile(r"is forbidden: User|no matches for kind|^panic: ")


class Halt(Struct, frozen=True):
    """What keeps a controller's pod from running.

    Args:
        words: the pod, its container, and Kubernetes' or its own words.
        hint: what to do, with where to look.
    """

    words: str
    hint: Advice


async def halt_of(client: Client, one: Installed) -> Halt | None:
    """Why no pod of a controller is ready; None when one is, there is none, or they may not be listed."""
    if one.ready or not one.wanted or not one.selector:
        return None
    try:
        pods = (await client.list(POD, one.namespace, label_selector=one.selector)).items
    except ApiError:
        return None
    for pod in sorted(pods, key=creation_time_of, reverse=True):
        if (trouble := pod_state.trouble(pod)) is not None:
            halt = await _halt(client, one.namespace, pod, trouble)
            return Halt(" ".join(str(without_secrets(halt.words)).split()), halt.hint)
    return None


async def words_of(client: Client, one: Installed) -> str:
    """One line about a controller, with why it does not run."""
    halt = await halt_of(client, one)
    return f"{one.words_with_provisioner}; {halt.words}" if halt else one.words_with_provisioner


async def _halt(client: Client, namespace: str, pod: Object, trouble: pod_state.Trouble) -> Halt:
    name = str(pod["metadata"]["name"])
    item = next((one for one in pod_state.container_statuses(pod) if one["name"] == trouble.container), {})
    ended = dig(item, "lastState", "terminated") or dig(item, "state", "terminated") or {}
    describe = Command("kubectl describe pod", name, "-n", namespace)
    words = f"pod {name}: {trouble.reason}: {trouble.message}"
    if ended.get("reason") == "OOMKilled":
        limit = _memory_limit(pod, trouble.container)
        words = f"pod {name}: container {trouble.container} is OOMKilled" + (f" at {limit}" if limit else "")
        return Halt(words, "raise its memory limit, in the values of its chart: " + describe)
    if trouble.reason in _ENDED:
        is_first = not (item.get("restartCount") or dig(item, "lastState", "terminated"))
        which = () if is_first else ("--previous",)
        log = Command("kubectl logs", name, "-n", namespace, "-c", trouble.container, *which)
        said = await _last_error(client, namespace, name, trouble.container, is_first=is_first)
        words += f"; its log: {said}" if said else ""
        return Halt(words, "its log says more: " + log)
    if trouble.reason == "Unschedulable":
        return Halt(words, "make room for it on a node that may take it: " + describe)
    return Halt(words, "check what the message names: " + describe)


def _memory_limit(pod: Object, container: str) -> str:
    specs = (one for one in dig(pod, "spec", "containers") or () if one.get("name") == container)
    return str(next((dig(one, "resources", "limits", "memory") or "" for one in specs), ""))


async def _last_error(client: Client, namespace: str, pod: str, container: str, *, is_first: bool) -> str:
    from kaitoctl.kaito.diagnosis import of_logs  # most controllers run

    path = POD.path(namespace, pod, "log")
    text = ""
    with suppress(ApiError):
        query = {"container": container, "tailLines": _LOG_LINES, "previous": "false" if is_first else "true"}
        text = await client.text(path, query)
    if pod_state.log_failure(text):
        return ""
    if roots := [line for line in text.splitlines() if _ROOTS.search(line)]:
        return of_logs.printable_line(roots[-1])
    return of_logs.last_error(text) or next(iter(of_logs.last_lines(text, 1)), "")
