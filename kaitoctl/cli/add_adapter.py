"""`kaitoctl add-adapter`: one more LoRA adapter over a Workspace's model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from kaitoctl.cli import adapter_change as change_
from kaitoctl.cli import catalog_options, complete
from kaitoctl.cli.catalog_options import CatalogFile
from kaitoctl.cli.connect import Context, Kubeconfig, Namespace, Sandbox, SandboxName, Target
from kaitoctl.errors import InputError

if TYPE_CHECKING:
    from kaitoctl.kaito.adapters import Change
    from kaitoctl.kube.objects import Object

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def add_adapter(
    workspace: Annotated[
        str | None,
        typer.Argument(help="The Workspace's name; -f may do without.", autocompletion=complete.workspaces),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option("--name", help="The adapter's name (default: that of --from-tuning).", metavar="NAME"),
    ] = None,
    image: Annotated[
        str | None,
        typer.Option("--image", help="The image that has its files in /data.", metavar="IMAGE"),
    ] = None,
    volume_claim: Annotated[
        str | None,
        typer.Option(
            "--volume-claim",
            help="The PersistentVolumeClaim that has its files, instead of an image (KAITO v0.12).",
            metavar="NAME",
        ),
    ] = None,
    from_tuning: Annotated[
        str | None,
        typer.Option(
            "--from-tuning", help="The tuning Workspace that has pushed its image.", metavar="WORKSPACE"
        ),
    ] = None,
    strength: Annotated[
        str | None,
        typer.Option("--strength", help="From 0 to 1 (default: 1.0; KAITO v0.12: none).", metavar="S"),
    ] = None,
    image_pull_secret: Annotated[
        list[str] | None,
        typer.Option("--image-pull-secret", help="To pull the image with; may be repeated.", metavar="NAME"),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="In the place of the adapter of that name, if there is one.")
    ] = False,
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
    """Add a LoRA adapter to a Workspace, and follow until the model serves with it.

    Shows first what changes and how long nothing serves. Example: kaitoctl add-adapter workspace-falcon-7b
    --name style --image registry.example/style:1 --strength 0.5
    """
    catalog_options.use(catalog)
    from kaitoctl.kaito import adapters

    sources = {"--image": image, "--volume-claim": volume_claim, "--from-tuning": from_tuning}
    given = [option for option, value in sources.items() if value is not None]
    if not given:
        raise InputError(
            f"where is the adapter? Give one of {', '.join(sources)}",
            hint="such as --image registry.example/style:1",
        )
    if len(given) > 1:
        raise InputError(
            f"{' and '.join(given)} exclude each other: an adapter comes from one place",
            hint=f"give one of {', '.join(given)}",
        )
    if not (name or from_tuning):
        raise InputError("the adapter's --name is missing", hint="such as --name style")
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

    def make(found: Object, version: str, tuned: Object | None) -> Change:
        source = {"image": image} if tuned is None else adapters.from_tuning(found, tuned)
        default = "1.0" if adapters.wants_strength(version) else None
        wanted = adapters.entry(
            name or (from_tuning or "").rpartition("/")[2],
            image=source.get("image") or "",
            volume_claim=volume_claim or "",
            strength=default if strength is None else strength,
            pull_secrets=image_pull_secret or source.get("imagePullSecrets") or (),
        )
        return adapters.adding(wanted, may_replace=replace)

    target = Target(namespace, context, kubeconfig, sandbox, sandbox_name)
    change_.run(target, workspace, make, settings, filename=filename, tuning=from_tuning)
