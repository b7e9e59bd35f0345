"""The rules for a Workspace by itself: what KAITO's admission asks on create, and what cannot run.

Most hold on update, too, because the object must make sense as a whole; where KAITO judges an update
differently the rule says so. Nothing here asks a cluster.

Source: KAITO v0.3.2, v0.4.0 and v0.12, `api/*/workspace_validation.go` and the controllers behind it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kaitoctl.advice import Advice, Command
from kaitoctl.kaito.api import (
    ANNOTATION_BYPASS,
    ANNOTATION_RUNTIME,
    GPU,
    RESERVED_LABELS,
    WORKSPACE,
    WORKSPACE_V1BETA1,
)
from kaitoctl.kaito.catalog import InstanceType, Preset
from kaitoctl.kaito.own_nodes import Flaw
from kaitoctl.kaito.validation import config_maps, ignored_fields
from kaitoctl.kaito.validation.create_inference import inference_problems
from kaitoctl.kaito.validation.grammar import (
    LONGEST_NAME,
    is_dns_label,
    is_dns_name,
    is_label_key,
    is_label_value,
    is_service_name,
)
from kaitoctl.kaito.validation.problem import (
    OWN,
    Problem,
    as_list,
    as_map,
    as_text,
    as_whole,
    did_you_mean,
    error,
    warning,
)
from kaitoctl.kaito.validation.subject import Subject, stand_in
from kaitoctl.kube.objects import dig

API_VERSIONS = (WORKSPACE.api_version, WORKSPACE_V1BETA1.api_version)

_HEADLESS = "-headless"
_ENDS_VLLM = "vllm"  # its `envs.py` reads VLLM_PORT, and refuses a URI: vllm-project/vllm#34199
_TYPE, _COUNT, _SELECTOR = "resource.instanceType", "resource.count", "resource.labelSelector"
_MOST_NODES = 2**31 - 1
_RUNTIME = f"metadata.annotations[{ANNOTATION_RUNTIME}]"


def create_problems(subject: Subject) -> Iterator[Problem]:
    """Everything that the rules find, in the order of the fields."""
    yield from _identity(subject)
    yield from _metadata(subject)
    yield from _later_fields(subject)
    yield from _purpose(subject)
    yield from _selection(subject)
    yield from _nodes(subject)
    yield from _instance_type(subject)
    if subject.is_partitioned:
        from kaitoctl.kaito.validation import partitions  # most pods get whole nodes

        yield from partitions.problems(subject)
    yield from _own_nodes(subject)
    yield from _model_fits(subject)
    yield from _estimate(subject)
    yield from ignored_fields.field_problems(subject)
    if subject.is_new and any("mirror" in key or "stream" in key for key in subject.annotations):
        from kaitoctl.kaito.validation import streaming

        yield from streaming.problems(subject)
    if isinstance(subject.workspace.get("inference"), dict):
        yield from inference_problems(subject)
    if subject.inference.get("adapters"):
        from kaitoctl.kaito.validation.create_adapters import adapter_problems

        yield from adapter_problems(subject)
    if isinstance(subject.workspace.get("tuning"), dict):
        from kaitoctl.kaito.validation.create_tuning import tuning_problems

        yield from tuning_problems(subject)
    yield from config_maps.problems(subject)
    if subject.setting.named is not None:
        from kaitoctl.kaito.validation import references

        yield from references.problems(subject)


# --- identity ----------------------------------------------------------------------------------------------


def _identity(subject: Subject) -> Iterator[Problem]:
    version, kind = subject.workspace.get("apiVersion"), subject.workspace.get("kind")
    if version not in API_VERSIONS:
        known = " and ".join(API_VERSIONS)
        what = "it is missing; it must be one of" if version is None else f"{version!r} is not one of"
        yield error("apiVersion", "KW103", f"{what} {known}")
    elif subject.is_v1beta1 and subject.is_old:
        yield error("apiVersion", "KW103", f"KAITO {subject.kaito} does not serve {version}")
    if kind != WORKSPACE.kind:
        what = "it is missing; it must be" if kind is None else f"{kind!r} is not"
        yield error("kind", "KW103", f"{what} {WORKSPACE.kind}")


def _metadata(subject: Subject) -> Iterator[Problem]:
    name, namespace = subject.metadata.get("name"), subject.metadata.get("namespace")
    if name is None or name == "":
        if not as_text(subject.metadata.get("generateName")):
            yield error("metadata.name", "KW110", "the Workspace has no name")
    elif isinstance(name, str):
        has_headless = subject.has_estimator or (subject.preset is not None and subject.preset.distributed)
        if not is_service_name(name) and is_dns_label(name):
            message = f"{name!r} starts with a digit, and only a new Kubernetes takes a Service of that name"
            yield error("metadata.name", "KW110", message, "let it start with a letter")
        elif not is_service_name(name):
            hint = "use at most 63 lower-case letters, digits and hyphens, starting with a letter"
            yield error("metadata.name", "KW110", f"{name[:80]!r} cannot name a Service", hint)
        elif has_headless and subject.inference and len(name + _HEADLESS) > LONGEST_NAME:
            yield error(
                "metadata.name",
                "KW111",
                f"{name!r} has {len(name)} characters; with {_HEADLESS} behind it only 54 fit",
            )
        elif name == _ENDS_VLLM and subject.inference.get("preset") and subject.runtime == "vllm":
            words = f"a Service {name} sets VLLM_PORT in all containers of the namespace, and vLLM ends on it"
            yield error("metadata.name", "KW203", words, "choose another name")
    if isinstance(namespace, str) and namespace and not is_dns_label(namespace):
        yield error("metadata.namespace", "KW112", f"{namespace[:80]!r} is not a namespace's name")
    yield from label_faults("metadata.labels", subject.metadata.get("labels"))
    yield from annotation_key_faults(subject.annotations)
    yield from ignored_fields.annotation_problems(subject)


def annotation_key_faults(annotations: Mapping[str, Any]) -> Iterator[Problem]:
    """Keys of annotations that the API server refuses."""
    for key in annotations:
        if not is_label_key(key.lower()):  # as apimachinery's ValidateAnnotations asks, and of no label
            where = f"metadata.annotations[{key[:80]}]"
            yield error(where, "KW113", f"{key[:80]!r} is not an annotation's key")


def label_faults(where: str, labels: Any) -> Iterator[Problem]:
    """Labels that the API server refuses."""
    for key, value in as_map(labels).items():
        if not is_label_key(key):
            yield error(f"{where}[{key[:80]}]", "KW113", f"{key[:80]!r} is not a label's key")
        elif isinstance(value, str) and not is_label_value(value):
            yield error(f"{where}[{key}]", "KW113", f"{value[:80]!r} is not a label's value")


def _later_fields(subject: Subject) -> Iterator[Problem]:
    """Fields that the schema has, and the CRD of this release has not yet."""
    for path in subject.release.unknown_fields if subject.release else ():
        if dig(subject.workspace, *path.split(".")) is not None:
            message = f"unknown field in KAITO {subject.kaito}"
            yield error(path, "KW102", message, ignored_fields.hint_for(path))


def _purpose(subject: Subject) -> Iterator[Problem]:
    given = [part for part in ("inference", "tuning") if subject.workspace.get(part) is not None]
    if not given:
        yield error("inference", "KW140", "neither inference nor tuning is set")
    elif len(given) == 2:
        yield error("tuning", "KW140", "both inference and tuning are set")


# --- nodes -------------------------------------------------------------------------------------------------


def _selection(subject: Subject) -> Iterator[Problem]:
    if subject.workspace.get("resource") is None:
        yield error("resource", "KW120", "resource is not set", f"set {_SELECTOR}.matchLabels")
        return
    selector = as_map(subject.resource.get("labelSelector"))
    labels = selector.get("matchLabels")
    if labels is None or labels == {}:
        example = f"for example apps: {subject.name or 'my-model'}"
        yield error(f"{_SELECTOR}.matchLabels", "KW120", "no label selects the nodes", example)
    yield from label_faults(f"{_SELECTOR}.matchLabels", labels)
    keys = set(as_map(labels))
    if subject.is_new and keys and keys <= RESERVED_LABELS:
        yield error(
            f"{_SELECTOR}.matchLabels",
            "KW127",
            "all labels are KAITO's own, and none is left without them",
            f"select by a label of your own, for example apps: {subject.name or 'my-model'}",
        )
    else:
        for key in as_map(labels):
            if key in RESERVED_LABELS:
                where = f"{_SELECTOR}.matchLabels[{key}]"
                yield warning(where, "KW122", f"{key} is KAITO's own label", "select by a label of your own")
    for index, expression in enumerate(as_list(selector.get("matchExpressions"))):
        if not isinstance(expression, dict):
            continue
        operator, values = expression.get("operator"), as_list(expression.get("values"))
        if operator != "In" or len(values) != 1:
            yield error(
                f"{_SELECTOR}.matchExpressions[{index}]",
                "KW128",
                f"{as_text(operator)[:40]} with {len(values)} values cannot be said with labels",
                "use matchLabels",
            )


def _nodes(subject: Subject) -> Iterator[Problem]:
    count = as_whole(subject.resource.get("count"))
    if count is not None and count < 1:
        yield error(_COUNT, "KW123", f"{count} nodes are too few")
    elif count is not None and count > _MOST_NODES:
        yield error(_COUNT, "KW123", f"{count} is more than a workload's 32-bit number of replicas")
    seen: set[str] = set()
    for index, node in enumerate(as_list(subject.resource.get("preferredNodes"))):
        where = f"resource.preferredNodes[{index}]"
        if not isinstance(node, str):
            continue
        if not is_dns_name(node):
            yield error(where, "KW124", f"{node[:80]!r} is not a node's name")
        elif node in seen:
            yield warning(where, "KW125", f"{node} is listed twice")
        seen.add(node)


def _instance_type(subject: Subject) -> Iterator[Problem]:
    if subject.workspace.get("resource") is None:
        return
    name = subject.resource.get("instanceType")
    is_byo = subject.setting.byo and subject.is_v1beta1 and subject.target != OWN  # ours knows nodes by type
    if is_byo and isinstance(name, str) and name:
        if not subject.is_update:  # an old value may stay
            yield error(_TYPE, "KW139", f"{name[:80]} is given, but the nodes are your own", "leave it out")
        return
    if name is None or name == "":
        yield from _no_type(subject)
        if name is None:
            name = subject.default_instance_type
    if not isinstance(name, str) or not name:
        return
    known = subject.machine
    if known is None or not subject.offers(known):
        yield from _unknown_type(subject, name, known)
    elif not known.exists:
        yield error(_TYPE, "KW132", f"{known.name}: {known.note}")
    elif known.gpu_resource != GPU:
        yield error(_TYPE, "KW131", f"{known.name} has {known.gpu_model}, not NVIDIA GPUs")
    elif known.arch != "amd64":
        yield error(_TYPE, "KW133", f"{known.name} is {known.arch}; {known.note}")
    else:
        if why := _too_old(subject, known):
            yield from _old_gpus(subject, known, why)
        if subject.preset is not None:
            yield from _preset_fits(subject, subject.preset, known)


def _no_type(subject: Subject) -> Iterator[Problem]:
    if meant := subject.default_instance_type:
        if subject.machine is None or not _too_old(subject, subject.machine):
            hint = "name the type of your nodes"
            yield warning(_TYPE, "KW138", f"no instance type, which means {meant}", hint)
    elif subject.setting.byo is False:
        message = "no instance type for the nodes that are to be made"
        yield error(_TYPE, "KW138", message, "name one" + _ways(subject))
    elif subject.setting.byo is None:
        yield warning(_TYPE, "KW138", "no instance type: only nodes of your own can be used")


def _ways(subject: Subject) -> Advice:
    """How to find a type that serves the model, and how to do without one."""
    own = "; for nodes of your own say --node-provisioner byo"
    if subject.model is None:
        return own
    written = as_text(dig(subject.inference, "preset", "name"))
    return ": " + Command("kaitoctl fit", written) + f" lists those that serve the model{own}"


def _too_old(subject: Subject, known: InstanceType) -> str:
    """Why the type's GPUs are too old; kaitoctl's own controller takes nodes of one's own of any type."""
    return "" if subject.target == OWN and subject.setting.byo else subject.too_old(known)


def _old_gpus(subject: Subject, known: InstanceType, why: str) -> Iterator[Problem]:
    is_own = subject.target == OWN
    said = f"{known.name} has"
    if not subject.resource.get("instanceType"):
        said = f"no instance type, which means {known.name}; it has"
    # Who brings the nodes is not known to the controller's own refusals, which stop what was let in before.
    found = warning if is_own and subject.setting.byo is None else error
    hint = "name another" + _ways(subject) if is_own else ""
    yield found(_TYPE, "KW133", f"{said} {known.gpu_model}: {why}", hint)


def _unknown_type(subject: Subject, name: str, known: InstanceType | None) -> Iterator[Problem]:
    """KAITO's prefix rule decides between refusal, admission, and admission that leads nowhere."""
    cloud = subject.setting.cloud or (known.cloud if known else "azure")
    plain = name.lower() if subject.is_new else name
    prefixes = ("standard_n", "standard_d") if subject.is_new else ("Standard_N", "Standard_D")
    by_prefix = plain.startswith(prefixes) and (subject.target == "v0.3" or cloud == "azure")
    offered = [
        machine
        for machine in subject.setting.catalog.instance_types.values()
        if machine.cloud == cloud and machine.exists and subject.offers(machine)
    ]
    near = did_you_mean(name, (one.name for one in offered)) if known is None else stand_in(known, offered)
    hint = near or Command("kaitoctl skus list") + " names those that it knows"
    shown = repr(name[:80])
    bare = ""
    if known is None and subject.setting.catalog.is_without_gpu(name):
        bare, hint = f"{shown} has no GPU: ", Command("kaitoctl skus list") + " names types that have"
        shown = "it"
    if subject.target == OWN or (by_prefix and not subject.has_estimator):
        message = f"{bare}{shown} is not in the catalog; whether the preset fits is not checked"
        yield warning(_TYPE, "KW130", message, hint)
    elif by_prefix:
        yield error(
            _TYPE, "KW130", f"{bare}{shown} is admitted, but KAITO {subject.kaito} cannot use it", hint
        )
    else:
        where = f" on {cloud}" if known and subject.setting.cloud else ""
        yield error(_TYPE, "KW130", f"{bare}KAITO {subject.kaito} does not know {shown}{where}", hint)


def _preset_fits(subject: Subject, preset: Preset, machine: InstanceType) -> Iterator[Problem]:
    nodes = subject.count if preset.distributed else 1
    times = f"{nodes} x {machine.name}" if nodes > 1 else machine.name
    if fits(preset, machine, subject.count) and not (preset.distributed and preset.world_size % nodes):
        return
    hint = _types_that_fit(subject, preset, machine.cloud)
    if nodes * machine.gpus < preset.gpu_count:
        gpus = nodes * machine.gpus
        has = f"{times} has {gpus} GPU{'' if gpus == 1 else 's'}"
        yield error(_TYPE, "KW134", f"{has}, {preset.name} needs {preset.gpu_count}", hint)
    if machine.gpu_memory_per_gpu_gib < preset.per_gpu_memory_gib:
        has = f"{machine.name} has {machine.gpu_memory_per_gpu_gib} GiB per GPU"
        yield error(_TYPE, "KW135", f"{has}, {preset.name} needs {preset.per_gpu_memory_gib}", hint)
    if nodes * machine.gpu_memory_gib < preset.total_gpu_memory_gib:
        has = f"{times} has {nodes * machine.gpu_memory_gib} GiB of GPU memory"
        each = "" if preset.distributed else " on each node"
        yield error(_TYPE, "KW136", f"{has}, {preset.name} needs {preset.total_gpu_memory_gib}{each}", hint)
    if preset.distributed and preset.world_size % nodes:
        message = (
            f"{preset.name} runs {preset.world_size} processes, which {nodes} nodes cannot share equally"
        )
        yield error(_COUNT, "KW137", message)


def _types_that_fit(subject: Subject, preset: Preset, cloud: str) -> str:
    smallest = sorted(
        (
            machine
            for machine in subject.setting.catalog.instance_types.values()
            if fits(preset, machine, subject.count) and machine.cloud == cloud
        ),
        key=lambda machine: (machine.gpu_memory_gib, machine.gpus, machine.name),
    )
    return f"for example {smallest[0].name}" if smallest else ""


def _own_nodes(subject: Subject) -> Iterator[Problem]:
    found = subject.own_nodes
    if isinstance(found, Flaw):
        hint = Command("kaitoctl check-nodes -f FILE") + " says how to fix it"
        yield error(f"{_SELECTOR}.matchLabels", found.code, found.message, hint)


def _model_fits(subject: Subject) -> Iterator[Problem]:
    """KAITO v0.12's check of the memory in total: for nodes of one's own, and for transformers."""
    model, hardware = subject.model, subject.hardware
    is_transformers = subject.runtime == "transformers"
    if model is None or hardware is None or subject.is_partitioned or not (subject.is_byo or is_transformers):
        return
    where = _TYPE if subject.own_nodes is None else f"{_SELECTOR}.matchLabels"
    times = f"{hardware.nodes} x {hardware.name}" if hardware.nodes > 1 else hardware.name
    needs = f"{model.id} needs {model.weights_gib:.0f}"
    # A model that cannot be spread must fit on each node, although KAITO adds them up.
    usable = hardware.nodes if model.distributed else 1
    if usable * hardware.memory_gib < model.weights_gib and ANNOTATION_BYPASS not in subject.annotations:
        has = f"{times} has {usable * hardware.memory_gib} GiB of GPU memory"
        yield error(where, "KW136", f"{has}, {needs}" + ("" if model.distributed else " on each node"))
    if is_transformers and model.distributed and hardware.memory_gib < model.weights_gib:
        has = f"{hardware.name} has {hardware.memory_gib} GiB of GPU memory"
        yield error(_RUNTIME, "KW162", f"transformers cannot spread a model over nodes: {has}, {needs}")


def _estimate(subject: Subject) -> Iterator[Problem]:
    """On vLLM KAITO v0.12 makes its own estimate of the number of nodes, and `count` does not matter."""
    is_own = subject.target == OWN
    is_estimated = subject.is_made_as_model if is_own else subject.has_estimator and subject.is_v1beta1
    if (
        not is_estimated
        or subject.runtime != "vllm"
        or as_whole(subject.resource.get("count")) is None
        or not subject.inference.get("preset")
    ):
        return
    who = "kaitoctl" if is_own else "KAITO"
    model, hardware = subject.model, subject.hardware
    nodes = None
    if model is not None and hardware is not None and hardware.gpus > 0 and not subject.is_partitioned:
        from kaitoctl.kaito import estimate

        shape = estimate.Shape(hardware.gpus, hardware.memory_gib / hardware.gpus)
        context = config_maps.max_model_len(subject) or estimate.CONTEXT
        nodes = estimate.estimated_nodes(model, shape, context=context)
    if nodes is None and subject.count > 1:
        message = f"on vLLM {who} estimates the number of nodes itself"
        yield warning(_COUNT, "KW164", message, "leave count out")
    elif nodes is not None and model is not None and hardware is not None and nodes != subject.count:
        message = f"{who} estimates {nodes} of {hardware.name} for {model.id} and overrides {subject.count}"
        yield warning(_COUNT, "KW164", message, "leave count out")


def fits(preset: Preset, machine: InstanceType, count: int = 1) -> bool:
    """Whether `count` nodes of an instance type can run a preset.

    A preset that is not distributed must fit on each node by itself.
    """
    nodes = count if preset.distributed else 1
    return (
        machine.exists
        and machine.gpu_resource == GPU
        and machine.arch == "amd64"
        and nodes * machine.gpus >= preset.gpu_count
        and machine.gpu_memory_per_gpu_gib >= preset.per_gpu_memory_gib
        and nodes * machine.gpu_memory_gib >= preset.total_gpu_memory_gib
    )
