"""`create workspace` where there is one of this name: look -> merge -> judge -> show -> ask -> write.

Whoever asks for a Workspace that exists wants it to be so, and not to lose what others and earlier commands
have written. What restarts pods or takes something away is shown, with the time without service, and asked.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kaitoctl.cli import consent, output
from kaitoctl.errors import ApiError, InputError

if TYPE_CHECKING:
    from kaitoctl.cli.connect import Target
    from kaitoctl.kaito.catalog import Catalog
    from kaitoctl.kaito.validation import Problem, Setting
    from kaitoctl.kube.client import Client
    from kaitoctl.kube.objects import Kind, Object

_TRIES = 5


@dataclass(frozen=True, slots=True)
class Asked:
    """What a command asks of a Workspace that exists.

    Args:
        made: given the Workspace, the manifest that is asked for, in its API version.
        without_strength: the adapters of which nobody said how strong.
        catalog: of presets and instance types.
        dry_run: whether the server is to do everything but write.
        yes: whether not to ask.
        force: whether to take fields over from other managers.
    """

    made: Callable[[Object], Object]
    without_strength: Collection[str]
    catalog: Catalog
    dry_run: bool
    yes: bool
    force: bool


async def found(client: Client, name: str, namespace: str) -> Object | None:
    """The Workspace of this name, None when there is none.

    It comes in the API version that it was written in unless writing that would cost it fields.
    """
    from kaitoctl.cli.adapter_look import workspace_named

    try:
        return await workspace_named(client, name, namespace)
    except ApiError as error:
        if error.status == 404 and not error.is_unknown_resource:
            return None
        raise


async def change(client: Client, target: Target, live: Object, asked: Asked) -> tuple[Object, str]:
    """Bring the Workspace to what is asked; the word is `configured` or `unchanged`.

    Raises:
        InputError: a field changes that cannot, or nobody can be asked.
        NegativeAnswer: the person would rather not.
        ApiError: the server refuses.
    """
    from kaitoctl.cli import certain
    from kaitoctl.cli.create_workspace import FIELD_MANAGER, explained
    from kaitoctl.kaito import api, merging
    from kaitoctl.kube import request
    from kaitoctl.kube.objects import is_being_deleted, key_of

    key, kind = key_of(live), api.kind_of(live)
    agreed: object = None
    for tries in range(1, _TRIES + 1):
        if is_being_deleted(live):
            raise InputError(
                f"Workspace {key} is being deleted; nothing was written",
                hint=f"kubectl get workspace {key.name} -n {key.namespace} -w shows when it is gone",
            )
        goal = merging.upon(live, asked.made(live), without_strength=asked.without_strength)
        _judge(live, goal, asked.catalog, of_sandbox=target.sandbox)
        body = merging.intent(live, goal, FIELD_MANAGER)
        try:
            trial = await client.send(
                request.apply(kind, body, manager=FIELD_MANAGER, force=asked.force, dry_run=True)
            )
            difference = _difference(live, trial)
            if difference and difference != agreed:
                agreed = difference
                await _agree(client, target, live, trial, difference, asked)
            if asked.dry_run:
                return trial, "configured" if difference else "unchanged"
            writing = request.apply(kind, body, manager=FIELD_MANAGER, force=asked.force)

            def is_done(now: Object | None, trial: Object = trial) -> bool:
                return now is not None and merging.shown(now) == merging.shown(trial)

            made = await certain.applied(client, writing, kind, key, is_done=is_done, word="changed")
        except ApiError as error:
            if not _is_stale(error) or tries == _TRIES:
                raise explained(error, namespace=key.namespace) from error
            live = await _again(client, kind, live)
        else:
            return made, "configured" if difference else "unchanged"
    raise AssertionError("the last try returns or raises")


async def _again(client: Client, kind: Kind, live: Object) -> Object:
    from kaitoctl.cli.create_workspace import explained
    from kaitoctl.kaito import merging
    from kaitoctl.kube import request
    from kaitoctl.kube.objects import key_of

    try:
        now = await client.send(request.get(kind, *key_of(live)))
    except ApiError as error:
        raise explained(error) from error
    if merging.shown(now) != merging.shown(live):  # and not merely its status
        output.step("somebody else changed the Workspace meanwhile; their change is kept")
    return {"apiVersion": kind.api_version, "kind": kind.kind, **now}


def _is_stale(error: ApiError) -> bool:
    from kaitoctl.kube import refusals

    return refusals.kind_of(error) == "stale"


# --- judge -------------------------------------------------------------------------------------------------


def _judge(before: Object, after: Object, known: Catalog, *, of_sandbox: bool) -> None:
    """Refuse what cannot change, and what is wrong now and was not before; warn of the rest.

    Raises:
        InputError: with what is wrong.
    """
    from kaitoctl.kaito import validation
    from kaitoctl.kube.objects import key_of

    key = key_of(before)
    fixed = [item for item in validation.update_problems(before, after) if item.severity == "error"]
    if fixed:
        raise InputError(
            f"Workspace {key.name} cannot be changed like this; nothing was written",
            problems=[_line(problem) for problem in fixed],
            hint="create another Workspace beside it, and delete this one when that serves",
        )
    setting: Setting | None = validation.Setting(validation.OWN) if of_sandbox else None
    old = {(item.path, item.code, item.message) for item in validation.judge(before, setting, known=known)}
    new = [
        item
        for item in validation.judge(after, setting, known=known)
        if (item.path, item.code, item.message) not in old
    ]
    for problem in new:
        if problem.severity == "warning":
            output.warning(_line(problem), hint=problem.hint)
    errors = [problem for problem in new if problem.severity == "error"]
    if errors:
        lines = [_line(problem) + (f" ({problem.hint})" if problem.hint else "") for problem in errors]
        raise InputError(f"Workspace {key.name}: nothing was written", problems=lines)


def _line(problem: Problem) -> str:
    return f"{problem.path}: {problem.message}" if problem.path else problem.message


# --- show and ask ------------------------------------------------------------------------------------------


def _difference(before: Object, after: Object) -> list[str]:
    from kaitoctl.cli.adapter_words import difference
    from kaitoctl.kaito import merging

    return difference(merging.shown(before), merging.shown(after))


async def _agree(
    client: Client, target: Target, before: Object, after: Object, difference: list[str], asked: Asked
) -> None:
    """Show what changes and what that costs; ask where pods restart or something goes."""
    from kaitoctl.cli import owner_words
    from kaitoctl.kaito import merging
    from kaitoctl.kube.objects import key_of

    output.step(f"Workspace {key_of(before)} exists; this changes it, and leaves the rest as it is")
    output.differences(difference)
    owner_words.warn(target, before)
    cost = await outage(client, before, after)
    if cost:
        output.warning(cost)
    if asked.dry_run or not (cost or merging.takes_away(merging.shown(before), merging.shown(after))):
        return
    consent.insist_that_it_can_be_given(yes=asked.yes)
    if not asked.yes:
        await consent.insist("Change it?")


async def outage(client: Client, before: Object, after: Object) -> str:
    """How many pods a change restarts, and for how long nothing serves; empty when none does."""
    from kaitoctl.cli import adapter_look as look
    from kaitoctl.cli import adapter_words as words
    from kaitoctl.kaito import undo

    try:
        workload = await look.workload_of(client, before)
    except ApiError as error:
        if error.status != 403:
            raise
        return f"how many pods restart cannot be seen: {error}"
    what = undo.consequence(before, after)
    if before.get("tuning"):
        return "" if what.endswith("stays") else what
    if workload is None:
        return ""
    # Another controller may go by more of the Workspace than ours does.
    if look.is_made_by_us(workload) and what == "no pod restarts":
        return ""
    if before.get("inference") == after.get("inference") and before.get("resource") == after.get("resource"):
        return "" if what == "no pod restarts" else what
    cost = words.outage(before, workload, await look.pods_of(client, before) or [])
    return "" if cost.startswith("no pod runs") else cost
