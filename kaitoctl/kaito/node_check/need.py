"""What a Workspace asks of its nodes, read once from its manifest; a custom pod asks by itself, too. Pure.

KAITO up to v0.12 overwrites the template's affinity with the one that it makes from matchLabels, appends its
tolerations, and leaves nodeSelector, nodeName and resources as they are. kaitoctl's own controller keeps the
affinity, too.

Source: KAITO v0.4.0 and v0.12.0, `pkg/workspace/manifests/manifests.go` (GenerateManifestWithPodTemplate).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from kaitoctl.kaito import api
from kaitoctl.kaito.catalog import Catalog, InstanceType, Model, Preset
from kaitoctl.kaito.node_check.answer import OWN_RULES, Rules, nobody_creates
from kaitoctl.kaito.node_check.facts import (
    LABEL_COUNT,
    READ_LABELS,
    NodeFacts,
    below,
    items,
    mapping,
    texts,
)
from kaitoctl.kube import pod_state
from kaitoctl.kube.objects import Object, matches_node_term, quantity, whole_number

_REPLICAS = "kaitoctl.dev/replicas"  # on a Workspace that stands for several: how many
_ROOM = ("cpu", "memory", "ephemeral-storage")


class CustomPod(Struct, frozen=True):
    """What a pod template asks of a node.

    Args:
        gpus: whole `nvidia.com/gpu` devices, init containers and sidecars included.
        others: other extended resources by name, such as `nvidia.com/mig-3g.20gb`.
        room: cpu (cores), memory, ephemeral storage and huge pages (bytes) that it requests.
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
        return not self.terms or any(matches_node_term(term, name, labels) for term in self.terms)


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
        pod_state.gpu_request(pod, api.GPU),
        {kind: pod_state.gpu_request(pod, kind) for kind in _extended_resources(spec) if kind != api.GPU},
        room_of(pod),
        tuple(item for item in items(spec.get("tolerations")) if isinstance(item, dict)),
        texts(spec.get("nodeSelector")),
        named if isinstance(named, str) else "",
        tuple(term for term in items(below(affinity, "nodeSelectorTerms")) if isinstance(term, dict)),
        os_name if isinstance(os_name, str) else "",
    )


def _extended_resources(spec: Object) -> list[str]:
    """The resources that a device plugin offers: those with a domain of their own."""
    found: dict[str, None] = {}
    for container in [*items(spec.get("initContainers")), *items(spec.get("containers"))]:
        for part in ("requests", "limits"):
            for kind in mapping(below(container, "resources", part)):
                if isinstance(kind, str) and "/" in kind:
                    found[kind] = None
    return list(found)


def _request_of(spec: Object, kind: str) -> Decimal:
    """What the pod requests of one resource.

    A request of the whole pod stands for those of its containers; a runtime's overhead comes on top.

    Source: kubernetes `component-helpers/resource/helpers.go` (PodRequests).
    """
    asked = _amount_of(spec, kind) or pod_state.most_at_once(spec, lambda item: _amount_of(item, kind))
    return asked + _quantity(mapping(spec.get("overhead")).get(kind))


def _amount_of(part: Any, kind: str) -> Decimal:
    """What a container, or a whole pod, requests; a limit without a request is one, too."""
    amounts = mapping(below(part, "resources"))
    return _quantity(mapping(amounts.get("requests")).get(kind, mapping(amounts.get("limits")).get(kind)))


def _quantity(amount: object) -> Decimal:
    """An amount, 0 for what is none."""
    if amount is None:
        return Decimal(0)
    try:
        found = quantity(str(amount)[:40])
    except (ValueError, ArithmeticError):
        return Decimal(0)
    return found if found.is_finite() else Decimal(0)


def room_of(pod: Object) -> dict[str, Decimal]:
    """What a pod requests besides devices: cpu (cores), memory, ephemeral storage and huge pages (bytes)."""
    spec = mapping(below(pod, "spec"))
    return {kind: amount for kind in _room_kinds(spec) if (amount := _request_of(spec, kind))}


def _room_kinds(spec: Object) -> list[str]:
    """What it may request of a node besides devices: with huge pages, in each size a resource of its own."""
    found = dict.fromkeys(_ROOM)
    parts = [spec, *items(spec.get("initContainers")), *items(spec.get("containers"))]
    for part in parts:
        for amounts in mapping(below(part, "resources")).values():
            pages = (kind for kind in mapping(amounts) if str(kind).startswith("hugepages-"))
            found |= dict.fromkeys(map(str, pages))
    return list(found)


# What every generated pod tolerates; anything else keeps it away from a node.
TOLERATIONS: tuple[Object, ...] = (
    {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"},
    {"key": "sku", "operator": "Equal", "value": "gpu", "effect": "NoSchedule"},
)
# KAITO v0.12 adds this one.
SPOT: Object = {
    "key": "kubernetes.azure.com/scalesetpriority",
    "operator": "Equal",
    "value": "spot",
    "effect": "NoSchedule",
}


def required_nodes(workspace: Object) -> int:
    """`resource.count`, 1 when absent."""
    count = below(workspace, "resource", "count")
    return count if isinstance(count, int) and not isinstance(count, bool) and count > 0 else 1


def of_replicas(workspace: Object, replicas: int) -> Object:
    """A Workspace that stands for several like this one, and takes the nodes of all of them."""
    metadata, resource = mapping(below(workspace, "metadata")), mapping(below(workspace, "resource"))
    notes = {**mapping(metadata.get("annotations")), _REPLICAS: str(replicas)}
    return {
        **workspace,
        "metadata": {**metadata, "annotations": notes},
        "resource": {**resource, "count": required_nodes(workspace) * replicas},
    }


def replicas_of(workspace: Object) -> int:
    """For how many Workspaces like it one stands."""
    return whole_number(below(workspace, "metadata", "annotations", _REPLICAS)) or 1


def planned_nodes(workspace: Object) -> int:
    """How many nodes its controller takes: what it has written of them, before it has `resource.count`."""
    written = None if below(workspace, "tuning") else written_node_count(workspace)
    return written or required_nodes(workspace)


def written_node_count(workspace: Object) -> int | None:
    """`status.targetNodeCount`, where it is a count."""
    written = below(workspace, "status", "targetNodeCount")
    return written if isinstance(written, int) and not isinstance(written, bool) and written > 0 else None


def instance_type_of(workspace: Object) -> str:
    """`resource.instanceType`, or the default of the CRD; empty in v1beta1, which has none.

    Without one, nodes of any type will do if they have the labels, and none can be asked for.
    """
    named = below(workspace, "resource", "instanceType")
    is_v1beta1 = below(workspace, "apiVersion") == api.WORKSPACE_V1BETA1.api_version
    return str(named or ("" if is_v1beta1 else api.DEFAULT_INSTANCE_TYPE))


def instance_types_meant(workspace: Object, known: Catalog) -> list[str]:
    """The instance type, and the catalogue's name for it where that differs in upper and lower case."""
    wanted = instance_type_of(workspace)
    return [wanted, *(name for name in known.instance_types if is_same_type(name, wanted))]


def is_same_type(name: str, other: str) -> bool:
    """Whether two names of instance types differ in upper and lower case only."""
    return name != other and name.lower() == other.lower()


def preferred_nodes(workspace: Object) -> list[str]:
    """`resource.preferredNodes` without repetitions, in the user's order."""
    return list(dict.fromkeys(_node_names(workspace)))


def labels_asked(workspace: Object, rules: Rules = OWN_RULES) -> dict[str, str]:
    """The labels that a node must carry to be selected."""
    asked = texts(below(workspace, "resource", "labelSelector", "matchLabels"))
    metadata = mapping(below(workspace, "metadata"))
    owner = str(metadata.get("name") or ""), str(metadata.get("namespace") or "default")
    if not rules.is_modern:
        return {**asked, **dict(zip(rules.made_for, owner, strict=False))}
    if rules.provisioner != "azure-gpu-provisioner":
        return {key: value for key, value in asked.items() if key not in api.RESERVED_LABELS}
    return dict(zip(api.PROVISIONER_LABELS[rules.provisioner], owner, strict=True))


def labels_read(workspace: Object, rules: Rules = OWN_RULES) -> list[str]:
    """The keys of all node labels that a verdict for this Workspace reads."""
    expressions = items(below(workspace, "resource", "labelSelector", "matchExpressions"))
    keys = [key for item in expressions if isinstance(key := below(item, "key"), str)]
    template = custom_pod(workspace)
    chosen = template.label_keys if template else ()
    return list(dict.fromkeys([*READ_LABELS, *labels_asked(workspace, rules), *keys, *chosen]))


def rules_for(workspace: Object, target: str, provisioner: str = "", *, known: Catalog) -> Rules:
    """The rules of a target version; without a provisioner the one that the Workspace suggests.

    From v0.12 on KAITO refuses an instance type on your own nodes and demands one everywhere else.
    """
    is_own = target == OWN_RULES.target  # it creates nodes whatever the Workspace says
    typed = OWN_RULES.provisioner if is_own or below(workspace, "resource", "instanceType") else "byo"
    nobody = nobody_creates(provisioner) if is_own and provisioner == "byo" else ""
    made_for = api.PROVISIONER_LABELS.get(provisioner, ()) if is_own else ()
    return Rules(target, provisioner or typed, known, nobody=nobody, made_for=made_for)


class Need(Struct, frozen=True):
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
        preset: what will run, None for a custom pod, an unknown preset, or a model.
        model: what will run where KAITO reckons with a model's size (from v0.12 on, with vLLM).
        owner: namespace and name of the Workspace, the name empty when there is none yet.
        pod: the custom pod of `inference.template`.
        is_tuning: whether it tunes.
        refusal: why KAITO's webhook refuses it on these nodes, empty when it does not.
        slice: the resource of the MIG slice that its pods ask for instead of GPUs; empty for none.
        parts: how many of a node's GPUs they ask for where the Workspace says so, else 0.
        is_configured: whether a ConfigMap may change the server's flags.
        runtime: the server that it asks for, empty for the default.
        named: what it calls its preset or model; empty for a custom pod.
        unsized: the model whose size nobody here knows: it takes `required` nodes or more; else empty.
    """

    rules: Rules
    required: int
    labels: Mapping[str, str]
    expressions: tuple[Object, ...]
    instance_type: str
    shape: InstanceType | None
    preferred: Mapping[str, int]
    repeated: frozenset[str]
    preset: Preset | None
    owner: tuple[str, str]
    pod: CustomPod | None = None
    is_tuning: bool = False
    model: Model | None = None
    refusal: str = ""
    slice: str = ""
    parts: int = 0
    is_configured: bool = False
    runtime: str = ""
    named: str = ""
    unsized: str = ""

    @property
    def today(self) -> Model | None:
        """The model of today that it names; what is asked for seldom is looked up when it is."""
        return self.rules.catalog.model(self.named) if self.named else None

    @property
    def tolerations(self) -> tuple[Object, ...]:
        """What its pods tolerate: a custom pod has its own besides."""
        own = self.pod.tolerations if self.pod else ()
        of_slice = ({**TOLERATIONS[0], "key": self.slice},) if self.slice else ()
        return (*own, *TOLERATIONS, *of_slice, SPOT) if self.rules.is_modern else (*own, *TOLERATIONS)

    def concerns(self, name: str, labels: Mapping[str, Any]) -> bool:
        """Whether somebody could expect the node to be used: its name, its type, or all labels say so."""
        if name in self.preferred:
            return True
        have = str(labels.get(api.LABEL_INSTANCE_TYPE) or "")
        if self.instance_type and have.lower() == self.instance_type.lower():
            return True
        if self.rules.is_byo and (not self.labels or LABEL_COUNT in labels):
            return True  # a selector without labels means all nodes; any with GPUs could be labelled
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
            count = self.parts or whole_number(node.labels.get(LABEL_COUNT)) or 1
        else:
            count = self.shape.gpus if self.shape else least
        return count, count


def need_of(workspace: Object, rules: Rules, nodes: Sequence[Object] = ()) -> Need:
    """What a Workspace asks of a node under these rules.

    Args:
        workspace: the Workspace.
        rules: whose choice counts.
        nodes: the cluster's; on your own ones, they say how large a model is.
    """
    names, named = _node_names(workspace), _named(workspace)
    wanted = "" if rules.is_byo else instance_type_of(workspace)
    required = required_nodes(workspace)
    metadata = mapping(below(workspace, "metadata"))
    expressions = items(below(workspace, "resource", "labelSelector", "matchExpressions"))
    need = Need(
        rules,
        required,
        labels_asked(workspace, rules),
        tuple(item for item in expressions if isinstance(item, dict)),
        wanted,
        rules.catalog.instance_type(wanted),
        {name: position for position, name in enumerate(dict.fromkeys(names))},
        frozenset(name for name, times in Counter(names).items() if times > 1),
        rules.catalog.preset(named) if named else None,
        (str(metadata.get("namespace") or "default"), str(metadata.get("name") or "")),
        custom_pod(workspace),
        bool(below(workspace, "tuning")),
        runtime=str(below(workspace, "metadata", "annotations", api.ANNOTATION_RUNTIME) or ""),
        named=named,
    )
    if not rules.is_modern:
        return need
    from kaitoctl.kaito.node_check import by_size  # most are judged by other rules

    hardware, model = by_size.hardware_of(workspace, rules, nodes), by_size.model_of(workspace, rules)
    refusal, unsized = by_size.refusal_of(workspace, rules, hardware), ""
    if written := written_node_count(workspace):
        required = written
    elif model is not None:
        shape = by_size.shape_of(workspace, rules, wanted, hardware)
        found, why = by_size.estimate_nodes(workspace, rules, model, shape)
        required = found * replicas_of(workspace) if found else required
        refusal = refusal or why
    else:
        unsized = by_size.unsized_name(workspace, model)
    slice_asked, parts = by_size.partition_of(workspace, rules)
    return replace(
        need,
        required=required,
        model=model,
        refusal=refusal,
        slice=slice_asked,
        parts=parts,
        is_configured=bool(below(workspace, "inference", "config")),
        unsized=unsized,
    )


def judging_key(workspace: Object) -> str:
    """All that `need_of` reads of a Workspace under our controller's rules but whose it is.

    To be compared only: Workspaces of the same key are judged alike. Rules of KAITO v0.12 read more.
    """
    presets = [below(workspace, use, "preset", "name") for use in ("inference", "tuning")]
    template = below(workspace, "inference", "template")
    version, resource = below(workspace, "apiVersion"), below(workspace, "resource")
    runtime = below(workspace, "metadata", "annotations", api.ANNOTATION_RUNTIME)
    return repr((version, resource, presets, template, bool(below(workspace, "tuning")), runtime))


def devices_asked(workspace: Object, rules: Rules) -> str:
    """The resource of the devices that its pods ask for: `nvidia.com/gpu`, or that of a MIG slice."""
    if not rules.is_modern or not below(workspace, "resource", "partition"):
        return api.GPU
    from kaitoctl.kaito.node_check import by_size  # most ask for whole GPUs

    return by_size.partition_of(workspace, rules)[0] or api.GPU


def preset_asked(workspace: Object, known: Catalog) -> Preset | None:
    """The preset that it serves or tunes, None when the catalogue has none of that name."""
    return known.preset(name) if (name := _named(workspace)) else None


def _named(workspace: Object) -> str:
    for use in ("inference", "tuning"):
        if name := below(workspace, use, "preset", "name"):
            return str(name)[:253]
    return ""


def preset_gpus(preset: Preset | None) -> int:
    """The least number of GPUs; 1 when the preset is not known."""
    return preset.gpu_count if preset else 1


def _node_names(workspace: Object) -> list[str]:
    named = items(below(workspace, "resource", "preferredNodes"))
    return [name for name in named if isinstance(name, str) and name]
