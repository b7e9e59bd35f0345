"""`kaitoctl restart`: new pods for a Workspace, the plan first: for how long nothing serves."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from msgspec import Struct

from kaitoctl.advice import Command
from kaitoctl.commands import (
    certain_write,
    consent,
    follow,
    invocation,
    one_by_one,
    option_values,
    plan_effects,
)
from kaitoctl.commands import observe_adapters as look
from kaitoctl.commands.cluster import connected, explain_refusal, field_manager
from kaitoctl.commands.option_values import ManagedBy, Named
from kaitoctl.commands.target_release import check_manager
from kaitoctl.errors import ApiError, InputError, KaitoctlError, Unreachable
from kaitoctl.kaito import catalog_file
from kaitoctl.kube import request
from kaitoctl.kube.conditions import timestamp
from kaitoctl.kube.objects import (
    DEPLOYMENT,
    STATEFUL_SET,
    annotations_of,
    dig,
    is_being_deleted,
    key_of,
    uid_of,
)
from kaitoctl.screens import output

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kaitoctl.commands.target import Target
    from kaitoctl.kaito.catalog import Catalog
    from kaitoctl.kaito.snapshot import Snapshot
    from kaitoctl.kube.client import Client
    from kaitoctl.kube.objects import Object, ObjectKey

# The name that kubectl gives it, so that both mean the same; Source: kubectl, pkg/polymorphichelpers.
_RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"


class _RestartOptions(Struct, frozen=True):
    dry_run: str
    yes: bool
    wait: bool
    timeout_s: float | None
    catalog: Catalog
    managed: ManagedBy


def restart(
    *,
    names: Sequence[str],
    dry_run: str,
    yes: bool,
    wait: bool,
    timeout: str | None,
    catalog: str | None,
    managed: ManagedBy,
    target: Target,
) -> None:
    """Recreate the pods of Workspaces, of one after the other."""
    option_values.one_of(dry_run, ("none", "client", "server"), option="--dry-run")
    asked = option_values.parse_names(names)
    timeout_s = option_values.duration_s(timeout) if timeout else None
    check_manager(managed)
    how = _RestartOptions(dry_run, yes, wait, timeout_s, catalog_file.read(catalog), managed)
    try:
        asyncio.run(_restart(target, asked, how))
    except KeyboardInterrupt:
        command = Command("kaitoctl status", *map(str, asked), *target.in_namespace, "-w")
        hint = target.text("what was already applied stays; " + command + " follows")
        raise invocation.interrupted(hint) from None


async def _restart(target: Target, names: Sequence[Named], how: _RestartOptions) -> None:
    async with connected(target) as client:
        found = [await _one_workspace(client, name) for name in names]
        running = [(one, await _workload(client, one)) for one in found]
        await _each(client, target, running, how)


async def _each(
    client: Client, target: Target, running: Sequence[tuple[Object, Object]], how: _RestartOptions
) -> None:
    """Restart one after the other, and follow each before the next.

    Raises:
        KaitoctlError: one was not restarted, or does not come back; of several it says which are left.
    """
    left = [key_of(workspace) for workspace, _ in running]
    for workspace, workload in running:
        try:
            after = await _restart_one(client, target, workspace, workload, how)
            del left[0]
            if how.dry_run == "none" and how.wait:
                await _follow(client, target, workspace, after, how)
        except KaitoctlError as error:
            rest = left[error.may_be_done :]
            if how.dry_run == "none" and len(running) > 1 and rest:
                _explain(error, rest)
            raise


def _explain(error: KaitoctlError, rest: Sequence[ObjectKey]) -> None:
    """Say which of several have not been restarted, and what restarts them and not the others again."""
    error.message += f"; not restarted: {', '.join(f'Workspace {key}' for key in rest)}"
    again = Command("kaitoctl restart", *(key.name for key in rest), "-n", rest[0].namespace)
    one_by_one.goes_on_with(error, again)


async def _one_workspace(client: Client, asked: Named) -> Object:
    found = await look.workspace_or_set(client, asked)
    if isinstance(found, dict):
        return found
    key, replicas = found.key, [one.name for one in found.live]
    hint = Command("kaitoctl why", f"inferenceset/{key.name}", "-n", key.namespace) + " says how it is"
    if replicas:
        again = Command("kaitoctl restart", *replicas, "-n", key.namespace)
        hint = again + " restarts those of all its replicas, one replica after the other"
    words = f"{key} is an InferenceSet, and this is about one Workspace"
    raise ApiError(404, "NotFound", words, details={"name": key.name}, hint=hint)


async def _restart_one(
    client: Client, target: Target, workspace: Object, workload: Object, how: _RestartOptions
) -> Object:
    """Say what it leads to, ask, and restart it: the workload as it is then."""
    change = await plan_effects.restart_of(
        client, workspace, how.catalog, is_sandbox=target.sandbox, managed=how.managed
    )
    output.announce(f"{workload['kind']} {key_of(workload)} will be restarted")
    consent.show_costs(target, change)
    if change.deadlock:
        raise InputError(
            f"the new pod of Workspace {key_of(workspace)} would wait forever; nothing was written",
            hint="run the command above first",
        )
    if how.dry_run == "none" and change.wants_consent and not how.yes:
        consent.require_yes_or_tty(yes=False)
        await consent.confirm("Restart?")
    after = workload
    if how.dry_run != "client":
        after = await _send(client, workload, dry_run=how.dry_run == "server")
    note = option_values.dry_run_note(how.dry_run)
    output.sentence(f"{output.resource_name(workspace)} restarted{note}")
    return after


async def _workload(client: Client, workspace: Object) -> Object:
    """The Workspace's Deployment or StatefulSet.

    Raises:
        InputError: there is none that could be restarted.
    """
    key = key_of(workspace)
    if is_being_deleted(workspace):
        raise InputError(f"Workspace {key} is being deleted; nothing was written")
    if workspace.get("tuning"):
        raise InputError(
            f"Workspace {key} tunes: its Job runs once, and a restart would begin it again",
            hint="a Workspace of another name tunes once more",
        )
    workload = await look.workload_of(client, workspace)
    if workload is None:
        raise InputError(
            f"Workspace {key} runs no pods; there is nothing to restart",
            hint=Command("kaitoctl why", key.name, "-n", key.namespace),
        )
    return workload


async def _send(client: Client, workload: Object, *, dry_run: bool) -> Object:
    kind = DEPLOYMENT if workload["kind"] == DEPLOYMENT.kind else STATEFUL_SET
    key = key_of(workload)
    now = timestamp(datetime.now(UTC))
    patch = {
        "metadata": {"uid": uid_of(workload)},
        "spec": {"template": {"metadata": {"annotations": {_RESTARTED_AT: now}}}},
    }
    asked = request.merge_patch(kind, *key, patch, manager=field_manager(), dry_run=dry_run)
    try:
        if dry_run:
            return await client.send(asked)
        return await certain_write.sent(
            client, asked, kind, key, is_done=lambda one: _stamp(one) == now, word="restarted"
        )
    except (Unreachable, ApiError) as error:
        if error.may_be_done:  # whoever failed: the server, or what stands before it
            look = Command("kaitoctl status", key.name, "-n", key.namespace)
            once_more = "; the same command again would restart it once more"
            error.hint = "once the server answers: " + look + (" shows it" + once_more)
        if error.may_be_done or isinstance(error, Unreachable):
            raise
        rights = f"you need patch on {kind.plural}.apps in this namespace"
        raise explain_refusal(error, namespace=key.namespace, rights=rights) from error


def _stamp(workload: Object | None) -> str:
    """When it was restarted; empty of none."""
    return annotations_of(dig(workload, "spec", "template")).get(_RESTARTED_AT, "")


async def _follow(
    client: Client, target: Target, workspace: Object, workload: Object, how: _RestartOptions
) -> None:
    stamp = _stamp(workload)

    def is_new(pod: Object) -> bool:
        return annotations_of(pod).get(_RESTARTED_AT) == stamp

    def has_arrived(seen: Snapshot) -> bool:
        pods = [pod for pod in seen.pods if not is_being_deleted(pod)]
        return "pods" in seen.unseen or (bool(pods) and all(map(is_new, pods)))

    def is_from_before(seen: Snapshot) -> bool:
        return not all(map(is_new, seen.pods))

    await follow.rollout(
        client,
        target,
        key_of(workspace),
        timeout_s=how.timeout_s or follow.following_s(how.catalog, workspace),
        catalog=how.catalog,
        has_arrived=has_arrived,
        is_from_before=is_from_before,
        managed=how.managed,
    )
