"""kubeconfig, in-cluster account or sandbox -> a Client. Below this file nobody can tell which it was."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kaitoctl.cli import complete, options, output
from kaitoctl.errors import InputError

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


@dataclass(frozen=True, slots=True)
class Target:
    """Which cluster a command speaks to."""

    namespace: str | None = None
    context: str | None = None
    kubeconfig: str | None = None
    sandbox: bool = False
    sandbox_name: str = "default"


@asynccontextmanager
async def connected(
    target: Target, observer: Observer | None = None, *, runs_long: bool = False
) -> AsyncIterator[Client]:
    """A client for the target, its exchanges told to the observer; a sandbox that is not up is started."""
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
    from kaitoctl.kube import client, trimmed

    async with client.connect(
        kubeconfig=kubeconfig,
        context=target.context,
        namespace=target.namespace,
        observer=observer,
        decode=trimmed.whole() if runs_long else json.loads,
    ) as connection:
        yield connection
