"""What looks like a secret, taken out of texts that others wrote: logs, events, messages. Pure."""

from __future__ import annotations

import re
from typing import Any

# Tokens of Hugging Face (not its functions, `hf_hub_download`), GitHub and OpenAI, key ids of AWS, JSON Web
# Tokens, credentials of a header, user and password in a URL, signatures of presigned URLs (S3, Azure SAS),
# and what calls itself a secret; but not the kubelet's and containerd's `failed to fetch token: WHY`.
_SECRETS = (
    r"\bhf_(?!(?:hub|transfer|transformers|overrides|config|tokenizer|model|text|processor|raise|file|xet)"
    r"(?:_|\b))\w{8,}|\bgh[pousr]_\w{16,}|\bgithub_pat_\w{16,}|\bsk-[\w-]{16,}|"
    r"\b(?:AKIA|ASIA)[0-9A-Z]{12,}|\beyJ[\w-]{8,}(?:\.[\w-]+){1,2}|"
    r"(?<=Bearer )\S+|(?<=Basic )[\w+/=]{6,}|(?<=://)[^/\s@:]+:[^/\s@]+(?=@)|"
    r"((?i:\bsig|signature|password|passwd|(?<!fetch )(?<!fetch anonymous )(?<!fetch oauth )token|secret|"
    r"api[-_]?key|access[-_]?key)['\"]?(?:\s*=|:)\s*['\"]?)"
    r"(?!PASSWORD\b)[^\s,;\"'&]+"
)


def without_secrets(value: Any) -> Any:
    """A text, or JSON, without what looks like a token or password: logs and messages may quote them."""
    if isinstance(value, str):
        return re.sub(_SECRETS, lambda found: f"{found[1] or ''}***", value)
    if isinstance(value, dict):
        return {key: without_secrets(item) for key, item in value.items()}
    return [without_secrets(item) for item in value] if isinstance(value, list) else value
