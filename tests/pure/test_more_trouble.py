"""More trouble of the kinds of test_trouble.py: other words, other moments, and silence."""

from __future__ import annotations

import copy
from datetime import timedelta
from typing import Any

import pytest
from trouble import NOW, World

from kaitoctl.advice import text
from kaitoctl.kaito.diagnosis.cause import Cause


def killed(*, ran: tuple[str, str], **event: Any) -> World:
    """A server that was killed at the end of a run, and what an event says of a probe."""
    world = World("killed-after-serving").without("Event")
    ended = world["Pod"]["status"]["containerStatuses"][0]["lastState"]["terminated"]
    ended.update(exitCode=137, reason="Error", startedAt=ran[0], finishedAt=ran[1])
    return world.event(event.pop("reason"), event.pop("message"), **event)


# --- probes ----------------------------------------------------------------------------------------------

LIVENESS = "Container falcon failed liveness probe, will be restarted"


@pytest.mark.parametrize("reason", ["Killing", "Unhealthy"])
def test_a_probe_that_failed_in_an_earlier_run_did_not_kill_this_one(reason: str) -> None:
    run = ("2026-11-28T16:50:00Z", "2026-11-28T16:58:00Z")
    world = killed(ran=run, reason=reason, message=LIVENESS, lastTimestamp="2026-11-28T16:10:00Z")
    assert world.cause().code == "container-killed"


def test_a_probe_that_fails_again_and_again_is_blamed_for_each_of_its_kills() -> None:
    run = ("2026-11-28T16:30:00Z", "2026-11-28T16:41:00Z")
    times = {"firstTimestamp": "2026-11-28T16:05:00Z", "lastTimestamp": "2026-11-28T16:58:00Z", "count": 40}
    world = killed(ran=run, reason="Unhealthy", message="Liveness probe failed: connection refused", **times)
    assert world.cause().code == "probe-kills-slow-start"


def test_who_asks_a_server_to_end_is_not_the_kernel() -> None:
    world = killed(
        ran=("2026-11-28T11:00:00Z", "2026-11-28T16:58:00Z"), reason="Pulled", message="image is there"
    )
    world["Pod"]["status"]["containerStatuses"][0]["lastState"]["terminated"]["exitCode"] = 143
    cause = world.cause()
    assert cause.code == "container-killed"
    assert "kernel" not in cause.hint


# --- silence ---------------------------------------------------------------------------------------------


def test_a_pod_that_no_scheduler_has_looked_at_says_so() -> None:
    world = World("scheduling-gated")
    del world["Pod"]["spec"]["schedulingGates"]
    world["Pod"]["spec"]["schedulerName"] = "volcano"
    world["Pod"]["status"] = {"phase": "Pending"}
    cause = world.cause()
    assert (cause.code, cause.weight) == ("unschedulable", "fault")
    assert "scheduler volcano has not tried to place it" in cause.message


def test_a_scheduler_that_says_why_in_an_event_alone_has_looked_at_the_pod() -> None:
    world = World("scheduling-gated").without("Event")
    del world["Pod"]["spec"]["schedulingGates"]
    world["Pod"]["spec"]["schedulerName"] = "volcano"
    world["Pod"]["status"] = {"phase": "Pending"}
    words = "3/3 tasks in gang unschedulable: pod group is not ready, 1 Pending, 3 minAvailable"
    found = world.event("FailedScheduling", words, lastTimestamp=None, count=None).cause()
    assert (found.code, "has not tried" in found.message) == ("unschedulable", False)
    assert words in found.message
    assert "PodGroup" in found.hint


def test_a_workload_whose_pods_nobody_creates_says_so() -> None:
    world = World("webhook-silent").without("Event", "Pod")
    world["Deployment"]["status"]["conditions"] = []
    cause = world.cause()
    assert (cause.code, cause.about) == ("kubernetes-says", "Deployment falcon")
    assert "it has had no pod for" in cause.message
    assert cause.command


def test_a_restarted_workload_may_have_no_pod_for_a_moment() -> None:
    world = World("webhook-silent").without("Event", "Pod")
    world["Deployment"]["status"]["conditions"] = []
    just_now = NOW - timedelta(seconds=2)
    world["Deployment"]["metadata"]["managedFields"] = [{"time": f"{just_now:%Y-%m-%dT%H:%M:%SZ}"}]
    assert all(cause.code != "kubernetes-says" for cause in world.diagnosis().causes)


def test_a_failed_pod_without_a_reason_is_not_passed_over() -> None:
    world = World("rejected-by-kubelet").without("Event")
    pod = world["Pod"]
    world.objects = [item for item in world.objects if item["kind"] != "Pod" or item is pod]
    pod["status"] = {"phase": "Failed", "message": "the node said something"}
    cause = world.cause()
    assert cause.code == "kubernetes-says"
    assert "the node said something" in cause.message


def test_a_container_that_waits_without_a_reason_is_being_created() -> None:
    world = World("sandbox-failed").without("Event")
    world["Pod"]["status"]["containerStatuses"] = [
        {"name": "falcon", "ready": False, "restartCount": 0, "state": {"waiting": {}}}
    ]
    assert "begun nothing of it" in world.cause().message


def test_a_workspace_that_serves_and_has_no_status_has_no_controller() -> None:
    world = World("service-missing")
    world.objects.append(World("scaled-to-zero")["Service"])
    world["Workspace"]["status"] = {}
    cause = world.cause(controllers=())
    assert (cause.code, cause.weight) == ("controller-silent", "fault")
    assert "serves" in cause.message
    assert "log" not in cause.hint


# --- what kubelets, registries and container runtimes say ------------------------------------------------

_PULL = 'failed to pull and unpack image "reg.example/team/falcon:1": '


def waits(reason: str, message: str, image: str = "reg.example/team/falcon:1") -> World:
    world = World("registry-unavailable").without("Event")
    world["Pod"]["status"]["containerStatuses"] = [
        {
            "name": "falcon",
            "image": image,
            "ready": False,
            "restartCount": 0,
            "state": {"waiting": {"reason": reason, "message": message}},
        }
    ]
    return world


@pytest.mark.parametrize(
    ("words", "code", "says", "hint"),
    [
        (
            _PULL + "failed to extract layer sha256:ab: write /var/lib/containerd/x: no space left on device",
            "disk-full",
            "disk of node gpu-1 is full",
            "larger disk",
        ),
        (
            "toomanyrequests: You have reached your unauthenticated pull rate limit.",
            "registry-unreachable",
            "limits how often",
            "pull secret",
        ),
        ("unexpected status from HEAD request: 429 Too Many Requests", "registry-unreachable", "limits", ""),
        (
            _PULL
            + "unexpected status from HEAD request to https://reg.example/v2/x: 500 Internal Server Error",
            "registry-unreachable",
            "answers with an error",
            "registry",
        ),
        (_PULL + "received unexpected HTTP status: 503 Service Unavailable", "registry-unreachable", "", ""),
        (
            'Head "https://reg.example/v2/": http: server gave HTTP response to HTTPS client',
            "registry-unreachable",
            "plain HTTP",
            "container runtime",
        ),
        ("short read: expected 1234 bytes but got 0: unexpected EOF", "registry-unreachable", "", ""),
        (
            _PULL + "failed to unpack image on snapshotter overlayfs: unexpected media type text/html for "
            "sha256:aa: not found",
            "registry-unreachable",
            "web page",
            "proxy",
        ),
        (
            "invalid character '<' looking for beginning of value",
            "registry-unreachable",
            "web page",
            "proxy",
        ),
    ],
)
def test_a_registry_that_answers_otherwise(words: str, code: str, says: str, hint: str) -> None:
    cause = waits("ErrImagePull", words).cause()
    assert cause.code == code
    assert says in cause.message
    assert hint in cause.hint


@pytest.mark.parametrize("tag", ["401", "build-403", "429"])
def test_a_number_in_the_images_name_is_no_answer_of_a_registry(tag: str) -> None:
    image = f"reg.example/team/falcon:{tag}"
    words = f'rpc error: code = NotFound desc = failed to resolve reference "{image}": {image}: not found'
    assert waits("ErrImagePull", words, image).cause().code == "image-not-found"


def test_what_a_registry_said_stands_in_the_cause_when_nobody_knows_it() -> None:
    assert "a thing never heard of" in waits("ErrImagePull", "a thing never heard of").cause().message


@pytest.mark.parametrize(
    ("reason", "words", "hint"),
    [
        (
            "RunContainerError",
            'OCI runtime create failed: exec: "nvidia-container-runtime": executable file not found in $PATH',
            "container toolkit",
        ),
        ("CreateContainerError", "unresolvable CDI devices nvidia.com/gpu=all", "container toolkit"),
        ("CreateContainerError", "error unpacking image: no space left on device", "disk"),
        ("RunContainerError", 'exec: "vllm": executable file not found in $PATH', "the image lacks"),
        ("RunContainerError", 'exec: "vllm serve --port 5000": stat vllm serve --port 5000: no such', "list"),
        ("RunContainerError", 'exec: "vllm serve": executable file not found in $PATH', "list of words"),
        ("CreateContainerConfigError", "failed to apply OCI options: no command specified", "set command"),
        ("CreateContainerError", 'name "falcon_0" is reserved for "5c1f"', "delete the pod"),
    ],
)
def test_what_keeps_a_container_from_starting(reason: str, words: str, hint: str) -> None:
    cause = waits(reason, words).cause()
    assert cause.code == "container-cannot-start"
    assert hint in cause.hint


@pytest.mark.parametrize(
    ("reason", "words", "says", "hint"),
    [
        ("Evicted", 'Usage of EmptyDir volume "shm" exceeds the limit "1Gi". ', "evicted", "sizeLimit"),
        (
            "Evicted",
            "Pod ephemeral local storage usage exceeds the total limit of containers 20Gi. ",
            "evicted",
            "limits of the pod",
        ),
        (
            "Evicted",
            "Container falcon exceeded its local ephemeral storage limit",
            "evicted",
            "limits of the",
        ),
        ("Evicted", "The node had condition: [MemoryPressure]. ", "evicted", "pressure"),
        ("NodeShutdown", "Pod was rejected as the node is shutting down.", "rejects", "goes down"),
        (
            "DeadlineExceeded",
            "Pod was active on the node longer than the specified deadline",
            "ended",
            "active",
        ),
    ],
)
def test_a_pod_that_failed_by_its_own_limits_or_with_its_node(
    reason: str, words: str, says: str, hint: str
) -> None:
    world = World("rejected-by-kubelet").without("Event")
    pod = world["Pod"]
    world.objects = [item for item in world.objects if item["kind"] != "Pod" or item is pod]
    pod["status"] = {"phase": "Failed", "reason": reason, "message": words}
    cause = world.cause()
    assert says in cause.message
    assert hint in cause.hint


LIMIT, MEMORY = (
    'Usage of EmptyDir volume "models" exceeds the limit "20Gi".',
    "The node was low on resource: memory.",
)


@pytest.mark.parametrize(
    ("words", "times", "template", "node", "is_root"),
    [
        (LIMIT, 1, "a", "gpu-2", True),
        (LIMIT, 1, "b", "gpu-2", False),  # somebody has changed it since
        (MEMORY, 3, "a", "gpu-1", True),
        (MEMORY, 1, "a", "gpu-1", False),  # may have been a neighbour
        (MEMORY, 3, "a", "gpu-2", False),
    ],
)
def test_pods_that_are_evicted_one_after_the_other_are_the_cause_while_the_next_one_loads(
    words: str, times: int, template: str, node: str, is_root: bool
) -> None:
    world = World("rejected-by-kubelet").without("Event")
    pod = world["Pod"]
    world.objects = [item for item in world.objects if item["kind"] != "Pod"]
    for number in range(times + 1):
        one = copy.deepcopy(pod)
        one["metadata"] |= {"name": f"{pod['metadata']['name']}-{number}", "uid": f"{number}"}
        one["metadata"]["creationTimestamp"] = f"2026-11-28T16:4{number}:00Z"
        one["metadata"]["labels"]["pod-template-hash"] = template if number == times else "a"
        one["spec"]["nodeName"] = node if number == times else "gpu-1"
        one["status"] = {"phase": "Failed", "reason": "Evicted", "message": words}
        target = {"type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet"}
        one["status"]["conditions"] = [target]
        if number == times:
            one["status"] = {"phase": "Running", "conditions": [{"type": "Ready", "status": "False"}]}
        world.objects.append(one)
    causes = world.diagnosis().causes
    assert not any(cause.code == "pod-thrown-out" for cause in causes), "the status says more"
    (evicted,) = (cause for cause in causes if cause.code == "pod-evicted")
    assert (evicted.weight == "fault") is is_root


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (
            'plugin type="calico" failed (add): stat /var/lib/calico/nodename: no such file or directory: '
            "check that the calico/node container is running",
            "network plugin",
        ),
        ('plugin type="cilium-cni" failed (add): range is full', "no address left"),
        ('plugin type="azure-vnet" failed (add): IPAM: no available addresses', "no address left"),
        ('plugin type="new-cni" failed (add): connection refused', "network plugin"),
    ],
)
def test_a_network_plugin_is_known_by_its_words(words: str, hint: str) -> None:
    world = World("sandbox-failed").without("Event")
    world.event("FailedCreatePodSandBox", f"Failed to create pod sandbox: {words}")
    cause = world.cause()
    assert cause.code == "pod-sandbox-failed"
    assert hint in cause.hint


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        (
            "ImageInspectError",
            "failed to inspect image: blob sha256:ab expected at /var/lib/containerd: not found",
        ),
        ("ImageInspectError", "rpc error: code = Unknown desc = unexpected end of JSON input"),
        ("ErrImagePull", _PULL + "content digest sha256:ab: not found"),
        ("ErrImagePull", _PULL + "failed to prepare: snapshot sha256:ab does not exist: not found"),
    ],
)
def test_what_a_node_has_stored_of_an_image_is_not_its_registrys_affair(reason: str, words: str) -> None:
    cause = waits(reason, words).cause()
    assert cause.code == "image-pull-failed"
    assert "stored" in cause.message
    assert "damaged" in cause.message
    assert "push" not in text(cause.hint)


def test_a_volume_of_a_node_that_is_gone_is_a_volumes_trouble() -> None:
    words = "0/1 nodes are available: 1 node(s) unavailable due to PersistentVolume(s) bound to non-existent "
    words += "Node(s)"
    world = World("scheduling-gated")
    pod = world["Pod"]
    pod["spec"].pop("schedulingGates", None)
    pod["status"]["conditions"] = [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": words}
    ]
    assert world.cause().code == "volume-lost"


# --- KAITO's own words -----------------------------------------------------------------------------------

_LOST_UPDATE = (
    ' (last reconcile error: Operation cannot be fulfilled on workspaces.kaito.sh "falcon": the object has '
    "been modified; please apply your changes to the latest version and try again)"
)


def says(kind: str, reason: str, message: str) -> Cause:
    """The cause of a Workspace of which nothing is there but a condition."""
    world = World("webhook-silent").without("Event", "Pod", "Deployment", "ReplicaSet", "Service", "Node")
    world["Workspace"]["status"]["conditions"] = [
        {
            "type": kind,
            "status": "False",
            "reason": reason,
            "message": message,
            "observedGeneration": 1,
            "lastTransitionTime": "2026-11-28T16:05:00Z",
        }
    ]
    return world.cause()


def test_a_lost_update_at_the_end_of_a_message_hides_not_what_stands_before_it() -> None:
    cause = says("NodeClaimReady", "LaunchFailed", "creating instance: denied by the cloud" + _LOST_UPDATE)
    assert "denied by the cloud" in cause.message
    assert "log" not in cause.hint


def test_kaitos_words_of_a_quota_are_the_quota_where_no_claim_can_be_seen() -> None:
    words = "creating instance: QuotaExceeded: exceeding approved Total Regional Cores quota" + _LOST_UPDATE
    assert says("NodeClaimReady", "LaunchFailed", words).code == "quota-exceeded"
    words = "all requested instance types were unavailable during launch"
    assert says("ResourceReady", "NodeClaimNotReady", words).code == "instance-type-unavailable"


@pytest.mark.parametrize(
    "words", ["context deadline exceeded", "node gpu-1 is not ready: GPU plugin not installed"]
)
def test_what_has_not_passed_for_an_hour_is_no_longer_called_passing(words: str) -> None:
    assert words in says("ResourceReady", "workspaceResourceStatusFailed", words).message


@pytest.mark.parametrize(
    ("error", "hint", "look"),
    [
        ("no ready nodes found matching the workspace's label selector", "labels", "kaitoctl check-nodes"),
        ("missing required nvidia.com labels on node gpu-7", "feature discovery", "spec.nodeName=gpu-7"),
        ("GPU memory 17179869184 bytes is too small, needs at least 18.5 GB", "GPU memory", "kaitoctl fit"),
        ("MIG profile 1g.10gb only provides 10GB", "GPU memory", "kaitoctl fit falcon-7b"),
        ("user specified ConfigMap my-cfg not found in namespace default", "create ConfigMap my-cfg", "get"),
        ('failed to resolve access token for model "x": Secret "hf" not found', "HF_TOKEN", "get secrets"),
        ('StorageClass "blob" not found: x', "StorageClass", "get storageclasses"),
        ("failed to get model by name: model not registered", "upgrade KAITO", "kaitoctl models"),
        (
            'nodeclaims.karpenter.sh is forbidden: User "system:serviceaccount:kaito-workspace:kaito" cannot '
            "create resource",
            "ServiceAccount kaito lacks",
            "clusterrolebindings",
        ),
        ('failed calling webhook "v.x": no endpoints available', "webhook", "webhookconfigurations"),
        ("failed to get model by name: https://huggingface.co/x: 503", "KAITO's own pod", "doctor"),
        ('ServiceAccount "sa" not found in namespace "x"', "create the ServiceAccount", "serviceaccounts"),
        ("revision name conflicts, the hash values are different", "short hash", "rollout history"),
        ('updating NodePool "ws-falcon" replicas to 2: denied', "NodePool", "kaitoctl doctor"),
        ("boom", "change what it names", "kubectl describe workspace falcon"),
    ],
)
def test_an_error_of_kaitos_last_pass_says_what_to_do(error: str, hint: str, look: str) -> None:
    cause = says("ResourceReady", "workspaceResourceStatusNotReady", f"waits (last reconcile error: {error})")
    assert cause.code == "reconcile-error"
    assert (hint in cause.hint, look in text(cause.command)) == (True, True), cause


@pytest.mark.parametrize(
    ("reason", "hint", "look"),
    [
        ("ImagePullError", "pull secrets", "kaitoctl status falcon"),
        ("ContainerOOMKilled", "memory", "kaitoctl status falcon"),
        ("NodeMemoryPressure", "memory", "kaitoctl status falcon"),
        ("NodeDiskPressure", "disk", "kaitoctl status falcon"),
        ("ContainerCrashLoopBackOff", "its log", "kaitoctl status falcon"),
        ("ContainerStartError", "its log", "kaitoctl status falcon"),
        ("PodEvicted", "the pod", "kaitoctl status falcon"),
        ("Unschedulable", "the pod", "kaitoctl status falcon"),
        ("SASTokenFetchFailed", "identity", "kaitoctl logs falcon"),
        ("DownloadOOMKilled", "modelMirrorDownloadMemory", "modelmirrors"),
        ("DownloadFailed", "Job", "modelmirrors"),
        ("DownloadEvicted", "Job", "modelmirrors"),
        ("PVCCreateFailed", "Job", "modelmirrors"),
        ("ModelMirrorNotReady", "Job", "modelmirrors"),
        ("ModelStreamingServiceAccountInvalid", "ServiceAccount", "serviceaccounts"),
        ("ModelStreamingStorageClassNotFound", "StorageClass", "storageclasses"),
    ],
)
def test_a_reason_of_kaitos_says_what_to_do_where_the_pods_are_not_seen(
    reason: str, hint: str, look: str
) -> None:
    cause = says("InferenceReady", reason, "it failed")
    assert cause.code == "controller-says"
    assert (hint in cause.hint, look in text(cause.command)) == (True, True), cause


def test_what_kaito_waits_for_by_failing_stands_there_with_the_placeholder_before_it() -> None:
    error = 'NodeClass "image-family-ubuntu" is not ready: NodeClass "image-family-ubuntu" is not Ready'
    cause = says("ResourceReady", "workspaceResourceStatusNotReady", f"waits (last reconcile error: {error})")
    assert error in cause.message
    assert "node class" in cause.hint
    limited = "waits (last reconcile error: failed to get model by name: status 429 Too Many Requests)"
    assert "the hub limits" in says("ResourceReady", "workspaceResourceStatusNotReady", limited).hint


def loading(**conditions: str) -> World:
    """A pod whose server has begun to load; KAITO's conditions are of an hour ago."""
    world = World("killed-after-serving").without("Event")
    world["Pod"]["status"]["containerStatuses"] = [
        {
            "name": "falcon",
            "ready": False,
            "restartCount": 0,
            "state": {"running": {"startedAt": "2026-11-28T16:50:00Z"}},
        }
    ]
    world["Workspace"]["status"]["conditions"] = [
        {
            "type": kind,
            "status": "False",
            "reason": "workspaceFailed",
            "message": message,
            "observedGeneration": 1,
            "lastTransitionTime": "2026-11-28T16:00:00Z",
        }
        for kind, message in conditions.items()
    ]
    return world


def test_a_pass_that_waits_for_its_pod_has_not_written_that_its_error_is_over() -> None:
    lost = 'Operation cannot be fulfilled on workspaces.kaito.sh "falcon": the object has been modified'
    found = loading(WorkspaceSucceeded=lost).diagnosis()
    assert (found.progress.outcome, found.cause) == (None, None)


def test_a_rollout_that_kubernetes_gave_up_goes_on_while_the_model_loads() -> None:
    world = loading()
    world["Deployment"]["status"]["conditions"] = [
        {"type": "Progressing", "status": "False", "message": 'ReplicaSet "falcon-1" has timed out.'}
    ]
    found = world.diagnosis()
    assert found.progress.outcome is None
    assert found.cause is not None
    assert (found.cause.code, found.cause.weight) == ("progress-deadline", "wait")
    assert "may still become ready" in found.cause.message
    assert "wait" in found.cause.hint
    world["Pod"]["status"]["containerStatuses"][0]["restartCount"] = 1
    again = world.diagnosis()
    assert (again.progress.outcome, again.cause and again.cause.weight) == ("failed", "fault")


@pytest.mark.parametrize("given_up", [False, True])
def test_a_pull_that_goes_on_is_no_trouble_of_kaitos(given_up: bool) -> None:
    world = loading(InferenceReady="context deadline exceeded").event(
        "Pulling", 'Pulling image "mcr/kaito-falcon-7b:0.0.6"', kind="Normal"
    )
    world["Pod"]["status"]["phase"] = "Pending"
    world["Pod"]["status"]["containerStatuses"][0]["state"] = {"waiting": {"reason": "ContainerCreating"}}
    if given_up:
        world["Deployment"]["status"]["conditions"] = [
            {"type": "Progressing", "status": "False", "message": 'ReplicaSet "falcon-1" has timed out.'}
        ]
    found = world.diagnosis()
    assert found.progress.outcome is None
    assert (found.cause and (found.cause.code, found.cause.weight)) == (
        ("progress-deadline", "wait") if given_up else None
    )
    world["Pod"]["metadata"]["creationTimestamp"] = "2026-11-28T16:59:00Z"
    world["Pod"]["status"]["containerStatuses"] = None
    just_placed = world.without("Event").diagnosis().cause
    assert just_placed is None or just_placed.code == "progress-deadline"
    world["Pod"]["metadata"]["creationTimestamp"] = "2026-11-28T14:59:00Z"
    silent = world.diagnosis().cause
    assert silent is not None, "a pod for which nothing is done is on no way"


def ordered(**spec: str) -> World:
    """A StatefulSet whose change is to mend the pod of the revision before, which crashes."""
    world = World("exit-zero-loop").without("Event", "ReplicaSet")
    workload = world["Deployment"]
    workload["kind"] = "StatefulSet"
    workload["spec"] |= spec
    workload["status"] |= {"currentRevision": "falcon-a", "updateRevision": "falcon-b", "updatedReplicas": 0}
    world["Pod"]["metadata"]["labels"]["controller-revision-hash"] = "falcon-a"
    return world


def test_a_broken_pod_of_the_revision_before_holds_an_ordered_update() -> None:
    world = ordered()
    name = world["Pod"]["metadata"]["name"]
    cause = world.cause()
    assert (cause.code, name in cause.message) == ("workload-paused", True)
    assert text(cause.command) == f"kubectl delete pod {name} -n default"
    parallel = ordered(podManagementPolicy="Parallel").diagnosis()
    assert "workload-paused" not in [found.code for found in parallel.causes]
    world["Pod"]["metadata"]["labels"]["controller-revision-hash"] = "falcon-b"
    assert "workload-paused" not in [found.code for found in world.diagnosis().causes]


def test_nobody_is_sent_to_the_controllers_log() -> None:
    cause = says("ResourceReady", "workspaceResourceStatusFailed", "a thing never heard of")
    assert "a thing never heard of" in cause.message
    assert "log" not in cause.hint


# --- nodes that were asked for ---------------------------------------------------------------------------


def claimed(*conditions: tuple[str, str, str, str]) -> World:
    """A Workspace that waits for one NodeClaim."""
    world = World("webhook-silent").without("Event", "Pod", "Deployment", "ReplicaSet", "Service", "Node")
    world["Workspace"]["status"]["conditions"] = []
    keys = ("type", "status", "reason", "message")
    world.objects.append(
        {
            "kind": "NodeClaim",
            "metadata": {"name": "ws0123456", "creationTimestamp": "2026-11-28T16:00:00Z"},
            "status": {"conditions": [dict(zip(keys, item, strict=True)) for item in conditions]},
        }
    )
    return world


@pytest.mark.parametrize(
    "words",
    [
        "ZONE_RESOURCE_POOL_EXHAUSTED: The zone does not have enough resources available",
        "BadRequest: The VM size of Standard_NC12s_v3 is not allowed in your subscription.",
        "Insert failed: STOCKOUT",
        "AvailabilityZoneNotSupported: zone 3 not supported for Standard_NC12s_v3 in eastus",
        "The requested size is not offered: zones 1,2 are not supported",
    ],
)
def test_each_clouds_words_for_no_machine_are_known(words: str) -> None:
    cause = claimed(("Launched", "Unknown", "LaunchFailed", words)).cause()
    assert cause.code == "instance-type-unavailable"


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ("SubnetIsFull: Subnet aks-subnet does not have enough capacity for 1 IP addresses.", "subnet"),
        ("ManagedClusterAgentPoolLimitReached: the cluster has 100 of them", "node pools"),
        ("Operation results in more than the maximum number of agent pools", "node pools"),
        ("RequestDisallowedByPolicy: Resource 'x' was disallowed by policy.", "policy"),
    ],
)
def test_a_refusal_of_the_clouds_has_advice(words: str, hint: str) -> None:
    cause = claimed(("Launched", "Unknown", "LaunchFailed", words)).cause()
    assert (cause.code, cause.weight) == ("node-claim-failed", "fault")
    assert hint in cause.hint


def test_a_claim_that_names_no_node_leads_to_no_command_about_all_others() -> None:
    joined = [("Launched", "True", "", ""), ("Registered", "True", "", "")]
    lacks = ("Initialized", "Unknown", "ResourceNotRegistered", 'Resource "nvidia.com/gpu" was requested')
    cause = claimed(*joined, lacks).cause()
    assert cause.code == "device-plugin-missing"
    assert "''" not in cause.command
    assert "node  has" not in cause.message


def test_a_condition_of_a_provider_that_is_not_known_stands_there_with_its_words() -> None:
    world = claimed(
        ("Launched", "True", "", ""),
        ("HealthCheckPassed", "False", "GPUBad", "the GPU failed its acceptance test"),
        ("Ready", "Unknown", "UnhealthyDependents", "HealthCheckPassed=False"),
    )
    cause = world.cause()
    assert any("failed its acceptance test" in words for _, words in cause.evidence)


# --- the scheduler's words -------------------------------------------------------------------------------


def unscheduled(words: str, reason: str = "Unschedulable") -> Cause:
    world = World("scheduling-gated")
    del world["Pod"]["spec"]["schedulingGates"]
    world["Pod"]["status"]["conditions"] = [
        {"type": "PodScheduled", "status": "False", "reason": reason, "message": words}
    ]
    return world.cause()


@pytest.mark.parametrize(
    ("words", "code", "hint"),
    [
        (
            "0/9 nodes are available: 1 node(s) had volume node affinity conflict, 8 node(s) didn't match "
            "Pod's node affinity/selector.",
            "volume-not-here",
            "volume",
        ),
        (
            "0/9 nodes are available: 1 Insufficient nvidia.com/gpu, 8 node(s) had untolerated taint {a: b}.",
            "unschedulable",
            "GPUs",
        ),
        (
            "0/9 nodes are available: 1 Insufficient memory, 8 node(s) didn't match Pod's node "
            "affinity/selector.",
            "unschedulable",
            "take nodes with more",
        ),
        (
            "0/9 nodes are available: 1 node(s) had untolerated taint {a: b}, 8 node(s) didn't match Pod's "
            "node affinity/selector.",
            "unschedulable",
            "labels",
        ),
    ],
)
def test_the_nodes_that_got_furthest_say_what_is_missing(words: str, code: str, hint: str) -> None:
    cause = unscheduled(words)
    assert cause.code == code
    assert hint in cause.hint


def test_a_volume_that_cannot_be_made_is_no_matter_of_nodes() -> None:
    words = 'running PreBind plugin "VolumeBinding": binding volumes: provisioning failed for PVC "weights"'
    assert unscheduled(words, "SchedulerError").code == "volume-claim-missing"


# --- workloads that are halted ---------------------------------------------------------------------------


def test_a_paused_deployment_whose_pods_are_its_newest_is_not_the_cause_of_their_crash() -> None:
    world = World("start-error")
    world["Deployment"]["spec"]["paused"] = True
    found = world.diagnosis()
    assert found.cause is not None
    assert found.cause.code == "container-cannot-start"
    assert "workload-paused" in [cause.code for cause in found.causes], "whoever fixes it has to know"


# --- servers that have served ----------------------------------------------------------------------------


def test_a_server_that_has_been_ready_is_not_called_slow_to_start() -> None:
    world = World("service-missing")
    world.objects.append(World("scaled-to-zero")["Service"])
    status = world["Pod"]["status"]
    status["containerStatuses"] = [
        {
            "name": "falcon",
            "ready": False,
            "restartCount": 0,
            "state": {"running": {"startedAt": "2026-11-28T10:00:00Z"}},
        }
    ]
    status["conditions"] = [
        {"type": "Ready", "status": "False", "lastTransitionTime": "2026-11-28T16:40:00Z"}
    ]
    world["Deployment"]["status"].update(readyReplicas=0, availableReplicas=0)
    world.event("Unhealthy", "Readiness probe failed: context deadline exceeded")
    cause = world.cause()
    assert cause.code == "nobody-served"
    assert any("Readiness probe failed" in words for _, words in cause.evidence)


# --- logs that people have posted ------------------------------------------------------------------------


def crashed(log: str, code: int = 1) -> Cause:
    world = World("start-error")
    status = world["Pod"]["status"]["containerStatuses"][0]
    status["lastState"] = {"terminated": {"exitCode": code, "reason": "Error"}}
    return world.cause(logs={(world["Pod"]["metadata"]["name"], "falcon"): log})


@pytest.mark.parametrize(
    ("log", "code", "says"),
    [
        # vllm-project/vllm#15329, #2997, #11865
        (
            "ERROR 03-22 09:50:04 [core.py:340]     raise RuntimeError(\n"
            "ERROR 03-22 09:50:04 [core.py:340] RuntimeError: Failed to find C compiler. Please specify via "
            "CC environment variable.",
            "image-broken",
            "C compiler",
        ),
        (
            "/tmp/tmpw/cuda_utils.c:5:10: fatal error: Python.h: No such file or directory\n"
            "subprocess.CalledProcessError: Command '['/usr/bin/gcc']' returned non-zero exit status 1.",
            "image-broken",
            "Python's headers",
        ),
        # of GPUs that are newer than the image
        (
            "ptxas fatal   : Value 'sm_121a' is not defined for option 'gpu-name'\n"
            "RuntimeError: PTXASError: PTXAS error: Internal Triton PTX codegen error",
            "gpu-too-old",
            "built for others",
        ),
        # vllm-project/vllm#15385, #19543
        (
            "[2025-06-13 01:49:41,730 E 1 1] gcs_rpc_client.h:179: Failed to connect to GCS at address "
            "10.108.0.184:6379 within 5 seconds.",
            "gpus-disconnected",
            "Ray's head",
        ),
        (
            "ConnectionError: Could not find any running Ray instance. Please specify the one to connect to "
            "by setting `--address` flag or `RAY_ADDRESS` environment variable.",
            "gpus-disconnected",
            "Ray's head",
        ),
        (
            "ValueError: The configured object store size (10.0 GB) exceeds /dev/shm size (67 MB).",
            "shared-memory-too-small",
            "/dev/shm",
        ),
        # llm-d/llm-d#1430
        (
            "(EngineCore pid=84) torch._inductor.exc.InductorError: PermissionError: [Errno 13] Permission "
            "denied: '/.triton'\n(EngineCore pid=84) ERROR 05-07 10:00:00 [core.py:1240] EngineCore failed "
            "to start.\n"
            "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}",
            "path-not-writable",
            "/.triton",
        ),
        # vllm-project/vllm#30690
        (
            "(EngineCore_DP0 pid=1511501) ERROR 12-15 18:57:10 [core.py:918] ValueError: Loading lora style "
            "failed: No adapter found for /mnt/adapter/style",
            "adapter-misfit",
            "has no weights",
        ),
    ],
)
def test_what_people_have_posted_is_explained(log: str, code: str, says: str) -> None:
    cause = crashed(log)
    assert cause.code == code
    assert says in cause.message


def test_an_end_of_which_nobody_knows_the_exit_code_is_no_end_with_0() -> None:
    world = World("killed-after-serving").without("Event")
    ended = world["Pod"]["status"]["containerStatuses"][0]["lastState"]["terminated"]
    ended.clear()
    ended["reason"] = "Error"
    cause = world.cause()
    assert cause.code == "container-killed"
    assert "exit code 0" not in str(cause)


# --- GPUs that go while a server runs ----------------------------------------------------------------------

GPU = "nvidia.com/gpu"


def on_a_node(
    *, condition: tuple[str, str] | None = None, allocatable: str = "2", since: str = "16:00"
) -> World:
    """A server that runs and is not ready, and what its node says of its GPUs."""
    world = loading()
    container = world["Pod"]["spec"]["containers"][0]
    container.setdefault("resources", {})["limits"] = {GPU: "2"}
    state = world["Pod"]["status"]["containerStatuses"][0]["state"]
    state["running"]["startedAt"] = f"2026-11-28T{since}:00Z"
    status = world["Node"]["status"]
    status["capacity"][GPU], status["allocatable"][GPU] = "2", allocatable
    if condition is not None:
        kind, value = condition
        status["conditions"].append({"type": kind, "status": value, "reason": "R", "message": "off the bus"})
    return world


@pytest.mark.parametrize(
    "condition",
    [
        ("GPUXIDError", "True"),
        ("GPUMissing", "True"),
        ("XIDErrors", "True"),
        ("NVLinkStatusInactive", "True"),
        ("AcceleratedHardwareReady", "False"),
        ("GpuHealthy", "False"),
        ("UnhealthyNvidiaDevicePlugin", "True"),
    ],
)
def test_a_problem_of_gpus_that_the_node_reports_is_the_cause(condition: tuple[str, str]) -> None:
    found = on_a_node(condition=condition).cause()
    assert (found.code, found.weight) == ("node-problem", "fault")
    assert any("off the bus" in words for _, words in found.evidence)


@pytest.mark.parametrize(
    "condition", [("GpuHealthy", "True"), ("GPUMissing", "False"), ("FrequentKubeletRestart", "True")]
)
def test_what_is_well_or_no_matter_of_gpus_is_not(condition: tuple[str, str]) -> None:
    assert all(cause.code != "node-problem" for cause in on_a_node(condition=condition).diagnosis().causes)


@pytest.mark.parametrize(
    ("allocatable", "since", "is_named"), [("0", "16:00", True), ("0", "16:55", False), ("2", "16:00", False)]
)
def test_gpus_that_nobody_gets_any_more_are_named_once_a_restart_of_their_plugin_is_no_excuse(
    allocatable: str, since: str, is_named: bool
) -> None:
    found = on_a_node(allocatable=allocatable, since=since).diagnosis().causes
    assert ("gpu-not-allocatable" in [cause.code for cause in found]) is is_named


def test_what_a_node_reports_of_its_gpus_stands_before_the_crash_that_comes_of_it() -> None:
    world = on_a_node(condition=("GpuXidError", "True"), since="16:58")
    status = world["Pod"]["status"]["containerStatuses"][0]
    status["state"] = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}}
    status["lastState"] = {"terminated": {"exitCode": 1, "reason": "Error"}}
    name = (world["Pod"]["metadata"]["name"], "falcon")
    found = world.diagnosis(logs={name: "RuntimeError: CUDA error: unspecified launch failure"}).causes
    assert [cause.code for cause in found[:2]] == ["node-problem", "gpu-program-failed"]
    assert found[0].weight == "fault"
    other = world.diagnosis(logs={name: "api_server.py: error: unrecognized arguments: --x"}).causes
    assert other[0].code == "bad-arguments", "which no GPU is to blame for"


@pytest.mark.parametrize(
    ("other", "code"),
    [
        (
            {
                "phase": "Pending",
                "conditions": [
                    {
                        "type": "PodScheduled",
                        "status": "False",
                        "reason": "Unschedulable",
                        "message": "0/2 nodes are available: 2 Insufficient nvidia.com/gpu.",
                    }
                ],
            },
            "unschedulable",
        ),
        (
            {"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."},
            "gpus-disconnected",  # it is past: a pod came after it
        ),
        (None, "gpus-disconnected"),
    ],
)
def test_a_pod_that_waits_for_another_one_is_not_the_root(other: Any, code: str) -> None:
    world = World("exit-zero-loop").without("Event")
    status = world["Pod"]["status"]["containerStatuses"][0]
    status["lastState"] = {"terminated": {"exitCode": 1, "reason": "Error"}}
    if other is not None:
        second = copy.deepcopy(world["Pod"])
        second["metadata"] |= {"name": "falcon-second", "uid": "second"}
        world["Deployment"]["status"]["updatedReplicas"] = 2
        second["status"] = other
        if other["phase"] == "Pending":
            del second["spec"]["nodeName"]
        world.objects.append(second)
    words = "DistStoreError: Timed out after 1801 seconds waiting for clients. 1/2 clients joined."
    name = (world["Pod"]["metadata"]["name"], "falcon")
    assert world.diagnosis(logs={name: words}).causes[0].code == code


def test_a_lost_node_stands_before_the_pod_that_it_took_with_it() -> None:
    world = on_a_node()
    world["Node"]["status"]["conditions"] = [
        {"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown", "message": "no news"}
    ]
    world["Node"]["spec"]["taints"] = [{"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}]
    world["Pod"]["metadata"]["deletionTimestamp"] = "2026-11-28T16:00:00Z"
    world["Pod"]["status"]["conditions"] = [
        {"type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager", "message": "x"},
        {"type": "Ready", "status": "False", "reason": "NodeNotReady"},
    ]
    assert [cause.code for cause in world.diagnosis().causes][:2] == ["node-lost", "pod-thrown-out"]


@pytest.mark.parametrize("lacking", ["status", "conditions"])
def test_what_an_object_leaves_out_is_not_written_as_none(lacking: str) -> None:
    world = on_a_node()
    if lacking == "status":
        world["Node"]["status"] = None
        world["Node"]["metadata"]["labels"] = world["Node"]["spec"] = None
    else:
        world["Node"]["status"]["conditions"] = None
    for cause in world.diagnosis().causes:
        assert not [words for _, words in cause.evidence if "None" in words]


@pytest.mark.parametrize("is_going", [False, True])
def test_a_pod_that_is_going_holds_the_gpus_of_its_successor(is_going: bool) -> None:
    world = World("scheduling-gated")
    pod = world["Pod"]
    del pod["spec"]["schedulingGates"]
    words = "0/1 nodes are available: 1 Insufficient nvidia.com/gpu."
    pod["status"] = {
        "phase": "Pending",
        "conditions": [
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": words}
        ],
    }
    older = copy.deepcopy(on_a_node()["Pod"])
    older["metadata"] |= {"name": "falcon-old", "uid": "old"}
    if is_going:
        older["metadata"]["deletionTimestamp"] = "2026-11-28T16:59:50Z"
    world.objects.append(older)
    found = [cause for cause in world.diagnosis().causes if cause.code == "unschedulable"]
    assert [("falcon-old" in cause.message, "ended" in text(cause.hint)) for cause in found] == [
        (is_going, is_going)
    ]


def test_a_claim_that_is_refused_is_not_called_a_pod() -> None:
    world = World("exit-zero-loop").without("Event", "ReplicaSet", "Pod")
    world["Deployment"]["status"] = {"replicas": 0, "observedGeneration": 1}
    words = (
        "create Claim cache-falcon-0 for Pod falcon-0 in StatefulSet falcon failed error: "
        'persistentvolumeclaims "cache-falcon-0" is forbidden: exceeded quota: storage, requested: x'
    )
    found = world.event("FailedCreate", words, of="Deployment").cause()
    assert found.code == "pods-refused"
    assert found.message.startswith("the volume claim of a pod is refused: the quota")
    limit = "is forbidden: maximum storage usage per PersistentVolumeClaim is 100Gi, but request is 200Gi"
    world = world.without("Event").event(
        "FailedCreate", f"{words.split('is forb')[0]}{limit}", of="Deployment"
    )
    assert "LimitRange" in world.cause().message


def test_a_node_that_is_not_ready_is_told_once() -> None:
    world = on_a_node()
    world["Node"]["status"]["conditions"] = [{"type": "Ready", "status": "False", "message": "no news"}]
    assert [cause.code for cause in world.diagnosis().causes].count("not-ready") == 1


@pytest.mark.parametrize("kind", ["DiskPressure", "MemoryPressure", "PIDPressure"])
def test_a_kubelet_that_begins_nothing_on_a_node_under_pressure_is_explained(kind: str) -> None:
    world = waits("ContainerCreating", "").without("Event")
    said = {"type": kind, "status": "True", "reason": "KubeletHas", "message": "kubelet runs out"}
    world["Node"]["status"]["conditions"].append(said)
    found = world.cause()
    assert any(kind in source for source, _ in found.evidence)
    assert "free it" in text(found.hint)


@pytest.mark.parametrize(
    ("name", "publisher"),
    [
        ("kube-root-ca.crt", "kube-controller-manager"),
        ("openshift-service-ca.crt", "service CA operator"),
        ("istio-ca-root-cert", "istiod"),
    ],
)
def test_nobody_creates_by_hand_what_a_controller_publishes(name: str, publisher: str) -> None:
    world = waits("ContainerCreating", "").without("Event")
    world.event("FailedMount", f'MountVolume.SetUp failed for volume "ca" : configmap "{name}" not found')
    found = world.cause()
    assert found.code == "config-map-missing"
    assert publisher in text(found.hint)
    assert "create" not in text(found.command)
