"""The rules for ConfigMaps that a Workspace names: parameters of tuning, and of inference from v0.12 on.

Source: KAITO v0.3.2 `api/v1alpha1/params_validation.go`; v0.12 `api/v1beta1/workspace_validation.go`.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from typing import Any

from kaitoctl.errors import InputError
from kaitoctl.kaito.validation.problem import Problem, as_map, as_text, as_whole, error
from kaitoctl.kaito.validation.subject import Subject
from kaitoctl.kube.objects import dig

_SECTIONS = (
    "ModelConfig", "QuantizationConfig", "LoraConfig", "TrainingArguments", "DatasetConfig", "DataCollator",
)  # fmt: skip
_BITS = ("load_in_4bit", "load_in_8bit")
_TRAINING, _INFERENCE = "training_config.yaml", "inference_config.yaml"


def problems(subject: Subject) -> Iterator[Problem]:
    """What is wrong with the ConfigMaps; nothing when they are not known or none is named."""
    for part, key in (("tuning", _TRAINING), ("inference", _INFERENCE)):
        name = as_text(dig(subject.workspace, part, "config"))
        known = subject.setting.config_maps
        if not name or known is None or (part == "inference" and subject.is_old):
            continue
        where, place = f"{part}.config", subject.config_map_key(name[:253])
        found = known.get(place)
        if found is None:
            yield error(where, "KW190", f"there is no ConfigMap {place}")
            continue
        text = as_map(found.get("data")).get(key)
        if not isinstance(text, str):
            yield error(where, "KW191", f"ConfigMap {place} has no {key}")
            continue
        try:
            content = _content(text, f"{place}/{key}")
        except InputError as fault:
            yield error(where, "KW191", f"ConfigMap {fault.message}")
            continue
        judged = _training(subject, content) if part == "tuning" else _context(subject, content)
        for code, message in judged:
            yield error(where, code, f"ConfigMap {place}: {message}")


def max_model_len(subject: Subject) -> int | None:
    """The context that the inference ConfigMap asks for; None when it does not, or is not known."""
    name, known = as_text(subject.inference.get("config")), subject.setting.config_maps or {}
    found = known.get(subject.config_map_key(name[:253])) if name else None
    text = as_map((found or {}).get("data")).get(_INFERENCE)
    try:
        return _max_model_len(_content(text, _INFERENCE)) if isinstance(text, str) else None
    except InputError:
        return None


def _max_model_len(content: Mapping[str, Any]) -> int | None:
    value = as_map(content.get("vllm")).get("max-model-len")
    if isinstance(value, str) and len(value) < 10 and value.isascii() and value.isdigit():
        value = int(value)  # it becomes a flag, so text is as good
    return as_whole(value)


def _content(text: str, source: str) -> Mapping[str, Any]:
    from kaitoctl.kube.documents import load_yaml

    objects = load_yaml(text, source)
    return objects[0] if objects else {}


def _training(subject: Subject, content: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    config = content.get("training_config")
    if not isinstance(config, dict):
        yield "KW191", f"training_config of {_TRAINING} is not a map"
        return
    for section in config:
        if section not in _SECTIONS:
            yield "KW192", f"section {section[:80]} is not known; known are {', '.join(_SECTIONS)}"
    bits = as_map(config.get("QuantizationConfig"))
    for key in _BITS:
        if bits.get(key) is not None and not isinstance(bits[key], bool):
            yield "KW193", f"{key} is not true or false"
    on = [key for key in _BITS if bits.get(key) is True]
    method = as_text(subject.tuning.get("method")).lower()
    if len(on) == 2:
        yield "KW193", f"{_BITS[0]} and {_BITS[1]} are both true"
    elif on and method == "lora":
        yield "KW193", f"{on[0]} is true, but the method is lora"
    elif not on and method == "qlora":
        yield "KW193", f"the method is qlora, but neither {_BITS[0]} nor {_BITS[1]} is true"
    output = as_map(config.get("TrainingArguments")).get("output_dir")
    if output is not None and not isinstance(output, str):
        yield "KW194", "output_dir is not text"
    elif output is not None and not posixpath.normpath(output).startswith("/mnt/"):
        yield "KW194", f"output_dir {output[:80]!r} is not below /mnt"


def _context(subject: Subject, content: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    wanted = _max_model_len(content)
    model = subject.model
    if model is not None and wanted is not None and model.context_limit and wanted > model.context_limit:
        yield "KW195", f"max-model-len {wanted} is more than {model.id} can ({model.context_limit})"
