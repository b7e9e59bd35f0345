"""What is real of a pod: a command for its main container, folders for its init containers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from kaitoctl.kube.objects import Object

CONFIG = ".config"
"""Where a pod's folder has the entries of its ConfigMap; no container can be called like that."""


class Plan(Struct, frozen=True):
    """What is real of a pod.

    Args:
        container: the main container that is a process.
        command: its arguments, given the folder in which each copy is a folder by its container's name. The
            process ends at the end of its standard input, and says the line `Serving on http://127.0.0.1:PORT`.
        copies: the init containers that copy files, and where the files of their images are, asked at
            each try: None while there is no such image.
        mount: where the copies would be in a container: what logs say in place of their folder.
        config_map: the name of a ConfigMap whose entries are files in `CONFIG` of that folder, kept up to
            date as the kubelet keeps a mounted one; empty for none.
    """

    container: str
    command: Callable[[Path], Sequence[str]]
    copies: Mapping[str, Callable[[], Path | None]]
    mount: str
    config_map: str = ""


PlanOf = Callable[[Object], Plan | None]
"""The plan of a pod; None for one that stays simulated."""
