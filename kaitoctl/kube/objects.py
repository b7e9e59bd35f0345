"""Kubernetes objects as plain dicts: kinds, keys, owners, selectors, quantities.

Whole objects stay `dict`, as the API server sends them; what this module adds is names for the few
questions that everybody asks of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple, TypeVar, cast
from urllib.parse import quote

from msgspec import Struct

_PLAIN = re.compile(r"[a-z0-9.-]+")

Object = dict[str, Any]
"""A Kubernetes object or fragment of one, as JSON."""
_T = TypeVar("_T")


class Kind(Struct, frozen=True):
    """A resource type as the API server serves it.

    Args:
        group: API group, empty for the core group.
        version: version within the group.
        kind: the kind's name, `Deployment`.
        plural: the name in URLs, `deployments`.
        namespaced: whether objects live in a namespace.
    """

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """The `apiVersion` of its objects."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def resource(self) -> str:
        """The name that kubectl prints: `deployment.apps`, `pod`."""
        return f"{self.kind.lower()}.{self.group}" if self.group else self.kind.lower()

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The URL path of the collection, or of one object when `name` is given.

        An empty namespace of a namespaced kind means all namespaces.
        """
        parts = ["/apis", self.group, self.version] if self.group else ["/api", self.version]
        if self.namespaced and namespace:
            parts += ["namespaces", _quote(namespace)]
        parts.append(self.plural)
        if name:
            parts.append(_quote(name))
        if subresource:
            parts.append(subresource)
        return "/".join(parts)


def _quote(name: str) -> str:
    return name if _PLAIN.fullmatch(name) else quote(name, safe="")


NAMESPACE = Kind("", "v1", "Namespace", "namespaces", namespaced=False)
NODE = Kind("", "v1", "Node", "nodes", namespaced=False)
POD = Kind("", "v1", "Pod", "pods")
SERVICE = Kind("", "v1", "Service", "services")
EVENT = Kind("", "v1", "Event", "events")
SECRET = Kind("", "v1", "Secret", "secrets")
CONFIG_MAP = Kind("", "v1", "ConfigMap", "configmaps")
RESOURCE_QUOTA = Kind("", "v1", "ResourceQuota", "resourcequotas")
LIMIT_RANGE = Kind("", "v1", "LimitRange", "limitranges")
PERSISTENT_VOLUME_CLAIM = Kind("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims")
ENDPOINTS = Kind("", "v1", "Endpoints", "endpoints")
ENDPOINT_SLICE = Kind("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices")
DEPLOYMENT = Kind("apps", "v1", "Deployment", "deployments")
REPLICA_SET = Kind("apps", "v1", "ReplicaSet", "replicasets")
STATEFUL_SET = Kind("apps", "v1", "StatefulSet", "statefulsets")
CONTROLLER_REVISION = Kind("apps", "v1", "ControllerRevision", "controllerrevisions")
JOB = Kind("batch", "v1", "Job", "jobs")
LEASE = Kind("coordination.k8s.io", "v1", "Lease", "leases")
CRD = Kind(
    "apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", namespaced=False
)
NODE_CLAIM = Kind("karpenter.sh", "v1", "NodeClaim", "nodeclaims", namespaced=False)

GPU_RESOURCES = ("nvidia.com/gpu", "amd.com/gpu", "gpu.intel.com/i915", "habana.ai/gaudi")
"""Extended resources under which device plugins offer whole GPUs."""


class ObjectKey(NamedTuple):
    """Where an object lives: namespace (empty when cluster-scoped) and name."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name

    def within(self, namespace: str) -> ObjectKey:
        """The same key; in this namespace where it names none."""
        return self if self.namespace else ObjectKey(namespace, self.name)


def key_of(obj: Object) -> ObjectKey:
    """The key of an object."""
    metadata = obj["metadata"]
    # As ObjectKey(...), which is a function in Python that calls this one.
    return tuple.__new__(ObjectKey, (metadata.get("namespace") or "", metadata["name"]))


def uid_of(obj: Object) -> str:
    """The object's uid, empty before the server has given one."""
    return str(obj.get("metadata", {}).get("uid") or "")


def creation_time_of(obj: Object) -> str:
    """When an object was created, in text that sorts; empty for one that was not."""
    return str(obj["metadata"].get("creationTimestamp") or "")


def this_version(obj: Object) -> Object:
    """Metadata by which a write is refused for another object of the name, and for another version of it."""
    return {"uid": uid_of(obj), "resourceVersion": resource_version_of(obj)}


def resource_version_of(obj: Object) -> str:
    """The version of an object as read, opaque; empty for one that was not."""
    return str(obj["metadata"].get("resourceVersion") or "")


def generation_of(obj: Object) -> int:
    """The object's `metadata.generation`, 0 when it has none."""
    return int(obj.get("metadata", {}).get("generation") or 0)


LABEL_POD_NAME = "statefulset.kubernetes.io/pod-name"
"""Of each pod of a StatefulSet: its own name, by which a Service leads to it alone."""


def labels_of(obj: Object) -> dict[str, str]:
    """The object's labels; never None."""
    return obj.get("metadata", {}).get("labels") or {}


def annotations_of(obj: Object) -> dict[str, str]:
    """The object's annotations; never None."""
    return obj.get("metadata", {}).get("annotations") or {}


def without(obj: Object, *names: str) -> Object:
    """A shallow copy without these fields."""
    return {key: value for key, value in obj.items() if key not in names}


def as_map(value: Any) -> Object:
    """The value where it is a map; an empty one otherwise."""
    return value if isinstance(value, dict) else {}


def as_maps(value: Any) -> list[Object]:
    """The entries of a list, each as a map; none where it is no list."""
    return [as_map(item) for item in value] if isinstance(value, list) else []


def only(obj: Mapping[str, Any], *names: str) -> Object:
    """A shallow copy with those of these fields that are there, in this order."""
    return {key: obj[key] for key in names if key in obj}


def without_managed_fields(obj: Object) -> Object:
    """The object without the server's record of who owns which field, often half of its size."""
    metadata = obj["metadata"]
    if "managedFields" not in metadata:
        return obj
    kept = {key: value for key, value in metadata.items() if key != "managedFields"}
    return {**obj, "metadata": kept}


def is_being_deleted(obj: Object) -> bool:
    """True once a deletion has been asked for, finalizers or not."""
    return bool(obj.get("metadata", {}).get("deletionTimestamp"))


def owner_reference(owner: Object) -> Object:
    """A controller owner reference to `owner`.

    Guarantee: garbage collection removes the child with the owner, and `is_controlled_by` holds.
    """
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": uid_of(owner),
        "controller": True,
        "blockOwnerDeletion": True,
    }


def controller_of(obj: Object) -> Object | None:
    """The owner reference that says `controller: true`, or None."""
    for reference in obj.get("metadata", {}).get("ownerReferences") or ():
        if reference.get("controller"):
            return dict(reference)
    return None


def is_controlled_by(child: Object, owner: Object) -> bool:
    """True when `child` says that this very incarnation of `owner` (by uid) is its controller."""
    reference = controller_of(child)
    return reference is not None and bool(uid_of(owner)) and reference.get("uid") == uid_of(owner)


# --- label selectors -----------------------------------------------------------------------------------


def matches_selector(selector: Mapping[str, Any] | None, labels: Mapping[str, str]) -> bool:
    """Whether labels satisfy a `LabelSelector` (matchLabels and matchExpressions).

    None selects nothing and an empty selector selects everything, as in Kubernetes.

    Raises:
        ValueError: an operator that Kubernetes does not know.
    """
    if selector is None:
        return False
    for key, value in (selector.get("matchLabels") or {}).items():
        if labels.get(key) != value:
            return False
    return all(
        matches_expression(expression, labels) for expression in selector.get("matchExpressions") or ()
    )


def matches_expression(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether labels satisfy one requirement `{key, operator, values}`.

    Knows the operators of label selectors and, for node affinity, `Gt` and `Lt`.

    Raises:
        ValueError: any other operator.
    """
    key, operator, values = expression["key"], expression["operator"], expression.get("values") or ()
    have = labels.get(key)
    if operator == "In":
        return have in values
    if operator == "NotIn":
        return have not in values
    if operator == "Exists":
        return have is not None
    if operator == "DoesNotExist":
        return have is None
    if operator in ("Gt", "Lt"):
        numbers = have or "", str(next(iter(values), ""))
        if not all(re.fullmatch(r"[+-]?[0-9]{1,19}", text) for text in numbers):
            return False  # Go's ParseInt, which knows neither blanks nor other digits
        number, bound = map(int, numbers)
        return number > bound if operator == "Gt" else number < bound
    raise ValueError(f"unknown selector operator {operator!r}")


def matches_node_term(term: Mapping[str, Any], name: str, labels: Mapping[str, str]) -> bool:
    """Whether a node satisfies one term of a node affinity; an empty or malformed term matches no node."""
    try:
        expressions, fields = term.get("matchExpressions") or (), term.get("matchFields") or ()
        return (
            bool(expressions or fields)
            and all(matches_expression(item, labels) for item in expressions)
            and all(matches_expression(item, {"metadata.name": name}) for item in fields)
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return False


def tolerates(toleration: Object, taint: Object) -> bool:
    """Whether a toleration lets pods onto a node with this taint, as the scheduler compares them.

    Source: kubernetes `component-helpers/scheduling/corev1`, `k8s.io/api/core/v1/toleration.go`.
    """
    key, effect = toleration.get("key") or "", toleration.get("effect") or ""
    if effect and effect != taint.get("effect"):
        return False
    operator = toleration.get("operator") or "Equal"
    if not key:
        return operator == "Exists"  # every key
    if key != taint.get("key"):
        return False
    return operator == "Exists" or (toleration.get("value") or "") == (taint.get("value") or "")


def selector_text(match_labels: Mapping[str, str]) -> str:
    """`matchLabels` in the form of the `labelSelector` query parameter: `a=1,b=2`, sorted."""
    return ",".join(f"{key}={value}" for key, value in sorted(match_labels.items()))


# --- quantities ----------------------------------------------------------------------------------------

_SUFFIXES = {
    "": Decimal(1),
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "k": Decimal(10**3),
    "M": Decimal(10**6),
    "G": Decimal(10**9),
    "T": Decimal(10**12),
    "P": Decimal(10**15),
    "E": Decimal(10**18),
    "Ki": Decimal(2**10),
    "Mi": Decimal(2**20),
    "Gi": Decimal(2**30),
    "Ti": Decimal(2**40),
    "Pi": Decimal(2**50),
    "Ei": Decimal(2**60),
}
_LARGEST_EXPONENT = 30
_NUMBER_CHARACTERS = frozenset("0123456789.+-eE")


def quantity(text: str | int | float) -> Decimal:
    """A Kubernetes quantity as an exact number: `"50Gi"` is 53687091200, `"500m"` is 0.5.

    Raises:
        ValueError: not a quantity.

    Source: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
    """
    raw = str(text)
    if raw.isascii() and raw.isdigit():
        return Decimal(raw)
    number = raw.rstrip("KMGTPEikmnu")
    # "1E" is an exabyte and "1E3" a thousand: an exponent keeps its E because a digit follows it.
    suffix = raw[len(number) :]
    try:
        if suffix not in _SUFFIXES or not number or not set(number) <= _NUMBER_CHARACTERS:
            raise InvalidOperation
        value = Decimal(number) * _SUFFIXES[suffix]
        if value and abs(value.adjusted()) > _LARGEST_EXPONENT:
            raise InvalidOperation  # no machine has it, and as an integer it would fill the memory
        return value
    except ArithmeticError:
        raise ValueError(f"{raw[:40]!r} is not a Kubernetes quantity") from None


def whole_number(amount: object, *, most: int = 10_000) -> int | None:
    """A whole, sensible number of things, 0 for none given; None when it is none, or more than `most`."""
    if amount is None:
        return 0
    if isinstance(amount, str) and len(amount) < 5 and amount.isascii() and amount.isdigit():
        return int(amount)
    try:
        number = quantity(str(amount)[:40])
    except (ValueError, ArithmeticError):
        return None
    # Looked at before it becomes an int: 1e99999999 has that many digits.
    if not number.is_finite() or not 0 <= number <= most or number != number.to_integral_value():
        return None
    return int(number)


# --- small helpers over nested data --------------------------------------------------------------------


def dig(obj: Any, *path: str | int) -> Any:
    """The value at a path of keys and indexes, or None as soon as a step is missing or of another shape."""
    for step in path:
        # Asking a dict whether it is a Mapping takes ten times as long as asking it for a key.
        if type(obj) is dict or (isinstance(step, str) and isinstance(obj, Mapping)):
            obj = obj.get(step)
        elif isinstance(obj, list) and isinstance(step, int) and -len(obj) <= step < len(obj):
            obj = obj[step]
        else:
            return None
    return obj


def copy_of(value: _T) -> _T:
    """A deep copy of what JSON can say; three times as fast as `copy.deepcopy`, which allows for circles."""
    return cast(_T, _copy(value))


def _copy(value: Any) -> Any:
    kind = type(value)
    if kind is dict:
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if kind is list else value


def by_name(items: Iterable[Object] | None) -> dict[str, Object]:
    """Named list entries (containers, env, volumes) as a dict; entries without a name are left out."""
    return {item["name"]: item for item in items or () if "name" in item}


def apply_merge_patch(target: Any, patch: Any) -> Any:
    """`target` after a JSON merge patch (RFC 7386): maps are merged, null removes, all else replaces."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = apply_merge_patch(merged.get(name), value)
    return merged


def merge_patch_between(old: Object, new: Object) -> Object:
    """The JSON merge patch (RFC 7386) from one map to another: lists as a whole, null for what goes."""
    patch: Object = {key: None for key in old if key not in new}
    for key, value in new.items():
        before = old.get(key)
        if isinstance(value, dict) and isinstance(before, dict):
            if inner := merge_patch_between(before, value):
                patch[key] = inner
        elif key not in old or value != before:
            patch[key] = value
    return patch


def with_type(kind: Kind, obj: Object) -> Object:
    """The object with its `apiVersion` and `kind`, which items of lists and some answers leave out."""
    return {"apiVersion": kind.api_version, "kind": kind.kind, **obj}
