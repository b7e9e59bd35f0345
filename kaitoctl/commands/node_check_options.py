"""What the user says to `check-nodes`: which Workspace, and what to do with the answer."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct


class DescribedWorkspace(Struct, frozen=True):
    """A Workspace that need not exist yet: in a file, or made of flags.

    Args:
        filename: its manifest, `-` for stdin.
        preset: the model that it serves.
        instance_type: of its GPU nodes.
        label: `KEY=VALUE` items that its nodes must carry.
        preferred_node: names of prepared nodes.
        count: of nodes.
    """

    filename: str | None = None
    preset: str | None = None
    instance_type: str | None = None
    label: Sequence[str] | None = None
    preferred_node: Sequence[str] | None = None
    count: int | None = None

    @property
    def has_flags(self) -> bool:
        """Whether flags describe one."""
        return any((self.preset, self.instance_type, self.label, self.preferred_node, self.count))


class NodeCheck(Struct, frozen=True):
    """How to judge nodes, and what to do with the verdict.

    Args:
        target_version: the KAITO version whose choice counts, or `kaitoctl`; None for the default.
        node_provisioner: KAITO v0.12's setting.
        wait: how long to wait for enough nodes, such as `10m`.
        strict: whether warnings count as failures.
        fix: whether to set missing labels.
        yes: whether to do so without asking.
        dry_run: whether the server only tries it.
        output_format: `table`, `wide`, `short`, `json` or `yaml`.
    """

    target_version: str | None = None
    node_provisioner: str | None = None
    wait: str | None = None
    strict: bool = False
    fix: bool = False
    yes: bool = False
    dry_run: bool = False
    output_format: str = "table"
