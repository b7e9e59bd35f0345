"""`kaitoctl doctor`: is the installation sound? One check a line, each with how to fix it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from kaitoctl import __version__, packaged
from kaitoctl.advice import NO_FLAGS, Advice, ClusterFlags, Command, text
from kaitoctl.commands import doctor_nodes, doctor_webhooks, option_values
from kaitoctl.commands.cluster import connected
from kaitoctl.commands.doctor_check import Check, Result, Right, age_s, group_versions, unseen
from kaitoctl.commands.doctor_webhooks import NOT_SHOWN
from kaitoctl.commands.overview import observe_overview
from kaitoctl.commands.target import Target
from kaitoctl.errors import ApiError, ExitCode, Unreachable
from kaitoctl.kaito import api, installation, kaito_at_work
from kaitoctl.kube.objects import DEPLOYMENT, LEASE, NODE_CLAIM, Kind, key_of
from kaitoctl.kube.request import Request
from kaitoctl.screens import output
from kaitoctl.screens.layout import BLANK, Block, Paragraph

if TYPE_CHECKING:
    from kaitoctl.kaito.installation import Installed
    from kaitoctl.kube.client import Client

_MOST_SHOWN = 4
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
    sound = all(check.result not in ("error", "unknown") for check in checks)
    if option_values.is_structured(output_format):
        shown = [{**asdict(check), "hint": text(check.hint, target.flags)} for check in checks]
        value = {"ok": sound, "checks": shown}
        output.write_structured(value, output_format)
    else:
        output.show(report(checks, target.flags, short=output_format == "short"))
    return unreachable.exit_code if unreachable else ExitCode.DONE if sound else ExitCode.NEGATIVE


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
            blocks.append(Paragraph(text(check.hint, flags), indent=4))
    errors = sum(check.result == "error" for check in checks)
    warnings = sum(check.result == "warning" for check in checks)
    unknown = sum(check.result == "unknown" for check in checks)
    words = [
        f"{number} {what}{'s' if number != 1 else ''}"
        for number, what in ((errors, "error"), (warnings, "warning"), (unknown, "thing"))
        if number
    ]
    verdict = "No problems found." if not words else ", ".join(words)
    verdict += " not checked: you lack the rights" if unknown else ""
    mark = "✗" if errors else "!" if words else "✔"
    return [*blocks, *([BLANK] if blocks else []), Paragraph(verdict, mark=mark)]


# --- the checks ----------------------------------------------------------------------------------------


async def all_checks(client: Client, *, is_sandbox: bool) -> AsyncIterator[Check]:
    """All checks, in the order in which a rollout depends on them.

    Raises:
        Unreachable: there is no cluster to examine.
    """
    try:
        version = await client.send(Request("GET", "/version"))
        git_version = str(version.get("gitVersion") or "of unknown version")
        what = f"{client.host} answers, Kubernetes {git_version}"
        is_sandbox = is_sandbox or _SANDBOX_BUILD in git_version  # named by its kubeconfig
    except ApiError as error:
        if error.status == 401:
            yield Check(
                "cluster",
                "api-server",
                "error",
                f"{client.host} does not accept the credentials (401): {error}",
                "log in again",
            )
            return
        if error.status not in NOT_SHOWN:
            yield Check(
                "cluster",
                "api-server",
                "error",
                f"{client.host} answered with an error: {error}",
                error.hint or _LOG,
            )
            return
        what = f"{client.host} answers, but its version cannot be read"
    yield Check("cluster", "api-server", "ok", f"{what}; kaitoctl {__version__}")
    if is_sandbox:
        words = "this is a sandbox: pods are simulated, except those of the presets that "
        yield Check("cluster", "sandbox", "ok", f"{words}`kaitoctl sandbox model list` lists")
    for asking in (
        _workspaces,
        _controllers,
        _webhooks,
        _serving,
        _rights,
        doctor_nodes.nodes,
        doctor_nodes.provisioners,
        doctor_nodes.storage,
    ):
        try:
            for check in await asking(client, is_sandbox):
                yield check
        except ApiError as error:
            name = asking.__name__.lstrip("_")
            if error.status == 403:
                right = replace(_NEEDED[name], namespace=client.namespace if name == "serving" else "")
                yield unseen(_CATEGORIES[name], name, _WORDS.get(name, name), right, error)
            elif error.status in NOT_SHOWN:
                yield Check(_CATEGORIES[name], name, "skipped", f"{name}: {error}")
            else:
                message = f"the check of {name} failed: {error}"
                yield Check(_CATEGORIES[name], name, "error", message, error.hint or _LOG)


_LOG = "the API server's log says why"

_CATEGORIES = {
    "workspaces": "workspaces",
    "controllers": "workspaces",
    "serving": "workspaces",
    "webhooks": "workspaces",
    "rights": "rights",
    "nodes": "nodes",
    "provisioners": "nodes",
    "storage": "nodes",
}


_WORDS = {
    "workspaces": "the CRD",
    "serving": "whether Workspaces serve",
    "provisioners": "node provisioners",
    "storage": "storage classes",
}

_NEEDED = {
    "workspaces": Right("get", f"/apis/{api.GROUP}"),
    "controllers": Right("list", "deployments.apps"),
    "webhooks": Right("list", "validatingwebhookconfigurations.admissionregistration.k8s.io"),
    "serving": Right("list", f"workspaces.{api.GROUP}"),
    "rights": Right("create", "selfsubjectaccessreviews.authorization.k8s.io"),
    "nodes": Right("list", "nodes"),
    "provisioners": Right("get", f"/apis/{NODE_CLAIM.group}"),
    "storage": Right("list", "storageclasses.storage.k8s.io"),
}


async def _workspaces(client: Client, _: bool) -> Iterable[Check]:
    versions = await group_versions(client, api.GROUP)
    if versions is None:
        schema = packaged.folder("schemas") / "kaito.sh_workspaces.yaml"
        crd = Command("kubectl apply --server-side -f", str(schema))
        hint = "install KAITO, or the CRD alone: " + crd + " [crd-missing]"
        return [Check("workspaces", "crd", "error", "the CRD of Workspaces is not installed", hint)]
    if not set(versions) & set(api.VERSIONS):
        known = " and ".join(api.VERSIONS)
        message = f"Workspaces are served as {', '.join(versions)}; kaitoctl supports {known}"
        return [
            Check("workspaces", "crd", "error", message, "see: " + Command("kaitoctl explain crd-version"))
        ]
    return [Check("workspaces", "crd", "ok", f"Workspaces are served as {', '.join(sorted(versions))}")]


async def _serving(client: Client, _: bool) -> Iterable[Check]:
    """Workspaces that their controller takes for ready, and that serve nobody."""
    try:
        async with observe_overview(client, client.namespace, once=True) as picture:
            rows, hidden = picture.rows()
    except ApiError as error:
        if error.status == 404:
            return []  # no Workspaces at all: said above
        raise
    down = [row for row in rows if row.state == "NotServing"]
    ready = sum(row.state == "Ready" for row in rows)
    now = datetime.now(UTC)
    shown = [
        Check(
            "workspaces",
            "taken-up",
            "error",
            f"no controller has reconciled Workspace {row.key}",
            Command("kaitoctl why", row.key.name, "-n", row.key.namespace),
        )
        for row in rows
        if row.state == "Waiting" and age_s(row.workspace, now) > _TAKEN_UP_WITHIN_S
    ][:_MOST_SHOWN]
    if rows:
        shown += [
            unseen("workspaces", "serving", f"whether Workspaces serve, by their {what},", right)
            for what in hidden
            if (right := Right("list", _with_group(what), client.namespace))
        ]
    if ready and not down and not hidden:
        message = f"{ready} {'Workspace serves' if ready == 1 else 'Workspaces serve'} in {client.namespace}"
        shown.append(Check("workspaces", "serving", "ok", message))
    shown += [
        Check(
            "workspaces",
            "serving",
            "error",
            f"Workspace {row.key}: {row.where}",
            Command("kaitoctl why", row.key.name, "-n", row.key.namespace),
        )
        for row in down[:_MOST_SHOWN]
    ]
    if (rest := len(down) - _MOST_SHOWN) > 0:
        shown.append(
            Check(
                "workspaces", "serving", "error", f"{rest} more are not serving", Command("kaitoctl status")
            )
        )
    return shown


async def _controllers(client: Client, is_sandbox: bool) -> Iterable[Check]:
    found = installation.controllers((await client.list(DEPLOYMENT)).items)
    if not found and is_sandbox:
        return [
            Check(
                "workspaces",
                "controller",
                "ok",
                "the sandbox manages Workspaces, unless started with --no-controller",
            )
        ]
    ours = await _ours_elsewhere(client, found)
    hint: Advice
    if ours is None and not found:
        leases = Right("list", "leases.coordination.k8s.io")
        what = "no Deployment is a Workspace controller's, and whether one runs outside the cluster"
        return [unseen("workspaces", "controller", what, leases)]
    stopped: Result = "error" if ours == [] and not any(one.is_alive for one in found) else "warning"
    ours = ours or []
    if not found and not ours:
        run = Command("kaitoctl run-controller")
        hint = "install KAITO, or " + run + "; one outside the cluster is only seen by its lease"
        return [Check("workspaces", "controller", "warning", "no Workspace controller was found", hint)]
    checks = [Check("workspaces", "controller", "ok", one) for one in ours]
    for one in found:
        result: Result = "ok" if one.ready else "error" if one.wanted else stopped
        hint = Command("kubectl describe deployment", one.name, "-n", one.namespace)
        more = f", nodes by {one.provisioner}" if one.provisioner else ""
        more += "" if one.is_alive else ": it is scaled to 0"
        checks.append(Check("workspaces", "controller", result, one.words + more, hint))
    alive = [f"{one.kind} ({one.namespace}/{one.name})" for one in found if one.is_alive]
    alive += ours
    if len(alive) > 1:
        message = (
            f"more than one controller is running: {' and '.join(alive)} would overwrite each other's changes"
        )
        stop = Command("kubectl scale deployment NAME -n NAMESPACE --replicas=0")
        hint = "keep one: " + stop + " stops the other"
        checks.append(Check("workspaces", "one-controller", "error", message, hint))
    return checks


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
    ours = [item for item in leases if key_of(item).name.startswith("kaitoctl-controller")]
    held = [item for item in ours if kaito_at_work.is_held(item, datetime.now(UTC))]
    return [f"kaitoctl ({item['spec']['holderIdentity']}, lease {key_of(item)})" for item in held[:1]]


async def _webhooks(client: Client, _: bool) -> Iterable[Check]:
    total, dead, hidden = await doctor_webhooks.find_unanswered(client)
    checks = [
        unseen("workspaces", "webhooks", "whether somebody answers webhooks", right) for right in hidden
    ]
    if not dead:
        message = f"{total} webhooks check Workspaces and their objects, and all have backends"
        return checks or ([Check("workspaces", "webhooks", "ok", message)] if total else [])
    try:
        found = installation.controllers((await client.list(DEPLOYMENT)).items)
        lives = any(one.kind == "KAITO" and one.is_alive for one in found)
    except ApiError:
        lives = True  # nobody is advised to delete what may be in use
    return checks + [
        Check(
            "workspaces",
            "webhooks",
            "error" if hook.refuses else "warning",
            f"webhook {hook.configuration} is asked about every write of {', '.join(hook.covers)}, and "
            f"cannot be asked: {why}; such writes {'are rejected' if hook.refuses else 'are slow'}",
            doctor_webhooks.advice(hook, why, kaito_is_alive=lives),
        )
        for hook, why in dead
    ]


# What each command needs: verb, group, resource, whether in the namespace, and for what.
_RIGHTS = (
    ("create", "kaito.sh", "workspaces", True, "create workspace"),
    ("patch", "kaito.sh", "workspaces", True, "create workspace"),
    ("watch", "kaito.sh", "workspaces", True, "status"),
    ("watch", "", "pods", True, "status"),
    ("watch", "apps", "deployments", True, "status"),
    ("watch", "apps", "statefulsets", True, "status"),
    ("watch", "karpenter.sh", "nodeclaims", False, "status"),
    ("watch", "", "services", True, "status, endpoint"),
    ("watch", "discovery.k8s.io", "endpointslices", True, "status, endpoint"),
    ("list", "", "nodes", False, "check-nodes"),
    ("list", "", "pods", False, "check-nodes, nodes"),
    ("list", "", "events", True, "why, events"),
    ("get", "", "secrets", True, "why"),
    ("get", "", "pods/log", True, "why, logs"),
    ("create", "", "services/proxy", True, "chat"),
)


def _with_group(plural: str) -> str:
    return next((f"{plural}.{row[1]}" for row in _RIGHTS if row[2] == plural and row[1]), plural)


async def _rights(client: Client, _: bool) -> Iterable[Check]:
    kind = Kind("authorization.k8s.io", "v1", "SelfSubjectAccessReview", "selfsubjectaccessreviews", False)

    async def may(verb: str, group: str, resource: str, namespaced: bool) -> bool | None:
        plain, _, subresource = resource.partition("/")
        attributes = {"verb": verb, "group": group, "resource": plain, "subresource": subresource}
        if namespaced:
            attributes["namespace"] = client.namespace
        body = {"apiVersion": kind.api_version, "kind": kind.kind, "spec": {"resourceAttributes": attributes}}
        try:
            answer = await client.send(Request("POST", kind.path(), body=body))
        except ApiError as error:
            if error.status in (404, 405):
                return None
            raise
        return bool((answer.get("status") or {}).get("allowed"))

    answers: list[Any] = await asyncio.gather(*(may(*row[:4]) for row in _RIGHTS))
    if all(answer is None for answer in answers):
        return [
            Check(
                "rights",
                "access",
                "skipped",
                "this cluster serves no SelfSubjectAccessReviews: permissions were not checked",
            )
        ]
    checks = []
    for (verb, group, resource, namespaced, purpose), allowed in zip(_RIGHTS, answers, strict=True):
        if allowed is False:
            place = f"in namespace {client.namespace}" if namespaced else "in the whole cluster"
            name = f"{resource}.{group}" if group else resource
            message = f"you are not allowed to {verb} {name} {place} (for {purpose})"
            where = ("-n", client.namespace) if namespaced else ("-A",)
            hint = Command("kubectl auth can-i", verb, name, *where)
            # Without the right to write them there is no managing Workspaces; the rest costs details.
            result: Result = "error" if group == "kaito.sh" else "warning"
            checks.append(Check("rights", f"{verb} {name}", result, message, hint))
    return checks or [
        Check("rights", "access", "ok", f"all needed permissions are granted in {client.namespace}")
    ]
