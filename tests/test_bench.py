"""The benchmarks' own promises: the page says what was measured, and why an aim is missed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench import page, plots, real
from bench.figures import Figure, Skipped, of_growth

DOCS = Path(__file__).parent.parent / "docs"
KNOWN = json.loads((DOCS / "performance.json").read_text())
MISSED = Figure("startup", "nodes", 4.0, 3.5, 9.0, 7, aim="<= 3.0")
MET = Figure("startup", "nodes", 2.0, 1.5, 2.5, 7, aim="<= 3.0")


def measured(*figures: Figure) -> page.Known:
    found: dict[str, Any] = {"measured": "2026-01-01", "machine": "one", "load": 0.1}
    return {"startup": {**found, "figures": [figure.as_json() for figure in figures]}}


def test_every_missed_aim_has_a_reason() -> None:
    assert list(page.unexplained(KNOWN)) == []


def test_every_reason_is_of_a_figure_with_an_aim() -> None:
    for part in KNOWN.keys() - {"scaling"}:  # its names depend on --sizes
        aimed = {figure.name for figure in page.figures_of(KNOWN, part) if figure.aim}
        assert set(page.WHY_MISSED.get(part, {})) <= aimed


def test_the_page_says_what_was_measured() -> None:
    """`python -m bench` writes both; this fails when one is edited by hand."""
    pictured = [file.stem for file in (DOCS / "performance").glob("*.svg")]
    assert (DOCS / "performance.md").read_text() == page.page(KNOWN, pictured)


def test_a_reason_is_shown_only_while_its_aim_is_missed() -> None:
    reason = page.WHY_MISSED["startup"]["nodes"]
    assert reason in page.page(measured(MISSED), [])
    assert reason not in page.page(measured(MET), [])


def test_a_missed_aim_without_a_reason_is_found() -> None:
    unknown = Figure("startup", "a new command", 4.0, 4.0, 4.0, 1, aim="<= 3.0")
    assert list(page.unexplained(measured(unknown, MISSED, MET))) == ["startup: a new command"]


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_the_power_of_growth_is_found_whatever_a_start_costs(power: float) -> None:
    curve = {size: 200 + 3 * size**power for size in (1000, 10_000, 20_000)}
    grown = of_growth("scaling", "x", {"ours": curve}, empty={"ours": 200}, unit="s")
    assert grown.value == pytest.approx(power, abs=1e-6)


def test_what_stays_as_it_is_does_not_grow() -> None:
    curve = {1000: 0.201, 10_000: 0.203, 20_000: 0.199}
    assert of_growth("scaling", "x", {"ours": curve}, empty={"ours": 0.2}, unit="s").value == 0


def test_the_same_figures_make_the_same_picture(tmp_path: Path) -> None:
    grown = of_growth("scaling", "x", {"ours": {10: 1.0, 100: 9.0}, "theirs": {10: 2.0, 100: 30.0}}, unit="s")
    for number, figures in enumerate([[MISSED], [MISSED], [MET], [grown], [grown]]):
        assert plots.draw(figures, tmp_path / f"{number}.svg")
    one, again, other, growth, growth_again = (
        (tmp_path / f"{number}.svg").read_bytes() for number in range(5)
    )
    assert one == again != other
    assert growth == growth_again
    assert not plots.draw([Figure("startup", "without aim", 1, 1, 1, 1)], tmp_path / "none.svg")


def test_without_a_control_plane_its_part_is_skipped_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    monkeypatch.setenv("KAITOCTL_CONTROLPLANE_CACHE", str(tmp_path))
    with pytest.raises(Skipped, match=r"kube-apiserver.* missing; .*dev.py controlplane"):
        real.figures(rounds=1, count=1)
