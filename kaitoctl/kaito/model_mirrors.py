"""A ModelMirror of KAITO: which one a Workspace waits for, and how its download does. Pure.

Source: KAITO v0.12.0, `pkg/modelmirror/controllers/modelmirror_controller.go`,
`pkg/workspace/inference/modelstreaming` and `pkg/workspace/controllers/workspace_controller.go`. Not run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from kaitoctl.kaito.catalog import Catalog
from kaitoctl.kube.objects import Object, dig

LABEL = "kaito.sh/model-mirror-name"
"""On the Jobs that download; their pods have none of KAITO's labels."""

_HEX_DIGITS = 6
_FASTEST = 10**15  # bytes a second; more is no measurement


def of_workspace(workspace: Object, mirrors: Iterable[Object], known: Catalog) -> Object | None:
    """The mirror of the Workspace's model: all Workspaces of a model share one."""
    name = str(dig(workspace, "inference", "preset", "name") or "")
    model = known.model(name)
    ids = {name, *((model.id, model.id.lower()) if model else ())}
    names = {hashlib.sha256(one.encode()).hexdigest()[:_HEX_DIGITS] for one in ids}
    folded = {one.lower() for one in ids}
    for mirror in mirrors:
        source = dig(mirror, "spec", "source", "modelID")
        if str(source).lower() in folded if source else dig(mirror, "metadata", "name") in names:
            return mirror
    return None


def download_words(mirror: Object) -> str:
    """How the download gets on, as `82.1 MB/s, 12m left`; empty where KAITO has not measured it."""
    speed = dig(mirror, "status", "download", "speedBytesPerSecond")
    left_s = dig(mirror, "status", "download", "remainingSeconds")
    if not isinstance(speed, int) or not 0 < speed < _FASTEST:
        return ""
    words = f"{speed / 1e6:.3g} MB/s"
    if isinstance(left_s, int) and left_s > 0:  # -1: not known
        words += f", {left_s // 60}m left" if left_s >= 60 else f", {left_s}s left"
    return words
