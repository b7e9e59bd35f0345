"""GPUs that are too old for the server that KAITO starts on them. Pure.

A server's programs are compiled for GPUs from some compute capability on; on older ones it ends with "no
kernel image is available". Beyond that, vLLM refuses bfloat16 below 8.0, and some formats of quantized
weights below what their kernels take. Without a format on the command line (`auto`) it falls back to float16.

Sources. vLLM of KAITO's releases (`presets/workspace/dependencies/requirements.txt`): 0.6.3 in v0.4.0 to
0.17.1 in v0.10 are built for 7.0 and newer, 0.22.1 in v0.11 and 0.25.1 in v0.12 (CUDA 12.9) for 7.5 and
newer: vLLM `docs/getting_started/installation/gpu.cuda.inc.md`, `CMakeLists.txt` (CUDA_SUPPORTED_ARCHS) and
`docker/Dockerfile` (torch_cuda_arch_list) of these versions. vLLM 0.25.1 `vllm/platforms/cuda.py`
(check_if_supports_dtype), `vllm/config/model.py` (_resolve_auto_dtype), `vllm/config/vllm.py` and
`get_min_capability` in `vllm/model_executor/layers/quantization`. KAITO v0.10 and v0.11
`pkg/model/interface.go` write float16 for GPUs below 8.0; v0.12 does so no more. PyTorch's wheels for CUDA
12.1 (torch 2.2.0 in KAITO v0.3.2, 2.4.0 in v0.4.0) are built for 5.0 and newer, those for CUDA 12.8 (2.9 in
v0.8) for 7.0, and for 7.5 since torch 2.11 (in v0.11): pytorch `RELEASE.md`, changed last by its pull request
175253; read and not run.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from kaitoctl.kaito.catalog import Model, Preset
from kaitoctl.kube.objects import whole_number

Capability = tuple[int, int]
"""Major and minor: `(8, 0)`. Nothing here takes more than that."""

UNSUPPORTED, NO_BFLOAT16 = "gpu-unsupported", "no-bfloat16"


class Demand(NamedTuple):
    """One thing that takes GPUs of a compute capability.

    Args:
        least: the lowest that will do.
        what: takes them, as a clause that the capability ends.
        code: of the finding.
    """

    least: Capability
    what: str
    code: str = UNSUPPORTED

    def words(self, has: Capability) -> str:
        """One clause that says what is there and what it takes."""
        return f"compute capability {_dotted(has)}, and {self.what} {_dotted(self.least)}"


OLDEST: Capability = (5, 0)
"""No image of any release is built for less."""

_VLLM: tuple[tuple[Capability, Capability], ...] = (((0, 11), (7, 5)), ((0, 4), (7, 0)))
_TORCH: tuple[tuple[Capability, Capability], ...] = (((0, 11), (7, 5)), ((0, 8), (7, 0)))
"""Since which release of KAITO the images serve from which capability on, the newest first."""

_QUANTIZED: Mapping[str, Capability] = MappingProxyType({"mxfp4": (8, 0)})
"""Formats that take more than the programs themselves; the others that are catalogued take 7.5 at most."""

_SAYS_FLOAT16_ITSELF = ((0, 10), (0, 11))


def demands(wanted: Preset | Model, release: str, *, runtime: str = "") -> tuple[Demand, ...]:
    """What a preset or model takes of GPUs on a release of KAITO, the firmest first.

    Args:
        wanted: what is to run.
        release: of KAITO, such as `v0.4`, `v0.4.6` or `v0.12.0`.
        runtime: what the Workspace asks for; empty for the release's default.
    """
    if isinstance(wanted, Preset) and wanted.local_model:
        return ()
    number = _number(release)
    is_vllm = _is_vllm(wanted, number, runtime)
    least = next((least for since, least in (_VLLM if is_vllm else _TORCH) if number >= since), OLDEST)
    server = "vLLM" if is_vllm else "PyTorch"
    found = [Demand(least, f"{server} in KAITO v{_dotted(number)} takes")]
    if is_vllm and isinstance(wanted, Model):
        if (least := _QUANTIZED.get(wanted.quantization, least)) > found[0].least:
            found.append(Demand(least, f"weights in {wanted.quantization} take"))
        if wanted.vllm.get("dtype") == "bfloat16" and number not in _SAYS_FLOAT16_ITSELF:
            found.append(Demand((8, 0), f"{wanted.name} computes in bfloat16, which takes", NO_BFLOAT16))
    return tuple(found)


def too_old(asked: tuple[Demand, ...], has: Capability | None) -> Demand | None:
    """The first demand that GPUs do not meet; None where they do, or nobody knows what they are."""
    return next((demand for demand in asked if has is not None and has < demand.least), None)


def capability(written: str) -> Capability | None:
    """What `8.6` says; None for what says nothing."""
    major, _, minor = written.partition(".")
    first, second = whole_number(major), whole_number(minor or "0")
    return None if first is None or second is None else (first, second)


def _is_vllm(wanted: Preset | Model, number: Capability, runtime: str) -> bool:
    if isinstance(wanted, Model):
        return runtime != "transformers"
    has_vllm = any(image.vllm for image in wanted.images.values())
    return number >= (0, 4) and has_vllm and runtime != "transformers"


def _number(release: str) -> Capability:
    return capability(".".join(release.removeprefix("v").split(".")[:2])) or (0, 12)


def _dotted(pair: Capability) -> str:
    return f"{pair[0]}.{pair[1]}"
