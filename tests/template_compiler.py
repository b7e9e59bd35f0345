"""Compiles the shipped template `inference` into the Python that builds the same object.

jinja2 and a YAML parser cost a start 30 ms. The language is what that template needs: one YAML key or list
item a line, `if`, `for`, `set` and `fail` on lines of their own. Anything else is an error here, not a guess.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from jinja2 import Environment, nodes

from kaitoctl.kube.documents import scalar_value

HEAD = '''"""Compiled from templates/inference.yaml.j2; pytest --update-golden tests/pure writes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# fmt: off
SOURCE = """\\
{source}"""


def build(values: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the template makes of a request's variables; None when it refuses them."""
'''

_COMMENT = re.compile(r"\{#.*?#\}\s*", re.DOTALL)
_STATEMENT = re.compile(r"\{%-?\s*(\w+)\s*(.*?)\s*-?%\}")
_FAIL = re.compile(r"\{\{\s*fail\(.*\)\s*\}\}")
_PRINTED = re.compile(r"\{\{\s*(.*?)\s*\}\}")
_KEY = re.compile(r"([\w.-]+):(?:\s+(.*))?")


@dataclass
class _Block:
    """An open map or list: the depth of its lines, its variable, and the keys that it may have by now."""

    indent: int
    variable: str
    keys: set[str] = field(default_factory=set)


@dataclass
class _Compiler:
    lines: list[str]
    code: list[str] = field(default_factory=list)
    depth: int = 1
    local: set[str] = field(default_factory=set)
    blocks: list[_Block] = field(default_factory=lambda: [_Block(0, "root")])
    count: int = 0

    def emit(self, text: str) -> None:
        self.code.append("    " * self.depth + text)

    def compile(self) -> str:
        self.emit("root: dict[str, Any] = {}")
        for position, line in enumerate(self.lines):
            if statement := _STATEMENT.fullmatch(line.strip()):
                self.statement(*statement.groups())
            elif _FAIL.fullmatch(line.strip()):
                self.emit("return None")
            else:
                self.yaml(line, position)
        self.emit("return root")
        return "\n".join(self.code) + "\n"

    def statement(self, word: str, rest: str) -> None:
        match word:
            case "if":
                self.emit(f"if {self.expression(rest)}:")
                self.depth += 1
            case "for":
                name, _, of = rest.partition(" in ")
                self.emit(f"for {name} in {self.expression(of)}:")
                self.local.add(name)
                self.depth += 1
            case "set":
                name, _, value = rest.partition(" = ")
                self.emit(f"{name} = {self.expression(value)}")
                self.local.add(name)
            case "endif" | "endfor":
                self.depth -= 1
            case _:
                raise ValueError(f"the compiler does not know {word!r}")

    def yaml(self, line: str, position: int) -> None:
        text = line.lstrip(" ")
        indent = len(line) - len(text)
        while self.blocks[-1].indent > indent:
            self.blocks.pop()
        if text.startswith("- "):
            parent = self.blocks[-1].variable
            item = self.variable()
            self.emit(f"{item}: dict[str, Any] = {{}}")
            self.emit(f"{parent}.append({item})")
            self.blocks.append(_Block(indent + 2, item))
            text, indent = text[2:], indent + 2
        if self.blocks[-1].indent != indent or (found := _KEY.fullmatch(text)) is None:
            raise ValueError(f"the compiler cannot place {line!r}")
        block, (key, value) = self.blocks[-1], found.groups()
        if key in block.keys:  # YAML has no key twice; jinja2 says so
            self.emit(f"if {key!r} in {block.variable}:")
            self.emit("    return None")
        block.keys.add(key)
        if value is not None:
            self.emit(f"{block.variable}[{key!r}] = {self.scalar(value)}")
            return
        below = next(item for item in self.lines[position + 1 :] if not item.strip().startswith("{"))
        variable = self.variable()
        of = "list[Any] = []" if below.lstrip().startswith("- ") else "dict[str, Any] = {}"
        self.emit(f"{variable}: {of}")
        self.emit(f"{block.variable}[{key!r}] = {variable}")
        depth = len(below) - len(below.lstrip(" "))
        if depth <= indent:
            raise ValueError(f"{line!r} has nothing below")
        self.blocks.append(_Block(depth, variable))

    def variable(self) -> str:
        self.count += 1
        return f"part{self.count}"

    def scalar(self, text: str) -> str:
        is_quoted = text.startswith('"')
        text = text[1:-1] if is_quoted else text
        if (alone := _PRINTED.fullmatch(text)) and not is_quoted:
            return self.expression(alone[1])
        pieces = _PRINTED.split(text)
        if len(pieces) == 1:
            return repr(text if is_quoted else scalar_value(text))
        words = (self.expression(one) if at % 2 else repr(one) for at, one in enumerate(pieces) if one)
        return " + ".join(words)

    def expression(self, text: str) -> str:
        output = Environment().parse(f"{{{{ {text} }}}}").body[0]
        assert isinstance(output, nodes.Output)
        return self.node(output.nodes[0])

    def node(self, node: nodes.Node) -> str:
        match node:
            case nodes.Name(name=name):
                return name if name in self.local else f"values[{name!r}]"
            case nodes.Getattr(node=of, attr=attr):
                return f"{self.node(of)}[{attr!r}]"
            case nodes.Const(value=value):
                return repr(value)
            case nodes.Not(node=of):
                return f"not {self.node(of)}"
            case nodes.And(left=left, right=right):
                return f"({self.node(left)} and {self.node(right)})"
            case nodes.Or(left=left, right=right):
                return f"({self.node(left)} or {self.node(right)})"
            case nodes.Test(name="defined", node=nodes.Name(name=name)):
                return f"{name!r} in values"
            case nodes.Compare(expr=left, ops=[nodes.Operand(op="eq" | "ne" as op, expr=right)]):
                return f"{self.node(left)} {'==' if op == 'eq' else '!='} {self.node(right)}"
        raise ValueError(f"the compiler does not know {node!r}")


def compiled(source: str) -> str:
    """The module that builds what a template renders to.

    Raises:
        ValueError: the template needs more than this compiler knows.
    """
    if '"""' in source or "\\" in source:
        raise ValueError("the source cannot stand in a docstring")
    lines = [line for line in _COMMENT.sub("", source, count=1).splitlines() if line.strip()]
    return HEAD.format(source=source) + _Compiler(lines).compile()
