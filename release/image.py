"""The container image without a builder: Debian's Python, kaitoctl and its locked packages, as an OCI layout.

`python -m release.image FOLDER` takes a release's wheel and requirements-webhook.txt and writes
`kaitoctl-VERSION.oci.tar`, for `skopeo copy oci-archive:...` or `podman load`. It fetches Debian's packages
with `apt-get download` and Python's with pip; there is no shell in it. How it runs (user, environment, entry
point, labels) is what deploy/Dockerfile says.

Source: https://github.com/opencontainers/image-spec (v1.1: image-layout.md, config.md, layer.md).
"""

from __future__ import annotations

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

DOCKERFILE = Path(__file__).resolve().parent.parent / "deploy" / "Dockerfile"
PYTHON = "/usr/bin/python3.11"
SITE = "usr/lib/python3/dist-packages"
_DEBIAN = (
    *("libc6", "libgcc-s1", "zlib1g", "libssl3", "libffi8", "libexpat1", "libbz2-1.0", "liblzma5"),
    *("libuuid1", "libcrypt1", "python3.11-minimal", "libpython3.11-minimal", "libpython3.11-stdlib"),
    *("ca-certificates", "tzdata", "netbase"),
)
_LEFT_OUT = ("usr/share/doc", "usr/share/man", "usr/share/lintian", "usr/share/bug")
_CERTIFICATES = "etc/ssl/certs/ca-certificates.crt"


def base(root: Path) -> None:
    """Unpack Debian's Python and what it needs; as in distroless images, scanners find what is there.

    Raises:
        subprocess.CalledProcessError: this is no Debian 12, or its archive cannot be reached.
    """
    with tempfile.TemporaryDirectory() as name:
        subprocess.run(["apt-get", "download", "--quiet", *_DEBIAN], cwd=name, check=True)
        for file in sorted(Path(name).glob("*.deb")):
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


def packages(root: Path, wheel: Path, requirements: Path) -> None:
    """Install kaitoctl and what it needs, by their hashes, for the Python of the image."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", "--target", str(root / SITE)]
    foreign = ["--python-version", "3.11", "--implementation", "cp", "--only-binary", ":all:"]
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


def config() -> dict[str, Any]:
    """User, environment, entry point and labels as deploy/Dockerfile says them."""
    _, _, image = DOCKERFILE.read_text("utf-8").split("\nFROM ")
    words = re.findall(r"^ENV (.+)$", image, re.MULTILINE)
    (user,), (program,) = (re.findall(rf"^{one} (.+)$", image, re.M) for one in ("USER", "ENTRYPOINT"))
    labels = re.findall(r'(org\.opencontainers\.image\.\w+)="([^"]*)"', image)
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


def layout(layers: Sequence[bytes], name: str, labels: Mapping[str, str], arch: str = "amd64") -> bytes:
    """An OCI layout of one image, as one tar."""
    blobs: dict[str, bytes] = {}

    def kept(content: bytes, kind: str) -> dict[str, Any]:
        digest = hashlib.sha256(content).hexdigest()
        blobs[f"blobs/sha256/{digest}"] = content
        media = f"application/vnd.oci.image.{kind}"
        return {"mediaType": media, "digest": f"sha256:{digest}", "size": len(content)}

    settings = config()
    settings["Labels"] = {**settings["Labels"], **labels}
    differences = [f"sha256:{hashlib.sha256(one).hexdigest()}" for one in layers]
    about = {
        "architecture": arch,
        "os": "linux",
        "config": settings,
        "rootfs": {"type": "layers", "diff_ids": differences},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": kept(json.dumps(about, sort_keys=True).encode(), "config.v1+json"),
        "layers": [kept(gzip.compress(one, mtime=0), "layer.v1.tar+gzip") for one in layers],
    }
    described = kept(json.dumps(manifest, sort_keys=True).encode(), "manifest.v1+json")
    described["annotations"] = {"org.opencontainers.image.ref.name": name}
    index = {"schemaVersion": 2, "manifests": [described]}
    files = {
        "oci-layout": b'{"imageLayoutVersion": "1.0.0"}',
        "index.json": json.dumps(index).encode(),
        **blobs,
    }
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as made:
        for path, content in sorted(files.items()):
            found = tarfile.TarInfo(path)
            found.size, found.mode = len(content), 0o644
            made.addfile(found, io.BytesIO(content))
    return plain.getvalue()


def build(folder: Path) -> Path:
    """The image of a release's folder, written beside its wheel."""
    (wheel,) = folder.glob("*.whl")
    version = wheel.name.split("-")[1]
    with tempfile.TemporaryDirectory() as name:
        roots = [Path(name) / part for part in ("base", "site")]
        for root in roots:
            root.mkdir()
        base(roots[0])
        packages(roots[1], wheel, folder / "requirements-webhook.txt")
        entry(roots[1], PYTHON)
        labels = {"org.opencontainers.image.version": version}
        made = layout([layer(root) for root in roots], version, labels)
    found = folder / f"kaitoctl-{version}.oci.tar"
    found.write_bytes(made)
    return found


if __name__ == "__main__":
    print(build(Path(sys.argv[1])))
