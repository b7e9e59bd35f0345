"""What the fault tests share: how much to run, and what is said of it at the end."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from faults.model import Cluster


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
    return int(config.getoption("--fault-seed") or by_itself)


@pytest.fixture
def count(record_property: Callable[[str, object], None]) -> Iterator[Counter[str]]:
    """Adds to what the summary tells, by topic; it travels with the test's report, from any process."""
    counts: Counter[str] = Counter()
    yield counts
    record_property("counted", dict(counts))
