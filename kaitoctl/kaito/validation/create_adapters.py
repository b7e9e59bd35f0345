"""The rules for `inference.adapters` of a Workspace by itself.

Source: KAITO v0.3.2, v0.4.0 and v0.12, `api/*/workspace_validation.go`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kaitoctl.kaito.api import MAX_ADAPTERS
from kaitoctl.kaito.validation import ignored_fields, pod_keys
from kaitoctl.kaito.validation.adapter_runtime import has_transformers
from kaitoctl.kaito.validation.create_inference import image_faults, secret_faults
from kaitoctl.kaito.validation.grammar import LONGEST_NAME, is_dns_label, strength_fault
from kaitoctl.kaito.validation.problem import OWN, Problem, as_list, error, warning
from kaitoctl.kaito.validation.subject import Subject

_SOURCES = ("urls", "image", "volumeSource")


def adapter_problems(subject: Subject) -> Iterator[Problem]:
    """Of each adapter, and of their number."""
    where, adapters = "inference.adapters", as_list(subject.inference.get("adapters"))
    if len(adapters) > MAX_ADAPTERS:
        finding = warning if subject.is_update and subject.target != OWN else error
        yield finding(where, "KW150", f"{len(adapters)} adapters, {MAX_ADAPTERS} are allowed")
    seen: set[str] = set()
    for index, adapter in enumerate(adapters):
        if isinstance(adapter, dict):
            yield from _adapter(subject, f"{where}[{index}]", adapter, seen)


def _adapter(subject: Subject, where: str, adapter: Mapping[str, Any], seen: set[str]) -> Iterator[Problem]:
    source, strength = adapter.get("source"), adapter.get("strength")
    if source is None:
        yield error(f"{where}.source", "KW151", "the adapter has no source")
    elif isinstance(source, dict):
        yield from _adapter_name(subject, f"{where}.source", source, seen)
        yield from _adapter_source(subject, f"{where}.source", source)
    has_strength = not subject.has_plain_adapters or subject.runtime != "vllm"
    if strength is None:
        if subject.is_old or (subject.target == OWN and has_strength):
            finding = warning if subject.target == OWN else error
            message = "the adapter has no strength; 1.0 is meant"
            yield finding(f"{where}.strength", "KW157", message, 'write strength: "1.0"')
    elif isinstance(strength, str) and (fault := strength_fault(strength)):
        yield error(f"{where}.strength", "KW156", fault, 'write it like "0.5"')
    elif not has_strength or (
        subject.release and subject.release.is_runtime_checked and subject.runtime == "vllm"
    ):
        message = "vLLM has no strength of adapters"
        otherwise = f", or {ignored_fields.TRANSFORMERS}" if has_transformers(subject) else ""
        yield error(f"{where}.strength", "KW161", message, f"leave it out{otherwise}")


def _adapter_name(
    subject: Subject, where: str, source: Mapping[str, Any], seen: set[str]
) -> Iterator[Problem]:
    name, where = source.get("name"), f"{where}.name"
    if name is None or name == "":
        yield error(where, "KW152", "the adapter has no name")
    elif isinstance(name, str):
        before = (
            ("adapter-volume-" if source.get("volumeSource") else "puller-") if subject.has_pullers else ""
        )
        longest = LONGEST_NAME - len(before)
        if not is_dns_label(name) or len(name) > longest:
            yield error(
                where,
                "KW152",
                f"{name[:80]!r} cannot name a container",
                f"use at most {longest} lower-case letters, digits and hyphens",
            )
        elif name in seen:
            yield error(where, "KW153", f"another adapter is called {name}, too")
        elif name == subject.name and not subject.has_pullers:
            yield error(where, "KW154", f"{name} is the Workspace's own name")
        seen.add(name)


def _adapter_source(subject: Subject, where: str, source: Mapping[str, Any]) -> Iterator[Problem]:
    image = source.get("image")
    given = [key for key in _SOURCES if source.get(key)]
    refused = [key for key in given if key == "urls" or (key == "volumeSource" and subject.volumes != "all")]
    if refused:
        yield error(f"{where}.{refused[0]}", "KW151", f"{refused[0]} cannot hold an adapter", "use image")
    elif len(given) > 1:
        yield error(where, "KW151", f"the adapter comes from {' and '.join(given)}", "set exactly one")
    elif not given:
        yield error(f"{where}.image", "KW151", "the adapter has no image")
    yield from image_faults(subject, f"{where}.image", image)
    yield from secret_faults(f"{where}.imagePullSecrets", as_list(source.get("imagePullSecrets")))
    volume = source.get("volumeSource")
    yield from pod_keys.problems(f"{where}.volumeSource", volume, "VolumeSource", subject.pod_types)
