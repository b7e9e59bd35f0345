"""The presets and GPU instance types that KAITO knows, looked up by name.

The figures live in `tables/*.json`, one row per line, each with its source; JSON, because it loads in
under a millisecond. Slips of the sources are corrected there and say so in their `note`. What follows
from the figures is decided elsewhere: `validation` (does it fit), `desired` (which command to run).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

DEFAULT_GENERATION = "v0.4"
"""The image generation that a Workspace runs unless told otherwise."""

DEFAULT_REGISTRY = "mcr.microsoft.com/aks/kaito"
"""Where the public preset images live (the default of KAITO's chart)."""

_TABLES = Path(__file__).parent / "tables"


@dataclass(frozen=True, slots=True)
class Runtime:
    """How an image serves its model.

    The command line is `base_command`, the flags of `launcher` and `rendezvous`, `main_file`, the flags of
    `parameters`. A flag with an empty value is written `--key`.

    Args:
        base_command: what the line starts with; may contain shell operators.
        launcher: flags of the process launcher.
        rendezvous: flags by which the processes of several nodes find each other.
        main_file: the script; relative to the image's working directory unless it starts with a slash.
        parameters: flags of the script.
    """

    base_command: str
    launcher: Mapping[str, str]
    rendezvous: Mapping[str, str]
    main_file: str
    parameters: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ImageGeneration:
    """What one generation of KAITO runs for a preset.

    Args:
        name: `v0.3` or `v0.4`.
        tag: the public image's tag, None when users bring their own image.
        probe_path: where the server answers that it is healthy, on port 5000.
        transformers: the Hugging Face (or torchrun) runtime.
        vllm: the vLLM runtime, None when this generation has none for the preset.
        tensor_parallel: whether vLLM is told to spread the model over all GPUs of a node.
        source: where the figures are from.
    """

    name: str
    tag: str | None
    probe_path: str
    transformers: Runtime
    vllm: Runtime | None
    tensor_parallel: bool
    source: str


@dataclass(frozen=True, slots=True)
class Preset:
    """A model that KAITO knows how to serve.

    Args:
        name: as in `inference.preset.name`; exact case.
        family: of the model.
        access_mode: `public`, or `private` when users bring the image.
        disk: a quantity, what a new node must offer.
        gpu_count: the least number of GPUs.
        total_gpu_memory_gib: the least GPU memory, over all GPUs; over all nodes when `distributed`.
        per_gpu_memory_gib: the least memory of each GPU, 0 when it does not matter.
        distributed: whether it can spread over several nodes.
        world_size: the number of processes of a distributed model, 0 when it has no such number.
        tuning: whether it can be tuned.
        readiness_timeout_s: how long it may take from start to ready.
        images: what each generation runs, by generation; a newer preset lacks the older ones.
        note: a correction or a catch, else empty.
        source: where the figures are from.
    """

    name: str
    family: str
    access_mode: str
    disk: str
    gpu_count: int
    total_gpu_memory_gib: int
    per_gpu_memory_gib: int
    distributed: bool
    world_size: int
    tuning: bool
    readiness_timeout_s: int
    images: Mapping[str, ImageGeneration]
    note: str
    source: str

    def image(self, generation: str = DEFAULT_GENERATION, registry: str = DEFAULT_REGISTRY) -> str | None:
        """The published image's reference, or None: a private preset, or one this generation lacks."""
        published = self.images.get(generation)
        if published is None or published.tag is None:
            return None
        return f"{registry.rstrip('/')}/kaito-{self.name}:{published.tag}"


@dataclass(frozen=True, slots=True)
class InstanceType:
    """A cloud's machine type with GPUs.

    Args:
        name: as in the node label `node.kubernetes.io/instance-type`; exact case.
        cloud: `azure` or `aws`.
        gpus: devices per node.
        gpu_memory_gib: over all devices of a node.
        gpu_model: maker and model.
        gpu_resource: the extended resource by which a node offers them; empty when they are not GPUs.
        versions: the KAITO versions whose tables have it.
        source: where the figures are from.
        arch: the node's `kubernetes.io/arch`.
        exists: False for a name that KAITO's tables have and the cloud has not.
        note: a correction or a catch, else empty.
    """

    name: str
    cloud: str
    gpus: int
    gpu_memory_gib: int
    gpu_model: str
    gpu_resource: str
    versions: tuple[str, ...]
    source: str
    arch: str = "amd64"
    exists: bool = True
    note: str = ""

    @property
    def gpu_memory_per_gpu_gib(self) -> int:
        """Memory of one device."""
        return self.gpu_memory_gib // self.gpus


@cache
def presets() -> Mapping[str, Preset]:
    """All presets by name, in the order of the table. Guarantee: immutable."""
    table = json.loads((_TABLES / "presets.json").read_text("utf-8"))
    launchers, generations = table["launchers"], table["generations"]

    def runtime(row: dict[str, Any] | None) -> Runtime | None:
        if row is None:
            return None
        launcher = launchers[row["launcher"]]
        return Runtime(
            base_command=launcher["base_command"],
            launcher=MappingProxyType(launcher["launcher"]),
            rendezvous=MappingProxyType(launcher["rendezvous"]),
            main_file=row["main_file"],
            parameters=MappingProxyType(row["parameters"]),
        )

    def generation(name: str, row: dict[str, Any]) -> ImageGeneration:
        transformers = runtime(row["transformers"])
        assert transformers is not None, "every row of the table has it"
        shared = generations[name]
        return ImageGeneration(
            name=name,
            tag=row["tag"],
            probe_path=shared["probe_path"],
            transformers=transformers,
            vllm=runtime(row["vllm"]),
            tensor_parallel=row["tensor_parallel"],
            source=shared["source"],
        )

    return MappingProxyType(
        {
            row["name"]: Preset(
                **{
                    **row,
                    "images": MappingProxyType(
                        {name: generation(name, image) for name, image in row["images"].items()}
                    ),
                }
            )
            for row in table["presets"]
        }
    )


@cache
def instance_types() -> Mapping[str, InstanceType]:
    """All instance types by name, in the order of the table. Guarantee: immutable."""
    table = json.loads((_TABLES / "instance_types.json").read_text("utf-8"))
    return MappingProxyType(
        {row["name"]: InstanceType(**{**row, "versions": tuple(row["versions"])}) for row in table}
    )


def preset(name: str) -> Preset | None:
    """The preset of this very name, or None."""
    return presets().get(name)


def instance_type(name: str) -> InstanceType | None:
    """The instance type of this very name (KAITO compares with case), or None."""
    return instance_types().get(name)


def close_matches(name: str, known: Iterable[str]) -> list[str]:
    """At most three of the known names that `name` was probably meant to be, best first.

    Case does not count, and the beginning of a name is as good as a likeness.
    """
    # Nobody means "phi-2" by a megabyte of text, and comparing one takes seconds.
    wanted = name.casefold()[:253]
    by_folded = {candidate.casefold(): candidate for candidate in known}
    begun = [candidate for candidate in by_folded if len(wanted) >= 3 and candidate.startswith(wanted)]
    ranked = dict.fromkeys([*begun, *get_close_matches(wanted, by_folded, n=3, cutoff=0.6)])
    return [by_folded[candidate] for candidate in ranked][:3]
