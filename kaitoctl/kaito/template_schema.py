"""The JSON Schema beside a template of the user's own, and what values it allows.

`team.yaml.j2` may have a `team.schema.json` beside it, as a Helm chart has its `values.schema.json`: what a
platform team allows (instance types, most nodes, labels that must be there) is then said before anything is
rendered. Any draft that jsonschema knows, by its `$schema`; 2020-12 otherwise. Nothing is fetched.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kaitoctl.errors import InputError

_SUFFIXES = (".yaml.j2", ".yml.j2", ".j2", ".yaml", ".yml")
_MOST_BYTES = 1_000_000
_MOST_PROBLEMS = 10


def beside(template: str) -> Path | None:
    """The schema file of a template that is a file; None when there is none."""
    path = Path(template)
    suffix = next((end for end in _SUFFIXES if path.name.endswith(end)), "")
    if not suffix or not path.is_file():
        return None
    schema = path.with_name(path.name.removesuffix(suffix) + ".schema.json")
    return schema if schema.is_file() else None


def insist(values: Mapping[str, Any], schema_file: Path) -> None:
    """Refuse values that the schema does not allow.

    Args:
        values: all that the template can read: what options say, `--values` and `--set`.
        schema_file: the JSON Schema.

    Raises:
        InputError: the file is no JSON Schema, or the values do not fit; each problem with its path.
    """
    from jsonschema import exceptions, validators
    from referencing.exceptions import Unresolvable

    schema = _schema(schema_file)
    try:
        of_draft = validators.validator_for(schema, default=validators.Draft202012Validator)
        of_draft.check_schema(schema)
        found = sorted(of_draft(schema).iter_errors(dict(values)), key=lambda error: str(error.json_path))
    except exceptions.SchemaError as error:
        raise InputError(f"{schema_file}: not a JSON Schema: {error.message[:200]}") from None
    except Unresolvable as error:
        raise InputError(
            f"{schema_file}: {str(error)[:200]}", hint="references must stay in the file"
        ) from None
    if not found:
        return
    lines = [f"{error.json_path.removeprefix('$.')}: {error.message[:200]}" for error in found]
    more = [f"and {len(lines) - _MOST_PROBLEMS} more"] if len(lines) > _MOST_PROBLEMS else []
    raise InputError(
        f"{schema_file} does not allow these values; nothing was written",
        problems=lines[:_MOST_PROBLEMS] + more,
        hint="change the options, --values or --set; the schema belongs to the template",
    )


def _schema(file: Path) -> Any:
    try:
        with file.open("rb") as opened:
            raw = opened.read(_MOST_BYTES + 1)
        if len(raw) > _MOST_BYTES:
            raise InputError(f"{file}: larger than {_MOST_BYTES:,} bytes")
        schema = json.loads(raw.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file}: not JSON: {str(error)[:200]}") from None
    except OSError as error:
        raise InputError(f"{file}: {error.strerror or error}") from None
    if not isinstance(schema, dict | bool):
        raise InputError(f"{file}: a JSON Schema is an object")
    return schema
