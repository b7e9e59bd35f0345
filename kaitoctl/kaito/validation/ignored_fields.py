"""What KAITO accepts and then silently ignores: a table, and the few lines that apply it.

A row names a field, who ignores it (KAITO versions, and kaitoctl's own controller), and under which
circumstances. `ANNOTATIONS` says the same of annotations, and `MEANT` what people mean by fields that do not
exist.

Source: KAITO v0.3.2, v0.4.0 and v0.12, the controllers: what none of their code reads.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from typing import Any

from msgspec import Struct

from kaitoctl.kaito.api import (
    ANNOTATION_ENABLE_LB,
    ANNOTATION_RUNTIME,
    ANNOTATION_STREAMING,
    ONLY_IN_V1BETA1,
    STATIC_MIRROR,
    STATIC_SOURCE,
    STREAM_ACCOUNT,
)
from kaitoctl.kaito.validation.problem import OWN, Problem, as_list, as_map, as_text, error, warning
from kaitoctl.kaito.validation.subject import Subject
from kaitoctl.kube.objects import dig

_V3, _V4, _V46, _V9, _V12 = "v0.3", "v0.4", "v0.4.6", "v0.9", "v0.12"

_ROLE, _ROLES = "kaito.sh/inference-role", ("prefill", "decode")
_FAMILY = "kaito.sh/node-image-family"
_NO = ("false", "no", "off", "0")

TRANSFORMERS = f"set the annotation {ANNOTATION_RUNTIME}: transformers"


class Ignored(Struct, frozen=True):
    """A field that is accepted and ignored.

    Args:
        field: its path; `[]` is every entry of a list.
        code: of the warning.
        targets: who ignores it.
        when: the circumstances, a key of `CIRCUMSTANCES`.
        message: for the user; `{preset}` and `{value}` are filled in.
        hint: what to do instead.
    """

    field: str
    code: str
    targets: tuple[str, ...]
    when: str
    message: str
    hint: str = ""


CIRCUMSTANCES: Mapping[str, Callable[[Subject, Any], bool]] = {
    "always": lambda subject, value: True,
    "distributed preset": lambda subject, value: subject.preset is not None and subject.preset.distributed,
    "llama server": lambda subject, value: (
        subject.preset is not None and not subject.preset.distributed and subject.preset.world_size > 0
    ),
    "vLLM asked for": lambda subject, value: (
        _loads_on_transformers(subject) and subject.asked_runtime == "vllm"
    ),
    "vLLM by default": lambda subject, value: (
        _loads_on_transformers(subject) and subject.asked_runtime not in ("vllm", "transformers")
    ),
    "beside a template": lambda subject, value: subject.inference.get("template") is not None,
    "public access": lambda subject, value: (
        dig(subject.inference, "preset", "accessMode") != "private"
        and (subject.preset is None or subject.preset.access_mode == "public")
    ),
    "public access of inference": lambda subject, value: (
        dig(subject.inference, "preset", "accessMode") != "private"
    ),
    "public access of tuning": lambda subject, value: (
        dig(subject.tuning, "preset", "accessMode") != "private"
    ),
    "image of its own": lambda subject, value: not subject.is_made_as_model,
    "without a configuration": lambda subject, value: not subject.has_plain_adapters,
    "private beside a published image": lambda subject, value: (
        value == "private" and subject.has_plain_adapters
    ),
    "private image": lambda subject, value: dig(subject.inference, "preset", "accessMode") == "private",
    "is private": lambda subject, value: value == "private",
    "tuning": lambda subject, value: bool(subject.tuning),
    "load balancer for a template": lambda subject, value: (
        value == "True" and subject.inference.get("template") is not None
    ),
    "load balancer for no port": lambda subject, value: (
        value == "True" and not subject.inference.get("preset") and not _has_ports(subject)
    ),
    "without a model server": lambda subject, value: (
        value != "transformers" and not subject.inference.get("preset")
    ),
}


def _has_ports(subject: Subject) -> bool:
    containers = as_list(dig(subject.inference, "template", "spec", "containers"))
    return any(as_map(item).get("ports") for item in containers)


def _loads_on_transformers(subject: Subject) -> bool:
    return subject.preset is not None and not subject.preset.world_size and not subject.has_plain_adapters


_ADAPTERS, _OPTIONS = "inference.adapters", "inference.preset.presetOptions"
TABLE: tuple[Ignored, ...] = (
    Ignored(
        "resource.labelSelector.matchExpressions", "KW121", (_V3, _V4, _V46, _V9, _V12), "always",
        "matchExpressions are ignored", "use matchLabels",
    ),
    Ignored(
        "resource.preferredNodes", "KW126", (_V12,), "always",
        "KAITO v0.12 does not read preferredNodes",
        "with --node-provisioner byo it takes nodes by their labels (with karpenter, those of the instance "
        "type); otherwise it takes none but its own, and buys them",
    ),
    Ignored(
        "resource.preferredNodes", "KW176", (_V3, _V4), "tuning",
        "the tuning pod is not bound to these nodes",
    ),
    Ignored(
        _OPTIONS, "KW146", (_V3, _V4), "public access",
        "accessMode is public: image and secrets are ignored", "set accessMode: private",
    ),
    *(
        Ignored(
            f"{part}.preset.presetOptions.image", "KW146", (OWN,), f"public access of {part}",
            "accessMode is public: the image is ignored", "set accessMode: private",
        )
        for part in ("inference", "tuning")
    ),
    *(
        Ignored(
            f"{part}.preset.{field}", "KW163", (_V12,), when,
            "KAITO v0.12 runs its own base image and does not read this", "leave it out",
        )
        for part in ("inference", "tuning")
        for field, when in (
            ("accessMode", "is private"),
            ("presetOptions.image", "always"),
            ("presetOptions.imagePullSecrets", "always"),
        )
    ),
    Ignored(
        _ADAPTERS, "KW159", (_V3, _V4, _V46, _V9, _V12, OWN), "beside a template",
        "adapters beside a template are not loaded",
    ),
    Ignored(
        _ADAPTERS, "KW158", (_V3, _V4), "distributed preset",
        "KAITO ignores adapters of {preset}, which is distributed",
    ),
    *(
        Ignored(_ADAPTERS, "KW158", targets, when, "the server of {preset} does not load adapters")
        for targets, when in (((_V3, _V4, OWN), "llama server"), ((OWN,), "distributed preset"))
    ),
    Ignored(
        _ADAPTERS, "KW158", (_V4, OWN), "vLLM asked for",
        "KAITO's vLLM server of v0.4.0 does not load adapters", TRANSFORMERS,
    ),
    Ignored(
        _ADAPTERS, "KW160", (_V4,), "vLLM by default",
        "KAITO v0.4.0 may serve on vLLM, which does not load adapters", TRANSFORMERS,
    ),
    Ignored(
        "inference.adapters[].source.imagePullSecrets", "KW167", (_V3,), "private image",
        "v0.3 takes only the preset's pull secrets when its image is private",
        "add them to inference.preset.presetOptions.imagePullSecrets",
    ),
    Ignored(
        "inference.template.spec.affinity", "KW168", (_V3, _V4, _V46), "always",
        "KAITO overwrites the template's affinity with its own", "choose nodes with resource.labelSelector",
    ),
    Ignored(
        f"metadata.annotations[{ANNOTATION_ENABLE_LB}]", "KW169", (_V3,), "load balancer for a template",
        "v0.3 makes no Service for a pod template", "make a Service of your own",
    ),
    Ignored(
        f"metadata.annotations[{ANNOTATION_ENABLE_LB}]", "KW118", (OWN,), "load balancer for no port",
        "there is nothing to balance: no container has a port", "leave it out, or name containerPorts",
    ),
    Ignored(
        f"metadata.annotations[{ANNOTATION_RUNTIME}]", "KW118", (OWN,), "without a model server",
        "it chooses the server of an inference preset, and there is none", "leave it out",
    ),
    *(
        Ignored(field, "KW118", (OWN,), when, "kaitoctl's controller does not use it", hint)
        for field, when, hint in (
            (
                "inference.preset.accessMode", "private beside a published image",
                "in this generation KAITO's own image serves",
            ),
            ("inference.config", "without a configuration", "it is for servers of KAITO v0.4.6 and v0.12"),
            (ONLY_IN_V1BETA1[0], "image of its own", "each pod gets whole GPUs"),
            *(
                (field, "without a configuration", "the images hold their weights already")
                for field in ONLY_IN_V1BETA1[1:]
            ),
        )
    ),
)  # fmt: skip


class Annotation(Struct, frozen=True):
    """An annotation that KAITO reads.

    Args:
        targets: who reads it.
        values: those that count; empty when any does.
        refused: whether v1beta1 refuses other values, on create, instead of ignoring them.
        harmless: other values that mean what happens anyway.
        folded: whether case and blanks around do not count.
        by_presence: whether the value does not count at all.
    """

    targets: tuple[str, ...] = (_V12,)
    values: tuple[str, ...] = ()
    refused: bool = False
    harmless: tuple[str, ...] = ()
    folded: bool = False
    by_presence: bool = False


OF_STREAMING = (STATIC_MIRROR, *STATIC_SOURCE, STREAM_ACCOUNT)
"""What says where weights are streamed from, and as whom."""

# What kaitoctl's own controller reads where it serves as KAITO v0.12 does.
_OF_MODELS = ("kaito.sh/disable-benchmark", "kaito.sh/performance-mode", "kaito.sh/use-local-weights")

ANNOTATIONS: Mapping[str, Annotation] = {
    ANNOTATION_ENABLE_LB: Annotation((_V3, _V4, _V46, _V9, _V12, OWN), ("True",), harmless=("", "no", "off")),
    ANNOTATION_RUNTIME: Annotation((_V4, _V46, _V9, _V12, OWN), ("transformers", "vllm")),
    "kaito.sh/bypass-resource-checks": Annotation((_V46, _V9, _V12), by_presence=True),
    _FAMILY: Annotation((_V9, _V12), values=("ubuntu", "azurelinux"), refused=True, folded=True),
    "kaito.sh/node-class-name": Annotation(),
    "kaito.sh/disable-benchmark": Annotation(values=("true",), harmless=("", "false")),
    "kaito.sh/performance-mode": Annotation(values=("balanced", "interactivity", "throughput"), refused=True),
    "kaito.sh/use-local-weights": Annotation(values=("true", "false"), refused=True),
    ANNOTATION_STREAMING: Annotation(values=("disabled",), harmless=("", "enabled")),
    "kaito.sh/model-mirror-storage-class": Annotation(),
    STREAM_ACCOUNT: Annotation(),
    **dict.fromkeys((STATIC_MIRROR, *STATIC_SOURCE), Annotation()),
}
"""Every annotation that some KAITO version reads of a Workspace."""

MEANT: tuple[tuple[str, str], ...] = (
    (r"spec", "a Workspace has no spec: its fields stand at the top"),
    (r"inference\.adapters\[\d+\]\.source\.volume", "the field is volumeSource"),
    (r"(inference\.adapters\[\d+\]\.source|tuning\.(in|out)put)\.(pvc|volume)", "the field is volumeSource"),
    (r"inference\.adapters\[\d+\]\.(name|image|imagePullSecrets)", "it belongs into source"),
    (r"tuning\.output\.imageSecret", "the field is imagePushSecret"),
    (r"resource\.(nodeSelector|labels|matchLabels)", "use resource.labelSelector.matchLabels"),
    (r"inference\.preset\.(image|imagePullSecrets)", "it belongs into presetOptions"),
    (r"inference\.model", "the field is preset.name"),
    (r"resource\.partition|\A.*\.modelAccessSecret", "only kaito.sh/v1beta1 has it"),
    (r"inference\.config", "KAITO has it from v0.4.5 on"),
)
"""Unknown fields by pattern, and what is meant."""


def hint_for(path: str) -> str:
    """The hint for an unknown field, empty when there is none."""
    return next((hint for pattern, hint in MEANT if re.fullmatch(pattern, path)), "")


def field_problems(subject: Subject) -> Iterator[Problem]:
    """What the table has to say of a Workspace; of several rows about one field the first."""
    said: set[str] = set()
    for row in TABLE:
        if subject.target not in row.targets:
            continue
        for path, value in _values(subject.workspace, row.field):
            if value in ("", [], {}) or path in said or not CIRCUMSTANCES[row.when](subject, value):
                continue
            said.add(path)
            preset = subject.preset.name if subject.preset else ""
            yield warning(path, row.code, row.message.format(preset=preset), row.hint)


def _values(obj: Any, pattern: str) -> Iterable[tuple[str, Any]]:
    """The paths that a pattern stands for in an object, and what is there."""
    head, steps, tail = _steps(pattern)
    value = obj
    for step in steps:
        if not isinstance(value, dict):
            return ()
        value = value.get(step)
    if value is None:
        return ()
    if not tail:
        return ((head, value),)
    items = enumerate(value if isinstance(value, list) else ())
    return [
        (f"{head}[{index}].{below}", found) for index, item in items for below, found in _values(item, tail)
    ]


@cache
def _steps(pattern: str) -> tuple[str, tuple[str, ...], str]:
    """The pattern up to its first list, the keys in that, and the pattern of the list's items."""
    head, _, tail = pattern.partition("[].")
    return head, tuple(step.strip("[]") for step in re.findall(r"[^.\[\]]+|\[[^\]]+\]", head)), tail


def annotation_problems(subject: Subject) -> Iterator[Problem]:
    """What the table has to say of annotations, and of labels that were meant as such."""
    for key, value in subject.annotations.items():
        where = f"metadata.annotations[{key}]"
        known = ANNOTATIONS.get(key)
        if known is None:
            if near := _near_annotation(key):
                yield warning(where, "KW115", f"KAITO does not read {key}", f"Did you mean {near}?")
            continue
        text = as_text(value)
        is_read = subject.target in known.targets or (subject.is_made_as_model and key in _OF_MODELS)
        if not is_read:
            if not (key == ANNOTATION_RUNTIME and text == "transformers"):
                version = "kaitoctl's controller" if subject.target == OWN else f"KAITO {subject.kaito}"
                yield warning(where, "KW116", f"{version} does not read {key}" + _unless(subject, key))
        elif known.by_presence:
            if text.strip().lower() in _NO:
                message = f"{text[:80]!r} does not switch {key} off: it counts by being there"
                yield warning(where, "KW114", message, "leave it out")
        elif isinstance(value, str) and known.values:
            plain = value.strip().lower() if known.folded else value
            if plain not in (*known.values, *known.harmless):
                yield from _wrong_value(subject, where, key, value, known)
    for key, value in as_map(subject.metadata.get("labels")).items():
        if key in ANNOTATIONS:
            yield warning(f"metadata.labels[{key}]", "KW115", f"{key} is an annotation, not a label")
        elif key == _ROLE and subject.is_new and isinstance(value, str) and value not in _ROLES:
            message, hint = f"{value[:80]!r} is not a value of {key}", f"use {' or '.join(_ROLES)}"
            yield warning(f"metadata.labels[{key}]", "KW114", message, hint)


def _wrong_value(subject: Subject, where: str, key: str, value: str, known: Annotation) -> Iterator[Problem]:
    hint = f"use {' or '.join(known.values)}"
    is_asked = subject.is_v1beta1 or key == _FAMILY
    if known.refused and is_asked and not subject.is_update:
        yield error(where, "KW117", f"{value[:80]!r} is not a value of {key}", hint)
    elif key != ANNOTATION_ENABLE_LB:
        yield warning(where, "KW114", f"{value[:80]!r} is not a value of {key}", hint)
    elif value.lower() not in ("false", "no", "off"):
        yield warning(
            where,
            "KW114",
            f"{value[:80]!r} does not ask for a load balancer",
            'write "True", with a capital T',
        )


_SQUEEZED = r"[-_.]"


def _unless(subject: Subject, key: str) -> str:
    """Under which circumstances our own controller reads it all the same."""
    if subject.target != OWN or not subject.is_made_as_model or key not in OF_STREAMING:
        return ""
    return ", unless it allows the Workspace's ServiceAccount (--allow-template-service-account)"


def _near_annotation(key: str) -> str:
    """The annotation that an unknown key of KAITO's was meant to be, or empty."""
    prefix, _, name = key.rpartition("/")
    if "kaito" not in prefix.lower() or len(name) > 63:
        return ""
    by_form = {re.sub(_SQUEEZED, "", known.rpartition("/")[2]): known for known in ANNOTATIONS}
    form = re.sub(_SQUEEZED, "", name.lower())
    if form in by_form:
        return by_form[form]
    if prefix != "kaito.sh":
        return ""
    from difflib import get_close_matches

    near = get_close_matches(form, by_form, n=1, cutoff=0.8)
    return by_form[near[0]] if near else ""
