"""Weights in few bits: libraries that are missing, and kernels that the GPU or the division does not suit."""

from __future__ import annotations

from kaitoctl.kaito.diagnosis.log_patterns.reading import TORCH, TRANSFORMERS, VLLM, WHERE, Reading, Row

BITSANDBYTES, SGLANG = "bitsandbytes 0.49.2", "SGLang 0.5"
_OTHER_GPU = (
    "take a node with a newer GPU, or the same model with a quantization that this GPU knows (AWQ and GPTQ: "
    "7.5 and up; FP8: 8.9, by Marlin 7.5; NVFP4: 10.0)"
)
_FEWER_PARTS = (
    "set a smaller tensor-parallel-size (" + WHERE + "), or take GPUs with more memory and fewer of them"
)
_OTHER_WEIGHTS = "use an image with a newer vLLM, or the model in another quantization"
_INSTALL = "build the image with it, or serve the model in a quantization that the image can do"

PATTERNS: tuple[Row, ...] = (
    # --- the GPU
    (
        r"[Qq]uantization scheme is not supported for the current GPU\. Min(?:imum)? capability: "
        r"(?P<needs>\d+)\. Current capability: (?P<has>\d+)",
        Reading(
            "gpu-too-old",
            "the GPU cannot compute with the model's quantization: its compute capability is {has}, and "
            "{needs} is needed (tens and ones: 80 is 8.0)",
            _OTHER_GPU,
            f"{VLLM} model_executor/layers/quantization/compressed_tensors",
        ),
    ),
    (
        r"Marlin does not support weight_bits = (?P<bits>\S{1,30})\. Only types = \[\] are supported "
        r"\(for group_size = -?\d+, device_capability = (?P<has>-?\d+)",
        Reading(
            "gpu-too-old",
            "the GPU has no kernel for weights of type {bits}: its compute capability is {has}, and 75 is "
            "needed (tens and ones: 75 is 7.5)",
            _OTHER_GPU,
            f"{VLLM} model_executor/layers/quantization/utils/marlin_utils.py",
        ),
    ),
    (
        r"\b(?P<what>\w[\w ]{0,40}?) (?:is|are) only supported on (?:CUDA )?(?:GPUs|"
        r"devices)? ?(?:devices )?with compute "
        r"capability >= ?(?P<needs>\d+\.\d+)(?:.{0,60}actual = `(?P<has>\d+\.\d+)`)?",
        Reading(
            "gpu-too-old",
            "the GPU is too old for what the model asks of it ({what}): compute capability {needs} is needed",
            _OTHER_GPU,
            f"{TRANSFORMERS} quantizers/quantizer_finegrained_fp8.py, quantizer_mxfp4.py",
        ),
    ),
    (
        r"(?P<what>torch\._scaled_mm|cutlass_scaled_mm\w*|marlin_gemm|gptq_marlin\w*|"
        r"awq\w{0,20}_gemm|allspark\w*|machete\w*)\b.{0,60}(?:only supported on CUDA devices with compute|"
        r"for a compute capability|requires CUDA_ARCH|CUDA device capability|Required capability)",
        Reading(
            "gpu-too-old",
            "the image has no kernel for the model's quantization on this kind of GPU ({what})",
            _OTHER_GPU,
            f"{VLLM} csrc/quantization; {TORCH} aten/src/ATen/native/cuda/Blas.cpp",
        ),
    ),
    (
        r"Failed to find a kernel that can implement the (?P<what>[\w ]{1,40}?) (?:linear )?layer|"
        r"Current platform does not support (?P<kind>NVFP4|MXFP4|FP8|MXFP8)\b|"
        r"No (?P<where>\w{2,12}) ?MoE backend supports the deployment",
        Reading(
            "gpu-too-old",
            "the server has no kernel for the model's quantization {what}{kind}{where} on this kind of GPU",
            _OTHER_GPU,
            f"{VLLM} model_executor/kernels/linear; {SGLANG}",
        ),
    ),
    (
        r"does not support (?:fp8|FP8) kv[- ]?cache on this device|"
        r"(?:fp8|FP8) (?:KV|kv)[- ]?cache is not supported",
        Reading(
            "gpu-too-old",
            "the GPU cannot keep the context's cache in fp8",
            "take kv-cache-dtype out (" + WHERE + "), or take a node with a newer GPU (compute capability "
            "8.9)",
            f"{VLLM} v1/attention/backends/flash_attn.py",
        ),
    ),
    (
        r"Error (?:no kernel image is available for execution on the device|invalid device function|"
        r"named symbol not found) at line \d+ in file",
        Reading(
            "gpu-too-old",
            "the image's bitsandbytes has no program for this kind of GPU: it was built for others, older or "
            "newer",
            "use an image with a bitsandbytes that was built for this GPU's compute capability, or take "
            "another GPU",
            f"{BITSANDBYTES} csrc/ops.cu (CUDA_CHECK_RETURN)",
        ),
    ),
    # --- into how many parts
    (
        r"Consider reducing tensor_parallel_size|caused by too large tensor parallel size|"
        r"is not divisible by weight quantization block_[nk]|is not divisible by min_thread_[nk]",
        Reading(
            "gpu-count-misfit",
            "the quantized weights cannot be divided among so many GPUs: a part would be no whole block",
            _FEWER_PARTS,
            f"{VLLM} model_executor/layers/quantization (marlin_utils.py, awq.py, gptq.py, fp8.py)",
        ),
    ),
    (
        r"Prequant BitsAndBytes models with tensor parallelism is not supported|"
        r"BitAndBytes quantization with TP or PP is not supported",
        Reading(
            "gpu-count-misfit",
            "this vLLM does not divide weights that bitsandbytes has quantized among GPUs",
            "set tensor-parallel-size: 1 (" + WHERE + ") and, for several GPUs, pipeline-parallel-size; or "
            "take one larger GPU",
            f"{VLLM} model_executor/model_loader/bitsandbytes_loader.py; 0.6 to 0.9",
        ),
    ),
    # --- the options
    (
        r"BitsAndBytes (?:quantization and QLoRA adapter )?(?:quantization )?only supports? 'bitsandbytes' "
        r"load format|BitsAndBytes load format and QLoRA adapter only support",
        Reading(
            "bad-arguments",
            "quantization and load format do not go together",
            "set both load-format and quantization to bitsandbytes, or leave both out (" + WHERE + ")",
            "vLLM 0.5 to 0.8 engine/arg_utils.py",
        ),
    ),
    (
        r"Blockwise quantization only supports 16/32-bit floats, but got torch\.(?P<has>\w{1,12})",
        Reading(
            "model-unsupported",
            "weights that are quantized already ({has}) are to be quantized by bitsandbytes once more",
            "leave the quantization option out, or use the model's weights in 16 bits",
            f"{BITSANDBYTES} backends/cuda/ops.py",
        ),
    ),
    # --- the weights
    (
        r"does not support BitsAndBytes quantization yet|"
        r"Currently, only (?P<bits>[\d/]{1,12})-bit weight quantization is supported for "
        r"(?P<method>\w{2,12})|Marlin does not support (?:weight_bits|group_size)|"
        r"No compressed-tensors compatible scheme was found|"
        r"Found a different quantization schemes for|"
        r"Detected some but not all shards of .{1,120} are quantized|"
        r"Unknown quantization type, got|Unsupported (?:quantization|quant) (?:method|type|scheme|config)|"
        r"ModelOpt currently only supports",
        Reading(
            "model-unsupported",
            "the server cannot serve the model's quantization: neither this kind of it nor this model in it",
            _OTHER_WEIGHTS,
            f"{VLLM} model_executor/layers/quantization; {TRANSFORMERS} quantizers/auto.py",
        ),
    ),
    (
        r"Supplied state dict for (?P<name>\S{1,120}) does not contain `bitsandbytes__",
        Reading(
            "model-files-broken",
            "the weights are said to be quantized by bitsandbytes, and {name} is not: files of two models "
            "are mixed",
            "fetch the model's files again, all of one revision",
            f"{TRANSFORMERS} quantizers/quantizer_bnb_4bit.py",
        ),
    ),
    (
        r"Some modules are dispatched on the CPU or the disk|"
        r"`device_map` had weights offloaded to the disk|trying to offload the whole model to the disk",
        Reading(
            "cuda-out-of-memory",
            "the model does not fit into the GPUs' memory",
            "take an instance type with more GPU memory, or a smaller model",
            f"{TRANSFORMERS} quantizers/quantizer_bnb_4bit.py, integrations/accelerate.py",
        ),
    ),
    (
        r"fp8_e5m2 kv-cache is not supported with (?P<what>.{1,60}?)\.?$",
        Reading(
            "bad-arguments",
            "the context's cache cannot be kept in fp8_e5m2 with {what}",
            f"set kv-cache-dtype: fp8 (which is fp8_e4m3), or take it out ({WHERE})",
            f"{VLLM} model_executor/layers/attention/attention.py",
        ),
    ),
    (
        r"\w_cpu_?\w{0,20}\"? not implemented for '(?:Half|BFloat16)'",
        Reading(
            "gpu-not-visible",
            "the server computes on the CPU, which has no program for the model's precision: it sees no GPU",
            "check that the pod asks for nvidia.com/gpu, and that nothing in its arguments names the CPU as "
            "the device",
            "PyTorch 2.x aten/src/ATen/Dispatch.h",
            depth=1,
        ),
    ),
    # --- the libraries
    (
        r"None of the available devices .{1,60} are supported by the bitsandbytes version|"
        r"requires CUDA, but CUDA is not available|GPU is required to (?:run|quantize)\b.{0,40}quantized|"
        r"A GPU is (?:needed|required) for quantization",
        Reading(
            "gpu-not-visible",
            "the container sees no GPU",
            "check that the pod asks for nvidia.com/gpu, that the node's driver and device plugin work, and "
            "that the NVIDIA runtime (a RuntimeClass, where there is one) starts the container",
            f"{TRANSFORMERS} integrations/bitsandbytes.py, quantizers/quantizer_awq.py",
        ),
    ),
    (
        # Raised when the library is used; that its binary is missing is logged where nobody uses it, too.
        r"Attempted to use bitsandbytes native library|Native code method attempted to call: lib\.|"
        r"Original error: Configured (?:CUDA|ROCm) binary not found|"
        r"CUDA SETUP: (?:Required library version not found|Setup Failed)|"
        r"CUDA Setup failed despite GPU being available|"
        r"'NoneType' object has no attribute 'c(?:get|quantize|dequantize|adam|gemm|igemm)\w*'|"
        r"undefined symbol: c(?:quantize|dequantize|gemm|igemm|adam|get)\w+|"
        r"name 'str2optimizer32bit' is not defined",
        Reading(
            "image-broken",
            "the image's bitsandbytes has no binary for its PyTorch's CUDA",
            "use an image in which the two were built for one CUDA (BNB_CUDA_VERSION chooses among those "
            "that are there), or a quantization without bitsandbytes",
            f"{BITSANDBYTES} cextension.py; 0.37 to 0.42 cuda_setup/main.py",
            depth=1,
        ),
    ),
    (
        r"install bitsandbytes|bitsandbytes` .{1,40}requires the latest version of bitsandbytes|"
        r"bitsandbytes version is wrong",
        Reading(
            "image-broken",
            "the image has no bitsandbytes, or too old a one, and the model's quantization needs it",
            _INSTALL,
            f"{VLLM} model_executor/model_loader/bitsandbytes_loader.py; {TRANSFORMERS} quantizers",
        ),
    ),
    (
        r"(?:Loading|Using) (?:an? )?`?(?P<method>[\w-]{2,24})`? (?:quantized models?|"
        r"quantization) requires (?:the )?"
        r"`?(?P<library>[\w.-]{2,30})|(?P<kernels>AutoAWQ|Exllama\w*|"
        r"exllama\w*) kernels? (?:could not be loaded|"
        r"(?:are|is) not installed)|No module named '(?P<module>exllama\w*|awq\w*|auto_gptq|gptqmodel|"
        r"autoawq\w*|bitsandbytes\w*|compressed_tensors|optimum\w*|torchao|hqq|eetq)",
        Reading(
            "image-broken",
            "the image lacks {library}{kernels}{module}, which the model's quantization needs",
            _INSTALL,
            f"{TRANSFORMERS} quantizers; AutoAWQ 0.2",
        ),
    ),
    (
        r"'_OpNamespace' '_?\w{1,20}' object has no attribute '(?P<what>\w{2,60})'",
        Reading(
            "image-broken",
            "the image's vLLM was built without the kernel {what}, for this kind of GPU or at all",
            "use the image of vLLM's own release for this GPU, or another quantization",
            f"{TORCH} torch/_ops.py; {VLLM} _custom_ops.py",
        ),
    ),
)
