"""What `validate` writes for continuous integration: GitHub's annotations, SARIF 2.1.0, JUnit XML.

The same judged documents as elsewhere, in the words that `-o table` shows. Sources of the formats: GitHub,
"Workflow commands for GitHub Actions"; OASIS, "Static Analysis Results Interchange Format (SARIF) Version
2.1.0"; the Jenkins JUnit plugin's schema, which GitLab, Azure Pipelines and CircleCI read, too.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import quote
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from kaitoctl import __version__
from kaitoctl.kaito.validation.codes import CODES
from kaitoctl.kube.objects import Object
from kaitoctl.screens.output import visible
from kaitoctl.screens.validation_report import Judged, Place

_SARIF_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


def in_format(name: str, judged: list[Judged], *, strict: bool) -> str:
    """What is wrong, as `-o github`, `-o sarif` or `-o junit` has it."""
    if name == "junit":
        return as_junit(judged, strict=strict)
    return (as_github if name == "github" else as_sarif)(judged)


def as_github(judged: Iterable[Judged]) -> str:
    """A workflow command for each problem, which GitHub shows at the line of the pull request."""
    lines = (
        f"::{place.problem.severity} {_properties(result, place)}::{_escape(place.problem.in_full)}\n"
        for result in judged
        for place in result.places
    )
    return "".join(lines)


def _properties(result: Judged, place: Place) -> str:
    found: dict[str, str | int | None] = {
        "file": _path(result.source),
        "line": place.line or 1,
        "col": place.column,
        "title": f"{place.problem.code} {_title(place.problem.code)}",
    }
    return ",".join(f"{key}={_escape(str(value), more=':,')}" for key, value in found.items() if value)


def _escape(text: str, more: str = "") -> str:
    for sign in f"%\r\n{more}":
        text = text.replace(sign, f"%{ord(sign):02X}")
    return text


def as_sarif(judged: Iterable[Judged]) -> str:
    """A SARIF log with one run: a rule for each code that was found, a result for each problem."""
    found = [(result, place) for result in judged for place in result.places]
    codes = sorted({place.problem.code for _, place in found})
    driver = {
        "name": "kaitoctl",
        "semanticVersion": __version__,
        "rules": [_rule(code) for code in codes],
    }
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "results": [_result(result, place, codes.index(place.problem.code)) for result, place in found],
    }
    return json.dumps({"$schema": _SARIF_SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2) + "\n"


def _rule(code: str) -> Object:
    meaning = CODES[code].meaning
    return {
        "id": code,
        "shortDescription": {"text": _title(code)},
        "fullDescription": {"text": meaning},
        "help": {"text": f"{meaning}\n\nMore: kaitoctl explain {code}"},
    }


def _result(result: Judged, place: Place, rule: int) -> Object:
    problem = place.problem
    region = {"startLine": place.line or 1} | ({"startColumn": place.column} if place.column else {})
    location = {"artifactLocation": {"uri": _uri(result.source)}, "region": region}
    about = ".".join(filter(None, (result.namespace, result.name, problem.path)))
    return {
        "ruleId": problem.code,
        "ruleIndex": rule,
        "level": problem.severity,
        "message": {"text": problem.in_full},
        "locations": [{"physicalLocation": location, "logicalLocations": [{"fullyQualifiedName": about}]}],
        "properties": {"kaito": problem.kaito or "", "judgedAs": result.target},
    }


def as_junit(judged: list[Judged], *, strict: bool) -> str:
    """A test suite for each file and a test case for each document; a warning alone is its output."""
    suites: dict[str, list[Judged]] = {}
    for result in judged:
        suites.setdefault(result.source, []).append(result)
    root = Element("testsuites", {"name": "kaitoctl validate"} | _counts(judged, strict))
    for source, results in suites.items():
        suite = SubElement(root, "testsuite", {"name": visible(source)} | _counts(results, strict))
        for result in results:
            suite.append(_case(result, strict=strict))
    indent(root)
    return tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _case(result: Judged, *, strict: bool) -> Element:
    name = "/".join(filter(None, (result.namespace, result.name))) or f"document {result.index + 1}"
    case = Element("testcase", name=visible(name), classname=visible(result.source))
    forbids = [place for place in result.places if strict or place.problem.severity == "error"]
    if forbids:
        first = forbids[0].problem
        failure = SubElement(case, "failure", type=first.code, message=visible(first.text))
        failure.text = "\n".join(_lines(result, forbids))
    if allows := [place for place in result.places if place not in forbids]:
        SubElement(case, "system-out").text = "\n".join(_lines(result, allows))
    return case


def _counts(results: list[Judged], strict: bool) -> dict[str, str]:
    failures = sum(not result.is_valid(strict=strict) for result in results)
    return {"tests": str(len(results)), "failures": str(failures), "errors": "0"}


def _lines(result: Judged, places: Iterable[Place]) -> Iterator[str]:
    for place in places:
        where = ":".join(str(part) for part in (result.source, place.line, place.column) if part)
        problem = place.problem
        yield visible(f"{where}: {problem.severity} {problem.code}: {problem.in_full}")


def _title(code: str) -> str:
    return CODES[code].title


def _path(source: str) -> str:
    """The file as the repository calls it: relative to the working folder where it is in it, with slashes."""
    path = Path(source)
    inside = path.is_absolute() and path.is_relative_to(Path.cwd())
    return (path.relative_to(Path.cwd()) if inside else path).as_posix()


def _uri(source: str) -> str:
    path = _path(source)
    return Path(path).as_uri() if path.startswith("/") else quote(path)
