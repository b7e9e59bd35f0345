from __future__ import annotations

import dataclasses

import pytest

from kaitoctl.kaito import catalog
from kaitoctl.kube.objects import quantity


def test_a_public_preset_names_its_image_by_generation_and_registry() -> None:
    falcon = catalog.presets()["falcon-7b"]
    assert falcon.image() == "mcr.microsoft.com/aks/kaito/kaito-falcon-7b:0.0.7"
    assert falcon.image("v0.3", "registry.local:5000/k/") == "registry.local:5000/k/kaito-falcon-7b:0.0.6"


def test_what_is_not_published_has_no_image() -> None:
    assert catalog.presets()["llama-2-7b"].image() is None
    assert catalog.presets()["phi-3.5-mini-instruct"].image("v0.3") is None
    assert catalog.presets()["phi-3.5-mini-instruct"].image("v0.4") is not None


def test_all_presets_of_both_generations_are_there() -> None:
    everything = catalog.presets()
    assert len(everything) == 18
    assert sum("v0.3" in preset.images for preset in everything.values()) == 17
    assert all(catalog.DEFAULT_GENERATION in preset.images for preset in everything.values())
    assert [name for name, preset in everything.items() if preset.distributed] == [
        "llama-2-13b",
        "llama-2-70b",
        "llama-2-13b-chat",
        "llama-2-70b-chat",
    ]


@pytest.mark.parametrize("preset", catalog.presets().values(), ids=catalog.presets().keys())
def test_the_figures_of_a_preset_make_sense(preset: catalog.Preset) -> None:
    assert quantity(preset.disk) >= 2**30, "a disk without a unit would be bytes"
    assert preset.gpu_count >= 1
    assert preset.total_gpu_memory_gib >= preset.per_gpu_memory_gib
    assert preset.readiness_timeout_s >= 60
    assert preset.source.startswith("KAITO v0.")
    assert not preset.distributed or preset.world_size == preset.gpu_count
    for name, image in preset.images.items():
        assert image.name == name
        assert (image.tag is None) == (preset.access_mode == "private")
        assert image.tensor_parallel <= (image.vllm is not None)
        assert image.transformers.main_file.endswith("inference_api.py")
        if image.vllm is not None:
            assert image.vllm.parameters["served-model-name"] == preset.name


def test_the_disk_of_falcon_40b_has_the_unit_that_kaito_forgot() -> None:
    assert catalog.presets()["falcon-40b"].disk == "400Gi"
    assert "400" in catalog.presets()["falcon-40b"].note


def test_the_two_generations_answer_probes_on_different_paths() -> None:
    images = catalog.presets()["phi-2"].images
    assert (images["v0.3"].probe_path, images["v0.4"].probe_path) == ("/healthz", "/health")


@pytest.mark.parametrize("machine", catalog.instance_types().values(), ids=catalog.instance_types().keys())
def test_the_figures_of_an_instance_type_make_sense(machine: catalog.InstanceType) -> None:
    assert machine.cloud in ("azure", "aws", "arc")
    assert machine.gpu_memory_gib == machine.gpus * machine.gpu_memory_per_gpu_gib
    assert machine.versions and set(machine.versions) <= {"v0.3.2", "v0.4.0", "v0.12"}
    assert (machine.gpu_resource == "nvidia.com/gpu") == machine.gpu_model.startswith("NVIDIA ")
    assert machine.source.startswith("KAITO v0.")
    assert machine.exists or machine.note
    assert machine.arch == "amd64" or machine.note
    assert (machine.nvme is not None) == ("v0.12" in machine.versions)
    assert (float(machine.cuda_capability or 0) >= 8) == (machine.gpu_resource == "nvidia.com/gpu") or (
        "v0.12" not in machine.versions
    )


def test_the_union_of_all_tables_is_there() -> None:
    machines = catalog.instance_types()
    assert len(machines) == 106 + 8
    known_to = [machine.versions for machine in machines.values()]
    # 38 of the webhook and 4 more of the handler for Azure, 57 for AWS; v0.12 counts 14, 35 and 8 of Arc.
    assert sum("v0.3.2" in versions for versions in known_to) == 38 + 4 + 57
    assert sum("v0.12" in versions for versions in known_to) == 14 + 35 + 8


def test_slips_of_the_sources_are_corrected_or_marked() -> None:
    machines = catalog.instance_types()
    assert machines["Standard_ND96amsr_A100_v4"].gpu_memory_per_gpu_gib == 80
    assert machines["Standard_ND96asr_v4"].exists and not machines["Standard_ND96asr_A100_v4"].exists
    assert not machines["g3s.4xlarge"].exists and machines["g3s.xlarge"].exists
    assert machines["g4ad.xlarge"].gpu_resource == "amd.com/gpu"
    assert machines["trn1.2xlarge"].gpu_resource == ""
    assert machines["g5g.xlarge"].arch == "arm64"


def test_names_are_looked_up_with_case() -> None:
    assert catalog.SHIPPED.preset("phi-2") is not None
    assert catalog.SHIPPED.preset("Phi-2") is None
    assert catalog.SHIPPED.instance_type("Standard_NC12s_v3") is not None
    assert catalog.SHIPPED.instance_type("standard_nc12s_v3") is None


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("PHI-2", "phi-2"),
        ("falcon7b", "falcon-7b"),
        ("mistral-7b-instuct", "mistral-7b-instruct"),
        ("phi-3-mini", "phi-3-mini-4k-instruct"),
        ("llama2-7b", "llama-2-7b"),
    ],
)
def test_a_slip_finds_the_name_that_was_meant_first(typed: str, meant: str) -> None:
    matches = catalog.close_matches(typed, catalog.presets())
    assert matches[0] == meant
    assert len(matches) <= 3


def test_nothing_is_suggested_for_something_else() -> None:
    assert catalog.close_matches("stable-diffusion", catalog.presets()) == []
    assert catalog.close_matches("", catalog.presets()) == []
    assert catalog.close_matches("x" * 1_000_000, catalog.instance_types()) == []


# --- the models of v0.12 -------------------------------------------------------------------------------


def test_all_models_and_aliases_of_v0_12_are_there() -> None:
    models = catalog.models()
    assert len(models) == 60
    assert sum(len(model.aliases) for model in models.values()) == 25
    assert sum(model.transformers is not None for model in models.values()) == 20
    assert sum(model.tuning for model in models.values()) == 10
    assert [model.name for model in models.values() if model.gated] == [
        "llama-3.1-8b-instruct",
        "llama-3.3-70b-instruct",
    ]


@pytest.mark.parametrize("model", catalog.models().values(), ids=catalog.models().keys())
def test_the_figures_of_a_model_follow_kaitos_own_formulas(model: catalog.Model) -> None:
    assert model.id.rpartition("/")[2].lower() == model.name
    assert model.disk == f"{int(model.weights_gib + 80)}Gi"
    seconds = 15 * 60 + 18 * int(model.weights_gib)
    assert abs(model.readiness_timeout_s - min(max(seconds, 1800), 10800)) <= 18
    assert model.vllm["dtype"] == ("auto" if model.quantization else "bfloat16")
    assert model.bytes_per_token > 0 and model.context_limit >= 4096
    assert model.attention in ("MHA", "MQA", "GQA", "MLA")
    assert model.source.startswith("KAITO v0.12")


@pytest.mark.parametrize(
    ("name", "id"),
    [
        ("phi-4", "microsoft/phi-4"),
        ("PHI-4", "microsoft/phi-4"),
        ("Microsoft/Phi-4", "microsoft/phi-4"),
        ("gemma-3-4b-instruct", "google/gemma-3-4b-it"),
        ("mistral-7b", "mistralai/Mistral-7B-v0.3"),
        ("moonshotai/kimi-k2.5", "moonshotai/Kimi-K2.5"),
    ],
)
def test_a_model_is_found_by_id_or_alias_in_any_case(name: str, id: str) -> None:  # noqa: A002
    found = catalog.SHIPPED.model(name)
    assert found is not None and found.id == id


@pytest.mark.parametrize("name", ["kimi-k2.5", "falcon-7b", "phi-2", "", "microsoft/"])
def test_the_last_part_of_an_id_alone_is_no_name(name: str) -> None:
    assert catalog.SHIPPED.model(name) is None


def test_a_workspace_writes_the_alias_or_else_the_id() -> None:
    for model in catalog.models().values():
        assert catalog.SHIPPED.model(model.preset_name) is model


def test_the_catalog_cannot_be_changed() -> None:
    falcon = catalog.presets()["falcon-7b"]
    for change in (
        lambda: catalog.presets().update(),  # type: ignore[attr-defined]
        lambda: falcon.images["v0.4"].transformers.launcher.update(),  # type: ignore[attr-defined]
        lambda: setattr(falcon, "disk", "1Gi"),
    ):
        with pytest.raises((AttributeError, dataclasses.FrozenInstanceError)):
            change()
