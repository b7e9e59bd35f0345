"""The presets, models and GPU instance types that KAITO knows, looked up by name.

The figures live in `tables/*.json`, one row per line, each with its source; JSON, because it loads in
under a millisecond. Slips of the sources are corrected there and say so in their `note`. What follows
from the figures is decided elsewhere: `fit` (what runs where), `validation`, `desired` (which command).

KAITO up to v0.4 has *presets*, built into images, with requirements written down. KAITO v0.12 has *models*
of Hugging Face, whose requirements it estimates from their size; an *alias* is a preset's name for one.
`Catalog` is what ships with us plus the rows of a user's own file (`catalog_file` reads it): a value that
commands hand on, within the settings, rules or snapshot that they make. A table is read when something of it
is asked for first; its rows are named tuples, whose classes Python makes in a third of a data class' time.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from msgspec import Struct, field

from kaitoctl.kaito import preset_tables

DEFAULT_GENERATION = "v0.4"
"""The image generation that a Workspace runs unless told otherwise."""

DEFAULT_REGISTRY = "mcr.microsoft.com/aks/kaito"
"""Where the public preset images live (the default of KAITO's chart)."""

LOCAL_REGISTRY = "localhost/kaitoctl"
"""Where the images of local presets would live: no registry of anybody's, as podman names local images."""

TARGETS: Mapping[str, str] = MappingProxyType({"v0.3": "v0.3.2", "v0.4": "v0.4.0", "v0.12": "v0.12"})
"""The KAITO versions that can be asked about, and what the tables call each."""

_TABLES = Path(__file__).parent / "tables"
_NODES_COME_UP_S = 600.0


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


class PresetImage(NamedTuple):
    """What one generation of KAITO runs for a preset.

    Args:
        name: `v0.3`, `v0.4` or `v0.4.6`.
        tag: the public image's tag, None when users bring their own image.
        probe_path: where the server answers that it is healthy, on port 5000.
        transformers: the Hugging Face (or torchrun) runtime.
        vllm: the vLLM runtime, None when this generation has none for the preset.
        tensor_parallel: whether vLLM is told to spread the model over all GPUs of a node.
        source: where the figures are from.
        lora: whether vLLM loads adapters, in a generation whose vLLM does.
        downloads: whether the image is one without weights, which are downloaded with a token.
    """

    name: str
    tag: str | None
    probe_path: str
    transformers: Runtime
    vllm: Runtime | None
    tensor_parallel: bool
    source: str
    lora: bool = True
    downloads: bool = False


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
        local_model: for a preset of ours, which KAITO does not know: the model of this machine behind it.
    """

    name: str
    family: str
    access_mode: str
    disk: str
    gpu_count: int
    total_gpu_memory_gib: float
    per_gpu_memory_gib: int
    distributed: bool
    world_size: int
    tuning: bool
    readiness_timeout_s: int
    images: Mapping[str, PresetImage]
    note: str
    source: str
    local_model: str = ""

    def image(self, generation: str = DEFAULT_GENERATION, registry: str = DEFAULT_REGISTRY) -> str | None:
        """The published image's reference, or None: a private preset, or one this generation lacks."""
        published = self.images.get(generation)
        if published is None or published.tag is None:
            return None
        registry = LOCAL_REGISTRY if self.local_model else registry.rstrip("/")
        return f"{registry}/kaito-{'base' if published.downloads else self.name}:{published.tag}"


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
        overhead: what KAITO's estimator reckons that the server takes beside the weights, as a share of them.
        one_gpu: whether it must fit on one GPU, as models whose heads no number of GPUs can share.
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
    overhead: float = 0.05
    one_gpu: bool = False
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
    """All of KAITO's presets by name, in the order of the table. Guarantee: immutable."""
    return MappingProxyType(_presets("presets.json"))


@cache
def _with_local() -> Mapping[str, Preset]:
    """KAITO's presets, and ours: models of this machine, for the sandbox."""
    return MappingProxyType({**presets(), **_presets("local_presets.json")})


def _presets(file: str) -> dict[str, Preset]:
    return {row["name"]: preset_from(row) for row in preset_tables.rows(_TABLES / file)}


def preset_from(row: Mapping[str, Any]) -> Preset:
    """The preset that a row describes, its images by generation and their runtimes written out."""

    def runtime(row: Mapping[str, Any]) -> Runtime:
        maps = ("launcher", "rendezvous", "parameters")
        return Runtime(**{**row, **{key: MappingProxyType(row[key]) for key in maps}})

    def image(name: str, row: Mapping[str, Any]) -> PresetImage:
        runtimes = {
            "transformers": runtime(row["transformers"]),
            "vllm": row["vllm"] and runtime(row["vllm"]),
        }
        return PresetImage(**{**row, **runtimes, "name": name})

    images = {name: image(name, below) for name, below in row["images"].items()}
    return Preset(**{**row, "images": MappingProxyType(images)})


@cache
def presets_of_v0_4_6() -> Mapping[str, Preset]:
    """The presets of KAITO v0.4.6 by name: images of their own, or one that downloads. Guarantee: immutable.

    It is the only generation of theirs, so they stand in a table of their own.
    """
    rows = preset_tables.rows_of_v0_4_6(_TABLES / "presets_v0_4_6.json")
    return MappingProxyType(
        {row["name"]: preset_from({k: row[k] for k in Preset._fields if k in row}) for row in rows}
    )


@cache
def models() -> Mapping[str, Model]:
    """All models of KAITO v0.12 by id in lower case, in the order of the table. Guarantee: immutable."""
    table = json.loads((_TABLES / "models_v0_12.json").read_text("utf-8"))
    return MappingProxyType({row["id"].lower(): model_of(row) for row in table})


@cache
def _ids_by_alias() -> Mapping[str, str]:
    """The id, in lower case, that each alias of a shipped model stands for; the first one counts."""
    pairs = [(alias.lower(), key) for key, item in models().items() for alias in item.aliases]
    return MappingProxyType(dict(reversed(pairs)))


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


_WITHOUT_GPU = re.compile(
    r"(?i)standard_(?!n)[a-z]{1,2}\d|(?:[tmcrxzidah]|hpc|im|is|u)-?\d{1,2}(?:tb\d)?[a-z-]{0,8}\.\w"
)


class Catalog(Struct, frozen=True, eq=False):
    """What ships with us, and over it the rows of a user's own file.

    Args:
        own_presets: by name; a shipped preset of the same name is hidden.
        own_models: by id in lower case, likewise.
        own_instance_types: by name, likewise.

    Guarantee: never changes, and equals nothing but itself; shipped tables are read when first asked for.
    """

    own_presets: Mapping[str, Preset] = field(default_factory=lambda: MappingProxyType({}))
    own_models: Mapping[str, Model] = field(default_factory=lambda: MappingProxyType({}))
    own_instance_types: Mapping[str, InstanceType] = field(default_factory=lambda: MappingProxyType({}))

    def __deepcopy__(self, memo: object) -> Catalog:
        return self  # it never changes

    @property
    def presets(self) -> Mapping[str, Preset]:
        """All presets by name."""
        return MappingProxyType({**_with_local(), **self.own_presets}) if self.own_presets else _with_local()

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

    def preset_in(self, name: str, generation: str) -> Preset | None:
        """The preset of this very name with its image of a generation, or None where it has none."""
        found = self.presets.get(name)
        if generation == "v0.4.6" and name not in self.own_presets:
            found = presets_of_v0_4_6().get(name)
        return found if found is not None and generation in found.images else None

    def is_local(self, name: str) -> bool:
        """Whether a preset is one of ours, a model of this machine: KAITO does not know it."""
        return bool((found := self.presets.get(name)) and found.local_model)

    @staticmethod
    def is_without_gpu(name: str) -> bool:
        """Whether the name of an instance type says that it has no GPU.

        Source: Azure's families but N (learn.microsoft.com/azure/virtual-machines/vm-naming-conventions);
        EC2's general, compute, memory and storage families (docs.aws.amazon.com/ec2/latest/instancetypes).
        """
        return _WITHOUT_GPU.match(name[:80]) is not None

    def instance_type(self, name: str) -> InstanceType | None:
        """The instance type of this very name (KAITO compares with case), or None."""
        return self.instance_types.get(name)

    def machine(self, label: str) -> InstanceType | None:
        """The instance type that a node's label names, in any case: a cloud knows one machine of the name."""
        return self.instance_types.get(label) or _by_lower_case(self).get(label.lower())

    def model(self, name: str) -> Model | None:
        """The model that a Hugging Face id or a legacy alias names, in any case, or None."""
        wanted = name.lower()
        everything = self.models
        if found := everything.get(wanted):
            return found
        shipped = everything.get(_ids_by_alias().get(wanted, ""))
        candidates = (*([shipped] if shipped else ()), *self.own_models.values())
        return next((item for item in candidates if wanted in map(str.lower, item.aliases)), None)

    def readiness_s(self, name: str) -> float:
        """Seconds from start to ready that a preset or model may take; half an hour when nobody knows it."""
        found = (self.preset(name) or self.model(name)) if name else None
        return float(found.readiness_timeout_s if found else 1800)

    def from_nothing_s(self, name: str) -> float:
        """Seconds from asking for nodes to ready that a preset or model may take."""
        return _NODES_COME_UP_S + self.readiness_s(name)

    def model_names(self) -> list[str]:
        """Every id and alias by which `model` finds something."""
        return [name for item in self.models.values() for name in (*item.aliases, item.id)]


@cache
def _by_lower_case(known: Catalog) -> Mapping[str, InstanceType]:
    """The instance types by their names in lower case; the first of a name counts."""
    return {name.lower(): item for name, item in reversed(list(known.instance_types.items()))}


SHIPPED = Catalog()
"""What ships with us, and nothing more."""


def close_matches(name: str, known: Iterable[str]) -> list[str]:
    """At most three of the known names that `name` was probably meant to be, best first.

    Case, what joins words and what stands before a slash do not count; a beginning is as good as a likeness.
    """
    # Nobody means "phi-2" by a megabyte of text, and comparing one takes seconds.
    wanted = name.casefold()[:253]
    by_folded = {candidate.casefold(): candidate for candidate in known}
    if "/" not in wanted:
        for folded, meant in list(by_folded.items()):
            by_folded.setdefault(folded.rpartition("/")[2], meant)
    plain = re.sub("[-._ ]", "", wanted)
    begun = [one for one in by_folded if len(plain) > 2 and re.sub("[-._ ]", "", one).startswith(plain)]
    ranked = dict.fromkeys([*begun, *get_close_matches(wanted, by_folded, n=3, cutoff=0.6)])
    return list(dict.fromkeys(by_folded[candidate] for candidate in ranked))[:3]
