"""`dev.py release` from its first check to its tag, in a clone; what came of it, installed from an index.

The index is one on the loopback, of what this environment has: a release locks those packages.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from package_index import an_index

from release.documents import notes

ROOT = Path(__file__).parent.parent
VERSION = "99.1.0"
PLACE = "https://downloads.example/here"


@dataclass(frozen=True)
class Release:
    """A clone after a release."""

    clone: Path
    env: dict[str, str]
    index: str

    @property
    def folder(self) -> Path:
        return self.clone / "dist" / f"kaitoctl-{VERSION}"

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=self.clone, env=self.env, capture_output=True, text=True, check=False
        )

    def read(self, name: str) -> str:
        return (self.folder / name).read_text("utf-8")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Release]:
    folder = tmp_path_factory.mktemp("release")
    clone = folder / "clone"
    clone.mkdir()
    tracked = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(tracked, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    for name in names:
        if name and (ROOT / name).is_file():
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, clone / name)
    with an_index(clone / "dist" / f"kaitoctl-{VERSION}") as index:
        who = {
            f"GIT_{one}_{what}": "t@localhost"
            for one in ("AUTHOR", "COMMITTER")
            for what in ("NAME", "EMAIL")
        }
        env = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "UV_DEFAULT_INDEX": index,
            "UV_CACHE_DIR": str(folder / "cache"),
            "UV_PYTHON": sys.executable,
            "GIT_CONFIG_NOSYSTEM": "1",
            **who,
        }
        release = Release(clone, env, index)
        for words in (["init", "-q"], ["add", "--all"], ["commit", "-qm", "All"]):
            assert release.run("git", *words).returncode == 0
        done = release.run(sys.executable, "-m", "release", VERSION, "--downloads", PLACE)
        assert done.returncode == 0, done.stdout + done.stderr
        yield release
    shutil.rmtree(folder)


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def test_all_is_there_and_has_the_sum_that_each_document_says(made: Release) -> None:
    plugin = f"kubectl-kaitoctl-{VERSION}.tar.gz"
    built = {
        f"kaitoctl-{VERSION}-py3-none-any.whl",
        f"kaitoctl-{VERSION}.tar.gz",
        f"kaitoctl-{VERSION}.tgz",
        plugin,
    }
    written = {
        "NOTES.md",
        "kaitoctl.rb",
        "kaitoctl.yaml",
        "requirements.txt",
        "requirements-runtime.txt",
        "requirements-webhook.txt",
        "sbom.cdx.json",
    }
    sums = {file.name: digest(file) for file in made.folder.iterdir()}
    assert set(sums) == built | written | {"SHA256SUMS", "provenance.intoto.json"}
    listed = {line[66:]: line[:64] for line in made.read("SHA256SUMS").splitlines()}
    assert listed == {name: sums[name] for name in sums if name != "SHA256SUMS"}
    statement = json.loads(made.read("provenance.intoto.json"))
    assert {one["name"]: one["digest"]["sha256"] for one in statement["subject"]} == {
        name: sums[name] for name in built | written
    }
    (platform,) = yaml.safe_load(made.read("kaitoctl.yaml"))["spec"]["platforms"]
    assert (platform["uri"], platform["sha256"]) == (f"{PLACE}/kaitoctl-{VERSION}/{plugin}", sums[plugin])
    assert f'sha256 "{sums[f"kaitoctl-{VERSION}.tar.gz"]}"' in made.read("kaitoctl.rb")
    with tarfile.open(made.folder / plugin) as archive:
        wheel = archive.extractfile(f"kaitoctl-{VERSION}-py3-none-any.whl")
        assert wheel is not None
        assert hashlib.sha256(wheel.read()).hexdigest() == sums[f"kaitoctl-{VERSION}-py3-none-any.whl"]


def test_every_document_names_the_same_packages_at_the_same_versions(made: Release) -> None:
    locked = dict(re.findall(r"^([\w.-]+)==(\S+)", made.read("requirements.txt"), re.MULTILINE))
    assert {"typer", "aiohttp", "kubernetes", "msgspec"} <= set(locked)
    assert made.read("requirements.txt").count("--hash=sha256:") >= len(locked)
    more = dict(re.findall(r"^([\w.-]+)==(\S+)", made.read("requirements-webhook.txt"), re.MULTILINE))
    most = dict(re.findall(r"^([\w.-]+)==(\S+)", made.read("requirements-runtime.txt"), re.MULTILINE))
    assert most.items() > more.items() > locked.items()
    assert {"xllamacpp", "cryptography"} <= set(most)
    assert "xllamacpp" not in more
    bom = json.loads(made.read("sbom.cdx.json"))
    assert {one["name"]: one["version"] for one in bom["components"]} == locked
    root = bom["metadata"]["component"]
    assert (root["name"], root["version"], root["purl"]) == (
        "kaitoctl",
        VERSION,
        f"pkg:pypi/kaitoctl@{VERSION}",
    )
    brewed = set(re.findall(r'resource "([\w.-]+)"', made.read("kaitoctl.rb")))
    assert brewed <= set(locked)
    assert set(locked) - brewed <= {"colorama", "tzdata"}, "Windows' own"


def test_what_is_committed_and_tagged_is_what_was_built(made: Release) -> None:
    head, tag = (made.run("git", "rev-parse", one).stdout for one in ("HEAD", f"v{VERSION}^{{commit}}"))
    assert head == tag
    assert made.run("git", "status", "--porcelain").stdout == ""
    assert made.read("NOTES.md") == notes((ROOT / "CHANGELOG.md").read_text("utf-8"))
    with tarfile.open(made.folder / f"kaitoctl-{VERSION}.tar.gz") as sources:
        for entry in sources:
            name = entry.name.partition("/")[2]
            file = sources.extractfile(entry)
            if file is not None and name != "PKG-INFO":
                assert file.read() == (made.clone / name).read_bytes(), name
    nowhere = made.run(sys.executable, "-m", "release", "99.2.0")
    assert (nowhere.returncode, "--downloads URL" in nowhere.stderr) == (2, True)
    again = made.run(sys.executable, "-m", "release", VERSION, "--downloads", PLACE)
    assert (again.returncode, again.stdout) == (2, "")
    assert f"{VERSION} is not above {VERSION}" in again.stderr


def test_it_is_installed_from_an_index_by_name_and_version_and_runs(made: Release, tmp_path: Path) -> None:
    env = {**made.env, "UV_TOOL_DIR": str(tmp_path / "tools"), "UV_TOOL_BIN_DIR": str(tmp_path / "bin")}
    env["PATH"] = "/usr/bin:/bin"
    uv = [sys.executable, "-m", "uv"]

    def run(*command: str, code: int = 0) -> str:
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    run(*uv, "tool", "install", "kaitoctl==99.0.0", code=1)
    run(*uv, "tool", "install", f"kaitoctl=={VERSION}")
    kaitoctl = str(tmp_path / "bin" / "kaitoctl")
    assert run(kaitoctl, "--version") == f"kaitoctl {VERSION}\n"
    assert {file.name for file in (tmp_path / "bin").iterdir()} == {
        "kaitoctl",
        "kubectl-kaitoctl",
        "kubectl_complete-kaitoctl",
    }
    falcon = ("--preset", "falcon-7b", "--instance-type", "Standard_NC12s_v3", "--label", "a=b")
    workspace = run(kaitoctl, "create", "workspace", "w", *falcon, "--dry-run=client", "-o", "yaml")
    (tmp_path / "w.yaml").write_text(workspace)
    run(kaitoctl, "validate", "-f", "w.yaml")
    for name in ("templates/inference.yaml.j2", "schemas/kaito.sh_workspaces.yaml", "py.typed"):
        assert list((tmp_path / "tools").glob(f"*/lib/python*/site-packages/kaitoctl/{name}")), name
    assert list((tmp_path / "tools").glob("*/share/man/man1/kaitoctl-status.1"))


def test_packages_are_installed_by_their_hashes_and_a_wrong_one_is_refused(
    made: Release, tmp_path: Path
) -> None:
    uv = [sys.executable, "-m", "uv"]
    assert made.run(*uv, "venv", "-q", str(tmp_path / "v")).returncode == 0
    install = [
        *uv,
        "pip",
        "install",
        "-q",
        "--python",
        str(tmp_path / "v"),
        "--no-cache",
        "--require-hashes",
        "-r",
    ]
    requirements = made.read("requirements-webhook.txt")
    lines = [one for one in requirements.splitlines() if one.startswith("rich==")]
    (tmp_path / "wrong.txt").write_text(f"{lines[0]}\n    --hash=sha256:{'0' * 64}\n")
    refused = made.run(*install, str(tmp_path / "wrong.txt"), "--no-deps")
    assert refused.returncode != 0
    assert "ash mismatch" in refused.stderr
    done = made.run(*install, str(made.folder / "requirements-webhook.txt"))
    assert done.returncode == 0, done.stderr
    wheel = str(next(made.folder.glob("*.whl")))
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert len([name for name in names if "/share/man/man1/" in name]) > 80
    assert (
        made.run(*uv, "pip", "install", "-q", "--python", str(tmp_path / "v"), "--no-deps", wheel).returncode
        == 0
    )
    assert made.run(*uv, "pip", "check", "--python", str(tmp_path / "v")).returncode == 0
    assert made.run(str(tmp_path / "v" / "bin" / "kaitoctl"), "--version").stdout == f"kaitoctl {VERSION}\n"
