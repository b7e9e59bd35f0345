"""The house itself: what the architecture promises and no single module can be asked about."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import msgspec
import pytest

import kaitoctl.reconcile as library

ROOT = Path(__file__).parent.parent
HEAVY = ["kubernetes", "aiohttp", "jsonschema", "rich", "pydantic"]
DRY_RUN = ["create", "workspace", "w", "--preset", "falcon-7b", "--dry-run=client", "-o", "yaml"]

# What a command runs through, and what is not to come with it (docs/adr/0011).
_FOR_A_CLUSTER = ["kaitoctl.kube.client"]
_NOT_FOR_A_CLUSTER = [
    *HEAVY,
    "jinja2",
    "yaml",
    "email",
    "kaitoctl.kube.exec_plugin",
    "kaitoctl.kube.documents",
]
_ROOMS = {
    "status": (
        [
            *_FOR_A_CLUSTER,
            "kaitoctl.commands.observe_workspace",
            "kaitoctl.screens.status_screen",
            "kaitoctl.kaito.view",
        ],
        [
            *_NOT_FOR_A_CLUSTER,
            *("kaitoctl.kaito.manifest", "kaitoctl.kaito.validation", "kaitoctl.kaito.tuning"),
            *(
                "kaitoctl.kaito.desired",
                "kaitoctl.kaito.node_check.inventory",
                "kaitoctl.kaito.diagnosis.codes",
            ),
            *("kaitoctl.commands.check_nodes", "kaitoctl.commands.create_workspace"),
        ],
    ),
    "check-nodes": (
        [
            *_FOR_A_CLUSTER,
            "kaitoctl.commands.check_nodes",
            "kaitoctl.screens.node_table",
            "kaitoctl.kaito.node_check",
        ],
        [*_NOT_FOR_A_CLUSTER, "kaitoctl.kaito.node_check.inventory", "kaitoctl.kaito.validation"],
    ),
    "nodes": (
        [
            *_FOR_A_CLUSTER,
            "kaitoctl.commands.nodes",
            "kaitoctl.commands.check_nodes",
            "kaitoctl.kaito.node_check.inventory",
        ],
        [*_NOT_FOR_A_CLUSTER, "kaitoctl.kaito.validation", "kaitoctl.kaito.diagnosis"],
    ),
    "validate": (
        [
            "kaitoctl.commands.validate",
            "kaitoctl.kaito.validation",
            "kaitoctl.kube.documents",
            "kaitoctl.kube.schema",
        ],
        [*HEAVY, "jinja2", "asyncio", "kaitoctl.kaito.validation.codes", "kaitoctl.kaito.manifest"],
    ),
}

_PROBE = """
import sys
from kaitoctl.cli.app import app, run
sys.argv = ["kaitoctl", *{argv!r}]
code = run(app)
print([name for name in {heavy!r} if name in sys.modules], code, file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("argv", "heavy"),
    [
        (["--help"], [*HEAVY, "asyncio", "jinja2", "yaml"]),
        (
            DRY_RUN,
            [
                *HEAVY,
                "asyncio",
                "jinja2",
                "ssl",
                "kaitoctl.kaito.validation.codes",
                "kaitoctl.kaito.node_check",
            ],
        ),
    ],
)
def test_commands_import_nothing_that_they_do_not_need(argv: list[str], heavy: list[str]) -> None:
    program = _PROBE.format(argv=argv, heavy=heavy)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1] == "[] 0", done.stderr


@pytest.mark.parametrize("command", _ROOMS)
def test_rooms_bring_no_furniture_of_others(command: str) -> None:
    rooms, foreign = _ROOMS[command]
    program = f"import sys, {', '.join(rooms)}\nprint([name for name in {foreign!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout == "[]\n", done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    return next(folder.glob("*.whl"))


def test_the_wheel_carries_its_data_and_nothing_foreign(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder in ("templates", "schemas"):
        for file in (ROOT / folder).iterdir():
            assert f"kaitoctl/{folder}/{file.name}" in names
    assert "kaitoctl/kaito/tables/presets.json" in names
    top = {name.split("/")[0] for name in names}
    beside = {name for name in names if ".data/" in name}
    assert beside and all("/share/man/man1/kaitoctl" in name for name in beside)
    assert {name for name in top if not name.endswith((".dist-info", ".data"))} == {"kaitoctl"}


def test_an_installed_wheel_renders_and_judges_without_the_checkout(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    done = subprocess.run(
        [sys.executable, "-P", "-m", "kaitoctl", *DRY_RUN],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path), "PATH": ""},
    )
    assert done.returncode == 0, done.stderr
    assert "kind: Workspace" in done.stdout


def test_a_strictly_checked_program_uses_the_installed_library(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv")
    [site] = (tmp_path / "venv").glob("lib/*/site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)  # where types count only with `py.typed`
    shutil.copytree(Path(msgspec.__file__).parent, site / "msgspec")  # a dependency, of which values are made
    program = (ROOT / "tests" / "reconcile" / "library_user.py").read_text()

    def check(name: str, text: str) -> str:
        (tmp_path / name).write_text(text)
        python = str(tmp_path / "venv" / "bin" / "python")
        command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--python-executable", python]
        done = subprocess.run([*command, name], cwd=tmp_path, capture_output=True, text=True, check=False)
        return done.stdout + done.stderr

    assert "Success: no issues found" in check("teams.py", program)
    wrong = program.replace("requeue_after_s=60.0", 'requeue_after_s="1 min"')
    assert 'Argument "requeue_after_s" to "Outcome" has incompatible type "str"' in check("wrong.py", wrong)


def test_the_librarys_public_names_are_there() -> None:
    assert sorted(library.__all__) == sorted({name for names in library._MODULES.values() for name in names})
    assert all(getattr(library, name) is not None for name in library.__all__)


def test_what_is_read_as_a_number_is_asked_for_plain_digits() -> None:
    """`"²".isdigit()` and `"٣".isdecimal()` are true; Go and the API server read 0 to 9 alone."""
    asks = re.compile(r"\.(?:isdigit|isdecimal|isnumeric)\(\)")
    slips = []
    for file in sorted((ROOT / "kaitoctl").rglob("*.py")):
        lines = file.read_text("utf-8").splitlines()
        for number, line in enumerate(lines, 1):
            if asks.search(line) and "isascii()" not in " ".join(lines[max(0, number - 3) : number]):
                slips.append(f"{file}:{number}")
    assert slips == []
