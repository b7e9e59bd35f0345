"""The options of `create workspace` and `create inference-set`, as they were given."""

from __future__ import annotations

from msgspec import Struct


class WorkspaceOptions(Struct, frozen=True):
    """The flags that describe a Workspace, and what is to happen with it."""

    preset: str | None = None
    instance_type: str | None = None
    count: int | None = None
    label: list[str] | None = None
    preferred_node: list[str] | None = None
    adapter: list[str] | None = None
    image_pull_secret: list[str] | None = None
    private_image: str | None = None
    registry: str | None = None
    template: str | None = None
    set_value: list[str] | None = None
    values: str | None = None
    api_version: str | None = None
    catalog: str | None = None
    prices: str | None = None
    dry_run: str = "none"
    output_format: str | None = None
    wait: bool = True
    timeout: str | None = None
    smoke_test: bool = False
    skip_node_check: bool = False
    force_conflicts: bool = False
    replace: bool = False
    yes: bool = False


class SetOptions(Struct, frozen=True):
    """The flags that describe an InferenceSet, and what is to happen with it."""

    preset: str | None = None
    replicas: int = 1
    instance_type: str | None = None
    label: list[str] | None = None
    adapter: list[str] | None = None
    registry: str | None = None
    set_value: list[str] | None = None
    api_version: str = "v1beta1"
    catalog: str | None = None
    prices: str | None = None
    dry_run: str = "none"
    output_format: str | None = None
    yes: bool = False
    wait: bool = True
    timeout: str | None = None
