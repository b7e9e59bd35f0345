"""Which tests run in one process: those of a file, and those of all files that share a control plane.

A control plane takes 5 s of processor time to start, and 1 s in each 40 s that it is up, idle or
not: not every process of pytest-xdist should have one, still less both kinds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from xdist.scheduler import LoadFileScheduling  # type: ignore[import-untyped]

_ON_A_PLANE = re.compile(r"\btests/controlplane/|\[control-plane|_real_(api_server|control_plane)")
_ON_A_BARE_ONE = re.compile(r"\btests/conformance/")


def is_on_a_plane(nodeid: str) -> bool:
    """Whether a test wants a control plane, by its name."""
    return bool(_ON_A_PLANE.search(nodeid) or _ON_A_BARE_ONE.search(nodeid))


def scopes(nodeids: Iterable[str], planes: int) -> Mapping[str, str]:
    """What is run by one process, for each file: its own name, or that of the control plane that it shares.

    Args:
        nodeids: all tests, in the order in which they are to run.
        planes: how many control planes there are to be, besides the one where nobody but the API is at work.
    """
    found: dict[str, str] = {}
    for nodeid in nodeids:
        file = nodeid.partition("::")[0]
        found.setdefault(file, file)
        if _ON_A_PLANE.search(nodeid):
            found[file] = "a control plane"
        elif _ON_A_BARE_ONE.search(nodeid) and found[file] == file:
            found[file] = "the bare control plane"
    shared = [file for file, scope in found.items() if scope == "a control plane"]
    return found | {file: f"control plane {number % planes}" for number, file in enumerate(shared)}


class FewPlanes(LoadFileScheduling):  # type: ignore[misc]
    """Hands out tests to processes by `scopes`, half as many control planes as processes, at least one."""

    def schedule(self) -> None:
        if self.collection is None:
            tests = next(iter(self.registered_collections.values()))
            self._scopes = scopes(tests, max(1, len(self.nodes) // 2))
        super().schedule()

    def _split_scope(self, nodeid: str) -> str:
        return self._scopes[nodeid.partition("::")[0]]
