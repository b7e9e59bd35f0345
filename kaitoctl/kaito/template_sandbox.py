"""Jinja for templates that anybody may have written: no way to Python, and bounds on time and memory. Pure.

Jinja's own sandbox keeps a template away from Python's insides, but not from work without end: three nested
loops run for hours, and a text that is joined to itself thirty times fills the memory. So every expression
is compiled into one that accounts for its value: how often anything is evaluated, and how much is made, are
both limited. Values are data here: what only lays text out for people is left out. `manifest` renders.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, cast

from kaitoctl.kube.documents import MAX_CHARACTERS, Refused

if TYPE_CHECKING:
    from jinja2 import Environment, nodes

_MAX_STEPS = 300_000  # expressions evaluated and rounds of loops; a large Workspace takes some thousands
_MAX_VOLUME = 25_000_000  # characters of all values that an expression had, or gave
_VOLUME_OF_ITEM = 20  # of an entry of a list or a map, besides what it holds
_STEPS_OF_INCLUDE = 1_000
_MAX_NODES = 50_000
_MAX_BITS = 4_096
_MOST_DIGITS = 15

# What data needs. Left out: what makes HTML or layout, takes a width, or answers differently each time.
_FILTERS = frozenset(
    {
        "abs", "capitalize", "count", "d", "default", "dictsort", "first", "float", "groupby",
        "int", "items", "join", "last", "length", "list", "lower", "map", "max", "min", "reject",
        "rejectattr", "replace", "reverse", "round", "select", "selectattr", "sort", "string",
        "sum", "trim", "truncate", "unique", "upper", "urlencode",
    }
)  # fmt: skip
_TEXT_METHODS = frozenset(
    {
        "capitalize", "casefold", "count", "endswith", "find", "index", "isalnum", "isalpha",
        "isascii", "isdecimal", "isdigit", "islower", "isnumeric", "isspace", "istitle", "isupper",
        "join", "lower", "lstrip", "partition", "removeprefix", "removesuffix", "replace", "rfind",
        "rindex", "rpartition", "rsplit", "rstrip", "split", "splitlines", "startswith", "strip",
        "swapcase", "title", "upper",
    }
)  # fmt: skip
_METHODS = {
    str: _TEXT_METHODS,
    dict: frozenset(("get", "items", "keys", "values")),
    list: frozenset(("count", "index")),
    tuple: frozenset(("count", "index")),
    int: frozenset[str](),
    float: frozenset[str](),
    bytes: frozenset[str](),
    range: frozenset[str](),
}


class Budget:
    """What one rendering may still use up."""

    def __init__(self) -> None:
        self._steps = 0
        self._volume = 0
        self._volumes: dict[int, tuple[Any, int]] = {}  # containers by identity, kept so that it stays theirs

    def step(self, number: int = 1) -> None:
        """Count something that is done.

        Raises:
            Refused: too much has been.
        """
        self._steps += number
        if self._steps > _MAX_STEPS:
            raise Refused(f"it takes more than {_MAX_STEPS:,} steps")

    def weighed(self, value: Any) -> Any:
        """The value itself, once it is accounted for.

        Raises:
            Refused: too much has been made.
        """
        self.step()
        self.make(self._volume_of(value))
        return value

    def make(self, volume: int) -> None:
        """Count what is made, or is about to be."""
        self._volume += volume
        if self._volume > _MAX_VOLUME:
            raise Refused("it makes too much: a value too large, or a large one too often")

    def rounds(self, values: Iterable[Any]) -> Iterable[Any]:
        """The values of a loop, each a step."""
        for value in values:
            self.step()
            yield value

    def _volume_of(self, value: Any) -> int:
        match value:
            case str() | bytes():
                return len(value)
            case bool() | None | float():
                return 0
            case int():
                if value.bit_length() > _MAX_BITS:
                    raise Refused("a number is too large")
                return 0
            case range():
                return _VOLUME_OF_ITEM * len(value)
            case dict() | list() | tuple():
                return self._volume_of_container(value)
            case _:
                return 0

    def _volume_of_container(self, value: dict[Any, Any] | list[Any] | tuple[Any, ...]) -> int:
        if (known := self._volumes.get(id(value))) is not None:
            return known[1]
        items = [*value.keys(), *value.values()] if isinstance(value, dict) else value
        volume = sum(_VOLUME_OF_ITEM + self._volume_of(item) for item in items)
        self._volumes[id(value)] = (value, volume)
        return volume


def environment(
    finalize: Callable[[Any], str], shipped: Callable[[str], tuple[str, str, None] | None]
) -> Environment:
    """A Jinja environment for one rendering.

    Args:
        finalize: what is printed for a value.
        shipped: text and name of a template that may be included; None when there is none of that name.

    Guarantee: parsing and rendering end after bounded time and memory, or with `Refused` or a Jinja error.
    """
    from jinja2 import FunctionLoader, StrictUndefined

    budget = Budget()
    made = _sandbox(budget)(
        undefined=StrictUndefined,
        finalize=finalize,
        loader=FunctionLoader(shipped),
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,
    )
    for name in ("lipsum", "cycler", "joiner"):
        made.globals.pop(name, None)
    made.filters = {name: filter_ for name, filter_ in made.filters.items() if name in _FILTERS}
    _limit_filters(made.filters, budget)
    return made


def _sandbox(budget: Budget) -> type[Environment]:
    """Jinja's own sandbox, which asks the budget before it does what takes time or memory."""
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Sandbox(ImmutableSandboxedEnvironment):
        intercepted_binops = frozenset({"*", "**", "%"})
        weighed = staticmethod(budget.weighed)
        rounds = staticmethod(budget.rounds)

        def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
            return _account_for(super()._parse(source, name, filename))

        def get_template(self, *args: Any, **kwargs: Any) -> Any:
            budget.step(_STEPS_OF_INCLUDE)
            return super().get_template(*args, **kwargs)

        def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
            for kind, methods in _METHODS.items():
                if isinstance(obj, kind):
                    return attr in methods
            return super().is_safe_attribute(obj, attr, value)

        def wrap_str_format(self, value: Any) -> None:
            """Let `format` be a method like others, which is then refused: it takes a width."""

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            if _is_too_large(operator, left, right):
                raise Refused(f"{operator} makes something too large")
            return super().call_binop(context, operator, left, right)

        def call(__self, __context: Any, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805
            text, name = getattr(__obj, "__self__", None), getattr(__obj, "__name__", "")
            if isinstance(text, str) and name == "replace" and len(args) > 1:
                budget.make(text.count(str(args[0])) * len(str(args[1])))
            if isinstance(text, str) and name == "join" and args:
                budget.make(len(text) * len(args[0]))
            return super().call(__context, __obj, *args, **kwargs)

    return Sandbox


def _limit_filters(filters: dict[str, Callable[..., Any]], budget: Budget) -> None:
    """Let the filters that multiply what they are given ask before they do."""
    from jinja2 import pass_environment, pass_eval_context
    from jinja2.filters import do_join, do_replace, do_round, make_attrgetter

    @pass_eval_context
    def replace(context: Any, text: Any, old: Any, new: Any, count: int | None = None) -> Any:
        budget.make(str(text).count(str(old)) * len(str(new)))
        return do_replace(context, text, old, new, count)

    @pass_eval_context
    def join(context: Any, values: Any, d: str = "", attribute: Any = None) -> Any:
        values = list(values)
        budget.make(len(values) * len(str(d)))
        return do_join(context, values, d, attribute)

    @pass_environment
    def total(environment: Any, values: Iterable[Any], attribute: Any = None) -> Any:
        numbers = list(values if attribute is None else map(make_attrgetter(environment, attribute), values))
        if not all(isinstance(number, (int, float)) for number in numbers):
            raise Refused("sum adds numbers only")  # lists would be copied once for each
        return sum(numbers)

    def rounded(value: float, precision: int = 0, method: Any = "common") -> float:
        return do_round(value, min(max(precision, -_MOST_DIGITS), _MOST_DIGITS), method)

    filters |= {"replace": replace, "join": join, "sum": total, "round": rounded}


def _is_too_large(operator: str, left: Any, right: Any) -> bool:
    if operator == "%":
        return isinstance(left, str)  # '%999999999d' makes a gigabyte of one number
    if operator == "**":
        return isinstance(left, int) and left.bit_length() * abs(right) > _MAX_BITS
    sides = [len(side) if isinstance(side, (str, list, tuple)) else side for side in (left, right)]
    return math.prod(sides) > MAX_CHARACTERS


def _account_for(tree: nodes.Template) -> nodes.Template:
    """The template with every expression's value weighed and every loop's rounds counted."""
    from jinja2 import TemplateSyntaxError, nodes
    from jinja2.visitor import NodeTransformer

    _refuse_captured_output(tree)
    count = sum(1 for _ in tree.find_all(nodes.Node))
    if count > _MAX_NODES:
        raise TemplateSyntaxError(f"the template has more than {_MAX_NODES:,} parts", tree.lineno or 1)
    plain = (nodes.Const, nodes.TemplateData, nodes.EnvironmentAttribute, nodes.NSRef, nodes.Slice)

    def called(name: str, node: nodes.Expr) -> nodes.Call:
        function = nodes.EnvironmentAttribute(name, lineno=node.lineno)
        return nodes.Call(function, [node], [], None, None, lineno=node.lineno)

    class Accountant(NodeTransformer):
        def generic_visit(self, node: nodes.Node, *args: Any, **kwargs: Any) -> nodes.Node:
            super().generic_visit(node, *args, **kwargs)
            if isinstance(node, nodes.For):
                node.iter = called("rounds", cast(nodes.Expr, node.iter))
            if not isinstance(node, nodes.Expr) or isinstance(node, plain):
                return node
            if getattr(node, "ctx", "load") != "load":
                return node
            return called("weighed", node)

    accounted: nodes.Template = Accountant().visit(tree)
    if tree.environment is not None:
        accounted.set_environment(tree.environment)
    return accounted


def _refuse_captured_output(tree: nodes.Template) -> None:
    """Refuse what lets a template print into a variable: placeholders would get into its hands, as text."""
    from jinja2 import TemplateSyntaxError, nodes

    blocks = (nodes.Macro, nodes.CallBlock, nodes.FilterBlock, nodes.AssignBlock)
    imports = (nodes.Import, nodes.FromImport)
    for node in tree.find_all((*blocks, *imports, nodes.For, nodes.Name)):
        if isinstance(node, nodes.For) and not node.recursive:
            continue
        if isinstance(node, nodes.Name) and node.name not in ("self", "super"):
            continue
        raise TemplateSyntaxError(
            "macros, imports, {% filter %}, {% call %}, {% set %} blocks, recursive loops, self and super do "
            "not work here; write {% set x = a ~ b %} and {{ x | filter }}",
            node.lineno,
        )
