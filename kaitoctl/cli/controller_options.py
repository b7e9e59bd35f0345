"""The options that say what the controller builds: the same for running it, rendering and comparing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from kaitoctl.cli import options

if TYPE_CHECKING:
    from kaitoctl.kaito.desired import Settings

ImageGeneration = Annotated[
    str, typer.Option("--image-generation", help="Generation of the preset images: v0.3 or v0.4.")
]
Registry = Annotated[
    str | None, typer.Option("--registry", help="Registry of the preset images.", metavar="HOST/PATH")
]
MostNodes = Annotated[
    int, typer.Option("--most-nodes", help="Refuse Workspaces that ask for more nodes than this.", min=1)
]

AllowPrivilegedTemplates = Annotated[
    bool,
    typer.Option(
        "--allow-privileged-templates",
        help="Custom pods may have what the baseline Pod Security Standard forbids: hostPath, privileged ...",
    ),
]


def settings_of(
    image_generation: str, registry: str | None, most_nodes: int, allow_privileged_templates: bool
) -> Settings:
    """The controller's settings.

    Raises:
        InputError: there is no such image generation.
    """
    from kaitoctl.kaito import catalog
    from kaitoctl.kaito.desired import Settings

    options.one_of(image_generation, ("v0.3", "v0.4"), option="--image-generation")
    return Settings(
        registry or catalog.DEFAULT_REGISTRY,
        image_generation,
        most_nodes,
        allows_privileged_templates=allow_privileged_templates,
    )
