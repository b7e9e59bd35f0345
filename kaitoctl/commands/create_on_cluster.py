"""`create workspace` on a cluster: check nodes, apply, follow; one that is there already is changed."""

from __future__ import annotations

import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from msgspec.structs import replace

from kaitoctl.advice import Command
from kaitoctl.commands import (
    adapter_messages,
    certain_write,
    change_workspace,
    follow,
    named_objects,
    observe_adapters,
    plan_effects,
    smoke_test,
)
from kaitoctl.commands.cluster import connected, explain_refusal, field_manager, present, served_versions
from kaitoctl.commands.follow import following_s
from kaitoctl.commands.kaito_detection import as_said, rules_in
from kaitoctl.commands.new_manifest import ManifestOptions, RequestedManifest, judge, show
from kaitoctl.commands.observe_adapters import find_workspace
from kaitoctl.commands.option_values import ManagedBy, dry_run_note
from kaitoctl.commands.target import Target
from kaitoctl.commands.wait_for_nodes import verdict_now
from kaitoctl.errors import ApiError, InputError, NegativeAnswer, Unreachable
from kaitoctl.kaito import adapter_rollout, api, convert, model_protocols, node_check, prices
from kaitoctl.kaito.serving import local_address
from kaitoctl.kaito.validation import OWN
from kaitoctl.kube import managed_fields, pod_state, refusal_hints, request, workloads
from kaitoctl.kube.objects import SERVICE, dig, key_of, with_type
from kaitoctl.screens import output

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from kaitoctl.kaito.snapshot import Snapshot
    from kaitoctl.kaito.validation import Setting
    from kaitoctl.kube.client import Client
    from kaitoctl.kube.objects import Object, ObjectKey


async def create(target: Target, wanted: RequestedManifest, how: ManifestOptions) -> None:
    """Create the Workspace, or change the one that is there, and follow its rollout."""
    costs = prices.read_prices(how.prices)
    async with _connected(target, wanted.refusal) as (client, served):
        namespace = wanted.namespace or client.namespace
        before = await find_workspace(client, wanted.name, namespace)
        setting = await _setting(client, target, served, wanted, how.managed)
        if before is None:
            workspace = wanted.new(served, setting)
            workspace["metadata"].setdefault("namespace", namespace)
            if setting.byo or dig(workspace, "inference", "config") or dig(workspace, "tuning", "config"):
                from kaitoctl.commands.asked_context import as_webhook_sees  # most have neither

                setting = await as_webhook_sees(client, setting, workspace)
            judge(workspace, setting)
        else:
            before = await _in_version(client, before, wanted.api_version)
            workspace = wanted.upon(before, setting)
            workspace["metadata"].setdefault("namespace", namespace)
        await _check_nodes(client, target, workspace, setting, skip=how.skip_node_check)
        await named_objects.require(client, target, workspace, before)
        if before is None:
            trial = await _apply(client, workspace, dry_run=True)
            skips = how.yes or how.dry_run != "none"
            await plan_effects.agree_to_new(
                client, target, trial, wanted.known, costs, skips=skips, managed=how.managed
            )
            is_trial = how.dry_run == "server"
            live = trial if is_trial else await _apply(client, workspace, dry_run=False)
            word = "created"
        else:
            asked = change_workspace.ChangeRequest(
                lambda live: wanted.upon(live, setting),
                wanted.without_strength,
                setting,
                how.dry_run == "server",
                how.yes,
                how.force_conflicts,
                how.replace,
                costs,
                how.managed,
            )
            live, word = await change_workspace.change(client, target, before, asked)
        show(live, how.output, word + dry_run_note(how.dry_run))
        if how.dry_run != "none" or not how.wait:
            return
        seen = await _follow(client, target, live, wanted, how, word)
        if how.output is None:
            await _show_result(client, target, seen)
        await _prove(client, target, seen, how)


@asynccontextmanager
async def _connected(target: Target, refusal: InputError | None) -> AsyncIterator[tuple[Client, list[str]]]:
    """A client and the versions served; where there is no cluster, what is wrong with the manifest."""
    is_there = False
    try:
        async with connected(target) as client:
            served = await served_versions(client)
            is_there = True
            yield client, served
    except (InputError, Unreachable):
        if refusal is None or is_there:
            raise
        raise refusal from None


async def _follow(
    client: Client, target: Target, live: Object, wanted: RequestedManifest, how: ManifestOptions, word: str
) -> Snapshot:
    """What there is once the Workspace is ready; an error says that it was written all the same."""
    key = key_of(live)
    timeout_s = how.timeout_s or following_s(wanted.known, live)
    try:
        return await follow.rollout(
            client, target, key, timeout_s=timeout_s, catalog=wanted.known, managed=how.managed
        )
    except (ApiError, Unreachable) as error:
        error.message = f"Workspace {key} was {word}, but its rollout cannot be followed: {error.message}"
        error.hint = Command("kaitoctl status", key.name, "-n", key.namespace, "-w") + " follows it again"
        raise


async def _setting(
    client: Client, target: Target, served: list[str], wanted: RequestedManifest, managed: ManagedBy
) -> Setting:
    """Who is to serve the Workspace: whom the user names, else the sandbox's controller or the cluster's."""
    found = await as_said(client, managed, served, is_sandbox=target.sandbox)
    if found.target == OWN:
        found.byo = bool(found.byo)  # its flags say it, or it makes nodes
    return found.setting(wanted.known)


async def _check_nodes(
    client: Client, target: Target, workspace: Object, setting: Setting, *, skip: bool
) -> None:
    """Look at the preferred nodes before KAITO does, because KAITO drops them without a word."""
    names = node_check.preferred_nodes(workspace)
    if not names or skip:
        return
    output.step(f"checking {len(names)} preferred node{'s' if len(names) > 1 else ''}")
    try:
        rules = rules_in(setting, workspace)
        if dig(workspace, "inference", "config"):
            from kaitoctl.commands.asked_context import context_on_cluster  # most name none

            rules = replace(rules, context=await context_on_cluster(client, workspace, (), rules))
        verdict = await verdict_now(client, workspace, rules)
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
                output.command(target.text(finding.command))
    usable = [node.name for node in verdict.nodes if node.preferred and node.usable]
    if len(usable) < len(names):
        raise NegativeAnswer(
            f"{len(usable)} of {len(names)} preferred nodes can be used; nothing was written",
            hint="fix the nodes as shown above, or apply all the same with --skip-node-check",
        )
    output.success(f"preferred nodes can be used: {', '.join(usable)}")


async def _apply(client: Client, workspace: Object, *, dry_run: bool) -> Object:
    """Create the Workspace by server-side apply; one that somebody else makes meanwhile stays as it is."""
    kind, key = api.kind_of(workspace), key_of(workspace)
    asked = request.apply(kind, workspace, manager=field_manager(), dry_run=dry_run, only_new=True)

    def is_done(now: Object | None) -> bool:
        return now is not None and bool(managed_fields.applied_fields(now, field_manager()))

    try:
        return await certain_write.sent(client, asked, kind, key, is_done=is_done, word="created")
    except ApiError as error:
        if refusal_hints.is_stale(error):
            error.hint = (
                f"somebody else has just created a Workspace {key}; the same command again changes that one"
            )
        raise explain_refusal(error, namespace=key.namespace) from error


async def _in_version(client: Client, live: Object, version: str | None) -> Object:
    """The Workspace in the version that somebody wants to write, if that costs it nothing."""
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
        raise explain_refusal(error) from error
    return with_type(kind, now)


async def _insist_that_nothing_is_lost(client: Client, key: ObjectKey) -> None:
    """Refuse to write a Workspace in v1alpha1 when what it has of v1beta1 would go without a word.

    Raises:
        InputError: it has such fields.
    """
    try:
        stored = await client.send(request.get(api.WORKSPACE_V1BETA1, *key))
    except ApiError as error:
        if error.status == 404:
            return  # v1beta1 is not served, or the Workspace is gone
        raise
    if lost := convert.lost_by_writing(stored, api.WORKSPACE.version):
        raise InputError(
            f"Workspace {key} has {' and '.join(lost)}, which a write in v1alpha1 would drop",
            hint="--api-version v1beta1 keeps it",
        )


async def _prove(client: Client, target: Target, seen: Snapshot, how: ManifestOptions) -> None:
    """Ready is not the end: the adapters are loaded, and a prompt is answered, as far as anybody may ask.

    Raises:
        NegativeAnswer: it is not so.
    """
    assert seen.workspace is not None
    if dig(seen.workspace, "inference", "adapters") and "pods" not in seen.unseen:
        rows, why = await observe_adapters.proof(client, seen.workspace, adapter_rollout.current(seen.pods))
        adapter_messages.insist_on_loaded(rows, why, quietly=how.output is not None)
    if seen.workspace.get("inference"):
        await smoke_test.run(client, target, seen, is_asked_for=how.smoke_test)


async def _show_result(client: Client, target: Target, seen: Snapshot) -> None:
    """What there is now, and where to send prompts."""
    assert seen.workspace is not None
    key = key_of(seen.workspace)
    rows = [(output.resource_name(claim), str(dig(claim, "status", "nodeName"))) for claim in seen.claims]
    for item in seen.workloads:
        ready = dig(item, "status", "readyReplicas") or 0
        rows.append((output.resource_name(item), f"{ready}/{workloads.replicas(item)} ready"))
    for pod in seen.pods:
        where = dig(pod, "spec", "nodeName")
        rows.append((output.resource_name(pod), f"{pod_state.summary(pod)} on {where}"))
    try:
        service = await present(client, request.get(SERVICE, key.namespace, key.name))
    except ApiError:  # who may create Workspaces need not be allowed to look at Services
        service = None
    if service:
        address, port = dig(service, "spec", "clusterIP"), dig(service, "spec", "ports", 0, "port") or 80
        rows.append((output.resource_name(service), f"{address}:{port}"))
    if not output.is_redrawn(sys.stderr) or not sys.stdout.isatty():  # the last picture has them all
        output.table(("OBJECT", "DETAILS"), rows)
    if service:
        path = model_protocols.path_of(
            model_protocols.protocol_of(seen.workspace, seen.workloads, seen.catalog)
        )
        inside = f"http://{key.name}.{key.namespace}.svc:{port}"
        output.data(f"endpoint: {local_address(service, client.host) or inside}{path}")
        if target.sandbox and not local_address(service, client.host):
            output.note("its pods are simulated: nothing answers there")
            following = Command("kaitoctl sandbox model list")
        else:
            following = Command("kaitoctl chat", key.name, "-n", key.namespace, "What is Kubernetes?")
        output.next_command(target.text(following))
