"""A set of three real servers gets another adapter under load: by our controller, and beside KAITO's.

A prompt that is under way in a replica when that is changed may fail: that, and no more, is the budget.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from fleet_cluster import walk_of
from fleet_world import inference_set
from like_kaito import LikeKaito, is_ready
from runtime import tiny
from shell import Shell
from world import crds

from kaitoctl import workspace_controller
from kaitoctl.commands import rollout_fleet, sandbox_models
from kaitoctl.commands.sandbox_process import Folder
from kaitoctl.commands.sandbox_server import shapes
from kaitoctl.commands.target import Target
from kaitoctl.kaito import api as kaito
from kaitoctl.kaito.catalog import SHIPPED
from kaitoctl.kube import request
from kaitoctl.kube.client import connect
from kaitoctl.kube.objects import SERVICE, key_of
from kaitoctl.runtime import hugging_face
from kaitoctl.sandbox.cluster import cluster

SET, WORKSPACE = kaito.INFERENCE_SET, kaito.WORKSPACE_V1BETA1
CLIENTS, REPLICAS = 2, 3
SPEED = 30.0
BUDGET = CLIENTS * REPLICAS
PATH = "/api/v1/namespaces/default/services/phis-all:80/proxy/v1/chat/completions"
PROMPT = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 4, "temperature": 0}
ADAPTERS = [{"source": {"name": "style", "image": "example.org/style:1"}}]
OVER_ALL = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "phis-all", "namespace": "default"},
    "spec": {
        "selector": {kaito.LABEL_CREATED_BY_SET: "phis"},
        "ports": [{"port": 80, "targetPort": 5000}],
    },
}


class Load:
    """Clients that ask the Service of the set, one prompt after another, for as long as the block runs."""

    def __init__(self, server: str) -> None:
        self.server = server
        self.answers: list[str] = []
        self.failed: list[str] = []
        self.fewest = REPLICAS
        self._over = threading.Event()
        asking = [threading.Thread(target=self._ask) for _ in range(CLIENTS)]
        self._threads = [*asking, threading.Thread(target=self._watch)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _get(self, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        asked = urllib.request.Request(self.server + path, data, headers)
        with urllib.request.urlopen(asked, timeout=60) as got:
            return json.load(got)

    def _ask(self) -> None:
        while not self._over.wait(0.05):
            try:
                found = self._get(PATH, {**PROMPT, "logprobs": True})
                content = found["choices"][0]["logprobs"]["content"]
                self.answers.append(",".join(str(token["id"]) for token in content))
            except (OSError, ValueError, KeyError) as error:
                self.failed.append(repr(error))

    def _watch(self) -> None:
        """How few replicas serve at any time."""
        while not self._over.wait(0.05):
            with contextlib.suppress(OSError, ValueError):
                items = self._get(f"{WORKSPACE.path('default')}")["items"]
                self.fewest = min(self.fewest, sum(map(is_ready, items)))

    def goes_on(self, number: int = 3 * CLIENTS) -> list[str]:
        """The answers to so many prompts that are asked from now on."""
        begin = len(self.answers) + CLIENTS  # those that are under way
        until(lambda: len(self.answers) >= begin + number)
        return self.answers[begin:]


def until(holds: Callable[[], Any], seconds: float = 180.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it never got there"
        time.sleep(0.05)


def judge(load: Load, before: list[str], after: list[str], *, changes: int = REPLICAS) -> None:
    assert load.fewest >= REPLICAS - 1, "more than one was away"
    assert len(set(before)) == 1
    assert len(set(after)) == 1, "replicas answer differently"
    assert set(before) != set(after), "the adapter changes nothing"
    assert set(load.answers) == {*before, *after}
    assert len(load.failed) <= CLIENTS * changes, load.failed


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """A sandbox in which the guide's model is a tiny one, and there is an image of an adapter."""
    shell = Shell(tmp_path, "load", {"KAITOCTL_SANDBOX": "1"})
    files(tmp_path)
    named = ("--sandbox-name", shell.sandbox)
    shell.kaitoctl("sandbox", "image", "load", "style", "--as", "example.org/style:1", *named)
    shell.kaitoctl("sandbox", "model", "set", "falcon-7b", "--from", "tiny.gguf", *named)
    try:
        yield shell
    finally:
        shell.kaitoctl("sandbox", "down", *named)


def files(folder: Path) -> None:
    hugging_face.convert(tiny.model(folder / "hf"), folder / "tiny.gguf")
    tiny.adapter(folder / "style", 3)


def test_our_controller_changes_an_adapter_over_three_servers_under_load(shell: Shell) -> None:
    size = ("--replicas", str(REPLICAS), "--instance-type", "Standard_NC12s_v3")
    shell.kaitoctl("create", "inference-set", "phis", "--preset", "falcon-7b", *size, "--timeout", "300s")
    shell.apply(OVER_ALL)
    kubeconfig = json.loads(shell.kubectl("config", "view", "--raw", "-o", "json"))
    with Load(kubeconfig["clusters"][0]["cluster"]["server"]) as load:
        before = load.goes_on()
        patch = json.dumps({"spec": {"template": {"inference": {"adapters": ADAPTERS}}}})
        shell.patch(patch, "inferenceset", "phis")
        shell.kaitoctl("rollout", "status", "phis", "--timeout", "300s")
        after = load.goes_on()
    judge(load, before, after)


def test_beside_a_controller_like_kaitos_the_walk_keeps_prompts_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The canary answers a prompt before the others follow."""
    monkeypatch.setattr("kaitoctl.commands.follow_fleet.LOOK_AGAIN_S", 0.1)
    files(tmp_path)
    folder = Folder(tmp_path / "sandbox")
    sandbox_models.load_image(folder, tmp_path / "style", "example.org/style:1")
    sandbox_models.set_model(folder, "falcon-7b", tmp_path / "tiny.gguf")
    plan_of, kubeconfig = partial(sandbox_models.plan_of, folder, SHIPPED), tmp_path / "kubeconfig"
    asked = inference_set(REPLICAS, preset={"name": "falcon-7b"})
    asked["spec"]["template"]["resource"]["instanceType"] = "Standard_NC12s_v3"

    def walk(target: Target) -> tuple[int, str]:
        err = io.StringIO()
        with contextlib.redirect_stderr(err):
            how = walk_of(canary=1, smoke_test=True, timeout="300s")
            code = rollout_fleet.rollout_fleet(**how, target=target)
        return code, err.getvalue()

    async def story() -> None:
        async with cluster(
            # A model may take half an hour to load, of the cluster's time: a real server needs seconds of it.
            speed=SPEED,
            instance_types=shapes(),
            crds=crds(),
            plan_of=plan_of,
            files=tmp_path / "pods",
        ) as running:
            running.write_kubeconfig(kubeconfig)
            server = yaml.safe_load(kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
            async with connect(kubeconfig=kubeconfig) as client:
                controllers = [
                    asyncio.ensure_future(LikeKaito(client).run()),
                    asyncio.ensure_future(workspace_controller.run(client)),
                ]
                await client.send(request.create(SET, asked))
                await client.send(request.create(SERVICE, OVER_ALL))
                async with asyncio.timeout(300):
                    while sum(map(is_ready, (await client.list(WORKSPACE, "default")).items)) < REPLICAS:  # noqa: ASYNC110
                        await asyncio.sleep(0.1)
                with Load(server) as load:
                    before = await asyncio.to_thread(load.goes_on)
                    patch = {"spec": {"template": {"inference": {"adapters": ADAPTERS}}}}
                    await client.send(request.merge_patch(SET, "default", "phis", patch, manager="u"))
                    code, text = await asyncio.to_thread(walk, Target("default", None, str(kubeconfig)))
                    assert code == 0, text
                    assert text.count(" answers: ") == REPLICAS + 1, text  # and one before
                    assert "the canaries have answered a prompt: the others follow" in text
                    after = await asyncio.to_thread(load.goes_on)
                names = {key_of(one).name for one in (await client.list(WORKSPACE, "default")).items}
                assert len(names) == REPLICAS
                for task in controllers:
                    task.cancel()
                await asyncio.gather(*controllers, return_exceptions=True)
        judge(load, before, after)

    asyncio.run(story())
