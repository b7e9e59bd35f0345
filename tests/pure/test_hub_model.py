"""What is made of a model's own `config.json` is what KAITO v0.12 has in its table for the same model."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kaitoctl.advice import text as words_of
from kaitoctl.errors import InputError
from kaitoctl.kaito import catalog, catalog_file, hub_files, hub_model
from kaitoctl.kaito.catalog import Model
from kaitoctl.kaito.hub_weights import weights_gib


def llama(**changes: Any) -> dict[str, Any]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": 4096,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "intermediate_size": 14336,
        "max_position_embeddings": 131072,
        "vocab_size": 128256,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        **changes,
    }


QWEN2 = llama(architectures=["Qwen2ForCausalLM"], model_type="qwen2", vocab_size=152064)
QWEN3 = llama(architectures=["Qwen3ForCausalLM"], model_type="qwen3", vocab_size=151936, head_dim=128)
PHI = llama(architectures=["Phi3ForCausalLM"], model_type="phi3")
DEEPSEEK = llama(
    architectures=["DeepseekV3ForCausalLM"],
    model_type="deepseek_v3",
    hidden_size=7168,
    num_hidden_layers=61,
    num_attention_heads=128,
    num_key_value_heads=128,
    intermediate_size=18432,
    moe_intermediate_size=2048,
    n_routed_experts=256,
    n_shared_experts=1,
    first_k_dense_replace=3,
    q_lora_rank=1536,
    kv_lora_rank=512,
    qk_rope_head_dim=64,
    qk_nope_head_dim=128,
    v_head_dim=128,
    vocab_size=129280,
    max_position_embeddings=163840,
    num_nextn_predict_layers=1,
    quantization_config={"quant_method": "fp8"},
)
CONFIGS: dict[str, dict[str, Any]] = {
    "meta-llama/Llama-3.1-8B-Instruct": llama(),
    "meta-llama/Llama-3.3-70B-Instruct": llama(
        hidden_size=8192, num_hidden_layers=80, num_attention_heads=64, intermediate_size=28672
    ),
    "Qwen/Qwen2.5-Coder-32B-Instruct": {
        **QWEN2,
        "hidden_size": 5120,
        "num_hidden_layers": 64,
        "num_attention_heads": 40,
        "intermediate_size": 27648,
        "max_position_embeddings": 32768,
    },
    "Qwen/Qwen2.5-Coder-7B-Instruct": {
        **QWEN2,
        "hidden_size": 3584,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "intermediate_size": 18944,
        "max_position_embeddings": 32768,
    },
    "microsoft/phi-4": {
        **PHI,
        "hidden_size": 5120,
        "num_hidden_layers": 40,
        "num_attention_heads": 40,
        "num_key_value_heads": 10,
        "intermediate_size": 17920,
        "vocab_size": 100352,
        "max_position_embeddings": 16384,
    },
    "microsoft/Phi-4-mini-instruct": {
        **PHI,
        "hidden_size": 3072,
        "num_attention_heads": 24,
        "intermediate_size": 8192,
        "vocab_size": 200064,
        "tie_word_embeddings": True,
    },
    "Qwen/Qwen3-8B-AWQ": {
        **QWEN3,
        "num_hidden_layers": 36,
        "intermediate_size": 12288,
        "max_position_embeddings": 40960,
        "torch_dtype": "float16",
        "quantization_config": {"quant_method": "awq", "bits": 4, "group_size": 128},
    },
    "deepseek-ai/DeepSeek-V3-0324": DEEPSEEK,
    "mistralai/Mistral-7B-v0.3": llama(
        architectures=["MistralForCausalLM"],
        model_type="mistral",
        vocab_size=32768,
        max_position_embeddings=32768,
    ),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_configuration_gives_the_figures_of_kaitos_table(name: str) -> None:
    known, made = catalog.SHIPPED.model(name), hub_model.figures(CONFIGS[name])
    assert known is not None
    assert made == {
        "architectures": list(known.architectures),
        "context_limit": known.context_limit,
        "bytes_per_token": known.bytes_per_token,
        "attention": known.attention,
        "quantization": known.quantization,
    }
    about = weights_gib(CONFIGS[name])
    assert about == pytest.approx(known.weights_gib, rel=0.01)


@pytest.mark.parametrize("known", catalog.models().values(), ids=lambda model: model.id)
def test_the_rest_follows_from_the_name_the_architecture_and_the_size(known: Model) -> None:
    plain = catalog_file.plain(known)
    row = {key: plain[key] for key in ("id", "weights_gib", "architectures", "quantization")}
    made = hub_model.settled(row, is_mistral=known.vllm["load_format"] == "mistral")
    assert made == {key: plain[key] for key in made}
    assert hub_model.unserved(known.architectures) == ""


@pytest.mark.parametrize(
    ("config", "attention", "bytes_per_token", "context"),
    [
        # As KAITO's own test has them (generator_test.go: falcon-7b-instruct).
        (
            {"model_type": "falcon", "hidden_size": 4544, "num_hidden_layers": 32, "num_attention_heads": 71}
            | {"multi_query": True},
            "MQA",
            8192,
            2048,
        ),
        # Of a model that sees, what its language model says; of its own what it says itself.
        (
            {"model_type": "gemma3", "max_position_embeddings": 8192, "text_config": {"hidden_size": 2560}}
            | {"num_hidden_layers": 34, "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256},
            "GQA",
            139264,
            8192,
        ),
        (
            {"model_type": "gpt2", "n_embd": 768, "n_layer": 12, "n_head": 12, "n_ctx": 1024},
            "MHA",
            36864,
            1024,
        ),
        ({"dim": 4096, "n_layers": 32, "n_heads": 32, "n_kv_heads": 8}, "GQA", 131072, 2048),
        (
            {"model_type": "nemotron_h", "hidden_size": 4096, "layers_block_type": ["mamba"] * 52}
            | {"num_attention_heads": 32},
            "MHA",
            0,
            2048,
        ),
    ],
)
def test_fields_go_by_all_the_names_that_kaito_reads(
    config: dict[str, Any], attention: str, bytes_per_token: int, context: int
) -> None:
    made = hub_model.figures(config)
    assert (made["attention"], made["bytes_per_token"], made["context_limit"]) == (
        attention,
        bytes_per_token,
        context,
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"model_type": "nemotron_h"},
        {"vocab_size": None},
        {"torch_dtype": "float8"},
        {"quantization_config": {"quant_method": "bitsandbytes"}},
        {"intermediate_size": "large"},
    ],
)
def test_weights_are_reckoned_only_of_what_is_known(changes: dict[str, Any]) -> None:
    assert weights_gib(llama(**changes)) is None


# --- files -------------------------------------------------------------------------------------------------

ID = "acme/House-8B"
SHARDS = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "house"
    made.mkdir()
    (made / "config.json").write_text(json.dumps(llama()))
    return made


def write_index(folder: Path, *, layers: int = 32, size: Any = 16 * 2**30) -> None:
    tensors = {f"model.layers.{number}.mlp.up_proj.weight": SHARDS[number % 2] for number in range(layers)}
    made = {"metadata": {"total_size": size}, "weight_map": tensors}
    (folder / "model.safetensors.index.json").write_text(json.dumps(made))


def pointer(size: int) -> str:
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize {size}\n"


def model(path: Path, name: str = ID) -> Model:
    found = catalog_file.read(f"{name}={path}").model(name)
    assert found is not None
    return found


def refusal(value: str) -> str:
    with pytest.raises(InputError) as caught:
        catalog_file.read(value)
    return f"{caught.value.message}; {words_of(caught.value.hint)}"


def test_a_configuration_alone_is_reckoned_and_says_so(folder: Path) -> None:
    for path in (folder, folder / "config.json"):
        found = model(path)
        assert (found.id, found.name, found.weights_gib, found.bytes_per_token) == (
            ID,
            "house-8b",
            14.96,
            131072,
        )
        assert "reckoned" in found.note and found.source.endswith("config.json")
        assert found.tool_call_parser == "llama3_json" and found.vllm["dtype"] == "bfloat16"


def test_the_index_beside_a_configuration_has_the_weights(folder: Path) -> None:
    write_index(folder)
    for path in (folder, folder / "config.json", folder / "model.safetensors.index.json"):
        found = model(path)
        assert (found.weights_gib, found.note, found.disk) == (16.0, "", "96Gi")


def test_a_clone_without_its_large_files_has_their_sizes(folder: Path) -> None:
    for name in SHARDS:
        (folder / name).write_text(pointer(5 * 2**30))
    assert model(folder).weights_gib == 10.0
    write_index(folder, size=int(9.8 * 2**30))
    assert model(folder).weights_gib == 10.0, "the files are there; KAITO adds up files"
    write_index(folder)
    for path in (folder, folder / "config.json"):
        said = refusal(f"{ID}={path}")
        assert (
            f"{folder}: the files of weights have 10,737,418,240 bytes" in said and "17,179,869,184" in said
        )
    (folder / SHARDS[0]).unlink()
    assert model(folder).weights_gib == 16.0, "of half a download the index knows the whole"


def test_all_files_of_weights_count_as_kaito_counts_them(folder: Path) -> None:
    (folder / "original").mkdir()
    for name in (
        "model.safetensors",
        "original/model.safetensors",
        "pytorch_model.bin",
        ".cache.safetensors",
    ):
        (folder / name).write_text(pointer(2**30))
    assert model(folder).weights_gib == 3.0
    (folder / "consolidated.safetensors").write_text(pointer(7 * 2**30))
    found = model(folder)
    assert found.weights_gib == 7.0
    assert {found.vllm[flag] for flag in ("load_format", "config_format", "tokenizer_mode")} == {"mistral"}


def test_the_cache_of_the_hub_says_which_model_it_is(folder: Path, tmp_path: Path) -> None:
    snapshot = tmp_path / "models--acme--House-8B" / "snapshots" / "0123abc"
    snapshot.parent.mkdir(parents=True)
    folder.rename(snapshot)
    for path in (snapshot.parent.parent, snapshot, snapshot / "config.json"):
        assert catalog_file.read(str(path)).model(ID) is not None
    assert "is acme/House-8B's, not acme/other's" in refusal(f"acme/other={snapshot}")


def test_a_model_of_kaitos_own_table_goes_by_it(folder: Path) -> None:
    name = "meta-llama/llama-3.1-8b-instruct"
    assert model(folder, name) == catalog.SHIPPED.model(name)
    assert "is of another model: LlamaForCausalLM" in refusal(f"microsoft/phi-4={folder}")
    assert "is of another model: 131,072 bytes" in refusal(f"meta-llama/Llama-3.3-70B-Instruct={folder}")
    write_index(folder, size=2**30)
    assert "is of another model: 1.00 GiB" in refusal(f"{name}={folder}")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "config.json: is empty"),
        ("hidden_size: 1\nmodel_type: llama\n", "config.json: is not JSON (line 1, column 1)"),
        ("[]", "config.json: is not an object"),
        ("<!doctype html>", "config.json: is a web page"),
        (pointer(99), "config.json: is a git-lfs pointer"),
        ("[" * 100_000, "config.json: is n"),
        ('{"hidden_size": 1', "config.json: is not JSON"),
        ('{"r": 8, "lora_alpha": 16}', "neither architectures nor model_type"),
        ('{"models": []}', "neither architectures nor model_type"),
        (json.dumps(llama(num_hidden_layers=None)), "num_hidden_layers: is missing"),
        (json.dumps(llama(hidden_size=None)), "hidden_size: is missing"),
        (json.dumps(llama(hidden_size=-4096)), "hidden_size: -4096 is not between"),
        (json.dumps(llama(num_hidden_layers=10**30)), "num_hidden_layers: 1000"),
        (json.dumps(llama(max_position_embeddings=0)), "max_position_embeddings: 0 is not between"),
        (json.dumps(llama(num_attention_heads=float("inf"))), "num_attention_heads: inf is not between"),
        (json.dumps(llama(architectures="LlamaForCausalLM")), "architectures: is not a list"),
        (
            json.dumps(llama(architectures=["T5ForConditionalGeneration"])),
            "refuses T5ForConditionalGeneration",
        ),
        (json.dumps(llama(model_type="new")), "does not tell what its weights weigh"),
    ],
)
def test_a_configuration_that_is_none_is_refused_by_its_path(folder: Path, text: str, words: str) -> None:
    (folder / "config.json").write_text(text)
    said = refusal(f"{ID}={folder}")
    assert words in said and str(folder) in said and not said.endswith("; ")


def test_what_contradicts_the_configuration_is_refused(folder: Path) -> None:
    write_index(folder, layers=40)
    assert "another model than config.json: it has 40 layers, and 32 are said there" in refusal(
        f"{ID}={folder}"
    )
    for size in (None, "16", 0, -1, 10**18, True):
        write_index(folder, size=size)
        assert "metadata.total_size" in refusal(f"{ID}={folder}")
    (folder / "model.safetensors.index.json").unlink()
    (folder / SHARDS[0]).write_text(pointer(2**30))
    assert "has 1 of 2 files of weights" in refusal(f"{ID}={folder}")


def safetensors(size: int, *, whole: int | None = None) -> bytes:
    """A file of so many bytes of tensors, whose header says `whole`."""
    row = {"dtype": "U8", "shape": [size], "data_offsets": [0, size if whole is None else whole]}
    header = json.dumps({"__metadata__": {"format": "pt"}, "weight": row}).encode()
    return len(header).to_bytes(8, "little") + header + bytes(size)


def tiny(**changes: Any) -> dict[str, Any]:
    """A model of 1 MiB or so, as tests of other projects have them."""
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "vocab_size": 4000}
    return llama(num_attention_heads=4, num_key_value_heads=4, **sizes, **changes)


HALF = "download the model's files again"


@pytest.mark.parametrize(
    ("name", "raw", "words"),
    [
        ("model.safetensors", b"", "model.safetensors: is empty"),
        ("model.safetensors", pointer(0).encode(), "model.safetensors: is empty"),
        ("model.safetensors", safetensors(5000, whole=16 * 10**9), "model.safetensors: has 5,1"),
        ("model.safetensors", safetensors(5000)[:40], "model.safetensors: is not a whole safetensors file"),
        ("model.safetensors", b"\xff" * 5000, "model.safetensors: is not a whole safetensors file"),
        ("model.safetensors", bytes(5000), "model.safetensors: is not a whole safetensors file"),
        ("adapter_model.safetensors", safetensors(5000), "by config.json the model has about 15 GiB"),
        ("pytorch_model.bin", b"", "pytorch_model.bin: is empty"),
        ("pytorch_model.bin", bytes(5000), "the files of weights have 5,000 bytes, and by config.json"),
    ],
)
def test_a_download_that_is_not_whole_is_refused(folder: Path, name: str, raw: bytes, words: str) -> None:
    (folder / name).write_bytes(raw)
    said = refusal(f"{ID}={folder}")
    assert words in said and str(folder) in said and HALF in said
    if name == "model.safetensors":
        assert words in refusal(f"{ID}={folder / 'config.json'}")
    (folder / "config.json").write_text(json.dumps(llama(model_type="new")))
    said = refusal(f"{ID}={folder}")
    assert HALF in said and "config.json alone" not in said, "config.json would not tell"


def test_shards_are_held_against_their_index(folder: Path) -> None:
    write_index(folder, size=16 * 10**9)
    for name in SHARDS:
        (folder / name).write_bytes(safetensors(5000))
    assert "and their index says 16,000,000,000" in refusal(f"{ID}={folder}")
    (folder / "model.safetensors.index.json").unlink()
    assert "by config.json the model has about 15 GiB" in refusal(f"{ID}={folder}")
    write_index(folder, size=16 * 10**9)
    (folder / "consolidated.safetensors").write_bytes(safetensors(5000))
    assert "by their index the model has about 14.9 GiB" in refusal(f"{ID}={folder}")


def test_an_index_names_files_of_its_own_folder(folder: Path) -> None:
    index = folder / "model.safetensors.index.json"
    for name in ("/etc/passwd", "../other/model.safetensors"):
        index.write_text(json.dumps({"metadata": {"total_size": 2**34}, "weight_map": {"a": name}}))
        assert f"weight_map: {name} is not in its folder" in refusal(f"{ID}={folder}")
    index.write_text(json.dumps({"metadata": {"total_size": 2**34}, "weight_map": {"a": "x/a.safetensors"}}))
    assert model(folder).weights_gib == 16.0
    (folder / "x").mkdir()
    (folder / "x" / "a.safetensors").write_text(pointer(2**34))
    assert model(folder).weights_gib == 16.0


@pytest.mark.parametrize("quantized", [{}, {"quantization_config": {"quant_method": "bitsandbytes"}}])
def test_weights_of_four_bits_are_whole(folder: Path, quantized: dict[str, Any]) -> None:
    (folder / "config.json").write_text(json.dumps(llama(**quantized)))
    (folder / "model.safetensors").write_text(pointer(4 * 2**30))
    assert model(folder).weights_gib == 4.0


def test_a_tiny_model_is_whole(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps(tiny()))
    (folder / "model.safetensors").write_bytes(safetensors(1_200_000))
    assert model(folder).weights_gib == 0.0
    (folder / "model.safetensors").write_bytes(safetensors(1_200_000)[:-1])
    assert "bytes" in refusal(f"{ID}={folder}")


@pytest.mark.parametrize("name", ["training_args.bin", "optimizer.bin", "run/scheduler.bin"])
def test_what_training_leaves_are_no_weights(folder: Path, name: str) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(b"x" * 5000)
    found = model(folder)
    assert found.weights_gib == 14.96 and "reckoned" in found.note


@pytest.mark.parametrize(
    "name",
    ["model.safetensors", "pytorch_model.bin", "config.json", "model.safetensors.index.json", SHARDS[0]],
)
def test_only_regular_files_are_read(folder: Path, name: str) -> None:
    if name == SHARDS[0]:
        write_index(folder)
        (folder / SHARDS[1]).write_text(pointer(2**33))
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    assert f"{folder / name}: is not a regular file" in refusal(f"{ID}={folder}")


def test_a_file_that_is_there_is_a_catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    row = "models: [{id: acme/own, weights_gib: 9, bytes_per_token: 9, context_limit: 9}]"
    (tmp_path / "team").mkdir()
    for name in ("config.json", "params.json", "team/x=1.yaml"):
        for text in (row, json.dumps({"models": [], "presets": []})):
            Path(name).write_text(text)
            found = catalog_file.read(name).model("acme/own")
            assert (found is not None) == (text == row)
        assert hub_files.absolute(name) == str(tmp_path / name)
    Path("config.json").write_text(json.dumps(llama()))
    Path("params.json").write_text(json.dumps({"dim": 4096, "n_layers": 32}))
    for name in ("config.json", "params.json"):
        assert f"--catalog OWNER/NAME={name}" in refusal(name)
    Path("team/x=1.yaml").unlink()
    assert "1.yaml: No such file" in refusal("team/x=1.yaml")
    assert hub_files.absolute("acme/own=files") == f"acme/own={tmp_path}/files"


def test_files_without_the_models_name_are_not_guessed_at(folder: Path) -> None:
    elsewhere = folder / "house.json"
    elsewhere.write_text((folder / "config.json").read_text())
    for path in (folder, folder / "config.json", elsewhere):
        assert f"--catalog OWNER/NAME={path}" in refusal(str(path))
    assert "No such file" in refusal(f"{ID}={folder}/none")
    (folder / "config.json").unlink()
    assert "has no config.json" in refusal(f"{ID}={folder}")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2**70) | st.floats() | st.sampled_from(["", "8", "x", "fp8"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["quant_method", "bits"]), inner, max_size=2)
    ),
    max_leaves=4,
)


@given(st.dictionaries(st.sampled_from(sorted(DEEPSEEK)), VALUES, max_size=4))
@settings(max_examples=150, deadline=None)
def test_any_configuration_is_read_or_refused(changes: dict[str, Any]) -> None:
    for config in (llama(**changes), {**DEEPSEEK, **changes}, {"model_type": "x", "text_config": changes}):
        with contextlib.suppress(hub_model.NotAModel):
            hub_model.figures(config)
        weights_gib(config)
