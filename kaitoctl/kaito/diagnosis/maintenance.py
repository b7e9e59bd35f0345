"""Who has cordoned a node for its maintenance, and opens it again, by what they write on it. Pure.

Taints of such programs are in `kaito.node_check.taints`; these leave annotations or labels beside a cordon.
"""

from __future__ import annotations

import re

from msgspec import Struct

from kaitoctl.kube.objects import Object, annotations_of, labels_of


class Sign(Struct, frozen=True):
    """What a node carries while somebody maintains it.

    Args:
        key: of an annotation or a label.
        pattern: a regular expression that its whole value has.
        who: whose it is.
        what: what goes on.
    """

    key: str
    pattern: str
    who: str
    what: str


# Sources: kubereboot/kured 1.20 cmd/main.go; openshift/machine-config-operator 4.20 pkg/daemon/constants;
# flatcar-linux-update-operator 0.10 pkg/constants; aws-node-termination-handler 1.25 pkg/node/node.go;
# k8snetworkplumbingwg/sriov-network-operator 1.5 pkg/consts; harvester 1.6 pkg/controller/master/node;
# Rancher 2.12 pkg/provisioningv2/capr; NVIDIA k8s-operator-libs 1.x pkg/upgrade/consts.go.
SIGNS = (
    Sign("weave.works/kured-reboot-in-progress", r".+", "kured", "reboots it"),
    Sign("weave.works/kured-most-recent-reboot-needed", r".+", "kured", "wants to reboot it"),
    Sign(
        "machineconfiguration.openshift.io/state",
        r"Degraded|Unreconcilable",
        "OpenShift's machine config operator",
        "could not update it, and its annotation machineconfiguration.openshift.io/reason says why",
    ),
    Sign(
        "machineconfiguration.openshift.io/state",
        r"Working|Rebooting",
        "OpenShift's machine config operator",
        "updates it",
    ),
    Sign(
        "machineconfiguration.openshift.io/desiredDrain",
        r"drain-.+",
        "OpenShift's machine config operator",
        "drains it for an update",
    ),
    Sign(
        "flatcar-linux-update.v1.flatcar-linux.net/reboot-in-progress",
        r"true",
        "the Flatcar update operator",
        "reboots it",
    ),
    Sign(
        "container-linux-update.v1.coreos.com/reboot-in-progress",
        r"true",
        "the Container Linux update operator",
        "reboots it",
    ),
    Sign("aws-node-termination-handler/action", r".+", "aws-node-termination-handler", "drains it"),
    Sign(
        "sriovnetwork.openshift.io/desired-state",
        r"Drain_Required|Reboot_Required",
        "the SR-IOV network operator",
        "configures its network cards",
    ),
    Sign("harvesterhci.io/maintain-status", r"running|completed", "Harvester", "has it in maintenance mode"),
    Sign("rke.cattle.io/pre-drain", r".+", "Rancher", "drains it for an upgrade"),
    Sign("rke.cattle.io/drain-done", r".+", "Rancher", "upgrades it"),
    Sign(
        "nvidia.com/gpu-driver-upgrade-state",
        r"(?!upgrade-done$).+",
        "NVIDIA's GPU operator",
        "upgrades its driver",
    ),
)
"""The first that fits is it."""


def maintenance_of(node: Object) -> Sign | None:
    """What goes on at a cordoned node; None when nobody has left a sign."""
    written = {**labels_of(node), **annotations_of(node)}
    return next(
        (sign for sign in SIGNS if re.fullmatch(sign.pattern, str(written.get(sign.key) or ""))),
        None,
    )
