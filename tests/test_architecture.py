"""How modules import each other: in no circle, and late only with a reason."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

LATE = {
    ("check_nodes", "commands.check_nodes_offline.verdict_from_lists"): "only with saved lists",
    ("check_nodes", "commands.check_nodes_on_cluster.verdict_on_cluster"): "saved lists ask no cluster",
    ("check_nodes", "commands.target_release.target_option"): "only with --target-version",
    ("check_nodes", "kaito.validation.release_detection"): "only with saved lists",
    ("check_nodes", "kaito.validation.releases"): "only with saved lists",
    ("check_nodes", "kaito.validation"): "only with saved lists",
    ("check_nodes", "commands.judged_preset.with_its_preset"): "only with saved lists",
    ("check_nodes", "commands.asked_context.context_in_file"): "most name no ConfigMap",
    ("check_nodes_on_cluster", "commands.asked_context.context_on_cluster"): "most name no ConfigMap",
    ("check_nodes_on_cluster", "commands.judged_preset.with_its_preset"): "what is there was admitted",
    ("checked_workspace", "commands.saved_lists"): "only with -f",
    (
        "create_on_cluster",
        "commands.asked_context.as_webhook_sees",
    ): "most name no ConfigMap, and have no nodes of their own",
    ("create_on_cluster", "commands.asked_context.context_on_cluster"): "most name no ConfigMap",
    ("observe_deeply", "commands.asked_context.context_on_cluster"): "most name no ConfigMap",
    ("files", "commands.kustomize"): "only with -k",
    ("files", "commands.remote_file"): "only for URLs",
    ("fit", "commands.cluster.connected"): "saved lists and instance types ask no cluster",
    ("fit", "commands.saved_lists"): "only with saved lists",
    ("fit", "commands.kaito_detection.kaito_here"): "saved lists and instance types ask no cluster",
    ("invocation", "kube.overrides.Overrides"): "offline commands ask no cluster",
    ("invocation", "screens.output_templates"): "only with --sort-by",
    ("option_values", "screens.output_templates"): "only with -o jsonpath= or custom-columns=",
    ("nodes", "commands.cluster.connected"): "saved lists ask no cluster",
    ("nodes", "commands.observe_nodes.pods_on"): "saved lists ask no cluster",
    ("nodes", "commands.saved_lists"): "only with saved lists",
    ("nodes", "sandbox.error_status.Failure"): "only with --selector",
    ("nodes", "sandbox.selectors.label_predicate"): "only with --selector",
    ("observe_deeply", "commands.kaito_detection.as_said"): "only while nodes are in question",
    ("observe_deeply", "commands.observe_deletion.observe_deletion"): "most Workspaces are not being deleted",
    ("observe_deeply", "commands.observe_volumes.observe_volumes"): "most pods have a node",
    ("overview", "kaito.fleet.decisions.CHANGED_AT"): "few Workspaces have failed",
    ("observed_nodes", "kaito.desired"): "only for models that our own controller serves",
    ("observed_nodes", "workspace_controller.node_shape"): "only for models that our own controller serves",
    ("status", "commands.target_release.check_manager"): "only with --target-version and the like",
    ("status", "commands.status_list"): "the list and the tree of one share little",
    ("status", "commands.status_workspace"): "the list and the tree of one share little",
    ("status_list", "commands.fleet_rows"): "most clusters have no InferenceSets",
    ("status", "commands.status_watch"): "one look follows nothing",
    ("status_watch", "commands.status_fleet"): "most names are those of Workspaces",
    ("status", "commands.stored_objects"): "only where get writes objects",
    ("status_workspace", "commands.status_fleet"): "most names are those of Workspaces",
    ("name_lookup", "commands.observe_fleet.fleet_at"): "most names are those of Workspaces",
    ("rollout", "commands.rollout_set"): "most names are those of Workspaces",
    ("rollout", "commands.follow_fleet"): "most names are those of Workspaces",
    ("chat", "commands.target_release.check_manager"): "only with --target-version",
    ("endpoint", "commands.chosen_replica.way_to"): "most names are those of Workspaces",
    ("endpoint", "commands.kaito_detection.as_said"): "only where workloads may not be seen",
    ("endpoint", "commands.target_release.check_manager"): "only with --target-version",
    ("endpoint", "kaito.diagnosis.of_ways_in.pending_load_balancer"): "most load balancers have an address",
    ("logs", "commands.chosen_replica.replica_for"): "most names are those of Workspaces",
    ("follow_fleet", "commands.fleet_picture.FleetPicture"): "pipes get lines",
    ("events", "commands.events_fleet"): "most names are those of Workspaces",
    ("why", "commands.why_fleet"): "most names are those of Workspaces",
    ("create_workspace", "kaito.images"): "only with --registry",
    ("create_workspace", "kaito.merge_request"): "only for a Workspace that exists",
    ("create_workspace", "commands.create_on_cluster"): "a client-side dry run asks no cluster",
    ("create_workspace", "commands.local_presets"): "only for a preset of this machine",
    (
        "create_workspace",
        "commands.target_release.check_manager",
    ): "only where a release or a provisioner is named",
    ("create_workspace", "commands.user_template"): "only with --template, --values or --set",
    ("cluster", "commands.sandbox_process"): "only with --sandbox",
    ("target", "commands.sandbox_process"): "only for advice about a sandbox",
    ("sandbox_process", "kaito.hub_files.absolute"): "only where KAITOCTL_CATALOG is set",
    ("observe_deeply", "commands.observe_mirror.observe_mirror"): "most wait for no mirror",
    ("observe_deeply", "commands.controller_pods.words_of"): "most controllers run",
    ("controller_pods", "kaito.diagnosis.of_logs"): "most controllers run",
    ("make_plan", "screens.validation_report.why_not_judged"): "most skipped objects are not of kaito.sh",
    ("plan_effects", "workspace_controller.vacancies.vacancies"): "most plans delete no replica",
    ("validate", "commands.in_processes.mapped"): "most judge a few files",
    ("validate", "commands.validate_options"): "most give none of these options",
    ("admission", "webhook.trust.Trust"): "needs an extra that --cert-dir does without",
    ("validate", "commands.target_release.target_option"): "only with --target-version",
    ("validate", "kaito.fleet.validation"): "most files hold Workspaces alone",
    ("validate", "kaito.validation.references.CLAIM"): "offline validation asks no cluster",
    ("validate", "kaito.validation.references.SECRET"): "offline validation asks no cluster",
    ("validate", "kaito.validation.references.references"): "offline validation asks no cluster",
    ("validate", "commands.validate_on_cluster"): "offline validation asks no cluster",
    ("validate", "screens.ci_reports"): "only with -o github, sarif or junit",
}
"""Imports of our own modules inside functions of `commands`, and why they are not at the top."""


def test_commands_import_at_the_top_unless_there_is_a_reason() -> None:
    found = {
        (file.stem, name.removeprefix("kaitoctl."))
        for file in (ROOT / "kaitoctl" / "commands").glob("*.py")
        for name in _late(ast.parse(file.read_text(encoding="utf-8")))
    }
    assert found == LATE.keys(), "name each late import with its reason in LATE, and no other"


WHERE = {
    "a label mismatch": ("kaito.node_check.of_labels", "label_findings", '"label-differs"'),
    "Deployment or StatefulSet": ("kaito.desired.workload_kind", "desired", "(STATEFUL_SET,"),
    "410 on a watch": ("reconcile.watch_state", "WatchState", "status == 410"),
    "strength to environment": ("kaito.desired.adapters", "strength_variable", '"value"'),
    "exit code 3": ("errors", "ExitCode", "UNREACHABLE = 3"),
    "server-side-apply conflict": ("sandbox.server_side_apply", "apply", "raise ApplyConflict"),
    "why an API server refuses, a conflict of managers, too": ("kube.refusal_hints", "hint_of", "kind.hint"),
    "the hint of a field that KAITO ignores": ("kaito.validation.ignored_fields", "TABLE", '"KW121"'),
    "what KW121 means": ("kaito.validation.codes", "CODES", '"KW121"'),
    "the template of create": ("kaito.compiled_inference_template", "build", "values["),
    "the retry delay of a controller": ("reconcile.backoff", "Backoff", "jitter"),
    "the retry delay of a request": ("kube.retry_delays", "wait_s", "_FIRST_WAIT_S"),
    "the token of a kubeconfig": ("kube.credentials", "of", "server.token"),
    "how why picks one cause": ("kaito.diagnosis.root_cause", "diagnose", "_LAST_RESORT"),
    "which KAITO a cluster runs": ("kaito.validation.release_detection", "controller", "Controller"),
    "which KAITO a command asks for": ("commands.kaito_detection", "as_said", "target"),
    "how many GPUs a preset needs": ("kaito.catalog", "Preset", "gpu_count"),
    "a manifest that is changed and keeps its comments": ("kube.yaml_editing", "edit_document", "comment"),
    "whether a Service leads to a ready pod": ("kaito.serving", "serving", "_behind"),
    "an image that cannot be pulled, in the sandbox": (
        "sandbox.workloads.container_life",
        "_pull_failures",
        "BackOff",
    ),
    "completion of live names": ("cli.complete", "_BUDGET_S", "0.3"),
    "how a second adapter is merged": ("runtime.lora_to_gguf", "convert", "LORA_ALPHA"),
    "the value of --set": ("kaito.template_variables", "set_values", "--set"),
    "what -v 6 says of a request": ("commands.cluster", "_observer", "output.trace"),
    "how states are told on stderr": ("screens.progress_reporters", "Lines", "output.step"),
}
"""Decisions that a new maintainer looks for: the module, who decides in it, and a sign of it."""


@pytest.mark.parametrize("decision", WHERE)
def test_a_decision_is_where_the_listing_says(decision: str) -> None:
    module, name, sign = WHERE[decision]
    text = (ROOT / "kaitoctl" / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8")
    (found,) = (node for node in ast.parse(text).body if name in _defined(node))
    assert sign in (ast.get_source_segment(text, found) or "")


def _defined(node: ast.stmt) -> list[str]:
    """The names that a statement at the top of a module gives something."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    targets = [node.target] if isinstance(node, ast.AnnAssign) else getattr(node, "targets", [])
    return [target.id for target in targets if isinstance(target, ast.Name)]


def test_packages_decide_nothing_themselves() -> None:
    """Who looks for a decision reads the names of modules: an `__init__.py` says what is where, no more."""
    deciding = {
        _dotted(file): node.name
        for file in (ROOT / "kaitoctl").rglob("__init__.py")
        for node in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        and node.name != "__getattr__"  # names that are imported when they are asked for
    }
    assert deciding == {}


def _dotted(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def _names(node: ast.AST) -> list[str]:
    """What an import statement may name of ours: modules, and names in modules."""
    if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "kaitoctl":
        return [f"{node.module}.{alias.name}" for alias in node.names]
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names if alias.name.partition(".")[0] == "kaitoctl"]
    return []


def _imported(file: Path, modules: Collection[str]) -> set[str]:
    """The modules that a file imports, wherever in it; imports for type checkers count, too."""
    names = [name for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))) for name in _names(node)]
    return {name if name in modules else name.rpartition(".")[0] for name in names}


def _late(tree: ast.Module) -> Iterator[str]:
    """What functions import of ours: `a.b` for `from kaitoctl.a import b`."""
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            for node in ast.walk(function):
                yield from _names(node)


def _circles(graph: Mapping[str, set[str]]) -> Iterator[set[str]]:
    """The strongly connected modules, two or more: each reaches all others and is reached by them."""
    reaches = {name: _reached(graph, name) for name in graph}
    done: set[str] = set()
    for name in graph:
        if name in done:
            continue
        circle = {other for other in reaches[name] if name in reaches.get(other, ())} | {name}
        done |= circle
        if len(circle) > 1:
            yield circle


def _reached(graph: Mapping[str, set[str]], start: str) -> set[str]:
    found: set[str] = set()
    waiting = [start]
    while waiting:
        new = graph.get(waiting.pop(), set()) - found
        found |= new
        waiting += new
    return found


def test_what_the_page_names_is_there() -> None:
    """docs/architecture.md: files and folders by path, modules beside them by their name."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([a-z_]+/[a-z_/]*(?:\.py)?)`", text))
    assert len(named) > 30
    assert {
        path for path in named if not any((at / path).exists() for at in (ROOT, ROOT / "kaitoctl"))
    } == set()
    layers = re.findall(r"^\| ((?:`[a-z_]+/?`(?:, )?)+) \|", text, re.MULTILINE)
    packages = {name.strip("/") for row in layers for name in re.findall(r"`([a-z_]+)/?`", row)}
    here = {path.stem for path in (ROOT / "kaitoctl").iterdir() if not path.name.startswith("_")}
    assert packages == {name for name in here if name != "py"}
