"""The Job that tunes, and its configuration; what is asked for, and how a Job is doing, is in `kaito.tuning`.

The Job's pod fetches the data (an init container), tunes (the main container, all GPUs of the node) and
pushes the adapter (a rootless container that waits for the finished file). Where KAITO's v0.3.2 and v0.12.0
err we differ (docs/adr/0005). No text of a user's is ever part of a shell line: it is an argument of a
constant script.
"""

from __future__ import annotations

from kaitoctl.kaito import api, tuning
from kaitoctl.kaito.catalog import Runtime
from kaitoctl.kaito.desired import adapters, configured_images
from kaitoctl.kaito.desired.children import (
    COPY_DATA,
    NO_NEW_PRIVILEGES,
    PORT,
    child_object,
    literal,
    pod_labels,
)
from kaitoctl.kaito.desired.command_line import command_line as line_of
from kaitoctl.kaito.desired.placement import node_affinity, on_its_nodes, tolerations
from kaitoctl.kaito.desired.volumes import SHARED_MEMORY_PATH, WEIGHTS_PATH, WEIGHTS_VOLUME
from kaitoctl.kaito.image_generations import IMAGE_GENERATIONS, ImageGeneration
from kaitoctl.kaito.settings import Settings
from kaitoctl.kaito.tuning import (
    CONFIG_KEY,
    CONFIG_PATH,
    DATA_PATH,
    MADE_FROM,
    PUSHER,
    RESULTS_PATH,
    SECRET_KEY,
    config_name,
    fingerprint,
    image_of,
    named_config,
    push_secret,
    row_of,
    with_lower_case_method,
)
from kaitoctl.kube.objects import CONFIG_MAP, JOB, Kind, Object, copy_of, dig

ORAS_IMAGE = "mcr.microsoft.com/oss/v2/oras-project/oras:v1.2.3"
"""Source: KAITO v0.12.0 pkg/utils/common_preset.go."""

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


def objects(
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
    from kaitoctl.kube.yaml_writer import to_yaml

    quantized = dig(with_lower_case_method(workspace), "tuning", "method") == "qlora"
    config = {**copy_of(_LORA), **({"QuantizationConfig": dict(_FOUR_BITS)} if quantized else {})}
    made = child_object(CONFIG_MAP, workspace, {}, name=config_name(workspace))
    del made["spec"]
    return {**made, "data": {CONFIG_KEY: to_yaml({"training_config": config})}}


def job(workspace: Object, gpus: int, settings: Settings, folder: str) -> Object:
    """The Job: one pod, one try, on the nodes of the Workspace, with nothing privileged."""
    generation = IMAGE_GENERATIONS[settings.image_generation]
    given, kept = (dig(workspace, "tuning", side, "volumeSource") for side in ("input", "output"))
    data, pulls = ([], []) if given else _data_container(workspace, settings, generation)
    volumes = [
        {"name": "config-volume", "configMap": {"name": named_config(workspace) or config_name(workspace)}},
        {"name": "results-volume", **(copy_of(kept) if kept else {"emptyDir": {}})},
        {"name": "data-volume", **(copy_of(given) if given else {"emptyDir": {}})},
    ]
    pushers = [] if kept else [_push_container(workspace, settings, folder)]
    if pushers:
        secret = _docker_config(push_secret(workspace))
        volumes.append({"name": "docker-config", "projected": {"sources": [secret]}})
        volumes.append({"name": "push-volume", "emptyDir": {}})
    volumes += pulls
    row = row_of(workspace, settings)
    weights = row.weights if row else ""
    if weights:
        volumes.append({"name": WEIGHTS_VOLUME, "emptyDir": {}})
    if gpus > 1 or generation.starts:
        volumes.append({"name": "dshm", "emptyDir": {"medium": "Memory"}})
    first = [*([_weights_container(weights, settings)] if weights else []), *data]
    spec: Object = {
        **_place(workspace, settings, generation),
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        **({"initContainers": first} if first else {}),
        "containers": [_main_container(workspace, gpus, settings, folder), *pushers],
        "volumes": volumes,
        "imagePullSecrets": [{"name": name} for name in _pull_secrets(workspace, generation)],
    }
    template = {"metadata": {"labels": pod_labels(workspace)}, "spec": spec}
    made = child_object(JOB, workspace, {"backoffLimit": 0, "template": template})
    made["metadata"]["annotations"] = {MADE_FROM: fingerprint(workspace)}
    return made


def command_line(workspace: Object, gpus: int, settings: Settings) -> str:
    """The shell line that tunes: catalog text and the number of GPUs, nothing of the user's."""
    row, generation = row_of(workspace, settings), tuning.starts_of(settings.image_generation)
    assert row is not None, "refusal() said that there is one"
    launcher = {**row.launcher, "num_processes": str(gpus)}
    runtime = Runtime(generation["base_command"], launcher, {}, generation["main_file"], {})
    return line_of(runtime)


def _main_container(workspace: Object, gpus: int, settings: Settings, folder: str) -> Object:
    env = [{"name": "PYTORCH_CUDA_ALLOC_CONF", "value": "expandable_segments:True"}]
    if str(dig(workspace, "tuning", "preset", "name")).lower().startswith("phi-3"):
        modules = "k_proj,q_proj,v_proj,o_proj,gate_proj,down_proj,up_proj"
        env.append({"name": "DEFAULT_TARGET_MODULES", "value": modules})
    mounts = [
        {"name": "config-volume", "mountPath": CONFIG_PATH},
        {"name": "results-volume", "mountPath": folder},
        {"name": "data-volume", "mountPath": DATA_PATH},
    ]
    row = row_of(workspace, settings)
    if row and row.weights:
        mounts.append({"name": WEIGHTS_VOLUME, "mountPath": WEIGHTS_PATH})
    if gpus > 1 or IMAGE_GENERATIONS[settings.image_generation].starts:
        mounts.append({"name": "dshm", "mountPath": SHARED_MEMORY_PATH})
    is_pushed = not dig(workspace, "tuning", "output", "volumeSource")
    line = command_line(workspace, gpus, settings) + (_AND_TELL if is_pushed else "")
    return {
        "name": workspace["metadata"]["name"],
        "image": image_of(workspace, settings),
        "securityContext": dict(NO_NEW_PRIVILEGES),
        "command": ["/bin/sh", "-c", line, "tune", literal(folder)],
        "env": env,
        "ports": [{"containerPort": PORT, "protocol": "TCP"}],
        "resources": {"requests": {api.GPU: str(gpus)}, "limits": {api.GPU: str(gpus)}},
        "volumeMounts": mounts,
    }


def _weights_container(weights: str, settings: Settings) -> Object:
    """Fetches the weights, which the one image of KAITO v0.12 does not have."""
    reference = f"{settings.registry.rstrip('/')}/{weights}"
    return {
        "name": "model-weights-downloader",
        "image": ORAS_IMAGE,
        "securityContext": dict(NO_NEW_PRIVILEGES),
        "command": ["oras", "pull", reference, "-o", WEIGHTS_PATH],
        "volumeMounts": [{"name": WEIGHTS_VOLUME, "mountPath": WEIGHTS_PATH}],
    }


def _place(workspace: Object, settings: Settings, generation: ImageGeneration) -> Object:
    """What keeps the pod on the Workspace's nodes, where KAITO lets it go elsewhere."""
    if not generation.has_models:
        return on_its_nodes(workspace, settings)
    affinity = node_affinity(workspace, settings)
    where = {"affinity": {"nodeAffinity": affinity}} if affinity else {}
    return {**where, "tolerations": tolerations(workspace, settings)}


def _data_container(
    workspace: Object, settings: Settings, generation: ImageGeneration
) -> tuple[list[Object], list[Object]]:
    """What fetches the data, and the volume of the pull secrets that this may take.

    Up to v0.4 the image of the data copies them itself; since then it needs no shell.
    """
    given = workspace["tuning"]["input"]
    mounts = [{"name": "data-volume", "mountPath": DATA_PATH}]
    if given.get("image") and generation.starts:
        image = adapters.PULLER_IMAGE if generation.has_models else configured_images.PULLER_IMAGE
        made = adapters.puller(given["image"], DATA_PATH, mounts[0], image)
        names = given.get("imagePullSecrets") or ()
        return [made], [adapters.with_pull_secrets(made, "-tuning-input", names)] if names else []
    if image := given.get("image"):
        copier = {
            "name": "data-extractor",
            "image": image,
            "imagePullPolicy": "Always",
            "securityContext": dict(NO_NEW_PRIVILEGES),
            "command": ["/bin/sh", "-c", COPY_DATA, "copy-data", DATA_PATH],
            "volumeMounts": mounts,
        }
        return [copier], []
    urls = [literal(url) for url in given["urls"]]
    downloader = {
        "name": "data-downloader",
        "image": settings.downloader_image,
        "securityContext": copy_of(_UNPRIVILEGED),
        "command": ["/bin/sh", "-c", _DOWNLOAD, "download-data", DATA_PATH, *urls],
        "volumeMounts": mounts,
    }
    return [downloader], []


def _push_container(workspace: Object, settings: Settings, folder: str) -> Object:
    """KAITO runs a privileged docker daemon here and writes the image's name into its script."""
    image = workspace["tuning"]["output"]["image"]
    arguments = [literal(folder), settings.adapter_base_image, literal(image)]
    return {
        "name": PUSHER,
        "image": settings.pusher_image,
        "command": ["/busybox/sh", "-c", _PUSH, PUSHER, *arguments],
        "env": [{"name": "DOCKER_CONFIG", "value": _DOCKER_CONFIG}],
        "securityContext": copy_of(_UNPRIVILEGED),
        "volumeMounts": [
            {"name": "results-volume", "mountPath": folder, "readOnly": True},
            {"name": "push-volume", "mountPath": "/tmp"},  # noqa: S108 - inside the pod
            {"name": "docker-config", "mountPath": _DOCKER_CONFIG, "readOnly": True},
        ],
    }


def _docker_config(secret: str) -> Object:
    return {"secret": {"name": secret, "items": [{"key": SECRET_KEY, "path": "config.json"}]}}


def _pull_secrets(workspace: Object, generation: ImageGeneration) -> list[str]:
    names = [] if generation.starts else list(dig(workspace, "tuning", "input", "imagePullSecrets") or ())
    names += filter(None, [push_secret(workspace)])
    names += dig(workspace, "tuning", "preset", "presetOptions", "imagePullSecrets") or ()
    return list(dict.fromkeys(names))
