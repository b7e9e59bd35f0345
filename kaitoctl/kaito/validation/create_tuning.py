"""The rules for `tuning` of a Workspace by itself.

Source: KAITO v0.3.2, v0.4.0 and v0.12, `api/*/workspace_validation.go`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kaitoctl.kaito.catalog import Model, Preset
from kaitoctl.kaito.validation import pod_keys, releases
from kaitoctl.kaito.validation.create_inference import image_faults, preset_problems, secret_faults
from kaitoctl.kaito.validation.grammar import url_fault
from kaitoctl.kaito.validation.problem import Problem, as_list, as_map, as_text, error
from kaitoctl.kaito.validation.subject import Subject

_COUNT, _SOURCES = "resource.count", ("urls", "image", "volumeSource")


def tuning_problems(subject: Subject) -> Iterator[Problem]:
    """Of preset, method, input and output."""
    if subject.count > 1:
        yield error(_COUNT, "KW170", f"tuning cannot use {subject.count} nodes")
    preset = subject.tuning.get("preset")
    if preset is None:
        yield error("tuning.preset", "KW171", "tuning has no preset")
    elif isinstance(preset, dict):
        yield from _can_be_tuned(subject, as_text(preset.get("name")))
        yield from preset_problems(subject, "tuning.preset", preset)
    method = subject.tuning.get("method")
    if method is None or (isinstance(method, str) and method not in ("lora", "qlora")):
        message = "tuning has no method" if method is None else f"{method[:80]!r} is not a method"
        yield error("tuning.method", "KW172", message, "use lora or qlora")
    yield from _tuning_input(subject, as_map(subject.tuning.get("input")))
    yield from _tuning_output(subject, as_map(subject.tuning.get("output")))


def _can_be_tuned(subject: Subject, name: str) -> Iterator[Problem]:
    catalog = subject.setting.catalog
    release = subject.release
    known: Preset | Model | releases.ReleasePreset | None
    if subject.is_made_as_model:
        known = subject.model_named(name)
    else:
        known = releases.preset(release, name, catalog) if release else catalog.presets.get(name)
    if known is not None and not known.tuning:
        names = ", ".join(_tunable(subject))
        yield error("tuning.preset.name", "KW171", f"{known.name} cannot be tuned", f"these can: {names}")


def _tunable(subject: Subject) -> list[str]:
    catalog, release = subject.setting.catalog, subject.release
    if subject.is_made_as_model:
        return [item.preset_name for item in catalog.models.values() if item.tuning]
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
    yield from image_faults(subject, "tuning.input.image", data.get("image"))
    yield from secret_faults("tuning.input.imagePullSecrets", as_list(data.get("imagePullSecrets")))
    source = data.get("volumeSource")
    yield from pod_keys.problems("tuning.input.volumeSource", source, "VolumeSource", subject.pod_types)


def _tuning_output(subject: Subject, output: Mapping[str, Any]) -> Iterator[Problem]:
    image, volume, secret = (output.get(key) for key in ("image", "volumeSource", "imagePushSecret"))
    if volume and subject.volumes == "none":
        message = "a volume cannot take the result"
        yield error("tuning.output.volumeSource", "KW174", message, "use image and imagePushSecret")
    elif not image and not volume:
        yield error("tuning.output.image", "KW174", "the result goes nowhere")
    elif image and not secret:
        yield error("tuning.output.imagePushSecret", "KW174", "no Secret to push the image with")
    if image and volume and (subject.release is None or subject.release.tuning_output == "one"):
        yield error("tuning.output", "KW174", "the result goes to an image and a volume", "set one of them")
    elif volume and subject.release is None and (why := unkept_in(as_map(volume))):
        yield error("tuning.output.volumeSource", "KW174", why)
    yield from image_faults(subject, "tuning.output.image", image)
    yield from secret_faults("tuning.output.imagePushSecret", [secret] if secret else [])
    yield from pod_keys.problems("tuning.output.volumeSource", volume, "VolumeSource", subject.pod_types)


_ENDING = ("emptyDir", "ephemeral")
_READ_ONLY = ("configMap", "downwardAPI", "image", "projected", "secret")


def unkept_in(volume: Mapping[str, Any]) -> str:
    """Why a volume cannot keep what hours of tuning have made; empty when it can. KAITO takes any."""
    if kind := next((kind for kind in _ENDING if kind in volume), ""):
        return f"{kind} ends with the pod, and the result with it; use a persistentVolumeClaim"
    locked = [kind for kind, source in volume.items() if as_map(source).get("readOnly") is True]
    kinds = [kind for kind in volume if kind in _READ_ONLY or kind in locked]
    return f"{kinds[0]} is read-only here; use a persistentVolumeClaim" if kinds else ""
