"""All models of KAITO v0.12 in one sandbox, at once: each becomes ready, on as many nodes as it takes."""

from __future__ import annotations

import json

from shell import Shell

from kaitoctl.kaito import catalog, estimate

MACHINE = "Standard_ND96isr_H200_v5"
NAMESPACE = "all-models"
MODELS = {f"model-{number}": model for number, model in enumerate(catalog.models().values())}


def test_all_models_reach_ready_at_once(sandbox_shell: Shell) -> None:
    shell, where = sandbox_shell, ("-n", NAMESPACE)
    folder = shell.home / NAMESPACE
    folder.mkdir()
    for name, model in MODELS.items():
        labels = {"matchLabels": {"apps": name}}
        made = {
            "apiVersion": "kaito.sh/v1beta1",
            "kind": "Workspace",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "resource": {"instanceType": MACHINE, "labelSelector": labels},
            "inference": {"preset": {"name": model.preset_name}},
        }
        (folder / f"{name}.json").write_text(json.dumps(made))
    shell.kubectl("create", "namespace", NAMESPACE)
    try:
        shell.kaitoctl("apply", "-f", str(folder), "--yes", "--timeout", "10m")
        listed = json.loads(shell.kaitoctl("status", *where, "-o", "json").stdout)["workspaces"]
        assert {one["name"]: one["state"] for one in listed} == dict.fromkeys(MODELS, "ready")
        assert len(listed) == 60
        machine = catalog.instance_types()[MACHINE]
        shape = estimate.Shape(machine.gpus, machine.gpu_memory_per_gpu_gib)
        wanted = {name: estimate.estimated_nodes(model, shape) for name, model in MODELS.items()}
        found = shell.get("workspaces.v1beta1.kaito.sh", *where)["items"]
        taken = {one["metadata"]["name"]: one["status"]["targetNodeCount"] for one in found}
        assert taken == wanted
        for server in shell.get("statefulsets", *where)["items"]:
            name = server["metadata"]["name"]
            assert server["status"]["readyReplicas"] == wanted[name], name
            (container,) = server["spec"]["template"]["spec"]["containers"]
            assert f"--model={MODELS[name].id.lower()} " in container["command"][2] + " ", name
    finally:
        shell.end_namespace(NAMESPACE)
