"""The presets, models and GPU instance types that KAITO knows, looked up by name.

The figures live in `tables/*.json`, one row per line, each with its source; JSON, because it loads in
under a millisecond. Slips of the sources are corrected there and say so in their `note`. What follows
from the figures is decided elsewhere: `fit` (what runs where), `validation`, `desired` (which command).

KAITO up to v0.4 has *presets*, built into images, with requirements written down. KAITO v0.12 has *models*
of Hugging Face, whose requirements it estimates from their size; an *alias* is a preset's name for one.
`Catalog` is what ships with us plus the rows of a user's own file (`catalog_file` reads it). A process goes
by one of them from beginning to end (`use`, `current`): `preset`, `model` and `instance_type` ask that one,
the plural functions what ships. A table is read when something of it is asked for first; its rows are named
tuples, whose classes Python makes in a third of a data class' time, for every command.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

DEFAULT_GENERATION = "v0.4"
"""The image generation that a Workspace runs unless told otherwise."""

DEFAULT_REGISTRY = "mcr.microsoft.com/aks/kaito"
"""Where the public preset images live (the default of KAITO's chart)."""

TARGETS: Mapping[str, str] = MappingProxyType({"v0.3": "v0.3.2", "v0.4": "v0.4.0", "v0.12": "v0.12"})
"""The KAITO versions that can be asked about, and what the tables call each."""

_TABLES = Path(__file__).parent / "tables"


class Runtime(NamedTuple):
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


class ImageGeneration(NamedTuple):
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


class Preset(NamedTuple):
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


class Model(NamedTuple):
    """A Hugging Face model in the catalog of KAITO v0.12, which serves it with vLLM.

    Args:
        name: the last part of the id in lower case; what the server calls itself.
        id: on Hugging Face, as its owner spells it.
        aliases: the short names that are presets' names, too; case does not count.
        license: as Hugging Face names it.
        task: the model card's pipeline tag, empty when it has none.
        architectures: of the model's configuration.
        weights_gib: size of the weights on disk.
        disk: a quantity, what a new node must offer.
        bytes_per_token: what one token takes in the key-value cache, over all layers.
        attention: `MHA`, `MQA`, `GQA` or `MLA`.
        context_limit: the most tokens that the model can look back on.
        quantization: the method, empty when the weights are not quantized.
        readiness_timeout_s: how long it may take from start to ready.
        vllm: the flags of the vLLM server that depend on the model; an empty value means `--key` alone.
        tool_call_parser: vLLM's parser of tool calls, empty when there is none.
        reasoning_parser: vLLM's parser of reasoning, empty when there is none.
        chat_template: file name of the chat template that is set, else empty.
        distributed: whether it can spread over several nodes.
        tuning_disk: the disk that tuning wants; empty when the model cannot be tuned.
        transformers: the flags of the transformers runtime; None when it does not run there.
        gated: whether Hugging Face wants its terms accepted first, so that a token is needed.
        cuda_toolkit: whether the server compiles kernels at its start.
        kv_cache_offload: whether parts of the key-value cache may move to the CPU's memory.
        pinned: the commit that KAITO's table names (and that vLLM does not use), empty when it names none.
        note: a correction or a catch, else empty.
        source: where the figures are from.
    """

    name: str
    id: str
    weights_gib: float
    bytes_per_token: int
    context_limit: int
    disk: str
    source: str
    aliases: tuple[str, ...] = ()
    license: str = ""
    task: str = ""
    architectures: tuple[str, ...] = ()
    attention: str = ""
    quantization: str = ""
    readiness_timeout_s: int = 1800
    vllm: Mapping[str, str] = MappingProxyType({})
    tool_call_parser: str = ""
    reasoning_parser: str = ""
    chat_template: str = ""
    distributed: bool = True
    tuning_disk: str = ""
    transformers: Mapping[str, str] | None = None
    gated: bool = False
    cuda_toolkit: bool = False
    kv_cache_offload: bool = True
    pinned: str = ""
    note: str = ""

    @property
    def preset_name(self) -> str:
        """What a Workspace writes as `preset.name`: the short name where there is one."""
        return self.aliases[0] if self.aliases else self.id.lower()

    @property
    def tuning(self) -> bool:
        """Whether it can be tuned."""
        return bool(self.tuning_disk)


class InstanceType(NamedTuple):
    """A cloud's machine type with GPUs.

    Args:
        name: as in the node label `node.kubernetes.io/instance-type`; exact case.
        cloud: `azure`, `aws` or `arc` (Azure Arc: machines of one's own).
        gpus: devices per node.
        gpu_memory_gib: over all devices of a node.
        gpu_model: maker and model.
        gpu_resource: the extended resource by which a node offers them; empty when they are not GPUs.
        versions: the KAITO versions whose tables have it.
        source: where the figures are from.
        arch: the node's `kubernetes.io/arch`.
        exists: False for a name that KAITO's tables have and the cloud has not.
        nvme: whether nodes have fast local disks, which then hold the weights; None when not known.
        cuda_capability: the devices' compute capability, such as `8.0`; empty when not known or not CUDA.
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
    nvme: bool | None = None
    cuda_capability: str = ""
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

    def runtime(row: dict[str, Any] | None) -> dict[str, Any] | None:
        if row is None:
            return None
        return {**launchers[row["launcher"]], **{key: row[key] for key in ("main_file", "parameters")}}

    def image(name: str, row: dict[str, Any]) -> dict[str, Any]:
        runtimes = {"transformers": runtime(row["transformers"]), "vllm": runtime(row["vllm"])}
        return {**generations[name], **row, **runtimes}

    return MappingProxyType(
        {
            row["name"]: preset_of(
                {**row, "images": {name: image(name, below) for name, below in row["images"].items()}}
            )
            for row in table["presets"]
        }
    )


def preset_of(row: Mapping[str, Any]) -> Preset:
    """The preset that a row describes, its images by generation and their runtimes written out."""

    def runtime(row: Mapping[str, Any]) -> Runtime:
        maps = ("launcher", "rendezvous", "parameters")
        return Runtime(**{**row, **{key: MappingProxyType(row[key]) for key in maps}})

    def image(name: str, row: Mapping[str, Any]) -> ImageGeneration:
        runtimes = {
            "transformers": runtime(row["transformers"]),
            "vllm": row["vllm"] and runtime(row["vllm"]),
        }
        return ImageGeneration(**{**row, **runtimes, "name": name})

    images = {name: image(name, below) for name, below in row["images"].items()}
    return Preset(**{**row, "images": MappingProxyType(images)})


@cache
def models() -> Mapping[str, Model]:
    """All models of KAITO v0.12 by id in lower case, in the order of the table. Guarantee: immutable."""
    table = json.loads((_TABLES / "models_v0_12.json").read_text("utf-8"))
    return MappingProxyType({row["id"].lower(): model_of(row) for row in table})


def model_of(row: Mapping[str, Any]) -> Model:
    """The model that a row of a table describes."""
    frozen = {key: MappingProxyType(row[key]) for key in ("vllm", "transformers") if row.get(key) is not None}
    lists = {key: tuple(row[key]) for key in ("aliases", "architectures") if key in row}
    return Model(**{**row, **frozen, **lists})


@cache
def instance_types() -> Mapping[str, InstanceType]:
    """All instance types by name, in the order of the table. Guarantee: immutable."""
    table = json.loads((_TABLES / "instance_types.json").read_text("utf-8"))
    return MappingProxyType({row["name"]: instance_type_of(row) for row in table})


def instance_type_of(row: Mapping[str, Any]) -> InstanceType:
    """The instance type that a row of a table describes."""
    return InstanceType(**{**row, "versions": tuple(row["versions"])})


def preset(name: str) -> Preset | None:
    """The preset of this very name in the catalog in use, or None."""
    return current().preset(name)


def instance_type(name: str) -> InstanceType | None:
    """The instance type of this very name (KAITO compares with case) in the catalog in use, or None."""
    return current().instance_type(name)


def model(name: str) -> Model | None:
    """The model that a Hugging Face id or a legacy alias names in the catalog in use; case does not count."""
    return current().model(name)


@dataclass(frozen=True, slots=True)
class Catalog:
    """What ships with us, and over it the rows of a user's own file.

    Args:
        own_presets: by name; a shipped preset of the same name is hidden.
        own_models: by id in lower case, likewise.
        own_instance_types: by name, likewise.

    Guarantee: a value that never changes; shipped tables are read when first asked for.
    """

    own_presets: Mapping[str, Preset] = field(default_factory=lambda: MappingProxyType({}))
    own_models: Mapping[str, Model] = field(default_factory=lambda: MappingProxyType({}))
    own_instance_types: Mapping[str, InstanceType] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def presets(self) -> Mapping[str, Preset]:
        """All presets by name."""
        return MappingProxyType({**presets(), **self.own_presets}) if self.own_presets else presets()

    @property
    def models(self) -> Mapping[str, Model]:
        """All models of KAITO v0.12 by id in lower case."""
        return MappingProxyType({**models(), **self.own_models}) if self.own_models else models()

    @property
    def instance_types(self) -> Mapping[str, InstanceType]:
        """All instance types by name."""
        if not self.own_instance_types:
            return instance_types()
        return MappingProxyType({**instance_types(), **self.own_instance_types})

    def preset(self, name: str) -> Preset | None:
        """The preset of this very name, or None."""
        return self.presets.get(name)

    def instance_type(self, name: str) -> InstanceType | None:
        """The instance type of this very name, or None."""
        return self.instance_types.get(name)

    def model(self, name: str) -> Model | None:
        """The model that a Hugging Face id or a legacy alias names, in any case, or None."""
        wanted = name.lower()
        everything = self.models
        if found := everything.get(wanted):
            return found
        return next((item for item in everything.values() if wanted in map(str.lower, item.aliases)), None)

    def model_names(self) -> list[str]:
        """Every id and alias by which `model` finds something."""
        return [name for item in self.models.values() for name in (*item.aliases, item.id)]


SHIPPED = Catalog()
"""What ships with us, and nothing more."""

_in_use = [SHIPPED]


def current() -> Catalog:
    """The catalog that this process goes by: what ships, unless `use` was called."""
    return _in_use[-1]


def use(known: Catalog) -> None:
    """Make this the catalog that the process goes by. For its beginning: nothing is judged anew."""
    _in_use[:] = [known]


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
