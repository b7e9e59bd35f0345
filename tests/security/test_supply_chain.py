"""What we ship and what comes with it: the same bytes each time, known licences, images that are named."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from kaitoctl.kaito import catalog
from kaitoctl.kaito.desired import Settings

ROOT = Path(__file__).parent.parent.parent
GOLDEN = ROOT / "tests" / "data" / "golden"


# --- the wheel -------------------------------------------------------------------------------------------


def build(folder: Path, umask: int) -> bytes:
    copy = folder / "source"
    shutil.copytree(
        ROOT,
        copy,
        ignore=shutil.ignore_patterns(
            ".git", ".venv", "tests", "bench", "docs", ".*cache", "__pycache__", "dist"
        ),
    )
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(copy)]
    env = {**os.environ, "SOURCE_DATE_EPOCH": "1700000000"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env, umask=umask)
    assert done.returncode == 0, done.stderr + done.stdout
    (wheel,) = folder.glob("*.whl")
    return wheel.read_bytes()


def test_two_builds_of_the_wheel_are_the_same_bytes(tmp_path: Path) -> None:
    """From two folders, at two times, whatever the builder's umask."""
    (tmp_path / "one").mkdir()
    (tmp_path / "other").mkdir()
    assert build(tmp_path / "one", 0o022) == build(tmp_path / "other", 0o077)


PAGES_WITHOUT = """
import sys
hidden = set(sys.argv[1:])
class Hidden:
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in hidden:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Hidden)
from release.man_pages import pages
print(len(pages()))
"""


def test_a_build_brings_all_that_it_imports() -> None:
    """Who installs from source builds where nothing is but what the build asks for."""
    there = with_theirs(declared()["build-system"]["requires"])
    modules = importlib.metadata.packages_distributions()
    hidden = {module for module, names in modules.items() if there.isdisjoint(map(normalised, names))}
    assert {"yaml", "kubernetes", "jsonschema"} <= hidden
    command = [sys.executable, "-c", PAGES_WITHOUT, *(hidden - {"kaitoctl"})]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 30


def test_a_build_asks_for_the_versions_that_run() -> None:
    project = {Requirement(one).name: one for one in declared()["project"]["dependencies"]}
    asked = {Requirement(one).name: one for one in declared()["build-system"]["requires"]}
    assert {name: one for name, one in asked.items() if project.get(name, one) != one} == {}


# --- what it needs ---------------------------------------------------------------------------------------

LICENCES = re.compile(
    r"(Apache[- ]2\.0|Apache License 2\.0|Apache Software License|Apache License,? Version 2\.0|Apache"
    r"|MIT( License)?"
    r"|BSD( License)?|BSD-[23]-Clause|ISC( License.*)?|PSF-2\.0|Python Software Foundation License|MPL-2\.0"
    r"|Mozilla Public License 2\.0 \(MPL 2\.0\)|The Unlicense \(Unlicense\))"
)
"""All let a program under the Apache License use the package as it is."""


def declared() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def runtime() -> set[str]:
    """The packages that come with kaitoctl, by their normalised names."""
    return with_theirs(declared()["project"]["dependencies"])


def with_theirs(requirements: Iterable[str]) -> set[str]:
    """The packages that these requirements bring, by their normalised names."""
    waiting, found = list(requirements), set()
    while waiting:
        requirement = Requirement(waiting.pop())
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        name = normalised(requirement.name)
        if name not in found:
            found.add(name)
            waiting += importlib.metadata.requires(name) or []
    return found


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def licence(name: str) -> list[str]:
    metadata = importlib.metadata.metadata(name)
    if said := metadata.get_all("License-Expression"):
        return re.split(r" (?:AND|OR) ", said[0])
    lines = [line for line in metadata.get_all("Classifier") or [] if line.startswith("License ::")]
    short = (metadata.get_all("License") or ["none"])[0]
    return [line.split(" :: ")[-1] for line in lines] or short.splitlines()[:1]


def test_everything_that_comes_with_us_has_a_licence_that_allows_it() -> None:
    needed = runtime()
    assert len(needed) > 10
    odd = {name: licence(name) for name in needed if not all(map(LICENCES.fullmatch, licence(name)))}
    assert odd == {}


def test_known_vulnerabilities() -> None:
    """With pip-audit, where its service answers; elsewhere the summary of the run says that nobody looked."""
    program = shutil.which("pip-audit")
    if program is None:
        pytest.skip("NOT AUDITED: pip-audit is not installed; known vulnerabilities were not looked for")
    done = subprocess.run([program, "--strict", "--format=json"], capture_output=True, text=True, check=False)
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        pytest.skip(f"NOT AUDITED: pip-audit could not look: {done.stderr.strip()[-200:]}")
    assert packages
    assert {one["name"]: one["vulns"] for one in packages if one.get("vulns")} == {}


def test_without_an_auditor_the_summary_says_so(tmp_path: Path) -> None:
    """A skip is no pass: its reason is in the last lines of the run."""
    node = f"{Path(__file__)}::{test_known_vulnerabilities.__name__}"
    command = [sys.executable, "-m", "pytest", node, "-q", "-p", "no:cacheprovider"]
    env = {**os.environ, "PATH": str(tmp_path)}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=env)
    assert "SKIPPED [1]" in done.stdout
    assert "NOT AUDITED" in done.stdout


# --- images ----------------------------------------------------------------------------------------------

IMAGE = re.compile(r"^\s*(?:- )?[\"']?image[\"']?:\s*[\"']?([^\s\"',]+)", re.MULTILINE)
SHIPPED = [
    *(ROOT / "deploy").rglob("*.yaml"),
    *(ROOT / "templates").iterdir(),
    *(ROOT / "docs").rglob("*.md"),
    ROOT / "README.md",
]


def images() -> Iterator[tuple[str, str]]:
    settings = Settings()
    for image in (settings.downloader_image, settings.pusher_image, settings.adapter_base_image):
        yield "Settings", image
    for preset in catalog.presets().values():
        for generation in preset.images:
            if known := preset.image(generation, settings.registry):  # a private one is the user's
                yield preset.name, known
    for file in (ROOT / "deploy").rglob("*.yaml"):
        if "chart" not in file.parts:  # its image is put together of values
            for image in IMAGE.findall(file.read_text()):
                yield file.name, image
    for file in (*(GOLDEN / "desired").rglob("*.*"), GOLDEN / "examples.txt", GOLDEN / "tuning.txt"):
        for image in IMAGE.findall(file.read_text() if file.is_file() else ""):
            yield file.name, image


def test_every_image_that_we_choose_is_of_a_version() -> None:
    found = list(images())
    assert len(found) > 40
    for where, image in found:
        name, _, tag = image.rpartition(":")
        assert name and tag and "/" not in tag and tag != "latest", f"{where}: {image}"


def test_nothing_that_we_ship_says_latest_or_pipes_the_network_into_a_shell() -> None:
    for file in SHIPPED:
        text = file.read_text()
        assert not re.search(r":latest\b", text), file
        assert not re.search(r"(curl|wget)[^\n]*\|\s*(sudo )?(ba)?sh\b", text), file
