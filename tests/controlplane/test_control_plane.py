"""The control plane itself: what the other tests rely on."""

from __future__ import annotations

from urllib.parse import urlencode

from controlplane import programs
from controlplane.plane import ControlPlane

from kaitoctl.kube import request
from kaitoctl.kube.objects import CONFIG_MAP


def test_it_is_the_release_of_go_mod(control_plane: ControlPlane) -> None:
    assert control_plane.do("GET", "/version")["gitVersion"] == programs.version()


def test_an_apply_of_what_must_be_new_creates_it_or_nothing(control_plane: ControlPlane) -> None:
    obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "new", "namespace": "default"}}
    for force, status in ((False, 201), (False, 409), (True, 409)):
        asked = request.apply(CONFIG_MAP, obj, manager="me", force=force, only_new=True)
        path = f"{asked.path}?{urlencode(asked.query)}"
        answer = control_plane.send("PATCH", path, asked.body, content_type=asked.content_type)
        assert answer[0] == status
