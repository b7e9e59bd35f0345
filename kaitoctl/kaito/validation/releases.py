"""KAITO's releases, as far as their admission differs: a row each, and what each has in its tables.

Five releases were measured: their admission was asked on a real control plane (`RELEASES`). Of the minor
releases between, what they changed was read in their source, and the rest is that of the measured one which
they are nearest to (`READ`). A new release is a new row, and its presets and instance types in
`tables/releases.json` where the catalog does not have them.

Source: KAITO v0.3.2, v0.4.0, v0.4.6, v0.9.4 and v0.12.0: `api/*/workspace_validation.go`,
`api/*/inference_config_validation.go`, `config/crd/bases/kaito.sh_workspaces.yaml`, `pkg/sku`,
`presets/workspace/models`; and, read alone, the same files of v0.4.5, v0.5.0, v0.6.0, v0.7.0, v0.8.0,
v0.10.0 and v0.11.0. Kubernetes: `AKS_K8S_VERSION` of its Makefile, docs/Release_Management.md (what is
supported at the time), kubernetes.io/releases.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec import Struct, structs

from kaitoctl.kaito.catalog import presets_of_v0_4_6

if TYPE_CHECKING:
    from kaitoctl.kaito.catalog import Catalog, Preset

V1ALPHA1, V1BETA1 = "kaito.sh/v1alpha1", "kaito.sh/v1beta1"
_V100, _A100 = "Standard_NC12s_v3", "Standard_NC24ads_A100_v4"


class Release(Struct, frozen=True):
    """What the admission of one release does.

    Args:
        name: what `--target-version` calls it.
        measured: the release whose answers were measured.
        since: the first release that it stands for: its major, minor and patch numbers.
        image_generation: of its controller's rules for what is ignored: `v0.3`, `v0.4` or `v0.12`.
        versions: the API versions that it serves.
        default_types: the instance type that the CRD fills in, by API version.
        unknown_fields: fields of the shipped schema that its CRD does not have yet.
        is_name_checked: whether the name must be a DNS label.
        has_image_pattern: whether images of tuning and adapters need a slash and a tag, as up to v0.4.
        volumes: where a volume may stand: `none`, `tuning` or `all` (adapters, too).
        is_runtime_checked: whether adapters and strength are held against the runtime.
        has_vllm: whether vLLM is the default runtime.
        needs_transformers: whether v1beta1 refuses transformers for a model without parameters.
        tokens: what `modelAccessSecret` must be in v1beta1: `any`, `exact` (there when, and only when, the
            weights are downloaded), or `gated` (there for gated models, not there for images with weights).
        has_bypass: whether an annotation switches the check of resources off.
        memory: the check of resources: `preset` (GPUs, each GPU, total) or `weights`.
        is_weights_check_for_vllm: the API versions that check weights on vLLM, too.
        has_hub: whether any Hugging Face id is a preset.
        has_aliases: whether presets are aliases of Hugging Face models, whatever their case.
        is_type_folded: whether instance types are compared without case.
        has_image_family: whether the annotation for the nodes' image is checked.
        has_reserved: whether a selector of nothing but reserved labels is refused.
        counts_one_gpu: whether of a node of one's own only one GPU's memory is counted.
        has_own_nodes: whether nodes of one's own can be brought (`byo`).
        default_config: the API versions that read the chart's own ConfigMap when none is named.
        config_length: what an inference ConfigMap must say of max-model-len, by API version:
            `small` (there, for several GPUs below 20 GiB each), `shared` (for several nodes, too),
            `limit` (whole, and not beyond the model's).
        tuning_output: `one` (exactly one) or `some` (at least one) destination.
        are_urls_checked: whether addresses of data are looked at (v1beta1).
        modes: the annotations of the mode in which a model is served whose values are checked (v1beta1).
        has_node_class: whether the annotation for Karpenter's class of nodes is checked (v1beta1).
        has_streaming: whether the annotation against streaming cannot change while its gate is on (v1beta1).
        pod_types: the release of Kubernetes' Go types that its webhook decodes pods and volumes with.
        has_checked_sets: whether a v1beta1 InferenceSet is refused when the Workspace that it makes would be.
        kubernetes: the oldest minor release of Kubernetes 1 that it is made for: what its own tests run on,
            or what was supported when it came out, whichever is older.
        read: the release whose source was read, when that is another one than was measured.
        alpha_presets: what v1alpha1 does with presets: `fine`, `hub-crash` (ids crash), `crash` (all do).
    """

    name: str
    measured: str
    since: tuple[int, int, int]
    image_generation: str
    versions: tuple[str, ...] = (V1ALPHA1, V1BETA1)
    default_types: Mapping[str, str] | None = None
    unknown_fields: tuple[str, ...] = ()
    is_name_checked: bool = True
    has_image_pattern: bool = False
    volumes: str = "none"
    is_runtime_checked: bool = True
    has_vllm: bool = True
    needs_transformers: bool = False
    tokens: str = "any"
    has_bypass: bool = True
    memory: str = "preset"
    is_weights_check_for_vllm: tuple[str, ...] = ()
    has_hub: bool = False
    has_aliases: bool = False
    is_type_folded: bool = False
    has_image_family: bool = False
    has_reserved: bool = False
    counts_one_gpu: bool = False
    has_own_nodes: bool = False
    default_config: tuple[str, ...] = ()
    config_length: Mapping[str, str] | None = None
    tuning_output: str = "some"
    are_urls_checked: bool = False
    modes: tuple[str, ...] = ()
    has_node_class: bool = False
    has_streaming: bool = False
    alpha_presets: str = "fine"
    pod_types: str = "0.30"
    has_checked_sets: bool = False
    kubernetes: int = 29
    read: str = ""

    @property
    def version(self) -> str:
        """The release whose presets, instance types and checks it has."""
        return self.read or self.measured

    @property
    def table(self) -> str:
        """What `tables/releases.json` calls it."""
        return self.read.rpartition(".")[0] or self.name

    @property
    def has_own_sizes(self) -> bool:
        """Whether its own table says how large the weights of each model are."""
        return self.memory == "weights" and not self.has_aliases

    def dies_of(self, name: str) -> bool:
        """Whether its webhook crashes on a preset in v1alpha1."""
        return self.alpha_presets == "crash" or (self.alpha_presets == "hub-crash" and "/" in name)

    def default_type(self, api_version: str) -> str:
        """The instance type that leaving it out means; empty where there is none."""
        return (self.default_types or {}).get(api_version, "")


_PARTITION = "resource.partition"
_PERFORMANCE = "kaito.sh/performance-mode"
_CONFIG, _SECRET = "inference.config", "presetOptions.modelAccessSecret"

RELEASES: tuple[Release, ...] = (
    Release(
        "v0.3", "v0.3.2", (0, 3, 0), "v0.3", (V1ALPHA1,), {V1ALPHA1: _V100}, (_CONFIG, _PARTITION),
        is_name_checked=False, has_image_pattern=True, is_runtime_checked=False, has_vllm=False,
        has_bypass=False,
    ),
    Release(
        "v0.4", "v0.4.0", (0, 4, 0), "v0.4", (V1ALPHA1,), {V1ALPHA1: _V100}, (_CONFIG, _PARTITION),
        has_image_pattern=True, is_runtime_checked=False, has_bypass=False,
    ),
    Release(
        "v0.4.6", "v0.4.6", (0, 4, 5), "v0.4.6", default_types={V1ALPHA1: _A100, V1BETA1: _A100},
        unknown_fields=(_PARTITION,), tokens="exact", default_config=(V1ALPHA1, V1BETA1),
        config_length={V1ALPHA1: "small", V1BETA1: "small"}, kubernetes=30,
    ),
    Release(
        "v0.9", "v0.9.4", (0, 9, 0), "v0.9", default_types={V1ALPHA1: _A100}, unknown_fields=(_PARTITION,),
        volumes="tuning", tokens="gated", memory="weights", is_weights_check_for_vllm=(V1ALPHA1,),
        has_hub=True, has_image_family=True, has_own_nodes=True, default_config=(V1ALPHA1, V1BETA1),
        config_length={V1ALPHA1: "shared", V1BETA1: "limit"}, tuning_output="one", alpha_presets="hub-crash",
        counts_one_gpu=True, pod_types="0.34", kubernetes=32,
    ),
    Release(
        "v0.12", "v0.12.0", (0, 12, 0), "v0.12", default_types={V1ALPHA1: _A100}, volumes="all",
        needs_transformers=True, memory="weights", is_weights_check_for_vllm=(V1ALPHA1,),
        has_hub=True, has_aliases=True, is_type_folded=True, has_image_family=True, has_reserved=True,
        has_own_nodes=True, default_config=(V1ALPHA1,), config_length={V1ALPHA1: "shared", V1BETA1: "limit"},
        tuning_output="one", are_urls_checked=True, modes=(_PERFORMANCE, "kaito.sh/use-local-weights"),
        has_node_class=True, has_streaming=True, alpha_presets="crash", pod_types="0.35",
        has_checked_sets=True, kubernetes=33,
    ),
)  # fmt: skip
"""The measured releases in the order in which they came."""

_BY_NAME = {release.name: release for release in RELEASES}


def _read(release: str, nearest_to: str, **changed: Any) -> Release:
    """The row of a release that was read: that of the measured one, with what it does otherwise."""
    major, minor, patch = map(int, release.removeprefix("v").split("."))
    return structs.replace(_BY_NAME[nearest_to], read=release, since=(major, minor, patch), **changed)


_TUNING_VOLUMES: Mapping[str, Any] = {"volumes": "tuning", "tuning_output": "one"}

READ: tuple[Release, ...] = (
    _read("v0.5.0", "v0.4.6", **_TUNING_VOLUMES, config_length={V1ALPHA1: "shared", V1BETA1: "shared"}),
    _read(
        "v0.6.0", "v0.4.6", **_TUNING_VOLUMES, config_length={V1ALPHA1: "shared", V1BETA1: "shared"},
        pod_types="0.33",
    ),
    # Sizes are those of the weights from here on, and the context may be left out.
    _read(
        "v0.7.0", "v0.4.6", **_TUNING_VOLUMES, config_length={V1ALPHA1: "shared", V1BETA1: "limit"},
        memory="weights", is_weights_check_for_vllm=(V1ALPHA1,), pod_types="0.33", kubernetes=31,
    ),
    _read("v0.8.0", "v0.9", has_hub=False, has_image_family=False, alpha_presets="fine", kubernetes=31),
    _read("v0.10.0", "v0.9", volumes="all", is_type_folded=True, modes=(_PERFORMANCE,), kubernetes=33),
    _read(
        "v0.11.0", "v0.12", unknown_fields=(_PARTITION,), are_urls_checked=False, modes=(_PERFORMANCE,),
        has_node_class=False, has_checked_sets=False,
    ),
)  # fmt: skip
"""The releases between, whose source was read, in the order in which they came."""

IN_ORDER = sorted((*RELEASES, *READ), key=lambda release: release.since)
"""All of them."""
_VERSION = re.compile(r"v?(0|[1-9][0-9]{0,3})\.([0-9]{1,4})(?:\.([0-9]{1,4}))?(?:[-+][-+.0-9A-Za-z]{1,64})?")


def release_named(name: str) -> Release | None:
    """The row that a target is called after, None for kaitoctl's own controller."""
    return _BY_NAME.get(name)


def nearest(version: str) -> Release | None:
    """The row that a release such as `v0.9.4`, `0.11.0` or `v0.5` is judged by; None when it is none.

    A minor version alone, such as `v0.4`, is its first release where that has a row of its own.
    """
    if version in _BY_NAME:
        return _BY_NAME[version]
    found = _VERSION.fullmatch(version)
    if found is None:
        return None
    numbers = (int(found[1]), int(found[2]), int(found[3] or 0))
    return next((release for release in reversed(IN_ORDER) if release.since <= numbers), None)


def is_measured(version: str) -> bool:
    """Whether a release's answers were measured, rather than those of its neighbour."""
    plain = version if version.startswith("v") else f"v{version}"
    return plain in _BY_NAME or any(plain == release.measured for release in RELEASES)


def judged_as(version: str, release: Release) -> str:
    """What to say of a release that is judged by a row; empty when it is that very one."""
    if is_measured(version):
        return ""
    known = f", with what was read of {release.read}" if release.read else ""
    return f"judged as KAITO {release.measured}{known}"


# --- what a release has in its tables ----------------------------------------------------------------------


class ReleasePreset(NamedTuple):
    """A preset in the table of one release.

    Args:
        name: as the table has it.
        gpus: the least number of GPUs; 0 when it does not say.
        total_gib: the least GPU memory in total; 0 when it does not say.
        per_gpu_gib: the least memory of each GPU.
        weights_gib: the size of the weights; 0 when it does not say.
        context_limit: the most tokens; 0 when it does not say.
        has_lora: whether vLLM loads adapters for it.
        is_downloaded: whether the weights come from Hugging Face.
        is_gated: whether that takes a token.
        is_private: whether the image must be the user's own.
        has_transformers: whether the transformers runtime has parameters for it.
        tuning: whether it can be tuned.
        distributed: whether it can spread over several nodes.
        id: on Hugging Face, in lower case; empty when the table does not say.
    """

    name: str
    gpus: int = 0
    total_gib: float = 0
    per_gpu_gib: float = 0
    weights_gib: float = 0
    context_limit: int = 0
    has_lora: bool = True
    is_downloaded: bool = False
    is_gated: bool = False
    is_private: bool = False
    has_transformers: bool = True
    tuning: bool = False
    distributed: bool = False
    id: str = ""


class GpuType(NamedTuple):
    """An instance type in the table of one release: devices, and their memory together, of each node."""

    gpus: int
    memory_gib: int


def preset(release: Release, name: str, catalog: Catalog) -> ReleasePreset | None:
    """A preset in a release's own table, by its exact name, by its Hugging Face id, or by a folded alias."""
    if not name or len(name) > 253:
        return None
    if release.has_aliases:
        model = catalog.model(name)
        if model is None or (release.read and model.id.lower() in rows()[release.table]["without_models"]):
            return None
        return ReleasePreset(
            model.name, 1, 0, 0, model.weights_gib, model.context_limit, True, True, False, False,
            model.transformers is not None, model.tuning, model.distributed,
        )  # fmt: skip
    if release.image_generation == "v0.4.6" and not release.read:
        found = catalog.own_presets.get(name) or catalog.preset_in(name, release.image_generation)
        return None if found is None else _known_preset(found)
    if release.image_generation in ("v0.4.6", "v0.9"):
        own, table = catalog.own_presets.get(name), presets_of(release.table)
        is_id = "/" in name
        row = table.get(name.lower() if is_id else name) if release.has_hub or not is_id else None
        return row if own is None else ReleasePreset(own.name, own.gpu_count, own.total_gpu_memory_gib)
    known = catalog.presets.get(name)
    if known is None or known.local_model:
        return None
    if release.image_generation not in known.images and name not in catalog.own_presets:
        return None
    return _known_preset(known)


def _known_preset(preset: Preset) -> ReleasePreset:
    image = preset.images.get("v0.4.6")
    return ReleasePreset(
        preset.name, preset.gpu_count, preset.total_gpu_memory_gib, preset.per_gpu_memory_gib,
        has_lora=image is None or image.lora, is_downloaded=image is not None and image.downloads,
        is_private=preset.access_mode == "private", tuning=preset.tuning, distributed=preset.distributed,
    )  # fmt: skip


def is_preset_name(release: Release, name: str, catalog: Catalog) -> bool:
    """Whether a release takes a text for a preset's name, whether or not it knows the model."""
    if preset(release, name, catalog) is not None:
        return True
    owner, slash, rest = name.partition("/")
    return release.has_hub and bool(slash and owner and rest)


def preset_names(release: Release, catalog: Catalog) -> list[str]:
    """What to name when a preset is not known."""
    if release.has_aliases:
        return [name for name in catalog.model_names() if preset(release, name, catalog)]
    if release.image_generation == "v0.4.6" and not release.read:
        return [*catalog.own_presets, *presets_of_v0_4_6()]
    if release.image_generation in ("v0.4.6", "v0.9"):
        return [*catalog.own_presets, *(name for name in presets_of(release.table) if "/" not in name)]
    return [name for name in catalog.presets if preset(release, name, catalog)]


def as_of(target: str | None, known: Catalog) -> Catalog:
    """The catalog with the models of a release, by whose sizes its estimator counts nodes.

    KAITO v0.7 to v0.10 wrote sizes down, and not all are those that v0.12 reads at Hugging Face.

    Args:
        target: as `--target-version`; anything but these releases leaves the catalog as it is.
        known: the catalog.
    """
    release = nearest(target) if target else None
    if release is None or not release.has_own_sizes:
        return known
    return _sized(release.table, known)


@lru_cache(maxsize=16)
def _sized(table: str, known: Catalog) -> Catalog:
    from kaitoctl.kaito.validation import release_sizes  # most are judged by other releases

    row = rows()[table]
    return release_sizes.catalog_of(rows()[row.get("presets_of", table)]["presets"], row["source"], known)


def served_by(name: str, known: Catalog) -> list[str]:
    """The releases whose own tables have a preset or model, by their minor versions, oldest first."""
    return [one.table if one.read else one.name for one in IN_ORDER if preset(one, name, known) is not None]


def is_by_size(version: str) -> bool:
    """Whether a release goes by the size of the weights, and not by written requirements."""
    return (release := nearest(version)) is not None and release.memory == "weights"


def gpu_type(release: Release, name: str, cloud: str, catalog: Catalog) -> GpuType | None:
    """An instance type in a release's own table for a cloud, `azure` or `aws`."""
    own = catalog.own_instance_types.get(name)
    if own is not None:
        return GpuType(own.gpus, own.gpu_memory_gib)
    if release.name == "v0.3" and cloud != "azure":
        return None
    if (release.name, name) in _SLIPS:
        return _SLIPS[release.name, name]
    folded = name.lower() if release.is_type_folded else name
    if release.table in rows():
        types = _types(release.table, cloud)
        if release.is_type_folded:
            types = {written.lower(): figures for written, figures in types.items()}
        return GpuType(*types[folded]) if folded in types else None
    version = release.measured if release.image_generation != "v0.12" else "v0.12"
    for known in catalog.instance_types.values():
        written = known.name.lower() if release.is_type_folded else known.name
        if written == folded and known.cloud == cloud and version in known.versions:
            return GpuType(known.gpus, known.gpu_memory_gib)
    return None


_SLIPS: Mapping[tuple[str, str], GpuType | None] = {
    # The webhook of v0.3.2 has a table of its own, without these (api/v1alpha1/sku_config.go).
    **{
        ("v0.3", f"Standard_{name}"): None
        for name in ("ND96asr_A100_v4", "NG32ads_V620_v1", "NG32adms_V620_v1", "NV32as_v4")
    },
    # A tenth of the memory is missing there (pkg/sku/azure_sku_handler.go).
    ("v0.4", "Standard_ND96amsr_A100_v4"): GpuType(8, 80),
}
"""Where a release's own table differs from what is so."""


@cache
def rows() -> Mapping[str, Any]:
    """What `tables/releases.json` has of each release that the catalog has not."""
    table = Path(__file__).parent.parent / "tables" / "releases.json"
    rows: Mapping[str, Any] = json.loads(table.read_text("utf-8"))
    return rows


@cache
def _types(name: str, cloud: str) -> Mapping[str, list[int]]:
    """The instance types of a row: those of the release before, with what is new and without what is gone."""
    row = rows()[name]
    before = _types(row["types_of"], cloud) if "types_of" in row else {}
    found = {**before, **row.get("instance_types", {}).get(cloud, {})}
    return {kind: figures for kind, figures in found.items() if kind not in row.get("without_types", ())}


@cache
def presets_of(name: str) -> Mapping[str, ReleasePreset]:
    """The presets of a row by name, and by id where it says one."""
    if earlier := rows()[name].get("presets_of"):
        return presets_of(earlier)
    found: dict[str, ReleasePreset] = {}
    for row in rows()[name]["presets"]:
        written = {_FIELDS.get(key, key): value for key, value in row.items() if key not in _SIZES}
        known = ReleasePreset(**written, has_lora="no_lora" not in row)
        found |= dict.fromkeys((known.name, known.id or known.name), known)
    return found


_FIELDS = {"download": "is_downloaded", "gated": "is_gated"}
_SIZES = ("no_lora", "bytes_per_token", "disk", "one_gpu", "dtype")
