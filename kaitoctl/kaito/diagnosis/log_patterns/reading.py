"""What a row of the tables says of a line of a log, and words that several rows share."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

# The programs, as they were read.
VLLM, TRANSFORMERS, HUB = "vLLM 0.33.0", "transformers 5.24.0", "huggingface_hub 1.29.0.dev0"
PEFT, SAFETENSORS, NCCL = "peft 0.20.1.dev0", "safetensors 0.8.0-dev.0", "NCCL 2.30.7"
TORCH, RAY = "PyTorch 2.x", "Ray 2.x"

WHERE = "vllm: in the inference_config.yaml of the ConfigMap that inference.config names"

Depth = Literal[0, 1, 2]
"""0: a cause. 1: a cause unless something better is there. 2: what a worker's end looks like from outside."""


class Reading(Struct, frozen=True):
    """What a line of a log means.

    Args:
        code: a key of `codes.CODES`.
        says: the cause, a sentence; `{name}` are the pattern's groups, `{adapter}`, `{adapters}`, `{model}`.
        hint: what to do, with the same names.
        source: the program, its file and the version in which the message was read.
        depth: how near to the root it is.
        adapter: whether it is about an adapter; `if any` when the Workspace has one.
        step: which command helps, where it is not the one that helps with most of the code.
    """

    code: str
    says: str
    hint: str
    source: str
    depth: Depth = 0
    adapter: Literal["no", "yes", "if any"] = "no"
    step: Literal["", "fit", "node"] = ""


Row = tuple[str, Reading]
"""A regular expression, and what a line means in which it is found."""
