"""What can go wrong with a controller and its cluster, and the tests that show what then happens here.

A row is a fault and the tests that would fail if it did harm, or the reason why there is none.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parent.parent

PLANS = "faults/test_plans.py::test_every_fault_at_every_request_ends_as_without"
WIRE = "faults/test_wire.py"
ONCE = f"{WIRE}::test_what_goes_wrong_once_leaves_nothing_behind"
WIRING = "faults/test_wiring.py"
INFORMER = "reconcile/test_informer.py"
CONTROLLER = "reconcile/test_controller.py"
LEADER = "reconcile/test_leader_election.py"
RECONCILER = "controller/test_reconciler.py"
HTTP = "kube/test_http.py"

MATRIX: dict[str, list[str] | str] = {
    "killed before a write": [PLANS, f"{WIRE}::test_killed_before_and_after_each_write"],
    "killed after a write": [PLANS, f"{WIRE}::test_killed_before_and_after_each_write"],
    "two faults in one life": [PLANS, "faults/test_plans.py::test_many_faults_at_random_end_as_without"],
    "watch reset, closed, timed out": [ONCE, f"{INFORMER}::test_interrupted_watch_goes_on_where_it_stopped"],
    "watch half open": [f"{INFORMER}::test_silent_connection_is_replaced_within_75_seconds"],
    "watch expired, once and again": [
        ONCE,
        f"{INFORMER}::test_410_makes_the_informer_list_again",
        f"{INFORMER}::test_persistent_410_costs_one_list_per_backoff_step",
    ],
    "stale stores and lists": [PLANS, f"{WIRE}::test_a_list_as_it_was_some_time_ago_takes_nothing_back"],
    "conflict at a write": [
        PLANS,
        ONCE,
        f"{CONTROLLER}::test_conflict_is_settled_within_a_second_and_no_warning",
    ],
    "foreign object of our name": [
        PLANS,
        f"{WIRE}::test_a_foreign_object_comes_between_the_look_and_the_write",
        f"{RECONCILER}::test_foreign_objects_of_our_name_are_not_touched",
    ],
    "too many requests, unavailable, with and without Retry-After": [
        ONCE,
        f"{CONTROLLER}::test_server_is_left_alone_for_as_long_as_it_asked",
        f"{INFORMER}::test_retry_after_is_respected",
    ],
    "failed, and perhaps done all the same": [PLANS, ONCE],
    "slow server, slow answers": [ONCE, f"{INFORMER}::test_server_too_slow_to_list_is_asked_ever_less"],
    "half answers, pages of HTML, JSON of another shape": [
        ONCE,
        f"{HTTP}::test_what_is_no_whole_answer_is_an_error_and_never_an_empty_body",
        f"{INFORMER}::test_answer_without_items_is_not_an_empty_list",
    ],
    "events repeated, late, lost": [
        ONCE,
        f"{INFORMER}::test_repeated_and_late_news_do_not_bring_back_the_past",
        f"{WIRING}::test_an_event_that_got_lost_is_made_good_by_a_list_after_two_hours",
    ],
    "a page of a list fails": [f"{INFORMER}::test_failing_page_never_makes_a_partial_picture"],
    "malformed objects of other writers": [
        f"{WIRE}::test_malformed_workspaces_of_others_hold_nobody_up",
        f"{INFORMER}::test_event_that_is_malformed_every_time_is_got_over",
        f"{CONTROLLER}::test_objects_that_nobody_can_map_or_reconcile_harm_nobody_else",
    ],
    "status and children edited by others": [
        f"{RECONCILER}::test_a_changed_field_of_a_child_is_put_back_and_a_foreign_field_is_kept",
        f"{RECONCILER}::test_worker_nodes_that_somebody_else_wrote_go_away",
    ],
    "two controllers at once": [PLANS, f"{WIRE}::test_two_controllers_at_once"],
    "lease lost in the middle of a pass": [
        f"{WIRE}::test_a_leader_that_sleeps_in_the_middle_of_a_pass_writes_nothing_when_it_wakes",
        f"{CONTROLLER}::test_no_request_is_sent_once_it_is_not_allowed",
    ],
    "clocks that differ or jump": [
        f"{LEADER}::test_lease_of_a_dead_leader_is_taken_after_its_duration_as_we_saw_it",
        f"{LEADER}::test_frozen_process_is_not_the_leader_when_it_wakes",
    ],
    "deleted and created again under the same name": [
        PLANS,
        f"{WIRE}::test_deleted_and_created_again_in_the_middle_of_a_pass",
    ],
    "deletion with others' finalizers, by force, with orphans": [PLANS],
    "node gone, not ready, cordoned": [
        PLANS,
        f"{WIRE}::test_a_node_that_goes_in_the_middle_of_a_rollout",
        f"{RECONCILER}::test_a_node_that_stumbles_under_our_pods_is_not_replaced",
    ],
    "adapters and counts changed in the middle": [
        PLANS,
        f"{WIRE}::test_adapters_changed_in_the_middle_of_a_pass",
    ],
    "child deleted by hand": [
        PLANS,
        f"{WIRING}::test_a_child_that_is_deleted_by_hand_is_back_at_once",
        f"{WIRE}::test_every_child_that_is_deleted_by_hand_comes_back",
    ],
    "lists of ten thousand objects": "a matter of time and memory: the benchmarks measure it (bench/)",
    "server restarted or away": [
        f"{WIRE}::test_a_real_api_server_is_restarted",
        f"{WIRE}::test_a_server_that_is_away_for_a_while",
        f"{WIRING}::test_an_outage_of_two_minutes_costs_few_requests",
        f"{INFORMER}::test_informer_starts_while_the_server_is_down",
    ],
    "versions that go down after a restore": (
        "not handled: an informer that sees smaller versions keeps what it has until it lists again, after "
        "two hours at most; children are guarded by generation all the while"
    ),
    "CRD missing, and installed later": [
        f"{WIRE}::test_the_crd_is_taken_away_and_installed_again",
        "cli/test_run_controller.py::test_a_cluster_without_the_crd_is_refused_at_once",
        f"{INFORMER}::test_kind_that_is_not_served_counts_as_synced_until_it_appears",
    ],
    "refused by admission, quota or rights": [PLANS, ONCE],
    "token replaced": [
        f"{WIRE}::test_a_token_that_is_replaced",
        "kube/test_kubeconfig.py::test_a_token_file_is_read_again",
    ],
    "client certificate or CA replaced": (
        "not handled: a process keeps the certificates that it started with; in a cluster the controller has "
        "a token, and the CA outlives it"
    ),
    "credential plugin that hangs or fails": [
        "kube/test_credentials.py::test_a_plugin_that_never_ends_is_given_up_and_ended",
        "kube/test_credentials.py::test_a_plugin_that_gives_nothing_is_named_and_nothing_is_sent",
        "kube/test_credentials.py::test_a_plugin_that_is_not_there_is_named",
    ],
    "unreadable or broken kubeconfig": [
        "cli/test_bad_input.py::test_a_broken_kubeconfig_is_bad_input",
        "kube/test_kubeconfig.py::test_what_is_wrong_is_said_with_the_file",
        "cli/test_hostile_servers.py::test_a_state_folder_that_cannot_be_used_is_named",
    ],
    "SIGTERM in the middle of a pass, a reader that goes away": [
        f"{WIRE}::test_sigterm_in_the_middle_of_a_pass",
        "cli/test_hostile_servers.py::test_a_reader_that_goes_away_is_no_failure",
    ],
    "an object that fails each time": [
        f"{CONTROLLER}::test_poisoned_key_is_tried_ever_less_and_stops_nobody"
    ],
}


@cache
def functions_of(file: str) -> set[str]:
    tree = ast.parse((TESTS / file).read_text("utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("fault", MATRIX)
def test_a_fault_is_shown_to_do_no_harm(fault: str) -> None:
    shown = MATRIX[fault]
    if isinstance(shown, str):
        assert len(shown.split()) > 5, "a reason says why"
        return
    assert shown
    for node_id in shown:
        file, _, name = node_id.partition("::")
        assert name in functions_of(file), f"there is no {node_id}"
