"""What a KAITO release's admission answers about sources and destinations: of adapters, and of tuning.

Source: KAITO v0.3.2, v0.4.0, v0.4.6, v0.9.4, v0.12.0: `api/*/workspace_validation.go` (AdapterSpec,
TuningSpec, DataSource, DataDestination).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from kaitoctl.kaito.validation import config_maps, releases
from kaitoctl.kaito.validation.data_urls import data_url_fault
from kaitoctl.kaito.validation.grammar import (
    docker_fault,
    go_float,
    is_dns_name,
    is_full_image,
)
from kaitoctl.kaito.validation.problem import Problem, as_list, as_map, as_text, refusal
from kaitoctl.kaito.validation.releases import Release
from kaitoctl.kaito.validation.subject import Subject
from kaitoctl.kube.objects import dig

_VOLUME = "volumeSource"
_SOURCES = ("urls", "image", _VOLUME)
_OLD_NAME = re.compile(r"(?i:[a-z0-9]([-a-z0-9]*[a-z0-9])?)")


def names_twice(adapters: list[Any]) -> Iterator[Problem]:
    """Adapters of one name; one without source is a crash of the webhook, whatever it is asked."""
    seen: set[str] = set()
    for index, adapter in enumerate(adapters):
        where, source = f"inference.adapters[{index}].source", as_map(adapter).get("source")
        if source is None:
            yield refusal(where, "KW151", "the adapter has no source")
            return
        name = as_text(as_map(source).get("name"))
        if name in seen:
            yield refusal(f"{where}.name", "KW153", f"another adapter is called {name[:63]!r}, too")
        seen.add(name)


def adapters_updated(new: Subject, release: Release) -> Iterator[Problem]:
    """What is asked of adapters on update, and on update only."""
    adapters = as_list(new.inference.get("adapters"))
    for index, adapter in enumerate(adapters):
        source = as_map(adapter).get("source")
        if isinstance(source, dict):
            yield from _adapter_updated(new, release, f"inference.adapters[{index}]", as_map(adapter), source)
    yield from names_twice(adapters)


def _adapter_updated(
    new: Subject, release: Release, where: str, adapter: Mapping[str, Any], source: Mapping[str, Any]
) -> Iterator[Problem]:
    name, at = as_text(source.get("name")), f"{where}.source"
    is_name = (
        bool(_OLD_NAME.fullmatch(name)) and len(name) <= 253 if release.name == "v0.3" else is_dns_name(name)
    )
    if not is_name:
        yield refusal(f"{at}.name", "KW152", f"{name[:80]!r} cannot name a container")
    given = _given(source)
    wrong = [key for key in given if key == "urls" or (key == "volumeSource" and release.volumes != "all")]
    if wrong:
        yield refusal(f"{at}.{wrong[0]}", "KW151", f"{wrong[0]} cannot hold an adapter", "use image")
    elif len(given) > 1:
        yield refusal(at, "KW151", f"the adapter comes from {' and '.join(given)}", "set exactly one")
    elif not given:
        yield refusal(f"{at}.image", "KW151", "the adapter has no image")
    yield from _image(release, f"{at}.image", source.get("image"))
    strength = adapter.get("strength")
    if isinstance(strength, str):
        value = go_float(strength)
        if value is None or value < 0 or value > 1:
            yield refusal(f"{where}.strength", "KW156", f"{strength[:40]!r} is not a decimal from 0 to 1")


def _given(source: Mapping[str, Any]) -> list[str]:
    """The sources that count as given: a volume without anything in it does, an empty text or list not."""
    return [key for key in _SOURCES if source.get(key) or (key == _VOLUME and source.get(key) is not None)]


def _image(release: Release, where: str, image: Any) -> Iterator[Problem]:
    if not isinstance(image, str) or not image:
        return
    if not release.has_image_pattern:
        if fault := docker_fault(image):
            yield refusal(where, "KW145", fault)
    elif not is_full_image(image):
        yield refusal(
            where, "KW155", f"{image[:80]!r} has no path or no tag", "write it as registry/name:tag"
        )
    else:
        name = image.rpartition("/")[2].partition(":")[0]
        if name != name.lower():
            yield refusal(where, "KW145", f"{image[:80]!r}: the path of an image is in lower case")


# --- tuning ------------------------------------------------------------------------------------------------


def tuning_created(new: Subject, release: Release) -> Iterator[Problem]:
    """What is asked of tuning on creation."""
    if not isinstance(new.workspace.get("resource"), dict):
        yield refusal("resource", "KW120", "resource is not set")  # the webhook crashes on the missing count
    elif new.written_count > 1:
        yield refusal("resource.count", "KW170", f"tuning cannot use {new.written_count} nodes")
    if new.is_v1beta1 and release.volumes == "all" and isinstance(new.resource.get("partition"), dict):
        yield refusal("resource.partition", "KW129", "tuning does not run on parts of GPUs")
    method = new.tuning.get("method")
    if as_text(method).lower() not in ("lora", "qlora"):
        message = "tuning has no method" if method is None else f"{str(method)[:80]!r} is not a method"
        yield refusal("tuning.method", "KW172", message, "use lora or qlora")
    preset = new.tuning.get("preset")
    if preset is None:
        yield refusal("tuning.preset", "KW171", "tuning has no preset")
    else:
        name = as_text(dig(preset, "name"))
        if not releases.is_preset_name(release, name, new.setting.catalog):
            yield refusal(
                "tuning.preset.name", "KW142", f"KAITO {release.version} does not know {name[:80]!r}"
            )
    yield from config_maps.tuning_refusals(new)
    yield from _input(new, release, as_map(new.tuning.get("input")))
    yield from _output(release, as_map(new.tuning.get("output")))


def _input(new: Subject, release: Release, data: Mapping[str, Any]) -> Iterator[Problem]:
    given = _given(data)
    if len(given) != 1 or (given == ["volumeSource"] and release.volumes == "none"):
        message = f"the data comes from {' and '.join(given) or 'nowhere'}"
        yield refusal("tuning.input", "KW173", message)
    if release.are_urls_checked and new.is_v1beta1:
        for index, url in enumerate(as_list(data.get("urls"))):
            if isinstance(url, str) and (fault := data_url_fault(url)):
                yield refusal(f"tuning.input.urls[{index}]", "KW175", fault)
    yield from _image(release, "tuning.input.image", data.get("image"))


def _output(release: Release, output: Mapping[str, Any]) -> Iterator[Problem]:
    image, volume = output.get("image"), output.get("volumeSource")
    if volume is not None and release.volumes == "none":
        yield refusal("tuning.output.volumeSource", "KW174", "a volume cannot take the result")
    elif not image and volume is None:
        yield refusal("tuning.output.image", "KW174", "the result goes nowhere")
    elif image and not output.get("imagePushSecret"):
        yield refusal("tuning.output.imagePushSecret", "KW174", "no Secret to push the image with")
    if image and volume is not None and release.tuning_output == "one":
        yield refusal(
            "tuning.output", "KW174", "the result goes to an image and to a volume", "set one of them"
        )
    yield from _image(release, "tuning.output.image", image)


def tuning_updated(old: Subject, new: Subject, release: Release) -> Iterator[Problem]:
    """What is asked of tuning on update."""
    was, will = as_map(old.tuning.get("input")), as_map(new.tuning.get("input"))
    if new.tuning.get("input") is None:
        yield refusal("tuning.input", "KW173", "the data comes from nowhere")
    if (was.get("name") or "") != (will.get("name") or ""):
        yield refusal("tuning.input.name", "KW181", "is immutable")
    output = as_map(new.tuning.get("output"))
    if new.tuning.get("output") is None:
        yield refusal("tuning.output.image", "KW174", "the result goes nowhere")
    if release.volumes == "none":
        if will.get("volumeSource") is not None:
            yield refusal("tuning.input", "KW173", "a volume cannot give the data")
        if output.get("volumeSource") is not None:
            yield refusal("tuning.output.volumeSource", "KW174", "a volume cannot take the result")
    if not release.has_image_pattern:
        yield from _image(release, "tuning.input.image", will.get("image"))
        yield from _image(release, "tuning.output.image", output.get("image"))
    before, after = (with_defaults(side.tuning.get("preset")) for side in (old, new))
    if before != after:
        yield refusal("tuning.preset", "KW181", "is immutable")
    methods = [as_text(side.tuning.get("method")).lower() for side in (old, new)]
    if methods[0] != methods[1]:
        yield refusal("tuning.method", "KW181", "is immutable")


def with_defaults(preset: Any) -> Any:
    """A preset as KAITO compares it with another."""
    if not isinstance(preset, Mapping):
        return preset
    given = {key: value for key, value in preset.items() if value is not None}
    # An empty list is another one than none to Go's DeepEqual; an empty text is none.
    options = {
        key: value for key, value in as_map(given.get("presetOptions")).items() if value not in (None, "")
    }
    return {"accessMode": "public", **given, "presetOptions": options}
