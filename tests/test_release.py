"""What a release says of itself, part by part; the whole of it is in test_whole_release.py."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from release import krew
from release.documents import Unready, formula, needed, notes, ordered, provenance, released, sums

ROOT = Path(__file__).parent.parent
CHANGELOG = """\
# Changelog

## [Unreleased]

### Added
- A thing.

## [0.1.0] - 2026-01-01

### Added
- The first.
"""


def test_versions_have_the_order_of_pep_440() -> None:
    rising = ["0.1.0", "0.1.1a1", "0.1.1rc1", "0.1.1", "0.2.0", "1.0.0", "10.0.0"]
    assert sorted({*rising}, key=ordered) == rising


@pytest.mark.parametrize(
    "text", ["", "1", "1.2", "v1.2.3", "1.2.3.4", "01.2.3", "1.2.3-rc1", "1.2.x", "1.2.3 "]
)
def test_what_is_no_version_is_refused(text: str) -> None:
    with pytest.raises(Unready, match=r"MAJOR\.MINOR\.PATCH"):
        ordered(text)


def test_the_changelog_gets_a_section_and_loses_nothing() -> None:
    text = released(CHANGELOG, "0.2.0", "2026-11-29")
    assert notes(text, "0.2.0") == "### Added\n- A thing.\n"
    assert notes(text).strip() == ""
    assert notes(text, "0.1.0") == notes(CHANGELOG, "0.1.0") == "### Added\n- The first.\n"
    with pytest.raises(Unready, match="says nothing"):
        released(text, "0.3.0", "2026-12-01")
    with pytest.raises(Unready, match="already"):
        released(CHANGELOG, "0.1.0", "2026-12-01")


def test_our_own_changelog_can_be_released() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    assert notes(released(text, "99.0.0", "2026-11-29"), "99.0.0") == notes(text)


def package(name: str, *needs: str, marker: str = "", sdist: bool = True) -> dict[str, object]:
    file = {
        "url": f"https://files/{name}-1{'.tar.gz' if sdist else '-py3-none-any.whl'}",
        "hash": f"sha256:{name}",
    }
    wanted = [{"name": one, **({"marker": marker} if marker else {})} for one in needs]
    return {
        "name": name,
        "version": "1",
        "dependencies": wanted,
        **({"sdist": file} if sdist else {"wheels": [file]}),
    }


def test_the_formula_has_what_is_needed_and_nothing_else() -> None:
    lock = {
        "package": [
            package("kaitoctl", "b", "a"),
            package("a", "c"),
            package("b", "a", sdist=False),
            package("c", "windows-only", marker="sys_platform == 'win32'"),
            package("windows-only"),
            package("of-tests"),
        ]
    }
    found = needed(lock, "kaitoctl")
    assert [item["name"] for item in found] == ["a", "b", "c"]
    text = formula("0.2.0", "https://files/kaitoctl-0.2.0.tar.gz", "beef", found, "Workspaces")
    assert text.count("  resource ") == 3
    for words in ('url "https://files/b-1-py3-none-any.whl"', 'sha256 "c"', 'sha256 "beef"', '"0.2.0"'):
        assert words in text
    with pytest.raises(Unready, match="d 1 has no source"):
        formula("1.0.0", "", "", [{"name": "d", "version": "1"}], "")


def test_sums_are_as_sha256sum_reads_them(tmp_path: Path) -> None:
    (tmp_path / "a b").write_bytes(b"x")
    (tmp_path / "SHA256SUMS").write_text(sums({"a b": hashlib.sha256(b"x").hexdigest()}))
    subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=tmp_path, check=True)
    subject = provenance("c0ffee", "0.2.0", "2026-11-29T00:00:00Z", {"b": "2", "a": "1"})["subject"]
    assert [one["name"] for one in subject] == ["a", "b"]


def krew_takes(manifest: Any) -> list[str]:
    """What krew's index validation finds wrong (kubernetes-sigs/krew, internal/index/validation)."""
    spec = manifest["spec"]
    (platform,) = spec["platforms"]
    keys = {one["key"] for one in platform["selector"]["matchExpressions"]}
    rules = {
        "apiVersion": manifest["apiVersion"] == "krew.googlecontainertools.github.com/v1alpha2",
        "kind": manifest["kind"] == "Plugin",
        "name": re.fullmatch(r"[\w-]+", manifest["metadata"]["name"]) is not None,
        "version": re.fullmatch(r"v\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?", spec["version"]) is not None,
        "shortDescription": 0 < len(spec["shortDescription"]) <= 50 and "\n" not in spec["shortDescription"],
        "sha256": re.fullmatch(r"[a-f0-9]{64}", platform["sha256"]) is not None,
        "uri": platform["uri"].startswith("https://"),
        "bin": bool(platform["bin"]),
        "files": platform["files"] != [] and all(one["from"] and one["to"] for one in platform["files"]),
        "selector": keys <= {"os", "arch"},
        "fields": set(spec)
        <= {"version", "shortDescription", "description", "caveats", "homepage", "platforms"}
        and set(platform) <= {"uri", "sha256", "selector", "files", "license", "bin"},
    }
    return [name for name, holds in rules.items() if not holds]


@pytest.mark.parametrize("version", ["0.2.0", "1.0.0rc1"])
def test_krew_takes_the_manifest(version: str) -> None:
    made = krew.manifest(version, "https://downloads.example/a.tar.gz", "0" * 64, "Workspaces")
    assert krew_takes(made) == []
    made["spec"]["version"] = version
    assert krew_takes(made) == ["version"]


def test_the_plugin_of_krew_installs_itself_once_and_runs(tmp_path: Path) -> None:
    """Unpacked and linked as krew does it, without any other package: `--help` needs none."""
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    (tmp_path / "requirements.txt").touch()
    parts = (tmp_path, wheel, tmp_path / "requirements.txt", ROOT / "LICENSE", "9.9.9")
    archive = krew.archive(*parts)
    first = archive.read_bytes()
    assert krew.archive(*parts).read_bytes() == first
    store, tools = tmp_path / "store", tmp_path / "bin"
    for folder in (store, tools):
        folder.mkdir()
    subprocess.run(["tar", "-xzf", str(archive), "-C", str(store)], check=True)
    (tools / "kubectl-kaitoctl").symlink_to(store / krew.BIN)
    (tools / "python3").symlink_to(sys.executable)
    env = {"PATH": f"{tools}:/usr/bin:/bin", "HOME": str(tmp_path), "PIP_CONFIG_FILE": "/dev/null"}
    calls = [
        subprocess.run(["kubectl-kaitoctl", "--help"], env=env, capture_output=True, text=True, check=True)
        for _ in range(2)
    ]
    assert ["once" in one.stderr for one in calls] == [True, False]
    assert calls[0].stdout == calls[1].stdout
    assert "create" in calls[0].stdout
