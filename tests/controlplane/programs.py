#!/usr/bin/env python3
"""The programs of a control plane, and helm: those that the environment names, or built from Go modules.

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
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Module:
    """Programs that one go.mod pins, and that one `go build` makes.

    Args:
        folder: with go.mod and go.sum.
        release_of: the required module whose version names the programs'.
        what: the programs together, in a message.
        built_as: what `go build` calls each: the last element of the import path that is not a version.
        stamps: variables that the linker sets, for a version.
    """

    folder: Path
    release_of: str
    what: str
    built_as: Mapping[str, str]
    stamps: Callable[[str], Mapping[str, str]]

    def version(self) -> str:
        """The release of go.mod, such as `v1.37.2`."""
        text = (self.folder / "go.mod").read_text()
        found = re.search(rf"^\s*{re.escape(self.release_of)} (v\S+)", text, re.MULTILINE)
        assert found, f"go.mod requires no {self.release_of}"
        return found[1]

    def cache(self, parent: Path) -> Path:
        """Where the programs are built to: a folder for these modules and options alone."""
        made_of = [(self.folder / name).read_bytes() for name in ("go.mod", "go.sum")]
        key = hashlib.sha256(b"".join([*made_of, self.linked().encode()])).hexdigest()[:8]
        return parent / f"{self.version()}-{key}"

    def linked(self) -> str:
        """Options of the linker: small files, and the release that the program names."""
        variables = (f"-X {name}={value}" for name, value in self.stamps(self.version()).items())
        return " ".join(["-s", "-w", *variables])


def _kubernetes(version: str) -> Mapping[str, str]:
    major, minor, _ = version.removeprefix("v").split(".")
    stamps = {"gitVersion": version, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    return {f"k8s.io/component-base/version.{name}": value for name, value in stamps.items()}


def _helm(version: str) -> Mapping[str, str]:
    """As its Makefile does: the Kubernetes that charts are rendered for where nothing else is said."""
    major, minor, _ = CONTROL_PLANE.version().removeprefix("v").split(".")
    places = [f"helm.sh/helm/v3/pkg/{package}.k8sVersion" for package in ("chartutil", "lint/rules")]
    parts = {"Major": major, "Minor": minor}
    numbers = {f"{of}{part}": number for of in places for part, number in parts.items()}
    return {"helm.sh/helm/v3/internal/version.version": version, **numbers}


CONTROL_PLANE = Module(
    HERE,
    "k8s.io/kubernetes",
    "control plane",
    {
        "etcd": "server",
        "kube-apiserver": "kube-apiserver",
        "kube-controller-manager": "kube-controller-manager",
        "kube-scheduler": "kube-scheduler",
        "kwok": "kwok",
    },
    _kubernetes,
)
# A module of its own, so that its dependencies do not choose the control plane's. Where both need a module,
# its go.mod names the control plane's version: Go's build cache then has most of it.
HELM = Module(
    HERE / "helm",
    "helm.sh/helm/v3",
    "helm",
    {"helm": "helm"},
    _helm,
)

NAMES = tuple(CONTROL_PLANE.built_as)


class Unavailable(Exception):
    """Programs are not on this machine; the text says which, and what would make them."""


def version() -> str:
    """The Kubernetes release of go.mod, such as `v1.37.2`."""
    return CONTROL_PLANE.version()


def cache(of: Module = CONTROL_PLANE) -> Path:
    """Where the programs are built to."""
    named = os.environ.get("KAITOCTL_CONTROLPLANE_CACHE")
    xdg = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    parent = Path(named) if named else xdg / "kaitoctl" / "controlplane"
    return of.cache(parent if of is CONTROL_PLANE else parent / of.what)


def find() -> Mapping[str, Path]:
    """Each program of the control plane, by name.

    Raises:
        Unavailable: one is missing.
    """
    return _all(CONTROL_PLANE)


def helm() -> Path:
    """Helm: what KAITOCTL_HELM names, else what was built, else the one on the PATH.

    Raises:
        Unavailable: there is none.
    """
    return _all(HELM)["helm"]


def _all(of: Module) -> Mapping[str, Path]:
    found = _found(of)
    if missing := [name for name in of.built_as if name not in found]:
        go = "" if shutil.which("go") else "install Go, then "
        how = f"{go}`python3 dev.py controlplane` builds them"
        raise Unavailable(f"no {of.what}: {', '.join(missing)} missing; {how}")
    return found


def build(of: Module) -> Mapping[str, Path]:
    """Build what is missing, minutes the first time, and return each program's file.

    Raises:
        Unavailable: there is no Go, or the build failed; its output went to stderr.
    """
    found = _found(of)
    if len(found) == len(of.built_as):
        return found
    go = shutil.which("go")
    if go is None:
        missing = ", ".join(name for name in of.built_as if name not in found)
        raise Unavailable(f"no {of.what}: `go` is not on the PATH, and {missing} cannot be built")
    into = cache(of)
    print(f"building {of.release_of} {of.version()}: minutes the first time ...", flush=True)
    into.parent.mkdir(parents=True, exist_ok=True)
    # Built beside its place and moved there whole: who looks meanwhile finds all of it or nothing.
    with tempfile.TemporaryDirectory(dir=into.parent, prefix=f".{into.name}.") as folder:
        options = ["-mod=readonly", "-trimpath", f"-ldflags={of.linked()}", "-o", f"{folder}/bin/"]
        env = {**os.environ, "CGO_ENABLED": "0", "GOWORK": "off"}
        asked = [go, "build", *options, "tool"]
        if subprocess.run(asked, cwd=of.folder, env=env, check=False).returncode:
            raise Unavailable(f"no {of.what}: `go build` failed, see above")
        made = Path(folder) / "bin"
        for name, built_as in of.built_as.items():
            (made / built_as).rename(made / name)
        shutil.rmtree(into, ignore_errors=True)
        made.rename(into)
    return _all(of)


def _found(of: Module) -> dict[str, Path]:
    built = [(name, cache(of) / name) for name in of.built_as]
    # The last one counts: what the developer has named goes before what we have built.
    if of is HELM:  # and that before any other release of helm
        on_path, named = shutil.which("helm"), os.environ.get("KAITOCTL_HELM")
        candidates = [("helm", on_path), *built, ("helm", named)]
    else:
        assets = os.environ.get("KUBEBUILDER_ASSETS")
        candidates = [*built, *((name, assets and Path(assets) / name) for name in of.built_as)]
    return {name: Path(file) for name, file in candidates if file and os.access(file, os.X_OK)}


def must_run() -> bool:
    """Whether a control plane that cannot be had is a failure: in CI."""
    return os.environ.get("CI", "").lower() not in ("", "0", "false")


def main() -> int:
    """Build, and say where; with `--if-possible`, a machine that cannot is no failure, except in CI."""
    is_optional = "--if-possible" in sys.argv[1:] and not must_run()
    try:
        made = {**build(CONTROL_PLANE), **build(HELM)}
    except Unavailable as error:
        print(error, file=sys.stderr)
        return 0 if is_optional else 1
    for name, file in made.items():
        print(f"{name:<24} {file}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
