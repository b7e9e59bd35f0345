"""Whether a list of pods can be that of the whole cluster: what it leaves out may hold GPUs. Pure.

`kubectl get pods` without `-A` lists one namespace, mostly an empty one; with `-l` or `--field-selector`, or
after `jq`, some pods of all. Such a list says nothing of what it leaves out, and every GPU would look free.
A cluster has pods of its own: kube-proxy, a network plugin, DNS, and on a node with GPUs a device plugin.
"""

from __future__ import annotations

from collections.abc import Iterable

from kaitoctl.kaito.node_check.facts import below
from kaitoctl.kaito.node_check.judge import offers_gpus
from kaitoctl.kube import pod_state
from kaitoctl.kube.objects import Object

# Where Kubernetes (KEP of bootstrapping), OpenShift, GKE and others keep what runs on every node.
_SYSTEM = ("kube-", "openshift-", "gke-", "gmp-", "calico-", "cilium", "tigera-", "cattle-", "gpu-operator")
_SHOWN = 3


def gap(nodes: Iterable[Object], pods: Iterable[Object]) -> str:
    """What a list of pods visibly leaves out, empty when nothing shows that it does.

    Args:
        nodes: all that were listed with it.
        pods: the list.

    Returns:
        A predicate for "the list ...".
    """
    namespaces: set[str] = set()
    crowded: set[str] = set()
    for pod in pods:
        namespaces.add(str(below(pod, "metadata", "namespace") or "default"))
        if (name := below(pod, "spec", "nodeName")) and not pod_state.is_finished(pod):
            crowded.add(str(name))
    if not namespaces:
        return "holds no pods at all, not even those of the system"
    listed = list(nodes)
    if listed and all(map(_is_simulated, listed)):
        return ""  # such a cluster has no pods of its own
    if len(namespaces) == 1 or not any(name.startswith(_SYSTEM) for name in namespaces):
        plural = "s" if len(namespaces) > 1 else ""
        return f"covers only the namespace{plural} {_some(namespaces)}"
    if listed and crowded.isdisjoint(str(below(node, "metadata", "name")) for node in listed):
        return "has no pod on any of these nodes: it is of another cluster, or of another time"
    bare = {str(below(node, "metadata", "name")) for node in listed if offers_gpus(node)} - crowded
    if bare:
        return f"has no pod on {_some(bare)}, not even that of a device plugin"
    return ""


def _is_simulated(node: Object) -> bool:
    """Whether a node is one of kaitoctl's sandbox."""
    return str(below(node, "status", "nodeInfo", "containerRuntimeVersion") or "").startswith("sandbox://")


def _some(names: set[str]) -> str:
    shown = sorted(names)[:_SHOWN]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
