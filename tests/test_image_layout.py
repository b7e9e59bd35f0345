"""release/image.py: an OCI layout, unpacked as a runtime does it, and run by its own config in its own root.

The image's Python is this machine's here: Debian's comes from a network.
"""

from __future__ import annotations

import importlib.metadata
import io
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from pathlib import Path
from typing import Any

import pytest

import kaitoctl
from release import image

CHROOT = shutil.which("chroot", path="/usr/sbin:/usr/bin:/sbin:/bin") or "chroot"
_BULKY = ("test", "tests", "idlelib", "site-packages", "__pycache__", "config-*", "ensurepip", "*.a")


def machines_python(root: Path) -> str:
    """This Python and the libraries that it is linked with, where they are here; the program's place."""
    program = Path(sys.executable).resolve()
    standard = Path(sysconfig.get_path("stdlib"))
    shutil.copytree(standard, root / standard.relative_to("/"), ignore=shutil.ignore_patterns(*_BULKY))
    linked = [program, *(root / standard.relative_to("/")).rglob("*.so")]
    listed = subprocess.run(["ldd", *map(str, linked)], capture_output=True, text=True, check=True).stdout
    for name in {str(program), *re.findall(r"(/\S+) \(0x", listed)}:
        into = root / name.lstrip("/")
        into.parent.mkdir(parents=True, exist_ok=True)
        if not into.exists():
            shutil.copy(name, into)
    return str(program)


def installed(name: str, into: Path, seen: set[str]) -> None:
    """A distribution of this environment and those that it needs."""
    found = importlib.metadata.distribution(name)
    seen.add(re.sub(r"[-_.]+", "-", name).lower())
    for file in (found.files or ()) if name != "kaitoctl" else ():
        if not str(file).startswith("..") and file.suffix != ".pyc":
            (into / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(str(file.locate()), into / file)
    for needed in found.requires or ():
        other = re.sub(r"[-_.]+", "-", re.split(r"[ ;<>=!~\[(]", needed)[0]).lower()
        if "extra ==" not in needed and other not in seen:
            try:
                installed(other, into, seen)
            except importlib.metadata.PackageNotFoundError:
                assert ";" in needed, needed  # of another platform or Python


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("image")
    roots = [folder / "base", folder / "site"]
    for root in roots:
        root.mkdir()
    python = machines_python(roots[0])
    site = roots[1] / Path(sysconfig.get_path("stdlib")).relative_to("/") / "site-packages"
    installed("kaitoctl", site, set())
    wheel = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder)]
    subprocess.run([*wheel, str(Path(__file__).parent.parent)], check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    shutil.unpack_archive(built, site, "zip")
    image.entry(roots[1], python)
    layers = [image.layer(root) for root in roots]
    assert layers == [image.layer(root) for root in roots]
    return image.layout(layers, "1.2.3", {"org.opencontainers.image.version": "1.2.3"})


def blob(layout: tarfile.TarFile, described: Any) -> bytes:
    """A blob that is what its descriptor says."""
    import hashlib

    content = layout.extractfile("blobs/" + described["digest"].replace(":", "/"))
    assert content is not None
    found = content.read()
    assert len(found) == described["size"]
    assert hashlib.sha256(found).hexdigest() == described["digest"].partition(":")[2]
    return found


def unpacked(archive: bytes, root: Path) -> Any:
    """As the image specification has it: index, manifest, config; the layers one over the other."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as layout:
        version = layout.extractfile("oci-layout")
        index = layout.extractfile("index.json")
        assert version is not None
        assert index is not None
        assert json.load(version) == {"imageLayoutVersion": "1.0.0"}
        (described,) = json.load(index)["manifests"]
        manifest = json.loads(blob(layout, described))
        about = json.loads(blob(layout, manifest["config"]))
        for number, one in enumerate(manifest["layers"]):
            import gzip
            import hashlib

            plain = gzip.decompress(blob(layout, one))
            assert about["rootfs"]["diff_ids"][number] == f"sha256:{hashlib.sha256(plain).hexdigest()}"
            with tarfile.open(fileobj=io.BytesIO(plain)) as files:
                assert {(entry.uid, entry.gid, entry.mtime) for entry in files} == {(0, 0, 0)}
                files.extractall(root, filter="fully_trusted")
    return about["config"]


def in_root(root: Path, config: Any) -> list[str]:
    """A command line that starts the image's program as its user, with nothing else of this machine."""
    user, group = config["User"].split(":")
    if os.geteuid() == 0:
        return [CHROOT, f"--userspec={user}:{group}", str(root), *config["Entrypoint"]]
    alone = [shutil.which("unshare") or "unshare", "--user", "--map-root-user", "--mount"]
    if subprocess.run([*alone, "true"], check=False, capture_output=True).returncode:
        pytest.skip("neither root nor namespaces of users: nothing can be run in a root of its own")
    return [*alone, CHROOT, str(root), *config["Entrypoint"]]


def test_the_image_runs_by_its_own_config_and_writes_nothing(archive: bytes, tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir(mode=0o755)
    config = unpacked(archive, root)
    assert config["Labels"]["org.opencontainers.image.title"] == "kaitoctl"
    assert config["User"] == "65532:65532"
    assert not list(root.glob("**/bin/*sh")), "there is no shell"
    for parent in root.parents:
        if parent.stat().st_uid == os.geteuid() and parent != Path("/tmp"):
            parent.chmod(parent.stat().st_mode | 0o055)
    before = sorted(root.rglob("*"))
    command, env = in_root(root, config), dict(word.split("=", 1) for word in config["Env"])

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [*command, *arguments], env=env, capture_output=True, text=True, check=False, cwd="/"
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert kaitoctl.__version__ in run("--version")
    assert "kaito.sh" in run("schema", "--kind", "Workspace")
    assert "--lease-namespace" in run("run-controller", "--help")
    falcon = ("--preset", "falcon-7b", "--instance-type", "Standard_NC12s_v3", "--label", "a=b")
    assert "kind: Workspace" in run("create", "workspace", "w", *falcon, "--dry-run=client", "-o", "yaml")
    assert sorted(root.rglob("*")) == before
