"""The control plane itself: what the other tests rely on."""

from __future__ import annotations

from controlplane import programs
from controlplane.plane import ControlPlane


def test_it_is_the_release_of_go_mod(control_plane: ControlPlane) -> None:
    assert control_plane.do("GET", "/version")["gitVersion"] == programs.version()
