"""GPUs that are missing, broken, too old, too few, or whose driver does not fit."""

from __future__ import annotations

from kaitoctl.kaito.diagnosis.log_patterns.cuda import PROGRAM
from kaitoctl.kaito.diagnosis.log_patterns.reading import NCCL, RAY, TORCH, VLLM, WHERE, Reading, Row

_NEWER_GPU = "take a node with a newer GPU"
_FEWER = "take an instance type with more GPUs, or a smaller tensor-parallel-size"

PATTERNS: tuple[Row, ...] = (
    # --- GPUs that are too old, and drivers that do not fit
    (
        r"Bfloat16 is only supported on GPUs with compute capability of at least (?P<needs>\d+\.\d+)\. "
        r"Your (?P<gpu>.{1,60}?) GPU has compute capability (?P<has>\d+\.\d+)",
        Reading(
            "gpu-too-old",
            "{gpu} cannot compute in bfloat16: its compute capability is {has}, and {needs} is needed",
            "set dtype: float16 (" + WHERE + "), or " + _NEWER_GPU,
            f"{VLLM} platforms/cuda.py",
        ),
    ),
    (
        r"torch\.(?P<has>\w{1,20}) is not supported for quantization method (?P<method>\S{1,40})\. "
        r"Supported dtypes: \[(?P<takes>[\w., ]{1,120})\]",
        Reading(
            "bad-arguments",
            "the model's quantization {method} does not work with {has}",
            "set dtype to one of {takes}, without torch. (" + WHERE + ")",
            f"{VLLM} config/vllm.py",
        ),
    ),
    (
        r"(?i)(?:bfloat16|bf16) is only supported on|support bf16|bfloat16 (?:KV cache )?is not "
        r"supported(?! for quantization)|bfloat16 requires SM|"
        r"does not support bfloat16|doesn't support bfloat16|bf16 .{0,40}(?:requires|not supported)",
        Reading(
            "gpu-too-old",
            "the GPU cannot compute in bfloat16, for which compute capability 8.0 is needed",
            "set dtype: float16 (" + WHERE + "), or " + _NEWER_GPU,
            f"{VLLM} v1/attention/backends/triton_attn.py; transformers training_args.py",
        ),
    ),
    (
        r"quantization method (?P<method>\S{1,40}) is not supported for the current GPU\. Minimum "
        r"capability: (?P<needs>\d+)\. Current capability: (?P<has>[^.\n]{1,60})",
        Reading(
            "gpu-too-old",
            "the GPU cannot compute with the quantization {method}: its compute capability is {has}, and "
            "{needs} is needed (tens and ones: 80 is 8.0)",
            "take a model with another quantization, or " + _NEWER_GPU,
            f"{VLLM} config/vllm.py",
        ),
    ),
    (
        r"Unsupported FA version: None|"
        r"Cannot use FA version \d is not supported due to FA\d is only supported on devices with compute "
        r"capability(?:.*\n){1,8}AssertionError$",
        Reading(
            "gpu-too-old",
            "vLLM's FlashAttention has no program for this kind of GPU",
            "choose another attention backend (VLLM_ATTENTION_BACKEND), or an image whose vLLM does so by "
            "itself, or " + _NEWER_GPU,
            f"{VLLM} v1/attention/backends/fa_utils.py; V1 from 0.7 on",
        ),
    ),
    (
        r"(?i)fp8e4nv.{0,60}not supported|compute capability not supported|"
        r"requires (?:GPUs with )?SM ?\d\d|"
        r"No compiled \w{2,10} quantization kernel|csrc/\S{1,80}: ?\d{1,6}\): Unsupported architecture|"
        r"PassManager::run failed|only supports? Ampere GPUs or newer|"
        r"Sinks are only supported in FlashAttention|not supported on compute capability|"
        r"(?:FP\d|kv[- ]cache|backend|FLASH\w{0,20}|FlashAttention|FlashInfer|Marlin|NVFP4|MXFP4|"
        r"quantization)\b.{0,60} is not supported on this (?:platform|hardware|device|GPU)|"
        r"FlashAttention (?:3|v3|version 3) .{0,40}(?:not supported|requires)|for "
        r"Volta and Turing GPUs|"
        r"requires? (?:a )?(?:GPUs? with )?(?:CUDA )?compute capability (?:of )?(?:at least |>= ?)?\d",
        Reading(
            "gpu-too-old",
            "the GPU's compute capability does not suffice for what the model asks of it",
            "take a model with another precision or quantization, or " + _NEWER_GPU,
            f"{VLLM} v1/attention/backends; flash-attn 2",
        ),
    ),
    (
        r"is not compatible with the current PyTorch installation|"
        r"kernel `\S{1,120}` is for sm\d{2,3}-sm\d{2,3}, but was built for sm\d{2,3}|"
        r"Value 'sm_\w{1,8}' is not defined for option 'gpu-name'",
        Reading(
            "gpu-too-old",
            "the image has no program for this kind of GPU: it was built for others, older or newer ones",
            "use an image that was built for this GPU's compute capability, or take another GPU",
            f"{TORCH} torch/cuda/__init__.py; ptxas 13",
        ),
    ),
    (
        r"The NVIDIA driver on your system is too old \(found version (?P<found>\d+)\)",
        Reading(
            "gpu-driver-misfit",
            "the NVIDIA driver of the node is too old for the image (found version {found})",
            "update the node's driver (node image, GPU operator), or use an image of an older CUDA",
            f"{TORCH} c10/cuda/CUDAFunctions.cpp",
        ),
    ),
    (
        r"unsatisfied condition: (?P<needs>cuda ?>= ?[\d.]+)",
        Reading(
            "gpu-driver-misfit",
            "the NVIDIA driver of the node is too old for the image, which needs {needs}",
            "update the node's driver (node image, GPU operator), or use an image of an older CUDA",
            "libnvidia-container 1.17 src/cli/configure.c",
        ),
    ),
    (
        r"(?i)driver on your system is too old",
        Reading(
            "gpu-driver-misfit",
            "the NVIDIA driver of the node is too old for the image",
            "update the node's driver (node image, GPU operator), or use an image of an older CUDA",
            f"{TORCH} c10/cuda/CUDAFunctions.cpp",
        ),
    ),
    (
        r"(?i)driver/library version mismatch|NVMLError_LibRmVersionMismatch|RM has detected an NVML/RM",
        Reading(
            "gpu-driver-misfit",
            "the node's NVIDIA driver was updated under a kernel module that is still the old one",
            "drain and reboot the node",
            "NVML nvmlReturn_enum (CUDA 13 nvml.h)",
        ),
    ),
    # --- GPUs that are not there, or broken
    (
        # Those that a program causes: 13 graphics engine, 31 MMU, 43 and 45 a stopped channel, 69 class.
        r"(?i)Xid(?: \([^)\n]{1,40}\):)? (?P<xid>13|31|43|45|69),",
        Reading(
            "gpu-program-failed",
            "the driver stopped the program on the GPU: Xid {xid}",
            PROGRAM,
            "NVIDIA driver, kernel log; Xid errors r580",
            depth=1,
        ),
    ),
    (
        r"(?i)Xid(?: \([^)\n]{1,40}\):)? (?P<xid>(?!(?:13|31|43|45|69),)\d{1,3}),",
        Reading(
            "gpu-broken",
            "the driver reports the GPU error Xid {xid}",
            "see NVIDIA's table of Xid errors; drain and reboot the node, or replace it",
            "NVIDIA driver, kernel log; Xid errors r580",
        ),
    ),
    (
        r"(?i)GPU is lost|fallen off the bus|NVMLError_GpuIsLost|device lost\b|double.bit ECC|"
        r"unable to determine the device handle|Xid\b.{0,20}error",
        Reading(
            "gpu-broken",
            "the GPU does not work",
            "see nvidia-smi on the node; drain and reboot the node, or replace it",
            "NVIDIA driver, kernel log; CUDA 13 nvml.h",
        ),
    ),
    # --- programs that fail on a GPU that works
    (
        r"thread: \[[\d,]{1,20}\] Assertion `?(?P<check>[^`\n]{1,120}?)`? failed",
        Reading(
            "gpu-program-failed",
            "a check of the program on the GPU failed: {check}",
            PROGRAM,
            f"{TORCH} aten/src/ATen/native/cuda (CUDA_KERNEL_ASSERT)",
            depth=1,
        ),
    ),
    (
        r"(?i)(?P<what>device-side assert triggered|(?:an )?illegal memory access(?: was encountered)?|"
        r"(?:an )?illegal instruction was encountered|misaligned address|unspecified launch failure|"
        r"cudaErrorIllegalAddress|cudaErrorIllegalInstruction|"
        r"cudaErrorMisalignedAddress|cudaErrorLaunchFailure|cudaErrorAssert|cudaErrorInvalidPc|"
        r"cudaErrorInvalidAddressSpace|cudaErrorLaunchTimeout|CUDA_ERROR_(?:ILLEGAL_(?:ADDRESS|INSTRUCTION)|"
        r"MISALIGNED_ADDRESS|LAUNCH_(?:FAILED|TIMEOUT|OUT_OF_RESOURCES)|ASSERT|INVALID_PC|"
        r"INVALID_ADDRESS_SPACE)|(?:CUBLAS|CUDNN|CUSPARSE|CUSOLVER)_STATUS_(?:EXECUTION_FAILED|"
        r"INTERNAL_ERROR|MAPPING_ERROR|INVALID_VALUE|NOT_SUPPORTED)\w{0,40}|"
        r"Memory access fault by GPU node-\d+)",
        Reading(
            "gpu-program-failed",
            "the program on the GPU failed: {what}",
            PROGRAM,
            "CUDA 13 driver_types.h, cuda.h, cublas_api.h; cuDNN 9 cudnn_graph.h; ROCm 7 ROCr",
            depth=1,
        ),
    ),
    (
        r"Failed to initialize NVML: Unknown Error|NVMLError_Unknown",
        Reading(
            "gpu-not-visible",
            "the container has lost its GPU, mostly because systemd was reloaded on the node",
            "recreate the pod; if it happens again, use CDI or the cgroupfs driver on the node",
            "NVIDIA container toolkit 1.17 troubleshooting",
        ),
    ),
    (
        r"(?i)invalid device ordinal|device < num_gpus|cudaErrorInvalidDevice\b|CUDA_ERROR_INVALID_DEVICE\b",
        Reading(
            "gpu-count-misfit",
            "the server wants more GPUs than the container sees",
            _FEWER,
            "CUDA 13 cudaErrorInvalidDevice",
        ),
    ),
    (
        r"(?i)Found no NVIDIA driver|Failed to infer device type|No (?:CUDA|HIP|XPU) GPUs are available|"
        r"no CUDA-capable device is detected|NVML Shared Library Not Found|NVMLError_LibraryNotFound|"
        r"lib(?:cuda|nvidia-ml)\.so\S{0,4}: cannot open|CUDA unknown error|NVMLError_DriverNotLoaded|"
        r"NVML.{0,20}Driver Not Loaded|couldn't communicate with the NVIDIA driver|NVIDIA-SMI has failed|"
        r"CUDA driver initialization failed|Unexpected error from cudaGetDeviceCount|"
        r"cudaErrorNoDevice|no NVIDIA GPU detected|No GPUs?(?: or \w{2,4})? (?:was |were )?found|"
        r"NVML_SUCCESS == .{0,80}nvmlInit\w{0,10}.{0,20}INTERNAL ASSERT|Can't initialize NVML|"
        r"Failed to initialize NVML|cuda is not available|"
        r"torch\.cuda\.is_available\(\) (?:is|returned|should be) \w|Deserialize object on a CUDA device",
        Reading(
            "gpu-not-visible",
            "the container sees no GPU",
            "check that the pod asks for nvidia.com/gpu, that the node's driver and device plugin work, and "
            "that "
            "the NVIDIA runtime (a RuntimeClass, where there is one) starts the container",
            f"{TORCH} c10/cuda/CUDAFunctions.cpp; {VLLM} config/device.py; nvml.h",
        ),
    ),
    (
        r"Torch not compiled with CUDA enabled",
        Reading(
            "image-broken",
            "the image's PyTorch is built without CUDA",
            "use an image with PyTorch for CUDA",
            f"{TORCH} torch/cuda/__init__.py",
        ),
    ),
    # --- how many GPUs
    (
        r"attention heads \((?P<heads>\d+)\) must be divisible by tensor parallel size \((?P<size>\d+)\)",
        Reading(
            "gpu-count-misfit",
            "the model's {heads} attention heads cannot be divided among {size} GPUs",
            "set a tensor-parallel-size that divides {heads}, or take nodes with such a number of GPUs",
            f"{VLLM} config/model.py",
        ),
    ),
    (
        r"(?i)(?:World|tensor[_ ]parallel)[_ ]size \((?P<size>\d+)\) (?:is larger than|"
        r"cannot be larger than|exceeds|to less than)[^(]{0,60}GPU[^(]{0,20}\((?P<gpus>\d+)\)",
        Reading(
            "gpu-count-misfit",
            "the server wants {size} GPUs, and the container sees {gpus}",
            _FEWER,
            f"{VLLM} config/parallel.py",
        ),
    ),
    (
        r"placement group requiring (?P<size>[\d.]+) GPUs",
        Reading(
            "gpu-count-misfit",
            "the server wants {size} GPUs, and the pods that have joined have fewer",
            "check that the pods of all nodes run and have joined the first one; else take more or larger "
            "nodes",
            f"{VLLM} v1/executor/ray_utils.py",
        ),
    ),
    (
        r"(?i)^AssertionError: \d+ is not divisible by \d+|"
        r"must be divisible by (?:the )?tensor.parallel|is not divisible by (?:the )?(?:tensor|tp)|"
        r"not divisible by tensor parallel size|num_heads.{0,30}divisible",
        Reading(
            "gpu-count-misfit",
            "the model cannot be divided among this number of GPUs",
            "set another tensor-parallel-size, or take nodes with another number of GPUs",
            f"{VLLM} distributed/utils.py, model_executor/models",
        ),
    ),
    (
        r"(?i)Cannot provide a placement group|Current node has no GPU available|Ray does not "
        r"allocate any GPUs|"
        r"number of (?:required )?GPUs exceeds the total number|placement group .{0,80}infeasible|"
        r"exceeds available GPUs|Insufficient resources? .{0,40}GPU",
        Reading(
            "gpu-count-misfit",
            "the server wants more GPUs than the pods that have joined have",
            "check that the pods of all nodes run and have joined the first one; else take more or larger "
            "nodes",
            f"{VLLM} v1/executor/ray_utils.py; {RAY}",
        ),
    ),
    (
        r"Duplicate GPU detected|Multiple Ranks are using the same GPU",
        Reading(
            "gpu-count-misfit",
            "two parts of the server were given one and the same GPU: its replicas are shares of one",
            "switch GPU sharing (time slicing, MPS) off for this node, or take whole GPUs",
            f"{NCCL} src/init.cc; before 2.28 in other words",
        ),
    ),
)
