"""What the fault tests share: how much to run, and what is said of it at the end."""

from __future__ import annotations

import random

import pytest
from faults.model import Cluster

COUNTS = pytest.StashKey[dict[str, int]]()
SEED = pytest.StashKey[int]()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With `--plan` nothing but that plan is run, and without it no such test is there."""
    plan = config.getoption("--plan")
    is_replay = {item: item.name == "test_the_plan_given_on_the_command_line" for item in items}
    chosen = [item for item in items if is_replay[item] == bool(plan)]
    config.hook.pytest_deselected(items=[item for item in items if is_replay[item] != bool(plan)])
    items[:] = chosen


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """What is known of the sandbox's answers, shared by all plans of all scenarios and mutants."""
    return Cluster()


@pytest.fixture(scope="session")
def seed(request: pytest.FixtureRequest) -> int:
    """Of all that is left to chance: the same every day, another one for each long run."""
    config = request.config
    by_itself = random.Random().randrange(10**9) if config.getoption("--soak") else 1
    chosen = int(config.getoption("--fault-seed") or by_itself)
    config.stash[SEED] = chosen
    return chosen


@pytest.fixture
def count(request: pytest.FixtureRequest) -> dict[str, int]:
    """Adds to what the summary tells, by topic."""
    return request.config.stash.setdefault(COUNTS, {})


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many plans ran, so that nobody takes a filter for a pass."""
    stash = terminalreporter.config.stash
    counts = stash.get(COUNTS, {})
    if counts:
        said = ", ".join(f"{number:,} {topic}" for topic, number in counts.items())
        if (chosen := stash.get(SEED, None)) is not None:
            said += f", --fault-seed {chosen}"
        terminalreporter.write_sep("=", f"faults: {said}")
