"""Every command that is printed as advice is run where it was printed: it helps, and harms nobody.

Clusters of several tenants are drawn at random: nodes of theirs, of ours and of nobody's, with taints of
controllers, cordons, missing GPUs and pods that hold them. Whatever `why`, `check-nodes`, `status` and a
refused `create` then advise is carried out by the real kubectl and by kaitoctl.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from advice.commands import Printed, Terminal, in_json, in_text, plain
from advice.tenants import ASKER, SCENES, TYPE, Drawn, Scene, cluster, event_loop
from hypothesis import HealthCheck, example, given, settings

FALCON = ("--preset", "falcon-7b", "--instance-type", TYPE, "--label", "apps=a", "-n", "a")


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    with event_loop() as made:
        yield made


def printed(terminal: Terminal, scene: Scene) -> list[Printed]:
    """All commands that the commands of kaitoctl advise in this cluster."""
    found: list[Printed] = []
    preferred = [word for number in scene.preferred for word in ("--preferred-node", f"gpu-{number}")]
    checking: tuple[str, ...] = ("check-nodes", ASKER, "-n", "a")
    if scene.state == "new":
        checking = ("check-nodes", *FALCON, "--count", str(scene.count), *preferred)
        asked = ("create", "workspace", ASKER, *FALCON, *preferred, "--dry-run=server")
        _, out, err = terminal.kaitoctl(*asked)
        found += in_text("create", out + err)
    else:
        found += in_json("why", terminal.json("why", ASKER, "-n", "a"))
        _, out, err = terminal.kaitoctl("status", ASKER, "-n", "a")
        found += in_text("status", out + err)
    for version in ("kaitoctl", "v0.4", "v0.12"):
        found += in_json("check-nodes", terminal.json(*checking, "--target-version", version))
    first: dict[str, Printed] = {}
    for item in found:
        first.setdefault(item.command, item)
    return list(first.values())


def healthy(labels: str, **changes: Any) -> Drawn:
    return Drawn(**{**SOUND, "labels": labels, **changes})


SOUND: dict[str, Any] = {
    "labels": "mine",
    "taint": "",
    "is_cordoned": False,
    "gpus": "2",
    "is_ready": True,
    "holder": "",
    "instance_type": TYPE,
}
THIEF = Scene((healthy("theirs", holder="b"),), {"apps": "b"}, (), 1, "quota")
IDLE = Scene((healthy("their-team"),), {"team": "b"}, (0,), 1, "waiting")
HELD = Scene((healthy("nobody", holder="plain"), healthy("nobody")), {"apps": "b"}, (0, 1), 2, "waiting")
DRAINED = Scene((healthy("mine", taint="karpenter.sh/disrupted:NoSchedule"),), {"apps": "b"}, (0,), 1, "new")
SLICED = Scene((healthy("mine", gpus="mig", holder="plain"),), {"apps": "b"}, (), 1, "waiting")
GUARDED = Scene((healthy("mine", taint="team=b:NoSchedule", holder="b"),), {"apps": "b"}, (0,), 1, "waiting")
IN_PARTS = Scene((healthy("nobody", gpus="mig", holder="slice"),), {"apps": "b"}, (0,), 1, "waiting")
CLAIMED = Scene(
    (healthy("nobody", holder="claim", is_cordoned=True, taint="team=b:NoSchedule"),),
    {"apps": "b"},
    (0,),
    1,
    "new",
)
CHANGED = Scene((healthy("mine"),), {"apps": "b"}, (), 1, "changed")
SCALED, PAUSED, SELECTOR, PORT = (
    Scene((healthy("mine"),), {"apps": "b"}, (), 1, state)
    for state in ("scaled", "paused", "selector", "port")
)


@example(scene=THIEF)
@example(scene=IDLE)
@example(scene=HELD)
@example(scene=DRAINED)
@example(scene=SLICED)
@example(scene=GUARDED)
@example(scene=IN_PARTS)
@example(scene=CLAIMED)
@example(scene=CHANGED)
@example(scene=SCALED)
@example(scene=PAUSED)
@example(scene=SELECTOR)
@example(scene=PORT)
@given(scene=SCENES)
@settings(max_examples=20, derandomize=True, suppress_health_check=list(HealthCheck))
def test_nobody_is_harmed_by_what_is_advised(
    scene: Scene, tmp_path_factory: pytest.TempPathFactory, loop: asyncio.AbstractEventLoop
) -> None:
    home = tmp_path_factory.mktemp("home")
    with cluster(scene, home, loop) as made:
        terminal = Terminal(home)
        for item in printed(terminal, scene):
            code, said = terminal.run(item.command)
            assert made.harm() == [], f"{item} in {scene}\n{said}"
            if item.only_looks:
                assert said.strip(), f"{item} shows nothing"
                assert "unknown flag" not in said and "Usage:" not in said, f"{item}\n{said}"
            else:
                assert code == 0, f"{item} fails\n{said}"
                assert not still_there(terminal, item, scene), f"{item} does not help in {scene}"


def still_there(terminal: Terminal, item: Printed, scene: Scene) -> bool:
    """Whether what the command was advised against is still so, after it has been run."""
    if item.by == "check-nodes" or plain(item.command).startswith(("kubectl label", "kubectl taint")):
        again = [one for one in printed(terminal, scene) if one.command == item.command]
        return bool(again)
    if item.by == "why":
        answer = terminal.json("why", ASKER, "-n", "a")
        causes = [answer["cause"] or {}, *answer["others"]]
        return any(one.get("command") == item.command for one in causes)
    return False


@given(scene=SCENES)
@settings(max_examples=10, derandomize=True, suppress_health_check=list(HealthCheck))
def test_nobody_is_harmed_by_fix(
    scene: Scene, tmp_path_factory: pytest.TempPathFactory, loop: asyncio.AbstractEventLoop
) -> None:
    home = tmp_path_factory.mktemp("home")
    with cluster(scene, home, loop) as made:
        terminal = Terminal(home)
        flags = [word for number in scene.preferred for word in ("--preferred-node", f"gpu-{number}")]
        asked = (
            ("check-nodes", *FALCON, *flags) if scene.state == "new" else ("check-nodes", ASKER, "-n", "a")
        )
        for version in ("kaitoctl", "v0.4"):
            terminal.kaitoctl(*asked, "--target-version", version, "--fix", "--yes")
            assert made.harm() == [], scene


def test_the_laws_find_harm(tmp_path: Path, loop: asyncio.AbstractEventLoop) -> None:
    """The advice that was printed once, each against the law that it broke."""
    for scene, command in (
        (THIEF, "kubectl label node gpu-0 apps=a --overwrite"),
        (IDLE, "kubectl label node gpu-0 apps=a"),
        (HELD, "kubectl label node gpu-0 apps=a"),
        (DRAINED, "kubectl taint node gpu-0 karpenter.sh/disrupted:NoSchedule-"),
        (SLICED, "kubectl label node gpu-0 nvidia.com/mig.config=all-disabled --overwrite"),
        (GUARDED, "kubectl taint node gpu-0 team:NoSchedule-"),
        (CHANGED, f"kubectl delete workspace {ASKER} -n a --wait=false"),
        (THIEF, "kubectl delete pod on-gpu-0 -n b --wait=false"),
    ):
        home = tmp_path / str(len(list(tmp_path.iterdir())))
        home.mkdir()
        with cluster(scene, home, loop) as made:
            code, said = Terminal(home).run(command)
            assert code == 0, said
            assert made.harm(), command


def test_the_scenes_are_those_of_which_advice_is_given(
    tmp_path: Path, loop: asyncio.AbstractEventLoop
) -> None:
    """So that the laws are not kept for want of commands."""
    free = Scene((healthy("nobody"), healthy("mine", is_cordoned=True)), {"apps": "b"}, (0,), 2, "waiting")
    tainted = Scene((healthy("mine", taint="maintenance:NoSchedule"),), {"apps": "b"}, (0,), 1, "waiting")
    commands: set[str] = set()
    for scene in (free, tainted, CHANGED, SCALED, PAUSED, SELECTOR, PORT):
        home = tmp_path / str(len(list(tmp_path.iterdir())))
        home.mkdir()
        with cluster(scene, home, loop) as made:
            commands |= {plain(item.command) for item in printed(Terminal(home), made.scene)}
    back = json.dumps({"resource": {"count": 1}}, separators=(",", ":"))
    lead = json.dumps([{"op": "add", "path": "/spec/ports/0/targetPort", "value": 5000}])
    for expected in (
        "kubectl label node gpu-0 apps=a",
        "kubectl uncordon gpu-1",
        "kubectl taint node gpu-0 maintenance:NoSchedule-",
        f"kubectl patch workspace {ASKER} -n a --type merge -p '{back}'",
        f"kubectl scale deployment {ASKER} -n a --replicas=1",
        f"kubectl rollout resume deployment {ASKER} -n a",
        f"kubectl set selector service {ASKER} -n a kaito.sh/workspace={ASKER}",
        f"kubectl patch service {ASKER} -n a --type json -p '{lead}'",
    ):
        assert expected in commands, sorted(commands)
