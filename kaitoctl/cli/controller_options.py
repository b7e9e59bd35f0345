"""The options that say what the controller builds: the same for running it, rendering and comparing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from kaitoctl.cli import options

if TYPE_CHECKING:
    from collections.abc import Sequence

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

TemplateServiceAccounts = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-template-service-account",
        help="A ServiceAccount that custom pods may run as, with its token; * for any. May be repeated.",
        metavar="NAME",
    ),
]
TemplateSecrets = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-template-secret",
        help="A Secret that custom pods may read; * for any. May be repeated.",
        metavar="NAME",
    ),
]
AllowTemplateScheduling = Annotated[
    bool,
    typer.Option(
        "--allow-template-scheduling",
        help="Custom pods may choose a node, a priority class, a runtime class, and tolerate any taint.",
    ),
]


def settings_of(
    image_generation: str,
    registry: str | None,
    most_nodes: int,
    allow_privileged_templates: bool,
    *,
    template_service_accounts: Sequence[str] | None = None,
    template_secrets: Sequence[str] | None = None,
    allow_template_scheduling: bool = False,
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
        template_service_accounts=frozenset(template_service_accounts or ()),
        template_secrets=frozenset(template_secrets or ()),
        allows_template_scheduling=allow_template_scheduling,
    )
