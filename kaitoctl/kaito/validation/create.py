"""The rules for a Workspace by itself: what KAITO's admission asks on create, and what cannot run.

Most hold on update, too, because the object must make sense as a whole; where KAITO judges an update
differently the rule says so. Nothing here asks a cluster.

Source: KAITO v0.3.2, v0.4.0 and v0.12, `api/*/workspace_validation.go` and the controllers behind it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from kaitoctl.kaito import catalog
from kaitoctl.kaito.api import (
    ANNOTATION_RUNTIME,
    GPU,
    MAX_ADAPTERS,
    WORKSPACE,
    WORKSPACE_V1BETA1,
)
from kaitoctl.kaito.catalog import InstanceType, Preset
from kaitoctl.kaito.validation import config_maps, ignored, pod_keys, releases
from kaitoctl.kaito.validation.grammar import (
    LONGEST_NAME,
    MIG_PROFILES,
    image_fault,
    is_dns_label,
    is_dns_name,
    is_full_image,
    is_label_key,
    is_label_value,
    is_service_name,
    mig_memory_gb,
    strength_fault,
    url_fault,
)
from kaitoctl.kaito.validation.own_nodes import RESERVED_LABELS, Flaw
from kaitoctl.kaito.validation.problem import (
    OWN,
    Problem,
    as_list,
    as_map,
    as_text,
    as_whole,
    error,
    warning,
)
from kaitoctl.kaito.validation.subject import Subject
from kaitoctl.kube.objects import dig

API_VERSIONS = (WORKSPACE.api_version, WORKSPACE_V1BETA1.api_version)

_HEADLESS = "-headless"
_TYPE, _COUNT, _SELECTOR = "resource.instanceType", "resource.count", "resource.labelSelector"
_MOST_NODES = 2**31 - 1
_GATES = {"mig": "enableMIG", "accelerator": "enableAccelerator"}
_BYPASS = "kaito.sh/bypass-resource-checks"
_RUNTIME = f"metadata.annotations[{ANNOTATION_RUNTIME}]"
_GONE_IN_V12 = ("phi-2", "falcon-7b", "falcon-7b-instruct", "falcon-40b", "falcon-40b-instruct")
_SOURCES = ("urls", "image", "volumeSource")


def create_problems(subject: Subject) -> Iterator[Problem]:
    """Everything that the rules find, in the order of the fields."""
    yield from _identity(subject)
    yield from _metadata(subject)
    yield from _later_fields(subject)
    yield from _purpose(subject)
    yield from _selection(subject)
    yield from _nodes(subject)
    yield from _instance_type(subject)
    yield from _partition(subject)
    yield from _own_nodes(subject)
    yield from _model_fits(subject)
    yield from _estimate(subject)
    yield from ignored.ignored_fields(subject)
    if isinstance(subject.workspace.get("inference"), dict):
        yield from _inference(subject)
    if isinstance(subject.workspace.get("tuning"), dict):
        yield from _tuning(subject)
    yield from config_maps.problems(subject)
    if subject.setting.named is not None:
        from kaitoctl.kaito.validation import references

        yield from references.problems(subject)


def _did_you_mean(name: str, known: Iterable[str]) -> str:
    matches = catalog.close_matches(name, known)
    return f"Did you mean {' or '.join(matches)}?" if matches else ""


# --- identity ----------------------------------------------------------------------------------------------


def _identity(subject: Subject) -> Iterator[Problem]:
    version, kind = subject.workspace.get("apiVersion"), subject.workspace.get("kind")
    if version not in API_VERSIONS:
        known = " and ".join(API_VERSIONS)
        what = "it is missing; it has to be one of" if version is None else f"{version!r} is not one of"
        yield error("apiVersion", "KW103", f"{what} {known}")
    elif subject.is_v1beta1 and subject.is_old:
        yield error("apiVersion", "KW103", f"KAITO {subject.target} does not serve {version}")
    if kind != WORKSPACE.kind:
        yield error("kind", "KW103", f"{kind!r} is not {WORKSPACE.kind}")


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
            yield error(
                "metadata.name",
                "KW110",
                f"{name[:80]!r} cannot name a Service",
                "use at most 63 lower-case letters, digits and hyphens, starting with a letter",
            )
        elif has_headless and subject.inference and len(name + _HEADLESS) > LONGEST_NAME:
            yield error(
                "metadata.name",
                "KW111",
                f"{name!r} has {len(name)} characters; with {_HEADLESS} behind it only 54 fit",
            )
    if isinstance(namespace, str) and namespace and not is_dns_label(namespace):
        yield error("metadata.namespace", "KW112", f"{namespace[:80]!r} is not a namespace's name")
    yield from _label_faults("metadata.labels", subject.metadata.get("labels"))
    for key in subject.annotations:
        if not is_label_key(key.lower()):  # as apimachinery's ValidateAnnotations asks, and of no label
            where = f"metadata.annotations[{key[:80]}]"
            yield error(where, "KW113", f"{key[:80]!r} is not an annotation's key")
    yield from ignored.annotation_problems(subject)


def _label_faults(where: str, labels: Any) -> Iterator[Problem]:
    for key, value in as_map(labels).items():
        if not is_label_key(key):
            yield error(f"{where}[{key[:80]}]", "KW113", f"{key[:80]!r} is not a label's key")
        elif isinstance(value, str) and not is_label_value(value):
            yield error(f"{where}[{key}]", "KW113", f"{value[:80]!r} is not a label's value")


def _later_fields(subject: Subject) -> Iterator[Problem]:
    """Fields that the schema has, and the CRD of this release has not yet."""
    for path in subject.release.unknown_fields if subject.release else ():
        if dig(subject.workspace, *path.split(".")) is not None:
            message = f"unknown field in KAITO {subject.target}"
            yield error(path, "KW102", message, ignored.meant(path))


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
    yield from _label_faults(f"{_SELECTOR}.matchLabels", labels)
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
    if subject.setting.byo and subject.is_v1beta1 and isinstance(name, str) and name:
        if not subject.is_update:  # an old value may stay
            yield error(_TYPE, "KW139", f"{name[:80]} is given, but the nodes are your own", "leave it out")
        return
    if name is None or name == "":
        meant = subject.default_instance_type
        if not meant:
            hint = "name one; for nodes of your own say --node-provisioner byo"
            if subject.setting.byo is False:
                yield error(_TYPE, "KW138", "no instance type for the nodes that are to be made", hint)
            elif subject.setting.byo is None:
                yield warning(_TYPE, "KW138", "no instance type: only nodes of your own can be used")
            return
        name = meant if name is None else name
        yield warning(_TYPE, "KW138", f"no instance type, which means {meant}", "name the type of your nodes")
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
    elif subject.preset is not None:
        yield from _preset_fits(subject, subject.preset, known)


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
    hint = (
        _did_you_mean(name, (machine.name for machine in offered)) if known is None else _like(known, offered)
    )
    shown = repr(name[:80])
    if subject.target == OWN or (by_prefix and not subject.has_estimator):
        message = f"{shown} is not in the catalog; whether the preset fits is not checked"
        yield warning(_TYPE, "KW130", message, hint)
    elif by_prefix:
        yield error(_TYPE, "KW130", f"{shown} is admitted, but KAITO {subject.target} cannot use it", hint)
    else:
        where = f" on {cloud}" if known and subject.setting.cloud else ""
        yield error(_TYPE, "KW130", f"KAITO {subject.target} does not know {shown}{where}", hint)


def _like(known: InstanceType, offered: list[InstanceType]) -> str:
    """The smallest type that can stand in for one that is of no use here."""
    able = [
        machine
        for machine in offered
        if machine.gpu_resource == GPU
        and machine.gpu_memory_gib >= known.gpu_memory_gib
        and machine.gpu_memory_per_gpu_gib >= known.gpu_memory_per_gpu_gib
    ]
    smallest = min(
        able, key=lambda machine: (machine.gpu_memory_gib, machine.gpus, machine.name), default=None
    )
    return f"for example {smallest.name}" if smallest else ""


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
        hint = "kaitoctl check-nodes says what mends it"
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
    if usable * hardware.memory_gib < model.weights_gib and _BYPASS not in subject.annotations:
        has = f"{times} has {usable * hardware.memory_gib} GiB of GPU memory"
        yield error(where, "KW136", f"{has}, {needs}" + ("" if model.distributed else " on each node"))
    if is_transformers and model.distributed and hardware.memory_gib < model.weights_gib:
        has = f"{hardware.name} has {hardware.memory_gib} GiB of GPU memory"
        yield error(_RUNTIME, "KW162", f"transformers cannot spread a model over nodes: {has}, {needs}")


def _estimate(subject: Subject) -> Iterator[Problem]:
    """On vLLM KAITO v0.12 makes its own estimate of the number of nodes, and `count` does not matter."""
    is_estimated = subject.has_estimator and subject.is_v1beta1 and subject.runtime == "vllm"
    if (
        not is_estimated
        or as_whole(subject.resource.get("count")) is None
        or not subject.inference.get("preset")
    ):
        return
    model, hardware = subject.model, subject.hardware
    nodes = None
    if model is not None and hardware is not None and not subject.is_partitioned:
        from kaitoctl.kaito import fit

        shape = fit.Shape(hardware.gpus, hardware.memory_gib / hardware.gpus)
        context = config_maps.max_model_len(subject) or fit.CONTEXT
        nodes = fit.estimated_nodes(model, shape, context=context)
    if nodes is None and subject.count > 1:
        message = "on vLLM KAITO estimates the number of nodes itself"
        yield warning(_COUNT, "KW164", message, "leave count out")
    elif nodes is not None and model is not None and hardware is not None and nodes != subject.count:
        message = f"KAITO estimates {nodes} of {hardware.name} for {model.id} and overrides {subject.count}"
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


def _partition(subject: Subject) -> Iterator[Problem]:
    partition, where = subject.resource.get("partition"), "resource.partition"
    if not isinstance(partition, dict) or not subject.is_v1beta1 or subject.target == OWN:
        return  # kaitoctl's own controller has none, and says so in FieldsIgnored
    if subject.setting.byo is False or subject.resource.get("instanceType"):
        hint = "leave out instanceType, and say --node-provisioner byo"
        yield error(where, "KW129", "GPUs of nodes that KAITO makes cannot be divided", hint)
    if subject.tuning:
        yield error(where, "KW129", "tuning does not run on parts of GPUs")
    mode, profile, count = (partition.get(key) for key in ("mode", "profile", "count"))
    gate = _GATES.get(as_text(mode))
    gates = subject.setting.gates
    if gate and (gates is None or gate not in gates):
        finding = warning if gates is None else error
        yield finding(f"{where}.mode", "KW129", f"mode {mode} works only while KAITO's gate {gate} is on")
    if mode == "mig":
        if count is not None:
            yield error(f"{where}.count", "KW129", "count belongs to mode accelerator", "leave it out")
        yield from _mig_profile(subject, f"{where}.profile", as_text(profile))
    elif mode == "accelerator":
        if profile:
            yield error(f"{where}.profile", "KW129", "profile belongs to mode mig", "leave it out")
        if count is None:
            yield error(f"{where}.count", "KW129", "mode accelerator wants a count")


def _mig_profile(subject: Subject, where: str, profile: str) -> Iterator[Problem]:
    if not profile:
        yield error(where, "KW129", "mode mig wants a profile", "for example 1g.10gb")
        return
    memory_gb = mig_memory_gb(profile)
    if memory_gb is None:
        yield error(where, "KW129", f"{profile[:80]!r} is not a MIG profile", "for example 1g.10gb")
    elif profile.removesuffix("+me") not in MIG_PROFILES:
        hint = _did_you_mean(profile, MIG_PROFILES) or f"known are {', '.join(MIG_PROFILES)}"
        yield error(where, "KW129", f"KAITO does not know the MIG profile {profile[:80]}", hint)
    elif (model := subject.model) and memory_gb < model.weights_gib and _BYPASS not in subject.annotations:
        message = f"{profile} has {memory_gb} GiB of GPU memory, {model.id} needs {model.weights_gib:.0f}"
        yield error(where, "KW136", message)


# --- inference ---------------------------------------------------------------------------------------------


def _inference(subject: Subject) -> Iterator[Problem]:
    preset, template = subject.inference.get("preset"), subject.inference.get("template")
    if preset is None and template is None:
        yield error("inference.preset", "KW141", "neither preset nor template is set")
    elif preset is not None and template is not None:
        yield error("inference.template", "KW141", "both preset and template are set")
    if isinstance(preset, dict):
        yield from _preset(subject, "inference.preset", preset)
    if subject.target != OWN:
        yield from pod_keys.template_problems("inference.template", template)
    yield from _runtime(subject)
    yield from _adapters(subject)


def _preset(subject: Subject, where: str, preset: Mapping[str, Any]) -> Iterator[Problem]:
    name = preset.get("name")
    options = as_map(preset.get("presetOptions"))
    image, secrets = options.get("image"), as_list(options.get("imagePullSecrets"))
    if isinstance(name, str):
        if subject.is_new:
            yield from _model(subject, where, name, options)
        elif subject.release is not None and not subject.is_old:
            yield from _listed_preset(subject, where, name)
        else:
            yield from _old_preset(subject, where, name, preset)
    private = preset.get("accessMode") == "private"
    needs_image = private and not (subject.release and not subject.is_old and subject.is_v1beta1)
    if needs_image and image in (None, ""):
        yield error(f"{where}.presetOptions.image", "KW144", "accessMode is private, but there is no image")
    elif isinstance(image, str) and image and (fault := image_fault(image)):
        yield error(f"{where}.presetOptions.image", "KW145", fault)
    yield from _secret_faults(f"{where}.presetOptions.imagePullSecrets", secrets)
    secret = options.get("modelAccessSecret")
    if isinstance(secret, str) and secret and not is_dns_name(secret):
        yield error(
            f"{where}.presetOptions.modelAccessSecret", "KW148", f"{secret[:80]!r} is not a Secret's name"
        )


def _old_preset(subject: Subject, where: str, name: str, preset: Mapping[str, Any]) -> Iterator[Problem]:
    presets = subject.setting.catalog.presets
    known = presets.get(name)
    if subject.release and releases.preset(subject.release, name, subject.setting.catalog) is None:
        presets = {
            key: presets[key] for key in releases.preset_names(subject.release, subject.setting.catalog)
        }
        known = None
    if known is None:
        yield error(
            f"{where}.name",
            "KW142",
            f"preset {name[:80]!r} is not in the catalog"
            + (f" of KAITO {subject.target}" if subject.release else ""),
            _did_you_mean(name, presets) or f"known presets: {', '.join(presets)}",
        )
    elif known.access_mode == "private" and preset.get("accessMode") != "private":
        yield error(
            f"{where}.accessMode",
            "KW143",
            f"the image of {known.name} is not published",
            "set accessMode: private and presetOptions.image to an image of your own",
        )


def _listed_preset(subject: Subject, where: str, name: str) -> Iterator[Problem]:
    """A preset's name for a release between v0.4.5 and v0.10, which has a table of its own."""
    release, known_catalog = subject.release, subject.setting.catalog
    if release is None or releases.preset(release, name, known_catalog) is not None:
        return
    names = releases.preset_names(release, known_catalog)
    if releases.is_preset_name(release, name, known_catalog):
        message = f"{name[:80]} is not in the table of KAITO {release.measured}; its size is not known"
        yield warning(f"{where}.name", "KW149", message, _did_you_mean(name, names))
    else:
        message = f"KAITO {release.measured} does not know {name[:80]!r}"
        hint = _did_you_mean(name, names) or f"known presets: {', '.join(names)}"
        yield error(f"{where}.name", "KW142", message, hint)


def _model(subject: Subject, where: str, name: str, options: Mapping[str, Any]) -> Iterator[Problem]:
    """A preset's name for v0.12: a Hugging Face id, or one of the short names."""
    known = subject.model_named(name)
    owner, slash, rest = name.partition("/")
    is_id = bool(slash and owner and rest and "/" not in rest)
    if name.lower() in _GONE_IN_V12 or (known is None and not is_id):
        gone = name.lower() in _GONE_IN_V12
        yield error(
            f"{where}.name",
            "KW142",
            f"KAITO v0.12 {'no longer serves' if gone else 'does not know'} {name[:80]!r}",
            _did_you_mean(name, subject.setting.catalog.model_names())
            or "give a Hugging Face id: owner/model",
        )
    elif not subject.is_v1beta1 and where.startswith("inference."):
        yield error(
            f"{where}.name",
            "KW165",
            "the v1alpha1 webhook of KAITO v0.12 crashes on it",
            "write the Workspace as kaito.sh/v1beta1",
        )
    elif known is None:
        hint = _did_you_mean(name, subject.setting.catalog.model_names())
        yield warning(
            f"{where}.name", "KW149", f"{name[:80]} is not in the catalog; its size is not known", hint
        )
    elif known.gated and not options.get("modelAccessSecret") and not _has_local_weights(subject):
        yield warning(
            f"{where}.presetOptions",
            "KW166",
            f"{known.id} is gated, and no token is given",
            "name a Secret with the key HF_TOKEN in modelAccessSecret",
        )


def _has_local_weights(subject: Subject) -> bool:
    return as_text(subject.annotations.get("kaito.sh/use-local-weights")) == "true"


def _runtime(subject: Subject) -> Iterator[Problem]:
    annotation = _RUNTIME
    model = subject.model
    if model is not None and model.transformers is None and subject.asked_runtime == "transformers":
        yield error(annotation, "KW162", f"{model.id} does not run on transformers", "use vllm")
    preset = subject.preset
    if preset is None:
        return
    images = preset.images.get(subject.generation)
    if images is None:
        if dig(subject.inference, "preset", "accessMode") != "private":
            yield error(
                "inference.preset.name",
                "KW147",
                f"{preset.name} has no image of generation {subject.generation}",
                f"it has one of {', '.join(preset.images)}",
            )
    elif subject.runtime == "vllm" and images.vllm is None:
        if subject.asked_runtime == "vllm":
            message = f"{preset.name} does not run on vLLM in generation {subject.generation}"
            yield error(annotation, "KW147", message, "use transformers")
        else:
            message = f"KAITO {subject.target} serves on vLLM, on which {preset.name} does not run"
            yield warning("inference.preset.name", "KW147", message, ignored.TRANSFORMERS)


# --- adapters ----------------------------------------------------------------------------------------------


def _adapters(subject: Subject) -> Iterator[Problem]:
    where, adapters = "inference.adapters", as_list(subject.inference.get("adapters"))
    if len(adapters) > MAX_ADAPTERS:
        finding = warning if subject.is_update and subject.target != OWN else error
        yield finding(where, "KW150", f"{len(adapters)} adapters, {MAX_ADAPTERS} are allowed")
    seen: set[str] = set()
    for index, adapter in enumerate(adapters):
        if isinstance(adapter, dict):
            yield from _adapter(subject, f"{where}[{index}]", adapter, seen)


def _adapter(subject: Subject, where: str, adapter: Mapping[str, Any], seen: set[str]) -> Iterator[Problem]:
    source, strength = adapter.get("source"), adapter.get("strength")
    if source is None:
        yield error(f"{where}.source", "KW151", "the adapter has no source")
    elif isinstance(source, dict):
        yield from _adapter_name(subject, f"{where}.source", source, seen)
        yield from _adapter_source(subject, f"{where}.source", source)
    if strength is None:
        if subject.is_old or subject.target == OWN:
            finding = warning if subject.target == OWN else error
            message = "the adapter has no strength; 1.0 is meant"
            yield finding(f"{where}.strength", "KW157", message, 'write strength: "1.0"')
    elif isinstance(strength, str) and (fault := strength_fault(strength)):
        yield error(f"{where}.strength", "KW156", fault, 'write it like "0.5"')
    elif subject.release and subject.release.is_runtime_checked and subject.runtime == "vllm":
        message = "vLLM has no strength of adapters"
        yield error(f"{where}.strength", "KW161", message, f"leave it out, or {ignored.TRANSFORMERS}")


def _adapter_name(
    subject: Subject, where: str, source: Mapping[str, Any], seen: set[str]
) -> Iterator[Problem]:
    name, where = source.get("name"), f"{where}.name"
    if name is None or name == "":
        yield error(where, "KW152", "the adapter has no name")
    elif isinstance(name, str):
        before = (
            ("adapter-volume-" if source.get("volumeSource") else "puller-") if subject.has_pullers else ""
        )
        longest = LONGEST_NAME - len(before)
        if not is_dns_label(name) or len(name) > longest:
            yield error(
                where,
                "KW152",
                f"{name[:80]!r} cannot name a container",
                f"use at most {longest} lower-case letters, digits and hyphens",
            )
        elif name in seen:
            yield error(where, "KW153", f"another adapter is called {name}, too")
        elif name == subject.name and not subject.has_pullers:
            yield error(where, "KW154", f"{name} is the Workspace's own name")
        seen.add(name)


def _adapter_source(subject: Subject, where: str, source: Mapping[str, Any]) -> Iterator[Problem]:
    image = source.get("image")
    given = [key for key in _SOURCES if source.get(key)]
    refused = [key for key in given if key == "urls" or (key == "volumeSource" and subject.volumes != "all")]
    if refused:
        yield error(f"{where}.{refused[0]}", "KW151", f"{refused[0]} cannot hold an adapter", "use image")
    elif len(given) > 1:
        yield error(where, "KW151", f"the adapter comes from {' and '.join(given)}", "set exactly one")
    elif not given:
        yield error(f"{where}.image", "KW151", "the adapter has no image")
    yield from _image_faults(subject, f"{where}.image", image)
    yield from _secret_faults(f"{where}.imagePullSecrets", as_list(source.get("imagePullSecrets")))
    yield from pod_keys.volume_problems(f"{where}.volumeSource", source.get("volumeSource"))


def _image_faults(subject: Subject, where: str, image: Any) -> Iterator[Problem]:
    if not isinstance(image, str) or not image:
        return
    if fault := image_fault(image):
        yield error(where, "KW145", fault)
    elif subject.is_old and not is_full_image(image):
        yield error(where, "KW155", f"{image[:80]!r} has no path or no tag", "write it as registry/name:tag")


def _secret_faults(where: str, secrets: list[Any]) -> Iterator[Problem]:
    for index, secret in enumerate(secrets):
        if isinstance(secret, str) and not is_dns_name(secret):
            yield error(f"{where}[{index}]", "KW148", f"{secret[:80]!r} is not a Secret's name")


# --- tuning ------------------------------------------------------------------------------------------------


def _tuning(subject: Subject) -> Iterator[Problem]:
    if subject.count > 1:
        yield error(_COUNT, "KW170", f"tuning cannot use {subject.count} nodes")
    preset = subject.tuning.get("preset")
    if preset is None:
        yield error("tuning.preset", "KW171", "tuning has no preset")
    elif isinstance(preset, dict):
        yield from _can_be_tuned(subject, as_text(preset.get("name")))
        yield from _preset(subject, "tuning.preset", preset)
    method = subject.tuning.get("method")
    if method is None or (isinstance(method, str) and method not in ("lora", "qlora")):
        message = "tuning has no method" if method is None else f"{method[:80]!r} is not a method"
        yield error("tuning.method", "KW172", message, "use lora or qlora")
    yield from _tuning_input(subject, as_map(subject.tuning.get("input")))
    yield from _tuning_output(subject, as_map(subject.tuning.get("output")))


def _can_be_tuned(subject: Subject, name: str) -> Iterator[Problem]:
    catalog = subject.setting.catalog
    release = subject.release
    known = releases.preset(release, name, catalog) if release else catalog.presets.get(name)
    if known is not None and not known.tuning:
        names = ", ".join(_tunable(subject))
        yield error("tuning.preset.name", "KW171", f"{known.name} cannot be tuned", f"these can: {names}")


def _tunable(subject: Subject) -> list[str]:
    catalog, release = subject.setting.catalog, subject.release
    if release is None:
        return [name for name, item in catalog.presets.items() if item.tuning]
    rows = (
        (name, releases.preset(release, name, catalog)) for name in releases.preset_names(release, catalog)
    )
    return list(dict.fromkeys(row.name for _, row in rows if row and row.tuning))


def _tuning_input(subject: Subject, data: Mapping[str, Any]) -> Iterator[Problem]:
    given = [key for key in _SOURCES if data.get(key)]
    if len(given) != 1 or (given == ["volumeSource"] and subject.volumes == "none"):
        hint = (
            "set exactly one of urls, image and volumeSource"
            if subject.volumes != "none"
            else "set exactly one of urls and image"
        )
        yield error("tuning.input", "KW173", f"the data comes from {' and '.join(given) or 'nowhere'}", hint)
    if subject.is_new:
        for index, url in enumerate(as_list(data.get("urls"))):
            if isinstance(url, str) and (fault := url_fault(url)):
                yield error(f"tuning.input.urls[{index}]", "KW175", fault)
    yield from _image_faults(subject, "tuning.input.image", data.get("image"))
    yield from _secret_faults("tuning.input.imagePullSecrets", as_list(data.get("imagePullSecrets")))
    yield from pod_keys.volume_problems("tuning.input.volumeSource", data.get("volumeSource"))


def _tuning_output(subject: Subject, output: Mapping[str, Any]) -> Iterator[Problem]:
    image, volume, secret = (output.get(key) for key in ("image", "volumeSource", "imagePushSecret"))
    if volume and subject.volumes == "none":
        message = "a volume cannot take the result"
        yield error("tuning.output.volumeSource", "KW174", message, "use image and imagePushSecret")
    elif not image and not volume:
        yield error("tuning.output.image", "KW174", "the result goes nowhere")
    elif image and not secret:
        yield error("tuning.output.imagePushSecret", "KW174", "no Secret to push the image with")
    if image and volume and subject.release and subject.release.tuning_output == "one":
        yield error("tuning.output", "KW174", "the result goes to an image and a volume", "set one of them")
    yield from _image_faults(subject, "tuning.output.image", image)
    yield from _secret_faults("tuning.output.imagePushSecret", [secret] if secret else [])
    yield from pod_keys.volume_problems("tuning.output.volumeSource", volume)
