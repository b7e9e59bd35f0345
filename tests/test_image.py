"""deploy/Dockerfile, without a builder: what it copies makes a package that runs as the image is set."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import kaitoctl

ROOT = Path(__file__).parent.parent
DOCKERFILE = ROOT / "deploy" / "Dockerfile"
_, BUILD, IMAGE = DOCKERFILE.read_text("utf-8").split("\nFROM ")


def copied() -> list[str]:
    """What the build stage takes from the checkout."""
    lines = re.findall(r"^COPY (?!--from)(.+) \S+$", BUILD, re.MULTILINE)
    return [name for line in lines for name in line.split()]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as it is made of those files alone."""
    folder = tmp_path_factory.mktemp("image")
    for name in copied():
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / "src" / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            (folder / "src").mkdir(exist_ok=True)
            shutil.copy(source, folder / "src" / name)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder / "dist")]
    done = subprocess.run(command, cwd=folder / "src", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = (folder / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def test_the_image_runs_without_writing(installed: Path, tmp_path: Path) -> None:
    (entry,) = json.loads(re.search(r"^ENTRYPOINT (.+)$", IMAGE, re.MULTILINE)[1])  # type: ignore[index]
    (scripts,) = installed.glob("*.dist-info/entry_points.txt")
    assert f"\n{entry} = kaitoctl.__main__:main\n" in scripts.read_text()
    words = re.search(r"^ENV (.+)$", IMAGE, re.MULTILINE)[1].split()  # type: ignore[index]
    env = dict(word.split("=", 1) for word in words)
    assert env["HOME"] == "/tmp"
    env.update(HOME=str(tmp_path), PYTHONPATH=str(installed))
    before = sorted(installed.rglob("*"))

    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "kaitoctl", *arguments]
        done = subprocess.run(command, cwd="/", env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert kaitoctl.__version__ in run("--version")
    # The schemas and templates are those of the package, not of the checkout.
    assert "kaito.sh" in run("schema", "--kind", "Workspace")
    assert "--lease-namespace" in run("run-controller", "--help")
    assert sorted(installed.rglob("*")) == before
    assert not list(tmp_path.iterdir())


def test_its_label_names_the_bill_that_its_build_writes(installed: Path) -> None:
    """The command of the build stage, on the packages that are there without a builder."""
    command = re.search(r"python -m release\.image_bom ([^>]+)> /install/(\S+)", BUILD.replace("\\\n", ""))
    assert command
    place = re.search(r'dev\.kaitoctl\.sbom="/usr/local/(\S+)"', IMAGE)
    assert "COPY --from=build /install /usr/local" in IMAGE
    assert place and place[1] == command[2]
    words = [sys.executable, "-m", "release.image_bom", str(installed)]
    assert [word.rpartition("/")[2] for word in command[1].split()] == ["site-packages"] * 2 + ["status"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["metadata"]["component"]["version"] == kaitoctl.__version__


def test_it_is_not_root_and_the_builder_gets_what_is_copied() -> None:
    user = re.search(r"^USER (\d+):(\d+)$", IMAGE, re.MULTILINE)
    assert user
    for name in ("controller.yaml", "webhook.yaml"):
        assert f"runAsUser: {user[1]}" in DOCKERFILE.with_name(name).read_text()
    ignored = DOCKERFILE.with_name("Dockerfile.dockerignore").read_text().splitlines()
    assert ignored[1] == "*"
    assert {line[1:] for line in ignored if line.startswith("!")} == set(copied())
