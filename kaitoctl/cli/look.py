"""Gathers what belongs to a Workspace: once for `why`, `events` and `logs`, lastingly for whoever follows it.

What may not be seen is left out, and `Snapshot.unseen` says so; only the Workspace itself is insisted on.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from kaitoctl.errors import ApiError
from kaitoctl.kaito import api
from kaitoctl.kaito import nodes as nodes_
from kaitoctl.kaito.rollout import Phase, progress
from kaitoctl.kaito.serving import slice_of_endpoints
from kaitoctl.kaito.snapshot import Named, Snapshot, node_names
from kaitoctl.kube import pods as pods_
from kaitoctl.kube import request
from kaitoctl.kube.client import Client
from kaitoctl.kube.conditions import is_true
from kaitoctl.kube.objects import (
    CONFIG_MAP,
    CONTROLLER_REVISION,
    DEPLOYMENT,
    ENDPOINT_SLICE,
    ENDPOINTS,
    EVENT,
    JOB,
    NAMESPACE,
    NODE,
    NODE_CLAIM,
    PERSISTENT_VOLUME_CLAIM,
    POD,
    REPLICA_SET,
    SECRET,
    SERVICE,
    STATEFUL_SET,
    Kind,
    Object,
    ObjectKey,
    dig,
    is_being_deleted,
    key_of,
    labels_of,
)
from kaitoctl.kube.request import Request
from kaitoctl.reconcile.informer import Informer

if TYPE_CHECKING:
    from kaitoctl.cli.check_nodes import Seen

# Rights that somebody who looks at Workspaces need not have: without them the picture has fewer details.
_REFUSED = (401, 403)
# ... and 400: of a name that no selector may hold, or that is too long for one, nothing is ever shown.
_NEVER_SHOWN = (400, *_REFUSED)
NODE_POOL = replace(NODE_CLAIM, kind="NodePool", plural="nodepools")
POD_DISRUPTION_BUDGET = Kind("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets")
WEBHOOKS = tuple(
    Kind("admissionregistration.k8s.io", "v1", kind, f"{kind.lower()}s", namespaced=False)
    for kind in ("ValidatingWebhookConfiguration", "MutatingWebhookConfiguration")
)
_MOST_NODES = 32
# vLLM tells the cause first and then, twice over, how it was handed on: some 200 lines with its end.
_LOG_LINES, _LOG_BYTES = 400, 512 * 1024
_MOST_LOGS = 20  # of the newest pods: a workload may leave thousands of failed ones
_KINDS = {"Secret": SECRET, "ConfigMap": CONFIG_MAP, "PersistentVolumeClaim": PERSISTENT_VOLUME_CLAIM}
_SERVICE_NAME = "kubernetes.io/service-name"
_NODE_POOL_LABELS = ("karpenter.kaito.sh/workspace-name", "karpenter.kaito.sh/workspace-namespace")


class _Picture:
    """Informers side by side, and what became of those that were refused; `once` watches nothing.

    Attributes:
        kind: Workspaces in the version that is read.
        changed: set whenever something has changed.
    """

    def __init__(self, client: Client, kind: Kind, *, once: bool = False) -> None:
        self.kind = kind
        self._once = once
        self.changed = asyncio.Event()
        self._client = client
        self._tasks: dict[asyncio.Task[None], tuple[str, Informer]] = {}
        self._unseen: dict[str, str] = {}

    async def _watch(self, informer: Informer) -> None:
        """Run an informer; returns when its first picture is there, or it has been refused."""
        informer.subscribe(lambda _: self.changed.set())
        task = asyncio.create_task(informer.run(once=self._once))
        self._tasks[task] = (informer.kind.plural, informer)
        task.add_done_callback(lambda _: self.changed.set())
        synced = asyncio.create_task(informer.wait_synced())
        await asyncio.wait({task, synced}, return_when=asyncio.FIRST_COMPLETED)
        synced.cancel()

    def _insist_on(self, wanted: Informer) -> None:
        """Go on without what was refused, but not without this.

        Raises:
            ApiError: it was refused.
        """
        for task, (plural, informer) in list(self._tasks.items()):
            if not task.done():
                continue
            del self._tasks[task]
            error = task.exception()
            if error is None:  # it was to look once
                continue
            if informer is wanted or not isinstance(error, ApiError) or error.status not in _NEVER_SHOWN:
                raise error  # a server in trouble is no reason to show half a picture
            self._unseen[plural] = str(error)

    async def stop(self) -> None:
        """End all watches."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


class Look(_Picture):
    """A lasting picture of one Workspace and all that belongs to it; make one with `looking`.

    Attributes:
        key: the Workspace's.
    """

    def __init__(
        self, client: Client, key: ObjectKey, kind: Kind, claim_kinds: Iterable[Kind], *, once: bool = False
    ) -> None:
        super().__init__(client, kind, once=once)
        self.key = key
        self._nodes: dict[str, Informer] = {}
        self._endpoints: Informer | None = None
        ours = f"{api.LABEL_WORKSPACE}={key.name}"
        self._workspace = self._named(kind)
        self._views: dict[str, tuple[Informer, ...]] = {
            "workloads": (self._named(DEPLOYMENT), self._named(STATEFUL_SET)),
            "jobs": (self._named(JOB),),
            "pods": (self._labelled(POD, ours),),
            "replica_sets": (self._labelled(REPLICA_SET, ours),),
            "services": (self._named(SERVICE), self._named(SERVICE, f"{key.name}-headless")),
            "slices": (self._labelled(ENDPOINT_SLICE, f"{_SERVICE_NAME}={key.name}"),),
            "events": (
                Informer(
                    client, EVENT, namespace=key.namespace, gives_up_on=_NEVER_SHOWN, keep=self._kept_event
                ),
            ),
            "claims": tuple(
                Informer(client, of, label_selector=labels, gives_up_on=_NEVER_SHOWN)
                for of in claim_kinds
                for labels in (
                    f"{ours},{api.LABEL_WORKSPACE_NAMESPACE}={key.namespace}",
                    f"{_NODE_POOL_LABELS[0]}={key.name},{_NODE_POOL_LABELS[1]}={key.namespace}",
                )
            ),
        }

    def _named(self, kind: Kind, name: str = "") -> Informer:
        fields = f"metadata.name={name or self.key.name}"
        return Informer(
            self._client, kind, namespace=self.key.namespace, field_selector=fields, gives_up_on=_NEVER_SHOWN
        )

    def _labelled(self, kind: Kind, labels: str) -> Informer:
        return Informer(
            self._client, kind, namespace=self.key.namespace, label_selector=labels, gives_up_on=_NEVER_SHOWN
        )

    def _kept_event(self, event: Object) -> Object | None:
        """Events about what is called like the Workspace, or begins so: its children all do."""
        return event if str(dig(event, "involvedObject", "name") or "").startswith(self.key.name) else None

    async def start(self) -> None:
        """Watch everything; returns when the first picture is there."""
        informers = [self._workspace, *(one for views in self._views.values() for one in views)]
        await asyncio.gather(*(self._watch(informer) for informer in informers))
        self._insist_on(self._workspace)
        if ENDPOINT_SLICE.plural in self._unseen:  # some roles show Endpoints, which are older, and no slices
            self._endpoints = self._named(ENDPOINTS)
            await self._watch(self._endpoints)
        await self.follow_nodes()

    async def follow_nodes(self) -> None:
        """Watch the nodes that have turned up since, each by its name."""
        if "nodes" in self._unseen:
            return
        new = [name for name in node_names(self._seen()) if name not in self._nodes]
        for name in new[: max(0, _MOST_NODES - len(self._nodes))]:
            self._nodes[name] = Informer(
                self._client, NODE, field_selector=f"metadata.name={name}", gives_up_on=_NEVER_SHOWN
            )
        await asyncio.gather(*(self._watch(self._nodes[name]) for name in new if name in self._nodes))

    def snapshot(self) -> Snapshot:
        """What there is now.

        Raises:
            ApiError: the Workspace itself may not be looked at (any more).
        """
        self._insist_on(self._workspace)
        return self._seen()

    def _seen(self) -> Snapshot:
        parts: dict[str, Any] = {
            part: tuple(obj for view in views for obj in view.store.values())
            for part, views in self._views.items()
        }
        nodes = tuple(obj for view in self._nodes.values() for obj in view.store.values())
        unseen = dict(sorted(self._unseen.items()))
        if self._endpoints is not None and ENDPOINTS.plural not in unseen:
            found = self._endpoints.store.values()
            parts["slices"] = tuple(one for obj in found for one in slice_of_endpoints(obj))
            del unseen[ENDPOINT_SLICE.plural]
        return Snapshot(self._workspace.store.get(self.key), **parts, nodes=nodes, unseen=unseen)


@asynccontextmanager
async def looking(client: Client, key: ObjectKey, *, once: bool = False) -> AsyncIterator[Look]:
    """A lasting picture of a Workspace, kept up to date for as long as the block; or looked at `once`.

    Raises:
        ApiError: the cluster knows no Workspaces, or will not show this one.
    """
    kind, claim_kinds = await _kinds(client, insists=once)
    look = Look(client, key, kind, claim_kinds, once=once)
    try:
        await look.start()
        yield look
    finally:
        await look.stop()


async def once(client: Client, key: ObjectKey) -> Snapshot:
    """What belongs to a Workspace now.

    Raises:
        ApiError: the cluster knows no Workspaces, not this one, or will not show it.
    """
    async with looking(client, key, once=True) as look:
        seen = look.snapshot()
    if seen.workspace is None:
        raise await no_such(client, look.kind, key)
    return seen


async def no_such(client: Client, kind: Kind, key: ObjectKey) -> ApiError:
    """The error for a name that no Workspace has, with the nearest one that exists."""
    from kaitoctl.kaito import catalog

    try:
        there = [str(item["metadata"]["name"]) for item in (await client.list(kind, key.namespace)).items]
    except ApiError:
        there = []
    near = catalog.close_matches(key.name, there)
    hint = f"did you mean {near[0]}?" if near else f"kaitoctl status -n {key.namespace} lists them"
    return ApiError(404, "NotFound", f"there is no Workspace {key}", details={"name": key.name}, hint=hint)


async def workspace_kind(client: Client) -> Kind:
    """Workspaces in the newest version that the cluster serves and that we know.

    Raises:
        ApiError: it serves none.
    """
    try:
        answer = await client.send(Request("GET", f"/apis/{api.GROUP}"))
    except ApiError as error:
        if error.status == 404:
            from kaitoctl.cli.create_workspace import missing_crd

            raise missing_crd() from error
        if error.status not in _REFUSED:
            raise
        return api.WORKSPACE  # it will not say; asking for Workspaces will tell
    if (kind := api.newest(api.served_versions(answer))) is not None:
        return kind
    names = ", ".join(str(item.get("version")) for item in answer.get("versions") or ())
    raise ApiError(
        404,
        "NotFound",
        f"this cluster serves {api.GROUP} in version {names or 'none'}; kaitoctl speaks "
        f"{' and '.join(api.VERSIONS)}",
        hint="kaitoctl explain crd-version",
    )


async def _kinds(client: Client, *, insists: bool) -> tuple[Kind, list[Kind]]:
    """Workspaces, and what nodes are asked for with, in the versions that the cluster serves.

    Args:
        client: the cluster.
        insists: whether a server in trouble is an error; who follows waits until that is over.
    """
    asking = _optional(client, Request("GET", f"/apis/{NODE_CLAIM.group}"), insists=insists)
    kind, answer = await asyncio.gather(workspace_kind(client), asking)
    versions = {str(item.get("version")) for item in (answer or {}).get("versions") or ()}
    claims = [replace(NODE_CLAIM, version=version) for version in ("v1", "v1beta1") if version in versions][
        :1
    ]
    if api.MACHINE.version in versions:
        claims.append(api.MACHINE)
    return kind, claims or [NODE_CLAIM]


async def _optional(client: Client, asked: Request, *, insists: bool) -> Any:
    try:
        return await client.send(asked)
    except ApiError as error:
        if insists and error.status not in (404, *_REFUSED):
            raise
        return None


# --- what only a diagnosis asks ------------------------------------------------------------------------


@dataclass(slots=True)
class _Asked:
    """What further questions brought, and those that were refused."""

    unseen: dict[str, str]

    async def or_none(self, what: str, asking: Any) -> Any:
        """The answer; None where there is none, and a note where it was refused."""
        try:
            return await asking
        except ApiError as error:
            if error.status != 404:
                self.unseen[what] = str(error)
            return None


async def deeply(client: Client, seen: Snapshot, *, rules: nodes_.Rules | None = None) -> Snapshot:
    """The snapshot with what a diagnosis needs besides: node verdict, references, logs, revisions.

    Args:
        client: the cluster.
        seen: what was seen so far.
        rules: whose choice of nodes counts; None goes by who manages the Workspace.
    """
    workspace = seen.workspace
    if workspace is None:
        return seen
    asked = _Asked(dict(seen.unseen))
    verdict, missing, logs, revisions, events, here = await asyncio.gather(
        _verdict(client, seen, asked, rules),
        _missing(client, seen, asked),
        _logs(client, seen, asked),
        _revisions(client, seen, asked),
        _events_of_cluster(client, seen, asked),
        _controllers(client, seen, asked),
    )
    pools = await _pools(client, seen, asked)
    going = await _of_deletion(client, workspace, asked) if is_being_deleted(workspace) else {}
    return replace(
        seen,
        **going,
        pools=pools,
        verdict=verdict,
        missing=missing,
        logs=logs,
        revisions=revisions,
        events=(*seen.events, *events),
        controllers=here[0],
        waiting=here[1],
        unseen=dict(sorted(asked.unseen.items())),
    )


async def with_controllers(client: Client, seen: Snapshot) -> Snapshot:
    """The snapshot with what manages Workspaces here, where this one seems not to be managed."""
    asked = _Asked(dict(seen.unseen))
    here, waiting = await _controllers(client, seen, asked)
    return replace(seen, controllers=here, waiting=waiting, unseen=dict(sorted(asked.unseen.items())))


def rules_of(seen: Snapshot) -> nodes_.Rules:
    """Whose choice of nodes counts: our own controller's, or that of the KAITO that the version suggests."""
    if seen.is_ours:
        return nodes_.OWN_RULES
    workspace = seen.workspace or {}
    is_modern = workspace.get("apiVersion") == api.WORKSPACE_V1BETA1.api_version
    return nodes_.rules_for(workspace, "v0.12" if is_modern else "v0.4")


async def _verdict(
    client: Client, seen: Snapshot, asked: _Asked, rules: nodes_.Rules | None
) -> nodes_.Verdict | None:
    """Which nodes it will use, where that still matters and may be asked."""
    assert seen.workspace is not None
    where = progress(seen)
    from kaitoctl.kaito import diagnosis

    waiting = [pod for pod in seen.pods if not dig(pod, "spec", "nodeName") and not pods_.is_finished(pod)]
    is_gated = bool(waiting) and all(diagnosis.gates_of(pod) for pod in waiting)
    if where.outcome == "ready" or is_gated or (where.phase > Phase.SCHEDULING and not waiting):
        return None
    from kaitoctl.cli.check_nodes import observe, sparing_others
    from kaitoctl.kaito import nodes_of_others

    rules = rules or rules_of(seen)
    found: Seen | None = await asked.or_none("nodes", observe(client, seen.workspace, rules))
    if found is None:
        return None
    asked.unseen.pop("nodes", None)
    verdict = found.verdict(seen.workspace, rules)
    spared: nodes_.Verdict | None = await asked.or_none(
        "nodes of others", sparing_others(client, seen.workspace, verdict)
    )
    return nodes_of_others.spared(verdict, {}, ()) if spared is None else spared


async def _missing(client: Client, seen: Snapshot, asked: _Asked) -> frozenset[Named]:
    """Which of the Secrets, ConfigMaps and claims do not exist; nothing of what is in them is kept."""
    assert seen.workspace is not None
    namespace = seen.workspace["metadata"].get("namespace") or ""
    from kaitoctl.kaito import diagnosis

    wanted = {named for _, named in diagnosis.references(seen.workspace)}
    wanted |= {Named(ref.kind, ref.name) for pod in seen.pods for ref in pods_.references(pod)}

    async def is_missing(named: Named) -> bool:
        kind = _KINDS[named.kind]
        asking = request.get(kind, namespace, named.name)
        try:
            await client.send(asking, decode=lambda _: {})
        except ApiError as error:
            if error.status == 404:
                return True
            asked.unseen[kind.plural] = str(error)
        return False

    names = sorted(wanted)
    answers = await asyncio.gather(*(is_missing(named) for named in names))
    return frozenset(named for named, gone in zip(names, answers, strict=True) if gone)


async def _logs(client: Client, seen: Snapshot, asked: _Asked) -> dict[tuple[str, str], str]:
    """The last lines of containers that have ended with an error, of the run that did."""
    found: dict[tuple[str, str], str] = {}

    async def read(pod: Object, container: str, *, previous: bool) -> None:
        metadata = pod["metadata"]
        query = {"container": container, "tailLines": str(_LOG_LINES), "limitBytes": str(_LOG_BYTES)}
        path = POD.path(metadata.get("namespace") or "", metadata["name"], "log")
        for more in ({"previous": "true"}, {}) if previous else ({},):
            try:
                text = await client.text(path, {**query, **more})
            except ApiError as error:
                if error.status in _REFUSED:
                    asked.unseen["pods/log"] = str(error)
                continue
            if text:
                found[metadata["name"], container] = text
                return

    newest = sorted(
        seen.pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp") or ""), reverse=True
    )
    troubled = [
        (pod, item) for pod in newest for item in pods_.container_statuses(pod) if _has_ended_badly(item)
    ]
    await asyncio.gather(
        *(
            read(pod, item["name"], previous=bool(dig(item, "lastState", "terminated")))
            for pod, item in troubled[:_MOST_LOGS]
        )
    )
    return found


def _has_ended_badly(item: Object) -> bool:
    """Whether a container has ended with an error, or ends over and over."""
    return dig(item, "state", "waiting", "reason") == "CrashLoopBackOff" or any(
        dig(item, state, "terminated", "exitCode") or dig(item, state, "terminated", "reason") == "OOMKilled"
        for state in ("state", "lastState")
    )


async def _revisions(client: Client, seen: Snapshot, asked: _Asked) -> tuple[Object, ...]:
    assert seen.workspace is not None
    metadata = seen.workspace["metadata"]
    labels = f"workspace.kaito.io/name={metadata['name']}"
    listing = client.list(CONTROLLER_REVISION, metadata.get("namespace") or "", label_selector=labels)
    listed = await asked.or_none("controllerrevisions", listing)
    return tuple(listed.items) if listed else ()


async def _events_of_cluster(client: Client, seen: Snapshot, asked: _Asked) -> list[Object]:
    """Events about nodes and NodeClaims, which live in the namespace `default`."""
    names = [claim["metadata"]["name"] for claim in seen.claims] + [
        node["metadata"]["name"] for node in seen.nodes
    ]

    async def of(fields: str) -> Any:
        return await asked.or_none("events of nodes", client.list(EVENT, "default", field_selector=fields))

    asking = [f"involvedObject.name={name}" for name in names[:_MOST_NODES]]
    if not seen.claims and _waits_for_nodes(seen):
        asking.append("involvedObject.kind=NodeClaim")  # of claims that were given up and are gone
    lists = await asyncio.gather(*map(of, asking))
    return [event for listed in lists if listed for event in listed.items]


def _waits_for_nodes(seen: Snapshot) -> bool:
    """Whether a controller has asked for nodes, and has not got them."""
    assert seen.workspace is not None
    said = dig(seen.workspace, "status", "conditions")
    return bool(said) and not is_true(seen.workspace, api.RESOURCE_READY)


async def _pools(client: Client, seen: Snapshot, asked: _Asked) -> tuple[Object, ...]:
    """The NodePools of KAITO v0.12 with Karpenter, where nodes are still waited for."""
    assert seen.workspace is not None
    if seen.is_ours or not _waits_for_nodes(seen):
        return ()
    metadata = seen.workspace["metadata"]
    labels = zip(_NODE_POOL_LABELS, (metadata["name"], metadata.get("namespace") or ""), strict=True)
    selector = ",".join("=".join(label) for label in labels)
    listed = await asked.or_none("nodepools", client.list(NODE_POOL, label_selector=selector))
    return tuple(listed.items) if listed else ()


async def _of_deletion(client: Client, workspace: Object, asked: _Asked) -> dict[str, Any]:
    """What only the deletion of a Workspace depends on; what may not be looked at is left out."""
    namespace = str(workspace["metadata"].get("namespace") or "default")
    kinds, budgets, space, *hooks = await asyncio.gather(
        _claim_kinds(client, asked),
        asked.or_none("poddisruptionbudgets", client.list(POD_DISRUPTION_BUDGET, namespace)),
        asked.or_none("namespaces", client.send(request.get(NAMESPACE, "", namespace))),
        *(asked.or_none(kind.plural, client.list(kind)) for kind in WEBHOOKS),
    )
    return {
        "claim_kinds": kinds,
        "budgets": tuple(budgets.items) if budgets else (),
        "space": space,
        "webhooks": tuple(
            str(item["metadata"]["name"])
            for listed in hooks
            if listed
            for item in listed.items
            if _judges_workspaces(item)
        ),
    }


def _judges_workspaces(configuration: Object) -> bool:
    rules = [rule for hook in configuration.get("webhooks") or () for rule in hook.get("rules") or ()]
    return any(
        api.GROUP in (rule.get("apiGroups") or ()) and {"workspaces", "*"} & set(rule.get("resources") or ())
        for rule in rules
    )


async def _claim_kinds(client: Client, asked: _Asked) -> frozenset[str] | None:
    """The kinds of claims that the cluster has; None when it will not say."""
    found = set()
    for kind in (NODE_CLAIM, replace(NODE_CLAIM, version="v1beta1"), api.MACHINE):
        try:
            answer = await client.send(Request("GET", f"/apis/{kind.group}/{kind.version}"))
        except ApiError as error:
            if error.status == 404:
                continue
            asked.unseen["kinds of karpenter.sh"] = str(error)
            return None
        if any(item.get("kind") == kind.kind for item in answer.get("resources") or ()):
            found.add(kind.kind)
    return frozenset(found)


async def _controllers(
    client: Client, seen: Snapshot, asked: _Asked
) -> tuple[tuple[str, ...] | None, tuple[ObjectKey, ...]]:
    """What manages Workspaces here, and which others it may be busy with.

    Asked only when this one seems not to be managed.
    """
    from kaitoctl.kaito.diagnosis import of_controller

    assert seen.workspace is not None
    generation = int(seen.workspace["metadata"].get("generation") or 0)
    observed = [
        int(item.get("observedGeneration") or 0) for item in dig(seen.workspace, "status", "conditions") or ()
    ]
    if observed and max(observed) >= generation and not is_being_deleted(seen.workspace):
        return None, ()
    from kaitoctl.kaito import installation

    listed = await asked.or_none("deployments of all namespaces", client.list(DEPLOYMENT))
    if listed is None:
        return None, ()
    here = tuple(
        f"{one.words}, nodes by {one.provisioner}" if one.provisioner else one.words
        for one in installation.controllers(listed.items)
    )
    if not of_controller.is_kaito_here(here):
        return here, ()
    others = await asked.or_none("Workspaces of all namespaces", client.list(api.kind_of(seen.workspace)))
    return here, of_controller.waiting(others.items, key_of(seen.workspace)) if others else ()


# --- many Workspaces -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Row:
    """A Workspace in a list.

    Args:
        workspace: the object.
        key: its key.
        state: `Ready`, `Progressing`, `NotServing`, `Failed`, `Deleting` or `Waiting`.
        nodes: how many it runs on, of those it needs.
        gpus: devices that its pods hold.
        adapters: how many it asks for.
        since: when it was created.
        where: where it stands, in words.
    """

    workspace: Object
    key: ObjectKey
    state: str
    nodes: str
    gpus: str
    adapters: int
    since: str
    where: str

    def as_json(self) -> Object:
        """The row as documented in docs/status.md."""
        return {
            "namespace": self.key.namespace,
            "name": self.key.name,
            "state": self.state.lower(),
            "nodes": self.nodes,
            "gpus": int(self.gpus) if self.gpus.isdigit() else None,
            "adapters": self.adapters,
            "since": self.since,
            "where": self.where,
        }


class Overview(_Picture):
    """A lasting list of the Workspaces of a namespace, or of all; make one with `overviewing`."""

    def __init__(
        self, client: Client, namespace: str, kind: Kind, claim_kinds: Iterable[Kind], *, once: bool = False
    ) -> None:
        super().__init__(client, kind, once=once)

        def of(kind: Kind, labels: str = "") -> Informer:
            where = namespace if kind.namespaced else ""
            return Informer(client, kind, namespace=where, label_selector=labels, gives_up_on=_NEVER_SHOWN)

        self._workspaces = of(kind)
        self._workloads = (of(DEPLOYMENT), of(STATEFUL_SET))
        self._jobs = of(JOB, api.LABEL_WORKSPACE)
        self._pods = of(POD, api.LABEL_WORKSPACE)
        self._claims = tuple(of(kind, api.LABEL_WORKSPACE) for kind in claim_kinds)
        self._services = of(SERVICE)
        self._slices = of(ENDPOINT_SLICE)

    async def start(self) -> None:
        """Watch everything; returns when the first picture is there."""
        views = (
            *(self._workspaces, *self._workloads, self._jobs, self._pods, *self._claims),
            *(self._services, self._slices),
        )
        await asyncio.gather(*(self._watch(view) for view in views))

    def rows(self) -> tuple[list[Row], dict[str, str]]:
        """The Workspaces as they are now, by key, and what could not be looked at.

        Raises:
            ApiError: Workspaces may not be listed (any more).
        """
        self._insist_on(self._workspaces)
        pods: dict[ObjectKey, list[Object]] = {}
        for pod in self._pods.store.values():
            key = ObjectKey(key_of(pod).namespace, labels_of(pod).get(api.LABEL_WORKSPACE, ""))
            pods.setdefault(key, []).append(pod)
        claims: dict[ObjectKey, list[Object]] = {}
        for claim in (claim for view in self._claims for claim in view.store.values()):
            labels = labels_of(claim)
            key = ObjectKey(
                labels.get(api.LABEL_WORKSPACE_NAMESPACE, ""), labels.get(api.LABEL_WORKSPACE, "")
            )
            claims.setdefault(key, []).append(claim)
        slices: dict[ObjectKey, list[Object]] = {}
        for one in self._slices.store.values():
            key = ObjectKey(key_of(one).namespace, labels_of(one).get(_SERVICE_NAME, ""))
            slices.setdefault(key, []).append(one)
        found, unseen = [], dict(sorted(self._unseen.items()))
        for key in sorted(self._workspaces.store):
            workspace = self._workspaces.store[key]
            seen = Snapshot(
                workspace,
                tuple(view.store[key] for view in self._workloads if key in view.store),
                tuple(pods.get(key, ())),
                tuple(claims.get(key, ())),
                jobs=(self._jobs.store[key],) if key in self._jobs.store else (),
                services=(self._services.store[key],) if key in self._services.store else (),
                slices=tuple(slices.get(key, ())),
                unseen=unseen,
            )
            found.append(_row(seen, workspace, pods_seen=POD.plural not in unseen))
        return found, unseen


@asynccontextmanager
async def overviewing(client: Client, namespace: str, *, once: bool = False) -> AsyncIterator[Overview]:
    """The Workspaces of a namespace (empty for all), kept up to date like `looking`."""
    kind, claim_kinds = await _kinds(client, insists=once)
    picture = Overview(client, namespace, kind, claim_kinds, once=once)
    try:
        await picture.start()
        yield picture
    finally:
        await picture.stop()


def _row(seen: Snapshot, workspace: Object, *, pods_seen: bool) -> Row:
    where = progress(seen)
    if is_being_deleted(workspace):
        state, words = "Deleting", f"finalizers: {', '.join(workspace['metadata'].get('finalizers') or ())}"
    else:
        waits = "Waiting" if where.phase is Phase.SUBMITTED else "Progressing"
        state = (
            "NotServing" if where.down else {"ready": "Ready", "failed": "Failed", None: waits}[where.outcome]
        )
        words = f"{where.words}: {where.detail}".rstrip(": ")
    here = {dig(pod, "spec", "nodeName") for pod in seen.pods if not pods_.is_finished(pod)} - {None, ""}
    held = sum(nodes_.gpus_held(pod) for pod in seen.pods)
    return Row(
        workspace,
        key_of(workspace),
        state,
        f"{len(here)}/{nodes_.required_nodes(workspace)}" if pods_seen else "?",
        str(held) if pods_seen else "?",
        len(dig(workspace, "inference", "adapters") or ()),
        str(workspace["metadata"].get("creationTimestamp") or ""),
        words,
    )
