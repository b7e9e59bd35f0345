"""The end of a model server's log -> how much of the model is loaded, and what it said last. Pure."""

from __future__ import annotations

import re

# transformers: `Loading checkpoint shards:  43%|...| 3/7 [00:12<00:16,  4.1s/it]`;
# vLLM (model_loader/weight_utils.py): `Loading safetensors checkpoint shards:  25% Completed | 1/4 [...]`;
# huggingface_hub: `Fetching 8 files:  38%|...| 3/8`; vLLM: `Capturing CUDA graphs (PIECEWISE):  12%|...`.
_BAR = re.compile(r"\b(?:Loading|Downloading|Fetching|Capturing)\b[^%\n]{0,80}?:\s+(\d{1,3})%")
_ENDS = re.compile(r"[\r\n]+")
_LONGEST = 150


def last_line(log: str) -> str:
    """The last line that says something; of one that was written over, its last state."""
    said = (" ".join(line.split()) for line in reversed(_ENDS.split(log)))
    line = next(filter(None, said), "")
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST].rpartition(' ')[0] or line[:_LONGEST]} ..."


def loaded_share(log: str) -> float | None:
    """The share of what is being loaded, when the last line says it; at the end of it, None: more follows."""
    found = _BAR.search(last_line(log))
    share = int(found[1]) / 100 if found else 1.0
    return share if share < 1 else None
