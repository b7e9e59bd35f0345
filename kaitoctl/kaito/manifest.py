"""Requests, templates and YAML: from what a user asks for to one Workspace, and back to text.

Templates are Jinja2 and belong to the user; values may come from anywhere. The two never mix as text:
while a template renders, every value is stood in for by a placeholder of letters and digits, the result
is parsed as YAML, and only in the parsed tree do values take their places. So no value can become YAML
syntax, whatever quoting a template uses. Whether the Workspace makes sense is `validation`'s business.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kaitoctl import packaged
from kaitoctl.errors import InputError
from kaitoctl.kube.documents import MAX_CHARACTERS, Refused, kind_of, located, parsed, size_of, typed
from kaitoctl.kube.objects import Object

if TYPE_CHECKING:
    from jinja2 import Environment

DEFAULT_TEMPLATE = "inference"

_ADAPTER_GRAMMAR = "name=image[,strength=S][,pull-secret=P]"
_SUFFIX = ".yaml.j2"
_SHIPPED = "shipped template "  # how errors name what ships with us

_MAX_TEMPLATE = 1_000_000  # characters


@dataclass(frozen=True, slots=True)
class Adapter:
    """A LoRA adapter to load over a model.

    Args:
        name: unique in its Workspace; names a container.
        image: reference of the image that holds the adapter's files under `/data`.
        strength: a decimal from 0 to 1, as text, which is what the API wants.
        image_pull_secrets: names of Secrets to pull the image with.
    """

    name: str
    image: str
    strength: str = "1.0"
    image_pull_secrets: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Adapter:
        """The adapter that `name=image[,strength=S][,pull-secret=P]` describes; `pull-secret` may repeat.

        Raises:
            InputError: not of that form. Whether name, image and strength are good is not judged here.
        """

        def malformed(what: str) -> InputError:
            return InputError(f"adapter {text!r}: {what}", hint=f"write it as {_ADAPTER_GRAMMAR}")

        first, *options = text.split(",")
        name, equals, image = first.partition("=")
        if not (name and equals and image):
            raise malformed("name and image are both needed")
        strength: str | None = None
        secrets: list[str] = []
        for option in options:
            key, _, value = option.partition("=")
            if not value:
                raise malformed(f"{option!r} is not key=value")
            if key == "pull-secret":
                secrets.append(value)
            elif key != "strength":
                raise malformed(f"{key!r} is not an option of an adapter")
            elif strength is not None:
                raise malformed("strength is given twice")
            else:
                strength = value
        return cls(name, image, "1.0" if strength is None else strength, tuple(secrets))


@dataclass(frozen=True, slots=True)
class WorkspaceRequest:
    """What a user asks for: a preset, served on nodes of a kind.

    Args:
        name: of the Workspace.
        namespace: it goes to.
        preset: name of the preset.
        instance_type: of the nodes; None leaves it to the API's default.
        count: number of nodes.
        labels: that nodes must carry, `resource.labelSelector.matchLabels`.
        preferred_nodes: names of nodes to use first.
        adapters: to load over the model.
        image_pull_secrets: for `private_image`.
        private_image: run this image instead of the published one.
        api_version: version within the group, `v1alpha1` or `v1beta1`.
        annotations: of the Workspace.
    """

    name: str
    namespace: str
    preset: str
    instance_type: str | None = None
    count: int = 1
    labels: Mapping[str, str] = field(default_factory=dict)
    preferred_nodes: tuple[str, ...] = ()
    adapters: tuple[Adapter, ...] = ()
    image_pull_secrets: tuple[str, ...] = ()
    private_image: str | None = None
    api_version: str = "v1alpha1"
    annotations: Mapping[str, str] = field(default_factory=dict)


def values_of(request: WorkspaceRequest) -> dict[str, Any]:
    """The variables that templates see: the request's fields under their own names."""
    # asdict deep-copies what it does not know, and a read-only mapping cannot be copied.
    request = replace(request, labels=dict(request.labels), annotations=dict(request.annotations))
    values: dict[str, Any] = _plain(asdict(request))
    return values


def workspace(
    request: WorkspaceRequest,
    template: str | None = None,
    extra: Mapping[str, Any] | None = None,
    *,
    source: str = "template",
) -> Object:
    """The Workspace that a request makes, alone or with a template.

    Args:
        request: what the template is filled with.
        template: text of a template, the shipped `inference` when None.
        extra: more variables, as from `set_values`; they win over the request's, maps are merged.
        source: how errors name the template.

    Raises:
        InputError: as `render`.
    """
    if template is None:
        if not extra and (made := _without_template(request)) is not None:
            return made
        template, source = template_text(DEFAULT_TEMPLATE)
    return render(template, merged(values_of(request), extra or {}), source=source)


def _without_template(request: WorkspaceRequest) -> Object | None:
    """What the template `inference` makes of a request alone, without the 30 ms that jinja2 takes.

    None for a request that the template refuses: it says why.
    """
    is_new = request.api_version == "v1beta1"
    if is_new and (request.preferred_nodes or request.private_image):
        return None
    metadata: Object = {"name": request.name}
    if request.namespace:
        metadata["namespace"] = request.namespace
    if request.annotations:
        metadata["annotations"] = dict(request.annotations)
    resource: Object = {}
    if not is_new or request.count != 1:
        resource["count"] = request.count
    if request.instance_type:
        resource["instanceType"] = request.instance_type
    resource["labelSelector"] = {"matchLabels": dict(request.labels)}
    if request.preferred_nodes:
        resource["preferredNodes"] = list(request.preferred_nodes)
    preset: Object = {"name": request.preset}
    if request.private_image:
        options: Object = {"image": request.private_image}
        if request.image_pull_secrets:
            options["imagePullSecrets"] = list(request.image_pull_secrets)
        preset |= {"accessMode": "private", "presetOptions": options}
    inference: Object = {"preset": preset}
    if request.adapters:
        inference["adapters"] = [_entry(adapter) for adapter in request.adapters]
    return {
        "apiVersion": f"kaito.sh/{request.api_version}",
        "kind": "Workspace",
        "metadata": metadata,
        "resource": resource,
        "inference": inference,
    }


def _entry(adapter: Adapter) -> Object:
    source: Object = {"name": adapter.name, "image": adapter.image}
    if adapter.image_pull_secrets:
        source["imagePullSecrets"] = list(adapter.image_pull_secrets)
    return {"source": source, "strength": adapter.strength}


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` upon `base`; maps in both are merged, too, and anything else is replaced."""
    result = dict(base)
    for key, value in over.items():
        old = result.get(key)
        both_maps = isinstance(old, Mapping) and isinstance(value, Mapping)
        result[key] = merged(old, value) if both_maps else value  # type: ignore[arg-type]
    return result


_INTEGER = r"-?(0|[1-9][0-9]{0,17})"
_WORDS = {"true": True, "false": False, "null": None}


def set_values(items: Iterable[str]) -> dict[str, Any]:
    r"""Variables from `a.b=value` items: integers, `true`, `false`, `null` get their type, the rest is text.

    A dot that belongs to a key is written `\.`.

    Raises:
        InputError: an item without `=` or with an empty key, or two items that contradict each other.
    """
    values: dict[str, Any] = {}
    for item in items:
        path, equals, text = item.partition("=")
        keys = [key.replace("\\.", ".") for key in re.split(r"(?<!\\)\.", path)]
        if not equals or not all(keys):
            raise InputError(f"--set {item!r} is not of the form key=value or key.key=value")
        target = values
        for key in keys[:-1]:
            target = target.setdefault(key, {})
            if not isinstance(target, dict):
                raise InputError(f"--set {item!r}: {key!r} already has a value of its own")
        if isinstance(target.get(keys[-1]), dict):
            raise InputError(f"--set {item!r}: {path!r} already has keys below it")
        target[keys[-1]] = int(text) if re.fullmatch(_INTEGER, text) else _WORDS.get(text, text)
    return values


# --- templates -----------------------------------------------------------------------------------------


def template_names() -> list[str]:
    """The names of the shipped templates, sorted."""
    return sorted(
        file.name.removesuffix(_SUFFIX) for file in packaged.folder("templates").glob(f"*{_SUFFIX}")
    )


def template_text(name_or_path: str) -> tuple[str, str]:
    """A template's text and how errors name it.

    A path is what exists as a file, has a slash, or has a suffix; anything else is a shipped template's name.

    Raises:
        InputError: no such template, or a file that cannot be read.
    """
    path = Path(name_or_path)
    if "\0" in name_or_path or not name_or_path:
        raise InputError(f"template {name_or_path!r} is not a name and not a path")
    if "/" in name_or_path or path.suffix or path.is_file():
        return _file_text(path), name_or_path
    shipped = packaged.folder("templates") / f"{name_or_path}{_SUFFIX}"
    if not shipped.is_file():
        raise InputError(
            f"there is no template {name_or_path!r}",
            hint=f"shipped: {', '.join(template_names())}; a file of your own needs a suffix or a slash",
        )
    return _file_text(shipped), f"{_SHIPPED}{name_or_path}"


def _file_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(4 * _MAX_TEMPLATE + 1)
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text (byte {error.start})") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None


class _JsonText(str):
    """What the filter `tojson` gives: JSON text inside a string, the value itself where a value stands."""

    __slots__ = ("value",)
    value: Any

    def __new__(cls, value: Any) -> _JsonText:
        text = super().__new__(cls, json.dumps(_plain(value), ensure_ascii=False))
        text.value = value
        return text


def _plain(value: Any) -> Any:
    """A deep copy of `value` made of dict, list, str, int, float, bool and None only."""
    match value:
        case None | bool():
            return value
        case str():
            return str(value)
        case int():
            return int(value)
        case float():
            if not math.isfinite(value):
                raise Refused(f"{value} has no JSON form")
            return float(value)
        case Mapping():
            return {_plain_key(key): _plain(item) for key, item in value.items()}
        case list() | tuple() | range():
            return [_plain(item) for item in value]
        case _:
            raise Refused(f"a {type(value).__name__} is not plain data (text, number, list, map)")


def _plain_key(key: Any) -> str:
    if not isinstance(key, str):
        raise Refused(f"the key {key!r} of a map is not text")
    return str(key)


class _Placeholders:
    """Stand-ins for values while their template is only text.

    Guarantee: a stand-in consists of letters and digits and cannot be guessed by whoever chose the values.
    """

    def __init__(self) -> None:
        self._mark = f"Q{os.urandom(12).hex()}Q"
        self._pattern = re.compile(f"{self._mark}([0-9]+)Z")
        self._values: list[Any] = []
        self._size = 0

    def stand_in(self, value: Any) -> str:
        """A new placeholder for `value`; jinja calls it for everything that a template prints."""
        from jinja2 import Undefined

        if isinstance(value, Undefined):
            str(value)  # says which variable is missing
        kept = value if isinstance(value, _JsonText) else _plain(value)
        self._size += size_of(kept)
        if self._size > MAX_CHARACTERS:
            raise Refused(f"it prints more than {MAX_CHARACTERS:,} characters")
        self._values.append(kept)
        return f"{self._mark}{len(self._values) - 1}Z"

    def value(self, text: str, plain: bool) -> Any:
        """What a parsed scalar means: the typed value of a lone unquoted placeholder, else text."""
        if plain and (alone := self._pattern.fullmatch(text)):
            found = self._values[int(alone[1])]
            return _plain(found.value) if isinstance(found, _JsonText) else _plain(found)
        if self._mark in text:
            return self._pattern.sub(lambda found: self._as_text(self._values[int(found[1])]), text)
        return typed(text) if plain else text

    def shown(self, text: str) -> str:
        """`text` for an error message: values stand where they would."""
        return self._pattern.sub(lambda found: json.dumps(self._values[int(found[1])])[:60], text)

    @staticmethod
    def _as_text(value: Any) -> str:
        match value:
            case str():
                return str(value)
            case bool():
                return "true" if value else "false"
            case int() | float():
                return repr(value)
            case None:
                raise Refused("null stands inside a text or in quotes")
            case _:
                raise Refused(
                    f"a {'list' if isinstance(value, list) else 'map'} stands inside a text or in quotes"
                )


def render(template: str, values: Mapping[str, Any], *, source: str) -> Object:
    """The one object that a template makes of values.

    An unquoted `{{ value }}` keeps the value's type, lists and maps included; inside quotes or beside other
    text it is text. Templates may include the shipped ones (`{% include "inference.yaml.j2" %}`), and stop
    with `{{ fail("why") }}`.

    Args:
        template: Jinja2 text.
        values: the variables; plain data, copied.
        source: how errors name the template.

    Raises:
        InputError: with file and line: a syntax error, an undefined variable, output that is not YAML, has
            a key twice, or is not exactly one document with a map at its top.

    Guarantee: no value becomes YAML syntax or template code.
    """
    from jinja2 import TemplateError, TemplateNotFound, TemplateSyntaxError
    from yaml import YAMLError

    if len(template) > _MAX_TEMPLATE:
        raise InputError(f"{source}: the template is longer than {_MAX_TEMPLATE:,} characters")
    placeholders = _Placeholders()
    try:
        environment = _environment(placeholders.stand_in)
        text = _bounded(environment.from_string(template).generate(_plain(values)))
    except TemplateSyntaxError as error:
        raise InputError(f"{error.filename or source}:{error.lineno}: {error.message}") from None
    except TemplateNotFound as error:
        raise InputError(
            f"{_place(error, source)}: there is no template {error.name!r} to include",
            hint="shipped: " + ", ".join(f"{name}{_SUFFIX}" for name in template_names()),
        ) from None
    except (TemplateError, Refused) as error:
        missing = re.fullmatch(r"'(\w+)' is undefined", str(error))
        hint = f"give it with --set {missing[1]}=VALUE" if missing else ""
        raise InputError(f"{_place(error, source)}: {error}", hint=hint) from None
    except RecursionError:
        raise InputError(f"{source}: the template is nested too deeply") from None
    except Exception as error:  # whatever an expression can raise: TypeError, ZeroDivisionError, ...
        raise InputError(f"{_place(error, source)}: {type(error).__name__}: {error}") from None

    try:
        documents = list(parsed(text, placeholders.value))
    except (YAMLError, UnicodeError, Refused) as error:
        line, _, what = located(error)
        shown = placeholders.shown((text.splitlines() or [""])[min(line, len(text.splitlines())) - 1]).strip()
        raise InputError(f"{source}: line {line} of what it renders to: {what}: {shown[:120]!r}") from None
    if len(documents) != 1:
        raise InputError(f"{source}: renders to {len(documents)} YAML documents instead of one Workspace")
    if not isinstance(documents[0], dict):
        raise InputError(f"{source}: renders to a {kind_of(documents[0])} instead of a Workspace")
    return documents[0]


_UNNAMED = "<template>"  # how jinja calls a template that came as text


def _environment(finalize: Callable[[Any], str]) -> Environment:
    from kaitoctl.kaito import template_sandbox

    def shipped(name: str) -> tuple[str, str, None] | None:
        plain_name = name.removesuffix(_SUFFIX)
        return (*template_text(plain_name), None) if plain_name in template_names() else None

    def fail(message: str) -> None:
        raise Refused(str(message))

    environment = template_sandbox.environment(finalize, shipped)
    environment.filters["tojson"] = _JsonText
    environment.globals["fail"] = fail
    return environment


def _bounded(pieces: Iterable[str]) -> str:
    kept, size = [], 0
    for piece in pieces:
        size += len(piece)
        if size > MAX_CHARACTERS:
            raise Refused(f"it prints more than {MAX_CHARACTERS:,} characters")
        kept.append(piece)
    return "".join(kept)


def _place(error: BaseException, source: str) -> str:
    """`file:line` of the innermost template in an error's traceback (jinja puts template lines there)."""
    place, step = f"{source}:1", error.__traceback__
    while step is not None:
        file = step.tb_frame.f_code.co_filename
        if file == _UNNAMED or file.startswith(_SHIPPED):
            place = f"{source if file == _UNNAMED else file}:{step.tb_lineno}"
        step = step.tb_next
    return place
