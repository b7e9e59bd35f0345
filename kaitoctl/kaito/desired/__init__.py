"""Workspace -> the objects that should exist for it. Pure and deterministic: same input, same bytes.

What KAITO names, we name alike (workload, Services, labels, ports, paths, flags); where its v0.3.2,
v0.4.0 and v0.12.0 controllers err, we differ (docs/adr/0005).

`workload_kind` decides between Deployment, StatefulSet and Job. A Workspace is made in one image generation
(`kaito.image_generations`): the newest that has its preset, unless one is pinned. Up to v0.4 a preset runs in
an image of its own (`preset_images`), in v0.4.6 with a configuration (`configured_images`), and from v0.12 on
every model in the same image (`model_server`). Custom pods (`custom_pods`) and tuning (`tuning_job`) are
alike in all.
"""

from kaitoctl.kaito.desired.adapters import pull_secrets, strength_of
from kaitoctl.kaito.desired.children import PORT, child_object, headless_name, literal, pod_labels
from kaitoctl.kaito.desired.configured_images import config_name
from kaitoctl.kaito.desired.placement import node_affinity
from kaitoctl.kaito.desired.preset_images import strengths_name
from kaitoctl.kaito.desired.sizes import is_counted, shape_of, target_nodes, with_node_count
from kaitoctl.kaito.desired.volumes import ADAPTER_PATH, ADAPTER_VOLUME, SHARED_MEMORY_PATH
from kaitoctl.kaito.desired.workload_kind import desired, refusal, size_unknown
from kaitoctl.kaito.image_generations import (
    IMAGE_GENERATIONS,
    MADE_IN,
    ImageGeneration,
    image_generation_of,
    model_of,
    preset_of,
    runtime_of,
    with_image_generation,
    with_running_runtime,
)
from kaitoctl.kaito.settings import Settings

__all__ = [
    "ADAPTER_PATH",
    "ADAPTER_VOLUME",
    "IMAGE_GENERATIONS",
    "MADE_IN",
    "PORT",
    "SHARED_MEMORY_PATH",
    "ImageGeneration",
    "Settings",
    "child_object",
    "config_name",
    "desired",
    "headless_name",
    "image_generation_of",
    "is_counted",
    "literal",
    "model_of",
    "node_affinity",
    "pod_labels",
    "preset_of",
    "pull_secrets",
    "refusal",
    "runtime_of",
    "shape_of",
    "size_unknown",
    "strength_of",
    "strengths_name",
    "target_nodes",
    "with_image_generation",
    "with_node_count",
    "with_running_runtime",
]
