"""How a Workspace's pods take its adapters: which they have, which are loaded, and why not. Pure.

An adapter is in three places, which need not agree: the Workspace says it, a pod has it, the model server has
loaded it. KAITO's controllers bring it into the pod in two ways, an init container of the adapter's own image
(up to v0.4, and ours), or `puller-NAME` (v0.12); a volume is mounted as `adapter-volume-NAME` (v0.12).

Source: KAITO v0.3.2, v0.4.0 and v0.12, `pkg/**/manifests.go`, and the model server
`presets/workspace/inference/text-generation/inference_api.py`.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from kaitoctl.kaito.adapters import entries_of, name_of, source_text
from kaitoctl.kaito.desired import ADAPTER_PATH
from kaitoctl.kube import pods as pods_
from kaitoctl.kube.conditions import parse_timestamp
from kaitoctl.kube.objects import Object, by_name, dig, is_being_deleted

_PULLER = "puller-"
_VOLUME = "adapter-volume-"


@dataclass(frozen=True, slots=True)
class InPod:
    """What a pod has of an adapter.

    Args:
        container: the init container that fetches it; empty for a volume.
        image: of that container, when it is the adapter's own.
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


@dataclass(frozen=True, slots=True)
class Row:
    """One adapter: what is said, what is there, what is loaded.

    Args:
        name: of the adapter.
        source: where its files come from.
        strength: that the Workspace says; empty when it says none.
        is_asked_for: whether the Workspace has it.
        pods: what each current pod has of it, None for a pod without it.
        loaded: whether the model server says that it has it; None when it was not asked, or does not say.
    """

    name: str
    source: str
    strength: str
    is_asked_for: bool
    pods: tuple[InPod | None, ...] = ()
    loaded: bool | None = None

    @property
    def agrees(self) -> bool:
        """Whether every pod has what the Workspace says."""
        if not self.is_asked_for:
            return not any(self.pods)
        return bool(self.pods) and all(
            found is not None
            and found.is_there
            and (not self.strength or found.strength in ("", self.strength))
            and (not found.image or found.image == self.source)
            for found in self.pods
        )


def current(pods: Iterable[Object]) -> list[Object]:
    """The pods that count: neither finished nor on their way out."""
    return [pod for pod in pods if not is_being_deleted(pod) and not pods_.is_finished(pod)]


def in_pod(workspace: Object, pod: Object) -> dict[str, InPod]:
    """The adapters of a pod, by name."""
    env = _environment(workspace, pod)
    statuses = by_name(dig(pod, "status", "initContainerStatuses"))
    found: dict[str, InPod] = {}
    for container in dig(pod, "spec", "initContainers") or ():
        if not any(mount.get("mountPath") == ADAPTER_PATH for mount in container.get("volumeMounts") or ()):
            continue
        is_puller = str(container["name"]).startswith(_PULLER)
        name = str(container["name"]).removeprefix(_PULLER)
        image = "" if is_puller else str(container.get("image") or "")
        state = _state(statuses.get(container["name"]) or {})
        found[name] = InPod(container["name"], image, env.get(name, ""), state)
    for volume in dig(pod, "spec", "volumes") or ():
        name = str(volume.get("name") or "").removeprefix(_VOLUME)
        if name and name != volume["name"]:
            found[name] = InPod("", "", env.get(name, ""), "mounted")
    return found


def _environment(workspace: Object, pod: Object) -> dict[str, str]:
    main = by_name(dig(pod, "spec", "containers")).get(workspace["metadata"]["name"]) or {}
    return {item["name"]: str(item.get("value") or "") for item in main.get("env") or ()}


def _state(status: Object) -> str:
    state = status.get("state") or {}
    if (ended := state.get("terminated")) is not None:
        code = ended.get("exitCode")
        return "copied" if code == 0 else f"failed with exit code {code}"
    if state.get("running") is not None:
        return "copying"
    reason = str(dig(state, "waiting", "reason") or "")
    return "waiting" if reason in ("", "PodInitializing", "ContainerCreating") else reason


def rows(workspace: Object, pods: Sequence[Object], loaded: Collection[str] | None = None) -> list[Row]:
    """Every adapter that the Workspace says or a pod has: those said first, in their order.

    Args:
        workspace: the Workspace.
        pods: its current ones.
        loaded: the names that the model server says it has loaded; None when it does not say.
    """
    here = [in_pod(workspace, pod) for pod in pods]
    said = {name_of(item): item for item in entries_of(workspace)}
    names = dict.fromkeys([*said, *(name for found in here for name in found)])
    made = []
    for name in names:
        item = said.get(name)
        found = tuple(adapters.get(name) for adapters in here)
        source = source_text(item) if item else next((one.image for one in found if one and one.image), "")
        strength = "" if item is None or item.get("strength") is None else str(item["strength"])
        is_loaded = None if loaded is None else name in loaded
        made.append(Row(name, source, strength, item is not None, found, is_loaded))
    return made


def has_arrived(workspace: Object, pods: Iterable[Object]) -> bool:
    """Whether the current pods have exactly the adapters that the Workspace says.

    Ready pods alone do not tell: right after a change the old ones still serve.
    """
    here = current(pods)
    return bool(here) and all(row.agrees for row in rows(workspace, here))


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


def loaded_by_models(answer: Any) -> list[str] | None:
    """The adapters in vLLM's answer to `/v1/models`: the models with a parent; None for anything else."""
    models = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(models, list):
        return None
    return [
        str(item["id"]) for item in models if isinstance(item, dict) and item.get("id") and item.get("parent")
    ]


def took_s(pods: Iterable[Object]) -> float | None:
    """Seconds that the slowest of the ready pods took from its node to Ready; None when none tells.

    A pod whose containers were started again tells nothing of a first start.
    """
    found = []
    for pod in filter(pods_.is_ready, pods):
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


# --- what went wrong ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Suspect:
    """The container that keeps a pod from serving.

    Args:
        pod: its name.
        container: its name.
        adapter: the adapter that it fetches, empty for any other container.
        has_run: whether it has a log.
        trouble: what Kubernetes says.
    """

    pod: str
    container: str
    adapter: str
    has_run: bool
    trouble: pods_.Trouble


@dataclass(frozen=True, slots=True)
class Cause:
    """Why adapters did not get to the model.

    Args:
        adapter: whose fault it is; empty when that cannot be told.
        message: what is wrong, in one line.
        hint: what mends it; empty when that cannot be told.
        words: the last ones of the container, if they help.
    """

    adapter: str
    message: str
    hint: str = ""
    words: tuple[str, ...] = ()


def suspect(workspace: Object, pods: Iterable[Object]) -> Suspect | None:
    """The first container, of the newest pod first, that does not get on; None when all do."""
    newest = sorted(
        current(pods), key=lambda pod: str(pod["metadata"].get("creationTimestamp") or ""), reverse=True
    )
    for pod in newest:
        found = pods_.trouble(pod)
        if found is None or not found.container:
            continue
        adapters = {item.container: name for name, item in in_pod(workspace, pod).items()}
        status = pod.get("status") or {}
        statuses = by_name(
            [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
        )
        has_run = bool((statuses.get(found.container) or {}).get("containerID"))
        name = pod["metadata"]["name"]
        return Suspect(name, found.container, adapters.get(found.container, ""), has_run, found)
    return None


_NOT_FOUND = re.compile(r"not ?found|manifest unknown|does not exist|name unknown|\b404\b", re.IGNORECASE)
_NOT_ALLOWED = re.compile(
    r"\b40[13]\b|unauthori[sz]ed|authentication required|authorization failed|denied|forbidden|no basic auth",
    re.IGNORECASE,
)
_NOT_REACHED = re.compile(
    r"no such host|i/o timeout|connection refused|connection reset|network is unreachable|x509|tls:|"
    r"server misbehaving|deadline exceeded|temporary failure in name resolution",
    re.IGNORECASE,
)
_PULLING = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "RegistryUnavailable", "InvalidImageName"}
)
_EMPTY = re.compile(r"no files (found )?in (/data|the data)|can(no|')t stat '?/data", re.IGNORECASE)
_NO_SHELL = re.compile(
    r"exec: \"?[^\"]*\"?: (stat|executable file not found|no such file)|no such file or dir", re.I
)
_WRONG_ARCHITECTURE = re.compile(r"exec format error|no match for platform", re.IGNORECASE)
_DISK_FULL = re.compile(r"no space left on device", re.IGNORECASE)
_GPU_FULL = re.compile(r"CUDA out of memory|OutOfMemoryError", re.IGNORECASE)
# Source: the messages of PyTorch, PEFT and vLLM.
_MISMATCH = re.compile(
    r"size mismatch for|Error\(s\) in loading state_dict|Target modules? .* not found in the base model|"
    r"LoRA rank \d+ is greater than max_lora_rank|does not support LoRA|unexpected modules in .*adapter",
    re.IGNORECASE,
)
_RANKS_DIFFER = re.compile(r"same r value|combination_type", re.IGNORECASE)
_NO_CONFIG = re.compile(r"can'?t find 'adapter_config\.json'", re.IGNORECASE)
_NOISE = re.compile(r"^\s*(\[simulated\b.*)?$")
_LAST_WORDS = 3


def cause(
    workspace: Object,
    found: Suspect,
    log: str = "",
    *,
    changed: str = "",
    secrets: Sequence[str] = (),
    options: Sequence[str] = (),
) -> Cause:
    """Why the container does not get on, in terms of adapters.

    Args:
        workspace: the Workspace.
        found: the container.
        log: its last lines.
        changed: the adapter that was changed last: the likely one when the server does not say which.
        secrets: the pull secrets of the pod.
        options: where the Workspace is, for command lines: namespace, cluster.
    """
    entry = next((item for item in entries_of(workspace) if name_of(item) == found.adapter), None)
    image = source_text(entry) if entry else ""
    words = tuple(line.strip()[:300] for line in log.splitlines() if not _NOISE.match(line))[-_LAST_WORDS:]
    if found.adapter:
        if found.trouble.reason in _PULLING:
            mend = ["kaitoctl", "set-adapter", workspace["metadata"]["name"], "--name", found.adapter]
            return _of_pull(found, image, secrets, lambda *more: shlex.join([*mend, *more, *options]))
        return _of_init(found, image, log, words)
    return _of_server(workspace, found, log, words, changed)


def _of_pull(found: Suspect, image: str, secrets: Sequence[str], mend: Callable[..., str]) -> Cause:
    name, said = found.adapter, found.trouble.message
    is_missing, is_refused = _NOT_FOUND.search(said), _NOT_ALLOWED.search(said)
    if is_refused:
        have = f"pull secrets: {', '.join(secrets)}" if secrets else "no pull secret is given"
        what = "does not exist, or may not be pulled" if is_missing else "may not be pulled"
        return Cause(name, f"image {image} {what} ({have})", mend("--image-pull-secret", "SECRET"))
    if is_missing:
        return Cause(name, f"image {image} does not exist in its registry", mend("--image", "IMAGE:TAG"))
    if _WRONG_ARCHITECTURE.search(said):
        return Cause(name, f"image {image} is not built for the node's architecture")
    if _NOT_REACHED.search(said):
        return Cause(name, f"the registry of {image} cannot be reached from the node", "", (said[:300],))
    return Cause(name, f"image {image} cannot be pulled", "", (said[:300],))


def _of_init(found: Suspect, image: str, log: str, words: tuple[str, ...]) -> Cause:
    name, said = found.adapter, found.trouble.message
    if _EMPTY.search(log):
        hint = "the image must have adapter_config.json and adapter_model.safetensors in /data"
        return Cause(name, f"image {image} has no files in /data", hint)
    if _DISK_FULL.search(log) or _DISK_FULL.search(said):
        return Cause(name, "the node's disk is full", "", words)
    if _WRONG_ARCHITECTURE.search(log) or _WRONG_ARCHITECTURE.search(said):
        return Cause(name, f"image {image} is not built for the node's architecture")
    if _NO_SHELL.search(said) or re.search(r"exit code 12[67]\b", said):
        hint = "build it on one that has them, such as busybox"
        return Cause(name, f"image {image} has no sh, mkdir or cp, by which its files are copied", hint)
    return Cause(name, f"its files cannot be copied: {said}", "", words)


def _of_server(workspace: Object, found: Suspect, log: str, words: tuple[str, ...], changed: str) -> Cause:
    preset = dig(workspace, "inference", "preset", "name")
    of_log = [
        name
        for item in entries_of(workspace)
        if (name := name_of(item)) and f"/{name}/" in log.replace("'", "/")
    ]
    whose = of_log[0] if len(of_log) == 1 else changed
    if _NO_CONFIG.search(log):
        return Cause(whose, "it has no adapter_config.json in /data", "", words)
    if _RANKS_DIFFER.search(log) and not _MISMATCH.search(log):
        return Cause(whose, "the adapters cannot be merged: they were made with different ranks", "", words)
    if _MISMATCH.search(log):
        hint = "an adapter fits only the model that it was made from"
        return Cause(whose, f"the model server cannot load it over {preset}", hint, words)
    if _GPU_FULL.search(log):
        return Cause(whose, "the GPUs have too little memory for the model with its adapters", "", words)
    said = found.trouble.message
    if "OOMKilled" in said:
        return Cause("", "the model server needs more memory than the node has", "", words)
    return Cause("", f"the model server does not come up: {said}", "", words)
