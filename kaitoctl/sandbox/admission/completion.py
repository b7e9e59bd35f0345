"""What the server adds to a new object of a built-in kind, and nobody owns. Pure."""

from __future__ import annotations

from collections.abc import Callable

from kaitoctl.kube.objects import Object
from kaitoctl.sandbox.admission.defaults import tolerate_a_while
from kaitoctl.sandbox.admission.typed import as_typed
from kaitoctl.sandbox.builtin import CRDS, Resource
from kaitoctl.sandbox.pod_subresources import qos_class


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
    pod["status"]["qosClass"] = qos_class(pod["spec"].get("containers") or ())
    spec = pod["spec"]
    if not spec.get("serviceAccountName"):
        spec["serviceAccountName"] = spec["serviceAccount"] = "default"
    spec.setdefault("priority", 0)
    spec.setdefault("preemptionPolicy", "PreemptLowerPriority")
    tolerate_a_while(spec)


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
