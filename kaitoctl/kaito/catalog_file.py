"""A user's own catalogue: rows that extend or override what ships, from one YAML or JSON file.

The file has the keys `presets`, `models` and `instance_types`, each a list of rows whose fields are those of
`catalog`'s dataclasses, which is also what `kaitoctl models` and `kaitoctl skus` print with `-o yaml`. A row
whose name (of a model: id) is known changes only the fields that it gives; a new one needs the few fields
that make it one. `SCHEMA` says all of this to machines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, TypeVar

from kaitoctl.errors import InputError
from kaitoctl.kaito import catalog
from kaitoctl.kaito.api import GPU
from kaitoctl.kaito.catalog import Catalog, InstanceType, Model, Preset

_MAX_BYTES = 5_000_000

_TEXT = {"type": "string"}
_NAME = {"type": "string", "minLength": 1, "maxLength": 253}
_FLAG = {"type": "boolean"}
_TEXTS = {"type": "array", "items": _TEXT}
_FLAGS = {"type": "object", "additionalProperties": _TEXT}
_COUNT = {"type": "integer", "minimum": 1}
_AMOUNT = {"type": "integer", "minimum": 0}
_SIZE = {"type": "number", "minimum": 0}
_DISK = {"type": "string", "pattern": "^[0-9]+(Gi|Ti)$"}  # without a unit it would be bytes

_RUNTIME = {
    "type": "object",
    "required": ["base_command", "main_file"],
    "properties": {
        "base_command": _TEXT,
        "launcher": _FLAGS,
        "rendezvous": _FLAGS,
        "main_file": _TEXT,
        "parameters": _FLAGS,
    },
}
_IMAGE = {
    "type": "object",
    "required": ["transformers"],
    "properties": {
        "name": _TEXT,
        "tag": {**_TEXT, "nullable": True},
        "probe_path": _TEXT,
        "transformers": _RUNTIME,
        "vllm": {**_RUNTIME, "nullable": True},
        "tensor_parallel": _FLAG,
        "source": _TEXT,
        "lora": _FLAG,
        "downloads": _FLAG,
    },
}
_PRESET = {
    "type": "object",
    "required": ["name"],
    "properties": {
        "name": _NAME,
        "family": _TEXT,
        "access_mode": {"type": "string", "enum": ["public", "private"]},
        "disk": _DISK,
        "gpu_count": _COUNT,
        "total_gpu_memory_gib": _AMOUNT,
        "per_gpu_memory_gib": _AMOUNT,
        "distributed": _FLAG,
        "world_size": _AMOUNT,
        "tuning": _FLAG,
        "readiness_timeout_s": _COUNT,
        "images": {
            "type": "object",
            "properties": {"v0.3": _IMAGE, "v0.4": _IMAGE, "v0.4.6": _IMAGE},
        },
        "note": _TEXT,
        "source": _TEXT,
        "local_model": _TEXT,
    },
}
_MODEL = {
    "type": "object",
    "required": ["id"],
    "properties": {
        "name": _NAME,
        "id": {**_NAME, "pattern": "^[^/]+/[^/]+$"},
        "aliases": _TEXTS,
        "license": _TEXT,
        "task": _TEXT,
        "architectures": _TEXTS,
        "weights_gib": _SIZE,
        "disk": _DISK,
        "bytes_per_token": _AMOUNT,
        "attention": _TEXT,
        "context_limit": _COUNT,
        "quantization": _TEXT,
        "readiness_timeout_s": _COUNT,
        "vllm": _FLAGS,
        "tool_call_parser": _TEXT,
        "reasoning_parser": _TEXT,
        "chat_template": _TEXT,
        "distributed": _FLAG,
        "tuning_disk": {"type": "string", "pattern": "^([0-9]+(Gi|Ti))?$"},
        "transformers": {**_FLAGS, "nullable": True},
        "gated": _FLAG,
        "cuda_toolkit": _FLAG,
        "kv_cache_offload": _FLAG,
        "pinned": _TEXT,
        "overhead": _SIZE,
        "one_gpu": _FLAG,
        "note": _TEXT,
        "source": _TEXT,
    },
}
_INSTANCE_TYPE = {
    "type": "object",
    "required": ["name"],
    "properties": {
        "name": _NAME,
        "cloud": _NAME,
        "gpus": _COUNT,
        "gpu_memory_gib": _COUNT,
        "gpu_model": _TEXT,
        "gpu_resource": _TEXT,
        "versions": {"type": "array", "items": {"type": "string", "enum": list(catalog.TARGETS.values())}},
        "arch": _TEXT,
        "exists": _FLAG,
        "nvme": {**_FLAG, "nullable": True},
        "cuda_capability": _TEXT,
        "note": _TEXT,
        "source": _TEXT,
    },
}
SCHEMA: Mapping[str, Any] = MappingProxyType(
    {
        "type": "object",
        "properties": {
            "presets": {"type": "array", "items": _PRESET},
            "models": {"type": "array", "items": _MODEL},
            "instance_types": {"type": "array", "items": _INSTANCE_TYPE},
        },
    }
)
"""The shape of a catalogue file, as a structural schema."""

_NEW_PRESET = {
    "family": "",
    "access_mode": "private",
    "disk": "100Gi",
    "per_gpu_memory_gib": 0,
    "distributed": False,
    "world_size": 0,
    "tuning": False,
    "readiness_timeout_s": 1800,
    "images": {},
    "note": "",
}
_NEW_RUNTIME: dict[str, Any] = {"launcher": {}, "rendezvous": {}, "parameters": {}}
_NEW_IMAGE = {"tag": None, "probe_path": "/health", "vllm": None, "tensor_parallel": False, "source": ""}
_NEW_INSTANCE_TYPE = {
    "cloud": "own",
    "gpu_model": "NVIDIA",
    "gpu_resource": GPU,
    "versions": list(catalog.TARGETS.values()),
}

Row = TypeVar("Row", Preset, Model, InstanceType)


def read(path: str | None) -> Catalog:
    """What ships with us and the rows of the file at `path`; only what ships when there is no path.

    Args:
        path: of the file; or `OWNER/NAME=FOLDER`, a model of Hugging Face by its own files.

    Raises:
        InputError: the file cannot be read, or as `parse`.
    """
    if not path:
        return catalog.SHIPPED
    from kaitoctl.kaito import hub_files
    from kaitoctl.kube.documents import text_of_file

    if (given := hub_files.given(path)) is not None:
        model = hub_files.read(given)
        return Catalog(own_models=MappingProxyType({model.id.lower(): model}))

    return parse(text_of_file(path, f"catalog {path}", most=_MAX_BYTES), path)


def parse(text: str, source: str) -> Catalog:
    """What ships with us and the rows of a catalogue file.

    Args:
        text: YAML or JSON, one document.
        source: how errors name it.

    Raises:
        InputError: naming the path of each thing wrong, `presets[0].gpu_count`.
    """
    from kaitoctl.kube import schema
    from kaitoctl.kube.documents import load_yaml

    documents = load_yaml(text, source)
    if len(documents) > 1:
        raise InputError(f"catalog {source}: {len(documents)} documents; one is expected")
    document = documents[0] if documents else {}
    if (
        not SCHEMA["properties"].keys() & document.keys()
        and {"architectures", "model_type", "dim"} & document.keys()
    ):
        from kaitoctl.kaito.hub_files import nameless

        raise nameless(source)
    problems = [str(problem) for problem in schema.problems(document, SCHEMA, unknown="error")]
    if problems:
        raise _error(source, problems)
    own_presets = _rows(document, "presets", "name", _shipped_presets, _preset, problems)
    own_models = _rows(document, "models", "id", catalog.models, _model, problems)
    own_types = _rows(document, "instance_types", "name", catalog.instance_types, _instance_type, problems)
    if problems:
        raise _error(source, problems)
    return Catalog(MappingProxyType(own_presets), MappingProxyType(own_models), MappingProxyType(own_types))


def _shipped_presets() -> Mapping[str, Preset]:
    return catalog.SHIPPED.presets


def plain(row: Preset | Model | InstanceType) -> dict[str, Any]:
    """A row as a catalogue file has it. Guarantee: `parse` makes an equal row of it."""
    made: dict[str, Any] = _unfrozen(row)
    if not made.get("local_model"):
        made.pop("local_model", None)
    return made


def _unfrozen(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _unfrozen(item) for key, item in value.items()}
    if hasattr(value, "_asdict"):
        return _unfrozen(value._asdict())
    if isinstance(value, tuple):
        return list(value)
    return value


def _rows(
    document: Mapping[str, Any],
    section: str,
    key: str,
    shipped: Callable[[], Mapping[str, Row]],
    make: Callable[[dict[str, Any]], Row],
    problems: list[str],
) -> dict[str, Row]:
    made: dict[str, Row] = {}
    for index, given in enumerate(document.get(section) or ()):
        where = f"{section}[{index}]"
        name = given[key].lower() if key == "id" else given[key]
        if name in made:
            problems.append(f"{where}.{key}: {given[key]!r} is in the file twice")
            continue
        before = shipped().get(name)
        row = _merge(plain(before), given) if before else given
        required = _REQUIRED[section]
        if missing := [field for field in required if field not in row]:
            problems += [f"{where}.{field}: required of a new row" for field in missing]
            continue
        made[name] = make(row)
        problems += [f"{where}.{path}" for path in _contradictions(made[name])]
    return made


_REQUIRED: Mapping[str, Iterable[str]] = {
    "presets": ("gpu_count", "total_gpu_memory_gib"),
    "models": ("weights_gib", "bytes_per_token", "context_limit"),
    "instance_types": ("gpus", "gpu_memory_gib"),
}


def _preset(row: dict[str, Any]) -> Preset:
    def runtime(given: dict[str, Any] | None) -> dict[str, Any] | None:
        return {**_NEW_RUNTIME, **given} if given is not None else None

    images = {
        name: {
            **_NEW_IMAGE,
            **image,
            "transformers": runtime(image["transformers"]),
            "vllm": runtime(image.get("vllm")),
        }
        for name, image in (row.get("images") or {}).items()
    }
    return catalog.preset_from({**_NEW_PRESET, "source": "own catalog", **row, "images": images})


def _model(row: dict[str, Any]) -> Model:
    from kaitoctl.kaito import hub_model

    weights = float(row["weights_gib"])
    return catalog.model_of(
        {**hub_model.settled(row), "source": "own catalog", **row, "weights_gib": weights}
    )


def _instance_type(row: dict[str, Any]) -> InstanceType:
    return catalog.instance_type_of({**_NEW_INSTANCE_TYPE, "source": "own catalog", **row})


def _contradictions(row: Preset | Model | InstanceType) -> Iterable[str]:
    """What no schema can say."""
    if isinstance(row, Preset) and row.distributed and not row.world_size:
        yield "world_size: a distributed preset has the number of its processes here"
    if isinstance(row, InstanceType) and row.gpu_memory_gib % row.gpus:
        yield f"gpu_memory_gib: {row.gpu_memory_gib} GiB cannot be shared equally by {row.gpus} GPUs"


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` upon `base`, field by field; a map of flags is replaced as a whole, images are not."""
    merged = {**base, **over}
    if isinstance(base.get("images"), dict) and isinstance(over.get("images"), dict):
        merged["images"] = {**base["images"], **over["images"]}
    return merged


def _error(source: str, problems: list[str]) -> InputError:
    hint = "`kaitoctl models describe NAME -o yaml` prints a row as it should be"
    if len(problems) == 1:
        return InputError(f"catalog {source}: {problems[0]}", hint=hint)
    return InputError(f"catalog {source} has {len(problems)} problems", problems=problems, hint=hint)
