"""Objects as YAML text, as people write them. Pure."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any

from kaitoctl.kube.objects import Object
from kaitoctl.kube.yaml_scalars import Refused, scalar_value

if TYPE_CHECKING:
    from yaml import CSafeDumper

_TAGS = "tag:yaml.org,2002:"
_ORDER = {
    key: rank
    for rank, key in enumerate(
        (
            "apiVersion",
            "kind",
            "metadata",
            "name",
            "namespace",
            "resource",
            "inference",
            "tuning",
            "spec",
            "preset",
        )
    )
}
_LATE = {"status": 1}


def to_yaml(obj: Object) -> str:
    """The object as YAML text, the same for equal objects.

    Keys come in the order people write them (apiVersion, kind, metadata, resource, inference, tuning; name
    before the rest), then by alphabet. Text that would be read as another type is quoted. No aliases.

    Guarantee: `documents.load_yaml` gives an equal object.
    """
    import yaml

    text: str = yaml.dump(obj, Dumper=_dumper(), width=110, allow_unicode=True, default_flow_style=False)
    return text


@cache
def _dumper() -> type[CSafeDumper]:
    import yaml

    class Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
        def ignore_aliases(self, data: Any) -> bool:
            return True

    def represent_map(dumper: Any, data: dict[str, Any]) -> Any:
        ordered = sorted(data, key=lambda key: (_LATE.get(key, 0), _ORDER.get(key, len(_ORDER)), key))
        return dumper.represent_mapping(f"{_TAGS}map", [(key, data[key]) for key in ordered])

    def represent_text(dumper: Any, data: str) -> Any:
        text = str(data)  # libyaml takes no subclass of it
        return dumper.represent_scalar(f"{_TAGS}str", text, style=_style(text))

    Dumper.add_representer(dict, represent_map)
    Dumper.add_representer(str, represent_text)
    Dumper.add_multi_representer(str, represent_text)  # advice still knows its commands
    return Dumper


_OTHER_BREAKS = "[\r\x85\u2028\u2029]"  # which some readers fold like a newline
_BLOCK_SAFE = r"[^\s][\t\n\x20-\x7e]*"


def _style(text: str) -> str | None:
    """The quoting a text needs for every reader to see text; None leaves it to the library."""
    if re.search(_OTHER_BREAKS, text):
        return '"'
    if "\n" in text:
        is_block = re.fullmatch(_BLOCK_SAFE, text) and not re.search(r"[ \t]$", text, re.MULTILINE)
        return "|" if is_block else '"'
    try:
        is_text = scalar_value(text) == text
    except Refused:
        is_text = False
    return None if is_text else '"'
