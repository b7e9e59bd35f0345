"""`kaitoctl doctor`: is the installation sound? One check a line, each with how to fix it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from msgspec.structs import asdict

from kaitoctl import __version__, packaged
from kaitoctl.advice import NO_FLAGS, Advice, ClusterFlags, Command, on_screen, text
from kaitoctl.commands import doctor_cluster, doctor_nodes, doctor_rights, doctor_webhooks, option_values
from kaitoctl.commands.cluster import connected
from kaitoctl.commands.controller_pods import halt_of
from kaitoctl.commands.doctor_check import (
    MOST_SHOWN,
    NOT_SHOWN,
    Check,
    Examined,
    Part,
    Result,
    Right,
    age_s,
    group_versions,
    made_alone,
    unseen,
)
from kaitoctl.commands.overview import observe_overview
from kaitoctl.commands.target import Target
from kaitoctl.errors import ApiError, ExitCode, Unreachable
from kaitoctl.kaito import api, installation
from kaitoctl.kaito.validation import release_detection
from kaitoctl.kube.objects import LEASE, NODE_CLAIM, key_of
from kaitoctl.kube.request import Request
from kaitoctl.screens import output
from kaitoctl.screens.layout import BLANK, Block, Paragraph

if TYPE_CHECKING:
    from kaitoctl.kaito.installation import Installed
    from kaitoctl.kube.client import Client

_TAKEN_UP_WITHIN_S = 60.0
_SANDBOX_BUILD = "+kaitoctl-sandbox"  # what the sandbox calls its Kubernetes
_MARKS: dict[Result, str] = {"ok": "✔", "warning": "!", "error": "✗", "skipped": "-", "unknown": "?"}


def doctor(*, output_format: str, target: Target) -> int:
    """Check the installation: the cluster, who manages Workspaces, your rights, GPUs, node provisioners."""
    option_values.output_format(output_format, ("text", "short", "json", "yaml"))
    return asyncio.run(_doctor(target, output_format))


async def _doctor(target: Target, output_format: str) -> int:
    checks: list[Check] = []
    unreachable: Unreachable | None = None
    try:
        async with connected(target) as client:
            async for check in all_checks(client, is_sandbox=target.sandbox):
                checks.append(check)  # noqa: PERF401 - they count even if the connection breaks
    except Unreachable as error:
        unreachable = error
        message = f"the remaining checks could not run: {error.message}" if checks else error.message
        checks.append(Check("cluster", "api-server", "error", message, error.hint))
    sound = all(check.is_sound for check in checks)
    if option_values.is_structured(output_format):
        shown = [{**asdict(check), "hint": text(check.hint, target.flags)} for check in checks]
        value = {"ok": sound, "checks": shown}
        output.write_structured(value, output_format)
    else:
        output.show(report(checks, target.flags, short=output_format == "short"))
    if unreachable or all(check.result == "unknown" for check in checks):  # nobody there speaks Kubernetes
        return Unreachable.exit_code
    return ExitCode.DONE if sound else ExitCode.NEGATIVE


def report(checks: Sequence[Check], flags: ClusterFlags = NO_FLAGS, *, short: bool = False) -> list[Block]:
    """The checks by category, and the verdict."""
    blocks: list[Block] = []
    category = ""
    for check in checks:
        if short and check.result in ("ok", "skipped"):
            continue
        if check.category != category and not short:
            category = check.category
            blocks += [BLANK] if blocks else []
            blocks += [Paragraph(category), Paragraph("-" * len(category))]
        said = f"{check.result}: {check.message}"
        blocks.append(Paragraph(check.message, mark=_MARKS[check.result], plain=said))
        if check.hint and check.result != "ok":
            blocks.append(Paragraph(on_screen(check.hint, flags), indent=4))
    return [*blocks, *([BLANK] if blocks else []), _verdict(checks)]


def _verdict(checks: Sequence[Check]) -> Paragraph:
    """How many checks went wrong, and how many could not be made."""
    errors, warnings, unknown = (
        [check for check in checks if check.result == result] for result in ("error", "warning", "unknown")
    )
    words = [
        f"{len(found)} {what}{'s' if len(found) != 1 else ''}"
        for found, what in ((errors, "error"), (warnings, "warning"), (unknown, "thing"))
        if found
    ]
    if not words:
        return Paragraph("No problems found.", mark="✔")
    verdict = ", ".join(words)
    if unknown:
        for_rights = all(check.lacks for check in unknown)
        verdict += " not checked" + (": you lack the rights" if for_rights else "")
    if all(check.excused for check in (*errors, *warnings, *unknown)):
        return Paragraph(f"No problems found; {verdict}", mark="✔")
    return Paragraph(verdict, mark="✗" if errors else "!")


# --- the checks ----------------------------------------------------------------------------------------


async def all_checks(client: Client, *, is_sandbox: bool) -> AsyncIterator[Check]:
    """All checks, in the order in which a rollout depends on them.

    Raises:
        Unreachable: there is no cluster to examine, or not any more.
    """
    git_version = ""
    try:
        git_version = str((await client.send(Request("GET", "/version"))).get("gitVersion") or "")
        what = f"{client.host} answers, Kubernetes {git_version or 'of unknown version'}"
        first = Check("cluster", "api-server", "ok", f"{what}; kaitoctl {__version__}")
    except Unreachable as error:
        if error.cause:
            raise
        first = Check("cluster", "api-server", "unknown", f"{client.host}: {error.message}", error.hint)
    except ApiError as error:
        if error.status == 401:
            words = f"{client.host} does not accept the credentials (401): {error}"
            yield Check("cluster", "api-server", "error", words, "log in again")
            return
        if error.status not in NOT_SHOWN:
            words = f"{client.host} answered with an error: {error}"
            hint = error.hint or "the API server's log says why"
            yield Check("cluster", "api-server", "error", words, hint)
            return
        what = f"{client.host} answers, but its version cannot be read"
        first = Check("cluster", "api-server", "ok", f"{what}; kaitoctl {__version__}")
    yield first
    is_sandbox = is_sandbox or _SANDBOX_BUILD in git_version  # named by its kubeconfig
    if is_sandbox:
        words = "this is a sandbox: pods are simulated, except those of the presets that "
        yield Check("cluster", "sandbox", "ok", f"{words}`kaitoctl sandbox model list` lists")
    cluster = Examined(client, is_sandbox=is_sandbox, version=git_version)
    for part in _parts(client.namespace):
        async for check in made_alone(part, cluster):
            yield check


def _parts(namespace: str) -> Sequence[Part]:
    """What is looked at one after another, each by itself."""
    here = f"workspaces.{api.GROUP}"
    reviews = "selfsubjectaccessreviews.authorization.k8s.io"
    hooks = "validatingwebhookconfigurations.admissionregistration.k8s.io"
    deployments = Right("list", "deployments.apps")
    leases = Right("list", "leases.coordination.k8s.io", doctor_cluster.NODE_LEASES)
    crds = Right("get", "customresourcedefinitions.apiextensions.k8s.io")
    apis = Right("list", "apiservices.apiregistration.k8s.io")
    discovery = Right("get", f"/apis/{NODE_CLAIM.group}")
    claims = Right("list", f"{NODE_CLAIM.plural}.{NODE_CLAIM.group}")
    own = Right("list", here, namespace, is_everyones=True)
    mine = Right("create", reviews, is_everyones=True)
    classes = Right("list", "storageclasses.storage.k8s.io")
    of_cluster, of_nodes = doctor_cluster, doctor_nodes
    return (
        Part("cluster", "kubernetes", "the version", of_cluster.kubernetes, deployments),
        Part("cluster", "clocks", "clocks of nodes", of_cluster.clocks, leases),
        Part("cluster", "api-services", "APIServices", of_cluster.api_services, apis),
        Part("cluster", "namespaces", "namespaces", of_cluster.namespaces, Right("list", "namespaces")),
        Part("workspaces", "workspaces", "the CRD", _workspaces, Right("get", f"/apis/{api.GROUP}")),
        Part("workspaces", "crds", "definitions (CRDs)", of_cluster.crds, crds),
        Part("workspaces", "controllers", "controllers", _controllers, deployments),
        Part("workspaces", "webhooks", "webhooks", doctor_webhooks.webhooks_of, Right("list", hooks)),
        Part("workspaces", "serving", "whether Workspaces serve", _serving, own),
        Part("workspaces", "finalizers", "whether deletions come to an end", of_cluster.finalizers, own),
        Part("rights", "rights", "rights", doctor_rights.rights, mine),
        Part("nodes", "nodes", "nodes", of_nodes.nodes, Right("list", "nodes")),
        Part("nodes", "provisioners", "node provisioners", of_nodes.provisioners, discovery),
        Part("nodes", "node-claims", "NodeClaims", of_nodes.claims, claims),
        Part("nodes", "storage", "storage classes", of_nodes.storage, classes),
    )


async def _workspaces(cluster: Examined) -> AsyncIterator[Check]:
    """The versions in which Workspaces are served."""
    versions = await group_versions(cluster.client, api.GROUP)
    if versions is None:
        schema = packaged.folder("schemas") / "kaito.sh_workspaces.yaml"
        crd = Command("kubectl apply --server-side -f", str(schema))
        hint = "install KAITO, or the CRD alone: " + crd + " [crd-missing]"
        message = "the CRD of Workspaces is not installed"
        yield Check("workspaces", "crd", "error", message, hint, code="crd-missing")
    elif not set(versions) & set(api.VERSIONS):
        known = " and ".join(api.VERSIONS)
        message = f"Workspaces are served as {', '.join(versions)}; kaitoctl supports {known}"
        hint = "see: " + Command("kaitoctl explain crd-version")
        yield Check("workspaces", "crd", "error", message, hint, code="crd-version")
    else:
        message = f"Workspaces are served as {', '.join(sorted(versions))}"
        yield Check("workspaces", "crd", "ok", message)


async def _serving(cluster: Examined) -> AsyncIterator[Check]:
    """Workspaces that have failed, or that their controller takes for ready while they serve nobody."""
    client = cluster.client
    try:
        async with observe_overview(client, client.namespace, once=True) as picture:
            rows, hidden = picture.rows()
    except ApiError as error:
        if error.status == 404:
            return  # no Workspaces at all: said above
        raise
    down = [row for row in rows if row.state in ("NotServing", "Failed")]
    ready = sum(row.state == "Ready" for row in rows)
    now = datetime.now(UTC)
    waiting = [
        row for row in rows if row.state == "Waiting" and age_s(row.workspace, now) > _TAKEN_UP_WITHIN_S
    ]
    for row in waiting[:MOST_SHOWN]:
        look = Command("kaitoctl why", row.key.name, "-n", row.key.namespace)
        message = f"no controller has reconciled Workspace {row.key}"
        yield Check("workspaces", "taken-up", "error", message, look)
    lacking = {what: doctor_rights.to_list(what, client.namespace) for what in hidden if rows}
    for what, right in lacking.items():
        yield unseen("workspaces", "serving", f"whether Workspaces serve, by their {what},", right)
    if ready and not any(right.is_everyones for right in lacking.values()):
        number = f"{ready}" if ready == len(rows) else f"{ready} of {len(rows)}"
        message = (
            f"{number} {'Workspace serves' if len(rows) == 1 else 'Workspaces serve'} in {client.namespace}"
        )
        yield Check("workspaces", "serving", "ok", message)
    for row in down[:MOST_SHOWN]:
        look = Command("kaitoctl why", row.key.name, "-n", row.key.namespace)
        yield Check("workspaces", "serving", "error", f"Workspace {row.key}: {row.where}", look)
    if (rest := len(down) - MOST_SHOWN) > 0:
        message = f"{rest} more are not serving"
        yield Check("workspaces", "serving", "error", message, Command("kaitoctl status"))


async def _controllers(cluster: Examined) -> AsyncIterator[Check]:
    """Who manages Workspaces: by Deployments, and outside of the cluster by its lease."""
    found = installation.controllers(await cluster.deployments())
    if not found and cluster.is_sandbox:
        message = "the sandbox manages Workspaces, unless started with --no-controller"
        yield Check("workspaces", "controller", "ok", message)
        return
    ours: list[str] | None = None
    trouble: ApiError | Unreachable | None = None
    try:
        ours = await _ours_elsewhere(cluster.client, found)
    except (ApiError, Unreachable) as error:
        trouble = error
    if ours is None and not found and trouble is None:
        leases = Right("list", "leases.coordination.k8s.io")
        what = "no Deployment is a Workspace controller's, and whether one runs outside the cluster"
        yield unseen("workspaces", "controller", what, leases)
        return
    if not found and not ours and trouble is None:
        run = Command("kaitoctl run-controller")
        hint = "install KAITO, or " + run + "; one outside the cluster is only seen by its lease"
        yield Check("workspaces", "controller", "warning", "no Workspace controller was found", hint)
        return
    stopped: Result = "error" if ours == [] and not any(one.is_alive for one in found) else "warning"
    for words in ours or ():
        yield Check("workspaces", "controller", "ok", words)
    for one in found:
        result: Result = "ok" if one.ready else "error" if one.wanted else stopped
        look: Advice = Command("kubectl describe deployment", one.name, "-n", one.namespace)
        more = f", nodes by {one.provisioner}" if one.provisioner else ""
        more += "" if one.is_alive else ": it is scaled to 0"
        if one.stalled and one.wanted:  # what is ready may be of an older image
            result = "warning" if one.ready else "error"
            more += f"; its update has stalled: {one.stalled}"
        if result == "error" and (halt := await halt_of(cluster.client, one)):
            more, look = f"{more}; {halt.words}", halt.hint
        yield Check("workspaces", "controller", result, one.words + more, look)
    alive = [f"{one.kind} ({one.namespace}/{one.name})" for one in found if one.is_alive]
    alive += ours or ()
    if len(alive) > 1:
        message = (
            f"more than one controller is running: {' and '.join(alive)} would overwrite each other's changes"
        )
        stop = Command("kubectl scale deployment NAME -n NAMESPACE --replicas=0")
        hint = "keep one: " + stop + " stops the other"
        yield Check("workspaces", "one-controller", "error", message, hint)
    if trouble is not None:
        raise trouble


async def _ours_elsewhere(client: Client, found: Sequence[Installed]) -> list[str] | None:
    """A kaitoctl controller outside of the cluster, by its lease; None where leases may not be listed."""
    if any(one.kind == "kaitoctl" and one.is_alive for one in found):
        return []
    try:
        leases = (await client.list(LEASE)).items
    except ApiError as error:
        if error.status not in NOT_SHOWN:
            raise
        return None if error.status == 403 else []
    ours = [item for item in leases if key_of(item).name.startswith(release_detection.OWN_LEASE)]
    held = [item for item in ours if release_detection.is_held(item, datetime.now(UTC))]
    return [f"kaitoctl ({item['spec']['holderIdentity']}, lease {key_of(item)})" for item in held[:1]]
