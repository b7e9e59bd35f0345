"""Advice leads to the cluster that was asked, from a terminal whose own kubeconfig leads elsewhere.

The cluster is one context of a kubeconfig whose path has spaces; its current context, and the kubeconfig of
the environment, name a server that does not answer.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from advice.commands import Terminal
from advice.tenants import Scene, cluster, event_loop
from advice.test_harms_nobody import CHANGED, PAUSED, PORT, SCALED, SELECTOR, THIEF, healthy, printed

CONTEXT = "the other one"
FREE = Scene((healthy("nobody"), healthy("mine", is_cordoned=True)), {"apps": "b"}, (0,), 2, "waiting")
TAINTED = Scene((healthy("mine", taint="a=b:NoSchedule"),), {"apps": "b"}, (0,), 1, "waiting")
SCENES = {"free": FREE, "tainted": TAINTED, "thief": THIEF, "changed": CHANGED, "scaled": SCALED}
SCENES |= {"paused": PAUSED, "selector": SELECTOR, "port": PORT}


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    with event_loop() as made:
        yield made


@dataclass(frozen=True)
class Elsewhere(Terminal):
    """A terminal whose own kubeconfig leads to nobody; what it asks, it asks with `flags`."""

    flags: tuple[str, ...] = ()

    @property
    def env(self) -> dict[str, str]:
        return {**super().env, "KUBECONFIG": str(self.home / "nobody")}

    def kaitoctl(self, *arguments: str) -> tuple[int, str, str]:
        return super().kaitoctl(*arguments, *self.flags)


@pytest.mark.parametrize("name", SCENES)
def test_each_printed_command_asks_the_cluster_that_was_asked(
    name: str, tmp_path: Path, loop: asyncio.AbstractEventLoop
) -> None:
    with cluster(SCENES[name], tmp_path, loop) as made:
        config = json.loads(Path(made.kubeconfig).read_text())
        (only,) = config["contexts"]
        nobody = {"name": "nobody", "cluster": {"server": "http://127.0.0.1:1"}}
        context = {"name": "nobody", "context": {**only["context"], "cluster": "nobody"}}
        config |= {"clusters": [*config["clusters"], nobody], "current-context": "nobody"}
        config["contexts"] = [{**only, "name": CONTEXT}, context]
        file = tmp_path / "my files" / "kube config"
        file.parent.mkdir()
        for path in (file, tmp_path / "nobody"):
            path.touch(mode=0o600)
            path.write_text(json.dumps(config))

        asking = Elsewhere(tmp_path, ("--kubeconfig", str(file), "--context", CONTEXT))
        commands = printed(asking, made.scene)
        assert any(item.command.startswith("kubectl ") for item in commands)
        for item in commands:
            code, said = Elsewhere(tmp_path).run(item.command)
            assert code in ((0,) if item.command.startswith("kubectl ") else (0, 1)), f"{item}\n{said}"
            assert "127.0.0.1:1 " not in said and "refused" not in said, f"{item}\n{said}"
            assert made.harm() == [], f"{item}\n{said}"
