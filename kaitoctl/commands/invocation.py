"""What the command line says for every command: whom it asks, as whom, and how much it says.

As in kubectl these are settings of the whole process: options of every command (`cli.global_options`), and no
field of any: `cluster.connected` and `target.Target` read them here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from kaitoctl.advice import Variable
from kaitoctl.errors import Interrupted
from kaitoctl.screens import output

if TYPE_CHECKING:
    from kaitoctl.advice import Advice
    from kaitoctl.kube.overrides import Overrides

T = TypeVar("T")

REQUESTS = 6
"""The level of -v from which on each request is said."""
TRACEBACKS = 8

_given: dict[str, Any] = {}
_WRITTEN = "has_written"

CLUSTER_KEYS = {
    "server": "server",
    "tls_server_name": "tls-server-name",
    "certificate_authority": "certificate-authority",
    "insecure_skip_tls_verify": "insecure-skip-tls-verify",
}
"""By option: the key of the kubeconfig's cluster that it counts instead of."""
USER_KEYS = {
    "token": "token",
    "client_certificate": "client-certificate",
    "client_key": "client-key",
    "as_user": "as",
    "as_uid": "as-uid",
    "as_group": "as-groups",
}
"""By option: the key of the kubeconfig's user."""
_FLAGS = {"as_user": "--as", "cluster_name": "--cluster", "user_name": "--user"}


def begin() -> None:
    """Forget what an earlier command line of this process said."""
    _given.clear()
    output.said.is_quiet = output.said.is_traced = False
    output.said.is_headed = True


def answer_of(asking: Coroutine[Any, Any, T]) -> T:
    """What a coroutine returns, run to its end in an event loop of its own.

    `asyncio.run` of a coroutine that returns a lot is slow: looking for its handler of Ctrl-C, Python 3.11
    describes in words what has been returned, ten thousand nodes among it, and throws the words away.
    """
    import asyncio  # a command line that asks no cluster needs none

    answers: list[T] = []

    async def ask() -> None:
        answers.append(await asking)

    asyncio.run(ask())
    return answers[0]


def note_write() -> None:
    """Remember that the cluster may have been changed."""
    _given[_WRITTEN] = True


def interrupted(stays: Advice) -> Interrupted:
    """How a command that writes ends on Ctrl-C.

    Args:
        stays: what to say where it may have changed the cluster already.
    """
    if not _given.get(_WRITTEN):
        return Interrupted("interrupted; nothing was written")
    return Interrupted("interrupted", hint=stays)


def keep(name: str, value: Any) -> None:
    """Remember the value of an option."""
    _given[name] = value
    output.said.is_quiet = bool(_given.get("quiet"))
    output.said.is_headed = not _given.get("no_headers")
    output.said.is_traced = verbosity() >= TRACEBACKS


def verbosity() -> int:
    """The level of -v; 0 without."""
    return int(_given.get("verbosity") or 0)


def sort_for_output(items: Sequence[T], plain: Callable[[T], Any]) -> list[T]:
    """The items in the order that --sort-by asks for, by their JSON; as they are without.

    Raises:
        InputError: its expression is no JSONPath.
    """
    expression = _given.get("sort_by")
    if not expression:
        return list(items)
    from kaitoctl.screens import output_templates

    return [items[at] for at in output_templates.order(expression, [plain(item) for item in items])]


def field_manager() -> str:
    """What --field-manager says; empty without."""
    return str(_given.get("field_manager") or "")


def field_manager_words() -> tuple[str, ...]:
    """The options by which a command that is advised writes as the same manager."""
    return ("--field-manager", field_manager()) if field_manager() else ()


def overrides() -> Overrides:
    """What counts instead of the kubeconfig."""
    from kaitoctl.kube.overrides import Overrides

    user: dict[str, Any] = {key: _given[name] for name, key in USER_KEYS.items() if name in _given}
    return Overrides(
        cluster_name=_given.get("cluster_name", ""),
        user_name=_given.get("user_name", ""),
        cluster={key: _given[name] for name, key in CLUSTER_KEYS.items() if name in _given},
        user=user,
    )


def server_options() -> list[str]:
    """The options of the command line that say which server, or who we are there."""
    names = _given.keys() & {*CLUSTER_KEYS, "cluster_name", "user_name", "token", "client_certificate"}
    spelt = {"cluster_name": "cluster", "user_name": "user"}
    return sorted(f"--{spelt.get(name, name).replace('_', '-')}" for name in names)


def words() -> tuple[str, ...]:
    """The options by which a command that is advised reaches the same server as the same person.

    A token is never printed: its place is kept by a variable.
    """
    return tuple(word for name, value in _given.items() for word in _words(name, value))


def _words(name: str, value: Any) -> Iterator[str]:
    if name not in (*CLUSTER_KEYS, *USER_KEYS, *_FLAGS):
        return
    flag = _FLAGS.get(name) or f"--{name.replace('_', '-')}"
    if name == "token":
        yield from (flag, Variable("TOKEN"))
    elif value is True:
        yield flag
    else:
        for one in value if isinstance(value, list | tuple) else [value]:
            yield from (flag, str(one))


def config_path() -> str:
    """Where the user's own defaults are, or would be."""
    if named := os.environ.get("KAITOCTL_CONFIG"):
        return named
    base = os.environ.get("XDG_CONFIG_HOME") or os.path.join(os.path.expanduser("~"), ".config")  # noqa: PTH111, PTH118 - at every start: pathlib takes longer
    return os.path.join(base, "kaitoctl", "config.yaml")  # noqa: PTH118
