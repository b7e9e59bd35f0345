"""What nodes cost by the hour: a file of the user's, as kaitoctl knows no bill. `docs/prices/` has samples.

The file has `currency`, `per_hour` (instance type -> amount for one node) and, for who reads the figures
later, `source`, `date` (YYYY-MM-DD) and `region`. A type that is not in it has no price: nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from msgspec import Struct, field

from kaitoctl.errors import InputError

_MAX_BYTES = 1_000_000
_SHAPE = "it has currency: USD, and under per_hour:  INSTANCE-TYPE: AMOUNT"
_TEXT = {"type": "string", "maxLength": 500}
SCHEMA: Mapping[str, Any] = MappingProxyType(
    {
        "type": "object",
        "required": ["currency", "per_hour"],
        "properties": {
            "currency": {"type": "string", "pattern": "^[A-Z]{3}$"},
            "per_hour": {"type": "object", "additionalProperties": {"type": "number", "minimum": 0}},
            "source": _TEXT,
            "date": {"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$"},
            "region": _TEXT,
        },
    }
)
"""The shape of a file of prices, as a structural schema."""


class Prices(Struct, frozen=True):
    """What one node of each instance type costs by the hour; empty when nobody has said.

    Args:
        per_hour: by instance type.
        currency: three letters, such as `USD`.
        source: where the figures are from.
        date: when they held.
        region: where they hold.
    """

    per_hour: Mapping[str, float] = field(default_factory=dict)
    currency: str = ""
    source: str = ""
    date: str = ""
    region: str = ""

    def of(self, instance_type: str, nodes: int = 1) -> float | None:
        """What so many nodes cost by the hour; None when there is no price for the type."""
        price = self.per_hour.get(instance_type)
        return None if price is None else price * nodes

    def total(self, nodes: Iterable[tuple[str, int]]) -> tuple[float, tuple[str, ...]]:
        """What nodes of several types cost together, and the types that have no price.

        Args:
            nodes: instance types and how many of each.
        """
        amount, unknown = 0.0, []
        for name, number in nodes:
            price = self.of(name, number)
            if price is None:
                unknown.append(name)
            amount += price or 0.0
        return amount, tuple(dict.fromkeys(unknown))

    def words(self, amount: float) -> str:
        """`12.24 USD per hour`."""
        return f"{amount:,.2f} {self.currency} per hour"

    @property
    def origin(self) -> str:
        """`prices of eastus, 2026-06-18`, as far as the file says."""
        what = f"prices of {self.region}" if self.region else f"prices in {self.currency}"
        return ", ".join(filter(None, (what, self.date)))


def read_prices(path: str | None) -> Prices:
    """The prices of a file; none without a path.

    Raises:
        InputError: the file cannot be read, or as `parse`.
    """
    if not path:
        return Prices()
    from kaitoctl.kube.documents import text_of_file

    return parse(text_of_file(path, f"--prices {path}", most=_MAX_BYTES), path)


def parse(text: str, source: str) -> Prices:
    """The prices in a text of YAML or JSON.

    Raises:
        InputError: with all that is wrong in it.
    """
    from kaitoctl.kube import schema
    from kaitoctl.kube.documents import load_yaml

    documents = load_yaml(text, source)
    found = documents[0] if len(documents) == 1 else None
    problems = (
        [f"{len(documents)} documents; one is expected"]
        if found is None
        else [str(problem) for problem in schema.problems(found, SCHEMA, unknown="error")]
    )
    if found is None or problems:
        raise InputError(
            f"--prices {source}: {problems[0]}"
            if len(problems) == 1
            else f"--prices {source} has {len(problems)} problems",
            problems=problems if len(problems) > 1 else [],
            hint=_SHAPE,
        )
    if not found["per_hour"]:
        raise InputError(f"--prices {source}: per_hour is empty", hint=_SHAPE)
    per_hour = {name: float(price) for name, price in found["per_hour"].items()}
    texts = {name: str(found.get(name) or "") for name in ("currency", "source", "date", "region")}
    return Prices(MappingProxyType(per_hour), **texts)
