"""Lines by which servers and libraries refuse weights in few bits: the cause, a word of it, the log."""

from __future__ import annotations

QUANTIZED = [
    (
        "gpu-too-old",
        "has no kernel",
        "ValueError: Marlin does not support weight_bits = uint4b8. Only types = [] are supported "
        "(for group_size = 128, device_capability = 70, zp = False).",
    ),
    (
        "model-unsupported",
        "cannot serve the model's quantization",
        "ValueError: Marlin does not support group_size = 512. Only group_sizes = [-1, 32, 64, 128] "
        "are supported.",
    ),
    (
        "gpu-count-misfit",
        "cannot be divided",
        "ValueError: Weight input_size_per_partition = 10944 is not divisible by min_thread_k = 128. "
        "Consider reducing tensor_parallel_size or running with --quantization gptq.",
    ),
    (
        "gpu-count-misfit",
        "cannot be divided",
        "ValueError: The input size is not aligned with the quantized weight shape. This can be "
        "caused by too large tensor parallel size.",
    ),
    (
        "gpu-count-misfit",
        "cannot be divided",
        "ValueError: The output_size of gate's and up's weight = 192 is not divisible by weight "
        "quantization block_n = 128.",
    ),
    (
        "model-unsupported",
        "cannot serve the model's quantization",
        "ValueError: Currently, only 4-bit weight quantization is supported for AWQ, but got 8 bits.",
    ),
    (
        "model-unsupported",
        "cannot serve the model's quantization",
        "ValueError: Currently, only 2/3/4/8-bit weight quantization is supported for GPTQ, but got 5 bits.",
    ),
    (
        "model-unsupported",
        "cannot serve the model's quantization",
        "ValueError: No compressed-tensors compatible scheme was found.",
    ),
    (
        "gpu-too-old",
        "compute capability",
        "RuntimeError: Quantization scheme is not supported for the current GPU. Min capability: 90. "
        "Current capability: 80.",
    ),
    (
        "model-unsupported",
        "cannot serve the model's quantization",
        "ValueError: Found a different quantization schemes for ['q_proj', 'k_proj', 'v_proj'] in "
        "model.layers.0.self_attn.qkv_proj. vLLM requires all to use the same scheme.",
    ),
    (
        "gpu-too-old",
        "has no kernel",
        "ValueError: Failed to find a kernel that can implement the WNA16 linear layer. Reasons: \n "
        "MacheteLinearKernel requires capability 90, current compute  capability is 70",
    ),
    (
        "gpu-count-misfit",
        "does not divide weights",
        "ValueError: Prequant BitsAndBytes models with tensor parallelism is not supported. Please "
        "try with pipeline parallelism.",
    ),
    (
        "model-unsupported",
        "cannot serve the model's quantization",
        "AttributeError: Model Qwen2ForCausalLM does not support BitsAndBytes quantization yet. No "
        "'packed_modules_mapping' found.",
    ),
    (
        "bad-arguments",
        "do not go together",
        "ValueError: BitsAndBytes quantization only supports 'bitsandbytes' load format, but got auto",
    ),
    (
        "image-broken",
        "no bitsandbytes",
        "ImportError: Please install bitsandbytes>=0.46.1 via `pip install bitsandbytes>=0.46.1` to "
        "use bitsandbytes quantizer.",
    ),
    (
        "gpu-too-old",
        "has no kernel",
        "ValueError: Current platform does not support NVFP4 quantization. Please use Blackwell and above.",
    ),
    (
        "gpu-too-old",
        "compute capability",
        "ValueError: MXFP4 quantized models is only supported on GPUs with compute capability >= 9.0 "
        "(e.g H100, or B100)",
    ),
    (
        "gpu-too-old",
        "compute capability",
        "ValueError: FP8 quantized models is only supported on GPUs with compute capability >= 8.9 "
        "(e.g 4090/H100), actual = `8.0`",
    ),
    (
        "gpu-too-old",
        "compute capability",
        "RuntimeError: torch._scaled_mm is only supported on CUDA devices with compute capability >= "
        "9.0 or 8.9, or ROCm MI300+",
    ),
    (
        "gpu-too-old",
        "has no kernel",
        "NotImplementedError: No compiled cutlass_scaled_mm for a compute capability less than CUDA "
        "device capability: 70",
    ),
    (
        "gpu-too-old",
        "has no kernel",
        "RuntimeError: marlin_gemm(..) requires CUDA_ARCH >= 8.0",
    ),
    (
        "image-broken",
        "built without the kernel gptq_marlin_repack",
        "AttributeError: '_OpNamespace' '_C' object has no attribute 'gptq_marlin_repack'",
    ),
    (
        "gpu-too-old",
        "cannot keep the context",
        "NotImplementedError: FlashAttention does not support fp8 kv-cache on this device.",
    ),
    (
        "image-broken",
        "bitsandbytes has no binary",
        "RuntimeError: CUDA Setup failed despite GPU being available. Please run the following "
        "command to get more information:",
    ),
    (
        "image-broken",
        "bitsandbytes has no binary",
        "Original error: Configured CUDA binary not found at "
        "/usr/local/lib/python3.12/dist-packages/bitsandbytes/libbitsandbytes_cuda129.so",
    ),
    (
        "image-broken",
        "bitsandbytes has no binary",
        "The installed version of bitsandbytes was compiled without GPU support. 8-bit optimizers, "
        "8-bit multiplication, and GPU quantization are unavailable.\nAttributeError: 'NoneType' "
        "object has no attribute 'cget_col_row_stats'",
    ),
    (
        "image-broken",
        "bitsandbytes has no binary",
        "CUDA SETUP: Required library version not found: libbitsandbytes_cuda128.so. Maybe you need "
        "to compile it from source?",
    ),
    (
        "image-broken",
        "bitsandbytes has no binary",
        "AttributeError: /usr/lib/python3/bitsandbytes/libbitsandbytes_cpu.so: undefined symbol: "
        "cquantize_blockwise_fp16_nf4",
    ),
    (
        "image-broken",
        "bitsandbytes has no binary",
        "NameError: name 'str2optimizer32bit' is not defined",
    ),
    (
        "image-broken",
        "bitsandbytes has no binary",
        "Attempted to use bitsandbytes native library functionality but it's not available.\n\nThis "
        "typically happens when:",
    ),
    (
        "gpu-too-old",
        "bitsandbytes has no program",
        "Error no kernel image is available for execution on the device at line 167 in file /src/csrc/ops.cu",
    ),
    (
        "gpu-too-old",
        "bitsandbytes has no program",
        "Error named symbol not found at line 74 in file /src/csrc/ops.cu",
    ),
    (
        "gpu-too-old",
        "bitsandbytes has no program",
        "Error invalid device function at line 508 in file /src/csrc/ops.cu",
    ),
    (
        "image-broken",
        "no bitsandbytes",
        "ImportError: Using `bitsandbytes` 4-bit quantization requires the latest version of "
        "bitsandbytes: `pip install -U bitsandbytes`",
    ),
    (
        "image-broken",
        "lacks auto-awq",
        "ImportError: Loading an AWQ quantized model requires auto-awq library (`pip install autoawq`)",
    ),
    (
        "image-broken",
        "lacks optimum",
        "ImportError: Loading a GPTQ quantized model requires optimum (`pip install optimum`) and gptqmodel",
    ),
    (
        "image-broken",
        "lacks compressed-tensors",
        "ImportError: Using `compressed_tensors` quantized models requires the compressed-tensors "
        "library: `pip install compressed-tensors`",
    ),
    (
        "gpu-not-visible",
        "sees no GPU",
        "ImportError: The installed version of bitsandbytes (<0.43.1) requires CUDA, but CUDA is not "
        "available.",
    ),
    (
        "gpu-not-visible",
        "sees no GPU",
        "RuntimeError: None of the available devices `available_devices = None` are supported by the "
        "bitsandbytes version you have installed: `bnb_supported_devices = {'cuda'}`",
    ),
    (
        "gpu-not-visible",
        "sees no GPU",
        "RuntimeError: GPU is required to run AWQ quantized model. You can use IPEX version AWQ if "
        "you have an Intel CPU",
    ),
    (
        "cuda-out-of-memory",
        "does not fit",
        "ValueError: Some modules are dispatched on the CPU or the disk. Make sure you have enough "
        "GPU RAM to fit the quantized model.",
    ),
    (
        "model-files-broken",
        "model.layers.0.mlp.up_proj.weight is not",
        "ValueError: Supplied state dict for model.layers.0.mlp.up_proj.weight does not contain "
        "`bitsandbytes__*` and possibly other `quantized_stats` components.",
    ),
    (
        "model-unsupported",
        "quantized already",
        "ValueError: Blockwise quantization only supports 16/32-bit floats, but got torch.uint8",
    ),
    (
        "image-broken",
        "lacks AutoAWQ",
        "ImportError: AutoAWQ kernels could not be loaded. Please install them from "
        "https://github.com/casper-hansen/AutoAWQ_kernels",
    ),
    (
        "image-broken",
        "lacks exllamav2",
        "ModuleNotFoundError: No module named 'exllamav2_kernels'",
    ),
    (
        "model-unsupported",
        "cannot serve the model's quantization",
        "ValueError: Unknown quantization type, got hqq2 - supported types are: ['awq', "
        "'bitsandbytes_4bit', 'gptq']",
    ),
    (
        "gpu-too-old",
        "compute capability",
        "ValueError: The quantization method fp8 is not supported for the current GPU. Minimum "
        "capability: 89. Current capability: 80.",
    ),
    (
        "bad-arguments",
        "does not work with bfloat16",
        "ValueError: torch.bfloat16 is not supported for quantization method awq. Supported dtypes: "
        "[torch.float16]",
    ),
]
