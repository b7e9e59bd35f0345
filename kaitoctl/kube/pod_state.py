"""What a Pod is doing, in the words of `kubectl get pods`, and what keeps it from getting on. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Literal, NamedTuple, TypeVar

from msgspec import Struct

from kaitoctl.kube.conditions import is_true, parse_timestamp
from kaitoctl.kube.objects import (
    Object,
    as_map,
    as_maps,
    by_name,
    dig,
    is_being_deleted,
    whole_number,
    without_managed_fields,
)

AFTER_THE_PULL = frozenset(
    {
        "CreateContainerConfigError",
        "PreCreateHookError",
        "CreateContainerError",
        "PreStartHookError",
        "PostStartHookError",
        "RunContainerError",
    }
)
"""Why a container waits whose image is on the node: Kubernetes v1.37.2 kuberuntime_container.go."""
# Waiting reasons that do not heal by waiting: somebody has to change something.
_HOPELESS = frozenset(
    {
        "ImagePullBackOff",
        "ErrImageNeverPull",
        "InvalidImageName",
        "SignatureValidationFailed",
        "CrashLoopBackOff",
        *AFTER_THE_PULL,
    }
)
# ... unless their words are those of a kubelet or runtime that is behind or busy, and tries again.
# Source: Kubernetes v1.37.2 pkg/kubelet/util/manager (caches); containerd 2.1 internal/cri/server.
_TRIED_AGAIN = re.compile(
    r"failed to sync (?:secret|configmap) cache|services have not yet been read|"
    r"deadline ?exceeded|name .{0,200} is reserved for|transport is closing|error reading from server: EOF"
)
Amount = TypeVar("Amount", int, Decimal)
_CONTAINERS = ("containers", "initContainers")
_MOST_DEVICES = 1_000_000  # more is a slip or an attack
_FINAL = frozenset({"ImagePullBackOff", "CrashLoopBackOff"})  # many tries lie behind them
_PASSING = frozenset({"", "ContainerCreating", "PodInitializing"})


class Trouble(Struct, frozen=True):
    """Why a Pod does not get on.

    Args:
        reason: Kubernetes' own word, such as `ImagePullBackOff` or `Unschedulable`.
        message: where and why, in one line.
        container: the container concerned, empty for the whole Pod.
        hopeless: True when waiting will not help.
    """

    reason: str
    message: str
    container: str = ""
    hopeless: bool = False


UNFINISHED = "status.phase!=Succeeded,status.phase!=Failed"
"""The field selector of pods that have not ended."""


def is_ready(pod: Object) -> bool:
    """Whether the Pod serves: condition Ready is True and it is not going away."""
    return is_true(pod, "Ready") and not is_being_deleted(pod)


def is_finished(pod: Object) -> bool:
    """Whether all containers have ended for good; such a Pod holds no resources any more."""
    return dig(pod, "status", "phase") in ("Succeeded", "Failed")


_SIMULATED, _PROCESS = "sandbox://", "process://"
"""Runtimes in a container's id: kaitoctl's sandbox tells of it, or has started a process for it."""


def is_simulated(pod: Object) -> bool:
    """Whether a sandbox only tells of its main containers: nothing serves, whatever its conditions say."""
    ids = [str(item.get("containerID") or "") for item in dig(pod, "status", "containerStatuses") or ()]
    return bool(ids) and all(one.startswith(_SIMULATED) for one in ids)


def reality(status: Object) -> str:
    """Of a container in a sandbox, `simulated` or `real`; empty in a cluster, and before it begins."""
    found = str(status.get("containerID") or "")
    return "simulated" if found.startswith(_SIMULATED) else "real" if found.startswith(_PROCESS) else ""


def container_statuses(pod: Object) -> list[Object]:
    """The states of its containers as the kubelet tells them, init containers first."""
    status = pod.get("status") or {}
    return [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]


def container_specs(pod: Object) -> list[Object]:
    """Its containers, init containers first."""
    spec = as_map(pod.get("spec"))
    return [*as_maps(spec.get("initContainers")), *as_maps(spec.get("containers"))]


def summary(pod: Object) -> str:
    """The STATUS column: `Pending`, `Init:1/3`, `ImagePullBackOff`, `Running`, `Terminating`..."""
    status = pod.get("status") or {}
    if is_being_deleted(pod):
        return "Terminating"
    inits = status.get("initContainerStatuses") or ()
    if (item := next_init(pod)) is not None:
        word = _state_word(item)
        if word not in _PASSING and word != "Running":
            return f"Init:{word}"
        return f"Init:{inits.index(item)}/{len(dig(pod, 'spec', 'initContainers') or ())}"
    for item in status.get("containerStatuses") or ():
        word = _state_word(item)
        if word not in ("", "Running"):
            return word
    return str(status.get("reason") or status.get("phase") or "Unknown")


def next_init(pod: Object) -> Object | None:
    """The status of the init container that the Pod is at: it has not ended well, nor started as a sidecar.

    Source: Kubernetes v1.37.2 pkg/printers/internalversion/printers.go (printPod).
    """
    specs = by_name(dig(pod, "spec", "initContainers"))
    for item in dig(pod, "status", "initContainerStatuses") or ():
        is_past = dig(item, "state", "terminated", "exitCode") == 0
        if not is_past and not is_started_sidecar(specs.get(str(item.get("name"))) or {}, item):
            found: Object = item
            return found
    return None


def trouble(pod: Object) -> Trouble | None:
    """The first thing that keeps the Pod from becoming Ready, or None when it is just on its way."""
    status = pod.get("status") or {}
    if status.get("phase") == "Failed":
        return Trouble(
            str(status.get("reason") or "Failed"),
            str(status.get("message") or "the pod has failed"),
            "",
            True,
        )
    for item in container_statuses(pod):
        if found := _container_trouble(item):
            return found
    for item in status.get("conditions") or ():
        if item.get("type") == "PodScheduled" and item.get("status") == "False":
            return Trouble(
                str(item.get("reason") or "Unschedulable"), str(item.get("message") or "not scheduled")
            )
    return None


class Reference(NamedTuple):
    """What a Pod needs of its namespace.

    Args:
        kind: `Secret`, `ConfigMap` or `PersistentVolumeClaim`.
        name: its name.
        use: `pull` an image, `env` of a container, or `volume`.
        by: the container (`env`) or volume that needs it.
    """

    kind: str
    name: str
    use: Literal["pull", "env", "volume"]
    by: str = ""


_NO_LOG = re.compile(
    r"(?i)unable to retrieve container logs for |failed to try resolving symlinks in path |"
    r"failed to (?:open|seek in|read|tail \d+ lines of) log file |failed to get container status |"
    r"container status is nil|"
    r"rpc error: code = \w+ desc = (?:an error occurred when try to find|could not find) container|"
    r'container "?\S+ in pod "?\S+ is (?:waiting to start|terminated|not available)|'
    r'previous terminated container "?\S+ in pod "?\S+ not found'
)


def log_failure(text: str) -> str:
    """What a kubelet says in the place of a log that it cannot read; empty for a log.

    It has answered with 200 by then, so that its error is the whole of the body.

    Source: Kubernetes v1.37.2 pkg/kubelet/kubelet.go (GetKubeletContainerLogs), pkg/kubelet/kuberuntime/
    kuberuntime_container.go and staging/src/k8s.io/cri-client/pkg/logs/logs.go (ReadLogs).
    """
    said = text.strip()
    return said if _NO_LOG.match(said) and "\n" not in said else ""


def is_on_its_way(pod: Object) -> bool:
    """Whether its containers run for the first time, none has failed, and it is not Ready yet."""
    states = container_statuses(pod)
    return (
        dig(pod, "status", "phase") == "Running"
        and not is_ready(pod)
        and not is_being_deleted(pod)
        and trouble(pod) is None
        and bool(states)
        and not any(item.get("restartCount") for item in states)
    )


def was_ready_for_s(pod: Object, item: Object) -> float:
    """For how many seconds a container that runs and is not ready was; 0 when it never was.

    A kubelet writes at once that a container has begun and that its pod is not Ready: a condition that has
    changed long after that has been True between.
    """
    ready: Object = next(
        (one for one in dig(pod, "status", "conditions") or () if one.get("type") == "Ready"), {}
    )
    if item.get("ready") or ready.get("status") != "False":
        return 0.0
    try:
        began, changed = (
            parse_timestamp(str(moment))
            for moment in (dig(item, "state", "running", "startedAt"), ready.get("lastTransitionTime"))
        )
    except ValueError:
        return 0.0
    served_s = (changed - began).total_seconds()
    return served_s if served_s > _BEGINS_WITHIN_S else 0.0


_BEGINS_WITHIN_S = 60.0


def references(pod: Object) -> list[Reference]:
    """The Secrets, ConfigMaps and claims of volumes that the Pod cannot do without, in order of use.

    Guarantee: never raises, whatever the Pod looks like.
    """
    spec = as_map(pod.get("spec"))
    pulls = as_maps(spec.get("imagePullSecrets"))
    found: list[tuple[Any, ...]] = [("Secret", item.get("name"), "pull") for item in pulls]
    for volume in as_maps(spec.get("volumes")):
        name = str(volume.get("name"))
        found.append(
            ("PersistentVolumeClaim", dig(volume, "persistentVolumeClaim", "claimName"), "volume", name)
        )
        for source in (volume, *as_maps(dig(volume, "projected", "sources"))):
            for kind, part, key in (("Secret", "secret", "secretName"), ("ConfigMap", "configMap", "name")):
                given = as_map(source.get(part))
                if not given.get("optional"):  # a projected secret says `name`
                    found.append((kind, given.get(key) or given.get("name"), "volume", name))
    for container in container_specs(pod):
        by = str(container.get("name"))
        given_env = [as_map(item.get("valueFrom")) for item in as_maps(container.get("env"))]
        for sources, prefix in ((given_env, "KeyRef"), (as_maps(container.get("envFrom")), "Ref")):
            for source in sources:
                for kind, part in (("Secret", "secret"), ("ConfigMap", "configMap")):
                    named = as_map(source.get(part + prefix))
                    if not named.get("optional"):
                        found.append((kind, named.get("name"), "env", by))
    return [Reference(*one) for one in found if isinstance(one[1], str) and one[1]]


def gpu_request(pod: Object, resource: str) -> int:
    """How many whole devices of `resource` the Pod holds.

    Unreadable quantities count as none: the scheduler would never have placed such a Pod.

    Guarantee: never raises, whatever the Pod looks like.
    """
    spec = pod.get("spec") if isinstance(pod, dict) else None
    if not isinstance(spec, dict):
        return 0
    return most_at_once(spec, lambda container: _devices(container, resource))


def most_at_once(spec: Object, amount_of: Callable[[Any], Amount]) -> Amount:
    """How much of something a pod's containers need at once.

    Containers run together, and with them the sidecars: init containers with restartPolicy Always. An
    ordinary init container runs before the containers, beside the sidecars that come before it. The larger of
    the two counts.

    Args:
        spec: the pod's; lists that are none count as empty.
        amount_of: how much a container needs, whatever it is; nothing for an empty one.

    Source: kubernetes `component-helpers/resource/helpers.go` (PodRequests).
    """
    sidecars = most_at_start = amount_of({})
    parts = [spec.get("initContainers"), spec.get("containers")]
    inits, mains = (found if isinstance(found, list) else [] for found in parts)
    for container in inits:
        amount = amount_of(container)
        most_at_start = max(most_at_start, sidecars + amount)
        if is_sidecar(container):
            sidecars += amount
    return max(sum(map(amount_of, mains), sidecars), most_at_start)


def is_sidecar(container: object) -> bool:
    """Whether an init container keeps running beside the main ones."""
    return isinstance(container, dict) and container.get("restartPolicy") == "Always"


def is_started_sidecar(spec: Object, status: Object) -> bool:
    """Whether a sidecar has started: then the kubelet begins with what comes after it."""
    return is_sidecar(spec) and bool(status.get("started"))


# What accelerators and parts of them are called, by how the name begins: `nvidia.com/mig-1g.5gb`. The sources
# are beside the tables of `kaito.node_check.of_gpus` and `.sharing`, which say whose they are.
_ACCELERATORS = (
    *("nvidia.com/", "amd.com/", "gpu.intel.com/", "habana.ai/", "aws.amazon.com/neuron", "google.com/tpu"),
    *("huawei.com/", "qualcomm.com/", "cambricon.com/", "mthreads.com/", "metax-tech.com/", "iluvatar.ai/"),
    *("hygon.com/", "enflame.com/", "furiosa.ai/", "aliyun.com/gpu", "volcano.sh/vgpu", "volcano.sh/gpu"),
    *("tencent.com/vcuda", "4pd.io/", "k8s.amazonaws.com/vgpu", "elasticgpu.io/"),
)
_MONITORING = "_monitoring"  # Intel's resources by which a pod watches all GPUs and holds none


def holds_accelerator(pod: Object) -> bool:
    """Whether the Pod asks for GPUs, parts of them, or devices by a ResourceClaim, of any vendor.

    Guarantee: never raises, whatever the Pod looks like.
    """
    spec = pod.get("spec") if isinstance(pod, dict) else None
    if not isinstance(spec, dict):
        return False
    if spec.get("resourceClaims"):
        return True
    for kind in _CONTAINERS:
        containers = spec.get(kind)
        for container in containers if isinstance(containers, list) else ():
            resources = container.get("resources") if isinstance(container, dict) else None
            for amounts in resources.values() if isinstance(resources, dict) else ():
                if isinstance(amounts, dict) and any(map(_is_accelerator, amounts, amounts.values())):
                    return True
    return False


def _is_accelerator(resource: object, amount: object) -> bool:
    return isinstance(resource, str) and is_accelerator(resource) and str(amount) not in ("0", "None")


def is_accelerator(resource: str) -> bool:
    """Whether pods get GPUs, other accelerators, or parts of them by a resource of this name."""
    return resource.startswith(_ACCELERATORS) and not resource.endswith(_MONITORING)


def holding_gpus(pod: Object) -> Object | None:
    """What there is to remember of a pod for its GPUs, or parts of them: nothing without, and little then."""
    if not holds_accelerator(pod):
        return None
    metadata = pod["metadata"]
    return {
        "metadata": {
            key: metadata[key]
            for key in ("name", "namespace", "labels", "uid", "resourceVersion")
            if key in metadata
        },
        "spec": _holding(pod),
        "status": {"phase": dig(pod, "status", "phase")},
    }


def trimmed(pod: Object) -> Object:
    """What a controller keeps of a pod of its own: what it is, where, what it holds, and how it fares.

    What its containers run, and with what, stands in the workload; a pod's copy is most of its bytes.
    """
    return {**without_managed_fields(pod), "spec": _holding(pod)}


def _holding(pod: Object) -> Object:
    """Of its spec the node, and what its containers ask for."""
    spec = pod.get("spec") or {}
    return {
        "nodeName": spec.get("nodeName"),
        **{
            kind: [
                {
                    "resources": item.get("resources"),
                    **({"restartPolicy": "Always"} if is_sidecar(item) else {}),
                }
                for item in spec.get(kind) or ()
            ]
            for kind in _CONTAINERS
        },
    }


def _devices(container: object, resource: str) -> int:
    resources = container.get("resources") if isinstance(container, dict) else None
    if not isinstance(resources, dict):
        return 0
    amount = None
    for part in ("requests", "limits"):
        if amount is None and isinstance(amounts := resources.get(part), dict):
            amount = amounts.get(resource)
    return whole_number(amount, most=_MOST_DEVICES) or 0


def _state_word(container: Object) -> str:
    state = container.get("state") or {}
    if waiting := state.get("waiting"):
        return str(waiting.get("reason") or "")
    if terminated := state.get("terminated"):
        return str(terminated.get("reason") or f"ExitCode:{terminated.get('exitCode')}")
    return "Running" if state.get("running") is not None else ""


def _container_trouble(item: Object) -> Trouble | None:
    name, state = item["name"], item.get("state") or {}
    waiting, terminated = state.get("waiting") or {}, state.get("terminated") or {}
    reason = str(waiting.get("reason") or "")
    if reason and reason not in _PASSING:
        message = str(waiting.get("message") or reason)
        last = dig(item, "lastState", "terminated") or {}
        if last:
            message = f"{message} (last exit: {_exit(last)})"
        is_hopeless = reason in _HOPELESS and (reason in _FINAL or not _TRIED_AGAIN.search(message))
        return Trouble(reason, f"container {name}: {message}", name, is_hopeless)
    if terminated and terminated.get("exitCode"):
        return Trouble(
            str(terminated.get("reason") or "Error"), f"container {name}: {_exit(terminated)}", name
        )
    return None


def _exit(terminated: Object) -> str:
    code = terminated.get("exitCode")
    words = ["its exit code is unknown" if code is None else f"exit code {code}"]
    if reason := terminated.get("reason"):
        words.insert(0, str(reason))
    if message := terminated.get("message"):
        words.append(str(message).strip())
    return ", ".join(words)
