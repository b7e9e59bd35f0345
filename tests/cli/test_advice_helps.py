"""The command that `why` prints, run in the situation that printed it, takes the cause away.

Each situation is a row: what is wrong on a sandbox with its controllers at work. Beside it serves a
neighbour, whose pod, node and Workspace must be the same afterwards. Codes without a situation are listed
with a reason.
"""

from __future__ import annotations

import itertools
import json
import shlex
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from advice.commands import PLACEHOLDERS, Printed, in_json
from shell import Shell

from kaitoctl.kaito.diagnosis.codes import CODES
from kaitoctl.kaito.node_check import codes as node_codes

FAULT = "sandbox.kaitoctl.dev/fault"
TYPE = "Standard_NC12s_v3"
_NUMBERS = itertools.count(1)
# No command may reach the sandbox but by its own flags.
UNSET: dict[str, Any] = {"KAITOCTL_SANDBOX": "", "KAITOCTL_SANDBOX_NAME": "", "KUBECONFIG": "/nowhere"}


@dataclass(frozen=True)
class Situation:
    """Something that is wrong.

    Args:
        code: of the cause that `why` finds.
        inference: of the Workspace, over falcon-7b.
        labels: that its nodes must carry besides.
        node: whether it has a node of its own, which it names.
        breaks: how kubectl brings the trouble about; `{node}`, `{namespace}` are filled in.
        remains: whether the command only looks, so that the cause is still there.
    """

    code: str
    inference: dict[str, Any] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    node: bool = False
    breaks: tuple[str, ...] = ()
    remains: bool = False


def template(container: dict[str, Any], **spec: Any) -> dict[str, Any]:
    main = {"name": "server", "image": "registry.example/server:1", **container}
    return {"template": {"spec": {"containers": [main], **spec}}}


def adapter(image: str) -> dict[str, Any]:
    source = {"name": "style", "image": f"registry.example/style:{image}"}
    return {"preset": {"name": "falcon-7b"}, "adapters": [{"source": source, "strength": "1.0"}]}


def private(tag: str, *secrets: str) -> dict[str, Any]:
    options = {"image": f"registry.example/falcon:{tag}", "imagePullSecrets": list(secrets)}
    return {"preset": {"name": "falcon-7b", "accessMode": "private", "presetOptions": options}}


SITUATIONS = [
    # --- the command takes the cause away
    Situation("label-missing", node=True, breaks=("label node {node} apps-",)),
    Situation("label-differs", node=True, breaks=("label node {node} apps=x --overwrite",)),
    Situation("cordoned", node=True, breaks=("cordon {node}",)),
    Situation("taint-not-tolerated", node=True, breaks=("taint node {node} team=vision:NoSchedule",)),
    Situation("adapter-image-bad", adapter("does-not-exist")),
    Situation("adapter-empty", adapter("empty-data")),
    Situation("pull-secret-missing", private("unauthorized", "nobody-made-it")),
    Situation(
        "config-map-missing",
        template(
            {"env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "gone", "key": "a"}}}]},
        ),
    ),
    # --- the command shows more of it
    Situation("not-ready", node=True, breaks=("not-ready",), remains=True),
    Situation("quota-exceeded", labels={FAULT: "quota"}, remains=True),
    Situation("instance-type-unavailable", labels={FAULT: "no-capacity"}, remains=True),
    Situation("image-not-found", private("does-not-exist"), remains=True),
    Situation("image-unauthorized", private("unauthorized"), remains=True),
    Situation("cuda-out-of-memory", private("cuda-oom"), remains=True),
    Situation("out-of-memory", private("oom"), remains=True),
    Situation("crash-loop", private("crash"), remains=True),
]

# Codes of which no situation is made here, by the reason.
ELSEWHERE: dict[str, str] = {
    "drawn at random in tests/advice": "being-deleted instance-type-differs of-another-workspace "
    "preferred-ignored no-gpu gpu-not-allocatable only-mig-slices too-few-gpus gpus-in-use "
    "gpu-memory-too-small gpu-labels-missing gpus-not-alike not-found listed-twice pressure immutable-field "
    "generation-not-observed node-claim-pending scaled-to-zero workload-paused service-misdirected "
    "no-endpoints gpus-sliced taint-of-controller",
    "says only where to look; tests/pure/test_nodes_by_code.py has the node": "custom-pod-elsewhere "
    "expression-ignored gpu-driver-upgrade gpu-unsupported no-bfloat16 gpu-unhealthy gpus-renamed "
    "gpus-shared mig-changing mig-failed no-label-selects no-room node-problem other-platform "
    "selector-not-understood",
    "says only where to look; tests/pure/test_diagnosis.py has the cause": "controller-not-running "
    "controller-silent finalizer-holds-deletion name-conflict workspace-invalid controller-says "
    "node-claim-failed no-node-provisioner device-plugin-missing pods-refused unschedulable "
    "volume-claim-missing key-missing image-name-invalid registry-unreachable image-pull-failed "
    "container-cannot-start model-access-denied disk-full probe-kills-slow-start slow-start pod-evicted "
    "tuning-failed progress-deadline adapter-without-shell container-killed image-pull-slow "
    "image-wrong-platform kubernetes-says nobody-served node-lost pod-ended pod-rejected pod-sandbox-failed "
    "pod-thrown-out probe-kills-server scheduling-gated volume-lost volume-not-here volume-unavailable "
    "workload-missing "
    "controller-busy reconcile-error template-refused",
    "says only where to look; tests/pure/test_slow_and_ended.py has the cause": "probe-misdirected "
    "probe-times-out",
    "KAITO v0.12's benchmark; cli/test_beside_kaito.py": "benchmark-failed",
    "a mirror that KAITO fills; tests/pure/test_kaito_wrote.py has the cause": "model-mirror-waits",
    "the model server's own log, which a sandbox does not write": "adapter-misfit bad-arguments "
    "context-too-long gpu-broken gpu-count-misfit gpu-driver-misfit gpu-not-visible gpu-program-failed "
    "gpu-too-old "
    "gpus-disconnected hub-rate-limited hub-unreachable image-broken model-files-broken model-not-found "
    "model-unsupported path-not-writable port-in-use process-limit shared-memory-too-small worker-died",
    "a provisioner's words; tests/pure/test_claim_causes.py": "node-claim-inconsistent "
    "node-claim-terminating node-class-not-ready node-not-initialized node-pool-limit",
    "says only where to look; tests/pure/test_trouble.py has the cause": "service-going",
    "a cloud's load balancer, a pod of somebody else; tests/pure/test_ways_in.py has the cause": ""
    "load-balancer-pending foreign-endpoints",
    "deletion that hangs; tests/pure/test_deletion_causes.py holds its advice to a law": "drain-blocked "
    "dependents-hold-deletion node-claim-kind-missing node-claim-stuck",
    "refused by the sandbox's own controller before: template-refused": "secret-missing",
    "no Workspace can have it: it is about the cluster": "crd-missing crd-version",
    "printed without a command": "other-vendor-gpu bad-quantity gpu-ok",
}


@pytest.fixture(scope="module")
def neighbour(sandbox_shell: Shell) -> Iterator[Callable[[], Any]]:
    """Somebody whose model serves; gives what they have, which must stay the same."""
    shell, name = sandbox_shell, "neighbour"
    shell.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    made = ("create", "workspace", name, "--preset", "falcon-7b", "--instance-type", TYPE)
    shell.kaitoctl(*made, "-n", name, "--timeout", "90s", "--yes")

    def has() -> Any:
        found = shell.get("workspace", name, "-n", name)
        pods = shell.get("pods", "-n", name)["items"]
        (node,) = found["status"]["workerNodes"]
        labels = shell.get("node", node)["metadata"]["labels"]
        running = [(pod["metadata"]["uid"], pod["status"]["phase"]) for pod in pods]
        return found["metadata"]["generation"], found["status"]["conditions"], running, node, labels

    yield has
    shell.end_namespace(name)


def why(shell: Shell, namespace: str) -> Any:
    where = ("--sandbox", "--sandbox-name", shell.sandbox)
    return json.loads(
        shell.run("kaitoctl", "why", "w", "-n", namespace, "-o", "json", *where, **UNSET).stdout
    )


def caused(shell: Shell, namespace: str, holds: Callable[[Any], bool]) -> Any:
    """The answer of `why`, once it is one that holds."""
    deadline = time.monotonic() + 30
    while True:
        answer = why(shell, namespace)
        if holds(answer):
            return answer
        assert time.monotonic() < deadline, json.dumps(answer, indent=1)
        time.sleep(0.05)


@pytest.fixture
def troubled(sandbox_shell: Shell) -> Iterator[Callable[[Situation], str]]:
    """Brings a situation about in a namespace of its own, and gives its name."""
    shell, nodes_, namespaces = sandbox_shell, [], []

    def make(situation: Situation) -> str:
        namespace = f"advice-{next(_NUMBERS)}"
        namespaces.append(namespace)
        shell.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
        node, preferred = f"node-{namespace}", []
        if situation.node:
            shell.add_node(node, TYPE, apps=namespace)
            nodes_.append(node)
            preferred = [node]
        for command in situation.breaks:
            if command == "not-ready":
                shell.break_node(node, "not-ready")
            else:
                shell.kubectl(*shlex.split(command.format(node=node, namespace=namespace)))
        labels = {"apps": namespace, **situation.labels}
        workspace = {
            "apiVersion": "kaito.sh/v1alpha1",
            "kind": "Workspace",
            "metadata": {"name": "w", "namespace": namespace},
            "resource": {
                "instanceType": TYPE,
                "labelSelector": {"matchLabels": labels},
                "preferredNodes": preferred,
            },
            "inference": situation.inference or {"preset": {"name": "falcon-7b"}},
        }
        file = shell.home / "troubled.json"
        file.write_text(json.dumps(workspace))
        # By the manager of kaitoctl's commands: adapters of another's are changed where they are kept.
        apply = ("apply", "--server-side", "--field-manager=kaitoctl", "--validate=false", "-f", str(file))
        shell.kubectl(*apply)
        return namespace

    yield make
    for namespace in namespaces:
        shell.end_namespace(namespace)
    for node in nodes_:
        shell.delete_node(node)


def follow(shell: Shell, item: Printed, name: str) -> str:
    """Run a printed command in a shell, as somebody would who pastes it."""
    command = item.command
    for placeholder, value in {
        **PLACEHOLDERS,
        "secret docker-registry NAME": f"secret docker-registry {name}",
    }.items():
        command = command.replace(placeholder, value)
    if "-adapter" in command:
        command += " --yes --no-wait"
    done = shell.run("sh", "-c", command, KUBE_EDITOR="true", **UNSET)
    assert done.returncode in (0, 1), f"{command}\n{done.stdout}{done.stderr}"
    assert "Usage:" not in done.stderr and "unknown flag" not in done.stderr, f"{command}\n{done.stderr}"
    return done.stdout + done.stderr


@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda item: str(item.code))
def test_the_command_helps(
    situation: Situation,
    troubled: Callable[[Situation], str],
    neighbour: Callable[[], Any],
    sandbox_shell: Shell,
) -> None:
    theirs = neighbour()
    namespace = troubled(situation)

    def is_found(answer: Any) -> bool:
        return bool(answer["cause"]) and answer["cause"]["code"] == situation.code

    answer = caused(sandbox_shell, namespace, is_found)
    commands = list(in_json("why", answer["cause"]))
    assert commands, answer["cause"]
    if not situation.remains:
        assert not all(item.only_looks for item in commands), commands
    for item in commands:
        assert follow(sandbox_shell, item, "pull").strip(), f"{item} says nothing"
    if not situation.remains:
        caused(sandbox_shell, namespace, lambda now: not is_found(now))
    assert neighbour() == theirs


def test_every_code_has_a_situation_or_a_reason() -> None:
    listed = [code for codes in ELSEWHERE.values() for code in codes.split()]
    here = {situation.code for situation in SITUATIONS}
    assert set(CODES) | set(node_codes.CODES) == here | set(listed)
    assert not here & set(listed) and len(listed) == len(set(listed))
