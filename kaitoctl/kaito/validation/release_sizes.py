"""The models of KAITO v0.7 to v0.10, by whose sizes those releases count nodes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from msgspec.structs import replace

from kaitoctl.kaito.catalog import Catalog, Model


def catalog_of(rows: Iterable[Mapping[str, Any]], source: str, known: Catalog) -> Catalog:
    """The catalog with the models of a release as its table has them.

    Args:
        rows: of `tables/releases.json`.
        source: of these rows.
        known: what users brought stays over it.
    """
    sized = {key: item._replace(overhead=0) for key, item in known.models.items()}
    for row in rows:
        name = row["name"]
        written = known.model(row.get("id") or name) or known.model(name) or _gone(row)
        sized[written.id.lower()] = written._replace(
            weights_gib=row["weights_gib"],
            bytes_per_token=row["bytes_per_token"],
            context_limit=row["context_limit"],
            disk=row["disk"],
            distributed=row["distributed"],
            overhead=0,
            one_gpu=row.get("one_gpu", False),
            vllm=_flags(written, row),
            note="",
            source=source,
        )
    return replace(known, own_models=MappingProxyType({**sized, **known.own_models}))


def _flags(written: Model, row: Mapping[str, Any]) -> Mapping[str, str]:
    """Those of v0.12 with the format that the release starts it in: most of today's bfloat16 were float16."""
    if written.vllm.get("dtype") != "bfloat16":
        return written.vllm
    return {**written.vllm, "dtype": row.get("dtype", "float16")}


def _gone(row: Mapping[str, Any]) -> Model:
    """A model that v0.12 no longer has."""
    name = row["name"]
    return Model(
        name, row.get("id") or name, row["weights_gib"], row["bytes_per_token"], row["context_limit"],
        row["disk"], "", aliases=(name,), transformers={}, tuning_disk=row["disk"] if row["tuning"] else "",
    )  # fmt: skip
