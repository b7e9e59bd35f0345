"""What a pod template gets at besides its own containers: identities, Secrets, places. Pure.

Whoever may create pods in a namespace may run as any of its ServiceAccounts, read any of its Secrets and have
itself put before all others. A controller that makes a pod from somebody's template lends these rights to
whoever may write the template. So each field of a pod is sorted here once: harmless, or reaching for
something. A field that nobody has sorted yet reaches for something unknown.

What a node itself is protected from is in `pod_security`.

Source: k8s.io/api v0.37 core/v1/types.go (PodSpec, VolumeSource, PersistentVolumeClaimSpec, VolumeProjection,
EnvVarSource). A test asks a real API server which fields there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from msgspec import Struct

from kaitoctl.kube.objects import Object, as_map, as_maps

Kind = Literal["identity", "secret", "scheduling", "cluster", "unknown", "never"]

POD_FIELDS: Mapping[str, Kind | None] = {
    # Read below.
    "containers": None,
    "initContainers": None,
    "volumes": None,
    "affinity": None,
    "tolerations": None,
    "serviceAccountName": None,
    "serviceAccount": None,
    "automountServiceAccountToken": None,
    # Read by `pod_security`.
    "hostNetwork": None,
    "hostPID": None,
    "hostIPC": None,
    "hostUsers": None,
    "securityContext": None,
    # Of the pod itself, or narrowing where it runs.
    "activeDeadlineSeconds": None,
    "dnsConfig": None,
    "dnsPolicy": None,
    "enableServiceLinks": None,
    "hostAliases": None,  # in the pod's own /etc/hosts
    "hostname": None,
    "hostnameOverride": None,
    "imagePullSecrets": None,  # the kubelet pulls with them; no container sees them
    "nodeSelector": None,
    "os": None,
    "overhead": None,  # what differs from the RuntimeClass's is refused by admission
    "preemptionPolicy": None,
    "readinessGates": None,
    "resources": None,
    "restartPolicy": None,
    "schedulingGates": None,
    "setHostnameAsFQDN": None,
    "shareProcessNamespace": None,
    "subdomain": None,
    "terminationGracePeriodSeconds": None,
    "topologySpreadConstraints": None,
    # Before others, past the scheduler, or onto devices that nobody counts.
    "evictionResponders": "scheduling",
    "nodeName": "scheduling",
    "priority": "scheduling",
    "priorityClassName": "scheduling",
    "resourceClaims": "scheduling",
    "runtimeClassName": "scheduling",
    "schedulerName": "scheduling",
    "schedulingGroup": "scheduling",
    "workloadRef": "scheduling",
    # Kubernetes takes none in a template.
    "ephemeralContainers": "never",
}
"""Field of a pod's spec -> what it reaches for; None for nothing."""

CONTAINER_FIELDS: Mapping[str, Kind | None] = dict.fromkeys(
    [
        # Read below, or by `pod_security`.
        "env",
        "envFrom",
        "lifecycle",
        "livenessProbe",
        "ports",
        "readinessProbe",
        "securityContext",
        "startupProbe",
        # Of the container itself.
        "args",
        "command",
        "image",
        "imagePullPolicy",
        "name",
        "resizePolicy",
        "resources",
        "restartPolicy",
        "restartPolicyRules",
        "stdin",
        "stdinOnce",
        "terminationMessagePath",
        "terminationMessagePolicy",
        "tty",
        "volumeDevices",
        "volumeMounts",
        "workingDir",
    ]
)
"""Field of a container -> what it reaches for: none does by itself."""

VOLUMES: Mapping[str, Kind | None] = {
    "name": None,
    "configMap": None,
    "downwardAPI": None,
    "emptyDir": None,
    "ephemeral": None,  # read below
    "hostPath": None,  # read by `pod_security`
    "image": None,
    "nfs": None,
    "persistentVolumeClaim": None,
    "projected": None,  # read below
    # A driver hands out what it was made for: Secrets of a vault, certificates, identities.
    "csi": "secret",
    "secret": "secret",
    "azureFile": "secret",
    # With the node's or the cloud's own rights: somebody else's disk, or a program on the node (gitRepo).
    "awsElasticBlockStore": "cluster",
    "azureDisk": "cluster",
    "cephfs": "cluster",
    "cinder": "cluster",
    "fc": "cluster",
    "flexVolume": "cluster",
    "flocker": "cluster",
    "gcePersistentDisk": "cluster",
    "gitRepo": "cluster",
    "glusterfs": "cluster",
    "iscsi": "cluster",
    "photonPersistentDisk": "cluster",
    "portworxVolume": "cluster",
    "quobyte": "cluster",
    "rbd": "cluster",
    "scaleIO": "cluster",
    "storageos": "cluster",
    "vsphereVolume": "cluster",
}
"""Kind of a volume -> what it reaches for; None for nothing."""

CLAIM_FIELDS: Mapping[str, Kind | None] = {
    "accessModes": None,
    "resources": None,
    "storageClassName": None,  # read below
    "volumeAttributesClassName": None,
    "volumeMode": None,
    # A disk that is there already: made for somebody else, or a copy of his.
    "dataSource": "cluster",
    "dataSourceRef": "cluster",
    "selector": "cluster",
    "volumeName": "cluster",
}
"""Field of a claim that is made with the pod -> what it reaches for; None for nothing but a new disk."""

_CLASS_OF_OLD = "volume.beta.kubernetes.io/storage-class"  # an annotation that goes before the field

PROJECTIONS: Mapping[str, Kind | None] = {
    "clusterTrustBundle": None,
    "configMap": None,
    "downwardAPI": None,
    "secret": "secret",
    "podCertificate": "identity",
    "serviceAccountToken": "identity",
}
"""Source of a projected volume -> what it reaches for; None for nothing."""

ENVIRONMENT: Mapping[str, Kind | None] = {
    "configMapKeyRef": None,
    "fieldRef": None,
    "fileKeyRef": None,
    "resourceFieldRef": None,
    "secretKeyRef": "secret",
}
"""Source of a variable -> what it reaches for; None for nothing."""

WHOLE_ENVIRONMENT: Mapping[str, Kind | None] = {
    "prefix": None,
    "configMapRef": None,
    "secretRef": "secret",
}
"""Source of many variables -> what it reaches for; None for nothing."""

_SYSTEM_TAINTS = ("kubernetes.io", "k8s.io", "karpenter.sh", "cilium.io")
_SYSTEM_TAINT_KEYS = frozenset(
    ["CriticalAddonsOnly", "ToBeDeletedByClusterAutoscaler", "DeletionCandidateOfClusterAutoscaler"]
)
# The API server gives these two to every pod (DefaultTolerationSeconds).
_USUAL_TAINTS = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")

_USUAL_SCHEDULER = ("schedulerName", "default-scheduler")

_SECCOMP = "seccomp.security.alpha.kubernetes.io/"


class Reach(Struct, frozen=True):
    """Something that a template gets at.

    Args:
        kind: `identity` (a ServiceAccount, its token), `secret`, `scheduling` (before, or instead of,
            others), `cluster` (with rights of the node or the cloud), `unknown` (a field of a later
            Kubernetes, or of none), `never` (Kubernetes itself takes it in no template).
        path: where, below the template, with its value where that says more: `spec.nodeName: gpu-1`.
        name: of the Secret or the ServiceAccount; empty where it has none that could be allowed by itself.
    """

    kind: Kind
    path: str
    name: str = ""


def reaches(template: Object) -> list[Reach]:
    """What a pod template (`metadata`, `spec`) gets at besides its own containers, in the order of its spec.

    Whatever is of another type than it should be is passed over: the API server refuses it.
    """
    spec = as_map(template.get("spec"))
    found = [*_seccomp(template), *_fields("spec", spec, POD_FIELDS), *_identity(spec), *_tolerations(spec)]
    found += [*_affinity(spec), *_volumes(spec)]
    for name in ("initContainers", "containers"):
        for index, container in enumerate(as_maps(spec.get(name))):
            where = f"spec.{name}[{index}]"
            found += [*_fields(where, container, CONTAINER_FIELDS), *_environment(where, container)]
    return found


def _fields(where: str, value: Object, table: Mapping[str, Kind | None]) -> Iterator[Reach]:
    """The fields that the table says reach for something, and those that it does not have."""
    for field, given in value.items():
        kind = table.get(field, "unknown")
        if kind is not None and given not in (None, "", []) and (field, given) != _USUAL_SCHEDULER:
            shown = f": {given}" if isinstance(given, (str, int)) else ""
            yield Reach(kind, f"{where}.{field}{shown}", _secret_of(given) if kind == "secret" else "")


def _secret_of(source: Any) -> str:
    """The Secret that a volume or a variable names; a CSI driver decides by itself what it hands out."""
    if not isinstance(source, dict):
        return ""
    return str(source.get("secretName") or source.get("name") or "")


def _identity(spec: Object) -> Iterator[Reach]:
    for field in ("serviceAccountName", "serviceAccount"):  # the second is the first's former name
        if (name := spec.get(field)) and name != "default":
            yield Reach("identity", f"spec.{field}: {name}", str(name))
    if spec.get("automountServiceAccountToken") is True:
        yield Reach("identity", "spec.automountServiceAccountToken: true", service_account(spec))


def service_account(spec: Object) -> str:
    """As whom a pod with this spec runs."""
    return str(spec.get("serviceAccountName") or spec.get("serviceAccount") or "default")


def _tolerations(spec: Object) -> Iterator[Reach]:
    for index, toleration in enumerate(as_maps(spec.get("tolerations"))):
        key = str(toleration.get("key") or "")
        domain = key.partition("/")[0] if "/" in key else ""
        is_system = key in _SYSTEM_TAINT_KEYS or any(
            domain == name or domain.endswith(f".{name}") for name in _SYSTEM_TAINTS
        )
        if not key:
            yield Reach("scheduling", f"spec.tolerations[{index}]: every taint")
        elif is_system and not (key in _USUAL_TAINTS and toleration.get("effect") == "NoExecute"):
            yield Reach("scheduling", f"spec.tolerations[{index}]: {key}")


def _affinity(spec: Object) -> Iterator[Reach]:
    """Pods of other namespaces that are kept away: the scheduler heeds it when it places those, too."""
    anti = as_map(as_map(spec.get("affinity")).get("podAntiAffinity"))
    for field, terms in anti.items():
        for index, item in enumerate(as_maps(terms)):
            term = as_map(item.get("podAffinityTerm")) or item
            if term.get("namespaces") or term.get("namespaceSelector") is not None:
                yield Reach("scheduling", f"spec.affinity.podAntiAffinity.{field}[{index}]: other namespaces")


def _volumes(spec: Object) -> Iterator[Reach]:
    account = service_account(spec)
    for index, volume in enumerate(as_maps(spec.get("volumes"))):
        where = f"spec.volumes[{index}]"
        yield from _fields(where, volume, VOLUMES)
        yield from _claim(f"{where}.ephemeral.volumeClaimTemplate", volume)
        for number, source in enumerate(as_maps(as_map(volume.get("projected")).get("sources"))):
            for found in _fields(f"{where}.projected.sources[{number}]", source, PROJECTIONS):
                yield Reach(found.kind, found.path, account if found.kind == "identity" else found.name)


def _claim(where: str, volume: Object) -> Iterator[Reach]:
    made = as_map(as_map(volume.get("ephemeral")).get("volumeClaimTemplate"))
    spec, annotations = as_map(made.get("spec")), as_map(as_map(made.get("metadata")).get("annotations"))
    yield from _fields(f"{where}.spec", spec, CLAIM_FIELDS)
    # No class is no new disk, but any that is there without one.
    if spec.get("storageClassName") == "":
        yield Reach("cluster", f"{where}.spec.storageClassName: empty")
    if annotations.get(_CLASS_OF_OLD) == "":
        yield Reach("cluster", f"{where}.metadata.annotations[{_CLASS_OF_OLD}]: empty")


def _environment(where: str, container: Object) -> Iterator[Reach]:
    for index, variable in enumerate(as_maps(container.get("env"))):
        yield from _fields(f"{where}.env[{index}].valueFrom", as_map(variable.get("valueFrom")), ENVIRONMENT)
    for index, source in enumerate(as_maps(container.get("envFrom"))):
        yield from _fields(f"{where}.envFrom[{index}]", source, WHOLE_ENVIRONMENT)


def _seccomp(template: Object) -> Iterator[Reach]:
    """Kubernetes before 1.27 obeys annotations that the standard of today no longer looks at."""
    for key, value in as_map(as_map(template.get("metadata")).get("annotations")).items():
        if _SECCOMP in str(key) and value == "unconfined":
            yield Reach("cluster", f"metadata.annotations[{key}]: {value}")
