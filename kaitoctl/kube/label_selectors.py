"""Label selectors that somebody wrote by hand: whether they can be understood. Pure.

Source: kubernetes `apimachinery/pkg/apis/meta/v1/validation` and `apimachinery/pkg/util/validation`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kaitoctl.kube.names import is_qualified, is_subdomain
from kaitoctl.kube.objects import Object


def is_label_key(key: Any) -> bool:
    """Whether Kubernetes takes this as the key of a label."""
    if not isinstance(key, str):
        return False
    domain, slash, name = key.rpartition("/")
    return (not slash or is_subdomain(domain)) and is_qualified(name)


def is_label_value(value: Any) -> bool:
    """Whether Kubernetes takes this as the value of a label; the empty text is one."""
    return isinstance(value, str) and (not value or is_qualified(value))


def problems(selector: Any, where: str) -> list[str]:
    """What the API server would not understand of a label selector, one sentence each."""
    if selector is None:
        return []
    if not isinstance(selector, dict):
        return [f"{where} is not a map"]
    return [*_label_problems(selector.get("matchLabels"), where), *_expression_problems(selector, where)]


def _label_problems(labels: Any, where: str) -> Iterable[str]:
    if labels is None:
        return
    if not isinstance(labels, dict) or not all(isinstance(value, str) for value in labels.values()):
        yield f"{where}.matchLabels: every value must be text (quote numbers, true)"
        return
    for key, value in labels.items():
        if not is_label_key(key):
            yield f"{where}.matchLabels: {str(key)[:80]!r} is not a label key"
        elif not is_label_value(value):
            yield f"{where}.matchLabels.{key}: {value[:80]!r} is not a label value"


def _expression_problems(selector: Object, where: str) -> Iterable[str]:
    expressions = selector.get("matchExpressions")
    if expressions is not None and not isinstance(expressions, list):
        yield f"{where}.matchExpressions is not a list"
    for index, item in enumerate(expressions if isinstance(expressions, list) else ()):
        if problem := expression_problem(item):
            yield f"{where}.matchExpressions[{index}]: {problem}"


def expression_problem(item: Any) -> str:
    """What is wrong with one entry of matchExpressions; empty when it can be understood."""
    if not isinstance(item, dict):
        return "not a map of key, operator and values"
    key, operator, values = item.get("key"), item.get("operator"), item.get("values")
    if not is_label_key(key):
        return f"{str(key)[:80]!r} is not a label key"
    if operator not in ("In", "NotIn", "Exists", "DoesNotExist"):
        return f"operator {str(operator)[:40]!r} is not one of In, NotIn, Exists, DoesNotExist"
    if operator in ("Exists", "DoesNotExist"):
        return f"{operator} takes no values" if values else ""
    if not isinstance(values, list) or not values:
        return f"{operator} needs values"
    bad = next((value for value in values if not (isinstance(value, str) and is_label_value(value))), None)
    return f"{str(bad)[:80]!r} is not a label value" if bad is not None else ""
