"""The rules for ConfigMaps that a Workspace names: parameters of tuning, and of inference from v0.12 on.

Source: KAITO v0.3.2 `api/v1alpha1/params_validation.go`; v0.4.6, v0.9.4 and v0.12.0
`api/*/tuning_config_validation.go` and `inference_config_validation.go`.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from kaitoctl.errors import InputError
from kaitoctl.kaito.validation import releases
from kaitoctl.kaito.validation.problem import Problem, as_map, as_text, error, refusal
from kaitoctl.kaito.validation.releases import Release
from kaitoctl.kaito.validation.subject import Subject
from kaitoctl.kube.objects import dig

_SECTIONS = (
    "ModelConfig", "QuantizationConfig", "LoraConfig", "TrainingArguments", "DatasetConfig", "DataCollator",
)  # fmt: skip
_BITS = ("load_in_4bit", "load_in_8bit")
_TRAINING, _INFERENCE = "training_config.yaml", "inference_config.yaml"
_LENGTH = "max-model-len"
_SMALL_GIB = 20
_OUTSIDE = "is not below /mnt, and only what is there is kept"


def problems(subject: Subject) -> Iterator[Problem]:
    """What is wrong with the ConfigMaps; nothing when they are not known or none is named."""
    yield from (error(*fault) for fault in _tuning_faults(subject))
    if not subject.is_old:
        yield from (error(*fault) for fault in _inference_faults(subject))
        yield from (error(*fault) for fault in _server_faults(subject))


def tuning_refusals(subject: Subject) -> Iterator[Problem]:
    """What KAITO's admission refuses of the ConfigMap for tuning, on creation."""
    for where, code, message in _tuning_faults(subject):
        if code != "KW194" or not message.endswith(_OUTSIDE):
            yield refusal(where, code, message)


def inference_refusals(subject: Subject, release: Release) -> Iterator[Problem]:
    """What KAITO's admission refuses of the ConfigMap for inference, on creation; only vLLM's is read."""
    asked = (release.config_length or {}).get(subject.api_version)
    if asked is None or subject.runtime != "vllm":
        return
    faults = list(_inference_faults(subject))
    for where, code, message in faults:
        if asked == "limit" or code not in ("KW195", "KW197"):
            yield refusal(where, code, message)
    if asked == "limit" or faults:
        return
    name = as_text(subject.inference.get("config"))
    if name:
        found = _config_map(subject, "inference")
        text = as_map((found or {}).get("data")).get(_INFERENCE)
        if not isinstance(text, str):
            return  # it is not known
        content = _raw(text)
    elif subject.api_version in release.default_config:
        content = {}  # the chart's own, which says nothing of it
    else:
        return
    figures = releases.gpu_type(release, subject.type_name, subject.cloud, subject.setting.catalog)
    is_small = figures is not None and figures.gpus > 1 and figures.memory_gib // figures.gpus < _SMALL_GIB
    is_shared = asked == "shared" and subject.written_count > 1
    if (is_small or is_shared) and not as_map(as_map(content).get("vllm")).get(_LENGTH):
        why = f"several GPUs of less than {_SMALL_GIB} GiB each" if is_small else "several nodes"
        message = f"vLLM on {why} needs {_LENGTH} in {_INFERENCE}"
        hint = f"name a ConfigMap in inference.config, with vllm.{_LENGTH}"
        yield refusal("inference.config", "KW198", message, hint)


def max_model_len(subject: Subject) -> int | None:
    """The context that the inference ConfigMap asks for; None when it does not, or is not known."""
    found = _config_map(subject, "inference")
    return None if found is None else length_in(found)


def length_in(config_map: Mapping[str, Any]) -> int | None:
    """The context that an inference ConfigMap asks for; None when it does not."""
    text = as_map(config_map.get("data")).get(_INFERENCE)
    if not isinstance(text, str):
        return None
    try:
        content = _raw(text)
    except InputError:
        return None
    return _whole(as_text(as_map(as_map(content).get("vllm")).get(_LENGTH)))


def length_read_by_kaito(config_map: Mapping[str, Any]) -> int:
    """The context by which KAITO counts nodes, as it reads it line by line; 0 where it finds none.

    A quoted number, or one with a comment behind it, is none to it, though vLLM gets it.

    Source: KAITO v0.8.0 to v0.12.0 `pkg/utils/config_parser.go` (ParseExplicitMaxModelLen).
    """
    text = as_map(config_map.get("data")).get(_INFERENCE)
    least: int | None = None
    for line in text.split("\n") if isinstance(text, str) else ():
        words, indent = line.strip(), len(line) - len(line.lstrip(" \t"))
        if least is None:
            least = indent + 2 if words.startswith("vllm:") else None
        elif words and not words.startswith("#") and indent < least:
            return 0
        elif words.startswith(f"{_LENGTH}:"):
            written = words.partition(":")[2].strip()
            is_number = re.fullmatch(r"\+?[0-9]{1,18}", written)
            return int(written) if is_number else 0
    return 0


def _config_map(subject: Subject, part: str) -> Mapping[str, Any] | None:
    name, known = as_text(dig(subject.workspace, part, "config")), subject.setting.config_maps
    return known.get(subject.config_map_key(name[:253])) if name and known is not None else None


def _text(subject: Subject, part: str, key: str) -> tuple[str | None, tuple[str, str, str] | None]:
    """The parameters' text, or what is wrong; neither when it is not known or none is named."""
    name, known = as_text(dig(subject.workspace, part, "config")), subject.setting.config_maps
    if not name or known is None:
        return None, None
    where, place = f"{part}.config", subject.config_map_key(name[:253])
    found = known.get(place)
    if found is None:
        return None, (where, "KW190", f"there is no ConfigMap {place}")
    text = as_map(found.get("data")).get(key)
    return (
        (text, None) if isinstance(text, str) else (None, (where, "KW191", f"ConfigMap {place} has no {key}"))
    )


def _tuning_faults(subject: Subject) -> Iterator[tuple[str, str, str]]:
    text, fault = _text(subject, "tuning", _TRAINING)
    if fault:
        yield fault
    if text is None:
        return
    place = subject.config_map_key(as_text(subject.tuning.get("config"))[:253])
    try:
        content = _content(text, f"{place}/{_TRAINING}")
    except InputError as refusal:
        yield "tuning.config", "KW191", f"ConfigMap {refusal.message}"
        return
    for code, message in _training(subject, content):
        yield "tuning.config", code, f"ConfigMap {place}: {message}"


def _inference_faults(subject: Subject) -> Iterator[tuple[str, str, str]]:
    text, fault = _text(subject, "inference", _INFERENCE)
    if fault:
        yield fault
    if text is None or subject.runtime != "vllm":
        return
    where, place = "inference.config", subject.config_map_key(as_text(subject.inference.get("config"))[:253])
    try:
        content = _raw(text)
    except InputError as refusal:
        yield where, "KW191", f"ConfigMap {place}/{_INFERENCE}: {refusal.message}"
        return
    if not isinstance(content, dict):
        yield where, "KW191", f"ConfigMap {place}: {_INFERENCE} is not a map"
        return
    section = content.get("vllm")
    if section is not None and not isinstance(section, dict):
        yield where, "KW196", f"ConfigMap {place}: vllm is not a map"
        return
    for key, value in as_map(section).items():
        if isinstance(value, (dict, list)):
            yield where, "KW196", f"ConfigMap {place}: vllm.{key[:80]} is not a plain value"
            return
    yield from (
        (where, code, f"ConfigMap {place}: {message}") for code, message in _context(subject, section)
    )


def _server_faults(subject: Subject) -> Iterator[tuple[str, str, str]]:
    """Values that KAITO passes on and vLLM refuses, so that the server never starts."""
    text, fault = _text(subject, "inference", _INFERENCE)
    if fault or text is None or subject.runtime != "vllm":
        return
    try:
        section = as_map(as_map(_raw(text)).get("vllm"))
    except InputError:
        return
    place = subject.config_map_key(as_text(subject.inference.get("config"))[:253])
    for key, value in section.items():
        name, written = key.replace("_", "-"), as_text(value).strip()
        takes = _TAKES.get(name)
        if takes is None or not written or (name == _LENGTH and _whole(written) is None):  # KW197 says that
            continue
        pattern, words, is_fit = takes
        if not re.fullmatch(pattern, written) or not is_fit(float(written.rstrip("kKmMgGtT"))):
            yield "inference.config", "KW202", f"ConfigMap {place}: {key} {written[:40]!r} is not {words}"


_COUNT, _TOKENS = r"[-+]?[0-9]{1,18}", r"[-+]?[0-9]{1,18}(?:\.[0-9]{1,9})?[kKmMgGtT]?"
_SHARE = r"[-+]?(?:[0-9]{1,9}(?:\.[0-9]{0,18})?|\.[0-9]{1,18})(?:[eE][-+]?[0-9]{1,2})?"
_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)


def _some(number: float) -> bool:
    return number >= 1


# By vLLM's option: how a value is written, what it is in words, and what is fit; -1 is the longest context
# for which there is room. Source: vLLM v0.20 config/{model,cache,parallel,scheduler,lora}.py, engine.
_TAKES: Mapping[str, tuple[str, str, Callable[[float], bool]]] = {
    _LENGTH: (_COUNT, "a number of tokens", lambda number: number >= 1 or number == -1),
    "max-num-batched-tokens": (_TOKENS, "a number of tokens", _some),
    **dict.fromkeys(
        (
            "tensor-parallel-size", "pipeline-parallel-size", "data-parallel-size", "max-num-seqs",
            "max-loras",
        ),
        (_COUNT, "a whole number of at least 1", _some),
    ),
    "max-lora-rank": (_COUNT, f"one of {', '.join(map(str, _RANKS))}", _RANKS.__contains__),
    "gpu-memory-utilization": (_SHARE, "a share between 0 and 1", lambda share: 0 < share <= 1),
    **dict.fromkeys(
        ("swap-space", "cpu-offload-gb"), (_SHARE, "a number of GiB", lambda number: number >= 0)
    ),
}  # fmt: skip


def _context(subject: Subject, section: Any) -> Iterator[tuple[str, str]]:
    """What is wrong with max-model-len, of a model whose limit is known."""
    written = as_text(as_map(section).get(_LENGTH)).strip()
    name = as_text(dig(subject.inference, "preset", "name")).lower()
    release = subject.server_release
    known = releases.preset(release, name, subject.setting.catalog) if release and name else None
    if not written or known is None or not known.context_limit:
        return
    length = _whole(written)
    if length is None and subject.release is None and re.fullmatch(f"auto|{_TOKENS}", written):
        return  # that it is whole is the webhook's rule; vLLM takes 8k, too
    if length is None:
        yield "KW197", f"{_LENGTH} {written[:40]!r} is not a whole number"
    elif length > known.context_limit:
        yield "KW195", f"{_LENGTH} {length} is more than {known.name} can ({known.context_limit})"


def _whole(text: str) -> int | None:
    """A whole number as Go's Atoi reads it."""
    plain = text.strip()
    return int(plain) if re.fullmatch(r"[-+]?[0-9]{1,18}", plain) else None


_NULLS = ("", "~", "null", "Null", "NULL")


def _raw(text: str) -> Any:
    """The first document of a YAML text with all scalars as they are written; a null stays one.

    Raises:
        InputError: it cannot be read.
    """
    from yaml import YAMLError

    from kaitoctl.kube.documents import Refused, locate_error, parse

    def scalar(written: str, plain: bool) -> str | None:
        return None if plain and written in _NULLS else written

    try:
        found = next(iter(parse(text, scalar, last_wins=True)), None)  # as yaml.v2 and vLLM do
        return {} if found in (None, "") else found
    except (YAMLError, UnicodeError, Refused) as fault:
        line, column, what = locate_error(fault, text)
        raise InputError(f"line {line}, column {column}: {what}") from None


def _content(text: str, source: str) -> Mapping[str, Any]:
    from yaml import YAMLError

    from kaitoctl.kube.documents import Refused, locate_error, parse
    from kaitoctl.kube.yaml_reader import meaning

    try:
        found = next(iter(parse(text, meaning, last_wins=True)), None)
    except (YAMLError, UnicodeError, Refused) as fault:
        line, column, what = locate_error(fault, text)
        raise InputError(f"{source}:{line}:{column}: {what}") from None
    if found is not None and not isinstance(found, dict):
        raise InputError(f"{source}: it is not a map")
    return found or {}


def _training(subject: Subject, content: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    config = content.get("training_config")
    if not isinstance(config, dict):
        yield "KW191", f"training_config of {_TRAINING} is not a map"
        return
    for section in config:
        if section not in _SECTIONS:
            yield "KW192", f"section {section[:80]} is not known; known are {', '.join(_SECTIONS)}"
    bits, arguments = config.get("QuantizationConfig"), config.get("TrainingArguments")
    for name, value in (("QuantizationConfig", bits), ("TrainingArguments", arguments)):
        if value is not None and not isinstance(value, dict):
            yield "KW193" if value is bits else "KW194", f"section {name} is not a map"
            return
    bits, arguments = as_map(bits), as_map(arguments)
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
    output = arguments.get("output_dir")
    if "output_dir" in arguments and not isinstance(output, str):
        yield "KW194", "output_dir is not text"
    elif isinstance(output, str) and _is_refused_folder(output):
        yield "KW194", f"output_dir {output[:80]!r} is not a folder below /mnt"
    elif isinstance(output, str) and not posixpath.normpath(output).startswith("/mnt/"):
        yield "KW194", f"output_dir {output[:80]!r} {_OUTSIDE}"


def _is_refused_folder(folder: str) -> bool:
    """What the webhook does not take; it puts /mnt before whatever is written."""
    clean = posixpath.normpath(f"/mnt/{folder}")
    return clean == "/mnt" or not clean.startswith("/mnt")
