"""Trouble of real people: worlds of tests/data/trouble, and what else is of the same kind."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from typing import Any

import pytest
from trouble import NOW, World

from kaitoctl.advice import text
from kaitoctl.kaito.diagnosis import diagnose
from kaitoctl.kaito.diagnosis.scheduler_messages import obstacle_of, ruled_out
from kaitoctl.kaito.rollout import progress
from kaitoctl.kaito.serving import serving
from kaitoctl.kaito.view import view
from kaitoctl.kaito.view_tree import Item
from kaitoctl.kube.objects import Object


@pytest.mark.parametrize(
    ("world", "code", "words"),
    [
        ("scaled-to-zero", "scaled-to-zero", "scaled to 0"),
        ("service-missing", "no-endpoints", "Service falcon is missing"),
        ("workload-gone", "workload-missing", "does not exist any more"),
        ("rejected-by-kubelet", "pod-rejected", "gpu-1 rejects them.*devices unavailable"),
        ("start-error", "container-cannot-start", "driver/library version mismatch"),
        ("exit-zero-loop", "crash-loop", "exits with code 0"),
        ("registry-unavailable", "registry-unreachable", "cannot reach"),
        ("multi-attach", "volume-unavailable", "claim weights.*falcon-7c9d-xyz holds it"),
        ("sandbox-failed", "pod-sandbox-failed", 'no runtime for "nvidia"'),
        ("scheduling-gated", "scheduling-gated", "kueue.x-k8s.io/admission"),
        ("killed-after-serving", "probe-kills-server", "had served: it ran for 5h"),
        ("paused", "workload-paused", "paused"),
        ("webhook-silent", "pods-refused", "webhook pods.mutate.example has no ready pod"),
        ("wrong-platform", "image-wrong-platform", "another CPU architecture"),
        ("runs-as-root", "container-cannot-start", "run as root"),
        ("slow-pull", "image-pull-slow", "pulling mcr/kaito-falcon-7b:0.0.6 for 46m"),
    ],
)
def test_the_root_cause_of_each_world(world: str, code: str, words: str) -> None:
    cause = World(world).cause()
    assert (cause.code, cause.weight) == (code, "fault")
    assert re.search(words, cause.message), cause.message
    assert cause.evidence
    assert cause.hint
    assert cause.command


def serving_world() -> World:
    """All is well: a ready pod behind a Service."""
    world = World("service-missing")
    world.objects.append(World("scaled-to-zero")["Service"])
    return world


def test_a_world_in_which_all_is_well_is_ready() -> None:
    found = serving_world().diagnosis()
    assert (found.is_ready, found.cause) == (True, None)


def slice_for(world: World, *, ready: bool | None = True, port: int | None = 5000, pod: str = "") -> World:
    ports = None if port is None else [{"port": port, "protocol": "TCP"}]
    reference = {"kind": "Pod", "name": pod or world["Pod"]["metadata"]["name"]}
    endpoint = {"addresses": ["10.1.2.3"], "conditions": {"ready": ready}, "targetRef": reference}
    world.objects.append(
        {"kind": "EndpointSlice", "metadata": {"name": "falcon-x"}, "ports": ports, "endpoints": [endpoint]}
    )
    return world


def change(path: str, value: Any) -> Callable[[World], Any]:
    """Sets `Kind.spec.field` of a world."""
    kind, *keys = path.split(".")

    def apply(world: World) -> None:
        here = world[kind]
        for key in keys[:-1]:
            here = here[int(key)] if isinstance(here, list) else here.setdefault(key, {})
        here[int(keys[-1]) if isinstance(here, list) else keys[-1]] = value

    return apply


UNREADY = [{"type": "Ready", "status": "False", "reason": "ContainersNotReady"}]
LOST = [{"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown", "message": "no news"}]


@pytest.mark.parametrize(
    ("edit", "code"),
    [
        (change("Service.spec.selector", {"app": "other"}), "no-endpoints"),
        (change("Service.spec.selector", {"kaito.sh/workspace": "falcon", "v": "2"}), "no-endpoints"),
        (change("Service.spec.selector", None), "no-endpoints"),
        (change("Service.spec.ports.0.targetPort", 9999), "service-misdirected"),
        (change("Service.spec.ports.0.targetPort", "http"), "service-misdirected"),
        (change("Service.spec.ports.0.protocol", "UDP"), "service-misdirected"),
        (change("Service.spec.ports", []), "service-misdirected"),
        (change("Service.spec.type", "ExternalName"), "service-misdirected"),
        (change("Service.spec.clusterIP", "None"), "service-misdirected"),
        (lambda world: slice_for(world, ready=False), "no-endpoints"),
        (lambda world: slice_for(world, port=None), "no-endpoints"),
        (lambda world: slice_for(world, port=8000), "no-endpoints"),
        (lambda world: slice_for(world, pod="somebody-elses"), "no-endpoints"),
        (change("Pod.status.conditions", UNREADY), "nobody-served"),
        (change("Pod.metadata.deletionTimestamp", "2026-11-28T16:59:30Z"), "nobody-served"),
        (change("Pod.status.phase", "Unknown"), "node-lost"),
        (change("Node.status.conditions", LOST), "not-ready"),
        (lambda world: world.without("Pod"), "nobody-served"),
        (lambda world: world.without("Service"), "no-endpoints"),
        (lambda world: world.without("Deployment", "ReplicaSet", "Pod"), "workload-missing"),
    ],
)
def test_what_is_called_ready_and_serves_nobody(edit: Callable[[World], Any], code: str) -> None:
    world = serving_world()
    edit(world)
    found = world.diagnosis()
    assert not found.is_ready
    assert found.cause is not None
    assert (found.cause.code, found.cause.weight) == (code, "fault")
    where = progress(world.seen())
    assert where.down
    assert where.words == "not serving"
    shown = view(world.seen(), NOW)
    assert (shown.down, shown.tree.status) == (True, "NotServing")


def test_pods_of_a_node_that_is_gone_serve_nobody() -> None:
    world = serving_world().without("Node")
    gone = frozenset({"gpu-1"})
    assert (world.cause(gone=gone).code, progress(world.seen(gone=gone)).words) == (
        "node-lost",
        "not serving",
    )
    assert "gpu-1, which does not exist any more" in serving(world.seen(gone=gone)).words
    world["Pod"]["status"]["phase"] = "Succeeded"
    assert world.cause(gone=gone).code != "node-lost"
    assert serving_world().diagnosis(gone=frozenset({"gpu-2"})).is_ready


@pytest.mark.parametrize(("since", "code"), [("16:59:55", None), ("16:59:30", "no-endpoints")])
def test_endpoints_may_be_written_seconds_after_readiness(since: str, code: str | None) -> None:
    world = slice_for(serving_world(), ready=False)
    world["Workspace"]["status"]["conditions"] = []
    world["Pod"]["status"]["conditions"] = [
        {"type": "Ready", "status": "True", "lastTransitionTime": f"2026-11-28T{since}Z"}
    ]
    found = world.diagnosis()
    assert not found.is_ready
    assert (found.cause.code if found.cause else None) == code


def test_a_server_on_a_lost_node_is_not_called_loading() -> None:
    world = serving_world()
    world["Node"]["status"]["conditions"] = LOST
    world["Workspace"]["status"]["conditions"] = [
        {
            "type": "ResourceReady",
            "status": "False",
            "reason": "x",
            "message": "1 of 1",
            "observedGeneration": 1,
        }
    ]
    assert progress(world.seen()).phase.words == "preparing nodes"
    world["Pod"]["status"]["conditions"] = UNREADY
    world["Deployment"]["status"]["readyReplicas"] = 0
    assert progress(world.seen()).phase.words == "preparing nodes"


def test_what_still_serves_is_served() -> None:
    for edit in (
        change("Service.spec.ports.0.targetPort", "5000"),
        change("Service.spec.ports.0.name", "http"),
        lambda world: slice_for(world),
        lambda world: slice_for(world, ready=None),
    ):
        world = serving_world()
        edit(world)
        assert serving(world.seen()).pods == ("falcon-5b8f-abcde",)
    named = serving_world()
    named["Pod"]["spec"]["containers"][0]["ports"] = [{"name": "api", "containerPort": 5000}]
    named["Service"]["spec"]["ports"][0]["targetPort"] = "api"
    assert serving(named.seen()).is_any
    headless = serving_world()
    headless["Service"]["spec"] |= {"clusterIP": "None", "ports": [{"port": 5000}]}
    assert serving(headless.seen()).is_any
    custom = serving_world().without("Service")
    custom["Workspace"]["inference"] = {"template": {}}
    assert serving(custom.seen()).is_any, "KAITO v0.3 gives a custom pod no Service"


@pytest.mark.parametrize(
    ("ports", "operations"),
    [
        (
            [{"name": "http", "port": 8080, "targetPort": 5000}],
            [("/spec/ports/-", {"name": "http-80", "port": 80, "protocol": "TCP", "targetPort": 5000})],
        ),
        (
            [{"name": "torch", "port": 29500, "targetPort": 29500}],
            [("/spec/ports/-", {"name": "http", "port": 80, "protocol": "TCP", "targetPort": 5000})],
        ),
        (
            [{"port": 8080, "targetPort": 5000}],
            [
                ("/spec/ports/0/name", "port-8080"),
                ("/spec/ports/-", {"name": "http", "port": 80, "protocol": "TCP", "targetPort": 5000}),
            ],
        ),
        ([], [("/spec/ports", [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": 5000}])]),
    ],
)
def test_a_service_without_port_80_serves_nobody_and_gets_it_beside_the_others(
    ports: list[Object], operations: list[tuple[str, Any]]
) -> None:
    world = serving_world()
    world["Service"]["spec"]["ports"] = ports
    world["Pod"]["spec"]["containers"][0]["ports"] = [{"containerPort": 5000}]
    found = world.diagnosis()
    assert (found.is_ready, found.cause.code if found.cause else "") == (False, "service-misdirected")
    assert found.cause is not None
    patch = json.loads(shlex.split(text(found.cause.command))[-1])
    assert [(one["op"], one["path"], one["value"]) for one in patch] == [("add", *one) for one in operations]
    unseen = {"pods": "forbidden"}
    assert serving(slice_for(world).seen(unseen=unseen)).gap == "port"
    world["Workspace"]["inference"] = {"template": {"spec": {"containers": []}}}
    custom = serving(world.seen())
    assert ports == [] or "http://falcon" not in custom.words, "a custom pod may be asked at any port"


def test_port_80_is_asked_whatever_it_is_called() -> None:
    world = serving_world()
    http = {"name": "http", "port": 8080, "targetPort": 5000}
    world["Service"]["spec"]["ports"] = [http, {"name": "web", "port": 80, "targetPort": 9999}]
    assert serving(world.seen()).gap == "port"
    world["Service"]["spec"]["ports"][1]["targetPort"] = 5000
    assert serving(world.seen()).is_any


def test_endpoints_by_hand_go_by_names_of_ports_so_no_command_renames_them() -> None:
    world = slice_for(serving_world())
    world["Service"]["spec"] |= {"selector": None, "ports": [{"port": 8080, "targetPort": 5000}]}
    cause = world.cause()
    assert (cause.code, text(cause.command)) == (
        "service-misdirected",
        "kubectl describe service falcon -n default",
    )


@pytest.mark.parametrize(
    ("families", "addresses", "words"),
    [
        (["IPv6"], ["10.1.2.3"], "is of IPv6 alone, and its ready pods have addresses of IPv4 alone"),
        (["IPv4"], ["fd00::3"], "is of IPv4 alone, and its ready pods have addresses of IPv6 alone"),
        (["IPv6"], ["10.1.2.3", "fd00::3"], ""),
        (["IPv4", "IPv6"], ["10.1.2.3"], ""),
    ],
)
def test_a_service_of_another_ip_family_is_made_again(
    families: list[str], addresses: list[str], words: str
) -> None:
    world = slice_for(serving_world(), ready=False)
    world["Service"]["spec"]["ipFamilies"] = families
    world["Pod"]["status"] |= {"podIP": addresses[0], "podIPs": [{"ip": one} for one in addresses]}
    cause = world.cause()
    assert cause.code == "no-endpoints"
    assert ("delete service falcon" in text(cause.hint)) == bool(words)
    assert words in cause.message
    if words:
        assert text(cause.command) == "kubectl get service falcon -n default -o yaml", "it takes nothing away"
        world["Service"]["spec"]["type"] = "LoadBalancer"
        assert "another address" in text(world.cause().hint)


def test_what_may_not_be_seen_is_not_missed() -> None:
    world = serving_world().without("Service")
    assert serving(world.seen(unseen={"services": "forbidden"})).is_any
    blind = slice_for(serving_world()).without("Pod")
    assert serving(blind.seen(unseen={"pods": "forbidden"})).pods == ("10.1.2.3",)
    blind = slice_for(serving_world(), ready=False).without("Pod")
    assert serving(blind.seen(unseen={"pods": "forbidden"})).gap == "endpoints"
    counted = serving_world().without("Pod")
    unlisted = counted.seen(unseen={"pods": "forbidden", "endpointslices": "forbidden"})
    assert serving(unlisted).is_any, "the Deployment counts a ready replica"


def test_a_pod_of_ones_own_needs_no_service_that_may_not_be_seen() -> None:
    """Nobody makes one for it, so that no slice says nothing; of a preset's server it says all."""
    hidden = {"pods": "forbidden", "services": "forbidden"}
    world = serving_world().without("Pod").without("Service")
    assert serving(world.seen(slices=(), unseen=hidden)).gap == "endpoints"
    world["Workspace"]["inference"] = {"template": {"spec": {"containers": []}}}
    assert serving(world.seen(slices=(), unseen=hidden)).is_any


@pytest.mark.parametrize("unseen", [{}, {"pods": "forbidden"}, {"nodes": "forbidden", "events": "forbidden"}])
def test_ready_pods_behind_a_service_of_which_no_endpoint_slice_is_written_serve_nobody(unseen: Any) -> None:
    seen = serving_world().seen(slices=(), unseen=unseen)
    assert serving(seen).gap == "endpoints"
    found = diagnose(seen, NOW)
    assert (found.is_ready, found.progress.down) == (False, True)
    assert found.cause is not None
    assert (found.cause.code, found.cause.weight) == ("no-endpoints", "fault")
    assert found.cause.message == "Service falcon has no EndpointSlice, so it leads to no pod"


def test_endpoint_slices_that_may_not_be_listed_are_not_missed() -> None:
    seen = serving_world().seen(slices=(), unseen={"endpointslices": "forbidden"})
    assert serving(seen).pods == ("falcon-5b8f-abcde",)
    assert diagnose(seen, NOW).is_ready


def test_a_missing_service_is_missed_where_pods_may_not_be_seen_too() -> None:
    blind = serving_world().without("Pod", "Service").seen(unseen={"pods": "forbidden"})
    assert serving(blind).gap == "missing"


def test_the_advice_for_a_service_leads_it_back() -> None:
    world = serving_world()
    world["Service"]["spec"]["selector"] = {"app": "other"}
    assert (
        text(world.cause().command)
        == "kubectl set selector service falcon -n default kaito.sh/workspace=falcon"
    )
    world = serving_world()
    world["Pod"]["metadata"]["labels"] = {"app": "other"}
    assert "set selector" not in text(world.cause().command), "it is the pods that lack the label"
    world = serving_world()
    world["Pod"]["status"]["phase"] = "Succeeded"
    assert serving(world.seen()).words == "its pods have ended"
    world = serving_world()
    world["Service"]["spec"]["ports"][0]["targetPort"] = 1
    assert '"/spec/ports/0/targetPort", "value": 5000' in world.cause().command


@pytest.mark.parametrize(
    ("manager", "hint"),
    [("kubectl", "scale it up again"), ("keda-operator", "keda-operator did it, and may do it")],
)
def test_who_scaled_it_is_named(manager: str, hint: str) -> None:
    world = World("scaled-to-zero")
    fields: Object = {"f:spec": {"f:replicas": {}}}
    world["Deployment"]["metadata"]["managedFields"] = [
        {"manager": "kaito", "time": "2026-11-27T00:00:00Z", "fieldsV1": {"f:spec": {"f:selector": {}}}},
        {"manager": "old", "time": "2026-11-27T00:00:00Z", "fieldsV1": fields},
        {"manager": manager, "subresource": "scale", "time": "2026-11-28T16:00:00Z", "fieldsV1": fields},
    ]
    cause = world.cause()
    assert f"{manager} has set that" in cause.message
    assert text(cause.hint).startswith(hint)
    assert text(cause.command) == "kubectl scale deployment falcon -n default --replicas=1"


def test_a_workload_that_is_halted_otherwise() -> None:
    world = World("paused")
    del world["Deployment"]["spec"]["paused"]
    world["Deployment"]["kind"] = "StatefulSet"
    world["StatefulSet"]["spec"]["updateStrategy"] = {"rollingUpdate": {"partition": 1}}
    assert "partition 1" in world.cause().message
    world["StatefulSet"]["spec"]["updateStrategy"] = {"type": "OnDelete"}
    assert "OnDelete" in world.cause().message


def test_a_paused_deployment_that_serves_as_it_should_is_no_trouble() -> None:
    world = serving_world()
    world["Deployment"]["spec"]["paused"] = True
    assert world.diagnosis().is_ready


# --- refused pods ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "what", "command"),
    [
        (
            'pods "a" is forbidden: exceeded quota: gpus, requested: x=2, used: x=2, limited: x=2',
            "quota",
            "resourcequota",
        ),
        (
            'pods "a" is forbidden: failed quota: q: must specify limits.cpu for: a; limits.memory for: a',
            "only pods that say limits.cpu for: a; limits.memory for: a",
            "resourcequota,limitrange",
        ),
        (
            'pods "a" is forbidden: maximum memory usage per Container is 1Gi, but limit is 2Gi.',
            "LimitRange",
            "limitrange",
        ),
        (
            'admission webhook "policy.example" denied the request: no',
            "webhook policy.example forbids",
            "webhook",
        ),
        (
            'pods "a" is forbidden: error looking up service account default/llm: serviceaccount "llm" not '
            "found",
            "ServiceAccount llm does not exist",
            "create serviceaccount llm -n default",
        ),
        (
            'pods "a" is forbidden: no PriorityClass with name high was found',
            "PriorityClass high",
            "priorityclasses",
        ),
        (
            'pods "a" is forbidden: pods with system-cluster-critical priorityClass is not permitted in '
            "default namespace",
            "PriorityClass system-cluster-critical for its own namespaces",
            "priorityclasses",
        ),
        (
            'pods "a" is forbidden: pod rejected: RuntimeClass "nvidia" not found',
            "RuntimeClass nvidia",
            "runtimeclasses",
        ),
        (
            'pods "a" is forbidden: unable to create new content in namespace ai because it is being '
            "terminated",
            "namespace is being deleted",
            "namespace",
        ),
        (
            'pods "a" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot != true',
            "Pod Security level restricted:latest",
            "--show-labels",
        ),
        (
            "pods \"a\" is forbidden: ValidatingAdmissionPolicy 'no-latest' with binding 'b' denied "
            "request: no",
            "ValidatingAdmissionPolicy no-latest",
            "validatingadmissionpolicies",
        ),
        (
            'pods "a" is forbidden: unable to validate against any security context constraint: []',
            "constraint",
            "securitycontext",
        ),
        ('Pod "a" is invalid: spec.containers[0].image: Required value', "template is invalid", "describe"),
        (
            "insufficient quota to match these scopes: [{PriorityClass In [high]}]",
            "none has the scopes",
            "resourcequota",
        ),
        ("etcdserver: request is too large", "too large to be stored", "describe"),
        ("etcdserver: mvcc: database space exceeded", "is full", "readyz"),
        ('pods "falcon-0" already exists', "another pod has the name falcon-0", "get pod falcon-0"),
        ('pods "a" is forbidden: status unknown for quota: gpus', "could not answer", "readyz"),
        ("the server is currently unable to handle the request (post pods)", "could not answer", "readyz"),
        (
            "must not be provided in pod spec; priority admission controller computed 1000",
            "PriorityClass, and the two differ",
            "priorityclasses",
        ),
        (
            "pod rejected: Pod's overhead doesn't match RuntimeClass's defined Overhead",
            "conflicts with its RuntimeClass",
            "runtimeclasses",
        ),
        (
            'volume with secret.secretName="hf" is not allowed because service account llm does not '
            "reference that secret",
            "ServiceAccount llm admits only",
            "serviceaccount llm",
        ),
        (
            "pod node label selector labels conflict with its namespace whitelist",
            "namespace prescribes",
            "namespace",
        ),
        (
            "policy 'add' with binding 'b' denied request: no",
            "MutatingAdmissionPolicy add",
            "mutatingadmissionpolicies",
        ),
        *(
            (
                f"ValidatingAdmissionPolicy 'p' with binding 'b' denied request: {said}",
                "ValidatingAdmissionPolicy p cannot judge the pods",
                "validatingadmissionpolicybindings",
            )
            for said in (
                "failed to configure binding: no params found for policy binding with `Deny` action",
                "expression 'variables.team' resulted in error: no such key: team",
            )
        ),
        (
            "ValidatingAdmissionPolicy 'p' with binding 'b' denied request: failed expression: has(object.x)",
            "ValidatingAdmissionPolicy p forbids",
            "validatingadmissionpolicies",
        ),
        *(
            (
                f'admission webhook "policy.sigstore.dev" denied the request: validation failed: {said}',
                "does not reach what it has to ask",
                "webhookconfigurations",
            )
            for said in (
                'fetching image: Get "https://r.io/v2/": dial tcp: lookup r.io: i/o timeout',
                'Get "https://r.io/v2/": x509: certificate signed by unknown authority',
            )
        ),
        (
            'admission webhook "policy.sigstore.dev" denied the request: no signatures found',
            "policy.sigstore.dev forbids the pods",
            "webhookconfigurations",
        ),
        ('namespaces "ai" not found', "is gone", "namespace"),
        (
            'Pod "x" is invalid: spec.containers[0].volumeMounts[4].mountPath: Invalid value: "/dev/shm": '
            "must be unique",
            "what a webhook adds",
            "mutatingwebhookconfigurations",
        ),
        (
            "cannot set blockOwnerDeletion if an ownerReference refers",
            "blocks deletion",
            "clusterrolebinding",
        ),
        ("Internal error occurred: something nobody has seen", "something nobody has seen", "describe"),
    ],
)
def test_each_refusal_has_its_own_advice(words: str, what: str, command: str) -> None:
    world = World("webhook-silent").without("Event")
    world["Deployment"]["status"]["conditions"] = []
    world.event("FailedCreate", f"Error creating: {words}", of="ReplicaSet")
    cause = world.cause()
    assert cause.code == "pods-refused"
    assert what in cause.message
    assert command in cause.command
    assert words in cause.evidence[0][1]


def test_a_refused_surge_pod_shows_while_the_old_one_serves() -> None:
    world = serving_world()
    failure = {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: gpus"}
    world["Deployment"]["status"] |= {"updatedReplicas": 0, "conditions": [failure]}
    assert world.cause().code == "pods-refused"


def test_a_refusal_of_the_past_is_not_blamed() -> None:
    world = World("webhook-silent").without("Event")
    world["Deployment"]["status"]["conditions"] = []
    world.event("FailedCreate", "exceeded quota", of="ReplicaSet", lastTimestamp="2026-11-28T16:00:00Z")
    world.event("SuccessfulCreate", "Created pod", of="ReplicaSet", kind="Normal")
    assert "pods-refused" not in [cause.code for cause in world.diagnosis().causes]


# --- scheduling ------------------------------------------------------------------------------------------


def unscheduled(words: str) -> World:
    world = World("scheduling-gated")
    del world["Pod"]["spec"]["schedulingGates"]
    world["Pod"]["status"]["conditions"] = [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": words}
    ]
    return world


NO_HELP = " preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."


@pytest.mark.parametrize(
    ("words", "code", "hint"),
    [
        (
            "0/2 nodes are available: 2 Insufficient nvidia.com/gpu." + NO_HELP,
            "unschedulable",
            "holds the GPUs",
        ),
        (
            "0/2 nodes are available: 1 Insufficient memory, 1 Insufficient cpu.",
            "unschedulable",
            "ask for less",
        ),
        ("0/2 nodes are available: 2 Too many pods.", "unschedulable", "as many pods"),
        ("0/2 nodes are available: 2 node(s) had untolerated taint {a: b}.", "unschedulable", "taints"),
        ("0/2 nodes are available: 2 node(s) had untolerated taint(s).", "unschedulable", "taints"),
        (
            "0/2 nodes are available: 2 node(s) didn't have free ports for the requested pod ports.",
            "unschedulable",
            "port",
        ),
        (
            "0/2 nodes are available: 2 node(s) had volume node affinity conflict.",
            "volume-not-here",
            "volume",
        ),
        (
            "0/2 nodes are available: 2 node(s) didn't match PersistentVolume's node affinity.",
            "volume-not-here",
            "volume",
        ),
        ("0/2 nodes are available: 2 node(s) exceed max volume count.", "volume-not-here", "volume"),
        ("0/2 nodes are available: 2 node(s) had no available volume zone.", "volume-not-here", "volume"),
        ('persistentvolumeclaim "w" is being deleted', "volume-claim-missing", "claim"),
        ('persistentvolumeclaim "w" bound to non-existent persistentvolume "v"', "volume-lost", "volume"),
        ("0/2 nodes are available: 2 cannot allocate all claims.", "unschedulable", "ResourceClaims"),
        ("0/2 nodes are available: 2 a reason of the year 2030.", "unschedulable", "each node"),
    ],
)
def test_the_schedulers_words_lead_to_advice(words: str, code: str, hint: str) -> None:
    cause = unscheduled(words).cause()
    assert cause.code == code
    assert hint in cause.hint
    assert cause.evidence[0][1] == words


def test_the_reason_that_rules_out_most_nodes_counts() -> None:
    words = (
        "0/9 nodes are available: 2 node(s) were unschedulable, 7 node(s) had untolerated taint {a: b, c: d}."
        + NO_HELP
    )
    assert ruled_out(words) == [
        (2, "node(s) were unschedulable"),
        (7, "node(s) had untolerated taint {a: b, c: d}"),
    ]
    assert "taints" in unscheduled(words).cause().hint


@pytest.mark.parametrize(
    "tried",
    [
        "no new claims to deallocate, preemption: 0/3 nodes are available: 3 No preemption victims found.",
        "no new claims to deallocate",
        "still not schedulable, preemption: not eligible due to preemptionPolicy=Never.",
        "deallocation of ResourceClaim completed",
        "preemption: 0/3 nodes are available: 3 No preemption victims found for incoming pod.",
    ],
)
@pytest.mark.parametrize("resource", ["nvidia.com/gpu", "rdma/hca", "nvidia.com/mig-1g.5gb", "hugepages-2Mi"])
def test_what_was_tried_to_make_room_is_no_reason(resource: str, tried: str) -> None:
    """Since 1.34 several plugins say what they tried, and not preemption alone."""
    words = f"0/3 nodes are available: 1 node(s) were unschedulable, 2 Insufficient {resource}. {tried}"
    assert ruled_out(words) == [(1, "node(s) were unschedulable"), (2, f"Insufficient {resource}")]
    obstacle = obstacle_of(words, {"namespace": "n", "workspace": "w", "pod": "p"})
    assert obstacle is not None and f"{resource}." not in obstacle.hint + str(obstacle.command)


def test_a_gate_of_nobody_known_is_named() -> None:
    world = World("scheduling-gated")
    world["Pod"]["spec"]["schedulingGates"] = [{"name": "example.com/quota"}, {"name": "b"}]
    cause = world.cause()
    assert "example.com/quota, b" in cause.message
    assert "kueue" not in cause.command


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("TaintManagerEviction", "Marking for deletion Pod default/falcon-5b8f-abcde"),
        ("Preempted", "Preempted by pod 1234 on node gpu-1"),
        ("Evicted", "The node was low on resource: memory."),
    ],
)
def test_a_pod_that_was_thrown_out_is_remembered_by_its_events(reason: str, words: str) -> None:
    world = unscheduled("0/1 nodes are available: 1 node(s) had untolerated taint {maintenance: true}.")
    world["Node"]["spec"]["taints"] = [{"key": "maintenance", "effect": "NoExecute"}]
    world.event(reason, words)
    world.objects[-1]["involvedObject"]["name"] = "falcon-5b8f7c9b65-bx2z4"
    cause = world.cause()
    assert cause.code == "pod-thrown-out"
    assert cause.about == "Pod falcon-5b8f7c9b65-bx2z4"
    assert ("taint maintenance:NoExecute" in cause.message) == (reason == "TaintManagerEviction")
    assert text(cause.command)[-1] != "-", "nobody else's taint is taken off"


@pytest.mark.parametrize("name", ["falcon-7b-0", "falcon-7b-5b8f7c9b65-bx2z4", "falcon-40b-instruct-bx2z4"])
def test_pods_of_a_workspace_whose_name_begins_alike_are_not_its_own(name: str) -> None:
    """Events are kept by how names begin: those of what is gone can be told by nothing else."""
    world = unscheduled("0/1 nodes are available: 1 Insufficient nvidia.com/gpu.")
    world.event("Preempted", "Preempted by pod 1234 on node gpu-1")
    world.objects[-1]["involvedObject"] |= {"name": name, "uid": "another"}
    assert "pod-thrown-out" not in {cause.code for cause in world.diagnosis().causes}


@pytest.mark.parametrize(
    "reason", ["DeletionByTaintManager", "EvictionByEvictionAPI", "PreemptionByScheduler", "DeletionByPodGC"]
)
def test_a_pod_that_is_being_thrown_out_says_so_itself(reason: str) -> None:
    world = serving_world()
    world["Pod"]["metadata"]["deletionTimestamp"] = "2026-11-28T16:59:00Z"
    world["Pod"]["status"]["conditions"] = [
        {"type": "DisruptionTarget", "status": "True", "reason": reason, "message": "because"}
    ]
    cause = world.cause()
    assert (cause.code, cause.evidence[0][1]) == ("pod-thrown-out", f"{reason}: because")


def test_an_event_of_the_past_blames_nothing_that_is_loading() -> None:
    world = World("slow-pull").event("TaintManagerEviction", "Marking for deletion Pod default/falcon-0")
    causes = world.diagnosis().causes
    assert [cause.weight for cause in causes if cause.code == "pod-thrown-out"] == ["note"]


def test_a_pod_on_a_lost_node_is_found_while_its_successor_waits() -> None:
    world = serving_world()
    world["Pod"]["metadata"]["deletionTimestamp"] = "2026-11-28T16:40:00Z"
    world["Node"]["status"]["conditions"] = LOST
    cause = world.cause()
    assert (cause.code, cause.about) == ("node-lost", "Node gpu-1")


# --- volumes and sandboxes -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "words", "code", "hint"),
    [
        (
            "FailedMount",
            'MountVolume.SetUp failed for volume "w" : rpc error: code = DeadlineExceeded desc = context '
            "deadline exceeded",
            "volume-unavailable",
            "in time",
        ),
        (
            "FailedMount",
            "Unable to attach or mount volumes: unmounted volumes=[w]: timed out waiting for the condition",
            "volume-unavailable",
            "in time",
        ),
        (
            "FailedMount",
            'MountVolume.SetUp failed for volume "models" : hostPath type check failed: /models is not a '
            "directory",
            "volume-unavailable",
            "path is not on this node",
        ),
        (
            "FailedMount",
            "MountVolume.MountDevice failed : kubernetes.io/csi: driver name disk.csi.azure.com not found "
            "in the list of registered CSI drivers",
            "volume-unavailable",
            "CSI driver",
        ),
        (
            "FailedMount",
            "mount failed: exit status 32 Output: mount.nfs: access denied by server",
            "volume-unavailable",
            "refuses",
        ),
        (
            "FailedAttachVolume",
            'Multi-Attach error for volume "pv-1" Volume is already exclusively attached to one node',
            "volume-unavailable",
            "one node at a time",
        ),
        (
            "FailedAttachVolume",
            'AttachVolume.Attach failed for volume "pvc-1" : timed out waiting for external-attacher of '
            "disk.csi.azure.com CSI driver to attach volume 1",
            "volume-unavailable",
            "attaches disks",
        ),
        ("FailedMapVolume", "MapVolume.SetUpDevice failed", "volume-unavailable", "check the message"),
        ("VolumeResizeFailed", "resize failed", "volume-unavailable", "grow"),
        (
            "FailedCreatePodSandBox",
            'plugin type="azure-vnet" failed: Failed to allocate pool: no available addresses',
            "pod-sandbox-failed",
            "address left",
        ),
        (
            "FailedCreatePodSandBox",
            "failed to assign an IP address to container",
            "pod-sandbox-failed",
            "address left",
        ),
        ("FailedCreatePodSandBox", 'RuntimeHandler "nvidia" not supported', "pod-sandbox-failed", "toolkit"),
        (
            "NetworkNotReady",
            "network is not ready: container runtime network not ready: cni plugin not initialized",
            "pod-sandbox-failed",
            "network plugin",
        ),
        (
            "FailedPrepareDynamicResources",
            "Failed to prepare dynamic resources: resource claim x",
            "pod-sandbox-failed",
            "ResourceClaims",
        ),
    ],
)
def test_what_keeps_a_kubelet_from_the_first_container(reason: str, words: str, code: str, hint: str) -> None:
    cause = World("multi-attach").without("Event").event(reason, words).cause()
    assert cause.code == code
    assert hint in cause.hint
    assert words in cause.message
    assert "delete" not in cause.command


def test_a_pod_whose_containers_run_has_no_trouble_with_volumes_any_more() -> None:
    world = World("killed-after-serving").event("FailedMount", "timed out waiting for the condition")
    assert "volume-unavailable" not in [cause.code for cause in world.diagnosis().causes]


# --- containers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "words", "code"),
    [
        (
            "SignatureValidationFailed",
            "image pull failed because the signature validation failed",
            "image-pull-failed",
        ),
        ("ImageInspectError", "failed to inspect image", "image-pull-failed"),
        (
            "ErrImageNeverPull",
            "Container image is not present with pull policy of Never",
            "image-pull-failed",
        ),
        ("PostStartHookError", "Exec lifecycle hook failed", "container-cannot-start"),
        ("PreStartHookError", "hook failed", "container-cannot-start"),
        ("PreCreateHookError", "hook failed", "container-cannot-start"),
        ("KillContainerError", "cannot kill", "container-cannot-start"),
        ("CreateContainerConfigError", "failed to prepare subPath for volumeMount", "container-cannot-start"),
        ("CreateContainerConfigError", 'secret "hf" not found', "secret-missing"),
        ("CreateContainerConfigError", "couldn't find key HF_TOKEN in Secret default/hf", "key-missing"),
        ("CreatePodSandboxError", "no network", "pod-sandbox-failed"),
        ("KillPodSandboxError", "no network", "pod-sandbox-failed"),
        (
            "ErrImagePull",
            "no matching manifest for linux/amd64 in the manifest list entries",
            "image-wrong-platform",
        ),
        ("ErrImagePull", 'no image found in image index for architecture "amd64"', "image-wrong-platform"),
        (
            "ErrImagePull",
            'image operating system "windows" cannot be used on this platform',
            "image-wrong-platform",
        ),
        ("RunContainerError", "exec /usr/bin/python: exec format error", "image-wrong-platform"),
    ],
)
def test_what_a_container_waits_for(reason: str, words: str, code: str) -> None:
    world = World("runs-as-root")
    world["Pod"]["status"]["containerStatuses"][0]["state"] = {
        "waiting": {"reason": reason, "message": words}
    }
    cause = world.cause()
    assert cause.code == code
    assert any(words in text for _, text in cause.evidence)


def ended(world: World, code: int, reason: str, message: str = "") -> World:
    last = {"exitCode": code, "reason": reason, "message": message}
    world["Pod"]["status"]["containerStatuses"][0]["lastState"] = {"terminated": last}
    return world


@pytest.mark.parametrize(
    ("code", "reason", "message", "found"),
    [
        (
            128,
            "StartError",
            "nvidia-container-cli: initialization error: nvml error: insufficient permissions",
            "container-cannot-start",
        ),
        (
            127,
            "ContainerCannotRun",
            'exec: "accelerate": executable file not found in $PATH',
            "container-cannot-start",
        ),
        (128, "StartError", "exec /bin/sh: exec format error", "image-wrong-platform"),
        (1, "Error", "a reason that the program wrote to its termination log", "crash-loop"),
        (0, "Completed", "", "crash-loop"),
    ],
)
def test_how_a_container_ended_stands_in_its_last_state(
    code: int, reason: str, message: str, found: str
) -> None:
    cause = ended(World("start-error"), code, reason, message).cause()
    assert cause.code == found
    assert any(message in text for _, text in cause.evidence)


def test_a_server_that_ends_with_0_and_is_just_running_again_is_found_too() -> None:
    world = World("exit-zero-loop")
    item = world["Pod"]["status"]["containerStatuses"][0]
    item["state"] = {"running": {"startedAt": "2026-11-28T16:59:50Z"}}
    assert "exits with code 0" in world.cause().message
    item["ready"] = True
    assert "crash-loop" not in [cause.code for cause in world.diagnosis().causes]


def test_a_pull_of_minutes_is_nobodys_fault() -> None:
    world = World("slow-pull")
    world["Event"]["firstTimestamp"] = "2026-11-28T16:50:00Z"
    assert "image-pull-slow" not in [cause.code for cause in world.diagnosis().causes]
    world = World("slow-pull")
    world.event("Pulled", 'Successfully pulled image "mcr/kaito-falcon-7b:0.0.6"', kind="Normal")
    assert "image-pull-slow" not in [cause.code for cause in world.diagnosis().causes]


# --- failed pods -----------------------------------------------------------------------------------------


def test_1500_failed_pods_are_a_count() -> None:
    world = World("rejected-by-kubelet")
    one = world["Pod"]
    world.without("Pod")
    for number in range(1500):
        metadata = {**one["metadata"], "name": f"falcon-5b8f-{number:04}", "uid": f"p{number}"}
        world.objects.append({**one, "metadata": metadata})
    found = [cause for cause in world.diagnosis().causes if cause.code == "pod-rejected"]
    assert [cause.about for cause in found] == ["1500 pods of falcon"]
    assert found[0].message.startswith("1500 pods: ")

    def items(item: Item) -> list[Item]:
        return [item, *(below for child in item.children for below in items(child))]

    shown = items(view(world.seen(), NOW).tree)
    assert [item.name for item in shown if item.kind == "Pod"] == ["1500 pods"]


@pytest.mark.parametrize(
    "reason",
    [
        "OutOfcpu",
        "OutOfmemory",
        "OutOfpods",
        "OutOfnvidia.com/gpu",
        "NodeAffinity",
        "NodePorts",
        "NodeShutdown",
    ],
)
def test_a_rejected_pod_shows_the_kubelets_words(reason: str) -> None:
    world = World("rejected-by-kubelet")
    for item in world.objects:
        if item["kind"] == "Pod":
            item["status"] |= {"reason": reason, "message": f"the words of {reason}"}
    cause = world.cause()
    assert cause.code == "pod-rejected"
    assert f"{reason}: the words of {reason}" in cause.evidence[0][1]


@pytest.mark.parametrize("reason", ["Terminated", "Shutdown", "Preempting", "DeadlineExceeded"])
def test_a_pod_that_its_node_ended(reason: str) -> None:
    world = World("rejected-by-kubelet")
    for item in world.objects:
        if item["kind"] == "Pod":
            item["status"] |= {"reason": reason, "message": "the node shut down"}
    assert world.cause().code == "pod-ended"


def test_a_server_that_ends_with_0_when_a_probe_asks_it_to_is_the_probes_doing() -> None:
    world = World("killed-after-serving")
    ended(world, 0, "Completed")
    world["Pod"]["status"]["containerStatuses"][0]["lastState"]["terminated"] |= {
        "startedAt": "2026-11-28T10:47:29Z",
        "finishedAt": "2026-11-28T15:47:29Z",
    }
    assert world.cause().code == "probe-kills-server"
    later = world["Pod"]["status"]["containerStatuses"][0]["lastState"]["terminated"]
    later |= {"startedAt": "2026-11-28T16:40:00Z", "finishedAt": "2026-11-28T16:50:00Z"}
    assert world.cause().code == "crash-loop", "that kill was of another run"


def test_an_adapters_log_may_say_that_its_image_is_for_another_machine() -> None:
    world = World("wrong-platform")
    item = world["Pod"]["status"]["initContainerStatuses"][0]
    item |= {
        "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": {"terminated": {"exitCode": 1, "reason": "Error"}},
    }
    words = "Error: no matching manifest was found in the manifest list: not found"
    logs = {(world["Pod"]["metadata"]["name"], "style"): words}
    assert world.cause(logs=logs).code == "image-wrong-platform"


def test_a_tuning_job_that_somebody_has_deleted_is_missed() -> None:
    world = World("workload-gone")
    del world["Workspace"]["inference"]
    world["Workspace"]["tuning"] = {"preset": {"name": "falcon-7b"}, "method": "lora"}
    world["Workspace"]["status"]["conditions"] = [
        {
            "type": "JobStarted",
            "status": "True",
            "observedGeneration": 1,
            "lastTransitionTime": "2026-11-28T15:00:00Z",
        }
    ]
    cause = world.cause()
    assert (cause.code, cause.weight) == ("workload-missing", "fault")
    assert "Job falcon" in cause.message


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet"])
def test_a_rollout_that_counts_ready_replicas_without_pods_serves_nobody(kind: str) -> None:
    world = serving_world().without("Pod")
    world["Deployment"]["kind"] = kind
    cause = world.cause()
    assert (cause.code, cause.message) == ("nobody-served", "not serving: it has no pods")


def test_pods_that_are_on_their_way_out_are_not_called_none() -> None:
    world = serving_world()
    world["Pod"]["metadata"]["deletionTimestamp"] = "2026-11-28T16:00:00Z"
    world["Pod"]["status"]["conditions"] = []
    assert world.cause().message == "not serving: its pods are being deleted"


def test_pods_that_outlive_their_workload_serve_and_are_not_replaced() -> None:
    world = serving_world().without("Deployment", "ReplicaSet")
    cause = world.cause()
    assert cause.code == "workload-missing"
    assert "its pods still serve" in cause.message
    assert not progress(world.seen()).down
    unseen = {"deployments": "forbidden"}
    assert world.diagnosis(unseen=unseen).cause is None
    assert not progress(world.without("Pod").seen(unseen=unseen)).down, "nobody knows what there is"


def test_a_workload_that_is_being_deleted_is_told_of_while_its_pods_still_serve() -> None:
    world = serving_world()
    world["Deployment"]["metadata"] |= {
        "deletionTimestamp": "2026-11-28T16:00:00Z",
        "finalizers": ["foregroundDeletion"],
    }
    found = world.diagnosis()
    assert found.is_ready and found.cause is None
    (note,) = found.causes
    assert (note.code, note.weight) == ("workload-missing", "note")
    assert "foregroundDeletion" in note.evidence[0][1]


@pytest.mark.parametrize(
    ("finalizers", "words", "hint"),
    [
        (["service.kubernetes.io/load-balancer-cleanup"], "has held for 40m", "load balancer down"),
        (["example.com/dns"], "finalizer example.com/dns", "takes its finalizer off"),
        ([], "is being deleted;", "makes the Service again"),
    ],
)
def test_a_service_that_is_being_deleted_serves_until_it_is_gone_and_is_named(
    finalizers: list[str], words: str, hint: str
) -> None:
    world = serving_world()
    world["Service"]["metadata"] |= {"deletionTimestamp": "2026-11-28T16:20:00Z", "finalizers": finalizers}
    found = world.diagnosis()
    assert (found.is_ready, found.cause) == (True, None)
    (note,) = found.causes
    assert (note.code, note.weight) == ("service-going", "note")
    assert words in note.message
    assert hint in text(note.hint)
    (row,) = (item for item in view(world.seen(), NOW).tree.children if item.kind == "Service")
    assert row.status == "Terminating"
