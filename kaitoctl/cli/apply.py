"""`kaitoctl apply`: the plan first, then all of it or nothing, and every rollout."""

from __future__ import annotations

from typing import Annotated

import typer

from kaitoctl.cli import options

app = typer.Typer(rich_markup_mode=None, add_completion=False)

_Prune = Annotated[
    bool,
    typer.Option(
        "--prune", help="Delete what -l selects, kaitoctl has applied, and no manifest has any more."
    ),
]
_Selector = Annotated[
    str,
    typer.Option("--selector", "-l", help="With --prune: only objects with these labels.", metavar="LABELS"),
]


@app.command()
@options.grouped
def apply(
    given: options.ManifestsToSend = options.TO_SEND,
    plan: Annotated[
        str | None,
        typer.Option("--plan", help="Apply exactly the plan that plan --out saved.", metavar="FILE"),
    ] = None,
    prune: _Prune = False,
    selector: _Selector = "",
    dry_run: options.DryRun = "none",
    yes: options.Yes = False,
    force_conflicts: Annotated[
        bool, typer.Option("--force-conflicts", help="Take over fields that another manager owns.")
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Follow the rollouts until all are ready.")
    ] = True,
    timeout: Annotated[
        str | None,
        typer.Option("--timeout", help="How long to follow (default: each preset's budget and 10m)."),
    ] = None,
    catalog: options.CatalogFile = None,
    prices: options.PricesFile = None,
    managed: options.ManagedBy = options.MANAGED_BY,
    target: options.Cluster = options.CLUSTER,
) -> None:
    """Create or change the Workspaces and ConfigMaps of manifests, and follow all rollouts.

    All is judged first, offline and by the server: when one document is refused, nothing is written. Asks
    where pods restart, something is taken away, or nodes are bought.

    \b
    Examples:
      kaitoctl apply -f models/ --yes
    """
    from kaitoctl.commands import apply

    raise typer.Exit(
        apply.apply(
            given=given,
            plan=plan,
            dry_run=dry_run,
            yes=yes,
            force_conflicts=force_conflicts,
            wait=wait,
            timeout=timeout,
            managed=managed,
            catalog=catalog,
            prices=prices,
            prune=prune,
            selector=selector,
            target=target,
        )
    )
