"""What `kaitoctl why` has to say of one name, a Workspace or a set."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from kaitoctl.kube.objects import Object
    from kaitoctl.screens.layout import Block


class Answer(Struct, frozen=True):
    """What there is to say of one name.

    Args:
        name: of what it is about, as kubectl writes it.
        is_well: whether nothing keeps it from serving.
        structured: for machines.
        short: one line.
        blocks: for a screen.
    """

    name: str
    is_well: bool
    structured: Object
    short: str
    blocks: list[Block]
