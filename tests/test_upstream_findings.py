"""What KAITO's own controllers get wrong, and where it is shown that ours does not.

A row is a shape in which they err, in our words, with the place in KAITO's source where it was found, and the
tests that would fail if kaitoctl had it, or the reason why it cannot. Sources: KAITO v0.3.2 and v0.4.0, which
are alike unless a row says otherwise, and v0.12.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parent

SHAPES = "controller/test_upstream_shapes.py"
FAULTS = "faults/test_plans.py"
RECONCILER = "controller/test_reconciler.py"
IGNORED = "controller/test_ignored_fields.py"
TUNING = "controller/test_tuning.py"
DESIRED = "pure/test_desired.py"
JOB = "pure/test_tuning.py"
NODES = "pure/test_nodes.py"
RULES = "pure/test_validation.py"
STATUS = "pure/test_status.py"

# (what goes wrong, where in KAITO, what shows that it does not here)
WORKSPACE_CONTROLLER = [
    (
        "adapters of distributed presets are ignored, and success is reported",
        "pkg/resources/manifests.go:110",
        [
            f"{RECONCILER}::test_adapters_reach_a_stateful_set_too",
            f"{IGNORED}::test_what_matters_only_beside_something_else_is_named_where_it_does_not",
        ],
    ),
    (
        "an adapter without strength crashes the controller",
        "pkg/resources/manifests.go:373",
        [
            f"{DESIRED}::test_an_adapter_without_strength_counts_in_full",
            f"{SHAPES}::test_an_adapter_without_strength_is_served_in_full",
        ],
    ),
    (
        "an adapter without source crashes the webhook",
        "api/v1alpha1/workspace_validation.go:453",
        [
            f"{SHAPES}::test_an_adapter_that_cannot_be_ends_in_a_condition",
            f"{RULES}::test_an_adapter_is_judged_on_create_too",
        ],
    ),
    (
        "a strength that is no number is accepted",
        "api/v1alpha1/workspace_validation.go:121",
        [
            f"{RULES}::test_what_is_not_a_strength_is_refused",
            f"{SHAPES}::test_an_adapter_that_cannot_be_ends_in_a_condition",
        ],
    ),
    (
        "an unknown preset crashes the webhook before its message is told",
        "api/v1alpha1/workspace_validation.go:301",
        [
            f"{RECONCILER}::test_an_invalid_workspace_costs_nothing_and_says_why",
            f"{RULES}::test_nonsense_anywhere_is_judged_and_never_raises",
            "pure/test_catalog.py::test_a_slip_finds_the_name_that_was_meant_first",
        ],
    ),
    (
        "a reconcile waits for half an hour, and five of them stop everything",
        "pkg/resources/resources.go:48",
        [
            f"{SHAPES}::test_a_model_that_is_not_ready_yet_costs_a_pass_and_no_waiting",
            f"{SHAPES}::test_a_deleted_workspace_is_released_while_its_model_still_loads",
            "reconcile/test_controller.py::test_poisoned_key_is_tried_ever_less_and_stops_nobody",
            "reconcile/test_controller.py::test_pass_cut_off_by_cancellation_is_closed_and_made_again",
        ],
    ),
    (
        "the old pod counts as the new one's readiness",
        "pkg/resources/resources.go:71",
        [
            f"{STATUS}::test_the_old_pod_does_not_make_the_new_revision_ready",
            f"{STATUS}::test_a_workload_of_an_older_generation_is_not_ready_however_well_it_serves",
        ],
    ),
    (
        "a rollout fails after Kubernetes' ten minutes, although the preset may take thirty",
        "progressDeadlineSeconds is set nowhere",
        [f"{DESIRED}::test_loading_may_take_as_long_as_the_preset_needs"],
    ),
    (
        "a model that loads longer than ten minutes is killed by its liveness probe",
        "pkg/inference/preset-inferences.go:36",
        [f"{DESIRED}::test_loading_may_take_as_long_as_the_preset_needs"],
    ),
    (
        "the Workspace is written in each pass",
        "pkg/controllers/workspace_controller.go:98",
        [
            f"{RECONCILER}::test_at_rest_nothing_is_written",
            f"{RECONCILER}::test_to_ready_on_a_prepared_node_takes_the_five_writes_that_it_must",
        ],
    ),
    (
        "two revisions whose hashes begin alike are an error for ever",
        "pkg/controllers/workspace_controller.go:248",
        [
            "controller/test_history.py::test_a_taken_name_gives_way_whoever_has_it",
            "pure/test_revisions.py::test_a_name_says_what_is_in_it_and_gives_way_to_a_taken_one",
        ],
    ),
    (
        "a failed update is reported as done (a shadowed variable)",
        "pkg/controllers/workspace_controller.go:822",
        [
            f"{SHAPES}::test_an_update_that_fails_is_not_reported_as_done",
            f"{FAULTS}::test_every_fault_at_every_request_ends_as_without",
            f"{TUNING}::test_every_single_fault_ends_where_no_fault_ends",
        ],
    ),
    (
        "preferred nodes that cannot be used vanish silently, and another node is bought",
        "pkg/controllers/workspace_controller.go:478",
        [
            f"{STATUS}::test_an_unusable_preferred_node_is_named_with_its_reason",
            f"{NODES}::test_our_controller_buys_nothing_while_a_preferred_node_cannot_be_used",
            f"{IGNORED}::test_each_field_makes_a_difference_or_is_named",
            "cli/test_main_job.py::test_an_unlabelled_preferred_node_is_refused_with_the_command_that_mends_it",
        ],
    ),
    (
        "status.workerNodes names nodes that the pods are not on",
        "pkg/resources/manifests.go:115",
        [
            f"{SHAPES}::test_worker_nodes_are_those_of_the_pods_even_where_others_were_chosen",
            f"{STATUS}::test_worker_nodes_are_where_the_pods_really_are",
        ],
    ),
    (
        "the tuning Job lands on any node, beside the one that was bought for it",
        "pkg/resources/manifests.go:241",
        [f"{JOB}::test_the_job_runs_on_the_nodes_of_its_workspace"],
    ),
    (
        "a node counts by its capacity, whoever holds its GPUs, tainted or not",
        "pkg/resources/nodes.go:70",
        [
            f"{RECONCILER}::test_gpus_that_a_strangers_pod_holds_are_not_free",
            f"{SHAPES}::test_a_full_or_tainted_node_is_not_taken_for_a_free_one",
            f"{NODES}::test_each_cause_has_its_code",
        ],
    ),
    (
        "pods ask for the GPUs of the instance type, whatever the chosen node has",
        "pkg/utils/common.go:122",
        [f"{NODES}::test_a_pod_never_asks_for_more_gpus_than_its_node_has"],
    ),
    (
        "matchExpressions are ignored; an empty selector takes all nodes and then none",
        "api/v1alpha1/workspace_validation.go:360",
        [
            f"{IGNORED}::test_each_field_makes_a_difference_or_is_named",
            f"{RECONCILER}::test_nodes_that_cannot_be_created_for_the_selector_are_not_bought",
            f"{SHAPES}::test_a_selector_that_selects_everything_selects_nothing",
        ],
    ),
    (
        "the GPU plugin is not waited for but reported as installed, and nodes are labelled",
        "pkg/controllers/workspace_controller.go:613",
        [f"{SHAPES}::test_the_gpu_plugin_is_waited_for_and_the_node_is_left_as_it_is"],
    ),
    (
        "two tables of instance types disagree, and a typing error is admitted",
        "api/v1alpha1/workspace_validation.go:299, pkg/sku",
        [
            "pure/test_catalog.py::test_the_union_of_all_tables_is_there",
            "pure/test_catalog.py::test_slips_of_the_sources_are_corrected_or_marked",
            "cli/test_bad_input.py::test_an_unknown_instance_type_is_a_warning",
        ],
    ),
    (
        "the memory of several nodes is added up for a model that runs on one",
        "api/v1alpha1/workspace_validation.go:303",
        [
            f"{SHAPES}::test_small_nodes_do_not_add_up_for_a_model_that_cannot_spread",
            "pure/test_fit.py::test_a_preset_that_cannot_spread_never_takes_two_nodes",
        ],
    ),
    (
        "nodes that cannot share the processes equally lose some of them",
        "pkg/inference/preset-inferences.go:82",
        [
            f"{RECONCILER}::test_an_impossible_combination_buys_no_node",
            "pure/test_fit.py::test_a_distributed_preset_shares_its_processes_equally",
        ],
    ),
    (
        "a node that cannot be had is asked for again and again, each time as another one",
        "pkg/controllers/workspace_controller.go:139",
        [
            f"{SHAPES}::test_a_claim_that_cannot_be_launched_buys_no_second_one",
            f"{RECONCILER}::test_a_claim_that_vanishes_is_asked_for_again_with_patience",
            f"{SHAPES}::test_no_node_is_bought_that_the_selector_could_never_match",
        ],
    ),
    (
        "a creation whose answer is lost is repeated under another name",
        "pkg/machine/machine.go:109",
        [
            f"{FAULTS}::test_every_fault_at_every_request_ends_as_without",
            f"{RECONCILER}::test_missing_nodes_are_asked_for_once_each",
        ],
    ),
    (
        "NodeClaims are not watched, for the gate is read after the wiring",
        "cmd/main.go:131",
        "there are no gates: NodeClaims are watched wherever they are served",
    ),
    (
        "without Karpenter's CRDs the controller does not start",
        "pkg/controllers/workspace_controller.go:879",
        [
            "reconcile/test_controller.py::test_missing_optional_crd_holds_up_nobody",
            "reconcile/test_informer.py::test_kind_that_is_not_served_counts_as_synced_until_it_appears",
            f"{STATUS}::test_a_cluster_without_node_claims_says_which_nodes_it_lacks",
        ],
    ),
    (
        "edits of a pod template never reach the pods, and it gets no Service",
        "pkg/controllers/workspace_controller.go:769",
        [
            f"{RECONCILER}::test_an_edited_template_reaches_the_pods",
            f"{DESIRED}::test_a_custom_pod_with_ports_gets_a_service",
        ],
    ),
    (
        "the affinity of a pod template is overwritten",
        "pkg/resources/manifests.go:404",
        [f"{DESIRED}::test_a_custom_pod_keeps_its_own_and_gets_the_workspaces_nodes"],
    ),
    (
        "a Service that is deleted, or is to become a load balancer, is not touched again",
        "pkg/controllers/workspace_controller.go:681",
        [
            f"{SHAPES}::test_a_deleted_service_comes_back",
            f"{SHAPES}::test_the_load_balancer_comes_and_goes_with_its_annotation_and_opens_one_port",
            "cli/test_main_job.py::test_what_drifts_is_put_back",
        ],
    ),
    (
        "any object of the Workspace's name is adopted and changed",
        "pkg/controllers/workspace_controller.go:676",
        [
            f"{SHAPES}::test_somebody_elses_object_is_the_same_before_and_after_a_whole_life",
            f"{SHAPES}::test_a_workspace_called_like_the_headless_service_of_another_takes_nothing_from_it",
            f"{RECONCILER}::test_a_foreign_object_that_the_store_has_not_seen_is_not_adopted",
        ],
    ),
    (
        "deletion drops the finalizers of others and does not wait for the nodes",
        "pkg/controllers/workspace_gc_finalizer.go:54",
        [
            f"{RECONCILER}::test_deletion_takes_the_claims_away_first_and_keeps_other_finalizers",
            f"{RECONCILER}::test_a_claim_that_the_store_has_not_seen_keeps_the_finalizer",
        ],
    ),
    (
        "a finalizer is put on an object that is being deleted, which no server allows",
        "pkg/controllers/workspace_controller.go:90",
        [f"{SHAPES}::test_a_workspace_that_is_going_away_gets_no_finalizer"],
    ),
    (
        "workers change maps that all Workspaces share",
        "pkg/inference/preset-inferences.go:80",
        ["pure/test_catalog.py::test_the_catalog_cannot_be_changed"],
    ),
    (
        "flags and affinity come in another order each time",
        "pkg/utils/common.go:69",
        [
            f"{DESIRED}::test_nodes_are_chosen_by_all_labels_in_a_fixed_order",
            "cli/test_render.py::test_several_documents_from_stdin_and_twice_the_same_bytes",
        ],
    ),
    (
        "the image to push becomes part of a script that a privileged container runs",
        "pkg/tuning/preset-tuning.go:146",
        [
            f"{JOB}::test_no_user_text_reaches_a_shell_line",
            f"{JOB}::test_nothing_is_privileged_and_only_the_pusher_sees_the_push_secret",
        ],
    ),
    (
        "an adapter's name becomes part of a script, which leaves dot files behind",
        "pkg/resources/manifests.go:366",
        [
            f"{DESIRED}::test_no_user_text_reaches_a_shell_line",
            f"{SHAPES}::test_dot_files_are_copied_and_an_image_without_files_says_so",
        ],
    ),
    (
        "a method in another case is admitted and then fails for ever",
        "pkg/tuning/preset-tuning.go:104",
        [
            f"{TUNING}::test_a_method_in_another_case_is_tuned",
            f"{JOB}::test_any_case_of_the_method_is_the_same_tuning",
        ],
    ),
    (
        "tuning a preset that cannot be tuned crashes the controller",
        "pkg/tuning/preset-tuning.go:325",
        [
            f"{JOB}::test_a_preset_without_tuning_is_refused",
            f"{TUNING}::test_what_cannot_be_tuned_costs_nothing_and_says_why",
        ],
    ),
    (
        "the default parameters of tuning are copied once, owned by nobody",
        "pkg/tuning/preset-tuning.go:111",
        [f"{TUNING}::test_the_configuration_is_owned_refreshed_and_goes_with_the_workspace"],
    ),
    (
        "tuning tolerates no GPU node's taint and asks for no disk",
        "pkg/tuning/preset-tuning.go:43",
        [f"{JOB}::test_the_pod_tolerates_gpu_nodes_and_new_ones_get_a_disk"],
    ),
    (
        "falcon-40b asks for a disk of 400 bytes",
        "presets/models/falcon/model.go:136",
        [
            "pure/test_catalog.py::test_the_disk_of_falcon_40b_has_the_unit_that_kaito_forgot",
            "pure/test_catalog.py::test_the_figures_of_a_preset_make_sense",
        ],
    ),
    (
        "the Service publishes pods that load, and opens the rendezvous port to the world",
        "pkg/resources/manifests.go:103",
        [
            f"{SHAPES}::test_the_load_balancer_comes_and_goes_with_its_annotation_and_opens_one_port",
            f"{DESIRED}::test_a_distributed_model_answers_on_its_first_pod_and_meets_before_it_is_ready",
        ],
    ),
    (
        "several GPUs of one node share 64 MiB of memory, or do until an adapter is added",
        "pkg/inference/common-preset.go:62",
        [
            f"{DESIRED}::test_several_gpus_of_a_node_share_memory",
            f"{SHAPES}::test_an_adapter_added_later_makes_the_same_pods_as_one_from_the_start",
        ],
    ),
    (
        "an update drops environment and volumes that others have added",
        "pkg/controllers/workspace_controller.go:816",
        [
            f"{SHAPES}::test_what_others_add_to_the_pods_survives_a_change_of_adapters",
            f"{RECONCILER}::test_a_changed_field_of_a_child_is_put_back_and_a_foreign_field_is_kept",
        ],
    ),
    (
        "no Event is ever recorded",
        "pkg/controllers/workspace_controller.go:864",
        [
            f"{RECONCILER}::test_each_step_is_an_event_once",
            f"{TUNING}::test_the_end_of_tuning_is_an_event",
        ],
    ),
    (
        "conditions are written one by one, get lost in conflicts, and outlive their generation",
        "pkg/controllers/workspace_status.go:23",
        [
            f"{RECONCILER}::test_to_ready_on_a_prepared_node_takes_the_five_writes_that_it_must",
            f"{SHAPES}::test_every_condition_is_of_the_generation_that_it_speaks_of",
            f"{FAULTS}::test_every_fault_at_every_request_ends_as_without",
        ],
    ),
    (
        "every error is tried again, also that there is no such object",
        "pkg/resources/resources.go:31",
        [f"{SHAPES}::test_nothing_is_asked_for_twice_in_one_pass"],
    ),
    (
        "two replicas of the controller both work",
        "cmd/main.go:80",
        [
            "cli/test_run_controller.py::test_a_second_controller_waits_and_takes_over",
            "reconcile/test_leader_election.py::test_many_candidates_at_once_make_one_leader",
            "test_deploy.py::test_its_arguments_exist_and_its_parts_fit_together",
        ],
    ),
    (
        "messages name fields below spec, which a Workspace has not",
        "api/v1alpha1/workspace_validation.go:46",
        [
            f"{SHAPES}::test_no_path_that_is_told_begins_where_the_users_file_does_not",
            "cli/test_validate.py::test_json_has_the_promised_shape_and_places",
        ],
    ),
    (
        "pull secrets of adapters are dropped, and an adapter can take the main container's name",
        "pkg/inference/preset-inferences.go:98",
        [
            f"{DESIRED}::test_pull_secrets_of_image_and_adapters_are_united",
            f"{SHAPES}::test_an_adapter_that_cannot_be_ends_in_a_condition",
        ],
    ),
    (
        "v0.4.0: the default runtime loads no adapters",
        "presets/workspace/inference/vllm",
        [
            f"{DESIRED}::test_the_main_container_is_that_of_the_v0_4_0_images",
            f"{SHAPES}::test_what_no_runtime_serves_buys_no_node",
        ],
    ),
    (
        "v0.4.0: nodes are bought before the runtime is found impossible",
        "pkg/workspace/inference/preset-inferences.go:74",
        [f"{SHAPES}::test_what_no_runtime_serves_buys_no_node"],
    ),
]

STILL_IN_V0_12 = [
    (
        "a Deployment of the Workspace's name is deleted, whosever it is",
        "pkg/workspace/controllers/workspace_controller.go:583",
        [f"{SHAPES}::test_somebody_elses_object_is_the_same_before_and_after_a_whole_life"],
    ),
    (
        "a StatefulSet of its name is adopted, and drift is not repaired",
        "pkg/workspace/controllers/workspace_controller.go:632",
        [
            f"{SHAPES}::test_somebody_elses_object_is_the_same_before_and_after_a_whole_life",
            f"{SHAPES}::test_a_stateful_set_that_drifts_is_put_back",
        ],
    ),
    (
        "preferredNodes are accepted and not read",
        "api/v1beta1/workspace_types.go:42",
        [
            f"{IGNORED}::test_each_field_makes_a_difference_or_is_named",
            "pure/test_templates.py::test_v1beta1_refuses_preferred_nodes_instead_of_losing_them",
            f"{NODES}::test_v0_12_does_not_read_preferred_nodes",
        ],
    ),
    (
        "adapters are not validated on create",
        "api/v1beta1/workspace_validation.go:118",
        [
            f"{RULES}::test_an_adapter_is_judged_on_create_too",
            f"{SHAPES}::test_an_adapter_that_cannot_be_ends_in_a_condition",
        ],
    ),
    (
        "an instance type beside nodes of one's own is refused, and the documentation shows one",
        "api/v1beta1/workspace_validation.go:174",
        [
            "cli/test_main_job.py::test_a_prepared_node_is_used_and_nothing_is_bought",
            "pure/test_validation_facts.py::test_nodes_of_ones_own_have_rules",
        ],
    ),
    (
        "a node lacks GPU labels, and the message does not say which",
        "pkg/sku/helpers.go:74",
        [
            f"{NODES}::test_v0_12_creates_nothing_on_your_own_nodes_and_insists_on_gpu_labels",
            "pure/test_nodes_by_code.py::test_each_code_says_what_is_wrong_and_how_to_fix_it",
        ],
    ),
    (
        "a field of the documentation does not exist and is dropped silently",
        "website/docs/lora-adapters.md:162",
        [
            "pure/test_validation_facts.py::test_a_fact_is_known_of_each_version",
            "pure/test_schema.py::test_unknown_fields_are_problems_only_when_asked",
        ],
    ),
    (
        "annotations are written from an old copy, over what the user has changed",
        "pkg/utils/workspace/workspace.go:116",
        [f"{SHAPES}::test_an_annotation_that_a_user_sets_meanwhile_is_kept"],
    ),
    (
        "Services are created and never updated",
        "pkg/workspace/controllers/workspace_controller.go:519",
        [
            f"{SHAPES}::test_the_load_balancer_comes_and_goes_with_its_annotation_and_opens_one_port",
            f"{RECONCILER}::test_a_pair_that_somebody_adds_to_the_services_selector_is_removed",
        ],
    ),
    (
        "reserved labels of the selector are dropped silently",
        "api/v1beta1/labels.go:239",
        [
            f"{SHAPES}::test_a_reserved_label_that_new_nodes_have_anyway_selects_them",
            f"{SHAPES}::test_no_node_is_bought_that_the_selector_could_never_match",
            f"{RULES}::test_a_rule_finds_what_breaks_it_and_nothing_else",
        ],
    ),
]

UNDER_FAULTS = [
    (
        "a crash between two Services loses the second for ever",
        "v0.3.2 workspace_controller.go:676",
        [
            f"{SHAPES}::test_no_fault_on_the_way_leaves_a_distributed_model_without_one_of_its_parts",
            f"{RECONCILER}::test_a_lost_headless_service_comes_back",
        ],
    ),
    (
        "a refused or conflicting update is reported as success",
        "v0.3.2 workspace_controller.go:822",
        [f"{SHAPES}::test_an_update_that_fails_is_not_reported_as_done"],
    ),
    (
        "names of node claims hash the time, so that a crash buys a second node",
        "v0.3.2 machine.go:42, nodeclaim.go:137",
        [
            f"{FAULTS}::test_every_fault_at_every_request_ends_as_without",
            f"{SHAPES}::test_no_fault_on_the_way_leaves_a_distributed_model_without_one_of_its_parts",
        ],
    ),
    (
        "everybody's finalizers are removed",
        "v0.3.2 workspace_gc_finalizer.go:54",
        [f"{RECONCILER}::test_deletion_takes_the_claims_away_first_and_keeps_other_finalizers"],
    ),
    (
        "a foreign Deployment is edited, in v0.12 deleted",
        "v0.3.2 workspace_controller.go:793, v0.12 :584",
        [f"{SHAPES}::test_somebody_elses_object_is_the_same_before_and_after_a_whole_life"],
    ),
    (
        "a foreign Service counts as ours, whatever it selects",
        "v0.3.2 workspace_controller.go:676, v0.12 :519",
        [f"{SHAPES}::test_somebody_elses_object_is_the_same_before_and_after_a_whole_life"],
    ),
    (
        "a worker is blocked, beyond shutdown and the loss of the lead",
        "v0.3.2 workspace_controller.go:776",
        [
            f"{SHAPES}::test_a_model_that_is_not_ready_yet_costs_a_pass_and_no_waiting",
            "reconcile/test_controller.py::test_no_request_is_sent_once_it_is_not_allowed",
            "reconcile/test_leader_election.py::test_work_ends_at_the_renew_deadline_and_before_others_may_start",
        ],
    ),
    (
        "each reconcile writes the Workspace, and so stops with the webhook",
        "v0.3.2 workspace_controller.go:296, v0.12 :473",
        [f"{RECONCILER}::test_at_rest_nothing_is_written"],
    ),
    (
        "a deleted Service is not noticed",
        "v0.3.2 workspace_controller.go:873",
        [
            f"{SHAPES}::test_a_deleted_service_comes_back",
            "reconcile/test_controller.py::test_change_of_a_child_calls_for_its_owner",
        ],
    ),
    (
        "a changed configuration never reaches StatefulSets",
        "v0.3.2 workspace_controller.go:796",
        [f"{SHAPES}::test_an_adapter_added_later_makes_the_same_pods_as_one_from_the_start"],
    ),
    (
        "an added adapter's pull secrets do not reach the pods",
        "v0.3.2 workspace_controller.go:795",
        [f"{SHAPES}::test_an_adapter_added_later_makes_the_same_pods_as_one_from_the_start"],
    ),
    (
        "five status writes that conflict with each other",
        "v0.3.2 workspace_status.go:25",
        [
            f"{RECONCILER}::test_to_ready_on_a_prepared_node_takes_the_five_writes_that_it_must",
            f"{FAULTS}::test_every_fault_at_every_request_ends_as_without",
        ],
    ),
    (
        "a crash loop when the webhook's default has not run",
        "v0.3.2 manifests.go:373",
        [f"{SHAPES}::test_an_adapter_without_strength_is_served_in_full"],
    ),
    (
        "adapter names that no container can have leave the Workspace stuck",
        "v0.3.2 workspace_validation.go:96",
        [f"{SHAPES}::test_an_adapter_that_cannot_be_ends_in_a_condition"],
    ),
    (
        "every first creation asks four times for what is not there",
        "v0.3.2 resources.go:31",
        [f"{SHAPES}::test_nothing_is_asked_for_twice_in_one_pass"],
    ),
    (
        "leader election is off, and an upgrade runs two controllers",
        "v0.12 cmd/workspace/main.go:124",
        [
            "cli/test_run_controller.py::test_a_second_controller_waits_and_takes_over",
            "reconcile/test_leader_election.py::test_frozen_process_is_not_the_leader_when_it_wakes",
        ],
    ),
]

FINDINGS = [*WORKSPACE_CONTROLLER, *STILL_IN_V0_12, *UNDER_FAULTS]


@cache
def functions_of(file: str) -> set[str]:
    tree = ast.parse((TESTS / file).read_text("utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


@pytest.mark.parametrize(("what", "where", "shown"), FINDINGS, ids=[what for what, _, _ in FINDINGS])
def test_a_finding_is_shown_not_to_be_ours(what: str, where: str, shown: list[str] | str) -> None:
    if isinstance(shown, str):  # the reason why it cannot occur
        assert len(shown.split()) > 3
        return
    assert shown
    for node_id in shown:
        file, _, name = node_id.partition("::")
        assert name in functions_of(file), f"{what} ({where}): there is no {node_id}"


def test_no_finding_is_told_twice() -> None:
    told = [what for what, _, _ in FINDINGS]
    assert len(told) == len(set(told))
