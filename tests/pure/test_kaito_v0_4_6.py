"""The generation of KAITO v0.4.6: what we make beside what it made, and when it is chosen."""

from __future__ import annotations

from typing import Any

import pytest

from kaitoctl.kaito import catalog, tuning, validation
from kaitoctl.kaito.desired import Settings, desired, image_generation_of, refusal, with_image_generation
from kaitoctl.kaito.validation import OWN, Setting
from kaitoctl.kube.objects import Object, dig

V046 = Settings(image_generation="v0.4.6")
A100, T4X4, V100 = "Standard_NC24ads_A100_v4", "Standard_NC64as_T4_v3", "Standard_NC6s_v3"
STYLE = {"source": {"name": "style", "image": "registry.example/style:1"}}


def workspace(
    name: str, machine: str = A100, runtime: str = "", secret: str = "", **inference: Any
) -> Object:
    options = {"presetOptions": {"modelAccessSecret": secret}} if secret else {}
    metadata: Object = {"name": "w", "namespace": "default"}
    if runtime:
        metadata["annotations"] = {"kaito.sh/runtime": runtime}
    return {
        "apiVersion": "kaito.sh/v1beta1",
        "kind": "Workspace",
        "metadata": metadata,
        "resource": {"count": 1, "instanceType": machine, "labelSelector": {"matchLabels": {"apps": "w"}}},
        "inference": {"preset": {"name": name, **options}, **inference},
    }


def made_of(ws: Object, gpus: int = 1) -> dict[str, Object]:
    assert not refusal(ws, V046)
    return {kind.kind: item for kind, item in desired(ws, gpus=gpus, settings=V046)}


def main_of(ws: Object, gpus: int = 1) -> Object:
    container: Object = made_of(ws, gpus)["Deployment"]["spec"]["template"]["spec"]["containers"][0]
    return container


@pytest.mark.parametrize("name", catalog.presets_of_v0_4_6())
def test_each_preset_is_made_with_a_configuration(name: str) -> None:
    made = made_of(workspace(name, secret="hf" if name.startswith("llama") else ""))
    assert list(made) == ["ConfigMap", "Service", "Deployment"]
    (main,) = made["Deployment"]["spec"]["template"]["spec"]["containers"]
    line = main["command"][2]
    assert line.startswith("python3 /workspace/vllm/inference_api.py ")
    assert "--kaito-config-file=/mnt/config/inference_config.yaml" in line
    assert f"--served-model-name={name}" in line
    assert main["image"].rpartition("/")[2] in (f"kaito-{name}:0.1.1", "kaito-base:0.0.2")
    ports = [(item["name"], item["port"]) for item in made["Service"]["spec"]["ports"]]
    assert ports == [("http", 80)]


@pytest.mark.parametrize(
    ("name", "machine", "gpus", "flags"),
    [
        ("falcon-7b", V100, 1, {"gpu-memory-utilization": "0.90"}),
        ("falcon-7b", T4X4, 4, {"gpu-memory-utilization": "0.90", "tensor-parallel-size": None}),
        ("phi-4", A100, 1, {"gpu-memory-utilization": "0.95", "tensor-parallel-size": "1"}),
        ("phi-4-mini-instruct", T4X4, 4, {"tensor-parallel-size": "4"}),
        ("phi-4", "Some_unknown_type", 1, {"gpu-memory-utilization": "0.90"}),
    ],
)
def test_the_flags_that_depend_on_the_nodes(
    name: str, machine: str, gpus: int, flags: dict[str, str | None]
) -> None:
    words = main_of(workspace(name, machine), gpus)["command"][2].split()
    found = dict(word[2:].partition("=")[::2] for word in words if word.startswith("--"))
    assert {key: found.get(key) for key in flags} == flags


def test_adapters_are_pulled_and_loaded() -> None:
    made = made_of(workspace("phi-4", adapters=[STYLE]))
    pod = made["Deployment"]["spec"]["template"]["spec"]
    assert [item["name"] for item in pod["initContainers"]] == ["puller-style"]
    assert pod["initContainers"][0]["image"] == "quay.io/skopeo/stable:v1.18.0-immutable"
    assert "--enable-lora" in pod["containers"][0]["command"][2]
    assert "env" not in pod["containers"][0]
    weighed = workspace("falcon-7b", runtime="transformers", adapters=[{**STYLE, "strength": "0.5"}])
    main = main_of(weighed)
    assert main["env"] == [{"name": "style", "value": "0.5"}]
    assert "/workspace/tfs/inference_api.py" in main["command"][2]
    assert "config-volume" in [item["name"] for item in main["volumeMounts"]]


def test_a_named_configuration_is_the_users_own() -> None:
    made = made_of(workspace("phi-4", config="mine"))
    assert "ConfigMap" not in made
    volumes = made["Deployment"]["spec"]["template"]["spec"]["volumes"]
    assert {"name": "config-volume", "configMap": {"name": "mine"}} in volumes


def test_a_downloaded_model_gets_its_token() -> None:
    assert "modelAccessSecret" in refusal(workspace("llama-3.1-8b-instruct"), V046)
    main = main_of(workspace("llama-3.1-8b-instruct", secret="hf"))
    assert main["env"][0]["valueFrom"]["secretKeyRef"] == {"name": "hf", "key": "HF_TOKEN"}
    assert "--model=meta-llama/Llama-3.1-8B-Instruct" in main["command"][2]
    assert "--code-revision=0e9e39f249a16976918f6564b8830bc894c89659" in main["command"][2]


@pytest.mark.parametrize(
    ("ws", "words"),
    [
        (workspace("falcon-7b", adapters=[STYLE]), "does not load adapters for falcon-7b"),
        (workspace("phi-4", adapters=[{**STYLE, "strength": "0.5"}]), "no strength of adapters"),
        (
            workspace("phi-4", adapters=[{"source": {"name": "x", "volumeSource": {"emptyDir": {}}}}]),
            "from images only",
        ),
        (workspace("deepseek-v3-0324"), "is served by generation v0.12, not by v0.4.6"),
    ],
)
def test_what_it_cannot_do_is_refused(ws: Object, words: str) -> None:
    assert words in refusal(ws, V046)


def test_validation_for_our_controller_goes_by_the_pinned_generation() -> None:
    def found(ws: Object) -> list[str]:
        return [item.code for item in validation.judge(ws, Setting(OWN, image_generation="v0.4.6"))]

    assert found(workspace("phi-4", adapters=[STYLE])) == []
    assert found(workspace("phi-4", config="mine")) == []
    assert "KW161" in found(workspace("phi-4", adapters=[{**STYLE, "strength": "1"}]))
    private = workspace("phi-4")
    private["inference"]["preset"] |= {"accessMode": "private", "presetOptions": {"image": "r.example/x:1"}}
    assert "KW118" in found(private)


def test_it_is_chosen_where_it_is_pinned_or_runs() -> None:
    for name, chosen in (("falcon-7b", "v0.4"), ("phi-4", "v0.12"), ("mistral-7b", "v0.12")):
        ws = workspace(name)
        found = image_generation_of(ws, catalog.SHIPPED)
        assert found is not None
        assert found.name == chosen
        running = made_of(ws)["Deployment"]
        assert with_image_generation(ws, Settings(), running=running).image_generation == "v0.4.6"
        # from a registry of one's own, under another name
        main = running["spec"]["template"]["spec"]["containers"][0]
        main["image"] = "registry.example/mirror/model@sha256:" + "0" * 64
        assert with_image_generation(ws, Settings(), running=running).image_generation == "v0.4.6"


@pytest.mark.parametrize("generation", ["v0.3", "v0.4", "v0.12"])
def test_what_runs_in_another_generation_stays_in_it(generation: str) -> None:
    for name in ("falcon-7b", "phi-3.5-mini-instruct", "llama-3.1-8b-instruct"):
        pinned, ws = Settings(image_generation=generation), workspace(name, secret="hf", config="mine")
        if refusal(ws, pinned):
            continue
        *_, (_, running) = desired(ws, gpus=1, settings=pinned)
        assert with_image_generation(ws, Settings(), running=running).image_generation == generation, name


def test_tuning_is_made_of_its_own_images() -> None:
    for name in ("falcon-7b", "phi-4", "qwen2.5-coder-32b-instruct"):
        ws: Object = {"metadata": {"name": "t", "namespace": "default"}, "tuning": {"preset": {"name": name}}}
        row = tuning.row_of(ws, V046)
        assert row is not None
        assert row.disk == catalog.presets_of_v0_4_6()[name].disk
        assert tuning.image_of(ws, V046) == f"{V046.registry}/kaito-{name}:0.1.1"
    assert tuning.row_of({"tuning": {"preset": {"name": "llama-3.1-8b-instruct"}}}, V046) is None
    assert dig(tuning.starts_of("v0.4.6"), "main_file") == "/workspace/tfs/fine_tuning.py"
