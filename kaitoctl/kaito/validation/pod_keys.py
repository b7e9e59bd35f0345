"""The names of the keys of pod templates and volumes, because KAITO's webhook refuses any other.

Only names are checked, down to the containers; what is below them the API server judges, of the pod.

Source: the Kubernetes API reference, v1.33, of PodTemplateSpec, PodSpec, Container and Volume.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kaitoctl.kaito.validation.problem import Problem, as_list, as_map, error

_TEMPLATE = frozenset(("metadata", "spec"))
_POD = frozenset(
    (
        "activeDeadlineSeconds", "affinity", "automountServiceAccountToken", "containers", "dnsConfig",
        "dnsPolicy", "enableServiceLinks", "ephemeralContainers", "hostAliases", "hostIPC", "hostNetwork",
        "hostPID", "hostUsers", "hostname", "imagePullSecrets", "initContainers", "nodeName",
        "nodeSelector", "os", "overhead", "preemptionPolicy", "priority", "priorityClassName",
        "readinessGates", "resourceClaims", "resources", "restartPolicy", "runtimeClassName",
        "schedulerName", "schedulingGates", "securityContext", "serviceAccount", "serviceAccountName",
        "setHostnameAsFQDN", "shareProcessNamespace", "subdomain", "terminationGracePeriodSeconds",
        "tolerations", "topologySpreadConstraints", "volumes",
    )
)  # fmt: skip
_CONTAINER = frozenset(
    (
        "args", "command", "env", "envFrom", "image", "imagePullPolicy", "lifecycle", "livenessProbe",
        "name", "ports", "readinessProbe", "resizePolicy", "resources", "restartPolicy",
        "securityContext", "startupProbe", "stdin", "stdinOnce", "terminationMessagePath",
        "terminationMessagePolicy", "tty", "volumeDevices", "volumeMounts", "workingDir",
    )
)  # fmt: skip
_VOLUME_SOURCE = frozenset(
    (
        "awsElasticBlockStore", "azureDisk", "azureFile", "cephfs", "cinder", "configMap", "csi",
        "downwardAPI", "emptyDir", "ephemeral", "fc", "flexVolume", "flocker", "gcePersistentDisk",
        "gitRepo", "glusterfs", "hostPath", "image", "iscsi", "nfs", "persistentVolumeClaim",
        "photonPersistentDisk", "portworxVolume", "projected", "quobyte", "rbd", "scaleIO", "secret",
        "storageos", "vsphereVolume",
    )
)  # fmt: skip


def template_problems(where: str, template: Any) -> Iterator[Problem]:
    """The keys of a pod template that Kubernetes does not know."""
    yield from _unknown(where, template, _TEMPLATE, "a pod template")
    spec = as_map(as_map(template).get("spec"))
    yield from _unknown(f"{where}.spec", spec, _POD, "a pod")
    for key in ("initContainers", "containers"):
        for index, container in enumerate(as_list(spec.get(key))):
            yield from _unknown(f"{where}.spec.{key}[{index}]", container, _CONTAINER, "a container")
    for index, volume in enumerate(as_list(spec.get("volumes"))):
        yield from _unknown(f"{where}.spec.volumes[{index}]", volume, _VOLUME_SOURCE | {"name"}, "a volume")


def volume_problems(where: str, source: Any) -> Iterator[Problem]:
    """The keys of a volumeSource that Kubernetes does not know."""
    yield from _unknown(where, source, _VOLUME_SOURCE, "a volume")


def _unknown(where: str, value: Any, known: frozenset[str], what: str) -> Iterator[Problem]:
    for key in as_map(value):
        if key not in known:
            from kaitoctl.kaito.catalog import close_matches

            near = close_matches(key, sorted(known))
            hint = f"Did you mean {' or '.join(near)}?" if near else ""
            yield error(f"{where}.{key[:80]}", "KW105", f"{what} has no {key[:80]!r}", hint)
