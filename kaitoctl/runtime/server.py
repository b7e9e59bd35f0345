"""The server program: load, say what is loaded, serve until a signal, or until the starter has gone."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from kaitoctl.errors import InputError
from kaitoctl.runtime import engine, extra_packages, hugging_face, lora_to_gguf, models, strength_files
from kaitoctl.runtime.lora_to_gguf import Adapter
from kaitoctl.runtime.strengths import Strengths
from kaitoctl.runtime.worker_process import apart

_STOP_TIMEOUT_S = 2.0


class ServerOptions(Struct, frozen=True):
    """What to serve.

    Args:
        model: a GGUF file, or a Hugging Face folder.
        adapters: in the order of their ids.
        port: on loopback; 0 for one that is free.
        key: what clients have to send; empty for none.
        name: the model's name for clients; empty for the file's.
        threads: of computation.
        context: tokens of prompt and answer.
        strengths: a folder with a file for each adapter, named like it; None for none. What is there holds
            before what the adapters say, also when it changes.
        ends_with_stdin: end at the end of standard input: whoever started this has gone.
    """

    model: Path
    adapters: Sequence[Adapter] = ()
    port: int = 0
    key: str = ""
    name: str = ""
    threads: int = 1
    context: int = engine.CONTEXT
    strengths: Path | None = None
    ends_with_stdin: bool = False


def serve(asked: ServerOptions) -> None:
    """Serve until SIGTERM, SIGINT, or the end of standard input where that was asked for.

    Raises:
        InputError: the model, an adapter or the port cannot be used; nothing was served.
    """
    extra_packages.require()
    written = strength_files.read(asked.strengths)
    asked = replace(asked, adapters=[_at(adapter, written) for adapter in asked.adapters])
    _say("A model server on this machine's CPU, run by kaitoctl; a sandbox's node and GPU are simulated")
    with _bind(asked.port) as listener:
        running = _load(asked)
        for adapter in asked.adapters:
            _say(f"Adapter added: {adapter.name} | strength: {adapter.strength:g}")
        asyncio.run(_serve(asked, running, listener))
    # The engine's threads may still be at work on an answer that nobody waits for.
    sys.stdout.flush()
    os._exit(0)


def _load(asked: ServerOptions) -> engine.Engine:
    """Load everything. What was converted is on disk only until then, so that no end leaves it behind."""
    _unique(asked.adapters)
    with tempfile.TemporaryDirectory(prefix="kaitoctl-runtime-") as scratch:
        # Before there is a thread: it would not be in the copy.
        model, files = apart(lambda: _prepare(asked, Path(scratch)), doing=f"reading {asked.model}")
        if asked.ends_with_stdin:
            threading.Thread(target=_end_with_stdin, args=(scratch,), daemon=True).start()
        name = asked.name or asked.model.stem
        running = engine.start(model, files, name=name, threads=asked.threads, context=asked.context)
    _say(f"Model loaded: {asked.model} ({model.architecture})")
    return running


def _prepare(asked: ServerOptions, scratch: Path) -> tuple[models.Model, list[Path]]:
    """What the engine loads; what is not a file of its own kind is made into one."""
    model = _model(asked.model, scratch)
    return model, [lora_to_gguf.convert(adapter, model, scratch) for adapter in asked.adapters]


def read_key(path: Path) -> str:
    """The key that clients have to send, from a file.

    Raises:
        InputError: the file cannot be read, or is empty.
    """
    try:
        key = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--key-file {path}: {getattr(error, 'strerror', '') or error}") from error
    if not key:
        raise InputError(f"--key-file {path} is empty")
    return key


async def _serve(asked: ServerOptions, running: engine.Engine, listener: socket.socket) -> None:
    import aiohttp
    from aiohttp import web

    from kaitoctl.runtime.http_api import Face

    strengths = Strengths([item.name for item in asked.adapters], [item.strength for item in asked.adapters])
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None)) as session:
        face = Face(running, asked.name or asked.model.stem, strengths, asked.key, session)
        runner = web.AppRunner(
            face.application(), access_log=None, handler_cancellation=True, shutdown_timeout=_STOP_TIMEOUT_S
        )
        await runner.setup()
        await web.SockSite(runner, listener).start()
        _say(f"Serving on http://127.0.0.1:{listener.getsockname()[1]}")
        following = asyncio.create_task(strength_files.follow(asked.strengths, strengths))
        await ended.wait()
        following.cancel()
        _say("ending")
        await runner.cleanup()


def _model(path: Path, scratch: Path) -> models.Model:
    if path.is_dir():
        if not hugging_face.is_folder_of_model(path):
            raise InputError(f"{path} has no config.json", hint="give a GGUF file or a Hugging Face folder")
        return models.read(hugging_face.convert(path, scratch / "model.gguf"))
    return models.read(path)


def _at(adapter: Adapter, written: Mapping[str, float]) -> Adapter:
    return replace(adapter, strength=written.get(adapter.name, adapter.strength))


def _unique(wanted: Sequence[Adapter]) -> None:
    names = [adapter.name for adapter in wanted]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"adapter {twice[0]} is given twice")


def _bind(port: int) -> socket.socket:
    """A socket that has its port and does not listen yet: until the model is loaded, nobody is served."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
    except OSError as error:
        listener.close()
        raise InputError(
            f"--port {port}: {error.strerror}", hint="--port 0 takes one that is free"
        ) from error
    return listener


def _end_with_stdin(scratch: str) -> None:
    # Not by sys.stdin: a thread that waits in there makes Python abort where the program ends by itself.
    while os.read(0, 4096):
        pass
    shutil.rmtree(scratch, ignore_errors=True)
    os._exit(0)


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - the server's log is its standard output
