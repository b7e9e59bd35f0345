#!/usr/bin/env python3
"""The programs of a control plane: those in KUBEBUILDER_ASSETS, or built from the Go modules of go.mod.

`python3 tests/controlplane/programs.py` builds what is missing and says where it is. Standard library only:
it runs before there is a virtual environment.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

HERE = Path(__file__).resolve().parent

# As `go build` names them: by the last element of the import path that is not a version.
_BUILT_AS = {
    "etcd": "server",
    "kube-apiserver": "kube-apiserver",
    "kube-controller-manager": "kube-controller-manager",
    "kube-scheduler": "kube-scheduler",
    "kwok": "kwok",
}


NAMES = tuple(_BUILT_AS)


class Unavailable(Exception):
    """There is no control plane on this machine; the text says why, and what would make one."""


def version() -> str:
    """The Kubernetes release of go.mod, such as `v1.37.2`."""
    found = re.search(r"^\s*k8s\.io/kubernetes (v\S+)", (HERE / "go.mod").read_text(), re.MULTILINE)
    assert found, "go.mod requires no k8s.io/kubernetes"
    return found[1]


def cache() -> Path:
    """Where the programs are built to: a folder for these modules and options alone."""
    named = os.environ.get("KAITOCTL_CONTROLPLANE_CACHE")
    xdg = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    made_of = [(HERE / "go.mod").read_bytes(), (HERE / "go.sum").read_bytes(), _linked().encode()]
    parent = Path(named) if named else xdg / "kaitoctl" / "controlplane"
    return parent / f"{version()}-{hashlib.sha256(b''.join(made_of)).hexdigest()[:8]}"


def _linked() -> str:
    """Options of the linker: small files, and the release that the API server's /version names."""
    major, minor, _ = version().removeprefix("v").split(".")
    stamps = {"gitVersion": version(), "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    variables = (f"-X k8s.io/component-base/version.{name}={value}" for name, value in stamps.items())
    return " ".join(["-s", "-w", *variables])


def find() -> Mapping[str, Path]:
    """Each program's file, by name.

    Raises:
        Unavailable: one is missing.
    """
    found = _found()
    if missing := [name for name in NAMES if name not in found]:
        go = "" if shutil.which("go") else "install Go, then "
        how = f"{go}`python3 dev.py controlplane` builds them"
        raise Unavailable(f"no control plane: {', '.join(missing)} missing; {how}")
    return found


def build() -> Mapping[str, Path]:
    """Build what is missing, minutes the first time, and return each program's file.

    Raises:
        Unavailable: there is no Go, or the build failed; its output went to stderr.
    """
    found = _found()
    if len(found) == len(NAMES):
        return found
    go = shutil.which("go")
    if go is None:
        raise Unavailable(
            "no control plane: `go` is not on the PATH, and KUBEBUILDER_ASSETS has not all programs"
        )
    into = cache()
    print(f"building Kubernetes {version()}: minutes the first time ...", flush=True)
    into.parent.mkdir(parents=True, exist_ok=True)
    # Built beside its place and moved there whole: who looks meanwhile finds all of it or nothing.
    with tempfile.TemporaryDirectory(dir=into.parent, prefix=f".{into.name}.") as folder:
        asked = [
            go,
            "build",
            "-mod=readonly",
            "-trimpath",
            f"-ldflags={_linked()}",
            "-o",
            f"{folder}/bin/",
            "tool",
        ]
        env = {**os.environ, "CGO_ENABLED": "0", "GOWORK": "off"}
        if subprocess.run(asked, cwd=HERE, env=env, check=False).returncode:
            raise Unavailable("no control plane: `go build` failed, see above")
        made = Path(folder) / "bin"
        for name, built_as in _BUILT_AS.items():
            (made / built_as).rename(made / name)
        shutil.rmtree(into, ignore_errors=True)
        made.rename(into)
    return find()


def _found() -> dict[str, Path]:
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    folders = [Path(assets)] if assets else []
    candidates = ((name, folder / name) for folder in [cache(), *folders] for name in NAMES)
    # The last one counts: what the developer has named goes before what we have built.
    return {name: file for name, file in candidates if os.access(file, os.X_OK)}


def must_run() -> bool:
    """Whether a control plane that cannot be had is a failure: in CI."""
    return os.environ.get("CI", "").lower() not in ("", "0", "false")


def main() -> int:
    """Build, and say where; with `--if-possible`, a machine that cannot is no failure, except in CI."""
    is_optional = "--if-possible" in sys.argv[1:] and not must_run()
    try:
        made = build()
    except Unavailable as error:
        print(error, file=sys.stderr)
        return 0 if is_optional else 1
    for name, file in made.items():
        print(f"{name:<24} {file}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
