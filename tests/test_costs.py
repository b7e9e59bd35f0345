"""What things cost, counted and not timed: the same on a busy machine as on a quiet one.

The limits stand a quarter above what is needed today, those of modules a tenth. What passes one has made a
command or the controller dearer: find out why before moving it. What a cost must not depend on at all, and
the writes for a Workspace, are in tests/controller/test_effort.py and test_burst.py; times are in
docs/performance.md.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import subprocess
import sys
import tracemalloc
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from world import NOW, WATCHED, World, crds, falcon, gpu_node, node_status

from kaitoctl.commands import invocation
from kaitoctl.kaito import api as kaito
from kaitoctl.kaito.desired import Settings
from kaitoctl.kube import request
from kaitoctl.kube.objects import CRD, NODE, ObjectKey, key_of
from kaitoctl.kube.request import Request
from kaitoctl.reconcile.store import Store
from kaitoctl.sandbox.api import Api, Call, Response, Watch
from kaitoctl.sandbox.server import ApiServer
from kaitoctl.workspace_controller import WorkspaceReconciler, transform_of

DRY_RUN = ["create", "workspace", "w", "--preset", "falcon-7b", "--dry-run=client", "-o", "yaml"]

# --- modules imported --------------------------------------------------------------------------------------

_PROBE = """
import sys
from kaitoctl.__main__ import main
sys.argv = ["kaitoctl", *{argv!r}]
try:
    main()
finally:
    own = [name for name in sys.modules if name.partition(".")[0] not in sys.stdlib_module_names]
    print(len(own), file=sys.stderr)
"""


def modules(argv: list[str], **environment: str) -> int:
    """How many a command imports, the standard library's left out: it differs between Pythons.

    Thirteen are msgspec's, which take 5 ms and make the classes of our values for nothing (docs/adr/0011).
    """
    done = subprocess.run(
        [sys.executable, "-c", _PROBE.format(argv=argv)],
        capture_output=True,
        text=True,
        check=True,
        input=json.dumps(falcon()),
        env={**os.environ, **environment},
    )
    return int(done.stderr.splitlines()[-1])


@pytest.mark.parametrize(
    ("argv", "most"), [(["--version"], 8), (["--help"], 8), (["validate", "-f", "-"], 93), (DRY_RUN, 118)]
)
def test_a_command_imports_few_modules(argv: list[str], most: int) -> None:
    assert modules(argv) <= most


def test_completion_imports_as_little_as_the_version() -> None:
    asked = {"_KAITOCTL_COMPLETE": "complete_bash", "COMP_WORDS": "kaitoctl nodes --", "COMP_CWORD": "2"}
    assert modules([], **asked) <= 8


def test_what_a_command_has_found_is_not_put_into_words_on_the_way() -> None:
    """`asyncio.run` does that in Python 3.11: tenths of a second for thousands of nodes."""
    described = 0

    class Found:
        def __repr__(self) -> str:
            nonlocal described
            described += 1
            return "found"

    async def find() -> tuple[Found, int]:
        return Found(), 1

    assert isinstance(invocation.answer_of(find())[0], Found)
    assert described == 0


# --- requests and bytes ------------------------------------------------------------------------------------


def add(do: Callable[[Request], Any], name: str) -> None:
    """A Workspace, and a node for it."""
    labels = {"apps": name}
    do(request.create(NODE, {**gpu_node(f"gpu-{name}", labels), "status": node_status("2")}))
    obj = falcon(labelSelector={"matchLabels": labels})
    obj["metadata"]["name"] = name
    do(request.create(kaito.WORKSPACE, obj))


COMMANDS = {
    "nodes": (2, 1600, 129),
    "status -A": (11, 900, 144),
    "status ws-000": (24, 1600, 195),
    "check-nodes --preset falcon-7b --label apps=ws-000": (8, 1600, 163),
}
"""By command: the most requests, bytes of answers for each further Workspace with its node, and modules."""


def asked_and_answered(objects: int, folder: Path) -> dict[str, Counter[str]]:
    """How many requests each command makes, how many bytes it is answered with, what it imports."""

    async def story() -> dict[str, Counter[str]]:
        server = ApiServer()
        await server.start()

        def do(asked: Request) -> None:
            body = json.dumps(asked.body).encode()
            answer = server.api.answer(
                Call(asked.method, asked.path, dict(asked.query), body, asked.content_type)
            )
            assert isinstance(answer, Response)
            assert answer.status < 300, answer.body

        for crd in crds():
            do(request.apply(CRD, crd, manager="test", force=True))
        for number in range(objects):
            add(do, f"ws-{number:03}")
        counted = counting(server.api)
        config = folder / "config"
        config.touch(mode=0o600)
        config.write_text(json.dumps(server.kubeconfig()))
        env = {**os.environ, "KUBECONFIG": str(config), "HOME": str(folder)}
        found = {}
        for words in COMMANDS:
            command = [sys.executable, "-c", _PROBE.format(argv=words.split())]
            process = await asyncio.create_subprocess_exec(
                *command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
            )
            _, said = await process.communicate()
            assert process.returncode in (0, 1), words
            found[words] = counted.copy()
            found[words]["modules"] = int(said.splitlines()[-1])
            counted.clear()
        await server.stop()
        return found

    return asyncio.run(story())


def counting(api: Api) -> Counter[str]:
    """The requests from now on, and the bytes of the answers."""
    found: Counter[str] = Counter()
    answer = api.answer

    def counted(call: Call) -> Response | Watch:
        answered = answer(call)
        if isinstance(answered, Response):
            found["requests"] += 1
            found["bytes"] += len(answered.body)
        else:
            found["watches"] += 1
        return answered

    api.answer = counted  # type: ignore[method-assign]
    return found


def test_a_command_asks_as_often_in_a_larger_cluster_and_reads_little_of_it(tmp_path: Path) -> None:
    few, many = (asked_and_answered(objects, tmp_path) for objects in (30, 50))
    for command, (requests, most, modules) in COMMANDS.items():
        assert many[command]["modules"] <= modules, command
        assert many[command]["watches"] == 0, f"{command} is to look once"
        assert few[command]["requests"] == many[command]["requests"] <= requests, command
        assert (many[command]["bytes"] - few[command]["bytes"]) / 20 <= most, command


def test_a_name_is_completed_again_without_a_question(tmp_path: Path) -> None:
    async def story() -> None:
        server = ApiServer()
        await server.start()
        config, cache = tmp_path / "config", tmp_path / "cache"
        config.touch(mode=0o600)
        config.write_text(json.dumps(server.kubeconfig()))
        counted = counting(server.api)
        asking = {"_KAITOCTL_COMPLETE": "complete_bash", "XDG_CACHE_HOME": str(cache), "HOME": str(tmp_path)}

        async def completed(line: str) -> tuple[list[str], int, int]:
            """What a line is completed by, how often the server was asked, how many modules were imported."""
            words = {
                "COMP_WORDS": line,
                "COMP_CWORD": str(len(line.split(" ")) - 1),
                "KUBECONFIG": str(config),
            }
            patient = "import kaitoctl.cli.complete as it; it._BUDGET_S = 60\n"  # on a busy machine
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", patient + _PROBE.format(argv=[])),
                env={**os.environ, **asking, **words},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            found, said = await process.communicate()
            return found.decode().split(), counted.pop("requests", 0), int(said.splitlines()[-1])

        first, asked, modules = await completed("kaitoctl logs -n ")
        assert "kube-system" in first
        assert asked >= 1
        (kept,) = (cache / "kaitoctl").iterdir()
        assert kept.stat().st_mode & 0o077 == 0
        os.utime(kept)  # however long this has taken
        again, asked, fewer = await completed("kaitoctl logs -n kube-s")
        assert (again, asked) == (["kube-system"], 0)
        assert fewer <= modules - 25, "no client is imported"
        os.utime(kept, (0, 0))
        assert (await completed("kaitoctl logs -n "))[1] >= 1, "they are kept for seconds"
        os.utime(kept)
        os.utime(config)
        assert (await completed("kaitoctl logs -n "))[1] >= 1, "it may lead elsewhere now"
        await server.stop()

    asyncio.run(story())


# --- what a Workspace costs the controller -----------------------------------------------------------------


def world_of(count: int) -> World:
    """Workspaces that are ready, each on a node of its own."""
    world = World()
    for number in range(count):
        name = f"ws-{number:03}"
        add(world.do, name)
        for _ in range(2):
            world.reconcile(name)
            world.cluster_moves()
    return world


def kept(count: int) -> tuple[int, int]:
    """Bytes and blocks of memory that the stores hold, filled as informers fill them."""
    world = world_of(count)
    bodies = {kind: [json.dumps(obj) for obj in world.list(kind)] for kind in WATCHED}
    gc.collect()
    tracemalloc.start()
    try:
        stores = []
        for kind, texts in bodies.items():
            store = Store(packed=kind != NODE)  # as in workspace_controller.wiring
            stores.append(store)
            for obj in map(json.loads, texts):
                store._replace(key_of(obj), transform_of(kind)(obj))
        del store, obj
        gc.collect()
        found = tracemalloc.take_snapshot().statistics("filename")
    finally:
        tracemalloc.stop()
    return sum(item.size for item in found), sum(item.count for item in found)


def test_a_workspace_takes_little_memory() -> None:
    few, many = kept(5), kept(15)
    size, blocks = ((after - before) / 10 for before, after in zip(few, many, strict=True))
    assert size <= 10 * 1024, "bytes of a Workspace, its node and its children"
    assert blocks <= 60


class Effort(NamedTuple):
    """What a pass does: functions called (Python's and C's), requests made, and the bytes of both sides."""

    calls: int
    requests: int
    sent: int
    answered: int


def effort(world: World, name: str, known: WorkspaceReconciler | None = None) -> Effort:
    """Of one pass, of a reconciler that knows nothing yet unless it is given."""
    reconciler = known or WorkspaceReconciler(world.stores(), Settings(), kind=world.kind, clock=lambda: NOW)
    steps = reconciler.reconcile(ObjectKey("default", name))
    calls, requests, sent, answered, answer = 0, 0, 0, 0, None

    def count(_: object, event: str, __: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    while True:
        before = sys.getprofile()
        sys.setprofile(count)
        try:
            asked = steps.send(answer)  # type: ignore[arg-type]
        except StopIteration:
            return Effort(calls, requests, sent, answered)
        finally:
            sys.setprofile(before)
        answer = world.do(asked)
        requests += 1
        sent += len(json.dumps(asked.body))
        answered += len(json.dumps(answer))


def test_a_pass_does_little() -> None:
    world = World()
    for name in ("warm-up", "ws"):
        add(world.do, name)
        found = []
        for _ in range(3):
            found.append(effort(world, name))
            world.cluster_moves()
    first, ready, settled = found
    assert [it.requests for it in found] == [5, 2, 0]
    assert first.calls <= 2250
    assert ready.calls <= 2750
    assert settled.calls <= 2600
    assert first.sent <= 6300
    assert first.answered <= 13_000
    assert ready.sent <= 2000


def test_a_pass_for_which_nothing_has_changed_works_little_out_again() -> None:
    world = world_of(2)
    reconciler = WorkspaceReconciler(world.stores(), Settings(), kind=world.kind, clock=lambda: NOW)
    for name in ("ws-000", "ws-001"):
        first, again = (effort(world, name, reconciler) for _ in range(2))
    assert (first.requests, again.requests) == (0, 0)
    assert again.calls <= 1650


def test_a_pass_keeps_nothing() -> None:
    """What stays behind after each look at a Workspace would grow for as long as the controller runs."""
    world = world_of(1)
    reconciler = WorkspaceReconciler(world.stores(), Settings(), kind=world.kind, clock=lambda: NOW)

    def look() -> None:
        assert list(reconciler.reconcile(ObjectKey("default", "ws-000"))) == [], "it is settled"

    def blocks_after(passes: int) -> int:
        for _ in range(passes):
            look()
        gc.collect()
        return sys.getallocatedblocks()

    before = blocks_after(20)  # caches are filled
    assert blocks_after(300) - before < 150, "a block for every other pass would be a leak"
