"""`kaitoctl restart`: new pods for a Workspace."""

from __future__ import annotations

import typer

from kaitoctl.cli import options

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
@options.grouped
def restart(
    names: options.WorkspaceNames,
    dry_run: options.DryRun = "none",
    yes: options.Yes = False,
    wait: options.Wait = True,
    timeout: options.FollowTimeout = None,
    catalog: options.CatalogFile = None,
    managed: options.ManagedBy = options.MANAGED_BY,
    target: options.Cluster = options.CLUSTER,
) -> None:
    """Restart the pods of Workspaces, and follow until they serve.

    Says first for how long nothing serves, and asks. Refused where the new pod would wait forever for the
    GPUs of the old one. Several are restarted one after the other; the first that fails ends it.

    \b
    Examples:
      kaitoctl restart falcon
    """
    from kaitoctl.commands import restart

    restart.restart(
        names=names,
        dry_run=dry_run,
        yes=yes,
        wait=wait,
        timeout=timeout,
        catalog=catalog,
        managed=managed,
        target=target,
    )
