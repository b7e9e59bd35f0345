"""Adapters that the model server cannot load."""

from __future__ import annotations

from kaitoctl.kaito.diagnosis.log_patterns.reading import PEFT, TORCH, VLLM, WHERE, Reading, Row

# Every kind that PEFT has, by its name in adapter_config.json.
_KINDS = (
    r"PROMPT_TUNING|MULTITASK_PROMPT_TUNING|P_TUNING|PREFIX_TUNING|LORA|ADALORA|ADAMSS|BOFT|ADAPTION_PROMPT|"
    r"IA3|BEFT|BONE|LILY|LOHA|LOKR|OFT|POLY|LN_TUNING|VERA|FROD|PVERA|FOURIERFT|GLORA|XLORA|HRA|VBLORA|UNILORA|"
    r"CPT|MISS|RANDLORA|ROAD|TRAINABLE_TOKENS|HIRA|SHIRA|C3A|WAVEFT|OSF|DELORA|GRALORA|CARTRIDGE|TINYLORA|PSOFT|"
    r"PEANUT|SUPERTUNING|DEFT"
)
# Their configurations as classes, less what those of LoRA share, and vLLM's reader of them.
_CLASSES = (
    r"\bPEFTHelper|\b(?:\w{0,8}[Ll]o[Rr][Aa]|Peft|PEFT|IA3|OFT|Lo[HK]\w|Vera|Pvera|Prompt|Prefix|Adaption|Adamss|BOFT|Beft|Bone|C3A|CPT|"
    r"Cartridge|Corda|Deft|Eva|FourierFT|Frod|S?[Hh]ira|HRA|LNTuning|Lily|LoftQ|Lycoris|Miss|OSF|Peanut|Poly|Psoft|"
    r"Road|Supertuning|TrainableTokens|WaveFT)\w{0,20}Config"
)
_REBUILD = "an adapter fits only the model that it was made from; take it out, or correct its image"

# What adapter_config.json may ask for and a server cannot do: the key, how it is refused, and by what.
_FEATURES = (
    ("modules_to_save", r"vLLM only supports modules_to_save", "lora/peft_helper.py"),
    ("use_dora", r"vLLM does not (?:yet )?support DoRA", "lora/peft_helper.py"),
    (
        "bias",
        r"Adapter bias (?:cannot be used|is not supported)|vLLM does not (?:yet )?support LoRA bias",
        "lora/peft_helper.py",
    ),
    ("rank_pattern", r"\brank_pattern\b.{0,60}not (?:yet )?supported", "lora/peft_helper.py"),
    ("alpha_pattern", r"\balpha_pattern\b.{0,60}not (?:yet )?supported", "lora/peft_helper.py"),
    ("init_lora_weights", r"vLLM does not (?:yet )?support init_lora_weights", "lora/peft_helper.py"),
    ("layer_replication", r"vLLM does not (?:yet )?support layer_replication", "lora/peft_helper.py"),
    ("alora_invocation_tokens", r"vLLM does not (?:yet )?support Activated LoRA", "lora/peft_helper.py"),
    ("use_bdlora", r"vLLM does not (?:yet )?support block-diagonal", "lora/peft_helper.py"),
    ("use_qalora", r"vLLM does not (?:yet )?support QALoRA", "lora/peft_helper.py"),
    ("trainable_token_indices", r"embedding LoRA size", "lora/utils.py"),
    ("tokens of its own", r"LoRA added vocab size .{0,80}greater", "lora/worker_manager.py (0.10)"),
)

PATTERNS: tuple[Row, ...] = (
    # --- adapters
    *(
        (
            rf"(?P<said>(?:{pattern}).{{0,200}})",
            Reading(
                "adapter-misfit",
                "{adapter} uses " + key + ", which the server does not load: {said}",
                "train it without " + key + " (a plain LoRA of the attention and MLP modules), merge it into "
                "the weights, or take it out",
                f"{VLLM} {source}",
                adapter="yes",
            ),
        )
        for key, pattern, source in _FEATURES
    ),
    (
        r"^ {0,4}adapter-[a-z-]{2,40}: (?P<said>.{1,200})",
        Reading(
            "adapter-misfit",
            "{adapter} cannot be merged: {said}",
            "make it for the model that is served, or take it out",
            "kaitoctl runtime/lora_to_gguf.py",
            adapter="yes",
        ),
    ),
    (
        r"Missing required configuration fields: \{(?P<keys>[^}\n]{1,120})\}|"
        rf"(?:{_CLASSES})\.__init__\(\) missing \d required positional arguments?: "
        r"(?P<args>'[\w', and]{1,160})",
        Reading(
            "adapter-misfit",
            "adapter_config.json of {adapter} lacks {keys}{args}: it is no LoRA's, or was cut off",
            "make it as a LoRA (peft_type LORA), or take it out",
            f"{VLLM} lora/peft_helper.py",
            adapter="yes",
        ),
    ),
    (
        rf"KeyError: (?:<PeftType\.\w{{1,30}}: )?'(?P<kind>{_KINDS})'|"
        r"'(?P<type>\w{1,30})' is not a valid PeftType",
        Reading(
            "adapter-misfit",
            "{adapter} is of the kind {kind}{type}, which the server's PEFT does not know: it is older",
            "make it as a LoRA (peft_type LORA), use an image with a newer PEFT, or take it out",
            f"{PEFT} config.py (from_peft_type), peft_model.py, utils/peft_types.py",
            adapter="yes",
        ),
    ),
    (
        r"Module '(?P<module>\w{1,60})' is incompatible with Mamba-based models",
        Reading(
            "adapter-misfit",
            "{adapter} changes {module}, which PEFT does not do in a Mamba model such as this one",
            "train it without {module} (and without out_proj and conv1d) in target_modules, or take it out",
            f"{PEFT} tuners/tuners_utils.py",
            adapter="yes",
        ),
    ),
    (
        r"(?i)can'?t find '?adapter_config\.json|adapter_config\.json'?: No such file|"
        r"No such file or directory: '[^'\n]{0,200}adapter_config\.json|"
        r"does not appear to have a file named adapter_config\.json",
        Reading(
            "adapter-misfit",
            "{adapter} has no adapter_config.json in /data",
            "build its image with adapter_config.json and the weights in /data",
            f"{PEFT} config.py; {VLLM} lora/peft_helper.py",
            adapter="yes",
        ),
    ),
    (
        rf"(?:{_CLASSES})(?:\.__init__)?\(\) got "
        r"an unexpected keyword argument '(?P<key>\w{1,60})'",
        Reading(
            "adapter-misfit",
            "{adapter} was made with a newer PEFT than the server has: it does not know {key}",
            "take that key out of adapter_config.json, or take the adapter out",
            f"{PEFT} config.py",
            adapter="yes",
        ),
    ),
    (
        r"__init__\(\) got an unexpected keyword argument '(?P<key>(?:layer_replication|use_dora|use_rslora|"
        r"loftq_config|megatron_\w{1,20}|corda_config|eva_config|exclude_modules|trainable_token_indices|"
        r"target_parameters|lora_bias|use_qalora|qalora_group_size|arrow_config|alora_invocation_tokens|"
        r"ensure_weight_tying|runtime_config))'",
        Reading(
            "adapter-misfit",
            "{adapter} was made with a newer PEFT than the server has: it does not know {key}",
            "take that key out of adapter_config.json, or take the adapter out",
            f"{PEFT} config.py",
            adapter="yes",
        ),
    ),
    (
        r"(?i)Target modules? .{1,400}? not found in the base model|No modules were targeted for adaptation|"
        r"NoMatchingPeftModuleError|All modules were excluded",
        Reading(
            "adapter-misfit",
            "{adapter} does not fit the model, {model}: it changes modules that the model does not have",
            _REBUILD,
            f"{PEFT} tuners/tuners_utils.py",
            adapter="yes",
        ),
    ),
    (
        r"LoRA rank (?P<rank>\d+) is greater than max_lora_rank (?P<most>\d+)",
        Reading(
            "adapter-misfit",
            "{adapter} does not fit the model, {model}, as it is served: its rank is {rank}, and the server "
            "takes up to {most}",
            "set max-lora-rank to {rank} (" + WHERE + "), or take the adapter out",
            f"{VLLM} lora/peft_helper.py",
            adapter="yes",
        ),
    ),
    (
        r"must have the same r value",
        Reading(
            "adapter-misfit",
            "the adapters {adapters} cannot be merged: their ranks differ",
            "make them with the same rank, or take one out",
            f"{PEFT} tuners/lora/model.py",
            adapter="yes",
        ),
    ),
    (
        r"(?i)LoRA is not supported for|does not support LoRA\b(?! bias)|is not supported for LoRA|"
        r"To support LoRA for",
        Reading(
            "adapter-misfit",
            "the server cannot load {adapter}: it takes no adapters for this model, {model}",
            "take the adapter out, or merge it into the weights",
            f"{VLLM} config/lora.py, lora/model_manager.py",
            adapter="yes",
        ),
    ),
    (
        r"(?i)LoRA is not enabled|Use --enable-lora|has no LoRA support",
        Reading(
            "adapter-misfit",
            "the server was started without adapters (--enable-lora), and {adapter} is asked for",
            "start vLLM with --enable-lora",
            f"{VLLM} v1/worker/lora_model_runner_mixin.py",
            adapter="yes",
        ),
    ),
    (
        r"expected target modules in .{1,400}? but received (?P<got>.{1,160}?)\.(?: |$)",
        Reading(
            "adapter-misfit",
            "{adapter} does not fit the model, {model}: it changes {got}, which the server cannot",
            _REBUILD,
            f"{VLLM} lora/lora_model.py",
            adapter="yes",
        ),
    ),
    (
        r"(?i)is unsupported LoRA weight|Unknown PEFT type|Please specify `target_modules`|"
        r"KeyError: 'peft_type'",
        Reading(
            "adapter-misfit",
            "{adapter} is of a kind that the server does not load",
            "make it as a plain LoRA of the attention and MLP modules, or take it out",
            f"{VLLM} lora/peft_helper.py, lora/utils.py; {PEFT} utils/save_and_load.py",
            adapter="yes",
        ),
    ),
    (
        r"(?i)doesn't contain tensors|No adapter found for|LoRAAdapterNotFoundError|"
        r"Can't find weights for .{1,200} in|adapter_model\.(?:safetensors|bin)'?: No such file",
        Reading(
            "adapter-misfit",
            "{adapter} has no weights (adapter_model.safetensors) in /data",
            "build its image with adapter_config.json and the weights in /data",
            f"{VLLM} lora/lora_model.py, lora/worker_manager.py; {PEFT} utils/save_and_load.py",
            adapter="yes",
        ),
    ),
    (
        r"Number of requested LoRAs \((?P<wanted>\d+)\) is greater than the number of GPU LoRA slots "
        r"\((?P<slots>\d+)\)",
        Reading(
            "adapter-misfit",
            "{wanted} adapters are asked for, and the server holds {slots} at a time",
            "set max-loras to {wanted} (" + WHERE + "), or take one out",
            f"{VLLM} lora/worker_manager.py",
            adapter="yes",
        ),
    ),
    (
        r"loading state_dict for Peft|size mismatch for \S{0,200}\blora_|"
        r"size mismatch for base_model\.model\.",
        Reading(
            "adapter-misfit",
            "{adapter} does not fit the model, {model}: their sizes differ",
            _REBUILD,
            f"{PEFT} utils/save_and_load.py; {TORCH} torch/nn/modules/module.py",
            adapter="yes",
        ),
    ),
    (
        r"size mismatch for|Error\(s\) in loading state_dict",
        Reading(
            "model-files-broken",
            "the weights do not fit the model's configuration: their sizes differ",
            "use weights and config.json of one and the same model",
            f"{TORCH} torch/nn/modules/module.py",
            adapter="if any",
        ),
    ),
)
