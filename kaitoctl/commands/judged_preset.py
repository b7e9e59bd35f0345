"""Whether the judged release serves the preset at all, by the rules of `validate`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from kaitoctl.kaito import validation
from kaitoctl.kaito.validation import OWN
from kaitoctl.kube.objects import dig

if TYPE_CHECKING:
    from kaitoctl.kaito.node_check import Verdict
    from kaitoctl.kaito.validation import Setting
    from kaitoctl.kube.objects import Object

_PRESETS = ("inference.preset.name", "tuning.preset.name")
_NOT_SERVED, _CRASHES = "KW142", "KW165"


def with_its_preset(workspace: Object, verdict: Verdict, setting: Setting) -> Verdict:
    """The verdict, with what keeps the release from serving the preset.

    Args:
        workspace: the one that is judged; one that runs has been admitted.
        verdict: of its nodes.
        setting: the release that is judged.
    """
    if verdict.unsized and verdict.rules.target == OWN:
        return verdict  # the controller may have a catalog of its own
    if dig(workspace, "metadata", "uid") or not any(dig(workspace, *path.split(".")) for path in _PRESETS):
        return verdict
    found = {
        problem.code: problem.message
        for problem in validation.judge(workspace, setting)
        if problem.path in _PRESETS
    }
    refusal = verdict.refusal or found.get(_NOT_SERVED) or found.get(_CRASHES, "")
    return replace(verdict, refusal=refusal)
