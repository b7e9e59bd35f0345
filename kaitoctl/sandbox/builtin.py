"""The kinds that a cluster has from birth, as one table: names, verbs, how their fields merge. Pure.

What they must look like and what is filled in is in `admission`; custom resources are in `crd`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kaitoctl.kube import objects
from kaitoctl.kube.objects import Kind, Object
from kaitoctl.sandbox.apply import DEDUCED, Shape

Tree = dict[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Resource:
    """A resource as it is served: one kind in one version.

    Args:
        kind: names and scope.
        singular: `deployment`.
        short_names: `deploy`.
        categories: `all` makes `kubectl get all` list it.
        subresources: `status`, `scale`, `log`, `binding`.
        shape: how its fields merge.
        counts: whether `metadata.generation` counts changes of what is wanted.
        selectable: fields besides name and namespace for field selectors.
        schema: the structural schema of a custom resource; None for built-in kinds.
        storage_version: the version that objects are kept in.
        columns: `additionalPrinterColumns` of a custom resource.
        scale_paths: JSON paths of the scale subresource.
    """

    kind: Kind
    singular: str = ""
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: frozenset[str] = frozenset()
    shape: Shape = DEDUCED
    counts: bool = False
    selectable: tuple[str, ...] = ()
    schema: Object | None = None
    storage_version: str = ""
    columns: tuple[Object, ...] = ()
    scale_paths: Mapping[str, str] = field(default_factory=dict)
    list_kind: str = ""

    @property
    def name(self) -> str:
        """Which resource it is, in every version: `deployments.apps`."""
        kind = self.kind
        return f"{kind.plural}.{kind.group}" if kind.group else kind.plural

    @property
    def is_custom(self) -> bool:
        """Whether a CustomResourceDefinition made it."""
        return self.schema is not None


def shape(tree: Tree) -> Shape:
    """A shape from its short form.

    The keys of `tree` are field names with a mark: `ports[containerPort,protocol=TCP]` merges by these
    keys (the value is what a missing key stands for), `finalizers{}` is a set, `nodeSelector!` is one value.
    Values are the marks of the fields below.
    """
    fields: dict[str, Shape] = {}
    for marked, below in tree.items():
        match = re.fullmatch(r"(\w+)(?:\[(.*)\]|(\{\})|(!))?", marked)
        if match is None:
            raise ValueError(marked)
        name, keys, is_set, atomic = match.groups()
        inner = shape(below)
        if keys is not None:
            parts = (part.partition("=") for part in keys.split(","))
            pairs = tuple((key, (default if sign else None)) for key, sign, default in parts)
            fields[name] = Shape(items=inner, keys=pairs)
        elif is_set:
            fields[name] = Shape(is_set=True)
        else:
            fields[name] = Shape(inner.fields, atomic=bool(atomic))
    return Shape(fields)


# Source of the marks: the listType, listMapKey and mapType comments of k8s.io/api, as published in the
# API's OpenAPI document (x-kubernetes-list-type and friends), Kubernetes 1.34.
_META: Tree = {"ownerReferences[uid]": {}, "finalizers{}": {}}
_CONDITIONS: Tree = {"conditions[type]": {}}
_REFERENCE: Tree = {
    "fieldRef!": {},
    "secretKeyRef!": {},
    "configMapKeyRef!": {},
    "resourceFieldRef!": {},
    "fileKeyRef!": {},
}
_CONTAINER: Tree = {
    "env[name]": {"valueFrom": _REFERENCE},
    "ports[containerPort,protocol=TCP]": {},
    "volumeMounts[mountPath]": {},
    "volumeDevices[devicePath]": {},
    "resizePolicy": {},
    "resources": {"claims[name]": {}},
}
_SELECTOR: Tree = {"selector!": {}}
_POD_SPEC: Tree = {
    "containers[name]": _CONTAINER,
    "initContainers[name]": _CONTAINER,
    "ephemeralContainers[name]": _CONTAINER,
    "volumes[name]": {"secret": {}, "configMap": {}},
    "imagePullSecrets[name]": {},
    "hostAliases[ip]": {},
    "nodeSelector!": {},
    "topologySpreadConstraints[topologyKey,whenUnsatisfiable]": {"labelSelector!": {}},
    "resourceClaims[name]": {},
    "schedulingGates[name]": {},
    "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution!": {}}},
}
_TEMPLATE: Tree = {"metadata": _META, "spec": _POD_SPEC}
_CLAIM: Tree = {
    "metadata": _META,
    "spec": {"dataSource!": {}, "selector!": {}},
    "status": _CONDITIONS,
}
_WORKLOAD: Tree = {"spec": {"template": _TEMPLATE, **_SELECTOR}, "status": _CONDITIONS}


_SCALE = {
    "specReplicasPath": ".spec.replicas",
    "statusReplicasPath": ".status.replicas",
    "labelSelectorPath": ".spec.selector",
}


def _resource(
    group: str,
    version: str,
    kind: str,
    plural: str,
    tree: Tree | None = None,
    *,
    short: str = "",
    categories: str = "",
    subresources: str = "",
    counts: bool = False,
    selectable: str = "",
    namespaced: bool = True,
) -> Resource:
    return Resource(
        kind=Kind(group, version, kind, plural, namespaced),
        singular=kind.lower(),
        short_names=tuple(short.split()),
        categories=tuple(categories.split()),
        subresources=frozenset(subresources.split()),
        shape=shape({"metadata": _META, **(tree or {})}),
        counts=counts,
        selectable=tuple(selectable.split()),
        storage_version=version,
        scale_paths=_SCALE,
        list_kind=f"{kind}List",
    )


def _of(kind: Kind, tree: Tree | None = None, **more: Any) -> Resource:
    return _resource(
        kind.group, kind.version, kind.kind, kind.plural, tree, namespaced=kind.namespaced, **more
    )


_RBAC = "rbac.authorization.k8s.io"
_EVENT_FIELDS = (
    "involvedObject.kind involvedObject.namespace involvedObject.name involvedObject.uid "
    "involvedObject.apiVersion involvedObject.resourceVersion involvedObject.fieldPath reason "
    "reportingComponent source type"
)

NAMESPACES = _of(
    objects.NAMESPACE, {"status": _CONDITIONS}, short="ns", subresources="status", selectable="status.phase"
)
PODS = _of(
    objects.POD,
    {
        "spec": _POD_SPEC,
        "status": {**_CONDITIONS, "podIPs[ip]": {}, "hostIPs": {}},
    },
    short="po",
    categories="all",
    subresources="status log binding",
    selectable="spec.nodeName spec.restartPolicy spec.schedulerName spec.serviceAccountName status.phase "
    "status.podIP status.nominatedNodeName spec.hostNetwork",
    counts=True,
)
SERVICES = _of(
    objects.SERVICE,
    {
        "spec": {"ports[port,protocol=TCP]": {}, "selector!": {}, "clusterIPs": {}},
        "status": {**_CONDITIONS, "loadBalancer": {}},
    },
    short="svc",
    categories="all",
    subresources="status",
    selectable="spec.clusterIP spec.type",
)
CRDS = _of(
    objects.CRD,
    {"status": _CONDITIONS},
    short="crd crds",
    categories="api-extensions",
    subresources="status",
    counts=True,
)
DEPLOYMENTS = _of(
    objects.DEPLOYMENT, _WORKLOAD, short="deploy", categories="all", subresources="status scale", counts=True
)

BUILTIN: tuple[Resource, ...] = (
    NAMESPACES,
    PODS,
    SERVICES,
    CRDS,
    DEPLOYMENTS,
    _of(
        objects.NODE,
        {
            "spec": {"podCIDRs{}": {}},
            "status": {**_CONDITIONS, "addresses[type]": {}},
        },
        short="no",
        subresources="status",
        selectable="spec.unschedulable",
    ),
    _of(objects.EVENT, short="ev", selectable=_EVENT_FIELDS),
    _of(objects.SECRET, selectable="type"),
    _of(objects.CONFIG_MAP, short="cm"),
    _of(
        objects.REPLICA_SET,
        _WORKLOAD,
        short="rs",
        categories="all",
        subresources="status scale",
        counts=True,
        selectable="status.replicas",
    ),
    _of(
        objects.STATEFUL_SET,
        {"spec": {"template": _TEMPLATE, **_SELECTOR}, "status": _CONDITIONS},
        short="sts",
        categories="all",
        subresources="status scale",
        counts=True,
    ),
    _of(objects.CONTROLLER_REVISION),
    _of(
        objects.JOB,
        _WORKLOAD,
        categories="all",
        subresources="status",
        counts=True,
        selectable="status.successful",
    ),
    _of(objects.LEASE),
    _resource(
        "apps",
        "v1",
        "DaemonSet",
        "daemonsets",
        _WORKLOAD,
        short="ds",
        categories="all",
        subresources="status",
        counts=True,
    ),
    _resource("", "v1", "Endpoints", "endpoints", short="ep"),
    _resource(
        "",
        "v1",
        "ServiceAccount",
        "serviceaccounts",
        {"imagePullSecrets": {}, "secrets[name]": {}},
        short="sa",
    ),
    _resource(
        "",
        "v1",
        "PersistentVolumeClaim",
        "persistentvolumeclaims",
        _CLAIM,
        short="pvc",
        subresources="status",
    ),
    _resource(
        "",
        "v1",
        "PersistentVolume",
        "persistentvolumes",
        {"spec": {"claimRef!": {}}},
        short="pv",
        subresources="status",
        namespaced=False,
    ),
    _resource("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices"),
    _resource("storage.k8s.io", "v1", "StorageClass", "storageclasses", short="sc", namespaced=False),
    _resource(
        "policy",
        "v1",
        "PodDisruptionBudget",
        "poddisruptionbudgets",
        {"spec": _SELECTOR, "status": _CONDITIONS},
        short="pdb",
        subresources="status",
        counts=True,
    ),
    _resource("scheduling.k8s.io", "v1", "PriorityClass", "priorityclasses", short="pc", namespaced=False),
    _resource(_RBAC, "v1", "Role", "roles"),
    _resource(_RBAC, "v1", "RoleBinding", "rolebindings"),
    _resource(_RBAC, "v1", "ClusterRole", "clusterroles", {"aggregationRule!": {}}, namespaced=False),
    _resource(_RBAC, "v1", "ClusterRoleBinding", "clusterrolebindings", namespaced=False),
)
