"""A new Workspace with adapters -> the same with the runtime that loads them. Pure.

Up to v0.4 only transformers loads adapters, with a strength; from v0.4.5 on vLLM does, without one.
Source: KAITO v0.4.0 `presets/workspace/inference/vllm`, v0.4.6 and v0.12.0 `api/*/workspace_validation.go`.
"""

from __future__ import annotations

from collections.abc import Collection

from kaitoctl.kaito.api import ANNOTATION_RUNTIME
from kaitoctl.kaito.validation import releases
from kaitoctl.kaito.validation.problem import Setting, as_list, as_map
from kaitoctl.kaito.validation.subject import Subject
from kaitoctl.kube.objects import Object, annotations_of, dig, without


def loading_adapters(workspace: Object, setting: Setting, without_strength: Collection[str]) -> Object:
    """The Workspace so that whoever serves it loads its adapters.

    Args:
        workspace: as options describe it.
        setting: where it is to live.
        without_strength: the adapters of which nobody said how strong.
    """
    adapters = [as_map(item) for item in as_list(dig(workspace, "inference", "adapters"))]
    if not adapters:
        return workspace
    # A strength that nobody gave asks for no older generation.
    has_vllm, has_transformers = _servers(Subject(_plain(workspace, adapters, without_strength), setting))
    if ANNOTATION_RUNTIME in annotations_of(workspace):
        return _plain(workspace, adapters, without_strength) if has_vllm else workspace
    is_weighed = any(
        item.get("strength") is not None and dig(item, "source", "name") not in without_strength
        for item in adapters
    )
    if has_transformers and (is_weighed or not has_vllm):
        notes = {**annotations_of(workspace), ANNOTATION_RUNTIME: "transformers"}
        return {**workspace, "metadata": {**workspace["metadata"], "annotations": notes}}
    return _plain(workspace, adapters, without_strength)


def wants_strength(workspace: Object, setting: Setting) -> bool:
    """Whether an adapter that is added to a Workspace without a strength is written with 1.0.

    Source: the controllers of KAITO v0.3.2 and v0.4.0 crash where it is absent; v0.12 refuses it on vLLM, as
    kaitoctl's own does where it makes what v0.12 makes.
    """
    subject = Subject(workspace, setting)
    return subject.target != "v0.12" and not _servers(subject)[0]


def has_transformers(subject: Subject) -> bool:
    """Whether transformers serves the model, too, and with it adapters of any strength."""
    return _servers(subject)[1]


def _servers(subject: Subject) -> tuple[bool, bool]:
    """Whether vLLM loads adapters for the preset, and whether transformers does."""
    own = subject.own_image_generation if subject.has_plain_adapters else None
    release = releases.release_named(own.name) if own else subject.release
    name = str(dig(subject.inference, "preset", "name") or "")[:253]
    if release is None or not release.is_runtime_checked or subject.runtime != "vllm":
        return False, True
    known = releases.preset(release, name, subject.setting.catalog)
    if known is None:
        return True, False
    return known.has_lora, known.has_transformers


def _plain(workspace: Object, adapters: list[Object], unsaid: Collection[str]) -> Object:
    """With no strength but those that somebody gave: vLLM has none."""
    plain = [
        without(item, "strength") if dig(item, "source", "name") in unsaid else item for item in adapters
    ]
    return {**workspace, "inference": {**workspace["inference"], "adapters": plain}}
