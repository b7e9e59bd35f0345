"""What a tuning Workspace asks for, what is refused of it, and how its Job is doing. Pure.

The Job itself is built in `desired.tuning_job`; `status` and `rollout` ask here how it is doing.

A Job cannot be changed, and tuning costs hours: it is recreated when what it was made from (`MADE_FROM`)
differs, and for no other reason, such as a newer version of this program.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from kaitoctl.kaito import image_generations
from kaitoctl.kaito.catalog import Catalog, presets_of_v0_4_6
from kaitoctl.kaito.image_generations import ImageGeneration
from kaitoctl.kaito.node_check import required_nodes
from kaitoctl.kube import pod_state
from kaitoctl.kube.conditions import is_true
from kaitoctl.kube.objects import (
    Object,
    ObjectKey,
    annotations_of,
    creation_time_of,
    dig,
    is_controlled_by,
    key_of,
)

if TYPE_CHECKING:
    from kaitoctl.kaito.settings import Settings

METHODS = ("lora", "qlora")

MADE_FROM = "kaitoctl.dev/tuned-from"
"""On the Job: what it was made from, as a hash."""

CONFIG_KEY = "training_config.yaml"
SECRET_KEY = ".dockerconfigjson"  # noqa: S105 - the key, not the secret

CONFIG_PATH, DATA_PATH, RESULTS_PATH = "/mnt/config", "/mnt/data", "/mnt/results"
PUSHER = "push-adapter"

_FOR_CONFIG_WITHOUT_OUTPUT = "/mnt/output"  # Source: KAITO v0.3.2 pkg/tuning/preset-tuning.go


# --- the table ---------------------------------------------------------------------------------------------


class TuningPreset(Struct, frozen=True):
    """How a preset is tuned.

    Args:
        name: the preset's.
        disk: a quantity, what a new node must offer.
        gpu_count: the least number of GPUs.
        total_gpu_memory_gib: the least GPU memory of the node.
        per_gpu_memory_gib: the least memory of each GPU.
        launcher: flags of the process launcher; `num_processes` is always the number of GPUs.
        source: where the figures are from.
        weights: name and tag of the image that the weights are pulled from; empty where they are in the image
            that tunes.
    """

    name: str
    disk: str
    gpu_count: int
    total_gpu_memory_gib: int
    per_gpu_memory_gib: int
    launcher: Mapping[str, str]
    source: str
    weights: str = ""


@cache
def _table() -> Object:
    table: Object = json.loads((Path(__file__).parent / "tables" / "tuning.json").read_text("utf-8"))
    return table


@cache
def tuning_presets() -> Mapping[str, TuningPreset]:
    """All presets that can be tuned, by name. Guarantee: immutable."""
    rows = ({**row, "launcher": MappingProxyType(row["launcher"])} for row in _table()["presets"])
    return MappingProxyType({row["name"]: TuningPreset(**row) for row in rows})


@cache
def tuning_models() -> Mapping[str, TuningPreset]:
    """All models of KAITO v0.12 that can be tuned, by what their server calls them. Guarantee: immutable."""
    rows = ({**row, "launcher": MappingProxyType(row["launcher"])} for row in _table()["models"])
    return MappingProxyType({row["name"]: TuningPreset(**row) for row in rows})


def row_of(workspace: Object, settings: Settings) -> TuningPreset | None:
    """How the Workspace's preset is tuned; None when it is not to be, or cannot be."""
    name = str(dig(workspace, "tuning", "preset", "name") or "")
    if not name:
        return None
    found = _generation_of(workspace, settings)
    if found is not None and found.name == "v0.4.6":
        return _row_of_v0_4_6(name, settings.catalog)
    if found is None or not found.has_models:
        return tuning_presets().get(name)
    model = settings.catalog.model(name)
    return tuning_models().get(model.name) if model else None


def _row_of_v0_4_6(name: str, known: Catalog) -> TuningPreset | None:
    preset = known.preset_in(name, "v0.4.6")
    row = tuning_presets().get(name) or tuning_models().get(name)
    if preset is None or row is None or not preset.tuning:
        return None
    return replace(row, disk=preset.disk, source=preset.source, weights="")


def starts_of(generation: str) -> Mapping[str, str]:
    """How a generation starts tuning: its `base_command` and its `main_file`."""
    starts: Mapping[str, str] = _table()["generations"][generation]
    return starts


# --- what a Workspace asks for -----------------------------------------------------------------------------


def with_lower_case_method(workspace: Object) -> Object:
    """The Workspace with its method in lower case.

    KAITO's webhook takes any case, its controller only this one.
    """
    method = dig(workspace, "tuning", "method")
    if not isinstance(method, str) or method == method.lower():
        return workspace
    return {**workspace, "tuning": {**workspace["tuning"], "method": method.lower()}}


def fingerprint(workspace: Object) -> str:
    """What a Job is made from, as a hash: the tuning itself, and the nodes that it may run on."""
    resource = workspace.get("resource") or {}
    parts = [
        with_lower_case_method(workspace).get("tuning"),
        resource.get("instanceType"),
        resource.get("labelSelector"),
    ]
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def config_name(workspace: Object) -> str:
    """The name of the ConfigMap that we generate when the Workspace names none."""
    return f"{workspace['metadata']['name']}-tuning-config"


def named_config(workspace: Object) -> str:
    """The name of the user's own ConfigMap, empty when ours is to be used."""
    name = str(dig(workspace, "tuning", "config") or "")
    return "" if name == config_name(workspace) else name


def push_secret(workspace: Object) -> str:
    """The name of the Secret by which the result is pushed; empty when a volume takes it."""
    output = dig(workspace, "tuning", "output") or {}
    return "" if output.get("volumeSource") else str(output.get("imagePushSecret") or "")


def image_of(workspace: Object, settings: Settings) -> str | None:
    """The image that tunes: of the same generation as everything else, or the user's own; None without."""
    found = _generation_of(workspace, settings)
    if found is not None and found.has_models:
        return image_generations.base_image(found, settings)
    name = str(dig(workspace, "tuning", "preset", "name") or "")
    preset = settings.catalog.preset_in(name, found.name) if found else None
    options = dig(workspace, "tuning", "preset") or {}
    if options.get("accessMode") == "private":
        return dig(options, "presetOptions", "image") or None
    return preset.image(found.name, settings.registry) if preset and found else None


def _generation_of(workspace: Object, settings: Settings) -> ImageGeneration | None:
    return image_generations.image_generation_of(
        workspace, settings.catalog, pinned=settings.image_generation
    )


# --- what is refused ---------------------------------------------------------------------------------------


def refusal(workspace: Object, settings: Settings) -> str:
    """Why no Job can be built, empty when one can. Asked before nodes are: they cost money."""
    workspace = with_lower_case_method(workspace)
    asked = workspace["tuning"]
    name = dig(asked, "preset", "name")
    if image_generations.image_generation_of(workspace, settings.catalog) is None:
        return f'preset "{name}" is not in the catalog'
    found = _generation_of(workspace, settings)
    if found is None:
        return f'preset "{name}" has no image of generation {settings.image_generation}'
    if row_of(workspace, settings) is None:  # KAITO's controller crashes
        able = tuning_models() if found.has_models else tuning_presets()
        if found.name == "v0.4.6":
            rows = {name: _row_of_v0_4_6(name, settings.catalog) for name in presets_of_v0_4_6()}
            able = {name: row for name, row in rows.items() if row is not None}
        return f'preset "{name}" cannot be tuned; these can: {", ".join(able)}'
    if image_of(workspace, settings) is None:
        return f'preset "{name}" is private: tuning.preset.presetOptions.image must name its image'
    if asked.get("method") not in METHODS:
        return f"tuning.method {asked.get('method')!r} is neither lora nor qlora"
    if required_nodes(workspace) > 1:
        return "tuning runs on one node: resource.count must be 1"
    sides = asked.get("input") or {}, asked.get("output") or {}
    for name, side, instead in zip(("input", "output"), sides, ("urls or image", "image"), strict=True):
        if side.get("volumeSource") and not found.has_models:
            return f"tuning.{name}.volumeSource: KAITO {found.release} tunes without volumes; use {instead}"
        if volume := side.get("volumeSource"):
            from kaitoctl.kaito import custom_pod

            if why := custom_pod.volume_refusal(f"tuning.{name}.volumeSource", volume, settings):
                return why
    return _input_refusal(sides[0]) or _output_refusal(sides[1])


def _input_refusal(given: Object) -> str:
    if given.get("volumeSource"):
        more = given.get("urls") or given.get("image")
        return "tuning.input: exactly one of urls, image and volumeSource must be set" if more else ""
    if bool(given.get("urls")) == bool(given.get("image")):
        return "tuning.input: exactly one of urls and image must be set"
    for url in given.get("urls") or ():
        if not str(url).startswith(("http://", "https://")):
            return f"tuning.input.urls: {str(url)[:80]!r} is neither an http nor an https URL"
    return ""


def _output_refusal(given: Object) -> str:
    from kaitoctl.kaito import validation

    if volume := given.get("volumeSource"):
        if given.get("image"):
            return "tuning.output: exactly one of image and volumeSource must be set"
        from kaitoctl.kaito.validation.create_tuning import unkept_in

        why = unkept_in(volume)
        return f"tuning.output.volumeSource: {why}" if why else ""
    if not given.get("image"):
        return "tuning.output.image must name the image to push"
    if fault := validation.image_fault(str(given["image"])):
        return f"tuning.output.image {fault}"
    if not given.get("imagePushSecret"):
        return "tuning.output.imagePushSecret must name the Secret to push the image with"
    return ""


def secret_refusal(workspace: Object, secret: Object | None) -> str:
    """Why nothing can be pushed with the Secret; empty when it can.

    Args:
        workspace: the Workspace.
        secret: the one of its namespace that it names, None when there is none.
    """
    name = push_secret(workspace)
    if secret is None:
        return f"Secret {name} (tuning.output.imagePushSecret) does not exist"
    if SECRET_KEY not in (secret.get("data") or {}):
        return (
            f"Secret {name} (tuning.output.imagePushSecret) has no {SECRET_KEY}: create it as docker-registry"
        )
    return ""


def config_refusal(workspace: Object, config: Object | None, known: Catalog) -> str:
    """Why the user's own ConfigMap cannot be used; empty when it can.

    Args:
        workspace: the Workspace, which names it.
        config: the one of its namespace, never of another; None when there is none.
        known: where its preset is looked up.
    """
    from kaitoctl.kaito import validation

    place = ObjectKey(key_of(workspace).namespace, named_config(workspace))
    setting = validation.Setting(validation.OWN, config_maps={place: config} if config else {}, catalog=known)
    for problem in validation.problems(with_lower_case_method(workspace), setting):
        if problem.path == "tuning.config" and problem.severity == "error":
            return f"tuning.config: {problem.message}"
    folder = output_dir(config or {})
    for taken in (CONFIG_PATH, DATA_PATH):
        if folder == taken or folder.startswith(f"{taken}/"):
            return f"tuning.config: ConfigMap {place}: output_dir {folder} lies in {taken}, which is not free"
    return ""


def output_dir(config: Object) -> str:
    """Where tuning writes by a ConfigMap that `config_refusal` has nothing against: a path below /mnt."""
    from kaitoctl.kube.documents import load_yaml

    content = load_yaml(dig(config, "data", CONFIG_KEY) or "", CONFIG_KEY)
    arguments = dig(content[0] if content else {}, "training_config", "TrainingArguments")
    folder = dig(arguments, "output_dir")
    return posixpath.normpath(posixpath.join("/mnt", folder or _FOR_CONFIG_WITHOUT_OUTPUT))


# --- how it is doing ---------------------------------------------------------------------------------------


class Failure(Struct, frozen=True):
    """Why tuning has failed, or does not get on.

    Args:
        reason: Kubernetes' own word.
        message: which pod and container, and what happened.
        final: whether waiting will not help: nothing of the pod is ever started again.
    """

    reason: str
    message: str
    final: bool


def is_made_for(made: Object, workspace: Object) -> bool:
    """Whether the Job does what the Workspace asks for now."""
    return annotations_of(made).get(MADE_FROM) == fingerprint(workspace)


def is_of_kaito(made: Object) -> bool:
    """Whether KAITO's controller made the Job: nothing on it says what it was made from."""
    return MADE_FROM not in annotations_of(made)


def pushed_image(made: Object) -> str:
    """The image that the Job pushes, or has pushed."""
    for item in dig(made, "spec", "template", "spec", "containers") or ():
        if item.get("name") == PUSHER:
            return str((item.get("command") or [""])[-1])
    return ""


def has_succeeded(made: Object) -> bool:
    """Whether the Job is done: the adapter is pushed."""
    return is_true(made, "Complete") or int(dig(made, "status", "succeeded") or 0) > 0


def has_ended(made: Object) -> bool:
    """Whether the Job has succeeded or failed; it will not need its node any more."""
    return has_succeeded(made) or _has_failed(made)


def _has_failed(made: Object) -> bool:
    return is_true(made, "Failed") or int(dig(made, "status", "failed") or 0) > 0


def has_started(workspace: Object, pods: Iterable[Object]) -> bool:
    """Whether the container that tunes has been started."""
    name = workspace["metadata"]["name"]
    statuses = (item for pod in pods for item in dig(pod, "status", "containerStatuses") or ())
    states = [item.get("state") or {} for item in statuses if item.get("name") == name]
    return any("running" in state or "terminated" in state for state in states)


def pods_of(made: Object, pods: Iterable[Object]) -> list[Object]:
    """Those of the pods that the Job has made, newest first."""
    mine = [pod for pod in pods if is_controlled_by(pod, made)]
    return sorted(mine, key=creation_time_of, reverse=True)


def failure(made: Object, pods: Iterable[Object]) -> Failure | None:
    """What keeps the Job from succeeding, None when it is on its way or done."""
    if has_succeeded(made):
        return None
    for pod in pods_of(made, pods):
        if found := pod_failure(pod):
            return found
    if not _has_failed(made):
        return None
    conditions = dig(made, "status", "conditions") or ()
    why = next((str(item.get("message")) for item in conditions if item.get("type") == "Failed"), "")
    return Failure("Failed", f"job {made['metadata']['name']} has failed" + (f": {why}" if why else ""), True)


def pod_failure(pod: Object) -> Failure | None:
    """What keeps a Job's pod from succeeding; the tuning container is blamed before the pusher."""
    status = pod.get("status") or {}
    ran = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    broken = [item for item in ran if dig(item, "state", "terminated", "exitCode")]
    broken.sort(key=lambda item: item.get("name") == PUSHER)
    is_final = bool(broken) or status.get("phase") == "Failed"
    seen = {**pod, "status": {"containerStatuses": broken[:1]}} if broken else pod
    found = pod_state.trouble(seen)
    if found is None:
        return None
    name = pod["metadata"]["name"]
    return Failure(found.reason, f"pod {name}: {found.message}", is_final)
