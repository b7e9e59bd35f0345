"""`python -m release VERSION`: build in a copy; change, commit and tag here only when all has come out."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from release import chart, krew
from release.documents import Unready, formula, needed, notes, ordered, provenance, released, sums

ROOT = Path(__file__).resolve().parent.parent
_UV = [sys.executable, "-m", "uv"]


def main() -> int:
    """Make a release of the committed state."""
    parser = argparse.ArgumentParser(prog="dev.py release", description=__doc__)
    parser.add_argument("version", help="such as 0.2.0 or 0.2.0rc1")
    parser.add_argument(
        "--dry-run", action="store_true", help="build all of it; change, commit and tag nothing"
    )
    parser.add_argument(
        "--downloads",
        default="https://downloads.example/kaitoctl",
        metavar="URL",
        help="where the folder of the release will be; krew's manifest names it",
    )
    asked = parser.parse_args()
    try:
        made = make(asked.version, asked.downloads, dry_run=asked.dry_run)
    except Unready as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    files = " ".join(str(made / name) for name in ("*.whl", "kaitoctl-*.tar.gz"))
    print(f"\n{made}:", *sorted(f"  {file.name}" for file in made.iterdir()), sep="\n")
    if not asked.dry_run:
        print(f"\nNow:\n  git push --follow-tags\n  python -m twine upload {files}")
    return 0


def make(version: str, downloads: str, *, dry_run: bool) -> Path:
    """Build a release; the folder that holds it.

    Raises:
        Unready: there can be none now.
    """
    if dirt := _git("status", "--porcelain"):
        raise Unready(f"commit or stash first:\n{dirt}")
    source = ROOT / "kaitoctl" / "__init__.py"
    present = _version(source.read_text("utf-8"))
    tags = [tag.removeprefix("v") for tag in _git("tag", "--list", "v[0-9]*").split()]
    if tags and ordered(version) <= max(map(ordered, tags)):
        raise Unready(f"{version} is not above {max(tags, key=ordered)}")
    if ordered(version) < ordered(present):
        raise Unready(f"{version} is below {present}, which kaitoctl/__init__.py says")
    now, commit = datetime.now(UTC), _git("rev-parse", "HEAD")
    edits = {
        source: source.read_text("utf-8").replace(f'"{present}"', f'"{version}"'),
        ROOT / "CHANGELOG.md": released(
            (ROOT / "CHANGELOG.md").read_text("utf-8"), version, f"{now:%Y-%m-%d}"
        ),
    }
    for name in ("controller.yaml", "webhook.yaml", "kustomization.yaml", "chart/Chart.yaml"):
        file = ROOT / "deploy" / name
        edits[file] = chart.of_version(file.read_text("utf-8"), present, version)
    folder = ROOT / "dist" / f"kaitoctl-{version}"
    shutil.rmtree(folder, ignore_errors=True)
    with tempfile.TemporaryDirectory() as name:
        copy = Path(name) / "kaitoctl"
        copy.mkdir()
        archive = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, check=True, capture_output=True).stdout
        subprocess.run(["tar", "-x", "-C", str(copy)], input=archive, check=True)
        for file, text in edits.items():
            (copy / file.relative_to(ROOT)).write_text(text, "utf-8")
        _build(copy, folder, f"{downloads.rstrip('/')}/kaitoctl-{version}")
    (folder / "NOTES.md").write_text(notes(edits[ROOT / "CHANGELOG.md"], version), "utf-8")
    digests = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.iterdir())}
    statement = provenance(commit, version, f"{now:%Y-%m-%dT%H:%M:%SZ}", digests)
    (folder / "provenance.intoto.json").write_text(json.dumps(statement, indent=2) + "\n", "utf-8")
    (folder / "SHA256SUMS").write_text(sums(digests), "utf-8")
    if not dry_run:
        for file, text in edits.items():
            file.write_text(text, "utf-8")
        _git("commit", "--quiet", "--all", "--message", f"Release {version}")
        _git("tag", "--annotate", f"v{version}", "--message", f"kaitoctl {version}")
    return folder


def _build(copy: Path, folder: Path, downloads: str) -> None:
    """Wheel, sdist, chart, lock with hashes, SBOM, Homebrew formula and krew's plugin of a source folder."""
    import yaml  # what is here already for a release, and for nothing else

    epoch = _git("log", "-1", "--format=%ct")
    _run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder)],
        copy,
        SOURCE_DATE_EPOCH=epoch,
    )
    chart.package(copy / "deploy", folder)
    _run([*_UV, "lock", "--quiet"], copy)
    export = [*_UV, "export", "--quiet", "--locked", "--no-dev", "--no-emit-project", "--no-header"]
    _run([*export, "--format", "requirements-txt", "--output-file", str(folder / "requirements.txt")], copy)
    # What the image has: the webhook's packages, too.
    locked = ["--extra", "webhook", "--format", "requirements-txt"]
    _run([*export, *locked, "--output-file", str(folder / "requirements-webhook.txt")], copy)
    # Its serial number is random and it names the moment: the one file that differs from build to build.
    bom = [*_UV, "export", "--quiet", "--preview", "--locked", "--no-dev", "--format", "cyclonedx1.5"]
    _run([*bom, "--output-file", str(folder / "sbom.cdx.json")], copy)
    lock = tomllib.loads((copy / "uv.lock").read_text("utf-8"))
    project = tomllib.loads((copy / "pyproject.toml").read_text("utf-8"))["project"]
    (sdist,) = folder.glob("*.tar.gz")  # the chart is a .tgz, and krew's archive is not there yet
    version = sdist.name.removeprefix("kaitoctl-").removesuffix(".tar.gz")
    url = f"https://files.pythonhosted.org/packages/source/k/kaitoctl/{sdist.name}"
    digest = hashlib.sha256(sdist.read_bytes()).hexdigest()
    about = project["description"].partition(":")[0]
    text = formula(version, url, digest, needed(lock, "kaitoctl"), about)
    (folder / "kaitoctl.rb").write_text(text, "utf-8")
    (wheel,) = folder.glob("*.whl")
    plugin = krew.archive(folder, wheel, folder / "requirements.txt", copy / "LICENSE", version)
    digest = hashlib.sha256(plugin.read_bytes()).hexdigest()
    made = krew.manifest(version, f"{downloads}/{plugin.name}", digest, about)
    (folder / f"{krew.NAME}.yaml").write_text(yaml.safe_dump(made, sort_keys=False), "utf-8")


def _version(text: str) -> str:
    found = re.search(r'^__version__ = "([^"]+)"$', text, re.MULTILINE)
    assert found, "kaitoctl/__init__.py has no __version__"
    return found[1]


def _run(command: Sequence[str], folder: Path, **env: str) -> None:
    subprocess.run(command, cwd=folder, env={**os.environ, **env}, check=True)


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True)
    return done.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
