"""Clusters whose objects hold what steers a terminal, and clusters full of secrets: every command that reads.

The cluster is the sandbox; a server in between writes into each free text that it hands on.
"""

from __future__ import annotations

import base64
import itertools
import json
import logging
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from adapting import Served
from fake_server import always, serving
from shell import Shell

from kaitoctl.commands.controller_logs import JsonLines, TextLines

POISON = "\x1b[2J\x1b]0;owned\x07\x9b31m\r\u202e\u2066\nerror: forged\x00\x7f"
STEERING = [chr(code) for code in (*range(9), *range(11, 32), *range(127, 160))] + list("\u202e\u2066\u200f")
FREE_TEXTS = frozenset(
    [
        "message",
        "note",
        "reason",
        "phase",
        "image",
        "imageID",
        "containerID",
        "kernelVersion",
        "osImage",
        "containerRuntimeVersion",
        "architecture",
        "reportingController",
        "component",
        "host",
        "reportingInstance",
        "hostname",
        "ip",
        "serviceName",
        "volumeName",
        "strength",
        "claimName",
        "status",
        "type",
    ]
)
"""Fields in which an API server takes any text, of objects that it does not know better."""
SECRET = "canary-in-a-Secret"

READING: dict[str, tuple[str, ...]] = {
    "status": ("status",),
    "status of one": ("status", "NAME"),
    "status as JSON": ("status", "NAME", "-o", "json"),
    "status as YAML": ("status", "-o", "yaml"),
    "status, watched": ("status", "NAME", "-w", "--timeout", "1s", "--record", "FILE"),
    "why": ("why", "NAME"),
    "doctor": ("doctor",),
    "logs": ("logs", "NAME"),
    "events as JSON": ("events", "NAME", "-o", "json"),
    "events": ("events", "NAME"),
    "nodes": ("nodes",),
    "check-nodes": ("check-nodes", "--preset", "falcon-7b", "--label", "apps=x"),
    "endpoint": ("endpoint", "NAME"),
    "history": ("rollout", "history", "NAME"),
    "one of the history": ("rollout", "history", "NAME", "--revision", "1"),
    "rollout status": ("rollout", "status", "NAME", "--timeout", "1s"),
    "undo": ("rollout", "undo", "NAME", "--to-revision", "1", "--dry-run=server"),
    "list-adapters": ("list-adapters", "NAME"),
    "add-adapter": ("add-adapter", "NAME", "--name", "b", "--image", "r.example/b:1", "--dry-run=server"),
    "validate": ("validate", "-f", "MANIFEST"),
    "diff": ("diff", "-f", "MANIFEST"),
}


@pytest.fixture(scope="module")
def living(sandbox_shell: Shell) -> Iterator[Served]:
    """A Workspace with adapters, a history and Events, and a Secret that it names."""
    namespace = f"hostile-{next(itertools.count(1))}"
    sandbox_shell.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    metadata = {"name": "pull", "namespace": namespace}
    data = base64.b64encode(json.dumps({"auths": {"r": {"password": SECRET}}}).encode()).decode()
    docker = {"type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": data}}
    sandbox_shell.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, **docker})
    served = Served(sandbox_shell, namespace)
    served.create()
    served.add("style", "--image-pull-secret", "pull")
    yield served
    sandbox_shell.end_namespace(namespace)


Change = Callable[[str, str], str]


@pytest.fixture
def between(living: Served, tmp_path: Path) -> Iterator[Callable[[Change], str]]:
    """A kubeconfig for the sandbox by way of a server that changes what it hands on."""
    file = yaml.safe_load(Path(living.shell.kubeconfig).read_text())
    server = file["clusters"][0]["cluster"]["server"]
    changes: list[Change] = []

    def answer(method: str, path: str) -> tuple[int, str]:
        path = path.removeprefix("/s3cret-path")
        if "watch=true" in path:
            return 200, ""
        try:
            with urllib.request.urlopen(f"{server}{path}") as found:
                return found.status, changes[0](path, found.read().decode())
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    with serving(answer, tmp_path) as made:

        def changing(change: Change) -> str:
            changes[:] = [change]
            return made

        yield changing


def poisoned(value: Any, key: str = "") -> Any:
    if isinstance(value, dict):
        free = key == "annotations"
        return {name: poisoned(item, "message" if free else name) for name, item in value.items()}
    if isinstance(value, list):
        return [poisoned(item, key) for item in value]
    steers = key in ("status", "type", "reason", "phase") and value in ("True", "False", "Ready", "Running")
    return f"{value}{POISON}" if isinstance(value, str) and key in FREE_TEXTS and not steers else value


def poison(path: str, body: str) -> str:
    if "/log?" in path or path.endswith("/log"):
        return f"{body}loaded{POISON}\n"
    try:
        return json.dumps(poisoned(json.loads(body)))
    except ValueError:
        return body


def arguments(what: str, living: Served, folder: Path) -> list[str]:
    manifest = folder / "manifest.yaml"
    manifest.write_text(
        living.shell.kubectl("get", "workspace", living.name, "-n", living.namespace, "-o", "yaml")
    )
    places = {"NAME": living.name, "FILE": str(folder / "record"), "MANIFEST": str(manifest)}
    where = () if what == "nodes" else ("-n", living.namespace)
    return [*(places.get(word, word) for word in READING[what]), *where]


@pytest.mark.parametrize("what", READING)
def test_nothing_from_a_cluster_steers_the_terminal(
    living: Served, between: Callable[[Change], str], tmp_path: Path, what: str
) -> None:
    where = ("--kubeconfig", between(poison))
    command = ("kaitoctl", *arguments(what, living, tmp_path), *where)
    done = living.shell.run(*command, KAITOCTL_SANDBOX="")
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode in (0, 1, 2, 4, 124), done.stderr
    assert "No such option" not in done.stderr, done.stderr
    shown = done.stdout + done.stderr
    assert [char for char in STEERING if char in shown.replace("\t", "")] == []
    lines = (done.stderr if what == "logs" else shown).splitlines()  # a log may have any line
    assert not [line for line in lines if line.startswith("error: forged")]


@pytest.mark.parametrize("what", READING)
def test_no_command_shows_a_secret(
    living: Served, between: Callable[[Change], str], tmp_path: Path, what: str
) -> None:
    """Neither what is in Secrets, nor how we are known to the server; not in a traceback, not in a record."""
    where = ("--kubeconfig", between(lambda path, body: body))
    command = ("kaitoctl", *arguments(what, living, tmp_path), *where)
    done = living.shell.run(*command, KAITOCTL_SANDBOX="", KAITOCTL_DEBUG="1")
    written = [file.read_text() for file in tmp_path.glob("record*")]
    shown = "\n".join([done.stdout, done.stderr, *written])
    encoded = base64.b64encode(SECRET.encode()).decode().rstrip("=")[:-2]
    assert not [secret for secret in (SECRET, encoded, "s3cret-token", "s3cret-path") if secret in shown]


def test_the_canaries_would_be_seen(living: Served, between: Callable[[Change], str]) -> None:
    """The poison reaches what is shown, escaped; the Secret is where kubectl finds it."""
    where = ("-n", living.namespace, "--kubeconfig", between(poison))
    shown = living.shell.kaitoctl("events", living.name, *where, KAITOCTL_SANDBOX="").stdout
    assert "\\x1b]0;owned\\x07" in shown
    held = living.shell.kubectl("get", "secret", "pull", "-n", living.namespace, "-o", "json")
    assert SECRET in base64.b64decode(json.loads(held)["data"][".dockerconfigjson"]).decode()


@pytest.mark.parametrize("status", [200, 301, 400, 401, 403, 404, 409, 422, 500, 503])
@pytest.mark.parametrize("what", ["status", "doctor", "nodes", "why"])
def test_a_server_that_quotes_our_secrets_is_not_echoed_even_while_debugging(
    offline: Shell, tmp_path: Path, status: int, what: str
) -> None:
    said = "you are s3cret-token at /s3cret-path/x, Bearer s3cret-token"
    body = {"kind": "Status", "message": said, "reason": said, "details": {"causes": [{"message": said}]}}
    with serving(always(status, body), tmp_path) as kubeconfig:
        name = ("x",) if what == "why" else ()
        done = offline.run("kaitoctl", what, *name, "--kubeconfig", kubeconfig, KAITOCTL_DEBUG="1")
    assert "s3cret" not in done.stdout + done.stderr


def test_a_traceback_cannot_steer_the_terminal(offline: Shell, tmp_path: Path) -> None:
    body = {"kind": "Status", "message": POISON, "reason": "Invalid"}
    with serving(always(422, body), tmp_path) as kubeconfig:
        done = offline.run("kaitoctl", "status", "--kubeconfig", kubeconfig, KAITOCTL_DEBUG="1")
    assert "Traceback" in done.stderr
    assert [char for char in STEERING if char in done.stderr] == []


def test_a_log_record_is_one_line_whatever_is_in_it() -> None:
    record = logging.makeLogRecord(
        {"msg": "Workspace %s", "args": (POISON,), "levelname": "INFO", "name": "x", "reason": POISON}
    )
    for formatter in (TextLines("%(levelname)s %(message)s"), JsonLines()):
        text = formatter.format(record)
        assert len(text.splitlines()) == 1
        assert [char for char in STEERING if char in text] == []


def test_the_traceback_of_a_log_record_is_made_visible() -> None:
    try:
        raise ValueError(POISON)
    except ValueError:
        record = logging.makeLogRecord({"msg": "failed", "exc_info": sys.exc_info()})
    text = TextLines("%(message)s").format(record)
    assert "Traceback" in text
    assert [char for char in STEERING if char in text] == []


def test_what_helps_stands_behind_a_line_of_the_log() -> None:
    record = logging.makeLogRecord({"msg": "falcon: refused", "levelname": "WARNING", "hint": "start it"})
    assert TextLines("%(message)s").format(record) == "falcon: refused (start it)"
    assert json.loads(JsonLines().format(record))["hint"] == "start it"
