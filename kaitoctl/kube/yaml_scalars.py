"""What an unquoted word of YAML means: kubectl's own reading. Pure."""

from __future__ import annotations

import math
import re
from typing import Any


class Refused(Exception):
    """Something in a text or a value that we do not do; whoever catches it adds where."""


_SPECIAL_WORDS: dict[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **{form: True for word in ("true", "yes", "y", "on") for form in (word, word.title(), word.upper())},
    **{form: False for word in ("false", "no", "n", "off") for form in (word, word.title(), word.upper())},
}
_INT = re.compile(r"[-+]?(0b[01_]+|0o[0-7_]+|0x[0-9a-fA-F_]+|[0-9][0-9_]*)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9][0-9_]*(\.[0-9_]*)?)([eE][-+]?[0-9]+)?")
_NOT_JSON = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


def scalar_value(text: str) -> Any:
    """What an unquoted scalar means.

    Source: YAML 1.1 as the Go library under kubectl reads it; a test asks kubectl itself. No sexagesimal
    numbers, dates are text, `1e3` is a whole number, `08` is 8 and not octal.
    """
    if text in _SPECIAL_WORDS:
        return _SPECIAL_WORDS[text]
    if text[0] not in "+-.0123456789":
        return text
    if _INT.fullmatch(text) and len(text) <= 70:
        return _integer(text.replace("_", ""))
    if _FLOAT.fullmatch(text):
        number = float(text.replace("_", ""))
        if not math.isfinite(number):
            return text
        return int(number) if number.is_integer() and abs(number) < 2**53 else number
    if _NOT_JSON.fullmatch(text):
        raise Refused(f"{text} has no JSON form; put it in quotes if it is text")
    return text


def key_text(text: str) -> str:
    """What an unquoted key is called in JSON: `1e3` is "1000", `on` is "true", a fraction stays as written.

    Source: sigs.k8s.io/yaml, by which kubectl and the API server make JSON of YAML; a test asks kubectl.

    Raises:
        Refused: it is null.
    """
    match value := scalar_value(text):
        case None:
            raise Refused("a key is null; put it in quotes if it is text")
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case _:
            return text


def _integer(text: str) -> int | float | str:
    sign, digits = -1 if text[0] == "-" else 1, text.lstrip("+-")
    is_octal = digits[0] == "0" and len(digits) > 1
    try:
        if digits[:2] in ("0b", "0o", "0x"):
            return sign * int(digits, 0)
        value = int(digits, 8 if is_octal and set(digits) <= set("01234567") else 10)
    except ValueError:  # "0x_"
        return text
    return sign * (value if value < 2**64 else float(value))
