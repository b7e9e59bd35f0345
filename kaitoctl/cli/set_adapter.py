"""`kaitoctl set-adapter`: another strength, image or pull secret for an adapter that is there."""

from __future__ import annotations

from typing import Annotated

import typer

from kaitoctl.cli import adapter_change as change_
from kaitoctl.cli import catalog_options, complete
from kaitoctl.cli.catalog_options import CatalogFile
from kaitoctl.cli.connect import Context, Kubeconfig, Namespace, Sandbox, SandboxName, Target
from kaitoctl.errors import InputError

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def set_adapter(
    name: Annotated[str, typer.Option("--name", help="The adapter's name.", metavar="NAME")],
    workspace: Annotated[
        str | None,
        typer.Argument(help="The Workspace's name; -f may do without.", autocompletion=complete.workspaces),
    ] = None,
    strength: Annotated[str | None, typer.Option("--strength", help="From 0 to 1.", metavar="S")] = None,
    image: Annotated[
        str | None,
        typer.Option("--image", help="The image that has its files in /data.", metavar="IMAGE"),
    ] = None,
    image_pull_secret: Annotated[
        list[str] | None,
        typer.Option(
            "--image-pull-secret",
            help="To pull the image with, in the place of those before; may be repeated.",
            metavar="NAME",
        ),
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
    """Change the strength, image or pull secrets of an adapter, and follow until the model serves with it.

    Shows first what changes and how long nothing serves. Example: kaitoctl set-adapter workspace-falcon-7b
    --name style --strength 0.2
    """
    catalog_options.use(catalog)
    from kaitoctl.kaito import adapters

    if strength is None and image is None and image_pull_secret is None:
        raise InputError(
            "what is to change? Give --strength, --image or --image-pull-secret",
            hint="such as --strength 0.2",
        )
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
    change = adapters.setting(name, image=image, strength=strength, pull_secrets=image_pull_secret)
    target = Target(namespace, context, kubeconfig, sandbox, sandbox_name)
    change_.run(target, workspace, lambda *_: change, settings, filename=filename)
