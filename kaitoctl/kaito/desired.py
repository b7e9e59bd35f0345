"""Workspace -> the objects that should exist for it. Pure and deterministic: same input, same bytes.

What KAITO names, we name alike (workload, Service, labels, ports, paths, flags); where its v0.3.2 and
v0.4.0 controllers err, we differ, each time with the finding's number beside it (docs/adr/0005).

Not here yet, and refused by `refusal` instead of half done: StatefulSets of distributed presets, custom
pod templates, tuning Jobs, the vLLM runtime.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kaitoctl.kaito import api, catalog
from kaitoctl.kaito.catalog import ImageGeneration, Preset, Runtime
from kaitoctl.kaito.nodes import TOLERATIONS
from kaitoctl.kube.objects import DEPLOYMENT, SERVICE, Kind, Object, annotations_of, dig

PORT = 5000
"""Where `inference_api.py` listens."""

ADAPTER_VOLUME = "adapter-volume"
ADAPTER_PATH = "/mnt/adapter"
SHARED_MEMORY_PATH = "/dev/shm"  # noqa: S108 - a mount path inside the pod

# $1 is the adapter's own directory. The name arrives as an argument, never as program text; dot files are
# copied too, and an image without files in /data says so instead of serving an unadapted model.
_COPY_ADAPTER = (
    'if [ -z "$(ls -A /data 2>/dev/null)" ]; then echo "no files in /data of this image" >&2; exit 1; fi; '
    'mkdir -p -- "$1" && cp -a /data/. "$1"/'
)


@dataclass(frozen=True, slots=True)
class Settings:
    """What the controller's operator chooses for all Workspaces.

    Args:
        registry: where public preset images are pulled from.
        generation: image generation; tag, command and probe path always come from the same one.
    """

    registry: str = catalog.DEFAULT_REGISTRY
    generation: str = catalog.DEFAULT_GENERATION


def refusal(workspace: Object) -> str:
    """Why this controller cannot build the Workspace's workload; empty when it can."""
    if workspace.get("tuning"):
        return "tuning Workspaces are not built by this controller yet"
    inference = workspace.get("inference") or {}
    if inference.get("template"):
        return "inference.template is not built by this controller yet"
    preset = preset_of(workspace)
    if preset is None:
        return f'preset "{dig(inference, "preset", "name")}" is not in the catalog'
    if preset.distributed:
        return f'preset "{preset.name}" runs as a StatefulSet, which this controller does not build yet'
    runtime = annotations_of(workspace).get(api.ANNOTATION_RUNTIME, "transformers")
    if runtime != "transformers":
        return f'runtime "{runtime}" is not built by this controller yet; use "transformers"'
    if image_of(workspace, preset, Settings()) is None:
        return f'preset "{preset.name}" is private: inference.preset.presetOptions.image must name its image'
    return ""


def desired(workspace: Object, *, gpus: int, settings: Settings) -> list[tuple[Kind, Object]]:
    """The Service and the workload for an inference Workspace that `refusal` has nothing against.

    Args:
        workspace: the Workspace.
        gpus: how many GPUs each pod asks for.
        settings: image registry and generation.
    """
    preset = preset_of(workspace)
    assert preset is not None
    return [(SERVICE, service(workspace)), (DEPLOYMENT, deployment(workspace, preset, gpus, settings))]


def preset_of(workspace: Object) -> Preset | None:
    """The Workspace's inference preset, None when there is none or nobody knows it."""
    return catalog.preset(str(dig(workspace, "inference", "preset", "name") or ""))


def image_of(workspace: Object, preset: Preset, settings: Settings) -> str | None:
    """The main container's image, None when a private preset names none."""
    if dig(workspace, "inference", "preset", "accessMode") == "private":
        return dig(workspace, "inference", "preset", "presetOptions", "image") or None
    return preset.image(settings.generation, settings.registry)


def service(workspace: Object) -> Object:
    """The ClusterIP Service (a LoadBalancer on request) in front of the model server.

    Unlike KAITO's it does not publish pods that are still loading the model (K42).
    """
    load_balanced = annotations_of(workspace).get(api.ANNOTATION_ENABLE_LB) == "True"
    return _object(
        SERVICE,
        workspace,
        {
            "type": "LoadBalancer" if load_balanced else "ClusterIP",
            "ports": [
                {"name": "http", "protocol": "TCP", "port": 80, "targetPort": PORT},
                {"name": "torch", "protocol": "TCP", "port": 29500, "targetPort": 29500},
            ],
            "selector": _pod_labels(workspace),
        },
    )


def deployment(workspace: Object, preset: Preset, gpus: int, settings: Settings) -> Object:
    """The Deployment that runs `inference_api.py`: one pod a node, all of its GPUs."""
    generation = preset.images[settings.generation]
    labels = _pod_labels(workspace)
    return _object(
        DEPLOYMENT,
        workspace,
        {
            "replicas": int(dig(workspace, "resource", "count") or 1),
            "selector": {"matchLabels": labels},
            # A GPU node has no room for a second pod, so the old one goes first.
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}},
            # Kubernetes' default of 600 s would fail a model that takes its full readiness budget (K8).
            "progressDeadlineSeconds": preset.readiness_timeout_s,
            "template": {
                "metadata": {"labels": labels},
                "spec": _pod_spec(workspace, preset, generation, gpus, settings),
            },
        },
    )


def command_line(runtime: Runtime) -> str:
    """The shell line that launches the model server, flags sorted so that it never changes by itself.

    Guarantee: made of catalog text alone; nothing that a user of Workspaces writes is in it.
    """
    launcher = [runtime.base_command, *_flags(runtime.launcher), *_flags(runtime.rendezvous)]
    return " ".join([*launcher, runtime.main_file, *_flags(runtime.parameters)])


def _flags(parameters: Mapping[str, str]) -> list[str]:
    return [f"--{key}={value}" if value else f"--{key}" for key, value in sorted(parameters.items())]


def _pod_spec(
    workspace: Object, preset: Preset, generation: ImageGeneration, gpus: int, settings: Settings
) -> Object:
    adapters = dig(workspace, "inference", "adapters") or []
    volumes, mounts = _volumes(bool(adapters), gpus)
    main = {
        "name": workspace["metadata"]["name"],
        "image": image_of(workspace, preset, settings),
        "command": ["/bin/sh", "-c", command_line(generation.transformers)],
        "ports": [{"containerPort": PORT, "protocol": "TCP"}],
        "resources": {"requests": {api.GPU: str(gpus)}, "limits": {api.GPU: str(gpus)}},
        **_probes(generation.probe_path, preset.readiness_timeout_s),
    }
    spec: Object = {
        "affinity": {"nodeAffinity": _node_affinity(workspace)},
        "tolerations": [dict(toleration) for toleration in TOLERATIONS],
        "containers": [main],
    }
    if strengths := [{"name": _adapter_name(item), "value": strength_of(item)} for item in adapters]:
        main["env"] = strengths
        spec["initContainers"] = [_adapter_container(item, mounts) for item in adapters]
    if volumes:
        main["volumeMounts"] = mounts
        spec["volumes"] = volumes
    if secrets := _pull_secrets(workspace):
        spec["imagePullSecrets"] = [{"name": name} for name in secrets]
    return spec


def strength_of(adapter: Object) -> str:
    """The adapter's strength as written; KAITO's controller crashes where it is absent (K2), we take 1.0."""
    return str(adapter.get("strength") or "1.0")


def _adapter_name(adapter: Object) -> str:
    return str(adapter["source"]["name"])


def _adapter_container(adapter: Object, mounts: list[Object]) -> Object:
    name = _adapter_name(adapter)
    return {
        "name": name,
        "image": adapter["source"]["image"],
        "imagePullPolicy": "Always",
        "command": ["/bin/sh", "-c", _COPY_ADAPTER, "copy-adapter", f"{ADAPTER_PATH}/{name}"],
        "volumeMounts": mounts,
    }


def _volumes(has_adapters: bool, gpus: int) -> tuple[list[Object], list[Object]]:
    volumes: list[Object] = []
    mounts: list[Object] = []
    if gpus > 1:
        # NCCL between the GPUs of one node needs more than the runtime's 64 MiB (K43).
        volumes.append({"name": "dshm", "emptyDir": {"medium": "Memory"}})
        mounts.append({"name": "dshm", "mountPath": SHARED_MEMORY_PATH})
    if has_adapters:
        volumes.append({"name": ADAPTER_VOLUME, "emptyDir": {}})
        mounts.append({"name": ADAPTER_VOLUME, "mountPath": ADAPTER_PATH})
    return volumes, mounts


def _probes(path: str, budget_s: int) -> Object:
    ask = {"httpGet": {"path": path, "port": PORT}}
    period_s = 10
    return {
        # Loading may take the preset's whole budget; until then liveness is not asked (K9).
        "startupProbe": {**ask, "periodSeconds": period_s, "failureThreshold": max(1, budget_s // period_s)},
        "livenessProbe": {**ask, "initialDelaySeconds": 600, "periodSeconds": period_s},
        "readinessProbe": {**ask, "initialDelaySeconds": 30, "periodSeconds": period_s},
    }


def _node_affinity(workspace: Object) -> Object:
    """One required term with all of the selector's demands, in a fixed order."""
    selector = dig(workspace, "resource", "labelSelector") or {}
    expressions = [
        {"key": key, "operator": "In", "values": [value]}
        for key, value in sorted((selector.get("matchLabels") or {}).items())
    ]
    expressions += [dict(expression) for expression in selector.get("matchExpressions") or ()]
    terms = [{"matchExpressions": expressions}]
    return {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}


def _pull_secrets(workspace: Object) -> list[str]:
    """The preset's and all adapters' pull secrets; KAITO drops the latter for private images (K50)."""
    options = dig(workspace, "inference", "preset", "presetOptions") or {}
    names = list(options.get("imagePullSecrets") or ())
    for adapter in dig(workspace, "inference", "adapters") or ():
        names += dig(adapter, "source", "imagePullSecrets") or ()
    return list(dict.fromkeys(names))


def _pod_labels(workspace: Object) -> dict[str, str]:
    return {api.LABEL_WORKSPACE: workspace["metadata"]["name"]}


def _object(kind: Kind, workspace: Object, spec: Object) -> Object:
    metadata = workspace["metadata"]
    return {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": {
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "labels": {api.LABEL_WORKSPACE: metadata["name"]},
        },
        "spec": spec,
    }
