"""The rules of an InferenceSet by itself: those of its webhook, and what it has that nobody reads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec.structs import replace

from kaitoctl.advice import Advice, Command
from kaitoctl.kaito import api
from kaitoctl.kaito.fleet import kinds
from kaitoctl.kaito.fleet.strategy import OWN_KEYS, strategy_faults
from kaitoctl.kaito.fleet.windows import duration_s, schedule_fault
from kaitoctl.kaito.validation import OWN, Problem, Setting
from kaitoctl.kaito.validation.problem import as_map, as_text, did_you_mean, error, refusal, warning
from kaitoctl.kube import schema_defaults
from kaitoctl.kube.objects import Object, dig

DOCUMENTED_LABEL = "kaito.sh/inferenceset"
_UPGRADE_GATE = "enableBaseImageAutoUpgrade"
_TEMPLATE = "spec.template"
_TYPE = f"{_TEMPLATE}.resource.instanceType"
_ROLLOUT = Command("kaitoctl rollout fleet NAME")
_STRATEGY = "spec.updateStrategy"
_DEFAULT_STRATEGY = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}}
_READ_OF_METADATA = ("labels", "annotations")


def set_problems(inference_set: Object, setting: Setting, old: Object | None) -> Iterator[Problem]:
    """What the rules find in a set; the Workspaces that it makes have their own."""
    yield from type_problems(
        dig(inference_set, "spec", "template", "resource", "instanceType"), _TYPE, setting
    )
    yield from _window(inference_set)
    yield from _upgrade(inference_set, setting)
    if setting.target == OWN:
        yield from _own_strategy(inference_set)
    else:
        yield from _unread_fields(inference_set)
    yield from _metadata(inference_set)
    if old is not None:
        yield from _changes(old, inference_set, setting)


def type_problems(found: Any, where: str, setting: Setting) -> Iterator[Problem]:
    """Of an instance type, which depends on who makes nodes; kaitoctl's own controller has no such rule."""
    if setting.target == OWN:
        return
    if setting.byo or setting.provisioner == "byo":
        if found:
            message = f"{str(found)[:80]} is given, but the nodes are your own (nodeProvisioner: byo)"
            yield refusal(where, "KW302", message, "leave it out")
    elif not found and setting.byo is False:
        hint = "name one, or say --node-provisioner byo"
        yield refusal(where, "KW302", "no instance type for the nodes that are to be made", hint)
    elif not found and setting.byo is None:
        yield warning(where, "KW302", "no instance type: only nodes of your own can be used")


def _window(inference_set: Object) -> Iterator[Problem]:
    window = dig(inference_set, "spec", "autoUpgrade", "maintenanceWindow")
    if not isinstance(window, dict):
        return
    where, schedule, duration = (
        "spec.autoUpgrade.maintenanceWindow",
        window.get("schedule"),
        window.get("duration"),
    )
    if schedule == "":
        yield refusal(f"{where}.schedule", "KW303", "the window has no schedule", 'such as "0 2 * * 6"')
    elif isinstance(schedule, str) and (fault := schedule_fault(schedule)):
        yield refusal(f"{where}.schedule", "KW303", fault, 'cron with five fields, such as "0 2 * * 6"')
    if isinstance(duration, str):
        seconds = duration_s(duration)
        if seconds is None:
            yield refusal(f"{where}.duration", "KW303", f"{duration[:80]!r} is not a duration", "such as 4h")
        elif seconds <= 0:
            yield refusal(f"{where}.duration", "KW303", f"{duration[:80]} is not above 0", "such as 4h")


def _upgrade(inference_set: Object, setting: Setting) -> Iterator[Problem]:
    if dig(inference_set, "spec", "autoUpgrade", "enabled") is not True:
        return
    where = "spec.autoUpgrade.enabled"
    if setting.target == OWN:
        yield warning(where, "KW311", "kaitoctl's own controller upgrades no base images")
    elif _UPGRADE_GATE not in (setting.gates or ()):
        message = f"KAITO upgrades nothing unless the gate {_UPGRADE_GATE} is on"
        yield replace(warning(where, "KW311", message), kaito="ignores")


def _unread_fields(inference_set: Object) -> Iterator[Problem]:
    spec = as_map(inference_set.get("spec"))
    if spec.get("nodeCountLimit"):
        message = "no controller of KAITO reads it: any number of nodes may be made"
        hint = "limit replicas, or what the cloud lets you buy"
        yield _ignored_field("spec.nodeCountLimit", "KW305", message, hint)
    strategy = spec.get("updateStrategy")
    if strategy is not None and strategy != _DEFAULT_STRATEGY:
        message = "no controller of KAITO reads it: a changed template does not reach replicas at all"
        yield _ignored_field(_STRATEGY, "KW306", message, _ROLLOUT + " carries a template to them")


def _own_strategy(inference_set: Object) -> Iterator[Problem]:
    for path, message in strategy_faults(dig(inference_set, "spec", "updateStrategy")):
        hint = did_you_mean(path.rpartition(".")[2], OWN_KEYS)
        yield error(f"{_STRATEGY}{path}", "KW306", message, hint)
    if dig(inference_set, "spec", "nodeCountLimit"):
        message = "kaitoctl's own controller does not read it"
        yield warning("spec.nodeCountLimit", "KW305", message, "limit replicas")


def _metadata(inference_set: Object) -> Iterator[Problem]:
    metadata = as_map(inference_set.get("metadata"))
    annotations = as_map(metadata.get("annotations"))
    template = as_map(dig(inference_set, "spec", "template", "metadata"))
    in_template = as_map(template.get("annotations"))
    runtime = as_text(annotations.get(api.ANNOTATION_RUNTIME))
    if runtime and in_template.get(api.ANNOTATION_RUNTIME) != runtime:
        where = f"metadata.annotations[{api.ANNOTATION_RUNTIME}]"
        hint = f"annotate spec.template.metadata with {api.ANNOTATION_RUNTIME}: {runtime[:80]}"
        message = "it does not reach the replicas, which choose their server without it"
        yield _ignored_field(where, "KW307", message, hint)
    for key, labels in (
        ("metadata.labels", metadata.get("labels")),
        (f"{_TEMPLATE}.metadata.labels", template.get("labels")),
    ):
        if DOCUMENTED_LABEL in as_map(labels):
            message = (
                f"KAITO's documents select replicas by {DOCUMENTED_LABEL}, and no code writes or reads it"
            )
            hint = f"select by {api.LABEL_CREATED_BY_SET}=NAME, which every replica has"
            yield _ignored_field(f"{key}[{DOCUMENTED_LABEL}]", "KW308", message, hint)
    for key in template:
        if key not in _READ_OF_METADATA:  # those that Kubernetes does not know are refused (KW105)
            message = "of the template's metadata only labels and annotations are read"
            hint = did_you_mean(key, _READ_OF_METADATA)
            yield _ignored_field(f"{_TEMPLATE}.metadata.{key[:80]}", "KW309", message, hint)
    if as_map(template.get("labels")).get(api.LABEL_CREATED_BY_SET) is not None:
        message = "it is overwritten with the set's name"
        yield _ignored_field(f"{_TEMPLATE}.metadata.labels[{api.LABEL_CREATED_BY_SET}]", "KW309", message)


def _changes(old: Object, new: Object, setting: Setting) -> Iterator[Problem]:
    names = [as_text(dig(side, "metadata", "name")) for side in (old, new)]
    if all(names) and names[0] != names[1]:
        message = f"{names[0][:80]!r} and {names[1][:80]!r} are two InferenceSets"
        yield refusal("metadata.name", "KW184", message)
        return
    partitions = [dig(side, "spec", "template", "resource", "partition") for side in (old, new)]
    if partitions[0] != partitions[1]:
        hint = "delete the InferenceSet and recreate it"
        yield refusal(f"{_TEMPLATE}.resource.partition", "KW304", "is immutable", hint)
    if setting.target == OWN:
        return
    known = kinds.schema_of(api.INFERENCE_SET.kind, "v1beta1")
    meant = [_meant(schema_defaults.default(side, known)) for side in (old, new)]
    for path in ("template.metadata.annotations", "template.resource", "template.inference", "labelSelector"):
        was, will = (dig(side, "spec", *path.split(".")) for side in meant)
        if (was or {}) != (will or {}):
            message = "KAITO carries the change to new replicas alone: those that exist stay as they are"
            yield _ignored_field(f"spec.{path}", "KW310", message, _ROLLOUT + " carries it to them")


def _ignored_field(where: str, code: str, message: str, hint: Advice = "") -> Problem:
    return replace(warning(where, code, message, hint), kaito="ignores")


def _meant(value: Any) -> Any:
    """The value without what is empty: KAITO's client writes such fields where nobody has said anything."""
    if not isinstance(value, dict):
        return value
    return {key: item for key, below in value.items() if (item := _meant(below)) not in ({}, [], None)}
