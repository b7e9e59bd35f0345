"""What the user says about what the controller builds: for running it, rendering and comparing."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct


class ControllerOptions(Struct, frozen=True):
    """The options that become the controller's settings.

    Args:
        kaito_version: that everything is made as; empty for the newest that has the preset.
        registry: of the preset images; None for KAITO's.
        most_nodes: Workspaces that ask for more are refused.
        allow_privileged_templates: whether custom pods may be privileged, mount paths of the node, ...
        template_service_accounts: those that custom pods may run as; `*` for any.
        template_secrets: those that custom pods may read; `*` for any.
        allow_template_scheduling: whether custom pods may choose nodes, priorities and tolerations.
        node_provisioner: by which nodes are asked for; empty for NodeClaims of kaitoctl's own.
        catalog: a file with the user's own presets, models and instance types.
    """

    kaito_version: str = ""
    registry: str | None = None
    most_nodes: int = 64
    allow_privileged_templates: bool = False
    template_service_accounts: Sequence[str] | None = None
    template_secrets: Sequence[str] | None = None
    allow_template_scheduling: bool = False
    node_provisioner: str = ""
    catalog: str | None = None
