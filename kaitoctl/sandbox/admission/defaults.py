"""What is filled in where an object of a built-in kind says nothing. Pure.

Set in place with `setdefault`, which leaves the parts that an object shares with its stored version alone,
because those have theirs. Nothing is judged here: that is `rules`, afterwards.

Source: k8s.io/kubernetes `pkg/apis/*/v1/defaults.go`, and what `pkg/registry/*/*/strategy.go` carries over
from the object as it was.
"""

from __future__ import annotations

import base64
from collections.abc import Callable

from kaitoctl.kube.objects import Object, dig


def _default_pod(obj: Object, live: Object | None) -> None:
    spec = obj.setdefault("spec", {})
    default_pod_spec(spec)
    spec.setdefault("enableServiceLinks", True)
    for field in ("initContainers", "containers"):
        for container in spec.get(field) or ():  # of pods alone: a template stays as it is
            resources = container["resources"]
            if limits := resources.get("limits"):
                requests = resources.setdefault("requests", {})
                for name, amount in limits.items():
                    requests.setdefault(name, amount)
    if (spec.get("terminationGracePeriodSeconds") or 0) < 0:
        spec["terminationGracePeriodSeconds"] = 1
    if live is not None:  # what was filled in when the pod was made need not be said again
        tolerate_a_while(spec)
        for field in ("priority", "preemptionPolicy", "serviceAccountName", "serviceAccount"):
            if field not in spec and field in live["spec"]:
                spec[field] = live["spec"][field]


def tolerate_a_while(spec: Object) -> None:
    """Let the pod stay for five minutes on a node that is not ready."""
    tolerations = spec.setdefault("tolerations", [])
    for key in ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"):
        if not any(item.get("key") == key for item in tolerations):
            every = {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
            tolerations.append(every)


def default_pod_spec(spec: Object) -> None:
    """Fill in the spec of a pod or a template."""
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("schedulerName", "default-scheduler")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("securityContext", {})
    if account := spec.get("serviceAccountName") or spec.get("serviceAccount"):
        spec["serviceAccountName"] = spec["serviceAccount"] = account  # the older name of the same
    for field in ("initContainers", "containers"):
        for container in spec.get(field) or ():
            _default_container(container)
    for volume in spec.get("volumes") or ():
        for source, mode in (("secret", 420), ("configMap", 420), ("downwardAPI", 420), ("projected", 420)):
            if isinstance(volume.get(source), dict):
                volume[source].setdefault("defaultMode", mode)
        if isinstance(volume.get("hostPath"), dict):
            volume["hostPath"].setdefault("type", "")
        if not any(key != "name" for key in volume):
            volume["emptyDir"] = {}


def _default_container(container: Object) -> None:
    image = container.get("image") or ""
    tag = image.rpartition("/")[2].partition("@")[0].partition(":")[2]
    latest = "@" not in image and tag in ("", "latest")
    container.setdefault("imagePullPolicy", "Always" if latest else "IfNotPresent")
    container.setdefault("terminationMessagePath", "/dev/termination-log")
    container.setdefault("terminationMessagePolicy", "File")
    container.setdefault("resources", {})
    for port in container.get("ports") or ():
        port.setdefault("protocol", "TCP")
    for probe in (container.get(name) for name in ("livenessProbe", "readinessProbe", "startupProbe")):
        if isinstance(probe, dict):
            _default_probe(probe)
    for variable in container.get("env") or ():
        reference = dig(variable, "valueFrom", "fieldRef")
        if isinstance(reference, dict):
            reference.setdefault("apiVersion", "v1")


def _default_probe(probe: Object) -> None:
    for name, value in (
        ("timeoutSeconds", 1),
        ("periodSeconds", 10),
        ("successThreshold", 1),
        ("failureThreshold", 3),
    ):
        probe.setdefault(name, value)
    if isinstance(get := probe.get("httpGet"), dict):
        get.setdefault("path", "/")
        get.setdefault("scheme", "HTTP")


def _default_template(spec: Object) -> None:
    template: Object = spec.setdefault("template", {})
    template.setdefault("metadata", {})
    default_pod_spec(template.setdefault("spec", {}))


def _default_deployment(obj: Object, live: Object | None) -> None:
    spec = obj.setdefault("spec", {})
    _default_template(spec)
    spec.setdefault("replicas", 1)
    spec.setdefault("revisionHistoryLimit", 10)
    spec.setdefault("progressDeadlineSeconds", 600)
    strategy = spec.setdefault("strategy", {})
    if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxSurge", "25%")
        rolling.setdefault("maxUnavailable", "25%")


def _default_replica_set(obj: Object, live: Object | None) -> None:
    spec = obj.setdefault("spec", {})
    _default_template(spec)
    spec.setdefault("replicas", 1)


def _default_daemon_set(obj: Object, live: Object | None) -> None:
    spec = obj.setdefault("spec", {})
    _default_template(spec)
    spec.setdefault("revisionHistoryLimit", 10)
    strategy = spec.setdefault("updateStrategy", {})
    if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
        strategy.setdefault("rollingUpdate", {"maxSurge": 0, "maxUnavailable": 1})


def _default_stateful_set(obj: Object, live: Object | None) -> None:
    spec = obj.setdefault("spec", {})
    _default_template(spec)
    spec.setdefault("replicas", 1)
    spec.setdefault("revisionHistoryLimit", 10)
    spec.setdefault("podManagementPolicy", "OrderedReady")
    strategy = spec.setdefault("updateStrategy", {})
    if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("partition", 0)
        rolling.setdefault("maxUnavailable", 1)
    policy = spec.setdefault("persistentVolumeClaimRetentionPolicy", {})
    policy.setdefault("whenDeleted", "Retain")
    policy.setdefault("whenScaled", "Retain")
    for claim in spec.get("volumeClaimTemplates") or ():
        claim.setdefault("kind", "PersistentVolumeClaim")
        claim.setdefault("apiVersion", "v1")
        claim.setdefault("status", {"phase": "Pending"})
        claim.setdefault("spec", {}).setdefault("volumeMode", "Filesystem")


def _default_job(obj: Object, live: Object | None) -> None:
    spec = obj.setdefault("spec", {})
    _default_template_of_job(spec)
    spec.setdefault("parallelism", 1)
    if spec.get("completions") is None and spec["parallelism"] == 1:
        spec["completions"] = 1
    spec.setdefault("backoffLimit", 6)
    spec.setdefault("completionMode", "NonIndexed")
    spec.setdefault("suspend", False)
    spec.setdefault("podReplacementPolicy", "TerminatingOrFailed")
    if live is not None and "selector" not in spec:
        spec["selector"] = live["spec"].get("selector")


def _default_template_of_job(spec: Object) -> None:
    template: Object = spec.setdefault("template", {})
    template["metadata"] = template.get("metadata") or {}
    pod: Object = template.setdefault("spec", {})
    # Jobs have no default restart policy: leaving it out means Always, which a job must not have.
    default_pod_spec(pod)


def _default_service(obj: Object, live: Object | None) -> None:
    spec = obj.setdefault("spec", {})
    kind = spec.setdefault("type", "ClusterIP")
    spec.setdefault("sessionAffinity", "None")
    if spec["sessionAffinity"] == "ClientIP":
        affinity = spec.setdefault("sessionAffinityConfig", {}).setdefault("clientIP", {})
        affinity.setdefault("timeoutSeconds", 10800)
    if kind != "ExternalName":
        spec.setdefault("internalTrafficPolicy", "Cluster")
    if is_reached_from_outside(spec):
        spec.setdefault("externalTrafficPolicy", "Cluster")
    if kind == "LoadBalancer":
        spec.setdefault("allocateLoadBalancerNodePorts", True)
    for port in spec.get("ports") or ():
        port.setdefault("protocol", "TCP")
        if not port.get("targetPort"):
            port["targetPort"] = port.get("port")
    if live is not None:
        _carry_over(spec, live["spec"])


def is_reached_from_outside(spec: Object) -> bool:
    """Whether a Service is to be reached from outside of the cluster."""
    kind = spec["type"]
    return kind in ("NodePort", "LoadBalancer") or (kind == "ClusterIP" and bool(spec.get("externalIPs")))


def _carry_over(spec: Object, was: Object) -> None:
    """Keep a Service's addresses, and drop what went with the type that it had."""
    kind = spec["type"]
    outside = spec.get("externalTrafficPolicy")
    if not is_reached_from_outside(spec) and outside == was.get("externalTrafficPolicy"):
        spec.pop("externalTrafficPolicy", None)
    if kind != "LoadBalancer" and was.get("allocateLoadBalancerNodePorts") is not None:
        spec.pop("allocateLoadBalancerNodePorts", None)
    if kind != "ExternalName":
        for field in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
            if was.get(field) is not None and not spec.get(field):
                spec[field] = was[field]
    had = {port.get("nodePort") for port in was.get("ports") or ()} - {None}
    for port in spec.get("ports") or ():
        if kind == "ClusterIP" and port.get("nodePort") in had:
            del port["nodePort"]


def _default_node(obj: Object, live: Object | None) -> None:
    obj.setdefault("spec", {})


def _default_namespace(obj: Object, live: Object | None) -> None:
    name = obj["metadata"].get("name", "")
    labels = obj["metadata"].get("labels") or {}
    if labels.get("kubernetes.io/metadata.name") != name:
        obj["metadata"]["labels"] = {**labels, "kubernetes.io/metadata.name": name}
    obj.setdefault("spec", {})


def _default_secret(obj: Object, live: Object | None) -> None:
    if plain := obj.pop("stringData", None):
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in plain.items()}
        obj["data"] = {**(obj.get("data") or {}), **encoded}
    obj.setdefault("type", "Opaque")


def _default_lease(obj: Object, live: Object | None) -> None:
    obj.setdefault("spec", {})


def _default_claim(obj: Object, live: Object | None) -> None:
    obj.setdefault("spec", {}).setdefault("volumeMode", "Filesystem")


def _default_volume(obj: Object, live: Object | None) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("volumeMode", "Filesystem")
    spec.setdefault("persistentVolumeReclaimPolicy", "Retain")


def _default_storage_class(obj: Object, live: Object | None) -> None:
    obj.setdefault("reclaimPolicy", "Delete")
    obj.setdefault("volumeBindingMode", "Immediate")


def _default_priority_class(obj: Object, live: Object | None) -> None:
    obj.setdefault("preemptionPolicy", "PreemptLowerPriority")


DEFAULTS: dict[str, Callable[[Object, Object | None], None]] = {
    "pods": _default_pod,
    "services": _default_service,
    "nodes": _default_node,
    "namespaces": _default_namespace,
    "secrets": _default_secret,
    "persistentvolumeclaims": _default_claim,
    "persistentvolumes": _default_volume,
    "storageclasses.storage.k8s.io": _default_storage_class,
    "priorityclasses.scheduling.k8s.io": _default_priority_class,
    "deployments.apps": _default_deployment,
    "replicasets.apps": _default_replica_set,
    "statefulsets.apps": _default_stateful_set,
    "daemonsets.apps": _default_daemon_set,
    "jobs.batch": _default_job,
    "leases.coordination.k8s.io": _default_lease,
}
"""By resource; `live` is the object as it was, None for a new one."""
