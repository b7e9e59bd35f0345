"""`kaitoctl create workspace`: render -> judge -> check nodes -> apply -> follow."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

import typer

from kaitoctl.cli import complete, options, output, pull_secrets
from kaitoctl.cli.catalog_options import CatalogFile
from kaitoctl.cli.connect import Context, Kubeconfig, Namespace, Sandbox, SandboxName, Target, connected
from kaitoctl.errors import ApiError, InputError, Interrupted, NegativeAnswer, Unreachable
from kaitoctl.kube import refusals

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kaitoctl.kaito.catalog import Catalog
    from kaitoctl.kaito.nodes import Verdict
    from kaitoctl.kaito.snapshot import Snapshot
    from kaitoctl.kaito.validation import Problem
    from kaitoctl.kube.client import Client
    from kaitoctl.kube.objects import Object, ObjectKey
    from kaitoctl.kube.request import Request

app = typer.Typer(help="Create objects.", no_args_is_help=True, rich_markup_mode=None, add_completion=False)

_TUNING_S = 24 * 3600.0

FIELD_MANAGER = "kaitoctl"


@dataclass(frozen=True, slots=True)
class _How:
    """What is to happen with the manifest."""

    dry_run: str
    output: str | None
    wait: bool
    timeout_s: float | None
    skip_node_check: bool
    force_conflicts: bool
    yes: bool


@app.callback()
def _create_group() -> None:
    """Create objects."""


@app.command("workspace")
def create_workspace(
    name: Annotated[str, typer.Argument(help="The Workspace's name.")],
    preset: Annotated[
        str | None,
        typer.Option("--preset", help="The model to serve.", metavar="NAME", autocompletion=complete.presets),
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
    count: Annotated[
        int | None, typer.Option("--count", help="Number of nodes (default: 1, or what the Workspace has).")
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option("--label", help="Label that nodes must carry (default: apps=NAME); may be repeated."),
    ] = None,
    preferred_node: Annotated[
        list[str] | None,
        typer.Option(
            "--preferred-node",
            help="A prepared node to use; may be repeated.",
            metavar="NODE",
            autocompletion=complete.nodes,
        ),
    ] = None,
    adapter: Annotated[
        list[str] | None,
        typer.Option(
            "--adapter",
            help="A LoRA adapter, NAME=IMAGE[,strength=S][,pull-secret=P]; may be repeated.",
            metavar="NAME=IMAGE",
        ),
    ] = None,
    image_pull_secret: Annotated[
        list[str] | None,
        typer.Option("--image-pull-secret", help="Pull secret of the private image; may be repeated."),
    ] = None,
    private_image: Annotated[
        str | None,
        typer.Option(
            "--private-image", help="Your own image of the preset (accessMode private).", metavar="IMAGE"
        ),
    ] = None,
    template: Annotated[
        str | None,
        typer.Option(
            "--template", help="A template: a file, or the name of a shipped one.", metavar="FILE|NAME"
        ),
    ] = None,
    set_value: Annotated[
        list[str] | None,
        typer.Option("--set", help="A variable for the template; may be repeated.", metavar="KEY=VALUE"),
    ] = None,
    values: Annotated[
        str | None,
        typer.Option("--values", help="Variables for the template, in YAML or JSON.", metavar="FILE"),
    ] = None,
    api_version: Annotated[
        str | None,
        typer.Option(
            "--api-version",
            help="v1alpha1 or v1beta1 (default: the newest that the cluster serves and that means the same; "
            "v1alpha1 with --dry-run=client).",
            metavar="VERSION",
        ),
    ] = None,
    catalog: CatalogFile = None,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    dry_run: Annotated[
        str, typer.Option("--dry-run", help="none, client (offline) or server.", metavar="MODE")
    ] = "none",
    output_format: Annotated[
        str | None,
        typer.Option("--output", "-o", help="Print the Workspace as yaml, json or name.", metavar="FORMAT"),
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Follow the rollout until it is ready.")
    ] = True,
    timeout: Annotated[
        str | None,
        typer.Option(
            "--timeout",
            help="How long to follow (default: the preset's budget and 10m for nodes; tuning: a day).",
        ),
    ] = None,
    skip_node_check: Annotated[
        bool, typer.Option("--skip-node-check", help="Apply even if the preferred nodes cannot be used.")
    ] = False,
    force_conflicts: Annotated[
        bool, typer.Option("--force-conflicts", help="Take over fields that another manager owns.")
    ] = False,
    yes: Annotated[
        bool,
        typer.Option("--yes", "-y", help="Skip the confirmation prompt (required without a terminal)."),
    ] = False,
    sandbox: Sandbox = False,
    sandbox_name: SandboxName = "default",
) -> None:
    """Create or change a Workspace, and follow its rollout.

    What no option names stays as it is in a Workspace that exists.

    Example: kaitoctl create workspace workspace-falcon-7b --preset falcon-7b
    --instance-type Standard_NC12s_v3 --label apps=falcon-7b --sandbox

    Without a cluster: add --dry-run=client -o yaml
    """
    from kaitoctl.cli.catalog_options import use
    from kaitoctl.kaito import api, convert, manifest

    options.one_of(dry_run, ("none", "client", "server"), option="--dry-run")
    if output_format is not None:
        options.one_of(output_format, ("yaml", "json", "name"), option="--output")
    if api_version is not None:
        options.one_of(api_version, api.VERSIONS, option="--api-version")
    known = use(catalog)
    extra = manifest.merged(_values(values), manifest.set_values(set_value or ()))
    if preset is None and template is None and "preset" not in extra:
        raise InputError("--preset is missing", hint="such as --preset falcon-7b")
    if image_pull_secret and not (private_image or template or "private_image" in extra):
        raise InputError(
            "--image-pull-secret is that of --private-image, which is missing",
            hint="an adapter's is named with it: --adapter NAME=IMAGE,pull-secret=SECRET",
        )
    how = _How(
        dry_run,
        output_format,
        wait,
        options.duration_s(timeout) if timeout else None,
        skip_node_check,
        force_conflicts,
        yes,
    )
    request = manifest.WorkspaceRequest(
        name=name,
        namespace=namespace or "",
        preset=preset or "",
        instance_type=instance_type,
        count=1 if count is None else count,
        labels=options.labels(label or [f"apps={name}"], option="--label" if label else "the default label"),
        preferred_nodes=tuple(preferred_node or ()),
        adapters=tuple(manifest.Adapter.parse(item) for item in adapter or ()),
        image_pull_secrets=tuple(image_pull_secret or ()),
        private_image=private_image,
        # KAITO v0.4.0 serves on vLLM unless told otherwise, and its vLLM server loads no adapters.
        annotations={api.ANNOTATION_RUNTIME: "transformers"} if adapter else {},
    )
    text, source = manifest.template_text(template) if template else (None, "template")
    if set_value:
        from kaitoctl.kaito import template_variables

        template_variables.insist(set_value, text)
    named = {"count"} if count is not None else set()
    named |= {"labels"} if label else set()

    def rendered(version: str, live: Object | None = None) -> Object:
        asked = replace(request, api_version=version)
        if live is not None:
            from kaitoctl.kaito import merging

            asked = merging.completed(asked, live, named)
        made = manifest.workspace(asked, text, extra, source=source)
        _insist_on_name(made, name, namespace)
        return made

    def chosen(served: Sequence[str]) -> str:
        """The version to render for; it is said when that is not the newest one."""
        if api_version is not None:
            return api_version
        texts = ("preset", "instance_type", "private_image")
        said = {key: extra[key] for key in texts if isinstance(extra.get(key), str)}
        version, reason = convert.chosen(replace(request, **said), served, known=known)
        if reason:
            output.step(f"writing {version}: {reason}")
        return version

    workspace = rendered(chosen(()))
    if dry_run == "client":
        _judge(workspace, known)
        _print(workspace, output_format, "created (client dry run)")
        return
    # What no option names, a Workspace that exists may have already.
    unsaid = {
        "resource.count": count is None,
        "resource.labelSelector": not label,
        "resource.instanceType": instance_type is None,
        "inference.preset.accessMode": private_image is None,
        "inference.preset.presetOptions": private_image is None,
    }
    _judge(workspace, known, quietly=True, but=tuple(path for path, is_open in unsaid.items() if is_open))
    import asyncio  # 20 ms that a dry run need not pay

    target = Target(namespace, context, kubeconfig, sandbox, sandbox_name)
    wanted = _Wanted(
        name,
        str(workspace["metadata"].get("namespace") or ""),
        api_version,
        lambda served: rendered(chosen(served)),
        lambda live: rendered(str(live["apiVersion"]).rpartition("/")[2], live),
        frozenset(
            one.name for one, text in zip(request.adapters, adapter or (), strict=True) if _is_mute(text)
        ),
        known,
    )
    try:
        asyncio.run(_create(target, wanted, how))
    except KeyboardInterrupt:
        hint = f"what was applied goes on; kaitoctl status {name}{target.in_namespace()} -w follows it"
        raise Interrupted("interrupted", hint=target.addressed(hint)) from None


def _is_mute(adapter: str) -> bool:
    """Whether an `--adapter` does not say how strong."""
    return not any(part.startswith("strength=") for part in adapter.split(",")[1:])


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What is asked for, before anybody knows whether it is there.

    Args:
        name: of the Workspace.
        namespace: of it; empty for that of the context.
        api_version: to write in; None chooses.
        new: given the served versions, the manifest of a Workspace that is not there.
        upon: given the Workspace that is there, the manifest in its version.
        without_strength: the adapters of which nobody said how strong.
        known: presets and instance types.
    """

    name: str
    namespace: str
    api_version: str | None
    new: Callable[[Sequence[str]], Object]
    upon: Callable[[Object], Object]
    without_strength: frozenset[str]
    known: Catalog


def _insist_on_name(made: Object, name: str, namespace: str | None) -> None:
    """A template may add a lot, but not make another Workspace than the one asked for."""
    metadata = made.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    if metadata.get("name") != name:
        raise InputError(
            f"the template makes a Workspace named {metadata.get('name')!r}, and not {name!r}",
            hint="write  name: {{ name }}  in it",
        )
    if not metadata.get("namespace"):
        metadata.pop("namespace", None)
    elif namespace is not None and metadata["namespace"] != namespace:
        raise InputError(
            f"the template's namespace {metadata['namespace']!r} is not that of --namespace {namespace}",
            hint="leave metadata.namespace out of it",
        )


def _values(path: str | None) -> Object:
    """The variables in a file of the user's.

    Raises:
        InputError: the file cannot be read, or is not one map.
    """
    if path is None:
        return {}
    from kaitoctl.cli.files import text_of
    from kaitoctl.kube.documents import load_yaml

    documents = load_yaml(text_of(path, option="--values"), path)
    if len(documents) > 1:
        raise InputError(f"--values {path}: {len(documents)} documents; one is expected")
    return documents[0] if documents else {}


async def _create(target: Target, wanted: _Wanted, how: _How) -> None:
    from kaitoctl.cli import change_workspace, follow
    from kaitoctl.kube.objects import key_of

    async with connected(target) as client:
        served = await served_versions(client)
        namespace = wanted.namespace or client.namespace
        before = await change_workspace.found(client, wanted.name, namespace)
        if before is None:
            workspace = wanted.new(served)
            workspace["metadata"].setdefault("namespace", namespace)
            _judge(workspace, wanted.known, of_sandbox=target.sandbox)
        else:
            before = await _in_version(client, before, wanted.api_version)
            workspace = wanted.upon(before)
            workspace["metadata"].setdefault("namespace", namespace)
        await _check_nodes(client, target, workspace, skip=how.skip_node_check)
        await pull_secrets.insist(client, target, workspace)
        if before is None:
            live, word = await _applied(client, workspace, how), "created"
        else:
            asked = change_workspace.Asked(
                wanted.upon,
                wanted.without_strength,
                wanted.known,
                how.dry_run == "server",
                how.yes,
                how.force_conflicts,
            )
            live, word = await change_workspace.change(client, target, before, asked)
        _print(live, how.output, word + (" (server dry run)" if how.dry_run == "server" else ""))
        if how.dry_run != "none" or not how.wait:
            return
        timeout_s = how.timeout_s or following_s(wanted.known, live)
        try:
            seen = await follow.rollout(client, target, key_of(live), timeout_s=timeout_s)
        except (ApiError, Unreachable) as error:
            error.message = (
                f"Workspace {key_of(live)} exists ({word}), and cannot be followed: {error.message}"
            )
            error.hint = f"kaitoctl status {wanted.name} -n {namespace} -w follows it again"
            raise
        if how.output is None:
            await _show_result(client, seen)


async def served_versions(client: Client) -> list[str]:
    """The Workspace versions that the cluster serves, oldest first; none when it will not say."""
    from kaitoctl.kaito import api
    from kaitoctl.kube.request import Request

    try:
        return api.served_versions(await client.send(Request("GET", f"/apis/{api.GROUP}")))
    except ApiError as error:
        if error.status == 403:
            return []
        raise (missing_crd() if error.status == 404 else explained(error)) from error


# --- judge -------------------------------------------------------------------------------------------------


def _judge(
    workspace: Object,
    known: Catalog,
    *,
    quietly: bool = False,
    of_sandbox: bool = False,
    but: tuple[str, ...] = (),
) -> None:
    """Refuse what the schema or KAITO's rules refuse; warn of what they accept and then ignore.

    In the sandbox kaitoctl's own controller serves, whose presets are those of KAITO up to v0.4.

    Args:
        workspace: the manifest.
        known: presets and instance types.
        quietly: whether to keep warnings for later.
        of_sandbox: whether a sandbox is to take it.
        but: the fields that are judged later.
    """
    from kaitoctl.kaito import validation

    setting = validation.Setting(validation.OWN) if of_sandbox else None
    problems = validation.judge(workspace, setting, known=known)
    errors = [item for item in problems if item.severity == "error" and not item.path.startswith(but)]
    for problem in problems:
        if problem.severity == "warning" and not quietly:
            output.warning(_line(problem), hint=problem.hint)
    if not errors:
        return
    metadata = workspace.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    what = f"Workspace {name}" if name else "the Workspace"
    if len(errors) == 1:
        raise InputError(f"{what}: {_line(errors[0])}", hint=errors[0].hint)
    lines = [_line(problem) + (f" ({problem.hint})" if problem.hint else "") for problem in errors]
    raise InputError(f"{what} has {len(errors)} problems; nothing was written", problems=lines)


def _line(problem: Problem) -> str:
    return f"{problem.path}: {problem.message}" if problem.path else problem.message


def budget_s(known: Catalog, preset: str) -> float:
    """The preset's own readiness budget, and ten minutes for nodes to come up."""
    found = known.preset(preset) or known.model(preset)
    return (found.readiness_timeout_s if found else 1800) + 600.0


def following_s(known: Catalog, workspace: Object) -> float:
    """How long to follow a rollout if nobody says; how long tuning takes depends on its data."""
    from kaitoctl.kube.objects import dig

    if workspace.get("tuning"):
        return _TUNING_S
    return budget_s(known, str(dig(workspace, "inference", "preset", "name") or ""))


# --- nodes -------------------------------------------------------------------------------------------------


async def _check_nodes(client: Client, target: Target, workspace: Object, *, skip: bool) -> None:
    """Look at the preferred nodes before KAITO does, because KAITO drops them without a word."""
    from kaitoctl.kaito import nodes as nodes_

    names = nodes_.preferred_nodes(workspace)
    if not names or skip:
        return
    output.step(f"checking {len(names)} preferred node{'s' if len(names) > 1 else ''}")
    try:
        verdict = await _verdict(client, workspace)
    except ApiError as error:
        if error.status != 403:
            raise
        output.warning(f"nodes cannot be checked: {error}", hint="continuing without; see --skip-node-check")
        return
    for sentence in verdict.unusable_preferred:
        output.failure(sentence)
    for node in verdict.nodes:
        for finding in node.failures if node.preferred else ():
            if finding.command:
                output.note(target.addressed(finding.command))
    usable = [node.name for node in verdict.nodes if node.preferred and node.usable]
    if len(usable) < len(names):
        raise NegativeAnswer(
            f"{len(usable)} of {len(names)} preferred nodes can be used; nothing was written",
            hint="fix the nodes as shown above, or apply all the same with --skip-node-check",
        )
    output.success(f"preferred nodes can be used: {', '.join(usable)}")


async def _verdict(client: Client, workspace: Object) -> Verdict:
    """The same look at the cluster, and the same judgement, as `kaitoctl check-nodes`."""
    from kaitoctl.cli.check_nodes import observe, sparing_others
    from kaitoctl.kaito import nodes as nodes_

    verdict = (await observe(client, workspace, nodes_.OWN_RULES)).verdict(workspace, nodes_.OWN_RULES)
    return await sparing_others(client, workspace, verdict)


# --- apply -------------------------------------------------------------------------------------------------


async def _applied(client: Client, workspace: Object, how: _How) -> Object:
    """Create the Workspace by server-side apply; one that somebody else makes meanwhile stays as it is."""
    from kaitoctl.cli import certain
    from kaitoctl.kaito import api
    from kaitoctl.kube import managed_fields, request
    from kaitoctl.kube.objects import key_of

    kind, key = api.kind_of(workspace), key_of(workspace)
    asked = request.apply(
        kind, workspace, manager=FIELD_MANAGER, dry_run=how.dry_run == "server", only_new=True
    )

    def is_done(now: Object | None) -> bool:
        return now is not None and bool(managed_fields.applied(now, FIELD_MANAGER))

    try:
        return await certain.applied(client, asked, kind, key, is_done=is_done, word="created")
    except ApiError as error:
        if refusals.kind_of(error) == "stale":
            error.hint = (
                f"somebody else has just made a Workspace {key}; the same command again changes that one"
            )
        raise explained(error, namespace=key.namespace) from error


async def _in_version(client: Client, live: Object, version: str | None) -> Object:
    """The Workspace in the version that somebody wants to write, if that costs it nothing."""
    from kaitoctl.kaito import api
    from kaitoctl.kube import request
    from kaitoctl.kube.objects import key_of

    if version is None or api.kind_of(live).version == version:
        if version == api.WORKSPACE.version:
            await _insist_that_nothing_is_lost(client, key_of(live))
        return live
    kind = replace(api.WORKSPACE, version=version)
    if kind == api.WORKSPACE:
        await _insist_that_nothing_is_lost(client, key_of(live))
    try:
        now = await client.send(request.get(kind, *key_of(live)))
    except ApiError as error:
        raise explained(error) from error
    return {"apiVersion": kind.api_version, "kind": kind.kind, **now}


async def _insist_that_nothing_is_lost(client: Client, key: ObjectKey) -> None:
    """Refuse to write a Workspace in v1alpha1 when what it has of v1beta1 would go without a word.

    Raises:
        InputError: it has such fields.
    """
    from kaitoctl.kaito import api, convert
    from kaitoctl.kube import request

    try:
        stored = await client.send(request.get(api.WORKSPACE_V1BETA1, *key))
    except ApiError as error:
        if error.status == 404:
            return  # v1beta1 is not served, or the Workspace is gone
        raise
    if lost := convert.lost_by_writing(stored, api.WORKSPACE.version):
        raise InputError(
            f"Workspace {key} has {' and '.join(lost)}, which a write in v1alpha1 would take away",
            hint="--api-version v1beta1 keeps it",
        )


async def present(client: Client, asking: Request) -> Object | None:
    """The answer, None when there is no such object."""
    try:
        return await client.send(asking)
    except ApiError as error:
        if error.status == 404 and not error.is_unknown_resource:
            return None
        raise


def explained(
    error: ApiError,
    *,
    namespace: str = "",
    rights: str = "ask for the rights get, create and patch on workspaces.kaito.sh in this namespace",
) -> ApiError:
    """The same refusal, with what the user can do about it.

    Args:
        error: the refusal.
        namespace: where it was.
        rights: all that the command takes, said instead of the first one that was missing.
    """
    if error.is_unknown_resource:
        return missing_crd()
    if refusals.kind_of(error) == "rights":
        error.hint = rights
    elif not error.hint:
        error.hint = refusals.hint_of(error, namespace)
    return error


def missing_crd() -> ApiError:
    """The error of a cluster that does not know Workspaces, with the way to teach it."""
    from kaitoctl import packaged

    schema = packaged.folder("schemas") / "kaito.sh_workspaces.yaml"
    return ApiError(
        404,
        "NotFound",
        "this cluster does not know Workspaces (kaito.sh/v1alpha1): its CRD is not installed",
        hint=f"kubectl apply --server-side -f {schema}",
    )


# --- show --------------------------------------------------------------------------------------------------


def _print(workspace: Object, output_format: str | None, word: str) -> None:
    if output_format is None:
        output.data(f"{output.resource_name(workspace)} {word}")
        return
    clean = dict(workspace)
    clean["metadata"] = {key: value for key, value in workspace["metadata"].items() if key != "managedFields"}
    output.objects([clean], output_format)
    if output_format != "name" and "client" not in word:
        output.success(f"{output.resource_name(workspace)} {word}")


async def _show_result(client: Client, seen: Snapshot) -> None:
    """What there is now, and where to send prompts."""
    from kaitoctl.kube import pods, request, workloads
    from kaitoctl.kube.objects import SERVICE, dig, key_of

    assert seen.workspace is not None
    key = key_of(seen.workspace)
    rows = [(output.resource_name(claim), str(dig(claim, "status", "nodeName"))) for claim in seen.claims]
    for item in seen.workloads:
        ready = dig(item, "status", "readyReplicas") or 0
        rows.append((output.resource_name(item), f"{ready}/{workloads.replicas(item)} ready"))
    for pod in seen.pods:
        where = dig(pod, "spec", "nodeName")
        rows.append((output.resource_name(pod), f"{pods.summary(pod)} on {where}"))
    try:
        service = await present(client, request.get(SERVICE, key.namespace, key.name))
    except ApiError:  # who may create Workspaces need not be allowed to look at Services
        service = None
    if service:
        address, port = dig(service, "spec", "clusterIP"), dig(service, "spec", "ports", 0, "port") or 80
        rows.append((output.resource_name(service), f"{address}:{port}"))
    output.table(("OBJECT", "DETAILS"), rows)
    if service:
        output.data(f"endpoint: http://{key.name}.{key.namespace}.svc:{port}/chat")
