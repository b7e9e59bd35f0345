"""The sandbox's model servers beside the engine alone: start, tokens, a change of an adapter, memory, rest.

python -m bench runtime [--rounds N]      with SmolLM2-135M, which is pulled when it is not here
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.figures import Figure, Skipped, in_turn, of_pairs, of_values, wall_ms
from kaitoctl.sandbox.real.serving import NICE

KAITOCTL = str(Path(sys.executable).parent / "kaitoctl")
MODEL, ADAPTER = "smollm2-135m-instruct", Path(__file__).resolve().parent.parent / "examples" / "pirate"
IMPORT = [sys.executable, "-c", "import xllamacpp"]
TOKENS, REST_S = 64, 20.0
BODY = {
    "messages": [{"role": "user", "content": "Count from one to a hundred, in words."}],
    "max_tokens": TOKENS,
    "temperature": 0,
}
ENGINE = """
import pathlib, sys, tempfile
from kaitoctl.runtime import adapters, engine, models
model = models.read(pathlib.Path(sys.argv[1]))
with tempfile.TemporaryDirectory() as scratch:
    adapter = adapters.Adapter("pirate", pathlib.Path(sys.argv[2]))
    running = engine.start(model, [adapters.convert(adapter, model, pathlib.Path(scratch))])
print("Serving on", running.key, running.address, flush=True)
sys.stdin.read()
"""


def figures(rounds: int = 3) -> list[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        env = {**os.environ, "KAITOCTL_STATE_DIR": folder, "KAITOCTL_SANDBOX": "1"}
        model = _model(env)
        server = [KAITOCTL, "runtime", "serve", "--model", str(model), "--port", "0", "--end-with-stdin"]
        ups = in_turn(
            rounds,
            {
                "server": lambda: _up_ms(server),
                "as in a pod": lambda: _up_ms(server, NICE),
                "import": lambda: wall_ms(IMPORT),
            },
        )
        try:
            with _serving([sys.executable, "-c", ENGINE, str(model), str(ADAPTER)], NICE) as (said, _):
                key, engine = said
                found = _in_sandbox(rounds, env, (engine, key), model, ups["as in a pod"])
        finally:
            subprocess.run(
                [KAITOCTL, "sandbox", "down", "--delete"], env=env, check=False, capture_output=True
            )
    start = list(zip(ups["server"], ups["import"], strict=True))
    return [of_pairs("runtime", "server up, beside importing its engine", start, "import", ""), *found]


def _in_sandbox(
    rounds: int, env: dict[str, str], engine: tuple[str, str], model: Path, ups: list[float]
) -> list[Figure]:
    _done("sandbox", "image", "load", str(ADAPTER), "--as", "localhost/pirate:1", env=env)
    adapter = ("--adapter", "pirate=localhost/pirate:1,strength=0.5")
    _done("create", "workspace", "w", "--preset", MODEL, *adapter, env=env)
    listener = _said("endpoint", "w", env=env).removesuffix("/v1/chat/completions")
    proxy = _said("endpoint", "w", "--type", "proxy", env=env).removesuffix("/v1/chat/completions")
    token = json.loads((Path(env["KAITOCTL_STATE_DIR"]) / "sandbox/default/server.json").read_text())["token"]
    sides: dict[str, Callable[[], float]] = {
        "engine": lambda: _tokens_s(*engine, lora=0.5),
        "proxy": lambda: _tokens_s(proxy, token),
        "listener": lambda: _tokens_s(listener),
    }
    for side in sides.values():
        side()  # the prompt is in each cache from here on
    rates = in_turn(rounds, sides)
    strengths = iter(range(1, 1000))
    changes = in_turn(
        rounds,
        {
            "written": lambda: wall_ms(_change(next(strengths)), env),
            "live": lambda: wall_ms([*_change(next(strengths)), "--live"], env),
        },
    )
    pids = _processes(env)
    share = _cpu_share(pids)
    file_mib = model.stat().st_size / 2**20
    held = _resident_mib(pids["server"])
    made = [
        of_pairs("runtime", f"tokens/s by the {way}, beside the engine alone",
                 list(zip(rates[way], rates["engine"], strict=True)), "engine", ">= 0.9", unit="/s")
        for way in ("proxy", "listener")
    ]  # fmt: skip
    for name, how in (("written", "set-adapter"), ("live", "set-adapter --live")):
        pairs = list(zip(changes[name], ups, strict=True))
        made.append(of_pairs("runtime", f"{how}, beside the server's start", pairs, "start", "<= 3"))
    beside = f"{held:.0f} MiB, file {file_mib:.0f} MiB"
    made.append(
        of_values("runtime", "memory beside the model's file", [held / file_mib], aim="<= 2.5", beside=beside)
    )
    made.append(of_values("runtime", "CPU at rest, sandbox and server", [share], unit="%", aim="<= 1"))
    return made


def _change(number: int) -> list[str]:
    strength = f"0.{number:03d}"
    return [KAITOCTL, "set-adapter", "w", "--name", "pirate", "--strength", strength, "--yes"]


def _model(env: dict[str, str]) -> Path:
    done = subprocess.run(
        [KAITOCTL, "runtime", "models", "pull", MODEL], env=env, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise Skipped(f"{MODEL} cannot be had here")
    return Path(done.stdout.strip())


def _said(*arguments: str, env: dict[str, str]) -> str:
    done = subprocess.run([KAITOCTL, *arguments], env=env, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _done(*arguments: str, env: dict[str, str]) -> None:
    wall_ms([KAITOCTL, *arguments], env)


@contextmanager
def _serving(command: list[str], nice: int = 0) -> Iterator[tuple[list[str], float]]:
    """What a server says that it serves on, and how many milliseconds it took until it served.

    Beside a server of a pod it has to be as nice: on a busy machine that alone makes a third of its speed.
    """
    began = time.perf_counter()
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdin is not None
    os.setpriority(os.PRIO_PROCESS, process.pid, nice)
    try:
        line = next(line for line in process.stdout if line.startswith("Serving on "))
        yield line.split()[2:], (time.perf_counter() - began) * 1000
    finally:
        process.stdin.close()
        process.kill()
        process.wait()
        process.stdout.close()


def _up_ms(command: list[str], nice: int = 0) -> float:
    with _serving(command, nice) as (_, took_ms):
        return took_ms


def _tokens_s(base: str, token: str = "", lora: float | None = None) -> float:
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    body = BODY if lora is None else {**BODY, "lora": [{"id": 0, "scale": lora}]}
    request = urllib.request.Request(f"{base}/v1/chat/completions", json.dumps(body).encode(), headers)
    began = time.perf_counter()
    with urllib.request.urlopen(request, timeout=600) as answer:
        count = json.load(answer)["usage"]["completion_tokens"]
    return float(count / (time.perf_counter() - began))


def _processes(env: dict[str, str]) -> dict[str, int]:
    """The sandbox and its one model server."""
    sandbox = int((Path(env["KAITOCTL_STATE_DIR"]) / "sandbox/default/lock").read_text())
    children = Path(f"/proc/{sandbox}/task/{sandbox}/children").read_text().split()
    return {"sandbox": sandbox, "server": int(children[0])}


def _cpu_share(pids: dict[str, int]) -> float:
    """Percent of one core over a while in which nothing happens."""

    def ticks() -> int:
        texts = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids.values()]
        return sum(int(fields[11]) + int(fields[12]) for fields in texts)

    time.sleep(5)
    before = ticks()
    time.sleep(REST_S)
    return (ticks() - before) / os.sysconf("SC_CLK_TCK") / REST_S * 100


def _resident_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS:"))
