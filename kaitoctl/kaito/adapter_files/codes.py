"""What each finding of `kaitoctl adapter check` means and what to do; `kaitoctl explain` prints it.

Source: peft 0.11.1 (what KAITO's transformers images pin) and 0.21 (`tuners/lora/config.py`,
`tuners/lora/model.py`: `add_weighted_adapter`), KAITO v0.3 to v0.12 (`inference_api.py`), measured with both.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

CODES: Mapping[str, str] = MappingProxyType(
    {
        "adapter-config-missing": (
            "There is no adapter_config.json at the top. KAITO's image looks for it directly in /data and "
            "in no folder below. Put the files of the adapter themselves there, not the folder around them."
        ),
        "adapter-config-broken": (
            "adapter_config.json cannot be read, or a field of it has a value that makes no sense: r has to "
            "be a whole number above zero, lora_alpha a finite number, the patterns maps of such. Save the "
            "adapter again with peft's save_pretrained."
        ),
        "adapter-weights-missing": (
            "There are no weights: neither adapter_model.safetensors nor adapter_model.bin lies beside "
            "adapter_config.json. Checkpoints of a trainer keep them in folders below: take the last one."
        ),
        "adapter-weights-pickled": (
            "The weights are a pickle (adapter_model.bin), which runs code of its author when it is loaded. "
            "KAITO's images load it; kaitoctl's runtime does not. Save the adapter with "
            "safe_serialization=True."
        ),
        "adapter-lfs-pointer": (
            "A file is a git-lfs pointer of a hundred bytes instead of what it stands for. Run `git lfs "
            "pull` in the clone, then make the image again. A server that loads it ends with an error."
        ),
        "adapter-file-broken": (
            "The weights are no whole safetensors file: cut off, empty, or something else. Copy it again "
            "and compare its size with the origin. A server that loads it ends with an error."
        ),
        "adapter-type-other": (
            "The adapter is not a LoRA (peft_type). KAITO merges LoRA adapters alone, and so does "
            "kaitoctl's runtime. Train a LoRA adapter, or merge this one into the model and serve that."
        ),
        "adapter-dora": (
            "The adapter uses DoRA: its magnitudes rescale the base weights, so that no strength times a "
            "product of two matrices equals it. kaitoctl's runtime refuses it, peft 0.11.1 cannot combine "
            "it with others. Train without use_dora, or merge it into the model."
        ),
        "adapter-modules-to-save": (
            "The adapter replaces whole modules (modules_to_save), such as the embedding or the head. A "
            "strength cannot scale what is replaced, and KAITO drops it when it combines adapters. Train "
            "without, or merge it into the model."
        ),
        "adapter-variant": (
            "The adapter uses a variety of LoRA that is not base + strength * scale * B A: trained biases, "
            "fan_in_fan_out, layer replication, target_parameters, or an initialisation that changed the "
            "base model itself (PiSSA, OLoRA, CorDA, LoftQ). Save it converted to a plain LoRA, which peft "
            "does with path_initial_model_for_weight_conversion, or merge it into the model."
        ),
        "adapter-tensor-unpaired": (
            "A tensor has no partner: every lora_A needs a lora_B of the same module and rank. The file was "
            "edited or filtered. Save the adapter again."
        ),
        "adapter-tensor-unknown": (
            "A tensor belongs to no LoRA pair that is known here. It would be ignored or refused. Save the "
            "adapter again with peft, and see with which tool it was made."
        ),
        "adapter-rank-differs": (
            "The rank of a pair is not what r and rank_pattern say. peft refuses to load it (size "
            "mismatch). adapter_config.json and the weights come from different runs."
        ),
        "adapter-of-other-model": (
            "The shapes do not fit the model: a module that it does not have, or of other sizes. The "
            "adapter was trained on another base model. base_model_name_or_path says on which."
        ),
        "adapter-base-name-differs": (
            "base_model_name_or_path names another model than the one that it is to be served with. Shapes "
            "may fit all the same, as among fine-tuned relatives; the answers are then anybody's guess."
        ),
        "adapter-rslora": (
            "The adapter says use_rslora: its scale is alpha / sqrt(r). KAITO up to v0.4 and its "
            "transformers runtime write the combined adapter without it, and it acts sqrt(r) times too "
            "strong, even alone. Divide the strength by sqrt(r) there. kaitoctl's runtime and vLLM have it "
            "right."
        ),
        "adapter-alpha-not-rank": (
            "alpha is not r. Alone, this is right everywhere. With a second adapter KAITO's transformers "
            "runtime applies alpha / r twice, so that each strength acts alpha / r times as it says. Divide "
            "the strengths by alpha / r there, or save adapters with alpha = r. kaitoctl's runtime has it "
            "right."
        ),
        "adapter-patterns": (
            "rank_pattern or alpha_pattern gives layers scales of their own. When KAITO's transformers "
            "runtime combines several adapters, it does so with the rank and alpha of the first one for all "
            "layers. kaitoctl's runtime has it right."
        ),
        "adapter-config-too-new": (
            "adapter_config.json has keys that peft 0.11.1 does not know; KAITO's transformers runtime pins "
            "that version, and its server does not start: TypeError: LoraConfig.__init__() got an "
            "unexpected keyword argument. Remove the keys named when they have their default value; the "
            "weights do not change."
        ),
        "adapter-strength-ignored": (
            "From v0.5 on KAITO serves with vLLM by default, which offers each adapter as a model name of "
            "its own at full strength: a strength other than 1 is refused. Choose the transformers runtime, "
            "or scale the adapter's B matrices."
        ),
        "adapter-too-many-files": (
            "Beside the adapter lies what nobody needs to serve: optimiser states, checkpoints, a whole "
            "model. It makes the image large and each start slow. Leave it out."
        ),
        "adapter-archive-unsafe": (
            "The archive has entries that must not be unpacked: paths that leave the folder, links, "
            "devices, or more data than an adapter can have. Nothing of it was used. Make it again with "
            "`kaitoctl adapter pack`."
        ),
        "model-file-broken": (
            "The model is not a whole GGUF file, or of an architecture that the engine does not know. "
            "Compare its size with the origin, or take another one."
        ),
    }
)
