"""One Workspace in one setting: the answers that several rules need, each found once."""

from __future__ import annotations

from functools import cached_property

from kaitoctl.kaito.api import ANNOTATION_RUNTIME, WORKSPACE_V1BETA1
from kaitoctl.kaito.catalog import Model, Preset
from kaitoctl.kaito.validation.problem import OWN, Setting, as_map, as_text, as_whole
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
        self.target = setting.target_of(workspace)
        self.is_v1beta1 = workspace.get("apiVersion") == WORKSPACE_V1BETA1.api_version
        self.metadata = as_map(workspace.get("metadata"))
        self.annotations = as_map(self.metadata.get("annotations"))
        self.resource = as_map(workspace.get("resource"))
        self.inference = as_map(workspace.get("inference"))
        self.tuning = as_map(workspace.get("tuning"))
        self.name = as_text(self.metadata.get("name"))
        self.namespace = as_text(self.metadata.get("namespace"))
        self.count = max(as_whole(self.resource.get("count")) or 1, 1)

    @property
    def is_old(self) -> bool:
        """Whether the target is KAITO v0.3 or v0.4."""
        return self.target in ("v0.3", "v0.4")

    @property
    def is_new(self) -> bool:
        """Whether the target is KAITO v0.12."""
        return self.target == "v0.12"

    @property
    def generation(self) -> str:
        """The generation of images of a target that has presets."""
        return "v0.3" if self.target == "v0.3" else "v0.4"

    @property
    def asked_runtime(self) -> str:
        """What the annotation says."""
        return as_text(self.annotations.get(ANNOTATION_RUNTIME))

    @property
    def runtime(self) -> str:
        """What would serve: `transformers` or `vllm`."""
        if self.target == "v0.3":
            return "transformers"
        if self.target == OWN:
            return "vllm" if self.asked_runtime == "vllm" else "transformers"
        return "transformers" if self.asked_runtime == "transformers" else "vllm"

    @cached_property
    def preset(self) -> Preset | None:
        """The preset for inference, of a target that has presets."""
        name = as_text(dig(self.inference, "preset", "name"))
        return None if self.is_new else self.setting.catalog.presets.get(name)

    @cached_property
    def model(self) -> Model | None:
        """The model for inference, of a target that has models."""
        return self.model_named(as_text(dig(self.inference, "preset", "name"))) if self.is_new else None

    def model_named(self, name: str) -> Model | None:
        """The model of that name, if a name can be so long."""
        return self.setting.catalog.model(name) if name and len(name) <= 253 else None

    def config_map_key(self, name: str) -> ObjectKey:
        """Where a ConfigMap that the Workspace names is looked for."""
        return ObjectKey(self.namespace or "default", name)
