"""Built-in kinds on their way in: what is filled in, what is refused. Pure.

Not the whole of Kubernetes' validation: the rules that users and controllers run into. Defaults are set in
place with `setdefault`, which leaves the parts that an object shares with its stored version alone, because
those have theirs.

Source of the defaults: k8s.io/kubernetes `pkg/apis/*/v1/defaults.go`; of the rules: the API reference at
https://kubernetes.io/docs/reference/kubernetes-api/.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from kaitoctl.kube.objects import Object, dig, matches_selector, quantity
from kaitoctl.sandbox.builtin import CRDS, SERVICES, Resource
from kaitoctl.sandbox.status import (
    Failure,
    bad_request,
    cause,
    duplicate,
    forbidden_field,
    invalid,
    invalid_value,
    required,
    unsupported,
)
from kaitoctl.sandbox.store import Event, Store

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_QUALIFIED = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")

# The rules are Kubernetes'; the words are ours, and shorter.
_LABEL_RULE = (
    "a DNS label has lower-case letters, digits and '-', with a letter or digit at both ends (RFC 1123)"
)
_SUBDOMAIN_RULE = "a DNS subdomain consists of DNS labels with '.' between them (RFC 1123)"
_VALUE_RULE = (
    "a label's value has letters, digits, '-', '_' and '.', with a letter or digit at both ends, or is empty"
)
_NAME_RULE = "a key's name has letters, digits, '-', '_' and '.', with a letter or digit at both ends"
_CONFIG_KEY_RULE = "a key has letters, digits, '-', '_' and '.'"


_METADATA_TYPES: dict[str, tuple[type, type]] = {
    "name": (str, object),
    "namespace": (str, object),
    "generateName": (str, object),
    "uid": (str, object),
    "resourceVersion": (str, object),
    "labels": (dict, object),
    "annotations": (dict, object),
    "finalizers": (list, str),
    "ownerReferences": (list, dict),
    "managedFields": (list, dict),
}


# --- metadata, of every kind --------------------------------------------------------------------------------


def decoded_metadata(metadata: Object) -> Object:
    """A metadata of one's own as a typed server would read it: nulls and empty collections are absent.

    Raises:
        Failure: 400, a field is of the wrong type.
    """
    for field, (of, inner) in _METADATA_TYPES.items():
        value = metadata.get(field)
        if value is None:
            continue
        inside = value if of is list else value.values() if isinstance(value, dict) else ()
        if not isinstance(value, of) or not all(isinstance(item, inner) for item in inside):
            raise bad_request(f"metadata.{field} is of the wrong type: {value!r}")
    dropped = ("selfLink", "clusterName")
    return {
        key: value
        for key, value in metadata.items()
        if value is not None and value not in ({}, [], "") and key not in dropped
    }


def metadata_causes(resource: Resource, metadata: Object) -> list[Object]:
    """What is wrong with the metadata of an object."""
    causes = list(_name_causes(resource, metadata.get("name")))
    for field in ("labels", "annotations"):
        for key, value in (metadata.get(field) or {}).items():
            causes += _key_causes(f"metadata.{field}", key)
            if not isinstance(value, str):
                causes.append(invalid_value(f"metadata.{field}", value, "must be a string"))
            elif field == "labels":
                causes += _label_value_causes("metadata.labels", value)
    if (
        sum(len(str(key)) + len(str(value)) for key, value in (metadata.get("annotations") or {}).items())
        > 2**18
    ):
        causes.append(
            cause("FieldValueTooLong", "metadata.annotations", "Too long: may not be more than 262144 bytes")
        )
    for position, reference in enumerate(metadata.get("ownerReferences") or ()):
        for field in ("apiVersion", "kind", "name", "uid"):
            if not reference.get(field):
                causes.append(required(f"metadata.ownerReferences[{position}].{field}", "must not be empty"))
    controllers = [item for item in metadata.get("ownerReferences") or () if item.get("controller")]
    if len(controllers) > 1:
        why = "only one owner can be the controller"
        causes.append(invalid_value("metadata.ownerReferences", controllers, why))
    for name in metadata.get("finalizers") or ():
        causes += _key_causes("metadata.finalizers", name)
    return causes


def _name_causes(resource: Resource, name: Any) -> Iterator[Object]:
    field = "metadata.name"
    plural, group = resource.kind.plural, resource.kind.group
    if not isinstance(name, str) or not name:
        yield required(field, "name or generateName is required")
    elif group == "rbac.authorization.k8s.io":
        if name in (".", "..") or "/" in name or "%" in name:
            yield invalid_value(field, name, "may not contain '/' or '%' and may not be '.' or '..'")
    elif plural in ("namespaces", "services") and not group:
        if not _LABEL.fullmatch(name) or len(name) > 63:
            yield invalid_value(field, name, _LABEL_RULE)
    elif len(name) > 253:
        yield invalid_value(field, name, "must be no more than 253 characters")
    elif not _SUBDOMAIN.fullmatch(name):
        yield invalid_value(field, name, _SUBDOMAIN_RULE)


def _key_causes(field: str, key: str) -> Iterator[Object]:
    prefix, slash, name = str(key).rpartition("/")
    if slash and (not _SUBDOMAIN.fullmatch(prefix.lower()) or len(prefix) > 253):
        yield invalid_value(field, key, f"prefix part {_SUBDOMAIN_RULE}")
    if not _QUALIFIED.fullmatch(name):
        yield invalid_value(field, key, _NAME_RULE)
    elif len(name) > 63:
        yield invalid_value(field, key, "name part must be no more than 63 characters")


def _label_value_causes(field: str, value: str) -> Iterator[Object]:
    if value and not _QUALIFIED.fullmatch(value):
        yield invalid_value(field, value, _VALUE_RULE)
    elif len(value) > 63:
        yield invalid_value(field, value, "must be no more than 63 characters")


# --- built-in kinds -----------------------------------------------------------------------------------------


@contextmanager
def as_typed(resource: Resource) -> Iterator[None]:
    """Read fields as if they had their types; where they do not, the request is bad.

    Raises:
        Failure: 400.
    """
    try:
        yield
    except (TypeError, AttributeError, KeyError, ValueError) as error:
        kind = resource.kind.kind
        raise bad_request(
            f"{kind} in version {resource.kind.version!r} cannot be handled as a {kind}: "
            f"a field is of the wrong type: {error}"
        ) from None


def complete(resource: Resource, obj: Object) -> None:
    """Give a new object what the server adds to it and nobody owns: its first status, what only it knows.

    Raises:
        Failure: 400.
    """
    kind = resource.kind
    if "status" in resource.subresources and kind.plural != "nodes":
        first: dict[str, Object] = {
            "pods": {"phase": "Pending"},
            "namespaces": {"phase": "Active"},
            "services": {"loadBalancer": {}},
            "persistentvolumes": {"phase": "Pending"},
            "persistentvolumeclaims": {"phase": "Pending"},
        }
        if resource is not CRDS:
            obj["status"] = first.get(kind.plural, {}) if not kind.group else {}
    with as_typed(resource):
        if (of_kind := _COMPLETIONS.get(kind.kind)) is not None:
            of_kind(obj)


def _complete_pod(pod: Object) -> None:
    pod["status"]["qosClass"] = _qos_class(pod)
    spec = pod["spec"]
    if not spec.get("serviceAccountName"):
        spec["serviceAccountName"] = spec["serviceAccount"] = "default"
    spec.setdefault("priority", 0)
    spec.setdefault("preemptionPolicy", "PreemptLowerPriority")
    _tolerate_a_while(spec)


def _tolerate_a_while(spec: Object) -> None:
    tolerations = spec.setdefault("tolerations", [])
    for key in ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"):
        if not any(item.get("key") == key for item in tolerations):
            every = {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
            tolerations.append(every)


def _complete_namespace(namespace: Object) -> None:
    namespace["spec"].setdefault("finalizers", ["kubernetes"])


def _complete_job(job: Object) -> None:
    spec, uid, name = job["spec"], job["metadata"]["uid"], job["metadata"]["name"]
    if spec.setdefault("manualSelector", False):
        return
    labels = dict(spec["template"]["metadata"].get("labels") or {})
    for prefix in ("", "batch.kubernetes.io/"):
        labels[f"{prefix}controller-uid"] = uid
        labels[f"{prefix}job-name"] = name
    spec["template"]["metadata"] = {**spec["template"]["metadata"], "labels": labels}
    spec["selector"] = {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}


_COMPLETIONS: dict[str, Callable[[Object], None]] = {
    "Pod": _complete_pod,
    "Namespace": _complete_namespace,
    "Job": _complete_job,
}


def _qos_class(pod: Object) -> str:
    """A pod's quality of service.

    Source: https://kubernetes.io/docs/concepts/workloads/pods/pod-qos/
    """
    containers = [item for item in dig(pod, "spec", "containers") or () if isinstance(item, dict)]
    resources = [item.get("resources") or {} for item in containers]
    if not any(item.get("requests") or item.get("limits") for item in resources):
        return "BestEffort"
    for item in resources:
        limits, requests = item.get("limits") or {}, item.get("requests") or {}
        if any(
            name not in limits or requests.get(name, limits[name]) != limits[name]
            for name in ("cpu", "memory")
        ):
            return "Burstable"
    return "Guaranteed"


def admit(resource: Resource, obj: Object, live: Object | None) -> None:
    """Fill in the defaults of a built-in object and check it.

    Raises:
        Failure: 422, with one cause per problem.
    """
    name = f"{resource.kind.plural}.{resource.kind.group}" if resource.kind.group else resource.kind.plural
    causes = metadata_causes(resource, obj["metadata"])
    rules = _RULES.get(name)
    if rules is not None:
        with as_typed(resource):
            causes += rules(obj, live)
    if causes:
        raise invalid(resource.kind.kind, resource.kind.group, obj["metadata"].get("name", ""), causes)


def _pod(obj: Object, live: Object | None) -> Iterator[Object]:
    spec = obj.setdefault("spec", {})
    _default_pod_spec(spec)
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
        _tolerate_a_while(spec)
        for field in ("priority", "preemptionPolicy", "serviceAccountName", "serviceAccount"):
            if field not in spec and field in live["spec"]:
                spec[field] = live["spec"][field]
    if (deadline_s := spec.get("activeDeadlineSeconds")) is not None and deadline_s < 1:
        yield invalid_value("spec.activeDeadlineSeconds", deadline_s, "must be between 1 and 2147483647")
    yield from _pod_spec_causes(spec, "spec")
    added = [
        field
        for field in ("containers", "initContainers")
        if live is not None and len(spec.get(field) or ()) != len(live["spec"].get(field) or ())
    ]
    for field in added:
        yield forbidden_field(f"spec.{field}", "pod updates may not add or remove containers")
    if live is not None and not added and _frozen_pod_spec(spec) != _frozen_pod_spec(live["spec"]):
        why = "of a pod's spec only images, activeDeadlineSeconds and further tolerations may change"
        yield forbidden_field("spec", why)


def _frozen_pod_spec(spec: Object) -> Object:
    """What of a pod's spec must not change; a scheduler binds through its subresource, but may also write."""
    free = (
        "activeDeadlineSeconds",
        "tolerations",
        "nodeName",
        "schedulingGates",
    )
    frozen = {key: value for key, value in spec.items() if key not in free}
    for field in ("containers", "initContainers"):
        frozen[field] = [
            {key: value for key, value in item.items() if key not in ("image", "resources")}
            for item in spec.get(field) or ()
        ]
    return frozen


def _default_pod_spec(spec: Object) -> None:
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


def _pod_spec_causes(
    spec: Object, at: str, *, restart: tuple[str, ...] = ("Always", "OnFailure", "Never")
) -> Iterator[Object]:
    if not spec.get("containers"):
        yield required(f"{at}.containers")
    if spec["restartPolicy"] not in restart:
        yield unsupported(f"{at}.restartPolicy", spec["restartPolicy"], restart)
    for key, value in (spec.get("nodeSelector") or {}).items():
        yield from _key_causes(f"{at}.nodeSelector", key)
        yield from _label_value_causes(f"{at}.nodeSelector", value)
    for position, toleration in enumerate(spec.get("tolerations") or ()):
        yield from _toleration_causes(toleration, f"{at}.tolerations[{position}]")
    volumes: set[str] = set()
    for position, volume in enumerate(spec.get("volumes") or ()):
        yield from _unique_label(volume.get("name"), volumes, f"{at}.volumes[{position}].name")
    names: set[str] = set()
    for field in ("containers", "initContainers"):
        for position, container in enumerate(spec.get(field) or ()):
            yield from _container_causes(container, names, volumes, f"{at}.{field}[{position}]")


def _toleration_causes(toleration: Object, at: str) -> Iterator[Object]:
    operator, value = toleration.get("operator") or "Equal", toleration.get("value") or ""
    if key := toleration.get("key"):
        yield from _key_causes(f"{at}.key", key)
    elif operator != "Exists":
        yield invalid_value(f"{at}.operator", operator, "must be Exists when `key` is empty")
    effect = toleration.get("effect")
    if toleration.get("tolerationSeconds") is not None and effect != "NoExecute":
        yield invalid_value(f"{at}.effect", effect, "must be NoExecute when `tolerationSeconds` is set")
    if operator == "Exists" and value:
        yield invalid_value(f"{at}.operator", value, "value must be empty when `operator` is 'Exists'")
    elif operator == "Equal":
        yield from _label_value_causes(f"{at}.operator", value)
    elif operator not in ("Equal", "Exists", "Gt", "Lt"):
        yield unsupported(f"{at}.operator", operator, ("Equal", "Exists"))
    effects = ("NoSchedule", "PreferNoSchedule", "NoExecute")
    if effect and effect not in effects:
        yield unsupported(f"{at}.effect", effect, effects)


def _unique_label(name: Any, names: set[str], field: str) -> Iterator[Object]:
    if not name:
        yield required(field)
    elif not _LABEL.fullmatch(name) or len(name) > 63:
        yield invalid_value(field, name, _LABEL_RULE)
    elif name in names:
        yield duplicate(field, name)
    names.add(name)


def _container_causes(container: Object, names: set[str], volumes: set[str], at: str) -> Iterator[Object]:
    yield from _unique_label(container.get("name"), names, f"{at}.name")
    if not container.get("image"):
        yield required(f"{at}.image")
    policies = ("Always", "IfNotPresent", "Never")
    if container["imagePullPolicy"] not in policies:
        yield unsupported(f"{at}.imagePullPolicy", container["imagePullPolicy"], policies)
    ports: set[str] = set()
    for position, port in enumerate(container.get("ports") or ()):
        where = f"{at}.ports[{position}]"
        number = port.get("containerPort")
        if number is None:
            yield required(f"{where}.containerPort")
        elif not isinstance(number, int) or not 1 <= number <= 65535:
            yield invalid_value(f"{where}.containerPort", number, "must be between 1 and 65535, inclusive")
        if name := port.get("name"):
            if name in ports:
                yield duplicate(f"{where}.name", name)
            ports.add(name)
    for position, variable in enumerate(container.get("env") or ()):
        if not variable.get("name"):
            yield required(f"{at}.env[{position}].name")
        elif not isinstance(variable.get("value", ""), str):
            yield invalid_value(f"{at}.env[{position}].value", variable["value"], "must be a string")
    paths: set[str] = set()
    for position, mount in enumerate(container.get("volumeMounts") or ()):
        where = f"{at}.volumeMounts[{position}]"
        if not mount.get("mountPath"):
            yield required(f"{where}.mountPath")
        elif mount["mountPath"] in paths:
            yield invalid_value(f"{where}.mountPath", mount["mountPath"], "must be unique")
        paths.add(mount.get("mountPath", ""))
        if mount.get("name") not in volumes:
            yield cause("FieldValueNotFound", f"{where}.name", f'Not found: "{mount.get("name", "")}"')
    yield from _resource_causes(container.get("resources") or {}, f"{at}.resources")


def _resource_causes(resources: Object, at: str) -> Iterator[Object]:
    amounts: dict[tuple[str, str], Any] = {}
    for side in ("limits", "requests"):
        for name, text in (resources.get(side) or {}).items():
            try:
                amounts[side, name] = quantity(text)
            except ValueError:
                why = (
                    "quantities must match the regular expression "
                    "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
                )
                yield invalid_value(f"{at}.{side}[{name}]", text, why)
                continue
            if amounts[side, name] < 0:
                yield invalid_value(f"{at}.{side}[{name}]", text, "must be greater than or equal to 0")
            elif not _is_shared(name) and amounts[side, name] % 1:
                yield invalid_value(f"{at}.{side}[{name}]", text, "must be an integer")
    for (side, name), amount in amounts.items():
        if side == "limits":
            continue
        limit = amounts.get(("limits", name))
        if limit is None and not _is_shared(name):
            yield required(f"{at}.limits", "Limit must be set for non overcommitable resources")
        elif limit is not None and (amount > limit or (amount != limit and not _is_shared(name))):
            bound = "less than or equal to" if _is_shared(name) else "equal to"
            why = f"must be {bound} {name} limit of {resources['limits'][name]}"
            yield invalid_value(f"{at}.requests", resources["requests"][name], why)


def _is_shared(resource: str) -> bool:
    """Whether pods may ask for less than their limit: not of devices, GPUs among them."""
    domain, slash, _ = resource.rpartition("/")
    return not slash or domain == "kubernetes.io" or domain.endswith(".kubernetes.io")


def _selector_causes(obj: Object, live: Object | None) -> Iterator[Object]:
    """A workload's selector: given, matching its own pods, and for ever."""
    spec = obj["spec"]
    selector = spec.get("selector")
    if not selector or not (selector.get("matchLabels") or selector.get("matchExpressions")):
        if live is not None:
            yield invalid_value("spec.selector", selector, "field is immutable")
        if selector is None:
            yield required("spec.selector")
            labels = dig(spec, "template", "metadata", "labels") or {}
            why = "`selector` does not match template `labels`"
            yield invalid_value("spec.template.metadata.labels", labels, why)
        else:
            yield invalid_value("spec.selector", selector, "empty selector is invalid for this kind")
        return
    labels = dig(spec, "template", "metadata", "labels") or {}
    if not matches_selector(selector, labels):
        yield invalid_value(
            "spec.template.metadata.labels", labels, "`selector` does not match template `labels`"
        )
    if live is not None and selector != live["spec"].get("selector"):
        yield invalid_value("spec.selector", selector, "field is immutable")


def _template(spec: Object) -> Object:
    template: Object = spec.setdefault("template", {})
    template.setdefault("metadata", {})
    pod: Object = template.setdefault("spec", {})
    _default_pod_spec(pod)
    return pod


def _replica_causes(spec: Object) -> Iterator[Object]:
    replicas = spec["replicas"]
    if not isinstance(replicas, int) or isinstance(replicas, bool):
        raise TypeError(f"spec.replicas must be a number, not {replicas!r}")
    if replicas < 0:
        yield invalid_value("spec.replicas", replicas, "must be greater than or equal to 0")


def _deployment(obj: Object, live: Object | None) -> Iterator[Object]:
    spec = obj.setdefault("spec", {})
    pod = _template(spec)
    spec.setdefault("replicas", 1)
    spec.setdefault("revisionHistoryLimit", 10)
    spec.setdefault("progressDeadlineSeconds", 600)
    strategy = spec.setdefault("strategy", {})
    if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxSurge", "25%")
        rolling.setdefault("maxUnavailable", "25%")
        if all(str(rolling[name]) in ("0", "0%") for name in ("maxSurge", "maxUnavailable")):
            why = "may not be 0 when `maxSurge` is 0"
            yield invalid_value("spec.strategy.rollingUpdate.maxUnavailable", rolling["maxUnavailable"], why)
    elif strategy["type"] != "Recreate":
        yield unsupported("spec.strategy", strategy, ("Recreate", "RollingUpdate"))
    elif strategy.get("rollingUpdate"):
        why = "Recreate has nothing to roll"
        yield forbidden_field("spec.strategy.rollingUpdate", why)
    yield from _replica_causes(spec)
    ready_s, deadline_s = spec.get("minReadySeconds") or 0, spec["progressDeadlineSeconds"]
    for field in ("minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"):
        if (spec.get(field) or 0) < 0:
            yield invalid_value(f"spec.{field}", spec[field], "must be greater than or equal to 0")
    if deadline_s <= ready_s:
        yield invalid_value(
            "spec.progressDeadlineSeconds", deadline_s, "must be greater than minReadySeconds"
        )
    yield from _selector_causes(obj, live)
    yield from _pod_spec_causes(pod, "spec.template.spec", restart=("Always",))


def _replica_set(obj: Object, live: Object | None) -> Iterator[Object]:
    spec = obj.setdefault("spec", {})
    pod = _template(spec)
    spec.setdefault("replicas", 1)
    yield from _replica_causes(spec)
    yield from _selector_causes(obj, live)
    yield from _pod_spec_causes(pod, "spec.template.spec", restart=("Always",))


def _daemon_set(obj: Object, live: Object | None) -> Iterator[Object]:
    spec = obj.setdefault("spec", {})
    pod = _template(spec)
    spec.setdefault("revisionHistoryLimit", 10)
    strategy = spec.setdefault("updateStrategy", {})
    if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
        strategy.setdefault("rollingUpdate", {"maxSurge": 0, "maxUnavailable": 1})
    yield from _selector_causes(obj, live)
    yield from _pod_spec_causes(pod, "spec.template.spec", restart=("Always",))


_MUTABLE_IN_STATEFUL_SET = (
    "replicas", "ordinals", "template", "updateStrategy", "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds", "revisionHistoryLimit",
)  # fmt: skip


def _stateful_set(obj: Object, live: Object | None) -> Iterator[Object]:
    spec = obj.setdefault("spec", {})
    pod = _template(spec)
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
    yield from _replica_causes(spec)
    yield from _selector_causes(obj, None)
    claims = {dig(claim, "metadata", "name") for claim in spec.get("volumeClaimTemplates") or ()}
    mounted = {
        **pod,
        "volumes": [*(pod.get("volumes") or ()), *({"name": name} for name in sorted(claims - {None}))],
    }
    yield from _pod_spec_causes(mounted, "spec.template.spec", restart=("Always",))
    if live is not None:
        for field in sorted(spec.keys() | live["spec"].keys()):
            if field not in _MUTABLE_IN_STATEFUL_SET and spec.get(field) != live["spec"].get(field):
                yield invalid_value(f"spec.{field}", spec.get(field), "field is immutable")


def _job(obj: Object, live: Object | None) -> Iterator[Object]:
    spec = obj.setdefault("spec", {})
    pod = _template_of_job(spec)
    spec.setdefault("parallelism", 1)
    if spec.get("completions") is None and spec["parallelism"] == 1:
        spec["completions"] = 1
    spec.setdefault("backoffLimit", 6)
    spec.setdefault("completionMode", "NonIndexed")
    spec.setdefault("suspend", False)
    spec.setdefault("podReplacementPolicy", "TerminatingOrFailed")
    if live is not None:
        for field in ("template", "selector", "completions", "completionMode"):
            was = live["spec"].get(field)
            if field == "selector" and field not in spec:
                spec[field] = was
            elif spec.get(field) != was:
                yield invalid_value(f"spec.{field}", spec.get(field), "field is immutable")
    yield from _pod_spec_causes(pod, "spec.template.spec", restart=("OnFailure", "Never"))


def _template_of_job(spec: Object) -> Object:
    template: Object = spec.setdefault("template", {})
    template["metadata"] = template.get("metadata") or {}
    pod: Object = template.setdefault("spec", {})
    # Jobs have no default restart policy: leaving it out means Always, which a job must not have.
    _default_pod_spec(pod)
    return pod


def _service(obj: Object, live: Object | None) -> Iterator[Object]:
    spec = obj.setdefault("spec", {})
    if (address := spec.get("clusterIP")) and address != "None" and not _is_address(address):
        cause_ = invalid_value("spec.clusterIPs[0]", address, "must be a valid IP address")
        raise invalid("Service", "", obj["metadata"]["name"], [cause_])  # all else is judged later
    kind = spec.setdefault("type", "ClusterIP")
    spec.setdefault("sessionAffinity", "None")
    if kind != "ExternalName":
        spec.setdefault("internalTrafficPolicy", "Cluster")
    known = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
    if kind not in known:
        yield unsupported("spec.type", kind, known)
    is_reached_from_outside = kind in ("NodePort", "LoadBalancer") or (
        kind == "ClusterIP" and spec.get("externalIPs")
    )
    if is_reached_from_outside:
        spec.setdefault("externalTrafficPolicy", "Cluster")
    elif live is not None and spec.get("externalTrafficPolicy") == live["spec"].get("externalTrafficPolicy"):
        spec.pop("externalTrafficPolicy", None)  # it goes with the type that the Service had
    if kind == "LoadBalancer":
        spec.setdefault("allocateLoadBalancerNodePorts", True)
    elif live is not None and live["spec"].get("allocateLoadBalancerNodePorts") is not None:
        spec.pop("allocateLoadBalancerNodePorts", None)
    if live is not None and kind != "ExternalName":
        for field in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
            was = live["spec"].get(field)
            if was is not None and not spec.get(field):
                spec[field] = was
        if (was := live["spec"].get("clusterIP")) and spec.get("clusterIP") != was:
            yield invalid_value("spec.clusterIPs[0]", spec.get("clusterIP"), "may not change once set")
    for key, value in (spec.get("selector") or {}).items():
        yield from _key_causes("spec.selector", key)
        yield from _label_value_causes("spec.selector", value)
    for position, address in enumerate(spec.get("externalIPs") or ()):
        if not _is_address(address):
            yield invalid_value(f"spec.externalIPs[{position}]", address, "must be a valid IP address")
    headless = spec.get("clusterIP") == "None"
    if kind == "ExternalName" and not spec.get("externalName"):
        yield required("spec.externalName")
    if spec["sessionAffinity"] == "ClientIP":
        spec.setdefault("sessionAffinityConfig", {}).setdefault("clientIP", {}).setdefault(
            "timeoutSeconds", 10800
        )
    affinities = ("ClientIP", "None")
    if spec["sessionAffinity"] not in affinities:
        yield unsupported("spec.sessionAffinity", spec["sessionAffinity"], affinities)
    if spec.get("externalTrafficPolicy") and not is_reached_from_outside:
        why = "may only be set for externally-accessible services"
        yield invalid_value("spec.externalTrafficPolicy", spec["externalTrafficPolicy"], why)
    if not spec.get("ports") and not headless and kind != "ExternalName":
        yield required("spec.ports")
    names: set[str] = set()
    used: set[tuple[Any, str]] = set()
    had = {port.get("nodePort") for port in dig(live or {}, "spec", "ports") or ()} - {None}
    for position, port in enumerate(spec.get("ports") or ()):
        at = f"spec.ports[{position}]"
        port.setdefault("protocol", "TCP")
        number = port.get("port")
        if not isinstance(number, int) or not 1 <= number <= 65535:
            yield invalid_value(f"{at}.port", number, "must be between 1 and 65535, inclusive")
        if not port.get("targetPort"):
            port["targetPort"] = number
        if kind == "ClusterIP" and port.get("nodePort"):
            if port["nodePort"] in had:
                del port["nodePort"]  # it was given with the type that the Service had
            else:
                yield forbidden_field(f"{at}.nodePort", "may not be used when `type` is ClusterIP")
        protocols = ("SCTP", "TCP", "UDP")
        if port["protocol"] not in protocols:
            yield unsupported(f"{at}.protocol", port["protocol"], protocols)
        target = port["targetPort"]
        if isinstance(target, int) and not 1 <= target <= 65535:
            yield invalid_value(f"{at}.targetPort", target, "must be between 1 and 65535, inclusive")
        if (number, port["protocol"]) in used:
            yield duplicate(at, {"port": number, "protocol": port["protocol"]})
        used.add((number, port["protocol"]))
        if len(spec["ports"]) > 1 and not port.get("name"):
            yield required(f"{at}.name")
        elif port.get("name") and port["name"] in names:
            yield duplicate(f"{at}.name", port["name"])
        names.add(port.get("name", ""))


def _node(obj: Object, live: Object | None) -> Iterator[Object]:
    obj.setdefault("spec", {})
    yield from ()


def _namespace(obj: Object, live: Object | None) -> Iterator[Object]:
    name = obj["metadata"].get("name", "")
    labels = obj["metadata"].get("labels") or {}
    if labels.get("kubernetes.io/metadata.name") != name:
        obj["metadata"]["labels"] = {**labels, "kubernetes.io/metadata.name": name}
    obj.setdefault("spec", {})
    yield from ()


def _config_map(obj: Object, live: Object | None) -> Iterator[Object]:
    for field in ("data", "binaryData"):
        for key, value in (obj.get(field) or {}).items():
            if not re.fullmatch(r"[-._a-zA-Z0-9]+", key):
                yield invalid_value(f"{field}[{key}]", key, _CONFIG_KEY_RULE)
            if not isinstance(value, str):
                raise TypeError(f"{field}[{key}] must be a string, not {value!r}")
    for key in (obj.get("data") or {}).keys() & (obj.get("binaryData") or {}).keys():
        yield invalid_value(f"data[{key}]", key, "duplicate of key present in binaryData")
    if live is not None and live.get("immutable"):
        for field in ("data", "binaryData", "immutable"):
            if obj.get(field) != live.get(field):
                yield forbidden_field(field, "field is immutable when `immutable` is set")


def _secret(obj: Object, live: Object | None) -> Iterator[Object]:
    import base64

    if plain := obj.pop("stringData", None):
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in plain.items()}
        obj["data"] = {**(obj.get("data") or {}), **encoded}
    obj.setdefault("type", "Opaque")
    for key, value in (obj.get("data") or {}).items():
        base64.b64decode(value, validate=True)
        if not re.fullmatch(r"[-._a-zA-Z0-9]+", key):
            yield invalid_value(f"data[{key}]", key, _CONFIG_KEY_RULE)
    if live is not None and obj["type"] != live["type"]:
        yield invalid_value("type", obj["type"], "field is immutable")
    if live is not None and live.get("immutable") and obj.get("data") != live.get("data"):
        yield forbidden_field("data", "field is immutable when `immutable` is set")


def _lease(obj: Object, live: Object | None) -> Iterator[Object]:
    spec = obj.setdefault("spec", {})
    seconds = spec.get("leaseDurationSeconds")
    if seconds is not None and seconds <= 0:
        yield invalid_value("spec.leaseDurationSeconds", seconds, "must be greater than 0")
    transitions = spec.get("leaseTransitions")
    if transitions is not None and transitions < 0:
        yield invalid_value("spec.leaseTransitions", transitions, "must be greater than or equal to 0")


def _controller_revision(obj: Object, live: Object | None) -> Iterator[Object]:
    if obj.get("data") is None:
        yield required("data", "data is mandatory")
    if live is not None and obj.get("data") != live.get("data"):
        yield invalid_value("data", obj.get("data"), "field is immutable")


def _claim(obj: Object, live: Object | None) -> Iterator[Object]:
    spec = obj.setdefault("spec", {})
    spec.setdefault("volumeMode", "Filesystem")
    if not spec.get("accessModes"):
        yield required("spec.accessModes", "at least 1 access mode is required")
    if not dig(spec, "resources", "requests", "storage"):
        yield required("spec.resources[storage]")


def _volume(obj: Object, live: Object | None) -> Iterator[Object]:
    spec = obj.setdefault("spec", {})
    spec.setdefault("volumeMode", "Filesystem")
    spec.setdefault("persistentVolumeReclaimPolicy", "Retain")
    yield from ()


def _storage_class(obj: Object, live: Object | None) -> Iterator[Object]:
    obj.setdefault("reclaimPolicy", "Delete")
    obj.setdefault("volumeBindingMode", "Immediate")
    if not obj.get("provisioner"):
        yield required("provisioner")


def _priority_class(obj: Object, live: Object | None) -> Iterator[Object]:
    obj.setdefault("preemptionPolicy", "PreemptLowerPriority")
    yield from ()


_Rules = Callable[[Object, Object | None], Iterator[Object]]
_RULES: dict[str, _Rules] = {
    "pods": _pod,
    "services": _service,
    "nodes": _node,
    "namespaces": _namespace,
    "configmaps": _config_map,
    "secrets": _secret,
    "persistentvolumeclaims": _claim,
    "persistentvolumes": _volume,
    "storageclasses.storage.k8s.io": _storage_class,
    "priorityclasses.scheduling.k8s.io": _priority_class,
    "deployments.apps": _deployment,
    "replicasets.apps": _replica_set,
    "statefulsets.apps": _stateful_set,
    "daemonsets.apps": _daemon_set,
    "controllerrevisions.apps": _controller_revision,
    "jobs.batch": _job,
    "leases.coordination.k8s.io": _lease,
}


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


class Addresses:
    """Cluster IPs and node ports: handed out once each, free again when the Service is gone."""

    _NETWORK = ipaddress.ip_network("10.96.0.0/16")
    _NODE_PORTS = range(30000, 32768)

    def __init__(self, store: Store) -> None:
        self._ips: set[str] = {"10.96.0.1", "10.96.0.10"}  # the API server's and the DNS's
        self._ports: set[int] = set()
        self._next_ip = 10
        for entry in store.entries(SERVICES.name):
            self._learn(Event("ADDED", entry, None))
        store.listen(SERVICES.name, self._learn)

    def _learn(self, event: Event) -> None:
        spec = event.entry.obj["spec"]
        ips = {spec["clusterIP"]} - {"None", ""} if spec.get("clusterIP") else set()
        ports = {port["nodePort"] for port in spec.get("ports") or () if port.get("nodePort")}
        if event.type == "DELETED":
            self._ips -= ips
            self._ports -= ports
        else:
            self._ips |= ips
            self._ports |= ports

    def allocate(self, resource: Resource, service: Object, live: Object | None = None) -> None:
        """Give a Service the addresses that it needs and has not chosen itself.

        Raises:
            Failure: 422, what it has chosen is taken or out of range.
        """
        if resource is not SERVICES:
            return
        spec = service["spec"]
        if spec["type"] == "ExternalName":
            return
        chosen = spec.get("clusterIP")
        if not chosen:
            chosen = self._free_ip()
        elif chosen != "None" and (live is None or live["spec"].get("clusterIP") != chosen):
            self._must_be_free(service, chosen)
        spec["clusterIP"] = chosen
        spec.setdefault("clusterIPs", [chosen])
        # Whoever is headless and chooses no pods says itself where it leads, in either family.
        is_open = chosen == "None" and not spec.get("selector")
        spec.setdefault("ipFamilies", ["IPv4", "IPv6"] if is_open else ["IPv4"])
        spec.setdefault("ipFamilyPolicy", "RequireDualStack" if is_open else "SingleStack")
        if spec["type"] in ("NodePort", "LoadBalancer"):
            for port in spec.get("ports") or ():
                if not port.get("nodePort"):
                    port["nodePort"] = next(
                        number for number in self._NODE_PORTS if number not in self._ports
                    )
                self._ports.add(port["nodePort"])

    def _free_ip(self) -> str:
        for _ in range(self._NETWORK.num_addresses):
            self._next_ip = self._next_ip % (self._NETWORK.num_addresses - 2) + 1
            address = str(self._NETWORK[self._next_ip])
            if address not in self._ips:
                return address
        raise Failure(500, "InternalError", "failed to allocate a serviceIP: range is full")

    def _must_be_free(self, service: Object, address: str) -> None:
        why = ""
        if ipaddress.ip_address(address) not in self._NETWORK:
            why = f"the provided IP ({address}) is not in the valid range {self._NETWORK}"
        if address in self._ips:
            why = f"failed to allocate IP {address}: provided IP is already allocated"
        if why:
            name = service["metadata"]["name"]
            raise invalid("Service", "", name, [invalid_value("spec.clusterIPs", [address], why)])
