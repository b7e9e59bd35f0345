"""Commands of advice: where they are printed, which of them change something, and how they are run."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from shell import BIN

from kaitoctl.cli import app

# What stands in a command for something that only its reader knows.
PLACEHOLDERS = {
    "IMAGE:TAG": "registry.example/good:1",
    "--from-file=FILE": "--from-literal=a=b",
    "--from-file=inference_config.yaml=FILE": "--from-literal=inference_config.yaml=a",
    "--from-file=training_config.yaml=FILE": "--from-literal=training_config.yaml=a",
    "--name ADAPTER": "--name style",
    "fit PRESET": "fit falcon-7b",
}
# They look at something, or explain it; whatever they are pointed at, nothing changes.
LOOKS = re.compile(
    r"kubectl (get|describe|logs|explain|api-resources|auth can-i|cluster-info|version)\b"
    r"|kaitoctl (why|status|get|logs|events|nodes|check-nodes|doctor|explain|fit|skus|models|validate|diff"
    r"|render|list-adapters|rollout history|rollout status|endpoint|sandbox status)\b"
)
_CHANGES_ADAPTERS = re.compile(r"kaitoctl (\S+ )*?(add-adapter|set-adapter|remove-adapter|rollout undo)\b")


@dataclass(frozen=True)
class Printed:
    """A command of advice.

    Args:
        by: the command that printed it.
        code: of what it is advice against, empty when it has none.
        about: what that is about.
        command: it.
    """

    by: str
    code: str
    about: str
    command: str

    @property
    def only_looks(self) -> bool:
        """Whether it is one of the commands that change nothing."""
        words = [word for word in plain(self.command).split() if not word.startswith("--kube")]
        return LOOKS.match(" ".join(words)) is not None and "--fix" not in words


def plain(command: str) -> str:
    """The command without the options that lead it to a cluster."""
    return re.sub(r" --(kubeconfig|context|sandbox-name)[ =]\S+| --sandbox\b", "", command)


def in_json(by: str, found: Any) -> Iterator[Printed]:
    """The commands in an answer of `why` or `check-nodes` for machines, at whatever depth."""
    if isinstance(found, list):
        for item in found:
            yield from in_json(by, item)
    if not isinstance(found, dict):
        return
    code, about = str(found.get("code") or ""), str(found.get("about") or found.get("name") or "")
    for text in (found.get("command"), *_in_words(str(found.get("hint") or ""))):
        if text:
            yield Printed(by, code, about, str(text))
    for key, value in found.items():
        for inner in in_json(by, value):
            yield Printed(by, inner.code, inner.about or about, inner.command) if key != "hint" else inner


def in_text(by: str, text: str) -> Iterator[Printed]:
    """The commands in what a person reads: after `hint:`, `fix:`, `look:`, `try:`, or on a line alone."""
    for line in text.splitlines():
        for command in _in_words(line):
            yield Printed(by, "", "", command)


def _in_words(text: str) -> Iterator[str]:
    """Commands in a sentence: at its beginning, or after a colon; they end with the sentence's part."""
    quoted: list[str] = []

    def hide(found: re.Match[str]) -> str:
        quoted.append(found[0])
        return f"\0{len(quoted) - 1}\0"

    hidden = re.sub(r"'[^']*'", hide, text.strip())
    for found in re.finditer(r"(?:^|: |; |or )((?:kubectl|kaitoctl) [a-z][^;]*)", hidden):
        command = re.sub(r"(,| (shows?|says|lists?|follows?|goes|brings|finds|has|makes)\b).*", "", found[1])
        yield re.sub("\0(\\d+)\0", lambda found: quoted[int(found[1])], command).strip()


@dataclass(frozen=True)
class Terminal:
    """Runs commands as a person who pastes them: kubectl as a process, kaitoctl in this one."""

    home: Path

    @property
    def env(self) -> dict[str, str]:
        return {
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(self.home),
            "KUBECONFIG": str(self.home / "kubeconfig"),
            "KUBE_EDITOR": "true",
        }

    def kaitoctl(self, *arguments: str) -> tuple[int, str, str]:
        """Exit code, stdout and stderr."""
        command = typer.main.get_command(app.app)
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), environment(self.env):
            code = app.run(lambda: command.main(list(arguments), prog_name="kaitoctl", standalone_mode=False))
        return code, out.getvalue(), err.getvalue()

    def run(self, command: str) -> tuple[int, str]:
        """Run a printed command, placeholders filled in; exit code and all that it said."""
        for placeholder, value in PLACEHOLDERS.items():
            command = command.replace(placeholder, value)
        words = shlex.split(command)
        if words[0] == "kaitoctl":
            more = ["--yes", "--no-wait"] if _CHANGES_ADAPTERS.match(command) else []
            code, out, err = self.kaitoctl(*words[1:], *more)
            return code, out + err
        assert words[0] == "kubectl", command
        done = subprocess.run(
            [str(BIN / "kubectl"), *words[1:]],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, **self.env},
            timeout=60,
        )
        return done.returncode, done.stdout + done.stderr

    def json(self, *arguments: str) -> Any:
        """What a command answers for machines; None when there is no answer."""
        _, out, _ = self.kaitoctl(*arguments, "-o", "json")
        return json.loads(out) if out.strip() else None


@contextlib.contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """The environment with other values, as long as it lasts."""
    before = dict(os.environ)
    os.environ.update(values)
    for name in ("KAITOCTL_SANDBOX", "KAITOCTL_SANDBOX_NAME"):
        os.environ.pop(name, None)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
