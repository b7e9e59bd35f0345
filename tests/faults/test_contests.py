"""Several Workspaces that compete for nodes: nobody's model goes, no node is bought in vain, all run."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from faults.contests import CONTESTS
from faults.model import Cluster
from faults.mutants import RIVALS, Rival
from faults.race import Race
from faults.runs import Violation

_RACES = {False: 12, True: 600}


@pytest.mark.parametrize("name", CONTESTS)
def test_in_every_order_of_steps_the_laws_hold(
    name: str, cluster: Cluster, count: Counter[str], seed: int, request: pytest.FixtureRequest
) -> None:
    races = _RACES[bool(request.config.getoption("--soak"))]
    for number in range(races):
        try:
            Race(CONTESTS[name], cluster, random.Random(f"{seed}/{number}")).run()
        except Violation as violation:
            pytest.fail(f"race {number} of --fault-seed {seed}: {violation}")
    count["races"] += races


@pytest.mark.parametrize("rival", RIVALS, ids=lambda rival: rival.name)
def test_a_defect_is_found(
    rival: Rival, cluster: Cluster, count: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rival.patch(monkeypatch)
    count["defects put in"] += 1
    assert any(_fails(name, cluster, number) for number in range(40) for name in rival.contests), rival.name
    count["of them found"] += 1


def _fails(name: str, cluster: Cluster, number: int) -> bool:
    try:
        Race(CONTESTS[name], cluster, random.Random(f"1/{number}")).run()
    except Violation:
        return True
    return False
