"""`kaitoctl events`: what was told about a Workspace and all that belongs to it, in order."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from kaitoctl.cli import complete, options, output
from kaitoctl.cli.connect import Context, Kubeconfig, Namespace, Sandbox, SandboxName, Target, connected
from kaitoctl.errors import Interrupted

if TYPE_CHECKING:
    from kaitoctl.kaito.snapshot import Snapshot
    from kaitoctl.kube.objects import Object

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def events(
    name: Annotated[
        str, typer.Argument(help="The Workspace.", metavar="WORKSPACE", autocompletion=complete.workspaces)
    ],
    warnings: Annotated[bool, typer.Option("--warnings", help="Only what is wrong.")] = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on as more is told.")] = False,
    output_format: Annotated[
        str, typer.Option("--output", "-o", help="table or json (with -w one object a line).")
    ] = "table",
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    sandbox: Sandbox = False,
    sandbox_name: SandboxName = "default",
) -> None:
    """Print the events of a Workspace, its workload, pods, NodeClaims and nodes, the oldest first.

    Example: kaitoctl events workspace-falcon-7b --warnings
    """
    import asyncio

    options.one_of(output_format, ("table", "json"), option="--output")
    target = Target(namespace, context, kubeconfig, sandbox, sandbox_name)
    try:
        asyncio.run(_events(target, options.workspace_name(name), warnings, watch, output_format))
    except KeyboardInterrupt:
        raise Interrupted("interrupted") from None


async def _events(target: Target, name: str, warnings: bool, watch: bool, output_format: str) -> None:
    from kaitoctl.cli import look
    from kaitoctl.kube.objects import ObjectKey

    async with connected(target) as client:
        key = ObjectKey(client.namespace, name)
        if not watch:
            seen = await look.deeply(client, await look.once(client, key))
            if "events" in seen.unseen:
                output.warning(f"events cannot be listed: {seen.unseen['events']}")
            _print(_chosen(seen, warnings), output_format)
            return
        output.end_unread()
        told: set[tuple[str, ...]] = set()
        async with look.looking(client, key) as picture:
            if picture.snapshot().workspace is None:
                raise await look.no_such(client, picture.kind, key)
            while True:
                picture.changed.clear()
                for event in _chosen(picture.snapshot(), warnings):
                    row = _row(event)
                    if row not in told:
                        told.add(row)
                        _tell(event, row, output_format)
                await picture.changed.wait()


def _chosen(seen: Snapshot, warnings: bool) -> list[Object]:
    from kaitoctl.kaito.snapshot import event_time

    found = {id(event): event for event in seen.events if not warnings or event.get("type") == "Warning"}

    def order(event: Object) -> tuple[str, int]:
        """Times are whole seconds; within one, the versions tell what came first."""
        version = str(event["metadata"].get("resourceVersion") or "")
        return event_time(event), int(version) if version.isdecimal() else 0

    return sorted(found.values(), key=order)


def _row(event: Object) -> tuple[str, ...]:
    from kaitoctl.kaito.snapshot import event_time
    from kaitoctl.kube.objects import dig

    about = f"{dig(event, 'involvedObject', 'kind')} {dig(event, 'involvedObject', 'name')}"
    count = int(dig(event, "series", "count") or event.get("count") or 1)
    message = str(event.get("message") or event.get("note") or "") + (f" (x{count})" if count > 1 else "")
    return event_time(event), str(event.get("type")), str(event.get("reason")), about, message


def _json(row: tuple[str, ...]) -> Object:
    from kaitoctl.kaito.secrecy import without_secrets

    keys = ("time", "type", "reason", "object", "message")
    made: Object = without_secrets(dict(zip(keys, row, strict=True)))
    return made


def _print(found: Iterable[Object], output_format: str) -> None:
    from datetime import UTC, datetime

    from kaitoctl.cli.status_screen import age

    rows = [_row(event) for event in found]
    if output_format == "json":
        output.document({"events": [_json(row) for row in rows]})
    elif rows:
        now = datetime.now(UTC)
        headers = ("LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE")
        output.table(headers, [(age(row[0], now), *row[1:4], " ".join(row[4].split())) for row in rows])
    else:
        output.step("there are no events (any more): clusters forget them after an hour")


def _tell(event: Object, row: tuple[str, ...], output_format: str) -> None:

    if output_format == "json":
        output.document(_json(row), indent=None)
    else:
        output.data(output.visible("  ".join((*row[:4], " ".join(row[4].split())))))
