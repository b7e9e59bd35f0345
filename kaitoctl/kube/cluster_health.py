"""What is wrong with the parts of a cluster on which everything else stands. Pure.

Source: Kubernetes v1.37.2, staging/src/k8s.io/api/core/v1 (NamespaceConditionType), pkg/controller/namespace;
staging/src/k8s.io/kube-aggregator (APIService, condition Available) and apiextensions-apiserver
(conditions of CustomResourceDefinitions); pkg/kubelet: a node renews its lease every 10 seconds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import NamedTuple

from kaitoctl.kube import conditions
from kaitoctl.kube.objects import Kind, Object, dig, key_of

API_SERVICE = Kind("apiregistration.k8s.io", "v1", "APIService", "apiservices", False)

SKEW = timedelta(seconds=60)
"""By how much clocks may differ: as much as a lease is late that is renewed every 10 seconds, and some."""

_OF_NAMESPACES = (
    "NamespaceDeletionDiscoveryFailure",
    "NamespaceDeletionGroupVersionParsingFailure",
    "NamespaceDeletionContentFailure",
    "NamespaceContentRemaining",
    "NamespaceFinalizersRemaining",
)


class Fault(NamedTuple):
    """What is wrong with an object.

    Args:
        reason: in a word, as Kubernetes says it; may be empty.
        message: the same at length.
    """

    reason: str
    message: str


def why_terminating(namespace: Object) -> list[Fault]:
    """What keeps a namespace that is being deleted; the cause stands before what follows from it."""
    found = (conditions.find(namespace, kind) for kind in _OF_NAMESPACES)
    return [
        Fault(str(item.get("reason") or ""), str(item.get("message") or ""))
        for item in found
        if item is not None and item.get("status") == "True"
    ]


def why_unavailable(api_service: Object) -> Fault | None:
    """Why nobody answers for an API that a program in the cluster serves; None where somebody does."""
    available = conditions.find(api_service, "Available") or {}
    if available.get("status") in (None, "True") or not dig(api_service, "spec", "service"):
        return None
    return Fault(str(available.get("reason") or ""), str(available.get("message") or ""))


def why_not_served(crd: Object) -> Fault | None:
    """Why a CustomResourceDefinition that is there is not served; None where it is, or is being deleted."""
    for kind in ("NamesAccepted", "Established"):
        item = conditions.find(crd, kind) or {}
        if item.get("status") == "False":
            return Fault(str(item.get("reason") or ""), str(item.get("message") or ""))
    return None


def why_crd_stays(crd: Object) -> str:
    """What the API server says of the objects of a definition that is being deleted; empty where nothing."""
    return str((conditions.find(crd, "Terminating") or {}).get("message") or "")


def http_date(text: str) -> datetime | None:
    """The moment that a `Date` header names, to the second; None for what is none."""
    try:
        found = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def renewals(leases: Iterable[Object]) -> dict[str, datetime]:
    """When each node says, by its own clock, that it has renewed its lease."""
    found = {}
    for lease in leases:
        try:
            found[key_of(lease).name] = conditions.parse_timestamp(str(dig(lease, "spec", "renewTime")))
        except ValueError:
            continue
    return found


def minor_version(git_version: str) -> tuple[int, int] | None:
    """`v1.33.1-eks-1` -> (1, 33); None for what is no version."""
    found = re.match(r"v?(\d{1,3})\.(\d{1,4})\b", git_version)
    return (int(found[1]), int(found[2])) if found else None
