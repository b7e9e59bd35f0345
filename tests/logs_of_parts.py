"""Lines of NCCL, Gloo, stores, files and options that a server ends with: the cause, a word of it, the "
"log."""

from __future__ import annotations

_OOM = (
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 1.95 GiB. GPU 0 has a total capacity of "
    "15.77 GiB of which 42.88 MiB is free. "
)
_OURS = "Including non-PyTorch memory, this process has 2.70 GiB memory in use."
OF_PARTS = [
    # --- what stands before the cause, and does not end the server
    (
        "gpu-count-misfit",
        "4",
        "Exception in thread Thread-3 (_report_usage_worker):\nTraceback (most recent call last):\n"
        '  File "/usr/lib/python3.12/threading.py", line 1075, in _bootstrap_inner\n    self.run()\n'
        "PermissionError: [Errno 13] Permission denied: '/.config'\n"
        "(EngineCore_DP0 pid=88) ERROR 11-30 09:00:01 [core.py:1341] EngineCore failed to start.\n"
        "(EngineCore_DP0 pid=88) ValueError: World size (4) is larger than the number of available GPUs "
        "(2) in this node. If this is intentional and you are using:\n- ray, set '--x ray'.",
    ),
    (
        "cuda-out-of-memory",
        "does not suffice",
        "'HTTPError: 429 Client Error: Too Many Requests for url: https://huggingface.co/a/b' thrown while "
        "requesting GET https://huggingface.co/a/b\nRetrying in 1s [Retry 1/5].\n"
        "INFO 11-30 09:00:01 [default_loader.py:308] Loading weights took 9.10 seconds\n"
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB.",
    ),
    (
        "hub-rate-limited",
        "429",
        "'HTTPError: 429 Client Error: Too Many Requests for url: https://huggingface.co/a/b' thrown while "
        "requesting GET https://huggingface.co/a/b\nRetrying in 1s [Retry 1/5].",
    ),
    (
        "path-not-writable",
        "",
        "Exception in thread Thread-3 (_report_usage_worker):\nTraceback (most recent call last):\n"
        "PermissionError: [Errno 13] Permission denied: '/.config'",
    ),
    # --- who else has the GPU
    (
        "cuda-out-of-memory",
        "another process holds memory of this GPU (13.00 GiB)",
        f"{_OOM}Process 4242 has 13.00 GiB memory in use. {_OURS}",
    ),
    (
        "cuda-out-of-memory",
        "another process holds memory of this GPU (13.00 GiB)",
        f"{_OOM}{_OURS} Process 4242 has 13.00 GiB memory in use.",
    ),
    ("cuda-out-of-memory", "does not suffice", f"{_OOM}Process 4242 has 15.70 GiB memory in use."),
    (
        "cuda-out-of-memory",
        "NCCL finds no GPU memory",
        "RuntimeError: NCCL error: unhandled cuda error (run with NCCL_DEBUG=INFO for details)\n"
        "ncclUnhandledCudaError: Call to CUDA function failed.\nLast error:\n"
        "Failed to CUDA calloc async 608 bytes",
    ),
    (
        "gpu-program-failed",
        "a CUDA call of NCCL failed",
        "RuntimeError: NCCL error: unhandled cuda error (run with NCCL_DEBUG=INFO for details)",
    ),
    # --- network
    (
        "gpus-disconnected",
        "limit memlock",
        "ncclSystemError: System call (e.g. socket, malloc) or external library call failed or device "
        "error.\n"
        "Last error:\nCall to ibv_create_qp failed with error Cannot allocate memory",
    ),
    (
        "gpus-disconnected",
        "limit memlock",
        "misc/ibvwrap.cc:214 NCCL WARN Call to ibv_reg_mr_iova2 failed with error Cannot allocate memory",
    ),
    ("out-of-memory", "main memory", "fork: retry: Cannot allocate memory"),
    (
        "out-of-memory",
        "main memory",
        "RuntimeError: [enforce fail at alloc_cpu.cpp:1] Cannot allocate memory",
    ),
    (
        "gpus-disconnected",
        "different NCCL (rank 1: 22703, rank 0: 22602)",
        "ncclInvalidUsage: This usually reflects invalid usage of NCCL library.\nLast error:\n"
        "Mismatched NCCL version detected : rank 1 has version 22703 rank 0 has version 22602",
    ),
    (
        "gpus-disconnected",
        "1 of 2 parts of the server have joined within 601 s",
        "torch.distributed.DistStoreError: Timed out after 601 seconds waiting for clients. 1/2 clients "
        "joined.",
    ),
    (
        "gpus-disconnected",
        "falcon-0.falcon-headless port 29500, does not answer",
        "torch.distributed.DistNetworkError: The client socket has timed out after 600000ms while trying to "
        "connect to (falcon-0.falcon-headless, 29500).",
    ),
    (
        "gpus-disconnected",
        "by Gloo",
        "RuntimeError: Gloo connectFullMesh failed with [third_party/gloo/gloo/transport/tcp/pair.cc:144] no "
        "error",
    ),
    (
        "gpus-disconnected",
        "by Gloo",
        "RuntimeError: [enforce fail at gloo/transport/tcp/device.cc:84] ifa != nullptr. Unable to find "
        "address "
        "for: eth9",
    ),
    (
        "gpus-disconnected",
        "EFA",
        "gpu:1:1 [0] nccl_net_ofi_create_plugin:251 NCCL WARN NET/OFI Failed to initialize rdma protocol",
    ),
    # --- options
    (
        "bad-arguments",
        "no tool call parser llama4",
        'KeyError: "invalid tool call parser: llama4 (chose from { hermes,llama3_json,mistral })"',
    ),
    (
        "bad-arguments",
        "no reasoning parser deep",
        'KeyError: "invalid reasoning parser: deep (chose from { deepseek_r1,qwen3 })"',
    ),
    (
        "bad-arguments",
        "has the value 100, and should be 8, 16, 32",
        "pydantic_core._pydantic_core.ValidationError: 1 validation error for LoRAConfig\nmax_lora_rank\n"
        "  Input should be 8, 16, 32 or 64 [type=literal_error, input_value=100, input_type=int]",
    ),
    (
        "bad-arguments",
        "none that this version knows",
        "pydantic_core._pydantic_core.ValidationError: 1 validation error for CompilationConfig\nlevels\n"
        "  Unexpected keyword argument [type=unexpected_keyword_argument, input_value=3, input_type=int]",
    ),
    # --- files, and the libraries that read them
    (
        "model-files-broken",
        "git-lfs pointer",
        "ValueError: Unrecognized GGUF magic, expected GGUF, got b'vers'",
    ),
    (
        "model-files-broken",
        "tokenizer cannot be loaded",
        "ValueError: Couldn't instantiate the backend tokenizer from one of: \n(1) a `tokenizers` library "
        "serialization file",
    ),
    (
        "model-files-broken",
        "tokenizer cannot be loaded",
        "ValueError: Converting from SentencePiece and Tiktoken failed, if a converter for SentencePiece is "
        "available, provide a model path",
    ),
    (
        "model-files-broken",
        "/workspace/weights/model-00003-of-00015.safetensors is missing",
        'FileNotFoundError: No such file or directory: "/workspace/weights/model-00003-of-00015.safetensors"',
    ),
    (
        "model-files-broken",
        "/data/w/consolidated.safetensors is missing",
        "FileNotFoundError: [Errno 2] No such file or directory: '/data/w/consolidated.safetensors'",
    ),
    (
        "image-broken",
        "lacks SentencePiece",
        "ImportError: \nLlamaTokenizer requires the SentencePiece library but it was not found in your "
        "environment.",
    ),
    (
        "image-broken",
        "lacks einops, timm",
        "ImportError: This modeling file requires the following packages that were not found in your "
        "environment: "
        "einops, timm. Run `pip install einops timm`",
    ),
    ("image-broken", "lacks tiktoken", "ValueError: `tiktoken` is required to read a `tiktoken` file."),
    # --- places
    (
        "bad-arguments",
        "may not listen on port 80",
        "PermissionError: [Errno 13] error while attempting to bind on address ('0.0.0.0', 80): permission "
        "denied",
    ),
    (
        "bad-arguments",
        "10.9.9.9, is not one of the pod's",
        "OSError: [Errno 99] error while attempting to bind on address ('10.9.9.9', 5000): cannot assign "
        "requested "
        "address",
    ),
    ("bad-arguments", "IPv6", "OSError: [Errno 97] Address family not supported by protocol"),
    ("path-not-writable", "no rights to /data", "PermissionError: [Errno 13] Permission denied: '/data/x'"),
    (
        "model-access-denied",
        "no credentials for the object store",
        "botocore.exceptions.NoCredentialsError: Unable to locate credentials",
    ),
    (
        "model-access-denied",
        "no credentials for the object store",
        "google.auth.exceptions.DefaultCredentialsError: Your default credentials were not found.",
    ),
    (
        "model-access-denied",
        "no credentials for the object store",
        "azure.core.exceptions.ClientAuthenticationError: DefaultAzureCredential failed to retrieve a token",
    ),
    (
        "model-access-denied",
        "denies access (403)",
        "botocore.exceptions.ClientError: An error occurred (403) when calling the HeadObject operation: "
        "Forbidden",
    ),
    (
        "model-access-denied",
        "denies access (ExpiredToken)",
        "botocore.exceptions.ClientError: An error occurred (ExpiredToken) when calling the ListObjectsV2 "
        "operation: The provided token has expired.",
    ),
    (
        "model-access-denied",
        "denies access (AuthorizationPermissionMismatch)",
        "azure.core.exceptions.HttpResponseError: This request is not authorized to perform this operation.\n"
        "ErrorCode:AuthorizationPermissionMismatch",
    ),
    (
        "model-not-found",
        "no such bucket, or nothing under this path (NoSuchBucket)",
        "botocore.exceptions.ClientError: An error occurred (NoSuchBucket) when calling the ListObjectsV2 "
        "operation: The specified bucket does not exist",
    ),
    (
        "gpus-disconnected",
        "falcon-0.falcon-headless.default.svc, cannot be resolved",
        "socket.gaierror: [Errno -2] Name or service not known: falcon-0.falcon-headless.default.svc",
    ),
    (
        "gpus-disconnected",
        "falcon-0.falcon-headless.default.svc.cluster.local, cannot be resolved",
        "ConnectionError: ray.init() failed: Name or service not known "
        "falcon-0.falcon-headless.default.svc.cluster.local:6379",
    ),
    (
        "hub-unreachable",
        "name of the hub",
        "socket.gaierror: [Errno -2] Name or service not known: huggingface.co",
    ),
    (
        "model-unsupported",
        "chat template cannot be used: unexpected",
        "jinja2.exceptions.TemplateSyntaxError: unexpected '}'",
    ),
]
