"""The grammar of names and addresses: RFC 1123 labels and subdomains, RFC 1035 labels, URLs. Pure.

Patterns are texts without groups, for `re.fullmatch`; they say nothing of lengths, which messages name apart.

Source: kubernetes `apimachinery/pkg/util/validation/validation.go`.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

DNS_LABEL = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
DNS_SUBDOMAIN = rf"{DNS_LABEL}(?:\.{DNS_LABEL})*"
DNS_1035_LABEL = r"[a-z](?:[-a-z0-9]*[a-z0-9])?"
QUALIFIED_NAME = r"[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?"

LONGEST_LABEL = 63
LONGEST_SUBDOMAIN = 253

_LABEL = re.compile(DNS_LABEL)
_LABEL_1035 = re.compile(DNS_1035_LABEL)
_SUBDOMAIN = re.compile(DNS_SUBDOMAIN)
_QUALIFIED = re.compile(QUALIFIED_NAME)


def is_label(text: str) -> bool:
    """Whether the text is an RFC 1123 label: lower-case letters, digits and inner hyphens."""
    return len(text) <= LONGEST_LABEL and _LABEL.fullmatch(text) is not None


def is_label_1035(text: str) -> bool:
    """Whether the text is an RFC 1035 label: one that starts with a letter, as a Service's name does."""
    return len(text) <= LONGEST_LABEL and _LABEL_1035.fullmatch(text) is not None


def is_subdomain(text: str) -> bool:
    """Whether the text is a DNS subdomain: what most objects may be called."""
    return len(text) <= LONGEST_SUBDOMAIN and _SUBDOMAIN.fullmatch(text) is not None


def is_qualified(text: str) -> bool:
    """Whether the text is the name of a label's key, or a label's value that is not empty."""
    return len(text) <= LONGEST_LABEL and _QUALIFIED.fullmatch(text) is not None


def is_address(text: str) -> bool:
    """Whether the text is the address of a server: `http(s)://host[:port][/path]`."""
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port out of range, half an IPv6 address
        return False


def without_user(text: str) -> str:
    """What was meant as an address, as it may be shown: without user and password."""
    scheme, separator, rest = text.rpartition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"
