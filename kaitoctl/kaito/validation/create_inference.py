"""The rules for `inference` of a Workspace by itself: preset or template, and the runtime.

Source: KAITO v0.3.2, v0.4.0 and v0.12, `api/*/workspace_validation.go`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from kaitoctl.advice import Advice, Command
from kaitoctl.kaito.api import ANNOTATION_RUNTIME
from kaitoctl.kaito.catalog import Model
from kaitoctl.kaito.validation import ignored_fields, releases
from kaitoctl.kaito.validation.grammar import image_fault, is_dns_name, is_full_image
from kaitoctl.kaito.validation.problem import (
    OWN,
    Problem,
    as_list,
    as_map,
    as_text,
    did_you_mean,
    error,
    warning,
)
from kaitoctl.kaito.validation.releases import RELEASES
from kaitoctl.kaito.validation.subject import Subject
from kaitoctl.kube.objects import dig

_RUNTIME = f"metadata.annotations[{ANNOTATION_RUNTIME}]"
_GONE_IN_V12 = ("phi-2", "falcon-7b", "falcon-7b-instruct", "falcon-40b", "falcon-40b-instruct")


def inference_problems(subject: Subject) -> Iterator[Problem]:
    """Of preset or template, and of the runtime."""
    preset, template = subject.inference.get("preset"), subject.inference.get("template")
    if preset is None and template is None:
        yield error("inference.preset", "KW141", "neither preset nor template is set")
    elif preset is not None and template is not None:
        yield error("inference.template", "KW141", "both preset and template are set")
    if isinstance(preset, dict):
        yield from preset_problems(subject, "inference.preset", preset)
    if template is not None and subject.target != OWN:
        from kaitoctl.kaito.validation import custom_pods, pod_keys

        yield from pod_keys.problems("inference.template", template, "PodTemplateSpec", subject.pod_types)
        if preset is None:
            yield from custom_pods.pod_problems("inference.template", template)
    yield from _runtime(subject)


def preset_problems(subject: Subject, where: str, preset: Mapping[str, Any]) -> Iterator[Problem]:
    """Of a preset, for inference or tuning."""
    name = preset.get("name")
    options = as_map(preset.get("presetOptions"))
    image, secrets = options.get("image"), as_list(options.get("imagePullSecrets"))
    if isinstance(name, str):
        if subject.release is not None and subject.setting.catalog.is_local(name):
            yield error(
                f"{where}.name",
                "KW142",
                f"KAITO does not know {name}: it runs on this machine's CPU, in kaitoctl's sandbox",
                "kaitoctl models list names KAITO's own",
            )
        elif subject.is_new:
            yield from _model(subject, where, name, options)
        elif subject.release is not None and not subject.is_old:
            yield from _listed_preset(subject, where, name)
        elif not subject.is_made_as_model:
            yield from _old_preset(subject, where, name, preset)
        elif (known := subject.model_named(name)) is None:
            yield _of_unknown_size(subject, where, name)
        else:
            yield from _token(subject, where, known, options)
    private = preset.get("accessMode") == "private"
    has_base_image = subject.is_made_as_model or (
        subject.release and not subject.is_old and subject.is_v1beta1
    )
    needs_image = private and not has_base_image
    if needs_image and image in (None, ""):
        yield error(f"{where}.presetOptions.image", "KW144", "accessMode is private, but there is no image")
    elif isinstance(image, str) and image and (fault := image_fault(image)):
        yield error(f"{where}.presetOptions.image", "KW145", fault)
    yield from secret_faults(f"{where}.presetOptions.imagePullSecrets", secrets)
    secret = options.get("modelAccessSecret")
    if isinstance(secret, str) and secret and not is_dns_name(secret):
        yield error(
            f"{where}.presetOptions.modelAccessSecret", "KW148", f"{secret[:80]!r} is not a Secret's name"
        )


def _of_unknown_size(subject: Subject, where: str, name: str) -> Problem:
    # Which catalog the controller has cannot be seen from here: it knows the figures, or refuses.
    message = f"the size of {name[:80]} is not known here: the controller refuses it without its figures"
    near = did_you_mean(name, subject.setting.catalog.model_names())
    reads = f"its --catalog may have them; --catalog {name[:80]}=FOLDER reads them from its config.json"
    return warning(f"{where}.name", "KW149", message, near or reads)


def _old_preset(subject: Subject, where: str, name: str, preset: Mapping[str, Any]) -> Iterator[Problem]:
    presets = subject.setting.catalog.presets
    known = subject.setting.catalog.preset_in(name, subject.image_generation) or presets.get(name)
    if subject.release and releases.preset(subject.release, name, subject.setting.catalog) is None:
        presets = {
            key: presets[key] for key in releases.preset_names(subject.release, subject.setting.catalog)
        }
        known = None
    if known is None:
        hint: Advice = _elsewhere(subject, name) or did_you_mean(name, [*_models_too(subject), *presets])
        message = f"preset {name[:80]!r} is not in the catalog"
        pinned = subject.setting.image_generation
        message += (
            f" of KAITO {subject.kaito if subject.release else pinned}" if subject.release or pinned else ""
        )
        message = _nobodys(subject, name) or message
        names = list(presets)
        if subject.setting.target is None:  # nobody has named the release that its API version suggests
            names = subject.setting.catalog.model_names()
        if not hint and subject.target == OWN:
            hint = Command("kaitoctl models list") + " shows them all"
        yield error(f"{where}.name", "KW142", message, hint or _known(names))
    elif known.access_mode == "private" and preset.get("accessMode") != "private":
        yield error(
            f"{where}.accessMode",
            "KW143",
            f"the image of {known.name} is not published",
            "set accessMode: private and presetOptions.image to an image of your own",
        )


def _known(names: Collection[str]) -> str:
    """The presets that have names of their own, of which most are asked for; ids are what any model has."""
    ids = " (or a Hugging Face id: owner/model)" if any(map(_is_id, names)) else ""
    return f"known presets: {', '.join(name for name in names if '/' not in name)}{ids}"


def _nobodys(subject: Subject, name: str) -> str:
    """That no release has a preset, where nobody has named the one that judges; else empty."""
    if subject.setting.target is not None or releases.served_by(name, subject.setting.catalog):
        return ""
    return f"no KAITO from {RELEASES[0].name} to {RELEASES[-1].name} knows preset {name[:80]!r}"


def _elsewhere(subject: Subject, name: str) -> str:
    """Which releases have a preset that the judged one lacks, and what to do; empty when none has it."""
    having = releases.served_by(name, subject.setting.catalog)
    if not having:
        return ""
    here = f"KAITO {' to '.join(dict.fromkeys((having[0], having[-1])))} has it"
    if subject.release is None:
        return f"{here}: let the controller make the newest generation (no --kaito-version)"
    last = releases.nearest(having[-1])
    if last is not None and subject.api_version not in last.versions:
        return f"{here}, in v1alpha1 alone: take a model of today's"
    if last is not None and last.since > subject.release.since:
        return f"{here}: upgrade KAITO, or name the release that runs with --target-version"
    return f"{here}: take a model of today's, or name the release that runs with --target-version"


def _models_too(subject: Subject) -> list[str]:
    """Today's models: they are meant, too, where no older release is named."""
    is_any = subject.target == OWN or subject.setting.target is None
    return subject.setting.catalog.model_names() if is_any else []


def _is_id(name: str) -> bool:
    """Whether a name is that of a model at Hugging Face."""
    owner, slash, rest = name.partition("/")
    return bool(slash and owner and rest and "/" not in rest)


def _listed_preset(subject: Subject, where: str, name: str) -> Iterator[Problem]:
    """A preset's name for a release between v0.4.5 and v0.10, which has a table of its own."""
    release, known_catalog = subject.release, subject.setting.catalog
    if release is None or releases.preset(release, name, known_catalog) is not None:
        return
    names = releases.preset_names(release, known_catalog)
    if releases.is_preset_name(release, name, known_catalog):
        message = f"{name[:80]} is not in the table of KAITO {release.version}; its size is not known"
        yield warning(f"{where}.name", "KW149", message, did_you_mean(name, names))
    else:
        message = f"KAITO {release.version} does not know {name[:80]!r}"
        near = did_you_mean(name, names) or _known(names)
        hint = _elsewhere(subject, name) or near
        yield error(f"{where}.name", "KW142", message, hint)


def _model(subject: Subject, where: str, name: str, options: Mapping[str, Any]) -> Iterator[Problem]:
    """A preset's name for v0.12: a Hugging Face id, or one of the short names."""
    known = subject.model_named(name)
    if name.lower() in _GONE_IN_V12 or (known is None and not _is_id(name)):
        gone = name.lower() in _GONE_IN_V12
        yield error(
            f"{where}.name",
            "KW142",
            _nobodys(subject, name)
            or f"KAITO {subject.kaito} {'no longer serves' if gone else 'does not know'} {name[:80]!r}",
            did_you_mean(name, subject.setting.catalog.model_names())
            or _elsewhere(subject, name)
            or _known(subject.setting.catalog.model_names()),
        )
    elif not subject.is_v1beta1 and where.startswith("inference."):
        yield error(
            f"{where}.name",
            "KW165",
            "the v1alpha1 webhook of KAITO v0.12 crashes on it",
            "write the Workspace as kaito.sh/v1beta1",
        )
    elif known is None:
        hint = did_you_mean(name, subject.setting.catalog.model_names())
        yield warning(
            f"{where}.name", "KW149", f"{name[:80]} is not in the catalog; its size is not known", hint
        )
    else:
        yield from _token(subject, where, known, options)


def _token(subject: Subject, where: str, known: Model, options: Mapping[str, Any]) -> Iterator[Problem]:
    """That Hugging Face hands a model out to nobody without a token, whoever manages its server."""
    if known.gated and not options.get("modelAccessSecret") and not _has_local_weights(subject):
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
    images = preset.images.get(subject.image_generation)
    if images is None:
        if dig(subject.inference, "preset", "accessMode") != "private":
            yield error(
                "inference.preset.name",
                "KW147",
                f"{preset.name} has no image of generation {subject.image_generation}",
                f"it has one of {', '.join(preset.images)}",
            )
    elif subject.runtime == "vllm" and images.vllm is None:
        if subject.asked_runtime == "vllm":
            message = f"{preset.name} does not run on vLLM in generation {subject.image_generation}"
            yield error(annotation, "KW147", message, "use transformers")
        else:
            message = f"KAITO {subject.kaito} serves on vLLM, on which {preset.name} does not run"
            yield warning("inference.preset.name", "KW147", message, ignored_fields.TRANSFORMERS)


def image_faults(subject: Subject, where: str, image: Any) -> Iterator[Problem]:
    """What is wrong with the reference of an image."""
    if not isinstance(image, str) or not image:
        return
    if fault := image_fault(image):
        yield error(where, "KW145", fault)
    elif subject.is_old and not is_full_image(image):
        yield error(where, "KW155", f"{image[:80]!r} has no path or no tag", "write it as registry/name:tag")


def secret_faults(where: str, secrets: list[Any]) -> Iterator[Problem]:
    """What is wrong with the names of Secrets."""
    for index, secret in enumerate(secrets):
        if isinstance(secret, str) and not is_dns_name(secret):
            yield error(f"{where}[{index}]", "KW148", f"{secret[:80]!r} is not a Secret's name")
