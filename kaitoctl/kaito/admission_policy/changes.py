"""The rules for changing a Workspace, in CEL: see `kaitoctl.kaito.validation.update`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from kaitoctl.kaito.admission_policy.rule import SAYS_A_LABEL, Rule


def change_rules() -> Iterator[Rule]:
    """What forbids an update; a field that is left out counts as its default."""
    for part in ("inference", "tuning"):
        yield _unchanged(
            "KW180", part, f"has(object.{part}) == has(oldObject.{part})", "cannot be added or removed"
        )
    count = "object.?resource.count.orValue(1)"
    yield _unchanged("KW181", "resource.count", f"{count} == {_old(count)}", "is immutable")
    machine = "object.?resource.instanceType.orValue('')"
    yield _unchanged("KW181", "resource.instanceType", f"{machine} == {_old(machine)}", "is immutable")
    labels, expressions = (
        f"object.?resource.labelSelector.{name}.orValue({empty})"
        for name, empty in (("matchLabels", "{}"), ("matchExpressions", "[]"))
    )
    said = (
        f"({labels}.map(key, key + '=' + {labels}[key]) + {expressions}.filter(item, {SAYS_A_LABEL})"
        ".map(item, item.key + '=' + item.values[0]))"
    )
    before = _old(said)
    yield _unchanged(
        "KW181",
        "resource.labelSelector",
        f"{said}.all(label, label in {before}) && {before}.all(label, label in {said})",
        "is immutable",
        "an expression and a label that say something of one key",
    )
    both = "has(object.{0}) && has(oldObject.{0})"
    for part in ("inference", "tuning"):
        same = " && ".join(f"{value} == {_old(value)}" for value in _preset_parts(part))
        yield _unchanged(
            "KW181",
            f"{part}.preset",
            f"!({both.format(part)}) || ({same})",
            "is immutable",
            "lists of options",
        )
    template = "has(object.inference.template) == has(oldObject.inference.template)"
    yield _unchanged(
        "KW182",
        "inference.template",
        f"!({both.format('inference')}) || {template}",
        "cannot be set or unset",
    )
    for path, lowered in (("method", ".lowerAscii()"), ("input.name", "")):
        value = f"object.?tuning.{path}.orValue(''){lowered}"
        yield _unchanged(
            "KW181",
            f"tuning.{path}",
            f"!({both.format('tuning')}) || {value} == {_old(value)}",
            "is immutable",
        )


def _preset_parts(part: str) -> Iterable[str]:
    at = f"object.?{part}.preset"
    yield f"{at}.hasValue()"
    yield f"{at}.name.orValue('')"
    yield f"{at}.accessMode.orValue('public')"
    yield f"{at}.presetOptions.image.orValue('')"
    yield f"{at}.presetOptions.modelAccessSecret.orValue('')"
    yield f"{at}.presetOptions.imagePullSecrets.orValue([])"


def _old(expression: str) -> str:
    return expression.replace("object.", "oldObject.")


def _unchanged(code: str, path: str, holds: str, message: str, partly: str = "") -> Rule:
    return Rule(code, path, f"!variables.isUpdate || ({holds})", message, partly)
