"""Lists as `Table`s: the columns that `kubectl get` prints. Pure.

Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#receiving-resources-as-tables
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from kaitoctl.kube.objects import Object, dig
from kaitoctl.sandbox.builtin import Resource
from kaitoctl.sandbox.table_columns import BUILTIN, NAME, Column, age


def wants_table(accept: str) -> bool:
    """Whether a client would rather have a Table."""
    return "as=Table" in accept


def table(
    resource: Resource,
    objects: list[Object],
    metadata: Object,
    *,
    now: datetime,
    headless: bool = False,
    include: str = "",
) -> Object:
    """Objects of one resource as a Table.

    Args:
        resource: of what kind.
        objects: one per row.
        metadata: of the list.
        now: what ages are counted to.
        headless: leave the columns' definitions out, as in all but the first event of a watch.
        include: what comes with each row: `Object`, `None`, or its `Metadata`, as when it is empty.
    """
    columns = _columns(resource)
    heads = [
        {
            "name": column.name,
            "type": column.kind,
            "format": column.form,
            "description": "",
            "priority": column.priority,
        }
        for column in columns
    ]
    rows = []
    for obj in objects:
        row: Object = {"cells": [column.read(obj, now) for column in columns]}
        if include != "None":
            row["object"] = obj if include == "Object" else _identity(obj)
        rows.append(row)
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": [] if headless else heads,
        "rows": rows,
    }


def _identity(obj: Object) -> Object:
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": obj["metadata"]}


def _columns(resource: Resource) -> list[Column]:
    if resource.is_custom:
        columns = resource.columns or (_AGE_OF_CUSTOM,)
        return [NAME, *(_custom(column) for column in columns)]
    columns_of_kind = BUILTIN[resource.name]
    return [*columns_of_kind] if resource.name == "events" else [NAME, *columns_of_kind]


_AGE_OF_CUSTOM: Object = {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}


def _custom(column: Object) -> Column:
    path = column.get("jsonPath") or ""
    kind = column.get("type") or "string"

    def read(obj: Object, now: datetime) -> Any:
        found = next(iter(values_at(obj, path)), None)
        if found is None:
            return ""
        return age(str(found), now) if kind == "date" else found if kind != "string" else _plain(found)

    return Column(column["name"], read, kind, int(column.get("priority") or 0))


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


_STEP = re.compile(
    r"""\.(?P<name>(?:[\w-]|\\\.)+)
      | \['(?P<quoted>[^']+)'\]
      | \[(?P<index>\d+|\*)\]
      | \[\?\(@\.(?P<key>[\w.]+)\s*==\s*["'](?P<value>[^"']*)["']\)\]""",
    re.VERBOSE,
)


def values_at(obj: Any, path: str) -> Iterator[Any]:
    """What a JSON path of a printer column leads to: names, indexes, `[*]` and `[?(@.type=="x")]`."""
    if not path:
        yield obj
        return
    step = _STEP.match(path)
    if step is None:
        return
    rest = path[step.end() :]
    name = step["quoted"] or (step["name"] or "").replace("\\.", ".")
    if name:
        found = [obj[name]] if isinstance(obj, dict) and name in obj else []
    elif not isinstance(obj, list):
        found = []
    elif step["key"]:
        found = [item for item in obj if str(dig(item, *step["key"].split("."))) == step["value"]]
    else:
        found = obj if step["index"] == "*" else obj[int(step["index"]) :][:1]
    for value in found:
        yield from values_at(value, rest)
