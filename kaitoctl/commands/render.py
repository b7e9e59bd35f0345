"""`kaitoctl render`: the objects that the controller would create, made by its own functions, offline."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from kaitoctl import workspace_controller
from kaitoctl.commands import files, option_values, saved_lists
from kaitoctl.commands.controller_options import ControllerOptions
from kaitoctl.commands.controller_settings import settings_of
from kaitoctl.commands.manifests import config_map_in, workspaces_in
from kaitoctl.errors import InputError
from kaitoctl.kaito import node_check
from kaitoctl.kaito.desired import with_image_generation, with_node_count
from kaitoctl.kaito.node_claims import names as claim_names
from kaitoctl.kaito.provisioning import node_requests, owned_claim
from kaitoctl.kube.objects import ObjectKey, key_of, uid_of
from kaitoctl.kube.yaml_writer import to_yaml
from kaitoctl.screens import output
from kaitoctl.workspace_controller import children_of, node_shape

if TYPE_CHECKING:
    from kaitoctl.commands.option_values import Manifests
    from kaitoctl.kaito.desired import Settings
    from kaitoctl.kaito.node_check import Verdict
    from kaitoctl.kube.objects import Object


class Rendered(Struct, frozen=True):
    """What the controller would create for one Workspace.

    Args:
        workspace: with its defaults.
        objects: Services and the workload, without owner references; of a set, the Workspace before them.
        claims: the NodeClaims that it would ask Karpenter for.
    """

    workspace: Object
    objects: tuple[Object, ...]
    claims: tuple[Object, ...]


def render(
    *,
    given: Manifests,
    nodes: str | None,
    node_claims: bool,
    output_format: str,
    namespace: str,
    controller: ControllerOptions,
) -> None:
    """Print the objects that run-controller would create for Workspaces. Asks no cluster."""
    option_values.output_format(output_format, ("yaml", "json", "name"))
    if nodes == "-" and given.reads_stdin:
        raise InputError("only one of -f and --nodes can be stdin")
    settings = settings_of(controller)
    listed = _nodes(nodes) if nodes is not None else None
    made = rendered_of(given, namespace, settings, listed)
    _warn_of_name_clashes(made)
    _print(made, output_format, with_claims=node_claims)


def rendered_of(
    given: Manifests, namespace: str, settings: Settings, nodes: list[Object] | None = None
) -> list[Rendered]:
    """What the controller would create for each Workspace in these files, those of InferenceSets included.

    Raises:
        InputError: a file cannot be read, or a Workspace is one that the controller refuses.
    """
    documents = files.objects_of(given)
    workspaces = workspaces_in(documents, namespace, settings, of_sets=True)
    made = []
    for workspace in workspaces:
        chosen = with_image_generation(workspace, settings)
        if name := workspace_controller.config_name(workspace, chosen):
            found = config_map_in(documents, ObjectKey(key_of(workspace).namespace, name))
            chosen = replace(chosen, context=workspace_controller.context_in(found))
        of_one = rendered(workspace, nodes, chosen)
        if "generateName" in workspace["metadata"]:  # of a set, which makes it
            of_one = replace(of_one, objects=(workspace, *of_one.objects))
        made.append(of_one)
    return made


def rendered(workspace: Object, nodes: list[Object] | None, settings: Settings) -> Rendered:
    """What the controller would create for a Workspace that it does not refuse.

    Args:
        workspace: with its defaults and a namespace.
        nodes: the cluster's; None when nothing is known of them.
        settings: the controller's.
    """
    settings = with_image_generation(workspace, settings)
    # What pods hold is not known here: every GPU of a node counts as free.
    rules = node_check.Rules(catalog=settings.catalog)
    shape = node_shape(workspace, settings, node_check.verdict(workspace, nodes or (), None, rules=rules))
    workspace = with_node_count(workspace, settings, nodes=shape)
    verdict = node_check.verdict(workspace, nodes or (), None, rules=rules)
    gpus = workspace_controller.pod_gpus(workspace, verdict, None)
    if nodes is not None:
        _tell(workspace, verdict)
        missing = verdict.would_create
    else:
        missing = max(0, verdict.required - len(node_check.preferred_nodes(workspace)))
    children = children_of(workspace, gpus=gpus, settings=settings, nodes=shape)
    objects = tuple(child.manifest for child in children)
    return Rendered(workspace, objects, tuple(_claims(workspace, missing, settings)))


def _nodes(file: str) -> list[Object]:
    return saved_lists.objects(file, "Node", option="--nodes")


def _tell(workspace: Object, verdict: Verdict) -> None:
    for sentence in verdict.unusable_preferred:
        output.warning(f"Workspace {key_of(workspace)}: {sentence}")
    output.step(f"Workspace {key_of(workspace)}: {verdict.summary}")


def _claims(workspace: Object, count: int, settings: Settings) -> list[Object]:
    """The NodeClaims for `count` missing nodes.

    Their names and one annotation follow from the Workspace's uid. Without a cluster it has none: the names
    are as stable, but not those that the controller will choose.
    """
    if settings.provisioner in ("karpenter", "byo"):
        requests = node_requests(workspace, settings) if count else []
        return [item for _, item in requests]
    identified = {**workspace, "metadata": {**workspace["metadata"], "uid": uid_of(workspace)}}
    claims = [owned_claim(identified, name, settings) for name in islice(claim_names(workspace), count)]
    for claim in claims:
        annotations = claim["metadata"]["annotations"]
        claim["metadata"]["annotations"] = {key: value for key, value in annotations.items() if value}
    return claims


def _warn_of_name_clashes(made: list[Rendered]) -> None:
    """Two Workspaces may want one name: `x` and its headless Service, and a Workspace `x-headless`."""
    seen: set[tuple[str, str]] = set()
    for item in (obj for one in made for obj in one.objects):
        identity = item["kind"], str(key_of(item))
        if identity in seen:
            raise InputError(f"two Workspaces need the {identity[0]} {identity[1]}")
        seen.add(identity)


def _print(made: list[Rendered], output_format: str, *, with_claims: bool) -> None:
    if output_format != "yaml":
        items = [item for one in made for item in (*(one.claims if with_claims else ()), *one.objects)]
        value = {"apiVersion": "v1", "kind": "List", "items": items}
        if output_format == "name":
            output.objects(items, output_format)
        else:
            output.write_structured(value, output_format)
        return
    documents: list[str] = []
    for one in made:
        before = "" if with_claims else "".join(_as_comment(claim) for claim in one.claims)
        objects = [*(one.claims if with_claims else ()), *one.objects]
        texts = [to_yaml(item) for item in objects]
        documents += [before + texts[0], *texts[1:]] if texts else []
    output.yaml("---\n".join(documents).rstrip("\n"))


def _as_comment(claim: Object) -> str:
    head = "# What the controller would ask Karpenter for (--node-claims: as an object):\n"
    return head + "".join(f"#   {line}\n" for line in to_yaml(claim).splitlines())
