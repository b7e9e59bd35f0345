"""kubeconfig, in-cluster account or sandbox -> a Client. Below this file nobody can tell which it was."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kaitoctl.cli import complete, options, output
from kaitoctl.errors import InputError, KaitoctlError

if TYPE_CHECKING:
    from kaitoctl.kube.client import Client, Observer

Namespace = Annotated[
    str | None,
    typer.Option(
        "--namespace",
        "-n",
        help="Namespace (default: the context's).",
        metavar="NAME",
        autocompletion=complete.namespaces,
    ),
]
Context = Annotated[str | None, typer.Option("--context", help="Context of the kubeconfig.", metavar="NAME")]
Kubeconfig = Annotated[
    str | None, typer.Option("--kubeconfig", help="The kubeconfig file to use.", metavar="FILE")
]
Sandbox = Annotated[
    bool,
    typer.Option(
        "--sandbox",
        help="Use the cluster simulated on this machine, starting it when needed.",
        envvar="KAITOCTL_SANDBOX",
    ),
]
SandboxName = Annotated[
    str,
    typer.Option("--sandbox-name", help="Which sandbox.", metavar="NAME", envvar="KAITOCTL_SANDBOX_NAME"),
]


_request_timeout_s: ContextVar[float | None] = ContextVar("request_timeout_s", default=None)


def with_request_timeout(command: Any) -> None:
    """Give a command that can be pointed at a cluster, and those below it, kubectl's `--request-timeout`."""
    import typer.core

    def keep(ctx: Any, param: Any, value: str | None) -> None:
        _request_timeout_s.set(None if value is None else options.request_timeout_s(value))

    for below in getattr(command, "commands", {}).values():
        with_request_timeout(below)
    names = [param.name for param in command.params]
    if "kubeconfig" in names:
        option = typer.core.TyperOption(
            param_decls=["--request-timeout"],
            help="Give up on a request after this long, 0 for never (default: 1m; 20s without an answer).",
            metavar="DURATION",
            expose_value=False,
            callback=keep,
            show_default=False,
        )
        command.params.insert(names.index("kubeconfig") + 1, option)


# The commands that ask a cluster, and not only when told to.
_OURS = (
    "add-adapter|chat|check-nodes|create workspace|diff|doctor|endpoint|events|list-adapters|logs|nodes"
    "|remove-adapter|rollout history|rollout status|rollout undo|run-controller|set-adapter|status|why"
)
_KUBECTL = (
    "annotate|apply|auth|cluster-info|cordon|create|delete|describe|drain|edit|exec|get|label|logs|patch"
    "|port-forward|replace|rollout|scale|set|taint|top|uncordon|wait"
)
_COMMAND = (
    rf"\bkaitoctl (?:{_OURS})(?![\w-])(?! --(?:sandbox|context|kubeconfig)\b)"
    rf"|\bkubectl(?= (?:{_KUBECTL})(?![\w-]))"
)


@dataclass(frozen=True, slots=True)
class Target:
    """Which cluster a command speaks to."""

    namespace: str | None = None
    context: str | None = None
    kubeconfig: str | None = None
    sandbox: bool = False
    sandbox_name: str = "default"

    def addressed(self, text: str) -> str:
        """Advice whose commands, of kaitoctl and kubectl, reach this very cluster when they are pasted.

        The options stand right after the command, whatever follows; what the environment says already is left
        out. The namespace is the advice's own matter.
        """
        given = [("--context", self.context), ("--kubeconfig", self.kubeconfig)]
        ours = kubectl = " ".join(f"{option} {shlex.quote(value)}" for option, value in given if value)
        if self.sandbox:
            from kaitoctl.cli import sandbox_process

            is_said = os.environ.get("KAITOCTL_SANDBOX", "").lower() in ("1", "true", "t", "yes", "y", "on")
            is_named = self.sandbox_name == (os.environ.get("KAITOCTL_SANDBOX_NAME") or "default")
            named = "" if is_named else f"--sandbox-name {self.sandbox_name}"
            ours = " ".join(word for word in ("" if is_said else "--sandbox", named) if word)
            kubectl = f"--kubeconfig {shlex.quote(str(sandbox_process.folder(self.sandbox_name).kubeconfig))}"

        def with_options(found: re.Match[str]) -> str:
            options = kubectl if found[0] == "kubectl" else ours
            return f"{found[0]} {options}" if options else found[0]

        return re.sub(_COMMAND, with_options, text)

    def in_namespace(self) -> str:
        """` -n NAMESPACE` for a command about the same namespace; empty for that of the context."""
        return f" -n {self.namespace}" if self.namespace else ""


@asynccontextmanager
async def connected(
    target: Target, observer: Observer | None = None, *, runs_long: bool = False
) -> AsyncIterator[Client]:
    """A client for the target, its exchanges told to the observer; a sandbox that is not up is started.

    Raises:
        KaitoctlError: whatever the block raises; the commands of its hint lead to the same cluster.
    """
    output.log_to_narration()
    if target.namespace:
        options.namespace_name(target.namespace)
    kubeconfig = Path(target.kubeconfig) if target.kubeconfig else None
    if kubeconfig is not None and not os.path.isfile(kubeconfig):  # noqa: ASYNC240, PTH113 - one stat
        if os.path.isdir(kubeconfig):  # noqa: ASYNC240, PTH112
            raise InputError(f"--kubeconfig {kubeconfig}: that is a folder, not a file")
        raise InputError(f"--kubeconfig {kubeconfig}: there is no such file")
    if target.sandbox:
        if target.kubeconfig or target.context:
            raise InputError("--sandbox and --kubeconfig/--context name two clusters; give one of them")
        from kaitoctl.cli import sandbox_process

        kubeconfig = await sandbox_process.ensure_up(target.sandbox_name)
    from kaitoctl.kube import client

    fast: Any = {}
    if runs_long:
        from kaitoctl.kube import fast_json

        fast = {"decode": fast_json.decode, "encode": fast_json.encode}
    try:
        async with client.connect(
            kubeconfig=kubeconfig,
            context=target.context,
            namespace=target.namespace,
            observer=observer,
            patient=not runs_long,
            says_waits=True,
            request_timeout_s=_request_timeout_s.get(),
            **fast,
        ) as connection:
            yield connection
    except KaitoctlError as error:
        error.hint = target.addressed(error.hint)
        raise
