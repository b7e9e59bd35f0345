"""`kaitoctl list-adapters`: what the Workspace says, what its pods have, what the model server has loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from kaitoctl.cli import adapter_look as look
from kaitoctl.cli import adapter_words as words
from kaitoctl.cli import catalog_options, complete, options, output
from kaitoctl.cli.catalog_options import CatalogFile
from kaitoctl.cli.connect import Context, Kubeconfig, Namespace, Sandbox, SandboxName, Target, connected

if TYPE_CHECKING:
    from kaitoctl.kaito.adapter_rollout import InPod, Row
    from kaitoctl.kube.objects import Object

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def list_adapters(
    workspace: Annotated[
        str, typer.Argument(help="The Workspace's name.", autocompletion=complete.workspaces)
    ],
    output_format: Annotated[
        str, typer.Option("--output", "-o", help="table or json.", metavar="FORMAT")
    ] = "table",
    catalog: CatalogFile = None,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    sandbox: Sandbox = False,
    sandbox_name: SandboxName = "default",
) -> None:
    """List a Workspace's LoRA adapters: what it says, what its pods have, what the model server has loaded.

    Exit code 1 when the pods have not what the Workspace says, or the server has not loaded it.
    Example: kaitoctl list-adapters workspace-falcon-7b
    """
    catalog_options.use(catalog)
    import asyncio

    options.one_of(output_format, ("table", "json"), option="--output")
    target = Target(namespace, context, kubeconfig, sandbox, sandbox_name)
    rows, why = asyncio.run(_asked(target, options.workspace_name(workspace)))
    if output_format == "json":
        output.document([_plain(row) for row in rows])
    elif rows:
        words.show_rows(rows)
    if not rows:
        output.step(f"Workspace {workspace} has no adapters")
    elif why:
        output.note(why)
    agree = all(row.agrees and row.loaded is not False for row in rows)
    raise typer.Exit(0 if agree else 1)


async def _asked(target: Target, name: str) -> tuple[list[Row], str]:
    async with connected(target) as client:
        found = await look.workspace_named(client, name)
        return await look.proof(client, found, await look.pods_of(client, found))


def _plain(row: Row) -> Object:
    return {
        "name": row.name,
        "source": row.source,
        "spec": {"strength": row.strength or None} if row.is_asked_for else None,
        "pods": None if row.pods is None else [_in_pod(found) for found in row.pods],
        "loaded": row.loaded,
        "agrees": row.agrees,
    }


def _in_pod(found: InPod | None) -> Object | None:
    if found is None:
        return None
    return {"state": found.state, "strength": found.strength or None, "image": found.image or None}
