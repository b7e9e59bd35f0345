"""The generations of KAITO that are made here: what belongs together is one row.

A generation is made of an image, the command that starts a server in it, the path at which it answers probes,
the server that runs unless the Workspace says otherwise, and the kind of workload. Mixed, they do not start.

Sources: KAITO v0.3.2 `pkg/inference/preset-inferences.go`, v0.4.0 and v0.4.6
`pkg/workspace/inference/preset-inferences.go`, v0.12.0 `pkg/workspace/inference/preset_inferences.go`,
`pkg/model/interface.go`,
`presets/workspace/models/supported_models.yaml` (tag of the base image).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from kaitoctl.kaito import api, catalog
from kaitoctl.kaito.catalog import Catalog, Model, Preset
from kaitoctl.kube.objects import DEPLOYMENT, STATEFUL_SET, Kind, Object, annotations_of, dig

if TYPE_CHECKING:
    from kaitoctl.kaito.settings import Settings


class ImageGeneration(NamedTuple):
    """One row.

    Args:
        name: as in `--kaito-version`.
        release: the KAITO release whose objects are made.
        base_image: name and tag of the image that serves every model; empty where each preset has its own.
        runtime: the server that runs unless the annotation says otherwise.
        probe_path: where the server answers, on port 5000.
        workload: the kind of a model that one node holds.
        starts: what the command line of each runtime starts with; empty where the catalog says it per preset.
        is_pinned_only: whether a new Workspace is made in it only when it is asked for.
    """

    name: str
    release: str
    base_image: str
    runtime: str
    probe_path: str
    workload: Kind
    starts: Mapping[str, str] = MappingProxyType({})
    is_pinned_only: bool = False

    @property
    def has_models(self) -> bool:
        """Whether it serves Hugging Face models, which one image downloads, and no presets' own images."""
        return bool(self.base_image)


_CONFIGURED = "v0.4.6"

_BY_RUNTIME = MappingProxyType(
    {
        "vllm": "python3 /workspace/vllm/inference_api.py",
        "transformers": "accelerate launch --gpu_ids=all --machine_rank=0 --num_machines=1 --num_processes=1 "
        "/workspace/tfs/inference_api.py",
    }
)

IMAGE_GENERATIONS: Mapping[str, ImageGeneration] = MappingProxyType(
    {
        row.name: row
        for row in (
            # Up to v0.4 our controller serves with transformers where KAITO v0.4 takes vLLM (docs/adr/0005).
            ImageGeneration("v0.3", "v0.3.2", "", "transformers", "/healthz", DEPLOYMENT),
            ImageGeneration("v0.4", "v0.4.0", "", "transformers", "/health", DEPLOYMENT),
            # The others serve all that it serves; it is here for the clusters that have it.
            ImageGeneration(_CONFIGURED, "v0.4.6", "", "vllm", "/health", DEPLOYMENT, _BY_RUNTIME, True),
            ImageGeneration(
                "v0.12", "v0.12.0", "kaito-base:0.5.0", "vllm", "/health", STATEFUL_SET, _BY_RUNTIME
            ),
        )
    }
)
"""All generations, oldest first."""

MADE_IN = "kaitoctl.dev/kaito-generation"
"""The note on a workload of our controller: the generation in which it is made."""

_OF_TEMPLATES = catalog.DEFAULT_GENERATION
_NEWEST = "v0.12"


def image_generation_of(
    workspace: Object, known: Catalog, *, pinned: str = "", running: Object | None = None
) -> ImageGeneration | None:
    """The generation that a Workspace is made in: the newest that has its preset, unless one is pinned.

    Of a preset that several have, the newest that does all that is asked: strengths of adapters are not known
    to vLLM, nor private images from v0.12 on.

    Args:
        workspace: the Workspace.
        known: where presets and models are looked up.
        pinned: the name of a generation that is made whatever else there is; empty for none.
        running: the workload that there is; it keeps its generation while that has the preset, since another
            one is another server with another API.

    Returns:
        None when no generation, or not the pinned one, has the preset.
    """
    name = _preset_name(workspace)
    if not name and workspace.get("tuning"):
        return None
    if not name:
        return IMAGE_GENERATIONS[pinned or _OF_TEMPLATES]
    having = _shipped_generations(name) if known is catalog.SHIPPED else _having(name, known)
    if pinned and (IMAGE_GENERATIONS[pinned] in having or not known.is_local(name)):
        row = IMAGE_GENERATIONS[pinned]
        return row if row in having else None
    if running is not None and len(having) > 1:
        having = _made_in(running, having, name, known)
    elif len(having) > 1:
        having = tuple(row for row in having if not row.is_pinned_only) or having
        newest_first = (row for row in reversed(having) if _does_as_asked(workspace, row))
        return next(newest_first, having[-1])
    return having[-1] if having else None


def _does_as_asked(workspace: Object, row: ImageGeneration) -> bool:
    """Whether a generation does what the Workspace asks beside its preset: strengths, an image of its own."""
    preset = dig(workspace, "inference", "preset") or {}
    if row.has_models and preset.get("accessMode") == "private":
        return False
    adapters = dig(workspace, "inference", "adapters") or ()
    return runtime_of(workspace, row) != "vllm" or not any(item.get("strength") for item in adapters)


def with_image_generation(
    workspace: Object, settings: Settings, *, running: Object | None = None
) -> Settings:
    """The settings with the generation of the Workspace in them: what everything else here goes by."""
    name = settings.image_generation
    # Every pinned generation serves a preset of ours, which needs no image.
    if name and (name == _OF_TEMPLATES or not settings.catalog.is_local(_preset_name(workspace))):
        return settings
    found = image_generation_of(
        workspace, settings.catalog, pinned=settings.image_generation, running=running
    )
    return _pin(settings, found.name if found else of_unsized(workspace) or _OF_TEMPLATES)


def of_unsized(workspace: Object) -> str:
    """The generation that makes a model of Hugging Face which no catalog has, if any does; else empty."""
    name = _preset_name(workspace)
    return _NEWEST if name.count("/") == 1 and all(name.split("/")) and not workspace.get("tuning") else ""


@lru_cache(maxsize=64)
def _pin(settings: Settings, name: str) -> Settings:
    return replace(settings, image_generation=name)


def model_of(workspace: Object, settings: Settings) -> Model | None:
    """The Hugging Face model that a Workspace serves or tunes; None in a generation without."""
    if settings.image_generation and not IMAGE_GENERATIONS[settings.image_generation].base_image:
        return None
    found = image_generation_of(workspace, settings.catalog, pinned=settings.image_generation)
    if found is None or not found.base_image:
        return None
    name = _preset_name(workspace)
    return settings.catalog.model(name) if name else None


def preset_of(workspace: Object, settings: Settings) -> Preset | None:
    """The Workspace's inference preset with images of its own, None when there is none or nobody knows it.

    Its figures and image are those of the settings' generation; without one, those that presets share.
    """
    name, known = str(dig(workspace, "inference", "preset", "name") or ""), settings.catalog
    return (
        known.preset_in(name, settings.image_generation) if settings.image_generation else None
    ) or known.preset(name)


def runtime_of(workspace: Object, generation: ImageGeneration = IMAGE_GENERATIONS[_OF_TEMPLATES]) -> str:
    """Which server runs in the image."""
    return runtime_named(annotations_of(workspace).get(api.ANNOTATION_RUNTIME) or "", generation)


def runtime_named(asked: str, generation: ImageGeneration) -> str:
    """The server that an annotation asks for; from v0.4.6 on what it does not know is the default."""
    if generation.starts:
        return asked if asked in generation.starts else generation.runtime
    return asked or generation.runtime


def with_running_runtime(workspace: Object, generation: ImageGeneration, running: Object | None) -> Object:
    """The Workspace as one that asks for the server that it runs on already, where it asks for none.

    Another server has another HTTP API, and KAITO's default is not ours in every generation.
    """
    if running is None or api.ANNOTATION_RUNTIME in annotations_of(workspace):
        return workspace
    line = " ".join(map(str, dig(running, "spec", "template", "spec", "containers", 0, "command") or ()))
    if "inference_api.py" not in line:
        return workspace
    runs = "vllm" if "vllm/inference_api.py" in line else "transformers"
    if runs == generation.runtime:
        return workspace
    metadata = workspace["metadata"]
    annotations = {**annotations_of(workspace), api.ANNOTATION_RUNTIME: runs}
    return {**workspace, "metadata": {**metadata, "annotations": annotations}}


def base_image(generation: ImageGeneration, settings: Settings) -> str:
    """The reference of the image that serves every model of a generation."""
    return f"{settings.registry.rstrip('/')}/{generation.base_image}"


def _preset_name(workspace: Object) -> str:
    preset = (workspace.get("tuning") or workspace.get("inference") or {}).get("preset") or {}
    return str(preset.get("name") or "")


def _having(name: str, known: Catalog) -> tuple[ImageGeneration, ...]:
    return tuple(row for row in IMAGE_GENERATIONS.values() if _has(row, name, known))


@lru_cache(maxsize=1024)
def _shipped_generations(name: str) -> tuple[ImageGeneration, ...]:
    """The generations that have a shipped preset; every pass over every Workspace asks."""
    return _having(name, catalog.SHIPPED)


def _has(row: ImageGeneration, name: str, known: Catalog) -> bool:
    if row.has_models:
        return known.model(name) is not None
    return known.preset_in(name, row.name) is not None


def _made_in(
    workload: Object, having: tuple[ImageGeneration, ...], name: str, known: Catalog
) -> tuple[ImageGeneration, ...]:
    """Those of the generations that a running workload can be of, by the firmest sign that there is.

    A published image is the firmest: KAITO's own controller may have changed the pods since ours wrote its
    note. Private images and renamed mirrors say nothing, but the kind of the workload and its probes do.
    """
    images, note = _images_of(workload), annotations_of(workload).get(MADE_IN)
    having = tuple(row for row in having if _is_published(images, row, name, known)) or having
    having = tuple(row for row in having if row.name == note) or having
    if len(having) == 1:  # whatever else is looked at leaves one
        return having
    is_stateful, paths = _is_stateful(workload), _probed_at(workload)
    has_config = _has_config(workload)
    for fits in (
        lambda row: _is_set(row, name, known) == is_stateful,
        lambda row: row.has_models or has_config == (row.name == _CONFIGURED),
        lambda row: row.probe_path in paths,
    ):
        having = tuple(filter(fits, having)) or having
    return having


def _images_of(workload: Object) -> set[str]:
    """Name and tag of the images that a workload runs, from whatever registry."""
    return {str(item.get("image") or "").rpartition("/")[2] for item in _containers(workload)}


def _is_published(images: set[str], row: ImageGeneration, name: str, known: Catalog) -> bool:
    """Whether one of the images is that which KAITO publishes for the generation."""
    if row.base_image:
        base = row.base_image.partition(":")[0]
        return any(image.partition(":")[0] == base for image in images)
    preset = known.preset_in(name, row.name)
    published = preset.image(row.name) if preset else None
    return published is not None and published.rpartition("/")[2] in images


def _is_set(row: ImageGeneration, name: str, known: Catalog) -> bool:
    """Whether the generation makes a StatefulSet of a preset, and no Deployment."""
    preset = None if row.has_models else known.preset_in(name, row.name)
    return row.workload == STATEFUL_SET or (preset is not None and preset.distributed)


def _is_stateful(workload: Object) -> bool:
    """Whether it is a StatefulSet; an item of a list does not say its kind."""
    kind = workload.get("kind")
    return kind == STATEFUL_SET.kind if kind else dig(workload, "spec", "serviceName") is not None


def _has_config(workload: Object) -> bool:
    """Whether its pods have a configuration, which those of v0.4.6 always have."""
    volumes = dig(workload, "spec", "template", "spec", "volumes") or ()
    return any(item.get("name") == "config-volume" for item in volumes)


def _probed_at(workload: Object) -> set[str]:
    probes = ("livenessProbe", "readinessProbe", "startupProbe")
    return {str(dig(item, probe, "httpGet", "path")) for item in _containers(workload) for probe in probes}


def _containers(workload: Object) -> list[Object]:
    return list(dig(workload, "spec", "template", "spec", "containers") or ())
