"""The user's own defaults for options: `$XDG_CONFIG_HOME/kaitoctl/config.yaml`.

What is typed counts before an environment variable, that before this file, and this before what is built in.
What asks before it acts cannot be switched off here, and secrets do not belong here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from kaitoctl.advice import Command
from kaitoctl.commands.files import text_of
from kaitoctl.commands.invocation import config_path
from kaitoctl.errors import InputError
from kaitoctl.kube.documents import load_yaml

NEVER = ("yes", "force-conflicts", "token", "filename", "help")
"""Options that each command line has to say itself."""

_TOP = ("defaults", "commands")


class Defaults(Struct, frozen=True):
    """Values by long option without its dashes.

    Args:
        everywhere: forevery command that has the option.
        commands: by command, such as `status` or `rollout history`; they count before the others.
    """

    everywhere: Mapping[str, Any]
    commands: Mapping[str, Mapping[str, Any]]

    def of(self, command: str) -> dict[str, Any]:
        """The defaults for one command."""
        return {**self.everywhere, **self.commands.get(command, {})}


def read() -> Defaults | None:
    """The defaults; None when there is no file.

    Raises:
        InputError: the file is not as it must be; path, cause and fix.
    """
    file = config_path()
    if not os.path.exists(file):  # noqa: PTH110
        if os.environ.get("KAITOCTL_CONFIG"):
            raise InputError(f"$KAITOCTL_CONFIG names {file}, which does not exist")
        return None
    documents = load_yaml(text_of(file, option="config"), file)
    content: Any = documents[0] if documents else {}
    if not isinstance(content, dict) or (unknown := [key for key in content if key not in _TOP]):
        wrong = ", ".join(map(str, unknown)) if isinstance(content, dict) else "not a map"
        raise InputError(f"{file}: {wrong}: the keys are defaults and commands", hint=_HINT)
    commands = _map(content.get("commands"), file, "commands")
    return Defaults(
        _options(content.get("defaults"), file, "defaults"),
        {name: _options(values, file, f"commands.{name}") for name, values in commands.items()},
    )


_HINT = Command("kaitoctl config view -h") + " shows how the file looks"


def _map(value: Any, file: str, where: str) -> dict[str, Any]:
    if not isinstance(value or {}, dict):
        raise InputError(f"{file}: {where} must be a map", hint=_HINT)
    return dict(value or {})


def _options(value: Any, file: str, where: str) -> dict[str, Any]:
    found = _map(value, file, where)
    for name, given in found.items():
        called = "yes" if name == "true" else name  # as YAML reads it
        if called in NEVER:
            raise InputError(f"{file}: {where}.{called}: it must be typed each time", hint="remove the line")
        many = given if isinstance(given, list) else [given]
        if not all(isinstance(one, str | int | float | bool) for one in many):
            raise InputError(f"{file}: {where}.{called}: must be a text, a number, true or false")
    return found
