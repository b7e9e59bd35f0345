"""Workspace -> the objects that should exist for it. Pure and deterministic: same input, same bytes.

What KAITO names, we name alike (workload, Services, labels, ports, paths, flags); where its v0.3.2 and
v0.4.0 controllers err, we differ (docs/adr/0005).

A preset runs as a Deployment, or as a StatefulSet behind a headless Service where the model can spread
over several nodes; a custom pod template runs as a Deployment. What tuning becomes is in `tuning`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from kaitoctl.kaito import api, catalog
from kaitoctl.kaito.catalog import ImageGeneration, Preset, Runtime
from kaitoctl.kaito.nodes import TOLERATIONS
from kaitoctl.kube.objects import DEPLOYMENT, SERVICE, STATEFUL_SET, Kind, Object, annotations_of, dig

PORT = 5000
"""Where `inference_api.py` listens."""

ADAPTER_VOLUME = "adapter-volume"
ADAPTER_PATH = "/mnt/adapter"
SHARED_MEMORY_PATH = "/dev/shm"  # noqa: S108 - a mount path inside the pod

# $1 is the directory to fill. Its name arrives as an argument, never as program text; dot files are
# copied too, and an image without files in /data says so instead of serving an unadapted model.
COPY_DATA = (
    'if [ -z "$(ls -A /data 2>/dev/null)" ]; then echo "no files in /data of this image" >&2; exit 1; fi; '
    'mkdir -p -- "$1" && cp -a /data/. "$1"/'
)


NO_NEW_PRIVILEGES: Object = {"allowPrivilegeEscalation": False}
"""For images that are not ours to choose: KAITO's run as root, and need nobody knows what of its powers."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the controller's operator chooses for all Workspaces.

    Args:
        registry: where public preset images are pulled from.
        generation: image generation; tag, command and probe path always come from the same one.
        most_nodes: a Workspace that asks for more nodes is refused: a slip of the finger costs money.
        downloader_image: fetches data for tuning from URLs; has `sh` and `curl`.
        pusher_image: pushes what tuning made, without any privilege; has `/busybox/sh` and `crane`.
        adapter_base_image: what the pushed image is built on; needs `sh`, `ls` and `cp`, by which adapters
            are loaded.
        allows_privileged_templates: custom pods may have what the baseline Pod Security Standard forbids:
            whoever may write Workspaces gets at the nodes' files and network by them.
        template_service_accounts: the ServiceAccounts that custom pods may run as, with their tokens.
        template_secrets: the Secrets that custom pods may read; `*` in either for all.
        allows_template_scheduling: custom pods may choose a node, a priority, a runtime, or a scheduler, and
            tolerate the taints of Kubernetes itself.
    """

    registry: str = catalog.DEFAULT_REGISTRY
    generation: str = catalog.DEFAULT_GENERATION
    most_nodes: int = 64
    downloader_image: str = "docker.io/curlimages/curl:8.10.1"
    pusher_image: str = "gcr.io/go-containerregistry/crane/debug:v0.20.2"
    adapter_base_image: str = "docker.io/library/busybox:1.36.1"
    allows_privileged_templates: bool = False
    template_service_accounts: frozenset[str] = frozenset()
    template_secrets: frozenset[str] = frozenset()
    allows_template_scheduling: bool = False


def refusal(workspace: Object, settings: Settings | None = None) -> str:
    """Why the Workspace's workload cannot be built; empty when it can.

    Asked before nodes are: KAITO v0.4.0 buys them first and then finds the combination impossible.
    """
    if workspace.get("tuning"):
        from kaitoctl.kaito import tuning  # which builds on this module

        return tuning.refusal(workspace, settings or Settings())
    inference = workspace.get("inference") or {}
    if inference.get("template"):
        return _template_refusal(inference["template"], settings or Settings())
    preset = preset_of(workspace)
    if preset is None:
        name = dig(inference, "preset", "name")
        return f'preset "{name}" is none of those that kaitoctl\'s controller serves (KAITO up to v0.4)'
    chosen = settings or Settings()
    generation = preset.images.get(chosen.generation)
    if generation is None:
        return f'preset "{preset.name}" has no image of generation {chosen.generation}'
    if image_of(workspace, preset, chosen) is None:
        return f'preset "{preset.name}" is private: inference.preset.presetOptions.image must name its image'
    return _runtime_refusal(workspace, preset, generation)


def _template_refusal(template: Object, settings: Settings) -> str:
    """The API does not look into a template, so the parts that are used here are checked here."""
    from kaitoctl.kaito import custom_pod
    from kaitoctl.kube import schema

    wrapped = {"type": "object", "properties": {"template": _TEMPLATE_SCHEMA}}
    for problem in schema.problems({"template": template}, wrapped):
        return f"inference.{problem.path}: {problem.message}"
    return custom_pod.refusal(template, settings)


def _map(*required: str, **properties: Object) -> Object:
    return {
        "type": "object",
        "required": list(required),
        "properties": properties,
        "x-kubernetes-preserve-unknown-fields": True,
    }


def _list(items: Object, least: int = 0) -> Object:
    return {"type": "array", "items": items, "minItems": least}


_PORT: Object = _map(
    "containerPort",
    containerPort={"type": "integer", "minimum": 1, "maximum": 65535},
    protocol={"type": "string", "enum": ["TCP", "UDP", "SCTP"]},
)
_NODE_TERM: Object = _map(matchExpressions=_list(_map()), matchFields=_list(_map()))
_TEXT_MAP: Object = {"type": "object", "additionalProperties": {"type": "string"}}
_TEMPLATE_SCHEMA: Object = _map(
    "spec",
    metadata=_map(labels=_TEXT_MAP, annotations=_TEXT_MAP),
    spec=_map(
        "containers",
        containers=_list(_map("name", name={"type": "string"}, ports=_list(_PORT)), least=1),
        tolerations=_list(_map()),
        affinity=_map(
            nodeAffinity=_map(
                requiredDuringSchedulingIgnoredDuringExecution=_map(nodeSelectorTerms=_list(_NODE_TERM))
            )
        ),
    ),
)


def _runtime_refusal(workspace: Object, preset: Preset, generation: ImageGeneration) -> str:
    runtime = runtime_of(workspace)
    if runtime == "transformers":
        return ""
    if runtime != "vllm":
        return f'{api.ANNOTATION_RUNTIME} "{runtime}" is neither transformers nor vllm'
    if preset.distributed or generation.vllm is None:
        return f'preset "{preset.name}" has no vLLM runtime in image generation {generation.name}'
    if dig(workspace, "inference", "adapters"):
        return (
            f"the vLLM server of image generation {generation.name} does not load adapters; use transformers"
        )
    return ""


def desired(
    workspace: Object, *, gpus: int, settings: Settings, output_dir: str = ""
) -> list[tuple[Kind, Object]]:
    """The objects that should exist for a Workspace that `refusal` has nothing against.

    Args:
        workspace: the Workspace.
        gpus: how many GPUs each pod of a preset asks for.
        settings: image registry and generation.
        output_dir: where tuning writes, if its own ConfigMap says so (`tuning.output_dir`).
    """
    if workspace.get("tuning"):
        from kaitoctl.kaito import tuning

        return tuning.desired(workspace, gpus=gpus, settings=settings, output_dir=output_dir)
    preset = preset_of(workspace)
    if template := dig(workspace, "inference", "template"):
        made = [(DEPLOYMENT, template_deployment(workspace, template, settings))]
        ports = _template_ports(template)
        return ([(SERVICE, service(workspace, ports=ports))] if ports else []) + made
    assert preset is not None, "refusal() said that there is one"
    if preset.distributed:
        return [
            (SERVICE, service(workspace, first_pod_only=True)),
            (SERVICE, headless_service(workspace)),
            (STATEFUL_SET, stateful_set(workspace, preset, gpus, settings)),
        ]
    return [(SERVICE, service(workspace)), (DEPLOYMENT, deployment(workspace, preset, gpus, settings))]


def preset_of(workspace: Object) -> Preset | None:
    """The Workspace's inference preset, None when there is none or nobody knows it."""
    return catalog.preset(str(dig(workspace, "inference", "preset", "name") or ""))


def image_of(workspace: Object, preset: Preset, settings: Settings) -> str | None:
    """The main container's image, None when a private preset names none."""
    if dig(workspace, "inference", "preset", "accessMode") == "private":
        return dig(workspace, "inference", "preset", "presetOptions", "image") or None
    return preset.image(settings.generation, settings.registry)


def runtime_of(workspace: Object) -> str:
    """Which server runs in the image: `transformers` unless the annotation says otherwise."""
    return annotations_of(workspace).get(api.ANNOTATION_RUNTIME) or "transformers"


def headless_name(workspace: Object) -> str:
    """The name of the Service by which the pods of a distributed model find each other."""
    return f"{workspace['metadata']['name']}-headless"


_HTTP: Object = {"name": "http", "protocol": "TCP", "port": 80, "targetPort": PORT}
_TORCH: Object = {"name": "torch", "protocol": "TCP", "port": 29500, "targetPort": 29500}


def service(
    workspace: Object, *, first_pod_only: bool = False, ports: Iterable[Object] | None = None
) -> Object:
    """The ClusterIP Service (a LoadBalancer on request) in front of the model server.

    Unlike KAITO's it does not publish pods that are still loading the model, nor, on a load balancer, the
    port where the model's processes meet, which asks nobody who they are.

    Args:
        workspace: the Workspace.
        first_pod_only: a distributed model answers on its pod of rank 0 alone.
        ports: Service ports; None for those of the model server.
    """
    load_balanced = annotations_of(workspace).get(api.ANNOTATION_ENABLE_LB) == "True"
    if ports is None:
        ports = (_HTTP,) if load_balanced else (_HTTP, _TORCH)
    selector = pod_labels(workspace)
    if first_pod_only:
        selector["statefulset.kubernetes.io/pod-name"] = f"{workspace['metadata']['name']}-0"
    spec = {
        "type": "LoadBalancer" if load_balanced else "ClusterIP",
        "ports": [dict(port) for port in ports],
        "selector": selector,
    }
    return child_object(SERVICE, workspace, spec)


def headless_service(workspace: Object) -> Object:
    """Names for the single pods of a distributed model; they must find each other before any is ready."""
    spec = {
        "clusterIP": "None",
        "ports": [{"name": "torchrun", "protocol": "TCP", "port": 29500, "targetPort": 29500}],
        "selector": pod_labels(workspace),
        "publishNotReadyAddresses": True,
    }
    return child_object(SERVICE, workspace, spec, name=headless_name(workspace))


# A GPU node has no room for a second pod, so the old one goes first.
_ONE_POD_A_NODE: Object = {
    "type": "RollingUpdate",
    "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1},
}


def deployment(workspace: Object, preset: Preset, gpus: int, settings: Settings) -> Object:
    """The Deployment that runs `inference_api.py`: one pod a node, all of its GPUs."""
    return child_object(
        DEPLOYMENT,
        workspace,
        {
            "replicas": _count(workspace),
            "selector": {"matchLabels": pod_labels(workspace)},
            "strategy": dict(_ONE_POD_A_NODE),
            # Kubernetes' default of 600 s would fail a model that takes its full readiness budget.
            "progressDeadlineSeconds": preset.readiness_timeout_s,
            "template": _pod_template(workspace, preset, gpus, settings),
        },
    )


def stateful_set(workspace: Object, preset: Preset, gpus: int, settings: Settings) -> Object:
    """The StatefulSet of a model that spreads over several nodes: all pods at once, each with its rank."""
    return child_object(
        STATEFUL_SET,
        workspace,
        {
            "replicas": _count(workspace),
            "selector": {"matchLabels": pod_labels(workspace)},
            "serviceName": headless_name(workspace),
            "podManagementPolicy": "Parallel",
            "template": _pod_template(workspace, preset, gpus, settings),
        },
    )


def template_deployment(workspace: Object, template: Object, settings: Settings) -> Object:
    """The Deployment of a custom pod: the user's template, placed on the Workspace's nodes.

    The user's own labels, tolerations and affinity stay (KAITO overwrites the affinity); a token of the API
    is mounted only where the operator allows the ServiceAccount.
    """
    from kaitoctl.kaito import custom_pod

    pod = copy.deepcopy(template)
    metadata = pod.get("metadata") or {}
    labels = {**(metadata.get("labels") or {}), **pod_labels(workspace)}
    spec = pod["spec"]
    spec["tolerations"] = [*(spec.get("tolerations") or ()), *map(dict, TOLERATIONS)]
    spec["affinity"] = _with_node_affinity(spec.get("affinity") or {}, node_affinity(workspace))
    if not custom_pod.may_have_token(spec, settings):
        spec["automountServiceAccountToken"] = False
    kept = {key: value for key, value in metadata.items() if key in ("annotations",) and value}
    return child_object(
        DEPLOYMENT,
        workspace,
        {
            "replicas": _count(workspace),
            "selector": {"matchLabels": pod_labels(workspace)},
            "strategy": dict(_ONE_POD_A_NODE),
            "template": {"metadata": {**kept, "labels": labels}, "spec": spec},
        },
    )


def _template_ports(template: Object) -> list[Object]:
    """Service ports for the container ports of a custom pod; the first one answers on port 80.

    KAITO v0.3.2 gives a custom pod no Service at all.
    """
    found: dict[tuple[int, str], Object] = {}
    for container in template["spec"]["containers"]:
        for port in container.get("ports") or ():
            number, protocol = port["containerPort"], port.get("protocol") or "TCP"
            name, outside = (f"{protocol.lower()}-{number}", number) if found else ("http", 80)
            found.setdefault(
                (outside, protocol),
                {"name": name, "protocol": protocol, "port": outside, "targetPort": number},
            )
    return list(found.values())


def _with_node_affinity(affinity: Object, ours: Object) -> Object:
    """The user's affinity, each of its node terms narrowed by ours: terms are alternatives."""
    required = "requiredDuringSchedulingIgnoredDuringExecution"
    (our_term,) = ours[required]["nodeSelectorTerms"]
    node = dict(affinity.get("nodeAffinity") or {})
    terms = dig(node, required, "nodeSelectorTerms") or [{}]
    node[required] = {
        "nodeSelectorTerms": [
            {
                **term,
                "matchExpressions": [*(term.get("matchExpressions") or ()), *our_term["matchExpressions"]],
            }
            for term in terms
        ]
    }
    return {**affinity, "nodeAffinity": node}


def command_of(workspace: Object, preset: Preset, generation: ImageGeneration, gpus: int) -> list[str]:
    """The main container's command: a shell line made of catalog text alone.

    What depends on the Workspace's name is the line's argument `$1`, never its text.
    """
    if runtime_of(workspace) == "vllm":
        assert generation.vllm is not None, "refusal() said that there is one"
        parallel = {"tensor-parallel-size": str(gpus)} if generation.tensor_parallel else {}
        runtime = generation.vllm
        return [
            "/bin/sh",
            "-c",
            command_line(runtime._replace(parameters={**runtime.parameters, **parallel})),
        ]
    if not preset.distributed:
        return ["/bin/sh", "-c", command_line(generation.transformers)]
    line = command_line(_rendezvous(generation.transformers, preset, _count(workspace)))
    metadata = workspace["metadata"]
    first_pod = f"{metadata['name']}-0.{headless_name(workspace)}.{metadata['namespace']}.svc.cluster.local"
    return ["/bin/sh", "-c", line, "launch", first_pod]


def _rendezvous(runtime: Runtime, preset: Preset, count: int) -> Runtime:
    """The torchrun flags by which `count` pods become one model server.

    Source: KAITO v0.3.2 `pkg/inference/preset-inferences.go`; the first pod is found by name instead of the
    Service's address, which is not known before the Service exists.
    """
    launcher = {**runtime.launcher, "nnodes": str(count), "nproc_per_node": str(preset.world_size // count)}
    if count > 1:
        launcher |= {"node_rank": "${HOSTNAME##*-}", "master_addr": '"$1"', "master_port": "29500"}
    meeting = {
        "max_restarts": "3",
        "rdzv_id": "job",
        "rdzv_backend": "c10d",
        "rdzv_endpoint": '"$1":29500',
    }
    return runtime._replace(launcher=launcher, rendezvous=meeting)


def command_line(runtime: Runtime) -> str:
    """The shell line that launches the model server, flags sorted so that it never changes by itself.

    Guarantee: nothing that a user of Workspaces writes is in it.
    """
    launcher = [runtime.base_command, *_flags(runtime.launcher), *_flags(runtime.rendezvous)]
    return " ".join([*launcher, runtime.main_file, *_flags(runtime.parameters)])


def _flags(parameters: Mapping[str, str]) -> list[str]:
    return [f"--{key}={value}" if value else f"--{key}" for key, value in sorted(parameters.items())]


def _pod_template(workspace: Object, preset: Preset, gpus: int, settings: Settings) -> Object:
    generation = preset.images[settings.generation]
    adapters = dig(workspace, "inference", "adapters") or []
    volumes, mounts = _volumes(bool(adapters), gpus)
    main = {
        "name": workspace["metadata"]["name"],
        "image": image_of(workspace, preset, settings),
        "securityContext": dict(NO_NEW_PRIVILEGES),
        "command": command_of(workspace, preset, generation, gpus),
        "ports": [{"containerPort": PORT, "protocol": "TCP"}],
        "resources": {"requests": {api.GPU: str(gpus)}, "limits": {api.GPU: str(gpus)}},
        **_probes(generation.probe_path, preset.readiness_timeout_s),
    }
    spec: Object = {
        "affinity": {"nodeAffinity": node_affinity(workspace)},
        "tolerations": [dict(toleration) for toleration in TOLERATIONS],
        "automountServiceAccountToken": False,  # a model server has no business with the API
        "containers": [main],
    }
    if strengths := [{"name": _adapter_name(item), "value": literal(strength_of(item))} for item in adapters]:
        main["env"] = strengths
        spec["initContainers"] = [_adapter_container(item, mounts) for item in adapters]
    if volumes:
        main["volumeMounts"] = mounts
        spec["volumes"] = volumes
    if secrets := _pull_secrets(workspace):
        spec["imagePullSecrets"] = [{"name": name} for name in secrets]
    return {"metadata": {"labels": pod_labels(workspace)}, "spec": spec}


def strength_of(adapter: Object) -> str:
    """The adapter's strength as written; KAITO's controller crashes where it is absent, we take 1.0."""
    return str(adapter.get("strength") or "1.0")


def _adapter_name(adapter: Object) -> str:
    return str(adapter["source"]["name"])


def literal(argument: str) -> str:
    """The argument or value as Kubernetes hands it over unchanged: it replaces `$(NAME)`, and `$$` by `$`."""
    return argument.replace("$", "$$")


def _adapter_container(adapter: Object, mounts: list[Object]) -> Object:
    name = _adapter_name(adapter)
    return {
        "name": name,
        "image": adapter["source"]["image"],
        "imagePullPolicy": "Always",
        "securityContext": dict(NO_NEW_PRIVILEGES),
        "command": ["/bin/sh", "-c", COPY_DATA, "copy-adapter", literal(f"{ADAPTER_PATH}/{name}")],
        "volumeMounts": mounts,
    }


def _volumes(has_adapters: bool, gpus: int) -> tuple[list[Object], list[Object]]:
    volumes: list[Object] = []
    mounts: list[Object] = []
    if gpus > 1:
        # NCCL between the GPUs of one node needs more than the runtime's 64 MiB.
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
        # Loading may take the preset's whole budget; until then liveness is not asked.
        "startupProbe": {**ask, "periodSeconds": period_s, "failureThreshold": max(1, budget_s // period_s)},
        "livenessProbe": {**ask, "initialDelaySeconds": 600, "periodSeconds": period_s},
        "readinessProbe": {**ask, "initialDelaySeconds": 30, "periodSeconds": period_s},
    }


def node_affinity(workspace: Object) -> Object:
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
    """The preset's and all adapters' pull secrets; KAITO drops the latter for private images."""
    options = dig(workspace, "inference", "preset", "presetOptions") or {}
    names = list(options.get("imagePullSecrets") or ())
    for adapter in dig(workspace, "inference", "adapters") or ():
        names += dig(adapter, "source", "imagePullSecrets") or ()
    return list(dict.fromkeys(names))


def pod_labels(workspace: Object) -> dict[str, str]:
    """The labels by which the Workspace's pods are found."""
    return {api.LABEL_WORKSPACE: workspace["metadata"]["name"]}


def _count(workspace: Object) -> int:
    return int(dig(workspace, "resource", "count") or 1)


def child_object(kind: Kind, workspace: Object, spec: Object, *, name: str = "") -> Object:
    """An object in the Workspace's namespace, of its name unless another is given, with its label."""
    metadata = workspace["metadata"]
    return {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": {
            "name": name or metadata["name"],
            "namespace": metadata["namespace"],
            "labels": {api.LABEL_WORKSPACE: metadata["name"]},
        },
        "spec": spec,
    }
