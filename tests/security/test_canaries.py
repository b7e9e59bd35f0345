"""Canaries in every place of a secret, looked for in all that any command says, logs or keeps.

Each canary says where it was. Kubeconfigs have them, whole and broken; objects of the cluster have them:
Secrets and the environment of containers; so has our own environment. Servers quote what they are asked with.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import stat
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from cli.every_command import calls
from cli.in_process import Ending, beside
from world import World, falcon, prepared

from kaitoctl.kaito import api as kaito
from kaitoctl.kube import request
from kaitoctl.kube.objects import DEPLOYMENT, EVENT, NODE, POD, SECRET, Object
from kaitoctl.sandbox.server import ApiServer

MARK = "c4n4ry"
VERSION = "client.authentication.k8s.io/v1"
ENDED_AT_S = 30.0

_NUMBERS = itertools.count(1)


def canary(where: str) -> str:
    return f"{MARK}-{where}"


def traces(text: str) -> list[str]:
    """The canaries in a text: as they are, in base64, or escaped."""
    found = [text[max(0, at - 60) : at + 60] for at in _places(text, MARK)]
    for shift in range(3):  # where base64 has cut the bytes before it
        encoded = base64.b64encode(b"\0" * shift + MARK.encode()).decode()
        inner = encoded[0 if shift == 0 else shift + 1 : -4 or None]
        found += [text[max(0, at - 60) : at + 60] for at in _places(text, inner)]
    return found


def _places(text: str, part: str) -> Iterable[int]:
    at = text.find(part)
    while at >= 0:
        yield at
        at = text.find(part, at + 1)


# --- kubeconfigs -------------------------------------------------------------------------------------------


def config(port: int, user: Any, **cluster: Any) -> Any:
    server = f"http://{canary('url-user')}:{canary('url-password')}@127.0.0.1:{port}/{canary('path')}"
    extensions = [{"name": "e", "extension": {"secret": canary("extension")}}]
    return {
        "current-context": "c",
        "contexts": [
            {"name": "c", "context": {"cluster": "k", "user": "u", "extensions": extensions}},
            {"name": "d", "context": {"cluster": "k", "user": "v"}},
        ],
        "clusters": [{"name": "k", "cluster": {"server": server, "extensions": extensions, **cluster}}],
        "users": [
            {"name": "u", "user": user},
            {"name": "v", "user": {"token": canary("other-token"), "extensions": extensions}},
        ],
        "extensions": extensions,
    }


def plugin(folder: Path, script: str = "exit 3") -> Any:
    program = folder / "plugin"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(stat.S_IRWXU)
    return {
        "exec": {
            "apiVersion": VERSION,
            "command": str(program),
            "args": [canary("exec-argument")],
            "env": [{"name": "SECRET", "value": canary("exec-env")}],
            "interactiveMode": "Never",
        }
    }


def oidc(**more: Any) -> Any:
    held = {
        "idp-issuer-url": f"https://me:{canary('issuer-password')}@127.0.0.1:1",
        "client-id": canary("client-id"),
        "client-secret": canary("client-secret"),
        "id-token": f"eyJhbGciOiJub25lIn0.eyJleHAiOjF9.{canary('id-token')}",
        "refresh-token": canary("refresh-token"),
        "access-token": canary("access-token"),
    }
    inside = {key: value for key, value in {**held, **more}.items() if value is not None}
    return {"auth-provider": {"name": "oidc", "config": inside}}


Make = Callable[[int, Path], Any]


def _of(user: Any, **cluster: Any) -> Make:
    return lambda port, folder: config(port, user, **cluster)


GIVEN = json.dumps({"apiVersion": VERSION, "status": {"token": canary("given-token")}})

SOUND: dict[str, Make] = {
    "token": _of({"token": canary("token"), "as": "jane", "as-user-extra": {"k": [canary("extra")]}}),
    "password": _of({"username": "me", "password": canary("password")}),
    "token file": lambda port, folder: config(port, {"tokenFile": str(_token_file(folder))}),
}
PLUGINS: dict[str, Make] = {
    "a plugin": lambda port, folder: config(port, plugin(folder, f"echo '{GIVEN}'")),
    "a plugin that fails": lambda port, folder: config(port, plugin(folder)),
    "a plugin that says something else": lambda port, folder: config(
        port, plugin(folder, f"echo '{canary('said')}'")
    ),
}
BROKEN: dict[str, Make] = {
    "oidc": _of(oidc()),
    "oidc without refresh-token": _of(oidc(**{"refresh-token": None})),
    "oidc without issuer": _of(oidc(**{"idp-issuer-url": None})),
    "oidc with an id-token that is none": _of(oidc(**{"id-token": canary("id-token")})),
    "oidc with a list": _of(oidc(**{"client-secret": [canary("client-secret")]})),
    "a token with an odd character": _of({"token": f"{canary('token')}\u200b{canary('token')}"}),
    "a token with a line break": _of({"token": f"{canary('token')}\n{canary('token')}"}),
    "a token that is a list": _of({"token": [canary("token")]}),
    "a user that is text": _of(canary("user")),
    "a user that is a list": _of([{"token": canary("token")}]),
    "a plugin that is text": _of({"exec": canary("exec")}),
    "an environment that is text": lambda port, folder: config(
        port, {"exec": {**plugin(folder)["exec"], "env": canary("env")}}
    ),
    "a token and a password": _of({"token": canary("token"), "username": "me", "password": canary("pw")}),
    "a password alone": _of({"password": canary("password")}),
    "somebody else by a line break": _of({"token": "t", "as": f"jane\n{canary('as')}"}),
    "a key that is not base64": _of(
        {"client-certificate-data": canary("crt"), "client-key-data": canary("key")}
    ),
    "a key that is none": lambda port, folder: {
        **config(port, {"client-certificate-data": _b64("crt"), "client-key-data": _b64("key")}),
        "clusters": [{"name": "k", "cluster": {"server": f"https://127.0.0.1:{port}/{canary('path')}"}}],
    },
    "a proxy": _of({"token": canary("token")}, **{"proxy-url": f"http://me:{canary('proxy')}@127.0.0.1:1"}),
    "a proxy of another kind": _of({}, **{"proxy-url": f"socks9://me:{canary('proxy')}@127.0.0.1:1"}),
    "a proxy that is none": _of({}, **{"proxy-url": f"http://me:{canary('proxy')}@[::1"}),
    "a server that is none": lambda port, folder: {
        **config(port, {"token": canary("token")}),
        "clusters": [{"name": "k", "cluster": {"server": f"ftp://me:{canary('pw')}@h/{canary('path')}"}}],
    },
    "two users of one name": lambda port, folder: {
        **config(port, {}),
        "users": [{"name": "u", "user": {"token": canary(number)}} for number in ("one", "two")],
    },
    "broken YAML": lambda port, folder: f"users:\n- token: {canary('token')}\n  x: [{canary('yaml')}: : '\n",
    "a tag": lambda port, folder: f"users: !!int {canary('token')}\n",
    "an unknown tag": lambda port, folder: f"users: !{canary('tag')} {canary('token')}\n",
    "an anchor": lambda port, folder: f"users: *{canary('anchor')}\n",
}


def _token_file(folder: Path) -> Path:
    file = folder / "token"
    file.write_text(canary("path"))  # what the sandbox takes for its token
    return file


def _b64(where: str) -> str:
    return base64.b64encode(canary(where).encode()).decode()


def written(folder: Path, made: Any) -> Path:
    file = folder / "kubeconfig"
    file.touch(mode=0o600)
    file.write_text(made if isinstance(made, str) else yaml.safe_dump(made))
    return file


# --- clusters ----------------------------------------------------------------------------------------------


def _env(where: str) -> list[Object]:
    return [{"name": "HF_TOKEN", "value": canary(where)}, {"name": "DB_PASSWORD", "value": canary(where)}]


def _quoted(where: str) -> str:
    """A message of a program that quotes the address that it asked."""
    return f"401 from https://me:{canary(where)}@registry.example/v2/"


def cluster() -> World:
    """Two Workspaces, of a preset and of a custom pod, whose pods crash; a Secret and Events beside them.

    Whoever writes a message quotes an address with a password: KAITO, Kubernetes, kubelet and registry.
    """
    world = prepared()
    preset = falcon()
    adapter = {"source": {"name": "style", "image": "registry.example/style:1", "imagePullSecrets": ["pull"]}}
    preset["inference"]["adapters"] = [{**adapter, "strength": "0.5"}]
    custom = falcon(labelSelector={"matchLabels": {"apps": "custom"}})
    custom["metadata"]["name"] = "custom"
    container = {"name": "model", "image": "registry.example/model:1", "env": _env("template-env")}
    custom["inference"] = {"template": {"spec": {"containers": [container]}}}
    data = {".dockerconfigjson": _b64("secret-data")}
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "pull", "namespace": "default"},
        "type": "kubernetes.io/dockerconfigjson",
        "data": data,
    }
    world.do(request.create(SECRET, secret))
    node = {**world.list(NODE)[0], "metadata": {"name": "gpu-b", "labels": {"apps": "custom"}}}
    world.do(request.create(NODE, node))
    for workspace in (preset, custom):
        world.do(request.create(kaito.WORKSPACE, workspace))
        world.settle(workspace["metadata"]["name"])
    for deployment in world.list(DEPLOYMENT):
        world.do(request.create(POD, _crashing(deployment)))
        world.do(request.create(EVENT, _event(deployment["metadata"]["name"])))
        said = {**_condition("ReplicaFailure", "deployment"), "status": "True"}
        world.do(request.apply_status(DEPLOYMENT, _with_conditions(deployment, [said]), manager="a"))
    for workspace in world.list(kaito.WORKSPACE):
        said = _condition(kaito.RESOURCE_READY, "workspace")
        kind = kaito.kind_of(workspace)
        world.do(request.apply_status(kind, _with_conditions(workspace, [said]), manager="a"))
    return world


def _condition(kind: str, where: str) -> Object:
    then = "2026-01-01T00:00:00Z"
    message = _quoted(where)
    return {"type": kind, "status": "False", "reason": "R", "message": message, "lastTransitionTime": then}


def _with_conditions(obj: Object, conditions: list[Object]) -> Object:
    own = {key: obj["metadata"][key] for key in ("name", "namespace")}
    known = {key: obj[key] for key in ("apiVersion", "kind")}
    return {**known, "metadata": own, "status": {"conditions": conditions}}


def _crashing(deployment: Object) -> Object:
    name, template = deployment["metadata"]["name"], deployment["spec"]["template"]
    containers = [
        {**container, "env": [*(container.get("env") or ()), *_env("pod-env")]}
        for container in template["spec"]["containers"]
    ]
    then = "2026-01-01T00:00:00Z"
    ended = {"exitCode": 1, "reason": "Error", "message": _quoted("terminated"), "finishedAt": then}
    state = {
        "name": containers[0]["name"],
        "restartCount": 7,
        "ready": False,
        "image": "x",
        "imageID": "x",
        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": _quoted("waiting")}},
        "lastState": {"terminated": ended},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"{name}-1",
            "namespace": "default",
            "labels": template["metadata"]["labels"],
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": canary("annotation")},
        },
        "spec": {**template["spec"], "containers": containers, "nodeName": "gpu-a"},
        "status": {
            "phase": "Running",
            "containerStatuses": [state],
            "conditions": [_condition("Ready", "pod")],
        },
    }


def _event(name: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{name}.1", "namespace": "default"},
        "involvedObject": {"kind": "Workspace", "name": name, "namespace": "default"},
        "type": "Warning",
        "reason": "Trouble",
        "message": _quoted("event"),
        "lastTimestamp": "2026-01-01T00:00:00Z",
    }


@asynccontextmanager
async def _world(world: World, port: int) -> AsyncIterator[None]:
    server = ApiServer(token=canary("path"), port=port)
    server.api = world.api
    await server.start()
    try:
        yield
    finally:
        await server.stop()


@asynccontextmanager
async def _quoting(status: int, kind: str, port: int) -> AsyncIterator[None]:
    """A server, or what stands before it, that quotes all that it was asked with."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = head.lower().partition("content-length: ")[2].partition("\r\n")[0]
                await reader.readexactly(int(length or 0))
                said = " ".join(head.split())
                warning = f'Warning: 299 - "you asked {said}"\r\n'
                body = {
                    "status": json.dumps({"kind": "Status", "message": f"no: {said}", "reason": said}),
                    "page": f"<html><head><title>{said}</title></head>{said}</html>",
                    "text": said,
                }[kind]
                writer.write(
                    f"HTTP/1.1 {status} X\r\n{warning}Content-Length: {len(body)}\r\n\r\n{body}".encode()
                )
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", port)
    try:
        yield
    finally:
        server.close()
        await asyncio.sleep(0)


Up = Callable[[int], AbstractAsyncContextManager[None]]
QUOTING: dict[str, Up] = {
    "a Status": partial(_quoting, 400, "status"),
    "a refusal": partial(_quoting, 401, "status"),
    "a failure": partial(_quoting, 503, "text"),
    "a page": partial(_quoting, 200, "page"),
    "text": partial(_quoting, 200, "text"),
}


# --- all together ------------------------------------------------------------------------------------------

# Whoever asks for an object is shown it: the manifest that would be applied, and how it differs from what is.
SHOWS_OBJECTS = ("diff",)


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> int:
    """A free port; and canaries in our own environment."""
    import socket

    for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://me:{canary(name)}@127.0.0.1:1")
    for name in ("AWS_SECRET_ACCESS_KEY", "HF_TOKEN", "KAITOCTL_SECRET"):
        monkeypatch.setenv(name, canary(name))
    monkeypatch.setenv("HOME", str(tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as found:
        number: int = found.getsockname()[1]
    return number


def told(ending: Ending, folder: Path) -> list[str]:
    """What of the canaries a command said, logged or kept."""
    record = folder / "record"
    kept = record.read_text() if record.exists() else ""
    record.unlink(missing_ok=True)
    return traces(f"{ending.text}\n{ending.printed}\n{ending.logged}\n{kept}")


def every(folder: Path, made: Any, *workspaces: str) -> list[list[str]]:
    """Each call of each command that asks a cluster, about each of the Workspaces."""
    found = []
    for call in calls(folder, written(folder, made)):
        for name in workspaces or ("falcon",):
            found.append([name if word == "falcon" else word for word in call])
    return [call for number, call in enumerate(found) if call not in found[:number]]


def sung(
    up: Up,
    asked: list[list[str]],
    port: int,
    folder: Path,
    patch: pytest.MonkeyPatch,
    *,
    is_real: bool = False,
) -> list[str]:
    """Where a canary was seen."""
    found = []
    for call in asked:
        ending = beside(partial(up, port), call, patch, at_most_s=ENDED_AT_S, is_real=is_real)
        seen = told(ending, folder)
        if call[0] in SHOWS_OBJECTS:
            seen = [text for text in seen if "-env" not in text]
        if seen:
            found.append(f"{' '.join(call)}: {seen[0]!r}")
    return found


@pytest.mark.parametrize("shape", SOUND)
def test_no_command_tells_a_secret_of_a_cluster_that_is_sound(
    shape: str, port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shape != "token":
        monkeypatch.setenv("KAITOCTL_DEBUG", "1")
    world = cluster()
    made = SOUND[shape](port, tmp_path)
    if shape == "token":
        made["users"][0]["user"] = {"token": canary("path")}
    address = (
        f"http://127.0.0.1:{port}" if shape != "password" else f"http://127.0.0.1:{port}/{canary('path')}"
    )
    made["clusters"][0]["cluster"]["server"] = address
    asked = every(tmp_path, made, "falcon", "custom")
    assert sung(partial(_world, world), asked, port, tmp_path, monkeypatch) == []


@pytest.mark.parametrize("shape", SOUND)
@pytest.mark.parametrize("server", QUOTING)
def test_no_command_tells_what_a_server_quotes(
    server: str, shape: str, port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shape != "token":
        monkeypatch.setenv("KAITOCTL_DEBUG", "1")
    asked = every(tmp_path, SOUND[shape](port, tmp_path))
    assert sung(QUOTING[server], asked, port, tmp_path, monkeypatch) == []


@pytest.mark.parametrize("shape", BROKEN)
def test_no_command_tells_what_is_in_a_broken_kubeconfig(
    shape: str, port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAITOCTL_DEBUG", "1")
    # They all fail at the same place: once for each command is enough.
    asked = list({tuple(call[:2]): call for call in every(tmp_path, BROKEN[shape](port, tmp_path))}.values())
    assert sung(QUOTING["a Status"], asked, port, tmp_path, monkeypatch) == []


@pytest.mark.parametrize("shape", PLUGINS)
def test_no_command_tells_what_a_plugin_was_given_or_gives(
    shape: str, port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another program takes part, so time is real, and who follows is left out."""
    monkeypatch.setenv("KAITOCTL_DEBUG", "1")
    follows = {"--timeout", "--wait", "-w", "run-controller"}
    asked = [call for call in every(tmp_path, PLUGINS[shape](port, tmp_path)) if not follows & {*call}]
    assert sung(QUOTING["a Status"], asked, port, tmp_path, monkeypatch, is_real=True) == []


def test_the_canaries_are_heard() -> None:
    """Else the silence of all others would mean nothing."""
    assert traces(f"x {canary('token')}")
    for before in ("", "a", "ab", "me:"):
        assert traces(base64.b64encode(f"{before}{canary('x')} and more".encode()).decode())
    assert not traces("nothing at all")
