"""A list of things with names, in every format in which rows are shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from kaitoctl.commands import invocation, option_values
from kaitoctl.screens import output

if TYPE_CHECKING:
    from kaitoctl.kube.objects import Object

FORMATS = ("table", "wide", "json", "yaml", "name")


def show(
    key: str,
    items: Sequence[Object],
    headers: Sequence[str],
    cells: Callable[[Object], Sequence[str]],
    output_format: str,
    *,
    below: bool = True,
) -> None:
    """Show the items.

    Args:
        key: what they are called in JSON.
        items: each with its `name`.
        headers: of the table.
        cells: of an item's row.
        output_format: one of `FORMATS`, or what chooses from the JSON.
        below: whether on terminals the last cell may stand below its line.

    Raises:
        InputError: it is no format.
    """
    option_values.output_format(output_format, FORMATS)
    items = invocation.sort_for_output(items, lambda item: item)
    if option_values.is_structured(output_format):
        output.write_structured({key: list(items)}, output_format)
    elif output_format == "name":
        for item in items:
            output.data(output.visible(str(item["name"])))
    else:
        output.table(headers, [cells(item) for item in items], wide=output_format == "wide", below=below)
