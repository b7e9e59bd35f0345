"""The grammars that the rules ask about: names, labels, images, strengths, URLs, MIG profiles."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

from kaitoctl.kube.names import LONGEST_LABEL, is_label, is_label_1035, is_qualified, is_subdomain

LONGEST_NAME = LONGEST_LABEL

# A first part without dot or port is no registry but a folder of the default one ("MyOrg/x" is a slip).
_HOST_PART = r"[A-Za-z0-9](?:[-A-Za-z0-9]*[A-Za-z0-9])?"
_REGISTRY = (
    rf"(?:{_HOST_PART}(?:\.{_HOST_PART})+(?::[0-9]+)?"
    rf"|{_HOST_PART}:[0-9]+|localhost|\[[0-9a-fA-F:]+\](?::[0-9]+)?)"
)
_PATH_PART = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
IMAGE = (
    rf"(?P<name>(?:{_REGISTRY}/)?{_PATH_PART}(?:/{_PATH_PART})*)"
    r"(?::[A-Za-z0-9_][-A-Za-z0-9_.]{0,127})?"
    r"(?:@(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}))?"
)
"""An image reference; the group `name` may have 255 characters."""
_IMAGE = re.compile(IMAGE)
# Source: what KAITO up to v0.4 wants of images of adapters and of tuning: a slash and a tag.
_FULL_IMAGE = re.compile(r".+/[^:/]+:[^:/]+")
_MIG_PROFILE = re.compile(r"[1-9]g\.([0-9]{1,4})(\.[0-9]{1,2})?gb(\+me)?")
BLANK_TO_FILL = r"<[^<>]*>|\$\{?[A-Za-z_]|\bYOUR_"
"""What stands in an example for something of one's own."""
_BLANK_TO_FILL = re.compile(BLANK_TO_FILL)
DECIMAL = r"[-+]?([0-9]{1,40}(\.[0-9]{0,40})?|\.[0-9]{1,40})([eE][-+]?[0-9]{1,3})?"
_DECIMAL = re.compile(DECIMAL)

_DOCKER = re.compile(
    rf"(?P<name>(?:{_HOST_PART}(?:\.{_HOST_PART})*|\[[0-9a-fA-F:]+\])(?::[0-9]+)?/{_PATH_PART}(?:/{_PATH_PART})*)"
    r"(?::[A-Za-z0-9_][-A-Za-z0-9_.]{0,127})?(?:@(?P<digest>.+))?"
)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128}")
_GO_NAMED = re.compile(r"(?i:[-+]?inf(inity)?|nan)")
_GO_DIGITS = r"[0-9](?:_?[0-9])*"
_GO_DECIMAL = re.compile(
    rf"[-+]?(?:{_GO_DIGITS}(?:\.(?:{_GO_DIGITS})?)?|\.{_GO_DIGITS})(?:[eE][-+]?{_GO_DIGITS})?"
)
_GO_HEX = re.compile(r"[-+]?0[xX](?:_?[0-9a-fA-F]+)+(?:\.[0-9a-fA-F]*)?[pP][-+]?[0-9]+")

MIG_PROFILES = (
    *("1g.6gb", "2g.12gb", "4g.24gb"),  # A30
    *("1g.5gb", "2g.10gb", "3g.20gb", "4g.20gb", "7g.40gb"),  # A100 of 40 GB
    *("1g.10gb", "1g.20gb", "2g.20gb", "3g.40gb", "4g.40gb", "7g.80gb"),  # A100 and H100 of 80 GB
    *("1g.12gb", "1g.24gb", "2g.24gb", "3g.48gb", "4g.48gb", "7g.96gb"),  # H100 of 94 and 96 GB
    *("3g.47gb", "4g.47gb", "7g.94gb"),
    *("1g.18gb", "1g.35gb", "2g.35gb", "3g.71gb", "4g.71gb", "7g.141gb"),  # H200
    *("1g.23gb", "1g.45gb", "2g.45gb", "3g.90gb", "4g.90gb", "7g.180gb"),  # B200
)
"""The shares of a GPU that KAITO takes; NVIDIA has more of them, such as those with `+me` behind.

Source: KAITO v0.12.0, `pkg/utils/mig/mig.go` (knownProfiles).
"""


is_dns_label = is_label
is_service_name = is_label_1035
is_dns_name = is_subdomain


def is_label_key(text: str) -> bool:
    """Whether a text may be the key of a label or annotation."""
    prefix, slash, name = text.rpartition("/")
    return (not slash or is_subdomain(prefix)) and is_qualified(name)


def is_label_value(text: str) -> bool:
    """Whether a text may be the value of a label."""
    return text == "" or is_qualified(text)


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


def docker_fault(reference: str) -> str:
    """Why Go's container reference parser refuses a text, empty when it takes it.

    It takes more than `image_fault`: whatever begins with a capital letter is a registry's name there.

    Source: github.com/distribution/reference v0.6.0, `regexp.go`, `normalize.go`.
    """
    shown = f"{reference[:80]!r} is not an image: [registry[:port]/]path[:tag][@digest]"
    if len(reference) > 1024 or re.fullmatch(r"[a-f0-9]{64}", reference):
        return shown
    first, slash, rest = reference.partition("/")
    is_host = bool(slash) and (
        any(mark in first for mark in ".:") or first == "localhost" or first.lower() != first
    )
    host, path = (first, rest) if is_host else ("docker.io", reference)
    found = _DOCKER.fullmatch(f"{host}/{path}")
    if found is None or len(found["name"]) > 255:
        return shown
    digest = found["digest"]
    return "" if digest is None or _DIGEST.fullmatch(digest) else shown


def go_float(text: str) -> float | None:
    """What Go's ParseFloat makes of a text; None when it refuses it.

    Source: Go 1.26 `strconv/atof.go`: also hexadecimal, infinities, NaN, and underscores between digits.
    """
    if len(text) > 1000 or not text.isascii():
        return None
    if _GO_NAMED.fullmatch(text):
        return float(text.lower().replace("infinity", "inf"))
    try:
        if _GO_HEX.fullmatch(text):
            return float.fromhex(text.replace("_", ""))
        value = float(text.replace("_", "")) if _GO_DECIMAL.fullmatch(text) else None
    except (ValueError, OverflowError):
        return None
    return None if value is not None and value in (float("inf"), float("-inf")) else value


def selector_as_map(selector: Any) -> tuple[dict[str, Any], str]:
    """The labels that a selector means, and the path in it of what cannot be said with labels.

    Source: k8s.io/apimachinery `pkg/apis/meta/v1/helpers.go` LabelSelectorAsMap.
    """
    selector = selector if isinstance(selector, dict) else {}
    match_labels, expressions = selector.get("matchLabels"), selector.get("matchExpressions")
    labels = dict(match_labels) if isinstance(match_labels, dict) else {}
    for index, expression in enumerate(expressions if isinstance(expressions, list) else ()):
        if not isinstance(expression, dict):
            continue
        values = expression.get("values")
        if expression.get("operator") != "In" or not isinstance(values, list) or len(values) != 1:
            return labels, f"matchExpressions[{index}]"
        labels[str(expression.get("key"))] = values[0]
    return labels, ""


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
