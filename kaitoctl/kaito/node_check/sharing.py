"""What one `nvidia.com/gpu` of a node really is: a whole GPU, a share of one, or a MIG slice. Pure.

A device plugin can offer one GPU several times. A pod that asks for two such devices may get the same GPU
twice, or two slices of which a process can use one.

Source: NVIDIA k8s-device-plugin v0.20.0, docs/gpu-feature-discovery/README.md and `internal/lm/resource.go`
for the labels, `api/config/v1/sharing.go` and `internal/rm/rm.go` for what it refuses (with MPS any request
of more than one), `cmd/mps-control-daemon/mps/daemon.go` for MPS's limit of memory; mig-parted's
`deployments/container/reconfigure-mig.sh` for the states of MIG; GKE's documentation of GPU sharing for its
own labels.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Literal

from msgspec import Struct

from kaitoctl.kaito import api
from kaitoctl.kube.objects import whole_number

Strategy = Literal["time-slicing", "mps", "mig", "unknown"]

LABEL_REPLICAS = "nvidia.com/gpu.replicas"
LABEL_STRATEGY = "nvidia.com/gpu.sharing-strategy"
LABEL_MPS = "nvidia.com/mps.capable"
LABEL_SLICES = "nvidia.com/gpu.slices.gi"  # only where `nvidia.com/gpu` means MIG slices
LABEL_MIG_CONFIG = "nvidia.com/mig.config"
LABEL_MIG_STATE = "nvidia.com/mig.config.state"
LABEL_PLUGIN = "nvidia.com/gpu.deploy.device-plugin"
LABEL_UPGRADE = "nvidia.com/gpu-driver-upgrade-state"
GKE_STRATEGY = "cloud.google.com/gke-gpu-sharing-strategy"
GKE_CLIENTS = "cloud.google.com/gke-max-shared-clients-per-gpu"
GKE_PARTITION = "cloud.google.com/gke-gpu-partition-size"

LABELS = (
    LABEL_REPLICAS,
    LABEL_STRATEGY,
    LABEL_MPS,
    LABEL_SLICES,
    LABEL_MIG_CONFIG,
    LABEL_MIG_STATE,
    LABEL_PLUGIN,
    LABEL_UPGRADE,
    GKE_STRATEGY,
    GKE_CLIENTS,
    GKE_PARTITION,
)
"""The node labels that tell how GPUs are shared, or that they are being changed."""

_STRATEGIES: Mapping[str, Strategy] = {
    "time-slicing": "time-slicing",
    "time-sharing": "time-slicing",  # GKE's word
    "mps": "mps",
}
# The product of a slice: NVIDIA-A100-SXM4-80GB-MIG-2g.20gb, then perhaps -SHARED.
_MIG_PRODUCT = re.compile(r"-MIG-(?P<profile>[\w.-]+?)(?:-SHARED)?$")
_PROFILE_GIB = re.compile(r"\d+g\.(\d+)gb")
_SHARED = "-SHARED"
# Of one machine: AWS p2.16xlarge, GCP a2-megagpu-16g, DGX-2. HAMi and others that share a GPU set no label.
_MOST_GPUS = 16

_MIG = "nvidia.com/mig-"
# What schedulers and device plugins that share GPUs by memory or by cores call them.
# Source: gpushare-device-plugin (Aliyun), volcano-sh/devices, tencent gpu-manager, 4paradigm vGPU scheduler,
# awslabs virtual GPU plugin, elastic-ai elastic-gpu, TKE qGPU, nvshare, koordinator: each project's README.
_SHARING_PLUGINS = (
    "aliyun.com/gpu",
    "volcano.sh/vgpu",
    "volcano.sh/gpu",
    "tencent.com/vcuda",
    "4pd.io/",
    "k8s.amazonaws.com/vgpu",
    "elasticgpu.io/",
    "tke.cloud.tencent.com/qgpu",
    "nvshare.com/gpu",
    "koordinator.sh/gpu",
    "koordinator.sh/shared-gpu",
)
# What GPU operator labels the driver's upgrade with while the node is not the way that it will be.
_UPGRADED = frozenset({"", "upgrade-done", "upgrade-required", "unknown"})


class Sharing(Struct, frozen=True):
    """How the devices of a node come from its GPUs.

    Args:
        strategy: by what they are shared; `unknown` when only their number tells that they are.
        replicas: devices made of each GPU, or of each slice.
        gpus: whole GPUs behind them; for MIG the slices.
        profile: the slices' MIG profile, such as `1g.5gb`.
    """

    strategy: Strategy
    replicas: int
    gpus: int
    profile: str = ""

    @property
    def together(self) -> int:
        """How many devices of different GPUs one pod can use: of slices, and with MPS, just one."""
        return 1 if self.strategy in ("mig", "mps") else self.gpus

    @property
    def words(self) -> str:
        """What the devices are, for a message: `MIG slices (1g.5gb)`."""
        if self.strategy == "mig":
            return "MIG slices" + (f" ({self.profile})" if self.profile else "")
        if self.strategy == "unknown" and self.replicas > _MOST_GPUS:
            return "more than a machine has GPUs: shares of them"
        how = {"mps": " by MPS", "time-slicing": " by time slicing"}.get(self.strategy, "")
        behind = f"{self.gpus} GPU" + ("" if self.gpus == 1 else "s")
        return f"{behind} shared{how}, each offered {self.replicas} times"

    def memory_gib(self, of_label: float | None) -> float | None:
        """Memory that one device may use; the label has that of a whole GPU, or of a slice."""
        if self.strategy == "mig":
            return of_label or profile_gib(self.profile)
        if self.strategy == "mps" and of_label:
            return round(of_label / self.replicas, 1)
        return of_label


class Slices(Struct, frozen=True):
    """The MIG slices of one kind that a node offers beside its GPUs, or instead of them (strategy `mixed`).

    Args:
        resource: such as `nvidia.com/mig-3g.40gb`.
        allocatable: that pods may ask for.
        in_use: that unfinished pods hold; None when that is not known.
        is_closed: whether the node takes no pods.
    """

    resource: str
    allocatable: int
    in_use: int | None
    is_closed: bool = False

    @property
    def profile(self) -> str:
        """As `resource.partition.profile` writes it."""
        return self.resource.removeprefix(_MIG)

    @property
    def free(self) -> int | None:
        """That a new pod could get now; None when that is not known."""
        if self.is_closed:
            return 0
        return None if self.in_use is None else max(0, self.allocatable - self.in_use)

    @property
    def words(self) -> str:
        """How many are free: `1 of 2 MIG slices 3g.40gb free`."""
        free = "some" if self.free is None else str(self.free)
        noun = "slice" if self.allocatable == 1 else "slices"
        return f"{free} of {self.allocatable} MIG {noun} {self.profile} free"


def slices_on(
    allocatable: Mapping[str, Any], held: Callable[[str], int] | None, *, is_closed: bool = False
) -> tuple[Slices, ...]:
    """The MIG slices that a node offers by names of their own, the largest first.

    Args:
        allocatable: the node's amounts by resource.
        held: how many of a resource unfinished pods hold there; None when that is not known.
        is_closed: whether the node takes no pods.
    """
    offered = [
        Slices(name, number, held(name) if held else None, is_closed)
        for name in mig_slices(allocatable)
        if (number := whole_number(allocatable[name]))
    ]
    return tuple(sorted(offered, key=lambda one: (-(profile_gib(one.resource) or 0), one.resource)))


def sharing_of(
    labels: Mapping[str, str], *, devices: int, gpus_labelled: int, gpus_of_type: int, product: str
) -> Sharing | None:
    """How the `nvidia.com/gpu` devices of a node are shared; None when each is a GPU of its own.

    Args:
        labels: the node's.
        devices: how many it has.
        gpus_labelled: what `nvidia.com/gpu.count` says, 0 without.
        gpus_of_type: GPUs of its instance type by the catalogue, 0 when not known.
        product: what `nvidia.com/gpu.product` says.
    """
    strategy = labels.get(LABEL_STRATEGY) or labels.get(GKE_STRATEGY) or ""
    replicas = max(_number(labels.get(LABEL_REPLICAS)), _number(labels.get(GKE_CLIENTS)), 1)
    named = _MIG_PRODUCT.search(product)
    profile = (named.group("profile") if named else "") or labels.get(GKE_PARTITION, "")
    if profile or LABEL_SLICES in labels:
        return Sharing("mig", replicas, gpus_labelled or max(1, devices // replicas), profile)
    # Without labels numbers tell: no machine has more GPUs than its type, and none has more than 16.
    behind = gpus_labelled or gpus_of_type or (1 if replicas == 1 and devices > _MOST_GPUS else 0)
    if replicas == 1 and behind and devices > behind:
        replicas = -(-devices // behind)
    if replicas == 1:
        # One replica is no sharing; a product called shared without a number is, by whatever number.
        return Sharing("unknown", 2, behind or 1) if product.endswith(_SHARED) else None
    mps: Strategy = "mps" if labels.get(LABEL_MPS) == "true" else "unknown"
    return Sharing(_STRATEGIES.get(strategy, mps), replicas, behind or max(1, devices // replicas))


def profile_gib(text: str) -> float | None:
    """The memory of a MIG profile such as `3g.40gb`, or of the resource that is called after it."""
    found = _PROFILE_GIB.search(text)
    return float(found.group(1)) if found else None


def mig_slices(amounts: Mapping[str, Any]) -> list[str]:
    """The resources under which MIG slices are offered when the strategy is `mixed`."""
    return sorted(key for key in amounts if str(key).startswith(_MIG))


def renamed(amounts: Mapping[str, Any]) -> list[str]:
    """GPUs under another name: `nvidia.com/gpu.shared`, those for virtual machines, of plugins that share."""
    others = (key for key in map(str, amounts) if key != api.GPU and not key.startswith(_MIG))
    return sorted(key for key in others if key.startswith(("nvidia.com/", *_SHARING_PLUGINS)))


def changing(labels: Mapping[str, str]) -> tuple[str, str]:
    """What is being done to the node's GPUs right now, as a code and words; both empty when nothing is."""
    state, config = labels.get(LABEL_MIG_STATE, ""), labels.get(LABEL_MIG_CONFIG, "")
    paused = labels.get(LABEL_PLUGIN, "")
    aim = f" to {config}" if config else ""
    if state in ("failed", "error"):
        return "mig-failed", f"the reconfiguration of MIG{aim} has failed ({LABEL_MIG_STATE}={state})"
    if state not in ("", "success"):
        return "mig-changing", f"MIG is being reconfigured{aim} ({LABEL_MIG_STATE}={state})"
    if paused == "paused-for-mig-change":
        return "mig-changing", f"MIG is being reconfigured{aim} ({LABEL_PLUGIN}={paused})"
    upgrade = labels.get(LABEL_UPGRADE, "")
    if upgrade == "upgrade-failed":
        return "gpu-driver-upgrade", f"the upgrade of its GPU driver has failed ({LABEL_UPGRADE}={upgrade})"
    if upgrade not in _UPGRADED or paused == "paused-for-driver-upgrade":
        label = f"{LABEL_UPGRADE}={upgrade}" if upgrade else f"{LABEL_PLUGIN}={paused}"
        return "gpu-driver-upgrade", f"its GPU driver is being upgraded ({label})"
    return "", ""


def _number(text: str | None) -> int:
    return int(text) if text and len(text) < 5 and text.isascii() and text.isdigit() else 0
