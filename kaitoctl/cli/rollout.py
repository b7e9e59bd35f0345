"""`kaitoctl rollout`: show, undo, follow and pause rollouts of Workspaces and InferenceSets."""

from __future__ import annotations

from typing import Annotated

import typer

from kaitoctl.cli import complete, options
from kaitoctl.commands.fleet_options import FleetBudget

app = typer.Typer(
    help="Show, undo, follow and pause rollouts of Workspaces and InferenceSets.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
)


Timeout = Annotated[
    str | None,
    typer.Option(
        "--timeout",
        help="How long to follow (default: the preset's budget and 10m for nodes).",
        metavar="DURATION",
    ),
]


@app.callback()
def _rollout_group() -> None:
    """Show, undo, follow and pause rollouts of Workspaces and InferenceSets."""


@app.command()
@options.grouped
def history(
    name: options.ServedName,
    revision: Annotated[
        int | None, typer.Option("--revision", help="Show this revision in full.", metavar="N")
    ] = None,
    output_format: Annotated[
        str,
        options.formats("table", "wide", "json", "yaml", "name", text="{} (cut nothing)."),
    ] = "table",
    target: options.Cluster = options.CLUSTER,
) -> None:
    """List the revisions of a Workspace or an InferenceSet, oldest first.

    Revisions of KAITO's own controller are listed, too.

    \b
    Examples:
      kaitoctl rollout history falcon
    """
    from kaitoctl.commands import rollout

    rollout.history(name=name, revision=revision, output_format=output_format, target=target)


@app.command()
@options.grouped
def undo(
    name: options.ServedName,
    to_revision: Annotated[
        int | None,
        typer.Option(
            "--to-revision",
            help="Revision to return to (default: the previous one; after a refused edit, the last applied).",
            metavar="N",
        ),
    ] = None,
    dry_run: Annotated[
        str,
        typer.Option(
            "--dry-run",
            help="none, client (reads the cluster, writes nothing) or server.",
            metavar="MODE",
            autocompletion=complete.of("none", "client", "server"),
        ),
    ] = "none",
    output_format: Annotated[
        str | None,
        options.formats("yaml", "json", "name", text="Print the Workspace as {}."),
    ] = None,
    yes: options.Yes = False,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Follow the rollout until it is ready.")
    ] = True,
    timeout: Timeout = None,
    force_conflicts: Annotated[
        bool,
        typer.Option("--force-conflicts", help="Take over, or remove, fields that another manager owns."),
    ] = False,
    catalog: options.CatalogFile = None,
    managed: options.ManagedBy = options.MANAGED_BY,
    target: options.Cluster = options.CLUSTER,
) -> None:
    """Roll a Workspace or an InferenceSet back to an earlier revision.

    Shows first what changes and how many pods restart, and asks before it writes.

    \b
    Examples:
      kaitoctl rollout undo falcon --to-revision 2
    """
    from kaitoctl.commands import rollout

    rollout.undo(
        name=name,
        to_revision=to_revision,
        dry_run=dry_run,
        output_format=output_format,
        yes=yes,
        wait=wait,
        timeout=timeout,
        force_conflicts=force_conflicts,
        catalog=catalog,
        managed=managed,
        target=target,
    )


@app.command()
@options.grouped
def status(
    name: options.ServedName,
    timeout: Timeout = None,
    catalog: options.CatalogFile = None,
    managed: options.ManagedBy = options.MANAGED_BY,
    target: options.Cluster = options.CLUSTER,
) -> None:
    """Follow the rollout of a Workspace or an InferenceSet until it is ready or has failed.

    Exit code 0: ready; 1: failed; 124: not within the time.

    \b
    Examples:
      kaitoctl rollout status falcon
    """
    from kaitoctl.commands import rollout

    rollout.status(name=name, timeout=timeout, catalog=catalog, managed=managed, target=target)


@app.command()
@options.grouped
def pause(
    name: options.SetName,
    dry_run: options.DryRun = "none",
    target: options.Cluster = options.CLUSTER,
) -> None:
    """Pause the rollout of an InferenceSet: no further replica gets its new template.

    Replicas that are restarting come up; none is stopped or brought back.

    \b
    Examples:
      kaitoctl rollout pause phis
    """
    from kaitoctl.commands import rollout_set

    rollout_set.set_paused(
        name=name, paused=True, dry_run=dry_run, yes=False, wait=False, timeout=None, target=target
    )


@app.command()
@options.grouped
def resume(
    name: options.SetName,
    dry_run: options.DryRun = "none",
    yes: options.Yes = False,
    wait: options.Wait = True,
    timeout: Timeout = None,
    target: options.Cluster = options.CLUSTER,
) -> None:
    """Let a paused rollout of an InferenceSet go on.

    Shows first which pods restart, and asks before it writes.

    \b
    Examples:
      kaitoctl rollout resume phis
    """
    from kaitoctl.commands import rollout_set

    rollout_set.set_paused(
        name=name, paused=False, dry_run=dry_run, yes=yes, wait=wait, timeout=timeout, target=target
    )


class Budget(FleetBudget, frozen=True):
    """How many replicas change, may be away and may fail."""

    canary: Annotated[
        int | None, typer.Option("--canary", help="Change this many replicas, then stop.", metavar="N")
    ] = None
    max_unavailable: Annotated[
        int | None,
        typer.Option(
            "--max-unavailable",
            help="Replicas that may be unavailable at a time (default: the set's, else 1).",
            metavar="N",
        ),
    ] = None
    max_failures: Annotated[
        int | None,
        typer.Option(
            "--max-failures",
            help="Stop when more replicas than this fail on the new template (default: the set's, else 0).",
            metavar="N",
        ),
    ] = None
    max_surge: Annotated[
        int | None,
        typer.Option(
            "--max-surge",
            help="Replicas more than wanted meanwhile, where GPUs for them are free or may be bought.",
            metavar="N",
        ),
    ] = None
    smoke_test: Annotated[
        bool,
        typer.Option(
            "--smoke-test", help="A changed replica must answer a prompt before the next is changed."
        ),
    ] = False


_BUDGET = Budget()


@app.command("fleet")
@options.grouped
def rollout_fleet(
    name: options.SetName,
    budget: Budget = _BUDGET,
    dry_run: Annotated[
        str,
        typer.Option(
            "--dry-run",
            help="none or client (say what would change).",
            metavar="MODE",
            autocompletion=complete.of("none", "client"),
        ),
    ] = "none",
    yes: options.Yes = False,
    timeout: Annotated[
        str | None,
        typer.Option(
            "--timeout",
            help="Time limit (default: 6h, and the preset's budget and 10m without a change).",
            metavar="DURATION",
        ),
    ] = None,
    catalog: options.CatalogFile = None,
    target: options.Cluster = options.CLUSTER,
) -> None:
    """Roll an InferenceSet's template out to its replicas, within a budget.

    KAITO's controller leaves replicas that exist as they are. This changes them in place where that works,
    replaces them where it does not, and waits for each to be ready. Where kaitoctl's own controller manages
    the set, it only follows.

    Exit code 0: all replicas (or the canaries) are ready; 1: too many failed; 124: not within the time.

    \b
    Examples:
      kaitoctl rollout fleet phis --canary 1 --smoke-test
    """
    from kaitoctl.commands import rollout_fleet

    raise typer.Exit(
        rollout_fleet.rollout_fleet(
            name=name,
            budget=budget,
            dry_run=dry_run,
            yes=yes,
            timeout=timeout,
            catalog=catalog,
            target=target,
        )
    )
