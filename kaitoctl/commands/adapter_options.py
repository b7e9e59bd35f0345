"""The options that all commands which change an adapter share, as they were given."""

from __future__ import annotations

from msgspec import Struct


class AdapterOptions(Struct, frozen=True):
    """What is to happen with a change, as given on the command line."""

    filename: str | None = None
    dry_run: str = "none"
    output_format: str | None = None
    yes: bool = False
    wait: bool = True
    timeout: str | None = None
    smoke_test: bool = False
    rollback_on_failure: bool = False
    force_conflicts: bool = False
    target_version: str | None = None
    node_provisioner: str | None = None
    catalog: str | None = None
