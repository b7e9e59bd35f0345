"""Tuning Workspace -> the Job that tunes, its configuration, and what the Job's state means. Pure.

The Job's pod fetches the data (an init container), tunes (the main container, all GPUs of the node) and
pushes the adapter (a rootless container that waits for the finished file). `desired` has what all pods of a
Workspace share; `status` and `rollout` ask here how a Job is doing.

Where KAITO's v0.3.2 errs we differ (docs/adr/0005). No text of a
user's is ever part of a shell line: it is an argument of a constant script.

A Job cannot be changed, and tuning costs hours: it is made anew when what it was made from (`MADE_FROM`)
differs, and for no other reason, such as a newer version of this program.
"""

from __future__ import annotations

import copy
import hashlib
import json
import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from kaitoctl.kaito import api, catalog
from kaitoctl.kaito import desired as desired_
from kaitoctl.kaito.catalog import Preset, Runtime
from kaitoctl.kaito.nodes import TOLERATIONS, required_nodes
from kaitoctl.kube import pods as pods_
from kaitoctl.kube.conditions import is_true
from kaitoctl.kube.objects import (
    CONFIG_MAP,
    JOB,
    Kind,
    Object,
    ObjectKey,
    annotations_of,
    dig,
    is_controlled_by,
    key_of,
)

if TYPE_CHECKING:
    from kaitoctl.kaito.desired import Settings

METHODS = ("lora", "qlora")

MADE_FROM = "kaitoctl.dev/tuned-from"
"""On the Job: what it was made from, as a hash."""

CONFIG_KEY = "training_config.yaml"
SECRET_KEY = ".dockerconfigjson"  # noqa: S105 - the key, not the secret

CONFIG_PATH, DATA_PATH, RESULTS_PATH = "/mnt/config", "/mnt/data", "/mnt/results"
PUSHER = "push-adapter"

_FOR_CONFIG_WITHOUT_OUTPUT = "/mnt/output"  # Source: KAITO v0.3.2 pkg/tuning/preset-tuning.go
_DOCKER_CONFIG = "/tmp/.docker/config"  # noqa: S108 - a mount path inside the pod

# Appended to the catalog's line; $1 is where tuning writes. It tells the pusher, who has no other way to
# know, that nothing more will come: else the pod of a failed tuning would hold its GPUs for ever.
_AND_TELL = '; code=$?; echo "$code" > "$1/.tuning-ended"; exit "$code"'

# $1 is the directory to fill, the rest are URLs. Two URLs may end alike: the second file gets a number.
_DOWNLOAD = """\
set -eu
folder=$1
shift
number=0
for url in "$@"; do
  number=$((number + 1))
  case $url in
    http://*|https://*) ;;
    *) echo "neither http nor https: $url" >&2; exit 1 ;;
  esac
  path=${url%%#*}
  path=${path%%\\?*}
  file=${path##*/}
  case $file in ''|.|..) file=data ;; esac
  if [ -e "$folder/$file" ]; then file=$number-$file; fi
  echo "fetching $url as $file"
  curl --disable --globoff --fail --location --proto '=http,https' --retry 3 --retry-delay 5 \\
    --silent --show-error --output "$folder/$file" -- "$url"
  if [ ! -s "$folder/$file" ]; then echo "nothing came from $url" >&2; exit 1; fi
done
"""

# $1 is where tuning writes, $2 the image to build on, $3 the image to push. The end is looked for before the
# finished file, so that a file written in between is not missed. A failed push is tried again for half an
# hour: a result of hours must not be lost because a registry stumbled.
_PUSH = """\
set -eu
export PATH="/busybox:/ko-app:$PATH"
results=$1 base=$2 image=$3
while :; do
  ended=
  if [ -e "$results/.tuning-ended" ]; then ended=yes; fi
  if [ -e "$results/fine_tuning_completed.txt" ]; then break; fi
  if [ "$ended" ]; then echo "tuning has ended without a result; nothing is pushed" >&2; exit 1; fi
  sleep 5
done
work=$(mktemp -d)
mkdir "$work/data"
cp "$results/adapter_config.json" "$results/adapter_model.safetensors" "$work/data/"
tar -C "$work" -cf "$work/layer.tar" data
tries=60
until crane append --platform linux/amd64 --base "$base" --new_layer "$work/layer.tar" --new_tag "$image"; do
  tries=$((tries - 1))
  if [ "$tries" -eq 0 ]; then echo "$image could not be pushed" >&2; exit 1; fi
  sleep 30
done
"""

# For the containers whose images we choose: the restricted Pod Security Standard, and more.
_UNPRIVILEGED: Object = {
    "runAsNonRoot": True,
    "runAsUser": 65532,
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


# --- the table ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TuningPreset:
    """How a preset is tuned.

    Args:
        name: the preset's.
        disk: a quantity, what a new node must offer.
        gpu_count: the least number of GPUs.
        total_gpu_memory_gib: the least GPU memory of the node.
        per_gpu_memory_gib: the least memory of each GPU.
        launcher: flags of the process launcher; `num_processes` is always the number of GPUs.
        source: where the figures are from.
    """

    name: str
    disk: str
    gpu_count: int
    total_gpu_memory_gib: int
    per_gpu_memory_gib: int
    launcher: Mapping[str, str]
    source: str


@cache
def _table() -> Object:
    table: Object = json.loads((Path(__file__).parent / "tables" / "tuning.json").read_text("utf-8"))
    return table


@cache
def tuning_presets() -> Mapping[str, TuningPreset]:
    """All presets that can be tuned, by name. Guarantee: immutable."""
    rows = ({**row, "launcher": MappingProxyType(row["launcher"])} for row in _table()["presets"])
    return MappingProxyType({row["name"]: TuningPreset(**row) for row in rows})


def row_of(workspace: Object) -> TuningPreset | None:
    """How the Workspace's preset is tuned; None when it is not to be, or cannot be."""
    return tuning_presets().get(str(dig(workspace, "tuning", "preset", "name") or ""))


# --- what a Workspace asks for -----------------------------------------------------------------------------


def normalised(workspace: Object) -> Object:
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
        normalised(workspace).get("tuning"),
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
    """The name of the Secret by which the result is pushed."""
    return str(dig(workspace, "tuning", "output", "imagePushSecret") or "")


def image_of(workspace: Object, settings: Settings) -> str | None:
    """The image that tunes: of the same generation as everything else, or the user's own; None without."""
    preset = _preset_of(workspace)
    options = dig(workspace, "tuning", "preset") or {}
    if options.get("accessMode") == "private":
        return dig(options, "presetOptions", "image") or None
    return preset.image(settings.generation, settings.registry) if preset else None


def _preset_of(workspace: Object) -> Preset | None:
    return catalog.preset(str(dig(workspace, "tuning", "preset", "name") or ""))


# --- what is refused ---------------------------------------------------------------------------------------


def refusal(workspace: Object, settings: Settings) -> str:
    """Why no Job can be built, empty when one can. Asked before nodes are: they cost money."""
    workspace = normalised(workspace)
    asked, preset = workspace["tuning"], _preset_of(workspace)
    if preset is None:
        return f'preset "{dig(asked, "preset", "name")}" is not in the catalog'
    if row_of(workspace) is None:  # KAITO's controller crashes
        return f'preset "{preset.name}" cannot be tuned; these can: {", ".join(tuning_presets())}'
    if settings.generation not in preset.images or settings.generation not in _table()["generations"]:
        return f'preset "{preset.name}" has no image of generation {settings.generation}'
    if image_of(workspace, settings) is None:
        return f'preset "{preset.name}" is private: tuning.preset.presetOptions.image must name its image'
    if asked.get("method") not in METHODS:
        return f"tuning.method {asked.get('method')!r} is neither lora nor qlora"
    if required_nodes(workspace) > 1:
        return "tuning runs on one node: resource.count must be 1"
    return _input_refusal(asked.get("input") or {}) or _output_refusal(asked.get("output") or {})


def _input_refusal(given: Object) -> str:
    if given.get("volumeSource"):
        return "tuning.input.volumeSource is not supported: use urls or image"
    if bool(given.get("urls")) == bool(given.get("image")):
        return "tuning.input: exactly one of urls and image must be set"
    for url in given.get("urls") or ():
        if not str(url).startswith(("http://", "https://")):
            return f"tuning.input.urls: {str(url)[:80]!r} is neither an http nor an https URL"
    return ""


def _output_refusal(given: Object) -> str:
    from kaitoctl.kaito import validation

    if given.get("volumeSource"):
        return "tuning.output.volumeSource is not supported: use image and imagePushSecret"
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


def config_refusal(workspace: Object, config: Object | None) -> str:
    """Why the user's own ConfigMap cannot be used; empty when it can.

    Args:
        workspace: the Workspace, which names it.
        config: the one of its namespace, never of another; None when there is none.
    """
    from kaitoctl.kaito import validation

    place = ObjectKey(key_of(workspace).namespace, named_config(workspace))
    setting = validation.Setting(validation.OWN, config_maps={place: config} if config else {})
    for problem in validation.problems(normalised(workspace), setting):
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


# --- what is built -----------------------------------------------------------------------------------------


def desired(
    workspace: Object, *, gpus: int, settings: Settings, output_dir: str = ""
) -> list[tuple[Kind, Object]]:
    """The Job of a Workspace that `refusal` has nothing against, and its ConfigMap unless the user has one.

    Args:
        workspace: the Workspace.
        gpus: how many GPUs the pod asks for.
        settings: images and their generation.
        output_dir: where tuning writes, as the user's ConfigMap says; empty goes by ours.
    """
    made = job(workspace, gpus, settings, output_dir or RESULTS_PATH)
    return ([] if named_config(workspace) else [(CONFIG_MAP, config_map(workspace))]) + [(JOB, made)]


# Source: KAITO v0.3.2 charts/kaito/workspace, the default parameters of tuning.
_LORA: Object = {
    "ModelConfig": {"torch_dtype": "bfloat16", "local_files_only": True, "device_map": "auto"},
    "LoraConfig": {"r": 8, "lora_alpha": 8, "lora_dropout": 0.0},
    "TrainingArguments": {
        "output_dir": RESULTS_PATH,
        "ddp_find_unused_parameters": False,
        "save_strategy": "epoch",
        "per_device_train_batch_size": 1,
    },
    "DataCollator": {"mlm": True},
    "DatasetConfig": {"shuffle_dataset": True, "train_test_split": 1},
}
_FOUR_BITS: Object = {
    "load_in_4bit": True,
    "bnb_4bit_quant_type": "nf4",
    "bnb_4bit_compute_dtype": "bfloat16",
    "bnb_4bit_use_double_quant": True,
}


def config_map(workspace: Object) -> Object:
    """Our own default parameters of the method.

    KAITO copies its template once, owned by nobody, and never again; this one is the Workspace's child.
    """
    from kaitoctl.kube.documents import to_yaml

    quantized = dig(normalised(workspace), "tuning", "method") == "qlora"
    config = {**copy.deepcopy(_LORA), **({"QuantizationConfig": dict(_FOUR_BITS)} if quantized else {})}
    made = desired_.child_object(CONFIG_MAP, workspace, {}, name=config_name(workspace))
    del made["spec"]
    return {**made, "data": {CONFIG_KEY: to_yaml({"training_config": config})}}


def job(workspace: Object, gpus: int, settings: Settings, folder: str) -> Object:
    """The Job: one pod, one try, on the nodes of the Workspace, with nothing privileged."""
    volumes = [
        {"name": "config-volume", "configMap": {"name": named_config(workspace) or config_name(workspace)}},
        {"name": "results-volume", "emptyDir": {}},
        {"name": "data-volume", "emptyDir": {}},
        {"name": "docker-config", "projected": {"sources": [_docker_config(push_secret(workspace))]}},
        {"name": "push-volume", "emptyDir": {}},
    ]
    if gpus > 1:
        volumes.append({"name": "dshm", "emptyDir": {"medium": "Memory"}})
    spec: Object = {
        "affinity": {"nodeAffinity": desired_.node_affinity(workspace)},
        "tolerations": [dict(toleration) for toleration in TOLERATIONS],
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "initContainers": [_data_container(workspace, settings)],
        "containers": [
            _main_container(workspace, gpus, settings, folder),
            _push_container(workspace, settings, folder),
        ],
        "volumes": volumes,
        "imagePullSecrets": [{"name": name} for name in _pull_secrets(workspace)],
    }
    template = {"metadata": {"labels": desired_.pod_labels(workspace)}, "spec": spec}
    made = desired_.child_object(JOB, workspace, {"backoffLimit": 0, "template": template})
    made["metadata"]["annotations"] = {MADE_FROM: fingerprint(workspace)}
    return made


def command_line(workspace: Object, gpus: int, settings: Settings) -> str:
    """The shell line that tunes: catalog text and the number of GPUs, nothing of the user's."""
    row, generation = row_of(workspace), _table()["generations"][settings.generation]
    assert row is not None, "refusal() said that there is one"
    launcher = {**row.launcher, "num_processes": str(gpus)}
    runtime = Runtime(generation["base_command"], launcher, {}, generation["main_file"], {})
    return desired_.command_line(runtime)


def _main_container(workspace: Object, gpus: int, settings: Settings, folder: str) -> Object:
    env = [{"name": "PYTORCH_CUDA_ALLOC_CONF", "value": "expandable_segments:True"}]
    if str(dig(workspace, "tuning", "preset", "name")).startswith("phi-3"):
        modules = "k_proj,q_proj,v_proj,o_proj,gate_proj,down_proj,up_proj"
        env.append({"name": "DEFAULT_TARGET_MODULES", "value": modules})
    mounts = [
        {"name": "config-volume", "mountPath": CONFIG_PATH},
        {"name": "results-volume", "mountPath": folder},
        {"name": "data-volume", "mountPath": DATA_PATH},
    ]
    if gpus > 1:
        mounts.append({"name": "dshm", "mountPath": desired_.SHARED_MEMORY_PATH})
    line = command_line(workspace, gpus, settings) + _AND_TELL
    return {
        "name": workspace["metadata"]["name"],
        "image": image_of(workspace, settings),
        "securityContext": dict(desired_.NO_NEW_PRIVILEGES),
        "command": ["/bin/sh", "-c", line, "tune", desired_.literal(folder)],
        "env": env,
        "ports": [{"containerPort": desired_.PORT, "protocol": "TCP"}],
        "resources": {"requests": {api.GPU: str(gpus)}, "limits": {api.GPU: str(gpus)}},
        "volumeMounts": mounts,
    }


def _data_container(workspace: Object, settings: Settings) -> Object:
    given = workspace["tuning"]["input"]
    mounts = [{"name": "data-volume", "mountPath": DATA_PATH}]
    if image := given.get("image"):
        return {
            "name": "data-extractor",
            "image": image,
            "imagePullPolicy": "Always",
            "securityContext": dict(desired_.NO_NEW_PRIVILEGES),
            "command": ["/bin/sh", "-c", desired_.COPY_DATA, "copy-data", DATA_PATH],
            "volumeMounts": mounts,
        }
    urls = [desired_.literal(url) for url in given["urls"]]
    return {
        "name": "data-downloader",
        "image": settings.downloader_image,
        "securityContext": copy.deepcopy(_UNPRIVILEGED),
        "command": ["/bin/sh", "-c", _DOWNLOAD, "download-data", DATA_PATH, *urls],
        "volumeMounts": mounts,
    }


def _push_container(workspace: Object, settings: Settings, folder: str) -> Object:
    """KAITO runs a privileged docker daemon here and writes the image's name into its script."""
    image = workspace["tuning"]["output"]["image"]
    arguments = [desired_.literal(folder), settings.adapter_base_image, desired_.literal(image)]
    return {
        "name": PUSHER,
        "image": settings.pusher_image,
        "command": ["/busybox/sh", "-c", _PUSH, PUSHER, *arguments],
        "env": [{"name": "DOCKER_CONFIG", "value": _DOCKER_CONFIG}],
        "securityContext": copy.deepcopy(_UNPRIVILEGED),
        "volumeMounts": [
            {"name": "results-volume", "mountPath": folder, "readOnly": True},
            {"name": "push-volume", "mountPath": "/tmp"},  # noqa: S108 - inside the pod
            {"name": "docker-config", "mountPath": _DOCKER_CONFIG, "readOnly": True},
        ],
    }


def _docker_config(secret: str) -> Object:
    return {"secret": {"name": secret, "items": [{"key": SECRET_KEY, "path": "config.json"}]}}


def _pull_secrets(workspace: Object) -> list[str]:
    names = list(dig(workspace, "tuning", "input", "imagePullSecrets") or ())
    names.append(push_secret(workspace))
    names += dig(workspace, "tuning", "preset", "presetOptions", "imagePullSecrets") or ()
    return list(dict.fromkeys(names))


# --- how it is doing ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Failure:
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
    return sorted(mine, key=lambda pod: str(pod["metadata"].get("creationTimestamp") or ""), reverse=True)


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
    found = pods_.trouble(seen)
    if found is None:
        return None
    name = pod["metadata"]["name"]
    return Failure(found.reason, f"pod {name}: {found.message}", is_final)
