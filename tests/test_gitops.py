"""deploy/gitops: Argo CD's Lua and Flux' CEL say of a Workspace what kaitoctl reads from its conditions."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import cel
import lupa
import pytest
import yaml
from shell import BIN

from kaitoctl.kaito import controller_errors
from kaitoctl.kaito.own_workloads import CONTROLLER

FOLDER = Path(__file__).parent.parent / "deploy" / "gitops"
LUA: dict[str, str] = yaml.safe_load((FOLDER / "argo-cd.yaml").read_text())["data"]
CEL: list[dict[str, str]] = yaml.safe_load((FOLDER / "flux.yaml").read_text())["spec"]["healthCheckExprs"]

Verdict = tuple[str, str]
PASSING = "Operation cannot be fulfilled on workspaces.kaito.sh: the object has been modified"
FINAL = 'admission webhook "v" denied the request: must be true'


def argo(obj: dict[str, Any]) -> Verdict:
    """Argo CD's status and message."""
    lua = lupa.LuaRuntime(unpack_returned_tuples=True)
    health = lua.execute(
        f"local obj = ...\n{LUA['resource.customizations.health.kaito.sh_' + obj['kind']]}",
        lua.table_from(obj, recursive=True),
    )
    return health["status"], health["message"]


def flux(obj: dict[str, Any]) -> str:
    """Flux' status in Argo CD's words: inProgress, failed and current are asked in this order.

    Source: fluxcd/pkg v1, runtime/cel/status_evaluator.go; an error of an expression means waiting, too.
    """
    (row,) = (r for r in CEL if (r["apiVersion"], r["kind"]) == (obj["apiVersion"], obj["kind"]))
    for field, word in (("inProgress", "Progressing"), ("failed", "Degraded"), ("current", "Healthy")):
        try:
            if cel.evaluate(row[field], obj):
                return word
        except RuntimeError:
            return "Progressing"
    return "Progressing"


def condition(kind: str, status: str, reason: str = "x", message: str = "", generation: int = 2) -> Any:
    return {
        "type": kind, "status": status, "reason": reason, "message": message,
        "observedGeneration": generation,
    }  # fmt: skip


def workspace(*conditions: Any, version: str = "v1beta1", **more: Any) -> dict[str, Any]:
    obj = {
        "apiVersion": f"kaito.sh/{version}",
        "kind": "Workspace",
        "metadata": {"name": "w", "namespace": "d", "generation": 2},
        "inference": {"preset": {"name": "falcon-7b"}},
        "status": {"conditions": list(conditions)},
    }
    return {**obj, **more}


OURS = {"metadata": {"generation": 2, "managedFields": [{"manager": "kubectl"}, {"manager": CONTROLLER}]}}
READY = (condition("ResourceReady", "True"), condition("InferenceReady", "True"))
SUCCEEDED = condition("WorkspaceSucceeded", "True", "workspaceSucceeded")
OLD = (
    condition("InferenceReady", "True", generation=1),
    condition("WorkspaceSucceeded", "True", "workspaceSucceeded", generation=1),
)


def failed(message: str, generation: int = 2) -> Any:
    return condition("WorkspaceSucceeded", "False", "workspaceFailed", message, generation)


@pytest.mark.parametrize("version", ["v1alpha1", "v1beta1"])
@pytest.mark.parametrize(
    ("conditions", "more", "expected"),
    [
        ((), {}, "Progressing"),
        ((), {"status": {}}, "Progressing"),
        ((*READY, SUCCEEDED), {}, "Healthy"),
        ((*READY, SUCCEEDED), {"metadata": {"generation": 2, "deletionTimestamp": "x"}}, "Progressing"),
        (READY, {}, "Progressing"),
        ((SUCCEEDED, condition("JobStarted", "True")), {"tuning": {}, "inference": None}, "Healthy"),
        (
            (condition("JobStarted", "True"), condition("ResourceReady", "True")),
            {"tuning": {}},
            "Progressing",
        ),
        ((condition("InferenceReady", "False", message="0 of 1"), SUCCEEDED), {}, "Progressing"),
        # KAITO v0.12: a benchmark that failed does not stop the server.
        ((*READY, SUCCEEDED, condition("BenchmarkCompleted", "False", "BenchmarkFailed")), {}, "Healthy"),
        # KAITO v0.3 keeps a condition; v0.12 and kaitoctl's controller do not.
        (OLD, {}, "Healthy"),
        (OLD, OURS, "Progressing"),
        (OLD, {"status": {"state": "Ready", "conditions": list(OLD)}}, "Progressing"),
        # What v0.3 to v0.8 call failed, and what is.
        ((failed(PASSING),), {}, "Progressing"),
        ((failed("nodes is not ready: n1"),), {}, "Progressing"),
        ((failed(FINAL),), {}, "Degraded"),
        ((failed("the preset has no image"), *READY), OURS, "Degraded"),
        ((failed(FINAL, generation=1),), {}, "Progressing"),
    ],
)
def test_a_workspace(conditions: Any, more: dict[str, Any], expected: str, version: str) -> None:
    obj = workspace(*conditions, version=version, **more)
    assert argo(obj)[0] == expected
    assert flux(obj) == expected


def test_what_passes_is_what_kaitoctl_takes_as_passing() -> None:
    """Each alternative of `controller_errors`, in a message as the API server or Go write it."""
    said = {
        "Operation cannot be fulfilled on w": "passing",
        "Precondition failed: UID": "passing",
        "the request could not be completed at this time, please try again": "passing",
        "request did not complete within requested timeout": "passing",
        "Too many requests: retry": "passing",
        "the server is currently unable to handle the request": "passing",
        "the server was unable to return a response in the time allotted": "passing",
        'nodeclaims.karpenter.sh "w" already exists': "passing",
        "the cache is not started, can not read objects": "passing",
        "net/http: request timed out": "passing",
        "context deadline exceeded": "passing",
        "context canceled": "passing",
        "dial tcp 10.0.0.1:443: connect: connection refused": "passing",
        "http2: client connection lost": "passing",
        "no route to host": "passing",
        "write: broken pipe": "passing",
        "unexpected EOF": "passing",
        "client rate limiter Wait returned an error": "passing",
        "etcdserver: leader changed": "passing",
        "nodes are not ready yet": "passing",
        "node is not yet ready": "passing",
        "no worker nodes found in the workspace": "passing",
        "no node has been found with nodeName n": "passing",
        'nodes "n" not found': "passing",
        'StatefulSets.apps "w" not found': "passing",
        'configmaps "w" not found': "unknown",
        "unsupported sku 'x'": "final",
        "something nobody has seen": "unknown",
        'denied the request: label "a" must be set': "final",
    }
    for message, prospect in said.items():
        assert controller_errors.prospect(message) == prospect, message
        expected = "Progressing" if prospect == "passing" else "Degraded"
        assert (argo(workspace(failed(message))), flux(workspace(failed(message)))) == (
            (expected, argo(workspace(failed(message)))[1]),
            expected,
        ), message


def inference_set(*conditions: Any, ready: int | None, version: str) -> dict[str, Any]:
    status: dict[str, Any] = {"replicas": 3, "conditions": list(conditions)}
    return {
        "apiVersion": f"kaito.sh/{version}",
        "kind": "InferenceSet",
        "metadata": {"name": "s", "generation": 2},
        "spec": {"replicas": 3},
        "status": status if ready is None else {**status, "readyReplicas": ready},
    }


@pytest.mark.parametrize("version", ["v1alpha1", "v1beta1"])
@pytest.mark.parametrize(
    ("conditions", "ready", "expected"),
    [
        ((), None, "Progressing"),
        ((condition("InferenceSetReady", "False", "inferencesetNotReady"),), 2, "Progressing"),
        ((condition("InferenceSetReady", "True", "inferencesetReady"),), 3, "Healthy"),
        ((condition("InferenceSetReady", "True", "inferencesetReady"),), 2, "Progressing"),
        ((condition("InferenceSetReady", "True", "inferencesetReady", generation=1),), 3, "Progressing"),
        ((condition("InferenceSetReady", "False", "inferencesetFailed", "no gateway"),), 3, "Degraded"),
    ],
)
def test_an_inference_set(conditions: Any, ready: int | None, expected: str, version: str) -> None:
    obj = inference_set(*conditions, ready=ready, version=version)
    assert argo(obj)[0] == expected
    assert flux(obj) == expected


def test_argo_cd_shows_why_it_waits() -> None:
    obj = workspace(condition("ResourceReady", "False", "x", "0 of 2 nodes are ready"))
    assert argo(obj) == ("Progressing", "ResourceReady: 0 of 2 nodes are ready")


TROUBLE = sorted((Path(__file__).parent / "data" / "trouble").glob("*.yaml"))


@pytest.mark.parametrize("file", TROUBLE, ids=lambda file: file.stem)
def test_both_say_the_same_of_the_troubles_of_people(file: Path) -> None:
    found = [obj for obj in yaml.safe_load_all(file.read_text()) if isinstance(obj, dict)]
    items = [item for obj in found for item in obj.get("items", [obj])]
    workspaces = [item for item in items if item.get("kind") == "Workspace"]
    assert workspaces
    for obj in workspaces:
        assert argo(obj)[0] == flux(obj)


def test_the_plugin_refuses_what_kaito_would(tmp_path: Path) -> None:
    page = (FOLDER.parent.parent / "docs" / "gitops.md").read_text()
    plugin = yaml.safe_load(page.partition("```yaml\n")[2].partition("```")[0])
    command = [*plugin["spec"]["generate"]["command"], *plugin["spec"]["generate"]["args"]]
    env = {"PATH": f"{BIN}:/usr/bin:/bin", "HOME": str(tmp_path)}
    good = (
        "apiVersion: kaito.sh/v1alpha1\nkind: Workspace\nmetadata: {name: w}\n"
        "resource: {instanceType: Standard_NC12s_v3, labelSelector: {matchLabels: {a: b}}}\n"
        "inference: {preset: {name: falcon-7b}}\n"
    )
    (tmp_path / "w.yaml").write_text(good)
    (tmp_path / "c.yaml").write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n")
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert {obj["kind"] for obj in yaml.safe_load_all(done.stdout) if obj} == {"Workspace", "ConfigMap"}
    (tmp_path / "w.yaml").write_text(good.replace("falcon-7b", "falcon-7c"))
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert done.stdout == ""
