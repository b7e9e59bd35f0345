"""`kaitoctl doctor`: is the installation sound? One check a line, each with what mends it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from kaitoctl import __version__
from kaitoctl.cli import options, output
from kaitoctl.cli.connect import Context, Kubeconfig, Namespace, Sandbox, SandboxName, Target, connected
from kaitoctl.cli.doctor_webhooks import NOT_SHOWN
from kaitoctl.errors import ApiError, Unreachable

if TYPE_CHECKING:
    from kaitoctl.cli.node_table import Screen
    from kaitoctl.kaito.installation import Installed
    from kaitoctl.kube.client import Client

app = typer.Typer(rich_markup_mode=None, add_completion=False)

Result = Literal["ok", "warning", "error", "skipped"]
_MOST_SHOWN = 4
_MARKS: dict[Result, str] = {"ok": "✔", "warning": "!", "error": "✗", "skipped": "-"}


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at.

    Args:
        category: `cluster`, `workspaces`, `rights`, `nodes`.
        name: stable, for machines.
        result: a warning stops nobody.
        message: what is so.
        hint: what mends it; empty when nothing needs to be.
    """

    category: str
    name: str
    result: Result
    message: str
    hint: str = ""


@app.command()
def doctor(
    output_format: Annotated[
        str,
        typer.Option("--output", "-o", help="text, short (what is wrong), json or yaml.", metavar="FORMAT"),
    ] = "text",
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    sandbox: Sandbox = False,
    sandbox_name: SandboxName = "default",
) -> None:
    """Check the installation: the cluster, who manages Workspaces, your rights, GPUs, node provisioners.

    Exit code 0: nothing is wrong (there may be warnings); 1: something is, or could not be looked at
    because the server is in trouble; 3: the cluster cannot be reached.

    Example: kaitoctl doctor
    """
    options.one_of(output_format, ("text", "short", "json", "yaml"), option="--output")
    target = Target(namespace, context, kubeconfig, sandbox, sandbox_name)
    raise typer.Exit(asyncio.run(_doctor(target, output_format)))


async def _doctor(target: Target, output_format: str) -> int:
    from kaitoctl.cli.catalog_options import structured
    from kaitoctl.cli.node_table import Screen

    checks: list[Check] = []
    unreachable: Unreachable | None = None
    try:
        async with connected(target) as client:
            async for check in examined(client, is_sandbox=target.sandbox):
                # They count even if the connection breaks.
                checks.append(replace(check, hint=target.addressed(check.hint)))  # noqa: PERF401
    except Unreachable as error:
        unreachable = error
        message = f"the rest could not be looked at: {error.message}" if checks else error.message
        checks.append(Check("cluster", "api-server", "error", message, error.hint))
    sound = all(check.result != "error" for check in checks)
    if output_format in ("json", "yaml"):
        value = {
            "ok": sound,
            "checks": [
                {
                    "category": check.category,
                    "name": check.name,
                    "result": check.result,
                    "message": check.message,
                    "hint": check.hint,
                }
                for check in checks
            ],
        }
        structured(value, output_format)
    else:
        output.data("\n".join(report(checks, Screen.of_stdout(), short=output_format == "short")))
    return 3 if unreachable else 0 if sound else 1


def report(checks: Sequence[Check], screen: Screen, *, short: bool = False) -> list[str]:
    """The checks by category, and the verdict."""
    from kaitoctl.cli.node_table import wrapped
    from kaitoctl.cli.output import visible

    lines: list[str] = []
    category = ""
    for check in checks:
        if short and check.result in ("ok", "skipped"):
            continue
        if check.category != category and not short:
            category = check.category
            lines += ["", category, "-" * len(category)] if lines else [category, "-" * len(category)]
        word = "" if screen.symbols else f"{check.result}: "
        first, *more = wrapped(visible(word + check.message), screen, "", hang="  ")
        lines += [screen.marked(_MARKS[check.result], first), *more]
        if check.hint and check.result != "ok":
            lines += wrapped(visible(check.hint), screen, "    ")
    errors = sum(check.result == "error" for check in checks)
    warnings = sum(check.result == "warning" for check in checks)
    words = [
        f"{number} {what}{'s' if number != 1 else ''}"
        for number, what in ((errors, "error"), (warnings, "warning"))
        if number
    ]
    verdict = (
        "Nothing is wrong."
        if not words
        else f"There {'is' if errors + warnings == 1 else 'are'} {' and '.join(words)}."
    )
    return [
        *lines,
        *([""] if lines else []),
        screen.marked("✗" if errors else "!" if warnings else "✔", verdict),
    ]


# --- the checks ----------------------------------------------------------------------------------------


async def examined(client: Client, *, is_sandbox: bool) -> AsyncIterator[Check]:
    """All checks, in the order in which a rollout depends on them.

    Raises:
        Unreachable: there is no cluster to examine.
    """
    from kaitoctl.kube.request import Request

    try:
        version = await client.send(Request("GET", "/version"))
        what = f"{client.host} answers, Kubernetes {version.get('gitVersion') or 'of unknown version'}"
    except ApiError as error:
        if error.status == 401:
            yield Check(
                "cluster", "api-server", "error", f"{client.host} does not know you: {error}", "log in again"
            )
            return
        if error.status not in NOT_SHOWN:
            yield Check(
                "cluster", "api-server", "error", f"{client.host} is in trouble: {error}", error.hint or _LOG
            )
            return
        what = f"{client.host} answers, and does not tell its version"
    yield Check("cluster", "api-server", "ok", f"{what}; kaitoctl {__version__}")
    if is_sandbox:
        yield Check("cluster", "sandbox", "ok", "this is a sandbox: pods are simulated, no container runs")
    for asking in (
        _workspaces,
        _controllers,
        _webhooks,
        _serving,
        _rights,
        _nodes,
        _provisioners,
        _storage,
    ):
        try:
            for check in await asking(client, is_sandbox):
                yield check
        except ApiError as error:
            name = asking.__name__.lstrip("_")
            if error.status in NOT_SHOWN:
                hint = "ask for the right to list them"
                yield Check(_CATEGORIES[name], name, "skipped", f"{name}: {error}", hint)
            else:
                message = f"{name} could not be looked at: {error}"
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


async def _versions(client: Client, group: str) -> list[str] | None:
    from kaitoctl.kube.request import Request

    try:
        answer = await client.send(Request("GET", f"/apis/{group}"))
    except ApiError as error:
        if error.status == 404:
            return None
        raise
    return [str(item.get("version")) for item in answer.get("versions") or ()]


async def _workspaces(client: Client, _: bool) -> Iterable[Check]:
    from kaitoctl import packaged
    from kaitoctl.kaito import api

    versions = await _versions(client, api.GROUP)
    if versions is None:
        schema = packaged.folder("schemas") / "kaito.sh_workspaces.yaml"
        hint = f"install KAITO, or the CRD alone: kubectl apply --server-side -f {schema} [crd-missing]"
        return [Check("workspaces", "crd", "error", "the cluster does not know Workspaces", hint)]
    if not set(versions) & set(api.VERSIONS):
        known = " and ".join(api.VERSIONS)
        message = f"Workspaces are served as {', '.join(versions)}; kaitoctl speaks {known}"
        return [Check("workspaces", "crd", "error", message, "see: kaitoctl explain crd-version")]
    return [Check("workspaces", "crd", "ok", f"Workspaces are served as {', '.join(sorted(versions))}")]


async def _serving(client: Client, _: bool) -> Iterable[Check]:
    """Workspaces that their controller takes for ready, and that serve nobody."""
    from kaitoctl.cli import look

    try:
        async with look.overviewing(client, client.namespace, once=True) as picture:
            rows = picture.rows()[0]
    except ApiError as error:
        if error.status == 404:
            return []  # no Workspaces at all: said above
        raise
    down = [row for row in rows if row.state == "NotServing"]
    ready = sum(row.state == "Ready" for row in rows)
    if not down and not ready:
        return []
    if not down:
        message = f"{ready} {'Workspace serves' if ready == 1 else 'Workspaces serve'} in {client.namespace}"
        return [Check("workspaces", "serving", "ok", message)]
    shown = [
        Check(
            "workspaces",
            "serving",
            "error",
            f"Workspace {row.key}: {row.where}",
            f"kaitoctl why {row.key.name} -n {row.key.namespace}",
        )
        for row in down[:_MOST_SHOWN]
    ]
    if rest := len(down) - len(shown):
        shown.append(Check("workspaces", "serving", "error", f"{rest} more serve nobody", "kaitoctl status"))
    return shown


async def _controllers(client: Client, is_sandbox: bool) -> Iterable[Check]:
    from kaitoctl.kaito import installation
    from kaitoctl.kube.objects import DEPLOYMENT

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
    if not found and not ours:
        hint = "install KAITO, or kaitoctl run-controller; one elsewhere is seen by its lease alone"
        return [Check("workspaces", "controller", "warning", "no controller of Workspaces was found", hint)]
    checks = [Check("workspaces", "controller", "ok", one) for one in ours]
    for one in found:
        result: Result = "ok" if one.ready else "error" if one.wanted else "warning"
        hint = f"kubectl describe deployment {one.name} -n {one.namespace}"
        more = f", nodes by {one.provisioner}" if one.provisioner else ""
        more += "" if one.is_alive else ": it is scaled to nothing"
        checks.append(Check("workspaces", "controller", result, one.words + more, hint))
    alive = [f"{one.kind} ({one.namespace}/{one.name})" for one in found if one.is_alive]
    alive += ours
    if len(alive) > 1:
        message = f"{' and '.join(alive)} are at work: they would work against each other"
        hint = "keep one: kubectl scale deployment NAME -n NAMESPACE --replicas=0 stops the other"
        checks.append(Check("workspaces", "one-controller", "error", message, hint))
    return checks


async def _ours_elsewhere(client: Client, found: Sequence[Installed]) -> list[str]:
    """A kaitoctl controller outside of the cluster: it holds its lease, and no Deployment shows it."""
    from datetime import UTC, datetime

    from kaitoctl.kaito import rivals
    from kaitoctl.kube.objects import LEASE, key_of

    if any(one.kind == "kaitoctl" and one.is_alive for one in found):
        return []
    try:
        leases = (await client.list(LEASE)).items
    except ApiError as error:
        if error.status not in NOT_SHOWN:
            raise
        return []
    ours = [item for item in leases if key_of(item).name.startswith("kaitoctl-controller")]
    held = [item for item in ours if rivals.is_held(item, datetime.now(UTC))]
    return [f"kaitoctl ({item['spec']['holderIdentity']}, lease {key_of(item)})" for item in held[:1]]


async def _webhooks(client: Client, _: bool) -> Iterable[Check]:
    from kaitoctl.cli import doctor_webhooks
    from kaitoctl.kaito import installation
    from kaitoctl.kube.objects import DEPLOYMENT

    total, dead = await doctor_webhooks.unanswered(client)
    if not total:
        return []
    if not dead:
        message = f"{total} webhooks are asked about Workspaces and what belongs to them, and answered"
        return [Check("workspaces", "webhooks", "ok", message)]
    try:
        found = installation.controllers((await client.list(DEPLOYMENT)).items)
        lives = any(one.kind == "KAITO" and one.is_alive for one in found)
    except ApiError:
        lives = True  # nobody is advised to delete what may be in use
    return [
        Check(
            "workspaces",
            "webhooks",
            "error" if hook.refuses else "warning",
            f"webhook {hook.configuration} is asked about every write of {', '.join(hook.covers)}, and "
            f"nobody answers: {why}; such writes {'are refused' if hook.refuses else 'are slow'}",
            doctor_webhooks.advice(hook, kaito_is_alive=lives),
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


async def _rights(client: Client, _: bool) -> Iterable[Check]:
    from kaitoctl.kube.objects import Kind
    from kaitoctl.kube.request import Request

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
                "this cluster has no access reviews: everybody may do everything",
            )
        ]
    checks = []
    for (verb, group, resource, namespaced, purpose), allowed in zip(_RIGHTS, answers, strict=True):
        if allowed is False:
            where = f"in namespace {client.namespace}" if namespaced else "in the whole cluster"
            name = f"{resource}.{group}" if group else resource
            message = f"you may not {verb} {name} {where} (for {purpose})"
            hint = f"kubectl auth can-i {verb} {name}" + (f" -n {client.namespace}" if namespaced else " -A")
            # Without the right to write them there is no managing Workspaces; the rest costs details.
            result: Result = "error" if group == "kaito.sh" else "warning"
            checks.append(Check("rights", f"{verb} {name}", result, message, hint))
    return checks or [
        Check("rights", "access", "ok", f"you may do all that kaitoctl asks for in {client.namespace}")
    ]


async def _nodes(client: Client, _: bool) -> Iterable[Check]:
    from kaitoctl.kaito import nodes as nodes_
    from kaitoctl.kaito.nodes.facts import LABEL_PRODUCT, READ_LABELS
    from kaitoctl.kaito.nodes.inventory import gpu_inventory
    from kaitoctl.kube import trimmed
    from kaitoctl.kube.objects import NODE, labels_of

    listed = (await client.list(NODE, decode=trimmed.node_list(READ_LABELS))).items
    found = gpu_inventory(listed, None)
    if not found.gpu_nodes:
        hint = "a node provisioner creates them on demand; on your own nodes the device plugin must run"
        return [Check("nodes", "gpus", "warning", f"none of {len(listed)} nodes has GPUs", hint)]
    silent = {"gpu-not-allocatable", "no-gpu"}
    broken = [node.name for node in found.gpu_nodes if silent & set(node.faults)]
    partly = [node.name for node in found.gpu_nodes if "gpu-unhealthy" in node.faults]
    offering = [item for item in listed if nodes_.offers_gpus(item)]
    checks = []
    if broken:
        names = ", ".join(broken[:4]) + (f" and {len(broken) - 4} more" if len(broken) > 4 else "")
        message = f"the device plugin offers no GPUs on {names}"
        checks.append(
            Check("nodes", "device-plugin", "error", message, "see: kaitoctl explain device-plugin-missing")
        )
    if offering:
        message = f"the device plugin offers GPUs on {len(offering)} of {len(found.gpu_nodes)} GPU nodes"
        checks.append(Check("nodes", "device-plugin", "ok", message))
    if partly:
        names = ", ".join(partly[:4]) + (f" and {len(partly) - 4} more" if len(partly) > 4 else "")
        hint = "see: kaitoctl explain gpu-unhealthy"
        checks.append(Check("nodes", "gpus", "warning", f"some GPUs are not allocatable on {names}", hint))
    unlabelled = [item for item in offering if not labels_of(item).get(LABEL_PRODUCT)]
    if unlabelled:
        message = f"{len(unlabelled)} GPU nodes have no labels of GPU feature discovery"
        hint = "KAITO v0.12 needs them on your own nodes: kaitoctl explain gpu-labels-missing"
        checks.append(Check("nodes", "feature-discovery", "warning", message, hint))
    elif offering:
        checks.append(
            Check("nodes", "feature-discovery", "ok", "GPU feature discovery has labelled the GPU nodes")
        )
    return checks


async def _provisioners(client: Client, _: bool) -> Iterable[Check]:
    from kaitoctl.kube.objects import NODE_CLAIM

    versions = await _versions(client, NODE_CLAIM.group)
    if versions is None:
        hint = "prepare nodes yourself (kaitoctl check-nodes), or install Karpenter or gpu-provisioner"
        message = "there is no NodeClaim API: nobody creates nodes on demand"
        return [Check("nodes", "node-provisioner", "warning", message, hint)]
    return [
        Check("nodes", "node-provisioner", "ok", f"NodeClaims are served as {', '.join(sorted(versions))}")
    ]


async def _storage(client: Client, _: bool) -> Iterable[Check]:
    from kaitoctl.kube.objects import Kind, annotations_of

    kind = Kind("storage.k8s.io", "v1", "StorageClass", "storageclasses", False)
    try:
        classes = (await client.list(kind)).items
    except ApiError as error:
        if error.status != 404:
            raise
        return [Check("nodes", "storage", "skipped", "this cluster serves no storage classes")]
    default = [
        str(item["metadata"]["name"])
        for item in classes
        if annotations_of(item).get("storageclass.kubernetes.io/is-default-class") == "true"
    ]
    if default:
        return [Check("nodes", "storage", "ok", f"the default storage class is {default[0]}")]
    what = f"none of the {len(classes)} storage classes" if classes else "there is no storage class: none"
    hint = "volumes for tuning and weights need storageClassName, or a default class"
    return [Check("nodes", "storage", "warning", f"{what} is the default", hint)]
