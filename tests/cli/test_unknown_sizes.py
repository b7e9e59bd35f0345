"""A model of Hugging Face that no catalog has: no command says how many nodes it takes as if it knew."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from shell import Shell

A100 = "Standard_NC24ads_A100_v4"
V12 = ("--target-version", "v0.12")
MODEL = "owner/big-model"
FIGURES = f"models: [{{id: {MODEL}, weights_gib: 140, bytes_per_token: 327680, context_limit: 131072}}]"
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 8192,
    "num_hidden_layers": 80,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "max_position_embeddings": 131072,
}
INDEX = {"metadata": {"total_size": 140 * 2**30}, "weight_map": {}}
"""The same figures in the files of the model itself."""
NODES = 3
"""What those figures take."""


@pytest.fixture
def files(offline: Shell) -> Shell:
    (offline.home / "figures.yaml").write_text(FIGURES)
    (offline.home / "files").mkdir()
    (offline.home / "files" / "config.json").write_text(json.dumps(CONFIG))
    (offline.home / "files" / "model.safetensors.index.json").write_text(json.dumps(INDEX))
    resource = {"labelSelector": {"matchLabels": {"apps": "big"}}, "instanceType": A100}
    inference = {"preset": {"name": MODEL}}
    workspace = {
        "apiVersion": "kaito.sh/v1beta1",
        "kind": "Workspace",
        "metadata": {"name": "big", "namespace": "default"},
        "resource": resource,
        "inference": inference,
    }
    spec = {
        "replicas": 2,
        "labelSelector": resource["labelSelector"],
        "template": {"resource": {"instanceType": A100}, "inference": inference},
    }
    fleet = {
        "apiVersion": "kaito.sh/v1alpha1",
        "kind": "InferenceSet",
        "metadata": {"name": "fleet", "namespace": "default"},
        "spec": spec,
    }
    for name, made in (("big", workspace), ("fleet", fleet)):
        (offline.home / f"{name}.json").write_text(json.dumps(made))
    (offline.home / "prices.yaml").write_text(f"{{currency: USD, per_hour: {{{A100}: 3.0}}}}")
    return offline


@pytest.fixture
def knowing(files: Shell) -> Iterator[Shell]:
    """A sandbox whose controller has the figures; commands have them where they are told."""
    where: dict[str, Any] = {"KAITOCTL_SANDBOX_NAME": "sizes"}
    files.kaitoctl("sandbox", "up", "--speed", "1000", "--catalog", f"{MODEL}=files", **where)
    try:
        yield files
    finally:
        files.kaitoctl("sandbox", "down", "--delete", **where)


def asked(shell: Shell, *words: str, code: int = 0, **how: Any) -> tuple[str, str]:
    done = shell.kaitoctl(*words, code=code, KAITOCTL_SANDBOX_NAME="sizes", **how)
    return " ".join(done.stdout.split()), " ".join(done.stderr.split())


def test_the_nodes_of_a_model_of_unknown_size_are_at_least_so_many(knowing: Shell) -> None:
    here = ("--sandbox", *V12)
    settles = f"kaitoctl fit {MODEL} --catalog {MODEL}=FOLDER"
    for file, least in (("big", 1), ("fleet", 2)):
        plan = ("plan", "-f", f"{file}.json", *here, "--prices", "prices.yaml")
        text, _ = asked(knowing, *plan, code=1)
        assert f"nodes asked for: at least {least} {A100} node" in text and settles in text
        assert f"; nodes asked for: at least {least} {A100}" in text
        found = json.loads(asked(knowing, *plan, "-o", "json", code=1)[0])
        (change,) = found["changes"]
        assert (
            change["nodesAsked"] == least and change["nodesAtMost"] is None and settles in change["unsized"]
        )
        assert found["costPerHour"]["nodesAtMost"] is None
        sized = json.loads(asked(knowing, *plan, "-o", "json", "--catalog", "figures.yaml", code=1)[0])
        (change,) = sized["changes"]
        assert change["nodesAsked"] == change["nodesAtMost"] == least * NODES and change["unsized"] == ""
    create = ("--preset", MODEL, "--instance-type", A100, "--dry-run=server", *here)
    for made in (("workspace", "w"), ("inference-set", "w")):
        assert "nodes asked for: at least 1 " in asked(knowing, "create", *made, *create)[1]
        sized_words = asked(knowing, "create", *made, *create, "--catalog", "figures.yaml")[1]
        assert f"nodes asked for: {NODES} {A100} nodes" in sized_words


@pytest.mark.parametrize("target", ["v0.12", "v0.9.4"])
def test_nodes_that_are_there_are_not_called_enough_without_a_size(files: Shell, target: str) -> None:
    labels = {
        "node.kubernetes.io/instance-type": A100,
        "apps": "big",
        "kaito.sh/workspace": "big",
        "kaito.sh/workspacenamespace": "default",
        "accelerator": "nvidia",
    }
    status = {
        "capacity": {"nvidia.com/gpu": "1"},
        "allocatable": {"nvidia.com/gpu": "1"},
        "conditions": [{"type": "Ready", "status": "True"}],
    }
    there = [
        {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": f"n{i}", "labels": labels},
            "status": status,
        }
        for i in range(NODES)
    ]
    (files.home / "nodes.json").write_text(json.dumps({"kind": "List", "apiVersion": "v1", "items": there}))
    check = ("check-nodes", "-f", "big.json", "--nodes", "nodes.json", "--target-version", target)
    text, beside = asked(files, *check, code=1)
    assert f"preset {MODEL}, at least 1 x {A100}" in text and "1 of at least 1 required nodes usable." in text
    assert "Applying now" not in text
    assert f"KAITO asks Hugging Face for the size of {MODEL}" in beside
    assert f"kaitoctl fit {MODEL} --catalog {MODEL}=FOLDER" in beside
    if target == "v0.12":
        sized, _ = asked(files, *check, "--catalog", "figures.yaml")
        assert f"{NODES} of {NODES} required nodes usable" in sized


def test_a_model_that_the_controller_alone_knows_is_told_and_changed_by_what_it_counted(
    knowing: Shell,
) -> None:
    create = ("--preset", MODEL, "--instance-type", A100, "--catalog", "figures.yaml", "--sandbox")
    asked(knowing, "create", "workspace", "big", *create)
    text, _ = asked(knowing, "check-nodes", "big", "--sandbox")
    assert f"{NODES} of {NODES} required nodes usable" in text
    adapter = ("--name", "a", "--image", "registry.example/a:1", "--yes", "--sandbox")
    assert "copied and mounted: a" in asked(knowing, "add-adapter", "big", *adapter)[1]
    asked(knowing, "create", "inference-set", "fleet", *create)
    _, beside = asked(knowing, "scale", "fleet", "--replicas", "2", "--yes", "--sandbox")
    assert f"nodes asked for: at least 1 {A100} node; {MODEL} is not in the catalog" in beside


def test_a_model_that_the_controller_alone_knows_is_written_and_served(knowing: Shell) -> None:
    """Which catalog the controller has cannot be seen; KAITO, too, is left to say what it cannot serve."""
    here = ("--sandbox", "--yes", "--timeout", "90s")
    planned, _ = asked(knowing, "plan", "-f", "big.json", "--sandbox", code=1)
    settles = f"kaitoctl fit {MODEL} --catalog {MODEL}=FOLDER"
    assert f"nodes asked for: at least 1 {A100} node; {MODEL} is not in the catalog" in planned
    assert settles in planned and f"the size of {MODEL} is not known here" in planned
    assert f"ready: {NODES} of {NODES} pods" in asked(knowing, "apply", "-f", "big.json", *here)[1]
    assert "unchanged" in asked(knowing, "plan", "-f", "big.json", "--sandbox")[0]
    adapted = json.loads((knowing.home / "big.json").read_text())
    adapted["inference"]["adapters"] = [{"source": {"name": "a", "image": "registry.example/a:1"}}]
    (knowing.home / "adapted.json").write_text(json.dumps(adapted))
    text, _ = asked(knowing, "plan", "-f", "adapted.json", "--sandbox", code=1)
    assert f"{NODES} pods restart" in text and "strength" not in text and "nodes asked for: none" in text
    assert f"ready: {NODES} of {NODES} pods" in asked(knowing, "apply", "-f", "adapted.json", *here)[1]
    _, costs = asked(knowing, "restart", "big", "--dry-run=server", "--sandbox")
    assert f"{NODES} pods restart" in costs and "released" not in costs
    create = ("create", "workspace", "other", "--instance-type", A100, *here, "--preset")
    assert f"ready: {NODES} of {NODES} pods" in asked(knowing, *create, MODEL)[1]


def test_a_model_that_nobody_knows_ends_with_the_controllers_word(knowing: Shell) -> None:
    create = ("--instance-type", A100, "--sandbox", "--timeout", "90s", "--preset")
    _, said = asked(knowing, "create", "workspace", "nobody", *create, "owner/nobody", code=1)
    assert "the size of owner/nobody is not known here" in said
    assert 'refused: the size of "owner/nobody" is not known' in said
    mistyped = ("create", "workspace", "mistyped", *create, "microsft/phi-4", "--dry-run=server")
    assert "Did you mean microsoft/phi-4" in asked(knowing, *mistyped)[1]
    assert "is not known" in asked(knowing, "render", "-f", "big.json", code=2)[1]


def test_a_models_own_files_are_figures_wherever_figures_are(files: Shell) -> None:
    def made(*arguments: str) -> dict[str, Any]:
        row: dict[str, Any] = json.loads(files.kaitoctl(*arguments, "-o", "json").stdout)["models"][0]
        return row

    by_files = made("models", "describe", MODEL, "--catalog", f"{MODEL}=files")
    (files.home / "saved.json").write_text(json.dumps({"models": [by_files]}))
    assert made("models", "describe", MODEL, "--catalog", "saved.json") == by_files
    by_hand = made("models", "describe", MODEL, "--catalog", "figures.yaml")
    assert {key for key in by_files if by_files[key] != by_hand[key]} == {
        "architectures",
        "attention",
        "source",
        "tool_call_parser",
    }
    settings = ("--catalog", f"{MODEL}=files", "-o", "json")
    rendered = json.loads(files.kaitoctl("render", "-f", "big.json", *settings).stdout)["items"]
    (server,) = (item for item in rendered if item["kind"] == "StatefulSet")
    line = server["spec"]["template"]["spec"]["containers"][0]["command"][-1]
    assert server["spec"]["replicas"] == NODES and f"--pipeline-parallel-size={NODES}" in line
    assert "--dtype=bfloat16" in line and "--tool-call-parser=llama3_json" in line
    fits = json.loads(files.kaitoctl("fit", MODEL, *settings).stdout)["choices"]
    assert next(one["nodes"] for one in fits if one["instance_type"] == A100) == NODES
    (files.home / "files" / "model.safetensors.index.json").unlink()
    files.kaitoctl("fit", MODEL, *settings, code=2)
