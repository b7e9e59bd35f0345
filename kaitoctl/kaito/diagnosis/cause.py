"""What a diagnosis consists of: `Cause`, and how causes are ordered."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from kaitoctl.advice import Advice

Weight = Literal["fault", "wait", "note"]
"""`fault`: somebody has to change something. `wait`: it may pass. `note`: nothing depends on it now."""

_WEIGHTS = ("fault", "wait", "note")


class Cause(Struct, frozen=True):
    """One thing that keeps a Workspace from being ready.

    Args:
        code: a key of `diagnosis.codes.CODES`, of `nodes.codes.CODES` or of `validation.codes.CODES`.
        about: the object, `Pod falcon-1, container falcon`.
        message: what is so, one sentence.
        evidence: what the cluster said, a line each: where from, and the words.
        hint: what to do, in words.
        command: what to do (or where to look), as a command line; empty when no single command helps.
        weight: whether waiting may help.
    """

    code: str
    about: str
    message: str
    evidence: tuple[tuple[str, str], ...] = ()
    hint: Advice = ""
    command: Advice = ""
    weight: Weight = "fault"

    @property
    def order(self) -> int:
        """The weight as a number, the gravest first."""
        return _WEIGHTS.index(self.weight)
