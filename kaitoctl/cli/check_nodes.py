"""`kaitoctl check-nodes`: which nodes a Workspace would use, why not the others, and what fixes them."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kaitoctl.cli import catalog_options, complete, files, options, output
from kaitoctl.cli.catalog_options import CatalogFile
from kaitoctl.cli.connect import Context, Kubeconfig, Namespace, Sandbox, SandboxName, Target, connected
from kaitoctl.cli.saved_lists import NodesFile, PodsFile
from kaitoctl.errors import ApiError, InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from kaitoctl.kaito.nodes import Rules, Verdict
    from kaitoctl.kube.client import Client
    from kaitoctl.kube.objects import Object

app = typer.Typer(rich_markup_mode=None, add_completion=False)

_OUTPUTS = ("table", "wide", "short", "json", "yaml")
# Up to so many nodes are asked for one by one: API servers index names, and pods by their node.
_ONE_BY_ONE = 24
_AT_A_TIME = 8
_LABELS_ADVISED = 8
_SPARE = 1  # nodes looked at beyond those that are needed: some are another's
_SETTLED_S = 0.2
_UNFINISHED = "status.phase!=Succeeded,status.phase!=Failed"


@dataclass(frozen=True, slots=True)
class _How:
    """What is to be done with the verdict."""

    output: str
    strict: bool
    wait_s: float
    fix: bool
    yes: bool
    dry_run: bool


@dataclass(frozen=True, slots=True)
class Seen:
    """What a verdict is made of.

    Args:
        nodes: those that may matter.
        pods: those that hold GPUs, the Workspace's own left out; None when they could not be listed.
        names: further nodes of the cluster.
        pods_of: the nodes whose pods are listed, None for all.
        crowds: how many pods of any kind are on a node; None when they could not be listed.
    """

    nodes: list[Object]
    pods: list[Object] | None
    names: tuple[str, ...] = ()
    pods_of: frozenset[str] | None = None
    crowds: Mapping[str, int] | None = None

    def verdict(self, workspace: Object, rules: Rules) -> Verdict:
        """The answer for a Workspace, from what was seen."""
        from datetime import UTC, datetime

        from kaitoctl.kaito import nodes as nodes_

        return nodes_.verdict(
            workspace,
            self.nodes,
            self.pods,
            rules=rules,
            known_names=self.names,
            pods_of=self.pods_of,
            crowds=self.crowds,
            now=datetime.now(UTC),
        )


@app.command()
def check_nodes(
    name: Annotated[
        str | None,
        typer.Argument(
            help="A Workspace of the cluster, or one of FILE.",
            metavar="[WORKSPACE]",
            autocompletion=complete.workspaces,
        ),
    ] = None,
    filename: Annotated[
        str | None,
        typer.Option("--filename", "-f", help="A Workspace's manifest; - for stdin.", metavar="FILE"),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option("--preset", help="A preset instead.", metavar="NAME", autocompletion=complete.presets),
    ] = None,
    instance_type: Annotated[
        str | None,
        typer.Option(
            "--instance-type",
            help="Instance type of the GPU nodes.",
            metavar="TYPE",
            autocompletion=complete.instance_types,
        ),
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option("--label", help="Label that nodes must carry; may be repeated.")
    ] = None,
    preferred_node: Annotated[
        list[str] | None,
        typer.Option(
            "--preferred-node",
            help="A prepared node; may be repeated.",
            metavar="NODE",
            autocompletion=complete.nodes,
        ),
    ] = None,
    count: Annotated[int | None, typer.Option("--count", help="Number of nodes.", min=1)] = None,
    nodes: NodesFile = None,
    pods: PodsFile = None,
    target_version: Annotated[
        str | None,
        typer.Option(
            "--target-version",
            help="Whose choice: v0.3, v0.4 (default), v0.12, or kaitoctl (default with --sandbox).",
            metavar="VERSION",
        ),
    ] = None,
    node_provisioner: Annotated[
        str | None,
        typer.Option(
            "--node-provisioner",
            help="v0.12's setting: azure-gpu-provisioner, karpenter or byo.",
            metavar="NAME",
        ),
    ] = None,
    wait: Annotated[
        str | None,
        typer.Option(
            "--wait", help="Watch until there are enough nodes, at most so long.", metavar="DURATION"
        ),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings count as failures.")] = False,
    fix: Annotated[bool, typer.Option("--fix", help="Set the missing labels, after asking.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="With --fix: do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="With --fix: let the server only try.")] = False,
    output_format: Annotated[
        str, typer.Option("--output", "-o", help="table, wide, short, json or yaml.", metavar="FORMAT")
    ] = "table",
    catalog_file: CatalogFile = None,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    sandbox: Sandbox = False,
    sandbox_name: SandboxName = "default",
) -> None:
    """Say which nodes a Workspace would use, why not the others, and what fixes them.

    Exit code 0: enough nodes; 1: not enough. Example: kaitoctl check-nodes -f workspace.yaml

    Without a cluster: kaitoctl check-nodes -f workspace.yaml --nodes nodes.json --pods pods.json
    """
    from kaitoctl.kaito import catalog
    from kaitoctl.kaito import nodes as nodes_

    catalog_options.use(catalog_file)
    options.one_of(output_format, _OUTPUTS, option="--output")
    target_version = target_version or ("kaitoctl" if sandbox else "v0.4")
    options.one_of(target_version, (*catalog.TARGETS, "kaitoctl"), option="--target-version")
    if node_provisioner is not None:
        options.one_of(node_provisioner, nodes_.PROVISIONERS, option="--node-provisioner")
    how = _How(
        output_format,
        strict,
        options.duration_s(wait, option="--wait") if wait else 0.0,
        fix,
        yes,
        dry_run,
    )
    for option, file in (("-f", filename), ("--nodes", nodes), ("--pods", pods)):
        if file is not None:
            files.insist_on_name(file, option=option)
    flags = [preset, instance_type, label, preferred_node, count]
    _insist_on_sense(name, filename, any(flags), nodes, pods, how)
    workspace: Object | None = None
    if filename is not None:
        workspace = _from_file(filename, name)
    elif any(flags):
        workspace = _from_flags(preset, instance_type, label or (), preferred_node or (), count)
    if namespace and workspace is not None and workspace["metadata"].get("name"):
        workspace["metadata"].setdefault("namespace", namespace)

    if nodes is not None:
        assert workspace is not None
        rules = nodes_.rules_for(workspace, target_version, node_provisioner or "")
        seen = _from_lists(workspace, rules, nodes, pods)
        verdict = seen.verdict(workspace, rules)
        raise typer.Exit(_answer(workspace, verdict, how))
    import asyncio

    target = Target(namespace, context, kubeconfig, sandbox, sandbox_name)
    code = asyncio.run(
        _on_cluster(target, workspace, name or "", target_version, node_provisioner or "", how)
    )
    raise typer.Exit(code)


def _insist_on_sense(
    name: str | None, filename: str | None, flags: bool, nodes: str | None, pods: str | None, how: _How
) -> None:
    if flags and (name or filename):
        raise InputError(
            "a Workspace and flags that describe one exclude each other", hint="give one of them"
        )
    if not (name or filename or flags):
        raise InputError(
            "which Workspace?",
            hint="kaitoctl check-nodes NAME, -f FILE, or --preset with --instance-type and --label",
        )
    if pods is not None and nodes is None:
        raise InputError("--pods goes with --nodes: a saved list of pods says nothing about today's nodes")
    if nodes is not None and filename is None and not flags:
        raise InputError("--nodes works offline: give the Workspace with -f FILE or with flags")
    if nodes is not None and (how.wait_s or how.fix):
        raise InputError(f"{'--wait' if how.wait_s else '--fix'} needs a cluster, and --nodes names a file")
    if [nodes, pods, filename].count("-") > 1:
        raise InputError("only one of -f, --nodes and --pods can be stdin")
    if (how.yes or how.dry_run) and not how.fix:
        raise InputError("--yes and --dry-run go with --fix")


# --- the Workspace -----------------------------------------------------------------------------------------


def _from_flags(
    preset: str | None, instance_type: str | None, label: Any, preferred: Any, count: int | None
) -> Object:
    from kaitoctl.kaito import api, catalog

    if preset and catalog.preset(preset) is None:
        near = catalog.close_matches(preset, catalog.current().presets)
        hint = f"did you mean {' or '.join(near)}?" if near else "kaitoctl models lists them"
        raise InputError(f'preset "{preset}" is not in the catalog', hint=hint)
    resource: Object = {
        "count": count or 1,
        "labelSelector": {"matchLabels": options.labels(label)},
        "preferredNodes": list(preferred),
    }
    if instance_type:
        resource["instanceType"] = instance_type
    made: Object = {"apiVersion": api.WORKSPACE.api_version, "kind": "Workspace", "metadata": {}}
    made["resource"] = resource
    if preset:
        made["inference"] = {"preset": {"name": preset}}
    return _sound(made, "the flags")


def _from_file(file: str, name: str | None) -> Object:
    from kaitoctl.cli import saved_lists

    found = saved_lists.objects(file, "Workspace", option="-f")
    named = {str((item.get("metadata") or {}).get("name") or ""): item for item in found if _is_sound(item)}
    if name is not None and name not in named:
        raise InputError(
            f"-f {file}: there is no Workspace {name} in it", hint=f"there is {', '.join(named)}"
        )
    if name is None and len(found) > 1:
        raise InputError(
            f"-f {file} holds {len(found)} Workspaces", hint=f"name one of them: {', '.join(sorted(named))}"
        )
    if not found:
        raise InputError(f"-f {file}: there is no Workspace in it")
    return _sound(named[name] if name is not None else found[0], f"-f {file}")


def _is_sound(item: Object) -> bool:
    return isinstance(item.get("metadata") or {}, dict)


def _sound(workspace: Object, where: str) -> Object:
    """The Workspace, if what a check of nodes reads has the shape that the API would let in.

    Raises:
        InputError: it has not.
    """
    from kaitoctl.kaito import api, catalog
    from kaitoctl.kube import label_selectors
    from kaitoctl.kube.objects import dig

    metadata, resource = workspace.get("metadata"), workspace.get("resource")
    preferred, kind = dig(resource, "preferredNodes"), dig(resource, "instanceType")
    count = dig(resource, "count")
    problems = []
    if not isinstance(workspace.setdefault("metadata", {}) if metadata is None else metadata, dict):
        problems.append("metadata is not a map")
    if not isinstance(resource, dict):
        problems.append("resource is missing: it says which nodes to use")
    problems += label_selectors.problems(dig(resource, "labelSelector"), "resource.labelSelector")
    if preferred is not None and not (
        isinstance(preferred, list) and all(isinstance(item, str) for item in preferred)
    ):
        problems.append("resource.preferredNodes is not a list of names")
    if count is not None and (not isinstance(count, int) or isinstance(count, bool) or count < 1):
        problems.append(f"resource.count is {count!r}, not a number from 1 on")
    if kind is not None and not isinstance(kind, str):
        problems.append("resource.instanceType is not text")
    if problems:
        raise InputError(f"{where} is not a Workspace", problems=problems)
    if isinstance(kind, str) and kind and catalog.instance_type(kind) is None:
        near = catalog.close_matches(kind, catalog.current().instance_types)
        hint = f"did you mean {' or '.join(near)}?" if near else "its number and size of GPUs are not known"
        output.warning(f'instance type "{kind}" is not in the catalog', hint=hint)
    workspace.setdefault("apiVersion", api.WORKSPACE.api_version)
    return workspace


async def _from_cluster(client: Client, name: str, rules_target: str) -> Object:
    from kaitoctl.cli import look
    from kaitoctl.cli.create_workspace import missing_crd
    from kaitoctl.kaito import api
    from kaitoctl.kube import request
    from kaitoctl.kube.objects import ObjectKey

    kinds = [api.WORKSPACE, api.WORKSPACE_V1BETA1]
    if rules_target in ("v0.12", "kaitoctl"):
        kinds.reverse()
    for kind in kinds:
        try:
            return await client.send(request.get(kind, client.namespace, name))
        except ApiError as error:
            if error.is_unknown_resource:
                continue
            if error.status != 404:
                raise
            raise await look.no_such(client, kind, ObjectKey(client.namespace, name)) from error
    raise missing_crd()


# --- what there is -----------------------------------------------------------------------------------------


def _from_lists(workspace: Object, rules: Rules, nodes: str, pods: str | None) -> Seen:
    from kaitoctl.cli import saved_lists
    from kaitoctl.kaito import api
    from kaitoctl.kaito import nodes as nodes_
    from kaitoctl.kube import trimmed

    decode = trimmed.node_list(nodes_.labels_read(workspace, rules))
    found = saved_lists.objects(nodes, "Node", option="--nodes", decode=decode)
    if pods is None:
        output.warning("GPUs in use are unknown: there is no --pods FILE")
        return Seen(found, None)
    everybody = saved_lists.objects(
        pods, "Pod", option="--pods", decode=trimmed.pod_list([api.LABEL_WORKSPACE])
    )
    others = nodes_.pods_of_others(workspace, everybody)
    return Seen(found, others, crowds=nodes_.crowds(workspace, everybody))


async def observe(client: Client, workspace: Object, rules: Rules) -> Seen:
    """Ask a cluster for just the nodes and pods that a verdict needs.

    Nodes are selected by the server: those with the Workspace's labels, those of its instance type, and the
    preferred ones by name. Where pods may not be listed, a warning says so.
    """
    from kaitoctl.kaito import nodes as nodes_
    from kaitoctl.kube import trimmed
    from kaitoctl.kube.objects import NODE, labels_of

    decode = trimmed.node_list(nodes_.labels_read(workspace, rules))
    preferred = nodes_.preferred_nodes(workspace)
    nodes: dict[str, Object] = {}
    everything = len(preferred) > _ONE_BY_ONE
    for listed in await _together(
        [
            lambda selector=selector: client.list(NODE, label_selector=selector, decode=decode)
            for selector in ([""] if everything else selectors(workspace, rules))
        ]
    ):
        nodes |= {str(node["metadata"]["name"]): node for node in listed.items}
    missing = [] if everything else [name for name in preferred if name not in nodes]
    for listed in await _together(
        [
            lambda name=name: client.list(NODE, field_selector=f"metadata.name={name}", decode=decode)
            for name in missing
        ]
    ):
        nodes |= {str(node["metadata"]["name"]): node for node in listed.items}
    names: tuple[str, ...] = ()
    if any(name not in nodes for name in missing):  # for "did you mean"
        listed = await client.list(NODE, decode=trimmed.node_list(()))
        names = tuple(str(node["metadata"]["name"]) for node in listed.items)
    # Of nodes without the labels a few will do, for so many may be advised to be labelled.
    asked, preferred_too = nodes_.labels_asked(workspace, rules), frozenset(preferred)
    carried = {name: labels_of(node) for name, node in nodes.items() if nodes_.offers_gpus(node)}
    names_asked = [
        name for name, have in carried.items() if name in preferred_too or asked.items() <= have.items()
    ]
    unlabelled = [
        name
        for name, have in carried.items()
        if name not in names_asked and nodes_.could_be_labelled(asked, have)
    ]
    names_asked += unlabelled[: max(0, min(_LABELS_ADVISED, _ONE_BY_ONE - len(names_asked)))]
    crowds: Counter[str] = Counter()
    pods = await pods_on(client, names_asked, seen=lambda pod: crowds.update(nodes_.crowds(workspace, [pod])))
    if pods is None:
        return Seen(list(nodes.values()), None, names, frozenset(names_asked))
    others = nodes_.pods_of_others(workspace, pods)
    return Seen(list(nodes.values()), others, names, frozenset(names_asked), crowds)


def selectors(workspace: Object, rules: Rules) -> list[str]:
    """Label selectors of the nodes that may matter; no node fits two of them."""
    from kaitoctl.kaito import api
    from kaitoctl.kaito import nodes as nodes_

    asked = list(nodes_.labels_asked(workspace, rules).items())
    found = [",".join(f"{key}={value}" for key, value in asked)] if asked else []
    if rules.is_byo:
        return found or [""]
    # Of the instance type, and without the first label; with it, and without the second...
    meant = nodes_.instance_types_meant(workspace)
    of_type = [
        f"{api.LABEL_INSTANCE_TYPE}={meant[0]}"
        if len(meant) == 1
        else f"{api.LABEL_INSTANCE_TYPE} in ({','.join(meant)})"
    ]
    if not asked:
        return of_type
    for number, (key, value) in enumerate(asked):
        has = [f"{earlier}={have}" for earlier, have in asked[:number]]
        found.append(",".join([*of_type, *has, f"{key}!={value}"]))
    return found


async def pods_on(
    client: Client,
    names: Sequence[str],
    *,
    seen: Callable[[Object], None] = lambda _: None,
) -> list[Object] | None:
    """The pods that hold accelerators, of any maker, on at least these nodes.

    None, with a warning, where pods may not be listed.

    Args:
        client: the cluster.
        names: of the nodes.
        seen: is shown every unfinished pod there, whatever it holds.
    """
    from kaitoctl.kaito import api
    from kaitoctl.kaito import nodes as nodes_
    from kaitoctl.kube import trimmed
    from kaitoctl.kube.objects import POD

    decode = trimmed.pod_list([api.LABEL_WORKSPACE])
    one_by_one = [f"spec.nodeName={name},{_UNFINISHED}" for name in names]

    def keep(pod: Object) -> bool:
        seen(pod)
        return nodes_.holds_devices(pod)

    try:
        lists = await _together(
            [
                lambda fields=fields: client.list(
                    POD,
                    field_selector=fields,
                    decode=decode,
                    keep=keep,
                )
                for fields in (one_by_one if len(names) <= _ONE_BY_ONE else [_UNFINISHED])
            ]
        )
    except ApiError as error:
        if error.status != 403:
            raise
        output.warning(
            "pods of all namespaces cannot be listed, so GPUs in use are unknown",
            hint="ask for the right to list pods: kubectl auth can-i list pods -A",
        )
        return None
    return [pod for listed in lists for pod in listed.items]


async def _together(askings: list[Callable[..., Any]]) -> list[Any]:
    """The answers of some requests, a few at a time."""
    import asyncio

    free = asyncio.Semaphore(_AT_A_TIME)

    async def ask(asking: Callable[..., Any]) -> Any:
        async with free:
            return await asking()

    return await asyncio.gather(*(ask(asking) for asking in askings))


# --- on a cluster ------------------------------------------------------------------------------------------


async def _on_cluster(
    target: Target, workspace: Object | None, name: str, version: str, provisioner: str, how: _How
) -> int:
    from kaitoctl.kaito import nodes as nodes_

    async with connected(target) as client:
        if workspace is None:
            workspace = await _from_cluster(client, name, version)
        elif workspace["metadata"].get("name"):
            workspace["metadata"].setdefault("namespace", client.namespace)
        rules = nodes_.rules_for(workspace, version, provisioner)
        verdict = await _verdict(client, workspace, rules)
        if how.fix:
            _tell_what_stays(verdict)
        if how.fix and (fixes := _fixes(verdict)):
            await _fix(client, fixes, how)
            if not how.dry_run:
                verdict = await _verdict(client, workspace, rules)
        elif how.fix:
            output.step("no label is missing that would help")
        if how.wait_s and not _is_enough(verdict, how):
            verdict = await _wait(client, workspace, rules, verdict, how)
        return _answer(workspace, verdict.addressed(target.addressed), how)


async def _verdict(client: Client, workspace: Object, rules: Rules) -> Verdict:
    verdict = (await observe(client, workspace, rules)).verdict(workspace, rules)
    return await sparing_others(client, workspace, verdict)


async def sparing_others(client: Client, workspace: Object, verdict: Verdict) -> Verdict:
    """The verdict, its advice leaving alone what other Workspaces hold or select.

    Of the nodes that it advises to change, as many are looked at as are needed and named; of the others
    nothing is advised but to look.
    """
    from kaitoctl.kaito import api, nodes_of_others
    from kaitoctl.kube import request
    from kaitoctl.kube.objects import NODE

    advised = nodes_of_others.advised(verdict)
    if not advised:
        return verdict
    names = advised[: verdict.missing + sum(node.preferred for node in verdict.nodes) + _SPARE]
    nodes = await _together(
        [lambda name=name: client.send(request.get(NODE, "", name)) for name in names]  # all their labels
    )
    pods = await pods_on(client, names)
    others: list[Object] = []
    try:
        others = (await client.list(api.WORKSPACE)).items
    except ApiError as error:
        if error.status not in (403, 404):
            raise
        if error.status == 403:
            output.warning("Workspaces of all namespaces cannot be listed: others may select these nodes")
    whose = nodes_of_others.taken(workspace, others, nodes, pods or ())
    return nodes_of_others.spared(verdict, whose, () if pods is None else names)


def _tell_what_stays(verdict: Verdict) -> None:
    """Nodes that the user named, lack labels and get none, because they are or may be somebody else's."""
    for node in verdict.nodes:
        if node.preferred and node.labels_to_set and not node.may_be_labelled:
            why = next((item.hint for item in node.failures if item.code.startswith("label-")), "")
            output.warning(f"{node.name}: its labels stay as they are", hint=why)


def _fixes(verdict: Verdict) -> dict[str, Mapping[str, str]]:
    """The labels to set, by node: on preferred nodes, and on as many others as are needed."""
    fixes = {
        node.name: node.labels_to_set
        for node in verdict.nodes
        if node.preferred and node.exists and node.may_be_labelled
    }
    fixes = {name: labels for name, labels in fixes.items() if labels}
    helped = sum(node.name in fixes and node.only_labels_are_wrong for node in verdict.nodes)
    still = max(0, verdict.missing - helped)
    for node in verdict.nodes:
        wrong = {finding.code for finding in node.failures}
        may = node.may_be_labelled and node.only_labels_are_wrong and wrong == {"label-missing"}
        if still and not node.preferred and may:
            fixes[node.name] = node.labels_to_set
            still -= 1
    return fixes


async def _fix(client: Client, fixes: Mapping[str, Mapping[str, str]], how: _How) -> None:
    from dataclasses import replace

    from kaitoctl.cli.create_workspace import FIELD_MANAGER
    from kaitoctl.kaito.nodes import plural
    from kaitoctl.kube import request
    from kaitoctl.kube.objects import NODE

    for node, labels in fixes.items():
        output.step(f"label node {node} {' '.join(f'{key}={value}' for key, value in labels.items())}")
    if not how.yes and not how.dry_run:
        if not sys.stdin.isatty():
            raise InputError("--fix asks before it writes, and nobody is here to answer", hint="add --yes")
        if not typer.confirm(f"Set these labels on {len(fixes)} {plural('node', len(fixes))}?", err=True):
            output.step("nothing was written")
            return
    for node, labels in fixes.items():
        patch = {"metadata": {"labels": dict(labels)}}
        asking = request.merge_patch(NODE, "", node, patch, manager=FIELD_MANAGER)
        if how.dry_run:
            asking = replace(asking, query={**asking.query, "dryRun": "All"})
        await client.send(asking)
        output.success(f"node/{node} labeled" + (" (server dry run)" if how.dry_run else ""))


async def _wait(client: Client, workspace: Object, rules: Rules, verdict: Verdict, how: _How) -> Verdict:
    """Judge again whenever something changes that counts, until there is enough or time is up."""
    import asyncio

    from kaitoctl.kaito import nodes as nodes_
    from kaitoctl.kube.objects import NODE, POD
    from kaitoctl.reconcile.informer import Change, Informer

    changed = asyncio.Event()

    def on_node(change: Change) -> None:
        if (
            change.old is None
            or change.new is None
            or nodes_.what_counts(change.old) != nodes_.what_counts(change.new)
        ):
            changed.set()

    def on_pod(change: Change) -> None:
        before, after = ((nodes_.gpus_held(pod) if pod else 0) for pod in (change.old, change.new))
        if before != after:
            changed.set()

    tasks: dict[str, asyncio.Task[None]] = {}

    def watch(informer: Informer, listener: Callable[[Change], None], key: str) -> None:
        informer.subscribe(listener)
        tasks[key] = asyncio.create_task(informer.run())

    refused = (400, 401, 403)
    for selector in selectors(workspace, rules):
        watch(Informer(client, NODE, label_selector=selector, gives_up_on=refused), on_node, f"l {selector}")
    for name in nodes_.preferred_nodes(workspace):
        fields = f"metadata.name={name}"
        watch(Informer(client, NODE, field_selector=fields, gives_up_on=refused), on_node, f"n {name}")
    output.step(f"waiting at most {options.elapsed(how.wait_s)}: {verdict.summary}")
    try:
        async with asyncio.timeout(how.wait_s):
            while not _is_enough(verdict, how):
                for node in verdict.nodes:  # who holds its GPUs is watched only where that is the question
                    held = any(finding.code == "gpus-in-use" for finding in node.findings)
                    if held and f"p {node.name}" not in tasks:
                        fields = f"spec.nodeName={node.name}"
                        pods = Informer(client, POD, field_selector=fields, gives_up_on=refused)
                        watch(pods, on_pod, f"p {node.name}")
                await changed.wait()
                await asyncio.sleep(_SETTLED_S)  # one change seldom comes alone
                changed.clear()
                now = await _verdict(client, workspace, rules)
                if now != verdict:
                    output.step(now.summary)
                verdict = now
    except TimeoutError:
        pass
    finally:
        for task in tasks.values():
            task.cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)
    return verdict


# --- the answer --------------------------------------------------------------------------------------------


def _is_enough(verdict: Verdict, how: _How) -> bool:
    return verdict.enough and not (how.strict and _warned(verdict))


def _warned(verdict: Verdict) -> int:
    """How many warnings there are about nodes that will be used, or that the user named."""
    chosen = set(verdict.selected)
    return sum(len(node.warnings) for node in verdict.nodes if node.preferred or node.name in chosen)


def _answer(workspace: Object, verdict: Verdict, how: _How) -> int:
    from kaitoctl.cli import node_table

    if how.output in ("json", "yaml"):
        value = node_table.as_json(verdict, _key(workspace))
        if how.output == "json":
            output.document(value)
        else:
            from kaitoctl.kube.documents import to_yaml

            output.data(to_yaml(value).rstrip("\n"))
    elif how.output == "short":
        output.data("\n".join(node_table.short(verdict)))
    else:
        screen = node_table.Screen.of_stdout()
        lines = node_table.report(verdict, _title(workspace, verdict), screen, wide=how.output == "wide")
        output.data("\n".join(lines))
    if how.strict and verdict.enough and (warned := _warned(verdict)):
        output.failure(f"{warned} warning{'s' if warned > 1 else ''}, and --strict")
    return 0 if _is_enough(verdict, how) else 1


def _key(workspace: Object) -> str:
    metadata = workspace["metadata"]
    name = metadata.get("name") or ""
    return f"{metadata.get('namespace') or 'default'}/{name}" if name else ""


def _title(workspace: Object, verdict: Verdict) -> str:
    from kaitoctl.kube.objects import dig

    parts = [f"Workspace {key}" if (key := _key(workspace)) else "No Workspace yet"]
    if preset := dig(workspace, "inference", "preset", "name"):
        parts.append(f"preset {preset}")
    if preset := dig(workspace, "tuning", "preset", "name"):
        parts.append(f"tuning of {preset}")
    parts.append(f"{verdict.required} x {verdict.instance_type or 'your own nodes'}")
    rules = verdict.rules
    by = "kaitoctl's controller" if rules.target == "kaitoctl" else f"KAITO {rules.target}"
    parts.append(f"as {by} would choose" + (f" ({rules.provisioner})" if rules.is_modern else ""))
    return ", ".join(parts)
