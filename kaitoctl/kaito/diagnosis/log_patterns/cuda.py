"""What the CUDA runtime and driver answer, by their own table of errors.

The words are those of `cudaGetErrorString` (libcudart 13.5), the names those of driver_types.h and cuda.h.
They stand in logs as `CUDA error: WORDS` and `Error NUMBER: WORDS` (PyTorch), `Cuda failure NUMBER 'WORDS'`
(NCCL), `Cuda error FILE:LINE 'WORDS'` (vLLM's kernels), or by name.
"""

from __future__ import annotations

import re

from kaitoctl.kaito.diagnosis.log_patterns.reading import Reading, Row

_SOURCE = "CUDA 13.5 driver_types.h, cudaGetErrorString"
PROGRAM = (
    "if it comes back, look for Xid errors in the node's kernel log (48, 63, 74, 79, 94, 95: the GPU is "
    "broken); else it is the server or what it is fed: an adapter or a context length that does not fit, a "
    "kernel that another version of the image does not have (vllm: enforce-eager does without CUDA graphs)"
)
_UPDATE = "update the node's driver (node image, GPU operator), or use an image of an older CUDA"
_MPS = "check the MPS control daemon's pod on the node (its device plugin starts it), and restart it"

# Code, what it says, what to do, and the errors: `cudaErrorNAME`, or words that are nobody else's.
_GROUPS: tuple[tuple[str, str, str, str], ...] = (
    (
        "gpu-driver-misfit",
        "the NVIDIA driver of the node is too old for the image",
        _UPDATE,
        "InsufficientDriver|CUDA driver version is insufficient|CallRequiresNewerDriver|"
        "API call is not supported in the installed CUDA driver|UnsupportedPtxVersion|"
        "compiled with an unsupported toolchain|InvalidPtx|a PTX JIT compilation failed|"
        "InsufficientLoaderVersion|Loader version is insufficient for fatbin",
    ),
    (
        "gpu-driver-misfit",
        "the container's libcuda is not of the node's kernel driver: the image brings one of its own "
        "(cuda-compat, LD_LIBRARY_PATH), or the node's driver was updated under the container",
        "let the container use the node's libcuda (take cuda-compat out of LD_LIBRARY_PATH); after an "
        "update of the driver, reboot the node",
        "SystemDriverMismatch|unsupported display driver / cuda driver combination",
    ),
    (
        "gpu-driver-misfit",
        "the NVIDIA driver of the node is too old for the image, and this GPU cannot use the newer libcuda "
        "that the image brings (forward compatibility is for data centre GPUs)",
        _UPDATE,
        "CompatNotSupportedOnDevice|forward compatibility was attempted on non supported HW",
    ),
    (
        "gpu-driver-misfit",
        "the container has a stub in place of the node's libcuda",
        "take .../lib64/stubs out of LD_LIBRARY_PATH, and let the NVIDIA runtime start the container",
        "StubLibrary|CUDA driver is a stub library",
    ),
    (
        "gpu-driver-misfit",
        "the container lacks the driver's compiler of GPU programs (libnvidia-ptxjitcompiler)",
        "let the NVIDIA runtime start the container, with compute in NVIDIA_DRIVER_CAPABILITIES",
        "JitCompilerNotFound|PTX JIT compiler library not found",
    ),
    (
        "gpu-driver-misfit",
        "the node's virtual GPU has no licence",
        "check the licence server of NVIDIA vGPU (Grid), and nvidia-smi -q on the node",
        "DeviceNotLicensed|valid Grid license",
    ),
    (
        "gpu-too-old",
        "the image has no program for this kind of GPU: it was built for others, older or newer ones",
        "use an image that was built for this GPU's compute capability, or take another GPU",
        "NoKernelImageForDevice|no kernel image is available for execution|InvalidKernelImage|"
        "device kernel image is invalid|JitCompilationDisabled|PTX JIT compilation was disabled|"
        "InvalidSource|SymbolNotFound|named symbol not found",
    ),
    (
        "gpu-broken",
        "the node's NVSwitch fabric is not up: its fabric manager does not run, or is of another version",
        "start nvidia-fabricmanager of the driver's version on the node (GPU operator)",
        "SystemNotReady|system not yet initialized|Error 802|FabricNotReady|GPU fabric is not ready",
    ),
    (
        "gpu-broken",
        "the node shares its GPU by MPS, and its control daemon does not answer",
        _MPS,
        "MpsConnectionFailed|MPS client failed to connect|MpsRpcFailure|"
        "between the MPS server and the MPS client|MpsServerNotReady|MPS server is not ready|"
        "MpsClientTerminated|"
        "MPS client has been terminated",
    ),
    (
        "gpu-broken",
        "the node shares its GPU by MPS among more processes than it can",
        "take a node with fewer replicas of its GPU, or whole GPUs",
        "MpsMaxClientsReached|required to create MPS client have been exhausted|MpsMaxConnectionsReached|"
        "required to support device connections have been exhausted",
    ),
    (
        "gpu-broken",
        "the GPU is held by another process, or does not work",
        "check on the node what else uses it (nvidia-smi: processes, compute mode EXCLUSIVE_PROCESS); if "
        "nothing does, drain and reboot the node",
        "DevicesUnavailable|devices? are busy or unavailable|is/are busy or unavailable|DeviceAlreadyInUse|"
        "exclusive-thread device already in use",
    ),
    (
        "gpu-broken",
        "the GPU does not work",
        "see nvidia-smi on the node; drain and reboot the node, or replace it",
        "ECCUncorrectable|uncorrectable ECC error|NvlinkUncorrectable|uncorrectable NVLink error|"
        "HardwareStackError|hardware stack error|Contained|Invalid access of peer GPU memory over nvlink|"
        "TensorMemoryLeak|"
        "tensor memory not completely freed|SoftwareValidityNotEstablished|integrity checks failed",
    ),
    (
        "gpus-disconnected",
        "the GPUs of the node cannot reach each other's memory",
        "set NCCL_P2P_DISABLE=1 in the pod template (vllm: disable-custom-all-reduce), or take GPUs with "
        "NVLink",
        "PeerAccessUnsupported|peer access is not supported between|TooManyPeers|"
        "peer mapping resources exhausted",
    ),
)


def _names(errors: str) -> str:
    """A pattern of errors that are words or names: `cudaErrorNAME`, `CUDA_ERROR_NAME`."""
    found = []
    for one in errors.split("|"):
        if re.fullmatch(r"[A-Z]\w+", one):
            snake = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", one).upper()
            found.append(rf"cudaError{one}\b|CUDA_ERROR_{snake}\b")
        else:
            found.append(one)
    return "(?i)" + "|".join(found)


PATTERNS: tuple[Row, ...] = tuple(
    (_names(errors), Reading(code, says, hint, _SOURCE)) for code, says, hint, errors in _GROUPS
)
ANY: Row = (
    r"(?:CUDA|HIP|Cuda|Triton)(?: driver)? "
    r"(?:error:|Error \[\w{1,8}\]:|error \S{1,120}|failure(?: \d{1,3})?) "
    r"(?:\d{1,4} )?'?(?P<what>[a-zA-Z_][^'\n]{2,120})",
    Reading("gpu-program-failed", "the program on the GPU failed: {what}", PROGRAM, _SOURCE, depth=1),
)
"""Any other error: what a program did, or what a GPU about to break makes of it."""
