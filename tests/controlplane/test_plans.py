"""A sample of the law of tests/controller/test_plans_are_true.py on a real API server, scheduler and quota.

Changes are drawn at random; each is planned, applied, and what has happened is held against the plan: the
NodeClaims that are new, the pods that ended, whether the Workspace serves, and whether a quota refuses pods.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from controlplane.controller import deployed_controller
from controlplane.plane import ControlPlane
from shell import Shell

GPUS = "requests.nvidia.com/gpu"
ROUNDS = 5
SETTLED_S = 1.5
"""For so long nothing more may be bought."""

ADAPTERS = [{"source": {"name": "style", "image": "registry.example/style:1"}, "strength": "0.5"}]


@pytest.fixture(scope="module")
def shell(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """An administrator's, where the controller runs."""
    home = tmp_path_factory.mktemp("plans")
    with deployed_controller(control_plane, home):
        yield Shell(home, sandbox="..", cluster={"KUBECONFIG": str(control_plane.kubeconfig)})


@pytest.fixture
def space(shell: Shell, request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace with a quota of four GPUs: two Workspaces."""
    name = f"plans-{request.node.callspec.params['seed']}"
    shell.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "team", "namespace": name}}
    shell.apply({**quota, "spec": {"hard": {GPUS: "4"}}})
    eventually(lambda: "used" in shell.get("resourcequota", "team", "-n", name).get("status", {}))
    yield name
    shell.kubectl("delete", "workspaces", "--all", "-n", name, "--wait=false")
    eventually(lambda: not Space(shell, name).claims())
    shell.end_namespace(name)


def eventually(holds: Callable[[], object], words: Callable[[], object] = lambda: "") -> None:
    deadline = time.monotonic() + 240
    while not holds():
        assert time.monotonic() < deadline, words()
        time.sleep(0.1)


class Space:
    """What there is in the namespace."""

    def __init__(self, shell: Shell, name: str) -> None:
        self.shell, self.name = shell, name

    def claims(self) -> dict[str, str]:
        """uid -> name of each NodeClaim."""
        items = self.shell.get("nodeclaims", "-l", f"kaito.sh/workspacenamespace={self.name}")["items"]
        return {one["metadata"]["uid"]: one["metadata"]["name"] for one in items}

    def pods(self) -> dict[str, str]:
        """uid -> the Workspace of each pod."""
        items = self.shell.get("pods", "-n", self.name)["items"]
        return {one["metadata"]["uid"]: one["metadata"]["labels"]["kaito.sh/workspace"] for one in items}

    def told(self, name: str) -> str:
        """What the Workspace's status says of its generation; `ready` when it serves."""
        found = self.shell.get("workspace", name, "-n", self.name)
        conditions = found.get("status", {}).get("conditions", [])
        last: dict[str, Any] = next((one for one in conditions if one["type"] == "WorkspaceSucceeded"), {})
        if last.get("observedGeneration") != found["metadata"]["generation"]:
            return ""
        return "ready" if last["status"] == "True" else str(last["message"])

    def manifest(self, name: str, **more: Any) -> dict[str, Any]:
        labels = {"apps": f"{self.name}-{name}"}
        return {
            "apiVersion": "kaito.sh/v1beta1",
            "kind": "Workspace",
            "metadata": {"name": name, "namespace": self.name, **more.pop("metadata", {})},
            "resource": {"instanceType": "Standard_NC12s_v3", "labelSelector": {"matchLabels": labels}},
            "inference": {"preset": {"name": "falcon-7b"}, **more},
        }


@pytest.mark.parametrize("seed", [1, 2])
def test_what_a_plan_announces_is_what_happens(shell: Shell, space: str, seed: int) -> None:
    chance, here = random.Random(seed), Space(shell, space)
    there: dict[str, dict[str, Any]] = {}
    refused = 0
    for _ in range(ROUNDS):
        name = chance.choice(["w0", "w1", "w2"])
        if name in there and chance.random() < 0.25:
            del there[name]
            ended(here, name)
            # A pod that was refused comes by itself now, when its ReplicaSet tries again.
            serve = min(len(there), 2)
            eventually(lambda: len(set(here.pods().values())) == serve)  # noqa: B023
            continue
        there[name] = chance.choice(
            [
                here.manifest(name),
                here.manifest(name, adapters=ADAPTERS),
                here.manifest(name, metadata={"labels": {"team": "blue"}}),
            ]
        )
        refused += applied(here, there[name])
    while len(there) < 3:  # at least one is more than the quota has room for
        name = next(one for one in ("w0", "w1", "w2") if one not in there)
        there[name] = here.manifest(name)
        refused += applied(here, there[name])
    assert refused


def applied(here: Space, manifest: dict[str, Any]) -> bool:
    """Plan, apply, wait, and hold what happened against the plan; whether a quota refuses its pods."""
    name = manifest["metadata"]["name"]
    (Path(here.shell.home) / "w.json").write_text(json.dumps(manifest))
    claims, pods = here.claims(), here.pods()
    found = here.shell.run("kaitoctl", "plan", "-f", "w.json", "-o", "json")
    assert found.returncode in (0, 1), found.stderr
    (plan,) = json.loads(found.stdout)["changes"]
    assert here.claims() == claims and here.pods() == pods, "a plan changes nothing"
    here.shell.kaitoctl("apply", "-f", "w.json", "--yes", "--no-wait")

    is_refused = "quota" in plan["waitsFor"] or "quota" in plan["deadlock"]
    if "may be refused" in plan["waitsFor"] + plan["deadlock"]:
        eventually(lambda: here.told(name) == "ready" or "refused" in here.told(name))
    elif is_refused:
        eventually(lambda: "refused" in here.told(name), lambda: (plan, here.told(name)))
    else:
        assert not plan["waitsFor"], plan
        eventually(lambda: here.told(name) == "ready", lambda: (plan, here.told(name)))
    time.sleep(SETTLED_S)
    ended_pods = [owner for uid, owner in pods.items() if uid not in here.pods()]
    assert ended_pods == [name] * plan["podsRestarted"], plan
    bought = here.claims().keys() - claims.keys()
    assert len(bought) == plan["nodesAsked"], (plan, here.claims())
    assert not claims.keys() - here.claims().keys(), plan
    return is_refused


def ended(here: Space, name: str) -> None:
    """Delete the Workspace; what it announces to release goes, and no pod of another ends."""
    others = {uid for uid, owner in here.pods().items() if owner != name}
    done = here.shell.kaitoctl("delete", name, "-n", here.name, "--yes", "--timeout", "90s")
    assert all(claim in here.claims().values() or claim in done.stderr for claim in here.claims().values())
    assert name not in here.pods().values()
    assert others <= here.pods().keys() | set()
