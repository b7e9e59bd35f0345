"""Where an object is not as wanted; what a server adds or leaves out by itself is no difference. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from kaitoctl.kube.objects import Object, quantity

# Lists that the API server merges entry by entry, and what tells their entries apart: others may add to
# them. Source: the x-kubernetes-list-map-keys of the OpenAPI document of Kubernetes 1.33.
_MERGE_KEYS: dict[str, tuple[str, ...]] = {
    "containers": ("name",),
    "initContainers": ("name",),
    "env": ("name",),
    "volumes": ("name",),
    "imagePullSecrets": ("name",),
    "volumeMounts": ("mountPath",),
    "volumeDevices": ("devicePath",),
    "ports": ("containerPort", "port", "protocol"),
    "ownerReferences": ("uid",),
    "conditions": ("type",),
}
_QUANTITY_MAPS = frozenset({"requests", "limits"})
_QUANTITIES = frozenset({"sizeLimit", "divisor"})


class Difference(NamedTuple):
    """A field that is not as wanted.

    Args:
        path: as `spec.containers[name=x].image`.
        observed: its value now, None when it is absent.
        desired: the value wanted.
    """

    path: str
    observed: Any
    desired: Any


def differences(desired: Object, observed: Object) -> list[str]:
    """The paths of `compared`."""
    return [difference.path for difference in compared(desired, observed)]


def compared(desired: Object, observed: Object) -> list[Difference]:
    """Where `observed` does not contain `desired`.

    Fields that `desired` does not mention, or as null, may have any value. Lists have to match entry by
    entry, except those that Kubernetes merges by a key (containers, env, volumes, ports ...), to which
    others may have added; a Service's selector has to match whole. A missing value equals an empty map, list
    or text, False and 0: servers leave such values out. Quantities are compared as numbers.
    """
    return list(_walk(desired, observed, "", "", ""))


def _walk(desired: Any, observed: Any, path: str, field: str, parent: str) -> Iterable[Difference]:
    # Most of what is compared is equal, and found so without a look at its parts.
    if desired is None or desired == observed or not (desired or observed):
        return
    if path == "spec.selector" and isinstance(observed, dict) and "matchLabels" not in desired:
        # A Service's selector is one value: a pair that somebody adds selects other pods, mostly none.
        if desired != observed:
            yield Difference(path, observed, desired)
    elif isinstance(desired, dict) and (observed is None or isinstance(observed, dict)):
        there = observed or {}
        for name, value in desired.items():
            if value != (found := there.get(name)):
                yield from _walk(value, found, _join(path, name), name, field)
    elif isinstance(desired, list) and isinstance(observed, list):
        yield from _walk_list(desired, observed, path, field)
    elif field in _QUANTITIES or parent in _QUANTITY_MAPS:
        if not _is_same_quantity(desired, observed):
            yield Difference(path, observed, desired)
    elif desired != observed:
        yield Difference(path, observed, desired)


def _walk_list(desired: list[Any], observed: list[Any], path: str, field: str) -> Iterable[Difference]:
    names = _MERGE_KEYS.get(field, ())
    wanted, have = _by_merge_key(desired, names), _by_merge_key(observed, names)
    if wanted is not None and have is not None:
        for merge_key, entry in wanted.items():
            if entry == have.get(merge_key):
                continue
            name, value = next(item for item in zip(names, merge_key, strict=True) if item[1] is not None)
            yield from _walk(entry, have.get(merge_key), f"{path}[{name}={value}]", "", field)
    elif len(desired) != len(observed):
        yield Difference(path, observed, desired)
    else:
        for index, (entry, other) in enumerate(zip(desired, observed, strict=True)):
            yield from _walk(entry, other, f"{path}[{index}]", "", field)


def _by_merge_key(entries: list[Any], names: tuple[str, ...]) -> dict[tuple[Any, ...], Object] | None:
    """The entries by their merge key, or None when that does not tell them apart."""
    found: dict[tuple[Any, ...], Object] = {}
    for entry in entries:
        if not isinstance(entry, dict) or all(entry.get(name) is None for name in names):
            return None
        values = tuple(entry.get(name, "TCP" if name == "protocol" else None) for name in names)
        if not all(isinstance(value, str | int | None) for value in values) or values in found:
            return None
        found[values] = entry
    return found if names else None


def _is_same_quantity(one: Any, other: Any) -> bool:
    try:
        return quantity(one) == quantity(other)
    except ValueError:
        return bool(one == other)


def _join(path: str, name: str) -> str:
    if "." in name or "/" in name:
        return f"{path}[{name}]"
    return f"{path}.{name}" if path else name
