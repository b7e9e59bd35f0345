"""Live names for shell completion: Workspaces, nodes, namespaces, presets, instance types.

A shell waits for the answer with the user's next key: it comes within 300 ms, or not at all. What a cluster
does not say in time is left out, without a word; a sandbox that is not up is not started for it. Names that a
cluster has said are kept for some seconds, for the next key: in a file of the user's own, for no other line.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kaitoctl.kube.objects import Kind

_BUDGET_S = 0.3
_MOST = 200
_KEPT_S = 5.0
_LOADED = time.monotonic()


def of(*values: str) -> Callable[[str], list[str]]:
    """Completes by fixed values."""

    def completed(incomplete: str) -> list[str]:
        return [value for value in values if value.startswith(incomplete)]

    return completed


def workspaces(ctx: Any, incomplete: str) -> list[str]:
    """The Workspaces of the namespace that the command line means."""
    return _live(ctx, incomplete, _workspace_kind())


def sets(ctx: Any, incomplete: str) -> list[str]:
    """The InferenceSets of the namespace that the command line means."""
    return _live(ctx, incomplete, *_set_kinds())


def served(ctx: Any, incomplete: str) -> list[str]:
    """The Workspaces and the InferenceSets of the namespace that the command line means."""
    return _live(ctx, incomplete, _workspace_kind(), *_set_kinds())


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


def templates(incomplete: str) -> list[str]:
    """The templates that ship."""
    from kaitoctl.kaito.templates import names

    return _beginning(names(), incomplete)


def codes(incomplete: str) -> list[str]:
    """The codes that `explain` knows."""
    from kaitoctl.kaito.adapter_files.codes import CODES as ADAPTER_CODES
    from kaitoctl.kaito.diagnosis.codes import CODES as CAUSES
    from kaitoctl.kaito.fleet.codes import CODES as FLEET_CODES
    from kaitoctl.kaito.installation_codes import CODES as OF_INSTALLATIONS
    from kaitoctl.kaito.node_check.codes import CODES as NODE_CODES
    from kaitoctl.kaito.validation.codes import CODES

    known = [*CODES, *FLEET_CODES, *NODE_CODES, *ADAPTER_CODES, *CAUSES, *OF_INSTALLATIONS]
    return _beginning(known, incomplete)


def _beginning(names: Iterable[str], incomplete: str) -> list[str]:
    return sorted({name for name in names if name.startswith(incomplete)})[:_MOST]


def _workspace_kind() -> Kind:
    from kaitoctl.kaito import api

    return api.WORKSPACE  # served by every KAITO


def _set_kinds() -> list[Kind]:
    """Of which a cluster serves both, one, or none."""
    from kaitoctl.kaito import api

    return [api.INFERENCE_SET, api.INFERENCE_SET_V1ALPHA1]


def _live(ctx: Any, incomplete: str, *kinds: Kind) -> list[str]:
    """Names of some kinds, of the cluster that the options so far mean; none when that takes too long."""
    asked = _asked(ctx.params, kinds)
    if asked and (kept := _kept(kinds[0], asked)) is not None:
        return _beginning(kept, incomplete)
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
            names = asyncio.run(_names_of(ctx.params, kinds))
        if asked:
            _keep(kinds[0], asked, names)
        return _beginning(names, incomplete)
    except Exception:
        return []
    finally:
        _give_up_after(0)


# --- names that are kept -----------------------------------------------------------------------------------


def _asked(params: dict[str, Any], kinds: Sequence[Kind]) -> str:
    """All by which a line means its names; empty where they are not kept.

    They are for a kubeconfig as it is now: not for a server or a user that the line names, nor for a sandbox,
    which may be gone.
    """
    from kaitoctl.commands import invocation

    if invocation.words() or params.get("sandbox") or os.environ.get("KAITOCTL_SANDBOX"):
        return ""
    named = str(params.get("kubeconfig") or os.environ.get("KUBECONFIG") or "")
    files = named.split(os.pathsep) if named else [os.path.expanduser("~/.kube/config")]  # noqa: PTH111 - pathlib takes longer
    states = []
    for file in filter(None, (*files, invocation.config_path())):
        try:
            state = os.stat(file)  # noqa: PTH116
        except OSError:
            continue
        states.append((os.path.abspath(file), state.st_mtime_ns, state.st_size, state.st_ino))  # noqa: PTH100
    given = [str(params.get(name) or "") for name in ("namespace", "context", "everywhere")]
    return repr((states, given, kinds)) if states else ""


def _file_of(kind: Kind) -> str:
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111
    return f"{base}/kaitoctl/names-{kind.resource}.json"


def _kept(kind: Kind, asked: str) -> list[str] | None:
    """The names that the same was answered with a moment ago; None when there are none."""
    import json

    try:
        with open(_file_of(kind), encoding="utf-8") as file:  # noqa: PTH123
            if not 0 <= time.time() - os.fstat(file.fileno()).st_mtime < _KEPT_S:
                return None
            known = json.load(file)
        return [str(name) for name in known["names"]] if known["asked"] == asked else None
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _keep(kind: Kind, asked: str, names: list[str]) -> None:
    """Write the names down, for nobody but the user; where that cannot be done, nothing is kept."""
    import contextlib
    import json

    file = _file_of(kind)
    new = f"{file}.{os.getpid()}"
    with contextlib.suppress(OSError):
        os.makedirs(os.path.dirname(file), mode=0o700, exist_ok=True)  # noqa: PTH103, PTH120
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
            json.dump({"asked": asked, "names": names}, out)
        os.replace(new, file)  # noqa: PTH105


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


async def _names_of(params: dict[str, Any], kinds: Sequence[Kind]) -> list[str]:
    import asyncio

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

        async def names(kind: Kind) -> list[str]:
            namespace = client.namespace if kind.namespaced and not params.get("everywhere") else ""
            return [str(item["metadata"]["name"]) for item in (await client.list(kind, namespace)).items]

        found = await asyncio.gather(*map(names, kinds), return_exceptions=True)
        if isinstance(found[0], BaseException) and len(kinds) == 1:
            raise found[0]
        return [name for one in found if not isinstance(one, BaseException) for name in one]
