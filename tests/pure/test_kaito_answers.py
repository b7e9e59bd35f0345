"""What the admission of real KAITO releases answered, beside what `judge` says that it answers.

`tests/data/kaito_answers.yaml` was measured on a control plane. `tests/data/kaito_code_answers.jsonl` holds
generated manifests, one for each kind of answer, and what the validation code of KAITO's own tags answered
(`Validate` of `api/v1alpha1` and `api/v1beta1`, compiled unchanged, behind the API server's own checks of the
tag's CRD; CLOUD_PROVIDER azure, default gates unless a row names those that are on).
KAITO refuses when some problem says `refuses`, and admits otherwise; nothing else may decide it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from kaitoctl.kaito import validation
from kaitoctl.kaito.fleet.validation import judge as judge_fleet
from kaitoctl.kaito.validation import OWN, TARGETS, Problem, Setting
from kaitoctl.kaito.validation.codes import CODES
from kaitoctl.kaito.validation.outcomes import ADMITTED, REFUSABLE, possible
from kaitoctl.kaito.validation.releases import RELEASES, judged_as, nearest
from kaitoctl.kube.objects import ObjectKey

DATA = Path(__file__).parent.parent / "data" / "kaito_answers.yaml"
GENERATED = DATA.with_name("kaito_code_answers.jsonl")
ROWS: list[dict[str, Any]] = yaml.safe_load(DATA.read_text("utf-8"))
CODE_ROWS: list[dict[str, Any]] = [json.loads(line) for line in GENERATED.read_text("utf-8").splitlines()]

UNDECIDABLE = {
    "b12-hf-unknown": "KAITO asks huggingface.co about a model that no table has; there was no way to it",
}
"""Cases whose answer cannot be known offline, and why."""

NOT_READY_FOR_OTHER_REASONS = {"b12-adapter-volume": "the PersistentVolumeClaim was not there"}


def setting(row: dict[str, Any], release: str) -> Setting:
    maps = {
        ObjectKey("cases", name): {"kind": "ConfigMap", "data": data}
        for name, data in row.get("config_maps", {}).items()
    }
    return Setting(release, "azure", row.get("node_provisioner") == "byo", maps, nodes=row.get("nodes"))


def judged(row: dict[str, Any], release: str) -> list[Problem]:
    return validation.judge(row["manifest"], setting(row, release), old=row.get("old"))


ASKED = [
    pytest.param(row, release, id=f"{row['name']}-{release}") for row in ROWS for release in row["answers"]
]


@pytest.mark.parametrize(("row", "release"), ASKED)
def test_what_kaito_answers_is_computed(row: dict[str, Any], release: str) -> None:
    if row["name"] in UNDECIDABLE:
        pytest.skip(UNDECIDABLE[row["name"]])
    problems = judged(row, release)
    answer = "refuses" if any(problem.kaito == "refuses" for problem in problems) else "admits"
    assert answer == row["answers"][release], problems


@pytest.mark.parametrize("release", sorted({row["release"] for row in CODE_ROWS}))
def test_what_kaitos_own_code_answers_of_generated_manifests_is_computed(release: str) -> None:
    wrong = []
    for row in CODE_ROWS:
        if row["release"] != release:
            continue
        maps = {ObjectKey("ns", name): {"data": data} for name, data in row.get("config_maps", {}).items()}
        byo = row.get("node_provisioner") == "byo"
        gates = frozenset(row["gates"]) if "gates" in row else None
        where = Setting(release, "azure", byo, maps, gates, nodes=row.get("nodes") if byo else None)
        judge = validation.judge if row["workspace"]["kind"] == "Workspace" else judge_fleet
        problems = judge(row["workspace"], where, old=row.get("old"))
        answer = "refuses" if any(problem.kaito == "refuses" for problem in problems) else "admits"
        if answer != row["answer"]:
            wrong.append((row, problems))
    assert wrong == []


@pytest.mark.parametrize("row", [row for row in ROWS if "became_ready" in row], ids=lambda row: row["name"])
def test_what_became_ready_has_no_error_and_what_did_not_has_one(row: dict[str, Any]) -> None:
    if row["name"] in NOT_READY_FOR_OTHER_REASONS:
        pytest.skip(NOT_READY_FOR_OTHER_REASONS[row["name"]])
    problems = judged(row, next(iter(row["answers"])))
    has_error = any(problem.severity == "error" for problem in problems)
    assert has_error is not row["became_ready"], problems


def test_every_answer_and_its_severity_agree() -> None:
    for row in ROWS:
        for release in row["answers"]:
            for problem in judged(row, release):
                assert problem.kaito, problem
                assert problem.kaito in possible(problem.code), problem
                if problem.kaito == "refuses":
                    assert problem.severity == "error", problem
                if problem.kaito in ("ignores", "admits"):
                    assert problem.severity == "warning", problem


def test_every_code_says_what_kaito_may_do_about_it() -> None:
    assert set(ADMITTED) | REFUSABLE == set(CODES) - {"KW118"}  # which only our own controller has
    assert all(possible(code) for code in CODES if code != "KW118")


def test_of_our_own_controller_no_kaito_is_told() -> None:
    row = next(row for row in ROWS if row["name"] == "a4-both")
    assert {problem.kaito for problem in validation.judge(row["manifest"], Setting(OWN))} == {""}


@pytest.mark.parametrize(
    ("version", "row", "note"),
    [
        ("v0.3", "v0.3", ""),
        ("v0.3.2", "v0.3", ""),
        ("v0.3.1", "v0.3", "judged as KAITO v0.3.2"),
        ("v0.4", "v0.4", ""),
        ("v0.4.0", "v0.4", ""),
        ("0.4.4", "v0.4", "judged as KAITO v0.4.0"),
        ("v0.4.5", "v0.4.6", "judged as KAITO v0.4.6"),
        ("v0.4.6", "v0.4.6", ""),
        ("v0.5", "v0.4.6", "judged as KAITO v0.4.6"),
        ("v0.7.2", "v0.4.6", "judged as KAITO v0.4.6"),
        ("v0.8.0-rc.0", "v0.9", "judged as KAITO v0.9.4"),
        ("v0.9", "v0.9", ""),
        ("v0.9.4", "v0.9", ""),
        ("v0.10.0", "v0.9", "judged as KAITO v0.9.4"),
        ("v0.11.0", "v0.12", "judged as KAITO v0.12.0"),
        ("v0.12.0", "v0.12", ""),
        ("v0.13.1", "v0.12", "judged as KAITO v0.12.0"),
    ],
)
def test_a_release_is_judged_by_the_nearest_measured_one(version: str, row: str, note: str) -> None:
    found = nearest(version)
    assert found is not None
    said = judged_as(version, found).partition(", with what was read")[0]
    assert (found.name, said) == (row, note)


@pytest.mark.parametrize("text", ["", "v0.2.9", "latest", "v0", "0.4.6.1", "v01.2.3", "v0.4.x", "v0.4\n"])
def test_what_is_no_release_is_none(text: str) -> None:
    assert nearest(text) is None


def test_the_rows_are_in_the_order_of_releases_and_each_was_measured() -> None:
    assert [release.since for release in RELEASES] == sorted(release.since for release in RELEASES)
    measured = {version for row in ROWS for version in row["answers"]}
    assert measured == {release.measured for release in RELEASES}
    assert tuple(release.name for release in RELEASES) == TARGETS
