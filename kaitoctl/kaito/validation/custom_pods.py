"""Custom pods that Kubernetes refuses, which nobody asks before KAITO's controller makes their workload.

The schema takes anything as `inference.template`, and the webhook only decodes it: a value of a wrong type is
refused there (KW105). What the API server then says of the workload ends in the controller's log: the
Workspace is admitted and never gets pods (KW189).

Source: kubernetes `pkg/apis/core/validation/validation.go` (ValidatePodTemplateSpec, validateContainers,
ValidateVolumeMounts) and `pkg/apis/apps/validation/validation.go` (restartPolicy of a Deployment).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kaitoctl.kaito.validation.grammar import is_dns_label
from kaitoctl.kaito.validation.problem import Problem, as_list, as_map, error

_SHOWN = 80


def pod_problems(where: str, template: Any) -> Iterator[Problem]:
    """What the API server refuses of a pod template that it can decode."""
    if not isinstance(template, dict):
        return
    spec = as_map(template.get("spec"))
    containers = spec.get("containers")
    if containers is None or containers == []:
        yield error(f"{where}.spec.containers", "KW189", "the pod has no containers")
    policy = spec.get("restartPolicy")
    if isinstance(policy, str) and policy not in ("", "Always"):
        message = f"the workload keeps its pods running: {policy[:_SHOWN]!r} is not Always"
        yield error(f"{where}.spec.restartPolicy", "KW189", message)
    volumes = {volume.get("name") for volume in as_list(spec.get("volumes")) if isinstance(volume, dict)}
    seen: set[str] = set()
    for key in ("initContainers", "containers"):
        for index, container in enumerate(as_list(spec.get(key))):
            if isinstance(container, dict):
                yield from _container(f"{where}.spec.{key}[{index}]", container, seen, volumes)


def _container(where: str, container: Any, seen: set[str], volumes: set[Any]) -> Iterator[Problem]:
    name, image = container.get("name"), container.get("image")
    if not isinstance(name, str) or not is_dns_label(name):
        yield error(f"{where}.name", "KW189", f"{str(name or '')[:_SHOWN]!r} cannot name a container")
    elif name in seen:
        yield error(f"{where}.name", "KW189", f"another container is called {name}, too")
    else:
        seen.add(name)
    if not image or (isinstance(image, str) and image != image.strip()):
        what = "has blanks around it" if image else "is missing"
        yield error(f"{where}.image", "KW189", f"the image {what}")
    for number, mount in enumerate(as_list(container.get("volumeMounts"))):
        wanted = as_map(mount).get("name")
        if isinstance(wanted, str) and wanted not in volumes:
            message = f"the pod has no volume {wanted[:_SHOWN]!r}"
            yield error(f"{where}.volumeMounts[{number}].name", "KW189", message)
