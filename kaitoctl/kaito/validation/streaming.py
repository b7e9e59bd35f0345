"""Weights that KAITO v0.12 streams from a store instead of downloading them, as annotations say.

Streaming is on for every preset on vLLM once the gate ModelStreaming is, unless an annotation says otherwise.
A mirror is either KAITO's own, which it fills by a Job, or static: a store that is there, named by
annotations.

Source: KAITO v0.12.0 `pkg/workspace/inference/modelstreaming/annotations.go` and `modelstreaming.go`,
`pkg/workspace/controllers/workspace_controller.go` (ensureModelMirror). Not run.
"""

from __future__ import annotations

from collections.abc import Iterator

from kaitoctl.kaito.api import (
    ANNOTATION_STREAMING,
    STATIC_MIRROR,
    STATIC_SOURCE,
    STREAM_ACCOUNT,
    STREAM_SOURCE,
    STREAM_SOURCES,
)
from kaitoctl.kaito.validation.problem import Problem, as_text, error, warning
from kaitoctl.kaito.validation.subject import Subject

_GATE = "ModelStreaming"
_MANAGED = ("kaito.sh/model-mirror-storage-class", STREAM_ACCOUNT)


def problems(subject: Subject) -> Iterator[Problem]:
    """What the annotations of streaming come to."""
    notes = subject.annotations
    said = [key for key in (*_MANAGED, STATIC_MIRROR, *STATIC_SOURCE) if as_text(notes.get(key))]
    if not said or subject.release is None or subject.release.version != "v0.12.0":
        return
    if why := _why_unread(subject):
        for key in said:
            yield warning(_where(key), "KW199", f"{key} is not read: {why}")
        return
    if as_text(notes.get(STATIC_MIRROR)) != "true":
        for key in said:
            if key in STATIC_SOURCE:
                hint = f'annotate {STATIC_MIRROR}: "true"'
                yield warning(_where(key), "KW199", f"{key} counts only of a static mirror", hint)
        return
    # What depends on a gate that may be off is no certain error.
    finding = error if subject.setting.gates is not None else warning
    for key in STATIC_SOURCE:
        if not as_text(notes.get(key)):
            yield finding(
                _where(STATIC_MIRROR), "KW119", f"a static mirror needs the annotation {key}", "add it"
            )
    kind = as_text(notes.get(STREAM_SOURCE))
    if kind and kind not in STREAM_SOURCES:
        message = f"{kind[:80]!r} is not a source of a static mirror"
        yield finding(_where(STREAM_SOURCE), "KW119", message, f"use {' or '.join(STREAM_SOURCES)}")
    for key in _MANAGED[:1]:
        if key in said:
            yield warning(_where(key), "KW199", f"{key} is not read: a static mirror has a store of its own")


def _why_unread(subject: Subject) -> str:
    """Why nothing is streamed to the Workspace; empty where something is, or may be."""
    gates = subject.setting.gates
    if gates is not None and _GATE not in gates:
        return f"KAITO's gate {_GATE} is off"
    if as_text(subject.annotations.get(ANNOTATION_STREAMING)) == "disabled":
        return f"{ANNOTATION_STREAMING} is disabled"
    if not subject.inference.get("preset"):
        return "weights are streamed to presets only"
    if subject.runtime != "vllm":
        return "weights are streamed to vLLM only"
    return ""


def _where(key: str) -> str:
    return f"metadata.annotations[{key}]"
