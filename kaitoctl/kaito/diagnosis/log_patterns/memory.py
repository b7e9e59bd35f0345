"""Too little memory: of the GPU, of the node, shared memory; and contexts that are too long."""

from __future__ import annotations

from kaitoctl.kaito.diagnosis.log_patterns.reading import NCCL, RAY, TORCH, VLLM, WHERE, Reading, Row

_LARGER = "take GPUs with more memory, a smaller max-model-len, or a smaller model"
_SHM = "mount an emptyDir with medium: Memory at /dev/shm in the pod template, large enough"

_USED_BEFORE = Reading(
    "cuda-out-of-memory",
    "the GPU has no memory left for the first byte of the server: something else uses this GPU",
    "check what else runs on the GPU (nvidia-smi on the node; GPU sharing): end it, or keep it away",
    f"{TORCH} c10/cuda/CUDAFunctions.cpp, which asks before anything is loaded",
    step="node",
)
_ANOTHERS = Reading(
    "cuda-out-of-memory",
    "another process holds memory of this GPU ({theirs})",
    "check what else runs on the GPU (nvidia-smi on the node; GPU sharing): end it, or keep it away",
    f"{TORCH} c10/cuda/CUDACachingAllocator.cpp, which tells its own memory from others'",
    step="node",
)
PATTERNS: tuple[Row, ...] = (
    # --- memory of the GPU
    (
        r"max seq len \((?P<wanted>[\d,]+)\).{0,300}?estimated maximum model length is (?P<fits>\d[\d,]*)",
        Reading(
            "cuda-out-of-memory",
            "the GPU memory has room for a context of {fits} tokens, and {wanted} are asked for",
            "set max-model-len to at most {fits} (" + WHERE + "), or take GPUs with more memory",
            f"{VLLM} v1/core/kv_cache_planning.py",
        ),
    ),
    (
        r"estimated maximum model length is (?P<fits>\d[\d,]*)",
        Reading(
            "cuda-out-of-memory",
            "the GPU memory has room for a context of {fits} tokens, and more are asked for",
            "set max-model-len to at most {fits} (" + WHERE + "), or take GPUs with more memory",
            f"{VLLM} v1/core/kv_cache_planning.py",
        ),
    ),
    (
        r"max seq len \((?P<wanted>[\d,]+)\).{0,300}?KV cache is needed",
        Reading(
            "cuda-out-of-memory",
            "the GPU memory has no room for a context of {wanted} tokens beside the weights",
            _LARGER,
            f"{VLLM} v1/core/kv_cache_planning.py",
        ),
    ),
    (
        r"max seq len \((?P<wanted>[\d,]+)\) is larger than the maximum number of tokens that can be stored "
        r"in KV cache \((?P<fits>\d[\d,]*)\)",
        Reading(
            "cuda-out-of-memory",
            "the GPU memory has room for a context of {fits} tokens, and {wanted} are asked for",
            "set max-model-len to at most {fits} (" + WHERE + "), or take GPUs with more memory",
            "vLLM 0.8 (V0) worker/worker.py",
        ),
    ),
    (
        r"Free memory on device(?: \S{1,40})? \((?P<free>[\d.]+)/(?P<total>[\d.]+) GiB\) on startup is less",
        Reading(
            "cuda-out-of-memory",
            "only {free} of {total} GiB of the GPU's memory are free when the server starts: "
            "something else uses this GPU",
            "check what else runs on the GPU (nvidia-smi on the node; GPU sharing), or lower "
            "gpu-memory-utilization (" + WHERE + ")",
            f"{VLLM} v1/worker/utils.py",
            step="node",
        ),
    ),
    (
        r"is less than desired GPU memory utilization|less than the engine's budget after excluding",
        Reading(
            "cuda-out-of-memory",
            "too little of the GPU's memory is free when the server starts: something else uses this GPU",
            "check what else runs on the GPU (nvidia-smi on the node; GPU sharing), or lower "
            "gpu-memory-utilization (" + WHERE + ")",
            f"{VLLM} v1/worker/utils.py",
            step="node",
        ),
    ),
    (
        r"Error in memory profiling|Initial free memory .{1,60}current free memory|"
        r"GPU memory was not properly cleaned up",
        Reading(
            "cuda-out-of-memory",
            "the GPU's free memory changes while the server measures it: something else uses this GPU",
            "check what else runs on the GPU (nvidia-smi on the node; GPU sharing)",
            f"{VLLM} v1/worker/gpu_worker.py",
            step="node",
        ),
    ),
    (
        r"exceeds available Mamba cache blocks \((?P<fits>\d+)\)",
        Reading(
            "cuda-out-of-memory",
            "the GPU memory has room for {fits} sequences at a time, and more are asked for",
            "set max-num-seqs to at most {fits} (" + WHERE + "), or take GPUs with more memory",
            f"{VLLM} config/compilation.py",
        ),
    ),
    (
        r"out of memory occurred when warming up \w{1,20} .{0,40}with (?P<seqs>\d+) dummy requests|"
        r"out of memory occurred when warming up",
        Reading(
            "cuda-out-of-memory",
            "the GPU memory does not suffice for as many sequences at a time",
            "lower max-num-seqs (" + WHERE + "), or take GPUs with more memory",
            f"{VLLM} v1/worker/gpu_model_runner.py",
        ),
    ),
    (
        r"No available memory for the cache blocks|Cannot auto-fit max_model_len: not enough GPU memory|"
        r"tokens that can be stored in KV cache",
        Reading(
            "cuda-out-of-memory",
            "the weights leave no GPU memory for a context",
            _LARGER,
            f"{VLLM} v1/core/kv_cache_planning.py",
        ),
    ),
    (
        r"ray\.exceptions\.OutOfMemoryError|Task was killed due to the node running low on memory|"
        r"Workers? \(tasks / actors\) killed due to memory pressure",
        Reading(
            "out-of-memory",
            "Ray killed a worker: the main memory does not suffice",
            "take a node with more memory, or raise the limit",
            f"{RAY} src/ray/raylet/node_manager.cc",
        ),
    ),
    (
        r"this process has [\d.]{1,8} [GM]iB memory in use\. "
        r"Process \d+ has (?P<theirs>[1-9]\d{0,3}\.\d+ GiB)",
        _ANOTHERS,
    ),
    (
        r"Process \d+ has (?P<theirs>[1-9]\d{0,3}\.\d+ GiB) memory in use\. "
        r"(?:Including .{0,40}this process has |Process \d+ has [1-9]\d{0,3}\.\d+ GiB)",
        _ANOTHERS,
    ),
    (
        r"out of memory\. Tried to allocate (?P<asked>[\d.]+ [KMGT]iB)[.(; ]{1,3}GPU \d+ has a total "
        r"capacity of (?P<total>[\d.]+ [KMGT]iB)",
        Reading(
            "cuda-out-of-memory",
            "the GPU's memory ({total}) does not suffice: {asked} more were asked for",
            _LARGER,
            f"{TORCH} c10/cuda/CUDACachingAllocator.cpp",
        ),
    ),
    (
        r"out of memory\. Tried to allocate (?P<asked>[\d.]+ [KMGT]iB)",
        Reading(
            "cuda-out-of-memory",
            "the GPU's memory does not suffice: {asked} more were asked for",
            _LARGER,
            "PyTorch 1.13 to 2.1 c10/cuda/CUDACachingAllocator.cpp",
        ),
    ),
    (r"cudaGetDeviceCount\(\).{0,200}?Error 2: out of memory", _USED_BEFORE),
    (
        r"Not enough memory\. Please try to (?:increase|reduce) --(?P<option>[\w-]{3,40})",
        Reading(
            "cuda-out-of-memory",
            "the share of the GPU's memory that SGLang may use has no room for the weights and a context",
            "change {option} as the message says, in the command of the pod template, or take GPUs with more "
            "memory",
            "SGLang 0.5 srt/model_executor/model_runner.py",
        ),
    ),
    (
        r"Failed to CUDA (?:calloc|malloc|host alloc)",
        Reading(
            "cuda-out-of-memory",
            "NCCL finds no GPU memory for itself beside the server's",
            "lower gpu-memory-utilization (" + WHERE + "), and check what else runs on the GPU",
            f"{NCCL} src/include/alloc.h",
        ),
    ),
    (
        r"(?i)(?:CUDA|HIP|XPU) out of memory|OutOfMemoryError|CUDA error: out of memory|"
        r"CUDA_ERROR_OUT_OF_MEMORY|cudaErrorMemoryAllocation|"
        r"(?:CUBLAS|CUDNN)_STATUS_(?:ALLOC_FAILED|NOT_INITIALIZED)|"
        r"(?:Cuda failure (?:\d+ )?'|CUDA driver error: |Error 2: |Cuda error \S{1,120} ')out of memory|"
        r"not enough GPU memory|"
        r"Triton Error \[\w{1,8}\]: .{0,40}out of memory",
        Reading(
            "cuda-out-of-memory",
            "the model does not fit the GPU memory that the pod has",
            _LARGER,
            f"{TORCH} c10/cuda/CUDACachingAllocator.cpp, CUDA 13 driver_types.h, {NCCL} include/checks.h; "
            "Triton 3.x third_party/nvidia and amd/backend/driver.c",
        ),
    ),
    # --- shared memory of the GPU's multiprocessors, which has nothing to do with /dev/shm
    (
        r"out of resource: (?P<what>shared memory|tensor memory|threads), Required: (?P<needs>\d+), "
        r"Hardware limit: (?P<has>\d+)",
        Reading(
            "gpu-too-old",
            "a program for the GPU needs more {what} in each multiprocessor than this kind of GPU has: "
            "{needs}, and there are {has}",
            "take a node with a larger kind of GPU, another attention backend (VLLM_ATTENTION_BACKEND), or a "
            "newer image, whose programs may be smaller",
            "Triton 3.5 python/triton/runtime/errors.py, compiler/compiler.py",
        ),
    ),
    # --- shared memory; before main memory and the disk, whose words it shares
    (
        r"(?i)/dev/shm.{0,120}No space left on device|No space left on device.{0,80}/dev/shm|"
        r"Error while (?:creating|attaching to) shared memory|posix_fallocate failed|"
        r"insufficient shared memory|failed to extend /dev/shm|fallocate: Failed to extend|"
        r"unable to (?:open|resize|write|mmap|allocate).{0,60}(?:shared memory|/dev/shm)"
        r"(?!.{0,80}Too many open files)|Could "
        r"not.{0,20}shm_open|"
        # Names of shared memory: torch's, and those of Python's shared_memory and semaphores.
        r"unable to (?:resize|write|stretch|allocate)[^<\n]{0,40}</torch_\d|"
        r"No space left on device: '/(?:psm_|mp-)|"
        r"shared memory segment.{0,80}\(size \d|increase your /dev/shm|"
        r"exceeds /dev/shm size",
        Reading(
            "shared-memory-too-small",
            "the container's shared memory, /dev/shm, is too small",
            _SHM,
            f"{NCCL} src/os/linux.cc; {TORCH} torch/utils/data/_utils/signal_handling.py, "
            "aten/src/ATen/MapAllocator.cpp; Python 3.12 multiprocessing",
        ),
    ),
    (
        r"(?i)bus error|SIGBUS",
        Reading(
            "shared-memory-too-small",
            "a bus error: mostly the container's shared memory, /dev/shm, is too small, or else a file that "
            "was mapped into memory was cut off",
            _SHM + "; if it has room, load the weights again",
            f"Linux signal(7); {TORCH} torch/utils/data/_utils/signal_handling.py",
            depth=1,
        ),
    ),
    (
        r"worker \(pid\(?s?\)? [\d, ]{1,80}\) (?:is killed by signal: Killed|exited unexpectedly)",
        Reading(
            "worker-died",
            "a process that loads data for the server was killed, most likely by the kernel: out of memory",
            "take a node with more memory, raise the limit, or let fewer processes load (num_workers)",
            f"{TORCH} torch/csrc/DataLoader.cpp, torch/utils/data/dataloader.py",
        ),
    ),
    # --- main memory
    (
        r"[Mm]emory cgroup out of memory|Out of memory: Killed process|oom-kill:|DefaultCPUAllocator: "
        r"(?:can't|not enough)|(?<!with error )Cannot allocate memory|std::bad_alloc|^MemoryError\b|"
        r"numpy\.{1,2}core\S{0,30}ArrayMemoryError|os error 12\b",
        Reading(
            "out-of-memory",
            "the container's main memory does not suffice",
            "take a node with more memory, or raise the limit",
            f"{TORCH} c10/core/impl/alloc_cpu.cpp, glibc",
        ),
    ),
    # --- the context that the model can have
    (
        r"max_model_len \((?P<wanted>\d+)\) is greater than the derived max_model_len "
        r"\(\w{1,60}=(?P<limit>\d+)",
        Reading(
            "context-too-long",
            "the model can have a context of {limit} tokens, and max-model-len asks for {wanted}",
            "set max-model-len to at most {limit} (" + WHERE + ")",
            f"{VLLM} config/model.py",
        ),
    ),
    (
        r"is greater than the derived max_model_len",
        Reading(
            "context-too-long",
            "max-model-len asks for a longer context than the model can have",
            "set a smaller max-model-len (" + WHERE + ")",
            f"{VLLM} config/model.py",
        ),
    ),
)
