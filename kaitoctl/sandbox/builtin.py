"""The kinds that a cluster has from birth, as one table: names, scope, subresources. Pure.

Their fields are in `types`, what they must look like and what is filled in is in `admission`; custom
resources are in `crd`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field

from kaitoctl.kube import objects
from kaitoctl.kube.objects import Kind, Object
from kaitoctl.sandbox import types
from kaitoctl.sandbox.shapes import DEDUCED, Shape


class Resource(Struct, frozen=True, eq=False):
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
        struct: the type of a built-in kind; None for custom resources.
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
    struct: types.Struct | None = None
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
    *,
    short: str = "",
    categories: str = "",
    subresources: str = "",
    counts: bool = False,
    selectable: str = "",
    namespaced: bool = True,
) -> Resource:
    struct = types.struct_of(group, version, kind)
    assert struct is not None, kind
    return Resource(
        kind=Kind(group, version, kind, plural, namespaced),
        singular=kind.lower(),
        short_names=tuple(short.split()),
        categories=tuple(categories.split()),
        subresources=frozenset(subresources.split()),
        shape=types.shape(struct),
        struct=struct,
        counts=counts,
        selectable=tuple(selectable.split()),
        storage_version=version,
        scale_paths=_SCALE,
        list_kind=f"{kind}List",
    )


def _of(kind: Kind, **more: Any) -> Resource:
    return _resource(kind.group, kind.version, kind.kind, kind.plural, namespaced=kind.namespaced, **more)


_RBAC = "rbac.authorization.k8s.io"
_EVENT_FIELDS = (
    "involvedObject.kind involvedObject.namespace involvedObject.name involvedObject.uid "
    "involvedObject.apiVersion involvedObject.resourceVersion involvedObject.fieldPath reason "
    "reportingComponent source type"
)

NAMESPACES = _of(objects.NAMESPACE, short="ns", subresources="status", selectable="status.phase")
PODS = _of(
    objects.POD,
    short="po",
    categories="all",
    subresources="status log binding eviction",
    selectable="spec.nodeName spec.restartPolicy spec.schedulerName spec.serviceAccountName status.phase "
    "status.podIP status.nominatedNodeName spec.hostNetwork",
    counts=True,
)
SERVICES = _of(
    objects.SERVICE,
    short="svc",
    categories="all",
    subresources="status",
    selectable="spec.clusterIP spec.type",
)
CRDS = _of(
    objects.CRD,
    short="crd crds",
    categories="api-extensions",
    subresources="status",
    counts=True,
)
DEPLOYMENTS = _of(
    objects.DEPLOYMENT, short="deploy", categories="all", subresources="status scale", counts=True
)

BUILTIN: tuple[Resource, ...] = (
    NAMESPACES,
    PODS,
    SERVICES,
    CRDS,
    DEPLOYMENTS,
    _of(objects.NODE, short="no", subresources="status", selectable="spec.unschedulable"),
    _of(objects.EVENT, short="ev", selectable=_EVENT_FIELDS),
    _of(objects.SECRET, selectable="type"),
    _of(objects.CONFIG_MAP, short="cm"),
    _of(
        objects.REPLICA_SET,
        short="rs",
        categories="all",
        subresources="status scale",
        counts=True,
        selectable="status.replicas",
    ),
    _of(objects.STATEFUL_SET, short="sts", categories="all", subresources="status scale", counts=True),
    _of(objects.CONTROLLER_REVISION),
    _of(objects.JOB, categories="all", subresources="status", counts=True, selectable="status.successful"),
    _of(objects.LEASE),
    _resource(
        "apps",
        "v1",
        "DaemonSet",
        "daemonsets",
        short="ds",
        categories="all",
        subresources="status",
        counts=True,
    ),
    _resource("", "v1", "Endpoints", "endpoints", short="ep"),
    _resource("", "v1", "ServiceAccount", "serviceaccounts", short="sa"),
    _resource(
        "", "v1", "PersistentVolumeClaim", "persistentvolumeclaims", short="pvc", subresources="status"
    ),
    _resource(
        "", "v1", "PersistentVolume", "persistentvolumes", short="pv", subresources="status", namespaced=False
    ),
    _resource("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices"),
    _resource("storage.k8s.io", "v1", "StorageClass", "storageclasses", short="sc", namespaced=False),
    _resource(
        "policy",
        "v1",
        "PodDisruptionBudget",
        "poddisruptionbudgets",
        short="pdb",
        subresources="status",
        counts=True,
    ),
    _resource("scheduling.k8s.io", "v1", "PriorityClass", "priorityclasses", short="pc", namespaced=False),
    _resource(_RBAC, "v1", "Role", "roles"),
    _resource(_RBAC, "v1", "RoleBinding", "rolebindings"),
    _resource(_RBAC, "v1", "ClusterRole", "clusterroles", namespaced=False),
    _resource(_RBAC, "v1", "ClusterRoleBinding", "clusterrolebindings", namespaced=False),
)
