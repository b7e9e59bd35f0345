"""Several Workspaces that compete for nodes: nobody's model goes, no node is bought in vain, all run."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from faults.contests import CONTESTS
from faults.model import Cluster
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
