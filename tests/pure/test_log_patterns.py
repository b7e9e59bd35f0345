"""What the logs of model servers mean: which of their lines is the root, and what is said when none is known.

The lines are those that the programs print, in the versions that `log_patterns` names, shortened.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from builders import adapter, workspace
from logs_of_engines import OF_ENGINES, OF_KINDS
from logs_of_options import OF_FEATURES, OF_OPTIONS
from logs_of_parts import OF_PARTS
from logs_of_quantization import QUANTIZED

from kaitoctl.advice import text
from kaitoctl.kaito.diagnosis import Cause, diagnose, of_logs
from kaitoctl.kaito.diagnosis.codes import CODES
from kaitoctl.kaito.diagnosis.log_patterns import PATTERNS, readings
from kaitoctl.kaito.snapshot import Snapshot
from kaitoctl.kube.objects import Object

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def cause(log: str, *, code: int = 1, adapters: tuple[str, ...] = ()) -> Cause:
    """The root cause when the server ends again and again, and this is its log."""
    ended = {"exitCode": code, "reason": "Error"}
    state: Object = {
        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 5m0s"}},
        "lastState": {"terminated": ended},
    }
    pod = {
        "kind": "Pod",
        "metadata": {"name": "falcon-1", "namespace": "default"},
        "spec": {"nodeName": "gpu-a", "containers": [{"name": "falcon", "image": "r.example/falcon:1"}]},
        "status": {"phase": "Running", "containerStatuses": [{"name": "falcon", **state}]},
    }
    entries = [adapter(name) for name in adapters]
    obj = workspace(inference={"adapters": entries} if entries else {})
    found = diagnose(Snapshot(obj, pods=(pod,), logs={("falcon-1", "falcon"): log}), NOW).cause
    assert found is not None
    assert found.code in CODES
    return found


# Code, what the message must have, the log.
CASES = [
    # --- a config.json that names no model; a private model by its address
    (
        "model-files-broken",
        "no model_type",
        "ValueError: Unrecognized model in /workspace/weights. Should have a `model_type` key in its "
        "config.json, or contain one of the following strings in its name: albert, align",
    ),
    (
        "model-not-found",
        ": acme/private-7b",
        "huggingface_hub.errors.RepositoryNotFoundError: 401 Client Error. (Request ID: Root=1-6;ab)\n\n"
        "Repository Not Found for url: https://huggingface.co/api/models/acme/private-7b.\n"
        "Please make sure you specified the correct `repo_id` and `repo_type`.",
    ),
    (
        "model-not-found",
        ": acme/private-7b",
        "Repository Not Found for url: https://huggingface.co/api/models/acme/private-7b/tree/main",
    ),
    (
        "model-not-found",
        ": acme/private-7b",
        "Repository Not Found for url: https://hub.corp.example:8443/api/models/acme/private-7b.",
    ),
    # --- limits of the container
    ("process-limit", "files", "OSError: [Errno 24] Too many open files: '/usr/lib/python3/dist.py'"),
    ("process-limit", "files", "RuntimeError: unable to open file: os error 24"),
    ("process-limit", "threads", "RuntimeError: can't start new thread"),
    ("disk-full", "quota of the volume", "OSError: [Errno 122] Disk quota exceeded: '/workspace/weights/x'"),
    ("disk-full", "quota of the volume", "RuntimeError: IO Error: Disk quota exceeded (os error 122)"),
    (
        "model-access-denied",
        "not granted it yet",
        "GatedRepoError: 403 Client Error.\nYour request to access model meta-llama/Llama-3.3-70B-Instruct "
        "is awaiting a review from the repo authors.",
    ),
    (
        "bad-arguments",
        "must be less than 1.0",
        "ValueError: GPU memory utilization must be less than 1.0. Got 95.0.",
    ),
    (
        "bad-arguments",
        "must be non-negative",
        "ValueError: CPU offload space must be non-negative, but got -1",
    ),
    (
        "gpu-count-misfit",
        "wants 4 GPUs, and the container sees 2",
        "AssertionError: please set tensor_parallel_size (4) to less than max local gpu count (2)",
    ),
    (
        "gpu-count-misfit",
        "wants 8 GPUs, and the container sees 1",
        "ValueError: Tensor parallel size (8) cannot be larger than the number of available GPUs (1).",
    ),
    (
        "gpu-too-old",
        "compute capability",
        "NotImplementedError: Sinks are only supported in FlashAttention 3",
    ),
    (
        "gpu-too-old",
        "compute capability",
        "NotImplementedError: FlashMLA is not supported on compute capability 8.0; requires Hopper GPUs",
    ),
    (
        "process-limit",
        "threads",
        "OpenBLAS blas_thread_init: pthread_create failed for thread 3 of 32: Resource temporarily "
        "unavailable",
    ),
    ("process-limit", "processes", "BlockingIOError: [Errno 11] Resource temporarily unavailable"),
    ("process-limit", "threads", "runtime: failed to create new OS thread (have 12 already; errno=11)"),
    ("process-limit", "threads", "libgomp: Thread creation failed: Resource temporarily unavailable"),
    # --- files that are no JSON
    (
        "model-files-broken",
        "column 1",
        "json.decoder.JSONDecodeError: Expecting value: line 1 column 1 (char 0)",
    ),
    (
        "model-files-broken",
        "JSON",
        "requests.exceptions.JSONDecodeError: Extra data: line 2 column 1 (char 9)",
    ),
    (
        "model-files-broken",
        "/mnt/m/config.json is no JSON",
        "OSError: It looks like the config file at '/mnt/m/config.json' is not a valid JSON file.",
    ),
    ("model-files-broken", "EOF while parsing", "Exception: EOF while parsing a value at line 1 column 0"),
    # --- what a kind of GPU has too little of
    (
        "gpu-too-old",
        "114688, and there are 101376",
        "triton.runtime.errors.OutOfResources: out of resource: shared memory, Required: 114688, Hardware "
        "limit: 101376. Reducing block sizes or `num_stages` may help.",
    ),
    (
        "gpu-too-old",
        "no program for this kind",
        "FATAL: kernel `fmha_cutlassF_f16_aligned_64x64_rf_sm75` is for sm75-sm80, but was built for sm50",
    ),
    (
        "gpu-not-visible",
        "no GPU",
        "RuntimeError: ProcessGroupNCCL is only supported with GPUs, no GPUs found!",
    ),
    ("worker-died", "loads data", "RuntimeError: DataLoader worker (pid 77) is killed by signal: Killed. "),
    ("worker-died", "loads data", "RuntimeError: DataLoader worker (pid(s) 77, 78) exited unexpectedly"),
    (
        "shared-memory-too-small",
        "shm",
        "RuntimeError: DataLoader worker (pid 7) is killed by signal: Bus error. ",
    ),
    (
        "bad-arguments",
        "(2048) is smaller than",
        "ValueError: `max_num_batched_tokens` (2048) is smaller than max_model_len (4096).",
    ),
    # --- a number type that the model's quantization does not take, on whatever GPU
    (
        "bad-arguments",
        "gptq does not work with bfloat16",
        "ValueError: torch.bfloat16 is not supported for quantization method gptq. Supported dtypes: "
        "[torch.float16]",
    ),
    (
        "bad-arguments",
        "mxfp4 does not work with float16",
        "  Value error, torch.float16 is not supported for quantization method mxfp4. Supported dtypes: "
        "[torch.bfloat16] [type=value_error, input_value=ArgsKwargs(), input_type=ArgsKwargs]",
    ),
    # --- memory
    (
        "cuda-out-of-memory",
        "does not fit the GPU memory",
        "RuntimeError: Triton Error [CUDA]: out of memory",
    ),
    (
        "cuda-out-of-memory",
        "does not fit the GPU memory",
        "RuntimeError: Triton Error [HIP]:  Code: 2, Message: out of memory",
    ),
    (
        "cuda-out-of-memory",
        "room for a context of 32768 tokens, and 40960 are asked for",
        "ValueError: To serve at least one request with the models's max seq len (40960), (5.62 GiB "
        "KV cache is "
        "needed, which is larger than the available KV cache memory (4.50 GiB). Based on the "
        "available memory, "
        "the estimated maximum model length is 32768. Try increasing `gpu_memory_utilization`",
    ),
    (
        "cuda-out-of-memory",
        "no room for a context of 131072 tokens",
        "ValueError: To serve at least one request with the model's max seq len (131072), (16.00 GiB "
        "KV cache is "
        "needed, which is larger than the available KV cache memory (0.01 GiB). Try increasing",
    ),
    (
        "cuda-out-of-memory",
        "room for a context of 12208 tokens, and 32768 are asked for",
        "ValueError: The model's max seq len (32768) is larger than the maximum number of tokens that can be "
        "stored in KV cache (12208). Try increasing `gpu_memory_utilization` or decreasing `max_model_len`",
    ),
    (
        "cuda-out-of-memory",
        "only 3.25 of 23.43 GiB",
        "ValueError: Free memory on device cuda:0 (3.25/23.43 GiB) on startup is less than desired "
        "GPU memory "
        "utilization (0.96, 22.49 GiB). Decrease GPU memory utilization",
    ),
    (
        "cuda-out-of-memory",
        "room for 24 sequences",
        "ValueError: max_num_seqs (256) exceeds available Mamba cache blocks (24). Each decode sequence",
    ),
    (
        "cuda-out-of-memory",
        "sequences at a time",
        "RuntimeError: CUDA out of memory occurred when warming up sampler with 1024 dummy requests. "
        "Please try",
    ),
    (
        "cuda-out-of-memory",
        "no GPU memory for a context",
        "ValueError: No available memory for the cache blocks.",
    ),
    (
        "cuda-out-of-memory",
        "(14.57 GiB) does not suffice: 1.95 GiB more",
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 1.95 GiB. GPU 0 has a total "
        "capacity of "
        "14.57 GiB of which 1.58 GiB is free. Process 2493055 has 12.02 GiB memory in use.",
    ),
    (
        "cuda-out-of-memory",
        "20.00 MiB more",
        "torch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB (GPU 0; 15.78 "
        "GiB total "
        "capacity; 14.56 GiB already allocated)",
    ),
    ("cuda-out-of-memory", "GPU memory", "torch.OutOfMemoryError: HIP out of memory. Tried"),
    ("cuda-out-of-memory", "GPU memory", "RuntimeError: CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"),
    (
        "out-of-memory",
        "main memory",
        "ray.exceptions.OutOfMemoryError: Task was killed due to the node running",
    ),
    (
        "out-of-memory",
        "main memory",
        "RuntimeError: [enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't "
        "allocate memory",
    ),
    ("out-of-memory", "main memory", "OSError: [Errno 12] Cannot allocate memory"),
    (
        "context-too-long",
        "a context of 2048 tokens, and max-model-len asks for 8192",
        "  Value error, User-specified max_model_len (8192) is greater than the derived max_model_len "
        "(max_position_embeddings=2048 or model_max_length=None in model's config.json).",
    ),
    (
        "shared-memory-too-small",
        "/dev/shm",
        "10.0.0.1:57:57 [0] os/linux.cc:842 NCCL WARN Error while creating shared memory segment "
        "/dev/shm/nccl-mLkvaT (size 9637888), error: No space left on device (28)",
    ),
    (
        "shared-memory-too-small",
        "/dev/shm",
        "RuntimeError: DataLoader worker (pid 77) is killed by signal: Bus error. It is possible that "
        "dataloader's workers are out of shared memory.",
    ),
    ("shared-memory-too-small", "/dev/shm", "OSError: [Errno 28] No space left on device: '/dev/shm/psm_1'"),
    # --- GPUs
    (
        "gpu-too-old",
        "Tesla T4 cannot compute in bfloat16: its compute capability is 7.5, and 8.0",
        "ValueError: Bfloat16 is only supported on GPUs with compute capability of at least 8.0. "
        "Your Tesla T4 "
        "GPU has compute capability 7.5. You can use float16 instead",
    ),
    (
        "gpu-too-old",
        "quantization fp8",
        "ValueError: The quantization method fp8 is not supported for the current GPU. Minimum "
        "capability: 75. "
        "Current capability: DeviceCapability(major=7, minor=0).",
    ),
    (
        "gpu-too-old",
        "kind of GPU",
        "RuntimeError: CUDA error: no kernel image is available for execution on the",
    ),
    ("gpu-too-old", "compute capability", "RuntimeError: FlashAttention only supports Ampere GPUs or newer."),
    ("gpu-too-old", "FlashAttention has no program", "ValueError: Unsupported FA version: None"),
    (
        "bad-arguments",
        "is tcp://169.169.193.120:6785: Kubernetes sets variables such as VLLM_PORT",
        "ValueError: VLLM_PORT 'tcp://169.169.193.120:6785' appears to be a URI. This may be caused by a "
        "Kubernetes service discovery issue,check the warning in: https://docs.vllm.ai/",
    ),
    (
        "bad-arguments",
        "is tcp://10.0.12.3:8000: Kubernetes",
        "ValueError: invalid literal for int() with base 10: 'tcp://10.0.12.3:8000'",
    ),
    (
        "bad-arguments",
        "listen on is not one of the pod's",
        "OSError: [Errno 99] Cannot assign requested address",
    ),
    (
        "hub-unreachable",
        "an error of its own",
        "RuntimeError: Data processing error: CAS service error : Reqwest Error: HTTP status server error "
        "(500 Internal Server Error), domain: https://cas-server.xethub.hf.co",
    ),
    (
        "model-files-broken",
        "a file of the model",
        "ValueError: No tokenizer file found in directory: /weights",
    ),
    ("image-broken", "do not fit each other", "RuntimeError: Numpy is not available"),
    (
        "image-broken",
        "do not fit each other",
        "AttributeError: Qwen2Tokenizer has no attribute all_special_tokens_extended. Did you mean: 'x'?",
    ),
    (
        "image-broken",
        "could not be compiled",
        "triton.runtime.errors.PTXASError: PTXAS error: Internal Triton PTX codegen error",
    ),
    (
        "gpu-too-old",
        "FlashAttention has no program",
        "ERROR 02-17 20:51:48 [utils.py:613] Cannot use FA version 2 is not supported due to FA2 is only "
        'supported on devices with compute capability >= 8\n  File "/x/fa.py", line 1\nAssertionError',
    ),
    (
        "cuda-out-of-memory",
        "changes while the server measures it",
        "AssertionError: Error in memory profiling. Initial free memory 12.5 GiB, current free memory 14 "
        "GiB. This happens when other processes sharing the same container release GPU memory",
    ),
    (
        "hub-unreachable",
        "before it was whole",
        "requests.exceptions.ChunkedEncodingError: ('Connection broken: IncompleteRead(1 bytes read)', x)",
    ),
    (
        "hub-unreachable",
        "before it was whole",
        "httpx.RemoteProtocolError: peer closed connection without sending complete",
    ),
    (
        "gpu-driver-misfit",
        "found version 11040",
        "/usr/lib/torch/cuda/__init__.py:174: UserWarning: CUDA initialization: The NVIDIA driver on "
        "your system "
        "is too old (found version 11040). Please update your GPU driver\n"
        "RuntimeError: No CUDA GPUs are available",
    ),
    (
        "gpu-driver-misfit",
        "driver",
        "RuntimeError: Unexpected error from cudaGetDeviceCount(). Did you run some cuda functions "
        "before calling "
        "NumCudaDevices() that might have already set an error? Error 803: system has unsupported "
        "display driver "
        "/ cuda driver combination",
    ),
    ("gpu-driver-misfit", "driver", "CUDA driver version is insufficient for CUDA runtime version"),
    ("gpu-driver-misfit", "reboot", "Failed to initialize NVML: Driver/library version mismatch"),
    (
        "gpu-not-visible",
        "no GPU",
        "RuntimeError: Found no NVIDIA driver on your system. Please check that you",
    ),
    ("gpu-not-visible", "no GPU", "RuntimeError: Failed to infer device type, please set the environment"),
    ("gpu-not-visible", "no GPU", "RuntimeError: No CUDA GPUs are available"),
    ("gpu-not-visible", "no GPU", "pynvml.NVMLError_LibraryNotFound: NVML Shared Library Not Found"),
    ("gpu-not-visible", "no GPU", "ImportError: libcuda.so.1: cannot open shared object file: No such file"),
    (
        "gpu-not-visible",
        "no GPU",
        "RuntimeError: CUDA unknown error - this may be due to an incorrectly set up",
    ),
    ("gpu-not-visible", "lost its GPU", "Failed to initialize NVML: Unknown Error"),
    ("gpu-broken", "GPU", "torch.AcceleratorError: CUDA error: uncorrectable ECC error encountered"),
    ("gpu-broken", "Xid 79", "NVRM: Xid (PCI:0000:3b:00): 79, pid=1234, GPU has fallen off the bus."),
    ("gpu-broken", "GPU", "pynvml.NVMLError_GpuIsLost: GPU is lost"),
    *(
        ("gpu-program-failed", words, f"torch.AcceleratorError: CUDA error: {words}")
        for words in (
            "an illegal memory access was encountered",
            "device-side assert triggered",
            "unspecified launch failure",
            "misaligned address",
            "an illegal instruction was encountered",
            "invalid program counter",
            "operation not supported on global/shared address space",
            "the launch timed out and was terminated",
            "too many resources requested for launch",
            "invalid device function",
        )
    ),
    (
        "gpu-program-failed",
        "during capture",
        "RuntimeError: CUDA error: operation failed due to a previous error during capture",
    ),
    (
        "gpus-disconnected",
        "reach each other",
        "h:9:9 [0] misc/socket.cc:516 NCCL WARN socketStartConnect: Connect to 10.0.0.2<35> failed : refused",
    ),
    (
        "gpus-disconnected",
        "reach each other",
        "h:9:9 [0] transport/net_ib.cc:1 NCCL WARN NET/IB : Got completion from peer with status=12 opcode=0",
    ),
    (
        "gpus-disconnected",
        "reach each other",
        "h:9:9 [0] misc/socket.cc:1 NCCL WARN Call to recv from 10.0.0.2<1> failed : Broken pipe",
    ),
    (
        "model-files-broken",
        "do not fit",
        "KeyError: 'model.layers.27.self_attn.qkv_proj.weight_scale'",
    ),
    ("image-broken", "Python module vllm", "/usr/bin/python3: No module named vllm"),
    (
        "image-broken",
        "/x/inference_api.py",
        "python3: can't open file '/x/inference_api.py': [Errno 2] No such",
    ),
    ("image-broken", "program python3", "/bin/sh: 1: exec: python3: not found"),
    ("image-broken", "do not fit", "RuntimeError: operator torchvision::nms does not exist"),
    ("image-broken", "do not fit", "AttributeError: module 'numpy' has no attribute 'float'"),
    (
        "image-broken",
        "compiles",
        "subprocess.CalledProcessError: Command '['/usr/bin/gcc', '/tmp/x.c']' returned "
        "non-zero exit status 1.",
    ),
    ("image-broken", "compiles", "/usr/bin/ld: cannot find -lcuda: No such file or directory"),
    ("bad-arguments", "by fork", "RuntimeError: Cannot re-initialize CUDA in forked subprocess. To use CUDA"),
    ("path-not-writable", "no user 1000680000", "KeyError: 'getpwuid(): uid not found: 1000680000'"),
    ("gpu-count-misfit", "divided", "AssertionError: 28 is not divisible by 8"),
    (
        "gpu-too-old",
        "capability",
        "ValueError: Selected backend X is not valid for this configuration. Reason: "
        "['compute capability not supported']",
    ),
    ("volume-unavailable", "storage", "OSError: [Errno 5] Input/output error"),
    (
        "volume-unavailable",
        "storage",
        "OSError: [Errno 107] Transport endpoint is not connected: '/workspace'",
    ),
    ("volume-unavailable", "storage", "OSError: [Errno 116] Stale file handle"),
    (
        "model-files-broken",
        "/w/config.json is missing",
        "FileNotFoundError: [Errno 2] No such file or directory: '/w/config.json'",
    ),
    (
        "model-files-broken",
        "no folder /w with",
        "ValueError: Invalid repository ID or local directory specified: '/w'",
    ),
    ("model-files-broken", "no folder /w with", "OSError: Incorrect path_or_model_id: '/w'. Please provide"),
    ("model-files-broken", "no folder /w with", "ValueError: No supported config format found in /w."),
    (
        "model-files-broken",
        "do not fit",
        "AssertionError: Attempted to load weight (torch.Size([4096])) into parameter (torch.Size([5120]))",
    ),
    ("model-unsupported", "does not know", "ValueError: rope_scaling should have a 'rope_type' key"),
    (
        "hub-unreachable",
        "hub",
        "httpx.HTTPStatusError: Server error '502 Bad Gateway' for url 'https://hf.co/x'",
    ),
    ("image-broken", "program vllm", "bash: line 1: vllm: command not found"),
    ("image-broken", "program vllm", "/bin/sh: 1: vllm: not found"),
    (
        "gpu-program-failed",
        "srcIndex < srcSelectDimSize",
        "/pytorch/aten/src/ATen/native/cuda/Indexing.cu:1553: indexSelectLargeIndex: block: [3,0,0], thread: "
        "[4,0,0] Assertion `srcIndex < srcSelectDimSize` failed.",
    ),
    (
        "cuda-out-of-memory",
        "memory",
        "RuntimeError: CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`",
    ),
    (
        "gpu-program-failed",
        "CUBLAS_STATUS_EXECUTION_FAILED",
        "RuntimeError: CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasGemmEx( handle, opa`",
    ),
    ("gpu-program-failed", "failed", "RuntimeError: cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
    (
        "gpu-program-failed",
        "CUDA_ERROR_ILLEGAL_ADDRESS",
        "RuntimeError: Triton Error [CUDA]: CUDA_ERROR_ILLEGAL_ADDRESS",
    ),
    (
        "gpu-program-failed",
        "illegal memory access",
        "[rank0]:[E1102 10:00:00.1 ProcessGroupNCCL.cpp:2057] [PG ID 2 PG GUID 3 Rank 0] Process group "
        "watchdog thread terminated with exception: CUDA error: an illegal memory access was encountered",
    ),
    (
        "gpu-program-failed",
        "GPU node-1",
        "Memory access fault by GPU node-1 (Agent handle: 0x5) on address 0x7f. Reason: Unknown.",
    ),
    ("gpu-program-failed", "Xid 31", "NVRM: Xid (PCI:0000:3b:00): 31, pid=12, name=python3, MMU Fault"),
    ("gpu-broken", "Xid 48", "NVRM: Xid (PCI:0000:3b:00): 48, pid=12, DBE (double bit error)"),
    (
        "gpu-broken",
        "GPU",
        "CUDA error: Invalid access of peer GPU memory over nvlink or a hardware error",
    ),
    (
        "gpu-broken",
        "fabric",
        "RuntimeError: Unexpected error from cudaGetDeviceCount(). Error 802: system not yet",
    ),
    ("gpu-broken", "GPU", "CUDA error: all CUDA-capable devices are busy or unavailable"),
    (
        "gpu-count-misfit",
        "71 attention heads cannot be divided among 2",
        "  Value error, Total number of attention heads (71) must be divisible by tensor parallel size (2).",
    ),
    (
        "gpu-count-misfit",
        "4 GPUs, and the container sees 1",
        "ValueError: World size (4) is larger than the number of available GPUs (1) in this node. If this is",
    ),
    ("gpu-count-misfit", "more GPUs", "torch.AcceleratorError: CUDA error: invalid device ordinal"),
    (
        "gpu-count-misfit",
        "16.0 GPUs",
        "ValueError: Cannot provide a placement group requiring 16.0 GPUs "
        "(placement_group_specs=[...]) within",
    ),
    ("gpu-count-misfit", "shares of one", "init.cc:943 NCCL WARN Duplicate GPU detected : rank 1 and rank 0"),
    # --- the hub
    (
        "hub-rate-limited",
        "429",
        "HfHubHTTPError: 429 Client Error: Too Many Requests for url: https://hf.co/x",
    ),
    ("hub-rate-limited", "429", "429 Too Many Requests: you have reached your 'resolvers' rate limit."),
    (
        "model-access-denied",
        "token",
        "huggingface_hub.errors.GatedRepoError: 401 Client Error.\n\nCannot access gated repo for "
        "url https://h.co",
    ),
    (
        "model-access-denied",
        "token",
        "RuntimeError: Data processing error: CAS service error : ReqwestMiddleware Error: "
        "HTTP status client error (403 Forbidden) for url (https://cas-server.xethub.hf.co/v1/x)",
    ),
    ("model-access-denied", "token", "Access to model meta-llama/Llama-3.1-8B is restricted. You must have"),
    ("model-not-found", "no such model", "RepositoryNotFoundError: 404 Client Error. (Request ID: x)"),
    (
        "model-not-found",
        "no such model",
        "OSError: a/b is not a local folder and is not a valid model identifier",
    ),
    ("model-not-found", "revision", "huggingface_hub.errors.RevisionNotFoundError: 404 Client Error."),
    (
        "hub-unreachable",
        "resolve",
        "urllib3.exceptions.NameResolutionError: Failed to resolve 'huggingface.co' ([Errno -3] "
        "Temporary failure "
        "in name resolution)\n"
        "OSError: We couldn't connect to 'https://huggingface.co' to load the files",
    ),
    (
        "hub-unreachable",
        "cannot reach huggingface.co",
        "requests.exceptions.ConnectTimeout: HTTPSConnectionPool(host='huggingface.co', port=443): "
        "Max retries",
    ),
    (
        "hub-unreachable",
        "offline mode",
        "LocalEntryNotFoundError: Cannot find an appropriate cached snapshot folder for the "
        "specified revision on "
        "the local disk and outgoing traffic has been disabled.",
    ),
    (
        "hub-unreachable",
        "certificate",
        "ssl.SSLCertVerificationError: [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: "
        "self-signed",
    ),
    (
        "hub-unreachable",
        "proxy",
        "requests.exceptions.ProxyError: HTTPSConnectionPool(host='huggingface.co', port=1)",
    ),
    (
        "hub-unreachable",
        "cannot reach",
        "OSError: We couldn't connect to 'https://huggingface.co' to load the",
    ),
    ("disk-full", "disk", "OSError: Not enough free disk space to download the file."),
    ("disk-full", "disk", "OSError: [Errno 28] No space left on device"),
    ("path-not-writable", "read-only", "OSError: [Errno 30] Read-only file system: '/root/.cache'"),
    ("path-not-writable", "/.cache", "PermissionError: [Errno 13] Permission denied: '/.cache'"),
    # --- files and models
    ("model-files-broken", "git-lfs", "SafetensorError: Error while deserializing header: header too large"),
    ("model-files-broken", "git-lfs", "_pickle.UnpicklingError: invalid load key, 'v'."),
    (
        "model-files-broken",
        "cut off",
        "SafetensorError: Error while deserializing header: MetadataIncompleteBuffer",
    ),
    (
        "adapter-misfit",
        "cannot be merged: q_proj is 999x4 in the adapter",
        "error: adapter style cannot be merged\n"
        "  adapter-shape-differs: q_proj is 999x4 in the adapter and 64x4 in the model\n"
        "hint: kaitoctl explain adapter-shape-differs",
    ),
    ("model-files-broken", "cut off", "SafetensorError: ...: incomplete metadata, file not fully covered"),
    ("model-files-broken", "cut off", "RuntimeError: PytorchStreamReader failed reading zip archive"),
    (
        "model-files-broken",
        "cannot be read",
        "Error while deserializing header: InvalidHeaderDeserialization",
    ),
    ("model-files-broken", "missing", "RuntimeError: Cannot find any model weights with `/weights`"),
    ("model-files-broken", "missing", "OSError: /weights does not appear to have a file named config.json."),
    (
        "model-unsupported",
        "code of its own",
        "Please pass the argument `trust_remote_code=True` to allow custom code",
    ),
    (
        "model-unsupported",
        "architecture 'FooForCausalLM'",
        "Value error, Model architectures ['FooForCausalLM'] are not supported for now. Supported "
        "architectures:",
    ),
    (
        "model-unsupported",
        "type foo4",
        "The checkpoint you are trying to load has model type `foo4` but Transformers does not "
        "recognize this "
        "architecture.",
    ),
    (
        "model-unsupported",
        "quantization",
        "Value error, Unknown quantization method: awq2. Must be one of [...]",
    ),
    (
        "model-unsupported",
        "chat template",
        "ValueError: Cannot use chat template functions because tokenizer.chat",
    ),
    ("model-unsupported", "older", "Exception: data did not match any variant of untagged enum ModelWrapper"),
    (
        "crash-loop",
        "data.example answers with 404",
        "requests.exceptions.HTTPError: 404 Client Error: Not Found for url: https://data.example/y.parquet",
    ),
    (
        "crash-loop",
        "10.0.0.7 answers with 403",
        "HTTPError: 403 Client Error: Forbidden for url: http://10.0.0.7/files/y.parquet",
    ),
    (
        "model-not-found",
        "no such model",
        "HTTPError: 404 Client Error: Not Found for url: https://hf-mirror.com/a/b/resolve/main/config.json",
    ),
    ("gpu-too-old", "compute capability", "RuntimeError: PassManager::run failed"),
    ("gpu-too-old", "compute capability", "RuntimeError: FlashInfer requires GPUs with sm75 or higher"),
    (
        "process-limit",
        "open files",
        "RuntimeError: unable to open shared memory object </torch_1_2> in read-write mode: Too many open "
        "files (24)",
    ),
    (
        "model-unsupported",
        "chat template",
        "ValueError: The supplied chat template (/x.jinja) looks like a file path, but it failed to be "
        "opened.",
    ),
    ("model-unsupported", "GGUF", "ValueError: GGUF model with architecture foo is not supported yet."),
    ("model-unsupported", "phi9", "RuntimeError: Unknown gguf model_type: phi9"),
    (
        "hub-unreachable",
        "cas-bridge.xethub.hf.co",
        "RuntimeError: Data processing error: CAS service error : Reqwest Error: HTTP status client error "
        "(403 Forbidden), domain: https://cas-bridge.xethub.hf.co/xet-bridge-us/66",
    ),
    (
        "hub-unreachable",
        "us.aws.cdn.hf.co",
        "HTTP status client error (403 Forbidden) for url (https://us.aws.cdn.hf.co/xorbs/default/d2?Expires=1)",
    ),
    (
        "hub-unreachable",
        "cdn-lfs-us-1.hf.co",
        "requests.exceptions.HTTPError: 403 Client Error: Forbidden for url: https://cdn-lfs-us-1.hf.co/repos/1",
    ),
    # --- processes
    (
        "bad-arguments",
        "--max-modellen 4096",
        "usage: api_server.py [-h]\napi_server.py: error: unrecognized arguments: --max-modellen 4096",
    ),
    ("bad-arguments", "argument --port", "api_server.py: error: argument --port: invalid int value: 'x'"),
    ("port-in-use", "port", "OSError: [Errno 98] Address already in use"),
    ("image-broken", "module flash_attn", "ModuleNotFoundError: No module named 'flash_attn'"),
    ("image-broken", "fit", "ImportError: /usr/lib/x.so: undefined symbol: _ZN3c104cuda"),
    ("image-broken", "without CUDA", "AssertionError: Torch not compiled with CUDA enabled"),
    ("worker-died", "signal 9", "RuntimeError: Worker proc VllmWorker-1 died unexpectedly (exit code: -9)"),
    (
        "worker-died",
        "signal 9",
        "  exitcode  : -9 (pid: 45)\n  traceback : Signal 9 (SIGKILL) received by PID 45",
    ),
    (
        "worker-died",
        "died",
        "ERROR 11-02 10:00:00 [x.py:1] Worker proc VllmWorker-1 died unexpectedly, shutting",
    ),
    (
        "worker-died",
        "Ray",
        "ray.exceptions.ActorDiedError: The actor died unexpectedly before finishing this task.",
    ),
    (
        "gpus-disconnected",
        "communication",
        "torch.distributed.DistBackendError: NCCL error in: ProcessGroupNCCL.cpp:1691, unhandled "
        "system error",
    ),
    (
        "gpus-disconnected",
        "communication",
        "[rank0]:[E1102 10:00:00 ProcessGroupNCCL.cpp:632] [Rank 0] Watchdog caught collective "
        "operation timeout:",
    ),
    (
        "slow-start",
        "VLLM_ENGINE_READY_TIMEOUT_S",
        "TimeoutError: Timed out waiting for engine core processes to start.",
    ),
    # --- siblings that were read otherwise at first
    (
        "gpu-too-old",
        "compute capability",
        "ValueError: Cannot use FlashAttention-2 backend for Volta and Turing GPUs.",
    ),
    ("gpu-not-visible", "no GPU", "RuntimeError: No HIP GPUs are available"),
    ("gpu-count-misfit", "more GPUs", "ValueError: Ray does not allocate any GPUs on the driver node."),
    (
        "model-files-broken",
        "no folder /mnt/x",
        "HFValidationError: Repo id must be in the form 'a' or 'a/b': '/mnt/x'.",
    ),
    (
        "model-files-broken",
        "lacks a file",
        "RemoteEntryNotFoundError: 404 Client Error. (Request ID: Root=1)",
    ),
    (
        "worker-died",
        "out of memory",
        "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): "
        "{'EngineCore_DP0': -9}",
    ),
    (
        "worker-died",
        "signal 11",
        "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): "
        "{'EngineCore_DP0': -11}",
    ),
    ("worker-died", "signal 9", "[ERROR] failed (exitcode=-9) local_rank: 0"),
    ("out-of-memory", "main memory", "Memory cgroup out of memory: Killed process 77 (python3) total-vm:1kB"),
    (
        "hub-unreachable",
        "cannot reach",
        "huggingface_hub.errors.LocalEntryNotFoundError: An error happened while trying to locate "
        "the file on the "
        "Hub and we cannot find the requested files in the local cache.",
    ),
    (
        "hub-unreachable",
        "cannot reach",
        "requests.exceptions.ConnectionError: ('Connection aborted.', Reset(104))",
    ),
    (
        "gpu-too-old",
        "bfloat16",
        "ValueError: Your setup doesn't support bf16/gpu. You need torch>=1.10, using Ampere",
    ),
    (
        "gpu-count-misfit",
        "more GPUs",
        "AssertionError: device >= 0 && device < num_gpus INTERNAL ASSERT FAILED",
    ),
    (
        "shared-memory-too-small",
        "/dev/shm",
        "RuntimeError: unable to mmap 134217728 bytes from file </dev/shm/torch_1>: Cannot allocate "
        "memory (12)",
    ),
    ("path-not-writable", "/models", "mkdir: cannot create directory '/models': Permission denied"),
    (
        "model-files-broken",
        "cannot be read",
        "OSError: Unable to load weights from pytorch checkpoint file for 'x'",
    ),
    *QUANTIZED,
    *OF_PARTS,
    *OF_OPTIONS,
    *OF_ENGINES,
]


@pytest.mark.parametrize(("code", "words", "log"), CASES, ids=lambda one: str(one)[:40])
def test_a_line_that_is_known_names_the_cause(code: str, words: str, log: str) -> None:
    found = cause(log)
    assert found.code == code, found
    assert words.lower() in found.message.lower() or words in found.hint
    assert any(source == "log" for source, _ in found.evidence)
    assert "{" not in found.message + text(found.hint)


ADAPTERS = [
    (
        "was made with a newer PEFT",
        "TypeError: LoraConfig.__init__() got an unexpected keyword argument 'corda_config'",
    ),
    ("newer PEFT", "TypeError: __init__() got an unexpected keyword argument 'layer_replication'"),
    (
        "modules that the model does not have",
        "ValueError: Target modules {'c_attn'} not found in the base model.",
    ),
    (
        "its rank is 64, and the server takes up to 16",
        "ValueError: LoRA rank 64 is greater than max_lora_rank 16.",
    ),
    (
        "takes no adapters",
        "ValueError: LoRA is not supported for FooForCausalLM (foo). Supported models implement",
    ),
    ("--enable-lora", "RuntimeError: LoRA is not enabled. Use --enable-lora to enable LoRA."),
    (
        "it changes ['embed_tokens']",
        "ValueError: While loading /mnt/adapter/style, expected target modules in ['qkv_proj'] but received "
        "['embed_tokens']. Please verify that the loaded LoRA module is correct",
    ),
    *OF_FEATURES,
    *OF_KINDS,
    (
        "their sizes differ",
        "RuntimeError: Error(s) in loading state_dict for PeftModelForCausalLM:\n        size mismatch for "
        "base_model.model.x.q_proj.lora_A.default.weight: copying a param with shape torch.Size([16, 4096])",
    ),
    ("of a kind", "ValueError: base_model.model.x is unsupported LoRA weight"),
    ("no weights", "ValueError: /mnt/adapter/style doesn't contain tensors"),
    ("git-lfs", "safetensors_rust.SafetensorError: Error while deserializing header: HeaderTooLarge"),
    ("cut off", "safetensors_rust.SafetensorError: Error while deserializing header: InvalidHeaderLength"),
]


@pytest.mark.parametrize(("words", "log"), ADAPTERS, ids=lambda one: one[:40])
def test_an_adapter_that_is_not_loaded_is_named_with_the_command_that_takes_it_out(
    words: str, log: str
) -> None:
    found = cause(log, adapters=("style",))
    assert (found.code, words in found.message) == ("adapter-misfit", True), found
    assert text(found.command) == "kaitoctl remove-adapter falcon -n default --name style"


def test_without_adapters_of_its_own_a_workspace_gets_no_command_about_them() -> None:
    found = cause("ValueError: LoRA rank 64 is greater than max_lora_rank 16.")
    assert (found.code, "remove-adapter" in found.command) == ("adapter-misfit", False)


V1 = """\
(EngineCore_DP0 pid=272) INFO 11-02 10:00:00 [core.py:71] Initializing a V1 LLM engine
(EngineCore_DP0 pid=272) ERROR 11-02 10:00:09 [core.py:700] EngineCore failed to start.
(EngineCore_DP0 pid=272) ERROR 11-02 10:00:09 [core.py:700] Traceback (most recent call last):
(EngineCore_DP0 pid=272) ERROR 11-02 10:00:09 [core.py:700]   File "/usr/lib/vllm/v1/engine/core.py", line 1
(EngineCore_DP0 pid=272) ERROR 11-02 10:00:09 [core.py:700]     raise ValueError("No available memory")
(EngineCore_DP0 pid=272) ERROR 11-02 10:00:09 [core.py:700] {error}
(EngineCore_DP0 pid=272) Process EngineCore_DP0:
(EngineCore_DP0 pid=272) Traceback (most recent call last):
(EngineCore_DP0 pid=272) {error}
(APIServer pid=1) Traceback (most recent call last):
(APIServer pid=1)   File "/usr/lib/vllm/v1/engine/utils.py", line 732, in wait_for_engine_startup
(APIServer pid=1)     raise RuntimeError("Engine core initialization failed. "
(APIServer pid=1) RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s)
"""


def v1(error: str) -> str:
    """A log of vLLM V1, whose last line says nothing."""
    return V1.replace("{error}", error)


def test_the_last_line_of_vllm_v1_is_never_the_cause() -> None:
    found = cause(v1("ValueError: No available memory for the cache blocks."))
    assert found.code == "cuda-out-of-memory"
    unknown = cause(v1("AssertionError: block tables are of unequal length"))
    assert (unknown.code, unknown.message) == (
        "crash-loop",
        "falcon ends with exit code 1: AssertionError: block tables are of unequal length",
    )


def test_what_the_other_workers_saw_is_not_the_cause() -> None:
    log = (
        "(VllmWorker rank=1 pid=90) ERROR 11-02 10:00:01 [x.py:1] "
        "torch.distributed.DistBackendError: NCCL error\n"
        "(VllmWorker rank=0 pid=89) ERROR 11-02 10:00:02 [x.py:1] torch.OutOfMemoryError: CUDA out "
        "of memory.\n"
        "(EngineCore pid=1) ERROR 11-02 10:00:03 [x.py:1] RuntimeError: Worker proc VllmWorker-0 "
        "died unexpectedly"
    )
    assert cause(log).code == "cuda-out-of-memory"
    killed = "RuntimeError: cancelled\nNCCL error: unhandled system error\nProcess 7 ended (exitcode: -9)\n"
    assert cause(killed).code == "worker-died"


def test_a_library_that_is_not_used_is_not_the_cause() -> None:
    log = (
        "ERROR 11-02 10:00:00 [cextension.py:317] bitsandbytes library load error: Configured CUDA binary "
        "not "
        "found at /opt/bitsandbytes/libbitsandbytes_cuda131.so\n"
        "The installed version of bitsandbytes was compiled without GPU support.\n"
        "ValueError: the tokenizer is odd"
    )
    found = cause(log)
    assert (found.code, "the tokenizer is odd" in found.message) == ("crash-loop", True)


def test_what_is_said_in_passing_counts_only_when_nothing_else_is_said() -> None:
    warning = "WARNING 11-02 10:00:00 [x.py:1] 429 Client Error: Too Many Requests, retrying in 1s"
    assert cause(f"{warning}\nIndexError: list index out of range").code == "crash-loop"
    assert cause(warning).code == "hub-rate-limited"
    missing = "NET/Plugin: libnccl-net.so: cannot open shared object file: No such file or directory"
    for said in (
        "INFO 11-02 10:00:00 [x.py:1] 429 Client Error: Too Many Requests",
        f"falcon-0:9:9 [0] NCCL INFO {missing}",
        f"[I1102 10:00:00.123 x.cpp:7] {missing}",
        f"2026-01-01 10:00:00.123 | INFO     | x:y:1 - {missing}",
        f'{{"asctime": "2026-01-01", "levelname": "INFO", "message": "{missing}"}}',
    ):
        assert cause(said).code == "crash-loop", said
        assert cause(said.replace("INFO", "ERROR").replace("I1102", "E1102")).code != "crash-loop"


CUDA = [
    line.split("\t")
    for line in (Path(__file__).parents[1] / "data" / "cuda_errors.tsv").read_text().splitlines()[1:]
]


CUDA_FORMS = (
    "torch.AcceleratorError: CUDA error: {words}",
    "RuntimeError: CUDA driver error: {words}",
    "h:9:9 [0] transport/p2p.cc:275 NCCL WARN Cuda failure {number} '{words}'",
    "Failed: Cuda error /workspace/csrc/custom_all_reduce.cuh:455 '{words}'",
)


@pytest.mark.parametrize(("number", "name", "words", "code"), CUDA, ids=lambda one: one[:12])
def test_each_error_of_cuda_leads_to_a_cause(number: str, name: str, words: str, code: str) -> None:
    found = [cause(form.format(number=number, words=words)) for form in CUDA_FORMS]
    assert {one.code for one in found} == {code}
    if code == "gpu-program-failed":
        assert all(words[:25] in one.message for one in found)
        return
    assert cause(name).code in (code, "gpu-not-visible"), "by its name, too"
    asked = cause(f"RuntimeError: Unexpected error from cudaGetDeviceCount(). Error {number}: {words}")
    # Asked for before anything is loaded: a GPU that has no memory then is somebody else's.
    message = "something else uses this GPU" if number == "2" else found[0].message
    assert (asked.code, asked.message.endswith(message)) == (code, True)


@pytest.mark.parametrize(
    ("log", "error"),
    [
        ("Traceback (most recent call last):\n  File \"x\"\nKeyError: 'layers'\n", "KeyError: 'layers'"),
        (
            "pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig\n"
            "  Value error, this model is odd [type=value_error, input_value=ArgsKwargs((), {}), "
            "input_type=x]\n"
            "    For further information visit https://errors.pydantic.dev/2.11/v/value_error",
            "this model is odd",
        ),
        ("\x1b[31mERROR\x1b[0m 11-02 10:00:00 [x.py:1] all is lost\nbye\n", "all is lost"),
        ("loading\nSegmentation fault (core dumped)\n", "Segmentation fault"),
        ("2026-01-01 10:00:00,123 - ERROR - it broke\n", "it broke"),
        ("(RayWorkerWrapper pid=8, ip=10.0.0.7) ValueError: odd\n", "ValueError: odd"),
        ("pynvml.NVMLError_NoPermission: Insufficient Permissions\n", "pynvml.NVMLError_NoPermission"),
        # Exceptions whose names do not end as most do, and names that are none.
        (
            "triton.runtime.errors.OutOfResources: out of resource: shared memory, Required: 163840\n",
            "triton.runtime.errors.OutOfResources: out of resource",
        ),
        ("loading\n!!!!!!! Segfault encountered !!!!!!!\n", "!!!!!!! Segfault encountered"),
        (
            "gpu:1:1 [0] transport/p2p.cc:330 NCCL WARN Could not map what nobody has seen\n",
            "gpu:1:1 [0] transport/p2p.cc:330 NCCL WARN",
        ),
        ("zmq.error.Again: Resource temporarily unavailable\n", "zmq.error.Again"),
        # Classes that begin as PEFT's do, or are PEFT's and vLLM's own; TLS of what is no hub's.
        *(
            (f"TypeError: {name}.__init__() {words}\n", f"TypeError: {name}.__init__()")
            for name in (
                "EvalPrediction",
                "PolyNorm",
                "BackBoneConfig",
                "PrefixCacheStats",
                "LoRAModelManager",
            )
            for words in (
                "got an unexpected keyword argument 'x'",
                "missing 1 required positional argument: 'x'",
            )
        ),
        *(
            (f"AttributeError: '{name}' object has no attribute 'x'\n", f"AttributeError: '{name}' object")
            for name in ("LoraConfig", "PeftConfig", "KVCacheConfig", "VllmConfig", "ModelConfig")
        ),
        (
            "ssl.SSLError: [SSL: KEY_VALUES_MISMATCH] key values mismatch (_ssl.c:1)\n",
            "ssl.SSLError: [SSL: KEY",
        ),
        ("_queue.Empty\n", "_queue.Empty"),
        ("INFO 11-02 10:00:00 [x.py:1] vllm.v1.Worker: ready\n", ""),
        ("loading vllm.v1.Worker: ready\n", ""),
        ("hello\nworld\n", ""),
        ("", ""),
    ],
)
def test_what_is_not_known_is_quoted(log: str, error: str) -> None:
    said = of_logs.last_error(log)
    assert said.startswith(error) if error else not said
    found = cause(log)
    assert (found.code, error in found.message) == ("crash-loop", True)


@pytest.mark.parametrize(
    "secret",
    ["hf_AbCdEfGhIjKlMnOpQrStUv", "AKIAIOSFODNN7EXAMPLE", "me:pa55word", "ghp_abcdefghijklmnop1234"],
)
def test_no_secret_of_a_log_is_shown(secret: str) -> None:
    for log in (
        f"ValueError: https://{secret}@huggingface.co is odd",
        f"401 Client Error: Unauthorized for https://{secret}@huggingface.co, token={secret}",
        f"error: unrecognized arguments: --url https://{secret}@x.example --api-key={secret}",
    ):
        assert secret not in repr(cause(log))
    for length in (180, 390, 690):
        assert secret[:12] not in repr(
            cause(f"error: unrecognized arguments: {'x' * length} https://{secret}@h")
        )


def test_a_log_of_any_size_is_read_from_its_end() -> None:
    found = cause("x" * 3_000_000 + "\nloading\n" * 5_000 + "torch.OutOfMemoryError: CUDA out of memory.\n")
    assert found.code == "cuda-out-of-memory"
    assert len(cause("ValueError: " + "y" * 100_000).message) < 1_000


def test_where_logs_may_not_be_read_the_kubelets_message_is() -> None:
    pod = {
        "kind": "Pod",
        "metadata": {"name": "falcon-1", "namespace": "default"},
        "spec": {"nodeName": "gpu-a", "containers": [{"name": "falcon"}]},
        "status": {
            "containerStatuses": [
                {
                    "name": "falcon",
                    "state": {
                        "terminated": {"exitCode": 1, "message": "RuntimeError: No CUDA GPUs are available"}
                    },
                }
            ]
        },
    }
    found = diagnose(Snapshot(workspace(), pods=(pod,), unseen={"pods/log": "forbidden"}), NOW).cause
    assert found
    assert found.code == "gpu-not-visible"


def test_every_row_has_a_source_and_a_code_that_is_explained() -> None:
    assert {reading.code for _, reading in PATTERNS} <= set(CODES)
    assert all(reading.source and reading.hint for _, reading in PATTERNS)


def test_every_code_of_the_tables_is_tried() -> None:
    tried = {code for code, _, _ in CASES} | {"adapter-misfit"}
    assert {reading.code for _, reading in PATTERNS} == tried


def test_most_rows_are_tried() -> None:
    """A row that no line here reaches may have a pattern that nothing fits."""
    logs = [log for _, _, log in CASES] + [log for _, log in ADAPTERS]
    logs += [f"CUDA error: {words}" for _, _, words, _ in CUDA]
    # As they are read: what pydantic says of an option stands behind its name.
    logs += ["\n".join(line for _, line in of_logs.lines_of(log)) for log in logs]
    reached = {id(reading) for log in logs for _, reading, _ in readings(log)}
    unreached = [pattern for pattern, reading in PATTERNS if id(reading) not in reached]
    assert len(unreached) <= 12, unreached
