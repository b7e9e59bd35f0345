"""One rule of the admission policy, and what several of them say in CEL."""

from __future__ import annotations

import json

from msgspec import Struct

from kaitoctl.kaito.validation.grammar import BLANK_TO_FILL, IMAGE, LONGEST_NAME
from kaitoctl.kube.names import DNS_LABEL, DNS_SUBDOMAIN, LONGEST_SUBDOMAIN

SAYS_A_LABEL = "item.operator == 'In' && has(item.values) && size(item.values) == 1"


class Rule(Struct, frozen=True):
    """One validation.

    Args:
        code: that `validate` gives.
        path: of the field; `[]` is every entry of a list.
        holds: CEL that is true while nothing is wrong.
        message: what is wrong otherwise.
        partly: what `validate` refuses with this code and path besides; empty for nothing.
    """

    code: str
    path: str
    holds: str
    message: str
    partly: str = ""

    @property
    def words(self) -> str:
        """The message as kubectl shows it."""
        return f"{self.code} {self.path}: {self.message}"


def regex(pattern: str) -> str:
    """A pattern that has to match a whole text, as a literal of CEL."""
    return json.dumps(f"^(?:{pattern})$")


def each(listed: str, condition: str) -> str:
    """A condition on each entry of a list of texts that need not be there."""
    return f"{listed}.all(item, {condition})"


def is_label(text: str, pattern: str = DNS_LABEL) -> str:
    """That a text is a label: of a container, say; `pattern` is another grammar of the same length."""
    return f"size({text}) <= {LONGEST_NAME} && {text}.matches({regex(pattern)})"


def is_name(text: str) -> str:
    """That a text is what most objects may be called."""
    return f"size({text}) <= {LONGEST_SUBDOMAIN} && {text}.matches({regex(DNS_SUBDOMAIN)})"


def is_image(text: str) -> str:
    """That a text is an image's reference."""
    blank = json.dumps(BLANK_TO_FILL)
    return f"size({text}) <= 1024 && {text}.matches({regex(IMAGE)}) && !{text}.matches({blank})"
