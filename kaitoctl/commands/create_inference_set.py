"""`kaitoctl create inference-set`: render -> judge -> apply -> follow."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from kaitoctl.advice import Command
from kaitoctl.commands import (
    certain_write,
    follow_fleet,
    invocation,
    named_objects,
    option_values,
    plan_effects,
)
from kaitoctl.commands.asked_context import as_webhook_sees
from kaitoctl.commands.cluster import connected, explain_refusal, field_manager, served_versions
from kaitoctl.commands.kaito_detection import as_said
from kaitoctl.commands.option_values import ManagedBy
from kaitoctl.commands.target import Target
from kaitoctl.commands.target_release import check_manager
from kaitoctl.commands.workspace_options import SetOptions
from kaitoctl.errors import ApiError, InputError
from kaitoctl.kaito import (
    api,
    catalog_file,
    images,
    manifest,
    prices,
    template_variables,
    templates,
    validation,
)
from kaitoctl.kaito.fleet import kinds
from kaitoctl.kaito.fleet import validation as of_fleets
from kaitoctl.kaito.fleet.replicas import workspace_of
from kaitoctl.kaito.template_rendering import render
from kaitoctl.kube import managed_fields, request
from kaitoctl.kube.objects import key_of, with_type
from kaitoctl.screens import output

if TYPE_CHECKING:
    from kaitoctl.kaito.catalog import Catalog
    from kaitoctl.kube.client import Client
    from kaitoctl.kube.objects import Object

_TEMPLATE = "inference-set"


def create_inference_set(*, name: str, given: SetOptions, managed: ManagedBy, target: Target) -> int:
    """Create an InferenceSet, and follow it until all replicas are ready."""
    option_values.one_of(given.dry_run, ("none", "client", "server"), option="--dry-run")
    if given.output_format is not None:
        option_values.output_format(given.output_format, ("yaml", "json", "name"))
    option_values.one_of(given.api_version, kinds.VERSIONS[api.INFERENCE_SET.kind], option="--api-version")
    timeout_s = option_values.duration_s(given.timeout) if given.timeout else None
    known = catalog_file.read(given.catalog)
    made = _render(name, given, target)
    check_manager(managed)
    release = managed.target_version or (validation.OWN if target.sandbox else None)
    _judge(
        made,
        validation.Setting(release, byo=managed.byo, catalog=known, provisioner=managed.node_provisioner),
        quietly=given.dry_run != "client",  # the cluster's rules have the last word
    )
    if given.dry_run == "client":
        output.report_write(made, given.output_format, "created (client dry run)", narrates=False)
        return 0
    try:
        return asyncio.run(_create(target, made, given, timeout_s, known, managed))
    except KeyboardInterrupt:
        look = Command("kaitoctl status", name, *target.in_namespace)
        raise invocation.interrupted(
            target.text("what was already applied stays; " + look + " shows it")
        ) from None


def _render(name: str, given: SetOptions, target: Target) -> Object:
    """The manifest that the options describe.

    Raises:
        InputError: an option is missing or not valid.
    """
    if given.preset is None:
        raise InputError("--preset is missing", hint="such as --preset phi-4-mini-instruct")
    images.insist_on_registry(given.registry)
    if given.replicas < 0:
        raise InputError(f"--replicas {given.replicas}: must not be negative")
    asked = manifest.WorkspaceRequest(
        name=name,
        namespace=target.namespace or "",
        preset=given.preset,
        instance_type=given.instance_type,
        labels=option_values.labels(given.label or [f"apps={name}"], option="--label"),
        adapters=tuple(manifest.Adapter.parse(item) for item in given.adapter or ()),
        api_version=given.api_version,
    )
    values = {**manifest.values_of(asked), "replicas": given.replicas}
    for adapter, text in zip(values["adapters"], given.adapter or (), strict=True):
        if not any(part.startswith("strength=") for part in text.split(",")[1:]):
            adapter["strength"] = ""  # vLLM has none, and KAITO refuses one
    text, source = templates.text_of(_TEMPLATE)
    items = given.set_value or ()
    template_variables.insist(template_variables.by_set(items), text)
    made = render(text, manifest.merge_deeply(values, template_variables.set_values(items)), source=source)
    if given.registry:
        made["spec"]["template"] = images.with_mirrored_images(made["spec"]["template"], given.registry)
    return made


def _judge(made: Object, setting: validation.Setting, *, quietly: bool = False) -> None:
    name = made["metadata"]["name"]
    problems = of_fleets.judge(made, setting)
    for problem in problems:
        if problem.severity == "warning" and not quietly:
            output.warning(problem.text, hint=problem.hint)
    lines = [item.line for item in problems if item.severity == "error"]
    if lines:
        number = f"{len(lines)} problem{'' if len(lines) == 1 else 's'}"
        raise InputError(f"InferenceSet {name} has {number}; nothing was written", problems=lines)


async def _create(
    target: Target,
    made: Object,
    given: SetOptions,
    timeout_s: float | None,
    known: Catalog,
    managed: ManagedBy,
) -> int:
    costs = prices.read_prices(given.prices)
    async with connected(target) as client:
        # A server that says nothing is found out before anything is written.
        served = await served_versions(client)
        made["metadata"].setdefault("namespace", client.namespace)
        setting = (await as_said(client, managed, served, is_sandbox=target.sandbox)).setting(known)
        _judge(made, await as_webhook_sees(client, setting, made))
        live = await _applied(client, made, dry_run=True)
        await named_objects.require(client, target, workspace_of(live))
        skips = given.yes or given.dry_run != "none"
        await plan_effects.agree_to_new(client, target, live, known, costs, skips=skips, managed=managed)
        if given.dry_run != "server":
            live = await _applied(client, made, dry_run=False)
        note = option_values.dry_run_note(given.dry_run)
        output.report_write(live, given.output_format, f"created{note}")
        if given.dry_run == "server" or not given.wait:
            return 0
        key = key_of(live)
        await follow_fleet.until_ready(client, target, key, timeout_s=timeout_s, catalog=known)
        output.next_command(target.text(Command("kaitoctl endpoint", key.name, "-n", key.namespace)))
    return 0


async def _applied(client: Client, made: Object, *, dry_run: bool) -> Object:
    """Create the set by server-side apply; one that is there already stays as it is.

    Raises:
        ApiError: there is one, or the server refuses.
    """
    kind, key = kinds.kind_of(made), key_of(made)
    asked = request.apply(kind, made, manager=field_manager(), dry_run=dry_run, only_new=True)
    try:
        answer = await certain_write.sent(
            client, asked, kind, key, is_done=lambda now: _is_ours(now), word="created"
        )
    except ApiError as error:
        if error.status == 409:
            error.message = f"there is an InferenceSet {key} already; it stays as it is"
            edit = Command("kaitoctl edit", f"inferenceset/{key.name}", "-n", key.namespace)
            error.hint = edit + " changes it"
            raise
        raise explain_refusal(error, namespace=key.namespace) from error
    return with_type(kind, answer)


def _is_ours(now: Object | None) -> bool:
    return now is not None and bool(managed_fields.applied_fields(now, field_manager()))
