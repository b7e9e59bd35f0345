"""What a release writes of itself: changelog, Homebrew formula, provenance, checksums. Pure.

Sources of the formats: Keep a Changelog 1.1.0; Homebrew's "Python for Formula Authors"; in-toto Statement v1
with SLSA Provenance v1; the output of `sha256sum`.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

_VERSION = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)((?:a|b|rc)(?:0|[1-9]\d*))?")
_UNRELEASED = "## [Unreleased]\n"


class Unready(Exception):
    """Why there can be no release now; the text says what to do."""


def ordered(version: str) -> tuple[int, int, int, str]:
    """A version to compare others with; what comes before a release is less than it.

    Raises:
        Unready: it is not MAJOR.MINOR.PATCH, or that with aN, bN or rcN.
    """
    found = _VERSION.fullmatch(version)
    if found is None:
        raise Unready(f"{version!r} is no version: write MAJOR.MINOR.PATCH, or with rc1 behind it")
    major, minor, patch, before = found.groups()
    return int(major), int(minor), int(patch), before or "~"


def released(changelog: str, version: str, day: str) -> str:
    """The changelog with its unreleased part under the version, and an empty unreleased part above it.

    Raises:
        Unready: nothing is unreleased, or the version is there already.
    """
    head, mark, rest = changelog.partition(_UNRELEASED)
    if not mark or not notes(changelog).strip():
        raise Unready("CHANGELOG.md says nothing under [Unreleased]")
    if f"## [{version}]" in changelog:
        raise Unready(f"CHANGELOG.md has {version} already")
    return f"{head}{_UNRELEASED}\n## [{version}] - {day}\n{rest}"


def notes(changelog: str, version: str = "Unreleased") -> str:
    """What the changelog says of one version."""
    found = re.search(rf"^## \[{re.escape(version)}\].*?\n(.*?)(?=^## \[|\Z)", changelog, re.M | re.S)
    return found[1].strip("\n") + "\n" if found else ""


def needed(lock: Mapping[str, Any], root: str) -> list[Mapping[str, Any]]:
    """The packages of a uv.lock that the root needs everywhere, extras apart, by name."""
    packages = {item["name"]: item for item in lock["package"]}
    waiting, found = [root], set[str]()
    while waiting:
        for item in packages[waiting.pop()].get("dependencies", ()):
            if item["name"] not in found and "sys_platform == 'win32'" not in item.get("marker", ""):
                found.add(item["name"])
                waiting.append(item["name"])
    return [packages[name] for name in sorted(found)]


def formula(version: str, url: str, sha256: str, resources: Iterable[Mapping[str, Any]], about: str) -> str:
    """The Homebrew formula: kaitoctl's sdist, and the sdist of each package that it needs."""
    blocks = "".join(
        f'  resource "{item["name"]}" do\n'
        f'    url "{source["url"]}"\n'
        f'    sha256 "{source["hash"].removeprefix("sha256:")}"\n'
        "  end\n\n"
        for item in resources
        for source in [_source(item)]
    )
    return (
        "class Kaitoctl < Formula\n"
        "  include Language::Python::Virtualenv\n\n"
        f'  desc "{about}"\n'
        '  homepage "https://pypi.org/project/kaitoctl/"\n'
        f'  url "{url}"\n'
        f'  sha256 "{sha256}"\n'
        '  license "Apache-2.0"\n\n'
        '  depends_on "rust" => :build\n'
        '  depends_on "libyaml"\n'
        '  depends_on "python@3.13"\n\n'
        f"{blocks}"
        "  def install\n"
        "    virtualenv_install_with_resources\n"
        "  end\n\n"
        "  test do\n"
        f'    assert_match "{version}", shell_output("#{{bin}}/kaitoctl --version")\n'
        "  end\n"
        "end\n"
    )


def _source(package: Mapping[str, Any]) -> Mapping[str, str]:
    """What Homebrew installs a package from: its sdist, or a wheel that runs anywhere."""
    anywhere = [one for one in package.get("wheels", ()) if one["url"].endswith("-none-any.whl")]
    found = [package["sdist"]] if "sdist" in package else anywhere
    if not found:
        raise Unready(f"{package['name']} {package['version']} has no source for Homebrew")
    source: Mapping[str, str] = found[0]
    return source


def provenance(commit: str, version: str, when: str, digests: Mapping[str, str]) -> dict[str, Any]:
    """Who built what from what; whoever publishes it signs it."""
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": name, "digest": {"sha256": value}} for name, value in sorted(digests.items())],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": "https://kaitoctl.dev/release/v1",
                "externalParameters": {"version": version},
                "resolvedDependencies": [{"uri": "git+kaitoctl", "digest": {"gitCommit": commit}}],
            },
            "runDetails": {
                "builder": {"id": "https://kaitoctl.dev/release/local"},
                "metadata": {"startedOn": when},
            },
        },
    }


def bill(text: str, version: str, when: str) -> str:
    """The SBOM of uv as the release's: it names kaitoctl's version, and is the same for the same packages.

    uv leaves out a version that the project's backend reckons, and writes the moment and a number at random.
    """
    made = json.loads(text)
    made["metadata"]["timestamp"] = when
    made["metadata"]["component"] |= {"version": version, "purl": f"pkg:pypi/kaitoctl@{version}"}
    del made["serialNumber"]
    content = json.dumps(made, sort_keys=True)
    made["serialNumber"] = f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, content)}"
    return json.dumps(made, indent=2) + "\n"


def sums(digests: Mapping[str, str]) -> str:
    """What `sha256sum --check` reads."""
    return "".join(f"{value}  {name}\n" for name, value in sorted(digests.items()))
