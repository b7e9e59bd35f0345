"""The options that all commands which change an adapter share."""

from __future__ import annotations

from typing import Annotated

import typer

from kaitoctl.cli import complete, options
from kaitoctl.commands.adapter_options import AdapterOptions

EditedWorkspace = Annotated[
    str | None,
    typer.Argument(
        help="Workspace name (optional with -f).", metavar="[NAME]", autocompletion=complete.workspaces
    ),
]
_Filename = Annotated[
    str | None,
    typer.Option(
        "--filename",
        "-f",
        help="Edit this manifest, keeping its comments, instead of a cluster; - reads stdin, writes stdout.",
        metavar="FILE",
    ),
]
_ForceConflicts = Annotated[
    bool,
    typer.Option("--force-conflicts", help="Take the adapters over from another manager; its adapters stay."),
]
_RollbackOnFailure = Annotated[
    bool,
    typer.Option("--rollback-on-failure", help="Roll the change back when it does not become ready."),
]
_TargetVersion = Annotated[
    str | None,
    typer.Option(
        "--target-version",
        help="kaitoctl, or any release of KAITO, as v0.9.4 (default: detected in the cluster).",
        metavar="VERSION",
        autocompletion=complete.of("v0.3", "v0.4", "v0.12", "kaitoctl"),
    ),
]


class AdapterChange(AdapterOptions, frozen=True):
    """What is to happen with a change of an adapter."""

    filename: _Filename = None
    dry_run: options.DryRun = "none"
    output_format: options.WorkspaceOutput = None
    yes: options.Yes = False
    wait: options.Wait = True
    timeout: options.FollowTimeout = None
    smoke_test: options.SmokeTest = False
    rollback_on_failure: _RollbackOnFailure = False
    force_conflicts: _ForceConflicts = False
    target_version: _TargetVersion = None
    node_provisioner: options.NodeProvisioner = None
    catalog: options.CatalogFile = None


ADAPTER_CHANGE = AdapterChange()
