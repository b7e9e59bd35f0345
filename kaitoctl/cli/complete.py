"""Live names for shell completion: Workspaces, nodes, namespaces, presets, instance types.

A shell waits for the answer with the user's next key: it comes within 300 ms, or not at all. What a cluster
does not say in time is left out, without a word; a sandbox that is not up is not started for it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kaitoctl.kube.objects import Kind

_BUDGET_S = 0.3
_MOST = 200
_LOADED = time.monotonic()


def of(*values: str) -> Callable[[str], list[str]]:
    """Completes by fixed values."""

    def completed(incomplete: str) -> list[str]:
        return [value for value in values if value.startswith(incomplete)]

    return completed


def workspaces(ctx: Any, incomplete: str) -> list[str]:
    """The Workspaces of the namespace that the command line means."""
    return _live(ctx, incomplete, _workspace_kind())


def nodes(ctx: Any, incomplete: str) -> list[str]:
    """The cluster's nodes."""
    from kaitoctl.kube.objects import NODE

    return _live(ctx, incomplete, NODE)


def namespaces(ctx: Any, incomplete: str) -> list[str]:
    """The cluster's namespaces."""
    from kaitoctl.kube.objects import NAMESPACE

    return _live(ctx, incomplete, NAMESPACE)


def presets(incomplete: str) -> list[str]:
    """The presets of the catalog, and the models of today's KAITO, by their short names and their ids."""
    from kaitoctl.kaito import catalog

    models = catalog.models().values()
    names = [*catalog.SHIPPED.presets, *(name for model in models for name in (model.preset_name, model.id))]
    return _beginning(names, incomplete)


def instance_types(incomplete: str) -> list[str]:
    """The instance types of the catalog."""
    from kaitoctl.kaito import catalog

    return _beginning(catalog.instance_types(), incomplete)


def codes(incomplete: str) -> list[str]:
    """The codes that `explain` knows."""
    from kaitoctl.kaito.adapter_files.codes import CODES as ADAPTER_CODES
    from kaitoctl.kaito.diagnosis.codes import CODES as CAUSES
    from kaitoctl.kaito.fleet.codes import CODES as FLEET_CODES
    from kaitoctl.kaito.node_check.codes import CODES as NODE_CODES
    from kaitoctl.kaito.validation.codes import CODES

    return _beginning([*CODES, *FLEET_CODES, *NODE_CODES, *ADAPTER_CODES, *CAUSES], incomplete)


def _beginning(names: Iterable[str], incomplete: str) -> list[str]:
    return sorted({name for name in names if name.startswith(incomplete)})[:_MOST]


def _workspace_kind() -> Kind:
    from kaitoctl.kaito import api

    return api.WORKSPACE  # served by every KAITO


def _live(ctx: Any, incomplete: str, kind: Kind) -> list[str]:
    """Names of a kind, of the cluster that the options so far mean; none when that takes too long."""
    left_s = _BUDGET_S - _age_s()
    if left_s <= 0:
        return []
    _give_up_after(left_s)
    import asyncio
    import contextlib
    import io

    try:
        # Warnings, and whatever a credential plugin has to say, would stand in the user's command line.
        with contextlib.redirect_stderr(io.StringIO()):
            return _beginning(asyncio.run(_names_of(ctx.params, kind)), incomplete)
    except Exception:
        return []
    finally:
        _give_up_after(0)


def _age_s() -> float:
    """Seconds since the process was started, or nearly so where the system does not tell."""
    try:
        with open("/proc/self/stat", encoding="ascii") as file:  # noqa: PTH123 - pathlib takes longer
            ticks = int(file.read().rpartition(")")[2].split()[19])
        return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, AttributeError, IndexError):
        return time.monotonic() - _LOADED + 0.1


def _give_up_after(seconds: float) -> None:
    """End the process without a word when time is up, whatever it waits for: even a name server."""
    import signal

    if hasattr(signal, "setitimer"):
        signal.signal(signal.SIGALRM, lambda *_: os._exit(0))
        signal.setitimer(signal.ITIMER_REAL, seconds)


async def _names_of(params: dict[str, Any], kind: Kind) -> list[str]:
    from kaitoctl.commands.cluster import connected
    from kaitoctl.commands.target import Target

    in_sandbox = bool(params.get("sandbox")) or bool(os.environ.get("KAITOCTL_SANDBOX"))
    name = str(params.get("sandbox_name") or os.environ.get("KAITOCTL_SANDBOX_NAME") or "default")
    if in_sandbox:
        from kaitoctl.commands import sandbox_process

        if not sandbox_process.is_up(sandbox_process.folder(name)):
            return []
    target = Target(
        params.get("namespace"),
        params.get("context"),
        params.get("kubeconfig"),
        sandbox=in_sandbox,
        sandbox_name=name,
    )
    async with connected(target) as client:
        namespace = client.namespace if kind.namespaced and not params.get("everywhere") else ""
        return [str(item["metadata"]["name"]) for item in (await client.list(kind, namespace)).items]
