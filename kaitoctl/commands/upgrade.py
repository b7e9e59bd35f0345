"""`kaitoctl upgrade`: what another release of KAITO does to Workspaces, and whether it has been done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from kaitoctl.advice import Command, text
from kaitoctl.commands import invocation, option_values, plan_documents, plan_world
from kaitoctl.commands.asked_context import contexts_on_cluster
from kaitoctl.commands.cluster import connected, served_versions, workspace_kind
from kaitoctl.commands.kaito_detection import kaito_here, rules_in
from kaitoctl.commands.option_values import ManagedBy
from kaitoctl.commands.overview import observe_overview
from kaitoctl.errors import ExitCode, InputError, NegativeAnswer
from kaitoctl.kaito import (
    api,
    catalog_file,
    convert,
    installation,
    node_claims,
    planning,
    upgrade,
    validation,
)
from kaitoctl.kaito.validation import releases
from kaitoctl.kube.objects import DEPLOYMENT, POD, STATEFUL_SET, dig, is_controlled_by, key_of, uid_of
from kaitoctl.screens import markdown, output, upgrade_screen
from kaitoctl.screens.layout import Paragraph, indented
from kaitoctl.workspace_controller.stores import bought_for, machine_stays, workspace_of_labels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kaitoctl.commands.option_values import Manifests
    from kaitoctl.commands.target import Target
    from kaitoctl.kaito.catalog import Catalog
    from kaitoctl.kaito.upgrade import Effect
    from kaitoctl.kube.objects import Object

_TO = "v0.12"
_FROM = "v0.4"


class _UpgradeRequest(Struct, frozen=True):
    """Which upgrade.

    Args:
        to: the release that is to come.
        now: the one that there is; None asks the cluster.
        known: presets, models and instance types.
        provisioner: KAITO's, as it is going to run; empty for the one that there is.
    """

    to: str
    now: str | None
    known: Catalog
    provisioner: str


def plan(
    *,
    to: str,
    given: Manifests,
    now: str | None,
    provisioner: str | None,
    output_format: str,
    catalog: str | None,
    target: Target,
) -> int:
    """Say what the upgrade does to the Workspaces of files, or of the cluster."""
    option_values.output_format(output_format, ("text", "json", "yaml", "name", "markdown", "manifests"))
    asked = _UpgradeRequest(_release(to), now, catalog_file.read(catalog), provisioner or "")
    if now is not None and releases.nearest(now) is None:
        raise InputError(f"--from {now[:40]!r}: not a release of KAITO", hint="use v0.3, v0.4 or v0.9")
    if provisioner is not None:
        option_values.one_of(
            provisioner, ("azure-gpu-provisioner", "karpenter", "byo"), option="--node-provisioner"
        )
    if given.is_given:
        release = asked.now or _assumed("--from is not given")
        _insist_on_upgrade(release, asked.to)
        then = validation.Setting(asked.to, catalog=asked.known, provisioner=provisioner)
        found = [
            upgrade.effect(obj, source=source, now=release, to=asked.to, known=asked.known, setting=then)
            for source, obj in _workspaces(given)
        ]
    else:
        release, found = invocation.answer_of(_of_cluster(target, asked))
    if output_format == "manifests":
        output.objects([one.written for one in found], "yaml")
    elif option_values.is_structured(output_format):
        answer = {"from": release, "to": asked.to, "workspaces": [one.as_json() for one in found]}
        output.write_structured(answer, output_format)
    elif output_format == "name":
        for one in found:
            if not one.is_fine:
                output.data(output.resource_name(one.written))
    else:
        shown = upgrade_screen.lines(
            found,
            release,
            asked.to,
            where=given.words,
            are_files=given.are_files,
            provisioner=asked.provisioner,
        )
        lines = [target.text(line) for line in shown]
        if output_format == "markdown":
            *entries, summary = map(output.visible, lines)
            output.data(markdown.comment("upgrade plan", summary, entries))
        else:
            output.show([indented(line) for line in lines])
    return ExitCode.DONE if all(one.is_fine for one in found) else ExitCode.NEGATIVE


def _release(text: str) -> str:
    """The release that is to come.

    Raises:
        InputError: the way there is not known.
    """
    found = releases.nearest(text)
    if found is None or found.name != _TO:
        raise InputError(f"--to {text[:40]!r}: the upgrade to {_TO} is known", hint=f"use --to {_TO}")
    if note := releases.judged_as(text, found):
        output.step(f"{text}: {note}")
    return text if text.startswith("v") else f"v{text}"


def _assumed(why: str) -> str:
    """The release to come from where nobody said one, and that it is a guess."""
    output.warning(f"{why}: the upgrade is judged as one from {_FROM}", hint="give --from")
    return _FROM


def _insist_on_upgrade(now: str, to: str) -> None:
    """Refuse the way back: what an older release makes of today's Workspaces is not known.

    Raises:
        InputError: the release to come is older than the one that there is.
    """
    if now != validation.OWN and upgrade.is_older(to, now):
        raise InputError(f"--to {to[:40]!r}: it is older than {now}, and the way back is not known")


def _workspaces(given: Manifests) -> list[tuple[str, Object]]:
    """The Workspaces of files, with where they are.

    Raises:
        InputError: a document cannot be read, or there is no Workspace in any.
    """
    documents = plan_documents.documents_of(given)
    if faults := [f"{one.source}: {one.fault}" for one in documents if one.fault]:
        raise InputError("not all documents can be read", problems=faults)
    found = [(one.source, one.obj) for one in documents if convert.is_workspace(one.obj)]
    if not found:
        sources = dict.fromkeys(one.source.rpartition(": document ")[0] for one in documents)
        raise InputError(f"{', '.join(sources)}: there is no Workspace in it")
    return found


async def _of_cluster(target: Target, asked: _UpgradeRequest) -> tuple[str, list[Effect]]:
    """The release that manages the cluster's Workspaces, and what becomes of them."""
    async with connected(target) as client:
        release = asked.now or (await kaito_here(client)).target or _assumed("no release of KAITO is found")
        _insist_on_upgrade(release, asked.to)
        world = await plan_world.observe_world(
            client,
            is_sandbox=target.sandbox,
            managed=ManagedBy(None if release == validation.OWN else release),
            known=asked.known,
            namespaces=[],
        )
        provisioner = asked.provisioner or world.setting.provisioner or ""
        then = validation.Setting(asked.to, catalog=asked.known, provisioner=provisioner)
        contexts = await contexts_on_cluster(
            client, world.stores.workspaces.values(), (), lambda one: rules_in(then, one)
        )
    if api.WORKSPACE.plural in world.unseen:
        raise NegativeAnswer(
            "the Workspaces of all namespaces cannot be listed",
            hint="you need list on workspaces.kaito.sh; or plan their manifests with -f",
        )
    gpu_pods = world.stores.gpu_pods.values() if world.sees_pods else None
    nodes, found = world.stores.nodes.values(), []
    share = planning.Share(nodes, gpu_pods, then)
    sees_workloads = {DEPLOYMENT.plural, STATEFUL_SET.plural, POD.plural}.isdisjoint(world.unseen)
    for key in sorted(world.stores.workspaces):
        workspace = world.stores.workspaces[key]
        pods = world.stores.pods.by(workspace_of_labels, key)
        workload = next(
            (
                {**store[key], "kind": kind}
                for kind, store in (
                    ("Deployment", world.stores.deployments),
                    ("StatefulSet", world.stores.stateful_sets),
                )
                if key in store and is_controlled_by(store[key], workspace)
            ),
            None,
        )
        one = upgrade.effect(
            workspace,
            source="cluster",
            now="v0.4" if release == validation.OWN else release,
            to=asked.to,
            known=asked.known,
            workload=workload,
            pods=pods,
            is_made=workload is not None or bool(pods) or not sees_workloads,
            setting=then,
        )
        there = bought_for(world.stores, key, uid_of(workspace))
        machines = [claim for claim in there if node_claims.is_machine(claim)]
        claims = [claim for claim in there if claim not in machines]
        if one.outcome == "restarts" or one.nodes_asked is not None:
            asks = share.of(one.written, claims, context=contexts.get(key, 0))
            one = replace(one, nodes_asked=asks.asked, unsized=asks.unsized)
        stays = tuple(machine_stays(world.stores, claim, f"KAITO {asked.to}") for claim in machines)
        found.append(replace(one, machines=stays))
    return release, found


# --- verify ------------------------------------------------------------------------------------------------


def verify(*, to: str, given: Manifests, output_format: str, catalog: str | None, target: Target) -> int:
    """Say whether the upgrade has been done: its controller, its CRD, and every Workspace.

    Of those in files, where such are given, also whether the files are as the new release wants them.
    """
    option_values.output_format(output_format, ("text", "json", "yaml"))
    known = catalog_file.read(catalog)
    release = _release(to)
    documents = _workspaces(given) if given.is_given else None
    checks = invocation.answer_of(_verify(target, release, known, documents))
    checks += [_rewritten(source, obj, release, known, given) for source, obj in documents or ()]
    if option_values.is_structured(output_format):
        rows = [{"what": what, "ok": not fault, "fault": fault} for what, fault in checks]
        output.write_structured({"to": to, "checks": rows}, output_format)
    else:
        output.show([_verdict(what, fault) for what, fault in checks])
    failed = sum(bool(fault) for _, fault in checks)
    if failed:
        raise NegativeAnswer(
            f"{failed} of {len(checks)} checks failed",
            hint=Command("kaitoctl why NAME -n NAMESPACE") + " says more of one",
        )
    return 0


def _verdict(what: str, fault: str) -> Paragraph:
    mark, text = ("✗", f"{what}: {fault}") if fault else ("✔", what)
    return Paragraph(text, mark=mark, plain=f"{mark} {text}")


def _rewritten(source: str, obj: Object, to: str, known: Catalog, given: Manifests) -> tuple[str, str]:
    """Whether a document is as the new release wants it: else the next apply undoes the upgrade."""
    one = upgrade.effect(obj, source=source, now=to, to=to, known=known)
    fault = "; ".join(one.problems)
    if not fault and one.is_rewritten:
        way = ("--in-place",) if given.are_files else ()
        rewrite = Command("kaitoctl convert", *given.words, "--to", "v1beta1", *way)
        fault = text("it is written for an older release: " + rewrite + " rewrites it")
    return f"{source} is written for {to}", fault


async def _verify(
    target: Target, to: str, known: Catalog, documents: Sequence[tuple[str, Object]] | None
) -> list[tuple[str, str]]:
    """The checks of the cluster, and of its Workspaces: of those of the documents, where there are any."""
    async with connected(target) as client:
        wanted = [key_of(obj).within(client.namespace) for _, obj in documents or ()]
        served = await served_versions(client)
        version = (await kaito_here(client, served)).target
        is_there = upgrade.names_release(to, version or "")
        checks = [
            (f"KAITO {to} manages Workspaces", "" if is_there else f"it is {version or 'not known which'}"),
            (
                "the CRD serves v1beta1",
                ""
                if "v1beta1" in served
                else "helm upgrade leaves CRDs as they are: apply the chart's crds/",
            ),
        ]
        async with observe_overview(client, "", once=True) as picture:
            rows, _ = picture.rows()
        await workspace_kind(client)
        deployments = (await client.list(DEPLOYMENT)).items
    checks.append(("KAITO's controller runs, and no older one", _not_running(deployments)))
    left = [one for one in deployments if _owner_kind(one) == api.WORKSPACE.kind]
    if documents is not None:
        there = {row.key for row in rows}
        missing = "it is not in the cluster"
        checks += [(f"Workspace {key} exists", "" if key in there else missing) for key in wanted]
        rows = [row for row in rows if row.key in wanted]
    for row in rows:
        title = f"Workspace {row.key}"
        checks.append((f"{title} is ready", "" if row.state == "Ready" else f"{row.state}: {row.where}"))
        problems = validation.judge(row.workspace, validation.Setting(to, catalog=known))
        errors = [item.text for item in problems if item.severity == "error"]
        checks.append((f"{title} is valid for {to}", "; ".join(errors)))
        is_left = any(is_controlled_by(one, row.workspace) for one in left)
        if is_left:
            checks.append(
                (f"{title} has no Deployment any more", "the old one still exists: it has not migrated")
            )
    return checks


def _not_running(deployments: Sequence[Object]) -> str:
    """Why KAITO's controller does not run as its Deployment wants it now; empty when it does."""
    found = [one for one in installation.controllers(deployments) if one.kind == "KAITO"]
    if not found:
        return "there is no Deployment of it"
    return "; ".join(
        f"Deployment {one.namespace}/{one.name}: {one.stalled or one.behind}" for one in found if one.behind
    )


def _owner_kind(obj: Object) -> object:
    return dig(obj, "metadata", "ownerReferences", 0, "kind")
