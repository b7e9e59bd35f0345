"""The grammars that the rules ask about: names, labels, images, strengths, URLs, MIG profiles."""

from __future__ import annotations

import re
from decimal import Decimal
from urllib.parse import urlsplit

LONGEST_NAME = 63

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_DNS_LABEL = re.compile(_LABEL)
_DNS_1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_DNS_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_QUALIFIED = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")

# A first part without dot or port is no registry but a folder of the default one ("MyOrg/x" is a slip).
_HOST_PART = r"[A-Za-z0-9](?:[-A-Za-z0-9]*[A-Za-z0-9])?"
_REGISTRY = (
    rf"(?:{_HOST_PART}(?:\.{_HOST_PART})+(?::[0-9]+)?"
    rf"|{_HOST_PART}:[0-9]+|localhost|\[[0-9a-fA-F:]+\](?::[0-9]+)?)"
)
_PATH_PART = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_IMAGE = re.compile(
    rf"(?P<name>(?:{_REGISTRY}/)?{_PATH_PART}(?:/{_PATH_PART})*)"
    r"(?::[A-Za-z0-9_][-A-Za-z0-9_.]{0,127})?"
    r"(?:@(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}))?"
)
# Source: what KAITO up to v0.4 wants of images of adapters and of tuning: a slash and a tag.
_FULL_IMAGE = re.compile(r".+/[^:/]+:[^:/]+")
_MIG_PROFILE = re.compile(r"[1-9]g\.([0-9]{1,4})(\.[0-9]{1,2})?gb(\+me)?")
_BLANK_TO_FILL = re.compile(r"<[^<>]*>|\$\{?[A-Za-z_]|\bYOUR_")
_DECIMAL = re.compile(r"[-+]?([0-9]{1,40}(\.[0-9]{0,40})?|\.[0-9]{1,40})([eE][-+]?[0-9]{1,3})?")

MIG_PROFILES = (
    *("1g.6gb", "2g.12gb", "4g.24gb"),  # A30
    *("1g.5gb", "2g.10gb", "3g.20gb", "4g.20gb", "7g.40gb"),  # A100 of 40 GB
    *("1g.10gb", "1g.20gb", "2g.20gb", "3g.40gb", "4g.40gb", "7g.80gb"),  # A100 and H100 of 80 GB
    *("1g.12gb", "1g.24gb", "2g.24gb", "3g.48gb", "4g.48gb", "7g.96gb"),  # H100 of 94 and 96 GB
    *("3g.47gb", "4g.47gb", "7g.94gb"),
    *("1g.16.5gb", "1g.18gb", "1g.35gb", "2g.33gb", "2g.35gb", "3g.71gb"),  # H200
    *("4g.66gb", "4g.71gb", "7g.141gb"),
    *("1g.23gb", "1g.45gb", "2g.45gb", "2g.46gb", "3g.90gb", "4g.90gb", "4g.92gb", "7g.180gb"),  # B200
)
"""The shares of a GPU that NVIDIA or KAITO name; `+me` may follow.

Source: KAITO, `pkg/utils/mig`, two versions of it, and NVIDIA's table of MIG profiles: the two write some
profiles differently, and which table an installation has cannot be told.
"""


def is_dns_label(text: str) -> bool:
    """Whether a text is an RFC 1123 label: 1 to 63 lower-case letters, digits and inner hyphens."""
    return len(text) <= LONGEST_NAME and _DNS_LABEL.fullmatch(text) is not None


def is_service_name(text: str) -> bool:
    """Whether a text is an RFC 1035 label: a DNS label that starts with a letter."""
    return len(text) <= LONGEST_NAME and _DNS_1035.fullmatch(text) is not None


def is_dns_name(text: str) -> bool:
    """Whether a text is an RFC 1123 subdomain: labels joined by dots, at most 253 characters."""
    return len(text) <= 253 and _DNS_NAME.fullmatch(text) is not None


def is_label_key(text: str) -> bool:
    """Whether a text may be the key of a label or annotation."""
    prefix, slash, name = text.rpartition("/")
    return (not slash or is_dns_name(prefix)) and len(name) <= 63 and _QUALIFIED.fullmatch(name) is not None


def is_label_value(text: str) -> bool:
    """Whether a text may be the value of a label."""
    return text == "" or (len(text) <= 63 and _QUALIFIED.fullmatch(text) is not None)


def image_fault(reference: str) -> str:
    """Why a text is not an image reference, empty when it is one.

    Source: the reference grammar of the container distribution project.
    """
    if not reference:
        return "is empty"
    if _BLANK_TO_FILL.search(reference):
        return f"{reference[:80]!r} is a blank to fill in, not an image"
    found = _IMAGE.fullmatch(reference) if len(reference) <= 1024 else None
    if found is not None and len(found["name"]) <= 255:
        return ""
    shown = repr(reference[:80])
    if found is None and len(reference) <= 1024 and "://" not in reference:
        name, at, digest = reference.partition("@")
        host, slash, path = name.rpartition("/")
        path, colon, tag = path.partition(":")
        if _IMAGE.fullmatch(f"{host.lower()}{slash}{path.lower()}{colon}{tag}{at}{digest}"):
            return f"{shown}: the path of an image is in lower case"
    return f"{shown} is not an image: [registry[:port]/]path[:tag][@digest]"


def is_full_image(reference: str) -> bool:
    """Whether an image has a path with a slash and a tag, as KAITO up to v0.4 wants it."""
    return _FULL_IMAGE.fullmatch(reference) is not None


def strength_fault(text: str) -> str:
    """Why a text is not an adapter's strength, empty when it is one.

    What both readers take: KAITO's webhook, which parses it in Go, and the model server, in Python. So no
    `0x1p-1`, which only Go knows, and neither ` 0.5` nor `1_0`, which only Python does. Both take NaN, and no
    model runs on it.
    """
    if not _DECIMAL.fullmatch(text):
        return f"{text[:40]!r} is not a decimal"
    return "" if 0 <= Decimal(text) <= 1 else f"{text[:40]} is not between 0 and 1"


def mig_memory_gb(profile: str) -> int | None:
    """The whole GB of memory of a MIG profile such as `1g.10gb` or `1g.16.5gb+me`; None when it is none."""
    found = _MIG_PROFILE.fullmatch(profile)
    return (int(found[1]) or None) if found else None


def url_fault(text: str) -> str:
    """Why KAITO v0.12 does not fetch data from a URL, empty when it does."""
    import ipaddress

    shown = repr(text[:80])
    try:
        parts = urlsplit(text)
        host = (parts.hostname or "").rstrip(".")
    except ValueError:
        return f"{shown} is not a URL"
    if parts.scheme not in ("http", "https") or not host:
        return f"{shown} is not an http or https URL"
    if host == "localhost" or host.endswith((".localhost", ".internal", ".local")):
        return f"{shown} leads to a host of the cluster or the cloud"
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return ""
    return "" if address.is_global else f"{shown} leads to a private or reserved address"
