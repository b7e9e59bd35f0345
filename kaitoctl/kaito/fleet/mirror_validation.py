"""The rules of a ModelMirror: those of its webhook, and what its controller stumbles over.

Source: KAITO v0.12.0, `api/v1alpha1/modelmirror_validation.go`,
`pkg/modelmirror/controllers/modelmirror_controller.go`. Not run.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from kaitoctl.kaito.validation import Problem
from kaitoctl.kaito.validation.problem import as_map, as_text, error, refusal, warning
from kaitoctl.kube.objects import Object, quantity

_OF_MANAGED = ("source", "storage", "jobNamespace", "serviceAccountName")
_REFUSED_OF_STATIC = _OF_MANAGED[:2]


def mirror_problems(mirror: Object, old: Object | None) -> Iterator[Problem]:
    """What the rules find in a ModelMirror."""
    spec = as_map(mirror.get("spec"))
    if old is not None and _with_mode(as_map(old.get("spec"))) != _with_mode(spec):
        yield refusal("spec", "KW331", "is immutable", "delete the ModelMirror and recreate it")
    if spec.get("mode") == "Static":
        for name in _OF_MANAGED:
            if spec.get(name) not in (None, ""):
                message = f"a static mirror has no {name}: its weights are there already"
                is_refused = name in _REFUSED_OF_STATIC
                made = (refusal if is_refused else warning)(f"spec.{name}", "KW330", message, "leave it out")
                yield made if is_refused else replace(made, kaito="ignores")
        return
    yield from _managed(spec)


def _with_mode(spec: Object) -> Object:
    return {"mode": "Managed", **spec}


def _managed(spec: Object) -> Iterator[Problem]:
    source, storage = spec.get("source"), spec.get("storage")
    if source is None:
        yield refusal(
            "spec.source", "KW330", "nobody says which model is mirrored", "name registry and modelID"
        )
    elif not as_text(as_map(source).get("modelID")):
        yield refusal("spec.source.modelID", "KW330", "nobody says which model is mirrored")
    if storage is None:
        yield refusal(
            "spec.storage", "KW330", "no volume takes the weights", "name size and storageClassName"
        )
    else:
        yield from _volume(as_map(storage))
    if not as_text(spec.get("jobNamespace")):
        message = "the volume and the Job that downloads have no namespace: KAITO cannot make them"
        yield replace(error("spec.jobNamespace", "KW330", message), kaito="never-ready")
    secret = as_map(as_map(source).get("accessSecret"))
    if (namespace := as_text(secret.get("namespace"))) and namespace != as_text(spec.get("jobNamespace")):
        message = f"{namespace[:80]!r} is not read: the Secret is looked for in jobNamespace"
        yield replace(warning("spec.source.accessSecret.namespace", "KW330", message), kaito="ignores")


def _volume(storage: Object) -> Iterator[Problem]:
    size = storage.get("size")
    if isinstance(size, str):
        try:
            quantity(size)
        except ValueError:
            yield refusal(
                "spec.storage.size", "KW330", f"{size[:80]!r} is not a quantity", "write it as 50Gi"
            )
    if not as_text(storage.get("storageClassName")):
        hint = "name a StorageClass whose volumes many pods can mount"
        yield refusal("spec.storage.storageClassName", "KW330", "no StorageClass is named", hint)
