"""`kaitoctl why`: the one thing that keeps a Workspace from being ready, with evidence and what mends it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from kaitoctl.cli import catalog_options, complete, options, output
from kaitoctl.cli.catalog_options import CatalogFile
from kaitoctl.cli.connect import Context, Kubeconfig, Namespace, Sandbox, SandboxName, Target, connected

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kaitoctl.cli.node_table import Screen
    from kaitoctl.kaito.diagnosis import Cause, Diagnosis
    from kaitoctl.kaito.snapshot import Snapshot
    from kaitoctl.kube.objects import Object, ObjectKey

app = typer.Typer(rich_markup_mode=None, add_completion=False)

_OUTPUTS = ("text", "json", "yaml", "short")
_LONGEST_EVIDENCE = 240
_MARKS = {"fault": "✗", "wait": "!", "note": "-"}


@app.command()
def why(
    name: Annotated[
        str, typer.Argument(help="The Workspace.", metavar="WORKSPACE", autocompletion=complete.workspaces)
    ],
    output_format: Annotated[
        str, typer.Option("--output", "-o", help="text, short, json or yaml.", metavar="FORMAT")
    ] = "text",
    catalog: CatalogFile = None,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    sandbox: Sandbox = False,
    sandbox_name: SandboxName = "default",
) -> None:
    """Say why a Workspace is not ready: one root cause, its evidence, and what mends it.

    Exit code 0: ready, or on its way with nothing in sight that would stop it; 1: something does.

    Example: kaitoctl why workspace-falcon-7b
    """
    import asyncio

    catalog_options.use(catalog)
    options.one_of(output_format, _OUTPUTS, option="--output")
    target = Target(namespace, context, kubeconfig, sandbox, sandbox_name)
    raise typer.Exit(asyncio.run(_why(target, options.workspace_name(name), output_format)))


async def _why(target: Target, name: str, output_format: str) -> int:
    from datetime import UTC, datetime

    from kaitoctl.cli import look
    from kaitoctl.cli.catalog_options import structured
    from kaitoctl.cli.node_table import Screen
    from kaitoctl.kaito import nodes as nodes_
    from kaitoctl.kaito.diagnosis import diagnose
    from kaitoctl.kube.objects import ObjectKey

    async with connected(target) as client:
        key = ObjectKey(client.namespace, name)
        rules = nodes_.OWN_RULES if target.sandbox else None
        seen = await look.deeply(client, await look.once(client, key), rules=rules)
    found = diagnose(seen, datetime.now(UTC), addressed=target.addressed)
    if output_format in ("json", "yaml"):
        structured(as_json(found, key, seen), output_format)
    elif output_format == "short":
        output.data(short(found))
    else:
        output.data("\n".join(report(found, key, seen, Screen.of_stdout())))
    return 0 if found.cause is None else 1


def as_json(found: Diagnosis, key: ObjectKey, seen: Snapshot) -> Object:
    """The diagnosis as documented in docs/status.md."""
    from kaitoctl.kaito.view import cause_json

    first = found.cause
    return {
        "workspace": str(key),
        "ready": found.is_ready,
        "phase": found.progress.words,
        "detail": found.progress.detail,
        "cause": None if first is None else cause_json(first),
        "others": [cause_json(cause) for cause in found.causes if cause is not first],
        "unseen": dict(seen.unseen),
    }


def short(found: Diagnosis) -> str:
    """One line."""
    from kaitoctl.cli.output import visible

    if found.cause is None:
        return visible(f"{found.progress.words}: {found.progress.detail}".rstrip(": "))
    cause = found.cause
    command = f" -> {cause.command}" if cause.command else ""
    return visible(f"{cause.code}: {cause.about}: {cause.message}{command}")


def report(found: Diagnosis, key: ObjectKey, seen: Snapshot, screen: Screen) -> list[str]:
    """The verdict, the root cause with its evidence, the other findings, and what could not be looked at."""
    from kaitoctl.cli.node_table import wrapped
    from kaitoctl.cli.output import visible

    where = f"{found.progress.words}: {found.progress.detail}".rstrip(": ")
    if found.is_ready:
        mark, head = "✔", f"Workspace {key} is {where}"
    elif found.cause is None:
        mark, head = "-", f"Workspace {key} is on its way ({where}); nothing is in sight that would stop it"
    else:
        mark, head = _MARKS[found.cause.weight], f"Workspace {key} is not ready: {found.progress.words}"
    first, *more = wrapped(visible(head), screen, "", hang="  " if screen.symbols else "")
    lines = [screen.marked(mark, first), *more]
    if found.cause is not None:
        lines += ["", *_told(found.cause, screen)]
    others = [cause for cause in found.causes if cause is not found.cause]
    if others:
        lines += ["", "Also found:"]
        for cause in others:
            lines += _briefly(cause, screen)
    if seen.unseen:
        lines += ["", "Could not look at:"]
        for what, reason in seen.unseen.items():
            lines += wrapped(visible(f"{what}: {reason}"), screen, "  ")
    return lines


def _told(cause: Cause, screen: Screen) -> Iterable[str]:
    from kaitoctl.cli.node_table import wrapped
    from kaitoctl.cli.output import visible

    yield visible(f"{cause.about}  [{cause.code}]")
    yield from wrapped(visible(_sentence(cause.message)), screen, "  ")
    if cause.evidence:
        yield ""
        for source, text in cause.evidence:
            first, *more = wrapped(visible(f"{source}: {_cut(text)}"), screen, "  ", hang="  ")
            yield from (first, *more)
    yield ""
    if cause.hint:
        yield from wrapped(visible(_sentence(cause.hint)), screen, "  ")
    if cause.command:
        yield f"    {visible(cause.command)}"
    yield f"  More: kaitoctl explain {cause.code}"


def _briefly(cause: Cause, screen: Screen) -> Iterable[str]:
    from kaitoctl.cli.node_table import wrapped
    from kaitoctl.cli.output import visible

    yield from wrapped(visible(f"{cause.about}: {cause.message} [{cause.code}]"), screen, "  ")
    if cause.command:
        yield f"    {visible(cause.command)}"


def _cut(text: str) -> str:
    """Container runtimes say things three times over; `-o json` has all of it."""
    return (
        text
        if len(text) <= _LONGEST_EVIDENCE
        else f"{text[: _LONGEST_EVIDENCE // 2]} … {text[-_LONGEST_EVIDENCE // 2 :]}"
    )


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")
