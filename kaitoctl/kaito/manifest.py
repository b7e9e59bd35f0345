"""What a user asks for, and the Workspace that it makes; `validation` says whether that makes sense."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field
from msgspec.structs import asdict

from kaitoctl.errors import InputError
from kaitoctl.kaito import compiled_inference_template, templates
from kaitoctl.kube.objects import Object

_ADAPTER_GRAMMAR = "name=image[,strength=S][,pull-secret=P]"


class Adapter(Struct, frozen=True):
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


class WorkspaceRequest(Struct, frozen=True):
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
    values: dict[str, Any] = templates.plain(
        {**asdict(request), "adapters": [*map(asdict, request.adapters)]}
    )
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
        extra: more variables, as from `template_variables.set_values`; they win over the request's, and maps
            are merged.
        source: how errors name the template.

    Raises:
        InputError: as `template_rendering.render`.
    """
    if template is None:
        template, source = templates.text_of(templates.DEFAULT)
        # Compiled, it costs nothing; with jinja2, 30 ms. An edited template and refusals are jinja2's.
        if not extra and template == compiled_inference_template.SOURCE:
            made = compiled_inference_template.build(values_of(request))
            if made is not None:
                return made
    from kaitoctl.kaito.template_rendering import render

    return render(template, merge_deeply(values_of(request), extra or {}), source=source)


def merge_deeply(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` upon `base`; maps in both are merged, too, and anything else is replaced."""
    result = dict(base)
    for key, value in over.items():
        old = result.get(key)
        both_maps = isinstance(old, Mapping) and isinstance(value, Mapping)
        result[key] = merge_deeply(old, value) if both_maps else value  # type: ignore[arg-type]
    return result
