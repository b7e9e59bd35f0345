"""How the server was called: options that do not fit each other, and configuration that cannot be read."""

from __future__ import annotations

from kaitoctl.kaito.diagnosis.log_patterns.reading import VLLM, WHERE, Reading, Row

_CORRECT = f"correct it ({WHERE})"
_REFUSED = Reading(
    "bad-arguments",
    "the server refuses its configuration: {what}",
    _CORRECT,
    f"pydantic 2.12; {VLLM} config",
    depth=1,
)
_OPTIONS = (
    r"max_num_batched_tokens|max_num_seqs|max_model_len|max_num_partial_prefills|max_loras|max_cpu_loras|"
    r"max_lora_rank|lora_extra_vocab_size|num_speculative_tokens|gpu_memory_utilization|cpu_offload_gb|"
    r"swap_space|block_size|kv_cache_dtype|tensor_parallel_size|pipeline_parallel_size|data_parallel_size|"
    r"enable_expert_parallel|num_redundant_experts|cudagraph_mode|limit_mm_per_prompt|load_format|"
    r"tokenizer_mode|attention_backend|enable_prefix_caching|enable_chunked_prefill|async_scheduling|"
    r"long_prefill_token_threshold|mm_processor_kwargs|kv_transfer_config|hf_overrides"
)
_WORDS = (
    r"GPU memory utilization|CPU offload space|swap space|Unknown \w[\w ]{1,40}: |[Pp]refix caching|"
    r"[Ee]xpert [Pp]arallel|[Cc]hunked prefill|[Pp]ipeline [Pp]arallel|Sleep mode|data[_ ]parallel|"
    r"distributed[_ ]executor|[Ss]peculative|LoRA"
)

PATTERNS: tuple[Row, ...] = (
    (
        r"\bin \"(?P<file>[^\"\n]{1,160}\.ya?ml)\", line (?P<line>\d{1,6}), column \d",
        Reading(
            "bad-arguments",
            "{file} is not valid YAML: line {line} cannot be read",
            "correct inference_config.yaml in the ConfigMap that inference.config names",
            "PyYAML 6 error.py",
        ),
    ),
    (
        r"No such file or directory: '(?P<file>/mnt/config/[^'\n]{1,120})'",
        Reading(
            "bad-arguments",
            "the server's configuration, {file}, is missing: the ConfigMap that inference.config names has "
            "no such entry",
            "name the entry inference_config.yaml",
            "KAITO v0.12 presets/workspace/inference/vllm/inference_api.py",
        ),
    ),
    (
        r"(?P<what>Speculative decoding with .{1,60} is not supported yet|"
        r"[Uu]nsupported connector type: .{1,60})",
        Reading(
            "bad-arguments",
            "the server refuses its options: {what}",
            _CORRECT,
            f"{VLLM} engine/arg_utils.py, distributed/kv_transfer/kv_connector/factory.py",
        ),
    ),
    (
        r"\bError: (?P<what>--[\w-]{1,60} requires --[\w-]{1,60})",
        Reading(
            "bad-arguments",
            "the server was called wrongly: {what}",
            f"set both, or neither ({WHERE})",
            f"{VLLM} entrypoints/openai/cli_args.py",
        ),
    ),
    (
        r"(?:Reasoning|Tool) parser '(?P<what>[^'\n]{1,60})' not found\."
        r"(?: Available parsers: (?P<from>[^'\"\n]{1,400}))?",
        Reading(
            "bad-arguments",
            "this vLLM has no parser {what}",
            f"name one of those that its version has ({WHERE}), or use an image with a newer vLLM: {{from}}",
            f"{VLLM} reasoning/abs_reasoning_parsers.py, tool_parsers/abstract_tool_parser.py",
        ),
    ),
    (
        r"Unknown attention backend: '(?P<what>[^'\n]{1,60})'\. Valid options are: (?P<from>.{1,300})",
        Reading(
            "bad-arguments",
            "this vLLM has no attention backend {what}",
            "correct attention-backend, or VLLM_ATTENTION_BACKEND in the pod template's environment; it has "
            "{from}",
            f"{VLLM} v1/attention/backends/registry.py",
        ),
    ),
    (
        r"^(?P<option>[\w.\[\]-]{1,80}): Input should be (?P<takes>.{1,160}?) \[type=\w{1,40}, "
        r"input_value=(?P<has>.{1,60}?), input_type=",
        Reading(
            "bad-arguments",
            "the server's option {option} has the value {has}, and should be {takes}",
            _CORRECT,
            f"pydantic 2.12; {VLLM} config",
            depth=1,
        ),
    ),
    (
        r"^(?P<option>[\w.\[\]-]{1,80}): (?:Unexpected keyword argument|Extra inputs are not permitted) "
        r"\[type=",
        Reading(
            "bad-arguments",
            "the server's option {option} is none that this version knows",
            _CORRECT,
            f"pydantic 2.12; {VLLM} config",
            depth=1,
        ),
    ),
    (
        r"VLLM_USE_V1=(?P<has>[01]) is not supported(?: with (?P<what>.{1,80}?))?\.?"
        r"(?: Please set .{0,40})?$",
        Reading(
            "bad-arguments",
            "this vLLM cannot run with VLLM_USE_V1={has} (which engine it takes) {what}",
            f"take VLLM_USE_V1 out of the pod template's environment, or that option out ({WHERE})",
            "vLLM 0.8 to 0.10 engine/arg_utils.py",
        ),
    ),
    (
        r"Too large swap space\. (?P<asked>[\d.]+ GiB) out of the (?P<has>[\d.]+ GiB) total CPU memory",
        Reading(
            "bad-arguments",
            "swap-space asks for {asked} of main memory, and there are {has}",
            f"set a smaller swap-space ({WHERE}), or take a node with more memory",
            "vLLM 0.8 to 0.10 config/cache.py",
        ),
    ),
    (
        r"Hybrid KV cache manager is disabled but failed to convert",
        Reading(
            "bad-arguments",
            "the model has layers of several kinds of context, and an option forbids to keep them apart",
            f"take disable-hybrid-kv-cache-manager out, or the kv-transfer-config that implies it ({WHERE})",
            f"{VLLM} v1/core/kv_cache_utils.py",
        ),
    ),
    (
        # Of classes that judge options alone; those of models stand below.
        r"validation errors? for (?:Cache|Parallel|Scheduler|Compilation|Speculative|LoRA|Load|Device|"
        r"Observability|StructuredOutputs|KVTransfer|Attention|Kernel|EPLB|Profiler|Offload)\w{0,12}"
        r"\n[ \t]{0,8}(?:Value|Assertion) error, (?P<what>.{1,240}?)\.?(?: \[type=|$)",
        _REFUSED,
    ),
    (
        # What vLLM's classes of configuration refuse of options, in its own words; they judge models, too.
        rf"Value error, (?P<what>.{{0,160}}?(?:\b(?:{_OPTIONS})\b|{_WORDS}).{{0,200}}?)\.?(?: \[type=|$)",
        _REFUSED,
    ),
    (
        rf"^(?:ValueError|AssertionError|NotImplementedError|TypeError): (?P<what>.{{0,160}}?\b(?:{_OPTIONS}|"
        r"GPU memory utilization must|CPU offload space must|swap space must)\b.{0,200}?)\.?$",
        Reading(
            "bad-arguments",
            "the server refuses its options: {what}",
            _CORRECT,
            f"{VLLM} config, v1/core, v1/worker",
            depth=1,
        ),
    ),
)
