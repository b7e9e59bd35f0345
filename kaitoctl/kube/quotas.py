"""What the ResourceQuotas of a namespace leave for pods and their volumes. Pure.

Source: Kubernetes 1.34, `pkg/quota/v1/evaluator/core` (pods.go, persistent_volume_claims.go: what counts),
`staging/src/k8s.io/apiserver/pkg/admission/plugin/resourcequota/controller.go` (what is refused),
`plugin/pkg/admission/limitranger` (what containers that say nothing get).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from msgspec import Struct

from kaitoctl.kube.objects import Object, dig, key_of, quantity
from kaitoctl.kube.pod_state import most_at_once

Amounts = Mapping[str, Decimal]

# Of these a quota demands that each container says something: the server cannot count it otherwise.
_MUST_BE_SAID = ("cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory")
_OF_COMPUTE = ("cpu", "memory", "ephemeral-storage")
_ONE = Decimal(1)


class Pods(Struct, frozen=True):
    """Pods that are all alike, and not there yet.

    Args:
        spec: of each.
        number: how many.
        claims: the specs of claims that each gets besides, by name.
    """

    spec: Object
    number: int
    claims: tuple[Object, ...] = ()

    @classmethod
    def made_by(cls, workload: Object, number: int) -> Pods:
        """New pods of a workload, with the claims that are made for each."""
        made = dig(workload, "spec", "volumeClaimTemplates") or ()
        spec = dig(workload, "spec", "template", "spec") or {}
        return cls(spec, number, tuple(one.get("spec") or {} for one in made))


class Quotas:
    """Counts what quotas leave, while pods that are planned take it one after another.

    Args:
        quotas: the ResourceQuotas of all namespaces.
        ranges: the LimitRanges of all namespaces.
    """

    def __init__(self, quotas: Iterable[Object], ranges: Iterable[Object] = ()) -> None:
        self._of: dict[str, list[_Quota]] = {}
        for one in quotas:
            self._of.setdefault(key_of(one).namespace, []).append(_quota(one))
        self._ranges: dict[str, list[Object]] = {}
        for one in ranges:
            self._ranges.setdefault(key_of(one).namespace, []).append(one)

    def limits(self, namespace: str) -> bool:
        """Whether there is any quota in the namespace."""
        return namespace in self._of

    def take(self, namespace: str, wanted: Pods, freed: Sequence[Object] = ()) -> tuple[int, str]:
        """How many of the pods the quotas let in, and why not more; those are counted from then on.

        Args:
            namespace: where they are to be.
            wanted: the pods.
            freed: pods that end before these begin.
        """
        quotas = self._of.get(namespace, [])
        ended = [_usage(_with_defaults(pod.get("spec") or {}, ()), ()) for pod in freed]
        for one in quotas:
            for pod, usage in zip(freed, ended, strict=True):
                if one.counts(pod.get("spec") or {}):
                    one.used.subtract(one.tracked(usage))
        spec = _with_defaults(wanted.spec, self._ranges.get(namespace, ()))
        usage = _usage(spec, wanted.claims)
        number, why = wanted.number, ""
        for one in quotas:
            is_counted = one.counts(spec)
            if is_counted and (unsaid := one.unsaid(spec)):
                return 0, f"quota {one.name} refuses pods that do not say {', '.join(unsaid)}"
            room, words = one.room(usage if is_counted else _of_claims(usage), wanted.number)
            if room < number:
                number, why = room, words
        for one in quotas:
            taken = one.tracked(usage if one.counts(spec) else _of_claims(usage))
            one.used.update({name: amount * number for name, amount in taken.items()})
        return number, why


class _Quota(Struct):
    name: str
    hard: Amounts
    used: Counter[str]
    scopes: tuple[Object, ...]

    def counts(self, spec: Object) -> bool:
        """Whether such a pod is of the quota's scopes."""
        return all(_is_of_scope(scope, spec) for scope in self.scopes)

    def tracked(self, usage: Amounts) -> Any:
        """Of a pod's usage what the quota counts; claims are of no scope."""
        return {name: amount for name, amount in usage.items() if name in self.hard}

    def unsaid(self, spec: Object) -> list[str]:
        """What every container must say, and one does not."""
        wanted = [name for name in _MUST_BE_SAID if name in self.hard]
        containers = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
        return [name for name in wanted if not all(_says(one, name) for one in containers)]

    def room(self, usage: Amounts, number: int) -> tuple[int, str]:
        """How many of so many pods there is room for, and what there is too little of."""
        least, why = number, ""
        for name, each in self.tracked(usage).items():
            left = max(self.hard[name] - self.used[name], Decimal(0))
            if each > 0 and left < each * least:
                least = int(left // each)
                what = f"{name}: {_text(each)} each, {_text(left)} of {_text(self.hard[name])} left"
                pods = "its pod" if number == 1 else f"its {number} pods"
                why = f"quota {self.name} has room for {least or 'none'} of {pods} ({what})"
        return least, why


def _quota(obj: Object) -> _Quota:
    hard = dig(obj, "status", "hard") or dig(obj, "spec", "hard") or {}
    scopes = [{"scopeName": name, "operator": "Exists"} for name in dig(obj, "spec", "scopes") or ()]
    scopes += dig(obj, "spec", "scopeSelector", "matchExpressions") or ()
    used: Counter[str] = Counter()
    used.update(_amounts(dig(obj, "status", "used") or {}))
    return _Quota(key_of(obj).name, _amounts(hard), used, tuple(scopes))


def _amounts(given: Mapping[str, Any]) -> dict[str, Decimal]:
    return {name: _amount(value) for name, value in given.items()}


def _amount(value: Any) -> Decimal:
    try:
        return quantity(str(value)[:40])
    except ValueError:
        return Decimal(0)


def _text(amount: Decimal) -> str:
    gib = Decimal(2**30)
    if amount >= gib and amount % gib == 0:
        return f"{int(amount // gib)}Gi"
    return f"{amount.normalize():f}"


# --- what a pod uses ---------------------------------------------------------------------------------------


def _usage(spec: Object, claims: Sequence[Object]) -> dict[str, Decimal]:
    found = {"pods": _ONE, "count/pods": _ONE}
    for side in ("requests", "limits"):
        for name in sorted({name for one in _containers(spec) for name in dig(one, "resources", side) or ()}):
            amount = most_at_once(spec, _of_container(side, name)) + _overhead(spec, name)
            if name in _OF_COMPUTE or (side == "requests" and ("/" in name or "hugepages-" in name)):
                found[f"{side}.{name}"] = amount
            if side == "requests" and (name in _OF_COMPUTE or name.startswith("hugepages-")):
                found[name] = amount
    volumes = spec.get("volumes") or ()
    inline = [dig(one, "ephemeral", "volumeClaimTemplate", "spec") for one in volumes]
    for claim in [*(one for one in inline if one), *claims]:
        size, of_class = (
            _amount(dig(claim, "resources", "requests", "storage")),
            claim.get("storageClassName"),
        )
        _add(found, {"persistentvolumeclaims": _ONE, "count/persistentvolumeclaims": _ONE})
        _add(found, {"requests.storage": size})
        if of_class:
            prefix = f"{of_class}.storageclass.storage.k8s.io/"
            _add(found, {f"{prefix}requests.storage": size, f"{prefix}persistentvolumeclaims": _ONE})
    return found


def _add(found: dict[str, Decimal], more: Amounts) -> None:
    for name, amount in more.items():
        found[name] = found.get(name, Decimal(0)) + amount


def _of_claims(usage: Amounts) -> Amounts:
    """What of it are claims, which are objects of their own: the scopes of pods do not matter to them."""
    return {
        name: amount
        for name, amount in usage.items()
        if name.endswith(("persistentvolumeclaims", "requests.storage"))
    }


def _of_container(side: str, name: str) -> Callable[[Any], Decimal]:
    return lambda container: _amount(dig(container, "resources", side, name) or 0)


def _overhead(spec: Object, name: str) -> Decimal:
    return _amount(dig(spec, "overhead", name) or 0)


def _containers(spec: Object) -> list[Object]:
    return [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]


def _with_defaults(spec: Object, ranges: Iterable[Object]) -> Object:
    """The spec with what the server fills in: of LimitRanges, and requests where only limits are said."""
    defaults: dict[str, dict[str, Any]] = {"limits": {}, "requests": {}}
    for one in ranges:
        for limit in dig(one, "spec", "limits") or ():
            if limit.get("type") == "Container":
                defaults["limits"] |= limit.get("default") or {}
                defaults["requests"] |= (limit.get("default") or {}) | (limit.get("defaultRequest") or {})
    made = dict(spec)
    for part in ("initContainers", "containers"):
        if spec.get(part):
            made[part] = [_filled(container, defaults) for container in spec[part]]
    return made


def _filled(container: Object, defaults: Mapping[str, Mapping[str, Any]]) -> Object:
    said = container.get("resources") or {}
    limits = said.get("limits") or {}
    requests = {**defaults["requests"], **limits, **(said.get("requests") or {})}
    return {**container, "resources": {"limits": {**defaults["limits"], **limits}, "requests": requests}}


# --- scopes ------------------------------------------------------------------------------------------------


def _says(container: Object, name: str) -> bool:
    side, _, resource = name.rpartition(".")
    return dig(container, "resources", side or "requests", resource) is not None


def _is_of_scope(scope: Object, spec: Object) -> bool:
    name, operator = scope.get("scopeName"), scope.get("operator")
    if name in ("Terminating", "NotTerminating"):
        return (spec.get("activeDeadlineSeconds") is not None) is (name == "Terminating")
    if name in ("BestEffort", "NotBestEffort"):
        is_best = not any(
            dig(one, "resources", side, resource)
            for one in _containers(spec)
            for side in ("requests", "limits")
            for resource in ("cpu", "memory")
        )
        return is_best is (name == "BestEffort")
    if name == "PriorityClass":
        own = spec.get("priorityClassName") or ""
        if operator in ("Exists", "DoesNotExist"):
            return bool(own) is (operator == "Exists")
        return (own in (scope.get("values") or ())) is (operator == "In")
    return False  # across namespaces, or of claims: none of the pods made for a Workspace
