"""`kaitoctl remove-adapter`: serve without one of the adapters."""

from __future__ import annotations

from typing import Annotated

import typer

from kaitoctl.cli import adapter_change as change_
from kaitoctl.cli import catalog_options, complete
from kaitoctl.cli.catalog_options import CatalogFile
from kaitoctl.cli.connect import Context, Kubeconfig, Namespace, Sandbox, SandboxName, Target

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def remove_adapter(
    name: Annotated[str, typer.Option("--name", help="The adapter's name.", metavar="NAME")],
    workspace: Annotated[
        str | None,
        typer.Argument(help="The Workspace's name; -f may do without.", autocompletion=complete.workspaces),
    ] = None,
    filename: change_.Filename = None,
    dry_run: change_.DryRun = "none",
    output_format: change_.OutputFormat = None,
    yes: change_.Yes = False,
    wait: change_.Wait = True,
    timeout: change_.Timeout = None,
    rollback_on_failure: change_.RollbackOnFailure = False,
    force_conflicts: change_.ForceConflicts = False,
    target_version: change_.TargetVersion = None,
    catalog: CatalogFile = None,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    sandbox: Sandbox = False,
    sandbox_name: SandboxName = "default",
) -> None:
    """Remove a LoRA adapter from a Workspace, and follow until the model serves without it.

    Shows first what changes and how long nothing serves. Example: kaitoctl remove-adapter
    workspace-falcon-7b --name style
    """
    catalog_options.use(catalog)
    from kaitoctl.kaito import adapters

    settings = change_.how(
        dry_run=dry_run,
        output_format=output_format,
        yes=yes,
        wait=wait,
        timeout=timeout,
        force_conflicts=force_conflicts,
        rollback_on_failure=rollback_on_failure,
        target_version=target_version,
    )
    change = adapters.removing(name)
    target = Target(namespace, context, kubeconfig, sandbox, sandbox_name)
    change_.run(target, workspace, lambda *_: change, settings, filename=filename)
