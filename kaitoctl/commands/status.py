"""`kaitoctl status`: the status of Workspaces: a list, or one as a tree, live if asked for."""

from __future__ import annotations

import asyncio

from msgspec.structs import replace

from kaitoctl.advice import Command
from kaitoctl.commands import option_values
from kaitoctl.commands.option_values import NOT_SAID, ManagedBy, Named, Which, parse_name
from kaitoctl.commands.target import Target
from kaitoctl.errors import InputError, Interrupted
from kaitoctl.screens import output

_OUTPUTS = ("table", "wide", "json", "yaml", "name")


def status(
    *,
    which: Which,
    watch: bool,
    timeout: str | None,
    record: str | None,
    output_format: str,
    target: Target,
    managed: ManagedBy = NOT_SAID,
    is_get: bool = False,
) -> int:
    """Show the status of all Workspaces and sets as a list, or of one with everything that it owns.

    Args:
        which: what to list; a single name shows its tree.
        watch: whether to follow changes.
        timeout: how long to follow, such as `10m`.
        record: file that keeps what is shown.
        output_format: `table`, `json`, `yaml` or `name`.
        target: the cluster.
        managed: who manages the one Workspace, as far as the user says it.
        is_get: whether JSON and YAML are of the objects themselves, as kubectl's `get` has it.

    Returns:
        The exit code: 1 when the Workspace has failed or serves nobody any more.
    """
    asked = [parse_name(name) for name in dict.fromkeys(which.names)]
    which = replace(which, names=tuple(one.name for one in asked))
    name = asked[0] if len(asked) == 1 else None
    _require_sense(which, watch, timeout, record, output_format)
    if managed.is_said:
        _check_manager(managed, is_one=name is not None)
    timeout_s = option_values.duration_s(timeout) if timeout else None
    if is_get and option_values.is_structured(output_format):
        return _print_objects(target, which, asked, output_format, watch=watch)
    if watch:
        output.end_unread()
    try:
        if name is None:
            from kaitoctl.commands import status_list  # a list needs neither diagnosis nor tree

            if watch:
                asyncio.run(status_list.follow_list(target, which, timeout_s, output_format))
            else:
                asyncio.run(status_list.show_list(target, which, output_format))
            return 0
        if not watch:
            from kaitoctl.commands import status_workspace

            return asyncio.run(status_workspace.show(target, name, output_format, managed))
        from kaitoctl.commands import status_watch

        asyncio.run(status_watch.follow_named(target, name, timeout_s, record, output_format, managed))
    except KeyboardInterrupt:
        status = Command("kaitoctl status", str(name or ""), *target.in_namespace, "-w")
        again = target.text("nothing was undone; follow it again: " + status)
        raise Interrupted("interrupted", hint=again if name and watch else "") from None
    return 0


def _print_objects(
    target: Target, which: Which, asked: list[Named], output_format: str, *, watch: bool
) -> int:
    """Print what is stored, as kubectl does.

    Raises:
        InputError: it is to be followed.
    """
    if watch:
        streams = Command("kaitoctl status", *which.names, *target.in_namespace, "-w", "-o", "json")
        raise InputError("get prints objects once", hint=target.text(streams + " streams their status"))
    from kaitoctl.commands import stored_objects

    asyncio.run(stored_objects.show(target, which, asked, output_format))
    return 0


def _check_manager(managed: ManagedBy, *, is_one: bool) -> None:
    """Refuse what is no release or provisioner, and either where nothing is judged by it.

    Raises:
        InputError: it is so.
    """
    from kaitoctl.commands.target_release import check_manager  # most name neither

    check_manager(managed)
    if not is_one:
        raise InputError("--target-version and --node-provisioner judge one Workspace: name it")


def _require_sense(
    which: Which,
    watch: bool,
    timeout: str | None,
    record: str | None,
    output_format: str,
) -> None:
    """Refuse options that do not go together.

    Raises:
        InputError: they do not.
    """
    option_values.output_format(output_format, _OUTPUTS)
    name = which.names[0] if len(which.names) == 1 else None
    if which.names and (which.everywhere or which.labels):
        raise InputError("-A and -l list Workspaces; leave the names out")
    if name is None and record:
        raise InputError(
            "--record records the rollout of one Workspace",
            hint=Command("kaitoctl status NAME -w --record FILE"),
        )
    if (record or timeout) and not watch:
        raise InputError("--record and --timeout require -w")
    if watch and output_format == "yaml":
        raise InputError("-w streams JSON, one object a line, and no YAML", hint="-o json")
