"""`run-controller` beside KAITO's controller: refused, unless told that it takes over; noticed later, too."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from cli.test_run_controller import CREATE, Wait, bare, controller
from kaito_wrote import LOST_UPDATE, NO_SIZE, model, objects_of, status
from shell import BIN, Shell

from kaitoctl.kube.objects import dig

__all__ = ["bare"]

NAMESPACE = "kaito-workspace"
IMAGE = "mcr.microsoft.com/aks/kaito/workspace:0.4.6"


def kaito(replicas: int, image: str = IMAGE) -> str:
    labels = {"app.kubernetes.io/name": "workspace"}
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "List",
            "items": [
                {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
                {
                    "apiVersion": "apps/v1",
                    "kind": "Deployment",
                    "metadata": {"name": "workspace", "namespace": NAMESPACE},
                    "spec": {
                        "replicas": replicas,
                        "selector": {"matchLabels": labels},
                        "template": {
                            "metadata": {"labels": labels},
                            "spec": {"containers": [{"name": "workspace", "image": image}]},
                        },
                    },
                },
            ],
        }
    )


def install(shell: Shell, replicas: int, image: str = IMAGE) -> None:
    (shell.home / "kaito.json").write_text(kaito(replicas, image))
    shell.kubectl("apply", "-f", "kaito.json")


@pytest.fixture
def cluster(bare: Shell) -> Iterator[Shell]:
    yield bare
    bare.kubectl("delete", "deployment", "workspace", "-n", NAMESPACE, "--ignore-not-found")


def ours(shell: Shell) -> dict[str, str]:
    """What our controller could have written: Workspaces, what it makes of them, Leases and Events.

    Namespaces that end are left out: what another test made in them goes away meanwhile.
    """
    asked = ("-A", "-o", "json", "--show-managed-fields")
    namespaces = json.loads(shell.kubectl("get", "namespaces", "-o", "json"))["items"]
    ending = {item["metadata"]["name"] for item in namespaces if "deletionTimestamp" in item["metadata"]}
    kinds = "workspaces,statefulsets,deployments,services,controllerrevisions,leases,events"
    return {
        f"{item['kind']} {item['metadata']['namespace']}/{item['metadata']['name']}": writer.get("time", "")
        for item in json.loads(shell.kubectl("get", kinds, *asked))["items"]
        for writer in item["metadata"].get("managedFields") or ()
        if writer["manager"].startswith("kaitoctl") and item["metadata"]["namespace"] not in ending
    }


@pytest.mark.parametrize("option", [[], ["--dry-run"], ["--no-leader-elect"]])
def test_it_does_not_start_beside_kaito(cluster: Shell, option: list[str]) -> None:
    install(cluster, 1)
    waits = cluster.kaitoctl(*CREATE, "--dry-run=client", "-o", "json").stdout
    (cluster.home / "waits.json").write_text(waits)
    cluster.kubectl("apply", "-f", str(cluster.home / "waits.json"))
    before = ours(cluster)
    try:
        with controller(cluster, *option) as process:
            out, err = process.communicate(timeout=60)
        assert ours(cluster) == before, "it has written where KAITO lives"
        assert "status" not in cluster.get("workspace", "w")
    finally:
        cluster.kubectl("delete", "workspace", "w")
    assert process.returncode == 2, err
    assert out == ""
    assert f"KAITO 0.4.6: Deployment {NAMESPACE}/workspace" in err
    advice = rf"kubectl (\S+ \S+ )*scale deployment workspace -n {NAMESPACE} --replicas=0"
    assert re.search(advice, err), "led to the cluster that was asked"
    assert "--take-over" in err
    assert "managing" not in err


def test_it_starts_where_kaito_is_scaled_to_nothing(cluster: Shell, wait_until: Wait) -> None:
    install(cluster, 0)
    wait_until(lambda: not cluster.names("pods", "-n", NAMESPACE))
    with controller(cluster, "--dry-run") as process:
        assert process.stderr is not None
        lines = iter(process.stderr.readline, "")
        assert any("dry run: looking at" in line for line in lines)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 0


def test_told_that_it_takes_over_it_warns_and_starts(cluster: Shell) -> None:
    install(cluster, 1)
    with controller(cluster, "--take-over", "--dry-run") as process:
        assert process.stderr is not None
        seen = []
        for line in iter(process.stderr.readline, ""):
            seen.append(line)
            if "dry run: looking at" in line:
                break
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert any("KAITO's controller manages Workspaces here" in line for line in seen), seen
    assert process.returncode == 0


def test_a_kaito_that_starts_later_stops_it(cluster: Shell) -> None:
    with controller(cluster, "--no-leader-elect") as process:
        assert process.stderr is not None
        assert any("managing Workspaces" in line for line in iter(process.stderr.readline, ""))
        install(cluster, 1)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 1, err
    assert "KAITO's controller manages Workspaces here" in err


def test_why_sees_a_kaito_that_is_busy_and_never_advises_a_second_controller(cluster: Shell) -> None:
    install(cluster, 1)
    names = [f"busy-{number}" for number in range(6)]
    made = cluster.kaitoctl(*CREATE[:2], "busy", *CREATE[3:], "--dry-run=client", "-o", "json").stdout
    items = [{**json.loads(made), "metadata": {"name": name}} for name in names]
    (cluster.home / "busy.json").write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    cluster.kubectl("apply", "-f", "busy.json")
    try:
        assert "run-controller" not in cluster.run("kaitoctl", "why", names[5]).stdout
        waits = {
            "type": "ResourceReady",
            "status": "False",
            "reason": "workspaceResourceStatusNotReady",
            "message": "no nodes",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
        patch = json.dumps({"status": {"conditions": [waits]}})
        for name in names[:5]:
            cluster.kubectl("patch", "workspace", name, "--subresource=status", "--type=merge", "-p", patch)
        # A Workspace is left alone for its first seconds: it is deleted, which counts at once.
        finalizer = json.dumps({"metadata": {"finalizers": ["workspace.finalizer.kaito.sh"]}})
        cluster.patch(finalizer, "workspace", names[5])
        cluster.kubectl("delete", "workspace", names[5], "--wait=false")
        busy = json.loads(cluster.kaitoctl("why", names[5], "-o", "json", code=1).stdout)["cause"]
        assert (busy["code"], busy["weight"]) == ("controller-busy", "wait")
        assert busy["command"].endswith("why busy-0 -n default")
    finally:
        cluster.kubectl(
            "patch", "workspace", names[5], "--type=merge", "-p", '{"metadata":{"finalizers":null}}'
        )
        cluster.kubectl("delete", "workspace", *names, "--ignore-not-found")


def test_diff_and_why_go_by_the_release_that_is_here(cluster: Shell) -> None:
    install(cluster, 0)
    here = {"KUBECONFIG": cluster.kubeconfig, "KAITOCTL_SANDBOX": ""}
    make = ("create", "workspace", "there", "--preset", "phi-4", "--api-version", "v1beta1")
    size = ("--instance-type", "Standard_NC24ads_A100_v4", "--dry-run=client", "-o", "json")
    (cluster.home / "there.json").write_text(cluster.kaitoctl(*make, *size).stdout)

    def kinds(*options: str) -> tuple[set[str], str]:
        ask = ("diff", "-f", "there.json", "-o", "json", *options)
        done = cluster.kaitoctl(*ask, code=1, **here)
        (found,) = json.loads(done.stdout)["workspaces"]
        return {item["kind"] for item in found["generated"]}, done.stderr

    made, said = kinds()
    assert made == {"ConfigMap", "Service", "Deployment"}
    assert said.count("judged for KAITO v0.4.6") == 1
    made, _ = kinds("--target-version", "v0.12")
    assert made == {"Service", "StatefulSet"}
    cluster.kubectl("apply", "-f", "there.json")
    try:
        done = cluster.run("kaitoctl", "why", "there", **here)
        assert done.stderr.count("judged for KAITO v0.4.6") == 1
    finally:
        cluster.kubectl("delete", "workspace", "there")


@pytest.mark.parametrize(
    ("release", "preset", "said"),
    [
        ("0.12.0", "phi-44", "KAITO v0.12 does not know 'phi-44'"),
        ("0.12.0", "phi-2", "KAITO v0.12 no longer serves 'phi-2'"),
        ("0.12.0", "phi-4", ""),
        ("0.4.0", "phi-44", "preset 'phi-44' is not in the catalog of KAITO v0.4"),
        ("0.4.0", "phi-4", "preset 'phi-4' is not in the catalog of KAITO v0.4"),
        ("0.4.0", "phi-2", ""),
    ],
)
def test_create_is_judged_by_the_release_that_is_here(
    cluster: Shell, release: str, preset: str, said: str
) -> None:
    install(cluster, 0, f"mcr.microsoft.com/aks/kaito/workspace:{release}")
    here = {"KUBECONFIG": cluster.kubeconfig, "KAITOCTL_SANDBOX": ""}
    make = ("create", "workspace", "there", "--preset", preset, "--dry-run=server", "--yes")
    size = ("--instance-type", "Standard_NC24ads_A100_v4")
    done = cluster.kaitoctl(*make, *size, code=2 if said else 0, **here)
    assert f"judged for KAITO v{release}" in done.stderr
    assert not said or f"inference.preset.name: {said}" in done.stderr
    # Without a cluster what no release takes is said, and otherwise that there is none.
    done = cluster.kaitoctl(*make, *size, code=2, KUBECONFIG="/nowhere", KAITOCTL_SANDBOX="")
    nowhere = "no KAITO from v0.3 to v0.12 knows preset 'phi-44'" if preset == "phi-44" else "no kubeconfig"
    assert nowhere in done.stderr


def test_each_command_ends_right_on_what_kaito_v0_12_writes(cluster: Shell, wait_until: Wait) -> None:
    env = {**cluster.env, "KUBECONFIG": cluster.kubeconfig, "KAITOCTL_SANDBOX": ""}
    here = {"KUBECONFIG": cluster.kubeconfig, "KAITOCTL_SANDBOX": ""}
    make = ("create", "workspace", "big", "--preset", "llama-3.3-70b-instruct", "--api-version", "v1beta1")
    size = ("--instance-type", "Standard_NC24ads_A100_v4", "--timeout", "90s", "--yes")

    def writes(**how: Any) -> None:
        patch = json.dumps({"status": status(**how)})
        cluster.kubectl("patch", "workspace", "big", "--subresource=status", "--type=merge", "-p", patch)

    def shown() -> Any:
        return json.loads(cluster.run("kaitoctl", "status", "big", "-o", "json", **here).stdout)

    process = subprocess.Popen(
        [str(BIN / "kaitoctl"), *make, *size],
        env=env,
        cwd=cluster.home,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_until(
            lambda: (
                process.poll() is not None
                or "workspace.kaito.sh/big" in cluster.kubectl("get", "workspaces", "-o", "name")
            )
        )
        assert process.poll() is None, process.communicate()
        writes(nodes=False, error=LOST_UPDATE)
        assert (shown()["outcome"], shown()["phase"]) == (None, "nodes")
        assert "on 3 x Standard_NC24ads_A100_v4" in shown()["title"]
        assert process.poll() is None, "a lost update ends nothing"
        writes(nodes=False, error=NO_SIZE)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 1, err
        assert "Unsupported SKU" in err
        assert shown()["outcome"] == "failed"
        cause = json.loads(cluster.run("kaitoctl", "why", "big", "-o", "json", **here).stdout)["cause"]
        assert (cause["code"], cause["weight"]) == ("reconcile-error", "fault")
        done = cluster.kaitoctl("rollout", "status", "big", code=1, **here)
        assert "Unsupported SKU" in done.stdout + done.stderr
    finally:
        process.kill()
        process.communicate()
        cluster.kubectl("delete", "workspace", "big", "--ignore-not-found", "--wait=false")


def test_an_adapter_that_comes_later_is_followed_to_its_end_beside_kaito_v0_12(
    cluster: Shell, wait_until: Wait
) -> None:
    """KAITO copies its files and leaves the command as it was: said before anything is written."""
    if "KAITOCTL_SANDBOX" not in cluster.cluster:
        pytest.skip("a node of the sandbox runs its pod")
    here: dict[str, Any] = {"KUBECONFIG": cluster.kubeconfig, "KAITOCTL_SANDBOX": ""}
    own = model(resource={"labelSelector": {"matchLabels": {"apps": "beside"}}})
    own["metadata"] = {"name": "big", "namespace": "default"}
    own["inference"] = {"preset": {"name": "phi-4-mini-instruct"}}

    def write(kind: str, **body: Any) -> None:
        (cluster.home / f"{kind}.json").write_text(json.dumps({"apiVersion": "v1", "kind": "List", **body}))
        cluster.kubectl("apply", "-f", str(cluster.home / f"{kind}.json"))

    def makes(generation: int, workspace: Any) -> None:
        """What KAITO makes: of a workload that exists it changes files and volumes alone."""
        made = objects_of({**workspace, "metadata": {**workspace["metadata"], "uid": uid}}, "byo")
        command = dig(made[-1], "spec", "template", "spec", "containers", 0)
        command["command"] = [word.replace(" --enable-lora", "") for word in command["command"]]
        write("made", items=made)
        patch = {"status": status(serves=True, measured="", target=1)}
        for item in patch["status"]["conditions"]:
            item["observedGeneration"] = generation
        ready = (
            "get",
            "statefulset",
            "big",
            "-o",
            "jsonpath={.status.readyReplicas}/{.status.updatedReplicas}",
        )
        wait_until(lambda: cluster.kubectl(*ready) == "1/1")
        cluster.kubectl(
            "patch", "workspace", "big", "--subresource=status", "--type=merge", "-p", json.dumps(patch)
        )

    try:
        cluster.kaitoctl(
            "sandbox",
            "node",
            "add",
            "beside",
            "--instance-type",
            "Standard_NC24ads_A100_v4",
            "--label",
            "apps=beside",
        )
        write("asked", items=[own])
        uid = cluster.get("workspace", "big")["metadata"]["uid"]
        makes(1, own)
        assert json.loads(cluster.kaitoctl("why", "big", "-o", "json", **here).stdout)["cause"] is None
        # Whoever writes it is told, not add-adapter alone: a serving model restarts into what cannot load it.
        adapter = {"source": {"name": "style", "image": "registry.example/style:1"}}
        changed = {**own, "inference": {**own["inference"], "adapters": [adapter]}}
        (cluster.home / "changed.json").write_text(json.dumps(changed))
        of_kaito = ("--target-version", "v0.12")
        create = ("create", "workspace", "big", "--preset", "phi-4-mini-instruct", "--label", "apps=beside")
        editor = {"EDITOR": "cp changed.json"}
        for words, code in (
            (("plan", "-f", "changed.json"), 1),
            (("apply", "-f", "changed.json"), 2),
            ((*create, "--adapter", "style=registry.example/style:1", "--node-provisioner", "byo"), 2),
            (("edit", "big"), 2),
        ):
            done = cluster.kaitoctl(*words, *of_kaito, code=code, **here, **editor)
            told = " ".join((done.stdout + done.stderr).split())
            assert "breaks: vLLM runs without --enable-lora" in told, words
        add = ("add-adapter", "big", "--name", "style", "--image", "registry.example/style:1", "--yes")
        said = ("--target-version", "v0.12", "--timeout", "60s")
        process = subprocess.Popen(
            [str(BIN / "kaitoctl"), *add, *said],
            env={**cluster.env, **here},
            cwd=cluster.home,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        wait_until(lambda: cluster.get("workspace", "big")["metadata"]["generation"] == 2)
        assert process.poll() is None, process.communicate()
        makes(2, cluster.get("workspace", "big"))
        _, err = process.communicate(timeout=90)
        assert process.returncode == 0, err
        assert "vLLM runs without --enable-lora" in err
        listed = json.loads(cluster.kaitoctl("list-adapters", "big", "-o", "json", **here).stdout)
        (row,) = listed
        assert (row["name"], row["loaded"]) == ("style", None), "a simulated pod loads nothing"
    finally:
        cluster.kubectl("delete", "workspace", "big", "--ignore-not-found")
        cluster.kubectl("delete", "statefulset,service", "-l", "kaito.sh/workspace=big")
