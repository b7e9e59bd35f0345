"""The plugin for krew: an archive that `kubectl krew install` unpacks, and the manifest that names it.

Source: https://krew.sigs.k8s.io/docs/developer-guide/plugin-manifest/, and kubernetes-sigs/krew
`internal/index/validation/validate.go`, which decides what an index takes.
"""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path
from typing import Any

from release.chart import semantic

NAME = "kaitoctl"
BIN = "kubectl-kaitoctl"
_LAUNCHER = Path(__file__).with_name("krew_launcher.py")


def archive(folder: Path, wheel: Path, requirements: Path, licence: Path, version: str) -> Path:
    """The plugin as one file, the same for the same parts."""
    parts = {BIN: _LAUNCHER, wheel.name: wheel, "requirements.txt": requirements, "LICENSE": licence}
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as made:
        for name, file in parts.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = file.stat().st_size, 0o755 if name == BIN else 0o644
            made.addfile(entry, io.BytesIO(file.read_bytes()))
    found = folder / f"{BIN}-{version}.tar.gz"
    found.write_bytes(gzip.compress(plain.getvalue(), mtime=0))
    return found


def manifest(version: str, uri: str, sha256: str, about: str) -> dict[str, Any]:
    """What an index of krew has of it."""
    selector = {"matchExpressions": [{"key": "os", "operator": "In", "values": ["linux", "darwin"]}]}
    return {
        "apiVersion": "krew.googlecontainertools.github.com/v1alpha2",
        "kind": "Plugin",
        "metadata": {"name": NAME},
        "spec": {
            "version": f"v{semantic(version)}",
            "homepage": "https://pypi.org/project/kaitoctl/",
            "shortDescription": "Serve and tune models with KAITO Workspaces",
            "description": f"{about}.\n",
            "caveats": "Needs Python 3.11 or newer as python3; the first call installs kaitoctl's packages, "
            "with their hashes, from the package index that pip is set to.\n",
            "platforms": [
                {
                    "selector": selector,
                    "uri": uri,
                    "sha256": sha256,
                    "bin": BIN,
                    "files": [{"from": "*", "to": "."}],
                }
            ],
        },
    }
