"""kaitoctl and kubectl as a user runs them: as processes, against a sandbox or a real API server."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asking
import forked

from kaitoctl.commands.sandbox_server import shapes
from kaitoctl.kube.objects import NAMESPACE, NODE
from kaitoctl.sandbox import nodes

BIN = Path(sys.executable).parent
READY_SINCE = "2026-01-01T00:00:00Z"
_AT_MOST_S = 120
_known: set[tuple[str, str]] = set()


def _is_known(command: tuple[str, ...], *, on_terminal: bool = False) -> bool:
    """Whether this file of tests has run this command of kaitoctl as a process of its own.

    On terminals any command: what they need beyond the command's own is the same for all.
    """
    if command[0] not in ("kaitoctl", str(BIN / "kaitoctl")):
        return False
    what = os.environ.get("PYTEST_CURRENT_TEST", "").partition("::")[0], " ".join(command[1:2])
    if on_terminal:
        what = (what[0], "on a terminal")
    if what in _known:
        return True
    _known.add(what)
    return False


@dataclass(frozen=True)
class Shell:
    """Runs programs with a home of their own; nothing of the developer's machine is seen or touched.

    Args:
        home: their home and working directory.
        sandbox: the name of the sandbox that `--sandbox` means.
        cluster: what in the environment makes a cluster the default: KAITOCTL_SANDBOX or KUBECONFIG.
    """

    home: Path
    sandbox: str = "none"
    cluster: Mapping[str, str] = field(default_factory=dict)

    @property
    def env(self) -> dict[str, str]:
        return {
            **self.cluster,
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(self.home),
            "KAITOCTL_STATE_DIR": str(self.home / "state"),
            "KAITOCTL_SANDBOX_NAME": self.sandbox,
            "PYTHONWARNINGS": "error",
        }

    def run(self, *command: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run a program to its end; kaitoctl is a copy when this file ran the command before."""
        env = {**self.env, **env}
        if _is_known(command) and forked.can_be(env):
            return forked.run(command, env, self.home, _AT_MOST_S)
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            env=env,
            cwd=self.home,
            timeout=_AT_MOST_S,
        )

    def start(
        self,
        *arguments: str,
        stdout: int,
        stderr: int,
        stdin: int = subprocess.DEVNULL,
        before: str = "",
        env: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[bytes] | forked.Copy:
        """Start kaitoctl with these file descriptors; a copy where `run` takes one, or with `before`."""
        command, variables = (str(BIN / "kaitoctl"), *arguments), {**self.env, **(env or {})}
        is_known = before or _is_known(command, on_terminal=os.isatty(stdout))
        if is_known and forked.can_be(variables):
            return forked.start(
                command, variables, self.home, stdout=stdout, stderr=stderr, stdin=stdin, before=before
            )
        return subprocess.Popen(
            command, cwd=self.home, env=variables, stdin=stdin, stdout=stdout, stderr=stderr
        )

    def seen(self, *arguments: str, columns: int, lines: int = 50, **env: str) -> tuple[int, str]:
        """The exit code of kaitoctl and all that it writes to a terminal of this size."""
        ours, theirs = pty.openpty()
        variables = {"COLUMNS": str(columns), "LINES": str(lines), "TERM": "xterm", **env}
        process = self.start(*arguments, stdout=theirs, stderr=theirs, env=variables)
        os.close(theirs)
        said = b""
        with suppress(OSError):  # how Linux says that the other end of a terminal has gone
            while chunk := os.read(ours, 65536):
                said += chunk
        os.close(ours)
        return process.wait(_AT_MOST_S), said.decode()

    def kaitoctl(self, *arguments: str, code: int = 0, **env: str) -> subprocess.CompletedProcess[str]:
        """Run kaitoctl and insist on its exit code."""
        done = self.run(str(BIN / "kaitoctl"), *arguments, **env)
        assert done.returncode == code, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr, done.stderr
        return done

    @property
    def kubeconfig(self) -> str:
        """The file that leads to the cluster."""
        return self.cluster.get("KUBECONFIG") or str(
            self.home / "state/sandbox" / self.sandbox / "kubeconfig"
        )

    def kubectl(self, *arguments: str, code: int = 0) -> str:
        """Run the real kubectl on the cluster and return what it prints."""
        done = self.run(str(BIN / "kubectl"), "--kubeconfig", self.kubeconfig, *arguments)
        assert done.returncode == code, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    @property
    def _server(self) -> asking.Server:
        return asking.Server(self.kubeconfig)

    def apply(self, obj: Any) -> None:
        """Apply an object as kubectl does."""
        try:
            self._server.apply(obj)
        except asking.NotInThisTable:
            file = self.home / "object.json"
            file.write_text(json.dumps(obj))
            self.kubectl("apply", "--server-side", "--validate=false", "-f", str(file))

    def get(self, *arguments: str) -> Any:
        """An object (or List) as kubectl sees it."""
        with suppress(asking.NotInThisTable):
            return self._server.get(arguments)
        return json.loads(self.kubectl("get", *arguments, "-o", "json"))

    def names(self, *arguments: str) -> list[str]:
        """What `kubectl get -o name` prints."""
        with suppress(asking.NotInThisTable):
            return self._server.names(arguments)
        return self.kubectl("get", *arguments, "-o", "name").split()

    def patch(self, patch: Any, *object_: str) -> None:
        """Patch an object as `kubectl patch --type=merge` does; the patch may be JSON."""
        self._server.patch(json.loads(patch) if isinstance(patch, str) else patch, object_)

    def delete_node(self, *names: str) -> None:
        """Delete nodes, and return when they are gone, as kubectl does."""
        for name in names:
            self._server.delete(NODE, name)
        deadline = time.monotonic() + 60
        while {f"node/{name}" for name in names} & set(self.names("nodes")):
            assert time.monotonic() < deadline, f"{names} do not go"
            time.sleep(0.05)

    def add_node(self, name: str, instance_type: str, **labels: str) -> None:
        """Register a node that is Ready, as its kubelet would; its GPUs are in allocatable."""
        made = nodes.node(
            name, shapes()[instance_type], instance_type=instance_type, labels=labels, ready_since=READY_SINCE
        )
        self._server.create(made)
        # A new node is tainted until the cluster's controllers have taken it in.
        deadline = time.monotonic() + 30
        while self.get("node", name)["spec"].get("taints"):
            assert time.monotonic() < deadline, f"node {name} stays tainted"
            time.sleep(0.05)

    def end_namespace(self, name: str) -> None:
        """Delete a namespace with all that is in it, without waiting for it."""
        self._server.delete(NAMESPACE, name)

    def break_node(self, name: str, how: nodes.Damage) -> None:
        """Break a node as `kaitoctl sandbox node break` does, through the API."""
        broken = nodes.broken(self.get("node", name), how)
        del broken["metadata"]["resourceVersion"]  # whatever others have written meanwhile
        self._server.replace(broken)
