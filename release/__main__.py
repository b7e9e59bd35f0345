"""`python -m release VERSION`: build in a copy; change, commit and tag here only when all has come out."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from release import chart, krew
from release.documents import Unready, bill, formula, needed, notes, ordered, provenance, released, sums

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
        help="where the folder of the release will be: krew's manifest names it; asked for but in a dry run",
    )
    asked = parser.parse_args()
    if not asked.dry_run and asked.downloads == parser.get_default("downloads"):
        parser.error("krew's manifest names where the release's folder will be: --downloads URL")
    try:
        made = make(asked.version, asked.downloads, dry_run=asked.dry_run)
    except Unready as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except subprocess.CalledProcessError as error:
        print(f"error: {shlex.join(map(str, error.cmd))} failed; its words are above", file=sys.stderr)
        return 1
    files = " ".join(str(made / name) for name in ("*.whl", "kaitoctl-*.tar.gz"))
    print(f"\n{made}:", *sorted(f"  {file.name}" for file in made.iterdir()), sep="\n")
    if not asked.dry_run:
        print(f"\nNow:\n  git push --follow-tags\n  python -m twine upload {files}")
        print(f"  and publish the folder as {asked.downloads.rstrip('/')}/{made.name}/")
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
    epoch = int(_git("log", "-1", "--format=%ct"))
    committed = datetime.fromtimestamp(epoch, UTC)
    edits = {
        source: source.read_text("utf-8").replace(f'"{present}"', f'"{version}"'),
        ROOT / "CHANGELOG.md": released(
            (ROOT / "CHANGELOG.md").read_text("utf-8"), version, f"{committed:%Y-%m-%d}"
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
        _build(copy, folder, f"{downloads.rstrip('/')}/kaitoctl-{version}", epoch)
    bom = folder / "sbom.cdx.json"
    bom.write_text(bill(bom.read_text("utf-8"), version, f"{committed:%Y-%m-%dT%H:%M:%SZ}"), "utf-8")
    (folder / "NOTES.md").write_text(notes(edits[ROOT / "CHANGELOG.md"], version), "utf-8")
    statement = provenance(commit, version, f"{now:%Y-%m-%dT%H:%M:%SZ}", _digests(folder))
    (folder / "provenance.intoto.json").write_text(json.dumps(statement, indent=2) + "\n", "utf-8")
    (folder / "SHA256SUMS").write_text(sums(_digests(folder)), "utf-8")
    if not dry_run:
        for file, text in edits.items():
            file.write_text(text, "utf-8")
        _git("commit", "--quiet", "--all", "--message", f"Release {version}")
        _git("tag", "--annotate", f"v{version}", "--message", f"kaitoctl {version}")
    return folder


def _digests(folder: Path) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}


def _build(copy: Path, folder: Path, downloads: str, epoch: int) -> None:
    """Wheel, sdist, chart, lock with hashes, SBOM, Homebrew formula and krew's plugin of a source folder."""
    import yaml  # what is here already for a release, and for nothing else

    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder)]
    _run(build, copy, SOURCE_DATE_EPOCH=str(epoch))
    chart.package(copy / "deploy", folder)
    _run([*_UV, "lock", "--quiet"], copy)
    export = [*_UV, "export", "--quiet", "--locked", "--no-dev", "--no-emit-project", "--no-header"]
    _run([*export, "--format", "requirements-txt", "--output-file", str(folder / "requirements.txt")], copy)
    # What the images have: the webhook's packages, and those of the model server.
    extras = ["--format", "requirements-txt", "--extra", "webhook"]
    _run([*export, *extras, "--output-file", str(folder / "requirements-webhook.txt")], copy)
    extras += ["--extra", "runtime"]
    _run([*export, *extras, "--output-file", str(folder / "requirements-runtime.txt")], copy)
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
