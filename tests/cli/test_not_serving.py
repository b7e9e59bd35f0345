"""Workspaces that their controller once called ready, and that serve nobody: every command says so.

The sandbox runs no controller of Workspaces here, as KAITO v0.3 and v0.4 do not look again either.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from shell import Shell

from kaitoctl.kaito.snapshot import slice_of_endpoints

if TYPE_CHECKING:
    from controlplane.plane import ControlPlane

ROOT = Path(__file__).parents[2]
Wait = Callable[[Callable[[], object]], None]
LABELS = {"kaito.sh/workspace": "falcon"}
CONDITIONS = [
    {
        "type": kind,
        "status": "True",
        "reason": "x",
        "message": "",
        "observedGeneration": 1,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    for kind in ("ResourceReady", "InferenceReady", "WorkspaceSucceeded")
]


@pytest.fixture(
    scope="module",
    params=["sandbox", pytest.param("control-plane", marks=pytest.mark.control_plane)],
)
def bare(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A cluster that knows Workspaces and has no controller of them, with one node."""
    home = tmp_path_factory.mktemp("bare")
    if request.param == "sandbox":
        shell = Shell(home, "unserved", {"KAITOCTL_SANDBOX": "1"})
        shell.kaitoctl("sandbox", "up", "--speed", "200", "--no-controller")
    else:
        plane: ControlPlane = request.getfixturevalue("control_plane")
        shell = Shell(home, sandbox="..", cluster={"KUBECONFIG": str(plane.kubeconfig)})
        shell.kubectl("apply", "--server-side", "-f", str(ROOT / "schemas" / "kaito.sh_workspaces.yaml"))
        shell.kubectl("wait", "--for=condition=Established", "crd/workspaces.kaito.sh")
    shell.add_node("unserved-node", "Standard_NC12s_v3", apps="unserved")
    yield shell
    shell.delete_node("unserved-node")
    if request.param == "sandbox":
        shell.kaitoctl("sandbox", "down", "--delete")


def manifests(namespace: str) -> list[Any]:
    """The Workspace, and what KAITO makes for it."""
    metadata = {"name": "falcon", "namespace": namespace}
    probe = {"httpGet": {"path": "/health", "port": 5000}}
    server = {"name": "falcon", "image": "registry.example/falcon:1", "readinessProbe": probe}
    return [
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata,
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": LABELS},
                "template": {
                    "metadata": {"labels": LABELS},
                    "spec": {"nodeSelector": {"apps": "unserved"}, "containers": [server]},
                },
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"selector": LABELS, "ports": [{"name": "http", "port": 80, "targetPort": 5000}]},
        },
    ]


@pytest.fixture
def served(bare: Shell, request: pytest.FixtureRequest, wait_until: Wait) -> Iterator[str]:
    """The namespace of a Workspace that serves."""
    namespace = f"n{abs(hash(request.node.name)) % 10**8}"
    bare.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    bare.apply(
        {
            "apiVersion": "kaito.sh/v1alpha1",
            "kind": "Workspace",
            "metadata": {"name": "falcon", "namespace": namespace},
            "resource": {
                "instanceType": "Standard_NC12s_v3",
                "labelSelector": {"matchLabels": {"apps": "unserved"}},
            },
            "inference": {"preset": {"name": "falcon-7b"}},
        }
    )
    uid = bare.get("workspace", "falcon", "-n", namespace)["metadata"]["uid"]
    owner = {
        "apiVersion": "kaito.sh/v1alpha1",
        "kind": "Workspace",
        "name": "falcon",
        "uid": uid,
        "controller": True,
    }
    for item in manifests(namespace):
        bare.apply({**item, "metadata": {**item["metadata"], "ownerReferences": [owner]}})
    status = json.dumps({"status": {"conditions": CONDITIONS, "workerNodes": ["unserved-node"]}})
    bare.kubectl(
        *("patch", "workspace", "falcon", "-n", namespace, "--subresource", "status"),
        *("--type", "merge", "-p", status),
    )
    wait_until(lambda: bare.run("kaitoctl", "endpoint", "falcon", "-n", namespace).returncode == 0)
    yield namespace
    bare.end_namespace(namespace)


def served_by_doctor(bare: Shell, namespace: str) -> list[tuple[str, str]]:
    """What doctor says of who is served; of a shared cluster it may have more to say."""
    done = bare.run("kaitoctl", "doctor", "-n", namespace, "-o", "json")
    checks = json.loads(done.stdout)["checks"]
    return [(check["result"], check["message"]) for check in checks if check["name"] == "serving"]


def patched(kind: str, patch: Any, how: str = "merge") -> tuple[str, ...]:
    return ("patch", kind, "falcon", "--type", how, "-p", json.dumps(patch))


@pytest.mark.parametrize(
    ("edit", "code"),
    [
        (("scale", "deployment", "falcon", "--replicas=0"), "scaled-to-zero"),
        (("delete", "deployment", "falcon"), "workload-missing"),
        (("delete", "service", "falcon"), "no-endpoints"),
        (
            patched("service", [{"op": "replace", "path": "/spec/selector", "value": {"app": "x"}}], "json"),
            "no-endpoints",
        ),
        (
            patched("service", [{"op": "replace", "path": "/spec/ports/0/targetPort", "value": 99}], "json"),
            "service-misdirected",
        ),
        (
            patched("service", [{"op": "replace", "path": "/spec/ports/0/targetPort", "value": "a"}], "json"),
            "service-misdirected",
        ),
    ],
)
def test_no_command_calls_it_ready_and_the_advice_brings_it_back(
    bare: Shell, served: str, wait_until: Wait, edit: tuple[str, ...], code: str
) -> None:
    where = ("-n", served)
    assert json.loads(bare.kaitoctl("why", "falcon", *where, "-o", "json").stdout)["ready"]
    assert served_by_doctor(bare, served) == [("ok", f"1 Workspace serves in {served}")]

    bare.kubectl(*edit, *where)
    wait_until(lambda: bare.run("kaitoctl", "why", "falcon", *where).returncode == 1)
    wait_until(lambda: bare.run("kaitoctl", "status", "falcon", *where).returncode == 1)
    found = json.loads(bare.kaitoctl("why", "falcon", *where, "-o", "json", code=1).stdout)
    assert (found["ready"], found["phase"]) == (False, "not serving")
    assert found["cause"]["code"] == code
    assert json.loads(bare.kaitoctl("status", "falcon", *where, "-o", "json", code=1).stdout)["down"]
    (row,) = json.loads(bare.kaitoctl("status", *where, "-o", "json").stdout)["workspaces"]
    assert row["state"] == "notserving"
    assert "does not serve" in bare.kaitoctl("endpoint", "falcon", *where, code=1).stderr
    assert "does not serve" in bare.kaitoctl("chat", "falcon", "Hello?", *where, code=1).stderr
    for patience in ("1s", "30s"):  # a busy machine shows nothing in a second
        followed = bare.kaitoctl("rollout", "status", "falcon", "--timeout", patience, *where, code=124)
        if "not serving" in followed.stderr:
            break
    assert "not serving" in followed.stderr
    ((result, told),) = served_by_doctor(bare, served)
    assert result == "error"
    assert "not serving" in told

    advised = found["cause"]["command"]
    if not advised.startswith("kubectl"):
        assert "doctor" in advised
        return  # the controller is to do it, and there is none
    done = bare.run("sh", "-c", advised)
    assert done.returncode == 0, done.stderr
    wait_until(lambda: bare.run("kaitoctl", "why", "falcon", *where).returncode == 0)


@pytest.mark.parametrize("kind", ["preset", "template without a Service"])
def test_a_node_that_is_gone_is_seen_in_the_list_and_by_doctor(
    bare: Shell, served: str, wait_until: Wait, kind: str
) -> None:
    where = ("-n", served)
    if kind != "preset":
        pod = {"spec": {"containers": [{"name": "c", "image": "registry.example/own:1"}]}}
        change = [
            {"op": "remove", "path": "/inference/preset"},
            {"op": "add", "path": "/inference/template", "value": pod},
        ]
        bare.kubectl(*patched("workspace", change, "json"), *where)
        conditions = [{**item, "observedGeneration": 2} for item in CONDITIONS]
        status = json.dumps({"status": {"conditions": conditions}})
        bare.kubectl(
            *("patch", "workspace", "falcon", *where, "--subresource", "status", "--type", "merge"),
            *("-p", status),
        )
        bare.kubectl("delete", "service", "falcon", *where)
    wait_until(lambda: row_of(bare, served)["state"] == "ready")
    bare.kubectl("delete", "node", "unserved-node", "--wait=false")
    try:
        if "KUBECONFIG" in bare.cluster:  # which collects the pod within a minute, the sandbox at once
            words = "unserved-node, which does not exist any more"
            wait_until(lambda: words in row_of(bare, served)["where"])
        wait_until(lambda: row_of(bare, served)["state"] == "notserving")
        ((result, told),) = served_by_doctor(bare, served)
        assert (result, "not serving" in told) == ("error", True)
    finally:
        bare.add_node("unserved-node", "Standard_NC12s_v3", apps="unserved")


def row_of(bare: Shell, namespace: str) -> Any:
    (row,) = json.loads(bare.kaitoctl("status", "-n", namespace, "-o", "json").stdout)["workspaces"]
    return row


@pytest.mark.parametrize(
    "edit",
    [
        ("scale", "deployment", "falcon", "--replicas=0"),
        ("delete", "service", "falcon"),
        patched("service", [{"op": "replace", "path": "/spec/selector", "value": {"app": "x"}}], "json"),
        patched("service", [{"op": "replace", "path": "/spec/ports/0/targetPort", "value": 99}], "json"),
    ],
    ids=["scaled", "service", "selector", "port"],
)
def test_no_command_that_waits_ends_with_0(
    bare: Shell, served: str, wait_until: Wait, edit: tuple[str, ...]
) -> None:
    where = ("-n", served)
    wanted = (
        *("create", "workspace", "falcon", "--preset", "falcon-7b", "--label", "apps=unserved"),
        *("--instance-type", "Standard_NC12s_v3", "--api-version", "v1alpha1", "--yes", *where),
    )
    first = bare.run("kaitoctl", *wanted, "--timeout", "30s")
    assert first.returncode == 0, first.stderr
    bare.kubectl(*edit, *where)
    wait_until(lambda: bare.run("kaitoctl", "why", "falcon", *where).returncode == 1)
    for command in (wanted, ("rollout", "status", "falcon", *where)):
        for patience in ("2s", "30s"):  # a busy machine shows nothing in two seconds
            waited = bare.run("kaitoctl", *command, "--timeout", patience)
            assert waited.returncode in (1, 124), waited.stderr
            if "not serving" in waited.stderr:
                break
        assert "not serving" in waited.stderr


def test_who_scaled_it_to_zero_is_named_or_how(bare: Shell, served: str, wait_until: Wait) -> None:
    bare.kubectl("scale", "deployment", "falcon", "--replicas=0", "-n", served)
    wait_until(lambda: bare.run("kaitoctl", "why", "falcon", "-n", served).returncode == 1)
    cause = json.loads(bare.kaitoctl("why", "falcon", "-n", served, "-o", "json", code=1).stdout)["cause"]
    if "KUBECONFIG" in bare.cluster:  # where a scale to 0 leaves no name behind
        told = {item["source"]: item["text"] for item in cause["evidence"]}
        assert "scale subresource" in told["managedFields"]
        assert "to 0" in next(text for source, text in told.items() if "ScalingReplicaSet" in source)
    else:
        assert "kubectl has set that" in cause["message"]


def test_a_paused_rollout_is_resumed_by_the_advice(bare: Shell, served: str, wait_until: Wait) -> None:
    if "KUBECONFIG" not in bare.cluster:
        pytest.skip("the sandbox rolls out what is paused, too")
    where = ("-n", served)
    bare.kubectl("rollout", "pause", "deployment/falcon", *where)
    container = {"name": "falcon", "image": "registry.example/falcon:2"}
    bare.kubectl(
        *patched("deployment", {"spec": {"template": {"spec": {"containers": [container]}}}}, "strategic"),
        *where,
    )
    wait_until(lambda: bare.run("kaitoctl", "why", "falcon", *where).returncode == 1)
    cause = json.loads(bare.kaitoctl("why", "falcon", *where, "-o", "json", code=1).stdout)["cause"]
    assert cause["code"] == "workload-paused"
    assert "falcon" in bare.kaitoctl("endpoint", "falcon", *where).stdout, "the old pod still serves"
    assert bare.run("sh", "-c", cause["command"]).returncode == 0
    wait_until(lambda: bare.run("kaitoctl", "why", "falcon", *where).returncode == 0)


def test_endpoints_stand_in_for_the_slices_that_a_role_does_not_show(bare: Shell, served: str) -> None:
    (told,) = slice_of_endpoints(bare.get("endpoints", "falcon", "-n", served))
    (slice_,) = bare.get("endpointslices", "-n", served)["items"]
    for path in ("ports", "port"), ("endpoints", "addresses"):
        part, key = path
        assert [item[key] for item in told[part]] == [item[key] for item in slice_[part]]


def test_an_address_is_given_with_what_its_load_balancer_waits_for(
    bare: Shell, served: str, wait_until: Wait
) -> None:
    where = ("falcon", "-n", served)
    bare.kubectl(*patched("service", {"spec": {"type": "LoadBalancer"}}), "-n", served)

    def asked() -> tuple[list[str], str, str | None]:
        found = json.loads(bare.kaitoctl("endpoint", *where, "-o", "json").stdout)
        done = bare.kaitoctl("endpoint", *where)
        assert done.stdout.startswith(f"http://falcon.{served}.svc:80/")
        return found["warnings"], done.stderr, found["addresses"]["load-balancer"]

    if "KAITOCTL_SANDBOX" in bare.cluster:  # which makes load balancers
        wait_until(lambda: asked()[2] is not None)
        assert asked()[0] == [] and "load balancer" not in asked()[1]
        return
    young = "the load balancer of Service falcon has no address yet"
    warnings, said, address = asked()
    assert (warnings, address) == ([young], None) and young in said
    uid = bare.get("service", "falcon", "-n", served)["metadata"]["uid"]
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "falcon.1", "namespace": served},
        "involvedObject": {"kind": "Service", "name": "falcon", "namespace": served, "uid": uid},
        "reason": "SyncLoadBalancerFailed",
        "message": "Error syncing load balancer: failed to ensure load balancer: no available IPs",
        "type": "Warning",
        "lastTimestamp": "2026-01-01T00:00:00Z",
    }
    bare.apply(event)
    (warning,), said, _ = asked()
    assert "no available IPs" in warning and warning.endswith("[load-balancer-pending]")
    assert "only the cluster reaches the model" in " ".join(said.split())
    (noted,) = json.loads(bare.kaitoctl("why", *where, "-o", "json").stdout)["others"]
    assert noted["code"] == "load-balancer-pending"
    assert noted["message"].partition(", so")[2].rstrip(".") in warning
