"""`kaitoctl status`: how Workspaces do; one of them as a tree, live if asked for."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from kaitoctl.cli import complete, options, output
from kaitoctl.cli.connect import Context, Kubeconfig, Namespace, Sandbox, SandboxName, Target, connected
from kaitoctl.errors import InputError, Interrupted, TimedOut

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from kaitoctl.cli.look import Row
    from kaitoctl.cli.node_table import Screen
    from kaitoctl.kube.objects import ObjectKey

app = typer.Typer(rich_markup_mode=None, add_completion=False)

_OUTPUTS = ("table", "json", "yaml", "name")
_MOST_OFTEN_S = 0.2
_AGES_S = 1.0  # ages grow
_HEADERS = ("NAME", "STATE", "NODES", "GPUS", "ADAPTERS", "AGE", "WHERE IT STANDS")


@app.command()
def status(
    name: Annotated[
        str | None,
        typer.Argument(
            help="The Workspace (default: list all).",
            metavar="[WORKSPACE]",
            autocompletion=complete.workspaces,
        ),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Follow the changes.")] = False,
    everywhere: Annotated[bool, typer.Option("--all-namespaces", "-A", help="List all namespaces.")] = False,
    timeout: Annotated[
        str | None, typer.Option("--timeout", help="With -w: how long to follow.", metavar="DURATION")
    ] = None,
    record: Annotated[
        str | None,
        typer.Option("--record", help="With -w: keep every change for `kaitoctl replay`.", metavar="FILE"),
    ] = None,
    output_format: Annotated[
        str, typer.Option("--output", "-o", help="table, json, yaml or name.", metavar="FORMAT")
    ] = "table",
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    sandbox: Sandbox = False,
    sandbox_name: SandboxName = "default",
) -> None:
    """Show how Workspaces do: all of them as a list, or one with all that belongs to it.

    With -w the picture changes in place on a terminal; elsewhere each change is one line, or with -o json one
    object. That ends when the Workspace is ready or has failed; the list goes on until Ctrl-C or --timeout.
    Exit code 0: ready (without -w: on its way, too), 1: failed, or it serves nobody any more, 124: timed out.

    Example: kaitoctl status workspace-falcon-7b -w
    """
    import asyncio

    options.one_of(output_format, _OUTPUTS, option="--output")
    if name is None and record:
        raise InputError(
            "--record keeps the rollout of one Workspace", hint="kaitoctl status NAME -w --record"
        )
    if name is not None and (everywhere or output_format == "name"):
        raise InputError("-A and -o name list Workspaces; leave the name out")
    if (record or timeout) and not watch:
        raise InputError("--record and --timeout go with -w")
    if watch and output_format == "yaml":
        raise InputError("-w streams JSON, one object a line, and no YAML", hint="-o json")
    name = None if name is None else options.workspace_name(name)
    timeout_s = options.duration_s(timeout) if timeout else None
    target = Target(namespace, context, kubeconfig, sandbox, sandbox_name)
    if watch:
        output.end_unread()
    if name is None and watch:
        try:
            asyncio.run(_follow_list(target, everywhere, timeout_s, output_format))
        except KeyboardInterrupt:
            raise Interrupted("interrupted") from None
    elif name is None:
        asyncio.run(_list(target, everywhere, output_format))
    elif watch:
        try:
            asyncio.run(_follow(target, name, timeout_s, record, output_format))
        except KeyboardInterrupt:
            hint = f"the rollout goes on; kaitoctl status {name}{target.in_namespace()} -w follows it again"
            raise Interrupted("interrupted", hint=target.addressed(hint)) from None
    else:
        raise typer.Exit(asyncio.run(_show(target, name, output_format)))


async def _show(target: Target, name: str, output_format: str) -> int:
    from datetime import UTC, datetime

    from kaitoctl.cli import look, status_screen
    from kaitoctl.cli.catalog_options import structured
    from kaitoctl.cli.node_table import Screen
    from kaitoctl.kaito.view import as_json, view
    from kaitoctl.kube.objects import ObjectKey

    async with connected(target) as client:
        seen = await look.deeply(client, await look.once(client, ObjectKey(client.namespace, name)))
    now = datetime.now(UTC)
    shown = view(seen, now, addressed=target.addressed)
    if output_format in ("json", "yaml"):
        structured(as_json(shown), output_format)
    else:
        output.data("\n".join(status_screen.lines(shown, now, Screen.of_stdout())))
    return 1 if shown.outcome == "failed" or shown.down else 0


async def _follow(
    target: Target, name: str, timeout_s: float | None, record: str | None, output_format: str
) -> None:
    from kaitoctl.cli import follow
    from kaitoctl.kube.objects import ObjectKey

    tellers = [follow.Objects() if output_format == "json" else follow.on(sys.stdout)]
    if record is not None:
        tellers.append(follow.recording(record))
    async with connected(target) as client:
        key = ObjectKey(client.namespace, name)
        await follow.rollout(client, target, key, timeout_s=timeout_s, tellers=tellers)


async def _list(target: Target, everywhere: bool, output_format: str) -> None:
    from datetime import UTC, datetime

    from kaitoctl.cli import look

    async with connected(target) as client:
        where = client.namespace
        async with look.overviewing(client, "" if everywhere else where, once=True) as picture:
            found, unseen = picture.rows()
    for what, reason in unseen.items():
        output.warning(f"{what} cannot be listed, so less is shown: {reason}")
    _print(found, everywhere, output_format, datetime.now(UTC), where)


async def _follow_list(target: Target, everywhere: bool, timeout_s: float | None, output_format: str) -> None:
    """Every change of the list, until time is up."""
    import asyncio
    from datetime import UTC, datetime

    from kaitoctl.cli import look
    from kaitoctl.cli.node_table import Screen

    told: dict[ObjectKey, Row] = {}
    drawn: list[str] = []
    screen = Screen.of_stdout()
    canvas = output.Canvas(sys.stdout) if screen.symbols and output_format != "json" else None
    try:
        async with (
            connected(target) as client,
            asyncio.timeout(timeout_s),
            look.overviewing(client, "" if everywhere else client.namespace) as picture,
        ):
            while True:
                picture.changed.clear()
                rows, _ = picture.rows()
                now = datetime.now(UTC)
                if canvas is None:
                    told = _tell(rows, told, now, output_format)
                elif (lines := _lines(rows, everywhere, now, screen)) != drawn:
                    canvas.draw(lines)
                    drawn = lines
                await asyncio.sleep(_MOST_OFTEN_S if canvas else 0)
                try:
                    async with asyncio.timeout(_AGES_S if canvas else None):
                        await picture.changed.wait()
                except TimeoutError:
                    continue  # of the ages; that of the whole command ends it
    except TimeoutError:
        raise TimedOut(f"followed for {options.elapsed(timeout_s or 0)}") from None
    finally:
        if canvas is not None:
            canvas.close()


def _tell(
    rows: Sequence[Row], told: dict[ObjectKey, Row], now: datetime, output_format: str
) -> dict[ObjectKey, Row]:
    """A line, or an object, for each Workspace that has changed; returns what has been told then."""
    from kaitoctl.kube.conditions import timestamp

    stamp, known = timestamp(now), {row.key: row for row in rows}
    for key, row in known.items():
        before = told.get(key)
        if before is not None and before.as_json() == row.as_json():
            continue
        if output_format == "json":
            output.document({"time": stamp, **row.as_json()}, indent=None)
        else:
            output.data(output.visible(f"{stamp}  {key}  {row.state}  {row.where}"))
    for key in [key for key in told if key not in known]:
        if output_format == "json":
            gone = {"namespace": key.namespace, "name": key.name, "state": "gone"}
            output.document({"time": stamp, **gone}, indent=None)
        else:
            output.data(output.visible(f"{stamp}  {key}  Gone"))
    return known


def _lines(rows: Sequence[Row], everywhere: bool, now: datetime, screen: Screen) -> list[str]:
    """The list for a terminal; its last column is cut to fit."""
    from kaitoctl.cli.node_table import aligned
    from kaitoctl.cli.output import visible

    if not rows:
        return ["there is no Workspace"]
    headers = [*(("NAMESPACE",) if everywhere else ()), *_HEADERS]
    cells = [[visible(cell) for cell in row] for row in _cells(rows, everywhere, now)]
    lines = aligned([headers, *cells], [False] * len(headers))
    width = screen.width or 10_000
    return [line if len(line) <= width else f"{line[: width - 1]}…" for line in lines]


def _cells(rows: Sequence[Row], everywhere: bool, now: datetime) -> list[list[str]]:
    from kaitoctl.cli.status_screen import age

    return [
        [
            *([row.key.namespace] if everywhere else ()),
            row.key.name,
            row.state,
            row.nodes,
            row.gpus,
            str(row.adapters or "-"),
            age(row.since, now),
            row.where,
        ]
        for row in rows
    ]


def _print(rows: Sequence[Row], everywhere: bool, output_format: str, now: datetime, where: str) -> None:
    if output_format == "name":
        for row in rows:
            output.data(output.resource_name(row.workspace))
    elif output_format in ("json", "yaml"):
        value = {"workspaces": [row.as_json() for row in rows]}
        if output_format == "json":
            output.document(value)
        else:
            from kaitoctl.kube.documents import to_yaml

            output.data(to_yaml(value).rstrip("\n"))
    elif not rows:
        output.step("there is no Workspace" + ("" if everywhere else f" in namespace {where}"))
    else:
        output.table((*(("NAMESPACE",) if everywhere else ()), *_HEADERS), _cells(rows, everywhere, now))
