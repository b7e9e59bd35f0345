"""`kaitoctl edit`: a Workspace or an InferenceSet in an editor."""

from __future__ import annotations

import typer

from kaitoctl.cli import options

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
@options.grouped
def edit(
    name: options.ServedName,
    yes: options.Yes = False,
    wait: options.Wait = True,
    timeout: options.FollowTimeout = None,
    catalog: options.CatalogFile = None,
    prices: options.PricesFile = None,
    managed: options.ManagedBy = options.MANAGED_BY,
    target: options.Cluster = options.CLUSTER,
) -> None:
    """Edit a Workspace or set with $KUBE_EDITOR, $VISUAL or $EDITOR, and follow it.

    What you save is judged before it is sent; what is wrong with it stands at its top when the editor opens
    again. Then it shows what changes, restarts and costs, and asks.

    \b
    Examples:
      EDITOR=nano kaitoctl edit falcon
    """
    from kaitoctl.commands import edit

    edit.edit(
        name=name,
        yes=yes,
        wait=wait,
        timeout=timeout,
        managed=managed,
        catalog=catalog,
        prices=prices,
        target=target,
    )
