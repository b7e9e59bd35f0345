"""What all tests share."""

from __future__ import annotations

import gc
import os
import signal
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from built import needed
from controlplane import programs
from few_planes import is_on_a_plane
from hypothesis import settings

if TYPE_CHECKING:
    from controlplane.plane import ControlPlane

# No example has a deadline: machines are shared, and tests never assert wall time. In CI the examples are the
# same in each run, so that a landing is judged by the change; everywhere else they are new each time.
settings.register_profile("everywhere", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "everywhere")

GOLDEN = Path(__file__).parent / "data" / "golden"


def pytest_configure() -> None:
    """What a shell in the background or nohup has pytest ignore, the processes of tests would ignore, too."""
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Thousands of tests stay to the end: no garbage collection looks at them, now or later."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write the golden files anew")
    parser.addoption("--plan", metavar="LIFE:STEP:FAULT,...", help="run one plan of faults, step by step")
    parser.addoption("--soak", action="store_true", help="run all pairs of faults, and more at random")
    parser.addoption("--fault-seed", metavar="N", help="the seed of the faults at random")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compare a text with the golden file of a name; `--update-golden` writes it instead."""

    def compare(name: str, text: str) -> None:
        file = GOLDEN / name
        if request.config.getoption("--update-golden"):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        assert file.is_file(), f"{file} is missing; pytest --update-golden writes it"
        assert text == file.read_text(), f"{file} differs; read the diff, then pytest --update-golden"

    return compare


@pytest.fixture(scope="session")
def control_plane() -> Iterator[ControlPlane]:
    """A real control plane, shared by the tests: each keeps to a namespace and to nodes of its own."""
    from controlplane.plane import running

    found = needed(programs.find)
    with running(found) as plane:
        yield plane


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object:
    from few_planes import FewPlanes

    return FewPlanes(config, log) if config.getoption("dist") == "loadfile" else None


_LONG_ONES_FIRST = (
    "faults/test_wire.py",  # brings all that is to run on one of the control planes, the next on another
    "test_docs.py",
    "controller/test_plans_are_true.py",
    "faults/",
    "runtime/",
    "cli/",
    "controlplane/",
    "controller/",
    "security/",
    "conformance/",
)


def _place(item: pytest.Item) -> int:
    """Where a test stands in the order: a file that takes minutes must not be the last one of a process."""
    of = item.path.relative_to(Path(__file__).parent).as_posix()
    return next((place for place, start in enumerate(_LONG_ONES_FIRST) if of.startswith(start)), 99)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what asks for the control plane, leave out what a sandbox alone can do, and order the files."""
    items.sort(key=_place)
    left_out, unsaid = [], []
    for item in items:
        if isinstance(item, pytest.Function) and {"control_plane", "bare_control_plane"} & {
            *item.fixturenames
        }:
            item.add_marker("control_plane")
            if not is_on_a_plane(item.nodeid):
                unsaid.append(item.nodeid)
        if item.get_closest_marker("control_plane") and item.get_closest_marker("sandbox_alone"):
            left_out.append(item)
    if unsaid:
        raise pytest.UsageError(f"the names do not say that they want a control plane: {', '.join(unsaid)}")
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many plans of faults ran, and how many cases on the real control plane.

    So that nobody takes a filter or a skip for a pass.
    """
    counted: Counter[str] = Counter()
    for report in terminalreporter.getreports(""):
        for name, value in getattr(report, "user_properties", ()) if report.when == "teardown" else ():
            counted.update(value if name == "counted" else {})
    if counted:
        said = ", ".join(f"{number:,} {topic}" for topic, number in counted.items())
        terminalreporter.write_sep("=", f"faults: {said}")
    counts: Counter[str] = Counter()
    folders: Counter[str] = Counter()
    for outcome in ("passed", "failed", "error", "skipped"):
        for report in terminalreporter.getreports(outcome):
            if "control_plane" in getattr(report, "keywords", ()) and (
                report.when == "call" or outcome != "passed"
            ):
                counts[outcome] += 1
                folders["/".join(report.nodeid.partition("::")[0].split("/")[:2])] += 1
    if counts:
        said = ", ".join(f"{number} {outcome}" for outcome, number in counts.items())
        terminalreporter.write_sep("=", f"on Kubernetes {programs.version()}: {said}")
        terminalreporter.write_line(", ".join(f"{number} in {name}" for name, number in folders.items()))
