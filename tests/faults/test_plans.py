"""The reconciler under every fault at every request, every pair of them, and longer plans at random.

pytest tests/faults --plan adapters:8:stale-services,11:crash-after    one plan, step by step
pytest tests/faults --soak                                             all pairs, and more at random
"""

from __future__ import annotations

import random
import re
import time
from collections import Counter

import pytest
from faults.model import Cluster
from faults.mutants import MUTANTS, Mutant
from faults.runs import Explorer, Violation, plan_of, text_of
from faults.scenarios import SCENARIOS

# Pairs in the everyday run: lives that between them have every kind of child, a purchase and a deletion.
_PAIRS_EVERY_DAY = ("create", "squatter", "orphans", "mended", "tuning", "delete")
_AT_RANDOM = {False: 150, True: 3000}
_LONGEST_AT_RANDOM = 8


def _judge(explorer: Explorer, count: Counter[str], faults: int) -> None:
    violations, plans = [], 0
    began = time.process_time()
    for outcome in explorer.plans(faults):
        plans += 1
        if outcome.violation:
            violations.append(f"{explorer.replay(outcome.plan)}\n    {outcome.violation}")
    count["plans"] += plans
    count["ms of processor"] += int(1000 * (time.process_time() - began))
    assert not violations, f"{len(violations)} of {plans} plans:\n" + "\n".join(violations[:10])


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_fault_at_every_request_ends_as_without(
    name: str, cluster: Cluster, count: Counter[str], request: pytest.FixtureRequest
) -> None:
    deep = name in _PAIRS_EVERY_DAY or request.config.getoption("--soak")
    _judge(Explorer(SCENARIOS[name], cluster), count, 2 if deep else 1)


@pytest.mark.parametrize("name", SCENARIOS)
def test_many_faults_at_random_end_as_without(
    name: str, cluster: Cluster, count: Counter[str], seed: int, request: pytest.FixtureRequest
) -> None:
    soak = bool(request.config.getoption("--soak"))
    chance = random.Random(seed)
    explorer = Explorer(SCENARIOS[name], cluster)
    violations = []
    for _ in range(_AT_RANDOM[soak]):
        outcome = explorer.at_random(chance, faults=chance.randint(3, _LONGEST_AT_RANDOM))
        if outcome.violation:
            violations.append(f"{explorer.replay(outcome.plan)}\n    {outcome.violation}")
    count["plans"] += _AT_RANDOM[soak]
    assert not violations, f"--fault-seed {seed}:\n" + "\n".join(violations[:10])


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_defect_is_found(
    mutant: Mutant, cluster: Cluster, count: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    mutant.patch(monkeypatch)
    count["defects put in"] += 1
    found = _first_violation(mutant, cluster)
    assert found, f"{mutant.name}: no plan finds it"
    count["of them found"] += 1


def _first_violation(mutant: Mutant, cluster: Cluster) -> str:
    for name in mutant.scenarios:
        try:
            explorer = Explorer(SCENARIOS[name], cluster, pass_takes_s=mutant.pass_takes_s)
        except Violation as violation:
            return f"{name}, without any fault: {violation}"
        for faults in range(1, mutant.faults + 1):
            for outcome in explorer.plans(faults):
                if outcome.violation:
                    return f"{name}:{text_of(outcome.plan)}: {outcome.violation}"
    return ""


def test_the_one_line_replay_of_a_failing_plan_fails_in_the_same_way(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    mutant = next(mutant for mutant in MUTANTS if mutant.name == "way-back-not-barred")
    mutant.patch(monkeypatch)
    explorer = Explorer(SCENARIOS["adapters"], cluster)
    outcome = next(outcome for outcome in explorer.plans(1) if outcome.violation)
    line = explorer.replay(outcome.plan)
    assert re.fullmatch(r"python -m pytest tests/faults --plan adapters:\d+:ancient-workspaces", line)
    name, _, plan = line.rpartition(" ")[2].partition(":")
    with pytest.raises(Violation, match=re.escape(outcome.violation)):
        Explorer(SCENARIOS[name], Cluster()).run(plan_of(plan))


def test_every_plan_can_be_replayed_and_goes_the_same_way(cluster: Cluster) -> None:
    explorer = Explorer(SCENARIOS["create"], cluster)
    for outcome in list(explorer.plans(2))[::37]:
        assert explorer.run(outcome.plan).plan == outcome.plan


def test_the_reconciler_changes_nothing_of_what_its_stores_show(cluster: Cluster) -> None:
    for name in ("adapters", "tuning-again", "recreate"):
        explorer = Explorer(SCENARIOS[name], cluster)
        for outcome in explorer.plans(1):
            assert not outcome.violation
        assert explorer.passes.changed_by_passes() == []


def test_the_plan_given_on_the_command_line(
    cluster: Cluster, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    name, _, plan = request.config.getoption("--plan").partition(":")
    explorer = Explorer(SCENARIOS[name], cluster)
    with capsys.disabled():
        explorer.say = print
        explorer.run(plan_of(plan))
