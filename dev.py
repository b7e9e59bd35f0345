#!/usr/bin/env python3
"""The two commands of the README, each doing all of its own set-up from Python 3.11+ and PyPI alone.

    python3 dev.py demo           the main job on the embedded sandbox: falcon-7b from nothing to Ready
    python3 dev.py test           everything that must hold: format, lint, types, contracts, tests, wheel
    python3 dev.py controlplane   build the Kubernetes control plane that some tests run on; needs Go
    python3 dev.py bench          measure beside kubectl, kopf and a bare client; write docs/performance.md
    python3 dev.py soak           the fault tests at length: every pair of faults, and more at random

`python3 dev.py test lint types` runs only those; arguments after `--` go to pytest. With Go on the PATH,
`test` builds the control plane, too, minutes the first time. Without Go, the tests that want it are skipped;
where CI is set, they fail.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = BIN / "python"

CONTROL_PLANE = "tests/controlplane/programs.py"

# Most tests wait for servers more than they reckon. A file stays in one process: its tests share fixtures.
PROCESSES = ["-n", str(1 + (os.cpu_count() or 1)), "--dist", "loadfile"]

STEPS = {
    "format": ["-m", "ruff", "format", "--check", "."],
    "lint": ["-m", "ruff", "check", "."],
    "types": ["-m", "mypy"],
    "contracts": ["-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"],
    "controlplane": [CONTROL_PLANE, "--if-possible"],
    "tests": ["-m", "pytest", *PROCESSES],
    "wheel": ["-m", "build", "--wheel", "--no-isolation", "--outdir", "dist"],
}


def install(extras: str) -> None:
    """Make .venv hold kaitoctl, editable, with its dependencies; quick when it already does."""
    stamp = VENV / f".installed{extras}"
    wanted = hashlib.sha256((ROOT / "pyproject.toml").read_bytes()).hexdigest()
    for present in (stamp, VENV / ".installed[dev]"):
        if present.exists() and present.read_text() == wanted:
            return
    print(f"installing kaitoctl{extras} into {VENV} ...", flush=True)
    if not PYTHON.exists():
        venv.create(VENV, with_pip=True)
    pip = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--editable", f"{ROOT}{extras}"], check=True)
    stamp.write_text(wanted)


def demo() -> int:
    """The first example of KAITO's inference guide, on a simulated cluster."""
    install("")
    kaitoctl = str(BIN / "kaitoctl")
    command = [
        *(kaitoctl, "create", "workspace", "workspace-falcon-7b"),
        *("--preset", "falcon-7b", "--instance-type", "Standard_NC12s_v3", "--label", "apps=falcon-7b"),
        *("--sandbox", "--sandbox-name", "demo"),
    ]
    print("$", " ".join(command), flush=True)
    code = subprocess.run(command, check=False).returncode
    print(
        f"\nThe simulated cluster is still up. Look around with kubectl, or take it away:\n"
        f"  export KUBECONFIG=$({kaitoctl} sandbox kubeconfig --sandbox-name demo)\n"
        f"  {kaitoctl} sandbox down --sandbox-name demo --delete",
        flush=True,
    )
    return code


def controlplane() -> int:
    """Build the programs of a Kubernetes control plane, and say where they are."""
    return subprocess.run([sys.executable, CONTROL_PLANE], cwd=ROOT, check=False).returncode


def test(names: list[str], pytest_arguments: list[str]) -> int:
    """Run the steps, all of them even when one fails, and say which did."""
    unknown = [name for name in names if name not in STEPS]
    if unknown:
        print(f"unknown step {unknown[0]!r}: choose from {', '.join(STEPS)}", file=sys.stderr)
        return 2
    install("[dev]")
    failed = []
    for name in names or STEPS:
        started = time.monotonic()
        print(f"== {name}", flush=True)
        extra = pytest_arguments if name == "tests" else []
        code = subprocess.run([PYTHON, *STEPS[name], *extra], cwd=ROOT, check=False).returncode
        print(
            f"== {name}: {'ok' if code == 0 else 'FAILED'} ({time.monotonic() - started:.0f} s)", flush=True
        )
        if code:
            failed.append(name)
    print(f"all steps passed: {', '.join(names or STEPS)}" if not failed else f"FAILED: {', '.join(failed)}")
    return 1 if failed else 0


def main() -> int:
    """Dispatch; `python3 dev.py` alone says what there is."""
    arguments = sys.argv[1:]
    rest: list[str] = []
    if "--" in arguments:
        cut = arguments.index("--")
        arguments, rest = arguments[:cut], arguments[cut + 1 :]
    match arguments:
        case ["demo"]:
            return demo()
        case ["controlplane"]:
            return controlplane()
        case ["bench", *parts]:
            install("[dev]")
            return subprocess.run([PYTHON, "-m", "bench", *parts], cwd=ROOT, check=False).returncode
        case ["soak"]:
            install("[dev]")
            command = [str(PYTHON), "-m", "pytest", "tests/faults", "--soak", *rest]
            return subprocess.run(command, cwd=ROOT, check=False).returncode
        case ["test", *names]:
            return test(names, rest)
        case _:
            print(__doc__)
            return 0 if arguments in (["-h"], ["--help"]) else 2


if __name__ == "__main__":
    sys.exit(main())
