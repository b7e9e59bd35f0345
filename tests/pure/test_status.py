from __future__ import annotations

from datetime import UTC, datetime, timedelta

from builders import node, workspace

from kaitoctl.kaito import node_check, workspace_status
from kaitoctl.kaito.workspace_conditions import Observed
from kaitoctl.kube.conditions import find
from kaitoctl.kube.objects import Object

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def deployment(*, generation: int = 1, owner_generation: int = 1, ready: int = 1, updated: int = 1) -> Object:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "falcon",
            "generation": generation,
            "annotations": {"kaitoctl.dev/owner-generation": str(owner_generation)},
        },
        "spec": {"replicas": 1},
        "status": {
            "observedGeneration": generation,
            "replicas": 1,
            "updatedReplicas": updated,
            "readyReplicas": ready,
        },
    }


def states(ws: Object, seen: Observed) -> dict[str, tuple[str, str]]:
    made = workspace_status.status(ws, seen, NOW)
    return {item["type"]: (item["status"], item["reason"]) for item in made["conditions"]}


def observed(ws: Object, *present: Object, workload: Object | None = None, **rest: object) -> Observed:
    verdict = node_check.verdict(ws, present)
    return Observed(verdict=verdict, workload=workload, can_claim=True, **rest)  # type: ignore[arg-type]


def test_all_conditions_are_true_once_the_workload_of_this_generation_serves() -> None:
    ws = workspace()
    assert states(ws, observed(ws, node(), workload=deployment())) == {
        "NodeClaimReady": ("True", "installNodePluginsSuccess"),
        "ResourceReady": ("True", "workspaceResourceStatusSuccess"),
        "InferenceReady": ("True", "WorkspaceInferenceStatusSuccess"),
        "WorkspaceSucceeded": ("True", "workspaceSucceeded"),
    }


def test_a_workload_of_an_older_generation_is_not_ready_however_well_it_serves() -> None:
    ws = workspace(generation=2)
    made = states(ws, observed(ws, node(), workload=deployment(owner_generation=1)))
    assert made["InferenceReady"] == ("False", "WorkspaceInferenceStatusPending")


def test_the_old_pod_does_not_make_the_new_revision_ready() -> None:
    ws = workspace()
    made = states(ws, observed(ws, node(), workload=deployment(ready=1, updated=0)))
    assert made["InferenceReady"][0] == "False"


def test_missing_nodes_are_waited_for_while_they_can_be_made() -> None:
    ws = workspace()
    made = states(ws, observed(ws))
    assert made["NodeClaimReady"] == ("Unknown", "CreateNodeClaimPending")
    assert made["WorkspaceSucceeded"] == ("False", "workspacePending")


def test_a_cluster_without_node_claims_says_which_nodes_it_lacks() -> None:
    ws = workspace()
    seen = Observed(verdict=node_check.verdict(ws, []), can_claim=False)
    made = workspace_status.status(ws, seen, NOW)
    condition = find({"status": made}, "ResourceReady")
    assert condition is not None
    assert "1 of 1 nodes missing: Standard_NC12s_v3 with labels apps=falcon-7b" in str(condition["message"])
    assert states(ws, seen)["WorkspaceSucceeded"] == ("False", "workspaceFailed")


def test_an_unusable_preferred_node_is_named_with_its_reason() -> None:
    ws = workspace(resource={"preferredNodes": ["gpu-a"]})
    made = workspace_status.status(ws, observed(ws, node(labels={})), NOW)
    condition = find({"status": made}, "ResourceReady")
    assert condition is not None
    assert condition["reason"] == "PreferredNodesUnusable"
    assert "gpu-a: label apps=falcon-7b is missing" in condition["message"]


def test_an_unlaunchable_claim_ends_the_rollout() -> None:
    ws = workspace()
    launched = {"type": "Launched", "status": "False", "message": "out of capacity"}
    claim: Object = {"metadata": {"name": "ws1"}, "status": {"conditions": [launched]}}
    made = states(ws, observed(ws, claims=(claim,)))
    assert made["NodeClaimReady"] == ("False", "checkNodeClaimStatusFailed")
    assert made["WorkspaceSucceeded"] == ("False", "workspaceFailed")


def test_the_same_state_gives_the_same_status_at_any_time() -> None:
    ws = workspace()
    seen = observed(ws, node(), workload=deployment())
    ws["status"] = workspace_status.status(ws, seen, NOW)
    assert workspace_status.status(ws, seen, NOW + timedelta(hours=1)) == ws["status"]


def test_a_transition_time_moves_with_the_status_and_not_with_the_message() -> None:
    ws = workspace()
    ws["status"] = workspace_status.status(ws, observed(ws, node(), workload=deployment(ready=0)), NOW)
    later = NOW + timedelta(minutes=5)
    after = workspace_status.status(ws, observed(ws, node(), workload=deployment()), later)
    times = {item["type"]: item["lastTransitionTime"] for item in after["conditions"]}
    assert times["ResourceReady"] == "2026-01-01T00:00:00Z"
    assert times["InferenceReady"] == "2026-01-01T00:05:00Z"


def test_worker_nodes_are_where_the_pods_really_are() -> None:
    ws = workspace()
    pod: Object = {"metadata": {"name": "p"}, "spec": {"nodeName": "elsewhere"}, "status": {}}
    seen = observed(ws, node(), workload=deployment(), pods=(pod,))
    assert workspace_status.status(ws, seen, NOW)["workerNodes"] == ["elsewhere"]
    assert workspace_status.status(ws, observed(ws, node()), NOW)["workerNodes"] == ["gpu-a"]


def test_a_name_conflict_is_reported_and_ends_the_rollout() -> None:
    ws = workspace()
    made = states(ws, observed(ws, node(), conflicts=("Service default/falcon exists",)))
    assert made["InferenceReady"] == ("False", "NameConflict")
    assert made["WorkspaceSucceeded"] == ("False", "workspaceFailed")


def test_what_kaito_built_is_said_to_serve_in_words_that_can_be_read() -> None:
    theirs = deployment()
    theirs["metadata"]["annotations"] = {}
    ws = workspace()
    made = workspace_status.status(ws, Observed(refusal="preset is not known", workload=theirs), NOW)
    said = find({"status": made}, "WorkspaceSucceeded")
    assert said is not None
    assert said["message"].endswith("preset is not known; what was built before still serves")


def test_what_kaito_said_of_nodes_and_a_failed_benchmark_goes_when_it_is_taken_over() -> None:
    """It would stay as KAITO left it, and `why` would go on saying it; a result that was had stays."""

    def left(kind: str, status: str) -> Object:
        return {"type": kind, "status": status, "reason": "r", "message": "m", "lastTransitionTime": "t"}

    served = observed(workspace(), node(), workload=deployment())
    for nodes, measured, stays in (("False", "False", set()), ("True", "True", {"BenchmarkCompleted"})):
        before = [left("NodesReady", nodes), left("BenchmarkCompleted", measured), left("Theirs", "False")]
        made = states(workspace(status={"conditions": before}), served)
        assert made.keys() & {"NodesReady", "BenchmarkCompleted", "Theirs"} == {*stays, "Theirs"}
