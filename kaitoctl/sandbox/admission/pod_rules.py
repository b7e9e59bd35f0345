"""What is wrong with the spec of a pod, also of a template. Pure, and changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kaitoctl.kube.objects import Object, quantity
from kaitoctl.sandbox.admission.names import LABEL, LABEL_RULE, key_causes, label_value_causes
from kaitoctl.sandbox.error_status import cause, duplicate, invalid_value, required, unsupported


def pod_spec_causes(
    spec: Object, at: str, *, restart: tuple[str, ...] = ("Always", "OnFailure", "Never")
) -> Iterator[Object]:
    """What is wrong with the spec of a pod or a template.

    Args:
        spec: with its defaults.
        at: where it stands.
        restart: the restart policies that it may have.
    """
    if not spec.get("containers"):
        yield required(f"{at}.containers")
    if spec["restartPolicy"] not in restart:
        yield unsupported(f"{at}.restartPolicy", spec["restartPolicy"], restart)
    for key, value in (spec.get("nodeSelector") or {}).items():
        yield from key_causes(f"{at}.nodeSelector", key)
        yield from label_value_causes(f"{at}.nodeSelector", value)
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
        yield from key_causes(f"{at}.key", key)
    elif operator != "Exists":
        yield invalid_value(f"{at}.operator", operator, "must be Exists when `key` is empty")
    effect = toleration.get("effect")
    if toleration.get("tolerationSeconds") is not None and effect != "NoExecute":
        yield invalid_value(f"{at}.effect", effect, "must be NoExecute when `tolerationSeconds` is set")
    if operator == "Exists" and value:
        yield invalid_value(f"{at}.operator", value, "value must be empty when `operator` is 'Exists'")
    elif operator == "Equal":
        yield from label_value_causes(f"{at}.operator", value)
    elif operator not in ("Equal", "Exists", "Gt", "Lt"):
        yield unsupported(f"{at}.operator", operator, ("Equal", "Exists"))
    effects = ("NoSchedule", "PreferNoSchedule", "NoExecute")
    if effect and effect not in effects:
        yield unsupported(f"{at}.effect", effect, effects)


def _unique_label(name: Any, names: set[str], field: str) -> Iterator[Object]:
    if not name:
        yield required(field)
    elif not LABEL.fullmatch(name) or len(name) > 63:
        yield invalid_value(field, name, LABEL_RULE)
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
    yield from _container_port_causes(container, at)
    yield from _env_causes(container, at)
    yield from _mount_causes(container, volumes, at)
    yield from _resource_causes(container.get("resources") or {}, f"{at}.resources")


def _container_port_causes(container: Object, at: str) -> Iterator[Object]:
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


def _env_causes(container: Object, at: str) -> Iterator[Object]:
    for position, variable in enumerate(container.get("env") or ()):
        if not variable.get("name"):
            yield required(f"{at}.env[{position}].name")
        elif not isinstance(variable.get("value", ""), str):
            yield invalid_value(f"{at}.env[{position}].value", variable["value"], "must be a string")


def _mount_causes(container: Object, volumes: set[str], at: str) -> Iterator[Object]:
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
