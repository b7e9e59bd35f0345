"""`kaitoctl validate -o github|sarif|junit`: what CI reads says the same as the table does."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from urllib.parse import unquote

import pytest
from junitparser import JUnitXml
from sarif_pydantic import Sarif
from shell import BIN

GOOD = """\
apiVersion: kaito.sh/v1alpha1
kind: Workspace
metadata: {name: good}
resource: {instanceType: Standard_NC12s_v3, labelSelector: {matchLabels: {apps: x}}}
inference: {preset: {name: falcon-7b}}
"""
BAD = """\
apiVersion: kaito.sh/v1alpha1
kind: Workspace
metadata: {name: bad, namespace: models}
resource:
  count: 0
  labelSelector: {matchLabels: {apps: x}}
inference:
  preset: {name: "falcon:7b, 100%\\r\\n::error::owned"}
"""
FOLDER = "team a,b: 50%"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    there = tmp_path / FOLDER
    there.mkdir()
    (there / "good.yaml").write_text(GOOD)
    (there / "bad.yaml").write_text(f"{GOOD}---\n{BAD}")
    (there / "cut.yaml").write_text("kind: [Workspace")
    return there


def validate(*arguments: str, code: int = 2) -> str:
    words = [str(BIN / "kaitoctl"), "validate", *arguments]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return done.stdout


def problems() -> list[tuple[str, str, str, int, int | None]]:
    """Source, code, severity, line, column of each problem, from -o json."""
    documents = json.loads(validate("-f", FOLDER, "-o", "json"))["documents"]
    return [
        (document["source"], one["code"], one["severity"], one["line"] or 1, one["column"])
        for document in documents
        for one in document["problems"]
    ]


def test_github_shows_each_problem_at_its_line(folder: Path) -> None:
    lines = validate("-f", folder.name, "-o", "github").splitlines()
    found = []
    for line in lines:
        command = re.fullmatch(r"::(error|warning) ([^:]*)::(.+)", line)
        assert command, line
        pairs = dict(pair.split("=", 1) for pair in command[2].split(","))
        column = int(pairs["col"]) if "col" in pairs else None
        found.append(
            (unquote(pairs["file"]), pairs["title"].split()[0], command[1], int(pairs["line"]), column)
        )
    assert found == problems()


def test_sarif_is_sarif(folder: Path) -> None:
    log = json.loads(validate("-f", folder.name, "-o", "sarif"))
    Sarif.model_validate(log)
    (run,) = log["runs"]
    found = []
    for result in run["results"]:
        place = result["locations"][0]["physicalLocation"]
        rule = run["tool"]["driver"]["rules"][result["ruleIndex"]]
        assert rule["id"] == result["ruleId"]
        assert rule["help"]["text"]
        assert " " not in place["artifactLocation"]["uri"]
        region = place["region"]
        uri = unquote(place["artifactLocation"]["uri"])
        found.append((uri, result["ruleId"], result["level"], region["startLine"], region.get("startColumn")))
    assert found == problems()


@pytest.mark.parametrize("strict", [False, True])
def test_junit_counts_documents(folder: Path, strict: bool) -> None:
    (folder / "good.yaml").write_text(GOOD.replace("instanceType: Standard_NC12s_v3, ", ""))
    text = validate("-f", FOLDER, "-o", "junit", *(["--strict"] if strict else []))
    suites = {suite.name.rpartition("/")[2]: suite for suite in JUnitXml.fromstring(text.encode())}
    counted = {name: (suite.tests, suite.failures) for name, suite in suites.items()}
    assert counted == {"bad.yaml": (2, 1), "cut.yaml": (1, 1), "good.yaml": (1, int(strict))}
    (warned,) = suites["good.yaml"]
    assert "KW138" in (warned.result[0].text if strict else warned.system_out)
    _, bad = suites["bad.yaml"]
    assert bad.name == "models/bad"
    expected = [
        code
        for source, code, severity, *_ in problems()
        if source.endswith("bad.yaml") and (strict or severity == "error")
    ]
    words = re.findall(r": (?:error|warning) (KW\d+): ", bad.result[0].text)
    assert words == expected


def test_nothing_wrong_says_nothing(folder: Path) -> None:
    for name in ("bad.yaml", "cut.yaml"):
        (folder / name).unlink()
    assert validate("-f", FOLDER, "-o", "github", code=0) == ""
    assert json.loads(validate("-f", FOLDER, "-o", "sarif", code=0))["runs"][0]["results"] == []
    assert JUnitXml.fromstring(validate("-f", FOLDER, "-o", "junit", code=0).encode()).failures == 0


def test_files_are_called_as_the_repository_calls_them(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = str(folder / "cut.yaml")
    assert validate("-f", file, "-o", "github").startswith(
        "::error file=team a%2Cb%3A 50%25/cut.yaml,line=2,"
    )
    (folder / "elsewhere").mkdir()
    monkeypatch.chdir(folder / "elsewhere")
    (result,) = json.loads(validate("-f", file, "-o", "sarif"))["runs"][0]["results"]
    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == Path(file).as_uri()
