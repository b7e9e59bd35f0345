"""`create workspace` where there is one of this name: look -> merge -> judge -> show -> ask -> write.

Whoever asks for a Workspace that exists wants it to be so, and not to lose what others and earlier commands
have written. What restarts pods or takes something away is shown, with the time without service, and asked.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from msgspec import Struct

from kaitoctl.advice import Command
from kaitoctl.commands import certain_write, consent, ownership_warnings, plan_effects
from kaitoctl.commands.adapter_messages import difference
from kaitoctl.commands.cluster import explain_refusal, field_manager
from kaitoctl.commands.option_values import NOT_SAID, ManagedBy
from kaitoctl.errors import ApiError, InputError
from kaitoctl.kaito import api, merge_request, undo, validation
from kaitoctl.kaito.validation import Setting
from kaitoctl.kube import refusal_hints, request
from kaitoctl.kube.objects import apply_merge_patch, is_being_deleted, key_of, uid_of, with_type
from kaitoctl.screens import output

if TYPE_CHECKING:
    from kaitoctl.commands.target import Target
    from kaitoctl.kaito.prices import Prices
    from kaitoctl.kube.client import Client
    from kaitoctl.kube.objects import Kind, Object

_TRIES = 5


class ChangeRequest(Struct, frozen=True):
    """What a command asks of a Workspace that exists.

    Args:
        made: given the Workspace, the manifest that is asked for, in its API version.
        without_strength: the adapters of which nobody said how strong.
        setting: where it lives.
        dry_run: whether the server is to do everything but write.
        yes: whether not to ask.
        force: whether to take fields over from other managers.
        replace: whether what is not asked for is taken away.
        prices: of nodes.
        managed: who manages Workspaces, as far as the user says it.
    """

    made: Callable[[Object], Object]
    without_strength: Collection[str]
    setting: Setting
    dry_run: bool
    yes: bool
    force: bool
    replace: bool
    prices: Prices
    managed: ManagedBy = NOT_SAID


async def change(client: Client, target: Target, live: Object, asked: ChangeRequest) -> tuple[Object, str]:
    """Bring the Workspace to what is asked; the word is `configured` or `unchanged`.

    Raises:
        InputError: a field changes that cannot, or nobody can be asked.
        NegativeAnswer: the answer is no.
        ApiError: the server refuses.
    """
    key, kind = key_of(live), api.kind_of(live)
    agreed: object = None
    for tries in range(1, _TRIES + 1):
        if is_being_deleted(live):
            raise InputError(
                f"Workspace {key} is being deleted; nothing was written",
                hint=Command("kubectl get workspace", key.name, "-n", key.namespace, "-w")
                + " shows when it is gone",
            )
        made = asked.made(live)
        goal = (
            merge_request.instead_of(live, made)
            if asked.replace
            else merge_request.upon(live, made, without_strength=asked.without_strength)
        )
        _judge(live, goal, asked.setting)
        body = merge_request.intent(live, goal, field_manager())
        try:
            trial = await client.send(
                request.apply(kind, body, manager=field_manager(), force=asked.force, dry_run=True)
            )
            rest = _rest(trial, goal) if asked.replace else {}
            trial = apply_merge_patch(trial, rest)
            difference = _difference(live, trial)
            if difference and difference != agreed:
                agreed = difference
                await _agree(client, target, live, trial, difference, asked)
            if asked.dry_run:
                return trial, "configured" if difference else "unchanged"
            writing = request.apply(kind, body, manager=field_manager(), force=asked.force)

            def is_done(now: Object | None, trial: Object = trial, rest: Object = rest) -> bool:
                return now is not None and merge_request.asked_of(
                    apply_merge_patch(now, rest)
                ) == merge_request.asked_of(trial)

            made = await certain_write.sent(client, writing, kind, key, is_done=is_done, word="changed")
            if rest:
                patch = {**rest, "metadata": {**(rest.get("metadata") or {}), "uid": uid_of(live)}}
                made = await client.send(request.merge_patch(kind, *key, patch, manager=field_manager()))
        except ApiError as error:
            if not refusal_hints.is_stale(error) or tries == _TRIES:
                raise explain_refusal(error, namespace=key.namespace) from error
            live = await _again(client, kind, live)
        else:
            return made, "configured" if difference else "unchanged"
    raise AssertionError("the last try returns or raises")


async def _again(client: Client, kind: Kind, live: Object) -> Object:
    try:
        now = await client.send(request.get(kind, *key_of(live)))
    except ApiError as error:
        raise explain_refusal(error) from error
    if merge_request.asked_of(now) != merge_request.asked_of(live):  # and not merely its status
        output.step("somebody else changed the Workspace meanwhile; their change is kept")
    return with_type(kind, now)


# --- judge -------------------------------------------------------------------------------------------------


def _judge(before: Object, after: Object, setting: Setting) -> None:
    """Refuse what cannot change, and what is wrong now and was not before; warn of the rest.

    Raises:
        InputError: with what is wrong.
    """
    key = key_of(before)
    problems = validation.update_problems(before, after, validation.Setting(catalog=setting.catalog))
    fixed = [item for item in problems if item.severity == "error"]
    if fixed:
        raise InputError(
            f"Workspace {key.name} cannot be changed like this; nothing was written",
            problems=[problem.text for problem in fixed],
            hint="create another Workspace beside it, and delete this one when that serves",
        )
    old = {(item.path, item.code, item.message) for item in validation.judge(before, setting)}
    new = [
        item for item in validation.judge(after, setting) if (item.path, item.code, item.message) not in old
    ]
    for problem in new:
        if problem.severity == "warning":
            output.warning(problem.text, hint=problem.hint)
    errors = [problem for problem in new if problem.severity == "error"]
    if errors:
        lines = [problem.line for problem in errors]
        raise InputError(f"Workspace {key.name}: nothing was written", problems=lines)


def _rest(trial: Object, goal: Object) -> Object:
    """The patch that takes away what an apply leaves: what kaitoctl wrote in another way than by applying.

    Raises:
        InputError: something of it is another manager's; with the fields and their owners.
    """
    rest = undo.remainder(trial, goal)
    fields = undo.owned_by_others(trial, rest, field_manager())
    if fields:
        raise InputError(
            f"Workspace {key_of(goal)}: other managers own what would go; nothing was written",
            problems=fields,
            hint="remove it where it is kept, or leave --replace out",
        )
    return rest


# --- show and ask ------------------------------------------------------------------------------------------


def _difference(before: Object, after: Object) -> list[str]:
    return difference(merge_request.asked_of(before), merge_request.asked_of(after))


async def _agree(
    client: Client, target: Target, before: Object, after: Object, difference: list[str], asked: ChangeRequest
) -> None:
    """Show what changes and what that costs; ask where pods restart or something goes."""
    rest = "removes what no option names" if asked.replace else "leaves the rest as it is"
    output.announce(f"Workspace {key_of(before)} exists; this changes it, and {rest}")
    output.differences(difference)
    ownership_warnings.warn(target, before)
    change = await plan_effects.change_of(
        client, before, after, asked.setting.catalog, is_sandbox=target.sandbox, managed=asked.managed
    )
    consent.show_costs(target, change, asked.prices)
    if asked.dry_run or not change.wants_consent:
        return
    consent.require_yes_or_tty(yes=asked.yes)
    if not asked.yes:
        await consent.confirm("Continue?")
