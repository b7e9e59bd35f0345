"""Lines of engines, workers, shared memory, pickles and kinds of adapters: the cause, a word of it, the log.

Each kind has several of its siblings, as their programs print them.
"""

from __future__ import annotations

_NCCL = (
    "torch.distributed.DistBackendError: NCCL error in: NCCLUtils.cpp:94, unhandled system error (run with "
    "NCCL_DEBUG=INFO for details), NCCL version 2.30.7\nncclSystemError: System call (e.g. socket, malloc) "
    "or external library call failed or device error. \nLast error:\n"
)
_SHM = (
    "unable to write to file </torch_88_389_0>: No space left on device (28)",
    "unable to resize file </torch_88_1_0> to the right size: No space left on device (28)",
    "unable to stretch file </torch_88_1_0> to the right size: Success (0)",
    "unable to allocate shared memory(shm) for file </torch_88_1_0>: No space left on device (28)",
)

OF_ENGINES = [
    # --- shared memory by its names, which stand in no folder
    *(("shared-memory-too-small", "/dev/shm", f"RuntimeError: {line}") for line in _SHM),
    ("shared-memory-too-small", "/dev/shm", "OSError: [Errno 28] No space left on device: '/psm_4a5b6c7d'"),
    ("shared-memory-too-small", "/dev/shm", "OSError: [Errno 28] No space left on device: '/mp-1x2y3z'"),
    ("disk-full", "disk", "OSError: [Errno 28] No space left on device: '/workspace/psm/torch_1.bin'"),
    (
        "process-limit",
        "files",
        "RuntimeError: unable to open shared memory object </torch_88_1> in read-write mode: Too many open "
        "files (24)",
    ),
    # --- a layer of the model is no key of its weights; and a store of files is not the hub
    *(
        ("worker-died", "loses the layer", f"KeyError: '{layer}'")
        for layer in (
            "model.layers.0.self_attn.attn",
            "language_model.model.layers.20.linear_attn",
            "backbone.layers.3.mixer",
        )
    ),
    *(
        ("model-files-broken", "configuration", f"KeyError: '{key}'")
        for key in (
            "model.layers.0.self_attn.qkv_proj.weight",
            "layers.1.mlp.gate_up_proj.weight_scale_inv",
            "model.layers.0.mlp.experts.w2_qzeros",
            "model.layers.0.self_attn.q_proj.bias",
        )
    ),
    (
        "hub-unreachable",
        "store of files",
        "RuntimeError: Data processing error: CAS service error : Reqwest Error: HTTP status client error "
        "(401 Unauthorized), domain: https://cas-server.xethub.hf.co/reconstruction/c4ac",
    ),
    # --- a header of HTTP is no header of weights
    (
        "model-access-denied",
        "line break",
        "requests.exceptions.InvalidHeader: Invalid leading whitespace, reserved character(s), or return "
        "character(s) in header value: 'Bearer abc\\n'",
    ),
    ("model-access-denied", "line break", "ValueError: Invalid header value b'Bearer abc\\n'"),
    ("model-access-denied", "line break", "httpx.LocalProtocolError: Illegal header value b'Bearer '"),
    (
        "model-access-denied",
        "line break",
        "ValueError: Newline, carriage return, or null byte detected in headers. Potential header injection",
    ),
    (
        "model-files-broken",
        "cannot be read",
        "SafetensorError: Error while deserializing header: invalid header",
    ),
    # --- programs that a server does not have for its GPU: no image of another machine
    *(
        ("gpu-too-old", "compute capability", f"ValueError: {what} is not supported on this {where}.")
        for what, where in (
            ("fp8 KV cache", "platform"),
            ("The chosen backend FLASHMLA", "platform"),
            ("Fp8", "hardware"),
            ("MXFP4 quantization", "device"),
        )
    ),
    # --- NCCL
    (
        "gpus-disconnected",
        "rank 0: 22703, rank 1: 22605",
        f"{_NCCL}Mismatched NCCL version detected : rank 0 version 22703 rank 1 version 22605",
    ),
    (
        "gpu-count-misfit",
        "shares of one",
        f"{_NCCL}Multiple Ranks are using the same GPU/Partition. Set NCCL_MULTI_RANK_GPU_ENABLE=1 to enable "
        "this configuration.",
    ),
    (
        "gpus-disconnected",
        "10.1.2.9 port 41321: No route to host",
        f"{_NCCL}socketPollConnect: connect to 10.1.2.9<41321> returned No route to host, exceeded error "
        "retry count after 35 attempts",
    ),
    (
        "gpus-disconnected",
        "10.1.2.9 port 41321: Connection refused",
        f"{_NCCL}socketPollConnect: connect to 10.1.2.9<41321> failed : Connection refused",
    ),
    (
        "gpus-disconnected",
        "InfiniBand to 10.1.2.9 failed with status 12",
        f"{_NCCL}NET/IB: Got completion from peer 10.1.2.9<41321> with status=12 opcode=0 len=0 vendor err 9",
    ),
    (
        "gpus-disconnected",
        "one of them does not come",
        "[rank0]:[F1130 10:08:00.1 ProcessGroupNCCL.cpp:1557] [PG ID 0 Rank 0] ProcessGroupNCCL's watchdog "
        "got stuck for 480 seconds without making progress in monitoring enqueued collectives.",
    ),
    (
        "gpus-disconnected",
        "one address, '10.1.2.3'",
        "RuntimeError: Every node should have a unique IP address. Got 2 nodes with node ids ['a', 'b'] and "
        "1 unique IP addresses {'10.1.2.3'}. Please check your network configuration.",
    ),
    (
        "gpus-disconnected",
        "falcon-1.falcon-headless closed its connection",
        f"{_NCCL}socketProgress: Connection closed by remote peer falcon-1.falcon-headless<41321>",
    ),
    ("gpus-disconnected", "not all joined", "Waiting for all ray workers to be active timed out."),
    (
        "gpus-disconnected",
        "head, falcon-0.falcon-headless:6379",
        "Ray worker starts timeout, head address: falcon-0.falcon-headless:6379",
    ),
    (
        "cuda-out-of-memory",
        "SGLang",
        "RuntimeError: Not enough memory. Please try to increase --mem-fraction-static. Current value: 0.8",
    ),
    # --- a try of several that vLLM calls an error
    (
        "cuda-out-of-memory",
        "asked for",
        "ERROR 11-30 10:00:00 [repo_utils.py:47] Error retrieving file list: 429 Client Error: Too Many "
        "Requests for url: https://huggingface.co/api/models/x/y, retrying 1 of 2\n"
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB",
    ),
    (
        "path-not-writable",
        "/workspace/out.log",
        "/bin/sh: 1: cannot create /workspace/out.log: Permission denied",
    ),
    # --- what a hub is reached by: no certificate
    *(
        ("hub-unreachable", what, f"requests.exceptions.SSLError: (Caused by SSLError({error}))")
        for what, error in (
            (
                "UNEXPECTED_EOF_WHILE_READING",
                "SSLEOFError(8, '[SSL: UNEXPECTED_EOF_WHILE_READING] EOF occurred')",
            ),
            (
                "WRONG_VERSION_NUMBER",
                "SSLError(1, '[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1)')",
            ),
            ("SSLV3_ALERT_HANDSHAKE_FAILURE", "1, '[SSL: SSLV3_ALERT_HANDSHAKE_FAILURE] sslv3 alert'"),
        )
    ),
    (
        "hub-unreachable",
        "certificate is not trusted",
        "requests.exceptions.SSLError: (Caused by SSLError(SSLCertVerificationError(1, '[SSL: "
        "CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed certificate')))",
    ),
    (
        "hub-unreachable",
        "malformed",
        "requests.exceptions.InvalidProxyURL: Please check proxy URL. It is malformed and could be missing",
    ),
    (
        "hub-unreachable",
        "SOCKS",
        "ImportError: Using SOCKS proxy, but the 'socksio' package is not installed.",
    ),
    # --- files on shares
    ("volume-unavailable", "lock files", "OSError: [Errno 37] No locks available"),
    (
        "volume-unavailable",
        "fails while",
        "TimeoutError: [Errno 110] Connection timed out: '/w/.locks/ab.lock'",
    ),
    ("volume-unavailable", "fails while", "OSError: [Errno 112] Host is down: '/w/model-1.safetensors'"),
    # --- kernels
    ("gpu-too-old", "compute capability", "RuntimeError: No compiled nvfp4 quantization kernel"),
    (
        "gpu-too-old",
        "compute capability",
        "RuntimeError: Assertion error (csrc/apis/gemm.hpp:53): Unsupported architecture",
    ),
    # --- engines and their API server
    (
        "slow-start",
        "VLLM_ENGINE_READY_TIMEOUT_S",
        "TimeoutError: Timed out waiting for engines to send initial message on input socket.",
    ),
    (
        "gpus-disconnected",
        "for 5 minutes",
        "RuntimeError: Did not receive response from front-end process within 5 minutes",
    ),
    (
        "cuda-out-of-memory",
        "asked for",
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB\n"
        "RuntimeError: Did not receive response from front-end process within 5 minutes",
    ),
    *(
        ("worker-died", call, f"TimeoutError: RPC call to {call} timed out.")
        for call in ("execute_model", "sample_tokens", "determine_available_memory")
    ),
    (
        "gpu-program-failed",
        "illegal memory",
        "torch.AcceleratorError: CUDA error: an illegal memory access was encountered\n"
        "TimeoutError: RPC call to execute_model timed out.",
    ),
    # --- options
    (
        "bad-arguments",
        "no parser qwen25",
        "KeyError: \"Reasoning parser 'qwen25' not found. Available parsers: deepseek_r1, qwen3\"",
    ),
    ("bad-arguments", "no parser qwen25", "KeyError: \"Tool parser 'qwen25' not found.\""),
    (
        "bad-arguments",
        "no attention backend FLASHATTN",
        "ValueError: Unknown attention backend: 'FLASHATTN'. Valid options are: FLASH_ATTN, TRITON_ATTN",
    ),
    (
        "bad-arguments",
        "level and mode are both set",
        "pydantic_core._pydantic_core.ValidationError: 1 validation error for CompilationConfig\n"
        "  Value error, level and mode are both set [type=value_error, input_value=ArgsKwargs((), {}), "
        "input_type=ArgsKwargs]",
    ),
    (
        "bad-arguments",
        "the same vocabulary size",
        "pydantic_core._pydantic_core.ValidationError: 1 validation error for SpeculativeConfig\n"
        "  Value error, Target model and draft model should have the same vocabulary size. Target model "
        "vocab_size=151936. Draft model vocab_size=32000. [type=value_error, input_value=ArgsKwargs((), {}), "
        "input_type=ArgsKwargs]",
    ),
    (
        "bad-arguments",
        "VLLM_USE_V1=1",
        "NotImplementedError: VLLM_USE_V1=1 is not supported with --kv-cache-dtype.",
    ),
    ("bad-arguments", "VLLM_USE_V1=0", "ValueError: VLLM_USE_V1=0 is not supported"),
    (
        "bad-arguments",
        "asks for 16.00 GiB",
        "ValueError: Too large swap space. 16.00 GiB out of the 15.50 GiB total CPU memory is allocated for "
        "the swap space.",
    ),
    (
        "bad-arguments",
        "several kinds of context",
        "NotImplementedError: Hybrid KV cache manager is disabled but failed to convert the KV cache specs "
        "to one unified type.",
    ),
    (
        "bad-arguments",
        "fp8 checkpoints",
        "ValueError: fp8_e5m2 kv-cache is not supported with fp8 checkpoints.",
    ),
    # --- pickles
    (
        "model-files-broken",
        "numpy.core.multiarray._reconstruct",
        "_pickle.UnpicklingError: Weights only load failed. This file can still be loaded, to do so you have "
        "two options, do those steps only if you trust the source of the checkpoint. \n"
        "\t(1) In PyTorch 2.6, we changed the default value of the `weights_only` argument in `torch.load`.\n"
        "\t(2) Alternatively, to load with `weights_only=True` please check the recommended steps.\n"
        "\tWeightsUnpickler error: Unsupported global: GLOBAL numpy.core.multiarray._reconstruct was not an "
        "allowed global by default.",
    ),
    (
        "model-files-broken",
        "git-lfs pointer",
        "_pickle.UnpicklingError: Weights only load failed. Please file an issue with the following so that "
        "we can make `weights_only=True` compatible with your use case: WeightsUnpickler error: Unsupported "
        "operand 118",
    ),
    (
        "image-broken",
        "with PyTorch 2.6 or later",
        "ValueError: Due to a serious vulnerability issue in `torch.load`, even with `weights_only=True`, we "
        "now require users to upgrade torch to at least v2.6 in order to use the function.",
    ),
    # --- files, caches and packages
    (
        "model-files-broken",
        "no architectures",
        "1 validation error for ModelConfig\n  Value error, No model architectures are specified "
        "[type=value_error, input_value=ArgsKwargs((), {}), input_type=ArgsKwargs]",
    ),
    (
        "model-files-broken",
        "Mistral's own tokenizer",
        "OSError: Found 0 files matching the pattern: `^tokenizer\\.model\\.v.*$|^tekken\\.json$`. Make sure "
        "that a Mistral tokenizer is present in [].",
    ),
    *(
        (
            "path-not-writable",
            f"compiles to {path}",
            f"PermissionError: [Errno 13] Permission denied: '{path}'",
        )
        for path in (
            "/.triton",
            "/tmp/torchinductor_root/tmpx",
            "/root/.cache/vllm/torch_compile_cache",
            "/home/x/.cache/flashinfer/0.6.4/89",
        )
    ),
    (
        "path-not-writable",
        "numba",
        "RuntimeError: cannot cache function '__shear_dense': no locator available for file '/x/utils.py'",
    ),
    ("path-not-writable", "no user", "OSError: No username set in the environment"),
    ("image-broken", "compiles", "FileNotFoundError: [Errno 2] No such file or directory: 'ninja'"),
    ("image-broken", "compiles", "FileNotFoundError: [Errno 2] No such file or directory: '/usr/bin/nvcc'"),
    ("image-broken", "do not fit", "RuntimeError: Failed to load shared library 'libnvinfer.so.10'"),
    (
        "model-unsupported",
        "Qwen2Config has no rope_theta",
        "AttributeError: 'Qwen2Config' object has no attribute 'rope_theta'",
    ),
    (
        "model-unsupported",
        "DynamicCache has no get_max_length",
        "AttributeError: 'DynamicCache' object has no attribute 'get_max_length'",
    ),
    # --- GPUs that are not there, or are full before anything is loaded
    (
        "gpu-not-visible",
        "no GPU",
        'RuntimeError: NVML_SUCCESS == DriverAPI::get()->nvmlInit_v2_() INTERNAL ASSERT FAILED at "x.cpp":1',
    ),
    ("gpu-not-visible", "no GPU", "RuntimeError: No GPU or XPU found. A GPU or XPU is needed for FP8"),
    ("gpu-not-visible", "on the CPU", "RuntimeError: \"addmm_impl_cpu_\" not implemented for 'Half'"),
    ("gpu-not-visible", "on the CPU", "RuntimeError: \"slow_conv2d_cpu\" not implemented for 'Half'"),
    (
        "cuda-out-of-memory",
        "something else uses this GPU",
        "RuntimeError: Unexpected error from cudaGetDeviceCount(). Did you run some cuda functions before "
        "calling NumCudaDevices() that might have already set an error? Error 2: out of memory",
    ),
    (
        "cuda-out-of-memory",
        "does not fit",
        "ValueError: The current `device_map` had weights offloaded to the disk. Please provide an "
        "`offload_folder` for them.",
    ),
    (
        "model-access-denied",
        "disabled",
        "HfHubHTTPError: 451 Client Error: Unavailable For Legal Reasons for url: https://huggingface.co/x/y",
    ),
]

OF_KINDS = [
    *(
        (f"of the kind {kind}, which", f"KeyError: '{kind}'")
        for kind in ("SHIRA", "C3A", "ROAD", "MISS", "TRAINABLE_TOKENS", "WAVEFT", "DELORA")
    ),
    ("of the kind OSF, which", "ValueError: 'OSF' is not a valid PeftType"),
    (
        "lacks 'r', 'lora_alpha', and 'target_modules'",
        "TypeError: PEFTHelper.__init__() missing 3 required positional arguments: 'r', 'lora_alpha', and "
        "'target_modules'",
    ),
    (
        "does not know monteclora_config",
        "TypeError: LoraConfig.__init__() got an unexpected keyword argument 'monteclora_config'",
    ),
    *(
        ("does not know x", f"TypeError: {name}Config.__init__() got an unexpected keyword argument 'x'")
        for name in ("Corda", "Eva", "AdaLora", "VBLoRA", "Shira", "FourierFT", "RandLora", "TrainableTokens")
    ),
    (
        "changes out_proj, which PEFT",
        "ValueError: [PEFT:LORA] Module 'out_proj' is incompatible with Mamba-based models "
        "(model_type='falcon_mamba'). Incompatible modules: {'out_proj', 'conv1d'}.",
    ),
]
