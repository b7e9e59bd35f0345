"""`kaitoctl diff`: what applying a Workspace would change, in it and in what the controller makes from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from kaitoctl import workspace_controller
from kaitoctl.commands import files, invocation, option_values
from kaitoctl.commands.cluster import (
    connected,
    missing_crd,
    present,
    tried,
    workspace_kind,
)
from kaitoctl.commands.controller_options import ControllerOptions
from kaitoctl.commands.controller_settings import generation_named, settings_of
from kaitoctl.commands.kaito_detection import kaito_here
from kaitoctl.commands.manifests import workspaces_in
from kaitoctl.commands.observe_nodes import observe
from kaitoctl.commands.observed_nodes import ObservedNodes
from kaitoctl.commands.target import Target
from kaitoctl.errors import ApiError, ExitCode
from kaitoctl.kaito import api, node_check, revisions, validation
from kaitoctl.kaito.desired import IMAGE_GENERATIONS, with_image_generation, with_node_count
from kaitoctl.kaito.validation.releases import nearest
from kaitoctl.kube import request
from kaitoctl.kube.objects import (
    CONFIG_MAP,
    DEPLOYMENT,
    SERVICE,
    STATEFUL_SET,
    ObjectKey,
    annotations_of,
    is_controlled_by,
    key_of,
    with_type,
)
from kaitoctl.reconcile.comparison import Comparison, between, compare
from kaitoctl.reconcile.planner import plan
from kaitoctl.screens import markdown, output
from kaitoctl.screens.layout import Paragraph

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kaitoctl.commands.option_values import Manifests
    from kaitoctl.kaito.desired import Settings
    from kaitoctl.kube.client import Client
    from kaitoctl.kube.objects import Kind, Object


class _Answer(Struct, frozen=True):
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


def diff(
    *,
    given: Manifests,
    output_format: str,
    force_conflicts: bool,
    controller: ControllerOptions,
    target: Target,
) -> int:
    """Compare Workspaces, and the objects that run-controller makes from them, with the cluster."""
    option_values.output_format(output_format, ("text", "json", "yaml", "markdown", "name"))
    settings = settings_of(controller)
    documents = files.objects_of(given)
    answers = invocation.answer_of(_compare(target, documents, settings, force=force_conflicts))
    if option_values.is_structured(output_format):
        value = {
            "differs": any(answer.differs for answer in answers),
            "workspaces": [_plain_answer(answer) for answer in answers],
        }
        output.write_structured(value, output_format)
    elif output_format == "name":
        for answer in answers:
            for item in (answer.workspace, *answer.children):
                if item.fate != "unchanged":
                    kind = {"apiVersion": item.kind.api_version, "kind": item.kind.kind}
                    output.data(output.resource_name({**kind, "metadata": {"name": item.key.name}}))
    elif output_format == "markdown":
        output.data(_comment(answers))
    else:
        output.show([Paragraph(line, hang=4) for answer in answers for line in _lines(answer)])
        for answer in answers:
            for remark in answer.remarks:
                output.warning(f"Workspace {answer.workspace.key}: {remark}")
    return ExitCode.NEGATIVE if any(answer.differs for answer in answers) else ExitCode.DONE


async def _compare(
    target: Target, documents: dict[str, list[Object]], settings: Settings, *, force: bool
) -> list[_Answer]:
    async with connected(target) as client:
        settings = await _as_here(client, target, settings)
        workspaces_in(documents, client.namespace, settings)
        # Sent as the user wrote them: the defaults are the server's to fill in.
        written = [obj for objects in documents.values() for obj in objects if obj.get("kind") == "Workspace"]
        beside = {
            ObjectKey(key_of(obj).namespace or client.namespace, key_of(obj).name): obj
            for objects in documents.values()
            for obj in objects
            if obj.get("kind") == CONFIG_MAP.kind
        }
        answers = []
        for obj in written:
            metadata = {**obj["metadata"]}
            metadata["namespace"] = metadata.get("namespace") or client.namespace
            answers.append(
                await _answer(client, {**obj, "metadata": metadata}, settings, beside, force=force)
            )
        return answers


async def _as_here(client: Client, target: Target, settings: Settings) -> Settings:
    """The settings as of the KAITO that is here, where the user names none: so that its ways do not differ.

    KAITO v0.8 to v0.10 make what none of the generations is like: there, Workspaces that run say theirs.
    """
    if target.sandbox or (settings.image_generation and settings.provisioner):
        return settings
    here = await kaito_here(client)
    if here.target is None:
        return settings
    told = here.provisioner or ("byo" if here.byo else "")
    provisioner = told if told in node_check.PROVISIONERS else ""
    if here.target == validation.OWN:
        own = replace(settings, provisioner=settings.provisioner or provisioner)
        return own if here.rights is None else own.allowing(here.rights)
    release = nearest(here.target)
    of_here = generation_named(here.target) if release and release.name in IMAGE_GENERATIONS else ""
    return replace(
        settings,
        image_generation=settings.image_generation or of_here,
        provisioner=settings.provisioner or provisioner,
        cloud=here.cloud or settings.cloud,
    )


async def _answer(
    client: Client, written: Object, settings: Settings, beside: Mapping[ObjectKey, Object], *, force: bool
) -> _Answer:
    kind = replace(api.WORKSPACE, version=str(written["apiVersion"]).rpartition("/")[2])
    key = key_of(written)
    before = await _present(client, kind, key)
    after = await _dry_run(client, kind, written, force=force)
    remarks = []
    if before is None:
        itself = Comparison(kind, key, "created")
    else:
        changed = between(before, after)
        itself = Comparison(kind, key, "changed" if changed else "unchanged", changed)
        setting = validation.Setting(catalog=settings.catalog)
        problems = validation.update_problems(before, after, setting)
        remarks = [f"{item.path}: {item.message}" for item in problems if item.severity == "error"]
    # What is in the cluster already may add up, with the manifest, to what the controller refuses.
    if refusal := workspace_controller.refusal_of(after, settings):
        return _Answer(itself, (), (*remarks, f"the controller would build nothing: {refusal}"))
    children = await _children(client, after, settings, beside, remarks)
    return _Answer(itself, tuple(children), tuple(remarks))


async def _dry_run(client: Client, kind: Kind, written: Object, *, force: bool) -> Object:
    """The Workspace as it would be, with the identity that its children know."""
    try:
        return await tried(client, kind, written, force=force)
    except ApiError as error:
        if error.is_unknown_resource:
            raise missing_crd() from error
        if error.reason == "Conflict":
            error.hint = error.hint or "other managers own these fields; --force-conflicts looks beyond that"
        raise


async def _children(
    client: Client,
    workspace: Object,
    settings: Settings,
    beside: Mapping[ObjectKey, Object],
    remarks: list[str],
) -> list[Comparison]:
    # Whatever version the file is written in: the controller reads, and is owner by, this one.
    workspace = {**workspace, "apiVersion": (await workspace_kind(client)).api_version}
    # The kinds and names do not depend on how many GPUs a pod gets; the rest waits for the workload.
    named = [
        (child.kind, key_of(child.manifest))
        for child in workspace_controller.children_of(workspace, gpus=1, settings=settings)
    ]
    observed = await _live_children(client, workspace, named)
    workloads = (obj for kind, obj in observed if kind in workspace_controller.WORKLOADS)
    workload = next((obj for obj in workloads if is_controlled_by(obj, workspace)), None)
    settings = with_image_generation(workspace, settings, running=workload)
    if name := workspace_controller.config_name(workspace, settings):
        place = ObjectKey(key_of(workspace).namespace, name)
        config = beside.get(place) or await _present(client, CONFIG_MAP, place)
        settings = replace(settings, context=workspace_controller.context_in(config))
    rules = node_check.Rules(catalog=settings.catalog, context=settings.context)
    seen = await _nodes(client, workspace, rules, remarks)
    shape = workspace_controller.node_shape(workspace, settings, seen.verdict(workspace, rules))
    workspace = with_node_count(workspace, settings, nodes=shape)
    verdict = seen.verdict(workspace, rules)
    gpus = workspace_controller.pod_gpus(workspace, verdict, workload)
    planned = plan(
        workspace,
        # A revision's new number restarts nothing: the one that is there is no difference.
        [
            workspace_controller.adopted_child(child, workload)
            for child in workspace_controller.children_of(
                workspace, gpus=gpus, settings=settings, revision=revisions.number_on(workload), nodes=shape
            )
        ],
        observed,
        manager=workspace_controller.MANAGER,
        annotation_prefix=workspace_controller.ANNOTATION_PREFIX,
    )
    if planned.stale:
        remarks.append("children were made for a newer generation of the Workspace; run the command again")
    stamp = f"{workspace_controller.ANNOTATION_PREFIX}/desired-hash"
    if workload is not None and stamp not in annotations_of(workload):
        remarks.append("another controller made these objects; this is what kaitoctl's would make of them")
    if not verdict.enough and workload is None:
        remarks.append(f"the workload waits for nodes: {verdict.summary}")
    return compare(
        planned,
        named,
        observed,
        manager=workspace_controller.MANAGER,
        annotation_prefix=workspace_controller.ANNOTATION_PREFIX,
    )


async def _live_children(
    client: Client, workspace: Object, named: list[tuple[Kind, ObjectKey]]
) -> list[tuple[Kind, Object]]:
    """The objects that have the names of the Workspace's children, and those labelled as such."""
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


async def _nodes(
    client: Client, workspace: Object, rules: node_check.Rules, remarks: list[str]
) -> ObservedNodes:
    """The nodes; none when they may not be listed."""
    try:
        return await observe(client, workspace, rules)
    except ApiError as error:
        if error.status != 403:
            raise
        remarks.append("nodes cannot be listed: the instance type says how many GPUs a pod gets")
        return ObservedNodes([], None)


async def _present(client: Client, kind: Kind, key: ObjectKey) -> Object | None:
    try:
        found = await present(client, request.get(kind, *key))
    except ApiError as error:
        raise (missing_crd() if error.is_unknown_resource else error) from error
    return None if found is None else with_type(kind, found)


# --- out ---------------------------------------------------------------------------------------------------


def _lines(answer: _Answer) -> list[str]:
    lines = _block("", answer.workspace)
    for child in answer.children:
        lines += _block("generated ", child)
    return lines


def _comment(answers: list[_Answer]) -> str:
    items = [item for answer in answers for item in (answer.workspace, *answer.children)]
    lines = []
    for answer in answers:
        itself = _block("", answer.workspace)
        remarks = [f"    warning: {output.visible(remark)}" for remark in answer.remarks]
        lines += [*itself, *remarks, *_lines(answer)[len(itself) :]]
    changed, restarts = sum(item.fate != "unchanged" for item in items), sum(item.restarts for item in items)
    summary = f"{changed} of {len(items)} objects differ; pods restarted: {restarts or 'none'}"
    return markdown.comment("diff", summary, lines)


def _block(prefix: str, item: Comparison) -> list[str]:
    words: str = item.fate
    if item.restarts:
        words += f" -> {item.restarts} pod{'s restart' if item.restarts > 1 else ' restarts'}"
    if item.fate == "created":
        words = "does not exist -> will be created"
    elif item.fate == "deleted":
        words = "no longer needed -> will be deleted"
    elif item.fate == "replaced":
        words = "immutable -> will be recreated"
    elif item.fate == "foreign":
        words = f"is not this Workspace's (controller: {item.controller}) and is left alone"
    head = f"► {prefix}{item.kind.kind}/{item.key} {words}"
    fields = output.changed_fields((found.path, found.observed, found.desired) for found in item.differences)
    return [output.visible(head), *(f"  {output.visible(row)}" for row in fields)]


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
