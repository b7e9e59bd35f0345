"""kubeconfig, in-cluster account or sandbox -> a Client. Below this file nobody can tell which it was."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from kaitoctl import packaged
from kaitoctl.advice import Command
from kaitoctl.commands import invocation, option_values
from kaitoctl.commands.target import Target
from kaitoctl.errors import ApiError, InputError, KaitoctlError
from kaitoctl.kaito import api, catalog
from kaitoctl.kube import client, refusal_hints
from kaitoctl.kube.client import Client
from kaitoctl.kube.objects import Kind, Object, ObjectKey
from kaitoctl.kube.request import Request, apply, get
from kaitoctl.screens import output

if TYPE_CHECKING:
    from kaitoctl.advice import Advice
    from kaitoctl.kube.client import Exchange, Observer


_AT_A_TIME = 8


@asynccontextmanager
async def connected(
    target: Target, observer: Observer | None = None, *, runs_long: bool = False
) -> AsyncIterator[Client]:
    """A client for the target, its exchanges reported to the observer; a sandbox that is not up is started.

    Raises:
        KaitoctlError: whatever the block raises; the commands of its hint lead to the same cluster.
    """
    output.log_to_narration()
    if target.namespace:
        option_values.namespace_name(target.namespace)
    request_timeout_s = (
        None if target.request_timeout is None else option_values.request_timeout_s(target.request_timeout)
    )
    kubeconfig = Path(target.kubeconfig) if target.kubeconfig else None
    if kubeconfig is not None and not os.path.isfile(kubeconfig):  # noqa: ASYNC240, PTH113 - one stat
        if os.path.isdir(kubeconfig):  # noqa: ASYNC240, PTH112
            raise InputError(f"--kubeconfig {kubeconfig}: that is a folder, not a file")
        raise InputError(f"--kubeconfig {kubeconfig}: there is no such file")
    if target.sandbox:
        others = [name for name in ("kubeconfig", "context") if getattr(target, name)]
        if others := [*(f"--{name}" for name in others), *invocation.server_options()]:
            hint = "give one of them; $KAITOCTL_SANDBOX says --sandbox, too"
            raise InputError(f"--sandbox excludes {' and '.join(others)}", hint=hint)
        from kaitoctl.commands import sandbox_process

        kubeconfig = await sandbox_process.ensure_up(target.sandbox_name)
    host = "the API server"
    try:
        async with client.connect(
            kubeconfig=kubeconfig,
            context=target.context,
            given=invocation.overrides(),
            namespace=target.namespace,
            observer=_observer(observer),
            patient=not runs_long,
            says_waits=True,
            request_timeout_s=request_timeout_s,
        ) as connection:
            host = connection.host
            _say_whom(connection)
            try:
                yield connection
            finally:
                if connection.has_written:
                    invocation.note_write()
    except KaitoctlError as error:
        error.flags = target.flags
        if isinstance(error, ApiError) and error.status == 401:
            error.message = f"{host} does not accept the credentials (401): {error.message}"
        raise


# Rights that somebody who looks at Workspaces need not have: without them the picture has fewer details.
REFUSED = (401, 403)
FIELD_MANAGER = "kaitoctl"


async def served_versions(client: Client) -> list[str]:
    """The Workspace versions that the cluster serves, oldest first; none when it will not say."""
    try:
        return api.served_versions(await client.send(Request("GET", f"/apis/{api.GROUP}")))
    except ApiError as error:
        if error.status == 403:
            return []
        raise (missing_crd() if error.status == 404 else explain_refusal(error)) from error


async def present(client: Client, asking: Request) -> Object | None:
    """The answer, None when there is no such object."""
    try:
        return await client.send(asking)
    except ApiError as error:
        if error.status == 404 and not error.is_unknown_resource:
            return None
        raise


def rights_to_apply(kind: Kind) -> str:
    """What somebody needs who applies such an object."""
    resource = f"{kind.plural}.{kind.group}" if kind.group else kind.plural
    return f"you need get, create and patch on {resource} in this namespace"


def explain_refusal(
    error: ApiError,
    *,
    namespace: str = "",
    rights: str = "you need get, create and patch on workspaces.kaito.sh in this namespace",
) -> ApiError:
    """The same refusal, with what the user can do about it.

    Args:
        error: the refusal.
        namespace: where it was.
        rights: all that the command takes, said instead of the first one that was missing.
    """
    if error.is_unknown_resource:
        return missing_crd()
    if refusal_hints.refusal_kind(error) == "rights":
        error.hint = rights
    elif not error.hint:
        error.hint = refusal_hints.hint_of(error, namespace)
    return error


def missing_crd() -> ApiError:
    """The error of a cluster that does not know Workspaces, with the way to teach it."""
    schema = packaged.folder("schemas") / "kaito.sh_workspaces.yaml"
    return ApiError(
        404,
        "NotFound",
        "the CRD workspaces.kaito.sh is not installed in this cluster",
        hint=Command("kubectl apply --server-side -f", str(schema)),
    )


def field_manager() -> str:
    """The manager of the fields that this command writes: `FIELD_MANAGER`, unless the user names another."""
    return invocation.field_manager() or FIELD_MANAGER


OF_ROLES = "MultiRoleInference"
"""The reason of a 404 for a name that stands for two sets: waiting until a Workspace has it is of no use."""


_OF_KUBERNETES = (
    *("pod", "pods", "po", "service", "services", "svc", "deployment", "deployments", "deploy"),
    *("statefulset", "statefulsets", "sts", "job", "jobs", "secret", "secrets", "configmap", "configmaps"),
    *("cm", "persistentvolumeclaim", "persistentvolumeclaims", "pvc", "all"),
)
"""What follows `get` in kubectl, and is no Workspace here."""
_LISTED_HERE = {"node": "nodes", "nodes": "nodes", "no": "nodes", "event": "events", "events": "events"}


async def over_own_fields(send: Callable[[bool], Awaitable[Object]], *, force: bool) -> Object:
    """The answer to an apply, which takes over what kaitoctl's own patches have written, and only that.

    Args:
        send: sends it; told whether with force.
        force: whether it takes everybody's fields over.

    Raises:
        ApiError: others own fields, or anything else is refused.
    """
    try:
        return await send(force)
    except ApiError as error:
        if force or not refusal_hints.is_own_conflict(error, field_manager()):
            raise
    return await send(True)


async def tried(client: Client, kind: Kind, body: Object, *, force: bool) -> Object:
    """What a server would make of an apply, which takes over what kaitoctl's own patches have written.

    Raises:
        ApiError: as `over_own_fields`.
    """

    def send(force: bool) -> Awaitable[Object]:
        return client.send(apply(kind, body, manager=field_manager(), force=force, dry_run=True))

    return await over_own_fields(send, force=force)


async def no_such(client: Client, kind: Kind, key: ObjectKey) -> ApiError:
    """The error for a name that no Workspace has, with the nearest one that exists."""
    try:
        there = [str(item["metadata"]["name"]) for item in (await client.list(kind, key.namespace)).items]
    except ApiError as error:
        if error.is_unknown_resource:  # the group may be there for other kinds
            return missing_crd()
        there = []
    near = catalog.close_matches(key.name, there)
    lists = Command("kaitoctl status -n", key.namespace)
    hint: Advice = f"did you mean {near[0]}?" if near else lists + " lists them"
    if key.name in _LISTED_HERE:
        hint = "here stands a Workspace's name; " + Command("kaitoctl", _LISTED_HERE[key.name]) + " has those"
    elif key.name in _OF_KUBERNETES:
        lists = Command("kubectl get", key.name, "-n", key.namespace)
        hint = "here stands a Workspace's name; " + lists + " has those"
    return ApiError(404, "NotFound", f"Workspace {key} not found", details={"name": key.name}, hint=hint)


async def workspace_by_name(
    client: Client, key: ObjectKey, kinds: Iterable[Kind] = (api.WORKSPACE_V1BETA1, api.WORKSPACE)
) -> tuple[Kind, Object]:
    """A Workspace, in the first of these versions that is served.

    Raises:
        ApiError: there is none; the hint names one of a similar name.
    """
    for kind in kinds:
        try:
            return kind, await client.send(get(kind, *key))
        except ApiError as error:
            if error.is_unknown_resource:
                continue
            if error.status == 404:
                raise await no_such(client, kind, key) from error
            raise
    raise missing_crd()


async def workspace_kind(client: Client) -> Kind:
    """Workspaces in the newest version that the cluster serves and that we know.

    Raises:
        ApiError: it serves none.
    """
    try:
        answer = await client.send(Request("GET", f"/apis/{api.GROUP}"))
    except ApiError as error:
        if error.status == 404:
            raise missing_crd() from error
        if error.status not in REFUSED:
            raise
        return api.WORKSPACE  # it will not say; asking for Workspaces will tell
    return newest_kind(answer)


def newest_kind(answer: Object) -> Kind:
    """Workspaces in the newest version that we know of those in an API server's answer to `/apis/kaito.sh`.

    Raises:
        ApiError: there is none.
    """
    if (kind := api.newest(api.served_versions(answer))) is not None:
        return kind
    names = ", ".join(str(item.get("version")) for item in answer.get("versions") or ())
    raise ApiError(
        404,
        "NotFound",
        f"this cluster serves {api.GROUP} in version {names or 'none'}; kaitoctl supports "
        f"{' and '.join(api.VERSIONS)}",
        hint=Command("kaitoctl explain crd-version"),
    )


async def together(askings: Iterable[Callable[..., Any]]) -> list[Any]:
    """The answers of some requests, a few at a time."""
    free = asyncio.Semaphore(_AT_A_TIME)

    async def ask(asking: Callable[..., Any]) -> Any:
        async with free:
            return await asking()

    return await asyncio.gather(*(ask(asking) for asking in askings))


# --- what -v says: never a body or a header ----------------------------------------------------------------

_SERVER = 2


def _say_whom(client: Client) -> None:
    """The server and the namespace, with -v 2."""
    if invocation.verbosity() >= _SERVER:
        output.trace(f"server {client.host}, namespace {client.namespace}")


def _observer(observer: Observer | None) -> Observer | None:
    """The observer, with -v 6 one that says each exchange, too."""
    if invocation.verbosity() < invocation.REQUESTS:
        return observer

    def say(exchange: Exchange) -> None:
        query = f"?{urlencode(exchange.query)}" if exchange.query else ""
        status = "no answer" if exchange.status is None else str(exchange.status)
        output.trace(f"{exchange.method} {exchange.path}{query} {status} in {exchange.took_s * 1000:.0f} ms")
        if observer is not None:
            observer(exchange)

    return say
