"""What a KAITO release's own admission answers: its webhook's questions, on creation and on update.

It knows nothing of what works: a rule of `create` or `update` may forbid what KAITO admits, and explains
better what KAITO refuses. The API server's part is in `schema_of` and `object_meta`. What depends on the
cloud's network (a Hugging Face id that no table has) is taken as admitted.

Source: KAITO v0.3.2, v0.4.0, v0.4.6, v0.9.4, v0.12.0: `api/*/workspace_validation.go`,
`inference_config_validation.go`; `pkg/model/interface.go` (Validate), `pkg/utils/plugin/plugin.go`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kaitoctl.kaito.api import ANNOTATION_BYPASS, ANNOTATION_RUNTIME, GPU, MAX_ADAPTERS, RESERVED_LABELS
from kaitoctl.kaito.own_nodes import Flaw, Hardware
from kaitoctl.kaito.validation import config_maps, releases
from kaitoctl.kaito.validation.grammar import is_dns_label, selector_as_map
from kaitoctl.kaito.validation.problem import Problem, as_list, as_map, as_text, refusal
from kaitoctl.kaito.validation.releases import Release, ReleasePreset
from kaitoctl.kaito.validation.subject import Subject
from kaitoctl.kube.objects import dig

_TYPE, _COUNT, _SELECTOR = "resource.instanceType", "resource.count", "resource.labelSelector"
_RUNTIME = f"metadata.annotations[{ANNOTATION_RUNTIME}]"
_FAMILY, _FAMILIES = "kaito.sh/node-image-family", ("ubuntu", "azurelinux")
_MODES: Mapping[str, tuple[str, ...]] = {
    "kaito.sh/performance-mode": ("balanced", "interactivity", "throughput"),
    "kaito.sh/use-local-weights": ("true", "false"),
}
_CLASS, _CLASSES = "kaito.sh/node-class-name", ("image-family-ubuntu", "image-family-azure-linux")
_STREAMING, _STREAMING_GATE = "kaito.sh/model-streaming", "ModelStreaming"
_PREFIXES = ("Standard_N", "Standard_D")
_NAME = "inference.preset.name"


def refusals(new: Subject, old: Subject | None = None) -> Iterator[Problem]:
    """Why KAITO's webhook refuses a Workspace, a problem each; nothing when it admits it.

    Args:
        new: the Workspace.
        old: what it replaces, None when it is created.
    """
    release = new.release
    if release is None or new.api_version not in release.versions:
        return  # the API server itself does not know it
    if release.is_name_checked and new.name and not is_dns_label(new.name):
        yield refusal("metadata.name", "KW110", f"{new.name[:80]!r} is not a DNS label")
    if old is None:
        yield from _creation(new, release)
    else:
        yield from _update(old, new, release)


# --- creation ----------------------------------------------------------------------------------------------


def _creation(new: Subject, release: Release) -> Iterator[Problem]:
    given = [part for part in ("inference", "tuning") if new.workspace.get(part) is not None]
    if len(given) != 1:
        what = "neither inference nor tuning is set" if not given else "both inference and tuning are set"
        yield refusal("tuning" if given else "inference", "KW140", what)
    yield from _type_presence(new, release)
    yield from _annotations(new, release)
    if "inference" in given:
        yield from _resources(new, release)
        yield from _inference(new, release)
        yield from config_maps.inference_refusals(new, release)
    if "tuning" in given:
        from kaitoctl.kaito.validation import admission_data

        yield from admission_data.tuning_created(new, release)


def _type_presence(new: Subject, release: Release) -> Iterator[Problem]:
    if not (release.has_own_nodes and new.is_v1beta1):
        return
    if new.setting.byo and new.type_name:
        message = f"{new.type_name[:80]} is given, but the nodes are your own"
        yield refusal(_TYPE, "KW139", message, "leave it out")
    elif new.setting.byo is False and not new.type_name:
        yield refusal(_TYPE, "KW138", "no instance type for the nodes that are to be made")


def _annotations(new: Subject, release: Release) -> Iterator[Problem]:
    family = new.annotations.get(_FAMILY)
    is_known = isinstance(family, str) and family.strip().lower() in _FAMILIES
    if release.has_image_family and isinstance(family, str) and not is_known:
        yield _bad_annotation(_FAMILY, family, _FAMILIES)
    if not new.is_v1beta1:
        return
    for key in release.modes:
        value = new.annotations.get(key)
        if isinstance(value, str) and value not in _MODES[key]:
            yield _bad_annotation(key, value, _MODES[key])
    if release.has_node_class:
        yield from _node_class(new)


def _node_class(new: Subject) -> Iterator[Problem]:
    """Only karpenter reads it, and an operator may have declared others than the chart does."""
    value = as_text(new.annotations.get(_CLASS))
    if value and new.setting.provisioner == "karpenter" and value not in _CLASSES:
        yield _bad_annotation(_CLASS, value, _CLASSES)


def _bad_annotation(key: str, value: str, values: tuple[str, ...]) -> Problem:
    message = f"{value[:80]!r} is not a value of {key}"
    return refusal(f"metadata.annotations[{key}]", "KW117", message, f"use {' or '.join(values)}")


# --- resources ---------------------------------------------------------------------------------------------


def _resources(new: Subject, release: Release) -> Iterator[Problem]:
    """What is asked of the nodes of an inference Workspace; an unknown preset is refused elsewhere."""
    _, fault = selector_as_map(new.resource.get("labelSelector"))
    if fault:
        yield refusal(f"{_SELECTOR}.{fault}", "KW128", "the selector cannot be said with labels")
    asked = as_map(dig(new.resource, "labelSelector", "matchLabels"))
    if release.has_reserved and new.is_v1beta1 and asked and set(asked) <= RESERVED_LABELS:
        yield refusal(f"{_SELECTOR}.matchLabels", "KW127", "all labels are KAITO's own")
    is_byo = bool(new.setting.byo) and release.has_own_nodes and new.is_v1beta1
    partition = new.resource.get("partition")
    if isinstance(partition, dict) and new.is_v1beta1 and "resource.partition" not in release.unknown_fields:
        if new.setting.byo is False:
            yield refusal("resource.partition", "KW129", "GPUs of nodes that KAITO makes cannot be divided")
        return  # the rules of `create` know the rest of it, and say what is refused
    if is_byo:
        if not release.has_reserved and new.inference.get("preset") and not _has_selector(new):
            yield refusal("resource", "KW120", "resource is not set")  # the webhook crashes on it
        yield from _own_nodes(new)
    elif new.type_name or not (release.has_own_nodes and new.is_v1beta1):
        yield from _known_type(new, release)
    yield from _memory(new, release, is_byo)


def _own_nodes(new: Subject) -> Iterator[Problem]:
    found = new.own_nodes
    if isinstance(found, Flaw):
        yield refusal(f"{_SELECTOR}.matchLabels", found.code, found.message)


def _known_type(new: Subject, release: Release) -> Iterator[Problem]:
    name, cloud = new.type_name, new.cloud
    if releases.gpu_type(release, name, cloud, new.setting.catalog) is not None:
        return
    plain = name.lower() if release.is_type_folded else name
    prefixes = tuple(prefix.lower() if release.is_type_folded else prefix for prefix in _PREFIXES)
    if not plain.startswith(prefixes) or (release.name != "v0.3" and cloud != "azure"):
        yield refusal(_TYPE, "KW130", f"KAITO {release.version} does not know {name[:80]!r} on {cloud}")


def _memory(new: Subject, release: Release, is_byo: bool) -> Iterator[Problem]:
    name = as_text(dig(new.inference, "preset", "name")).lower()
    known = releases.preset(release, name, new.setting.catalog)
    if known is None:
        return
    hardware: Hardware | None
    if is_byo:
        hardware = new.own_nodes if isinstance(new.own_nodes, Hardware) else None
    else:
        figures = releases.gpu_type(release, new.type_name, new.cloud, new.setting.catalog)
        hardware = figures and Hardware(new.written_count, figures.gpus, figures.memory_gib, new.type_name)
    if hardware is None:
        return
    where = f"{_SELECTOR}.matchLabels" if is_byo else _TYPE
    bypassed = release.has_bypass and ANNOTATION_BYPASS in new.annotations
    if release.memory == "preset":
        yield from () if bypassed else _preset_needs(where, known, hardware)
    elif is_byo or new.runtime != "vllm" or new.api_version in release.is_weights_check_for_vllm:
        each_gib = hardware.gpu_gib if is_byo and release.counts_one_gpu else hardware.memory_gib
        total = _as_go_counts(hardware.nodes * each_gib)
        if total < known.weights_gib and not bypassed:
            has = f"{hardware.nodes} x {hardware.name} counts as {total} GiB of GPU memory"
            yield refusal(where, "KW136", f"{has}, {known.name} needs {known.weights_gib:g}")
        is_spread = known.distributed and each_gib < known.weights_gib
        if is_spread and new.is_v1beta1 and new.runtime == "transformers":
            yield refusal(_RUNTIME, "KW162", "transformers cannot spread a model over nodes")


def _preset_needs(where: str, known: ReleasePreset, hardware: Hardware) -> Iterator[Problem]:
    gpus, total = hardware.nodes * hardware.gpus, _as_go_counts(hardware.nodes * hardware.memory_gib)
    each = hardware.memory_gib // hardware.gpus
    times = f"{hardware.nodes} x {hardware.name}"
    if gpus < known.gpus:
        yield refusal(where, "KW134", f"{times} has {gpus} GPUs, {known.name} needs {known.gpus}")
    if each < known.per_gpu_gib:
        message = f"{hardware.name} has {each} GiB per {GPU}, {known.name} needs {known.per_gpu_gib:g}"
        yield refusal(where, "KW135", message)
    if total < known.total_gib:
        message = f"{times} has {total} GiB of GPU memory, {known.name} needs {known.total_gib:g}"
        yield refusal(where, "KW136", message)


def _as_go_counts(gib: int) -> int:
    """The memory that KAITO reckons with: in bytes, of which 64 bits are kept."""
    return ((gib * 2**30 + 2**63) % 2**64 - 2**63) // 2**30


# --- inference ---------------------------------------------------------------------------------------------


def _inference(new: Subject, release: Release) -> Iterator[Problem]:
    preset, template = new.inference.get("preset"), new.inference.get("template")
    if preset is None and template is None:
        yield refusal("inference.preset", "KW141", "neither preset nor template is set")
    if preset is not None and template is not None:
        yield refusal("inference.template", "KW141", "both preset and template are set")
    if isinstance(preset, dict):
        name = as_text(preset.get("name"))
        if not releases.is_preset_name(release, name, new.setting.catalog):
            yield refusal(_NAME, "KW142", f"KAITO {release.version} does not know {name[:80]!r}")
            return
        if not new.is_v1beta1 and release.dies_of(name):
            message = f"the v1alpha1 webhook of KAITO {release.version} crashes on it"
            yield refusal(_NAME, "KW165", message, "write the Workspace as kaito.sh/v1beta1")
            return
        yield from _preset(new, release, preset, releases.preset(release, name, new.setting.catalog))
    adapters = as_list(new.inference.get("adapters"))
    if len(adapters) > MAX_ADAPTERS:
        yield refusal("inference.adapters", "KW150", f"{len(adapters)} adapters, {MAX_ADAPTERS} are allowed")
    if adapters:
        from kaitoctl.kaito.validation import admission_data

        yield from admission_data.names_twice(adapters)


def _preset(
    new: Subject, release: Release, preset: Mapping[str, Any], known: ReleasePreset | None
) -> Iterator[Problem]:
    options = as_map(preset.get("presetOptions"))
    if not new.is_v1beta1:
        is_private = preset.get("accessMode") == "private"
        if known is not None and known.is_private and not is_private:
            yield refusal(
                "inference.preset.accessMode", "KW143", f"the image of {known.name} is not published"
            )
        if is_private and not options.get("image"):
            where = "inference.preset.presetOptions.image"
            yield refusal(where, "KW144", "accessMode is private, but there is no image")
    if release.is_runtime_checked:
        yield from _runtime(new, release, known)
    if new.is_v1beta1 and release.tokens != "any":
        yield from _token(release, options, known)


def _runtime(new: Subject, release: Release, known: ReleasePreset | None) -> Iterator[Problem]:
    adapters = as_list(new.inference.get("adapters"))
    if new.runtime == "transformers":
        lacks = release.needs_transformers and new.is_v1beta1
        if lacks and (known is None or not known.has_transformers):
            name = known.name if known else as_text(dig(new.inference, "preset", "name"))[:80]
            yield refusal(_RUNTIME, "KW162", f"{name} does not run on transformers", "use vllm")
        return
    if adapters and known is not None and not known.has_lora:
        message = f"vLLM does not load adapters for {known.name}"
        hint = f"set the annotation {ANNOTATION_RUNTIME}: transformers"
        yield refusal("inference.adapters", "KW158", message, hint)
    for index, adapter in enumerate(adapters):
        if as_map(adapter).get("strength") is not None:
            where = f"inference.adapters[{index}].strength"
            yield refusal(where, "KW161", "vLLM has no strength of adapters", "leave it out")


def _token(release: Release, options: Mapping[str, Any], known: ReleasePreset | None) -> Iterator[Problem]:
    """Whether a Secret for Hugging Face must or must not be named."""
    if known is None:
        return  # of a model that only Hugging Face knows
    secret, where = options.get("modelAccessSecret"), "inference.preset.presetOptions"
    is_needed = known.is_downloaded and (known.is_gated or release.tokens == "exact")
    if is_needed and not secret:
        message = f"{known.name} requires a token, and none is given"
        yield refusal(where, "KW166", message, "name a Secret with the key HF_TOKEN in modelAccessSecret")
    elif secret and not known.is_downloaded:
        message = f"the image of {known.name} has the weights; KAITO refuses a token for it"
        yield refusal(f"{where}.modelAccessSecret", "KW177", message, "leave it out")


# --- update ------------------------------------------------------------------------------------------------


def _update(old: Subject, new: Subject, release: Release) -> Iterator[Problem]:
    for part in ("inference", "tuning"):
        before, after = (side.workspace.get(part) is not None for side in (old, new))
        if before != after:
            yield refusal(part, "KW180", f"{part} cannot be {'removed' if before else 'added'}")
    yield from _resource_update(old, new, release)
    has_other_class = as_text(new.annotations.get(_CLASS)) != as_text(old.annotations.get(_CLASS))
    if new.is_v1beta1 and release.has_node_class and has_other_class:
        yield from _node_class(new)
    if new.is_v1beta1 and release.has_streaming:
        was, will = (as_text(side.annotations.get(_STREAMING)) for side in (old, new))
        if was != will and _STREAMING_GATE in (new.setting.gates or ()):
            where = f"metadata.annotations[{_STREAMING}]"
            yield _immutable(where, was, will)
    if old.workspace.get("inference") is not None and new.workspace.get("inference") is not None:
        yield from _inference_update(old, new, release)
    if old.workspace.get("tuning") is not None and new.workspace.get("tuning") is not None:
        from kaitoctl.kaito.validation import admission_data

        yield from admission_data.tuning_updated(old, new, release)


def _resource_update(old: Subject, new: Subject, release: Release) -> Iterator[Problem]:
    if old.written_count != new.written_count:
        yield _immutable(_COUNT, old.written_count, new.written_count)
    was, will = old.type_name, new.type_name
    if not (release.has_own_nodes and new.is_v1beta1):
        if was != will:
            yield _immutable(_TYPE, was, will)
    elif new.setting.byo:
        if will and not was:
            yield refusal(_TYPE, "KW139", f"{will[:80]} is given, but the nodes are your own", "leave it out")
        elif will and was != will:
            yield _immutable(_TYPE, was, will)
    elif not will and new.setting.byo is False:
        yield refusal(_TYPE, "KW138", "no instance type for the nodes that are to be made")
    elif was and will and was != will:
        yield _immutable(_TYPE, was, will)
    before, after = old.resource.get("partition"), new.resource.get("partition")
    if new.is_v1beta1 and "resource.partition" not in release.unknown_fields and before != after:
        yield _immutable("resource.partition", before, after)
    (labels, fault), (old_labels, old_fault) = (
        selector_as_map(side.resource.get("labelSelector")) for side in (new, old)
    )
    if fault or old_fault:
        where = f"{_SELECTOR}.{fault}" if fault else _SELECTOR
        yield refusal(where, "KW128", "the selector cannot be said with labels")
    elif labels != old_labels or _has_selector(new) != _has_selector(old):
        yield _immutable(_SELECTOR, old_labels, labels)


def _has_selector(subject: Subject) -> bool:
    return subject.resource.get("labelSelector") is not None  # none is not an empty one, for the webhook


def _inference_update(old: Subject, new: Subject, release: Release) -> Iterator[Problem]:
    from kaitoctl.kaito.validation import admission_data

    was, will = (admission_data.with_defaults(side.inference.get("preset")) for side in (old, new))
    if was != will:
        yield _immutable("inference.preset", dig(was, "name"), dig(will, "name"))
    before, after = (side.inference.get("template") is None for side in (old, new))
    if before != after:
        yield refusal("inference.template", "KW182", f"the template cannot be {'set' if before else 'unset'}")
    yield from admission_data.adapters_updated(new, release)


def _immutable(where: str, old: Any, new: Any) -> Problem:
    same = "" if isinstance(old, dict) or old == new else f" ({str(old)[:80]} -> {str(new)[:80]})"
    return refusal(where, "KW181", f"is immutable{same}", "delete the Workspace and recreate it")
