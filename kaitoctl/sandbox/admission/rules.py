"""What is wrong with an object of a built-in kind that has its defaults. Pure, and changes nothing.

Not the whole of Kubernetes' validation: the rules that users and controllers run into.

Source: the API reference at https://kubernetes.io/docs/reference/kubernetes-api/.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator

from kaitoctl.kube.objects import Object, dig, matches_selector
from kaitoctl.sandbox.admission.names import CONFIG_KEY_RULE
from kaitoctl.sandbox.admission.pod_rules import pod_spec_causes
from kaitoctl.sandbox.admission.service_rules import service_causes
from kaitoctl.sandbox.error_status import forbidden_field, invalid_value, required, unsupported


def _pod(obj: Object, live: Object | None) -> Iterator[Object]:
    spec = obj["spec"]
    if (deadline_s := spec.get("activeDeadlineSeconds")) is not None and deadline_s < 1:
        yield invalid_value("spec.activeDeadlineSeconds", deadline_s, "must be between 1 and 2147483647")
    yield from pod_spec_causes(spec, "spec")
    added = [
        field
        for field in ("containers", "initContainers")
        if live is not None and len(spec.get(field) or ()) != len(live["spec"].get(field) or ())
    ]
    for field in added:
        yield forbidden_field(f"spec.{field}", "pod updates may not add or remove containers")
    if live is not None and not added and _immutable_part(spec) != _immutable_part(live["spec"]):
        why = "of a pod's spec only images, activeDeadlineSeconds and further tolerations may change"
        yield forbidden_field("spec", why)


def _immutable_part(spec: Object) -> Object:
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


def _replica_causes(spec: Object) -> Iterator[Object]:
    replicas = spec["replicas"]
    if not isinstance(replicas, int) or isinstance(replicas, bool):
        raise TypeError(f"spec.replicas must be a number, not {replicas!r}")
    if replicas < 0:
        yield invalid_value("spec.replicas", replicas, "must be greater than or equal to 0")


def _template_causes(obj: Object, *restart: str) -> Iterator[Object]:
    pod = obj["spec"]["template"]["spec"]
    yield from pod_spec_causes(pod, "spec.template.spec", restart=restart)


def _deployment(obj: Object, live: Object | None) -> Iterator[Object]:
    spec = obj["spec"]
    strategy = spec["strategy"]
    if strategy["type"] == "RollingUpdate":
        rolling = strategy["rollingUpdate"]
        if all(str(rolling[name]) in ("0", "0%") for name in ("maxSurge", "maxUnavailable")):
            why = "may not be 0 when `maxSurge` is 0"
            yield invalid_value("spec.strategy.rollingUpdate.maxUnavailable", rolling["maxUnavailable"], why)
    elif strategy["type"] != "Recreate":
        yield unsupported("spec.strategy", strategy, ("Recreate", "RollingUpdate"))
    elif strategy.get("rollingUpdate"):
        yield forbidden_field("spec.strategy.rollingUpdate", "Recreate has nothing to roll")
    yield from _replica_causes(spec)
    ready_s, deadline_s = spec.get("minReadySeconds") or 0, spec["progressDeadlineSeconds"]
    for field in ("minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"):
        if (spec.get(field) or 0) < 0:
            yield invalid_value(f"spec.{field}", spec[field], "must be greater than or equal to 0")
    if deadline_s <= ready_s:
        why = "must be greater than minReadySeconds"
        yield invalid_value("spec.progressDeadlineSeconds", deadline_s, why)
    yield from _selector_causes(obj, live)
    yield from _template_causes(obj, "Always")


def _replica_set(obj: Object, live: Object | None) -> Iterator[Object]:
    yield from _replica_causes(obj["spec"])
    yield from _selector_causes(obj, live)
    yield from _template_causes(obj, "Always")


def _daemon_set(obj: Object, live: Object | None) -> Iterator[Object]:
    yield from _selector_causes(obj, live)
    yield from _template_causes(obj, "Always")


_MUTABLE_IN_STATEFUL_SET = (
    "replicas", "ordinals", "template", "updateStrategy", "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds", "revisionHistoryLimit",
)  # fmt: skip


def _stateful_set(obj: Object, live: Object | None) -> Iterator[Object]:
    spec = obj["spec"]
    pod = spec["template"]["spec"]
    yield from _replica_causes(spec)
    yield from _selector_causes(obj, None)
    claims = {dig(claim, "metadata", "name") for claim in spec.get("volumeClaimTemplates") or ()}
    volumes = [*(pod.get("volumes") or ()), *({"name": name} for name in sorted(claims - {None}))]
    yield from pod_spec_causes({**pod, "volumes": volumes}, "spec.template.spec", restart=("Always",))
    if live is not None:
        for field in sorted(spec.keys() | live["spec"].keys()):
            if field not in _MUTABLE_IN_STATEFUL_SET and spec.get(field) != live["spec"].get(field):
                yield invalid_value(f"spec.{field}", spec.get(field), "field is immutable")


def _job(obj: Object, live: Object | None) -> Iterator[Object]:
    spec = obj["spec"]
    if live is not None:
        for field in ("template", "selector", "completions", "completionMode"):
            if spec.get(field) != live["spec"].get(field):
                yield invalid_value(f"spec.{field}", spec.get(field), "field is immutable")
    yield from _template_causes(obj, "OnFailure", "Never")


def _config_map(obj: Object, live: Object | None) -> Iterator[Object]:
    for field in ("data", "binaryData"):
        for key, value in (obj.get(field) or {}).items():
            if not re.fullmatch(r"[-._a-zA-Z0-9]+", key):
                yield invalid_value(f"{field}[{key}]", key, CONFIG_KEY_RULE)
            if not isinstance(value, str):
                raise TypeError(f"{field}[{key}] must be a string, not {value!r}")
    for key in (obj.get("data") or {}).keys() & (obj.get("binaryData") or {}).keys():
        yield invalid_value(f"data[{key}]", key, "duplicate of key present in binaryData")
    if live is not None and live.get("immutable"):
        for field in ("data", "binaryData", "immutable"):
            if obj.get(field) != live.get(field):
                yield forbidden_field(field, "field is immutable when `immutable` is set")


def _secret(obj: Object, live: Object | None) -> Iterator[Object]:
    for key, value in (obj.get("data") or {}).items():
        base64.b64decode(value, validate=True)
        if not re.fullmatch(r"[-._a-zA-Z0-9]+", key):
            yield invalid_value(f"data[{key}]", key, CONFIG_KEY_RULE)
    if live is not None and obj["type"] != live["type"]:
        yield invalid_value("type", obj["type"], "field is immutable")
    if live is not None and live.get("immutable") and obj.get("data") != live.get("data"):
        yield forbidden_field("data", "field is immutable when `immutable` is set")


def _lease(obj: Object, live: Object | None) -> Iterator[Object]:
    spec = obj["spec"]
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
    spec = obj["spec"]
    if not spec.get("accessModes"):
        yield required("spec.accessModes", "at least 1 access mode is required")
    if not dig(spec, "resources", "requests", "storage"):
        yield required("spec.resources[storage]")


def _storage_class(obj: Object, live: Object | None) -> Iterator[Object]:
    if not obj.get("provisioner"):
        yield required("provisioner")


RULES: dict[str, Callable[[Object, Object | None], Iterator[Object]]] = {
    "pods": _pod,
    "services": service_causes,
    "configmaps": _config_map,
    "secrets": _secret,
    "persistentvolumeclaims": _claim,
    "storageclasses.storage.k8s.io": _storage_class,
    "deployments.apps": _deployment,
    "replicasets.apps": _replica_set,
    "statefulsets.apps": _stateful_set,
    "daemonsets.apps": _daemon_set,
    "controllerrevisions.apps": _controller_revision,
    "jobs.batch": _job,
    "leases.coordination.k8s.io": _lease,
}
"""By resource; `live` is the object as it was, None for a new one."""
