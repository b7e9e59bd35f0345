"""`kaitoctl diff`: what applying a Workspace would change, in it and in what the controller makes from it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kaitoctl.cli import catalog_options, options, output
from kaitoctl.cli.catalog_options import CatalogFile
from kaitoctl.cli.connect import Context, Kubeconfig, Namespace, Sandbox, SandboxName, Target, connected
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
from kaitoctl.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kaitoctl.kaito.desired import Settings
    from kaitoctl.kube.client import Client
    from kaitoctl.kube.objects import Kind, Object, ObjectKey
    from kaitoctl.reconcile.comparison import Comparison
    from kaitoctl.reconcile.plan import Difference

app = typer.Typer(rich_markup_mode=None, add_completion=False)

_LONGEST_VALUE = 200


@dataclass(frozen=True, slots=True)
class _Answer:
    """What applying one Workspace would do.

    Args:
        workspace: to itself.
        children: to what the controller makes from it.
        remarks: what else is to be known.
    """

    workspace: Comparison
    children: tuple[Comparison, ...]
    remarks: tuple[str, ...] = ()

    @property
    def differs(self) -> bool:
        return any(item.fate != "unchanged" for item in (self.workspace, *self.children))


@app.command()
def diff(
    filename: Annotated[
        list[str],
        typer.Option("--filename", "-f", help="A manifest; - for stdin; may be repeated.", metavar="FILE"),
    ],
    output_format: Annotated[
        str, typer.Option("--output", "-o", help="text or json.", metavar="FORMAT")
    ] = "text",
    force_conflicts: Annotated[
        bool, typer.Option("--force-conflicts", help="As if fields of other managers were taken over.")
    ] = False,
    image_generation: ImageGeneration = "v0.4",
    registry: Registry = None,
    most_nodes: MostNodes = 64,
    allow_privileged_templates: AllowPrivilegedTemplates = False,
    template_service_accounts: TemplateServiceAccounts = None,
    template_secrets: TemplateSecrets = None,
    allow_template_scheduling: AllowTemplateScheduling = False,
    catalog: CatalogFile = None,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    sandbox: Sandbox = False,
    sandbox_name: SandboxName = "default",
) -> None:
    """Compare Workspaces, and the objects that run-controller makes from them, with the cluster.

    Writes nothing: the Workspace is applied as a server-side dry run. Exit code 0: no differences; 1: some;
    more: an error. Example: kaitoctl diff -f workspace.yaml
    """
    import asyncio

    options.one_of(output_format, ("text", "json"), option="--output")
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
    target = Target(namespace, context, kubeconfig, sandbox, sandbox_name)
    answers = asyncio.run(_compare(target, filename, settings, force=force_conflicts))
    if output_format == "json":
        value = {
            "differs": any(answer.differs for answer in answers),
            "workspaces": [_plain_answer(answer) for answer in answers],
        }
        output.document(value)
    else:
        output.data("\n".join(line for answer in answers for line in _lines(answer)))
        for answer in answers:
            for remark in answer.remarks:
                output.warning(f"Workspace {answer.workspace.key}: {remark}")
    raise typer.Exit(1 if any(answer.differs for answer in answers) else 0)


async def _compare(target: Target, files: list[str], settings: Settings, *, force: bool) -> list[_Answer]:
    from kaitoctl.cli.manifests import documents_of, workspaces_in

    async with connected(target) as client:
        documents = documents_of(files)
        workspaces_in(documents, client.namespace, settings)
        # Sent as the user wrote them: the defaults are the server's to fill in.
        written = [obj for objects in documents.values() for obj in objects if obj.get("kind") == "Workspace"]
        answers = []
        for obj in written:
            metadata = {**obj["metadata"]}
            metadata["namespace"] = metadata.get("namespace") or client.namespace
            answers.append(await _answer(client, {**obj, "metadata": metadata}, settings, force=force))
        return answers


async def _answer(client: Client, written: Object, settings: Settings, *, force: bool) -> _Answer:
    from kaitoctl.kaito import api, validation
    from kaitoctl.kube.objects import key_of
    from kaitoctl.reconcile.comparison import Comparison, between
    from kaitoctl.workspace_controller import refusal_of

    kind = replace(api.WORKSPACE, version=str(written["apiVersion"]).rpartition("/")[2])
    key = key_of(written)
    before = await _present(client, kind, key)
    after = await _applied(client, kind, written, force=force)
    remarks = []
    if before is None:
        itself = Comparison(kind, key, "created")
    else:
        changed = between(before, after)
        itself = Comparison(kind, key, "changed" if changed else "unchanged", changed)
        errors = [
            problem for problem in validation.update_problems(before, after) if problem.severity == "error"
        ]
        remarks = [f"{problem.path}: {problem.message}" for problem in errors]
    # What is in the cluster already may add up, with the manifest, to what the controller refuses.
    if refusal := refusal_of(after, settings):
        return _Answer(itself, (), (*remarks, f"the controller would build nothing: {refusal}"))
    children = await _children(client, after, settings, remarks)
    return _Answer(itself, tuple(children), tuple(remarks))


async def _applied(client: Client, kind: Kind, written: Object, *, force: bool) -> Object:
    """The Workspace as it would be, with the identity that its children know."""
    from kaitoctl.cli.create_workspace import FIELD_MANAGER, missing_crd
    from kaitoctl.kube import request

    asked = request.apply(kind, written, manager=FIELD_MANAGER, force=force, dry_run=True)
    try:
        return await client.send(asked)
    except ApiError as error:
        if error.is_unknown_resource:
            raise missing_crd() from error
        if error.reason == "Conflict":
            error.hint = error.hint or "other managers own these fields; --force-conflicts looks beyond that"
        raise


async def _children(
    client: Client, workspace: Object, settings: Settings, remarks: list[str]
) -> list[Comparison]:
    from kaitoctl import workspace_controller as controller
    from kaitoctl.cli.look import workspace_kind
    from kaitoctl.kaito import revisions
    from kaitoctl.kube.objects import annotations_of, is_controlled_by, key_of
    from kaitoctl.reconcile.comparison import compare
    from kaitoctl.reconcile.plan import plan

    # Whatever version the file is written in: the controller reads, and is owner by, this one.
    workspace = {**workspace, "apiVersion": (await workspace_kind(client)).api_version}
    # The kinds and names do not depend on how many GPUs a pod gets; the rest waits for the workload.
    named = [
        (child.kind, key_of(child.manifest))
        for child in controller.children_of(workspace, gpus=1, settings=settings)
    ]
    observed = await _observed(client, workspace, named)
    workload = next(
        (obj for kind, obj in observed if kind in controller.WORKLOADS and is_controlled_by(obj, workspace)),
        None,
    )
    verdict = await _verdict(client, workspace, remarks)
    gpus = controller.pod_gpus(workspace, verdict, workload)
    planned = plan(
        workspace,
        # A revision's new number restarts nothing: the one that is there is no difference.
        controller.children_of(
            workspace, gpus=gpus, settings=settings, revision=revisions.number_on(workload)
        ),
        observed,
        manager=controller.MANAGER,
        annotation_prefix=controller.ANNOTATION_PREFIX,
    )
    if planned.stale:
        remarks.append("children were made for a newer generation of the Workspace; look again")
    stamp = f"{controller.ANNOTATION_PREFIX}/desired-hash"
    if workload is not None and stamp not in annotations_of(workload):
        remarks.append("another controller made these objects; this is what kaitoctl's would make of them")
    if not verdict.enough and workload is None:
        remarks.append(f"the workload waits for nodes: {verdict.summary}")
    return compare(
        planned,
        named,
        observed,
        manager=controller.MANAGER,
        annotation_prefix=controller.ANNOTATION_PREFIX,
    )


async def _observed(
    client: Client, workspace: Object, named: list[tuple[Kind, ObjectKey]]
) -> list[tuple[Kind, Object]]:
    """The objects that have the names of the Workspace's children, and those labelled as such."""
    from kaitoctl.kaito import api
    from kaitoctl.kube.objects import DEPLOYMENT, SERVICE, STATEFUL_SET, is_controlled_by, key_of

    key = key_of(workspace)
    found: dict[tuple[Kind, ObjectKey], Object] = {}
    for kind in dict.fromkeys([*(kind for kind, _ in named), DEPLOYMENT, STATEFUL_SET, SERVICE]):
        label = f"{api.LABEL_WORKSPACE}={key.name}"
        listed = await client.list(kind, key.namespace, label_selector=label)
        found |= {(kind, key_of(obj)): obj for obj in listed.items if is_controlled_by(obj, workspace)}
    for kind, name in named:
        if (kind, name) not in found and (obj := await _present(client, kind, name)) is not None:
            found[kind, name] = obj
    return [(kind, obj) for (kind, _), obj in found.items()]


async def _verdict(client: Client, workspace: Object, remarks: list[str]) -> Any:
    """The controller's verdict of the nodes; of none when they may not be listed."""
    from kaitoctl.cli.check_nodes import Seen, observe
    from kaitoctl.kaito import nodes as nodes_

    try:
        seen = await observe(client, workspace, nodes_.OWN_RULES)
    except ApiError as error:
        if error.status != 403:
            raise
        remarks.append("nodes cannot be listed: the instance type says how many GPUs a pod gets")
        seen = Seen([], None)
    return seen.verdict(workspace, nodes_.OWN_RULES)


async def _present(client: Client, kind: Kind, key: ObjectKey) -> Object | None:
    from kaitoctl.cli.create_workspace import missing_crd, present
    from kaitoctl.kube import request

    try:
        found = await present(client, request.get(kind, *key))
    except ApiError as error:
        raise (missing_crd() if error.is_unknown_resource else error) from error
    return None if found is None else {"apiVersion": kind.api_version, "kind": kind.kind, **found}


# --- out ---------------------------------------------------------------------------------------------------


def _lines(answer: _Answer) -> list[str]:
    lines = _block("", answer.workspace)
    for child in answer.children:
        lines += _block("generated ", child)
    return lines


def _block(prefix: str, item: Comparison) -> list[str]:
    words: str = item.fate
    if item.restarts:
        words += f" -> {item.restarts} pod{'s restart' if item.restarts > 1 else ' restarts'}"
    if item.fate == "created":
        words = "does not exist -> will be created"
    elif item.fate == "deleted":
        words = "no longer wanted -> will be deleted"
    elif item.fate == "replaced":
        words = "cannot be changed -> will be made anew"
    elif item.fate == "foreign":
        words = f"belongs to {item.controller} and is left alone"
    head = f"► {prefix}{item.kind.kind}/{item.key} {words}"
    return [output.visible(head), *(f"  {row}" for row in rows(item.differences))]


def rows(differences: Sequence[Difference]) -> list[str]:
    """A line per field: its path, what it is, what it becomes."""
    width = max((len(found.path) for found in differences), default=0)
    return [
        output.visible(f"{found.path.ljust(width)}   - {_value(found.observed)}   + {_value(found.desired)}")
        for found in differences
    ]


def _value(value: Any) -> str:
    if value is None:
        return "(none)"
    text = output.json_text(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}..."


def _plain_answer(answer: _Answer) -> Object:
    return {
        **_plain(answer.workspace),
        "generated": [_plain(child) for child in answer.children],
        "remarks": list(answer.remarks),
    }


def _plain(item: Comparison) -> Object:
    return {
        "kind": item.kind.kind,
        "namespace": item.key.namespace,
        "name": item.key.name,
        "fate": item.fate,
        "podsRestarted": item.restarts,
        "differences": [
            {"path": found.path, "old": found.observed, "new": found.desired} for found in item.differences
        ],
        **({"controller": item.controller} if item.controller else {}),
    }
