"""The group of options of run-controller, render and diff that says what the controller builds."""

from __future__ import annotations

from typing import Annotated

import typer

from kaitoctl.cli import complete, options
from kaitoctl.commands.controller_options import ControllerOptions


class Controller(ControllerOptions, frozen=True):
    """The controller's settings as options."""

    kaito_version: Annotated[
        str,
        typer.Option(
            "--kaito-version",
            "--target-version",
            "--image-generation",
            help="Make objects as KAITO v0.3, v0.4, v0.4.6 or v0.12 does (default: newest that has the "
            "preset).",
            metavar="VERSION",
            show_default=False,
            autocompletion=complete.of("v0.3", "v0.4", "v0.12", "kaitoctl"),
        ),
    ] = ""
    registry: Annotated[
        str | None, typer.Option("--registry", help="Registry of the preset images.", metavar="HOST/PATH")
    ] = None
    most_nodes: Annotated[
        int,
        typer.Option("--most-nodes", help="Refuse Workspaces that ask for more nodes than this.", min=1),
    ] = 64
    allow_privileged_templates: Annotated[
        bool,
        typer.Option(
            "--allow-privileged-templates",
            help="Allow custom pods, and volumes of adapters and tuning, what the baseline Pod Security "
            "Standard forbids, such as hostPath.",
        ),
    ] = False
    template_service_accounts: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-template-service-account",
            help="A ServiceAccount that custom pods may run as, with its token; * for any. May be repeated.",
            metavar="NAME",
        ),
    ] = None
    template_secrets: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-template-secret",
            help="A Secret that custom pods, and volumes of adapters and tuning, may read; * for any. May be "
            "repeated.",
            metavar="NAME",
        ),
    ] = None
    allow_template_scheduling: Annotated[
        bool,
        typer.Option(
            "--allow-template-scheduling",
            help="Allow custom pods to choose a node, priority class and runtime class, and to tolerate any "
            "taint.",
        ),
    ] = False
    node_provisioner: Annotated[
        str,
        typer.Option(
            "--node-provisioner",
            help="Ask for nodes as KAITO v0.12 does with azure-gpu-provisioner or karpenter (NodePools), or "
            "byo: never (default: NodeClaims, beside prepared nodes).",
            metavar="NAME",
            show_default=False,
            autocompletion=complete.of("azure-gpu-provisioner", "karpenter", "byo"),
        ),
    ] = ""
    catalog: options.CatalogFile = None


CONTROLLER = Controller()
