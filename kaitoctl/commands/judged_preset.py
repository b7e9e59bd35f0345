"""Whether the judged release serves the preset at all, and whether it can be known how many nodes that takes.

The rules are those of `validate`: a preset that a release lacks is refused by it, whatever nodes there are;
of a Hugging Face model that the catalog does not have, KAITO asks the hub for the size.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kaitoctl.kaito import validation
from kaitoctl.kube.objects import dig

if TYPE_CHECKING:
    from kaitoctl.kaito.node_check import Verdict
    from kaitoctl.kaito.validation import Setting
    from kaitoctl.kube.objects import Object

_PRESETS = ("inference.preset.name", "tuning.preset.name")
_NOT_SERVED, _CRASHES, _NOT_SIZED = "KW142", "KW165", "KW149"


def with_its_preset(workspace: Object, verdict: Verdict, setting: Setting) -> Verdict:
    """The verdict, with what keeps the release from serving the preset.

    Args:
        workspace: the one that is judged; one that runs has been admitted, and its nodes were counted.
        verdict: of its nodes.
        setting: the release that is judged.
    """
    if dig(workspace, "metadata", "uid") or not any(dig(workspace, *path.split(".")) for path in _PRESETS):
        return verdict
    found = {
        problem.code: problem.message
        for problem in validation.judge(workspace, setting)
        if problem.path in _PRESETS
    }
    refusal = verdict.refusal or found.get(_NOT_SERVED) or found.get(_CRASHES, "")
    return replace(verdict, refusal=refusal, unsized="" if refusal else found.get(_NOT_SIZED, ""))
