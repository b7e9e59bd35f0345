"""`kaitoctl render`: the objects that the controller would create, made by its own functions, offline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from kaitoctl.cli import catalog_options, options, output
from kaitoctl.cli.catalog_options import CatalogFile
from kaitoctl.cli.controller_options import (
    AllowPrivilegedTemplates,
    AllowTemplateScheduling,
    ImageGeneration,
    MostNodes,
    Registry,
    TemplateSecrets,
    TemplateServiceAccounts,
    settings_of,
)
from kaitoctl.errors import InputError

if TYPE_CHECKING:
    from kaitoctl.kaito.desired import Settings
    from kaitoctl.kaito.nodes import Verdict
    from kaitoctl.kube.objects import Object

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@dataclass(frozen=True, slots=True)
class Rendered:
    """What the controller would create for one Workspace.

    Args:
        objects: Services and the workload, without owner references.
        claims: the NodeClaims that it would ask Karpenter for.
    """

    objects: tuple[Object, ...]
    claims: tuple[Object, ...]


@app.command()
def render(
    filename: Annotated[
        list[str],
        typer.Option("--filename", "-f", help="A manifest; - for stdin; may be repeated.", metavar="FILE"),
    ],
    nodes: Annotated[
        str | None,
        typer.Option(
            "--nodes",
            help="The cluster's nodes, as `kubectl get nodes -o json` wrote them (default: the instance type "
            "says how many GPUs there are).",
            metavar="FILE",
        ),
    ] = None,
    node_claims: Annotated[
        bool, typer.Option("--node-claims", help="NodeClaims as objects, not as comments.")
    ] = False,
    output_format: Annotated[
        str, typer.Option("--output", "-o", help="yaml or json.", metavar="FORMAT")
    ] = "yaml",
    namespace: Annotated[
        str, typer.Option("--namespace", "-n", help="Of Workspaces that name none.", metavar="NAME")
    ] = "default",
    image_generation: ImageGeneration = "v0.4",
    registry: Registry = None,
    most_nodes: MostNodes = 64,
    allow_privileged_templates: AllowPrivilegedTemplates = False,
    template_service_accounts: TemplateServiceAccounts = None,
    template_secrets: TemplateSecrets = None,
    allow_template_scheduling: AllowTemplateScheduling = False,
    catalog: CatalogFile = None,
) -> None:
    """Print the objects that run-controller would create for Workspaces. Asks no cluster.

    Example: kaitoctl render -f workspace.yaml

    Without any controller: kaitoctl render -f workspace.yaml | kubectl apply --server-side -f -
    """
    from kaitoctl.cli.manifests import documents_of, workspaces_in

    options.one_of(output_format, ("yaml", "json"), option="--output")
    if nodes == "-" and "-" in filename:
        raise InputError("only one of -f and --nodes can be stdin")
    catalog_options.use(catalog)
    settings = settings_of(
        image_generation,
        registry,
        most_nodes,
        allow_privileged_templates,
        template_service_accounts=template_service_accounts,
        template_secrets=template_secrets,
        allow_template_scheduling=allow_template_scheduling,
    )
    workspaces = workspaces_in(documents_of(filename), namespace, settings)
    listed = _nodes(nodes) if nodes is not None else None
    made = [rendered(workspace, listed, settings) for workspace in workspaces]
    _warn_of_name_clashes(made)
    _print(made, output_format, with_claims=node_claims)


def rendered(workspace: Object, nodes: list[Object] | None, settings: Settings) -> Rendered:
    """What the controller would create for a Workspace that it does not refuse.

    Args:
        workspace: with its defaults and a namespace.
        nodes: the cluster's; None when nothing is known of them.
        settings: the controller's.
    """
    from kaitoctl.kaito import nodes as nodes_
    from kaitoctl.workspace_controller import children_of

    # What pods hold is not known here: every GPU of a node counts as free.
    verdict = nodes_.verdict(workspace, nodes or (), None)
    gpus = nodes_.gpus_per_pod(workspace, [node for node in verdict.nodes if node.name in verdict.selected])
    if nodes is not None:
        _tell(workspace, verdict)
        missing = verdict.would_create
    else:
        missing = max(0, verdict.required - len(nodes_.preferred_nodes(workspace)))
    children = children_of(workspace, gpus=gpus, settings=settings)
    return Rendered(tuple(child.manifest for child in children), tuple(_claims(workspace, missing)))


def _nodes(file: str) -> list[Object]:
    from kaitoctl.cli import saved_lists

    return saved_lists.objects(file, "Node", option="--nodes")


def _tell(workspace: Object, verdict: Verdict) -> None:
    from kaitoctl.kube.objects import key_of

    for sentence in verdict.unusable_preferred:
        output.warning(f"Workspace {key_of(workspace)}: {sentence}")
    output.step(f"Workspace {key_of(workspace)}: {verdict.summary}")


def _claims(workspace: Object, count: int) -> list[Object]:
    """The NodeClaims for `count` missing nodes.

    Their names and one annotation follow from the Workspace's uid. Without a cluster it has none: the names
    are as stable, but not those that the controller will choose.
    """
    from itertools import islice

    from kaitoctl.kaito.claims import names as claim_names
    from kaitoctl.kaito.claims import node_claim
    from kaitoctl.kube.objects import uid_of

    identified = {**workspace, "metadata": {**workspace["metadata"], "uid": uid_of(workspace)}}
    claims = [node_claim(identified, name) for name in islice(claim_names(workspace), count)]
    for claim in claims:
        annotations = claim["metadata"]["annotations"]
        claim["metadata"]["annotations"] = {key: value for key, value in annotations.items() if value}
    return claims


def _warn_of_name_clashes(made: list[Rendered]) -> None:
    """Two Workspaces may want one name: `x` and its headless Service, and a Workspace `x-headless`."""
    from kaitoctl.kube.objects import key_of

    seen: set[tuple[str, str]] = set()
    for item in (obj for one in made for obj in one.objects):
        identity = item["kind"], str(key_of(item))
        if identity in seen:
            raise InputError(f"two Workspaces both want the {identity[0]} {identity[1]}")
        seen.add(identity)


def _print(made: list[Rendered], output_format: str, *, with_claims: bool) -> None:
    from kaitoctl.kube.documents import to_yaml

    if output_format == "json":
        items = [item for one in made for item in (*(one.claims if with_claims else ()), *one.objects)]
        value = {"apiVersion": "v1", "kind": "List", "items": items}
        output.document(value)
        return
    documents: list[str] = []
    for one in made:
        before = "" if with_claims else "".join(_as_comment(claim) for claim in one.claims)
        objects = [*(one.claims if with_claims else ()), *one.objects]
        texts = [to_yaml(item) for item in objects]
        documents += [before + texts[0], *texts[1:]] if texts else []
    output.data("---\n".join(documents).rstrip("\n"))


def _as_comment(claim: Object) -> str:
    from kaitoctl.kube.documents import to_yaml

    head = "# The controller would ask Karpenter for this node (--node-claims makes it an object):\n"
    return head + "".join(f"#   {line}\n" for line in to_yaml(claim).splitlines())
