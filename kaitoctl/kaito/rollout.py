"""States as they arrive -> how far a Workspace's rollout is, and how it ended. Pure.

Reads what every KAITO controller leaves behind (conditions, NodeClaims, a workload and pods labelled with
the Workspace's name): it follows ours and upstream's. Never ready while a pod is not, or nobody is reached.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from kaitoctl.kaito import api, controller_errors
from kaitoctl.kaito.launch_failures import claim_failure
from kaitoctl.kaito.own_workloads import is_current, is_made_by_us
from kaitoctl.kaito.pod_preparation import has_begun, is_unprepared, unprepared_event
from kaitoctl.kaito.secrecy import without_secrets
from kaitoctl.kaito.serving import is_foreign, is_on_lost_node, lost_words, serving
from kaitoctl.kaito.snapshot import Snapshot, event_time, is_at_work
from kaitoctl.kaito.workspace_conditions import JOB_REPLACED, is_refused
from kaitoctl.kube import conditions, pod_state
from kaitoctl.kube.objects import (
    Object,
    annotations_of,
    creation_time_of,
    dig,
    generation_of,
    is_being_deleted,
)
from kaitoctl.kube.workloads import is_observed, is_rolled_out, refused_pods, replicas, why_stalled

_REVISION = "workspace.kaito.io/revision"


class Phase(IntEnum):
    """The stations of a rollout, in the order in which they are passed."""

    REFUSED = -2
    DELETING = -1
    SUBMITTED = 0
    ACCEPTED = 1
    NODES = 2
    GPU_PLUGIN = 3
    SCHEDULING = 4
    PREPARING = 5
    ADAPTERS = 6
    DATA = 7
    INITIALIZING = 8
    PULLING = 9
    STARTING = 10
    LOADING = 11
    TUNING = 12
    SERVICE = 13
    BENCHMARK = 14
    READY = 15

    @property
    def words(self) -> str:
        """What it is called on a screen."""
        return _WORDS[self]

    @property
    def failed_words(self) -> str:
        """How it is said that the rollout ended there."""
        return "refused" if self is Phase.REFUSED else f"failed while {self.words}"


def standing(words: str, detail: str, link: str = ": ") -> str:
    """A phase's words with what is going on there, which may say them itself."""
    return detail if f" is {words}: " in detail else words + (link + detail if detail else "")


_WORDS = {
    Phase.REFUSED: "refused",
    Phase.DELETING: "being deleted",
    Phase.SUBMITTED: "waiting for a controller",
    Phase.ACCEPTED: "accepted",
    Phase.NODES: "preparing nodes",
    Phase.GPU_PLUGIN: "waiting for the GPU plugin",
    Phase.SCHEDULING: "scheduling",
    Phase.PREPARING: "preparing the pod",
    Phase.ADAPTERS: "copying adapters",
    Phase.DATA: "fetching data",
    Phase.INITIALIZING: "running init containers",
    Phase.PULLING: "pulling image",
    Phase.STARTING: "starting containers",
    Phase.LOADING: "loading model",
    Phase.TUNING: "tuning",
    Phase.SERVICE: "waiting for its Service",
    Phase.BENCHMARK: "measuring the model",
    Phase.READY: "ready",
}


class Progress(Struct, frozen=True):
    """Where the rollout stands.

    Args:
        phase: the station reached.
        detail: what is going on there, one line.
        outcome: None while under way.
        down: nobody is served, though its controller says so or has nothing left to do: no waiting helps.
    """

    phase: Phase
    detail: str = ""
    outcome: Literal["ready", "failed"] | None = None
    down: bool = False

    @property
    def words(self) -> str:
        """Where it stands, in a few words."""
        return DOWN if self.down else self.phase.words


_MOST_SAID = 200
DOWN = "not serving"
"""What a Workspace is called on a screen that its controller takes for ready, and that serves nobody."""


def progress(seen: Snapshot) -> Progress:
    """How far the rollout of the Workspace's present generation is; words of others without secrets."""
    found = _progress(seen)
    return replace(found, detail=str(without_secrets(found.detail)))


def _progress(seen: Snapshot) -> Progress:
    workspace = seen.workspace
    if workspace is None or is_being_deleted(workspace):
        return Progress(Phase.DELETING, "the Workspace has been deleted", "failed")
    if failure := _failure(workspace, seen):
        station = Phase.REFUSED if is_refused(workspace) else _station(workspace, seen)
        return Progress(station, failure, "failed")
    phase = _station(workspace, seen)
    if phase is Phase.READY:
        return Progress(phase, _detail(workspace, phase, seen), "ready")
    if why := _down(workspace, seen):
        return Progress(phase, why, down=True)
    return Progress(phase, _with_error(_detail(workspace, phase, seen), workspace))


def _down(workspace: Object, seen: Snapshot) -> str:
    """Why nobody is served and nothing is under way; empty while something is, or somebody is served."""
    if workspace.get("tuning"):
        return ""
    workloads = _workloads(workspace, seen)
    found = serving(seen)
    if found.is_any or (not workloads and {"deployments", "statefulsets"} & set(seen.unseen)):
        return ""
    idle = [item for item in workloads if not replicas(item)]
    if idle and len(idle) == len(workloads):
        return f"{idle[0]['kind']} {idle[0]['metadata']['name']} is scaled to 0"
    if not is_called_ready(workspace, seen):
        return ""
    return found.words if workloads else "its Deployment or StatefulSet is missing"


def _with_error(detail: str, workspace: Object) -> str:
    """The detail, and the error of KAITO's last pass unless that passes by itself or stands there already."""
    error = controller_errors.last_error(workspace)
    if not error or error in detail or controller_errors.prospect(error) == "passing":
        return detail
    return f"{detail}; the controller's last error: {error}" if detail else f"the controller's error: {error}"


def _failure(workspace: Object, seen: Snapshot) -> str:
    said = controller_errors.failure(workspace, is_ours=seen.is_ours)
    if said and is_refused(workspace):
        return said  # nothing is made of it, so what pods and claims say is about what was before
    for claim in seen.claims:
        if not is_being_deleted(claim) and (why := claim_failure(claim)):
            return f"NodeClaim {claim['metadata']['name']}: {why}"
    for pod in current_pods(workspace, seen):
        if workspace.get("tuning"):
            from kaitoctl.kaito import tuning

            if (ended := tuning.pod_failure(pod)) and ended.final:
                return ended.message  # a Job's pod is not started again
        found = pod_state.trouble(pod)
        if found and found.hopeless:
            return f"pod {pod['metadata']['name']}: {found.reason}: {found.message}"
    # Kubernetes gives a rollout up after ten minutes; large images and models may take longer.
    loads = not seen.is_ours and any(is_at_work(seen, pod) for pod in current_pods(workspace, seen))
    for workload in _workloads(workspace, seen):
        if not loads and (why := why_stalled(workload)):
            return f"{workload['kind']} {workload['metadata']['name']}: {why}"
    return said


def _station(workspace: Object, seen: Snapshot) -> Phase:
    if workspace.get("tuning") and conditions.is_true(
        workspace, api.WORKSPACE_SUCCEEDED, generation=generation_of(workspace)
    ):
        return Phase.READY  # a tuning job leaves no workload behind that could be looked at
    workloads = _workloads(workspace, seen)
    pods = current_pods(workspace, seen)
    if workspace.get("tuning") and pods:
        return min(_tuning_station(workspace, pod, seen) for pod in pods)
    if not workloads:
        resource = conditions.find(workspace, api.RESOURCE_READY) or {}
        if seen.claims or conditions.is_of_now(resource, workspace):
            return _nodes_station(workspace, seen) if resource.get("status") != "True" else Phase.ACCEPTED
        return Phase.ACCEPTED if dig(workspace, "status", "conditions") else Phase.SUBMITTED
    serves = is_called_ready(workspace, seen)
    if serves and all(map(is_rolled_out, workloads)):
        found = serving(seen)
        if found.is_any or found.gap != "pods":
            return Phase.READY if found.is_any else Phase.SERVICE
    if serves_unmeasured(workspace) and all(map(is_rolled_out, workloads)):
        return Phase.BENCHMARK
    stations = (
        Phase.NODES if is_on_lost_node(seen, pod) else _pod_station(workspace, pod, seen) for pod in pods
    )
    station = min(stations, default=Phase.SCHEDULING)
    if station is Phase.LOADING and lacks_nodes(workspace):
        return _nodes_station(workspace, seen)  # its pods have begun, and their nodes have changed since
    return station


def _nodes_station(workspace: Object, seen: Snapshot) -> Phase:
    """Whether the nodes are still on their way, or are there and show no GPU yet."""
    told = conditions.find(workspace, api.NODES_READY) or {}
    if told.get("status") == "False" and told.get("reason") == "NodePluginsNotReady":
        return Phase.GPU_PLUGIN
    claims = [claim for claim in seen.claims if not is_being_deleted(claim)]
    joined = [claim for claim in claims if conditions.is_true(claim, "Registered")]
    return Phase.GPU_PLUGIN if claims and len(joined) == len(claims) else Phase.NODES


def lacks_nodes(workspace: Object) -> bool:
    """Whether the controller says of this generation that its nodes are not (all) in order."""
    return conditions.current(workspace, api.RESOURCE_READY).get("status") == "False"


def _is_denied(workspace: Object) -> bool:
    """Whether the controller says that this generation has not succeeded (yet): nodes may be missing."""
    return conditions.current(workspace, api.WORKSPACE_SUCCEEDED).get("status") == "False"


def is_called_ready(workspace: Object, seen: Snapshot) -> bool:
    """Whether its controller says of this generation that it serves, and nothing against it."""
    return _is_said_to_serve(workspace, _workloads(workspace, seen)) and not _is_denied(workspace)


def _is_said_to_serve(workspace: Object, workloads: list[Object]) -> bool:
    """Whether the controller says so of this generation.

    KAITO v0.3.2 leaves a condition as it is when nothing but the generation would differ; it marks the
    workload with the Workspace's revision instead.
    """
    if conditions.is_true(workspace, api.INFERENCE_READY, generation=generation_of(workspace)):
        return True
    revision = annotations_of(workspace).get(_REVISION)
    of_revision = bool(revision) and all(
        annotations_of(item).get(_REVISION) == revision for item in workloads
    )
    return of_revision and conditions.is_true(workspace, api.INFERENCE_READY)


def serves_unmeasured(workspace: Object) -> bool:
    """Whether KAITO says of this generation that the model serves, and that its measuring has failed.

    Nobody measures again: that is part of the start, and its result is read from the log of the first pod.
    """
    succeeded = conditions.find(workspace, api.WORKSPACE_SUCCEEDED) or {}
    has_failed = succeeded.get("reason") == controller_errors.UNMEASURED and _is_denied(workspace)
    return has_failed and conditions.is_true(workspace, api.INFERENCE_READY)


def _pod_station(workspace: Object, pod: Object, seen: Snapshot) -> Phase:
    if not dig(pod, "spec", "nodeName"):
        return Phase.SCHEDULING
    if is_unprepared(seen, pod):
        return Phase.PREPARING
    status = pod.get("status") or {}
    inits = {str(item.get("name")): item for item in status.get("initContainerStatuses") or ()}
    for spec in dig(pod, "spec", "initContainers") or ():
        item = inits.get(str(spec.get("name"))) or {}
        if dig(item, "state", "terminated", "exitCode") == 0 or pod_state.is_started_sidecar(spec, item):
            continue
        if workspace.get("tuning") or _brings(workspace, str(spec.get("name"))):
            return Phase.ADAPTERS
        return Phase.PULLING if _is_waiting(item) else Phase.INITIALIZING
    mains = status.get("containerStatuses") or ()
    if any(map(has_begun, mains)):
        return Phase.LOADING
    return Phase.PULLING if not mains or any(map(_is_waiting, mains)) else Phase.STARTING


def loading_pod(workspace: Object, seen: Snapshot) -> Object | None:
    """The first pod whose container has begun and loads the model."""
    pods = current_pods(workspace, seen)
    return next((pod for pod in pods if _pod_station(workspace, pod, seen) is Phase.LOADING), None)


def _brings(workspace: Object, container: str) -> bool:
    """Whether an init container brings an adapter; others fetch weights, or prepare node or network."""
    entries = dig(workspace, "inference", "adapters") or ()
    return container.removeprefix("puller-") in {dig(item, "source", "name") for item in entries}


def _is_waiting(item: Object) -> bool:
    """Whether the container waits for its image: what comes after that has words of its own."""
    return not has_begun(item) and dig(item, "state", "waiting", "reason") not in pod_state.AFTER_THE_PULL


def _tuning_station(workspace: Object, pod: Object, seen: Snapshot) -> Phase:
    """Of a tuning Job's pod: its init container fetches the data, and pushing is part of tuning."""
    from kaitoctl.kaito import tuning

    if tuning.has_started(workspace, [pod]):
        return Phase.TUNING
    station = _pod_station(workspace, pod, seen)
    return Phase.DATA if station is Phase.ADAPTERS else station


def _detail(workspace: Object, phase: Phase, seen: Snapshot) -> str:
    if workspace.get("tuning"):
        return _tuning_detail(workspace, phase, seen)
    if phase in (Phase.NODES, Phase.GPU_PLUGIN):
        resource = conditions.find(workspace, api.RESOURCE_READY) or {}
        if resource.get("status") == "True":  # they were there, and are not any more
            return lost_words(seen)
        return str(resource.get("message") or "")
    pods = current_pods(workspace, seen)
    if phase is Phase.SERVICE:
        return serving(seen).words
    if phase is Phase.READY:
        wanted = sum(map(replicas, _workloads(workspace, seen)))
        ready = [pod for pod in pods if pod_state.is_ready(pod)]
        besides = " (simulated)" if ready and all(map(pod_state.is_simulated, ready)) else ""
        count = len(ready) or min(wanted, len(serving(seen).pods))  # of addresses where pods are not seen
        return f"{count} of {wanted} pods serve{besides}" if wanted else ""
    behind = [pod for pod in pods if _pod_station(workspace, pod, seen) == phase]
    if why := _refusal(workspace, seen, pods):
        return f"its pods are refused: {why}"
    if not behind:
        leaving = sum(map(is_being_deleted, seen.pods))
        return f"waiting for {leaving} old pod{'s' if leaving > 1 else ''} to stop" if leaving else ""
    where = _where(behind[0], seen)
    if len(pods) == 1:
        return where
    return f"{len(behind)} of {len(pods)} pods, {behind[0]['metadata']['name']} {where}".rstrip()


def refusal_events(seen: Snapshot, obj: Object, *, is_short: bool) -> list[Object]:
    """The events by which a controller says that it may not create a workload's pods, the newest first.

    Events outlive what they speak of: they count only where pods are missing, and none was created since.

    Args:
        seen: what there is.
        obj: a workload, ReplicaSet or Job.
        is_short: whether it lacks pods.
    """
    events = seen.events_of(obj)
    made = max(
        (event_time(event) for event in events if event.get("reason") == "SuccessfulCreate"), default=""
    )
    failed = (event for event in events if event.get("reason") in _NOT_CREATED)
    return [event for event in failed if is_short and event_time(event) >= made]


_NOT_CREATED = ("FailedCreate", "ReplicaSetCreateError")


def _refusal(workspace: Object, seen: Snapshot, pods: list[Object]) -> str:
    """Why pods of the present spec cannot be created; empty while there are as many as wanted."""
    workloads = _workloads(workspace, seen)
    if len(pods) >= sum(map(replicas, workloads)):
        return ""
    if why := next(filter(None, map(refused_pods, workloads)), ""):
        return why
    for obj in (*workloads, *seen.replica_sets):
        is_short = int(dig(obj, "status", "replicas") or 0) < replicas(obj)
        if told := refusal_events(seen, obj, is_short=is_short):
            return str(told[0].get("message") or told[0].get("note") or "no reason is given")
    return ""


def _tuned(output: Object) -> str:
    """Where the result of tuning is: in an image, or from KAITO v0.5 on in a volume."""
    if image := output.get("image"):
        return f"the adapter is {image}"
    volume = output.get("volumeSource") or {}
    if claim := dig(volume, "persistentVolumeClaim", "claimName"):
        return f"the adapter is in PersistentVolumeClaim {claim}"
    return f"the adapter is in its volume ({', '.join(volume) or 'none is named'})"


def _tuning_detail(workspace: Object, phase: Phase, seen: Snapshot) -> str:
    if phase in (Phase.NODES, Phase.GPU_PLUGIN):
        return str((conditions.find(workspace, api.RESOURCE_READY) or {}).get("message") or "")
    if phase is Phase.READY:
        return _tuned(dig(workspace, "tuning", "output") or {})
    pods = current_pods(workspace, seen)
    if not pods:
        told = [event for job in seen.jobs for event in refusal_events(seen, job, is_short=not seen.pods)]
        return f"its pods are refused: {told[0].get('message') or told[0].get('note')}" if told else ""
    statuses = dig(pods[0], "status", "containerStatuses") or ()
    name = workspace["metadata"]["name"]
    is_over = any(item["name"] == name and dig(item, "state", "terminated") for item in statuses)
    return "pushing the adapter" if is_over and not pod_state.trouble(pods[0]) else _where(pods[0], seen)


def _where(pod: Object, seen: Snapshot) -> str:
    """What is special about the pod: its trouble if it has any, how many adapters are done, its node."""
    found = pod_state.trouble(pod)
    node = dig(pod, "spec", "nodeName")
    words = [found.message] if found else []
    if not found and is_unprepared(seen, pod) and (event := unprepared_event(seen, pod)) is not None:
        said = " ".join(str(event.get("message") or event.get("note") or "").split())
        words.append(f"{event['reason']}: {said}"[:_MOST_SAID])
    if pod_state.summary(pod).startswith("Init:") and not found:
        name = (pod_state.next_init(pod) or {}).get("name") or ""
        words.append(f"{name} ({pod_state.summary(pod).removeprefix('Init:')} done)".lstrip())
    if node:
        words.append(f"on {node}")
    return " ".join(words)


def _workloads(workspace: Object, seen: Snapshot) -> list[Object]:
    """The workloads made for this generation.

    Ours say for which generation they were made; upstream's do not, and are taken as they are.
    """
    return [item for item in seen.workloads if not is_made_by_us(item) or is_current(workspace, item)]


def current_pods(workspace: Object, seen: Snapshot) -> list[Object]:
    """The newest living pods, as many as the workloads have updated: the rest belongs to the past.

    None while a workload has yet to take its spec up. Finished pods are replaced by others, so they say
    nothing about the rollout; but tuning is over when its pod is.
    """
    if workspace.get("tuning"):
        started = conditions.current(workspace, api.JOB_STARTED)
        if not started or started.get("reason") == JOB_REPLACED:
            return []  # what there is may belong to the job before
        here = [pod for pod in seen.pods if not is_being_deleted(pod)]
        return sorted(here, key=creation_time_of)[-1:]
    workloads = _workloads(workspace, seen)
    updated = sum(int(dig(item, "status", "updatedReplicas") or 0) for item in workloads if is_observed(item))
    own = (pod for pod in seen.pods if not is_being_deleted(pod) and not is_foreign(seen, pod))
    alive = [pod for pod in own if not pod_state.is_finished(pod)]
    alive.sort(key=creation_time_of, reverse=True)
    return alive[:updated]
