"""`kaitoctl rollout`: what a Workspace was before, back to it, and whether it is there."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

import typer

from kaitoctl.cli import catalog_options, complete, consent, options, output, owner_words
from kaitoctl.cli.catalog_options import CatalogFile
from kaitoctl.cli.connect import Context, Kubeconfig, Namespace, Sandbox, SandboxName, Target, connected
from kaitoctl.errors import ApiError, InputError, Interrupted, NegativeAnswer

if TYPE_CHECKING:
    from kaitoctl.kaito.snapshot import Snapshot
    from kaitoctl.kube.client import Client
    from kaitoctl.kube.objects import Kind, Object, ObjectKey
    from kaitoctl.kube.request import Request

app = typer.Typer(
    help="The history of a Workspace: see it, go back in it, follow it.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
)

_WIDTH = 100
_LONGEST_CAUSE = 32

Name = Annotated[
    str,
    typer.Argument(
        help="The Workspace's name; workspace/NAME is fine, too.", autocompletion=complete.workspaces
    ),
]
Timeout = Annotated[
    str | None,
    typer.Option("--timeout", help="How long to follow (default: the preset's budget and 10m for nodes)."),
]


@dataclass(frozen=True, slots=True)
class Known:
    """A Workspace and its revisions.

    Args:
        kind: the API version in which the revisions were recorded.
        workspace: the Workspace as it is, in that version.
        history: its revisions, whole, oldest first.
    """

    kind: Kind
    workspace: Object
    history: list[Object]


@app.callback()
def _rollout_group() -> None:
    """The history of a Workspace: see it, go back in it, follow it."""


# --- history -----------------------------------------------------------------------------------------------


@app.command()
def history(
    name: Name,
    revision: Annotated[
        int | None, typer.Option("--revision", help="Show this one whole.", metavar="N")
    ] = None,
    output_format: Annotated[
        str,
        typer.Option("--output", "-o", help="table, wide (cut nothing), json or yaml.", metavar="FORMAT"),
    ] = "table",
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    sandbox: Sandbox = False,
    sandbox_name: SandboxName = "default",
) -> None:
    """List what a Workspace asked for each time it was applied, oldest first.

    Revisions of KAITO's own controller are listed, too. Example: kaitoctl rollout history falcon
    """
    import asyncio

    options.one_of(output_format, ("table", "wide", "json", "yaml"), option="--output")
    target = Target(namespace, context, kubeconfig, sandbox, sandbox_name)
    asyncio.run(_history(target, options.workspace_name(name), revision, output_format))


async def _history(target: Target, name: str, number: int | None, output_format: str) -> None:
    from kaitoctl.kube.objects import ObjectKey

    async with connected(target) as client:
        known = await revisions_of(client, ObjectKey(client.namespace, name))
    shown = known.history
    if number is not None:
        shown = [_numbered(known, number)]
    elif not shown:
        raise _no_revisions(known)
    if output_format in ("json", "yaml"):
        output.objects([_without_managed_fields(one) for one in shown], output_format)
        return
    if number is not None:
        _show_whole(known, shown[0])
        return
    _show_table(target, known, wide=output_format == "wide")


def _show_table(target: Target, known: Known, *, wide: bool) -> None:
    from kaitoctl.kaito import revisions, undo
    from kaitoctl.kube.objects import key_of

    key = key_of(known.workspace)
    current = [one for one in known.history if revisions.has_same_data(one, known.workspace)][-1:]
    output.data(output.resource_name(known.workspace))
    output.table(
        ("REVISION", "NOW", "CHANGE-CAUSE", "ASKS FOR"),
        [
            (
                str(revisions.number_of(one)),
                "*" if one in current else "",
                _cause(one, wide=wide),
                undo.summary(one),
            )
            for one in known.history
        ],
        most=0 if wide else _WIDTH,
    )
    if not current:
        output.warning(
            "what the Workspace asks for now is none of these: it has not been applied (yet)",
            hint=target.addressed(f"kaitoctl rollout status {key.name} -n {key.namespace} says why"),
        )


def _cause(one: Object, *, wide: bool) -> str:
    from kaitoctl.kaito.revisions import CHANGE_CAUSE
    from kaitoctl.kube.objects import annotations_of

    text = annotations_of(one).get(CHANGE_CAUSE) or "<none>"
    return text if wide or len(text) <= _LONGEST_CAUSE else f"{text[: _LONGEST_CAUSE - 1]}…"


def _show_whole(known: Known, one: Object) -> None:
    from kaitoctl.kaito import revisions
    from kaitoctl.kube.documents import to_yaml

    output.data(f"{output.resource_name(known.workspace)} with revision #{revisions.number_of(one)}")
    output.data(to_yaml(one["data"]).rstrip("\n"))


# --- undo --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _How:
    """How to go back."""

    number: int | None
    dry_run: str
    output: str | None
    yes: bool
    wait: bool
    timeout_s: float | None
    force_conflicts: bool

    @property
    def suffix(self) -> str:
        return "" if self.dry_run == "none" else f" ({self.dry_run} dry run)"


@app.command()
def undo(
    name: Name,
    to_revision: Annotated[
        int | None,
        typer.Option(
            "--to-revision",
            help="Which one (default: the one before; after an edit that was refused, the last applied).",
            metavar="N",
        ),
    ] = None,
    dry_run: Annotated[
        str, typer.Option("--dry-run", help="none, client (asks the cluster, sends nothing) or server.")
    ] = "none",
    output_format: Annotated[
        str | None,
        typer.Option("--output", "-o", help="Print the Workspace as yaml, json or name.", metavar="FORMAT"),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Follow the rollout until it is ready.")
    ] = True,
    timeout: Timeout = None,
    force_conflicts: Annotated[
        bool,
        typer.Option("--force-conflicts", help="Take over, or remove, fields that another manager owns."),
    ] = False,
    catalog: CatalogFile = None,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    sandbox: Sandbox = False,
    sandbox_name: SandboxName = "default",
) -> None:
    """Bring a Workspace back to what it asked for in an earlier revision.

    Says first what changes and how many pods restart; asks on a terminal.
    Example: kaitoctl rollout undo falcon --to-revision 2
    """
    catalog_options.use(catalog)
    import asyncio

    options.one_of(dry_run, ("none", "client", "server"), option="--dry-run")
    if output_format is not None:
        options.one_of(output_format, ("yaml", "json", "name"), option="--output")
    timeout_s = options.duration_s(timeout) if timeout is not None else None
    if to_revision is not None and to_revision < 0:
        raise InputError(f"--to-revision {to_revision}: revisions are numbered from 1")
    # As for kubectl, revision 0 is the one before.
    how = _How(to_revision or None, dry_run, output_format, yes, wait, timeout_s, force_conflicts)
    target = Target(namespace, context, kubeconfig, sandbox, sandbox_name)
    plain = options.workspace_name(name)
    try:
        asyncio.run(_undo(target, plain, how))
    except KeyboardInterrupt:
        command = f"kaitoctl rollout status {plain}{target.in_namespace()}"
        hint = target.addressed(f"what was applied goes on; {command} follows it")
        raise Interrupted("interrupted", hint=hint) from None


async def _undo(target: Target, name: str, how: _How) -> None:
    from kaitoctl.kaito import revisions
    from kaitoctl.kaito import undo as undo_
    from kaitoctl.kube.objects import ObjectKey, merge_patched

    async with connected(target) as client:
        known = await revisions_of(client, ObjectKey(client.namespace, name))
        live = known.workspace
        chosen = _numbered(known, how.number) if how.number else undo_.choose(known.history, live, None)
        if chosen is None and not known.history:
            raise _no_revisions(known)
        if chosen is None:
            raise NegativeAnswer(f"{_words(known)} has no earlier revision than {_numbers(known)}")
        number = revisions.number_of(chosen)
        if revisions.has_same_data(chosen, live):
            _print(live, how, f"skipped rollback (it is at revision {number} already)")
            return
        if how.dry_run == "none":
            consent.insist_that_it_can_be_given(yes=how.yes)
        owner_words.warn(target, live)
        goal = undo_.wanted(live, chosen)
        _insist_that_it_can_change(live, goal, number)
        _tell(known, goal, number)
        if how.dry_run == "client":
            _print(goal, how, "rolled back")
            return
        # The same request first without effect: what stands in the way shows before anybody is asked.
        trial, rest = await _tried(client, known, goal, force=how.force_conflicts)
        if how.dry_run == "server":
            _print(merge_patched(trial, rest), how, "rolled back")
            return
        if not how.yes:
            await consent.insist("Go back?")
        after = await _change(client, known, goal, rest, force=how.force_conflicts)
        _print(after, how, "rolled back")
        if how.wait:
            expected = max(number, revisions.newest(known.history) + (chosen is not known.history[-1]))
            await _follow(client, target, after, how.timeout_s, numbers=(number, expected))


def _insist_that_it_can_change(live: Object, goal: Object, number: int) -> None:
    from kaitoctl.kaito import validation
    from kaitoctl.kube.objects import key_of

    found = [item for item in validation.update_problems(live, goal) if item.severity == "error"]
    if found:
        key = key_of(live)
        raise InputError(
            f"Workspace {key.name} cannot go back to revision {number}: these fields never change",
            problems=[f"{item.path}: {item.message}" for item in found],
            hint=f"kaitoctl rollout history {key.name} -n {key.namespace} --revision {number} shows it; "
            "create another Workspace from that, and delete this one when it serves",
        )


def _tell(known: Known, goal: Object, number: int) -> None:
    from kaitoctl.cli.adapter_words import difference
    from kaitoctl.kaito.revisions import CHANGE_CAUSE, data_of
    from kaitoctl.kaito.undo import consequence
    from kaitoctl.kube.objects import annotations_of, dig

    def shown(workspace: Object) -> Object:
        data, cause = data_of(workspace), annotations_of(workspace).get(CHANGE_CAUSE)
        if cause is None:
            return data
        return {
            **data,
            "metadata": {
                "annotations": {**(dig(data, "metadata", "annotations") or {}), CHANGE_CAUSE: cause}
            },
        }

    what = consequence(known.workspace, goal, known.history)
    output.step(f"{_words(known)} goes back to revision {number}: {what}")
    output.differences(difference(shown(known.workspace), shown(goal)))


async def _tried(client: Client, known: Known, goal: Object, *, force: bool) -> tuple[Object, Object]:
    """What an apply would make of the Workspace, and the patch that takes away what it leaves.

    Raises:
        ApiError: others own what would change.
    """
    from kaitoctl.kaito import undo as undo_

    after = await _applied(client, _applying(known, goal, force=force, dry_run=True))
    rest = undo_.remainder(after, goal)
    if rest and not force:
        fields = [f"{path}: owned by {', '.join(who)}" for path, who in undo_.owners(after, rest)]
        raise ApiError(
            409,
            "Conflict",
            f"{_words(known)}: others own what would go: {'; '.join(fields)}",
            hint="--force-conflicts removes it all the same; or change it as its owner does",
        )
    return after, rest


async def _change(client: Client, known: Known, goal: Object, rest: Object, *, force: bool) -> Object:
    """Take away what an apply leaves, then apply; returns the Workspace as it is then.

    In this order: an apply that came first would give the present revision the change-cause of the old one.
    """
    from kaitoctl.cli.create_workspace import FIELD_MANAGER
    from kaitoctl.kaito import undo as undo_
    from kaitoctl.kube import request
    from kaitoctl.kube.objects import key_of, uid_of

    if rest:
        live = known.workspace
        patch = {**rest, "metadata": {**(rest.get("metadata") or {}), "uid": uid_of(live)}}
        await _sent(client, request.merge_patch(known.kind, *key_of(live), patch, manager=FIELD_MANAGER))
    after = await _applied(client, _applying(known, goal, force=force, dry_run=False))
    if left := undo_.remainder(after, goal):
        fields = ", ".join(path for path, _ in undo_.owners(after, left))
        output.warning(f"not all came back: somebody else has just written {fields}")
    return after


def _applying(known: Known, goal: Object, *, force: bool, dry_run: bool) -> Request:
    from kaitoctl.cli.create_workspace import FIELD_MANAGER
    from kaitoctl.kaito.undo import manifest
    from kaitoctl.kube import request

    body = manifest(known.workspace, goal, FIELD_MANAGER)
    return request.apply(known.kind, body, manager=FIELD_MANAGER, force=force, dry_run=dry_run)


async def _applied(client: Client, applying: Request) -> Object:
    """Apply; a change-cause that somebody else wrote is a comment, and holds nobody up."""
    from kaitoctl.kaito.revisions import CHANGE_CAUSE

    try:
        return await client.send(applying)
    except ApiError as error:
        causes = error.details.get("causes")
        fields = [str(cause.get("field")) for cause in causes] if isinstance(causes, list) else []
        if error.reason == "Conflict" and fields and all(CHANGE_CAUSE in field for field in fields):
            return await _sent(client, replace(applying, query={**applying.query, "force": "true"}))
        raise _explained(error) from error


# --- status ------------------------------------------------------------------------------------------------


@app.command()
def status(
    name: Name,
    timeout: Timeout = None,
    catalog: CatalogFile = None,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    sandbox: Sandbox = False,
    sandbox_name: SandboxName = "default",
) -> None:
    """Follow the rollout of a Workspace until it is ready or has failed.

    Exit code 0: ready; 1: failed; 124: not within the time. Example: kaitoctl rollout status falcon
    """
    catalog_options.use(catalog)
    import asyncio

    timeout_s = options.duration_s(timeout) if timeout is not None else None
    target = Target(namespace, context, kubeconfig, sandbox, sandbox_name)
    try:
        asyncio.run(_status(target, options.workspace_name(name), timeout_s))
    except KeyboardInterrupt:
        raise Interrupted("interrupted") from None


async def _status(target: Target, name: str, timeout_s: float | None) -> None:
    from kaitoctl.kube.objects import ObjectKey

    async with connected(target) as client:
        _, workspace = await _workspace(client, ObjectKey(client.namespace, name))
        await _follow(client, target, workspace, timeout_s)
    output.data(f'workspace "{name}" successfully rolled out')


# --- the cluster -------------------------------------------------------------------------------------------


async def revisions_of(client: Client, key: ObjectKey) -> Known:
    """A Workspace and its revisions.

    Raises:
        ApiError: there is no such Workspace, or somebody may not look.
    """
    from kaitoctl.kaito import revisions
    from kaitoctl.kube.objects import CONTROLLER_REVISION, is_controlled_by

    selector = f"{revisions.LABEL_NAME}={key.name}"
    try:
        listed = await client.list(CONTROLLER_REVISION, key.namespace, label_selector=selector)
    except ApiError as error:
        raise _explained(error) from error
    found = [one for one in revisions.ordered(listed.items) if isinstance(one.get("data"), dict)]
    kind, workspace = await _workspace(client, key)
    return Known(kind, workspace, [one for one in found if is_controlled_by(one, workspace)])


async def _workspace(client: Client, key: ObjectKey) -> tuple[Kind, Object]:
    """The Workspace in the newest API version that is served: a write in an older one loses fields."""
    from kaitoctl.cli import look
    from kaitoctl.kaito import api
    from kaitoctl.kube import request

    for version in (api.WORKSPACE_V1BETA1, api.WORKSPACE):
        try:
            return version, await client.send(request.get(version, *key))
        except ApiError as error:
            if error.is_unknown_resource:
                continue
            if error.status == 404:
                error.hint = (await look.no_such(client, version, key)).hint
            raise _explained(error) from error
    from kaitoctl.cli.create_workspace import missing_crd

    raise missing_crd()


async def _sent(client: Client, asked: Request) -> Object:
    try:
        return await client.send(asked)
    except ApiError as error:
        raise _explained(error) from error


async def _follow(
    client: Client,
    target: Target,
    workspace: Object,
    timeout_s: float | None,
    *,
    numbers: tuple[int, int] = (0, 0),
) -> None:
    """Follow the rollout.

    Args:
        client: the door to the cluster.
        target: how it was named.
        workspace: the Workspace as it is.
        timeout_s: None for the budget of its preset.
        numbers: of the revision that is to come, as it was and as it will be; an edit of annotations alone
            shows in nothing else.
    """
    from kaitoctl.cli import follow
    from kaitoctl.kaito import revisions
    from kaitoctl.kaito.status import OWNER_GENERATION
    from kaitoctl.kube.objects import annotations_of, generation_of, key_of

    def has_arrived(seen: Snapshot) -> bool:
        ours = [item for item in seen.workloads if OWNER_GENERATION in annotations_of(item)]
        found = map(revisions.number_on, ours)
        return all(number in (0, numbers[0]) or number >= numbers[1] for number in found)

    from kaitoctl.cli.create_workspace import following_s
    from kaitoctl.kaito import catalog

    timeout_s = timeout_s or following_s(catalog.current(), workspace)
    key = key_of(workspace)
    try:
        await follow.rollout(client, target, key, timeout_s=timeout_s, has_arrived=has_arrived)
    except NegativeAnswer as error:
        if generation_of(workspace) > 1:
            error.hint += f"; kaitoctl rollout undo {key.name} -n {key.namespace} goes back"
        raise


def _explained(error: ApiError) -> ApiError:
    """The same refusal, with what the user can do about it."""
    from kaitoctl.cli.create_workspace import explained

    rights = (
        "it takes the right to get (undo: and patch) workspaces.kaito.sh, and to list "
        "controllerrevisions.apps in this namespace"
    )
    return explained(error, rights=rights)


# --- words -------------------------------------------------------------------------------------------------


def _words(known: Known) -> str:
    metadata = known.workspace["metadata"]
    return f"Workspace {metadata['namespace']}/{metadata['name']}"


def _numbers(known: Known) -> str:
    from kaitoctl.kaito import revisions

    return ", ".join(str(revisions.number_of(one)) for one in known.history)


def _numbered(known: Known, number: int) -> Object:
    from kaitoctl.kaito.undo import choose

    if not known.history:
        raise _no_revisions(known)
    found = choose(known.history, known.workspace, number)
    if found is None:
        raise InputError(f"{_words(known)} has no revision {number}", hint=f"it has {_numbers(known)}")
    return found


def _no_revisions(known: Known) -> NegativeAnswer:
    return NegativeAnswer(
        f"{_words(known)} has no revisions",
        hint="a controller records one when it first applies the Workspace; is one running?",
    )


def _print(workspace: Object, how: _How, word: str) -> None:
    name = output.resource_name(workspace)
    if how.output is None:
        output.data(f"{name} {word}{how.suffix}")
        return
    output.objects([_without_managed_fields(workspace)], how.output)
    if how.output != "name":
        output.success(f"{name} {word}{how.suffix}")


def _without_managed_fields(obj: Object) -> Object:
    metadata = {key: value for key, value in obj["metadata"].items() if key != "managedFields"}
    return {**obj, "metadata": metadata}
