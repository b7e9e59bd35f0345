"""The container image without a builder: Debian's Python, kaitoctl and its locked packages, as an OCI layout.

`python -m release.image FOLDER` takes a release's wheel and requirements-webhook.txt and writes
`kaitoctl-VERSION.oci.tar`, for `skopeo copy oci-archive:...` or `podman load`; with `--runtime`, of
requirements-runtime.txt, `kaitoctl-runtime-VERSION.oci.tar`, which serves models, too. `--arch`, more than
once, puts images for several machines under one name; `--sources FILE` takes another Debian, and so another
Python, than this machine's. It fetches Debian's packages with apt-get, which checks their signatures, and
Python's with pip; there is no shell in it. How it runs (user, environment, entry point, labels) is what
deploy/Dockerfile says.

Source: https://github.com/opencontainers/image-spec (v1.1: image-layout.md, image-index.md, config.md,
layer.md).
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import json
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from release import image_bom

_TITLE, _VERSION = (f"org.opencontainers.image.{one}" for one in ("title", "version"))
DOCKERFILE = Path(__file__).resolve().parent.parent / "deploy" / "Dockerfile"
SITE = "usr/lib/python3/dist-packages"
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
"""Debian's and OCI's name for a kind of machine, and that of Python's wheels."""

_LIBRARIES = (
    *(
        "libc6",
        "libgcc-s1",
        "zlib1g",
        "libssl3",
        "libffi8",
        "libexpat1",
        "libbz2-1.0",
        "liblzma5",
        "libuuid1",
    ),
    *("libcrypt1", "libzstd1", "libstdc++6", "libgomp1", "python3.", "libpython3."),
)
"""What of Python's dependencies is taken: those of modules that kaitoctl's packages import."""

_DATA = ("ca-certificates", "tzdata", "netbase")
_OF_RUNTIME = ("libstdc++6", "libgomp1")
_LEFT_OUT = ("usr/share/doc", "usr/share/man", "usr/share/lintian", "usr/share/bug")
_CERTIFICATES = "etc/ssl/certs/ca-certificates.crt"
_SOURCES = (Path("/etc/apt/sources.list.d/debian.sources"), Path("/etc/apt/sources.list"))
_GLIBC = range(17, 37)
"""Minor versions of glibc whose wheels run on Debian 12."""


class Debian:
    """Debian's archive for one kind of machine, read with lists of its own.

    Args:
        folder: for the lists, emptied by nobody.
        arch: the kind.
        sources: a file of apt's; the machine's own is what its Debian installs from.

    Raises:
        subprocess.CalledProcessError: the archive cannot be reached, or this is no Debian.
    """

    def __init__(self, folder: Path, arch: str, sources: Path | None) -> None:
        found = sources or next((file for file in _SOURCES if file.exists()), _SOURCES[0])
        settings = {
            "APT::Architecture": arch,
            "APT::Architectures": arch,
            "Dir::Etc::sourcelist": str(found.resolve()),
            "Dir::Etc::sourceparts": "-",
            "Dir::State::lists": str(folder / "lists"),
            "Dir::State::status": "/dev/null",
            "Dir::Cache": str(folder / "cache"),
            "APT::Sandbox::User": "root",
        }
        self._options = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
        self._folder = folder
        (folder / "lists" / "partial").mkdir(parents=True)
        self._ask("apt-get", "update", "--quiet=2")
        self.python = ".".join(self._version("python3-minimal").split(".")[:2])

    def _ask(self, program: str, *words: str) -> str:
        command = [program, *self._options, *words]
        return subprocess.run(command, cwd=self._folder, check=True, stdout=subprocess.PIPE, text=True).stdout

    def _version(self, name: str) -> str:
        shown = self._ask("apt-cache", "show", "--no-all-versions", name)
        return next(line.split()[1] for line in shown.splitlines() if line.startswith("Version:"))

    def fetch(self, *more: str) -> list[Path]:
        """The packages of Python, of what it is linked with, and of more."""
        wanted = (f"python{self.python}-minimal", f"libpython{self.python}-stdlib", *more)
        without = [
            f"--no-{kind}"
            for kind in ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")
        ]
        listed = self._ask("apt-cache", "depends", "--recurse", *without, *wanted).splitlines()
        names = {line for line in listed if line.startswith(_LIBRARIES) and "-dev" not in line}
        self._ask("apt-get", "download", "--quiet", *sorted(names), *_DATA)
        return sorted(self._folder.glob("*.deb"))


def base(root: Path, debian: Debian, *more: str) -> None:
    """Unpack Debian's Python and what it needs; as in distroless images, scanners find what is there."""
    # Debian's packages are for a root whose /lib and /bin lead into /usr.
    for name in ("bin", "sbin", "lib", "lib64"):
        (root / "usr" / name).mkdir(parents=True)
        (root / name).symlink_to(f"usr/{name}")
    for file in debian.fetch(*more):
        subprocess.run(["dpkg-deb", "--extract", str(file), str(root)], check=True)
        about = subprocess.run(["dpkg-deb", "--field", str(file)], check=True, capture_output=True).stdout
        status = root / "var/lib/dpkg/status.d" / file.name.partition("_")[0]
        status.parent.mkdir(parents=True, exist_ok=True)
        status.write_bytes(about)
    for left_out in _LEFT_OUT:
        shutil.rmtree(root / left_out, ignore_errors=True)
    # What update-ca-certificates does.
    trusted = sorted((root / "usr/share/ca-certificates").rglob("*.crt"))
    (root / _CERTIFICATES).parent.mkdir(parents=True, exist_ok=True)
    (root / _CERTIFICATES).write_bytes(b"".join(file.read_bytes() for file in trusted))


def packages(root: Path, wheel: Path, requirements: Path, python: str, arch: str) -> None:
    """Install kaitoctl and what it needs, by their hashes, for the image's Python and kind of machine."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", "--target", str(root / SITE)]
    names = ("manylinux2014", *(f"manylinux_2_{minor}" for minor in reversed(_GLIBC)))
    platforms = [word for name in names for word in ("--platform", f"{name}_{MACHINES[arch]}")]
    foreign = [*platforms, "--python-version", python, "--implementation", "cp", "--only-binary", ":all:"]
    locked = ["--require-hashes", "--no-deps", "--requirement", str(requirements)]
    subprocess.run([*pip, *foreign, *locked], check=True)
    subprocess.run([*pip, *foreign, "--no-deps", "--upgrade", str(wheel)], check=True)
    shutil.rmtree(root / SITE / "bin", ignore_errors=True)


def entry(root: Path, python: str) -> None:
    """The program, and the folder that may be written."""
    program = root / "usr/local/bin/kaitoctl"
    program.parent.mkdir(parents=True, exist_ok=True)
    lines = (f"#!{python}", "import sys", "from kaitoctl.__main__ import main", "sys.exit(main())", "")
    program.write_text("\n".join(lines))
    program.chmod(0o755)
    (root / "tmp").mkdir(exist_ok=True)
    (root / "tmp").chmod(0o1777)


def add_bill(roots: Sequence[Path], site: Path) -> None:
    """Put the bill of materials of Python's packages and of Debian's where the image's label says."""
    bill = roots[1] / image_bom.PLACE
    bill.parent.mkdir(parents=True)
    bill.write_text(image_bom.bill([site, roots[0] / "var/lib/dpkg/status.d"]), "utf-8")


def config() -> dict[str, Any]:
    """User, environment, entry point and labels as deploy/Dockerfile says them."""
    _, _, image = DOCKERFILE.read_text("utf-8").split("\nFROM ")
    words = re.findall(r"^ENV (.+)$", image, re.MULTILINE)
    (user,), (program,) = (re.findall(rf"^{one} (.+)$", image, re.M) for one in ("USER", "ENTRYPOINT"))
    labels = re.findall(r'^(?:LABEL|  +) *([\w.]+)="([^"]*)"', image, re.MULTILINE)
    path = "PATH=/usr/local/bin:/usr/bin:/bin"
    return {
        "User": user,
        "Env": [path, f"SSL_CERT_FILE=/{_CERTIFICATES}", *(one for line in words for one in line.split())],
        "Entrypoint": json.loads(program),
        "Labels": dict(labels),
        "WorkingDir": "/",
    }


def layer(root: Path) -> bytes:
    """A folder as the tar of a layer, the same for the same files: owned by root, of no time."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as made:
        for file in sorted(root.rglob("*")):
            found = made.gettarinfo(file, str(file.relative_to(root)))
            found.uid = found.gid = found.mtime = 0
            found.uname = found.gname = ""
            if found.isreg():
                with file.open("rb") as content:
                    made.addfile(found, content)
            else:
                made.addfile(found)
    return plain.getvalue()


def layout(images: Mapping[str, Sequence[bytes]], name: str, labels: Mapping[str, str]) -> bytes:
    """An OCI layout of one image as one tar; for several kinds of machines, an index of an image for each.

    Args:
        images: the layers for each kind of machine.
        name: the image's, which skopeo and podman show.
        labels: more than deploy/Dockerfile says.
    """
    blobs: dict[str, bytes] = {}

    def kept(content: bytes, kind: str) -> dict[str, Any]:
        digest = hashlib.sha256(content).hexdigest()
        blobs[f"blobs/sha256/{digest}"] = content
        media = f"application/vnd.oci.image.{kind}"
        return {"mediaType": media, "digest": f"sha256:{digest}", "size": len(content)}

    settings = config()
    settings["Labels"] = {**settings["Labels"], **labels}
    manifests = []
    for arch, layers in images.items():
        differences = [f"sha256:{hashlib.sha256(one).hexdigest()}" for one in layers]
        platform = {"architecture": arch, "os": "linux"}
        about = {**platform, "config": settings, "rootfs": {"type": "layers", "diff_ids": differences}}
        manifest = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": kept(json.dumps(about, sort_keys=True).encode(), "config.v1+json"),
            "layers": [kept(gzip.compress(one, 6, mtime=0), "layer.v1.tar+gzip") for one in layers],
        }
        described = kept(json.dumps(manifest, sort_keys=True).encode(), "manifest.v1+json")
        manifests.append({**described, "platform": platform})
    top: dict[str, Any] = manifests[0]
    if len(manifests) > 1:
        media = "application/vnd.oci.image.index.v1+json"
        listed = {"schemaVersion": 2, "mediaType": media, "manifests": manifests}
        top = kept(json.dumps(listed, sort_keys=True).encode(), "index.v1+json")
    top = {**top, "annotations": {"org.opencontainers.image.ref.name": name}}
    files = {
        "oci-layout": b'{"imageLayoutVersion": "1.0.0"}',
        "index.json": json.dumps({"schemaVersion": 2, "manifests": [top]}).encode(),
        **blobs,
    }
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as made:
        for path, content in sorted(files.items()):
            found = tarfile.TarInfo(path)
            found.size, found.mode = len(content), 0o644
            made.addfile(found, io.BytesIO(content))
    return plain.getvalue()


def build(folder: Path, archs: Sequence[str], sources: Path | None, *, runtime: bool) -> Path:
    """The image of a release's folder, written beside its wheel."""
    (wheel,) = folder.glob("*.whl")
    version = wheel.name.split("-")[1]
    requirements = folder / f"requirements-{'runtime' if runtime else 'webhook'}.txt"
    images = {}
    for arch in archs:
        with tempfile.TemporaryDirectory() as name:
            debian = Debian(Path(name, "debian"), arch, sources)
            roots = [Path(name) / part for part in ("base", "site")]
            base(roots[0], debian, *(_OF_RUNTIME if runtime else ()))
            packages(roots[1], wheel, requirements, debian.python, arch)
            entry(roots[1], f"/usr/bin/python{debian.python}")
            add_bill(roots, roots[1] / SITE)
            images[arch] = [layer(root) for root in roots]
    title = "kaitoctl-runtime" if runtime else "kaitoctl"
    found = folder / f"{title}-{version}.oci.tar"
    found.write_bytes(layout(images, version, {_TITLE: title, _VERSION: version}))
    return found


def main() -> None:
    """Write an image, and say where it is."""
    parser = argparse.ArgumentParser(prog="python -m release.image", description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="of a release, such as dist/kaitoctl-0.2.0")
    parser.add_argument("--arch", choices=sorted(MACHINES), action="append", help="amd64 unless said")
    parser.add_argument("--runtime", action="store_true", help="with the model server for CPUs")
    parser.add_argument(
        "--sources", type=Path, metavar="FILE", help="apt sources of the Debian to take Python of"
    )
    asked = parser.parse_args()
    print(build(asked.folder, asked.arch or ["amd64"], asked.sources, runtime=asked.runtime))


if __name__ == "__main__":
    main()
