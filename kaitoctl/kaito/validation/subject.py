"""One Workspace in one setting: the answers that several rules need, each found once."""

from __future__ import annotations

from functools import cached_property

from kaitoctl.kaito import image_generations, own_nodes
from kaitoctl.kaito.api import ANNOTATION_RUNTIME, DEFAULT_INSTANCE_TYPE, GPU, WORKSPACE_V1BETA1
from kaitoctl.kaito.catalog import InstanceType, Model, Preset
from kaitoctl.kaito.image_generations import ImageGeneration
from kaitoctl.kaito.own_nodes import Flaw, Hardware
from kaitoctl.kaito.validation import releases
from kaitoctl.kaito.validation.problem import OWN, Setting, as_list, as_map, as_text, as_whole
from kaitoctl.kaito.validation.releases import Release
from kaitoctl.kube.objects import Object, ObjectKey, dig


class Subject:
    """What is judged; parts of a wrong type look empty.

    Args:
        workspace: the object, whatever it is made of.
        setting: where it is to live.
        is_update: whether the Workspace exists already.
    """

    def __init__(self, workspace: Object, setting: Setting, *, is_update: bool = False) -> None:
        self.workspace = workspace
        self.setting = setting
        self.is_update = is_update
        self.release = setting.release_of(workspace)
        self.target = self.release.name if self.release else setting.target or OWN
        self.is_v1beta1 = workspace.get("apiVersion") == WORKSPACE_V1BETA1.api_version
        self.metadata = as_map(workspace.get("metadata"))
        # Of a null the API server makes the empty text.
        self.annotations = {
            key: "" if value is None else value
            for key, value in as_map(self.metadata.get("annotations")).items()
        }
        self.resource = as_map(workspace.get("resource"))
        self.inference = as_map(workspace.get("inference"))
        self.tuning = as_map(workspace.get("tuning"))
        self.name = as_text(self.metadata.get("name"))
        self.namespace = as_text(self.metadata.get("namespace"))
        self.count = max(as_whole(self.resource.get("count")) or 1, 1)

    @property
    def pod_types(self) -> str:
        """The release of Kubernetes' Go types that decodes its pods and volumes; empty for the newest."""
        return "" if self.release is None else self.release.pod_types

    @property
    def api_version(self) -> str:
        """The group and version that is written."""
        return as_text(self.workspace.get("apiVersion"))

    @property
    def written_count(self) -> int:
        """The number of nodes as KAITO reads it, which may be none or fewer."""
        count = as_whole(self.resource.get("count"))
        return 1 if count is None else count

    @property
    def type_name(self) -> str:
        """The instance type as KAITO reads it; empty where none is written and none is filled in."""
        written = self.resource.get("instanceType")
        is_filled_in = written is None and isinstance(self.workspace.get("resource"), dict)
        return self.default_instance_type if is_filled_in else as_text(written)

    @property
    def cloud(self) -> str:
        """The cloud that KAITO runs on: as given, else the instance type's own."""
        types = self.setting.catalog.instance_types
        known = types.get(self.type_name)
        return self.setting.cloud or (known.cloud if known and known.cloud != "arc" else "azure")

    @property
    def is_old(self) -> bool:
        """Whether the target is KAITO v0.3 or v0.4.0, which have their rules in the catalog of presets."""
        return self.target in ("v0.3", "v0.4")

    @property
    def is_new(self) -> bool:
        """Whether the target is KAITO v0.12."""
        return self.target == "v0.12"

    @property
    def kaito(self) -> str:
        """What to call the KAITO that judges: the release whose own source was read, else its row."""
        return self.release.read or self.target if self.release else self.target

    @property
    def has_estimator(self) -> bool:
        """Whether KAITO reckons the number of nodes itself; from then on all servers are StatefulSets."""
        return self.target in ("v0.9", "v0.12")

    @property
    def has_pullers(self) -> bool:
        """Whether the containers that bring adapters have a prefix to their names."""
        return self.is_new

    @property
    def volumes(self) -> str:
        """Where volumes may stand: see `Release`."""
        if self.is_made_as_model:
            return "all"
        return self.release.volumes if self.release else "none"

    @property
    def image_generation(self) -> str:
        """The generation of images of a target that has presets."""
        if self.own_image_generation is not None:
            return self.own_image_generation.name
        return "v0.3" if self.target == "v0.3" else "v0.4"

    @property
    def has_plain_adapters(self) -> bool:
        """Whether kaitoctl's own controller makes it with a vLLM that loads adapters, at no strength."""
        return self.own_image_generation is not None and bool(self.own_image_generation.starts)

    @property
    def asked_runtime(self) -> str:
        """What the annotation says."""
        return as_text(self.annotations.get(ANNOTATION_RUNTIME))

    @property
    def runtime(self) -> str:
        """What would serve: `transformers` or `vllm`."""
        if self.target == "v0.3":
            return "transformers"
        if self.own_image_generation is not None and self.own_image_generation.starts:
            return image_generations.runtime_named(self.asked_runtime, self.own_image_generation)
        if self.target == OWN:
            return "vllm" if self.asked_runtime == "vllm" else "transformers"
        is_plain = self.asked_runtime == "transformers" or "vLLM" in self.setting.gates_off
        return "transformers" if is_plain else "vllm"

    @cached_property
    def own_image_generation(self) -> ImageGeneration | None:
        """What kaitoctl's own controller makes it in; None for others, and for a preset that it lacks.

        A model of Hugging Face that no catalog here has is made in the newest, or not at all.
        """
        if self.target != OWN:
            return None
        use = "tuning" if self.tuning else "inference"
        name = as_text(as_map((self.tuning or self.inference).get("preset")).get("name"))
        if not name or len(name) > 253:
            return None
        asked: Object = {use: {"preset": {"name": name}}}
        if use == "inference":  # what an older generation does, and today's does not
            asked[use]["preset"]["accessMode"] = as_text(dig(self.inference, "preset", "accessMode"))
            adapters = as_list(self.inference.get("adapters"))
            asked[use]["adapters"] = [one for one in adapters if isinstance(one, dict)]
            asked["metadata"] = {"annotations": {ANNOTATION_RUNTIME: self.asked_runtime}}
        found = image_generations.image_generation_of(
            asked, self.setting.catalog, pinned=self.setting.image_generation
        )
        newest = image_generations.of_unsized(asked)
        if found is None and newest and self.setting.image_generation in ("", newest):
            return image_generations.IMAGE_GENERATIONS[newest]
        return found

    @property
    def server_release(self) -> Release | None:
        """The release whose model server its pods run, whoever's controller makes them."""
        if self.release is not None or self.own_image_generation is None:
            return self.release
        return releases.nearest(self.own_image_generation.name)

    @cached_property
    def is_made_as_model(self) -> bool:
        """Whether kaitoctl's own controller makes it as KAITO v0.12 does."""
        return self.own_image_generation is not None and bool(self.own_image_generation.base_image)

    @cached_property
    def preset(self) -> Preset | None:
        """The preset for inference, of a target that has presets."""
        name = as_text(dig(self.inference, "preset", "name"))
        catalog = self.setting.catalog
        if self.release is None:
            if self.is_made_as_model:
                return None
            return catalog.preset_in(name, self.image_generation) or catalog.presets.get(name)
        has = self.is_old and releases.preset(self.release, name, catalog) is not None
        return catalog.presets.get(name) if has else None

    @cached_property
    def model(self) -> Model | None:
        """The model for inference, of a target that has models."""
        is_sized = self.release is not None and self.release.has_own_sizes
        has = self.is_new or self.is_made_as_model or is_sized
        return self.model_named(as_text(dig(self.inference, "preset", "name"))) if has else None

    def too_old(self, machine: InstanceType) -> str:
        """Why the server that would run has no programs for a type's GPUs; empty where it has or may have."""
        release = self.server_release
        # Texts tell most that are young enough, at no cost to a controller; no preset takes more than 7.0.
        if release is None or not "" < machine.cuda_capability < ("7.0" if self.preset else "7.5"):
            return ""
        if self.release is None and not self.is_made_as_model:
            return ""  # of kaitoctl's own controller presets run with transformers, and mostly in a sandbox
        from kaitoctl.kaito import gpu_age  # most GPUs are younger

        wanted, has = self.preset or self.model, gpu_age.capability(machine.cuda_capability)
        if wanted is None or has is None:
            return ""
        asked = gpu_age.demands(wanted, release.read or release.name, runtime=self.runtime)
        # What a ConfigMap can mend is no error of the instance type.
        demand = gpu_age.too_old(tuple(one for one in asked if one.code == gpu_age.UNSUPPORTED), has)
        return "" if demand is None else demand.words(has)

    def model_named(self, name: str) -> Model | None:
        """The model of that name, if a name can be so long."""
        known = releases.as_of(self.setting.target or self.target, self.setting.catalog)
        return known.model(name) if name and len(name) <= 253 else None

    def config_map_key(self, name: str) -> ObjectKey:
        """Where a ConfigMap that the Workspace names is looked for."""
        return ObjectKey(self.namespace or "default", name)

    # --- nodes ---------------------------------------------------------------------------------------------

    @property
    def is_byo(self) -> bool:
        """Whether KAITO is known to make no nodes; its v1alpha1 webhook knows nothing of that."""
        has = self.release is not None and self.release.has_own_nodes
        return has and self.is_v1beta1 and bool(self.setting.byo)

    @property
    def is_partitioned(self) -> bool:
        """Whether pods get parts of nodes."""
        return self.is_v1beta1 and isinstance(self.resource.get("partition"), dict)

    @property
    def default_instance_type(self) -> str:
        """What leaving it out means; empty in v1beta1, which has no default."""
        if self.release:
            return self.release.default_type(self.api_version)
        return "" if self.is_v1beta1 else DEFAULT_INSTANCE_TYPE

    @cached_property
    def machine(self) -> InstanceType | None:
        """The instance type in the catalog, the default one when none is written; v0.12 ignores case."""
        written = self.resource.get("instanceType")
        name = self.default_instance_type if written is None else as_text(written)
        types = self.setting.catalog.instance_types
        known = types.get(name)
        if known is None and self.is_new and name and len(name) <= 253:
            folded = name.lower()
            known = next((machine for machine in types.values() if machine.name.lower() == folded), None)
        return known

    def offers(self, machine: InstanceType) -> bool:
        """Whether this KAITO, on this cloud, does something about the type besides letting it through."""
        if self.target == OWN or machine.name in self.setting.catalog.own_instance_types:
            return True
        if self.target == "v0.3":
            return machine.cloud == "azure"
        if self.setting.cloud not in (None, machine.cloud):
            return False
        if self.release is None or self.is_old:
            return True
        return releases.gpu_type(self.release, machine.name, machine.cloud, self.setting.catalog) is not None

    @cached_property
    def own_nodes(self) -> Hardware | Flaw | None:
        """The user's own nodes; None where KAITO does not look at them, or they are not known."""
        nodes = self.setting.nodes
        if not self.is_byo or self.is_partitioned or nodes is None or not self.inference.get("preset"):
            return None
        labels = as_map(dig(self.resource, "labelSelector", "matchLabels"))
        has_reserved = self.release is not None and self.release.has_reserved
        return own_nodes.hardware(nodes, labels, all_count=not has_reserved)

    @cached_property
    def hardware(self) -> Hardware | None:
        """What KAITO v0.12 reckons with: the user's own nodes, else those of the instance type."""
        if self.own_nodes is not None:
            return self.own_nodes if isinstance(self.own_nodes, Hardware) else None
        machine = self.machine
        if machine is None or not machine.exists or machine.gpu_resource != GPU or not self.offers(machine):
            return None
        return Hardware(self.count, machine.gpus, machine.gpu_memory_gib, machine.name)


def stand_in(known: InstanceType, offered: list[InstanceType]) -> str:
    """The smallest type that can stand in for one that is of no use here."""
    able = [
        machine
        for machine in offered
        if machine.gpu_resource == GPU
        and machine.gpu_memory_gib >= known.gpu_memory_gib
        and machine.gpu_memory_per_gpu_gib >= known.gpu_memory_per_gpu_gib
    ]
    smallest = min(
        able, key=lambda machine: (machine.gpu_memory_gib, machine.gpus, machine.name), default=None
    )
    return f"for example {smallest.name}" if smallest else ""
