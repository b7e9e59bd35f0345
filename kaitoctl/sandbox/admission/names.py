"""The grammar of names, keys and labels. Pure.

The rules are Kubernetes'; the words are ours, and shorter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from kaitoctl.kube import names
from kaitoctl.kube.objects import Object
from kaitoctl.sandbox.error_status import invalid_value

LABEL = re.compile(names.DNS_LABEL)
SUBDOMAIN = re.compile(names.DNS_SUBDOMAIN)
_QUALIFIED = re.compile(names.QUALIFIED_NAME)

LABEL_RULE = (
    "a DNS label has lower-case letters, digits and '-', with a letter or digit at both ends (RFC 1123)"
)
SUBDOMAIN_RULE = "a DNS subdomain consists of DNS labels with '.' between them (RFC 1123)"
_VALUE_RULE = (
    "a label's value has letters, digits, '-', '_' and '.', with a letter or digit at both ends, or is empty"
)
_NAME_RULE = "a key's name has letters, digits, '-', '_' and '.', with a letter or digit at both ends"
CONFIG_KEY_RULE = "a key has letters, digits, '-', '_' and '.'"


def key_causes(field: str, key: str) -> Iterator[Object]:
    """What is wrong with the key of a label, annotation, or selector, or with a finalizer."""
    prefix, slash, name = str(key).rpartition("/")
    if slash and (not SUBDOMAIN.fullmatch(prefix.lower()) or len(prefix) > 253):
        yield invalid_value(field, key, f"prefix part {SUBDOMAIN_RULE}")
    if not _QUALIFIED.fullmatch(name):
        yield invalid_value(field, key, _NAME_RULE)
    elif len(name) > 63:
        yield invalid_value(field, key, "name part must be no more than 63 characters")


def label_value_causes(field: str, value: str) -> Iterator[Object]:
    """What is wrong with the value of a label."""
    if value and not _QUALIFIED.fullmatch(value):
        yield invalid_value(field, value, _VALUE_RULE)
    elif len(value) > 63:
        yield invalid_value(field, value, "must be no more than 63 characters")
