"""What a Workspace asks of its nodes, read once from its manifest. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kaitoctl.kaito import api, catalog
from kaitoctl.kaito.nodes.answer import OWN_RULES, Rules
from kaitoctl.kaito.nodes.custom_pod import CustomPod, custom_pod
from kaitoctl.kaito.nodes.facts import (
    LABEL_COUNT,
    LABELS_OF_OTHERS,
    LABELS_OWNER,
    READ_LABELS,
    NodeFacts,
    below,
    items,
    mapping,
    texts,
    whole_number,
)
from kaitoctl.kube.objects import Object

# What every generated pod tolerates; anything else keeps it away from a node.
TOLERATIONS: tuple[Object, ...] = (
    {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"},
    {"key": "sku", "operator": "Equal", "value": "gpu", "effect": "NoSchedule"},
)
# KAITO v0.12 adds this one.
_SPOT: Object = {
    "key": "kubernetes.azure.com/scalesetpriority",
    "operator": "Equal",
    "value": "spot",
    "effect": "NoSchedule",
}
# From v0.12 on KAITO drops these keys from matchLabels.
RESERVED = frozenset({api.LABEL_WORKSPACE, api.LABEL_WORKSPACE_NAMESPACE, *LABELS_OWNER, *LABELS_OF_OTHERS})
"""Labels that KAITO writes on nodes itself, to say whose they are."""


def required_nodes(workspace: Object) -> int:
    """`resource.count`, 1 when absent."""
    count = below(workspace, "resource", "count")
    return count if isinstance(count, int) and not isinstance(count, bool) and count > 0 else 1


def instance_type_of(workspace: Object) -> str:
    """`resource.instanceType`, or the default of the CRD; empty in v1beta1, which has none.

    Without one, nodes of any type will do if they have the labels, and none can be asked for.
    """
    named = below(workspace, "resource", "instanceType")
    is_v1beta1 = below(workspace, "apiVersion") == api.WORKSPACE_V1BETA1.api_version
    return str(named or ("" if is_v1beta1 else api.DEFAULT_INSTANCE_TYPE))


def instance_types_meant(workspace: Object) -> list[str]:
    """The instance type, and the catalogue's name for it where that differs in upper and lower case."""
    wanted = instance_type_of(workspace)
    return [wanted, *(name for name in catalog.current().instance_types if is_same_type(name, wanted))]


def is_same_type(name: str, other: str) -> bool:
    """Whether two names of instance types differ in upper and lower case only."""
    return name != other and name.lower() == other.lower()


def preferred_nodes(workspace: Object) -> list[str]:
    """`resource.preferredNodes` without repetitions, in the user's order."""
    return list(dict.fromkeys(_named(workspace)))


def labels_asked(workspace: Object, rules: Rules = OWN_RULES) -> dict[str, str]:
    """The labels that a node must carry to be selected."""
    asked = texts(below(workspace, "resource", "labelSelector", "matchLabels"))
    if not rules.is_modern:
        return asked
    asked = {key: value for key, value in asked.items() if key not in RESERVED}
    metadata = mapping(below(workspace, "metadata"))
    if rules.provisioner == "azure-gpu-provisioner":
        asked = {
            api.LABEL_WORKSPACE: str(metadata.get("name") or ""),
            api.LABEL_WORKSPACE_NAMESPACE: str(metadata.get("namespace") or "default"),
        }
    return asked


def labels_read(workspace: Object, rules: Rules = OWN_RULES) -> list[str]:
    """The keys of all node labels that a verdict for this Workspace reads."""
    expressions = items(below(workspace, "resource", "labelSelector", "matchExpressions"))
    keys = [key for item in expressions if isinstance(key := below(item, "key"), str)]
    template = custom_pod(workspace)
    chosen = template.label_keys if template else ()
    return list(dict.fromkeys([*READ_LABELS, *labels_asked(workspace, rules), *keys, *chosen]))


def rules_for(workspace: Object, target: str, provisioner: str = "") -> Rules:
    """The rules of a target version; without a provisioner the one that the Workspace suggests.

    From v0.12 on KAITO refuses an instance type on your own nodes and demands one everywhere else.
    """
    suggested = "azure-gpu-provisioner" if below(workspace, "resource", "instanceType") else "byo"
    return Rules(target, provisioner or suggested)


@dataclass(frozen=True, slots=True)
class Need:
    """What a Workspace asks of a node, read once.

    Args:
        rules: whose selection counts.
        required: how many nodes.
        labels: those that a node must carry.
        expressions: the selector's matchExpressions.
        instance_type: as written, empty when any will do.
        shape: the instance type in the catalogue.
        preferred: position of each preferred node by name.
        repeated: preferred nodes that are named more than once.
        preset: what will run, None for a custom pod or an unknown preset.
        owner: namespace and name of the Workspace, the name empty when there is none yet.
        pod: the custom pod of `inference.template`.
        is_tuning: whether it tunes.
    """

    rules: Rules
    required: int
    labels: Mapping[str, str]
    expressions: tuple[Object, ...]
    instance_type: str
    shape: catalog.InstanceType | None
    preferred: Mapping[str, int]
    repeated: frozenset[str]
    preset: catalog.Preset | None
    owner: tuple[str, str]
    pod: CustomPod | None = None
    is_tuning: bool = False

    @property
    def tolerations(self) -> tuple[Object, ...]:
        """What its pods tolerate: a custom pod has its own besides."""
        own = self.pod.tolerations if self.pod else ()
        return (*own, *TOLERATIONS, _SPOT) if self.rules.is_modern else (*own, *TOLERATIONS)

    def concerns(self, name: str, labels: Mapping[str, Any]) -> bool:
        """Whether somebody could expect the node to be used: its name, its type, or all labels say so."""
        if name in self.preferred:
            return True
        have = str(labels.get(api.LABEL_INSTANCE_TYPE) or "")
        if self.instance_type and have.lower() == self.instance_type.lower():
            return True
        return bool(self.labels) and all(labels.get(key) == value for key, value in self.labels.items())

    def gpus_asked(self, node: NodeFacts, offered: int) -> tuple[int, int]:
        """How many GPUs the node must have, and how many the pod will get there.

        Args:
            node: the node.
            offered: how many of its devices one pod can use.
        """
        if self.pod is not None:
            return self.pod.gpus, self.pod.gpus
        least = preset_gpus(self.preset)
        if self.rules.target == "kaitoctl":
            if self.shape and node.labels.get(api.LABEL_INSTANCE_TYPE) == self.instance_type:
                return self.shape.gpus, self.shape.gpus
            return least, max(least, min(offered, self.shape.gpus if self.shape else offered))
        if self.rules.is_byo:
            count = whole_number(node.labels.get(LABEL_COUNT)) or 1
        else:
            count = self.shape.gpus if self.shape else least
        return count, count


def need_of(workspace: Object, rules: Rules) -> Need:
    """What a Workspace asks of a node under these rules."""
    named = _named(workspace)
    wanted = "" if rules.is_byo else instance_type_of(workspace)
    required = required_nodes(workspace)
    planned = below(workspace, "status", "targetNodeCount")
    if rules.is_modern and isinstance(planned, int) and planned > 0:
        required = planned
    metadata = mapping(below(workspace, "metadata"))
    expressions = items(below(workspace, "resource", "labelSelector", "matchExpressions"))
    return Need(
        rules,
        required,
        labels_asked(workspace, rules),
        tuple(item for item in expressions if isinstance(item, dict)),
        wanted,
        catalog.instance_type(wanted),
        {name: position for position, name in enumerate(dict.fromkeys(named))},
        frozenset(name for name, times in Counter(named).items() if times > 1),
        preset_of(workspace),
        (str(metadata.get("namespace") or "default"), str(metadata.get("name") or "")),
        custom_pod(workspace),
        bool(below(workspace, "tuning")),
    )


def preset_of(workspace: Object) -> catalog.Preset | None:
    """The preset that it serves or tunes, None when the catalogue has none of that name."""
    for use in ("inference", "tuning"):
        if name := below(workspace, use, "preset", "name"):
            return catalog.preset(str(name))
    return None


def preset_gpus(preset: catalog.Preset | None) -> int:
    """The least number of GPUs; 1 when the preset is not known."""
    return preset.gpu_count if preset else 1


def _named(workspace: Object) -> list[str]:
    named = items(below(workspace, "resource", "preferredNodes"))
    return [name for name in named if isinstance(name, str) and name]
