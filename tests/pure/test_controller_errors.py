"""KAITO's own errors in conditions: its lost updates pass, what somebody has to change does not."""

from __future__ import annotations

import pytest
from builders import workspace

from kaitoctl.kaito.controller_errors import SplitMessage, failure, is_given_up, last_error, prospect, split
from kaitoctl.kaito.rollout import progress
from kaitoctl.kaito.snapshot import Snapshot
from kaitoctl.kube.objects import Object

PASSING = [
    'Operation cannot be fulfilled on workspaces.kaito.sh "w": the object has been modified; please apply '
    "your changes to the latest version and try again",
    "failed to update Workspace annotations: Operation cannot be fulfilled on workspaces.kaito.sh",
    'Operation cannot be fulfilled on workspaces.kaito.sh "w": StorageError: invalid object, Code: 4, Key: '
    "/registry/w, AdditionalErrorMsg: Precondition failed: UID in precondition: a, UID in object meta: b",
    "check nodeClaim status timed out. nodeClaim ws123 is not ready",
    "check machine status timed out. machine ws123 is not ready",
    "node plugin installation timed out. node gpu-a is not ready",
    "Timeout: request did not complete within requested timeout - context deadline exceeded",
    "client rate limiter Wait returned an error: context deadline exceeded",
    'Get "https://10.0.0.1:443/api/v1/nodes": dial tcp 10.0.0.1:443: connect: connection refused',
    'Post "https://10.0.0.1:443/apis": read tcp 10.0.0.2:1->10.0.0.1:443: read: connection reset by peer',
    "http2: client connection lost",
    "unexpected EOF",
    "etcdserver: leader changed",
    "etcdserver: request timed out",
    "the server is currently unable to handle the request (get nodes)",
    "the server has received too many requests and has asked us to try again later",
    'services "w" already exists',
    'nodes "ws123-node" not found',
    'nodeclaims.karpenter.sh "ws123" not found',
    "failed to fetch GPU count from nodes: no worker nodes found in the workspace",
    "deployment w is not ready yet",
]

FINAL = [
    "failed to update Workspace status targetNodeCount: failed to calculate target node count: failed to get "
    "GPU config for instance type Standard_NC12s_v3: invalid value: Unsupported SKU 'Standard_NC12s_v3' for "
    "cloud provider: sku",
    'Service "7b" is invalid: metadata.name: Invalid value: "7b": a DNS-1035 label must consist of a-z',
    'pods "w-0" is forbidden: exceeded quota: q, requested: requests.nvidia.com/gpu=1, used: 0, limited: 0',
    'admission webhook "validation.workspace.kaito.sh" denied the request: validation failed',
    'no matches for kind "NodeClaim" in version "karpenter.sh/v1"',
    "etcdserver: request is too large",
    "etcdserver: mvcc: database space exceeded",
    "all requested instance types were unavailable during launch",
]


@pytest.mark.parametrize("error", PASSING)
def test_an_error_that_the_next_pass_may_not_meet_ends_no_rollout(error: str) -> None:
    assert prospect(error) == "passing"
    assert failure(failed(error), is_ours=False) == ""
    assert progress(Snapshot(failed(error))).outcome is None


@pytest.mark.parametrize("error", FINAL)
def test_an_error_that_stays_until_somebody_changes_something_ends_it(error: str) -> None:
    assert prospect(error) == "final"
    assert progress(Snapshot(failed(error))).detail == error
    appended = of("InferenceReady", f"not ready (last reconcile error: {error})")
    waits = of("WorkspaceSucceeded", "waits", "workspacePending")
    late = workspace(status={"conditions": [appended, waits]})
    assert error in progress(Snapshot(late)).detail
    assert progress(Snapshot(late)).outcome == "failed"


def test_what_nobody_knows_is_final_only_where_the_controller_says_so() -> None:
    assert prospect("boom") == "unknown"
    assert failure(failed("boom"), is_ours=False) == "boom"
    appended = workspace(
        status={"conditions": [of("WorkspaceSucceeded", "waits (last reconcile error: boom)", "p")]}
    )
    assert failure(appended, is_ours=False) == ""
    assert progress(Snapshot(appended)).detail.endswith("error: boom"), "but it is shown"
    assert last_error(appended) == "boom"


def test_kaitoctls_controller_means_what_it_says() -> None:
    words = "1 of 1 nodes missing: gpu-a: the node is not ready"
    assert failure(failed(words), is_ours=False) == ""
    assert failure(failed(words), is_ours=True) == words


def test_an_error_of_the_generation_before_says_nothing_of_this() -> None:
    ws = workspace(
        generation=2, status={"conditions": [of("WorkspaceSucceeded", "x (last reconcile error: y)", "p")]}
    )
    assert last_error(ws) == ""
    assert failure(ws, is_ours=False) == ""


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("plain", SplitMessage("plain", "")),
        ("waits (last reconcile error: a (b) c)", SplitMessage("waits", "a (b) c")),
        ("(last reconcile error: a)", SplitMessage("", "a")),
        ("cut off (last reconcile error: a very long", SplitMessage("cut off", "a very long")),
        ("lines (last reconcile error: a\nb)", SplitMessage("lines", "a\nb")),
        ("", SplitMessage("", "")),
    ],
)
def test_a_message_is_what_is_so_and_the_error_behind_it(message: str, said: SplitMessage) -> None:
    assert split(message) == said


def failed(message: str) -> Object:
    return workspace(status={"conditions": [of("WorkspaceSucceeded", message)]})


def of(kind: str, message: str, reason: str = "workspaceFailed") -> Object:
    return {"type": kind, "status": "False", "reason": reason, "message": message, "observedGeneration": 1}


def test_only_what_no_pod_can_change_is_given_up() -> None:
    for error in FINAL:
        assert is_given_up(failed(error), is_ours=False) and is_given_up(failed(error), is_ours=True)
    assert not is_given_up(failed(PASSING[0]), is_ours=False)
    failed_measure = of("WorkspaceSucceeded", "no result", "BenchmarkFailed")
    unmeasured = workspace(status={"conditions": [failed_measure]})
    assert failure(unmeasured, is_ours=False) and not is_given_up(unmeasured, is_ours=False)
