"""The rows of the tables of presets, written out: what many rows share stands in a table once. Pure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_SERVERS = ("transformers", "vllm")


def rows(table_file: Path) -> list[dict[str, Any]]:
    """The presets of a table whose images belong to generations."""
    table = json.loads(table_file.read_text("utf-8"))
    launchers, generations = table["launchers"], table["generations"]

    def runtime(row: dict[str, Any]) -> dict[str, Any]:
        return {**launchers[row["launcher"]], **{key: row[key] for key in ("main_file", "parameters")}}

    def image(name: str, row: dict[str, Any]) -> dict[str, Any]:
        runtimes = {kind: row[kind] and runtime(row[kind]) for kind in _SERVERS}
        return {**generations[name], **row, **runtimes}

    return [
        {**row, "images": {name: image(name, below) for name, below in row["images"].items()}}
        for row in table["presets"]
    ]


def rows_of_v0_4_6(table_file: Path) -> list[dict[str, Any]]:
    """The presets of KAITO v0.4.6, which have one generation of images."""
    table = json.loads(table_file.read_text("utf-8"))

    def image(row: dict[str, Any]) -> dict[str, Any]:
        flags = {kind: {**table["runtimes"][kind], "parameters": row["image"][kind]} for kind in _SERVERS}
        return {**table["image"], **row["image"], **flags, "source": row["source"]}

    return [{**table["preset"], **row, "images": {"v0.4.6": image(row)}} for row in table["presets"]]
