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
    r"(?P<said>(?P<key>(?i:\bsig|signature|password|passwd|"
    r"(?<!fetch )(?<!fetch anonymous )(?<!fetch oauth )token|secret|"
    r"api[-_]?key|access[-_]?key))['\"]?(?:\s*=|:)\s*['\"]?)"
    r"(?!PASSWORD\b)(?P<value>[^\s,;\"'&]+)"
)
# What no secret is: a constant of a program, a place in a template, and a token of a model's vocabulary.
_CONSTANT = r"(?i:none|null|nil|true|false|undefined|unset|missing|empty)[.)]?|<[^<>]*>|\[[A-Z_]+\]"
_NUMBER = r"\d{1,7}[.)]?"
_WORD = r"[A-Z]?[a-z]{1,15}"
_PROSE = (
    r"(?i)(?:no|not|the|an?|is|was|could|cannot|failed|failure|unable|invalid|expired|error|timed|access|"
    r"permission|authentication|unauthorized|forbidden|denied|must|does|has)"
)
_CHOSEN = ("password", "passwd", "secret")  # what people choose may be a word


def without_secrets(value: Any) -> Any:
    """A text, or JSON, without what looks like a token or password: logs and messages may quote them."""
    if isinstance(value, str):
        return re.sub(_SECRETS, _masked, value)
    if isinstance(value, dict):
        return {key: without_secrets(item) for key, item in value.items()}
    return [without_secrets(item) for item in value] if isinstance(value, list) else value


def _masked(found: re.Match[str]) -> str:
    """A secret as stars; words that stand where one might, as they are: `InvalidToken: No provider found`."""
    said, value = found["said"], found["value"]
    if said is None:
        return "***"
    is_chosen = found["key"].lower() in _CHOSEN
    begins_a_sentence = said.endswith(": ") and found.string[found.end() : found.end() + 2].strip().isalnum()
    is_word = begins_a_sentence and re.fullmatch(_PROSE if is_chosen else _WORD, value)
    is_number = not is_chosen and re.fullmatch(_NUMBER, value)
    return found[0] if is_word or is_number or re.fullmatch(_CONSTANT, value) else f"{said}***"
