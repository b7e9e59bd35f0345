"""All that belongs to one Workspace at one moment. Pure: what `rollout`, `view_tree` and `diagnosis` look at.

Whoever gathers it (`commands.observe_workspace`) leaves out what it may not see and says so in `unseen`;
empty fields mean "there is none" only when their kind is not named there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from msgspec import Struct, field

from kaitoctl.kaito import api
from kaitoctl.kaito.catalog import SHIPPED, Catalog
from kaitoctl.kaito.node_check import Verdict
from kaitoctl.kaito.own_workloads import is_made_by_us, is_written_by_us
from kaitoctl.kube import managed_fields, pod_state
from kaitoctl.kube.objects import (
    CONFIG_MAP,
    DEPLOYMENT,
    NODE_CLAIM,
    PERSISTENT_VOLUME_CLAIM,
    POD,
    SECRET,
    SERVICE,
    STATEFUL_SET,
    Kind,
    Object,
    ObjectKey,
    dig,
    is_being_deleted,
    only,
    uid_of,
    without,
    without_managed_fields,
)

if TYPE_CHECKING:
    from kaitoctl.kaito.validation import Setting

_METADATA = ("name", "namespace", "uid", "resourceVersion", "generation")
_TIMES = ("creationTimestamp", "deletionTimestamp")
_CONTAINER = ("name", "image", "ports", "resources", "restartPolicy")
_PROBES = ("startupProbe", "livenessProbe", "readinessProbe")
_PORTS = ("httpGet", "tcpSocket", "grpc")


class Named(NamedTuple):
    """An object that others refer to by name: `Secret`, `ConfigMap` or `PersistentVolumeClaim`."""

    kind: str
    name: str


NAMED_KINDS = {one.kind: one for one in (SECRET, CONFIG_MAP, PERSISTENT_VOLUME_CLAIM)}
"""What a `Named` may be."""


class Snapshot(Struct, frozen=True):
    """All that belongs to one Workspace at one moment.

    Args:
        workspace: None when it does not exist (any more).
        workloads: Deployments and StatefulSets of its name, whoever made them.
        pods: pods labelled with its name.
        claims: its NodeClaims (or Machines, of KAITO v0.3 and v0.4).
        jobs: Jobs of its name.
        replica_sets: labelled with its name.
        services: of its name, and the headless one.
        slices: the EndpointSlices of the Service.
        nodes: those that pods, claims or the status name.
        gone: names of nodes that were asked for and do not exist.
        revisions: the ControllerRevisions that KAITO keeps of it.
        events: about any of these.
        verdict: which nodes it could use; None when nobody asked, or nodes may not be listed.
        setting: whose rules count for it; None when nobody asked.
        missing: what pods or the Workspace refer to and the namespace does not have.
        unbound: PersistentVolumeClaims that pods refer to and that have no volume; `events` has theirs.
        logs: the last lines of troubled containers, by pod and container; of the run before, if it ended.
        controllers: what manages Workspaces in this cluster, in words; None when nobody looked.
        waiting: other Workspaces that a controller has begun with and that are not ready; as `controllers`.
        pools: the NodePools that KAITO v0.12 has made for it.
        mirror: the ModelMirror that it waits for, its PersistentVolumeClaim, newest Job and that one's pods.
        claim_kinds: `NodeClaim` and `Machine`, as far as the cluster has them; None when nobody looked.
        device_slices: the ResourceSlices of nodes that seem to have no GPUs: what they offer through DRA.
        budgets: the PodDisruptionBudgets of its namespace, when it is being deleted.
        drained: pods of all namespaces on its nodes, when these are being emptied.
        webhooks: names of the webhook configurations that judge Workspaces, when it is being deleted.
        space: its Namespace, when it is being deleted.
        storage: where volumes of pods can be that wait for a node: PersistentVolumes and StorageClasses;
            CSINodes and VolumeAttachments where nodes have no room for more volumes.
        all_nodes: of the cluster, with the labels that these ask for; None when nobody asked, or may not.
        unseen: what could not be looked at, and why.
        catalog: of presets and instance types.
    """

    workspace: Object | None
    workloads: tuple[Object, ...] = ()
    pods: tuple[Object, ...] = ()
    claims: tuple[Object, ...] = ()
    jobs: tuple[Object, ...] = ()
    replica_sets: tuple[Object, ...] = ()
    services: tuple[Object, ...] = ()
    slices: tuple[Object, ...] = ()
    nodes: tuple[Object, ...] = ()
    gone: frozenset[str] = frozenset()
    revisions: tuple[Object, ...] = ()
    events: tuple[Object, ...] = ()
    verdict: Verdict | None = None
    setting: Setting | None = None
    missing: frozenset[Named] = frozenset()
    unbound: tuple[Object, ...] = ()
    logs: Mapping[tuple[str, str], str] = field(default_factory=dict)
    controllers: tuple[str, ...] | None = None
    waiting: tuple[ObjectKey, ...] = ()
    pools: tuple[Object, ...] = ()
    mirror: tuple[Object, ...] = ()
    claim_kinds: frozenset[str] | None = None
    device_slices: tuple[Object, ...] = ()
    budgets: tuple[Object, ...] = ()
    drained: tuple[Object, ...] = ()
    webhooks: tuple[str, ...] = ()
    space: Object | None = None
    storage: tuple[Object, ...] = ()
    all_nodes: tuple[Object, ...] | None = None
    unseen: Mapping[str, str] = field(default_factory=dict)
    catalog: Catalog = SHIPPED

    def events_of(self, obj: Object) -> list[Object]:
        """The events about an object, the newest first."""
        metadata = obj["metadata"]
        about = [
            event
            for event in self.events
            if dig(event, "involvedObject", "name") == metadata["name"]
            and dig(event, "involvedObject", "kind") == obj.get("kind")
            # The kubelet gives a node's name for its uid.
            and (dig(event, "involvedObject", "uid") or "") in ("", uid_of(obj), metadata["name"])
        ]
        return sorted(about, key=event_time, reverse=True)

    @property
    def is_ours(self) -> bool:
        """Whether kaitoctl's own controller manages the Workspace."""
        made = (*self.workloads, *self.jobs)
        return is_written_by_us(self.workspace or {}) or any(map(is_made_by_us, made))

    @property
    def may_wait_for_a_mirror(self) -> bool:
        """Whether KAITO says that the pods wait for the model's weights: by a condition, or by its reason."""
        said = dig(self.workspace, "status", "conditions") or ()
        return any(
            item.get("status") == "False" and "ModelMirror" in f"{item.get('type')} {item.get('reason')}"
            for item in said
        )

    @property
    def written_at(self) -> str:
        """When the spec was written last, RFC 3339; empty where the API server did not say."""
        return managed_fields.written_at(self.workspace or {}, ("f:resource", "f:inference", "f:tuning"))

    @property
    def hides_claims(self) -> bool:
        """Whether there may be NodeClaims that nobody could look at: a role of one namespace shows none."""
        return any(kind.plural in self.unseen for kind in (NODE_CLAIM, api.MACHINE))

    def node(self, name: str) -> Object | None:
        """The node of this name, if it is among those seen."""
        return next((node for node in self.nodes if node["metadata"]["name"] == name), None)


def times_of(event: Object) -> int:
    """How often an event came; both of Kubernetes' event APIs are understood."""
    return int(dig(event, "series", "count") or event.get("count") or 1)


def event_time(event: Object) -> str:
    """When an event was seen last, as RFC 3339; both of Kubernetes' event APIs are understood."""
    times = (
        dig(event, "series", "lastObservedTime"),
        event.get("lastTimestamp"),
        event.get("eventTime"),
        event.get("firstTimestamp"),
        dig(event, "metadata", "creationTimestamp"),
    )
    return str(next((time for time in times if time), ""))


def node_names(seen: Snapshot) -> list[str]:
    """The nodes that pods, claims or the status name, sorted."""
    names = {dig(pod, "spec", "nodeName") for pod in seen.pods}
    names |= {dig(claim, "status", "nodeName") for claim in seen.claims}
    worker_nodes = dig(seen.workspace, "status", "workerNodes")
    names |= set(worker_nodes) if isinstance(worker_nodes, list) else set()
    return sorted(name for name in names if isinstance(name, str) and name)


# --- what a list keeps ---------------------------------------------------------------------------------


def trimmed(kind: Kind, obj: Object) -> Object:
    """What a list of Workspaces reads of an object of this kind: the rest is forgotten while it is fetched.

    A cluster with ten thousand Workspaces has a hundred MB of Deployments and pods, most of it templates and
    volumes; a line of the list says where each Workspace stands (`rollout`), and that is in a tenth of it.
    """
    if kind in (api.WORKSPACE, api.WORKSPACE_V1BETA1):
        return _workspace(obj)
    if kind == POD:
        return _pod(obj)
    if kind in (DEPLOYMENT, STATEFUL_SET):
        return {**_slim(obj, "annotations"), "spec": only(obj.get("spec") or {}, "replicas")}
    if kind == SERVICE:
        return without(_slim(obj, "annotations"), "status")
    return without_managed_fields(obj)


def _slim(obj: Object, *more: str) -> Object:
    """The object with what tells it from others, and when it came, of its metadata."""
    return {**obj, "metadata": only(obj["metadata"], *_METADATA, *_TIMES, *more)}


def _workspace(obj: Object) -> Object:
    """The whole, and who has written it, by which one sees whose controller manages it; not which fields."""
    if not (entries := obj["metadata"].get("managedFields")):
        return obj
    writers = [{**entry, "fieldsV1": {}} for entry in entries]
    return {**obj, "metadata": {**obj["metadata"], "managedFields": writers}}


def _pod(pod: Object) -> Object:
    spec = only(pod.get("spec") or {}, "nodeName", "resourceClaims")
    for name in ("initContainers", "containers"):
        if listed := dig(pod, "spec", name):
            spec[name] = [_container(item) for item in listed]
    return {**_slim(pod, "labels"), "spec": spec}


def _container(item: Object) -> Object:
    kept = only(item, *_CONTAINER)
    for name in _PROBES:
        if probe := item.get(name):
            kept[name] = only(probe, *_PORTS)
    return kept


_BEGINS = ("Pulling", "Pulled", "Created", "Started")


def is_at_work(seen: Snapshot, pod: Object) -> bool:
    """Whether a pod loads for the first time, or its node pulls an image for it, and nothing has failed."""
    begins = dig(pod, "status", "phase") == "Pending" and dig(pod, "spec", "nodeName")
    if not begins or pod_state.trouble(pod) is not None or is_being_deleted(pod):
        return pod_state.is_on_its_way(pod)
    newest: Object = next(iter(seen.events_of(pod)), {})
    return newest.get("reason") in _BEGINS


def slice_of_endpoints(endpoints: Object) -> list[Object]:
    """Core Endpoints as EndpointSlices, for clusters that show no others."""
    return [
        {
            "kind": "EndpointSlice",
            "metadata": endpoints["metadata"],
            "ports": subset.get("ports") or [],
            "endpoints": [
                {
                    "addresses": [item.get("ip")],
                    "conditions": {"ready": is_ready},
                    "targetRef": item.get("targetRef"),
                }
                for part, is_ready in (("addresses", True), ("notReadyAddresses", False))
                for item in subset.get(part) or ()
            ],
        }
        for subset in endpoints.get("subsets") or ()
    ]
