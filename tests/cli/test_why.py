"""Every cause of `kaitoctl why`, brought about on the sandbox by what really goes wrong there."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from shell import Shell

from kaitoctl.sandbox.nodes import Damage

FAULT = "sandbox.kaitoctl.dev/fault"
NO_KUBELET = pytest.mark.sandbox_alone("KWOK pulls, mounts, probes and logs nothing")
NO_CLOUD = pytest.mark.sandbox_alone("KWOK's machines always come")
Wait = Callable[[Callable[[], object]], None]


def create(
    shell: Shell,
    namespace: str,
    *,
    name: str = "w",
    labels: dict[str, str] | None = None,
    preferred: tuple[str, ...] = (),
    instance_type: str = "Standard_NC12s_v3",
    count: int = 1,
    **inference: Any,
) -> None:
    """Apply a Workspace with labels of its own, so that tests share no nodes."""
    resource = {
        "count": count,
        "instanceType": instance_type,
        "labelSelector": {"matchLabels": {"apps": namespace, **(labels or {})}},
        "preferredNodes": list(preferred),
    }
    shell.apply(
        {
            "apiVersion": "kaito.sh/v1alpha1",
            "kind": "Workspace",
            "metadata": {"name": name, "namespace": namespace},
            "resource": resource,
            "inference": inference or {"preset": {"name": "falcon-7b"}},
        }
    )


def private(image: str, *secrets: str) -> dict[str, Any]:
    options = {"image": f"registry.example/{image}", "imagePullSecrets": list(secrets)}
    return {"name": "falcon-7b", "accessMode": "private", "presetOptions": options}


@pytest.fixture
def blamed(shell: Shell, namespace: str, wait_until: Wait) -> Callable[..., Any]:
    """The answer of `why`, once the cause has this code."""

    def asking(code: str, name: str = "w") -> Any:
        seen: list[Any] = []

        def is_told() -> bool:
            done = shell.run("kaitoctl", "why", name, "-n", namespace, "-o", "json")
            seen.append(json.loads(done.stdout))
            assert done.returncode == (0 if seen[-1]["cause"] is None else 1)
            return bool(seen[-1]["cause"]) and seen[-1]["cause"]["code"] == code

        try:
            wait_until(is_told)
        except AssertionError:
            raise AssertionError(json.dumps(seen[-1], indent=1)) from None
        assert not seen[-1]["ready"]
        cause = seen[-1]["cause"]
        assert cause["evidence"], cause
        assert cause["hint"] or cause["command"], cause
        return cause

    return asking


def led(shell: Shell, command: str) -> str:
    """The command of kubectl that reaches the shell's cluster: a sandbox by its kubeconfig."""
    return f"{command} --kubeconfig {shell.kubeconfig}" if "KAITOCTL_SANDBOX" in shell.cluster else command


def evidence(cause: Any) -> str:
    return "\n".join(f"{item['source']}: {item['text']}" for item in cause["evidence"])


def template(container: dict[str, Any], **spec: Any) -> dict[str, Any]:
    """A pod template with one container."""
    main = {"name": "server", "image": "registry.example/server:1", **container}
    return {"spec": {"containers": [main], **spec}}


# --- nodes -----------------------------------------------------------------------------------------------


@pytest.fixture
def node(shell: Shell, namespace: str) -> Iterator[str]:
    """A node that carries the test's label."""
    name = f"node-{namespace}"[:50].strip("-")
    shell.add_node(name, "Standard_NC12s_v3", apps=namespace)
    yield name
    shell.delete_node(name)


def test_a_label_that_is_missing(shell: Shell, namespace: str, node: str, blamed: Any) -> None:
    shell.kubectl("label", "node", node, "apps-")
    create(shell, namespace, preferred=(node,))
    cause = blamed("label-missing")
    assert cause["about"] == f"Node {node}"
    assert cause["command"] == led(shell, f"kubectl label node {node} apps={namespace}")


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        ("gpus-unhealthy", "gpu-not-allocatable"),
        ("plugin-missing", "device-plugin-missing"),
        ("cordoned", "cordoned"),
        ("not-ready", "not-ready"),
    ],
)
def test_a_broken_node(
    shell: Shell, namespace: str, node: str, blamed: Any, damage: Damage, code: str
) -> None:
    shell.break_node(node, damage)
    create(shell, namespace, preferred=(node,))
    assert node in blamed(code)["command"]


@pytest.mark.parametrize(
    ("damage", "code"),
    [("gpus-unhealthy", "gpu-not-allocatable"), ("plugin-missing", "device-plugin-missing")],
)
def test_a_device_plugin_that_breaks_under_a_running_server(
    shell: Shell, namespace: str, node: str, blamed: Any, wait_until: Wait, damage: Damage, code: str
) -> None:
    create(shell, namespace, preferred=(node,))
    ready = ("why", "w", "-n", namespace, "-o", "json")
    wait_until(lambda: json.loads(shell.run("kaitoctl", *ready).stdout)["ready"])
    shell.break_node(node, damage)
    cause = blamed(code)
    assert cause["about"] == f"Node {node}"
    assert "loading model" not in shell.run("kaitoctl", "status", "-n", namespace).stdout


def test_a_count_beyond_what_the_controller_builds(
    shell: Shell, namespace: str, node: str, blamed: Any
) -> None:
    create(shell, namespace, labels={"apps": f"{namespace}-other"}, count=500)
    cause = blamed("workspace-invalid")
    assert "resource.count 500" in cause["message"]
    assert "label" not in cause["command"], "the nodes have nothing to do with it"
    done = shell.run("kaitoctl", "doctor", "-n", namespace, "-o", "json")
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert checks["serving"]["result"] == "error"
    assert f"Workspace {namespace}/w: " in checks["serving"]["message"]


def test_a_taint_that_is_not_tolerated(shell: Shell, namespace: str, node: str, blamed: Any) -> None:
    shell.kubectl("taint", "node", node, "team=vision:NoSchedule")
    create(shell, namespace, preferred=(node,))
    assert blamed("taint-not-tolerated")["command"] == led(
        shell, f"kubectl taint node {node} team:NoSchedule-"
    )


def test_gpus_that_another_workspace_holds(
    shell: Shell, namespace: str, node: str, blamed: Any, wait_until: Wait
) -> None:
    create(shell, namespace, preferred=(node,), name="first")
    ready = ("why", "first", "-n", namespace, "-o", "json")
    wait_until(lambda: json.loads(shell.kaitoctl(*ready).stdout)["ready"])
    create(shell, namespace, preferred=(node,))
    assert "0 of 2 GPUs free" in blamed("gpus-in-use")["message"]


@NO_CLOUD
@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("quota", "quota-exceeded"),
        ("no-capacity", "instance-type-unavailable"),
        ("never-joins", "node-claim-pending"),
        ("plugin-missing", "device-plugin-missing"),
    ],
)
def test_a_machine_that_does_not_come(
    shell: Shell, namespace: str, blamed: Any, fault: str, code: str
) -> None:
    create(shell, namespace, labels={FAULT: fault})
    assert blamed(code)["about"].startswith("NodeClaim ws")


@NO_CLOUD
def test_an_instance_type_that_nobody_sells(shell: Shell, namespace: str, blamed: Any) -> None:
    create(shell, namespace, instance_type="Standard_NC999")
    assert "InstanceTypeNotFound" in evidence(blamed("instance-type-unavailable"))


# --- images ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tag", "code", "more"),
    [
        ("does-not-exist", "image-not-found", ()),
        ("unauthorized", "image-unauthorized", ()),
        ("unauthorized", "pull-secret-missing", ("nobody-made-it",)),
    ],
)
def test_an_image_that_cannot_be_pulled(
    shell: Shell, namespace: str, blamed: Any, tag: str, code: str, more: tuple[str, ...]
) -> None:
    create(shell, namespace, preset=private(f"falcon:{tag}", *more))
    cause = blamed(code)
    assert f"registry.example/falcon:{tag}" in cause["message"]
    assert tag == "does-not-exist" or "401 Unauthorized" in evidence(cause)


def test_a_pull_secret_that_exists_is_not_blamed_for_being_missing(
    shell: Shell, namespace: str, blamed: Any
) -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "acr", "namespace": namespace}}
    shell.apply({**secret, "stringData": {"password": "geheim"}})
    create(shell, namespace, preset=private("falcon:unauthorized", "acr"))
    cause = blamed("image-unauthorized")
    assert cause["command"] == led(shell, f"kubectl get secret acr -n {namespace}")
    assert "geheim" not in json.dumps(cause)


@pytest.mark.parametrize(
    ("tag", "code"),
    [
        ("does-not-exist", "adapter-image-bad"),
        pytest.param("empty-data", "adapter-empty", marks=NO_KUBELET),
        pytest.param("crash", "crash-loop", marks=NO_KUBELET),
    ],
)
def test_an_adapter_that_cannot_be_copied(
    shell: Shell, namespace: str, blamed: Any, tag: str, code: str
) -> None:
    source = {"name": "style", "image": f"registry.example/style:{tag}"}
    adapters = [{"source": source, "strength": "1.0"}]
    create(shell, namespace, preset={"name": "falcon-7b"}, adapters=adapters)
    cause = blamed(code)
    assert "adapter style" in cause["message"]
    assert "container style" in cause["about"]


@pytest.mark.parametrize(
    ("tag", "code", "words"),
    [
        pytest.param("does-not-exist", "adapter-image-bad", "manifest unknown", marks=NO_KUBELET),
        pytest.param("unauthorized", "image-unauthorized", "unauthorized", marks=NO_KUBELET),
        pytest.param("empty-data", "adapter-empty", "no files", marks=NO_KUBELET),
    ],
)
def test_an_adapter_that_a_container_cannot_fetch(
    shell: Shell, namespace: str, blamed: Any, tag: str, code: str, words: str
) -> None:
    """KAITO v0.12 pulls adapters with a program, so no kubelet says ErrImagePull."""
    adapters = [{"source": {"name": "style", "image": f"registry.example/style:{tag}"}}]
    a100 = "Standard_NC24ads_A100_v4"
    create(shell, namespace, instance_type=a100, preset={"name": "phi-4"}, adapters=adapters)
    cause = blamed(code)
    assert "adapter style" in cause["message"] and words in evidence(cause)
    listed = shell.kaitoctl("list-adapters", "w", "-n", namespace, "-o", "json", code=1)
    assert not any(row["loaded"] for row in json.loads(listed.stdout))


# --- containers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tag", "code", "told"),
    [
        pytest.param("oom", "out-of-memory", "OOMKilled", marks=NO_KUBELET),
        pytest.param("cuda-oom", "cuda-out-of-memory", "CUDA out of memory", marks=NO_KUBELET),
        ("crash", "crash-loop", "exit code 1"),
    ],
)
def test_a_server_that_ends(
    shell: Shell, namespace: str, blamed: Any, tag: str, code: str, told: str
) -> None:
    create(shell, namespace, preset=private(f"falcon:{tag}"))
    assert told in evidence(blamed(code))


@NO_KUBELET
def test_a_probe_that_kills_a_slow_start(shell: Shell, namespace: str, blamed: Any) -> None:
    probe = {"httpGet": {"path": "/", "port": 80}, "periodSeconds": 5, "failureThreshold": 3}
    slow = {"image": "registry.example/server:slow-load", "livenessProbe": probe, "readinessProbe": probe}
    gpu = {"resources": {"limits": {"nvidia.com/gpu": "1"}}}
    create(shell, namespace, template=template({**slow, **gpu}))
    assert "Liveness probe failed" in evidence(blamed("probe-kills-slow-start"))


@NO_KUBELET
@pytest.mark.parametrize(
    ("spec", "code"),
    [
        (
            {"env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "gone", "key": "a"}}}]},
            "config-map-missing",
        ),
        ({"envFrom": [{"configMapRef": {"name": "gone"}}]}, "config-map-missing"),
        ({"envFrom": [{"secretRef": {"name": "gone"}}]}, "template-refused"),
    ],
)
def test_what_a_container_refers_to_is_missing(
    shell: Shell, namespace: str, blamed: Any, spec: Any, code: str
) -> None:
    create(shell, namespace, template=template(spec))
    words = "allow-template-secret gone" if code == "template-refused" else "gone does not exist"
    assert words in blamed(code)["message"]


@NO_KUBELET
def test_a_volume_of_a_config_map_that_is_missing_and_then_there(
    shell: Shell, namespace: str, blamed: Any, wait_until: Wait
) -> None:
    volume = {"name": "config", "configMap": {"name": "gone"}}
    create(shell, namespace, template=template({}, volumes=[volume]))
    wait_until(lambda: "FailedMount" in evidence(blamed("config-map-missing")))
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "gone", "namespace": namespace}}
    shell.apply(config)
    ready = ("why", "w", "-n", namespace, "-o", "json")
    wait_until(lambda: json.loads(shell.run("kaitoctl", *ready).stdout)["ready"])


def test_a_claim_without_a_volume_says_why_by_its_own_events(
    shell: Shell, namespace: str, blamed: Any, wait_until: Wait
) -> None:
    if "KUBECONFIG" not in shell.cluster:
        pytest.skip("the sandbox binds no claims")
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "weights", "namespace": namespace},
        "spec": {
            "storageClassName": "gone",
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
        },
    }
    shell.apply(claim)
    volume = {"name": "w", "persistentVolumeClaim": {"claimName": "weights"}}
    create(shell, namespace, template=template({}, volumes=[volume]))
    wait_until(lambda: "storageclass" in evidence(blamed("volume-claim-missing")))
    cause = blamed("volume-claim-missing")
    assert "there is no StorageClass gone" in cause["hint"]
    assert "weights is Pending, StorageClass gone" in evidence(cause)


# --- the Workspace itself --------------------------------------------------------------------------------


def test_a_name_that_somebody_else_has(shell: Shell, namespace: str, blamed: Any) -> None:
    labels = {"app": "other"}
    spec = {
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
    }
    metadata = {"name": "w", "namespace": namespace}
    shell.apply({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec})
    create(shell, namespace)
    assert blamed("name-conflict")["about"] == "Deployment w"


@NO_CLOUD
def test_a_deployment_of_the_workspace_that_cannot_follow(shell: Shell, namespace: str, blamed: Any) -> None:
    """Made by an older controller with another selector, which is immutable."""
    create(shell, namespace, labels={FAULT: "never-joins"})
    uid = shell.get("workspace", "w", "-n", namespace)["metadata"]["uid"]
    owner = {"apiVersion": "kaito.sh/v1alpha1", "kind": "Workspace", "name": "w", "uid": uid}
    labels = {"app": "old"}
    spec = {
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "w", "image": "i"}]}},
    }
    owners = [{**owner, "controller": True}]
    metadata = {"name": "w", "namespace": namespace, "ownerReferences": owners}
    shell.apply({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec})
    own = ("--label", f"apps={namespace}", "--label", f"{FAULT}=never-joins")
    shell.kaitoctl("sandbox", "node", "add", "old-hand", "--instance-type", "Standard_NC12s_v3", *own)
    assert "immutable" in evidence(blamed("immutable-field"))


@NO_CLOUD
def test_a_field_that_was_changed_behind_kaitos_back(shell: Shell, namespace: str, blamed: Any) -> None:
    """KAITO keeps what it was told first as a ControllerRevision; what another `w` was is no matter."""
    create(shell, namespace, labels={FAULT: "never-joins"})
    live = shell.get("workspace", "w", "-n", namespace)
    other = {**live, "resource": {**live["resource"], "labelSelector": {"matchLabels": {"of": "one-before"}}}}
    owner = {"apiVersion": "kaito.sh/v1alpha1", "kind": "Workspace", "name": "w"}
    mine = [{**owner, "uid": live["metadata"]["uid"], "controller": True}]
    orphaned: list[Any] = []  # kubectl delete --cascade=orphan
    for name, owners, of in (("w-1a2b3", mine, live), ("w-00000", orphaned, other)):
        shell.apply(
            {
                "apiVersion": "apps/v1",
                "kind": "ControllerRevision",
                "metadata": {
                    "name": name,
                    "namespace": namespace,
                    "labels": {"workspace.kaito.io/name": "w"},
                    "ownerReferences": owners,
                },
                "revision": int(of is live),
                "data": {part: of.get(part) for part in ("resource", "inference")},
            }
        )
    patch = json.dumps({"resource": {"instanceType": "Standard_NC24s_v3"}})
    shell.patch(patch, "workspace", "w", "-n", namespace)
    found = blamed("immutable-field")
    assert "resource.instanceType" in found["message"]
    assert "labelSelector" not in json.dumps(found)


def test_a_finalizer_that_holds_the_deletion(shell: Shell, namespace: str, blamed: Any) -> None:
    create(shell, namespace)
    patch = json.dumps({"metadata": {"finalizers": ["example.com/backup"]}})
    shell.patch(patch, "workspace", "w", "-n", namespace)
    shell.kubectl("delete", "workspace", "w", "-n", namespace, "--wait=false")
    try:
        assert "example.com/backup" in blamed("finalizer-holds-deletion")["message"]
    finally:
        patch = json.dumps({"metadata": {"finalizers": None}})
        shell.patch(patch, "workspace", "w", "-n", namespace)


# --- clusters without a controller, or without the kind --------------------------------------------------


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Shell]:
    """A sandbox without a Workspace controller."""
    shell = Shell(tmp_path, "bare")
    shell.kaitoctl("sandbox", "up", "--speed", "200", "--no-controller")
    yield shell
    shell.kaitoctl("sandbox", "down", "--delete")


def test_nobody_manages_workspaces_or_knows_them(bare: Shell, wait_until: Wait) -> None:
    create(bare, "default")
    ask = ("why", "w", "-o", "json", "--sandbox")
    fresh = json.loads(bare.kaitoctl(*ask).stdout)
    assert fresh["cause"] is None, "a Workspace of this second waits for nobody yet"
    assert fresh["phase"] == "waiting for a controller"

    wait_until(lambda: bare.run("kaitoctl", *ask).returncode == 1)
    cause = json.loads(bare.kaitoctl(*ask, code=1).stdout)["cause"]
    assert cause["code"] == "controller-not-running"
    assert "no KAITO and no kaitoctl controller" in evidence(cause)

    crd = bare.get("crd", "workspaces.kaito.sh")
    bare.kubectl("delete", "crd", "workspaces.kaito.sh")
    refused = bare.kaitoctl("why", "w", "--sandbox", code=4).stderr
    assert "the CRD workspaces.kaito.sh is not installed" in refused

    others = ("inferencesets", "multiroleinferences", "modelmirrors")
    bare.kubectl("delete", "crd", *(f"{plural}.kaito.sh" for plural in others))
    spec = {**crd["spec"], "versions": [{**crd["spec"]["versions"][-1], "name": "v2"}]}
    bare.apply(
        {key: crd[key] for key in ("apiVersion", "kind")}
        | {"metadata": {"name": "workspaces.kaito.sh"}, "spec": spec}
    )
    done = bare.kaitoctl("why", "w", "--sandbox", code=4)
    assert "serves kaito.sh in version v2; kaitoctl supports v1alpha1 and v1beta1" in done.stderr
