"""The security checklist: for each rule, the tests that would fail without it, and what does not hold.

`docs/security.md` says the same in the users' words; a rule is named there by its number.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

TESTS = Path(__file__).parent.parent
DOCS = TESTS.parent / "docs" / "security.md"

INJECTION = "security/test_injection.py"
PODS = "security/test_pod_security.py"
CUSTOM = "security/test_custom_pods.py"
FILES = "security/test_files.py"
PATTERNS = "security/test_patterns.py"
SUPPLY = "security/test_supply_chain.py"
TLS = "kube/test_tls.py"
CREDENTIALS = "kube/test_credentials.py"
KUBECONFIG = "kube/test_kubeconfig.py"
BESIDE = "kube/test_kubeconfig_beside_kubectl.py"
OIDC = "kube/test_oidc.py"
CANARIES = "security/test_canaries.py"
HOSTILE = "cli/test_hostile_clusters.py"
SERVERS = "cli/test_hostile_servers.py"
DEPLOY = "test_deploy.py"
AUDIT = "controlplane/test_deploy.py"
MANIFEST = "pure/test_manifest.py"
DOCUMENTS = "pure/test_documents.py"
SHAPES = "controller/test_upstream_shapes.py"
RECONCILER = "controller/test_reconciler.py"
TUNING = "controller/test_tuning.py"
SANDBOX = "sandbox_api/test_server.py"


class Rule(NamedTuple):
    """A rule, its tests, and what of it does not hold, with the reason."""

    number: str
    says: str
    tests: list[str]
    but: str = ""


RULES = [
    Rule(
        "S1",
        "no text of a user's is ever part of a shell line",
        [
            f"{INJECTION}::test_a_value_stays_one_value_wherever_it_goes",
            f"{INJECTION}::test_no_text_of_a_users_is_run_by_a_shell",
            f"{INJECTION}::test_the_canary_sings_when_a_value_is_put_into_a_script",
            f"{INJECTION}::test_no_field_is_forgotten",
            "pure/test_tuning.py::test_a_url_is_no_program",
        ],
    ),
    Rule(
        "S2",
        "names are whole RFC 1123 labels and unique, for commands and for the controller",
        [
            "pure/test_adapters.py::test_what_no_adapter_may_be_is_refused",
            "pure/test_validation.py::test_an_adapter_is_judged_on_create_too",
            f"{SHAPES}::test_an_adapter_that_cannot_be_ends_in_a_condition",
            "cli/test_bad_input.py::test_bad_input_names_what_is_wrong_and_exits_with_2",
        ],
        but="the CRD leaves the names of adapters to the controller, as that of KAITO does",
    ),
    Rule(
        "S3",
        "Kubernetes replaces no $(NAME) in what a user wrote",
        [
            f"{INJECTION}::test_a_value_stays_one_value_wherever_it_goes",
            "pure/test_tuning.py::test_kubernetes_replaces_nothing_in_a_url",
        ],
    ),
    Rule(
        "S4",
        "objects are data, never text with holes; values stay values, and templates reach no Python",
        [
            f"{MANIFEST}::test_no_value_changes_the_shape_and_every_leaf_is_its_value",
            f"{MANIFEST}::test_whatever_quotes_a_template_puts_around_it_a_text_stays_that_text",
            f"{MANIFEST}::test_a_template_cannot_get_hold_of_what_it_printed",
            f"{MANIFEST}::test_expressions_that_would_fill_the_memory_are_refused",
            f"{INJECTION}::test_what_is_written_is_read_back_as_it_was",
            f"{DOCUMENTS}::test_an_object_survives_being_written_and_read",
        ],
    ),
    Rule(
        "S5",
        "YAML is read with bounds, without duplicate keys, and as kubectl understands it",
        [
            f"{DOCUMENTS}::test_what_cannot_be_read_is_refused_with_its_place",
            f"{DOCUMENTS}::test_a_chain_of_aliases_cannot_nest_without_end",
            f"{DOCUMENTS}::test_five_megabytes_of_nonsense_stop_at_a_bound",
            f"{DOCUMENTS}::test_any_bytes_are_documents_or_faults",
            f"{DOCUMENTS}::test_kubectl_reads_scalars_alike",
        ],
    ),
    Rule(
        "S6",
        "the controller may do what it does and nothing else",
        [
            f"{AUDIT}::test_the_roles_grant_what_the_controller_asks_a_real_server_for_and_nothing_else",
            f"{DEPLOY}::test_the_role_grants_what_the_controller_asks_for_and_nothing_else",
            f"{DEPLOY}::test_no_role_has_wildcards_and_the_lease_is_the_one_that_is_held",
        ],
        but="the shipped role is for all namespaces; with --namespace, a Role of one is enough",
    ),
    Rule(
        "S7",
        "our pod is restricted by the Pod Security Standards; those we make are baseline and tokenless",
        [
            f"{AUDIT}::test_the_pods_are_let_in_by_the_restricted_standard",
            f"{DEPLOY}::test_the_pod_meets_the_restricted_pod_security_standard",
            f"{PODS}::test_the_controllers_own_pod_is_restricted",
            f"{PODS}::test_what_we_make_is_baseline_and_restricted_but_for_what_images_need",
            f"{PODS}::test_so_is_what_the_golden_files_say_of_each_preset",
            f"{PODS}::test_a_real_api_server_judges_alike",
            f"{CUSTOM}::test_a_real_api_server_judges_whole_templates_alike",
            f"{CUSTOM}::test_no_token_is_mounted_unless_the_service_account_is_allowed",
        ],
        but="images of KAITO run as root, so pods with them are not restricted; the test lists what is not",
    ),
    Rule(
        "S8",
        "a custom pod gets at nothing of its node, at no ServiceAccount and no Secret, and before nobody, "
        "unless the operator allows it",
        [
            f"{CUSTOM}::test_a_real_api_server_judges_whole_templates_alike",
            f"{CUSTOM}::test_no_probe_and_no_hook_asks_another_host_from_the_node",
            f"{CUSTOM}::test_no_annotation_turns_apparmor_off",
            f"{CUSTOM}::test_a_template_reaches_for_nothing_unless_the_operator_allows_just_that",
            f"{CUSTOM}::test_every_field_that_a_real_api_server_has_is_sorted",
            f"{CUSTOM}::test_what_reaches_for_nothing_is_as_before",
            f"{PODS}::test_a_custom_pod_gets_nothing_of_the_nodes_unless_the_operator_says_so",
            f"{PODS}::test_a_custom_pod_may_have_what_harms_no_node",
        ],
        but="any ConfigMap and any claim of its namespace can be mounted, and its labels and annotations are "
        "its own: a Service of the namespace that selects by them sends it requests, and an injector obeys "
        "them",
    ),
    Rule(
        "S9",
        "objects of others are never touched, and writes hold for the object that was looked at",
        [
            f"{SHAPES}::test_somebody_elses_object_is_the_same_before_and_after_a_whole_life",
            f"{RECONCILER}::test_foreign_objects_of_our_name_are_not_touched",
            f"{RECONCILER}::test_a_foreign_object_that_the_store_has_not_seen_is_not_adopted",
            f"{RECONCILER}::test_a_new_incarnation_does_not_take_the_children_of_the_old_one",
            "faults/test_plans.py::test_every_fault_at_every_request_ends_as_without",
        ],
    ),
    Rule(
        "S10",
        "nothing of another namespace is used; Secrets and ConfigMaps are named, never copied",
        [
            f"{TUNING}::test_the_users_configuration_is_read_from_the_workspaces_namespace_alone",
            f"{INJECTION}::test_a_value_stays_one_value_wherever_it_goes",
            "pure/test_tuning.py::test_nothing_is_privileged_and_only_the_pusher_sees_the_push_secret",
        ],
    ),
    Rule(
        "S11",
        "certificates are verified, TLS is 1.2 at least, and who switches that off is warned each time",
        [
            f"{TLS}::test_a_server_that_cannot_prove_who_it_is_gets_no_request",
            f"{TLS}::test_without_an_authority_those_of_the_system_decide",
            f"{TLS}::test_tls_server_name_is_whose_certificate_it_must_be",
            f"{TLS}::test_only_who_asks_for_it_trusts_anybody_and_is_warned_each_time",
            f"{TLS}::test_less_than_tls_1_2_is_not_spoken",
            f"{TLS}::test_a_client_certificate_says_who_we_are",
            f"{TLS}::test_through_a_proxy_tls_is_spoken_with_the_server_itself",
            f"{BESIDE}::test_the_server_is_told_what_kubectl_tells_it",
        ],
    ),
    Rule(
        "S12",
        "a secret goes to the server alone: not in the clear, not to a redirect, not to a proxy; and with it "
        "goes who is impersonated",
        [
            f"{BESIDE}::test_the_server_is_told_what_kubectl_tells_it",
            f"{OIDC}::test_an_issuer_of_another_authority_is_not_trusted",
            "controlplane/test_impersonation.py::test_an_administrator_who_acts_for_somebody_else_may_do_less",
            f"{TLS}::test_a_secret_never_leaves_this_machine_in_the_clear",
            f"{TLS}::test_on_this_machine_it_may_but_not_by_way_of_a_proxy",
            f"{TLS}::test_a_redirect_is_not_followed",
            f"{TLS}::test_a_netrc_is_nobodys_business",
            f"{TLS}::test_a_proxy_that_refuses_is_named_without_its_password",
            f"{TLS}::test_who_is_reached_without_the_proxy_of_the_environment",
        ],
    ),
    Rule(
        "S13",
        "a credential plugin is started without a shell, bounded, and named when it fails",
        [
            f"{CREDENTIALS}::test_a_plugin_gives_a_token_and_is_started_without_a_shell",
            f"{CREDENTIALS}::test_a_plugin_that_gives_nothing_is_named_and_nothing_is_sent",
            f"{CREDENTIALS}::test_a_plugin_that_never_ends_is_given_up_and_ended",
            f"{CREDENTIALS}::test_a_plugin_that_asks_does_not_read_what_was_meant_for_us",
            f"{CREDENTIALS}::test_an_auth_provider_that_kubectl_has_dropped_is_refused_with_a_way_out",
            f"{CREDENTIALS}::test_a_file_with_secrets_that_others_may_read_is_warned_of",
        ],
        but="which plugins may run is not restricted: kubectl's policy in kuberc is not read",
    ),
    Rule(
        "S14",
        "no secret is shown, logged or recorded, whatever fails",
        [
            f"{HOSTILE}::test_no_command_shows_a_secret",
            f"{HOSTILE}::test_a_server_that_quotes_our_secrets_is_not_echoed_even_while_debugging",
            f"{SERVERS}::test_secrets_that_a_server_quotes_are_not_shown",
            f"{CREDENTIALS}::test_a_broken_file_is_told_by_its_place_and_not_its_content",
            f"{KUBECONFIG}::test_secrets_are_not_in_the_words_of_a_server",
            f"{TLS}::test_a_server_shows_none_of_its_secrets",
            "pure/test_view.py::test_nothing_secret_is_recorded",
            f"{OIDC}::test_what_cannot_be_renewed_is_said_without_any_secret",
            f"{CANARIES}::test_no_command_tells_a_secret_of_a_cluster_that_is_sound",
            f"{CANARIES}::test_no_command_tells_what_a_server_quotes",
            f"{CANARIES}::test_no_command_tells_what_is_in_a_broken_kubeconfig",
            f"{CANARIES}::test_no_command_tells_what_a_plugin_was_given_or_gives",
            f"{CANARIES}::test_the_canaries_are_heard",
        ],
        but="what a pod writes into its own log is shown by `logs`, and the environment of containers by "
        "`diff`: that is what they are asked for",
    ),
    Rule(
        "S15",
        "nothing from a cluster steers a terminal or forges a line",
        [
            f"{HOSTILE}::test_nothing_from_a_cluster_steers_the_terminal",
            f"{HOSTILE}::test_a_traceback_cannot_steer_the_terminal",
            f"{HOSTILE}::test_a_log_record_is_one_line_whatever_is_in_it",
            f"{SERVERS}::test_what_steers_a_terminal_arrives_as_text",
            "cli/test_speaking.py::test_one_prompt_and_its_answer",
            "cli/test_controller_server.py::test_no_name_forges_a_sample_or_a_label",
        ],
    ),
    Rule(
        "S16",
        "the sandbox answers this machine alone, who has its token, and no browser",
        [
            f"{SANDBOX}::test_it_listens_on_loopback_only",
            f"{SANDBOX}::test_without_the_token_it_is_401",
            f"{SANDBOX}::test_browsers_and_foreign_hosts_are_refused_even_with_the_token",
            f"{SANDBOX}::test_a_body_that_is_too_large_is_413",
        ],
    ),
    Rule(
        "S17",
        "files are replaced at once, grow where only their owner reads, and follow no trap",
        [
            f"{FILES}::test_a_manifest_is_replaced_all_at_once_and_grows_where_only_its_owner_reads",
            f"{FILES}::test_a_manifest_that_cannot_be_written_stays_whole_and_nothing_is_left_behind",
            f"{FILES}::test_a_link_that_lies_in_wait_for_a_kubeconfig_is_not_written_through",
            f"{TLS}::test_a_key_that_was_given_inline_stays_in_no_file",
            "cli/test_adapter_files.py::test_a_file_is_edited_in_its_place_through_links_and_with_its_permissions",
        ],
        but="a link that the user names with -f or --record is followed: it is the user's",
    ),
    Rule(
        "S18",
        "nothing is evaluated, and no text makes a pattern work for long",
        [
            f"{PATTERNS}::test_no_text_makes_a_pattern_work_for_long",
            f"{PATTERNS}::test_a_pattern_that_does_is_noticed",
            f"{PATTERNS}::test_nothing_is_evaluated_unpickled_or_given_to_a_shell",
        ],
    ),
    Rule(
        "S19",
        "one Workspace cannot use up what all share",
        [
            f"{RECONCILER}::test_a_count_of_millions_is_refused_at_once",
            "controller/test_history.py::test_the_history_has_an_end",
            "controller/test_effort.py::test_no_work_grows_with_the_number_of_other_workspaces",
            "reconcile/test_controller.py::test_poisoned_key_is_tried_ever_less_and_stops_nobody",
            "pure/test_validation.py::test_of_endless_problems_a_hundred_are_told",
        ],
        but="namespaces have no queue of their own: a Workspace waits for one pass of each before it",
    ),
    Rule(
        "S20",
        "the wheel is the same bytes each time, and what comes with it has a licence that allows it",
        [
            f"{SUPPLY}::test_two_builds_of_the_wheel_are_the_same_bytes",
            f"{SUPPLY}::test_everything_that_comes_with_us_has_a_licence_that_allows_it",
        ],
        but="there are more than three dependencies, no lock file and no bill of materials",
    ),
    Rule(
        "S21",
        "where known vulnerabilities cannot be looked for, the run says so",
        [
            f"{SUPPLY}::test_known_vulnerabilities",
            f"{SUPPLY}::test_without_an_auditor_the_summary_says_so",
        ],
    ),
    Rule(
        "S22",
        "every image that we choose is of a version; nothing pipes the network into a shell",
        [
            f"{SUPPLY}::test_every_image_that_we_choose_is_of_a_version",
            f"{SUPPLY}::test_nothing_that_we_ship_says_latest_or_pipes_the_network_into_a_shell",
        ],
        but="by tag, not by digest: a digest would be of one architecture and one registry",
    ),
]


@cache
def functions_of(file: str) -> set[str]:
    tree = ast.parse((TESTS / file).read_text("utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


@pytest.mark.parametrize("rule", RULES, ids=[rule.number for rule in RULES])
def test_a_rule_has_tests_and_says_what_does_not_hold(rule: Rule) -> None:
    assert rule.tests
    for node in rule.tests:
        file, _, name = node.partition("::")
        assert name in functions_of(file), f"{rule.number}: there is no {node}"
    assert not rule.but or len(rule.but.split()) > 5


def test_all_rules_are_here_and_in_the_documentation() -> None:
    assert [rule.number for rule in RULES] == [f"S{number}" for number in range(1, 23)]
    text = DOCS.read_text()
    for rule in RULES:
        assert f"| {rule.number} |" in text, f"docs/security.md says nothing of {rule.number}"
