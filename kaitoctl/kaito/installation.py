"""Deployments of a cluster -> the controllers that manage Workspaces, and those that make nodes. Pure.

Source of the names: KAITO's charts v0.3.2 to v0.12 (image `.../kaito/workspace:VERSION`); charts of
Azure/gpu-provisioner and of Karpenter's providers (`.../gpu-provisioner`, `.../karpenter/controller`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from msgspec import Struct

from kaitoctl.kube import workloads
from kaitoctl.kube.objects import Object, dig, key_of, labels_of

_KAITO = r"kaito[^:@]*/workspace(?::v?(?P<version>[^@]+))?(?:@|$)"
# What its charts set, whatever the image is called where it was copied to; nobody else has both.
_ENVIRONMENT = frozenset({"PRESET_REGISTRY_NAME", "WEBHOOK_SERVICE"})
_ADDON = ("kubernetes.azure.com/managedby", "addonmanager.kubernetes.io/mode")
_MAKES_NODES = (
    r"(?:^|/)(?P<kind>gpu-provisioner|karpenter)(?:-provider-\w{1,20})?(?:/controller)?"
    r"(?::v?(?P<version>[^@]+))?(?:@|$)"
)
_PROVISIONER = r"--node-provisioner[= ](\S+)"


class Installed(Struct, frozen=True):
    """A controller of Workspaces.

    Args:
        kind: `KAITO` or `kaitoctl`.
        version: from its image's tag; empty when that does not say.
        namespace: of its Deployment.
        name: of its Deployment.
        ready: pods that are ready.
        wanted: pods that there should be.
        provisioner: KAITO v0.12's `--node-provisioner`; empty when it is not given.
        is_addon: a cloud's add-on manager keeps it as it is.
        stalled: why its pods are not replaced by those of its present spec, in the cluster's words; empty
            while that is done or under way.
        selector: of its pods, `KEY=VALUE,...`.
        behind: what is still to come until only pods of its present spec run, all ready; empty when they do.
    """

    kind: str
    version: str
    namespace: str
    name: str
    ready: int
    wanted: int
    provisioner: str = ""
    is_addon: bool = False
    stalled: str = ""
    selector: str = ""
    behind: str = ""

    @property
    def is_alive(self) -> bool:
        """Whether it runs, or is to run."""
        return self.ready > 0 or self.wanted > 0

    @property
    def words(self) -> str:
        """One line about it."""
        version = f" {self.version}" if self.version else ""
        where = f"Deployment {self.namespace}/{self.name}"
        return f"{self.kind}{version}: {where}, {self.ready} of {self.wanted} pods ready"

    @property
    def words_with_provisioner(self) -> str:
        """The same with what it makes nodes by, as far as that is given."""
        return f"{self.words}, nodes by {self.provisioner}" if self.provisioner else self.words


def controllers(deployments: Iterable[Object]) -> list[Installed]:
    """The controllers of Workspaces among all Deployments of a cluster."""
    found = []
    for item in deployments:
        for container in dig(item, "spec", "template", "spec", "containers") or ():
            image = str(container.get("image") or "")
            words = [*(container.get("command") or ()), *(container.get("args") or ())]
            variables = {str(item.get("name")) for item in container.get("env") or ()}
            if match := re.search(_KAITO, image):
                kind, version = "KAITO", match["version"] or ""
            elif variables >= _ENVIRONMENT:
                tag = image.partition("@")[0].rpartition("/")[2].partition(":")[2]
                kind, version = "KAITO", tag.removeprefix("v")
            elif "run-controller" in words:
                kind, version = "kaitoctl", image.rpartition(":")[2] if ":" in image else ""
            else:
                continue
            given = re.search(_PROVISIONER, " ".join(map(str, words)))
            found.append(_installation(item, kind, version, given[1] if given else ""))
    return found


def provisioners(deployments: Iterable[Object]) -> list[Installed]:
    """What makes nodes of NodeClaims, among all Deployments of a cluster; a managed one is not among them."""
    found = []
    for item in deployments:
        images = [str(one.get("image")) for one in dig(item, "spec", "template", "spec", "containers") or ()]
        if match := next(filter(None, (re.search(_MAKES_NODES, image) for image in images)), None):
            found.append(_installation(item, match["kind"], match["version"] or ""))
    return found


def _installation(item: Object, kind: str, version: str, provisioner: str = "") -> Installed:
    wanted, labels = dig(item, "spec", "replicas"), dig(item, "spec", "selector", "matchLabels") or {}
    return Installed(
        kind,
        version,
        *key_of(item),
        ready=int(dig(item, "status", "readyReplicas") or 0),
        wanted=1 if wanted is None else int(wanted),
        provisioner=provisioner,
        is_addon=any(label in labels_of(item) for label in _ADDON),
        stalled=workloads.refused_pods(item) or workloads.why_stalled(item),
        selector=",".join(f"{key}={value}" for key, value in sorted(labels.items())),
        behind=_behind(item),
    )


def _behind(item: Object) -> str:
    if not (wanted := workloads.replicas(item)):
        return "it is scaled to 0"
    if workloads.is_rolled_out(item):
        return ""
    status = item.get("status") or {}
    counted = ("replicas", "updatedReplicas", "readyReplicas")
    there, new, ready = (int(status.get(key) or 0) for key in counted)
    old = f", {there - new} of an older spec" if there > new else ""
    return f"{new} of {wanted} pods are of its present spec{old}; {ready} ready"
