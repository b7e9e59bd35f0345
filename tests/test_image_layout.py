"""release/image.py: an OCI layout, unpacked as a runtime does it, and run by its own config in its own root.

The image is that of the model server, which has all that the others have; its Python is this machine's here:
Debian's comes from a network.
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
import urllib.request
from pathlib import Path
from typing import Any

import pytest

import kaitoctl
from release import image

CHROOT = shutil.which("chroot", path="/usr/sbin:/usr/bin:/sbin:/bin") or "chroot"
_BULKY = ("test", "tests", "idlelib", "site-packages", "__pycache__", "config-*", "ensurepip", "*.a")


def machines_python(root: Path, site: Path) -> str:
    """This Python and the libraries that it and a folder's modules are linked with; the program's place."""
    program = Path(sys.executable).resolve()
    standard = Path(sysconfig.get_path("stdlib"))
    shutil.copytree(standard, root / standard.relative_to("/"), ignore=shutil.ignore_patterns(*_BULKY))
    linked = [program, *(root / standard.relative_to("/")).rglob("*.so"), *site.rglob("*.so")]
    listed = subprocess.run(["ldd", *map(str, linked)], capture_output=True, text=True, check=True).stdout
    for name in {str(program), *re.findall(r"(/\S+) \(0x", listed)}:
        if Path(name).is_relative_to(site):
            continue
        into = root / name.lstrip("/")
        into.parent.mkdir(parents=True, exist_ok=True)
        if not into.exists():
            shutil.copy(name, into)
    return str(program)


def installed(name: str, into: Path, seen: set[str], extra: str = "-") -> None:
    """A distribution of this environment and those that it needs, with one extra."""
    found = importlib.metadata.distribution(name)
    seen.add(re.sub(r"[-_.]+", "-", name).lower())
    for file in (found.files or ()) if name != "kaitoctl" else ():
        if not str(file).startswith("..") and file.suffix != ".pyc":
            (into / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(str(file.locate()), into / file)
    for needed in found.requires or ():
        other = re.sub(r"[-_.]+", "-", re.split(r"[ ;<>=!~\[(]", needed)[0]).lower()
        if ("extra ==" not in needed or f"extra == '{extra}'" in needed) and other not in seen:
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
    site = roots[1] / Path(sysconfig.get_path("stdlib")).relative_to("/") / "site-packages"
    installed("kaitoctl", site, set(), "runtime")
    wheel = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder)]
    subprocess.run([*wheel, str(Path(__file__).parent.parent)], check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    shutil.unpack_archive(built, site, "zip")
    image.entry(roots[1], machines_python(roots[0], site))
    status = roots[0] / "var/lib/dpkg/status.d" / "netbase"
    status.parent.mkdir(parents=True)
    status.write_text("Package: netbase\nVersion: 1:6.4+deb12u1\nArchitecture: all\nDescription: a\n b\n")
    image.add_bill(roots, site)
    layers = [image.layer(root) for root in roots]
    assert layers == [image.layer(root) for root in roots]
    return image.layout({"amd64": layers}, "1.2.3", {"org.opencontainers.image.version": "1.2.3"})


def blob(layout: tarfile.TarFile, described: Any) -> bytes:
    """A blob that is what its descriptor says."""
    import hashlib

    content = layout.extractfile("blobs/" + described["digest"].replace(":", "/"))
    assert content is not None
    found = content.read()
    assert len(found) == described["size"]
    assert hashlib.sha256(found).hexdigest() == described["digest"].partition(":")[2]
    return found


def unpacked(archive: bytes, root: Path, arch: str = "amd64") -> Any:
    """As the image specification has it: index, manifest, config; the layers one over the other."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as layout:
        version = layout.extractfile("oci-layout")
        index = layout.extractfile("index.json")
        assert version is not None
        assert index is not None
        assert json.load(version) == {"imageLayoutVersion": "1.0.0"}
        (described,) = json.load(index)["manifests"]
        if described["mediaType"] == "application/vnd.oci.image.index.v1+json":
            several = json.loads(blob(layout, described))["manifests"]
            (described,) = (one for one in several if one["platform"]["architecture"] == arch)
        manifest = json.loads(blob(layout, described))
        about = json.loads(blob(layout, manifest["config"]))
        assert (about["os"], about["architecture"]) == ("linux", arch)
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


@pytest.fixture(scope="module")
def running(archive: bytes, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """The image's root, where its user can read it, and its config."""
    root = tmp_path_factory.mktemp("unpacked") / "root"
    root.mkdir(mode=0o755)
    config = unpacked(archive, root)
    for parent in root.parents:
        if parent.stat().st_uid == os.geteuid() and parent != Path("/tmp"):
            parent.chmod(parent.stat().st_mode | 0o055)
    return root, config


def test_the_image_runs_by_its_own_config_and_writes_nothing(running: tuple[Path, Any]) -> None:
    root, config = running
    assert config["Labels"]["org.opencontainers.image.title"] == "kaitoctl"
    assert config["User"] == "65532:65532"
    assert not list(root.glob("**/bin/*sh")), "there is no shell"
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


def test_the_label_of_the_image_leads_to_a_bill_of_all_that_is_in_it(running: tuple[Path, Any]) -> None:
    root, config = running
    bill = json.loads((root / config["Labels"]["dev.kaitoctl.sbom"].lstrip("/")).read_text())
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.5")
    about = bill["metadata"]["component"]
    assert (about["type"], about["purl"]) == ("application", f"pkg:pypi/kaitoctl@{kaitoctl.__version__}")
    purls = [one["purl"] for one in bill["components"]]
    assert "pkg:deb/debian/netbase@1%3A6.4%2Bdeb12u1?arch=all" in purls
    installed = {
        re.sub(r"[-_.]+", "-", name).lower() + f"@{version}"
        for name, version in (
            folder.name.removesuffix(".dist-info").rsplit("-", 1) for folder in root.rglob("*.dist-info")
        )
    }
    assert {one.removeprefix("pkg:pypi/") for one in purls if "pypi" in one} == {
        one for one in installed if not one.startswith("kaitoctl@")
    }


def test_the_model_server_answers_from_the_image(running: tuple[Path, Any]) -> None:
    pytest.importorskip("xllamacpp", reason="the extra kaitoctl[runtime] is not installed")
    from runtime import tiny

    root, config = running
    tiny.model(root / "model")
    for one in (root / "model", *(root / "model").iterdir()):
        one.chmod(0o755)
    before = sorted(root.rglob("*"))
    serve = [
        *in_root(root, config),
        "runtime",
        "serve",
        "--model",
        "/model",
        "--port",
        "0",
        "--end-with-stdin",
    ]
    env = dict(word.split("=", 1) for word in config["Env"])
    with subprocess.Popen(serve, env=env, cwd="/", stdin=-1, stdout=-1, stderr=-2, text=True) as process:
        assert process.stdin
        assert process.stdout
        said = []
        for line in process.stdout:
            said.append(line)
            if line.startswith("Serving on "):
                break
        address = said[-1].removeprefix("Serving on ").strip()
        assert address.startswith("http://127.0.0.1:"), said
        question = {"messages": [{"role": "user", "content": "Who?"}], "max_tokens": 3, "ignore_eos": True}
        asked = urllib.request.Request(f"{address}/v1/chat/completions", json.dumps(question).encode())
        with urllib.request.urlopen(asked, timeout=120) as answer:
            assert json.load(answer)["usage"]["completion_tokens"] == 3
        process.stdin.close()
        process.stdout.read()
    assert process.returncode == 0
    assert sorted(root.rglob("*")) == before


def test_images_for_several_machines_have_one_name(tmp_path: Path) -> None:
    layers = {}
    for arch in image.MACHINES:
        root = tmp_path / arch
        root.mkdir()
        (root / "machine").write_text(arch)
        layers[arch] = [image.layer(root)]
    archive = image.layout(layers, "1.2.3", {})
    for arch in image.MACHINES:
        unpacked(archive, tmp_path / f"{arch}-unpacked", arch)
        assert (tmp_path / f"{arch}-unpacked" / "machine").read_text() == arch
