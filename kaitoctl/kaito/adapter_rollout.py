"""How a Workspace's pods take its adapters: which they have, and which are loaded. Pure.

An adapter is in three places, which need not agree: the Workspace says it, a pod has it, the model server has
loaded it. KAITO's controllers bring it into the pod in two ways, an init container of the adapter's own image
(up to v0.4, and ours), or `puller-NAME` (v0.12); a volume is mounted as `adapter-volume-NAME` (v0.12).

Source: KAITO v0.3.2, v0.4.0 and v0.12, `pkg/**/manifests.go`, and the model server
`presets/workspace/inference/text-generation/inference_api.py`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from kaitoctl.kaito.adapters import entries_of, entry_of, name_of, source_text
from kaitoctl.kaito.desired import ADAPTER_PATH
from kaitoctl.kaito.desired.volumes import STRENGTHS_VOLUME
from kaitoctl.kube import pod_state
from kaitoctl.kube.conditions import parse_timestamp
from kaitoctl.kube.objects import Object, by_name, dig, is_being_deleted

_PULLER = "puller-"
_VOLUME = "adapter-volume-"


class InPod(Struct, frozen=True):
    """What a pod has of an adapter.

    Args:
        container: the init container that fetches it; empty for a volume.
        image: that holds the adapter; empty when it does not show.
        strength: in the model server's environment; empty when it says nothing.
        state: `copied`, `mounted`, `copying`, `waiting`, or Kubernetes' word for what is wrong.
    """

    container: str
    image: str
    strength: str
    state: str

    @property
    def is_there(self) -> bool:
        """Whether the server can load it."""
        return self.state in ("copied", "mounted")


class Row(Struct, frozen=True):
    """One adapter: what is said, what is there, what is loaded.

    Args:
        name: of the adapter.
        source: where its files come from.
        strength: that the Workspace says; empty when it says none.
        is_asked_for: whether the Workspace has it.
        pods: what each current pod has of it, None for a pod without it; None when pods cannot be seen.
        loaded: whether the model server says that it has it; None when it was not asked, or does not say.
        at: the strength at which it says so; empty when it does not say.
    """

    name: str
    source: str
    strength: str
    is_asked_for: bool
    pods: tuple[InPod | None, ...] | None = ()
    loaded: bool | None = None
    at: str = ""

    @property
    def is_as_said(self) -> bool:
        """Whether every pod was made with what the Workspace says, as far as that can be seen."""
        if not self.is_asked_for:
            return not any(self.pods or ())
        return all(
            found is not None
            and (not self.strength or found.strength in ("", self.strength))
            and (not found.image or found.image == self.source)
            for found in self.pods or ()
        )

    @property
    def agrees(self) -> bool:
        """Whether every pod has what the Workspace says, ready to be loaded, as far as that can be seen."""
        if self.pods is None or not self.is_asked_for:
            return self.is_as_said
        is_there = all(found is not None and found.is_there for found in self.pods)
        return bool(self.pods) and self.is_as_said and is_there


def starts_without_adapters(workload: Object) -> bool:
    """Whether the command of a workload starts vLLM in a way in which it loads no adapter.

    Source: KAITO v0.4.6 to v0.12.0, `applyInference`: what exists gets mounts and containers, never flags.
    """
    main = dig(workload, "spec", "template", "spec", "containers", 0) or {}
    line = " ".join(map(str, main.get("command") or ()))
    return "vllm/inference_api.py" in line and "--enable-lora" not in line


def current(pods: Iterable[Object]) -> list[Object]:
    """The pods that count: neither finished nor on their way out."""
    return [pod for pod in pods if not is_being_deleted(pod) and not pod_state.is_finished(pod)]


def in_pod(workspace: Object, pod: Object) -> dict[str, InPod]:
    """The adapters of a pod, by name."""
    env = _environment(workspace, pod)
    statuses = by_name(dig(pod, "status", "initContainerStatuses"))
    found: dict[str, InPod] = {}
    for container in dig(pod, "spec", "initContainers") or ():
        if not any(mount.get("mountPath") == ADAPTER_PATH for mount in container.get("volumeMounts") or ()):
            continue
        name = str(container["name"]).removeprefix(_PULLER)
        image = str(container.get("image") or "")
        if name != container["name"]:
            image = _puller_image(container, entry_of(workspace, name))
        state = _state(statuses.get(container["name"]) or {})
        found[name] = InPod(container["name"], image, env.get(name, ""), state)
    for volume in dig(pod, "spec", "volumes") or ():
        name = str(volume.get("name") or "").removeprefix(_VOLUME)
        if name and name != volume["name"]:
            found[name] = InPod("", "", env.get(name, ""), "mounted")
    return found


def _puller_image(container: Object, entry: Object | None) -> str:
    """The image that a puller copies: that of the entry, if its script names it; empty without a script.

    Source: KAITO v0.12, `pkg/workspace/image/puller.go`; it drops the tag of a reference with a digest.
    """
    script = " ".join(map(str, container.get("args") or ()))
    image = source_text(entry) if entry else ""
    if not script or not image:
        return ""
    wanted = image.rpartition("@")[2]
    return image if re.search(rf"{re.escape(wanted)}(?![\w.-])", script) else "another"


def _environment(workspace: Object, pod: Object) -> dict[str, str]:
    main = by_name(dig(pod, "spec", "containers")).get(workspace["metadata"]["name"]) or {}
    return {item["name"]: str(item.get("value") or "") for item in main.get("env") or ()}


def _state(status: Object) -> str:
    state = status.get("state") or {}
    if (ended := state.get("terminated")) is not None:
        code = ended.get("exitCode")
        if code is None:
            return "ended, and its exit code is unknown"
        return "copied" if code == 0 else f"failed with exit code {code}"
    if state.get("running") is not None:
        return "copying"
    reason = str(dig(state, "waiting", "reason") or "")
    return "waiting" if reason in ("", "PodInitializing", "ContainerCreating") else reason


def rows(
    workspace: Object, pods: Sequence[Object] | None, loaded: Collection[str] | None = None
) -> list[Row]:
    """Every adapter that the Workspace says or a pod has: those said first, in their order.

    Args:
        workspace: the Workspace.
        pods: its current ones, None when they cannot be seen.
        loaded: the names that the model server says it has loaded; None when it does not say.
    """
    here = [in_pod(workspace, pod) for pod in pods or ()]
    said = {name_of(item): item for item in entries_of(workspace)}
    names = dict.fromkeys([*said, *(name for found in here for name in found)])
    made = []
    for name in names:
        item = said.get(name)
        found = tuple(adapters.get(name) for adapters in here)
        source = source_text(item) if item else next((one.image for one in found if one and one.image), "")
        strength = "" if item is None or item.get("strength") is None else str(item["strength"])
        is_loaded = None if loaded is None else name in loaded
        in_pods = None if pods is None else found
        made.append(Row(name, source, strength, item is not None, in_pods, is_loaded))
    return made


def has_arrived(workspace: Object, pods: Iterable[Object]) -> bool:
    """Whether the current pods have exactly the adapters that the Workspace says.

    Ready pods alone do not tell: right after a change the old ones still serve.
    """
    here = current(pods)
    return bool(here) and all(row.agrees for row in rows(workspace, here))


def are_from_before(workspace: Object, pods: Iterable[Object]) -> bool:
    """Whether current pods were made for other adapters: what fails in them says nothing of these."""
    return not all(row.is_as_said for row in rows(workspace, current(pods)))


def rows_by_strength(
    workspace: Object, pods: Sequence[Object], servers: Sequence[Mapping[str, float]]
) -> list[Row]:
    """Every adapter, and the strengths at which the servers have loaded it.

    Args:
        workspace: the Workspace.
        pods: its current ones.
        servers: strength by adapter, as each ready server says it; not empty.

    Returns:
        rows that are loaded where every server has the adapter, at the strength that the Workspace says.
    """
    made = []
    for row in rows(workspace, pods, ()):
        found = [server[row.name] for server in servers if row.name in server]
        at = "/".join(f"{strength:g}" for strength in dict.fromkeys(found))
        wanted = _number(row.strength or "1.0") if row.is_asked_for else None
        is_loaded = len(found) == len(servers) and (
            wanted is None or all(math.isclose(item, wanted) for item in found)
        )
        made.append(replace(row, loaded=is_loaded, at=at))
    return made


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


# --- loaded ------------------------------------------------------------------------------------------------

# Source: KAITO, inference_api.py of the transformers runtime.
_ADDED = re.compile(r"Adapter added: (?P<names>.+)")
_BASE_MODEL_ONLY = "Did not find any valid adapters mounted"


def loaded_by_log(log: str) -> list[str] | None:
    """The adapters that the transformers server says it has merged; None when it does not say.

    It takes only those whose files have an `adapter_config.json`, and goes on without a word about others.
    """
    told: list[str] | None = None
    for line in log.splitlines():
        if found := _ADDED.search(line):
            told = [name.strip() for name in found["names"].split(",")]
        elif _BASE_MODEL_ONLY in line:
            told = []
    return told


_OUR_SERVER = "A model server on this machine's CPU, run by kaitoctl"


def is_our_server(log: str) -> bool:
    """Whether a log is that of kaitoctl's own model server, which says strengths in its /v1/models."""
    return log.startswith(_OUR_SERVER)


def is_our_servers(answer: Any) -> bool:
    """Whether an answer to `/v1/models` is that of our own server, be it without adapters."""
    data = answer.get("data") if isinstance(answer, dict) else None
    model = data[0] if isinstance(data, list) and data else None
    return isinstance(model, dict) and isinstance(model.get("adapters"), list)


def strengths_by_models(answer: Any) -> dict[str, float]:
    """Strength by adapter in our own server's answer to `/v1/models`."""
    data = answer.get("data") if isinstance(answer, dict) else None
    model = data[0] if isinstance(data, list) and data else None
    found = model.get("adapters") if isinstance(model, dict) else None
    return {
        str(item.get("name")): float(item["strength"])
        for item in (found if isinstance(found, list) else ())
        if isinstance(item, dict) and isinstance(item.get("strength"), int | float)
    }


def loaded_by_models(answer: Any) -> list[str] | None:
    """The adapters in vLLM's answer to `/v1/models`: the models with a parent; None for anything else."""
    models = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(models, list):
        return None
    return [
        str(item["id"]) for item in models if isinstance(item, dict) and item.get("id") and item.get("parent")
    ]


def follow_strengths(pods: Iterable[Object]) -> bool:
    """Whether pods read their strengths while they run, so that a change of one needs no new pod."""
    here = [by_name(dig(pod, "spec", "volumes")) for pod in pods]
    return bool(here) and all(STRENGTHS_VOLUME in volumes for volumes in here)


def took_s(pods: Iterable[Object]) -> float | None:
    """Seconds that the slowest of the ready pods took from its node to Ready; None when none tells.

    A pod whose containers were started again tells nothing of a first start.
    """
    found = []
    for pod in filter(pod_state.is_ready, pods):
        since = {
            item.get("type"): item.get("lastTransitionTime") for item in dig(pod, "status", "conditions")
        }
        again = any(item.get("restartCount") for item in dig(pod, "status", "containerStatuses") or ())
        if not again and since.get("PodScheduled") and since.get("Ready"):
            begun, ready = parse_timestamp(since["PodScheduled"]), parse_timestamp(since["Ready"])
            found.append((ready - begun).total_seconds())
    return max((seconds for seconds in found if seconds > 0), default=None)


def is_on_vllm(pods: Iterable[Object], workspace: Object) -> bool | None:
    """Whether the pods' model server is vLLM, by its command; None when there is none to look at."""
    name = workspace["metadata"]["name"]
    for pod in pods:
        if main := by_name(dig(pod, "spec", "containers")).get(name):
            return "vllm" in " ".join(map(str, [*(main.get("command") or ()), *(main.get("args") or ())]))
    return None
