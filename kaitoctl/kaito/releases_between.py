"""What the releases between make otherwise than the generation that stands for them here.

A release that is pinned and has no generation of its own is made as the nearest one; what its own objects
have instead is said, so that a rehearsal is not taken for the real thing. Those that were run made
objects of 2,400 Workspaces, beside ours. The others were read alone. None was measured on a cluster.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

_PODS, _LINE, _FRONT = "preset_inferences.go", "interface.go", "manifests.go"


class Unlike(NamedTuple):
    """One release.

    Args:
        commit: of its tag.
        made_as: the generation that stands for it.
        was_run: whether its code was run, or read alone.
        differences: what it makes otherwise, each with the file that says so.
    """

    commit: str
    made_as: str
    was_run: bool
    differences: tuple[tuple[str, str], ...]

    @property
    def words(self) -> str:
        """The differences in one sentence."""
        return "; ".join(words for words, _ in self.differences)


def _image(tag: str) -> tuple[str, str]:
    return f"image kaito-base:{tag}", "supported_models.yaml"


_SEVERAL = ("over several nodes a StatefulSet with Ray, and probes by a script", _PODS)
_BROUGHT = ("weights brought by the init container model-weights-downloader", _PODS)
_RAY = ("Service ports ray and dashboard", _FRONT)
_LATE = ("no startup probe, liveness after 600 s, no benchmark", _PODS)
_CONFIGURED = ("the chart's ConfigMap where none is named, and its flag", _PODS)
_NO_EVENTS = ("no KV cache events, flag and ports, and no names of ports", _PODS)
_FLAGS = ("a number for max-model-len, fewer flags of vLLM, 0.84 of every GPU", _LINE)
_NO_LABELS = ("pods of presets without the labels of the provisioner", _PODS)
_NO_ROLES = ("no roles of inference, no weights of the node, no MIG slices", _PODS)

UNLIKE: Mapping[str, Unlike] = MappingProxyType(
    {
        "v0.5.0": Unlike("9326178d6", "v0.4.6", False, (_image("0.0.4"), _BROUGHT, _SEVERAL, _RAY)),
        "v0.6.0": Unlike("461f75cd5", "v0.4.6", False, (_image("0.0.5"), _BROUGHT, _SEVERAL, _RAY)),
        "v0.7.0": Unlike(
            "cbc20c1ce", "v0.4.6", False,
            (
                _image("0.0.8"), _BROUGHT, _SEVERAL, _RAY,
                ("max-model-len from tables, 0.84 of every GPU, nodes by estimate", _LINE),
            ),
        ),
        "v0.8.0": Unlike(
            "4fc5af635", "v0.12", False,
            (_image("0.1.1"), _BROUGHT, _LATE, _CONFIGURED, _NO_EVENTS, _FLAGS, _NO_ROLES, _NO_LABELS),
        ),
        "v0.9.4": Unlike(
            "c59cb492b", "v0.12", True,
            (
                _image("0.2.5"), _BROUGHT, _LATE, _CONFIGURED, _NO_EVENTS, _FLAGS, _NO_ROLES,
                _NO_LABELS, ("no adapters from volumes, no toleration of spot nodes", _PODS),
            ),
        ),
        "v0.10.0": Unlike(
            "c673cadc6", "v0.12", True,
            (
                _image("0.2.8"), _BROUGHT, _CONFIGURED,
                ("a startup probe over HTTP, benchmarks only where an annotation asks", _PODS),
                _NO_EVENTS, _FLAGS, _NO_ROLES, _NO_LABELS,
            ),
        ),
        "v0.11.0": Unlike(
            "7545aa214", "v0.12", True,
            (
                _image("0.4.2"), _NO_EVENTS,
                ("six variables VLLM_USE_FLASHINFER_MOE_... of 0, no CUDA toolkit from the node", _PODS),
                ("other parsers and back ends of some models, 0.84 of an A10 too", _LINE),
                ("no weights of the node, no MIG slices, one hour at most to load", _PODS),
                ("custom pods without the labels of the provisioner", "template_inference.go"),
            ),
        ),
    }
)  # fmt: skip
"""By release: those of `validation.releases` that have no generation of their own.

Source: KAITO at these commits, `pkg/workspace/inference/preset_inferences.go`, `template_inference.go`,
`pkg/workspace/manifests/manifests.go`, `pkg/model/interface.go` and
`presets/workspace/models/supported_models.yaml`.
"""
