"""What a screen shows, as data: equal when nothing has changed, safe to show, the same after a record."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from builders import node, workspace

from kaitoctl.cli import status_screen
from kaitoctl.cli.node_table import Screen, shown_length
from kaitoctl.kaito.secrecy import without_secrets
from kaitoctl.kaito.snapshot import Snapshot
from kaitoctl.kaito.view import as_json, of_json, view
from kaitoctl.kube.objects import Object

NOW = datetime(2026, 1, 1, 1, tzinfo=UTC)
ESCAPE = "\x1b[2Jgone\r\n\u202e"


def pod(name: str = "falcon-0", message: str = "", **metadata: Any) -> Object:
    state = {"waiting": {"reason": "ImagePullBackOff", "message": message}}
    return {
        "kind": "Pod",
        "metadata": {"name": name, "creationTimestamp": "2026-01-01T00:59:00Z", **metadata},
        "spec": {
            "nodeName": "gpu-a",
            "containers": [{"name": "falcon", "env": [{"name": "A", "value": "geheim"}]}],
        },
        "status": {"phase": "Pending", "containerStatuses": [{"name": "falcon", "state": state}]},
    }


def snapshot(*pods: Object, message: str = "", generation: int = 1) -> Snapshot:
    told = {
        "type": "ResourceReady",
        "status": "False",
        "reason": "x",
        "message": message,
        "observedGeneration": 1,
    }
    asked = workspace(generation=generation, status={"conditions": [told]})
    asked["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z"
    made = {
        "kind": "StatefulSet",
        "metadata": {"name": "falcon", "uid": "w", "generation": 1, "ownerReferences": [
            {"kind": "Workspace", "name": "falcon", "uid": "ws-uid", "controller": True}]},
        "spec": {"replicas": len(pods)},
        "status": {"observedGeneration": 1, "updatedReplicas": len(pods)},
    }  # fmt: skip
    for one in pods:
        one["metadata"]["ownerReferences"] = [
            {"kind": "StatefulSet", "name": "falcon", "uid": "w", "controller": True}
        ]
    return Snapshot(asked, (made,), pods, nodes=(node(),))


def test_time_alone_changes_no_view_and_a_change_does() -> None:
    seen = snapshot(pod())
    assert view(seen, NOW) == view(seen, NOW + timedelta(minutes=3))
    assert view(seen, NOW) != view(snapshot(pod(), pod("falcon-1")), NOW)


def test_a_view_is_the_same_after_a_record() -> None:
    shown = view(snapshot(pod(message="401 Unauthorized")), NOW)
    again = of_json(json.loads(json.dumps(as_json(shown))))
    assert again == shown
    assert again.cause == shown.cause


def test_nothing_secret_is_recorded() -> None:
    words = "401 for https://me:pa55word@r.example/, Bearer abc.def, hf_abcdefghijkl, token=s3cret"
    text = json.dumps(as_json(view(snapshot(pod(message=words), message=words), NOW)))
    for secret in ("geheim", "pa55word", "abc.def", "hf_abcdefghijkl", "s3cret"):
        assert secret not in text
    assert "https://***@r.example/" in text
    assert without_secrets({"a": ["password: x", 1, None]}) == {"a": ["password: ***", 1, None]}


def test_what_a_cluster_calls_things_cannot_steer_a_terminal() -> None:
    hostile = snapshot(pod(f"falcon{ESCAPE}", message=f"not found {ESCAPE}"), message=ESCAPE)
    shown = view(hostile, NOW)
    for screen in (Screen(), Screen(80, symbols=True, colour=False)):
        text = "\n".join(status_screen.lines(shown, NOW, screen))
        assert "\x1b" not in text
        assert "\r" not in text
        assert "\u202e" not in text
        assert "\\x1b[2J" in text


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_tree_fits_the_terminal_however_long_names_are(width: int) -> None:
    seen = snapshot(pod("falcon-" + "x" * 60), pod("falcon-" + "y" * 60))
    lines = status_screen.lines(view(seen, NOW), NOW, Screen(width, symbols=True))
    tree = [line for line in lines if "├" in line or "└" in line]
    assert len(tree) >= 5
    assert max(map(shown_length, tree)) <= width


def test_a_condition_of_an_older_generation_is_marked() -> None:
    lines = status_screen.lines(view(snapshot(pod(), generation=2), NOW), NOW, Screen())
    assert any("* of an older generation than 2" in line for line in lines)


@pytest.mark.parametrize(
    "spoiled", [{"tree": None}, {"phase": "x"}, {"cause": {"code": 1}}, {"stations": [7]}, {"budget_s": "x"}]
)
def test_what_is_no_view_is_refused(spoiled: Object) -> None:
    with pytest.raises(ValueError):
        of_json({**as_json(view(snapshot(pod()), NOW)), **spoiled})
