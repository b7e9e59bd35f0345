"""What a screen shows, as data: equal when nothing has changed, safe to show, the same after a record."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from screen_data import pod, snapshot
from terminals import Terminal, lines

from kaitoctl.kaito.secrecy import without_secrets
from kaitoctl.kaito.view import view
from kaitoctl.kaito.view_json import as_json, of_json
from kaitoctl.kube.objects import Object
from kaitoctl.screens import status_screen
from kaitoctl.screens.layout import plain

NOW = datetime(2026, 1, 1, 1, tzinfo=UTC)
ESCAPE = "\x1b[2Jgone\r\n\u202e"


def test_time_alone_changes_no_view_and_a_change_does() -> None:
    seen = snapshot(pod())
    assert view(seen, NOW) == view(seen, NOW + timedelta(minutes=3))
    assert view(seen, NOW) != view(snapshot(pod(), pod("falcon-1")), NOW)


def test_a_view_is_the_same_after_a_record() -> None:
    shown = view(snapshot(pod(message="401 Unauthorized")), NOW)
    again = of_json(json.loads(json.dumps(as_json(shown))))
    assert again == shown
    assert as_json(again) == as_json(shown)


def test_nothing_secret_is_recorded() -> None:
    words = "401 for https://me:pa55word@r.example/, Bearer abc.def, hf_abcdefghijkl, token=s3cret"
    shown = view(snapshot(pod(message=words), message=words), NOW, log=f"loading\n{words}\n")
    text = f"{json.dumps(as_json(shown))} {shown.log} {shown.conditions} {shown.detail}"
    for secret in ("geheim", "pa55word", "abc.def", "hf_abcdefghijkl", "s3cret"):
        assert secret not in text
    assert "https://***@r.example/" in text
    assert without_secrets({"a": ["password: x", 1, None]}) == {"a": ["password: ***", 1, None]}


def test_what_a_cluster_calls_things_cannot_steer_a_terminal() -> None:
    hostile = snapshot(pod(f"falcon{ESCAPE}", message=f"not found {ESCAPE}"), message=ESCAPE)
    shown = view(hostile, NOW)
    for shown_on in (None, Terminal(80)):
        text = "\n".join(lines(status_screen.report(shown, NOW, drawn=shown_on is not None), shown_on))
        assert "\x1b" not in text
        assert "\r" not in text
        assert "\u202e" not in text
        assert "\\x1b[2J" in text


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_tree_fits_the_terminal_however_long_names_are(width: int) -> None:
    seen = snapshot(pod("falcon-" + "x" * 60), pod("falcon-" + "y" * 60))
    shown = Terminal(width).lines(status_screen.report(view(seen, NOW), NOW, drawn=True))
    tree = [line for line in shown if "├" in line or "└" in line]
    assert len(tree) >= 5
    assert max(map(len, tree)) <= width


def test_a_condition_of_an_older_generation_is_marked() -> None:
    shown = plain(status_screen.report(view(snapshot(pod(), generation=2), NOW), NOW))
    assert any("* of an older generation than 2" in line for line in shown)


@pytest.mark.parametrize(
    "spoiled", [{"tree": None}, {"phase": "x"}, {"cause": {"code": 1}}, {"stations": [7]}, {"budget_s": "x"}]
)
def test_what_is_no_view_is_refused(spoiled: Object) -> None:
    with pytest.raises(ValueError):
        of_json({**as_json(view(snapshot(pod()), NOW)), **spoiled})
