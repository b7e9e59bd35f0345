"""The custom pod of `inference.template`: what it asks of a node by itself. Pure.

KAITO up to v0.12 overwrites the template's affinity with the one that it makes from matchLabels, appends its
tolerations, and leaves nodeSelector, nodeName and resources as they are. kaitoctl's own controller keeps the
affinity, too.

Source: KAITO v0.4.0 and v0.12.0, `pkg/workspace/manifests/manifests.go` (GenerateManifestWithPodTemplate).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from kaitoctl.kaito import api
from kaitoctl.kaito.nodes.facts import below, items, mapping, texts
from kaitoctl.kube import pods as pods_
from kaitoctl.kube.objects import Object, matches_expression, quantity

_ROOM = ("cpu", "memory", "ephemeral-storage")


@dataclass(frozen=True, slots=True)
class CustomPod:
    """What a pod template asks of a node.

    Args:
        gpus: whole `nvidia.com/gpu` devices, init containers and sidecars included.
        others: other extended resources by name, such as `nvidia.com/mig-3g.20gb`.
        room: cpu (cores), memory and ephemeral storage (bytes) that it requests.
        tolerations: its own.
        node_selector: labels that its node must carry.
        node_name: the node that it names itself, empty without.
        terms: the alternatives of its required node affinity.
        os_name: the operating system that it names.
    """

    gpus: int
    others: Mapping[str, int]
    room: Mapping[str, Decimal]
    tolerations: tuple[Object, ...]
    node_selector: Mapping[str, str]
    node_name: str
    terms: tuple[Object, ...]
    os_name: str = ""

    @property
    def label_keys(self) -> list[str]:
        """Keys of the node labels that decide where it runs."""
        keys = [below(item, "key") for term in self.terms for item in items(term.get("matchExpressions"))]
        return [*self.node_selector, *(key for key in keys if isinstance(key, str))]

    def fits_terms(self, name: str, labels: Mapping[str, str]) -> bool:
        """Whether one of the alternatives of its node affinity lets it onto a node."""
        return not self.terms or any(_fits(term, name, labels) for term in self.terms)


def custom_pod(workspace: Object) -> CustomPod | None:
    """The custom pod of a Workspace, None when it has none.

    Guarantee: never raises, whatever the template looks like.
    """
    template = below(workspace, "inference", "template")
    spec = mapping(below(template, "spec"))
    if not spec:
        return None
    pod: Object = {"spec": spec}
    affinity = below(spec, "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution")
    named = below(spec, "nodeName")
    os_name = below(spec, "os", "name")
    return CustomPod(
        pods_.gpu_request(pod, api.GPU),
        {kind: pods_.gpu_request(pod, kind) for kind in _extended(spec) if kind != api.GPU},
        {kind: amount for kind in _ROOM if (amount := _requested(spec, kind))},
        tuple(item for item in items(spec.get("tolerations")) if isinstance(item, dict)),
        texts(spec.get("nodeSelector")),
        named if isinstance(named, str) else "",
        tuple(term for term in items(below(affinity, "nodeSelectorTerms")) if isinstance(term, dict)),
        os_name if isinstance(os_name, str) else "",
    )


def _extended(spec: Object) -> list[str]:
    """The resources that a device plugin offers: those with a domain of their own."""
    found: dict[str, None] = {}
    for container in [*items(spec.get("initContainers")), *items(spec.get("containers"))]:
        for part in ("requests", "limits"):
            for kind in mapping(below(container, "resources", part)):
                if isinstance(kind, str) and "/" in kind:
                    found[kind] = None
    return list(found)


def _requested(spec: Object, kind: str) -> Decimal:
    """What the containers request together; a limit without a request is one, too."""
    total = Decimal(0)
    for container in items(spec.get("containers")):
        amounts = mapping(below(container, "resources"))
        amount = mapping(amounts.get("requests")).get(kind, mapping(amounts.get("limits")).get(kind))
        try:
            total += quantity(str(amount)[:40]) if amount is not None else 0
        except ValueError:
            continue
    return total


def _fits(term: Object, name: str, labels: Mapping[str, str]) -> bool:
    expressions = list(_requirements(term, "matchExpressions"))
    fields = list(_requirements(term, "matchFields"))
    if not expressions and not fields:
        return False  # an empty term matches no node
    try:
        return all(matches_expression(item, labels) for item in expressions) and all(
            matches_expression(item, {"metadata.name": name}) for item in fields
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return False


def _requirements(term: Object, part: str) -> Iterator[Any]:
    yield from (item for item in items(term.get(part)) if isinstance(item, dict))
