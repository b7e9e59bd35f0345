"""Lines about options, identities, models that are streamed or pulled, and features of adapters."""

from __future__ import annotations

_TYPE = "[type=value_error, input_value=ArgsKwargs((), {...}), input_type=ArgsKwargs]"

OF_OPTIONS = [
    # --- configuration
    (
        "bad-arguments",
        "inference_config.yaml is not valid YAML: line 3",
        "yaml.scanner.ScannerError: mapping values are not allowed here\n"
        '  in "/mnt/config/inference_config.yaml", line 3, column 21',
    ),
    (
        "bad-arguments",
        "/mnt/config/inference_config.yaml, is missing",
        "FileNotFoundError: [Errno 2] No such file or directory: '/mnt/config/inference_config.yaml'",
    ),
    (
        "bad-arguments",
        "--enable-auto-tool-choice requires --tool-call-parser",
        "TypeError: Error: --enable-auto-tool-choice requires --tool-call-parser",
    ),
    (
        "bad-arguments",
        "option backend has the value 'xgramar'",
        "1 validation error for StructuredOutputsConfig\nbackend\n  Input should be 'auto' or 'xgrammar' "
        "[type=literal_error, input_value='xgramar', input_type=str]",
    ),
    (
        "bad-arguments",
        "option max_modellen is none that this version knows",
        "1 validation error for ModelConfig\nmax_modellen\n  Unexpected keyword argument "
        "[type=unexpected_keyword_argument, input_value=4096, input_type=int]",
    ),
    (
        "bad-arguments",
        "GPU memory utilization must be less than 1.0. Got 95.0",
        "1 validation error for CacheConfig\n  Value error, GPU memory utilization must be less than 1.0. "
        f"Got 95.0. {_TYPE}",
    ),
    (
        "bad-arguments",
        "max_loras (0) must be >= 1",
        f"1 validation error for LoRAConfig\n  Value error, max_loras (0) must be >= 1. {_TYPE}",
    ),
    (
        "bad-arguments",
        "larger than max_num_batched_tokens",
        "ValueError: Chunked MM input disabled but max_tokens_per_mm_item (16384) is larger than "
        "max_num_batched_tokens (2048). Please increase max_num_batched_tokens.",
    ),
    (
        "bad-arguments",
        "Speculative decoding with draft model",
        "NotImplementedError: Speculative decoding with draft model is not supported yet. Please consider",
    ),
    ("bad-arguments", "LMCacheConnectorV9", "ValueError: Unsupported connector type: LMCacheConnectorV9"),
    # --- identities
    (
        "model-access-denied",
        "AADSTS700213): No matching federated identity record found",
        "azure.core.ClientAuthenticationError: AADSTS700213: No matching federated identity record "
        "found for presented assertion subject 'system:serviceaccount:default:falcon'. Please note that",
    ),
    (
        "model-access-denied",
        "No OpenIDConnect provider found in your account for https://oidc.eks.example/id/A",
        "botocore.exceptions.ClientError: An error occurred (InvalidIdentityToken) when calling the "
        "AssumeRoleWithWebIdentity operation: No OpenIDConnect provider found in your account for "
        "https://oidc.eks.example/id/A",
    ),
    (
        "model-access-denied",
        "trust policy",
        "botocore.exceptions.ClientError: An error occurred (AccessDenied) when calling the "
        "AssumeRoleWithWebIdentity operation: Not authorized to perform sts:AssumeRoleWithWebIdentity",
    ),
    (
        "model-access-denied",
        "Google does not accept",
        "google.auth.exceptions.RefreshError: Permission 'iam.serviceAccounts.getAccessToken' denied on "
        "resource (or it may not exist).",
    ),
    # --- streams and pulls
    (
        "image-broken",
        "cannot stream models",
        "Could not send runai_request to libstreamer due to: b'Error loading object storage plugin'",
    ),
    (
        "model-files-broken",
        "streamed: File access error",
        "Exception: Could not send runai_request to libstreamer due to: b'File access error'",
    ),
    (
        "model-files-broken",
        "Header size 9 exceeds limit",
        "ValueError: Corrupted File: Header size 9 exceeds limit of 100000000 bytes.",
    ),
    (
        "model-files-broken",
        "a file of the model is missing",
        "RuntimeError: Cannot find any safetensors model weights with `az://models/falcon`",
    ),
    (
        "model-access-denied",
        "pulls, https://reg.example/v2/x/manifests/1",
        'Error: failed to resolve 1: GET "https://reg.example/v2/x/manifests/1": response status code 401: '
        "unauthorized: authentication required",
    ),
    (
        "model-not-found",
        "the registry has nothing",
        'Error: failed to fetch "reg.example/x:1": GET "https://reg.example/v2/x/manifests/1": '
        'response status code 404: not found: manifest tagged by "1" is not found',
    ),
    (
        "model-not-found",
        "reg.example/style:1",
        'time="2026-11-28T15:47:00Z" level=fatal msg="initializing source docker://reg.example/style:1: '
        'reading manifest 1 in reg.example/style: manifest unknown"',
    ),
    (
        "image-broken",
        "azure-identity==1.19.0",
        "ERROR: No matching distribution found for azure-identity==1.19.0",
    ),
    (
        "image-broken",
        "deb.debian.org",
        "E: Failed to fetch http://deb.debian.org/debian/dists/bookworm/InRelease  Temporary failure",
    ),
    (
        "hub-unreachable",
        "object store at https://s3.eu-nowhere-1",
        "botocore.exceptions.EndpointConnectionError: Could not connect to the endpoint URL: "
        '"https://s3.eu-nowhere-1.amazonaws.com/"',
    ),
    # --- the hub
    (
        "model-access-denied",
        "line break",
        "httpx.LocalProtocolError: Illegal header value b'Bearer hf_AbCdEfGhIjKlMn12\\n'",
    ),
    (
        "hub-unreachable",
        "vocabulary",
        "openai_harmony.HarmonyError: error downloading or loading vocab file: failed to download",
    ),
    (
        "image-broken",
        "hf_transfer",
        "ValueError: Fast download using 'hf_transfer' is enabled (HF_HUB_ENABLE_HF_TRANSFER=1) but "
        "'hf_transfer' package is not available in your environment.",
    ),
    (
        "model-not-found",
        "tiiuae/falcn-7b",
        "RepositoryNotFoundError: 401 Client Error. (Request ID: Root=1-68)\n\nRepository Not Found for url: "
        "https://huggingface.co/tiiuae/falcn-7b/resolve/main/config.json.",
    ),
    (
        "model-access-denied",
        "meta/big-7b",
        "GatedRepoError: 403 Client Error.\n\nCannot access gated repo for url "
        "https://huggingface.co/meta/big-7b/resolve/main/config.json.",
    ),
    # --- programs
    (
        "model-unsupported",
        "v0.9.2 was the last",
        "Value error, Model architecture Phi3SmallForCausalLM was supported in vLLM until v0.9.2, and is not "
        "supported anymore. Please use an older version of vLLM",
    ),
    (
        "image-broken",
        "xformers",
        "ModuleNotFoundError: No module named 'xformers'\nValue error, Model architectures ['X'] failed to "
        "be inspected. Please check the logs for more details.",
    ),
    (
        "image-broken",
        "could not be compiled",
        "RuntimeError: Ninja build failed. Ninja output:\n[1/9] c++ x\nFAILED: x.o",
    ),
    (
        "gpus-disconnected",
        "different Ray or Python",
        "RuntimeError: Version mismatch: The cluster was started with:\n    Ray: 2.48.0",
    ),
]

OF_FEATURES = [
    ("uses use_dora, which", "ValueError: vLLM does not yet support DoRA."),
    (
        "modules_to_save being None. vLLM does not yet support DoRA",
        "ValueError: vLLM only supports modules_to_save being None. vLLM does not yet support DoRA.",
    ),
    ("uses modules_to_save, which", "ValueError: vLLM only supports modules_to_save being None."),
    ("uses bias, which", "ValueError: Adapter bias cannot be used without bias_enabled."),
    ("uses bias, which", "ValueError: Adapter bias cannot be used for q_proj without --enable-lora-bias."),
    ("uses bias, which", "ValueError: vLLM does not support LoRA bias."),
    ("uses rank_pattern, which", "ValueError: rank_pattern is not yet supported."),
    ("uses alpha_pattern, which", "ValueError: alpha_pattern is not supported."),
    ("uses init_lora_weights, which", "ValueError: vLLM does not support init_lora_weights=pissa."),
    ("uses layer_replication, which", "ValueError: vLLM does not yet support layer_replication."),
    ("uses alora_invocation_tokens, which", "ValueError: vLLM does not yet support Activated LoRA."),
    ("uses use_bdlora, which", "ValueError: vLLM does not yet support block-diagonal LoRA."),
    ("uses use_qalora, which", "ValueError: vLLM does not yet support QALoRA."),
    (
        "uses tokens of its own, which",
        "ValueError: LoRA added vocab size 8 is greater than lora_extra_vocab_size 0.",
    ),
    ("lacks 'r', 'lora_alpha'", "ValueError: Missing required configuration fields: {'r', 'lora_alpha'}"),
    ("takes no adapters", "AttributeError: To support LoRA for MoE model, 'get_expert_mapping' must be"),
]
