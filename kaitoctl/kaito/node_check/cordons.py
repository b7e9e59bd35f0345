"""Controllers that close a node for new pods and open it again by themselves. Pure.

Where one of them says on the node that it is at work, to uncordon the node by hand would fight it: it closes
the node again, or reboots it under the pods that have come since.

Source: kured `cmd/kured/main.go` (--annotate-nodes); openshift/machine-config-operator
`pkg/daemon/constants/constants.go`; flatcar-linux-update-operator `pkg/constants`; sriov-network-operator
`pkg/consts`; NVIDIA/k8s-operator-libs `pkg/upgrade/consts.go` (the network operator's driver); NVSentinel
fault-quarantine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from msgspec import Struct


class _Sign(Struct, frozen=True):
    """A label or annotation by which a controller says that it is at work on a node.

    Args:
        key: of the label or annotation.
        who: the controller; empty where the value names it.
        holds: for which values.
    """

    key: str
    who: str
    holds: Callable[[str], bool]


def _any(value: str) -> bool:
    return bool(value)


def _true(value: str) -> bool:
    return value.lower() == "true"


def _but(*idle: str) -> Callable[[str], bool]:
    return lambda value: bool(value) and value not in idle


_MCO = "OpenShift's machine-config-operator"
_SRIOV = "the SR-IOV network operator"
_IN_LABELS = (
    _Sign("k8saas.nvidia.com/cordon-by", "", _any),
    _Sign("dgxc.nvidia.com/cordon-by", "", _any),
    _Sign(
        "nvidia.com/ofed-driver-upgrade-state", "NVIDIA's network operator", _but("upgrade-done", "unknown")
    ),
)
_IN_ANNOTATIONS = (
    _Sign("weave.works/kured-reboot-in-progress", "kured", _any),
    _Sign("machineconfiguration.openshift.io/state", _MCO, _but("Done")),
    _Sign("machineconfiguration.openshift.io/desiredDrain", _MCO, lambda value: value.startswith("drain-")),
    _Sign(
        "flatcar-linux-update.v1.flatcar-linux.net/reboot-in-progress",
        "Flatcar's update operator",
        _true,
    ),
    _Sign("sriovnetwork.openshift.io/state", _SRIOV, _but("Idle")),
)
LABELS = tuple(sign.key for sign in _IN_LABELS)
ANNOTATIONS = tuple(sign.key for sign in _IN_ANNOTATIONS)


def cordoned_by(labels: Mapping[str, str], annotations: Mapping[str, str]) -> str:
    """Who says on a node that it has closed it, empty when nobody does."""
    for signs, said in ((_IN_LABELS, labels), (_IN_ANNOTATIONS, annotations)):
        for sign in signs:
            if sign.holds(value := said.get(sign.key, "")):
                return sign.who or value
    return ""
