"""Adapters through their life on the command line, on a sandbox and on a real control plane."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from adapting import SECRET, Served, image
from shell import Shell


def test_an_adapters_life(shell: Shell, falcon: Served) -> None:
    """Add two, change a strength, remove one, remove the other; the pod is made anew each time."""
    done = falcon.add("style", "--strength", "0.5")
    assert done.stdout.splitlines()[0] == "workspace.kaito.sh/falcon configured"
    assert "! 1 pod restarts: " in done.stderr and " without service" in done.stderr
    assert '+     strength: "0.5"' in done.stderr and "+   initContainers:" in done.stderr
    assert falcon.in_pod == falcon.said == {"style": "0.5"}

    falcon.add("tone")
    assert falcon.in_pod == falcon.said == {"style": "0.5", "tone": "1.0"}
    assert "unchanged" in falcon.add("tone").stdout

    falcon.adapter("set", "--name", "style", "--strength", "0.2")
    assert falcon.in_pod == falcon.said == {"style": "0.2", "tone": "1.0"}
    listed = shell.kaitoctl("list-adapters", "falcon", "-n", falcon.namespace)
    rows = [line.split() for line in listed.stdout.splitlines()[1:]]
    assert rows == [
        ["style", "0.2", "0.2", "unknown", image("style")],
        ["tone", "1.0", "1.0", "unknown", image("tone")],
    ]

    falcon.adapter("remove", "--name", "style")
    assert falcon.in_pod == falcon.said == {"tone": "1.0"}
    falcon.adapter("remove", "--name", "tone")
    assert falcon.in_pod == falcon.said == {}
    assert "adapters" not in shell.get("workspace", "falcon", "-n", falcon.namespace)["inference"]


def test_four_people_at_once_and_each_sees_all_adapters_in_the_pod(falcon: Served) -> None:
    names = ["a", "b", "c", "d"]
    with ThreadPoolExecutor(len(names)) as people:
        told = list(people.map(falcon.add, names))
    assert falcon.in_pod == falcon.said == dict.fromkeys(names, "1.0"), [done.stderr for done in told]


def test_a_workspace_that_is_going_away_is_left_alone(shell: Shell, namespace: str) -> None:
    falcon = Served(shell, namespace)
    falcon.create("--no-wait")
    patch = '{"metadata":{"finalizers":["example.org/hold"]}}'
    shell.patch(patch, "workspace", "falcon", "-n", namespace)
    shell.kubectl("delete", "workspace", "falcon", "-n", namespace, "--wait=false")
    assert "is being deleted" in falcon.add("style", code=2).stderr
    nothing = '{"metadata":{"finalizers":null}}'
    shell.patch(nothing, "workspace", "falcon", "-n", namespace)


# --- who owns what -----------------------------------------------------------------------------------------


def workspace_of(namespace: str, *adapters: str) -> Any:
    entries = [{"source": {"name": item, "image": image(item)}, "strength": "1.0"} for item in adapters]
    return {
        "apiVersion": "kaito.sh/v1alpha1",
        "kind": "Workspace",
        "metadata": {"name": "falcon", "namespace": namespace, "labels": {"team": "models"}},
        "resource": {
            "instanceType": "Standard_NC12s_v3",
            "labelSelector": {"matchLabels": {"apps": f"{namespace[:30].strip('-')}"}},
        },
        "inference": {"preset": {"name": "falcon-7b"}, **({"adapters": entries} if entries else {})},
    }


def test_a_workspace_of_kubectls_gets_an_adapter_and_keeps_every_field(shell: Shell, namespace: str) -> None:
    file = shell.home / "workspace.json"
    file.write_text(json.dumps(workspace_of(namespace)))
    shell.kubectl("apply", "-f", str(file), "--validate=false")
    falcon = Served(shell, namespace)
    falcon.add("style", "--no-wait")
    found = shell.get("workspace", "falcon", "-n", namespace)
    assert falcon.said == {"style": "1.0"}
    assert found["metadata"]["labels"] == {"team": "models"}
    assert found["resource"]["labelSelector"] == workspace_of(namespace)["resource"]["labelSelector"]
    shell.kubectl("apply", "-f", str(file), "--validate=false")  # as its pipeline does every hour
    assert falcon.said == {"style": "1.0"}


def test_adapters_that_somebody_else_owns_are_a_conflict_with_a_name_and_a_way(
    shell: Shell, namespace: str
) -> None:
    shell.apply(workspace_of(namespace, "theirs"))
    falcon = Served(shell, namespace)
    done = falcon.add("style", code=4)
    assert 'its adapters belong to "kubectl"; nothing was written' in done.stderr
    assert "--force-conflicts" in done.stderr and "-f FILE" in done.stderr
    assert falcon.said == {"theirs": "1.0"}
    falcon.add("style", "--force-conflicts", "--no-wait")
    assert falcon.said == {"theirs": "1.0", "style": "1.0"}


def test_a_workspace_of_v1beta1_stays_one_and_takes_what_v012_takes(shell: Shell, namespace: str) -> None:
    """Written as v1alpha1 it would get an instance type that nobody asked for."""
    labels = {"matchLabels": {"apps": "own"}}
    made = {
        **workspace_of(namespace),
        "apiVersion": "kaito.sh/v1beta1",
        "resource": {"labelSelector": labels},
        "inference": {"preset": {"name": "phi-4"}},
    }
    shell.apply(made)
    falcon, v012 = Served(shell, namespace), ("--target-version", "v0.12", "--no-wait")
    falcon.add("style", *v012)
    tone = ("--name", "tone", "--volume-claim", "weights")
    refused = falcon.adapter("add", *tone, *v012, code=2)
    said = f"there is no PersistentVolumeClaim weights in namespace {namespace}; no node takes the pods"
    assert said in " ".join(refused.stderr.split()), "the pod that serves would be gone for it"
    asked = {"accessModes": ["ReadOnlyMany"], "resources": {"requests": {"storage": "1Gi"}}}
    head = {"name": "weights", "namespace": namespace}
    shell.apply({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": head, "spec": asked})
    falcon.adapter("add", *tone, *v012)
    refused = falcon.add("loud", "--strength", "0.5", *v012, code=2)
    assert "vLLM has no strength of adapters" in refused.stderr
    workspaces = ("workspaces.v1beta1.kaito.sh", "falcon", "-n", namespace)
    found = shell.get(*workspaces)
    entries = shell.get(*workspaces, "--show-managed-fields")["metadata"]["managedFields"]
    ours = next(entry for entry in entries if entry["manager"] == "kaitoctl")
    assert ours["apiVersion"] == "kaito.sh/v1beta1"
    assert ours["fieldsV1"] == {"f:inference": {"f:adapters": {}}}
    claim = {"persistentVolumeClaim": {"claimName": "weights"}}
    assert found["inference"]["adapters"] == [
        {"source": {"name": "style", "image": image("style")}},
        {"source": {"name": "tone", "volumeSource": claim}},
    ]


def test_our_own_controllers_vllm_gets_no_strength_that_nobody_gave(shell: Shell, namespace: str) -> None:
    resource = {
        "instanceType": "Standard_NC24ads_A100_v4",
        "labelSelector": {"matchLabels": {"apps": "own"}},
    }
    preset = {"preset": {"name": "phi-4"}}
    shell.apply({**workspace_of(namespace), "resource": resource, "inference": preset})
    falcon = Served(shell, namespace)
    falcon.add("style", "--no-wait")
    refused = falcon.add("loud", "--strength", "0.5", "--no-wait", code=2)
    assert "vLLM has no strength of adapters" in refused.stderr
    entries = shell.get("workspace", "falcon", "-n", namespace)["inference"]["adapters"]
    assert entries == [{"source": {"name": "style", "image": image("style")}}]


# --- from tuning -------------------------------------------------------------------------------------------


def test_the_adapter_that_tuning_made_is_attached_once_it_has_succeeded(shell: Shell, namespace: str) -> None:
    falcon = Served(shell, namespace)
    falcon.create("--no-wait")
    shell.apply({**SECRET, "metadata": {"name": "push", "namespace": namespace}})
    urls, broken = "input_urls=https://data.example/a.json", "input_image=registry.example/does-not-exist:1"
    tune = (
        *("--template", "tuning", "--preset", "falcon-7b", "--instance-type", "Standard_NC24ads_A100_v4"),
        *("--set", "output_image=registry.example/tuned:1", "--set", "output_secret=push"),
        *("-n", namespace, "--label", "apps=tune", "--timeout", "90s", "--yes"),
    )
    shell.kaitoctl("create", "workspace", "stuck", *tune, "--set", broken, "--no-wait")
    done = falcon.adapter("add", "--from-tuning", "stuck", code=2)
    assert "tuning stuck has not succeeded: " in done.stderr

    shell.kaitoctl("create", "workspace", "tuned", *tune, "--set", urls)
    falcon.adapter("add", "--from-tuning", "tuned", "--strength", "0.7")
    (found,) = shell.get("workspace", "falcon", "-n", namespace)["inference"]["adapters"]
    source = {"name": "tuned", "image": "registry.example/tuned:1", "imagePullSecrets": ["push"]}
    assert found == {"source": source, "strength": "0.7"}
    assert falcon.in_pod == {"tuned": "0.7"}
    pod = shell.get("deployment", "falcon", "-n", namespace)["spec"]["template"]["spec"]
    assert pod["imagePullSecrets"] == [{"name": "push"}]

    refused = falcon.adapter("add", "--from-tuning", "falcon", "--name", "x", code=2)
    assert "does not tune anything" in refused.stderr
